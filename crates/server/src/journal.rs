//! Journal: its folder, and what a start makes of it.
//!
//! ```text
//! open: lock ─► manifest ─► scan all files ─► what is kept           (before the shards start)
//! run:  replay on each shard ─► slots to their shards ─► new generation   (on their threads)
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

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

pub use check::check_journal;
pub(crate) use folder::Folder;
pub(crate) use restore::Recovery;
pub use restore::Restoring;

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
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
