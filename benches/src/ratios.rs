//! Ratios of CPU per request that the engine must reach, in groups of rows.

use std::io;

use crate::bench::{Bench, Mode};
use crate::rounds::{self, Comparison};
use crate::server::Program;
use crate::statistics::Spread;
use crate::table::Table;
use crate::targets::verdict;
use crate::workload::Workload;

/// A group of ratios of CPU per request, with the same base and mode.
pub(crate) struct Ratios {
    group: &'static str,
    mode: Mode,
    shards: usize,
    base: Base,
    /// The reference whose ratio is shown next to ours, if known.
    reference: &'static str,
    pub(crate) rows: &'static [Ratio],
    over_all: Option<OverAll>,
}

/// The base of the comparison.
#[derive(Clone, Copy)]
enum Base {
    Valkey,
    OneShard,
}

/// A workload, the reference's ratio and the target.
pub(crate) struct Ratio(&'static str, Option<f64>, f64);

/// Targets for the rows of a group together.
struct OverAll {
    median: Option<f64>,
    worst: f64,
}

pub(crate) const RATIOS: &[Ratios] = &[
    Ratios {
        group: "saturated",
        mode: Mode::Saturated,
        shards: 1,
        base: Base::Valkey,
        // The ratios that a server with only a parser and a table reached.
        reference: "floor",
        rows: &[
            Ratio("get-c50-p16", Some(0.45), 0.55),
            Ratio("set-c50-p16", Some(0.67), 0.70),
            Ratio("get-c50-p1", Some(0.78), 0.85),
            Ratio("set-c50-p1", Some(0.78), 0.85),
            Ratio("get-c500-p1", Some(0.70), 0.78),
            Ratio("set-c500-p1", Some(0.70), 0.78),
            Ratio("get-c50-p16-r10000000", None, 0.55),
            Ratio("get-c500-p1-r10000000", None, 0.72),
            Ratio("get-c50-p1-d16384", Some(0.71), 0.90),
        ],
        over_all: None,
    },
    Ratios {
        group: "plain",
        mode: Mode::Plain,
        shards: 1,
        base: Base::Valkey,
        reference: "floor",
        rows: &[
            Ratio("get-c50-p16", Some(0.63), 0.72),
            Ratio("set-c50-p16", Some(0.71), 0.75),
            Ratio("get-c50-p1", Some(1.00), 1.05),
            Ratio("set-c50-p1", Some(1.00), 1.05),
            Ratio("get-c500-p1", Some(0.90), 0.95),
            Ratio("set-c500-p1", Some(0.90), 0.95),
        ],
        over_all: None,
    },
    Ratios {
        group: "shards",
        mode: Mode::Plain,
        shards: 2,
        base: Base::OneShard,
        reference: "Dragonfly",
        rows: &[
            Ratio("get-c50-p16", Some(1.26), 1.2),
            Ratio("set-c50-p16", Some(1.17), 1.2),
            Ratio("get-c50-p1", Some(1.67), 1.4),
        ],
        over_all: None,
    },
    Ratios {
        group: "strings",
        mode: Mode::Saturated,
        shards: 1,
        base: Base::Valkey,
        reference: "-",
        rows: &[
            Ratio("incr-c50-p16", None, 0.8),
            Ratio("mset-c50-p16", None, 0.8),
            Ratio("getrange-c50-p16", None, 0.8),
            Ratio("setbit-c50-p16", None, 0.8),
            Ratio("bitcount-c50-p16", None, 0.8),
            Ratio("pfadd-c50-p16", None, 0.8),
            Ratio("pfcount-c50-p16", None, 0.8),
            Ratio("scan-c50-p16", None, 0.8),
        ],
        over_all: Some(OverAll { median: None, worst: 1.0 }),
    },
    Ratios {
        group: "types",
        mode: Mode::Saturated,
        shards: 1,
        base: Base::Valkey,
        reference: "-",
        rows: &[
            Ratio("lpush-c50-p16", None, 0.85),
            Ratio("rpush-c50-p16", None, 0.85),
            Ratio("lpop-c50-p16", None, 0.85),
            Ratio("rpop-c50-p16", None, 0.85),
            Ratio("lrange_100-c50-p16", None, 0.85),
            Ratio("lrange_300-c50-p16", None, 0.85),
            Ratio("lrange_600-c50-p16", None, 0.85),
            Ratio("hset-c50-p16", None, 0.85),
            Ratio("hset_10-c50-p16", None, 0.85),
            Ratio("hget-c50-p16", None, 0.85),
            Ratio("hget_10-c50-p16", None, 0.85),
            Ratio("hgetall_10-c50-p16", None, 0.85),
            Ratio("hgetall_1000-c50-p16", None, 0.85),
            Ratio("sadd-c50-p16", None, 0.85),
            Ratio("spop-c50-p16", None, 0.85),
            Ratio("sismember-c50-p16", None, 0.85),
            Ratio("smembers_1000-c50-p16", None, 0.85),
            Ratio("sinter-c50-p16", None, 0.85),
            Ratio("zadd-c50-p16", None, 0.85),
            Ratio("zpopmin-c50-p16", None, 0.85),
            Ratio("zscore-c50-p16", None, 0.85),
            Ratio("zrank-c50-p16", None, 0.85),
            Ratio("zrange_100-c50-p16", None, 0.85),
            Ratio("zrangebyscore-c50-p16", None, 0.85),
            Ratio("xadd-c50-p16", None, 0.85),
            Ratio("xrange_100-c50-p16", None, 0.85),
            Ratio("geosearch-c50-p16", None, 0.85),
            Ratio("pfadd-c50-p16", None, 0.85),
            Ratio("pfcount-c50-p16", None, 0.85),
            Ratio("pfcount_2-c50-p16", None, 0.85),
            Ratio("bitcount-c50-p16", None, 0.85),
        ],
        over_all: Some(OverAll { median: Some(0.65), worst: 1.0 }),
    },
    Ratios {
        group: "transactions",
        mode: Mode::Saturated,
        shards: 1,
        base: Base::Valkey,
        reference: "-",
        rows: &[
            Ratio("multi-c50-p1", None, 0.9),
            Ratio("multi_lmove-c50-p1", None, 0.8),
            Ratio("multi_rename-c50-p1", None, 0.8),
        ],
        over_all: None,
    },
    Ratios {
        group: "transactions",
        mode: Mode::Plain,
        shards: 2,
        base: Base::Valkey,
        reference: "-",
        rows: &[Ratio("mset-c50-p16", None, 1.0)],
        over_all: None,
    },
];

impl Ratios {
    pub(crate) fn name(&self, row: &Ratio) -> String {
        format!("{}/{}", self.group, row.0)
    }

    /// Measures some rows of the group and returns their table.
    pub(crate) fn measure(&self, bench: &Bench, rows: &[&Ratio]) -> io::Result<String> {
        let ours = match self.shards {
            1 => bench.ours.clone(),
            shards => bench.ours.with_shards(shards)?,
        };
        let base = match self.base {
            Base::Valkey => bench.valkey.clone(),
            Base::OneShard => bench.ours.clone(),
        };
        let title =
            format!("CPU per request, {} against {}, {}", ours.name, base.name, self.mode.name());
        let comparisons = compare(bench, self.mode, &[ours.clone(), base.clone()], rows)?;
        let (ours, base) = (format!("{} µs", ours.name), format!("{} µs", base.name));
        let columns = [&title, self.reference, "to reach", "reached", "", &ours, &base];
        let mut table = Table::new(&columns);
        let mut reached = vec![];
        for (Ratio(name, reference, to_reach), comparison) in rows.iter().zip(comparisons) {
            let [ours, base] = &comparison.contestants[..] else {
                unreachable!("two programs were compared");
            };
            for contestant in [ours, base] {
                if let Err(error) = &contestant.samples {
                    eprintln!("{} can't run {name}: {error}", contestant.name);
                }
            }
            let ratio = ours.cpu_ratio(base);
            reached.extend(ratio.map(|ratio| ratio.middle));
            table.add(vec![
                (*name).to_owned(),
                reference.map_or("-".to_owned(), |floor| format!("{floor:.2}")),
                format!("≤ {to_reach:.2}"),
                ratio.map_or_else(|| "-".to_owned(), |ratio| ratio.text(2)),
                verdict(ratio.map(|ratio| ratio.middle), *to_reach),
                ours.cpu_us_text(),
                base.cpu_us_text(),
            ]);
        }
        if let Some(over_all) = self.over_all.as_ref().filter(|_| !reached.is_empty()) {
            over_all.add_rows(&mut table, Spread::of(reached));
        }
        Ok(table.to_string())
    }
}

impl OverAll {
    fn add_rows(&self, table: &mut Table, reached: Spread) {
        let median = self.median.map(|to_reach| ("median of these", reached.middle, to_reach));
        for (what, reached, to_reach) in
            median.into_iter().chain([("worst of these", reached.max, self.worst)])
        {
            let cells = [what, "-", &format!("≤ {to_reach:.2}"), &format!("{reached:.2}")];
            let verdict = verdict(Some(reached), to_reach);
            let cells = cells.into_iter().chain([verdict.as_str(), "-", "-"]);
            table.add(cells.map(str::to_owned).collect());
        }
    }
}

/// Compares the first program with the second, and returns the comparisons in the rows' order.
fn compare(
    bench: &Bench,
    mode: Mode,
    programs: &[Program; 2],
    rows: &[&Ratio],
) -> io::Result<Vec<Comparison>> {
    let workloads: Result<Vec<Workload>, String> =
        rows.iter().map(|Ratio(name, ..)| Workload::named(name)).collect();
    let workloads = workloads.map_err(io::Error::other)?;
    let mut comparisons = vec![];
    rounds::compare(bench, mode, programs, &workloads, |comparison| comparisons.push(comparison))?;
    let place = |of: &Workload| workloads.iter().position(|workload| workload == of);
    comparisons.sort_by_key(|comparison| place(&comparison.workload));
    Ok(comparisons)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_a_workload() {
        for Ratio(name, ..) in RATIOS.iter().flat_map(|ratios| ratios.rows) {
            assert_eq!(Workload::named(name).unwrap().to_string(), *name);
        }
    }
}
