//! WAIT and WAITAOF: wait for replicas and for the append-only file.

use super::ROW;
use crate::args::integer;
use crate::argument::Argument;
use crate::command::{Categories, Command, EngineCommand, Flags, Run};
use crate::error::CommandError;

/// The common part of both rows.
const WAITS: Command = Command {
    also: Categories::CONNECTION,
    flags: Flags::BLOCKING,
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    ..ROW
};

pub(super) const WAIT: Command = Command {
    name: "wait",
    since: "3.0.0",
    summary: "Waits until a number of replicas have this connection's writes, and returns how many have them.",
    arity: 3,
    arguments: &[Argument::integer("numreplicas"), Argument::integer("timeout")],
    run: Run::Engine(EngineCommand::Wait),
    shows: r#"> WAIT 0 0
(integer) 0
> WAIT 0 -1
(error) ERR timeout is negative
> WAIT 0 soon
(error) ERR timeout is not an integer or out of range
> WAIT some 0
(error) ERR value is not an integer or out of range
"#,
    ..WAITS
};

pub(super) const WAITAOF: Command = Command {
    name: "waitaof",
    since: "7.2.0",
    summary: "Waits until this connection's writes are in the append-only file, locally and on a number of replicas.",
    arity: 4,
    arguments: &[
        Argument::integer("numlocal"),
        Argument::integer("numreplicas"),
        Argument::integer("timeout"),
    ],
    run: Run::Engine(EngineCommand::WaitAof),
    shows: r#"@only ours valkey9 redis8
> WAITAOF 0 0 0
1) (integer) 0
2) (integer) 0
> WAITAOF 1 0 0
(error) ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.
> WAITAOF 2 0 0
(error) ERR value is out of range, value must between 0 and 1
> WAITAOF 0 -1 0
(error) ERR value is out of range, must be positive
> WAITAOF 0 0 -1
(error) ERR timeout is negative
"#,
    ..WAITS
};

/// A parsed WAIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitRequest {
    pub replicas: i64,
    /// 0: forever.
    pub timeout_ms: u64,
}

/// A parsed WAITAOF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitAofRequest {
    /// Whether this server's own append-only file counts.
    pub local: bool,
    pub replicas: i64,
    /// 0: forever.
    pub timeout_ms: u64,
}

/// Parses WAIT's arguments.
pub fn parse_wait(args: &[&[u8]]) -> Result<WaitRequest, CommandError> {
    let replicas = integer(args[1])?;
    Ok(WaitRequest { replicas, timeout_ms: milliseconds(args[2])? })
}

/// Parses WAITAOF's arguments.
pub fn parse_waitaof(args: &[&[u8]]) -> Result<WaitAofRequest, CommandError> {
    let local = match integer(args[1])? {
        0 => false,
        1 => true,
        _ => {
            return Err(CommandError::text(
                "ERR value is out of range, value must between 0 and 1",
            ));
        }
    };
    let replicas = integer(args[2]).ok().filter(|count| *count >= 0);
    let replicas =
        replicas.ok_or(CommandError::text("ERR value is out of range, must be positive"))?;
    Ok(WaitAofRequest { local, replicas, timeout_ms: milliseconds(args[3])? })
}

fn milliseconds(text: &[u8]) -> Result<u64, CommandError> {
    let ms = integer(text)
        .map_err(|_| CommandError::text("ERR timeout is not an integer or out of range"))?;
    u64::try_from(ms).map_err(|_| CommandError::text("ERR timeout is negative"))
}
