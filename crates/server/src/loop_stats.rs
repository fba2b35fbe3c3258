//! Loop statistics: what a core counts of its own loop, for the metrics page. Plain numbers of one thread.

/// Steps of a turn's length, each twice the one before: the last one begins at half a second.
pub(crate) const TURN_STEPS: usize = 20;

/// What a core counts of its own loop.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoopStats {
    pub(crate) turns: u64,
    /// Microseconds of all turns.
    pub(crate) turns_us: u64,
    /// The longest since the last CONFIG RESETSTAT.
    pub(crate) turn_max_us: u64,
    /// Turns by the number of bits of their microseconds; the last place has all that are longer.
    pub(crate) turn_steps: [u64; TURN_STEPS],
    /// Operations handed to the kernel, and the system calls that did it.
    pub(crate) submissions: u64,
    pub(crate) enters: u64,
    /// Messages of other shards that wait to be read.
    pub(crate) mesh_depth: usize,
    pub(crate) packets_sent: u64,
    pub(crate) packets_received: u64,
}

impl LoopStats {
    /// Counts a turn.
    #[inline]
    pub(crate) fn count_turn(&mut self, us: u64) {
        self.turns += 1;
        self.turns_us += us;
        let bits = (u64::BITS - us.leading_zeros()) as usize;
        self.turn_steps[bits.min(TURN_STEPS - 1)] += 1;
    }

    /// How many turns took less than 2^`bits` µs.
    pub(crate) fn turns_below(&self, bits: usize) -> u64 {
        self.turn_steps[..=bits].iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_fall_into_steps() {
        let mut statistics = LoopStats::default();
        for us in [0, 1, 2, 3, 1023, 1024, u64::from(u32::MAX)] {
            statistics.count_turn(us);
        }
        let below: Vec<u64> = [0, 1, 2, 10, 11].map(|bits| statistics.turns_below(bits)).into();
        assert_eq!(below, [1, 2, 4, 5, 6]);
        assert_eq!((statistics.turns, statistics.turns_below(TURN_STEPS - 1)), (7, 7));
    }
}
