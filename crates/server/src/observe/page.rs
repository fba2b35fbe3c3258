//! Page: what the shards reported, as metrics: ours by shard, and sums under redis_exporter's names.
//!
//! A metric that is one number of each shard is a row of [`shards::ROWS`], one that is a number of the whole
//! server a row of [`redis::ROWS`]; what has labels of its own is written by a function beside them.
//!
//! Not here: how the text looks (`text`), where numbers come from (`engine::statistics`, `loop_stats`).

mod redis;
mod shards;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_engine::{Book, Histogram, ProcessStats, ShardStats};
use basalt_keyspace::KeyspaceStats;

use super::Report;
use text::{Kind, Text};

/// The form's version, as Prometheus negotiates it.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bounds of command times and of the times that transactions hold, as powers of two of nanoseconds: from a
/// microsecond to a second, each four times the one before. The histograms have a step at each of them.
const TIME_BITS: std::ops::RangeInclusive<u32> = 10..=30;
const BITS_PER_STEP: usize = 2;

/// What the page is written from.
pub(super) struct View<'a> {
    reports: &'a [Arc<Report>],
    /// Whether each shard answered this time.
    answers: &'a [bool],
    process: ProcessStats,
    now_us: u64,
    config: Arc<Config>,
    /// Of all shards together.
    stats: ShardStats,
    books: BTreeMap<u16, Book>,
}

impl<'a> View<'a> {
    /// There is a report of each shard.
    pub(super) fn new(
        reports: &'a [Arc<Report>],
        answers: &'a [bool],
        process: ProcessStats,
        now_us: u64,
    ) -> Self {
        let mut stats = ShardStats::default();
        let mut books: BTreeMap<u16, Book> = BTreeMap::new();
        for report in reports {
            stats.absorb(&report.engine.stats);
            for (number, book) in &report.engine.books {
                books.entry(*number).or_default().absorb(book);
            }
        }
        // The settings come from the shard through which they change.
        let config = reports
            .first()
            .map_or_else(Default::default, |report| Arc::clone(&report.engine.config));
        Self { reports, answers, process, now_us, config, stats, books }
    }

    pub(super) fn render(&self) -> String {
        let mut text = Text::default();
        shards::write(self, &mut text);
        redis::write(self, &mut text);
        text.into_string()
    }

    /// Each shard's number as a label, with its report.
    fn shards(&self) -> impl Iterator<Item = (String, &Report)> {
        self.reports.iter().enumerate().map(|(shard, report)| (shard.to_string(), &**report))
    }

    /// The moment of the page, in milliseconds since 1970.
    fn now_ms(&self) -> u64 {
        self.process.started_s * 1000 + self.now_us / 1000
    }

    fn sum(&self, of: impl Fn(&Report) -> usize) -> u64 {
        self.reports.iter().map(|report| of(report) as u64).sum()
    }

    fn max(&self, of: impl Fn(&Report) -> usize) -> u64 {
        self.reports.iter().map(|report| of(report) as u64).max().unwrap_or(0)
    }

    fn maxmemory(&self) -> u64 {
        self.reports.first().map_or(0, |report| report.engine.maxmemory)
    }

    fn keyspace(&self, of: impl Fn(&KeyspaceStats) -> u64) -> u64 {
        self.reports.iter().map(|report| of(&report.engine.keyspace)).sum()
    }
}

/// Writes a histogram of times.
fn write_times(text: &mut Text, labels: text::Labels<'_>, times: &Histogram) {
    let steps = TIME_BITS.step_by(BITS_PER_STEP).map(|bits| {
        let ns = 1_u64 << bits;
        (ns as f64 / 1e9, times.below(ns))
    });
    text.histogram(labels, steps, times.total(), times.sum_ns() as f64 / 1e9);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::page::text::{Number, whole};
    use std::collections::BTreeSet;

    fn report(of: impl FnOnce(&mut Report)) -> Arc<Report> {
        let mut report = Report::default();
        report.engine.databases = vec![Default::default(); 2];
        of(&mut report);
        Arc::new(report)
    }

    fn page(reports: &[Arc<Report>], answers: &[bool]) -> String {
        View::new(reports, answers, ProcessStats::default(), 5_000_000).render()
    }

    #[test]
    fn every_name_is_told_once_and_has_help_and_type() {
        let page = page(&[report(|_| ()), report(|_| ())], &[true, true]);
        let mut names = BTreeSet::new();
        let mut helped = None;
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("because there is a text");
                assert!(names.insert(name), "{name} is told twice");
                assert!(help.ends_with('.') && help.len() > 10, "{line}");
                helped = Some(name);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert_eq!(rest.split(' ').next(), helped, "{line}");
            } else {
                let name = line.split(['{', ' ']).next().unwrap_or_default();
                let family = helped.unwrap_or_default();
                let suffix = name.strip_prefix(family);
                assert!(matches!(suffix, Some("" | "_bucket" | "_sum" | "_count")), "{line}");
            }
        }
        assert!(names.contains("redis_up") && names.contains("basalt_loop_turn_seconds"));
    }

    #[test]
    fn sums_are_those_of_the_shards() {
        let with = |hits: u64, keys: usize| {
            report(|report| {
                report.engine.keyspace.hits = hits;
                report.engine.databases[1].keys = keys;
                report.engine.books = vec![(0, Book { calls: hits, ..Book::default() })];
            })
        };
        let page = page(&[with(3, 1), with(4, 2)], &[true, true]);
        let name = basalt_engine::command_name(0);
        for line in [
            "basalt_keyspace_hits_total{shard=\"1\"} 4".to_owned(),
            "redis_keyspace_hits_total 7".to_owned(),
            "basalt_keys{shard=\"0\",db=\"db1\"} 1".to_owned(),
            "redis_db_keys{db=\"db1\"} 3".to_owned(),
            "redis_db_keys{db=\"db0\"} 0".to_owned(),
            format!("basalt_commands_total{{shard=\"1\",cmd=\"{name}\",outcome=\"ok\"}} 4"),
            format!("redis_commands_total{{cmd=\"{name}\"}} 7"),
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
    }

    #[test]
    fn a_silent_shard_is_told_with_its_last_numbers() {
        let silent = report(|report| {
            report.engine.at_us = 2_000_000;
            report.engine.keyspace.hits = 9;
        });
        let page = page(&[silent], &[false]);
        for line in [
            "basalt_shard_answers{shard=\"0\"} 0",
            "basalt_shard_report_age_seconds{shard=\"0\"} 3",
            "redis_keyspace_hits_total 9",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}\n{page}");
        }
        assert_eq!(whole(-1_i64), Number::Whole(u64::MAX));
    }
}
