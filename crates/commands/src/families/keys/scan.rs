//! Iterates over keys.

use super::ROW;
use crate::args::{Grammar, integer, value};
use crate::argument::Argument;
use crate::command::{Categories, Command, EngineCommand, Flags, Run};
use crate::error::CommandError;
use crate::glob;
use basalt_resp::Reply;

pub(super) const SCAN: Command = Command {
    name: "scan",
    since: "2.8.0",
    summary: "Iterates over the keys of the database: returns some of them and the next cursor, 0 at the end.",
    complexity: "O(1) for a call; O(N) for all N keys",
    arity: -2,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
    arguments: &[
        Argument::integer("cursor"),
        Argument::pattern("pattern").after("MATCH").optional(),
        Argument::integer("count").after("COUNT").optional(),
        Argument::string("type").after("TYPE").optional(),
    ],
    run: Run::Engine(EngineCommand::Scan),
    shows: r#"> MSET user:1 ann user:2 bob post:1 hello
OK
@sorted
> SCAN 0 COUNT 100
1) "0"
2) 1) "post:1"
   2) "user:1"
   3) "user:2"
@sorted
> SCAN 0 MATCH user:* COUNT 100
1) "0"
2) 1) "user:1"
   2) "user:2"
> SCAN 0 COUNT 100 TYPE list
1) "0"
2) (empty array)
> SCAN 0 COUNT 0
(error) ERR syntax error
> SCAN start
(error) ERR invalid cursor
"#,
    ..ROW
};

/// A parsed SCAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanRequest<'a> {
    pub cursor: u64,
    pub pattern: Option<&'a [u8]>,
    /// About how many keys to visit, at least 1.
    pub count: usize,
    /// A type's name in lower case, as TYPE returns it.
    pub type_name: Option<&'static str>,
}

#[derive(Clone, Copy)]
pub(super) enum ScanOption {
    Match,
    Count,
    Type,
}

pub(super) const SCAN_OPTIONS: Grammar<ScanOption> = Grammar(&[
    value("match", ScanOption::Match),
    value("count", ScanOption::Count),
    value("type", ScanOption::Type),
]);

/// The options of HSCAN, SSCAN and ZSCAN; each command has some of them.
#[derive(Clone, Copy)]
pub(in crate::families) enum MemberScanOption {
    Match,
    Count,
    /// Leaves out values or scores.
    NamesOnly,
    /// HSCAN's word, in a command that recognizes it and rejects it.
    ForHashes,
}

/// A parsed HSCAN, SSCAN or ZSCAN.
pub(in crate::families) struct MemberScan<'a> {
    pattern: Option<&'a [u8]>,
    /// About how many members to visit, at least 1.
    pub count: usize,
    pub names_only: bool,
}

impl<'a> MemberScan<'a> {
    /// Parses the arguments after the cursor.
    pub(in crate::families) fn parse(
        args: &'a [&'a [u8]],
        options: &Grammar<MemberScanOption>,
    ) -> Result<Self, CommandError> {
        let mut scan = Self { pattern: None, count: COUNT_DEFAULT, names_only: false };
        for option in options.parse(args) {
            match option? {
                (MemberScanOption::Match, values) => scan.pattern = pattern(values[0]),
                (MemberScanOption::Count, values) => scan.count = count(values[0])?,
                (MemberScanOption::NamesOnly, _) => scan.names_only = true,
                (MemberScanOption::ForHashes, _) => {
                    let text = "ERR NOVALUES option can only be used in HSCAN";
                    return Err(CommandError::text(text));
                }
            }
        }
        Ok(scan)
    }

    pub(in crate::families) fn wants(&self, member: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, member))
    }
}

/// A page of a scan: the next cursor, and `len` encoded elements.
pub(in crate::families) fn write_page(reply: &mut Reply<'_>, next: u64, len: usize, page: &[u8]) {
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(len);
    reply.raw(page);
}

/// The pattern; `None` if everything matches it.
fn pattern(text: &[u8]) -> Option<&[u8]> {
    Some(text).filter(|pattern| !wants_every_key(pattern))
}

fn count(text: &[u8]) -> Result<usize, CommandError> {
    let count = usize::try_from(integer(text)?).unwrap_or(0);
    Some(count).filter(|count| *count > 0).ok_or(CommandError::SYNTAX)
}

const TYPES: [&str; 7] = ["string", "list", "set", "zset", "hash", "module", "stream"];
const COUNT_DEFAULT: usize = 10;

/// Parses SCAN's arguments.
pub fn parse_scan<'a>(args: &'a [&'a [u8]]) -> Result<ScanRequest<'a>, CommandError> {
    let mut scan = ScanRequest {
        cursor: parse_cursor(args[1])?,
        pattern: None,
        count: COUNT_DEFAULT,
        type_name: None,
    };
    for option in SCAN_OPTIONS.parse(&args[2..]) {
        match option? {
            (ScanOption::Match, values) => scan.pattern = pattern(values[0]),
            (ScanOption::Count, values) => scan.count = count(values[0])?,
            (ScanOption::Type, values) => {
                let known =
                    TYPES.iter().find(|name| values[0].eq_ignore_ascii_case(name.as_bytes()));
                scan.type_name = Some(known.ok_or_else(|| {
                    CommandError::quoting("ERR unknown type name '", values[0], "'")
                })?);
            }
        }
    }
    Ok(scan)
}

/// Digits, with optional blanks and a plus sign before them, as C's strtoul parses them.
pub(crate) fn parse_cursor(text: &[u8]) -> Result<u64, CommandError> {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | 9..=13)).count();
    let text = &text[blanks..];
    let digits = text.strip_prefix(b"+").unwrap_or(text);
    let value = match digits {
        [] => None,
        digits => digits.iter().try_fold(0_u64, |value, byte| {
            let digit = char::from(*byte).to_digit(10)?;
            value.checked_mul(10)?.checked_add(u64::from(digit))
        }),
    };
    value.ok_or(CommandError::text("ERR invalid cursor"))
}

/// Whether a pattern stands for everything, the empty name included.
pub fn wants_every_key(pattern: &[u8]) -> bool {
    pattern == b"*"
}

pub(super) const KEYS: Command = Command {
    name: "keys",
    since: "1.0.0",
    summary: "Returns all keys that match a pattern, in one step; SCAN does not block other clients.",
    complexity: "O(N) for N keys in the database",
    arity: 2,
    flags: Flags::READONLY,
    also: Categories::KEYSPACE.or(Categories::DANGEROUS),
    tips: &["request_policy:all_shards", "nondeterministic_output_order"],
    arguments: &[Argument::pattern("pattern")],
    run: Run::Engine(EngineCommand::Keys),
    shows: r#"> MSET user:1 ann user:2 bob post:1 hello
OK
@sorted
> KEYS user:?
1) "user:1"
2) "user:2"
> KEYS [0-9]*
(empty array)
@sorted
> KEYS *
1) "post:1"
2) "user:1"
3) "user:2"
"#,
    ..ROW
};

pub(super) const RANDOMKEY: Command = Command {
    name: "randomkey",
    since: "1.0.0",
    summary: "Returns a random key.",
    arity: 1,
    flags: Flags::READONLY,
    tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
    run: Run::Engine(EngineCommand::RandomKey),
    shows: r#"> RANDOMKEY
(nil)
> SET only one
OK
> RANDOMKEY
"only"
"#,
    ..ROW
};

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<ScanRequest<'_>, &str>) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let parsed = parse_scan(&args).map_err(|error| error.to_string());
        assert_eq!(parsed, expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn options_are_read() {
        let plain = ScanRequest { cursor: 0, pattern: None, count: 10, type_name: None };
        check("scan 0", Ok(plain));
        let (pattern, type_name) = (Some(&b"a*"[..]), Some("string"));
        check(
            "scan 18446744073709551615 type STRING match a* count 7",
            Ok(ScanRequest { cursor: u64::MAX, pattern, count: 7, type_name }),
        );
        check("scan +7 match *", Ok(ScanRequest { cursor: 7, ..plain }));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for cursor in ["", "-1", "18446744073709551616", " ", "0x", "+", "1 "] {
            let args: [&[u8]; 2] = [b"scan", cursor.as_bytes()];
            assert_eq!(
                parse_scan(&args),
                Err(CommandError::text("ERR invalid cursor")),
                "{cursor}"
            );
        }
        for options in ["count 0", "count -5", "count", "what", "match"] {
            check(&format!("scan 0 {options}"), Err("ERR syntax error"));
        }
        check("scan 0 count x", Err("ERR value is not an integer or out of range"));
        check("scan 0 type tree", Err("ERR unknown type name 'tree'"));
    }
}
