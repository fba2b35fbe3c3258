//! The stack of a function of ours: its arguments, and the values that it makes.

#![expect(unsafe_code, reason = "the interpreter is in C")]

use std::ffi::{CStr, c_int};

use mlua_sys as ffi;

use super::functions::{Native, Raise, push_native};
use super::memory::Shared;
use super::state::{ask_host, push_protected};
use crate::host::Host;
use crate::library::Settings;

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No argument at this position.
    None,
    Nil,
    Boolean,
    /// `cjson.null`, the only one that scripts can get.
    Null,
    Number,
    String,
    Table,
    Function,
    Userdata,
    Thread,
}

impl Kind {
    /// Its name in error texts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::None => "no value",
            Self::Nil => "nil",
            Self::Boolean => "boolean",
            Self::Null | Self::Userdata => "userdata",
            Self::Number => "number",
            Self::String => "string",
            Self::Table => "table",
            Self::Function => "function",
            Self::Thread => "thread",
        }
    }
}

/// Positions count from 1 at the first argument, or from -1 at the top. Positions outside of the stack
/// read as [`Kind::None`].
pub(crate) struct Stack<'a> {
    lua: *mut ffi::lua_State,
    shared: &'a Shared,
    /// The arguments: they stay until the function returns, so their bytes may be borrowed for so long.
    args: c_int,
}

impl<'a> Stack<'a> {
    /// # Safety
    /// The state is alive for `'a`, and a function of ours, or none, runs on top of its stack.
    pub(super) unsafe fn new(lua: *mut ffi::lua_State, shared: &'a Shared) -> Self {
        // SAFETY: as the caller promises.
        let args = unsafe { ffi::lua_gettop(lua) };
        Self { lua, shared, args }
    }

    pub(crate) fn arg_count(&self) -> usize {
        usize::try_from(self.args).unwrap_or(0)
    }

    pub(crate) fn settings(&self) -> std::cell::RefMut<'_, Settings> {
        self.shared.settings.borrow_mut()
    }

    pub(crate) fn top(&self) -> i32 {
        // SAFETY: the state is alive.
        unsafe { ffi::lua_gettop(self.lua) }
    }

    /// The position counted from 1, or 0 if there is none.
    fn absolute(&self, at: i32) -> c_int {
        let top = self.top();
        let at = if at < 0 { top + 1 + at } else { at };
        if (1..=top).contains(&at) { at } else { 0 }
    }

    pub(crate) fn kind(&self, at: i32) -> Kind {
        let at = self.absolute(at);
        if at == 0 {
            return Kind::None;
        }
        // SAFETY: the position is on the stack.
        let (kind, address) =
            unsafe { (ffi::lua_type(self.lua, at), ffi::lua_touserdata(self.lua, at)) };
        match kind {
            ffi::LUA_TNIL => Kind::Nil,
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TLIGHTUSERDATA if address.is_null() => Kind::Null,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::String,
            ffi::LUA_TTABLE => Kind::Table,
            ffi::LUA_TFUNCTION => Kind::Function,
            ffi::LUA_TTHREAD => Kind::Thread,
            _ => Kind::Userdata,
        }
    }

    pub(crate) fn boolean(&self, at: i32) -> bool {
        let at = self.absolute(at);
        // SAFETY: the position is on the stack.
        at != 0 && unsafe { ffi::lua_toboolean(self.lua, at) != 0 }
    }

    /// A value that is a number.
    pub(crate) fn number(&self, at: i32) -> Option<f64> {
        if self.kind(at) != Kind::Number {
            return None;
        }
        // SAFETY: the position is on the stack.
        Some(unsafe { ffi::lua_tonumber(self.lua, self.absolute(at)) })
    }

    /// A number, or a string that reads as one.
    pub(crate) fn as_number(&self, at: i32) -> Option<f64> {
        if !matches!(self.kind(at), Kind::Number | Kind::String) {
            return None;
        }
        let at = self.absolute(at);
        // SAFETY: the position is on the stack.
        unsafe { (ffi::lua_isnumber(self.lua, at) != 0).then(|| ffi::lua_tonumber(self.lua, at)) }
    }

    /// The bytes of an argument that is a string.
    pub(crate) fn arg_bytes(&self, at: i32) -> Option<&'a [u8]> {
        if !(1..=self.args).contains(&at) || self.kind(at) != Kind::String {
            return None;
        }
        // SAFETY: strings don't move, and this one stays on the stack until the function returns.
        Some(unsafe { bytes_at(self.lua, at) })
    }

    /// The bytes of an argument that is a string or a number, which then becomes a string.
    pub(crate) fn arg_text(&mut self, at: i32) -> Option<&'a [u8]> {
        if (1..=self.args).contains(&at) && self.kind(at) == Kind::Number {
            // SAFETY: the position is on the stack; it becomes a string in its place.
            unsafe { ffi::lua_tolstring(self.lua, at, std::ptr::null_mut()) };
        }
        self.arg_bytes(at)
    }

    /// The bytes of a value that is a string.
    pub(crate) fn bytes(&self, at: i32) -> Option<&[u8]> {
        if self.kind(at) != Kind::String {
            return None;
        }
        // SAFETY: the string is on the stack while this is borrowed, for whatever changes the stack needs
        // it mutably.
        Some(unsafe { bytes_at(self.lua, self.absolute(at)) })
    }

    /// The bytes of a string or of a number as Lua writes it.
    pub(crate) fn text(&mut self, at: i32) -> Option<Vec<u8>> {
        match self.kind(at) {
            Kind::String => self.bytes(at).map(<[u8]>::to_vec),
            Kind::Number => {
                // A copy is converted: a key that is converted in its place would end an iteration.
                self.copy(at).ok()?;
                // SAFETY: the copy is on top of the stack.
                unsafe { ffi::lua_tolstring(self.lua, -1, std::ptr::null_mut()) };
                let text = self.bytes(-1).map(<[u8]>::to_vec);
                self.pop(1);
                text
            }
            _ => None,
        }
    }

    /// The length of a table or string.
    pub(crate) fn len(&self, at: i32) -> usize {
        match self.kind(at) {
            // SAFETY: the position is on the stack.
            Kind::Table | Kind::String => unsafe { ffi::lua_objlen(self.lua, self.absolute(at)) },
            _ => 0,
        }
    }

    /// Fails if the interpreter holds all it may, or if the stack can't grow.
    fn reserve(&self, bytes: usize) -> Result<(), Raise> {
        if self.shared.is_full(bytes) {
            return Err(Raise::Memory);
        }
        // SAFETY: the state is alive. It raises nothing, since nothing is refused while ours runs.
        if unsafe { ffi::lua_checkstack(self.lua, 4) } == 0 {
            return Err(Raise::text("stack overflow"));
        }
        Ok(())
    }

    pub(crate) fn push_nil(&mut self) -> Result<(), Raise> {
        self.reserve(0)?;
        // SAFETY: there is room.
        unsafe { ffi::lua_pushnil(self.lua) };
        Ok(())
    }

    pub(crate) fn push_boolean(&mut self, value: bool) -> Result<(), Raise> {
        self.reserve(0)?;
        // SAFETY: there is room.
        unsafe { ffi::lua_pushboolean(self.lua, c_int::from(value)) };
        Ok(())
    }

    pub(crate) fn push_null(&mut self) -> Result<(), Raise> {
        self.reserve(0)?;
        // SAFETY: there is room.
        unsafe { ffi::lua_pushlightuserdata(self.lua, std::ptr::null_mut()) };
        Ok(())
    }

    pub(crate) fn push_number(&mut self, value: f64) -> Result<(), Raise> {
        self.reserve(0)?;
        // SAFETY: there is room.
        unsafe { ffi::lua_pushnumber(self.lua, value) };
        Ok(())
    }

    pub(crate) fn push_bytes(&mut self, text: &[u8]) -> Result<(), Raise> {
        self.reserve(text.len())?;
        // SAFETY: there is room, and the slice is valid for its length.
        unsafe { ffi::lua_pushlstring_(self.lua, text.as_ptr().cast(), text.len()) };
        Ok(())
    }

    /// A new table with room for `items` elements and `fields` others.
    pub(crate) fn push_table(&mut self, items: usize, fields: usize) -> Result<(), Raise> {
        self.reserve((items + fields).saturating_mul(40))?;
        let count = |count| c_int::try_from(count).unwrap_or(c_int::MAX);
        // SAFETY: there is room.
        unsafe { ffi::lua_createtable(self.lua, count(items), count(fields)) };
        Ok(())
    }

    pub(crate) fn push_native(&mut self, function: Native) -> Result<(), Raise> {
        self.reserve(0)?;
        // SAFETY: there is room.
        unsafe { push_native(self.lua, function, 0) };
        Ok(())
    }

    /// Replaces the values on top by a function of ours that keeps them ([`Stack::push_kept`]).
    pub(crate) fn push_closure(&mut self, function: Native, kept: i32) -> Result<(), Raise> {
        self.reserve(0)?;
        if (1..=self.top() - self.args).contains(&kept) {
            // SAFETY: there is room, and so many values above the arguments.
            unsafe { push_native(self.lua, function, kept) };
        }
        Ok(())
    }

    /// Pushes a value that the running function keeps, counted from 1.
    pub(crate) fn push_kept(&mut self, number: i32) -> Result<(), Raise> {
        self.reserve(0)?;
        // SAFETY: there is room; Lua reads nil for one that the function has not.
        unsafe { ffi::lua_pushvalue(self.lua, ffi::lua_upvalueindex(1 + number)) };
        Ok(())
    }

    /// Replaces a value that the running function keeps by the one on top, and takes it.
    pub(crate) fn keep_instead(&mut self, number: i32) {
        if self.top() > self.args {
            // SAFETY: there is a value on top, and the function has what it was made with.
            unsafe { ffi::lua_replace(self.lua, ffi::lua_upvalueindex(1 + number)) };
        }
    }

    /// What is on the stack now stays until the function returns, as its arguments do.
    pub(crate) fn pin(&mut self) {
        self.args = self.top();
    }

    /// Replaces the key on top by what the table has for it, with metamethods.
    pub(crate) fn index(&mut self, table: i32) -> Result<(), Raise> {
        self.copy(table)?;
        self.insert(-2);
        self.reserve(0)?;
        // SAFETY: there is room.
        unsafe { ffi::lua_pushcclosure(self.lua, get_any, 0) };
        self.insert(-3);
        self.call(2, 1)
    }

    /// Pushes the function `next`, which also shows what is in protected tables.
    pub(crate) fn push_next(&mut self) -> Result<(), Raise> {
        self.reserve(0)?;
        // SAFETY: there is room.
        unsafe { ffi::lua_pushcclosure(self.lua, next_field, 0) };
        Ok(())
    }

    /// Collects all that is garbage.
    pub(crate) fn collect_garbage(&mut self) {
        // SAFETY: the state is alive, and no value has a finalizer.
        unsafe { ffi::lua_gc(self.lua, ffi::LUA_GCCOLLECT, 0) };
    }

    /// Pushes a copy of a value.
    pub(crate) fn copy(&mut self, at: i32) -> Result<(), Raise> {
        let at = self.absolute(at);
        self.reserve(0)?;
        // SAFETY: the position is on the stack, which has room.
        unsafe {
            if at == 0 { ffi::lua_pushnil(self.lua) } else { ffi::lua_pushvalue(self.lua, at) }
        };
        Ok(())
    }

    /// Drops values from the top, but no argument.
    pub(crate) fn pop(&mut self, count: i32) {
        let top = (self.top() - count).max(self.args);
        // SAFETY: the new top is not above the present one.
        unsafe { ffi::lua_settop(self.lua, top) };
    }

    /// Moves the value on top down to a position.
    pub(crate) fn insert(&mut self, at: i32) {
        let at = self.absolute(at);
        if at > self.args {
            // SAFETY: the position is on the stack.
            unsafe { ffi::lua_insert(self.lua, at) };
        }
    }

    /// Whether the value at a position is a table; if so, its position.
    fn table(&self, at: i32) -> Option<c_int> {
        (self.kind(at) == Kind::Table).then(|| self.absolute(at))
    }

    /// Replaces the key on top by the field, without metamethods; by nil if it is no table.
    pub(crate) fn get(&mut self, table: i32) {
        if let Some(at) = self.table(table)
            && self.top() > at
        {
            // SAFETY: the position is a table, and there is a key on top.
            unsafe { ffi::lua_rawget_(self.lua, at) };
        }
    }

    /// Pushes an element of a table (nil if it is no table).
    pub(crate) fn get_item(&mut self, table: i32, index: i64) -> Result<(), Raise> {
        let at = self.table(table);
        self.reserve(0)?;
        let (Some(at), Ok(index)) = (at, c_int::try_from(index)) else { return self.push_nil() };
        // SAFETY: there is room, and the position is a table.
        unsafe { ffi::lua_rawgeti_(self.lua, at, index) };
        Ok(())
    }

    /// Pushes a field of a table, without metamethods.
    pub(crate) fn get_field(&mut self, table: i32, name: &str) -> Result<(), Raise> {
        let at = self.table(table);
        match at {
            Some(at) => {
                self.push_bytes(name.as_bytes())?;
                // SAFETY: the position is a table, and there is a key on top.
                unsafe { ffi::lua_rawget_(self.lua, at) };
                Ok(())
            }
            None => self.push_nil(),
        }
    }

    /// Sets `table[key] = value`; takes both, the value being on top. Fails for a key that none may have.
    pub(crate) fn set(&mut self, table: i32) -> Result<(), Raise> {
        let Some(at) = self.table(table) else { return Err(Raise::text("not a table")) };
        if self.shared.is_full(0) {
            return Err(Raise::Memory);
        }
        match self.kind(-2) {
            Kind::None | Kind::Nil => return Err(Raise::bare("table index is nil")),
            Kind::Number if self.number(-2).is_some_and(f64::is_nan) => {
                return Err(Raise::bare("table index is NaN"));
            }
            _ => {}
        }
        // SAFETY: the position is a table; key and value are on top, and the key is allowed.
        unsafe { ffi::lua_rawset(self.lua, at) };
        Ok(())
    }

    /// Sets an element to the value on top, and takes it.
    pub(crate) fn set_item(&mut self, table: i32, index: i64) -> Result<(), Raise> {
        let (Some(at), Ok(index)) = (self.table(table), c_int::try_from(index)) else {
            return Err(Raise::text("not a table"));
        };
        if self.shared.is_full(0) {
            return Err(Raise::Memory);
        }
        if self.top() > at {
            // SAFETY: the position is a table, and there is a value on top.
            unsafe { ffi::lua_rawseti_(self.lua, at, index) };
        }
        Ok(())
    }

    /// Sets a field to the value on top, and takes it.
    pub(crate) fn set_field(&mut self, table: i32, name: &str) -> Result<(), Raise> {
        let at = self.absolute(table);
        self.push_bytes(name.as_bytes())?;
        self.insert(-2);
        self.set(at)
    }

    /// Replaces the key on top by the next key and its value, or takes it and returns false at the end. The
    /// key is nil, or came from here.
    pub(crate) fn next(&mut self, table: i32) -> Result<bool, Raise> {
        let Some(at) = self.table(table) else {
            self.pop(1);
            return Ok(false);
        };
        self.reserve(0)?;
        // SAFETY: the position is a table, and the key on top is nil or one of its keys, so nothing is
        // raised.
        Ok(unsafe { ffi::lua_next(self.lua, at) != 0 })
    }

    /// Calls the function below `args` arguments, and leaves `results` values, or the error's value on top.
    pub(crate) fn call(&mut self, args: usize, results: i32) -> Result<(), Raise> {
        self.reserve(0)?;
        let args = c_int::try_from(args).unwrap_or(0);
        if self.top() - args <= self.args {
            return Err(Raise::text("nothing to call"));
        }
        let depth = self.shared.native_depth.replace(0);
        // SAFETY: function and arguments are on the stack; the call is protected.
        let status = unsafe { ffi::lua_pcall(self.lua, args, results, 0) };
        self.shared.native_depth.set(depth);
        if status == ffi::LUA_OK { Ok(()) } else { Err(Raise::Value) }
    }

    /// Compares two values of the same or of different types as `<` does, with metamethods.
    pub(crate) fn less(&mut self, one: i32, other: i32) -> Result<bool, Raise> {
        self.copy(one)?;
        self.copy(if other < 0 { other - 1 } else { other })?;
        self.reserve(0)?;
        // SAFETY: there is room.
        unsafe { ffi::lua_pushcclosure(self.lua, compare, 0) };
        self.insert(-3);
        self.call(2, 1)?;
        let less = self.boolean(-1);
        self.pop(1);
        Ok(less)
    }

    /// If the table is one that scripts may not change: pushes the table behind it, and returns true.
    pub(crate) fn push_protected(&mut self, at: i32) -> Result<bool, Raise> {
        let Some(at) = self.table(at) else { return Ok(false) };
        self.reserve(0)?;
        // SAFETY: the position is a table, and there is room.
        Ok(unsafe { push_protected(self.lua, at) })
    }

    /// Whether scripts may not change a table.
    pub(crate) fn is_protected(&mut self, at: i32) -> Result<bool, Raise> {
        let protected = self.push_protected(at)?;
        if protected {
            self.pop(1);
        }
        Ok(protected)
    }

    /// Pushes the metatable of a value, and returns true if it has one.
    pub(crate) fn push_metatable(&mut self, at: i32) -> Result<bool, Raise> {
        let at = self.absolute(at);
        self.reserve(0)?;
        // SAFETY: the position is on the stack, which has room.
        Ok(at != 0 && unsafe { ffi::lua_getmetatable(self.lua, at) != 0 })
    }

    /// Gives the table at a position the table (or nil) on top as its metatable, and takes it.
    pub(crate) fn set_metatable(&mut self, at: i32) {
        if let Some(at) = self.table(at)
            && matches!(self.kind(-1), Kind::Table | Kind::Nil)
        {
            // SAFETY: both are on the stack.
            unsafe { ffi::lua_setmetatable(self.lua, at) };
        }
    }

    /// Gives the function on top the table at a position for its global variables.
    pub(crate) fn set_environment(&mut self, globals: i32) -> Result<(), Raise> {
        if self.kind(-1) == Kind::Function && self.kind(globals) == Kind::Table {
            self.copy(globals)?;
            // SAFETY: a function is below the table on top.
            unsafe { ffi::lua_setfenv(self.lua, -2) };
        }
        Ok(())
    }

    /// Compiles a chunk of text and pushes its function; fails with the text of the error.
    pub(crate) fn load(&mut self, source: &[u8], name: &CStr) -> Result<(), Vec<u8>> {
        let loaded = self.reserve(0).and_then(|()| {
            // The parser does not hold on to the name while it runs (CVE-2025-49844): the stack does.
            self.push_bytes(name.to_bytes())
        });
        if loaded.is_err() {
            return Err(b"not enough memory".to_vec());
        }
        let depth = self.shared.native_depth.replace(0);
        // SAFETY: the source is valid for its length; errors of the parser are caught by it.
        let status = unsafe {
            ffi::luaL_loadbuffer(self.lua, source.as_ptr().cast(), source.len(), name.as_ptr())
        };
        self.shared.native_depth.set(depth);
        // SAFETY: a function or an error's text is on top, above the name.
        unsafe { ffi::lua_remove(self.lua, -2) };
        if status == ffi::LUA_OK {
            return Ok(());
        }
        let text = self.bytes(-1).unwrap_or(b"not enough memory").to_vec();
        self.pop(1);
        Err(text)
    }

    /// Bytes that the interpreter holds.
    pub(crate) fn used_bytes(&self) -> usize {
        self.shared.used.get()
    }

    /// Fails if so many bytes more are more than the interpreter may hold.
    pub(crate) fn check_room(&self, bytes: usize) -> Result<(), Raise> {
        if self.shared.is_full(bytes) { Err(Raise::Memory) } else { Ok(()) }
    }

    /// Counts steps; now and then the host decides whether the script may go on.
    #[inline]
    pub(crate) fn charge(&mut self, steps: usize) -> Result<(), Raise> {
        let left = self.shared.steps_left.get() - i64::try_from(steps).unwrap_or(i64::MAX);
        self.shared.steps_left.set(left);
        if left > 0 {
            return Ok(());
        }
        self.ask_host()
    }

    /// Fails if the host ends the script.
    pub(crate) fn ask_host(&mut self) -> Result<(), Raise> {
        match ask_host(self.shared) {
            None => Ok(()),
            Some(text) => Err(Raise::Ended(text)),
        }
    }

    /// What the script needs from its shard.
    /// Pauses the run until it is resumed.
    ///
    /// # Errors
    /// If it was ended meanwhile.
    pub(crate) fn pause(&mut self) -> Result<(), Raise> {
        self.shared.pause();
        self.shared.ended.get().map_or(Ok(()), |text| Err(Raise::Ended(text)))
    }

    pub(crate) fn host(&mut self) -> Option<&mut dyn Host> {
        let host = self.shared.host.get()?;
        // SAFETY: the host was borrowed for the run under way, and only one function of ours uses it at a
        // time: none calls Lua while it holds this.
        Some(unsafe { &mut *host })
    }
}

/// # Safety
/// There is a string at the position, and it stays as long as the result is used.
unsafe fn bytes_at<'b>(lua: *mut ffi::lua_State, at: c_int) -> &'b [u8] {
    let mut len = 0;
    // SAFETY: a string's bytes are at one address for its life.
    unsafe {
        let start = ffi::lua_tolstring(lua, at, &raw mut len);
        std::slice::from_raw_parts(start.cast(), len)
    }
}

/// `table[key]` as a function.
unsafe extern "C-unwind" fn get_any(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: it is called with two arguments; no frame of ours has anything to drop.
    unsafe { ffi::lua_gettable_(lua, 1) };
    1
}

/// Lua's `next`. It raises for a key that is none, and nothing here has anything to drop.
unsafe extern "C-unwind" fn next_field(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: Lua calls it with room for 20 values; the first is a table once that is checked.
    unsafe {
        ffi::luaL_checktype(lua, 1, ffi::LUA_TTABLE);
        ffi::lua_settop(lua, 2);
        if push_protected(lua, 1) {
            ffi::lua_replace(lua, 1);
        }
        if ffi::lua_next(lua, 1) != 0 {
            return 2;
        }
        ffi::lua_pushnil(lua);
    }
    1
}

/// `<` as a function: metamethods and errors within it are caught by whoever calls it.
unsafe extern "C-unwind" fn compare(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: it is called with two arguments; no frame of ours has anything to drop.
    unsafe {
        let less = ffi::lua_lessthan(lua, 1, 2);
        ffi::lua_pushboolean(lua, less);
    }
    1
}

impl Stack<'_> {
    /// The state that this stack belongs to.
    pub(super) fn raw(&self) -> *mut ffi::lua_State {
        self.lua
    }
}
