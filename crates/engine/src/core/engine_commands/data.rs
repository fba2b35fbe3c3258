//! EngineCommands over all data: DBSIZE, FLUSHALL, FLUSHDB, SWAPDB.

use basalt_commands::Outcome;
use basalt_commands::requests::{parse_flush, parse_swapdb};
use basalt_keyspace::DatabaseId;

use super::{encode, everywhere, settings};
use crate::core::Core;
use crate::session::SessionId;
use crate::shard::Shard;

pub(super) fn dbsize(core: &mut Core, id: SessionId) -> Outcome {
    let (database, _) = settings(core, id);
    core.survey(
        id,
        move |shard| shard.keyspace.len(database),
        |lens, reply| reply.integer(lens.into_iter().sum::<usize>() as i64),
    );
    Ok(())
}

/// FLUSHDB, and FLUSHALL with `all`. SYNC and ASYNC are one: nobody waits for memory to be freed, which
/// happens in slices between other work.
pub(super) fn flush(core: &mut Core, id: SessionId, args: &[&[u8]], all: bool) -> Outcome {
    parse_flush(args)?;
    let (database, _) = settings(core, id);
    let count = core.shard.keyspace.database_count() as u16;
    core.change_everything(id, move |shard| {
        if all {
            (0..count).for_each(|index| shard.keyspace.flush(DatabaseId(index)));
            shard.save_after_flush();
        } else {
            shard.keyspace.flush(database);
        }
    });
    Ok(())
}

pub(super) fn swapdb(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let (first, second) = parse_swapdb(args, core.shard.keyspace.database_count())?;
    core.change_everything(id, move |shard| shard.keyspace.swap(first, second));
    Ok(())
}

/// Does something on every shard and answers OK.
pub(super) fn everywhere_ok(
    core: &mut Core,
    id: SessionId,
    hop: impl FnOnce(&mut Shard) + Clone + Send + 'static,
) {
    let (_, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        everywhere(&hops, &routes, hop).await;
        encode(protocol, |reply| reply.ok())
    });
}
