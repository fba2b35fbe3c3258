//! Transactions over two shards: the throughput that they leave to other commands, and whether
//! clients that all change the same two keys progress evenly.

use std::io;

use crate::bench::{Bench, Mode};
use crate::client::{Client, Reply};
use crate::commands::Command;
use crate::generator::Generator;
use crate::rounds::{self, Preloaded, Sample};
use crate::statistics::Spread;
use crate::workload::Workload;

pub(crate) const MIXED: &str = "transactions/mixed";
pub(crate) const HOT_KEYS: &str = "transactions/hot-keys";
/// The minimum throughput per command, relative to that without transactions.
pub(crate) const MIXED_MIN: f64 = 0.8;
/// The minimum rate of the slowest client relative to the median.
pub(crate) const SLOWEST_MIN: f64 = 0.5;
const SHARDS: usize = 2;

/// The throughput per key command with transactions, relative to that without.
pub(crate) struct Mixed {
    pub(crate) throughput: Spread,
    pub(crate) cpu: Spread,
}

/// GET and SET in pipelines of twenty, with every tenth request a transaction of four of them and
/// without, on the same server in turn.
pub(crate) fn mixed(bench: &Bench) -> io::Result<Mixed> {
    let named = |name| Workload::named(name).map_err(io::Error::other);
    let (without, with) = (named("getset-c50-p1")?, named("getset_multi-c50-p1")?);
    let Preloaded { server, outcome } = start(bench, &without)?;
    outcome.map_err(io::Error::other)?;
    eprintln!("{MIXED}, {}", server.program.name);
    let rate = rounds::rate(bench, Mode::Plain, &server, &without)?;
    let requests = rounds::requests_of_round(bench, &without, [&rate]);
    let per_command = |sample: Sample, command: &Command| {
        let commands = command.about_keys() as f64;
        (sample.requests_per_s * commands, sample.cpu_us_per_request / commands)
    };
    let (mut throughputs, mut cpus) = (vec![], vec![]);
    for _ in 0..bench.rounds {
        let measured = |workload: &Workload| {
            let sample = rounds::sample(bench, Mode::Plain, &server, workload, requests)?;
            Ok::<_, io::Error>(per_command(sample, workload.command))
        };
        let ((base_rate, base_cpu), (rate, cpu)) = (measured(&without)?, measured(&with)?);
        throughputs.push(rate / base_rate);
        cpus.push(cpu / base_cpu);
    }
    Ok(Mixed { throughput: Spread::of(throughputs), cpu: Spread::of(cpus) })
}

/// The result of clients that all increment the same two keys.
pub(crate) struct HotKeys {
    pub(crate) transactions: u64,
    /// The number of lost increments of either key.
    pub(crate) lost: u64,
    /// The slowest client's rate relative to the median's, round by round.
    pub(crate) slowest: Spread,
}

pub(crate) fn hot_keys(bench: &Bench) -> io::Result<HotKeys> {
    let workload = Workload::named("hot-c50-p1").map_err(io::Error::other)?;
    let Preloaded { server, outcome } = start(bench, &workload)?;
    outcome.map_err(io::Error::other)?;
    eprintln!("{HOT_KEYS}, {}", server.program.name);
    let rate = rounds::rate(bench, Mode::Plain, &server, &workload)?;
    let requests = rounds::requests_of_round(bench, &workload, [&rate]);
    let mut client = server.client()?;
    client.ask(&["FLUSHALL"])?;
    let (mut transactions, mut slowest) = (0, vec![]);
    for _ in 0..bench.rounds {
        let tally = bench.at_generator(Mode::Plain, || {
            Generator::connect(server.address, &workload)?.run(requests)
        })?;
        if let Some(error) = tally.first_error {
            return Err(io::Error::other(error));
        }
        transactions += tally.requests;
        let clients = Spread::of(tally.by_connection.iter().map(|&done| done as f64));
        slowest.push(clients.min / clients.middle);
    }
    let mut lost = 0;
    for key in ["foo", "bar"] {
        lost += transactions.abs_diff(counted(&mut client, key)?);
    }
    Ok(HotKeys { transactions, lost, slowest: Spread::of(slowest) })
}

fn counted(client: &mut Client, key: &str) -> io::Result<u64> {
    let reply = client.ask(&["GET", key])?;
    let count = if let Reply::Text(text) = &reply { text.parse().ok() } else { None };
    count.ok_or_else(|| io::Error::other(format!("{key} is no counter: {reply:?}")))
}

fn start(bench: &Bench, workload: &Workload) -> io::Result<Preloaded> {
    let program = bench.ours.with_shards(SHARDS)?;
    let started = rounds::start_preloaded(bench, Mode::Plain, &[program], workload)?.pop();
    Ok(started.expect("because one program was asked for"))
}
