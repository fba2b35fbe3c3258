//! Verbs over several lists, and those that wait for one: LMOVE, LMOVEM, LMPOP, BLPOP …

use basalt_commands::requests::{
    ListMove, ListPop, MoveOrder, Patient, Sides, parse_blocking_move, parse_blocking_move_many,
    parse_blocking_multi_pop, parse_blocking_pop, parse_list_move, parse_list_move_many,
    parse_list_pop,
};
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::{Digits, Effect, Events, Kind, ListChange, ListRef, Side, Strings, event};
use basalt_resp::Reply;

use super::declare_all;
use crate::core::Core;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::{Decision, DeclaredKey, Terms};
use crate::waiting::WaitsFor;

/// Some elements of a list, as they travel.
type Elements = Vec<Vec<u8>>;

/// Up to `max` elements of a list from one end on; none where there is no list.
fn peek_end(
    shard: &Shard,
    key: &DeclaredKey,
    side: Side,
    max: u64,
) -> Result<Option<Elements>, CommandError> {
    let Some(entry) = key.peek(shard) else { return Ok(None) };
    let list = ListRef::of(&entry).ok_or(CommandError::WRONG_TYPE)?;
    let mut digits = Digits::default();
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let elements = list.iter_end(side).take(max);
    Ok(Some(elements.map(|content| content.as_text(&mut digits).to_vec()).collect()))
}

fn pop(shard: &mut Shard, key: &DeclaredKey, side: Side, count: usize) {
    let events = if side == Side::Front { event::LPOP } else { event::RPOP };
    pop_as(shard, key, (side, count), events);
}

fn pop_as(shard: &mut Shard, key: &DeclaredKey, (side, count): (Side, usize), events: Events) {
    let edit = shard.keyspace.edit(key.database, &key.key()).as_event(events);
    edit.commit(Effect::List(ListChange::Pop { side, count: count as u64 }));
}

/// Puts elements at one end; they come to lie there in their order.
fn put(shard: &mut Shard, key: &DeclaredKey, side: Side, elements: &[Vec<u8>]) {
    let events = if side == Side::Front { event::LPUSH } else { event::RPUSH };
    put_as(shard, key, (side, elements), events);
}

fn put_as(
    shard: &mut Shard,
    key: &DeclaredKey,
    (side, elements): (Side, &[Vec<u8>]),
    events: Events,
) {
    let mut pushed: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
    if side == Side::Front {
        pushed.reverse();
    }
    let edit = shard.keyspace.edit(key.database, &key.key()).as_event(events);
    edit.commit(Effect::List(ListChange::Push { side, elements: Strings::from(&pushed[..]) }));
}

/// Moves elements within a list. One that moves as a whole is never empty in between, so that it keeps its
/// time to live.
fn put_elsewhere(shard: &mut Shard, key: &DeclaredKey, sides: Sides, elements: &[Vec<u8>]) {
    let Sides { from, to } = sides;
    let events = match (to, from) {
        (Side::Front, Side::Front) => event::LPUSH_LPOP,
        (Side::Front, Side::Back) => event::LPUSH_RPOP,
        (Side::Back, Side::Front) => event::RPUSH_LPOP,
        (Side::Back, Side::Back) => event::RPUSH_RPOP,
    };
    let list_len = key.peek(shard).and_then(|entry| ListRef::of(&entry).map(ListRef::len));
    if list_len == Some(elements.len()) {
        let behind = if from == Side::Front { Side::Back } else { Side::Front };
        put_as(shard, key, (behind, elements), event::NONE);
        pop_as(shard, key, (from, elements.len()), events);
    } else {
        pop_as(shard, key, (from, elements.len()), event::NONE);
        put_as(shard, key, (to, elements), events);
    }
}

const SOURCE: usize = 0;
const TARGET: usize = 1;

/// What a look at a key found.
type Found = Result<Option<Elements>, CommandError>;

/// What is to be moved of the source; of the target whether it may be.
fn look_to_move(shard: &Shard, key: &DeclaredKey, request: ListMove) -> Found {
    let max = if key.index == SOURCE { request.most } else { 0 };
    peek_end(shard, key, request.sides.from, max)
}

/// Takes the elements that were found from the first key to the second, and tells them as they lie there; leaves
/// no reply where there are too few.
fn decide_move(
    request: ListMove,
    found: Vec<Found>,
    decision: &mut Decision<'_>,
    tell: impl FnOnce(&mut Reply<'_>, &[Vec<u8>]),
) -> Outcome {
    let ListMove { sides, least, order, .. } = request;
    let mut found = found.into_iter();
    let source = found.next().expect("two keys were declared")?;
    let Some(mut elements) = source.filter(|found| found.len() as u64 >= least) else {
        return Ok(());
    };
    found.next().expect("two keys were declared")?;
    // They were found in the order in which they are taken.
    let is_turned = match order {
        MoveOrder::OneByOne => sides.to == Side::Front,
        MoveOrder::Bulk => sides.from == Side::Back,
    };
    if is_turned {
        elements.reverse();
    }
    tell(&mut decision.reply, &elements);
    let [source, target] = decision.keys else { unreachable!("two keys were declared") };
    if source.database == target.database && source.bytes == target.bytes {
        decision.write(SOURCE, move |shard, key| put_elsewhere(shard, key, sides, &elements));
    } else {
        let count = elements.len();
        decision.write(SOURCE, move |shard, key| pop(shard, key, sides.from, count));
        decision.write(TARGET, move |shard, key| put(shard, key, sides.to, &elements));
    }
    Ok(())
}

/// Takes the elements that were found in the first list that has any, and tells them; leaves no reply where
/// none has.
fn decide_pop(
    side: Side,
    found: Vec<Found>,
    decision: &mut Decision<'_>,
    tell: impl FnOnce(&mut Reply<'_>, &[u8], &[Vec<u8>]),
) -> Outcome {
    for (index, elements) in found.into_iter().enumerate() {
        let Some(elements) = elements? else { continue };
        tell(&mut decision.reply, &decision.keys[index].bytes, &elements);
        decision.write(index, move |shard, key| pop(shard, key, side, elements.len()));
        return Ok(());
    }
    Ok(())
}

/// The only element.
fn tell_only(reply: &mut Reply<'_>, elements: &[Vec<u8>]) {
    reply.bulk(&elements[0]);
}

fn tell_all(reply: &mut Reply<'_>, elements: &[Vec<u8>]) {
    reply.array(elements.len());
    elements.iter().for_each(|element| reply.bulk(element));
}

/// A key and its element.
fn tell_one(reply: &mut Reply<'_>, key: &[u8], elements: &[Vec<u8>]) {
    reply.array(2);
    reply.bulk(key);
    reply.bulk(&elements[0]);
}

/// A key and its elements.
fn tell_several(reply: &mut Reply<'_>, key: &[u8], elements: &[Vec<u8>]) {
    reply.array(2);
    reply.bulk(key);
    tell_all(reply, elements);
}

/// The terms of those who wait for `key_count` keys to hold a list.
fn terms(core: &Core, key_count: usize, timeout_ms: Option<u64>) -> Terms {
    core.terms(key_count, WaitsFor::Value(Kind::List), timeout_ms)
}

/// Moves elements, if there are enough, or tells that there are not.
fn move_now(
    core: &mut Core,
    id: SessionId,
    (keys, request): (&[&[u8]], ListMove),
    tell: fn(&mut Reply<'_>, &[Vec<u8>]),
    nothing: fn(&mut Reply<'_>),
) -> Outcome {
    let keys = declare_all(core, id, keys);
    core.transact(
        id,
        keys,
        move |shard, key| look_to_move(shard, key, request),
        move |found, decision| {
            let start = decision.reply.position();
            decide_move(request, found, decision, tell)?;
            if decision.reply.position() == start {
                nothing(&mut decision.reply);
            }
            Ok(())
        },
    );
    Ok(())
}

/// LMOVE and RPOPLPUSH.
pub(super) fn list_move(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = ListMove::one(parse_list_move(args)?);
    move_now(core, id, (&args[1..3], request), tell_only, |reply| reply.null())
}

/// LMOVEM.
pub(super) fn list_move_many(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_list_move_many(args)?;
    move_now(core, id, (&args[1..3], request), tell_all, |reply| reply.null_array())
}

/// Moves elements as soon as there are enough.
fn move_in_time(
    core: &mut Core,
    id: SessionId,
    keys: &[&[u8]],
    Patient { request, timeout_ms }: Patient<ListMove>,
    tell: fn(&mut Reply<'_>, &[Vec<u8>]),
    nothing: fn(&mut Reply<'_>),
) {
    let keys = declare_all(core, id, keys);
    let terms = Terms { nothing, least: request.least, ..terms(core, 1, timeout_ms) };
    core.wait(
        id,
        (keys, terms),
        (),
        move |shard, key, ()| look_to_move(shard, key, request),
        move |found, (), decision| decide_move(request, found, decision, tell),
    );
}

/// BLMOVE and BRPOPLPUSH.
pub(super) fn blocking_move(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let Patient { request: sides, timeout_ms } = parse_blocking_move(args)?;
    let request = Patient { request: ListMove::one(sides), timeout_ms };
    move_in_time(core, id, &args[1..3], request, tell_only, |reply| reply.null());
    Ok(())
}

/// BLMOVEM.
pub(super) fn blocking_move_many(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_blocking_move_many(args)?;
    move_in_time(core, id, &args[1..3], request, tell_all, |reply| reply.null_array());
    Ok(())
}

/// LMPOP.
pub(super) fn multi_pop(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let ListPop { keys, side, count } = parse_list_pop(&args[1..])?;
    let keys = declare_all(core, id, keys);
    core.transact(
        id,
        keys,
        move |shard, key| peek_end(shard, key, side, count),
        move |found, decision| {
            let start = decision.reply.position();
            decide_pop(side, found, decision, tell_several)?;
            if decision.reply.position() == start {
                decision.reply.null_array();
            }
            Ok(())
        },
    );
    Ok(())
}

/// BLMPOP.
pub(super) fn blocking_multi_pop(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let Patient { request, timeout_ms } = parse_blocking_multi_pop(args)?;
    let ListPop { keys, side, count } = request;
    let (keys, terms) = (declare_all(core, id, keys), terms(core, keys.len(), timeout_ms));
    core.wait(
        id,
        (keys, terms),
        (),
        move |shard, key, ()| peek_end(shard, key, side, count),
        move |found, (), decision| decide_pop(side, found, decision, tell_several),
    );
    Ok(())
}

/// BLPOP and BRPOP.
pub(super) fn blocking_pop(core: &mut Core, id: SessionId, args: &[&[u8]], side: Side) -> Outcome {
    let Patient { request: keys, timeout_ms } = parse_blocking_pop(args)?;
    let (keys, terms) = (declare_all(core, id, keys), terms(core, keys.len(), timeout_ms));
    core.wait(
        id,
        (keys, terms),
        (),
        move |shard, key, ()| peek_end(shard, key, side, 1),
        move |found, (), decision| decide_pop(side, found, decision, tell_one),
    );
    Ok(())
}
