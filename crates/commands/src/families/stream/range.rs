//! Reads ranges of IDs.

use super::{ROW, id, stream, write_entry};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const XLEN: Command = Command {
    name: "xlen",
    since: "5.0.0",
    summary: "Returns the number of entries of a stream.",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(xlen),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XLEN log
(integer) 1
> XLEN absent
(integer) 0
> SET text value
OK
> XLEN text
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..ROW
};

fn xlen(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let len = stream(entry.as_deref())?.map_or(0, |stream| stream.len());
    call.reply.integer(len as i64);
    Ok(())
}

const RANGE_ROW: Command = Command {
    since: "5.0.0",
    complexity: "O(N) for N entries told",
    arity: -4,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, &["RO", "access"])],
    ..ROW
};

pub(super) const XRANGE: Command = Command {
    name: "xrange",
    summary: "Returns the entries in a range of IDs, both ends included.",
    arguments: &[
        Argument::KEY,
        Argument::string("start"),
        Argument::string("end"),
        Argument::integer("count").after("COUNT").optional(),
    ],
    run: Run::Shard(xrange),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XADD log 1-1 n 2
"1-1"
> XADD log 2-0 n 3
"2-0"
> XRANGE log 1 1
1) 1) "1-0"
   2) 1) "n"
      2) "1"
2) 1) "1-1"
   2) 1) "n"
      2) "2"
> XRANGE log (1-0 + COUNT 1
1) 1) "1-1"
   2) 1) "n"
      2) "2"
> XRANGE log - + COUNT 0
(nil)
> XRANGE log 3 +
(empty array)
> XRANGE log - (0-0
(error) ERR invalid end ID for the interval
"#,
    ..RANGE_ROW
};

pub(super) const XREVRANGE: Command = Command {
    name: "xrevrange",
    summary: "Returns the entries in a range of IDs in reverse, both ends included.",
    arguments: &[
        Argument::KEY,
        Argument::string("end"),
        Argument::string("start"),
        Argument::integer("count").after("COUNT").optional(),
    ],
    run: Run::Shard(xrevrange),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XADD log 2-0 n 2
"2-0"
> XREVRANGE log + - COUNT 1
1) 1) "2-0"
   2) 1) "n"
      2) "2"
> XREVRANGE log (2-0 -
1) 1) "1-0"
   2) 1) "n"
      2) "1"
> XREVRANGE log - +
(empty array)
"#,
    ..RANGE_ROW
};

fn xrange(call: &mut Call<'_>) -> Outcome {
    range(call, false)
}

fn xrevrange(call: &mut Call<'_>) -> Outcome {
    range(call, true)
}

fn range(call: &mut Call<'_>, is_reversed: bool) -> Outcome {
    let (start, end) = if is_reversed { (3, 2) } else { (2, 3) };
    let start = id::parse_start(call.args[start])?;
    let end = id::parse_end(call.args[end])?;
    let mut count = None;
    let mut rest = &call.args[4..];
    while let [word, value, others @ ..] = rest {
        if !word.eq_ignore_ascii_case(b"count") {
            return Err(CommandError::SYNTAX);
        }
        count = Some(usize::try_from(integer(value)?).unwrap_or(0));
        rest = others;
    }
    if !rest.is_empty() {
        return Err(CommandError::SYNTAX);
    }
    let entry = call.keyspace.read(call.database, &call.key);
    let Some(stream) = stream(entry.as_deref())? else {
        call.reply.array(0);
        return Ok(());
    };
    if count == Some(0) {
        call.reply.null_array();
        return Ok(());
    }
    let most = count.unwrap_or(usize::MAX);
    let place = call.reply.deferred_array();
    let mut told = 0;
    let mut tell = |entry| {
        write_entry(&entry, &mut call.reply);
        told += 1;
    };
    if is_reversed {
        stream.range_back(start, end).take(most).for_each(&mut tell);
    } else {
        stream.range(start, end).take(most).for_each(&mut tell);
    }
    call.reply.finish_array(place, told);
    Ok(())
}
