//! Hashes: fields with values below one key.

mod get;
mod set;

use basalt_keyspace::{Content, Entry, HashRef};
use basalt_resp::Reply;

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

#[inline]
fn answer(reply: &mut Reply<'_>, text: Content<'_>) {
    match text {
        Content::Bytes(text) => reply.bulk(text),
        Content::Integer(value) => reply.bulk_integer(value),
    }
}
