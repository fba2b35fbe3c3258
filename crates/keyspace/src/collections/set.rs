//! Sets: members, each once. Small ones are integers in order, or packed; large ones a table.

use std::collections::BTreeSet;

use basalt_structures::{
    Collection, Content, Digits, Entry, Forwards, IntSet, Kind, Members, MembersIter, Packed,
    PackedIter, PackedVec, SMALL_BYTES_MAX, Small, Value,
};

use super::{CollectionChange, Means, Thresholds, small_has_room};
use crate::Digest;
use crate::codec::{Malformed, Reader, Strings, put_bytes, put_string_run, put_strings};

type SmallSet<'a> = Packed<'a, Forwards>;

/// A set as commands read it.
#[derive(Clone, Copy, Debug)]
pub enum SetRef<'a> {
    Integers(IntSet<'a>),
    Packed(SmallSet<'a>),
    Large(&'a Members),
}

impl<'a> SetRef<'a> {
    /// The set that an entry holds; none where it holds something else.
    #[inline]
    pub fn of(entry: &'a Entry) -> Option<Self> {
        match entry.value() {
            Value::Small(Small::Intset, bytes) => Some(Self::Integers(IntSet::new(bytes))),
            Value::Small(Small::Set, bytes) => Some(Self::Packed(Packed::new(bytes))),
            Value::Boxed(Collection::Set(members)) => Some(Self::Large(members)),
            _ => None,
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Integers(integers) => integers.len(),
            Self::Packed(packed) => packed.len(),
            Self::Large(members) => members.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub fn contains(&self, name: &[u8]) -> bool {
        match self {
            Self::Large(members) => members.contains(name),
            _ => self.contains_content(Content::of(name)),
        }
    }

    /// Whether a member of another set is one of this, too.
    #[inline]
    pub fn contains_content(&self, member: Content<'_>) -> bool {
        match (self, member) {
            (Self::Integers(integers), Content::Integer(value)) => integers.contains(value),
            // Large sets have all names as bytes.
            (Self::Integers(_) | Self::Packed(_), Content::Bytes(name)) => {
                match (self, Content::of(name)) {
                    (Self::Integers(integers), Content::Integer(value)) => integers.contains(value),
                    (Self::Packed(packed), member) => packed.find(member, 1).is_some(),
                    _ => false,
                }
            }
            (Self::Packed(packed), Content::Integer(_)) => packed.find(member, 1).is_some(),
            (Self::Large(members), member) => {
                members.contains(member.as_text(&mut Digits::default()))
            }
        }
    }

    #[inline]
    pub fn iter(&self) -> SetIter<'a> {
        match *self {
            Self::Integers(integers) => SetIter::Integers { integers, at: 0 },
            Self::Packed(packed) => SetIter::Packed(packed.iter()),
            Self::Large(members) => SetIter::Large(members.iter()),
        }
    }

    /// A member at random, each with the same; none of an empty set.
    pub fn pick(&self, random: u64) -> Option<Content<'a>> {
        let index = Random(random).below(self.len());
        match *self {
            Self::Integers(integers) => {
                (index < integers.len()).then(|| Content::Integer(integers.at(index)))
            }
            Self::Packed(packed) => packed.get(index),
            Self::Large(members) => {
                members.pick(random).map(|place| Content::Bytes(members.at(place).name))
            }
        }
    }

    /// So many different members at random, or all; no order.
    pub fn choose(&self, count: usize, random: u64) -> Vec<Content<'a>> {
        let mut random = Random(random);
        let (mut left, mut wanted) = (self.len(), count.min(self.len()));
        if let Self::Large(members) = *self
            && wanted < left / 3
        {
            let mut places = BTreeSet::new();
            while places.len() < wanted {
                places.extend(members.pick(random.next()));
            }
            return places.iter().map(|place| Content::Bytes(members.at(*place).name)).collect();
        }
        let mut chosen = Vec::with_capacity(wanted);
        for member in self.iter() {
            // Each of the members left has the same random to be among those still wanted.
            if random.below(left) < wanted {
                chosen.push(member);
                wanted -= 1;
            }
            left -= 1;
        }
        chosen
    }

    /// So many members at random, each time one of all.
    pub fn choose_again(&self, count: usize, random: u64) -> impl Iterator<Item = Content<'a>> {
        let (set, mut random) = (*self, Random(random));
        (0..count).map_while(move |_| set.pick(random.next()))
    }

    /// Some members behind a cursor, about `count`, or all of a small set; where to go on, 0 at the end.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(Content<'_>)) -> u64 {
        if let Self::Large(members) = self {
            return members.scan(cursor, count, &mut |member| visit(Content::Bytes(member.name)));
        }
        self.iter().for_each(visit);
        0
    }
}

/// Randoms that follow from one.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// See [`SetRef::iter`].
#[derive(Clone, Debug)]
pub enum SetIter<'a> {
    Integers { integers: IntSet<'a>, at: usize },
    Packed(PackedIter<'a, Forwards>),
    Large(MembersIter<'a>),
}

impl<'a> Iterator for SetIter<'a> {
    type Item = Content<'a>;

    #[inline]
    fn next(&mut self) -> Option<Content<'a>> {
        match self {
            Self::Large(members) => members.next().map(|member| Content::Bytes(member.name)),
            Self::Packed(packed) => packed.next(),
            Self::Integers { integers, at } => {
                let value = (*at < integers.len()).then(|| Content::Integer(integers.at(*at)))?;
                *at += 1;
                Some(value)
            }
        }
    }
}

/// A change of a set. Members that are there are not added, those that are not are not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetChange<'a> {
    Add { members: Strings<'a> },
    Remove { members: Strings<'a> },
}

impl<'a> CollectionChange<'a> for SetChange<'a> {
    const KIND: Kind = Kind::Set;

    fn start(key: &[u8], access: u32) -> Entry {
        Entry::small(Small::Intset, key, IntSet::EMPTY, None, access)
    }

    fn apply(self, entry: &mut Entry, means: Means<'_>) {
        match self {
            Self::Add { members } => {
                make_ready(entry, members, means);
                for (at, name) in members.iter().enumerate() {
                    if let Some(Collection::Set(large)) = entry.collection_mut() {
                        // Once large it stays so: the rest at once.
                        members.iter().skip(at).for_each(|name| _ = large.insert(name));
                        break;
                    }
                    add_small(entry, name, means);
                }
            }
            Self::Remove { members } => match entry.collection_mut() {
                Some(Collection::Set(large)) => {
                    members.iter().for_each(|name| _ = large.remove(name));
                }
                _ => members.iter().for_each(|name| remove_small(entry, name)),
            },
        }
    }

    fn encode(self, out: &mut Vec<u8>) {
        let (kind, members) = match self {
            Self::Add { members } => (0, members),
            Self::Remove { members } => (1, members),
        };
        out.push(kind);
        put_strings(out, members);
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match reader.byte()? {
            0 => Self::Add { members: reader.strings()? },
            1 => Self::Remove { members: reader.strings()? },
            _ => return Err(Malformed),
        })
    }
}

impl SetChange<'_> {
    /// The changes that make a set of these members, for `Effect::SetCollection`.
    pub fn to_changes(self) -> Vec<u8> {
        let mut changes = Vec::new();
        self.encode(&mut changes);
        changes
    }
}

/// Gives an empty set the form that its first members ask for, as many as they are, and makes one
/// large for which they are too many.
fn make_ready(entry: &mut Entry, more: Strings<'_>, means: Means<'_>) {
    let Thresholds { set_max_intset_entries, set_max_listpack_entries, .. } = *means.thresholds;
    let Some(first) = more.iter().next() else { return };
    let Some(set) = SetRef::of(entry) else { panic!("a set is changed") };
    let is_integer = matches!(Content::of(first), Content::Integer(_));
    let more = more.len() as u64;
    let fits = match set {
        SetRef::Integers(integers) if integers.is_empty() && is_integer => {
            more <= set_max_intset_entries || more <= set_max_listpack_entries
        }
        SetRef::Integers(integers) if integers.is_empty() => more <= set_max_listpack_entries,
        SetRef::Integers(_) => more <= set_max_intset_entries,
        SetRef::Packed(_) => more <= set_max_listpack_entries,
        SetRef::Large(_) => true,
    };
    if !fits {
        to_large(entry, means);
    } else if set.is_empty() && (!is_integer || more > set_max_intset_entries) {
        entry.set_small(Small::Set, SmallSet::EMPTY);
    }
}

/// Adds a member to a small set; its form changes where it can't keep the old one.
fn add_small(entry: &mut Entry, name: &[u8], means: Means<'_>) {
    let Thresholds {
        set_max_intset_entries, set_max_listpack_entries, set_max_listpack_value, ..
    } = *means.thresholds;
    let member = Content::of(name);
    let fits_packed = |len: usize, bytes: usize| {
        (len as u64) < set_max_listpack_entries
            && name.len() as u64 <= set_max_listpack_value
            && small_has_room(bytes, (1, set_max_listpack_value), std::iter::once(name))
    };
    match (SetRef::of(entry), member) {
        (Some(SetRef::Integers(integers)), Content::Integer(value)) => {
            let Some(splice) = integers.insert(value) else { return };
            let mut bytes = vec![0; splice.bytes()];
            splice.write(&mut bytes);
            entry.set_small(Small::Intset, &bytes);
            if splice_len(&bytes) > set_max_intset_entries || bytes.len() > SMALL_BYTES_MAX {
                to_large(entry, means);
            }
        }
        (Some(SetRef::Integers(integers)), Content::Bytes(_)) => {
            let longest = [0, integers.len().saturating_sub(1)].map(|index| match integers.len() {
                0 => 0,
                _ => Content::Integer(integers.at(index)).text_len(),
            });
            let longest = longest.into_iter().max().unwrap_or(0) as u64;
            let bytes = integers.len() * longest as usize;
            if fits_packed(integers.len(), bytes) && longest <= set_max_listpack_value {
                let mut packed = PackedVec::<Forwards>::default();
                integers.iter().for_each(|value| packed.push(Content::Integer(value)));
                packed.push(member);
                entry.set_small(Small::Set, packed.as_bytes());
            } else {
                insert_large(entry, name, means);
            }
        }
        (Some(SetRef::Packed(packed)), member) => {
            if packed.find(member, 1).is_some() {
                return;
            }
            if fits_packed(packed.len(), packed.run().as_bytes().len()) {
                let inserted = [member];
                let splice = packed.splice(packed.run().back(), &inserted);
                let mut bytes = vec![0; splice.bytes()];
                splice.write(&mut bytes);
                entry.set_small(Small::Set, &bytes);
            } else {
                insert_large(entry, name, means);
            }
        }
        _ => panic!("a small set is changed"),
    }
}

fn splice_len(integers: &[u8]) -> u64 {
    IntSet::new(integers).len() as u64
}

fn remove_small(entry: &mut Entry, name: &[u8]) {
    let member = Content::of(name);
    let (small, bytes) = match (SetRef::of(entry), member) {
        (Some(SetRef::Integers(integers)), Content::Integer(value)) => {
            let Some(splice) = integers.remove(value) else { return };
            let mut bytes = vec![0; splice.bytes()];
            splice.write(&mut bytes);
            (Small::Intset, bytes)
        }
        (Some(SetRef::Packed(packed)), member) => {
            let Some((_, span)) = packed.find(member, 1) else { return };
            let splice = packed.splice(span, &[]);
            let mut bytes = vec![0; splice.bytes()];
            splice.write(&mut bytes);
            (Small::Set, bytes)
        }
        _ => return,
    };
    entry.set_small(small, &bytes);
}

fn insert_large(entry: &mut Entry, name: &[u8], means: Means<'_>) {
    to_large(entry, means);
    if let Some(Collection::Set(members)) = entry.collection_mut() {
        members.insert(name);
    }
}

fn to_large(entry: &mut Entry, means: Means<'_>) {
    let Some(set) = SetRef::of(entry) else { panic!("a set is changed") };
    let mut large = Members::bare(means.hasher);
    let mut digits = Digits::default();
    for member in set.iter() {
        large.insert(member.as_text(&mut digits));
    }
    entry.set_boxed(Box::new(Collection::Set(large)));
}

pub(super) fn write_changes(entry: &Entry, out: &mut Vec<u8>) {
    let set = SetRef::of(entry).expect("a set is looked at");
    out.push(0);
    put_string_run(out, |out| {
        let mut digits = Digits::default();
        set.iter().for_each(|member| put_bytes(out, member.as_text(&mut digits)));
        set.len()
    });
}

pub(super) fn digest_elements(entry: &Entry, digest: &mut Digest) {
    let set = SetRef::of(entry).expect("a set is looked at");
    let mut digits = Digits::default();
    set.iter().for_each(|member| digest.xor(member.as_text(&mut digits)));
}

pub(super) fn is_empty(entry: &Entry) -> bool {
    SetRef::of(entry).is_some_and(|set| set.is_empty())
}
