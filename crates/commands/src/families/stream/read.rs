//! Reading what is new in several streams, alone or as a consumer of a group.
//!
//! Each stream is looked at on its shard ([`look`]), which changes nothing; what the reading of a group changes
//! is a [`StreamPart`] that is applied there once all streams were looked at.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use basalt_keyspace::{
    DatabaseId, Deliveries, Effect, Entry, Key, Keyspace, Stream, StreamChange, StreamId, StreamIds,
};
use basalt_resp::{NoMemory, Protocol, Reply};

use super::progress::entries_read_with;
use super::{ROW, id, stream, write_entry};
use crate::args::integer;
use crate::argument::Argument;
use crate::command::{Command, Flags, KeySpec, Run, Verb};
use crate::error::CommandError;

const COUNT: Argument = Argument::integer("count").after("COUNT").optional();
const BLOCK: Argument = Argument::integer("milliseconds").after("BLOCK").optional();
const STREAMS: Argument =
    Argument::block("streams", &[Argument::KEYS, Argument::string("id").multiple()])
        .after("STREAMS");

pub(super) const XREAD: Command = Command {
    name: "xread",
    since: "5.0.0",
    summary: "Tells the entries of streams behind given IDs; waits for the first, if wanted.",
    complexity: "O(N) for N entries told",
    arity: -4,
    flags: Flags::READONLY.or(Flags::BLOCKING).or(Flags::MOVABLE_KEYS),
    keys: &[KeySpec::behind_word("STREAMS", 1, &["RO", "access"])],
    arguments: &[COUNT, BLOCK, STREAMS],
    run: Run::Engine(Verb::XRead),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XADD log 2-0 n 2
"2-0"
> XADD other 1-0 m 1
"1-0"
@resp 2
> XREAD COUNT 1 STREAMS log other absent 0 0 0
1) 1) "log"
   2) 1) 1) "1-0"
         2) 1) "n"
            2) "1"
2) 1) "other"
   2) 1) 1) "1-0"
         2) 1) "m"
            2) "1"
@resp 3
> XREAD STREAMS log other 0 1-0
1# "log" =><any text>
   1) 1) "1-0"
      2) 1) "n"
         2) "1"
   2) 1) "2-0"
      2) 1) "n"
         2) "2"
@resp any
> XREAD STREAMS log $
(nil)
@only ours valkey9
> XREAD STREAMS log other 0
(error) ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.
@only any
> XREAD GROUP g c STREAMS log 0
(error) ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.
"#,
    ..ROW
};

pub(super) const XREADGROUP: Command = Command {
    name: "xreadgroup",
    since: "5.0.0",
    summary: "Gives a consumer of a group the entries that nobody in it got yet, or those it has not acknowledged.",
    complexity: "O(N) for N entries told",
    arity: -7,
    flags: Flags::WRITE.or(Flags::BLOCKING).or(Flags::MOVABLE_KEYS),
    keys: &[KeySpec::behind_word("STREAMS", 4, &["RO", "access"])],
    arguments: &[
        Argument::block("group-block", &[Argument::string("group"), Argument::string("consumer")])
            .after("GROUP"),
        COUNT,
        BLOCK,
        Argument::word("noack", "NOACK").optional(),
        STREAMS,
    ],
    run: Run::Engine(Verb::XReadGroup),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XADD log 2-0 n 2
"2-0"
> XGROUP CREATE log readers 0
OK
@resp 2
> XREADGROUP GROUP readers ann COUNT 1 STREAMS log >
1) 1) "log"
   2) 1) 1) "1-0"
         2) 1) "n"
            2) "1"
> XREADGROUP GROUP readers bob STREAMS log >
1) 1) "log"
   2) 1) 1) "2-0"
         2) 1) "n"
            2) "2"
> XREADGROUP GROUP readers ann STREAMS log 0
1) 1) "log"
   2) 1) 1) "1-0"
         2) 1) "n"
            2) "1"
> XDEL log 1-0
(integer) 1
> XREADGROUP GROUP readers ann STREAMS log 0
1) 1) "log"
   2) 1) 1) "1-0"
         2) (nil)
> XREADGROUP GROUP readers ann STREAMS log >
(nil)
> XREADGROUP GROUP nobody ann STREAMS log >
(error) NOGROUP No such key 'log' or consumer group 'nobody' in XREADGROUP with GROUP option
"#,
    ..ROW
};

/// What the arguments of XREAD or XREADGROUP say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// Group and consumer, of XREADGROUP.
    pub group: Option<(Vec<u8>, Vec<u8>)>,
    pub is_acknowledged: bool,
    pub count_max: usize,
    /// How long to wait for the first entry; 0 is for ever.
    pub block_ms: Option<u64>,
    /// Where the keys stand; as many IDs follow.
    pub keys: Range<usize>,
}

/// Reads the arguments of XREADGROUP, or of XREAD.
pub fn parse_read(
    args: &[&[u8]],
    is_group: bool,
    now_ms: u64,
) -> Result<ReadRequest, CommandError> {
    let of_group = |option: &str| {
        CommandError::new(format!(
            "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
        ))
    };
    let mut request = ReadRequest {
        group: None,
        is_acknowledged: false,
        count_max: usize::MAX,
        block_ms: None,
        keys: 0..0,
    };
    let mut at = 1;
    while at < args.len() {
        let more = args.len() - at - 1;
        let is = |word: &str| args[at].eq_ignore_ascii_case(word.as_bytes());
        if is("block") && more > 0 {
            at += 1;
            request.block_ms = Some(parse_timeout(args[at], now_ms)?);
        } else if is("count") && more > 0 {
            at += 1;
            let count = usize::try_from(integer(args[at])?).unwrap_or(0);
            request.count_max = if count == 0 { usize::MAX } else { count };
        } else if is("streams") && more > 0 {
            if !more.is_multiple_of(2) {
                let (name, symbol) = if is_group { ("xreadgroup", '>') } else { ("xread", '$') };
                return Err(CommandError::new(format!(
                    "ERR Unbalanced '{name}' list of streams: for each stream key an ID or \
                     '{symbol}' must be specified."
                )));
            }
            request.keys = at + 1..at + 1 + more / 2;
            break;
        } else if is("group") && more >= 2 {
            if !is_group {
                return Err(of_group("GROUP"));
            }
            request.group = Some((args[at + 1].to_vec(), args[at + 2].to_vec()));
            at += 2;
        } else if is("noack") {
            if !is_group {
                return Err(of_group("NOACK"));
            }
            request.is_acknowledged = true;
        } else {
            return Err(CommandError::SYNTAX);
        }
        at += 1;
    }
    if request.keys.is_empty() {
        return Err(CommandError::SYNTAX);
    }
    if is_group && request.group.is_none() {
        return Err(CommandError::text("ERR Missing GROUP option for XREADGROUP"));
    }
    Ok(request)
}

fn parse_timeout(text: &[u8], now_ms: u64) -> Result<u64, CommandError> {
    let not_integer = CommandError::text("ERR timeout is not an integer or out of range");
    let timeout = integer(text).map_err(|_| not_integer)?;
    let negative = CommandError::text("ERR timeout is negative");
    let timeout = u64::try_from(timeout).map_err(|_| negative)?;
    if timeout > (i64::MAX as u64).saturating_sub(now_ms) {
        return Err(CommandError::text("ERR timeout is out of range"));
    }
    Ok(timeout)
}

/// What a look at one stream finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamFound {
    /// The stream's key and entries, encoded; None where there is nothing to tell.
    pub answer: Option<Vec<u8>>,
    pub part: Option<StreamPart>,
    /// The ID behind which `$` looked, for the next look.
    pub newest: Option<StreamId>,
}

/// What it changes that a consumer reads of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPart {
    delivered: Vec<StreamId>,
    /// Of what the consumer has not acknowledged.
    told_again: Vec<StreamId>,
    /// The group's last ID and its count of entries read, where they move on.
    progress: Option<(StreamId, Option<u64>)>,
}

impl ReadRequest {
    /// How many new entries of the stream of each key are told under the same key before it, where a request
    /// names it more than once.
    pub fn told_before(&self, args: &[&[u8]]) -> Vec<usize> {
        let (keys, ids) = (&args[self.keys.clone()], &args[self.keys.end..]);
        let pairs: Vec<_> = keys.iter().zip(ids).collect();
        let mut named = HashMap::new();
        let times = pairs.iter().map(|(key, id)| {
            let times = named.entry(**key).or_insert(0_usize);
            let before = *times;
            *times += usize::from(self.group.is_some() && **id == b">");
            before
        });
        times.map(|times| times.saturating_mul(self.count_max)).collect()
    }
}

/// Looks at one of the streams; `from` is the argument that says behind which ID, and so many new entries were
/// told before.
pub fn look(
    entry: Option<&Entry>,
    key: &[u8],
    (from, told_before): (&[u8], usize),
    request: &ReadRequest,
    protocol: Protocol,
) -> Result<StreamFound, CommandError> {
    let found = stream(entry)?;
    if let Some((group, consumer)) = &request.group {
        let from = (from, told_before);
        return look_as_consumer(found, key, from, (group, consumer), request, protocol);
    }
    let last_id = found.map_or(StreamId::MIN, Stream::last_id);
    let after = match from {
        b"$" => last_id,
        b"+" if found.is_none() => StreamId::MIN,
        b"+" => last_id.previous().unwrap_or(last_id),
        b">" => {
            return Err(CommandError::text(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
                 <consumer> option.",
            ));
        }
        _ => id::parse(from, 0)?,
    };
    let answer = found.and_then(|stream| {
        stream.last().filter(|newest| newest.id > after)?;
        let entries = stream.range(after.next()?, StreamId::MAX).take(request.count_max);
        Some(encode(key, protocol, |reply| {
            entries.fold(0, |told, entry| {
                write_entry(&entry, reply);
                told + 1
            })
        }))
    });
    let answer = answer.transpose()?;
    let newest = (from == b"$").then_some(after);
    Ok(StreamFound { answer, part: None, newest })
}

fn look_as_consumer(
    found: Option<&Stream>,
    key: &[u8],
    (from, told_before): (&[u8], usize),
    (group_name, consumer): (&[u8], &[u8]),
    request: &ReadRequest,
    protocol: Protocol,
) -> Result<StreamFound, CommandError> {
    let group = found.and_then(|stream| Some((stream, stream.group(group_name)?)));
    let Some((stream, group)) = group else {
        let parts =
            ["NOGROUP No such key '", "' or consumer group '", "' in XREADGROUP with GROUP option"];
        return Err(CommandError::quoting_two(parts, key, group_name));
    };
    let after = match from {
        b"$" | b"+" => {
            let sign = char::from(from[0]);
            return Err(CommandError::new(format!(
                "ERR The {sign} ID is meaningless in the context of XREADGROUP: you want to read the \
                 history of this consumer by specifying a proper ID, or use the > ID to get new \
                 messages. The {sign} ID would just return an empty result set."
            )));
        }
        b">" => StreamId::MAX,
        _ => id::parse(from, 0)?,
    };
    let mut part = StreamPart::default();
    let Some(start) = after.next() else {
        // What nobody in the group got yet.
        let is_new = stream.last().is_some_and(|newest| newest.id > group.last_id);
        let start = group.last_id.next().filter(|_| is_new);
        let Some(start) = start else {
            return Ok(StreamFound { answer: None, part: Some(part), newest: None });
        };
        let (mut last_id, mut entries_read) = (group.last_id, group.entries_read);
        let answer = encode(key, protocol, |reply| {
            let until = told_before.saturating_add(request.count_max);
            for (at, entry) in stream.range(start, StreamId::MAX).take(until).enumerate() {
                entries_read = entries_read_with(stream, (last_id, entries_read), entry.id);
                last_id = entry.id;
                if at >= told_before {
                    write_entry(&entry, reply);
                    part.delivered.push(entry.id);
                }
            }
            part.delivered.len()
        })?;
        part.progress = Some((last_id, entries_read));
        let answer = Some(answer).filter(|_| !part.delivered.is_empty());
        return Ok(StreamFound { answer, part: Some(part), newest: None });
    };
    let pending = group.consumer(consumer).into_iter().flat_map(|own| own.pending_from(start));
    // What the same request was told as new is its own by now.
    let is_pending = !request.is_acknowledged && told_before > 0;
    let told = group.last_id.next().filter(|_| is_pending).into_iter().flat_map(|first| {
        let told = stream.range(first, StreamId::MAX).take(told_before);
        told.map(|entry| entry.id).filter(|id| *id >= start)
    });
    let pending: BTreeSet<StreamId> = if is_pending {
        pending.chain(told).collect()
    } else {
        pending.take(request.count_max).collect()
    };
    let answer = encode(key, protocol, |reply| {
        let mut told = 0;
        for id in pending.into_iter().take(request.count_max) {
            told += 1;
            if let Some(entry) = stream.get(id) {
                write_entry(&entry, reply);
                part.told_again.push(id);
            } else {
                reply.array(2);
                super::id::write(id, reply);
                reply.null_array();
            }
        }
        told
    })?;
    Ok(StreamFound { answer: Some(answer), part: Some(part), newest: None })
}

/// A stream's key and entries, as an element of the whole reply.
fn encode(
    key: &[u8],
    protocol: Protocol,
    write: impl FnOnce(&mut Reply<'_>) -> usize,
) -> Result<Vec<u8>, NoMemory> {
    let mut answer = Vec::new();
    let mut reply = Reply::new(&mut answer, protocol);
    if protocol == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(key);
    let place = reply.deferred_array();
    let told = write(&mut reply);
    reply.finish_array(place, told);
    reply.whole()?;
    Ok(answer)
}

/// Changes what a consumer's reading of one stream changes.
pub fn apply_part(
    keyspace: &mut Keyspace,
    database: DatabaseId,
    key: &Key<'_>,
    request: &ReadRequest,
    part: &StreamPart,
) {
    let Some((group, consumer)) = &request.group else { return };
    let at_ms = keyspace.now_ms();
    let mut commit = |change| keyspace.edit(database, key).commit(Effect::Stream(change));
    let assign = |ids, deliveries| StreamChange::Assign {
        group,
        consumer,
        ids: StreamIds::from(ids),
        at_ms,
        deliveries,
    };
    let is_active = !part.delivered.is_empty() && !request.is_acknowledged;
    if is_active {
        commit(assign(&part.delivered[..], Deliveries::Are(1)));
    }
    if !part.told_again.is_empty() {
        commit(assign(&part.told_again[..], Deliveries::OneMore));
    }
    if let Some((last_id, entries_read)) = part.progress {
        commit(StreamChange::SetGroup { group, last_id, entries_read });
    }
    commit(StreamChange::SeeConsumer { group, consumer, at_ms, is_active });
}
