//! Frequency: how often or when a key was used, kept in the 24 bits of its access word. As in Redis, either the
//! second of the last use; or 16 bits for its minute and 8 for a logarithmic counter that fades while the key is
//! not used. What is ours, uses that fade, is in `lrfu`.

use crate::lrfu_score::FadeMoment;

/// The counter of something new: not the first to go.
const NEW: u32 = 5;
const COUNTER_MAX: u32 = 255;
const MINUTES_MASK: u32 = 0xFFFF;

/// What the access word of an entry holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uses {
    /// The second of its last use.
    #[default]
    Last,
    /// How often it was used, on a logarithmic scale, and when for the last time.
    Counted(Frequency),
    /// Its uses, the old ones faded (`lrfu`).
    Faded,
}

/// What it takes to read access words.
#[derive(Clone, Copy, Debug)]
pub struct UseReader {
    pub(crate) uses: Uses,
    pub(crate) now_ms: u64,
    pub(crate) fade: FadeMoment,
}

impl UseReader {
    /// How often something was used, as OBJECT FREQ shows it: a logarithm, 0 to 255. `None` where only the last
    /// use is known.
    pub fn counter(&self, access: u32) -> Option<u32> {
        match self.uses {
            Uses::Last => None,
            Uses::Counted(frequency) => Some(frequency.of(access, self.now_ms)),
            Uses::Faded => Some(self.fade.counter(access)),
        }
    }
}

/// How uses are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frequency {
    /// The higher, the more uses it takes to count one more.
    pub log_factor: u32,
    /// Minutes after which an unused counter loses one. 0: it loses none.
    pub decay_minutes: u32,
}

/// For how many seconds an entry was not used, from its LRU word.
pub fn idle_seconds(access: u32, now_ms: u64) -> u32 {
    ((now_ms / 1000) as u32).wrapping_sub(access) & 0x00FF_FFFF
}

fn minutes(now_ms: u64) -> u32 {
    (now_ms / 60_000) as u32 & MINUTES_MASK
}

/// The access word of something new.
pub(crate) fn word_of_new(now_ms: u64) -> u32 {
    minutes(now_ms) << 8 | NEW
}

/// The access word of something that was used as often as the counter says, the last time now.
pub(crate) fn word_with_counter(now_ms: u64, counter: u8) -> u32 {
    minutes(now_ms) << 8 | u32::from(counter)
}

impl Frequency {
    /// The counter in an access word, faded to now.
    pub fn of(&self, access: u32, now_ms: u64) -> u32 {
        let counter = access & COUNTER_MAX;
        let unused = self.unused_minutes(access, now_ms);
        counter.saturating_sub(unused.checked_div(self.decay_minutes).unwrap_or(0))
    }

    /// For how many minutes an entry was not used. They come round every 45 days.
    pub(crate) fn unused_minutes(&self, access: u32, now_ms: u64) -> u32 {
        minutes(now_ms).wrapping_sub(access >> 8) & MINUTES_MASK
    }

    /// The access word after one more use; `random` is any number.
    #[cold]
    pub(crate) fn again(&self, access: u32, now_ms: u64, random: u64) -> u32 {
        let counter = self.of(access, now_ms);
        let base = u64::from(counter.saturating_sub(NEW));
        // One of so many uses is counted.
        let rarity = base * u64::from(self.log_factor) + 1;
        let counts = counter < COUNTER_MAX && random.is_multiple_of(rarity);
        minutes(now_ms) << 8 | (counter + u32::from(counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    const MINUTE_MS: u64 = 60_000;

    /// The counter after so many uses: the mean of some keys, since one's is random.
    fn after(uses: usize, log_factor: u32) -> u32 {
        const KEYS: u32 = 20;
        let frequency = Frequency { log_factor, decay_minutes: 1 };
        let mut random = Random::new(7);
        let mut sum = 0;
        for _ in 0..KEYS {
            let mut word = word_of_new(MINUTE_MS);
            for _ in 0..uses {
                word = frequency.again(word, MINUTE_MS, random.next());
            }
            sum += frequency.of(word, MINUTE_MS);
        }
        sum / KEYS
    }

    #[test]
    fn counts_grow_as_the_table_in_redis_documentation() {
        for (log_factor, uses, low, high) in [
            (0, 100, 104, 106),
            (0, 1000, 255, 255),
            (1, 100, 15, 22),
            (1, 1000, 44, 54),
            (10, 100, 8, 13),
            (10, 1000, 15, 21),
            (10, 100_000, 135, 150),
            (100, 100_000, 45, 54),
        ] {
            let counter = after(uses, log_factor);
            assert!((low..=high).contains(&counter), "{uses} uses at {log_factor}: {counter}");
        }
    }

    #[test]
    fn unused_counters_fade() {
        let frequency = Frequency { log_factor: 10, decay_minutes: 2 };
        let word = word_of_new(100 * MINUTE_MS) & !COUNTER_MAX | 40;
        assert_eq!(frequency.of(word, 101 * MINUTE_MS), 40);
        assert_eq!(frequency.of(word, 120 * MINUTE_MS), 30);
        assert_eq!(frequency.of(word, 400 * MINUTE_MS), 0);
        let never = Frequency { decay_minutes: 0, ..frequency };
        assert_eq!(never.of(word, 400 * MINUTE_MS), 40);
        // The minutes have come round since.
        let late = 0xFFFF << 8 | 9;
        assert_eq!(frequency.of(late, 0x1_0001 * MINUTE_MS), 8);
    }
}
