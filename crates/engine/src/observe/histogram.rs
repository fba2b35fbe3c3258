//! Histogram: how often something took how long, in parts of octaves of nanoseconds.
//!
//! Up to 63 ns each number has a part of its own; above, each octave has 32 parts, so a figure is at
//! most 3 % above what was.

/// Parts of an octave, as bits.
const PART_BITS: u32 = 5;
const PARTS: usize = 1 << PART_BITS;
/// LIMIT: what took longer counts as this: 17 seconds.
const NS_MAX: u64 = (1 << 34) - 1;
const BUCKETS: usize = bucket_of(NS_MAX) + 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    /// Of all times, as they were.
    sum_ns: u64,
}

const fn bucket_of(ns: u64) -> usize {
    let octave = 63 - (ns | 1).leading_zeros();
    let shift = octave.saturating_sub(PART_BITS);
    (shift as usize) * PARTS + (ns >> shift) as usize
}

/// The longest time that falls into a bucket.
const fn highest_of(bucket: usize) -> u64 {
    let shift = (bucket / PARTS).saturating_sub(1);
    let part = bucket - shift * PARTS;
    ((part as u64 + 1) << shift) - 1
}

impl Default for Histogram {
    fn default() -> Self {
        let counts = vec![0; BUCKETS].try_into().expect("because it has the length");
        Self { counts, total: 0, sum_ns: 0 }
    }
}

impl Histogram {
    pub(crate) fn add(&mut self, ns: u64, times: u64) {
        self.counts[bucket_of(ns.min(NS_MAX))] += times;
        self.total += times;
        self.sum_ns = self.sum_ns.saturating_add(ns.saturating_mul(times));
    }

    /// Adds another's.
    pub fn absorb(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += more;
        }
        self.total += other.total;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// How often anything was counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Nanoseconds of all that was counted.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The time in nanoseconds that so many percent did not exceed.
    pub(crate) fn percentile(&self, percent: f64) -> u64 {
        let wanted = ((percent / 100.0 * self.total as f64) + 0.5) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return highest_of(bucket);
            }
        }
        0
    }

    /// How many took less than `ns`, a power of two.
    pub fn below(&self, ns: u64) -> u64 {
        let end = if ns > NS_MAX { BUCKETS } else { bucket_of(ns) };
        self.counts[..end].iter().sum()
    }

    /// Redis' steps, each twice the one before, from 1,024 ns on: the microseconds that name a step, and
    /// how many took no longer. Steps that add nothing are left out.
    pub(crate) fn steps(&self) -> Vec<(u64, u64)> {
        let mut steps = Vec::new();
        let mut told = 0;
        for bit in 10.. {
            if told == self.total {
                break;
            }
            let below = self.below(1 << bit);
            if below > told {
                // The histogram of Redis has 128 parts in an octave; a step has the name of its last one.
                steps.push((((1 << bit) + (1 << (bit - 7)) - 1) / 1000, below));
                told = below;
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_its_bucket() {
        let mut before = 0;
        for ns in (0..5000).chain((13..34).map(|bit| (1 << bit) - 1)).chain([NS_MAX]) {
            let bucket = bucket_of(ns);
            assert!(bucket >= before, "{ns}");
            before = bucket;
            let highest = highest_of(bucket);
            assert!(highest >= ns && highest as f64 <= ns as f64 * 1.0323 + 0.5, "{ns}: {highest}");
            assert_eq!(bucket_of(highest), bucket);
            assert_eq!(bucket_of(highest + 1).min(BUCKETS), bucket + 1);
        }
    }

    #[test]
    fn percentiles_and_steps() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(50.0), 0);
        assert!(histogram.steps().is_empty());
        histogram.add(500, 90);
        histogram.add(3_000, 9);
        histogram.add(u64::MAX, 1);
        assert_eq!(histogram.percentile(50.0), highest_of(bucket_of(500)));
        assert_eq!(histogram.percentile(99.0), highest_of(bucket_of(3_000)));
        assert_eq!(histogram.percentile(100.0), NS_MAX);
        assert_eq!(histogram.percentile(0.0), highest_of(bucket_of(500)));
        assert_eq!(histogram.steps(), [(1, 90), (4, 99), (17_314_086, 100)]);
        let mut twice = histogram.clone();
        twice.absorb(&histogram);
        assert_eq!((twice.total(), twice.below(1024)), (200, 180));
        assert_eq!(twice.sum_ns(), u64::MAX);
    }
}
