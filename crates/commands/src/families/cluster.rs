//! Cluster: commands of cluster clients. Without a cluster all of them fail, as in Redis.

use crate::command::{Categories, Command, EngineCommand, Flags, Group, Run};

pub(crate) const COMMANDS: &[Command] = &[ASKING, READONLY, READWRITE];

const ROW: Command = Command {
    group: Group::Cluster,
    since: "3.0.0",
    also: Categories::CONNECTION,
    arity: 1,
    flags: Flags::FAST,
    ..Command::ROW
};

const ASKING: Command = Command {
    name: "asking",
    summary: "Lets the next command access a slot that is being imported into this node.",
    run: Run::Engine(EngineCommand::Asking),
    shows: r#"> ASKING
(error) ERR This instance has cluster support disabled
"#,
    ..ROW
};

const READONLY: Command = Command {
    name: "readonly",
    summary: "Lets this connection read from a replica in a cluster.",
    flags: Flags::FAST.or(Flags::LOADING).or(Flags::STALE),
    run: Run::Engine(EngineCommand::ReadOnly),
    shows: r#"# Valkey 9 says OK to it without a cluster, too.
@only ours redis7 redis8
> READONLY
(error) ERR This instance has cluster support disabled
"#,
    ..ROW
};

const READWRITE: Command = Command {
    name: "readwrite",
    summary: "Undoes READONLY for this connection.",
    flags: Flags::FAST.or(Flags::LOADING).or(Flags::STALE),
    run: Run::Engine(EngineCommand::ReadWrite),
    shows: r#"@only ours redis7 redis8
> READWRITE
(error) ERR This instance has cluster support disabled
"#,
    ..ROW
};
