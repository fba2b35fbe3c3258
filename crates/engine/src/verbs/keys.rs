//! Verbs over keys on several shards: RENAME, COPY, MSETNX, MSETEX, SCAN, KEYS, RANDOMKEY, WAIT.
//!
//! A value travels from shard to shard as the effect that makes it: see [`Carried`].

use basalt_commands::requests::{
    Lifetime, MsetexRequest, PutWhen, ScanRequest, parse_copy, parse_msetex, parse_scan,
    parse_wait, parse_waitaof, wants_every_key,
};
use basalt_commands::{CommandError, Outcome, Run, check_memory, glob, table};
use basalt_keyspace::{
    Cause, DatabaseId, Effect, Entry, Events, Record, SLOTS, ScanPosition, ShardId, SlotId, event,
};
use basalt_resp::{Protocol, Reply};

use super::{encode, settings};
use crate::call::{OwnedCall, TransactionTag};
use crate::coordinate::{Answer, Hops};
use crate::core::Core;
use crate::routes::Routes;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::{Decision, DeclaredKey, Mode, Scope};

/// A value on its way: the record that makes a key hold it.
type Carried = Vec<u8>;

/// What a key holds, as a record for another key.
fn copy_for(
    shard: &Shard,
    from: &DeclaredKey,
    (database, to): (DatabaseId, &[u8]),
) -> Result<Option<Carried>, CommandError> {
    /// What a record has beside its key and its value.
    const RECORD_BYTES: usize = 64;
    let Some(entry) = from.peek(shard) else { return Ok(None) };
    // The value, the record around it, and what is made of that.
    check_memory(entry.heap_bytes().saturating_mul(3))?;
    let mut value = Vec::new();
    let effect = Effect::copy_of(&entry, &mut value);
    let text_bytes = entry.text_len().unwrap_or(0);
    let mut record = Vec::with_capacity(text_bytes + to.len() + RECORD_BYTES);
    Record::Key { database, key: to, effect }.encode(&mut record);
    Ok(Some(record))
}

fn put(shard: &mut Shard, carried: &Carried, events: Events) {
    let (record, _) = Record::decode(carried).expect("the record was made by this process");
    let Record::Key { database, key, effect } = record else { unreachable!("it is of a key") };
    let key = shard.keyspace.key(key);
    shard.keyspace.edit(database, &key).as_event(events).commit(effect);
}

pub(super) fn remove(shard: &mut Shard, key: &DeclaredKey) {
    remove_as(shard, key, event::DEL);
}

fn remove_as(shard: &mut Shard, key: &DeclaredKey, events: Events) {
    let edit = shard.keyspace.edit(key.database, &key.key()).as_event(events);
    if edit.entry().is_some() {
        edit.commit(Effect::Remove { cause: Cause::Deleted });
    }
}

/// What a look at one of two keys finds.
enum Found {
    Source(Result<Option<Carried>, CommandError>),
    /// Whether it holds something.
    Target(bool),
}

/// RENAME, and RENAMENX with `only_if_free`.
pub(super) fn rename(
    core: &mut Core,
    id: SessionId,
    args: &[&[u8]],
    only_if_free: bool,
) -> Outcome {
    let (database, _) = settings(core, id);
    let is_same = args[1] == args[2];
    transfer(core, id, args, database, move |carried, is_taken, decision| {
        let Some(carried) = carried else { return Err(CommandError::NO_SUCH_KEY) };
        let may = !(only_if_free && (is_taken || is_same));
        if may && !is_same {
            decision.write(TARGET, move |shard, _| put(shard, &carried, event::RENAME_TO));
            decision.write(SOURCE, |shard, key| remove_as(shard, key, event::RENAME_FROM));
        }
        if only_if_free {
            decision.reply.integer(i64::from(may));
        } else {
            decision.reply.ok();
        }
        Ok(())
    });
    Ok(())
}

pub(super) fn copy(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let (database, _) = settings(core, id);
    let options = parse_copy(args, database, core.shard.keyspace.database_count())?;
    transfer(core, id, args, options.to, move |carried, is_taken, decision| {
        let carried = carried.filter(|_| options.replace || !is_taken);
        decision.reply.integer(i64::from(carried.is_some()));
        if let Some(carried) = carried {
            decision.write(TARGET, move |shard, _| put(shard, &carried, event::COPY_TO));
        }
        Ok(())
    });
    Ok(())
}

const SOURCE: usize = 0;
const TARGET: usize = 1;

/// Takes what the first key holds to the second, in database `to`, as `decide` will have it: it is told
/// what is carried and whether the second key holds something.
fn transfer(
    core: &mut Core,
    id: SessionId,
    args: &[&[u8]],
    to: DatabaseId,
    decide: impl FnOnce(Option<Carried>, bool, &mut Decision<'_>) -> Outcome + Send + 'static,
) {
    let (database, _) = settings(core, id);
    let target = args[2].to_vec();
    let keys = vec![
        core.declare(SOURCE, database, args[1], true),
        core.declare(TARGET, to, args[2], true),
    ];
    core.transact(
        id,
        keys,
        move |shard, key| match key.index {
            SOURCE => Found::Source(copy_for(shard, key, (to, &target))),
            _ => Found::Target(key.peek(shard).is_some()),
        },
        |found, decision| {
            let Ok([Found::Source(carried), Found::Target(is_taken)]) =
                <[Found; 2]>::try_from(found)
            else {
                unreachable!("two keys were declared, the source first")
            };
            decide(carried?, is_taken, decision)
        },
    );
}

pub(super) fn msetnx(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    set_many(core, id, &args[1..], PutWhen::AllAbsent, Lifetime::Forever);
    Ok(())
}

pub(super) fn msetex(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let MsetexRequest { pairs, when, lifetime } = parse_msetex(args, core.shard.keyspace.now_ms())?;
    set_many(core, id, pairs, when, lifetime);
    Ok(())
}

/// Sets keys on several shards, if all or none of them are there; answers whether.
fn set_many(core: &mut Core, id: SessionId, pairs: &[&[u8]], when: PutWhen, lifetime: Lifetime) {
    let set = table::find(b"set").expect("SET is in the table");
    let Run::Shard(run) = set.run else { unreachable!("SET is a command of one shard") };
    let context = core.context(id, set, run);
    let number = core.next_number();
    let context =
        context.within(TransactionTag { number, moment_ms: core.shard.keyspace.now_ms() });
    let database = context.database;
    let (mut keys, mut tasks) = (Vec::new(), Vec::new());
    for (index, pair) in pairs.chunks_exact(2).enumerate() {
        keys.push(core.declare(index, database, pair[0], true));
        let mut args: Vec<&[u8]> = vec![b"set", pair[0], pair[1]];
        let moment;
        match lifetime {
            Lifetime::Forever => {}
            Lifetime::Kept => args.push(b"keepttl"),
            Lifetime::Until(at_ms) => {
                moment = at_ms.to_string();
                args.extend([b"pxat".as_slice(), moment.as_bytes()]);
            }
        }
        tasks.push(OwnedCall::new(context, &args, 1));
    }
    core.transact(
        id,
        keys,
        |shard, key| key.peek(shard).is_some(),
        move |is_there, decision| {
            let may = match when {
                PutWhen::Always => true,
                PutWhen::AllPresent => is_there.iter().all(|there| *there),
                PutWhen::AllAbsent => !is_there.contains(&true),
            };
            decision.reply.integer(i64::from(may));
            for (index, task) in tasks.into_iter().enumerate().filter(|_| may) {
                decision.write(index, move |shard, _| drop(task.perform(shard)));
            }
            Ok(())
        },
    );
}

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

/// A key by chance: first the shard, by how many keys it has, then one of its keys.
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

/// Nobody has anything of ours but ourselves, so WAIT for more sleeps until its time is over.
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
    core.sleep(id, request.replicas > 0, deadline_us, |reply| {
        reply.array(2);
        reply.integer(0);
        reply.integer(0);
    });
    Ok(())
}

/// The moment when so many milliseconds are over; 0 is for ever.
fn deadline_us(core: &Core, timeout_ms: u64) -> Option<u64> {
    let us = timeout_ms.saturating_mul(1000);
    (us > 0).then(|| core.shard.now.monotonic_us.saturating_add(us))
}
