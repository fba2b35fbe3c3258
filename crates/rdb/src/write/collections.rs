//! Collections: a count, then the elements, each as a string.

use basalt_keyspace::{Entry, ListRef, SetRef, SortedRef};

use super::{Writer, all_fields, put_number};

const LOOKED_AT: &str = "because its kind was looked at";

pub(super) fn put_list(writer: &mut Writer, entry: &Entry, out: &mut Vec<u8>) {
    let list = ListRef::of(entry).expect(LOOKED_AT);
    put_number(out, list.len() as u64);
    list.iter_from(0).for_each(|element| writer.put_content(element, out));
}

pub(super) fn put_set(writer: &mut Writer, entry: &Entry, out: &mut Vec<u8>) {
    let set = SetRef::of(entry).expect(LOOKED_AT);
    put_number(out, set.len() as u64);
    set.iter().for_each(|member| writer.put_content(member, out));
}

/// From the last member to the first, as Redis writes them: so each is loaded at the head of a skip list.
pub(super) fn put_sorted(writer: &mut Writer, entry: &Entry, out: &mut Vec<u8>) {
    let sorted = SortedRef::of(entry).expect(LOOKED_AT);
    put_number(out, sorted.len() as u64);
    for scored in sorted.walk_back(0..sorted.len()) {
        writer.put_text(scored.member, out);
        out.extend_from_slice(&scored.score.to_le_bytes());
    }
}

pub(super) fn put_hash(writer: &mut Writer, entry: &Entry, out: &mut Vec<u8>) {
    let hash = all_fields(entry);
    put_number(out, hash.len() as u64);
    for field in hash.iter() {
        writer.put_content(field.name, out);
        writer.put_content(field.value, out);
    }
}

/// Each field with its value and its expiry, -1 for none.
pub(super) fn put_expiring_hash_for_valkey(writer: &mut Writer, entry: &Entry, out: &mut Vec<u8>) {
    let hash = all_fields(entry);
    put_number(out, hash.len() as u64);
    for field in hash.iter() {
        writer.put_content(field.name, out);
        writer.put_content(field.value, out);
        let at_ms = field.expire_at_ms.map_or(-1, |at_ms| i64::try_from(at_ms).unwrap_or(i64::MAX));
        out.extend_from_slice(&at_ms.to_le_bytes());
    }
}

/// The smallest expiry; then each field: its expiry, 0 for none, else how much later plus 1; its
/// name, its value.
pub(super) fn put_expiring_hash_for_redis(writer: &mut Writer, entry: &Entry, out: &mut Vec<u8>) {
    let hash = all_fields(entry);
    let least_ms = hash.iter().filter_map(|field| field.expire_at_ms).min().unwrap_or(0);
    out.extend_from_slice(&least_ms.to_le_bytes());
    put_number(out, hash.len() as u64);
    for field in hash.iter() {
        put_number(out, field.expire_at_ms.map_or(0, |at_ms| at_ms - least_ms + 1));
        writer.put_content(field.name, out);
        writer.put_content(field.value, out);
    }
}
