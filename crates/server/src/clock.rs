//! Clock: the moment of a turn.
//!
//! One reading of the monotonic clock per call; the calendar is read again only now and then and
//! carried forward in between, so a clock set by hand shows with a small delay.

#![expect(clippy::disallowed_methods, reason = "this is where the server reads clocks")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use basalt_engine::{Now, Stopwatch};
use nix::time::{ClockId, clock_gettime};

/// How long the calendar is carried forward.
const CALENDAR_EVERY_US: u64 = 10_000;

#[derive(Debug)]
pub(crate) struct Clock {
    origin: Instant,
    /// A moment on the monotonic clock, and the same on the calendar.
    at_us: u64,
    calendar_us: u64,
}

/// The CPU time that the calling thread has used, in microseconds; 0 where the kernel doesn't tell.
pub(crate) fn thread_cpu_us() -> u64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .map_or(0, |time| Duration::from(time).as_micros() as u64)
}

/// Milliseconds since 1970, for who has no clock.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

impl Clock {
    /// A clock that counts from `origin`, the same for all shards.
    pub(crate) fn since(origin: Instant) -> Self {
        let mut clock = Self { origin, at_us: 0, calendar_us: 0 };
        clock.read_calendar(clock.monotonic_us());
        clock
    }

    pub(crate) fn origin_now() -> Instant {
        Instant::now()
    }

    pub(crate) fn seconds_since(moment: Instant) -> f64 {
        moment.elapsed().as_secs_f64()
    }

    pub(crate) fn monotonic_us(&self) -> u64 {
        // Half a million years from now this would wrap.
        self.origin.elapsed().as_micros() as u64
    }

    pub(crate) fn monotonic_ns(&self) -> u64 {
        // Five centuries from now this would wrap.
        self.origin.elapsed().as_nanos() as u64
    }

    pub(crate) fn stopwatch(&self) -> Stopwatch {
        let origin = self.origin;
        Box::new(move || origin.elapsed().as_nanos() as u64)
    }

    pub(crate) fn now(&mut self) -> Now {
        let monotonic_us = self.monotonic_us();
        if monotonic_us - self.at_us >= CALENDAR_EVERY_US {
            self.read_calendar(monotonic_us);
        }
        let unix_us = self.calendar_us + (monotonic_us - self.at_us);
        Now { unix_ms: unix_us / 1000, monotonic_us }
    }

    fn read_calendar(&mut self, at_us: u64) {
        self.at_us = at_us;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.calendar_us = since_1970.as_micros() as u64;
    }
}
