//! Graves: what was flushed or removed and is too large to be dropped at once; it goes bit by bit.
//!
//! Invariant: the bytes of what lies here are counted as used until they are freed.

use basalt_structures::{Collection, Entry, Table};

use crate::Keyspace;

/// LIMIT: entries or elements dropped at a time, before the budget is asked again.
const STEP_ELEMENTS_MAX: usize = 256;
/// A slice's first step is this small and each is twice the one before: memory that was left alone may be slow
/// to come back.
const STEP_ELEMENTS_MIN: usize = 4;

/// Collections of up to so many elements are dropped at once.
const AT_ONCE_ELEMENTS_MAX: usize = 64;

/// What waits to be dropped.
#[derive(Debug, Default)]
pub(crate) struct Graves {
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
        self.tables.is_empty() && self.collections.is_empty()
    }

    /// The heap bytes that are still to be freed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the tables of a database that took so many bytes.
    pub(crate) fn add_tables(&mut self, tables: Vec<Table>, bytes: usize) {
        if !tables.is_empty() {
            self.bytes += bytes;
            self.tables.extend(tables);
        }
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
        assert!(keyspace.bury_some(&mut || false));
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
}
