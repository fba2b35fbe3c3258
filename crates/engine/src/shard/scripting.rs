//! Scripts and functions of one shard: those that are known, and their run as one plain call.
//!
//! A script runs here where its declared keys are (`run.rs`). If it touches what is not here, or what a transaction
//! holds, what it wrote is put back, and it runs anew with everything held.

mod busy;
mod run;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use basalt_commands::CommandError;
use basalt_scripting::{
    Function, Interpreter, LogLevel, NoStack, Script, ScriptFlags, Shebang, script_sha,
};

use crate::limits;
use crate::shard::libraries::{Libraries, LibraryCode, LoadHost};
pub(crate) use busy::{BusyScript, Killed, Shown};
use run::Running;
pub(crate) use run::{Asks, Ran, RunSettings, ScriptCall, refused};

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
    /// The script that is paused; it has the machine.
    running: Option<Box<Running>>,
    /// Scripts that run for longer than `busy-reply-threshold`, on whichever shards.
    busy: Vec<BusyScript>,
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
        let paused = self.running.as_ref().map(|running| &running.machine);
        let all = self.machine.iter().chain(paused);
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
        if let Some(Known { compiled: Some(script), .. }) = self.known.remove(sha) {
            self.drop_compiled(script);
        }
    }

    /// Frees a script, once its interpreter can be asked.
    fn drop_compiled(&mut self, script: Script) {
        if let Some(running) = &mut self.running {
            running.forgotten.push(script);
        } else if let Some(machine) = &mut self.machine {
            machine.interpreter.forget(script);
        }
    }

    /// Forgets all scripts, and the interpreters with them unless they have loaded libraries.
    pub(crate) fn flush(&mut self) {
        self.evaluated.clear();
        for (_, known) in std::mem::take(&mut self.known) {
            if let Some(script) = known.compiled {
                self.drop_compiled(script);
            }
        }
        self.machine.take_if(|machine| machine.loaded.is_empty());
    }

    /// Takes over other libraries.
    pub(crate) fn set_libraries(&mut self, libraries: &Arc<Libraries>) {
        self.libraries = Arc::clone(libraries);
        self.wide_functions.clear();
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
        self.keep(machine);
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

    /// Keeps an interpreter that was used, unless the shard's is with a script that is paused.
    fn keep(&mut self, machine: Box<Machine>) {
        if self.running.is_none() {
            self.machine = Some(machine);
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
struct Machine {
    interpreter: Interpreter,
    loaded: Vec<Loaded>,
}

struct Loaded {
    code: Arc<LibraryCode>,
    functions: Vec<Function>,
}

/// A script that is ready to run, and what becomes of it then.
enum Prepared {
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
    fn prepare(&mut self, source: &Callable) -> Result<Prepared, CommandError> {
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

    /// Begins a run of what is prepared; see [`Interpreter::begin`].
    fn begin(
        &mut self,
        prepared: &Prepared,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<(), NoStack> {
        let script = match prepared {
            Prepared::Script(script) => script,
            Prepared::Function(at, index) => &self.loaded[*at].functions[*index].script,
        };
        self.interpreter.begin(script, keys, args)
    }

    /// Forgets a script that is not to be run again.
    fn forget(&mut self, prepared: Prepared) {
        if let Prepared::Script(script) = prepared {
            self.interpreter.forget(script);
        }
    }
}

pub(crate) fn does_not_compile(text: &[u8]) -> CommandError {
    CommandError::new([b"ERR Error compiling script (new function): ", text].concat())
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
