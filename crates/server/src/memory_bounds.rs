//! Memory bounds: what this process may use of the machine's memory.
//!
//! The limits of control groups may change while the process runs, so the thread of `memory` reads them again,
//! once a second. Shards read the result, which is one for all servers of the process.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use basalt_engine::MemoryBounds;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::control_groups;
use crate::statistics::system_memory_bytes;

static LIMIT_BYTES: AtomicU64 = AtomicU64::new(0);

/// What was found last.
pub(crate) fn latest() -> MemoryBounds {
    MemoryBounds { limit_bytes: LIMIT_BYTES.load(Ordering::Relaxed) }
}

/// Looks again.
pub(crate) fn refresh() {
    let group = group_limit(Path::new("/"));
    let limits = [system_memory_bytes(), group, address_space_limit()];
    let limit = limits.into_iter().flatten().min();
    let before = LIMIT_BYTES.swap(limit.unwrap_or(0), Ordering::Relaxed);
    if let Some(limit) = limit
        && before != 0
        && before != limit
    {
        tracing::info!(
            "this process may use {limit} bytes of memory now, {before} before; a maxmemory in percent follows"
        );
    }
}

fn address_space_limit() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_AS).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

/// The smallest limit of the control groups that this process is in.
fn group_limit(root: &Path) -> Option<u64> {
    control_groups::read_all(root, "memory", limit_of).into_iter().min()
}

/// The limit of one group: beyond `memory.max` the kernel kills, beyond `memory.high` it makes the process wait
/// without end.
fn limit_of(group: &Path, is_v2: bool) -> Option<u64> {
    // `max` or, in version 1, nearly 2^63 bytes stand for no limit.
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(group.join(name)).ok()?.trim().parse().ok()
    };
    let names: &[&str] =
        if is_v2 { &["memory.max", "memory.high"] } else { &["memory.limit_in_bytes"] };
    names.iter().filter_map(|name| number(name)).filter(|bytes| *bytes < 1 << 62).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_groups::TestRoot;

    fn check(name: &str, files: &[(&str, &str)], expected: Option<u64>) {
        let root = TestRoot::new(&format!("memory-{name}"), files);
        assert_eq!(group_limit(&root.0), expected, "{name}");
    }

    #[test]
    fn the_smallest_limit_above_a_process_counts() {
        check(
            "v2",
            &[
                ("proc/self/cgroup", "0::/a/b\n"),
                ("sys/fs/cgroup/a/memory.max", "3000000\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/b/memory.high", "4000000\n"),
            ],
            Some(3_000_000),
        );
        check(
            "v2-high",
            &[
                ("proc/self/cgroup", "0::/\n"),
                ("sys/fs/cgroup/memory.max", "3000000\n"),
                ("sys/fs/cgroup/memory.high", "2000000\n"),
            ],
            Some(2_000_000),
        );
        check(
            "v2-none",
            &[("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")],
            None,
        );
        check(
            "v1",
            &[
                ("proc/self/cgroup", "5:memory:/x\n4:cpu:/y\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
                ("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "5000000\n"),
            ],
            Some(5_000_000),
        );
        check(
            "v1-none",
            &[
                ("proc/self/cgroup", "5:memory:/x\n"),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ],
            None,
        );
        assert_eq!(group_limit(Path::new("/nowhere")), None);
    }
}
