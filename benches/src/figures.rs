//! Figures: what the engine has to reach, as rows of data, measured and shown beside the target.
//!
//! Each row has a name that patterns choose from: `saturated/get-c50-p16`, `plain/…`, `shards/…`,
//! `memory/string-10`, `expiry`.

use std::io;

use crate::expiry;
use crate::lab::{Lab, Mode};
use crate::memory;
use crate::rounds::{self, Comparison};
use crate::statistics::Spread;
use crate::table::Table;
use crate::workload::{self, Workload};

/// CPU per request with one shard against Valkey 9.
struct AgainstValkey {
    mode: Mode,
    workload: &'static str,
    /// What a server with nothing but a parser and a table reached.
    floor: Option<f64>,
    to_reach: f64,
}

const fn against_valkey(
    mode: Mode,
    workload: &'static str,
    floor: Option<f64>,
    to_reach: f64,
) -> AgainstValkey {
    AgainstValkey { mode, workload, floor, to_reach }
}

const AGAINST_VALKEY: &[AgainstValkey] = &[
    against_valkey(Mode::Saturated, "get-c50-p16", Some(0.45), 0.55),
    against_valkey(Mode::Saturated, "set-c50-p16", Some(0.67), 0.70),
    against_valkey(Mode::Saturated, "get-c50-p1", Some(0.78), 0.85),
    against_valkey(Mode::Saturated, "set-c50-p1", Some(0.78), 0.85),
    against_valkey(Mode::Saturated, "get-c500-p1", Some(0.70), 0.78),
    against_valkey(Mode::Saturated, "set-c500-p1", Some(0.70), 0.78),
    against_valkey(Mode::Saturated, "get-c50-p16-r10000000", None, 0.55),
    against_valkey(Mode::Saturated, "get-c500-p1-r10000000", None, 0.72),
    against_valkey(Mode::Saturated, "get-c50-p1-d16384", Some(0.71), 0.90),
    against_valkey(Mode::Plain, "get-c50-p16", Some(0.63), 0.72),
    against_valkey(Mode::Plain, "set-c50-p16", Some(0.71), 0.75),
    against_valkey(Mode::Plain, "get-c50-p1", Some(1.00), 1.05),
    against_valkey(Mode::Plain, "set-c50-p1", Some(1.00), 1.05),
    against_valkey(Mode::Plain, "get-c500-p1", Some(0.90), 0.95),
    against_valkey(Mode::Plain, "set-c500-p1", Some(0.90), 0.95),
];

/// CPU of both cores per request with two shards against our own one shard, plain.
struct TwoShards {
    workload: &'static str,
    dragonfly: f64,
    to_reach: f64,
}

const TWO_SHARDS: &[TwoShards] = &[
    TwoShards { workload: "get-c50-p16", dragonfly: 1.26, to_reach: 1.2 },
    TwoShards { workload: "set-c50-p16", dragonfly: 1.17, to_reach: 1.2 },
    TwoShards { workload: "get-c50-p1", dragonfly: 1.67, to_reach: 1.4 },
];

/// All names of rows.
fn names() -> impl Iterator<Item = String> {
    let ratios = AGAINST_VALKEY.iter().map(AgainstValkey::name);
    let shards = TWO_SHARDS.iter().map(TwoShards::name);
    ratios.chain(shards).chain(bounded_shapes().map(shape_name)).chain([EXPIRY.to_owned()])
}

impl AgainstValkey {
    fn name(&self) -> String {
        format!("{}/{}", self.mode.name(), self.workload)
    }
}

impl TwoShards {
    fn name(&self) -> String {
        format!("shards/{}", self.workload)
    }
}

/// The shapes of data that have a target.
fn bounded_shapes() -> impl Iterator<Item = &'static memory::Shape> {
    memory::SHAPES.iter().filter(|shape| shape.to_reach.is_some())
}

fn shape_name(shape: &memory::Shape) -> String {
    format!("memory/{}", shape.name)
}

const EXPIRY: &str = "expiry";

/// Measures the rows whose names fit a pattern and prints each table when it is complete.
pub(crate) fn run(
    lab: &Lab,
    patterns: &[String],
    mut print: impl FnMut(&str) -> io::Result<()>,
) -> io::Result<()> {
    let is_chosen = |name: &str| patterns.iter().any(|pattern| workload::matches(pattern, name));
    if !names().any(|name| is_chosen(&name)) {
        let all: Vec<String> = names().collect();
        return Err(io::Error::other(format!("the figures' rows are {}", all.join(", "))));
    }
    for mode in [Mode::Saturated, Mode::Plain] {
        let in_mode = AGAINST_VALKEY.iter().filter(|row| row.mode == mode);
        let rows: Vec<_> = in_mode.filter(|row| is_chosen(&row.name())).collect();
        if !rows.is_empty() {
            print(&one_shard(lab, mode, &rows)?)?;
        }
    }
    let rows: Vec<_> = TWO_SHARDS.iter().filter(|row| is_chosen(&row.name())).collect();
    if !rows.is_empty() {
        print(&two_shards(lab, &rows)?)?;
    }
    let shapes: Vec<_> = bounded_shapes().filter(|shape| is_chosen(&shape_name(shape))).collect();
    if !shapes.is_empty() {
        print(&bytes_per_item(lab, &shapes)?)?;
    }
    if is_chosen(EXPIRY) {
        print(&expiry(lab)?)?;
    }
    Ok(())
}

/// One row of a table of ratios: what, against which, and the target.
struct Target<'a> {
    workload: &'a str,
    reference: String,
    to_reach: f64,
}

fn one_shard(lab: &Lab, mode: Mode, rows: &[&AgainstValkey]) -> io::Result<String> {
    let title = format!("CPU per request against {}, one shard, {}", lab.valkey.name, mode.name());
    let targets = rows.iter().map(|row| Target {
        workload: row.workload,
        reference: row.floor.map_or("-".to_owned(), |floor| format!("{floor:.2}")),
        to_reach: row.to_reach,
    });
    let programs = [lab.ours.clone(), lab.valkey.clone()];
    ratios(lab, mode, &programs, &title, "floor", &targets.collect::<Vec<_>>())
}

fn two_shards(lab: &Lab, rows: &[&TwoShards]) -> io::Result<String> {
    let targets = rows.iter().map(|row| Target {
        workload: row.workload,
        reference: format!("{:.2}", row.dragonfly),
        to_reach: row.to_reach,
    });
    let programs = [lab.ours.with_shards(2)?, lab.ours.clone()];
    let title = "CPU of both cores per request, two shards against one, plain";
    ratios(lab, Mode::Plain, &programs, title, "Dragonfly", &targets.collect::<Vec<_>>())
}

/// Measures the first program against the second.
fn ratios(
    lab: &Lab,
    mode: Mode,
    programs: &[crate::server::Program; 2],
    title: &str,
    reference: &str,
    targets: &[Target<'_>],
) -> io::Result<String> {
    let workloads: Result<Vec<Workload>, String> =
        targets.iter().map(|target| Workload::named(target.workload)).collect();
    let workloads = workloads.map_err(io::Error::other)?;
    let mut comparisons: Vec<Option<Comparison>> = targets.iter().map(|_| None).collect();
    rounds::compare(lab, mode, programs, &workloads, |comparison| {
        let place = workloads.iter().position(|workload| *workload == comparison.workload);
        comparisons[place.expect("because it was asked for")] = Some(comparison);
    })?;
    let (first, second) = (format!("{} µs", programs[0].name), format!("{} µs", programs[1].name));
    let mut table =
        Table::new(&[title, reference, "to reach", "reached", "", first.as_str(), second.as_str()]);
    for (target, comparison) in targets.iter().zip(comparisons.iter().flatten()) {
        let [ours, base] = &comparison.contestants[..] else {
            unreachable!("two programs were compared");
        };
        let ratio = ours.cpu_ratio(base);
        table.add(vec![
            target.workload.to_owned(),
            target.reference.clone(),
            format!("≤ {:.2}", target.to_reach),
            ratio.map_or_else(|| "-".to_owned(), |ratio| ratio.text(2)),
            verdict(ratio.map(|ratio| ratio.middle), target.to_reach),
            ours.cpu_us_text(),
            base.cpu_us_text(),
        ]);
    }
    Ok(table.to_string())
}

fn bytes_per_item(lab: &Lab, shapes: &[&memory::Shape]) -> io::Result<String> {
    let mut table = Table::new(&[
        "bytes per item (RSS growth)",
        lab.valkey.name.as_str(),
        "to reach",
        "reached",
        "",
    ]);
    for shape in shapes {
        let ours = shape.measure(lab, &lab.ours)?;
        let valkey = shape.measure(lab, &lab.valkey)?;
        let to_reach = shape.to_reach.expect("because rows without a target were left out");
        let text = |bytes: &Result<Spread, String>| match bytes {
            Ok(bytes) => bytes.text(1),
            Err(error) => error.clone(),
        };
        table.add(vec![
            shape.title(),
            text(&valkey),
            format!("≤ {to_reach:.0}"),
            text(&ours),
            verdict(ours.ok().map(|bytes| bytes.middle), to_reach),
        ]);
    }
    Ok(table.to_string())
}

fn expiry(lab: &Lab) -> io::Result<String> {
    let runs = (0..lab.rounds.min(3)).map(|_| expiry::measure(lab, &lab.ours));
    let runs: Vec<expiry::Outcome> = runs.collect::<io::Result<_>>()?;
    let mut table =
        Table::new(&["1 million keys expire in one second", "quiet", "to reach", "reached", ""]);
    let quiet = Spread::of(runs.iter().map(|run| run.quiet_max_us));
    let stall = Spread::of(runs.iter().map(|run| run.stall_max_us));
    let seen = match quiet.middle > expiry::STALL_MAX_US {
        true => "the machine itself stalls".to_owned(),
        false => verdict(Some(stall.middle), expiry::STALL_MAX_US),
    };
    let stall_max = format!("≤ {} µs", expiry::STALL_MAX_US);
    let mut add = |what: &str, rest: [String; 4]| {
        table.add([what.to_owned()].into_iter().chain(rest).collect());
    };
    add(
        "longest stall, as a client sees it",
        [quiet.text(0), stall_max.clone(), stall.text(0), seen],
    );
    let turns: Vec<f64> = runs.iter().filter_map(|run| run.turn_max_us).collect();
    if !turns.is_empty() {
        let turn = Spread::of(turns);
        let verdict = verdict(Some(turn.middle), expiry::STALL_MAX_US);
        add("longest turn of the loop", ["-".to_owned(), stall_max, turn.text(0), verdict]);
    }
    let gone = Spread::of(runs.iter().map(|run| run.gone_s));
    let gone_max = format!("≤ {} s", expiry::GONE_MAX_S);
    let in_time = verdict(Some(gone.middle), expiry::GONE_MAX_S);
    add("all gone within", ["-".to_owned(), gone_max, gone.text(2), in_time]);
    Ok(table.to_string())
}

fn verdict(reached: Option<f64>, to_reach: f64) -> String {
    let verdict = match reached {
        Some(reached) if reached <= to_reach => "reached",
        Some(_) => "MISSED",
        None => "not measured",
    };
    verdict.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_a_workload() {
        for name in AGAINST_VALKEY.iter().map(|row| row.workload) {
            assert_eq!(Workload::named(name).unwrap().to_string(), name);
        }
        for name in TWO_SHARDS.iter().map(|row| row.workload) {
            assert_eq!(Workload::named(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn the_target_itself_is_reached() {
        assert_eq!(verdict(Some(0.55), 0.55), "reached");
        assert_eq!(verdict(Some(0.56), 0.55), "MISSED");
    }
}
