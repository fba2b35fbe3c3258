//! Hashes: fields with values, each of which may expire on its own.

use std::iter;

use basalt_structures::{
    Collection, Content, Digits, Entry, Fields, Forwards, Kind, Member, Packed, PackedIter,
    PackedVec, Small, Value,
};

use super::{CollectionChange, Means, Thresholds, small_has_room};
use crate::Digest;
use crate::codec::{Cause, Malformed, Reader, Strings, put_bytes, put_string_run, put_strings};
use crate::random::Random;

/// Of the small form, whose elements are a field and its value in turn.
const STEP: usize = 2;

/// LIMIT: how often random is asked for a field that is not past its expiry.
const PICK_TRIES_MAX: usize = 100;

type SmallHash<'a> = Packed<'a, Forwards>;

/// A hash as commands read it: without the fields that are past their expiry.
#[derive(Clone, Copy, Debug)]
pub struct HashRef<'a> {
    form: HashForm<'a>,
    now_ms: u64,
}

#[derive(Clone, Copy, Debug)]
enum HashForm<'a> {
    /// Without expiries: a hash with such fields is a large one, as in Valkey.
    Small(SmallHash<'a>),
    Large(&'a Fields),
}

/// A field as commands read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashField<'a> {
    pub name: Content<'a>,
    pub value: Content<'a>,
    pub expire_at_ms: Option<u64>,
}

impl<'a> From<Member<'a>> for HashField<'a> {
    fn from(field: Member<'a>) -> Self {
        let Member { name, value, expire_at_ms } = field;
        Self { name: Content::Bytes(name), value: Content::Bytes(value), expire_at_ms }
    }
}

impl<'a> HashRef<'a> {
    /// The hash that an entry holds at a moment; none where it holds something else.
    #[inline]
    pub fn of(entry: &'a Entry, now_ms: u64) -> Option<Self> {
        let form = match entry.value() {
            Value::Small(Small::Hash, bytes) => HashForm::Small(Packed::new(bytes)),
            Value::Boxed(Collection::Hash(fields)) => HashForm::Large(fields),
            _ => return None,
        };
        Some(Self { form, now_ms })
    }

    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<HashField<'a>> {
        match self.form {
            HashForm::Small(packed) => {
                let name = Content::of(name);
                let (_, span) = packed.find(name, STEP)?;
                let (name, value_at) = packed.run().at(span.from)?;
                let (value, _) = packed.run().at(value_at)?;
                Some(HashField { name, value, expire_at_ms: None })
            }
            HashForm::Large(fields) => {
                let field = fields.get(name)?;
                self.is_live(field.expire_at_ms).then(|| field.into())
            }
        }
    }

    fn is_live(&self, expire_at_ms: Option<u64>) -> bool {
        expire_at_ms.is_none_or(|at_ms| at_ms > self.now_ms)
    }

    /// How many fields there are, without those that are past their expiry.
    pub fn len(&self) -> usize {
        match self.form {
            HashForm::Small(packed) => packed.len() / STEP,
            HashForm::Large(fields) => fields.len() - fields.due_count(self.now_ms),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = HashField<'a>> + use<'a> {
        let hash = *self;
        let (mut small, large) = match self.form {
            HashForm::Small(packed) => (Some(packed.iter()), None),
            HashForm::Large(fields) => (None, Some(fields.iter())),
        };
        let small = iter::from_fn(move || next_pair(small.as_mut()?));
        let large = large.into_iter().flatten().map(HashField::from);
        small.chain(large).filter(move |field| hash.is_live(field.expire_at_ms))
    }
}

impl<'a> HashRef<'a> {
    /// A field at random, each with the same.
    pub fn pick(&self, random: &mut Random) -> Option<HashField<'a>> {
        match self.form {
            HashForm::Small(packed) => {
                let len = self.len().checked_sub(1)? + 1;
                let at = packed.run().seek(STEP * random.below(len))?;
                next_pair(&mut packed.run().iter_from(at))
            }
            HashForm::Large(fields) => {
                // Where nearly all are past their expiry, random would look for long.
                let mut tries = (0..PICK_TRIES_MAX).map_while(|_| fields.pick(random.next()));
                let picked = tries.find(|field| self.is_live(field.expire_at_ms));
                picked.map(HashField::from).or_else(|| self.iter().next())
            }
        }
    }

    /// Visits the fields behind a cursor, at least about `count`; gives the cursor to go on with, 0 at the
    /// end. A small hash is visited at once, whatever the cursor.
    pub fn scan(&self, cursor: u64, count: usize, visit: &mut dyn FnMut(HashField<'a>)) -> u64 {
        match self.form {
            HashForm::Small(_) => {
                self.iter().for_each(visit);
                0
            }
            HashForm::Large(fields) => fields.scan(cursor, count, &mut |field| {
                if self.is_live(field.expire_at_ms) {
                    visit(field.into());
                }
            }),
        }
    }
}

fn next_pair<'a>(elements: &mut PackedIter<'a, Forwards>) -> Option<HashField<'a>> {
    let (name, value) = (elements.next()?, elements.next()?);
    Some(HashField { name, value, expire_at_ms: None })
}

/// How long a field that is set lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldLife {
    Forever,
    /// As long as what it held before.
    Kept,
    Until(u64),
}

/// A change of a hash. Fields that are not there are passed over by all but `Set`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashChange<'a> {
    /// A field and its value, a field and its value …
    Set {
        pairs: Strings<'a>,
        life: FieldLife,
    },
    Remove {
        fields: Strings<'a>,
        cause: Cause,
    },
    ExpireAt {
        fields: Strings<'a>,
        at_ms: u64,
    },
    Persist {
        fields: Strings<'a>,
    },
}

impl<'a> CollectionChange<'a> for HashChange<'a> {
    const KIND: Kind = Kind::Hash;

    fn start(key: &[u8], access: u32) -> Entry {
        Entry::small(Small::Hash, key, SmallHash::EMPTY, None, access)
    }

    fn apply(self, entry: &mut Entry, means: Means<'_>) {
        if let Value::Small(_, bytes) = entry.value() {
            if self.fits_small(bytes.len(), means.thresholds) {
                return self.apply_small(entry, means);
            }
            let large = to_large(Packed::new(bytes), means);
            entry.set_boxed(large);
        }
        let Some(Collection::Hash(fields)) = entry.collection_mut() else {
            panic!("a hash is changed")
        };
        self.apply_large(fields);
    }

    fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Set { pairs, life } => {
                out.push(0);
                put_life(out, life);
                put_strings(out, pairs);
            }
            Self::Remove { fields, cause } => {
                out.push(1);
                cause.encode(out);
                put_strings(out, fields);
            }
            Self::ExpireAt { fields, at_ms } => {
                out.push(2);
                out.extend_from_slice(&at_ms.to_le_bytes());
                put_strings(out, fields);
            }
            Self::Persist { fields } => {
                out.push(3);
                put_strings(out, fields);
            }
        }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match reader.byte()? {
            0 => {
                let life = read_life(reader)?;
                Self::Set { pairs: reader.string_pairs()?, life }
            }
            1 => {
                let cause = Cause::decode(reader)?;
                Self::Remove { fields: reader.strings()?, cause }
            }
            2 => {
                let at_ms = reader.u64()?;
                Self::ExpireAt { fields: reader.strings()?, at_ms }
            }
            3 => Self::Persist { fields: reader.strings()? },
            _ => return Err(Malformed),
        })
    }
}

impl HashChange<'_> {
    /// The changes that make a hash of these fields, for `Effect::SetCollection`.
    pub fn to_changes(self) -> Vec<u8> {
        let mut changes = Vec::new();
        self.encode(&mut changes);
        changes
    }

    /// Whether the change leaves a small hash of so many bytes small, but for how many fields it has then.
    fn fits_small(self, bytes: usize, thresholds: &Thresholds) -> bool {
        match self {
            Self::Set { life: FieldLife::Until(_), .. } | Self::ExpireAt { .. } => false,
            Self::Set { pairs, .. } => {
                let most = thresholds.hash_max_listpack_value;
                (pairs.len() / STEP) as u64 <= thresholds.hash_max_listpack_entries
                    && pairs.iter().all(|text| text.len() as u64 <= most)
                    && small_has_room(bytes, (pairs.len(), most), pairs.iter())
            }
            Self::Remove { .. } | Self::Persist { .. } => true,
        }
    }

    fn apply_small(self, entry: &mut Entry, means: Means<'_>) {
        let Value::Small(_, bytes) = entry.value() else { panic!("a small hash is changed") };
        let packed = SmallHash::new(bytes);
        match self {
            Self::Set { pairs, .. } => {
                let more = pairs.iter().map(|text| text.len() + 2).sum();
                let mut hash = PackedVec::copy_of(packed, more);
                for (name, value) in pairs.pairs() {
                    set_small(&mut hash, Content::of(name), Content::of(value));
                }
                let len = hash.view().len() / STEP;
                if len as u64 > means.thresholds.hash_max_listpack_entries {
                    entry.set_boxed(to_large(hash.view(), means));
                } else {
                    entry.set_small(Small::Hash, hash.as_bytes());
                }
            }
            Self::Remove { fields, .. } => {
                let mut hash = PackedVec::copy_of(packed, 0);
                for name in fields.iter() {
                    let found = hash.view().find(Content::of(name), STEP);
                    if let Some((_, span)) = found {
                        let pair = hash.view().run().span_at(span.from, STEP);
                        hash.splice(pair, &[]);
                    }
                }
                entry.set_small(Small::Hash, hash.as_bytes());
            }
            Self::Persist { .. } => {}
            Self::ExpireAt { .. } => panic!("a small hash has no expiries"),
        }
    }

    fn apply_large(self, hash: &mut Fields) {
        match self {
            Self::Set { pairs, life } => {
                for (name, value) in pairs.pairs() {
                    let expire_at_ms = match life {
                        FieldLife::Forever => None,
                        FieldLife::Kept => hash.get(name).and_then(|field| field.expire_at_ms),
                        FieldLife::Until(at_ms) => Some(at_ms),
                    };
                    hash.set(name, value, expire_at_ms);
                }
            }
            Self::Remove { fields, .. } => {
                fields.iter().for_each(|name| _ = hash.remove(name));
            }
            Self::ExpireAt { fields, at_ms } => {
                fields.iter().for_each(|name| _ = hash.set_expire_at_ms(name, Some(at_ms)));
            }
            Self::Persist { fields } => {
                fields.iter().for_each(|name| _ = hash.set_expire_at_ms(name, None));
            }
        }
    }
}

fn set_small(hash: &mut PackedVec<Forwards>, name: Content<'_>, value: Content<'_>) {
    let Some((_, span)) = hash.view().find(name, STEP) else {
        hash.push(name);
        return hash.push(value);
    };
    let value_at = hash.view().run().span_at(span.to, 1);
    hash.splice(value_at, &[value]);
}

fn to_large(packed: SmallHash<'_>, means: Means<'_>) -> Box<Collection> {
    let mut large = Fields::new(means.hasher);
    let mut elements = packed.iter();
    while let Some(HashField { name, value, .. }) = next_pair(&mut elements) {
        let mut digits = [Digits::default(), Digits::default()];
        let [of_name, of_value] = &mut digits;
        large.set(name.as_text(of_name), value.as_text(of_value), None);
    }
    Box::new(Collection::Hash(large))
}

fn put_life(out: &mut Vec<u8>, life: FieldLife) {
    match life {
        FieldLife::Forever => out.push(0),
        FieldLife::Kept => out.push(1),
        FieldLife::Until(at_ms) => {
            out.push(2);
            out.extend_from_slice(&at_ms.to_le_bytes());
        }
    }
}

fn read_life(reader: &mut Reader<'_>) -> Result<FieldLife, Malformed> {
    Ok(match reader.byte()? {
        0 => FieldLife::Forever,
        1 => FieldLife::Kept,
        2 => FieldLife::Until(reader.u64()?),
        _ => return Err(Malformed),
    })
}

/// All fields, whether past their expiry or not: a copy holds what the original holds.
fn all_fields(entry: &Entry) -> impl Iterator<Item = HashField<'_>> {
    HashRef::of(entry, 0).expect("a hash is looked at").iter()
}

pub(super) fn write_changes(entry: &Entry, out: &mut Vec<u8>) {
    let (mut name, mut value) = (Digits::default(), Digits::default());
    out.push(0);
    put_life(out, FieldLife::Forever);
    put_string_run(out, |out| {
        let mut count = 0;
        for field in all_fields(entry).filter(|field| field.expire_at_ms.is_none()) {
            put_bytes(out, field.name.as_text(&mut name));
            put_bytes(out, field.value.as_text(&mut value));
            count += STEP;
        }
        count
    });
    for field in all_fields(entry) {
        if let Some(at_ms) = field.expire_at_ms {
            let pair = [field.name.as_text(&mut name), field.value.as_text(&mut value)];
            HashChange::Set { pairs: Strings::from(&pair), life: FieldLife::Until(at_ms) }
                .encode(out);
        }
    }
}

pub(super) fn digest_elements(entry: &Entry, now_ms: u64, digest: &mut Digest) {
    let hash = HashRef::of(entry, now_ms).expect("a hash is looked at");
    let mut digits = Digits::default();
    for field in hash.iter() {
        let mut element = Digest::default();
        element.mix(field.name.as_text(&mut digits));
        element.mix(field.value.as_text(&mut digits));
        if field.expire_at_ms.is_some() {
            element.xor(b"!!hexpire!!");
        }
        digest.xor(&element.0);
    }
}

pub(super) fn is_empty_small(bytes: &[u8]) -> bool {
    SmallHash::new(bytes).is_empty()
}
