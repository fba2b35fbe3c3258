//! Server: what concerns the whole server, and how it tells about itself.

mod command;
mod config;
mod data;
mod debug;
mod process;

use crate::command::{Command, Flags, Group};

pub(crate) const COMMANDS: &[Command] = &[
    command::COMMAND,
    config::CONFIG,
    data::DBSIZE,
    debug::DEBUG,
    data::FLUSHALL,
    data::FLUSHDB,
    process::INFO,
    process::LOLWUT,
    process::SHUTDOWN,
    data::SWAPDB,
    process::TIME,
];

/// What the rows of this family have in common.
const ROW: Command = Command { group: Group::Server, ..Command::ROW };

/// Works while data is being loaded or stale.
const ALWAYS: Flags = Flags::LOADING.or(Flags::STALE);

pub use data::{FlushMode, parse_flush, parse_swapdb};
