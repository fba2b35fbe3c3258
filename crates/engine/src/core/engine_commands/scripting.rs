//! EVAL, EVALSHA, FCALL and SCRIPT: where a script or function runs, and scripts over several shards.
//!
//! A script whose declared keys are on one shard is one plain call there. Any other one, and one that turns out
//! to need more, runs with everything held, on a native stack of its own, so that it can wait for commands
//! anywhere in Lua.

use std::sync::Arc;

use basalt_commands::requests::{EvalRequest, parse_eval, parse_fcall, parse_script_flush};
use basalt_commands::{Command, CommandError, Flags, Outcome};
use basalt_keyspace::{DatabaseId, ShardId, SlotId};
use basalt_resp::{Protocol, Reply};
use basalt_scripting::{Host, LogLevel};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::data::everywhere_ok;
use super::{encode, everywhere, owned, session, settings};
use crate::completion::Answer;
use crate::core::Core;
use crate::intents::{Intent, Mode, Scope};
use crate::limits;
use crate::session::SessionId;
use crate::session::queued::Queued;
use crate::shard::Shard;
use crate::shard::call::{AtMoment, Client, ReadMode};
use crate::shard::scripting::{
    Callable, Machine, Ran, ScriptCall, admitted, over_time, server_level, sha_of, sha_of_source,
};
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;

const NO_SCRIPT: CommandError = CommandError::text("NOSCRIPT No matching script. Please use EVAL.");

pub(super) const NOT_BUSY: CommandError =
    CommandError::text("NOTBUSY No scripts in execution right now.");

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
    let function = function.ok_or(CommandError::text("ERR Function not found"))?;
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

/// A run, with all that travels to the shard where it runs.
#[derive(Clone)]
struct Travelling {
    source: Arc<Callable>,
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
    database: DatabaseId,
    protocol: Protocol,
    client: Client,
    reads: ReadMode,
    reads_only: bool,
    transaction: AtMoment,
    seed: u64,
    threshold_ms: u64,
}

impl Travelling {
    /// Runs it on one shard; `None` if it needs more.
    fn run(&self, shard: &mut Shard) -> Option<Answer> {
        let keys: Vec<&[u8]> = self.keys.iter().map(Vec::as_slice).collect();
        let args: Vec<&[u8]> = self.args.iter().map(Vec::as_slice).collect();
        let mut transaction = self.transaction;
        transaction.moment_ms = shard.keyspace.now_ms();
        let call = ScriptCall {
            source: &self.source,
            keys: &keys,
            args: &args,
            database: self.database,
            client: self.client,
            reads: self.reads,
            reads_only: self.reads_only,
            transaction,
            seed: self.seed,
        };
        let mut answer = Vec::new();
        let mut reply = Reply::new(&mut answer, self.protocol);
        match shard.run_script(&call, &mut reply) {
            Ran::Whole => Some(answer),
            Ran::Wide => None,
        }
    }
}

fn run(
    core: &mut Core,
    id: SessionId,
    (source, is_new): (Arc<Callable>, bool),
    request: &EvalRequest,
    args: &[&[u8]],
    reads_only: bool,
) -> Outcome {
    let (keys, rest) = args[EvalRequest::KEYS_AT..].split_at(request.key_count);
    let reads_only = may_run(core, id, &source, reads_only)?;
    let home = core.shard.id;
    let transaction = core.transaction_of_one();
    let reads = ReadMode::of_session(session(core, id));
    let (database, protocol) = settings(core, id);
    let shards = core.shard.routes.shards_of(keys.iter().map(|key| SlotId::of_key(key)));
    let only = match shards[..] {
        [] => Some(home),
        [only] => Some(only),
        _ => None,
    };
    let mut is_wide = core.is_nested() || core.shard.scripting.is_wide(&source);
    let client = Client { home, session: id };
    let seed = u64::from(home.0);
    let mode = if reads_only { Mode::Read } else { Mode::Write };
    let intents = keys.iter().map(|key| Intent { hash: core.shard.keyspace.key(key).hash, mode });
    let scope = Scope::keys(intents.collect());
    if let Some(only) = only
        && only == home
        && !is_wide
        && !is_new
        && core.shard.intents.admits(&scope)
    {
        let call = ScriptCall {
            source: &source,
            keys,
            args: rest,
            database,
            client,
            reads,
            reads_only,
            transaction,
            seed,
        };
        let mut answer = Vec::new();
        let mut reply = Reply::new(&mut answer, protocol);
        if core.shard.run_script(&call, &mut reply) == Ran::Whole {
            core.answer(id, |reply| reply.raw(&answer));
            return Ok(());
        }
        is_wide = true;
    }
    let travelling = Travelling {
        source: Arc::clone(&source),
        keys: owned(keys),
        args: owned(rest),
        database,
        protocol,
        client,
        reads,
        reads_only,
        transaction,
        seed,
        threshold_ms: core.shard.config.busy_reply_threshold,
    };
    let routes = Arc::clone(&core.shard.routes);
    let now_ms = core.shard.keyspace.now_ms();
    core.coordinate(id, |hops| async move {
        if is_new {
            let known = Arc::clone(&travelling.source);
            let add = move |shard: &mut Shard| shard.scripting.add(&known, false);
            everywhere(&hops, &routes, add).await;
        }
        if let Some(only) = only
            && !is_wide
        {
            let there = travelling.clone();
            if let Some(answer) = hops.alone(only, scope, move |shard| there.run(shard)).await {
                return answer;
            }
        }
        run_wide(&hops, &routes, home, travelling, now_ms).await
    });
    Ok(())
}

/// Whether what a script declares lets it run now, and whether it may only read.
fn may_run(
    core: &mut Core,
    id: SessionId,
    source: &Callable,
    reads_only: bool,
) -> Result<bool, CommandError> {
    let flags = source.flags;
    if flags.is_undeclared || flags.no_writes {
        return Ok(reads_only || flags.no_writes);
    }
    if reads_only {
        return Err(CommandError::text(
            "ERR Can not execute a script with write flag using *_ro command.",
        ));
    }
    let (database, _) = settings(core, id);
    if !flags.allow_oom && core.shard.check_memory(Flags::DENYOOM, database).is_err() {
        return Err(CommandError::text(
            "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
        ));
    }
    Ok(false)
}

/// Runs a script with everything held.
async fn run_wide(
    hops: &Hops,
    routes: &Routes,
    home: ShardId,
    call: Travelling,
    now_ms: u64,
) -> Answer {
    hops.hold_everything(routes, Mode::Write, |_| ()).await;
    let moment_ms = hops.moment_ms().unwrap_or(now_ms);
    let (id, database, protocol, seed) =
        (call.client.session, call.database, call.protocol, call.seed);
    let Ok(stack) = new_stack(limits::SCRIPT_STACK_BYTES) else {
        hops.release_all();
        return encode(protocol, |reply| reply.error_bytes(CommandError::NO_MEMORY.as_bytes()));
    };
    let machine = hops.on(home, move |shard| shard.scripting.take_spare(seed)).await;
    let mut script = Suspended::new(stack, machine, call);
    let mut input = Input::Go;
    let (answer, lines, machine) = loop {
        match script.resume(input) {
            CoroutineResult::Yield(Asks { command, args, protocol }) => {
                let number = command.number;
                let speak = move |shard: &mut Shard| {
                    shard.command_stats.count(number);
                    if let Some(session) = shard.sessions.get_mut(id) {
                        session.protocol = protocol;
                    }
                };
                hops.on(home, speak).await;
                let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                let queued = Queued::new(command, &args);
                input = Input::Reply(hops.inside(vec![queued], moment_ms).await);
            }
            CoroutineResult::Return(ended) => break ended,
        }
    };
    let settle = move |shard: &mut Shard| {
        shard.scripting.keep_spare(machine);
        shard.notes.extend(lines);
        if let Some(session) = shard.sessions.get_mut(id) {
            session.protocol = protocol;
            session.database = database;
        }
    };
    hops.on(home, settle).await;
    hops.release_all();
    answer
}

/// A command that a suspended script waits for.
struct Asks {
    command: &'static Command,
    args: Vec<Vec<u8>>,
    protocol: Protocol,
}

/// What a suspended script goes on with.
enum Input {
    Go,
    Reply(Vec<u8>),
    /// Nobody waits for it any more: it ends.
    End,
}

type Lines = Vec<(basalt_commands::config::LogLevel, String)>;
type Ended = (Answer, Lines, Box<Machine>);

/// A native stack of so many bytes.
///
/// # Errors
/// If the system does not grant it.
fn new_stack(bytes: usize) -> Result<DefaultStack, CommandError> {
    DefaultStack::new(bytes).map_err(|_| CommandError::NO_MEMORY)
}

/// A script on a stack of its own. Dropped, it is ended first: its stack holds what must be dropped.
struct Suspended(Coroutine<Input, Asks, Ended, DefaultStack>);

impl Suspended {
    fn new(stack: DefaultStack, mut machine: Box<Machine>, call: Travelling) -> Self {
        Self(Coroutine::with_stack(stack, move |yielder, _| {
            let (answer, lines) = run_suspended(&mut machine, &call, yielder);
            (answer, lines, machine)
        }))
    }

    fn resume(&mut self, input: Input) -> CoroutineResult<Asks, Ended> {
        self.0.resume(input)
    }
}

impl Drop for Suspended {
    fn drop(&mut self) {
        while self.0.started() && !self.0.done() {
            drop(self.0.resume(Input::End));
        }
    }
}

fn run_suspended(
    machine: &mut Machine,
    call: &Travelling,
    yielder: &Yielder<Input, Asks>,
) -> (Answer, Lines) {
    let (mut answer, mut lines) = (Vec::new(), Vec::new());
    let mut reply = Reply::new(&mut answer, call.protocol);
    match machine.prepare(&call.source) {
        Ok(prepared) => {
            let keys: Vec<&[u8]> = call.keys.iter().map(Vec::as_slice).collect();
            let args: Vec<&[u8]> = call.args.iter().map(Vec::as_slice).collect();
            let mut host = SuspendingHost {
                yielder,
                call,
                is_over: false,
                has_written: false,
                checks: 0,
                lines: Vec::new(),
            };
            let name = &call.source.name;
            // Its error is the reply, and is counted when that is passed on.
            let _ = machine.run((&prepared, name), &keys, &args, &mut host, &mut reply);
            lines = host.lines;
            machine.forget(prepared);
        }
        Err(error) => reply.error_bytes(error.as_bytes()),
    }
    (answer, lines)
}

/// A script that waits for each of its commands.
struct SuspendingHost<'a> {
    yielder: &'a Yielder<Input, Asks>,
    call: &'a Travelling,
    is_over: bool,
    has_written: bool,
    checks: u64,
    /// For the log.
    lines: Lines,
}

impl Host for SuspendingHost<'_> {
    fn call(&mut self, args: &[&[u8]], protocol: Protocol, reply: &mut Vec<u8>) {
        let command = match admitted(args, self.call.reads_only) {
            Ok(command) if !self.is_over => command,
            Ok(_) => return Reply::new(reply, protocol).error("ERR the script is ended"),
            Err(error) => return Reply::new(reply, protocol).error_bytes(error.as_bytes()),
        };
        self.has_written |= command.flags.has(Flags::WRITE);
        match self.yielder.suspend(Asks { command, args: owned(args), protocol }) {
            Input::Reply(answer) if !answer.is_empty() => reply.extend_from_slice(&answer),
            Input::Reply(_) => Reply::new(reply, protocol).null(),
            Input::Go | Input::End => {
                self.is_over = true;
                Reply::new(reply, protocol).error("ERR the script is ended");
            }
        }
    }

    fn log(&mut self, level: LogLevel, text: &[u8]) {
        self.lines.push((server_level(level), String::from_utf8_lossy(text).into_owned()));
    }

    fn interrupt(&mut self) -> Option<&'static str> {
        if self.is_over {
            return Some("the script is ended");
        }
        self.checks += 1;
        over_time(self.checks, self.has_written, self.call.threshold_ms)
    }

    fn cpu_seconds(&mut self) -> f64 {
        self.call.transaction.moment_ms as f64 / 1e3
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Option<bool> {
        basalt_commands::table::find(args[0]).map(|_| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_that_is_not_granted_is_an_error() {
        assert!(new_stack(limits::SCRIPT_STACK_BYTES).is_ok());
        // No address space is that large.
        assert_eq!(new_stack(1 << 47).err(), Some(CommandError::NO_MEMORY));
    }
}
