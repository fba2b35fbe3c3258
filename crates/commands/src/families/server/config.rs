//! CONFIG: reads and changes parameters at run time; see `crate::config`.

use super::{ALWAYS, ROW};
use crate::argument::Argument;
use crate::command::{Command, EngineCommand, Flags, Run};
use crate::error::CommandError;

const CONFIG_ROW: Command = Command { flags: ALWAYS.or(Flags::ADMIN).or(Flags::NOSCRIPT), ..ROW };

pub(super) const CONFIG: Command = Command {
    name: "config",
    since: "2.0.0",
    summary: "A container for commands about parameters.",
    complexity: "That of the subcommand",
    arity: -2,
    subcommands: &[GET, HELP, RESETSTAT, REWRITE, SET],
    shows: r#"> CONFIG NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try CONFIG HELP.
"#,
    ..ROW
};

const GET: Command = Command {
    name: "config|get",
    since: "2.0.0",
    summary: "Returns the values of the parameters that match any of the patterns.",
    complexity: "O(N) for N parameters",
    arity: -3,
    arguments: &[Argument::string("parameter").multiple()],
    run: Run::Engine(EngineCommand::ConfigGet),
    shows: r#"@resp 2
> CONFIG GET maxclients
1) "maxclients"
2) "10000"
> CONFIG GET hash-max-listpack-e*
1) "hash-max-listpack-entries"
2) "512"
> CONFIG GET nonsense
(empty array)
"#,
    ..CONFIG_ROW
};

const HELP: Command = Command {
    name: "config|help",
    since: "5.0.0",
    summary: "Lists the subcommands.",
    arity: 2,
    flags: ALWAYS,
    run: Run::Engine(EngineCommand::ConfigHelp),
    shows: r#"> CONFIG HELP
<any text>1) CONFIG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..ROW
};

const RESETSTAT: Command = Command {
    name: "config|resetstat",
    since: "2.0.0",
    summary: "Sets the counters that INFO shows to zero.",
    arity: 2,
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: Run::Engine(EngineCommand::ConfigResetStat),
    shows: r#"> CONFIG RESETSTAT
OK
"#,
    ..CONFIG_ROW
};

const REWRITE: Command = Command {
    name: "config|rewrite",
    since: "2.8.0",
    summary: "Writes the current parameters to the configuration file.",
    arity: 2,
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: Run::Engine(EngineCommand::ConfigRewrite),
    shows: r#"> CONFIG REWRITE
(error) ERR The server is running without a config file
"#,
    ..CONFIG_ROW
};

const SET: Command = Command {
    name: "config|set",
    since: "2.0.0",
    summary: "Sets parameters: all of them, or none if one cannot be set.",
    complexity: "O(N) for N parameters",
    arity: -4,
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    arguments: &[Argument::block(
        "data",
        &[Argument::string("parameter"), Argument::string("value")],
    )
    .multiple()],
    run: Run::Engine(EngineCommand::ConfigSet),
    shows: r#"@resp 2
> CONFIG SET timeout 100
OK
> CONFIG GET timeout
1) "timeout"
2) "100"
> CONFIG SET timeout 0 nonsense 1
(error) ERR Unknown option or number of arguments for CONFIG SET - 'nonsense'
> CONFIG GET timeout
1) "timeout"
2) "100"
> CONFIG SET timeout 0
OK
"#,
    ..CONFIG_ROW
};

/// A parameter's name, and its new value.
pub type Setting<'a> = (&'a [u8], &'a [u8]);

/// Parses CONFIG SET's arguments: names and values.
pub fn parse_config_set<'a>(args: &'a [&'a [u8]]) -> Result<Vec<Setting<'a>>, CommandError> {
    let (pairs, rest) = args[2..].as_chunks::<2>();
    if !rest.is_empty() {
        return Err(CommandError::SYNTAX);
    }
    Ok(pairs.iter().map(|&[name, value]| (name, value)).collect())
}
