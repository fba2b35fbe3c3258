//! Effects: every change there is, typed, deterministic and small.
//!
//! An effect is at once the change itself (`Edit::commit` applies it), what the journal records and what
//! a replay applies again. So what is logged is what was done, by construction.
//!
//! Not here: how an effect changes the keyspace (`edit`), files (`persistence`, `server`).

mod bytes;

use basalt_structures::{Content, Entry, Kind, Value};

pub use bytes::{Malformed, StringList, Strings};
pub(crate) use bytes::{Reader, put_bytes, put_string_run, put_strings};

use crate::DatabaseId;
use crate::collections::{
    self, Change as _, HashChange, ListChange, SetChange, SortedChange, StreamChange, decode_change,
};

/// Why a key went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    Deleted = 0,
    Expired = 1,
    Evicted = 2,
}

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

/// An effect with where it happens, as the journal keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    Key { database: DatabaseId, key: &'a [u8], effect: Effect<'a> },
    Flush { database: DatabaseId },
    Swap { first: DatabaseId, second: DatabaseId },
}

impl<'a> Record<'a> {
    /// Appends the record's bytes: a kind, then its parts; numbers little-endian, byte strings behind
    /// their length in 32 bits.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Record::Flush { database } => {
                out.push(100);
                out.extend_from_slice(&database.0.to_le_bytes());
            }
            Record::Swap { first, second } => {
                out.push(101);
                out.extend_from_slice(&first.0.to_le_bytes());
                out.extend_from_slice(&second.0.to_le_bytes());
            }
            Record::Key { database, key, effect } => {
                let kind = match effect {
                    Effect::SetString { .. } => 0,
                    Effect::SetInteger { .. } => 1,
                    Effect::Append { .. } => 2,
                    Effect::SetRange { .. } => 3,
                    Effect::ExpireAt { .. } => 4,
                    Effect::Persist => 5,
                    Effect::Remove { .. } => 6,
                    Effect::SetCollection { .. } => 7,
                    Effect::List(_) => collections::record_kind(Kind::List),
                    Effect::Hash(_) => collections::record_kind(Kind::Hash),
                    Effect::Set(_) => collections::record_kind(Kind::Set),
                    Effect::Stream(_) => collections::record_kind(Kind::Stream),
                    Effect::Sorted(_) => collections::record_kind(Kind::Sorted),
                    Effect::Splice { .. } => 8,
                };
                out.push(kind);
                out.extend_from_slice(&database.0.to_le_bytes());
                put_bytes(out, key);
                encode_effect(effect, out);
            }
        }
    }

    /// Reads the record at the start of `input`; says how many bytes it took.
    pub fn decode(input: &'a [u8]) -> Result<(Self, usize), Malformed> {
        let mut reader = Reader::new(input);
        let kind = reader.byte()?;
        let database = DatabaseId(u16::from_le_bytes(reader.array()?));
        let record = match kind {
            100 => Record::Flush { database },
            101 => Record::Swap {
                first: database,
                second: DatabaseId(u16::from_le_bytes(reader.array()?)),
            },
            _ => {
                let key = reader.bytes()?;
                Record::Key { database, key, effect: decode_effect(kind, &mut reader)? }
            }
        };
        Ok((record, reader.position()))
    }
}

fn encode_effect(effect: Effect<'_>, out: &mut Vec<u8>) {
    match effect {
        Effect::SetString { value, expire_at_ms, changed } => {
            out.push(u8::from(changed));
            put_expiry(out, expire_at_ms);
            put_bytes(out, value);
        }
        Effect::SetInteger { value, expire_at_ms } => {
            put_expiry(out, expire_at_ms);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Effect::Append { bytes } => put_bytes(out, bytes),
        Effect::SetRange { offset, bytes } => {
            out.extend_from_slice(&(offset as u64).to_le_bytes());
            put_bytes(out, bytes);
        }
        Effect::Splice { offset, removed, bytes } => {
            out.extend_from_slice(&(offset as u64).to_le_bytes());
            out.extend_from_slice(&(removed as u64).to_le_bytes());
            put_bytes(out, bytes);
        }
        Effect::ExpireAt { at_ms } => out.extend_from_slice(&at_ms.to_le_bytes()),
        Effect::Persist => {}
        Effect::Remove { cause } => cause.encode(out),
        Effect::SetCollection { kind, changes, expire_at_ms } => {
            out.push(collections::record_kind(kind));
            put_expiry(out, expire_at_ms);
            put_bytes(out, changes);
        }
        Effect::List(change) => change.encode(out),
        Effect::Hash(change) => change.encode(out),
        Effect::Set(change) => change.encode(out),
        Effect::Stream(change) => change.encode(out),
        Effect::Sorted(change) => change.encode(out),
    }
}

impl Cause {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.push(self as u8);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.byte()? {
            0 => Ok(Self::Deleted),
            1 => Ok(Self::Expired),
            2 => Ok(Self::Evicted),
            _ => Err(Malformed),
        }
    }
}

fn decode_effect<'a>(kind: u8, reader: &mut Reader<'a>) -> Result<Effect<'a>, Malformed> {
    Ok(match kind {
        0 => {
            let changed = reader.byte()? != 0;
            let expire_at_ms = reader.expiry()?;
            Effect::SetString { value: reader.bytes()?, expire_at_ms, changed }
        }
        1 => {
            let expire_at_ms = reader.expiry()?;
            Effect::SetInteger { value: i64::from_le_bytes(reader.array()?), expire_at_ms }
        }
        2 => Effect::Append { bytes: reader.bytes()? },
        3 => Effect::SetRange { offset: reader.size()?, bytes: reader.bytes()? },
        4 => Effect::ExpireAt { at_ms: u64::from_le_bytes(reader.array()?) },
        5 => Effect::Persist,
        6 => Effect::Remove { cause: Cause::decode(reader)? },
        7 => {
            let kind = collections::kind_of_record(reader.byte()?)?;
            let expire_at_ms = reader.expiry()?;
            let changes = reader.bytes()?;
            collections::check_changes(kind, changes)?;
            Effect::SetCollection { kind, changes, expire_at_ms }
        }
        8 => {
            let (offset, removed) = (reader.size()?, reader.size()?);
            Effect::Splice { offset, removed, bytes: reader.bytes()? }
        }
        _ => decode_change(collections::kind_of_record(kind)?, reader)?,
    })
}

fn put_expiry(out: &mut Vec<u8>, expire_at_ms: Option<u64>) {
    out.push(u8::from(expire_at_ms.is_some()));
    out.extend_from_slice(&expire_at_ms.unwrap_or(0).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::{Deliveries, FieldLife, StreamIds};
    use basalt_structures::Side;
    use basalt_structures::StreamId;

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

    fn stream_changes<'a>(pairs: Strings<'a>, ids: StreamIds<'a>) -> [StreamChange<'a>; 20] {
        let (group, consumer, last_id) = (&b"g"[..], &b""[..], StreamId { ms: 7, seq: 0 });
        let assign =
            |deliveries| StreamChange::Assign { group, consumer, ids, at_ms: 5, deliveries };
        let set = |entries_added, max_deleted_id| StreamChange::SetLastId {
            last_id,
            entries_added,
            max_deleted_id,
        };
        [
            StreamChange::Add { id: last_id, pairs, in_new_node: true },
            StreamChange::Delete { ids },
            StreamChange::DropFirst { count: 3 },
            set(None, None),
            set(Some(1), Some(StreamId::MAX)),
            StreamChange::CreateGroup { group, last_id, entries_read: None },
            StreamChange::SetGroup { group, last_id, entries_read: Some(0) },
            StreamChange::DestroyGroup { group },
            StreamChange::SeeConsumer { group, consumer, at_ms: 1, is_active: true },
            StreamChange::DeleteConsumer { group, consumer },
            assign(Deliveries::Are(4)),
            assign(Deliveries::OneMore),
            assign(Deliveries::Kept),
            StreamChange::Acknowledge { group, ids },
            StreamChange::Forget { ids },
            StreamChange::Become { bytes: &[0; 8] },
            StreamChange::Release { group, ids, deliveries: Deliveries::OneLess },
            StreamChange::NoteName { producer: group, name: b"", id: last_id, at_ms: 3 },
            StreamChange::CountRepeated,
            StreamChange::ConfigureProducers { seconds: 1, most: u64::MAX },
        ]
    }

    #[test]
    fn records_come_back_and_cut_ones_are_refused() {
        let words: [&[u8]; 2] = [b"field", b""];
        let words = Strings::from(&words);
        let score = 1.5_f64.to_le_bytes();
        let scored: [&[u8]; 2] = [&score, b"member"];
        let scored = Strings::from(&scored);
        let effects = [
            Effect::SetString { value: b"v", expire_at_ms: None, changed: false },
            Effect::SetString { value: b"", expire_at_ms: Some(u64::MAX), changed: true },
            Effect::SetInteger { value: i64::MIN, expire_at_ms: Some(0) },
            Effect::Append { bytes: b"tail" },
            Effect::SetRange { offset: 1 << 29, bytes: b"\0" },
            Effect::Splice { offset: 3, removed: 1 << 33, bytes: b"in between" },
            Effect::ExpireAt { at_ms: 77 },
            Effect::Persist,
            Effect::Remove { cause: Cause::Deleted },
            Effect::Remove { cause: Cause::Expired },
            Effect::Remove { cause: Cause::Evicted },
            Effect::SetCollection { kind: Kind::Hash, changes: b"", expire_at_ms: Some(3) },
            Effect::List(ListChange::Push { side: Side::Front, elements: words }),
            Effect::List(ListChange::Pop { side: Side::Back, count: 3 }),
            Effect::List(ListChange::Set { index: 1, element: b"e" }),
            Effect::List(ListChange::Insert { index: 1 << 40, element: b"" }),
            Effect::List(ListChange::Remove { element: b"e", from: Side::Back, count: 7 }),
            Effect::List(ListChange::Keep { start: 2, end: 9 }),
            Effect::Hash(HashChange::Set { pairs: words, life: FieldLife::Forever }),
            Effect::Hash(HashChange::Set { pairs: words, life: FieldLife::Kept }),
            Effect::Hash(HashChange::Set { pairs: words, life: FieldLife::Until(9) }),
            Effect::Hash(HashChange::Remove { fields: words, cause: Cause::Expired }),
            Effect::Hash(HashChange::ExpireAt { fields: words, at_ms: 1 }),
            Effect::Hash(HashChange::Persist { fields: words }),
            Effect::Set(SetChange::Add { members: words }),
            Effect::Set(SetChange::Remove { members: words }),
            Effect::Sorted(SortedChange::Set { pairs: scored }),
            Effect::Sorted(SortedChange::Remove { members: words }),
            Effect::Sorted(SortedChange::RemoveRanks { from: 3, count: u64::MAX }),
        ];
        let ids = [StreamId { ms: 1, seq: u64::MAX }, StreamId::MAX];
        let streams = stream_changes(words, StreamIds::from(&ids[..])).map(Effect::Stream);
        let database = DatabaseId(15);
        let mut records: Vec<Record<'_>> = effects
            .iter()
            .chain(&streams)
            .map(|&effect| Record::Key { database, key: b"k\r\n", effect })
            .collect();
        records.push(Record::Flush { database });
        records.push(Record::Swap { first: DatabaseId(0), second: database });
        for record in records {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            assert_eq!(Record::decode(&bytes), Ok((record, bytes.len())));
            for len in 0..bytes.len() {
                assert_eq!(
                    Record::decode(&bytes[..len]),
                    Err(Malformed),
                    "{record:?} cut at {len}"
                );
            }
        }
    }
}
