//! Record: an effect with where it happens, in the bytes that journals and replicas keep.
//!
//! The format is frozen by golden samples (`tests/golden/records.txt`): bytes once written stay readable.
//!
//! Not here: how an effect changes the keyspace (`apply`), files (`persistence`, `server`).

use basalt_structures::{Entry, Kind};

use crate::DatabaseId;
use crate::codec::{Cause, Malformed, Reader, put_bytes, put_expiry};
use crate::collections::{
    self, CollectionChange as _, HashChange, ListChange, SetChange, SortedChange, StreamChange,
    stream_of,
};
use crate::effect::Effect;
use crate::origin::TxnTag;
use crate::slot::{SLOTS, SlotId};

/// An effect with where it happens, as the journal keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    Key {
        database: DatabaseId,
        key: &'a [u8],
        effect: Effect<'a>,
    },
    Flush {
        database: DatabaseId,
    },
    Swap {
        first: DatabaseId,
        second: DatabaseId,
    },
    /// All keys of a slot left for another shard, in all databases. (Those that come are recorded key by key.)
    SlotOut {
        slot: SlotId,
    },
    /// The records from here on are of this transaction, until the next record of this kind or the end of its part.
    /// Only transactions of several parts have them.
    Part {
        transaction: Option<TxnTag>,
    },
    /// The shard's part of a transaction is complete. A transaction counts if as many shards as it has parts
    /// recorded that.
    PartEnd {
        transaction: TxnTag,
    },
}

impl<'a> Record<'a> {
    /// Appends the record's bytes: a kind, then its parts; numbers little-endian, byte strings behind
    /// their length.
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
            Record::SlotOut { slot } => {
                out.push(102);
                out.extend_from_slice(&slot.0.to_le_bytes());
            }
            Record::Part { transaction: None } => out.extend_from_slice(&[103, 0, 0]),
            Record::Part { transaction: Some(tag) } | Record::PartEnd { transaction: tag } => {
                out.push(if matches!(self, Record::Part { .. }) { 103 } else { 104 });
                out.extend_from_slice(&tag.parts.to_le_bytes());
                tag.encode(out);
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
                    Effect::List(_) => record_kind(Kind::List),
                    Effect::Hash(_) => record_kind(Kind::Hash),
                    Effect::Set(_) => record_kind(Kind::Set),
                    Effect::Stream(_) => record_kind(Kind::Stream),
                    Effect::Sorted(_) => record_kind(Kind::Sorted),
                    Effect::Splice { .. } => 8,
                };
                out.push(kind);
                out.extend_from_slice(&database.0.to_le_bytes());
                put_bytes(out, key);
                encode_effect(effect, out);
            }
        }
    }

    /// Reads the record at the start of `input`; returns it and how many bytes it took.
    pub fn decode(input: &'a [u8]) -> Result<(Self, usize), Malformed> {
        let mut reader = Reader::new(input);
        let kind = reader.byte()?;
        let number = u16::from_le_bytes(reader.array()?);
        let database = DatabaseId(number);
        let record = match kind {
            100 => Record::Flush { database },
            101 => Record::Swap {
                first: database,
                second: DatabaseId(u16::from_le_bytes(reader.array()?)),
            },
            102 if usize::from(number) < SLOTS => Record::SlotOut { slot: SlotId(number) },
            102 => return Err(Malformed),
            103 if number == 0 => Record::Part { transaction: None },
            103 => Record::Part { transaction: Some(TxnTag::decode(number, &mut reader)?) },
            104 => Record::PartEnd { transaction: TxnTag::decode(number, &mut reader)? },
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
            out.push(record_kind(kind));
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
            let kind = kind_of_record(reader.byte()?)?;
            let expire_at_ms = reader.expiry()?;
            let changes = reader.bytes()?;
            check_changes(kind, changes)?;
            Effect::SetCollection { kind, changes, expire_at_ms }
        }
        8 => {
            let (offset, removed) = (reader.size()?, reader.size()?);
            Effect::Splice { offset, removed, bytes: reader.bytes()? }
        }
        _ => decode_change(kind_of_record(kind)?, reader)?,
    })
}

/// The byte that stands for changes of a kind in records. Never changed: records are kept.
const fn record_kind(kind: Kind) -> u8 {
    match kind {
        Kind::String => panic!("strings have effects of their own"),
        Kind::List => 16,
        Kind::Hash => 17,
        Kind::Set => 18,
        Kind::Sorted => 19,
        Kind::Stream => 20,
    }
}

fn kind_of_record(byte: u8) -> Result<Kind, Malformed> {
    let kinds = [Kind::List, Kind::Hash, Kind::Set, Kind::Sorted, Kind::Stream];
    kinds.into_iter().find(|kind| record_kind(*kind) == byte).ok_or(Malformed)
}

/// Reads a change of a kind.
pub(crate) fn decode_change<'a>(
    kind: Kind,
    reader: &mut Reader<'a>,
) -> Result<Effect<'a>, Malformed> {
    match kind {
        Kind::List => ListChange::decode(reader).map(Effect::List),
        Kind::Hash => HashChange::decode(reader).map(Effect::Hash),
        Kind::Set => SetChange::decode(reader).map(Effect::Set),
        Kind::Stream => StreamChange::decode(reader).map(Effect::Stream),
        Kind::Sorted => SortedChange::decode(reader).map(Effect::Sorted),
        _ => Err(Malformed),
    }
}

/// Checks that these bytes are changes of a kind.
fn check_changes(kind: Kind, changes: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(changes);
    while !reader.is_at_end() {
        let change = decode_change(kind, &mut reader)?;
        // A stream is made as a whole; other changes of one may need what is there.
        if kind == Kind::Stream && !matches!(change, Effect::Stream(StreamChange::Become { .. })) {
            return Err(Malformed);
        }
    }
    Ok(())
}

/// Whether an effect on a key that holds this can come of a command.
pub(crate) fn follows(entry: Option<&Entry>, effect: &Effect<'_>) -> bool {
    match effect {
        Effect::Stream(change) => collections::follows_stream(entry.and_then(stream_of), change),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ShardId;
    use crate::codec::Strings;
    use crate::collections::{Deliveries, FieldLife, StreamIds};
    use basalt_structures::Side;
    use basalt_structures::StreamId;

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

    /// A record of each kind, with its edge cases.
    fn with_samples(check: impl FnOnce(&[Record<'_>])) {
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
        records.push(Record::SlotOut { slot: SlotId(SLOTS as u16 - 1) });
        records.push(Record::Swap { first: DatabaseId(0), second: database });
        let tag = TxnTag { epoch: 1, at_us: u64::MAX, home: ShardId(2), behind: 3, parts: 0x0104 };
        records.push(Record::Part { transaction: Some(tag) });
        records.push(Record::Part { transaction: None });
        records.push(Record::PartEnd { transaction: tag });
        check(&records);
    }

    #[test]
    fn records_come_back_and_cut_ones_are_refused() {
        with_samples(|records| {
            for &record in records {
                let mut bytes = Vec::new();
                record.encode(&mut bytes);
                assert_eq!(Record::decode(&bytes), Ok((record, bytes.len())));
                for len in 0..bytes.len() {
                    let cut = Record::decode(&bytes[..len]);
                    assert_eq!(cut, Err(Malformed), "{record:?} cut at {len}");
                }
            }
        });
    }

    /// Bytes that were written once, in hexadecimal, a line for each sample. They are kept in files, so a line never
    /// changes; new kinds of records get lines at the end of their group.
    const FROZEN: &str = include_str!("../tests/golden/records.txt");

    #[test]
    fn the_format_is_frozen() {
        with_samples(|records| {
            let written = |record: &Record<'_>| {
                let mut bytes = Vec::new();
                record.encode(&mut bytes);
                bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
            };
            let written: Vec<String> = records.iter().map(written).collect();
            let frozen: Vec<&str> = FROZEN.lines().filter(|line| !line.starts_with('#')).collect();
            for (index, (written, frozen)) in written.iter().zip(&frozen).enumerate() {
                assert_eq!(written, frozen, "{:?}", records[index]);
            }
            let added = &written[frozen.len().min(written.len())..];
            assert!(written.len() == frozen.len(), "samples without a line:\n{}", added.join("\n"));
        });
    }
}
