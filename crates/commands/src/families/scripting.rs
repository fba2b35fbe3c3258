//! Scripting: scripts that clients send, and functions.

mod functions;

use basalt_resp::parse_i64;

use crate::argument::Argument;
use crate::command::{Categories, Command, EngineCommand, Flags, Group, KeySpec, Run};
use crate::error::CommandError;

pub use functions::{
    ListRequest, LoadRequest, RestorePolicy, parse_fcall, parse_function_flush,
    parse_function_list, parse_function_load, parse_function_restore,
};

pub(crate) const COMMANDS: &[Command] = &[
    EVAL,
    EVAL_RO,
    EVALSHA,
    EVALSHA_RO,
    functions::FCALL,
    functions::FCALL_RO,
    functions::FUNCTION,
    SCRIPT,
];

const NUMBER_AT: usize = 2;

const ROW: Command = Command { group: Group::Scripting, ..Command::ROW };

const RUN_FLAGS: Flags = Flags::NOSCRIPT
    .or(Flags::MOVABLE_KEYS)
    .or(Flags::NO_MANDATORY_KEYS)
    .or(Flags::SKIP_MONITOR)
    .or(Flags::STALE);

const WRITING: &[KeySpec] = &[KeySpec::counted(2, 1, &["RW", "access", "update"])];
const READING: &[KeySpec] = &[KeySpec::counted(2, 1, &["RO", "access"])];

const RUN_ROW: Command = Command {
    complexity: "Depends on the script",
    arity: -3,
    flags: RUN_FLAGS,
    also: Categories::SCRIPTING,
    keys: WRITING,
    ..ROW
};

const SCRIPT_ARGUMENTS: &[Argument] = &[
    Argument::string("script"),
    Argument::integer("numkeys"),
    Argument::key("key", 0).optional().multiple(),
    Argument::string("arg").optional().multiple(),
];

const SHA_ARGUMENTS: &[Argument] = &[
    Argument::string("sha1"),
    Argument::integer("numkeys"),
    Argument::key("key", 0).optional().multiple(),
    Argument::string("arg").optional().multiple(),
];

const EVAL: Command = Command {
    name: "eval",
    since: "2.6.0",
    summary: "Runs a Lua script, which others see as happening at one moment.",
    arguments: SCRIPT_ARGUMENTS,
    run: Run::Engine(EngineCommand::Eval),
    shows: r#"> EVAL "return {KEYS[1], ARGV[1], #ARGV}" 1 key first second
1) "key"
2) "first"
3) (integer) 2
> EVAL "return redis.call('SET', KEYS[1], ARGV[1])" 1 greeting hello
OK
> EVAL "return redis.call('GET', KEYS[1])" 1 greeting
"hello"
> EVAL "return 1" -1
(error) ERR Number of keys can't be negative
> EVAL "return 1" 2 a
(error) ERR Number of keys can't be greater than number of args
"#,
    ..RUN_ROW
};

const EVAL_RO: Command = Command {
    name: "eval_ro",
    since: "7.0.0",
    summary: "Runs a Lua script that may not write.",
    flags: RUN_FLAGS.or(Flags::READONLY),
    keys: READING,
    arguments: SCRIPT_ARGUMENTS,
    run: Run::Engine(EngineCommand::EvalRo),
    shows: r#"> SET counter 5
OK
> EVAL_RO "return redis.call('GET', KEYS[1])" 1 counter
"5"
> EVAL_RO "return redis.pcall('INCR', KEYS[1]).err" 1 counter
"ERR Write commands are not allowed from read-only scripts."
"#,
    ..RUN_ROW
};

const EVALSHA: Command = Command {
    name: "evalsha",
    since: "2.6.0",
    summary: "Runs a script that is known by its SHA1.",
    arguments: SHA_ARGUMENTS,
    run: Run::Engine(EngineCommand::EvalSha),
    shows: r#"> EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
(error) NOSCRIPT No matching script.<any text>
> SCRIPT LOAD "return 1"
"e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
> EVALSHA E0E1F9FABFC9D4800C877A703B823AC0578FF8DB 0
(integer) 1
"#,
    ..RUN_ROW
};

const EVALSHA_RO: Command = Command {
    name: "evalsha_ro",
    since: "7.0.0",
    summary: "Runs a script that is known by its SHA1, and may not write.",
    flags: RUN_FLAGS.or(Flags::READONLY),
    keys: READING,
    arguments: SHA_ARGUMENTS,
    run: Run::Engine(EngineCommand::EvalShaRo),
    shows: r#"> SCRIPT LOAD "return redis.call('TYPE', KEYS[1])"
"5afb84be81de8a6b369cec37597ef66bc9f128e1"
> EVALSHA_RO 5afb84be81de8a6b369cec37597ef66bc9f128e1 1 nothing
none
"#,
    ..RUN_ROW
};

const SUB_FLAGS: Flags = Flags::NOSCRIPT;

const SUB_ROW: Command = Command {
    since: "2.6.0",
    arity: 2,
    flags: SUB_FLAGS.or(Flags::STALE),
    also: Categories::SCRIPTING,
    ..ROW
};

const SCRIPT: Command = Command {
    name: "script",
    since: "2.6.0",
    summary: "A container for commands about scripts.",
    complexity: "That of the subcommand",
    arity: -2,
    subcommands: &[DEBUG, EXISTS, FLUSH, HELP, KILL, LOAD, SHOW],
    shows: r#"> SCRIPT NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try SCRIPT HELP.
"#,
    ..ROW
};

const DEBUG: Command = Command {
    name: "script|debug",
    since: "3.2.0",
    summary: "Chooses whether the scripts that follow are debugged. Only NO is supported.",
    arity: -3,
    flags: SUB_FLAGS,
    arguments: &[
        Argument::one_of(
            "mode",
            &[
                Argument::word("yes", "YES"),
                Argument::word("sync", "SYNC"),
                Argument::word("no", "NO"),
            ],
        ),
        Argument::string("engine").optional(),
    ],
    run: Run::Engine(EngineCommand::ScriptDebug),
    shows: r#"> SCRIPT DEBUG NO
OK
"#,
    ..SUB_ROW
};

const EXISTS: Command = Command {
    name: "script|exists",
    summary: "Returns for each SHA1 whether its script is known.",
    complexity: "O(N) for N scripts asked for",
    arity: -3,
    tips: &["request_policy:all_shards", "response_policy:agg_logical_and"],
    arguments: &[Argument::string("sha1").multiple()],
    run: Run::Engine(EngineCommand::ScriptExists),
    shows: r#"> SCRIPT LOAD "return 2"
"7f923f79fe76194c868d7e1d0820de36700eb649"
> SCRIPT EXISTS 7f923f79fe76194c868d7e1d0820de36700eb649 ffff
1) (integer) 1
2) (integer) 0
"#,
    ..SUB_ROW
};

const FLUSH: Command = Command {
    name: "script|flush",
    summary: "Forgets all scripts.",
    complexity: "O(N) for N scripts",
    arity: -2,
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    arguments: &[Argument::one_of(
        "flush-type",
        &[Argument::word("async", "ASYNC"), Argument::word("sync", "SYNC")],
    )
    .optional()],
    run: Run::Engine(EngineCommand::ScriptFlush),
    shows: r#"> SCRIPT LOAD "return 3"
"09d3822de862f46d784e6a36848b4f0736dda47a"
> SCRIPT FLUSH
OK
> SCRIPT EXISTS 09d3822de862f46d784e6a36848b4f0736dda47a
1) (integer) 0
> SCRIPT FLUSH LATER
(error) ERR SCRIPT FLUSH only support SYNC|ASYNC option
"#,
    ..SUB_ROW
};

const HELP: Command = Command {
    name: "script|help",
    since: "5.0.0",
    summary: "Lists the subcommands.",
    flags: Flags::LOADING.or(Flags::STALE),
    run: Run::Engine(EngineCommand::ScriptHelp),
    shows: r#"> SCRIPT HELP
<any text>1) SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"#,
    ..SUB_ROW
};

const KILL: Command = Command {
    name: "script|kill",
    summary: "Ends the script that runs, if it wrote nothing.",
    flags: SUB_FLAGS.or(Flags::ALLOW_BUSY),
    tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
    run: Run::Engine(EngineCommand::ScriptKill),
    shows: r#"> SCRIPT KILL
(error) NOTBUSY No scripts in execution right now.
"#,
    ..SUB_ROW
};

const LOAD: Command = Command {
    name: "script|load",
    summary: "Keeps a script, and returns its SHA1.",
    complexity: "O(N) for a script of N bytes",
    arity: 3,
    tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
    arguments: &[Argument::string("script")],
    run: Run::Engine(EngineCommand::ScriptLoad),
    shows: r#"> SCRIPT LOAD "return 'x'"
"573cd020e2fc941d149285df8b681959190edd09"
"#,
    ..SUB_ROW
};

const SHOW: Command = Command {
    name: "script|show",
    since: "8.0.0",
    summary: "Returns the text of a script.",
    arity: 3,
    arguments: &[Argument::string("sha1")],
    run: Run::Engine(EngineCommand::ScriptShow),
    shows: r#"@only ours valkey9
> SCRIPT LOAD "return 2"
"7f923f79fe76194c868d7e1d0820de36700eb649"
> SCRIPT SHOW 7f923f79fe76194c868d7e1d0820de36700eb649
"return 2"
> SCRIPT SHOW ffff
(error) NOSCRIPT No matching script.<any text>
"#,
    ..SUB_ROW
};

/// The arguments of EVAL and its like: what is to run is the argument at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvalRequest {
    /// Keys begin at [`EvalRequest::KEYS_AT`]; the script's other arguments follow them.
    pub key_count: usize,
}

impl EvalRequest {
    pub const KEYS_AT: usize = NUMBER_AT + 1;
}

/// # Errors
/// If the number of keys is none, or does not fit the arguments.
pub fn parse_eval(args: &[&[u8]]) -> Result<EvalRequest, CommandError> {
    let number = parse_i64(args[NUMBER_AT]).ok_or(CommandError::NOT_INTEGER)?;
    count_keys(args, number)
}

fn count_keys(args: &[&[u8]], number: i64) -> Result<EvalRequest, CommandError> {
    let key_count = usize::try_from(number)
        .map_err(|_| CommandError::text("ERR Number of keys can't be negative"))?;
    if key_count > args.len() - EvalRequest::KEYS_AT {
        return Err(CommandError::text("ERR Number of keys can't be greater than number of args"));
    }
    Ok(EvalRequest { key_count })
}

/// SCRIPT FLUSH.
///
/// # Errors
/// If there is another option than ASYNC or SYNC.
pub fn parse_script_flush(args: &[&[u8]]) -> Result<(), CommandError> {
    let is_known =
        |arg: &[u8]| arg.eq_ignore_ascii_case(b"async") || arg.eq_ignore_ascii_case(b"sync");
    match args[2..] {
        [] => Ok(()),
        [option] if is_known(option) => Ok(()),
        _ => Err(CommandError::text("ERR SCRIPT FLUSH only support SYNC|ASYNC option")),
    }
}
