//! Profile: where a server spends its CPU time under a saturated workload, sampled with perf.

use std::io;
use std::process::{Command, Stdio};

use crate::bench::{Bench, Mode};
use crate::rounds;
use crate::server::Program;
use crate::workload::Workload;

/// The maximum number of symbols to show, and the minimum share.
const SYMBOLS: usize = 40;
const PERCENT_MIN: &str = "0.5";
/// With fewer samples the shares vary too much.
const SECONDS_MIN: f64 = 3.0;

/// Samples one server under one workload and returns its heaviest symbols.
pub(crate) fn report(bench: &Bench, program: &Program, workload: &Workload) -> io::Result<String> {
    let available = Command::new("perf").arg("--version").stdout(Stdio::null()).status();
    if !available.is_ok_and(|status| status.success()) {
        return Err(io::Error::other("perf is not installed (Debian: linux-perf)"));
    }
    let samples = std::env::temp_dir().join(format!("basalt-bench-{}.perf", std::process::id()));
    let samples_path = samples.to_string_lossy().into_owned();
    let recorded = rounds::under_load(bench, program, workload, |server| {
        // Virtual machines may lack a cycle counter; the CPU clock always exists.
        perf(&[
            "record",
            "--event",
            "cpu-clock",
            "--freq",
            "999",
            "--output",
            &samples_path,
            "--pid",
            &server.pid().to_string(),
            "--",
            "sleep",
            &bench.seconds.max(SECONDS_MIN).to_string(),
        ])
    });
    let said = recorded.and_then(|_| {
        perf(&[
            "report",
            "--stdio",
            "--no-children",
            "--percent-limit",
            PERCENT_MIN,
            "--sort",
            "dso,symbol",
            "--input",
            &samples_path,
        ])
    });
    // If the file does not exist, nothing was recorded.
    drop(std::fs::remove_file(samples));
    let symbols = said?;
    let symbols = symbols.lines().filter(|line| line.contains('%')).take(SYMBOLS);
    // After the symbol perf prints further, empty columns.
    let symbols = symbols.map(|line| line.trim_end_matches([' ', '-']));
    let symbols: Vec<&str> = symbols.collect();
    Ok(format!(
        "{} under {workload}, {}\n\n{}\n",
        program.name,
        Mode::Saturated.name(),
        symbols.join("\n")
    ))
}

fn perf(args: &[&str]) -> io::Result<String> {
    let output = Command::new("perf").args(args).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("perf {}: {complaint}", args[0])));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
