//! Expiry: a million keys expire in the same second. How long does the server stall, and when are
//! all keys removed?
//!
//! One connection reads a key without expiry every 200 µs; the longest latency is the stall that a
//! client sees. The same probe over the quiet second before shows the machine's own contribution. A
//! second connection polls DBSIZE. If the server has `loop_turn_max_us` in INFO stats, the stall as
//! the loop itself saw it is shown too. Server and probe run as real-time processes if that is
//! permitted, so that other processes are not counted as a stall.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bench::{Bench, Mode};
use crate::client::{Client, Reply};
use crate::histogram::Histogram;
use crate::request;
use crate::server::{Program, Server};
use crate::statistics::Spread;
use crate::table::Table;

const KEYS: u64 = 1_000_000;
/// The time to load a server before the keys expire; doubled when it was too short.
const FILL: Duration = Duration::from_secs(5);
const PROBE_EVERY: Duration = Duration::from_micros(200);
const WATCH_EVERY: Duration = Duration::from_millis(5);
/// The length of the quiet time before the keys expire, and how long before it the probe restarts.
const QUIET: Duration = Duration::from_secs(1);
const LEAD: Duration = Duration::from_millis(100);
/// How long the probe continues after the last key is removed: memory may be freed later.
const AFTERMATH: Duration = Duration::from_millis(300);
/// LIMIT: a server that has not removed all keys by then is reported as late.
const WATCH_MAX: Duration = Duration::from_secs(15);
/// The target figures.
pub(crate) const STALL_MAX_US: f64 = 1000.0;
pub(crate) const GONE_MAX_S: f64 = 1.0;

/// The result of one run.
pub(crate) struct Outcome {
    pub(crate) quiet_max_us: f64,
    pub(crate) stall_max_us: f64,
    stall_p999_us: f64,
    /// The longest turn as the server measured it, if it does.
    pub(crate) turn_max_us: Option<f64>,
    /// From the moment of expiry until DBSIZE was 0.
    pub(crate) gone_s: f64,
    /// The server's own count of expired keys.
    expired: Option<u64>,
}

/// Measures all programs, each in several runs, and returns the table.
pub(crate) fn report(bench: &Bench, runs: usize) -> io::Result<String> {
    let mut table = Table::new(&[
        "1 million keys expire in one second",
        "quiet max µs",
        "stall max µs",
        "stall p99.9 µs",
        "loop turn max µs",
        "all gone after s",
        "expired_keys",
    ]);
    for program in bench.programs() {
        let outcomes =
            (0..runs).map(|_| measure(bench, &program)).collect::<io::Result<Vec<_>>>()?;
        let spread = |of: fn(&Outcome) -> f64| Spread::of(outcomes.iter().map(of));
        let turns: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.turn_max_us).collect();
        let expired = outcomes.iter().filter_map(|outcome| outcome.expired).min();
        table.add(vec![
            program.name.clone(),
            spread(|outcome| outcome.quiet_max_us).text(0),
            spread(|outcome| outcome.stall_max_us).text(0),
            spread(|outcome| outcome.stall_p999_us).text(0),
            if turns.is_empty() { "-".to_owned() } else { Spread::of(turns).text(0) },
            spread(|outcome| outcome.gone_s).text(2),
            expired.map_or("-".to_owned(), |count| count.to_string()),
        ]);
    }
    Ok(format!("{table}\nTo reach: stall ≤ {STALL_MAX_US} µs, all gone within {GONE_MAX_S} s.\n"))
}

/// One run with a fresh server.
pub(crate) fn measure(bench: &Bench, program: &Program) -> io::Result<Outcome> {
    eprintln!("expiry: {}", program.name);
    let mut time_to_fill = FILL;
    loop {
        let server = bench.start(program, Mode::Undisturbed)?;
        let second = SystemTime::now() + time_to_fill + QUIET;
        let second = second.duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs() + 1;
        fill(&server, second)?;
        let moment = UNIX_EPOCH + Duration::from_secs(second);
        if let Some(left) = until(moment).checked_sub(QUIET + 2 * LEAD) {
            thread::sleep(left);
            return observe(bench, &server, moment);
        }
        time_to_fill *= 2;
    }
}

fn fill(server: &Server, second: u64) -> io::Result<()> {
    let second = second.to_string();
    let mut client = server.client()?;
    client.ask(&["SET", "stays", "x"])?;
    client.load(KEYS, |out, index| {
        request::encode(out, &["SET", &request::key("key:", index), "0123456789", "EXAT", &second]);
    })
}

fn observe(bench: &Bench, server: &Server, moment: SystemTime) -> io::Result<Outcome> {
    let mut watcher = server.client()?;
    let quiet =
        bench.at_generator(Mode::Undisturbed, || probe(server, || until(moment) <= LEAD))?;
    watcher.ask(&["CONFIG", "RESETSTAT"])?;
    let is_gone = AtomicBool::new(false);
    let (stalls, gone) = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let gone = bench.at_generator(Mode::Undisturbed, || await_gone(&mut watcher, moment));
            is_gone.store(true, Ordering::Relaxed);
            gone
        });
        let is_over = || is_gone.load(Ordering::Relaxed);
        let stalls = bench.at_generator(Mode::Undisturbed, || probe(server, is_over));
        (stalls, watching.join().expect("because the release profile aborts on panic"))
    });
    let (stalls, gone) = (stalls?, gone?);
    let us = |latency: Duration| latency.as_secs_f64() * 1e6;
    Ok(Outcome {
        quiet_max_us: us(quiet.max()),
        stall_max_us: us(stalls.max()),
        stall_p999_us: us(stalls.percentile(99.9)),
        turn_max_us: watcher.info_field("stats", "loop_turn_max_us")?.map(|turn_us| turn_us as f64),
        gone_s: gone.as_secs_f64(),
        expired: watcher.info_field("stats", "expired_keys")?,
    })
}

/// Reads the key without expiry, repeatedly, until the end; records each latency.
fn probe(server: &Server, is_over: impl Fn() -> bool) -> io::Result<Histogram> {
    let mut client = server.client()?;
    let mut latencies = Histogram::new();
    while !is_over() {
        let asked = Instant::now();
        client.ask(&["GET", "stays"])?;
        latencies.add(asked.elapsed(), 1);
        // Sleep would add the timer's slack and a cold core to the result.
        while asked.elapsed() < PROBE_EVERY {
            std::hint::spin_loop();
        }
    }
    Ok(latencies)
}

/// Waits until only the key without expiry is left; returns the time since the moment of expiry.
fn await_gone(watcher: &mut Client, moment: SystemTime) -> io::Result<Duration> {
    loop {
        let keys = watcher.ask(&["DBSIZE"])?;
        let since = moment.elapsed().unwrap_or_default();
        if keys == Reply::Number(1) || since > WATCH_MAX {
            thread::sleep(AFTERMATH);
            return Ok(since);
        }
        thread::sleep(WATCH_EVERY);
    }
}

/// The time left before a moment; zero if it has passed.
fn until(moment: SystemTime) -> Duration {
    moment.duration_since(SystemTime::now()).unwrap_or_default()
}
