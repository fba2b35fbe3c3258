//! Transactions: commands that are queued, and then run atomically.

use crate::argument::Argument;
use crate::command::{Categories, Command, EngineCommand, Flags, Group, KeySpec, Run};

pub(crate) const COMMANDS: &[Command] = &[DISCARD, EXEC, MULTI, UNWATCH, WATCH];

const FLAGS: Flags =
    Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::FAST).or(Flags::ALLOW_BUSY);

const ROW: Command = Command {
    group: Group::Transactions,
    also: Categories::TRANSACTION,
    arity: 1,
    flags: FLAGS,
    ..Command::ROW
};

const MULTI: Command = Command {
    name: "multi",
    since: "1.2.0",
    summary: "Starts a transaction: the commands that follow are queued until EXEC or DISCARD.",
    flags: FLAGS.or(Flags::NO_MULTI),
    run: Run::Engine(EngineCommand::Multi),
    shows: r#"> MULTI
OK
> INCR visits
QUEUED
> SET name eins
QUEUED
> EXEC
1) (integer) 1
2) OK
"#,
    ..ROW
};

const EXEC: Command = Command {
    name: "exec",
    since: "1.2.0",
    summary: "Runs the queued commands as one transaction, unless a watched key changed.",
    complexity: "That of the queued commands",
    flags: Flags::NOSCRIPT.or(Flags::LOADING).or(Flags::STALE).or(Flags::SKIP_SLOWLOG),
    run: Run::Engine(EngineCommand::Exec),
    shows: r#"> EXEC
(error) ERR EXEC without MULTI
> MULTI
OK
> SET word eins
QUEUED
> INCR word
QUEUED
> GET word
QUEUED
> EXEC
1) OK
2) (error) ERR value is not an integer or out of range
3) "eins"
> MULTI
OK
> GET
(error) ERR wrong number of arguments for 'get' command
> EXEC
(error) EXECABORT Transaction discarded because of previous errors.
"#,
    ..ROW
};

const DISCARD: Command = Command {
    name: "discard",
    since: "2.0.0",
    summary: "Discards the queued commands, and unwatches all keys.",
    complexity: "O(N) for N queued commands",
    run: Run::Engine(EngineCommand::Discard),
    shows: r#"> DISCARD
(error) ERR DISCARD without MULTI
> MULTI
OK
> SET name eins
QUEUED
> DISCARD
OK
> GET name
(nil)
"#,
    ..ROW
};

const WATCH: Command = Command {
    name: "watch",
    since: "2.2.0",
    summary: "Watches keys: the next EXEC does nothing if one of them changes before it.",
    complexity: "O(1) for every key",
    arity: -2,
    flags: FLAGS.or(Flags::NO_MULTI),
    keys: &[KeySpec::all(1, &["RO"])],
    arguments: &[Argument::KEYS],
    run: Run::Engine(EngineCommand::Watch),
    shows: r#"> WATCH balance
OK
> SET balance 5
OK
> MULTI
OK
> INCRBY balance 10
QUEUED
> EXEC
(nil)
> GET balance
"5"
"#,
    ..ROW
};

const UNWATCH: Command = Command {
    name: "unwatch",
    since: "2.2.0",
    summary: "Unwatches all keys.",
    run: Run::Engine(EngineCommand::Unwatch),
    shows: r#"> WATCH balance
OK
> SET balance 5
OK
> UNWATCH
OK
> MULTI
OK
> INCR balance
QUEUED
> EXEC
1) (integer) 6
"#,
    ..ROW
};
