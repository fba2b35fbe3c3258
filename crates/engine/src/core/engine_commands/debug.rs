//! DEBUG: for tests and for those who look for errors.

use std::future::poll_fn;
use std::task::Poll;

use basalt_commands::config::{Extent, LogLevel};
use basalt_commands::requests::{
    DebugRequest, NO_SHARD, parse_debug, write_debug_help, write_debug_protocol,
};
use basalt_commands::{CommandError, Outcome, glob};
use basalt_keyspace::{
    Content, DatabaseId, Digest, Effect, Entry, Key, ShardId, SlotId, Value, combine_digests,
    idle_seconds,
};

use super::command::{show, tell};
use super::data::everywhere_ok;
use super::{encode, everywhere, session, settings};
use crate::completion::Ticket;
use crate::core::Core;
use crate::core::transact::each;
use crate::input::keys::DeclaredKey;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::slot_moves::move_slots;
use crate::world::World;

pub(super) fn debug(
    core: &mut Core,
    world: &mut dyn World,
    id: SessionId,
    args: &[&[u8]],
) -> Outcome {
    let (database, _) = settings(core, id);
    match parse_debug(args)? {
        DebugRequest::Help => show(core, id, write_debug_help),
        DebugRequest::ConfigRewriteForceAll => super::config::rewrite(core, world, id, Extent::All),
        DebugRequest::Digest => {
            digest(core, id);
            Ok(())
        }
        DebugRequest::DigestValue(keys) => {
            digest_values(core, id, keys);
            Ok(())
        }
        DebugRequest::Error(text) => Err(CommandError::new(text)),
        DebugRequest::LoadAof => super::reload::load_aof(core, id),
        DebugRequest::Log(text) => {
            world.log(LogLevel::Warning, &format!("DEBUG LOG: {}", String::from_utf8_lossy(text)));
            show(core, id, |reply| reply.ok())
        }
        DebugRequest::Object(key) => {
            object(core, id, key);
            Ok(())
        }
        DebugRequest::Populate { count, prefix, value_bytes } => {
            let prefix = prefix.to_vec();
            core.change_everything(id, move |shard| {
                populate(shard, database, count, &prefix, value_bytes);
            });
            Ok(())
        }
        DebugRequest::Protocol(kind) => tell(core, id, |reply| write_debug_protocol(kind, reply)),
        DebugRequest::Reload(options) => super::reload::reload(core, id, options),
        DebugRequest::SetActiveExpire(active) => {
            everywhere_ok(core, id, move |shard| shard.keyspace.set_active_expiry(active));
            Ok(())
        }
        DebugRequest::SlotMove { first, last, shard } => {
            slot_move(core, id, (first..=last).map(SlotId).collect(), ShardId(shard))
        }
        DebugRequest::Slots => {
            let routes = core.shard.routes.clone();
            show(core, id, |reply| {
                reply.array(routes.runs().count());
                for (first, last, shard) in routes.runs() {
                    reply.array(3);
                    reply.integer(first as i64);
                    reply.integer(last as i64);
                    reply.integer(i64::from(shard.0));
                }
            })
        }
        DebugRequest::Sleep { duration_us } => {
            let until_us = world.monotonic_us().saturating_add(duration_us);
            sleep(core, id, until_us);
            Ok(())
        }
        DebugRequest::StringMatch { len, pattern } => {
            let matches = glob::matches(pattern, &vec![b'a'; len]);
            show(core, id, |reply| reply.integer(i64::from(matches)))
        }
        DebugRequest::Nothing => show(core, id, |reply| reply.ok()),
    }
}

/// Has every shard stall until a moment, and answers when this one has.
fn sleep(core: &mut Core, id: SessionId, until_us: u64) {
    let (_, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    let coordination = core.next_coordination();
    core.go_on_after_stall(Ticket { coordination, index: 0 });
    core.coordinate(id, |hops| async move {
        let stalled = hops.place();
        everywhere(&hops, &routes, move |shard| shard.stall_until_us = Some(until_us)).await;
        poll_fn(|_| hops.take_at::<()>(stalled).map_or(Poll::Pending, Poll::Ready)).await;
        encode(protocol, |reply| reply.ok())
    });
}

fn slot_move(core: &mut Core, id: SessionId, slots: Vec<SlotId>, to: ShardId) -> Outcome {
    if to.index() >= core.shard.routes.shard_count() {
        return Err(NO_SHARD);
    }
    if session(core, id).is_executing {
        // It waits until nothing is under way, and the EXEC would be.
        return Err(CommandError::text("ERR DEBUG SLOT-MOVE is not allowed in transactions"));
    }
    let (_, protocol) = settings(core, id);
    let slot_move = (core.shard.id, core.next_coordination());
    core.coordinate(id, |hops| async move {
        let outcome = move_slots(&hops, slot_move, slots, to).await;
        encode(protocol, |reply| match outcome {
            Ok(()) => reply.ok(),
            Err(refusal) => reply.error_bytes(refusal.as_bytes()),
        })
    });
    Ok(())
}

fn digest(core: &mut Core, id: SessionId) {
    core.survey(
        id,
        |shard| {
            let digests = shard.keyspace.digests().into_iter().enumerate();
            digests
                .map(|(index, digest)| (digest, shard.keyspace.len(DatabaseId(index as u16))))
                .collect::<Vec<_>>()
        },
        |shards, reply| {
            let mut databases = vec![(Digest::default(), 0); shards[0].len()];
            for shard in &shards {
                for ((digest, keys), (own, own_keys)) in databases.iter_mut().zip(shard) {
                    digest.absorb(own);
                    *keys += own_keys;
                }
            }
            reply.simple(&combine_digests(&databases).to_string());
        },
    );
}

fn digest_values(core: &mut Core, id: SessionId, keys: &[&[u8]]) {
    let (database, _) = settings(core, id);
    let keys = keys.iter().enumerate();
    let keys = keys.map(|(index, key)| core.declare(index, database, key, false)).collect();
    core.transact(
        id,
        keys,
        each(|shard, key| {
            let now_ms = shard.keyspace.now_ms();
            let entry = key.peek(&shard.keyspace);
            entry.map_or(Digest::default(), |entry| Digest::of_entry(&entry, now_ms, false))
        }),
        |digests, decision| {
            decision.reply.array(digests.len());
            digests.iter().for_each(|digest| decision.reply.simple(&digest.to_string()));
            Ok(())
        },
    );
}

fn object(core: &mut Core, id: SessionId, key: &[u8]) {
    let (database, _) = settings(core, id);
    let keys = vec![core.declare(0, database, key, false)];
    core.transact(id, keys, each(describe), |mut lines, decision| {
        let line = lines.pop().flatten().ok_or(CommandError::NO_SUCH_KEY)?;
        decision.reply.simple(&line);
        Ok(())
    });
}

/// The reply of DEBUG OBJECT, in the form that Redis' tests read.
fn describe(shard: &mut Shard, key: &DeclaredKey) -> Option<String> {
    let entry = key.peek(&shard.keyspace)?;
    let (access, now_ms) = (entry.access(), shard.keyspace.now_ms());
    let used = match shard.keyspace.use_reader().counter(access) {
        Some(counter) => {
            format!("lfu_freq:{counter} lfu_access_time_minutes:{}", access >> 8)
        }
        None => format!("lru:{access} lru_seconds_idle:{}", idle_seconds(access, now_ms)),
    };
    Some(format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} {used}",
        std::ptr::from_ref(&*entry),
        entry.encoding().name(),
        serialized_bytes(&entry),
    ))
}

/// How long a string is in an RDB file that is not compressed; of a collection, about how many bytes it takes.
fn serialized_bytes(entry: &Entry) -> usize {
    match entry.value() {
        Value::String(Content::Integer(value)) if i8::try_from(value).is_ok() => 2,
        Value::String(Content::Integer(value)) if i16::try_from(value).is_ok() => 3,
        Value::String(Content::Integer(value)) if i32::try_from(value).is_ok() => 5,
        Value::String(Content::Integer(value)) => 1 + value.to_string().len(),
        Value::String(Content::Bytes(bytes)) => match bytes.len() {
            len @ 0..64 => 1 + len,
            len @ 64..16_384 => 2 + len,
            len => 5 + len,
        },
        Value::Small(_, bytes) => 2 + bytes.len(),
        Value::Boxed(collection) => collection.heap_bytes(),
    }
}

/// Makes those of the keys that are this shard's and not there yet.
fn populate(
    shard: &mut Shard,
    database: DatabaseId,
    count: u64,
    prefix: &[u8],
    value_bytes: Option<usize>,
) {
    for number in 0..count {
        let key = [prefix, b":", number.to_string().as_bytes()].concat();
        if shard.routes.shard(SlotId::of_key(&key)) != shard.id {
            continue;
        }
        let key: Key<'_> = shard.keyspace.key(&key);
        if shard.keyspace.peek(database, &key).is_some() {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if let Some(bytes) = value_bytes {
            value.resize(bytes, 0);
        }
        let effect = Effect::SetString { value: &value, expire_at_ms: None, changed: false };
        shard.keyspace.edit(database, &key).commit(effect);
    }
}
