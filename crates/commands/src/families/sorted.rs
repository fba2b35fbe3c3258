//! Sorted sets: members ordered by score.
//!
//! Not here: geo commands, whose positions are scores (`geo`).

mod add;
mod blocking;
mod choose;
mod combine;
mod look;
mod range;
mod remove;
mod sources;
mod store;
mod take;

use std::ops::Range;

use basalt_keyspace::{Entry, LexBound, ScoreRange, Scored, SortedRef};
use basalt_resp::{Protocol, Reply, parse_f64};

use crate::args::integer;
use crate::argument::Argument;
use crate::command::{Categories, Command, Group};
use crate::error::CommandError;

pub(crate) use add::{AddOptions, put_scored};
pub use range::{RangeRequest, parse_range_store};
pub use store::OwnedMembers;
pub(crate) use store::decide_to_store;

const MIN_OR_MAX: &[Argument] = &[Argument::word("min", "MIN"), Argument::word("max", "MAX")];

pub(crate) const COMMANDS: &[Command] = &[
    blocking::BZMPOP,
    blocking::BZPOPMAX,
    blocking::BZPOPMIN,
    add::ZADD,
    add::ZINCRBY,
    look::ZCARD,
    look::ZCOUNT,
    look::ZLEXCOUNT,
    look::ZMSCORE,
    look::ZRANK,
    look::ZREVRANK,
    look::ZSCORE,
    range::ZRANGE,
    range::ZRANGEBYLEX,
    range::ZRANGEBYSCORE,
    range::ZREVRANGE,
    range::ZREVRANGEBYLEX,
    range::ZREVRANGEBYSCORE,
    remove::ZREM,
    remove::ZREMRANGEBYLEX,
    remove::ZREMRANGEBYRANK,
    remove::ZREMRANGEBYSCORE,
    remove::ZPOPMAX,
    remove::ZPOPMIN,
    choose::ZRANDMEMBER,
    choose::ZSCAN,
    combine::ZDIFF,
    combine::ZDIFFSTORE,
    combine::ZINTER,
    combine::ZINTERCARD,
    combine::ZINTERSTORE,
    combine::ZUNION,
    combine::ZUNIONSTORE,
    range::ZRANGESTORE,
    remove::ZMPOP,
];

/// The common part of this family's rows.
const ROW: Command =
    Command { group: Group::SortedSet, also: Categories::SORTED_SET, ..Command::ROW };

const WITHOUT_NUMBER: CommandError =
    CommandError::text("ERR resulting score is not a number (NaN)");

/// The sorted set of an entry; `None` without an entry, an error for another type.
#[inline]
pub(crate) fn sorted(entry: Option<&Entry>) -> Result<Option<SortedRef<'_>>, CommandError> {
    entry.map(|entry| SortedRef::of(entry).ok_or(CommandError::WRONG_TYPE)).transpose()
}

/// Parses a score.
#[inline]
fn score(text: &[u8]) -> Result<f64, CommandError> {
    parse_f64(text).ok_or(CommandError::NOT_FLOAT)
}

/// Parses two bounds of scores, exclusive after `(`. An empty text is 0, as in Redis.
fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
    let bound = |text: &[u8]| {
        let (text, is_without) = match text {
            [b'(', text @ ..] => (text, true),
            text => (text, false),
        };
        // As a text in C, it ends at the first NUL.
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        // Beyond the largest number this is infinity; a score itself would be rejected.
        let number = || std::str::from_utf8(text).ok()?.parse::<f64>().ok();
        let score = if text.is_empty() { Some(0.0) } else { number() };
        score.filter(|score| !score.is_nan()).map(|score| (score, is_without))
    };
    let (Some((min, without_min)), Some((max, without_max))) = (bound(min), bound(max)) else {
        return Err(CommandError::text("ERR min or max is not a float"));
    };
    Ok(ScoreRange { min, max, without_min, without_max })
}

/// Parses two bounds of members.
fn lex_range<'a>(
    min: &'a [u8],
    max: &'a [u8],
) -> Result<(LexBound<'a>, LexBound<'a>), CommandError> {
    fn bound(text: &[u8]) -> Option<LexBound<'_>> {
        Some(match text {
            b"-" => LexBound::Lowest,
            b"+" => LexBound::Highest,
            [b'[', bytes @ ..] => LexBound::With(bytes),
            [b'(', bytes @ ..] => LexBound::Without(bytes),
            _ => return None,
        })
    }
    match (bound(min), bound(max)) {
        (Some(min), Some(max)) => Ok((min, max)),
        _ => Err(CommandError::text("ERR min or max not valid string range item")),
    }
}

/// Two ranks, both included; negative ones count from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RankRange {
    start: i64,
    stop: i64,
}

impl RankRange {
    fn parse(start: &[u8], stop: &[u8]) -> Result<Self, CommandError> {
        Ok(Self { start: integer(start)?, stop: integer(stop)? })
    }

    /// The range of ranks among `len` members.
    fn within(self, len: usize) -> Range<usize> {
        let count = len as i64;
        let from_front = |at: i64| if at < 0 { at.saturating_add(count) } else { at };
        let start = from_front(self.start).clamp(0, count);
        let end = from_front(self.stop).saturating_add(1).clamp(start, count);
        start as usize..end as usize
    }
}

/// Writes members, optionally with their scores: in RESP3 as pairs, in RESP2 alternating.
pub fn write_scored<'a>(
    reply: &mut Reply<'_>,
    len: usize,
    members: impl Iterator<Item = Scored<'a>>,
    with_scores: bool,
) {
    let in_pairs = with_scores && reply.protocol() == Protocol::Resp3;
    reply.array(if with_scores && !in_pairs { len * 2 } else { len });
    for scored in members {
        if in_pairs {
            reply.array(2);
        }
        reply.bulk(scored.member);
        if with_scores {
            reply.double(scored.score);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_scores_may_be_out_of_bounds() {
        let range = |min: &str, max: &str| score_range(min.as_bytes(), max.as_bytes());
        let found = range("(-1e400", "1e-400").expect("both are numbers");
        assert_eq!((found.min, found.max), (f64::NEG_INFINITY, 0.0));
        assert!(found.without_min && !found.without_max);
        assert_eq!(range("", "(").map(|range| (range.min, range.max)), Ok((0.0, 0.0)));
        assert_eq!(range("\0x", "(5\0").map(|range| (range.min, range.max)), Ok((0.0, 5.0)));
        for text in ["nan", "(nan", " 1", "0x1", "1 ", "-", "(("] {
            assert!(range(text, "1").is_err(), "{text}");
        }
    }

    #[test]
    fn ranks_are_counted_from_both_ends() {
        let within = |start, stop| RankRange { start, stop }.within(5);
        assert_eq!(within(0, -1), 0..5);
        assert_eq!(within(-2, 10), 3..5);
        assert_eq!(within(-10, 1), 0..2);
        assert!(within(3, 1).is_empty() && within(7, 9).is_empty() && within(0, -6).is_empty());
        assert_eq!(within(i64::MIN, i64::MAX), 0..5);
    }
}
