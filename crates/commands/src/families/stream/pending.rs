//! Pending entries: XPENDING, XCLAIM, XAUTOCLAIM.

use basalt_keyspace::{
    Consumer, Deliveries, Effect, Group, Pending, StreamChange, StreamId, StreamIds,
};

use super::{ROW, group_of, id, no_group, write_entry};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const XPENDING: Command = Command {
    name: "xpending",
    since: "5.0.0",
    summary: "Returns a summary or a list of a group's pending entries: consumers, idle times, deliveries.",
    complexity: "O(N) for N entries told",
    arity: -3,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[
        Argument::KEY,
        Argument::string("group"),
        Argument::block(
            "filters",
            &[
                Argument::integer("min-idle-time").after("IDLE").optional(),
                Argument::string("start"),
                Argument::string("end"),
                Argument::integer("count"),
                Argument::string("consumer").optional(),
            ],
        )
        .optional(),
    ],
    run: Run::Shard(xpending),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XGROUP CREATE log readers 0
OK
> XPENDING log readers
1) (integer) 0
2) (nil)
3) (nil)
4) (nil)
@resp 2
> XREADGROUP GROUP readers ann STREAMS log >
1) 1) "log"
   2) 1) 1) "1-0"
         2) 1) "n"
            2) "1"
> XPENDING log readers
1) (integer) 1
2) "1-0"
3) "1-0"
4) 1) 1) "ann"
      2) "1"
> XPENDING log readers - + 10 ann
1) 1) "1-0"
   2) "ann"
   3) (integer) <between 0 10000>
   4) (integer) 1
> XPENDING log readers IDLE 100000 - + 10
(empty array)
> XPENDING log nobody
(error) NOGROUP No such key 'log' or consumer group 'nobody'
"#,
    ..ROW
};

/// The filter of the extended form of XPENDING.
struct Wanted<'a> {
    idle_min_ms: i64,
    start: StreamId,
    end: StreamId,
    count: usize,
    consumer: Option<&'a [u8]>,
}

fn parse_wanted<'a>(args: &[&'a [u8]]) -> Result<Option<Wanted<'a>>, CommandError> {
    if args.len() == 3 {
        return Ok(None);
    }
    if !(6..=9).contains(&args.len()) {
        return Err(CommandError::SYNTAX);
    }
    let (mut idle_min_ms, mut at) = (0, 3);
    if args[3].eq_ignore_ascii_case(b"idle") {
        idle_min_ms = integer(args[4])?;
        at = 5;
        if args.len() < 8 {
            return Err(CommandError::SYNTAX);
        }
    }
    let count = usize::try_from(integer(args[at + 2])?).unwrap_or(0);
    let (start, end) = (id::parse_start(args[at])?, id::parse_end(args[at + 1])?);
    Ok(Some(Wanted { idle_min_ms, start, end, count, consumer: args.get(at + 3).copied() }))
}

fn xpending(call: &mut Call<'_>) -> Outcome {
    let wanted = parse_wanted(call.args)?;
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    let refusal = || no_group(call.key.bytes, call.args[2]);
    let (_, group) = group_of(entry.as_deref(), call.args[2])?.ok_or_else(refusal)?;
    let reply = &mut call.reply;
    let Some(wanted) = wanted else {
        reply.array(4);
        reply.integer(group.pending_count() as i64);
        let (Some((first, _)), Some(last)) =
            (group.pending_from(StreamId::MIN).next(), group.last_pending())
        else {
            reply.null();
            reply.null();
            reply.null_array();
            return Ok(());
        };
        id::write(*first, reply);
        id::write(last, reply);
        let owners = || group.consumers().filter(|consumer| consumer.pending_count() > 0);
        reply.array(owners().count());
        for consumer in owners() {
            reply.array(2);
            reply.bulk(consumer.name());
            reply.bulk_integer(consumer.pending_count() as i64);
        }
        return Ok(());
    };
    let own = match wanted.consumer.map(|name| group.consumer(name)) {
        None => None,
        Some(Some(consumer)) => Some(consumer),
        Some(None) => {
            reply.array(0);
            return Ok(());
        }
    };
    let place = reply.deferred_array();
    let all = own.is_none().then(|| group.pending_from(wanted.start).map(|(id, _)| *id));
    let own = own.map(|consumer| consumer.pending_from(wanted.start));
    let ids = all.into_iter().flatten().chain(own.into_iter().flatten());
    let told = ids
        .take_while(|id| *id <= wanted.end)
        .filter_map(|id| Some((id, group.pending(id)?)))
        .filter(|(_, pending)| is_claimable(group, pending, now_ms, wanted.idle_min_ms))
        .take(wanted.count)
        .fold(0, |told, (id, pending)| {
            let owner = group.owner(pending);
            let idle_ms = now_ms.wrapping_sub(pending.delivered_at_ms) as i64;
            reply.array(4);
            id::write(id, reply);
            reply.bulk(owner.map_or(b"", Consumer::name));
            reply.integer(if owner.is_some() { idle_ms.max(0) } else { -1 });
            reply.integer(pending.delivery_count as i64);
            told + 1
        });
    reply.finish_array(place, told);
    Ok(())
}

pub(super) const XCLAIM: Command = Command {
    name: "xclaim",
    since: "5.0.0",
    summary: "Assigns pending entries to another consumer, if they are idle for long enough, and returns them.",
    complexity: "O(N) for N IDs",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[
        Argument::KEY,
        Argument::string("group"),
        Argument::string("consumer"),
        Argument::string("min-idle-time"),
        Argument::string("id").multiple(),
        Argument::integer("ms").after("IDLE").optional(),
        Argument::unix_time("unix-time-milliseconds").after("TIME").optional(),
        Argument::integer("count").after("RETRYCOUNT").optional(),
        Argument::word("force", "FORCE").optional(),
        Argument::word("justid", "JUSTID").optional(),
        Argument::string("lastid").after("LASTID").optional(),
    ],
    run: Run::Shard(xclaim),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XGROUP CREATE log readers 0
OK
> XCLAIM log readers ann 0 1-0
(empty array)
> XCLAIM log readers ann 0 1-0 2-0 FORCE RETRYCOUNT 3
1) 1) "1-0"
   2) 1) "n"
      2) "1"
> XCLAIM log readers bob 100000 1-0
(empty array)
> XCLAIM log readers bob 0 1-0 IDLE 5000 JUSTID
1) "1-0"
> XPENDING log readers - + 10
1) 1) "1-0"
   2) "bob"
   3) (integer) <between 5000 15000>
   4) (integer) 3
> XCLAIM log readers bob 0 1-0 NONSENSE
(error) ERR Unrecognized XCLAIM option 'NONSENSE'
> XCLAIM log nobody bob 0 1-0
(error) NOGROUP No such key 'log' or consumer group 'nobody'
"#,
    ..ROW
};

/// The options after the IDs of XCLAIM.
struct Claim {
    ids: Vec<StreamId>,
    delivered_at_ms: u64,
    delivery_count: Option<u64>,
    is_forced: bool,
    tells_ids_only: bool,
    last_id: StreamId,
}

fn parse_claim(args: &[&[u8]], now_ms: u64) -> Result<Claim, CommandError> {
    let ids: Vec<_> = args[5..].iter().map_while(|text| id::parse(text, 0).ok()).collect();
    let options = &args[5 + ids.len()..];
    let mut claim = Claim {
        ids,
        delivered_at_ms: now_ms,
        delivery_count: None,
        is_forced: false,
        tells_ids_only: false,
        last_id: StreamId::MIN,
    };
    let number = |text, option| {
        let invalid = format!("ERR Invalid {option} option argument for XCLAIM");
        integer(text).map_err(|_| CommandError::new(invalid))
    };
    let mut rest = options;
    let mut at_ms = None;
    while let [word, others @ ..] = rest {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        rest = others;
        if is("force") {
            claim.is_forced = true;
            continue;
        }
        if is("justid") {
            claim.tells_ids_only = true;
            continue;
        }
        let unknown = || CommandError::quoting("ERR Unrecognized XCLAIM option '", word, "'");
        let [value, others @ ..] = others else { return Err(unknown()) };
        if is("idle") {
            at_ms = Some((now_ms as i64).wrapping_sub(number(value, "IDLE")?));
        } else if is("time") {
            at_ms = Some(number(value, "TIME")?);
        } else if is("retrycount") {
            claim.delivery_count = u64::try_from(number(value, "RETRYCOUNT")?).ok();
        } else if is("lastid") {
            claim.last_id = id::parse(value, 0)?;
        } else {
            return Err(unknown());
        }
        rest = others;
    }
    // A moment before 1970 or in the future counts as now.
    let at_ms = at_ms.and_then(|at_ms| u64::try_from(at_ms).ok()).filter(|at_ms| *at_ms <= now_ms);
    claim.delivered_at_ms = at_ms.unwrap_or(now_ms);
    Ok(claim)
}

fn xclaim(call: &mut Call<'_>) -> Outcome {
    let (args, now_ms) = (call.args, call.keyspace.now_ms());
    let (group, consumer) = (args[2], args[3]);
    let entry = call.keyspace.read(call.database, &call.key);
    let key = call.key.bytes;
    let refusal = || no_group(key, group);
    let (_, found) = group_of(entry.as_deref(), group)?.ok_or_else(refusal)?;
    let idle_min_ms = parse_idle_min(args[4], "XCLAIM")?;
    let claim = parse_claim(args, now_ms)?;
    let moves_on = claim.last_id > found.last_id;
    let entries_read = found.entries_read;
    if moves_on {
        let last_id = claim.last_id;
        commit(call, StreamChange::SetGroup { group, last_id, entries_read });
    }
    let place = call.reply.deferred_array();
    let mut told = 0;
    for claimed in &claim.ids {
        let entry = call.keyspace.peek(call.database, &call.key);
        let (stream, found) = group_of(entry.as_deref(), group)?.ok_or_else(refusal)?;
        let pending = found.pending(*claimed);
        let ids = StreamIds::from(std::slice::from_ref(claimed));
        let Some(content) = stream.get(*claimed) else {
            let was_pending = pending.is_some();
            if was_pending {
                commit(call, StreamChange::Acknowledge { group, ids });
            }
            continue;
        };
        let may = match pending {
            Some(pending) => is_claimable(found, pending, now_ms, idle_min_ms),
            None => claim.is_forced,
        };
        if !may {
            continue;
        }
        told += 1;
        if claim.tells_ids_only {
            id::write(*claimed, &mut call.reply);
        } else {
            write_entry(&content, &mut call.reply);
        }
        let is_new = pending.is_none();
        let deliveries = match claim.delivery_count {
            Some(count) => Deliveries::Are(count),
            None if claim.tells_ids_only && is_new => Deliveries::Are(1),
            None if claim.tells_ids_only => Deliveries::Kept,
            None if is_new => Deliveries::Are(2),
            None => Deliveries::OneMore,
        };
        let at_ms = claim.delivered_at_ms;
        commit(call, StreamChange::Assign { group, consumer, ids, at_ms, deliveries });
    }
    call.reply.finish_array(place, told);
    let is_active = told > 0;
    commit(call, StreamChange::SeeConsumer { group, consumer, at_ms: now_ms, is_active });
    Ok(())
}

fn commit(call: &mut Call<'_>, change: StreamChange<'_>) {
    call.keyspace.edit(call.database, &call.key).commit(Effect::Stream(change));
}

fn parse_idle_min(text: &[u8], command: &str) -> Result<i64, CommandError> {
    let invalid = || CommandError::new(format!("ERR Invalid min-idle-time argument for {command}"));
    Ok(integer(text).map_err(|_| invalid())?.max(0))
}

/// Whether a pending entry is idle for long enough; a released one always is.
fn is_claimable(group: &Group, pending: &Pending, now_ms: u64, idle_min_ms: i64) -> bool {
    idle_min_ms == 0
        || group.owner(pending).is_none()
        || now_ms.wrapping_sub(pending.delivered_at_ms) as i64 >= idle_min_ms
}

pub(super) const XAUTOCLAIM: Command = Command {
    name: "xautoclaim",
    since: "6.2.0",
    summary: "Assigns entries that are pending for long enough to a consumer; returns them and the next start ID.",
    complexity: "O(1) for a small COUNT",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RW", "delete"])],
    arguments: &[
        Argument::KEY,
        Argument::string("group"),
        Argument::string("consumer"),
        Argument::string("min-idle-time"),
        Argument::string("start"),
        Argument::integer("count").after("COUNT").optional(),
        Argument::word("justid", "JUSTID").optional(),
    ],
    run: Run::Shard(xautoclaim),
    shows: r#"> XADD log 1-0 n 1
"1-0"
> XADD log 2-0 n 2
"2-0"
> XADD log 3-0 n 3
"3-0"
> XGROUP CREATE log readers 0
OK
> XCLAIM log readers ann 0 1-0 2-0 3-0 FORCE JUSTID
1) "1-0"
2) "2-0"
3) "3-0"
> XDEL log 2-0
(integer) 1
> XAUTOCLAIM log readers bob 0 - COUNT 2
1) "3-0"
2) 1) 1) "1-0"
      2) 1) "n"
         2) "1"
3) 1) "2-0"
> XAUTOCLAIM log readers bob 0 3-0 JUSTID
1) "0-0"
2) 1) "3-0"
3) (empty array)
> XAUTOCLAIM log readers bob 0 - COUNT 0
(error) ERR COUNT must be > 0
> XAUTOCLAIM log nobody bob 0 -
(error) NOGROUP No such key 'log' or consumer group 'nobody'
"#,
    ..ROW
};

/// LIMIT: the highest COUNT of XAUTOCLAIM.
const AUTOCLAIM_COUNT_MAX: i64 = i64::MAX / 16;

/// LIMIT: pending entries to visit for each that is claimed.
const ATTEMPTS_FACTOR: usize = 10;

/// The result of XAUTOCLAIM.
#[derive(Default)]
struct Sweep {
    taken: Vec<StreamId>,
    deleted: Vec<StreamId>,
    next: StreamId,
}

fn xautoclaim(call: &mut Call<'_>) -> Outcome {
    let (args, now_ms) = (call.args, call.keyspace.now_ms());
    let (group, consumer) = (args[2], args[3]);
    let idle_min_ms = parse_idle_min(args[4], "XAUTOCLAIM")?;
    let start = id::parse_start(args[5])?;
    let (mut count, mut tells_ids_only) = (100, false);
    let mut rest = &args[6..];
    while let [word, others @ ..] = rest {
        rest = others;
        if word.eq_ignore_ascii_case(b"count") && !others.is_empty() {
            let given = integer(others[0]).ok();
            let given = given.filter(|count| (1..=AUTOCLAIM_COUNT_MAX).contains(count));
            count = given.ok_or(CommandError::text("ERR COUNT must be > 0"))? as usize;
            rest = &others[1..];
        } else if word.eq_ignore_ascii_case(b"justid") {
            tells_ids_only = true;
        } else {
            return Err(CommandError::SYNTAX);
        }
    }
    let entry = call.keyspace.read(call.database, &call.key);
    let key = call.key.bytes;
    let refusal = || no_group(key, group);
    let (stream, found) = group_of(entry.as_deref(), group)?.ok_or_else(refusal)?;
    let is_there = |id| stream.get(id).is_some();
    let may = |pending: &Pending| is_claimable(found, pending, now_ms, idle_min_ms);
    let sweep = sweep(found, start, count, is_there, may);
    call.reply.array(3);
    id::write(sweep.next, &mut call.reply);
    call.reply.array(sweep.taken.len());
    for id in &sweep.taken {
        match stream.get(*id) {
            Some(content) if !tells_ids_only => write_entry(&content, &mut call.reply),
            _ => id::write(*id, &mut call.reply),
        }
    }
    call.reply.array(sweep.deleted.len());
    sweep.deleted.iter().for_each(|id| id::write(*id, &mut call.reply));
    if !sweep.deleted.is_empty() {
        let ids = StreamIds::from(&sweep.deleted[..]);
        commit(call, StreamChange::Acknowledge { group, ids });
    }
    let is_active = !sweep.taken.is_empty();
    if is_active {
        let ids = StreamIds::from(&sweep.taken[..]);
        let deliveries = if tells_ids_only { Deliveries::Kept } else { Deliveries::OneMore };
        commit(call, StreamChange::Assign { group, consumer, ids, at_ms: now_ms, deliveries });
    }
    commit(call, StreamChange::SeeConsumer { group, consumer, at_ms: now_ms, is_active });
    Ok(())
}

/// Visits pending entries until enough are claimed or found deleted.
fn sweep(
    group: &Group,
    start: StreamId,
    count: usize,
    is_there: impl Fn(StreamId) -> bool,
    may: impl Fn(&Pending) -> bool,
) -> Sweep {
    let mut sweep = Sweep::default();
    let mut pending = group.pending_from(start);
    let mut attempts = count.saturating_mul(ATTEMPTS_FACTOR);
    while attempts > 0 && sweep.taken.len() + sweep.deleted.len() < count {
        let Some((id, found)) = pending.next() else { return sweep };
        attempts -= 1;
        if !is_there(*id) {
            sweep.deleted.push(*id);
        } else if may(found) {
            sweep.taken.push(*id);
        }
    }
    sweep.next = pending.next().map_or(StreamId::MIN, |(id, _)| *id);
    sweep
}
