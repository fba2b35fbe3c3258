//! Collections: values of many elements, a file for each type.
//!
//! ```text
//! commands ──► a view of the entry (HashRef)                     what they read
//!         └──► a change (HashChange) in an Effect ──► apply      what they, the journal and a replay do
//! ```
//!
//! A file brings the view and the change of its type; this one ties them together: which bytes in a record
//! stand for which type, how a whole value becomes changes that make it anew, its digest, and what a change
//! of a key settles. A collection without elements is none: its key goes. (Streams may be empty.)
//!
//! Not here: the shapes in memory (`structures`), what commands do with them (`commands`).

mod hash;
mod list;
mod set;
mod sorted;
mod stream;

use basalt_structures::{Collection, Entry, KeyHasher, Kind, Place, Small, Value};

pub use hash::{FieldLife, HashChange, HashField, HashRef};
pub use list::{ListBack, ListChange, ListForth, ListIter, ListRef};
pub use set::{SetChange, SetIter, SetRef};
pub use sorted::{MembersWalk, SortedChange, SortedRef, score_bytes, significant};
pub use stream::{Deliveries, StreamChange, StreamIds, stream_of};

use crate::effect::{Effect, Malformed, Reader};
use crate::expiry::Moments;
use crate::key::Key;
use crate::{DatabaseId, Digest, Keyspace};

/// Up to which sizes collections are kept packed, in the words of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    pub hash_max_listpack_entries: u64,
    pub hash_max_listpack_value: u64,
    pub list_max_listpack_size: i32,
    pub set_max_intset_entries: u64,
    pub set_max_listpack_entries: u64,
    pub set_max_listpack_value: u64,
    pub zset_max_listpack_entries: u64,
    pub zset_max_listpack_value: u64,
    pub stream_node_max_bytes: u64,
    pub stream_node_max_entries: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            hash_max_listpack_entries: 512,
            hash_max_listpack_value: 64,
            list_max_listpack_size: -2,
            set_max_intset_entries: 512,
            set_max_listpack_entries: 128,
            set_max_listpack_value: 64,
            zset_max_listpack_entries: 128,
            zset_max_listpack_value: 64,
            stream_node_max_bytes: 4096,
            stream_node_max_entries: 100,
        }
    }
}

/// What a change needs beside the value that it changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means<'a> {
    pub(crate) thresholds: &'a Thresholds,
    /// For the large forms that find their elements by hash.
    pub(crate) hasher: &'a KeyHasher,
}

/// A change of one type of collections. Deterministic: the same change of the same value under the same
/// thresholds gives the same value.
pub(crate) trait Change<'a>: Copy {
    const KIND: Kind;

    /// An entry with nothing in it, for the first change of a key.
    fn start(key: &[u8], access: u32) -> Entry;

    /// Makes the change; the entry is of this kind.
    fn apply(self, entry: &mut Entry, means: Means<'_>);

    fn encode(self, out: &mut Vec<u8>);

    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed>;
}

/// The byte that stands for changes of a kind in records. Never changed: records are kept.
pub(crate) const fn record_kind(kind: Kind) -> u8 {
    match kind {
        Kind::String => panic!("strings have effects of their own"),
        Kind::List => 16,
        Kind::Hash => 17,
        Kind::Set => 18,
        Kind::Sorted => 19,
        Kind::Stream => 20,
    }
}

pub(crate) fn kind_of_record(byte: u8) -> Result<Kind, Malformed> {
    let kinds = [Kind::List, Kind::Hash, Kind::Set, Kind::Sorted, Kind::Stream];
    kinds.into_iter().find(|kind| record_kind(*kind) == byte).ok_or(Malformed)
}

/// Reads a change of a kind.
pub(crate) fn decode_change<'a>(
    kind: Kind,
    reader: &mut Reader<'a>,
) -> Result<Effect<'a>, Malformed> {
    match kind {
        Kind::List => ListChange::decode(reader).map(Effect::List),
        Kind::Hash => HashChange::decode(reader).map(Effect::Hash),
        Kind::Set => SetChange::decode(reader).map(Effect::Set),
        Kind::Stream => StreamChange::decode(reader).map(Effect::Stream),
        Kind::Sorted => SortedChange::decode(reader).map(Effect::Sorted),
        _ => Err(Malformed),
    }
}

/// Writes the changes that make what this entry holds out of nothing.
pub(crate) fn write_changes(entry: &Entry, out: &mut Vec<u8>) {
    match entry.kind() {
        Kind::List => list::write_changes(entry, out),
        Kind::Hash => hash::write_changes(entry, out),
        Kind::Set => set::write_changes(entry, out),
        Kind::Stream => stream::write_changes(entry, out),
        Kind::Sorted => sorted::write_changes(entry, out),
        _ => panic!("no collection is here"),
    }
}

/// Checks that these bytes are changes of a kind.
pub(crate) fn check_changes(kind: Kind, changes: &[u8]) -> Result<(), Malformed> {
    let mut reader = Reader::new(changes);
    while !reader.is_at_end() {
        let change = decode_change(kind, &mut reader)?;
        // A stream is made as a whole; other changes of one may need what is there.
        if kind == Kind::Stream && !matches!(change, Effect::Stream(StreamChange::Become { .. })) {
            return Err(Malformed);
        }
    }
    Ok(())
}

/// Whether an effect on a key that holds this can come of a command.
pub(crate) fn follows(entry: Option<&Entry>, effect: &Effect<'_>) -> bool {
    match effect {
        Effect::Stream(change) => stream::follows(entry.and_then(stream_of), change),
        _ => true,
    }
}

/// The elements of a collection, at a moment, mixed into the digest of its value, as Redis does it.
pub(crate) fn digest_elements(entry: &Entry, now_ms: u64, digest: &mut Digest) {
    match entry.kind() {
        Kind::List => list::digest_elements(entry, digest),
        Kind::Hash => hash::digest_elements(entry, now_ms, digest),
        Kind::Set => set::digest_elements(entry, digest),
        Kind::Stream => stream::digest_elements(entry, digest),
        Kind::Sorted => sorted::digest_elements(entry, digest),
        _ => panic!("no collection is here"),
    }
}

/// The number of a type in Redis' digests.
pub(crate) const fn digest_type(kind: Kind) -> u32 {
    match kind {
        Kind::String => 0,
        Kind::List => 1,
        Kind::Set => 2,
        Kind::Sorted => 3,
        Kind::Hash => 4,
        Kind::Stream => 6,
    }
}

/// Whether a collection's last element went, and its key goes with it.
fn is_emptied(entry: &Entry) -> bool {
    match entry.value() {
        Value::Small(Small::Hash, bytes) => hash::is_empty_small(bytes),
        Value::Small(Small::List, bytes) => list::is_empty_packed(bytes),
        Value::Boxed(Collection::List(list)) => list.is_empty(),
        Value::Boxed(Collection::Hash(fields)) => fields.is_empty(),
        Value::Small(Small::Intset | Small::Set, _) | Value::Boxed(Collection::Set(_)) => {
            set::is_empty(entry)
        }
        Value::Small(Small::Sorted, bytes) => sorted::is_empty_packed(bytes),
        Value::Boxed(Collection::Sorted(sorted)) => sorted.is_empty(),
        _ => false,
    }
}

impl Keyspace {
    /// Applies a change of a collection to a key: one that holds nothing, or something else, starts anew.
    pub(crate) fn change_collection<'a, C: Change<'a>>(
        &mut self,
        id: DatabaseId,
        key: &Key<'_>,
        place: Option<Place>,
        change: C,
    ) {
        let is_kind =
            |place: &Place| self.databases[id.index()].entry(key.slot, *place).kind() == C::KIND;
        let place = place.filter(is_kind);
        let access = match place {
            Some(place) => self.access_at(id, key.slot, place),
            None => self.access_now,
        };
        let means = Means { thresholds: &self.thresholds, hasher: &self.hasher };
        let database = &mut self.databases[id.index()];
        let Some(place) = place else {
            let mut entry = C::start(key.bytes, access);
            change.apply(&mut entry, means);
            let there = database.find(key);
            self.put_collection(id, key, there, entry);
            return;
        };
        let (before, moments, after, is_emptied, moments_after) = {
            let mut entry = database.entry_mut(key.slot, place);
            let before = (entry.heap_bytes(), Moments::of(&entry));
            change.apply(&mut entry, means);
            entry.set_access(access);
            let is_emptied = is_emptied(&entry);
            (before.0, before.1, entry.heap_bytes(), is_emptied, Moments::of(&entry))
        };
        database.note_bytes(key.slot, before, after);
        database.note_moments(key, moments, moments_after);
        if is_emptied {
            self.take_out(id, key.slot, place);
        }
    }

    /// Makes a key hold the collection that these changes make.
    pub(crate) fn set_collection(
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
}
