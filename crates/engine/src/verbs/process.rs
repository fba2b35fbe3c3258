//! Verbs of the server as a process: TIME, LOLWUT, MONITOR, SHUTDOWN.

use basalt_commands::requests::{self, lolwut as draw, parse_shutdown};
use basalt_commands::{CommandError, Outcome};

use super::{VERSION, encode, everywhere, session, settings};
use crate::core::Core;
use crate::session::SessionId;
use crate::world::{ShutdownRequest, World};

pub(super) fn time(core: &mut Core, world: &mut dyn World, id: SessionId) -> Outcome {
    let us = core.shard.now.unix_us(world);
    core.answer(id, |reply| {
        reply.array(2);
        reply.bulk((us / 1_000_000).to_string().as_bytes());
        reply.bulk((us % 1_000_000).to_string().as_bytes());
    });
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

/// A shutdown is not answered: the connection ends with the process.
pub(super) fn shutdown(
    core: &mut Core,
    world: &mut dyn World,
    id: SessionId,
    args: &[&[u8]],
) -> Outcome {
    match parse_shutdown(args)? {
        requests::ShutdownRequest::End { save, now, force } => {
            session(core, id).is_closing = true;
            world.shutdown(ShutdownRequest { save, now, force });
        }
        requests::ShutdownRequest::Abort if world.abort_shutdown() => {
            core.answer(id, |reply| reply.ok());
        }
        requests::ShutdownRequest::Abort => {
            return Err(CommandError::text("ERR No shutdown in progress."));
        }
    }
    Ok(())
}
