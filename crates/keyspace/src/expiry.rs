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
//! hands it on when it comes up (`slot_transfer`).
//!
//! Not here: the order of time itself (`structures::wheel`), TTL arithmetic (`commands`).

use std::ops::ControlFlow;

use basalt_structures::{Backlog, Collection, Fate, Place, Wheel};

use crate::codec::{Cause, Strings};
use crate::collections::HashChange;
use crate::effect::Effect;
use crate::events::Signal;
use crate::expiry_times::{ExpiryTimes, hint};
use crate::limits::FIELDS_DUE_MAX;
use crate::slot::SlotId;
use crate::{DatabaseId, Keyspace};

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
        let now_ms = self.now_ms;
        for id in self.databases.ids() {
            if self.databases.get(id).wheel.is_empty() {
                continue;
            }
            // The wheel is out of the database while it hands out items; removing keys adds none.
            let mut wheel = std::mem::replace(self.databases.wheel_mut(id), Wheel::new(now_ms));
            let backlog = wheel.advance(now_ms, &mut |items, fates| {
                self.databases.get(id).prefetch_items(items);
                for (&item, fate) in items.iter().zip(fates) {
                    *fate = self.settle(id, item);
                }
                go_on_if(more())
            });
            left |= backlog != Backlog::None;
            if wheel.needs_sweep(self.databases.get(id).items_needed()) {
                let (database, moved) = (self.databases.get(id), &mut self.moved);
                left |= wheel.sweep(&mut |items, fates| {
                    database.prefetch_items(items);
                    for (&item, fate) in items.iter().zip(fates) {
                        let earliest = database.earliest(item);
                        *fate = earliest.map_or_else(|| moved.gone(item), Fate::At);
                    }
                    go_on_if(more())
                });
            }
            *self.databases.wheel_mut(id) = wheel;
        }
        left
    }

    /// The next moment at which [`Keyspace::expire_due`] has something to do; may be early, never late.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        if !self.active_expiry {
            return None;
        }
        self.databases.in_use().filter_map(|database| database.wheel.next_due_ms()).min()
    }

    /// Removes what is due of an item's keys; returns when the next of it is.
    fn settle(&mut self, id: DatabaseId, item: u32) -> Fate {
        let (slot, hash) = hint(item);
        loop {
            let database = self.databases.get(id);
            let Some(table) = database.table(slot) else { return self.moved.gone(item) };
            let now_ms = self.now_ms;
            let mut earliest = None;
            let due = table.find_same_tag(hash, &mut |entry| match ExpiryTimes::of(entry).next() {
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
            let moments = ExpiryTimes::of(&database.entry(slot, place));
            let lag_ms = now_ms - moments.next().expect("it was found by its moment");
            self.stats.expiry_lag_max_ms = self.stats.expiry_lag_max_ms.max(lag_ms);
            if moments.key_ms.is_none_or(|at_ms| at_ms > now_ms) {
                if self.expire_fields(id, slot, place) {
                    continue;
                }
                return Fate::At(now_ms);
            }
            self.commit_expired_at(id, slot, place);
        }
    }

    /// Removes some of a hash's fields that are due; returns whether those were all.
    fn expire_fields(&mut self, id: DatabaseId, slot: SlotId, place: Place) -> bool {
        let (name, fields) = {
            let entry = self.databases.get(id).entry(slot, place);
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
        self.commit_key(id, &key, Some(place), effect, Signal::Default);
        self.stats.expired_fields += names.len() as u64;
        names.len() < FIELDS_DUE_MAX
    }
}
