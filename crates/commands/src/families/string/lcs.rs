//! LCS: the longest common subsequence of two strings, by dynamic programming.

use std::ops::Range;

use basalt_keyspace::is_granted;
use basalt_resp::Reply;

use super::{ROW, TravellingText};
use crate::args::{Grammar, flag, integer, value};
use crate::argument::Argument;
use crate::call::Outcome;
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::many_keys::{Decision, KeyRead, ManyKeys, OverKeys};

pub(super) const LCS: Command = Command {
    name: "lcs",
    since: "7.0.0",
    summary: "Returns the longest common subsequence of two strings.",
    complexity: "O(N*M) for strings of N and M bytes",
    arity: -3,
    flags: Flags::READONLY,
    keys: &[KeySpec { last: 2, ..KeySpec::at(1, &["RO", "access"]) }],
    arguments: &[
        Argument::key("key1", 0),
        Argument::key("key2", 0),
        Argument::word("len", "LEN").optional(),
        Argument::word("idx", "IDX").optional(),
        Argument::integer("min-match-len").after("MINMATCHLEN").optional(),
        Argument::word("withmatchlen", "WITHMATCHLEN").optional(),
    ],
    run: Run::Many(&const { ManyKeys::of::<LcsOver>() }),
    shows: r#"> MSET first ohmytext second mynewtext
OK
> LCS first second
"mytext"
> LCS first second LEN
(integer) 6
> LCS first absent
""
@resp 2
> LCS first second IDX MINMATCHLEN 4 WITHMATCHLEN
1) "matches"
2) 1) 1) 1) (integer) 4
         2) (integer) 7
      2) 1) (integer) 5
         2) (integer) 8
      3) (integer) 4
3) "len"
4) (integer) 6
@resp any
> LCS first second LEN IDX
(error) ERR If you want both the length and indexes, please just use IDX.
"#,
    ..ROW
};

/// The form of LCS' reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LcsRequest {
    wants_len: bool,
    wants_ranges: bool,
    with_lens: bool,
    /// Shorter ranges are left out.
    range_len_min: usize,
}

#[derive(Clone, Copy)]
pub(super) enum LcsOption {
    Len,
    Ranges,
    RangeLenMin,
    WithLens,
}

pub(super) const LCS_OPTIONS: Grammar<LcsOption> = Grammar(&[
    flag("len", LcsOption::Len),
    flag("idx", LcsOption::Ranges),
    value("minmatchlen", LcsOption::RangeLenMin),
    flag("withmatchlen", LcsOption::WithLens),
]);

/// Parses LCS' arguments after the keys.
pub(super) fn parse_lcs(args: &[&[u8]]) -> Result<LcsRequest, CommandError> {
    let mut request = LcsRequest::default();
    for option in LCS_OPTIONS.parse(args) {
        match option? {
            (LcsOption::Len, _) => request.wants_len = true,
            (LcsOption::Ranges, _) => request.wants_ranges = true,
            (LcsOption::WithLens, _) => request.with_lens = true,
            (LcsOption::RangeLenMin, values) => {
                request.range_len_min = usize::try_from(integer(values[0])?).unwrap_or(0);
            }
        }
    }
    if request.wants_len && request.wants_ranges {
        let text = "ERR If you want both the length and indexes, please just use IDX.";
        return Err(CommandError::text(text));
    }
    Ok(request)
}

/// The common subsequence of two strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Common {
    bytes: Vec<u8>,
    /// Ranges that are contiguous in both strings, the last ones first.
    ranges: Vec<(Range<usize>, Range<usize>)>,
}

/// Finds the common subsequence of two strings. An error if the table would take more than
/// `bytes_max`.
pub(super) fn lcs(a: &[u8], b: &[u8], bytes_max: u64) -> Result<Common, CommandError> {
    let width = b.len() + 1;
    let cells = (a.len() + 1).saturating_mul(width);
    if cells.saturating_mul(size_of::<u32>()) as u64 > bytes_max {
        return Err(CommandError::text(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    if !is_granted(cells * size_of::<u32>()) {
        return Err(CommandError::text(
            "ERR Insufficient memory, failed allocating transient memory for LCS",
        ));
    }
    // Row i, column j: how much the first i bytes of one and the first j of the other have in common.
    let mut lens = vec![0_u32; cells];
    for (i, byte) in a.iter().enumerate() {
        let (above, row) = lens[i * width..(i + 2) * width].split_at_mut(width);
        for (j, other) in b.iter().enumerate() {
            row[j + 1] = if byte == other { above[j] + 1 } else { above[j + 1].max(row[j]) };
        }
    }
    let (mut i, mut j) = (a.len(), b.len());
    let mut common = Common::default();
    let mut is_side_by_side = false;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            common.bytes.push(a[i]);
            match common.ranges.last_mut().filter(|_| is_side_by_side) {
                Some((in_a, in_b)) => (in_a.start, in_b.start) = (i, j),
                None => common.ranges.push((i..i + 1, j..j + 1)),
            }
            is_side_by_side = true;
        } else {
            let (shorter_a, shorter_b) = (lens[(i - 1) * width + j], lens[i * width + j - 1]);
            if shorter_a > shorter_b {
                i -= 1;
            } else {
                j -= 1;
            }
            is_side_by_side = false;
        }
    }
    common.bytes.reverse();
    Ok(common)
}

/// Runs LCS and replies.
pub(super) fn write_lcs(request: LcsRequest, common: &Common, reply: &mut Reply<'_>) {
    if request.wants_len {
        return reply.integer(common.bytes.len() as i64);
    }
    if !request.wants_ranges {
        return reply.bulk(&common.bytes);
    }
    let is_long = |(range, _): &&(Range<usize>, _)| range.len() >= request.range_len_min;
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(common.ranges.iter().filter(is_long).count());
    for (in_a, in_b) in common.ranges.iter().filter(is_long) {
        reply.array(if request.with_lens { 3 } else { 2 });
        for range in [in_a, in_b] {
            reply.array(2);
            reply.integer(range.start as i64);
            reply.integer(range.end as i64 - 1);
        }
        if request.with_lens {
            reply.integer(in_a.len() as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(common.bytes.len() as i64);
}

struct LcsOver;

impl OverKeys for LcsOver {
    type Found = Result<TravellingText, CommandError>;

    // No check: a key of the wrong type is refused before wrong words behind the keys.

    fn read(key: KeyRead<'_>) -> Self::Found {
        let entry = key.keyspace.read(key.database, &key.key);
        TravellingText::of(entry.as_deref())
    }

    fn decide(found: Vec<Self::Found>, decision: &mut Decision<'_, '_>) -> Outcome {
        let texts: Result<Vec<TravellingText>, _> = found.into_iter().collect();
        let texts = texts
            .map_err(|_| CommandError::text("ERR The specified keys must contain string values"))?;
        let request = parse_lcs(&decision.args[3..])?;
        let bytes_max = decision.settings.config.proto_max_bulk_len;
        write_lcs(request, &lcs(&texts[0], &texts[1], bytes_max)?, decision.reply);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_common_is_found_with_its_places() {
        let common = lcs(b"ohmytext", b"mynewtext", 1 << 20).unwrap();
        assert_eq!(common.bytes, b"mytext");
        assert_eq!(common.ranges, [(4..8, 5..9), (2..4, 0..2)]);
        assert_eq!(lcs(b"", b"abc", 1 << 20).unwrap(), Common::default());
        assert_eq!(lcs(b"xyz", b"abc", 1 << 20).unwrap(), Common::default());
        assert_eq!(lcs(b"aaa", b"aa", 1 << 20).unwrap().bytes, b"aa");
        assert!(lcs(&[0; 100], &[0; 100], 4 * 101 * 101).is_ok());
        assert!(lcs(&[0; 100], &[0; 100], 4 * 101 * 101 - 1).is_err());
    }

    #[test]
    fn options_are_read() {
        let parse = |line: &str| {
            let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            parse_lcs(&args)
        };
        assert_eq!(parse("minmatchlen -5").map(|request| request.range_len_min), Ok(0));
        assert_eq!(parse("MINMATCHLEN x"), Err(CommandError::NOT_INTEGER));
        assert_eq!(parse("MINMATCHLEN"), Err(CommandError::SYNTAX));
        assert!(parse("len idx").is_err() && parse("IDX withmatchlen LEN").is_err());
    }
}
