//! Tests of the pool: random steps compared with a model, on one thread and on several.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proptest::prelude::*;

use super::*;

#[test]
fn classes_step_as_described() {
    let classes: Vec<usize> =
        [1, 8, 9, 57, 65, 122, 129, 161, 257, 480, 512, 513, 640, 641, 4097, 65_536, 65_537]
            .map(block_bytes)
            .into();
    let expected =
        [8, 8, 12, 60, 68, 124, 136, 168, 272, 480, 512, 576, 640, 704, 4160, 65_536, 69_632];
    assert_eq!(classes, expected);
    for bytes in 1..100_000 {
        let size = block_bytes(bytes);
        assert!(size >= bytes && block_bytes(size) == size);
        assert!(bytes > SMALL_BYTES_MAX || CLASS_BYTES[class_of(bytes)] == size);
    }
}

/// A block that a test holds: filled with one byte, to detect writes by others.
struct Held {
    start: NonNull<u8>,
    bytes: usize,
    fill: u8,
    is_lines: bool,
}

// SAFETY: a block is not tied to a thread.
unsafe impl Send for Held {}

impl Held {
    fn new(bytes: usize, fill: u8) -> Self {
        let start = allocate(bytes);
        assert_eq!(start.addr().get() % 4, 0);
        assert!(start.addr().get().is_multiple_of(8) || !block_bytes(bytes).is_multiple_of(8));
        Self { start, bytes, fill, is_lines: false }.filled()
    }

    fn lines(count: usize, fill: u8) -> Self {
        let start = allocate_zeroed_lines(count, Page::Huge);
        assert_eq!(start.addr().get() % LINE_BYTES, 0);
        let held = Self { start, bytes: count * LINE_BYTES, fill: 0, is_lines: true };
        held.check();
        Self { fill, ..held }.filled()
    }

    fn filled(self) -> Self {
        // SAFETY: the block has that many bytes.
        unsafe { self.start.write_bytes(self.fill, self.bytes) };
        self
    }

    fn check(&self) {
        // SAFETY: the block has that many bytes, all written.
        let content = unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) };
        // Under miri, which is slow, only every block's ends are checked.
        let ends = if cfg!(miri) { self.bytes.min(72) } else { self.bytes };
        for part in [&content[..ends], &content[self.bytes - ends..]] {
            assert!(
                part.iter().all(|&byte| byte == self.fill),
                "somebody wrote into a block in use"
            );
        }
    }

    fn release(self) {
        self.check();
        // SAFETY: the block came from the function that belongs to its kind, with this size.
        unsafe {
            if self.is_lines {
                release_lines(self.start, self.bytes / LINE_BYTES);
            } else {
                release(self.start, self.bytes);
            }
        }
    }

    fn shrink(mut self, kept: usize) -> Self {
        let count = self.bytes / LINE_BYTES;
        // SAFETY: these are lines, and `kept` is 1 to `count`.
        self.start = unsafe { shrink_lines(self.start, count, kept) };
        self.bytes = kept * LINE_BYTES;
        self.check();
        self
    }

    fn pooled_bytes(&self) -> usize {
        if self.bytes > POOLED_BYTES_MAX { 0 } else { block_bytes(self.bytes) }
    }
}

/// Locked by tests that read a pool's accounting, or leave a pool with allocated blocks to the next
/// thread.
static BOOKS: Mutex<()> = Mutex::new(());

fn books() -> MutexGuard<'static, ()> {
    BOOKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Of a pool with nothing allocated: unmaps all its chunks but the last, one at a time.
fn check_that_chunks_go_back() {
    let mut mapped_bytes = pool_stats().mapped_bytes;
    while mapped_bytes > chunk::CHUNK_BYTES {
        assert!(give_back_chunk(), "{mapped_bytes} bytes are still mapped");
        mapped_bytes -= chunk::CHUNK_BYTES;
        assert_eq!(pool_stats().mapped_bytes, mapped_bytes);
    }
    assert!(!give_back_chunk(), "one is kept");
}

/// Runs on its own thread, and so with its own pool, and checks that nothing stays allocated.
fn on_a_pool(work: impl FnOnce() + Send + 'static) {
    let _books = books();
    let thread = std::thread::spawn(|| {
        work();
        assert_eq!(pool_stats().in_use_bytes, 0);
        check_that_chunks_go_back();
    });
    thread.join().expect("the checks hold");
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(usize),
    Lines(usize),
    Release(usize),
    Shrink(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![
        8 => 1..600_usize,
        2 => Just(32_usize),
        2 => 1..6_000_usize,
        1 => 1..100_000_usize,
    ];
    let count = prop_oneof![8 => 1..30_usize, 1 => 1..1_100_usize];
    let step = prop_oneof![
        5 => bytes.prop_map(Step::Allocate),
        2 => count.prop_map(Step::Lines),
        5 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::Shrink),
    ];
    prop::collection::vec(step, 0..if cfg!(miri) { 40 } else { 3_000 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 100 }))]
    #[test]
    fn blocks_keep_apart_and_all_come_back(steps in steps()) {
        on_a_pool(move || {
            let before = pool_stats().in_use_bytes;
            let mut held: Vec<Held> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Allocate(bytes) => held.push(Held::new(bytes, number as u8)),
                    Step::Lines(count) => held.push(Held::lines(count, number as u8)),
                    Step::Release(index) if !held.is_empty() => {
                        let index = index % held.len();
                        held.swap_remove(index).release();
                    }
                    Step::Shrink(index) if !held.is_empty() => {
                        let index = index % held.len();
                        let block = held.swap_remove(index);
                        let count = block.bytes / LINE_BYTES;
                        let kept = if block.is_lines { block.shrink(count.div_ceil(3)) } else { block };
                        held.push(kept);
                    }
                    Step::Release(_) | Step::Shrink(_) => {}
                }
                let pooled: usize = held.iter().map(Held::pooled_bytes).sum();
                assert_eq!(pool_stats().in_use_bytes - before, pooled);
            }
            for block in held {
                block.release();
            }
        });
    }
}

#[test]
fn chunks_go_back_when_nothing_is_in_use() {
    on_a_pool(|| {
        let count = if cfg!(miri) { 150 } else { 4_000 };
        let held: Vec<Held> = (0..count).map(|number| Held::new(20_000, number as u8)).collect();
        assert!(pool_stats().mapped_bytes >= count * 20_000);
        held.into_iter().for_each(Held::release);
    });
}

#[test]
fn a_full_span_serves_again_when_a_block_comes_back() {
    on_a_pool(|| {
        let count = UNIT_BYTES / 512;
        let mut held: Vec<Held> = (0..count).map(|number| Held::new(512, number as u8)).collect();
        let (place, mapped) = (held[7].start, pool_stats().mapped_bytes);
        held.swap_remove(7).release();
        held.push(Held::new(500, 1));
        assert_eq!(held[count - 1].start, place);
        assert_eq!(pool_stats().mapped_bytes, mapped);
        held.into_iter().for_each(Held::release);
    });
}

#[test]
fn neighbours_merge_into_longer_runs() {
    on_a_pool(|| {
        let mut held: BTreeMap<usize, Held> =
            (0..9).map(|at| (at, Held::lines(10, at as u8))).collect();
        let first = held[&3].start;
        for at in [3, 5, 4] {
            held.remove(&at).expect("it is held").release();
        }
        let merged = Held::lines(30, 77);
        assert_eq!(merged.start, first, "the shortest run that does");
        merged.release();
        held.into_values().for_each(Held::release);
    });
}

#[test]
fn blocks_come_home_from_other_threads() {
    const THREADS: usize = 4;
    let _books = books();
    let (rounds, count) = if cfg!(miri) { (3, 12) } else { (200, 500) };
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| std::sync::mpsc::sync_channel::<Vec<Held>>(2)).unzip();
    let finished = std::sync::Arc::new(std::sync::Barrier::new(THREADS));
    let threads: Vec<_> = receivers
        .into_iter()
        .enumerate()
        .map(|(thread, receiver)| {
            let next = senders[(thread + 1) % THREADS].clone();
            let finished = finished.clone();
            std::thread::spawn(move || {
                let before = pool_stats().in_use_bytes;
                for round in 0..rounds {
                    let mut held: Vec<Held> = (0..count)
                        .map(|number| {
                            let bytes = [1, 32, 32, 40, 500, 3_000][(number * 7 + round) % 6];
                            Held::new(bytes, (number + round + thread) as u8)
                        })
                        .collect();
                    held.push(Held::lines(9 + round % 9, round as u8));
                    // Half goes to the neighbour, which frees it while this thread continues.
                    let others = held.split_off(held.len() / 2);
                    next.send(others).expect("the neighbour listens");
                    held.into_iter().for_each(Held::release);
                    let foreign = receiver.recv().expect("the neighbour sends");
                    foreign.into_iter().for_each(Held::release);
                }
                finished.wait();
                assert_eq!(pool_stats().in_use_bytes, before);
                check_that_chunks_go_back();
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("the checks hold");
    }
}

#[test]
fn a_pool_outlives_its_thread() {
    let _books = books();
    let held = std::thread::spawn(|| [Held::new(32, 1), Held::new(5_000, 2), Held::lines(9, 3)]);
    let held = held.join().expect("nothing fails");
    held.into_iter().for_each(Held::release);
}

static ORDERS: Mutex<usize> = Mutex::new(0);

fn orders() -> usize {
    *ORDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Allocates runs until the end. Returns their number.
fn take_until(held: &mut Vec<Held>, is_over: impl Fn() -> bool) -> usize {
    let before = held.len();
    while !is_over() {
        held.push(Held::lines(256, 1));
        assert!(pool_stats().mapped_bytes < 64 << 20, "it should have been over long ago");
    }
    held.len() - before
}

#[test]
fn what_comes_late_is_ordered_earlier_and_what_stands_is_withdrawn() {
    promise_chunks(|| *ORDERS.lock().unwrap_or_else(PoisonError::into_inner) += 1);
    on_a_pool(|| {
        supply_chunks();
        let mut held = Vec::new();
        let to_order = |held: &mut Vec<Held>| {
            let before = orders();
            take_until(held, || orders() > before)
        };
        let to_new_chunk = |held: &mut Vec<Held>| {
            let mapped_bytes = pool_stats().mapped_bytes;
            take_until(held, || pool_stats().mapped_bytes > mapped_bytes)
        };
        // The pool may have learned to order early, for another thread: a withdrawal resets that.
        for _ in 0..2 {
            withdraw_chunks();
            withdraw_chunks();
            to_order(&mut held);
            supply_chunks();
        }
        let in_time = to_new_chunk(&mut held);
        to_order(&mut held);
        to_new_chunk(&mut held);
        // A chunk that came late serves next, without an order.
        supply_chunks();
        to_new_chunk(&mut held);
        to_order(&mut held);
        supply_chunks();
        let earlier = to_new_chunk(&mut held);
        assert!(earlier > in_time * 3 / 2, "{earlier} runs before the end after {in_time}");
        to_order(&mut held);
        supply_chunks();
        withdraw_chunks();
        let before = orders();
        held.push(Held::lines(256, 1));
        assert_eq!(orders(), before, "what is new isn't withdrawn");
        withdraw_chunks();
        to_order(&mut held);
        held.into_iter().for_each(Held::release);
    });
}

#[test]
fn chunks_come_ahead_of_need() {
    promise_chunks(|| *ORDERS.lock().unwrap_or_else(PoisonError::into_inner) += 1);
    on_a_pool(|| {
        // The pool may have ordered before, for another thread.
        supply_chunks();
        let before = orders();
        let mut held = Vec::new();
        take_until(&mut held, || orders() > before);
        supply_chunks();
        let mapped_bytes = pool_stats().mapped_bytes;
        // A prepared chunk is used next, and is zeroed like any other.
        while pool_stats().mapped_bytes == mapped_bytes {
            held.push(Held::lines(256, 2));
        }
        held.into_iter().for_each(Held::release);
    });
}
