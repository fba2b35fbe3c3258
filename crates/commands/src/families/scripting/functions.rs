//! Functions: libraries that the server keeps, and calls of what they registered.

use basalt_resp::parse_i64;

use super::{EvalRequest, NUMBER_AT, READING, ROW, RUN_FLAGS, RUN_ROW, SUB_FLAGS, count_keys};
use crate::argument::Argument;
use crate::command::{Categories, Command, EngineCommand, Flags, Run};
use crate::error::CommandError;

const CALL_ARGUMENTS: &[Argument] = &[
    Argument::string("function"),
    Argument::integer("numkeys"),
    Argument::key("key", 0).optional().multiple(),
    Argument::string("arg").optional().multiple(),
];

pub(super) const FCALL: Command = Command {
    name: "fcall",
    since: "7.0.0",
    summary: "Calls a function of a library, which others see as happening at one moment.",
    complexity: "Depends on the function",
    arguments: CALL_ARGUMENTS,
    run: Run::Engine(EngineCommand::Fcall),
    shows: r##"> FUNCTION LOAD REPLACE "#!lua name=fcall_row\nredis.register_function('fcall_set', function(keys, args) return redis.call('SET', keys[1], args[1]) end)"
"fcall_row"
> FCALL fcall_set 1 greeting hello
OK
> FCALL FCALL_SET 1 greeting hello
OK
> GET greeting
"hello"
> FCALL nothing 0
(error) ERR Function not found
> FCALL fcall_set many
(error) ERR Bad number of keys provided
> FCALL fcall_set -1
(error) ERR Number of keys can't be negative
> FCALL fcall_set 2 a
(error) ERR Number of keys can't be greater than number of args
> FUNCTION DELETE fcall_row
OK
"##,
    ..RUN_ROW
};

pub(super) const FCALL_RO: Command = Command {
    name: "fcall_ro",
    since: "7.0.0",
    summary: "Calls a function of a library that may not write.",
    complexity: "Depends on the function",
    flags: RUN_FLAGS.or(Flags::READONLY),
    keys: READING,
    arguments: CALL_ARGUMENTS,
    run: Run::Engine(EngineCommand::FcallRo),
    shows: r##"> FUNCTION LOAD REPLACE "#!lua name=ro_row\nredis.register_function{function_name='ro_get', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}\nredis.register_function('ro_none', function() return 1 end)"
"ro_row"
> SET counter 5
OK
> FCALL_RO ro_get 1 counter
"5"
> FCALL_RO ro_none 0
(error) ERR Can not execute a script with write flag using *_ro command.
> FUNCTION DELETE ro_row
OK
"##,
    ..RUN_ROW
};

const FUNCTION_ROW: Command =
    Command { since: "7.0.0", arity: 2, flags: SUB_FLAGS, also: Categories::SCRIPTING, ..ROW };

/// Of those that change what every shard knows.
const CHANGE_TIPS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

pub(super) const FUNCTION: Command = Command {
    name: "function",
    since: "7.0.0",
    summary: "A container for commands about libraries of functions.",
    complexity: "That of the subcommand",
    arity: -2,
    subcommands: &[DELETE, DUMP, FLUSH, HELP, KILL, LIST, LOAD, RESTORE, STATS],
    shows: r##"> FUNCTION NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try FUNCTION HELP.
"##,
    ..ROW
};

const DELETE: Command = Command {
    name: "function|delete",
    summary: "Deletes a library with its functions.",
    arity: 3,
    flags: SUB_FLAGS.or(Flags::WRITE),
    tips: CHANGE_TIPS,
    arguments: &[Argument::string("library-name")],
    run: Run::Engine(EngineCommand::FunctionDelete),
    shows: r##"> FUNCTION LOAD REPLACE "#!lua name=delete_row\nredis.register_function('delete_one', function() return 1 end)"
"delete_row"
> FUNCTION DELETE delete_row
OK
> FCALL delete_one 0
(error) ERR Function not found
> FUNCTION DELETE delete_row
(error) ERR Library not found
"##,
    ..FUNCTION_ROW
};

const DUMP: Command = Command {
    name: "function|dump",
    summary: "Returns all libraries in a serialized form.",
    complexity: "O(N) for N functions",
    run: Run::Engine(EngineCommand::FunctionDump),
    shows: r##"> FUNCTION FLUSH
OK
> FUNCTION DUMP
<any text>
"##,
    ..FUNCTION_ROW
};

const FLUSH: Command = Command {
    name: "function|flush",
    summary: "Deletes all libraries.",
    complexity: "O(N) for N functions",
    arity: -2,
    flags: SUB_FLAGS.or(Flags::WRITE),
    tips: CHANGE_TIPS,
    arguments: &[Argument::one_of(
        "flush-type",
        &[Argument::word("async", "ASYNC"), Argument::word("sync", "SYNC")],
    )
    .optional()],
    run: Run::Engine(EngineCommand::FunctionFlush),
    shows: r##"> FUNCTION LOAD REPLACE "#!lua name=flush_row\nredis.register_function('flush_one', function() return 1 end)"
"flush_row"
> FUNCTION FLUSH
OK
> FUNCTION LIST
(empty array)
> FUNCTION FLUSH LATER
(error) ERR FUNCTION FLUSH only supports SYNC|ASYNC option
> FUNCTION FLUSH SYNC ASYNC
(error) ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP.
"##,
    ..FUNCTION_ROW
};

const HELP: Command = Command {
    name: "function|help",
    summary: "Lists the subcommands.",
    flags: Flags::LOADING.or(Flags::STALE),
    run: Run::Engine(EngineCommand::FunctionHelp),
    shows: r##"> FUNCTION HELP
<any text>1) FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:
<any lines>
"##,
    ..FUNCTION_ROW
};

const KILL: Command = Command {
    name: "function|kill",
    summary: "Ends the function that runs, if it wrote nothing.",
    flags: SUB_FLAGS.or(Flags::ALLOW_BUSY),
    tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
    run: Run::Engine(EngineCommand::FunctionKill),
    shows: r##"> FUNCTION KILL
(error) NOTBUSY No scripts in execution right now.
"##,
    ..FUNCTION_ROW
};

const LIST: Command = Command {
    name: "function|list",
    summary: "Returns what is known of the libraries.",
    complexity: "O(N) for N functions",
    arity: -2,
    tips: &["nondeterministic_output_order"],
    arguments: &[
        Argument::string("library-name-pattern").after("LIBRARYNAME").optional(),
        Argument::word("withcode", "WITHCODE").optional(),
    ],
    run: Run::Engine(EngineCommand::FunctionList),
    shows: r##"@resp 2
> FUNCTION LOAD REPLACE "#!lua name=list_row\nredis.register_function{function_name='list_one', callback=function() return 1 end, description='one', flags={'no-writes'}}"
"list_row"
> FUNCTION LIST LIBRARYNAME list_r* WITHCODE
1) 1) "library_name"
   2) "list_row"
   3) "engine"
   4) "LUA"
   5) "functions"
   6) 1) 1) "name"
         2) "list_one"
         3) "description"
         4) "one"
         5) "flags"
         6) 1) no-writes
   7) "library_code"
   8) "#!lua name=list_row\nredis.register_function{function_name='list_one', callback=function() return 1 end, description='one', flags={'no-writes'}}"
> FUNCTION LIST NONSENSE
(error) ERR Unknown argument NONSENSE
> FUNCTION LIST LIBRARYNAME
(error) ERR library name argument was not given
> FUNCTION LIST WITHCODE WITHCODE
(error) ERR Unknown argument WITHCODE
> FUNCTION DELETE list_row
OK
"##,
    ..FUNCTION_ROW
};

const LOAD: Command = Command {
    name: "function|load",
    summary: "Loads a library, and returns its name.",
    complexity: "O(1), beside what the library does while it is loaded",
    arity: -3,
    flags: SUB_FLAGS.or(Flags::WRITE).or(Flags::DENYOOM),
    tips: CHANGE_TIPS,
    arguments: &[
        Argument::word("replace", "REPLACE").optional(),
        Argument::string("function-code"),
    ],
    run: Run::Engine(EngineCommand::FunctionLoad),
    shows: r##"> FUNCTION LOAD REPLACE "#!lua name=load_row\nredis.register_function('load_one', function() return 1 end)"
"load_row"
> FUNCTION LOAD "#!lua name=load_row\nredis.register_function('load_one', function() return 2 end)"
(error) ERR Library 'load_row' already exists
> FUNCTION LOAD "#!lua name=load_other\nredis.register_function('LOAD_ONE', function() return 2 end)"
(error) ERR Function LOAD_ONE already exists
> FUNCTION LOAD LATER "code"
(error) ERR Unknown option given: LATER
> FUNCTION LOAD "return 1"
(error) ERR Missing library metadata
> FUNCTION LOAD "#!lua name=load_other\n"
(error) ERR No functions registered
> FCALL load_one 0
(integer) 1
> FUNCTION DELETE load_row
OK
"##,
    ..FUNCTION_ROW
};

const RESTORE: Command = Command {
    name: "function|restore",
    summary: "Loads the libraries of a serialized form.",
    complexity: "O(N) for N functions",
    arity: -3,
    flags: SUB_FLAGS.or(Flags::WRITE).or(Flags::DENYOOM),
    tips: CHANGE_TIPS,
    arguments: &[
        Argument::string("serialized-value"),
        Argument::one_of(
            "policy",
            &[
                Argument::word("flush", "FLUSH"),
                Argument::word("append", "APPEND"),
                Argument::word("replace", "REPLACE"),
            ],
        )
        .optional(),
    ],
    run: Run::Engine(EngineCommand::FunctionRestore),
    shows: r##"> FUNCTION RESTORE nonsense
(error) ERR DUMP payload version or checksum are wrong
> FUNCTION RESTORE "" LATER
(error) ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.
> FUNCTION RESTORE "" FLUSH NOW
(error) ERR unknown subcommand or wrong number of arguments for 'RESTORE'. Try FUNCTION HELP.
"##,
    ..FUNCTION_ROW
};

const STATS: Command = Command {
    name: "function|stats",
    summary: "Returns which function runs, and how many there are.",
    flags: SUB_FLAGS.or(Flags::ALLOW_BUSY),
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    run: Run::Engine(EngineCommand::FunctionStats),
    shows: r##"@resp 2
> FUNCTION FLUSH
OK
> FUNCTION LOAD "#!lua name=stats_row\nredis.register_function('stats_one', function() return 1 end)"
"stats_row"
> FUNCTION STATS
1) "running_script"
2) (nil)
3) "engines"
4) 1) "LUA"
   2) 1) "libraries_count"
      2) (integer) 1
      3) "functions_count"
      4) (integer) 1
> FUNCTION FLUSH
OK
"##,
    ..FUNCTION_ROW
};

/// The arguments of FCALL: as those of EVAL.
///
/// # Errors
/// If the number of keys is none, or does not fit the arguments.
pub fn parse_fcall(args: &[&[u8]]) -> Result<EvalRequest, CommandError> {
    let number =
        parse_i64(args[NUMBER_AT]).ok_or(CommandError::text("ERR Bad number of keys provided"))?;
    count_keys(args, number)
}

/// FUNCTION LOAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadRequest<'a> {
    pub replaces: bool,
    pub code: &'a [u8],
}

/// # Errors
/// If there is another option than REPLACE.
pub fn parse_function_load<'a>(args: &[&'a [u8]]) -> Result<LoadRequest<'a>, CommandError> {
    let (code, options) = args[2..].split_last().ok_or(CommandError::SYNTAX)?;
    for option in options {
        if !option.eq_ignore_ascii_case(b"replace") {
            return Err(CommandError::new([b"ERR Unknown option given: ", *option].concat()));
        }
    }
    Ok(LoadRequest { replaces: !options.is_empty(), code })
}

/// FUNCTION LIST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    pub pattern: Option<Vec<u8>>,
    pub with_code: bool,
}

/// # Errors
/// If an argument is unknown or repeated.
pub fn parse_function_list(args: &[&[u8]]) -> Result<ListRequest, CommandError> {
    let (mut request, mut rest) = (ListRequest::default(), args[2..].iter());
    while let Some(arg) = rest.next() {
        if !request.with_code && arg.eq_ignore_ascii_case(b"withcode") {
            request.with_code = true;
        } else if request.pattern.is_none() && arg.eq_ignore_ascii_case(b"libraryname") {
            let pattern = rest.next();
            let pattern =
                pattern.ok_or(CommandError::text("ERR library name argument was not given"))?;
            request.pattern = Some(pattern.to_vec());
        } else {
            return Err(CommandError::new([b"ERR Unknown argument ", *arg].concat()));
        }
    }
    Ok(request)
}

fn too_many(args: &[&[u8]]) -> CommandError {
    let name = String::from_utf8_lossy(args[1]);
    CommandError::new(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try FUNCTION HELP."
    ))
}

/// FUNCTION FLUSH.
///
/// # Errors
/// If there is another option than ASYNC or SYNC.
pub fn parse_function_flush(args: &[&[u8]]) -> Result<(), CommandError> {
    let is_known =
        |arg: &[u8]| arg.eq_ignore_ascii_case(b"async") || arg.eq_ignore_ascii_case(b"sync");
    match args[2..] {
        [] => Ok(()),
        [option] if is_known(option) => Ok(()),
        [_] => Err(CommandError::text("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")),
        _ => Err(too_many(args)),
    }
}

/// What FUNCTION RESTORE does with the libraries that are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestorePolicy {
    Flush,
    #[default]
    Append,
    Replace,
}

/// # Errors
/// If the policy is unknown.
pub fn parse_function_restore(args: &[&[u8]]) -> Result<RestorePolicy, CommandError> {
    let [policy] = args[3..] else {
        return if args.len() > 4 { Err(too_many(args)) } else { Ok(RestorePolicy::Append) };
    };
    match policy.to_ascii_lowercase().as_slice() {
        b"flush" => Ok(RestorePolicy::Flush),
        b"append" => Ok(RestorePolicy::Append),
        b"replace" => Ok(RestorePolicy::Replace),
        _ => Err(CommandError::text(
            "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
        )),
    }
}
