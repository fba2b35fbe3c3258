//! Every row of the command table has a transcript: it holds in simulation, on one shard and on
//! several, in both protocols.

use basalt_commands::config::{Allowed, Config};
use basalt_commands::{Command, table};
use basalt_testkit::simulation_target::SimulationTarget;
use basalt_testkit::transcript::{Target, Transcript};

fn with_subcommands(command: &'static Command) -> Vec<&'static Command> {
    let subcommands = command.subcommands.iter().flat_map(with_subcommands);
    std::iter::once(command).chain(subcommands).collect()
}

/// Replays all rows; each starts on an empty server.
fn check(shard_count: usize, resp: u8) {
    let mut failures = String::new();
    let mut replayed = 0;
    for row in table::commands().flat_map(with_subcommands) {
        let transcript = Transcript::parse(row.shows)
            .unwrap_or_else(|error| panic!("the transcript of {}: {error}", row.name));
        let config = Config { enable_debug_command: Allowed::Yes, ..Config::default() };
        let mut target = SimulationTarget::new(shard_count, resp, config, 7);
        if transcript.unfit_for(target.profile()).is_some() {
            continue;
        }
        replayed += 1;
        if let Err(difference) = transcript.replay(&mut target) {
            failures.push_str(&format!("{}: {difference}\n", row.name));
        }
    }
    assert!(failures.is_empty(), "{shard_count} shards, RESP{resp}:\n{failures}");
    assert!(replayed > 80, "only {replayed} rows have something to show here");
}

#[test]
fn on_one_shard_in_resp2() {
    check(1, 2);
}

#[test]
fn on_one_shard_in_resp3() {
    check(1, 3);
}

#[test]
fn on_four_shards_in_resp2() {
    check(4, 2);
}

#[test]
fn on_four_shards_in_resp3() {
    check(4, 3);
}
