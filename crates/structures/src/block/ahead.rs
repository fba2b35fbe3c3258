//! Ahead: chunks that another thread prepares before they are needed.
//!
//! A huge page is allocated whole at its first touch. That takes 0.1 ms if the memory is free and
//! several if a virtual machine's host has to find it: too long for a serving thread. So the
//! program may run a thread that touches the next chunk ahead of time. A pool orders a chunk when
//! little memory is left; if the chunk is late, small pages are used and the next order is placed
//! earlier. Chunks that are not taken are unmapped again, since they are resident for nothing.
//!
//! Not here: the thread (`server`), when a pool needs a chunk (`pool`).

use std::cell::Cell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::chunk::{CHUNK_LINES, Chunk, Page};

/// A chunk is ordered when no free run is longer than this: at first an eighth of a chunk, which
/// lasts for thousands of entries; twice as much after a chunk that came late twice, up to nearly a
/// whole one.
const ORDER_BELOW_LINES: usize = CHUNK_LINES / 8;
const ORDER_BELOW_LINES_MAX: usize = CHUNK_LINES / 8 * 7;

/// The callback that runs on the pool's thread when a chunk is ordered.
static WAKE: OnceLock<fn()> = OnceLock::new();

/// The orders of all pools.
static ORDERS: Mutex<Vec<&'static Order>> = Mutex::new(Vec::new());

/// Registers a callback that makes some thread call [`supply_chunks`] soon. Only the first
/// registration counts.
pub fn promise_chunks(wake: fn()) {
    let _ = WAKE.set(wake);
}

/// Maps and touches the chunks that pools have ordered. It may take milliseconds for each.
pub fn supply_chunks() {
    // They are few; the list is copied so that a new pool doesn't wait.
    let orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for order in orders {
        order.supply();
    }
}

/// Unmaps the chunks that were ordered and not taken since the previous call. The supplying thread
/// calls it every few seconds.
pub fn withdraw_chunks() {
    let orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for order in orders {
        order.withdraw_what_stood();
    }
}

/// Whether a thread supplies chunks.
pub(super) fn is_promised() -> bool {
    WAKE.get().is_some()
}

/// Wakes the thread that supplies chunks.
pub(super) fn wake() {
    if let Some(wake) = WAKE.get() {
        wake();
    }
}

/// The state that a pool shares with the supplying thread.
struct Order {
    is_open: AtomicBool,
    ready: AtomicPtr<Chunk>,
    /// The chunk that was ready at the last call of [`withdraw_chunks`]; only the supplying thread
    /// uses it.
    stood: AtomicPtr<Chunk>,
    is_withdrawn: AtomicBool,
}

/// The next chunk of one pool, as the pool's thread sees it.
pub(super) struct Ahead {
    order: &'static Order,
    /// A chunk was ordered and is not taken yet.
    is_coming: Cell<bool>,
    order_below: Cell<usize>,
}

impl Ahead {
    /// The state of a new pool, which is never freed.
    pub(super) fn new() -> Self {
        let order = Box::leak(Box::new(Order {
            is_open: AtomicBool::new(false),
            ready: AtomicPtr::new(null_mut()),
            stood: AtomicPtr::new(null_mut()),
            is_withdrawn: AtomicBool::new(false),
        }));
        ORDERS.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        Self { order, is_coming: Cell::new(false), order_below: Cell::new(ORDER_BELOW_LINES) }
    }

    #[inline]
    pub(super) fn is_coming(&self) -> bool {
        self.is_coming.get() && !self.was_withdrawn()
    }

    /// Records that a chunk was withdrawn: the order was early enough.
    fn was_withdrawn(&self) -> bool {
        let was_withdrawn = self.order.is_withdrawn.load(Ordering::Relaxed);
        if was_withdrawn {
            self.order.is_withdrawn.store(false, Ordering::Relaxed);
            self.is_coming.set(false);
            self.order_below.set(ORDER_BELOW_LINES);
        }
        was_withdrawn
    }

    /// The length of the longest free run, in lines, at which a chunk is ordered.
    #[inline]
    pub(super) fn order_below(&self) -> usize {
        self.order_below.get()
    }

    /// Orders a chunk if a thread supplies them.
    #[cold]
    pub(super) fn order(&self) {
        if let Some(wake) = WAKE.get() {
            self.is_coming.set(true);
            self.order.is_open.store(true, Ordering::Release);
            wake();
        }
    }

    /// Returns the ordered chunk if it is ready: zeroed and touched.
    pub(super) fn take(&self) -> Option<NonNull<Chunk>> {
        let chunk = NonNull::new(self.order.ready.swap(null_mut(), Ordering::Acquire));
        if chunk.is_some() {
            self.is_coming.set(false);
        } else if self.is_coming() {
            self.order_below.set((self.order_below() * 2).min(ORDER_BELOW_LINES_MAX));
        }
        chunk
    }
}

impl Order {
    fn supply(&self) {
        if self.is_open.swap(false, Ordering::Acquire)
            && let Some(chunk) = Chunk::map(Page::HugeTouched)
        {
            // The slot is empty: an order is only placed after the last chunk was taken.
            self.ready.store(chunk.as_ptr(), Ordering::Release);
        }
    }

    fn withdraw_what_stood(&self) {
        let (stood, ready) =
            (self.stood.load(Ordering::Relaxed), self.ready.load(Ordering::Relaxed));
        self.stood.store(ready, Ordering::Relaxed);
        if ready.is_null() || ready != stood {
            return;
        }
        // Either the pool has taken it or this thread has.
        let chunk = self.ready.swap(null_mut(), Ordering::Acquire);
        if !chunk.is_null() {
            // SAFETY: it came from `Chunk::map` on this side and no pool has seen it.
            unsafe { Chunk::unmap(chunk) };
            self.is_withdrawn.store(true, Ordering::Relaxed);
        }
    }
}
