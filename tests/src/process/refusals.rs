//! Machines that refuse resources to the server: it says what to change, and exits without a panic.

use super::Test;
use basalt_testkit::process::Program;
use std::path::Path;
use std::process::{Command, Output};

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("too_little_locked_memory", too_little_locked_memory),
    ("io_uring_refused_by_seccomp", io_uring_refused_by_seccomp),
];

/// The output of the server when `wrapper` starts it. It must exit by itself.
fn refused(program: Program, wrapper: &[&str]) -> String {
    let server = program.server().expect("because ours is there");
    let Output { status, stdout, stderr } = Command::new("timeout")
        .arg("20")
        .args(wrapper)
        .arg(server)
        .args(["--port", "0", "--shards", "2"])
        .output()
        .expect("because every Debian has timeout");
    let said = [stdout, stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(!said.contains("panicked") && !said.contains("Ready to accept"), "{said}");
    said
}

fn too_little_locked_memory(program: Program) {
    // A user that may lock memory without limit, or raise limits, would not be refused.
    let powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"];
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    let limited = ["prlimit", "--memlock=65536:65536"];
    let wrapper: Vec<&str> =
        if is_root { limited.into_iter().chain(powerless).collect() } else { limited.into() };
    let said = refused(program, &wrapper);
    for words in ["2 shards need 1280 KiB", "may lock 64 KiB", "ulimit -l 1280", "LimitMEMLOCK"] {
        assert!(said.contains(words), "{words:?} is missing: {said}");
    }
}

fn io_uring_refused_by_seccomp(program: Program) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/without_io_uring.py");
    let said = refused(program, &["python3", &script.to_string_lossy()]);
    for words in ["io_uring is refused here", "--security-opt seccomp", "io_uring_setup"] {
        assert!(said.contains(words), "{words:?} is missing: {said}");
    }
}
