//! Sorted sets: members in the order of their scores, and of their bytes where those are equal.
//!
//! The small form is a packed run of pairs in that order: a member, always as a string, and its score, as an
//! integer where it is one, else as its 8 bytes.

use std::cmp::Ordering;
use std::ops::Range;

use basalt_structures::{
    BothWays, Collection, Content, Entry, KeyHasher, Kind, LexBound, Packed, PackedIter, PackedVec,
    ScoreRange, Scored, Small, Sorted, SortedWalk, Span, Value,
};

use super::{CollectionChange, Means, small_has_room};
use crate::Digest;
use crate::codec::{Malformed, Reader, Strings, put_bytes, put_string_run, put_strings};

type Pairs<'a> = Packed<'a, BothWays>;

/// A sorted set as commands read it.
#[derive(Clone, Copy, Debug)]
pub struct SortedRef<'a>(Shape<'a>);

#[derive(Clone, Copy, Debug)]
enum Shape<'a> {
    Small(Pairs<'a>),
    Large(&'a Sorted),
}

/// A score as it lies in the small form; -0 lies as 0, as in Redis.
#[inline]
fn packed_score(score: f64, bytes: &mut [u8; 8]) -> Content<'_> {
    /// Up to here all integers are scores.
    const EXACT: f64 = (1_u64 << 53) as f64;
    let integer = score as i64;
    if score.abs() <= EXACT && integer as f64 == score {
        return Content::Integer(integer);
    }
    *bytes = score.to_le_bytes();
    Content::Bytes(bytes)
}

const PAIRED: &str = "because members and scores lie in pairs";

#[inline]
fn score_of(content: Content<'_>) -> f64 {
    match content {
        Content::Integer(integer) => integer as f64,
        Content::Bytes(bytes) => f64::from_le_bytes(bytes.try_into().expect(PAIRED)),
    }
}

#[inline]
fn member_of(content: Content<'_>) -> &[u8] {
    match content {
        Content::Bytes(bytes) => bytes,
        Content::Integer(_) => panic!("members lie as strings"),
    }
}

/// How two members lie to each other. Scores are numbers.
#[inline]
fn order(one: Scored<'_>, other: Scored<'_>) -> Ordering {
    let by_score = one.score.partial_cmp(&other.score).expect("because scores are numbers");
    by_score.then_with(|| one.member.cmp(other.member))
}

impl<'a> SortedRef<'a> {
    /// The sorted set that an entry holds; none where it holds something else.
    #[inline]
    pub fn of(entry: &'a Entry) -> Option<Self> {
        match entry.value() {
            Value::Small(Small::Sorted, bytes) => Some(Self(Shape::Small(Packed::new(bytes)))),
            Value::Boxed(Collection::Sorted(sorted)) => Some(Self(Shape::Large(sorted))),
            _ => None,
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        match self.0 {
            Shape::Small(pairs) => pairs.len() / 2,
            Shape::Large(sorted) => sorted.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it has outgrown the small form.
    pub fn is_large(&self) -> bool {
        matches!(self.0, Shape::Large(_))
    }

    /// A member's score.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.0 {
            Shape::Small(pairs) => find_pair(pairs, member).map(|(_, _, score)| score),
            Shape::Large(sorted) => sorted.score(member),
        }
    }

    /// How many members come before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        match self.0 {
            Shape::Small(pairs) => find_pair(pairs, member).map(|(rank, _, score)| (rank, score)),
            Shape::Large(sorted) => sorted.rank(member),
        }
    }

    /// How many members from the first on `is_before` is true for.
    fn count_before(pairs: Pairs<'_>, is_before: impl Fn(Scored<'_>) -> bool) -> usize {
        SmallWalk::all(pairs).take_while(|scored| is_before(*scored)).count()
    }

    /// The ranks of the members whose scores are in a range.
    pub fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        match self.0 {
            Shape::Small(pairs) => {
                let from = Self::count_before(pairs, |scored| !range.is_above_min(scored.score));
                let to = Self::count_before(pairs, |scored| range.is_below_max(scored.score));
                from..to.max(from)
            }
            Shape::Large(sorted) => sorted.ranks_by_score(range),
        }
    }

    /// The ranks of the members between two bounds, where all scores are equal.
    pub fn ranks_by_lex(&self, (min, max): (LexBound<'_>, LexBound<'_>)) -> Range<usize> {
        match self.0 {
            Shape::Small(pairs) => {
                let from = Self::count_before(pairs, |scored| !min.is_min_of(scored.member));
                let to = Self::count_before(pairs, |scored| max.is_max_of(scored.member));
                from..to.max(from)
            }
            Shape::Large(sorted) => sorted.ranks_by_lex(min, max),
        }
    }

    /// The members of these ranks, in order.
    #[inline]
    pub fn walk(&self, ranks: Range<usize>) -> MembersWalk<'a> {
        MembersWalk(match self.0 {
            Shape::Small(pairs) => {
                let mut walk = SmallWalk::all(pairs);
                walk.pass_over(ranks.start);
                walk.left = ranks.len();
                WalkShape::Small(walk)
            }
            Shape::Large(sorted) => WalkShape::Large(sorted.walk(ranks)),
        })
    }

    /// The members of these ranks, the last first.
    pub fn walk_back(&self, ranks: Range<usize>) -> MembersWalk<'a> {
        MembersWalk(match self.0 {
            Shape::Small(pairs) => {
                let mut walk = SmallWalk { is_back: true, ..SmallWalk::all(pairs) };
                walk.pass_over(self.len() - ranks.end);
                walk.left = ranks.len();
                WalkShape::Small(walk)
            }
            Shape::Large(sorted) => WalkShape::Large(sorted.walk_back(ranks)),
        })
    }

    pub fn iter(&self) -> MembersWalk<'a> {
        self.walk(0..self.len())
    }

    /// Visits about `count` members from a cursor that begins at 0, all where they are few; returns the
    /// next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Scored<'_>)) -> u64 {
        match self.0 {
            Shape::Small(_) => {
                self.iter().for_each(visit);
                0
            }
            Shape::Large(sorted) => sorted.scan(cursor, count, &mut visit),
        }
    }
}

/// A member's rank, where its pair lies, and its score.
#[inline]
fn find_pair(pairs: Pairs<'_>, member: &[u8]) -> Option<(usize, Span, f64)> {
    let (index, span) = pairs.find(Content::Bytes(member), 2)?;
    let (score, to) = pairs.run().at(span.to).expect(PAIRED);
    Some((index / 2, Span { from: span.from, to, count: 2 }, score_of(score)))
}

/// Pairs of a small sorted set.
#[derive(Clone, Debug)]
struct SmallWalk<'a> {
    elements: PackedIter<'a, BothWays>,
    left: usize,
    is_back: bool,
}

impl<'a> SmallWalk<'a> {
    fn all(pairs: Pairs<'a>) -> Self {
        Self { elements: pairs.iter(), left: usize::MAX, is_back: false }
    }

    fn pass_over(&mut self, count: usize) {
        (0..count).for_each(|_| _ = self.next());
    }
}

impl<'a> Iterator for SmallWalk<'a> {
    type Item = Scored<'a>;

    #[inline]
    fn next(&mut self) -> Option<Scored<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (member, score) = if self.is_back {
            let score = self.elements.next_back()?;
            (self.elements.next_back().expect(PAIRED), score)
        } else {
            (self.elements.next()?, self.elements.next().expect(PAIRED))
        };
        Some(Scored { member: member_of(member), score: score_of(score) })
    }
}

/// Members of a row of ranks.
#[derive(Clone, Debug)]
pub struct MembersWalk<'a>(WalkShape<'a>);

#[derive(Clone, Debug)]
enum WalkShape<'a> {
    Small(SmallWalk<'a>),
    Large(SortedWalk<'a>),
}

impl<'a> Iterator for MembersWalk<'a> {
    type Item = Scored<'a>;

    #[inline]
    fn next(&mut self) -> Option<Scored<'a>> {
        match &mut self.0 {
            WalkShape::Small(walk) => walk.next(),
            WalkShape::Large(walk) => walk.next(),
        }
    }
}

/// A change of a sorted set. Members that are not there are passed over by `Remove`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortedChange<'a> {
    /// A score, as [`score_bytes`] makes them, and its member, a score and its member …
    Set {
        pairs: Strings<'a>,
    },
    Remove {
        members: Strings<'a>,
    },
    /// So many members from a rank on.
    RemoveRanks {
        from: u64,
        count: u64,
    },
}

/// A score as changes carry it.
#[inline]
pub fn score_bytes(score: f64) -> [u8; 8] {
    score.to_le_bytes()
}

#[inline]
fn carried_pairs<'a>(pairs: Strings<'a>) -> impl Iterator<Item = Scored<'a>> {
    pairs.pairs().map(|(score, member)| Scored {
        member,
        score: f64::from_le_bytes(score.try_into().expect("because pairs are checked when read")),
    })
}

impl<'a> CollectionChange<'a> for SortedChange<'a> {
    const KIND: Kind = Kind::Sorted;

    fn start(key: &[u8], access: u32) -> Entry {
        Entry::small(Small::Sorted, key, Pairs::EMPTY, None, access)
    }

    fn apply(self, entry: &mut Entry, means: Means<'_>) {
        if let Some(collection) = entry.collection_mut() {
            let Collection::Sorted(sorted) = collection else { panic!("a sorted set is changed") };
            return self.apply_to_large(sorted);
        }
        let Value::Small(Small::Sorted, bytes) = entry.value() else {
            panic!("a sorted set is changed")
        };
        let pairs = Packed::new(bytes);
        if let Self::Set { pairs: added } = self
            && grows_large(pairs, added, means)
        {
            let mut sorted = large_of(pairs, means.hasher);
            self.apply_to_large(&mut sorted);
            entry.set_boxed(Box::new(Collection::Sorted(sorted)));
            return;
        }
        let changed = self.applied_to_small(pairs);
        entry.set_small(Small::Sorted, changed.as_bytes());
    }

    fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Set { pairs } => {
                out.push(SET);
                put_strings(out, pairs);
            }
            Self::Remove { members } => {
                out.push(1);
                put_strings(out, members);
            }
            Self::RemoveRanks { from, count } => {
                out.push(2);
                out.extend_from_slice(&from.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
            }
        }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match reader.byte()? {
            SET => {
                let pairs = reader.string_pairs()?;
                let is_score = |score: &[u8]| {
                    score.try_into().is_ok_and(|bytes| !f64::from_le_bytes(bytes).is_nan())
                };
                if !pairs.pairs().all(|(score, _)| is_score(score)) {
                    return Err(Malformed);
                }
                Self::Set { pairs }
            }
            1 => Self::Remove { members: reader.strings()? },
            2 => Self::RemoveRanks { from: reader.u64()?, count: reader.u64()? },
            _ => return Err(Malformed),
        })
    }
}

/// The byte that begins the record of a `Set`.
const SET: u8 = 0;

/// Whether a small sorted set has to become a large one for these pairs: there are too many members, as far
/// as one can tell before they are added one by one, or one is too long.
fn grows_large(pairs: Pairs<'_>, added: Strings<'_>, means: Means<'_>) -> bool {
    let longest = means.thresholds.zset_max_listpack_value;
    let bytes = pairs.run().as_bytes().len();
    let members = carried_pairs(added).map(|added| added.member);
    exceeds_thresholds(pairs, added, means)
        || !small_has_room(bytes, (added.len() / 2, longest), members)
}

fn exceeds_thresholds(pairs: Pairs<'_>, added: Strings<'_>, means: Means<'_>) -> bool {
    let most = means.thresholds.zset_max_listpack_entries;
    let longest = means.thresholds.zset_max_listpack_value;
    let (before, count) = (pairs.len() as u64 / 2, added.len() as u64 / 2);
    let is_long = |member: &[u8]| member.len() as u64 > longest;
    if before == 0 {
        return count > most || carried_pairs(added).any(|added| is_long(added.member));
    }
    let mut len = before;
    if before + count <= most && !carried_pairs(added).any(|added| is_long(added.member)) {
        return false;
    }
    let mut seen = std::collections::BTreeSet::new();
    carried_pairs(added).any(|added| {
        let is_new = find_pair(pairs, added.member).is_none() && seen.insert(added.member);
        len += u64::from(is_new);
        is_new && (len > most || is_long(added.member))
    })
}

fn large_of(pairs: Pairs<'_>, hasher: &KeyHasher) -> Sorted {
    let mut sorted = Sorted::new(hasher);
    SmallWalk::all(pairs).for_each(|scored| _ = sorted.set(scored.member, scored.score));
    sorted
}

impl SortedChange<'_> {
    #[inline]
    fn apply_to_large(self, sorted: &mut Sorted) {
        match self {
            Self::Set { pairs } => {
                carried_pairs(pairs).for_each(|pair| _ = sorted.set(pair.member, pair.score));
            }
            Self::Remove { members } => {
                members.iter().for_each(|member| _ = sorted.remove(member));
            }
            Self::RemoveRanks { from, count } => {
                sorted.remove_range(ranks_within(from, count, sorted.len()));
            }
        }
    }

    fn applied_to_small(self, pairs: Pairs<'_>) -> PackedVec<BothWays> {
        /// What a pair adds beside its member.
        const PAIR_BYTES: usize = 24;
        match self {
            Self::Set { pairs: added } => {
                let more: usize =
                    carried_pairs(added).map(|pair| pair.member.len() + PAIR_BYTES).sum();
                let mut run = PackedVec::copy_of(pairs, more);
                carried_pairs(added).for_each(|pair| set_small(&mut run, pair));
                run
            }
            Self::Remove { members } => {
                let mut run = PackedVec::copy_of(pairs, 0);
                for member in members.iter() {
                    if let Some((_, span, _)) = find_pair(run.view(), member) {
                        run.splice(span, &[]);
                    }
                }
                run
            }
            Self::RemoveRanks { from, count } => {
                let ranks = ranks_within(from, count, pairs.len() / 2);
                let mut run = PackedVec::copy_of(pairs, 0);
                if let Some(span) = pairs.span(ranks.start * 2, ranks.len() * 2) {
                    run.splice(span, &[]);
                }
                run
            }
        }
    }
}

/// The ranks that a change names, as far as there are members.
fn ranks_within(from: u64, count: u64, len: usize) -> Range<usize> {
    let from = usize::try_from(from).map_or(len, |from| from.min(len));
    let count = usize::try_from(count).map_or(len, |count| count.min(len - from));
    from..from + count
}

/// Puts a member in its place, which may be another than before.
fn set_small(run: &mut PackedVec<BothWays>, pair: Scored<'_>) {
    if let Some((_, span, before)) = find_pair(run.view(), pair.member) {
        if before == pair.score {
            return;
        }
        run.splice(span, &[]);
    }
    let mut walk = SmallWalk::all(run.view());
    let mut at = walk.elements.offset();
    while walk.next().is_some_and(|there| order(there, pair) == Ordering::Less) {
        at = walk.elements.offset();
    }
    let place = Span { from: at, to: at, count: 0 };
    let mut bytes = [0; 8];
    let score = packed_score(pair.score, &mut bytes);
    run.splice(place, &[Content::Bytes(pair.member), score]);
}

impl SortedChange<'_> {
    /// The change as bytes, for [`Effect::SetCollection`](crate::Effect::SetCollection).
    pub fn to_changes(self) -> Vec<u8> {
        let mut changes = Vec::new();
        self.encode(&mut changes);
        changes
    }

    /// The record of the change that makes a sorted set of these pairs, for [`Effect::SetCollection`].
    ///
    /// [`Effect::SetCollection`]: crate::Effect::SetCollection
    pub fn that_makes<'p>(pairs: impl Iterator<Item = Scored<'p>>, out: &mut Vec<u8>) {
        out.push(SET);
        put_string_run(out, |out| {
            let mut count = 0;
            for pair in pairs {
                put_bytes(out, &score_bytes(pair.score));
                put_bytes(out, pair.member);
                count += 2;
            }
            count
        });
    }
}

pub(super) fn write_changes(entry: &Entry, out: &mut Vec<u8>) {
    let sorted = SortedRef::of(entry).expect("a sorted set is looked at");
    SortedChange::that_makes(sorted.iter(), out);
}

pub(super) fn digest_elements(entry: &Entry, digest: &mut Digest) {
    let sorted = SortedRef::of(entry).expect("a sorted set is looked at");
    for pair in sorted.iter() {
        let mut element = Digest::default();
        element.mix(pair.member);
        element.mix(significant(pair.score).as_bytes());
        digest.xor(&element.0);
    }
}

pub(super) fn is_empty_packed(bytes: &[u8]) -> bool {
    Pairs::new(bytes).is_empty()
}

/// A score with 17 significant digits, as C's `%.17g` prints it: in Redis' digests, and where ZSCAN tells of
/// a large sorted set.
pub fn significant(score: f64) -> String {
    const DIGITS: i32 = 17;
    if score.is_infinite() {
        return if score > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let text = format!("{score:.16e}");
    let (digits, exponent) = text.split_once('e').expect("because this form has an exponent");
    let exponent: i32 = exponent.parse().expect("because an exponent is a number");
    let without_zeros = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    if (-4..DIGITS).contains(&exponent) {
        let decimals = (DIGITS - 1 - exponent) as usize;
        let text = format!("{score:.decimals$}");
        return if decimals > 0 { without_zeros(&text) } else { text };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(digits), exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_c() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (0.1, "0.10000000000000001"),
            (1e-4, "0.0001"),
            (1e-5, "1.0000000000000001e-05"),
            (1e16, "10000000000000000"),
            (1e17, "1e+17"),
            (1.5e300, "1.5000000000000001e+300"),
            (f64::INFINITY, "inf"),
        ];
        for (score, text) in cases {
            assert_eq!(significant(score), text);
        }
    }
}
