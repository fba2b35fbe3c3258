//! basalt-bench: measures our server next to others and prints Markdown tables.
//!
//! `docs/BENCHMARKS.md` explains modes and columns; `scripts/bench` builds everything and runs
//! this.

#![expect(clippy::disallowed_methods, reason = "a measuring program reads clocks and waits")]
#![expect(clippy::print_stderr, reason = "progress and failures go to the user")]

mod abuse;
mod bench;
mod benchmark_tool;
mod client;
mod commands;
mod datasets;
mod expiry;
mod generator;
mod growth;
mod heavy;
mod histogram;
mod hitratio;
mod interference;
mod kernel;
mod memory;
mod meter;
mod plot;
mod profile;
mod ratios;
mod reply;
mod request;
mod rounds;
mod server;
mod statistics;
mod table;
mod targets;
mod traces;
mod transactions;
mod workload;

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::bench::{Bench, Mode, Tool};
use crate::rounds::Comparison;
use crate::server::{Ports, Program};
use crate::table::Table;
use crate::workload::Workload;

const USAGE: &str = "\
WORDS are one of
  PATTERN…             workloads by name, such as get-c50-p16, 'set-*', 'get-c50-p1-d*'
  list                 all names
  quick                a few seconds: is everything in order?
  figures [PATTERN…]   the figures to reach, beside what is reached (rows: 'saturated/*', expiry …)
  memory [PATTERN…]    bytes per item for shapes of data
  expiry               a million keys that end in the same second
  hitratio [TRACE…]    hit ratios at maxmemory: traces by name, or files (Twitter's, or libCacheSim's CSV)
  abuse                large values, half-sent requests, clients that don't read
  heavy                one command over large values: time and memory
  plot [FILE]          ten workloads as a picture (SVG), and as a table
  profile WORKLOAD     where our server spends its time (perf)
Without words: PING, SET, GET, INCR and MSET from 50 connections, unpiped and 16 piped.";

/// The default workloads.
const OVERVIEW: &[&str] = &[
    "ping-c50-p1",
    "set-c50-p1",
    "get-c50-p1",
    "incr-c50-p1",
    "mset-c50-p1",
    "ping-c50-p16",
    "set-c50-p16",
    "get-c50-p16",
    "incr-c50-p16",
    "mset-c50-p16",
];

/// Measures basalt-server next to other servers.
#[derive(Parser)]
#[command(name = "bench", bin_name = "scripts/bench", after_help = USAGE)]
struct Options {
    words: Vec<String>,
    /// Our server, or a replacement for it
    #[arg(long)]
    ours: Option<PathBuf>,
    /// Valkey's server; by default valkey9-server among the peers
    #[arg(long)]
    valkey: Option<PathBuf>,
    /// Another server with Redis' options; may be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = rival)]
    rival: Vec<(String, PathBuf)>,
    /// The folder into which scripts/peers has built the other servers
    #[arg(long)]
    peers: Option<PathBuf>,
    /// own, valkey-benchmark, or a redis-benchmark; by default own, for figures valkey-benchmark
    #[arg(long)]
    generator: Option<String>,
    /// Rounds per workload and server
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Minimum duration of a round in seconds
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Only this way of sharing the machine
    #[arg(long)]
    mode: Option<Mode>,
    /// Measures our server with this many shards too (plain only)
    #[arg(long, default_value_t = 1)]
    shards: usize,
    /// Cores to use: servers on the first ones, the generator on the last
    #[arg(long, value_delimiter = ',', default_value = "0,1")]
    cores: Vec<usize>,
    /// For hitratio: keys of 100 B that fit
    #[arg(long, default_value_t = 20_000)]
    keys: u64,
    /// For hitratio: the accesses of a trace
    #[arg(long, default_value_t = 1_000_000)]
    accesses: usize,
    /// For hitratio: the bytes that all get; by default those in which Valkey keeps the keys
    #[arg(long)]
    maxmemory: Option<u64>,
    /// The first port to try
    #[arg(long, default_value_t = 17200)]
    port: u16,
}

fn rival(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("wants NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let (word, rest) = match options.words.split_first() {
        Some((word, rest)) => (word.as_str(), rest),
        None => ("overview", [].as_slice()),
    };
    if word == "list" {
        return workload::table().iter().try_for_each(print);
    }
    let everything = ["*".to_owned()];
    let patterns = if rest.is_empty() { everything.as_slice() } else { rest };
    let mut bench = bench(options, word)?;
    print(&machine())?;
    match word {
        "figures" => targets::run(&bench, patterns, |table| print(&table))?,
        "memory" => {
            let shapes = memory::chosen(patterns);
            if shapes.is_empty() {
                return Err(io::Error::other(format!("no shape is named {}", patterns.join(" "))));
            }
            bench.add_peer(options, "redis8-server")?;
            print(&memory::report(&bench, &shapes)?)?;
        }
        "expiry" => {
            bench.add_peer(options, "redis8-server")?;
            print(&expiry::report(&bench, bench.rounds.min(3))?)?;
        }
        "hitratio" => {
            bench.add_peer(options, "redis8-server")?;
            let replay = hitratio::Replay {
                names: patterns.to_vec(),
                kept: options.keys,
                length: options.accesses,
                maxmemory: options.maxmemory,
            };
            print(&hitratio::report(&bench, &replay)?)?;
        }
        "abuse" => print(&abuse::report(&bench)?)?,
        "heavy" => print(&heavy::report(&bench)?)?,
        "plot" => {
            bench.add_peer(options, "redis8-server")?;
            let file = rest.first().map_or("docs/figures.svg", String::as_str);
            print(&plot::report(&bench, file.as_ref())?)?;
        }
        "profile" => {
            let name = rest.first().map_or("get-c50-p16", String::as_str);
            let workload = Workload::named(name).map_err(io::Error::other)?;
            print(&profile::report(&bench, &bench.ours, &workload)?)?;
        }
        "quick" => {
            (bench.rounds, bench.seconds) = (bench.rounds.min(3), bench.seconds.min(0.2));
            compare(
                &bench,
                options,
                &["ping-c50-p16", "set-c50-p16", "get-c50-p16", "get-c50-p1"],
            )?;
        }
        "overview" => compare(&bench, options, OVERVIEW)?,
        _ => {
            let patterns: Vec<&str> = options.words.iter().map(String::as_str).collect();
            compare(&bench, options, &patterns)?;
        }
    }
    Ok(())
}

/// Prints to standard output; ends the program if the reader has closed it.
fn print(text: &impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stdout(), "{text}")
}

fn bench(options: &Options, word: &str) -> io::Result<Bench> {
    if options.cores.len() < 2 || options.rounds == 0 {
        return Err(io::Error::other("at least two cores and one round are needed"));
    }
    let ours = options.ours.as_ref().ok_or_else(|| io::Error::other("wants --ours PATH"))?;
    let valkey = match &options.valkey {
        Some(path) => path.clone(),
        None => peer(options, "valkey9-server")?,
    };
    let default = if word == "figures" { "valkey-benchmark" } else { "own" };
    let tool = match options.generator.as_deref().unwrap_or(default) {
        "own" => Tool::Own,
        "valkey-benchmark" => Tool::Benchmark(
            peer(options, "valkey9-benchmark").unwrap_or_else(|_| "valkey-benchmark".into()),
        ),
        program => Tool::Benchmark(program.into()),
    };
    let rivals = options.rival.iter().map(|(name, path)| Program::at(Some(name), path));
    Ok(Bench {
        ours: Program::at(None, ours)?,
        valkey: Program::at(None, &valkey)?,
        rivals: rivals.collect::<io::Result<_>>()?,
        rounds: options.rounds,
        seconds: options.seconds,
        cores: options.cores.clone(),
        ports: Ports::from(options.port),
        tool,
    })
}

fn peer(options: &Options, program: &str) -> io::Result<PathBuf> {
    let folder = options.peers.as_deref();
    let folder = folder.ok_or_else(|| io::Error::other("wants --peers DIR or --valkey PATH"))?;
    Ok(folder.join(program))
}

impl Bench {
    /// Adds a peer if scripts/peers has built it.
    fn add_peer(&mut self, options: &Options, program: &str) -> io::Result<()> {
        match peer(options, program) {
            Ok(path) if path.exists() => self.rivals.push(Program::at(None, &path)?),
            _ => eprintln!("{program} is left out: it isn't among the peers"),
        }
        Ok(())
    }
}

fn compare(bench: &Bench, options: &Options, patterns: &[&str]) -> io::Result<()> {
    let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    let workloads = workload::chosen(&patterns).map_err(io::Error::other)?;
    let modes = options.mode.map_or(vec![Mode::Saturated, Mode::Plain], |mode| vec![mode]);
    for mode in modes {
        let mut programs = bench.programs();
        if mode == Mode::Plain && options.shards > 1 {
            programs.insert(1, bench.ours.with_shards(options.shards)?);
        }
        let base = programs.len() - bench.rivals.len() - 1;
        let mut table = Table::new(&[
            mode.name(),
            "server",
            "CPU µs/request",
            "to Valkey",
            "requests/s",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
        ]);
        rounds::compare(bench, mode, &programs, &workloads, |comparison| {
            add_rows(&mut table, &comparison, base);
        })?;
        print(&table)?;
    }
    Ok(())
}

/// One row for each server of a workload, compared with the server at index `base`.
fn add_rows(table: &mut Table, comparison: &Comparison, base: usize) {
    let base = &comparison.contestants[base];
    for contestant in &comparison.contestants {
        let mut cells = vec![comparison.workload.to_string(), contestant.name.clone()];
        match &contestant.samples {
            Ok(_) => {
                let ratio = contestant.cpu_ratio(base);
                cells.push(contestant.cpu_us_text());
                cells.push(ratio.map_or("-".to_owned(), |ratio| ratio.text(2)));
                cells.push(contestant.median_text(|sample| sample.requests_per_s));
                cells.push(contestant.median_text(|sample| sample.p50_us));
                cells.push(contestant.median_text(|sample| sample.p99_us));
                cells.push(contestant.median_text(|sample| sample.p999_us));
            }
            Err(error) => {
                eprintln!("{} can't run {}: {error}", contestant.name, comparison.workload);
                cells.resize(8, "-".to_owned());
            }
        }
        table.add(cells);
    }
}

/// The machine and versions of the measurement, in one line.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!("{count} × {model}, Linux {}, load before start {load}\n", kernel.trim())
}
