//! DEBUG: for tests and for those who look for errors.

use super::{ALWAYS, ROW};
use crate::argument::Argument;
use crate::command::{Command, Flags, Run, Verb};

pub(super) const DEBUG: Command = Command {
    name: "debug",
    since: "1.0.0",
    summary: "Does and tells what only tests and searches for errors need.",
    complexity: "",
    arity: -2,
    flags: ALWAYS.or(Flags::ADMIN).or(Flags::NOSCRIPT),
    arguments: &[Argument::string("subcommand"), Argument::string("arg").multiple().optional()],
    run: Run::Engine(Verb::Debug),
    shows: r#"> DEBUG DIGEST
0000000000000000000000000000000000000000
> DEBUG POPULATE 2
OK
> MGET key:0 key:1 key:2
1) "value:0"
2) "value:1"
3) (nil)
> DEBUG SLEEP 0
OK
> DEBUG NONSENSE
(error) ERR unknown subcommand or wrong number of arguments for 'NONSENSE'. Try DEBUG HELP.
"#,
    ..ROW
};
