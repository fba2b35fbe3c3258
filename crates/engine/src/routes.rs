//! Routes: which shard owns which slot.

use basalt_keyspace::{SLOTS, ShardId, SlotId};

/// The table of slots. It is data: contiguous blocks to begin with, but nothing relies on that. It changes
/// only while everything stands still (`slots`), so what is under way may keep what it read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Routes {
    /// LIMIT: up to 256 shards. A byte each, since look-ups for random keys go all over it.
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
        Self { shard_of, shard_count }
    }

    #[inline]
    pub(crate) fn shard(&self, slot: SlotId) -> ShardId {
        // One shard owns all: its core is spared the look-up.
        if self.shard_count == 1 {
            return ShardId(0);
        }
        ShardId(self.shard_of[slot.index()].into())
    }

    /// The same, but for some slots that are another shard's now.
    pub(crate) fn with(&self, slots: &[SlotId], owner: ShardId) -> Self {
        let mut routes = self.clone();
        for slot in slots {
            routes.shard_of[slot.index()] = owner.0 as u8;
        }
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
        assert_eq!(routes.with(&slots[..1], ShardId(0)), Routes::in_blocks(2));
    }
}
