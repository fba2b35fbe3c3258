//! Reads new entries of several streams, alone or as a consumer of a group.
//!
//! Each stream is read on its shard ([`look`]) without a change; the changes of a group's read are
//! a [`StreamPart`], which is applied there after all streams were read. In between, entries beyond
//! MAXCOUNT and MAXSIZE are removed ([`ReadRequest::limit`]).
//!
//! Not here: reading as a consumer (`consume`).

use std::ops::Range;
use std::sync::Arc;

use basalt_keyspace::{Entry, Stream, StreamId};
use basalt_resp::{NoMemory, Protocol, Reply};

use super::consume::{StreamPart, apply_part, look_as_consumer};
use super::{ROW, id, stream, write_entry};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::Outcome;
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::many_keys::{Blocking, Decision, KeyRead, ManyKeys, OverKeys, Settings, Wait, WaitsFor};

const COUNT: Argument = Argument::integer("count").after("COUNT").optional();
const MAXCOUNT: Argument = Argument::integer("maxcount").after("MAXCOUNT").optional();
const MAXSIZE: Argument = Argument::integer("maxsize").after("MAXSIZE").optional();
const BLOCK: Argument = Argument::integer("milliseconds").after("BLOCK").optional();
const STREAMS: Argument =
    Argument::block("streams", &[Argument::KEYS, Argument::string("id").multiple()])
        .after("STREAMS");

pub(super) const XREAD: Command = Command {
    name: "xread",
    since: "5.0.0",
    summary: "Returns the entries of streams after given IDs; optionally waits for the first.",
    complexity: "O(N) for N entries told",
    arity: -4,
    flags: Flags::READONLY.or(Flags::BLOCKING).or(Flags::MOVABLE_KEYS),
    keys: &[KeySpec::behind_word("STREAMS", 1, &["RO", "access"])],
    arguments: &[COUNT, MAXCOUNT, MAXSIZE, BLOCK, STREAMS],
    run: Run::Many(&const { ManyKeys::of::<Read<false>>().blocking(WAIT) }),
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
@resp 2
@only ours
> XREAD MAXCOUNT 1 STREAMS log other 0 0
1) 1) "log"
   2) 1) 1) "1-0"
         2) 1) "n"
            2) "1"
@only any
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
    summary: "Delivers entries to a consumer of a group: new ones, or those that it has not acknowledged.",
    complexity: "O(N) for N entries told",
    arity: -7,
    flags: Flags::WRITE.or(Flags::BLOCKING).or(Flags::MOVABLE_KEYS),
    keys: &[KeySpec::behind_word("STREAMS", 4, &["RO", "access"]).changed()],
    arguments: &[
        Argument::block("group-block", &[Argument::string("group"), Argument::string("consumer")])
            .after("GROUP"),
        COUNT,
        MAXCOUNT,
        MAXSIZE,
        BLOCK,
        Argument::integer("min-idle-time").after("CLAIM").optional(),
        Argument::word("noack", "NOACK").optional(),
        STREAMS,
    ],
    run: Run::Many(&const { ManyKeys::of::<Read<true>>().blocking(WAIT_AS_CONSUMER) }),
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
@only ours
> XREADGROUP GROUP readers ann CLAIM 0 STREAMS log >
1) 1) "log"
   2) 1) 1) "2-0"
         2) 1) "n"
            2) "2"
         3) (integer) <between 0 10000>
         4) (integer) 1
@only any
> XREADGROUP GROUP nobody ann STREAMS log >
(error) NOGROUP No such key 'log' or consumer group 'nobody' in XREADGROUP with GROUP option
"#,
    ..ROW
};

/// A parsed XREAD or XREADGROUP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadRequest {
    /// Group and consumer of XREADGROUP.
    pub group: Option<(Vec<u8>, Vec<u8>)>,
    pub is_acknowledged: bool,
    /// The minimum idle time of pending entries to claim.
    pub claim_min_ms: Option<u64>,
    /// COUNT: the maximum number of entries per stream.
    pub count_max: usize,
    /// MAXCOUNT: the maximum number of entries in total.
    pub max_count: usize,
    /// MAXSIZE: a reply of this length gets no further entry.
    pub max_bytes: usize,
    /// How long to wait for the first entry; 0 is forever.
    pub block_ms: Option<u64>,
    /// The indexes of the keys; as many IDs follow.
    pub keys: Range<usize>,
}

/// Parses the arguments of XREADGROUP, or of XREAD.
fn parse_read(args: &[&[u8]], is_group: bool, now_ms: u64) -> Result<ReadRequest, CommandError> {
    let of_group = |option: &str| {
        CommandError::new(format!(
            "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
        ))
    };
    let mut request = ReadRequest {
        group: None,
        is_acknowledged: false,
        claim_min_ms: None,
        count_max: usize::MAX,
        max_count: usize::MAX,
        max_bytes: usize::MAX,
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
        } else if is("maxcount") && more > 0 {
            at += 1;
            request.max_count = positive(args[at], "MAXCOUNT")?;
        } else if is("maxsize") && more > 0 {
            at += 1;
            request.max_bytes = positive(args[at], "MAXSIZE")?;
        } else if is("claim") && more > 0 {
            if !is_group {
                return Err(of_group("CLAIM"));
            }
            at += 1;
            request.claim_min_ms = Some(parse_claim_min(args[at])?);
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
    if request.count_max != usize::MAX && request.max_count < request.count_max {
        return Err(CommandError::text("ERR MAXCOUNT must be greater than or equal to COUNT"));
    }
    Ok(request)
}

fn positive(text: &[u8], option: &str) -> Result<usize, CommandError> {
    let number = usize::try_from(integer(text)?).ok().filter(|number| *number > 0);
    number.ok_or_else(|| CommandError::new(format!("ERR {option} must be a positive integer")))
}

fn parse_claim_min(text: &[u8]) -> Result<u64, CommandError> {
    let not_integer = CommandError::text("ERR min-idle-time is not an integer or out of range");
    let negative = CommandError::text("ERR min-idle-time must be a positive integer");
    u64::try_from(integer(text).map_err(|_| not_integer)?).map_err(|_| negative)
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

/// The result for one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StreamFound {
    /// `None` if there are no entries.
    pub answer: Option<StreamAnswer>,
    pub part: Option<StreamPart>,
    /// The ID that `$` stood for, for the next attempt.
    pub newest: Option<StreamId>,
    /// Milliseconds until pending entries are claimable, if none is now.
    pub claimable_in_ms: Option<u64>,
}

/// A stream's key and entries, encoded as an element of the whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamAnswer {
    pub bytes: Vec<u8>,
    /// The offset of the array of entries.
    array_at: usize,
    /// The offset of each entry's end, relative to the first one's start; only kept if the reply is
    /// limited.
    entry_ends: Vec<usize>,
}

impl StreamAnswer {
    /// Encodes the entries that `write` writes, one per call, until it writes none.
    pub(super) fn encode(
        key: &[u8],
        protocol: Protocol,
        request: &ReadRequest,
        mut write: impl FnMut(&mut Reply<'_>) -> bool,
    ) -> Result<Self, NoMemory> {
        let (mut bytes, mut entry_ends) = (Vec::new(), Vec::new());
        let mut reply = Reply::new(&mut bytes, protocol);
        if protocol == Protocol::Resp2 {
            reply.array(2);
        }
        reply.bulk(key);
        let array_at = reply.position();
        let place = reply.deferred_array();
        let (first_at, mut count) = (reply.position(), 0);
        while !request.has_enough(count, reply.position()) && write(&mut reply) {
            count += 1;
            if request.is_limited() {
                entry_ends.push(reply.position() - first_at);
            }
        }
        reply.finish_array(place, count);
        reply.whole()?;
        Ok(Self { bytes, array_at, entry_ends })
    }

    /// The offset of an entry.
    fn begin_of(&self, entry: usize) -> usize {
        let first_at = self.bytes.len() - self.entry_ends.last().unwrap_or(&0);
        first_at + entry.checked_sub(1).map_or(0, |before| self.entry_ends[before])
    }

    /// Keeps the first entries only.
    fn truncate(&mut self, count: usize) {
        let (first_at, end) = (self.begin_of(0), self.begin_of(count));
        self.bytes.truncate(end);
        let mut header = Vec::new();
        // An array has the same form in both protocols.
        Reply::new(&mut header, Protocol::Resp2).array(count);
        self.bytes.splice(self.array_at..first_at, header);
        self.entry_ends.truncate(count);
    }
}

impl ReadRequest {
    /// The maximum number of entries per stream.
    pub(super) fn count_of_each(&self) -> usize {
        self.count_max.min(self.max_count)
    }

    /// Whether a stream's answer of so many entries and bytes needs no further one, whatever those of other
    /// streams are: the header of the answer may become some bytes shorter yet.
    fn has_enough(&self, count: usize, bytes: usize) -> bool {
        const HEADER_BYTES_MAX: usize = 32;
        let is_long = bytes.saturating_sub(HEADER_BYTES_MAX) >= self.max_bytes;
        count >= self.max_count || (count > 0 && is_long)
    }

    fn is_limited(&self) -> bool {
        self.max_count != usize::MAX || self.max_bytes != usize::MAX
    }

    /// Removes entries beyond MAXCOUNT or MAXSIZE, in the order of the keys: they are neither
    /// returned nor delivered. One entry is returned whatever its length.
    fn limit(&self, found: &mut [StreamFound]) {
        if !self.is_limited() {
            return;
        }
        let (mut told, mut bytes) = (0, 0);
        let is_full = |told: usize, bytes: usize| {
            told >= self.max_count || told > 0 && bytes >= self.max_bytes
        };
        for found in found {
            let Some(answer) = &mut found.answer else { continue };
            if is_full(told, bytes) {
                (found.answer, found.part) = (None, None);
                continue;
            }
            let entries = 0..answer.entry_ends.len();
            let fits = |at: &usize| !is_full(told + at, bytes + answer.begin_of(*at));
            let count = entries.take_while(fits).count();
            if count < answer.entry_ends.len() {
                answer.truncate(count);
                if let Some(part) = &mut found.part {
                    part.truncate(count);
                }
            }
            told += count;
            bytes += answer.bytes.len();
        }
    }
}

/// What a request has returned of a stream already, where it names that more than once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Returned {
    /// How many entries that it claimed.
    pub claimed: usize,
    /// The last entry that no consumer of the group had got before.
    pub newest: Option<StreamId>,
}

/// Reads one of the streams, from an ID on.
fn look(
    entry: Option<&Entry>,
    key: &[u8],
    (from, returned): (&[u8], &mut Returned),
    request: &ReadRequest,
    (protocol, now_ms): (Protocol, u64),
) -> Result<StreamFound, CommandError> {
    let found = stream(entry)?;
    if let Some(names) = &request.group {
        let from = (from, returned);
        return look_as_consumer(found, key, from, (request, names), (protocol, now_ms));
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
        let count = request.count_of_each();
        let mut entries = stream.range(after.next()?, StreamId::MAX).take(count);
        Some(StreamAnswer::encode(key, protocol, request, |reply| {
            entries.next().map(|entry| write_entry(&entry, reply)).is_some()
        }))
    });
    let answer = answer.transpose()?;
    let newest = (from == b"$").then_some(after);
    Ok(StreamFound { answer, newest, ..StreamFound::default() })
}

/// XREAD, and XREADGROUP with `GROUP`.
struct Read<const GROUP: bool>;

impl<const GROUP: bool> OverKeys for Read<GROUP> {
    type Found = Result<StreamFound, CommandError>;

    fn check(args: &[&[u8]], settings: &Settings<'_>) -> Outcome {
        parse_read(args, GROUP, settings.now_ms).map(drop)
    }

    fn read(key: KeyRead<'_>) -> Self::Found {
        let KeyRead { keyspace, database, key, index, args, settings, remembered, left } = key;
        let request = parse_read(args, GROUP, settings.now_ms)?;
        let meaning = remembered.meanings.get(&index);
        let id = meaning.map_or(args[request.keys.end + index], Vec::as_slice);
        let mut nothing = Returned::default();
        let returned = left.map_or(&mut nothing, |left| {
            let left = left.get_or_insert_with(|| Box::new(Returned::default()));
            left.downcast_mut().expect("its own")
        });
        let from = (id, returned);
        let now_ms = keyspace.now_ms();
        let entry = keyspace.read(database, &key);
        look(entry.as_deref(), key.bytes, from, &request, (settings.protocol, now_ms))
    }

    fn decide(found: Vec<Self::Found>, decision: &mut Decision<'_, '_>) -> Outcome {
        let request = Arc::new(parse_read(decision.args, GROUP, decision.settings.now_ms)?);
        let mut found: Vec<StreamFound> = found.into_iter().collect::<Result<_, _>>()?;
        let remembered = &mut decision.remembered;
        remembered.retry_in_ms = found.iter().filter_map(|found| found.claimable_in_ms).min();
        request.limit(&mut found);
        let answers = found.iter().filter_map(|found| found.answer.as_ref());
        let count = answers.clone().count();
        if count > 0 {
            match decision.settings.protocol {
                Protocol::Resp2 => decision.reply.array(count),
                Protocol::Resp3 => decision.reply.map(count),
            }
            answers.for_each(|answer| decision.reply.raw(&answer.bytes));
        } else if std::mem::replace(&mut remembered.was_in_vain, true) {
            return Ok(());
        }
        for (index, found) in found.into_iter().enumerate() {
            if let Some(newest) = found.newest {
                decision.remembered.meanings.insert(index, newest.to_string().into_bytes());
            }
            let (Some(part), request) = (found.part, Arc::clone(&request)) else { continue };
            decision.write(index, move |keyspace, id, key| {
                apply_part(keyspace, id, key, &request, &part);
            });
        }
        Ok(())
    }
}

const WAIT: Blocking = Blocking {
    wait: |args, settings| wait_for(&parse_read(args, false, settings.now_ms).ok()?),
    nothing: |reply| reply.null_array(),
};

const WAIT_AS_CONSUMER: Blocking = Blocking {
    wait: |args, settings| wait_for(&parse_read(args, true, settings.now_ms).ok()?),
    nothing: |reply| reply.null_array(),
};

fn wait_for(request: &ReadRequest) -> Option<Wait> {
    let block_ms = request.block_ms?;
    let waits_for = match &request.group {
        Some((group, _)) => WaitsFor::Group(group.clone()),
        None => WaitsFor::Entries,
    };
    let timeout_ms = (block_ms > 0).then_some(block_ms);
    Some(Wait { key_count: request.keys.len(), waits_for, least: 1, timeout_ms })
}
