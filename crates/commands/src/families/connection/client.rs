//! CLIENT: information about connections, and actions on them.

use super::filter::{self, ClientFilter, FILTERS};
use super::tracking::TRACKING;
use super::{ALWAYS, ROW};
use crate::args::integer;
use crate::argument::Argument;
use crate::command::{Categories, Command, EngineCommand, Flags, Run};
use crate::error::CommandError;

pub(super) const CLIENT: Command = Command {
    name: "client",
    since: "2.4.0",
    summary: "A container for commands about connections.",
    complexity: "That of the subcommand",
    arity: -2,
    also: Categories::NONE,
    subcommands: &[
        CACHING,
        GETNAME,
        GETREDIR,
        HELP,
        ID,
        INFO,
        KILL,
        LIST,
        NO_EVICT,
        NO_TOUCH,
        PAUSE,
        REPLY,
        SETINFO,
        SETNAME,
        TRACKING,
        TRACKINGINFO,
        UNBLOCK,
        UNPAUSE,
    ],
    shows: r#"> CLIENT NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try CLIENT HELP.
> CLIENT
(error) ERR wrong number of arguments for 'client' command
"#,
    ..ROW
};

pub(super) const OWN: Flags = ALWAYS.or(Flags::NOSCRIPT);
const OWN_ROW: Command = Command { flags: OWN.or(Flags::ALLOW_BUSY), ..ROW };
const ADMIN_ROW: Command = Command { flags: OWN.or(Flags::ADMIN), ..ROW };

pub(super) const ON: Argument = Argument::word("on", "ON");
pub(super) const OFF: Argument = Argument::word("off", "OFF");
pub(super) const YES: Argument = Argument::word("yes", "YES");
pub(super) const NO: Argument = Argument::word("no", "NO");

const CACHING: Command = Command {
    name: "client|caching",
    since: "6.0.0",
    summary: "Chooses whether the keys of the next command are tracked.",
    arity: 3,
    arguments: &[Argument::one_of("mode", &[YES, NO])],
    run: Run::Engine(EngineCommand::ClientCaching),
    shows: r#"> CLIENT CACHING YES
(error) ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled
"#,
    ..OWN_ROW
};

const GETNAME: Command = Command {
    name: "client|getname",
    since: "2.6.9",
    summary: "Returns the name of this connection.",
    arity: 2,
    run: Run::Engine(EngineCommand::ClientGetName),
    shows: r#"> CLIENT GETNAME
(nil)
> CLIENT SETNAME worker
OK
> CLIENT GETNAME
"worker"
"#,
    ..OWN_ROW
};

const GETREDIR: Command = Command {
    name: "client|getredir",
    since: "6.0.0",
    summary: "Returns the ID of the connection that gets this one's tracking messages: -1 without tracking, 0 for itself.",
    arity: 2,
    run: Run::Engine(EngineCommand::ClientGetRedir),
    shows: r#"> CLIENT GETREDIR
(integer) -1
"#,
    ..OWN_ROW
};

const HELP: Command = Command {
    name: "client|help",
    since: "5.0.0",
    summary: "Lists the subcommands.",
    arity: 2,
    flags: ALWAYS,
    run: Run::Engine(EngineCommand::ClientHelp),
    shows: r#"> CLIENT HELP
<any text>1) CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..ROW
};

const ID: Command = Command {
    name: "client|id",
    since: "5.0.0",
    summary: "Returns the ID of this connection; IDs are never used twice.",
    arity: 2,
    run: Run::Engine(EngineCommand::ClientId),
    shows: r#"> CLIENT ID
(integer) <any integer>
"#,
    ..OWN_ROW
};

const INFO: Command = Command {
    name: "client|info",
    since: "6.2.0",
    summary: "Returns information about this connection.",
    arity: 2,
    flags: OWN,
    tips: &["nondeterministic_output"],
    run: Run::Engine(EngineCommand::ClientInfo),
    shows: r#"> CLIENT SETNAME worker
OK
> CLIENT INFO
<any text>id=<any text> addr=<any text> laddr=<any text> name=worker <any text> db=0 <any text> resp=<any text>
"#,
    ..ROW
};

const KILL: Command = Command {
    name: "client|kill",
    since: "2.4.0",
    summary: "Closes the connection with an address, or all connections that match every filter.",
    complexity: "O(N) for N connections",
    arity: -3,
    arguments: &[Argument::one_of(
        "filter",
        &[
            Argument::string("old-format").shown_as("ip:port"),
            Argument::one_of("new-format", FILTERS).multiple(),
        ],
    )],
    run: Run::Engine(EngineCommand::ClientKill),
    shows: r#"> CLIENT KILL ID 123456789
(integer) 0
> CLIENT KILL 192.0.2.1:1
(error) ERR No such client
> CLIENT KILL ID 0
(error) ERR client-id should be greater than 0
> CLIENT KILL ID
(error) ERR No such client
"#,
    ..ADMIN_ROW
};

pub(super) const LIST: Command = Command {
    name: "client|list",
    since: "2.4.0",
    summary: "Returns information about connections, one line for each that matches every filter.",
    complexity: "O(N) for N connections",
    arity: -2,
    tips: &["nondeterministic_output"],
    arguments: FILTERS,
    run: Run::Engine(EngineCommand::ClientList),
    shows: r#"> CLIENT LIST
<any text>id=<any text> addr=<any text> laddr=<any text>
<any lines>
@resp 2
> CLIENT LIST TYPE pubsub
""
@resp 3
> CLIENT LIST TYPE pubsub
(empty text)
@resp any
> CLIENT LIST TYPE nonsense
(error) ERR Unknown client type 'nonsense'
> CLIENT LIST TYPE
(error) ERR syntax error
"#,
    ..ADMIN_ROW
};

const NO_EVICT: Command = Command {
    name: "client|no-evict",
    since: "7.0.0",
    summary: "Chooses whether this connection is exempt from client eviction.",
    arity: 3,
    flags: OWN.or(Flags::ADMIN).or(Flags::ALLOW_BUSY),
    arguments: &[Argument::one_of("enabled", &[ON, OFF])],
    run: Run::Engine(EngineCommand::ClientNoEvict),
    shows: r#"> CLIENT NO-EVICT ON
OK
> CLIENT NO-EVICT OFF
OK
> CLIENT NO-EVICT maybe
(error) ERR syntax error
"#,
    ..ROW
};

const NO_TOUCH: Command = Command {
    name: "client|no-touch",
    since: "7.2.0",
    summary: "Chooses whether this connection's commands leave the LRU and LFU values of keys alone.",
    arity: 3,
    arguments: &[Argument::one_of("enabled", &[ON, OFF])],
    run: Run::Engine(EngineCommand::ClientNoTouch),
    shows: r#"@only ours valkey9 redis8
> CLIENT NO-TOUCH ON
OK
> CLIENT NO-TOUCH OFF
OK
> CLIENT NO-TOUCH maybe
(error) ERR syntax error
"#,
    ..OWN_ROW
};

const PAUSE: Command = Command {
    name: "client|pause",
    since: "3.0.0",
    summary: "Suspends all commands, or only writes, for a number of milliseconds.",
    arity: -3,
    arguments: &[
        Argument::integer("timeout"),
        Argument::one_of("mode", &[Argument::word("write", "WRITE"), Argument::word("all", "ALL")])
            .optional(),
    ],
    run: Run::Engine(EngineCommand::ClientPause),
    shows: r#"> CLIENT PAUSE 10 WRITE
OK
> CLIENT PAUSE long
(error) ERR timeout is not an integer or out of range
> CLIENT PAUSE -1
(error) ERR timeout is negative
> CLIENT PAUSE 10 SOME
(error) ERR CLIENT PAUSE mode must be WRITE or ALL
> CLIENT UNPAUSE
OK
"#,
    ..ADMIN_ROW
};

const REPLY: Command = Command {
    name: "client|reply",
    since: "3.2.0",
    summary: "Chooses whether commands are answered: all, none, or all but the next.",
    arity: 3,
    flags: OWN.or(Flags::NO_MULTI).or(Flags::ALLOW_BUSY),
    arguments: &[Argument::one_of("action", &[ON, OFF, Argument::word("skip", "SKIP")])],
    run: Run::Engine(EngineCommand::ClientReply),
    shows: r#"> CLIENT REPLY ON
OK
> CLIENT REPLY maybe
(error) ERR syntax error
"#,
    ..ROW
};

const SETINFO: Command = Command {
    name: "client|setinfo",
    since: "7.2.0",
    summary: "Sets the name or the version of the client library that uses this connection.",
    arity: 4,
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    arguments: &[Argument::one_of(
        "attr",
        &[
            Argument::string("libname").after("LIB-NAME"),
            Argument::string("libver").after("LIB-VER"),
        ],
    )],
    run: Run::Engine(EngineCommand::ClientSetInfo),
    shows: r#"@only ours valkey9 redis8
> CLIENT SETINFO LIB-NAME mylib
OK
> CLIENT SETINFO LIB-VER 1.2.3
OK
> CLIENT SETINFO LIB-AGE 7
(error) ERR Unrecognized option 'LIB-AGE'
> CLIENT SETINFO LIB-NAME "my lib"
(error) ERR LIB-NAME cannot contain spaces, newlines or special characters.
"#,
    ..OWN_ROW
};

const SETNAME: Command = Command {
    name: "client|setname",
    since: "2.6.9",
    summary: "Sets the name of this connection; an empty name removes it.",
    arity: 3,
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    arguments: &[Argument::string("connection-name")],
    run: Run::Engine(EngineCommand::ClientSetName),
    shows: r#"> CLIENT SETNAME worker
OK
> CLIENT GETNAME
"worker"
> CLIENT SETNAME "two words"
(error) ERR Client names cannot contain spaces, newlines or special characters.
> CLIENT SETNAME ""
OK
> CLIENT GETNAME
(nil)
"#,
    ..OWN_ROW
};

const TRACKINGINFO: Command = Command {
    name: "client|trackinginfo",
    since: "6.2.0",
    summary: "Returns the tracking settings of this connection.",
    arity: 2,
    flags: OWN,
    run: Run::Engine(EngineCommand::ClientTrackingInfo),
    shows: r#"@resp 2
> CLIENT TRACKINGINFO
1) "flags"
2) 1) "off"
3) "redirect"
4) (integer) -1
5) "prefixes"
6) (empty array)
"#,
    ..ROW
};

const UNBLOCK: Command = Command {
    name: "client|unblock",
    since: "5.0.0",
    summary: "Ends the wait of a blocked connection, as a timeout would or with an error.",
    complexity: "O(log N) for N connections",
    arity: -3,
    arguments: &[
        Argument::integer("client-id"),
        Argument::one_of(
            "unblock-type",
            &[Argument::word("timeout", "TIMEOUT"), Argument::word("error", "ERROR")],
        )
        .optional(),
    ],
    run: Run::Engine(EngineCommand::ClientUnblock),
    shows: r#"> CLIENT UNBLOCK 123456789
(integer) 0
> CLIENT UNBLOCK 123456789 maybe
(error) ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR
> CLIENT UNBLOCK me
(error) ERR value is not an integer or out of range
"#,
    ..ADMIN_ROW
};

const UNPAUSE: Command = Command {
    name: "client|unpause",
    since: "6.2.0",
    summary: "Resumes commands that CLIENT PAUSE suspended.",
    complexity: "O(N) for N connections that wait",
    arity: 2,
    run: Run::Engine(EngineCommand::ClientUnpause),
    shows: r#"> CLIENT UNPAUSE
OK
"#,
    ..ADMIN_ROW
};

/// Parses ON or OFF, for CLIENT NO-EVICT, NO-TOUCH and the like.
pub(super) fn on_or_off(text: &[u8]) -> Result<bool, CommandError> {
    match text {
        on if on.eq_ignore_ascii_case(b"on") => Ok(true),
        off if off.eq_ignore_ascii_case(b"off") => Ok(false),
        _ => Err(CommandError::SYNTAX),
    }
}

/// Parses the argument of CLIENT NO-EVICT and CLIENT NO-TOUCH: whether it is on.
pub fn parse_client_switch(args: &[&[u8]]) -> Result<bool, CommandError> {
    on_or_off(args[2])
}

/// Parses CLIENT CACHING's argument: whether it is YES. The engine checks first whether it is
/// permitted.
pub fn parse_client_caching(args: &[&[u8]]) -> Result<bool, CommandError> {
    match args[2] {
        yes if yes.eq_ignore_ascii_case(b"yes") => Ok(true),
        no if no.eq_ignore_ascii_case(b"no") => Ok(false),
        _ => Err(CommandError::SYNTAX),
    }
}

/// The replies that a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMode {
    On,
    Off,
    /// All but the reply to the next command.
    Skip,
}

/// Parses CLIENT REPLY's argument.
pub fn parse_client_reply(args: &[&[u8]]) -> Result<ReplyMode, CommandError> {
    if args[2].eq_ignore_ascii_case(b"skip") {
        return Ok(ReplyMode::Skip);
    }
    Ok(if on_or_off(args[2])? { ReplyMode::On } else { ReplyMode::Off })
}

/// Information about a client's library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LibraryFact<'a> {
    Name(&'a [u8]),
    Version(&'a [u8]),
}

/// Parses CLIENT SETINFO's arguments.
pub fn parse_client_setinfo<'a>(args: &[&'a [u8]]) -> Result<LibraryFact<'a>, CommandError> {
    let (what, text) = (args[2], args[3]);
    let fact = match what {
        name if name.eq_ignore_ascii_case(b"lib-name") => LibraryFact::Name(text),
        version if version.eq_ignore_ascii_case(b"lib-ver") => LibraryFact::Version(text),
        _ => return Err(CommandError::quoting("ERR Unrecognized option '", what, "'")),
    };
    if !is_plain(text) {
        let after = " cannot contain spaces, newlines or special characters.";
        return Err(CommandError::quoting("ERR ", what, after));
    }
    Ok(fact)
}

/// Parses CLIENT SETNAME's argument; an empty name is `None`.
pub fn parse_client_setname<'a>(args: &[&'a [u8]]) -> Result<Option<&'a [u8]>, CommandError> {
    client_name(args[2])
}

pub(super) fn client_name(name: &[u8]) -> Result<Option<&[u8]>, CommandError> {
    if !is_plain(name) {
        return Err(CommandError::text(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ));
    }
    Ok(Some(name).filter(|name| !name.is_empty()))
}

/// Whether a text is allowed in a line of CLIENT LIST.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// A parsed CLIENT PAUSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PauseRequest {
    pub duration_ms: u64,
    pub writes_only: bool,
}

/// Parses CLIENT PAUSE's arguments; arguments after the mode are ignored, as in Valkey.
pub fn parse_client_pause(args: &[&[u8]]) -> Result<PauseRequest, CommandError> {
    let writes_only = match args.get(3) {
        None => false,
        Some(all) if all.eq_ignore_ascii_case(b"all") => false,
        Some(write) if write.eq_ignore_ascii_case(b"write") => true,
        _ => return Err(CommandError::text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let duration_ms = integer(args[2])
        .map_err(|_| CommandError::text("ERR timeout is not an integer or out of range"))?;
    let duration_ms =
        u64::try_from(duration_ms).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    Ok(PauseRequest { duration_ms, writes_only })
}

/// A parsed CLIENT UNBLOCK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnblockRequest {
    pub id: i64,
    /// Whether the blocked client gets an error, rather than the reply of a timeout.
    pub with_error: bool,
}

/// Parses CLIENT UNBLOCK's arguments.
pub fn parse_client_unblock(args: &[&[u8]]) -> Result<UnblockRequest, CommandError> {
    let with_error = match args.get(3) {
        None => false,
        Some(timeout) if timeout.eq_ignore_ascii_case(b"timeout") => false,
        Some(error) if error.eq_ignore_ascii_case(b"error") => true,
        _ => {
            return Err(CommandError::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
    };
    Ok(UnblockRequest { id: integer(args[2])?, with_error })
}

/// The connections that CLIENT KILL closes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KillRequest<'a> {
    /// The one with this address; an error if there is none.
    Address(&'a [u8]),
    /// All that match; the reply is their number.
    All(ClientFilter<'a>),
}

/// Parses CLIENT KILL's arguments.
pub fn parse_client_kill<'a>(
    args: &'a [&'a [u8]],
    database_count: usize,
) -> Result<KillRequest<'a>, CommandError> {
    match args {
        [_, _, address] => Ok(KillRequest::Address(address)),
        [_, _, filters @ ..] => Ok(KillRequest::All(filter::parse(filters, database_count)?)),
        _ => Err(CommandError::wrong_arity(KILL.name)),
    }
}

/// Parses CLIENT LIST's arguments.
pub fn parse_client_list<'a>(
    args: &'a [&'a [u8]],
    database_count: usize,
) -> Result<ClientFilter<'a>, CommandError> {
    filter::parse(&args[2..], database_count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<&[u8]> {
        line.split_whitespace().map(str::as_bytes).collect()
    }

    fn refusal<T>(result: Result<T, CommandError>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_mode_of_a_pause_is_judged_first() {
        let parse = |line: &str| parse_client_pause(&args(line));
        let pause = |duration_ms, writes_only| Ok(PauseRequest { duration_ms, writes_only });
        assert_eq!(parse("client pause 5"), pause(5, false));
        assert_eq!(parse("client pause 0 write"), pause(0, true));
        assert!(refusal(parse("client pause x some")).contains("mode must be"));
        assert!(refusal(parse("client pause x all")).contains("timeout is not"));
        assert!(refusal(parse("client pause -1")).contains("negative"));
    }

    #[test]
    fn small_arguments_are_read() {
        assert_eq!(parse_client_reply(&args("client reply Skip")), Ok(ReplyMode::Skip));
        assert_eq!(parse_client_reply(&args("client reply off")), Ok(ReplyMode::Off));
        assert_eq!(parse_client_reply(&args("client reply no")), Err(CommandError::SYNTAX));
        assert_eq!(parse_client_switch(&args("client no-evict ON")), Ok(true));
        assert_eq!(parse_client_caching(&args("client caching no")), Ok(false));
        assert_eq!(parse_client_setname(&[b"client", b"setname", b""]), Ok(None));
        assert!(parse_client_setname(&[b"client", b"setname", b"a\xff"]).is_err());
        assert_eq!(
            parse_client_setinfo(&args("client setinfo LIB-Ver 1")),
            Ok(LibraryFact::Version(b"1"))
        );
        assert!(refusal(parse_client_unblock(&args("client unblock x y"))).contains("reason"));
    }

    #[test]
    fn kill_has_two_forms() {
        let line = args("client kill ID");
        assert_eq!(parse_client_kill(&line, 16), Ok(KillRequest::Address(b"ID")));
        let line = args("client kill ID 5");
        assert!(matches!(parse_client_kill(&line, 16), Ok(KillRequest::All(_))));
        let line = args("client kill ID 5 name");
        assert_eq!(parse_client_kill(&line, 16), Err(CommandError::SYNTAX));
    }
}
