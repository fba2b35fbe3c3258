//! Streams: listpacks of entries, groups with their pending entries, producers.

use std::collections::BTreeMap;

use basalt_keyspace::{
    Content, Digits, IDEMPOTENCY_NAMES, IDEMPOTENCY_SECONDS, Kind, Producers,
    STREAM_ENTRY_BYTES_MAX, Stream, StreamChange, StreamId,
};

use super::Value;
use super::blobs::Listpack;
use crate::error::{Error, Result};
use crate::format::{STREAM_ENTRY_DELETED, STREAM_ENTRY_SAME_FIELDS, kind};
use crate::input::Input;

const DAMAGED: Error = Error::Malformed("a listpack of a stream is damaged");
const GROUP: Error =
    Error::Malformed("the pending entries of a stream's group do not fit together");

pub(super) fn stream(number: u8, input: &mut Input<'_>) -> Result<Value> {
    let mut stream = Stream::new();
    for _ in 0..input.count(2)? {
        let id = input.bytes()?;
        let first_id = Input::new(&id).raw_id().map_err(|_| DAMAGED)?;
        if id.len() != 16 {
            return Err(DAMAGED);
        }
        read_node(first_id, &input.bytes()?, &mut stream)?;
    }
    read_counters(number, input, &mut stream)?;
    for _ in 0..input.count(4)? {
        read_group(number, input, &mut stream)?;
    }
    if number >= kind::STREAM_4 {
        read_producers(input, &mut stream)?;
    }
    let mut bytes = Vec::new();
    stream.encode(&mut bytes);
    let changes = StreamChange::Become { bytes: &bytes }.to_changes();
    Ok(Value::Collection { kind: Kind::Stream, changes })
}

/// What a listpack of a stream holds, piece by piece.
struct Pieces<'a>(Listpack<'a>);

impl<'a> Pieces<'a> {
    fn next(&mut self) -> Result<Content<'a>> {
        self.0.next().ok_or(DAMAGED)?
    }

    fn integer(&mut self) -> Result<i64> {
        match self.next()? {
            Content::Integer(value) => Ok(value),
            Content::Bytes(_) => Err(DAMAGED),
        }
    }

    fn count(&mut self) -> Result<usize> {
        usize::try_from(self.integer()?).map_err(|_| DAMAGED)
    }
}

/// Texts side by side.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Texts {
    fn push(&mut self, content: Content<'_>) {
        self.bytes.extend_from_slice(content.as_text(&mut Digits::default()));
        self.ends.push(self.bytes.len());
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// A node: the number of entries, of deleted ones, and fields; then entries, which have those fields or
/// their own.
fn read_node(first_id: StreamId, blob: &[u8], stream: &mut Stream) -> Result<()> {
    let mut pieces = Pieces(Listpack::new(blob)?);
    let (live, deleted) = (pieces.count()?, pieces.count()?);
    let mut fields = Vec::new();
    for _ in 0..pieces.count()? {
        fields.push(pieces.next()?);
    }
    if pieces.integer()? != 0 {
        return Err(DAMAGED);
    }
    let (mut live_left, mut deleted_left) = (live, deleted);
    let (mut pairs, mut in_new_node) = (Texts::default(), true);
    while live_left + deleted_left > 0 {
        let flags = pieces.integer()?;
        let ms = first_id.ms.wrapping_add_signed(pieces.integer()?);
        let id = StreamId { ms, seq: first_id.seq.wrapping_add_signed(pieces.integer()?) };
        pairs.clear();
        let piece_count = if flags & STREAM_ENTRY_SAME_FIELDS != 0 {
            for field in &fields {
                pairs.push(*field);
                pairs.push(pieces.next()?);
            }
            fields.len() + 3
        } else {
            let count = pieces.count()?;
            for _ in 0..count {
                pairs.push(pieces.next()?);
                pairs.push(pieces.next()?);
            }
            2 * count + 4
        };
        if pieces.count()? != piece_count {
            return Err(DAMAGED);
        }
        let left =
            if flags & STREAM_ENTRY_DELETED != 0 { &mut deleted_left } else { &mut live_left };
        *left = left.checked_sub(1).ok_or(DAMAGED)?;
        if flags & STREAM_ENTRY_DELETED != 0 {
            continue;
        }
        if id <= stream.last_id() || pairs.bytes.len() > STREAM_ENTRY_BYTES_MAX {
            return Err(DAMAGED);
        }
        stream.add(id, pairs.iter(), in_new_node);
        in_new_node = false;
    }
    if pieces.0.next().is_none() { Ok(()) } else { Err(DAMAGED) }
}

fn read_counters(number: u8, input: &mut Input<'_>, stream: &mut Stream) -> Result<()> {
    let len = input.number()?;
    let last_id = input.id()?;
    if len != stream.len() || last_id < stream.last_id() {
        return Err(Error::Malformed("the counters of a stream are wrong"));
    }
    if number == kind::STREAM {
        stream.set_last_id(last_id, Some(len), Some(StreamId::MIN));
        return Ok(());
    }
    // The first ID follows from the entries.
    let (_, max_deleted_id) = (input.id()?, input.id()?);
    stream.set_last_id(last_id, Some(input.number()?), Some(max_deleted_id));
    Ok(())
}

fn read_group(number: u8, input: &mut Input<'_>, stream: &mut Stream) -> Result<()> {
    let name = input.bytes()?;
    let last_id = input.id()?;
    let entries_read = if number == kind::STREAM {
        estimated_entries_read(stream, last_id)
    } else {
        // -1 is written for what is not known.
        Some(input.number()?).filter(|read| i64::try_from(*read).is_ok())
    };
    if !stream.create_group(&name, last_id, entries_read) {
        return Err(Error::Malformed("a group of a stream comes twice"));
    }
    let mut pending = BTreeMap::new();
    for _ in 0..input.count(25)? {
        let (id, delivered_at_ms) = (input.raw_id()?, input.moment_ms()?);
        if pending.insert(id, (delivered_at_ms, input.number()?)).is_some() {
            return Err(GROUP);
        }
    }
    let read = |group: &mut basalt_keyspace::Group| -> Result<()> {
        for _ in 0..input.count(10)? {
            let name = input.bytes()?;
            let seen_at_ms = input.moment_ms()?;
            let active_at_ms = if number >= kind::STREAM_3 {
                u64::try_from(i64::from_le_bytes(input.array()?)).ok()
            } else {
                Some(seen_at_ms)
            };
            if group.number(&name).is_some() {
                return Err(Error::Malformed("a consumer of a stream's group comes twice"));
            }
            let number = group.join(&name, seen_at_ms);
            if let Some(active_at_ms) = active_at_ms {
                group.note_seen(number, active_at_ms, true);
                group.note_seen(number, seen_at_ms, false);
            }
            for _ in 0..input.count(16)? {
                let id = input.raw_id()?;
                let (delivered_at_ms, delivery_count) = pending.remove(&id).ok_or(GROUP)?;
                group.assign(id, number, delivered_at_ms, delivery_count);
            }
        }
        if number >= kind::STREAM_5 {
            for _ in 0..input.count(16)? {
                let id = input.raw_id()?;
                let (_, delivery_count) = pending.remove(&id).ok_or(GROUP)?;
                group.release(id, delivery_count);
            }
        }
        if pending.is_empty() { Ok(()) } else { Err(GROUP) }
    };
    stream.change_group(&name, read).unwrap_or(Err(GROUP))
}

/// How many entries a group has read, as far as that follows from the IDs; see
/// `streamEstimateDistanceFromFirstEverEntry` in Redis.
fn estimated_entries_read(stream: &Stream, id: StreamId) -> Option<u64> {
    if stream.entries_added() == 0 {
        return Some(0);
    }
    if id == stream.last_id() || stream.is_empty() && id < stream.last_id() {
        return Some(stream.entries_added());
    }
    let before_first = stream.entries_added().checked_sub(stream.len())?;
    match id.cmp(&stream.first_id()) {
        std::cmp::Ordering::Less => Some(before_first),
        std::cmp::Ordering::Equal => Some(before_first + 1),
        std::cmp::Ordering::Greater => None,
    }
}

fn read_producers(input: &mut Input<'_>, stream: &mut Stream) -> Result<()> {
    const WRONG: Error = Error::Malformed("the producers of a stream are damaged");
    let (seconds, most) = (input.number()?, input.number()?);
    let mut known = Vec::new();
    for _ in 0..input.count(2)? {
        let producer = input.bytes()?;
        let mut names = Vec::new();
        for _ in 0..input.count(3)? {
            names.push((input.bytes()?, input.id()?));
        }
        known.push((producer, names));
    }
    let mut producers = Producers::new(seconds, most, input.number()?, input.number()?);
    for (producer, names) in &known {
        if producers.knows(producer) || names.is_empty() || names.len() as u64 > most {
            return Err(WRONG);
        }
        for (name, id) in names {
            if producers.find(producer, name, 0).is_some() {
                return Err(WRONG);
            }
            producers.note_quietly(producer, name, *id);
        }
    }
    let is_default = (seconds, most) == (IDEMPOTENCY_SECONDS, IDEMPOTENCY_NAMES)
        && known.is_empty()
        && producers.noted() == 0
        && producers.repeated() == 0;
    if !is_default {
        stream.set_producers(producers);
    }
    Ok(())
}
