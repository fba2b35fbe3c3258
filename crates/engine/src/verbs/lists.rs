//! Verbs over several lists, and those that wait for one: LMOVE, LMPOP, BLPOP …

use basalt_commands::requests::{
    ListPop, Patient, Sides, parse_blocking_move, parse_blocking_multi_pop, parse_blocking_pop,
    parse_list_move, parse_list_pop,
};
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::{Digits, Effect, Kind, ListChange, ListRef, Side, Strings};
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
    let edit = shard.keyspace.edit(key.database, &key.key());
    edit.commit(Effect::List(ListChange::Pop { side, count: count as u64 }));
}

fn push(shard: &mut Shard, key: &DeclaredKey, side: Side, element: &[u8]) {
    let edit = shard.keyspace.edit(key.database, &key.key());
    let elements = [element];
    edit.commit(Effect::List(ListChange::Push { side, elements: Strings::from(&elements) }));
}

const SOURCE: usize = 0;
const TARGET: usize = 1;

/// What a look at a key found.
type Found = Result<Option<Elements>, CommandError>;

/// Takes the element that was found from the first key to the second; leaves no reply where there is none.
fn decide_move(sides: Sides, found: Vec<Found>, decision: &mut Decision<'_>) -> Outcome {
    let Sides { from, to } = sides;
    let mut found = found.into_iter();
    let source = found.next().expect("two keys were declared")?;
    let Some(element) = source.and_then(|mut elements| elements.pop()) else { return Ok(()) };
    found.next().expect("two keys were declared")?;
    decision.reply.bulk(&element);
    decision.write(SOURCE, move |shard, key| pop(shard, key, from, 1));
    decision.write(TARGET, move |shard, key| push(shard, key, to, &element));
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
    reply.array(elements.len());
    elements.iter().for_each(|element| reply.bulk(element));
}

/// The terms of those who wait for `key_count` keys to hold a list.
fn terms(core: &Core, key_count: usize, timeout_ms: Option<u64>) -> Terms {
    core.terms(key_count, WaitsFor::Value(Kind::List), timeout_ms)
}

/// LMOVE and RPOPLPUSH.
pub(super) fn list_move(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let sides = parse_list_move(args)?;
    let keys = declare_all(core, id, &args[1..3]);
    core.transact(
        id,
        keys,
        move |shard, key| peek_end(shard, key, sides.from, 1),
        move |found, decision| {
            let start = decision.reply.position();
            decide_move(sides, found, decision)?;
            if decision.reply.position() == start {
                decision.reply.null();
            }
            Ok(())
        },
    );
    Ok(())
}

/// BLMOVE and BRPOPLPUSH.
pub(super) fn blocking_move(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let Patient { request: sides, timeout_ms } = parse_blocking_move(args)?;
    let keys = declare_all(core, id, &args[1..3]);
    let terms = Terms { nothing: |reply| reply.null(), ..terms(core, 1, timeout_ms) };
    core.wait(
        id,
        (keys, terms),
        (),
        move |shard, key, ()| peek_end(shard, key, sides.from, 1),
        move |found, (), decision| decide_move(sides, found, decision),
    );
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
