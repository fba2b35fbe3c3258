//! Verbs of the session: PING, ECHO, SELECT.

use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::DatabaseId;
use basalt_resp::parse_i64;

use crate::core::Core;
use crate::session::SessionId;

pub(super) fn ping(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    if args.len() > 2 {
        return Err(CommandError::wrong_arity("ping"));
    }
    core.answer(id, |reply| match args.get(1) {
        Some(text) => reply.bulk(text),
        None => reply.simple("PONG"),
    });
    Ok(())
}

pub(super) fn echo(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    core.answer(id, |reply| reply.bulk(args[1]));
    Ok(())
}

pub(super) fn select(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let index = parse_i64(args[1]).ok_or(CommandError::text("ERR invalid DB index"))?;
    let known = usize::try_from(index).is_ok_and(|i| i < core.shard.keyspace.database_count());
    if !known {
        return Err(CommandError::text("ERR DB index is out of range"));
    }
    if let Some(session) = core.shard.sessions.get_mut(id) {
        session.database = DatabaseId(index as u16);
    }
    core.answer(id, |reply| reply.ok());
    Ok(())
}
