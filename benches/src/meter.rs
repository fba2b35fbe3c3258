//! Meter: the kernel's counters of a running program, CPU time and memory.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// How long memory must be unchanged to count as stable (jemalloc returns freed pages in steps
/// about 5 s apart), and the longest wait for that.
const STILL: Duration = Duration::from_millis(5500);
const SETTLE_MAX: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Changes up to this are normal fluctuation, and not freed memory.
const PULSE_BYTES: u64 = 64 << 10;
/// The unit of CPU time in /proc, in ticks per second; part of the Linux ABI.
const TICKS_PER_S: u64 = 100;

/// The CPU time that all threads of a program have used so far.
///
/// The scheduler's own counter has nanoseconds; if the kernel was built without it, ticks are used.
/// do.
pub(crate) fn cpu_time(pid: u32) -> io::Result<Duration> {
    match scheduled_time(pid) {
        Ok(time) => Ok(time),
        Err(error) if error.kind() == io::ErrorKind::NotFound => ticked_time(pid),
        Err(error) => Err(error),
    }
}

fn scheduled_time(pid: u32) -> io::Result<Duration> {
    let mut total_ns = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let counts = fs::read_to_string(thread?.path().join("schedstat"))?;
        total_ns += field(&counts, 0)?;
    }
    Ok(Duration::from_nanos(total_ns))
}

fn ticked_time(pid: u32) -> io::Result<Duration> {
    let counts = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name is in brackets and may contain blanks: parse from the last bracket.
    let behind_name = counts.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = field(behind_name, 11)? + field(behind_name, 12)?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}

fn field(counts: &str, index: usize) -> io::Result<u64> {
    let word = counts.split_ascii_whitespace().nth(index);
    word.and_then(|word| word.parse().ok())
        .ok_or_else(|| io::Error::other(format!("unexpected counts of the kernel: {counts}")))
}

/// Resident memory of a program, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(field(line.unwrap_or(""), 0)? * 1024)
}

/// Resident memory once it is stable.
pub(crate) fn settled_bytes(pid: u32) -> io::Result<u64> {
    let started = Instant::now();
    let (mut bytes, mut since) = (resident_bytes(pid)?, Instant::now());
    while since.elapsed() < STILL && started.elapsed() < SETTLE_MAX {
        std::thread::sleep(LOOK_EVERY);
        let now = resident_bytes(pid)?;
        if now.abs_diff(bytes) > PULSE_BYTES {
            (bytes, since) = (now, Instant::now());
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_count_this_process() {
        let pid = std::process::id();
        let started = Instant::now();
        let before = (scheduled_time(pid).unwrap(), ticked_time(pid).unwrap());
        while ticked_time(pid).unwrap() < before.1 + Duration::from_millis(30) {
            assert!(started.elapsed() < Duration::from_secs(30), "ticks stand still");
        }
        assert!(scheduled_time(pid).unwrap() > before.0 + Duration::from_millis(10));
    }

    #[test]
    fn memory_that_was_touched_is_resident() {
        let before = resident_bytes(std::process::id()).unwrap();
        let touched = vec![1u8; 64 << 20];
        let after = resident_bytes(std::process::id()).unwrap();
        assert!(
            after >= before + (60 << 20),
            "{} bytes touched: {before} to {after}",
            touched.len()
        );
    }
}
