//! Reads and counts members.

use basalt_keyspace::SortedRef;

use super::{ROW, lex_range, score_range, sorted};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

/// The common part of these rows.
const LOOK_ROW: Command = Command {
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO", "access"])],
    ..ROW
};

pub(super) const ZCARD: Command = Command {
    name: "zcard",
    since: "1.2.0",
    summary: "Returns the number of members of a sorted set.",
    arity: 2,
    keys: &[KeySpec::at(1, &["RO"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(zcard),
    shows: r#"> ZADD race 12.5 ann 9 bob
(integer) 2
> ZCARD race
(integer) 2
> ZCARD absent
(integer) 0
"#,
    ..LOOK_ROW
};

fn zcard(call: &mut Call<'_>) -> Outcome {
    count(call, |sorted| sorted.len())
}

/// Replies with a count; 0 without a key.
fn count(call: &mut Call<'_>, of: impl FnOnce(SortedRef<'_>) -> usize) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let count = sorted(entry.as_deref())?.map_or(0, of);
    call.reply.integer(count as i64);
    Ok(())
}

pub(super) const ZCOUNT: Command = Command {
    name: "zcount",
    since: "2.0.0",
    summary: "Counts the members whose scores are in a range.",
    complexity: "O(log(N)) for N members",
    arity: 4,
    arguments: &[Argument::KEY, Argument::double("min"), Argument::double("max")],
    run: Run::Shard(zcount),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZCOUNT race 9 12
(integer) 2
> ZCOUNT race (9 +inf
(integer) 2
> ZCOUNT race fast slow
(error) ERR min or max is not a float
> ZCOUNT absent 0 1
(integer) 0
"#,
    ..LOOK_ROW
};

fn zcount(call: &mut Call<'_>) -> Outcome {
    let range = score_range(call.args[2], call.args[3])?;
    count(call, |sorted| sorted.ranks_by_score(&range).len())
}

pub(super) const ZLEXCOUNT: Command = Command {
    name: "zlexcount",
    since: "2.8.9",
    summary: "Counts the members in a lexicographic range; all scores must be equal.",
    complexity: "O(log(N)) for N members",
    arity: 4,
    arguments: &[Argument::KEY, Argument::string("min"), Argument::string("max")],
    run: Run::Shard(zlexcount),
    shows: r#"> ZADD words 0 apple 0 pear 0 plum
(integer) 3
> ZLEXCOUNT words [b (plum
(integer) 1
> ZLEXCOUNT words - +
(integer) 3
> ZLEXCOUNT words a b
(error) ERR min or max not valid string range item
"#,
    ..LOOK_ROW
};

fn zlexcount(call: &mut Call<'_>) -> Outcome {
    let range = lex_range(call.args[2], call.args[3])?;
    count(call, |sorted| sorted.ranks_by_lex(range).len())
}

pub(super) const ZSCORE: Command = Command {
    name: "zscore",
    since: "1.2.0",
    summary: "Returns the score of a member.",
    arity: 3,
    arguments: &[Argument::KEY, Argument::string("member")],
    run: Run::Shard(zscore),
    shows: r#"> ZADD race 12.5 ann 9 bob
(integer) 2
@resp 2
> ZSCORE race ann
"12.5"
@resp 3
> ZSCORE race ann
(double) 12.5
@resp any
> ZSCORE race nobody
(nil)
> ZSCORE absent ann
(nil)
"#,
    ..LOOK_ROW
};

fn zscore(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    match sorted(entry.as_deref())?.and_then(|sorted| sorted.score(call.args[2])) {
        Some(score) => call.reply.double(score),
        None => call.reply.null(),
    }
    Ok(())
}

pub(super) const ZMSCORE: Command = Command {
    name: "zmscore",
    since: "6.2.0",
    summary: "Returns the scores of several members.",
    complexity: "O(N) for N members",
    arity: -3,
    arguments: &[Argument::KEY, Argument::string("member").multiple()],
    run: Run::Shard(zmscore),
    shows: r#"> ZADD race 12.5 ann 9 bob
(integer) 2
@resp 2
> ZMSCORE race bob nobody ann
1) "9"
2) (nil)
3) "12.5"
@resp 3
> ZMSCORE race bob nobody ann
1) (double) 9
2) (nil)
3) (double) 12.5
@resp any
> ZMSCORE absent ann
1) (nil)
"#,
    ..LOOK_ROW
};

fn zmscore(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let sorted = sorted(entry.as_deref())?;
    let members = &call.args[2..];
    call.reply.array(members.len());
    for member in members {
        match sorted.and_then(|sorted| sorted.score(member)) {
            Some(score) => call.reply.double(score),
            None => call.reply.null(),
        }
    }
    Ok(())
}

const RANK_ROW: Command = Command {
    since: "2.0.0",
    complexity: "O(log(N)) for N members",
    arity: -3,
    arguments: &[
        Argument::KEY,
        Argument::string("member"),
        Argument::word("withscore", "WITHSCORE").optional(),
    ],
    ..LOOK_ROW
};

pub(super) const ZRANK: Command = Command {
    name: "zrank",
    summary: "Returns the 0-based rank of a member, from the lowest score.",
    run: Run::Shard(zrank),
    shows: r#"@only ours valkey9 redis8
> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZRANK race eve
(integer) 1
@resp 2
> ZRANK race eve WITHSCORE
1) (integer) 1
2) "11"
@resp 3
> ZRANK race eve WITHSCORE
1) (integer) 1
2) (double) 11
@resp any
> ZRANK race nobody
(nil)
> ZRANK absent ann WITHSCORE
(nil)
> ZRANK race eve SCORE
(error) ERR syntax error
> ZRANK race eve WITHSCORE SCORE
(error) ERR wrong number of arguments for 'zrank' command
"#,
    ..RANK_ROW
};

fn zrank(call: &mut Call<'_>) -> Outcome {
    rank(call, ZRANK.name, |_, rank| rank)
}

pub(super) const ZREVRANK: Command = Command {
    name: "zrevrank",
    summary: "Returns the 0-based rank of a member, from the highest score.",
    run: Run::Shard(zrevrank),
    shows: r#"@only ours valkey9 redis8
> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZREVRANK race ann
(integer) 0
@resp 2
> ZREVRANK race bob WITHSCORE
1) (integer) 2
2) "9"
@resp 3
> ZREVRANK race bob WITHSCORE
1) (integer) 2
2) (double) 9
@resp any
> ZREVRANK race nobody WITHSCORE
(nil)
"#,
    ..RANK_ROW
};

fn zrevrank(call: &mut Call<'_>) -> Outcome {
    rank(call, ZREVRANK.name, |len, rank| len - 1 - rank)
}

fn rank(call: &mut Call<'_>, name: &str, from: impl FnOnce(usize, usize) -> usize) -> Outcome {
    let with_score = match &call.args[3..] {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"withscore") => true,
        [_] => return Err(CommandError::SYNTAX),
        _ => return Err(CommandError::wrong_arity(name)),
    };
    let entry = call.keyspace.read(call.database, &call.key);
    let sorted = sorted(entry.as_deref())?;
    let found = sorted.and_then(|sorted| {
        let (rank, score) = sorted.rank(call.args[2])?;
        Some((from(sorted.len(), rank), score))
    });
    match found {
        Some((rank, score)) if with_score => {
            call.reply.array(2);
            call.reply.integer(rank as i64);
            call.reply.double(score);
        }
        Some((rank, _)) => call.reply.integer(rank as i64),
        None if with_score => call.reply.null_array(),
        None => call.reply.null(),
    }
    Ok(())
}
