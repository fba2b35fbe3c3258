//! What an item of the expiry wheel costs, from insert to due, in CPU time and memory:
//! `cargo run --release -p basalt-structures --example wheel_cost`.
//!
//! The owner here is an array of expiries, so a figure is the wheel's own share plus one cache miss
//! per question; a keyspace adds its lookup.

#![expect(clippy::print_stdout, reason = "a measurement")]

use std::ops::ControlFlow;

use basalt_structures::{Fate, Wheel};

const START_MS: u64 = 1_790_000_000_123;
const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400 * SECOND_MS;

fn main() {
    println!("| items | expire within | insert | then until removed | processed | bytes |");
    println!("|--:|--:|--:|--:|--:|--:|");
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
    let started_ns = cpu_ns();
    for (item, &at_ms) in (0..).zip(&expiries_ms) {
        wheel.insert(at_ms, item);
    }
    let insert_ns = cpu_ns() - started_ns;
    let bytes = wheel.bytes() as f64 / f64::from(count);

    let mut looks = 0_u64;
    let started_ns = cpu_ns();
    while let Some(now_ms) = wheel.next_due_ms() {
        wheel.advance(now_ms, &mut |items, fates| {
            looks += items.len() as u64;
            for (fate, &item) in fates.iter_mut().zip(items) {
                let at_ms = expiries_ms[item as usize];
                assert!(now_ms <= at_ms, "late");
                *fate = if at_ms <= now_ms { Fate::Gone } else { Fate::At(at_ms) };
            }
            ControlFlow::Continue(())
        });
    }
    let gone_ns = cpu_ns() - started_ns;
    println!(
        "| {count} | {shape} | {:.0} ns | {:.0} ns | {:.2} | {bytes:.2} |",
        insert_ns as f64 / f64::from(count),
        gone_ns as f64 / f64::from(count),
        looks as f64 / f64::from(count),
    );
}

/// The CPU time of this thread, which a busy machine disturbs less than a clock.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    let first = stat.split_whitespace().next();
    first.and_then(|ns| ns.parse().ok()).expect("its first figure is time on the CPU")
}
