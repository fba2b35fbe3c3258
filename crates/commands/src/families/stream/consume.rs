//! Reads as a consumer of a group: new entries, entries that are pending for long, and the
//! consumer's own pending entries.

use std::collections::BTreeSet;

use basalt_keyspace::{
    DatabaseId, Deliveries, Effect, Entry, Group, Key, Keyspace, Stream, StreamChange, StreamEntry,
    StreamId, StreamIds, event, stream_of,
};
use basalt_resp::{NoMemory, Protocol, Reply};

use super::progress::entries_read_with;
use super::read::{ReadRequest, Returned, StreamAnswer, StreamFound};
use super::{id, write_entry, write_fields};
use crate::error::CommandError;

/// The changes of a consumer's read of one stream: IDs in the order of the reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamPart {
    claimed: Vec<StreamId>,
    delivered: Vec<StreamId>,
    /// The consumer's own pending entries, some of them deleted. In this case nothing is claimed or
    /// delivered.
    told_again: Vec<StreamId>,
}

impl StreamPart {
    /// Limits the read to the entries that are in the reply.
    pub(super) fn truncate(&mut self, count: usize) {
        self.claimed.truncate(count);
        self.delivered.truncate(count - self.claimed.len());
        self.told_again.truncate(count);
    }
}

/// A pending entry that may be claimed.
struct Claimable<'a> {
    delivered_at_ms: u64,
    delivery_count: u64,
    entry: StreamEntry<'a>,
}

pub(super) fn look_as_consumer(
    found: Option<&Stream>,
    key: &[u8],
    (from, returned): (&[u8], &mut Returned),
    (request, (group_name, consumer)): (&ReadRequest, &(Vec<u8>, Vec<u8>)),
    (protocol, now_ms): (Protocol, u64),
) -> Result<StreamFound, CommandError> {
    let group = found.and_then(|stream| Some((stream, stream.group(group_name)?)));
    let Some((stream, group)) = group else {
        let parts =
            ["NOGROUP No such key '", "' or consumer group '", "' in XREADGROUP with GROUP option"];
        return Err(CommandError::quoting_two(parts, key, group_name));
    };
    let after = match from {
        b"$" | b"+" => {
            let sign = char::from(from[0]);
            return Err(CommandError::new(format!(
                "ERR The {sign} ID is meaningless in the context of XREADGROUP: you want to read the \
                 history of this consumer by specifying a proper ID, or use the > ID to get new \
                 messages. The {sign} ID would just return an empty result set."
            )));
        }
        b">" => StreamId::MAX,
        _ => id::parse(from, 0)?,
    };
    let found = match after.next() {
        None => look_for_new(stream, group, (key, returned, request), (protocol, now_ms)),
        Some(start) => {
            let new = request.newly_own(stream, group, returned);
            look_back(stream, group, (consumer, start, new), (key, request), protocol)
        }
    };
    Ok(found?)
}

/// Claimable entries, and then entries that no consumer of the group has got yet.
fn look_for_new(
    stream: &Stream,
    group: &Group,
    (key, returned, request): (&[u8], &mut Returned, &ReadRequest),
    (protocol, now_ms): (Protocol, u64),
) -> Result<StreamFound, NoMemory> {
    let mut found = StreamFound::default();
    let mut part = StreamPart::default();
    let (claimable, claimable_in_ms) = match request.claim_min_ms {
        Some(min_ms) => claimable(stream, group, now_ms, min_ms),
        None => (Vec::new(), None),
    };
    let last_id = returned.newest.unwrap_or(group.last_id);
    let is_new = stream.last().is_some_and(|newest| newest.id > last_id);
    let start = last_id.next().filter(|_| is_new);
    if start.is_some() || !claimable.is_empty() {
        let mut news = start.into_iter().flat_map(|start| stream.range(start, StreamId::MAX));
        let mut claims = claimable.iter().skip(returned.claimed);
        let mut left = request.count_of_each();
        let answer = StreamAnswer::encode(key, protocol, request, |reply| {
            if left == 0 {
                return false;
            }
            left -= 1;
            if let Some(claim) = claims.next() {
                let idle_ms = now_ms.saturating_sub(claim.delivered_at_ms);
                write_claimed(&claim.entry, idle_ms, claim.delivery_count, reply);
                part.claimed.push(claim.entry.id);
                return true;
            }
            let Some(entry) = news.next() else { return false };
            match request.claim_min_ms {
                Some(_) => write_claimed(&entry, 0, 0, reply),
                None => write_entry(&entry, reply),
            }
            part.delivered.push(entry.id);
            true
        })?;
        returned.claimed += part.claimed.len();
        returned.newest = part.delivered.last().copied().or(returned.newest);
        let is_told = !part.claimed.is_empty() || !part.delivered.is_empty();
        found.answer = Some(answer).filter(|_| is_told);
    }
    found.part = Some(part);
    found.claimable_in_ms = claimable_in_ms;
    Ok(found)
}

/// The pending entries that are idle for this long, the longest first; and the milliseconds until
/// the next one is.
fn claimable<'a>(
    stream: &'a Stream,
    group: &Group,
    now_ms: u64,
    min_ms: u64,
) -> (Vec<Claimable<'a>>, Option<u64>) {
    // Entries that become pending after this read are claimable no sooner.
    let mut next_ms = min_ms;
    let mut found = Vec::new();
    for (id, pending) in group.pending_from(StreamId::MIN) {
        let idle_ms = now_ms.saturating_sub(pending.delivered_at_ms);
        if idle_ms < min_ms {
            next_ms = next_ms.min(min_ms - idle_ms);
        } else if let Some(entry) = stream.get(*id) {
            let (delivered_at_ms, delivery_count) =
                (pending.delivered_at_ms, pending.delivery_count);
            found.push(Claimable { delivered_at_ms, delivery_count, entry });
        }
    }
    // Those delivered at the same moment are ordered by ID.
    found.sort_by_key(|claim| claim.delivered_at_ms);
    (found, Some(next_ms))
}

/// An entry in CLAIM's form: with the milliseconds since its last delivery, and the number of
/// deliveries.
fn write_claimed(
    entry: &StreamEntry<'_>,
    idle_ms: u64,
    delivery_count: u64,
    reply: &mut Reply<'_>,
) {
    reply.array(4);
    write_fields(entry, reply);
    reply.integer(idle_ms as i64);
    reply.integer(delivery_count as i64);
}

/// The consumer's own pending entries, from an ID on.
fn look_back(
    stream: &Stream,
    group: &Group,
    (consumer, start, new): (&[u8], StreamId, Option<(StreamId, StreamId)>),
    (key, request): (&[u8], &ReadRequest),
    protocol: Protocol,
) -> Result<StreamFound, NoMemory> {
    let pending = group.consumer(consumer).into_iter().flat_map(|own| own.pending_from(start));
    let count = request.count_of_each();
    let new = new.map(|(first, last)| (first.max(start), last)).filter(|(from, to)| from <= to);
    let new = new.into_iter().flat_map(|(from, to)| stream.range(from, to)).map(|entry| entry.id);
    let pending: BTreeSet<StreamId> = pending.take(count).chain(new.take(count)).collect();
    let mut part = StreamPart::default();
    let mut pending = pending.into_iter().take(count);
    let answer = StreamAnswer::encode(key, protocol, request, |reply| {
        let Some(id) = pending.next() else { return false };
        part.told_again.push(id);
        if let Some(entry) = stream.get(id) {
            write_entry(&entry, reply);
        } else {
            reply.array(2);
            id::write(id, reply);
            reply.null_array();
        }
        true
    })?;
    Ok(StreamFound { answer: Some(answer), part: Some(part), ..StreamFound::default() })
}

impl ReadRequest {
    /// The first and the last of the entries that the same request returned as new: they are pending by now.
    fn newly_own(
        &self,
        stream: &Stream,
        group: &Group,
        returned: &Returned,
    ) -> Option<(StreamId, StreamId)> {
        let newest = returned.newest.filter(|_| !self.is_acknowledged)?;
        let first = stream.range(group.last_id.next()?, newest).next()?;
        Some((first.id, newest))
    }
}

/// Applies the changes of a consumer's read.
pub(super) fn apply_part(
    keyspace: &mut Keyspace,
    database: DatabaseId,
    key: &Key<'_>,
    request: &ReadRequest,
    part: &StreamPart,
) {
    let Some((group, consumer)) = &request.group else { return };
    let at_ms = keyspace.now_ms();
    let edit = keyspace.edit(database, key);
    let found = settle(edit.entry().as_deref(), group, part);
    let Some((told_again, progress)) = found else { return };
    if let Some((last_id, entries_read)) = progress {
        let change = StreamChange::SetGroup { group, last_id, entries_read };
        edit.as_event(event::NONE).commit(Effect::Stream(change));
    }
    // Redis raises only the event of a new consumer, which the commit finds itself.
    let mut commit = |change| {
        keyspace.edit(database, key).as_event(event::NONE).commit(Effect::Stream(change));
    };
    let delivered = if request.is_acknowledged { &[] } else { &part.delivered[..] };
    let assigned = [
        (&part.claimed[..], Deliveries::OneMore),
        (delivered, Deliveries::Are(1)),
        (&told_again[..], Deliveries::OneMore),
    ];
    for (ids, deliveries) in assigned.into_iter().filter(|(ids, _)| !ids.is_empty()) {
        let ids = StreamIds::from(ids);
        commit(StreamChange::Assign { group, consumer, ids, at_ms, deliveries });
    }
    let is_active = !part.claimed.is_empty() || !delivered.is_empty();
    commit(StreamChange::SeeConsumer { group, consumer, at_ms, is_active });
}

/// A group's last ID, and its count of entries read.
type Progress = (StreamId, Option<u64>);

/// The own pending entries in the reply that still exist, and the group's new position, if it
/// advances.
fn settle(
    entry: Option<&Entry>,
    group: &[u8],
    part: &StreamPart,
) -> Option<(Vec<StreamId>, Option<Progress>)> {
    let stream = stream_of(entry?)?;
    let group = stream.group(group)?;
    let told_again = part.told_again.iter().copied().filter(|id| stream.get(*id).is_some());
    let progress = part.delivered.last().map(|_| {
        part.delivered.iter().fold((group.last_id, group.entries_read), |so_far, id| {
            (*id, entries_read_with(stream, so_far, *id))
        })
    });
    Some((told_again.collect(), progress))
}
