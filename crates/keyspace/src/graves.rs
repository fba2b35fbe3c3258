//! Graves: what was flushed or removed and is too large to be dropped at once; it goes bit by bit.
//!
//! Invariant: the bytes of what lies here are counted as used until they are freed.

use basalt_structures::{Collection, Entry, Table};

use crate::Keyspace;
use crate::database::Database;

/// LIMIT: entries or elements dropped at a time, before the budget is asked again.
const STEP_ELEMENTS_MAX: usize = 256;
/// A slice's first step is this small and each is twice the one before: memory that was left alone may be slow
/// to come back.
const STEP_ELEMENTS_MIN: usize = 4;

/// LIMIT: flushed databases that wait. Who flushes again and again faster than they go drops the last of them first.
const DATABASES_MAX: usize = 32;

/// Collections of up to so many elements are dropped at once.
const AT_ONCE_ELEMENTS_MAX: usize = 64;

/// What waits to be dropped.
#[derive(Default)]
pub(crate) struct Graves {
    databases: Vec<Database>,
    /// Those of a page that was taken out of a database.
    tables: Vec<Table>,
    collections: Vec<Collection>,
    bytes: usize,
}

/// Drops an entry, unless it holds a large collection, which is kept for later. Returns the heap bytes that
/// were freed.
fn drop_or_keep(entry: Entry, kept: &mut Vec<Collection>) -> usize {
    let bytes = entry.heap_bytes();
    match entry.into_collection() {
        Ok(collection) if collection.len() > AT_ONCE_ELEMENTS_MAX => {
            let left = collection.heap_bytes();
            kept.push(*collection);
            bytes - left
        }
        _ => bytes,
    }
}

impl Graves {
    pub(crate) fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.tables.is_empty() && self.collections.is_empty()
    }

    /// The heap bytes that are still to be freed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a database. Tells how many values were dropped to make room.
    pub(crate) fn add_database(&mut self, database: Database) -> u64 {
        let bytes = database.heap_bytes();
        if bytes == 0 {
            return 0;
        }
        let mut count = 0;
        while self.databases.len() >= DATABASES_MAX {
            count += self.drop_step(STEP_ELEMENTS_MAX);
        }
        self.bytes += bytes;
        self.databases.push(database);
        count
    }

    fn add(&mut self, entry: Entry) {
        let bytes = entry.heap_bytes();
        self.bytes += bytes - drop_or_keep(entry, &mut self.collections);
    }

    /// Drops about so many entries or elements; tells how many values went with them.
    fn drop_step(&mut self, elements: usize) -> u64 {
        let mut count = 0;
        if let Some(collection) = self.collections.last_mut() {
            let mut freed = collection.drop_some(elements);
            if collection.is_empty() {
                freed += collection.heap_bytes();
                self.collections.pop();
                count += 1;
            }
            self.bytes = self.bytes.saturating_sub(freed);
        } else if let Some(table) = self.tables.last_mut() {
            let kept = &mut self.collections;
            let mut drop = |entry: Entry| {
                let before = kept.len();
                let freed = drop_or_keep(entry, kept);
                count += u64::from(kept.len() == before);
                freed
            };
            let freed = table.drop_some(elements, &mut drop);
            self.bytes = self.bytes.saturating_sub(freed);
            if table.is_empty() {
                self.tables.pop();
            }
        } else if let Some(database) = self.databases.last_mut() {
            match database.dismantle(elements) {
                Some((tables, freed)) => {
                    self.tables = tables;
                    self.bytes = self.bytes.saturating_sub(freed);
                }
                None => _ = self.databases.pop(),
            }
        }
        if self.is_empty() {
            *self = Self::default();
        }
        count
    }
}

impl Keyspace {
    /// Drops an entry that was taken out; a large collection goes to the graves.
    #[inline]
    pub(crate) fn bury(&mut self, entry: Entry) {
        if entry.collection().is_some() {
            self.graves.add(entry);
        }
    }

    /// Drops what was flushed or removed, bit by bit, until nothing is left or `more` says that the time is
    /// used up. Says whether work is left.
    pub fn bury_some(&mut self, more: &mut dyn FnMut() -> bool) -> bool {
        let mut step = STEP_ELEMENTS_MIN;
        while !self.graves.is_empty() {
            self.stats.freed_lazily += self.graves.drop_step(step);
            if !more() {
                break;
            }
            step = (2 * step).min(STEP_ELEMENTS_MAX);
        }
        self.has_graves()
    }

    /// Whether something waits to be dropped.
    pub fn has_graves(&self) -> bool {
        !self.graves.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::DATABASES_MAX;
    use crate::{DatabaseId, Effect, KeyHasher, Keyspace};

    /// Memory that was left alone may be slow, and the time is looked at only after a step.
    #[test]
    fn a_slice_begins_with_small_steps() {
        const COUNT: u64 = 10_000;
        let id = DatabaseId(0);
        let mut keyspace = Keyspace::new(1, KeyHasher::new(1), 1000);
        for number in 0..COUNT {
            // One slot, so one table.
            let name = format!("{{tag}}{number}");
            let key = keyspace.key(name.as_bytes());
            let effect = Effect::SetString { value: b"x", expire_at_ms: None, changed: false };
            keyspace.edit(id, &key).commit(effect);
        }
        keyspace.flush(id);
        // The first step takes the tables out.
        (0..2).for_each(|_| assert!(keyspace.bury_some(&mut || false)));
        assert!((1..16).contains(&keyspace.stats.freed_lazily), "{}", keyspace.stats.freed_lazily);
        let mut steps = 0;
        let mut count = || {
            steps += 1;
            true
        };
        assert!(!keyspace.bury_some(&mut count));
        assert_eq!(keyspace.stats.freed_lazily, COUNT);
        assert!(steps < 60, "{steps} steps: they grow");
    }

    /// Tables, pages and the wheel: nothing of a flushed database goes at a stroke, and all of it goes.
    #[test]
    fn a_flushed_database_goes_bit_by_bit() {
        let id = DatabaseId(0);
        let mut keyspace = Keyspace::new(1, KeyHasher::new(1), 1000);
        for number in 0..100_000_u64 {
            let name = number.to_string();
            let key = keyspace.key(name.as_bytes());
            let expire_at_ms = Some(1_000_000 + number);
            let effect = Effect::SetString { value: b"x", expire_at_ms, changed: false };
            keyspace.edit(id, &key).commit(effect);
        }
        let full = keyspace.used_bytes();
        keyspace.flush(id);
        let mut before = keyspace.used_bytes();
        assert_eq!(before, full, "nothing has gone yet");
        let (mut largest, mut goes_on) = (0, true);
        while goes_on {
            goes_on = keyspace.bury_some(&mut || false);
            let now = keyspace.used_bytes();
            largest = largest.max(before - now);
            before = now;
        }
        assert_eq!(before, 0);
        assert!(largest < 32 << 10, "{largest} bytes went at once");
    }

    #[test]
    fn few_flushed_databases_wait() {
        let id = DatabaseId(0);
        let mut keyspace = Keyspace::new(1, KeyHasher::new(1), 1000);
        let mut full = 0;
        for round in 0..1000_u64 {
            for number in 0..10 {
                let name = format!("{number}");
                let key = keyspace.key(name.as_bytes());
                let effect = Effect::SetString { value: b"x", expire_at_ms: None, changed: false };
                keyspace.edit(id, &key).commit(effect);
            }
            if round == 0 {
                full = keyspace.used_bytes();
            }
            keyspace.flush(id);
            assert!(keyspace.used_bytes() <= DATABASES_MAX * full);
        }
        assert!(keyspace.stats.freed_lazily >= (1000 - DATABASES_MAX as u64) * 10);
        while keyspace.bury_some(&mut || true) {}
        assert_eq!((keyspace.used_bytes(), keyspace.stats.freed_lazily), (0, 10_000));
    }
}
