//! Union, intersection and difference of sorted sets and sets that are all on one shard: nothing is copied but what
//! is stored, and a key that is named several times is read once.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use basalt_keyspace::{Content, Entry, EntryRef, KeyHasher, Keyspace, Scored, SetRef, SortedRef};
use smallvec::SmallVec;

use super::combine::{Combination, CombineOptions, without_nan};
use crate::error::CommandError;

/// A member with what became of its scores.
type Member<'a> = (Cow<'a, [u8]>, f64);

/// What a key holds.
#[derive(Clone, Copy)]
enum Members<'a> {
    Sorted(SortedRef<'a>),
    /// Each counts as scored 1.
    Set(SetRef<'a>),
    None,
}

impl<'a> Members<'a> {
    fn of(entry: Option<&'a Entry>) -> Result<Self, CommandError> {
        let Some(entry) = entry else { return Ok(Self::None) };
        if let Some(set) = SetRef::of(entry) {
            return Ok(Self::Set(set));
        }
        SortedRef::of(entry).map(Self::Sorted).ok_or(CommandError::WRONG_TYPE)
    }

    fn len(&self) -> usize {
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

    fn visit(&self, visit: &mut dyn FnMut(Cow<'a, [u8]>, f64)) {
        match self {
            Self::Sorted(sorted) => {
                sorted.iter().for_each(|scored| visit(Cow::Borrowed(scored.member), scored.score));
            }
            Self::Set(set) => set.iter().for_each(|member| match member {
                Content::Bytes(bytes) => visit(Cow::Borrowed(bytes), 1.0),
                Content::Integer(value) => visit(Cow::Owned(value.to_string().into_bytes()), 1.0),
            }),
            Self::None => {}
        }
    }
}

/// A key's members, with a weight for each time that it is named in a row.
struct Source<'a> {
    members: Members<'a>,
    weights: SmallVec<[f64; 2]>,
}

/// What comes of the sorted sets of these keys, in the order of scores.
pub(super) fn combine<'a>(
    options: &CombineOptions,
    combination: Combination,
    (keyspace, entries): (&Keyspace, &'a [Option<EntryRef<'a>>]),
    names: &[&[u8]],
) -> Result<Vec<Member<'a>>, CommandError> {
    let mut distinct: Vec<Members<'a>> = Vec::with_capacity(names.len());
    let mut places: BTreeMap<&[u8], usize> = BTreeMap::new();
    let mut mentions = Vec::with_capacity(names.len());
    for ((name, entry), &weight) in names.iter().zip(entries).zip(&options.weights) {
        let at = *places.entry(name).or_insert(distinct.len());
        if at == distinct.len() {
            distinct.push(Members::of(entry.as_deref())?);
        }
        mentions.push((at, weight));
    }
    // Sums of fractions and of infinities depend on the order, so it is Redis': the smallest first, keys of equal size
    // as they are named. A difference only asks which key is the first.
    match combination {
        Combination::Diff => mentions.sort_by_key(|&(at, _)| at),
        _ => mentions.sort_by_key(|&(at, _)| distinct[at].len()),
    }
    let sources = mentions.chunk_by(|one, next| one.0 == next.0);
    let sources: Vec<Source<'a>> = sources
        .map(|group| Source {
            members: distinct[group[0].0],
            weights: group.iter().map(|&(_, weight)| weight).collect(),
        })
        .collect();
    let mut result = match combination {
        Combination::Union => unite(options, &sources, keyspace.hasher()),
        Combination::Inter => intersect(options, &sources),
        Combination::Diff => subtract(&sources),
    };
    result.sort_unstable_by(|one, other| {
        let by_score = one.1.partial_cmp(&other.1).unwrap_or(Ordering::Equal);
        by_score.then_with(|| one.0.cmp(&other.0))
    });
    Ok(result)
}

/// A member's score over all the times that its key is named. In intersections, as in Redis, only the first
/// weighed score of all is kept from being NaN.
fn total(
    options: &CombineOptions,
    before: Option<f64>,
    source: &Source<'_>,
    (score, combination): (f64, Combination),
) -> f64 {
    let mut weighed = source.weights.iter().map(|weight| options.weigh(*weight, score));
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
    let mut all: Vec<Member<'a>> = Vec::new();
    if let [source] = sources {
        all.reserve(source.members.len());
        source.members.visit(&mut |member, score| {
            all.push((member, total(options, None, source, (score, Combination::Union))));
        });
        return all;
    }
    let largest = sources.last().map_or(0, |source| source.members.len());
    let mut sums: HashMap<Hashed<'a>, f64, BuildHasherDefault<AsItIs>> =
        HashMap::with_capacity_and_hasher(largest, BuildHasherDefault::default());
    for source in sources {
        source.members.visit(&mut |member, score| {
            let hash = hasher.hash(&member);
            sums.entry(Hashed { hash, member })
                .and_modify(|sum| {
                    *sum = total(options, Some(*sum), source, (score, Combination::Union));
                })
                .or_insert_with(|| total(options, None, source, (score, Combination::Union)));
        });
    }
    all.reserve_exact(sums.len());
    all.extend(sums.into_iter().map(|(hashed, sum)| (hashed.member, sum)));
    all
}

fn intersect<'a>(options: &CombineOptions, sources: &[Source<'a>]) -> Vec<Member<'a>> {
    let Some((smallest, others)) = sources.split_first() else { return Vec::new() };
    let mut all = Vec::new();
    smallest.members.visit(&mut |member, score| {
        if all.len() >= options.limit {
            return;
        }
        let first = total(options, None, smallest, (score, Combination::Inter));
        let sum = others.iter().try_fold(first, |sum, source| {
            let score = (source.members.score(&member)?, Combination::Inter);
            Some(total(options, Some(sum), source, score))
        });
        all.extend(sum.map(|sum| (member, sum)));
    });
    all
}

fn subtract<'a>(sources: &[Source<'a>]) -> Vec<Member<'a>> {
    let Some((first, others)) = sources.split_first() else { return Vec::new() };
    let mut all = Vec::new();
    // Its own name among the others leaves nothing.
    if first.weights.len() > 1 {
        return all;
    }
    first.members.visit(&mut |member, score| {
        if !others.iter().any(|other| other.members.score(&member).is_some()) {
            all.push((member, score));
        }
    });
    all
}

/// A member as it is stored.
pub(super) fn as_scored<'m>((member, score): &'m Member<'_>) -> Scored<'m> {
    Scored { member, score: *score }
}

/// A member that is found by its hash.
struct Hashed<'a> {
    hash: u64,
    member: Cow<'a, [u8]>,
}

impl Hash for Hashed<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl PartialEq for Hashed<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.member == other.member
    }
}

impl Eq for Hashed<'_> {}

/// Takes a hash for itself.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("what is hashed is a number")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
