//! Lists: sequences of elements.

mod between;
mod blocking;
mod change;
mod pop;
mod push;
mod read;
mod several;
mod take;

use basalt_keyspace::{Entry, ListRef, Side};

use crate::args::integer;
use crate::argument::Argument;
use crate::command::{Categories, Command, Group};
use crate::error::CommandError;

pub use blocking::{WithTimeout, parse_blocking_pop};

pub(crate) const COMMANDS: &[Command] = &[
    blocking::BLMOVE,
    several::BLMOVEM,
    blocking::BLMPOP,
    blocking::BLPOP,
    blocking::BRPOP,
    blocking::BRPOPLPUSH,
    read::LINDEX,
    change::LINSERT,
    read::LLEN,
    between::LMOVE,
    several::LMOVEM,
    between::LMPOP,
    pop::LPOP,
    read::LPOS,
    push::LPUSH,
    push::LPUSHX,
    read::LRANGE,
    change::LREM,
    change::LSET,
    change::LTRIM,
    pop::RPOP,
    between::RPOPLPUSH,
    push::RPUSH,
    push::RPUSHX,
];

/// The common part of this family's rows.
const ROW: Command = Command { group: Group::List, also: Categories::LIST, ..Command::ROW };

/// LEFT or RIGHT, as in Redis' documentation.
const LEFT_OR_RIGHT: &[Argument] =
    &[Argument::word("left", "LEFT"), Argument::word("right", "RIGHT")];

/// The list of an entry; `None` without an entry, an error for another type.
#[inline]
fn list(entry: Option<&Entry>) -> Result<Option<ListRef<'_>>, CommandError> {
    entry.map(|entry| ListRef::of(entry).ok_or(CommandError::WRONG_TYPE)).transpose()
}

/// Parses LEFT or RIGHT.
fn side(word: &[u8]) -> Result<Side, CommandError> {
    if word.eq_ignore_ascii_case(b"left") {
        Ok(Side::Front)
    } else if word.eq_ignore_ascii_case(b"right") {
        Ok(Side::Back)
    } else {
        Err(CommandError::SYNTAX)
    }
}

/// The 0-based index of an index argument, of which -1 is the last; `None` outside of the list.
fn place(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(len as i64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

/// The range of elements between two index arguments, both included, as far as they exist.
fn range(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let from_front = |index: i64| if index < 0 { index + len as i64 } else { index };
    let start = usize::try_from(from_front(start)).unwrap_or(0);
    let end = usize::try_from(from_front(stop)).map_or(0, |stop| stop.saturating_add(1).min(len));
    if start < end { start..end } else { 0..0 }
}

/// Parses two index arguments.
fn start_and_stop(args: &[&[u8]]) -> Result<(i64, i64), CommandError> {
    Ok((integer(args[2])?, integer(args[3])?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::assert_documented;

    #[test]
    fn options_are_documented() {
        assert_documented(&read::LPOS_OPTIONS, &read::LPOS);
        assert_documented(&between::POP_OPTIONS, &between::LMPOP);
    }

    #[test]
    fn ranges_stay_within_the_list() {
        assert_eq!(range(0, -1, 3), 0..3);
        assert_eq!(range(-2, 99, 3), 1..3);
        assert_eq!(range(-99, 0, 3), 0..1);
        assert_eq!(range(i64::MIN, i64::MAX, 3), 0..3);
        for (start, stop) in [(2, 1), (3, 9), (0, -4), (i64::MAX, i64::MIN)] {
            assert!(range(start, stop, 3).is_empty(), "{start} {stop}");
        }
        assert_eq!(
            [place(0, 2), place(-1, 2), place(2, 2), place(-3, 2)],
            [Some(0), Some(1), None, None]
        );
        assert_eq!(place(i64::MIN, 2), None);
    }
}
