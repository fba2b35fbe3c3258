//! Targets: the figures that the engine must reach, as rows of data, measured and shown next to the
//! target.
//!
//! Each row has a name that patterns match: `saturated/get-c50-p16`, `types/hset-c50-p16`,
//! `memory/string-10`, `transactions/hot-keys`, `expiry`.

use std::io;

use crate::bench::Bench;
use crate::expiry;
use crate::growth;
use crate::interference::{self, Interference};
use crate::memory;
use crate::ratios::RATIOS;
use crate::statistics::Spread;
use crate::table::Table;
use crate::transactions;
use crate::workload;

/// All names of rows.
fn names() -> impl Iterator<Item = String> {
    let ratios = RATIOS.iter().flat_map(|ratios| ratios.rows.iter().map(|row| ratios.name(row)));
    let single = [transactions::MIXED, transactions::HOT_KEYS, growth::NAME, EXPIRY];
    let interferences =
        interference::INTERFERENCES.iter().map(|interference| interference.name.to_owned());
    ratios
        .chain(bounded_shapes().map(shape_name))
        .chain(interferences)
        .chain(single.map(str::to_owned))
}

/// The data shapes that have a target.
fn bounded_shapes() -> impl Iterator<Item = &'static memory::Shape> {
    memory::SHAPES.iter().filter(|shape| shape.to_reach.is_some())
}

fn shape_name(shape: &memory::Shape) -> String {
    format!("memory/{}", shape.name)
}

const EXPIRY: &str = "expiry";

/// Measures the rows whose names match a pattern and prints each table when it is complete.
pub(crate) fn run(
    bench: &Bench,
    patterns: &[String],
    mut print: impl FnMut(&str) -> io::Result<()>,
) -> io::Result<()> {
    let is_chosen = |name: &str| patterns.iter().any(|pattern| workload::matches(pattern, name));
    if !names().any(|name| is_chosen(&name)) {
        let all: Vec<String> = names().collect();
        return Err(io::Error::other(format!("the figures' rows are {}", all.join(", "))));
    }
    for ratios in RATIOS {
        let rows = ratios.rows.iter().filter(|row| is_chosen(&ratios.name(row)));
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() {
            print(&ratios.measure(bench, &rows)?)?;
        }
    }
    let shapes: Vec<_> = bounded_shapes().filter(|shape| is_chosen(&shape_name(shape))).collect();
    if !shapes.is_empty() {
        print(&bytes_per_item(bench, &shapes)?)?;
    }
    let interferences: Vec<_> =
        interference::INTERFERENCES.iter().filter(|row| is_chosen(row.name)).collect();
    if !interferences.is_empty() {
        print(&interference_with_others(bench, &interferences)?)?;
    }
    if is_chosen(transactions::MIXED) {
        print(&mixed(bench)?)?;
    }
    if is_chosen(transactions::HOT_KEYS) {
        print(&hot_keys(bench)?)?;
    }
    if is_chosen(growth::NAME) {
        print(&growth(bench)?)?;
    }
    if is_chosen(EXPIRY) {
        print(&expiry(bench)?)?;
    }
    Ok(())
}

fn bytes_per_item(bench: &Bench, shapes: &[&memory::Shape]) -> io::Result<String> {
    let mut table = Table::new(&[
        "bytes per item (RSS growth)",
        bench.valkey.name.as_str(),
        "to reach",
        "reached",
        "",
    ]);
    for shape in shapes {
        let ours = shape.measure(bench, &bench.ours)?;
        let valkey = shape.measure(bench, &bench.valkey)?;
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

fn interference_with_others(bench: &Bench, interferences: &[&Interference]) -> io::Result<String> {
    let mut table =
        Table::new(&["what others feel", "without", "with", "to reach", "with to without", ""]);
    for interference in interferences {
        for effect in interference.measure(bench)? {
            table.add(vec![
                format!("{}: {} of others", interference.what, effect.what),
                format!("{:.1} µs", effect.without_us),
                format!("{:.1} µs", effect.with_us),
                format!("≤ {:.2}", interference::RATIO_MAX),
                effect.ratio.text(2),
                verdict(Some(effect.ratio.middle), interference::RATIO_MAX),
            ]);
        }
    }
    Ok(table.to_string())
}

fn mixed(bench: &Bench) -> io::Result<String> {
    let mixed = transactions::mixed(bench)?;
    let mut table =
        Table::new(&["a tenth is transactions of 4 keys, 2 shards", "to reach", "reached", ""]);
    let to_reach = transactions::MIXED_MIN;
    let kept = mixed.throughput.middle >= to_reach;
    table.add(vec![
        "throughput to that without them, per command".to_owned(),
        format!("≥ {to_reach:.2}"),
        mixed.throughput.text(2),
        if kept { "reached" } else { MISSED }.to_owned(),
    ]);
    let cpu = ["CPU to that without them, per command", "-", &mixed.cpu.text(2), "-"];
    table.add(cpu.map(str::to_owned).to_vec());
    Ok(table.to_string())
}

fn hot_keys(bench: &Bench) -> io::Result<String> {
    let found = transactions::hot_keys(bench)?;
    let mut table =
        Table::new(&["50 clients MULTI/INCR/INCR, 2 keys on 2 shards", "to reach", "reached", ""]);
    table.add(vec![
        format!("lost updates of {}", found.transactions),
        "0".to_owned(),
        found.lost.to_string(),
        verdict(Some(found.lost as f64), 0.0),
    ]);
    let is_fair = found.slowest.middle >= transactions::SLOWEST_MIN;
    table.add(vec![
        "slowest client's rate to the median's".to_owned(),
        format!("≥ {:.2}", transactions::SLOWEST_MIN),
        found.slowest.text(2),
        if is_fair { "reached" } else { MISSED }.to_owned(),
    ]);
    Ok(table.to_string())
}

fn growth(bench: &Bench) -> io::Result<String> {
    let runs = (0..growth::RUNS).map(|_| growth::measure(bench, &bench.ours));
    let runs: Vec<growth::Run> = runs.collect::<io::Result<_>>()?;
    let spread = |of: fn(&growth::Run) -> f64| Spread::of(runs.iter().map(of)).text(0);
    let mut table = Table::new(&["growing to 20 million keys", "to reach", "measured", ""]);
    let mut add = |what: &str, to_reach: String, measured: String, seen: String| {
        table.add(vec![what.to_owned(), to_reach, measured, seen]);
    };
    let repeated = growth::repeated_us(&runs);
    add(
        &format!("longest wait for 64 SET that all {} runs share, µs", runs.len()),
        format!("≤ {}", growth::PAUSE_MAX_US),
        format!("{repeated:.0}"),
        verdict(Some(repeated), growth::PAUSE_MAX_US),
    );
    type Told = (&'static str, fn(&growth::Run) -> f64);
    let single: [Told; 3] = [
        ("longest wait of a run, µs", growth::Run::longest_us),
        ("waits of a run above the target", growth::Run::over),
        ("longest turn of the loop in a run, µs", |run| run.turn_max_us),
    ];
    for (what, of) in single {
        add(what, String::new(), spread(of), String::new());
    }
    Ok(table.to_string())
}

fn expiry(bench: &Bench) -> io::Result<String> {
    let runs = (0..bench.rounds.min(3)).map(|_| expiry::measure(bench, &bench.ours));
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

const MISSED: &str = "MISSED";

pub(crate) fn verdict(reached: Option<f64>, to_reach: f64) -> String {
    let verdict = match reached {
        Some(reached) if reached <= to_reach => "reached",
        Some(_) => MISSED,
        None => "not measured",
    };
    verdict.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_itself_is_reached() {
        assert_eq!(verdict(Some(0.55), 0.55), "reached");
        assert_eq!(verdict(Some(0.56), 0.55), "MISSED");
    }
}
