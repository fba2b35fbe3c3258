//! Members compared with a plain map; the bounds of their memory and of their random choice.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn hasher() -> KeyHasher {
    KeyHasher::new(0x5EED)
}

impl Members {
    /// Checks every invariant.
    fn verify(&self) {
        let pages = self.pages.len();
        let (mut len, mut page_bytes, mut far_bytes) = (0, 0, 0);
        for index in 0..pages {
            let page = self.pages.at(index);
            page_bytes += page.capacity();
            len += page.len();
            let mut walked = 0;
            for (at, &seen) in page.tags().iter().enumerate() {
                let member = Member::read(page.item(at), self.carry);
                let hash = self.hash(member.name);
                assert_eq!((seen, index), (tag(hash), page_of(hash, pages)), "where its hash says");
                far_bytes += member.far_bytes(self.carry);
                walked += item::bytes(page.item(at), self.carry);
            }
            assert_eq!(walked, page.items().len(), "items lie without gaps");
        }
        assert_eq!((len, page_bytes, far_bytes), (self.len, self.page_bytes, self.far_bytes));
        assert_eq!(self.iter().count(), self.len);
    }
}

fn name(number: usize) -> Vec<u8> {
    format!("member:{number:010}").into_bytes()
}

#[test]
fn every_page_is_one_range_of_the_scan_order() {
    for pages in 1..70_usize {
        let mut at = 0;
        let mut seen = BTreeSet::new();
        while at < ORDER_END {
            let hash = u64::from((at as u32).reverse_bits());
            let page = page_of(hash, pages);
            assert!(seen.insert(page), "page {page} of {pages} twice");
            let range = 1 << (ORDER_BITS - shared_bits(page, pages));
            assert!(at % range == 0);
            let last = at + range - 1;
            assert_eq!(page_of(u64::from((last as u32).reverse_bits()), pages), page);
            at += range;
        }
        assert_eq!(seen.len(), pages);
    }
}

#[test]
fn stays_dense_while_it_grows_and_shrinks() {
    let count = if cfg!(miri) { 250 } else { 60_000 };
    let mut members = Members::bare(&hasher());
    for number in 0..count {
        assert!(members.insert(&name(number)));
        assert!(!members.insert(&name(number)));
        let raw = 17 * (number + 1);
        if number > 200 {
            assert!(members.heap_bytes() * 100 < raw * 145, "{} for {raw}", members.heap_bytes());
        }
    }
    members.verify();
    for number in 0..count {
        assert!(members.remove(&name(number)));
        let left = count - number - 1;
        let bytes = members.heap_bytes();
        assert!(bytes <= 17 * left * 2 + 600, "{bytes} for {left} members");
        if number % 9973 == 0 {
            members.verify();
        }
    }
    assert_eq!((members.len(), members.heap_bytes()), (0, 0));
}

#[test]
fn long_members_and_values_live_outside_and_come_back() {
    let mut members = Members::with_values(&hasher());
    let before = crate::pool_stats().in_use_bytes;
    for len in [0, 1, 126, 127, 128, 253, 254, 255, 480, 600, 5000, 70_000] {
        for (name_len, value_len) in [(len + 2, 3), (4, len), (len + 3, len)] {
            for expire_at_ms in [None, Some(0), Some(1 << 60)] {
                let (name, value) = (vec![b'n'; name_len], vec![b'v'; value_len]);
                let member = Member { name: &name, value: &value, expire_at_ms };
                members.put(member);
                assert_eq!(members.get(&name), Some(member));
                members.verify();
            }
        }
    }
    while let Some(place) = members.pick(1) {
        members.remove_at(place);
        members.verify();
    }
    assert_eq!(members.heap_bytes(), 0);
    assert_eq!(crate::pool_stats().in_use_bytes, before);
}

#[test]
fn drop_some_ends_with_nothing() {
    let before = crate::pool_stats().in_use_bytes;
    let mut members = Members::with_values(&hasher());
    for number in 0..300 {
        let value = vec![1; number * 3];
        members.put(Member { name: &name(number), value: &value, expire_at_ms: None });
    }
    let (mut left, mut freed, whole) = (members.len(), 0, members.heap_bytes());
    while left > 0 {
        freed += members.drop_some(10);
        assert!(members.len() < left && left - members.len() < 110);
        left = members.len();
    }
    assert_eq!((members.heap_bytes(), freed), (0, whole));
    assert_eq!(crate::pool_stats().in_use_bytes, before);
}

#[test]
fn picks_are_even() {
    for count in if cfg!(miri) { [1, 100].as_slice() } else { &[1, 30, 100, 1000] } {
        let count = *count;
        let mut members = Members::bare(&hasher());
        for number in 0..count {
            members.insert(&name(number));
        }
        let rounds = if cfg!(miri) { 2 } else { 400 };
        let mut picks = BTreeMap::<Vec<u8>, u32>::new();
        let mut random = 7;
        for _ in 0..count * rounds {
            let place = members.pick(next_random(&mut random).rotate_left(32));
            let member = members.at(place.expect("there are members"));
            *picks.entry(member.name.to_vec()).or_default() += 1;
        }
        if !cfg!(miri) {
            // Each is expected 400 times, with a standard deviation of 20.
            assert_eq!(picks.len(), count);
            for (name, &seen) in &picks {
                assert!((290..510).contains(&seen), "{} seen {seen} of 400", name.escape_ascii());
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u16, u16, Option<u64>),
    Remove(u16),
    RemoveMany(u16),
    Pick(u64),
    Scan,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..900_u16;
    let value_len = prop_oneof![12 => 0..30_u16, 2 => 100..300_u16, 1 => 500..700_u16];
    let step = prop_oneof![
        8 => (name.clone(), value_len, proptest::option::of(any::<u64>()))
            .prop_map(|(name, len, expiry)| Step::Put(name, len, expiry.map(|at| at / 2))),
        3 => name.clone().prop_map(Step::Remove),
        1 => name.prop_map(Step::RemoveMany),
        1 => any::<u64>().prop_map(Step::Pick),
        1 => Just(Step::Scan),
    ];
    prop::collection::vec(step, 0..if cfg!(miri) { 80 } else { 2500 })
}

/// The value of a name in the model.
type Held = (Vec<u8>, Option<u64>);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 120 }))]
    #[test]
    fn behaves_as_a_map_and_scans_keep_their_promise(steps in steps(), carries in any::<bool>()) {
        let mut members = if carries { Members::with_values(&hasher()) } else { Members::bare(&hasher()) };
        let mut model = BTreeMap::<u16, Held>::new();
        // A scan that continues while the table changes: it returns every member that is present
        // throughout.
        let (mut cursor, mut seen) = (0, BTreeSet::new());
        let mut throughout: BTreeSet<u16> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Put(number, len, expire_at_ms) => {
                    let (value, expire_at_ms) =
                        if carries { (vec![len as u8; usize::from(len)], expire_at_ms) } else { (vec![], None) };
                    let member = Member { name: &number.to_be_bytes(), value: &value, expire_at_ms };
                    prop_assert_eq!(members.put(member), !model.contains_key(&number));
                    model.insert(number, (value, expire_at_ms));
                }
                Step::Remove(number) => {
                    prop_assert_eq!(members.remove(&number.to_be_bytes()), model.remove(&number).is_some());
                    throughout.remove(&number);
                }
                Step::RemoveMany(from) => {
                    for number in from..from + 150 {
                        prop_assert_eq!(members.remove(&number.to_be_bytes()), model.remove(&number).is_some());
                        throughout.remove(&number);
                    }
                }
                Step::Pick(random) => match members.pick(random) {
                    None => prop_assert!(model.is_empty()),
                    Some(place) => {
                        let name = members.at(place).name.try_into().expect("names have two bytes");
                        let number = u16::from_be_bytes(name);
                        members.remove_at(place);
                        prop_assert!(model.remove(&number).is_some());
                        throughout.remove(&number);
                    }
                },
                Step::Scan => {
                    cursor = members.scan(cursor, 60, &mut |member| {
                        let name = member.name.try_into().expect("names have two bytes");
                        seen.insert(u16::from_be_bytes(name));
                    });
                    if cursor == 0 {
                        prop_assert!(throughout.is_subset(&seen), "missed {:?}", throughout.difference(&seen));
                        seen = BTreeSet::new();
                        throughout = model.keys().copied().collect();
                    }
                }
            }
        }
        members.verify();
        prop_assert_eq!(members.len(), model.len());
        for (number, (value, expire_at_ms)) in &model {
            let name = number.to_be_bytes();
            let wanted = Member { name: &name, value, expire_at_ms: *expire_at_ms };
            prop_assert_eq!(members.get(&name), Some(wanted));
        }
        let names: BTreeSet<&[u8]> = members.iter().map(|member| member.name).collect();
        prop_assert_eq!(names.len(), model.len());
    }
}
