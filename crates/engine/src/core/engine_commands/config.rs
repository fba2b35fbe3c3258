//! EngineCommands of CONFIG. What parameters are: `commands::config`.
//!
//! A change goes through the first shard, which makes the new settings, and from there to all: two at
//! the same time leave every shard with both.

use basalt_commands::config::Extent;
use basalt_commands::requests::parse_config_set;
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::{KeyspaceStats, ShardId};

use super::data::everywhere_ok;
use super::{encode, session, settings};
use crate::core::Core;
use crate::intents::Mode;
use crate::observe::rates::Rates;
use crate::observe::stats::ShardStats;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::world::World;

pub(super) fn get(core: &mut Core, id: SessionId, patterns: &[&[u8]]) -> Outcome {
    let found = core.shard.config.get(patterns);
    core.answer(id, |reply| {
        reply.map(found.len());
        for (name, value) in &found {
            reply.bulk(name);
            reply.bulk(value);
        }
    });
    Ok(())
}

pub(super) fn set(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = parse_config_set(args)?
        .into_iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect();
    let is_local = session(core, id).is_local();
    let (_, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let first = ShardId(0);
        hops.hold_everything(&routes, Mode::Write, |_| ()).await;
        let change = hops.on(first, move |shard| shard.change_config(&pairs, is_local)).await;
        match change {
            Ok(change) => {
                let take = move |shard: &mut Shard| shard.take_config(change);
                hops.release_with(routes.shards().map(|shard| (shard, take.clone()))).await;
                encode(protocol, |reply| reply.ok())
            }
            Err(error) => encode(protocol, |reply| reply.error_bytes(error.as_bytes())),
        }
    });
    Ok(())
}

pub(super) fn resetstat(core: &mut Core, world: &mut dyn World, id: SessionId) -> Outcome {
    world.reset_process_counters();
    everywhere_ok(core, id, |shard| {
        let changes = shard.keyspace.stats.changes;
        shard.keyspace.stats = KeyspaceStats { changes, ..KeyspaceStats::default() };
        shard.stats = ShardStats::default();
        shard.command_stats.reset();
        shard.rates = Rates::default();
        shard.used_bytes_peak = 0;
    });
    Ok(())
}

pub(super) fn rewrite(
    core: &mut Core,
    world: &mut dyn World,
    id: SessionId,
    extent: Extent,
) -> Outcome {
    let config = core.shard.config.clone();
    world.rewrite_config(&config, extent).map_err(|why| CommandError::new(format!("ERR {why}")))?;
    core.answer(id, |reply| reply.ok());
    Ok(())
}
