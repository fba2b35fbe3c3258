//! Streams: entries of fields and values ordered by their IDs, and groups of consumers that share
//! them.
//!
//! | file | commands |
//! |---|---|
//! | `add` | XADD, XTRIM, XDEL, XSETID |
//! | `range` | XLEN, XRANGE, XREVRANGE |
//! | `read`, `consume` | XREAD, XREADGROUP |
//! | `group` | XGROUP, XACK |
//! | `pending` | XPENDING, XCLAIM, XAUTOCLAIM |
//! | `info` | XINFO |
//! | `references` | XDELEX, XACKDEL |
//! | `produce` | XCFGSET, XIDMPRECORD |
//! | `release` | XNACK |
//!
//! Their common parts are `id` (IDs in arguments) and `progress` (how far a group has read).

mod add;
mod consume;
mod group;
mod id;
mod info;
mod pending;
mod produce;
mod progress;
mod range;
mod read;
mod references;
mod release;

use basalt_keyspace::{Entry, Group as StreamGroup, Stream, StreamEntry, stream_of};
use basalt_resp::Reply;

use crate::command::{Categories, Command, Group};
use crate::error::CommandError;

pub(crate) const COMMANDS: &[Command] = &[
    group::XACK,
    references::XACKDEL,
    add::XADD,
    pending::XAUTOCLAIM,
    produce::XCFGSET,
    pending::XCLAIM,
    add::XDEL,
    references::XDELEX,
    group::XGROUP,
    produce::XIDMPRECORD,
    info::XINFO,
    range::XLEN,
    release::XNACK,
    pending::XPENDING,
    range::XRANGE,
    read::XREAD,
    read::XREADGROUP,
    range::XREVRANGE,
    add::XSETID,
    add::XTRIM,
];

/// The common part of this family's rows.
const ROW: Command = Command { group: Group::Stream, also: Categories::STREAM, ..Command::ROW };

/// The stream of an entry; `None` without an entry, an error for another type.
#[inline]
fn stream(entry: Option<&Entry>) -> Result<Option<&Stream>, CommandError> {
    entry.map(|entry| stream_of(entry).ok_or(CommandError::WRONG_TYPE)).transpose()
}

/// A group of a stream; `None` if either is missing.
fn group_of<'a>(
    entry: Option<&'a Entry>,
    name: &[u8],
) -> Result<Option<(&'a Stream, &'a StreamGroup)>, CommandError> {
    let stream = stream(entry)?;
    Ok(stream.and_then(|stream| Some((stream, stream.group(name)?))))
}

/// The error of commands whose group is missing.
fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::quoting_two(["NOGROUP No such key '", "' or consumer group '", "'"], key, group)
}

/// As [`no_group`], for a key that is known to exist.
fn no_group_of_key(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::quoting_two(
        ["NOGROUP No such consumer group '", "' for key name '", "'"],
        group,
        key,
    )
}

/// The error of containers for a wrong number of a subcommand's arguments.
fn wrong_subcommand(container: &str, args: &[&[u8]]) -> CommandError {
    let quoted = &args[1][..args[1].len().min(128)];
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    CommandError::quoting(before, quoted, &format!("'. Try {container} HELP."))
}

/// Writes an entry: its ID, and its fields and values, alternating.
fn write_entry(entry: &StreamEntry<'_>, reply: &mut Reply<'_>) {
    reply.array(2);
    write_fields(entry, reply);
}

/// The elements of an entry.
fn write_fields(entry: &StreamEntry<'_>, reply: &mut Reply<'_>) {
    id::write(entry.id, reply);
    let pairs = entry.pairs();
    reply.array(pairs.len() * 2);
    for (name, value) in pairs {
        reply.bulk(name);
        reply.bulk(value);
    }
}
