//! DEBUG RELOAD: the data is saved, dropped and loaded again while everything is held.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use basalt_commands::requests::DebugReload;
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::ShardId;

use super::save::awaited;
use super::{encode, session, settings};
use crate::completion::Ticket;
use crate::core::Core;
use crate::core::loading::note;
use crate::core::saving::begin_held_save;
use crate::intents::Mode;
use crate::loading::{LoadPart, LoadStart, Loaded, Loader};
use crate::saving::{SAVING_SHARD, SaveEnd, SaveKind};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;

pub(super) fn reload(core: &mut Core, id: SessionId, options: DebugReload) -> Outcome {
    if session(core, id).is_executing {
        // It waits for a save, and the EXEC would hold everything meanwhile.
        return Err(CommandError::text("ERR DEBUG RELOAD is not allowed in transactions"));
    }
    let (_, protocol) = settings(core, id);
    let home = core.shard.id;
    let asking = core.next_coordination();
    core.coordinate(id, |hops| async move {
        let place = hops.place();
        let ended = poll_fn(|_| hops.take_at(place).map_or(Poll::Pending, Poll::Ready)).await;
        encode(protocol, |reply| match ended {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(&format!("ERR {}", String::as_str(&error))),
        })
    });
    let routes = Arc::clone(&core.shard.routes);
    let me = (home, core.next_coordination());
    // For no session: one that goes can't leave it half done.
    core.coordinate(SessionId::NOBODY, |hops| async move {
        let ended = reload_held(&hops, me, &routes, options).await;
        hops.release_all();
        let ticket = Ticket { coordination: asking, index: 0 };
        hops.on(home, move |shard| shard.loading.ended = Some((ticket, ended))).await;
        Vec::new()
    });
    Ok(())
}

/// Holds everything, saves if that is wanted, and loads the file.
async fn reload_held(
    hops: &Hops,
    me: (ShardId, u64),
    routes: &Arc<Routes>,
    options: DebugReload,
) -> Result<(), String> {
    let begin = |shard: &mut Shard| {
        let now_us = shard.now.monotonic_us;
        shard.saving.record.begin_held(SaveKind::Snapshot, now_us)
    };
    hold_without_save(hops, me, routes).await;
    if options.saves {
        let number = loop {
            if let Some(number) = hops.on(SAVING_SHARD, begin).await {
                break number;
            }
            // Another began between the two hops: it needs no intent to be decided on.
            hops.release_all();
            hold_without_save(hops, me, routes).await;
        };
        begin_held_save(hops, routes, me.0, number).await;
        match awaited(hops, me, number, true).await {
            SaveEnd::Saved => {}
            SaveEnd::Failed(error) => return Err(format!("the save failed: {error}")),
            SaveEnd::Cancelled => return Err("the save was cancelled".to_owned()),
        }
    }
    let loaded = load_held(hops, me, routes, options).await;
    let loaded = loaded.map_err(|error| {
        let words = format!("Error trying to load the RDB dump, check server logs: {error}");
        (words, error)
    });
    let line = match &loaded {
        Ok(_) => "DB reloaded by DEBUG RELOAD".to_owned(),
        Err((_, error)) => format!("DEBUG RELOAD failed: {error}"),
    };
    hops.on(me.0, move |shard| note(shard, line)).await;
    loaded.map(|_| ()).map_err(|(words, _)| words)
}

/// Holds everything at a moment when no save is running, which might wait for what is held.
async fn hold_without_save(hops: &Hops, me: (ShardId, u64), routes: &Arc<Routes>) {
    let running = |shard: &mut Shard| shard.saving.record.running.map(|running| running.number);
    loop {
        while let Some(number) = hops.on(SAVING_SHARD, running).await {
            awaited(hops, me, number, true).await;
        }
        hops.hold_everything(routes, Mode::Write, |_| ()).await;
        if hops.on(SAVING_SHARD, running).await.is_none() {
            return;
        }
        hops.release_all();
    }
}

/// Has all shards load the snapshot file.
async fn load_held(
    hops: &Hops,
    (home, coordination): (ShardId, u64),
    routes: &Arc<Routes>,
    DebugReload { flushes, merges, .. }: DebugReload,
) -> Result<Loaded, String> {
    let file_routes = Arc::clone(routes);
    let begin = move |shard: &mut Shard| {
        let config = Arc::clone(&shard.config);
        let path = format!("{}/{}", config.dir.trim_end_matches('/'), config.dbfilename);
        let loader = Box::new(move || {
            Loader::with_routes(Arc::clone(&file_routes), config.databases, config.rdbchecksum)
        });
        shard.loading.start = Some(LoadStart { path, loader });
    };
    hops.on(home, begin).await;
    let places: Vec<usize> = routes.shards().map(|_| hops.place()).collect();
    let take = places.iter().zip(routes.shards()).map(|(&index, shard)| {
        let waiter = (home, Ticket { coordination, index });
        let take = move |shard: &mut Shard| {
            let (loaded, origin) = (Loaded::default(), shard.keyspace.origin());
            let part = LoadPart { waiter, flushes, merges, loaded, failure: None, origin };
            shard.loading.part = Some(part);
        };
        (shard, take)
    });
    hops.on_each(take).await;
    let (mut all, mut failure) = (Loaded::default(), None);
    for place in places {
        let ended = poll_fn(|_| {
            hops.take_at::<Result<Loaded, String>>(place).map_or(Poll::Pending, Poll::Ready)
        });
        match ended.await {
            Ok(loaded) => all.add(loaded),
            Err(error) => failure = Some(error),
        }
    }
    if failure.is_none() && flushes {
        let saved = |shard: &mut Shard| {
            shard.saving.saved_changes = shard.keyspace.stats.changes;
        };
        hops.on_each(routes.shards().map(|shard| (shard, saved))).await;
    }
    failure.map_or(Ok(all), Err)
}
