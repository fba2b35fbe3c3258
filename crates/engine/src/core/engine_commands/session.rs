//! EngineCommands of the session: PING, ECHO, SELECT, HELLO, AUTH, RESET, QUIT.

use basalt_commands::requests::{AuthRequest, parse_auth, parse_hello, parse_ping, parse_select};
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::DatabaseId;
use basalt_resp::Protocol;

use super::pubsub::unsubscribe_from_all;
use super::{REDIS_VERSION, encode, session};
use crate::core::Core;
use crate::session::armed::Armed;
use crate::session::fieldsets::Fieldsets;
use crate::session::{ReplyMode, SessionId};

pub(super) fn ping(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let message = parse_ping(args)?;
    // Among messages in RESP2, the reply has their form.
    if session(core, id).armed.has(Armed::SUBSCRIBED) {
        core.answer(id, |reply| {
            reply.array(2);
            reply.bulk(b"pong");
            reply.bulk(message.unwrap_or_default());
        });
        return Ok(());
    }
    core.answer(id, |reply| match message {
        Some(text) => reply.bulk(text),
        None => reply.simple("PONG"),
    });
    Ok(())
}

pub(super) fn echo(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    core.answer(id, |reply| reply.bulk(args[1]));
    Ok(())
}

pub(super) fn whoami(core: &mut Core, id: SessionId) -> Outcome {
    core.answer(id, |reply| reply.bulk(b"default"));
    Ok(())
}

pub(super) fn select(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let database = parse_select(args, core.shard.keyspace.database_count())?;
    session(core, id).database = database;
    core.answer(id, |reply| reply.ok());
    Ok(())
}

pub(super) fn hello(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_hello(args)?;
    if let Some(auth) = request.auth {
        log_in(core, id, auth)?;
    }
    let session = session(core, id);
    if session.armed.has(Armed::AUTH) {
        return Err(CommandError::text(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
             <proto> AUTH <user> <pass> option can be used to authenticate the client and select the \
             RESP protocol version at the same time",
        ));
    }
    if let Some(name) = request.name {
        session.name = name.unwrap_or_default().to_vec();
    }
    if let Some(protocol) = request.protocol {
        session.protocol = protocol;
        session.settle_subscriptions();
    }
    let number = session.number;
    core.answer(id, |reply| {
        reply.map(7);
        reply.bulk(b"server");
        // Clients look here for what they know.
        reply.bulk(b"redis");
        reply.bulk(b"version");
        reply.bulk(REDIS_VERSION.as_bytes());
        reply.bulk(b"proto");
        reply.integer(if reply.protocol() == Protocol::Resp3 { 3 } else { 2 });
        reply.bulk(b"id");
        reply.integer(number as i64);
        reply.bulk(b"mode");
        reply.bulk(b"standalone");
        reply.bulk(b"role");
        reply.bulk(b"master");
        reply.bulk(b"modules");
        reply.array(0);
    });
    Ok(())
}

pub(super) fn auth(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_auth(args)?;
    if request.user.is_none() && !core.shard.config.requirepass.is_set() {
        return Err(CommandError::text(
            "ERR AUTH <password> called without any password configured for the default user. Are \
             you sure your configuration is correct?",
        ));
    }
    log_in(core, id, request)?;
    core.answer(id, |reply| reply.ok());
    Ok(())
}

/// Lets the session in if the password is right; without `requirepass` any is.
fn log_in(core: &mut Core, id: SessionId, request: AuthRequest<'_>) -> Outcome {
    let wanted = &core.shard.config.requirepass;
    let is_right = !wanted.is_set() || is_same(&wanted.0, request.password);
    if request.user.is_some_and(|user| user != b"default") || !is_right {
        core.shard.stats.refused_logins += 1;
        return Err(CommandError::text(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    }
    session(core, id).armed.set(Armed::AUTH, false);
    Ok(())
}

/// Compares in a time that does not depend on where two passwords begin to differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && difference == 0
}

pub(super) fn reset(core: &mut Core, id: SessionId) -> Outcome {
    core.discard(id);
    core.end_monitor(id);
    core.set_tracking(id, None);
    let needs_password = core.shard.config.requirepass.is_set();
    let session = session(core, id);
    session.armed = Armed::default();
    session.armed.set(Armed::AUTH, needs_password);
    session.database = DatabaseId(0);
    session.protocol = Protocol::Resp2;
    session.reply_mode = ReplyMode::On;
    session.no_evict = false;
    session.no_touch = false;
    session.name.clear();
    session.fieldsets = Fieldsets::default();
    let answer = encode(Protocol::Resp2, |reply| reply.simple("RESET"));
    if !unsubscribe_from_all(core, id, answer) {
        core.answer(id, |reply| reply.simple("RESET"));
    }
    Ok(())
}

pub(super) fn quit(core: &mut Core, id: SessionId) -> Outcome {
    core.answer(id, |reply| reply.ok());
    session(core, id).is_closing = true;
    Ok(())
}
