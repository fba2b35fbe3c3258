//! Node: a packed run of a list's elements with spare capacity at either end.
//!
//! ```text
//!  room ┌──────────┬─────────────────────────────┬──────────┐
//!       │   free   │ element │ element │ element │   free   │
//!       └──────────┴─────────────────────────────┴──────────┘
//!                start                          end
//! ```

use crate::Content;
use crate::block::Extent;
use crate::packed::{BothWays, Run, Span, element_bytes, write_element};

/// The capacity of a new node.
const ROOM_BYTES_MIN: usize = 128;

/// A node that must grow at its end moves its elements only if this fraction of its capacity is
/// free: otherwise a list used as a queue would move them for every element.
const FREE_PART: usize = 4;

/// How much a node may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimit {
    /// LIMIT: bytes of more than one element.
    pub bytes: u32,
    /// LIMIT: elements.
    pub count: u32,
}

impl NodeLimit {
    /// LIMIT: bytes where elements are counted.
    const COUNTED_BYTES: u32 = 8192;

    /// Converts `list-max-listpack-size` as Redis does: -1 to -5 mean 4 to 64 KiB, positive values
    /// a number of elements.
    pub const fn of_parameter(value: i64) -> Self {
        match value {
            0 => Self { bytes: Self::COUNTED_BYTES, count: 1 },
            1.. => Self {
                bytes: Self::COUNTED_BYTES,
                count: if value > u16::MAX as i64 { u16::MAX as u32 } else { value as u32 },
            },
            _ => {
                let level = if value < -5 { 5 } else { -value };
                Self { bytes: 2048 << level, count: u32::MAX }
            }
        }
    }

    /// Whether a node may hold this many elements of this many bytes.
    pub const fn allows(self, bytes: usize, count: usize) -> bool {
        count == 1 || (bytes <= self.bytes as usize && count <= self.count as usize)
    }
}

impl Default for NodeLimit {
    fn default() -> Self {
        Self::of_parameter(-2)
    }
}

// A copy has no spare capacity.
impl Clone for Node {
    fn clone(&self) -> Self {
        Self::of(self.run().as_bytes(), self.count())
    }
}

#[derive(Debug)]
pub(super) struct Node {
    room: Extent,
    start: u32,
    end: u32,
    count: u32,
}

impl Node {
    /// A node of these complete elements.
    pub(super) fn of(bytes: &[u8], count: usize) -> Self {
        let mut room = Extent::zeroed(bytes.len());
        room[..bytes.len()].copy_from_slice(bytes);
        Self { room, start: 0, end: bytes.len() as u32, count: count as u32 }
    }

    pub(super) fn one(content: Content<'_>) -> Self {
        let mut node = Self { room: Extent::zeroed(ROOM_BYTES_MIN), start: 0, end: 0, count: 0 };
        node.push_back(content, element_bytes::<BothWays>(content), usize::MAX);
        node
    }

    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// The capacity in bytes.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        self.room.heap_bytes()
    }

    #[inline]
    pub(super) fn run(&self) -> Run<'_, BothWays> {
        Run::new(&self.room[self.start as usize..self.end as usize])
    }

    /// Appends an element of this many bytes.
    #[inline]
    pub(super) fn push_back(&mut self, content: Content<'_>, bytes: usize, room_max: usize) {
        if self.room.len() - (self.end as usize) < bytes {
            self.make_room(bytes, room_max, Side::Back);
        }
        write_element::<BothWays>(content, &mut self.room[self.end as usize..]);
        self.end += bytes as u32;
        self.count += 1;
    }

    /// Prepends an element of this many bytes.
    #[inline]
    pub(super) fn push_front(&mut self, content: Content<'_>, bytes: usize, room_max: usize) {
        if (self.start as usize) < bytes {
            self.make_room(bytes, room_max, Side::Front);
        }
        self.start -= bytes as u32;
        write_element::<BothWays>(content, &mut self.room[self.start as usize..]);
        self.count += 1;
    }

    /// Whether to grow for one more element: not if all elements would have to move for little.
    #[inline]
    pub(super) fn takes(&self, bytes: usize, limit: NodeLimit, side: Side) -> bool {
        if !limit.allows(self.bytes() + bytes, self.count() + 1) {
            return false;
        }
        let free_there = match side {
            Side::Front => self.start as usize,
            Side::Back => self.room.len() - self.end as usize,
        };
        free_there >= bytes
            || self.room.len() < limit.bytes as usize
            || self.room.len() - self.bytes() >= self.room.len() / FREE_PART
    }

    /// Makes room for this many bytes at one side: moves the elements, or reallocates.
    #[cold]
    fn make_room(&mut self, bytes: usize, room_max: usize, side: Side) {
        let (start, end) = (self.start as usize, self.end as usize);
        let needed = end - start + bytes;
        let free = self.room.len().saturating_sub(needed);
        let len = if needed <= self.room.len() && free >= self.room.len() / FREE_PART {
            self.room.len()
        } else {
            (self.room.len() * 2).min(room_max).max(needed)
        };
        let at = |room: usize| match side {
            Side::Front => room - (end - start),
            Side::Back => 0,
        };
        if len == self.room.len() {
            let to = at(len);
            self.room.copy_within(start..end, to);
            self.start = to as u32;
        } else {
            let mut room = Extent::zeroed(len);
            let to = at(room.len());
            room[to..to + end - start].copy_from_slice(&self.room[start..end]);
            self.room = room;
            self.start = to as u32;
        }
        self.end = self.start + (end - start) as u32;
    }

    /// Replaces elements by others.
    pub(super) fn splice(&mut self, removed: Span, inserted: &[Content<'_>]) {
        let more: usize = inserted.iter().map(|&content| element_bytes::<BothWays>(content)).sum();
        let (from, to) = (self.start as usize + removed.from, self.start as usize + removed.to);
        let end = self.end as usize;
        let new_end = end - (to - from) + more;
        if new_end > self.room.len() {
            self.splice_elsewhere(removed, inserted, more);
            return;
        }
        self.room.copy_within(to..end, from + more);
        let mut at = from;
        for &content in inserted {
            at += write_element::<BothWays>(content, &mut self.room[at..]);
        }
        self.end = new_end as u32;
        self.count = self.count - removed.count as u32 + inserted.len() as u32;
    }

    fn splice_elsewhere(&mut self, removed: Span, inserted: &[Content<'_>], more: usize) {
        let old = self.run().as_bytes();
        let (before, after) = (&old[..removed.from], &old[removed.to..]);
        let len = before.len() + more + after.len();
        let mut room = Extent::zeroed(len);
        room[..before.len()].copy_from_slice(before);
        let mut at = before.len();
        for &content in inserted {
            at += write_element::<BothWays>(content, &mut room[at..]);
        }
        room[at..len].copy_from_slice(after);
        self.count = self.count - removed.count as u32 + inserted.len() as u32;
        (self.room, self.start, self.end) = (room, 0, len as u32);
    }

    /// The offset of the element at an index, found from the nearer end.
    #[inline]
    pub(super) fn seek(&self, index: usize) -> usize {
        let (run, count) = (self.run(), self.count());
        let found = if index <= count / 2 {
            run.seek(index)
        } else if index == count {
            Some(run.as_bytes().len())
        } else {
            run.seek_back(count - 1 - index)
        };
        found.expect("because the caller keeps to the node's elements")
    }

    /// Removes the elements before an index.
    pub(super) fn remove_front(&mut self, count: usize) {
        self.start += self.seek(count) as u32;
        self.count -= count as u32;
    }

    /// Removes this many elements from the end.
    pub(super) fn remove_back(&mut self, count: usize) {
        self.end = self.start + self.seek(self.count() - count) as u32;
        self.count -= count as u32;
    }

    /// Splits off the elements from an index on, as a node.
    pub(super) fn split_off(&mut self, index: usize) -> Self {
        let at = self.seek(index);
        let after = Self::of(&self.run().as_bytes()[at..], self.count() - index);
        self.end = self.start + at as u32;
        self.count = index as u32;
        after
    }

    /// Appends all elements of another node.
    pub(super) fn append(&mut self, other: &Self) {
        let bytes = other.bytes();
        if self.room.len() - (self.end as usize) < bytes {
            self.make_room(bytes, usize::MAX, Side::Back);
        }
        let end = self.end as usize;
        self.room[end..end + bytes].copy_from_slice(other.run().as_bytes());
        self.end += bytes as u32;
        self.count += other.count;
    }

    /// Removes up to `max` elements that equal `wanted`, starting from the first or the last one.
    pub(super) fn remove_equal(&mut self, wanted: Content<'_>, side: Side, max: usize) -> usize {
        let equal = self.spans_equal(wanted);
        let chosen = match side {
            Side::Front => &equal[..equal.len().min(max)],
            Side::Back => &equal[equal.len() - equal.len().min(max)..],
        };
        let Some(first) = chosen.first() else { return 0 };
        let start = self.start as usize;
        let mut write = start + first.from;
        for (index, span) in chosen.iter().enumerate() {
            let next = chosen.get(index + 1).map_or(self.bytes(), |next| next.from);
            self.room.copy_within(start + span.to..start + next, write);
            write += next - span.to;
        }
        self.end = write as u32;
        self.count -= chosen.len() as u32;
        chosen.len()
    }

    fn spans_equal(&self, wanted: Content<'_>) -> Vec<Span> {
        let run = self.run();
        let (mut spans, mut at) = (Vec::new(), 0);
        while let Some((_, span)) = run.find_from(at, wanted, 1) {
            spans.push(span);
            at = span.to;
        }
        spans
    }

    /// Shrinks the capacity to the elements.
    pub(super) fn fit(&mut self) {
        let bytes = self.bytes();
        if block_lines(bytes) == block_lines(self.room.len()) {
            return;
        }
        self.room.copy_within(self.start as usize..self.end as usize, 0);
        (self.start, self.end) = (0, bytes as u32);
        self.room.shrink_to(bytes);
    }
}

fn block_lines(bytes: usize) -> usize {
    bytes.div_ceil(crate::block::LINE_BYTES)
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Front,
    Back,
}
