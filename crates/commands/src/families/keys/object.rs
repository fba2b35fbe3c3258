//! OBJECT: how a key's value is stored.

use basalt_keyspace::{Uses, idle_seconds};

use super::ROW;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Categories, Command, EngineCommand, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const OBJECT: Command = Command {
    name: "object",
    since: "2.2.3",
    summary: "A container for commands that inspect how a key is stored.",
    complexity: "That of the subcommand",
    arity: -2,
    also: Categories::NONE,
    run: Run::Container,
    subcommands: &[ENCODING, FREQ, HELP, IDLETIME, REFCOUNT],
    shows: r#"> OBJECT nonsense
(error) ERR unknown subcommand 'nonsense'. Try OBJECT HELP.
> OBJECT
(error) ERR wrong number of arguments for 'object' command
"#,
    ..ROW
};

const PART_ROW: Command = Command {
    since: "2.2.3",
    arity: 3,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(2, &["RO"])],
    arguments: &[Argument::KEY],
    ..ROW
};

const ENCODING: Command = Command {
    name: "object|encoding",
    summary: "Returns the encoding of a key's value.",
    run: Run::Shard(encoding),
    shows: r#"> SET number 42
OK
> OBJECT ENCODING number
"int"
> SET short text
OK
> OBJECT ENCODING short
"embstr"
> APPEND short " that grew"
(integer) 14
> OBJECT ENCODING short
"raw"
> OBJECT ENCODING absent
(nil)
"#,
    ..PART_ROW
};

fn encoding(call: &mut Call<'_>) -> Outcome {
    match call.keyspace.inspect(call.database, &call.key) {
        Some(entry) => call.reply.bulk(entry.encoding().name().as_bytes()),
        None => call.reply.null(),
    }
    Ok(())
}

const IDLETIME: Command = Command {
    name: "object|idletime",
    summary: "Returns the number of seconds since a key was last used.",
    run: Run::Shard(idletime),
    shows: r#"> SET key value
OK
> OBJECT IDLETIME key
(integer) <between 0 5>
> OBJECT IDLETIME absent
(nil)
"#,
    ..PART_ROW
};

fn idletime(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    match call.keyspace.inspect(call.database, &call.key) {
        Some(_) if call.config.uses() != Uses::Last => {
            return Err(CommandError::text(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that \
                 when switching between policies at runtime LRU and LFU data will take some time \
                 to adjust.",
            ));
        }
        Some(entry) => call.reply.integer(i64::from(idle_seconds(entry.access(), now_ms))),
        None => call.reply.null(),
    }
    Ok(())
}

const FREQ: Command = Command {
    name: "object|freq",
    since: "4.0.0",
    summary: "Returns a key's access frequency, on a logarithmic scale; needs an LFU `maxmemory-policy`.",
    run: Run::Shard(freq),
    shows: r#"> SET key value
OK
> OBJECT FREQ key
(error) ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.
> OBJECT FREQ absent
(nil)
"#,
    ..PART_ROW
};

fn freq(call: &mut Call<'_>) -> Outcome {
    let access = call.keyspace.inspect(call.database, &call.key).map(|entry| entry.access());
    match access.map(|access| call.keyspace.use_reader().counter(access)) {
        Some(None) => {
            return Err(CommandError::text(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please \
                 note that when switching between policies at runtime LRU and LFU data will take \
                 some time to adjust.",
            ));
        }
        Some(Some(counter)) => call.reply.integer(counter.into()),
        None => call.reply.null(),
    }
    Ok(())
}

const REFCOUNT: Command = Command {
    name: "object|refcount",
    summary: "Returns the reference count of a key's value, which is always 1.",
    run: Run::Shard(refcount),
    shows: r#"> SET key value
OK
> OBJECT REFCOUNT key
(integer) 1
> OBJECT REFCOUNT absent
(nil)
"#,
    ..PART_ROW
};

fn refcount(call: &mut Call<'_>) -> Outcome {
    match call.keyspace.inspect(call.database, &call.key) {
        Some(_) => call.reply.integer(1),
        None => call.reply.null(),
    }
    Ok(())
}

const HELP: Command = Command {
    name: "object|help",
    since: "6.2.0",
    summary: "Lists the subcommands.",
    arity: 2,
    flags: Flags::LOADING.or(Flags::STALE),
    run: Run::Engine(EngineCommand::ObjectHelp),
    shows: r#"> OBJECT HELP
<any text>1) OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..ROW
};
