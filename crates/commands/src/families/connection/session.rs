//! What a session says first, and what it says last.

use super::{ALWAYS, ROW};
use crate::argument::Argument;
use crate::command::{Command, Flags, Run, Verb};

const EARLY: Flags =
    ALWAYS.or(Flags::NOSCRIPT).or(Flags::FAST).or(Flags::NO_AUTH).or(Flags::ALLOW_BUSY);

pub(super) const PING: Command = Command {
    name: "ping",
    since: "1.0.0",
    summary: "Answers PONG, or what it is given.",
    arity: -1,
    flags: Flags::FAST,
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    arguments: &[Argument::string("message").optional()],
    run: Run::Engine(Verb::Ping),
    shows: r#"> PING
PONG
> PING "hello world"
"hello world"
> PING a b
(error) ERR wrong number of arguments for 'ping' command
"#,
    ..ROW
};

pub(super) const ECHO: Command = Command {
    name: "echo",
    since: "1.0.0",
    summary: "Answers what it is given.",
    arity: 2,
    flags: ALWAYS.or(Flags::FAST),
    arguments: &[Argument::string("message")],
    run: Run::Engine(Verb::Echo),
    shows: r#"> ECHO "hello world"
"hello world"
"#,
    ..ROW
};

pub(super) const HELLO: Command = Command {
    name: "hello",
    since: "6.0.0",
    summary: "Begins a session: chooses the protocol, logs in, gives the connection a name.",
    arity: -1,
    flags: EARLY,
    arguments: &[Argument::block(
        "arguments",
        &[
            Argument::integer("protover"),
            Argument::block("auth", &[Argument::string("username"), Argument::string("password")])
                .after("AUTH")
                .optional(),
            Argument::string("clientname").after("SETNAME").optional(),
        ],
    )
    .optional()],
    run: Run::Engine(Verb::Hello),
    shows: r#"> HELLO 4
(error) NOPROTO unsupported protocol version
> HELLO three
(error) ERR Protocol version is not an integer or out of range
> HELLO 3 SETNAME worker
<any lines>
> CLIENT GETNAME
"worker"
"#,
    ..ROW
};

pub(super) const AUTH: Command = Command {
    name: "auth",
    since: "1.0.0",
    summary: "Logs in.",
    complexity: "O(N) for N passwords of the user",
    arity: -2,
    flags: EARLY,
    arguments: &[Argument::string("username").optional(), Argument::string("password")],
    run: Run::Engine(Verb::Auth),
    shows: r#"> AUTH nobody secret
(error) WRONGPASS invalid username-password pair or user is disabled.
"#,
    ..ROW
};

pub(super) const SELECT: Command = Command {
    name: "select",
    since: "1.0.0",
    summary: "Chooses the session's database.",
    arity: 2,
    flags: ALWAYS.or(Flags::FAST).or(Flags::ALLOW_BUSY),
    arguments: &[Argument::integer("index")],
    run: Run::Engine(Verb::Select),
    shows: r#"> SET key zero
OK
> SELECT 1
OK
> GET key
(nil)
> SELECT 0
OK
> GET key
"zero"
> SELECT 99
(error) ERR DB index is out of range
> SELECT first
(error) ERR value is not an integer or out of range
"#,
    ..ROW
};

pub(super) const QUIT: Command = Command {
    name: "quit",
    since: "1.0.0",
    summary: "Ends the session, once everything is answered.",
    arity: -1,
    flags: EARLY,
    deprecated: Some(crate::command::Deprecated {
        since: "7.2.0",
        replaced_by: "just closing the connection",
    }),
    run: Run::Engine(Verb::Quit),
    shows: r#"> QUIT
OK
"#,
    ..ROW
};

pub(super) const RESET: Command = Command {
    name: "reset",
    since: "6.2.0",
    summary: "Makes the session like a new one.",
    arity: 1,
    flags: EARLY,
    run: Run::Engine(Verb::Reset),
    shows: r#"> SELECT 1
OK
> CLIENT SETNAME worker
OK
> RESET
RESET
> CLIENT GETNAME
(nil)
"#,
    ..ROW
};
