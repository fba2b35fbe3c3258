//! Appending: the frames of a shard's journal, on their way through the ring into its file.
//!
//! A frame is written whole, and then synced where that is wanted: two operations, one after the other, since a
//! chain of them would end where a submission does.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::{Fd, FsyncFlags};

/// LIMIT: bytes of one write.
const WRITE_BYTES_MAX: usize = 1 << 30;

/// What became of a frame.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) frame: Vec<u8>,
    /// Whether it was synced, too.
    pub(crate) synced: bool,
    pub(crate) result: Result<(), AppendError>,
}

#[derive(Debug)]
pub(crate) enum AppendError {
    /// It was not written whole.
    Write(io::Error),
    /// It was, but is not known to be on disk.
    Sync(io::Error),
}

/// A frame on its way.
#[derive(Debug)]
pub(super) struct Appending {
    frame: Vec<u8>,
    fd: RawFd,
    offset: u64,
    sync: bool,
    written: usize,
}

/// What comes next.
pub(super) enum Next {
    /// The rest of it is to be written.
    Write(Entry),
    Sync(Entry),
    Over(Appended),
}

impl Appending {
    /// The frame is to lie at `offset` of the file, which outlives it.
    pub(super) fn new(file: BorrowedFd<'_>, offset: u64, frame: Vec<u8>, sync: bool) -> Self {
        Self { frame, fd: file.as_raw_fd(), offset, sync, written: 0 }
    }

    /// Writes what is not written.
    pub(super) fn write(&self) -> Entry {
        let rest = &self.frame[self.written..];
        let len = rest.len().min(WRITE_BYTES_MAX) as u32;
        let at = self.offset + self.written as u64;
        opcode::Write::new(Fd(self.fd), rest.as_ptr(), len).offset(at).build()
    }

    /// A write came back with this.
    pub(super) fn wrote(mut self, result: i32) -> (Option<Self>, Next) {
        match result {
            _ if -result == libc::EINTR || -result == libc::EAGAIN => {}
            // A file that takes nothing is full.
            0 => return (None, self.over(Err(AppendError::Write(error_of(libc::ENOSPC))))),
            ..0 => return (None, self.over(Err(AppendError::Write(error_of(-result))))),
            _ => self.written += result as usize,
        }
        if self.written < self.frame.len() {
            let entry = self.write();
            return (Some(self), Next::Write(entry));
        }
        if self.sync {
            let entry = sync(self.fd);
            return (Some(self), Next::Sync(entry));
        }
        (None, self.over(Ok(())))
    }

    /// The sync behind it came back with this.
    pub(super) fn synced(self, result: i32) -> Appended {
        let result = if result < 0 { Err(AppendError::Sync(error_of(-result))) } else { Ok(()) };
        Appended { frame: self.frame, synced: result.is_ok(), result }
    }

    fn over(self, result: Result<(), AppendError>) -> Next {
        Next::Over(Appended { frame: self.frame, synced: false, result })
    }
}

/// Has all that was written to a file on disk.
pub(super) fn sync(fd: RawFd) -> Entry {
    opcode::Fsync::new(Fd(fd)).flags(FsyncFlags::DATASYNC).build()
}

pub(super) fn error_of(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
