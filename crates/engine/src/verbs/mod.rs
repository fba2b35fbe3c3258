//! Verbs: what the engine runs itself, because it concerns the session, several shards or the whole
//! server.
//!
//! Arguments are read by `commands`; what is done with them is here, a file for each concern.

mod data;
mod keys;
mod session;

use std::any::Any;

use basalt_commands::{Outcome, Verb};
use basalt_keyspace::DatabaseId;
use basalt_resp::{Protocol, Reply};

use crate::coordinate::{Answer, Hops};
use crate::core::Core;
use crate::routes::Routes;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::world::World;

/// Whether a verb concerns nothing but the session itself, so that it need not wait for replies of
/// other shards to requests before it.
pub(crate) fn is_immediate(verb: Verb) -> bool {
    matches!(verb, Verb::Ping | Verb::Echo | Verb::Select)
}

/// Runs a verb: it answers at once, or begins a coordination that will.
pub(crate) fn run(
    core: &mut Core,
    world: &mut dyn World,
    id: SessionId,
    verb: Verb,
    args: &[&[u8]],
) -> Outcome {
    match verb {
        Verb::Copy => keys::copy(core, id, args),
        Verb::Dbsize => data::dbsize(core, id),
        Verb::Echo => session::echo(core, id, args),
        Verb::FlushAll => data::flush(core, id, args, true),
        Verb::FlushDb => data::flush(core, id, args, false),
        Verb::Keys => keys::keys(core, id, args),
        Verb::MsetNx => keys::msetnx(core, id, args),
        Verb::Ping => session::ping(core, id, args),
        Verb::RandomKey => keys::randomkey(core, world.random(), id),
        Verb::Rename => keys::rename(core, id, args, false),
        Verb::RenameNx => keys::rename(core, id, args, true),
        Verb::Scan => keys::scan(core, id, args),
        Verb::Select => session::select(core, id, args),
        Verb::SwapDb => data::swapdb(core, id, args),
        _ => Err(basalt_commands::CommandError::SYNTAX),
    }
}

/// The session's database and protocol.
fn settings(core: &Core, id: SessionId) -> (DatabaseId, Protocol) {
    core.shard
        .sessions
        .get(id)
        .map_or((DatabaseId(0), Protocol::Resp2), |session| (session.database, session.protocol))
}

/// An encoded reply.
fn encode(protocol: Protocol, write: impl FnOnce(&mut Reply<'_>)) -> Answer {
    let mut answer = Vec::new();
    write(&mut Reply::new(&mut answer, protocol));
    answer
}

/// Runs a hop on every shard at once.
async fn everywhere<T: Any + Send>(
    hops: &Hops,
    routes: &Routes,
    hop: impl FnOnce(&mut Shard) -> T + Clone + Send + 'static,
) -> Vec<T> {
    hops.on_each(routes.shards().map(|shard| (shard, hop.clone()))).await
}
