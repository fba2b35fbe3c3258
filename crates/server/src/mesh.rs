//! Mesh: the roads between shards, one ring for each ordered pair of them.
//!
//!   port of 0 ──[ ring 0→1 ]──► port of 1        one writer and one reader per ring, so no locks;
//!   port of 0 ◄─[ ring 1→0 ]─── port of 1        a bell per shard says whether it sleeps
//!
//! A shard works its incoming rings every turn, so a message needs no wake-up unless the other sleeps.
//! Invariant: a shard that found its rings empty after it rang itself asleep is woken by whoever writes
//! next; of two fences, one before the sleeper's look and one before the writer's, one comes first.
//! Invariant: messages of one pair arrive once and in order.
//! Not here: how a sleeper is woken (`core_loop` asks the ring to), what messages mean (`engine`).

#![expect(unsafe_code, reason = "a ring's cells are written by one thread and read by another")]

use std::mem::MaybeUninit;
use std::ops::Deref;

use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, fence};

/// Keeps a value on cache lines of its own (two: the prefetcher fetches them in pairs).
#[repr(align(128))]
#[derive(Debug, Default)]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// One shard's end of the mesh.
pub(crate) struct Port<T> {
    own: usize,
    outgoing: Vec<Option<Writer<T>>>,
    incoming: Vec<Option<Reader<T>>>,
    sleep_flags: Arc<[Padded<SleepFlag>]>,
    /// Who was written to since the last [`Port::sleepers`].
    touched: Vec<bool>,
    any_touched: bool,
    /// Where the next drain begins, so that no neighbour is always served last.
    first: usize,
}

/// The ports of a mesh of `count` shards whose rings hold `capacity` messages each.
pub(crate) fn ports<T>(count: usize, capacity: usize) -> Vec<Port<T>> {
    let sleep_flags: Arc<[Padded<SleepFlag>]> =
        (0..count).map(|_| Padded(SleepFlag::new())).collect();
    let mut ports: Vec<Port<T>> = (0..count)
        .map(|own| Port {
            own,
            outgoing: (0..count).map(|_| None).collect(),
            incoming: (0..count).map(|_| None).collect(),
            sleep_flags: Arc::clone(&sleep_flags),
            touched: vec![false; count],
            any_touched: false,
            first: own,
        })
        .collect();
    for from in 0..count {
        for to in (0..count).filter(|&to| to != from) {
            let (writer, reader) = ring(capacity);
            ports[from].outgoing[to] = Some(writer);
            ports[to].incoming[from] = Some(reader);
        }
    }
    ports
}

impl<T> Port<T> {
    pub(crate) fn own(&self) -> usize {
        self.own
    }

    /// Writes a message to another shard; hands it back where the ring is full.
    pub(crate) fn send(&mut self, to: usize, message: T) -> Result<(), T> {
        let writer = self.outgoing[to].as_mut().expect("because no shard writes to itself");
        writer.push(message)?;
        self.touched[to] = true;
        self.any_touched = true;
        Ok(())
    }

    /// How many messages to `to` are sure to find room.
    pub(crate) fn room(&mut self, to: usize) -> usize {
        self.outgoing[to].as_mut().map_or(0, Writer::room)
    }

    /// Takes what has come in, at most a ring's length from each neighbour.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(usize, T)) {
        let count = self.incoming.len();
        for step in 0..count {
            let from = (self.first + step) % count;
            if let Some(reader) = &mut self.incoming[from] {
                reader.drain(|message| take(from, message));
            }
        }
        self.first = (self.first + 1) % count;
    }

    /// Names each sleeping shard that was written to since the last call, once; the caller must wake it.
    pub(crate) fn sleepers(&mut self, mut wake: impl FnMut(usize)) {
        if !self.any_touched {
            return;
        }
        self.any_touched = false;
        // Between our writes and the look at the sleep_flags; its twin is in `Port::prepare_sleep`.
        fence(Ordering::SeqCst);
        for (peer, touched) in self.touched.iter_mut().enumerate() {
            if std::mem::take(touched) && self.sleep_flags[peer].take() {
                wake(peer);
            }
        }
    }

    /// Marks this shard as asleep. Returns false if something has come in meanwhile: then it may not sleep.
    #[must_use]
    pub(crate) fn prepare_sleep(&mut self) -> bool {
        self.sleep_flags[self.own].set();
        fence(Ordering::SeqCst);
        let empty = self.incoming.iter_mut().flatten().all(Reader::is_empty);
        if !empty {
            self.end_sleep();
        }
        empty
    }

    /// Marks this shard as awake.
    pub(crate) fn end_sleep(&mut self) {
        self.sleep_flags[self.own].clear();
    }

    /// How many messages wait in the incoming rings.
    pub(crate) fn waiting(&mut self) -> usize {
        self.incoming.iter_mut().flatten().map(Reader::len).sum()
    }

    /// Whether something waits in the incoming rings.
    pub(crate) fn is_empty(&mut self) -> bool {
        self.incoming.iter_mut().flatten().all(Reader::is_empty)
    }
}

/// Whether a shard sleeps and wants to be woken.
struct SleepFlag {
    sleeping: AtomicBool,
}

impl SleepFlag {
    fn new() -> Self {
        Self { sleeping: AtomicBool::new(false) }
    }
    /// An exchange and not a store, so that it has one order with the exchange of a writer that saw the
    /// sleep before: that one can't hide this.
    fn set(&self) {
        self.sleeping.swap(true, Ordering::AcqRel);
    }
    fn clear(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }
    /// True for one of all who ask while the shard sleeps: that one wakes it.
    fn take(&self) -> bool {
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel)
    }
}

/// What a writer and a reader share. Both counters only grow (and wrap); a counter modulo the length
/// is a cell.
struct Shared<T> {
    cells: Box<[UnsafeCell<MaybeUninit<T>>]>,
    /// Messages read so far; stored by the reader only.
    read: Padded<AtomicUsize>,
    /// Messages written so far; stored by the writer only.
    written: Padded<AtomicUsize>,
}

// SAFETY: a cell is touched by one side at a time: by the writer while it lies outside read..written, by
// the reader while inside, and the hand-over is a release store of a counter met by an acquire load.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above; what it owns are the `T`s, which may move between threads.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Drop for Shared<T> {
    /// Drops what nobody has read.
    fn drop(&mut self) {
        let mask = self.cells.len() - 1;
        let mut read = self.read.load(Ordering::Relaxed);
        let written = self.written.load(Ordering::Relaxed);
        while read != written {
            self.cells[read & mask].with_mut(|cell| {
                // SAFETY: the cell lies inside read..written, and both sides are gone.
                unsafe { (*cell).assume_init_drop() };
            });
            read = read.wrapping_add(1);
        }
    }
}

fn ring<T>(capacity: usize) -> (Writer<T>, Reader<T>) {
    assert!(capacity.is_power_of_two(), "a ring's length must divide the range of its counters");
    let shared = Arc::new(Shared {
        cells: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        read: Padded(AtomicUsize::new(0)),
        written: Padded(AtomicUsize::new(0)),
    });
    (
        Writer { shared: Arc::clone(&shared), written: 0, read_seen: 0 },
        Reader { shared, read: 0, written_seen: 0 },
    )
}

struct Writer<T> {
    shared: Arc<Shared<T>>,
    written: usize,
    /// The reader's counter when last looked at: it is fetched again only when the ring seems full.
    read_seen: usize,
}

impl<T> Writer<T> {
    fn room(&mut self) -> usize {
        self.read_seen = self.shared.read.load(Ordering::Acquire);
        self.shared.cells.len() - self.written.wrapping_sub(self.read_seen)
    }

    fn push(&mut self, message: T) -> Result<(), T> {
        let capacity = self.shared.cells.len();
        if self.written.wrapping_sub(self.read_seen) == capacity && self.room() == 0 {
            return Err(message);
        }
        self.shared.cells[self.written & (capacity - 1)].with_mut(|cell| {
            // SAFETY: the cell lies outside read..written, so the reader doesn't touch it until the
            // store below, and what it held was read out.
            unsafe { (*cell).write(message) };
        });
        self.written = self.written.wrapping_add(1);
        self.shared.written.store(self.written, Ordering::Release);
        Ok(())
    }
}

struct Reader<T> {
    shared: Arc<Shared<T>>,
    read: usize,
    written_seen: usize,
}

impl<T> Reader<T> {
    fn is_empty(&mut self) -> bool {
        self.written_seen = self.shared.written.load(Ordering::Acquire);
        self.written_seen == self.read
    }

    fn len(&mut self) -> usize {
        self.written_seen = self.shared.written.load(Ordering::Acquire);
        self.written_seen.wrapping_sub(self.read)
    }

    /// Takes what was written before the call. Room is given back once, at the end.
    fn drain(&mut self, mut take: impl FnMut(T)) {
        if self.is_empty() {
            return;
        }
        let mask = self.shared.cells.len() - 1;
        while self.read != self.written_seen {
            let message = self.shared.cells[self.read & mask].with_mut(|cell| {
                // SAFETY: the cell lies inside read..written, so it holds a message that the writer
                // handed over; advancing `read` makes sure that it is taken out once.
                unsafe { (*cell).assume_init_read() }
            });
            self.read = self.read.wrapping_add(1);
            take(message);
        }
        self.shared.read.store(self.read, Ordering::Release);
    }
}
