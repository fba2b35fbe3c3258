//! ACL: there is one user, `default`.

use super::{ALWAYS, ROW};
use crate::command::{Command, EngineCommand, Flags, Run};

pub(super) const ACL: Command = Command {
    name: "acl",
    since: "6.0.0",
    summary: "A container for commands about users; there is only the user `default`.",
    complexity: "That of the subcommand",
    arity: -2,
    run: Run::Container,
    subcommands: &[HELP, WHOAMI],
    shows: r#"> ACL nonsense
(error) ERR unknown subcommand 'nonsense'. Try ACL HELP.
> ACL
(error) ERR wrong number of arguments for 'acl' command
"#,
    ..ROW
};

const HELP: Command = Command {
    name: "acl|help",
    since: "6.0.0",
    summary: "Lists the subcommands.",
    arity: 2,
    flags: ALWAYS,
    run: Run::Engine(EngineCommand::AclHelp),
    shows: r#"> ACL HELP
<any text>1) ACL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..ROW
};

const WHOAMI: Command = Command {
    name: "acl|whoami",
    since: "6.0.0",
    summary: "Returns the user name of this connection.",
    arity: 2,
    flags: ALWAYS.or(Flags::NOSCRIPT),
    run: Run::Engine(EngineCommand::AclWhoami),
    shows: r#"> ACL WHOAMI
"default"
"#,
    ..ROW
};
