//! Combines several sets: on one shard as they lie there; over shards the members that may be in the result travel.
//!
//! ```text
//! inter   the smallest set's members, those of its shard that are in all sets there ─► the others keep theirs
//! diff    the first set's members                                                   ─► the others remove theirs
//! union   the members of the sets of one shard                                      ─► the others add theirs
//! ```

use std::marker::PhantomData;
use std::ops::Range;

use basalt_keyspace::{
    Content, DetachedValue, Digits, EntryRef, Events, Key, KeyHasher, Kind, SetRef, StringList,
    event,
};
use hashbrown::HashTable;
use smallvec::SmallVec;

use super::count::parse_count;
use super::{answer, set};
use crate::call::{Call, Outcome};
use crate::error::CommandError;
use crate::many_keys::{
    Decision, InRounds, KeyRead, KeysHere, ManyKeys, Request, Round, RoundKey, Settings,
    first_mentions,
};
use crate::memory::check_memory;

/// The operation on several sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Inter,
    Union,
    Diff,
}

/// The use of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
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
pub(super) struct SetRequest {
    pub operation: Operation,
    /// The indexes of the source keys among the arguments.
    pub sources: Range<usize>,
    pub answer: Answer,
}

impl SetRequest {
    /// The number of members after which the result is complete.
    fn limit(&self) -> usize {
        match self.answer {
            Answer::Count { limit } => limit,
            Answer::Members | Answer::Stored => usize::MAX,
        }
    }
}

/// An operation, as a row names it.
pub(super) trait Operates: 'static {
    const OPERATION: Operation;
}

/// What becomes of the result, as a row names it.
pub(super) trait Answers: 'static {
    fn parse(args: &[&[u8]], operation: Operation) -> Result<SetRequest, CommandError>;
}

pub(super) struct Inter;
pub(super) struct Union;
pub(super) struct Diff;
pub(super) struct Members;
pub(super) struct Stored;
pub(super) struct Counted;

impl Operates for Inter {
    const OPERATION: Operation = Operation::Inter;
}

impl Operates for Union {
    const OPERATION: Operation = Operation::Union;
}

impl Operates for Diff {
    const OPERATION: Operation = Operation::Diff;
}

impl Answers for Members {
    fn parse(args: &[&[u8]], operation: Operation) -> Result<SetRequest, CommandError> {
        Ok(SetRequest { operation, sources: 1..args.len(), answer: Answer::Members })
    }
}

impl Answers for Stored {
    fn parse(args: &[&[u8]], operation: Operation) -> Result<SetRequest, CommandError> {
        Ok(SetRequest { operation, sources: 2..args.len(), answer: Answer::Stored })
    }
}

impl Answers for Counted {
    fn parse(args: &[&[u8]], operation: Operation) -> Result<SetRequest, CommandError> {
        parse_count(args, operation)
    }
}

/// How a row of these commands runs.
pub(super) const fn row<O: Operates, A: Answers>() -> ManyKeys {
    ManyKeys::in_rounds::<Combine<O, A>>().with_whole(whole::<O, A>)
}

/// Visits the result of an operation on sets that are named once each, as long as `visit` wants more.
fn combine(
    operation: Operation,
    sets: &[Option<SetRef<'_>>],
    hasher: &KeyHasher,
    visit: &mut dyn FnMut(Content<'_>) -> bool,
) {
    let mut there: SmallVec<[SetRef<'_>; 8]> = sets.iter().flatten().copied().collect();
    match operation {
        Operation::Inter if there.len() == sets.len() => {
            there.sort_by_key(SetRef::len);
            let Some((smallest, others)) = there.split_first() else { return };
            let in_all = |member: &Content<'_>| others.iter().all(|o| o.contains_content(*member));
            smallest.iter().filter(in_all).all(visit);
        }
        Operation::Inter => {}
        Operation::Union => unite(&there, hasher, visit),
        Operation::Diff => {
            let [Some(first), others @ ..] = sets else { return };
            let others: SmallVec<[SetRef<'_>; 8]> = others.iter().flatten().copied().collect();
            subtract(*first, others, hasher, visit);
        }
    }
}

/// Up to so many sets are asked for each member of another: a table of all members costs more.
const ASKED_SETS_MAX: usize = 2;

fn unite(sets: &[SetRef<'_>], hasher: &KeyHasher, visit: &mut dyn FnMut(Content<'_>) -> bool) {
    if sets.len() <= ASKED_SETS_MAX + 1 {
        for (at, set) in sets.iter().enumerate() {
            let earlier = &sets[..at];
            let is_new =
                |member: &Content<'_>| !earlier.iter().any(|o| o.contains_content(*member));
            if !set.iter().filter(is_new).all(&mut *visit) {
                return;
            }
        }
        return;
    }
    let largest = sets.iter().map(SetRef::len).max().unwrap_or(0);
    let mut seen = Seen::with_room_for(largest, hasher);
    let _ = sets.iter().flat_map(SetRef::iter).filter(|member| seen.add(*member)).all(visit);
}

/// The members of the first set that are in none of the others.
fn subtract(
    first: SetRef<'_>,
    mut others: SmallVec<[SetRef<'_>; 8]>,
    hasher: &KeyHasher,
    visit: &mut dyn FnMut(Content<'_>) -> bool,
) {
    // As Redis chooses: either every other set is asked for each member, large ones first, or all their members
    // are looked at once.
    let in_others: usize = others.iter().map(SetRef::len).sum();
    if others.len() <= ASKED_SETS_MAX || first.len() * others.len() / 2 <= first.len() + in_others {
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
        let is_left = |member: &Content<'_>| !others.iter().any(|o| o.contains_content(*member));
        first.iter().filter(is_left).all(visit);
        return;
    }
    let mut removed = Seen::with_room_for(in_others.min(first.len()), hasher);
    for member in others.iter().flat_map(SetRef::iter) {
        if first.contains_content(member) {
            removed.add(member);
        }
    }
    let _ = first.iter().filter(|member| !removed.has(*member)).all(visit);
}

/// Members that were seen, as they lie.
struct Seen<'a> {
    hasher: &'a KeyHasher,
    members: HashTable<(u64, Content<'a>)>,
}

impl<'a> Seen<'a> {
    fn with_room_for(count: usize, hasher: &'a KeyHasher) -> Self {
        Self { hasher, members: HashTable::with_capacity(count) }
    }

    fn hash(&self, member: Content<'_>) -> u64 {
        self.hasher.hash(member.as_text(&mut Digits::default()))
    }

    fn has(&self, member: Content<'_>) -> bool {
        let hash = self.hash(member);
        self.members.find(hash, |(own, other)| *own == hash && is_same(*other, member)).is_some()
    }

    /// Returns whether it is new.
    fn add(&mut self, member: Content<'a>) -> bool {
        let hash = self.hash(member);
        let is_it = |(own, other): &(u64, Content<'_>)| *own == hash && is_same(*other, member);
        match self.members.entry(hash, is_it, |(own, _)| *own) {
            hashbrown::hash_table::Entry::Occupied(_) => false,
            hashbrown::hash_table::Entry::Vacant(place) => {
                place.insert((hash, member));
                true
            }
        }
    }
}

/// Whether two members are the same text, however they are stored.
fn is_same(one: Content<'_>, other: Content<'_>) -> bool {
    match (one, other) {
        (Content::Integer(one), Content::Integer(other)) => one == other,
        _ => one.as_text(&mut Digits::default()) == other.as_text(&mut Digits::default()),
    }
}

/// All of a command on one shard: nothing is copied but what is stored.
fn whole<O: Operates, A: Answers>(call: &mut Call<'_>) -> Outcome {
    let request = A::parse(call.args, O::OPERATION)?;
    let names = &call.args[request.sources.clone()];
    let mut keys: SmallVec<[Key<'_>; 8]> = SmallVec::new();
    let mut first_again = false;
    for (at, first) in first_mentions(names).into_iter().enumerate() {
        let key = call.key_of(names[at]);
        call.keyspace.read(call.database, &key);
        if first == at {
            keys.push(key);
        }
        first_again |= at > 0 && first == 0;
    }
    let less_itself = first_again && O::OPERATION == Operation::Diff;
    let (keyspace, database) = (&*call.keyspace, call.database);
    let mut stored = None;
    let made = keyspace.make(Kind::Set);
    {
        let entries: SmallVec<[Option<EntryRef<'_>>; 8]> =
            keys.iter().map(|key| keyspace.peek(database, key)).collect();
        let sets = entries.iter().map(|entry| set(entry.as_deref()));
        let mut sets: SmallVec<[_; 8]> = sets.collect::<Result<_, _>>()?;
        if less_itself {
            sets.clear();
        }
        let hasher = keyspace.hasher();
        match request.answer {
            Answer::Members => {
                let (reply, mut count) = (&mut call.reply, 0);
                let deferred = reply.deferred_array();
                combine(O::OPERATION, &sets, hasher, &mut |member| {
                    answer(reply, member);
                    count += 1;
                    true
                });
                reply.finish_set(deferred, count);
            }
            Answer::Count { limit } => {
                let mut count = 0;
                combine(O::OPERATION, &sets, hasher, &mut |_| {
                    count += 1;
                    count < limit
                });
                call.reply.integer(count as i64);
            }
            Answer::Stored => {
                let (mut digits, mut made) = (Digits::default(), made);
                let mut push = |member: Content<'_>| {
                    made.push(member.as_text(&mut digits));
                    true
                };
                if O::OPERATION == Operation::Union {
                    // What comes again is found where it is stored.
                    let _ = sets.iter().flatten().flat_map(SetRef::iter).all(push);
                } else {
                    combine(O::OPERATION, &sets, hasher, &mut push);
                }
                stored = Some(made.finish());
            }
        }
    }
    if let Some(made) = stored {
        let len = made.as_ref().map_or(0, DetachedValue::len);
        call.reply.integer(len as i64);
        call.keyspace.put_made(database, &call.key, made, O::OPERATION.events());
    }
    Ok(())
}

impl Operation {
    /// The event of its result that is stored.
    fn events(self) -> Events {
        match self {
            Self::Inter => event::SINTERSTORE,
            Self::Union => event::SUNIONSTORE,
            Self::Diff => event::SDIFFSTORE,
        }
    }
}

/// A command over the sets of several shards.
struct Combine<O, A>(PhantomData<(O, A)>);

/// The members that may be in the result.
struct Gathered {
    request: SetRequest,
    /// The round that is still to come.
    round: Option<Round>,
    /// Whether a shard was visited in this round.
    is_begun: bool,
    /// The part of the first shard's members that are looked at next, if the result is only counted up to a limit.
    part: Option<Part>,
    /// How many are in the result, of the parts before.
    counted: usize,
    members: StringList,
    /// Of a union: where each member lies.
    places: HashTable<(u64, usize)>,
}

/// A part of the members of a set. What a limit leaves out is not carried from shard to shard.
struct Part {
    /// How many members of the set come before it.
    from: usize,
    /// How many candidates it has at most.
    len: usize,
    /// The keys, as the first round has them.
    keys: Vec<RoundKey>,
    is_last: bool,
}

impl Part {
    /// LIMIT: candidates that travel at a time, from the first part to the longest.
    const LEN_MIN: usize = 256;
    const LEN_MAX: usize = 1 << 20;

    /// Of an intersection or difference that is counted up to a limit.
    fn first(request: &SetRequest, round: Option<&Round>) -> Option<Self> {
        let is_limited = request.limit() < usize::MAX && request.operation != Operation::Union;
        let round = round.filter(|_| is_limited)?;
        let len = request.limit().clamp(Self::LEN_MIN, Self::LEN_MAX);
        Some(Self { from: 0, len, keys: round.keys.clone(), is_last: false })
    }

    /// The candidates among the members of the first of these sets, by what is on its shard. `found` gets them.
    fn find(&mut self, operation: Operation, sets: &[Option<SetRef<'_>>], found: &mut StringList) {
        self.is_last = true;
        let first = match operation {
            Operation::Inter if sets.iter().any(Option::is_none) => return,
            Operation::Inter => sets.iter().flatten().min_by_key(|set| set.len()),
            _ => sets[0].as_ref(),
        };
        let Some(first) = first else { return };
        let others = || sets.iter().flatten().filter(|set| !std::ptr::eq(*set, first));
        let mut digits = Digits::default();
        for member in first.iter().skip(self.from) {
            if found.len() == self.len {
                self.is_last = false;
                return;
            }
            self.from += 1;
            let stays = match operation {
                Operation::Inter => others().all(|other| other.contains_content(member)),
                _ => !others().any(|other| other.contains_content(member)),
            };
            if stays {
                found.push(member.as_text(&mut digits));
            }
        }
    }
}

impl<O: Operates, A: Answers> InRounds for Combine<O, A> {
    /// The number of members; none where there is no key.
    type Found = Result<Option<usize>, CommandError>;
    type State = Gathered;

    fn check(args: &[&[u8]], _: &Settings<'_>) -> Outcome {
        A::parse(args, O::OPERATION).map(drop)
    }

    fn read(key: KeyRead<'_>) -> Self::Found {
        let request = A::parse(key.args, O::OPERATION)?;
        if request.answer == Answer::Stored && key.index == 0 {
            return Ok(None);
        }
        let entry = key.keyspace.read(key.database, &key.key);
        Ok(set(entry.as_deref())?.map(|set| set.len()))
    }

    fn begin(found: Vec<Self::Found>, request: Request<'_>) -> Result<Gathered, CommandError> {
        let own = A::parse(request.args, O::OPERATION)?;
        let before = request.keys.len() - own.sources.len();
        let sizes = found.into_iter().skip(before).collect::<Result<Vec<_>, _>>()?;
        let firsts = first_mentions(&request.keys[before..]);
        let mut sources: Vec<usize> = (0..sizes.len()).filter(|at| firsts[*at] == *at).collect();
        let is_empty = match O::OPERATION {
            Operation::Inter => sizes.contains(&None),
            Operation::Union => false,
            Operation::Diff => sizes[0].is_none() || firsts[1..].contains(&0),
        };
        if O::OPERATION == Operation::Inter {
            sources.sort_by_key(|at| sizes[*at]);
        }
        let keys = sources.into_iter().map(|at| RoundKey::Own(before + at)).collect();
        let round = (!is_empty).then_some(Round { keys, is_ordered: false });
        let part = Part::first(&own, round.as_ref());
        let (members, places) = (StringList::default(), HashTable::new());
        Ok(Gathered { request: own, round, is_begun: false, part, counted: 0, members, places })
    }

    fn next(state: &mut Gathered, _: Request<'_>) -> Result<Option<Round>, CommandError> {
        if let Some(round) = state.round.take() {
            return Ok(Some(round));
        }
        let Gathered { part: Some(part), counted, members, request, is_begun, .. } = state else {
            return Ok(None);
        };
        *counted += members.len();
        members.clear();
        if !*is_begun || part.is_last || *counted >= request.limit() {
            return Ok(None);
        }
        *is_begun = false;
        part.len = (part.len * 2).min(Part::LEN_MAX);
        Ok(Some(Round { keys: part.keys.clone(), is_ordered: false }))
    }

    fn visit(state: &mut Gathered, here: KeysHere<'_>) -> Result<bool, CommandError> {
        let entries = here.peek();
        let sets: Vec<_> =
            entries.iter().map(|entry| set(entry.as_deref())).collect::<Result<_, _>>()?;
        let hasher = here.keyspace.hasher();
        let limit = state.request.limit();
        if O::OPERATION == Operation::Union {
            let bytes = entries.iter().flatten().map(|entry| text_bytes(entry)).sum();
            check_memory(bytes)?;
            sets.iter().flatten().flat_map(SetRef::iter).all(|member| {
                state.add(member, hasher);
                state.members.len() < limit
            });
            return Ok(state.members.len() < limit);
        }
        // A limit is met only by what all shards kept.
        let limit = if here.is_last { limit - state.counted } else { usize::MAX };
        let mut digits = Digits::default();
        let mut kept = StringList::default();
        if !std::mem::replace(&mut state.is_begun, true) {
            let bytes = entries.iter().flatten().map(|entry| text_bytes(entry)).min();
            check_memory(bytes.unwrap_or(0))?;
            match &mut state.part {
                Some(part) => part.find(O::OPERATION, &sets, &mut kept),
                None => combine(O::OPERATION, &sets, hasher, &mut |member| {
                    kept.push(member.as_text(&mut digits));
                    kept.len() < limit
                }),
            }
        } else {
            check_memory(state.members.bytes())?;
            let stays = |name: &&[u8]| match O::OPERATION {
                Operation::Diff => !sets.iter().flatten().any(|set| set.contains(name)),
                _ => sets.iter().all(|set| set.is_some_and(|set| set.contains(name))),
            };
            let names = state.members.as_strings().iter().filter(stays);
            names.take(limit).for_each(|name| kept.push(name));
        }
        state.members = kept;
        Ok(!state.members.is_empty())
    }

    fn decide(state: Gathered, decision: &mut Decision<'_, '_>) -> Outcome {
        let Gathered { request, members, counted, .. } = state;
        let count = members.len();
        match request.answer {
            Answer::Members => {
                decision.reply.set(count);
                members.as_strings().iter().for_each(|name| decision.reply.bulk(name));
            }
            Answer::Count { limit } => {
                decision.reply.integer((counted + count).min(limit) as i64);
            }
            Answer::Stored => {
                decision.reply.integer(count as i64);
                decision.write(0, move |keyspace, database, key| {
                    let mut made = keyspace.make(Kind::Set);
                    made.extend(members.as_strings());
                    drop(members);
                    keyspace.put_made(database, key, made.finish(), O::OPERATION.events());
                });
            }
        }
        Ok(())
    }
}

impl Gathered {
    /// Adds a member, if it is new.
    fn add(&mut self, member: Content<'_>, hasher: &KeyHasher) {
        let Self { members, places, .. } = self;
        let mut digits = Digits::default();
        let name = member.as_text(&mut digits);
        let hash = hasher.hash(name);
        let is_it = |(own, at): &(u64, usize)| *own == hash && members.at(*at) == name;
        if let hashbrown::hash_table::Entry::Vacant(place) =
            places.entry(hash, is_it, |(own, _)| *own)
        {
            place.insert((hash, members.bytes()));
            members.push(name);
        }
    }
}

/// At most so many bytes the members of a set take as a list, or as a table of them.
fn text_bytes(entry: &basalt_keyspace::Entry) -> usize {
    // An integer of two bytes has up to six digits and signs, and a length.
    entry.heap_bytes().saturating_mul(4)
}
