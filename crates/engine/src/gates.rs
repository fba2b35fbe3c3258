//! Gates: the named checks before a command runs, in one order.
//!
//! The order is behaviour: the first refusal is what the client sees. A gate looks at a command only
//! while it is armed, for the session or for the whole shard; so an open server pays nothing for them.

use basalt_commands::{Command, CommandError, Flags, table};

use crate::session::Session;
use crate::session::armed::Armed;
use crate::shard::Shard;

/// One check.
pub(crate) struct Gate {
    /// `None`: it looks at every command that comes here.
    armed_by: Option<Armed>,
    check: fn(&Shard, &Session, &'static Command) -> Result<(), CommandError>,
}

/// All checks, in their order.
pub(crate) const GATES: &[Gate] = &[
    Gate { armed_by: None, check: allowed_from_here },
    Gate { armed_by: Some(Armed::AUTH), check: authenticated },
    Gate { armed_by: Some(Armed::MONITOR), check: only_watches },
];

/// Asks the gates that are armed. Commands that are [`Flags::PROTECTED`] always come here.
#[cold]
pub(crate) fn check(
    armed: Armed,
    shard: &Shard,
    session: &Session,
    command: &'static Command,
) -> Result<(), CommandError> {
    let is_armed = |gate: &&Gate| gate.armed_by.is_none_or(|by| armed.has(by));
    for gate in GATES.iter().filter(is_armed) {
        (gate.check)(shard, session, command)?;
    }
    Ok(())
}

fn allowed_from_here(
    shard: &Shard,
    session: &Session,
    command: &'static Command,
) -> Result<(), CommandError> {
    let of_modules = command.name.starts_with("module|");
    let config = &shard.config;
    let allowed =
        if of_modules { config.enable_module_command } else { config.enable_debug_command };
    if !command.flags.has(Flags::PROTECTED) || allowed.permits(session.is_local()) {
        return Ok(());
    }
    let (name, option) = if of_modules { ("MODULE", "module") } else { ("DEBUG", "debug") };
    Err(CommandError::new(format!(
        "ERR {name} command not allowed. If the enable-{option}-command option is set to \"local\", you \
         can run it from a local connection, otherwise you need to set this option in the \
         configuration file, and then restart the server."
    )))
}

fn authenticated(
    _: &Shard,
    session: &Session,
    command: &'static Command,
) -> Result<(), CommandError> {
    if !session.armed.has(Armed::AUTH) || command.flags.has(Flags::NO_AUTH) {
        return Ok(());
    }
    Err(NO_AUTH)
}

const NO_AUTH: CommandError = CommandError::text("NOAUTH Authentication required.");

/// What a session is told in place of what is wrong with its request: who has not logged in does not
/// learn which commands there are, as in Valkey.
#[cold]
pub(crate) fn hides_what_is_wrong(session: &Session, name: &[u8]) -> Option<CommandError> {
    let is_for_login = || table::find(name).is_some_and(|row| row.flags.has(Flags::NO_AUTH));
    (session.armed.has(Armed::AUTH) && !is_for_login()).then_some(NO_AUTH)
}

/// Who watches does nothing else with keys.
fn only_watches(
    _: &Shard,
    session: &Session,
    command: &'static Command,
) -> Result<(), CommandError> {
    let of_keys = Flags::WRITE.or(Flags::READONLY).or(Flags::MAY_REPLICATE);
    if !session.is_monitor || !command.flags.has(of_keys) {
        return Ok(());
    }
    Err(CommandError::text("ERR Replica can't interact with the keyspace"))
}
