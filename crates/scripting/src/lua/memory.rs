//! Memory and steps of one interpreter: what it uses, what it may use, when it is asked whether to go on.

#![expect(unsafe_code, reason = "the interpreter is in C")]

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::ffi::c_void;

use corosensei::Yielder;
use mlua_sys as ffi;

use crate::host::Host;
use crate::library::Settings;
use crate::limits::{CHECK_STEPS, LARGE_BLOCK_BYTES};

/// What all coroutines of an interpreter share. It lies beside the interpreter, at one address.
pub(crate) struct Shared {
    /// Bytes that Lua holds, and LIMIT: those that it may.
    pub(super) used: Cell<usize>,
    pub(super) limit: Cell<usize>,
    /// Functions of ours that are under way: meanwhile no allocation is refused.
    pub(super) native_depth: Cell<u32>,
    /// Steps until the host is asked whether the script may go on.
    pub(super) steps_left: Cell<i64>,
    /// Why the run must end, once it must.
    pub(super) ended: Cell<Option<&'static str>>,
    /// Only while a script runs.
    pub(super) host: Cell<Option<*mut (dyn Host + 'static)>>,
    /// What pauses the run under way; on its native stack.
    pub(super) yielder: Cell<Option<*const Yielder<(), ()>>>,
    pub(super) main: Cell<*mut ffi::lua_State>,
    /// What the libraries remember between calls.
    pub(crate) settings: RefCell<Settings>,
}

impl Shared {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            used: Cell::new(0),
            limit: Cell::new(limit),
            native_depth: Cell::new(0),
            steps_left: Cell::new(CHECK_STEPS),
            ended: Cell::new(None),
            host: Cell::new(None),
            yielder: Cell::new(None),
            main: Cell::new(std::ptr::null_mut()),
            settings: RefCell::default(),
        }
    }

    /// The shared part of the interpreter that a coroutine belongs to.
    ///
    /// # Safety
    /// `lua` is a state that [`super::Lua`] made, and the result is not used after it is closed.
    #[inline]
    pub(super) unsafe fn of<'a>(lua: *mut ffi::lua_State) -> &'a Self {
        let mut user_data = std::ptr::null_mut();
        // SAFETY: the state is alive, and its allocator got the address of its `Shared`, which outlives it.
        unsafe {
            ffi::lua_getallocf(lua, &raw mut user_data);
            &*user_data.cast::<Self>()
        }
    }

    /// Pauses the run under way until it is resumed, maybe with another host.
    pub(super) fn pause(&self) {
        if let Some(yielder) = self.yielder.get() {
            // SAFETY: it is there as long as the run, which is on top of its native stack now.
            unsafe { &*yielder }.suspend(());
        }
    }

    pub(super) fn is_full(&self, more: usize) -> bool {
        self.used.get().saturating_add(more) > self.limit.get()
    }
}

/// Lua's allocator. It returns null, and Lua raises "not enough memory", where the limit is met.
///
/// # Safety
/// Only Lua calls it, with blocks that it got here.
pub(super) unsafe extern "C" fn allocate(
    user_data: *mut c_void,
    block: *mut c_void,
    old_bytes: usize,
    bytes: usize,
) -> *mut c_void {
    // SAFETY: the address was given with this function, and its target outlives the interpreter.
    let shared = unsafe { &*user_data.cast::<Shared>() };
    let old_bytes = if block.is_null() { 0 } else { old_bytes };
    let layout = |bytes| Layout::from_size_align(bytes, 16).ok();
    let used = shared.used.get() - old_bytes;
    if bytes == 0 {
        if old_bytes > 0
            && let Some(layout) = layout(old_bytes)
        {
            // SAFETY: the block was allocated here with this layout.
            unsafe { std::alloc::dealloc(block.cast(), layout) };
        }
        shared.used.set(used);
        return std::ptr::null_mut();
    }
    let (Some(new_layout), Some(old_layout)) = (layout(bytes), layout(old_bytes)) else {
        return std::ptr::null_mut();
    };
    let grows = bytes > old_bytes;
    if grows && shared.native_depth.get() == 0 && used.saturating_add(bytes) > shared.limit.get() {
        return std::ptr::null_mut();
    }
    // SAFETY: neither size is 0; the block was allocated here with the old layout.
    let new_block = unsafe {
        if old_bytes == 0 {
            std::alloc::alloc(new_layout)
        } else {
            std::alloc::realloc(block.cast(), old_layout, bytes)
        }
    };
    if new_block.is_null() {
        return std::ptr::null_mut();
    }
    shared.used.set(used + bytes);
    if bytes >= LARGE_BLOCK_BYTES {
        super::state::charge_copy(shared, bytes);
    }
    new_block.cast()
}
