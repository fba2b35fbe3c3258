//! DEBUG RELOAD and LOADAOF: the data is saved, dropped and loaded again while everything is held.

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
use crate::loading::{LoadPart, LoadStart, Loaded, LoadedJournal, Loader};
use crate::saving::{SAVING_SHARD, SaveEnd, SaveKind};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;

/// What is loaded again.
#[derive(Clone, Copy)]
enum What {
    Snapshot(DebugReload),
    Journal,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Snapshot(_) => "DEBUG RELOAD",
            Self::Journal => "DEBUG LOADAOF",
        }
    }
}

pub(super) fn reload(core: &mut Core, id: SessionId, options: DebugReload) -> Outcome {
    load_again(core, id, What::Snapshot(options))
}

pub(super) fn load_aof(core: &mut Core, id: SessionId) -> Outcome {
    if !core.shard.config.appendonly {
        return Err(CommandError::text("ERR DEBUG LOADAOF needs a journal: set appendonly to yes"));
    }
    load_again(core, id, What::Journal)
}

fn load_again(core: &mut Core, id: SessionId, what: What) -> Outcome {
    if session(core, id).is_executing {
        // It waits for a save, and the EXEC would hold everything meanwhile.
        let text = format!("ERR {} is not allowed in transactions", what.name());
        return Err(CommandError::new(text));
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
        let ended = reload_held(&hops, me, &routes, what).await;
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
    what: What,
) -> Result<(), String> {
    let begin = |shard: &mut Shard| {
        let now_us = shard.now.monotonic_us;
        shard.saving.record.begin_held(SaveKind::Snapshot, now_us)
    };
    hold_without_save(hops, me, routes).await;
    if let What::Snapshot(DebugReload { saves: true, .. }) = what {
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
    let loaded = match what {
        What::Snapshot(options) => load_held(hops, me, routes, options, None).await,
        What::Journal => match ends_of_journals(hops, routes).await {
            Some(ends) => {
                let options = DebugReload { saves: false, flushes: true, merges: false };
                load_held(hops, me, routes, options, Some(ends)).await
            }
            None => Err("there is no journal that is whole yet".to_owned()),
        },
    };
    let file = match what {
        What::Snapshot(_) => "RDB dump",
        What::Journal => "AOF",
    };
    let loaded = loaded.map_err(|error| {
        let words = format!("Error trying to load the {file}, check server logs: {error}");
        (words, error)
    });
    let line = match &loaded {
        Ok(_) => format!("DB reloaded by {}", what.name()),
        Err((_, error)) => format!("{} failed: {error}", what.name()),
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

/// Up to where the journal of each shard goes; `None` if there is none that a start would load.
async fn ends_of_journals(hops: &Hops, routes: &Routes) -> Option<Vec<u64>> {
    let end = |shard: &mut Shard| {
        shard.take_in_records(false);
        let needs_base = shard.saving.record.rewrites.needs_base;
        let is_on = shard.journal.as_ref().is_some_and(|journal| !journal.is_turned_off());
        (is_on && !needs_base).then(|| shard.journal_end())
    };
    hops.on_each(routes.shards().map(|shard| (shard, end))).await.into_iter().collect()
}

/// Has all shards load the snapshot file, or what their journals hold up to these ends.
async fn load_held(
    hops: &Hops,
    (home, coordination): (ShardId, u64),
    routes: &Arc<Routes>,
    DebugReload { flushes, merges, .. }: DebugReload,
    ends: Option<Vec<u64>>,
) -> Result<Loaded, String> {
    let file_routes = Arc::clone(routes);
    let begin = move |shard: &mut Shard| {
        let config = Arc::clone(&shard.config);
        let name = match ends {
            Some(_) => format!("temp-{}.loadaof.rdb", shard.now.monotonic_us),
            None => config.dbfilename.clone(),
        };
        let path = format!("{}/{name}", config.dir.trim_end_matches('/'));
        let journal = ends.map(|ends| LoadedJournal { ends, config: Arc::clone(&config) });
        let loader = Box::new(move || {
            Loader::with_routes(Arc::clone(&file_routes), config.databases, config.rdbchecksum)
        });
        shard.loading.start = Some(LoadStart { path, journal, loader });
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
