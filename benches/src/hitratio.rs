//! Hit ratio: replays traces of cache requests against servers at `maxmemory`.
//!
//! Two modes. Keys: each server gets the `maxmemory` at which it keeps the same number of keys, found by trial,
//! so that only the choice of keys is compared. Bytes: all get the `maxmemory` at which Valkey keeps that many,
//! so that what a key costs counts, too.

use std::io;
use std::path::PathBuf;

use crate::bench::{Bench, Mode};
use crate::client::{Client, Reply};
use crate::request;
use crate::server::{Program, Server};
use crate::table::Table;
use crate::traces::{self, Access, EVEN_BYTES, GENERATED, Operation};

const RIVAL_POLICIES: &[&str] = &["allkeys-lru", "allkeys-lfu", "allkeys-random"];
const OUR_POLICIES: &[&str] = &["allkeys-lru", "allkeys-lfu", "allkeys-lrfu"];
/// Requests that are on their way at once.
const PIPELINE: usize = 16;
/// LIMIT: trials to find the `maxmemory` at which so many keys are kept.
const TRIALS_MAX: usize = 6;
/// A 300th more or fewer keys are as many.
const KEYS_TOLERANCE: u64 = 300;
/// About what a server needs without keys, and for each key: where the trials begin.
const BASE_BYTES: u64 = 1 << 20;
const ENTRY_BYTES: u64 = 170;

/// What is replayed.
pub(crate) struct Replay {
    /// Names of generated traces, or files.
    pub(crate) names: Vec<String>,
    /// Keys of even size that should fit.
    pub(crate) kept: u64,
    /// Accesses of a trace.
    pub(crate) length: usize,
    /// With bytes, the `maxmemory` of all; else the one at which Valkey keeps the keys.
    pub(crate) maxmemory: Option<u64>,
}

struct Trace {
    name: String,
    what: String,
    is_even: bool,
    accesses: Vec<Access>,
}

/// One server under one policy.
struct Contestant<'a> {
    program: &'a Program,
    policy: &'static str,
    is_ours: bool,
}

impl Replay {
    fn traces(&self) -> io::Result<Vec<Trace>> {
        let generated = GENERATED.iter().filter(|own| {
            let is_named = |name: &String| name == "*" || name == own.name;
            self.names.iter().any(is_named)
        });
        let mut traces: Vec<Trace> = generated
            .map(|own| Trace {
                name: own.name.to_owned(),
                what: own.what.to_owned(),
                is_even: own.is_even,
                accesses: own.accesses(self.kept, self.length),
            })
            .collect();
        for name in &self.names {
            let path = PathBuf::from(name);
            if path.is_file() {
                let accesses = traces::read(&path, self.length)?;
                traces.push(Trace {
                    name: name.clone(),
                    what: String::new(),
                    is_even: false,
                    accesses,
                });
            }
        }
        if traces.is_empty() {
            return Err(io::Error::other(format!("no trace is named {}", self.names.join(" "))));
        }
        Ok(traces)
    }
}

/// Replays all traces and returns the tables.
pub(crate) fn report(bench: &Bench, replay: &Replay) -> io::Result<String> {
    let traces = replay.traces()?;
    let rivals = || std::iter::once(&bench.valkey).chain(&bench.rivals);
    let ours = OUR_POLICIES.iter().map(|&policy| Contestant {
        program: &bench.ours,
        policy,
        is_ours: true,
    });
    let theirs = rivals().flat_map(|program| {
        let contestant = |&policy| Contestant { program, policy, is_ours: false };
        RIVAL_POLICIES.iter().map(contestant)
    });
    let contestants: Vec<Contestant<'_>> = ours.chain(theirs).collect();
    let valkey = Contestant { program: &bench.valkey, policy: "allkeys-random", is_ours: false };
    let even = &GENERATED[0].accesses(replay.kept, replay.length);
    let shared = limit_for_keys(bench, &valkey, replay.kept, even)?;
    let mut text = String::new();
    for mode in ["keys", "bytes"] {
        let mut columns = vec![format!("hit ratio at equal {mode}")];
        columns
            .extend(contestants.iter().map(|own| format!("{} {}", own.program.name, own.policy)));
        columns.extend(["lru to best lru", "lfu to best lfu", "lrfu to best"].map(str::to_owned));
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let mut table = Table::new(&columns);
        for trace in traces.iter().filter(|trace| trace.is_even || mode == "bytes") {
            let bytes = replay.maxmemory.unwrap_or_else(|| {
                // Values of other sizes get as much room as a fourth of so many would need.
                let mean = traces::mean_bytes(&trace.accesses);
                let more = mean.saturating_sub(EVEN_BYTES.into()) / 4;
                shared + if trace.is_even { 0 } else { replay.kept * more }
            });
            let mut ratios = Vec::new();
            for own in &contestants {
                let limit = match mode {
                    "keys" => limit_for_keys(bench, own, replay.kept, &trace.accesses)?,
                    _ => bytes,
                };
                let (ratio, keys) = play(bench, own, limit, &trace.accesses)?;
                eprintln!(
                    "{mode} {}: {} {}: {ratio:.4}, {keys} keys in {limit} B",
                    trace.name, own.program.name, own.policy
                );
                ratios.push(ratio);
            }
            table.add(row(trace, &contestants, &ratios));
        }
        text += &format!("{table}\n");
    }
    for trace in traces.iter().filter(|trace| !trace.what.is_empty()) {
        text += &format!("- {}: {}\n", trace.name, trace.what);
    }
    Ok(text)
}

fn row(trace: &Trace, contestants: &[Contestant<'_>], ratios: &[f64]) -> Vec<String> {
    let best = |is_wanted: &dyn Fn(&Contestant<'_>) -> bool| {
        let wanted = contestants.iter().zip(ratios).filter(|(own, _)| is_wanted(own));
        wanted.map(|(_, ratio)| *ratio).fold(0.0, f64::max)
    };
    let to = |ours: &str, theirs: &dyn Fn(&str) -> bool| {
        let own = best(&|contestant| contestant.is_ours && contestant.policy == ours);
        let rival = best(&|contestant| !contestant.is_ours && theirs(contestant.policy));
        format!("{:.3}", own / rival)
    };
    let mut cells = vec![trace.name.clone()];
    cells.extend(ratios.iter().map(|ratio| format!("{ratio:.4}")));
    cells.push(to("allkeys-lru", &|policy| policy == "allkeys-lru"));
    cells.push(to("allkeys-lfu", &|policy| policy == "allkeys-lfu"));
    cells.push(to("allkeys-lrfu", &|_| true));
    cells
}

fn configure(client: &mut Client, settings: &[(&str, &str)]) -> io::Result<()> {
    for (name, value) in settings {
        match client.ask(&["CONFIG", "SET", name, value])? {
            Reply::Text(_) => {}
            other => return Err(io::Error::other(format!("CONFIG SET {name} {value}: {other:?}"))),
        }
    }
    Ok(())
}

fn keys_of(client: &mut Client) -> io::Result<u64> {
    match client.ask(&["DBSIZE"])? {
        Reply::Number(keys) => Ok(keys.unsigned_abs()),
        other => Err(io::Error::other(format!("DBSIZE: {other:?}"))),
    }
}

/// Replays accesses on a fresh server: the hit ratio of the lookups, and how many keys are there in the end.
fn play(
    bench: &Bench,
    own: &Contestant<'_>,
    limit: u64,
    accesses: &[Access],
) -> io::Result<(f64, u64)> {
    let server = bench.start(own.program, Mode::Plain)?;
    let mut player = Player::new(&server)?;
    let limit = limit.to_string();
    configure(&mut player.client, &[("maxmemory-policy", own.policy), ("maxmemory", &limit)])?;
    let (hits, looks) = player.play(accesses)?;
    Ok((hits as f64 / looks.max(1) as f64, keys_of(&mut player.client)?))
}

/// The `maxmemory` at which a server keeps so many keys, found by replaying the first part of the accesses.
fn limit_for_keys(
    bench: &Bench,
    own: &Contestant<'_>,
    kept: u64,
    accesses: &[Access],
) -> io::Result<u64> {
    let mut limit = BASE_BYTES + kept * ENTRY_BYTES;
    let first = &accesses[..accesses.len() / 4];
    for _ in 0..TRIALS_MAX {
        let (_, keys) = play(bench, own, limit, first)?;
        if keys.abs_diff(kept) <= kept / KEYS_TOLERANCE {
            break;
        }
        limit = (limit + kept * ENTRY_BYTES).saturating_sub(keys * ENTRY_BYTES).max(BASE_BYTES / 4);
    }
    Ok(limit)
}

/// A client that plays an application with a cache.
struct Player {
    client: Client,
    value: String,
    requests: Vec<u8>,
}

impl Player {
    fn new(server: &Server) -> io::Result<Self> {
        Ok(Self { client: server.client()?, value: String::new(), requests: Vec::new() })
    }

    /// Returns the hits and the lookups.
    fn play(&mut self, accesses: &[Access]) -> io::Result<(u64, u64)> {
        let (mut hits, mut looks) = (0, 0);
        for batch in accesses.chunks(PIPELINE) {
            let name = |access: &Access| format!("key:{:016x}", access.key);
            let is_look = |access: &&Access| access.operation == Operation::Look;
            self.requests.clear();
            for access in batch.iter().filter(is_look) {
                request::encode(&mut self.requests, &["GET", &name(access)]);
            }
            let count = batch.iter().filter(is_look).count();
            let found = self.client.lookups(&self.requests, count)?;
            looks += count;
            hits += found.iter().filter(|is_there| **is_there).count();
            self.requests.clear();
            let (mut found, mut sent) = (found.into_iter(), 0);
            for access in batch {
                let is_hit = access.operation == Operation::Look && found.next() == Some(true);
                if is_hit {
                    continue;
                }
                sent += 1;
                if access.operation == Operation::Delete {
                    request::encode(&mut self.requests, &["DEL", &name(access)]);
                    continue;
                }
                let bytes = access.value_bytes as usize;
                if self.value.len() < bytes {
                    self.value = "v".repeat(bytes);
                }
                let (key, life) = (name(access), access.life_s.to_string());
                let args = ["SET", &key, &self.value[..bytes], "EX", &life];
                let count = if access.life_s > 0 { args.len() } else { 3 };
                request::encode(&mut self.requests, &args[..count]);
            }
            self.client.lookups(&self.requests, sent)?;
        }
        Ok((hits as u64, looks as u64))
    }
}
