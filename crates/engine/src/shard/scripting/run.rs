//! Run: a script or function from its beginning to its end, with all pauses.
//!
//! It runs in slices: after each the shard's turn goes on. From its first pause on it holds all of the shard (or of all
//! shards, if these are held for it), so nobody sees half of it.

use std::sync::Arc;

use basalt_commands::{
    Command, CommandError, EngineCommand, Flags, ManyKeys, Run, ShardFn, key_positions, table,
};
use basalt_keyspace::{DatabaseId, KeptValue, Key, Origin};
use basalt_resp::{Protocol, Reply, parse_i64};
use basalt_scripting::{Called, Host, Interrupt, LogLevel, NoStack, Progress, Script};

use super::{Callable, Machine, Prepared, server_level};
use crate::completion::{Answer, Ticket};
use crate::input::resolve::mode_of;
use crate::intents::{Intent, Number};
use crate::limits;
use crate::session::armed::Armed;
use crate::shard::Shard;
use crate::shard::call::{AtMoment, CallContext, Client, ErrorCount, ReadMode, calls_of};

/// How a script runs.
#[derive(Clone, Copy)]
pub(crate) struct RunSettings {
    pub database: DatabaseId,
    pub protocol: Protocol,
    pub client: Client,
    pub reads: ReadMode,
    pub reads_only: bool,
    /// What it writes is one transaction.
    pub transaction: AtMoment,
    /// Under which it holds the shard, once it pauses.
    pub number: Number,
    pub seed: u64,
    /// All shards are held for it.
    pub holds_all: bool,
    /// The shards' memory is used up, as it was found when they were held.
    pub is_short: bool,
    /// Who hears of it after its first pause.
    pub ticket: Ticket,
}

/// A script that is to run.
pub(crate) struct ScriptCall<'a> {
    pub source: &'a Arc<Callable>,
    /// The client's request; its keys follow their number.
    pub args: &'a [&'a [u8]],
    pub key_count: usize,
    pub settings: RunSettings,
}

impl<'a> ScriptCall<'a> {
    /// Where the keys stand among the arguments.
    pub(crate) const KEYS_AT: usize = 3;

    fn keys_and_args(&self) -> (&'a [&'a [u8]], &'a [&'a [u8]]) {
        self.args[Self::KEYS_AT..].split_at(self.key_count)
    }
}

/// What a slice of a run ended with.
pub(crate) enum Ran {
    /// It ended.
    Whole(Answer),
    /// It needs what is not here: nothing of it is left, and nothing is written.
    Wide,
    /// It goes on in the next turn.
    Paused,
    /// It waits for the reply of a command that is not run here.
    Asks(Asks),
}

/// A command that a script waits for.
pub(crate) struct Asks {
    pub command: &'static Command,
    pub args: Vec<Vec<u8>>,
    pub protocol: Protocol,
    pub database: DatabaseId,
}

/// A script between two slices.
pub(super) struct Running {
    pub source: Arc<Callable>,
    /// The client's request.
    pub args: Vec<Vec<u8>>,
    pub settings: RunSettings,
    pub machine: Box<Machine>,
    prepared: Prepared,
    pub state: RunState,
    pub begun_us: u64,
    pub is_busy: bool,
    /// Scripts to be freed when it is over.
    pub forgotten: Vec<Script>,
}

/// What a run keeps from slice to slice.
pub(super) struct RunState {
    /// SELECT changes it for the script.
    database: DatabaseId,
    /// What keys held before the script first wrote them. LIMIT: each `UNDO_VALUE_BYTES`.
    kept: Vec<(DatabaseId, Vec<u8>, KeptValue)>,
    pub has_written: bool,
    is_wide: bool,
    is_short: bool,
    pub is_killed: bool,
    /// The command that it waits for.
    asks: Option<Asks>,
    is_asking: bool,
    has_reply: bool,
    reply: Answer,
}

impl Running {
    /// Whether its next slice may begin.
    pub(super) fn may_go_on(&self) -> bool {
        !self.state.is_asking
    }

    /// Whether it got what it waited for, and did not go on yet.
    pub(super) fn has_reply(&self) -> bool {
        self.state.has_reply
    }

    /// Milliseconds since it began.
    pub(super) fn ran_ms(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.begun_us) / 1000
    }
}

impl Shard {
    /// Begins a script whose declared keys are here and free, or for which all is held.
    pub(crate) fn begin_script(&mut self, call: &ScriptCall<'_>) -> Ran {
        let mut settings = call.settings;
        let is_one_of_several = self.routes.shard_count() > 1;
        let is_free = settings.holds_all || is_one_of_several || self.intents.is_idle();
        if self.scripting.running.is_some() || !is_free {
            return Ran::Wide;
        }
        if settings.holds_all {
            // It is part of the transaction that holds all.
            let origin = self.keyspace.origin();
            settings.transaction.tag = origin.transaction.unwrap_or(settings.transaction.tag);
        } else {
            settings.is_short = !settings.reads_only
                && self.check_memory(Flags::DENYOOM, settings.database).is_err();
        }
        if let Some(error) = refusal(call.source, &settings) {
            return refused(&settings, &error);
        }
        let name = &call.source.name;
        let mut machine = self.scripting.machine(settings.seed);
        let compiled = match call.source.is_function() {
            true => None,
            false => {
                self.scripting.add(call.source, false);
                let known = self.scripting.known.get_mut(name);
                known.expect("it was added").compiled.take()
            }
        };
        let prepared = match compiled {
            Some(script) => Ok(Prepared::Script(script)),
            None => machine.prepare(call.source),
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(error) => {
                self.scripting.machine = Some(machine);
                return refused(&settings, &error);
            }
        };
        let (keys, args) = call.keys_and_args();
        if let Err(NoStack) = machine.begin(&prepared, keys, args) {
            self.put_back(machine, prepared, name);
            return refused(&settings, &CommandError::NO_MEMORY);
        }
        let mut state = RunState {
            database: settings.database,
            kept: Vec::new(),
            has_written: false,
            is_wide: false,
            is_short: settings.is_short,
            is_killed: false,
            asks: None,
            is_asking: false,
            has_reply: false,
            reply: Answer::new(),
        };
        let host = (call.source, &settings, keys, &mut state);
        if self.run_slice(&mut machine, host) == Progress::Ended {
            return self.end_script(call.source, &settings, (machine, prepared, state));
        }
        let asks = state.asks.take();
        if !settings.holds_all {
            self.intents.hold_all(settings.number);
        }
        self.scripting.running = Some(Box::new(Running {
            source: Arc::clone(call.source),
            args: call.args.iter().map(|arg| arg.to_vec()).collect(),
            settings,
            machine,
            prepared,
            state,
            begun_us: self.now.monotonic_us,
            is_busy: false,
            forgotten: Vec::new(),
        }));
        self.arm_scripts();
        asks.map_or(Ran::Paused, Ran::Asks)
    }

    /// Goes on with the script that is paused, if it may.
    pub(crate) fn go_on_with_script(&mut self) -> Option<(RunSettings, Ran)> {
        let mut running = self.scripting.running.take_if(|running| running.may_go_on())?;
        let settings = running.settings;
        (running.state.is_asking, running.state.has_reply) = (false, false);
        let Running { source, machine, state, .. } = &mut *running;
        let host = (&*source, &settings, &[][..], state);
        let progress = match settings.holds_all {
            true => self.tied(|shard| shard.run_slice(machine, host)),
            false => self.run_slice(machine, host),
        };
        if progress == Progress::Paused {
            let asks = running.state.asks.take();
            self.scripting.running = Some(running);
            return Some((settings, asks.map_or(Ran::Paused, Ran::Asks)));
        }
        let Running { source, mut machine, prepared, state, forgotten, .. } = *running;
        for script in forgotten {
            machine.interpreter.forget(script);
        }
        let ran = self.end_script(&source, &settings, (machine, prepared, state));
        self.arm_scripts();
        Some((settings, ran))
    }

    /// Hands a paused script the reply that it waits for.
    pub(crate) fn give_script_reply(&mut self, reply: Answer) {
        if let Some(running) = &mut self.scripting.running {
            running.state.reply = reply;
            (running.state.is_asking, running.state.has_reply) = (false, true);
        }
    }

    fn run_slice(
        &mut self,
        machine: &mut Machine,
        (source, settings, keys, state): (&Arc<Callable>, &RunSettings, &[&[u8]], &mut RunState),
    ) -> Progress {
        let (client, tag) = (settings.client.into(), settings.transaction.tag);
        let origin = Origin { client: Some(client), transaction: Some(tag) };
        let outer = self.keyspace.swap_origin(origin);
        let (allows_oom, is_function) = (source.flags.allow_oom, source.is_function());
        let slice = (0, None);
        let mut host =
            ShardHost { shard: self, settings, keys, state, allows_oom, is_function, slice };
        let progress = machine.interpreter.resume(&mut host);
        self.keyspace.swap_origin(outer);
        progress
    }

    fn end_script(
        &mut self,
        source: &Callable,
        settings: &RunSettings,
        (mut machine, prepared, state): (Box<Machine>, Prepared, RunState),
    ) -> Ran {
        let mut answer = Answer::new();
        let mut reply = Reply::new(&mut answer, settings.protocol);
        let ran = machine.interpreter.finish(&source.name, &mut reply);
        if state.is_wide {
            let (client, tag) = (settings.client.into(), settings.transaction.tag);
            let origin = Origin { client: Some(client), transaction: Some(tag) };
            let outer = self.keyspace.swap_origin(origin);
            for (database, key, value) in state.kept.iter().rev() {
                let key = self.keyspace.key(key);
                self.keyspace.restore_value(*database, &key, value);
            }
            self.keyspace.swap_origin(outer);
            self.scripting.note_wide(source);
        } else if let Err(failure) = ran
            && !failure.is_counted
        {
            self.stats.count_error(b"ERR");
        }
        if state.has_written && !settings.holds_all {
            self.keyspace.end_part(settings.transaction.tag);
        }
        self.put_back(machine, prepared, &source.name);
        if state.is_wide { Ran::Wide } else { Ran::Whole(answer) }
    }

    fn put_back(&mut self, mut machine: Box<Machine>, prepared: Prepared, name: &str) {
        match (prepared, self.scripting.known.get_mut(name)) {
            (Prepared::Script(script), Some(known)) if known.compiled.is_none() => {
                known.compiled = Some(script);
            }
            (prepared, _) => machine.forget(prepared),
        }
        machine.forget_libraries(&self.scripting.libraries);
        self.scripting.machine = Some(machine);
    }

    /// Has the gate look at commands while a script is paused here, or busy anywhere.
    pub(super) fn arm_scripts(&mut self) {
        let scripting = &self.scripting;
        let is_armed = scripting.running.is_some() || !scripting.busy.is_empty();
        if self.armed.has(Armed::SCRIPT) || is_armed {
            self.armed.set(Armed::SCRIPT, is_armed);
            self.sessions.release_held();
        }
    }
}

/// What a script ends with that does not run.
pub(crate) fn refused(settings: &RunSettings, error: &CommandError) -> Ran {
    let mut answer = Answer::new();
    Reply::new(&mut answer, settings.protocol).error_bytes(error.as_bytes());
    Ran::Whole(answer)
}

/// Why a script must not run, by what it declares.
fn refusal(source: &Callable, settings: &RunSettings) -> Option<CommandError> {
    let flags = source.flags;
    let needs_memory = !flags.is_undeclared && !settings.reads_only && !flags.allow_oom;
    (needs_memory && settings.is_short).then_some(CommandError::text(
        "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
    ))
}

/// A script that runs on its shard.
struct ShardHost<'a> {
    shard: &'a mut Shard,
    settings: &'a RunSettings,
    /// Those that it declared; none after its first pause.
    keys: &'a [&'a [u8]],
    state: &'a mut RunState,
    allows_oom: bool,
    is_function: bool,
    /// How often it was asked in this slice whether it goes on, and when (ns) that was first.
    slice: (u32, Option<u64>),
}

const NEEDS_OTHERS: &str = "ERR the script needs other shards";

impl Host for ShardHost<'_> {
    fn call(&mut self, args: &[&[u8]], protocol: Protocol, reply: &mut Vec<u8>) -> Called {
        let mut reply = Reply::new(reply, protocol);
        match self.run(args, &mut reply) {
            Ok(()) => {}
            Err(Refused::Error(error)) => reply.error_bytes(error.as_bytes()),
            Err(Refused::Wide(command)) if self.has_all_shards() => {
                self.state.has_written |= command.flags.has(Flags::WRITE);
                let args = args.iter().map(|arg| arg.to_vec()).collect();
                let database = self.state.database;
                self.state.asks = Some(Asks { command, args, protocol, database });
                self.state.is_asking = true;
                return Called::Later;
            }
            Err(Refused::Wide(_)) => {
                self.state.is_wide = true;
                reply.error(NEEDS_OTHERS);
            }
        }
        Called::Done
    }

    fn take_reply(&mut self, reply: &mut Vec<u8>) {
        match std::mem::take(&mut self.state.reply) {
            answer if answer.is_empty() => Reply::new(reply, Protocol::Resp2).null(),
            answer => reply.extend_from_slice(&answer),
        }
    }

    fn log(&mut self, level: LogLevel, text: &[u8]) {
        let line = String::from_utf8_lossy(text).into_owned();
        self.shard.note(server_level(level), line);
    }

    fn interrupt(&mut self) -> Interrupt {
        if self.state.is_wide {
            return Interrupt::End(NEEDS_OTHERS);
        }
        if self.state.is_killed {
            let text = match self.is_function {
                true => "Script killed by user with FUNCTION KILL.",
                false => "Script killed by user with SCRIPT KILL.",
            };
            self.shard.note(server_level(LogLevel::Notice), text.to_owned());
            return Interrupt::End(text);
        }
        let now_ns = (self.shard.stopwatch)();
        let (asked, begun_ns) = &mut self.slice;
        *asked += 1;
        let took_ns = now_ns.saturating_sub(*begun_ns.get_or_insert(now_ns));
        let is_over = *asked > limits::SCRIPT_SLICE_CHECKS || took_ns > limits::SCRIPT_SLICE_NS;
        if is_over { Interrupt::Pause } else { Interrupt::Continue }
    }

    fn cpu_seconds(&mut self) -> f64 {
        self.shard.now.monotonic_us as f64 / 1e6
    }

    fn may_call(&mut self, args: &[&[u8]]) -> Option<bool> {
        find(args).is_some().then_some(true)
    }
}

/// Why a command of a script did not run.
enum Refused {
    Error(CommandError),
    /// It needs other shards, keys that are held, or the engine.
    Wide(&'static Command),
}

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Self {
        Self::Error(error)
    }
}

impl Shard {
    /// Whether what a command reads beside its keys, if anything, is on this shard, and free.
    pub(crate) fn has_all(&self, many: &ManyKeys, args: &[&[u8]]) -> bool {
        !many.reads_all(args) || (self.routes.shard_count() == 1 && self.intents.is_idle())
    }
}

impl ShardHost<'_> {
    /// Whether all that there is belongs to the script.
    fn has_all_shards(&self) -> bool {
        self.settings.holds_all || self.shard.routes.shard_count() == 1
    }

    fn run(&mut self, args: &[&[u8]], reply: &mut Reply<'_>) -> Result<(), Refused> {
        let command = admitted(args, self.settings.reads_only)?;
        if self.state.is_wide {
            return Err(Refused::Wide(command));
        }
        self.check_may_write(command)?;
        let run: ShardFn = match command.run {
            Run::Shard(run) | Run::Split(run, _) => run,
            Run::Many(many) if !self.shard.has_all(many, args) => {
                return Err(Refused::Wide(command));
            }
            Run::Many(ManyKeys { whole, .. }) => *whole,
            Run::Engine(engine_command) => {
                return self.run_engine_command((command, engine_command), args, reply);
            }
            Run::Container => return Err(CommandError::SYNTAX.into()),
        };
        let positions = key_positions(command, args);
        let Some(&first) = positions.first() else { return Err(Refused::Wide(command)) };
        let mode = mode_of(command);
        let shard = &mut *self.shard;
        for &at in &positions {
            let key = shard.keyspace.key(args[at]);
            if shard.routes.shard(key.slot) != shard.id {
                return Err(Refused::Wide(command));
            }
            let is_free = self.settings.holds_all
                || shard.intents.is_idle()
                || self.keys.contains(&args[at])
                || shard
                    .intents
                    .admits_key_to(self.settings.number, Intent { hash: key.hash, mode });
            if !is_free {
                return Err(Refused::Wide(command));
            }
        }
        if command.flags.has(Flags::WRITE) {
            if !self.has_all_shards() {
                self.keep(command, args, &positions)?;
            }
            self.state.has_written = true;
        }
        self.call_here((command, run), args, first, reply);
        Ok(())
    }

    /// A script that has not written yet is refused what it can't do wholly.
    fn check_may_write(&mut self, command: &Command) -> Result<(), CommandError> {
        if self.state.has_written {
            return Ok(());
        }
        if command.flags.has(Flags::WRITE)
            && let Some(error) = self.shard.disk_refusal()
        {
            return Err(error);
        }
        if self.state.is_short && !self.allows_oom && command.flags.has(Flags::DENYOOM) {
            self.shard.command_stats.rejected(command.number);
            return Err(CommandError::OVER_MAXMEMORY);
        }
        Ok(())
    }

    /// Keeps what the keys hold that a command may write.
    fn keep(
        &mut self,
        command: &'static Command,
        args: &[&[u8]],
        positions: &[usize],
    ) -> Result<(), Refused> {
        let database = self.state.database;
        for &at in positions {
            let name = args[at];
            if self.state.kept.iter().any(|(other, key, _)| *other == database && key == name) {
                continue;
            }
            let key = self.shard.keyspace.key(name);
            let entry = self.shard.keyspace.peek(database, &key);
            if entry.as_ref().is_some_and(|entry| entry.heap_bytes() > limits::UNDO_VALUE_BYTES) {
                return Err(Refused::Wide(command));
            }
            let value = KeptValue::of(database, &key, entry.as_deref());
            self.state.kept.push((database, name.to_vec(), value));
        }
        Ok(())
    }

    fn call_here(
        &mut self,
        (command, run): (&'static Command, ShardFn),
        args: &[&[u8]],
        key_at: usize,
        reply: &mut Reply<'_>,
    ) {
        let shard = &mut *self.shard;
        let context = CallContext {
            command,
            run,
            database: self.state.database,
            protocol: reply.protocol(),
            client: self.settings.client,
            reads: self.settings.reads.of(command),
            transaction: Some(self.settings.transaction),
        };
        let key: Key<'_> = shard.keyspace.key(args[key_at]);
        let start = reply.position();
        shard.command_stats.count(command.number);
        let mut calls = calls_of!(shard);
        calls.call(&context, args, key, reply.reborrow(), ErrorCount::Command);
        calls.count_uses(&context, args, key, 1);
        if reply.position() == start
            && let Run::Many(ManyKeys { blocking: Some(blocking), .. }) = command.run
        {
            // It would wait, and scripts don't.
            (blocking.nothing)(reply);
        }
    }

    /// What the engine runs itself, where it concerns nothing but the script.
    fn run_engine_command(
        &mut self,
        (command, engine_command): (&'static Command, EngineCommand),
        args: &[&[u8]],
        reply: &mut Reply<'_>,
    ) -> Result<(), Refused> {
        match (engine_command, args) {
            (EngineCommand::Ping, [_]) => reply.simple("PONG"),
            (EngineCommand::Ping | EngineCommand::Echo, [_, text]) => reply.bulk(text),
            (EngineCommand::Select, [_, number]) => {
                let count = self.shard.keyspace.database_count();
                self.state.database = database_of(number, count)?;
                reply.ok();
            }
            (EngineCommand::Time, [_]) => {
                let now_ms = self.settings.transaction.moment_ms;
                reply.array(2);
                reply.bulk_integer((now_ms / 1000) as i64);
                reply.bulk_integer((now_ms % 1000 * 1000) as i64);
            }
            _ => return Err(Refused::Wide(command)),
        }
        self.shard.command_stats.count(command.number);
        Ok(())
    }
}

fn database_of(number: &[u8], count: usize) -> Result<DatabaseId, CommandError> {
    let number = parse_i64(number)
        .ok_or(CommandError::text("ERR value is not an integer or out of range"))?;
    match u16::try_from(number) {
        Ok(number) if usize::from(number) < count => Ok(DatabaseId(number)),
        _ => Err(CommandError::text("ERR DB index is out of range")),
    }
}

fn find(args: &[&[u8]]) -> Option<&'static Command> {
    let command = table::find(args[0])?;
    match args.get(1) {
        Some(name) if !command.subcommands.is_empty() => table::find_subcommand(command, name),
        _ => Some(command),
    }
}

/// The row of a command that a script may call with these arguments.
pub(crate) fn admitted(args: &[&[u8]], reads_only: bool) -> Result<&'static Command, CommandError> {
    let command =
        find(args).ok_or(CommandError::text("ERR Unknown Redis command called from script"))?;
    if !command.takes(args.len()) {
        return Err(CommandError::text(
            "ERR Wrong number of args calling Redis command from script",
        ));
    }
    if command.flags.has(Flags::NOSCRIPT) {
        return Err(CommandError::text("ERR This Redis command is not allowed from script"));
    }
    if reads_only && command.flags.has(Flags::WRITE) {
        return Err(CommandError::text(
            "ERR Write commands are not allowed from read-only scripts.",
        ));
    }
    Ok(command)
}
