//! Text: families of metrics in the form that Prometheus reads. Names, labels and values are written by the
//! exporter crate, which knows how to escape them.

use std::fmt::{self, Display};

use metrics::{Key, Label};
use metrics_exporter_prometheus::{LabelSet, formatting};

/// What Prometheus calls the type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only grows, until the start or CONFIG RESETSTAT.
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Real(f64),
}

impl Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(out),
            Self::Real(number) => number.fmt(out),
        }
    }
}

/// A number that must be an integer.
pub(super) fn whole(number: impl TryInto<u64>) -> Number {
    Number::Whole(number.try_into().unwrap_or(u64::MAX))
}

/// Microseconds as Prometheus wants them.
pub(super) fn seconds_of_us(us: u64) -> Number {
    Number::Real(us as f64 / 1e6)
}

/// The page as far as it is written.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    /// The family that samples belong to.
    name: &'static str,
}

pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Text {
    pub(super) fn into_string(self) -> String {
        self.text
    }

    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, kind: Kind, name: &'static str, help: &str) {
        self.name = name;
        formatting::write_help_line(&mut self.text, name, None, None, help);
        formatting::write_type_line(&mut self.text, name, None, None, kind.name());
    }

    pub(super) fn sample(&mut self, labels: Labels<'_>, value: Number) {
        self.line(None, labels, None, value);
    }

    /// A histogram: how many were not above each bound (seconds), how many there were, and their sum.
    pub(super) fn histogram(
        &mut self,
        labels: Labels<'_>,
        steps: impl IntoIterator<Item = (f64, u64)>,
        count: u64,
        sum_s: f64,
    ) {
        for (bound, below) in steps {
            self.line(Some("bucket"), labels, Some(&bound.to_string()), Number::Whole(below));
        }
        self.line(Some("bucket"), labels, Some("+Inf"), Number::Whole(count));
        self.line(Some("sum"), labels, None, Number::Real(sum_s));
        self.line(Some("count"), labels, None, Number::Whole(count));
    }

    fn line(
        &mut self,
        suffix: Option<&'static str>,
        labels: Labels<'_>,
        bound: Option<&str>,
        value: Number,
    ) {
        let labels = labels.iter().map(|(key, value)| Label::new(*key, (*value).to_owned()));
        let key = Key::from_parts(self.name, labels.collect::<Vec<_>>());
        let labels = LabelSet::from_key_and_global(&key, &Default::default());
        let bound = bound.map(|bound| ("le", bound));
        formatting::write_metric_line(
            &mut self.text,
            self.name,
            suffix,
            &labels,
            bound,
            value,
            None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut text = Text::default();
        text.family(Kind::Gauge, "a_bytes", "What\nit is.");
        text.sample(&[], Number::Real(1.5));
        text.sample(&[("os", "a \"b\" \\c\n"), ("db", "db0")], whole(7_usize));
        text.family(Kind::Histogram, "b_seconds", "Times.");
        text.histogram(&[("shard", "0")], [(0.000_001, 1), (0.5, 2)], 3, 4.25);
        assert_eq!(
            text.into_string(),
            "# HELP a_bytes What\\nit is.\n# TYPE a_bytes gauge\na_bytes 1.5\n\
             a_bytes{os=\"a \\\"b\\\" \\\\c\\n\",db=\"db0\"} 7\n\
             # HELP b_seconds Times.\n# TYPE b_seconds histogram\n\
             b_seconds_bucket{shard=\"0\",le=\"0.000001\"} 1\n\
             b_seconds_bucket{shard=\"0\",le=\"0.5\"} 2\n\
             b_seconds_bucket{shard=\"0\",le=\"+Inf\"} 3\nb_seconds_sum{shard=\"0\"} 4.25\n\
             b_seconds_count{shard=\"0\"} 3\n"
        );
    }
}
