//! Real tools against the server: benchmarks, redis-cli and client libraries of other languages.
//!
//! `tool::<name>@<server>`. As with processes, all but tests of our own features also run on
//! Valkey. The libraries are in the folder `$BASALT_TEST_CACHE`, which `scripts/test install`
//! fills.

mod benchmark;
mod cli;
mod libraries;
mod promtool;

use basalt_testkit::process::{Launch, Program, Server};
use libtest_mimic::Trial;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) fn trials() -> Vec<Trial> {
    [benchmark::trials(), cli::trials(), libraries::trials(), promtool::trials()]
        .into_iter()
        .flatten()
        .collect()
}

/// The folder that `scripts/test install` fills.
fn cache() -> PathBuf {
    let cache = std::env::var_os("BASALT_TEST_CACHE").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME")?;
        Some(Path::new(&home).join(".cache/basalt-tests"))
    });
    cache.unwrap_or_default()
}

/// The servers that tools are tried on.
const SERVERS: [Program; 2] = [Program::Ours, Program::Valkey9];

fn trial(
    name: &str,
    program: Program,
    available: bool,
    test: impl FnOnce(&Server) + Send + 'static,
) -> Trial {
    let absent = !available || (program != Program::Ours && program.server().is_none());
    let name = format!("tool::{name}@{}", program.name());
    Trial::test(name, move || {
        let shards: &[&str] = if program == Program::Ours { &["--shards", "2"] } else { &[] };
        let server =
            Launch::new(program).args(shards).start().map_err(|error| error.to_string())?;
        test(&server);
        Ok(())
    })
    .with_ignored_flag(absent)
}

/// A tool's output, and whether it succeeded.
struct Said {
    out: String,
    err: String,
    success: bool,
}

/// Runs a tool that reads `input`, for at most `seconds`.
fn run(tool: &Path, seconds: u32, args: &[&str], input: &[u8]) -> Said {
    let mut child = Command::new("timeout")
        .arg(seconds.to_string())
        .arg(tool)
        .args(args)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("because the trial is ignored where the tool is missing");
    let mut stdin = child.stdin.take().expect("because it is piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A tool need not read its input to the end.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().expect("because the tool was started")
    });
    Said {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        success: output.status.success(),
    }
}
