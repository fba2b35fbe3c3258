//! The server as a process.

use super::{ALWAYS, ROW};
use crate::argument::Argument;
use crate::command::{Categories, Command, Flags, Run, Verb};

pub(super) const INFO: Command = Command {
    name: "info",
    since: "1.0.0",
    summary: "Tells how the server is, section by section.",
    arity: -1,
    flags: ALWAYS,
    also: Categories::DANGEROUS,
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    arguments: &[Argument::string("section").multiple().optional()],
    run: Run::Engine(Verb::Info),
    shows: r##"@resp 2
> INFO keyspace
"# Keyspace\r\n"
> SET key value
OK
> INFO keyspace
"# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0<any text>\r\n"
> INFO nonsense
""
"##,
    ..ROW
};

pub(super) const LOLWUT: Command = Command {
    name: "lolwut",
    since: "5.0.0",
    summary: "Draws something, and tells the version.",
    complexity: "",
    arity: -1,
    flags: Flags::READONLY.or(Flags::FAST),
    arguments: &[Argument::integer("version").after("VERSION").optional()],
    run: Run::Engine(Verb::Lolwut),
    shows: r#"> LOLWUT
<any text>
<any lines>
"#,
    ..ROW
};

pub(super) const SHUTDOWN: Command = Command {
    name: "shutdown",
    since: "1.0.0",
    summary: "Ends the server, after a save where that is wanted.",
    complexity: "O(N) for N keys to be saved; O(1) without a save",
    arity: -1,
    flags: ALWAYS.or(Flags::ADMIN).or(Flags::NOSCRIPT).or(Flags::NO_MULTI).or(Flags::ALLOW_BUSY),
    arguments: &[Argument::one_of(
        "abort-selector",
        &[
            Argument::block(
                "save-selector-block",
                &[
                    Argument::one_of(
                        "save-selector",
                        &[Argument::word("nosave", "NOSAVE"), Argument::word("save", "SAVE")],
                    )
                    .optional(),
                    Argument::word("now", "NOW").optional(),
                    Argument::word("force", "FORCE").optional(),
                    Argument::word("safe", "SAFE").optional(),
                    Argument::word("failover", "FAILOVER").optional(),
                ],
            ),
            Argument::word("abort", "ABORT"),
        ],
    )
    .optional()],
    run: Run::Engine(Verb::Shutdown),
    shows: r#"> SHUTDOWN NOSAVE SAVE
(error) ERR syntax error
> SHUTDOWN NOW ABORT
(error) ERR syntax error
> SHUTDOWN ABORT
(error) ERR No shutdown in progress.
"#,
    ..ROW
};

pub(super) const TIME: Command = Command {
    name: "time",
    since: "2.6.0",
    summary: "Tells the server's time: seconds since 1970, and the microseconds beyond.",
    arity: 1,
    flags: ALWAYS.or(Flags::FAST),
    tips: &["nondeterministic_output"],
    run: Run::Engine(Verb::Time),
    shows: r#"> TIME
1) "<any integer>"
2) "<any integer>"
"#,
    ..ROW
};
