//! Stream: entries of fields and values in the order of their IDs, and the groups that read them.
//!
//! ```text
//! nodes    first ID ──► entries side by side (`node`)       up to 100 of them or 4 KiB, as configured
//! groups   name ──► last ID, pending entries, consumers     (`group`)
//! producers  name ──► idempotency IDs of its newest entries  (`producers`)
//! ```
//!
//! IDs only grow, so new entries go to the last node. A deleted entry keeps its bytes in its node
//! until the whole node is deleted.
//!
//! Not here: how IDs are chosen, and the errors of commands (`commands`).

use crate::block::block_bytes;

mod codec;
mod group;
mod node;
mod producers;
mod runs;
#[cfg(test)]
mod tests;

pub use group::{Consumer, ConsumerNumber, Group, Pending};
use node::Node;
pub use node::Pairs;
pub use producers::{IDEMPOTENCY_NAMES, IDEMPOTENCY_SECONDS, Producers};
use runs::Runs;

/// LIMIT: the total size of an entry's fields and values; also that of a node.
pub const STREAM_ENTRY_BYTES_MAX: usize = 1 << 30;

/// An entry's ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub ms: u64,
    pub seq: u64,
}

impl StreamId {
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The next larger ID; `None` after the largest.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The next smaller ID; `None` before 0-0.
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// An entry, borrowed to be read.
#[derive(Clone, Debug)]
pub struct StreamEntry<'a> {
    pub id: StreamId,
    pairs: Pairs<'a>,
}

impl<'a> StreamEntry<'a> {
    /// Its fields and values, alternating.
    pub fn pairs(&self) -> Pairs<'a> {
        self.pairs.clone()
    }
}

/// The configured limits of a node; 0 is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    pub bytes: u64,
    pub entries: u64,
}

/// What trimming keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// This many of the newest entries.
    Newest(u64),
    /// Entries with this ID or a larger one.
    From(StreamId),
}

/// How exactly to trim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    Exactly,
    /// Whole nodes only, up to this many entries.
    Nodes {
        entries_max: u64,
    },
}

/// Entries in the order of their IDs.
#[derive(Clone, Debug)]
pub struct Stream {
    nodes: Runs<Node>,
    node_bytes: usize,
    len: u64,
    last_id: StreamId,
    max_deleted_id: StreamId,
    entries_added: u64,
    /// Sorted by name.
    groups: Vec<Group>,
    /// Of the groups, without the array.
    group_bytes: usize,
    /// `None` while no producer is known and all settings are defaults.
    producers: Option<Box<Producers>>,
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    pub fn new() -> Self {
        Self {
            nodes: Runs::new(),
            node_bytes: 0,
            len: 0,
            last_id: StreamId::MIN,
            max_deleted_id: StreamId::MIN,
            entries_added: 0,
            groups: Vec::new(),
            group_bytes: 0,
            producers: None,
        }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The largest ID that was ever added, or that XSETID set.
    pub fn last_id(&self) -> StreamId {
        self.last_id
    }

    /// The largest ID that was deleted by itself; trimming does not count.
    pub fn max_deleted_id(&self) -> StreamId {
        self.max_deleted_id
    }

    /// The number of entries ever added.
    pub fn entries_added(&self) -> u64 {
        self.entries_added
    }

    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The ID of the first entry; 0-0 if there is none.
    pub fn first_id(&self) -> StreamId {
        self.first().map_or(StreamId::MIN, |entry| entry.id)
    }

    /// The first entry; `None` if the stream is empty.
    pub fn first(&self) -> Option<StreamEntry<'_>> {
        let (id, node) = self.nodes.first()?;
        node.entries(*id).next()
    }

    /// The last entry; `None` if the stream is empty.
    pub fn last(&self) -> Option<StreamEntry<'_>> {
        let (id, node) = self.nodes.last()?;
        node.entries_back(*id).next()
    }

    /// The entry with this ID; `None` if it is missing or deleted.
    pub fn get(&self, id: StreamId) -> Option<StreamEntry<'_>> {
        let (first, node) = self.nodes.back_from(id).next()?;
        node.get(*first, id)
    }

    /// The entries from one ID to another, both included.
    pub fn range(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = StreamEntry<'_>> {
        let nodes = self.nodes.starting_around(start).take_while(move |(id, _)| *id <= end);
        nodes
            .flat_map(|(id, node)| node.entries(*id))
            .skip_while(move |entry| entry.id < start)
            .take_while(move |entry| entry.id <= end)
    }

    /// The same in descending order.
    pub fn range_back(
        &self,
        start: StreamId,
        end: StreamId,
    ) -> impl Iterator<Item = StreamEntry<'_>> {
        self.nodes
            .back_from(end)
            .flat_map(|(id, node)| node.entries_back(*id))
            .skip_while(move |entry| entry.id > end)
            .take_while(move |entry| entry.id >= start)
    }

    /// Whether the last node has no room for an entry whose fields and values have this many bytes.
    pub fn is_node_full(&self, limits: NodeLimits, part_bytes: usize) -> bool {
        let most = STREAM_ENTRY_BYTES_MAX as u64;
        let bytes = if limits.bytes == 0 { most } else { limits.bytes.min(most) };
        self.nodes.last().is_none_or(|(_, node)| {
            node.listpack_bytes() + part_bytes as u64 >= bytes
                || limits.entries > 0 && node.len() >= limits.entries
        })
    }

    /// Appends an entry, whose fields and values alternate in `parts`; in a new node if that is
    /// requested or necessary. Its ID must be larger than [`Stream::last_id`].
    pub fn add<'a>(
        &mut self,
        id: StreamId,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
        in_new_node: bool,
    ) {
        assert!(id > self.last_id, "IDs only grow: {id} after {}", self.last_id);
        let first = match self.nodes.last() {
            Some((first, _)) if !in_new_node => *first,
            _ => {
                self.change_last(|node| node.seal());
                let node = Node::new(parts.clone());
                self.node_bytes += block_bytes(node.capacity());
                self.nodes.insert(id, node);
                id
            }
        };
        self.change_last(|node| node.add(first, id, parts));
        self.len += 1;
        self.entries_added += 1;
        self.last_id = id;
    }

    /// Changes the last node, if there is one, and updates the accounting.
    fn change_last(&mut self, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.last_mut() {
            self.node_bytes -= block_bytes(node.capacity());
            change(node);
            self.node_bytes += block_bytes(node.capacity());
        }
    }

    /// Deletes an entry; returns false if it does not exist.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some((first, node)) = self.nodes.floor_mut(id) else { return false };
        let first = *first;
        if !node.delete(first, id) {
            return false;
        }
        if node.live() == 0 {
            self.node_bytes -= block_bytes(node.capacity());
            self.nodes.remove(first);
        }
        self.len -= 1;
        self.max_deleted_id = self.max_deleted_id.max(id);
        true
    }

    /// The number of the oldest entries that trimming would remove.
    pub fn trimmed_count(&self, keep: Keep, trim: Trim) -> u64 {
        let goes = |first: StreamId, node: &Node, gone: u64| match keep {
            Keep::Newest(count) => self.len - gone - node.live() >= count,
            Keep::From(id) => node.last_id(first) < id,
        };
        let mut gone = 0;
        for (first, node) in self.nodes.starting_at(StreamId::MIN) {
            if matches!(keep, Keep::Newest(count) if self.len - gone <= count) {
                break;
            }
            if matches!(trim, Trim::Nodes { entries_max } if entries_max > 0 && gone + node.live() > entries_max)
            {
                break;
            }
            if goes(*first, node, gone) {
                gone += node.live();
                continue;
            }
            if trim == Trim::Exactly {
                gone += match keep {
                    Keep::Newest(count) => self.len - gone - count,
                    Keep::From(id) => {
                        node.entries(*first).take_while(|entry| entry.id < id).count() as u64
                    }
                };
            }
            break;
        }
        gone
    }

    /// Removes this many of the oldest entries.
    pub fn drop_first(&mut self, mut count: u64) {
        count = count.min(self.len);
        self.len -= count;
        while count > 0 {
            let (first, node) = self.nodes.first().expect("because there are entries left");
            let (first, live) = (*first, node.live());
            if live <= count {
                self.node_bytes -= block_bytes(node.capacity());
                self.nodes.pop_first();
                count -= live;
            } else {
                let node = self.nodes.get_mut(first).expect("because it was just seen");
                node.delete_first(first, count);
                count = 0;
            }
        }
    }

    /// Sets the last ID, and the counters if given (XSETID).
    pub fn set_last_id(
        &mut self,
        last_id: StreamId,
        entries_added: Option<u64>,
        max_deleted_id: Option<StreamId>,
    ) {
        self.last_id = last_id;
        self.entries_added = entries_added.unwrap_or(self.entries_added);
        self.max_deleted_id = max_deleted_id.unwrap_or(self.max_deleted_id);
    }

    /// The groups in the order of their names.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    fn search(&self, name: &[u8]) -> Result<usize, usize> {
        self.groups.binary_search_by(|group| group.name().cmp(name))
    }

    /// The group with this name; `None` if it is missing.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        Some(&self.groups[self.search(name).ok()?])
    }

    /// Creates a group; returns false if its name is taken.
    pub fn create_group(
        &mut self,
        name: &[u8],
        last_id: StreamId,
        entries_read: Option<u64>,
    ) -> bool {
        let Err(at) = self.search(name) else { return false };
        let group = Group::new(name, last_id, entries_read);
        self.group_bytes += group.heap_bytes();
        self.groups.insert(at, group);
        true
    }

    /// Removes a group with its pending entries; returns false if it does not exist.
    pub fn destroy_group(&mut self, name: &[u8]) -> bool {
        let Ok(at) = self.search(name) else { return false };
        let group = self.groups.remove(at);
        self.group_bytes -= group.heap_bytes();
        true
    }

    /// Changes a group and updates the accounting; `None` if it does not exist.
    pub fn change_group<T>(
        &mut self,
        name: &[u8],
        change: impl FnOnce(&mut Group) -> T,
    ) -> Option<T> {
        let at = self.search(name).ok()?;
        Some(self.change_group_at(at, change))
    }

    fn change_group_at<T>(&mut self, at: usize, change: impl FnOnce(&mut Group) -> T) -> T {
        let group = &mut self.groups[at];
        self.group_bytes -= group.heap_bytes();
        let result = change(group);
        self.group_bytes += group.heap_bytes();
        result
    }

    /// Removes an entry from the pending entries of every group.
    pub fn acknowledge_everywhere(&mut self, id: StreamId) {
        for at in 0..self.groups.len() {
            self.change_group_at(at, |group| group.acknowledge(id));
        }
    }

    /// The producers and their idempotency IDs; `None` if there are none and all settings are
    /// defaults.
    pub fn producers(&self) -> Option<&Producers> {
        self.producers.as_deref()
    }

    /// Sets the producers, in the place of those that are known.
    pub fn set_producers(&mut self, producers: Producers) {
        self.producers = Some(Box::new(producers));
    }

    /// Records the idempotency ID of an entry.
    pub fn note_name(&mut self, producer: &[u8], name: &[u8], id: StreamId, now_ms: u64) {
        self.producers.get_or_insert_default().note(producer, name, id, now_ms);
    }

    /// Counts a repeated entry.
    pub fn count_repeated(&mut self) {
        self.producers.get_or_insert_default().repeated += 1;
    }

    /// Sets for how many seconds, and how many per producer, idempotency IDs are remembered;
    /// forgets them all.
    pub fn configure_producers(&mut self, seconds: u64, most: u64) {
        self.producers.get_or_insert_default().configure(seconds, most);
    }

    /// The heap bytes that it takes beside itself. O(1).
    pub fn heap_bytes(&self) -> usize {
        let of_producers = |own: &Producers| block_bytes(size_of::<Producers>()) + own.heap_bytes();
        self.nodes.heap_bytes()
            + self.producers().map_or(0, of_producers)
            + self.node_bytes
            + block_bytes(self.groups.capacity() * size_of::<Group>())
            + self.group_bytes
    }

    /// The number of entries, pending entries, consumers and groups; not 0 while
    /// [`Stream::drop_some`] has something to free.
    pub fn droppable_len(&self) -> usize {
        self.groups.iter().map(Group::droppable_len).sum::<usize>()
            + self.len as usize
            + self.producers().map_or(0, Producers::droppable_len)
    }

    /// Frees about `count` entries and pending entries, in any order, and returns the freed heap
    /// bytes. The stream must not be read afterwards.
    pub fn drop_some(&mut self, count: usize) -> usize {
        let before = self.heap_bytes();
        let mut dropped = 0;
        while dropped < count {
            if let Some((_, node)) = self.nodes.pop_first() {
                self.node_bytes -= block_bytes(node.capacity());
                self.len -= node.live();
                dropped += node.len() as usize;
            } else if let Some(last) = self.groups.len().checked_sub(1) {
                dropped += self.change_group_at(last, |group| group.drop_some(count - dropped));
                if self.groups[last].is_shell() {
                    self.group_bytes -= self.groups[last].heap_bytes();
                    self.groups.pop();
                    dropped += 1;
                }
            } else if let Some(producers) = &mut self.producers {
                match producers.drop_one() {
                    Some(count) => dropped += count,
                    None => self.producers = None,
                }
            } else {
                break;
            }
        }
        before - self.heap_bytes()
    }

    #[cfg(test)]
    fn check(&self) {
        self.nodes.check();
        let nodes = self.nodes.starting_at(StreamId::MIN);
        let (mut bytes, mut len) = (0, 0);
        for (first, node) in nodes {
            bytes += block_bytes(node.capacity());
            len += node.live();
            assert!(node.live() > 0);
            assert_eq!(node.entries(*first).count() as u64, node.live());
            assert_eq!(node.entries_back(*first).count() as u64, node.live());
        }
        assert_eq!((bytes, len), (self.node_bytes, self.len));
        self.groups.iter().for_each(Group::check);
        self.producers().iter().for_each(|producers| producers.check());
        assert_eq!(self.groups.iter().map(Group::heap_bytes).sum::<usize>(), self.group_bytes);
        assert!(self.groups.iter().map(Group::name).is_sorted_by(|a, b| a < b));
    }
}
