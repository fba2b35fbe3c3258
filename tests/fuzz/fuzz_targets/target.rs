//! Runs the fuzz target that `BASALT_FUZZ_TARGET` names with the inputs of libFuzzer.

#![no_main]

use basalt_testkit::fuzz::{FuzzTarget, target};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static CHOSEN: LazyLock<&'static FuzzTarget> = LazyLock::new(|| {
    let name = std::env::var("BASALT_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("BASALT_FUZZ_TARGET names no target: {name:?}"))
});

fuzz_target!(|data: &[u8]| (CHOSEN.run)(data));
