//! Trials: how fast uses should fade. Small caches, each for a few of the keys, try some rates with the uses
//! that come; the rate with the most hits is taken for all keys.
//!
//! After Waldspurger et al., "Cache Modeling and Optimization using Miniature Simulations" (2017): one key of so
//! many is looked at, chosen by its hash, and a small cache has room for as many of the keys that are kept.

use crate::Random;
use crate::lrfu_score::Sums;

/// LIMIT: keys in one small cache: beyond it, half as many keys are looked at.
const SMALL_CACHE_MAX: usize = 256;

/// A way to let uses fade.
#[derive(Clone, Copy, Debug)]
struct Arm {
    /// Half-lives while as many keys are evicted as there are, in 256ths.
    rate: u64,
    /// What was stored last may be the next to go.
    newest_may_go: bool,
}

const ARMS: [Arm; 7] = [
    Arm { rate: 0, newest_may_go: true },
    Arm { rate: 0, newest_may_go: false },
    Arm { rate: 16, newest_may_go: false },
    Arm { rate: 64, newest_may_go: false },
    Arm { rate: 256, newest_may_go: false },
    Arm { rate: 1024, newest_may_go: false },
    Arm { rate: 4096, newest_may_go: false },
];
/// The arm to begin with.
const FIRST: usize = 2;

/// After so many uses in the small caches their hits are compared.
const USES_PER_ROUND: u32 = 64;
/// The part of the hits that is forgotten in each round.
const FORGOTTEN: u64 = 32;
const HIT: u64 = 256;
/// Another arm is taken if it has more hits by a hundredth and this.
const BETTER_BY: u64 = 2 * HIT;

/// What a clock counts for one unit of a score, which is a 256th of a half-life.
const CLOCK_PARTS: u64 = 1 << 16;

/// A small cache that evicts by one arm.
#[derive(Clone, Debug, Default)]
struct SmallCache {
    hashes: Vec<u32>,
    /// As [`crate::lrfu_score`] has them; the clock in front.
    scores: Vec<u64>,
    /// In parts of a score's unit.
    clock: u64,
    newest: usize,
    hits: u64,
}

impl SmallCache {
    fn now(&self) -> u64 {
        self.clock / CLOCK_PARTS
    }

    fn note_use(&mut self, arm: Arm, hash: u32, room: usize, sums: &Sums, random: &mut Random) {
        let now = self.now();
        if let Some(at) = self.hashes.iter().position(|other| *other == hash) {
            self.hits += HIT;
            self.scores[at] = sums.add(self.scores[at], now, random.next());
            return;
        }
        while self.hashes.len() >= room {
            self.evict(arm, random);
        }
        self.newest = self.hashes.len();
        self.hashes.push(hash);
        self.scores.push(now);
    }

    fn evict(&mut self, arm: Arm, random: &mut Random) {
        let len = self.scores.len();
        // Of equals any, and not always the one that stands first.
        let (before, from) = self.scores.split_at(random.below(len));
        let least = |scores: &[u64], offset| {
            let least = scores.iter().enumerate().min_by_key(|(_, score)| **score);
            least.map(|(at, score)| (*score, at + offset))
        };
        let (first, second) = (least(from, before.len()), least(before, 0));
        let chosen = first.into_iter().chain(second).min_by_key(|(score, _)| *score);
        let Some((score, mut at)) = chosen else { return };
        if arm.newest_may_go && self.scores.get(self.newest).is_some_and(|own| *own <= score) {
            at = self.newest;
        }
        self.hashes.swap_remove(at);
        self.scores.swap_remove(at);
        self.newest = usize::MAX;
        self.clock += arm.rate * CLOCK_PARTS / len as u64;
    }

    fn retain(&mut self, is_looked_at: impl Fn(u32) -> bool) {
        for at in (0..self.hashes.len()).rev() {
            if !is_looked_at(self.hashes[at]) {
                self.hashes.swap_remove(at);
                self.scores.swap_remove(at);
            }
        }
        self.newest = usize::MAX;
    }
}

/// The small caches of a shard. They are empty until a key is evicted.
#[derive(Clone, Debug)]
pub(crate) struct Trials {
    caches: [SmallCache; ARMS.len()],
    sums: Sums,
    random: Random,
    /// One key of 2^this is looked at.
    rarity_bits: u32,
    /// The keys that fit in a small cache; 0 before the first eviction.
    room: usize,
    uses: u32,
    arm: usize,
}

/// The bits of a hash that neither tables nor slots use first.
fn trial_hash(hash: u64) -> u32 {
    (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
}

impl Trials {
    pub(crate) fn new(random: Random) -> Self {
        let caches = Default::default();
        Self { caches, sums: Sums::new(), random, rarity_bits: 0, room: 0, uses: 0, arm: FIRST }
    }

    /// Keys were evicted, and so many are left.
    pub(crate) fn fit(&mut self, keys: usize) {
        let room = keys >> self.rarity_bits;
        if room > SMALL_CACHE_MAX {
            self.rarity_bits = (keys / (SMALL_CACHE_MAX / 2)).ilog2();
            let bits = self.rarity_bits;
            self.caches.iter_mut().for_each(|cache| cache.retain(|hash| is_drawn(hash, bits)));
        } else if room < SMALL_CACHE_MAX / 4 && self.rarity_bits > 0 {
            self.rarity_bits = (keys / (SMALL_CACHE_MAX / 2)).checked_ilog2().unwrap_or(0);
        }
        self.room = (keys >> self.rarity_bits).max(1);
    }

    /// A key was used, or stored.
    #[inline]
    pub(crate) fn note_use(&mut self, hash: u64) {
        let hash = trial_hash(hash);
        if self.room > 0 && is_drawn(hash, self.rarity_bits) {
            self.try_all(hash);
        }
    }

    #[cold]
    fn try_all(&mut self, hash: u32) {
        let Self { caches, sums, random, room, .. } = self;
        for (cache, arm) in caches.iter_mut().zip(ARMS) {
            cache.note_use(arm, hash, *room, sums, random);
        }
        self.uses += 1;
        if self.uses == USES_PER_ROUND {
            self.uses = 0;
            let hits = |arm: usize| self.caches[arm].hits;
            let best = (0..ARMS.len()).max_by_key(|arm| hits(*arm)).unwrap_or(FIRST);
            if hits(best) > hits(self.arm) + hits(self.arm) / 100 + BETTER_BY {
                self.arm = best;
            }
            self.caches.iter_mut().for_each(|cache| cache.hits -= cache.hits / FORGOTTEN);
        }
    }

    /// By how much the clock advances while as many keys are evicted as there are: half-lives, with so many bits of
    /// fraction.
    pub(crate) fn rate(&self, fraction_bits: u32) -> u64 {
        ARMS[self.arm].rate << (fraction_bits - 8)
    }

    pub(crate) fn newest_may_go(&self) -> bool {
        ARMS[self.arm].newest_may_go
    }
}

fn is_drawn(hash: u32, rarity_bits: u32) -> bool {
    hash & ((1 << rarity_bits) - 1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arm that is taken after so many uses of keys that a function names, with room for 4,000.
    fn arm_after(uses: usize, mut key: impl FnMut(usize, &mut Random) -> usize) -> usize {
        let mut trials = Trials::new(Random::new(1));
        let mut random = Random::new(2);
        trials.fit(4000);
        for number in 0..uses {
            trials.note_use(Random::new(key(number, &mut random) as u64).next());
        }
        trials.arm
    }

    #[test]
    fn a_loop_keeps_what_is_there() {
        assert_eq!(arm_after(200_000, |number, _| number % 4400), 0);
    }

    #[test]
    fn a_working_set_that_moves_on_is_followed() {
        let arm = arm_after(400_000, |number, random| number / 20 + random.below(6000));
        assert!(ARMS[arm].rate >= 256, "{arm}");
    }

    #[test]
    fn what_is_used_often_for_long_is_remembered() {
        let arm = arm_after(400_000, |number, random| {
            if number % 2 == 0 { random.below(4000) } else { 1_000_000 + number }
        });
        assert!(ARMS[arm].rate <= 16, "{arm}");
    }

    #[test]
    fn small_caches_stay_small_whatever_is_kept() {
        let mut trials = Trials::new(Random::new(1));
        for keys in [1, 10, 1000, 100_000, 100_000_000, 5000, 200, 0] {
            trials.fit(keys);
            assert!(trials.room >= 1 && trials.room <= SMALL_CACHE_MAX, "{keys}: {}", trials.room);
            assert!(keys < 1000 || trials.room >= SMALL_CACHE_MAX / 4);
            for number in 0..10_000_u64 {
                trials.note_use(Random::new(number).next());
            }
            let largest = trials.caches.iter().map(|cache| cache.hashes.len()).max();
            assert!(largest <= Some(SMALL_CACHE_MAX));
        }
    }
}
