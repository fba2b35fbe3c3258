//! Long string: many bytes that are shared instead of copied.
//!
//! A request's large argument is received into one, which becomes the value; a reply sends it from where it
//! lies. Whoever holds one holds a count of it. A change of one that is shared copies it first, so what is being
//! sent never changes.
//!
//! Not here: where its memory comes from (`block::area`), which strings are long (`keyspace`).

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr::{copy, copy_nonoverlapping};
use std::sync::Arc;

use bytes::Bytes;

use crate::block::{Area, OutOfMemory, block_bytes};

/// LIMIT: a string that grows by changes gets room for as much again, but no more than this.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// Bytes that are shared instead of copied. A clone is the same bytes.
#[derive(Clone)]
pub struct LongString(Arc<Body>);

pub(crate) struct Body {
    area: Area,
    len: usize,
    /// No byte behind this was ever written.
    written: usize,
}

/// A change of a string, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextChange<'a> {
    /// These come behind it.
    Append(&'a [u8]),
    /// These are written over it from an offset on, with zeros up to there.
    SetRange { offset: usize, bytes: &'a [u8] },
    /// These take the place of `removed` bytes at an offset.
    Splice { offset: usize, removed: usize, bytes: &'a [u8] },
}

impl TextChange<'_> {
    /// How long a string of `len` bytes is after it.
    pub(crate) fn len_after(&self, len: usize) -> usize {
        match self {
            Self::Append(bytes) => len + bytes.len(),
            Self::SetRange { offset, bytes } => len.max(offset + bytes.len()),
            &Self::Splice { offset, removed, bytes } => {
                let start = offset.min(len);
                len - removed.min(len - start) + bytes.len()
            }
        }
    }

    pub(crate) fn apply_to_vec(&self, text: &mut Vec<u8>) {
        match *self {
            Self::Append(bytes) => text.extend_from_slice(bytes),
            Self::SetRange { offset, bytes } => {
                let end = offset + bytes.len();
                if text.len() < end {
                    text.resize(end, 0);
                }
                text[offset..end].copy_from_slice(bytes);
            }
            Self::Splice { offset, removed, bytes } => {
                let start = offset.min(text.len());
                let end = start + removed.min(text.len() - start);
                text.splice(start..end, bytes.iter().copied());
            }
        }
    }
}

impl Default for LongString {
    fn default() -> Self {
        Self(Arc::new(Body { area: Area::new(), len: 0, written: 0 }))
    }
}

impl From<&[u8]> for LongString {
    /// A copy, without room to spare.
    fn from(bytes: &[u8]) -> Self {
        Self::with_room_for(bytes.len(), bytes)
    }
}

impl LongString {
    /// Makes room for `more` bytes. Where that takes new memory, up to `len_max` bytes in all are worth having.
    /// Errs where the system has none; nothing has changed then.
    pub fn try_reserve(&mut self, more: usize, len_max: usize) -> Result<(), OutOfMemory> {
        let body = self.own();
        let len = body.len.checked_add(more).ok_or(OutOfMemory { bytes: usize::MAX })?;
        let wished = len.saturating_mul(2).min(len_max);
        body.area.grow(len, wished, body.len)
    }

    /// All of the room that was reserved is written soon.
    pub fn prefer_large_pages(&mut self) {
        self.own().area.prefer_large_pages();
    }

    /// A copy, with room to grow to `len` bytes.
    pub(crate) fn with_room_for(len: usize, bytes: &[u8]) -> Self {
        let mut string = Self::default();
        string.reserve(len.max(bytes.len()), len.max(bytes.len()));
        string.own().push(bytes);
        string
    }

    fn reserve(&mut self, more: usize, len_max: usize) {
        if let Err(OutOfMemory { bytes }) = self.try_reserve(more, len_max) {
            panic!("there is no memory for a string of {bytes} bytes");
        }
    }

    /// Adds bytes for which there is room: see [`Self::try_reserve`].
    pub fn push(&mut self, bytes: &[u8]) {
        self.own().push(bytes);
    }

    /// The room behind its bytes, which [`Self::try_reserve`] made. What is written there becomes a part of it by
    /// [`Self::extend_written`].
    pub fn room(&mut self) -> &mut [MaybeUninit<u8>] {
        let body = self.own();
        let len = body.area.capacity() - body.len;
        // SAFETY: these bytes lie in the area behind those that are in use, and the borrow is exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(body.area.start().as_ptr().add(body.len).cast(), len)
        }
    }

    /// Makes the first `len` bytes of [`Self::room`] a part of it.
    ///
    /// # Safety
    /// They are written.
    pub unsafe fn extend_written(&mut self, len: usize) {
        let body = self.own();
        assert!(len <= body.area.capacity() - body.len, "there is no more room");
        body.set_len(body.len + len);
    }

    /// Changes it; a shared one is copied before.
    pub(crate) fn change(&mut self, change: &TextChange<'_>) {
        let len = change.len_after(self.len());
        let more = len.saturating_sub(self.len());
        if more > 0 {
            self.reserve(more, len + len.min(SPARE_BYTES_MAX));
        }
        let body = self.own();
        match *change {
            TextChange::Append(bytes) => body.push(bytes),
            TextChange::SetRange { offset, bytes } => {
                body.extend_with_zeros(len);
                body.bytes_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            TextChange::Splice { offset, removed, bytes } => body.splice(offset, removed, bytes),
        }
    }

    /// The same bytes, for whoever sends them.
    pub fn share(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// Whether the slice is all of this string, where it lies.
    pub fn is(&self, slice: &[u8]) -> bool {
        std::ptr::eq(self.0.bytes(), slice)
    }

    /// The heap bytes that it takes: of a mapping those that were written.
    pub fn heap_bytes(&self) -> usize {
        self.0.heap_bytes()
    }

    /// The room that it has.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Whether others hold it too, so that a change copies it.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Its body, shared with nobody.
    fn own(&mut self) -> &mut Body {
        if Arc::get_mut(&mut self.0).is_none() {
            *self = Self::from(&**self);
        }
        Arc::get_mut(&mut self.0).expect("because nobody else has the copy")
    }

    #[inline]
    pub(crate) fn into_raw(self) -> *const Body {
        Arc::into_raw(self.0)
    }

    /// # Safety
    /// The pointer came from [`Self::into_raw`], and no other string is made of it.
    #[inline]
    pub(crate) unsafe fn from_raw(body: *const Body) -> Self {
        // SAFETY: the caller vouches for the pointer.
        Self(unsafe { Arc::from_raw(body) })
    }
}

impl Body {
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the first `len` bytes of the area are written, and nobody changes them while they are borrowed.
        unsafe { std::slice::from_raw_parts(self.area.start().as_ptr(), self.len) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.area.start().as_ptr(), self.len) }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.area.capacity()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        const COUNTS_BYTES: usize = 2 * size_of::<usize>();
        let area = if self.area.is_mapped() { self.written } else { self.area.capacity() };
        block_bytes(size_of::<Self>() + COUNTS_BYTES) + block_bytes(area)
    }

    /// Sets the length, up to which all is written.
    fn set_len(&mut self, len: usize) {
        self.len = len;
        self.written = self.written.max(len);
    }

    /// Adds bytes for which there is room.
    fn push(&mut self, bytes: &[u8]) {
        let len = self.len + bytes.len();
        assert!(len <= self.area.capacity(), "room was made before");
        // SAFETY: the area has room for them, and they are not in it: the borrow of the body is exclusive.
        unsafe {
            let end = self.area.start().as_ptr().add(self.len);
            copy_nonoverlapping(bytes.as_ptr(), end, bytes.len());
        }
        self.set_len(len);
    }

    /// Makes it so long, if it is shorter. The pages of a mapping that are zero already stay untouched.
    fn extend_with_zeros(&mut self, len: usize) {
        if len <= self.len {
            return;
        }
        assert!(len <= self.area.capacity(), "room was made before");
        let zeros_from = if self.area.is_mapped() { self.written.max(self.len) } else { len };
        let dirty = zeros_from.min(len) - self.len;
        // SAFETY: these bytes lie in the area. Those behind are of a mapping and were never written, so zero.
        unsafe { self.area.start().as_ptr().add(self.len).write_bytes(0, dirty) };
        self.set_len(len);
    }

    /// Replaces bytes; there is room for those that it grows by.
    fn splice(&mut self, offset: usize, removed: usize, bytes: &[u8]) {
        let start = offset.min(self.len);
        let removed = removed.min(self.len - start);
        let rest = self.len - start - removed;
        let len = start + bytes.len() + rest;
        assert!(len <= self.area.capacity(), "room was made before");
        // SAFETY: both places of the rest, and the new bytes, lie in the area.
        unsafe {
            let base = self.area.start().as_ptr();
            copy(base.add(start + removed), base.add(start + bytes.len()), rest);
            copy_nonoverlapping(bytes.as_ptr(), base.add(start), bytes.len());
        }
        self.set_len(len);
    }
}

impl Deref for LongString {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl AsRef<[u8]> for LongString {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for LongString {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LongString").field("bytes", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::MAPPED_BYTES_MIN;
    use proptest::prelude::*;

    #[test]
    fn it_grows_where_it_lies_and_is_zero_between() {
        let mut string = LongString::from(&b"abc"[..]);
        let large = 3 * MAPPED_BYTES_MIN;
        string.change(&TextChange::SetRange { offset: large, bytes: b"xyz" });
        assert_eq!(string.len(), large + 3);
        assert!(string.starts_with(b"abc\0") && string.ends_with(b"\0xyz"));
        assert!(string[3..large].iter().all(|byte| *byte == 0));
        // What was written and cut off is zero when it comes back.
        string.change(&TextChange::Splice { offset: 3, removed: usize::MAX, bytes: b"" });
        assert_eq!(&*string, b"abc");
        string.change(&TextChange::SetRange { offset: large + 10, bytes: b"!" });
        assert!(string[3..large + 10].iter().all(|byte| *byte == 0));
        assert!(string.heap_bytes() >= string.len());
    }

    #[test]
    fn a_shared_one_is_copied_before_it_changes() {
        for len in [10, 2 * MAPPED_BYTES_MIN] {
            let mut string = LongString::from(&vec![7; len][..]);
            let sent = string.share();
            let part = sent.slice(1..5);
            assert!(std::ptr::eq(&*string, &*sent), "it is not copied");
            string.change(&TextChange::Append(b"more"));
            assert!(string.ends_with(b"\x07more") && sent == vec![7; len] && part == [7; 4][..]);
            drop((sent, part));
            let (other, address) = (string.clone(), string.as_ptr());
            assert!(string.is(&other) && !string.is(&other[1..]));
            drop(other);
            string.change(&TextChange::SetRange { offset: 0, bytes: b"x" });
            assert_eq!(string.as_ptr(), address, "it is nobody else's");
        }
    }

    #[test]
    fn it_grows_to_any_length() {
        for len in
            [1, 63, 64, 65, 4096].into_iter().chain(MAPPED_BYTES_MIN - 70..MAPPED_BYTES_MIN + 70)
        {
            let mut string = LongString::from(&b"x"[..]);
            string.try_reserve(len, len).expect("there is memory");
            string.push(&vec![b'y'; len]);
            assert!(string.len() == len + 1 && string.capacity() > len);
            string.change(&TextChange::Append(b"zz"));
            assert!(string.starts_with(b"xy") && string.ends_with(b"yzz"), "{len}");
        }
    }

    #[test]
    fn room_that_no_system_has_is_refused() {
        let mut string = LongString::from(&b"abc"[..]);
        assert!(string.try_reserve(usize::MAX, usize::MAX).is_err());
        assert!(string.try_reserve(1 << 60, 1 << 60).is_err());
        string.try_reserve(1 << 20, usize::MAX).expect("there is a megabyte");
        string.push(b"d");
        assert_eq!(&*string, b"abcd");
    }

    #[test]
    fn what_is_written_into_its_room_becomes_a_part_of_it() {
        let mut string = LongString::from(&b"abc"[..]);
        assert!(string.room().len() < MAPPED_BYTES_MIN);
        string.try_reserve(MAPPED_BYTES_MIN, MAPPED_BYTES_MIN).expect("there is memory");
        string.room()[..2].write_copy_of_slice(b"de");
        // SAFETY: two bytes were written.
        unsafe { string.extend_written(2) };
        assert_eq!(&*string, b"abcde");
        assert!(string.room().len() >= MAPPED_BYTES_MIN - 2);
    }

    proptest! {
        #[test]
        fn changes_are_those_of_a_vector(
            start in prop::collection::vec(any::<u8>(), 0..40),
            changes in prop::collection::vec((0..3, 0..600_000_usize, 0..50_usize, 0..50_usize), 0..12),
        ) {
            let mut model = start.clone();
            let mut string = LongString::from(&start[..]);
            for (kind, offset, removed, len) in changes {
                let bytes = vec![len as u8 + 1; len];
                let change = match kind {
                    0 => TextChange::Append(&bytes),
                    1 => TextChange::SetRange { offset, bytes: &bytes },
                    _ => TextChange::Splice { offset: offset / 10, removed: removed * 9_999, bytes: &bytes },
                };
                let expected = change.len_after(model.len());
                change.apply_to_vec(&mut model);
                string.change(&change);
                prop_assert_eq!(model.len(), expected);
                prop_assert!(*string == model[..]);
            }
        }
    }
}
