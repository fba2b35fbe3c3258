//! Streams: entries of names and values in the order of their IDs, and groups of consumers that share them.
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
//! What they have in common stands in `id` (IDs as clients write them) and `progress` (how far a group is).

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

pub use consume::{StreamPart, apply_part};
pub use read::{ReadRequest, StreamFound, look, parse_read};

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

/// What the rows of this family have in common.
const ROW: Command = Command { group: Group::Stream, also: Categories::STREAM, ..Command::ROW };

/// The stream that an entry holds; None where there is no entry.
#[inline]
fn stream(entry: Option<&Entry>) -> Result<Option<&Stream>, CommandError> {
    entry.map(|entry| stream_of(entry).ok_or(CommandError::WRONG_TYPE)).transpose()
}

/// The group of a stream that is there or not.
fn group_of<'a>(
    entry: Option<&'a Entry>,
    name: &[u8],
) -> Result<Option<(&'a Stream, &'a StreamGroup)>, CommandError> {
    let stream = stream(entry)?;
    Ok(stream.and_then(|stream| Some((stream, stream.group(name)?))))
}

/// What commands say that need a group.
fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::quoting_two(["NOGROUP No such key '", "' or consumer group '", "'"], key, group)
}

/// As [`no_group`], where the key is known to be there.
fn no_group_of_key(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::quoting_two(
        ["NOGROUP No such consumer group '", "' for key name '", "'"],
        group,
        key,
    )
}

/// What containers say whose subcommand got other arguments than it takes.
fn wrong_subcommand(container: &str, args: &[&[u8]]) -> CommandError {
    let quoted = &args[1][..args[1].len().min(128)];
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    CommandError::quoting(before, quoted, &format!("'. Try {container} HELP."))
}

/// An entry: its ID, and its names and values in turn.
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
