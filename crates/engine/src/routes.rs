//! Routes: which shard owns which slot.

use basalt_keyspace::{SLOTS, ShardId, SlotId};

/// The table of slots. It is data: contiguous blocks to begin with, but nothing relies on that.
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

    pub(crate) fn shard_count(&self) -> usize {
        self.shard_count
    }

    pub(crate) fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.shard_count as u16).map(ShardId)
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
            let mut slot = 0;
            let mut runs = 0;
            while slot < SLOTS {
                let end = routes.run_end(slot);
                assert!((SLOTS / shards..=SLOTS / shards + 1).contains(&(end - slot)));
                (slot, runs) = (end, runs + 1);
            }
            assert_eq!((slot, runs), (SLOTS, shards));
        }
    }
}
