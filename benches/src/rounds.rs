//! Rounds: the same load on several servers in turn, so that disturbances of the machine affect all
//! of them.
//!
//! In each round every server gets the same number of requests, chosen so that the fastest takes
//! the minimum duration; the order is reversed from round to round. Connecting and warm-up are not
//! counted. Data that a workload consumes is loaded anew before each round.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::bench::{Bench, Mode, Tool};
use crate::benchmark_tool;
use crate::datasets::Preload;
use crate::generator::{Generator, Tally};
use crate::meter;
use crate::request;
use crate::server::{Program, Server};
use crate::statistics::Spread;
use crate::workload::Workload;

/// How long a server's rate is probed before the size of its rounds is chosen.
const PROBE: Duration = Duration::from_millis(200);
const PROBE_REQUESTS_MIN: u64 = 1000;
/// The fraction of a round's requests that are sent as a warm-up.
const WARM_UP: f64 = 0.05;
/// The number of requests between two checks whether an endless load should end.
const REQUESTS_BETWEEN_LOOKS: u64 = 10_000;

/// The result of one round of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) cpu_us_per_request: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

/// All rounds of one server, or why it cannot run the workload.
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) samples: Result<Vec<Sample>, String>,
}

impl Contestant {
    /// The ratio of CPU time to another server's, round by round.
    pub(crate) fn cpu_ratio(&self, base: &Contestant) -> Option<Spread> {
        self.ratio(base, |sample| sample.cpu_us_per_request)
    }

    /// The ratio of a measure to another server's, round by round.
    pub(crate) fn ratio(&self, base: &Contestant, measure: fn(&Sample) -> f64) -> Option<Spread> {
        let measured = |of: &Contestant| -> Option<Vec<f64>> {
            Some(of.samples.as_ref().ok()?.iter().map(measure).collect())
        };
        Some(Spread::of_ratios(&measured(self)?, &measured(base)?))
    }

    /// The median of a measure over all rounds, without decimals.
    pub(crate) fn median_text(&self, measure: fn(&Sample) -> f64) -> String {
        self.median(measure).map_or("-".to_owned(), |median| format!("{median:.0}"))
    }

    pub(crate) fn cpu_us_text(&self) -> String {
        let median = self.median(|sample| sample.cpu_us_per_request);
        median.map_or("-".to_owned(), |median| format!("{median:.3}"))
    }

    pub(crate) fn median(&self, measure: fn(&Sample) -> f64) -> Option<f64> {
        let samples = self.samples.as_ref().ok()?;
        Some(Spread::of(samples.iter().map(measure)).middle)
    }
}

/// The result of one workload, with the servers in the order of the programs.
pub(crate) struct Comparison {
    pub(crate) workload: Workload,
    pub(crate) contestants: Vec<Contestant>,
}

/// Measures the workloads on all programs and passes each comparison to `report` as soon as it is
/// complete.
pub(crate) fn compare(
    bench: &Bench,
    mode: Mode,
    programs: &[Program],
    workloads: &[Workload],
    mut report: impl FnMut(Comparison),
) -> io::Result<()> {
    let mut workloads = workloads.to_vec();
    // Workloads that need the same data share one load of it; those that do not change it come
    // first.
    workloads.sort_by_key(|workload| (workload.preload().id(), workload.requests_max()));
    for group in workloads.chunk_by(|one, next| one.preload().id() == next.preload().id()) {
        let servers = start_preloaded(bench, mode, programs, &group[0])?;
        for workload in group {
            eprintln!("{workload}, {}", mode.name());
            report(compare_running(bench, mode, &servers, workload)?);
        }
    }
    Ok(())
}

/// A server with its data, or why it does not support them.
pub(crate) struct Preloaded {
    pub(crate) server: Server,
    pub(crate) outcome: Result<(), String>,
}

/// Runs `work` while a preloaded server is under a saturated workload.
///
/// Data that the workload consumes is loaded anew in between, which `work` sees too.
pub(crate) fn under_load<T>(
    bench: &Bench,
    program: &Program,
    workload: &Workload,
    work: impl FnOnce(&Server) -> io::Result<T>,
) -> io::Result<T> {
    let server = bench.start(program, Mode::Saturated)?;
    store(&server, &workload.preload())?;
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            bench.at_generator(Mode::Saturated, || {
                let mut generator = Generator::connect(server.address, workload)?;
                let mut requests = 0;
                while !is_done.load(Ordering::Relaxed) {
                    requests += REQUESTS_BETWEEN_LOOKS;
                    if workload.requests_max().is_some_and(|max| requests > max) {
                        store_anew(&server, workload)?;
                        requests = REQUESTS_BETWEEN_LOOKS;
                    }
                    succeeded(workload, generator.run(REQUESTS_BETWEEN_LOOKS)?)?;
                }
                Ok(())
            })
        });
        let outcome = work(&server);
        is_done.store(true, Ordering::Relaxed);
        load.join().expect("because the release profile aborts on panic")?;
        outcome
    })
}

/// Starts servers and loads the data of a workload.
pub(crate) fn start_preloaded(
    bench: &Bench,
    mode: Mode,
    programs: &[Program],
    workload: &Workload,
) -> io::Result<Vec<Preloaded>> {
    let servers: Vec<Server> =
        programs.iter().map(|program| bench.start(program, mode)).collect::<io::Result<_>>()?;
    let fill = |server: Server| {
        let outcome = fill(&server, workload).map_err(|error| error.to_string());
        Preloaded { server, outcome }
    };
    Ok(servers.into_iter().map(fill).collect())
}

fn fill(server: &Server, workload: &Workload) -> io::Result<()> {
    let preload = workload.preload();
    store(server, &preload)?;
    if workload.requests_max().is_none() {
        // Tables that grow incrementally with each access finish their growth.
        Generator::connect(server.address, workload)?.run(preload.requests / 4)?;
    }
    Ok(())
}

fn store(server: &Server, preload: &Preload) -> io::Result<()> {
    let request_of = preload.request();
    server.client()?.load(preload.requests, |out, index| request::encode(out, &request_of(index)))
}

/// Reloads data that a workload consumes; other data stays.
fn store_anew(server: &Server, workload: &Workload) -> io::Result<()> {
    if workload.requests_max().is_none() {
        return Ok(());
    }
    server.client()?.ask(&["FLUSHALL"])?;
    store(server, &workload.preload())
}

/// Measures a workload on running servers.
pub(crate) fn compare_running(
    bench: &Bench,
    mode: Mode,
    servers: &[Preloaded],
    workload: &Workload,
) -> io::Result<Comparison> {
    let rates: Vec<Result<f64, String>> = servers
        .iter()
        .map(|preloaded| {
            preloaded.outcome.clone()?;
            rate(bench, mode, &preloaded.server, workload).map_err(|error| error.to_string())
        })
        .collect();
    let requests = requests_of_round(bench, workload, rates.iter().flatten());
    let mut samples: Vec<Result<Vec<Sample>, String>> =
        rates.into_iter().map(|rate| rate.map(|_| vec![])).collect();
    for round in 0..bench.rounds {
        let mut order: Vec<usize> = (0..servers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            if let Ok(samples) = &mut samples[index] {
                samples.push(sample(bench, mode, &servers[index].server, workload, requests)?);
            }
        }
    }
    let names = servers.iter().map(|preloaded| preloaded.server.program.name.clone());
    let contestants =
        names.zip(samples).map(|(name, samples)| Contestant { name, samples }).collect();
    Ok(Comparison { workload: *workload, contestants })
}

/// The number of requests that take the fastest server the minimum duration, limited by the data.
pub(crate) fn requests_of_round<'a>(
    bench: &Bench,
    workload: &Workload,
    rates: impl IntoIterator<Item = &'a f64>,
) -> u64 {
    let fastest = rates.into_iter().copied().fold(0.0, f64::max);
    let requests = (fastest * bench.seconds).ceil() as u64;
    workload.requests_max().map_or(requests, |max| requests.min(max))
}

/// Requests per second that a server can process; an error if it refuses them.
pub(crate) fn rate(
    bench: &Bench,
    mode: Mode,
    server: &Server,
    workload: &Workload,
) -> io::Result<f64> {
    store_anew(server, workload)?;
    bench.at_generator(mode, || {
        let mut generator = Generator::connect(server.address, workload)?;
        let (mut requests, mut sent) = (PROBE_REQUESTS_MIN, 0);
        loop {
            let tally = succeeded(workload, generator.run(requests)?)?;
            (requests, sent) = (2 * requests, sent + requests);
            let are_spent = workload.requests_max().is_some_and(|max| sent + requests > max);
            if tally.elapsed >= PROBE || are_spent {
                return Ok(tally.requests as f64 / tally.elapsed.as_secs_f64());
            }
        }
    })
}

/// One round of one server.
pub(crate) fn sample(
    bench: &Bench,
    mode: Mode,
    server: &Server,
    workload: &Workload,
    requests: u64,
) -> io::Result<Sample> {
    store_anew(server, workload)?;
    bench.at_generator(mode, || {
        let mut generator = Generator::connect(server.address, workload)?;
        succeeded(workload, generator.run((requests as f64 * WARM_UP) as u64)?)?;
        let before = meter::cpu_time(server.pid())?;
        let mut sample = match &bench.tool {
            Tool::Benchmark(path) if benchmark_tool::can_run(workload) => {
                drop(generator);
                benchmark_tool::run(path, server.address, workload, requests)?
            }
            _ => of_tally(&succeeded(workload, generator.run(requests)?)?),
        };
        let used = meter::cpu_time(server.pid())? - before;
        sample.cpu_us_per_request = used.as_secs_f64() * 1e6 / requests as f64;
        Ok(sample)
    })
}

fn of_tally(tally: &Tally) -> Sample {
    let percentile_us = |percent| tally.latency.percentile(percent).as_secs_f64() * 1e6;
    Sample {
        cpu_us_per_request: 0.0,
        requests_per_s: tally.requests as f64 / tally.elapsed.as_secs_f64(),
        p50_us: percentile_us(50.0),
        p99_us: percentile_us(99.0),
        p999_us: percentile_us(99.9),
    }
}

/// Whether all replies are valid for the workload.
fn succeeded(workload: &Workload, tally: Tally) -> io::Result<Tally> {
    if let Some(error) = &tally.first_error {
        return Err(io::Error::other(error.clone()));
    }
    if workload.command.finds && tally.empty > 0 {
        let Tally { empty, requests, .. } = tally;
        return Err(io::Error::other(format!("{empty} of {requests} requests found nothing")));
    }
    Ok(tally)
}
