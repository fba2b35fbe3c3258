//! Hashes: fields with values below one key.

mod get;
mod set;

use basalt_keyspace::{Entry, HashRef};

use crate::command::{Categories, Command, Group};
use crate::error::CommandError;

pub(crate) const COMMANDS: &[Command] = &[set::HDEL, get::HGET, get::HLEN, set::HSET];

/// What the rows of this family have in common.
const ROW: Command = Command { group: Group::Hash, also: Categories::HASH, ..Command::ROW };

/// The hash that an entry holds; None where there is no entry.
#[inline]
fn hash(entry: Option<&Entry>, now_ms: u64) -> Result<Option<HashRef<'_>>, CommandError> {
    let hash = entry.map(|entry| HashRef::of(entry, now_ms).ok_or(CommandError::WRONG_TYPE));
    hash.transpose()
}
