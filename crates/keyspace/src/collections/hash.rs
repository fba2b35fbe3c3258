//! Hashes: fields with values, each of which may expire on its own.

use basalt_structures::{Collection, Entry, Field, Fields, Kind, Value};

use super::{Change, Thresholds};
use crate::Digest;
use crate::effect::{Cause, Malformed, Reader, Strings, put_bytes, put_string_run, put_strings};

/// A hash as commands read it: without the fields that are past their expiry.
#[derive(Clone, Copy, Debug)]
pub struct HashRef<'a> {
    fields: &'a Fields,
    now_ms: u64,
}

impl<'a> HashRef<'a> {
    /// The hash that an entry holds at a moment; none where it holds something else.
    #[inline]
    pub fn of(entry: &'a Entry, now_ms: u64) -> Option<Self> {
        match entry.value() {
            Value::Boxed(Collection::Hash(fields)) => Some(Self { fields, now_ms }),
            _ => None,
        }
    }

    fn is_live(&self, field: &Field<'_>) -> bool {
        field.expire_at_ms.is_none_or(|at_ms| at_ms > self.now_ms)
    }

    pub fn get(&self, name: &[u8]) -> Option<Field<'a>> {
        self.fields.get(name).filter(|field| self.is_live(field))
    }

    /// How many fields there are, without those that are past their expiry.
    pub fn len(&self) -> usize {
        self.fields.len() - self.fields.due(self.now_ms).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let hash = *self;
        self.fields.iter().filter(move |field| hash.is_live(field))
    }
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

impl<'a> Change<'a> for HashChange<'a> {
    const KIND: Kind = Kind::Hash;

    fn start(key: &[u8], access: u32) -> Entry {
        Entry::boxed(key, Box::new(Collection::Hash(Fields::default())), None, access)
    }

    fn apply(self, entry: &mut Entry, _thresholds: &Thresholds) {
        let Some(Collection::Hash(hash)) = entry.collection_mut() else {
            panic!("a hash is changed")
        };
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
fn all_fields(entry: &Entry) -> impl Iterator<Item = Field<'_>> {
    HashRef::of(entry, 0).expect("a hash is looked at").iter()
}

pub(super) fn write_changes(entry: &Entry, out: &mut Vec<u8>) {
    out.push(0);
    put_life(out, FieldLife::Forever);
    put_string_run(out, |out| {
        let mut count = 0;
        for field in all_fields(entry).filter(|field| field.expire_at_ms.is_none()) {
            put_bytes(out, field.name);
            put_bytes(out, field.value);
            count += 2;
        }
        count
    });
    for field in all_fields(entry) {
        if let Some(at_ms) = field.expire_at_ms {
            let pair = [field.name, field.value];
            HashChange::Set { pairs: Strings::from(&pair), life: FieldLife::Until(at_ms) }
                .encode(out);
        }
    }
}

pub(super) fn digest_elements(entry: &Entry, now_ms: u64, digest: &mut Digest) {
    let hash = HashRef::of(entry, now_ms).expect("a hash is looked at");
    for field in hash.iter() {
        let mut element = Digest::default();
        element.mix(field.name);
        element.mix(field.value);
        if field.expire_at_ms.is_some() {
            element.xor(b"!!hexpire!!");
        }
        digest.xor(&element.0);
    }
}

pub(super) fn is_empty_packed(bytes: &[u8]) -> bool {
    bytes.is_empty()
}
