//! Now: the moment of a turn.

/// The moment of a turn, read once by the world and used for all that the turn does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970, as Redis counts expiry.
    pub unix_ms: u64,
    /// Microseconds since some fixed moment; never runs backwards.
    pub monotonic_us: u64,
}

impl Now {
    /// Microseconds since 1970: the moment of the turn, and what has passed of it at this reading of the clock.
    pub(crate) fn unix_us(self, monotonic_us: u64) -> u64 {
        self.unix_ms * 1000 + monotonic_us.saturating_sub(self.monotonic_us)
    }
}

/// Nanoseconds since some fixed moment; never runs backwards.
pub type Stopwatch = Box<dyn Fn() -> u64 + Send>;
