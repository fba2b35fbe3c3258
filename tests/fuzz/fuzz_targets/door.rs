//! The door that `BASALT_DOOR` names, opened with what libFuzzer makes up.

#![no_main]

use basalt_testkit::doors::{Door, door};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static CHOSEN: LazyLock<&'static Door> = LazyLock::new(|| {
    let name = std::env::var("BASALT_DOOR").unwrap_or_default();
    door(&name).unwrap_or_else(|| panic!("BASALT_DOOR names no door: {name:?}"))
});

fuzz_target!(|data: &[u8]| (CHOSEN.open)(data));
