//! Adds and removes entries.

use basalt_keyspace::{
    Effect, Keep, NodeLimits, STREAM_ENTRY_BYTES_MAX, Stream, StreamChange, StreamId, StreamIds,
    Strings, Trim, event,
};

use super::id::{self, GivenId};
use super::produce::{PRODUCED, Produced, configure_new};
use super::references::{REFERENCES, References, is_referenced};
use super::{ROW, stream};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

const TRIM_ARGUMENTS: &[Argument] = &[
    Argument::one_of(
        "strategy",
        &[Argument::word("maxlen", "MAXLEN"), Argument::word("minid", "MINID")],
    ),
    Argument::one_of(
        "operator",
        &[Argument::word("equal", "="), Argument::word("approximately", "~")],
    )
    .optional(),
    Argument::string("threshold"),
    Argument::integer("count").after("LIMIT").optional(),
    REFERENCES,
];

pub(super) const XADD: Command = Command {
    name: "xadd",
    since: "5.0.0",
    summary: "Appends an entry to a stream and returns its ID; a missing stream is created.",
    complexity: "O(1), and O(N) for N entries that are trimmed",
    arity: -5,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[
        Argument::KEY,
        Argument::word("nomkstream", "NOMKSTREAM").optional(),
        PRODUCED,
        Argument::block("trim", TRIM_ARGUMENTS).optional(),
        Argument::one_of("id-selector", &[Argument::word("auto-id", "*"), Argument::string("id")]),
        Argument::block("data", &[Argument::string("field"), Argument::string("value")]).multiple(),
    ],
    run: Run::Shard(xadd),
    shows: r#"> XADD log NOMKSTREAM 1-1 level info
(nil)
> XADD log 1-1 level info
"1-1"
> XADD log 1-* level warning text hot
"1-2"
> XADD log 1-2 level error
(error) ERR The ID specified in XADD is equal or smaller than the target stream top item
> XADD log MAXLEN 2 5 level error
"5-0"
> XRANGE log - +
1) 1) "1-2"
   2) 1) "level"
      2) "warning"
      3) "text"
      4) "hot"
2) 1) "5-0"
   2) 1) "level"
      2) "error"
> XADD log * level
(error) ERR wrong number of arguments for 'xadd' command
> XADD log 0-0 level info
(error) ERR The ID specified in XADD must be greater than 0-0
> XADD log nonsense level info
(error) ERR Invalid stream ID specified as stream command argument
"#,
    ..ROW
};

/// The parsed options of XADD and XTRIM.
struct Options<'a> {
    /// XADD: the index of the ID.
    id_at: usize,
    id: Option<GivenId>,
    makes_stream: bool,
    produced: Option<Produced<'a>>,
    trim: Option<(Keep, Trim, References)>,
}

/// Parses the options of XADD up to its ID, or all of XTRIM's.
fn parse_options<'a>(call: &Call<'a>, is_xadd: bool) -> Result<Options<'a>, CommandError> {
    let args = call.args;
    let mut options =
        Options { id_at: args.len(), id: None, makes_stream: true, produced: None, trim: None };
    let (mut keep, mut is_approximate, mut limit) = (None, false, None);
    let mut references = None;
    let mut at = 2;
    while at < args.len() {
        let (word, more) = (args[at], args.len() - 1 - at);
        if is_xadd && word == b"*" {
            options.id_at = at;
            break;
        }
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let (is_maxlen, is_minid) = (is("maxlen"), is("minid"));
        if (is_maxlen || is_minid) && more > 0 {
            if keep.is_some() {
                return Err(CommandError::text(
                    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                ));
            }
            at += 1;
            is_approximate = more >= 2 && args[at] == b"~";
            if more >= 2 && (is_approximate || args[at] == b"=") {
                at += 1;
            }
            keep = Some(if is_maxlen {
                let count = integer(args[at])?;
                let negative = CommandError::text("ERR The MAXLEN argument must be >= 0.");
                Keep::Newest(u64::try_from(count).map_err(|_| negative)?)
            } else {
                Keep::From(id::parse(args[at], 0)?)
            });
        } else if is("limit") && more > 0 {
            at += 1;
            let negative = CommandError::text("ERR The LIMIT argument must be >= 0.");
            limit = Some(u64::try_from(integer(args[at])?).map_err(|_| negative)?);
        } else if is_xadd && is("nomkstream") {
            options.makes_stream = false;
        } else if is_xadd && (is("idmp") && more >= 2 || is("idmpauto") && more > 0) {
            let values = if is("idmp") { &args[at + 1..at + 3] } else { &args[at + 1..at + 2] };
            options.produced = Some(Produced::parse(values, options.produced.is_some())?);
            at += values.len();
        } else if let Some(wanted) = References::of_word(word) {
            if references.replace(wanted).is_some() {
                return Err(CommandError::SYNTAX);
            }
        } else if is_xadd {
            options.id = Some(id::parse_given(word)?);
            if options.produced.is_some() {
                return Err(CommandError::text(
                    "ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs",
                ));
            }
            options.id_at = at;
            break;
        } else {
            return Err(CommandError::SYNTAX);
        }
        at += 1;
    }
    if keep.is_none() && limit.is_some_and(|limit| limit > 0) {
        return Err(CommandError::text(
            "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        ));
    }
    if keep.is_none() && !is_xadd {
        return Err(CommandError::text(
            "ERR syntax error, XTRIM must be called with a trimming strategy",
        ));
    }
    if limit.is_some() && !is_approximate {
        return Err(CommandError::text(
            "ERR syntax error, LIMIT cannot be used without the special ~ option",
        ));
    }
    let trim = if is_approximate {
        let entries = call.config.stream_node_max_entries;
        Trim::Nodes { entries_max: limit.unwrap_or_else(|| work_limit(entries)) }
    } else {
        Trim::Exactly
    };
    options.trim = keep.map(|keep| (keep, trim, references.unwrap_or_default()));
    Ok(options)
}

/// LIMIT: how many entries an approximate trim removes at a time by default: a hundred nodes.
fn work_limit(node_entries: u64) -> u64 {
    match node_entries.saturating_mul(100) {
        0 => 10_000,
        entries => entries.min(1_000_000),
    }
}

fn xadd(call: &mut Call<'_>) -> Outcome {
    let options = parse_options(call, true)?;
    let parts = call.args.get(options.id_at + 1..).unwrap_or_default();
    if parts.is_empty() || !parts.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(XADD.name));
    }
    if options.id == Some(GivenId::Whole(StreamId::MIN)) {
        return Err(CommandError::text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let limits = NodeLimits {
        bytes: call.config.stream_node_max_bytes,
        entries: call.config.stream_node_max_entries,
    };
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let there = stream(entry.as_deref())?;
    if there.is_none() && !options.makes_stream {
        call.reply.null();
        return Ok(());
    }
    let name = options.produced.map(|produced| (produced.producer, produced.name(parts)));
    if let (Some((producer, name)), Some(producers)) = (&name, there.and_then(Stream::producers))
        && let Some(id) = producers.find(producer, name, now_ms)
    {
        edit.commit(Effect::Stream(StreamChange::CountRepeated));
        id::write(id, &mut call.reply);
        return Ok(());
    }
    let is_new = there.is_none();
    let id = next_id(there.map_or(StreamId::MIN, Stream::last_id), options.id, now_ms)?;
    let part_bytes = parts.iter().map(|part| part.len()).sum();
    if part_bytes > STREAM_ENTRY_BYTES_MAX {
        return Err(CommandError::text("ERR Elements are too large to be stored"));
    }
    let in_new_node = there.is_some_and(|stream| stream.is_node_full(limits, part_bytes));
    let pairs = Strings::from(parts);
    edit.commit(Effect::Stream(StreamChange::Add { id, pairs, in_new_node }));
    if is_new {
        configure_new(call);
    }
    if let Some((producer, name)) = &name {
        let change = StreamChange::NoteName { producer, name, id, at_ms: now_ms };
        call.keyspace.edit(call.database, &call.key).commit(Effect::Stream(change));
    }
    if let Some(trimming) = options.trim {
        trim_stream(call, trimming)?;
    }
    id::write(id, &mut call.reply);
    Ok(())
}

/// The ID of a new entry after `last`.
fn next_id(last: StreamId, given: Option<GivenId>, now_ms: u64) -> Result<StreamId, CommandError> {
    if last == StreamId::MAX {
        return Err(CommandError::text(
            "ERR The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let id = match given {
        None if now_ms > last.ms => Some(StreamId { ms: now_ms, seq: 0 }),
        None => last.next(),
        Some(GivenId::Whole(id)) => Some(id),
        Some(GivenId::Milliseconds(ms)) if ms == last.ms => {
            last.seq.checked_add(1).map(|seq| StreamId { ms, seq })
        }
        Some(GivenId::Milliseconds(ms)) => Some(StreamId { ms, seq: 0 }),
    };
    id.filter(|id| *id > last).ok_or(CommandError::text(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
    ))
}

/// Trims the stream of the command's key; returns the number of removed entries.
fn trim_stream(
    call: &mut Call<'_>,
    (keep, trim, references): (Keep, Trim, References),
) -> Result<u64, CommandError> {
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let Some(stream) = stream(entry.as_deref())? else { return Ok(0) };
    let count = stream.trimmed_count(keep, trim);
    if count == 0 {
        return Ok(0);
    }
    let entries = || stream.range(StreamId::MIN, StreamId::MAX).map(|entry| entry.id);
    let ids: Vec<StreamId> = match references {
        References::Kept => Vec::new(),
        References::Dropped => entries().take(count as usize).collect(),
        // Down to a length, other entries are removed in place of those that groups still refer to.
        References::Respected => {
            let among = match (keep, trim) {
                (Keep::Newest(_), Trim::Exactly) => stream.len(),
                _ => count,
            };
            let free = entries().take(among as usize).filter(|id| !is_referenced(stream, *id));
            free.take(count as usize).collect()
        }
    };
    let ids_to_go = StreamIds::from(&ids[..]);
    if references == References::Respected {
        if ids.is_empty() {
            return Ok(0);
        }
        let edit = edit.as_event(event::XTRIM);
        edit.commit(Effect::Stream(StreamChange::Delete { ids: ids_to_go }));
        return Ok(ids.len() as u64);
    }
    edit.commit(Effect::Stream(StreamChange::DropFirst { count }));
    if references == References::Dropped {
        let edit = call.keyspace.edit(call.database, &call.key);
        edit.commit(Effect::Stream(StreamChange::Forget { ids: ids_to_go }));
    }
    Ok(count)
}

pub(super) const XTRIM: Command = Command {
    name: "xtrim",
    since: "5.0.0",
    summary: "Removes the oldest entries, down to a length or a minimum ID, and returns how many it removed.",
    complexity: "O(N) for N entries that go, in whole nodes",
    arity: -4,
    flags: Flags::WRITE,
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RW", "delete"])],
    arguments: &[Argument::KEY, Argument::block("trim", TRIM_ARGUMENTS)],
    run: Run::Shard(xtrim),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XADD log 2-0 n 2
"2-0"
> XADD log 3-0 n 3
"3-0"
> XTRIM log MAXLEN ~ 1
(integer) 0
> XTRIM log MAXLEN 2
(integer) 1
> XTRIM log MINID = 3
(integer) 1
> XLEN log
(integer) 1
> XTRIM log MAXLEN 1 LIMIT 5
(error) ERR syntax error, LIMIT cannot be used without the special ~ option
> XTRIM log MAXLEN -1
(error) ERR The MAXLEN argument must be >= 0.
> XTRIM absent MAXLEN 0
(integer) 0
"#,
    ..ROW
};

fn xtrim(call: &mut Call<'_>) -> Outcome {
    let options = parse_options(call, false)?;
    let trimming = options.trim.expect("because XTRIM without a strategy was refused");
    let count = trim_stream(call, trimming)?;
    call.reply.integer(count as i64);
    Ok(())
}

pub(super) const XDEL: Command = Command {
    name: "xdel",
    since: "5.0.0",
    summary: "Removes entries by ID and returns how many existed.",
    complexity: "O(N) for N IDs",
    arity: -3,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "delete"])],
    arguments: &[Argument::KEY, Argument::string("id").multiple()],
    run: Run::Shard(xdel),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XADD log 2-0 n 2
"2-0"
> XDEL log 1 1-0 3-0
(integer) 1
> XDEL log 2-0
(integer) 1
> EXISTS log
(integer) 1
> XDEL log nonsense
(error) ERR Invalid stream ID specified as stream command argument
> XDEL absent nonsense
(integer) 0
"#,
    ..ROW
};

fn xdel(call: &mut Call<'_>) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let Some(stream) = stream(entry.as_deref())? else {
        call.reply.integer(0);
        return Ok(());
    };
    let ids: Result<Vec<_>, _> = call.args[2..].iter().map(|text| id::parse(text, 0)).collect();
    let mut ids = ids?;
    ids.retain(|id| stream.get(*id).is_some());
    ids.sort_unstable();
    ids.dedup();
    if !ids.is_empty() {
        edit.commit(Effect::Stream(StreamChange::Delete { ids: StreamIds::from(&ids[..]) }));
    }
    call.reply.integer(ids.len() as i64);
    Ok(())
}

pub(super) const XSETID: Command = Command {
    name: "xsetid",
    since: "5.0.0",
    summary: "Sets the last ID of a stream, and optionally its counters.",
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[
        Argument::KEY,
        Argument::string("last-id"),
        Argument::integer("entries-added").after("ENTRIESADDED").optional(),
        Argument::string("max-deleted-id").after("MAXDELETEDID").optional(),
    ],
    run: Run::Shard(xsetid),
    shows: r#"> XADD log 5-0 n 1
"5-0"
> XSETID log 9-0
OK
> XADD log 9-0 n 2
(error) ERR The ID specified in XADD is equal or smaller than the target stream top item
> XSETID log 4-0
(error) ERR The ID specified in XSETID is smaller than the target stream top item
> XSETID log 9-0 ENTRIESADDED 0 MAXDELETEDID 1-0
(error) ERR The entries_added specified in XSETID is smaller than the target stream length
> XSETID log 9-0 MAXDELETEDID 10-0
(error) ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
> XSETID absent 1-0
(error) ERR no such key
"#,
    ..ROW
};

fn xsetid(call: &mut Call<'_>) -> Outcome {
    let last_id = id::parse(call.args[2], 0)?;
    let (mut entries_added, mut max_deleted_id) = (None, None);
    let mut rest = &call.args[3..];
    while let [word, value, others @ ..] = rest {
        if word.eq_ignore_ascii_case(b"entriesadded") {
            let negative = CommandError::text("ERR entries_added must be positive");
            entries_added = Some(u64::try_from(integer(value)?).map_err(|_| negative)?);
        } else if word.eq_ignore_ascii_case(b"maxdeletedid") {
            let deleted = id::parse(value, 0)?;
            if last_id < deleted {
                return Err(CommandError::text(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
            max_deleted_id = Some(deleted);
        } else {
            return Err(CommandError::SYNTAX);
        }
        rest = others;
    }
    if !rest.is_empty() {
        return Err(CommandError::SYNTAX);
    }
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let stream = stream(entry.as_deref())?.ok_or(CommandError::NO_SUCH_KEY)?;
    if last_id < stream.max_deleted_id() {
        return Err(CommandError::text(
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id",
        ));
    }
    if stream.last().is_some_and(|newest| last_id < newest.id) {
        return Err(CommandError::text(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if !stream.is_empty() && entries_added.is_some_and(|added| stream.len() > added) {
        return Err(CommandError::text(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    let max_deleted_id = max_deleted_id.filter(|id| *id != StreamId::MIN);
    edit.commit(Effect::Stream(StreamChange::SetLastId { last_id, entries_added, max_deleted_id }));
    call.reply.ok();
    Ok(())
}
