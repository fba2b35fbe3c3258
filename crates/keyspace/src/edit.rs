//! Edit: the only way to change a key, and what every change settles on the way.
//!
//! `Keyspace::edit` finds the key; `Edit::commit` takes an effect, applies it and settles the memory
//! books, the expiry wheel and the journal. An edit that is dropped changes nothing.
//!
//! Not here: which effect a command has (`commands`), how an effect is written (`effect`).

use basalt_structures::{Encoding, Entry, EntryRef, Kind, Place};

use crate::effect::{Cause, Effect, Record};
use crate::expiry::Moments;
use crate::key::Key;
use crate::slot::SlotId;
use crate::{DatabaseId, Keyspace};

/// One key, found and about to be changed.
#[must_use = "an edit changes nothing before it is committed"]
pub struct Edit<'a> {
    keyspace: &'a mut Keyspace,
    database: DatabaseId,
    key: Key<'a>,
    place: Option<Place>,
}

impl<'a> Edit<'a> {
    #[inline]
    pub(crate) fn new(
        keyspace: &'a mut Keyspace,
        database: DatabaseId,
        key: Key<'a>,
        place: Option<Place>,
    ) -> Self {
        Self { keyspace, database, key, place }
    }

    /// What the key holds now.
    #[inline]
    pub fn entry(&self) -> Option<EntryRef<'_>> {
        let database = &self.keyspace.databases[self.database.index()];
        self.place.map(|place| database.entry(self.key.slot, place))
    }

    /// Applies the effect and settles all that follows from it.
    #[inline]
    pub fn commit(self, effect: Effect<'_>) {
        let Self { keyspace, database, key, place } = self;
        keyspace.stats.changes += 1;
        keyspace.fed.note_effect(key.hash, &effect);
        keyspace.record(&Record::Key { database, key: key.bytes, effect });
        match effect {
            Effect::SetString { value, expire_at_ms, changed } => {
                keyspace.set_string(database, &key, place, (value, changed), expire_at_ms);
            }
            Effect::SetInteger { value, expire_at_ms } => {
                keyspace.set_integer(database, &key, place, value, expire_at_ms);
            }
            Effect::Append { bytes } => keyspace.change_bytes(database, &key, place, |text| {
                grow(text, bytes.len());
                text.extend_from_slice(bytes);
            }),
            Effect::SetRange { offset, bytes } => {
                if keyspace.overwrite_part(database, &key, place, (offset, bytes)) {
                    return;
                }
                keyspace.change_bytes(database, &key, place, |text| {
                    let end = offset + bytes.len();
                    if text.len() < end {
                        grow(text, end - text.len());
                        text.resize(end, 0);
                    }
                    text[offset..end].copy_from_slice(bytes);
                });
            }
            Effect::Splice { offset, removed, bytes } => {
                keyspace.change_bytes(database, &key, place, |text| {
                    let start = offset.min(text.len());
                    let end = start.saturating_add(removed).min(text.len());
                    text.splice(start..end, bytes.iter().copied());
                });
            }
            Effect::ExpireAt { at_ms } => {
                keyspace.set_expiry(database, &key, place, Some(at_ms));
            }
            Effect::Persist => keyspace.set_expiry(database, &key, place, None),
            Effect::Remove { cause } => {
                if let Some(place) = place {
                    keyspace.remove(database, &key, place, cause);
                }
            }
            Effect::SetCollection { kind, changes, expire_at_ms } => {
                keyspace.set_collection(database, &key, place, (kind, changes), expire_at_ms);
            }
            Effect::List(change) => keyspace.change_collection(database, &key, place, change),
            Effect::Hash(change) => keyspace.change_collection(database, &key, place, change),
            Effect::Set(change) => keyspace.change_collection(database, &key, place, change),
            Effect::Stream(change) => keyspace.change_collection(database, &key, place, change),
            Effect::Sorted(change) => keyspace.change_collection(database, &key, place, change),
        }
    }
}

/// LIMIT: room to spare beyond a grown string: as much again, but no more than this.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// Makes room for `more` bytes, and for later growth without copying each time.
fn grow(text: &mut Vec<u8>, more: usize) {
    if text.capacity() - text.len() < more {
        let len = text.len() + more;
        text.reserve_exact(more + len.min(SPARE_BYTES_MAX));
    }
}

impl Keyspace {
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
            let access = self.access_at(id, key.slot, place);
            let database = &mut self.databases[id.index()];
            let table = database.table_mut(key.slot).expect("a place lies in a table");
            let before = table.entry(place).expire_at_ms();
            if table.overwrite_string(place, value, expire_at_ms, access) {
                database.note_expiry(key, before, expire_at_ms);
                return;
            }
        }
        self.put(id, key, place, expire_at_ms, |access| {
            let mut entry = Entry::string(key.bytes, value, expire_at_ms, access);
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
            let mut entry = self.databases[id.index()].entry_mut(key.slot, place);
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
        let access = place.map(|place| self.access_at(id, key.slot, place));
        let entry = make(access.unwrap_or(self.access_now));
        let database = &mut self.databases[id.index()];
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
            }
            _ => self.put_entry(id, key, place, entry),
        }
    }

    /// Puts an entry of any kind in the place of the one that is there, whatever that is, or where none is.
    pub(crate) fn put_entry(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        entry: Entry,
    ) {
        let database = &mut self.databases[id.index()];
        let after = Moments::of(&entry);
        let Some(place) = place else {
            database.insert(key, entry, &self.hasher);
            return database.put_in_wheel(key, after);
        };
        let bytes_after = entry.heap_bytes();
        let there = std::mem::replace(&mut *database.entry_mut(key.slot, place), entry);
        database.note_bytes(key.slot, there.heap_bytes(), bytes_after);
        database.note_moments(key, Moments::of(&there), after);
        self.bury(there);
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
        let mut entry = self.databases[id.index()].entry_mut(key.slot, place);
        let is_written = entry.overwrite_part(offset, bytes);
        if is_written {
            entry.set_access(access);
        }
        is_written
    }

    fn change_bytes(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        change: impl FnOnce(&mut Vec<u8>),
    ) {
        let is_text = |entry: EntryRef<'_>| entry.kind() == Kind::String;
        let text =
            place.filter(|place| is_text(self.databases[id.index()].entry(key.slot, *place)));
        let Some(place) = text else {
            let mut text = Vec::new();
            change(&mut text);
            return self.put(id, key, place, None, |access| {
                let mut entry = Entry::string(key.bytes, &text, None, access);
                entry.mark_changed();
                entry
            });
        };
        let access = self.access_at(id, key.slot, place);
        let database = &mut self.databases[id.index()];
        let (before, after) = {
            let mut entry = database.entry_mut(key.slot, place);
            let before = entry.heap_bytes();
            entry.change_bytes(change);
            entry.set_access(access);
            (before, entry.heap_bytes())
        };
        database.note_bytes(key.slot, before, after);
    }

    fn set_expiry(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        expire_at_ms: Option<u64>,
    ) {
        let Some(place) = place else { return };
        let database = &mut self.databases[id.index()];
        let (bytes, before, bytes_after, after) = {
            let mut entry = database.entry_mut(key.slot, place);
            let was = (entry.heap_bytes(), Moments::of(&entry));
            entry.set_expire_at_ms(expire_at_ms);
            (was.0, was.1, entry.heap_bytes(), Moments::of(&entry))
        };
        database.note_bytes(key.slot, bytes, bytes_after);
        database.note_moments(key, before, after);
    }

    pub(crate) fn remove(&mut self, id: DatabaseId, key: &Key<'_>, place: Place, cause: Cause) {
        self.take_out(id, key.slot, place);
        match cause {
            Cause::Deleted => {}
            Cause::Expired => self.stats.expired += 1,
            Cause::Evicted => self.stats.evicted += 1,
        }
    }

    pub(crate) fn take_out(&mut self, id: DatabaseId, slot: SlotId, place: Place) {
        let entry = self.databases[id.index()].remove(slot, place, &self.hasher);
        self.bury(entry);
    }
}
