//! Journal: its folder, and what a start makes of it.
//!
//! ```text
//! open: lock ─► manifest                                          (before the shards start)
//! load: scan all files ─► what is kept                                   (a thread)
//!       ─► replay on each shard ─► slots to their shards ─► new generation   (between their turns)
//! run time: saver thread makes files ─► shards go on in them ─► bases ─► manifest   (BGREWRITEAOF)
//! ```
//!
//! Files are named by a manifest, which is replaced as a whole; what it does not name is removed. While the server
//! runs each shard appends to the file of its own (`core_loop`).
//!
//! Not here: what the bytes mean (`basalt_journal`), when what is appended (`engine`).

mod base;
mod blob;
mod check;
mod folder;
mod meeting;
mod restore;
mod whole;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};

use basalt_journal::HEADER_BYTES;

pub use check::check_journal;
pub(crate) use folder::Folder;
pub(crate) use restore::Recovery;
pub use restore::{Restore, Restored};
pub use whole::export_journal;
pub(crate) use whole::write_snapshot;

/// The folder, once there is a journal. The thread of the saver uses it, and before it those that load it.
pub(crate) type SharedFolder = Arc<Mutex<Option<Folder>>>;

/// The file that a shard appends to.
#[derive(Debug)]
pub struct JournalFile {
    file: File,
    /// Where the next frame begins.
    pub(crate) len: u64,
    /// What is on its way lies before that, and is there already.
    pub(crate) is_rewriting: bool,
}

impl JournalFile {
    /// One in which nothing but its header is written.
    pub(crate) fn empty(file: File) -> Self {
        Self { file, len: HEADER_BYTES as u64, is_rewriting: false }
    }

    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
