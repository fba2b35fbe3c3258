//! Lrfu: how much a key was used, old uses fading: the combined recency and frequency of Lee et al., "LRFU: A
//! Spectrum of Policies that Subsumes the Least Recently Used and Least Frequently Used Policies" (2001), in the
//! 24 bits of an access word.
//!
//! The word is a logarithm: log2 of the sum of 2^clock over all uses, with 8 bits of fraction. So it need not be
//! touched as time passes, and the least word is the least used. The clock counts half-lives of a use: it
//! advances with each eviction, at a rate that [`Trials`](crate::lrfu_trials) choose. At 0 it is LFU, far
//! above 1 half-life while all keys are replaced once it is LRU.
//!
//! Not here: which entries are looked at (`eviction`).

use crate::Random;
use crate::lrfu_score::{AHEAD_MAX, FadeMoment, Sums, WORD_MASK};
use crate::lrfu_trials::Trials;

/// Bits of the clock below those of a word.
const CLOCK_FRACTION_BITS: u32 = 24;
/// The clock of one shard, and what its rate follows from.
#[derive(Clone, Debug)]
pub(crate) struct Lrfu {
    /// In half-lives.
    clock: u64,
    sums: Sums,
    random: Random,
    pub(crate) trials: Trials,
}

impl Lrfu {
    /// `word_now` is the access word of what is used now by the policy of before: entries keep their order.
    pub(crate) fn new(word_now: u32, mut random: Random) -> Self {
        // One round ahead, so that no score is below 0.
        let clock = u64::from(WORD_MASK + 1 + (word_now & WORD_MASK)) << CLOCK_FRACTION_BITS;
        let trials = Trials::new(Random::new(random.next()));
        Self { clock, sums: Sums::new(), random, trials }
    }

    pub(crate) fn now(&self) -> FadeMoment {
        FadeMoment(self.clock >> CLOCK_FRACTION_BITS)
    }

    /// The word after one more use.
    pub(crate) fn again(&mut self, word: u32) -> u32 {
        let now = self.now();
        let score = self.sums.add(now.score(word), now.0, self.random.next());
        score.min(now.0 + u64::from(AHEAD_MAX - 1)) as u32 & WORD_MASK
    }

    /// A key was evicted, and so many are left.
    pub(crate) fn note_eviction(&mut self, keys: usize) {
        self.trials.fit(keys);
        self.clock += self.trials.rate(CLOCK_FRACTION_BITS + 8) / keys.max(1) as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lrfu_score::DOUBLING;

    fn lrfu() -> Lrfu {
        Lrfu::new(0, Random::new(3))
    }

    fn used(lrfu: &mut Lrfu, times: usize) -> u32 {
        let first = lrfu.now().word_of_new();
        (1..times).fold(first, |word, _| lrfu.again(word))
    }

    #[test]
    fn a_word_is_the_logarithm_of_its_uses() {
        let mut lrfu = lrfu();
        for times in [1, 2, 3, 10, 100, 1000, 100_000] {
            let word = used(&mut lrfu, times);
            let doublings = (lrfu.now().score(word) - lrfu.now().0) as f64 / f64::from(DOUBLING);
            let uses = doublings.exp2();
            assert!((uses / times as f64 - 1.0).abs() < 0.2, "{times} uses count as {uses}");
        }
    }

    #[test]
    fn uses_fade_as_the_clock_advances() {
        let mut lrfu = lrfu();
        let often = used(&mut lrfu, 16);
        for (half_lives, is_less) in [(3, false), (2, true)] {
            lrfu.clock += (half_lives * u64::from(DOUBLING)) << CLOCK_FRACTION_BITS;
            let once = lrfu.now().word_of_new();
            assert_eq!(
                lrfu.now().score(often) < lrfu.now().score(once),
                is_less,
                "{half_lives} half-lives"
            );
        }
        // The word has come round, and is not taken for new.
        lrfu.clock += u64::from(WORD_MASK - AHEAD_MAX - 10 * DOUBLING) << CLOCK_FRACTION_BITS;
        assert!(lrfu.now().score(often) < lrfu.now().0);
        assert_eq!(lrfu.now().counter(often), 0);
    }

    #[test]
    fn counters_are_read_back() {
        let mut lrfu = lrfu();
        for counter in [1, 8, 13, 100, 255] {
            let word = lrfu.now().word_with_counter(counter);
            assert!(lrfu.now().counter(word).abs_diff(counter.into()) <= 1, "{counter}");
        }
        let word = used(&mut lrfu, 1);
        assert_eq!(lrfu.now().counter(word), 8);
        let word = used(&mut lrfu, 64);
        assert!((46..=50).contains(&lrfu.now().counter(word)));
        // As much as can be counted is no reason to begin anew.
        let most = (lrfu.now().word_of_new() + AHEAD_MAX - 1) & WORD_MASK;
        assert_eq!(lrfu.again(most), most);
    }
}
