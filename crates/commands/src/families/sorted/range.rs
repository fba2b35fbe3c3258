//! Ranges: by rank, by score, lexicographic; ascending or descending.

use std::ops::Range;

use basalt_keyspace::{DetachedValue, Kind, LexBound, MembersWalk, ScoreRange, SortedRef, event};

use super::store::decide_to_store;
use super::{ROW, RankRange, lex_range, score_range, sorted, write_scored};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Deprecated, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::many_keys::{Decision, KeyRead, ManyKeys, OverKeys, Settings};

const SORTBY: Argument = Argument::one_of(
    "sortby",
    &[Argument::word("byscore", "BYSCORE"), Argument::word("bylex", "BYLEX")],
)
.optional();
const REV: Argument = Argument::word("rev", "REV").optional();
const LIMIT: Argument =
    Argument::block("limit", &[Argument::integer("offset"), Argument::integer("count")])
        .after("LIMIT")
        .optional();
const WITHSCORES: Argument = Argument::word("withscores", "WITHSCORES").optional();

/// The common part of the rows that return a range.
const RANGE_ROW: Command = Command {
    complexity: "O(log(N)+M) for M of N members",
    arity: -4,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, &["RO", "access"])],
    ..ROW
};

/// The kind of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// A parsed range of a sorted set.
#[derive(Clone, Copy, Debug)]
pub struct RangeRequest<'a> {
    bounds: Bounds<'a>,
    is_reversed: bool,
    /// LIMIT: the number of members to skip, and the maximum number to return.
    limit: Option<(i64, i64)>,
    with_scores: bool,
}

#[derive(Clone, Copy, Debug)]
enum Bounds<'a> {
    Ranks(RankRange),
    Scores(ScoreRange),
    Lex((LexBound<'a>, LexBound<'a>)),
}

/// The properties of a range that follow from the command's name; `None` if options decide.
#[derive(Clone, Copy)]
struct Manner {
    by: Option<By>,
    is_reversed: Option<bool>,
    /// Whether the range is returned, not stored.
    is_told: bool,
}

impl<'a> RangeRequest<'a> {
    /// Parses two bounds and the options after them.
    fn parse(args: &'a [&'a [u8]], manner: Manner) -> Result<Self, CommandError> {
        let (mut by, mut is_reversed) = (manner.by, manner.is_reversed);
        let (mut limit, mut with_scores) = (None, false);
        let mut rest = &args[2..];
        while let [word, behind @ ..] = rest {
            rest = behind;
            match (word.to_ascii_lowercase().as_slice(), behind) {
                (b"withscores", _) if manner.is_told => with_scores = true,
                (b"limit", [offset, count, behind @ ..]) => {
                    limit = Some((integer(offset)?, integer(count)?));
                    rest = behind;
                }
                (b"rev", _) if is_reversed.is_none() => is_reversed = Some(true),
                (b"byscore", _) if by.is_none() => by = Some(By::Score),
                (b"bylex", _) if by.is_none() => by = Some(By::Lex),
                _ => return Err(CommandError::SYNTAX),
            }
        }
        let (by, is_reversed) = (by.unwrap_or(By::Rank), is_reversed.unwrap_or(false));
        if by == By::Rank && limit.is_some_and(|(_, count)| count != -1) {
            let text = "ERR syntax error, LIMIT is only supported in combination with either \
                        BYSCORE or BYLEX";
            return Err(CommandError::text(text));
        }
        if by == By::Lex && with_scores {
            let text = "ERR syntax error, WITHSCORES not supported in combination with BYLEX";
            return Err(CommandError::text(text));
        }
        let (min, max) = match by {
            By::Score | By::Lex if is_reversed => (args[1], args[0]),
            _ => (args[0], args[1]),
        };
        let bounds = match by {
            By::Rank => Bounds::Ranks(RankRange::parse(min, max)?),
            By::Score => Bounds::Scores(score_range(min, max)?),
            By::Lex => Bounds::Lex(lex_range(min, max)?),
        };
        let limit = limit.filter(|_| by != By::Rank);
        Ok(Self { bounds, is_reversed, limit, with_scores })
    }

    /// The members of the range, in the requested order, and their number.
    pub fn walk<'s>(&self, sorted: SortedRef<'s>) -> (usize, MembersWalk<'s>) {
        let len = sorted.len();
        let ranks = match self.bounds {
            Bounds::Ranks(range) => {
                let ranks = range.within(len);
                // Ranks are counted from the end at which the iteration starts.
                if self.is_reversed { len - ranks.end..len - ranks.start } else { ranks }
            }
            Bounds::Scores(range) => sorted.ranks_by_score(&range),
            Bounds::Lex(range) => sorted.ranks_by_lex(range),
        };
        let ranks = self.limited(ranks);
        let walk = if self.is_reversed {
            sorted.walk_back(ranks.clone())
        } else {
            sorted.walk(ranks.clone())
        };
        (ranks.len(), walk)
    }

    /// The ranks that LIMIT leaves.
    fn limited(&self, ranks: Range<usize>) -> Range<usize> {
        let Some((offset, count)) = self.limit else { return ranks };
        let Ok(offset) = usize::try_from(offset) else { return 0..0 };
        let offset = offset.min(ranks.len());
        let most = ranks.len() - offset;
        // A negative count means no limit.
        let count = usize::try_from(count).map_or(most, |count| count.min(most));
        if self.is_reversed {
            let end = ranks.end - offset;
            end - count..end
        } else {
            let start = ranks.start + offset;
            start..start + count
        }
    }
}

fn answer(call: &mut Call<'_>, by: Option<By>, is_reversed: Option<bool>) -> Outcome {
    let manner = Manner { by, is_reversed, is_told: true };
    let request = RangeRequest::parse(&call.args[2..], manner)?;
    let entry = call.keyspace.read(call.database, &call.key);
    match sorted(entry.as_deref())? {
        Some(sorted) => {
            let (len, members) = request.walk(sorted);
            write_scored(&mut call.reply, len, members, request.with_scores);
        }
        None => call.reply.array(0),
    }
    Ok(())
}

pub(super) const ZRANGE: Command = Command {
    name: "zrange",
    since: "1.2.0",
    summary: "Returns the members in a range of ranks, of scores, or in a lexicographic range.",
    arguments: &[
        Argument::KEY,
        Argument::string("start"),
        Argument::string("stop"),
        SORTBY,
        REV,
        LIMIT,
        WITHSCORES,
    ],
    run: Run::Shard(zrange),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZRANGE race 0 -1
1) "bob"
2) "eve"
3) "ann"
> ZRANGE race 0 0 REV
1) "ann"
> ZRANGE race (9 +inf BYSCORE LIMIT 1 1
1) "ann"
> ZRANGE race +inf 10 BYSCORE REV
1) "ann"
2) "eve"
@resp 2
> ZRANGE race -2 -1 WITHSCORES
1) "eve"
2) "11"
3) "ann"
4) "12.5"
@resp 3
> ZRANGE race -2 -1 WITHSCORES
1) 1) "eve"
   2) (double) 11
2) 1) "ann"
   2) (double) 12.5
@resp 2
> ZRANGE race -2 -1 WITHSCORES
1) "eve"
2) "11"
3) "ann"
4) "12.5"
@resp 3
> ZRANGE race -2 -1 WITHSCORES
1) 1) "eve"
   2) (double) 11
2) 1) "ann"
   2) (double) 12.5
@resp any
> ZRANGE race - (c BYLEX
1) "bob"
> ZRANGE absent 0 -1
(empty array)
> ZRANGE race 0 -1 LIMIT 0 1
(error) ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX
> ZRANGE race - + BYLEX WITHSCORES
(error) ERR syntax error, WITHSCORES not supported in combination with BYLEX
> ZRANGE race first last
(error) ERR value is not an integer or out of range
"#,
    ..RANGE_ROW
};

fn zrange(call: &mut Call<'_>) -> Outcome {
    answer(call, None, None)
}

pub(super) const ZREVRANGE: Command = Command {
    name: "zrevrange",
    since: "1.2.0",
    summary: "Returns the members in a range of ranks, from the highest score.",
    arguments: &[Argument::KEY, Argument::integer("start"), Argument::integer("stop"), WITHSCORES],
    deprecated: Some(Deprecated {
        since: "6.2.0",
        replaced_by: "`ZRANGE` with the `REV` argument",
    }),
    run: Run::Shard(zrevrange),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZREVRANGE race 0 1
1) "ann"
2) "eve"
> ZREVRANGE race 5 9
(empty array)
> ZREVRANGE race 0 1 REV
(error) ERR syntax error
"#,
    ..RANGE_ROW
};

fn zrevrange(call: &mut Call<'_>) -> Outcome {
    answer(call, Some(By::Rank), Some(true))
}

pub(super) const ZRANGEBYSCORE: Command = Command {
    name: "zrangebyscore",
    since: "1.0.5",
    summary: "Returns the members whose scores are in a range.",
    arguments: &[
        Argument::KEY,
        Argument::double("min"),
        Argument::double("max"),
        WITHSCORES,
        LIMIT,
    ],
    deprecated: Some(Deprecated {
        since: "6.2.0",
        replaced_by: "`ZRANGE` with the `BYSCORE` argument",
    }),
    run: Run::Shard(zrangebyscore),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZRANGEBYSCORE race (9 12.5
1) "eve"
2) "ann"
> ZRANGEBYSCORE race -inf +inf LIMIT 1 -1
1) "eve"
2) "ann"
> ZRANGEBYSCORE race -inf +inf LIMIT -1 1
(empty array)
> ZRANGEBYSCORE race slow fast
(error) ERR min or max is not a float
> ZRANGEBYSCORE race 0 1 LIMIT 0
(error) ERR syntax error
"#,
    ..RANGE_ROW
};

fn zrangebyscore(call: &mut Call<'_>) -> Outcome {
    answer(call, Some(By::Score), Some(false))
}

pub(super) const ZREVRANGEBYSCORE: Command = Command {
    name: "zrevrangebyscore",
    since: "2.2.0",
    summary: "Returns the members whose scores are in a range, from the highest.",
    arguments: &[
        Argument::KEY,
        Argument::double("max"),
        Argument::double("min"),
        WITHSCORES,
        LIMIT,
    ],
    deprecated: Some(Deprecated {
        since: "6.2.0",
        replaced_by: "`ZRANGE` with the `REV` and `BYSCORE` arguments",
    }),
    run: Run::Shard(zrevrangebyscore),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZREVRANGEBYSCORE race +inf 10
1) "ann"
2) "eve"
> ZREVRANGEBYSCORE race +inf -inf LIMIT 1 1
1) "eve"
"#,
    ..RANGE_ROW
};

fn zrevrangebyscore(call: &mut Call<'_>) -> Outcome {
    answer(call, Some(By::Score), Some(true))
}

pub(super) const ZRANGEBYLEX: Command = Command {
    name: "zrangebylex",
    since: "2.8.9",
    summary: "Returns the members in a lexicographic range; all scores must be equal.",
    arguments: &[Argument::KEY, Argument::string("min"), Argument::string("max"), LIMIT],
    deprecated: Some(Deprecated {
        since: "6.2.0",
        replaced_by: "`ZRANGE` with the `BYLEX` argument",
    }),
    run: Run::Shard(zrangebylex),
    shows: r#"> ZADD words 0 apple 0 pear 0 plum
(integer) 3
> ZRANGEBYLEX words [apple (plum
1) "apple"
2) "pear"
> ZRANGEBYLEX words - + LIMIT 1 1
1) "pear"
> ZRANGEBYLEX words apple plum
(error) ERR min or max not valid string range item
"#,
    ..RANGE_ROW
};

fn zrangebylex(call: &mut Call<'_>) -> Outcome {
    answer(call, Some(By::Lex), Some(false))
}

pub(super) const ZREVRANGEBYLEX: Command = Command {
    name: "zrevrangebylex",
    since: "2.8.9",
    summary: "Returns the members in a lexicographic range, in reverse; all scores must be equal.",
    arguments: &[Argument::KEY, Argument::string("max"), Argument::string("min"), LIMIT],
    deprecated: Some(Deprecated {
        since: "6.2.0",
        replaced_by: "`ZRANGE` with the `REV` and `BYLEX` arguments",
    }),
    run: Run::Shard(zrevrangebylex),
    shows: r#"> ZADD words 0 apple 0 pear 0 plum
(integer) 3
> ZREVRANGEBYLEX words (plum -
1) "pear"
2) "apple"
> ZREVRANGEBYLEX words + - LIMIT 0 2
1) "plum"
2) "pear"
"#,
    ..RANGE_ROW
};

fn zrevrangebylex(call: &mut Call<'_>) -> Outcome {
    answer(call, Some(By::Lex), Some(true))
}

pub(super) const ZRANGESTORE: Command = Command {
    name: "zrangestore",
    since: "6.2.0",
    summary: "Stores a range of a sorted set in another one and returns its size.",
    complexity: "O(log(N)+M*log(M)) for M of N members",
    arity: -5,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(1, &["OW", "update"]), KeySpec::at(2, &["RO", "access"])],
    arguments: &[
        Argument::key("dst", 0),
        Argument::key("src", 1),
        Argument::string("min"),
        Argument::string("max"),
        SORTBY,
        REV,
        LIMIT,
    ],
    run: Run::Many(&const { ManyKeys::of::<RangeStore>() }),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZRANGESTORE best race 0 1
(integer) 2
> ZRANGE best 0 -1
1) "bob"
2) "eve"
> ZRANGESTORE best race (9 +inf BYSCORE REV LIMIT 0 1
(integer) 0
> ZRANGESTORE best race 5 9
(integer) 0
> EXISTS best
(integer) 0
> ZRANGESTORE best race 0 1 WITHSCORES
(error) ERR syntax error
"#,
    ..ROW
};

/// Parses ZRANGESTORE's arguments.
pub fn parse_range_store<'a>(args: &'a [&'a [u8]]) -> Result<RangeRequest<'a>, CommandError> {
    RangeRequest::parse(&args[3..], Manner { by: None, is_reversed: None, is_told: false })
}

struct RangeStore;

const TARGET: usize = 0;
const SOURCE: usize = 1;

impl OverKeys for RangeStore {
    /// What is stored, made where the source is.
    type Found = Result<Option<DetachedValue>, CommandError>;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        parse_range_store(args).map(drop)
    }

    fn read(mut key: KeyRead<'_>) -> Self::Found {
        let (args, is_source) = (key.args, key.index == SOURCE);
        let mut made = key.keyspace.make(Kind::Sorted);
        let entry = if is_source { key.entry() } else { None };
        let Some(entry) = entry else { return Ok(None) };
        let sorted = SortedRef::of(&entry).ok_or(CommandError::WRONG_TYPE)?;
        let (_, members) = parse_range_store(args)?.walk(sorted);
        members.for_each(|scored| made.push_scored(scored.member, scored.score));
        Ok(made.finish())
    }

    fn decide(mut found: Vec<Self::Found>, decision: &mut Decision<'_, '_>) -> Outcome {
        decide_to_store((TARGET, found.swap_remove(SOURCE)?), event::ZRANGESTORE, decision)
    }
}
