//! Sums and minima of sorted sets and sets: of those on one shard as they lie, and of those of several shards in what
//! travels from one to the next.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};

use basalt_keyspace::{Content, Entry, KeyHasher, Scored, SetRef, SortedRef, StringList};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;
use smallvec::SmallVec;

use super::combine::{Combination, CombineOptions, without_nan};
use crate::error::CommandError;
use crate::memory::check_memory;

/// A member with what became of its scores.
pub(super) type Member<'a> = (Cow<'a, [u8]>, f64);

/// What a key holds.
#[derive(Clone, Copy)]
pub(super) enum Members<'a> {
    Sorted(SortedRef<'a>),
    /// Each counts as scored 1.
    Set(SetRef<'a>),
    None,
}

impl<'a> Members<'a> {
    pub(super) fn of(entry: Option<&'a Entry>) -> Result<Self, CommandError> {
        let Some(entry) = entry else { return Ok(Self::None) };
        if let Some(set) = SetRef::of(entry) {
            return Ok(Self::Set(set));
        }
        SortedRef::of(entry).map(Self::Sorted).ok_or(CommandError::WRONG_TYPE)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Sorted(sorted) => sorted.len(),
            Self::Set(set) => set.len(),
            Self::None => 0,
        }
    }

    fn score(&self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Sorted(sorted) => sorted.score(member),
            Self::Set(set) => set.contains(member).then_some(1.0),
            Self::None => None,
        }
    }

    /// Visits all members as long as `visit` wants more.
    fn visit(&self, visit: &mut dyn FnMut(Cow<'a, [u8]>, f64) -> bool) {
        match self {
            Self::Sorted(sorted) => {
                sorted.iter().all(|scored| visit(Cow::Borrowed(scored.member), scored.score));
            }
            Self::Set(set) => {
                set.iter().all(|member| match member {
                    Content::Bytes(bytes) => visit(Cow::Borrowed(bytes), 1.0),
                    Content::Integer(value) => {
                        visit(Cow::Owned(value.to_string().into_bytes()), 1.0)
                    }
                });
            }
            Self::None => {}
        }
    }
}

/// A key's members, with a weight for each time that it is named in a row.
pub(super) struct Source<'a> {
    pub members: Members<'a>,
    pub weights: SmallVec<[f64; 2]>,
}

/// What comes of the sorted sets of these keys, in the order of scores.
pub(super) fn combine<'a>(
    options: &CombineOptions,
    combination: Combination,
    sources: &[Source<'a>],
    hasher: &KeyHasher,
) -> Vec<Member<'a>> {
    let mut all: Vec<Member<'a>> = Vec::new();
    match combination {
        Combination::Union => all = unite(options, sources, hasher),
        Combination::Inter => intersect(options, sources, &mut |member, score| {
            all.push((member, score));
            true
        }),
        // A set less itself leaves nothing.
        Combination::Diff if sources[0].weights.len() > 1 => {}
        Combination::Diff => subtract(sources, hasher, &mut |member, score| {
            all.push((member, score));
            true
        }),
    }
    all.sort_unstable_by(|one, other| order((&one.0, one.1), (&other.0, other.1)));
    all
}

/// The size of an intersection, counted up to the limit.
pub(super) fn count(options: &CombineOptions, sources: &[Source<'_>]) -> usize {
    let mut count = 0;
    intersect(options, sources, &mut |_, _| {
        count += 1;
        count < options.limit
    });
    count
}

fn order(one: (&[u8], f64), other: (&[u8], f64)) -> Ordering {
    let by_score = one.1.partial_cmp(&other.1).unwrap_or(Ordering::Equal);
    by_score.then_with(|| one.0.cmp(other.0))
}

/// A member's score over all the times that its key is named. In intersections, as in Redis, only the first
/// weighed score of all is kept from being NaN.
fn total(
    options: &CombineOptions,
    before: Option<f64>,
    weights: &[f64],
    (score, combination): (f64, Combination),
) -> f64 {
    let mut weighed = weights.iter().map(|weight| options.weigh(*weight, score));
    let first =
        before.unwrap_or_else(|| without_nan(weighed.next().expect("a source has a weight")));
    weighed.fold(first, |sum, score| {
        let is_union = combination == Combination::Union;
        options.aggregate(sum, if is_union { without_nan(score) } else { score })
    })
}

fn unite<'a>(
    options: &CombineOptions,
    sources: &[Source<'a>],
    hasher: &KeyHasher,
) -> Vec<Member<'a>> {
    let largest = sources.iter().map(|source| source.members.len()).max().unwrap_or(0);
    let mut all: Vec<Member<'a>> = Vec::with_capacity(largest);
    let is_one = sources.len() == 1;
    let mut places: HashTable<(u64, usize)> =
        HashTable::with_capacity(if is_one { 0 } else { largest });
    for Source { members, weights } in sources {
        members.visit(&mut |member, score| {
            let scored = (score, Combination::Union);
            if is_one {
                all.push((member, total(options, None, weights, scored)));
                return true;
            }
            let hash = hasher.hash(&member);
            let is_it = |(own, at): &(u64, usize)| *own == hash && all[*at].0 == member;
            match places.entry(hash, is_it, |(own, _)| *own) {
                Place::Occupied(place) => {
                    let sum = &mut all[place.get().1].1;
                    *sum = total(options, Some(*sum), weights, scored);
                }
                Place::Vacant(place) => {
                    place.insert((hash, all.len()));
                    all.push((member, total(options, None, weights, scored)));
                }
            }
            true
        });
    }
    all
}

fn intersect<'a>(
    options: &CombineOptions,
    sources: &[Source<'a>],
    visit: &mut dyn FnMut(Cow<'a, [u8]>, f64) -> bool,
) {
    let Some((smallest, others)) = sources.split_first() else { return };
    smallest.members.visit(&mut |member, score| {
        let first = total(options, None, &smallest.weights, (score, Combination::Inter));
        match add_others(options, first, &member, others) {
            Some(sum) => visit(member, sum),
            None => true,
        }
    });
}

/// A member's score with those in other sets; none if it is not in all of them.
fn add_others(
    options: &CombineOptions,
    sum: f64,
    member: &[u8],
    others: &[Source<'_>],
) -> Option<f64> {
    others.iter().try_fold(sum, |sum, source| {
        let score = (source.members.score(member)?, Combination::Inter);
        Some(total(options, Some(sum), &source.weights, score))
    })
}

/// Up to so many sets are asked for each member of another: a table of all members costs more.
const ASKED_SETS_MAX: usize = 2;

/// The members of the first that are in none of the others.
fn subtract<'a>(
    sources: &[Source<'a>],
    hasher: &KeyHasher,
    visit: &mut dyn FnMut(Cow<'a, [u8]>, f64) -> bool,
) {
    let Some((first, others)) = sources.split_first() else { return };
    let first = first.members;
    let mut others: SmallVec<[Members<'_>; 8]> = others.iter().map(|other| other.members).collect();
    let in_others: usize = others.iter().map(Members::len).sum();
    // As Redis chooses: either every other set is asked for each member, large ones first, or all their members are
    // looked at once.
    if others.len() <= ASKED_SETS_MAX || first.len() * others.len() / 2 <= first.len() + in_others {
        others.sort_by_key(|other| Reverse(other.len()));
        first.visit(&mut |member, score| {
            others.iter().any(|other| other.score(&member).is_some()) || visit(member, score)
        });
        return;
    }
    let mut removed: HashTable<(u64, Cow<'_, [u8]>)> =
        HashTable::with_capacity(in_others.min(first.len()));
    for other in others {
        other.visit(&mut |member, _| {
            if first.score(&member).is_some() {
                let hash = hasher.hash(&member);
                let is_it = |(own, other): &(u64, Cow<'_, [u8]>)| *own == hash && *other == member;
                if let Place::Vacant(place) = removed.entry(hash, is_it, |(own, _)| *own) {
                    place.insert((hash, member));
                }
            }
            true
        });
    }
    first.visit(&mut |member, score| {
        let hash = hasher.hash(&member);
        removed.find(hash, |(own, other)| *own == hash && *other == member).is_some()
            || visit(member, score)
    });
}

/// The members that may be in the result of a command over several shards.
#[derive(Default)]
pub(super) struct Gathered {
    /// Whether a shard was visited.
    is_begun: bool,
    names: StringList,
    /// Of each name its offset in `names`, and its score.
    members: Vec<(usize, f64)>,
    /// Of a union: the index of each member.
    places: HashTable<(u64, usize)>,
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// No more members come.
    pub(super) fn end(&mut self) {
        self.places = HashTable::new();
    }

    fn push(&mut self, name: &[u8], score: f64) {
        self.members.push((self.names.bytes(), score));
        self.names.push(name);
    }

    /// Checks that there is memory for what a visit may add, where the keys take so many bytes.
    pub(super) fn check_memory(
        &self,
        combination: Combination,
        mut bytes: impl Iterator<Item = usize>,
    ) -> Result<(), CommandError> {
        // Packed integers take up to four times as much as text, and each member has a place.
        let added = match combination {
            Combination::Union => bytes.sum::<usize>().saturating_mul(4),
            _ if !self.is_begun => bytes.next().unwrap_or(0).saturating_mul(4),
            _ => self.names.bytes().saturating_add(self.members.len() * 16),
        };
        check_memory(added)
    }

    /// Adds the members of more sets.
    pub(super) fn unite(
        &mut self,
        options: &CombineOptions,
        sources: &[Source<'_>],
        hasher: &KeyHasher,
    ) {
        for Source { members: source, weights } in sources {
            source.visit(&mut |name, score| {
                let hash = hasher.hash(&name);
                let Self { names, members, places, .. } = self;
                let is_it = |(own, at): &(u64, usize)| {
                    *own == hash && names.at(members[*at].0) == name.as_ref()
                };
                let scored = (score, Combination::Union);
                match places.entry(hash, is_it, |(own, _)| *own) {
                    Place::Occupied(place) => {
                        let sum = &mut members[place.get().1].1;
                        *sum = total(options, Some(*sum), weights, scored);
                    }
                    Place::Vacant(place) => {
                        place.insert((hash, members.len()));
                        self.push(&name, total(options, None, weights, scored));
                    }
                }
                true
            });
        }
    }

    /// Keeps the members that are in all of these sets, too, up to a limit.
    pub(super) fn intersect(
        &mut self,
        options: &CombineOptions,
        sources: &[Source<'_>],
        limit: usize,
    ) {
        if !std::mem::replace(&mut self.is_begun, true) {
            intersect(options, sources, &mut |name, score| {
                self.push(&name, score);
                self.len() < limit
            });
            return;
        }
        self.retain(limit, |name, score| add_others(options, score, name, sources));
    }

    /// Begins with what the first of these sets has for itself, or removes what they have.
    pub(super) fn subtract(&mut self, sources: &[Source<'_>], hasher: &KeyHasher) {
        if !std::mem::replace(&mut self.is_begun, true) {
            subtract(sources, hasher, &mut |name, score| {
                self.push(&name, score);
                true
            });
            return;
        }
        self.retain(usize::MAX, |name, score| {
            let is_there = sources.iter().any(|source| source.members.score(name).is_some());
            (!is_there).then_some(score)
        });
    }

    fn retain(&mut self, limit: usize, keep: impl Fn(&[u8], f64) -> Option<f64>) {
        let before = std::mem::take(self);
        self.is_begun = true;
        for (at, score) in before.members {
            let name = before.names.at(at);
            if let Some(score) = keep(name, score) {
                self.push(name, score);
                if self.len() == limit {
                    return;
                }
            }
        }
    }

    /// All of them in the order of scores.
    pub(super) fn ordered(&self) -> Vec<Scored<'_>> {
        let scored = |&(at, score): &(usize, f64)| Scored { member: self.names.at(at), score };
        let mut all: Vec<Scored<'_>> = self.members.iter().map(scored).collect();
        all.sort_unstable_by(|one, other| {
            order((one.member, one.score), (other.member, other.score))
        });
        all
    }
}
