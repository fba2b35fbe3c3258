//! Tree: the members of a sorted set in order; a B+ tree with counts (an order-statistic tree).
//!
//! ```text
//! branch   for each child: its first member, that member's key, how many members are below it
//! leaf     cells of members
//! ```
//!
//! Leaves take only the memory of their cells, so partly filled leaves cost no memory except in
//! branches: a node splits when it is full, and merges with a neighbour when both are nearly empty.
//!
//! Invariant: a branch has the first members and the counts of its children; the only empty leaf is
//! the root of an empty tree.
//! Not here: lookup of a member without its score (`index`).

use super::member::{Member, key_of};
use super::node::{BRANCH_LEN_MAX, Branch, Child, LEAF_LEN_MAX, Leaf, Node, Target};

/// More levels than memory has room for: nodes are at least a quarter full, with few exceptions.
const HEIGHT_MAX: usize = 12;

/// Leaves and branches with fewer cells or children check whether they can merge with a neighbour …
const LEAF_LEN_MIN: usize = 16;
const BRANCH_LEN_MIN: usize = 8;

/// … which they do if the two have no more than this together.
const JOINED_LEAF_LEN_MAX: usize = 48;
const JOINED_BRANCH_LEN_MAX: usize = 24;

/// Iterators prefetch members this many positions ahead.
const AHEAD: usize = 8;

/// The path from the root to a cell.
#[derive(Clone, Debug)]
pub(super) struct Path {
    steps: [(Node, usize); HEIGHT_MAX],
    height: usize,
    leaf: Leaf,
    at: usize,
}

impl Path {
    #[inline]
    fn step(&self, level: usize) -> (Branch, usize) {
        let (node, at) = self.steps[level];
        (node.branch(), at)
    }

    #[inline]
    pub(super) fn member(&self) -> Member {
        self.leaf.member(self.at)
    }

    /// Adds to the counts on the path.
    fn add_count(&self, difference: i32) {
        for level in 0..self.height {
            let (branch, at) = self.step(level);
            branch.add_count(at, difference);
        }
    }

    /// Updates the first member below the branches of a path, down to a level.
    fn set_first(&self, levels: usize, first: Member) {
        for level in (0..levels).rev() {
            let (branch, at) = self.step(level);
            branch.set_first(at, first);
            if at > 0 {
                return;
            }
        }
    }
}

#[derive(Debug)]
pub(super) struct Tree {
    root: Node,
    height: usize,
    len: usize,
    heap_bytes: usize,
}

impl Tree {
    pub(super) fn new() -> Self {
        let mut heap_bytes = 0;
        let root = Leaf::allocate(1, &mut heap_bytes).into();
        Self { root, height: 0, len: 0, heap_bytes }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    /// Descends: `choose` picks the child in each branch and the index in the leaf.
    #[inline]
    fn path(
        &self,
        mut child_of: impl FnMut(Branch) -> usize,
        place_in: impl FnOnce(Leaf) -> usize,
    ) -> Path {
        let mut steps = [(self.root, 0); HEIGHT_MAX];
        let mut node = self.root;
        for step in &mut steps[..self.height] {
            let at = child_of(node.branch());
            *step = (node, at);
            node = node.branch().node(at);
        }
        let leaf = node.leaf();
        let at = place_in(leaf);
        Path { steps, height: self.height, leaf, at }
    }

    #[inline]
    fn path_to(&self, target: &Target<'_>) -> Path {
        self.path(|branch| branch.child_of(target), |leaf| leaf.count_behind(target))
    }

    /// The path to the member of a 0-based rank, which is at most the number of members.
    pub(super) fn path_at(&self, rank: usize) -> Path {
        debug_assert!(rank < self.len, "a member has this rank");
        let left = std::cell::Cell::new(rank);
        self.path(
            |branch| {
                let (at, rest) = branch.child_at_rank(left.get());
                left.set(rest);
                at
            },
            |_| left.get(),
        )
    }

    /// The path to a member that is in the tree.
    #[inline]
    pub(super) fn path_of(&self, member: Member) -> Path {
        let target =
            Target { key: Some(member.key()), bytes: Some(member.bytes()), past_equal: false };
        // The first member of a child is in that child, not at the end of the one before.
        let within = Target { past_equal: true, ..target };
        let path = self.path(|branch| branch.child_of(&within), |leaf| leaf.count_behind(&target));
        debug_assert!(path.member() == member, "every member is in the tree");
        path
    }

    /// The number of members before the target.
    pub(super) fn rank_of(&self, target: &Target<'_>) -> usize {
        let mut rank = 0;
        let path = self.path(
            |branch| {
                let at = branch.child_of(target);
                rank += branch.count_before(at);
                at
            },
            |leaf| leaf.count_behind(target),
        );
        rank + path.at
    }

    /// Updates the handle of a leaf that has moved.
    fn set_leaf(&mut self, path: &Path, leaf: Leaf) {
        match path.height {
            0 => self.root = leaf.into(),
            height => {
                let (branch, at) = path.step(height - 1);
                branch.set_node(at, leaf.into());
            }
        }
    }

    /// Adds a member that is not in the tree.
    pub(super) fn insert(&mut self, member: Member) {
        let target =
            Target { key: Some(member.key()), bytes: Some(member.bytes()), past_equal: false };
        let path = self.path_to(&target);
        path.add_count(1);
        self.len += 1;
        if path.at == 0 {
            path.set_first(path.height, member);
        }
        if path.leaf.len() < LEAF_LEN_MAX {
            let leaf = path.leaf.insert(path.at, member, &mut self.heap_bytes);
            if leaf != path.leaf {
                self.set_leaf(&path, leaf);
            }
            return;
        }
        // Members that arrive in order fill leaves completely.
        let cut = if path.at == LEAF_LEN_MAX { LEAF_LEN_MAX } else { LEAF_LEN_MAX / 2 };
        let (mut left, mut right) = path.leaf.split(cut, &mut self.heap_bytes);
        if path.at < cut {
            left = left.insert(path.at, member, &mut self.heap_bytes);
        } else {
            right = right.insert(path.at - cut, member, &mut self.heap_bytes);
        }
        self.set_leaf(&path, left);
        let child = Child { node: right.into(), first: right.member(0), count: right.len() };
        self.insert_child(&path, path.height, (left.member(0), left.len()), child);
    }

    /// Inserts a node, with its first member and count, next to the node to which the first
    /// `levels` steps of a path lead.
    fn insert_child(
        &mut self,
        path: &Path,
        levels: usize,
        (first, count): (Member, usize),
        child: Child,
    ) {
        if levels == 0 {
            let root = Branch::allocate(&mut self.heap_bytes);
            root.insert(0, Child { node: self.root, first, count });
            root.insert(1, child);
            self.root = root.into();
            self.height += 1;
            assert!(self.height <= HEIGHT_MAX, "memory ends before");
            return;
        }
        let (branch, at) = path.step(levels - 1);
        branch.set_count(at, count);
        let at = at + 1;
        if branch.len() < BRANCH_LEN_MAX {
            branch.insert(at, child);
            return;
        }
        let cut = if at == BRANCH_LEN_MAX { BRANCH_LEN_MAX } else { BRANCH_LEN_MAX / 2 };
        let right = Branch::allocate(&mut self.heap_bytes);
        branch.move_children(cut, right);
        if at < cut {
            branch.insert(at, child);
        } else {
            right.insert(at - cut, child);
        }
        let left = (branch.first(), branch.total());
        let right = Child { node: right.into(), first: right.first(), count: right.total() };
        self.insert_child(path, levels - 1, left, right);
    }

    /// Removes the member to which a path leads.
    pub(super) fn remove(&mut self, path: &Path) {
        path.add_count(-1);
        self.len -= 1;
        let leaf = path.leaf.remove(path.at, &mut self.heap_bytes);
        if leaf.len() == 0 && path.height > 0 {
            leaf.release(&mut self.heap_bytes);
            self.remove_child(path, path.height);
            return;
        }
        if leaf != path.leaf {
            self.set_leaf(path, leaf);
        }
        if leaf.len() == 0 {
            return;
        }
        if path.at == 0 {
            path.set_first(path.height, leaf.member(0));
        }
        if leaf.len() < LEAF_LEN_MIN && path.height > 0 {
            self.join_leaf(path);
        }
    }

    /// Removes the freed child to which the first `levels` steps of a path lead.
    fn remove_child(&mut self, path: &Path, levels: usize) {
        let (branch, at) = path.step(levels - 1);
        branch.remove(at);
        if branch.len() == 0 {
            branch.release(&mut self.heap_bytes);
            return self.remove_child(path, levels - 1);
        }
        if at == 0 {
            path.set_first(levels - 1, branch.first());
        }
        self.join_branch(path, levels - 1);
    }

    /// Merges a small leaf with a neighbour if both are small enough.
    fn join_leaf(&mut self, path: &Path) {
        let (branch, at) = path.step(path.height - 1);
        for left in [at, at.wrapping_sub(1)] {
            let right = left.wrapping_add(1);
            if left >= branch.len() || right >= branch.len() {
                continue;
            }
            let count = branch.count(left) + branch.count(right);
            if count <= JOINED_LEAF_LEN_MAX {
                let (one, other) = (branch.node(left).leaf(), branch.node(right).leaf());
                branch.set_node(left, one.merged(other, &mut self.heap_bytes).into());
                branch.set_count(left, count);
                branch.remove(right);
                return self.join_branch(path, path.height - 1);
            }
        }
    }

    /// Merges the branch of a level with a neighbour if both are small enough; a root with one
    /// child is removed.
    fn join_branch(&mut self, path: &Path, level: usize) {
        let (branch, _) = path.step(level);
        if level == 0 {
            if branch.len() == 1 {
                self.root = branch.node(0);
                self.height -= 1;
                branch.release(&mut self.heap_bytes);
            }
            return;
        }
        if branch.len() >= BRANCH_LEN_MIN {
            return;
        }
        let (parent, at) = path.step(level - 1);
        for left in [at, at.wrapping_sub(1)] {
            let right = left.wrapping_add(1);
            if left >= parent.len() || right >= parent.len() {
                continue;
            }
            let (one, other) = (parent.node(left).branch(), parent.node(right).branch());
            if one.len() + other.len() <= JOINED_BRANCH_LEN_MAX {
                other.move_children(0, one);
                other.release(&mut self.heap_bytes);
                parent.set_count(left, one.total());
                parent.remove(right);
                return self.join_branch(path, level - 1);
            }
        }
    }

    /// Changes the score of the member to which a path leads, if its position stays the same and
    /// its block has room. Returns whether it did.
    pub(super) fn set_score_in_place(&mut self, path: &Path, score: f64) -> bool {
        let (leaf, at) = (path.leaf, path.at);
        // The first of a leaf is in branches, too; the last has its neighbour in another leaf.
        if at == 0 || at + 1 == leaf.len() {
            return false;
        }
        let (member, before, after) = (leaf.member(at), leaf.member(at - 1), leaf.member(at + 1));
        let new = (key_of(score), member.bytes());
        let stays = (before.key(), before.bytes()) < new && new < (after.key(), after.bytes());
        stays && leaf.set_score(at, score)
    }

    /// The members from a rank on, in either direction.
    pub(super) fn walk(&self, rank: usize) -> Option<Path> {
        (rank < self.len).then(|| self.path_at(rank))
    }

    /// Frees a leaf with its members and updates the accounting. Returns its number of members;
    /// `None` if the tree is empty.
    pub(super) fn release_last_leaf(&mut self, member_bytes: &mut usize) -> Option<usize> {
        let rank = self.len.checked_sub(1)?;
        let path = self.path_at(rank);
        let count = path.leaf.len();
        for cell in path.leaf.cells() {
            // SAFETY: the leaf goes, and with it the only way to this member.
            *member_bytes -= unsafe { cell.member().release() };
        }
        path.add_count(-i32::try_from(count).expect("because a leaf is small"));
        self.len -= count;
        path.leaf.release(&mut self.heap_bytes);
        if path.height > 0 {
            self.remove_child(&path, path.height);
        } else {
            self.root = Leaf::allocate(1, &mut self.heap_bytes).into();
        }
        Some(count)
    }

    /// Checks the invariants of all nodes.
    #[cfg(test)]
    pub(super) fn check(&self) {
        fn check(node: Node, height: usize) -> (usize, Member) {
            if height == 0 {
                let leaf = node.leaf();
                let keys =
                    leaf.cells().iter().map(|cell| (cell.member().key(), cell.member().bytes()));
                assert!(keys.is_sorted_by(|one, other| one < other), "members are in order");
                assert!(leaf.cells().is_sorted_by_key(|cell| cell.tag()), "tags are in order");
                return (leaf.len(), leaf.member(0));
            }
            let branch = node.branch();
            for at in 0..branch.len() {
                let (count, first) = check(branch.node(at), height - 1);
                assert_eq!(branch.count(at), count);
                assert!(count > 0 && branch.first_at(at) == (first, first.key()));
            }
            (branch.total(), branch.first())
        }
        if self.len > 0 {
            assert_eq!(check(self.root, self.height).0, self.len);
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        debug_assert!(self.len == 0, "its owner releases the members");
        self.root.leaf().release(&mut self.heap_bytes);
        debug_assert!(self.heap_bytes == 0, "all nodes are given back");
    }
}

impl Path {
    /// Moves to the next member; returns whether there is one.
    #[inline]
    pub(super) fn advance(&mut self) -> bool {
        self.at += 1;
        self.leaf.prefetch(self.at + AHEAD);
        self.at < self.leaf.len() || self.turn(|at, len| (at + 1 < len).then_some(at + 1), |_| 0)
    }

    /// Moves to the previous member; returns whether there is one.
    #[inline]
    pub(super) fn go_back(&mut self) -> bool {
        if self.at > 0 {
            self.at -= 1;
            self.leaf.prefetch(self.at.wrapping_sub(AHEAD));
            return true;
        }
        self.turn(|at, _| at.checked_sub(1), |len| len - 1)
    }

    /// Moves to the neighbouring leaf: up to a node with a next child, and down along its edge.
    fn turn(
        &mut self,
        next: impl Fn(usize, usize) -> Option<usize>,
        edge: impl Fn(usize) -> usize,
    ) -> bool {
        for level in (0..self.height).rev() {
            let (branch, at) = self.step(level);
            let Some(at) = next(at, branch.len()) else { continue };
            self.steps[level].1 = at;
            let mut node = branch.node(at);
            for step in &mut self.steps[level + 1..self.height] {
                let at = edge(node.branch().len());
                *step = (node, at);
                node = node.branch().node(at);
            }
            self.leaf = node.leaf();
            self.at = edge(self.leaf.len());
            (0..AHEAD).for_each(|ahead| self.leaf.prefetch(ahead));
            return true;
        }
        false
    }
}
