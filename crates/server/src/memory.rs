//! Memory: the thread that makes shards' memory ready before they need it.
//!
//! Not here: what is made ready, and when it is ordered (`structures`).

use std::io;
use std::sync::OnceLock;
use std::thread::{self, Thread};

use basalt_structures::{promise_chunks, supply_chunks};

static SUPPLIER: OnceLock<Thread> = OnceLock::new();

/// Starts the thread, which is one for all servers of a process.
pub(crate) fn look_ahead() -> io::Result<()> {
    if SUPPLIER.get().is_some() {
        return Ok(());
    }
    let supply = || {
        loop {
            supply_chunks();
            thread::park();
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
