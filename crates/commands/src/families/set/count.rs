//! The sizes of unions, intersections and differences of sets.

use basalt_resp::parse_i64;

use super::algebra::ALGEBRA_ROW;
use super::combine::{Answer, Counted, Diff, Inter, Operation, SetRequest, Union, row};
use crate::argument::Argument;
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

const NUMKEYS: Argument = Argument::integer("numkeys");
const LIMIT: Argument = Argument::integer("limit").after("LIMIT").optional();

const COUNT_ROW: Command = Command {
    arity: -3,
    flags: Flags::READONLY.or(Flags::MOVABLE_KEYS),
    tips: &[],
    keys: &[KeySpec::counted(1, 1, &["RO", "access"])],
    arguments: &[NUMKEYS, Argument::KEYS, LIMIT],
    ..ALGEBRA_ROW
};

pub(super) const SINTERCARD: Command = Command {
    name: "sintercard",
    since: "7.0.0",
    summary: "Returns the size of the intersection of sets, counted up to a limit.",
    complexity: "O(N*M) for N members of the smallest of M sets",
    run: Run::Many(&const { row::<Inter, Counted>() }),
    shows: r#"> SADD odd 1 3 5 7
(integer) 4
> SADD prime 2 3 5 7
(integer) 4
> SINTERCARD 2 odd prime
(integer) 3
> SINTERCARD 2 odd prime LIMIT 2
(integer) 2
> SINTERCARD 2 odd prime LIMIT 0
(integer) 3
> SINTERCARD 0 odd
(error) ERR numkeys should be greater than 0
> SINTERCARD 3 odd prime
(error) ERR Number of keys can't be greater than number of args
> SINTERCARD 1 odd LIMIT -1
(error) ERR LIMIT can't be negative
"#,
    ..COUNT_ROW
};

pub(super) const SUNIONCARD: Command = Command {
    name: "sunioncard",
    since: "8.10.0",
    summary: "Returns the size of the union of sets, counted up to a limit.",
    arguments: &[NUMKEYS, Argument::KEYS, Argument::word("approx", "APPROX").optional(), LIMIT],
    run: Run::Many(&const { row::<Union, Counted>() }),
    shows: r#"> SADD odd 1 3 5 7
(integer) 4
> SADD prime 2 3 5 7
(integer) 4
@only ours
> SUNIONCARD 2 odd prime
(integer) 5
> SUNIONCARD 2 odd prime LIMIT 3
(integer) 3
> SUNIONCARD 2 odd absent APPROX
(integer) 4
> SUNIONCARD 3 odd prime
(error) ERR Number of keys can't be greater than number of args
"#,
    ..COUNT_ROW
};

pub(super) const SDIFFCARD: Command = Command {
    name: "sdiffcard",
    since: "8.10.0",
    summary: "Returns how many members of the first set are in none of the others, counted up to a limit.",
    run: Run::Many(&const { row::<Diff, Counted>() }),
    shows: r#"> SADD odd 1 3 5 7
(integer) 4
> SADD prime 2 3 5 7
(integer) 4
@only ours
> SDIFFCARD 2 odd prime
(integer) 1
> SDIFFCARD 2 odd absent LIMIT 2
(integer) 2
> SDIFFCARD 1 absent
(integer) 0
> SDIFFCARD 0 odd
(error) ERR numkeys should be greater than 0
"#,
    ..COUNT_ROW
};

/// Parses the number of keys, the keys, and the limit. Options that permit an approximation are
/// accepted, but the result is exact.
pub(super) fn parse_count(
    args: &[&[u8]],
    operation: Operation,
) -> Result<SetRequest, CommandError> {
    let count = parse_i64(args[1]).and_then(|count| usize::try_from(count).ok());
    let count = count.filter(|count| *count > 0);
    let count = count.ok_or(CommandError::text("ERR numkeys should be greater than 0"))?;
    if count > args.len() - 2 {
        let text = "ERR Number of keys can't be greater than number of args";
        return Err(CommandError::text(text));
    }
    let sources = 2..2 + count;
    let mut limit = 0;
    let mut options = args[sources.end..].iter();
    while let Some(word) = options.next() {
        if operation == Operation::Union && word.eq_ignore_ascii_case(b"approx") {
            continue;
        }
        let value = options.next().filter(|_| word.eq_ignore_ascii_case(b"limit"));
        let value = parse_i64(value.ok_or(CommandError::SYNTAX)?);
        let value = value.and_then(|value| usize::try_from(value).ok());
        limit = value.ok_or(CommandError::text("ERR LIMIT can't be negative"))?;
    }
    let limit = if limit == 0 { usize::MAX } else { limit };
    Ok(SetRequest { operation, sources, answer: Answer::Count { limit } })
}
