//! Commands: the command table, the parameter table, arguments and all handlers.
//!
//! A handler is a plain function on the shard that owns its keys ([`Call`]); what concerns sessions or
//! several shards is a [`Verb`] that the engine runs. Facts of a command stand in its row and nowhere
//! else.
//!
//! Not here: threads, sessions, routing (`engine`), how data lies in memory (`keyspace`).

mod call;
mod command;
pub mod config;
mod error;
mod families;
pub mod glob;
pub mod table;

pub use call::{Call, Outcome, ShardFn};
pub use command::{Command, Flags, Group, KeySpec, Merge, Run, Verb};
pub use error::CommandError;
