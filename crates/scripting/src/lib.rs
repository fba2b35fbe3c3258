//! Scripting: Lua 5.1 as Redis has it, for one shard.
//!
//! ```text
//!   EVAL, FCALL ──► Interpreter ──► script ── redis.call ──► Host::call ──► the shard's handlers
//!                       │             │  ◄── reply as Lua values ──┘
//!                       │             └─ find, sort, cjson … count steps ──► Host::interrupt
//!                       └──► reply of the session's protocol
//! ```
//!
//! A run has a native stack of its own, so that it can be paused wherever the script is: in `pcall`, a callback of
//! `sort`, a metamethod.
//!
//! An interpreter has no clock, no file, no socket and no thread; what it needs is a [`Host`]. Scripts
//! cannot change what the next script finds: globals and libraries are protected.

mod host;
mod interpreter;
mod library;
mod limits;
mod lua;
mod reply;
mod shebang;

pub use host::{Called, Host, Interrupt, LogLevel};
pub use interpreter::{Failure, Function, Interpreter, NoStack, Progress, Script, script_sha};
pub use shebang::{LibraryLine, ScriptFlags, Shebang, ShebangError};
