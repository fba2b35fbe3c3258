//! Page: some of the members whose hashes share their low bits, packed into one block.
//!
//! ```text
//! │count capacity start far│ tags n × 1 │ offsets n × 2 │   room   │ item │ item │ … n items │
//! └────── 4 × u16 ─────────┘                                       ^start
//! ```
//!
//! A tag is the top byte of a member's hash; sixteen tags are compared at once, as in SwissTable.
//! Items are adjacent, the newest first. Every byte of a page is initialized, free ones too, so
//! that only the allocation of the block needs unsafe code.
//!
//! Not here: the format of an item (`item`), which page a member belongs to (`members`).

use std::ptr::NonNull;

use super::item;
use crate::block;
use crate::prefetch::prefetch;

const COUNT_AT: usize = 0;
const CAPACITY_AT: usize = 2;
const START_AT: usize = 4;
const FAR_AT: usize = 6;
const HEADER_BYTES: usize = 8;
/// The overhead of an item: tag and offset.
const CELL_BYTES: usize = 3;
const GROUP: usize = 16;

/// A whole group of tags can be read from the smallest page. A page with more items than this has
/// tags and offsets that are longer than the rest of the last group.
const PAGE_BYTES_MIN: usize = 64;

/// LIMIT: offsets have 16 bits. Pages stay far below, since hashes are spread evenly.
const PAGE_BYTES_MAX: usize = (u16::MAX as usize + 1) - block::LINE_BYTES;

/// Owns its block, and the far items' blocks.
#[derive(Debug)]
pub(super) struct Page(NonNull<u8>);

// SAFETY: a page owns its block and its far items alone; nothing in them is tied to a thread.
unsafe impl Send for Page {}

/// A bit mask of the tags in a group that equal `tag`.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn matches(group: &[u8; GROUP], tag: u8) -> u32 {
    group.iter().enumerate().fold(0, |hits, (at, &other)| hits | u32::from(other == tag) << at)
}

/// A bit mask of the tags in a group that equal `tag`.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn matches(group: &[u8; GROUP], tag: u8) -> u32 {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { matches_sse2(group, tag) }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "sse2")]
#[inline]
fn matches_sse2(group: &[u8; GROUP], tag: u8) -> u32 {
    use core::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8};
    // SAFETY: a group is the 16 bytes of a vector, which this load takes at any address.
    let tags = unsafe { _mm_loadu_si128(group.as_ptr().cast()) };
    _mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8(tag.cast_signed()))) as u32
}

impl Page {
    /// An empty page with room for items of `bytes` in total.
    pub(super) fn with_room(items: usize, bytes: usize) -> Self {
        let wanted = HEADER_BYTES + items * CELL_BYTES + bytes;
        let capacity = block::block_bytes(wanted.max(PAGE_BYTES_MIN));
        assert!(capacity <= PAGE_BYTES_MAX, "hashes spread members evenly over the pages");
        let block = block::allocate(capacity);
        // SAFETY: the block is new and this long.
        unsafe { block.write_bytes(0, capacity) };
        let mut page = Self(block);
        // SAFETY: a page is longer than its header. The capacity comes before `bytes_mut` reads it.
        unsafe {
            block.add(CAPACITY_AT).cast::<[u8; 2]>().write((capacity as u16).to_le_bytes());
        }
        page.set(START_AT, capacity);
        page
    }

    /// The same page in another block; it must have no far items, which it owns alone.
    pub(super) fn copy(&self) -> Self {
        assert!(self.word(FAR_AT) == 0, "far items belong to one page");
        let mut copy = Self::with_room(0, self.capacity() - HEADER_BYTES);
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
    }

    /// The size of its block in bytes.
    #[inline]
    pub(super) fn capacity(&self) -> usize {
        // SAFETY: a page is longer than its header, all of which is written.
        let capacity = unsafe { self.0.add(CAPACITY_AT).cast::<[u8; 2]>().read() };
        usize::from(u16::from_le_bytes(capacity))
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: the block is this long, and all of it is written.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr(), self.capacity()) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and the page is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), self.capacity()) }
    }

    #[inline]
    fn word(&self, at: usize) -> usize {
        let bytes = self.bytes();
        usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
    }

    #[inline]
    fn set(&mut self, at: usize, word: usize) {
        self.bytes_mut()[at..at + 2].copy_from_slice(&(word as u16).to_le_bytes());
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.word(COUNT_AT)
    }

    /// Prefetches the lines that a search reads first.
    #[inline]
    pub(super) fn prefetch(&self) {
        let page = self.0.as_ptr().cast_const();
        prefetch(page);
        prefetch(page.wrapping_add(block::LINE_BYTES));
    }

    #[inline]
    fn offset_at(&self, index: usize) -> usize {
        HEADER_BYTES + self.len() + 2 * index
    }

    /// The page's bytes from an item on.
    #[inline]
    pub(super) fn item(&self, index: usize) -> &[u8] {
        debug_assert!(index < self.len(), "an item is asked for by its index");
        &self.bytes()[self.word(self.offset_at(index))..]
    }

    #[inline]
    fn tag(&self, index: usize) -> u8 {
        self.bytes()[HEADER_BYTES + index]
    }

    /// Prefetches the first lines of [`Self::items`] if the page's head is cached.
    #[inline]
    pub(super) fn prefetch_items(&self) {
        let items = self.items().as_ptr();
        prefetch(items);
        prefetch(items.wrapping_add(block::LINE_BYTES));
    }

    /// The items, in the order of the bytes.
    pub(super) fn items(&self) -> &[u8] {
        &self.bytes()[self.word(START_AT)..]
    }

    /// The index of the item with this tag for which `accept` returns true.
    #[inline]
    pub(super) fn find(&self, tag: u8, accept: impl Fn(&[u8]) -> bool) -> Option<usize> {
        let count = self.len();
        let groups = &self.bytes()[HEADER_BYTES..];
        let mut first = 0;
        while first < count {
            let group = groups[first..].first_chunk().expect("a page ends behind its last group");
            let mut hits = matches(group, tag);
            if count - first < GROUP {
                hits &= (1 << (count - first)) - 1;
            }
            while hits != 0 {
                let index = first + hits.trailing_zeros() as usize;
                hits &= hits - 1;
                if accept(self.item(index)) {
                    return Some(index);
                }
            }
            first += GROUP;
        }
        None
    }

    /// Prefetches the line of the first item with this tag.
    #[inline]
    pub(super) fn prefetch_item(&self, tag: u8) {
        self.find(tag, |item| {
            prefetch(item.as_ptr());
            true
        });
    }

    fn room(&self) -> usize {
        self.word(START_AT) - HEADER_BYTES - self.len() * CELL_BYTES
    }

    /// Adds an item of `bytes`, which `write` fills in.
    #[inline]
    pub(super) fn add(&mut self, tag: u8, bytes: usize, write: impl FnOnce(&mut [u8])) {
        if self.room() < bytes + CELL_BYTES {
            // Grows by a sixteenth: an item or two per copied block, and a thirtieth of unused
            // space.
            let used = self.capacity() - self.room();
            self.move_to(bytes + used / 16);
        }
        let count = self.len();
        let start = self.word(START_AT) - bytes;
        let offsets = HEADER_BYTES + count;
        let page = self.bytes_mut();
        page.copy_within(offsets..offsets + 2 * count, offsets + 1);
        page[offsets] = tag;
        let end = offsets + 1 + 2 * count;
        page[end..end + 2].copy_from_slice(&(start as u16).to_le_bytes());
        let item = &mut page[start..start + bytes];
        write(item);
        let is_far = item::is_far(item);
        self.set(COUNT_AT, count + 1);
        self.set(START_AT, start);
        self.set(FAR_AT, self.word(FAR_AT) + usize::from(is_far));
    }

    /// Removes an item of `bytes`. The block of a far item is then the caller's.
    pub(super) fn remove(&mut self, index: usize, bytes: usize) {
        let count = self.len();
        let (start, at) = (self.word(START_AT), self.word(self.offset_at(index)));
        let is_far = item::is_far(self.item(index));
        let page = self.bytes_mut();
        page.copy_within(start..at, start + bytes);
        let (tags, offsets) = page[HEADER_BYTES..].split_at_mut(count);
        let (offsets, _) = offsets[..2 * count].as_chunks_mut::<2>();
        for offset in &mut *offsets {
            let word = u16::from_le_bytes(*offset);
            let moved = if usize::from(word) < at { bytes as u16 } else { 0 };
            *offset = (word + moved).to_le_bytes();
        }
        tags[index] = tags[count - 1];
        offsets[index] = offsets[count - 1];
        let offsets = HEADER_BYTES + count;
        page.copy_within(offsets..offsets + 2 * (count - 1), offsets - 1);
        self.set(COUNT_AT, count - 1);
        self.set(START_AT, start + bytes);
        self.set(FAR_AT, self.word(FAR_AT) - usize::from(is_far));
        if self.room() > 2 * PAGE_BYTES_MIN + self.capacity() / 4 {
            self.move_to(0);
        }
    }

    /// Overwrites an item by another of the same length and the same kind.
    #[inline]
    pub(super) fn overwrite(&mut self, index: usize, bytes: usize, write: impl FnOnce(&mut [u8])) {
        let at = self.word(self.offset_at(index));
        write(&mut self.bytes_mut()[at..at + bytes]);
    }

    /// Moves to a block with room for one more item and `room` bytes.
    fn move_to(&mut self, room: usize) {
        let (count, start) = (self.len(), self.word(START_AT));
        let items = &self.bytes()[start..];
        let mut next = Self::with_room(count + 1, items.len() + room);
        let next_start = next.capacity() - items.len();
        next.bytes_mut()[next_start..].copy_from_slice(items);
        let cells = HEADER_BYTES + count * CELL_BYTES;
        next.bytes_mut()[HEADER_BYTES..cells].copy_from_slice(&self.bytes()[HEADER_BYTES..cells]);
        let (offsets, _) = next.bytes_mut()[HEADER_BYTES + count..cells].as_chunks_mut::<2>();
        for offset in offsets {
            let word = usize::from(u16::from_le_bytes(*offset)) - start + next_start;
            *offset = (word as u16).to_le_bytes();
        }
        next.set(COUNT_AT, count);
        next.set(START_AT, next_start);
        next.set(FAR_AT, self.word(FAR_AT));
        self.forget_items();
        *self = next;
    }

    /// The far items have another owner from here on.
    fn forget_items(&mut self) {
        self.set(COUNT_AT, 0);
        self.set(FAR_AT, 0);
        self.set(START_AT, self.capacity());
    }

    /// Splits the items between two pages: those for which `moves` returns true, given the page's
    /// bytes from the item on, go to the second page. `size` returns an item's size in bytes.
    pub(super) fn divide(
        mut self,
        size: impl Fn(&[u8]) -> usize,
        moves: impl Fn(&[u8]) -> bool,
    ) -> [Self; 2] {
        let moved: Vec<bool> = (0..self.len()).map(|index| moves(self.item(index))).collect();
        let mut wanted = [(0, 0); 2];
        for (index, &moved) in moved.iter().enumerate() {
            let (items, bytes) = &mut wanted[usize::from(moved)];
            *items += 1;
            *bytes += size(self.item(index));
        }
        let mut pages = wanted.map(|(items, bytes)| Self::with_room(items, bytes));
        for (index, &moved) in moved.iter().enumerate() {
            pages[usize::from(moved)].add_copy(&self, index, &size);
        }
        self.forget_items();
        pages
    }

    /// Takes all items of another page.
    pub(super) fn absorb(&mut self, mut other: Self, size: impl Fn(&[u8]) -> usize) {
        if self.room() < other.capacity() - other.room() {
            self.move_to(other.items().len() + other.len() * CELL_BYTES);
        }
        for index in 0..other.len() {
            self.add_copy(&other, index, &size);
        }
        other.forget_items();
    }

    fn add_copy(&mut self, other: &Self, index: usize, size: impl Fn(&[u8]) -> usize) {
        let item = other.item(index);
        let bytes = size(item);
        self.add(other.tag(index), bytes, |place| place.copy_from_slice(&item[..bytes]));
    }

    /// The tags in the order of the items' indexes; for checks.
    #[cfg(test)]
    pub(super) fn tags(&self) -> &[u8] {
        &self.bytes()[HEADER_BYTES..HEADER_BYTES + self.len()]
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if self.word(FAR_AT) > 0 {
            for index in 0..self.len() {
                item::release_far(self.item(index));
            }
        }
        // SAFETY: the block was allocated with this capacity, and goes with the page.
        unsafe { block::release(self.0, self.capacity()) };
    }
}
