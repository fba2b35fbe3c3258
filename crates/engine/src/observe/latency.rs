//! Latency events: what took longer than `latency-monitor-threshold`, second by second.

use std::collections::BTreeMap;

/// LIMIT: samples kept of an event.
const SAMPLES_MAX: usize = 160;

/// What an event is about; these are its names for people.
pub(crate) const COMMAND: &str = "command";
pub(crate) const FAST_COMMAND: &str = "fast-command";
pub(crate) const EXPIRE_CYCLE: &str = "expire-cycle";
/// A step of a command that concerns several shards, on one of them.
pub(crate) const HOP: &str = "hop";
pub(crate) const EVICTION_CYCLE: &str = "eviction-cycle";

/// The worst of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Seconds since 1970.
    pub at_s: u64,
    pub ms: u64,
}

/// The samples of an event, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Series {
    pub samples: Vec<Sample>,
    /// The worst since the last reset, also of samples that are not kept.
    pub max_ms: u64,
}

/// The events that had samples, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct LatencyEvents(pub BTreeMap<&'static str, Series>);

impl Series {
    fn add(&mut self, sample: Sample) {
        self.max_ms = self.max_ms.max(sample.ms);
        match self.samples.last_mut() {
            Some(last) if last.at_s == sample.at_s => last.ms = last.ms.max(sample.ms),
            _ => self.samples.push(sample),
        }
        if self.samples.len() > SAMPLES_MAX {
            self.samples.remove(0);
        }
    }

    /// Adds another shard's.
    fn absorb(&mut self, other: &Self) {
        let mut all = [self.samples.as_slice(), &other.samples].concat();
        all.sort_by_key(|sample| sample.at_s);
        let max_ms = self.max_ms.max(other.max_ms);
        *self = Self::default();
        all.into_iter().for_each(|sample| self.add(sample));
        self.max_ms = max_ms;
    }

    pub(crate) fn last(&self) -> Sample {
        *self.samples.last().expect("because a series begins with a sample")
    }
}

impl LatencyEvents {
    pub(crate) fn add(&mut self, event: &'static str, sample: Sample) {
        self.0.entry(event).or_default().add(sample);
    }

    pub(crate) fn absorb(&mut self, other: &Self) {
        for (event, series) in &other.0 {
            self.0.entry(event).or_default().absorb(series);
        }
    }

    /// Forgets the named events, or all where none is named. Returns which it knew.
    pub(crate) fn reset(&mut self, names: &[Vec<u8>]) -> Vec<&'static str> {
        let is_named = |event: &str| {
            names.is_empty() || names.iter().any(|name| name.as_slice() == event.as_bytes())
        };
        self.0.extract_if(.., |event, _| is_named(event)).map(|(event, _)| event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_one_sample() {
        let mut events = LatencyEvents::default();
        for (at_s, ms) in [(1, 5), (1, 9), (1, 7), (2, 3)] {
            events.add(COMMAND, Sample { at_s, ms });
        }
        let mut others = LatencyEvents::default();
        others.add(COMMAND, Sample { at_s: 2, ms: 4 });
        others.add(EXPIRE_CYCLE, Sample { at_s: 3, ms: 1 });
        events.absorb(&others);
        let series = &events.0[COMMAND];
        assert_eq!(series.samples, [Sample { at_s: 1, ms: 9 }, Sample { at_s: 2, ms: 4 }]);
        assert_eq!((series.max_ms, series.last().ms), (9, 4));
        assert_eq!(events.reset(&[b"nonsense".to_vec()]), [] as [&str; 0]);
        assert_eq!(events.reset(&[b"command".to_vec()]), [COMMAND]);
        assert_eq!(events.reset(&[]), [EXPIRE_CYCLE]);
    }

    #[test]
    fn old_samples_go_and_the_worst_stays_known() {
        let mut events = LatencyEvents::default();
        for second in 0..1000 {
            events.add(COMMAND, Sample { at_s: second, ms: 1000 - second });
        }
        let series = &events.0[COMMAND];
        assert_eq!((series.samples.len(), series.max_ms), (SAMPLES_MAX, 1000));
    }
}
