//! Union, intersection and difference of sorted sets; members of plain sets have score 1.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use basalt_keyspace::{
    Cause, Content, DatabaseId, Effect, Entry, EntryRef, Events, Key, Keyspace, Kind, Scored,
    SetRef, SortedChange, SortedRef, event,
};
use basalt_resp::parse_f64;

use super::{ROW, borrow, write_scored};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run, Verb};
use crate::error::CommandError;
use crate::many_keys::{Decision, ManyKeys};

const KEYS: Argument = Argument::KEYS;
const SOURCES: Argument = Argument::key("key", 1).multiple();
const DESTINATION: Argument = Argument::key("destination", 0);
const NUMKEYS: Argument = Argument::integer("numkeys");
const WEIGHTS: Argument = Argument::integer("weight").after("WEIGHTS").multiple().optional();
const AGGREGATE: Argument = Argument::one_of(
    "aggregate",
    &[
        Argument::word("sum", "SUM"),
        Argument::word("min", "MIN"),
        Argument::word("max", "MAX"),
        Argument::word("count", "COUNT"),
    ],
)
.after("AGGREGATE")
.optional();
const WITHSCORES: Argument = Argument::word("withscores", "WITHSCORES").optional();

/// The common part of the rows that return the result.
const TOLD_ROW: Command = Command {
    since: "6.2.0",
    complexity: "O(N*log(N)) for N members in all",
    arity: -3,
    flags: Flags::READONLY.or(Flags::MOVABLE_KEYS),
    keys: &[KeySpec::counted(1, 1, &["RO", "access"])],
    arguments: &[NUMKEYS, KEYS, WEIGHTS, AGGREGATE, WITHSCORES],
    ..ROW
};

/// The common part of the rows that store it.
const STORED_ROW: Command = Command {
    since: "2.0.0",
    complexity: "O(N*log(N)) for N members in all",
    arity: -4,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::MOVABLE_KEYS),
    keys: &[KeySpec::at(1, &["OW", "update"]), KeySpec::counted(2, 1, &["RO", "access"])],
    arguments: &[DESTINATION, NUMKEYS, SOURCES, WEIGHTS, AGGREGATE],
    ..ROW
};

pub(super) const ZUNION: Command = Command {
    name: "zunion",
    summary: "Returns the union of sorted sets, with the scores added up by default.",
    run: Run::Many(&const { ManyKeys::by_engine(zunion, Verb::ZUnion) }),
    shows: r#"> ZADD one 1 a 2 b
(integer) 2
> ZADD two 10 b 20 c
(integer) 2
> ZUNION 2 one two
1) "a"
2) "b"
3) "c"
@resp 2
> ZUNION 2 one two WEIGHTS 2 1 AGGREGATE MAX WITHSCORES
1) "a"
2) "2"
3) "b"
4) "10"
5) "c"
6) "20"
@resp 3
> ZUNION 2 one two WEIGHTS 2 1 AGGREGATE MAX WITHSCORES
1) 1) "a"
   2) (double) 2
2) 1) "b"
   2) (double) 10
3) 1) "c"
   2) (double) 20
@resp any
@only ours
@resp 2
> ZUNION 2 one two AGGREGATE COUNT WITHSCORES
1) "a"
2) "1"
3) "c"
4) "1"
5) "b"
6) "2"
@only any
@resp any
> ZUNION 1 absent
(empty array)
> ZUNION 0 one
(error) ERR at least 1 input key is needed for 'zunion' command
> ZUNION 3 one two
(error) ERR syntax error
> ZUNION 1 one WEIGHTS much
(error) ERR weight value is not a float
> ZUNION many one
(error) ERR value is not an integer or out of range
"#,
    ..TOLD_ROW
};

pub(super) const ZINTER: Command = Command {
    name: "zinter",
    summary: "Returns the intersection of sorted sets, with the scores added up by default.",
    run: Run::Many(&const { ManyKeys::by_engine(zinter, Verb::ZInter) }),
    shows: r#"> ZADD one 1 a 2 b
(integer) 2
> ZADD two 10 b 20 c
(integer) 2
@resp 2
> ZINTER 2 one two WITHSCORES
1) "b"
2) "12"
@resp 3
> ZINTER 2 one two WITHSCORES
1) 1) "b"
   2) (double) 12
@resp 2
> ZINTER 2 one two AGGREGATE MIN WITHSCORES
1) "b"
2) "2"
@resp 3
> ZINTER 2 one two AGGREGATE MIN WITHSCORES
1) 1) "b"
   2) (double) 2
@resp any
> ZINTER 2 one absent
(empty array)
"#,
    ..TOLD_ROW
};

pub(super) const ZDIFF: Command = Command {
    name: "zdiff",
    summary: "Returns the members of the first sorted set that are in none of the others.",
    arguments: &[NUMKEYS, KEYS, WITHSCORES],
    run: Run::Many(&const { ManyKeys::by_engine(zdiff, Verb::ZDiff) }),
    shows: r#"> ZADD one 1 a 2 b
(integer) 2
> ZADD two 10 b 20 c
(integer) 2
@resp 2
> ZDIFF 2 one two WITHSCORES
1) "a"
2) "1"
@resp 3
> ZDIFF 2 one two WITHSCORES
1) 1) "a"
   2) (double) 1
@resp any
> ZDIFF 2 absent two
(empty array)
> ZDIFF 1 one WEIGHTS 1
(error) ERR syntax error
"#,
    ..TOLD_ROW
};

pub(super) const ZINTERCARD: Command = Command {
    name: "zintercard",
    since: "7.0.0",
    summary: "Returns the size of the intersection of sorted sets, counted up to a limit.",
    arguments: &[NUMKEYS, KEYS, Argument::integer("limit").after("LIMIT").optional()],
    run: Run::Many(&const { ManyKeys::by_engine(zintercard, Verb::ZInterCard) }),
    shows: r#"> ZADD one 1 a 2 b 3 c
(integer) 3
> ZADD two 10 b 20 c
(integer) 2
> ZINTERCARD 2 one two
(integer) 2
> ZINTERCARD 2 one two LIMIT 1
(integer) 1
> ZINTERCARD 2 one two LIMIT -1
(error) ERR LIMIT can't be negative
> ZINTERCARD 2 one absent
(integer) 0
"#,
    ..TOLD_ROW
};

pub(super) const ZUNIONSTORE: Command = Command {
    name: "zunionstore",
    summary: "Stores the union of sorted sets, with the scores added up by default, and returns its size.",
    run: Run::Many(&const { ManyKeys::by_engine(zunionstore, Verb::ZUnionStore) }),
    shows: r#"> ZADD one 1 a 2 b
(integer) 2
> ZADD two 10 b 20 c
(integer) 2
> ZUNIONSTORE both 2 one two WEIGHTS 1 2
(integer) 3
> ZRANGE both 0 -1
1) "a"
2) "b"
3) "c"
> ZUNIONSTORE both 1 absent
(integer) 0
> EXISTS both
(integer) 0
"#,
    ..STORED_ROW
};

pub(super) const ZINTERSTORE: Command = Command {
    name: "zinterstore",
    summary: "Stores the intersection of sorted sets, with the scores added up by default, and returns its size.",
    run: Run::Many(&const { ManyKeys::by_engine(zinterstore, Verb::ZInterStore) }),
    shows: r#"> ZADD one 1 a 2 b
(integer) 2
> ZADD two 10 b 20 c
(integer) 2
> ZINTERSTORE both 2 one two
(integer) 1
> ZRANGE both 0 -1
1) "b"
> ZINTERSTORE both 2 one two WITHSCORES
(error) ERR syntax error
@only ours
> ZINTERSTORE both 2 one two WEIGHTS 2 3 AGGREGATE COUNT
(integer) 1
> ZRANGEBYSCORE both 5 5
1) "b"
@only any
"#,
    ..STORED_ROW
};

pub(super) const ZDIFFSTORE: Command = Command {
    name: "zdiffstore",
    since: "6.2.0",
    summary: "Stores the members of the first sorted set that are in none of the others, and returns their number.",
    arguments: &[DESTINATION, NUMKEYS, SOURCES],
    run: Run::Many(&const { ManyKeys::by_engine(zdiffstore, Verb::ZDiffStore) }),
    shows: r#"> ZADD one 1 a 2 b
(integer) 2
> ZADD two 10 b 20 c
(integer) 2
> ZDIFFSTORE rest 2 one two
(integer) 1
> ZRANGE rest 0 -1
1) "a"
"#,
    ..STORED_ROW
};

/// The operation on sorted sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    Union,
    Inter,
    Diff,
}

/// The use of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Tell,
    Store,
    Count,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
    /// The sum of the weights; scores don't matter.
    Count,
}

/// The options after the keys.
#[derive(Clone, Debug, PartialEq)]
pub struct CombineOptions {
    /// One per key.
    pub(super) weights: Vec<f64>,
    aggregate: Aggregate,
    pub with_scores: bool,
    /// The limit of the count.
    pub limit: usize,
}

/// The parsed arguments of ZUNION and the like. The error for a key of a wrong type precedes that
/// for a wrong option.
#[derive(Clone, Debug, PartialEq)]
pub struct CombineRequest<'a> {
    pub keys: &'a [&'a [u8]],
    pub options: Result<CombineOptions, CommandError>,
}

/// Parses the arguments from the number of keys on.
pub fn parse_combine<'a>(
    name: &str,
    args: &'a [&'a [u8]],
    combination: Combination,
    purpose: Purpose,
) -> Result<CombineRequest<'a>, CommandError> {
    let count = integer(args[0])?;
    if count < 1 {
        let text = format!("ERR at least 1 input key is needed for '{name}' command");
        return Err(CommandError::new(text));
    }
    let count = usize::try_from(count).ok().filter(|count| *count < args.len());
    let (keys, rest) = args[1..].split_at(count.ok_or(CommandError::SYNTAX)?);
    Ok(CombineRequest { keys, options: parse_options(rest, keys.len(), combination, purpose) })
}

fn parse_options(
    args: &[&[u8]],
    key_count: usize,
    combination: Combination,
    purpose: Purpose,
) -> Result<CombineOptions, CommandError> {
    let mut options = CombineOptions {
        weights: vec![1.0; key_count],
        aggregate: Aggregate::Sum,
        with_scores: false,
        limit: usize::MAX,
    };
    let is_weighed = combination != Combination::Diff && purpose != Purpose::Count;
    let mut rest = args;
    while let [word, behind @ ..] = rest {
        rest = behind;
        match (word.to_ascii_lowercase().as_slice(), behind) {
            (b"weights", _) if is_weighed && behind.len() >= key_count => {
                let (weights, behind) = behind.split_at(key_count);
                for (weight, text) in options.weights.iter_mut().zip(weights) {
                    let refusal = CommandError::text("ERR weight value is not a float");
                    *weight = parse_f64(text).ok_or(refusal)?;
                }
                rest = behind;
            }
            (b"aggregate", [how, behind @ ..]) if is_weighed => {
                options.aggregate = match how.to_ascii_lowercase().as_slice() {
                    b"sum" => Aggregate::Sum,
                    b"min" => Aggregate::Min,
                    b"max" => Aggregate::Max,
                    b"count" => Aggregate::Count,
                    _ => return Err(CommandError::SYNTAX),
                };
                rest = behind;
            }
            (b"withscores", _) if purpose == Purpose::Tell => options.with_scores = true,
            (b"limit", [limit, behind @ ..]) if purpose == Purpose::Count => {
                let refusal = CommandError::text("ERR LIMIT can't be negative");
                let limit = integer(limit).ok().and_then(|limit| usize::try_from(limit).ok());
                let limit = limit.ok_or(refusal)?;
                options.limit = if limit == 0 { usize::MAX } else { limit };
                rest = behind;
            }
            _ => return Err(CommandError::SYNTAX),
        }
    }
    Ok(options)
}

/// Members with their scores, as they travel between shards.
pub type OwnedMembers = Vec<(Vec<u8>, f64)>;

/// The members of a key's value.
pub fn members_of(entry: Option<&Entry>) -> Result<OwnedMembers, CommandError> {
    let Some(entry) = entry else { return Ok(Vec::new()) };
    if let Some(set) = SetRef::of(entry) {
        let owned = |member: Content<'_>| {
            let mut text = Vec::new();
            member.append_to(&mut text);
            (text, 1.0)
        };
        return Ok(set.iter().map(owned).collect());
    }
    let sorted = SortedRef::of(entry).ok_or(CommandError::WRONG_TYPE)?;
    Ok(sorted.iter().map(|scored| (scored.member.to_vec(), scored.score)).collect())
}

/// A member of the result.
pub fn scored((member, score): &(Vec<u8>, f64)) -> Scored<'_> {
    Scored { member, score: *score }
}

impl CombineOptions {
    /// The result of the operation on sorted sets, given in the order of their keys, ordered by
    /// score.
    pub fn combine(&self, combination: Combination, sets: Vec<OwnedMembers>) -> OwnedMembers {
        let mut weighed: Vec<(f64, OwnedMembers)> =
            self.weights.iter().copied().zip(sets).collect();
        if combination != Combination::Diff {
            // In the order of Redis, which shows in sums of fractions.
            weighed.sort_by_key(|(_, members)| members.len());
        }
        let mut result = match combination {
            Combination::Union => self.unite(weighed),
            Combination::Inter => self.intersect(weighed),
            Combination::Diff => subtract(weighed),
        };
        result.sort_by(|one, other| {
            let by_score = one.1.partial_cmp(&other.1).unwrap_or(Ordering::Equal);
            by_score.then_with(|| one.0.cmp(&other.0))
        });
        result
    }

    fn unite(&self, sets: Vec<(f64, OwnedMembers)>) -> OwnedMembers {
        let mut all: BTreeMap<Vec<u8>, f64> = BTreeMap::new();
        for (weight, members) in sets {
            for (member, score) in members {
                let score = without_nan(self.weigh(weight, score));
                all.entry(member)
                    .and_modify(|sum| *sum = self.aggregate(*sum, score))
                    .or_insert(score);
            }
        }
        all.into_iter().collect()
    }

    fn intersect(&self, sets: Vec<(f64, OwnedMembers)>) -> OwnedMembers {
        let mut sets = sets.into_iter();
        let Some((weight, smallest)) = sets.next() else { return Vec::new() };
        let others: Vec<(f64, BTreeMap<Vec<u8>, f64>)> =
            sets.map(|(weight, members)| (weight, members.into_iter().collect())).collect();
        let kept = smallest.into_iter().filter_map(|(member, score)| {
            let mut sum = without_nan(self.weigh(weight, score));
            for (weight, members) in &others {
                // As in Redis a NaN counts here: it makes a sum 0, and changes neither minimum nor maximum.
                sum = self.aggregate(sum, self.weigh(*weight, *members.get(&member)?));
            }
            Some((member, sum))
        });
        kept.take(self.limit).collect()
    }

    pub(super) fn weigh(&self, weight: f64, score: f64) -> f64 {
        if self.aggregate == Aggregate::Count { weight } else { weight * score }
    }

    pub(super) fn aggregate(&self, sum: f64, score: f64) -> f64 {
        match self.aggregate {
            Aggregate::Sum | Aggregate::Count => without_nan(sum + score),
            Aggregate::Min if score < sum => score,
            Aggregate::Max if score > sum => score,
            Aggregate::Min | Aggregate::Max => sum,
        }
    }
}

/// The sum of opposite infinities, and 0 times infinity, are 0.
pub(super) fn without_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

fn subtract(sets: Vec<(f64, OwnedMembers)>) -> OwnedMembers {
    let mut sets = sets.into_iter();
    let Some((_, mut rest)) = sets.next() else { return Vec::new() };
    for (_, members) in sets {
        let gone: BTreeMap<Vec<u8>, f64> = members.into_iter().collect();
        rest.retain(|(member, _)| !gone.contains_key(member));
    }
    rest
}

/// All of ZUNION and its like, where all keys are on one shard.
fn combine_here(call: &mut Call<'_>, combination: Combination, purpose: Purpose) -> Outcome {
    let first = if purpose == Purpose::Store { 2 } else { 1 };
    let CombineRequest { keys, options } =
        parse_combine(call.command.name, &call.args[first..], combination, purpose)?;
    let changes = {
        let keyspace = &*call.keyspace;
        let peek = |name: &&[u8]| keyspace.peek(call.database, &keyspace.key(name));
        let entries: Vec<Option<EntryRef<'_>>> = keys.iter().map(peek).collect();
        for entry in entries.iter().flatten() {
            if SetRef::of(entry).is_none() && SortedRef::of(entry).is_none() {
                return Err(CommandError::WRONG_TYPE);
            }
        }
        let options = options?;
        let result = borrow::combine(&options, combination, (keyspace, &entries), keys)?;
        let members = result.iter().map(borrow::as_scored);
        if purpose == Purpose::Tell {
            write_scored(&mut call.reply, result.len(), members, options.with_scores);
            return Ok(());
        }
        call.reply.integer(result.len() as i64);
        if purpose == Purpose::Count {
            return Ok(());
        }
        changes_of(members)
    };
    let event = match combination {
        Combination::Union => event::ZUNIONSTORE,
        Combination::Inter => event::ZINTERSTORE,
        Combination::Diff => event::ZDIFFSTORE,
    };
    let key = call.key;
    store_changes(call.keyspace, (call.database, &key), changes.as_deref(), event);
    Ok(())
}

fn zunion(call: &mut Call<'_>) -> Outcome {
    combine_here(call, Combination::Union, Purpose::Tell)
}

fn zinter(call: &mut Call<'_>) -> Outcome {
    combine_here(call, Combination::Inter, Purpose::Tell)
}

fn zdiff(call: &mut Call<'_>) -> Outcome {
    combine_here(call, Combination::Diff, Purpose::Tell)
}

fn zintercard(call: &mut Call<'_>) -> Outcome {
    combine_here(call, Combination::Inter, Purpose::Count)
}

fn zunionstore(call: &mut Call<'_>) -> Outcome {
    combine_here(call, Combination::Union, Purpose::Store)
}

fn zinterstore(call: &mut Call<'_>) -> Outcome {
    combine_here(call, Combination::Inter, Purpose::Store)
}

fn zdiffstore(call: &mut Call<'_>) -> Outcome {
    combine_here(call, Combination::Diff, Purpose::Store)
}

/// The changes that make a sorted set of these members; `None` if there are none.
pub(super) fn changes_of<'m>(
    members: impl ExactSizeIterator<Item = Scored<'m>>,
) -> Option<Vec<u8>> {
    let mut changes = Vec::new();
    (members.len() > 0).then(|| {
        SortedChange::that_makes(members, &mut changes);
        changes
    })
}

/// Has a key hold the sorted set that these changes make, or nothing.
pub(super) fn store_changes(
    keyspace: &mut Keyspace,
    (id, key): (DatabaseId, &Key<'_>),
    changes: Option<&[u8]>,
    event: Events,
) {
    let edit = keyspace.edit(id, key);
    match changes {
        Some(changes) => {
            let effect = Effect::SetCollection { kind: Kind::Sorted, changes, expire_at_ms: None };
            edit.as_event(event).commit(effect);
        }
        None => edit.commit(Effect::Remove { cause: Cause::Deleted }),
    }
}

/// Has a key hold these members, or nothing if there are none.
pub(crate) fn store_members(
    keyspace: &mut Keyspace,
    key: (DatabaseId, &Key<'_>),
    members: &OwnedMembers,
    event: Events,
) {
    let changes = changes_of(members.iter().map(scored));
    store_changes(keyspace, key, changes.as_deref(), event);
}

/// Decides to have a key hold these members; replies with their number.
pub(crate) fn decide_to_store(
    (target, members): (usize, OwnedMembers),
    event: Events,
    decision: &mut Decision<'_, '_>,
) -> Outcome {
    decision.reply.integer(members.len() as i64);
    decision.write(target, move |keyspace, id, key| {
        store_members(keyspace, (id, key), &members, event);
    });
    Ok(())
}
