//! Checks: whether this machine lets the server run, looked at before anything starts. What can be put
//! right is put right; otherwise the message names what to change.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

use basalt_commands::config::Config;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::limits::PAGE_CONNECTIONS_MAX;
use crate::listen;
use crate::ring::Ring;
use crate::serve;

/// The oldest kernel that has everything the ring is built on: one submitter, deferred work, multishot
/// receives into a ring of buffers.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// What glommio demands of the limit, whether or not it counts.
const LOCKED_BYTES_MIN: u64 = 512 * 1024;
/// Locked memory of one shard: its own ring and those of its executor, measured and rounded up.
const LOCKED_BYTES_PER_SHARD: u64 = 512 * 1024;
/// Locked memory of the ring that is opened to see whether one can be, which the kernel frees late.
const LOCKED_BYTES_OF_PROBE: u64 = 256 * 1024;
/// The rings of a server that was just killed count until the kernel has torn them down.
const MEMORY_ATTEMPTS: u32 = 40;
const MEMORY_RETRY: Duration = Duration::from_millis(50);
/// The capability to lock memory without limit, as a bit of the kernel's set.
const CAP_IPC_LOCK: u64 = 1 << 14;
/// Descriptors beside those of clients: files, listeners, readers of the metrics page, and whatever libraries
/// open.
const DESCRIPTORS_RESERVED: u64 = 64 + PAGE_CONNECTIONS_MAX as u64;
/// Descriptors of one shard's rings and wake-ups.
const DESCRIPTORS_PER_SHARD: u64 = 16;

/// Why the server can't run here, and what to do about it.
#[derive(Debug)]
pub struct Unfit(String);

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

/// What the configuration names and can't be used, each with the reason: addresses, sockets, files. Nothing is
/// left behind.
pub fn faults(config: &Config) -> Vec<String> {
    let mut faults = listen::faults(config);
    faults.extend(unwritable("logfile", &config.logfile));
    faults
}

/// What the configuration names that can't be used, but keeps no server from starting. Nothing is left behind.
pub fn warnings(config: &Config) -> Vec<String> {
    Vec::from_iter(unwritable("pidfile", &config.pidfile))
}

fn unwritable(parameter: &str, path: &str) -> Option<String> {
    let error = can_be_written(Path::new(path)).err()?;
    Some(format!("{parameter} {path}: {error}"))
}

fn can_be_written(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    if path.exists() {
        return OpenOptions::new().append(true).open(path).map(drop);
    }
    // Only making it shows whether it can be made: root may do everything but what the file system can't.
    OpenOptions::new().write(true).create_new(true).open(path)?;
    fs::remove_file(path)
}

/// Looks at kernel, limits and `io_uring`; may lower `maxclients`.
pub fn prepare(config: &mut Config) -> Result<(), Unfit> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    kernel(release.trim())?;
    let shards = shard_count(config);
    locked_memory(shards)?;
    io_uring(shards)?;
    descriptors(shards, config);
    Ok(())
}

fn kernel(release: &str) -> Result<(), Unfit> {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    match version {
        Some(version) if version < KERNEL_MIN => Err(Unfit(format!(
            "this kernel is Linux {release}, but Basalt needs Linux {}.{} or newer for its io_uring.",
            KERNEL_MIN.0, KERNEL_MIN.1
        ))),
        _ => Ok(()),
    }
}

fn locked_memory(shards: u64) -> Result<(), Unfit> {
    let need = if has_capability(CAP_IPC_LOCK) { LOCKED_BYTES_MIN } else { locked_bytes(shards) };
    if raise(Resource::RLIMIT_MEMLOCK, need) >= need {
        Ok(())
    } else {
        Err(too_little(shards, need))
    }
}

fn locked_bytes(shards: u64) -> u64 {
    LOCKED_BYTES_OF_PROBE + shards * LOCKED_BYTES_PER_SHARD
}

fn too_little(shards: u64, need: u64) -> Unfit {
    let have = getrlimit(Resource::RLIMIT_MEMLOCK).map_or(0, |(soft, _)| soft) / 1024;
    let need = need / 1024;
    Unfit(format!(
        "{shards} shards need {need} KiB of locked memory for their rings, but this process may lock \
         {have} KiB. Raise the limit (ulimit -l {need}; systemd: LimitMEMLOCK={need}K; \
         docker run --ulimit memlock={}), or set fewer `shards`.",
        need * 1024
    ))
}

/// Opens a ring as the shards will.
fn io_uring(shards: u64) -> Result<(), Unfit> {
    let mut outcome = Ring::open().map(drop);
    for _ in 1..MEMORY_ATTEMPTS {
        if !outcome.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOMEM)) {
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "no shard runs yet")]
        std::thread::sleep(MEMORY_RETRY);
        outcome = Ring::open().map(drop);
    }
    outcome.map_err(|error| refusal(&error, &disabled(), shards))
}

/// What to do about an error with which the shards could not start.
pub fn explain(error: &io::Error, config: &Config) -> Unfit {
    refusal(error, &disabled(), shard_count(config))
}

fn shard_count(config: &Config) -> u64 {
    // Where the count can't be told, neither can anything be started.
    serve::shard_count(config).unwrap_or(1) as u64
}

/// Whether `io_uring` is switched off by the sysctl of that name.
fn disabled() -> String {
    let setting = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    setting.trim().to_owned()
}

fn refusal(error: &io::Error, disabled: &str, shards: u64) -> Unfit {
    match (error.raw_os_error(), disabled) {
        (Some(libc::EPERM | libc::ENOSYS), "1") => Unfit(
            "io_uring is reserved to privileged users here. Set `sysctl kernel.io_uring_disabled=0`, \
             or put this user into the group of `sysctl kernel.io_uring_group`."
                .into(),
        ),
        (Some(libc::EPERM | libc::ENOSYS), "2") => Unfit(
            "io_uring is switched off here. Set `sysctl kernel.io_uring_disabled=0`.".into(),
        ),
        (Some(libc::EPERM | libc::EACCES | libc::ENOSYS), _) => Unfit(format!(
            "io_uring is refused here ({error}), as the default seccomp profile of containers does. \
             Allow io_uring_setup, io_uring_enter and io_uring_register \
             (docker run --security-opt seccomp=unconfined, or a profile that lists them)."
        )),
        (Some(libc::ENOMEM), _) => {
            too_little(shards, locked_bytes(shards))
        }
        _ => Unfit(format!("the shards can't start: {error}")),
    }
}

/// Makes room for `maxclients`, or lowers it to the room there is.
fn descriptors(shards: u64, config: &mut Config) {
    if let Err(possible) = make_room(config, shards as usize) {
        tracing::warn!(
            "maxclients is {possible} and not {}, because this process may not open more files; \
             raise the limit with ulimit -n",
            config.maxclients
        );
        config.maxclients = possible;
    }
}

/// Raises the limit of open files to what `maxclients` needs. Returns how many clients there may be
/// where it can't be raised so far.
pub(crate) fn make_room(config: &Config, shard_count: usize) -> Result<(), u32> {
    let reserved = DESCRIPTORS_RESERVED + shard_count as u64 * DESCRIPTORS_PER_SHARD;
    let need = u64::from(config.maxclients) + reserved;
    let limit = raise(Resource::RLIMIT_NOFILE, need);
    if limit >= need {
        return Ok(());
    }
    Err(u32::try_from(limit.saturating_sub(reserved).max(1)).unwrap_or(u32::MAX))
}

/// Raises a limit to `need` if it is lower. Returns what it is then.
fn raise(resource: Resource, need: u64) -> u64 {
    let Ok((soft, hard)) = getrlimit(resource) else { return 0 };
    if soft >= need {
        return soft;
    }
    // Privileged processes may pass the hard limit; the others may come up to it.
    if setrlimit(resource, need, hard.max(need)).is_ok() {
        return need;
    }
    if setrlimit(resource, hard.min(need), hard).is_ok() { hard.min(need) } else { soft }
}

fn has_capability(bit: u64) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok());
    set.is_some_and(|set| set & bit != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_kernels_are_refused_by_name() {
        for fit in ["6.1.0", "6.1", "6.18.44-fc-v657", "10.0-rc1", "7.0.0+", "nonsense", ""] {
            assert!(kernel(fit).is_ok(), "{fit}");
        }
        for old in ["6.0.19", "5.15.0-91-generic", "4.18"] {
            let words = kernel(old).expect_err(old).to_string();
            assert!(words.contains(old) && words.contains("6.1 or newer"), "{words}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_change() {
        let cases = [
            (libc::EPERM, "2", "sysctl kernel.io_uring_disabled=0"),
            (libc::EPERM, "1", "kernel.io_uring_group"),
            (libc::EPERM, "0", "--security-opt seccomp"),
            (libc::ENOSYS, "", "--security-opt seccomp"),
            (libc::ENOMEM, "0", "ulimit -l 2304"),
        ];
        for (errno, disabled, advice) in cases {
            let error = io::Error::from_raw_os_error(errno);
            let words = refusal(&error, disabled, 4).to_string();
            assert!(words.contains(advice), "{words}");
        }
    }
}
