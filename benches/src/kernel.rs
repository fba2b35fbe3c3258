//! Kernel: where the calling thread runs, and how it wakes up.

use std::io;
use std::process::{Command, Stdio};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, gettid};

/// How the kernel shares a core between a thread and others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Policy {
    Usual,
    /// It wakes up without pushing others aside.
    Batch,
    /// It comes before everything that is not.
    RealTime,
}

impl Policy {
    /// What `chrt` has to be told, if anything.
    pub(crate) fn words(self) -> Option<[&'static str; 2]> {
        match self {
            Policy::Usual => None,
            Policy::Batch => Some(["--batch", "0"]),
            Policy::RealTime => Some(["--fifo", "10"]),
        }
    }

    /// Real time where this user may have it, else the usual.
    pub(crate) fn undisturbed() -> Policy {
        let [policy, priority] = Policy::RealTime.words().expect("because it has a name");
        let tried = Command::new("chrt").args([policy, priority, "true"]).output();
        match tried {
            Ok(tried) if tried.status.success() => Policy::RealTime,
            _ => Policy::Usual,
        }
    }
}

/// Keeps the calling thread, and programs that it starts, on one core and to a policy.
pub(crate) fn run_here(core: usize, policy: Policy) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores)
        .map_err(|error| io::Error::other(format!("can't run on core {core}: {error}")))?;
    if let Some([policy, priority]) = policy.words() {
        let thread = gettid().to_string();
        let mut chrt = Command::new("chrt");
        chrt.args([policy, "--pid", priority, &thread]).stdin(Stdio::null());
        if !chrt.status()?.success() {
            return Err(io::Error::other(format!("chrt can't make a thread {policy}")));
        }
    }
    Ok(())
}
