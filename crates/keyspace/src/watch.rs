//! Watches: who wants to know, before a transaction, whether one of a few keys changed.
//!
//! Costs no byte in an entry, and one look at an empty table per change where nobody watches. Every change
//! is recorded, so a watch is told there (`Keyspace::record`).
//!
//! Not here: who the watchers are; to this room they are numbers.

use std::collections::BTreeMap;

use crate::effect::Record;
use crate::key::Key;
use crate::slot::SlotId;
use crate::{DatabaseId, Keyspace};

/// All watches of one shard.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    keys: BTreeMap<WatchedKey, Vec<u64>>,
    watchers: BTreeMap<u64, Watcher>,
}

type WatchedKey = (DatabaseId, Vec<u8>);

#[derive(Debug, Default)]
struct Watcher {
    keys: Vec<WatchedKey>,
    is_broken: bool,
}

impl Watches {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    fn break_those_of(&mut self, key: &WatchedKey) {
        for watcher in self.keys.get(key).into_iter().flatten() {
            self.watchers.get_mut(watcher).expect("who watches is known").is_broken = true;
        }
    }
}

/// A watch on its way to another shard.
#[derive(Debug)]
pub(crate) struct MovingWatch {
    watcher: u64,
    key: WatchedKey,
    /// The watcher's transaction is lost already.
    is_broken: bool,
}

impl Watches {
    /// Takes out the watches of keys that move.
    pub(crate) fn give_out(&mut self, moves: &dyn Fn(SlotId) -> bool) -> Vec<MovingWatch> {
        let keys = self.keys.extract_if(.., |(_, key), _| moves(SlotId::of_key(key)));
        let mut moving = Vec::new();
        for (key, watchers) in keys {
            for watcher in watchers {
                let own = self.watchers.get_mut(&watcher).expect("who watches is known");
                own.keys.retain(|other| *other != key);
                let is_broken = own.is_broken;
                if own.keys.is_empty() {
                    self.watchers.remove(&watcher);
                }
                moving.push(MovingWatch { watcher, key: key.clone(), is_broken });
            }
        }
        moving
    }

    pub(crate) fn take_in(&mut self, moving: Vec<MovingWatch>) {
        for MovingWatch { watcher, key, is_broken } in moving {
            let own = self.watchers.entry(watcher).or_default();
            own.is_broken |= is_broken;
            own.keys.push(key.clone());
            self.keys.entry(key).or_default().push(watcher);
        }
    }
}

impl Keyspace {
    /// Whether anybody watches a key, for tests.
    #[doc(hidden)]
    pub fn is_watched(&self) -> bool {
        !self.watches.is_empty()
    }

    /// From now on `watcher` is told of changes of the key, and of its expiry.
    pub fn watch(&mut self, watcher: u64, database: DatabaseId, key: &Key<'_>) {
        // What is dead already may go without that being a change.
        drop(self.edit(database, key));
        let key = (database, key.bytes.to_vec());
        let own = self.watches.watchers.entry(watcher).or_default();
        if !own.keys.contains(&key) {
            own.keys.push(key.clone());
            self.watches.keys.entry(key).or_default().push(watcher);
        }
    }

    /// Forgets all that `watcher` watches.
    pub fn unwatch(&mut self, watcher: u64) {
        let Some(own) = self.watches.watchers.remove(&watcher) else { return };
        for key in own.keys {
            let others = self.watches.keys.get_mut(&key).expect("it is watched by one at least");
            others.retain(|other| *other != watcher);
            if others.is_empty() {
                self.watches.keys.remove(&key);
            }
        }
    }

    /// Whether a key of `watcher` changed, or expired.
    pub fn is_watch_broken(&mut self, watcher: u64) -> bool {
        let Some(own) = self.watches.watchers.get(&watcher) else { return false };
        for (database, key) in own.keys.clone() {
            let key = self.key(&key);
            // A look-up removes what is past its moment, and tells of it.
            drop(self.edit(database, &key));
        }
        self.watches.watchers[&watcher].is_broken
    }

    /// A change is about to happen.
    #[cold]
    pub(crate) fn tell_watches(&mut self, record: &Record<'_>) {
        match *record {
            Record::Key { database, key, .. } => {
                self.watches.break_those_of(&(database, key.to_vec()));
            }
            Record::Flush { database } => self.break_present(&[database], database),
            Record::Swap { first, second } => {
                self.break_present(&[first, second], first);
                self.break_present(&[second, first], second);
            }
        }
    }

    /// Breaks the watches of a database's keys that are in one of some databases.
    fn break_present(&mut self, places: &[DatabaseId], database: DatabaseId) {
        let range = (database, Vec::new())..;
        let watched =
            self.watches.keys.range(range).take_while(|((other, _), _)| *other == database);
        let present = |(_, key): &WatchedKey| {
            let key = self.key(key);
            places.iter().any(|place| self.databases[place.index()].find(&key).is_some())
        };
        let broken: Vec<WatchedKey> =
            watched.map(|(key, _)| key).filter(|key| present(key)).cloned().collect();
        for key in broken {
            self.watches.break_those_of(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Effect, KeyHasher};

    const DB: DatabaseId = DatabaseId(0);

    fn set(keyspace: &mut Keyspace, name: &[u8], expire_at_ms: Option<u64>) {
        let key = keyspace.key(name);
        let effect = Effect::SetString { value: b"x", expire_at_ms, changed: false };
        keyspace.edit(DB, &key).commit(effect);
    }

    fn watching(names: &[&[u8]]) -> Keyspace {
        let mut keyspace = Keyspace::new(2, KeyHasher::new(1), 1000);
        set(&mut keyspace, b"there", Some(2000));
        for name in names {
            let key = keyspace.key(name);
            keyspace.watch(7, DB, &key);
        }
        assert!(!keyspace.is_watch_broken(7));
        keyspace
    }

    #[test]
    fn a_change_of_a_watched_key_is_noticed_and_no_other() {
        let mut keyspace = watching(&[b"new"]);
        set(&mut keyspace, b"there", None);
        assert!(!keyspace.is_watch_broken(7));
        set(&mut keyspace, b"new", None);
        assert!(keyspace.is_watch_broken(7) && !keyspace.is_watch_broken(8));
        keyspace.unwatch(7);
        assert!(!keyspace.is_watch_broken(7) && keyspace.watches.is_empty());
        assert!(keyspace.watches.keys.is_empty());
    }

    #[test]
    fn expiry_is_a_change_unless_the_key_was_dead_before() {
        let mut keyspace = watching(&[b"there"]);
        keyspace.set_now(2000);
        assert!(keyspace.is_watch_broken(7));
        let mut keyspace = watching(&[]);
        keyspace.set_now(2000);
        let key = keyspace.key(b"there");
        keyspace.watch(7, DB, &key);
        keyspace.expire_due(&mut || true);
        assert!(!keyspace.is_watch_broken(7));
    }

    #[test]
    fn flushing_and_swapping_change_what_is_there() {
        let mut keyspace = watching(&[b"not there"]);
        keyspace.flush(DB);
        keyspace.swap(DB, DatabaseId(1));
        assert!(!keyspace.is_watch_broken(7));
        let mut keyspace = watching(&[b"there"]);
        keyspace.flush(DatabaseId(1));
        assert!(!keyspace.is_watch_broken(7));
        keyspace.flush(DB);
        assert!(keyspace.is_watch_broken(7));
        let mut keyspace = watching(&[b"there"]);
        keyspace.swap(DB, DatabaseId(1));
        assert!(keyspace.is_watch_broken(7));
    }
}
