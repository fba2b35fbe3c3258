//! Gather: waiting a moment for more requests before they are worked.
//!
//! Where there are several shards, half of the requests or more cross to another core, and every crossing,
//! however few requests it carries, may put one core to sleep and wake another: 10 to 30 µs of CPU time on
//! a virtual machine, with what the caches lose meanwhile. So a shard with many clients at a time waits for
//! most of those that can ask at all: who was active lately, but for those who wait for an answer
//! themselves, of this shard or through it of another. How long it waits at most depends on how busy it was
//! in the last millisecond: one that has CPU time to spare answers at once instead. A shard with few
//! clients never waits: its next request would come no sooner for it.
//!
//! Not here: the waiting (`ring`).

/// LIMIT: with fewer active clients nothing is waited for.
const BATCH_MIN: usize = 8;

/// Over how long active clients and work are counted, as a power of two of microseconds: about a
/// millisecond.
const EPOCH_SHIFT: u32 = 10;

/// A wait is as many microseconds as the cube of those that the shard works in an epoch, through this: 27
/// for one that works a tenth of the time, 400 for a quarter.
const BUSY_DIVISOR: u64 = 40_000;

/// Batches that come in time gain trust, and others lose it: it grows where more than half do. Half of it
/// will do.
const TRUST_MAX: u8 = 64;

/// A shorter wait isn't worth its timer.
const US_MIN: u32 = 25;

/// What is known of a client, in the epochs of [`Gather`]; none is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    /// When it was last active.
    active: u64,
    /// Since when it waits for an answer.
    asked: u64,
}

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    /// So many events end it.
    pub(crate) count: usize,
    /// So long it may be waited for.
    pub(crate) us: u32,
    /// Batches have been filling in time, so a coarse timeout is good enough.
    pub(crate) is_trusted: bool,
}

/// What an epoch saw.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Clients that were active.
    active: usize,
    /// Those of them that have no answer yet.
    unanswered: usize,
    /// How often a client sent something.
    arrivals: usize,
}

#[derive(Debug)]
pub(crate) struct Gather {
    limit_us: u32,
    epoch: u64,
    /// In this epoch, and in the one before.
    seen: Seen,
    seen_before: Seen,
    /// When this epoch began, and what CPU time the thread had used by then.
    since_us: u64,
    cpu_us: u64,
    /// How much of an epoch the shard works, by the last one.
    busy_us: u64,
    /// When the last batch had to be there.
    waits_until_us: u64,
    trust: u8,
}

impl Gather {
    /// Waits for `limit_us` at most; 0 is never. One shard alone has nothing to gain.
    pub(crate) fn new(limit_us: u32, shard_count: usize) -> Self {
        let limit_us = if shard_count > 1 { limit_us } else { 0 };
        Self {
            limit_us,
            epoch: 0,
            seen: Seen::default(),
            seen_before: Seen::default(),
            since_us: 0,
            cpu_us: 0,
            busy_us: 0,
            waits_until_us: 0,
            trust: 0,
        }
    }

    /// A turn begins; `cpu_us` is asked for the CPU time that the thread has used, once in an epoch.
    pub(crate) fn begin(&mut self, now_us: u64, cpu_us: impl FnOnce() -> u64) {
        let epoch = (now_us >> EPOCH_SHIFT) + 1;
        if epoch == self.epoch {
            return;
        }
        let seen = std::mem::take(&mut self.seen);
        self.seen_before = if epoch == self.epoch + 1 { seen } else { Seen::default() };
        self.epoch = epoch;
        if self.limit_us > 0 {
            let cpu_us = cpu_us();
            let (worked_us, passed_us) =
                (cpu_us.saturating_sub(self.cpu_us), now_us - self.since_us);
            let busy_us = (worked_us << EPOCH_SHIFT) / passed_us.max(1);
            // The clocks don't agree to the last microsecond.
            self.busy_us = busy_us.min(1 << EPOCH_SHIFT);
            (self.since_us, self.cpu_us) = (now_us, cpu_us);
        }
    }

    /// A wait for a batch is over: for one that came, where it was not cut short.
    pub(crate) fn judge(&mut self, now_us: u64, was_cut: bool) {
        if now_us >= self.waits_until_us {
            self.trust = self.trust.saturating_sub(1);
        } else if !was_cut {
            self.trust = TRUST_MAX.min(self.trust + 1);
        }
    }

    /// A client has sent something.
    #[inline]
    pub(crate) fn note(&mut self, mark: &mut Mark) {
        self.seen.arrivals += 1;
        if mark.active != self.epoch {
            mark.active = self.epoch;
            self.seen.active += 1;
        }
        if mark.asked == 0 {
            mark.asked = self.epoch;
            self.seen.unanswered += 1;
        }
    }

    /// A client is sent an answer. Who waits for longer than an epoch is counted no more.
    #[inline]
    pub(crate) fn answered(&mut self, mark: &mut Mark) {
        let asked = std::mem::take(&mut mark.asked);
        if asked == self.epoch {
            self.seen.unanswered = self.seen.unanswered.saturating_sub(1);
        } else if asked + 1 == self.epoch {
            self.seen_before.unanswered = self.seen_before.unanswered.saturating_sub(1);
        }
    }

    /// What to wait for before the next turn, from now on, if that is worth it.
    pub(crate) fn batch(&mut self, now_us: u64) -> Option<Batch> {
        let Self { seen, seen_before, busy_us, .. } = self;
        let active = seen.active.max(seen_before.active);
        let us = (busy_us.pow(3) / BUSY_DIVISOR).min(self.limit_us.into()) as u32;
        if us < US_MIN || active < BATCH_MIN {
            return None;
        }
        let free = active.saturating_sub(seen.unanswered + seen_before.unanswered);
        // So many come in that time.
        let arrivals = (seen.arrivals.max(seen_before.arrivals) * us as usize) >> EPOCH_SHIFT;
        let count = (free * 3 / 4).min(arrivals).max(1);
        self.waits_until_us = now_us + u64::from(us);
        Some(Batch { count, us, is_trusted: self.trust >= TRUST_MAX / 2 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Microseconds of CPU time used by `now_us`, of a thread that works so many in each epoch.
    fn busy(us: u64, now_us: u64) -> impl FnOnce() -> u64 {
        move || (now_us * us) >> EPOCH_SHIFT
    }

    fn batch(count: usize, us: u32) -> Option<Batch> {
        Some(Batch { count, us, is_trusted: false })
    }

    #[test]
    fn only_a_batch_is_waited_for() {
        let mut gather = Gather::new(1_000, 2);
        let mut marks = [Mark::default(); 20];
        gather.begin(5_000, busy(512, 5_000));
        for mark in &mut marks[..7] {
            gather.note(mark);
            gather.note(mark);
        }
        assert_eq!(gather.batch(5_000), None, "seven clients that ask twice are seven");
        marks[7..].iter_mut().for_each(|mark| gather.note(mark));
        assert_eq!(gather.batch(5_000), batch(1, 1_000), "nobody can ask: it is for an answer");
        marks[..12].iter_mut().for_each(|mark| gather.answered(mark));
        assert_eq!(gather.batch(5_000), batch(9, 1_000), "three quarters of those who can");
        gather.begin(5_100, || unreachable!("it is asked for once in an epoch"));
        gather.begin(5_900, busy(512, 5_900));
        marks[12..16].iter_mut().for_each(|mark| gather.answered(mark));
        assert_eq!(gather.batch(5_900), batch(12, 1_000), "the last epoch counts");
        gather.begin(7_000, busy(512, 7_000));
        marks[16..].iter_mut().for_each(|mark| gather.answered(mark));
        marks[..8].iter_mut().for_each(|mark| gather.note(mark));
        marks[..8].iter_mut().for_each(|mark| gather.answered(mark));
        assert_eq!(gather.batch(7_000), batch(6, 1_000), "one long ago doesn't");
        gather.begin(20_000, busy(512, 20_000));
        assert_eq!(gather.batch(20_000), None);
    }

    #[test]
    fn no_more_are_waited_for_than_come_in_the_time() {
        let mut gather = Gather::new(256, 2);
        gather.begin(10_240, busy(512, 10_240));
        for _ in 0..20 {
            let mut mark = Mark::default();
            gather.note(&mut mark);
            gather.answered(&mut mark);
        }
        assert_eq!(gather.batch(10_240), batch(5, 256));
    }

    #[test]
    fn the_busier_the_longer() {
        let mut gather = Gather::new(400, 2);
        let mut wait_us = |now_us: u64, cpu_us: u64| {
            gather.begin(now_us, || cpu_us);
            (0..20).for_each(|_| gather.note(&mut Mark::default()));
            gather.batch(now_us).map(|batch| batch.us)
        };
        assert_eq!(wait_us(10_240, 5_120), Some(400), "half of the time");
        assert_eq!(wait_us(11_264, 5_120 + 204), Some(212));
        assert_eq!(wait_us(12_288, 5_324 + 50), None, "too short to be worth it");
        assert_eq!(wait_us(112_288, 5_374 + 1_024), None, "a long rest counts");
        assert_eq!(wait_us(112_288 + 2_048, 6_398 + 408), Some(212), "by the time that passed");
    }

    #[test]
    fn batches_that_come_in_time_are_trusted() {
        let mut gather = Gather::new(400, 2);
        let mut now_us = 10_240;
        let mut is_trusted = |waits: usize, wait_us: u64, was_cut: bool| {
            let mut is_trusted = false;
            for round in 0..=waits {
                gather.begin(now_us, || now_us / 2);
                (0..20).for_each(|_| gather.note(&mut Mark::default()));
                is_trusted = gather.batch(now_us).expect("it is busy").is_trusted;
                if round < waits {
                    now_us += wait_us;
                    gather.judge(now_us, was_cut);
                }
            }
            is_trusted
        };
        assert!(!is_trusted(31, 399, false));
        assert!(!is_trusted(100, 399, true), "nobody knows whether that one would have come");
        assert!(is_trusted(1, 399, false));
        assert!(!is_trusted(1, 400, false));
        assert!(is_trusted(100, 399, false));
        assert!(is_trusted(32, 400, true));
        assert!(!is_trusted(1, 400, false), "in the end it is lost");
    }

    #[test]
    fn who_waits_for_long_counts_no_more() {
        let mut gather = Gather::new(400, 2);
        let (mut then, mut now) = ([Mark::default(); 10], [Mark::default(); 10]);
        gather.begin(10_240, busy(512, 10_240));
        then.iter_mut().for_each(|mark| gather.note(mark));
        gather.begin(20_480, busy(512, 20_480));
        now.iter_mut().for_each(|mark| gather.note(mark));
        then.iter_mut().for_each(|mark| gather.answered(mark));
        assert_eq!(gather.batch(20_480), batch(1, 400), "those of now have no answer");
    }

    #[test]
    fn one_shard_never_waits() {
        for (limit_us, shard_count) in [(100, 1), (0, 2)] {
            let mut gather = Gather::new(limit_us, shard_count);
            gather.begin(1, || unreachable!("nobody wants to know"));
            (0..100).for_each(|_| gather.note(&mut Mark::default()));
            assert_eq!(gather.batch(1), None);
        }
    }
}
