//! The arguments of LMOVEM and BLMOVEM, which move several elements.

use super::between::{FROM_AND_TO, Sides, above_zero, parse_list_move};
use super::blocking::Patient;
use super::{LEFT_OR_RIGHT, ROW};
use crate::args::timeout_ms;
use crate::argument::Argument;
use crate::command::{Command, Flags, Run, Verb};
use crate::error::CommandError;

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
    run: Run::Engine(Verb::ListMoveMany),
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
    run: Run::Engine(Verb::BlMoveM),
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
pub enum MoveOrder {
    /// As if they were moved one after the other.
    OneByOne,
    /// As in the source.
    Bulk,
}

/// A parsed LMOVEM or BLMOVEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListMove {
    pub sides: Sides,
    /// Nothing is moved if there are fewer.
    pub least: u64,
    pub most: u64,
    pub order: MoveOrder,
}

impl ListMove {
    /// A single element.
    pub fn one(sides: Sides) -> Self {
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
pub fn parse_list_move_many(args: &[&[u8]]) -> Result<ListMove, CommandError> {
    ListMove::parse(args, &args[5..])
}

/// Parses BLMOVEM's arguments.
pub fn parse_blocking_move_many(args: &[&[u8]]) -> Result<Patient<ListMove>, CommandError> {
    let request = ListMove::parse(args, &args[6..])?;
    Ok(Patient { request, timeout_ms: timeout_ms(args[5])? })
}
