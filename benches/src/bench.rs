//! Bench: the programs to measure, the load tool, the cores and the number of rounds, from the
//! command line.

use std::io;
use std::path::PathBuf;
use std::thread;

use crate::kernel::{self, Policy};
use crate::server::{Placement, Ports, Program, Server};

/// How server and load generator share the machine.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// Both on one core as batch processes: the server always finds a full batch, as with more
    /// clients than cores.
    Saturated,
    /// The server on its own core, the generator on another one, which is then the bottleneck.
    Plain,
    /// As plain, and with priority over all other processes if that is permitted: for measurements
    /// of single moments.
    #[value(skip)]
    Undisturbed,
}

impl Mode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Saturated => "saturated",
            Mode::Plain => "plain",
            Mode::Undisturbed => "undisturbed",
        }
    }

    fn policy(self) -> Policy {
        match self {
            Mode::Saturated => Policy::Batch,
            Mode::Plain => Policy::Usual,
            Mode::Undisturbed => Policy::undisturbed(),
        }
    }
}

/// The load generator.
#[derive(Clone, Debug)]
pub(crate) enum Tool {
    Own,
    /// redis-benchmark or one of its descendants.
    Benchmark(PathBuf),
}

pub(crate) struct Bench {
    pub(crate) ours: Program,
    pub(crate) valkey: Program,
    pub(crate) rivals: Vec<Program>,
    pub(crate) rounds: usize,
    /// The minimum duration of a round.
    pub(crate) seconds: f64,
    /// The generator runs on the last one, servers on the first ones.
    pub(crate) cores: Vec<usize>,
    pub(crate) ports: Ports,
    pub(crate) tool: Tool,
}

impl Bench {
    fn generator_core(&self) -> usize {
        *self.cores.last().expect("because the command line was checked for two cores")
    }

    /// Starts a server, with `shards` if the mode requires it.
    pub(crate) fn start(&self, program: &Program, mode: Mode) -> io::Result<Server> {
        let cores = match mode {
            Mode::Saturated => vec![self.generator_core()],
            Mode::Plain | Mode::Undisturbed => {
                self.cores[..program.shards.min(self.cores.len())].to_vec()
            }
        };
        program.start(&self.ports, &Placement { cores, policy: mode.policy() })
    }

    /// Calls a function on the generator's core; programs started from there inherit core and
    /// policy.
    pub(crate) fn at_generator<T: Send>(
        &self,
        mode: Mode,
        work: impl FnOnce() -> io::Result<T> + Send,
    ) -> io::Result<T> {
        at(self.generator_core(), mode, work)
    }

    /// All programs, ours first.
    pub(crate) fn programs(&self) -> Vec<Program> {
        [&self.ours, &self.valkey].into_iter().chain(&self.rivals).cloned().collect()
    }
}

fn at<T: Send>(
    core: usize,
    mode: Mode,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            kernel::run_here(core, mode.policy())?;
            work()
        });
        worker.join().expect("because the release profile aborts on panic")
    })
}
