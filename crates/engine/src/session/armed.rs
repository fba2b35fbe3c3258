//! Armed: which gates look at commands at all, for a session or for all of a shard. What each does: `gates`.

/// A set of gates, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Armed(pub u32);

impl Armed {
    /// The command is one that settings may forbid.
    pub(crate) const PROTECTED: Self = Self(1);
    /// The session has not authenticated.
    pub(crate) const AUTH: Self = Self(1 << 1);
    /// The session is a monitor.
    pub(crate) const MONITOR: Self = Self(1 << 2);
    /// CLIENT PAUSE.
    pub(crate) const PAUSE: Self = Self(1 << 3);
    /// The session is between MULTI and EXEC.
    pub(crate) const MULTI: Self = Self(1 << 4);
    /// There are monitors, on whichever shard.
    pub(crate) const OBSERVED: Self = Self(1 << 5);
    /// The session is subscribed to something in RESP2, where messages look like replies.
    pub(crate) const SUBSCRIBED: Self = Self(1 << 6);
    /// The disk refuses what is written to the journal.
    pub(crate) const DISK: Self = Self(1 << 7);
    /// The session tracks the keys that it reads.
    pub(crate) const TRACKING: Self = Self(1 << 8);
    /// Data is being loaded at the start.
    pub(crate) const LOADING: Self = Self(1 << 9);

    /// A script runs for long, on whichever shard.
    pub(crate) const SCRIPT: Self = Self(1 << 10);

    pub(crate) fn set(&mut self, gate: Self, armed: bool) {
        if armed {
            self.0 |= gate.0;
        } else {
            self.0 &= !gate.0;
        }
    }

    #[inline]
    pub(crate) const fn has(self, gate: Self) -> bool {
        self.0 & gate.0 != 0
    }

    #[inline]
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}
