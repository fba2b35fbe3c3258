//! Commands on whole databases.

use super::ROW;
use crate::args::{Grammar, flag, small_integer};
use crate::argument::Argument;
use crate::command::{Categories, Command, EngineCommand, Flags, Run};
use crate::error::CommandError;
use basalt_keyspace::DatabaseId;

const DATA_ROW: Command = Command { also: Categories::KEYSPACE.or(Categories::DANGEROUS), ..ROW };

pub(super) const DBSIZE: Command = Command {
    name: "dbsize",
    since: "1.0.0",
    summary: "Returns the number of keys in the database.",
    arity: 1,
    flags: Flags::READONLY.or(Flags::FAST),
    also: Categories::KEYSPACE,
    tips: &["request_policy:all_shards", "response_policy:agg_sum"],
    run: Run::Engine(EngineCommand::Dbsize),
    shows: r#"> DBSIZE
(integer) 0
> MSET one 1 two 2
OK
> DBSIZE
(integer) 2
"#,
    ..ROW
};

const FLUSH_ROW: Command = Command {
    complexity: "O(N) for N keys that go",
    arity: -1,
    flags: Flags::WRITE,
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    arguments: &[Argument::one_of(
        "flush-type",
        &[Argument::word("async", "ASYNC"), Argument::word("sync", "SYNC")],
    )
    .optional()],
    ..DATA_ROW
};

pub(super) const FLUSHALL: Command = Command {
    name: "flushall",
    since: "1.0.0",
    summary: "Removes all keys of all databases.",
    run: Run::Engine(EngineCommand::FlushAll),
    shows: r#"> MSET one 1 two 2
OK
> FLUSHALL
OK
> DBSIZE
(integer) 0
> FLUSHALL NOW
(error) ERR syntax error
"#,
    ..FLUSH_ROW
};

pub(super) const FLUSHDB: Command = Command {
    name: "flushdb",
    since: "1.0.0",
    summary: "Removes all keys of the database.",
    run: Run::Engine(EngineCommand::FlushDb),
    shows: r#"> SET key zero
OK
> SELECT 1
OK
> SET key one
OK
> FLUSHDB ASYNC
OK
> DBSIZE
(integer) 0
> SELECT 0
OK
> DBSIZE
(integer) 1
"#,
    ..FLUSH_ROW
};

/// When the memory of flushed data is freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushRequest {
    /// As `lazyfree-lazy-user-flush` sets it.
    Default,
    Sync,
    Async,
}

pub(super) const FLUSH_OPTIONS: Grammar<FlushRequest> =
    Grammar(&[flag("sync", FlushRequest::Sync), flag("async", FlushRequest::Async)]);

/// Parses the arguments of FLUSHALL and FLUSHDB.
pub fn parse_flush(args: &[&[u8]]) -> Result<FlushRequest, CommandError> {
    if args.len() > 2 {
        return Err(CommandError::SYNTAX);
    }
    let mode = FLUSH_OPTIONS.parse(&args[1..]).next().transpose()?;
    Ok(mode.map_or(FlushRequest::Default, |(mode, _)| mode))
}

pub(super) const SWAPDB: Command = Command {
    name: "swapdb",
    since: "4.0.0",
    summary: "Swaps the contents of two databases.",
    complexity: "O(N) for N connections that watch or wait for keys of both",
    arity: 3,
    flags: Flags::WRITE.or(Flags::FAST),
    arguments: &[Argument::integer("index1"), Argument::integer("index2")],
    run: Run::Engine(EngineCommand::SwapDb),
    shows: r#"> SET key zero
OK
> SWAPDB 0 1
OK
> DBSIZE
(integer) 0
> SELECT 1
OK
> GET key
"zero"
> SWAPDB a 1
(error) ERR invalid first DB index
> SWAPDB 0 b
(error) ERR invalid second DB index
> SWAPDB 0 99
(error) ERR DB index is out of range
"#,
    ..DATA_ROW
};

/// Parses SWAPDB's arguments.
pub fn parse_swapdb(
    args: &[&[u8]],
    database_count: usize,
) -> Result<(DatabaseId, DatabaseId), CommandError> {
    let read = |text, refusal| small_integer(text).map_err(|_| CommandError::text(refusal));
    let first = read(args[1], "ERR invalid first DB index")?;
    let second = read(args[2], "ERR invalid second DB index")?;
    let known = |index: i32| {
        let index = u16::try_from(index).ok().filter(|index| usize::from(*index) < database_count);
        index.map(DatabaseId).ok_or(CommandError::DATABASE_OUT_OF_RANGE)
    };
    Ok((known(first)?, known(second)?))
}
