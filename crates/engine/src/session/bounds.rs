//! Bounds: how much the buffers of a session may take, which is less where all clients together take much of
//! `maxmemory`.
//!
//! A client that reads slowly, or not at all, keeps its replies in memory: a thousand of them with a mebibyte each
//! are more than many a cache may hold. So they wait before that, each with its own requests only.
//!
//! Not here: which clients are cut off where even this is too much (`core/maintenance.rs`).

use super::{Reading, Sessions};
use crate::limits;

/// How much the buffers of a session may take in this turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferBounds {
    /// With more output its next request waits.
    pub output_bytes: usize,
    /// With a longer backlog its socket is not read.
    pub backlog_bytes: usize,
    /// How its socket is read into the server's buffers.
    pub reading: Reading,
    /// As many replies of other shards it may wait for.
    pub holes: usize,
    /// Requests of a full backlog are worked whatever its output is.
    pub may_overfill: bool,
}

/// How much of `maxmemory` all clients together take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    #[default]
    Small,
    /// More than an eighth, and not less than half of that since.
    Large,
    /// More than a fourth, likewise.
    TooLarge,
}

impl Share {
    const LARGE_PART: u64 = 8;
    const TOO_LARGE_PART: u64 = 4;

    /// The share now, if it was this one before.
    fn next(self, client_bytes: u64, maxmemory: u64) -> Self {
        let is_over = |part: u64, share: Self| {
            // A share that was reached ends only at half of it.
            let part = if self >= share { part * 2 } else { part };
            maxmemory > 0 && client_bytes > maxmemory / part
        };
        match () {
            () if is_over(Self::TOO_LARGE_PART, Self::TooLarge) => Self::TooLarge,
            () if is_over(Self::LARGE_PART, Self::Large) => Self::Large,
            () => Self::Small,
        }
    }

    const fn bounds(self) -> BufferBounds {
        match self {
            Self::Small => BufferBounds {
                output_bytes: limits::OUTPUT_PAUSE_BYTES,
                backlog_bytes: limits::BACKLOG_BYTES_MAX,
                reading: Reading::Buffered,
                holes: limits::HOLES_MAX,
                may_overfill: true,
            },
            Self::Large => BufferBounds {
                output_bytes: limits::OUTPUT_PAUSE_BYTES / 32,
                backlog_bytes: limits::BACKLOG_BYTES_MAX / 16,
                reading: Reading::Sparing,
                holes: limits::HOLES_AT_FIRST,
                may_overfill: true,
            },
            Self::TooLarge => BufferBounds {
                output_bytes: limits::OUTPUT_PAUSE_BYTES / 256,
                backlog_bytes: limits::BACKLOG_BYTES_MAX / 64,
                reading: Reading::Sparing,
                holes: limits::HOLES_MIN,
                may_overfill: false,
            },
        }
    }
}

/// The bounds of this turn.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    share: Share,
    /// Sessions may wait for bounds that are wider now.
    may_wait: bool,
}

impl Sessions {
    /// The bounds of this turn.
    #[inline]
    pub(crate) fn bounds(&self) -> BufferBounds {
        self.bounds.share.bounds()
    }

    /// Sets the bounds of this turn by what the clients of all shards take; `maxmemory` 0 is no limit.
    pub(crate) fn set_bounds(&mut self, client_bytes: usize, maxmemory: u64) {
        let share = self.bounds.share.next(client_bytes as u64, maxmemory);
        if share == self.bounds.share {
            return;
        }
        self.bounds = Bounds { share, may_wait: true };
        // What is in their sockets may be much more than a backlog.
        for place in 0..self.places.len() {
            if let Some(id) = self.at(place) {
                self.settle_reading(id);
            }
        }
    }

    /// Whether sessions may wait because the bounds were narrower than they are.
    pub(crate) fn may_wait_for_bounds(&self) -> bool {
        self.bounds.may_wait
    }

    /// All sessions have been looked over since the bounds were the widest.
    pub(crate) fn waits_for_bounds_no_more(&mut self) {
        self.bounds.may_wait = self.bounds.share != Share::Small;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_was_reached_ends_at_half_of_it() {
        let mut share = Share::Small;
        let mut follow = |percent: u64| {
            share = share.next(percent, 100);
            share
        };
        let shares = [0, 12, 13, 7, 6, 24, 26, 13, 12, 6, 26, 5].map(&mut follow);
        let (small, large, too_large) = (Share::Small, Share::Large, Share::TooLarge);
        let expected = [
            small, small, large, large, small, large, too_large, too_large, large, small,
            too_large, small,
        ];
        assert_eq!(shares, expected);
        assert_eq!(Share::TooLarge.next(u64::MAX, 0), Share::Small, "there is no limit");
    }
}
