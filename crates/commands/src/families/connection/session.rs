//! The start and the end of a session.

use basalt_keyspace::DatabaseId;
use basalt_resp::Protocol;

use super::client::client_name;
use super::{ALWAYS, ROW};
use crate::args::{self, Grammar, integer, two_values, value};
use crate::argument::Argument;
use crate::command::{Command, Deprecated, EngineCommand, Flags, Run};
use crate::error::CommandError;

const EARLY: Flags =
    ALWAYS.or(Flags::NOSCRIPT).or(Flags::FAST).or(Flags::NO_AUTH).or(Flags::ALLOW_BUSY);

pub(super) const PING: Command = Command {
    name: "ping",
    since: "1.0.0",
    summary: "Returns PONG, or its argument.",
    arity: -1,
    flags: Flags::FAST,
    tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
    arguments: &[Argument::string("message").optional()],
    run: Run::Engine(EngineCommand::Ping),
    shows: r#"> PING
PONG
> PING "hello world"
"hello world"
> PING a b
(error) ERR wrong number of arguments for 'ping' command
"#,
    ..ROW
};

/// Parses PING's argument. More than one is an error here: the row's arity can't say "at most".
pub fn parse_ping<'a>(args: &[&'a [u8]]) -> Result<Option<&'a [u8]>, CommandError> {
    match args {
        [_] => Ok(None),
        [_, message] => Ok(Some(message)),
        _ => Err(CommandError::wrong_arity(PING.name)),
    }
}

pub(super) const ECHO: Command = Command {
    name: "echo",
    since: "1.0.0",
    summary: "Returns its argument.",
    arity: 2,
    flags: ALWAYS.or(Flags::FAST),
    arguments: &[Argument::string("message")],
    run: Run::Engine(EngineCommand::Echo),
    shows: r#"> ECHO "hello world"
"hello world"
"#,
    ..ROW
};

pub(super) const HELLO: Command = Command {
    name: "hello",
    since: "6.0.0",
    summary: "Chooses the protocol, logs in, and sets the connection's name.",
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
    run: Run::Engine(EngineCommand::Hello),
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

/// A parsed HELLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HelloRequest<'a> {
    pub protocol: Option<Protocol>,
    pub auth: Option<AuthRequest<'a>>,
    /// The connection's new name, if one was given; an empty one removes it.
    pub name: Option<Option<&'a [u8]>>,
}

#[derive(Clone, Copy)]
pub(super) enum HelloOption {
    Auth,
    SetName,
}

pub(super) const HELLO_OPTIONS: Grammar<HelloOption> =
    Grammar(&[two_values("auth", HelloOption::Auth), value("setname", HelloOption::SetName)]);

/// Parses HELLO's arguments.
pub fn parse_hello<'a>(args: &'a [&'a [u8]]) -> Result<HelloRequest<'a>, CommandError> {
    let mut hello = HelloRequest::default();
    let Some(version) = args.get(1) else { return Ok(hello) };
    hello.protocol = Some(match integer(version) {
        Ok(2) => Protocol::Resp2,
        Ok(3) => Protocol::Resp3,
        Ok(_) => return Err(CommandError::text("NOPROTO unsupported protocol version")),
        Err(_) => {
            return Err(CommandError::text(
                "ERR Protocol version is not an integer or out of range",
            ));
        }
    });
    let mut rest = &args[2..];
    while let Some(word) = rest.first() {
        let (option, values) =
            HELLO_OPTIONS.parse(rest).next().expect("because something is left").map_err(|_| {
                CommandError::quoting("ERR Syntax error in HELLO option '", word, "'")
            })?;
        match option {
            HelloOption::Auth => {
                hello.auth = Some(AuthRequest { user: Some(values[0]), password: values[1] });
            }
            HelloOption::SetName => hello.name = Some(client_name(values[0])?),
        }
        rest = &rest[1 + values.len()..];
    }
    Ok(hello)
}

pub(super) const AUTH: Command = Command {
    name: "auth",
    since: "1.0.0",
    summary: "Logs the connection in.",
    complexity: "O(N) for N passwords of the user",
    arity: -2,
    flags: EARLY,
    arguments: &[Argument::string("username").optional(), Argument::string("password")],
    run: Run::Engine(EngineCommand::Auth),
    shows: r#"> AUTH nobody secret
(error) WRONGPASS invalid username-password pair or user is disabled.
"#,
    ..ROW
};

/// The credentials of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthRequest<'a> {
    /// `None` is the default user, in the old form without a user name.
    pub user: Option<&'a [u8]>,
    pub password: &'a [u8],
}

/// Parses AUTH's arguments.
pub fn parse_auth<'a>(args: &[&'a [u8]]) -> Result<AuthRequest<'a>, CommandError> {
    match args {
        [_, password] => Ok(AuthRequest { user: None, password }),
        [_, user, password] => Ok(AuthRequest { user: Some(user), password }),
        _ => Err(CommandError::SYNTAX),
    }
}

pub(super) const SELECT: Command = Command {
    name: "select",
    since: "1.0.0",
    summary: "Sets the connection's database.",
    arity: 2,
    flags: ALWAYS.or(Flags::FAST).or(Flags::ALLOW_BUSY),
    arguments: &[Argument::integer("index")],
    run: Run::Engine(EngineCommand::Select),
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

/// Parses SELECT's argument.
pub fn parse_select(args: &[&[u8]], database_count: usize) -> Result<DatabaseId, CommandError> {
    args::database(args[1], database_count)
}

pub(super) const QUIT: Command = Command {
    name: "quit",
    since: "1.0.0",
    summary: "Closes the connection after all replies are sent.",
    arity: -1,
    flags: EARLY,
    deprecated: Some(Deprecated { since: "7.2.0", replaced_by: "just closing the connection" }),
    run: Run::Engine(EngineCommand::Quit),
    shows: r#"> QUIT
OK
"#,
    ..ROW
};

pub(super) const RESET: Command = Command {
    name: "reset",
    since: "6.2.0",
    summary: "Resets the connection's state to that of a new one.",
    arity: 1,
    flags: EARLY,
    run: Run::Engine(EngineCommand::Reset),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(line: &str) -> Result<String, String> {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let hello = parse_hello(&args).map_err(|error| error.to_string())?;
        let name =
            hello.name.map(|name| String::from_utf8_lossy(name.unwrap_or(b"-")).into_owned());
        let user = hello.auth.map(|auth| String::from_utf8_lossy(auth.user.unwrap()).into_owned());
        Ok(format!("{:?} {user:?} {name:?}", hello.protocol))
    }

    #[test]
    fn hello_is_read_in_redis_order() {
        assert_eq!(hello("hello"), Ok("None None None".into()));
        assert_eq!(
            hello("hello 3 setname x AUTH me secret"),
            Ok(r#"Some(Resp3) Some("me") Some("x")"#.into())
        );
        assert_eq!(hello("hello 4 what"), Err("NOPROTO unsupported protocol version".into()));
        assert_eq!(
            hello("hello x what"),
            Err("ERR Protocol version is not an integer or out of range".into())
        );
        assert_eq!(hello("hello 2 auth me"), Err("ERR Syntax error in HELLO option 'auth'".into()));
        assert_eq!(
            hello("hello 2 setname x what"),
            Err("ERR Syntax error in HELLO option 'what'".into())
        );
    }
}
