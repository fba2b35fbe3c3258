//! Ahead: chunks made ready by another thread before they are needed.
//!
//! A huge page is taken whole at its first touch. That takes 0.1 ms where the memory is at hand and
//! several where a virtual machine's host must find it first: too long for a thread that serves. So
//! the program may have a thread that touches the next chunk ahead; a pool orders it when little is
//! left, and where it isn't there in time, small pages serve and the next order comes earlier. What
//! nobody came for is withdrawn, since it is resident for nothing.
//!
//! Not here: the thread (`server`), when a pool needs a chunk (`pool`).

use std::cell::Cell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::chunk::{CHUNK_LINES, Chunk, Page};

/// A chunk is ordered when no free run is longer than that: at first an eighth of a chunk, which lasts
/// for thousands of entries; after one that came late twice as much, up to nearly all.
const ORDER_BELOW_LINES: usize = CHUNK_LINES / 8;
const ORDER_BELOW_LINES_MAX: usize = CHUNK_LINES / 8 * 7;

/// What is called, on the pool's thread, when a chunk is ordered.
static WAKE: OnceLock<fn()> = OnceLock::new();

/// Every pool's order form.
static ORDERS: Mutex<Vec<&'static Order>> = Mutex::new(Vec::new());

/// Promises that `wake` gets some thread to call [`supply_chunks`], soon. The first promise counts.
pub fn promise_chunks(wake: fn()) {
    let _ = WAKE.set(wake);
}

/// Makes the chunks ready that pools have ordered. May take milliseconds for each.
pub fn supply_chunks() {
    // They are few; the list is copied so that a new pool doesn't wait.
    let orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for order in orders {
        order.supply();
    }
}

/// Gives back to the system what pools have ordered and not taken since the last call. For calls
/// seconds apart, by the thread that supplies.
pub fn withdraw_chunks() {
    let orders = ORDERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for order in orders {
        order.withdraw_what_stood();
    }
}

/// Whether chunks are supplied at all.
pub(super) fn is_promised() -> bool {
    WAKE.get().is_some()
}

/// What a pool and those who supply it share.
struct Order {
    is_open: AtomicBool,
    ready: AtomicPtr<Chunk>,
    /// What was ready at the last call of [`withdraw_chunks`]; for its thread only.
    stood: AtomicPtr<Chunk>,
    is_withdrawn: AtomicBool,
}

/// The next chunk of one pool, as the pool's thread sees it.
pub(super) struct Ahead {
    order: &'static Order,
    /// One was ordered and not taken yet.
    is_coming: Cell<bool>,
    order_below: Cell<usize>,
}

impl Ahead {
    /// Of a new pool, which is never freed.
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

    /// Takes note of a withdrawal: there was no haste.
    fn was_withdrawn(&self) -> bool {
        let was_withdrawn = self.order.is_withdrawn.load(Ordering::Relaxed);
        if was_withdrawn {
            self.order.is_withdrawn.store(false, Ordering::Relaxed);
            self.is_coming.set(false);
            self.order_below.set(ORDER_BELOW_LINES);
        }
        was_withdrawn
    }

    /// How long the longest free run is when a chunk should be ordered, in lines.
    #[inline]
    pub(super) fn order_below(&self) -> usize {
        self.order_below.get()
    }

    /// Orders a chunk, if anybody supplies.
    #[cold]
    pub(super) fn order(&self) {
        if let Some(wake) = WAKE.get() {
            self.is_coming.set(true);
            self.order.is_open.store(true, Ordering::Release);
            wake();
        }
    }

    /// The chunk that was ordered, if it is there: all zeros, and touched.
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
            // Nothing is there: an order is opened only after the last chunk was taken.
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
        // Either the pool has it now or we do.
        let chunk = self.ready.swap(null_mut(), Ordering::Acquire);
        if !chunk.is_null() {
            // SAFETY: it came from `Chunk::map` on this side and no pool has seen it.
            unsafe { Chunk::unmap(chunk) };
            self.is_withdrawn.store(true, Ordering::Relaxed);
        }
    }
}
