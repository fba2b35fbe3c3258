//! CLIENT: what is known of connections, and what can be done to them.

use super::{ALWAYS, ROW};
use crate::argument::Argument;
use crate::command::{Categories, Command, Flags, Run, Verb};

pub(super) const CLIENT: Command = Command {
    name: "client",
    since: "2.4.0",
    summary: "Tells of connections, and does something to them.",
    complexity: "",
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

const OWN: Flags = ALWAYS.or(Flags::NOSCRIPT);
const OWN_ROW: Command = Command { flags: OWN.or(Flags::ALLOW_BUSY), ..ROW };
const ADMIN_ROW: Command = Command { flags: OWN.or(Flags::ADMIN), ..ROW };

const ON: Argument = Argument::word("on", "ON");
const OFF: Argument = Argument::word("off", "OFF");
const YES: Argument = Argument::word("yes", "YES");
const NO: Argument = Argument::word("no", "NO");

const CACHING: Command = Command {
    name: "client|caching",
    since: "6.0.0",
    summary: "Says whether the keys of the next command are to be tracked.",
    arity: 3,
    arguments: &[Argument::one_of("mode", &[YES, NO])],
    run: Run::Engine(Verb::ClientCaching),
    shows: r#"> CLIENT CACHING YES
(error) ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled
"#,
    ..OWN_ROW
};

const GETNAME: Command = Command {
    name: "client|getname",
    since: "2.6.9",
    summary: "Tells the name of this connection.",
    arity: 2,
    run: Run::Engine(Verb::ClientGetName),
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
    summary: "Tells which connection gets this one's tracking messages: -1 without tracking, 0 itself.",
    arity: 2,
    run: Run::Engine(Verb::ClientGetRedir),
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
    run: Run::Engine(Verb::ClientHelp),
    shows: r#"> CLIENT HELP
1) CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..ROW
};

const ID: Command = Command {
    name: "client|id",
    since: "5.0.0",
    summary: "Tells this connection's number, which no other has or had.",
    arity: 2,
    run: Run::Engine(Verb::ClientId),
    shows: r#"> CLIENT ID
(integer) <any integer>
"#,
    ..OWN_ROW
};

const INFO: Command = Command {
    name: "client|info",
    since: "6.2.0",
    summary: "Tells all there is to know of this connection.",
    arity: 2,
    flags: OWN,
    tips: &["nondeterministic_output"],
    run: Run::Engine(Verb::ClientInfo),
    shows: r#"> CLIENT INFO
id=<any text> addr=<any text> laddr=<any text>
"#,
    ..ROW
};

const KILL: Command = Command {
    name: "client|kill",
    since: "2.4.0",
    summary: "Ends connections: one by its address, or all that pass every filter.",
    complexity: "O(N) for N connections",
    arity: -3,
    arguments: &[Argument::one_of(
        "filter",
        &[
            Argument::string("old-format").shown_as("ip:port"),
            Argument::one_of("new-format", FILTERS).multiple(),
        ],
    )],
    run: Run::Engine(Verb::ClientKill),
    shows: r#"> CLIENT KILL ID 123456789
(integer) 0
> CLIENT KILL 192.0.2.1:1
(error) ERR No such client
> CLIENT KILL ID zero
(error) ERR client-id should be greater than 0
> CLIENT KILL ID
(error) ERR No such client
"#,
    ..ADMIN_ROW
};

const TYPES: &[Argument] = &[
    Argument::word("normal", "NORMAL"),
    Argument::word("master", "MASTER"),
    Argument::word("primary", "PRIMARY"),
    Argument::word("slave", "SLAVE"),
    Argument::word("replica", "REPLICA"),
    Argument::word("pubsub", "PUBSUB"),
];

/// What CLIENT KILL and CLIENT LIST choose connections by.
const FILTERS: &[Argument] = &[
    Argument::integer("client-id").after("ID").multiple().optional(),
    Argument::one_of("client-type", TYPES).after("TYPE").optional(),
    Argument::string("username").after("USER").optional(),
    Argument::string("addr").after("ADDR").shown_as("ip:port").optional(),
    Argument::string("laddr").after("LADDR").shown_as("ip:port").optional(),
    Argument::one_of("skipme", &[YES, NO]).after("SKIPME").optional(),
    Argument::integer("maxage").after("MAXAGE").optional(),
    Argument::string("name").after("NAME").optional(),
    Argument::integer("idle").after("IDLE").optional(),
    Argument::string("flags").after("FLAGS").optional(),
    Argument::string("lib-name").after("LIB-NAME").optional(),
    Argument::string("lib-ver").after("LIB-VER").optional(),
    Argument::integer("db").after("DB").optional(),
    Argument::string("capa").after("CAPA").optional(),
    Argument::string("ip").after("IP").optional(),
    Argument::one_of("not-client-type", TYPES).after("NOT-TYPE").optional(),
    Argument::integer("not-client-id").after("NOT-ID").multiple().optional(),
    Argument::string("not-username").after("NOT-USER").optional(),
    Argument::string("not-addr").after("NOT-ADDR").shown_as("ip:port").optional(),
    Argument::string("not-laddr").after("NOT-LADDR").shown_as("ip:port").optional(),
    Argument::string("not-name").after("NOT-NAME").optional(),
    Argument::string("not-flags").after("NOT-FLAGS").optional(),
    Argument::string("not-lib-name").after("NOT-LIB-NAME").optional(),
    Argument::string("not-lib-ver").after("NOT-LIB-VER").optional(),
    Argument::integer("not-db").after("NOT-DB").optional(),
    Argument::string("not-capa").after("NOT-CAPA").optional(),
    Argument::string("not-ip").after("NOT-IP").optional(),
];

const LIST: Command = Command {
    name: "client|list",
    since: "2.4.0",
    summary: "Tells all there is to know of connections, a line for each that passes every filter.",
    complexity: "O(N) for N connections",
    arity: -2,
    tips: &["nondeterministic_output"],
    arguments: FILTERS,
    run: Run::Engine(Verb::ClientList),
    shows: r#"> CLIENT LIST
id=<any text> addr=<any text> laddr=<any text>
<any lines>
> CLIENT LIST TYPE pubsub
(empty text)
> CLIENT LIST TYPE nonsense
(error) ERR Unknown client type 'nonsense'
> CLIENT LIST ID zero
(error) ERR Invalid client ID
"#,
    ..ADMIN_ROW
};

const NO_EVICT: Command = Command {
    name: "client|no-evict",
    since: "7.0.0",
    summary: "Says whether this connection is spared when connections take too much memory.",
    arity: 3,
    flags: OWN.or(Flags::ADMIN).or(Flags::ALLOW_BUSY),
    arguments: &[Argument::one_of("enabled", &[ON, OFF])],
    run: Run::Engine(Verb::ClientNoEvict),
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
    summary: "Says whether this connection's commands leave no trace of use on keys.",
    arity: 3,
    arguments: &[Argument::one_of("enabled", &[ON, OFF])],
    run: Run::Engine(Verb::ClientNoTouch),
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
    summary: "Holds commands, or writes only, back for so many milliseconds.",
    arity: -3,
    arguments: &[
        Argument::integer("timeout"),
        Argument::one_of("mode", &[Argument::word("write", "WRITE"), Argument::word("all", "ALL")])
            .optional(),
    ],
    run: Run::Engine(Verb::ClientPause),
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
    summary: "Says whether commands are answered: all, none, or all but the next.",
    arity: 3,
    flags: OWN.or(Flags::NO_MULTI).or(Flags::ALLOW_BUSY),
    arguments: &[Argument::one_of("action", &[ON, OFF, Argument::word("skip", "SKIP")])],
    run: Run::Engine(Verb::ClientReply),
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
    summary: "Tells which library this connection is used by.",
    arity: 4,
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    arguments: &[Argument::one_of(
        "attr",
        &[
            Argument::string("libname").after("LIB-NAME"),
            Argument::string("libver").after("LIB-VER"),
        ],
    )],
    run: Run::Engine(Verb::ClientSetInfo),
    shows: r#"@only ours valkey9 redis8
> CLIENT SETINFO LIB-NAME mylib
OK
> CLIENT SETINFO LIB-VER 1.2.3
OK
> CLIENT SETINFO LIB-AGE 7
(error) ERR Unrecognized option 'LIB-AGE'
> CLIENT SETINFO LIB-NAME "my lib"
(error) ERR lib-name cannot contain spaces, newlines or special characters.
"#,
    ..OWN_ROW
};

const SETNAME: Command = Command {
    name: "client|setname",
    since: "2.6.9",
    summary: "Gives this connection a name; the empty one takes it away.",
    arity: 3,
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    arguments: &[Argument::string("connection-name")],
    run: Run::Engine(Verb::ClientSetName),
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

const TRACKING: Command = Command {
    name: "client|tracking",
    since: "6.0.0",
    summary: "Says whether this connection hears when keys that it read were changed.",
    arity: -3,
    flags: OWN,
    arguments: &[
        Argument::one_of("status", &[ON, OFF]),
        Argument::integer("client-id").after("REDIRECT").optional(),
        Argument::string("prefix").after("PREFIX").repeating_token().optional(),
        Argument::word("bcast", "BCAST").optional(),
        Argument::word("optin", "OPTIN").optional(),
        Argument::word("optout", "OPTOUT").optional(),
        Argument::word("noloop", "NOLOOP").optional(),
    ],
    run: Run::Engine(Verb::ClientTracking),
    shows: r#"> CLIENT TRACKING OFF
OK
> CLIENT TRACKING maybe
(error) ERR syntax error
> CLIENT TRACKING ON PREFIX user:
(error) ERR PREFIX option requires BCAST mode to be enabled
> CLIENT TRACKING ON OPTIN OPTOUT
(error) ERR You can't specify both OPTIN mode and OPTOUT mode
"#,
    ..ROW
};

const TRACKINGINFO: Command = Command {
    name: "client|trackinginfo",
    since: "6.2.0",
    summary: "Tells how this connection tracks keys.",
    arity: 2,
    flags: OWN,
    run: Run::Engine(Verb::ClientTrackingInfo),
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
    summary: "Ends another connection's waiting, as if its time were over or with an error.",
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
    run: Run::Engine(Verb::ClientUnblock),
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
    summary: "Lets commands that were held back go on.",
    complexity: "O(N) for N connections that wait",
    arity: 2,
    run: Run::Engine(Verb::ClientUnpause),
    shows: r#"> CLIENT UNPAUSE
OK
"#,
    ..ADMIN_ROW
};
