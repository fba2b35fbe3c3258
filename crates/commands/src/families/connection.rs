//! Connections: what concerns the session that asks.

mod client;
mod session;

use crate::command::{Categories, Command, Flags, Group};

pub(crate) const COMMANDS: &[Command] = &[
    session::AUTH,
    client::CLIENT,
    session::ECHO,
    session::HELLO,
    session::PING,
    session::QUIT,
    session::RESET,
    session::SELECT,
];

/// What the rows of this family have in common.
const ROW: Command =
    Command { group: Group::Connection, also: Categories::CONNECTION, ..Command::ROW };

/// Works while data is being loaded or stale.
const ALWAYS: Flags = Flags::LOADING.or(Flags::STALE);
