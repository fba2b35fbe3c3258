//! Sorted: a large sorted set.
//!
//! ```text
//! Tree ──cells──► Member ◄──cells── Index       by score, bytes and rank       by bytes
//! ```
//!
//! Both indexes find a member's block; a cell of either has 8 bytes, without gaps. All ranges are
//! ranges of 0-based ranks: a bound is converted to the number of members before it.
//!
//! Invariant: tree and index hold the same members.
//! Not here: small sorted sets (`packed`), the text form of a score (`commands`).

use std::marker::PhantomData;
use std::ops::Range;

mod index;
mod member;
mod node;
#[cfg(test)]
mod tests;
mod tree;

use crate::hash::KeyHasher;
use index::Index;
use member::{Member, key_of};
use node::Target;
use tree::{Path, Tree};

/// A large sorted set.
#[derive(Debug)]
pub struct Sorted {
    tree: Tree,
    index: Index,
    member_bytes: usize,
    hasher: KeyHasher,
}

impl Clone for Sorted {
    fn clone(&self) -> Self {
        let mut copy = Self::new(&self.hasher);
        for Scored { member, score } in self.iter() {
            copy.set(member, score);
        }
        copy
    }
}

// SAFETY: a sorted set owns its blocks alone; nothing in them is tied to a thread.
unsafe impl Send for Sorted {}

/// A member and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored<'a> {
    pub member: &'a [u8],
    pub score: f64,
}

/// A range of scores between two bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: f64,
    pub max: f64,
    pub without_min: bool,
    pub without_max: bool,
}

impl ScoreRange {
    /// Whether a score is within the lower bound.
    pub fn is_above_min(&self, score: f64) -> bool {
        if self.without_min { score > self.min } else { score >= self.min }
    }

    /// Whether a score is within the upper bound.
    pub fn is_below_max(&self, score: f64) -> bool {
        if self.without_max { score < self.max } else { score <= self.max }
    }
}

/// A bound in the order of the members' bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexBound<'a> {
    Lowest,
    Highest,
    With(&'a [u8]),
    Without(&'a [u8]),
}

impl LexBound<'_> {
    /// Whether a member is within this bound, taken as the lower one.
    pub fn is_min_of(&self, member: &[u8]) -> bool {
        match *self {
            Self::Lowest => true,
            Self::Highest => false,
            Self::With(bytes) => member >= bytes,
            Self::Without(bytes) => member > bytes,
        }
    }

    /// Whether a member is within this bound, taken as the upper one.
    pub fn is_max_of(&self, member: &[u8]) -> bool {
        match *self {
            Self::Lowest => false,
            Self::Highest => true,
            Self::With(bytes) => member <= bytes,
            Self::Without(bytes) => member < bytes,
        }
    }
}

impl Sorted {
    pub fn new(hasher: &KeyHasher) -> Self {
        Self { tree: Tree::new(), index: Index::new(), member_bytes: 0, hasher: *hasher }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The heap bytes that it takes beside itself. O(1).
    pub fn heap_bytes(&self) -> usize {
        self.tree.heap_bytes() + self.index.heap_bytes() + self.member_bytes
    }

    /// Prefetches the memory that a lookup of a member reads first.
    pub fn prefetch(&self, member: &[u8]) {
        self.index.prefetch(self.hasher.hash(member));
    }

    #[inline]
    fn find(&self, member: &[u8]) -> Option<(u64, Member)> {
        let hash = self.hasher.hash(member);
        self.index.find(hash, member).map(|found| (hash, found))
    }

    /// The score of a member; `None` if it is missing.
    #[inline]
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        self.find(member).map(|(_, member)| member.score())
    }

    /// The 0-based rank of a member (the number of members before it) and its score; `None` if it
    /// is missing.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        let (_, member) = self.find(member)?;
        let target =
            Target { key: Some(member.key()), bytes: Some(member.bytes()), past_equal: false };
        Some((self.tree.rank_of(&target), member.score()))
    }

    /// Sets a member's score, which must not be NaN. Returns its previous score; `None` if it is
    /// new.
    pub fn set(&mut self, member: &[u8], score: f64) -> Option<f64> {
        assert!(!score.is_nan(), "a score that is no number has no place");
        let hash = self.hasher.hash(member);
        let Some(found) = self.index.find(hash, member) else {
            let member = Member::new(member, score);
            self.member_bytes += member.heap_bytes();
            let hasher = self.hasher;
            self.index.insert(hash, member, |member| hasher.hash(member.bytes()));
            self.tree.insert(member);
            return None;
        };
        let before = found.score();
        if score != before {
            self.set_score(hash, found, score);
        }
        Some(before)
    }

    fn set_score(&mut self, hash: u64, member: Member, score: f64) {
        let path = self.tree.path_of(member);
        if self.tree.set_score_in_place(&path, score) {
            return;
        }
        self.tree.remove(&path);
        if member.set_score(score) {
            self.tree.insert(member);
            return;
        }
        let new = Member::new(member.bytes(), score);
        self.index.replace(hash, member, new);
        self.tree.insert(new);
        self.member_bytes += new.heap_bytes();
        // SAFETY: neither the tree nor the index has it any more.
        self.member_bytes -= unsafe { member.release() };
    }

    /// Removes a member. Returns its score; `None` if it did not exist.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let (hash, member) = self.find(member)?;
        let score = member.score();
        let path = self.tree.path_of(member);
        self.remove_at(&path, hash, member);
        Some(score)
    }

    fn remove_at(&mut self, path: &Path, hash: u64, member: Member) {
        self.tree.remove(path);
        self.index.remove(hash, member);
        // SAFETY: neither the tree nor the index has it any more.
        self.member_bytes -= unsafe { member.release() };
    }

    /// Removes the members of these ranks, which must exist.
    pub fn remove_range(&mut self, ranks: Range<usize>) {
        debug_assert!(ranks.end <= self.len(), "members have these ranks");
        for _ in ranks.clone() {
            let path = self.tree.path_at(ranks.start);
            let member = path.member();
            self.remove_at(&path, self.hasher.hash(member.bytes()), member);
        }
    }

    /// The ranks of the members whose scores are in a range; empty if there are none.
    pub fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        let rank = |score, past_equal| {
            self.tree.rank_of(&Target { key: Some(key_of(score)), bytes: None, past_equal })
        };
        let from = rank(range.min, range.without_min);
        from..rank(range.max, !range.without_max).max(from)
    }

    /// The ranks of the members between two bounds. The result is only meaningful if all members
    /// have the same score.
    pub fn ranks_by_lex(&self, min: LexBound<'_>, max: LexBound<'_>) -> Range<usize> {
        let rank = |bound, is_max: bool| {
            let (bytes, past_equal) = match bound {
                LexBound::Lowest => return 0,
                LexBound::Highest => return self.len(),
                LexBound::With(bytes) => (bytes, is_max),
                LexBound::Without(bytes) => (bytes, !is_max),
            };
            self.tree.rank_of(&Target { key: None, bytes: Some(bytes), past_equal })
        };
        let from = rank(min, false);
        from..rank(max, true).max(from)
    }

    /// The members of these ranks, in ascending order.
    pub fn walk(&self, ranks: Range<usize>) -> SortedWalk<'_> {
        SortedWalk {
            next: self.tree.walk(ranks.start),
            left: ranks.len(),
            is_back: false,
            set: PhantomData,
        }
    }

    /// The members of these ranks, in descending order.
    pub fn walk_back(&self, ranks: Range<usize>) -> SortedWalk<'_> {
        let first = if ranks.is_empty() { None } else { self.tree.walk(ranks.end - 1) };
        SortedWalk { next: first, left: ranks.len(), is_back: true, set: PhantomData }
    }

    pub fn iter(&self) -> SortedWalk<'_> {
        self.walk(0..self.len())
    }

    /// Visits about `count` members in the order of their hashes, from a cursor on that starts at
    /// 0. Returns the next cursor, 0 at the end. A member that is present during a whole scan is
    /// visited.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Scored<'_>)) -> u64 {
        self.index.scan(cursor, count.max(1), |member| {
            visit(Scored { member: member.bytes(), score: member.score() });
        })
    }

    /// Frees about `count` members, in any order, and returns the freed heap bytes. The set must
    /// not be read afterwards.
    pub fn drop_some(&mut self, count: usize) -> usize {
        /// Cells are freed this much faster than members.
        const CELLS_PER_MEMBER: usize = 64;
        let before = self.heap_bytes();
        let mut left = count;
        while left > 0 {
            let tree = &mut self.tree;
            let member_bytes = &mut self.member_bytes;
            let Some(released) = tree.release_last_leaf(member_bytes) else {
                self.index.release_some(left.saturating_mul(CELLS_PER_MEMBER));
                break;
            };
            left = left.saturating_sub(released);
        }
        before - self.heap_bytes()
    }

    #[cfg(test)]
    fn check(&self) {
        self.tree.check();
        self.index.check(|member| self.hasher.hash(member.bytes()));
        let member_bytes: usize = self
            .iter()
            .map(|scored| self.find(scored.member).expect("is found").1.heap_bytes())
            .sum();
        assert_eq!(self.member_bytes, member_bytes);
    }
}

impl Drop for Sorted {
    fn drop(&mut self) {
        while self.tree.release_last_leaf(&mut self.member_bytes).is_some() {}
    }
}

/// The members of a range of ranks.
#[derive(Clone, Debug)]
pub struct SortedWalk<'a> {
    next: Option<Path>,
    left: usize,
    is_back: bool,
    set: PhantomData<&'a Sorted>,
}

impl<'a> Iterator for SortedWalk<'a> {
    type Item = Scored<'a>;

    #[inline]
    fn next(&mut self) -> Option<Scored<'a>> {
        if self.left == 0 {
            return None;
        }
        let path = self.next.as_mut()?;
        let member = path.member();
        let scored = Scored { member: member.bytes(), score: member.score() };
        self.left -= 1;
        if self.left > 0 {
            let goes_on = if self.is_back { path.go_back() } else { path.advance() };
            if !goes_on {
                self.left = 0;
            }
        }
        Some(scored)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for SortedWalk<'_> {}
