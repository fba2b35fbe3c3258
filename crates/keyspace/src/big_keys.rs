//! Big keys: the largest values of each type, known without a walk.
//!
//! A change of a key knows how many bytes its entry had and has, for the books. Where it crosses a multiple of
//! [`STEP_BYTES`] the key is listed under its type, in the place of the smallest. So a small value costs one comparison,
//! and one that grows to a megabyte is looked at a hundred times. What is listed is only a hint: whoever asks looks up how
//! large the values are now, and what is gone is dropped.

use basalt_structures::{Entry, Kind};

use crate::DatabaseId;
use crate::collections::{HashRef, ListRef, SetRef, SortedRef, stream_of};
use crate::key::Key;
use crate::slot::SlotId;

/// Smaller values are not big.
const STEP_BYTES: usize = 8 << 10;
/// LIMIT: keys listed of each type. More than are shown, so that others are known when the largest are deleted.
const LISTED_MAX: usize = 32;
/// LIMIT: bytes of a name that is listed.
const NAME_BYTES_MAX: usize = 1 << 10;

const KINDS: [Kind; 6] =
    [Kind::String, Kind::List, Kind::Hash, Kind::Set, Kind::Sorted, Kind::Stream];

/// Keys whose values are large, or were, of each type.
#[derive(Debug, Default)]
pub(crate) struct BigKeys([Vec<Listed>; KINDS.len()]);

#[derive(Debug)]
pub(crate) struct Listed {
    database: DatabaseId,
    hash: u64,
    slot: SlotId,
    bytes: usize,
    name: Box<[u8]>,
}

/// A key with a large value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BigKey {
    pub kind: Kind,
    pub database: DatabaseId,
    pub name: Vec<u8>,
    /// As MEMORY USAGE returns them.
    pub bytes: usize,
    /// Of a string: its bytes.
    pub elements: u64,
}

/// Whether a value grew or shrank by so much that it has to be listed, or is listed as something else.
#[inline]
pub(crate) fn is_step(before: usize, after: usize) -> bool {
    before / STEP_BYTES != after / STEP_BYTES
}

impl BigKeys {
    #[cold]
    #[inline(never)]
    pub(crate) fn note(&mut self, database: DatabaseId, key: &Key<'_>, kind: Kind, bytes: usize) {
        let list = &mut self.0[kind as usize];
        let is_it = |it: &Listed| it.hash == key.hash && it.database == database;
        if let Some(it) = list.iter_mut().find(|it| is_it(it) && *it.name == *key.bytes) {
            it.bytes = bytes;
            return;
        }
        if bytes < STEP_BYTES || key.bytes.len() > NAME_BYTES_MAX {
            return;
        }
        let (hash, slot, name) = (key.hash, key.slot, key.bytes.into());
        let new = Listed { database, hash, slot, bytes, name };
        if list.len() < LISTED_MAX {
            list.push(new);
        } else if let Some(least) = list.iter_mut().min_by_key(|it| it.bytes)
            && least.bytes < bytes
        {
            *least = new;
        }
    }

    /// The keys that are large now, so many of each type, the largest first. `look` returns what a key holds: its type,
    /// bytes and elements. What is not as large any more is dropped.
    pub(crate) fn largest(
        &mut self,
        count: usize,
        look: impl Fn(DatabaseId, &Key<'_>) -> Option<(Kind, usize, u64)>,
    ) -> Vec<BigKey> {
        let mut found = Vec::new();
        for (kind, list) in KINDS.into_iter().zip(&mut self.0) {
            let mut of_kind = Vec::new();
            list.retain_mut(|it| {
                let key = Key { bytes: &it.name, hash: it.hash, slot: it.slot };
                let Some((kind_now, bytes, elements)) = look(it.database, &key) else {
                    return false;
                };
                if kind_now != kind || bytes < STEP_BYTES {
                    return false;
                }
                it.bytes = bytes;
                let (database, name) = (it.database, it.name.to_vec());
                of_kind.push(BigKey { kind, database, name, bytes, elements });
                true
            });
            of_kind.sort_by(|one, other| {
                let size = |key: &BigKey| (key.bytes, key.elements);
                size(other).cmp(&size(one)).then_with(|| one.name.cmp(&other.name))
            });
            of_kind.truncate(count);
            found.append(&mut of_kind);
        }
        found
    }

    /// Two databases were swapped.
    pub(crate) fn swap(&mut self, first: DatabaseId, second: DatabaseId) {
        for it in self.0.iter_mut().flatten() {
            if it.database == first {
                it.database = second;
            } else if it.database == second {
                it.database = first;
            }
        }
    }

    /// Takes out the keys of some slots, each with its type.
    pub(crate) fn detach(&mut self, slots: &[SlotId]) -> Vec<(Kind, Listed)> {
        let lists = KINDS.iter().zip(&mut self.0);
        let gone = lists.flat_map(|(kind, list)| {
            list.extract_if(.., |it| slots.contains(&it.slot)).map(|it| (*kind, it))
        });
        gone.collect()
    }

    pub(crate) fn attach(&mut self, listed: Vec<(Kind, Listed)>) {
        for (kind, Listed { database, hash, slot, bytes, name }) in listed {
            self.note(database, &Key { bytes: &name, hash, slot }, kind, bytes);
        }
    }
}

/// How many elements a value has; of a string, its bytes.
pub(crate) fn elements(entry: &Entry, now_ms: u64) -> u64 {
    let count = match entry.kind() {
        Kind::String => entry.text_len(),
        Kind::List => ListRef::of(entry).map(ListRef::len),
        Kind::Hash => HashRef::of(entry, now_ms).map(|hash| hash.len()),
        Kind::Set => SetRef::of(entry).map(|set| set.len()),
        Kind::Sorted => SortedRef::of(entry).map(|sorted| sorted.len()),
        Kind::Stream => return stream_of(entry).map_or(0, |stream| stream.len()),
    };
    count.unwrap_or(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Effect, KeyHasher, Keyspace, SLOTS};

    const DB: DatabaseId = DatabaseId(0);

    fn keyspace() -> Keyspace {
        Keyspace::new(2, KeyHasher::new(1), 1000)
    }

    fn set(keyspace: &mut Keyspace, name: &str, len: usize) {
        let (key, value) = (keyspace.key(name.as_bytes()), vec![b'x'; len]);
        let effect = Effect::SetString { value: &value, expire_at_ms: None, changed: false };
        keyspace.edit(DB, &key).commit(effect);
    }

    fn append(keyspace: &mut Keyspace, name: &str, len: usize) {
        let (key, bytes) = (keyspace.key(name.as_bytes()), vec![b'x'; len]);
        keyspace.edit(DB, &key).commit(Effect::Append { bytes: &bytes });
    }

    fn names(keyspace: &mut Keyspace, count: usize) -> Vec<String> {
        let keys = keyspace.big_keys(count).into_iter();
        keys.map(|key| String::from_utf8(key.name).expect("names are text")).collect()
    }

    #[test]
    fn the_largest_are_known_as_they_grow_shrink_and_go() {
        let mut keyspace = keyspace();
        for number in 0..100 {
            set(&mut keyspace, &format!("small {number}"), 100);
            set(&mut keyspace, &format!("big {number:02}"), 10_000 + 1000 * number);
        }
        assert_eq!(names(&mut keyspace, 2), ["big 99", "big 98"]);
        for _ in 0..200 {
            append(&mut keyspace, "small 7", 1000);
        }
        let found = keyspace.big_keys(1);
        assert_eq!((&found[0].name[..], found[0].elements), (&b"small 7"[..], 200_100));
        assert!(found[0].bytes >= 200_100 && found[0].kind == Kind::String);
        set(&mut keyspace, "small 7", 5);
        let key = keyspace.key(b"big 99");
        keyspace.edit(DB, &key).commit(Effect::Remove { cause: crate::Cause::Deleted });
        assert_eq!(names(&mut keyspace, 2), ["big 98", "big 97"]);
        assert_eq!(names(&mut keyspace, 100).len(), LISTED_MAX - 2);
        keyspace.flush(DB);
        assert_eq!(names(&mut keyspace, 100), [""; 0]);
    }

    #[test]
    fn they_go_along_with_databases_and_slots() {
        let (mut here, mut there) = (keyspace(), keyspace());
        set(&mut here, "a", 20_000);
        here.swap(DB, DatabaseId(1));
        let found = here.big_keys(1);
        assert_eq!((found[0].database, found[0].elements), (DatabaseId(1), 20_000));
        let slots: Vec<SlotId> = (0..SLOTS as u16).map(SlotId).collect();
        there.attach(here.detach(&slots));
        assert_eq!((names(&mut here, 1), names(&mut there, 1)), (vec![], vec!["a".to_owned()]));
    }
}
