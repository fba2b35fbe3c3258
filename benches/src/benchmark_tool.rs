//! redis-benchmark and its descendants as load generators: their command line and their report.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::commands::{DIGITS, VALUE};
use crate::rounds::Sample;
use crate::workload::Workload;

/// The placeholder that it replaces by random digits, as many as ours.
const RANDOM: &str = "__rand_int__";

/// Whether it can send the workload: it cannot check several replies per request.
pub(crate) fn can_run(workload: &Workload) -> bool {
    workload.command.replies() == 1
}

/// Runs one load to completion, on the core and under the policy of the calling thread.
pub(crate) fn run(
    tool: &Path,
    address: SocketAddr,
    workload: &Workload,
    requests: u64,
) -> io::Result<Sample> {
    let mut command = Command::new(tool);
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    let numbers = [
        ("-n", requests),
        ("-c", workload.connections as u64),
        ("-P", workload.pipeline as u64),
        ("-r", workload.keys),
    ];
    for (option, number) in numbers {
        command.args([option, &number.to_string()]);
    }
    // The words themselves instead of the names of its tests, so both generators send the same.
    let value = "x".repeat(workload.value_bytes);
    let words = workload.command.sent().flatten();
    command.args(words.map(|word| word.replace(DIGITS, RANDOM).replace(VALUE, &value)));
    let output = command
        .output()
        .map_err(|error| io::Error::other(format!("{}: {error}", tool.display())))?;
    let said = String::from_utf8_lossy(&output.stdout);
    read_report(&said).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        let last = said.trim_end().rsplit(['\r', '\n']).next().unwrap_or_default();
        io::Error::other(format!("{} said: {} {last}", tool.display(), complaint.trim_end()))
    })
}

/// Parses the long report, whose distribution has more percentiles than the short ones.
fn read_report(report: &str) -> Option<Sample> {
    let rate = report.lines().find_map(|line| line.trim().strip_prefix("throughput summary: "))?;
    let by_percentile = report.split_once("Latency by percentile distribution:")?.1;
    let by_percentile = by_percentile.split_once("Cumulative distribution")?.0;
    Some(Sample {
        cpu_us_per_request: 0.0,
        requests_per_s: rate.split(' ').next()?.parse().ok()?,
        p50_us: percentile_us(by_percentile, 50.0)?,
        p99_us: percentile_us(by_percentile, 99.0)?,
        p999_us: percentile_us(by_percentile, 99.9)?,
    })
}

/// The first latency of the distribution that at least `percent` of the requests did not exceed.
fn percentile_us(distribution: &str, percent: f64) -> Option<f64> {
    distribution.lines().find_map(|line| {
        let (reached, latency) = line.split_once("% <= ")?;
        let reached: f64 = reached.trim().parse().ok()?;
        let latency_ms: f64 = latency.split(' ').next()?.parse().ok()?;
        (reached >= percent).then_some(latency_ms * 1000.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\r GET: rps=0.0 (overall: 0.0) avg_msec=-nan\r====== GET ======
  100000 requests completed in 0.10 seconds

Latency by percentile distribution:
0.000% <= 0.183 milliseconds (cumulative count 16)
50.000% <= 0.551 milliseconds (cumulative count 50832)
98.438% <= 1.919 milliseconds (cumulative count 98464)
99.219% <= 2.183 milliseconds (cumulative count 99232)
99.902% <= 2.911 milliseconds (cumulative count 99904)
100.000% <= 2.983 milliseconds (cumulative count 100000)

Cumulative distribution of latencies:
0.000% <= 0.103 milliseconds (cumulative count 0)
100.000% <= 3.103 milliseconds (cumulative count 100000)

Summary:
  throughput summary: 1030927.81 requests per second
";

    #[test]
    fn the_report_is_read() {
        let sample = read_report(REPORT).unwrap();
        assert_eq!(sample.requests_per_s, 1_030_927.81);
        assert_eq!((sample.p50_us, sample.p99_us, sample.p999_us), (551.0, 2183.0, 2911.0));
    }

    #[test]
    fn anything_else_is_no_report() {
        assert!(read_report("Could not connect to server").is_none());
    }
}
