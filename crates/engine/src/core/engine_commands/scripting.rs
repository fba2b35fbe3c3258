//! EVAL, EVALSHA, FCALL and SCRIPT: where a script or function runs, and scripts over several shards.
//!
//! A script whose declared keys are on one shard is one plain call there, if it does not take long. Any other one, and
//! one that turns out to need more, runs at home with everything held, and waits for commands on other shards.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use basalt_commands::requests::{EvalRequest, parse_eval, parse_fcall, parse_script_flush};
use basalt_commands::{CommandError, Flags, Outcome};
use basalt_keyspace::{ShardId, SlotId};

use super::data::everywhere_ok;
use super::{encode, everywhere, owned, session, settings};
use crate::completion::{Answer, Ticket};
use crate::core::Core;
use crate::intents::{Intent, Mode, Scope};
use crate::session::SessionId;
use crate::session::queued::Queued;
use crate::shard::Shard;
use crate::shard::call::{Client, ReadMode};
use crate::shard::scripting::{
    Asks, BusyScript, Callable, Killed, Ran, RunSettings, ScriptCall, refused, sha_of,
    sha_of_source,
};
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;

const NO_SCRIPT: CommandError = CommandError::text("NOSCRIPT No matching script. Please use EVAL.");

const NO_FUNCTION: CommandError = CommandError::text("ERR Function not found");

const NOT_BUSY: CommandError = CommandError::text("NOTBUSY No scripts in execution right now.");
const UNKILLABLE: CommandError = CommandError::text(
    "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script \
     termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
);

pub(super) fn eval(core: &mut Core, id: SessionId, args: &[&[u8]], reads_only: bool) -> Outcome {
    let request = parse_eval(args)?;
    let sha = sha_of_source(args[1]);
    let known = core.shard.scripting.find(&sha).cloned();
    let is_new = known.is_none();
    let source = match known {
        Some(source) => source,
        None => {
            let source = Arc::new(Callable::script(sha, args[1])?);
            core.shard.scripting.check(&source, core.shard.id.0.into())?;
            core.shard.scripting.add(&source, false);
            source
        }
    };
    run(core, id, (source, is_new), &request, args, reads_only)
}

pub(super) fn evalsha(core: &mut Core, id: SessionId, args: &[&[u8]], reads_only: bool) -> Outcome {
    let request = parse_eval(args)?;
    let source = core.shard.scripting.find(&sha_of(args[1])).cloned().ok_or(NO_SCRIPT)?;
    run(core, id, (source, false), &request, args, reads_only)
}

pub(super) fn fcall(core: &mut Core, id: SessionId, args: &[&[u8]], reads_only: bool) -> Outcome {
    let function = core.shard.scripting.libraries.function(args[1]).cloned();
    let function = function.ok_or(NO_FUNCTION)?;
    let request = parse_fcall(args)?;
    run(core, id, (function, false), &request, args, reads_only)
}

pub(super) fn load(core: &mut Core, id: SessionId, text: &[u8]) -> Outcome {
    let source = Arc::new(Callable::script(sha_of_source(text), text)?);
    core.shard.scripting.check(&source, core.shard.id.0.into())?;
    let (_, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let known = Arc::clone(&source);
        everywhere(&hops, &routes, move |shard: &mut Shard| shard.scripting.add(&known, true))
            .await;
        encode(protocol, |reply| reply.bulk(source.name.as_bytes()))
    });
    Ok(())
}

pub(super) fn exists(core: &mut Core, id: SessionId, shas: &[&[u8]]) -> Outcome {
    let scripting = &core.shard.scripting;
    let found: Vec<bool> = shas.iter().map(|sha| scripting.find(&sha_of(sha)).is_some()).collect();
    core.answer(id, |reply| {
        reply.array(found.len());
        found.iter().for_each(|is_known| reply.integer(i64::from(*is_known)));
    });
    Ok(())
}

pub(super) fn show(core: &mut Core, id: SessionId, sha: &[u8]) -> Outcome {
    let source = core.shard.scripting.find(&sha_of(sha)).cloned().ok_or(NO_SCRIPT)?;
    core.answer(id, |reply| reply.bulk(source.text()));
    Ok(())
}

pub(super) fn flush(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    parse_script_flush(args)?;
    everywhere_ok(core, id, |shard| shard.scripting.flush());
    Ok(())
}

pub(super) fn debug(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    if args[2].eq_ignore_ascii_case(b"no") {
        core.answer(id, |reply| reply.ok());
        return Ok(());
    }
    if args[2].eq_ignore_ascii_case(b"yes") || args[2].eq_ignore_ascii_case(b"sync") {
        return Err(CommandError::text("ERR SCRIPT DEBUG is not supported"));
    }
    Err(CommandError::text("ERR Use SCRIPT DEBUG YES/SYNC/NO"))
}

/// SCRIPT KILL and FUNCTION KILL: all scripts that run, on whichever shards, unless they wrote.
pub(super) fn kill(core: &mut Core, id: SessionId, of_function: bool) -> Outcome {
    let (_, protocol) = settings(core, id);
    let routes = Arc::clone(&core.shard.routes);
    core.coordinate(id, |hops| async move {
        let kill = move |shard: &mut Shard| shard.kill_script(of_function);
        let found = everywhere(&hops, &routes, kill).await;
        encode(protocol, |reply| match found.into_iter().max() {
            Some(Killed::Done) => reply.ok(),
            Some(Killed::HasWritten) => reply.error_bytes(UNKILLABLE.as_bytes()),
            Some(Killed::OtherKind { is_function }) => {
                let busy = BusyScript { home: ShardId(0), holds_all: false, is_function };
                reply.error_bytes(busy.refusal().as_bytes());
            }
            Some(Killed::NoneRuns) | None => reply.error_bytes(NOT_BUSY.as_bytes()),
        })
    });
    Ok(())
}

/// A run, with all that travels to the shard where it runs.
#[derive(Clone)]
struct Travelling {
    source: Arc<Callable>,
    args: Vec<Vec<u8>>,
    key_count: usize,
    settings: RunSettings,
}

impl Travelling {
    fn begin(&self, shard: &mut Shard) -> Ran {
        let args: Vec<&[u8]> = self.args.iter().map(Vec::as_slice).collect();
        let mut settings = self.settings;
        if !settings.holds_all {
            settings.transaction.moment_ms = shard.keyspace.now_ms();
        }
        let source = match self.source.is_function() {
            // Libraries may have changed while it waited.
            true => match shard.scripting.libraries.function(self.source.name.as_bytes()) {
                Some(function) => &Arc::clone(function),
                None => return refused(&settings, &NO_FUNCTION),
            },
            false => &self.source,
        };
        let key_count = self.key_count;
        shard.begin_script(&ScriptCall { source, args: &args, key_count, settings })
    }
}

/// The place where a coordination finds what became of a script that paused.
const PLACE: usize = 0;

fn run(
    core: &mut Core,
    id: SessionId,
    (source, is_new): (Arc<Callable>, bool),
    request: &EvalRequest,
    args: &[&[u8]],
    reads_only: bool,
) -> Outcome {
    let key_count = request.key_count;
    let keys = &args[EvalRequest::KEYS_AT..][..key_count];
    let reads_only = may_run(&source, reads_only)?;
    let home = core.shard.id;
    let (number, transaction) = core.transaction_of_one();
    let reads = ReadMode::of_session(session(core, id));
    let (database, protocol) = settings(core, id);
    let shards = core.shard.routes.shards_of(keys.iter().map(|key| SlotId::of_key(key)));
    let only = match shards[..] {
        [] => Some(home),
        [only] => Some(only),
        _ => None,
    };
    let is_wide = core.is_nested() || core.shard.scripting.is_wide(&source);
    let mode = if reads_only { Mode::Read } else { Mode::Write };
    let intents = keys.iter().map(|key| Intent { hash: core.shard.keyspace.key(key).hash, mode });
    let scope = Scope::keys(intents.collect());
    let run = RunSettings {
        database,
        protocol,
        client: Client { home, session: id },
        reads,
        reads_only,
        transaction,
        number,
        seed: u64::from(home.0),
        holds_all: false,
        is_short: false,
        ticket: Ticket { coordination: core.next_coordination(), index: PLACE },
    };
    let is_here = only == Some(home) && !is_wide && !is_new;
    let begun = if is_here && core.shard.intents.admits(&scope) {
        let source = &source;
        let ran = core.shard.begin_script(&ScriptCall { source, args, key_count, settings: run });
        if let Ran::Whole(answer) = ran {
            core.answer(id, |reply| reply.raw(&answer));
            return Ok(());
        }
        Some(ran)
    } else {
        None
    };
    let travelling =
        Travelling { source: Arc::clone(&source), args: owned(args), key_count, settings: run };
    let routes = Arc::clone(&core.shard.routes);
    if !core.is_nested() {
        session(core, id).runs_script = true;
    }
    core.coordinate(id, |hops| async move {
        let place = hops.place();
        debug_assert_eq!(place, PLACE);
        if is_new {
            let known = Arc::clone(&travelling.source);
            let add = move |shard: &mut Shard| shard.scripting.add(&known, false);
            everywhere(&hops, &routes, add).await;
        }
        if let Some(only) = only
            && !is_wide
        {
            let begun = match begun {
                Some(begun) => begun,
                None => {
                    let there = travelling.clone();
                    hops.alone(only, scope, move |shard| there.begin(shard)).await
                }
            };
            if let Some(answer) = ended(&hops, &travelling.settings, begun).await {
                return answer;
            }
        }
        run_wide(&hops, &routes, travelling).await
    });
    Ok(())
}

/// Whether a script may only read.
///
/// # Errors
/// If what it declares does not let it run.
fn may_run(source: &Callable, reads_only: bool) -> Result<bool, CommandError> {
    let flags = source.flags;
    if reads_only && !flags.is_undeclared && !flags.no_writes {
        return Err(CommandError::text(
            "ERR Can not execute a script with write flag using *_ro command.",
        ));
    }
    Ok(reads_only || flags.no_writes)
}

/// Runs a script with everything held.
async fn run_wide(hops: &Hops, routes: &Routes, mut call: Travelling) -> Answer {
    let (home, database) = (call.settings.client.home, call.settings.database);
    let is_inside = hops.is_inside();
    // Inside of an EXEC nothing is evicted.
    let checks = !call.settings.reads_only && !is_inside;
    let look =
        move |shard: &mut Shard| checks && shard.check_memory(Flags::DENYOOM, database).is_err();
    let found = hops.hold_everything(routes, Mode::Write, look).await;
    let settings = &mut call.settings;
    settings.holds_all = true;
    settings.is_short = found.contains(&true);
    if let Some(moment_ms) = hops.moment_ms() {
        settings.transaction.moment_ms = moment_ms;
    }
    let settings = *settings;
    let begun = hops.on(home, move |shard| call.begin(shard)).await;
    let answer = ended(hops, &settings, begun).await.unwrap_or_else(|| {
        encode(settings.protocol, |reply| reply.error("ERR another script runs"))
    });
    hops.release_all();
    answer
}

/// What a run that was begun is answered, however often it pauses; None if it needs more.
async fn ended(hops: &Hops, settings: &RunSettings, mut ran: Ran) -> Option<Answer> {
    loop {
        match ran {
            Ran::Whole(answer) => return Some(answer),
            Ran::Wide => return None,
            Ran::Paused => {}
            Ran::Asks(asks) => {
                if !settings.holds_all {
                    hops.adopt(settings.transaction.tag);
                }
                let reply = ask(hops, settings, asks).await;
                let give = move |shard: &mut Shard| shard.give_script_reply(reply);
                hops.on(settings.client.home, give).await;
            }
        }
        ran = poll_fn(|_| hops.take_at(PLACE).map_or(Poll::Pending, Poll::Ready)).await;
    }
}

/// Runs a command for a script as one of its client's, inside what is held.
async fn ask(hops: &Hops, settings: &RunSettings, asks: Asks) -> Answer {
    let Asks { command, args, protocol, database } = asks;
    let (id, home) = (settings.client.session, settings.client.home);
    let speak = move |shard: &mut Shard| {
        if let Some(session) = shard.sessions.get_mut(id) {
            (session.protocol, session.database) = (protocol, database);
        }
    };
    hops.on(home, speak).await;
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let queued = Queued::new(command, &args);
    let reply = hops.inside(vec![queued], settings.transaction.moment_ms).await;
    let (protocol, database) = (settings.protocol, settings.database);
    let restore = move |shard: &mut Shard| {
        if let Some(session) = shard.sessions.get_mut(id) {
            (session.protocol, session.database) = (protocol, database);
        }
    };
    hops.on(home, restore).await;
    reply
}
