//! MODULE: there are no modules, and none can be loaded.

use super::{ALWAYS, ROW};
use crate::argument::Argument;
use crate::command::{Command, EngineCommand, Flags, Run};

pub(super) const MODULE: Command = Command {
    name: "module",
    since: "4.0.0",
    summary: "A container for commands about modules, of which there are none.",
    complexity: "That of the subcommand",
    arity: -2,
    run: Run::Container,
    subcommands: &[HELP, LIST, LOAD, LOADEX, UNLOAD],
    shows: r#"> MODULE nonsense
(error) ERR unknown subcommand 'nonsense'. Try MODULE HELP.
> MODULE
(error) ERR wrong number of arguments for 'module' command
"#,
    ..ROW
};

const MODULE_ROW: Command = Command { since: "4.0.0", ..ROW };

const HELP: Command = Command {
    name: "module|help",
    since: "5.0.0",
    summary: "Lists the subcommands.",
    arity: 2,
    flags: ALWAYS,
    run: Run::Engine(EngineCommand::ModuleHelp),
    shows: r#"> MODULE HELP
<any text>1) MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..MODULE_ROW
};

const LIST: Command = Command {
    name: "module|list",
    summary: "Returns the loaded modules: none.",
    arity: 2,
    flags: Flags::ADMIN.or(Flags::NOSCRIPT),
    tips: &["nondeterministic_output_order"],
    run: Run::Engine(EngineCommand::ModuleList),
    shows: r#"@only ours redis7
> MODULE LIST
(empty array)
"#,
    ..MODULE_ROW
};

const LOADS: Flags =
    Flags::ADMIN.or(Flags::NO_ASYNC_LOADING).or(Flags::NOSCRIPT).or(Flags::PROTECTED);

const LOAD: Command = Command {
    name: "module|load",
    summary: "Refuses to load a module.",
    arity: -3,
    flags: LOADS,
    arguments: &[Argument::string("path"), Argument::string("arg").multiple().optional()],
    run: Run::Engine(EngineCommand::ModuleLoad),
    shows: REFUSED,
    ..MODULE_ROW
};

const REFUSED: &str = r#"> MODULE LOAD /no/such/module
(error) ERR MODULE command not allowed. If the enable-module-command option is set to "local", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.
> MODULE LOADEX /no/such/module
(error) ERR MODULE command not allowed. If the enable-module-command option is set to "local", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.
> MODULE UNLOAD nosuch
(error) ERR MODULE command not allowed. If the enable-module-command option is set to "local", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.
"#;

const LOADEX: Command = Command {
    name: "module|loadex",
    since: "7.0.0",
    summary: "Refuses to load a module.",
    arity: -3,
    flags: LOADS,
    arguments: &[
        Argument::string("path"),
        Argument::block("configs", &[Argument::string("name"), Argument::string("value")])
            .after("CONFIG")
            .repeating_token()
            .optional(),
        Argument::string("args").after("ARGS").multiple().optional(),
    ],
    run: Run::Engine(EngineCommand::ModuleLoadEx),
    shows: REFUSED,
    ..MODULE_ROW
};

const UNLOAD: Command = Command {
    name: "module|unload",
    summary: "Refuses to unload a module, since there is none.",
    arity: 3,
    flags: LOADS,
    arguments: &[Argument::string("name")],
    run: Run::Engine(EngineCommand::ModuleUnload),
    shows: REFUSED,
    ..MODULE_ROW
};
