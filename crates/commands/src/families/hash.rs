//! Hashes: fields with values.

mod expire;
mod expire_with;
mod get;
mod import;
mod many;
mod number;
mod set;

use basalt_keyspace::{Content, Entry, HashRef};
use basalt_resp::Reply;

use crate::args::integer;
use crate::argument::Argument;
use crate::command::{Categories, Command, Group};
use crate::error::CommandError;

pub use import::{FieldsetRequest, IMPORT_KEY_AT, import, parse_himport_prepare, with_fields};

pub(crate) const COMMANDS: &[Command] = &[
    set::HDEL,
    get::HEXISTS,
    expire::HEXPIRE,
    expire::HEXPIREAT,
    expire::HEXPIRETIME,
    get::HGET,
    many::HGETALL,
    expire_with::HGETDEL,
    expire_with::HGETEX,
    import::HIMPORT,
    number::HINCRBY,
    number::HINCRBYFLOAT,
    many::HKEYS,
    get::HLEN,
    get::HMGET,
    set::HMSET,
    expire::HPERSIST,
    expire::HPEXPIRE,
    expire::HPEXPIREAT,
    expire::HPEXPIRETIME,
    expire::HPTTL,
    many::HRANDFIELD,
    many::HSCAN,
    set::HSET,
    expire_with::HSETEX,
    set::HSETNX,
    get::HSTRLEN,
    expire::HTTL,
    many::HVALS,
];

/// The common part of this family's rows.
const ROW: Command = Command { group: Group::Hash, also: Categories::HASH, ..Command::ROW };

const FIELD: Argument = Argument::string("field");
const FIELDS_AND_VALUES: Argument =
    Argument::block("data", &[FIELD, Argument::string("value")]).multiple();

/// `FIELDS numfields field …`
const COUNTED_FIELDS: Argument =
    Argument::block("fields", &[Argument::integer("numfields"), FIELD.multiple()]).after("FIELDS");

/// The hash of an entry; `None` without an entry, an error for another type.
#[inline]
fn hash(entry: Option<&Entry>, now_ms: u64) -> Result<Option<HashRef<'_>>, CommandError> {
    let hash = entry.map(|entry| HashRef::of(entry, now_ms).ok_or(CommandError::WRONG_TYPE));
    hash.transpose()
}

fn live_len(entry: Option<&Entry>, now_ms: u64) -> Result<usize, CommandError> {
    Ok(hash(entry, now_ms)?.map_or(0, |hash| hash.len()))
}

#[inline]
fn answer(reply: &mut Reply<'_>, text: Content<'_>) {
    match text {
        Content::Bytes(text) => reply.bulk(text),
        Content::Integer(value) => reply.bulk_integer(value),
    }
}

const NUMFIELDS: CommandError = CommandError::text(
    "ERR numfields should be greater than 0 and match the provided number of fields",
);

/// The groups of `step` arguments after `FIELDS numfields`.
fn counted<'a>(
    number: &[u8],
    given: &'a [&'a [u8]],
    step: usize,
) -> Result<&'a [&'a [u8]], CommandError> {
    let number = integer(number)?;
    let wanted = usize::try_from(number).ok().and_then(|number| number.checked_mul(step));
    wanted.filter(|wanted| *wanted > 0 && *wanted == given.len()).map(|_| given).ok_or(NUMFIELDS)
}

/// The fields of a command that starts with its key: `key FIELDS numfields field …`
fn fields_behind_key<'a>(args: &'a [&'a [u8]]) -> Result<&'a [&'a [u8]], CommandError> {
    match args {
        [_, _, word, number, fields @ ..] if word.eq_ignore_ascii_case(b"fields") => {
            counted(number, fields, 1)
        }
        _ => Err(CommandError::SYNTAX),
    }
}

/// Options, and the arguments after them: `option … FIELDS numfields …`
struct Parted<'a> {
    options: &'a [&'a [u8]],
    number: &'a [u8],
    given: &'a [&'a [u8]],
}

/// Splits arguments at the word FIELDS. As in Valkey it is searched before options are parsed.
fn part<'a>(args: &'a [&'a [u8]]) -> Result<Parted<'a>, CommandError> {
    let at = args.iter().position(|arg| arg.eq_ignore_ascii_case(b"fields"));
    let at = at.filter(|at| at + 1 < args.len()).ok_or(NUMFIELDS)?;
    Ok(Parted { options: &args[..at], number: args[at + 1], given: &args[at + 2..] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::assert_documented;

    #[test]
    fn options_are_documented() {
        assert_documented(&many::SCAN_OPTIONS, &many::HSCAN);
        assert_documented(&expire_with::GETEX_OPTIONS, &expire_with::HGETEX);
        assert_documented(&expire_with::SETEX_OPTIONS, &expire_with::HSETEX);
        assert_documented(&crate::families::keys::expire::CONDITIONS, &expire::HEXPIRE);
    }
}
