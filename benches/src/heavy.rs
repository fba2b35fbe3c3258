//! Heavy: what one command over large values takes, in time and in memory beyond what the values have.
//!
//! Each row is one request, sent alone, several times. Time is what the client waits; memory is how far the peak of
//! resident memory lies above what was resident before the first of them. Before that MEMORY PURGE makes each server
//! give back what it holds of earlier allocations: otherwise a server that keeps such memory seems to need none.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Mode};
use crate::client::{Client, Reply};
use crate::meter::{cpu_time, resident_bytes};
use crate::server::Program;
use crate::statistics::Spread;
use crate::table::Table;

const MILLION: usize = 1_000_000;
/// The number of members of the collections that are combined, and how many there are.
const MEMBERS: usize = 100_000;
const KEYS: usize = 10;
/// A key named so often in one command.
const REPEATS: usize = 50;
/// Strings of BITOP.
const STRINGS: usize = 16;
const STRING_BYTES: usize = 100 << 20;
const PART_BYTES: usize = 1 << 20;
const MEMBERS_PER_REQUEST: usize = 1000;
/// Memory is looked at after so long without a request.
const SETTLED: Duration = Duration::from_millis(500);

/// One request over large values.
struct Row {
    name: &'static str,
    prepare: fn(&mut Client) -> io::Result<()>,
    /// Sent one after the other in each round; each is timed.
    requests: fn() -> Vec<Vec<String>>,
    /// Removed after each round; not timed.
    result: Option<&'static str>,
}

const ROWS: &[Row] = &[
    Row { name: "RENAME of a string of 10 bytes", prepare: small, requests: rename, result: None },
    Row {
        name: "RENAME of a set of 1,000,000",
        prepare: large_set,
        requests: rename,
        result: None,
    },
    Row {
        name: "COPY of a set of 1,000,000",
        prepare: large_set,
        requests: copy,
        result: Some(LOWER),
    },
    Row {
        name: "BITOP AND of 16 times 100 MiB",
        prepare: strings,
        requests: bitop,
        result: Some("d"),
    },
    Row {
        name: "ZUNIONSTORE of 10 keys of 100,000",
        prepare: sorted_sets,
        requests: || vec![combine("ZUNIONSTORE", &different())],
        result: Some("d"),
    },
    Row {
        name: "ZINTERSTORE of 10 keys of 100,000",
        prepare: sorted_sets,
        requests: || vec![combine("ZINTERSTORE", &different())],
        result: Some("d"),
    },
    Row {
        name: "ZDIFFSTORE of 10 keys of 100,000",
        prepare: sorted_sets,
        requests: || vec![combine("ZDIFFSTORE", &different())],
        result: Some("d"),
    },
    Row {
        name: "ZUNIONSTORE of one key 50 times",
        prepare: sorted_sets,
        requests: || vec![combine("ZUNIONSTORE", &repeated())],
        result: Some("d"),
    },
    Row {
        name: "ZINTERSTORE of one key 50 times",
        prepare: sorted_sets,
        requests: || vec![combine("ZINTERSTORE", &repeated())],
        result: Some("d"),
    },
    Row {
        name: "ZDIFFSTORE of one key 50 times",
        prepare: sorted_sets,
        requests: || vec![combine("ZDIFFSTORE", &repeated())],
        result: Some("d"),
    },
    Row {
        name: "SINTERSTORE of 10 keys of 100,000",
        prepare: sets,
        requests: || vec![store("SINTERSTORE", &different())],
        result: Some("d"),
    },
    Row {
        name: "SUNIONSTORE of 10 keys of 100,000",
        prepare: sets,
        requests: || vec![store("SUNIONSTORE", &different())],
        result: Some("d"),
    },
    Row {
        name: "SDIFFSTORE of 10 keys of 100,000",
        prepare: sets,
        requests: || vec![store("SDIFFSTORE", &different())],
        result: Some("d"),
    },
    Row {
        name: "SINTERSTORE of one key 50 times",
        prepare: sets,
        requests: || vec![store("SINTERSTORE", &repeated())],
        result: Some("d"),
    },
    Row {
        name: "SUNIONSTORE of one key 50 times",
        prepare: sets,
        requests: || vec![store("SUNIONSTORE", &repeated())],
        result: Some("d"),
    },
];

/// Two keys on different shards: the slot of the first is in the upper half, that of the second in the lower.
const UPPER: &str = "foo";
const LOWER: &str = "bar";

struct Outcome {
    ms: Spread,
    cpu_ms: f64,
    growth_bytes: u64,
}

/// Measures all programs and returns the table.
pub(crate) fn report(bench: &Bench) -> io::Result<String> {
    let programs = [bench.valkey.clone(), bench.ours.clone(), bench.ours.with_shards(2)?];
    let columns = ["one command", "server", "ms", "to Valkey", "CPU ms", "MB at most", "to Valkey"];
    let mut table = Table::new(&columns);
    for row in ROWS {
        let mut base = None;
        for program in &programs {
            eprintln!("{}: {}", row.name, program.name);
            let outcome = measure(bench, program, row)?;
            let ratio = |of: fn(&Outcome) -> f64| {
                let base = base.as_ref().map(of).filter(|base| *base > 0.0);
                base.map_or("-".to_owned(), |base| format!("{:.2}", of(&outcome) / base))
            };
            let (time, memory) = (ratio(|it| it.ms.middle), ratio(|it| it.growth_bytes as f64));
            table.add(vec![
                row.name.to_owned(),
                program.name.clone(),
                outcome.ms.text(3),
                time,
                format!("{:.1}", outcome.cpu_ms),
                format!("{:.1}", outcome.growth_bytes as f64 / 1e6),
                memory,
            ]);
            base = base.or(Some(outcome));
        }
    }
    Ok(table.to_string())
}

fn measure(bench: &Bench, program: &Program, row: &Row) -> io::Result<Outcome> {
    let server = bench.start(program, Mode::Plain)?;
    let mut client = server.client()?;
    (row.prepare)(&mut client)?;
    client.ask(&["MEMORY", "PURGE"])?;
    thread::sleep(SETTLED);
    let before = resident_bytes(server.pid())?;
    // The peak begins anew from what is resident now (proc_pid_clear_refs(5)).
    fs::write(format!("/proc/{}/clear_refs", server.pid()), "5")?;
    let cpu = cpu_time(server.pid())?;
    let (mut times_ms, mut growth_bytes) = (Vec::new(), None);
    for _ in 0..bench.rounds {
        for request in (row.requests)() {
            let words: Vec<&str> = request.iter().map(String::as_str).collect();
            let start = Instant::now();
            let reply = client.ask(&words)?;
            times_ms.push(start.elapsed().as_secs_f64() * 1000.0);
            if let Reply::Error(error) = reply {
                return Err(io::Error::other(format!("{}: {error}", row.name)));
            }
        }
        // Of the first round alone: later ones find what earlier ones left to be freed.
        let peak = || peak_bytes(server.pid()).map(|peak| peak.saturating_sub(before));
        growth_bytes = Some(growth_bytes.map_or_else(peak, Ok)?);
        if let Some(result) = row.result {
            client.ask(&["DEL", result])?;
        }
    }
    let cpu_ms = (cpu_time(server.pid())? - cpu).as_secs_f64() * 1000.0 / times_ms.len() as f64;
    let ms = Spread::of(times_ms);
    Ok(Outcome { ms, cpu_ms, growth_bytes: growth_bytes.unwrap_or_default() })
}

/// The most that was resident since it was last reset, in bytes.
fn peak_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("the kernel shows no VmHWM"))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn rename() -> Vec<Vec<String>> {
    vec![words(&["RENAME", UPPER, LOWER]), words(&["RENAME", LOWER, UPPER])]
}

fn copy() -> Vec<Vec<String>> {
    vec![words(&["COPY", UPPER, LOWER])]
}

fn bitop() -> Vec<Vec<String>> {
    let mut request = words(&["BITOP", "AND", "d"]);
    request.extend((0..STRINGS).map(|index| format!("k{index}")));
    vec![request]
}

fn different() -> Vec<String> {
    (0..KEYS).map(|index| format!("k{index}")).collect()
}

fn repeated() -> Vec<String> {
    vec!["k0".to_owned(); REPEATS]
}

fn combine(command: &str, keys: &[String]) -> Vec<String> {
    let mut request = vec![command.to_owned(), "d".to_owned(), keys.len().to_string()];
    request.extend_from_slice(keys);
    request
}

fn store(command: &str, keys: &[String]) -> Vec<String> {
    let mut request = vec![command.to_owned(), "d".to_owned()];
    request.extend_from_slice(keys);
    request
}

fn small(client: &mut Client) -> io::Result<()> {
    client.ask(&["SET", UPPER, "0123456789"]).map(drop)
}

fn large_set(client: &mut Client) -> io::Result<()> {
    fill(client, "SADD", UPPER, 0..MILLION)
}

fn strings(client: &mut Client) -> io::Result<()> {
    let part = "x".repeat(PART_BYTES);
    for index in 0..STRINGS {
        for at in (0..STRING_BYTES).step_by(PART_BYTES) {
            client.ask(&["SETRANGE", &format!("k{index}"), &at.to_string(), &part])?;
        }
    }
    Ok(())
}

/// Half of the members of a key are those of the next.
fn sets(client: &mut Client) -> io::Result<()> {
    collections(client, "SADD")
}

fn sorted_sets(client: &mut Client) -> io::Result<()> {
    collections(client, "ZADD")
}

fn collections(client: &mut Client, command: &str) -> io::Result<()> {
    (0..KEYS).try_for_each(|index| {
        let from = index * MEMBERS / 2 / KEYS;
        fill(client, command, &format!("k{index}"), from..from + MEMBERS)
    })
}

/// Adds members by their numbers, with scores where the command takes them.
fn fill(
    client: &mut Client,
    command: &str,
    key: &str,
    members: std::ops::Range<usize>,
) -> io::Result<()> {
    let with_scores = command == "ZADD";
    for from in members.clone().step_by(MEMBERS_PER_REQUEST) {
        let mut request = words(&[command, key]);
        for number in from..(from + MEMBERS_PER_REQUEST).min(members.end) {
            if with_scores {
                request.push(number.to_string());
            }
            request.push(format!("element:{number:012}"));
        }
        let words: Vec<&str> = request.iter().map(String::as_str).collect();
        client.ask(&words)?;
    }
    Ok(())
}
