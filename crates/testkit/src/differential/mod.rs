//! The random differential driver: the same random requests to two servers, whose replies and data
//! must be equal.
//!
//! One seed is one run: new connections and empty databases, then batches, each a pipeline of one
//! of several connections, then every key is compared. A difference is shrunk to the fewest
//! requests that still show it and printed as a transcript.
//!
//! Not here: the requests (`table`, `grammar`, `kinds`), the known differences (`allowed`).

pub mod allowed;
mod compare;
pub mod grammar;
pub mod kinds;
mod play;
mod shrink;
pub mod table;

use crate::client::{Connection, Request};
use crate::process::{Program, Server};
use crate::random::Random;
use crate::transcript::split_args;
use basalt_resp::Value;
use grammar::Grammar;
use play::{Players, Step};
use std::collections::BTreeMap;
use std::fmt;
use std::io;

/// One of the two servers.
pub trait Peer {
    fn program(&self) -> Program;

    /// A new connection speaking RESP 2 or 3.
    fn connect(&self, resp: u8) -> io::Result<Box<dyn Link>>;
}

/// A connection that takes pipelines.
pub trait Link {
    fn send(&mut self, requests: &[&Request]) -> io::Result<()>;
    fn receive(&mut self) -> io::Result<Value>;

    /// Whether a reply, or the end, has arrived; does not wait.
    fn has_reply(&mut self) -> io::Result<bool>;
}

impl Link for Connection {
    fn send(&mut self, requests: &[&Request]) -> io::Result<()> {
        let mut bytes = Vec::new();
        requests.iter().for_each(|request| basalt_resp::encode_request(request, &mut bytes));
        self.send_bytes(&bytes)
    }

    fn receive(&mut self) -> io::Result<Value> {
        Connection::receive(self)
    }

    fn has_reply(&mut self) -> io::Result<bool> {
        Connection::has_reply(self)
    }
}

/// A server process as a peer.
pub struct ServerPeer {
    pub program: Program,
    pub server: Server,
}

impl Peer for ServerPeer {
    fn program(&self) -> Program {
        self.program
    }

    fn connect(&self, resp: u8) -> io::Result<Box<dyn Link>> {
        let mut connection = Connection::open(&self.server.address())?;
        if resp == 3 {
            connection.ask(&["HELLO", "3"])?;
        }
        Ok(Box::new(connection))
    }
}

/// The extent of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The first run's seed; each further run adds one.
    pub seed: u64,
    /// The minimum total number of requests.
    pub requests: usize,
    /// Commands to leave out, to find differences beyond a known one.
    pub without: Vec<String>,
}

/// LIMIT: requests of one run. Few enough to be shrunk quickly, enough for states to grow.
const REQUESTS_OF_RUN: usize = 2000;

/// LIMIT: requests of one pipeline.
const PIPELINE_MAX: usize = 60;

/// LIMIT: bytes of one pipeline, so that neither side blocks on a full socket; a larger request is
/// sent alone.
const PIPELINE_BYTES_MAX: usize = 24 * 1024;

/// The statistics of runs without a difference.
#[derive(Debug, Default)]
pub struct Tally {
    pub requests: usize,
    /// Known differences that occurred, by their reason.
    pub allowed: BTreeMap<&'static str, usize>,
}

/// A difference that is not allowed, with the shortest run that shows it.
pub struct Finding {
    pub seed: u64,
    pub requests: Vec<Request>,
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "seed {}: {}", self.seed, self.text)
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Runs until the plan is fulfilled or a difference is found. `ours` is the server under test.
pub fn run(ours: &dyn Peer, oracle: &dyn Peer, plan: &Plan) -> Result<Tally, Box<Finding>> {
    let players = Players { ours, oracle };
    let grammars = grammars(&players, &plan.without);
    let waiting: Vec<(usize, Grammar)> = wanted(table::WAITING_ROWS.iter(), &plan.without);
    let mut tally = Tally::default();
    let mut seed = plan.seed;
    while tally.requests < plan.requests {
        let steps = steps(seed, &grammars, &waiting);
        match players.play(&steps, &mut tally.allowed) {
            Ok(played) => tally.requests += played,
            Err(difference) => {
                return Err(Box::new(shrink::shrink(&players, seed, steps, &difference)));
            }
        }
        seed += 1;
    }
    Ok(tally)
}

fn grammars(players: &Players<'_>, without: &[String]) -> Vec<(usize, Grammar)> {
    let known = table::ROWS_IF_KNOWN.iter().filter(|row| {
        let probe = split_args(row.probe).expect("because the table is part of the program");
        players.both_know(&probe)
    });
    wanted(table::ROWS.iter().chain(known.map(|known| &known.row)), without)
}

fn wanted<'a>(
    rows: impl Iterator<Item = &'a table::Row>,
    without: &[String],
) -> Vec<(usize, Grammar)> {
    let wanted = |row: &&table::Row| {
        let name = row.grammar.split(' ').next().unwrap_or_default();
        !without.iter().any(|without| without.eq_ignore_ascii_case(name))
    };
    rows.filter(wanted).map(|row| (row.weight, Grammar::parse(row.grammar))).collect()
}

/// All requests of a run, each with its connection and its pipeline. Occasionally a client sends
/// one that may block, and then nothing until the next pipeline of another client is over.
fn steps(seed: u64, grammars: &[(usize, Grammar)], waiting: &[(usize, Grammar)]) -> Vec<Step> {
    let mut random = Random::from_seed(seed);
    // Some commands are left out in each run, so that others collide more often.
    let awake: Vec<&(usize, Grammar)> = grammars.iter().filter(|_| !random.one_in(4)).collect();
    let weights: usize = awake.iter().map(|(weight, _)| weight).sum();
    let mut steps = Vec::with_capacity(REQUESTS_OF_RUN);
    let mut batch = 0;
    let mut in_multi = [false; play::CLIENTS.len()];
    while steps.len() < REQUESTS_OF_RUN {
        let client = random.below(play::CLIENTS.len());
        if !waiting.is_empty() && !in_multi[client] && random.one_in(4) {
            let request = random.pick(waiting).1.request(&mut random);
            if after(&request, false) == Some(false) {
                steps.push(Step { batch, client, request, may_wait: true });
                batch += 1;
                continue;
            }
        }
        let mut bytes = 0;
        for _ in 0..=random.below(PIPELINE_MAX) {
            let request = weighted(&awake, weights, &mut random).request(&mut random);
            let Some(is_in_multi) = after(&request, in_multi[client]) else { continue };
            in_multi[client] = is_in_multi;
            bytes += request.iter().map(|arg| arg.len() + 16).sum::<usize>();
            if bytes > PIPELINE_BYTES_MAX {
                batch += 1;
                bytes = 0;
            }
            steps.push(Step { batch, client, request, may_wait: false });
        }
        batch += 1;
    }
    steps
}

/// Whether the client queues commands after this request; `None` if Redis and Valkey handle it
/// differently between MULTI and EXEC.
fn after(request: &Request, in_multi: bool) -> Option<bool> {
    let is = |name: &str, arg: &Vec<u8>| arg.eq_ignore_ascii_case(name.as_bytes());
    let name = request.first()?;
    if is("MULTI", name) || is("WATCH", name) {
        let begins = is("MULTI", name) && request.len() == 1;
        return (!in_multi).then_some(begins);
    }
    if is("CLIENT", name) && request.get(1).is_some_and(|arg| is("REPLY", arg)) {
        return (!in_multi).then_some(false);
    }
    let ends =
        is("EXEC", name) || (request.len() == 1 && (is("DISCARD", name) || is("RESET", name)));
    Some(in_multi && !ends)
}

fn weighted<'a>(rows: &[&'a (usize, Grammar)], weights: usize, random: &mut Random) -> &'a Grammar {
    let mut at = random.below(weights);
    for (weight, grammar) in rows {
        if at < *weight {
            return grammar;
        }
        at -= weight;
    }
    unreachable!("because the number is below the sum of the weights")
}

#[cfg(test)]
mod tests;
