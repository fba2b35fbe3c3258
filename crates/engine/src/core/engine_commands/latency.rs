//! EngineCommands of LATENCY: histograms of all commands, and the events that took too long, of all shards.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use basalt_commands::{Command, CommandError, Outcome, table};
use basalt_resp::Reply;

use super::{encode, everywhere, owned, settings};
use crate::core::Core;
use crate::observe::command_stats::Book;
use crate::observe::histogram::Histogram;
use crate::observe::latency::{self, LatencyEvents, Sample, Series};
use crate::session::SessionId;
use crate::shard::Shard;

/// Answers with what `write` makes of the events of all shards.
fn tell_events(
    core: &mut Core,
    id: SessionId,
    write: impl FnOnce(&mut Reply<'_>, &LatencyEvents) + 'static,
) -> Outcome {
    let (_, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let all = everywhere(&hops, &routes, |shard| shard.latency.clone()).await;
        let mut events = LatencyEvents::default();
        all.iter().for_each(|shard| events.absorb(shard));
        encode(protocol, |reply| write(reply, &events))
    });
    Ok(())
}

pub(super) fn latest(core: &mut Core, id: SessionId) -> Outcome {
    tell_events(core, id, |reply, events| {
        reply.array(events.0.len());
        for (event, series) in &events.0 {
            let last = series.last();
            reply.array(4);
            reply.bulk(event.as_bytes());
            integers(reply, [last.at_s, last.ms, series.max_ms]);
        }
    })
}

pub(super) fn history(core: &mut Core, id: SessionId, event: &[u8]) -> Outcome {
    let event = event.to_vec();
    tell_events(core, id, move |reply, events| {
        let samples = find(events, &event).map_or(&[][..], |series| &series.samples);
        reply.array(samples.len());
        for sample in samples {
            reply.array(2);
            integers(reply, [sample.at_s, sample.ms]);
        }
    })
}

pub(super) fn graph(core: &mut Core, id: SessionId, event: &[u8]) -> Outcome {
    let event = event.to_vec();
    let now_s = core.shard.now.unix_ms / 1000;
    tell_events(core, id, move |reply, events| match find(events, &event) {
        Some(series) => {
            let title = String::from_utf8_lossy(&event);
            reply.verbatim("txt", draw(&title, series, now_s).as_bytes());
        }
        None => {
            let error = CommandError::quoting("ERR No samples available for event '", &event, "'");
            reply.error_bytes(error.as_bytes());
        }
    })
}

pub(super) fn doctor(core: &mut Core, id: SessionId) -> Outcome {
    let config = core.shard.config.clone();
    tell_events(core, id, move |reply, events| {
        let threshold_ms = config.latency_monitor_threshold;
        let report = diagnose(events, threshold_ms, config.slowlog_log_slower_than);
        reply.verbatim("txt", report.as_bytes());
    })
}

pub(super) fn reset(core: &mut Core, id: SessionId, names: &[&[u8]]) -> Outcome {
    let names = owned(names);
    let (_, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let forget = move |shard: &mut Shard| shard.latency.reset(&names);
        let mut known: Vec<&str> =
            everywhere(&hops, &routes, forget).await.into_iter().flatten().collect();
        known.sort_unstable();
        known.dedup();
        encode(protocol, |reply| reply.integer(known.len() as i64))
    });
    Ok(())
}

pub(super) fn histogram(core: &mut Core, id: SessionId, names: &[&[u8]]) -> Outcome {
    let mut wanted: Vec<&'static Command> = Vec::new();
    if names.is_empty() {
        wanted.extend(table::rows());
    }
    for command in names.iter().filter_map(|name| table::find_full(name)) {
        wanted.push(command);
        wanted.extend(command.subcommands);
    }
    let (_, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let books = everywhere(&hops, &routes, |shard| shard.command_stats.books(true)).await;
        let books = merge(books);
        let known: Vec<(&str, &Histogram)> = wanted
            .iter()
            .filter_map(|row| Some((row.name, books.get(&row.number)?.histogram.as_ref()?)))
            .collect();
        encode(protocol, |reply| {
            reply.map(known.len());
            for (name, histogram) in known {
                reply.bulk(name.as_bytes());
                reply.map(2);
                reply.bulk(b"calls");
                reply.integer(histogram.total() as i64);
                reply.bulk(b"histogram_usec");
                let steps = histogram.steps();
                reply.map(steps.len());
                for (us, count) in steps {
                    integers(reply, [us, count]);
                }
            }
        })
    });
    Ok(())
}

/// The books of all shards together, by the numbers of the rows.
pub(super) fn merge(shards: Vec<Vec<(u16, Book)>>) -> BTreeMap<u16, Book> {
    let mut all: BTreeMap<u16, Book> = BTreeMap::new();
    for (number, book) in shards.into_iter().flatten() {
        all.entry(number).or_default().absorb(&book);
    }
    all
}

fn integers<const N: usize>(reply: &mut Reply<'_>, numbers: [u64; N]) {
    numbers.into_iter().for_each(|number| reply.integer(number as i64));
}

fn find<'a>(events: &'a LatencyEvents, name: &[u8]) -> Option<&'a Series> {
    events.0.iter().find(|(event, _)| event.as_bytes() == name).map(|(_, series)| series)
}

/// Rows of a drawing.
const LEVELS: u64 = 4;
/// LIMIT: columns of a drawing: the newest samples.
const COLUMNS_MAX: usize = 160;

/// A bar for each sample, its height between the lowest and the highest, and below how long ago it was.
fn draw(title: &str, series: &Series, now_s: u64) -> String {
    let samples = &series.samples[series.samples.len().saturating_sub(COLUMNS_MAX)..];
    let high = samples.iter().map(|sample| sample.ms).max().unwrap_or(0);
    let low = samples.iter().map(|sample| sample.ms).min().unwrap_or(0);
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{title} - high {high} ms, low {low} ms (all time high {} ms)\n{}",
        series.max_ms,
        "-".repeat(80)
    );
    let height = |sample: &Sample| (sample.ms - low) * (LEVELS - 1) / (high - low).max(1);
    for level in (0..LEVELS).rev() {
        let mark = |sample: &Sample| match height(sample).cmp(&level) {
            std::cmp::Ordering::Less => ' ',
            std::cmp::Ordering::Equal if level == 0 => '_',
            std::cmp::Ordering::Equal => '#',
            std::cmp::Ordering::Greater => '|',
        };
        text.extend(samples.iter().map(mark));
        text.push('\n');
    }
    let ages: Vec<Vec<char>> = samples
        .iter()
        .map(|sample| age(now_s.saturating_sub(sample.at_s)).chars().collect())
        .collect();
    text.push('\n');
    for row in 0..ages.iter().map(Vec::len).max().unwrap_or(0) {
        text.extend(ages.iter().map(|age| age.get(row).copied().unwrap_or(' ')));
        text.push('\n');
    }
    text
}

/// A time in its largest unit.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The text of LATENCY DOCTOR.
fn diagnose(events: &LatencyEvents, threshold_ms: u64, slower_than_us: i64) -> String {
    if threshold_ms == 0 && events.0.is_empty() {
        return "Latency events are not watched. CONFIG SET latency-monitor-threshold \
                <milliseconds> has everything noted that takes longer.\n"
            .into();
    }
    if events.0.is_empty() {
        return format!("Nothing took {threshold_ms} ms or longer since this is watched.\n");
    }
    let mut text = String::from("What took too long:\n\n");
    for (place, (event, series)) in events.0.iter().enumerate() {
        let count = series.samples.len() as u64;
        let mean = series.samples.iter().map(|sample| sample.ms).sum::<u64>() / count;
        let deviations = series.samples.iter().map(|sample| sample.ms.abs_diff(mean));
        let deviation = deviations.sum::<u64>() / count;
        let span_s = series.last().at_s - series.samples[0].at_s;
        let period = span_s as f64 / (count.max(2) - 1) as f64;
        let _ = writeln!(
            text,
            "{}. {event}: {count} latency spikes (average {mean}ms, mean deviation {deviation}ms, \
             period {period:.2} sec). Worst all time event {}ms.",
            place + 1,
            series.max_ms
        );
    }
    text.push_str("\nWhat can be done:\n\n");
    let by_commands = [latency::COMMAND, latency::FAST_COMMAND];
    if by_commands.iter().any(|event| events.0.contains_key(event)) {
        let least_us = threshold_ms.max(1).saturating_mul(1000);
        if u64::try_from(slower_than_us).map_or(true, |us| us > least_us) {
            let _ = writeln!(
                text,
                "- The slow log misses some of these: CONFIG SET slowlog-log-slower-than {least_us}."
            );
        }
        text.push_str(
            "- SLOWLOG GET tells the commands themselves. Ask for less at a time where they go over \
             many elements: SCAN for KEYS, ranges for whole values.\n",
        );
    }
    if events.0.contains_key(latency::EXPIRE_CYCLE) {
        text.push_str(
            "- Much expires in the same moment, or single values that are very large: spread the \
             times, or split the values.\n",
        );
    }
    text.push_str("- INFO stats tells the longest turn of a shard's loop as loop_turn_max_us.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> LatencyEvents {
        let mut events = LatencyEvents::default();
        for (at_s, ms) in [(100, 50), (102, 100), (103, 10)] {
            events.add(latency::COMMAND, Sample { at_s, ms });
        }
        events
    }

    #[test]
    fn bars_stand_on_their_ages() {
        let drawn = draw("command", &events().0["command"], 163);
        let rows: Vec<&str> = drawn.lines().collect();
        assert_eq!(rows[0], "command - high 100 ms, low 10 ms (all time high 100 ms)");
        assert_eq!(rows[2..], [" # ", " | ", "#| ", "||_", "", "111", "mmm"]);
        let even = Series { samples: vec![Sample { at_s: 9, ms: 7 }], max_ms: 7 };
        assert!(draw("command", &even, 9).ends_with("_\n\n0\ns\n"));
    }

    #[test]
    fn the_doctor_knows_what_is_watched() {
        let nothing = LatencyEvents::default();
        assert!(diagnose(&nothing, 0, 10_000).contains("latency-monitor-threshold"));
        assert!(diagnose(&nothing, 5, 10_000).contains("Nothing took 5 ms"));
        let report = diagnose(&events(), 5, 10_000);
        assert!(
            report.contains(
                "1. command: 3 latency spikes (average 53ms, mean deviation 31ms, period 1.50 sec). \
                 Worst all time event 100ms."
            ),
            "{report}"
        );
        assert!(report.contains("slowlog-log-slower-than 5000"), "{report}");
        assert!(!diagnose(&events(), 5, 4000).contains("slowlog-log-slower-than"), "{report}");
    }
}
