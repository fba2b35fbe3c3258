//! Interference: how some clients slow others down.
//!
//! Two servers of the same program hold the same data. The interfering clients connect to one of
//! them, and both get the same load of other clients in turn.

use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::bench::{Bench, Mode};
use crate::request;
use crate::rounds::{self, Contestant, Sample};
use crate::server::Server;
use crate::statistics::Spread;
use crate::workload::Workload;

/// Up to this ratio there is no effect: the same server compared with itself varies about as much.
pub(crate) const RATIO_MAX: f64 = 1.10;
/// How many transactions a client sends that never reads: far more than the sockets' buffers can
/// hold replies to, and few enough for any server to keep.
const NEVER_READ: usize = 500;
/// LIMIT: the time until the server has seen all interfering clients.
const CONNECT_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The size of each value that is requested and never read.
const LARGE_BYTES: usize = 64 << 10;

/// A kind of interfering clients.
pub(crate) struct Interference {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    clients: usize,
    /// Connects the clients and returns them once they are in their final state.
    connect: fn(&Server, clients: usize) -> io::Result<Vec<TcpStream>>,
    shards: usize,
    others: &'static str,
}

pub(crate) const INTERFERENCES: &[Interference] = &[
    Interference {
        name: "transactions/never-read",
        what: "10 clients that send EXEC and never read, 2 shards",
        clients: 10,
        connect: never_read,
        shards: 2,
        others: "getset-c50-p1",
    },
    Interference {
        name: "waiting/blpop-1",
        what: "10,000 clients in BLPOP, 1 shard",
        clients: 10_000,
        connect: wait,
        shards: 1,
        others: "get-c50-p1",
    },
    Interference {
        name: "waiting/blpop-2",
        what: "10,000 clients in BLPOP, 2 shards",
        clients: 10_000,
        connect: wait,
        shards: 2,
        others: "get-c50-p1",
    },
    Interference {
        name: "features/maxmemory",
        what: "maxmemory set, far from the limit",
        clients: 0,
        connect: |server, _| configure(server, "maxmemory", "10gb"),
        shards: 1,
        others: "getset-c50-p16",
    },
    Interference {
        name: "features/monitor",
        what: "a MONITOR client that reads everything",
        clients: 1,
        connect: monitor,
        shards: 1,
        others: "getset-c50-p16",
    },
    Interference {
        name: "features/latency-monitor",
        what: "latency tracking on, of events from 1 ms on too",
        clients: 0,
        connect: |server, _| configure(server, "latency-monitor-threshold", "1"),
        shards: 1,
        others: "getset-c50-p16",
    },
    Interference {
        name: "features/slowlog-0",
        what: "every command in the slow log",
        clients: 0,
        connect: |server, _| configure(server, "slowlog-log-slower-than", "0"),
        shards: 1,
        others: "getset-c50-p16",
    },
];

/// The effect on one measure of the other clients.
pub(crate) struct Effect {
    pub(crate) what: &'static str,
    pub(crate) without_us: f64,
    pub(crate) with_us: f64,
    pub(crate) ratio: Spread,
}

impl Interference {
    pub(crate) fn measure(&self, bench: &Bench) -> io::Result<[Effect; 2]> {
        eprintln!("{}: {} under {}", self.name, bench.ours.name, self.others);
        let others = Workload::named(self.others).map_err(io::Error::other)?;
        let program = match self.shards {
            1 => bench.ours.clone(),
            shards => bench.ours.with_shards(shards)?,
        };
        let programs = [program.clone(), program];
        let servers = rounds::start_preloaded(bench, Mode::Plain, &programs, &others)?;
        let interference = (self.connect)(&servers[0].server, self.clients)?;
        let comparison = rounds::compare_running(bench, Mode::Plain, &servers, &others)?;
        drop(interference);
        let [with, without] = &comparison.contestants[..] else {
            unreachable!("two servers were compared");
        };
        let p99 = effect("p99", with, without, |sample| sample.p99_us)?;
        Ok([p99, effect("CPU per request", with, without, |sample| sample.cpu_us_per_request)?])
    }
}

fn effect(
    what: &'static str,
    with: &Contestant,
    without: &Contestant,
    measure: fn(&Sample) -> f64,
) -> io::Result<Effect> {
    let failed = |contestant: &Contestant| contestant.samples.as_ref().err().cloned();
    let error = failed(with).or(failed(without));
    let ratio = with.ratio(without, measure);
    let ratio = ratio.ok_or_else(|| io::Error::other(error.unwrap_or_default()))?;
    let us = |contestant: &Contestant| contestant.median(measure).unwrap_or_default();
    Ok(Effect { what, without_us: us(without), with_us: us(with), ratio })
}

/// No client, but a setting.
fn configure(server: &Server, name: &str, value: &str) -> io::Result<Vec<TcpStream>> {
    server.client()?.ask(&["CONFIG", "SET", name, value])?;
    Ok(Vec::new())
}

/// Clients in MONITOR, each read by a thread until the server ends.
fn monitor(server: &Server, clients: usize) -> io::Result<Vec<TcpStream>> {
    let mut sockets = Vec::new();
    for _ in 0..clients {
        let mut socket = TcpStream::connect(server.address)?;
        let mut request = Vec::new();
        request::encode(&mut request, &["MONITOR"]);
        socket.write_all(&request)?;
        let mut reader = socket.try_clone()?;
        thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Clients that request large values in transactions over both shards, on keys of the other clients
/// as well.
fn never_read(server: &Server, clients: usize) -> io::Result<Vec<TcpStream>> {
    let large = "x".repeat(LARGE_BYTES);
    let mut client = server.client()?;
    for key in ["large:foo", "large:bar"] {
        client.ask(&["SET", key, &large])?;
    }
    let mut sockets = vec![];
    for number in 0..clients as u64 {
        let own = request::key("key:", number);
        let next = request::key("key:", number + 1);
        let mut transaction = vec![];
        request::encode(&mut transaction, &["MULTI"]);
        for key in ["large:foo", "large:bar"].iter().cycle().take(20) {
            request::encode(&mut transaction, &["GET", key]);
        }
        request::encode(&mut transaction, &["SET", &own, "xxx"]);
        request::encode(&mut transaction, &["SET", &next, "xxx"]);
        request::encode(&mut transaction, &["EXEC"]);
        let mut socket = TcpStream::connect(server.address)?;
        socket.write_all(&transaction.repeat(NEVER_READ))?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Blocked clients, each waiting for its own list.
fn wait(server: &Server, clients: usize) -> io::Result<Vec<TcpStream>> {
    let files = clients as u64 + 1000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < files {
        setrlimit(Resource::RLIMIT_NOFILE, files.min(hard), hard)?;
    }
    let mut client = server.client()?;
    client.ask(&["CONFIG", "SET", "maxclients", &files.to_string()])?;
    let mut sockets = vec![];
    for number in 0..clients as u64 {
        let mut socket = TcpStream::connect(server.address)?;
        let mut request = vec![];
        request::encode(&mut request, &["BLPOP", &request::key("list:", number), "0"]);
        socket.write_all(&request)?;
        sockets.push(socket);
    }
    let started = Instant::now();
    while client.info_field("clients", "blocked_clients")? != Some(clients as u64) {
        if started.elapsed() > CONNECT_MAX {
            return Err(io::Error::other("not all clients wait"));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(sockets)
}
