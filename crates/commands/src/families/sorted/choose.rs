//! Random members, and iteration.

use basalt_keyspace::{Scored, significant};
use basalt_resp::{Reply, format_f64};

use super::{ROW, sorted, write_scored};
use crate::args::{Grammar, flag, integer, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::keys::scan::{MemberScan, MemberScanOption, parse_cursor, write_page};
use crate::memory::check_memory;

pub(super) const ZRANDMEMBER: Command = Command {
    name: "zrandmember",
    since: "6.2.0",
    summary: "Returns one or more random members of a sorted set; a negative count allows repetitions.",
    complexity: "O(M*log(N)) for M of N members",
    arity: -2,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[
        Argument::KEY,
        Argument::block(
            "options",
            &[Argument::integer("count"), Argument::word("withscores", "WITHSCORES").optional()],
        )
        .optional(),
    ],
    run: Run::Shard(zrandmember),
    shows: r#"> ZADD race 9 bob
(integer) 1
> ZRANDMEMBER race
"bob"
> ZRANDMEMBER race -3
1) "bob"
2) "bob"
3) "bob"
> ZRANDMEMBER race 3
1) "bob"
> ZRANDMEMBER absent
(nil)
> ZRANDMEMBER absent 3
(empty array)
> ZRANDMEMBER race many
(error) ERR value is not an integer or out of range
> ZRANDMEMBER race 1 SCORES
(error) ERR syntax error
"#,
    ..ROW
};

/// ZRANDMEMBER's count: the number, and whether members may repeat.
fn parse_count(args: &[&[u8]]) -> Result<Option<(usize, bool, bool)>, CommandError> {
    let Some((count, rest)) = args.split_first() else { return Ok(None) };
    let count = integer(count)?;
    if count == i64::MIN {
        let text = "ERR value is out of range, value must between -9223372036854775807 and \
                    9223372036854775807";
        return Err(CommandError::text(text));
    }
    let with_scores = match rest {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"withscores") => true,
        _ => return Err(CommandError::SYNTAX),
    };
    if with_scores && count.unsigned_abs() > i64::MAX as u64 / 2 {
        return Err(CommandError::OUT_OF_RANGE);
    }
    Ok(Some((count.unsigned_abs() as usize, count < 0, with_scores)))
}

/// LIMIT: the number of members in a reply with repetitions.
const REPEATED_MAX: usize = 1 << 24;

fn zrandmember(call: &mut Call<'_>) -> Outcome {
    let wanted = parse_count(&call.args[2..])?;
    let len = {
        let entry = call.keyspace.read(call.database, &call.key);
        sorted(entry.as_deref())?.map_or(0, |sorted| sorted.len())
    };
    let ranks = match wanted {
        _ if len == 0 => Vec::new(),
        None => vec![below(call.keyspace.random(), len)],
        Some((count, true, _)) => {
            if count > REPEATED_MAX {
                return Err(CommandError::OUT_OF_RANGE);
            }
            check_memory(count * size_of::<usize>())?;
            (0..count).map(|_| below(call.keyspace.random(), len)).collect()
        }
        Some((count, false, _)) => different(count, len, || call.keyspace.random()),
    };
    let entry = call.keyspace.peek(call.database, &call.key);
    let sorted = sorted(entry.as_deref())?;
    let members = ranks.iter().filter_map(|&rank| sorted?.walk(rank..rank + 1).next());
    match wanted {
        Some((.., with_scores)) => {
            write_scored(&mut call.reply, ranks.len(), members, with_scores);
        }
        None => match members.into_iter().next() {
            Some(scored) => call.reply.bulk(scored.member),
            None => call.reply.null(),
        },
    }
    Ok(())
}

/// A number below `len`, all with the same probability.
fn below(random: u64, len: usize) -> usize {
    ((u128::from(random) * len as u128) >> 64) as usize
}

/// Up to `count` different numbers below `len`, by Floyd's sampling (Bentley & Floyd 1987), which
/// never rejects a draw.
fn different(count: usize, len: usize, mut random: impl FnMut() -> u64) -> Vec<usize> {
    if count >= len {
        return (0..len).collect();
    }
    let mut chosen = std::collections::BTreeSet::new();
    let mut order = Vec::with_capacity(count);
    for top in len - count..len {
        let drawn = below(random(), top + 1);
        let number = if chosen.insert(drawn) { drawn } else { top };
        chosen.insert(number);
        order.push(number);
    }
    order
}

pub(super) const ZSCAN: Command = Command {
    name: "zscan",
    since: "2.8.0",
    summary: "Iterates over the members of a sorted set: returns some with their scores, and the next cursor, 0 at the end.",
    complexity: "O(1) for a call; O(N) for all N members",
    arity: -3,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[
        Argument::KEY,
        Argument::integer("cursor"),
        Argument::pattern("pattern").after("MATCH").optional(),
        Argument::integer("count").after("COUNT").optional(),
        Argument::word("noscores", "NOSCORES").optional(),
    ],
    run: Run::Shard(zscan),
    shows: r#"> ZADD race 12.5 ann 9 bob 11 eve
(integer) 3
> ZSCAN race 0
1) "0"
2) 1) "bob"
   2) "9"
   3) "eve"
   4) "11"
   5) "ann"
   6) "12.5"
> ZSCAN race 0 MATCH [ae]* COUNT 5
1) "0"
2) 1) "eve"
   2) "11"
   3) "ann"
   4) "12.5"
@only ours valkey9
> ZSCAN race 0 NOSCORES
1) "0"
2) 1) "bob"
   2) "eve"
   3) "ann"
@only any
> ZSCAN absent 0
1) "0"
2) (empty array)
> ZSCAN race start
(error) ERR invalid cursor
> ZSCAN race 0 COUNT 0
(error) ERR syntax error
"#,
    ..ROW
};

const SCAN_OPTIONS: Grammar<MemberScanOption> = Grammar(&[
    value("match", MemberScanOption::Match),
    value("count", MemberScanOption::Count),
    flag("noscores", MemberScanOption::NamesOnly),
]);

fn zscan(call: &mut Call<'_>) -> Outcome {
    let cursor = parse_cursor(call.args[2])?;
    let entry = call.keyspace.read(call.database, &call.key);
    let Some(sorted) = sorted(entry.as_deref())? else {
        // The options of a scan of a missing key are not checked.
        write_page(&mut call.reply, 0, 0, &[]);
        return Ok(());
    };
    let request = MemberScan::parse(&call.args[3..], &SCAN_OPTIONS)?;
    let (mut texts, mut len) = (Vec::new(), 0);
    let mut found = Reply::new(&mut texts, call.reply.protocol());
    let is_large = sorted.is_large();
    let next = sorted.scan(cursor, request.count, |scored: Scored<'_>| {
        if !request.wants(scored.member) {
            return;
        }
        found.bulk(scored.member);
        len += 1;
        if !request.names_only {
            found.bulk(&score_text(scored.score, is_large));
            len += 1;
        }
    });
    found.whole()?;
    write_page(&mut call.reply, next, len, &texts);
    Ok(())
}

/// A score in ZSCAN's form: always as a text, and with 17 digits in a large sorted set.
fn score_text(score: f64, is_large: bool) -> Vec<u8> {
    if is_large {
        return significant(score).into_bytes();
    }
    let mut text = Vec::new();
    format_f64(score, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_is_fair_and_never_chooses_twice() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            state
        };
        let mut hits = [0; 20];
        for _ in 0..2000 {
            let chosen = different(7, 20, &mut random);
            let unique: std::collections::BTreeSet<_> = chosen.iter().collect();
            assert_eq!(unique.len(), 7);
            chosen.iter().for_each(|number| hits[*number] += 1);
        }
        assert!(hits.iter().all(|count| (550..850).contains(count)), "{hits:?}");
        assert_eq!(different(9, 3, &mut random), [0, 1, 2]);
    }
}
