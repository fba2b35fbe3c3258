//! Rounds: the same load on several servers in turn, so that what disturbs the machine disturbs all
//! of them.
//!
//! In each round every server gets the same number of requests, sized so that the fastest needs the
//! wanted time; the order turns around from round to round. Connecting and warming up are not
//! counted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::benchmark_tool;
use crate::generator::{Generator, Tally};
use crate::lab::{Lab, Mode, Tool};
use crate::meter;
use crate::request;
use crate::server::{Program, Server};
use crate::statistics::Spread;
use crate::workload::{Dataset, Workload};

/// How long the rate of a server is probed before its rounds are sized.
const PROBE: Duration = Duration::from_millis(200);
/// The part of a round's requests that are sent before counting starts.
const WARM_UP: f64 = 0.05;
/// How many requests an endless load sends before it looks whether it shall end.
const REQUESTS_BETWEEN_LOOKS: u64 = 10_000;

/// What one round of one server showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) cpu_us_per_request: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
}

/// All rounds of one server, or why it can't run the workload.
pub(crate) struct Contestant {
    pub(crate) name: String,
    pub(crate) samples: Result<Vec<Sample>, String>,
}

impl Contestant {
    /// CPU time against another contestant's, round by round.
    pub(crate) fn cpu_ratio(&self, base: &Contestant) -> Option<Spread> {
        let cpu = |of: &Contestant| -> Option<Vec<f64>> {
            let samples = of.samples.as_ref().ok()?;
            Some(samples.iter().map(|sample| sample.cpu_us_per_request).collect())
        };
        Some(Spread::of_ratios(&cpu(self)?, &cpu(base)?))
    }

    /// The median of a measure over all rounds, without decimals.
    pub(crate) fn median_text(&self, measure: fn(&Sample) -> f64) -> String {
        self.median(measure).map_or("-".to_owned(), |median| format!("{median:.0}"))
    }

    pub(crate) fn cpu_us_text(&self) -> String {
        let median = self.median(|sample| sample.cpu_us_per_request);
        median.map_or("-".to_owned(), |median| format!("{median:.3}"))
    }

    fn median(&self, measure: fn(&Sample) -> f64) -> Option<f64> {
        let samples = self.samples.as_ref().ok()?;
        Some(Spread::of(samples.iter().map(measure)).middle)
    }
}

/// The outcome of one workload, contestants in the order of the programs.
pub(crate) struct Comparison {
    pub(crate) workload: Workload,
    pub(crate) contestants: Vec<Contestant>,
}

/// Measures the workloads on all programs and hands out each comparison when it is there.
pub(crate) fn compare(
    lab: &Lab,
    mode: Mode,
    programs: &[Program],
    workloads: &[Workload],
    mut report: impl FnMut(Comparison),
) -> io::Result<()> {
    let mut workloads = workloads.to_vec();
    // Stable: one filling serves all workloads that need it.
    workloads.sort_by_key(|workload| format!("{:?}", workload.dataset()));
    for group in workloads.chunk_by(|one, next| one.dataset() == next.dataset()) {
        let servers = start_filled(lab, mode, programs, group[0].dataset())?;
        for workload in group {
            eprintln!("{workload}, {}", mode.name());
            report(compare_running(lab, mode, &servers, workload)?);
        }
    }
    Ok(())
}

/// Runs `work` while a filled server is under a saturated workload.
pub(crate) fn under_load<T>(
    lab: &Lab,
    program: &Program,
    workload: &Workload,
    work: impl FnOnce(&Server) -> io::Result<T>,
) -> io::Result<T> {
    let server = lab.start(program, Mode::Saturated)?;
    fill(&server, workload.dataset())?;
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            lab.at_generator(Mode::Saturated, || {
                let mut generator = Generator::connect(server.address, workload)?;
                while !is_done.load(Ordering::Relaxed) {
                    succeeded(generator.run(REQUESTS_BETWEEN_LOOKS)?)?;
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

fn start_filled(
    lab: &Lab,
    mode: Mode,
    programs: &[Program],
    dataset: Dataset,
) -> io::Result<Vec<Server>> {
    let servers: Vec<Server> =
        programs.iter().map(|program| lab.start(program, mode)).collect::<io::Result<_>>()?;
    for server in &servers {
        fill(server, dataset)?;
    }
    Ok(servers)
}

fn fill(server: &Server, dataset: Dataset) -> io::Result<()> {
    let (prefix, keys, value) = match dataset {
        Dataset::Nothing => return Ok(()),
        Dataset::Strings { keys, value_bytes } => ("key:", keys, "x".repeat(value_bytes)),
        Dataset::Counters { keys } => ("counter:", keys, "0".to_owned()),
    };
    server.client()?.load(keys, |out, index| {
        request::encode(out, &["SET", &request::key(prefix, index), &value]);
    })?;
    // Tables that grow step by step with each access get the steps they still lack.
    let reading = Workload::named(&format!("get-c50-p16-r{keys}")).map_err(io::Error::other)?;
    Generator::connect(server.address, &reading)?.run(keys / 4).map(drop)
}

fn compare_running(
    lab: &Lab,
    mode: Mode,
    servers: &[Server],
    workload: &Workload,
) -> io::Result<Comparison> {
    let rates: Vec<io::Result<f64>> =
        servers.iter().map(|server| rate(lab, mode, server, workload)).collect();
    let fastest = rates.iter().flatten().copied().fold(0.0, f64::max);
    let requests = (fastest * lab.seconds).ceil() as u64;
    let mut samples: Vec<Result<Vec<Sample>, String>> =
        rates.into_iter().map(|rate| rate.map(|_| vec![]).map_err(|e| e.to_string())).collect();
    for round in 0..lab.rounds {
        let mut order: Vec<usize> = (0..servers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            if let Ok(samples) = &mut samples[index] {
                samples.push(sample(lab, mode, &servers[index], workload, requests)?);
            }
        }
    }
    let names = servers.iter().map(|server| server.program.name.clone());
    let contestants =
        names.zip(samples).map(|(name, samples)| Contestant { name, samples }).collect();
    Ok(Comparison { workload: *workload, contestants })
}

/// Requests per second that a server is good for; an error if it refuses them.
fn rate(lab: &Lab, mode: Mode, server: &Server, workload: &Workload) -> io::Result<f64> {
    lab.at_generator(mode, || {
        let mut generator = Generator::connect(server.address, workload)?;
        let mut requests = 1000;
        loop {
            let tally = succeeded(generator.run(requests)?)?;
            if tally.elapsed >= PROBE {
                return Ok(tally.requests as f64 / tally.elapsed.as_secs_f64());
            }
            requests *= 2;
        }
    })
}

fn sample(
    lab: &Lab,
    mode: Mode,
    server: &Server,
    workload: &Workload,
    requests: u64,
) -> io::Result<Sample> {
    lab.at_generator(mode, || {
        let mut generator = Generator::connect(server.address, workload)?;
        generator.run((requests as f64 * WARM_UP) as u64)?;
        let before = meter::cpu_time(server.pid())?;
        let mut sample = match &lab.tool {
            Tool::Own => of_tally(&succeeded(generator.run(requests)?)?),
            Tool::Benchmark(path) => {
                drop(generator);
                benchmark_tool::run(path, server.address, workload, requests)?
            }
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

fn succeeded(tally: Tally) -> io::Result<Tally> {
    match &tally.first_error {
        None => Ok(tally),
        Some(error) => Err(io::Error::other(error.clone())),
    }
}
