//! Taking members from the first sorted set of several that has any.

use std::marker::PhantomData;

use basalt_keyspace::{
    DatabaseId, Effect, Entry, Key, Keyspace, Kind, SortedChange, SortedRef, event,
};
use basalt_resp::Reply;

use super::blocking::parse_blocking_zmpop;
use super::remove::{End, MpopRequest, parse_zmpop};
use super::store::OwnedMembers;
use crate::call::{Call, Outcome};
use crate::error::CommandError;
use crate::families::list::{WithTimeout, parse_blocking_pop};
use crate::many_keys::{
    Blocking, Decision, KeyRead, OverKeys, Settings, TakesFirst, Wait, WaitsFor, key_positions,
};

/// How a command that takes members asks for them, and replies with a key and what was taken of it.
pub(super) trait Pop {
    /// The end and the number of members.
    fn parse(args: &[&[u8]]) -> Result<(End, usize), CommandError>;
    /// Whether the reply has one member without its array.
    const IS_ONE: bool;
}

/// Up to `count` members of a sorted set, from one end on, and the rank of the lowest of them.
fn at_end(sorted: SortedRef<'_>, (end, count): (End, usize)) -> (u64, OwnedMembers) {
    let len = sorted.len();
    let count = count.min(len);
    let (from, members) = match end {
        End::Min => (0, sorted.walk(0..count)),
        End::Max => (len - count, sorted.walk_back(len - count..len)),
    };
    (from as u64, members.map(|one| (one.member.to_vec(), one.score)).collect())
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

/// All of a command on one shard; leaves no reply if no key has a member.
pub(super) fn pop_first<P: Pop>(call: &mut Call<'_>) -> Outcome {
    let range = P::parse(call.args)?;
    for at in key_positions(call.command, call.args) {
        let key = call.key_of(call.args[at]);
        let Some(entry) = call.keyspace.peek(call.database, &key) else { continue };
        let sorted = SortedRef::of(&entry).ok_or(CommandError::WRONG_TYPE)?;
        let (from, members) = at_end(sorted, range);
        write::<P>(&mut call.reply, key.bytes, &members);
        call.reply.whole()?;
        remove((call.keyspace, call.database, &key), (range.0, from, members.len()));
        return Ok(());
    }
    Ok(())
}

/// A command that waits, over shards.
pub(super) struct PopFirst<P>(PhantomData<P>);

impl<P: Pop> OverKeys for PopFirst<P> {
    type Found = Result<(u64, OwnedMembers), CommandError>;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        P::parse(args).map(drop)
    }

    fn read(key: KeyRead<'_>) -> Self::Found {
        let range = P::parse(key.args)?;
        let Some(entry) = key.peek() else { return Ok((0, Vec::new())) };
        Ok(at_end(SortedRef::of(&entry).ok_or(CommandError::WRONG_TYPE)?, range))
    }

    fn decide(found: Vec<Self::Found>, decision: &mut Decision<'_, '_>) -> Outcome {
        let (end, _) = P::parse(decision.args)?;
        for (index, found) in found.into_iter().enumerate() {
            let (from, members) = found?;
            if members.is_empty() {
                continue;
            }
            write::<P>(decision.reply, decision.keys[index], &members);
            let count = members.len();
            decision.write(index, move |keyspace, id, key| {
                remove((keyspace, id, key), (end, from, count));
            });
            return Ok(());
        }
        Ok(())
    }
}

/// ZMPOP.
pub(super) struct PopMany;

fn parse_pop_many(args: &[&[u8]]) -> Result<(End, usize), CommandError> {
    let MpopRequest { end, count, .. } = parse_zmpop(&args[1..])?;
    Ok((end, count))
}

impl TakesFirst for PopMany {
    type Taken = (End, u64, OwnedMembers);

    fn check(args: &[&[u8]]) -> Outcome {
        parse_pop_many(args).map(drop)
    }

    fn len(entry: &Entry) -> Result<usize, CommandError> {
        Ok(SortedRef::of(entry).ok_or(CommandError::WRONG_TYPE)?.len())
    }

    fn copy(entry: &Entry, args: &[&[u8]]) -> Result<Self::Taken, CommandError> {
        let range = parse_pop_many(args)?;
        let sorted = SortedRef::of(entry).ok_or(CommandError::WRONG_TYPE)?;
        let (from, members) = at_end(sorted, range);
        Ok((range.0, from, members))
    }

    fn reply((_, _, members): &Self::Taken, key: &[u8], reply: &mut Reply<'_>) {
        write::<BlockingPopMany>(reply, key, members);
    }

    fn remove((end, from, members): &Self::Taken, place: (&mut Keyspace, DatabaseId, &Key<'_>)) {
        remove(place, (*end, *from, members.len()));
    }
}

/// BZMPOP.
pub(super) struct BlockingPopMany;

impl Pop for BlockingPopMany {
    fn parse(args: &[&[u8]]) -> Result<(End, usize), CommandError> {
        let MpopRequest { end, count, .. } = parse_blocking_zmpop(args)?.request;
        Ok((end, count))
    }

    const IS_ONE: bool = false;
}

/// BZPOPMIN, and BZPOPMAX with `MAX`.
pub(super) struct BlockingPop<const MAX: bool>;

impl<const MAX: bool> Pop for BlockingPop<MAX> {
    fn parse(args: &[&[u8]]) -> Result<(End, usize), CommandError> {
        parse_blocking_pop(args)?;
        Ok((if MAX { End::Max } else { End::Min }, 1))
    }

    const IS_ONE: bool = true;
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
