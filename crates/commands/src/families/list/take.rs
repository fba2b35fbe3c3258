//! Taking elements from the first list of several that has any, and what all that take elements share.

use std::marker::PhantomData;

use basalt_keyspace::{
    DatabaseId, Digits, Effect, Entry, Events, Key, Keyspace, Kind, ListChange, ListRef, Side,
    Strings, event,
};
use basalt_resp::Reply;

use super::between::{ListPop, parse_list_pop};
use super::blocking::{WithTimeout, parse_blocking_multi_pop, parse_blocking_pop};
use crate::call::Outcome;
use crate::error::CommandError;
use crate::many_keys::{Blocking, KeyRead, TakesFirst, Wait, WaitsFor};

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
    elements_within(list, (side, most), usize::MAX).expect("no list has more bytes")
}

/// As [`elements_of`], unless they take more than so many bytes.
fn elements_within(
    list: ListRef<'_>,
    (side, most): (Side, u64),
    bytes_max: usize,
) -> Option<Elements> {
    let (mut digits, mut left) = (Digits::default(), bytes_max);
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let elements = list.iter_end(side).take(most).map(|content| {
        let text = content.as_text(&mut digits);
        left = left.checked_sub(text.len() + size_of::<Vec<u8>>())?;
        Some(text.to_vec())
    });
    elements.collect()
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
pub(super) trait Pop: 'static {
    const WAITS: bool;

    /// The side and the number of elements.
    fn parse(args: &[&[u8]]) -> Result<(Side, u64), CommandError>;

    fn write(reply: &mut Reply<'_>, key: &[u8], elements: &[Vec<u8>]) {
        reply.array(2);
        reply.bulk(key);
        write_all(reply, elements);
    }
}

/// Takes elements from one end of the first list.
pub(super) struct ListEnd<P>(PhantomData<P>);

impl<P: Pop> TakesFirst for ListEnd<P> {
    type Taken = (Side, Elements);
    const WAITS: bool = P::WAITS;

    fn check(args: &[&[u8]]) -> Outcome {
        P::parse(args).map(drop)
    }

    fn len(entry: &Entry) -> Result<usize, CommandError> {
        Ok(ListRef::of(entry).ok_or(CommandError::WRONG_TYPE)?.len())
    }

    fn copy(
        entry: &Entry,
        args: &[&[u8]],
        bytes_max: usize,
    ) -> Result<Option<Self::Taken>, CommandError> {
        let (side, count) = P::parse(args)?;
        let list = ListRef::of(entry).ok_or(CommandError::WRONG_TYPE)?;
        Ok(elements_within(list, (side, count), bytes_max).map(|elements| (side, elements)))
    }

    fn reply((_, elements): &Self::Taken, key: &[u8], reply: &mut Reply<'_>) {
        P::write(reply, key, elements);
    }

    fn remove((side, elements): &Self::Taken, place: Place<'_>) {
        pop(place, (*side, elements.len()));
    }
}

/// LMPOP.
pub(super) struct PopMany;

impl Pop for PopMany {
    const WAITS: bool = false;

    fn parse(args: &[&[u8]]) -> Result<(Side, u64), CommandError> {
        let ListPop { side, count, .. } = parse_list_pop(&args[1..])?;
        Ok((side, count))
    }
}

/// BLMPOP.
pub(super) struct BlockingPopMany;

impl Pop for BlockingPopMany {
    const WAITS: bool = true;

    fn parse(args: &[&[u8]]) -> Result<(Side, u64), CommandError> {
        let ListPop { side, count, .. } = parse_blocking_multi_pop(args)?.request;
        Ok((side, count))
    }
}

/// BLPOP, and BRPOP with `BACK`.
pub(super) struct BlockingPop<const BACK: bool>;

impl<const BACK: bool> Pop for BlockingPop<BACK> {
    const WAITS: bool = true;

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
