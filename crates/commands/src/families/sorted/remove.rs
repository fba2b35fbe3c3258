//! Removes members.

use std::ops::Range;

use basalt_keyspace::{Edit, Effect, Events, SortedChange, SortedRef, Strings, event};
use basalt_resp::{NoMemory, Protocol, Reply};

use super::take::{PopMany, SortedEnd};
use super::{MIN_OR_MAX, ROW, RankRange, lex_range, score_range, sorted, write_scored};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::many_keys::{First, ManyKeys};

pub(super) const ZREM: Command = Command {
    name: "zrem",
    since: "1.2.0",
    summary: "Removes members and returns how many existed; an empty sorted set is removed.",
    complexity: "O(M*log(N)) for M of N members",
    arity: -3,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "delete"])],
    arguments: &[Argument::KEY, Argument::string("member").multiple()],
    run: Run::Shard(zrem),
    shows: r#"> ZADD race 12.5 ann 9 bob
(integer) 2
> ZREM race ann nobody ann
(integer) 1
> ZREM race bob
(integer) 1
> EXISTS race
(integer) 0
> ZREM race bob
(integer) 0
"#,
    ..ROW
};

fn zrem(call: &mut Call<'_>) -> Outcome {
    let members = &call.args[2..];
    let edit = call.keyspace.edit(call.database, &call.key);
    let before = match sorted(edit.entry().as_deref())? {
        Some(sorted) if members.iter().any(|member| sorted.score(member).is_some()) => sorted.len(),
        _ => {
            call.reply.integer(0);
            return Ok(());
        }
    };
    edit.commit(Effect::Sorted(SortedChange::Remove { members: Strings::from(members) }));
    let entry = call.keyspace.peek(call.database, &call.key);
    let after = sorted(entry.as_deref())?.map_or(0, |sorted| sorted.len());
    call.reply.integer((before - after) as i64);
    Ok(())
}

/// The common part of the rows that remove a range.
const RANGE_ROW: Command = Command {
    complexity: "O(log(N)+M*log(N)) for M of N members",
    arity: 4,
    flags: Flags::WRITE,
    keys: &[KeySpec::at(1, &["RW", "delete"])],
    ..ROW
};

pub(super) const ZREMRANGEBYRANK: Command = Command {
    name: "zremrangebyrank",
    since: "2.0.0",
    summary: "Removes the members in a range of ranks and returns their number.",
    arguments: &[Argument::KEY, Argument::integer("start"), Argument::integer("stop")],
    run: Run::Shard(zremrangebyrank),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZREMRANGEBYRANK race 1 -1
(integer) 2
> ZRANGE race 0 -1
1) "bob"
> ZREMRANGEBYRANK race 1 5
(integer) 0
> ZREMRANGEBYRANK race first last
(error) ERR value is not an integer or out of range
"#,
    ..RANGE_ROW
};

fn zremrangebyrank(call: &mut Call<'_>) -> Outcome {
    let range = RankRange::parse(call.args[2], call.args[3])?;
    remove_range(call, event::ZREMRANGEBYRANK, |sorted| range.within(sorted.len()))
}

pub(super) const ZREMRANGEBYSCORE: Command = Command {
    name: "zremrangebyscore",
    since: "1.2.0",
    summary: "Removes the members whose scores are in a range and returns their number.",
    arguments: &[Argument::KEY, Argument::double("min"), Argument::double("max")],
    run: Run::Shard(zremrangebyscore),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZREMRANGEBYSCORE race -inf (12.5
(integer) 2
> ZRANGE race 0 -1
1) "ann"
> ZREMRANGEBYSCORE race slow fast
(error) ERR min or max is not a float
"#,
    ..RANGE_ROW
};

fn zremrangebyscore(call: &mut Call<'_>) -> Outcome {
    let range = score_range(call.args[2], call.args[3])?;
    remove_range(call, event::ZREMRANGEBYSCORE, |sorted| sorted.ranks_by_score(&range))
}

pub(super) const ZREMRANGEBYLEX: Command = Command {
    name: "zremrangebylex",
    since: "2.8.9",
    summary: "Removes the members in a lexicographic range and returns their number; all scores must be equal.",
    arguments: &[Argument::KEY, Argument::string("min"), Argument::string("max")],
    run: Run::Shard(zremrangebylex),
    shows: r#"> ZADD words 0 apple 0 pear 0 plum
(integer) 3
> ZREMRANGEBYLEX words [b (plum
(integer) 1
> ZRANGE words 0 -1
1) "apple"
2) "plum"
> ZREMRANGEBYLEX words a b
(error) ERR min or max not valid string range item
"#,
    ..RANGE_ROW
};

fn zremrangebylex(call: &mut Call<'_>) -> Outcome {
    let range = lex_range(call.args[2], call.args[3])?;
    remove_range(call, event::ZREMRANGEBYLEX, |sorted| sorted.ranks_by_lex(range))
}

fn remove_range(
    call: &mut Call<'_>,
    events: Events,
    ranks: impl FnOnce(SortedRef<'_>) -> Range<usize>,
) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let ranks = sorted(edit.entry().as_deref())?.map_or(0..0, ranks);
    call.reply.integer(ranks.len() as i64);
    remove_ranks(edit, ranks, events);
    Ok(())
}

fn remove_ranks(edit: Edit<'_>, ranks: Range<usize>, events: Events) {
    if !ranks.is_empty() {
        let (from, count) = (ranks.start as u64, ranks.len() as u64);
        edit.as_event(events).commit(Effect::Sorted(SortedChange::RemoveRanks { from, count }));
    }
}

/// The end from which members are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Min,
    Max,
}

/// Removes up to `count` members from an end; `write` gets them first.
pub(super) fn pop(
    edit: Edit<'_>,
    end: End,
    count: usize,
    write: impl FnOnce(SortedRef<'_>, Range<usize>) -> Result<(), NoMemory>,
) -> Outcome {
    let ranks = {
        let entry = edit.entry();
        let Some(sorted) = sorted(entry.as_deref())? else { return Ok(()) };
        let len = sorted.len();
        let ranks = match end {
            End::Min => 0..count.min(len),
            End::Max => len - count.min(len)..len,
        };
        write(sorted, ranks.clone())?;
        ranks
    };
    let events = if end == End::Min { event::ZPOPMIN } else { event::ZPOPMAX };
    remove_ranks(edit, ranks, events);
    Ok(())
}

const POP_ROW: Command = Command {
    since: "5.0.0",
    complexity: "O(M*log(N)) for M of N members",
    arity: -2,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "delete"])],
    arguments: &[Argument::KEY, Argument::integer("count").optional()],
    ..ROW
};

pub(super) const ZPOPMIN: Command = Command {
    name: "zpopmin",
    summary: "Removes and returns the members with the lowest scores.",
    run: Run::Shard(zpopmin),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
@resp 2
> ZPOPMIN race
1) "bob"
2) "9"
@resp 3
> ZPOPMIN race
1) "bob"
2) (double) 9
@resp 2
> ZPOPMIN race
1) "eve"
2) "11"
@resp 3
> ZPOPMIN race
1) "eve"
2) (double) 11
@resp 2
> ZPOPMIN race 5
1) "ann"
2) "12.5"
@resp 3
> ZPOPMIN race 5
1) 1) "ann"
   2) (double) 12.5
@resp any
> ZPOPMIN race 5
(empty array)
> EXISTS race
(integer) 0
> ZPOPMIN race
(empty array)
> ZPOPMIN race -1
(error) ERR value is out of range, must be positive
> ZPOPMIN race 1 2
(error) ERR syntax error
"#,
    ..POP_ROW
};

fn zpopmin(call: &mut Call<'_>) -> Outcome {
    pop_from(call, End::Min)
}

pub(super) const ZPOPMAX: Command = Command {
    name: "zpopmax",
    summary: "Removes and returns the members with the highest scores.",
    run: Run::Shard(zpopmax),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
@resp 2
> ZPOPMAX race 2
1) "ann"
2) "12.5"
3) "eve"
4) "11"
@resp 3
> ZPOPMAX race 2
1) 1) "ann"
   2) (double) 12.5
2) 1) "eve"
   2) (double) 11
@resp 2
> ZPOPMAX race 2
1) "bob"
2) "9"
@resp 3
> ZPOPMAX race 2
1) 1) "bob"
   2) (double) 9
@resp any
> ZPOPMAX race
(empty array)
> ZPOPMAX race
(empty array)
> ZPOPMAX absent 3
(empty array)
"#,
    ..POP_ROW
};

fn zpopmax(call: &mut Call<'_>) -> Outcome {
    pop_from(call, End::Max)
}

fn pop_from(call: &mut Call<'_>, end: End) -> Outcome {
    let count = match &call.args[2..] {
        [] => None,
        [count] => {
            let refusal = CommandError::text("ERR value is out of range, must be positive");
            let count = integer(count).ok().and_then(|count| usize::try_from(count).ok());
            Some(count.ok_or(refusal)?)
        }
        _ => return Err(CommandError::SYNTAX),
    };
    let edit = call.keyspace.edit(call.database, &call.key);
    let before = call.reply.position();
    pop(edit, end, count.unwrap_or(1), |sorted, ranks| {
        write_popped(&mut call.reply, sorted, ranks, end, count.is_some());
        call.reply.whole()
    })?;
    if call.reply.position() == before {
        call.reply.array(0);
    }
    Ok(())
}

/// Without a count the reply is the first member alone.
fn write_popped(
    reply: &mut Reply<'_>,
    sorted: SortedRef<'_>,
    ranks: Range<usize>,
    end: End,
    is_counted: bool,
) {
    let len = ranks.len();
    let members = match end {
        End::Min => sorted.walk(ranks),
        End::Max => sorted.walk_back(ranks),
    };
    if is_counted || len == 0 || reply.protocol() == Protocol::Resp2 {
        return write_scored(reply, len, members, true);
    }
    reply.array(2);
    for scored in members {
        reply.bulk(scored.member);
        reply.double(scored.score);
    }
}

pub(super) const ZMPOP: Command = Command {
    name: "zmpop",
    since: "7.0.0",
    summary: "Removes and returns members of the first non-empty sorted set.",
    complexity: "O(K)+O(M*log(N)) for K keys and M of N members",
    arity: -4,
    flags: Flags::WRITE.or(Flags::MOVABLE_KEYS),
    keys: &[KeySpec::counted(1, 1, &["RW", "access", "delete"])],
    arguments: &[
        Argument::integer("numkeys"),
        Argument::KEYS,
        Argument::one_of("where", MIN_OR_MAX),
        Argument::integer("count").after("COUNT").optional(),
    ],
    run: Run::Many(&const { ManyKeys::in_rounds::<First<SortedEnd<PopMany>>>() }),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
@resp 2
> ZMPOP 2 absent race MIN
1) "race"
2) 1) 1) "bob"
      2) "9"
@resp 3
> ZMPOP 2 absent race MIN
1) "race"
2) 1) 1) "bob"
      2) (double) 9
@resp 2
> ZMPOP 1 race MAX COUNT 5
1) "race"
2) 1) 1) "ann"
      2) "12.5"
   2) 1) "eve"
      2) "11"
@resp 3
> ZMPOP 1 race MAX COUNT 5
1) "race"
2) 1) 1) "ann"
      2) (double) 12.5
   2) 1) "eve"
      2) (double) 11
@resp any
> ZMPOP 1 race MAX
(nil)
> ZMPOP 0 race MIN
(error) ERR numkeys should be greater than 0
> ZMPOP 1 race MIDDLE
(error) ERR syntax error
> ZMPOP 1 race MIN COUNT 0
(error) ERR count should be greater than 0
"#,
    ..ROW
};

/// A parsed ZMPOP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MpopRequest<'a> {
    pub keys: &'a [&'a [u8]],
    pub end: End,
    pub count: usize,
}

/// Parses ZMPOP's arguments, from the number of keys on.
pub(super) fn parse_zmpop<'a>(args: &'a [&'a [u8]]) -> Result<MpopRequest<'a>, CommandError> {
    let above_zero = |text: &[u8], refusal: &'static str| {
        let number = integer(text).ok().and_then(|number| usize::try_from(number).ok());
        number.filter(|number| *number > 0).ok_or(CommandError::text(refusal))
    };
    let count = above_zero(args[0], "ERR numkeys should be greater than 0")?;
    if count >= args.len() {
        return Err(CommandError::SYNTAX);
    }
    let (keys, rest) = args[1..].split_at(count);
    let (end, rest) = rest.split_first().ok_or(CommandError::SYNTAX)?;
    let end = match end.to_ascii_lowercase().as_slice() {
        b"min" => End::Min,
        b"max" => End::Max,
        _ => return Err(CommandError::SYNTAX),
    };
    let count = match rest {
        [] => 1,
        [word, count] if word.eq_ignore_ascii_case(b"count") => {
            above_zero(count, "ERR count should be greater than 0")?
        }
        [word, count, ..] if word.eq_ignore_ascii_case(b"count") => {
            above_zero(count, "ERR count should be greater than 0")?;
            return Err(CommandError::SYNTAX);
        }
        _ => return Err(CommandError::SYNTAX),
    };
    Ok(MpopRequest { keys, end, count })
}
