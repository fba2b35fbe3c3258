//! Gather: waiting a moment for more requests before they are worked.
//!
//! Where there are several shards, half of the requests or more cross to another core, and every
//! crossing, however few requests it carries, may put one core to sleep and wake another: 7 µs of CPU
//! time on a virtual machine. So a shard with many clients at a time waits until half of those that
//! were active lately have asked again, or for the time that is set. A shard with few clients never
//! waits: its next request would come no sooner for it.
//!
//! Not here: the waiting (`ring`).

/// LIMIT: with fewer active clients nothing is waited for.
const CROWD_MIN: usize = 8;

/// Over how long active clients are counted, as a power of two of microseconds: about a millisecond.
const EPOCH_SHIFT: u32 = 10;

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
}

impl Gather {
    /// Waits for `limit_us` at most; 0 is never. One shard alone has nothing to gain.
    pub(crate) fn new(limit_us: u32, shard_count: usize) -> Self {
        let limit_us = if shard_count > 1 { limit_us } else { 0 };
        Self { limit_us, epoch: 0, active: 0, active_before: 0 }
    }

    /// A turn begins.
    pub(crate) fn begin(&mut self, now_us: u64) {
        // Epoch 0 is what marks say of clients that never were active.
        let epoch = (now_us >> EPOCH_SHIFT) + 1;
        if epoch != self.epoch {
            self.active_before = if epoch == self.epoch + 1 { self.active } else { 0 };
            (self.epoch, self.active) = (epoch, 0);
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
        (self.limit_us > 0 && active >= CROWD_MIN)
            .then_some(Crowd { count: active / 2, us: self.limit_us })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_crowd_is_waited_for() {
        let mut gather = Gather::new(100, 2);
        let mut marks = [Mark::default(); 20];
        gather.begin(5_000);
        for mark in &mut marks[..7] {
            gather.note(mark);
            gather.note(mark);
        }
        assert_eq!(gather.crowd(), None, "seven clients that ask twice are seven");
        marks[7..].iter_mut().for_each(|mark| gather.note(mark));
        assert_eq!(gather.crowd(), Some(Crowd { count: 10, us: 100 }));
        gather.begin(5_900);
        assert_eq!(gather.crowd(), Some(Crowd { count: 10, us: 100 }), "the last epoch counts");
        gather.begin(20_000);
        assert_eq!(gather.crowd(), None, "an epoch long ago doesn't");
    }

    #[test]
    fn one_shard_never_waits() {
        for (limit_us, shard_count) in [(100, 1), (0, 2)] {
            let mut gather = Gather::new(limit_us, shard_count);
            gather.begin(1);
            (0..100).for_each(|_| gather.note(&mut Mark::default()));
            assert_eq!(gather.crowd(), None);
        }
    }
}
