//! Runs every fuzz target with seeded mutations of its corpus. `BASALT_LONG=1` runs twenty times as
//! many, from a new seed; `BASALT_SEED=n` starts with that seed.

use basalt_testkit::doors::{door, knock};

const SEED: u64 = 8812;

#[expect(
    clippy::disallowed_methods,
    reason = "a test may be told to take longer, or to begin elsewhere"
)]
fn knock_at(name: &str) {
    let door = door(name).expect("because it is in the table");
    let long = std::env::var_os("BASALT_LONG").is_some();
    let given = std::env::var("BASALT_SEED").ok().and_then(|seed| seed.parse().ok());
    let fresh = || u64::from(std::process::id());
    let seed = given.unwrap_or_else(|| if long { fresh() } else { SEED });
    // Under miri each takes a thousand times as long.
    let rounds = match (cfg!(miri), long) {
        (true, _) => door.rounds / 2000,
        (false, true) => door.rounds * 20,
        (false, false) => door.rounds,
    };
    knock(door, seed, rounds);
}

/// One test per target, so that each has a name and they run in parallel.
macro_rules! doors {
    ($($name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            knock_at(stringify!($name));
        })+

        #[test]
        fn every_door_has_its_test() {
            let tested = [$(stringify!($name)),+];
            for door in basalt_testkit::doors::DOORS {
                assert!(tested.contains(&door.name), "{} is not knocked at", door.name);
            }
        }
    };
}

doors!(
    requests,
    inline,
    replies,
    config_file,
    globs,
    sketches,
    client_arguments,
    config_arguments,
    packed,
    packed_foreign,
    records,
    engine,
    settings,
);
