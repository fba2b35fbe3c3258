//! Verbs of the server as a process: TIME, LOLWUT, SHUTDOWN.

use basalt_commands::requests::{self, lolwut as draw, parse_shutdown};
use basalt_commands::{CommandError, Outcome};

use super::{VERSION, session};
use crate::core::Core;
use crate::session::SessionId;
use crate::world::{ShutdownRequest, World};

pub(super) fn time(core: &mut Core, world: &mut dyn World, id: SessionId) -> Outcome {
    let now = core.shard.now;
    // The moment of the turn, and what has passed of it.
    let us = now.unix_ms * 1000 + world.monotonic_us().saturating_sub(now.monotonic_us);
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
