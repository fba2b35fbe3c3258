//! Index: the members of a sorted set by hash; extendible hashing (Fagin et al. 1979).
//!
//! ```text
//! hash   │ top bits: place in the directory │    …    │ 16 bits: tag │
//!
//! directory │ segment │ segment │ …        a segment without gaps, in the order of tags
//!                │                         │tag address│tag address│ …
//!                └────────────────────────►
//! ```
//!
//! Tags are spread evenly, so a tag's position among its segment's cells can be estimated before
//! any access. A full segment splits in two by the next bit of the hashes; two nearly empty ones
//! merge: growing and shrinking never touches more than a segment and the directory, and cells have
//! no gaps.
//!
//! Not here: the order by scores (`tree`).

use std::ptr::NonNull;

use super::member::{Cell, Member};
use crate::block::{self, block_bytes};
use crate::prefetch::prefetch;

/// The number of cells at which a segment splits.
const SEGMENT_LEN_MAX: usize = 256;

/// Two segments with no more cells than this together are merged.
const MERGED_LEN_MAX: usize = SEGMENT_LEN_MAX / 2;

/// The step in which a segment's capacity changes: one line's worth of cells.
const STEP: usize = 8;

/// The maximum number of bits that select an entry of the directory.
const DEPTH_MAX: u8 = 32;

/// The position of a scan by hash: the segment with these first bits of the hash, and a tag in it.
///
/// As a number: 16 bits of tag, 6 of depth, the first 32 bits of the hash.
#[derive(Clone, Copy)]
struct Cursor {
    prefix: u32,
    depth: u8,
    tag: u16,
}

impl Cursor {
    fn from_number(number: u64) -> Self {
        Self {
            prefix: (number >> 22) as u32,
            depth: (number >> 16 & 0x3F) as u8,
            tag: number as u16,
        }
    }

    fn number(self) -> u64 {
        u64::from(self.prefix) << 22 | u64::from(self.depth) << 16 | u64::from(self.tag)
    }
}

/// Cells in the order of their tags, and the number of leading bits of the hash that they share.
#[derive(Clone, Copy, Debug)]
struct Segment {
    cells: NonNull<Cell>,
    len: u16,
    capacity: u16,
    depth: u8,
}

impl Segment {
    const fn new(depth: u8) -> Self {
        Self { cells: NonNull::dangling(), len: 0, capacity: 0, depth }
    }

    fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn cells(&self) -> &[Cell] {
        // SAFETY: the first `len` cells are written. A segment is a copy of the directory's, looked at
        // before that changes.
        unsafe { NonNull::slice_from_raw_parts(self.cells, self.len()).as_ref() }
    }

    /// Moves the cells to a block for `capacity` cells, a multiple of the step.
    fn resize(&mut self, capacity: usize) {
        debug_assert!(
            capacity >= self.len() && capacity.is_multiple_of(STEP),
            "all cells find room"
        );
        let old = *self;
        self.cells = match capacity {
            0 => NonNull::dangling(),
            _ => block::allocate(capacity * size_of::<Cell>()).cast(),
        };
        self.capacity = u16::try_from(capacity).expect("because hashes are spread");
        if old.capacity > 0 {
            // SAFETY: both blocks hold `len` cells and are ours; the old one is forgotten.
            unsafe {
                self.cells.copy_from_nonoverlapping(old.cells, old.len());
                block::release(old.cells.cast(), usize::from(old.capacity) * size_of::<Cell>());
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        block_bytes(usize::from(self.capacity) * size_of::<Cell>())
    }

    /// The index of the first cell whose tag is not below this one.
    #[inline]
    fn lower_bound(&self, tag: u16) -> usize {
        let cells = self.cells();
        let mut at = (usize::from(tag) * cells.len()) >> 16;
        while at < cells.len() && cells[at].tag() < tag {
            at += 1;
        }
        while at > 0 && cells[at - 1].tag() >= tag {
            at -= 1;
        }
        at
    }

    fn insert(&mut self, cell: Cell) {
        if self.len == self.capacity {
            self.resize(self.len() + STEP);
        }
        let at = self.lower_bound(cell.tag());
        // SAFETY: there is room for one more, and `at` is not beyond the last cell.
        unsafe {
            let place = self.cells.add(at);
            place.add(1).copy_from(place, self.len() - at);
            place.write(cell);
        }
        self.len += 1;
    }

    fn remove(&mut self, at: usize) {
        debug_assert!(at < self.len(), "a cell is removed");
        // SAFETY: the cells behind `at` move down by one.
        unsafe {
            let place = self.cells.add(at);
            place.copy_from(place.add(1), self.len() - at - 1);
        }
        self.len -= 1;
        let wanted = self.len().next_multiple_of(STEP);
        if usize::from(self.capacity) >= wanted + 2 * STEP || self.len == 0 {
            self.resize(wanted);
        }
    }

    /// Appends a cell that sorts after all others.
    fn push(&mut self, cell: Cell) {
        debug_assert!(self.len < self.capacity, "room was made ahead");
        // SAFETY: there is room for one more.
        unsafe { self.cells.add(self.len()).write(cell) };
        self.len += 1;
    }
}

/// The members by hash.
#[derive(Debug)]
pub(super) struct Index {
    directory: Vec<Segment>,
    /// The directory has two to the power of this many entries.
    depth: u8,
    /// The number of segments that have the depth of the directory.
    deepest: usize,
    heap_bytes: usize,
}

impl Index {
    pub(super) fn new() -> Self {
        let directory = vec![Segment::new(0)];
        let heap_bytes = block_bytes(size_of::<Segment>());
        Self { directory, depth: 0, deepest: 1, heap_bytes }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.heap_bytes
    }

    #[inline]
    fn place(&self, hash: u64) -> usize {
        if self.depth == 0 { 0 } else { (hash >> (64 - self.depth)) as usize }
    }

    /// Prefetches the cells among which the member with this hash is.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        let segment = self.directory[self.place(hash)];
        let near = (usize::from(hash as u16) * segment.len()) >> 16;
        prefetch(segment.cells.as_ptr().wrapping_add(near).cast());
    }

    /// The member with this hash and these bytes; `None` if it is missing.
    #[inline]
    pub(super) fn find(&self, hash: u64, bytes: &[u8]) -> Option<Member> {
        let segment = self.directory[self.place(hash)];
        let cells = segment.cells();
        let tag = hash as u16;
        cells[segment.lower_bound(tag)..]
            .iter()
            .take_while(|cell| cell.tag() == tag)
            .map(|cell| cell.member())
            .find(|member| member.bytes() == bytes)
    }

    /// The entries of the directory that refer to the same segment as this one.
    fn copies(&self, place: usize, depth: u8) -> std::ops::Range<usize> {
        let count = 1 << (self.depth - depth);
        let first = place & !(count - 1);
        first..first + count
    }

    /// Changes the segment of a directory entry.
    fn change(&mut self, place: usize, change: impl FnOnce(&mut Segment)) {
        let mut segment = self.directory[place];
        let before = segment.heap_bytes();
        change(&mut segment);
        self.heap_bytes = self.heap_bytes - before + segment.heap_bytes();
        let copies = self.copies(place, segment.depth);
        self.directory[copies].fill(segment);
    }

    /// Adds a member that is not in the index.
    pub(super) fn insert(&mut self, hash: u64, member: Member, hash_of: impl Fn(Member) -> u64) {
        while self.directory[self.place(hash)].len() >= SEGMENT_LEN_MAX {
            if !self.split(self.place(hash), &hash_of) {
                break;
            }
        }
        self.change(self.place(hash), |segment| segment.insert(Cell::new(hash as u16, member)));
    }

    /// The position of a member's cell in the segment of a directory entry.
    fn cell_of(&self, place: usize, hash: u64, member: Member) -> usize {
        let segment = self.directory[place];
        let from = segment.lower_bound(hash as u16);
        let address = member.address();
        let behind = segment.cells()[from..].iter().position(|cell| cell.address() == address);
        from + behind.expect("because every member is in the index")
    }

    /// Removes a member.
    pub(super) fn remove(&mut self, hash: u64, member: Member) {
        let place = self.place(hash);
        let at = self.cell_of(place, hash, member);
        self.change(place, |segment| segment.remove(at));
        self.merge(place);
    }

    /// Replaces a member by another one with the same bytes.
    pub(super) fn replace(&mut self, hash: u64, old: Member, new: Member) {
        let place = self.place(hash);
        let at = self.cell_of(place, hash, old);
        // SAFETY: the cell is there, and nothing refers to it.
        unsafe { self.directory[place].cells.add(at).write(Cell::new(hash as u16, new)) };
    }

    /// Splits the segment of a directory entry, unless the directory would become too large for its
    /// content.
    fn split(&mut self, place: usize, hash_of: impl Fn(Member) -> u64) -> bool {
        let mut old = self.directory[place];
        let mut place = place;
        if old.depth == self.depth {
            if !self.deepen() {
                return false;
            }
            place *= 2;
        }
        let bit = 63 - old.depth;
        let is_right = |cell: &Cell| hash_of(cell.member()) >> bit & 1 == 1;
        let mut halves = [Segment::new(old.depth + 1); 2];
        let sides: Vec<bool> = old.cells().iter().map(is_right).collect();
        let right = sides.iter().filter(|is_right| **is_right).count();
        halves[0].resize((old.len() - right).next_multiple_of(STEP));
        halves[1].resize(right.next_multiple_of(STEP));
        for (cell, is_right) in old.cells().iter().zip(sides) {
            halves[usize::from(is_right)].push(*cell);
        }
        let copies = self.copies(place, old.depth);
        self.heap_bytes -= old.heap_bytes();
        old.len = 0;
        old.resize(0);
        self.heap_bytes += halves[0].heap_bytes() + halves[1].heap_bytes();
        let middle = copies.start + copies.len() / 2;
        self.directory[copies.start..middle].fill(halves[0]);
        self.directory[middle..copies.end].fill(halves[1]);
        if halves[0].depth == self.depth {
            self.deepest += 2;
        }
        true
    }

    /// Doubles the directory, unless it would become too large for its content.
    fn deepen(&mut self) -> bool {
        // With evenly spread hashes, there are about 96 cells or more per entry.
        let cells: usize = self.directory.iter().take(64).map(Segment::len).sum();
        let too_sparse = self.directory.len() >= 64 && cells < 64 * 16;
        if self.depth == DEPTH_MAX || too_sparse {
            return false;
        }
        self.directory = self.directory.iter().flat_map(|segment| [*segment; 2]).collect();
        self.note_directory(self.directory.len() / 2);
        self.depth += 1;
        self.deepest = 0;
        true
    }

    fn note_directory(&mut self, len_before: usize) {
        self.heap_bytes -= block_bytes(len_before * size_of::<Segment>());
        self.heap_bytes += block_bytes(self.directory.len() * size_of::<Segment>());
    }

    /// Merges the segment of a directory entry with its twin, if both are nearly empty.
    fn merge(&mut self, place: usize) {
        let one = self.directory[place];
        if one.depth == 0 || one.len() > MERGED_LEN_MAX / 2 {
            return;
        }
        let both = self.copies(place, one.depth - 1);
        let mut halves = [self.directory[both.start], self.directory[both.end - 1]];
        let len = halves[0].len() + halves[1].len();
        if halves[0].depth != halves[1].depth || len > MERGED_LEN_MAX {
            return;
        }
        let mut merged = Segment::new(one.depth - 1);
        merged.resize(len.next_multiple_of(STEP));
        let (mut left, mut right) = (halves[0].cells().iter(), halves[1].cells().iter().peekable());
        for cell in left.by_ref() {
            while let Some(other) = right.next_if(|other| other.tag() < cell.tag()) {
                merged.push(*other);
            }
            merged.push(*cell);
        }
        right.for_each(|cell| merged.push(*cell));
        self.heap_bytes += merged.heap_bytes();
        for half in &mut halves {
            self.heap_bytes -= half.heap_bytes();
            half.len = 0;
            half.resize(0);
        }
        self.directory[both].fill(merged);
        if one.depth == self.depth {
            self.deepest -= 2;
        }
        self.flatten();
    }

    /// Halves the directory while no segment needs all of its bits.
    fn flatten(&mut self) {
        while self.deepest == 0 && self.depth > 0 {
            let len = self.directory.len();
            self.directory = self.directory.iter().step_by(2).copied().collect();
            self.note_directory(len);
            self.depth -= 1;
            let deepest = self.directory.iter().filter(|segment| segment.depth == self.depth);
            self.deepest = deepest.count();
        }
    }

    /// Visits about `count` members (at least one, if any is left) from a cursor's position on.
    /// Returns the next cursor, 0 at the end. A member that is in the index from the first to the
    /// last call of a scan is visited, whatever is added or removed meanwhile.
    pub(super) fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(Member)) -> u64 {
        let mut at = Cursor::from_number(cursor);
        let mut left = count;
        loop {
            let place = self.place(u64::from(at.prefix) << 32);
            let segment = self.directory[place];
            // A segment that has split or merged since is visited again.
            let from = if at.depth == segment.depth { segment.lower_bound(at.tag) } else { 0 };
            let cells = segment.cells();
            let mut next = from;
            while next < cells.len() {
                let tag = cells[next].tag();
                if left == 0 {
                    let first = place & !((1 << (self.depth - segment.depth)) - 1);
                    let prefix = ((first as u64) << (64 - self.depth.max(1)) >> 32) as u32;
                    let prefix = if self.depth == 0 { 0 } else { prefix };
                    // Never 0: either the tag is above that of a visited cell, or the scan has
                    // begun.
                    return Cursor { prefix, depth: segment.depth, tag }.number();
                }
                // Cells with the same tag stay together: a cursor cannot be between them.
                while next < cells.len() && cells[next].tag() == tag {
                    visit(cells[next].member());
                    next += 1;
                    left = left.saturating_sub(1);
                }
            }
            let behind = self.copies(place, segment.depth).end;
            if behind == self.directory.len() {
                return 0;
            }
            let prefix = ((behind as u64) << (64 - self.depth) >> 32) as u32;
            at = Cursor { prefix, depth: self.directory[behind].depth, tag: 0 };
            if left == 0 {
                return at.number();
            }
        }
    }

    /// Checks the invariants of all segments.
    #[cfg(test)]
    pub(super) fn check(&self, hash_of: impl Fn(Member) -> u64) {
        assert_eq!(self.directory.len(), 1 << self.depth);
        let mut heap_bytes = block_bytes(self.directory.len() * size_of::<Segment>());
        let (mut place, mut deepest) = (0, 0);
        while place < self.directory.len() {
            let segment = self.directory[place];
            let copies = self.copies(place, segment.depth);
            assert_eq!(copies.start, place);
            assert!(self.directory[copies.clone()].iter().all(|copy| copy.cells == segment.cells));
            for cell in segment.cells() {
                let hash = hash_of(cell.member());
                assert!(cell.tag() == hash as u16 && copies.contains(&self.place(hash)));
            }
            assert!(segment.cells().is_sorted_by_key(|cell| cell.tag()));
            heap_bytes += segment.heap_bytes();
            deepest += usize::from(segment.depth == self.depth);
            place = copies.end;
        }
        assert_eq!((self.heap_bytes, self.deepest), (heap_bytes, deepest));
    }

    /// Frees the memory of about `count` cells, without access to the members, which are freed
    /// already.
    pub(super) fn release_some(&mut self, count: usize) {
        let mut left = count;
        while let Some(mut segment) = self.directory.last().copied() {
            if left == 0 {
                return;
            }
            left = left.saturating_sub(segment.len().max(1));
            let copies = 1 << (self.depth - segment.depth);
            self.heap_bytes -= segment.heap_bytes();
            segment.len = 0;
            segment.resize(0);
            self.directory.truncate(self.directory.len() - copies);
        }
        let capacity = 1 << self.depth;
        if self.directory.capacity() > 0 {
            self.directory = Vec::new();
            self.heap_bytes -= block_bytes(capacity * size_of::<Segment>());
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.release_some(usize::MAX);
    }
}
