//! Histogram: latencies in buckets of growing width, so that every percentile is exact to 1.6 %
//! (compare HdrHistogram).

use std::time::Duration;

/// Buckets per doubling, as a power of two.
const PRECISION_BITS: u32 = 6;
const STEPS: u64 = 1 << PRECISION_BITS;
/// Nanoseconds up to u64::MAX: exact below `STEPS`, then `STEPS` buckets for each doubling.
const BUCKETS: usize = ((64 - PRECISION_BITS + 1) as usize) << PRECISION_BITS;

/// The number of occurrences of each latency.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max_ns: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; BUCKETS], total: 0, max_ns: 0 }
    }

    /// Adds `count` requests with the same latency.
    pub(crate) fn add(&mut self, latency: Duration, count: u64) {
        let ns = latency.as_nanos() as u64;
        self.counts[bucket(ns)] += count;
        self.total += count;
        self.max_ns = self.max_ns.max(ns);
    }

    /// The latency that `percent` of all requests did not exceed.
    pub(crate) fn percentile(&self, percent: f64) -> Duration {
        let rank =
            ((percent / 100.0 * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(highest_of(index).min(self.max_ns));
            }
        }
        self.max()
    }

    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }
}

fn bucket(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let doubling = ns.ilog2() - PRECISION_BITS;
    let step = (ns >> doubling) - STEPS;
    ((u64::from(doubling + 1) << PRECISION_BITS) + step) as usize
}

/// The longest latency in a bucket.
fn highest_of(bucket: usize) -> u64 {
    let (doubling, step) = (bucket as u64 >> PRECISION_BITS, bucket as u64 % STEPS);
    if doubling == 0 {
        return step;
    }
    let lowest = (STEPS + step) << (doubling - 1);
    lowest + ((1 << (doubling - 1)) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_hold_their_bounds() {
        for index in 0..BUCKETS - 1 {
            assert_eq!(bucket(highest_of(index)), index);
            assert_eq!(bucket(highest_of(index) + 1), index + 1);
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_within_the_precision() {
        let mut histogram = Histogram::new();
        for us in 1..=1000 {
            histogram.add(Duration::from_micros(us), 1);
        }
        for (percent, exact_us) in [(50.0, 500.0), (99.0, 990.0), (99.9, 999.0), (100.0, 1000.0)] {
            let found_us = histogram.percentile(percent).as_secs_f64() * 1e6;
            assert!((found_us / exact_us - 1.0).abs() < 0.017, "p{percent}: {found_us} µs");
        }
        assert_eq!(histogram.max(), Duration::from_millis(1));
    }

    #[test]
    fn an_empty_histogram_says_zero() {
        assert_eq!(Histogram::new().percentile(99.0), Duration::ZERO);
    }
}
