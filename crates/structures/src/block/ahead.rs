//! Ahead: chunks made ready by another thread before they are needed.
//!
//! A huge page is taken whole at its first touch. That takes 0.1 ms where the memory is at hand and
//! several where a virtual machine's host must find it first: too long for a thread that serves. So
//! the program may have a thread that touches the next chunk ahead; a pool orders it when little is
//! left, and where it isn't there in time, small pages serve.
//!
//! Not here: the thread (`server`), when a pool needs a chunk (`pool`).

use std::cell::Cell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::chunk::{Chunk, Page};

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

/// Whether chunks are supplied at all.
pub(super) fn is_promised() -> bool {
    WAKE.get().is_some()
}

/// What a pool and those who supply it share.
struct Order {
    is_open: AtomicBool,
    ready: AtomicPtr<Chunk>,
}

/// The next chunk of one pool, as the pool's thread sees it.
pub(super) struct Ahead {
    order: &'static Order,
    /// One was ordered and not taken yet.
    is_coming: Cell<bool>,
}

impl Ahead {
    /// Of a new pool, which is never freed.
    pub(super) fn new() -> Self {
        let order = Box::leak(Box::new(Order {
            is_open: AtomicBool::new(false),
            ready: AtomicPtr::new(null_mut()),
        }));
        ORDERS.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        Self { order, is_coming: Cell::new(false) }
    }

    #[inline]
    pub(super) fn is_coming(&self) -> bool {
        self.is_coming.get()
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
        let chunk = NonNull::new(self.order.ready.swap(null_mut(), Ordering::Acquire))?;
        self.is_coming.set(false);
        Some(chunk)
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
}
