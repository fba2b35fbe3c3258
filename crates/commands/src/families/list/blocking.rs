//! The arguments of commands that wait for a list.

use super::between::{FROM_AND_TO, ListPop, Sides, parse_list_move, parse_list_pop};
use super::several::{BlockingMoveOne, MOVE_ONE};
use super::take::{self, BlockingPop, BlockingPopMany, ListEnd};
use super::{LEFT_OR_RIGHT, ROW};
use crate::args::timeout_ms;
use crate::argument::Argument;
use crate::command::{Command, Deprecated, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::many_keys::{First, ManyKeys};

const TAKES: &[&str] = &["RW", "access", "delete"];

/// The common part of BLPOP's and BRPOP's rows.
const POP: Command = Command {
    since: "2.0.0",
    complexity: "O(N) for N keys",
    arity: -3,
    flags: Flags::WRITE.or(Flags::BLOCKING),
    keys: &[KeySpec { last: -2, ..KeySpec::all(1, TAKES) }],
    arguments: &[Argument::KEYS, Argument::double("timeout")],
    ..ROW
};

pub(super) const BLPOP: Command = Command {
    name: "blpop",
    summary: "Removes and returns the first element of the first non-empty list; waits while all are empty.",
    run: Run::Many(
        &const { ManyKeys::in_rounds::<First<ListEnd<BlockingPop<false>>>>().blocking(take::POP) },
    ),
    shows: r#"> RPUSH letters a b
(integer) 2
> BLPOP absent letters 0
1) "letters"
2) "a"
> BLPOP letters -1
(error) ERR timeout is negative
> BLPOP letters soon
(error) ERR timeout is not a float or out of range
"#,
    ..POP
};

pub(super) const BRPOP: Command = Command {
    name: "brpop",
    summary: "Removes and returns the last element of the first non-empty list; waits while all are empty.",
    run: Run::Many(
        &const { ManyKeys::in_rounds::<First<ListEnd<BlockingPop<true>>>>().blocking(take::POP) },
    ),
    shows: r#"> RPUSH letters a b
(integer) 2
> BRPOP letters 0
1) "letters"
2) "b"
> SET text value
OK
> BRPOP absent text 0
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..POP
};

pub(super) const BLMOVE: Command = Command {
    name: "blmove",
    since: "6.2.0",
    summary: "Moves an element from one end of a list to one end of a list and returns it; waits while the source is empty.",
    arity: 6,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::BLOCKING),
    keys: FROM_AND_TO,
    arguments: &[
        Argument::key("source", 0),
        Argument::key("destination", 1),
        Argument::one_of("wherefrom", LEFT_OR_RIGHT),
        Argument::one_of("whereto", LEFT_OR_RIGHT),
        Argument::double("timeout"),
    ],
    run: Run::Many(&const { ManyKeys::of::<BlockingMoveOne>().blocking(MOVE_ONE) }),
    shows: r#"> RPUSH todo a b
(integer) 2
> BLMOVE todo done LEFT RIGHT 0
"a"
> LRANGE done 0 -1
1) "a"
> BLMOVE todo done UP DOWN soon
(error) ERR syntax error
"#,
    ..ROW
};

pub(super) const BRPOPLPUSH: Command = Command {
    name: "brpoplpush",
    since: "2.2.0",
    summary: "Moves the last element of a list to the head of a list and returns it; waits while the source is empty.",
    arity: 4,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::BLOCKING),
    keys: FROM_AND_TO,
    arguments: &[
        Argument::key("source", 0),
        Argument::key("destination", 1),
        Argument::double("timeout"),
    ],
    deprecated: Some(Deprecated {
        since: "6.2.0",
        replaced_by: "`BLMOVE` with the `RIGHT` and `LEFT` arguments",
    }),
    run: Run::Many(&const { ManyKeys::of::<BlockingMoveOne>().blocking(MOVE_ONE) }),
    shows: r#"> RPUSH todo a b
(integer) 2
> BRPOPLPUSH todo done 0
"b"
> LRANGE done 0 -1
1) "b"
"#,
    ..ROW
};

pub(super) const BLMPOP: Command = Command {
    name: "blmpop",
    since: "7.0.0",
    summary: "Removes and returns elements of the first non-empty list; waits while all are empty.",
    complexity: "O(N+M) for N keys and M elements",
    arity: -5,
    flags: Flags::WRITE.or(Flags::BLOCKING).or(Flags::MOVABLE_KEYS),
    keys: &[KeySpec::counted(2, 1, TAKES)],
    arguments: &[
        Argument::double("timeout"),
        Argument::integer("numkeys"),
        Argument::KEYS,
        Argument::one_of("where", LEFT_OR_RIGHT),
        Argument::integer("count").after("COUNT").optional(),
    ],
    run: Run::Many(
        &const { ManyKeys::in_rounds::<First<ListEnd<BlockingPopMany>>>().blocking(take::POP_MANY) },
    ),
    shows: r#"> RPUSH letters a b c
(integer) 3
> BLMPOP 0 2 absent letters LEFT COUNT 2
1) "letters"
2) 1) "a"
   2) "b"
> BLMPOP soon 0 letters LEFT
(error) ERR numkeys should be greater than 0
> BLMPOP soon 1 letters LEFT
(error) ERR timeout is not a float or out of range
"#,
    ..ROW
};

/// A request with its timeout in milliseconds; `None` is forever.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WithTimeout<T> {
    pub request: T,
    pub timeout_ms: Option<u64>,
}

/// Parses BLPOP's and BRPOP's arguments: the keys.
pub fn parse_blocking_pop<'a>(
    args: &'a [&'a [u8]],
) -> Result<WithTimeout<&'a [&'a [u8]]>, CommandError> {
    let (timeout, rest) = args.split_last().expect("because the arity is above two");
    Ok(WithTimeout { request: &rest[1..], timeout_ms: timeout_ms(timeout)? })
}

/// Parses BLMOVE's and BRPOPLPUSH's arguments.
pub(super) fn parse_blocking_move(args: &[&[u8]]) -> Result<WithTimeout<Sides>, CommandError> {
    let (timeout, rest) = args.split_last().expect("because the arity is above two");
    Ok(WithTimeout { request: parse_list_move(rest)?, timeout_ms: timeout_ms(timeout)? })
}

/// Parses BLMPOP's arguments.
pub(super) fn parse_blocking_multi_pop<'a>(
    args: &'a [&'a [u8]],
) -> Result<WithTimeout<ListPop<'a>>, CommandError> {
    Ok(WithTimeout { request: parse_list_pop(&args[2..])?, timeout_ms: timeout_ms(args[1])? })
}
