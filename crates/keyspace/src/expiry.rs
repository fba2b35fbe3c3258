//! Expiry: which entries are past their moment, and when they go.
//!
//! Two roads lead out: a look-up that meets a dead entry removes it, and `Keyspace::expire_due` removes
//! what is due, in time order, in groups whose memory is fetched in stages.
//!
//! The wheel holds 4 bytes per key: its slot and the top 18 bits of its hash. What it hands out is looked
//! up again, so removing a key or moving its expiry later costs nothing here.
//! Invariant: every key with an expiry has an item in its database's wheel at its expiry or before.
//!
//! Not here: the order of time itself (`structures::wheel`), TTL arithmetic (`commands`).

use std::ops::ControlFlow;

use basalt_structures::{Backlog, Fate, Wheel};

use crate::database::Database;
use crate::effect::{Cause, Effect, Record};
use crate::key::Key;
use crate::slot::SlotId;
use crate::{DatabaseId, Keyspace};

const ITEM_HASH_BITS: u32 = 18;

/// What the wheel knows of a key.
#[inline]
pub(crate) fn item(key: &Key<'_>) -> u32 {
    (u32::from(key.slot.0) << ITEM_HASH_BITS) | (key.hash >> (64 - ITEM_HASH_BITS)) as u32
}

/// The slot of an item, and a hash that starts as its key's does.
#[inline]
fn hint(item: u32) -> (SlotId, u64) {
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
        self.expiring += usize::from(after.is_some());
        self.expiring -= usize::from(before.is_some());
        if let Some(at_ms) = after
            && before.is_none_or(|before| at_ms < before)
        {
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
    fn earliest(&self, item: u32) -> Option<u64> {
        let (slot, hash) = hint(item);
        let mut earliest = None;
        self.table(slot)?.visit_same_tag(hash, &mut |entry| {
            if let Some(at_ms) = entry.expire_at_ms() {
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
            if wheel.needs_sweep(self.databases[index].expiring) {
                let database = &self.databases[index];
                left |= wheel.sweep(&mut |items, fates| {
                    database.prefetch_items(items);
                    for (&item, fate) in items.iter().zip(fates) {
                        *fate = database.earliest(item).map_or(Fate::Gone, Fate::At);
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

    /// Removes the keys of an item that are due; tells when the next of them is.
    fn settle(&mut self, id: DatabaseId, item: u32) -> Fate {
        let (slot, hash) = hint(item);
        loop {
            let database = &self.databases[id.index()];
            let Some(table) = database.table(slot) else { return Fate::Gone };
            let now_ms = self.now_ms;
            let mut earliest = None;
            let due = table.find_same_tag(hash, &mut |entry| match entry.expire_at_ms() {
                Some(at_ms) if at_ms <= now_ms => true,
                Some(at_ms) => {
                    earliest = Some(earliest.map_or(at_ms, |other: u64| other.min(at_ms)));
                    false
                }
                None => false,
            });
            let Some(place) = due else { return earliest.map_or(Fate::Gone, Fate::At) };
            let entry = self.databases[id.index()].remove(slot, place, &self.hasher);
            let lag_ms = now_ms - entry.expire_at_ms().expect("it was found by its expiry");
            self.stats.expiry_lag_max_ms = self.stats.expiry_lag_max_ms.max(lag_ms);
            self.stats.expired += 1;
            let effect = Effect::Remove { cause: Cause::Expired };
            self.record(&Record::Key { database: id, key: entry.key(), effect });
        }
    }
}
