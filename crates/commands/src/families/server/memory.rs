//! MEMORY: how much memory keys and the server take.

use super::{ALWAYS, ROW};
use crate::args::{Grammar, integer, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, EngineCommand, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const MEMORY: Command = Command {
    name: "memory",
    since: "4.0.0",
    summary: "A container for commands about memory.",
    complexity: "That of the subcommand",
    arity: -2,
    run: Run::Container,
    subcommands: &[DOCTOR, HELP, MALLOC_STATS, PURGE, STATS, USAGE],
    shows: r#"> MEMORY nonsense
(error) ERR unknown subcommand 'nonsense'. Try MEMORY HELP.
> MEMORY
(error) ERR wrong number of arguments for 'memory' command
"#,
    ..ROW
};

const OF_ALL_SHARDS: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

const MEMORY_ROW: Command = Command { since: "4.0.0", arity: 2, ..ROW };

const DOCTOR: Command = Command {
    name: "memory|doctor",
    summary: "Returns a report in prose about memory problems.",
    tips: OF_ALL_SHARDS,
    run: Run::Engine(EngineCommand::MemoryDoctor),
    shows: r#"> MEMORY DOCTOR
<any text>
<any lines>
"#,
    ..MEMORY_ROW
};

const HELP: Command = Command {
    name: "memory|help",
    summary: "Lists the subcommands.",
    flags: ALWAYS,
    run: Run::Engine(EngineCommand::MemoryHelp),
    shows: r#"> MEMORY HELP
<any text>1) MEMORY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..MEMORY_ROW
};

const MALLOC_STATS: Command = Command {
    name: "memory|malloc-stats",
    summary: "Returns statistics of the allocator, if it has any.",
    flags: Flags::LOADING,
    tips: OF_ALL_SHARDS,
    run: Run::Engine(EngineCommand::MemoryMallocStats),
    shows: r#"@only ours
@resp 2
> MEMORY MALLOC-STATS
"Stats not supported for the current allocator"
"#,
    ..MEMORY_ROW
};

const PURGE: Command = Command {
    name: "memory|purge",
    summary: "Asks the allocator to return unused memory, which also happens every second.",
    flags: Flags::LOADING,
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    run: Run::Engine(EngineCommand::MemoryPurge),
    shows: r#"> MEMORY PURGE
OK
"#,
    ..MEMORY_ROW
};

const STATS: Command = Command {
    name: "memory|stats",
    summary: "Returns the memory use of the server, by part.",
    tips: OF_ALL_SHARDS,
    run: Run::Engine(EngineCommand::MemoryStats),
    shows: r#"@resp 2
> MEMORY STATS
 1) "peak.allocated"
 2) (integer) <any integer>
<any lines>
"#,
    ..MEMORY_ROW
};

const USAGE: Command = Command {
    name: "memory|usage",
    summary: "Returns the number of bytes that a key and its value take.",
    complexity: "O(1)",
    arity: -3,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(2, &["RO"])],
    arguments: &[Argument::KEY, Argument::integer("count").after("SAMPLES").optional()],
    run: Run::Shard(usage),
    shows: r#"> SET key value
OK
> MEMORY USAGE key
(integer) <between 8 200>
> MEMORY USAGE key SAMPLES 0
(integer) <between 8 200>
> MEMORY USAGE absent
(nil)
> MEMORY USAGE key SAMPLES -1
(error) ERR syntax error
> MEMORY USAGE key SAMPLES few
(error) ERR value is not an integer or out of range
"#,
    ..MEMORY_ROW
};

pub(super) const USAGE_OPTIONS: Grammar<()> = Grammar(&[value("samples", ())]);
#[cfg(test)]
pub(super) const USAGE_ROW: &Command = &USAGE;

/// The bytes are those of the shard's books: exact, so there is nothing to sample.
fn usage(call: &mut Call<'_>) -> Outcome {
    for option in USAGE_OPTIONS.parse(&call.args[3..]) {
        let ((), values) = option?;
        if integer(values[0])? < 0 {
            return Err(CommandError::SYNTAX);
        }
    }
    match call.keyspace.peek(call.database, &call.key) {
        Some(entry) => call.reply.integer(entry.heap_bytes() as i64),
        None => call.reply.null(),
    }
    Ok(())
}
