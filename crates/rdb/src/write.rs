//! Write: values in the plain encodings, which every version of Redis and Valkey loads and packs as
//! its own settings say.

mod collections;
pub(crate) mod file;
mod listpack;
mod stream;

use basalt_keyspace::{Content, Entry, HashRef, Kind, StreamId, stream_of};

use crate::format::{VERSION_VALKEY_MIN, kind, string};
use crate::lzf::Compressor;
use crate::payload::seal_payload;
use crate::target::{Loss, Target};

/// Strings up to this length are not compressed.
const SHORT_BYTES_MAX: usize = 20;
/// The longest text of an integer of 32 bits.
const INTEGER_BYTES_MAX: usize = 11;

pub(crate) const VERSION_REDIS_7_0: u16 = 10;
const VERSION_REDIS_7_2: u16 = 11;
const VERSION_REDIS_7_4: u16 = 12;
const VERSION_REDIS_8_6: u16 = 13;
const VERSION_REDIS_8_8: u16 = 14;

/// Writes values; keeps its compression table between them.
#[derive(Debug)]
pub struct Writer {
    target: Target,
    compressor: Option<Compressor>,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The type.
    pub(crate) number: u8,
    /// The first version that has it.
    version: u16,
    /// What is left out.
    pub(crate) loss: Option<Loss>,
}

impl Writer {
    /// `compresses`: whether long strings are compressed.
    pub fn new(target: Target, compresses: bool) -> Self {
        Self { target, compressor: compresses.then(Compressor::default) }
    }

    /// The type that holds what an entry holds, for the target.
    pub(crate) fn plan(&self, entry: &Entry) -> Result<Plan, Loss> {
        let plain = |number| Plan { number, version: VERSION_REDIS_7_0, loss: None };
        Ok(match entry.kind() {
            Kind::String => plain(kind::STRING),
            Kind::List => plain(kind::LIST),
            Kind::Set => plain(kind::SET),
            Kind::Sorted => plain(kind::ZSET_2),
            Kind::Hash if !has_expiring_fields(entry) => plain(kind::HASH),
            Kind::Hash => match self.target {
                Target::Redis7 => return Err(Loss::FieldExpiry),
                Target::Valkey9 => Plan {
                    number: kind::HASH_EXPIRING_22,
                    version: VERSION_VALKEY_MIN as u16,
                    loss: None,
                },
                Target::Latest | Target::Redis8 => {
                    Plan { number: kind::HASH_METADATA, version: VERSION_REDIS_7_4, loss: None }
                }
            },
            Kind::Stream => self.plan_stream(entry)?,
        })
    }

    fn plan_stream(&self, entry: &Entry) -> Result<Plan, Loss> {
        let stream = stream_of(entry).expect("because its kind was looked at");
        let has_released = stream.groups().iter().any(|group| group.unowned_count() > 0);
        let has_producers = stream.producers().is_some();
        let plan = |number, version, loss| Plan { number, version, loss };
        if self.target == Target::Latest {
            return Ok(if has_released {
                plan(kind::STREAM_5, VERSION_REDIS_8_8, None)
            } else if has_producers {
                plan(kind::STREAM_4, VERSION_REDIS_8_6, None)
            } else {
                plan(kind::STREAM_3, VERSION_REDIS_7_2, None)
            });
        }
        if has_released {
            return Err(Loss::ReleasedEntries);
        }
        let loss = has_producers.then_some(Loss::Producers);
        Ok(match self.target {
            Target::Redis7 => plan(kind::STREAM_2, VERSION_REDIS_7_0, loss),
            _ => plan(kind::STREAM_3, VERSION_REDIS_7_2, loss),
        })
    }

    /// Appends the value of an entry, without its type.
    pub(crate) fn put_value(&mut self, entry: &Entry, plan: Plan, out: &mut Vec<u8>) {
        match plan.number {
            kind::STRING => match entry.content().expect("because its kind was looked at") {
                Content::Integer(value) => self.put_integer(value, out),
                Content::Bytes(bytes) => self.put_text(bytes, out),
            },
            kind::LIST => collections::put_list(self, entry, out),
            kind::SET => collections::put_set(self, entry, out),
            kind::ZSET_2 => collections::put_sorted(self, entry, out),
            kind::HASH => collections::put_hash(self, entry, out),
            kind::HASH_EXPIRING_22 => collections::put_expiring_hash_for_valkey(self, entry, out),
            kind::HASH_METADATA => collections::put_expiring_hash_for_redis(self, entry, out),
            number => stream::put_stream(self, number, entry, out),
        }
    }

    /// A string: as an integer, compressed or as it is.
    pub(crate) fn put_text(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if text.len() <= INTEGER_BYTES_MAX
            && let Content::Integer(value) = Content::of(text)
        {
            return self.put_integer(value, out);
        }
        if text.len() > SHORT_BYTES_MAX
            && let Some(compressor) = &mut self.compressor
        {
            let start = out.len();
            out.push(0xC0 | string::LZF);
            // The length of what is compressed comes first, and takes as much room as that of all.
            let mut head = Vec::new();
            put_number(&mut head, text.len() as u64);
            out.resize(out.len() + 2 * head.len(), 0);
            let content = out.len();
            if compressor.compress(text, out) {
                let mut lens = Vec::new();
                put_number(&mut lens, (out.len() - content) as u64);
                lens.extend_from_slice(&head);
                let end = start + 1 + lens.len();
                out.drain(end..content);
                out[start + 1..end].copy_from_slice(&lens);
                return;
            }
            out.truncate(start);
        }
        put_bytes(out, text);
    }

    fn put_integer(&mut self, value: i64, out: &mut Vec<u8>) {
        if let Ok(value) = i8::try_from(value) {
            out.extend([0xC0 | string::INT_8, value as u8]);
        } else if let Ok(value) = i16::try_from(value) {
            out.push(0xC0 | string::INT_16);
            out.extend_from_slice(&value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            out.push(0xC0 | string::INT_32);
            out.extend_from_slice(&value.to_le_bytes());
        } else {
            put_bytes(out, itoa::Buffer::new().format(value).as_bytes());
        }
    }

    pub(crate) fn put_content(&mut self, content: Content<'_>, out: &mut Vec<u8>) {
        match content {
            Content::Integer(value) => self.put_integer(value, out),
            Content::Bytes(bytes) => self.put_text(bytes, out),
        }
    }
}

/// What DUMP returns for an entry.
///
/// # Errors
/// The [`Loss`] if the target has no form for what the entry holds.
pub fn dump(entry: &Entry, target: Target, compresses: bool) -> Result<Vec<u8>, Loss> {
    let mut writer = Writer::new(target, compresses);
    let plan = writer.plan(entry)?;
    let mut out = vec![plan.number];
    writer.put_value(entry, plan, &mut out);
    seal_payload(&mut out, plan.version);
    Ok(out)
}

fn has_expiring_fields(entry: &Entry) -> bool {
    entry.collection().is_some_and(|collection| collection.next_expiry_ms().is_some())
}

/// All fields, also those that are past their expiry and not removed yet.
fn all_fields(entry: &Entry) -> HashRef<'_> {
    HashRef::of(entry, 0).expect("because its kind was looked at")
}

/// A length or number, in as few bytes as it takes.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u64) {
    match number {
        0..0x40 => out.push(number as u8),
        0x40..0x4000 => out.extend([0x40 | (number >> 8) as u8, number as u8]),
        0x4000..=0xFFFF_FFFF => {
            out.push(0x80);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// A string as it is.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_number(out, id.ms);
    put_number(out, id.seq);
}

pub(crate) fn put_raw_id(out: &mut Vec<u8>, id: StreamId) {
    out.extend_from_slice(&id.ms.to_be_bytes());
    out.extend_from_slice(&id.seq.to_be_bytes());
}
