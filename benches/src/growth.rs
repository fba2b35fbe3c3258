//! Growth: a server that gets twenty million keys. How long does it stand still meanwhile?
//!
//! A table that grows in one go would stand still for a second. The keys come 64 at a time, each batch
//! once the one before is answered: a batch is 40 µs of work, so one that takes long was held up. A server
//! that never rested would look bad for no fault of its own, since what runs in real time is stopped for
//! 50 ms of each second that it wants whole. The server tells its longest turn too (INFO's
//! `loop_turn_max_us`); between turns it may still wait for its core.
//!
//! Afterwards two threads play ping-pong in the place of client and server, for as long and at the same pace, with work
//! that is nothing but looking at the clock. When they stand still, so does the machine.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
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
/// What the server's part of a batch takes, about, and the client's.
const SERVER_WORKS: Duration = Duration::from_micros(40);
const CLIENT_WORKS: Duration = Duration::from_micros(20);

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
    /// The same of the two that play ping-pong: what the machine itself contributes.
    pub(crate) machine_turn_max_us: f64,
    pub(crate) machine_batch: Longest,
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
    let turn_max_us = turn_max_us as f64;
    drop(server);
    let (machine_turn_max_us, machine_batch) = ping_pong(lab, took)?;
    Ok(Outcome { turn_max_us, batch, machine_turn_max_us, machine_batch })
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

/// How long a turn of one took at most that only answers, and how long the other waited.
fn ping_pong(lab: &Lab, time: Duration) -> io::Result<(f64, Longest)> {
    // Each end is closed when its thread is done, however that ends: then the other one is, too.
    let (mut client, mut server) = UnixStream::pair()?;
    thread::scope(|scope| {
        let serve = move || {
            let (mut turn, mut ball) = (Longest::default(), [0]);
            while server.read(&mut ball)? > 0 {
                turn.add(spin(SERVER_WORKS));
                server.write_all(&ball)?;
            }
            Ok(turn.us)
        };
        let server = scope.spawn(move || lab.at_server(Mode::Undisturbed, serve));
        let play = move || {
            let (mut wait, began) = (Longest::default(), Instant::now());
            while began.elapsed() < time {
                let sent = Instant::now();
                client.write_all(&[0])?;
                client.read_exact(&mut [0])?;
                wait.add(sent.elapsed());
                spin(CLIENT_WORKS);
            }
            Ok(wait)
        };
        let wait = lab.at_generator(Mode::Undisturbed, play)?;
        let turn_max_us = server.join().expect("because the other one is done")?;
        Ok((turn_max_us, wait))
    })
}

/// Looks at the clock for so long; how long it really took.
fn spin(time: Duration) -> Duration {
    let began = Instant::now();
    while began.elapsed() < time {}
    began.elapsed()
}
