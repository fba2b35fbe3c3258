//! Apply: what an effect does to an entry, with the memory books and the expiry wheel.
//!
//! Only `commit` calls it.

use basalt_structures::{Encoding, Entry, EntryRef, Kind, Place, TextChange};

use crate::big_keys::is_step;
use crate::codec::{Cause, Reader};
use crate::collections::{
    CollectionChange, HashChange, ListChange, Means, SetChange, SortedChange, StreamChange,
    is_emptied,
};
use crate::effect::Effect;
use crate::expiry_times::ExpiryTimes;
use crate::key::Key;
use crate::record::decode_change;
use crate::slot::SlotId;
use crate::{DatabaseId, Keyspace};

impl Keyspace {
    /// Does an effect, keeping the memory books and the expiry wheel true.
    #[inline]
    pub(in crate::commit) fn apply(
        &mut self,
        database: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        effect: Effect<'_>,
    ) {
        match effect {
            Effect::SetString { value, expire_at_ms, changed } => {
                self.set_string(database, key, place, (value, changed), expire_at_ms);
            }
            Effect::SetInteger { value, expire_at_ms } => {
                self.set_integer(database, key, place, value, expire_at_ms);
            }
            Effect::Append { bytes } => {
                self.change_text(database, key, place, &TextChange::Append(bytes));
            }
            Effect::SetRange { offset, bytes } => {
                if !self.overwrite_part(database, key, place, (offset, bytes)) {
                    let change = TextChange::SetRange { offset, bytes };
                    self.change_text(database, key, place, &change);
                }
            }
            Effect::Splice { offset, removed, bytes } => {
                let change = TextChange::Splice { offset, removed, bytes };
                self.change_text(database, key, place, &change);
            }
            Effect::ExpireAt { at_ms } => {
                self.set_expiry(database, key, place, Some(at_ms));
            }
            Effect::Persist => self.set_expiry(database, key, place, None),
            Effect::Remove { cause } => {
                if let Some(place) = place {
                    self.remove(database, key.slot, place, cause);
                }
            }
            Effect::SetCollection { kind, changes, expire_at_ms } => {
                self.set_collection(database, key, place, (kind, changes), expire_at_ms);
            }
            Effect::List(change) => self.change_collection(database, key, place, change),
            Effect::Hash(change) => self.change_collection(database, key, place, change),
            Effect::Set(change) => self.change_collection(database, key, place, change),
            Effect::Stream(change) => self.change_collection(database, key, place, change),
            Effect::Sorted(change) => self.change_collection(database, key, place, change),
        }
    }

    #[inline]
    fn set_string(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        (value, changed): (&[u8], bool),
        expire_at_ms: Option<u64>,
    ) {
        if let (Some(place), false) = (place, changed) {
            let access = self.access_of_new(id, key.slot, place);
            let database = self.databases.get_mut(id);
            let table = database.table_mut(key.slot).expect("a place lies in a table");
            let before = table.entry(place).expire_at_ms();
            if table.overwrite_string(place, value, expire_at_ms, access) {
                database.note_expiry(key, before, expire_at_ms);
                return;
            }
        }
        let long = self.long_string(value);
        self.put(id, key, place, expire_at_ms, |access| {
            let mut entry = match long {
                Some(value) => Entry::long(key.bytes, value, expire_at_ms, access),
                None => Entry::string(key.bytes, value, expire_at_ms, access),
            };
            if changed {
                entry.mark_changed();
            }
            entry
        });
    }

    #[inline]
    fn set_integer(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        value: i64,
        expire_at_ms: Option<u64>,
    ) {
        if let Some(place) = place {
            let access = self.access_at(id, key.slot, place);
            let mut entry = self.databases.get_mut(id).entry_mut(key.slot, place);
            if entry.encoding() == Encoding::Int && entry.expire_at_ms() == expire_at_ms {
                entry.replace_integer(value);
                entry.set_access(access);
                return;
            }
        }
        self.put(id, key, place, expire_at_ms, |access| {
            Entry::integer(key.bytes, value, expire_at_ms, access)
        });
    }

    /// Puts a new entry in the place of the one that is there, or where none is.
    fn put(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        expire_at_ms: Option<u64>,
        make: impl FnOnce(u32) -> Entry,
    ) {
        let access = place.map(|place| self.access_of_new(id, key.slot, place));
        let entry = make(access.unwrap_or(self.access_now));
        let database = self.databases.get_mut(id);
        match place {
            Some(place) if database.entry(key.slot, place).collection().is_none() => {
                let (bytes, before) = {
                    let mut there = database.entry_mut(key.slot, place);
                    let was = (there.heap_bytes(), there.expire_at_ms());
                    *there = entry;
                    was
                };
                let bytes_after = database.entry(key.slot, place).heap_bytes();
                database.note_bytes(key.slot, bytes, bytes_after);
                database.note_expiry(key, before, expire_at_ms);
                if is_step(bytes, bytes_after) {
                    self.big_keys.note(id, key, Kind::String, bytes_after);
                }
            }
            _ => self.put_entry(id, key, place, entry),
        }
    }

    /// Puts an entry of any kind in the place of the one that is there, whatever that is, or where none is.
    pub(in crate::commit) fn put_entry(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        entry: Entry,
    ) {
        let database = self.databases.get_mut(id);
        let after = ExpiryTimes::of(&entry);
        if is_step(0, entry.heap_bytes()) {
            self.big_keys.note(id, key, entry.kind(), entry.heap_bytes());
        }
        let Some(place) = place else {
            database.insert(key, entry, &self.hasher);
            return database.put_in_wheel(key, after);
        };
        let bytes_after = entry.heap_bytes();
        let there = std::mem::replace(&mut *database.entry_mut(key.slot, place), entry);
        database.note_bytes(key.slot, there.heap_bytes(), bytes_after);
        database.note_expiry_times(key, ExpiryTimes::of(&there), after);
        self.free_later(there);
    }

    /// Overwrites a part of a string where it lies; false where it has to move.
    fn overwrite_part(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        (offset, bytes): (usize, &[u8]),
    ) -> bool {
        let Some(place) = place else { return false };
        let access = self.access_at(id, key.slot, place);
        let mut entry = self.databases.get_mut(id).entry_mut(key.slot, place);
        let is_written = entry.overwrite_part(offset, bytes);
        if is_written {
            entry.set_access(access);
        }
        is_written
    }

    fn change_text(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        change: &TextChange<'_>,
    ) {
        let is_text = |entry: EntryRef<'_>| entry.kind() == Kind::String;
        let text = place.filter(|place| is_text(self.databases.get(id).entry(key.slot, *place)));
        let Some(place) = text else {
            return self.put(id, key, place, None, |access| {
                Entry::changed(key.bytes, b"", change, None, access)
            });
        };
        let access = self.access_at(id, key.slot, place);
        let database = self.databases.get_mut(id);
        let (before, after) = {
            let mut entry = database.entry_mut(key.slot, place);
            let before = entry.heap_bytes();
            entry.change_text(change);
            entry.set_access(access);
            (before, entry.heap_bytes())
        };
        database.note_bytes(key.slot, before, after);
        if is_step(before, after) {
            self.big_keys.note(id, key, Kind::String, after);
        }
    }

    fn set_expiry(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        expire_at_ms: Option<u64>,
    ) {
        let Some(place) = place else { return };
        let database = self.databases.get_mut(id);
        let (bytes, before, bytes_after, after) = {
            let mut entry = database.entry_mut(key.slot, place);
            let was = (entry.heap_bytes(), ExpiryTimes::of(&entry));
            entry.set_expire_at_ms(expire_at_ms);
            (was.0, was.1, entry.heap_bytes(), ExpiryTimes::of(&entry))
        };
        database.note_bytes(key.slot, bytes, bytes_after);
        database.note_expiry_times(key, before, after);
    }

    pub(in crate::commit) fn remove(
        &mut self,
        id: DatabaseId,
        slot: SlotId,
        place: Place,
        cause: Cause,
    ) {
        self.take_out(id, slot, place);
        match cause {
            Cause::Deleted => {}
            Cause::Expired => self.stats.expired += 1,
            Cause::Evicted => self.stats.evicted += 1,
        }
    }

    pub(in crate::commit) fn take_out(&mut self, id: DatabaseId, slot: SlotId, place: Place) {
        let entry = self.databases.get_mut(id).remove(slot, place, &self.hasher);
        self.free_later(entry);
    }
}

impl Keyspace {
    /// Applies a change of a collection to a key: one that holds nothing, or something else, starts anew.
    pub(in crate::commit) fn change_collection<'a, C: CollectionChange<'a>>(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        change: C,
    ) {
        let is_kind =
            |place: &Place| self.databases.get(id).entry(key.slot, *place).kind() == C::KIND;
        let place = place.filter(is_kind);
        let access = match place {
            Some(place) => self.access_at(id, key.slot, place),
            None => self.access_now,
        };
        let means = Means { thresholds: &self.thresholds, hasher: &self.hasher };
        let database = self.databases.get_mut(id);
        let Some(place) = place else {
            let mut entry = C::start(key.bytes, access);
            change.apply(&mut entry, means);
            let there = database.find(key);
            self.put_collection(id, key, there, entry);
            return;
        };
        let (before, moments, after, is_emptied, moments_after) = {
            let mut entry = database.entry_mut(key.slot, place);
            let before = (entry.heap_bytes(), ExpiryTimes::of(&entry));
            change.apply(&mut entry, means);
            entry.set_access(access);
            let is_emptied = is_emptied(&entry);
            (before.0, before.1, entry.heap_bytes(), is_emptied, ExpiryTimes::of(&entry))
        };
        database.note_bytes(key.slot, before, after);
        database.note_expiry_times(key, moments, moments_after);
        if is_step(before, after) {
            self.big_keys.note(id, key, C::KIND, after);
        }
        if is_emptied {
            self.take_out(id, key.slot, place);
        }
    }

    /// Makes a key hold the collection that these changes make.
    pub(in crate::commit) fn set_collection(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        (kind, changes): (Kind, &[u8]),
        expire_at_ms: Option<u64>,
    ) {
        let access = self.access_now;
        let means = Means { thresholds: &self.thresholds, hasher: &self.hasher };
        let mut entry = match kind {
            Kind::List => ListChange::start(key.bytes, access),
            Kind::Hash => HashChange::start(key.bytes, access),
            Kind::Set => SetChange::start(key.bytes, access),
            Kind::Stream => StreamChange::start(key.bytes, access),
            Kind::Sorted => SortedChange::start(key.bytes, access),
            _ => panic!("check_changes knows the kind"),
        };
        entry.set_expire_at_ms(expire_at_ms);
        let mut reader = Reader::new(changes);
        while !reader.is_at_end() {
            match decode_change(kind, &mut reader).expect("changes are checked when they are read")
            {
                Effect::List(change) => change.apply(&mut entry, means),
                Effect::Hash(change) => change.apply(&mut entry, means),
                Effect::Set(change) => change.apply(&mut entry, means),
                Effect::Stream(change) => change.apply(&mut entry, means),
                Effect::Sorted(change) => change.apply(&mut entry, means),
                _ => panic!("the kind's changes are of the kind"),
            }
        }
        self.put_collection(id, key, place, entry);
    }

    /// Puts a collection in the place of what is there; one without elements leaves nothing there.
    fn put_collection(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        entry: Entry,
    ) {
        match place {
            Some(place) if is_emptied(&entry) => self.take_out(id, key.slot, place),
            None if is_emptied(&entry) => {}
            _ => self.put_entry(id, key, place, entry),
        }
    }

    /// Frees an entry that was taken out; a large collection later, in steps.
    #[inline]
    fn free_later(&mut self, entry: Entry) {
        if entry.collection().is_some() {
            self.lazy_free.add(entry);
        }
    }
}
