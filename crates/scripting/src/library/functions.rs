//! `redis.register_function`, and what else a library of functions finds while it is loaded.

use super::server::{fail, install_log};
use super::{add, base, refuse_unknown};
use crate::lua::{Kind, Raise, Reference, Returned, Stack};
use crate::shebang::{NAME_RULE, ScriptFlags, is_name};

/// A function that a library registered.
pub(crate) struct Registered {
    pub(crate) name: Vec<u8>,
    pub(crate) description: Option<Vec<u8>>,
    pub(crate) flags: ScriptFlags,
    pub(crate) callback: Reference,
}

/// The global variables while a library is loaded: nothing but `redis`, with next to nothing in it.
pub(super) fn loading_globals(stack: &mut Stack<'_>) -> Result<Reference, Raise> {
    stack.push_table(0, 2)?;
    let globals = stack.top();
    stack.push_table(0, 8)?;
    let library = stack.top();
    add(stack, library, &[("register_function", register_function)])?;
    install_log(stack, library)?;
    refuse_unknown(stack, library)?;
    stack.protect(base::refuse_change)?;
    stack.copy(-1)?;
    stack.set_field(globals, "server")?;
    stack.set_field(globals, "redis")?;
    refuse_unknown(stack, globals)?;
    Ok(stack.keep())
}

fn register_function(stack: &mut Stack<'_>) -> Returned {
    if stack.settings().registered.is_none() {
        let text = "redis.register_function can only be called on FUNCTION LOAD command";
        return fail(stack, text, true);
    }
    let read = match stack.arg_count() {
        1 => read_named(stack)?,
        2 => read_positional(stack)?,
        _ => Err("wrong number of arguments to redis.register_function"),
    };
    let (name, description, flags) = match read {
        Ok(read) => read,
        Err(text) => return fail(stack, text, true),
    };
    if !is_name(&name) {
        return fail(stack, NAME_RULE, true);
    }
    let is_known = |own: &Registered| own.name.eq_ignore_ascii_case(&name);
    if stack.settings().registered.iter().flatten().any(is_known) {
        return fail(stack, "Function already exists in the library", true);
    }
    // The callback is on top.
    let callback = stack.keep();
    let own = Registered { name, description, flags, callback };
    if let Some(registered) = &mut stack.settings().registered {
        registered.push(own);
    }
    Ok(0)
}

/// Name, description and flags of a function, whose callback is on top of the stack; or the text of the error.
type Read = Result<(Vec<u8>, Option<Vec<u8>>, ScriptFlags), &'static str>;

fn read_positional(stack: &mut Stack<'_>) -> Result<Read, Raise> {
    let Some(name) = stack.arg_text(1) else {
        return Ok(Err("first argument to redis.register_function must be a string"));
    };
    if stack.kind(2) != Kind::Function {
        return Ok(Err("second argument to redis.register_function must be a function"));
    }
    let name = name.to_vec();
    stack.copy(2)?;
    Ok(Ok((name, None, ScriptFlags::default())))
}

fn read_named(stack: &mut Stack<'_>) -> Result<Read, Raise> {
    if stack.kind(1) != Kind::Table {
        return Ok(Err(
            "calling redis.register_function with a single argument is only applicable to Lua \
                       table (representing named arguments).",
        ));
    }
    let (mut name, mut description, mut flags) = (None, None, ScriptFlags::default());
    let mut has_callback = false;
    stack.push_nil()?;
    while stack.next(1)? {
        let Some(key) = stack.text(-2) else {
            return Ok(Err("named argument key given to redis.register_function is not a string"));
        };
        match key.as_slice() {
            b"function_name" => match stack.text(-1) {
                Some(text) => name = Some(text),
                None => {
                    return Ok(Err(
                        "function_name argument given to redis.register_function must \
                                   be a string",
                    ));
                }
            },
            b"description" => match stack.text(-1) {
                Some(text) => description = Some(text),
                None => {
                    return Ok(Err("description argument given to redis.register_function must \
                                   be a string"));
                }
            },
            b"callback" => {
                if stack.kind(-1) != Kind::Function {
                    return Ok(Err(
                        "callback argument given to redis.register_function must be a \
                                   function",
                    ));
                }
                has_callback = true;
            }
            b"flags" => {
                if stack.kind(-1) != Kind::Table {
                    return Ok(Err("flags argument to redis.register_function must be a table \
                                   representing function flags"));
                }
                if !read_flags(stack, &mut flags)? {
                    return Ok(Err("unknown flag given"));
                }
            }
            _ => return Ok(Err("unknown argument given to redis.register_function")),
        }
        stack.pop(1);
    }
    let Some(name) = name else {
        return Ok(Err("redis.register_function must get a function name argument"));
    };
    if !has_callback {
        return Ok(Err("redis.register_function must get a callback argument"));
    }
    stack.get_field(1, "callback")?;
    Ok(Ok((name, description, flags)))
}

/// Reads the list of flags on top; false if one is none.
fn read_flags(stack: &mut Stack<'_>, flags: &mut ScriptFlags) -> Result<bool, Raise> {
    let list = stack.top();
    for index in 1.. {
        stack.charge(1)?;
        stack.get_item(list, index)?;
        let kind = stack.kind(-1);
        let is_known = match stack.bytes(-1) {
            Some(name) => flags.set(name),
            None => kind == Kind::Nil,
        };
        stack.pop(1);
        if !is_known || kind == Kind::Nil {
            return Ok(is_known);
        }
    }
    Ok(true)
}
