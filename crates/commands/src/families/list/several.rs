//! Moves of elements from one list to another, of several at once too.

use basalt_keyspace::{DatabaseId, Key, Keyspace, Kind, ListRef, Side, event};
use basalt_resp::Reply;

use super::between::{FROM_AND_TO, Sides, above_zero, parse_list_move};
use super::blocking::{WithTimeout, parse_blocking_move};
use super::take::{Elements, Taken, peek_end, pop, pop_as, put, put_as, write_all};
use super::{LEFT_OR_RIGHT, ROW};
use crate::args::timeout_ms;
use crate::argument::Argument;
use crate::call::Outcome;
use crate::command::{Command, Flags, Run};
use crate::error::CommandError;
use crate::many_keys::{Blocking, Decision, KeyRead, ManyKeys, OverKeys, Settings, Wait, WaitsFor};

/// `COUNT|EXACTLY number OBO|BULK`: both or neither.
const HOW_MANY: Argument = Argument::block(
    "how-many",
    &[
        Argument::one_of(
            "selector",
            &[
                Argument::integer("count").after("COUNT"),
                Argument::integer("exactly").after("EXACTLY"),
            ],
        ),
        Argument::one_of(
            "ordering",
            &[Argument::word("obo", "OBO"), Argument::word("bulk", "BULK")],
        ),
    ],
)
.optional();

pub(super) const LMOVEM: Command = Command {
    name: "lmovem",
    since: "8.10.0",
    summary: "Moves several elements from one end of a list to one end of the same or another list, and returns them.",
    complexity: "O(N) for N elements moved",
    arity: -5,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: FROM_AND_TO,
    arguments: &[
        Argument::key("source", 0),
        Argument::key("destination", 1),
        Argument::one_of("wherefrom", LEFT_OR_RIGHT),
        Argument::one_of("whereto", LEFT_OR_RIGHT),
        HOW_MANY,
    ],
    run: Run::Many(&const { ManyKeys::of::<MoveSeveral>() }),
    shows: r#"@skip-oracle a command of Redis 8.10
> RPUSH todo a b c d e
(integer) 5
> LMOVEM todo done LEFT LEFT COUNT 2 OBO
1) "b"
2) "a"
> LMOVEM todo done LEFT LEFT COUNT 2 BULK
1) "c"
2) "d"
> LRANGE done 0 -1
1) "c"
2) "d"
3) "b"
4) "a"
> LMOVEM todo done RIGHT RIGHT EXACTLY 2 BULK
(nil)
> LMOVEM todo done RIGHT RIGHT
1) "e"
> LMOVEM todo done RIGHT RIGHT COUNT 9 OBO
(nil)
> LMOVEM done done LEFT RIGHT COUNT 3 BULK
1) "c"
2) "d"
3) "b"
> LRANGE done 0 -1
1) "a"
2) "e"
3) "c"
4) "d"
5) "b"
> LMOVEM done todo LEFT LEFT COUNT 0 OBO
(error) ERR count should be greater than 0
> LMOVEM done todo LEFT LEFT COUNT 2
(error) ERR syntax error
"#,
    ..ROW
};

pub(super) const BLMOVEM: Command = Command {
    name: "blmovem",
    since: "8.10.0",
    summary: "Moves several elements from one end of a list to one end of a list; waits until there are enough.",
    complexity: "O(N) for N elements moved",
    arity: -6,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::BLOCKING),
    keys: FROM_AND_TO,
    arguments: &[
        Argument::key("source", 0),
        Argument::key("destination", 1),
        Argument::one_of("wherefrom", LEFT_OR_RIGHT),
        Argument::one_of("whereto", LEFT_OR_RIGHT),
        Argument::double("timeout"),
        HOW_MANY,
    ],
    run: Run::Many(&const { ManyKeys::of::<BlockingMoveSeveral>().blocking(MOVE_SEVERAL) }),
    shows: r#"@skip-oracle a command of Redis 8.10
> RPUSH todo a b c
(integer) 3
> BLMOVEM todo done LEFT RIGHT 0 EXACTLY 2 BULK
1) "a"
2) "b"
> BLMOVEM todo done LEFT RIGHT 0
1) "c"
> LRANGE done 0 -1
1) "a"
2) "b"
3) "c"
> BLMOVEM todo done LEFT RIGHT soon EXACTLY 2 BULK
(error) ERR timeout is not a float or out of range
"#,
    ..ROW
};

/// The order of several moved elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MoveOrder {
    /// As if they were moved one after the other.
    OneByOne,
    /// As in the source.
    Bulk,
}

/// A parsed LMOVEM or BLMOVEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListMove {
    pub sides: Sides,
    /// Nothing is moved if there are fewer.
    pub least: u64,
    pub most: u64,
    pub order: MoveOrder,
}

impl ListMove {
    /// A single element.
    pub(super) fn one(sides: Sides) -> Self {
        Self { sides, least: 1, most: 1, order: MoveOrder::Bulk }
    }

    /// Parses the arguments from the sides on, of which the rest has the count.
    fn parse(args: &[&[u8]], how_many: &[&[u8]]) -> Result<Self, CommandError> {
        let one = Self::one(parse_list_move(args)?);
        let [selector, number, order] = how_many else {
            return if how_many.is_empty() { Ok(one) } else { Err(CommandError::SYNTAX) };
        };
        let is = |word: &[u8], text: &str| word.eq_ignore_ascii_case(text.as_bytes());
        let is_exact = is(selector, "exactly");
        if !is_exact && !is(selector, "count") {
            return Err(CommandError::SYNTAX);
        }
        let order = match order {
            word if is(word, "obo") => MoveOrder::OneByOne,
            word if is(word, "bulk") => MoveOrder::Bulk,
            _ => return Err(CommandError::SYNTAX),
        };
        let most = above_zero(number, "ERR count should be greater than 0")?;
        Ok(Self { least: if is_exact { most } else { 1 }, most, order, ..one })
    }
}

/// Parses LMOVEM's arguments.
pub(super) fn parse_list_move_many(args: &[&[u8]]) -> Result<ListMove, CommandError> {
    ListMove::parse(args, &args[5..])
}

/// Parses BLMOVEM's arguments.
pub(super) fn parse_blocking_move_many(
    args: &[&[u8]],
) -> Result<WithTimeout<ListMove>, CommandError> {
    let request = ListMove::parse(args, &args[6..])?;
    Ok(WithTimeout { request, timeout_ms: timeout_ms(args[5])? })
}

const SOURCE: usize = 0;
const TARGET: usize = 1;

/// What is to be moved of the source; of the target whether it may be.
fn read_to_move(key: &KeyRead<'_>, request: ListMove) -> Taken {
    let most = if key.index == SOURCE { request.most } else { 0 };
    peek_end(key, request.sides.from, most)
}

/// Takes the elements that were found from the first key to the second, and replies with them as they lie there;
/// leaves no reply where there are too few.
fn decide_move(
    request: ListMove,
    found: Vec<Taken>,
    decision: &mut Decision<'_, '_>,
    answer: fn(&mut Reply<'_>, &[Vec<u8>]),
) -> Outcome {
    let ListMove { sides, least, order, .. } = request;
    let Ok([source, target]) = <[Taken; 2]>::try_from(found) else {
        unreachable!("a move has two keys")
    };
    let Some(mut elements) = source?.filter(|found| found.len() as u64 >= least) else {
        return Ok(());
    };
    target?;
    // They were found in the order in which they are taken.
    let is_turned = match order {
        MoveOrder::OneByOne => sides.to == Side::Front,
        MoveOrder::Bulk => sides.from == Side::Back,
    };
    if is_turned {
        elements.reverse();
    }
    answer(decision.reply, &elements);
    if decision.keys[SOURCE] == decision.keys[TARGET] {
        decision.write(SOURCE, move |keyspace, id, key| {
            put_elsewhere((keyspace, id, key), sides, &elements);
        });
    } else {
        let count = elements.len();
        decision
            .write(SOURCE, move |keyspace, id, key| pop((keyspace, id, key), (sides.from, count)));
        decision.write(TARGET, move |keyspace, id, key| {
            put((keyspace, id, key), sides.to, &elements);
        });
    }
    Ok(())
}

/// Moves elements within a list. One that moves as a whole is never empty in between, so that it keeps its
/// time to live.
fn put_elsewhere(
    (keyspace, id, key): (&mut Keyspace, DatabaseId, &Key<'_>),
    sides: Sides,
    elements: &Elements,
) {
    let Sides { from, to } = sides;
    let events = match (to, from) {
        (Side::Front, Side::Front) => event::LPUSH_LPOP,
        (Side::Front, Side::Back) => event::LPUSH_RPOP,
        (Side::Back, Side::Front) => event::RPUSH_LPOP,
        (Side::Back, Side::Back) => event::RPUSH_RPOP,
    };
    let list_len = keyspace.peek(id, key).and_then(|entry| ListRef::of(&entry).map(ListRef::len));
    let count = elements.len();
    if list_len == Some(count) {
        let behind = if from == Side::Front { Side::Back } else { Side::Front };
        put_as((keyspace, id, key), (behind, elements), event::NONE);
        pop_as((keyspace, id, key), (from, count), events);
    } else {
        pop_as((keyspace, id, key), (from, count), event::NONE);
        put_as((keyspace, id, key), (to, elements), events);
    }
}

fn write_only(reply: &mut Reply<'_>, elements: &[Vec<u8>]) {
    reply.bulk(&elements[0]);
}

/// LMOVE and RPOPLPUSH.
pub(super) struct MoveOne;

impl OverKeys for MoveOne {
    type Found = Taken;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        parse_list_move(args).map(drop)
    }

    fn read(key: KeyRead<'_>) -> Taken {
        read_to_move(&key, ListMove::one(parse_list_move(key.args)?))
    }

    fn decide(found: Vec<Taken>, decision: &mut Decision<'_, '_>) -> Outcome {
        let request = ListMove::one(parse_list_move(decision.args)?);
        let start = decision.reply.position();
        decide_move(request, found, decision, write_only)?;
        if decision.reply.position() == start {
            decision.reply.null();
        }
        Ok(())
    }
}

/// BLMOVE and BRPOPLPUSH.
pub(super) struct BlockingMoveOne;

impl OverKeys for BlockingMoveOne {
    type Found = Taken;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        parse_blocking_move(args).map(drop)
    }

    fn read(key: KeyRead<'_>) -> Taken {
        read_to_move(&key, ListMove::one(parse_blocking_move(key.args)?.request))
    }

    fn decide(found: Vec<Taken>, decision: &mut Decision<'_, '_>) -> Outcome {
        let request = ListMove::one(parse_blocking_move(decision.args)?.request);
        decide_move(request, found, decision, write_only)
    }
}

pub(super) const MOVE_ONE: Blocking = Blocking {
    wait: |args, _| {
        let WithTimeout { timeout_ms, .. } = parse_blocking_move(args).ok()?;
        Some(wait_for_source(1, timeout_ms))
    },
    nothing: |reply| reply.null(),
};

/// LMOVEM.
pub(super) struct MoveSeveral;

impl OverKeys for MoveSeveral {
    type Found = Taken;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        parse_list_move_many(args).map(drop)
    }

    fn read(key: KeyRead<'_>) -> Taken {
        read_to_move(&key, parse_list_move_many(key.args)?)
    }

    fn decide(found: Vec<Taken>, decision: &mut Decision<'_, '_>) -> Outcome {
        let start = decision.reply.position();
        decide_move(parse_list_move_many(decision.args)?, found, decision, write_all)?;
        if decision.reply.position() == start {
            decision.reply.null_array();
        }
        Ok(())
    }
}

/// BLMOVEM.
struct BlockingMoveSeveral;

impl OverKeys for BlockingMoveSeveral {
    type Found = Taken;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        parse_blocking_move_many(args).map(drop)
    }

    fn read(key: KeyRead<'_>) -> Taken {
        read_to_move(&key, parse_blocking_move_many(key.args)?.request)
    }

    fn decide(found: Vec<Taken>, decision: &mut Decision<'_, '_>) -> Outcome {
        let WithTimeout { request, .. } = parse_blocking_move_many(decision.args)?;
        decide_move(request, found, decision, write_all)
    }
}

const MOVE_SEVERAL: Blocking = Blocking {
    wait: |args, _| {
        let WithTimeout { request, timeout_ms } = parse_blocking_move_many(args).ok()?;
        Some(wait_for_source(request.least, timeout_ms))
    },
    nothing: |reply| reply.null_array(),
};

fn wait_for_source(least: u64, timeout_ms: Option<u64>) -> Wait {
    Wait { key_count: 1, waits_for: WaitsFor::Value(Kind::List), least, timeout_ms }
}
