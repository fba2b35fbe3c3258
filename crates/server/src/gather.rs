//! Gather: waiting a moment for more requests before they are worked.
//!
//! Where there are several shards, half of the requests or more cross to another core, and every
//! crossing, however few requests it carries, may put one core to sleep and wake another: 7 µs of CPU
//! time on a virtual machine. So a shard with many clients at a time waits until half of those that
//! were active lately have asked again. How long it does at most depends on how busy it was in the last
//! millisecond: one that has CPU time to spare answers at once instead. A shard with few clients never
//! waits: its next request would come no sooner for it.
//!
//! Not here: the waiting (`ring`).

/// LIMIT: with fewer active clients nothing is waited for.
const CROWD_MIN: usize = 8;

/// Over how long active clients and work are counted, as a power of two of microseconds: about a
/// millisecond.
const EPOCH_SHIFT: u32 = 10;

/// A wait is as many microseconds as the square of those that the shard works in an epoch, through this:
/// 27 for one that works a tenth of the time, 300 for a third, 680 for half.
const BUSY_DIVISOR: u64 = 384;

/// A shorter wait isn't worth its timer.
const US_MIN: u32 = 25;

/// When a client was last active, in the unit of [`Gather`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark(u64);

/// What a wait is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowd {
    /// So many events end it.
    pub(crate) count: usize,
    pub(crate) us: u32,
}

#[derive(Debug)]
pub(crate) struct Gather {
    limit_us: u32,
    epoch: u64,
    /// Clients that were active in this epoch, and in the one before.
    active: usize,
    active_before: usize,
    /// When this epoch began, and what CPU time the thread had used by then.
    since_us: u64,
    cpu_us: u64,
    /// How much of an epoch the shard works, as far as the last one tells.
    busy_us: u64,
}

impl Gather {
    /// Waits for `limit_us` at most; 0 is never. One shard alone has nothing to gain.
    pub(crate) fn new(limit_us: u32, shard_count: usize) -> Self {
        let limit_us = if shard_count > 1 { limit_us } else { 0 };
        let (since_us, cpu_us, busy_us) = (0, 0, 0);
        Self { limit_us, epoch: 0, active: 0, active_before: 0, since_us, cpu_us, busy_us }
    }

    /// A turn begins; `cpu_us` is asked for the CPU time that the thread has used, once in an epoch.
    pub(crate) fn begin(&mut self, now_us: u64, cpu_us: impl FnOnce() -> u64) {
        // Epoch 0 is what marks say of clients that never were active.
        let epoch = (now_us >> EPOCH_SHIFT) + 1;
        if epoch == self.epoch {
            return;
        }
        self.active_before = if epoch == self.epoch + 1 { self.active } else { 0 };
        (self.epoch, self.active) = (epoch, 0);
        if self.limit_us > 0 {
            let cpu_us = cpu_us();
            let (worked_us, passed_us) =
                (cpu_us.saturating_sub(self.cpu_us), now_us - self.since_us);
            self.busy_us = (worked_us << EPOCH_SHIFT) / passed_us.max(1);
            (self.since_us, self.cpu_us) = (now_us, cpu_us);
        }
    }

    /// A client has sent something.
    #[inline]
    pub(crate) fn note(&mut self, mark: &mut Mark) {
        if mark.0 != self.epoch {
            mark.0 = self.epoch;
            self.active += 1;
        }
    }

    /// What to wait for before the next turn, if that is worth it.
    pub(crate) fn crowd(&self) -> Option<Crowd> {
        let active = self.active.max(self.active_before);
        let us = (self.busy_us * self.busy_us / BUSY_DIVISOR).min(self.limit_us.into()) as u32;
        (us >= US_MIN && active >= CROWD_MIN).then_some(Crowd { count: active / 2, us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Microseconds of CPU time used by `now_us`, of a thread that works so many in each epoch.
    fn busy(us: u64, now_us: u64) -> impl FnOnce() -> u64 {
        move || (now_us * us) >> EPOCH_SHIFT
    }

    #[test]
    fn only_a_crowd_is_waited_for() {
        let mut gather = Gather::new(100, 2);
        let mut marks = [Mark::default(); 20];
        gather.begin(5_000, busy(512, 5_000));
        for mark in &mut marks[..7] {
            gather.note(mark);
            gather.note(mark);
        }
        assert_eq!(gather.crowd(), None, "seven clients that ask twice are seven");
        marks[7..].iter_mut().for_each(|mark| gather.note(mark));
        assert_eq!(gather.crowd(), Some(Crowd { count: 10, us: 100 }));
        gather.begin(5_100, || unreachable!("it is asked for once in an epoch"));
        gather.begin(5_900, busy(512, 5_900));
        assert_eq!(gather.crowd(), Some(Crowd { count: 10, us: 100 }), "the last epoch counts");
        gather.begin(20_000, busy(512, 20_000));
        assert_eq!(gather.crowd(), None, "an epoch long ago doesn't");
    }

    #[test]
    fn the_busier_the_longer() {
        let mut gather = Gather::new(400, 2);
        let mut wait_us = |now_us: u64, cpu_us: u64| {
            gather.begin(now_us, || cpu_us);
            (0..20).for_each(|_| gather.note(&mut Mark::default()));
            gather.crowd().map(|crowd| crowd.us)
        };
        assert_eq!(wait_us(10_240, 5_120), Some(400), "half of the time");
        assert_eq!(wait_us(11_264, 5_120 + 256), Some(170));
        assert_eq!(wait_us(12_288, 5_376 + 50), None, "too short to be worth it");
        assert_eq!(wait_us(112_288, 5_426 + 1_024), None, "a long rest counts");
        assert_eq!(wait_us(112_288 + 2_048, 6_450 + 512), Some(170), "by the time that passed");
    }

    #[test]
    fn one_shard_never_waits() {
        for (limit_us, shard_count) in [(100, 1), (0, 2)] {
            let mut gather = Gather::new(limit_us, shard_count);
            gather.begin(1, || unreachable!("nobody wants to know"));
            (0..100).for_each(|_| gather.note(&mut Mark::default()));
            assert_eq!(gather.crowd(), None);
        }
    }
}
