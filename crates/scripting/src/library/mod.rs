//! What scripts find: the global variables, protected against change.

mod arguments;
mod base;
mod bits;
mod functions;
mod json;
mod msgpack;
mod numbers;
mod packed;
mod pattern;
mod random;
mod server;
mod strings;
mod tables;

use basalt_resp::Protocol;

use crate::lua::{Native, Raise, Reference, Returned, Stack};

pub(crate) use arguments::truncated;
pub(crate) use functions::Registered;
pub(crate) use numbers::format_argument;
pub(crate) use random::Random;
pub(crate) use server::sha1_hex;

/// What the libraries remember between calls.
#[derive(Default)]
pub(crate) struct Settings {
    /// `redis.setresp`: for the run under way.
    pub(crate) protocol: Protocol,
    /// cjson's; they stay for the scripts that follow, as in Redis.
    json: json::JsonSettings,
    pub(crate) random: Random,
    /// What a library has registered so far; only while it is loaded.
    pub(crate) registered: Option<Vec<Registered>>,
    /// What `redis.call` replied last; kept for its memory.
    reply: Vec<u8>,
}

impl Settings {
    /// As every run begins.
    pub(crate) fn begin(&mut self) {
        self.protocol = Protocol::Resp2;
    }
}

/// The tables that the interpreter needs again.
pub(crate) struct Environments {
    /// Behind the global variables of scripts: KEYS and ARGV go there.
    pub(crate) script_globals: Reference,
    /// What stands before them.
    pub(crate) script_protected: Reference,
    /// The global variables of functions and, while their library is loaded, of that; and what stands before
    /// either.
    pub(crate) function_globals: Reference,
    pub(crate) loading_globals: Reference,
    pub(crate) function_protected: Reference,
}

/// Builds the global variables of scripts.
pub(crate) fn install(stack: &mut Stack<'_>) -> Result<Environments, Raise> {
    stack.push_globals();
    let standard = stack.top();
    stack.push_table(0, 40)?;
    let globals = stack.top();

    copy_fields(
        stack,
        standard,
        globals,
        &[
            "assert", "error", "gcinfo", "ipairs", "rawequal", "select", "tonumber", "tostring",
            "type", "_VERSION",
        ],
    )?;
    base::install(stack, globals)?;

    open(stack, standard, globals, "coroutine", &[], base::count_coroutines)?;
    open(stack, standard, globals, "string", strings::REPLACED, strings::install)?;
    open(stack, standard, globals, "table", tables::REPLACED, tables::install)?;
    open(stack, standard, globals, "math", &["random", "randomseed"], random::install)?;
    open(stack, standard, globals, "os", &[], server::install_os)?;
    open(stack, standard, globals, "bit", &[], bits::install)?;
    open(stack, standard, globals, "cjson", &[], json::install)?;
    open(stack, standard, globals, "cmsgpack", &[], msgpack::install)?;
    open(stack, standard, globals, "struct", &[], packed::install)?;
    open(stack, standard, globals, "redis", &[], server::install)?;
    stack.get_field(globals, "redis")?;
    stack.set_field(globals, "server")?;
    base::protect_string_metatable(stack, globals)?;

    // Unknown variables are an error, and so is any change.
    refuse_unknown(stack, globals)?;
    stack.copy(globals)?;
    let script_globals = stack.keep();
    stack.copy(globals)?;
    stack.protect(base::refuse_change)?;
    let protected = stack.top();
    stack.copy(protected)?;
    stack.set_field(globals, "_G")?;
    stack.copy(protected)?;
    let script_protected = stack.keep();
    stack.copy(protected)?;
    stack.set_globals();

    let (function_globals, function_protected) = function_globals(stack, globals)?;
    let loading_globals = functions::loading_globals(stack)?;
    Ok(Environments {
        script_globals,
        script_protected,
        function_globals,
        loading_globals,
        function_protected,
    })
}

/// Functions find what scripts find, but not KEYS and ARGV, which they get as arguments.
fn function_globals(stack: &mut Stack<'_>, globals: i32) -> Result<(Reference, Reference), Raise> {
    stack.push_table(0, 40)?;
    let own = stack.top();
    stack.push_nil()?;
    while stack.next(globals)? {
        stack.copy(-2)?;
        stack.insert(-2);
        stack.set(own)?;
    }
    refuse_unknown(stack, own)?;
    stack.copy(own)?;
    let kept = stack.keep();
    stack.copy(own)?;
    stack.protect(base::refuse_change)?;
    stack.copy(-1)?;
    stack.set_field(own, "_G")?;
    Ok((kept, stack.keep()))
}

/// An unknown field of the table is an error.
fn refuse_unknown(stack: &mut Stack<'_>, table: i32) -> Result<(), Raise> {
    stack.push_table(0, 1)?;
    stack.push_native(base::missing_global)?;
    stack.set_field(-2, "__index")?;
    stack.set_metatable(table);
    Ok(())
}

/// Makes a library: what Lua has of it, without what is replaced, and what `install` adds to the table at the
/// position that it gets.
fn open(
    stack: &mut Stack<'_>,
    standard: i32,
    globals: i32,
    name: &str,
    replaced: &[&str],
    install: fn(&mut Stack<'_>, i32) -> Result<(), Raise>,
) -> Result<(), Raise> {
    stack.push_table(0, 16)?;
    let library = stack.top();
    stack.get_field(standard, name)?;
    let original = stack.top();
    stack.push_nil()?;
    while stack.next(original)? {
        let key = stack.bytes(-2).unwrap_or_default().to_vec();
        if replaced.iter().any(|name| name.as_bytes() == key) {
            stack.pop(1);
            continue;
        }
        stack.copy(-2)?;
        stack.insert(-2);
        stack.set(library)?;
    }
    stack.pop(1);
    install(stack, library)?;
    stack.protect(base::refuse_change)?;
    stack.set_field(globals, name)
}

fn copy_fields(stack: &mut Stack<'_>, from: i32, to: i32, names: &[&str]) -> Result<(), Raise> {
    for name in names {
        stack.get_field(from, name)?;
        stack.set_field(to, name)?;
    }
    Ok(())
}

/// Puts functions into a table.
fn add(stack: &mut Stack<'_>, table: i32, functions: &[(&str, Native)]) -> Result<(), Raise> {
    for (name, function) in functions {
        stack.push_native(*function)?;
        stack.set_field(table, name)?;
    }
    Ok(())
}

/// A function that does nothing and returns nothing.
fn nothing(_: &mut Stack<'_>) -> Returned {
    Ok(0)
}
