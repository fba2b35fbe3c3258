//! LazyFree: flushed databases and removed collections that are too large to free at once; freed in steps.
//!
//! Invariant: the bytes of what lies here are counted as used until they are freed.

use basalt_structures::{Collection, Entry, Table};

use crate::commit::database::{Database, DetachedTable};
use crate::limits::{FLUSHED_DATABASES_MAX, FREE_STEP_ELEMENTS_MAX, FREED_AT_ONCE_ELEMENTS_MAX};

/// A slice's first step is this small and each is twice the one before: memory that was left alone may be slow
/// to come back.
const FREE_STEP_ELEMENTS_MIN: usize = 4;

/// What waits to be dropped.
#[derive(Default)]
pub(crate) struct LazyFree {
    databases: Vec<Database>,
    /// Those of a page that was taken out of a database.
    tables: Vec<Table>,
    collections: Vec<Collection>,
    bytes: usize,
    /// Values that are still to be freed.
    objects: u64,
}

/// Drops an entry, unless it holds a large collection, which is kept for later. Returns the heap bytes that
/// were freed.
fn drop_or_keep(entry: Entry, kept: &mut Vec<Collection>) -> usize {
    let bytes = entry.heap_bytes();
    match entry.into_collection() {
        Ok(collection) if collection.len() > FREED_AT_ONCE_ELEMENTS_MAX => {
            let left = collection.heap_bytes();
            kept.push(*collection);
            bytes - left
        }
        _ => bytes,
    }
}

impl LazyFree {
    pub(crate) fn is_empty(&self) -> bool {
        self.databases.is_empty() && self.tables.is_empty() && self.collections.is_empty()
    }

    /// The heap bytes that are still to be freed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many values are still to be freed.
    pub(crate) fn objects(&self) -> u64 {
        self.objects
    }

    /// Adds a database. Returns how many values were dropped to make room.
    pub(crate) fn add_database(&mut self, database: Database) -> u64 {
        let bytes = database.heap_bytes();
        if bytes == 0 {
            return 0;
        }
        let mut count = 0;
        while self.databases.len() >= FLUSHED_DATABASES_MAX {
            count += self.drop_step(FREE_STEP_ELEMENTS_MAX);
        }
        self.bytes += bytes;
        self.objects += database.len() as u64;
        self.databases.push(database);
        count
    }

    /// Adds the table of a slot whose keys are removed.
    pub(crate) fn add_table(&mut self, table: DetachedTable) {
        self.bytes += table.heap_bytes();
        let table = table.into_table();
        self.objects += table.len() as u64;
        self.tables.push(table);
    }

    /// Steps until nothing is left or `more` says that the time is used up. Returns how many values were freed.
    pub(crate) fn free(&mut self, more: &mut dyn FnMut() -> bool) -> u64 {
        let (mut freed, mut step) = (0, FREE_STEP_ELEMENTS_MIN);
        while !self.is_empty() {
            freed += self.drop_step(step);
            if !more() {
                break;
            }
            step = (2 * step).min(FREE_STEP_ELEMENTS_MAX);
        }
        freed
    }

    pub(crate) fn add(&mut self, entry: Entry) {
        let (bytes, before) = (entry.heap_bytes(), self.collections.len());
        self.bytes += bytes - drop_or_keep(entry, &mut self.collections);
        self.objects += (self.collections.len() - before) as u64;
    }

    /// Drops about so many entries or elements; returns how many values went with them.
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
            match database.free_some(elements) {
                Some((tables, freed)) => {
                    self.tables = tables;
                    self.bytes = self.bytes.saturating_sub(freed);
                }
                None => _ = self.databases.pop(),
            }
        }
        debug_assert!(self.objects >= count, "each value is counted when it comes");
        self.objects = self.objects.saturating_sub(count);
        if self.is_empty() {
            *self = Self::default();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use crate::limits::FLUSHED_DATABASES_MAX;
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
        (0..2).for_each(|_| assert!(keyspace.free_step(&mut || false)));
        assert!((1..16).contains(&keyspace.stats.freed_lazily), "{}", keyspace.stats.freed_lazily);
        let mut steps = 0;
        let mut count = || {
            steps += 1;
            true
        };
        assert!(!keyspace.free_step(&mut count));
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
            goes_on = keyspace.free_step(&mut || false);
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
            assert!(keyspace.used_bytes() <= FLUSHED_DATABASES_MAX * full);
        }
        assert!(keyspace.stats.freed_lazily >= (1000 - FLUSHED_DATABASES_MAX as u64) * 10);
        while keyspace.free_step(&mut || true) {}
        assert_eq!((keyspace.used_bytes(), keyspace.stats.freed_lazily), (0, 10_000));
    }
}
