//! EngineCommands of CLIENT. What a connection looks like: `client_line`.

use std::sync::Arc;

use basalt_commands::requests::{
    self, KillRequest, LibraryFact, parse_client_kill, parse_client_list, parse_client_pause,
    parse_client_reply, parse_client_setinfo, parse_client_setname, parse_client_switch,
    parse_client_unblock,
};
use basalt_commands::{CommandError, Outcome};

use super::client_line::{line, passes};
use super::data::everywhere_ok;
use super::{encode, everywhere, owned, session, settings};
use crate::core::Core;
use crate::session::{Peer, ReplyMode, SessionId};
use crate::shard::blocking::End;
use crate::shard::{Pause, Shard};

pub(super) fn client_id(core: &mut Core, id: SessionId) -> Outcome {
    let number = session(core, id).number;
    core.answer(id, |reply| reply.integer(number as i64));
    Ok(())
}

pub(super) fn info(core: &mut Core, id: SessionId) -> Outcome {
    let now_us = core.shard.now.monotonic_us;
    let line = line(session(core, id), now_us);
    core.answer(id, |reply| reply.verbatim("txt", line.as_bytes()));
    Ok(())
}

pub(super) fn list(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    parse_client_list(args, core.shard.keyspace.database_count())?;
    let (_, protocol) = settings(core, id);
    let own = session(core, id).number;
    let (routes, args) = (core.shard.routes.clone(), Arc::new(owned(args)));
    core.coordinate(id, |hops| async move {
        let mut lines =
            everywhere(&hops, &routes, move |shard| list_here(shard, &args, own)).await.concat();
        lines.sort_unstable_by_key(|(number, _)| *number);
        let text: String = lines.into_iter().map(|(_, line)| line).collect();
        encode(protocol, |reply| reply.verbatim("txt", text.as_bytes()))
    });
    Ok(())
}

fn list_here(shard: &mut Shard, args: &[Vec<u8>], own: u64) -> Vec<(u64, String)> {
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let filter = parse_client_list(&args, shard.keyspace.database_count())
        .expect("it was read before it was sent here");
    let skips_own = filter.skip_me.unwrap_or(false);
    let now_us = shard.now.monotonic_us;
    shard
        .sessions
        .iter()
        .filter(|session| !session.is_aborted)
        .filter(|session| !(skips_own && session.number == own))
        .filter(|session| passes(session, &filter, now_us))
        .map(|session| (session.number, line(session, now_us)))
        .collect()
}

pub(super) fn kill(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_client_kill(args, core.shard.keyspace.database_count())?;
    let by_address = matches!(request, KillRequest::Address(_));
    let (_, protocol) = settings(core, id);
    let own = session(core, id).number;
    let (routes, args) = (core.shard.routes.clone(), Arc::new(owned(args)));
    core.coordinate(id, |hops| async move {
        let killed: usize = everywhere(&hops, &routes, move |shard| kill_here(shard, &args, own))
            .await
            .into_iter()
            .sum();
        encode(protocol, |reply| match (by_address, killed) {
            (false, count) => reply.integer(count as i64),
            (true, 0) => reply.error("ERR No such client"),
            (true, _) => reply.ok(),
        })
    });
    Ok(())
}

/// Ends the connections of a shard that are meant; the one that asks gets its answer first.
fn kill_here(shard: &mut Shard, args: &[Vec<u8>], own: u64) -> usize {
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let request = parse_client_kill(&args, shard.keyspace.database_count())
        .expect("it was read before it was sent here");
    let now_us = shard.now.monotonic_us;
    let is_meant = |session: &&crate::session::Session| match &request {
        KillRequest::Address(address) => match &session.peer {
            Peer::Tcp { remote, .. } => remote.to_string().as_bytes() == *address,
            Peer::Unix { path } => format!("{path}:0").as_bytes() == *address,
        },
        KillRequest::All(filter) => {
            let skips_own = filter.skip_me.unwrap_or(true);
            !(skips_own && session.number == own) && passes(session, filter, now_us)
        }
    };
    let meant: Vec<(SessionId, u64)> = shard
        .sessions
        .iter()
        .filter(|session| !session.is_closing)
        .filter(is_meant)
        .map(|session| (session.id, session.number))
        .collect();
    for &(id, number) in &meant {
        match shard.sessions.get_mut(id) {
            Some(session) if number == own => session.is_closing = true,
            _ => shard.sessions.abort(id),
        }
    }
    meant.len()
}

pub(super) fn setname(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let name = parse_client_setname(args)?;
    session(core, id).name = name.unwrap_or_default().to_vec();
    core.answer(id, |reply| reply.ok());
    Ok(())
}

pub(super) fn getname(core: &mut Core, id: SessionId) -> Outcome {
    let name = session(core, id).name.clone();
    core.answer(id, |reply| if name.is_empty() { reply.null() } else { reply.bulk(&name) });
    Ok(())
}

pub(super) fn setinfo(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let fact = parse_client_setinfo(args)?;
    let session = session(core, id);
    match fact {
        LibraryFact::Name(name) => session.library_name = name.to_vec(),
        LibraryFact::Version(version) => session.library_version = version.to_vec(),
    }
    core.answer(id, |reply| reply.ok());
    Ok(())
}

pub(super) fn no_evict(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    session(core, id).no_evict = parse_client_switch(args)?;
    core.answer(id, |reply| reply.ok());
    Ok(())
}

pub(super) fn no_touch(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    session(core, id).no_touch = parse_client_switch(args)?;
    core.answer(id, |reply| reply.ok());
    Ok(())
}

/// Only ON is answered; SKIP has no effect while nothing is answered.
pub(super) fn reply(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let wanted = parse_client_reply(args)?;
    let mode = &mut session(core, id).reply_mode;
    match wanted {
        requests::ReplyMode::On => {
            *mode = ReplyMode::On;
            core.answer(id, |reply| reply.ok());
        }
        requests::ReplyMode::Off => *mode = ReplyMode::Off,
        requests::ReplyMode::Skip if *mode == ReplyMode::Off => {}
        requests::ReplyMode::Skip => *mode = ReplyMode::SkipNext,
    }
    Ok(())
}

pub(super) fn pause(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_client_pause(args)?;
    let now = core.shard.now;
    if request.duration_ms > i64::MAX as u64 - now.unix_ms {
        return Err(CommandError::text("ERR timeout is out of range"));
    }
    let pause = Pause {
        until_us: now.monotonic_us.saturating_add(request.duration_ms.saturating_mul(1000)),
        writes_only: request.writes_only,
    };
    everywhere_ok(core, id, move |shard| shard.begin_pause(pause));
    Ok(())
}

pub(super) fn unpause(core: &mut Core, id: SessionId) -> Outcome {
    everywhere_ok(core, id, Shard::end_pause);
    Ok(())
}

/// Ends the waiting of a session, wherever it is.
pub(super) fn unblock(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_client_unblock(args)?;
    let (_, protocol) = settings(core, id);
    let end = if request.with_error { End::Unblocked } else { End::TimeOver };
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let unblock = move |shard: &mut Shard| {
            let number = u64::try_from(request.id).ok();
            let wanted = shard.sessions.iter().find(|session| Some(session.number) == number);
            let wanted = wanted.map(|session| session.id);
            wanted.is_some_and(|session| shard.waiting.end(shard.id, session, end))
        };
        let ended = everywhere(&hops, &routes, unblock).await.contains(&true);
        encode(protocol, |reply| reply.integer(i64::from(ended)))
    });
    Ok(())
}
