//! `redis`, also called `server`: commands, replies, the log.

use sha1::{Digest, Sha1};
use smallvec::SmallVec;

use basalt_resp::Protocol;

use super::arguments::truncated;
use super::{add, format_argument, nothing};
use crate::host::{Called, LogLevel};
use crate::limits::CALL_STEPS;
use crate::lua::{Kind, Native, Raise, Returned, Stack};
use crate::reply::{push_error, push_reply};

/// What scripts are told of the version: that of the Redis whose commands they may expect.
const VERSION: &str = "7.4.0";
const VERSION_NUMBER: u32 = 0x0007_0400;

/// LIMIT: bytes of the buffer for replies that stays between calls.
const REPLY_KEPT_BYTES: usize = 1 << 16;

pub(super) fn install(stack: &mut Stack<'_>, library: i32) -> Result<(), Raise> {
    let functions: &[(&str, Native)] = &[
        ("call", |stack| call(stack, true)),
        ("pcall", |stack| call(stack, false)),
        ("sha1hex", sha1hex),
        ("error_reply", |stack| single_field(stack, "err")),
        ("status_reply", |stack| single_field(stack, "ok")),
        ("setresp", set_protocol),
        ("set_repl", set_replication),
        ("replicate_commands", |stack| {
            stack.push_boolean(true)?;
            Ok(1)
        }),
        ("acl_check_cmd", acl_check),
        ("breakpoint", |stack| {
            stack.push_boolean(false)?;
            Ok(1)
        }),
        ("debug", nothing),
    ];
    add(stack, library, functions)?;
    add_numbers(
        stack,
        library,
        &[
            ("REPL_NONE", 0),
            ("REPL_AOF", 1),
            ("REPL_SLAVE", 2),
            ("REPL_REPLICA", 2),
            ("REPL_ALL", 3),
        ],
    )?;
    install_log(stack, library)
}

/// What there is while a library of functions is loaded, too, beside its own.
pub(super) fn install_log(stack: &mut Stack<'_>, library: i32) -> Result<(), Raise> {
    add(stack, library, &[("log", log)])?;
    add_numbers(
        stack,
        library,
        &[
            ("LOG_DEBUG", 0),
            ("LOG_VERBOSE", 1),
            ("LOG_NOTICE", 2),
            ("LOG_WARNING", 3),
            ("REDIS_VERSION_NUM", VERSION_NUMBER),
        ],
    )?;
    stack.push_bytes(VERSION.as_bytes())?;
    stack.set_field(library, "REDIS_VERSION")
}

fn add_numbers(stack: &mut Stack<'_>, library: i32, numbers: &[(&str, u32)]) -> Result<(), Raise> {
    for (name, value) in numbers {
        stack.push_number(f64::from(*value))?;
        stack.set_field(library, name)?;
    }
    Ok(())
}

pub(super) fn install_os(stack: &mut Stack<'_>, library: i32) -> Result<(), Raise> {
    let clock: Native = |stack| {
        let seconds = stack.host().map_or(0.0, |host| host.cpu_seconds());
        stack.push_number(seconds)?;
        Ok(1)
    };
    add(stack, library, &[("clock", clock)])
}

/// Raises a table with the error, as `redis.call` does for errors of its own.
pub(crate) fn fail(stack: &mut Stack<'_>, text: &str, raises: bool) -> Returned {
    push_error(stack, &[b"ERR ", text.as_bytes()].concat(), false)?;
    if raises { Err(Raise::Value) } else { Ok(1) }
}

fn call(stack: &mut Stack<'_>, raises: bool) -> Returned {
    let count = stack.arg_count();
    if count == 0 {
        let text = "Please specify at least one argument for this redis lib call";
        return fail(stack, text, raises);
    }
    let mut numbers: SmallVec<[u8; 64]> = SmallVec::new();
    let mut ends: SmallVec<[usize; 8]> = SmallVec::new();
    for at in 1..=count {
        let at = i32::try_from(at).unwrap_or(0);
        match stack.kind(at) {
            Kind::String => {}
            Kind::Number => {
                let mut text = Vec::new();
                format_argument(stack.number(at).unwrap_or(0.0), &mut text);
                numbers.extend_from_slice(&text);
                ends.push(numbers.len());
            }
            _ => {
                let text = "Lua redis lib command arguments must be strings or integers";
                return fail(stack, text, raises);
            }
        }
    }
    let (mut start, mut next) = (0, 0);
    let mut args: SmallVec<[&[u8]; 16]> = SmallVec::with_capacity(count);
    for at in 1..=count {
        args.push(match stack.arg_bytes(i32::try_from(at).unwrap_or(0)) {
            Some(text) => text,
            None => {
                let text = &numbers[start..ends[next]];
                start = ends[next];
                next += 1;
                text
            }
        });
    }
    // The script may be ended between two commands too, however few instructions it takes.
    stack.charge(CALL_STEPS)?;
    let (protocol, mut reply) = {
        let mut settings = stack.settings();
        (settings.protocol, std::mem::take(&mut settings.reply))
    };
    reply.clear();
    let Some(host) = stack.host() else {
        return fail(stack, "redis.call can only be called inside a script invocation", raises);
    };
    if host.call(&args, protocol, &mut reply) == Called::Later {
        stack.pause()?;
        if let Some(host) = stack.host() {
            host.take_reply(&mut reply);
        }
    }
    let is_error = reply.first() == Some(&b'-');
    if is_error {
        // The host may have ended the script with it.
        stack.ask_host()?;
    }
    push_reply(stack, &reply)?;
    if reply.capacity() <= REPLY_KEPT_BYTES {
        stack.settings().reply = reply;
    }
    if is_error && raises { Err(Raise::Value) } else { Ok(1) }
}

fn log(stack: &mut Stack<'_>) -> Returned {
    let count = stack.arg_count();
    if count < 2 {
        return fail(stack, "redis.log() requires two arguments or more.", true);
    }
    let Some(level) = stack.number(1) else {
        return fail(stack, "First argument must be a number (log level).", true);
    };
    let Some(level) = LogLevel::of(truncated(level)) else {
        return fail(stack, "Invalid log level.", true);
    };
    let mut text = Vec::new();
    for at in 2..=count {
        if let Some(part) = stack.arg_text(i32::try_from(at).unwrap_or(0)) {
            if at > 2 && !text.is_empty() {
                text.push(b' ');
            }
            text.extend_from_slice(part);
        }
    }
    if let Some(host) = stack.host()
        && host.logs(level)
    {
        host.log(level, &text);
    }
    Ok(0)
}

fn sha1hex(stack: &mut Stack<'_>) -> Returned {
    if stack.arg_count() != 1 {
        return fail(stack, "wrong number of arguments", true);
    }
    let text = stack.arg_text(1).unwrap_or_default();
    stack.charge(text.len() / 64)?;
    stack.push_bytes(sha1_hex(text).as_bytes())?;
    Ok(1)
}

/// The SHA1 of a text as 40 hexadecimal digits.
pub(crate) fn sha1_hex(text: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha1::digest(text);
    let mut hex = String::with_capacity(40);
    for byte in digest {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

fn single_field(stack: &mut Stack<'_>, field: &'static str) -> Returned {
    if stack.arg_count() != 1 || stack.kind(1) != Kind::String {
        return fail(stack, "wrong number or type of arguments", false);
    }
    let text = stack.arg_bytes(1).unwrap_or_default();
    if field == "err" {
        push_error(stack, text, false)?;
        return Ok(1);
    }
    stack.push_table(0, 1)?;
    stack.push_bytes(text)?;
    stack.set_field(-2, field)?;
    Ok(1)
}

fn set_protocol(stack: &mut Stack<'_>) -> Returned {
    if stack.arg_count() != 1 {
        return fail(stack, "redis.setresp() requires one argument.", true);
    }
    let protocol = match stack.as_number(1).map(truncated) {
        Some(2) => Protocol::Resp2,
        Some(3) => Protocol::Resp3,
        _ => return fail(stack, "RESP version must be 2 or 3.", true),
    };
    stack.settings().protocol = protocol;
    Ok(0)
}

/// All effects are replicated, whatever a script asks for: it could only make replicas differ.
fn set_replication(stack: &mut Stack<'_>) -> Returned {
    if stack.arg_count() != 1 {
        return fail(stack, "redis.set_repl() requires one argument.", true);
    }
    match stack.as_number(1).map(truncated) {
        Some(0..=3) => Ok(0),
        _ => {
            let text =
                "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
            fail(stack, text, true)
        }
    }
}

fn acl_check(stack: &mut Stack<'_>) -> Returned {
    let count = stack.arg_count();
    if count == 0 {
        return fail(stack, "Please specify at least one argument for this redis lib call", true);
    }
    let mut args: SmallVec<[&[u8]; 16]> = SmallVec::new();
    for at in 1..=count {
        let Some(arg) = stack.arg_text(i32::try_from(at).unwrap_or(0)) else {
            let text = "redis.acl_check_cmd() requires arguments that are strings or integers";
            return fail(stack, text, true);
        };
        args.push(arg);
    }
    let Some(allowed) = stack.host().map_or(Some(true), |host| host.may_call(&args)) else {
        return fail(stack, "Invalid command passed to redis.acl_check_cmd()", true);
    };
    stack.push_boolean(allowed)?;
    Ok(1)
}
