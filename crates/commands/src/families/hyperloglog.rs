//! HyperLogLog: about how many different elements there were, in a string of no more than 12 KB.

mod add;
mod count;
mod debug;
mod estimate;
mod registers;
mod sparse;

use basalt_keyspace::Effect;

use crate::command::{Categories, Command, Group};

pub use count::{Union, pfmerge_into};
pub use debug::self_test;

pub(crate) const COMMANDS: &[Command] =
    &[add::PFADD, count::PFCOUNT, debug::PFDEBUG, count::PFMERGE, debug::PFSELFTEST];

/// What the rows of this family have in common.
const ROW: Command =
    Command { group: Group::HyperLogLog, also: Categories::HYPERLOGLOG, ..Command::ROW };

/// Has a key hold a whole sketch.
fn whole(value: &[u8], expire_at_ms: Option<u64>) -> Effect<'_> {
    Effect::SetString { value, expire_at_ms, changed: true }
}
