//! CPUs: how many this process may use, by its affinity mask and by the CPU quotas of its control groups.
//!
//! A quota is time: so many microseconds in each period, whatever CPUs they are spent on. All threads of the
//! group stand still once it is used up, so more shards than the quota has CPUs only wait for each other.

use std::fs;
use std::io;
use std::path::Path;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::control_groups;

/// What this process may use.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cpus {
    /// The CPUs of the affinity mask.
    pub(crate) allowed: Vec<usize>,
    /// How many CPUs' time the control groups grant, if they limit it.
    pub(crate) quota: Option<f64>,
}

impl Cpus {
    pub(crate) fn of_this_process() -> io::Result<Self> {
        let set = sched_getaffinity(Pid::from_raw(0))?;
        let allowed = (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false));
        Ok(Self { allowed: allowed.collect(), quota: quota(Path::new("/")) })
    }

    /// How many CPUs' worth of time there is, rounded up.
    pub(crate) fn usable(&self) -> usize {
        let granted = self.quota.map_or(usize::MAX, |quota| quota.ceil() as usize);
        self.allowed.len().min(granted).max(1)
    }

    /// The quota, where it grants less than the mask.
    pub(crate) fn scarce_quota(&self) -> Option<f64> {
        self.quota.filter(|quota| *quota < self.allowed.len() as f64)
    }
}

/// The smallest quota, in CPUs, of the control groups that this process is in.
fn quota(root: &Path) -> Option<f64> {
    let read = |group: &Path, is_v2| if is_v2 { quota_v2(group) } else { quota_v1(group) };
    control_groups::read_all(root, "cpu", read).into_iter().reduce(f64::min)
}

/// `cpu.max` holds `QUOTA PERIOD` in microseconds, or `max PERIOD`.
fn quota_v2(group: &Path) -> Option<f64> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let mut words = text.split_whitespace();
    cpus(words.next()?.parse().ok()?, words.next()?.parse().ok()?)
}

/// `cpu.cfs_quota_us` holds microseconds, or -1 for no limit.
fn quota_v1(group: &Path) -> Option<f64> {
    let number = |name: &str| -> Option<f64> {
        fs::read_to_string(group.join(name)).ok()?.trim().parse().ok()
    };
    cpus(number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
}

fn cpus(quota_us: f64, period_us: f64) -> Option<f64> {
    (quota_us > 0.0 && period_us > 0.0).then(|| quota_us / period_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_groups::TestRoot;

    fn check(name: &str, files: &[(&str, &str)], expected: Option<f64>) {
        let root = TestRoot::new(name, files);
        assert_eq!(quota(&root.0), expected, "{name}");
    }

    #[test]
    fn the_smallest_quota_above_a_process_counts() {
        check(
            "v2-own",
            &[
                ("proc/self/cgroup", "0::/app.slice/basalt.service\n"),
                ("sys/fs/cgroup/app.slice/basalt.service/cpu.max", "150000 100000\n"),
            ],
            Some(1.5),
        );
        check(
            "v2-above",
            &[
                ("proc/self/cgroup", "0::/a/b/c\n"),
                ("sys/fs/cgroup/a/cpu.max", "200000 100000\n"),
                ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
                ("sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n"),
            ],
            Some(2.0),
        );
        check(
            "v2-in-its-own-namespace",
            &[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "50000 100000\n")],
            Some(0.5),
        );
        check(
            "v2-path-of-the-host",
            &[
                ("proc/self/cgroup", "0::/../../docker/abc\n"),
                ("sys/fs/cgroup/cpu.max", "300000 100000\n"),
            ],
            Some(3.0),
        );
        check(
            "v2-none",
            &[("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/cpu.max", "max 100000\n")],
            None,
        );
        check(
            "v1",
            &[
                ("proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/y\n"),
                ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "250000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n"),
            ],
            Some(2.5),
        );
        check(
            "v1-mounted-for-a-container",
            &[
                ("proc/self/cgroup", "4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n"),
            ],
            Some(2.0),
        );
        check(
            "v1-none",
            &[
                ("proc/self/cgroup", "4:cpu:/\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ],
            None,
        );
        check(
            "nonsense",
            &[("proc/self/cgroup", "0::/a\n:\n\nx"), ("sys/fs/cgroup/a/cpu.max", "lots 0\n")],
            None,
        );
        assert_eq!(quota(Path::new("/nowhere")), None);
    }

    #[test]
    fn a_quota_is_rounded_up_and_never_more_than_the_mask() {
        let cpus = |count, quota| Cpus { allowed: (0..count).collect(), quota };
        for (count, quota, usable, scarce) in [
            (64, Some(2.0), 2, true),
            (64, Some(1.5), 2, true),
            (64, Some(0.1), 1, true),
            (4, Some(4.0), 4, false),
            (4, Some(3.5), 4, true),
            (4, Some(16.0), 4, false),
            (4, None, 4, false),
        ] {
            let cpus = cpus(count, quota);
            assert_eq!(cpus.usable(), usable, "{cpus:?}");
            assert_eq!(cpus.scarce_quota().is_some(), scarce, "{cpus:?}");
        }
    }
}
