//! Extent: an owned run of lines, as plain bytes.
//!
//! Safe code uses it to own memory of the pool: it is initialized, sized in lines and accounted
//! exactly. Its content is read in order, a page at a time, so small pages serve.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use super::{LINE_BYTES, Page, allocate_zeroed_lines, block_bytes, release_lines, shrink_lines};

/// Owned bytes, a whole number of lines and at least one.
pub(crate) struct Extent {
    start: NonNull<u8>,
    lines: u32,
}

// SAFETY: an extent owns its lines alone, and they may be given back on any thread.
unsafe impl Send for Extent {}

impl Extent {
    /// Allocates at least `bytes` bytes, zeroed.
    pub(crate) fn zeroed(bytes: usize) -> Self {
        let lines = lines_for(bytes);
        Self { start: allocate_zeroed_lines(lines as usize, Page::Small), lines }
    }

    /// The memory that it takes, in bytes.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        block_bytes(self.len())
    }

    /// Frees all but the first `bytes` bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let kept = lines_for(bytes).min(self.lines);
        // SAFETY: these are all our lines, and we keep some of them, but not more.
        self.start = unsafe { shrink_lines(self.start, self.lines as usize, kept as usize) };
        self.lines = kept;
    }
}

fn lines_for(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(LINE_BYTES).max(1))
        .expect("because an element has at most TEXT_BYTES_MAX")
}

impl Deref for Extent {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the lines are ours and were zeroed when they came.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.lines as usize * LINE_BYTES) }
    }
}

impl DerefMut for Extent {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr(), self.lines as usize * LINE_BYTES)
        }
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        // SAFETY: the lines came from the pool with this count, or were made fewer by it.
        unsafe { release_lines(self.start, self.lines as usize) };
    }
}

impl fmt::Debug for Extent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Extent").field("bytes", &self.len()).finish_non_exhaustive()
    }
}
