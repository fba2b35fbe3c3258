//! Streams: entries in listpacks, groups with their pending entries, producers.

use basalt_keyspace::{Entry, Group, Stream, StreamEntry, StreamId, stream_of};

use super::listpack::ListpackBuilder;
use super::{Writer, put_bytes, put_id, put_number, put_raw_id};
use crate::format::{STREAM_ENTRY_SAME_FIELDS, kind};

/// LIMIT: where a listpack ends, as in Redis' defaults; an entry is never split.
const NODE_BYTES_MAX: usize = 4096;
const NODE_ENTRIES_MAX: usize = 100;

/// What is written for a group of which it is not known how much it has read: -1.
const NOT_KNOWN: u64 = u64::MAX;

pub(super) fn put_stream(writer: &mut Writer, number: u8, entry: &Entry, out: &mut Vec<u8>) {
    let stream = stream_of(entry).expect("because its kind was looked at");
    put_nodes(writer, stream, out);
    put_number(out, stream.len());
    put_id(out, stream.last_id());
    put_id(out, stream.first_id());
    put_id(out, stream.max_deleted_id());
    put_number(out, stream.entries_added());
    put_number(out, stream.groups().len() as u64);
    for group in stream.groups() {
        put_group(writer, number, group, out);
    }
    if number >= kind::STREAM_4 {
        put_producers(writer, stream, out);
    }
}

/// A run of entries that lie in one listpack.
struct Node<'a> {
    entries: Vec<StreamEntry<'a>>,
    bytes: usize,
}

fn put_nodes(writer: &mut Writer, stream: &Stream, out: &mut Vec<u8>) {
    let (mut nodes, mut count) = (Vec::new(), 0);
    let mut node = Node { entries: Vec::new(), bytes: 0 };
    for entry in stream.range(StreamId::MIN, StreamId::MAX) {
        let bytes: usize = entry.pairs().map(|(field, value)| field.len() + value.len() + 4).sum();
        let is_full = node.entries.len() >= NODE_ENTRIES_MAX || node.bytes + bytes > NODE_BYTES_MAX;
        if is_full && !node.entries.is_empty() {
            put_node(writer, &node.entries, &mut nodes);
            count += 1;
            (node.entries, node.bytes) = (Vec::new(), 0);
        }
        node.bytes += bytes;
        node.entries.push(entry);
    }
    if !node.entries.is_empty() {
        put_node(writer, &node.entries, &mut nodes);
        count += 1;
    }
    put_number(out, count);
    out.extend_from_slice(&nodes);
}

/// The number of entries, of deleted ones, and the fields of the first entry; then each entry, with its own
/// fields if they are others.
fn put_node(writer: &mut Writer, entries: &[StreamEntry<'_>], out: &mut Vec<u8>) {
    let mut listpack = ListpackBuilder::new();
    let first = &entries[0];
    let fields: Vec<&[u8]> = first.pairs().map(|(field, _)| field).collect();
    listpack.push_integer(entries.len() as i64);
    listpack.push_integer(0);
    listpack.push_integer(fields.len() as i64);
    fields.iter().for_each(|field| listpack.push_text(field));
    listpack.push_integer(0);
    for entry in entries {
        let pairs = || entry.pairs();
        let has_same_fields = pairs().map(|(field, _)| field).eq(fields.iter().copied());
        listpack.push_integer(if has_same_fields { STREAM_ENTRY_SAME_FIELDS } else { 0 });
        listpack.push_integer(entry.id.ms.wrapping_sub(first.id.ms) as i64);
        listpack.push_integer(entry.id.seq.wrapping_sub(first.id.seq) as i64);
        if has_same_fields {
            pairs().for_each(|(_, value)| listpack.push_text(value));
            listpack.push_integer(fields.len() as i64 + 3);
            continue;
        }
        let count = pairs().count() as i64;
        listpack.push_integer(count);
        for (field, value) in pairs() {
            listpack.push_text(field);
            listpack.push_text(value);
        }
        listpack.push_integer(2 * count + 4);
    }
    let mut id = Vec::new();
    put_raw_id(&mut id, first.id);
    put_bytes(out, &id);
    writer.put_text(&listpack.into_bytes(), out);
}

fn put_group(writer: &mut Writer, number: u8, group: &Group, out: &mut Vec<u8>) {
    writer.put_text(group.name(), out);
    put_id(out, group.last_id);
    put_number(out, group.entries_read.unwrap_or(NOT_KNOWN));
    put_number(out, group.pending_count() as u64);
    for (id, pending) in group.pending_from(StreamId::MIN) {
        put_raw_id(out, *id);
        out.extend_from_slice(&pending.delivered_at_ms.to_le_bytes());
        put_number(out, pending.delivery_count);
    }
    put_number(out, group.consumers().len() as u64);
    for consumer in group.consumers() {
        writer.put_text(consumer.name(), out);
        out.extend_from_slice(&consumer.seen_at_ms.to_le_bytes());
        if number >= kind::STREAM_3 {
            let active_at_ms = consumer.active_at_ms.unwrap_or(NOT_KNOWN);
            out.extend_from_slice(&active_at_ms.to_le_bytes());
        }
        put_number(out, consumer.pending_count() as u64);
        consumer.pending_from(StreamId::MIN).for_each(|id| put_raw_id(out, id));
    }
    if number >= kind::STREAM_5 {
        put_number(out, group.unowned_count() as u64);
        let released = group.pending_from(StreamId::MIN);
        released
            .filter(|(_, pending)| group.owner(pending).is_none())
            .for_each(|(id, _)| put_raw_id(out, *id));
    }
}

fn put_producers(writer: &mut Writer, stream: &Stream, out: &mut Vec<u8>) {
    let defaults = Default::default();
    let producers = stream.producers().unwrap_or(&defaults);
    put_number(out, producers.seconds());
    put_number(out, producers.most());
    let all = producers.all();
    put_number(out, all.len() as u64);
    for (producer, names) in all {
        writer.put_text(producer, out);
        put_number(out, names.len() as u64);
        for (name, id) in names {
            writer.put_text(name, out);
            put_id(out, id);
        }
    }
    put_number(out, producers.noted());
    put_number(out, producers.repeated());
}
