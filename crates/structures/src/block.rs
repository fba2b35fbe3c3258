//! Blocks: the memory that entries and tables' cells live in.
//!
//! ```text
//! up to 512 bytes    a block of its class in a span of 64 KiB     steps of 4, 8, 16 bytes
//! up to 64 KiB       a run of lines                               steps of 64 bytes
//! larger             the system's allocator                       steps of 4 KiB
//! ```
//!
//! Spans and lines are cut from chunks of 2 MiB that belong to the pool of one thread (`pool`). A
//! block has no header: its owner passes its size when it frees it. Any thread may free a block.
//!
//! The accounting counts a block as [`block_bytes`], the memory that it takes, exactly.
//!
//! Not here: what the bytes of a block mean (`entry`, `table`).

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error, realloc};
use std::ptr::NonNull;

mod ahead;
mod area;
mod chunk;
mod extent;
mod lines;
mod pool;
#[cfg(test)]
mod tests;

pub use ahead::{promise_chunks, supply_chunks, withdraw_chunks};
pub(crate) use area::Area;
#[cfg(test)]
pub(crate) use area::MAPPED_BYTES_MIN;
pub use area::{OutOfMemory, give_back_left, is_mapping_granted};
use chunk::UNIT_BYTES;
pub(crate) use chunk::{LINE_BYTES, Page};
pub(crate) use extent::Extent;
pub use pool::{PoolStats, give_back_chunk, pool_stats};

/// The largest block of a size class. Above it, lines are as fine-grained as classes would be.
const SMALL_BYTES_MAX: usize = 512;

/// The largest block of the pool.
const POOLED_BYTES_MAX: usize = UNIT_BYTES;

/// The unit to which larger blocks are rounded up: the system allocates pages.
const PAGE_BYTES: usize = 4096;

const CLASSES: usize = 63;

/// The smallest block: a free one holds a pointer.
const SMALLEST_BYTES: usize = 8;

/// The sizes of classes and the addresses of their blocks are multiples of this.
const WORD_BYTES: usize = 4;

/// The block sizes of the classes: steps of 4 up to 128, then sixteen steps to a doubling.
const CLASS_BYTES: [usize; CLASSES] = {
    let mut sizes = [0; CLASSES];
    let (mut class, mut bytes) = (0, SMALLEST_BYTES);
    while class < CLASSES {
        sizes[class] = bytes;
        class += 1;
        if class < CLASSES {
            bytes += match bytes {
                0..128 => 4,
                128..256 => 8,
                _ => 16,
            };
        }
    }
    assert!(bytes == SMALL_BYTES_MAX, "the last class is the largest");
    sizes
};

/// The class of a size, by its number of words.
const CLASS_OF_WORDS: [u8; SMALL_BYTES_MAX / WORD_BYTES + 1] = {
    let mut classes = [0; SMALL_BYTES_MAX / WORD_BYTES + 1];
    let (mut class, mut words) = (0, 0);
    while words < classes.len() {
        if words * WORD_BYTES > CLASS_BYTES[class] {
            class += 1;
        }
        classes[words] = class as u8;
        words += 1;
    }
    classes
};

/// The number of the smallest class for a size of at most [`SMALL_BYTES_MAX`].
#[inline]
const fn class_of(bytes: usize) -> usize {
    CLASS_OF_WORDS[bytes.div_ceil(WORD_BYTES)] as usize
}

/// The bytes that a block of `bytes` takes, with the rounding of its size class.
#[inline]
pub const fn block_bytes(bytes: usize) -> usize {
    let step = match bytes {
        0..=SMALLEST_BYTES => SMALLEST_BYTES,
        _ if bytes <= 128 => WORD_BYTES,
        129..=256 => 8,
        257..=SMALL_BYTES_MAX => 16,
        _ if bytes <= POOLED_BYTES_MAX => LINE_BYTES,
        _ => PAGE_BYTES,
    };
    (bytes + step - 1) & !(step - 1)
}

/// Allocates a block of at least `bytes` bytes (`bytes` > 0) with undefined content. Its address is
/// a multiple of 4, and of 8 if its [`block_bytes`] is.
#[inline]
pub(crate) fn allocate(bytes: usize) -> NonNull<u8> {
    debug_assert!(bytes > 0, "a block holds something");
    if bytes <= SMALL_BYTES_MAX {
        pool::take_small(class_of(bytes))
    } else if bytes <= POOLED_BYTES_MAX {
        pool::take_lines(bytes.div_ceil(LINE_BYTES), Page::Huge)
    } else {
        // SAFETY: the layout has a size above zero.
        unsafe { or_end(alloc(system_layout(bytes)), bytes) }
    }
}

/// Frees a block.
///
/// # Safety
/// `block` came from [`allocate`] with a size that has the same [`block_bytes`] as `bytes`, and it
/// is not used any more.
#[inline]
pub(crate) unsafe fn release(block: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller vouches for the block, and equal sizes take the same way as in `allocate`.
    unsafe {
        if bytes <= SMALL_BYTES_MAX {
            pool::give_small(block);
        } else if bytes <= POOLED_BYTES_MAX {
            pool::give_lines(block, bytes.div_ceil(LINE_BYTES));
        } else {
            dealloc(block.as_ptr(), system_layout(bytes));
        }
    }
}

/// Allocates zeroed lines of 64 bytes (at least one), aligned to 64. `page` chooses the pages of a
/// chunk that has to be mapped for them: huge pages suit random access; small pages, which become
/// resident one by one, suit sequential access.
pub(crate) fn allocate_zeroed_lines(count: usize, page: Page) -> NonNull<u8> {
    debug_assert!(count > 0, "an array holds something");
    let bytes = count * LINE_BYTES;
    if bytes <= POOLED_BYTES_MAX {
        let lines = pool::take_lines(count, page);
        // SAFETY: the run is this long and has one owner.
        unsafe { lines.write_bytes(0, bytes) };
        lines
    } else {
        // SAFETY: the layout has a size above zero.
        unsafe { or_end(alloc_zeroed(system_layout(bytes)), bytes) }
    }
}

/// Frees lines.
///
/// # Safety
/// `lines` came from [`allocate_zeroed_lines`] or [`shrink_lines`] with this count, and they are
/// not used any more.
pub(crate) unsafe fn release_lines(lines: NonNull<u8>, count: usize) {
    let bytes = count * LINE_BYTES;
    // SAFETY: the caller vouches for the lines; their count decides the way as it did before.
    unsafe {
        if bytes <= POOLED_BYTES_MAX {
            pool::give_lines(lines, count);
        } else {
            dealloc(lines.as_ptr(), system_layout(bytes));
        }
    }
}

/// Frees all but the first `kept` lines (at least one). Returns the address of the kept lines,
/// which may have moved.
///
/// # Safety
/// As for [`release_lines`]; `kept` is not above `count`.
pub(crate) unsafe fn shrink_lines(lines: NonNull<u8>, count: usize, kept: usize) -> NonNull<u8> {
    debug_assert!(kept > 0 && kept <= count, "some lines are kept");
    let (bytes, kept_bytes) = (count * LINE_BYTES, kept * LINE_BYTES);
    // SAFETY: the caller vouches for the lines. Part of a run may be given back; of what the system
    // gave, either the block is made shorter or a run takes its place.
    unsafe {
        if bytes <= POOLED_BYTES_MAX {
            if kept < count {
                pool::give_lines(lines.add(kept_bytes), count - kept);
            }
            return lines;
        }
        if kept_bytes > POOLED_BYTES_MAX {
            let size = block_bytes(kept_bytes);
            return or_end(realloc(lines.as_ptr(), system_layout(bytes), size), size);
        }
        let moved = pool::take_lines(kept, Page::Small);
        moved.copy_from_nonoverlapping(lines, kept_bytes);
        dealloc(lines.as_ptr(), system_layout(bytes));
        moved
    }
}

fn system_layout(bytes: usize) -> Layout {
    Layout::from_size_align(block_bytes(bytes), LINE_BYTES).expect("a block is below isize::MAX")
}

fn or_end(block: *mut u8, bytes: usize) -> NonNull<u8> {
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(system_layout(bytes)))
}
