//! HyperLogLog: estimates the number of different elements, in a string of at most 12 KB.

mod add;
mod count;
mod debug;
mod estimate;
mod registers;
mod sparse;

use basalt_keyspace::Effect;

use crate::command::{Categories, Command, Group};

pub use debug::self_test;

pub(crate) const COMMANDS: &[Command] =
    &[add::PFADD, count::PFCOUNT, debug::PFDEBUG, count::PFMERGE, debug::PFSELFTEST];

/// The common part of this family's rows.
const ROW: Command =
    Command { group: Group::HyperLogLog, also: Categories::HYPERLOGLOG, ..Command::ROW };

/// Replaces the value of a key by a whole sketch.
fn whole(value: &[u8], expire_at_ms: Option<u64>) -> Effect<'_> {
    Effect::SetString { value, expire_at_ms, changed: true }
}
