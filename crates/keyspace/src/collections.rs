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

use basalt_structures::{
    Collection, Content, Entry, KeyHasher, Kind, SMALL_BYTES_MAX, Small, Value,
};

pub use hash::{FieldLife, HashChange, HashField, HashRef};
pub use list::{ListBack, ListChange, ListForth, ListIter, ListRef};
pub use set::{SetChange, SetIter, SetRef};
pub use sorted::{MembersWalk, SortedChange, SortedRef, score_bytes, significant};
pub use stream::{Deliveries, StreamChange, StreamIds, stream_of};

pub(crate) use stream::follows as follows_stream;

use crate::Digest;
use crate::codec::{Malformed, Reader};

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

/// Whether a small collection of `bytes` stays within [`SMALL_BYTES_MAX`] with `count` more texts, none longer
/// than `longest`. As in Redis what stands around texts is not counted. They are walked only where they might
/// be too much, which no usual configuration allows.
fn small_has_room<'a>(
    bytes: usize,
    (count, longest): (usize, u64),
    mut added: impl Iterator<Item = &'a [u8]>,
) -> bool {
    let most = (count as u64).saturating_mul(longest).saturating_add(bytes as u64);
    most <= SMALL_BYTES_MAX as u64
        || added
            .try_fold(bytes, |sum, text| sum.checked_add(text.len()))
            .is_some_and(|sum| sum <= SMALL_BYTES_MAX)
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
pub(crate) trait CollectionChange<'a>: Copy {
    const KIND: Kind;

    /// An entry with nothing in it, for the first change of a key.
    fn start(key: &[u8], access: u32) -> Entry;

    /// Makes the change; the entry is of this kind.
    fn apply(self, entry: &mut Entry, means: Means<'_>);

    fn encode(self, out: &mut Vec<u8>);

    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed>;
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

impl Digest {
    /// The digest of one entry's value at a moment and of its expiry, with its key if `with_key`.
    pub fn of_entry(entry: &Entry, now_ms: u64, with_key: bool) -> Self {
        let mut digest = Self::default();
        if with_key {
            digest.mix(entry.key());
        }
        digest.mix(&digest_type(entry.kind()).to_be_bytes());
        match entry.content() {
            Some(Content::Bytes(bytes)) => digest.mix(bytes),
            Some(Content::Integer(value)) => digest.mix(value.to_string().as_bytes()),
            None => {
                digest_elements(entry, now_ms, &mut digest);
            }
        }
        if entry.expire_at_ms().is_some() {
            digest.xor(b"!!expire!!");
        }
        digest
    }
}

/// The number of elements of a list, a set or a sorted set; 0 for all else.
pub(crate) fn element_count(entry: &Entry) -> usize {
    match entry.kind() {
        Kind::List => ListRef::of(entry).map_or(0, ListRef::len),
        Kind::Set => SetRef::of(entry).map_or(0, |set| set.len()),
        Kind::Sorted => SortedRef::of(entry).map_or(0, |sorted| sorted.len()),
        _ => 0,
    }
}

/// Whether a collection's last element went, and its key goes with it.
pub(crate) fn is_emptied(entry: &Entry) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_collection_ends_at_a_gib() {
        let has_room = |bytes, longest, texts: &[&[u8]]| {
            small_has_room(bytes, (texts.len(), longest), texts.iter().copied())
        };
        assert!(has_room(SMALL_BYTES_MAX - 6, 3, &[b"abc", b"abc"]));
        assert!(has_room(SMALL_BYTES_MAX - 6, u64::MAX, &[b"abc", b"abc"]));
        assert!(!has_room(SMALL_BYTES_MAX - 6, 4, &[b"abc", b"abcd"]));
        assert!(!has_room(SMALL_BYTES_MAX + 1, 0, &[]));
        assert!(!has_room(usize::MAX, u64::MAX, &[b"abc"]));
    }
}
