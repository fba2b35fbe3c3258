//! COMMAND: the command table as replies, which `docs` writes.

use super::{ALWAYS, ROW};
use crate::argument::Argument;
use crate::command::{Categories, Command, EngineCommand, Run};

const COMMAND_ROW: Command = Command { flags: ALWAYS, also: Categories::CONNECTION, ..ROW };

pub(super) const COMMAND: Command = Command {
    name: "command",
    since: "2.8.13",
    summary: "Returns the properties of all commands.",
    complexity: "O(N) for N commands",
    arity: -1,
    tips: &["nondeterministic_output_order"],
    run: Run::Engine(EngineCommand::Command),
    subcommands: &[COUNT, DOCS, GETKEYS, GETKEYSANDFLAGS, HELP, INFO, LIST],
    shows: r#"> COMMAND NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try COMMAND HELP.
"#,
    ..COMMAND_ROW
};

const COUNT: Command = Command {
    name: "command|count",
    since: "2.8.13",
    summary: "Returns the number of commands.",
    arity: 2,
    run: Run::Engine(EngineCommand::CommandCount),
    shows: r#"> COMMAND COUNT
(integer) <any integer>
"#,
    ..COMMAND_ROW
};

const DOCS: Command = Command {
    name: "command|docs",
    since: "7.0.0",
    summary: "Returns the documentation of commands: summaries and arguments.",
    complexity: "O(N) for N commands",
    arity: -2,
    tips: &["nondeterministic_output_order"],
    arguments: &[Argument::string("command-name").multiple().optional()],
    run: Run::Engine(EngineCommand::CommandDocs),
    shows: r#"@resp 2
> COMMAND DOCS nonsense
(empty array)
> COMMAND DOCS ping
1) "ping"
2)  1) "summary"
    2) "<any text>"
    3) "since"
    4) "1.0.0"
    5) "group"
    6) "connection"
    7) "complexity"
    8) "O(1)"
    9) "arguments"
<any lines>
"#,
    ..COMMAND_ROW
};

const GETKEYS: Command = Command {
    name: "command|getkeys",
    since: "2.8.13",
    summary: "Returns the keys among the arguments of a command.",
    complexity: "O(N) for N arguments",
    arity: -3,
    arguments: &[Argument::string("command"), Argument::string("arg").multiple().optional()],
    run: Run::Engine(EngineCommand::CommandGetKeys),
    shows: r#"> COMMAND GETKEYS MSET a 1 b 2
1) "a"
2) "b"
> COMMAND GETKEYS NONSENSE a
(error) ERR Invalid command specified
@only ours valkey9 redis8
> COMMAND GETKEYS PING
(error) ERR The command has no key arguments
> COMMAND GETKEYS GET
(error) ERR Invalid number of arguments specified for command
"#,
    ..COMMAND_ROW
};

const GETKEYSANDFLAGS: Command = Command {
    name: "command|getkeysandflags",
    since: "7.0.0",
    summary: "Returns the keys among the arguments of a command, with the kinds of access.",
    complexity: "O(N) for N arguments",
    arity: -3,
    arguments: &[Argument::string("command"), Argument::string("arg").multiple().optional()],
    run: Run::Engine(EngineCommand::CommandGetKeysAndFlags),
    shows: r#"@resp 2
> COMMAND GETKEYSANDFLAGS RENAME old new
1) 1) "old"
   2) 1) RW
      2) access
      3) delete
2) 1) "new"
   2) 1) OW
      2) update
"#,
    ..COMMAND_ROW
};

const HELP: Command = Command {
    name: "command|help",
    since: "5.0.0",
    summary: "Lists the subcommands.",
    arity: 2,
    run: Run::Engine(EngineCommand::CommandHelp),
    shows: r#"> COMMAND HELP
<any text>1) COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..COMMAND_ROW
};

const INFO: Command = Command {
    name: "command|info",
    since: "2.8.13",
    summary: "Returns the properties of some commands, or of all.",
    complexity: "O(N) for N commands",
    arity: -2,
    tips: &["nondeterministic_output_order"],
    arguments: &[Argument::string("command-name").multiple().optional()],
    run: Run::Engine(EngineCommand::CommandInfo),
    shows: r#"@resp 2
> COMMAND INFO nonsense strlen
1) (nil)
2)  1) "strlen"
    2) (integer) 2
    3) 1) readonly
       2) fast
    4) (integer) 1
    5) (integer) 1
    6) (integer) 1
    7) 1) @read
       2) @string
       3) @fast
    8) (empty array)
<any lines>
"#,
    ..COMMAND_ROW
};

const LIST: Command = Command {
    name: "command|list",
    since: "7.0.0",
    summary: "Returns the names of commands: all, those in an ACL category, or those that match a pattern.",
    complexity: "O(N) for N commands",
    arity: -2,
    tips: &["nondeterministic_output_order"],
    arguments: &[Argument::one_of(
        "filterby",
        &[
            Argument::string("module-name").after("MODULE"),
            Argument::string("category").after("ACLCAT"),
            Argument::pattern("pattern").after("PATTERN"),
        ],
    )
    .after("FILTERBY")
    .optional()],
    run: Run::Engine(EngineCommand::CommandList),
    shows: r#"@sorted
> COMMAND LIST FILTERBY PATTERN expire*
1) "expire"
2) "expireat"
3) "expiretime"
> COMMAND LIST FILTERBY MODULE none
(empty array)
> COMMAND LIST FILTERBY ACLCAT nonsense
(empty array)
> COMMAND LIST FILTERBY NAME get
(error) ERR syntax error
"#,
    ..COMMAND_ROW
};
