//! DEBUG: commands for tests and debugging.

use basalt_keyspace::{SLOTS, TEXT_BYTES_MAX};
use basalt_resp::{Protocol, Reply};

use super::{ALWAYS, ROW};
use crate::args::integer;
use crate::command::{Command, EngineCommand, Flags, Run};
use crate::error::CommandError;

pub(super) const DEBUG: Command = Command {
    name: "debug",
    since: "1.0.0",
    summary: "A container for commands for tests and debugging.",
    complexity: "That of the subcommand",
    arity: -2,
    flags: ALWAYS.or(Flags::ADMIN).or(Flags::NOSCRIPT).or(Flags::PROTECTED),
    run: Run::Engine(EngineCommand::Debug),
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
@only ours
> DEBUG SLOT-MOVE 0 99 0
OK
> DEBUG SLOT-MOVE 0 16384 0
(error) ERR Invalid or out of range slot
"#,
    ..ROW
};

/// A parsed DEBUG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DebugRequest<'a> {
    Help,
    /// CONFIG REWRITE with every parameter, also those with default values.
    ConfigRewriteForceAll,
    /// The digest of all data.
    Digest,
    /// The digests of the values of some keys.
    DigestValue(&'a [&'a [u8]]),
    /// Replies with this error, unchanged.
    Error(&'a [u8]),
    /// The journal is loaded again.
    LoadAof,
    Log(&'a [u8]),
    Object(&'a [u8]),
    /// Keys `<prefix>:<number>` with values `value:<number>`, cut or filled with zeros to a size;
    /// existing keys stay.
    Populate {
        count: u64,
        prefix: &'a [u8],
        value_bytes: Option<usize>,
    },
    /// A reply of this type; see [`write_debug_protocol`].
    Protocol(&'a [u8]),
    Reload(DebugReload),
    SetActiveExpire(bool),
    /// Moves a range of slots, both ends included, to the shard.
    SlotMove {
        first: u16,
        last: u16,
        shard: u16,
    },
    /// Which shard has which slots.
    Slots,
    /// Whether a text of this many `a` matches a pattern.
    StringMatch {
        len: usize,
        pattern: &'a [u8],
    },
    Sleep {
        duration_us: u64,
    },
    /// Known from Redis' tests, and without a meaning here: replies OK.
    Nothing,
}

/// What DEBUG RELOAD does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebugReload {
    /// The data is saved first.
    pub saves: bool,
    /// The data of before goes.
    pub flushes: bool,
    /// A key of the file takes the place of one that is there; without it that is an error.
    pub merges: bool,
}

/// The subcommands with their numbers of arguments and their help.
const SUBCOMMANDS: &[(&str, std::ops::RangeInclusive<usize>, &str, &str)] = &[
    (
        "config-rewrite-force-all",
        0..=0,
        "CONFIG-REWRITE-FORCE-ALL",
        "As CONFIG REWRITE, but writes every parameter, also those that have their defaults.",
    ),
    (
        "digest",
        0..=0,
        "DIGEST",
        "Tells a digest of all data, which is that of Redis for the same data.",
    ),
    (
        "digest-value",
        0..=usize::MAX,
        "DIGEST-VALUE [<key> ...]",
        "Tells digests of some keys' values.",
    ),
    ("error", 1..=1, "ERROR <text>", "Answers with this error."),
    (
        "loadaof",
        0..=usize::MAX,
        "LOADAOF",
        "Empties all databases and loads the journal again, while all clients wait.",
    ),
    ("log", 1..=1, "LOG <text>", "Writes a line into the server's log."),
    ("object", 1..=2, "OBJECT <key> [fast]", "Tells how a key is kept in memory."),
    (
        "populate",
        1..=3,
        "POPULATE <count> [<prefix>] [<size>]",
        "Makes so many keys, `key:<number>` or with another prefix, with values of a size.",
    ),
    (
        "protocol",
        1..=1,
        "PROTOCOL <type>",
        "Answers with a value of a type: string, integer, double, bignum, null, array, set, map, \
         attrib, push, verbatim, true or false.",
    ),
    (
        "reload",
        0..=usize::MAX,
        "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
        "Saves a snapshot, empties all databases and loads it, while all clients wait. NOSAVE loads \
         the file that is there, NOFLUSH keeps the data, MERGE replaces keys that are there already.",
    ),
    (
        "set-active-expire",
        1..=1,
        "SET-ACTIVE-EXPIRE <0|1>",
        "Says whether keys that are past their expiry go when nobody asks for them.",
    ),
    (
        "slot-move",
        3..=3,
        "SLOT-MOVE <first> <last> <shard>",
        "Moves slots with all that is in them to a shard of this server.",
    ),
    (
        "slots",
        0..=0,
        "SLOTS",
        "Tells which shard has which slots: first, last and shard of each run.",
    ),
    (
        "sleep",
        1..=1,
        "SLEEP <seconds>",
        "Stalls the whole server, all of its shards; fractions of seconds are allowed.",
    ),
    (
        "stringmatch-len",
        2..=2,
        "STRINGMATCH-LEN <len> <pattern>",
        "Matches a text of so many `a` with a pattern.",
    ),
    ("jmap", 0..=0, "", ""),
    ("change-repl-id", 0..=0, "", ""),
    ("quicklist-packed-threshold", 1..=1, "", ""),
    ("set-disable-deny-scripts", 1..=1, "", ""),
    ("dict-resizing", 1..=1, "", ""),
    ("pause-cron", 1..=1, "", ""),
    ("replybuffer", 2..=2, "", ""),
];

/// Parses DEBUG's arguments.
pub fn parse_debug<'a>(args: &'a [&'a [u8]]) -> Result<DebugRequest<'a>, CommandError> {
    let (name, rest) = (args[1].to_ascii_lowercase(), &args[2..]);
    if name == b"help" && rest.is_empty() {
        return Ok(DebugRequest::Help);
    }
    let fits = |(known, counts, ..): &&(&str, std::ops::RangeInclusive<usize>, &str, &str)| {
        known.as_bytes() == name && counts.contains(&rest.len())
    };
    let Some((known, ..)) = SUBCOMMANDS.iter().find(fits) else {
        let before = "ERR unknown subcommand or wrong number of arguments for '";
        return Err(CommandError::quoting(before, args[1], "'. Try DEBUG HELP."));
    };
    Ok(match (*known, rest) {
        ("config-rewrite-force-all", _) => DebugRequest::ConfigRewriteForceAll,
        ("digest", _) => DebugRequest::Digest,
        ("digest-value", keys) => DebugRequest::DigestValue(keys),
        ("error", [text]) => DebugRequest::Error(text),
        ("loadaof", _) => DebugRequest::LoadAof,
        ("log", [text]) => DebugRequest::Log(text),
        ("object", [key, ..]) => DebugRequest::Object(key),
        ("populate", [count, rest @ ..]) => {
            let value_bytes = rest.get(1).map(|size| positive(size)).transpose()?;
            DebugRequest::Populate {
                count: positive(count)?,
                prefix: rest.first().copied().unwrap_or(b"key"),
                value_bytes: value_bytes.map(string_len).filter(|bytes| *bytes > 0),
            }
        }
        ("protocol", [kind]) => DebugRequest::Protocol(kind),
        ("reload", options) => DebugRequest::Reload(reload_options(options)?),
        ("set-active-expire", [switch]) => {
            DebugRequest::SetActiveExpire(leading_integer(switch) != 0)
        }
        ("slot-move", [first, last, shard]) => {
            let (first, last) = (slot(first)?, slot(last)?);
            if first > last {
                let text =
                    format!("ERR start slot number {first} is greater than end slot number {last}");
                return Err(CommandError::new(text.into_bytes()));
            }
            DebugRequest::SlotMove { first, last, shard: unsigned(shard, NO_SHARD)? }
        }
        ("slots", _) => DebugRequest::Slots,
        ("stringmatch-len", [len, pattern]) => {
            let len = string_len(positive(len)?);
            DebugRequest::StringMatch { len, pattern }
        }
        ("sleep", [seconds]) => DebugRequest::Sleep { duration_us: leading_seconds(seconds) },
        _ => DebugRequest::Nothing,
    })
}

fn reload_options(options: &[&[u8]]) -> Result<DebugReload, CommandError> {
    let mut reload = DebugReload { saves: true, flushes: true, merges: false };
    for option in options {
        match option.to_ascii_lowercase().as_slice() {
            b"nosave" => reload.saves = false,
            b"noflush" => reload.flushes = false,
            b"merge" => reload.merges = true,
            _ => {
                return Err(CommandError::text(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    Ok(reload)
}

/// The error for a number that is no shard of this server.
pub const NO_SHARD: CommandError = CommandError::text("ERR Invalid or out of range shard");

fn slot(text: &[u8]) -> Result<u16, CommandError> {
    const NO_SLOT: CommandError = CommandError::text("ERR Invalid or out of range slot");
    let slot = unsigned(text, NO_SLOT)?;
    if usize::from(slot) < SLOTS { Ok(slot) } else { Err(NO_SLOT) }
}

fn unsigned(text: &[u8], refusal: CommandError) -> Result<u16, CommandError> {
    integer(text).ok().and_then(|value| u16::try_from(value).ok()).ok_or(refusal)
}

fn positive(text: &[u8]) -> Result<u64, CommandError> {
    let value = integer(text).ok().and_then(|value| u64::try_from(value).ok());
    value.ok_or(CommandError::text("ERR value is out of range, must be positive"))
}

/// LIMIT: as long as a string may be.
fn string_len(len: u64) -> usize {
    usize::try_from(len).map_or(TEXT_BYTES_MAX, |len| len.min(TEXT_BYTES_MAX))
}

/// As C's atoi: invalid numbers are 0.
fn leading_integer(text: &[u8]) -> i64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    integer(&text[..digits]).unwrap_or(0)
}

/// As C's strtod, in microseconds: invalid or negative numbers are 0.
fn leading_seconds(text: &[u8]) -> u64 {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    let seconds = basalt_resp::parse_f64(&text[..len]).unwrap_or(0.0);
    (seconds * 1_000_000.0) as u64
}

/// DEBUG HELP.
pub fn write_debug_help(reply: &mut Reply<'_>) {
    let shown = || SUBCOMMANDS.iter().filter(|(_, _, usage, _)| !usage.is_empty());
    reply.array(3 + 2 * shown().count());
    reply.simple("DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    for (_, _, usage, help) in shown() {
        reply.simple(usage);
        reply.simple(&format!("    {help}"));
    }
    reply.simple("HELP");
    reply.simple("    Lists the subcommands.");
}

#[expect(clippy::approx_constant, reason = "it is what Redis answers")]
const PROTOCOL_DOUBLE: f64 = 3.141;

/// DEBUG PROTOCOL: replies with a value of this type.
pub fn write_debug_protocol(kind: &[u8], reply: &mut Reply<'_>) -> Result<(), CommandError> {
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double(PROTOCOL_DOUBLE),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            (0..3).for_each(|value| reply.integer(value));
        }
        b"set" => {
            reply.set(3);
            (0..3).for_each(|value| reply.integer(value));
        }
        b"map" => {
            reply.map(3);
            for value in 0..3 {
                reply.integer(value);
                reply.boolean(value == 1);
            }
        }
        b"attrib" => {
            if reply.protocol() == Protocol::Resp3 {
                reply.attribute(1);
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if reply.protocol() == Protocol::Resp2 => {
            return Err(CommandError::text("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            // Valkey sends the push after the reply.
            reply.bulk(b"Some real reply following the push reply");
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        _ => {
            return Err(CommandError::text(
                "ERR Wrong protocol type name. Please use one of the following: string|integer|\
                 double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<DebugRequest<'_>, &str>) {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let parsed = parse_debug(&args).map_err(|error| error.to_string());
        assert_eq!(parsed, expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn subcommands_are_read() {
        check("debug DIGEST", Ok(DebugRequest::Digest));
        check("debug digest-value", Ok(DebugRequest::DigestValue(&[])));
        let populate = |count, prefix: &'static [u8], value_bytes| {
            Ok(DebugRequest::Populate { count, prefix, value_bytes })
        };
        check("debug populate 3", populate(3, b"key", None));
        check("debug populate 3 pre 10", populate(3, b"pre", Some(10)));
        check("debug sleep 0.25", Ok(DebugRequest::Sleep { duration_us: 250_000 }));
        check("debug sleep x", Ok(DebugRequest::Sleep { duration_us: 0 }));
        check("debug set-active-expire 1", Ok(DebugRequest::SetActiveExpire(true)));
        check("debug set-active-expire no", Ok(DebugRequest::SetActiveExpire(false)));
        check("debug slots", Ok(DebugRequest::Slots));
        let all = DebugRequest::SlotMove { first: 0, last: 16383, shard: 1 };
        check("debug slot-move 0 16383 1", Ok(all));
        check("debug jmap", Ok(DebugRequest::Nothing));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refusal = |name: &str| {
            format!(
                "ERR unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP."
            )
        };
        for line in ["debug Nonsense", "debug Digest x", "debug SLEEP", "debug populate 1 a b c"] {
            let name = line.split(' ').nth(1).expect("because each has two words");
            check(line, Err(&refusal(name)));
        }
        check("debug populate -1", Err("ERR value is out of range, must be positive"));
        for line in ["debug slot-move -1 2 0", "debug slot-move 0 16384 0", "debug slot-move a 1 0"]
        {
            check(line, Err("ERR Invalid or out of range slot"));
        }
        check("debug slot-move 0 1 x", Err("ERR Invalid or out of range shard"));
        let backwards = "ERR start slot number 2 is greater than end slot number 1";
        check("debug slot-move 2 1 0", Err(backwards));
        check("debug populate 1 p x", Err("ERR value is out of range, must be positive"));
    }
}
