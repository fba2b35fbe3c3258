//! Verbs over sorted sets on several shards: ZUNION and its like, ZRANGESTORE, ZMPOP; and those that wait for
//! one: BZPOPMIN, BZMPOP.

use basalt_commands::requests::{
    End, MpopRequest, OwnedMembers, Patient, parse_blocking_pop, parse_blocking_zmpop, parse_zmpop,
};
use basalt_commands::{CommandError, Outcome, WaitsFor};
use basalt_keyspace::{Effect, Kind, SortedChange, SortedRef, event};
use basalt_resp::Reply;

use super::declare_all;
use crate::core::Core;
use crate::core::transact::Decision;
use crate::input::keys::DeclaredKey;
use crate::session::SessionId;
use crate::shard::Shard;

/// What a look at an end of a sorted set found: the rank of the first of the members, and these.
type AtEnd = Result<(u64, OwnedMembers), CommandError>;

/// Up to `count` members from one end on; none where there is no sorted set.
fn peek_end(shard: &Shard, key: &DeclaredKey, end: End, count: usize) -> AtEnd {
    let Some(entry) = key.peek(&shard.keyspace) else { return Ok((0, Vec::new())) };
    let sorted = SortedRef::of(&entry).ok_or(CommandError::WRONG_TYPE)?;
    let len = sorted.len();
    let count = count.min(len);
    let (from, members) = match end {
        End::Min => (0, sorted.walk(0..count)),
        End::Max => (len - count, sorted.walk_back(len - count..len)),
    };
    Ok((from as u64, members.map(|one| (one.member.to_vec(), one.score)).collect()))
}

/// Takes the members that were found in the first sorted set that has any, and tells them; leaves no reply
/// where none has.
fn decide_pop(
    (end, found): (End, Vec<AtEnd>),
    decision: &mut Decision<'_>,
    tell: fn(&mut Reply<'_>, &[u8], &OwnedMembers),
) -> Outcome {
    let events = if end == End::Min { event::ZPOPMIN } else { event::ZPOPMAX };
    for (index, found) in found.into_iter().enumerate() {
        let (from, members) = found?;
        if members.is_empty() {
            continue;
        }
        tell(&mut decision.reply, &decision.keys[index].bytes, &members);
        let count = members.len() as u64;
        decision.write(index, move |shard, key| {
            let edit = shard.keyspace.edit(key.database, &key.key());
            edit.as_event(events).commit(Effect::Sorted(SortedChange::RemoveRanks { from, count }));
        });
        return Ok(());
    }
    Ok(())
}

/// A key, its member and the score.
fn tell_one(reply: &mut Reply<'_>, key: &[u8], members: &OwnedMembers) {
    let (member, score) = &members[0];
    reply.array(3);
    reply.bulk(key);
    reply.bulk(member);
    reply.double(*score);
}

/// A key, and pairs of its members and scores.
fn tell_several(reply: &mut Reply<'_>, key: &[u8], members: &OwnedMembers) {
    reply.array(2);
    reply.bulk(key);
    reply.array(members.len());
    for (member, score) in members {
        reply.array(2);
        reply.bulk(member);
        reply.double(*score);
    }
}

/// ZMPOP.
pub(super) fn mpop(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let MpopRequest { keys, end, count } = parse_zmpop(&args[1..])?;
    let keys = declare_all(core, id, keys);
    core.transact(
        id,
        keys,
        move |shard, key| peek_end(shard, key, end, count),
        move |found, decision| {
            let start = decision.reply.position();
            decide_pop((end, found), decision, tell_several)?;
            if decision.reply.position() == start {
                decision.reply.null_array();
            }
            Ok(())
        },
    );
    Ok(())
}

/// BZMPOP.
pub(super) fn blocking_mpop(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let Patient { request, timeout_ms } = parse_blocking_zmpop(args)?;
    let MpopRequest { keys, end, count } = request;
    let terms = core.terms(keys.len(), WaitsFor::Value(Kind::Sorted), timeout_ms);
    let keys = declare_all(core, id, keys);
    core.wait(
        id,
        (keys, terms),
        (),
        move |shard, key, ()| peek_end(shard, key, end, count),
        move |found, (), decision| decide_pop((end, found), decision, tell_several),
    );
    Ok(())
}

/// BZPOPMIN and BZPOPMAX.
pub(super) fn blocking_pop(core: &mut Core, id: SessionId, args: &[&[u8]], end: End) -> Outcome {
    let Patient { request: keys, timeout_ms } = parse_blocking_pop(args)?;
    let terms = core.terms(keys.len(), WaitsFor::Value(Kind::Sorted), timeout_ms);
    let keys = declare_all(core, id, keys);
    core.wait(
        id,
        (keys, terms),
        (),
        move |shard, key, ()| peek_end(shard, key, end, 1),
        move |found, (), decision| decide_pop((end, found), decision, tell_one),
    );
    Ok(())
}
