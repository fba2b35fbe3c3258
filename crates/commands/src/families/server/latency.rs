//! LATENCY: the durations of commands, and slow events.

use super::{ALWAYS, ROW};
use crate::argument::Argument;
use crate::command::{Command, EngineCommand, Flags, Run};

const LATENCY_ROW: Command = Command {
    since: "2.8.13",
    arity: 2,
    flags: ALWAYS.or(Flags::ADMIN).or(Flags::NOSCRIPT),
    tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
    ..ROW
};

pub(super) const LATENCY: Command = Command {
    name: "latency",
    since: "2.8.13",
    summary: "A container for commands about latency: slow events, and the durations of commands.",
    complexity: "That of the subcommand",
    arity: -2,
    subcommands: &[DOCTOR, GRAPH, HELP, HISTOGRAM, HISTORY, LATEST, RESET],
    shows: r#"> LATENCY NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try LATENCY HELP.
"#,
    ..ROW
};

const DOCTOR: Command = Command {
    name: "latency|doctor",
    summary: "Returns a report in prose about slow events and their causes.",
    run: Run::Engine(EngineCommand::LatencyDoctor),
    shows: r#"> LATENCY DOCTOR
<any text>
<any lines>
"#,
    ..LATENCY_ROW
};

const GRAPH: Command = Command {
    name: "latency|graph",
    summary: "Draws the samples of an event.",
    arity: 3,
    arguments: &[Argument::string("event")],
    run: Run::Engine(EngineCommand::LatencyGraph),
    shows: r#"> LATENCY GRAPH command
(error) ERR No samples available for event 'command'
"#,
    ..LATENCY_ROW
};

const HELP: Command = Command {
    name: "latency|help",
    summary: "Lists the subcommands.",
    flags: ALWAYS,
    tips: &[],
    run: Run::Engine(EngineCommand::LatencyHelp),
    shows: r#"> LATENCY HELP
<any text>1) LATENCY <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..LATENCY_ROW
};

const HISTOGRAM: Command = Command {
    name: "latency|histogram",
    since: "7.0.0",
    summary: "Returns the cumulative distributions of the durations of commands.",
    complexity: "O(N) for N commands told",
    arity: -2,
    arguments: &[Argument::string("command").optional().multiple()],
    run: Run::Engine(EngineCommand::LatencyHistogram),
    shows: r#"@resp 2
> LATENCY HISTOGRAM nonsense
(empty array)
"#,
    ..LATENCY_ROW
};

const HISTORY: Command = Command {
    name: "latency|history",
    summary: "Returns the samples of an event: Unix seconds and milliseconds of latency.",
    arity: 3,
    arguments: &[Argument::string("event")],
    run: Run::Engine(EngineCommand::LatencyHistory),
    shows: r#"> LATENCY HISTORY command
(empty array)
"#,
    ..LATENCY_ROW
};

const LATEST: Command = Command {
    name: "latency|latest",
    summary: "Returns the latest and the longest sample of each event.",
    run: Run::Engine(EngineCommand::LatencyLatest),
    shows: r#"> LATENCY LATEST
(empty array)
"#,
    ..LATENCY_ROW
};

const RESET: Command = Command {
    name: "latency|reset",
    summary: "Removes the samples of some events, or of all.",
    arity: -2,
    tips: &["request_policy:all_nodes", "response_policy:agg_sum"],
    arguments: &[Argument::string("event").optional().multiple()],
    run: Run::Engine(EngineCommand::LatencyReset),
    shows: r#"> LATENCY RESET command nonsense
(integer) 0
"#,
    ..LATENCY_ROW
};
