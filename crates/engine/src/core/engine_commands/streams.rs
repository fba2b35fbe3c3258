//! XREAD and XREADGROUP: what is new in streams, wherever they are, and waiting for it.

use basalt_commands::requests::{ReadRequest, StreamFound, apply_part, look, parse_read};
use basalt_commands::{CommandError, Outcome, WaitsFor};
use basalt_resp::{Protocol, Reply};

use super::{owned, settings};
use crate::core::Core;
use crate::core::transact::Decision;
use crate::core::wait::Memory;
use crate::input::keys::DeclaredKey;
use crate::limits::LOOK_AGAIN_MS_MIN;
use crate::session::SessionId;
use crate::shard::Shard;

/// What a look at a stream found, and when that was.
type Found = Result<(StreamFound, u64), CommandError>;

/// What a reader remembers from one look to the next.
#[derive(Clone)]
struct Reader {
    /// Behind which each stream is read, as the arguments say; `$` becomes the ID that it was at first.
    ids: Vec<Vec<u8>>,
    /// Its consumer was seen, and nothing came.
    waits: bool,
    /// When pending entries may be claimed.
    claimable_at_us: Option<u64>,
}

impl Memory for Reader {
    fn look_again_at_us(&self) -> Option<u64> {
        self.claimable_at_us
    }
}

/// XREAD, and XREADGROUP with `is_group`.
pub(super) fn read(core: &mut Core, id: SessionId, args: &[&[u8]], is_group: bool) -> Outcome {
    let (database, protocol) = settings(core, id);
    let request = parse_read(args, is_group, core.shard.now.unix_ms)?;
    let keys = args[request.keys.clone()].iter().enumerate();
    let declared = keys.map(|(index, key)| core.declare(index, database, key, is_group));
    let declared: Vec<_> = declared.collect();
    let ids = owned(&args[request.keys.end..]);
    let mut memory = Reader { ids, waits: false, claimable_at_us: None };
    let (looked_for, told_before) = (request.clone(), request.told_before(args));
    let look = move |shard: &Shard, key: &DeclaredKey, ids: &[Vec<u8>]| -> Found {
        let from = (&ids[key.index][..], told_before[key.index]);
        let entry = key.peek(&shard.keyspace);
        let now_ms = shard.keyspace.now_ms();
        let found = look(entry.as_deref(), &key.bytes, from, &looked_for, (protocol, now_ms))?;
        Ok((found, shard.now.monotonic_us))
    };
    let Some(block_ms) = request.block_ms else {
        let ids = memory.ids.clone();
        core.transact(
            id,
            declared,
            move |shard, key| look(shard, key, &ids),
            move |found, decision| {
                decide(&request, found, &mut memory, decision)?;
                if decision.reply.position() == 0 {
                    decision.reply.null_array();
                }
                Ok(())
            },
        );
        return Ok(());
    };
    let waits_for = match &request.group {
        Some((group, _)) => WaitsFor::Group(group.clone()),
        None => WaitsFor::Entries,
    };
    let terms = core.terms(declared.len(), waits_for, (block_ms > 0).then_some(block_ms));
    core.wait(
        id,
        (declared, terms),
        memory,
        move |shard, key, memory| look(shard, key, &memory.ids),
        move |found, memory, decision| decide(&request, found, memory, decision),
    );
    Ok(())
}

/// Tells what was found; leaves no reply where that is nothing.
fn decide(
    request: &ReadRequest,
    found: Vec<Found>,
    memory: &mut Reader,
    decision: &mut Decision<'_>,
) -> Outcome {
    let found: Vec<(StreamFound, u64)> = found.into_iter().collect::<Result<_, _>>()?;
    let claimable_at_us = found.iter().filter_map(|(found, now_us)| {
        let in_ms = found.claimable_in_ms?.max(LOOK_AGAIN_MS_MIN);
        Some(now_us.saturating_add(in_ms.saturating_mul(1000)))
    });
    memory.claimable_at_us = claimable_at_us.min();
    let mut found: Vec<StreamFound> = found.into_iter().map(|(found, _)| found).collect();
    request.limit(&mut found);
    let answers = found.iter().filter_map(|found| found.answer.as_ref());
    let count = answers.clone().count();
    if count > 0 {
        write_header(count, &mut decision.reply);
        answers.for_each(|answer| decision.reply.raw(&answer.bytes));
    } else if std::mem::replace(&mut memory.waits, true) {
        return Ok(());
    }
    for (index, found) in found.into_iter().enumerate() {
        if let Some(newest) = found.newest {
            memory.ids[index] = newest.to_string().into_bytes();
        }
        let (Some(part), request) = (found.part, request.clone()) else { continue };
        decision.write(index, move |shard, key| {
            apply_part(&mut shard.keyspace, key.database, &key.key(), &request, &part);
        });
    }
    Ok(())
}

/// Pairs of keys and entries: in RESP2 an element for each, in RESP3 a map.
fn write_header(count: usize, reply: &mut Reply<'_>) {
    match reply.protocol() {
        Protocol::Resp2 => reply.array(count),
        Protocol::Resp3 => reply.map(count),
    }
}
