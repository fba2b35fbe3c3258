//! The interpreter's C interface, behind types that cannot be misused: the only unsafe code of this crate.
//!
//! Lua raises an error by a long jump, which would skip what Rust frames have to drop. So a function of
//! ours runs between [`functions`]' entry, which raises only after all is dropped, and calls of Lua that
//! cannot raise: while it runs, the allocator refuses nothing ([`memory`]), the limit is checked by what
//! pushes values, and Lua functions are only called protected.
//!
//! A run has a native stack of its own (a stackful coroutine): Lua 5.1 can't yield across `pcall`, metamethods and
//! callbacks, but that can be left and entered again anywhere.

mod functions;
mod memory;
mod stack;
mod state;

pub(crate) use functions::{Native, Raise, Returned};
pub(crate) use stack::{Kind, Stack};
pub use state::NoStack;
pub(crate) use state::{Lua, Outcome, Reference};
