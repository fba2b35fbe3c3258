//! An interpreter: made, asked to compile and to run functions, and closed.

#![expect(unsafe_code, reason = "the interpreter is in C")]

use std::ffi::{CStr, c_char, c_int, c_void};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use mlua_sys as ffi;

use super::functions::Raise;
use super::memory::{Shared, allocate};
use super::stack::Stack;
use crate::host::{Host, Interrupt};
use crate::limits::{BYTES_PER_STEP, CHECK_STEPS, NATIVE_STACK_BYTES};

/// One interpreter. Values that it made are found again by a [`Reference`].
pub(crate) struct Lua {
    lua: *mut ffi::lua_State,
    shared: Box<Shared>,
    /// The run under way, on a native stack of its own.
    running: Option<Coroutine<(), (), c_int>>,
    /// For the next run.
    spare_stack: Option<DefaultStack>,
    /// What Lua said of the last run.
    status: c_int,
    /// How many functions of ours are under way in the run that is paused.
    paused_depth: u32,
}

// SAFETY: nothing of it belongs to a thread, also what a paused run has on its stack, and its owner alone uses it.
unsafe impl Send for Lua {}

/// The system has no memory for a native stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoStack;

/// A value that the interpreter keeps until it is dropped with [`Stack::drop_reference`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference(c_int);

/// What a run ends with: on top of the stack lies the result, or the value of the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Returned,
    Failed,
    /// The host ended it, with this text; the value on the stack means nothing.
    Ended(&'static str),
}

impl Lua {
    /// # Panics
    /// If there is no memory for an interpreter, as everywhere when little is allocated.
    pub(crate) fn new(memory_max: usize) -> Self {
        let shared = Box::new(Shared::new(memory_max));
        let user_data: *const Shared = &raw const *shared;
        // SAFETY: the allocator gets the address of its `Shared`, which is boxed and outlives the state.
        let lua = unsafe { ffi::lua_newstate(allocate, user_data.cast_mut().cast()) };
        assert!(!lua.is_null(), "no memory for an interpreter");
        shared.main.set(lua);
        // SAFETY: the state is alive and new. Nothing is refused, so nothing is raised.
        unsafe {
            shared.native_depth.set(1);
            for open in [
                ffi::luaopen_base as ffi::lua_CFunction,
                ffi::luaopen_table,
                ffi::luaopen_string,
                ffi::luaopen_math,
            ] {
                ffi::lua_pushcclosure(lua, open, 0);
                ffi::lua_call(lua, 0, 0);
            }
            shared.native_depth.set(0);
            ffi::lua_sethook(lua, Some(hook), ffi::LUA_MASKCOUNT, hook_steps());
        }
        Self { lua, shared, running: None, spare_stack: None, status: ffi::LUA_OK, paused_depth: 0 }
    }

    /// Bytes that it holds.
    pub(crate) fn used_bytes(&self) -> usize {
        self.shared.used.get()
    }

    /// What a script left may nearly fill the interpreter: the next one finds room.
    fn make_room(&mut self) {
        if self.shared.is_full(self.shared.limit.get() / 4) {
            // SAFETY: the state is alive and runs nothing; no value has a finalizer.
            unsafe { ffi::lua_gc(self.lua, ffi::LUA_GCCOLLECT, 0) };
        }
    }

    /// Works on an empty stack.
    pub(crate) fn with_stack<T>(&mut self, work: impl FnOnce(&mut Stack<'_>) -> T) -> T {
        debug_assert!(self.running.is_none(), "a paused run has the stack");
        self.make_room();
        self.shared.native_depth.set(1);
        // SAFETY: the state is alive and runs nothing.
        let result = unsafe {
            ffi::lua_settop(self.lua, 0);
            let result = work(&mut Stack::new(self.lua, &self.shared));
            ffi::lua_settop(self.lua, 0);
            result
        };
        self.shared.native_depth.set(0);
        result
    }

    /// Runs a function from start to end, whenever it would pause.
    ///
    /// # Errors
    /// If there is no native stack; nothing ran.
    pub(crate) fn run<T>(
        &mut self,
        function: &Reference,
        host: &mut dyn Host,
        prepare: impl FnOnce(&mut Stack<'_>) -> Result<usize, Raise>,
        finish: impl FnOnce(&mut Stack<'_>, Outcome) -> T,
    ) -> Result<T, NoStack> {
        self.begin(function, prepare)?;
        while !self.resume(host) {}
        Ok(self.finish(finish))
    }

    /// Begins a run of a function with what `prepare` pushes. If that fails nothing is to run, and the run ends with
    /// that error.
    ///
    /// # Errors
    /// If there is no native stack; nothing is begun.
    pub(crate) fn begin(
        &mut self,
        function: &Reference,
        prepare: impl FnOnce(&mut Stack<'_>) -> Result<usize, Raise>,
    ) -> Result<(), NoStack> {
        self.make_room();
        let native_stack = match self.spare_stack.take() {
            Some(native_stack) => native_stack,
            None => DefaultStack::new(NATIVE_STACK_BYTES).map_err(|_| NoStack)?,
        };
        let (lua, shared) = (self.lua, &*self.shared);
        shared.steps_left.set(CHECK_STEPS);
        if shared.ended.take().is_some() {
            // SAFETY: the state is alive.
            unsafe { ffi::lua_sethook(lua, Some(hook), ffi::LUA_MASKCOUNT, hook_steps()) };
        }
        shared.native_depth.set(1);
        // SAFETY: the state is alive and runs nothing; nothing is refused, so nothing is raised here.
        let prepared = unsafe {
            ffi::lua_settop(lua, 0);
            let prepared = prepare(&mut Stack::new(lua, shared));
            match &prepared {
                Ok(_) => {
                    ffi::lua_pushcclosure(lua, on_error, 0);
                    ffi::lua_insert(lua, 1);
                    ffi::lua_rawgeti_(lua, ffi::LUA_REGISTRYINDEX, function.0);
                    ffi::lua_insert(lua, 2);
                }
                Err(_) => ffi::lua_pushlstring_(lua, c"not enough memory".as_ptr(), 17),
            }
            prepared
        };
        shared.native_depth.set(0);
        self.paused_depth = 0;
        let Ok(args) = prepared else {
            self.spare_stack = Some(native_stack);
            self.status = ffi::LUA_ERRMEM;
            return Ok(());
        };
        let args = c_int::try_from(args).unwrap_or(0);
        let shared: *const Shared = &raw const *self.shared;
        self.running = Some(Coroutine::with_stack(native_stack, move |yielder, ()| {
            // SAFETY: the state and its `Shared` outlive the run, which is resumed only while they are borrowed. The
            // call is protected, so nothing is raised beyond this frame.
            unsafe {
                (*shared).yielder.set(Some(&raw const *yielder));
                let status = ffi::lua_pcall(lua, args, 1, 1);
                (*shared).yielder.set(None);
                status
            }
        }));
        Ok(())
    }

    /// Goes on with the run under way, until it pauses. Returns whether it ended.
    pub(crate) fn resume(&mut self, host: &mut dyn Host) -> bool {
        // SAFETY: only the lifetime changes; the pointer is taken away before the borrow ends.
        let host =
            unsafe { std::mem::transmute::<*mut (dyn Host + '_), *mut (dyn Host + 'static)>(host) };
        self.shared.host.set(Some(host));
        let has_ended = self.go_on();
        self.shared.host.set(None);
        has_ended
    }

    fn go_on(&mut self) -> bool {
        let Some(running) = &mut self.running else { return true };
        self.shared.native_depth.set(self.paused_depth);
        let went = running.resume(());
        self.paused_depth = self.shared.native_depth.replace(0);
        let CoroutineResult::Return(status) = went else { return false };
        self.status = status;
        self.spare_stack = self.running.take().map(Coroutine::into_stack);
        true
    }

    /// Ends the run under way, if there is one, whatever it is at: it can't go on.
    fn abandon(&mut self) {
        self.shared.ended.set(Some("the script is ended"));
        while !self.go_on() {}
    }

    /// Hands the outcome of the run that ended to `finish`.
    pub(crate) fn finish<T>(&mut self, finish: impl FnOnce(&mut Stack<'_>, Outcome) -> T) -> T {
        let (lua, shared) = (self.lua, &*self.shared);
        let outcome = match (shared.ended.get(), self.status) {
            (Some(text), _) => Outcome::Ended(text),
            (None, ffi::LUA_OK) => Outcome::Returned,
            _ => Outcome::Failed,
        };
        shared.native_depth.set(1);
        // SAFETY: the state is alive and runs nothing; nothing is refused, so nothing is raised here.
        let result = unsafe {
            let result = finish(&mut Stack::new(lua, shared), outcome);
            ffi::lua_settop(lua, 0);
            result
        };
        shared.native_depth.set(0);
        result
    }

    /// A step of the garbage collection; returns whether a cycle ended with it.
    pub(crate) fn collect_step(&mut self) -> bool {
        self.shared.native_depth.set(1);
        // SAFETY: the state is alive. No value has a finalizer, so nothing runs.
        let ended = unsafe { ffi::lua_gc(self.lua, ffi::LUA_GCSTEP, 64) } != 0;
        self.shared.native_depth.set(0);
        ended
    }
}

impl Drop for Lua {
    fn drop(&mut self) {
        self.abandon();
        // SAFETY: the state is alive, and nothing uses it afterwards. No value has a finalizer
        // (CVE-2024-46981).
        unsafe { ffi::lua_close(self.lua) };
    }
}

impl Stack<'_> {
    /// Keeps the value on top, and takes it from the stack.
    pub(crate) fn keep(&mut self) -> Reference {
        // SAFETY: `raw` is the state that this stack belongs to.
        Reference(unsafe { ffi::luaL_ref(self.raw(), ffi::LUA_REGISTRYINDEX) })
    }

    pub(crate) fn push_reference(&mut self, reference: &Reference) -> Result<(), Raise> {
        self.check_room(0)?;
        // SAFETY: as above; there is room for one value.
        unsafe {
            ffi::lua_checkstack(self.raw(), 2);
            ffi::lua_rawgeti_(self.raw(), ffi::LUA_REGISTRYINDEX, reference.0);
        }
        Ok(())
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is used up")]
    pub(crate) fn drop_reference(&mut self, reference: Reference) {
        let Reference(number) = reference;
        // SAFETY: as above.
        unsafe { ffi::luaL_unref(self.raw(), ffi::LUA_REGISTRYINDEX, number) };
    }

    /// Pushes the table of global variables of whatever is loaded next.
    pub(crate) fn push_globals(&mut self) {
        // SAFETY: as above.
        unsafe {
            ffi::lua_checkstack(self.raw(), 2);
            ffi::lua_pushvalue(self.raw(), ffi::LUA_GLOBALSINDEX);
        }
    }

    /// What is loaded next, and what it loads, has the table on top for its global variables.
    pub(crate) fn set_globals(&mut self) {
        // SAFETY: as above; a table is on top.
        unsafe { ffi::lua_replace(self.raw(), ffi::LUA_GLOBALSINDEX) };
    }

    /// Makes the table on top one that scripts can read but not change: replaces it by an empty one that
    /// stands before it.
    pub(crate) fn protect(&mut self, on_change: super::Native) -> Result<(), Raise> {
        let behind = self.top();
        self.push_table(0, 0)?;
        self.push_table(0, 3)?;
        self.copy(behind)?;
        self.set_field(-2, "__index")?;
        self.push_native(on_change)?;
        self.set_field(-2, "__newindex")?;
        // SAFETY: as above: the metatable is below key and value.
        unsafe {
            ffi::lua_pushlightuserdata(self.raw(), mark());
            ffi::lua_pushvalue(self.raw(), behind);
            ffi::lua_rawset(self.raw(), -3);
        }
        self.set_metatable(-2);
        self.insert(behind);
        self.pop(1);
        Ok(())
    }
}

impl Stack<'_> {
    /// Has the protected table at a position show the table on top instead, and takes that.
    pub(crate) fn show_instead(&mut self, protected: i32) -> Result<(), Raise> {
        let behind = self.top();
        if !self.is_protected(protected)? || !self.push_metatable(protected)? {
            return Ok(());
        }
        self.copy(behind)?;
        self.set_field(-2, "__index")?;
        // SAFETY: as above: the metatable is below key and value.
        unsafe {
            ffi::lua_pushlightuserdata(self.raw(), mark());
            ffi::lua_pushvalue(self.raw(), behind);
            ffi::lua_rawset(self.raw(), -3);
        }
        self.pop(2);
        Ok(())
    }
}

/// Marks the metatables of protected tables; scripts cannot make this value.
fn mark() -> *mut c_void {
    static MARK: u8 = 0;
    (&raw const MARK).cast_mut().cast()
}

/// If a table is protected: pushes the one behind it.
///
/// # Safety
/// The state is alive, its stack has room, and there is a table at the position.
pub(super) unsafe fn push_protected(lua: *mut ffi::lua_State, at: c_int) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        if ffi::lua_getmetatable(lua, at) == 0 {
            return false;
        }
        ffi::lua_pushlightuserdata(lua, mark());
        ffi::lua_rawget_(lua, -2);
        ffi::lua_remove(lua, -2);
        if ffi::lua_type(lua, -1) == ffi::LUA_TTABLE {
            return true;
        }
        ffi::lua_settop(lua, -2);
        false
    }
}

/// # Safety
/// Null or a C string.
pub(super) unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as the caller promises.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

const fn hook_steps() -> c_int {
    CHECK_STEPS as c_int
}

/// Asks the host whether the script may go on; the text if not.
pub(super) fn ask_host(shared: &Shared) -> Option<&'static str> {
    if let Some(text) = shared.ended.get() {
        return Some(text);
    }
    shared.steps_left.set(CHECK_STEPS);
    loop {
        let host = shared.host.get()?;
        // SAFETY: the host was borrowed for the run under way, and no function of ours uses it now.
        match unsafe { &mut *host }.interrupt() {
            Interrupt::Continue => return None,
            Interrupt::End(text) => {
                shared.ended.set(Some(text));
                return Some(text);
            }
            Interrupt::Pause => shared.pause(),
        }
        if let Some(text) = shared.ended.get() {
            return Some(text);
        }
    }
}

/// The script must end: from now on every instruction raises.
///
/// # Safety
/// The state is alive.
pub(super) unsafe fn ended(lua: *mut ffi::lua_State, shared: &Shared) {
    // SAFETY: as the caller promises.
    unsafe {
        ffi::lua_sethook(lua, Some(hook), ffi::LUA_MASKCOUNT, 1);
        ffi::lua_sethook(shared.main.get(), Some(hook), ffi::LUA_MASKCOUNT, 1);
    }
}

/// A large block was made: copying it counts as steps, since no instruction does.
pub(super) fn charge_copy(shared: &Shared, bytes: usize) {
    let steps = i64::try_from(bytes / BYTES_PER_STEP).unwrap_or(i64::MAX);
    let left = shared.steps_left.get().saturating_sub(steps);
    shared.steps_left.set(left);
    if left <= 0 && !shared.main.get().is_null() {
        // SAFETY: the state is alive; a hook may be set at any moment, as Lua's manual says.
        unsafe { ffi::lua_sethook(shared.main.get(), Some(hook), ffi::LUA_MASKCOUNT, 1) };
    }
}

/// Called after so many instructions.
unsafe extern "C-unwind" fn hook(lua: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {
    // SAFETY: Lua calls it with a living state. Nothing here has anything to drop when it raises.
    unsafe {
        let shared = Shared::of(lua);
        let Some(text) = ask_host(shared) else {
            if ffi::lua_gethookcount(lua) != hook_steps() {
                ffi::lua_sethook(lua, Some(hook), ffi::LUA_MASKCOUNT, hook_steps());
            }
            return;
        };
        ended(lua, shared);
        shared.native_depth.set(1);
        ffi::lua_pushlstring_(lua, text.as_ptr().cast(), text.len());
        shared.native_depth.set(0);
        ffi::lua_error(lua);
    }
}

/// Turns an error into a table with `err`, `source` and `line`, as Redis does where nothing caught it.
unsafe extern "C-unwind" fn on_error(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls it with the error at 1. An all-zero lua_Debug is one; Lua fills it. Nothing here has
    // anything to drop when an allocation raises, which ends in an error of the error handler.
    unsafe {
        let mut about: ffi::lua_Debug = std::mem::zeroed();
        let mut is_known = ffi::lua_getstack(lua, 1, &raw mut about) != 0;
        if is_known {
            ffi::lua_getinfo(lua, c"Sl".as_ptr(), &raw mut about);
            if *about.what == b'C' as c_char {
                is_known = ffi::lua_getstack(lua, 2, &raw mut about) != 0;
                if is_known {
                    ffi::lua_getinfo(lua, c"Sl".as_ptr(), &raw mut about);
                }
            }
        }
        if ffi::lua_type(lua, 1) != ffi::LUA_TTABLE {
            ffi::lua_createtable(lua, 0, 3);
            ffi::lua_pushlstring_(lua, c"ERR ".as_ptr(), 4);
            match ffi::lua_type(lua, 1) {
                ffi::LUA_TSTRING | ffi::LUA_TNUMBER => ffi::lua_pushvalue(lua, 1),
                ffi::LUA_TNIL => ffi::lua_pushlstring_(lua, c"nil".as_ptr(), 3),
                ffi::LUA_TBOOLEAN if ffi::lua_toboolean(lua, 1) != 0 => {
                    ffi::lua_pushlstring_(lua, c"true".as_ptr(), 4);
                }
                ffi::LUA_TBOOLEAN => ffi::lua_pushlstring_(lua, c"false".as_ptr(), 5),
                kind => {
                    ffi::lua_pushfstring(
                        lua,
                        c"%s: %p".as_ptr(),
                        ffi::lua_typename(lua, kind),
                        ffi::lua_topointer(lua, 1),
                    );
                }
            }
            ffi::lua_concat(lua, 2);
            ffi::lua_setfield(lua, -2, c"err".as_ptr());
            ffi::lua_replace(lua, 1);
        } else if push_protected(lua, 1) {
            // An error that is one of the tables that nobody may change.
            ffi::lua_createtable(lua, 0, 2);
            ffi::lua_replace(lua, 1);
        }
        ffi::lua_settop(lua, 1);
        if is_known {
            ffi::lua_pushlstring_(lua, c"source".as_ptr(), 6);
            ffi::lua_pushstring_(lua, about.source);
            ffi::lua_rawset(lua, 1);
            ffi::lua_pushlstring_(lua, c"line".as_ptr(), 4);
            ffi::lua_pushinteger(lua, ffi::lua_Integer::from(about.currentline));
            ffi::lua_rawset(lua, 1);
        }
        1
    }
}
