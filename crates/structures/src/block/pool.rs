//! Pool: the chunks of one thread, and the allocation of their parts.
//!
//! Every thread has its own pool, so it allocates and frees without a lock. A block that is freed
//! on another thread is pushed on a lock-free stack of its owner's pool (`remote_frees`), which the owner
//! empties when it next runs out of memory. When a thread ends, its pool waits for the next thread
//! that needs one.
//!
//! All but one of the chunks with nothing allocated are unmapped when the thread has time
//! ([`give_back_chunk`]): if many blocks are freed at random, all chunks become empty with the last
//! few of them, and to unmap one takes 10 to 100 µs.
//!
//! Not here: runs of lines (`lines`), the layout of a chunk (`chunk`).

use std::cell::{Cell, UnsafeCell};
use std::ptr::{NonNull, null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use super::ahead::{self, Ahead};
use super::chunk::{CHUNK_BYTES, Chunk, FreeBlock, LINE_BYTES, Page, Span, UNIT_BYTES, UNIT_LINES};
use super::lines::Lines;
use super::{CLASS_BYTES, CLASSES};

/// Pools with this much memory map huge pages from then on. A huge page is resident as a whole, so
/// the unused part of the newest chunk and the next chunk, prepared ahead, may take 4 MiB.
const HUGE_PAGES_FROM_BYTES: usize = 4 << 20;

/// The memory of a thread's pool, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Mapped from the system.
    pub mapped_bytes: usize,
    /// Allocated to blocks, as [`block_bytes`](super::block_bytes) counts them.
    pub in_use_bytes: usize,
}

/// The memory of one thread. Only `remote_frees` may be accessed by other threads.
pub(super) struct Pool {
    remote_frees: AtomicPtr<RemoteFree>,
    /// Per class, the spans that may have free blocks; the first one serves.
    spans: [Cell<*mut Span>; CLASSES],
    lines: UnsafeCell<Lines>,
    ahead: Ahead,
    mapped_bytes: Cell<usize>,
    in_use_bytes: Cell<usize>,
}

/// A block that was freed by another thread than its owner's. In a span its first 8 bytes are all
/// there is.
#[repr(C)]
struct RemoteFree {
    next: *mut Self,
    line_count: usize,
}

thread_local! {
    static OWN: Cell<*const Pool> = const { Cell::new(null()) };
    static TENANCY: Tenancy = const { Tenancy };
}

/// The next free block in its span's list.
///
/// The block is free, and in a span's list.
/// The block is free, and in a span's list.
#[inline]
unsafe fn next_free(block: NonNull<FreeBlock>) -> *mut FreeBlock {
    // SAFETY: a free block holds the next one's address, wherever the block starts.
    unsafe { (&raw const (*block.as_ptr()).next).read_unaligned() }
}

/// A pool without a thread.
struct Vacant(NonNull<Pool>);

// SAFETY: a vacant pool belongs to the thread that takes it out of the list.
unsafe impl Send for Vacant {}

static VACANT: Mutex<Vec<Vacant>> = Mutex::new(Vec::new());

/// Releases the thread's pool for other threads when the thread ends.
struct Tenancy;

impl Drop for Tenancy {
    fn drop(&mut self) {
        if let Some(pool) = NonNull::new(OWN.replace(null()).cast_mut()) {
            VACANT.lock().unwrap_or_else(PoisonError::into_inner).push(Vacant(pool));
        }
    }
}

/// This thread's pool.
#[inline]
fn own() -> &'static Pool {
    let pool = OWN.get();
    // SAFETY: pools are never freed, and this one is this thread's until it ends.
    unsafe { if pool.is_null() { move_in() } else { &*pool } }
}

#[cold]
fn move_in() -> &'static Pool {
    let vacant = VACANT.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let pool = match vacant {
        Some(Vacant(pool)) => pool.as_ptr().cast_const(),
        None => Box::into_raw(Box::new(Pool::new())).cast_const(),
    };
    OWN.set(pool);
    // This can fail while other destructors of the thread run: the pool then stays unused.
    let _ = TENANCY.try_with(|_| ());
    // SAFETY: pools are never freed; no other thread has this one.
    unsafe { &*pool }
}

/// The memory of this thread's pool. Blocks that other threads have freed are taken in first;
/// otherwise they wait until the pool runs out of memory.
pub fn pool_stats() -> PoolStats {
    let pool = own();
    pool.take_in_remote_frees();
    PoolStats { mapped_bytes: pool.mapped_bytes.get(), in_use_bytes: pool.in_use_bytes.get() }
}

/// Unmaps one of this thread's chunks with nothing allocated, if there is more than one. Returns
/// whether it did; if so, there may be more.
pub fn give_back_chunk() -> bool {
    own().give_back_chunk()
}

/// Allocates a block of a class.
#[inline]
pub(super) fn take_small(class: usize) -> NonNull<u8> {
    own().take_small(class)
}

/// Frees a block of a class.
///
/// # Safety
/// The block came from [`take_small`], on any thread, and is not used any more.
#[inline]
pub(super) unsafe fn give_small(block: NonNull<u8>) {
    let chunk = Chunk::of(block.as_ptr());
    // SAFETY: the block is in use, so its chunk is there; where the owner is this thread's, the
    // pool is this thread's alone.
    unsafe {
        let owner = Chunk::owner(chunk);
        if owner == OWN.get() {
            (*owner).give_small(chunk, block);
        } else {
            send_home(owner, block);
        }
    }
}

/// Allocates a run of at least one line. If a new chunk is needed, it gets pages of this kind.
pub(super) fn take_lines(count: usize, page: Page) -> NonNull<u8> {
    let pool = own();
    pool.in_use_bytes.set(pool.in_use_bytes.get() + count * LINE_BYTES);
    pool.take(page, |lines| lines.take(count))
}

/// Frees lines.
///
/// # Safety
/// The lines are a part of an allocation by [`take_lines`], on any thread, and are not used any
/// more.
pub(super) unsafe fn give_lines(lines: NonNull<u8>, count: usize) {
    let chunk = Chunk::of(lines.as_ptr());
    // SAFETY: as in `give_small`; a run has room for the two words.
    unsafe {
        let owner = Chunk::owner(chunk);
        if owner == OWN.get() {
            (*owner).give_lines(lines, count);
        } else {
            lines.cast::<RemoteFree>().write(RemoteFree { next: null_mut(), line_count: count });
            send_home(owner, lines);
        }
    }
}

/// Pushes a block on its owner's stack.
///
/// # Safety
/// Only the caller uses the block, and `owner` is its pool.
#[cold]
unsafe fn send_home(owner: *const Pool, block: NonNull<u8>) {
    let freed = block.cast::<RemoteFree>().as_ptr();
    // SAFETY: pools are never freed, and this field is for all threads. The block is the caller's
    // until the exchange succeeds, which makes what was written to it visible to the owner.
    unsafe {
        let remote_frees = &(*owner).remote_frees;
        let mut first = remote_frees.load(Ordering::Relaxed);
        loop {
            (&raw mut (*freed).next).write_unaligned(first);
            match remote_frees.compare_exchange_weak(
                first,
                freed,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }
}

impl Pool {
    fn new() -> Self {
        Self {
            remote_frees: AtomicPtr::new(null_mut()),
            spans: [const { Cell::new(null_mut()) }; CLASSES],
            lines: UnsafeCell::new(Lines::new()),
            ahead: Ahead::new(),
            mapped_bytes: Cell::new(0),
            in_use_bytes: Cell::new(0),
        }
    }

    #[inline]
    fn take_small(&self, class: usize) -> NonNull<u8> {
        self.in_use_bytes.set(self.in_use_bytes.get() + CLASS_BYTES[class]);
        let span = self.spans[class].get();
        if !span.is_null() {
            // SAFETY: listed spans are there, and blocks in their list are free.
            unsafe {
                if let Some(block) = NonNull::new((*span).free) {
                    (*span).free = next_free(block);
                    (*span).used += 1;
                    return block.cast();
                }
            }
        }
        self.take_fresh(class)
    }

    /// Allocates a block from a class whose serving span has no returned block.
    #[inline(never)]
    fn take_fresh(&self, class: usize) -> NonNull<u8> {
        let bytes = CLASS_BYTES[class];
        loop {
            let span = self.spans[class].get();
            if span.is_null() {
                if !self.take_in_remote_frees() {
                    self.open_span(class);
                }
                continue;
            }
            // SAFETY: listed spans are there; fresh blocks are within the unit and are free.
            unsafe {
                if let Some(block) = NonNull::new((*span).free) {
                    (*span).free = next_free(block);
                    (*span).used += 1;
                    return block.cast();
                }
                let at = (*span).fresh as usize;
                if at + bytes <= UNIT_BYTES {
                    (*span).fresh = (at + bytes) as u32;
                    (*span).used += 1;
                    return NonNull::new_unchecked((*span).start.add(at));
                }
                self.unlist(span);
            }
        }
    }

    /// # Safety
    /// The pool is this thread's, and owns the block, which is not used any more.
    #[inline]
    unsafe fn give_small(&self, chunk: *mut Chunk, block: NonNull<u8>) {
        // SAFETY: a block of a class is in an open span.
        unsafe {
            let span = Chunk::span_of(chunk, block.as_ptr());
            debug_assert!((*span).is_open && (*span).used > 0, "the block is in use");
            let block = block.cast::<FreeBlock>().as_ptr();
            (&raw mut (*block).next).write_unaligned((*span).free);
            (*span).free = block;
            (*span).used -= 1;
            let bytes = CLASS_BYTES[usize::from((*span).class)];
            self.in_use_bytes.set(self.in_use_bytes.get() - bytes);
            if (*span).used == 0 || !(*span).is_listed {
                self.settle(span);
            }
        }
    }

    /// Lists a span that has free blocks again; frees the unit of an empty one.
    ///
    /// # Safety
    /// The span is in use, and belongs to this pool.
    #[cold]
    unsafe fn settle(&self, span: *mut Span) {
        // SAFETY: the caller vouches for the span; without blocks in use its unit is free lines.
        unsafe {
            if (*span).used > 0 {
                self.list(span);
                return;
            }
            if (*span).is_listed {
                self.unlist(span);
            }
            (*span).is_open = false;
            self.give(NonNull::new_unchecked((*span).start), UNIT_LINES);
        }
    }

    fn open_span(&self, class: usize) {
        let unit = self.take(Page::Huge, Lines::take_unit);
        let chunk = Chunk::of(unit.as_ptr());
        // SAFETY: the unit is in use now, and its span describes nothing else.
        unsafe {
            let span = Chunk::span_of(chunk, unit.as_ptr());
            span.write(Span {
                free: null_mut(),
                fresh: 0,
                used: 0,
                start: unit.as_ptr(),
                next: null_mut(),
                previous: null_mut(),
                class: class as u8,
                is_open: true,
                is_listed: false,
            });
            self.list(span);
        }
    }

    /// # Safety
    /// The span is in use, belongs to this pool, and is not listed.
    unsafe fn list(&self, span: *mut Span) {
        // SAFETY: the caller vouches for the span; listed ones are open.
        unsafe {
            let first = &self.spans[usize::from((*span).class)];
            let next = first.get();
            (*span).next = next;
            (*span).previous = null_mut();
            if !next.is_null() {
                (*next).previous = span;
            }
            (*span).is_listed = true;
            first.set(span);
        }
    }

    /// # Safety
    /// The span is in use, belongs to this pool, and is listed.
    unsafe fn unlist(&self, span: *mut Span) {
        // SAFETY: the caller vouches for the span; its neighbours in the list are open.
        unsafe {
            let (next, previous) = ((*span).next, (*span).previous);
            if !next.is_null() {
                (*next).previous = previous;
            }
            if previous.is_null() {
                self.spans[usize::from((*span).class)].set(next);
            } else {
                (*previous).next = next;
            }
            (*span).is_listed = false;
        }
    }

    /// Allocates lines with `find`, if necessary from a new chunk with pages of this kind.
    fn take(&self, page: Page, find: impl Fn(&mut Lines) -> Option<NonNull<u8>>) -> NonNull<u8> {
        loop {
            // SAFETY: the pool is this thread's, and `find` calls nothing that leads back here.
            if let Some(lines) = find(unsafe { &mut *self.lines.get() }) {
                if page == Page::Huge {
                    self.order_ahead();
                }
                return lines;
            }
            if self.take_in_remote_frees() {
                continue;
            }
            let chunk = self.new_chunk(page);
            self.mapped_bytes.set(self.mapped_bytes.get() + CHUNK_BYTES);
            // SAFETY: the chunk is new, and this pool's.
            unsafe {
                Chunk::set_owner(chunk, self);
                (*self.lines.get()).add_chunk(chunk);
            }
        }
    }

    fn new_chunk(&self, page: Page) -> NonNull<Chunk> {
        let ready = if page == Page::Huge { self.ahead.take() } else { None };
        ready.unwrap_or_else(|| {
            let is_small = self.mapped_bytes.get() < HUGE_PAGES_FROM_BYTES;
            // If huge pages are prepared ahead, do not wait for one here.
            let page = if is_small || ahead::is_promised() { Page::Small } else { page };
            Chunk::map(page).unwrap_or_else(|| Chunk::out_of_memory())
        })
    }

    /// Orders the next chunk when little memory is left.
    #[inline]
    fn order_ahead(&self) {
        if self.mapped_bytes.get() < HUGE_PAGES_FROM_BYTES || self.ahead.is_coming() {
            return;
        }
        // SAFETY: the pool is this thread's, and nothing else has its lines now.
        if !unsafe { (*self.lines.get()).has_run(self.ahead.order_below()) } {
            self.ahead.order();
        }
    }

    /// # Safety
    /// The pool is this thread's, and owns the lines, which are not used any more.
    unsafe fn give_lines(&self, lines: NonNull<u8>, count: usize) {
        self.in_use_bytes.set(self.in_use_bytes.get() - count * LINE_BYTES);
        // SAFETY: the caller vouches for the lines.
        unsafe { self.give(lines, count) };
    }

    /// # Safety
    /// As for [`Pool::give_lines`], which does the accounting.
    unsafe fn give(&self, lines: NonNull<u8>, count: usize) {
        // SAFETY: the caller vouches for the lines.
        unsafe { (*self.lines.get()).give(lines, count) };
    }

    #[inline]
    fn give_back_chunk(&self) -> bool {
        // SAFETY: the pool is this thread's, and nothing else has its lines now.
        let Some(chunk) = (unsafe { (*self.lines.get()).remove_spare_chunk() }) else {
            return false;
        };
        // SAFETY: nothing of the chunk is allocated, and the pool has removed it.
        unsafe { Chunk::unmap(chunk) };
        self.mapped_bytes.set(self.mapped_bytes.get() - CHUNK_BYTES);
        true
    }

    /// Takes in the blocks that other threads have freed. Returns whether there were any.
    fn take_in_remote_frees(&self) -> bool {
        if self.remote_frees.load(Ordering::Relaxed).is_null() {
            return false;
        }
        let mut freed = self.remote_frees.swap(null_mut(), Ordering::Acquire);
        while let Some(block) = NonNull::new(freed) {
            let block = block.cast::<u8>();
            let chunk = Chunk::of(block.as_ptr());
            // SAFETY: they are free blocks of this pool; units with lines have no
            // span.
            unsafe {
                freed = (&raw const (*freed).next).read_unaligned();
                if (*Chunk::span_of(chunk, block.as_ptr())).is_open {
                    self.give_small(chunk, block);
                } else {
                    let count = block.cast::<RemoteFree>().read().line_count;
                    self.give_lines(block, count);
                }
            }
        }
        true
    }
}
