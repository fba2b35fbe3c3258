//! Balance: which slots would better be another shard's, by how busy they keep the one that has them.
//!
//! Each shard adds up, by slot, the nanoseconds of those calls whose time is taken anyway (`command_stats`: each slow
//! one, and of quick ones a sample that stands for others), so the others pay nothing. Once in a while the
//! first shard collects these sums. If one shard is much busier than all are on average, and was the last
//! time, some of its slots go to the idlest one, as far as that brings the two closer together.
//!
//! Not here: how slots move (`moves.rs`), when it is looked at (`core/maintenance.rs`).

use basalt_keyspace::{SLOTS, ShardId, SlotId};

use crate::limits;

/// What a shard's slots cost since it was last asked; nothing is kept while nobody balances.
#[derive(Default)]
pub(crate) struct Loads(Option<Box<[u64]>>);

impl Loads {
    pub(crate) fn keep(&mut self, keeps: bool) {
        if keeps != self.0.is_some() {
            self.0 = keeps.then(|| vec![0; SLOTS].into());
        }
    }

    /// Calls in a slot took so many nanoseconds.
    #[cold]
    pub(crate) fn note(&mut self, slot: SlotId, ns: u64) {
        if let Some(loads) = &mut self.0 {
            loads[slot.index()] = loads[slot.index()].saturating_add(ns);
        }
    }

    /// The slots that cost anything.
    pub(crate) fn take(&mut self) -> Vec<(SlotId, u64)> {
        let loads = self.0.iter_mut().flat_map(|loads| loads.iter_mut()).zip(0..);
        let loads = loads.map(|(load, slot)| (SlotId(slot), std::mem::take(load)));
        loads.filter(|(_, load)| *load > 0).collect()
    }
}

/// A shard that is busier than this many hundredths of the mean is too busy.
const TOO_BUSY_PERCENT: u64 = 125;
/// Below so much work in a round (1 % of a core) nobody would gain.
const WORTHWHILE_NS: u64 = limits::BALANCE_US * 1000 / 100;

/// Remembers from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Balancer {
    /// The shard that was too busy the last time.
    busiest: Option<ShardId>,
}

impl Balancer {
    /// What should move, and where to, given the loads of all shards.
    pub(crate) fn plan(
        &mut self,
        mut loads: Vec<Vec<(SlotId, u64)>>,
    ) -> Option<(Vec<SlotId>, ShardId)> {
        let sums: Vec<u64> =
            loads.iter().map(|slots| slots.iter().map(|(_, load)| load).sum()).collect();
        let busiest = (0..sums.len()).max_by_key(|&shard| sums[shard])?;
        let idlest = (0..sums.len()).min_by_key(|&shard| sums[shard])?;
        let mean = sums.iter().sum::<u64>() / sums.len() as u64;
        let is_too_busy =
            sums[busiest] >= WORTHWHILE_NS && sums[busiest] * 100 > mean * TOO_BUSY_PERCENT;
        let shard = is_too_busy.then_some(ShardId(busiest as u16));
        // Once may be random.
        if shard.is_none() || std::mem::replace(&mut self.busiest, shard) != shard {
            self.busiest = shard;
            return None;
        }
        // What moved is judged anew.
        self.busiest = None;
        let mut room = (sums[busiest] - sums[idlest]) / 2;
        let slots = &mut loads[busiest];
        slots.sort_unstable_by_key(|&(slot, load)| (std::cmp::Reverse(load), slot.0));
        let mut moving = Vec::new();
        for &(slot, load) in slots.iter() {
            if load <= room && moving.len() < limits::SLOTS_BALANCED_AT_ONCE {
                room -= load;
                moving.push(slot);
            }
        }
        (!moving.is_empty()).then_some((moving, ShardId(idlest as u16)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: u64 = WORTHWHILE_NS;

    fn slots(loads: &[(u16, u64)]) -> Vec<(SlotId, u64)> {
        loads.iter().map(|&(slot, load)| (SlotId(slot), load * UNIT)).collect()
    }

    #[test]
    fn slots_go_to_the_idlest_as_far_as_that_helps() {
        let loads =
            || vec![slots(&[(1, 2)]), slots(&[(5, 1), (6, 4), (7, 9), (8, 1)]), slots(&[(9, 1)])];
        let mut balancer = Balancer::default();
        assert_eq!(balancer.plan(loads()), None, "once may be random");
        let (moving, to) = balancer.plan(loads()).expect("it is too busy for the second time");
        assert_eq!((moving, to), (vec![SlotId(6), SlotId(5), SlotId(8)], ShardId(2)));
        assert_eq!(balancer.plan(loads()), None, "what moved is judged anew");
    }

    #[test]
    fn what_helps_nobody_stays() {
        let mut balancer = Balancer::default();
        for _ in 0..3 {
            let one_hot_slot = vec![slots(&[(1, 100)]), slots(&[(9, 1)])];
            assert_eq!(balancer.plan(one_hot_slot), None);
            let even = vec![slots(&[(1, 50), (2, 60)]), slots(&[(9, 100)])];
            assert_eq!(balancer.plan(even), None);
        }
        for _ in 0..3 {
            let idle = vec![vec![(SlotId(1), UNIT / 4), (SlotId(2), UNIT / 4)], Vec::new()];
            assert_eq!(balancer.plan(idle), None);
        }
    }

    #[test]
    fn loads_are_kept_only_while_somebody_balances() {
        let mut loads = Loads::default();
        loads.note(SlotId(3), 5);
        assert!(loads.take().is_empty());
        loads.keep(true);
        loads.note(SlotId(3), 5);
        loads.note(SlotId(3), 6);
        loads.keep(true);
        assert_eq!(loads.take(), [(SlotId(3), 11)]);
        assert!(loads.take().is_empty());
    }
}
