//! Taking members from the first sorted set of several that has any.

use std::marker::PhantomData;

use basalt_keyspace::{
    DatabaseId, Effect, Entry, Key, Keyspace, Kind, SortedChange, SortedRef, event,
};
use basalt_resp::Reply;

use super::blocking::parse_blocking_zmpop;
use super::remove::{End, MpopRequest, parse_zmpop};
use super::store::OwnedMembers;
use crate::call::Outcome;
use crate::error::CommandError;
use crate::families::list::{WithTimeout, parse_blocking_pop};
use crate::many_keys::{Blocking, TakesFirst, Wait, WaitsFor};

/// How a command that takes members asks for them, and replies with a key and what was taken of it.
pub(super) trait Pop: 'static {
    const WAITS: bool;
    /// Whether the reply has one member without its array.
    const IS_ONE: bool;

    /// The end and the number of members.
    fn parse(args: &[&[u8]]) -> Result<(End, usize), CommandError>;
}

/// Up to `count` members of a sorted set, from one end on, and the rank of the lowest of them; no members if they take
/// more than so many bytes.
fn at_end(
    sorted: SortedRef<'_>,
    (end, count): (End, usize),
    bytes_max: usize,
) -> (u64, Option<OwnedMembers>) {
    let (len, mut left) = (sorted.len(), bytes_max);
    let count = count.min(len);
    let (from, members) = match end {
        End::Min => (0, sorted.walk(0..count)),
        End::Max => (len - count, sorted.walk_back(len - count..len)),
    };
    let members = members.map(|one| {
        left = left.checked_sub(one.member.len() + size_of::<(Vec<u8>, f64)>())?;
        Some((one.member.to_vec(), one.score))
    });
    (from as u64, members.collect())
}

fn write<P: Pop>(reply: &mut Reply<'_>, key: &[u8], members: &OwnedMembers) {
    if P::IS_ONE {
        let (member, score) = &members[0];
        reply.array(3);
        reply.bulk(key);
        reply.bulk(member);
        reply.double(*score);
        return;
    }
    reply.array(2);
    reply.bulk(key);
    reply.array(members.len());
    for (member, score) in members {
        reply.array(2);
        reply.bulk(member);
        reply.double(*score);
    }
}

fn remove(
    (keyspace, id, key): (&mut Keyspace, DatabaseId, &Key<'_>),
    (end, from, count): (End, u64, usize),
) {
    let events = if end == End::Min { event::ZPOPMIN } else { event::ZPOPMAX };
    let change = SortedChange::RemoveRanks { from, count: count as u64 };
    keyspace.edit(id, key).as_event(events).commit(Effect::Sorted(change));
}

/// Takes members from one end of the first sorted set.
pub(super) struct SortedEnd<P>(PhantomData<P>);

impl<P: Pop> TakesFirst for SortedEnd<P> {
    /// The end, the rank of the lowest, and the members.
    type Taken = (End, u64, OwnedMembers);
    const WAITS: bool = P::WAITS;

    fn check(args: &[&[u8]]) -> Outcome {
        P::parse(args).map(drop)
    }

    fn len(entry: &Entry) -> Result<usize, CommandError> {
        Ok(SortedRef::of(entry).ok_or(CommandError::WRONG_TYPE)?.len())
    }

    fn copy(
        entry: &Entry,
        args: &[&[u8]],
        bytes_max: usize,
    ) -> Result<Option<Self::Taken>, CommandError> {
        let range = P::parse(args)?;
        let sorted = SortedRef::of(entry).ok_or(CommandError::WRONG_TYPE)?;
        let (from, members) = at_end(sorted, range, bytes_max);
        Ok(members.map(|members| (range.0, from, members)))
    }

    fn reply((_, _, members): &Self::Taken, key: &[u8], reply: &mut Reply<'_>) {
        write::<P>(reply, key, members);
    }

    fn remove((end, from, members): &Self::Taken, place: (&mut Keyspace, DatabaseId, &Key<'_>)) {
        remove(place, (*end, *from, members.len()));
    }
}

/// ZMPOP.
pub(super) struct PopMany;

impl Pop for PopMany {
    const WAITS: bool = false;
    const IS_ONE: bool = false;

    fn parse(args: &[&[u8]]) -> Result<(End, usize), CommandError> {
        let MpopRequest { end, count, .. } = parse_zmpop(&args[1..])?;
        Ok((end, count))
    }
}

/// BZMPOP.
pub(super) struct BlockingPopMany;

impl Pop for BlockingPopMany {
    const WAITS: bool = true;
    const IS_ONE: bool = false;

    fn parse(args: &[&[u8]]) -> Result<(End, usize), CommandError> {
        let MpopRequest { end, count, .. } = parse_blocking_zmpop(args)?.request;
        Ok((end, count))
    }
}

/// BZPOPMIN, and BZPOPMAX with `MAX`.
pub(super) struct BlockingPop<const MAX: bool>;

impl<const MAX: bool> Pop for BlockingPop<MAX> {
    const WAITS: bool = true;
    const IS_ONE: bool = true;

    fn parse(args: &[&[u8]]) -> Result<(End, usize), CommandError> {
        parse_blocking_pop(args)?;
        Ok((if MAX { End::Max } else { End::Min }, 1))
    }
}

fn wait_for_sorted(key_count: usize, timeout_ms: Option<u64>) -> Wait {
    Wait { key_count, waits_for: WaitsFor::Value(Kind::Sorted), least: 1, timeout_ms }
}

pub(super) const POP: Blocking = Blocking {
    wait: |args, _| {
        let WithTimeout { request: keys, timeout_ms } = parse_blocking_pop(args).ok()?;
        Some(wait_for_sorted(keys.len(), timeout_ms))
    },
    nothing: |reply| reply.null_array(),
};

pub(super) const POP_MANY: Blocking = Blocking {
    wait: |args, _| {
        let WithTimeout { request, timeout_ms } = parse_blocking_zmpop(args).ok()?;
        Some(wait_for_sorted(request.keys.len(), timeout_ms))
    },
    nothing: |reply| reply.null_array(),
};
