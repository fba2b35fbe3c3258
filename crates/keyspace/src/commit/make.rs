//! Make: a list, set or sorted set that a command stores, made element by element outside of the databases and put
//! under its key by a pointer. Nothing is copied on the way but a batch of elements.

use std::collections::BTreeSet;

use basalt_structures::{Entry, KeyHasher, Kind, Side};

use super::handover::DetachedValue;
use crate::codec::{Cause, StringList, Strings};
use crate::collections::{
    CollectionChange, ListChange, Means, SetChange, SortedChange, Thresholds, is_emptied,
    score_bytes,
};
use crate::effect::Effect;
use crate::events::Events;
use crate::key::Key;
use crate::{DatabaseId, Keyspace};

/// LIMIT: so many texts or bytes are gathered before they are added.
const BATCH_TEXTS: usize = 1024;
const BATCH_BYTES: usize = 64 << 10;

/// A collection that is being made.
#[derive(Debug)]
pub struct Maker {
    entry: Entry,
    batch: StringList,
    thresholds: Thresholds,
    hasher: KeyHasher,
}

impl Keyspace {
    /// Begins to make a list, a set or a sorted set.
    ///
    /// # Panics
    /// For any other kind.
    pub fn make(&self, kind: Kind) -> Maker {
        let (key, access) = (&[][..], self.access_now);
        let entry = match kind {
            Kind::List => ListChange::start(key, access),
            Kind::Set => SetChange::start(key, access),
            Kind::Sorted => SortedChange::start(key, access),
            _ => panic!("no command makes it so"),
        };
        let (thresholds, hasher) = (self.thresholds, self.hasher);
        Maker { entry, batch: StringList::default(), thresholds, hasher }
    }

    /// Has a key hold what was made, or nothing if that has no elements.
    pub fn put_made(
        &mut self,
        database: DatabaseId,
        key: &Key<'_>,
        made: Option<DetachedValue>,
        events: Events,
    ) {
        if let Some(value) = made {
            return self.put_value(database, key, value, events);
        }
        let edit = self.edit(database, key);
        if edit.entry().is_some() {
            edit.commit(Effect::Remove { cause: Cause::Deleted });
        }
    }
}

impl Maker {
    /// Adds a member of a set, which it may have already, or an element at the end of a list.
    pub fn push(&mut self, text: &[u8]) {
        self.batch.push(text);
        self.add_full_batch();
    }

    /// Adds a member of a sorted set.
    pub fn push_scored(&mut self, member: &[u8], score: f64) {
        self.batch.push(&score_bytes(score));
        self.batch.push(member);
        self.add_full_batch();
    }

    /// As [`Maker::push`] for each of these.
    pub fn extend(&mut self, texts: Strings<'_>) {
        self.add_batch();
        self.add(texts);
    }

    /// What was made; `None` if it has no elements.
    pub fn finish(mut self) -> Option<DetachedValue> {
        self.add_batch();
        (!is_emptied(&self.entry)).then(|| DetachedValue::of(self.entry))
    }

    #[inline]
    fn add_full_batch(&mut self) {
        if self.batch.len() >= BATCH_TEXTS || self.batch.bytes() >= BATCH_BYTES {
            self.add_batch();
        }
    }

    fn add_batch(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        self.add(batch.as_strings());
        batch.clear();
        self.batch = batch;
    }

    fn add(&mut self, texts: Strings<'_>) {
        let means = Means { thresholds: &self.thresholds, hasher: &self.hasher };
        let entry = &mut self.entry;
        match entry.kind() {
            Kind::List => {
                ListChange::Push { side: Side::Back, elements: texts }.apply(entry, means);
            }
            Kind::Set if entry.collection().is_none() => {
                // How a set begins depends on how many members come at once, so each counts once.
                let mut seen = BTreeSet::new();
                let once: Vec<&[u8]> = texts.iter().filter(|text| seen.insert(*text)).collect();
                SetChange::Add { members: Strings::from(&once[..]) }.apply(entry, means);
            }
            Kind::Set => SetChange::Add { members: texts }.apply(entry, means),
            _ => SortedChange::Set { pairs: texts }.apply(entry, means),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use crate::events::event;

    const DB: DatabaseId = DatabaseId(0);

    #[test]
    fn what_is_made_is_what_changes_make() {
        for count in [0, 1, 100, 128, 129, 5000] {
            let mut keyspace = Keyspace::new(1, KeyHasher::new(1), 1000);
            let reader = keyspace.add_reader();
            let names: Vec<String> = (0..count).map(|at| format!("member {at}")).collect();
            let mut made =
                [Kind::List, Kind::Set, Kind::Sorted].map(|kind| Some(keyspace.make(kind)));
            let [Some(list), Some(set), Some(sorted)] = &mut made else { unreachable!() };
            for (at, name) in names.iter().enumerate() {
                list.push(name.as_bytes());
                set.push(name.as_bytes());
                set.push(names[at / 2].as_bytes());
                sorted.push_scored(name.as_bytes(), at as f64);
            }
            let texts: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
            let scores: Vec<[u8; 8]> = (0..count).map(|at| score_bytes(f64::from(at))).collect();
            let pairs = scores.iter().zip(&texts).flat_map(|(score, text)| [&score[..], text]);
            let pairs: Vec<&[u8]> = pairs.collect();
            let (elements, members) = (Strings::from(&texts[..]), Strings::from(&texts[..]));
            let effects = [
                Effect::List(ListChange::Push { side: Side::Back, elements }),
                Effect::Set(SetChange::Add { members }),
                Effect::Sorted(SortedChange::Set { pairs: Strings::from(&pairs[..]) }),
            ];
            for (made, effect) in made.into_iter().zip(effects) {
                let (key, other) = (keyspace.key(b"made"), keyspace.key(b"other"));
                let made = made.and_then(Maker::finish);
                assert_eq!(made.is_some(), count > 0);
                keyspace.put_made(DB, &key, made, event::NONE);
                if count == 0 {
                    assert!(keyspace.peek(DB, &key).is_none());
                    continue;
                }
                keyspace.edit(DB, &other).commit(effect);
                let [own, expected] = [&key, &other].map(|key| {
                    let entry = keyspace.peek(DB, key).expect("it was put there");
                    (Digest::of_entry(&entry, 1000, false), entry.encoding())
                });
                assert_eq!(own, expected, "{count}");
                keyspace.verify();
                let remove = Effect::Remove { cause: Cause::Deleted };
                keyspace.edit(DB, &other).commit(remove);
            }
            // It stays under its key, and its record makes it again.
            let mut again = Keyspace::new(1, KeyHasher::new(1), 1000);
            again.replay(keyspace.unread_records(reader).expect("it keeps up")).expect("records");
            assert_eq!(again.digests(), keyspace.digests());
        }
    }
}
