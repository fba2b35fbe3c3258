//! Scores of faded uses: log2 of the sum of 2^clock over all uses of a key, in the 24 bits of an access word, 8 of
//! them behind the point.
//!
//! Not here: the clock (`lrfu`).

pub(crate) const WORD_MASK: u32 = 0x00FF_FFFF;
/// One doubling, or half-life, in a word.
pub(crate) const DOUBLING: u32 = 256;
/// By so much a word may be ahead of the clock: 2^64 uses. What is farther ahead is taken as behind.
pub(crate) const AHEAD_MAX: u32 = 64 * DOUBLING;
/// What is behind by so many half-lives adds nothing.
const FADED_DOUBLINGS: usize = 24;
/// Steps of a doubling in the table of sums.
const SUM_STEPS: usize = 16;
/// The counter that OBJECT FREQ shows grows by so much per doubling.
const COUNTER_PER_DOUBLING: f64 = 8.0;

/// What a use adds to a word, by how far the less of both is behind.
#[derive(Clone, Debug)]
pub(crate) struct Sums(Box<[u32]>);

impl Sums {
    pub(crate) fn new() -> Self {
        let sum = |step: usize| {
            let behind = step as f64 / SUM_STEPS as f64;
            // Q16: in 65536ths of a word's unit.
            ((1.0 + (-behind).exp2()).log2() * f64::from(DOUBLING) * 65536.0) as u32
        };
        Self((0..FADED_DOUBLINGS * SUM_STEPS).map(sum).collect())
    }

    /// The greater of two scores, raised by the less. What is no whole unit is added as often as it is large.
    pub(crate) fn add(&self, score: u64, other: u64, random: u64) -> u64 {
        let behind = score.abs_diff(other) as usize * SUM_STEPS / DOUBLING as usize;
        let sum = self.0.get(behind).copied().unwrap_or(0);
        score.max(other) + u64::from(sum >> 16) + u64::from(random as u32 & 0xFFFF < sum & 0xFFFF)
    }
}

/// A moment of the clock, in a word's unit: what words are compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FadeMoment(pub(crate) u64);

impl FadeMoment {
    /// The word of something used for the first time.
    pub(crate) fn word_of_new(self) -> u32 {
        self.0 as u32 & WORD_MASK
    }

    /// The score of a word; the least used has the least. It stays while the key is not used.
    pub(crate) fn score(self, word: u32) -> u64 {
        let ahead = word.wrapping_sub(self.word_of_new()) & WORD_MASK;
        if ahead < AHEAD_MAX {
            return self.0 + u64::from(ahead);
        }
        self.0.saturating_sub(u64::from(WORD_MASK + 1 - ahead))
    }

    /// The uses in a word, faded, as a counter of 0 to 255: 8 for one use, 8 more for twice as many.
    pub(crate) fn counter(self, word: u32) -> u32 {
        let ahead = self.score(word) as f64 - self.0 as f64;
        let uses = (ahead / f64::from(DOUBLING)).exp2();
        (COUNTER_PER_DOUBLING * (1.0 + uses).log2()).round().min(255.0) as u32
    }

    /// A word with a counter.
    pub(crate) fn word_with_counter(self, counter: u8) -> u32 {
        let uses = (f64::from(counter) / COUNTER_PER_DOUBLING).exp2() - 1.0;
        let ahead = uses.max(1.0 / f64::from(1 << 16)).log2() * f64::from(DOUBLING);
        (self.0 as i64 + ahead as i64) as u32 & WORD_MASK
    }
}
