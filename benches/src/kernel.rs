//! Kernel: core and scheduling policy of the calling thread.

use std::io;
use std::process::{Command, Stdio};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, gettid};

/// How the kernel shares a core between a thread and others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Policy {
    Usual,
    /// It wakes up without preempting others.
    Batch,
    /// It preempts all processes of other policies.
    RealTime,
}

impl Policy {
    /// The arguments for `chrt`, if any.
    pub(crate) fn words(self) -> Option<[&'static str; 2]> {
        match self {
            Policy::Usual => None,
            Policy::Batch => Some(["--batch", "0"]),
            Policy::RealTime => Some(["--fifo", "10"]),
        }
    }

    /// Real time if this user is permitted to use it, else the default.
    pub(crate) fn undisturbed() -> Policy {
        let [policy, priority] = Policy::RealTime.words().expect("because it has a name");
        let tried = Command::new("chrt").args([policy, priority, "true"]).output();
        match tried {
            Ok(tried) if tried.status.success() => Policy::RealTime,
            _ => Policy::Usual,
        }
    }
}

/// Binds the calling thread, and programs that it starts, to a core and a policy.
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
