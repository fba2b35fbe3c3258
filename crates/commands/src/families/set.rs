//! Sets: distinct members, and the operations on several sets.

mod algebra;
mod change;
mod combine;
mod count;
mod random;
mod read;

use basalt_keyspace::{Content, Entry, SetRef};
use basalt_resp::Reply;

use crate::command::{Categories, Command, Group};
use crate::error::CommandError;

pub(crate) const COMMANDS: &[Command] = &[
    change::SADD,
    read::SCARD,
    algebra::SDIFF,
    algebra::SDIFFSTORE,
    algebra::SINTER,
    count::SDIFFCARD,
    count::SINTERCARD,
    count::SUNIONCARD,
    algebra::SINTERSTORE,
    read::SISMEMBER,
    read::SMEMBERS,
    read::SMISMEMBER,
    change::SMOVE,
    random::SPOP,
    random::SRANDMEMBER,
    change::SREM,
    read::SSCAN,
    algebra::SUNION,
    algebra::SUNIONSTORE,
];

/// The common part of this family's rows.
const ROW: Command = Command { group: Group::Set, also: Categories::SET, ..Command::ROW };

/// The set of an entry; `None` without an entry, an error for another type.
#[inline]
fn set(entry: Option<&Entry>) -> Result<Option<SetRef<'_>>, CommandError> {
    entry.map(|entry| SetRef::of(entry).ok_or(CommandError::WRONG_TYPE)).transpose()
}

#[inline]
fn answer(reply: &mut Reply<'_>, member: Content<'_>) {
    match member {
        Content::Bytes(name) => reply.bulk(name),
        Content::Integer(value) => reply.bulk_integer(value),
    }
}
