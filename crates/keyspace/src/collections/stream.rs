//! Streams: entries in the order of their IDs, and the groups that read them.
//!
//! Commands read a [`Stream`] as it lies in memory. Where a new ID comes from, what trimming removes and who
//! is given what is settled by the command, so that a change says it.

use basalt_structures::{Collection, Entry, Group, Kind, Stream, StreamId, Value};

use super::{CollectionChange, Means};
use crate::Digest;
use crate::codec::{Malformed, Reader, Strings, put_bytes, put_strings};

/// The stream that an entry holds; none where it holds something else.
#[inline]
pub fn stream_of(entry: &Entry) -> Option<&Stream> {
    match entry.value() {
        Value::Boxed(Collection::Stream(stream)) => Some(stream),
        _ => None,
    }
}

/// IDs that a change carries.
#[derive(Clone, Copy, Debug)]
pub struct StreamIds<'a>(IdSource<'a>);

#[derive(Clone, Copy, Debug)]
enum IdSource<'a> {
    Given(&'a [StreamId]),
    /// 16 bytes each.
    Recorded(&'a [u8]),
}

impl StreamIds<'_> {
    pub fn iter(&self) -> impl Iterator<Item = StreamId> {
        let (given, recorded) = match self.0 {
            IdSource::Given(ids) => (ids, &[][..]),
            IdSource::Recorded(bytes) => (&[][..], bytes),
        };
        let (recorded, _) = recorded.as_chunks::<16>();
        given.iter().copied().chain(recorded.iter().map(|bytes| id_of(*bytes)))
    }
}

impl<'a> From<&'a [StreamId]> for StreamIds<'a> {
    fn from(ids: &'a [StreamId]) -> Self {
        Self(IdSource::Given(ids))
    }
}

impl PartialEq for StreamIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for StreamIds<'_> {}

/// How often an entry counts as delivered when it is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliveries {
    /// So often.
    Are(u64),
    /// Once more than before.
    OneMore,
    /// As often as before; never, where it was not pending.
    Kept,
    /// Once less than before.
    OneLess,
}

impl Deliveries {
    /// LIMIT: no entry counts as delivered more often: nobody is to be given it any more.
    pub const MAX: u64 = i64::MAX as u64;

    fn after(self, before: u64) -> u64 {
        match self {
            Self::Are(count) => count,
            Self::OneMore => before.saturating_add(u64::from(before != Self::MAX)),
            Self::Kept => before,
            Self::OneLess => before.saturating_sub(1),
        }
    }
}

/// A change of a stream. Groups, consumers and entries that are not there are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamChange<'a> {
    /// An entry behind all others; `pairs` are names and values in turn.
    Add {
        id: StreamId,
        pairs: Strings<'a>,
        in_new_node: bool,
    },
    Delete {
        ids: StreamIds<'a>,
    },
    /// So many of the oldest entries go.
    DropFirst {
        count: u64,
    },
    SetLastId {
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    },
    CreateGroup {
        group: &'a [u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    },
    SetGroup {
        group: &'a [u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    },
    DestroyGroup {
        group: &'a [u8],
    },
    /// A consumer asked; it is there from now on. `is_active`: it got something.
    SeeConsumer {
        group: &'a [u8],
        consumer: &'a [u8],
        at_ms: u64,
        is_active: bool,
    },
    DeleteConsumer {
        group: &'a [u8],
        consumer: &'a [u8],
    },
    /// Entries are pending with a consumer from now on.
    Assign {
        group: &'a [u8],
        consumer: &'a [u8],
        ids: StreamIds<'a>,
        at_ms: u64,
        deliveries: Deliveries,
    },
    Acknowledge {
        group: &'a [u8],
        ids: StreamIds<'a>,
    },
    /// Entries are pending in no group any more.
    Forget {
        ids: StreamIds<'a>,
    },
    /// It is the stream that these bytes are.
    Become {
        bytes: &'a [u8],
    },
    /// Entries are pending with nobody from now on.
    Release {
        group: &'a [u8],
        ids: StreamIds<'a>,
        deliveries: Deliveries,
    },
    /// What a producer called an entry.
    NoteName {
        producer: &'a [u8],
        name: &'a [u8],
        id: StreamId,
        at_ms: u64,
    },
    /// An entry came again.
    CountRepeated,
    /// For how many seconds, and how many of each producer, names of entries are known; they are forgotten.
    ConfigureProducers {
        seconds: u64,
        most: u64,
    },
}

/// Whether a change of the stream that is there can come of a command; what is read from records may be
/// anything.
pub(crate) fn follows(stream: Option<&Stream>, change: &StreamChange<'_>) -> bool {
    match *change {
        StreamChange::Add { id, .. } => id > stream.map_or(StreamId::MIN, Stream::last_id),
        StreamChange::SetLastId { last_id, .. } => {
            stream.and_then(Stream::last).is_none_or(|newest| newest.id <= last_id)
        }
        _ => true,
    }
}

impl<'a> CollectionChange<'a> for StreamChange<'a> {
    const KIND: Kind = Kind::Stream;

    fn start(key: &[u8], access: u32) -> Entry {
        Entry::boxed(key, Box::new(Collection::Stream(Box::default())), None, access)
    }

    fn apply(self, entry: &mut Entry, _means: Means<'_>) {
        let Some(Collection::Stream(stream)) = entry.collection_mut() else {
            panic!("a stream is changed")
        };
        match self {
            Self::Add { id, pairs, in_new_node } => {
                stream.add(id, pairs.to_slice().iter().copied(), in_new_node);
            }
            Self::Delete { ids } => ids.iter().for_each(|id| _ = stream.delete(id)),
            Self::DropFirst { count } => stream.drop_first(count),
            Self::SetLastId { last_id, entries_added, max_deleted_id } => {
                stream.set_last_id(last_id, entries_added, max_deleted_id);
            }
            Self::CreateGroup { group, last_id, entries_read } => {
                stream.create_group(group, last_id, entries_read);
            }
            Self::SetGroup { group, last_id, entries_read } => {
                stream.change_group(group, |group| {
                    group.last_id = last_id;
                    group.entries_read = entries_read;
                });
            }
            Self::DestroyGroup { group } => _ = stream.destroy_group(group),
            Self::SeeConsumer { group, consumer, at_ms, is_active } => {
                stream.change_group(group, |group| {
                    let number = group.join(consumer, at_ms);
                    group.note_seen(number, at_ms, is_active);
                });
            }
            Self::DeleteConsumer { group, consumer } => {
                stream.change_group(group, |group| group.leave(consumer));
            }
            Self::Assign { group, consumer, ids, at_ms, deliveries } => {
                stream.change_group(group, |group| {
                    assign(group, consumer, ids, at_ms, deliveries);
                });
            }
            Self::Acknowledge { group, ids } => {
                stream.change_group(group, |group| {
                    ids.iter().for_each(|id| _ = group.acknowledge(id));
                });
            }
            Self::Forget { ids } => ids.iter().for_each(|id| stream.acknowledge_everywhere(id)),
            Self::Release { group, ids, deliveries } => {
                stream.change_group(group, |group| {
                    for id in ids.iter() {
                        let before = group.pending(id).map_or(0, |pending| pending.delivery_count);
                        group.release(id, deliveries.after(before));
                    }
                });
            }
            Self::NoteName { producer, name, id, at_ms } => {
                stream.note_name(producer, name, id, at_ms);
            }
            Self::CountRepeated => stream.count_repeated(),
            Self::ConfigureProducers { seconds, most } => stream.configure_producers(seconds, most),
            Self::Become { bytes } => {
                **stream = Stream::decode(bytes).expect("because it was checked when it was read");
            }
        }
    }

    fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Add { id, pairs, in_new_node } => {
                out.extend([0, u8::from(in_new_node)]);
                put_id(out, id);
                put_strings(out, pairs);
            }
            Self::Delete { ids } => {
                out.push(1);
                put_ids(out, ids);
            }
            Self::DropFirst { count } => {
                out.push(2);
                out.extend(count.to_le_bytes());
            }
            Self::SetLastId { last_id, entries_added, max_deleted_id } => {
                out.push(3);
                put_id(out, last_id);
                put_optional(out, entries_added);
                out.push(u8::from(max_deleted_id.is_some()));
                put_id(out, max_deleted_id.unwrap_or_default());
            }
            Self::CreateGroup { group, last_id, entries_read } => {
                out.push(4);
                put_bytes(out, group);
                put_id(out, last_id);
                put_optional(out, entries_read);
            }
            Self::SetGroup { group, last_id, entries_read } => {
                out.push(5);
                put_bytes(out, group);
                put_id(out, last_id);
                put_optional(out, entries_read);
            }
            Self::DestroyGroup { group } => {
                out.push(6);
                put_bytes(out, group);
            }
            Self::SeeConsumer { group, consumer, at_ms, is_active } => {
                out.extend([7, u8::from(is_active)]);
                put_bytes(out, group);
                put_bytes(out, consumer);
                out.extend(at_ms.to_le_bytes());
            }
            Self::DeleteConsumer { group, consumer } => {
                out.push(8);
                put_bytes(out, group);
                put_bytes(out, consumer);
            }
            Self::Assign { group, consumer, ids, at_ms, deliveries } => {
                out.push(9);
                put_bytes(out, group);
                put_bytes(out, consumer);
                put_ids(out, ids);
                out.extend(at_ms.to_le_bytes());
                put_deliveries(out, deliveries);
            }
            Self::Acknowledge { group, ids } => {
                out.push(10);
                put_bytes(out, group);
                put_ids(out, ids);
            }
            Self::Forget { ids } => {
                out.push(11);
                put_ids(out, ids);
            }
            Self::Become { bytes } => {
                out.push(12);
                put_bytes(out, bytes);
            }
            Self::Release { group, ids, deliveries } => {
                out.push(13);
                put_bytes(out, group);
                put_ids(out, ids);
                put_deliveries(out, deliveries);
            }
            Self::NoteName { producer, name, id, at_ms } => {
                out.push(14);
                put_bytes(out, producer);
                put_bytes(out, name);
                put_id(out, id);
                out.extend(at_ms.to_le_bytes());
            }
            Self::CountRepeated => out.push(15),
            Self::ConfigureProducers { seconds, most } => {
                out.push(16);
                out.extend(seconds.to_le_bytes());
                out.extend(most.to_le_bytes());
            }
        }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match reader.byte()? {
            0 => {
                let in_new_node = reader.byte()? != 0;
                let id = read_id(reader)?;
                Self::Add { id, pairs: reader.string_pairs()?, in_new_node }
            }
            1 => Self::Delete { ids: read_ids(reader)? },
            2 => Self::DropFirst { count: reader.u64()? },
            3 => {
                let last_id = read_id(reader)?;
                let entries_added = read_optional(reader)?;
                let has_deleted = reader.byte()? != 0;
                let max_deleted_id = read_id(reader)?;
                let max_deleted_id = has_deleted.then_some(max_deleted_id);
                Self::SetLastId { last_id, entries_added, max_deleted_id }
            }
            4 => Self::CreateGroup {
                group: reader.bytes()?,
                last_id: read_id(reader)?,
                entries_read: read_optional(reader)?,
            },
            5 => Self::SetGroup {
                group: reader.bytes()?,
                last_id: read_id(reader)?,
                entries_read: read_optional(reader)?,
            },
            6 => Self::DestroyGroup { group: reader.bytes()? },
            7 => {
                let is_active = reader.byte()? != 0;
                let (group, consumer) = (reader.bytes()?, reader.bytes()?);
                Self::SeeConsumer { group, consumer, at_ms: reader.u64()?, is_active }
            }
            8 => Self::DeleteConsumer { group: reader.bytes()?, consumer: reader.bytes()? },
            9 => Self::Assign {
                group: reader.bytes()?,
                consumer: reader.bytes()?,
                ids: read_ids(reader)?,
                at_ms: reader.u64()?,
                deliveries: read_deliveries(reader)?,
            },
            10 => Self::Acknowledge { group: reader.bytes()?, ids: read_ids(reader)? },
            11 => Self::Forget { ids: read_ids(reader)? },
            12 => {
                let bytes = reader.bytes()?;
                Stream::decode(bytes).ok_or(Malformed)?;
                Self::Become { bytes }
            }
            13 => Self::Release {
                group: reader.bytes()?,
                ids: read_ids(reader)?,
                deliveries: read_deliveries(reader)?,
            },
            14 => Self::NoteName {
                producer: reader.bytes()?,
                name: reader.bytes()?,
                id: read_id(reader)?,
                at_ms: reader.u64()?,
            },
            15 => Self::CountRepeated,
            16 => Self::ConfigureProducers { seconds: reader.u64()?, most: reader.u64()? },
            _ => return Err(Malformed),
        })
    }
}

impl StreamChange<'_> {
    /// The change as bytes, for `Effect::SetCollection`.
    pub fn to_changes(self) -> Vec<u8> {
        let mut changes = Vec::new();
        self.encode(&mut changes);
        changes
    }
}

fn assign(
    group: &mut Group,
    consumer: &[u8],
    ids: StreamIds<'_>,
    at_ms: u64,
    deliveries: Deliveries,
) {
    let number = group.join(consumer, at_ms);
    for id in ids.iter() {
        let before = group.pending(id).map_or(0, |pending| pending.delivery_count);
        group.assign(id, number, at_ms, deliveries.after(before));
    }
}

fn id_of(bytes: [u8; 16]) -> StreamId {
    let number = u128::from_be_bytes(bytes);
    StreamId { ms: (number >> 64) as u64, seq: number as u64 }
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    out.extend(id.ms.to_be_bytes());
    out.extend(id.seq.to_be_bytes());
}

fn read_id(reader: &mut Reader<'_>) -> Result<StreamId, Malformed> {
    Ok(id_of(reader.array()?))
}

fn put_ids(out: &mut Vec<u8>, ids: StreamIds<'_>) {
    let mut bytes = Vec::new();
    ids.iter().for_each(|id| put_id(&mut bytes, id));
    put_bytes(out, &bytes);
}

fn read_ids<'a>(reader: &mut Reader<'a>) -> Result<StreamIds<'a>, Malformed> {
    let bytes = reader.bytes()?;
    if bytes.len().is_multiple_of(16) {
        Ok(StreamIds(IdSource::Recorded(bytes)))
    } else {
        Err(Malformed)
    }
}

fn put_optional(out: &mut Vec<u8>, number: Option<u64>) {
    out.push(u8::from(number.is_some()));
    out.extend(number.unwrap_or(0).to_le_bytes());
}

fn read_optional(reader: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    let is_there = reader.byte()? != 0;
    let number = reader.u64()?;
    Ok(is_there.then_some(number))
}

fn put_deliveries(out: &mut Vec<u8>, deliveries: Deliveries) {
    let (kind, count) = match deliveries {
        Deliveries::Are(count) => (0, count),
        Deliveries::OneMore => (1, 0),
        Deliveries::Kept => (2, 0),
        Deliveries::OneLess => (3, 0),
    };
    out.push(kind);
    out.extend(count.to_le_bytes());
}

fn read_deliveries(reader: &mut Reader<'_>) -> Result<Deliveries, Malformed> {
    let kind = reader.byte()?;
    let count = reader.u64()?;
    match kind {
        0 => Ok(Deliveries::Are(count)),
        1 => Ok(Deliveries::OneMore),
        2 => Ok(Deliveries::Kept),
        3 => Ok(Deliveries::OneLess),
        _ => Err(Malformed),
    }
}

pub(super) fn write_changes(entry: &Entry, out: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    stream_of(entry).expect("a stream is looked at").encode(&mut bytes);
    StreamChange::Become { bytes: &bytes }.encode(out);
}

/// Entries have an order, so they are mixed into the digest one after the other.
pub(super) fn digest_elements(entry: &Entry, digest: &mut Digest) {
    let stream = stream_of(entry).expect("a stream is looked at");
    for entry in stream.range(StreamId::MIN, StreamId::MAX) {
        digest.mix(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
        for (name, value) in entry.pairs() {
            digest.mix(name);
            digest.mix(value);
        }
    }
}
