//! EngineCommands of the server as a process: TIME, ROLE, MODULE, LOLWUT, MONITOR.

use basalt_commands::requests::lolwut as draw;
use basalt_commands::{CommandError, Outcome};

use super::{VERSION, encode, everywhere, session, settings};
use crate::core::Core;
use crate::session::SessionId;
use crate::world::World;

pub(super) fn time(core: &mut Core, world: &mut dyn World, id: SessionId) -> Outcome {
    let us = core.shard.now.unix_us(world.monotonic_us());
    core.answer(id, |reply| {
        reply.array(2);
        reply.bulk((us / 1_000_000).to_string().as_bytes());
        reply.bulk((us % 1_000_000).to_string().as_bytes());
    });
    Ok(())
}

/// Nothing is replicated yet: a primary at offset 0 without replicas.
pub(super) fn role(core: &mut Core, id: SessionId) -> Outcome {
    core.answer(id, |reply| {
        reply.array(3);
        reply.bulk(b"master");
        reply.integer(0);
        reply.array(0);
    });
    Ok(())
}

pub(super) fn module_list(core: &mut Core, id: SessionId) -> Outcome {
    core.answer(id, |reply| reply.array(0));
    Ok(())
}

pub(super) const MODULE_NOT_LOADED: CommandError =
    CommandError::text("ERR Error loading the extension. Please check the server logs.");
pub(super) const MODULE_UNKNOWN: CommandError =
    CommandError::text("ERR Error unloading module: no such module with that name");

/// The words of Redis with an allocator that has nothing to show.
pub(super) fn malloc_stats(core: &mut Core, id: SessionId) -> Outcome {
    let words = "Stats not supported for the current allocator";
    core.answer(id, |reply| reply.verbatim("txt", words.as_bytes()));
    Ok(())
}

/// What is unused goes back to the system every second, so nothing is left to do.
pub(super) fn purge(core: &mut Core, id: SessionId) -> Outcome {
    core.answer(id, |reply| reply.ok());
    Ok(())
}

pub(super) fn lolwut(
    core: &mut Core,
    world: &mut dyn World,
    id: SessionId,
    args: &[&[u8]],
) -> Outcome {
    let drawing = draw(args, VERSION, &mut || world.random())?;
    core.answer(id, |reply| reply.verbatim("txt", drawing.as_bytes()));
    Ok(())
}

pub(super) fn monitor(core: &mut Core, id: SessionId) -> Outcome {
    let (_, protocol) = settings(core, id);
    let is_monitor = session(core, id).is_monitor;
    let (routes, home) = (core.shard.routes.clone(), core.shard.id);
    core.coordinate(id, |hops| async move {
        if hops.is_inside() {
            let refusal = "ERR MONITOR isn't allowed for DENY BLOCKING client";
            return encode(protocol, |reply| reply.error(refusal));
        }
        if is_monitor {
            return Vec::new();
        }
        everywhere(&hops, &routes, move |shard| shard.add_monitor(home)).await;
        if !hops.on(home, move |shard| shard.begin_monitor(id)).await {
            everywhere(&hops, &routes, move |shard| shard.remove_monitor(home)).await;
        }
        encode(protocol, |reply| reply.ok())
    });
    Ok(())
}
