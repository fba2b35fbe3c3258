//! What an item of the expiry wheel costs, from insert to due, in time and memory:
//! `cargo run --release -p basalt-structures --example wheel_cost`.
//!
//! The owner here is an array of expiries, so a figure is the wheel's own share plus one cache miss
//! per question; a keyspace adds its lookup.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measurement")]

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use basalt_structures::{Backlog, Fate, Wheel};

const START_MS: u64 = 1_790_000_000_123;
const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400 * SECOND_MS;
/// Groups per slice, some 512 questions.
const SLICE_GROUPS: u32 = 16;

fn main() {
    println!("| items | expire within | insert | then until gone | looks | slice max | bytes |");
    println!("|--:|--:|--:|--:|--:|--:|--:|");
    for count in [1_000_000, 10_000_000] {
        measure(count, "a day", 0, DAY_MS);
    }
    measure(1_000_000, "an hour", 0, 3_600 * SECOND_MS);
    measure(1_000_000, "one second, a minute ahead", 60 * SECOND_MS, SECOND_MS);
    measure(1_000_000, "one millisecond, a minute ahead", 60 * SECOND_MS, 1);
}

fn measure(count: u32, shape: &str, delay_ms: u64, spread_ms: u64) {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let expiries_ms: Vec<u64> = (0..count)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            START_MS + delay_ms + random % spread_ms
        })
        .collect();

    let mut wheel = Wheel::new(START_MS);
    let started = Instant::now();
    for (item, &at_ms) in (0..).zip(&expiries_ms) {
        wheel.insert(at_ms, item);
    }
    let insert = started.elapsed();
    let bytes = wheel.bytes() as f64 / f64::from(count);

    let (mut looks, mut slice_max) = (0_u64, Duration::ZERO);
    let started = Instant::now();
    while let Some(now_ms) = wheel.next_due_ms() {
        loop {
            let slice_started = Instant::now();
            let mut groups = 0;
            let backlog = wheel.advance(now_ms, &mut |items, fates| {
                looks += items.len() as u64;
                for (fate, &item) in fates.iter_mut().zip(items) {
                    let at_ms = expiries_ms[item as usize];
                    assert!(now_ms <= at_ms, "late");
                    *fate = if at_ms <= now_ms { Fate::Gone } else { Fate::At(at_ms) };
                }
                groups += 1;
                if groups < SLICE_GROUPS {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            slice_max = slice_max.max(slice_started.elapsed());
            if backlog == Backlog::None {
                break;
            }
        }
    }
    let gone = started.elapsed();
    let per_item = |time: Duration| time.as_nanos() as f64 / f64::from(count);
    println!(
        "| {count} | {shape} | {:.0} ns | {:.0} ns | {:.2} | {} µs | {bytes:.2} |",
        per_item(insert),
        per_item(gone),
        looks as f64 / f64::from(count),
        slice_max.as_micros(),
    );
}
