//! Guard: a timer that fires again and again, so that a wait for several completions ends though they
//! don't come.
//!
//! Whatever the count that is waited for, a timeout of the ring ends the wait. One that fires once would
//! not do: it may fire just before the wait, and then it is but one completion of those that count. And a
//! timeout of the wait itself is dear where a machine is virtual: 8 µs on one for each wait that it does not
//! end.

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::{TimeoutFlags, Timespec};

/// How often it fires.
pub(super) const GUARD_US: u64 = 1_000;

static GUARD: Timespec = Timespec::new().nsec(GUARD_US as u32 * 1_000);

#[derive(Debug, Default)]
pub(super) enum Guard {
    #[default]
    Off,
    On {
        /// Since it fired last.
        is_used: bool,
    },
    /// Asked to end, which it has not yet.
    Ending,
}

impl Guard {
    /// Has it watch over the next wait; an entry with which to arm it, where it is not. False where it
    /// can't.
    pub(super) fn demand(&mut self, data: u64) -> (bool, Option<Entry>) {
        match self {
            Self::Off => {
                *self = Self::On { is_used: true };
                let entry = opcode::Timeout::new(&raw const GUARD).flags(TimeoutFlags::MULTISHOT);
                (true, Some(entry.build().user_data(data)))
            }
            Self::On { is_used } => {
                *is_used = true;
                (true, None)
            }
            Self::Ending => (false, None),
        }
    }

    /// It fired, for the last time or not; an entry that ends it, where nobody needs it.
    pub(super) fn fired(&mut self, data: u64, is_last: bool) -> Option<Entry> {
        match self {
            _ if is_last => *self = Self::Off,
            Self::On { is_used: is_used @ true } => *is_used = false,
            // The kernel finds it only while it runs, not while it is about to start again: then it fires once
            // more, and is told once more.
            _ => {
                *self = Self::Ending;
                return Some(opcode::TimeoutRemove::new(data).build());
            }
        }
        None
    }
}
