//! Armed: which gates look at commands at all, for a session or for all of a shard.

/// A set of gates, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Armed(pub u8);

impl Armed {
    pub(crate) const AUTH: Self = Self(1);
    /// CLIENT PAUSE: not a check but a wait; see `Shard::holds_back`.
    pub(crate) const PAUSE: Self = Self(1 << 1);
    /// MULTI: commands are queued; see `core/exec.rs`.
    pub(crate) const MULTI: Self = Self(1 << 2);
    /// MONITOR: somebody watches, or the session does; see `monitor`.
    pub(crate) const MONITOR: Self = Self(1 << 3);

    pub(crate) fn set(&mut self, gate: Self, armed: bool) {
        if armed {
            self.0 |= gate.0;
        } else {
            self.0 &= !gate.0;
        }
    }

    #[inline]
    pub(crate) fn has(self, gate: Self) -> bool {
        self.0 & gate.0 != 0
    }
}
