//! SLOWLOG: slow requests, and how much of their arguments is kept.

use basalt_resp::Reply;

use super::{ALWAYS, ROW};
use crate::args::integer;
use crate::argument::Argument;
use crate::command::{Command, EngineCommand, Flags, Run};
use crate::config;
use crate::error::CommandError;

const SLOWLOG_ROW: Command =
    Command { since: "2.2.12", arity: 2, flags: ALWAYS.or(Flags::ADMIN), ..ROW };

pub(super) const SLOWLOG: Command = Command {
    name: "slowlog",
    since: "2.2.12",
    summary: "A container for commands about the slow log.",
    complexity: "That of the subcommand",
    arity: -2,
    subcommands: &[GET, HELP, LEN, RESET],
    shows: r#"> SLOWLOG NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try SLOWLOG HELP.
"#,
    ..ROW
};

const GET: Command = Command {
    name: "slowlog|get",
    summary: "Returns the newest entries of the slow log: ID, Unix seconds, microseconds, arguments, client.",
    complexity: "O(N) for N requests told",
    arity: -2,
    tips: &["request_policy:all_nodes", "nondeterministic_output"],
    arguments: &[Argument::integer("count").optional()],
    run: Run::Engine(EngineCommand::SlowlogGet),
    shows: r#"> CONFIG SET slowlog-log-slower-than 0
OK
> SLOWLOG RESET
OK
> PING
PONG
> CONFIG SET slowlog-log-slower-than 10000
OK
> SLOWLOG GET 2
1) 1) (integer) <any integer>
   2) (integer) <any integer>
   3) (integer) <any integer>
   4) 1) "PING"
   5) "<any text>"
   6) ""
2) 1) (integer) <any integer>
   2) (integer) <any integer>
   3) (integer) <any integer>
   4) 1) "SLOWLOG"
      2) "RESET"
   5) "<any text>"
   6) ""
> SLOWLOG RESET
OK
> SLOWLOG GET
(empty array)
> SLOWLOG GET -2
(error) ERR count should be greater than or equal to -1
"#,
    ..SLOWLOG_ROW
};

const HELP: Command = Command {
    name: "slowlog|help",
    since: "6.2.0",
    summary: "Lists the subcommands.",
    flags: ALWAYS,
    run: Run::Engine(EngineCommand::SlowlogHelp),
    shows: r#"> SLOWLOG HELP
<any text>1) SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..SLOWLOG_ROW
};

const LEN: Command = Command {
    name: "slowlog|len",
    summary: "Returns the number of entries in the slow log.",
    tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
    run: Run::Engine(EngineCommand::SlowlogLen),
    shows: r#"> SLOWLOG RESET
OK
> SLOWLOG LEN
(integer) 0
"#,
    ..SLOWLOG_ROW
};

const RESET: Command = Command {
    name: "slowlog|reset",
    summary: "Removes all entries of the slow log.",
    complexity: "O(N) for N requests kept",
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    run: Run::Engine(EngineCommand::SlowlogReset),
    shows: r#"> SLOWLOG RESET
OK
"#,
    ..SLOWLOG_ROW
};

/// The default number of entries that SLOWLOG GET returns.
const GET_COUNT: usize = 10;

/// Parses SLOWLOG GET's arguments: the maximum number of entries.
pub fn parse_slowlog_get(args: &[&[u8]]) -> Result<usize, CommandError> {
    let count = match args[2..] {
        [] => return Ok(GET_COUNT),
        [count] => integer(count).ok().filter(|count| *count >= -1),
        _ => {
            let before = "ERR unknown subcommand or wrong number of arguments for '";
            return Err(CommandError::quoting(before, args[1], "'. Try SLOWLOG HELP."));
        }
    };
    let count =
        count.ok_or(CommandError::text("ERR count should be greater than or equal to -1"))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// LIMIT: arguments of a request that the slow log keeps; the last one is the number of further
/// arguments.
const LOGGED_ARGS_MAX: usize = 32;
/// LIMIT: bytes of an argument that the slow log keeps.
const LOGGED_ARG_BYTES_MAX: usize = 128;

/// Writes a request's arguments in the form that the slow log keeps: truncated, and without
/// passwords.
pub fn write_logged_args(command: &Command, args: &[&[u8]], reply: &mut Reply<'_>) {
    let is_cut = args.len() > LOGGED_ARGS_MAX;
    let shown = if is_cut { LOGGED_ARGS_MAX - 1 } else { args.len() };
    reply.array(args.len().min(LOGGED_ARGS_MAX));
    for (index, arg) in args[..shown].iter().enumerate() {
        if is_password(command, args, index) {
            reply.bulk(b"(redacted)");
        } else if arg.len() > LOGGED_ARG_BYTES_MAX {
            let more = arg.len() - LOGGED_ARG_BYTES_MAX;
            let note = format!("... ({more} more bytes)");
            reply.bulk(&[&arg[..LOGGED_ARG_BYTES_MAX], note.as_bytes()].concat());
        } else {
            reply.bulk(arg);
        }
    }
    if is_cut {
        reply.bulk(format!("... ({} more arguments)", args.len() - shown).as_bytes());
    }
}

/// Whether an argument may be a password, or a user name that belongs to one.
pub(super) fn is_password(command: &Command, args: &[&[u8]], index: usize) -> bool {
    let follows = |word: &[u8], count: usize| {
        let earlier = &args[index.saturating_sub(count).max(1)..index];
        earlier.iter().any(|arg| arg.eq_ignore_ascii_case(word))
    };
    match command.name {
        "auth" => index >= 1,
        "acl|setuser" | "acl|getuser" | "acl|deluser" => index >= 2,
        "hello" => index >= 2 && follows(b"auth", 2),
        "migrate" => index >= 6 && (follows(b"auth", 1) || follows(b"auth2", 2)),
        "config|set" => {
            index >= 3
                && index % 2 == 1
                && config::find(args[index - 1]).is_some_and(|(parameter, _)| parameter.is_secret)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;
    use basalt_resp::{Protocol, decode};

    fn logged(line: &str) -> Vec<String> {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let row = table::find(args[0]).expect("because it has a row");
        let row = table::find_subcommand(row, args.get(1).unwrap_or(&&b""[..])).unwrap_or(row);
        let mut out = Vec::new();
        write_logged_args(row, &args, &mut Reply::new(&mut out, Protocol::Resp2));
        let (value, _) = decode(&out).expect("a reply").expect("a whole reply");
        let basalt_resp::Value::Array(args) = value else { panic!("{value:?} is no array") };
        let text = |arg: &basalt_resp::Value| {
            String::from_utf8_lossy(arg.as_bytes().expect("a text")).into_owned()
        };
        args.iter().map(text).collect()
    }

    #[test]
    fn passwords_are_not_kept() {
        for (line, kept) in [
            ("AUTH me secret", "AUTH (redacted) (redacted)"),
            ("HELLO 3 AUTH me secret SETNAME x", "HELLO 3 AUTH (redacted) (redacted) SETNAME x"),
            ("CONFIG SET timeout 5 RequirePass x", "CONFIG SET timeout 5 RequirePass (redacted)"),
            ("CONFIG SET masteruser me", "CONFIG SET masteruser (redacted)"),
            ("SET auth secret", "SET auth secret"),
        ] {
            assert_eq!(logged(line).join(" "), kept);
        }
    }

    #[test]
    fn long_requests_are_cut() {
        let long = "x".repeat(130);
        assert_eq!(logged(&format!("GET {long}"))[1], format!("{}... (2 more bytes)", &long[2..]));
        let many = format!("DEL{}", " k".repeat(32));
        let kept = logged(&many);
        assert_eq!((kept.len(), kept[31].as_str()), (32, "... (2 more arguments)"));
        assert_eq!(logged(&many[..many.len() - 2]).len(), 32);
    }

    #[test]
    fn counts() {
        let parse = |line: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            parse_slowlog_get(&args)
        };
        assert_eq!(parse("slowlog get"), Ok(10));
        assert_eq!(parse("slowlog get 3"), Ok(3));
        assert_eq!(parse("slowlog get -1"), Ok(usize::MAX));
        assert_eq!(parse("slowlog get 9223372036854775807"), Ok(i64::MAX as usize));
        for line in ["slowlog get x", "slowlog get -2", "slowlog get 1 2"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
