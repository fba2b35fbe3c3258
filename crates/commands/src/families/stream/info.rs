//! XINFO: the state of streams, groups and consumers.

use basalt_keyspace::{Consumer, Group as StreamGroup, Producers, Stream, StreamEntry, StreamId};
use basalt_resp::Reply;

use super::produce::settings_of;
use super::progress::lag;
use super::{ROW, id, no_group_of_key, stream, write_entry, wrong_subcommand};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Categories, Command, EngineCommand, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const XINFO: Command = Command {
    name: "xinfo",
    since: "5.0.0",
    summary: "A container for commands that inspect streams.",
    complexity: "Depends on subcommand.",
    also: Categories::NONE,
    arity: -2,
    subcommands: &[CONSUMERS, GROUPS, HELP, STREAM],
    shows: r#"> XINFO NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try XINFO HELP.
"#,
    ..ROW
};

const CONSUMERS: Command = Command {
    name: "xinfo|consumers",
    since: "5.0.0",
    summary: "Returns the consumers of a group.",
    complexity: "O(N) for N consumers",
    arity: 4,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(2, &["RO", "access"])],
    arguments: &[Argument::KEY, Argument::string("group")],
    run: Run::Shard(consumers),
    shows: r#"> XGROUP CREATE log readers $ MKSTREAM
OK
> XGROUP CREATECONSUMER log readers ann
(integer) 1
@resp 2
@only ours valkey9 redis8
> XINFO CONSUMERS log readers
1) 1) "name"
   2) "ann"
   3) "pending"
   4) (integer) 0
   5) "idle"
   6) (integer) <between 0 10000>
   7) "inactive"
   8) (integer) -1
@only any
> XINFO CONSUMERS log nobody
(error) NOGROUP No such consumer group 'nobody' for key name 'log'
> XINFO CONSUMERS absent nobody
(error) ERR no such key
"#,
    ..ROW
};

fn consumers(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    let stream = stream(entry.as_deref())?.ok_or(CommandError::NO_SUCH_KEY)?;
    let Some(group) = stream.group(call.args[3]) else {
        return Err(no_group_of_key(call.key.bytes, call.args[3]));
    };
    let reply = &mut call.reply;
    reply.array(group.consumers().len());
    let since = |at_ms: u64| now_ms.wrapping_sub(at_ms) as i64;
    for consumer in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(consumer.name());
        number(reply, "pending", consumer.pending_count() as i64);
        number(reply, "idle", since(consumer.seen_at_ms).max(0));
        number(reply, "inactive", consumer.active_at_ms.map_or(-1, since));
    }
    Ok(())
}

const GROUPS: Command = Command {
    name: "xinfo|groups",
    since: "5.0.0",
    summary: "Returns the consumer groups of a stream.",
    complexity: "O(N) for N groups",
    arity: 3,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(2, &["RO", "access"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(groups),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XGROUP CREATE log readers 0
OK
@resp 2
> XINFO GROUPS log
1)  1) "name"
    2) "readers"
    3) "consumers"
    4) (integer) 0
    5) "pending"
    6) (integer) 0
    7) "last-delivered-id"
    8) "0-0"
    9) "entries-read"
   10) (nil)
   11) "lag"
   12) (integer) 1
> XINFO GROUPS absent
(error) ERR no such key
"#,
    ..ROW
};

fn groups(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let stream = stream(entry.as_deref())?.ok_or(CommandError::NO_SUCH_KEY)?;
    let reply = &mut call.reply;
    reply.array(stream.groups().len());
    for group in stream.groups() {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(group.name());
        number(reply, "consumers", group.consumers().len() as i64);
        number(reply, "pending", group.pending_count() as i64);
        write_progress(stream, group, reply);
    }
    Ok(())
}

fn write_progress(stream: &Stream, group: &StreamGroup, reply: &mut Reply<'_>) {
    reply.bulk(b"last-delivered-id");
    id::write(group.last_id, reply);
    for (name, count) in [
        ("entries-read", group.entries_read.map(|count| count as i64)),
        ("lag", lag(stream, group)),
    ] {
        reply.bulk(name.as_bytes());
        match count {
            Some(count) => reply.integer(count),
            None => reply.null(),
        }
    }
}

fn number(reply: &mut Reply<'_>, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

const HELP: Command = Command {
    name: "xinfo|help",
    since: "5.0.0",
    summary: "Lists the subcommands.",
    arity: 2,
    flags: Flags::LOADING.or(Flags::STALE),
    run: Run::Engine(EngineCommand::XInfoHelp),
    shows: r#"> XINFO HELP
<any text>1) XINFO <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..ROW
};

const STREAM: Command = Command {
    name: "xinfo|stream",
    since: "5.0.0",
    summary: "Returns information about a stream; FULL adds its entries, groups and pending entries.",
    complexity: "O(1), with FULL O(N) for N entries told",
    arity: -3,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(2, &["RO", "access"])],
    arguments: &[
        Argument::KEY,
        Argument::block(
            "full-block",
            &[Argument::word("full", "FULL"), Argument::integer("count").after("COUNT").optional()],
        )
        .optional(),
    ],
    run: Run::Shard(stream_info),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XADD log 2-0 n 2
"2-0"
> XDEL log 1-0
(integer) 1
@resp 2
@only ours
> XINFO STREAM log
 1) "length"
 2) (integer) 1
 3) "radix-tree-keys"
 4) (integer) 1
 5) "radix-tree-nodes"
 6) (integer) 2
 7) "last-generated-id"
 8) "2-0"
 9) "max-deleted-entry-id"
10) "1-0"
11) "entries-added"
12) (integer) 2
13) "recorded-first-entry-id"
14) "2-0"
15) "idmp-duration"
16) (integer) 100
17) "idmp-maxsize"
18) (integer) 100
19) "pids-tracked"
20) (integer) 0
21) "iids-tracked"
22) (integer) 0
23) "iids-added"
24) (integer) 0
25) "iids-duplicates"
26) (integer) 0
27) "groups"
28) (integer) 0
29) "first-entry"
30) 1) "2-0"
    2) 1) "n"
       2) "2"
31) "last-entry"
32) 1) "2-0"
    2) 1) "n"
       2) "2"
@only any
> XINFO STREAM absent
(error) ERR no such key
> XINFO STREAM log SHORT
(error) ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
"#,
    ..ROW
};

/// The number of entries of each kind in FULL; 0 is all.
const FULL_COUNT: usize = 10;

fn stream_info(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    let stream = stream(entry.as_deref())?.ok_or(CommandError::NO_SUCH_KEY)?;
    let full_count = match &call.args[3..] {
        [] => None,
        [full] if full.eq_ignore_ascii_case(b"full") => Some(FULL_COUNT),
        [full, count, number]
            if full.eq_ignore_ascii_case(b"full") && count.eq_ignore_ascii_case(b"count") =>
        {
            Some(usize::try_from(integer(number)?).unwrap_or(FULL_COUNT))
        }
        _ => return Err(wrong_subcommand("XINFO", call.args)),
    };
    let reply = &mut call.reply;
    reply.map(if full_count.is_some() { 15 } else { 16 });
    number(reply, "length", stream.len() as i64);
    number(reply, "radix-tree-keys", stream.node_count() as i64);
    // Ours has no radix tree; a radix tree of Redis with one key has two nodes.
    number(reply, "radix-tree-nodes", stream.node_count() as i64 + 1);
    for (name, id) in
        [("last-generated-id", stream.last_id()), ("max-deleted-entry-id", stream.max_deleted_id())]
    {
        reply.bulk(name.as_bytes());
        id::write(id, reply);
    }
    number(reply, "entries-added", stream.entries_added() as i64);
    reply.bulk(b"recorded-first-entry-id");
    id::write(stream.first_id(), reply);
    let (seconds, most) = settings_of(stream);
    let producers = stream.producers();
    let (known_producers, known_names) = producers.map_or((0, 0), |own| own.known(now_ms));
    for (name, value) in [
        ("idmp-duration", seconds),
        ("idmp-maxsize", most),
        ("pids-tracked", known_producers),
        ("iids-tracked", known_names),
        ("iids-added", producers.map_or(0, Producers::noted)),
        ("iids-duplicates", producers.map_or(0, Producers::repeated)),
    ] {
        number(reply, name, value as i64);
    }
    if let Some(count) = full_count {
        write_full(stream, if count == 0 { usize::MAX } else { count }, reply);
        return Ok(());
    }
    number(reply, "groups", stream.groups().len() as i64);
    let mut edge = |name: &str, entry: Option<StreamEntry<'_>>| {
        reply.bulk(name.as_bytes());
        match entry {
            Some(entry) => write_entry(&entry, reply),
            None => reply.null(),
        }
    };
    edge("first-entry", stream.first());
    edge("last-entry", stream.last());
    Ok(())
}

fn write_full(stream: &Stream, count_max: usize, reply: &mut Reply<'_>) {
    reply.bulk(b"entries");
    let place = reply.deferred_array();
    let entries = stream.range(StreamId::MIN, StreamId::MAX).take(count_max);
    let told = entries.fold(0, |told, entry| {
        write_entry(&entry, reply);
        told + 1
    });
    reply.finish_array(place, told);
    reply.bulk(b"groups");
    reply.array(stream.groups().len());
    for group in stream.groups() {
        reply.map(8);
        reply.bulk(b"name");
        reply.bulk(group.name());
        write_progress(stream, group, reply);
        number(reply, "pel-count", group.pending_count() as i64);
        number(reply, "nacked-count", group.unowned_count() as i64);
        reply.bulk(b"pending");
        reply.array(group.pending_count().min(count_max));
        for (id, pending) in group.pending_from(StreamId::MIN).take(count_max) {
            reply.array(4);
            id::write(*id, reply);
            reply.bulk(group.owner(pending).map_or(b"", Consumer::name));
            reply.integer(pending.delivered_at_ms as i64);
            reply.integer(pending.delivery_count as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers().len());
        group.consumers().for_each(|consumer| write_consumer(group, consumer, count_max, reply));
    }
}

fn write_consumer(
    group: &StreamGroup,
    consumer: &Consumer,
    count_max: usize,
    reply: &mut Reply<'_>,
) {
    reply.map(5);
    reply.bulk(b"name");
    reply.bulk(consumer.name());
    number(reply, "seen-time", consumer.seen_at_ms as i64);
    number(reply, "active-time", consumer.active_at_ms.map_or(-1, |at_ms| at_ms as i64));
    number(reply, "pel-count", consumer.pending_count() as i64);
    reply.bulk(b"pending");
    reply.array(consumer.pending_count().min(count_max));
    let own = consumer.pending_from(StreamId::MIN).take(count_max);
    for (id, pending) in own.filter_map(|id| Some((id, group.pending(id)?))) {
        reply.array(3);
        id::write(id, reply);
        reply.integer(pending.delivered_at_ms as i64);
        reply.integer(pending.delivery_count as i64);
    }
}
