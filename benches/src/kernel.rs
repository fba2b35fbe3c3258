//! Kernel: where the calling thread runs, and how it wakes up.

use std::io;
use std::process::{Command, Stdio};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::{Pid, gettid};

/// Keeps the calling thread, and programs that it starts, on one core. As a `batch` thread it wakes
/// up without pushing others aside.
pub(crate) fn run_here(core: usize, batch: bool) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores)
        .map_err(|error| io::Error::other(format!("can't run on core {core}: {error}")))?;
    if batch {
        let thread = gettid().to_string();
        let mut chrt = Command::new("chrt");
        chrt.args(["--batch", "--pid", "0", &thread]).stdin(Stdio::null());
        if !chrt.status()?.success() {
            return Err(io::Error::other("chrt can't make a batch thread"));
        }
    }
    Ok(())
}
