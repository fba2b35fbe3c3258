//! List: many elements in order, in a sequence of packed nodes (a quicklist, in Redis' terms).
//!
//! ```text
//! nodes  ┌──────┬──────┬──────┐      each a run of elements of up to 8 KiB
//!        │ node │ node │ node │
//!        └──────┴──────┴──────┘
//! ```
//!
//! Pushes and pops at both ends take constant time. An index is found by the counts of the nodes,
//! which are adjacent in memory: 10 million elements are 25,000 counts. Elements have two bytes of
//! overhead.
//!
//! Invariants: no node is empty; only nodes at the ends have spare capacity; the accounting equals
//! a walk over the nodes.
//! Not here: small lists in their entry's block (`packed`), when a list is converted to this form
//! (`keyspace`).

use std::collections::VecDeque;
use std::ops::Range;

mod node;
#[cfg(test)]
mod tests;

use node::Node;
pub use node::{NodeLimit, Side};

use crate::Content;
use crate::block::block_bytes;
use crate::packed::{BothWays, Packed, PackedIter, Run, element_bytes};

/// The bytes of a Redis listpack beside its elements.
const LISTPACK_HEADER_BYTES: usize = 7;

/// A list of packed nodes.
#[derive(Debug, Default)]
pub struct List {
    nodes: VecDeque<Node>,
    len: usize,
    /// The capacity of all nodes, in bytes.
    rooms: usize,
    limit: NodeLimit,
    /// Whether it has outgrown a single listpack in Redis, and has not shrunk to half of that
    /// since.
    is_quicklist: bool,
}

impl Clone for List {
    fn clone(&self) -> Self {
        let nodes: VecDeque<Node> = self.nodes.iter().cloned().collect();
        let rooms = nodes.iter().map(Node::heap_bytes).sum();
        Self { nodes, rooms, ..*self }
    }
}

impl List {
    pub fn new(limit: NodeLimit) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Converts a small list.
    pub fn of_packed(packed: Packed<'_, BothWays>, limit: NodeLimit) -> Self {
        let mut list = Self::new(limit);
        let (run, count) = (packed.run(), packed.len());
        if limit.allows(run.as_bytes().len(), count) && count > 0 {
            list.insert_node(0, Node::of(run.as_bytes(), count));
        } else {
            packed.iter().for_each(|content| list.push(Side::Back, content));
        }
        list
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The elements as one run; `None` if they are in several nodes.
    pub fn single_run(&self) -> Option<Run<'_, BothWays>> {
        if self.nodes.len() == 1 { self.nodes.front().map(Node::run) } else { None }
    }

    /// Whether OBJECT ENCODING reports `quicklist` rather than `listpack`.
    pub fn is_quicklist(&self) -> bool {
        self.is_quicklist
    }

    /// Updates the reported encoding after a change.
    pub fn settle_encoding(&mut self, limit: NodeLimit) {
        let bytes = match self.single_run() {
            Some(run) => run.as_bytes().len() + LISTPACK_HEADER_BYTES,
            None if self.is_empty() => 0,
            None => usize::MAX / 2,
        };
        let exceeds = |times: usize| {
            bytes * times > limit.bytes as usize || self.len * times > limit.count as usize
        };
        self.is_quicklist = if self.is_quicklist { exceeds(2) } else { exceeds(1) };
    }

    /// The heap bytes that it takes beside itself. O(1).
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.rooms + block_bytes(self.nodes.capacity() * size_of::<Node>())
    }

    /// Changes a node and updates the accounting.
    #[inline]
    fn change<R>(&mut self, node: usize, change: impl FnOnce(&mut Node) -> R) -> R {
        let node = &mut self.nodes[node];
        let (rooms, count) = (node.heap_bytes(), node.count());
        let result = change(node);
        self.rooms = self.rooms - rooms + node.heap_bytes();
        self.len = self.len - count + node.count();
        result
    }

    fn insert_node(&mut self, at: usize, node: Node) {
        self.rooms += node.heap_bytes();
        self.len += node.count();
        self.nodes.insert(at, node);
    }

    /// Removes nodes with their elements.
    fn remove_nodes(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        for node in self.nodes.drain(range) {
            self.rooms -= node.heap_bytes();
            self.len -= node.count();
        }
        if self.nodes.capacity() > 4 * self.nodes.len() + 64 {
            self.nodes.shrink_to(2 * self.nodes.len());
        }
    }

    /// Inserts an element before the first or after the last.
    #[inline]
    pub fn push(&mut self, side: Side, content: Content<'_>) {
        let bytes = element_bytes::<BothWays>(content);
        let (end, limit) = (self.end_node(side), self.limit);
        let room_max = limit.bytes as usize;
        if self.nodes.get(end).is_some_and(|node| node.takes(bytes, limit, side)) {
            self.change(end, |node| match side {
                Side::Front => node.push_front(content, bytes, room_max),
                Side::Back => node.push_back(content, bytes, room_max),
            });
        } else {
            self.push_node(side, content);
        }
    }

    #[inline]
    fn end_node(&self, side: Side) -> usize {
        match side {
            Side::Front => 0,
            Side::Back => self.nodes.len().saturating_sub(1),
        }
    }

    #[cold]
    fn push_node(&mut self, side: Side, content: Content<'_>) {
        if !self.nodes.is_empty() {
            self.change(self.end_node(side), Node::fit);
        }
        let at = if side == Side::Front { 0 } else { self.nodes.len() };
        self.insert_node(at, Node::one(content));
    }

    /// The first or the last element; `None` if the list is empty.
    #[inline]
    pub fn end(&self, side: Side) -> Option<Content<'_>> {
        let run = self.nodes.get(self.end_node(side))?.run();
        let at = match side {
            Side::Front => 0,
            Side::Back => run.before(run.as_bytes().len())?,
        };
        Some(run.at(at)?.0)
    }

    /// Removes up to `count` elements at one end.
    pub fn remove_end(&mut self, side: Side, count: usize) {
        let count = count.min(self.len);
        if count == 1 {
            // The case of a queue: the other nodes are not accessed.
            let node = self.end_node(side);
            if self.nodes[node].count() > 1 {
                return self.change(node, |node| match side {
                    Side::Front => node.remove_front(1),
                    Side::Back => node.remove_back(1),
                });
            }
            return self.remove_nodes(node..node + 1);
        }
        match side {
            Side::Front => self.remove(0, count),
            Side::Back => self.remove(self.len - count, count),
        }
    }

    /// The node of an index below the length, and the index in it, counted from the nearer end.
    #[inline]
    fn locate(&self, index: usize) -> (usize, usize) {
        assert!(index < self.len, "the caller keeps to the list's elements");
        if index <= self.len / 2 {
            let mut left = index;
            for (at, node) in self.nodes.iter().enumerate() {
                match left.checked_sub(node.count()) {
                    None => return (at, left),
                    Some(less) => left = less,
                }
            }
        } else {
            let mut behind = self.len - 1 - index;
            for (at, node) in self.nodes.iter().enumerate().rev() {
                match behind.checked_sub(node.count()) {
                    None => return (at, node.count() - 1 - behind),
                    Some(less) => behind = less,
                }
            }
        }
        unreachable!("the nodes' counts make up the length")
    }

    /// The element at a 0-based index; `None` beyond the end.
    pub fn get(&self, index: usize) -> Option<Content<'_>> {
        if index >= self.len {
            return None;
        }
        let (node, inner) = self.locate(index);
        let node = &self.nodes[node];
        Some(node.run().at(node.seek(inner))?.0)
    }

    /// The elements from a 0-based index on.
    pub fn iter_from(&self, index: usize) -> Forth<'_> {
        if index >= self.len {
            return Forth { list: self, node: self.nodes.len(), within: Run::new(&[]).iter() };
        }
        let (node, inner) = self.locate(index);
        let within = self.nodes[node].run().iter_from(self.nodes[node].seek(inner));
        Forth { list: self, node: node + 1, within }
    }

    pub fn iter(&self) -> Forth<'_> {
        self.iter_from(0)
    }

    /// The elements from a 0-based index on, backwards.
    pub fn iter_back_from(&self, index: usize) -> Back<'_> {
        if index >= self.len {
            return Back { list: self, node: 0, within: Run::new(&[]).iter() };
        }
        let (node, inner) = self.locate(index);
        let run = self.nodes[node].run();
        let end = self.nodes[node].seek(inner + 1);
        Back { list: self, node, within: Run::new(&run.as_bytes()[..end]).iter() }
    }

    /// Replaces the element at a 0-based index, which must exist.
    pub fn set(&mut self, index: usize, content: Content<'_>) {
        let (node, inner) = self.locate(index);
        let span = self.span(node, inner);
        let bytes =
            self.nodes[node].bytes() - (span.to - span.from) + element_bytes::<BothWays>(content);
        if self.limit.allows(bytes, self.nodes[node].count()) {
            self.change(node, |node| node.splice(span, &[content]));
        } else {
            self.remove(index, 1);
            self.insert(index, content);
        }
    }

    fn span(&self, node: usize, inner: usize) -> crate::packed::Span {
        self.nodes[node].run().span_at(self.nodes[node].seek(inner), 1)
    }

    /// Inserts an element before the one at a 0-based index; at the length it is appended.
    pub fn insert(&mut self, index: usize, content: Content<'_>) {
        if index == 0 || index == self.len {
            return self.push(if index == 0 { Side::Front } else { Side::Back }, content);
        }
        let (node, inner) = self.locate(index);
        let bytes = element_bytes::<BothWays>(content);
        let allows = |node: &Node| self.limit.allows(node.bytes() + bytes, node.count() + 1);
        if allows(&self.nodes[node]) {
            let mut span = self.span(node, inner);
            (span.to, span.count) = (span.from, 0);
            return self.change(node, |node| node.splice(span, &[content]));
        }
        if inner == 0 && allows(&self.nodes[node - 1]) {
            return self.change(node - 1, |node| {
                let back = node.run().back();
                node.splice(back, &[content]);
            });
        }
        if inner > 0 {
            let after = self.change(node, |node| node.split_off(inner));
            self.insert_node(node + 1, after);
            self.change(node, Node::fit);
        }
        let place = node + usize::from(inner > 0);
        let mut alone = Node::one(content);
        alone.fit();
        self.insert_node(place, alone);
        self.merge(place);
        self.merge_around(place);
    }

    /// Removes up to `count` elements from a 0-based index on.
    pub fn remove(&mut self, index: usize, count: usize) {
        let end = index.saturating_add(count).min(self.len);
        if index >= end {
            return;
        }
        let (first, first_inner) = self.locate(index);
        let (last, last_inner) = self.locate(end - 1);
        if first == last {
            let run = self.nodes[first].run();
            let from = self.nodes[first].seek(first_inner);
            let span = run.span_at(from, end - index);
            let count = self.nodes[first].count();
            if span.count == count {
                return self.remove_nodes(first..first + 1);
            }
            self.change(first, |node| match first_inner {
                0 => node.remove_front(span.count),
                _ => node.splice(span, &[]),
            });
            return self.tidy(first);
        }
        let last_whole = last_inner + 1 == self.nodes[last].count();
        if !last_whole {
            self.change(last, |node| node.remove_front(last_inner + 1));
        }
        if first_inner > 0 {
            self.change(first, |node| node.remove_back(node.count() - first_inner));
        }
        let whole = first + usize::from(first_inner > 0)..last + usize::from(last_whole);
        let next = whole.start;
        self.remove_nodes(whole);
        self.merge_around(next);
    }

    /// Removes all elements outside of a range of indexes, which may be empty.
    pub fn keep(&mut self, range: Range<usize>) {
        self.remove(range.end, self.len);
        self.remove(0, range.start);
    }

    /// Removes up to `max` elements that equal `wanted`, starting from one end. Returns how many
    /// were removed.
    pub fn remove_equal(&mut self, wanted: Content<'_>, from: Side, max: usize) -> usize {
        let mut removed = 0;
        let count = self.nodes.len();
        for step in 0..count {
            let node = if from == Side::Front { step } else { count - 1 - step };
            if removed == max {
                break;
            }
            removed += self.change(node, |node| node.remove_equal(wanted, from, max - removed));
        }
        if removed > 0 {
            self.drop_empty_nodes();
        }
        removed
    }

    fn drop_empty_nodes(&mut self) {
        let mut rooms = 0;
        self.nodes.retain(|node| {
            if node.count() == 0 {
                rooms += node.heap_bytes();
            }
            node.count() > 0
        });
        self.rooms -= rooms;
        // Merging one node at a time keeps each step small; the pass over all nodes is already
        // done.
        let mut at = 1;
        while at < self.nodes.len() {
            if !self.merge(at) {
                at += 1;
            }
        }
    }

    /// After a removal in a node: removes it if it is empty, merges it with a neighbour, or shrinks
    /// it.
    fn tidy(&mut self, node: usize) {
        let wide = self.nodes[node].heap_bytes() > 2 * self.nodes[node].bytes() + 256;
        if wide && node > 0 && node + 1 < self.nodes.len() {
            self.change(node, Node::fit);
        }
        self.merge_around(node);
    }

    fn merge_around(&mut self, node: usize) {
        if node + 1 < self.nodes.len() {
            self.merge(node + 1);
        }
        if node < self.nodes.len() {
            self.merge(node);
        }
    }

    /// Appends a node's elements to the node before it, if the two together leave half a node free.
    fn merge(&mut self, node: usize) -> bool {
        if node == 0 {
            return false;
        }
        let (before, after) = (&self.nodes[node - 1], &self.nodes[node]);
        let (bytes, count) = (before.bytes() + after.bytes(), before.count() + after.count());
        let half = NodeLimit { bytes: self.limit.bytes / 2, count: self.limit.count.div_ceil(2) };
        if !half.allows(bytes, count) {
            return false;
        }
        let Some(after) = self.nodes.remove(node) else { return false };
        self.rooms -= after.heap_bytes();
        self.len -= after.count();
        self.change(node - 1, |before| before.append(&after));
        true
    }

    /// Frees up to `count` nodes and returns the freed heap bytes. The list must not be read
    /// afterwards.
    pub fn drop_some(&mut self, nodes: usize) -> usize {
        let before = self.rooms;
        for _ in 0..nodes {
            let Some(node) = self.nodes.pop_back() else { break };
            self.rooms -= node.heap_bytes();
            self.len -= node.count();
        }
        before - self.rooms
    }
}

/// Iterates over the elements of a list, forwards.
#[derive(Clone, Debug)]
pub struct Forth<'a> {
    list: &'a List,
    /// The node after the current one.
    node: usize,
    within: PackedIter<'a, BothWays>,
}

impl<'a> Iterator for Forth<'a> {
    type Item = Content<'a>;

    #[inline]
    fn next(&mut self) -> Option<Content<'a>> {
        loop {
            if let Some(content) = self.within.next() {
                return Some(content);
            }
            self.within = self.list.nodes.get(self.node)?.run().iter();
            self.node += 1;
        }
    }
}

/// Iterates over the elements of a list, backwards.
#[derive(Clone, Debug)]
pub struct Back<'a> {
    list: &'a List,
    /// The current node; the ones before it follow.
    node: usize,
    within: PackedIter<'a, BothWays>,
}

impl<'a> Iterator for Back<'a> {
    type Item = Content<'a>;

    #[inline]
    fn next(&mut self) -> Option<Content<'a>> {
        loop {
            if let Some(content) = self.within.next_back() {
                return Some(content);
            }
            self.node = self.node.checked_sub(1)?;
            self.within = self.list.nodes[self.node].run().iter();
        }
    }
}
