//! Growth: twenty million keys are loaded. How long does the server stall meanwhile?
//!
//! A table that grew in one step would stall for a second. The keys arrive in batches of 64, each
//! sent after the reply to the previous one: a batch is 40 µs of work, so a slow one was held up.
//! The load pauses regularly, because Linux stops real-time processes for 50 ms of each second that
//! they use completely, which would look like a stall of the server.
//!
//! A shared machine stalls as well, for milliseconds, but at a different moment each time. Fresh
//! servers with the same seed do the same work in the same batch, so the load is repeated: a stall
//! that occurs in every run is the server's. Each batch counts as the longest of itself and its
//! neighbours, so that a pause that comes slightly later is not missed. Work that depends on the
//! clock happens at a different batch each time; only the longest latency and turn of each run
//! include it, and there the machine's share cannot be separated.

use std::io;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Mode};
use crate::request;
use crate::server::{Program, Server};

pub(crate) const NAME: &str = "growth";
const KEYS: u64 = 20_000_000;
const BATCH_KEYS: u64 = 64;
/// The target figure, in µs.
pub(crate) const PAUSE_MAX_US: f64 = 1000.0;
/// With fewer runs the machine may stall at the same batch in all of them; more would make the test
/// easier.
pub(crate) const RUNS: usize = 3;
/// A pause may come this many batches earlier or later than in another run: 2 ms of work.
const NEIGHBOURS: usize = 32;

/// The result of one run with a fresh server.
pub(crate) struct Run {
    /// The latency of each batch, in µs.
    waits_us: Vec<f32>,
    /// As the server measured it.
    pub(crate) turn_max_us: f64,
}

impl Run {
    pub(crate) fn longest_us(&self) -> f64 {
        self.waits_us.iter().copied().fold(0.0, f32::max).into()
    }

    /// The number of batches that took longer than the target.
    pub(crate) fn over(&self) -> f64 {
        self.waits_us.iter().filter(|us| f64::from(**us) > PAUSE_MAX_US).count() as f64
    }

    /// For each batch, the longest latency around it.
    fn longest_around(&self) -> impl Iterator<Item = f32> {
        let len = self.waits_us.len();
        let around =
            move |batch: usize| batch.saturating_sub(NEIGHBOURS)..len.min(batch + NEIGHBOURS + 1);
        (0..len).map(move |batch| self.waits_us[around(batch)].iter().copied().fold(0.0, f32::max))
    }
}

/// The longest latency, in µs, that occurs at the same batch in all runs.
pub(crate) fn repeated_us(runs: &[Run]) -> f64 {
    let mut least =
        vec![f32::INFINITY; runs.iter().map(|run| run.waits_us.len()).min().unwrap_or(0)];
    for run in runs {
        least.iter_mut().zip(run.longest_around()).for_each(|(least, us)| *least = least.min(us));
    }
    least.into_iter().fold(0.0, f32::max).into()
}

pub(crate) fn measure(bench: &Bench, program: &Program) -> io::Result<Run> {
    eprintln!("{NAME}: {}", program.name);
    let server = bench.start(program, Mode::Undisturbed)?;
    let waits_us = bench.at_generator(Mode::Undisturbed, || load(&server))?;
    let turn_max_us = server.client()?.info_field("stats", "loop_turn_max_us")?;
    let turn_max_us = turn_max_us.ok_or_else(|| io::Error::other("it tells no longest turn"))?;
    Ok(Run { waits_us, turn_max_us: turn_max_us as f64 })
}

/// The latency of each batch of keys, in µs.
fn load(server: &Server) -> io::Result<Vec<f32>> {
    let mut client = server.client()?;
    client.ask(&["CONFIG", "RESETSTAT"])?;
    let mut waits_us = Vec::with_capacity(KEYS.div_ceil(BATCH_KEYS) as usize);
    for first in (0..KEYS).step_by(BATCH_KEYS as usize) {
        let sent = Instant::now();
        client.load(BATCH_KEYS.min(KEYS - first), |out, index| {
            request::encode(out, &["SET", &request::key("key:", first + index), "0123456789"]);
        })?;
        waits_us.push(in_us(sent.elapsed()));
    }
    Ok(waits_us)
}

fn in_us(time: Duration) -> f32 {
    time.as_secs_f32() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of 1,000 batches of 40 µs, except these.
    fn run(waits: &[(usize, f32)]) -> Run {
        let mut waits_us = vec![40.0; 1000];
        waits.iter().for_each(|(batch, us)| waits_us[*batch] = *us);
        Run { waits_us, turn_max_us: 0.0 }
    }

    #[test]
    fn what_comes_in_every_run_is_the_servers() {
        let runs = [
            run(&[(100, 5000.0), (400, 300.0), (999, 70.0)]),
            run(&[(200, 5000.0), (401, 250.0), (700, 9000.0)]),
            run(&[(700, 3000.0), (390, 270.0)]),
        ];
        assert_eq!(repeated_us(&runs), 250.0);
        assert_eq!(repeated_us(&runs[1..]), 3000.0, "two runs were held up at the same batch");
        assert_eq!(repeated_us(&runs[..1]), 5000.0);
        assert_eq!((runs[1].longest_us(), runs[1].over()), (9000.0, 2.0));
    }

    #[test]
    fn a_pause_that_wanders_further_than_its_neighbours_is_not_one() {
        let at = |batch| run(&[(batch, 2000.0)]);
        assert_eq!(repeated_us(&[at(100), at(100 + 2 * NEIGHBOURS)]), 2000.0);
        assert_eq!(repeated_us(&[at(100), at(101 + 2 * NEIGHBOURS)]), 40.0);
    }
}
