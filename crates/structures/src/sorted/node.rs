//! Nodes: the memory of the tree's leaves and branches.
//!
//! ```text
//! leaf    │ head │ cell │ cell │ …                 a block that grows with its cells
//! branch  │ len │ counts │ keys │ firsts │ children │         a block of one size
//! ```
//!
//! A leaf's cell is a member's address and, above it, a 16-bit tag: the position of the member's
//! score in the score range of the leaf. Most comparisons need not read the member.
//!
//! Handles are copies of addresses. Invariant: a handle is used only while its node is in the tree,
//! by one caller at a time.
//! Not here: which node is the child of which (`tree`).

use std::cmp::Ordering;
use std::ptr::NonNull;

use super::member::{Cell, Member};
use crate::block::{self, block_bytes};
use crate::prefetch::prefetch;

/// With its head, a leaf of this many cells fills the largest small block.
pub(super) const LEAF_LEN_MAX: usize = 62;

/// A full leaf grows by this many cells.
const GROWTH: usize = 3;

/// The maximum number of a branch's children.
pub(super) const BRANCH_LEN_MAX: usize = 32;

/// A search target: the boundary after all members that come before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// Compares scores first, if the target has one.
    pub(super) key: Option<u64>,
    /// Then bytes, if the target has any.
    pub(super) bytes: Option<&'a [u8]>,
    /// Whether equal members come before the boundary.
    pub(super) past_equal: bool,
}

impl Target<'_> {
    /// Whether a member comes before the boundary.
    #[inline]
    pub(super) fn is_behind(&self, key: u64, member: Member) -> bool {
        match self.key.map_or(Ordering::Equal, |wanted| key.cmp(&wanted)) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => match self.bytes.map(|wanted| member.bytes().cmp(wanted)) {
                Some(Ordering::Less) => true,
                Some(Ordering::Greater) => false,
                Some(Ordering::Equal) | None => self.past_equal,
            },
        }
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
struct LeafHead {
    /// The key of tag 0.
    base: u64,
    len: u16,
    capacity: u16,
    /// A tag is a key's distance from the base, shifted right by this.
    shift: u8,
    /// Whether keys outside of the range of tags were added.
    has_out_of_range: bool,
}

const HEAD_BYTES: usize = size_of::<LeafHead>();
const CELL_BYTES: usize = size_of::<Cell>();

const _: () = assert!(HEAD_BYTES == 16, "cells begin at a multiple of 8");
const _: () = assert!(LEAF_LEN_MAX * CELL_BYTES + HEAD_BYTES == 512, "a full leaf is a full block");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Leaf(NonNull<LeafHead>);

fn leaf_bytes(capacity: usize) -> usize {
    HEAD_BYTES + capacity * CELL_BYTES
}

/// The number of cells for which a block has room that is allocated for `len`.
fn leaf_capacity(len: usize) -> usize {
    (block_bytes(leaf_bytes(len)) - HEAD_BYTES) / CELL_BYTES
}

impl Leaf {
    /// A leaf with room for `len` cells or a few more, and its size in bytes.
    pub(super) fn allocate(len: usize, heap_bytes: &mut usize) -> Self {
        let capacity = leaf_capacity(len);
        let block = block::allocate(leaf_bytes(capacity)).cast::<LeafHead>();
        *heap_bytes += block_bytes(leaf_bytes(capacity));
        let capacity = u16::try_from(capacity).expect("because a leaf is small");
        let head = LeafHead { base: 0, len: 0, capacity, shift: 0, has_out_of_range: true };
        // SAFETY: the block is aligned to 8, has room for a head and is ours alone.
        unsafe { block.write(head) };
        Self(block)
    }

    pub(super) fn release(self, heap_bytes: &mut usize) {
        let bytes = leaf_bytes(self.capacity());
        *heap_bytes -= block_bytes(bytes);
        // SAFETY: the block was allocated for just this capacity, and its handle is used no more.
        unsafe { block::release(self.0.cast(), bytes) };
    }

    /// A copy of the head. A reference would have to end before the next change.
    #[inline]
    fn head(self) -> LeafHead {
        // SAFETY: the handle is of a leaf in the tree.
        unsafe { self.0.read() }
    }

    /// The head, to be changed before anything else reads it.
    #[inline]
    fn head_mut<'a>(self) -> &'a mut LeafHead {
        let mut head = self.0;
        // SAFETY: the handle is of a leaf in the tree; the reference ends before the head is asked for again.
        unsafe { head.as_mut() }
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        usize::from(self.head().len)
    }

    fn capacity(self) -> usize {
        usize::from(self.head().capacity)
    }

    #[inline]
    fn cell_at(self, at: usize) -> NonNull<Cell> {
        // SAFETY: cells begin behind the head; `at` is at most the capacity.
        unsafe { self.0.add(1).cast::<Cell>().add(at) }
    }

    #[inline]
    pub(super) fn cells<'a>(self) -> &'a [Cell] {
        // SAFETY: `len` cells are written, and no caller keeps the slice over a change.
        unsafe { NonNull::slice_from_raw_parts(self.cell_at(0), self.len()).as_ref() }
    }

    #[inline]
    pub(super) fn member(self, at: usize) -> Member {
        self.cells()[at].member()
    }

    #[inline]
    fn tag_of(self, key: u64) -> u16 {
        let head = self.head();
        (key.saturating_sub(head.base) >> head.shift).min(u64::from(u16::MAX)) as u16
    }

    /// The number of members before the target.
    #[inline]
    pub(super) fn count_behind(self, target: &Target<'_>) -> usize {
        let tag = target.key.map(|key| self.tag_of(key));
        self.cells().partition_point(|cell| match tag.map(|tag| cell.tag().cmp(&tag)) {
            Some(Ordering::Less) => true,
            Some(Ordering::Greater) => false,
            Some(Ordering::Equal) | None => {
                let member = cell.member();
                target.is_behind(member.key(), member)
            }
        })
    }

    /// Sets the range of tags to the keys of this leaf, with as much room on either side.
    fn rescale(self) {
        let cells = self.cells();
        let (Some(first), Some(last)) = (cells.first(), cells.last()) else { return };
        let (first, last) = (first.member().key(), last.member().key());
        let span = last - first;
        let head = self.head_mut();
        head.base = first.saturating_sub(span / 2);
        let range = last.saturating_add(span / 2) - head.base;
        head.shift = (64 - range.leading_zeros()).saturating_sub(16) as u8;
        head.has_out_of_range = false;
        for at in 0..self.len() {
            self.set_tag(at);
        }
    }

    /// Recomputes a cell's tag.
    fn set_tag(self, at: usize) {
        let member = self.member(at);
        // SAFETY: the cell is there, and nothing refers to it.
        unsafe { self.cell_at(at).write(Cell::new(self.tag_of(member.key()), member)) };
    }

    /// Changes the score of the member at an index; its position stays the same.
    pub(super) fn set_score(self, at: usize, score: f64) -> bool {
        let fits = self.member(at).set_score(score);
        self.set_tag(at);
        fits
    }

    /// Moves this leaf's cells to a block for `len`.
    fn moved(self, len: usize, heap_bytes: &mut usize) -> Self {
        let new = Self::allocate(len, heap_bytes);
        let (head, from) = (new.head_mut(), self.head());
        (head.base, head.len, head.shift) = (from.base, from.len, from.shift);
        // SAFETY: the new leaf has room for what is in this one.
        unsafe { new.cell_at(0).copy_from_nonoverlapping(self.cell_at(0), self.len()) };
        if from.has_out_of_range {
            new.rescale();
        } else {
            new.head_mut().has_out_of_range = false;
        }
        self.release(heap_bytes);
        new
    }

    /// Inserts a member at its position; the leaf is not full. Returns the leaf's new handle.
    pub(super) fn insert(self, at: usize, member: Member, heap_bytes: &mut usize) -> Self {
        let len = self.len();
        debug_assert!(len < LEAF_LEN_MAX, "a full leaf is split before");
        let leaf = if len == self.capacity() {
            self.moved((len + GROWTH).min(LEAF_LEN_MAX), heap_bytes)
        } else {
            self
        };
        let key = member.key();
        let tag = leaf.tag_of(key);
        // SAFETY: there is room for one more.
        unsafe {
            let place = leaf.cell_at(at);
            place.add(1).copy_from(place, len - at);
            place.write(Cell::new(tag, member));
        }
        let head = leaf.head_mut();
        head.len += 1;
        head.has_out_of_range |= tag == u16::MAX || key < head.base;
        leaf
    }

    /// Removes a cell. Returns the leaf's new handle.
    pub(super) fn remove(self, at: usize, heap_bytes: &mut usize) -> Self {
        let len = self.len() - 1;
        // SAFETY: the cells behind `at` move down by one.
        unsafe {
            let place = self.cell_at(at);
            place.copy_from(place.add(1), len - at);
        }
        self.head_mut().len -= 1;
        // Not at once, so that a leaf at a boundary does not move with every change.
        if self.capacity() > leaf_capacity(len) + 5 { self.moved(len, heap_bytes) } else { self }
    }

    /// Moves the cells from an index on into a new leaf. Returns the handles of both.
    pub(super) fn split(self, at: usize, heap_bytes: &mut usize) -> (Self, Self) {
        let len = self.len();
        let right = Self::allocate((len - at).max(1), heap_bytes);
        // SAFETY: the right leaf has room for these cells.
        unsafe { right.cell_at(0).copy_from_nonoverlapping(self.cell_at(at), len - at) };
        right.head_mut().len = (len - at) as u16;
        right.rescale();
        let head = self.head_mut();
        (head.len, head.has_out_of_range) = (at as u16, true);
        (self.moved(at, heap_bytes), right)
    }

    /// Merges this leaf with the one to its right, which is freed.
    pub(super) fn merged(self, right: Self, heap_bytes: &mut usize) -> Self {
        let (len, more) = (self.len(), right.len());
        let new = Self::allocate(len + more, heap_bytes);
        // SAFETY: the new leaf has room for both.
        unsafe {
            new.cell_at(0).copy_from_nonoverlapping(self.cell_at(0), len);
            new.cell_at(len).copy_from_nonoverlapping(right.cell_at(0), more);
        }
        new.head_mut().len = (len + more) as u16;
        new.rescale();
        self.release(heap_bytes);
        right.release(heap_bytes);
        new
    }

    /// Prefetches the member at an index, if there is one.
    #[inline]
    pub(super) fn prefetch(self, at: usize) {
        if let Some(cell) = self.cells().get(at) {
            prefetch(std::ptr::with_exposed_provenance(cell.address() as usize));
        }
    }
}

/// A leaf or a branch, as a branch's child: the caller knows the height.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Node(NonNull<u8>);

impl From<Leaf> for Node {
    fn from(leaf: Leaf) -> Self {
        Self(leaf.0.cast())
    }
}

impl From<Branch> for Node {
    fn from(branch: Branch) -> Self {
        Self(branch.0.cast())
    }
}

impl Node {
    #[inline]
    pub(super) fn leaf(self) -> Leaf {
        Leaf(self.0.cast())
    }

    #[inline]
    pub(super) fn branch(self) -> Branch {
        Branch(self.0.cast())
    }
}

/// The data that a branch keeps about a child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub(super) node: Node,
    pub(super) first: Member,
    pub(super) count: usize,
}

#[repr(C)]
pub(super) struct BranchParts {
    len: u32,
    counts: [u32; BRANCH_LEN_MAX],
    keys: [u64; BRANCH_LEN_MAX],
    firsts: [Option<Member>; BRANCH_LEN_MAX],
    children: [Option<Node>; BRANCH_LEN_MAX],
}

const THERE: &str = "because a branch has this child";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Branch(NonNull<BranchParts>);

impl Branch {
    pub(super) fn allocate(heap_bytes: &mut usize) -> Self {
        let bytes = size_of::<BranchParts>();
        let block = block::allocate(bytes).cast::<BranchParts>();
        *heap_bytes += block_bytes(bytes);
        let parts = BranchParts {
            len: 0,
            counts: [0; BRANCH_LEN_MAX],
            keys: [0; BRANCH_LEN_MAX],
            firsts: [None; BRANCH_LEN_MAX],
            children: [None; BRANCH_LEN_MAX],
        };
        // SAFETY: the block is aligned to 8, has room for the parts and is ours alone.
        unsafe { block.write(parts) };
        Self(block)
    }

    pub(super) fn release(self, heap_bytes: &mut usize) {
        let bytes = size_of::<BranchParts>();
        *heap_bytes -= block_bytes(bytes);
        // SAFETY: the block was allocated for just this size, and its handle is used no more.
        unsafe { block::release(self.0.cast(), bytes) };
    }

    #[inline]
    fn parts<'a>(self) -> &'a BranchParts {
        // SAFETY: the handle is of a branch in the tree; the reference ends before the branch is changed.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn parts_mut<'a>(self) -> &'a mut BranchParts {
        let mut parts = self.0;
        // SAFETY: the handle is of a branch in the tree; the reference ends before the branch is asked again.
        unsafe { parts.as_mut() }
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        self.parts().len as usize
    }

    #[inline]
    pub(super) fn node(self, at: usize) -> Node {
        self.parts().children[at].expect(THERE)
    }

    #[inline]
    pub(super) fn count(self, at: usize) -> usize {
        self.parts().counts[at] as usize
    }

    pub(super) fn first(self) -> Member {
        self.parts().firsts[0].expect(THERE)
    }

    pub(super) fn total(self) -> usize {
        self.count_before(self.len())
    }

    #[cfg(test)]
    pub(super) fn first_at(self, at: usize) -> (Member, u64) {
        (self.parts().firsts[at].expect(THERE), self.parts().keys[at])
    }

    pub(super) fn count_before(self, at: usize) -> usize {
        self.parts().counts[..at].iter().map(|count| *count as usize).sum()
    }

    pub(super) fn set_node(self, at: usize, node: Node) {
        self.parts_mut().children[at] = Some(node);
    }

    pub(super) fn set_count(self, at: usize, count: usize) {
        self.parts_mut().counts[at] = u32::try_from(count).expect("because memory ends before");
    }

    pub(super) fn add_count(self, at: usize, difference: i32) {
        let count = &mut self.parts_mut().counts[at];
        *count = count.wrapping_add_signed(difference);
    }

    pub(super) fn set_first(self, at: usize, first: Member) {
        let parts = self.parts_mut();
        parts.firsts[at] = Some(first);
        parts.keys[at] = first.key();
    }

    /// The child that contains the boundary of the target.
    #[inline]
    pub(super) fn child_of(self, target: &Target<'_>) -> usize {
        let parts = self.parts();
        let len = parts.len as usize;
        let (keys, firsts) = (&parts.keys[..len], &parts.firsts[..len]);
        let (mut low, mut high) = (0, len);
        while low < high {
            let middle = low.midpoint(high);
            if target.is_behind(keys[middle], firsts[middle].expect(THERE)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.saturating_sub(1)
    }

    /// The child that contains the member of this rank, and the rank in it.
    pub(super) fn child_at_rank(self, rank: usize) -> (usize, usize) {
        let parts = self.parts();
        let last = parts.len as usize - 1;
        let (mut at, mut left) = (0, rank);
        while at < last && left >= parts.counts[at] as usize {
            left -= parts.counts[at] as usize;
            at += 1;
        }
        (at, left)
    }

    pub(super) fn insert(self, at: usize, child: Child) {
        let parts = self.parts_mut();
        let len = parts.len as usize;
        parts.counts.copy_within(at..len, at + 1);
        parts.keys.copy_within(at..len, at + 1);
        parts.firsts.copy_within(at..len, at + 1);
        parts.children.copy_within(at..len, at + 1);
        parts.children[at] = Some(child.node);
        parts.len += 1;
        self.set_count(at, child.count);
        self.set_first(at, child.first);
    }

    pub(super) fn remove(self, at: usize) {
        let parts = self.parts_mut();
        let len = parts.len as usize;
        parts.counts.copy_within(at + 1..len, at);
        parts.keys.copy_within(at + 1..len, at);
        parts.firsts.copy_within(at + 1..len, at);
        parts.children.copy_within(at + 1..len, at);
        parts.len -= 1;
    }

    /// Moves the children from an index on to the end of another branch.
    pub(super) fn move_children(self, from: usize, to: Self) {
        let (source, target) = (self.parts_mut(), to.parts_mut());
        let (len, at) = (source.len as usize, target.len as usize);
        let count = len - from;
        target.counts[at..at + count].copy_from_slice(&source.counts[from..len]);
        target.keys[at..at + count].copy_from_slice(&source.keys[from..len]);
        target.firsts[at..at + count].copy_from_slice(&source.firsts[from..len]);
        target.children[at..at + count].copy_from_slice(&source.children[from..len]);
        target.len += count as u32;
        source.len = from as u32;
    }
}
