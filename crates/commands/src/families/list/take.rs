//! Taking elements from the first list of several that has any, and what all that take elements share.

use basalt_keyspace::{
    DatabaseId, Digits, Effect, Entry, Events, Key, Keyspace, Kind, ListChange, ListRef, Side,
    Strings, event,
};
use basalt_resp::Reply;

use super::between::{ListPop, parse_list_pop};
use super::blocking::{WithTimeout, parse_blocking_multi_pop, parse_blocking_pop};
use crate::call::Outcome;
use crate::error::CommandError;
use crate::many_keys::{
    Blocking, Decision, KeyRead, OverKeys, Settings, TakesFirst, Wait, WaitsFor,
};

/// Some elements of a list, as they travel.
pub(super) type Elements = Vec<Vec<u8>>;

/// What reading an end of a list finds; none where there is no list.
pub(super) type Taken = Result<Option<Elements>, CommandError>;

/// Up to `most` elements of a list from one end on.
pub(super) fn peek_end(key: &KeyRead<'_>, side: Side, most: u64) -> Taken {
    let Some(entry) = key.peek() else { return Ok(None) };
    let list = ListRef::of(&entry).ok_or(CommandError::WRONG_TYPE)?;
    Ok(Some(elements_of(list, side, most)))
}

fn elements_of(list: ListRef<'_>, side: Side, most: u64) -> Elements {
    let mut digits = Digits::default();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let elements = list.iter_end(side).take(most);
    elements.map(|content| content.as_text(&mut digits).to_vec()).collect()
}

/// A key on its shard, to be changed.
type Place<'a> = (&'a mut Keyspace, DatabaseId, &'a Key<'a>);

pub(super) fn pop(place: Place<'_>, (side, count): (Side, usize)) {
    let events = if side == Side::Front { event::LPOP } else { event::RPOP };
    pop_as(place, (side, count), events);
}

pub(super) fn pop_as((keyspace, id, key): Place<'_>, (side, count): (Side, usize), events: Events) {
    let change = ListChange::Pop { side, count: count as u64 };
    keyspace.edit(id, key).as_event(events).commit(Effect::List(change));
}

/// Puts elements at one end; they come to lie there in their order.
pub(super) fn put(place: Place<'_>, side: Side, elements: &[Vec<u8>]) {
    let events = if side == Side::Front { event::LPUSH } else { event::RPUSH };
    put_as(place, (side, elements), events);
}

pub(super) fn put_as(
    (keyspace, id, key): Place<'_>,
    (side, elements): (Side, &[Vec<u8>]),
    events: Events,
) {
    let mut pushed: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
    if side == Side::Front {
        pushed.reverse();
    }
    let elements = Strings::from(&pushed[..]);
    let change = ListChange::Push { side, elements };
    keyspace.edit(id, key).as_event(events).commit(Effect::List(change));
}

pub(super) fn write_all(reply: &mut Reply<'_>, elements: &[Vec<u8>]) {
    reply.array(elements.len());
    elements.iter().for_each(|element| reply.bulk(element));
}

/// How a command that takes elements asks for them, and replies with a key and what was taken of it.
pub(super) trait Pop {
    /// The side and the number of elements.
    fn parse(args: &[&[u8]]) -> Result<(Side, u64), CommandError>;
    fn write(reply: &mut Reply<'_>, key: &[u8], elements: &[Vec<u8>]);
}

/// Takes elements from the first of the keys that has any; leaves no reply if none has.
pub(super) struct PopFirst<P>(std::marker::PhantomData<P>);

impl<P: Pop> OverKeys for PopFirst<P> {
    type Found = Taken;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        P::parse(args).map(drop)
    }

    fn read(key: KeyRead<'_>) -> Taken {
        let (side, count) = P::parse(key.args)?;
        peek_end(&key, side, count)
    }

    fn decide(found: Vec<Taken>, decision: &mut Decision<'_, '_>) -> Outcome {
        let (side, _) = P::parse(decision.args)?;
        for (index, elements) in found.into_iter().enumerate() {
            let Some(elements) = elements? else { continue };
            P::write(decision.reply, decision.keys[index], &elements);
            decision.write(index, move |keyspace, id, key| {
                pop((keyspace, id, key), (side, elements.len()));
            });
            return Ok(());
        }
        Ok(())
    }
}

fn write_several(reply: &mut Reply<'_>, key: &[u8], elements: &[Vec<u8>]) {
    reply.array(2);
    reply.bulk(key);
    write_all(reply, elements);
}

/// LMPOP.
pub(super) struct PopMany;

impl TakesFirst for PopMany {
    type Taken = (Side, Elements);

    fn check(args: &[&[u8]]) -> Outcome {
        parse_list_pop(&args[1..]).map(drop)
    }

    fn len(entry: &Entry) -> Result<usize, CommandError> {
        Ok(ListRef::of(entry).ok_or(CommandError::WRONG_TYPE)?.len())
    }

    fn copy(entry: &Entry, args: &[&[u8]]) -> Result<Self::Taken, CommandError> {
        let ListPop { side, count, .. } = parse_list_pop(&args[1..])?;
        let list = ListRef::of(entry).ok_or(CommandError::WRONG_TYPE)?;
        Ok((side, elements_of(list, side, count)))
    }

    fn reply((_, elements): &Self::Taken, key: &[u8], reply: &mut Reply<'_>) {
        write_several(reply, key, elements);
    }

    fn remove((side, elements): &Self::Taken, place: Place<'_>) {
        pop(place, (*side, elements.len()));
    }
}

/// BLMPOP.
pub(super) struct BlockingPopMany;

impl Pop for BlockingPopMany {
    fn parse(args: &[&[u8]]) -> Result<(Side, u64), CommandError> {
        let ListPop { side, count, .. } = parse_blocking_multi_pop(args)?.request;
        Ok((side, count))
    }

    fn write(reply: &mut Reply<'_>, key: &[u8], elements: &[Vec<u8>]) {
        write_several(reply, key, elements);
    }
}

/// BLPOP, and BRPOP with `BACK`.
pub(super) struct BlockingPop<const BACK: bool>;

impl<const BACK: bool> Pop for BlockingPop<BACK> {
    fn parse(args: &[&[u8]]) -> Result<(Side, u64), CommandError> {
        parse_blocking_pop(args)?;
        Ok((if BACK { Side::Back } else { Side::Front }, 1))
    }

    fn write(reply: &mut Reply<'_>, key: &[u8], elements: &[Vec<u8>]) {
        reply.array(2);
        reply.bulk(key);
        reply.bulk(&elements[0]);
    }
}

fn wait_for_lists(key_count: usize, timeout_ms: Option<u64>) -> Wait {
    Wait { key_count, waits_for: WaitsFor::Value(Kind::List), least: 1, timeout_ms }
}

pub(super) const POP: Blocking = Blocking {
    wait: |args, _| {
        let WithTimeout { request: keys, timeout_ms } = parse_blocking_pop(args).ok()?;
        Some(wait_for_lists(keys.len(), timeout_ms))
    },
    nothing: |reply| reply.null_array(),
};

pub(super) const POP_MANY: Blocking = Blocking {
    wait: |args, _| {
        let WithTimeout { request, timeout_ms } = parse_blocking_multi_pop(args).ok()?;
        Some(wait_for_lists(request.keys.len(), timeout_ms))
    },
    nothing: |reply| reply.null_array(),
};
