//! Reads a list.

use basalt_keyspace::{Content, Digits, Side};

use super::{ROW, list, place, range, start_and_stop};
use crate::args::{Grammar, integer, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const LLEN: Command = Command {
    name: "llen",
    since: "1.0.0",
    summary: "Returns the length of a list.",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(llen),
    shows: r#"> RPUSH letters a b
(integer) 2
> LLEN letters
(integer) 2
> LLEN absent
(integer) 0
> SET text value
OK
> LLEN text
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..ROW
};

fn llen(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let len = list(entry.as_deref())?.map_or(0, |list| list.len());
    call.reply.integer(len as i64);
    Ok(())
}

pub(super) const LRANGE: Command = Command {
    name: "lrange",
    since: "1.0.0",
    summary: "Returns the elements of a range of indexes, both ends included.",
    complexity: "O(S+N) where S is the distance of the first element from the nearer end and N how many are told",
    arity: 4,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, Argument::integer("start"), Argument::integer("stop")],
    run: Run::Shard(lrange),
    shows: r#"> RPUSH letters a b c
(integer) 3
> LRANGE letters 0 -1
1) "a"
2) "b"
3) "c"
> LRANGE letters -2 1
1) "b"
> LRANGE letters 3 9
(empty array)
> LRANGE absent 0 -1
(empty array)
> LRANGE letters a 1
(error) ERR value is not an integer or out of range
"#,
    ..ROW
};

fn lrange(call: &mut Call<'_>) -> Outcome {
    let (start, stop) = start_and_stop(call.args)?;
    let entry = call.keyspace.read(call.database, &call.key);
    let Some(list) = list(entry.as_deref())? else {
        call.reply.array(0);
        return Ok(());
    };
    let range = range(start, stop, list.len());
    call.reply.array(range.len());
    for content in list.iter_from(range.start).take(range.len()) {
        match content {
            Content::Bytes(text) => call.reply.bulk(text),
            Content::Integer(value) => call.reply.bulk_integer(value),
        }
    }
    Ok(())
}

pub(super) const LINDEX: Command = Command {
    name: "lindex",
    since: "1.0.0",
    summary: "Returns the element at an index; negative indexes count from the end.",
    complexity: "O(N) for N packed nodes between it and the nearer end",
    arity: 3,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, Argument::integer("index")],
    run: Run::Shard(lindex),
    shows: r#"> RPUSH letters a b c
(integer) 3
> LINDEX letters 0
"a"
> LINDEX letters -1
"c"
> LINDEX letters 3
(nil)
> LINDEX letters first
(error) ERR value is not an integer or out of range
> LINDEX absent first
(nil)
"#,
    ..ROW
};

fn lindex(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let Some(list) = list(entry.as_deref())? else {
        call.reply.null();
        return Ok(());
    };
    let index = integer(call.args[2])?;
    match place(index, list.len()).and_then(|index| list.get(index)) {
        Some(content) => call.reply.bulk(content.as_text(&mut Digits::default())),
        None => call.reply.null(),
    }
    Ok(())
}

#[derive(Clone, Copy)]
pub(super) enum LposOption {
    Rank,
    Count,
    MaxLen,
}

pub(super) const LPOS_OPTIONS: Grammar<LposOption> = Grammar(&[
    value("rank", LposOption::Rank),
    value("count", LposOption::Count),
    value("maxlen", LposOption::MaxLen),
]);

pub(super) const LPOS: Command = Command {
    name: "lpos",
    since: "6.0.6",
    summary: "Returns the indexes at which a list has an element.",
    complexity: "O(N) for N elements looked at",
    arity: -3,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[
        Argument::KEY,
        Argument::string("element"),
        Argument::integer("rank").after("RANK").optional(),
        Argument::integer("num-matches").after("COUNT").optional(),
        Argument::integer("len").after("MAXLEN").optional(),
    ],
    run: Run::Shard(lpos),
    shows: r#"> RPUSH letters a b c a b c
(integer) 6
> LPOS letters b
(integer) 1
> LPOS letters b RANK 2
(integer) 4
> LPOS letters b RANK -1 COUNT 0
1) (integer) 4
2) (integer) 1
> LPOS letters c MAXLEN 2
(nil)
> LPOS letters d COUNT 1
(empty array)
> LPOS absent d
(nil)
> LPOS letters b RANK 0
(error) ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
> LPOS letters b COUNT -1
(error) ERR COUNT can't be negative
"#,
    ..ROW
};

/// The matches to return.
struct Wanted {
    side: Side,
    /// The number of matches to skip.
    skipped: u64,
    /// The number of matches, 0 for all; `None` for one that is not in an array.
    count: Option<u64>,
    /// The number of elements to compare.
    looks: usize,
}

fn wanted(args: &[&[u8]]) -> Result<Wanted, CommandError> {
    let (mut rank, mut count, mut looks) = (1, None, usize::MAX);
    for option in LPOS_OPTIONS.parse(args) {
        let (option, values) = option?;
        match option {
            LposOption::Rank => rank = read_rank(values[0])?,
            LposOption::Count => count = Some(natural(values[0], "ERR COUNT can't be negative")?),
            LposOption::MaxLen => {
                let len = natural(values[0], "ERR MAXLEN can't be negative")?;
                looks = usize::try_from(len).ok().filter(|len| *len > 0).unwrap_or(usize::MAX);
            }
        }
    }
    let side = if rank > 0 { Side::Front } else { Side::Back };
    Ok(Wanted { side, skipped: rank.unsigned_abs() - 1, count, looks })
}

fn read_rank(text: &[u8]) -> Result<i64, CommandError> {
    match integer(text)? {
        0 => Err(CommandError::text(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
             or use negative to start from the end of the list",
        )),
        rank => negatable(rank),
    }
}

/// A number whose negative fits 64 bits.
pub(super) fn negatable(number: i64) -> Result<i64, CommandError> {
    if number == i64::MIN {
        return Err(CommandError::text(
            "ERR value is out of range, value must between \
             -9223372036854775807 and 9223372036854775807",
        ));
    }
    Ok(number)
}

fn natural(text: &[u8], refusal: &'static str) -> Result<u64, CommandError> {
    let number = integer(text).ok().and_then(|number| u64::try_from(number).ok());
    number.ok_or(CommandError::text(refusal))
}

fn lpos(call: &mut Call<'_>) -> Outcome {
    let Wanted { side, skipped, count, looks } = wanted(&call.args[3..])?;
    let element = Content::of(call.args[2]);
    let entry = call.keyspace.read(call.database, &call.key);
    let Some(list) = list(entry.as_deref())? else {
        match count {
            None => call.reply.null(),
            Some(_) => call.reply.array(0),
        }
        return Ok(());
    };
    let len = list.len();
    let seen = list.iter_end(side).take(looks).enumerate();
    let matches = seen.filter(|(_, content)| *content == element);
    let places = matches.map(|(at, _)| if side == Side::Front { at } else { len - 1 - at });
    let mut places = places.skip(usize::try_from(skipped).unwrap_or(usize::MAX));
    let Some(count) = count else {
        match places.next() {
            Some(place) => call.reply.integer(place as i64),
            None => call.reply.null(),
        }
        return Ok(());
    };
    let max = usize::try_from(count).ok().filter(|count| *count > 0).unwrap_or(usize::MAX);
    let array = call.reply.deferred_array();
    let mut told = 0;
    for place in places.take(max) {
        call.reply.integer(place as i64);
        told += 1;
    }
    call.reply.finish_array(array, told);
    Ok(())
}
