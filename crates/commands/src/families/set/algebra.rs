//! Unions, intersections and differences of sets.
//!
//! Pure functions over the sets of one shard: a whole command if all of its keys are here, and the
//! parts of one whose keys are on several shards.

use std::ops::Range;

use basalt_keyspace::{
    Cause, Content, DatabaseId, Digits, Effect, EntryRef, Key, Keyspace, Kind, SetChange, SetRef,
    StringList, event,
};
use basalt_resp::Reply;

use super::count::parse_count;
use super::{ROW, answer, set};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run, Verb};
use crate::error::CommandError;
use crate::many_keys::ManyKeys;

pub(super) const ALGEBRA_ROW: Command = Command {
    since: "1.0.0",
    complexity: "O(N) for N members of all sets",
    arity: -2,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output_order"],
    keys: &[KeySpec::all(1, &["RO", "access"])],
    arguments: &[Argument::KEYS],
    ..ROW
};

const STORE_ROW: Command = Command {
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    tips: &[],
    keys: &[
        KeySpec::at(1, &["OW", "update"]),
        KeySpec { first: 2, ..KeySpec::all(1, &["RO", "access"]) },
    ],
    arguments: &[Argument::key("destination", 0), Argument::key("key", 1).multiple()],
    ..ALGEBRA_ROW
};

pub(super) const SINTER: Command = Command {
    name: "sinter",
    summary: "Returns the intersection of sets.",
    complexity: "O(N*M) for N members of the smallest of M sets",
    run: Run::Many(&const { ManyKeys::by_engine(algebra, Verb::SetInter) }),
    shows: r#"> SADD odd 1 3 5 7
(integer) 4
> SADD prime 2 3 5 7
(integer) 4
@resp 2
@sorted
> SINTER odd prime
1) "3"
2) "5"
3) "7"
@resp 3
@sorted
> SINTER odd prime
1~ "3"
2~ "5"
3~ "7"
@resp 2
> SINTER odd absent
(empty array)
@resp 3
> SINTER odd absent
(empty set)
@resp any
> SET text value
OK
> SINTER absent text
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..ALGEBRA_ROW
};

pub(super) const SINTERSTORE: Command = Command {
    name: "sinterstore",
    summary: "Stores the intersection of sets and returns its size.",
    complexity: "O(N*M) for N members of the smallest of M sets",
    run: Run::Many(&const { ManyKeys::by_engine(algebra, Verb::SetInterStore) }),
    shows: r#"> SADD odd 1 3 5 7
(integer) 4
> SADD prime 2 3 5 7
(integer) 4
> SINTERSTORE both odd prime
(integer) 3
@resp 2
> SMEMBERS both
1) "3"
2) "5"
3) "7"
@resp 3
> SMEMBERS both
1~ "3"
2~ "5"
3~ "7"
@resp any
> SINTERSTORE both odd absent
(integer) 0
> EXISTS both
(integer) 0
"#,
    ..STORE_ROW
};

pub(super) const SUNION: Command = Command {
    name: "sunion",
    summary: "Returns the union of sets.",
    run: Run::Many(&const { ManyKeys::by_engine(algebra, Verb::SetUnion) }),
    shows: r#"> SADD odd 1 3 5
(integer) 3
> SADD prime 2 3 5
(integer) 3
@resp 2
@sorted
> SUNION odd prime absent
1) "1"
2) "2"
3) "3"
4) "5"
@resp 3
@sorted
> SUNION odd prime absent
1~ "1"
2~ "2"
3~ "3"
4~ "5"
@resp any
"#,
    ..ALGEBRA_ROW
};

pub(super) const SUNIONSTORE: Command = Command {
    name: "sunionstore",
    summary: "Stores the union of sets and returns its size.",
    run: Run::Many(&const { ManyKeys::by_engine(algebra, Verb::SetUnionStore) }),
    shows: r#"> SADD odd 1 3 5
(integer) 3
> SADD prime 2 3 5
(integer) 3
> SUNIONSTORE all odd prime
(integer) 4
@resp 2
> SMEMBERS all
1) "1"
2) "2"
3) "3"
4) "5"
@resp 3
> SMEMBERS all
1~ "1"
2~ "2"
3~ "3"
4~ "5"
@resp any
"#,
    ..STORE_ROW
};

pub(super) const SDIFF: Command = Command {
    name: "sdiff",
    summary: "Returns the members of the first set that are in none of the others.",
    run: Run::Many(&const { ManyKeys::by_engine(algebra, Verb::SetDiff) }),
    shows: r#"> SADD odd 1 3 5 9
(integer) 4
> SADD prime 2 3 5
(integer) 3
@resp 2
@sorted
> SDIFF odd prime
1) "1"
2) "9"
@resp 3
@sorted
> SDIFF odd prime
1~ "1"
2~ "9"
@resp 2
> SDIFF absent prime
(empty array)
@resp 3
> SDIFF absent prime
(empty set)
@resp any
"#,
    ..ALGEBRA_ROW
};

pub(super) const SDIFFSTORE: Command = Command {
    name: "sdiffstore",
    summary: "Stores the members of the first set that are in none of the others, and returns their number.",
    run: Run::Many(&const { ManyKeys::by_engine(algebra, Verb::SetDiffStore) }),
    shows: r#"> SADD odd 1 3 5 9
(integer) 4
> SADD prime 2 3 5
(integer) 3
> SDIFFSTORE left odd prime
(integer) 2
@resp 2
> SMEMBERS left
1) "1"
2) "9"
@resp 3
> SMEMBERS left
1~ "1"
2~ "9"
@resp any
"#,
    ..STORE_ROW
};

/// The operation on several sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOperation {
    Inter,
    Union,
    Diff,
}

/// The use of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetAnswer {
    Members,
    /// Its size, counted up to a limit.
    Count {
        limit: usize,
    },
    /// The first key is the destination.
    Stored,
}

/// The parsed arguments of these commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRequest {
    pub operation: SetOperation,
    /// The indexes of the source keys.
    pub sources: Range<usize>,
    pub answer: SetAnswer,
}

impl SetRequest {
    /// The number of members after which the result is complete.
    pub fn limit(&self) -> usize {
        match self.answer {
            SetAnswer::Count { limit } => limit,
            SetAnswer::Members | SetAnswer::Stored => usize::MAX,
        }
    }
}

/// Parses the arguments of one of these commands.
pub fn parse_set_algebra(verb: Verb, args: &[&[u8]]) -> Result<SetRequest, CommandError> {
    let (operation, answer) = match verb {
        Verb::SetInterCard => return parse_count(args, SetOperation::Inter),
        Verb::SetUnionCard => return parse_count(args, SetOperation::Union),
        Verb::SetDiffCard => return parse_count(args, SetOperation::Diff),
        Verb::SetInter => (SetOperation::Inter, SetAnswer::Members),
        Verb::SetInterStore => (SetOperation::Inter, SetAnswer::Stored),
        Verb::SetUnion => (SetOperation::Union, SetAnswer::Members),
        Verb::SetUnionStore => (SetOperation::Union, SetAnswer::Stored),
        Verb::SetDiff => (SetOperation::Diff, SetAnswer::Members),
        _ => (SetOperation::Diff, SetAnswer::Stored),
    };
    let first = if answer == SetAnswer::Stored { 2 } else { 1 };
    Ok(SetRequest { operation, sources: first..args.len(), answer })
}

/// The size of a key's set; `None` without a key.
pub type SetSource = Result<Option<usize>, CommandError>;

/// The sets of keys; `None` for missing ones.
fn with_sets<T>(
    keyspace: &Keyspace,
    database: DatabaseId,
    keys: &[Key<'_>],
    use_them: impl FnOnce(&[Option<SetRef<'_>>]) -> T,
) -> Result<T, CommandError> {
    let entries: Vec<Option<EntryRef<'_>>> =
        keys.iter().map(|key| keyspace.peek(database, key)).collect();
    let sets: Result<Vec<_>, _> = entries.iter().map(|entry| set(entry.as_deref())).collect();
    Ok(use_them(&sets?))
}

/// Visits the result of an operation on sets, up to a limit.
fn combine(
    operation: SetOperation,
    sets: &[Option<SetRef<'_>>],
    limit: usize,
    visit: &mut dyn FnMut(Content<'_>),
) {
    let there: Vec<SetRef<'_>> = sets.iter().flatten().copied().collect();
    match operation {
        SetOperation::Inter if there.len() == sets.len() => {
            let mut by_len = there;
            by_len.sort_by_key(SetRef::len);
            let Some((smallest, others)) = by_len.split_first() else { return };
            let in_all = |member: &Content<'_>| others.iter().all(|o| o.contains_content(*member));
            smallest.iter().filter(in_all).take(limit).for_each(visit);
        }
        SetOperation::Inter => {}
        SetOperation::Union => {
            for (at, set) in there.iter().enumerate() {
                let earlier = &there[..at];
                let is_new =
                    |member: &Content<'_>| !earlier.iter().any(|o| o.contains_content(*member));
                set.iter().filter(is_new).for_each(&mut *visit);
            }
        }
        SetOperation::Diff => {
            let [Some(first), others @ ..] = sets else { return };
            let is_left = |member: &Content<'_>| {
                !others.iter().flatten().any(|other| other.contains_content(*member))
            };
            first.iter().filter(is_left).for_each(visit);
        }
    }
}

/// The result of an operation on the sets of these keys, up to a limit.
pub fn combine_sets(
    keyspace: &Keyspace,
    database: DatabaseId,
    keys: &[Key<'_>],
    operation: SetOperation,
    limit: usize,
) -> Result<StringList, CommandError> {
    let mut digits = Digits::default();
    with_sets(keyspace, database, keys, |sets| {
        let mut found = StringList::default();
        combine(operation, sets, limit, &mut |member| found.push(member.as_text(&mut digits)));
        found
    })
}

/// Filters members: those in all of the sets of these keys, or with `Diff` in none, up to a limit.
pub fn keep_members(
    keyspace: &Keyspace,
    database: DatabaseId,
    keys: &[Key<'_>],
    members: &StringList,
    (operation, limit): (SetOperation, usize),
) -> Result<StringList, CommandError> {
    with_sets(keyspace, database, keys, |sets| {
        let is_in = |set: &Option<SetRef<'_>>, name| set.is_some_and(|set| set.contains(name));
        let mut kept = StringList::default();
        for name in members.as_strings().iter() {
            let stays = match operation {
                SetOperation::Diff => !sets.iter().any(|set| is_in(set, name)),
                SetOperation::Inter | SetOperation::Union => {
                    sets.iter().all(|set| is_in(set, name))
                }
            };
            if stays {
                kept.push(name);
                if kept.len() == limit {
                    break;
                }
            }
        }
        kept
    })
}

/// Replaces a key's value by a set of these members, the result of an operation; removes the key if there are none.
pub fn store_set(
    keyspace: &mut Keyspace,
    database: DatabaseId,
    target: &Key<'_>,
    (operation, members): (SetOperation, &StringList),
) {
    let edit = keyspace.edit(database, target);
    if !members.is_empty() {
        let changes = SetChange::Add { members: members.as_strings() }.to_changes();
        let effect =
            Effect::SetCollection { kind: Kind::Set, changes: &changes, expire_at_ms: None };
        let events = match operation {
            SetOperation::Inter => event::SINTERSTORE,
            SetOperation::Union => event::SUNIONSTORE,
            SetOperation::Diff => event::SDIFFSTORE,
        };
        edit.as_event(events).commit(effect);
    } else if edit.entry().is_some() {
        edit.commit(Effect::Remove { cause: Cause::Deleted });
    }
}

/// Members as a reply.
pub fn write_members(members: &StringList, reply: &mut Reply<'_>) {
    reply.set(members.len());
    members.as_strings().iter().for_each(|name| reply.bulk(name));
}

/// All of a command, where all keys are on one shard.
pub(super) fn algebra(call: &mut Call<'_>) -> Outcome {
    let Run::Many(ManyKeys { verb: Some(verb), .. }) = call.command.run else {
        unreachable!("its row names the verb")
    };
    let request = parse_set_algebra(*verb, call.args)?;
    let target = (request.answer == SetAnswer::Stored).then_some(call.args[1]);
    let names = target.iter().chain(&call.args[request.sources.clone()]);
    let keys: Vec<Key<'_>> = names.map(|name| call.keyspace.key(name)).collect();
    run_set_algebra(call.keyspace, call.database, &keys, &request, &mut call.reply)
}

/// Runs a whole command whose keys are all here: those of the sets, and before them that of the result
/// where it is stored.
pub fn run_set_algebra(
    keyspace: &mut Keyspace,
    database: DatabaseId,
    keys: &[Key<'_>],
    request: &SetRequest,
    reply: &mut Reply<'_>,
) -> Outcome {
    let (target, sources) = match (request.answer, keys) {
        (SetAnswer::Stored, [target, sources @ ..]) => (Some(target), sources),
        _ => (None, keys),
    };
    for key in sources {
        keyspace.read(database, key);
    }
    let (operation, limit) = (request.operation, request.limit());
    if let Some(target) = target {
        let members = combine_sets(keyspace, database, sources, operation, limit)?;
        store_set(keyspace, database, target, (operation, &members));
        reply.integer(members.len() as i64);
        return Ok(());
    }
    with_sets(keyspace, database, sources, |sets| {
        let mut count = 0;
        if let SetAnswer::Count { .. } = request.answer {
            combine(operation, sets, limit, &mut |_| count += 1);
            reply.integer(count.min(limit) as i64);
        } else {
            let deferred = reply.deferred_array();
            combine(operation, sets, limit, &mut |member| {
                answer(reply, member);
                count += 1;
            });
            reply.finish_set(deferred, count);
        }
    })
}
