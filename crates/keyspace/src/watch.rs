//! Watches: for each client that watches keys, whether one of them changed.
//!
//! Costs no byte in an entry. A commit breaks the watches of what it changes (`hooks`).
//!
//! Not here: who the watchers are; to this room they are numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::DatabaseId;
use crate::slot::SlotId;

/// All watches of one shard.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    keys: BTreeMap<WatchedKey, Vec<u64>>,
    watchers: BTreeMap<u64, Watcher>,
}

type WatchedKey = (DatabaseId, Vec<u8>);

#[derive(Debug, Default)]
struct Watcher {
    /// There may be very many of them.
    keys: BTreeSet<WatchedKey>,
    /// Those that had expired when they were watched and were not removed, because of a pause. To remove them
    /// is no change.
    expired: BTreeSet<WatchedKey>,
    is_broken: bool,
}

/// What a watched key is after its database was flushed or swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AfterSwap {
    /// It is another than before.
    pub breaks: bool,
    /// It is there, past its expiry, so that its removal is no change.
    pub is_expired: bool,
}

impl Watches {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Breaks the watches of a key that changed. Where it expired, those that were added afterwards hold.
    pub(crate) fn break_those_of(&mut self, database: DatabaseId, key: &[u8], has_expired: bool) {
        let key = (database, key.to_vec());
        for watcher in self.keys.get(&key).into_iter().flatten() {
            let own = self.watchers.get_mut(watcher).expect("a watcher is known");
            own.is_broken |= !(has_expired && own.expired.contains(&key));
        }
    }

    /// Breaks watches of a database that is flushed or swapped, as `changes` says. It is given the key, and whether
    /// that had expired when it was watched.
    pub(crate) fn break_where(
        &mut self,
        database: DatabaseId,
        changes: &dyn Fn(&[u8], bool) -> AfterSwap,
    ) {
        let range = self.keys.range((database, Vec::new())..);
        for (key, watchers) in range.take_while(|((other, _), _)| *other == database) {
            for watcher in watchers {
                let own = self.watchers.get_mut(watcher).expect("a watcher is known");
                let after = changes(&key.1, own.expired.contains(key));
                own.is_broken |= after.breaks;
                if after.is_expired {
                    own.expired.insert(key.clone());
                } else {
                    own.expired.remove(key);
                }
            }
        }
    }

    /// `is_expired`: the key is there, past its expiry, and stays for now.
    pub(crate) fn add(&mut self, watcher: u64, database: DatabaseId, key: &[u8], is_expired: bool) {
        let key = (database, key.to_vec());
        let own = self.watchers.entry(watcher).or_default();
        if own.keys.insert(key.clone()) {
            if is_expired {
                own.expired.insert(key.clone());
            }
            self.keys.entry(key).or_default().push(watcher);
        }
    }

    pub(crate) fn remove(&mut self, watcher: u64) {
        let Some(own) = self.watchers.remove(&watcher) else { return };
        for key in own.keys {
            let others = self.keys.get_mut(&key).expect("it is watched by one at least");
            others.retain(|other| *other != watcher);
            if others.is_empty() {
                self.keys.remove(&key);
            }
        }
    }

    /// The keys of a watcher that had not expired before.
    pub(crate) fn live_keys_of(&self, watcher: u64) -> Vec<WatchedKey> {
        let Some(own) = self.watchers.get(&watcher) else { return Vec::new() };
        own.keys.iter().filter(|key| !own.expired.contains(key)).cloned().collect()
    }

    pub(crate) fn is_broken(&self, watcher: u64) -> bool {
        self.watchers.get(&watcher).is_some_and(|own| own.is_broken)
    }
}

/// A watch on its way to another shard.
#[derive(Debug)]
pub(crate) struct MovingWatch {
    watcher: u64,
    key: WatchedKey,
    /// The key had expired when it was watched.
    is_expired: bool,
    /// The watcher's transaction is lost already.
    is_broken: bool,
}

impl Watches {
    /// Takes out the watches of keys that move.
    pub(crate) fn detach(&mut self, moves: &dyn Fn(SlotId) -> bool) -> Vec<MovingWatch> {
        let keys = self.keys.extract_if(.., |(_, key), _| moves(SlotId::of_key(key)));
        let mut moving = Vec::new();
        for (key, watchers) in keys {
            for watcher in watchers {
                let own = self.watchers.get_mut(&watcher).expect("who watches is known");
                own.keys.remove(&key);
                let is_expired = own.expired.remove(&key);
                let is_broken = own.is_broken;
                if own.keys.is_empty() {
                    self.watchers.remove(&watcher);
                }
                moving.push(MovingWatch { watcher, key: key.clone(), is_expired, is_broken });
            }
        }
        moving
    }

    pub(crate) fn attach(&mut self, moving: Vec<MovingWatch>) {
        for MovingWatch { watcher, key, is_expired, is_broken } in moving {
            let own = self.watchers.entry(watcher).or_default();
            own.is_broken |= is_broken;
            own.keys.insert(key.clone());
            if is_expired {
                own.expired.insert(key.clone());
            }
            self.keys.entry(key).or_default().push(watcher);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{DatabaseId, Effect, KeyHasher, Keyspace};

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
        assert!(!keyspace.is_watch_broken(7) && !keyspace.is_watched());
        assert!(keyspace.hooks.watches.keys.is_empty());
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

    /// A keyspace in a pause with a watch of a key that has expired and is still there.
    fn watching_expired() -> Keyspace {
        let mut keyspace = watching(&[]);
        keyspace.set_reads_remove(false);
        keyspace.set_now(2000);
        let key = keyspace.key(b"there");
        keyspace.watch(7, DB, &key);
        assert!(!keyspace.is_watch_broken(7));
        keyspace
    }

    #[test]
    fn a_key_that_expired_in_a_pause_before_it_was_watched_may_go() {
        let mut keyspace = watching_expired();
        keyspace.set_reads_remove(true);
        keyspace.expire_due(&mut || true);
        assert!(!keyspace.is_watch_broken(7));
        set(&mut keyspace, b"there", None);
        assert!(keyspace.is_watch_broken(7));

        let mut keyspace = watching_expired();
        keyspace.flush(DB);
        assert!(!keyspace.is_watch_broken(7));
        let mut keyspace = watching_expired();
        keyspace.swap(DB, DatabaseId(1));
        assert!(!keyspace.is_watch_broken(7));
        // Nor if it is swapped in again, as long as it is not another.
        keyspace.swap(DB, DatabaseId(1));
        assert!(!keyspace.is_watch_broken(7));
        set(&mut keyspace, b"there", None);
        assert!(keyspace.is_watch_broken(7));

        // One that expires while it is watched is a change, in a pause too.
        let mut keyspace = watching(&[b"there"]);
        keyspace.set_reads_remove(false);
        keyspace.set_now(2000);
        assert!(keyspace.is_watch_broken(7));
    }

    #[test]
    fn a_key_past_its_expiry_that_is_swapped_in_is_no_change() {
        let other = DatabaseId(1);
        let mut keyspace = watching(&[]);
        let key = keyspace.key(b"there");
        keyspace.watch(7, other, &key);
        keyspace.set_now(2000);
        keyspace.swap(DB, other);
        assert!(!keyspace.is_watch_broken(7));
        // Nor that it goes.
        keyspace.expire_due(&mut || true);
        assert!(!keyspace.is_watch_broken(7));

        // One that expires while it is watched is a change, whatever comes in its place.
        let mut keyspace = watching(&[b"there"]);
        keyspace.set_now(2000);
        keyspace.swap(DB, other);
        assert!(keyspace.is_watch_broken(7));
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
