//! Commit: the only way in which a shard's data changes.
//!
//! Effects of commands, expiry of keys and fields, flushed and swapped databases, slots that leave and come: each
//! is a [`Change`], and each does three things: hooks before, the change, hooks after. With nothing hooked
//! on, a commit is the change and the test of one word.
//!
//! Not here: what hangs on the hooks (`hooks`), what an effect does (`apply`).

pub(crate) mod apply;
pub(crate) mod database;
pub(crate) mod handover;
pub(crate) mod make;

use basalt_structures::Place;

use crate::codec::{Cause, Malformed};
use crate::effect::Effect;
use crate::events::{Signal, default_events, event};
use crate::hooks::Change;
use crate::key::Key;
use crate::record::{self, Record};
use crate::slot::SlotId;
use crate::{DatabaseId, Keyspace};
use database::{Database, DetachedTable};

/// The tables of slots, each with its database.
pub(crate) type DetachedTables = Vec<(DatabaseId, SlotId, DetachedTable)>;

impl Keyspace {
    /// Hooks, the change, hooks.
    fn commit<T>(&mut self, change: &Change<'_>, apply: impl FnOnce(&mut Self) -> T) -> T {
        if !self.hooks.is_armed() {
            return apply(self);
        }
        let moment = (&self.hasher, self.now_ms);
        let before = self.hooks.before(&self.databases, moment, change);
        let done = apply(self);
        self.hooks.after(&self.databases, change, before);
        done
    }

    /// Commits an effect on what lies at `place`, and raises the events of `signal`.
    #[inline]
    pub(crate) fn commit_key(
        &mut self,
        database: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        effect: Effect<'_>,
        signal: Signal,
    ) {
        if self.hooks.is_armed() {
            return self.commit_key_hooked(database, key, place, effect, signal);
        }
        self.apply(database, key, place, effect);
    }

    #[cold]
    #[inline(never)]
    fn commit_key_hooked(
        &mut self,
        database: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        effect: Effect<'_>,
        signal: Signal,
    ) {
        let (events, is_signalled) = match signal {
            Signal::Default => (default_events(&effect), true),
            Signal::Events(events) => (events, true),
            Signal::Nothing => (event::NONE, false),
        };
        let change = Change::Key { database, key: *key, effect, events, is_signalled };
        self.commit(&change, |keyspace| keyspace.apply(database, key, place, effect));
    }

    /// Removes a key that a look-up met past its expiry.
    #[cold]
    pub(crate) fn commit_expired(&mut self, database: DatabaseId, key: &Key<'_>, place: Place) {
        let effect = Effect::Remove { cause: Cause::Expired };
        self.commit_key(database, key, Some(place), effect, Signal::Default);
    }

    /// As [`Keyspace::commit_expired`], for a place whose key is not at hand: hooks get a copy of it.
    pub(crate) fn commit_expired_at(&mut self, database: DatabaseId, slot: SlotId, place: Place) {
        if self.hooks.is_armed() {
            let name = self.databases.get(database).entry(slot, place).key().to_vec();
            let key = self.key(&name);
            return self.commit_expired(database, &key, place);
        }
        self.remove(database, slot, place, Cause::Expired);
    }

    /// Empties a database; its memory is given back by [`Keyspace::free_step`]. An empty one does not change.
    pub fn flush(&mut self, database: DatabaseId) {
        if self.len(database) == 0 {
            self.hooks.flushed_nothing();
            return;
        }
        self.stats.changes += 1;
        let full = self.commit(&Change::Flush { database }, |keyspace| {
            keyspace.databases.replace(database, Database::new(keyspace.now_ms))
        });
        let full = match &mut self.hooks.snapshot {
            Some(snapshot) => snapshot.flushed(database, full),
            None => Some(full),
        };
        if let Some(full) = full {
            self.stats.freed_lazily += self.lazy_free.add_database(full);
        }
    }

    /// Swaps two databases. It is no change where both are the same, or empty.
    pub fn swap(&mut self, first: DatabaseId, second: DatabaseId) {
        if first == second || self.len(first) + self.len(second) == 0 {
            return;
        }
        self.stats.changes += 1;
        self.commit(&Change::Swap { first, second }, |keyspace| {
            keyspace.databases.swap(first, second);
            keyspace.big_keys.swap(first, second);
        });
    }

    /// Takes out the tables of slots, in all databases.
    pub(crate) fn commit_slots_out(&mut self, slots: &[SlotId]) -> DetachedTables {
        self.commit(&Change::SlotsOut { slots }, |keyspace| {
            let mut tables = Vec::new();
            for &slot in slots {
                for id in keyspace.databases.ids() {
                    let table = keyspace.databases.get_mut(id).detach(slot);
                    tables.extend(table.map(|table| (id, slot, table)));
                }
            }
            tables
        })
    }

    /// Puts in the tables of slots that were taken out of another shard.
    pub(crate) fn commit_slots_in(&mut self, slots: &[SlotId], tables: DetachedTables) {
        self.commit(&Change::SlotsIn { slots }, |keyspace| {
            for (id, slot, table) in tables {
                keyspace.databases.get_mut(id).attach(slot, table);
            }
        });
    }

    /// Does again what the records say, up to the first that can't follow on those before it.
    ///
    /// # Errors
    /// [`Malformed`] where the bytes are no records, or name a database that is not here.
    pub fn replay(&mut self, mut records: &[u8]) -> Result<(), Malformed> {
        while !records.is_empty() {
            let (record, len) = Record::decode(records)?;
            records = &records[len..];
            let count = self.databases.count();
            let is_known = |id: DatabaseId| id.index() < count;
            match record {
                Record::Key { database, key, effect } if is_known(database) => {
                    let key = self.key(key);
                    let place = self.databases.get(database).find(&key);
                    let entry = place.map(|at| self.databases.get(database).entry(key.slot, at));
                    if !record::follows(entry.as_deref(), &effect) {
                        return Err(Malformed);
                    }
                    self.stats.changes += 1;
                    self.commit_key(database, &key, place, effect, Signal::Events(event::NONE));
                }
                Record::Flush { database } if is_known(database) => self.flush(database),
                Record::Swap { first, second } if is_known(first) && is_known(second) => {
                    self.swap(first, second);
                }
                Record::SlotOut { slot } => {
                    for (_, _, table) in self.commit_slots_out(&[slot]) {
                        self.lazy_free.add_table(table);
                    }
                }
                // Whoever replays has left out what is not complete.
                Record::Part { .. } | Record::PartEnd { .. } => {}
                _ => return Err(Malformed),
            }
        }
        Ok(())
    }
}
