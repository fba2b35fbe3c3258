//! The wheel compared with a plain model of keys with expiries.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;

/// The owner: keys by name, several of which may share an item when their hashes collide.
#[derive(Default)]
struct Owner {
    expiries: BTreeMap<u16, u64>,
    now_ms: u64,
    /// Removed keys with their expiry, in the order of removal.
    removed: Vec<(u16, u64)>,
    asked: usize,
}

impl Owner {
    fn item(key: u16) -> u32 {
        u32::from(key % 300)
    }

    fn set(&mut self, wheel: &mut Wheel, key: u16, expire_at_ms: u64) {
        let before = self.expiries.insert(key, expire_at_ms);
        if before.is_none_or(|before| expire_at_ms < before) {
            wheel.insert(expire_at_ms, Self::item(key));
        }
    }

    fn fate(&mut self, item: u32) -> Fate {
        self.asked += 1;
        let mut earliest_ms = None::<u64>;
        let (now_ms, removed) = (self.now_ms, &mut self.removed);
        self.expiries.retain(|&key, &mut at_ms| {
            if Self::item(key) != item {
                return true;
            }
            if at_ms <= now_ms {
                removed.push((key, at_ms));
                return false;
            }
            earliest_ms = Some(earliest_ms.map_or(at_ms, |earliest_ms| earliest_ms.min(at_ms)));
            true
        });
        earliest_ms.map_or(Fate::Gone, Fate::At)
    }

    fn resolve(&mut self, mut groups: usize) -> impl FnMut(&[u32], &mut [Fate]) -> ControlFlow<()> {
        move |items, fates| {
            for (fate, &item) in fates.iter_mut().zip(items) {
                *fate = self.fate(item);
            }
            groups -= 1;
            if groups == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }

    fn advance(&mut self, wheel: &mut Wheel, groups: usize) -> Backlog {
        wheel.advance(self.now_ms, &mut self.resolve(groups))
    }

    fn earliest_ms(&self) -> Option<u64> {
        self.expiries.values().copied().min()
    }
}

const UNBOUNDED: usize = usize::MAX;
const START_MS: u64 = 1_790_000_000_123;
const DAY_MS: u64 = 86_400_000;

fn check_books(wheel: &Wheel) {
    let (mut len, mut bytes) = (wheel.sweep.todo.len(), wheel.sweep.todo.heap_bytes());
    for level in &wheel.levels {
        let (level_len, level_bytes) = level.walk();
        len += level_len;
        bytes += level_bytes;
    }
    assert_eq!(wheel.len(), len);
    assert_eq!(wheel.cell_bytes, bytes);
    if wheel.is_empty() {
        assert_eq!(wheel.bytes(), 0, "an empty wheel holds no memory");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Set {
        key: u16,
        ttl_ms: u64,
    },
    SetPast {
        key: u16,
        late_ms: u64,
    },
    SetMany {
        first: u16,
        count: u16,
        ttl_ms: u64,
    },
    Persist {
        key: u16,
    },
    Advance {
        passed_ms: u64,
        groups: usize,
    },
    AdvanceToNextDue,
    SetClockBack {
        by_ms: u64,
    },
    Sweep {
        groups: usize,
    },
    /// The owner answers no question.
    AdvanceUnanswered,
    SweepUnanswered,
}

/// Spans of every magnitude, with a preference for the edges of cells.
fn span_ms() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..20_u64,
        4 => 0..700_u64,
        3 => 0..200_000_u64,
        2 => 0..2 * DAY_MS,
        1 => 0..200 * 365 * DAY_MS,
        2 => (0..5_u32, 1..5_u64, 0..3_u64)
            .prop_map(|(level, cells, off)| (cells << (level * 8)).saturating_sub(off)),
        1 => Just(u64::MAX / 2),
    ]
}

fn groups() -> impl Strategy<Value = usize> {
    prop_oneof![1_usize..4, Just(UNBOUNDED)]
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..1000_u16;
    prop_oneof![
        6 => (key(), span_ms()).prop_map(|(key, ttl_ms)| Step::Set { key, ttl_ms }),
        1 => (key(), span_ms()).prop_map(|(key, late_ms)| Step::SetPast { key, late_ms }),
        2 => (key(), 1..500_u16, span_ms())
            .prop_map(|(first, count, ttl_ms)| Step::SetMany { first, count, ttl_ms }),
        2 => key().prop_map(|key| Step::Persist { key }),
        6 => (span_ms(), groups()).prop_map(|(passed_ms, groups)| Step::Advance {
            passed_ms: passed_ms.min(100 * 365 * DAY_MS),
            groups
        }),
        3 => Just(Step::AdvanceToNextDue),
        1 => (0..2 * DAY_MS).prop_map(|by_ms| Step::SetClockBack { by_ms }),
        2 => groups().prop_map(|groups| Step::Sweep { groups }),
        1 => Just(Step::AdvanceUnanswered),
        1 => Just(Step::SweepUnanswered),
    ]
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(cases(600))]

    /// No item is lost or late, whatever the order of sets, budgets, sweeps and jumps of the clock.
    #[test]
    fn every_key_is_removed_in_the_first_finished_advance_after_its_expiry(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut wheel = Wheel::new(START_MS);
        let mut owner = Owner { now_ms: START_MS, ..Owner::default() };
        // A clock that was set back is noticed at the next advance.
        let mut wheel_knows_ms = START_MS;
        // When unanswered items are asked about again.
        let mut again_ms = START_MS;
        for step in steps {
            let now_ms = owner.now_ms;
            match step {
                Step::Set { key, ttl_ms } => {
                    owner.set(&mut wheel, key, now_ms.saturating_add(ttl_ms));
                }
                Step::SetPast { key, late_ms } => {
                    owner.set(&mut wheel, key, now_ms.saturating_sub(late_ms));
                }
                Step::SetMany { first, count, ttl_ms } => {
                    for key in first..first + count {
                        let spread_ms = u64::from(key) % 7 * (ttl_ms / 50);
                        let at_ms = now_ms.saturating_add(ttl_ms).saturating_add(spread_ms);
                        owner.set(&mut wheel, key, at_ms);
                    }
                }
                Step::Persist { key } => {
                    owner.expiries.remove(&key);
                }
                Step::Advance { passed_ms, groups } => {
                    owner.now_ms += passed_ms;
                    let was_due = wheel.next_due(wheel.wheel_ms(owner.now_ms)).is_some();
                    let (asked, len) = (owner.asked, wheel.len());
                    let backlog = owner.advance(&mut wheel, groups);
                    // A group with only repeats is not asked about.
                    let has_worked = owner.asked > asked || wheel.len() < len;
                    prop_assert!(has_worked || !was_due, "no progress");
                    let has_work = wheel.next_due_ms().is_some_and(|at_ms| at_ms <= owner.now_ms);
                    prop_assert_eq!(has_work, backlog != Backlog::None);
                    if backlog < Backlog::Due && owner.now_ms >= again_ms {
                        prop_assert!(owner.earliest_ms().is_none_or(|at_ms| at_ms > owner.now_ms));
                    }
                }
                Step::AdvanceToNextDue => {
                    owner.now_ms = now_ms.max(wheel.next_due_ms().unwrap_or(0));
                    owner.advance(&mut wheel, UNBOUNDED);
                }
                Step::SetClockBack { by_ms } => owner.now_ms -= by_ms.min(now_ms),
                Step::Sweep { groups } => {
                    wheel.sweep(&mut owner.resolve(groups));
                }
                // "Ask again in a millisecond", which may begin at once.
                Step::AdvanceUnanswered => {
                    wheel.advance(now_ms, &mut |_, _| ControlFlow::Continue(()));
                    owner.now_ms += 1;
                    again_ms = again_ms.max(owner.now_ms);
                }
                Step::SweepUnanswered => {
                    wheel.sweep(&mut |_, _| ControlFlow::Break(()));
                    owner.now_ms += 1;
                    again_ms = again_ms.max(owner.now_ms);
                }
            }
            if let Step::Advance { .. } | Step::AdvanceToNextDue | Step::AdvanceUnanswered = step {
                wheel_knows_ms = owner.now_ms;
            }
            check_books(&wheel);
            if let Some(earliest_ms) = owner.earliest_ms() {
                let next_due_ms = wheel.next_due_ms().expect("a key waits, so an item must");
                let known_ms = owner.now_ms.max(wheel_knows_ms).max(again_ms);
                prop_assert!(next_due_ms <= earliest_ms.max(known_ms));
            }
        }
        // Remaining items are due at their exact millisecond if nothing delays them.
        owner.now_ms = owner.now_ms.max(again_ms);
        owner.advance(&mut wheel, UNBOUNDED);
        while owner.now_ms < START_MS + 300 * 365 * DAY_MS {
            let Some(next_due_ms) = wheel.next_due_ms() else { break };
            owner.now_ms = owner.now_ms.max(next_due_ms);
            owner.removed.clear();
            prop_assert_eq!(owner.advance(&mut wheel, UNBOUNDED), Backlog::None);
            for &(_, at_ms) in &owner.removed {
                prop_assert_eq!(at_ms, owner.now_ms);
            }
            check_books(&wheel);
        }
    }

    /// An owner that calls often enough gets the keys in order of time.
    #[test]
    fn due_items_come_in_order_of_time(
        ttls_ms in prop::collection::vec(0..100_000_u64, 1..300),
        strides_ms in prop::collection::vec(0..=256_u64, 16),
    ) {
        let mut wheel = Wheel::new(START_MS);
        for (item, ttl_ms) in (0..).zip(&ttls_ms) {
            wheel.insert(START_MS + ttl_ms, item);
        }
        let mut now_ms = START_MS;
        let mut order_ms = Vec::new();
        for stride_ms in strides_ms.into_iter().chain([255]).cycle() {
            now_ms += stride_ms;
            wheel.advance(now_ms, &mut |items, fates| {
                for (fate, &item) in fates.iter_mut().zip(items) {
                    let at_ms = START_MS + ttls_ms[item as usize];
                    *fate = Fate::At(at_ms);
                    if at_ms <= now_ms {
                        order_ms.push(at_ms);
                        *fate = Fate::Gone;
                    }
                }
                ControlFlow::Continue(())
            });
            if wheel.is_empty() {
                break;
            }
        }
        prop_assert_eq!(order_ms.len(), ttls_ms.len());
        prop_assert!(order_ms.is_sorted());
    }
}

/// Runs the wheel from one of its moments to the next; returns the number of questions.
fn run_to_the_end(wheel: &mut Wheel, at_ms: impl Fn(u32) -> u64) -> usize {
    let mut asked = 0;
    while let Some(now_ms) = wheel.next_due_ms() {
        wheel.advance(now_ms, &mut |items, fates| {
            for (fate, &item) in fates.iter_mut().zip(items) {
                asked += 1;
                let at_ms = at_ms(item);
                assert!(now_ms <= at_ms, "item {item} is late");
                *fate = if at_ms <= now_ms { Fate::Gone } else { Fate::At(at_ms) };
            }
            ControlFlow::Continue(())
        });
    }
    asked
}

#[test]
fn an_item_is_looked_at_once_per_level() {
    for (ttl_ms, looks) in [(200, 1), (60_000, 2), (3_600_000, 3), (DAY_MS, 4), (200 * DAY_MS, 5)] {
        let mut wheel = Wheel::new(START_MS);
        wheel.insert(START_MS + ttl_ms, 7);
        assert_eq!(run_to_the_end(&mut wheel, |_| START_MS + ttl_ms), looks, "{ttl_ms} ms");
        assert_eq!(wheel.bytes(), 0);
    }
}

#[test]
fn beyond_the_top_level_it_asks_again_every_seventy_years() {
    let at_ms = START_MS + 1000 * 365 * DAY_MS;
    let mut wheel = Wheel::new(START_MS);
    wheel.insert(at_ms, 7);
    assert!(run_to_the_end(&mut wheel, |_| at_ms) < 25);
}

/// The first items of a crowded coarse cell are on time, although each advance may ask only about a
/// few: the cell is emptied during the span before it.
#[test]
fn a_crowded_cell_is_emptied_ahead_of_its_span() {
    const COUNT: u32 = 300_000;
    const BUDGET_ITEMS: usize = 1280;
    let now_ms = 100 << 16;
    let span_ms = 105 << 16;
    // All in one cell of level 2, a tenth of them at its very start.
    let at_ms = |item: u32| span_ms + u64::from(item % 10) * 6_000;
    let mut wheel = Wheel::new(now_ms);
    for item in 0..COUNT {
        wheel.insert(at_ms(item), item);
    }
    assert_eq!(wheel.next_due_ms(), Some(104 << 16), "when the span before begins");
    let mut removed = 0;
    for now_ms in (now_ms..span_ms).chain(span_ms..span_ms + 60_000) {
        let mut asked = 0;
        let backlog = wheel.advance(now_ms, &mut |items, fates| {
            for (fate, &item) in fates.iter_mut().zip(items) {
                let at_ms = at_ms(item);
                *fate = if at_ms <= now_ms { Fate::Gone } else { Fate::At(at_ms) };
                removed += u32::from(*fate == Fate::Gone);
            }
            asked += items.len();
            if asked >= BUDGET_ITEMS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if now_ms == span_ms {
            assert!(removed as usize >= BUDGET_ITEMS, "only {removed} on time");
        }
        if now_ms < span_ms {
            assert_ne!(backlog, Backlog::Due);
        }
    }
    assert_eq!(removed, COUNT);
    check_books(&wheel);
}

#[test]
fn a_clock_set_back_does_not_make_items_busy() {
    let mut owner = Owner { now_ms: START_MS, ..Owner::default() };
    let mut wheel = Wheel::new(START_MS);
    for key in 0..300 {
        owner.set(&mut wheel, key, START_MS + 50_000 + u64::from(key));
    }
    owner.now_ms -= DAY_MS;
    owner.advance(&mut wheel, UNBOUNDED);
    for key in 0..100 {
        owner.set(&mut wheel, key, owner.now_ms + 1_000);
    }
    owner.asked = 0;
    for _ in 0..DAY_MS / 1_000 + 60 {
        owner.now_ms += 1_000;
        owner.advance(&mut wheel, UNBOUNDED);
        assert!(owner.earliest_ms().is_none_or(|at_ms| at_ms > owner.now_ms));
    }
    assert_eq!(owner.removed.len(), 300);
    assert!(owner.asked < 300 * 8, "asked {} times", owner.asked);
}

#[test]
fn a_leap_over_a_century_walks_no_empty_cells() {
    let mut wheel = Wheel::new(START_MS);
    wheel.insert(START_MS + 5, 1);
    wheel.insert(START_MS + DAY_MS, 2);
    let now_ms = START_MS + 100 * 365 * DAY_MS;
    let mut groups = 0;
    let backlog = wheel.advance(now_ms, &mut |_, fates| {
        groups += 1;
        fates.fill(Fate::Gone);
        ControlFlow::Continue(())
    });
    assert_eq!((backlog, groups, wheel.len()), (Backlog::None, 2, 0));
}

/// An owner can stop only after a group, and the first items may be slow, so the first groups are
/// small.
#[test]
fn a_slice_begins_with_small_groups() {
    let mut wheel = Wheel::new(START_MS);
    (0..1000).for_each(|item| wheel.insert(START_MS + 1, item));
    for _ in 0..2 {
        let mut lens = Vec::new();
        wheel.advance(START_MS + 1, &mut |items, fates| {
            fates.fill(Fate::Gone);
            lens.push(items.len());
            if lens.len() == 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(lens, [1, 2, 3, 5, 8, 12, 18, 27, 32, 32]);
    }
}

/// The filter of a huge cell is allocated on demand, not at once.
#[test]
fn a_table_of_repeats_is_made_in_parts() {
    let mut duplicates = DuplicateFilter::sized_for(10_000_000);
    let empty_bytes = duplicates.heap_bytes();
    assert!(empty_bytes <= 4096, "{empty_bytes} bytes before the first item");
    let mut items = [7, 0, 7, 1, 0, 7, 1];
    assert_eq!(duplicates.retain_new(&mut items), 3);
    assert_eq!(items[..3], [7, 0, 1]);
    assert!(duplicates.heap_bytes() <= empty_bytes + 3 * 4096);
    let mut all: Vec<u32> = (0..1 << 20).collect();
    assert_eq!(duplicates.retain_new(&mut all), (1 << 20) - 3, "what is new is kept");
    assert_eq!(duplicates.heap_bytes(), empty_bytes + (1 << 20));
}

/// Ten thousand cycles of SET NX EX 30 and DEL on few keys: a cell's repeats are dropped when it is
/// emptied, so the wheel does not grow with the cycles.
#[test]
fn repeats_fall_away() {
    const KEYS: u32 = 100;
    let mut wheel = Wheel::new(START_MS);
    let mut len_max = 0;
    let cycles = 200_000;
    for cycle in 0..cycles {
        let now_ms = START_MS + u64::from(cycle);
        wheel.insert(now_ms + 30_000, cycle % KEYS);
        // The keys always exist when asked about: the worst case.
        wheel.advance(now_ms, &mut |items, fates| {
            for (fate, &item) in fates.iter_mut().zip(items) {
                *fate = Fate::At(now_ms + 29_900 + u64::from(item));
            }
            ControlFlow::Continue(())
        });
        len_max = len_max.max(wheel.len());
    }
    assert!(len_max < 50_000, "{len_max} items for {KEYS} keys");
}

#[test]
fn a_wheel_that_goes_is_dropped_in_steps() {
    let mut wheel = Wheel::new(START_MS);
    for item in 0..100_000 {
        wheel.insert(START_MS + u64::from(item) * 100, item);
    }
    // One cell is half emptied, another half swept.
    wheel.advance(START_MS + 1, &mut |_, _| ControlFlow::Break(()));
    let flow = wheel.sweep(&mut |items, fates| {
        for (fate, &item) in fates.iter_mut().zip(items) {
            *fate = Fate::At(START_MS + u64::from(item) * 100);
        }
        ControlFlow::Break(())
    });
    assert!(flow && !wheel.sweep.todo.is_empty());
    while !wheel.is_empty() {
        let (len, bytes) = (wheel.len(), wheel.bytes());
        let freed = wheel.drop_some(100);
        assert_eq!(wheel.bytes(), bytes - freed);
        assert!((1..=100 + GROUP_LEN_MAX).contains(&(len - wheel.len())));
        check_books(&wheel);
    }
    assert_eq!(wheel.drop_some(100), 0);
}

#[test]
fn a_sweep_drops_what_no_key_needs_and_keeps_the_rest() {
    let now_ms = 50 << 16;
    let mut wheel = Wheel::new(now_ms);
    let count = 100_000;
    // Every tenth has a key; those were moved earlier once, so each has a surplus item.
    let at_ms = |item: u32| now_ms + 200_000 + u64::from(item) * 40;
    for item in 0..count {
        wheel.insert(at_ms(item) + 10 * DAY_MS, item);
        if item % 10 == 0 {
            wheel.insert(at_ms(item), item);
        }
    }
    let key_count = count as usize / 10;
    let mut slices = 0;
    while wheel.needs_sweep(key_count) {
        let mut groups = 0;
        let goes_on = wheel.sweep(&mut |items, fates| {
            for (fate, &item) in fates.iter_mut().zip(items) {
                *fate = if item % 10 == 0 { Fate::At(at_ms(item)) } else { Fate::Gone };
            }
            groups += 1;
            if groups == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        slices += 1;
        check_books(&wheel);
        assert_eq!(wheel.needs_sweep(key_count), goes_on);
    }
    assert!(slices > 10);
    assert_eq!(wheel.len(), key_count);
    run_to_the_end(&mut wheel, at_ms);
    assert_eq!(wheel.bytes(), 0);
}

/// A hundred thousand keys are deleted and set again three times: all items look needed, and most
/// are repeats in other cells until a pass has brought them together.
#[test]
fn a_fruitless_sweep_is_not_repeated_at_once() {
    let key_count = 100_000;
    let mut wheel = Wheel::new(START_MS);
    let at_ms = |item: u32| START_MS + 10 * DAY_MS + u64::from(item);
    for round in 1..=4 {
        for item in 0..key_count {
            wheel.insert(at_ms(item) - round * DAY_MS, item);
        }
    }
    let len_before = wheel.len();
    assert!(wheel.needs_sweep(key_count as usize));
    let resolve = &mut |items: &[u32], fates: &mut [Fate]| {
        for (fate, &item) in fates.iter_mut().zip(items) {
            *fate = Fate::At(at_ms(item));
        }
        ControlFlow::Continue(())
    };
    assert!(!wheel.sweep(resolve));
    assert!(wheel.len() < len_before * 3 / 4, "{} of {len_before} left", wheel.len());
    assert!(wheel.len() >= key_count as usize);
    check_books(&wheel);
    assert!(!wheel.needs_sweep(0), "as many as the pass has left");
    wheel.advance(at_ms(0) - DAY_MS / 2, resolve);
    run_to_the_end(&mut wheel, at_ms);
    wheel.advance(at_ms(key_count), resolve);
    for item in 0..2_000 {
        wheel.insert(at_ms(key_count) + DAY_MS, item);
    }
    assert!(wheel.needs_sweep(0), "what an earlier pass has left is gone");
}

/// An item of a key that is set again while a coarse cell is being emptied is no repeat of the one
/// in that cell.
#[test]
fn a_repeat_is_one_only_within_its_cell() {
    const ITEM: u32 = u32::MAX;
    let mut now_ms = 100 << 16;
    let mut wheel = Wheel::new(now_ms);
    for item in 0..20_000 {
        wheel.insert(105 << 16, item);
    }
    // The last in is the first out.
    wheel.insert(105 << 16, ITEM);
    now_ms = 104 << 16;
    let mut met = Vec::new();
    for _ in 0..2_000 {
        wheel.advance(now_ms, &mut |items, fates| {
            for (fate, &item) in fates.iter_mut().zip(items) {
                *fate = if item == ITEM { Fate::Gone } else { Fate::At(106 << 16) };
            }
            if items.contains(&ITEM) {
                met.push(now_ms);
            }
            ControlFlow::Break(())
        });
        if now_ms == 104 << 16 {
            assert_eq!(met, [now_ms]);
            for item in (0..100).chain([ITEM]) {
                wheel.insert(now_ms + 600, item);
            }
        }
        now_ms += 1;
    }
    assert_eq!(met.len(), 2, "met at {met:?}");
}

#[test]
fn few_bytes_per_item() {
    // (items, spread over): bytes per item at most.
    let shapes = [(200_000, DAY_MS, 5.5), (200_000, 10, 4.1), (2_000, DAY_MS, 40.0)];
    for (count, spread_ms, bytes_max) in shapes {
        let mut wheel = Wheel::new(START_MS);
        let mut distinct = HashSet::new();
        for item in 0..count {
            let ttl_ms = u64::from(item).wrapping_mul(0x9E37_79B9_7F4A_7C15) % spread_ms;
            wheel.insert(START_MS + DAY_MS + ttl_ms, item);
            distinct.insert(item);
        }
        let bytes = wheel.bytes() as f64 / f64::from(count);
        assert!(bytes < bytes_max, "{count} items: {bytes} bytes each");
        wheel.clear();
        assert_eq!((wheel.len(), wheel.bytes(), wheel.next_due_ms()), (0, 0, None));
    }
}

proptest! {
    /// Also behind stale items, and while cells are emptied and swept in slices.
    #[test]
    fn nearest_items_are_those_that_are_due_next(
        steps in prop::collection::vec((0..400_u16, 1..40_000_000_u64, 0..300_000_u64), 1..400),
        count in 1..20_usize,
    ) {
        let (mut owner, mut wheel) = (Owner::default(), Wheel::new(0));
        for (index, (key, in_ms, passes_ms)) in steps.into_iter().enumerate() {
            let at_ms = owner.now_ms + in_ms;
            owner.set(&mut wheel, key, at_ms);
            owner.now_ms += if index % 5 == 0 { passes_ms } else { 0 };
            owner.advance(&mut wheel, 3);
            if index % 7 == 0 {
                let mut resolve = owner.resolve(2);
                wheel.sweep(&mut resolve);
            }
        }
        let mut expected = BTreeMap::<u32, u64>::new();
        for (&key, &at_ms) in &owner.expiries {
            let earliest = expected.entry(Owner::item(key)).or_insert(at_ms);
            *earliest = at_ms.min(*earliest);
        }
        let mut expected: Vec<(u64, u32)> =
            expected.into_iter().map(|(item, at_ms)| (at_ms, item)).collect();
        expected.sort_unstable();
        let moment = |item| {
            expected.iter().find(|(_, other)| *other == item).map(|&(at_ms, _)| at_ms)
        };
        let mut found = wheel.nearest(count, usize::MAX, &mut { moment });
        prop_assert!(found.len() == count || found.len() >= expected.len());
        found.dedup();
        prop_assert!(!found.is_empty() || expected.is_empty());
        prop_assert_eq!(&found[..], &expected[..found.len()]);
        for random in [0, u64::MAX / 3, u64::MAX] {
            prop_assert_eq!(wheel.pick(random).is_some(), !wheel.is_empty());
        }
    }
}
