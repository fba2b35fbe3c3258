//! Expiry: which entries are past their moment, and when they go.
//!
//! Two roads lead out: a look-up that meets a dead entry removes it, and `Keyspace::expire_due` removes
//! what is due, in time order, in groups whose memory is fetched in stages.
//!
//! The wheel holds 4 bytes per key: its slot and the top 18 bits of its hash. What it hands out is looked
//! up again, so removing a key or moving its expiry later costs nothing here.
//! The fields of a hash expire by the same wheel: their key has an item for the first of them, too.
//! Invariant: every key with an expiry, its own or a field's, has an item in its database's wheel at that
//! moment or before; where its slot came from another shard, that one's wheel may still have it, and
//! hands it on when it comes up (`slots`).
//!
//! Not here: the order of time itself (`structures::wheel`), TTL arithmetic (`commands`).

use std::ops::ControlFlow;

use basalt_structures::{Backlog, Collection, Entry, Fate, Place, Wheel};

use crate::collections::HashChange;
use crate::database::Database;
use crate::edit::Edit;
use crate::effect::{Cause, Effect, Record, Strings};
use crate::key::Key;
use crate::slot::SlotId;
use crate::{DatabaseId, Keyspace};

const ITEM_HASH_BITS: u32 = 18;

/// LIMIT: fields of a hash that are removed at a time, before the budget is asked again.
const FIELDS_DUE_MAX: usize = 64;

/// When an entry's key expires, and when the first of its elements does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moments {
    pub(crate) key_ms: Option<u64>,
    pub(crate) element_ms: Option<u64>,
}

impl Moments {
    pub(crate) const NEVER: Self = Self { key_ms: None, element_ms: None };

    #[inline]
    pub(crate) fn of(entry: &Entry) -> Self {
        let element_ms = entry.collection().and_then(Collection::next_expiry_ms);
        Self { key_ms: entry.expire_at_ms(), element_ms }
    }

    /// When something of the entry expires next.
    fn next(self) -> Option<u64> {
        match (self.key_ms, self.element_ms) {
            (Some(key_ms), Some(element_ms)) => Some(key_ms.min(element_ms)),
            (key_ms, element_ms) => key_ms.or(element_ms),
        }
    }
}

/// What the wheel knows of a key.
#[inline]
pub(crate) fn item(key: &Key<'_>) -> u32 {
    (u32::from(key.slot.0) << ITEM_HASH_BITS) | (key.hash >> (64 - ITEM_HASH_BITS)) as u32
}

/// The slot of an item, and a hash that starts as its key's does.
#[inline]
pub(crate) fn hint(item: u32) -> (SlotId, u64) {
    let slot = SlotId((item >> ITEM_HASH_BITS) as u16);
    (slot, u64::from(item) << (64 - ITEM_HASH_BITS))
}

impl Database {
    /// Keeps count and wheel true when a key's expiry changes from `before` to `after`.
    #[inline]
    pub(crate) fn note_expiry(&mut self, key: &Key<'_>, before: Option<u64>, after: Option<u64>) {
        if before == after {
            return;
        }
        let moments = |key_ms| Moments { key_ms, element_ms: None };
        self.count_moments(key.slot, moments(before), moments(after));
        if let Some(at_ms) = after
            && before.is_none_or(|before| at_ms < before)
        {
            self.wheel.insert(at_ms, item(key));
        }
    }

    /// As [`Database::note_expiry`], for entries whose elements may expire.
    pub(crate) fn note_moments(&mut self, key: &Key<'_>, before: Moments, after: Moments) {
        if before == after {
            return;
        }
        self.count_moments(key.slot, before, after);
        if before.next().is_none_or(|before| after.next().is_some_and(|after| after < before)) {
            self.put_in_wheel(key, after);
        }
    }

    /// Puts a new entry's key into the wheel, if something of it expires.
    pub(crate) fn put_in_wheel(&mut self, key: &Key<'_>, moments: Moments) {
        if let Some(at_ms) = moments.next() {
            self.wheel.insert(at_ms, item(key));
        }
    }

    fn prefetch_items(&self, items: &[u32]) {
        let hints = items.iter().map(|&item| hint(item));
        for (slot, hash) in hints.clone() {
            if let Some(table) = self.table(slot) {
                table.prefetch_bucket(hash);
            }
        }
        for (slot, hash) in hints {
            if let Some(table) = self.table(slot) {
                table.prefetch_entry(hash);
            }
        }
    }

    /// The earliest expiry among the keys that an item may stand for.
    pub(crate) fn earliest(&self, item: u32) -> Option<u64> {
        let (slot, hash) = hint(item);
        let mut earliest = None;
        self.table(slot)?.visit_same_tag(hash, &mut |entry| {
            if let Some(at_ms) = Moments::of(entry).next() {
                earliest = Some(earliest.map_or(at_ms, |other: u64| other.min(at_ms)));
            }
        });
        earliest
    }
}

fn go_on_if(more: bool) -> ControlFlow<()> {
    if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

impl Keyspace {
    /// Removes what is due, until nothing is or `more` says that the time is used up. Says whether work
    /// is left.
    pub fn expire_due(&mut self, more: &mut dyn FnMut() -> bool) -> bool {
        if !self.active_expiry {
            return false;
        }
        let mut left = false;
        for index in 0..self.databases.len() {
            if self.databases[index].wheel.is_empty() {
                continue;
            }
            let id = DatabaseId(index as u16);
            // The wheel is out of the database while it hands out items; removing keys adds none.
            let mut wheel =
                std::mem::replace(&mut self.databases[index].wheel, Wheel::new(self.now_ms));
            let now_ms = self.now_ms;
            let backlog = wheel.advance(now_ms, &mut |items, fates| {
                self.databases[index].prefetch_items(items);
                for (&item, fate) in items.iter().zip(fates) {
                    *fate = self.settle(id, item);
                }
                go_on_if(more())
            });
            left |= backlog != Backlog::None;
            if wheel.needs_sweep(self.databases[index].items_needed()) {
                let (database, moved) = (&self.databases[index], &mut self.moved);
                left |= wheel.sweep(&mut |items, fates| {
                    database.prefetch_items(items);
                    for (&item, fate) in items.iter().zip(fates) {
                        let earliest = database.earliest(item);
                        *fate = earliest.map_or_else(|| moved.gone(item), Fate::At);
                    }
                    go_on_if(more())
                });
            }
            self.databases[index].wheel = wheel;
        }
        left
    }

    /// The next moment at which [`Keyspace::expire_due`] has something to do; may be early, never late.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        if !self.active_expiry {
            return None;
        }
        self.databases.iter().filter_map(|database| database.wheel.next_due_ms()).min()
    }

    /// Removes what is due of an item's keys; tells when the next of it is.
    fn settle(&mut self, id: DatabaseId, item: u32) -> Fate {
        let (slot, hash) = hint(item);
        loop {
            let database = &self.databases[id.index()];
            let Some(table) = database.table(slot) else { return self.moved.gone(item) };
            let now_ms = self.now_ms;
            let mut earliest = None;
            let due = table.find_same_tag(hash, &mut |entry| match Moments::of(entry).next() {
                Some(at_ms) if at_ms <= now_ms => true,
                Some(at_ms) => {
                    earliest = Some(earliest.map_or(at_ms, |other: u64| other.min(at_ms)));
                    false
                }
                None => false,
            });
            let Some(place) = due else {
                return earliest.map_or_else(|| self.moved.gone(item), Fate::At);
            };
            let moments = Moments::of(&database.entry(slot, place));
            let lag_ms = now_ms - moments.next().expect("it was found by its moment");
            self.stats.expiry_lag_max_ms = self.stats.expiry_lag_max_ms.max(lag_ms);
            if moments.key_ms.is_none_or(|at_ms| at_ms > now_ms) {
                if self.expire_fields(id, slot, place) {
                    continue;
                }
                return Fate::At(now_ms);
            }
            let entry = self.databases[id.index()].remove(slot, place, &self.hasher);
            self.stats.expired += 1;
            let effect = Effect::Remove { cause: Cause::Expired };
            self.record(&Record::Key { database: id, key: entry.key(), effect });
            if self.fed.is_wanted() {
                let hash = self.key(entry.key()).hash;
                self.fed.note(hash);
            }
            self.bury(entry);
        }
    }

    /// Removes some of a hash's fields that are due; says whether those were all.
    fn expire_fields(&mut self, id: DatabaseId, slot: SlotId, place: Place) -> bool {
        let (name, fields) = {
            let entry = self.databases[id.index()].entry(slot, place);
            let Some(Collection::Hash(hash)) = entry.collection() else {
                panic!("only hashes have elements that expire")
            };
            let due = hash.due(self.now_ms).take(FIELDS_DUE_MAX);
            (entry.key().to_vec(), due.map(|field| field.name.to_vec()).collect::<Vec<_>>())
        };
        let key = self.key(&name);
        let names: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let fields = Strings::from(names.as_slice());
        let effect = Effect::Hash(HashChange::Remove { fields, cause: Cause::Expired });
        Edit::new(self, id, key, Some(place)).commit(effect);
        self.stats.expired_fields += names.len() as u64;
        names.len() < FIELDS_DUE_MAX
    }
}
