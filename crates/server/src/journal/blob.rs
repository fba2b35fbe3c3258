//! Blob: a file read through a window, since frames are short and read one by one.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use basalt_journal::Blob;

/// LIMIT: bytes of the window; what is longer is read past it.
const WINDOW_BYTES: usize = 1 << 20;

/// A file, as it was long when it was opened.
#[derive(Debug)]
pub(super) struct FileBlob {
    file: File,
    len: u64,
    window: RefCell<Window>,
}

#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl FileBlob {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len, window: RefCell::default() })
    }
}

impl Blob for FileBlob {
    type Error = io::Error;

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        if out.len() > WINDOW_BYTES {
            return self.file.read_exact_at(out, at);
        }
        let mut window = self.window.borrow_mut();
        let end = at + out.len() as u64;
        if at < window.start || end > window.start + window.bytes.len() as u64 {
            let len = (self.len.saturating_sub(at)).min(WINDOW_BYTES as u64) as usize;
            let Window { start, bytes } = &mut *window;
            bytes.resize(len, 0);
            *start = at;
            if let Err(error) = self.file.read_exact_at(bytes, at) {
                bytes.clear();
                return Err(error);
            }
        }
        let from = (at - window.start) as usize;
        match window.bytes.get(from..from + out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }
}
