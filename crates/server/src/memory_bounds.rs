//! Memory bounds: what this process may use of the machine's memory.
//!
//! The limits of control groups may change while the process runs, so the thread of `memory` reads them again,
//! once a second, and more often where less is left than may be filled until then. Shards read the result, which is one for all servers of the
//! process. What they do where memory runs out before `maxmemory` is reached: `engine/shard/memory.rs`.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use basalt_engine::MemoryBounds;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use crate::statistics::{statm, system_memory_bytes};
use crate::{control_groups, memory};

/// How often what is left is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same where that is little.
const LOOK_EVERY_WHEN_SHORT: Duration = Duration::from_millis(50);
/// How fast writers may fill it.
const FILLED_BYTES_PER_MS: i64 = 1 << 20;

/// Memory is short where less than this part of a bound is left.
const NEAR_PART: i64 = 8;

static IS_SHORT: AtomicBool = AtomicBool::new(false);
static LIMIT_BYTES: AtomicU64 = AtomicU64::new(0);
static EXCESS_BYTES: AtomicI64 = AtomicI64::new(0);
static MARGIN_BYTES: AtomicU64 = AtomicU64::new(0);
static SAMPLE: AtomicU32 = AtomicU32::new(0);

/// A limit, and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bound {
    limit: u64,
    used: u64,
}

impl Bound {
    /// By how much the use exceeds what is safe: between two looks, memory must not run out.
    fn excess(self) -> i64 {
        self.used as i64 - (self.limit - self.margin()) as i64
    }

    fn margin(self) -> u64 {
        self.limit / 16 + (self.limit / 16).min(32 << 20)
    }
}

/// What was found last.
pub(crate) fn latest() -> MemoryBounds {
    MemoryBounds {
        limit_bytes: LIMIT_BYTES.load(Ordering::Relaxed),
        excess_bytes: EXCESS_BYTES.load(Ordering::Relaxed),
        margin_bytes: MARGIN_BYTES.load(Ordering::Relaxed),
        sample: SAMPLE.load(Ordering::Acquire),
    }
}

/// Looks again. Returns when to look next: before writers can fill what is left.
pub(crate) fn refresh() -> Duration {
    let (size, resident) = statm().unwrap_or_default();
    let mut bounds = group_bounds(Path::new("/"));
    bounds.extend(system_memory_bytes().map(|limit| Bound { limit, used: resident }));
    let address_space = address_space_limit().map(|limit| Bound { limit, used: size });
    let limit = bounds.iter().chain(&address_space).map(|bound| bound.limit).min().unwrap_or(0);
    // Where others take most of it, nothing is won by giving way. Nobody shares address space.
    let own = bounds.iter().filter(|bound| resident >= bound.limit / 2);
    let nearest = own.chain(&address_space).max_by_key(|bound| bound.excess());
    let excess = nearest.map_or(i64::MIN, |bound| bound.excess());
    EXCESS_BYTES.store(excess, Ordering::Relaxed);
    // Beyond a limit of address space nobody is killed, and much of it is reserved and never used.
    let killing = nearest.filter(|bound| Some(**bound) != address_space);
    MARGIN_BYTES.store(killing.map_or(0, |bound| bound.margin()), Ordering::Relaxed);
    let is_short = nearest.is_some_and(|bound| excess > -(bound.limit as i64 / NEAR_PART));
    if IS_SHORT.swap(is_short, Ordering::Relaxed) != is_short {
        memory::purge_at_once(is_short);
    }
    let before = LIMIT_BYTES.swap(limit, Ordering::Relaxed);
    SAMPLE.fetch_add(1, Ordering::Release);
    if before != 0 && before != limit {
        tracing::info!(
            "this process may use {limit} bytes of memory now, {before} before; a maxmemory in percent follows"
        );
    }
    let left = bounds.iter().chain(&address_space).map(|bound| -bound.excess()).min();
    let millis = left.map_or(i64::MAX, |left| left / FILLED_BYTES_PER_MS).max(0);
    Duration::from_millis(millis as u64).clamp(LOOK_EVERY_WHEN_SHORT, LOOK_EVERY)
}

pub(crate) fn address_space_limit() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_AS).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

/// The limits of the control groups that this process is in, with their use.
fn group_bounds(root: &Path) -> Vec<Bound> {
    control_groups::read_all(root, "memory", bound_of)
}

/// The limit of one group: beyond `memory.max` the kernel kills, beyond `memory.high` it makes the process wait
/// without end. What the kernel caches of files does not count as used: it gives that up first.
fn bound_of(group: &Path, is_v2: bool) -> Option<Bound> {
    let text = |name: &str| fs::read_to_string(group.join(name)).ok();
    // `max` or, in version 1, nearly 2^63 bytes stand for no limit.
    let number = |name: &str| -> Option<u64> { text(name)?.trim().parse().ok() };
    let (limits, used, cached): (&[&str], _, _) = match is_v2 {
        true => {
            (&["memory.max", "memory.high"], "memory.current", ["inactive_file ", "active_file "])
        }
        false => (
            &["memory.limit_in_bytes"],
            "memory.usage_in_bytes",
            ["total_inactive_file ", "total_active_file "],
        ),
    };
    let limits = limits.iter().filter_map(|name| number(name));
    let limit = limits.filter(|bytes| *bytes < 1 << 62).min()?;
    let statistics = text("memory.stat").unwrap_or_default();
    let bytes = |line: &str| -> Option<u64> {
        cached.iter().find_map(|name| line.strip_prefix(name)?.parse().ok())
    };
    let cached = statistics.lines().filter_map(bytes).sum();
    Some(Bound { limit, used: number(used).unwrap_or(0).saturating_sub(cached) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_groups::TestRoot;

    fn check(name: &str, files: &[(&str, &str)], expected: Option<u64>) {
        let root = TestRoot::new(&format!("memory-{name}"), files);
        let limits = group_bounds(&root.0).into_iter().map(|bound| bound.limit);
        assert_eq!(limits.min(), expected, "{name}");
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
        assert_eq!(group_bounds(Path::new("/nowhere")), []);
    }

    #[test]
    fn caches_of_files_are_not_used_memory() {
        let files = [
            ("proc/self/cgroup", "0::/a\n"),
            ("sys/fs/cgroup/a/memory.max", "1000000000\n"),
            ("sys/fs/cgroup/a/memory.current", "950000000\n"),
            (
                "sys/fs/cgroup/a/memory.stat",
                "anon 1\nactive_file 50000000\ninactive_file 100000000\n",
            ),
        ];
        let root = TestRoot::new("memory-cached", &files);
        let bound = Bound { limit: 1_000_000_000, used: 800_000_000 };
        assert_eq!(group_bounds(&root.0), [bound]);
        assert!(bound.excess() < 0 && Bound { used: 920_000_000, ..bound }.excess() > 0);
    }
}
