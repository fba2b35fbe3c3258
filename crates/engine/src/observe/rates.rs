//! Rates: how fast a shard's counters grow, over the last second or two.

use std::collections::VecDeque;

use crate::observe::stats::ShardStats;

/// LIMIT: marks that are kept; at one per session check they reach back 1.6 seconds.
/// An idle shard makes one each time it wakes by itself, which is once a second.
const MARKS_MAX: usize = 16;
/// Older marks don't count, unless there is no younger one.
const MARK_AGE_MAX_US: u64 = 2_000_000;

/// Counters at some moments.
#[derive(Debug, Default)]
pub(crate) struct Rates(VecDeque<Mark>);

#[derive(Clone, Copy, Debug)]
struct Mark {
    at_us: u64,
    commands: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// Growth per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    pub commands: f64,
    pub bytes_in: f64,
    pub bytes_out: f64,
}

impl Mark {
    fn of(stats: &ShardStats, commands: u64, at_us: u64) -> Self {
        let ShardStats { bytes_in, bytes_out, .. } = *stats;
        Self { at_us, commands, bytes_in, bytes_out }
    }
}

impl Rates {
    pub(crate) fn mark(&mut self, stats: &ShardStats, commands: u64, now_us: u64) {
        if self.0.len() == MARKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Mark::of(stats, commands, now_us));
    }

    /// The growth since the oldest mark that is not too old, or since the last one where all are.
    pub(crate) fn now(&self, stats: &ShardStats, commands: u64, now_us: u64) -> Rate {
        let is_young = |mark: &&Mark| now_us.saturating_sub(mark.at_us) <= MARK_AGE_MAX_US;
        let Some(from) = self.0.iter().find(is_young).or(self.0.back()) else {
            return Rate::default();
        };
        let to = Mark::of(stats, commands, now_us);
        let seconds = to.at_us.saturating_sub(from.at_us) as f64 / 1e6;
        if seconds == 0.0 {
            return Rate::default();
        }
        Rate {
            commands: to.commands.saturating_sub(from.commands) as f64 / seconds,
            bytes_in: to.bytes_in.saturating_sub(from.bytes_in) as f64 / seconds,
            bytes_out: to.bytes_out.saturating_sub(from.bytes_out) as f64 / seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_looks_back_a_second_or_two() {
        let mut rates = Rates::default();
        let stats = ShardStats::default();
        assert_eq!(rates.now(&stats, 0, 5), Rate::default());
        for tick in 0..40 {
            rates.mark(&stats, 10 * (tick + 1), tick * 100_000);
        }
        assert_eq!(rates.now(&stats, 400, 3_900_000).commands, 100.0);
        // Ten idle seconds later nothing happened since the last mark.
        assert_eq!(rates.now(&stats, 400, 13_900_000).commands, 0.0);
        assert_eq!(rates.now(&stats, 500, 13_900_000).commands, 10.0);
    }
}
