//! Strings.

mod digest;
mod get;
mod increx;
mod lcs;
mod many;
mod number;
mod range;
mod set;
mod throttle;

use std::ops::Deref;

use basalt_keyspace::{Cause, Content, Edit, Effect, Entry, LONG_STRING_BYTES, LongString, event};
use basalt_resp::{Reply, parse_i64};

use crate::call::Outcome;
use crate::command::{Categories, Command, Group};
use crate::error::CommandError;
use crate::memory::copied;

pub(crate) const COMMANDS: &[Command] = &[
    range::APPEND,
    throttle::CL_THROTTLE,
    number::DECR,
    number::DECRBY,
    digest::DELEX,
    get::DELIFEQ,
    digest::DIGEST,
    get::GET,
    get::GETDEL,
    get::GETEX,
    range::GETRANGE,
    get::GETSET,
    number::INCR,
    number::INCRBY,
    number::INCRBYFLOAT,
    increx::INCREX,
    lcs::LCS,
    many::MGET,
    many::MSET,
    many::MSETEX,
    many::MSETNX,
    set::PSETEX,
    set::SET,
    set::SETEX,
    set::SETNX,
    range::SETRANGE,
    range::STRLEN,
    range::SUBSTR,
];

/// The common part of this family's rows.
const ROW: Command = Command { group: Group::String, also: Categories::STRING, ..Command::ROW };

/// The stored form of a string: an integer if its text is that of one.
#[inline]
fn effect_of(value: &[u8], expire_at_ms: Option<u64>) -> Effect<'_> {
    match parse_i64(value) {
        Some(value) => Effect::SetInteger { value, expire_at_ms },
        None => Effect::SetString { value, expire_at_ms, changed: false },
    }
}

/// Sets the key to a string; removes the key if the expiry has passed already.
fn put(edit: Edit<'_>, value: &[u8], expire_at_ms: Option<u64>, now_ms: u64) {
    if expire_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
        remove(edit.as_event(event::DEL));
    } else {
        edit.commit(effect_of(value, expire_at_ms));
    }
}

fn remove(edit: Edit<'_>) {
    if edit.entry().is_some() {
        edit.commit(Effect::Remove { cause: Cause::Deleted });
    }
}

/// The string of an entry; an error for another type.
#[inline]
fn content(entry: &Entry) -> Result<Content<'_>, CommandError> {
    entry.content().ok_or(CommandError::WRONG_TYPE)
}

/// Whether an entry's string equals this one.
fn holds(entry: &Entry, text: &[u8]) -> Result<bool, CommandError> {
    Ok(match content(entry)? {
        Content::Bytes(bytes) => bytes == text,
        Content::Integer(value) => itoa::Buffer::new().format(value).as_bytes() == text,
    })
}

/// The length of an entry's string, 0 without an entry.
fn text_len(entry: Option<&Entry>) -> Result<usize, CommandError> {
    let len = entry.map(|entry| entry.text_len().ok_or(CommandError::WRONG_TYPE));
    len.unwrap_or(Ok(0))
}

/// A key's string, empty without a key; `digits` holds that of an integer.
#[inline]
pub(crate) fn text_of<'a>(
    entry: Option<&'a Entry>,
    digits: &'a mut itoa::Buffer,
) -> Result<&'a [u8], CommandError> {
    Ok(match entry.map(content).transpose()? {
        Some(Content::Bytes(bytes)) => bytes,
        Some(Content::Integer(value)) => digits.format(value).as_bytes(),
        None => b"",
    })
}

/// A string on its way to another shard: a long one is shared, not copied.
pub(crate) enum TravellingText {
    Shared(LongString),
    Copied(Vec<u8>),
}

impl TravellingText {
    /// The string of an entry, empty without an entry. Fails if there is no memory for a copy.
    pub(crate) fn of(entry: Option<&Entry>) -> Result<Self, CommandError> {
        match entry.and_then(Entry::long_string) {
            Some(text) => Ok(Self::Shared(text)),
            None => with_text(entry, copied).map(Self::Copied),
        }
    }
}

impl Deref for TravellingText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Shared(text) => text,
            Self::Copied(text) => text,
        }
    }
}

/// Passes the string of an entry, empty without an entry, to a function.
pub fn with_text<T>(
    entry: Option<&Entry>,
    make: impl FnOnce(&[u8]) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    make(text_of(entry, &mut itoa::Buffer::new())?)
}

/// Replies with a key's string, or with null without a key.
#[inline]
fn answer_content(reply: &mut Reply<'_>, entry: Option<&Entry>) -> Outcome {
    match entry.map(content).transpose()? {
        Some(Content::Bytes(bytes)) => match entry {
            Some(entry) if bytes.len() >= LONG_STRING_BYTES => answer_part(reply, entry, bytes),
            _ => reply.bulk(bytes),
        },
        Some(Content::Integer(value)) => reply.bulk_integer(value),
        None => reply.null(),
    }
    Ok(reply.whole()?)
}

/// Answers with a part of an entry's string, or all of it. One that is long is shared rather than copied.
fn answer_part(reply: &mut Reply<'_>, entry: &Entry, part: &[u8]) {
    match entry.long_string() {
        Some(string) if part.len() >= LONG_STRING_BYTES => {
            reply.shared_bulk(string.share().slice_ref(part));
        }
        _ => reply.bulk(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::assert_documented;

    #[test]
    fn options_are_documented() {
        assert_documented(&set::SET_OPTIONS, &set::SET);
        assert_documented(&lcs::LCS_OPTIONS, &lcs::LCS);
        assert_documented(&get::GETEX_OPTIONS, &get::GETEX);
        assert_documented(&increx::OPTIONS, &increx::INCREX);
        assert_documented(&many::MSETEX_OPTIONS, &many::MSETEX);
    }
}
