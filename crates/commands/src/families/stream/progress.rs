//! Progress: how many of all entries ever added a group has read, as far as it is known (as in
//! Redis' t_stream.c).
//!
//! A count is exact as long as no deleted entry is ahead. After that it is only known at the ends
//! of the stream.

use basalt_keyspace::{Group, Stream, StreamId};

/// The number of entries ever added up to an ID; `None` if it is unknown.
pub(super) fn entries_until(stream: &Stream, id: StreamId) -> Option<u64> {
    let (added, len) = (stream.entries_added(), stream.len());
    if added == 0 {
        return Some(0);
    }
    if id == stream.last_id() || (len == 0 && id < stream.last_id()) {
        return Some(added);
    }
    let (first, deleted) = (stream.first_id(), stream.max_deleted_id());
    let is_whole = deleted == StreamId::MIN || deleted < first;
    let is_before_deleted = id != StreamId::MIN && id < deleted;
    if id > stream.last_id() || !is_whole || is_before_deleted {
        return None;
    }
    match id.cmp(&first) {
        std::cmp::Ordering::Less => Some(added.wrapping_sub(len)),
        std::cmp::Ordering::Equal => Some(added.wrapping_sub(len).wrapping_add(1)),
        std::cmp::Ordering::Greater => None,
    }
}

/// Whether a deleted entry may be at an ID or after it.
fn has_gap_from(stream: &Stream, id: StreamId) -> bool {
    let deleted = stream.max_deleted_id();
    !stream.is_empty() && deleted != StreamId::MIN && id <= deleted
}

/// The new count of a group that had read up to `last_id` after it reads the entry with this ID.
pub(super) fn entries_read_with(
    stream: &Stream,
    (last_id, entries_read): (StreamId, Option<u64>),
    id: StreamId,
) -> Option<u64> {
    // Entries before the first one may have been trimmed that the group never read.
    let is_within = last_id >= stream.first_id() && !has_gap_from(stream, last_id);
    match entries_read {
        Some(count) if is_within => Some(count.wrapping_add(1)),
        _ if stream.entries_added() > 0 => entries_until(stream, id),
        _ => entries_read,
    }
}

/// The lag: how many entries a group still has to read; `None` if it is unknown.
pub(super) fn lag(stream: &Stream, group: &Group) -> Option<i64> {
    if stream.is_empty() {
        return Some(0);
    }
    let first = stream.first_id();
    if group.last_id < first && stream.max_deleted_id() < first {
        // All remaining entries are ahead, and none of them is deleted.
        return Some(stream.len() as i64);
    }
    let exact = group.entries_read.filter(|_| !has_gap_from(stream, group.last_id));
    let read = exact.or_else(|| entries_until(stream, group.last_id))?;
    Some(stream.entries_added().wrapping_sub(read) as i64)
}
