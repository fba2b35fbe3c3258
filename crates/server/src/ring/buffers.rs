//! Buffers: memory lent to the kernel, into which it receives.
//!
//!   published ──kernel receives──► chunks ──all released, kernel done──► published again
//!
//! Where the kernel can, it fills a buffer piece by piece (incremental consumption) and says with each
//! chunk whether more may follow in the same buffer; else a buffer holds one chunk. Either way a buffer
//! is lent again once the kernel is done with it and every chunk of it was released.
//!
//! Invariant: the bytes of a chunk that is not released are written by nobody.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use crate::limits::{BUFFER_BYTES, BUFFER_COUNT};

/// The only group of buffers that a ring has.
pub(super) const GROUP: u16 = 0;
/// `IOU_PBUF_RING_INC` of the kernel's interface: buffers are consumed piece by piece.
const INCREMENTAL: u16 = 2;
const PAGE_BYTES: usize = 4096;

/// Bytes that were received, until they are released.
#[derive(Debug)]
pub(crate) struct Chunk {
    buffer: u16,
    offset: u32,
    len: u32,
}

impl Chunk {
    /// How many bytes it has.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }
}

pub(super) struct Buffers {
    entries: Allocation,
    memory: Allocation,
    lent: Vec<Lent>,
    /// Buffers published so far, modulo 2^16: the kernel reads it at the tail of the entries.
    tail: u16,
    incremental: bool,
}

/// What is known of one buffer.
#[derive(Clone, Copy, Default)]
struct Lent {
    /// How much of it the kernel has filled.
    filled: u32,
    /// Chunks not released yet.
    chunks: u32,
    /// The kernel will fill no more of it.
    done: bool,
}

impl Buffers {
    /// Registers the buffers with the ring, in the best manner that the kernel knows.
    pub(super) fn register(submitter: &Submitter<'_>) -> io::Result<Self> {
        let entries = Allocation::zeroed(usize::from(BUFFER_COUNT) * size_of::<BufRingEntry>());
        let memory = Allocation::zeroed(usize::from(BUFFER_COUNT) * BUFFER_BYTES as usize);
        let address = entries.start.as_ptr() as u64;
        let register = |flags| {
            // SAFETY: `entries` has room for BUFFER_COUNT entries, begins at a page, and lives in the
            // `Buffers` that the ring keeps until it is closed.
            unsafe { submitter.register_buf_ring_with_flags(address, BUFFER_COUNT, GROUP, flags) }
        };
        let incremental = register(INCREMENTAL).is_ok();
        if !incremental {
            register(0)?;
        }
        let lent = vec![Lent::default(); usize::from(BUFFER_COUNT)];
        let mut buffers = Self { entries, memory, lent, tail: 0, incremental };
        for buffer in 0..BUFFER_COUNT {
            buffers.publish(buffer);
        }
        buffers.show();
        Ok(buffers)
    }

    pub(super) fn is_incremental(&self) -> bool {
        self.incremental
    }

    /// Notes that the kernel filled `len` further bytes of a buffer and whether it may go on with it.
    pub(super) fn filled(&mut self, buffer: u16, len: u32, more: bool) -> Chunk {
        let lent = &mut self.lent[usize::from(buffer)];
        let chunk = Chunk { buffer, offset: lent.filled, len };
        lent.filled += len;
        lent.chunks += 1;
        lent.done = !more;
        assert!(lent.filled <= BUFFER_BYTES, "the kernel filled more of a buffer than there is");
        chunk
    }

    pub(super) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        let start = usize::from(chunk.buffer) * BUFFER_BYTES as usize + chunk.offset as usize;
        // SAFETY: `filled` made the chunk within the memory, which is initialized; the kernel doesn't
        // write to it again before `release` has taken the chunk, which can't be while it is borrowed.
        unsafe {
            std::slice::from_raw_parts(self.memory.start.as_ptr().add(start), chunk.len as usize)
        }
    }

    /// Gives chunks back; buffers that are done with are lent again.
    pub(super) fn release(&mut self, chunks: impl Iterator<Item = Chunk>) {
        let tail = self.tail;
        for chunk in chunks {
            let lent = &mut self.lent[usize::from(chunk.buffer)];
            lent.chunks -= 1;
            if lent.done && lent.chunks == 0 {
                *lent = Lent::default();
                self.publish(chunk.buffer);
            }
        }
        if self.tail != tail {
            self.show();
        }
    }

    /// Keeps the memory for ever, because the kernel may still write to it.
    pub(super) fn forget(&mut self) {
        self.entries.kept = true;
        self.memory.kept = true;
    }

    /// Writes an entry; the kernel sees it at the next `show`.
    fn publish(&mut self, buffer: u16) {
        let memory = self.memory.start.as_ptr() as u64;
        let index = usize::from(self.tail % BUFFER_COUNT);
        // SAFETY: the index is within the entries; the entry there was consumed by the kernel, because
        // no buffer is published while it is lent. Its fields are set one by one, since the last two
        // bytes of the first entry are the tail.
        let entry = unsafe { &mut *self.entries.start.as_ptr().cast::<BufRingEntry>().add(index) };
        entry.set_addr(memory + u64::from(buffer) * u64::from(BUFFER_BYTES));
        entry.set_len(BUFFER_BYTES);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn show(&self) {
        let entries = self.entries.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: `entries` is the address of the first entry, which is initialized.
        let tail = unsafe { BufRingEntry::tail(entries) };
        // SAFETY: the tail lies within the first entry, is aligned, and only we write it.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}

/// Zeroed memory that begins at a page; touched from the start, so that no request waits for it.
struct Allocation {
    start: NonNull<u8>,
    layout: Layout,
    /// Never given back.
    kept: bool,
}

impl Allocation {
    fn zeroed(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).expect("because sizes are small");
        assert!(bytes > 0, "an allocation of nothing has no address");
        // SAFETY: the layout's size is not zero.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        // SAFETY: so many bytes were allocated there.
        unsafe { start.write_bytes(0, bytes) };
        Self { start, layout, kept: false }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if !self.kept {
            // SAFETY: allocated with this layout in `zeroed`, and nobody uses it any more.
            unsafe { dealloc(self.start.as_ptr(), self.layout) };
        }
    }
}
