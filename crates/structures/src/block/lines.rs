//! Lines: runs of 64-byte lines of any length. A freed run merges with its free neighbours.
//!
//! A free run describes itself (boundary tags, Knuth, TAOCP vol. 1, 2.5): its first line has its
//! length and its neighbours in a list of runs of similar length, its last line has its length
//! again, and the chunk's bits mark both lines. So free neighbours of a freed run are found in
//! constant time.
//!
//! Invariant: no two free runs touch.
//! Not here: where chunks come from and go (`pool`).

use std::ptr::{NonNull, null_mut};

use super::chunk::{
    CHUNK_BYTES, CHUNK_LINES, Chunk, FIRST_LINE, LINE_BYTES, UNIT_BYTES, UNIT_LINES,
};

/// Up to this length each length has its own list; above it, eight lists cover each doubling.
const EXACT_LEN_MAX: usize = 64;
const LISTS: usize = list_of(CHUNK_LINES - 1) + 1;
const WORDS: usize = LISTS.div_ceil(64);

/// The length of the only run of a chunk with nothing allocated.
const WHOLE_LEN: usize = CHUNK_LINES - FIRST_LINE;

/// How many runs of one list are checked, which may be too short, before longer ones are split.
const TRIES: usize = 8;

/// The content of a free run's first line.
struct Run {
    len: usize,
    next: *mut Self,
    previous: *mut Self,
}

/// The end of a free run's last line; a run of one line has both in the same line.
const LAST_LEN_AT: usize = LINE_BYTES - size_of::<usize>();

const _: () = assert!(size_of::<Run>() <= LAST_LEN_AT, "a run of one line describes itself");

/// The free runs of all chunks of a pool.
pub(super) struct Lines {
    lists: [*mut Run; LISTS],
    occupied: [u64; WORDS],
    /// Chunks with nothing allocated.
    whole_chunks: usize,
}

const fn list_of(len: usize) -> usize {
    if len <= EXACT_LEN_MAX {
        return len - 1;
    }
    let log = len.ilog2() as usize;
    EXACT_LEN_MAX + (log - 6) * 8 + ((len >> (log - 3)) & 7)
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self { lists: [null_mut(); LISTS], occupied: [0; WORDS], whole_chunks: 0 }
    }

    /// Allocates `count` lines from the shortest run that is known to fit.
    pub(super) fn take(&mut self, count: usize) -> Option<NonNull<u8>> {
        let run = self.find(count, |len, _| len >= count)?;
        let first = run.cast::<u8>();
        // SAFETY: a listed run is free, and as long as it says.
        unsafe {
            let len = (*run).len;
            self.unlink(run);
            if len > count {
                self.link(first.add(count * LINE_BYTES), len - count);
            }
        }
        NonNull::new(first)
    }

    /// Allocates the lines of a unit.
    pub(super) fn take_unit(&mut self) -> Option<NonNull<u8>> {
        let run =
            self.find(UNIT_LINES, |len, address| lines_before_unit(address) + UNIT_LINES <= len)?;
        let first = run.cast::<u8>();
        // SAFETY: a listed run is free, and as long as it says; this one has a whole unit in it.
        unsafe {
            let len = (*run).len;
            let before = lines_before_unit(first.addr());
            let behind = len - before - UNIT_LINES;
            self.unlink(run);
            let unit = first.add(before * LINE_BYTES);
            if before > 0 {
                self.link(first, before);
            }
            if behind > 0 {
                self.link(unit.add(UNIT_BYTES), behind);
            }
            NonNull::new(unit)
        }
    }

    /// Whether there is a free run that is clearly longer than this many lines.
    pub(super) fn has_run(&self, count: usize) -> bool {
        self.first_from(list_of(count) + 1).is_some()
    }

    /// Adds the lines of a new chunk.
    ///
    /// # Safety
    /// The chunk was just mapped, and this is its owner's thread.
    pub(super) unsafe fn add_chunk(&mut self, chunk: NonNull<Chunk>) {
        // SAFETY: all lines behind the header are free.
        unsafe { self.link(chunk.as_ptr().cast::<u8>().add(FIRST_LINE * LINE_BYTES), WHOLE_LEN) };
    }

    /// Removes a chunk with nothing allocated, unless it is the only one.
    pub(super) fn remove_spare_chunk(&mut self) -> Option<*mut Chunk> {
        if self.whole_chunks <= 1 {
            return None;
        }
        let mut run = self.lists[list_of(WHOLE_LEN)];
        // SAFETY: runs in lists are free and describe themselves; one of this list is a whole chunk.
        unsafe {
            while (*run).len != WHOLE_LEN {
                run = (*run).next;
            }
            self.unlink(run);
        }
        Some(Chunk::of(run.cast()))
    }

    /// Frees lines.
    ///
    /// # Safety
    /// The lines are part of an allocation and are not used any more; this is the thread of their
    /// chunk's owner.
    pub(super) unsafe fn give(&mut self, lines: NonNull<u8>, count: usize) {
        let chunk = Chunk::of(lines.as_ptr());
        let base = chunk.cast::<u8>();
        let mut first = line_of(lines.as_ptr());
        let mut end = first + count;
        // SAFETY: lines of the chunk whose bit is set are ends of free runs. In front of the first
        // given line that is a run's last line, behind the last one a run's first.
        unsafe {
            if first > FIRST_LINE && Chunk::is_end(chunk, first - 1) {
                first -= base.add((first - 1) * LINE_BYTES + LAST_LEN_AT).cast::<usize>().read();
                self.unlink(base.add(first * LINE_BYTES).cast());
            }
            if end < CHUNK_LINES && Chunk::is_end(chunk, end) {
                let behind = base.add(end * LINE_BYTES).cast::<Run>();
                end += (*behind).len;
                self.unlink(behind);
            }
            self.link(base.add(first * LINE_BYTES), end - first);
        }
    }

    /// Finds a run of about `count` lines or more for which `accept` returns true, by its length and
    /// address. Checks a few runs of each list, the shortest first.
    fn find(&self, count: usize, accept: impl Fn(usize, usize) -> bool) -> Option<*mut Run> {
        let mut list = list_of(count);
        loop {
            let mut run = self.first_from(list)?;
            // SAFETY: runs in lists are free and describe themselves.
            unsafe {
                list = list_of((*run).len) + 1;
                for _ in 0..TRIES {
                    if accept((*run).len, run.addr()) {
                        return Some(run);
                    }
                    run = (*run).next;
                    if run.is_null() {
                        break;
                    }
                }
            }
        }
    }

    /// The first run of the first non-empty list from `list` on.
    fn first_from(&self, list: usize) -> Option<*mut Run> {
        let mut word = list / 64;
        let mut bits = self.occupied.get(word)? & (u64::MAX << (list % 64));
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(self.lists[word * 64 + bits.trailing_zeros() as usize])
    }

    /// # Safety
    /// The lines are free, in a chunk of this pool, and adjacent to no free run.
    unsafe fn link(&mut self, first: *mut u8, len: usize) {
        let (chunk, line) = (Chunk::of(first), line_of(first));
        let list = list_of(len);
        let next = self.lists[list];
        let run = first.cast::<Run>();
        // SAFETY: the run's lines are free, so its ends can be written.
        unsafe {
            run.write(Run { len, next, previous: null_mut() });
            first.add((len - 1) * LINE_BYTES + LAST_LEN_AT).cast::<usize>().write(len);
            if !next.is_null() {
                (*next).previous = run;
            }
            Chunk::set_end(chunk, line, true);
            Chunk::set_end(chunk, line + len - 1, true);
        }
        self.lists[list] = run;
        self.occupied[list / 64] |= 1 << (list % 64);
        self.whole_chunks += usize::from(len == WHOLE_LEN);
    }

    /// # Safety
    /// The run is in its list.
    unsafe fn unlink(&mut self, run: *mut Run) {
        let (chunk, line) = (Chunk::of(run.cast()), line_of(run.cast()));
        // SAFETY: listed runs and their neighbours in the list describe themselves.
        let len = unsafe {
            let Run { len, next, previous } = run.read();
            if !next.is_null() {
                (*next).previous = previous;
            }
            if previous.is_null() {
                let list = list_of(len);
                self.lists[list] = next;
                if next.is_null() {
                    self.occupied[list / 64] &= !(1 << (list % 64));
                }
            } else {
                (*previous).next = next;
            }
            Chunk::set_end(chunk, line, false);
            Chunk::set_end(chunk, line + len - 1, false);
            len
        };
        self.whole_chunks -= usize::from(len == WHOLE_LEN);
    }
}

/// The index of an address' line within its chunk.
fn line_of(address: *mut u8) -> usize {
    address.addr() % CHUNK_BYTES / LINE_BYTES
}

/// The number of lines between an address and the next unit.
fn lines_before_unit(address: usize) -> usize {
    (address.next_multiple_of(UNIT_BYTES) - address) / LINE_BYTES
}
