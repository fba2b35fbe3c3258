//! Effects: every change there is, typed, deterministic and small.
//!
//! An effect is at once the change itself (`Edit::commit` applies it), what the journal records and what
//! a replay applies again. So what is logged is what was done, by construction.
//!
//! Not here: how an effect changes the keyspace (`apply`), its bytes (`record`).

use basalt_structures::{Content, Entry, Kind, Value};

use crate::codec::Cause;
use crate::collections::{self, HashChange, ListChange, SetChange, SortedChange, StreamChange};

/// A change of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// The key holds this string. `changed` keeps Redis' memory of a string that was modified in place,
    /// which OBJECT ENCODING shows as `raw`.
    SetString {
        value: &'a [u8],
        expire_at_ms: Option<u64>,
        changed: bool,
    },
    SetInteger {
        value: i64,
        expire_at_ms: Option<u64>,
    },
    /// Bytes behind the string that is there, or a new string.
    Append {
        bytes: &'a [u8],
    },
    /// Bytes written over the string at an offset, with zeros up to there.
    SetRange {
        offset: usize,
        bytes: &'a [u8],
    },
    /// Bytes of the string that is there, in the place of so many others.
    Splice {
        offset: usize,
        removed: usize,
        bytes: &'a [u8],
    },
    ExpireAt {
        at_ms: u64,
    },
    Persist,
    Remove {
        cause: Cause,
    },
    /// The key holds the collection that these changes make out of nothing, as bytes of their records.
    SetCollection {
        kind: Kind,
        changes: &'a [u8],
        expire_at_ms: Option<u64>,
    },
    /// A list changes; a key that held something else becomes a list.
    List(ListChange<'a>),
    /// A hash changes; one that held something else becomes a hash.
    Hash(HashChange<'a>),
    /// A set changes; a key that held something else becomes a set.
    Set(SetChange<'a>),
    /// A stream changes; a key that held something else becomes a stream.
    Stream(StreamChange<'a>),
    /// A sorted set changes; one that held something else becomes a sorted set.
    Sorted(SortedChange<'a>),
}

impl<'a> Effect<'a> {
    /// The effect that makes a key hold what this entry holds, expiry included; `bytes` keeps the value.
    pub fn copy_of(entry: &Entry, bytes: &'a mut Vec<u8>) -> Self {
        let expire_at_ms = entry.expire_at_ms();
        match entry.value() {
            Value::String(Content::Integer(value)) => Self::SetInteger { value, expire_at_ms },
            Value::String(Content::Bytes(value)) => {
                bytes.clear();
                bytes.extend_from_slice(value);
                Self::SetString { value: bytes, expire_at_ms, changed: entry.is_changed() }
            }
            Value::Small(..) | Value::Boxed(_) => {
                bytes.clear();
                collections::write_changes(entry, bytes);
                Self::SetCollection { kind: entry.kind(), changes: bytes, expire_at_ms }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_what_the_entry_holds() {
        let mut bytes = Vec::new();
        let integer = Entry::integer(b"k", -7, Some(9), 0);
        let copy = Effect::copy_of(&integer, &mut bytes);
        assert_eq!(copy, Effect::SetInteger { value: -7, expire_at_ms: Some(9) });
        let mut string = Entry::string(b"k", b"text", None, 0);
        let copy = |string: &Entry, changed| {
            let mut bytes = b"left over".to_vec();
            let copy = Effect::copy_of(string, &mut bytes);
            assert_eq!(copy, Effect::SetString { value: b"text", expire_at_ms: None, changed });
        };
        copy(&string, false);
        string.mark_changed();
        copy(&string, true);
    }
}
