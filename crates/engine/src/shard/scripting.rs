//! Scripts and functions of one shard: those that are known, and their run as one plain call.
//!
//! A script runs here where its declared keys are. If it touches what is not here, or what a transaction
//! holds, what it wrote is put back, and it runs anew with everything held.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use basalt_commands::{
    Command, CommandError, EngineCommand, Flags, ManyKeys, Run, ShardFn, key_positions, table,
};
use basalt_keyspace::{DatabaseId, KeptValue, Key, Origin};
use basalt_resp::{Protocol, Reply, parse_i64};
use basalt_scripting::{
    Failure, Function, Host, Interpreter, LogLevel, Script, ScriptFlags, Shebang, script_sha,
};

use crate::input::resolve::mode_of;
use crate::intents::Intent;
use crate::limits;
use crate::shard::Shard;
use crate::shard::call::{AtMoment, CallContext, Client, ErrorCount, ReadMode, calls_of};
use crate::shard::libraries::{Libraries, LibraryCode, LoadHost};

/// What can be run, as every shard knows it: a script, or a function of a library.
#[derive(Debug)]
pub(crate) struct Callable {
    /// The SHA1 of a script, the name of a function.
    pub name: String,
    pub flags: ScriptFlags,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Script {
        text: Vec<u8>,
        /// Bytes of the first line that is no Lua.
        shebang_len: usize,
    },
    Function(Arc<LibraryCode>),
}

impl Callable {
    /// A script by its SHA1.
    ///
    /// # Errors
    /// If its first line is wrong.
    pub(crate) fn script(sha: String, text: &[u8]) -> Result<Self, CommandError> {
        let wrong = |error: &dyn std::fmt::Display| CommandError::new(format!("ERR {error}"));
        let shebang = Shebang::parse(text).map_err(|error| wrong(&error))?;
        if let Some(name) = shebang.as_ref().and_then(|shebang| shebang.name.as_ref()) {
            let name = String::from_utf8_lossy(name);
            return Err(wrong(&format!("Unknown lua shebang option: name={name}")));
        }
        let undeclared = ScriptFlags { is_undeclared: true, ..ScriptFlags::default() };
        let shebang_len = shebang.as_ref().map_or(0, |shebang| shebang.len);
        Ok(Self {
            name: sha,
            flags: shebang.map_or(undeclared, |shebang| shebang.flags),
            body: Body::Script { text: text.to_vec(), shebang_len },
        })
    }

    /// A function of a library, whose name is checked.
    pub(crate) fn function(name: &[u8], flags: ScriptFlags, library: &Arc<LibraryCode>) -> Self {
        let name = String::from_utf8_lossy(name).into_owned();
        Self { name, flags, body: Body::Function(Arc::clone(library)) }
    }

    pub(crate) fn is_function(&self) -> bool {
        matches!(self.body, Body::Function(_))
    }

    /// All of a script's text.
    pub(crate) fn text(&self) -> &[u8] {
        match &self.body {
            Body::Script { text, .. } => text,
            Body::Function(library) => &library.text,
        }
    }

    fn code(&self) -> &[u8] {
        match &self.body {
            Body::Script { text, shebang_len } => &text[*shebang_len..],
            Body::Function(library) => library.lua(),
        }
    }
}

/// A known script.
struct Known {
    source: Arc<Callable>,
    compiled: Option<Script>,
    /// It came by SCRIPT LOAD, and stays until SCRIPT FLUSH.
    is_loaded: bool,
    /// It touched what is on other shards: so many runs more begin with everything held.
    wide_runs: u32,
}

/// What a shard knows of scripts.
#[derive(Default)]
pub(crate) struct Scripting {
    known: HashMap<String, Known>,
    pub libraries: Arc<Libraries>,
    /// As [`Known::wide_runs`], of functions that needed it.
    wide_functions: HashMap<String, u32>,
    /// Those that came by EVAL, the oldest first. LIMIT: `EVAL_SCRIPTS_MAX`; the oldest is forgotten.
    evaluated: VecDeque<String>,
    machine: Option<Box<Machine>>,
    /// For scripts over several shards. LIMIT: `SPARE_INTERPRETERS_MAX`; others are dropped.
    #[expect(clippy::vec_box, reason = "they travel in their boxes")]
    spare: Vec<Box<Machine>>,
    pub evicted: u64,
}

impl Scripting {
    pub(crate) fn find(&self, sha: &str) -> Option<&Arc<Callable>> {
        self.known.get(sha).map(|known| &known.source)
    }

    pub(crate) fn count(&self) -> usize {
        self.known.len()
    }

    /// Bytes of all interpreters.
    pub(crate) fn interpreter_bytes(&self) -> usize {
        let all = self.machine.iter().chain(&self.spare);
        all.map(|machine| machine.interpreter.used_bytes()).sum()
    }

    /// Bytes of the scripts' texts.
    pub(crate) fn text_bytes(&self) -> usize {
        self.known.values().map(|known| known.source.text().len()).sum()
    }

    /// Adds a script, unless it is known.
    pub(crate) fn add(&mut self, source: &Arc<Callable>, is_loaded: bool) {
        if let Some(known) = self.known.get_mut(&source.name) {
            known.is_loaded |= is_loaded;
            return;
        }
        if !is_loaded {
            if self.evaluated.len() >= limits::EVAL_SCRIPTS_MAX {
                self.evict();
            }
            self.evaluated.push_back(source.name.clone());
        }
        let known = Known { source: Arc::clone(source), compiled: None, is_loaded, wide_runs: 0 };
        self.known.insert(source.name.clone(), known);
    }

    fn evict(&mut self) {
        while let Some(oldest) = self.evaluated.pop_front() {
            if self.known.get(&oldest).is_some_and(|known| !known.is_loaded) {
                self.forget(&oldest);
                self.evicted += 1;
                return;
            }
        }
    }

    fn forget(&mut self, sha: &str) {
        if let Some(Known { compiled: Some(script), .. }) = self.known.remove(sha)
            && let Some(machine) = &mut self.machine
        {
            machine.interpreter.forget(script);
        }
    }

    /// Forgets all scripts, and the interpreters with them unless they have loaded libraries.
    pub(crate) fn flush(&mut self) {
        self.evaluated.clear();
        for (_, known) in self.known.drain() {
            if let (Some(script), Some(machine)) = (known.compiled, &mut self.machine) {
                machine.interpreter.forget(script);
            }
        }
        self.machine.take_if(|machine| machine.loaded.is_empty());
        self.spare.clear();
    }

    /// Takes over other libraries.
    pub(crate) fn set_libraries(&mut self, libraries: &Arc<Libraries>) {
        self.libraries = Arc::clone(libraries);
        self.wide_functions.clear();
        self.spare.clear();
        if let Some(machine) = &mut self.machine {
            machine.forget_libraries(libraries);
        }
    }

    fn machine(&mut self, seed: u64) -> Box<Machine> {
        self.machine.take().unwrap_or_else(|| Machine::new(seed))
    }

    /// Compiles a script, unless it is known.
    ///
    /// # Errors
    /// The compiler's message.
    pub(crate) fn check(&mut self, source: &Callable, seed: u64) -> Result<(), CommandError> {
        let mut machine = self.machine(seed);
        let compiled = machine.interpreter.compile(source.code());
        let outcome = compiled.map(|script| machine.interpreter.forget(script));
        self.machine = Some(machine);
        outcome.map_err(|text| does_not_compile(&text))
    }

    fn wide_runs(&mut self, source: &Callable) -> Option<&mut u32> {
        match source.is_function() {
            true => self.wide_functions.get_mut(&source.name),
            false => self.known.get_mut(&source.name).map(|known| &mut known.wide_runs),
        }
    }

    /// Whether the next run should begin with everything held.
    pub(crate) fn is_wide(&mut self, source: &Callable) -> bool {
        let Some(wide_runs) = self.wide_runs(source) else { return false };
        let is_wide = *wide_runs > 0;
        *wide_runs = wide_runs.saturating_sub(1);
        is_wide
    }

    fn note_wide(&mut self, source: &Callable) {
        if source.is_function() {
            self.wide_functions.insert(source.name.clone(), limits::WIDE_RUNS);
        } else if let Some(wide_runs) = self.wide_runs(source) {
            *wide_runs = limits::WIDE_RUNS;
        }
    }

    /// An interpreter for a script over several shards.
    pub(crate) fn take_spare(&mut self, seed: u64) -> Box<Machine> {
        self.spare.pop().unwrap_or_else(|| Machine::new(seed))
    }

    pub(crate) fn keep_spare(&mut self, mut machine: Box<Machine>) {
        machine.forget_libraries(&self.libraries);
        if self.spare.len() < limits::SPARE_INTERPRETERS_MAX {
            self.spare.push(machine);
        }
    }

    /// Collects some garbage of what scripts left.
    pub(crate) fn collect(&mut self) {
        if let Some(machine) = &mut self.machine
            && machine.interpreter.used_bytes() > limits::IDLE_INTERPRETER_BYTES
        {
            machine.interpreter.collect_step();
        }
    }
}

/// An interpreter with the libraries that it has loaded.
pub(crate) struct Machine {
    interpreter: Interpreter,
    loaded: Vec<Loaded>,
}

struct Loaded {
    code: Arc<LibraryCode>,
    functions: Vec<Function>,
}

/// A script that is ready to run, and what becomes of it then.
pub(crate) enum Prepared {
    Script(Script),
    /// The function of a library that stays loaded: at these places.
    Function(usize, usize),
}

impl Machine {
    fn new(seed: u64) -> Box<Self> {
        let mut machine = Box::new(Self { interpreter: Interpreter::new(), loaded: Vec::new() });
        machine.interpreter.seed(seed as i32);
        machine
    }

    /// Forgets libraries that are no more.
    fn forget_libraries(&mut self, libraries: &Libraries) {
        for gone in self.loaded.extract_if(.., |loaded| !libraries.has_code(&loaded.code)) {
            for function in gone.functions {
                self.interpreter.forget(function.script);
            }
        }
    }

    /// Compiles a script, or loads the library of a function, if it is not.
    ///
    /// # Errors
    /// The error reply.
    pub(crate) fn prepare(&mut self, source: &Callable) -> Result<Prepared, CommandError> {
        let Body::Function(code) = &source.body else {
            let compiled = self.interpreter.compile(source.code());
            return compiled.map(Prepared::Script).map_err(|text| does_not_compile(&text));
        };
        let known = self.loaded.iter().position(|loaded| Arc::ptr_eq(&loaded.code, code));
        let at = match known {
            Some(at) => at,
            None => {
                let log = &mut |_: LogLevel, _: &[u8]| ();
                let host = &mut LoadHost::silent(log);
                let functions = self.interpreter.load_library(code.lua(), host);
                let functions =
                    functions.map_err(|text| CommandError::new([b"ERR ", &text[..]].concat()))?;
                self.loaded.push(Loaded { code: Arc::clone(code), functions });
                self.loaded.len() - 1
            }
        };
        let is_it = |own: &Function| own.name.eq_ignore_ascii_case(source.name.as_bytes());
        let index = self.loaded[at].functions.iter().position(is_it);
        let gone = CommandError::text("ERR Function not found");
        index.map(|index| Prepared::Function(at, index)).ok_or(gone)
    }

    /// Runs what is prepared; see [`Interpreter::run`].
    pub(crate) fn run(
        &mut self,
        (prepared, name): (&Prepared, &str),
        keys: &[&[u8]],
        args: &[&[u8]],
        host: &mut dyn Host,
        reply: &mut Reply<'_>,
    ) -> Result<(), Failure> {
        let script = match prepared {
            Prepared::Script(script) => script,
            Prepared::Function(at, index) => &self.loaded[*at].functions[*index].script,
        };
        self.interpreter.run((script, name), keys, args, host, reply)
    }

    /// Forgets a script that is not to be run again.
    pub(crate) fn forget(&mut self, prepared: Prepared) {
        if let Prepared::Script(script) = prepared {
            self.interpreter.forget(script);
        }
    }
}

pub(crate) fn does_not_compile(text: &[u8]) -> CommandError {
    CommandError::new([b"ERR Error compiling script (new function): ", text].concat())
}

/// A run of a script.
pub(crate) struct ScriptCall<'a> {
    pub source: &'a Arc<Callable>,
    pub keys: &'a [&'a [u8]],
    pub args: &'a [&'a [u8]],
    pub database: DatabaseId,
    pub client: Client,
    pub reads: ReadMode,
    pub reads_only: bool,
    /// What it writes is one transaction.
    pub transaction: AtMoment,
    pub seed: u64,
}

/// What a run on one shard ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    /// The reply is written.
    Whole,
    /// It needs what is not here: nothing of it is left, and nothing is written.
    Wide,
}

impl Shard {
    /// Runs a script whose declared keys are here and free.
    pub(crate) fn run_script(&mut self, call: &ScriptCall<'_>, reply: &mut Reply<'_>) -> Ran {
        let name = &call.source.name;
        let mut machine = self.scripting.machine(call.seed);
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
                reply.error_bytes(error.as_bytes());
                return Ran::Whole;
            }
        };
        let origin =
            Origin { client: Some(call.client.into()), transaction: Some(call.transaction.tag) };
        let outer = self.keyspace.swap_origin(origin);
        let start = reply.position();
        let undoes = self.routes.shard_count() > 1;
        let mut host = ShardHost {
            call,
            database: call.database,
            kept: Vec::new(),
            undoes,
            has_written: false,
            is_wide: false,
            checks: 0,
            shard: self,
        };
        let ran = machine.run((&prepared, name), call.keys, call.args, &mut host, reply);
        let ShardHost { kept, has_written, is_wide, .. } = host;
        if is_wide {
            for (database, key, value) in kept.iter().rev() {
                let key = self.keyspace.key(key);
                self.keyspace.restore_value(*database, &key, value);
            }
            reply.rewind(start);
            self.scripting.note_wide(call.source);
        } else if let Err(failure) = ran
            && !failure.is_counted
        {
            self.stats.count_error(b"ERR");
        }
        if has_written {
            self.keyspace.end_part(call.transaction.tag);
        }
        self.keyspace.swap_origin(outer);
        match (prepared, self.scripting.known.get_mut(name)) {
            (Prepared::Script(script), Some(known)) => known.compiled = Some(script),
            (prepared, _) => machine.forget(prepared),
        }
        self.scripting.machine = Some(machine);
        if is_wide { Ran::Wide } else { Ran::Whole }
    }
}

/// A script that runs on its shard.
struct ShardHost<'a, 'c> {
    shard: &'a mut Shard,
    call: &'a ScriptCall<'c>,
    /// SELECT changes it for the script.
    database: DatabaseId,
    /// What keys held before the script first wrote them. LIMIT: each `UNDO_VALUE_BYTES`.
    kept: Vec<(DatabaseId, Vec<u8>, KeptValue)>,
    undoes: bool,
    has_written: bool,
    is_wide: bool,
    checks: u64,
}

const NEEDS_OTHERS: &str = "ERR the script needs other shards";

impl Host for ShardHost<'_, '_> {
    fn call(&mut self, args: &[&[u8]], protocol: Protocol, reply: &mut Vec<u8>) {
        let mut reply = Reply::new(reply, protocol);
        match self.run(args, &mut reply) {
            Ok(()) => {}
            Err(Refused::Error(error)) => reply.error_bytes(error.as_bytes()),
            Err(Refused::Wide) => {
                self.is_wide = true;
                reply.error(NEEDS_OTHERS);
            }
        }
    }

    fn log(&mut self, level: LogLevel, text: &[u8]) {
        let line = String::from_utf8_lossy(text).into_owned();
        self.shard.note(server_level(level), line);
    }

    fn interrupt(&mut self) -> Option<&'static str> {
        if self.is_wide {
            return Some(NEEDS_OTHERS);
        }
        self.checks += 1;
        over_time(self.checks, self.has_written, self.shard.config.busy_reply_threshold)
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
    /// It needs other shards, or keys that are held.
    Wide,
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

impl ShardHost<'_, '_> {
    fn run(&mut self, args: &[&[u8]], reply: &mut Reply<'_>) -> Result<(), Refused> {
        if self.is_wide {
            return Err(Refused::Wide);
        }
        let command = admitted(args, self.call.reads_only)?;
        let run: ShardFn = match command.run {
            Run::Shard(run) | Run::Split(run, _) => run,
            Run::Many(many) if !self.shard.has_all(many, args) => return Err(Refused::Wide),
            Run::Many(ManyKeys { whole, .. }) => *whole,
            Run::Engine(engine_command) => {
                return self.run_engine_command(engine_command, args, reply);
            }
            Run::Container => return Err(CommandError::SYNTAX.into()),
        };
        let positions = key_positions(command, args);
        let Some(&first) = positions.first() else { return Err(Refused::Wide) };
        let mode = mode_of(command);
        let shard = &mut *self.shard;
        for &at in &positions {
            let key = shard.keyspace.key(args[at]);
            if shard.routes.shard(key.slot) != shard.id {
                return Err(Refused::Wide);
            }
            let is_free = shard.intents.is_idle()
                || self.call.keys.contains(&args[at])
                || shard.intents.admits_key(Intent { hash: key.hash, mode });
            if !is_free {
                return Err(Refused::Wide);
            }
        }
        if let Err(error) = shard.check_memory(command.flags, self.database)
            && !self.call.source.flags.allow_oom
        {
            shard.command_stats.rejected(command.number);
            return Err(error.into());
        }
        if command.flags.has(Flags::WRITE) {
            if self.undoes {
                self.keep(args, &positions)?;
            }
            self.has_written = true;
        }
        self.call_here((command, run), args, first, reply);
        Ok(())
    }

    /// Keeps what the keys hold that a command may write.
    fn keep(&mut self, args: &[&[u8]], positions: &[usize]) -> Result<(), Refused> {
        let database = self.database;
        for &at in positions {
            let name = args[at];
            if self.kept.iter().any(|(other, key, _)| *other == database && key == name) {
                continue;
            }
            let key = self.shard.keyspace.key(name);
            let entry = self.shard.keyspace.peek(database, &key);
            if entry.as_ref().is_some_and(|entry| entry.heap_bytes() > limits::UNDO_VALUE_BYTES) {
                return Err(Refused::Wide);
            }
            let value = KeptValue::of(database, &key, entry.as_deref());
            self.kept.push((database, name.to_vec(), value));
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
            database: self.database,
            protocol: reply.protocol(),
            client: self.call.client,
            reads: self.call.reads.of(command),
            transaction: Some(self.call.transaction),
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
        engine_command: EngineCommand,
        args: &[&[u8]],
        reply: &mut Reply<'_>,
    ) -> Result<(), Refused> {
        match (engine_command, args) {
            (EngineCommand::Ping, [_]) => reply.simple("PONG"),
            (EngineCommand::Ping | EngineCommand::Echo, [_, text]) => reply.bulk(text),
            (EngineCommand::Select, [_, number]) => {
                let count = self.shard.keyspace.database_count();
                self.database = database_of(number, count)?;
                reply.ok();
            }
            (EngineCommand::Time, [_]) => {
                let now_ms = self.shard.keyspace.now_ms();
                reply.array(2);
                reply.bulk_integer((now_ms / 1000) as i64);
                reply.bulk_integer((now_ms % 1000 * 1000) as i64);
            }
            _ => return Err(Refused::Wide),
        }
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

/// Ends a script that takes too long, counted in steps, as there is no clock within a call.
pub(crate) fn over_time(checks: u64, has_written: bool, threshold_ms: u64) -> Option<&'static str> {
    if threshold_ms == 0 {
        return None;
    }
    let allowed = threshold_ms.saturating_mul(limits::CHECKS_PER_MS);
    let allowed = if has_written { allowed.saturating_mul(10) } else { allowed };
    (checks > allowed).then_some("Script ended: it ran for longer than busy-reply-threshold.")
}

pub(crate) fn server_level(level: LogLevel) -> basalt_commands::config::LogLevel {
    use basalt_commands::config::LogLevel as Level;
    match level {
        LogLevel::Debug => Level::Debug,
        LogLevel::Verbose => Level::Verbose,
        LogLevel::Notice => Level::Notice,
        LogLevel::Warning => Level::Warning,
    }
}

/// The SHA1 as clients may write it.
pub(crate) fn sha_of(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_ascii_lowercase()
}

pub(crate) fn sha_of_source(text: &[u8]) -> String {
    script_sha(text)
}
