//! Routes: which shard owns which slot.

use basalt_keyspace::{SLOTS, ShardId, SlotId};

/// Slots that are looked up together: so many that one line of memory holds the owners of all.
const BLOCK_SLOTS: usize = SLOTS / 64;
/// A block of which not all slots are one shard's.
const MIXED: u8 = u8::MAX;

/// The table of slots. It is data: contiguous blocks to begin with, but nothing relies on that. It changes
/// only while everything stands still (`slots`), so what is under way may keep what it read here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct Routes {
    /// The owner of each block, or [`MIXED`]: look-ups for random keys go all over the table of slots, whose
    /// 256 lines would push others out of the first cache.
    block_owner: [u8; SLOTS / BLOCK_SLOTS],
    /// LIMIT: up to 255 shards.
    shard_of: Box<[u8; SLOTS]>,
    shard_count: usize,
}

impl Routes {
    /// Equal blocks of neighbouring slots.
    pub(crate) fn in_blocks(shard_count: usize) -> Self {
        let mut shard_of = Box::new([0; SLOTS]);
        for (slot, shard) in shard_of.iter_mut().enumerate() {
            *shard = (slot * shard_count / SLOTS) as u8;
        }
        Self { block_owner: block_owners(&shard_of), shard_of, shard_count }
    }

    #[inline]
    pub(crate) fn shard(&self, slot: SlotId) -> ShardId {
        let owner = match self.block_owner[slot.index() / BLOCK_SLOTS] {
            MIXED => self.shard_of[slot.index()],
            owner => owner,
        };
        ShardId(owner.into())
    }

    /// The same, but for some slots that are another shard's now.
    pub(crate) fn with(&self, slots: &[SlotId], owner: ShardId) -> Self {
        let mut routes = self.clone();
        for slot in slots {
            routes.shard_of[slot.index()] = owner.0 as u8;
        }
        routes.block_owner = block_owners(&routes.shard_of);
        routes
    }

    /// Runs of slots that are one shard's: first, last and owner.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, usize, ShardId)> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let first = next;
            if first == SLOTS {
                return None;
            }
            next = self.run_end(first);
            Some((first, next - 1, self.shard(SlotId(first as u16))))
        })
    }

    pub(crate) fn shard_count(&self) -> usize {
        self.shard_count
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shard_count as u16).map(ShardId)
    }

    /// The shards of some slots, each once, in their order.
    pub(crate) fn shards_of(&self, slots: impl Iterator<Item = SlotId>) -> Vec<ShardId> {
        let mut shards: Vec<ShardId> = slots.map(|slot| self.shard(slot)).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }

    /// The end (not included) of the run of slots from `slot` on that are one shard's.
    pub(crate) fn run_end(&self, slot: usize) -> usize {
        if self.shard_count == 1 {
            return SLOTS;
        }
        // A run is long: it is compared in blocks first, since SCAN asks with every call.
        const BLOCK: usize = 64;
        let (owner, rest) = (self.shard_of[slot], &self.shard_of[slot..]);
        let is_whole = |block: &&[u8]| **block == [owner; BLOCK];
        let blocks = rest.chunks_exact(BLOCK).take_while(is_whole).count() * BLOCK;
        slot + blocks + rest[blocks..].iter().take_while(|&&shard| shard == owner).count()
    }
}

fn block_owners(shard_of: &[u8; SLOTS]) -> [u8; SLOTS / BLOCK_SLOTS] {
    std::array::from_fn(|block| {
        let owners = &shard_of[block * BLOCK_SLOTS..][..BLOCK_SLOTS];
        if owners.iter().all(|owner| *owner == owners[0]) { owners[0] } else { MIXED }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_all_slots_evenly() {
        for shards in [1, 2, 3, 4, 7, 64] {
            let routes = Routes::in_blocks(shards);
            let mut next = 0;
            for (index, (first, last, owner)) in routes.runs().enumerate() {
                assert_eq!((first, owner.index()), (next, index));
                next = last + 1;
                assert!((SLOTS / shards..=SLOTS / shards + 1).contains(&(next - first)));
            }
            assert_eq!((next, routes.runs().count()), (SLOTS, shards));
        }
    }

    #[test]
    fn slots_move_and_no_others() {
        let slots = [SlotId(0), SlotId(9000)];
        let routes = Routes::in_blocks(2).with(&slots, ShardId(1));
        let runs: Vec<_> =
            routes.runs().map(|(first, last, owner)| (first, last, owner.0)).collect();
        assert_eq!(runs, [(0, 0, 1), (1, 8191, 0), (8192, SLOTS - 1, 1)]);
        assert_eq!(routes.shard(SlotId(9000)), ShardId(1));
        assert_eq!([0, 1, 255, 256].map(|slot| routes.shard(SlotId(slot)).0), [1, 0, 0, 0]);
        assert_eq!(routes.with(&slots[..1], ShardId(0)), Routes::in_blocks(2));
    }
}
