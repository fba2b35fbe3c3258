//! Runs every fuzz target with seeded mutations of its corpus. `BASALT_LONG=1` runs twenty times as
//! many, from a new seed; `BASALT_SEED=n` starts with that seed.

use basalt_testkit::fuzz::{run, target};

const SEED: u64 = 8812;

#[expect(
    clippy::disallowed_methods,
    reason = "a test may be told to take longer, or to begin elsewhere"
)]
fn run_target(name: &str) {
    let target = target(name).expect("because it is in the table");
    let long = std::env::var_os("BASALT_LONG").is_some();
    let given = std::env::var("BASALT_SEED").ok().and_then(|seed| seed.parse().ok());
    let fresh = || u64::from(std::process::id());
    let seed = given.unwrap_or_else(|| if long { fresh() } else { SEED });
    // Under miri each takes a thousand times as long.
    let iterations = match (cfg!(miri), long) {
        (true, _) => target.iterations / 2000,
        (false, true) => target.iterations * 20,
        (false, false) => target.iterations,
    };
    run(target, seed, iterations);
}

/// One test per target, so that each has a name and they run in parallel.
macro_rules! fuzz_targets {
    ($($name:ident),+ $(,)?) => {
        $(#[test]
        fn $name() {
            run_target(stringify!($name));
        })+

        #[test]
        fn every_target_has_its_test() {
            let tested = [$(stringify!($name)),+];
            for target in basalt_testkit::fuzz::FUZZ_TARGETS {
                assert!(tested.contains(&target.name), "{} has no test", target.name);
            }
        }
    };
}

fuzz_targets!(
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
    rdb_values,
    rdb_files,
    engine,
    settings,
);
