//! Union, intersection and difference of sorted sets; members of plain sets have score 1.

use std::marker::PhantomData;

use basalt_keyspace::{DetachedValue, EntryRef, Events, Key, Keyspace, Kind, Scored, event};
use basalt_resp::parse_f64;
use smallvec::SmallVec;

use super::sources::{Gathered, Member, Members, Source, combine, count};
use super::{ROW, write_scored};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::many_keys::{
    Decision, InRounds, KeyRead, KeysHere, ManyKeys, Request, Round, RoundKey, Settings,
    first_mentions,
};

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
    run: Run::Many(&const { row::<Union, Told>() }),
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
    run: Run::Many(&const { row::<Inter, Told>() }),
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
    run: Run::Many(&const { row::<Diff, Told>() }),
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
    run: Run::Many(&const { row::<Inter, Counted>() }),
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
    run: Run::Many(&const { row::<Union, Stored>() }),
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
    run: Run::Many(&const { row::<Inter, Stored>() }),
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
    run: Run::Many(&const { row::<Diff, Stored>() }),
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
pub(super) enum Combination {
    Union,
    Inter,
    Diff,
}

/// The use of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
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
pub(super) struct CombineOptions {
    /// One per key.
    pub(super) weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// The limit of the count.
    pub(super) limit: usize,
}

/// The parsed arguments of ZUNION and the like. The error for a key of a wrong type precedes that
/// for a wrong option.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CombineRequest<'a> {
    keys: &'a [&'a [u8]],
    options: Result<CombineOptions, CommandError>,
}

/// Parses the arguments from the number of keys on.
fn parse_combine<'a>(
    name: impl FnOnce() -> String,
    args: &'a [&'a [u8]],
    combination: Combination,
    purpose: Purpose,
) -> Result<CombineRequest<'a>, CommandError> {
    let count = integer(args[0])?;
    if count < 1 {
        let text = format!("ERR at least 1 input key is needed for '{}' command", name());
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

impl CombineOptions {
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

/// An operation, as a row names it.
trait Combines: 'static {
    const COMBINATION: Combination;
}

/// A purpose, as a row names it.
trait Serves: 'static {
    const PURPOSE: Purpose;
}

struct Union;
struct Inter;
struct Diff;
struct Told;
struct Stored;
struct Counted;

impl Combines for Union {
    const COMBINATION: Combination = Combination::Union;
}

impl Combines for Inter {
    const COMBINATION: Combination = Combination::Inter;
}

impl Combines for Diff {
    const COMBINATION: Combination = Combination::Diff;
}

impl Serves for Told {
    const PURPOSE: Purpose = Purpose::Tell;
}

impl Serves for Stored {
    const PURPOSE: Purpose = Purpose::Store;
}

impl Serves for Counted {
    const PURPOSE: Purpose = Purpose::Count;
}

/// How a row of these commands runs.
const fn row<C: Combines, P: Serves>() -> ManyKeys {
    ManyKeys::in_rounds::<Combine<C, P>>().with_whole(whole::<C, P>)
}

/// A command over sorted sets and sets.
struct Combine<C, P>(PhantomData<(C, P)>);

impl<C: Combines, P: Serves> Combine<C, P> {
    /// How many keys come before those of the sets.
    const BEFORE: usize = match P::PURPOSE {
        Purpose::Store => 1,
        Purpose::Tell | Purpose::Count => 0,
    };
    const EVENTS: Events = match C::COMBINATION {
        Combination::Union => event::ZUNIONSTORE,
        Combination::Inter => event::ZINTERSTORE,
        Combination::Diff => event::ZDIFFSTORE,
    };

    fn parse<'a>(args: &'a [&'a [u8]]) -> Result<CombineRequest<'a>, CommandError> {
        let name = || String::from_utf8_lossy(args[0]).to_lowercase();
        parse_combine(name, &args[1 + Self::BEFORE..], C::COMBINATION, P::PURPOSE)
    }
}

/// Which keys are read in which order, each with the weights that count for it: keys by their index among the names,
/// `sizes` by that index.
fn order_of(
    combination: Combination,
    names: &[&[u8]],
    weights: &[f64],
    sizes: &[usize],
) -> Vec<(usize, SmallVec<[f64; 2]>)> {
    let firsts = first_mentions(names);
    let mut mentions: SmallVec<[(usize, f64); 8]> =
        firsts.into_iter().zip(weights.iter().copied()).collect();
    // Sums of fractions and of infinities depend on the order, so it is Redis': the smallest first, keys of equal size
    // as they are named. A difference only asks which key is the first.
    match combination {
        Combination::Diff => mentions.sort_by_key(|&(at, _)| at),
        _ => mentions.sort_by_key(|&(at, _)| sizes[at]),
    }
    let groups = mentions.chunk_by(|one, next| one.0 == next.0);
    groups.map(|group| (group[0].0, group.iter().map(|&(_, weight)| weight).collect())).collect()
}

/// All of a command on one shard: nothing is copied but what is stored.
fn whole<C: Combines, P: Serves>(call: &mut Call<'_>) -> Outcome {
    let CombineRequest { keys: names, options } = Combine::<C, P>::parse(call.args)?;
    let keys: SmallVec<[Key<'_>; 8]> = names.iter().map(|name| call.key_of(name)).collect();
    for key in &keys {
        call.keyspace.read(call.database, key);
    }
    let made = {
        let keyspace = &*call.keyspace;
        let entries: SmallVec<[Option<EntryRef<'_>>; 8]> =
            keys.iter().map(|key| keyspace.peek(call.database, key)).collect();
        let members = entries.iter().map(|entry| Members::of(entry.as_deref()));
        let members: SmallVec<[Members<'_>; 8]> = members.collect::<Result<_, _>>()?;
        let options = options?;
        let sizes: SmallVec<[usize; 8]> = members.iter().map(Members::len).collect();
        let order = order_of(C::COMBINATION, names, &options.weights, &sizes);
        let source = |(at, weights)| Source { members: members[at], weights };
        let sources: SmallVec<[Source<'_>; 4]> = order.into_iter().map(source).collect();
        if P::PURPOSE == Purpose::Count {
            call.reply.integer(count(&options, &sources) as i64);
            return Ok(());
        }
        let result = combine(&options, C::COMBINATION, &sources, keyspace.hasher());
        if P::PURPOSE == Purpose::Tell {
            let scored = result.iter().map(|(member, score)| Scored { member, score: *score });
            write_scored(&mut call.reply, result.len(), scored, options.with_scores);
            return Ok(());
        }
        call.reply.integer(result.len() as i64);
        make_of(keyspace, result)
    };
    let (database, target) = (call.database, call.key);
    let events = Combine::<C, P>::EVENTS;
    call.keyspace.put_made(database, &target, made, events);
    Ok(())
}

/// Makes a sorted set of these members, which are in its order. Their memory is given back on the way, since the set
/// needs as much.
fn make_of(keyspace: &Keyspace, mut members: Vec<Member<'_>>) -> Option<DetachedValue> {
    const PART: usize = 16 << 10;
    let mut made = keyspace.make(Kind::Sorted);
    members.reverse();
    while let Some((member, score)) = members.pop() {
        made.push_scored(&member, score);
        if members.len().is_multiple_of(PART) {
            members.shrink_to_fit();
        }
    }
    made.finish()
}

/// A command over the sets of several shards, under way.
struct Combining {
    options: CombineOptions,
    /// The round that is still to come.
    round: Option<Round>,
    /// By the position in the round.
    weights: Vec<SmallVec<[f64; 2]>>,
    gathered: Gathered,
}

impl<C: Combines, P: Serves> InRounds for Combine<C, P> {
    /// The number of members.
    type Found = Result<usize, CommandError>;
    type State = Combining;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        Self::parse(args).map(drop)
    }

    fn read(key: KeyRead<'_>) -> Self::Found {
        if key.index < Self::BEFORE {
            return Ok(0);
        }
        let entry = key.keyspace.read(key.database, &key.key);
        Ok(Members::of(entry.as_deref())?.len())
    }

    fn begin(found: Vec<Self::Found>, request: Request<'_>) -> Result<Combining, CommandError> {
        let CombineRequest { keys: names, options } = Self::parse(request.args)?;
        let sizes: Vec<usize> = found.into_iter().skip(Self::BEFORE).collect::<Result<_, _>>()?;
        let options = options?;
        let order = order_of(C::COMBINATION, names, &options.weights, &sizes);
        let is_empty = match C::COMBINATION {
            Combination::Union => false,
            Combination::Inter => sizes.contains(&0),
            // A set less itself leaves nothing.
            Combination::Diff => sizes[0] == 0 || order[0].1.len() > 1,
        };
        let keys = order.iter().map(|(at, _)| RoundKey::Own(Self::BEFORE + at)).collect();
        let round = Round { keys, is_ordered: C::COMBINATION != Combination::Diff };
        let weights = order.into_iter().map(|(_, weights)| weights).collect();
        let (round, gathered) = ((!is_empty).then_some(round), Gathered::default());
        Ok(Combining { options, round, weights, gathered })
    }

    fn next(state: &mut Combining, _: Request<'_>) -> Result<Option<Round>, CommandError> {
        Ok(state.round.take())
    }

    fn visit(state: &mut Combining, here: KeysHere<'_>) -> Result<bool, CommandError> {
        let entries = here.peek();
        let sources = entries.iter().zip(here.keys).map(|(entry, (position, _))| {
            let weights = state.weights[*position].clone();
            Ok(Source { members: Members::of(entry.as_deref())?, weights })
        });
        let sources: Vec<Source<'_>> = sources.collect::<Result<_, CommandError>>()?;
        let bytes = entries.iter().flatten().map(|entry| entry.heap_bytes());
        let hasher = here.keyspace.hasher();
        let limit = if here.is_last { state.options.limit } else { usize::MAX };
        let gathered = &mut state.gathered;
        gathered.check_memory(C::COMBINATION, bytes)?;
        match C::COMBINATION {
            Combination::Union => gathered.unite(&state.options, &sources, hasher),
            Combination::Inter => gathered.intersect(&state.options, &sources, limit),
            Combination::Diff => gathered.subtract(&sources, hasher),
        }
        Ok(C::COMBINATION == Combination::Union || gathered.len() > 0)
    }

    fn decide(state: Combining, decision: &mut Decision<'_, '_>) -> Outcome {
        let Combining { options, mut gathered, .. } = state;
        gathered.end();
        if P::PURPOSE == Purpose::Tell {
            let ordered = gathered.ordered();
            let (len, members) = (ordered.len(), ordered.iter().copied());
            write_scored(decision.reply, len, members, options.with_scores);
            return Ok(());
        }
        decision.reply.integer(gathered.len().min(options.limit) as i64);
        if P::PURPOSE == Purpose::Store {
            decision.write(0, move |keyspace, id, key| {
                let mut made = keyspace.make(Kind::Sorted);
                let ordered = gathered.ordered();
                ordered.iter().for_each(|one| made.push_scored(one.member, one.score));
                drop(gathered);
                keyspace.put_made(id, key, made.finish(), Self::EVENTS);
            });
        }
        Ok(())
    }
}
