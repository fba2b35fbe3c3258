//! Handover: a value that goes from one key to another as it is, or a copy of it, also to a key of another shard.
//!
//! What is large goes by its pointer, so RENAME takes as long for a million members as for one. Readers of the
//! journal get the value as an effect that makes it, which costs as much as the value is large.

use basalt_structures::{Entry, LongString};

use crate::codec::Cause;
use crate::collections::element_count;
use crate::effect::Effect;
use crate::events::{Events, event};
use crate::hooks::Change;
use crate::key::Key;
use crate::record::Record;
use crate::{DatabaseId, Keyspace};

/// The value of a key that is gone, or a copy of what a key holds, with its expiry.
#[derive(Debug)]
pub struct DetachedValue(Entry);

/// A copy of what a key holds or does not hold, expiry included, to be put back.
#[derive(Debug)]
pub struct KeptValue(Option<Vec<u8>>);

impl DetachedValue {
    /// Of an entry that no database holds.
    pub(in crate::commit) fn of(entry: Entry) -> Self {
        Self(entry)
    }

    /// The number of elements of a list, a set or a sorted set; 0 for all else.
    pub fn len(&self) -> usize {
        element_count(&self.0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl KeptValue {
    /// Copies what an entry holds.
    pub fn of(database: DatabaseId, key: &Key<'_>, entry: Option<&Entry>) -> Self {
        Self(entry.map(|entry| {
            let (mut value, mut record) = (Vec::new(), Vec::new());
            let effect = Effect::copy_of(entry, &mut value);
            Record::Key { database, key: key.bytes, effect }.encode(&mut record);
            record
        }))
    }
}

impl Keyspace {
    /// Has a key hold again what was kept of it; no event is raised.
    pub fn restore_value(&mut self, database: DatabaseId, key: &Key<'_>, kept: &KeptValue) {
        drop(self.take_value(database, key, event::NONE));
        if let Some(record) = &kept.0
            && let Ok((Record::Key { effect, .. }, _)) = Record::decode(record)
        {
            self.edit(database, key).as_event(event::NONE).commit(effect);
        }
    }

    /// Removes a key and returns what it held; `None` if it held nothing.
    pub fn take_value(
        &mut self,
        database: DatabaseId,
        key: &Key<'_>,
        events: Events,
    ) -> Option<DetachedValue> {
        let place = self.find_live(database, key)?;
        let effect = Effect::Remove { cause: Cause::Deleted };
        self.stats.changes += 1;
        let change = Change::Key { database, key: *key, effect, events, is_signalled: true };
        let entry = self.commit(&change, |keyspace| {
            let hasher = &keyspace.hasher;
            keyspace.databases.get_mut(database).remove(key.slot, place, hasher)
        });
        Some(DetachedValue(entry))
    }

    /// A copy of what a key holds, element by element without an encoding; `None` if it holds nothing.
    pub fn copy_value(&self, database: DatabaseId, key: &Key<'_>) -> Option<DetachedValue> {
        let entry = self.peek(database, key)?;
        Some(DetachedValue(entry.copy(key.bytes, self.access_now)))
    }

    /// Has a key hold a value that another key held, in the place of what it holds.
    pub fn put_value(
        &mut self,
        database: DatabaseId,
        key: &Key<'_>,
        value: DetachedValue,
        events: Events,
    ) {
        self.put_detached(database, key, value.0.with_key(key.bytes), events);
    }

    /// Has a key hold a long string, without expiry. As the effect that sets it,
    /// but without a copy.
    pub fn put_text(&mut self, database: DatabaseId, key: &Key<'_>, text: LongString) {
        let entry = Entry::long(key.bytes, text, None, self.access_now);
        self.put_detached(database, key, entry, event::SET);
    }

    fn put_detached(&mut self, database: DatabaseId, key: &Key<'_>, entry: Entry, events: Events) {
        let (kind, expire_at_ms) = (entry.kind(), entry.expire_at_ms());
        let mut bytes = Vec::new();
        let effect = if self.hooks.reads_effects() {
            Effect::copy_of(&entry, &mut bytes)
        } else {
            Effect::SetCollection { kind, changes: &[], expire_at_ms }
        };
        let place = self.find_live(database, key);
        self.stats.changes += 1;
        let change = Change::Key { database, key: *key, effect, events, is_signalled: true };
        self.commit(&change, |keyspace| keyspace.put_entry(database, key, place, entry));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event::{self, RENAME_FROM, RENAME_TO};
    use crate::{
        FieldLife, HashChange, KeyHasher, ListChange, SetChange, Side, SortedChange, Strings,
        score_bytes,
    };

    const DB: DatabaseId = DatabaseId(0);

    fn keyspace() -> Keyspace {
        Keyspace::new(2, KeyHasher::new(1), 1000)
    }

    fn commit(keyspace: &mut Keyspace, name: &[u8], effect: Effect<'_>) {
        let key = keyspace.key(name);
        keyspace.edit(DB, &key).commit(effect);
    }

    /// Keys of every form: in the block, as an integer, in a buffer, packed, boxed; some with an expiry.
    fn fill(keyspace: &mut Keyspace) -> Vec<Vec<u8>> {
        let long = vec![b'x'; 5000];
        let values: [&[u8]; 3] = [b"short", &long, b""];
        for (value, name) in values.into_iter().zip([b"a", b"b", b"c"]) {
            let effect = Effect::SetString { value, expire_at_ms: Some(9000), changed: false };
            commit(keyspace, name, effect);
        }
        commit(keyspace, b"d", Effect::SetInteger { value: 7, expire_at_ms: None });
        commit(keyspace, b"e", Effect::Append { bytes: &long });
        let names: Vec<String> = (0..2000).map(|number| format!("member {number}")).collect();
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        for (name, count) in [(b"f", 3), (b"g", 2000)] {
            let members = Strings::from(&names[..count]);
            commit(keyspace, name, Effect::Set(SetChange::Add { members }));
        }
        commit(keyspace, b"g", Effect::ExpireAt { at_ms: 8000 });
        fill_others(keyspace);
        b"abcdefghijk".iter().map(|name| vec![*name]).collect()
    }

    /// The other collections, in their large forms; a set with members that are too long for a page.
    fn fill_others(keyspace: &mut Keyspace) {
        let long = vec![b'y'; 5000];
        let mut names: Vec<Vec<u8>> =
            (0..1000).map(|number| format!("member {number}").into_bytes()).collect();
        names.push(long);
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        let members = Strings::from(&names[..]);
        commit(keyspace, b"h", Effect::Set(SetChange::Add { members }));
        let pairs: Vec<&[u8]> = names.iter().flat_map(|name| [*name, *name]).collect();
        let pairs = Strings::from(&pairs[..]);
        commit(keyspace, b"i", Effect::Hash(HashChange::Set { pairs, life: FieldLife::Forever }));
        let elements = Strings::from(&names[..]);
        commit(keyspace, b"j", Effect::List(ListChange::Push { side: Side::Back, elements }));
        for (score, member) in names.iter().enumerate() {
            let score = score_bytes(score as f64);
            let pair = [&score[..], member];
            let pairs = Strings::from(&pair[..]);
            commit(keyspace, b"k", Effect::Sorted(SortedChange::Set { pairs }));
        }
    }

    #[test]
    fn a_value_is_the_same_under_its_new_key_here_and_elsewhere() {
        let (mut here, mut there, mut plain) = (keyspace(), keyspace(), keyspace());
        let readers = [here.add_reader(), there.add_reader()];
        let names = fill(&mut here);
        fill(&mut plain);
        for name in &names {
            let longer = [name.as_slice(), &[b'k'; 300]].concat();
            let first = here.key(name);
            let value = here.take_value(DB, &first, RENAME_FROM).expect("it was filled");
            assert!(here.peek(DB, &first).is_none());
            let renamed = there.key(&longer);
            there.put_value(DB, &renamed, value, RENAME_TO);
            let back = there.take_value(DB, &renamed, RENAME_FROM).expect("it was put there");
            assert!(there.take_value(DB, &renamed, RENAME_FROM).is_none());
            here.put_value(DB, &first, back, RENAME_TO);
            here.verify();
            there.verify();
        }
        assert_eq!((here.digests(), there.len(DB)), (plain.digests(), 0));
        assert_eq!(here.statistics(DB).expiring, plain.statistics(DB).expiring);
        // A copy is the same, and stands alone.
        for name in &names {
            let (first, copied) = (here.key(name), there.key(name));
            let copy = here.copy_value(DB, &first).expect("it was filled");
            there.put_value(DB, &copied, copy, event::COPY_TO);
            there.verify();
            let encoding =
                |keyspace: &Keyspace, key| keyspace.peek(DB, key).expect("it is there").encoding();
            assert_eq!(encoding(&here, &first), encoding(&there, &copied));
        }
        assert_eq!(there.digests(), here.digests());
        commit(
            &mut there,
            b"g",
            Effect::Set(SetChange::Add { members: Strings::from(&[&b"new"[..]][..]) }),
        );
        commit(&mut there, b"e", Effect::Append { bytes: b"more" });
        assert_eq!(here.digests(), plain.digests());
        assert_ne!(there.digests(), here.digests());
        for (keyspace, reader) in [&mut here, &mut there].into_iter().zip(readers) {
            let records = keyspace.unread_records(reader).expect("the reader keeps up");
            let mut replayed = Keyspace::new(2, KeyHasher::new(1), 1000);
            replayed.replay(records).expect("it was recorded just now");
            assert_eq!(replayed.digests(), keyspace.digests());
        }
        // What comes over something takes its place, and expires in time.
        let (from, to) = (here.key(b"g"), here.key(b"a"));
        let value = here.take_value(DB, &from, RENAME_FROM).expect("it is there");
        here.put_value(DB, &to, value, RENAME_TO);
        here.verify();
        assert_eq!(here.len(DB), names.len() - 1);
        here.set_now(8000);
        assert!(!here.expire_due(&mut || true) && here.peek(DB, &to).is_none());
        here.verify();
    }
}
