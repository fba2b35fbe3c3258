//! Commands: the command table, the parameter table, arguments and all handlers.
//!
//! A handler is a plain function on the shard that owns its keys ([`Call`]); what concerns sessions or
//! several shards is a [`Verb`] that the engine runs. Facts of a command stand in its row and nowhere
//! else.
//!
//! Not here: threads, sessions, routing (`engine`), how data lies in memory (`keyspace`).

mod args;
mod argument;
mod call;
mod command;
pub mod config;
pub mod docs;
mod error;
mod families;
pub mod glob;
mod memory;
mod reference;
pub mod requests;
pub mod table;

pub use argument::{Argument, ArgumentKind};
pub use call::{Call, Outcome, ShardFn};
pub use command::{
    Access, Categories, Command, Deprecated, Flags, Group, KeySpec, Merge, Run, VaryingAccess, Verb,
};
pub use error::CommandError;
pub use memory::{check_memory, copied};
pub use reference::reference;
