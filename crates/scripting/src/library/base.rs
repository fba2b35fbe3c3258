//! Basic functions that differ from Lua's: protected tables, no binary chunks, errors that end a run.

use std::ffi::CString;

use super::add;
use super::arguments::{any, bad, function, integer_or, table, text};
use crate::limits::{SOURCE_BYTES_MAX, UNPACKED_MAX};
use crate::lua::{Kind, Raise, Returned, Stack};

const READ_ONLY: &str = "Attempt to modify a readonly table";

pub(super) fn install(stack: &mut Stack<'_>, globals: i32) -> Result<(), Raise> {
    add(
        stack,
        globals,
        &[
            ("collectgarbage", collect_garbage),
            ("getmetatable", get_metatable),
            ("load", load),
            ("loadstring", load_string),
            ("pairs", pairs),
            ("pcall", pcall),
            ("rawget", raw_get),
            ("rawset", raw_set),
            ("setmetatable", set_metatable),
            ("unpack", unpack),
            ("xpcall", xpcall),
        ],
    )?;
    stack.push_next()?;
    stack.set_field(globals, "next")
}

/// `__newindex` of protected tables.
pub(super) fn refuse_change(_: &mut Stack<'_>) -> Returned {
    Err(Raise::text(READ_ONLY))
}

/// `__index` of the global variables.
pub(super) fn missing_global(stack: &mut Stack<'_>) -> Returned {
    let name = stack.text(2).unwrap_or_default();
    let name = String::from_utf8_lossy(&name).into_owned();
    let text = format!("Script attempted to access nonexistent global variable '{name}'");
    Err(Raise::Text(text.into()))
}

/// The metatable of strings leads to our functions, and scripts see a protected picture of it.
pub(super) fn protect_string_metatable(stack: &mut Stack<'_>, globals: i32) -> Result<(), Raise> {
    stack.push_bytes(b"")?;
    let has_metatable = stack.push_metatable(-1)?;
    if !has_metatable {
        return Ok(());
    }
    let metatable = stack.top();
    stack.get_field(globals, "string")?;
    let library = stack.top();
    if stack.push_protected(library)? {
        stack.set_field(metatable, "__index")?;
    }
    stack.push_table(0, 1)?;
    stack.copy(library)?;
    stack.set_field(-2, "__index")?;
    stack.protect(refuse_change)?;
    stack.set_field(metatable, "__metatable")?;
    stack.pop(3);
    Ok(())
}

/// Steps that making a coroutine counts as: each begins to count its own anew.
const COROUTINE_STEPS: usize = 100;

/// Has the functions that make coroutines count steps.
pub(super) fn count_coroutines(stack: &mut Stack<'_>, library: i32) -> Result<(), Raise> {
    for name in ["create", "wrap"] {
        stack.get_field(library, name)?;
        stack.push_closure(make_coroutine, 1)?;
        stack.set_field(library, name)?;
    }
    Ok(())
}

fn make_coroutine(stack: &mut Stack<'_>) -> Returned {
    let body = function(stack, 1)?;
    stack.charge(COROUTINE_STEPS)?;
    stack.push_kept(1)?;
    stack.copy(body)?;
    stack.call(1, 1)?;
    Ok(1)
}

fn get_metatable(stack: &mut Stack<'_>) -> Returned {
    any(stack, 1)?;
    if stack.push_protected(1)? {
        // Global variables have one; a picture of it, which is protected too.
        if stack.push_metatable(-1)? {
            stack.push_table(0, 0)?;
            stack.protect(refuse_change)?;
        } else {
            stack.push_nil()?;
        }
        return Ok(1);
    }
    if !stack.push_metatable(1)? {
        stack.push_nil()?;
        return Ok(1);
    }
    stack.get_field(-1, "__metatable")?;
    if stack.kind(-1) == Kind::Nil {
        stack.pop(1);
    }
    Ok(1)
}

fn set_metatable(stack: &mut Stack<'_>) -> Returned {
    let target = table(stack, 1)?;
    if !matches!(stack.kind(2), Kind::Nil | Kind::Table) {
        return Err(bad(2, "nil or table expected"));
    }
    if stack.is_protected(target)? {
        return Err(Raise::bare(READ_ONLY));
    }
    if stack.push_metatable(target)? {
        stack.get_field(-1, "__metatable")?;
        if stack.kind(-1) != Kind::Nil {
            return Err(Raise::text("cannot change a protected metatable"));
        }
    }
    stack.copy(2)?;
    stack.set_metatable(target);
    stack.copy(target)?;
    Ok(1)
}

fn raw_get(stack: &mut Stack<'_>) -> Returned {
    let target = table(stack, 1)?;
    any(stack, 2)?;
    if !stack.push_protected(target)? {
        stack.copy(target)?;
    }
    stack.copy(2)?;
    stack.get(-2);
    Ok(1)
}

fn raw_set(stack: &mut Stack<'_>) -> Returned {
    let target = table(stack, 1)?;
    any(stack, 2)?;
    any(stack, 3)?;
    if stack.is_protected(target)? {
        return Err(Raise::bare(READ_ONLY));
    }
    stack.copy(2)?;
    stack.copy(3)?;
    stack.set(target)?;
    stack.copy(target)?;
    Ok(1)
}

fn pairs(stack: &mut Stack<'_>) -> Returned {
    let target = table(stack, 1)?;
    stack.push_next()?;
    stack.copy(target)?;
    stack.push_nil()?;
    Ok(3)
}

/// With a bound that the difference of two integers cannot slip past (CVE-2025-46817).
fn unpack(stack: &mut Stack<'_>) -> Returned {
    let target = table(stack, 1)?;
    let first = integer_or(stack, 2, 1)?;
    let last = integer_or(stack, 3, i64::try_from(stack.len(target)).unwrap_or(0))?;
    if last < first {
        return Ok(0);
    }
    let count = last as f64 - first as f64 + 1.0;
    if count > UNPACKED_MAX {
        return Err(Raise::text("too many results to unpack"));
    }
    for index in first..=last {
        stack.get_item(target, index)?;
    }
    Ok(count as usize)
}

/// The script may not tune the collector for those that follow: it can ask for a collection and for the size.
fn collect_garbage(stack: &mut Stack<'_>) -> Returned {
    let option = match stack.kind(1) {
        Kind::None | Kind::Nil => b"collect".as_slice(),
        _ => text(stack, 1)?,
    };
    let result = match option {
        b"collect" | b"step" => {
            stack.charge(stack.used_bytes() / crate::limits::BYTES_PER_STEP)?;
            stack.collect_garbage();
            if option == b"step" {
                stack.push_boolean(true)?;
                return Ok(1);
            }
            0.0
        }
        b"count" => stack.used_bytes() as f64 / 1024.0,
        b"stop" | b"restart" | b"setpause" | b"setstepmul" => 0.0,
        _ => {
            let option = String::from_utf8_lossy(option).into_owned();
            return Err(Raise::Argument(1, format!("invalid option '{option}'").into()));
        }
    };
    stack.push_number(result)?;
    Ok(1)
}

/// As Redis': of an error that is a table with `err`, only that text arrives.
fn pcall(stack: &mut Stack<'_>) -> Returned {
    any(stack, 1)?;
    let args = stack.arg_count();
    for at in 1..=args {
        stack.copy(i32::try_from(at).unwrap_or(0))?;
    }
    match stack.call(args - 1, -1) {
        Ok(()) => {
            let results = stack.top() - i32::try_from(args).unwrap_or(0);
            stack.push_boolean(true)?;
            stack.insert(-results - 1);
            Ok(usize::try_from(results + 1).unwrap_or(1))
        }
        Err(Raise::Value) => {
            stack.charge(1)?;
            if stack.kind(-1) == Kind::Table {
                stack.get_field(-1, "err")?;
                if !matches!(stack.kind(-1), Kind::String | Kind::Number) {
                    stack.pop(1);
                }
            }
            stack.push_boolean(false)?;
            stack.insert(-2);
            Ok(2)
        }
        Err(other) => Err(other),
    }
}

/// As Lua's, but an error by which the host ends the run does not reach the handler: within a hook no hook
/// runs, so nothing could end the handler.
fn xpcall(stack: &mut Stack<'_>) -> Returned {
    any(stack, 2)?;
    stack.copy(1)?;
    match stack.call(0, -1) {
        Ok(()) => {
            let results = stack.top() - i32::try_from(stack.arg_count()).unwrap_or(2);
            stack.push_boolean(true)?;
            stack.insert(-results - 1);
            Ok(usize::try_from(results + 1).unwrap_or(1))
        }
        Err(Raise::Value) => {
            stack.charge(1)?;
            stack.copy(2)?;
            stack.insert(-2);
            if stack.call(1, 1).is_err() {
                stack.charge(1)?;
            }
            stack.push_boolean(false)?;
            stack.insert(-2);
            Ok(2)
        }
        Err(other) => Err(other),
    }
}

fn load_string(stack: &mut Stack<'_>) -> Returned {
    let source = text(stack, 1)?;
    let name = chunk_name(stack, 2, source)?;
    load_text(stack, source, &name)
}

fn load(stack: &mut Stack<'_>) -> Returned {
    let reader = function(stack, 1)?;
    let name = chunk_name(stack, 2, b"=(load)")?;
    let mut source = Vec::new();
    loop {
        stack.charge(1)?;
        stack.copy(reader)?;
        stack.call(0, 1)?;
        match stack.kind(-1) {
            Kind::Nil => break,
            Kind::String | Kind::Number => {}
            _ => return Err(Raise::text("reader function must return a string")),
        }
        let piece = stack.text(-1).unwrap_or_default();
        stack.pop(1);
        if piece.is_empty() {
            break;
        }
        stack.check_room(source.len() + piece.len())?;
        source.extend_from_slice(&piece);
    }
    load_text(stack, &source, &name)
}

fn chunk_name(stack: &mut Stack<'_>, at: usize, default: &[u8]) -> Result<CString, Raise> {
    let name = match stack.kind(i32::try_from(at).unwrap_or(0)) {
        Kind::None | Kind::Nil => default,
        _ => text(stack, at)?,
    };
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    Ok(CString::new(&name[..end.min(1024)]).unwrap_or_default())
}

/// Leaves the function of a chunk of text, or nil and the error's text. Binary chunks are refused: they
/// could make the interpreter do anything.
fn load_text(stack: &mut Stack<'_>, source: &[u8], name: &CString) -> Returned {
    let loaded = if source.len() > SOURCE_BYTES_MAX {
        Err(b"chunk is too large".to_vec())
    } else if source.first() == Some(&0x1b) {
        Err(b"attempt to load a binary chunk".to_vec())
    } else {
        stack.charge(source.len() / 16)?;
        stack.load(source, name)
    };
    match loaded {
        Ok(()) => Ok(1),
        Err(text) => {
            stack.push_nil()?;
            stack.push_bytes(&text)?;
            Ok(2)
        }
    }
}
