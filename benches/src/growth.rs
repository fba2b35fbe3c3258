//! Growth: a server that gets twenty million keys. How long does it stand still meanwhile?
//!
//! A table that grows in one go would stand still for a second. The keys come 64 at a time, each batch
//! once the one before is answered: a batch is 40 µs of work, so one that takes long was held up. A server
//! that never rested would look bad for no fault of its own, since what runs in real time is stopped for
//! 50 ms of each second that it wants whole. The server tells its longest turn too (INFO's
//! `loop_turn_max_us`); between turns it may still wait for its core.
//!
//! Afterwards a thread that only looks at the clock runs as long in the server's place. When it stood
//! still, so did the machine.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::lab::{Lab, Mode};
use crate::request;
use crate::server::{Program, Server};

pub(crate) const NAME: &str = "growth";
const KEYS: u64 = 20_000_000;
const BATCH_KEYS: u64 = 64;
/// The target, for each of the times in µs.
pub(crate) const PAUSE_MAX_US: f64 = 1000.0;
const PAUSE_MAX: Duration = Duration::from_millis(1);
/// How long the probe runs before it rests, and for how long: what runs in real time must.
const PROBE: Duration = Duration::from_millis(9);
const PROBE_RESTS: Duration = Duration::from_millis(1);

/// How long something took at most, and how often it was more than the target.
#[derive(Clone, Copy, Default)]
pub(crate) struct Longest {
    pub(crate) us: f64,
    pub(crate) over: u64,
}

/// What one run with a fresh server showed.
pub(crate) struct Outcome {
    pub(crate) turn_max_us: f64,
    pub(crate) batch: Longest,
    /// What the machine itself contributes.
    pub(crate) machine: Longest,
}

impl Longest {
    fn add(&mut self, took: Duration) {
        self.us = self.us.max(took.as_secs_f64() * 1e6);
        self.over += u64::from(took > PAUSE_MAX);
    }
}

pub(crate) fn measure(lab: &Lab, program: &Program) -> io::Result<Outcome> {
    eprintln!("{NAME}: {}", program.name);
    let server = lab.start(program, Mode::Undisturbed)?;
    let began = Instant::now();
    let batch = lab.at_generator(Mode::Undisturbed, || load(&server))?;
    let took = began.elapsed();
    let turn_max_us = server.client()?.info_field("stats", "loop_turn_max_us")?;
    let turn_max_us = turn_max_us.ok_or_else(|| io::Error::other("it tells no longest turn"))?;
    let machine = lab.at_server(Mode::Undisturbed, || Ok(stalls_within(took)))?;
    Ok(Outcome { turn_max_us: turn_max_us as f64, batch, machine })
}

/// How long a batch of keys took.
fn load(server: &Server) -> io::Result<Longest> {
    let mut client = server.client()?;
    client.ask(&["CONFIG", "RESETSTAT"])?;
    let mut longest = Longest::default();
    for first in (0..KEYS).step_by(BATCH_KEYS as usize) {
        let sent = Instant::now();
        client.load(BATCH_KEYS.min(KEYS - first), |out, index| {
            request::encode(out, &["SET", &request::key("key:", first + index), "0123456789"]);
        })?;
        longest.add(sent.elapsed());
    }
    Ok(longest)
}

/// How long the calling thread stood still where nothing but the machine can be why.
fn stalls_within(time: Duration) -> Longest {
    let began = Instant::now();
    let mut longest = Longest::default();
    while began.elapsed() < time {
        let awake = Instant::now();
        let mut before = awake;
        while before - awake < PROBE {
            let now = Instant::now();
            longest.add(now - before);
            before = now;
        }
        thread::sleep(PROBE_RESTS);
    }
    longest
}
