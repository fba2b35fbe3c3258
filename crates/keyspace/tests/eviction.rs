//! Eviction through the keyspace: which keys go under each policy, and that the books, the records and the events
//! follow.

use std::collections::BTreeMap;

use basalt_keyspace::{
    DatabaseId, Effect, EventClasses, Eviction, EvictionOrder, Frequency, KeyHasher, Keyspace,
    Random, SetChange, SlotId, Strings, Uses,
};
use proptest::prelude::*;

const START_MS: u64 = 1_700_000_000_000;
const IDS: [DatabaseId; 2] = [DatabaseId(0), DatabaseId(1)];
const ORDERS: [EvictionOrder; 5] = [
    EvictionOrder::LeastRecent,
    EvictionOrder::LeastFrequent,
    EvictionOrder::LeastFaded,
    EvictionOrder::Random,
    EvictionOrder::NearestExpiry,
];

fn keyspace() -> Keyspace {
    Keyspace::new(2, KeyHasher::new(1), START_MS)
}

fn eviction(order: EvictionOrder, volatile_only: bool) -> Eviction {
    Eviction { order, volatile_only, samples: 5 }
}

fn set(keyspace: &mut Keyspace, id: DatabaseId, name: &str, expire_at_ms: Option<u64>) {
    let key = keyspace.key(name.as_bytes());
    let effect = Effect::SetString { value: b"a value", expire_at_ms, changed: false };
    keyspace.edit(id, &key).commit(effect);
}

fn has(keyspace: &Keyspace, name: &str) -> bool {
    keyspace.peek(IDS[0], &keyspace.key(name.as_bytes())).is_some()
}

fn evict(keyspace: &mut Keyspace, eviction: &Eviction) -> bool {
    let evicted = keyspace.evict(eviction, &|_| true);
    keyspace.verify();
    evicted
}

#[test]
fn the_least_recently_used_go_first() {
    let mut keyspace = keyspace();
    for number in 0..10_u64 {
        keyspace.set_now(START_MS + number * 1000);
        set(&mut keyspace, IDS[0], &format!("key:{number}"), None);
    }
    keyspace.set_now(START_MS + 20_000);
    let key = keyspace.key(b"key:0");
    assert!(keyspace.read(IDS[0], &key).is_some());
    let lru = eviction(EvictionOrder::LeastRecent, false);
    for number in 1..10 {
        assert!(evict(&mut keyspace, &lru));
        assert!(!has(&keyspace, &format!("key:{number}")) && has(&keyspace, "key:0"));
    }
    assert!(evict(&mut keyspace, &lru) && keyspace.is_empty());
    assert!(!evict(&mut keyspace, &lru));
    assert_eq!(keyspace.stats.evicted, 10);
}

#[test]
fn by_last_change_reads_do_not_count() {
    let mut keyspace = keyspace();
    keyspace.set_reads_touch(false);
    set(&mut keyspace, IDS[0], "read", None);
    keyspace.set_now(START_MS + 1000);
    set(&mut keyspace, IDS[0], "changed", None);
    keyspace.set_now(START_MS + 5000);
    let key = keyspace.key(b"read");
    assert!(keyspace.read(IDS[0], &key).is_some());
    assert!(evict(&mut keyspace, &eviction(EvictionOrder::LeastRecent, false)));
    assert!(has(&keyspace, "changed"));
}

#[test]
fn the_least_frequently_used_go_first() {
    let mut keyspace = keyspace();
    keyspace.set_uses(Uses::Counted(Frequency { log_factor: 0, decay_minutes: 1 }));
    for number in 0..10 {
        let name = format!("key:{number}");
        set(&mut keyspace, IDS[0], &name, None);
        for _ in 0..number {
            let key = keyspace.key(name.as_bytes());
            assert!(keyspace.read(IDS[0], &key).is_some());
        }
    }
    for number in 0..10 {
        assert!(has(&keyspace, &format!("key:{number}")));
        assert!(evict(&mut keyspace, &eviction(EvictionOrder::LeastFrequent, false)));
        assert!(!has(&keyspace, &format!("key:{number}")));
    }
}

#[test]
fn those_of_the_fewest_faded_uses_for_their_size_go_first() {
    let mut keyspace = keyspace();
    keyspace.set_uses(Uses::Faded);
    let large = keyspace.key(b"large");
    let effect = Effect::SetString { value: &[7; 4000], expire_at_ms: None, changed: false };
    keyspace.edit(IDS[0], &large).commit(effect);
    for number in 0..9 {
        let name = format!("key:{number}");
        set(&mut keyspace, IDS[0], &name, None);
        for _ in 1..1 << number {
            let key = keyspace.key(name.as_bytes());
            assert!(keyspace.read(IDS[0], &key).is_some());
        }
    }
    let faded = eviction(EvictionOrder::LeastFaded, false);
    assert!(evict(&mut keyspace, &faded) && !has(&keyspace, "large"));
    for number in 0..9 {
        assert!(has(&keyspace, &format!("key:{number}")));
        assert!(evict(&mut keyspace, &faded));
        assert!(!has(&keyspace, &format!("key:{number}")));
    }
}

/// The hits of an application that stores what it does not find, after the first quarter; `keys` are kept.
fn hit_ratio(
    keys: usize,
    uses: Uses,
    order: EvictionOrder,
    trace: impl Iterator<Item = u64>,
) -> f64 {
    let mut keyspace = keyspace();
    keyspace.set_uses(uses);
    let eviction = eviction(order, false);
    let trace: Vec<u64> = trace.collect();
    let (mut hits, counted) = (0, trace.len() * 3 / 4);
    for (index, number) in trace.iter().enumerate() {
        keyspace.set_now(START_MS + index as u64 / 50);
        let name = number.to_string();
        let key = keyspace.key(name.as_bytes());
        if keyspace.read(IDS[0], &key).is_some() {
            hits += usize::from(index >= trace.len() - counted);
            continue;
        }
        while keyspace.len(IDS[0]) >= keys {
            assert!(keyspace.evict(&eviction, &|_| true));
        }
        set(&mut keyspace, IDS[0], &name, None);
    }
    hits as f64 / counted as f64
}

/// The rate at which uses fade follows from the uses.
#[test]
fn faded_uses_serve_loops_and_working_sets_that_move() {
    const KEYS: usize = 1000;
    let faded = |trace: &mut dyn Iterator<Item = u64>| {
        hit_ratio(KEYS, Uses::Faded, EvictionOrder::LeastFaded, trace)
    };
    let recent = |trace: &mut dyn Iterator<Item = u64>| {
        hit_ratio(KEYS, Uses::Last, EvictionOrder::LeastRecent, trace)
    };
    let cycle = || (0..60_000_u64).map(|index| index % 1100);
    let (ours, lru) = (faded(&mut cycle()), recent(&mut cycle()));
    assert!(ours > 0.86 && ours > lru, "in a loop {ours}, LRU {lru}");
    let moving = || {
        let mut random = Random::new(5);
        (0..60_000_u64).map(move |index| index / 20 + random.below(1500) as u64)
    };
    let (ours, lru) = (faded(&mut moving()), recent(&mut moving()));
    assert!(ours > lru * 0.97, "in a working set that moves {ours}, LRU {lru}");
}

/// Also if the order of expiry changes meanwhile, and far beyond what is looked up at once.
#[test]
fn the_nearest_expiry_goes_first() {
    let mut keyspace = keyspace();
    let ttl = eviction(EvictionOrder::NearestExpiry, true);
    let at = |number: u64| Some(START_MS + 60_000 + number * 7919 % 1000 * 100);
    let mut expected = BTreeMap::new();
    for number in 0..1000 {
        set(&mut keyspace, IDS[0], &format!("key:{number}"), at(number));
        expected.insert(at(number).unwrap(), format!("key:{number}"));
    }
    set(&mut keyspace, IDS[0], "stays", None);
    for step in 0..900 {
        let (first_ms, name) = expected.pop_first().unwrap();
        if step % 50 == 10 {
            set(&mut keyspace, IDS[0], &name, Some(START_MS + 900_000 + step));
            expected.insert(START_MS + 900_000 + step, name);
            continue;
        }
        if step % 50 == 20 {
            set(&mut keyspace, IDS[0], "new", Some(first_ms - 1));
            assert!(evict(&mut keyspace, &ttl) && !has(&keyspace, "new"));
        }
        assert!(has(&keyspace, &name));
        assert!(evict(&mut keyspace, &ttl) && !has(&keyspace, &name), "step {step}");
    }
    while evict(&mut keyspace, &ttl) {}
    assert!(has(&keyspace, "stays") && keyspace.len(IDS[0]) == 1);
}

#[test]
fn only_keys_with_an_expiry_go_where_the_policy_says_so() {
    for order in ORDERS {
        let mut keyspace = keyspace();
        for number in 0..2000_u64 {
            set(&mut keyspace, IDS[0], &format!("stays:{number}"), None);
        }
        for number in 0..20 {
            let at_ms = Some(START_MS + 100_000 + number);
            set(&mut keyspace, IDS[number as usize % 2], &format!("goes:{number}"), at_ms);
        }
        let volatile = eviction(order, true);
        for _ in 0..20 {
            assert!(evict(&mut keyspace, &volatile), "{order:?}");
        }
        assert!(!evict(&mut keyspace, &volatile), "{order:?}");
        assert_eq!((keyspace.len(IDS[0]), keyspace.len(IDS[1])), (2000, 0));
    }
}

#[test]
fn what_may_not_go_stays() {
    for order in ORDERS {
        let mut keyspace = keyspace();
        for number in 0..50 {
            set(&mut keyspace, IDS[0], &format!("key:{number}"), Some(START_MS + 9000 + number));
        }
        let held = keyspace.key(b"key:0").hash;
        let all = eviction(order, order == EvictionOrder::NearestExpiry);
        let mut tries = 0;
        while keyspace.len(IDS[0]) > 1 && tries < 500 {
            keyspace.evict(&all, &|hash| hash != held);
            tries += 1;
        }
        assert!(has(&keyspace, "key:0") && keyspace.len(IDS[0]) == 1, "{order:?}");
        assert!(!keyspace.evict(&all, &|hash| hash != held));
        assert!(evict(&mut keyspace, &all) && keyspace.is_empty());
    }
}

/// As after FLUSHALL, SWAPDB or a move of slots, when the pool still has candidates.
#[test]
fn candidates_that_have_gone_are_passed_over() {
    let mut keyspace = keyspace();
    let lru = eviction(EvictionOrder::LeastRecent, false);
    for number in 0..100 {
        set(&mut keyspace, IDS[0], &format!("key:{number}"), None);
    }
    assert!(evict(&mut keyspace, &lru));
    keyspace.swap(IDS[0], IDS[1]);
    set(&mut keyspace, IDS[0], "key:1", None);
    assert!(evict(&mut keyspace, &lru));
    let slots: Vec<SlotId> =
        (0..100).map(|number| SlotId::of_key(format!("key:{number}").as_bytes())).collect();
    let bundle = keyspace.detach(&slots[..50]);
    assert!(evict(&mut keyspace, &lru));
    keyspace.attach(bundle);
    keyspace.flush(IDS[1]);
    set(&mut keyspace, IDS[0], "key:2", None);
    while evict(&mut keyspace, &lru) {}
    assert!(keyspace.is_empty());
}

/// A large value is freed bit by bit, and is not counted meanwhile: so no other key goes for it.
#[test]
fn a_large_value_is_no_reason_to_evict_more() {
    let mut keyspace = keyspace();
    let key = keyspace.key(b"set");
    for number in 0..10_000 {
        let name = format!("a member of a large set, number {number}");
        let names = [name.as_bytes()];
        let change = SetChange::Add { members: Strings::from(&names[..]) };
        keyspace.edit(IDS[0], &key).commit(Effect::Set(change));
    }
    let large = keyspace.held_bytes();
    assert!(evict(&mut keyspace, &eviction(EvictionOrder::LeastRecent, false)));
    assert!(keyspace.held_bytes() < large / 10 && keyspace.used_bytes() > large / 2);
    while keyspace.free_step(&mut || true) {}
    assert!(keyspace.used_bytes() < large / 10);
}

proptest! {
    /// The books equal a walk, a replay gives the digests, and each eviction raises its event.
    #[test]
    fn the_books_records_and_events_follow(
        keys in prop::collection::vec((0_u8..60, 0..2_usize, prop::option::of(1_u64..5000)), 1..200),
        order in 0..ORDERS.len(),
        volatile_only in any::<bool>(),
        evict_every in 1..5_usize,
    ) {
        let mut keyspace = keyspace();
        let reader = keyspace.add_reader();
        keyspace.set_event_classes(EventClasses::EVICTED);
        let order = ORDERS[order];
        if order == EvictionOrder::LeastFaded {
            keyspace.set_uses(Uses::Faded);
        }
        let chosen = eviction(order, volatile_only || order == EvictionOrder::NearestExpiry);
        let mut evicted = 0;
        for (index, (key, database, life_ms)) in keys.into_iter().enumerate() {
            let at_ms = life_ms.map(|ms| keyspace.now_ms() + ms);
            set(&mut keyspace, IDS[database], &format!("{{{}}}{key}", key % 7), at_ms);
            keyspace.set_now(START_MS + index as u64 * 100);
            keyspace.expire_due(&mut || true);
            if index % evict_every == 0 {
                let keys = keyspace.len(IDS[0]) + keyspace.len(IDS[1]);
                let has_evictable = keyspace.has_evictable(chosen.volatile_only);
                let is_evicted = keyspace.evict(&chosen, &|_| true);
                prop_assert_eq!(is_evicted, has_evictable);
                let left = keyspace.len(IDS[0]) + keyspace.len(IDS[1]);
                prop_assert_eq!(keys - left, usize::from(is_evicted));
                evicted += u64::from(is_evicted);
                keyspace.verify();
            }
        }
        prop_assert_eq!(keyspace.stats.evicted, evicted);
        let raised = keyspace.take_events().iter().count();
        prop_assert_eq!(raised as u64, evicted);
        let mut replayed = self::keyspace();
        replayed.set_now(keyspace.now_ms());
        replayed.replay(keyspace.unread_records(reader).unwrap()).unwrap();
        prop_assert_eq!(replayed.digests(), keyspace.digests());
    }
}

/// A handful of keys under one hash tag among many others: all keys of all slots are as likely to be looked at.
#[test]
fn recency_holds_over_slots_of_different_size() {
    let mut keyspace = keyspace();
    for number in 0..5000 {
        set(&mut keyspace, IDS[0], &format!("{{old}}{number}"), None);
    }
    keyspace.set_now(START_MS + 100_000);
    for number in 0..5000 {
        set(&mut keyspace, IDS[0], &format!("young:{number}"), None);
    }
    let lru = eviction(EvictionOrder::LeastRecent, false);
    for _ in 0..4000 {
        assert!(keyspace.evict(&lru, &|_| true));
    }
    let young = (0..5000).filter(|number| has(&keyspace, &format!("young:{number}"))).count();
    assert!(young > 4800, "{young} of 5000 that were used lately are left");
}
