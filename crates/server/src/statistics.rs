//! Statistics: what the kernel tells about this process and machine.

use std::fs;
use std::sync::atomic::Ordering;

use basalt_engine::ProcessStats;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::node::Node;

pub(crate) fn gather(node: &Node, monotonic_us: u64) -> ProcessStats {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
    let seconds = |time: Option<nix::sys::time::TimeVal>| {
        time.map_or(0.0, |time| time.num_microseconds() as f64 / 1e6)
    };
    let (loop_turns, loop_turns_us) = node.turns();
    ProcessStats {
        pid: std::process::id(),
        uptime_s: monotonic_us / 1_000_000,
        started_s: node.started_s,
        rss_bytes: statm().map_or(0, |(_, resident)| resident),
        system_memory_bytes: system_memory_bytes().unwrap_or(0),
        cpu_user_s: seconds(usage.as_ref().map(|usage| usage.user_time())),
        cpu_system_s: seconds(usage.as_ref().map(|usage| usage.system_time())),
        executable: node.statistics.executable.display().to_string(),
        config_file: node
            .statistics
            .config_file
            .as_ref()
            .map_or_else(String::new, |path| path.display().to_string()),
        os: os(),
        run_id: node.statistics.run_id.clone(),
        supervisor: node.statistics.supervisor.name(),
        tcp_port: node.tcp_port.load(Ordering::Relaxed),
        loop_turn_max_us: node.turn_max_us(),
        loop_turns,
        loop_turns_us,
        refused_connections: node.refused.load(Ordering::Relaxed),
        loading: node.loading_stats(),
    }
}

/// The bytes of address space and of resident memory.
pub(crate) fn statm() -> Option<(u64, u64)> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split(' ').map(|pages| pages.parse::<u64>().ok());
    let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    let page_bytes = u64::try_from(page_bytes).ok()?;
    Some((pages.next()?? * page_bytes, pages.next()?? * page_bytes))
}

pub(crate) fn system_memory_bytes() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// As `uname -srm` says it.
fn os() -> String {
    let Ok(name) = nix::sys::utsname::uname() else { return String::new() };
    [name.sysname(), name.release(), name.machine()]
        .map(|part| part.to_string_lossy().into_owned())
        .join(" ")
}
