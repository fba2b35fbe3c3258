//! Fields: a large hash, with an index of the fields that expire.
//!
//! The fields are in [`Members`]. For each field with an expiry, its moment and its hash are in an
//! ordered set; the field itself is looked up by its hash.
//!
//! Invariant: a field has an expiry exactly if its moment and hash are in `expiring`.
//! Not here: how fields that are due but not removed yet are hidden from commands (`keyspace`).

use std::collections::BTreeSet;

use crate::hash::KeyHasher;
use crate::members::{Member, Members};

/// The heap bytes per element of `expiring`: the nodes of a B-tree are two thirds full on average.
const EXPIRING_BYTES: usize = size_of::<(u64, u64)>() * 3 / 2;

/// A large hash.
#[derive(Clone, Debug)]
pub struct Fields {
    members: Members,
    /// Moment and hash of the fields that expire, the earliest first.
    expiring: BTreeSet<(u64, u64)>,
}

impl Fields {
    pub fn new(hasher: &KeyHasher) -> Self {
        Self { members: Members::with_values(hasher), expiring: BTreeSet::new() }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn heap_bytes(&self) -> usize {
        self.members.heap_bytes() + self.expiring.len() * EXPIRING_BYTES
    }

    /// The field with its value and expiry; `None` if it is missing. Due fields are returned as
    /// well.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<Member<'_>> {
        self.members.get(name)
    }

    /// Sets a field to a value and an expiry. Returns whether it is new.
    pub fn set(&mut self, name: &[u8], value: &[u8], expire_at_ms: Option<u64>) -> bool {
        let hash = self.members.hash(name);
        let field = Member { name, value, expire_at_ms };
        let place = self.members.find(hash, name);
        let before = place.and_then(|place| self.members.at(place).expire_at_ms);
        match place {
            Some(place) => self.members.replace_at(place, field),
            None => _ = self.members.put(field),
        }
        self.note_expiry(hash, before, expire_at_ms);
        place.is_none()
    }

    /// Removes a field. Returns whether it existed.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let hash = self.members.hash(name);
        let Some(place) = self.members.find(hash, name) else { return false };
        let before = self.members.at(place).expire_at_ms;
        self.members.remove_at(place);
        self.note_expiry(hash, before, None);
        true
    }

    /// Sets or removes a field's expiry. Returns whether the field exists.
    pub fn set_expire_at_ms(&mut self, name: &[u8], expire_at_ms: Option<u64>) -> bool {
        let hash = self.members.hash(name);
        let Some(place) = self.members.find(hash, name) else { return false };
        let Member { value, expire_at_ms: before, .. } = self.members.at(place);
        if before != expire_at_ms {
            let value = value.to_vec();
            self.members.replace_at(place, Member { name, value: &value, expire_at_ms });
            self.note_expiry(hash, before, expire_at_ms);
        }
        true
    }

    #[inline]
    fn note_expiry(&mut self, hash: u64, before: Option<u64>, after: Option<u64>) {
        if before != after {
            before.map(|at_ms| self.expiring.remove(&(at_ms, hash)));
            after.map(|at_ms| self.expiring.insert((at_ms, hash)));
        }
    }

    /// All fields, unordered.
    pub fn iter(&self) -> impl Iterator<Item = Member<'_>> {
        self.members.iter()
    }

    /// As [`Members::scan`].
    pub fn scan<'a>(&'a self, cursor: u64, count: usize, visit: &mut dyn FnMut(Member<'a>)) -> u64 {
        self.members.scan(cursor, count, visit)
    }

    /// A field that `random` chooses, all with the same probability.
    pub fn pick(&self, random: u64) -> Option<Member<'_>> {
        self.members.pick(random).map(|place| self.members.at(place))
    }

    /// The expiry of the first field to expire, in Unix milliseconds; `None` if no field expires.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        self.expiring.first().map(|(at_ms, _)| *at_ms)
    }

    /// The fields that are due at a moment, in order of their expiry.
    pub fn due(&self, now_ms: u64) -> impl Iterator<Item = Member<'_>> {
        self.expiring.range(..=(now_ms, u64::MAX)).map(|&(at_ms, hash)| {
            let found = self.members.find_hashed(hash, |field| field.expire_at_ms == Some(at_ms));
            self.members.at(found.expect("what expires is there"))
        })
    }

    /// The number of fields that are due at a moment.
    pub fn due_count(&self, now_ms: u64) -> usize {
        self.expiring.range(..=(now_ms, u64::MAX)).count()
    }

    /// Frees about `count` fields and returns the freed heap bytes. The hash must not be read
    /// afterwards.
    pub fn drop_some(&mut self, count: usize) -> usize {
        let before = self.heap_bytes();
        self.members.drop_some(count);
        for _ in 0..count {
            self.expiring.pop_first();
        }
        before - self.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

    #[derive(Clone, Debug)]
    enum Step {
        Set(u16, Vec<u8>, Option<u64>),
        Expire(u16, Option<u64>),
        Remove(u16),
        Due(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let value = prop::collection::vec(any::<u8>(), 0..20);
        let moment = prop::option::of(0_u64..50);
        prop_oneof![
            4 => (0_u16..300, value, moment.clone()).prop_map(|(n, v, at)| Step::Set(n, v, at)),
            2 => (0_u16..300, moment).prop_map(|(name, at)| Step::Expire(name, at)),
            2 => (0_u16..300).prop_map(Step::Remove),
            1 => (0_u64..60).prop_map(Step::Due),
        ]
    }

    fn check(fields: &Fields, model: &Model) {
        assert_eq!(fields.len(), model.len());
        for (name, (value, expire_at_ms)) in model {
            let field = fields.get(name).expect("the model has it");
            assert_eq!((field.value, field.expire_at_ms), (value.as_slice(), *expire_at_ms));
        }
        let next = model.values().filter_map(|(_, expire_at_ms)| *expire_at_ms).min();
        assert_eq!(fields.next_expiry_ms(), next);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 200 }))]
        #[test]
        fn fields_are_a_map_in_order_of_time(
            steps in prop::collection::vec(step(), 0..if cfg!(miri) { 40 } else { 600 }),
        ) {
            let mut fields = Fields::new(&KeyHasher::new(5));
            let mut model = Model::new();
            for step in steps {
                match step {
                    Step::Set(name, value, at) => {
                        let name = name.to_string().into_bytes();
                        let is_new = fields.set(&name, &value, at);
                        prop_assert_eq!(is_new, model.insert(name, (value, at)).is_none());
                    }
                    Step::Expire(name, at) => {
                        let name = name.to_string().into_bytes();
                        let held = model.get_mut(&name);
                        prop_assert_eq!(fields.set_expire_at_ms(&name, at), held.is_some());
                        if let Some(held) = held {
                            held.1 = at;
                        }
                    }
                    Step::Remove(name) => {
                        let name = name.to_string().into_bytes();
                        prop_assert_eq!(fields.remove(&name), model.remove(&name).is_some());
                    }
                    Step::Due(now_ms) => {
                        let due: Vec<Vec<u8>> =
                            fields.due(now_ms).map(|field| field.name.to_vec()).collect();
                        prop_assert_eq!(due.len(), fields.due_count(now_ms));
                        for name in due {
                            let (_, at) = model.remove(&name).expect("what is due is there");
                            prop_assert!(at.is_some_and(|at_ms| at_ms <= now_ms));
                            fields.remove(&name);
                        }
                    }
                }
                check(&fields, &model);
            }
            while !fields.is_empty() {
                prop_assert!(fields.drop_some(7) > 0);
            }
        }
    }
}
