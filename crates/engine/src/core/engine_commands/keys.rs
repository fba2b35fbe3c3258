//! EngineCommands over all keys: SCAN, KEYS, RANDOMKEY; and WAIT.

use basalt_commands::requests::{
    ScanRequest, parse_scan, parse_wait, parse_waitaof, wants_every_key,
};
use basalt_commands::{CommandError, Outcome, glob};
use basalt_keyspace::{DatabaseId, Entry, SLOTS, ScanPosition, ShardId, SlotId};
use basalt_resp::{Protocol, Reply};

use super::{encode, settings};
use crate::completion::Answer;
use crate::core::Core;
use crate::intents::{Mode, Scope};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;

/// SCAN's cursor is a position: the slot, and the tag within it in the lower 16 bits. 0 is both ends.
const TAG_BITS: u32 = 16;

pub(super) fn scan(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let (database, protocol) = settings(core, id);
    let ScanRequest { cursor, pattern, count, type_name } = parse_scan(args)?;
    let pattern = pattern.map(<[u8]>::to_vec);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let mut position = ScanPosition {
            slot: usize::try_from(cursor >> TAG_BITS).unwrap_or(SLOTS).min(SLOTS),
            tag: (cursor & ((1 << TAG_BITS) - 1)) as u32,
        };
        let (mut keys, mut left) = (Vec::new(), count);
        while position.slot < SLOTS && left > 0 {
            let end = routes.run_end(position.slot);
            let owner = routes.shard(SlotId(position.slot as u16));
            let pattern = pattern.clone();
            let (next, visited, mut found) = hops
                .alone(owner, Scope::Everything(Mode::Read), move |shard| {
                    let wanted = |entry: &Entry| {
                        type_name.is_none_or(|name| name == entry.kind().name())
                            && pattern.as_ref().is_none_or(|p| glob::matches(p, entry.key()))
                    };
                    scan_some(shard, database, (position, end), left, &wanted)
                })
                .await;
            keys.append(&mut found);
            left = left.saturating_sub(visited);
            position = next;
        }
        let at_end = position.slot >= SLOTS;
        let cursor =
            if at_end { 0 } else { ((position.slot as u64) << TAG_BITS) | u64::from(position.tag) };
        encode(protocol, |reply| {
            reply.array(2);
            reply.bulk(cursor.to_string().as_bytes());
            write_keys(reply, &keys);
        })
    });
    Ok(())
}

/// One step of a scan on one shard: where it goes on, how many were looked at, which are wanted.
fn scan_some(
    shard: &Shard,
    database: DatabaseId,
    (position, end): (ScanPosition, usize),
    count: usize,
    wanted: &dyn Fn(&Entry) -> bool,
) -> (ScanPosition, usize, Vec<Vec<u8>>) {
    let (mut visited, mut found) = (0, Vec::new());
    let next = shard.keyspace.scan(database, position, end, count, &mut |entry| {
        visited += 1;
        if wanted(entry) {
            found.push(entry.key().to_vec());
        }
    });
    (next, visited, found)
}

fn write_keys(reply: &mut Reply<'_>, keys: &[Vec<u8>]) {
    reply.array(keys.len());
    for key in keys {
        reply.bulk(key);
    }
}

pub(super) fn keys(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let (database, _) = settings(core, id);
    let pattern = (!wants_every_key(args[1])).then(|| args[1].to_vec());
    core.survey(
        id,
        move |shard| {
            let mut found = Vec::new();
            shard.keyspace.visit_all(database, &mut |entry| {
                if pattern.as_ref().is_none_or(|p| glob::matches(p, entry.key())) {
                    found.push(entry.key().to_vec());
                }
            });
            found
        },
        |found, reply| write_keys(reply, &found.concat()),
    );
    Ok(())
}

pub(super) fn randomkey(core: &mut Core, random: u64, id: SessionId) -> Outcome {
    let (database, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let key = random_key(&hops, &routes, database, random).await;
        encode_key(protocol, key)
    });
    Ok(())
}

fn encode_key(protocol: Protocol, key: Option<Vec<u8>>) -> Answer {
    encode(protocol, |reply| match key {
        Some(key) => reply.bulk(&key),
        None => reply.null(),
    })
}

/// A key at random: first the shard, by how many keys it has, then one of its keys.
async fn random_key(
    hops: &Hops,
    routes: &Routes,
    database: DatabaseId,
    random: u64,
) -> Option<Vec<u8>> {
    let len = move |shard: &mut Shard| shard.keyspace.len(database);
    let lens = hops.hold_everything(routes, Mode::Read, len).await;
    let total: usize = lens.iter().sum();
    let mut nth = (random % total.max(1) as u64) as usize;
    let first = lens.iter().position(|&len| {
        let is_here = nth < len;
        nth = nth.saturating_sub(len);
        is_here
    })?;
    // Where the chosen shard has only dead keys left, the others are asked.
    let shards: Vec<ShardId> = routes.shards().collect();
    for turn in 0..shards.len() {
        let shard = shards[(first + turn) % shards.len()];
        let key = hops
            .on(shard, move |shard| {
                let mut state = random;
                let mut next = || {
                    state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                    state ^ (state >> 29)
                };
                Some(shard.keyspace.pick(database, &mut next)?.key().to_vec())
            })
            .await;
        if key.is_some() {
            return key;
        }
    }
    None
}

/// There are no replicas, so WAIT for any sleeps until its time is over.
pub(super) fn wait(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_wait(args)?;
    let deadline_us = deadline_us(core, request.timeout_ms);
    core.sleep(id, request.replicas > 0, deadline_us, |reply| reply.integer(0));
    Ok(())
}

pub(super) fn waitaof(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_waitaof(args)?;
    if request.local && !core.shard.config.appendonly {
        return Err(CommandError::text(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    let deadline_us = deadline_us(core, request.timeout_ms);
    core.wait_for_disks(id, (request.local, request.replicas > 0), deadline_us);
    Ok(())
}

/// The moment when so many milliseconds are over; 0 is for ever.
fn deadline_us(core: &Core, timeout_ms: u64) -> Option<u64> {
    let us = timeout_ms.saturating_mul(1000);
    (us > 0).then(|| core.shard.now.monotonic_us.saturating_add(us))
}
