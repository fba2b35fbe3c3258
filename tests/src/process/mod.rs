//! Tests of the server as a process: bytes on sockets, limits, signals, start and end.
//!
//! `process::<name>@<server>`. Tests of behaviour that all servers of this protocol share also run
//! on Valkey, which shows that the test is right. The others run on ours only.

mod buffers;
mod chaos;
mod exchange;
mod isolation;
mod journal;
mod lifecycle;
mod limits;
mod load;
mod loading;
mod memory;
pub(crate) mod metrics;
mod observing;
mod operating;
mod pubsub;
mod refusals;
mod saving;
mod scripts;
mod waiting;
mod wire;

use basalt_testkit::client::Connection;
use basalt_testkit::process::{Launch, Program, Server};
use libtest_mimic::Trial;
use std::time::{Duration, Instant};

/// A test gets the program to start and panics on failure.
type Test = fn(Program);

pub(crate) fn trials() -> Vec<Trial> {
    let everyone: Vec<(&str, Test)> = [
        wire::TESTS,
        limits::TESTS,
        lifecycle::TESTS,
        load::TESTS,
        memory::TESTS,
        isolation::TESTS,
        observing::TESTS,
        operating::TESTS,
        pubsub::TESTS,
        chaos::TESTS,
        buffers::TESTS,
        scripts::TESTS,
        waiting::TESTS,
    ]
    .concat();
    let ours: Vec<(&str, Test)> = [
        limits::TESTS_OF_OURS,
        isolation::TESTS_OF_OURS,
        journal::TESTS_OF_OURS,
        lifecycle::TESTS_OF_OURS,
        load::TESTS_OF_OURS,
        loading::TESTS_OF_OURS,
        memory::TESTS_OF_OURS,
        metrics::TESTS_OF_OURS,
        observing::TESTS_OF_OURS,
        operating::TESTS_OF_OURS,
        pubsub::TESTS_OF_OURS,
        chaos::TESTS_OF_OURS,
        exchange::TESTS_OF_OURS,
        buffers::TESTS_OF_OURS,
        refusals::TESTS_OF_OURS,
        saving::TESTS_OF_OURS,
        scripts::TESTS_OF_OURS,
    ]
    .concat();
    let valkey = everyone.iter().map(|(name, test)| trial(name, *test, Program::Valkey9));
    let ours = everyone.iter().chain(&ours).map(|(name, test)| trial(name, *test, Program::Ours));
    let new_kernels = limits::TESTS_OF_OURS_ON_NEW_KERNELS.iter().map(|(name, test)| {
        trial(name, *test, Program::Ours).with_ignored_flag(!limits::is_new_kernel())
    });
    let in_groups = memory::TESTS_OF_OURS_IN_GROUPS.iter().map(|(name, test)| {
        trial(name, *test, Program::Ours).with_ignored_flag(!memory::has_groups())
    });
    ours.chain(in_groups).chain(new_kernels).chain(valkey).collect()
}

fn trial(name: &str, test: Test, program: Program) -> Trial {
    let absent = program != Program::Ours && program.server().is_none();
    let name = format!("process::{name}@{}", program.name());
    Trial::test(name, move || {
        test(program);
        Ok(())
    })
    .with_ignored_flag(absent)
}

fn start(program: Program, args: &[&str]) -> Server {
    match launch(program).args(args).start() {
        Ok(server) => server,
        Err(error) => panic!("{error}"),
    }
}

/// Ours with two shards, so that commands have local and remote keys.
fn launch(program: Program) -> Launch {
    let shards: &[&str] = if program == Program::Ours { &["--shards", "2"] } else { &[] };
    Launch::new(program).args(shards)
}

fn text(connection: &mut Connection, args: &[&str]) -> String {
    basalt_testkit::print::print(&connection.execute(args)).trim_end().to_owned()
}

/// Waits until the condition holds; panics after ten seconds.
#[expect(clippy::disallowed_methods, reason = "waiting for a process is about real time")]
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "it did not happen within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
