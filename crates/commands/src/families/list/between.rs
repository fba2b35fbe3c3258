//! The arguments of commands over several lists, which may be on several shards.

use basalt_keyspace::Side;

use super::several::MoveOne;
use super::take::{ListEnd, PopMany};
use super::{LEFT_OR_RIGHT, ROW, side};
use crate::args::{Grammar, integer, value};
use crate::argument::Argument;
use crate::command::{Command, Deprecated, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::many_keys::{First, ManyKeys};

/// The keys of commands that move an element from one list to another.
pub(super) const FROM_AND_TO: &[KeySpec] =
    &[KeySpec::at(1, &["RW", "access", "delete"]), KeySpec::at(2, &["RW", "insert"])];

pub(super) const LMOVE: Command = Command {
    name: "lmove",
    since: "6.2.0",
    summary: "Moves an element from one end of a list to one end of the same or another list, and returns it.",
    arity: 5,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: FROM_AND_TO,
    arguments: &[
        Argument::key("source", 0),
        Argument::key("destination", 1),
        Argument::one_of("wherefrom", LEFT_OR_RIGHT),
        Argument::one_of("whereto", LEFT_OR_RIGHT),
    ],
    run: Run::Many(&const { ManyKeys::of::<MoveOne>() }),
    shows: r#"> RPUSH todo a b c
(integer) 3
> LMOVE todo done RIGHT LEFT
"c"
> LMOVE todo todo LEFT RIGHT
"a"
> LRANGE todo 0 -1
1) "b"
2) "a"
> LRANGE done 0 -1
1) "c"
> LMOVE absent done LEFT LEFT
(nil)
> SET text value
OK
> LMOVE todo text LEFT LEFT
(error) WRONGTYPE Operation against a key holding the wrong kind of value
> LMOVE todo done UP DOWN
(error) ERR syntax error
"#,
    ..ROW
};

pub(super) const RPOPLPUSH: Command = Command {
    name: "rpoplpush",
    since: "1.2.0",
    summary: "Moves the last element of a list to the head of the same or another list, and returns it.",
    arity: 3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: FROM_AND_TO,
    arguments: &[Argument::key("source", 0), Argument::key("destination", 1)],
    deprecated: Some(Deprecated {
        since: "6.2.0",
        replaced_by: "`LMOVE` with the `RIGHT` and `LEFT` arguments",
    }),
    run: Run::Many(&const { ManyKeys::of::<MoveOne>() }),
    shows: r#"> RPUSH todo a b
(integer) 2
> RPOPLPUSH todo done
"b"
> RPOPLPUSH todo done
"a"
> RPOPLPUSH todo done
(nil)
> LRANGE done 0 -1
1) "a"
2) "b"
"#,
    ..ROW
};

/// The ends of both lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sides {
    pub from: Side,
    pub to: Side,
}

/// The ends of LMOVE, RPOPLPUSH and the blocking ones: those with words have them at index 3.
pub(super) fn parse_list_move(args: &[&[u8]]) -> Result<Sides, CommandError> {
    match args {
        [_, _, _, from, to, ..] => Ok(Sides { from: side(from)?, to: side(to)? }),
        _ => Ok(Sides { from: Side::Back, to: Side::Front }),
    }
}

#[derive(Clone, Copy)]
pub(super) enum PopOption {
    Count,
}

pub(super) const POP_OPTIONS: Grammar<PopOption> =
    Grammar(&[value("count", PopOption::Count).of_choice(1).once()]);

pub(super) const LMPOP: Command = Command {
    name: "lmpop",
    since: "7.0.0",
    summary: "Removes elements from the first non-empty list of several, and returns its key and them.",
    complexity: "O(N+M) for N keys and M elements",
    arity: -4,
    flags: Flags::WRITE.or(Flags::MOVABLE_KEYS),
    keys: &[KeySpec::counted(1, 1, &["RW", "access", "delete"])],
    arguments: &[
        Argument::integer("numkeys"),
        Argument::KEYS,
        Argument::one_of("where", LEFT_OR_RIGHT),
        Argument::integer("count").after("COUNT").optional(),
    ],
    run: Run::Many(&const { ManyKeys::in_rounds::<First<ListEnd<PopMany>>>() }),
    shows: r#"> RPUSH letters a b c
(integer) 3
> LMPOP 2 absent letters LEFT
1) "letters"
2) 1) "a"
> LMPOP 2 absent letters RIGHT COUNT 5
1) "letters"
2) 1) "c"
   2) "b"
> LMPOP 2 absent letters LEFT
(nil)
> LMPOP 0 letters LEFT
(error) ERR numkeys should be greater than 0
> LMPOP 1 letters LEFT COUNT 0
(error) ERR count should be greater than 0
"#,
    ..ROW
};

/// A parsed LMPOP or BLMPOP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListPop<'a> {
    pub keys: &'a [&'a [u8]],
    pub side: Side,
    pub count: u64,
}

/// Parses LMPOP's arguments, from the number of keys on.
pub(super) fn parse_list_pop<'a>(args: &'a [&'a [u8]]) -> Result<ListPop<'a>, CommandError> {
    let number = above_zero(args[0], "ERR numkeys should be greater than 0")?;
    let number = usize::try_from(number).ok().filter(|number| args.len() - 1 > *number);
    let (keys, rest) = args[1..].split_at(number.ok_or(CommandError::SYNTAX)?);
    let side = side(rest[0])?;
    let mut count = 1;
    for option in POP_OPTIONS.parse(&rest[1..]) {
        let (PopOption::Count, values) = option?;
        count = above_zero(values[0], "ERR count should be greater than 0")?;
    }
    Ok(ListPop { keys, side, count })
}

pub(super) fn above_zero(text: &[u8], refusal: &'static str) -> Result<u64, CommandError> {
    let number = integer(text).ok().filter(|number| *number > 0);
    number.and_then(|number| u64::try_from(number).ok()).ok_or(CommandError::text(refusal))
}
