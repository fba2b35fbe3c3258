//! TopKeys: the keys with the greatest sums of weights among any number of keys, in bounded memory.
//!
//! Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams,
//! 2005), with weights. A key that is new takes the counter with the least sum, and inherits that sum as its
//! possible error. So a key with more than a share of 1 / capacity of all weights is always there, and its sum less its
//! error never exceeds what was added for it.
//!
//! Invariant: `counters` is a heap with the least sum first, and `places` knows where each key is.

use std::collections::HashMap;

use basalt_keyspace::DatabaseId;

/// LIMIT: bytes of a key's name. Keys with longer names are not kept; they count in the total only.
const NAME_BYTES_MAX: usize = 1 << 10;

pub(crate) struct TopKeys {
    capacity: usize,
    counters: Vec<Counter>,
    places: HashMap<u64, usize>,
    total: u64,
}

struct Counter {
    /// The hash of the key and its database.
    id: u64,
    sum: u64,
    error: u64,
    database: DatabaseId,
    name: Vec<u8>,
}

/// A key, and at least how much was added for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopKey {
    pub database: DatabaseId,
    pub name: Vec<u8>,
    pub sum: u64,
}

impl TopKeys {
    /// Memory is taken as keys come.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, counters: Vec::new(), places: HashMap::new(), total: 0 }
    }

    /// Adds a weight for a key; `hash` tells names apart.
    pub(crate) fn add(&mut self, database: DatabaseId, name: &[u8], hash: u64, weight: u64) {
        self.total = self.total.saturating_add(weight);
        if weight == 0 || name.len() > NAME_BYTES_MAX {
            return;
        }
        let id = hash ^ u64::from(database.0).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        if let Some(&at) = self.places.get(&id) {
            self.counters[at].sum = self.counters[at].sum.saturating_add(weight);
            self.sift_down(at);
        } else if self.counters.len() < self.capacity {
            let name = name.to_vec();
            self.counters.push(Counter { id, sum: weight, error: 0, database, name });
            self.sift_up(self.counters.len() - 1);
        } else {
            let least = &mut self.counters[0];
            self.places.remove(&least.id);
            (least.id, least.database, least.error) = (id, database, least.sum);
            least.sum = least.sum.saturating_add(weight);
            least.name.clear();
            least.name.extend_from_slice(name);
            self.sift_down(0);
        }
    }

    /// All weights together.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Halves all sums, so that what was long ago counts less.
    pub(crate) fn halve(&mut self) {
        self.total /= 2;
        for counter in &mut self.counters {
            counter.sum /= 2;
            counter.error /= 2;
        }
    }

    /// The keys with the greatest sums, those of at least `least`, the greatest first.
    pub(crate) fn greatest(&self, count: usize, least: u64) -> Vec<TopKey> {
        let sure = |counter: &Counter| counter.sum - counter.error;
        let mut found: Vec<&Counter> =
            self.counters.iter().filter(|counter| sure(counter) >= least.max(1)).collect();
        found.sort_by(|one, other| {
            sure(other).cmp(&sure(one)).then_with(|| one.name.cmp(&other.name))
        });
        let top = |counter: &Counter| TopKey {
            database: counter.database,
            name: counter.name.clone(),
            sum: sure(counter),
        };
        found.into_iter().take(count).map(top).collect()
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 && self.counters[at].sum < self.counters[(at - 1) / 2].sum {
            let above = (at - 1) / 2;
            self.counters.swap(at, above);
            self.places.insert(self.counters[at].id, at);
            at = above;
        }
        self.places.insert(self.counters[at].id, at);
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let below = (2 * at + 1)..(2 * at + 3).min(self.counters.len());
            let least = below.min_by_key(|below| self.counters[*below].sum);
            let Some(below) = least.filter(|it| self.counters[*it].sum < self.counters[at].sum)
            else {
                break;
            };
            self.counters.swap(at, below);
            self.places.insert(self.counters[at].id, at);
            at = below;
        }
        self.places.insert(self.counters[at].id, at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const HERE: DatabaseId = DatabaseId(0);

    fn add(top: &mut TopKeys, number: u64, weight: u64) {
        top.add(HERE, &number.to_be_bytes(), number.wrapping_mul(0x9E37_79B9_7F4A_7C15), weight);
    }

    fn sums(top: &TopKeys, count: usize) -> Vec<(u64, u64)> {
        let number = |key: &TopKey| u64::from_be_bytes(key.name[..].try_into().expect("a number"));
        top.greatest(count, 0).iter().map(|key| (number(key), key.sum)).collect()
    }

    #[test]
    fn few_keys_are_exact() {
        let mut top = TopKeys::new(8);
        for round in 1..=4 {
            (0..8).for_each(|number| add(&mut top, number, number * round));
        }
        add(&mut top, 9, 0);
        assert_eq!(sums(&top, 3), [(7, 70), (6, 60), (5, 50)]);
        assert_eq!(sums(&top, 10).len(), 7, "nothing was added for one");
        assert_eq!(top.total(), 280);
        top.halve();
        assert_eq!((sums(&top, 1), top.total()), (vec![(7, 35)], 140));
    }

    #[test]
    fn what_is_frequent_is_there_and_never_more_than_it_was() {
        let mut top = TopKeys::new(64);
        let (mut truth, mut random) = (BTreeMap::<u64, u64>::new(), 1_u64);
        for _ in 0..200_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let draw = random >> 33;
            // Five keys take a tenth each; the rest is spread over a million.
            let number = if draw % 2 == 0 { draw / 2 % 5 } else { 5 + draw / 2 % 1_000_000 };
            let weight = 1 + draw % 3;
            add(&mut top, number, weight);
            *truth.entry(number).or_default() += weight;
        }
        let found = sums(&top, 5);
        let mut numbers: Vec<u64> = found.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        for (number, sum) in sums(&top, 64) {
            assert!(sum <= truth[&number], "{number}");
        }
        for (number, sum) in found {
            assert!(sum * 100 >= truth[&number] * 97, "{number}: {sum} of {}", truth[&number]);
        }
        assert_eq!((top.counters.len(), top.places.len()), (64, 64));
        assert!((1..64).all(|at| top.counters[(at - 1) / 2].sum <= top.counters[at].sum));
        let is_placed = |(at, counter): (usize, &Counter)| top.places[&counter.id] == at;
        assert!(top.counters.iter().enumerate().all(is_placed));
    }

    #[test]
    fn databases_are_apart_and_long_names_are_left_out() {
        let mut top = TopKeys::new(4);
        top.add(HERE, b"k", 7, 2);
        top.add(DatabaseId(1), b"k", 7, 3);
        top.add(HERE, &[b'x'; NAME_BYTES_MAX + 1], 8, 100);
        let found: Vec<(u16, u64)> =
            top.greatest(9, 0).iter().map(|key| (key.database.0, key.sum)).collect();
        assert_eq!(found, [(1, 3), (0, 2)]);
        assert_eq!((top.total(), top.greatest(9, 3).len()), (105, 1));
    }
}
