//! Table: the entries of one slot, found by hash.
//!
//! Open addressing over buckets of one cache line. A cell has 8 bytes: the address of the entry's
//! block and, in the 16 bits that addresses leave free, the top of the key's hash (its *tag*). The
//! tag alone decides a cell's home bucket, so growing never reads an entry; and because homes
//! follow the order of tags, the table can grow by an eighth as well as by half, and SCAN's cursor
//! is simply a tag.
//!
//! ```text
//! bucket  │tag address│tag address│ … 8 cells … │  64 bytes, one cache line
//! home(tag, n) = tag · n / 2^16                    cells beyond a full home go to the next buckets
//! ```
//!
//! Invariant: a cell with home h in bucket b has only full buckets from h to b − 1 (cyclic).
//! Lookups have stages (`prefetch_bucket`, `prefetch_entry`, `find`), so that the memory of many
//! keys can be fetched in parallel.
//!
//! Not here: the block's content (`entry`), which slot a key belongs to (`keyspace`).

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::block;
use crate::entry::Entry;
use crate::hash::KeyHasher;
use crate::prefetch::prefetch;

const BUCKET_CELLS: usize = 8;
const BUCKET_BYTES: usize = size_of::<Bucket>();

const _: () = assert!(BUCKET_BYTES == block::LINE_BYTES, "a bucket is a line");
const ADDRESS_MASK: u64 = (1 << 48) - 1;
const TAG_SHIFT: u32 = 48;

/// Up to this size tags alone spread the homes well enough; above it, growing reads the keys.
const BUCKETS_BY_TAG_MAX: usize = 1 << 13;

type Bucket = [u64; BUCKET_CELLS];

/// The number of tags: the range of a scan's cursor.
pub const TAGS: u32 = 1 << 16;

/// The entries of one slot.
#[derive(Debug)]
pub struct Table {
    buckets: NonNull<Bucket>,
    bucket_count: u32,
    len: u32,
}

const _: () = assert!(size_of::<Table>() == 16, "there are 16,384 tables per database");

// SAFETY: a table owns its cells and their entries alone; nothing in it is tied to a thread.
unsafe impl Send for Table {}

/// The position of an entry, valid until the table next changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(u32);

/// A borrowed entry.
pub struct EntryRef<'a> {
    entry: ManuallyDrop<Entry>,
    table: std::marker::PhantomData<&'a Table>,
}

impl Deref for EntryRef<'_> {
    type Target = Entry;
    #[inline]
    fn deref(&self) -> &Entry {
        &self.entry
    }
}

/// An entry borrowed to be changed; it may move to another block meanwhile.
pub struct EntryMut<'a> {
    entry: ManuallyDrop<Entry>,
    cell: &'a mut u64,
}

impl Deref for EntryMut<'_> {
    type Target = Entry;
    #[inline]
    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl DerefMut for EntryMut<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }
}

impl Drop for EntryMut<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the entry is taken once, here, and goes back to the cell it came from.
        let entry = unsafe { ManuallyDrop::take(&mut self.entry) };
        *self.cell = (*self.cell & !ADDRESS_MASK) | entry.into_address();
    }
}

#[inline]
fn tag(hash: u64) -> u64 {
    hash >> TAG_SHIFT
}

/// The home bucket of a hash in a table of `bucket_count` buckets.
#[inline]
fn home(hash: u64, bucket_count: usize) -> usize {
    let order =
        if bucket_count <= BUCKETS_BY_TAG_MAX { (hash >> 32) & 0xFFFF_0000 } else { hash >> 32 };
    ((order * bucket_count as u64) >> 32) as usize
}

/// The number of entries at which a table of this many buckets grows.
#[inline]
const fn capacity(bucket_count: usize) -> usize {
    let cells = bucket_count * BUCKET_CELLS;
    cells - cells * 3 / 32
}

/// The next larger size: eight steps per doubling, so that cells are never far from full.
const fn larger(bucket_count: usize) -> usize {
    if bucket_count < 16 {
        return bucket_count + 1;
    }
    bucket_count + (1 << (bucket_count.ilog2() - 3))
}

/// Whether two keys are equal; short ones are compared without a call.
#[inline]
pub(crate) fn same_bytes(one: &[u8], other: &[u8]) -> bool {
    const SHORT: usize = 32;
    if one.len() != other.len() {
        return false;
    }
    if one.len() > SHORT {
        return one == other;
    }
    let (words, rest) = one.as_chunks::<8>();
    let (other_words, other_rest) = other.as_chunks::<8>();
    words.iter().zip(other_words).all(|(a, b)| a == b)
        && rest.iter().zip(other_rest).all(|(a, b)| a == b)
}

/// A set of cells of one bucket, as the upper bits of pairs of bits.
#[derive(Clone, Copy)]
struct Hits(u32);

impl Iterator for Hits {
    type Item = usize;
    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let cell = self.0.trailing_zeros() as usize / 2;
        self.0 &= self.0 - 1;
        Some(cell)
    }
}

/// The cells of a bucket that have the tag. An empty cell has the tag 0.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[inline]
fn hits(bucket: &Bucket, tag: u64) -> Hits {
    let bit = |(cell, &word): (usize, &u64)| u32::from(word >> TAG_SHIFT == tag) << (2 * cell + 1);
    Hits(bucket.iter().enumerate().map(bit).sum())
}

/// The cells of a bucket that have the tag. An empty cell has the tag 0. All cells are compared at
/// once.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
fn hits(bucket: &Bucket, tag: u64) -> Hits {
    // SAFETY: every x86-64 processor has SSE2.
    unsafe { hits_sse2(bucket, tag) }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "sse2")]
#[inline]
fn hits_sse2(bucket: &Bucket, tag: u64) -> Hits {
    use core::arch::x86_64::{
        __m128i, _mm_cmpeq_epi16, _mm_load_si128, _mm_movemask_epi8, _mm_packs_epi16,
        _mm_packs_epi32, _mm_set1_epi16, _mm_srai_epi32,
    };
    let lanes: *const __m128i = bucket.as_ptr().cast();
    // SAFETY: a bucket has 64 bytes and is aligned to 64, so it is four aligned vectors.
    let words = unsafe {
        [
            _mm_load_si128(lanes),
            _mm_load_si128(lanes.add(1)),
            _mm_load_si128(lanes.add(2)),
            _mm_load_si128(lanes.add(3)),
        ]
    };
    // The upper 16 bits of every half cell, sign included, so that packing keeps them: alternately
    // a part of the address and the tag.
    let uppers = words.map(|word| _mm_srai_epi32::<16>(word));
    let wanted = _mm_set1_epi16(tag as i16);
    let first = _mm_cmpeq_epi16(_mm_packs_epi32(uppers[0], uppers[1]), wanted);
    let second = _mm_cmpeq_epi16(_mm_packs_epi32(uppers[2], uppers[3]), wanted);
    Hits(_mm_movemask_epi8(_mm_packs_epi16(first, second)) as u32 & 0xAAAA)
}

/// Whether the bucket has an empty cell.
#[inline]
fn has_room(bucket: &Bucket) -> bool {
    bucket.contains(&0)
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    pub const fn new() -> Self {
        Self { buckets: NonNull::dangling(), bucket_count: 0, len: 0 }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The heap bytes of the cells, without the entries. O(1).
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        self.bucket_count as usize * BUCKET_BYTES
    }

    #[inline]
    fn buckets(&self) -> &[Bucket] {
        // SAFETY: `buckets` points to `bucket_count` initialised buckets, or dangles with a count of 0.
        unsafe { std::slice::from_raw_parts(self.buckets.as_ptr(), self.bucket_count as usize) }
    }

    #[inline]
    fn buckets_mut(&mut self) -> &mut [Bucket] {
        // SAFETY: as in `buckets`, and the table is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.buckets.as_ptr(), self.bucket_count as usize) }
    }

    #[inline]
    fn cell(&self, place: Place) -> u64 {
        self.buckets()[place.0 as usize / BUCKET_CELLS][place.0 as usize % BUCKET_CELLS]
    }

    /// Prefetches the key's home bucket and the next one, where its cell may have been displaced.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        if self.bucket_count != 0 {
            let index = home(hash, self.bucket_count as usize);
            let bucket = self.buckets.as_ptr().wrapping_add(index);
            prefetch(bucket.cast_const().cast());
            prefetch(bucket.wrapping_add(1).cast_const().cast());
        }
    }

    /// Prefetches the block of the entry that is likely the key's. Its buckets should be cached by
    /// now.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        let buckets = self.buckets();
        if buckets.is_empty() {
            return;
        }
        let first = home(hash, buckets.len());
        for index in [first, first + 1] {
            let Some(bucket) = buckets.get(index) else { return };
            if let Some(cell) = hits(bucket, tag(hash)).next() {
                return Entry::prefetch_address(bucket[cell] & ADDRESS_MASK);
            }
            if has_room(bucket) {
                return;
            }
        }
    }

    /// The position of a key's entry, which is valid until the table next changes; `None` if it is
    /// missing.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let buckets = self.buckets();
        if buckets.is_empty() {
            return None;
        }
        let tag = tag(hash);
        let mut index = home(hash, buckets.len());
        for _ in 0..buckets.len() {
            let bucket = &buckets[index];
            for cell in hits(bucket, tag) {
                let address = bucket[cell] & ADDRESS_MASK;
                if address == 0 {
                    continue;
                }
                // SAFETY: a cell that is not empty owns the entry at its address; the copy is never
                // dropped.
                let entry = ManuallyDrop::new(unsafe { Entry::from_address(address) });
                if same_bytes(entry.key(), key) {
                    return Some(Place((index * BUCKET_CELLS + cell) as u32));
                }
            }
            if has_room(bucket) {
                return None;
            }
            index += 1;
            if index == buckets.len() {
                index = 0;
            }
        }
        None
    }

    /// The entry at a position that was found since the table last changed.
    #[inline]
    pub fn entry(&self, place: Place) -> EntryRef<'_> {
        let address = self.cell(place) & ADDRESS_MASK;
        assert!(address != 0, "a place is used before the table changes");
        // SAFETY: a cell that is not empty owns the entry at its address; the copy is never dropped.
        let entry = ManuallyDrop::new(unsafe { Entry::from_address(address) });
        EntryRef { entry, table: std::marker::PhantomData }
    }

    /// The entry at a position that was found since the table last changed, to be changed.
    #[inline]
    pub fn entry_mut(&mut self, place: Place) -> EntryMut<'_> {
        let (bucket, cell) = (place.0 as usize / BUCKET_CELLS, place.0 as usize % BUCKET_CELLS);
        let cell = &mut self.buckets_mut()[bucket][cell];
        let address = *cell & ADDRESS_MASK;
        assert!(address != 0, "a place is used before the table changes");
        // SAFETY: a cell that is not empty owns the entry at its address; the guard puts it back.
        let entry = ManuallyDrop::new(unsafe { Entry::from_address(address) });
        EntryMut { entry, cell }
    }

    /// Writes the LRU or LFU word of the entry at a position, and returns the entry.
    #[inline]
    pub fn touch(&mut self, place: Place, access: u32) -> EntryRef<'_> {
        let mut entry = self.lend(place);
        entry.set_access(access);
        EntryRef { entry, table: std::marker::PhantomData }
    }

    /// [`Entry::overwrite_string`] for the entry at a position; its access word is written with it.
    #[inline]
    pub fn overwrite_string(
        &mut self,
        place: Place,
        value: &[u8],
        expire_at_ms: Option<u64>,
        access: u32,
    ) -> bool {
        let mut entry = self.lend(place);
        let done = entry.overwrite_string(value, expire_at_ms);
        if done {
            entry.set_access(access);
        }
        done
    }

    /// The entry at a position, for a change that leaves it in its block, so that its cell need not
    /// be rewritten.
    #[inline]
    fn lend(&mut self, place: Place) -> ManuallyDrop<Entry> {
        let address = self.cell(place) & ADDRESS_MASK;
        assert!(address != 0, "a place is used before the table changes");
        // SAFETY: a cell that is not empty owns the entry at its address; the copy is never dropped.
        ManuallyDrop::new(unsafe { Entry::from_address(address) })
    }

    /// Adds an entry whose key is not in the table.
    pub fn insert(&mut self, hash: u64, entry: Entry, hasher: &KeyHasher) -> Place {
        if self.len as usize >= capacity(self.bucket_count as usize) {
            self.resize(larger(self.bucket_count as usize), hasher);
        }
        let word = (tag(hash) << TAG_SHIFT) | entry.into_address();
        let place = put(self.buckets_mut(), hash, word);
        self.len += 1;
        place
    }

    /// Removes and returns the entry at a position.
    pub fn remove(&mut self, place: Place, hasher: &KeyHasher) -> Entry {
        let word = self.cell(place);
        assert!(word != 0, "a place is used before the table changes");
        self.close_gap(place.0 as usize, hasher);
        self.len -= 1;
        let cells = self.bucket_count as usize * BUCKET_CELLS;
        if (self.len as usize) < cells * 3 / 8 {
            self.shrink(hasher);
        }
        // SAFETY: the cell owned the entry and is empty now.
        unsafe { Entry::from_address(word & ADDRESS_MASK) }
    }

    /// Empties a cell and moves later cells back, so that no search ends too early.
    fn close_gap(&mut self, gap: usize, hasher: &KeyHasher) {
        let count = self.bucket_count as usize;
        let (mut gap_bucket, mut gap_cell) = (gap / BUCKET_CELLS, gap % BUCKET_CELLS);
        let was_full = self.buckets()[gap_bucket].iter().all(|&word| word != 0);
        self.buckets_mut()[gap_bucket][gap_cell] = 0;
        if !was_full {
            return;
        }
        let mut distance = 1;
        while distance < count {
            let index = (gap_bucket + distance) % count;
            let bucket = self.buckets()[index];
            let movable = bucket.iter().position(|&word| {
                word != 0 && {
                    let displaced = (index + count - self.home_of(word, hasher)) % count;
                    displaced >= distance
                }
            });
            if let Some(cell) = movable {
                self.buckets_mut()[gap_bucket][gap_cell] = bucket[cell];
                self.buckets_mut()[index][cell] = 0;
                if bucket.contains(&0) {
                    return;
                }
                (gap_bucket, gap_cell, distance) = (index, cell, 1);
            } else if bucket.contains(&0) {
                return;
            } else {
                distance += 1;
            }
        }
    }

    #[inline]
    fn home_of(&self, word: u64, hasher: &KeyHasher) -> usize {
        home(hash_of(word, self.bucket_count as usize, hasher), self.bucket_count as usize)
    }

    fn shrink(&mut self, hasher: &KeyHasher) {
        let wanted = self.len as usize + self.len as usize / 4;
        let mut count = 0;
        while capacity(count) < wanted {
            count = larger(count);
        }
        if count < self.bucket_count as usize {
            self.resize(count, hasher);
        }
    }

    fn resize(&mut self, bucket_count: usize, hasher: &KeyHasher) {
        let next = Self { bucket_count: bucket_count as u32, ..Self::new() };
        let mut next = ManuallyDrop::new(next);
        if bucket_count > 0 {
            // Zeroed cells are empty cells.
            next.buckets = block::allocate_zeroed_lines(bucket_count, block::Page::Huge).cast();
        }
        for bucket in self.buckets() {
            for &word in bucket.iter().filter(|&&word| word != 0) {
                put(next.buckets_mut(), hash_of(word, bucket_count, hasher), word);
            }
        }
        self.release_cells();
        self.buckets = next.buckets;
        self.bucket_count = bucket_count as u32;
    }

    fn release_cells(&mut self) {
        if self.bucket_count > 0 {
            // SAFETY: the buckets are lines that were allocated; the count says they are still ours.
            unsafe { block::release_lines(self.buckets.cast(), self.bucket_count as usize) };
            self.bucket_count = 0;
            self.buckets = NonNull::dangling();
        }
    }

    /// Visits every entry whose tag is at least `from`, in groups of complete tags, until about
    /// `count` were visited. Returns the next tag, [`TAGS`] at the end. An entry that is present
    /// during a whole scan is visited at least once, however the table grows or shrinks.
    pub fn scan(&self, from: u32, count: usize, visit: &mut dyn FnMut(&Entry)) -> u32 {
        let buckets = self.bucket_count as usize;
        let mut from = from;
        let mut visited = 0;
        while from < TAGS && buckets > 0 {
            let first = home(u64::from(from) << TAG_SHIFT, buckets);
            // All tags that share this home: the first tag of the next bucket ends the group.
            let next = (((first as u64 + 1) << 16).div_ceil(buckets as u64)) as u32;
            let to = next.clamp(from + 1, TAGS);
            self.visit_tags(from, to, &mut |entry| {
                visited += 1;
                visit(entry);
            });
            from = to;
            if visited >= count {
                return from;
            }
        }
        TAGS
    }

    /// Visits every entry whose tag, the top 16 bits of its hash, is in `from..to`, which is not empty.
    pub fn visit_tags(&self, from: u32, to: u32, visit: &mut dyn FnMut(&Entry)) {
        self.find_tags(from, to, &mut |entry| {
            visit(entry);
            false
        });
    }

    /// The first entry whose tag is in `from..to` and for which `accept` returns true.
    fn find_tags(
        &self,
        from: u32,
        to: u32,
        accept: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<Place> {
        let count = self.bucket_count as usize;
        if count == 0 {
            return None;
        }
        let first = home(u64::from(from) << TAG_SHIFT, count);
        let last = home((u64::from(to - 1) << TAG_SHIFT) | 0xFFFF_FFFF_FFFF, count);
        for step in 0..count {
            let index = (first + step) % count;
            let bucket = &self.buckets()[index];
            for (cell, &word) in bucket.iter().enumerate().filter(|&(_, &word)| word != 0) {
                let tag = (word >> TAG_SHIFT) as u32;
                if (from..to).contains(&tag) && accept(&borrow(word)) {
                    return Some(Place((index * BUCKET_CELLS + cell) as u32));
                }
            }
            if step >= last - first && bucket.contains(&0) {
                break;
            }
        }
        None
    }

    /// Visits the entries whose hash starts with the same 16 bits as `hash`.
    pub fn visit_same_tag(&self, hash: u64, visit: &mut dyn FnMut(&Entry)) {
        let tag = tag(hash) as u32;
        self.visit_tags(tag, tag + 1, visit);
    }

    /// The first entry for which `accept` returns true among those whose hash starts with the same
    /// 16 bits.
    pub fn find_same_tag(
        &self,
        hash: u64,
        accept: &mut dyn FnMut(&Entry) -> bool,
    ) -> Option<Place> {
        let tag = tag(hash) as u32;
        self.find_tags(tag, tag + 1, accept)
    }

    /// Visits every entry.
    pub fn visit_all(&self, visit: &mut dyn FnMut(&Entry)) {
        for bucket in self.buckets() {
            for &word in bucket.iter().filter(|&&word| word != 0) {
                visit(&borrow(word));
            }
        }
    }

    /// An entry that `random` chooses, all with nearly the same probability; `None` if the table is
    /// empty.
    pub fn pick(&self, random: u64) -> Option<EntryRef<'_>> {
        let cells = self.bucket_count as usize * BUCKET_CELLS;
        if self.len == 0 {
            return None;
        }
        let mut state = random;
        loop {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            let cell = ((state >> 32) as usize * cells) >> 32;
            let word = self.buckets()[cell / BUCKET_CELLS][cell % BUCKET_CELLS];
            if word != 0 {
                return Some(borrow(word));
            }
        }
    }

    /// Removes up to `count` entries and passes them to `free`, which returns the heap bytes that
    /// it frees; the last call frees the cells as well. Returns the freed heap bytes. The table
    /// must not be used for lookups afterwards: they may miss entries.
    pub fn drop_some(&mut self, count: usize, free: &mut dyn FnMut(Entry) -> usize) -> usize {
        let bytes = self.heap_bytes();
        let (mut dropped, mut freed) = (0, 0);
        let mut live = self.bucket_count as usize;
        while live > 0 && self.len > 0 && dropped < count {
            live -= 1;
            for cell in 0..BUCKET_CELLS {
                let word = std::mem::take(&mut self.buckets_mut()[live][cell]);
                if word != 0 {
                    // SAFETY: the cell owned the entry and is empty now.
                    let entry = unsafe { Entry::from_address(word & ADDRESS_MASK) };
                    freed += free(entry);
                    self.len -= 1;
                    dropped += 1;
                }
            }
        }
        if self.len == 0 {
            self.release_cells();
        } else {
            self.keep_first_buckets(live);
        }
        freed + bytes - self.heap_bytes()
    }

    /// Frees all buckets but the first `live`; the others are empty.
    fn keep_first_buckets(&mut self, live: usize) {
        let buckets = self.buckets.cast();
        // SAFETY: the buckets are lines that were allocated. Some are kept, because entries are left,
        // which are in the live ones.
        let kept = unsafe { block::shrink_lines(buckets, self.bucket_count as usize, live) };
        self.buckets = kept.cast();
        self.bucket_count = live as u32;
    }

    /// Checks every invariant; for tests.
    #[doc(hidden)]
    pub fn verify(&self, hasher: &KeyHasher) {
        let mut seen = 0;
        for (index, bucket) in self.buckets().iter().enumerate() {
            for &word in bucket.iter().filter(|&&word| word != 0) {
                seen += 1;
                let hash = hasher.hash(borrow(word).key());
                assert_eq!(hash >> TAG_SHIFT, word >> TAG_SHIFT, "the tag is the hash's top");
                let mut at = home(hash, self.bucket_count as usize);
                while at != index {
                    assert!(!self.buckets()[at].contains(&0), "a search would stop at {at}");
                    at = (at + 1) % self.bucket_count as usize;
                }
            }
        }
        assert_eq!(seen, self.len(), "the count is the number of cells in use");
    }
}

#[inline]
fn borrow<'a>(word: u64) -> EntryRef<'a> {
    // SAFETY: callers hand in the word of a cell that is in use; the copy is never dropped.
    let entry = ManuallyDrop::new(unsafe { Entry::from_address(word & ADDRESS_MASK) });
    EntryRef { entry, table: std::marker::PhantomData }
}

/// The bits of a cell's hash that a table of `bucket_count` needs to place it.
#[inline]
fn hash_of(word: u64, bucket_count: usize, hasher: &KeyHasher) -> u64 {
    if bucket_count <= BUCKETS_BY_TAG_MAX { word } else { hasher.hash(borrow(word).key()) }
}

/// Puts a cell into the first free cell from its home on.
#[inline]
fn put(buckets: &mut [Bucket], hash: u64, word: u64) -> Place {
    let mut index = home(hash, buckets.len());
    loop {
        if let Some(cell) = buckets[index].iter().position(|&word| word == 0) {
            buckets[index][cell] = word;
            return Place((index * BUCKET_CELLS + cell) as u32);
        }
        index += 1;
        if index == buckets.len() {
            index = 0;
        }
    }
}

/// Frees an entry; returns the freed heap bytes.
#[expect(clippy::needless_pass_by_value, reason = "it is dropped here")]
fn drop_at_once(entry: Entry) -> usize {
    entry.heap_bytes()
}

impl Drop for Table {
    fn drop(&mut self) {
        self.drop_some(usize::MAX, &mut drop_at_once);
        self.release_cells();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::entry::Content;

    fn hasher() -> KeyHasher {
        KeyHasher::new(0x5EED)
    }

    fn add(table: &mut Table, key: &[u8], value: &[u8]) {
        let hasher = hasher();
        let hash = hasher.hash(key);
        assert!(table.find(hash, key).is_none());
        let place = table.insert(hash, Entry::string(key, value, None, 0), &hasher);
        assert_eq!(table.entry(place).key(), key);
    }

    fn take(table: &mut Table, key: &[u8]) -> Option<Entry> {
        let hasher = hasher();
        let place = table.find(hasher.hash(key), key)?;
        Some(table.remove(place, &hasher))
    }

    #[test]
    fn stays_dense_while_it_grows() {
        let mut table = Table::new();
        for number in 0..2000_usize {
            add(&mut table, &number.to_be_bytes(), b"");
            let (cells, len) = (table.heap_bytes() / 8, number + 1);
            assert!(len < 64 || cells * 70 / 100 <= len, "{len} entries in {cells} cells");
        }
        table.verify(&hasher());
    }

    #[test]
    fn grows_beyond_what_tags_can_tell_apart() {
        let mut table = Table::new();
        let count = if cfg!(miri) { 300 } else { 150_000_usize };
        for number in 0..count {
            add(&mut table, &number.to_be_bytes(), b"");
        }
        table.verify(&hasher());
        let mut seen = BTreeSet::new();
        let mut from = 0;
        while from < TAGS {
            from = table.scan(from, 100, &mut |entry| assert!(seen.insert(entry.key().to_vec())));
        }
        assert_eq!(seen.len(), count);
        for number in 0..count {
            assert!(take(&mut table, &number.to_be_bytes()).is_some());
            if number % 10_007 == 0 {
                table.verify(&hasher());
            }
        }
        assert_eq!((table.len(), table.heap_bytes()), (0, 0));
    }

    #[test]
    fn drop_some_ends_with_nothing() {
        let mut table = Table::new();
        for number in 0..300_usize {
            add(&mut table, &number.to_be_bytes(), b"value");
        }
        let mut left = table.len();
        while left > 0 {
            assert!(table.drop_some(10, &mut drop_at_once) > 0);
            let now = table.len();
            assert!(now < left && left - now < 10 + BUCKET_CELLS + 1);
            left = now;
        }
        assert_eq!(table.heap_bytes(), 0);
    }

    #[test]
    fn pick_reaches_every_entry() {
        let mut table = Table::new();
        assert!(table.pick(1).is_none());
        for number in 0..40_usize {
            add(&mut table, &number.to_be_bytes(), b"");
        }
        let picked: BTreeSet<Vec<u8>> = (0..4000_u64)
            .map(|n| {
                table
                    .pick(n.wrapping_mul(0x9E37_79B9_7F4A_7C15))
                    .expect("there are entries")
                    .key()
                    .to_vec()
            })
            .collect();
        assert_eq!(picked.len(), 40);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(u16),
        Remove(u16),
        Change(u16),
        Scan,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let key = 0..600_u16;
        let step = prop_oneof![
            4 => key.clone().prop_map(Step::Add),
            3 => key.clone().prop_map(Step::Remove),
            1 => key.prop_map(Step::Change),
            1 => Just(Step::Scan),
        ];
        prop::collection::vec(step, 0..if cfg!(miri) { 60 } else { 1500 })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 200 }))]
        #[test]
        fn behaves_as_a_map_and_scans_keep_their_promise(steps in steps()) {
            let hasher = hasher();
            let (mut table, mut model) = (Table::new(), BTreeMap::<u16, Vec<u8>>::new());
            // A scan that continues while the table changes: it sees every entry that is present
            // from start to end.
            let (mut cursor, mut seen) = (0, BTreeSet::new());
            let mut throughout: BTreeSet<u16> = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Add(key) if !model.contains_key(&key) => {
                        add(&mut table, &key.to_be_bytes(), b"first");
                        model.insert(key, b"first".to_vec());
                    }
                    Step::Remove(key) => {
                        prop_assert_eq!(take(&mut table, &key.to_be_bytes()).is_some(), model.remove(&key).is_some());
                        throughout.remove(&key);
                    }
                    Step::Add(key) | Step::Change(key) => {
                        let bytes = key.to_be_bytes();
                        let place = table.find(hasher.hash(&bytes), &bytes);
                        prop_assert_eq!(place.is_some(), model.contains_key(&key));
                        if let (Some(place), Some(value)) = (place, model.get_mut(&key)) {
                            let mut entry = table.entry_mut(place);
                            entry.set_expire_at_ms(Some(5));
                            entry.change_text(&crate::TextChange::Append(b"."));
                            value.push(b'.');
                        }
                    }
                    Step::Scan => {
                        cursor = table.scan(cursor, 20, &mut |entry| {
                            let key = entry.key().try_into().expect("keys have two bytes");
                            seen.insert(u16::from_be_bytes(key));
                        });
                        if cursor == TAGS {
                            prop_assert!(throughout.is_subset(&seen), "a scan missed {:?}", throughout.difference(&seen));
                            (cursor, seen) = (0, BTreeSet::new());
                            throughout = model.keys().copied().collect();
                        }
                    }
                }
            }
            table.verify(&hasher);
            prop_assert_eq!(table.len(), model.len());
            for (key, value) in &model {
                let bytes = key.to_be_bytes();
                let place = table.find(hasher.hash(&bytes), &bytes).expect("the model has it");
                let entry = table.entry(place);
                prop_assert_eq!(entry.content(), Some(Content::Bytes(value)));
            }
        }
    }
}
