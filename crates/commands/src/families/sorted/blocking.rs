//! The arguments of commands that wait for a sorted set.

use super::remove::{MpopRequest, parse_zmpop};
use super::take::{self, BlockingPop, BlockingPopMany, SortedEnd};
use super::{MIN_OR_MAX, ROW};
use crate::args::timeout_ms;
use crate::argument::Argument;
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::list::WithTimeout;
use crate::many_keys::{First, ManyKeys};

const TAKES: &[&str] = &["RW", "access", "delete"];

/// The common part of BZPOPMIN's and BZPOPMAX' rows.
const POP: Command = Command {
    since: "5.0.0",
    complexity: "O(log(N)) for N members",
    arity: -3,
    flags: Flags::WRITE.or(Flags::FAST).or(Flags::BLOCKING),
    keys: &[KeySpec { last: -2, ..KeySpec::all(1, TAKES) }],
    arguments: &[Argument::KEYS, Argument::double("timeout")],
    ..ROW
};

pub(super) const BZPOPMIN: Command = Command {
    name: "bzpopmin",
    summary: "Removes and returns the member with the lowest score of the first non-empty sorted set; waits while all are empty.",
    run: Run::Many(&const { pop::<BlockingPop<false>>().blocking(take::POP) }),
    shows: r#"> ZADD race 12.5 ann 9 bob
(integer) 2
@resp 2
> BZPOPMIN absent race 0
1) "race"
2) "bob"
3) "9"
@resp 3
> BZPOPMIN absent race 0
1) "race"
2) "bob"
3) (double) 9
@resp any
> BZPOPMIN race -1
(error) ERR timeout is negative
> BZPOPMIN race soon
(error) ERR timeout is not a float or out of range
"#,
    ..POP
};

pub(super) const BZPOPMAX: Command = Command {
    name: "bzpopmax",
    summary: "Removes and returns the member with the highest score of the first non-empty sorted set; waits while all are empty.",
    run: Run::Many(&const { pop::<BlockingPop<true>>().blocking(take::POP) }),
    shows: r#"> ZADD race 12.5 ann 9 bob
(integer) 2
@resp 2
> BZPOPMAX race 0
1) "race"
2) "ann"
3) "12.5"
@resp 3
> BZPOPMAX race 0
1) "race"
2) "ann"
3) (double) 12.5
@resp any
> SET text value
OK
> BZPOPMAX absent text 0
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..POP
};

pub(super) const BZMPOP: Command = Command {
    name: "bzmpop",
    since: "7.0.0",
    summary: "Removes and returns members of the first non-empty sorted set; waits while all are empty.",
    complexity: "O(K)+O(M*log(N)) for K keys and M of N members",
    arity: -5,
    flags: Flags::WRITE.or(Flags::BLOCKING).or(Flags::MOVABLE_KEYS),
    keys: &[KeySpec::counted(2, 1, TAKES)],
    arguments: &[
        Argument::double("timeout"),
        Argument::integer("numkeys"),
        Argument::KEYS,
        Argument::one_of("where", MIN_OR_MAX),
        Argument::integer("count").after("COUNT").optional(),
    ],
    run: Run::Many(&const { pop::<BlockingPopMany>().blocking(take::POP_MANY) }),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
@resp 2
> BZMPOP 0 2 absent race MAX COUNT 2
1) "race"
2) 1) 1) "ann"
      2) "12.5"
   2) 1) "eve"
      2) "11"
@resp 3
> BZMPOP 0 2 absent race MAX COUNT 2
1) "race"
2) 1) 1) "ann"
      2) (double) 12.5
   2) 1) "eve"
      2) (double) 11
@resp any
> BZMPOP soon 0 race MIN
(error) ERR numkeys should be greater than 0
> BZMPOP soon 1 race MIDDLE
(error) ERR syntax error
> BZMPOP soon 1 race MIN
(error) ERR timeout is not a float or out of range
"#,
    ..ROW
};

/// How these rows run.
const fn pop<P: take::Pop>() -> ManyKeys {
    ManyKeys::in_rounds::<First<SortedEnd<P>>>()
}

/// Parses BZMPOP's arguments.
pub(super) fn parse_blocking_zmpop<'a>(
    args: &'a [&'a [u8]],
) -> Result<WithTimeout<MpopRequest<'a>>, CommandError> {
    Ok(WithTimeout { request: parse_zmpop(&args[2..])?, timeout_ms: timeout_ms(args[1])? })
}
