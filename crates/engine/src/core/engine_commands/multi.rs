//! EngineCommands of transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::ShardId;

use super::{encode, session, settings};
use crate::core::Core;
use crate::intents::{Intent, Mode, Scope};
use crate::session::SessionId;
use crate::session::armed::Armed;
use crate::shard::Shard;

pub(super) fn multi(core: &mut Core, id: SessionId) -> Outcome {
    let session = session(core, id);
    if session.multi.is_some() {
        return Err(CommandError::text("ERR MULTI calls can not be nested"));
    }
    session.multi = Some(Box::default());
    session.armed.set(Armed::MULTI, true);
    core.answer(id, |reply| reply.ok());
    Ok(())
}

pub(super) fn exec(core: &mut Core, id: SessionId) -> Outcome {
    let session = session(core, id);
    let Some(multi) = session.multi.take() else {
        return Err(CommandError::text("ERR EXEC without MULTI"));
    };
    session.armed.set(Armed::MULTI, false);
    if multi.is_broken {
        core.unwatch(id);
        return Err(CommandError::text(
            "EXECABORT Transaction discarded because of previous errors.",
        ));
    }
    core.execute(id, *multi);
    Ok(())
}

pub(super) fn discard(core: &mut Core, id: SessionId) -> Outcome {
    if session(core, id).multi.is_none() {
        return Err(CommandError::text("ERR DISCARD without MULTI"));
    }
    core.discard(id);
    core.answer(id, |reply| reply.ok());
    Ok(())
}

pub(super) fn watch(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    if session(core, id).multi.is_some() {
        return Err(CommandError::text("ERR WATCH inside MULTI is not allowed"));
    }
    let (database, protocol) = settings(core, id);
    let mut parts: Vec<Part> = Vec::new();
    for name in &args[1..] {
        let key = core.shard.keyspace.key(name);
        let (shard, hash) = (core.shard.routes.shard(key.slot), key.hash);
        let at = parts.iter().position(|part| part.shard == shard).unwrap_or_else(|| {
            parts.push(Part { shard, keys: Vec::new(), intents: Vec::new() });
            parts.len() - 1
        });
        parts[at].keys.push(name.to_vec());
        parts[at].intents.push(Intent { hash, mode: Mode::Read });
        session(core, id).watched.add(name);
    }
    let watcher = session(core, id).number;
    let home = core.shard.id;
    let shards: Vec<ShardId> = parts.iter().map(|part| part.shard).collect();
    core.coordinate(id, |hops| async move {
        let hops_of_parts = parts.into_iter().map(|Part { shard, keys, intents }| {
            let watch = move |shard: &mut Shard| {
                for name in &keys {
                    let key = shard.keyspace.key(name);
                    shard.keyspace.watch(watcher, database, &key);
                }
            };
            (shard, Scope::keys(intents), watch)
        });
        hops.each_alone(hops_of_parts.collect::<Vec<_>>()).await;
        // One that went while an intent was in the way was forgotten before it watched.
        if hops.on(home, move |shard| shard.sessions.get(id).is_none()).await {
            let forget = |shard| (shard, move |shard: &mut Shard| shard.keyspace.unwatch(watcher));
            hops.on_each(shards.into_iter().map(forget)).await;
        }
        encode(protocol, |reply| reply.ok())
    });
    Ok(())
}

/// The watched keys of one shard.
struct Part {
    shard: ShardId,
    keys: Vec<Vec<u8>>,
    intents: Vec<Intent>,
}

/// Inside of EXEC there is nothing left to forget.
pub(super) fn unwatch(core: &mut Core, id: SessionId) -> Outcome {
    if !session(core, id).is_executing {
        core.unwatch(id);
    }
    core.answer(id, |reply| reply.ok());
    Ok(())
}
