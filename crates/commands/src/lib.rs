//! Commands: the command table, the parameter table, arguments and all handlers.
//!
//! A handler is a plain function on the shard that owns its keys ([`Call`]); a command over several
//! keys says what it reads, decides and writes ([`ManyKeys`]); commands about sessions or the whole
//! server are [`EngineCommand`]s that the engine runs. The properties of a command are in its row and nowhere
//! else.
//!
//! Not here: threads, sessions, routing (`engine`), the storage of data (`keyspace`).

mod args;
mod argument;
mod call;
mod command;
pub mod config;
pub mod docs;
mod error;
mod families;
pub mod glob;
mod many_keys;
mod memory;
mod reference;
pub mod requests;
pub mod table;

pub use argument::{Argument, ArgumentKind};
pub use call::{Call, Outcome, ShardFn};
pub use command::{
    Access, Categories, Command, Deprecated, EngineCommand, Flags, Group, KeySpec, Merge, Run,
    VaryingAccess,
};
pub use error::CommandError;
pub use many_keys::{
    Blocking, Decided, Decision, KeyRead, KeysHere, Left, ManyKeys, Move, Remembered, Repeats,
    Request, Round, RoundKey, Rounds, Settings, State, Wait, WaitsFor, Write, key_positions,
};
pub use memory::{check_memory, copied};
pub use reference::reference;
