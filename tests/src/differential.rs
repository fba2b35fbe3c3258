//! Random requests to two servers at once: `differential::<server>@<oracle>`.
//!
//! `BASALT_SEED=n` starts with that seed, `BASALT_WITHOUT=HELLO,SCAN` leaves out commands,
//! `BASALT_LONG=1` runs millions of requests from a new seed each time.

use basalt_commands::config::Config;
use basalt_resp::Value;
use basalt_testkit::client::Request;
use basalt_testkit::differential::table as differential_table;
use basalt_testkit::differential::{self, Link, Peer, Plan, ServerPeer, Tally, allowed};
use basalt_testkit::process::{Launch, Program};
use basalt_testkit::simulation_peer::SimulationPeer;
use libtest_mimic::{Failed, Trial};
use std::io;

/// LIMIT: requests per pair of servers in an ordinary run, and in a long one.
const REQUESTS: usize = 200_000;
const REQUESTS_LONG: usize = 3_000_000;

/// LIMIT: requests for each run that ends early because of an allowed difference.
const REQUESTS_PER_PARTING: usize = 20_000;

pub(crate) fn trials() -> Vec<Trial> {
    let absent = Program::Valkey9.server().is_none();
    let mut trials: Vec<Trial> = [1, 2, 4]
        .map(|shards| {
            let name = format!("differential::{shards}-shards@valkey9");
            Trial::test(name, move || {
                against_valkey(Program::Ours, &["--shards", &shards.to_string()])
            })
        })
        .into();
    trials.extend([1, 4].map(|shards| {
        let name = format!("differential::simulated-{shards}-shards@valkey9");
        Trial::test(name, move || simulation_against_valkey(shards))
    }));
    // Two servers whose differences are known: shows that the list of them is complete.
    trials.push(
        Trial::test("differential::redis7@valkey9", || against_valkey(Program::Redis7, &[]))
            .with_ignored_flag(Program::Redis7.server().is_none()),
    );
    trials.push(Trial::test("differential::every_command_is_tried", every_command_is_tried));
    trials.push(Trial::test("differential::a_lie_is_caught", a_lie_is_caught));
    trials
        .into_iter()
        .map(|trial| if absent { trial.with_ignored_flag(true) } else { trial })
        .collect()
}

/// A new command must be tried with random arguments, or the list must say why not.
fn every_command_is_tried() -> Result<(), Failed> {
    let newer = differential_table::ROWS_IF_KNOWN.iter().map(|known| known.row.grammar);
    let tried: Vec<String> = differential_table::ROWS
        .iter()
        .map(|row| row.grammar)
        .chain(newer)
        .chain(differential_table::WAITING_ROWS.iter().map(|row| row.grammar))
        .filter_map(|grammar| Some(grammar.split(' ').next()?.to_ascii_lowercase()))
        .collect();
    let excused = |name: &str| differential_table::NOT_RANDOM.iter().any(|(of, _)| *of == name);
    let forgotten: Vec<&str> = basalt_commands::table::commands()
        .map(|command| command.name)
        .filter(|name| !excused(name) && !tried.iter().any(|tried| tried == name))
        .collect();
    match forgotten.as_slice() {
        [] => Ok(()),
        names => Err(format!("no line in differential/table.rs: {names:?}").into()),
    }
}

fn against_valkey(program: Program, args: &[&str]) -> Result<(), Failed> {
    let ours = peer(program, args)?;
    let oracle = peer(Program::Valkey9, &[])?;
    let mut plan = plan();
    if program == Program::Redis7 {
        // Differences of Redis 7 cannot be allowed inside the reply of EXEC, and it prints
        // scores with 17 digits.
        const OTHERWISE: &[&str] = &[
            "EXEC",
            "MULTI",
            "ZADD",
            "ZINCRBY",
            "ZUNIONSTORE",
            "ZINTERSTORE",
            "ZDIFFSTORE",
            "ZRANGESTORE",
            "ZUNION",
            "ZINTER",
            "XREAD",
            "XREADGROUP",
            "HSCAN",
            "ZCOUNT",
            "ZRANGE",
            "ZRANGEBYSCORE",
            "ZREVRANGEBYSCORE",
            "ZREMRANGEBYSCORE",
            "XSETID",
            "LSET",
            "ZSCAN",
            "SSCAN",
            // Leave no consumer behind that got no entries.
            "XAUTOCLAIM",
            "XCLAIM",
            // Its words for a missing member, and the last digits of distances.
            "GEODIST",
            "GEOSEARCH",
            "GEOSEARCHSTORE",
            "GEORADIUS",
            "GEORADIUS_RO",
            "GEORADIUSBYMEMBER",
            "GEORADIUSBYMEMBER_RO",
            // Which texts SORT takes for numbers, and what it stores then.
            "SORT",
            "SORT_RO",
        ];
        plan.without.extend(OTHERWISE.iter().map(|&name| name.to_owned()));
    }
    let tally = differential::run(&ours, &oracle, &plan)
        .map_err(|finding| format!("{finding}\n--- our log:\n{}", ours.server.log()))?;
    assess(&tally)
}

fn assess(tally: &Tally) -> Result<(), Failed> {
    if tally.requests < REQUESTS {
        return Err(format!("only {} requests were made", tally.requests).into());
    }
    // Ends of runs are caused by rare bugs of an oracle; frequent ones are bugs of ours.
    let parted: usize = allowed::PARTING.iter().filter_map(|it| tally.allowed.get(it.why)).sum();
    if parted * REQUESTS_PER_PARTING > tally.requests {
        return Err(format!("{parted} runs ended early: {:?}", tally.allowed).into());
    }
    Ok(())
}

/// The engine in this process: differences here are not caused by sockets or threads, and its order
/// is random.
fn simulation_against_valkey(shards: usize) -> Result<(), Failed> {
    let plan = plan();
    let ours = SimulationPeer::new(shards, Config::default(), plan.seed);
    let oracle = peer(Program::Valkey9, &[])?;
    let tally = differential::run(&ours, &oracle, &plan).map_err(|finding| finding.to_string())?;
    assess(&tally)
}

fn peer(program: Program, args: &[&str]) -> Result<ServerPeer, Failed> {
    let server = Launch::new(program).args(args).start().map_err(|error| error.to_string())?;
    Ok(ServerPeer { program, server })
}

#[expect(clippy::disallowed_methods, reason = "a long run shall try something new each time")]
fn plan() -> Plan {
    let long = std::env::var_os("BASALT_LONG").is_some();
    let given = std::env::var("BASALT_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| match std::time::SystemTime::UNIX_EPOCH.elapsed() {
        Ok(since) if long => since.as_secs(),
        _ => 1,
    });
    let without = std::env::var("BASALT_WITHOUT").unwrap_or_default();
    let without = without.split(',').map(str::to_owned).collect();
    Plan { seed, requests: if long { REQUESTS_LONG } else { REQUESTS }, without }
}

/// Valkey compared with a Valkey whose negative DECRBY replies are off by one: if this is not
/// found, nothing is.
fn a_lie_is_caught() -> Result<(), Failed> {
    let plan = Plan { seed: 1, requests: REQUESTS, without: Vec::new() };
    let liar = Liar(peer(Program::Valkey9, &[])?);
    let oracle = peer(Program::Valkey9, &[])?;
    let Err(finding) = differential::run(&liar, &oracle, &plan) else {
        return Err("the wrong replies were not seen".into());
    };
    if finding.requests.len() > 2 {
        return Err(format!("it was not shrunk: {finding}").into());
    }
    Ok(())
}

struct Liar(ServerPeer);

struct LyingLink {
    link: Box<dyn Link>,
    lies: std::collections::VecDeque<bool>,
}

impl Peer for Liar {
    fn program(&self) -> Program {
        self.0.program
    }

    fn connect(&self, resp: u8) -> io::Result<Box<dyn Link>> {
        let link = self.0.connect(resp)?;
        Ok(Box::new(LyingLink { link, lies: std::collections::VecDeque::new() }))
    }
}

impl Link for LyingLink {
    fn send(&mut self, requests: &[&Request]) -> io::Result<()> {
        self.lies.extend(requests.iter().map(|words| words[0].eq_ignore_ascii_case(b"DECRBY")));
        self.link.send(requests)
    }

    fn receive(&mut self) -> io::Result<Value> {
        let lies = self.lies.pop_front().unwrap_or(false);
        Ok(match self.link.receive()? {
            Value::Integer(number) if lies && number < 0 => Value::Integer(number.wrapping_add(1)),
            value => value,
        })
    }

    fn has_reply(&mut self) -> io::Result<bool> {
        self.link.has_reply()
    }
}
