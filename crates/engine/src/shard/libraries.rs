//! Libraries of functions as every shard knows them: one set, which a change replaces on all shards at one moment.
//!
//! Not here: what of them an interpreter has loaded (`scripting.rs`), who changes them
//! (`core/engine_commands/functions.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use basalt_commands::CommandError;
use basalt_commands::requests::RestorePolicy;
use basalt_keyspace::ShardId;
use basalt_rdb::{dump_functions, read_functions};
use basalt_scripting::{Called, Host, Interpreter, Interrupt, LibraryLine, LogLevel};

use super::Shard;
use super::scripting::{Callable, server_level};
use crate::limits;

/// The source of a library.
#[derive(Debug)]
pub(crate) struct LibraryCode {
    pub name: Vec<u8>,
    pub text: Vec<u8>,
    /// Bytes of the first line, which is no Lua.
    line_len: usize,
}

impl LibraryCode {
    pub(crate) fn lua(&self) -> &[u8] {
        &self.text[self.line_len..]
    }
}

/// A function with what only FUNCTION LIST shows of it.
#[derive(Debug)]
pub(crate) struct ListedFunction {
    pub callable: Arc<Callable>,
    pub description: Option<Vec<u8>>,
}

/// A library.
#[derive(Debug)]
pub(crate) struct Library {
    pub code: Arc<LibraryCode>,
    pub functions: Vec<ListedFunction>,
}

/// All libraries, by their names, and all functions, by theirs in lower case.
#[derive(Debug, Default)]
pub(crate) struct Libraries {
    by_name: BTreeMap<Vec<u8>, Arc<Library>>,
    functions: BTreeMap<Vec<u8>, Arc<Callable>>,
    /// Bytes of the sources.
    pub text_bytes: usize,
}

impl Library {
    /// Loads a library to see what it registers.
    ///
    /// # Errors
    /// If its first line or its code is wrong, in Redis' words.
    pub(crate) fn load(
        text: &[u8],
        log: &mut dyn FnMut(LogLevel, &[u8]),
    ) -> Result<Self, CommandError> {
        let wrong = |error: &[u8]| CommandError::new([b"ERR ", error].concat());
        let line = LibraryLine::parse(text).map_err(|error| wrong(error.as_bytes()))?;
        let code =
            Arc::new(LibraryCode { name: line.name, text: text.to_vec(), line_len: line.len });
        let mut interpreter = Interpreter::new();
        let loaded = interpreter.load_library(code.lua(), &mut LoadHost { checks: 0, log });
        let functions = loaded.map_err(|error| wrong(&error))?.into_iter().map(|own| {
            let callable = Callable::function(&own.name, own.flags, &code);
            ListedFunction { callable: Arc::new(callable), description: own.description }
        });
        Ok(Self { functions: functions.collect(), code })
    }
}

/// What a library finds while it is loaded.
pub(crate) struct LoadHost<'a> {
    checks: u64,
    log: &'a mut dyn FnMut(LogLevel, &[u8]),
}

impl<'a> LoadHost<'a> {
    /// For one that was loaded before.
    pub(crate) fn silent(log: &'a mut dyn FnMut(LogLevel, &[u8])) -> Self {
        Self { checks: 0, log }
    }
}

impl Host for LoadHost<'_> {
    fn call(
        &mut self,
        _: &[&[u8]],
        protocol: basalt_resp::Protocol,
        reply: &mut Vec<u8>,
    ) -> Called {
        basalt_resp::Reply::new(reply, protocol).error("ERR no commands while a library is loaded");
        Called::Done
    }

    fn log(&mut self, level: LogLevel, text: &[u8]) {
        (self.log)(level, text);
    }

    fn interrupt(&mut self) -> Interrupt {
        self.checks += 1;
        if self.checks > limits::LIBRARY_LOAD_CHECKS {
            return Interrupt::End("FUNCTION LOAD timeout");
        }
        Interrupt::Continue
    }

    fn cpu_seconds(&mut self) -> f64 {
        0.0
    }

    fn may_call(&mut self, _: &[&[u8]]) -> Option<bool> {
        None
    }
}

impl Libraries {
    fn of(by_name: BTreeMap<Vec<u8>, Arc<Library>>) -> Self {
        let functions = by_name.values().flat_map(|library| &library.functions);
        let functions = functions
            .map(|own| (own.callable.name.to_ascii_lowercase().into(), Arc::clone(&own.callable)));
        let text_bytes = by_name.values().map(|library| library.code.text.len()).sum();
        Self { functions: functions.collect(), text_bytes, by_name }
    }

    pub(crate) fn function(&self, name: &[u8]) -> Option<&Arc<Callable>> {
        self.functions.get(&name.to_ascii_lowercase())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Library> {
        self.by_name.values().map(|library| &**library)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn function_count(&self) -> usize {
        self.functions.len()
    }

    pub(crate) fn has_code(&self, code: &Arc<LibraryCode>) -> bool {
        self.by_name.get(&code.name).is_some_and(|library| Arc::ptr_eq(&library.code, code))
    }

    /// With one library more, or another in the place of the one of its name. `Err` holds its name, and whether a
    /// library or a function has that.
    fn joined(
        mut self,
        library: &Arc<Library>,
        replaces: bool,
    ) -> Result<Self, (Vec<u8>, &'static str)> {
        let name = &library.code.name;
        let before = self.by_name.remove(name);
        if before.is_some() && !replaces {
            return Err((name.clone(), "Library"));
        }
        for own in before.iter().flat_map(|library| &library.functions) {
            self.functions.remove(own.callable.name.to_ascii_lowercase().as_bytes());
        }
        let names = library.functions.iter().map(|own| &own.callable.name);
        let taken = names
            .clone()
            .find(|name| self.functions.contains_key(name.to_ascii_lowercase().as_bytes()));
        if let Some(name) = taken {
            return Err((name.clone().into_bytes(), "Function"));
        }
        self.by_name.insert(name.clone(), Arc::clone(library));
        Ok(Self::of(self.by_name))
    }

    fn copy(&self) -> Self {
        Self::of(self.by_name.clone())
    }

    /// FUNCTION LOAD.
    ///
    /// # Errors
    /// If a name is taken.
    pub(crate) fn with(&self, library: Library, replaces: bool) -> Result<Self, CommandError> {
        self.copy().joined(&Arc::new(library), replaces).map_err(|(name, what)| {
            let name = String::from_utf8_lossy(&name).into_owned();
            let quote = if what == "Library" { "'" } else { "" };
            CommandError::new(format!("ERR {what} {quote}{name}{quote} already exists"))
        })
    }

    /// FUNCTION DELETE; `None` if there is no such library.
    pub(crate) fn without(&self, name: &[u8]) -> Option<Self> {
        let mut by_name = self.by_name.clone();
        by_name.remove(name)?;
        Some(Self::of(by_name))
    }

    /// FUNCTION RESTORE.
    ///
    /// # Errors
    /// If a name is taken, where the policy minds that.
    pub(crate) fn restored(
        &self,
        libraries: &[Arc<Library>],
        policy: RestorePolicy,
    ) -> Result<Self, CommandError> {
        let mut all = if policy == RestorePolicy::Flush { Self::default() } else { self.copy() };
        for library in libraries {
            let joined = all.joined(library, policy == RestorePolicy::Replace);
            all = joined.map_err(|(name, what)| {
                let name = String::from_utf8_lossy(&name).into_owned();
                CommandError::new(format!("ERR {what} {name} already exists"))
            })?;
        }
        Ok(all)
    }

    /// As FUNCTION DUMP returns them.
    pub(crate) fn dump(&self, compresses: bool) -> Vec<u8> {
        dump_functions(self.all().map(|library| library.code.text.as_slice()), compresses)
    }

    /// Out of what [`Libraries::dump`] made, here or elsewhere.
    ///
    /// # Errors
    /// If it is no such thing, or a library can't be loaded.
    pub(crate) fn read(payload: &[u8]) -> Result<Vec<Arc<Library>>, CommandError> {
        let codes = read_functions(payload);
        let codes = codes.map_err(|error| CommandError::new(format!("ERR {error}")))?;
        codes.iter().map(|code| Library::load(code, &mut |_, _| ()).map(Arc::new)).collect()
    }
}

impl Shard {
    /// A command changes the libraries.
    pub(crate) fn change_libraries(&mut self, libraries: &Arc<Libraries>) {
        self.take_libraries(libraries);
        self.keyspace.stats.changes += 1;
    }

    /// Takes over other libraries; the first shard journals them.
    pub(crate) fn take_libraries(&mut self, libraries: &Arc<Libraries>) {
        self.scripting.set_libraries(libraries);
        if self.id == ShardId(0) {
            self.journal_libraries();
        }
    }

    /// Adds libraries of a file.
    ///
    /// # Errors
    /// If one can't be loaded, or a name is taken and it is not to be replaced.
    pub(crate) fn load_libraries(
        &mut self,
        codes: &[Vec<u8>],
        replaces: bool,
    ) -> Result<(), CommandError> {
        let policy = if replaces { RestorePolicy::Replace } else { RestorePolicy::Append };
        let loaded = codes.iter().map(|code| Library::load(code, &mut |_, _| ()).map(Arc::new));
        let loaded: Vec<Arc<Library>> = loaded.collect::<Result<_, _>>()?;
        let all = self.scripting.libraries.restored(&loaded, policy)?;
        self.take_libraries(&Arc::new(all));
        Ok(())
    }

    /// Has the journal hold all libraries as they are now.
    fn journal_libraries(&mut self) {
        if let Some(journal) = &mut self.journal {
            let state = self.scripting.libraries.dump(self.config.rdbcompression);
            journal.put_state(&mut self.keyspace, &state, self.now);
        }
    }
}

/// A line for the server's log.
pub(crate) fn note_line(
    notes: &mut Vec<(basalt_commands::config::LogLevel, String)>,
    level: LogLevel,
    text: &[u8],
) {
    notes.push((server_level(level), String::from_utf8_lossy(text).into_owned()));
}
