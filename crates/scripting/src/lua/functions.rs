//! Functions of ours as Lua calls them, and how they raise errors.

#![expect(unsafe_code, reason = "the interpreter is in C")]

use std::borrow::Cow;
use std::ffi::{c_int, c_void};

use mlua_sys as ffi;

use super::memory::Shared;
use super::stack::Stack;
use super::state::ended;

/// The number of results, which lie on top of the stack.
pub(crate) type Returned = Result<usize, Raise>;

/// A function of ours: gets its arguments at the stack's positions from 1 on.
pub(crate) type Native = fn(&mut Stack<'_>) -> Returned;

/// An error that is raised when the function has returned.
#[derive(Debug)]
pub(crate) enum Raise {
    /// A text, behind the place in the script where the function was called.
    Text(Cow<'static, str>),
    /// A text without a place.
    Bare(Cow<'static, str>),
    /// The value on top of the stack.
    Value,
    /// A wrong argument (counted from 1) of the function by the name that the script used.
    Argument(usize, Cow<'static, str>),
    /// The interpreter holds all it may.
    Memory,
    /// The host ended the run.
    Ended(&'static str),
}

impl Raise {
    pub(crate) fn text(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(crate) fn bare(text: &'static str) -> Self {
        Self::Bare(Cow::Borrowed(text))
    }
}

/// Replaces `kept` values on top by a function of ours that keeps them.
///
/// # Safety
/// The state is alive, its stack has room, and so many values are on top.
pub(super) unsafe fn push_native(lua: *mut ffi::lua_State, function: Native, kept: c_int) {
    // SAFETY: as the caller promises; `enter` gets back what is put into its first upvalue.
    unsafe {
        ffi::lua_pushlightuserdata(lua, function as *mut c_void);
        ffi::lua_insert(lua, -1 - kept);
        ffi::lua_pushcclosure(lua, enter, 1 + kept);
    }
}

/// The entry of all functions of ours.
unsafe extern "C-unwind" fn enter(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls it with a living state and the upvalue that `push_native` gave. What must be dropped
    // is dropped before `raise`, which does not return.
    unsafe {
        let function = ffi::lua_touserdata(lua, ffi::lua_upvalueindex(1));
        let function = std::mem::transmute::<*mut c_void, Native>(function);
        let shared = Shared::of(lua);
        let raise = match run(lua, shared, function) {
            Ok(returned) if !shared.is_full(0) => return returned,
            Ok(_) => Raise::Memory,
            Err(raise) => raise,
        };
        push_error(lua, shared, raise);
        ffi::lua_error(lua)
    }
}

/// # Safety
/// As for `enter`.
#[inline(always)]
unsafe fn run(lua: *mut ffi::lua_State, shared: &Shared, function: Native) -> Result<c_int, Raise> {
    let depth = shared.native_depth.get();
    shared.native_depth.set(depth + 1);
    // SAFETY: the state is alive for the call.
    let mut stack = unsafe { Stack::new(lua, shared) };
    let returned = function(&mut stack);
    shared.native_depth.set(depth);
    returned.map(|count| c_int::try_from(count).unwrap_or(0))
}

/// Pushes what is to be raised, and drops the rest.
unsafe fn push_error(lua: *mut ffi::lua_State, shared: &Shared, raise: Raise) {
    let depth = shared.native_depth.get();
    shared.native_depth.set(depth + 1);
    // SAFETY: nothing here raises while the depth is above 0; the names are C strings.
    unsafe {
        match raise {
            Raise::Text(text) => {
                ffi::luaL_where(lua, 1);
                push_text(lua, text.as_bytes());
                ffi::lua_concat(lua, 2);
            }
            Raise::Bare(text) => push_text(lua, text.as_bytes()),
            Raise::Value => (),
            Raise::Memory => push_text(lua, b"not enough memory"),
            Raise::Ended(text) => {
                ended(lua, shared);
                push_text(lua, text.as_bytes());
            }
            Raise::Argument(number, text) => {
                let text = argument_error(lua, number, &text);
                ffi::luaL_where(lua, 1);
                push_text(lua, text.as_bytes());
                ffi::lua_concat(lua, 2);
            }
        }
    }
    shared.native_depth.set(depth);
}

/// "bad argument #1 to 'rep' (…)", with the name by which the function was called, as Lua's own have it.
unsafe fn argument_error(lua: *mut ffi::lua_State, mut number: usize, text: &str) -> String {
    // SAFETY: an all-zero lua_Debug is one; Lua fills it, and its texts are C strings or null.
    let (name, is_method) = unsafe {
        let mut about: ffi::lua_Debug = std::mem::zeroed();
        if ffi::lua_getstack(lua, 0, &raw mut about) == 0 {
            return format!("bad argument #{number} ({text})");
        }
        ffi::lua_getinfo(lua, c"n".as_ptr(), &raw mut about);
        (super::state::text_of(about.name), super::state::text_of(about.namewhat) == "method")
    };
    let name = if name.is_empty() { "?".to_owned() } else { name };
    if is_method {
        number -= 1;
        if number == 0 {
            return format!("calling '{name}' on bad self ({text})");
        }
    }
    format!("bad argument #{number} to '{name}' ({text})")
}

unsafe fn push_text(lua: *mut ffi::lua_State, text: &[u8]) {
    // SAFETY: the slice is valid for its length.
    unsafe { ffi::lua_pushlstring_(lua, text.as_ptr().cast(), text.len()) };
}
