//! Adds members and changes scores.

use basalt_keyspace::{Effect, SortedChange, Strings, event, score_bytes};

use super::{ROW, WITHOUT_NUMBER, score, sorted};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const ZADD: Command = Command {
    name: "zadd",
    since: "1.2.0",
    summary: "Adds members with scores, or changes the scores, and returns how many members are new.",
    complexity: "O(log(N)) for each member, N being how many there are",
    arity: -4,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[
        Argument::KEY,
        Argument::one_of("condition", &[Argument::word("nx", "NX"), Argument::word("xx", "XX")])
            .optional(),
        Argument::one_of("comparison", &[Argument::word("gt", "GT"), Argument::word("lt", "LT")])
            .optional(),
        Argument::word("change", "CH").optional(),
        Argument::word("increment", "INCR").optional(),
        Argument::block("data", &[Argument::double("score"), Argument::string("member")])
            .multiple(),
    ],
    run: Run::Shard(zadd),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZADD race 9.25 bob 10 joe
(integer) 1
> ZADD race XX CH 12 ann 8 nobody
(integer) 1
> ZADD race GT CH 8 bob 13 eve
(integer) 1
@resp 2
> ZADD race INCR 1.5 joe
"11.5"
@resp 3
> ZADD race INCR 1.5 joe
(double) 11.5
@resp any
> ZADD race NX INCR 1 joe
(nil)
@resp 2
> ZRANGE race 0 -1 WITHSCORES
1) "bob"
2) "9.25"
3) "joe"
4) "11.5"
5) "ann"
6) "12"
7) "eve"
8) "13"
@resp 3
> ZRANGE race 0 -1 WITHSCORES
1) 1) "bob"
   2) (double) 9.25
2) 1) "joe"
   2) (double) 11.5
3) 1) "ann"
   2) (double) 12
4) 1) "eve"
   2) (double) 13
@resp any
> ZADD race NX GT 1 ann
(error) ERR GT, LT, and/or NX options at the same time are not compatible
> ZADD race fast ann
(error) ERR value is not a valid float
> SET text value
OK
> ZADD text 1 ann
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..ROW
};

/// The options of ZADD, and of GEOADD, which has fewer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AddOptions {
    pub(crate) only_new: bool,
    pub(crate) only_known: bool,
    only_greater: bool,
    only_less: bool,
    pub(crate) counts_changed: bool,
    increments: bool,
}

impl AddOptions {
    /// Parses the options before the first score; returns their number.
    fn parse(args: &[&[u8]]) -> (Self, usize) {
        let mut options = Self::default();
        for (index, word) in args.iter().enumerate() {
            let option = match word.to_ascii_lowercase().as_slice() {
                b"nx" => &mut options.only_new,
                b"xx" => &mut options.only_known,
                b"gt" => &mut options.only_greater,
                b"lt" => &mut options.only_less,
                b"ch" => &mut options.counts_changed,
                b"incr" => &mut options.increments,
                _ => return (options, index),
            };
            *option = true;
        }
        (options, args.len())
    }

    fn check(&self, pair_count: usize) -> Result<(), CommandError> {
        if self.only_new && self.only_known {
            let text = "ERR XX and NX options at the same time are not compatible";
            return Err(CommandError::text(text));
        }
        let is_compared = self.only_greater || self.only_less;
        if (self.only_new && is_compared) || (self.only_greater && self.only_less) {
            let text = "ERR GT, LT, and/or NX options at the same time are not compatible";
            return Err(CommandError::text(text));
        }
        if self.increments && pair_count > 1 {
            let text = "ERR INCR option supports a single increment-element pair";
            return Err(CommandError::text(text));
        }
        Ok(())
    }

    /// The new score of a member with the score `before`; `None` if it stays unchanged.
    #[inline]
    fn decide(&self, before: Option<f64>, given: f64) -> Result<Option<f64>, CommandError> {
        let Some(before) = before else { return Ok((!self.only_known).then_some(given)) };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.increments { before + given } else { given };
        if score.is_nan() {
            return Err(WITHOUT_NUMBER);
        }
        let is_refused =
            (self.only_greater && score <= before) || (self.only_less && score >= before);
        Ok((!is_refused).then_some(score))
    }
}

fn zadd(call: &mut Call<'_>) -> Outcome {
    let (options, word_count) = match call.args[2].first() {
        // Most requests have no options, and a score starts with none of their letters.
        Some(b'0'..=b'9') => (AddOptions::default(), 0),
        _ => AddOptions::parse(&call.args[2..]),
    };
    let pairs = &call.args[2 + word_count..];
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(CommandError::SYNTAX);
    }
    options.check(pairs.len() / 2)?;
    let (pairs, _) = pairs.as_chunks::<2>();
    if let [[given, member]] = pairs {
        return add_one(call, options, score(given)?, member);
    }
    let pairs: Vec<(f64, &[u8])> = pairs
        .iter()
        .map(|[given, member]| Ok((score(given)?, *member)))
        .collect::<Result<_, CommandError>>()?;
    put_scored(call, options, &pairs)
}

/// Sets the score of one member: the most frequent case.
fn add_one(call: &mut Call<'_>, options: AddOptions, given: f64, member: &[u8]) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let before = sorted(edit.entry().as_deref())?.and_then(|sorted| sorted.score(member));
    let after = options.decide(before, given)?;
    if let Some(score) = after.filter(|score| before != Some(*score)) {
        let bytes = score_bytes(score);
        let pair: [&[u8]; 2] = [&bytes, member];
        let edit = if options.increments { edit.as_event(event::ZINCR) } else { edit };
        edit.commit(Effect::Sorted(SortedChange::Set { pairs: Strings::from(&pair) }));
    }
    match after {
        Some(score) if options.increments => call.reply.double(score),
        None if options.increments => call.reply.null(),
        _ => {
            let is_new = before.is_none() && after.is_some();
            let is_changed = options.counts_changed && after.is_some() && after != before;
            call.reply.integer(i64::from(is_new || is_changed));
        }
    }
    Ok(())
}

/// Sets scores of members, as ZADD does, and replies with the number of new, or changed, ones.
pub(crate) fn put_scored(
    call: &mut Call<'_>,
    options: AddOptions,
    pairs: &[(f64, &[u8])],
) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    // A member may be given twice: the second time sees the score of the first.
    let mut given: std::collections::BTreeMap<&[u8], f64> = std::collections::BTreeMap::new();
    let (mut count, mut bytes) = (0, Vec::with_capacity(pairs.len()));
    let mut members = Vec::with_capacity(pairs.len());
    {
        let entry = edit.entry();
        let there = sorted(entry.as_deref())?;
        for &(score, member) in pairs {
            let before = given.get(member).copied();
            let before = before.or_else(|| there.and_then(|sorted| sorted.score(member)));
            let Some(after) = options.decide(before, score)? else { continue };
            let is_changed = before.is_some_and(|before| before != after);
            count += i64::from(before.is_none() || (options.counts_changed && is_changed));
            if before.is_none() || is_changed {
                given.insert(member, after);
                bytes.push(score_bytes(after));
                members.push(member);
            }
        }
    }
    if !members.is_empty() {
        let strings: Vec<&[u8]> = bytes
            .iter()
            .zip(&members)
            .flat_map(|(score, member)| [score.as_slice(), *member])
            .collect();
        let pairs = Strings::from(strings.as_slice());
        edit.commit(Effect::Sorted(SortedChange::Set { pairs }));
    }
    call.reply.integer(count);
    Ok(())
}

pub(super) const ZINCRBY: Command = Command {
    name: "zincrby",
    since: "1.2.0",
    summary: "Increments a member's score and returns the new score.",
    complexity: "O(log(N)) for N members",
    arity: 4,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "update"])],
    arguments: &[Argument::KEY, Argument::integer("increment"), Argument::string("member")],
    run: Run::Shard(zincrby),
    shows: r#"@resp 2
> ZINCRBY race 1.5 ann
"1.5"
@resp 3
> ZINCRBY race 1.5 ann
(double) 1.5
@resp 2
> ZINCRBY race -3 ann
"-1.5"
@resp 3
> ZINCRBY race -3 ann
(double) -1.5
@resp 2
> ZINCRBY race inf ann
"inf"
@resp 3
> ZINCRBY race inf ann
(double) inf
@resp any
> ZINCRBY race -inf ann
(error) ERR resulting score is not a number (NaN)
> ZINCRBY race much ann
(error) ERR value is not a valid float
"#,
    ..ROW
};

fn zincrby(call: &mut Call<'_>) -> Outcome {
    // In Redis it is ZADD with INCR, which would parse such a word as an option.
    let options: [&[u8]; 6] = [b"nx", b"xx", b"gt", b"lt", b"ch", b"incr"];
    if options.iter().any(|option| call.args[2].eq_ignore_ascii_case(option)) {
        return Err(CommandError::SYNTAX);
    }
    let increment = score(call.args[2])?;
    let options = AddOptions { increments: true, ..AddOptions::default() };
    add_one(call, options, increment, call.args[3])
}
