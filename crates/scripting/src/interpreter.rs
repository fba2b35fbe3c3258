//! Interpreter: scripts are compiled, run, and forgotten.

use basalt_resp::Reply;

use crate::host::Host;
use crate::library::{Environments, Random, install, sha1_hex};
use crate::limits::{MEMORY_MAX, SOURCE_BYTES_MAX};
pub use crate::lua::NoStack;
use crate::lua::{Kind, Lua, Outcome, Raise, Reference, Stack};
use crate::reply::write_value;
use crate::shebang::ScriptFlags;

/// Lua for one shard. It keeps nothing between two scripts but what they cannot change.
pub struct Interpreter {
    lua: Lua,
    environments: Environments,
    /// What is loaded by a chunk finds the global variables of functions.
    is_for_functions: bool,
}

/// A compiled script of one interpreter, or a function of a library, which keeps it until
/// [`Interpreter::forget`].
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    code: Reference,
    /// It gets keys and arguments as its arguments, not as global variables.
    is_function: bool,
}

/// A function of a library.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: Vec<u8>,
    pub description: Option<Vec<u8>>,
    pub flags: ScriptFlags,
    pub script: Script,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Its reply is to be written: [`Interpreter::finish`].
    Ended,
    /// It is to be resumed. Until then nothing else may be asked of the interpreter.
    Paused,
}

/// A run that ended with an error, which is written as the reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// It came from a command, whose statistics have it already.
    pub is_counted: bool,
}

impl Default for Interpreter {
    fn default() -> Self {
        Self::new()
    }
}

impl Interpreter {
    /// # Panics
    /// If there is no memory for it.
    pub fn new() -> Self {
        Self::with_memory(MEMORY_MAX)
    }

    /// An interpreter that may hold so many bytes.
    ///
    /// # Panics
    /// If there is no memory for it, or if it may hold less than the libraries need.
    pub fn with_memory(bytes_max: usize) -> Self {
        let mut lua = Lua::new(bytes_max);
        let environments = lua.with_stack(install);
        let environments = environments.expect("because the libraries fit");
        Self { lua, environments, is_for_functions: false }
    }

    /// Seeds `math.random`.
    pub fn seed(&mut self, seed: i32) {
        self.lua.with_stack(|stack| stack.settings().random = Random::seeded(seed));
    }

    /// Bytes that it holds.
    pub fn used_bytes(&self) -> usize {
        self.lua.used_bytes()
    }

    /// Collects some garbage; returns whether a whole cycle ended with it.
    pub fn collect_step(&mut self) -> bool {
        self.lua.collect_step()
    }

    /// Compiles a script: the source without its shebang.
    ///
    /// # Errors
    /// The text of the compiler, as `user_script:1: …`.
    pub fn compile(&mut self, source: &[u8]) -> Result<Script, Vec<u8>> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(b"script is too large".to_vec());
        }
        if source.first() == Some(&0x1b) {
            return Err(b"attempt to load a binary chunk".to_vec());
        }
        let globals = &self.environments.script_protected;
        self.lua.with_stack(|stack| {
            stack.load(source, c"@user_script")?;
            // Whatever ran last: a chunk finds the global variables of the moment in which it is loaded.
            set_environment(stack, globals).map_err(|_| b"not enough memory".to_vec())?;
            Ok(Script { code: stack.keep(), is_function: false })
        })
    }

    /// Loads a library: runs its source, without its shebang, which registers functions.
    ///
    /// # Errors
    /// The text for the client, without its code.
    pub fn load_library(
        &mut self,
        source: &[u8],
        host: &mut dyn Host,
    ) -> Result<Vec<Function>, Vec<u8>> {
        let not_compiled = |text: &[u8]| [b"Error compiling function: ", text].concat();
        if source.len() > SOURCE_BYTES_MAX {
            return Err(not_compiled(b"library is too large"));
        }
        if source.first() == Some(&0x1b) {
            return Err(not_compiled(b"attempt to load a binary chunk"));
        }
        let Environments { function_protected, loading_globals, function_globals, .. } =
            &self.environments;
        let show = |stack: &mut Stack<'_>, globals: &Reference| -> Result<(), Raise> {
            stack.push_reference(function_protected)?;
            let protected = stack.top();
            stack.push_reference(globals)?;
            stack.show_instead(protected)
        };
        let chunk = self.lua.with_stack(|stack| {
            stack.load(source, c"@user_function")?;
            let out_of_memory = |_: Raise| b"not enough memory".to_vec();
            set_environment(stack, function_protected).map_err(out_of_memory)?;
            let kept = stack.keep();
            show(stack, loading_globals).map_err(out_of_memory)?;
            stack.settings().registered = Some(Vec::new());
            Ok(kept)
        });
        let chunk = chunk.map_err(|text: Vec<u8>| not_compiled(&text))?;
        let finish = |stack: &mut Stack<'_>, outcome: Outcome| match outcome {
            Outcome::Returned => Ok(()),
            Outcome::Ended(text) => Err(format!("ERR {text}").into_bytes()),
            Outcome::Failed => Err(field(stack, "err")
                .or_else(|| stack.text(-1))
                .unwrap_or_else(|| b"ERR unknown error".to_vec())),
        };
        let ran = self.lua.run(&chunk, host, |_| Ok(0), finish);
        let ran = ran.unwrap_or_else(|NoStack| Err(b"ERR not enough memory".to_vec()));
        let registered = self.lua.with_stack(|stack| {
            stack.drop_reference(chunk);
            let registered = stack.settings().registered.take().unwrap_or_default();
            match (ran, show(stack, function_globals)) {
                (Ok(()), Ok(())) => Ok(registered),
                (ran, _) => {
                    for own in registered {
                        stack.drop_reference(own.callback);
                    }
                    Err(ran.err().unwrap_or_else(|| b"ERR not enough memory".to_vec()))
                }
            }
        });
        let registered =
            registered.map_err(|text| [b"Error registering functions: ", &text[..]].concat())?;
        if registered.is_empty() {
            return Err(b"No functions registered".to_vec());
        }
        let functions = registered.into_iter().map(|own| Function {
            name: own.name,
            description: own.description,
            flags: own.flags,
            script: Script { code: own.callback, is_function: true },
        });
        Ok(functions.collect())
    }

    /// Frees a script.
    pub fn forget(&mut self, script: Script) {
        self.lua.with_stack(|stack| stack.drop_reference(script.code));
    }

    /// Begins a run of a script or function with keys and arguments.
    ///
    /// # Errors
    /// If there is no native stack; nothing is begun.
    pub fn begin(
        &mut self,
        script: &Script,
        keys: &[&[u8]],
        args: &[&[u8]],
    ) -> Result<(), NoStack> {
        let Environments { script_globals, script_protected, function_protected, .. } =
            &self.environments;
        let is_function = script.is_function;
        let changes_globals =
            std::mem::replace(&mut self.is_for_functions, is_function) != is_function;
        let prepare = |stack: &mut Stack<'_>| {
            stack.settings().begin();
            if changes_globals {
                let globals = if is_function { function_protected } else { script_protected };
                stack.push_reference(globals)?;
                stack.set_globals();
            }
            if is_function {
                push_list(stack, keys)?;
                push_list(stack, args)?;
                return Ok(2);
            }
            stack.push_reference(script_globals)?;
            let globals = stack.top();
            push_list(stack, keys)?;
            stack.set_field(globals, "KEYS")?;
            push_list(stack, args)?;
            stack.set_field(globals, "ARGV")?;
            stack.pop(1);
            Ok(0)
        };
        self.lua.begin(&script.code, prepare)
    }

    /// Goes on with the run, until it ends or its host pauses it.
    pub fn resume(&mut self, host: &mut dyn Host) -> Progress {
        if self.lua.resume(host) { Progress::Ended } else { Progress::Paused }
    }

    /// Writes what the run that ended returns, or its error. `name`, the SHA1 of a script, is shown in errors.
    ///
    /// # Errors
    /// If it ended with an error; the reply is that error.
    pub fn finish(&mut self, name: &str, reply: &mut Reply<'_>) -> Result<(), Failure> {
        self.lua.finish(|stack, outcome| finish(stack, outcome, name, reply))
    }
}

/// Has the chunk on top find these global variables.
fn set_environment(stack: &mut Stack<'_>, globals: &Reference) -> Result<(), Raise> {
    let chunk = stack.top();
    stack.push_reference(globals)?;
    stack.copy(chunk)?;
    stack.set_environment(chunk + 1)
}

fn push_list(stack: &mut Stack<'_>, items: &[&[u8]]) -> Result<(), Raise> {
    stack.push_table(items.len(), 0)?;
    for (index, item) in (1..).zip(items) {
        stack.push_bytes(item)?;
        stack.set_item(-2, index)?;
    }
    Ok(())
}

/// Writes the result or the error of a run.
fn finish(
    stack: &mut Stack<'_>,
    outcome: Outcome,
    name: &str,
    reply: &mut Reply<'_>,
) -> Result<(), Failure> {
    let start = reply.position();
    let protocol = stack.settings().protocol;
    let (text, is_counted) = match outcome {
        Outcome::Returned => match write_value(stack, protocol, reply) {
            Ok(()) => return Ok(()),
            Err(Raise::Ended(text)) => (format!("ERR {text} script: {name}.").into_bytes(), false),
            Err(_) => (b"ERR the script's reply is too large".to_vec(), false),
        },
        Outcome::Ended(text) => (ended(stack, text, name), false),
        Outcome::Failed => failed(stack, name),
    };
    reply.rewind(start);
    reply.error_bytes(&text);
    Err(Failure { is_counted })
}

/// The text of an error: what the script raised, and where.
fn failed(stack: &mut Stack<'_>, name: &str) -> (Vec<u8>, bool) {
    if stack.kind(-1) != Kind::Table {
        let text = stack.text(-1).unwrap_or_else(|| b"unknown error".to_vec());
        return ([b"ERR ", text.as_slice(), b" script: ", name.as_bytes(), b"."].concat(), false);
    }
    let text = field(stack, "err").unwrap_or_else(|| b"ERR unknown error".to_vec());
    let text = text.strip_prefix(b"-").unwrap_or(&text).to_vec();
    let is_counted = stack.get_field(-1, "ignore_error_stats_update").is_ok() && stack.boolean(-1);
    stack.pop(1);
    (with_place(stack, text, name), is_counted)
}

fn ended(stack: &mut Stack<'_>, text: &str, name: &str) -> Vec<u8> {
    with_place(stack, format!("ERR {text}").into_bytes(), name)
}

fn with_place(stack: &mut Stack<'_>, mut text: Vec<u8>, name: &str) -> Vec<u8> {
    text.extend_from_slice(b" script: ");
    text.extend_from_slice(name.as_bytes());
    if stack.kind(-1) == Kind::Table
        && let (Some(source), Some(line)) = (field(stack, "source"), field(stack, "line"))
    {
        text.extend_from_slice(b", on ");
        text.extend_from_slice(&source);
        text.push(b':');
        text.extend_from_slice(&line);
    }
    text.push(b'.');
    text
}

fn field(stack: &mut Stack<'_>, name: &str) -> Option<Vec<u8>> {
    stack.get_field(-1, name).ok()?;
    let text = stack.text(-1);
    stack.pop(1);
    text
}

/// The SHA1 by which EVALSHA names a script.
pub fn script_sha(source: &[u8]) -> String {
    sha1_hex(source)
}
