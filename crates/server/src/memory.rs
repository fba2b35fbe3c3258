//! Memory: the thread that makes shards' memory ready before they need it, and gives back to the system
//! what the general allocator keeps of buffers that are gone.
//!
//! The allocator gives unused memory back only when it is next asked for something, and only in part: after
//! values of 512 MB were deleted, more than a gigabyte stayed resident. So it is told to, now and then.
//!
//! Not here: what is made ready, and when it is ordered (`structures`).

use std::io;
use std::sync::OnceLock;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use basalt_structures::{promise_chunks, supply_chunks};

/// How often what is unused goes back to the system.
const GIVE_BACK_EVERY: Duration = Duration::from_secs(1);

static SUPPLIER: OnceLock<Thread> = OnceLock::new();

/// Starts the thread, which is one for all servers of a process.
#[expect(clippy::disallowed_methods, reason = "nothing else tells this thread the time")]
pub(crate) fn look_ahead() -> io::Result<()> {
    if SUPPLIER.get().is_some() {
        return Ok(());
    }
    let supply = || {
        let mut gave_back_at = Instant::now();
        loop {
            supply_chunks();
            if gave_back_at.elapsed() >= GIVE_BACK_EVERY {
                give_back();
                gave_back_at = Instant::now();
            }
            thread::park_timeout(GIVE_BACK_EVERY);
        }
    };
    let thread = thread::Builder::new().name("memory".into()).spawn(supply)?.thread().clone();
    if SUPPLIER.set(thread).is_ok() {
        promise_chunks(|| {
            if let Some(thread) = SUPPLIER.get() {
                thread.unpark();
            }
        });
    }
    Ok(())
}

/// Gives memory of the general allocator that nothing uses back to the system.
#[expect(unsafe_code, reason = "the allocator's binding has no safe face for it")]
fn give_back() {
    // SAFETY: may be called by any thread at any time; it touches nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
