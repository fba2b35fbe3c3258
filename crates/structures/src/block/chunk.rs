//! Chunk: 2 MiB from the system, with a header that describes its parts.
//!
//! ```text
//! │ Chunk: owner, spans, ends │ lines … │ unit 1 │ unit 2 │ … │ unit 31 │
//! ```
//!
//! A unit (64 KiB) is either a span, cut into blocks of one class, or part of the chunk's lines.
//! Chunks start at multiples of their size, so a block's address leads to its chunk.
//!
//! Not here: which lines are allocated (`lines`), which span serves next (`pool`).

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;

use super::pool::Pool;

pub(crate) const LINE_BYTES: usize = 64;
pub(super) const UNIT_BYTES: usize = 64 << 10;
pub(super) const CHUNK_BYTES: usize = 2 << 20;
pub(super) const UNIT_LINES: usize = UNIT_BYTES / LINE_BYTES;
pub(super) const CHUNK_LINES: usize = CHUNK_BYTES / LINE_BYTES;
const CHUNK_UNITS: usize = CHUNK_BYTES / UNIT_BYTES;

/// The first line after the chunk's header.
pub(super) const FIRST_LINE: usize = size_of::<Chunk>() / LINE_BYTES;

const _: () = assert!(size_of::<Chunk>() < UNIT_BYTES, "the header leaves unit 0 to lines");

/// The header of a chunk. All bytes zero: a chunk without spans and without free lines.
#[repr(C, align(64))]
pub(super) struct Chunk {
    /// Written once, before any block leaves the chunk; only the owner's thread accesses the other
    /// fields.
    owner: *const Pool,
    spans: [Span; CHUNK_UNITS],
    /// One bit per line: set for the first and the last line of each free run.
    ends: [u64; CHUNK_LINES / 64],
}

/// The pages that back a new chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Small,
    /// A huge page, where the system has one, at the first touch.
    Huge,
    HugeTouched,
}

/// A unit cut into blocks of one class.
#[repr(C, align(64))]
pub(super) struct Span {
    /// The free list of returned blocks.
    pub(super) free: *mut FreeBlock,
    /// The offset in bytes of the first block that was never allocated.
    pub(super) fresh: u32,
    /// The number of allocated blocks.
    pub(super) used: u32,
    pub(super) start: *mut u8,
    pub(super) next: *mut Self,
    pub(super) previous: *mut Self,
    pub(super) class: u8,
    /// Whether the unit is a span.
    pub(super) is_open: bool,
    /// Whether it is in its class' list of spans that may have free blocks.
    pub(super) is_listed: bool,
}

/// A free block. It may start at any 4-byte word, so its pointer is read and written unaligned.
pub(super) struct FreeBlock {
    pub(super) next: *mut Self,
}

impl Chunk {
    /// Maps a zeroed chunk; `None` if the system has no memory. Its owner must be set before use.
    pub(super) fn map(page: Page) -> Option<NonNull<Self>> {
        let chunk = system::map(page != Page::Small)?;
        if page == Page::HugeTouched {
            // SAFETY: the chunk is new and zeroed.
            unsafe { chunk.write_volatile(0) };
        }
        Some(chunk.cast())
    }

    /// Aborts the program: there is no memory for a chunk.
    #[cold]
    pub(super) fn out_of_memory() -> ! {
        handle_alloc_error(
            Layout::from_size_align(CHUNK_BYTES, CHUNK_BYTES).expect("a constant layout"),
        )
    }

    /// # Safety
    /// The chunk came from [`Chunk::map`] and no part of it was used yet.
    pub(super) unsafe fn set_owner(chunk: NonNull<Self>, owner: *const Pool) {
        // SAFETY: the caller vouches for the chunk, which is aligned and larger than its header.
        unsafe { (*chunk.as_ptr()).owner = owner };
    }

    /// # Safety
    /// The chunk came from [`Chunk::map`] and no block of it is in use.
    pub(super) unsafe fn unmap(chunk: *mut Self) {
        // SAFETY: the caller vouches for it.
        unsafe { system::unmap(chunk.cast()) };
    }

    /// The chunk that contains an address of the pool.
    #[inline]
    pub(super) fn of(address: *mut u8) -> *mut Self {
        address.map_addr(|address| address & !(CHUNK_BYTES - 1)).cast()
    }

    /// # Safety
    /// A block of the chunk is allocated, so the chunk exists.
    #[inline]
    pub(super) unsafe fn owner(chunk: *mut Self) -> *const Pool {
        // SAFETY: the field is never written while a block is in use.
        unsafe { (*chunk).owner }
    }

    /// The span that contains an address of the chunk; `None` if its unit is no span.
    ///
    /// # Safety
    /// As for [`Chunk::owner`].
    #[inline]
    pub(super) unsafe fn span_of(chunk: *mut Self, address: *mut u8) -> *mut Span {
        let unit = address.addr() / UNIT_BYTES % CHUNK_UNITS;
        // SAFETY: there is a span for every unit; no reference to the other fields is made.
        unsafe { (&raw mut (*chunk).spans).cast::<Span>().add(unit) }
    }

    /// # Safety
    /// The chunk is mapped and this is its owner's thread; `line` is below [`CHUNK_LINES`].
    #[inline]
    pub(super) unsafe fn is_end(chunk: *mut Self, line: usize) -> bool {
        // SAFETY: the caller vouches for chunk, thread and line.
        unsafe { (*chunk).ends[line / 64] >> (line % 64) & 1 != 0 }
    }

    /// # Safety
    /// As for [`Chunk::is_end`].
    #[inline]
    pub(super) unsafe fn set_end(chunk: *mut Self, line: usize, is_end: bool) {
        // SAFETY: the caller vouches for chunk, thread and line.
        unsafe {
            let word = &mut (*chunk).ends[line / 64];
            *word = *word & !(1 << (line % 64)) | u64::from(is_end) << (line % 64);
        }
    }
}

#[cfg(all(unix, not(miri)))]
mod system {
    use std::ptr::{NonNull, null_mut};

    use super::CHUNK_BYTES;

    pub(super) fn map(huge: bool) -> Option<NonNull<u8>> {
        // The system mostly places new memory next to the last, so the first try is often aligned.
        let chunk = map_anywhere(CHUNK_BYTES)?;
        let chunk = if chunk.addr().get().is_multiple_of(CHUNK_BYTES) {
            chunk
        } else {
            // SAFETY: just mapped, not used yet.
            unsafe { unmap_bytes(chunk.as_ptr(), CHUNK_BYTES) };
            map_aligned()?
        };
        #[cfg(target_os = "linux")]
        if huge {
            // If the system has no huge pages, small ones serve, so the result does not matter.
            // SAFETY: the advice is about the chunk alone and changes no content.
            unsafe { libc::madvise(chunk.as_ptr().cast(), CHUNK_BYTES, libc::MADV_HUGEPAGE) };
        }
        Some(chunk)
    }

    /// # Safety
    /// `chunk` came from [`map`] and is not used any more.
    pub(super) unsafe fn unmap(chunk: *mut u8) {
        // SAFETY: the caller vouches for it.
        unsafe { unmap_bytes(chunk, CHUNK_BYTES) };
    }

    fn map_aligned() -> Option<NonNull<u8>> {
        let area = map_anywhere(2 * CHUNK_BYTES)?;
        let before = area.addr().get().next_multiple_of(CHUNK_BYTES) - area.addr().get();
        // SAFETY: the parts before and after the aligned chunk are in the new area.
        unsafe {
            let chunk = area.add(before);
            unmap_bytes(area.as_ptr(), before);
            unmap_bytes(chunk.add(CHUNK_BYTES).as_ptr(), CHUNK_BYTES - before);
            Some(chunk)
        }
    }

    fn map_anywhere(bytes: usize) -> Option<NonNull<u8>> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new anonymous mapping at an address of the system's choice disturbs nothing.
        let area = unsafe { libc::mmap(null_mut(), bytes, protection, flags, -1, 0) };
        if area == libc::MAP_FAILED { None } else { NonNull::new(area.cast()) }
    }

    /// # Safety
    /// The bytes were mapped by [`map_anywhere`] and are not used any more.
    unsafe fn unmap_bytes(area: *mut u8, bytes: usize) {
        if bytes > 0 {
            // SAFETY: the caller vouches for it.
            let failed = unsafe { libc::munmap(area.cast(), bytes) };
            assert!(failed == 0, "memory that was mapped can be unmapped");
        }
    }
}

#[cfg(any(not(unix), miri))]
mod system {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::ptr::NonNull;

    use super::CHUNK_BYTES;

    const LAYOUT: Layout = match Layout::from_size_align(CHUNK_BYTES, CHUNK_BYTES) {
        Ok(layout) => layout,
        Err(_) => panic!("a chunk has a layout"),
    };

    pub(super) fn map(_huge: bool) -> Option<NonNull<u8>> {
        // SAFETY: the layout has a size above zero.
        NonNull::new(unsafe { alloc_zeroed(LAYOUT) })
    }

    /// # Safety
    /// `chunk` came from [`map`] and is not used any more.
    pub(super) unsafe fn unmap(chunk: *mut u8) {
        // SAFETY: the caller vouches for it.
        unsafe { dealloc(chunk, LAYOUT) };
    }
}
