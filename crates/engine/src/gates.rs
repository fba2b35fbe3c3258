//! Gates: all that may come between a request and its command, in one table and one order.
//!
//! The order is behaviour: what the first gate decides that does not let the command pass is done. A gate looks at a
//! command only while its bit is armed, for the session, the shard or the command; so an open server pays nothing
//! for them.
//!
//! Not here: what is done with a verdict (`core/dispatch.rs`).

mod scripts;

use basalt_commands::{Command, CommandError, EngineCommand, Flags, Run, table};

use crate::input::keys::KeyHash;
use crate::session::Session;
use crate::session::armed::Armed;
use crate::shard::Shard;
use scripts::has_no_script_in_its_way;

/// What a gate may look at.
pub(crate) struct GateInput<'a> {
    pub shard: &'a Shard,
    pub session: &'a Session,
    pub command: &'static Command,
    pub args: &'a [&'a [u8]],
    /// All keys of the command, in the order of its key specifications, with their slots and shards.
    pub keys: &'a [KeyHash],
}

/// What a gate decides about a command.
#[derive(Debug)]
pub(crate) enum Verdict {
    Pass,
    Refuse(CommandError),
    /// It waits, with all that its session sent behind it.
    Wait,
    /// It is queued, or runs at once, between MULTI and EXEC.
    Queue,
    /// It runs, and the keys that it reads are noted with their shards.
    Track,
    /// It runs, and is shown to monitors.
    Show,
}

/// One gate.
pub(crate) struct Gate {
    #[cfg_attr(not(test), expect(dead_code, reason = "for tests, and those who read the table"))]
    pub name: &'static str,
    /// What arms it.
    pub bit: Armed,
    /// Whether sessions for which it is armed keep the fast path. Then that does what the gate asks for.
    pub keeps_fast_path: bool,
    check: fn(&GateInput<'_>) -> Verdict,
}

/// All gates, in their order.
pub(crate) const GATES: &[Gate] = &[
    gate("protected", Armed::PROTECTED, may_be_called_from_here),
    gate("auth", Armed::AUTH, is_authenticated),
    gate("monitor", Armed::MONITOR, only_monitors),
    gate("subscribed", Armed::SUBSCRIBED, only_subscribes),
    gate("loading", Armed::LOADING, is_loaded),
    Gate { keeps_fast_path: true, ..gate("script", Armed::SCRIPT, has_no_script_in_its_way) },
    gate("pause", Armed::PAUSE, is_not_paused),
    gate("disk", Armed::DISK, is_journaled),
    gate("multi", Armed::MULTI, |_| Verdict::Queue),
    Gate { keeps_fast_path: true, ..gate("tracking", Armed::TRACKING, |_| Verdict::Track) },
    Gate { keeps_fast_path: true, ..gate("observed", Armed::OBSERVED, |_| Verdict::Show) },
];

/// Those that end the fast path of a session for which they are armed.
pub(crate) const ENDS_FAST_PATH: Armed = {
    let (mut all, mut at) = (Armed(0), 0);
    while at < GATES.len() {
        if !GATES[at].keeps_fast_path {
            all = all.or(GATES[at].bit);
        }
        at += 1;
    }
    all
};

const fn gate(name: &'static str, bit: Armed, check: fn(&GateInput<'_>) -> Verdict) -> Gate {
    Gate { name, bit, keeps_fast_path: false, check }
}

/// The gates that look at a session's command.
#[inline]
pub(crate) fn armed_for(shard: &Shard, session: &Session, command: &Command) -> Armed {
    let mut armed = session.armed.or(shard.armed);
    if command.flags.has(Flags::PROTECTED) {
        armed = armed.or(Armed::PROTECTED);
    }
    armed
}

/// Asks the armed gates in their order, until one does not let the command pass.
#[cold]
pub(crate) fn check(armed: Armed, input: &GateInput<'_>) -> Verdict {
    for gate in GATES.iter().filter(|gate| armed.has(gate.bit)) {
        match (gate.check)(input) {
            Verdict::Pass => {}
            verdict => return verdict,
        }
    }
    Verdict::Pass
}

fn may_be_called_from_here(input: &GateInput<'_>) -> Verdict {
    let (command, config) = (input.command, &input.shard.config);
    let of_modules = command.name.starts_with("module|");
    let allowed =
        if of_modules { config.enable_module_command } else { config.enable_debug_command };
    if allowed.permits(input.session.is_local()) {
        return Verdict::Pass;
    }
    let (name, option) = if of_modules { ("MODULE", "module") } else { ("DEBUG", "debug") };
    Verdict::Refuse(CommandError::new(format!(
        "ERR {name} command not allowed. If the enable-{option}-command option is set to \"local\", you \
         can run it from a local connection, otherwise you need to set this option in the \
         configuration file, and then restart the server."
    )))
}

fn is_authenticated(input: &GateInput<'_>) -> Verdict {
    if input.command.flags.has(Flags::NO_AUTH) { Verdict::Pass } else { Verdict::Refuse(NO_AUTH) }
}

const NO_AUTH: CommandError = CommandError::text("NOAUTH Authentication required.");

/// The error that a session gets in place of what is wrong with its request: a client that has not logged in does not
/// learn which commands there are, as in Valkey.
#[cold]
pub(crate) fn hides_what_is_wrong(session: &Session, name: &[u8]) -> Option<CommandError> {
    let is_for_login = || table::find(name).is_some_and(|row| row.flags.has(Flags::NO_AUTH));
    (session.armed.has(Armed::AUTH) && !is_for_login()).then_some(NO_AUTH)
}

/// A subscriber in RESP2 does nothing else.
fn only_subscribes(input: &GateInput<'_>) -> Verdict {
    let is_allowed = matches!(
        input.command.run,
        Run::Engine(
            EngineCommand::Subscribe
                | EngineCommand::Unsubscribe
                | EngineCommand::PSubscribe
                | EngineCommand::PUnsubscribe
                | EngineCommand::SSubscribe
                | EngineCommand::SUnsubscribe
                | EngineCommand::Ping
                | EngineCommand::Quit
                | EngineCommand::Reset
        )
    );
    if is_allowed {
        return Verdict::Pass;
    }
    Verdict::Refuse(CommandError::new(format!(
        "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed \
         in this context",
        input.command.name
    )))
}

/// While data is loaded, what Redis' `loading` flag allows is answered, and PING, by which a client learns that
/// the server is alive; INFO tells how far it is. DEBUG is allowed but for what changes data.
fn is_loaded(input: &GateInput<'_>) -> Verdict {
    const CHANGE_DATA: [&[u8]; 4] = [b"reload", b"loadaof", b"populate", b"slot-move"];
    let GateInput { command, args, .. } = input;
    let is_allowed = match command.run {
        Run::Engine(EngineCommand::Ping) => true,
        Run::Engine(EngineCommand::Debug) => {
            !CHANGE_DATA.iter().any(|name| args[1].eq_ignore_ascii_case(name))
        }
        _ => command.flags.has(Flags::LOADING),
    };
    if is_allowed || input.session.is_loader {
        return Verdict::Pass;
    }
    Verdict::Refuse(CommandError::text("LOADING Redis is loading the dataset in memory"))
}

/// While the disk refuses, so do we: writes, EXEC of what was queued before with writes in it, and PING, so that who
/// watches hears of it. Inside MULTI a write is refused when it would be queued.
fn is_journaled(input: &GateInput<'_>) -> Verdict {
    let GateInput { command, session, shard, .. } = input;
    let queued = session.multi.as_ref().map(|multi| multi.flags);
    let writes = command.flags.has(Flags::WRITE)
        || command.name == "exec" && queued.is_some_and(|flags| flags.has(Flags::WRITE))
        || command.name == "ping";
    match shard.disk_refusal() {
        Some(error) if writes && !session.is_executing => Verdict::Refuse(error),
        _ => Verdict::Pass,
    }
}

/// A monitor does nothing else with keys.
fn only_monitors(input: &GateInput<'_>) -> Verdict {
    let of_keys = Flags::WRITE.or(Flags::READONLY).or(Flags::MAY_REPLICATE);
    if !input.command.flags.has(of_keys) {
        return Verdict::Pass;
    }
    Verdict::Refuse(CommandError::text("ERR Replica can't interact with the keyspace"))
}

fn is_not_paused(input: &GateInput<'_>) -> Verdict {
    if input.shard.holds_back(input.command) { Verdict::Wait } else { Verdict::Pass }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_has_one_named_row() {
        let mut all = Armed(0);
        for gate in GATES {
            assert_eq!(gate.bit.0.count_ones(), 1, "{} has one bit", gate.name);
            assert!(!all.has(gate.bit), "{} shares its bit", gate.name);
            all = all.or(gate.bit);
            let namesakes = GATES.iter().filter(|other| other.name == gate.name);
            assert_eq!(namesakes.count(), 1, "{} is one name", gate.name);
        }
        // Bits are given out from below, so one without a row leaves a gap here.
        let declared = include_str!("session/armed.rs").matches("pub(crate) const ").count();
        let functions = include_str!("session/armed.rs").matches("pub(crate) const fn ").count();
        assert_eq!(declared - functions, GATES.len(), "each constant has its row");
        assert_eq!(all.0.trailing_ones(), all.0.count_ones(), "{all:?}");
    }
}
