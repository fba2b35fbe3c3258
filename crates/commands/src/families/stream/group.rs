//! Consumer groups, and XACK.

use basalt_keyspace::{Effect, Stream, StreamChange, StreamId, StreamIds};

use super::produce::configure_new;
use super::{ROW, group_of, id, no_group_of_key, stream, wrong_subcommand};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Categories, Command, EngineCommand, Flags, Group, KeySpec, Run};
use crate::error::CommandError;

pub(super) const XGROUP: Command = Command {
    name: "xgroup",
    since: "5.0.0",
    summary: "A container for commands about consumer groups.",
    complexity: "Depends on subcommand.",
    group: Group::Stream,
    also: Categories::NONE,
    arity: -2,
    subcommands: &[CREATE, CREATECONSUMER, DELCONSUMER, DESTROY, HELP, SETID],
    shows: r#"> XGROUP NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try XGROUP HELP.
"#,
    ..ROW
};

const ID_OR_NEWEST: Argument =
    Argument::one_of("id-selector", &[Argument::string("id"), Argument::word("new-id", "$")]);
const ENTRIES_READ: Argument = Argument::integer("entriesread").after("ENTRIESREAD").optional();

const CREATE: Command = Command {
    name: "xgroup|create",
    since: "5.0.0",
    summary: "Creates a consumer group that starts after an ID, and optionally the stream.",
    arity: -5,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(2, &["RW", "insert"])],
    arguments: &[
        Argument::KEY,
        Argument::string("group"),
        ID_OR_NEWEST,
        Argument::word("mkstream", "MKSTREAM").optional(),
        ENTRIES_READ,
    ],
    run: Run::Shard(create),
    shows: r#"> XGROUP CREATE log readers $ MKSTREAM
OK
> XGROUP CREATE log readers 0
(error) BUSYGROUP Consumer Group name already exists
> XLEN log
(integer) 0
> XGROUP CREATE absent readers $
(error) ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.
> XGROUP CREATE log others 0 ENTRIESREAD -2
(error) ERR value for ENTRIESREAD must be positive or -1
@only ours
> XGROUP CREATE log others 0 ENTRIESREAD 100
OK
@resp 2
> XINFO GROUPS log
1)  1) "name"
    2) "others"
    3) "consumers"
    4) (integer) 0
    5) "pending"
    6) (integer) 0
    7) "last-delivered-id"
    8) "0-0"
    9) "entries-read"
   10) (integer) 0
   11) "lag"
   12) (integer) 0
<any lines>
"#,
    ..ROW
};

/// The options after the ID of XGROUP CREATE and SETID.
#[derive(Default)]
struct Options {
    makes_stream: bool,
    entries_read: Option<u64>,
}

impl Options {
    /// As many entries as there ever were, at most.
    fn entries_read_of(&self, stream: Option<&Stream>) -> Option<u64> {
        let added = stream.map_or(0, Stream::entries_added);
        self.entries_read.map(|count| count.min(added))
    }
}

fn parse_options(args: &[&[u8]], may_make_stream: bool) -> Result<Options, CommandError> {
    let mut options = Options::default();
    let mut rest = &args[5..];
    while let [word, others @ ..] = rest {
        rest = others;
        if may_make_stream && word.eq_ignore_ascii_case(b"mkstream") {
            options.makes_stream = true;
        } else if word.eq_ignore_ascii_case(b"entriesread") && !others.is_empty() {
            let negative = CommandError::text("ERR value for ENTRIESREAD must be positive or -1");
            options.entries_read = match integer(others[0])? {
                -1 => None,
                count => Some(u64::try_from(count).map_err(|_| negative)?),
            };
            rest = &others[1..];
        } else {
            return Err(wrong_subcommand("XGROUP", args));
        }
    }
    Ok(options)
}

const NO_KEY: CommandError = CommandError::text(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the \
     MKSTREAM option to create an empty stream automatically.",
);

fn create(call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let options = parse_options(args, true)?;
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let there = stream(entry.as_deref())?;
    if there.is_none() && !options.makes_stream {
        return Err(NO_KEY);
    }
    if args.len() > 8 {
        return Err(wrong_subcommand("XGROUP", args));
    }
    let last_id = match args[4] {
        b"$" => there.map_or(StreamId::MIN, Stream::last_id),
        text => id::parse(text, 0)?,
    };
    let group = args[3];
    if there.is_some_and(|stream| stream.group(group).is_some()) {
        return Err(CommandError::text("BUSYGROUP Consumer Group name already exists"));
    }
    let (entries_read, is_new) = (options.entries_read_of(there), there.is_none());
    edit.commit(Effect::Stream(StreamChange::CreateGroup { group, last_id, entries_read }));
    if is_new {
        configure_new(call);
    }
    call.reply.ok();
    Ok(())
}

const SETID: Command = Command {
    name: "xgroup|setid",
    since: "5.0.0",
    summary: "Sets the last delivered ID of a consumer group.",
    arity: -5,
    flags: Flags::WRITE,
    keys: &[KeySpec::at(2, &["RW", "update"])],
    arguments: &[Argument::KEY, Argument::string("group"), ID_OR_NEWEST, ENTRIES_READ],
    run: Run::Shard(setid),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XGROUP CREATE log readers $
OK
@resp 2
> XREADGROUP GROUP readers ann STREAMS log >
(nil)
> XGROUP SETID log readers 0 ENTRIESREAD 0
OK
> XREADGROUP GROUP readers ann STREAMS log >
1) 1) "log"
   2) 1) 1) "1-0"
         2) 1) "n"
            2) "1"
> XGROUP SETID log nobody 0
(error) NOGROUP No such consumer group 'nobody' for key name 'log'
> XGROUP SETID log readers 0 MKSTREAM
(error) ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.
"#,
    ..ROW
};

fn setid(call: &mut Call<'_>) -> Outcome {
    let args = call.args;
    let options = parse_options(args, false)?;
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let stream = stream(entry.as_deref())?.ok_or(NO_KEY)?;
    let group = args[3];
    if stream.group(group).is_none() {
        return Err(no_group_of_key(call.key.bytes, group));
    }
    if args.len() > 7 {
        return Err(wrong_subcommand("XGROUP", args));
    }
    let last_id = match args[4] {
        b"$" => stream.last_id(),
        text => id::parse_or_end(text, 0)?,
    };
    let entries_read = options.entries_read_of(Some(stream));
    edit.commit(Effect::Stream(StreamChange::SetGroup { group, last_id, entries_read }));
    call.reply.ok();
    Ok(())
}

const DESTROY: Command = Command {
    name: "xgroup|destroy",
    since: "5.0.0",
    summary: "Removes a consumer group with its consumers and pending entries.",
    complexity: "O(N) for N entries that are pending",
    arity: 4,
    flags: Flags::WRITE,
    keys: &[KeySpec::at(2, &["RW", "delete"])],
    arguments: &[Argument::KEY, Argument::string("group")],
    run: Run::Shard(destroy),
    shows: r#"> XGROUP CREATE log readers $ MKSTREAM
OK
> XGROUP DESTROY log readers
(integer) 1
> XGROUP DESTROY log readers
(integer) 0
"#,
    ..ROW
};

fn destroy(call: &mut Call<'_>) -> Outcome {
    let group = call.args[3];
    let edit = call.keyspace.edit(call.database, &call.key);
    let is_there = stream(edit.entry().as_deref())?.ok_or(NO_KEY)?.group(group).is_some();
    if is_there {
        edit.commit(Effect::Stream(StreamChange::DestroyGroup { group }));
    }
    call.reply.integer(i64::from(is_there));
    Ok(())
}

const CREATECONSUMER: Command = Command {
    name: "xgroup|createconsumer",
    since: "6.2.0",
    summary: "Creates a consumer in a group.",
    arity: 5,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(2, &["RW", "insert"])],
    arguments: &[Argument::KEY, Argument::string("group"), Argument::string("consumer")],
    run: Run::Shard(createconsumer),
    shows: r#"> XGROUP CREATE log readers $ MKSTREAM
OK
> XGROUP CREATECONSUMER log readers ann
(integer) 1
> XGROUP CREATECONSUMER log readers ann
(integer) 0
> XGROUP CREATECONSUMER log nobody ann
(error) NOGROUP No such consumer group 'nobody' for key name 'log'
"#,
    ..ROW
};

fn createconsumer(call: &mut Call<'_>) -> Outcome {
    let (group, consumer, at_ms) = (call.args[3], call.args[4], call.keyspace.now_ms());
    let edit = call.keyspace.edit(call.database, &call.key);
    let is_there = match stream(edit.entry().as_deref())?.ok_or(NO_KEY)?.group(group) {
        Some(found) => found.number(consumer).is_some(),
        None => return Err(no_group_of_key(call.key.bytes, group)),
    };
    if !is_there {
        let change = StreamChange::SeeConsumer { group, consumer, at_ms, is_active: false };
        edit.commit(Effect::Stream(change));
    }
    call.reply.integer(i64::from(!is_there));
    Ok(())
}

const DELCONSUMER: Command = Command {
    name: "xgroup|delconsumer",
    since: "5.0.0",
    summary: "Removes a consumer with its pending entries and returns the number of these.",
    complexity: "O(N) for N entries that are pending with the consumer",
    arity: 5,
    flags: Flags::WRITE,
    keys: &[KeySpec::at(2, &["RW", "delete"])],
    arguments: &[Argument::KEY, Argument::string("group"), Argument::string("consumer")],
    run: Run::Shard(delconsumer),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XGROUP CREATE log readers 0
OK
> XCLAIM log readers ann 0 1-0 FORCE JUSTID
1) "1-0"
> XGROUP DELCONSUMER log readers ann
(integer) 1
> XGROUP DELCONSUMER log readers ann
(integer) 0
"#,
    ..ROW
};

fn delconsumer(call: &mut Call<'_>) -> Outcome {
    let (group, consumer) = (call.args[3], call.args[4]);
    let edit = call.keyspace.edit(call.database, &call.key);
    let pending = match stream(edit.entry().as_deref())?.ok_or(NO_KEY)?.group(group) {
        Some(found) => found.consumer(consumer).map(|consumer| consumer.pending_count()),
        None => return Err(no_group_of_key(call.key.bytes, group)),
    };
    if pending.is_some() {
        edit.commit(Effect::Stream(StreamChange::DeleteConsumer { group, consumer }));
    }
    call.reply.integer(pending.unwrap_or(0) as i64);
    Ok(())
}

const HELP: Command = Command {
    name: "xgroup|help",
    since: "5.0.0",
    summary: "Lists the subcommands.",
    arity: 2,
    flags: Flags::LOADING.or(Flags::STALE),
    run: Run::Engine(EngineCommand::XGroupHelp),
    shows: r#"> XGROUP HELP
<any text>1) XGROUP <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..ROW
};

pub(super) const XACK: Command = Command {
    name: "xack",
    since: "5.0.0",
    summary: "Removes entries from a group's pending entries and returns how many were pending.",
    complexity: "O(N) for N IDs",
    arity: -4,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[Argument::KEY, Argument::string("group"), Argument::string("id").multiple()],
    run: Run::Shard(xack),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XGROUP CREATE log readers 0
OK
> XCLAIM log readers ann 0 1-0 FORCE JUSTID
1) "1-0"
> XACK log readers 1-0 1-0 2-0
(integer) 1
> XACK log nobody nonsense
(integer) 0
> XACK log readers nonsense
(error) ERR Invalid stream ID specified as stream command argument
"#,
    ..ROW
};

fn xack(call: &mut Call<'_>) -> Outcome {
    let group = call.args[2];
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let Some((_, found)) = group_of(entry.as_deref(), group)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let ids: Result<Vec<_>, _> = call.args[3..].iter().map(|text| id::parse(text, 0)).collect();
    let mut ids = ids?;
    ids.retain(|id| found.pending(*id).is_some());
    ids.sort_unstable();
    ids.dedup();
    if !ids.is_empty() {
        let ids = StreamIds::from(&ids[..]);
        edit.commit(Effect::Stream(StreamChange::Acknowledge { group, ids }));
    }
    call.reply.integer(ids.len() as i64);
    Ok(())
}
