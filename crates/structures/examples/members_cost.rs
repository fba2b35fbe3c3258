//! What a member of a large set and a field of a large hash cost, in memory and CPU time:
//! `cargo run --release -p basalt-structures --example members_cost`.
//!
//! Members are 17 bytes, fields and values 16 each; what memory costs is the growth of the
//! process, which holds nothing else.

#![expect(clippy::print_stdout, reason = "a measurement")]

use basalt_structures::{KeyHasher, Member, Members};

fn main() {
    println!(
        "| shape | accounted | resident | insert | worst | lookup | pick | iterate | remove | left |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let counts: Vec<usize> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let counts =
        if counts.is_empty() { vec![100_000, 1_000_000, 2_000_000, 4_000_000] } else { counts };
    for count in counts {
        measure("set", Members::bare, count);
        measure("hash", Members::with_values, count);
    }
}

fn measure(shape: &str, make: fn(&KeyHasher) -> Members, count: usize) {
    let resident_before = resident_bytes();
    let mut members = make(&KeyHasher::new(7));
    let mut name = *b"m0000000000000000";
    let name_len = if shape == "set" { 17 } else { 16 };
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut named = |number: usize| {
        let mut left = number;
        for digit in name[1..name_len].iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        name
    };

    let mut worst_ns = 0;
    let insert_ns = cpu_ns_of(|| {
        for number in 0..count {
            let name = &named(number)[..name_len];
            let began_ns = ticks();
            if shape == "set" {
                members.insert(name);
            } else {
                members.put(Member { name, value: &name[..16], expire_at_ms: None });
            }
            worst_ns = worst_ns.max(ticks() - began_ns);
        }
    });
    let resident = resident_bytes() - resident_before;
    let books = members.heap_bytes();

    let mut found = 0;
    let look_up_ns = cpu_ns_of(|| {
        for _ in 0..count {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            found += usize::from(members.contains(&named(random as usize % count)[..name_len]));
        }
    });
    assert_eq!(found, count);
    let mut bytes = 0;
    let pick_ns = cpu_ns_of(|| {
        for random in 0..count as u64 {
            bytes += members.pick(random << 20).map_or(0, |place| members.at(place).name.len());
        }
    });
    let walk_ns =
        cpu_ns_of(|| bytes += members.iter().map(|member| member.name.len()).sum::<usize>());
    assert_eq!(bytes, 2 * count * name_len);
    let remove_ns = cpu_ns_of(|| {
        for number in 0..count {
            assert!(members.remove(&named(number)[..name_len]));
        }
    });
    let left = resident_bytes().saturating_sub(resident_before);
    println!(
        "| {shape} of {count} | {:.1} B | {:.1} B | {:.0} ns | {} µs | {:.0} ns | {:.0} ns | {:.1} ns | {:.0} ns | {:.1} B |",
        books as f64 / count as f64,
        resident as f64 / count as f64,
        insert_ns / count as f64,
        worst_ns / 1000,
        look_up_ns / count as f64,
        pick_ns / count as f64,
        walk_ns / count as f64,
        remove_ns / count as f64,
        left as f64 / count as f64,
    );
}

#[expect(clippy::disallowed_methods, reason = "a measurement of single steps")]
fn ticks() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
    let pages = status.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("its second figure is resident pages") * 4096
}

fn cpu_ns_of(work: impl FnOnce()) -> f64 {
    let began_ns = cpu_ns();
    work();
    (cpu_ns() - began_ns) as f64
}

/// The CPU time of this thread, which a busy machine disturbs less than a clock.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
    let first = stat.split_whitespace().next();
    first.and_then(|ns| ns.parse().ok()).expect("its first figure is time on the CPU")
}
