//! Spin: looking for work a little while before sleeping, for those with CPU time to spare.
//!
//! It adapts: where looking is in vain most of the time, it is tried only now and then.

use crate::clock::Clock;

/// How much luck is remembered.
const CREDIT_MAX: u32 = 16;
/// Out of luck, one rest in so many still looks.
const TRY_EVERY: u32 = 64;

pub(crate) struct Spin {
    limit_us: u64,
    credit: u32,
    skipped: u32,
}

impl Spin {
    /// Looks for `limit_us` at most; 0 is never.
    pub(crate) fn new(limit_us: u32) -> Self {
        Self { limit_us: limit_us.into(), credit: CREDIT_MAX, skipped: 0 }
    }

    pub(crate) fn is_worth_it(&mut self) -> bool {
        if self.limit_us == 0 {
            return false;
        }
        if self.credit > 0 {
            return true;
        }
        self.skipped = (self.skipped + 1) % TRY_EVERY;
        self.skipped == 0
    }

    /// Looks until there is something (true) or the time is up.
    pub(crate) fn until(&mut self, clock: &Clock, mut found: impl FnMut() -> bool) -> bool {
        let end_us = clock.monotonic_us() + self.limit_us;
        loop {
            if found() {
                self.credit = (self.credit + 2).min(CREDIT_MAX);
                return true;
            }
            if clock.monotonic_us() >= end_us {
                self.credit = self.credit.saturating_sub(1);
                return false;
            }
            std::hint::spin_loop();
        }
    }
}
