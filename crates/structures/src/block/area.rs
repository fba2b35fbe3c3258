//! Area: memory of one owner that grows without being copied.
//!
//! A small area comes from the general allocator. A large one is a mapping of its own: the system finds its pages
//! when they are first touched, all zero, and grows it by moving the page table's entries. So room for more than
//! is needed costs addresses, not memory.
//!
//! To give hundreds of megabytes back takes tens of milliseconds. Where a thread supplies chunks (`ahead`), it
//! does that too, piece by piece.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::{NonNull, copy_nonoverlapping};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{LINE_BYTES, PAGE_BYTES, ahead};

/// Areas from here on are mappings of their own.
pub(crate) const MAPPED_BYTES_MIN: usize = 1 << 20;

/// Longer ones do not come from the general allocator.
const ALLOCATED_BYTES_MAX: usize = MAPPED_BYTES_MIN - LINE_BYTES;

/// A mapping from here on is left to the supplying thread when it goes.
const LEFT_BYTES_MIN: usize = 4 << 20;
/// LIMIT: bytes left to that thread; what goes beyond is given back at once.
const LEFT_BYTES_MAX: usize = 1 << 30;
/// That thread gives so much back at a time: others that touch new pages wait meanwhile.
const STEP_BYTES: usize = 4 << 20;

/// Memory of one owner.
pub(crate) struct Area {
    start: NonNull<u8>,
    /// 0 where nothing is allocated.
    capacity: usize,
}

// SAFETY: an area owns its memory alone, and it may be given back on any thread.
unsafe impl Send for Area {}
// SAFETY: through a shared reference it tells an address and a size, no more.
unsafe impl Sync for Area {}

/// The system has no memory, or no addresses, for so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    pub bytes: usize,
}

impl Area {
    pub(crate) const fn new() -> Self {
        Self { start: NonNull::dangling(), capacity: 0 }
    }

    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether it is a mapping, whose bytes are zero until they are written.
    #[inline]
    pub(crate) fn is_mapped(&self) -> bool {
        self.capacity >= MAPPED_BYTES_MIN
    }

    /// Grows to at least `bytes`; the first `kept` bytes stay. For a mapping `wished` bytes are tried first.
    pub(crate) fn grow(
        &mut self,
        bytes: usize,
        wished: usize,
        kept: usize,
    ) -> Result<(), OutOfMemory> {
        if bytes <= self.capacity {
            return Ok(());
        }
        debug_assert!(kept <= self.capacity, "what is kept is there");
        if bytes <= ALLOCATED_BYTES_MAX {
            return self.replace(Self::allocate(wished.clamp(bytes, ALLOCATED_BYTES_MAX)), kept);
        }
        let round = |bytes: usize| bytes.checked_next_multiple_of(PAGE_BYTES);
        let grown = [wished.max(bytes), bytes].into_iter().filter_map(round).find_map(|size| {
            let old = if self.is_mapped() {
                (self.start.as_ptr(), self.capacity)
            } else {
                (std::ptr::null_mut(), 0)
            };
            // SAFETY: the old mapping is this area's, and grows.
            unsafe { system::map(old.0, old.1, size) }.map(|start| Self { start, capacity: size })
        });
        let Some(grown) = grown else { return Err(OutOfMemory { bytes }) };
        if self.is_mapped() {
            // The old mapping became the new one.
            std::mem::forget(std::mem::replace(self, grown));
            return Ok(());
        }
        self.replace(grown, kept)
    }

    /// All of it is written soon, so large pages save the system hundreds of faults. Not for what may stay empty in
    /// part: there they would cost memory.
    pub(crate) fn prefer_large_pages(&self) {
        if self.is_mapped() {
            // SAFETY: the mapping is this area's.
            unsafe { system::prefer_large_pages(self.start.as_ptr(), self.capacity) };
        }
    }

    fn allocate(bytes: usize) -> Self {
        let layout = layout(bytes);
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, capacity: layout.size() }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it ends what may fail")]
    fn replace(&mut self, next: Self, kept: usize) -> Result<(), OutOfMemory> {
        // SAFETY: both have so many bytes, and they are different memory.
        unsafe { copy_nonoverlapping(self.start.as_ptr(), next.start.as_ptr(), kept) };
        *self = next;
        Ok(())
    }
}

fn layout(bytes: usize) -> Layout {
    let bytes = bytes.max(1).next_multiple_of(LINE_BYTES);
    Layout::from_size_align(bytes, LINE_BYTES).expect("because it is small")
}

impl Drop for Area {
    fn drop(&mut self) {
        if self.capacity == 0 {
            return;
        }
        if !self.is_mapped() {
            // SAFETY: allocated with this layout, and nobody uses it any more.
            unsafe { dealloc(self.start.as_ptr(), layout(self.capacity)) };
            return;
        }
        let own = Self { start: self.start, capacity: self.capacity };
        if self.capacity >= LEFT_BYTES_MIN && ahead::is_promised() {
            leave(own);
        } else {
            own.unmap();
        }
    }
}

impl Area {
    fn unmap(self) {
        // SAFETY: the mapping is this area's, and nobody uses it any more.
        unsafe { system::unmap(self.start.as_ptr(), self.capacity) };
        std::mem::forget(self);
    }

    /// Gives the last bytes back; false once all are gone.
    fn unmap_step(&mut self) -> bool {
        let step = self.capacity.min(STEP_BYTES);
        self.capacity -= step;
        // SAFETY: the bytes are the mapping's last, and nobody uses them any more.
        unsafe { system::unmap(self.start.as_ptr().add(self.capacity), step) };
        self.capacity > 0
    }
}

/// Whether the system has a mapping of so many bytes now; smaller areas come from the general allocator and count as
/// granted. What that allocator would still have for it says nothing of mappings.
pub fn is_mapping_granted(bytes: usize) -> bool {
    let mut area = Area::new();
    if bytes < MAPPED_BYTES_MIN {
        return true;
    }
    let is_granted = area.grow(bytes, bytes, 0).is_ok();
    if is_granted {
        // Nothing of it was touched, so that takes no time.
        area.unmap();
    }
    is_granted
}

/// Areas that nobody uses any more, and their bytes.
static LEFT: Mutex<Vec<Area>> = Mutex::new(Vec::new());
static LEFT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Leaves an area to the thread that supplies chunks.
#[cold]
fn leave(area: Area) {
    if LEFT_BYTES.fetch_add(area.capacity, Ordering::Relaxed) > LEFT_BYTES_MAX {
        LEFT_BYTES.fetch_sub(area.capacity, Ordering::Relaxed);
        return area.unmap();
    }
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(area);
    ahead::wake();
}

/// Gives the memory of large values that are gone back to the system. For the thread that supplies chunks.
pub fn give_back_left() {
    loop {
        let area = LEFT.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(mut area) = area else { return };
        let bytes = area.capacity;
        while area.unmap_step() {}
        LEFT_BYTES.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    use std::ptr::{NonNull, null_mut};

    /// Maps `size` bytes, in the place of an old mapping if `bytes` is not 0. None where the system has no room;
    /// the old mapping stays then.
    ///
    /// # Safety
    /// The old mapping is the caller's and came from here with this size.
    pub(super) unsafe fn map(old: *mut u8, bytes: usize, size: usize) -> Option<NonNull<u8>> {
        // SAFETY: a new anonymous mapping disturbs nothing; the caller vouches for the old one.
        let area = unsafe {
            if bytes == 0 {
                let protection = libc::PROT_READ | libc::PROT_WRITE;
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                libc::mmap(null_mut(), size, protection, flags, -1, 0)
            } else {
                libc::mremap(old.cast(), bytes, size, libc::MREMAP_MAYMOVE)
            }
        };
        if area == libc::MAP_FAILED { None } else { NonNull::new(area.cast()) }
    }

    /// Where the system has no such pages nothing happens.
    ///
    /// # Safety
    /// The bytes are a mapping of [`map`].
    pub(super) unsafe fn prefer_large_pages(start: *mut u8, bytes: usize) {
        // SAFETY: the caller vouches for it; the advice changes no content.
        unsafe { libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE) };
    }

    /// # Safety
    /// The bytes are whole pages of a mapping of [`map`], and nobody uses them any more.
    pub(super) unsafe fn unmap(start: *mut u8, bytes: usize) {
        // SAFETY: the caller vouches for it.
        let failed = unsafe { libc::munmap(start.cast(), bytes) };
        assert!(failed == 0, "memory that was mapped can be unmapped");
    }
}

#[cfg(any(not(target_os = "linux"), miri))]
mod system {
    use std::alloc::{Layout, alloc_zeroed, dealloc};
    use std::ptr::{NonNull, copy_nonoverlapping};

    use super::PAGE_BYTES;

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, PAGE_BYTES).expect("because it has pages")
    }

    /// As on Linux, by copying.
    ///
    /// # Safety
    /// As on Linux.
    pub(super) unsafe fn map(old: *mut u8, bytes: usize, size: usize) -> Option<NonNull<u8>> {
        // SAFETY: the layout has a size above zero; the caller vouches for the old memory.
        unsafe {
            let start = NonNull::new(alloc_zeroed(layout(size)))?;
            if bytes > 0 {
                copy_nonoverlapping(old, start.as_ptr(), bytes);
                dealloc(old, layout(bytes));
            }
            Some(start)
        }
    }

    /// # Safety
    /// None is needed.
    pub(super) unsafe fn prefer_large_pages(_: *mut u8, _: usize) {}

    /// # Safety
    /// As on Linux, but a whole mapping: it is left to no thread.
    pub(super) unsafe fn unmap(start: *mut u8, bytes: usize) {
        // SAFETY: the caller vouches for it.
        unsafe { dealloc(start, layout(bytes)) };
    }
}
