//! Codec: a whole stream as bytes, for COPY and records.
//!
//! ```text
//! last ID, largest deleted ID, entries added
//! node count, and each node    its ID, its bytes as they are
//! group count, and each group  name, last ID, entries read, consumers (name, seen, active, IDs),
//!                              pending entries without a consumer
//! producers, if any            seconds, most, noted, repeated; for each its name and its IDs
//! ```
//!
//! Bytes from outside are validated completely.
//!
//! Not here: the format of RDB files.

use super::node::{Node, Reader, put_number, put_part};
use super::{Group, Producers, Stream, StreamId};
use crate::block::block_bytes;

impl Stream {
    /// Appends the stream's bytes to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_id(out, self.last_id);
        put_id(out, self.max_deleted_id);
        put_number(out, self.entries_added);
        put_number(out, self.nodes.len() as u64);
        for (first, node) in self.nodes.starting_at(StreamId::MIN) {
            put_id(out, *first);
            put_part(out, node.as_bytes());
        }
        put_number(out, self.groups.len() as u64);
        for group in &self.groups {
            put_group(out, group);
        }
        out.push(u8::from(self.producers.is_some()));
        if let Some(producers) = self.producers() {
            put_producers(out, producers);
        }
    }

    /// Decodes a stream; `None` if the bytes are not valid.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes };
        let mut stream = Self::new();
        let last_id = read_id(&mut reader)?;
        let max_deleted_id = read_id(&mut reader)?;
        let entries_added = reader.try_number()?;
        let mut last = None;
        for _ in 0..reader.try_number()? {
            let first = read_id(&mut reader)?;
            let node = Node::from_bytes(first, last, reader.try_part()?)?;
            last = node.entries_back(first).next().map(|entry| entry.id);
            stream.len += node.live();
            stream.node_bytes += block_bytes(node.capacity());
            stream.nodes.insert(first, node);
        }
        if last.is_some_and(|last| last > last_id) {
            return None;
        }
        stream.set_last_id(last_id, Some(entries_added), Some(max_deleted_id));
        for _ in 0..reader.try_number()? {
            read_group(&mut reader, &mut stream)?;
        }
        stream.producers = match reader.try_byte()? {
            0 => None,
            1 => Some(Box::new(read_producers(&mut reader)?)),
            _ => return None,
        };
        reader.bytes.is_empty().then_some(stream)
    }
}

fn put_group(out: &mut Vec<u8>, group: &Group) {
    put_part(out, group.name());
    put_id(out, group.last_id);
    put_optional(out, group.entries_read);
    put_number(out, group.consumers().len() as u64);
    for consumer in group.consumers() {
        put_part(out, consumer.name());
        put_number(out, consumer.seen_at_ms);
        put_optional(out, consumer.active_at_ms);
        put_number(out, consumer.pending_count() as u64);
        for id in consumer.pending_from(StreamId::MIN) {
            let pending = group.pending(id).expect("because what a consumer has, its group knows");
            put_id(out, id);
            put_number(out, pending.delivered_at_ms);
            put_number(out, pending.delivery_count);
        }
    }
    put_number(out, group.unowned_count() as u64);
    for (id, pending) in group.pending_from(StreamId::MIN) {
        if group.owner(pending).is_none() {
            put_id(out, *id);
            put_number(out, pending.delivery_count);
        }
    }
}

fn read_group(reader: &mut Reader<'_>, stream: &mut Stream) -> Option<()> {
    let name = reader.try_part()?;
    let last_id = read_id(reader)?;
    let entries_read = read_optional(reader)?;
    if !stream.create_group(name, last_id, entries_read) {
        return None;
    }
    stream.change_group(name, |group| {
        for _ in 0..reader.try_number()? {
            let name = reader.try_part()?;
            let seen_at_ms = reader.try_number()?;
            let active_at_ms = read_optional(reader)?;
            if group.number(name).is_some() {
                return None;
            }
            let number = group.join(name, seen_at_ms);
            if let Some(active_at_ms) = active_at_ms {
                group.note_seen(number, active_at_ms, true);
                group.note_seen(number, seen_at_ms, false);
            }
            for _ in 0..reader.try_number()? {
                let id = read_id(reader)?;
                if group.pending(id).is_some() {
                    return None;
                }
                group.assign(id, number, reader.try_number()?, reader.try_number()?);
            }
        }
        for _ in 0..reader.try_number()? {
            let id = read_id(reader)?;
            if group.pending(id).is_some() {
                return None;
            }
            group.release(id, reader.try_number()?);
        }
        Some(())
    })?
}

fn put_producers(out: &mut Vec<u8>, producers: &Producers) {
    let Producers { seconds, most, noted, repeated, .. } = producers;
    [seconds, most, noted, repeated].into_iter().for_each(|number| put_number(out, *number));
    let all = producers.all();
    put_number(out, all.len() as u64);
    for (producer, names) in all {
        put_part(out, producer);
        put_number(out, names.len() as u64);
        for (name, id) in names {
            put_part(out, name);
            put_id(out, id);
        }
    }
}

fn read_producers(reader: &mut Reader<'_>) -> Option<Producers> {
    let [seconds, most] = [reader.try_number()?, reader.try_number()?];
    let mut producers = Producers::new(seconds, most, reader.try_number()?, reader.try_number()?);
    for _ in 0..reader.try_number()? {
        let producer = reader.try_part()?;
        let count = reader.try_number()?;
        if count == 0 || count > producers.most || producers.knows(producer) {
            return None;
        }
        for _ in 0..count {
            let name = reader.try_part()?;
            if producers.find(producer, name, 0).is_some() {
                return None;
            }
            producers.note_quietly(producer, name, read_id(reader)?);
        }
    }
    Some(producers)
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_number(out, id.ms);
    put_number(out, id.seq);
}

fn read_id(reader: &mut Reader<'_>) -> Option<StreamId> {
    Some(StreamId { ms: reader.try_number()?, seq: reader.try_number()? })
}

fn put_optional(out: &mut Vec<u8>, number: Option<u64>) {
    out.push(u8::from(number.is_some()));
    if let Some(number) = number {
        put_number(out, number);
    }
}

fn read_optional(reader: &mut Reader<'_>) -> Option<Option<u64>> {
    match reader.try_byte()? {
        0 => Some(None),
        1 => Some(Some(reader.try_number()?)),
        _ => None,
    }
}
