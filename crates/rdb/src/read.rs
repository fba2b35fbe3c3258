//! Read: a value of any type and encoding, as the effect that makes a key hold it.

mod blobs;
mod collections;
pub(crate) mod file;
mod skip;
mod stream;

use basalt_keyspace::{Content, Effect, Kind};

use crate::error::{Error, Result};
use crate::format::kind;
use crate::input::Input;

pub(crate) use skip::{skip_module_parts, skip_value};

/// Whose numbers a payload or file has: a few types have the same number in both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Redis,
    Valkey,
}

/// How far the bytes are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Every rule of the format is checked: elements of sets and hashes are different ones.
    None,
    /// The bytes have a checksum that is checked; an element that comes twice counts once.
    Checksum,
}

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    String(Vec<u8>),
    Integer(i64),
    /// The changes that make the collection out of nothing.
    Collection {
        kind: Kind,
        changes: Vec<u8>,
    },
}

impl Value {
    /// The effect that makes a key hold this value.
    pub fn effect(&self, expire_at_ms: Option<u64>) -> Effect<'_> {
        match self {
            Self::String(value) => Effect::SetString { value, expire_at_ms, changed: false },
            Self::Integer(value) => Effect::SetInteger { value: *value, expire_at_ms },
            Self::Collection { kind, changes } => {
                Effect::SetCollection { kind: *kind, changes, expire_at_ms }
            }
        }
    }
}

/// What a value is read with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Means {
    pub(crate) dialect: Dialect,
    pub(crate) trust: Trust,
    /// Fields of hashes that are past their expiry at this moment are left out.
    pub(crate) now_ms: u64,
}

/// Reads a value of a type, which must take all of the bytes. Fields of hashes that are past their
/// expiry at `now_ms` are left out.
///
/// # Errors
/// Any [`Error`] but those of files.
pub fn read_value(
    number: u8,
    value: &[u8],
    (dialect, trust): (Dialect, Trust),
    now_ms: u64,
) -> Result<Value> {
    let mut input = Input::new(value);
    let value = read_typed(number, &mut input, Means { dialect, trust, now_ms })?;
    if input.is_at_end() { Ok(value) } else { Err(Error::Malformed("bytes behind the value")) }
}

fn read_typed(number: u8, input: &mut Input<'_>, means: Means) -> Result<Value> {
    use collections as of;
    match number {
        kind::STRING => {
            let text = input.text()?;
            Ok(match Content::of(&text) {
                Content::Integer(value) => Value::Integer(value),
                Content::Bytes(bytes) => Value::String(bytes.to_vec()),
            })
        }
        kind::LIST => of::list(input),
        kind::LIST_ZIPLIST => of::list_ziplists(input, 1),
        kind::LIST_QUICKLIST => {
            let count = input.count(1)?;
            of::list_ziplists(input, count)
        }
        kind::LIST_QUICKLIST_2 => of::quicklist(input),
        kind::SET => of::set(input, means),
        kind::SET_INTSET => of::set_of(blobs::Intset::new(&input.bytes()?)?, means),
        kind::SET_LISTPACK => of::set_of(blobs::Listpack::new(&input.bytes()?)?, means),
        kind::ZSET | kind::ZSET_2 => of::sorted(number, input, means),
        kind::ZSET_ZIPLIST => of::sorted_of(blobs::Ziplist::new(&input.bytes()?)?, means),
        kind::ZSET_LISTPACK => of::sorted_of(blobs::Listpack::new(&input.bytes()?)?, means),
        kind::HASH => of::hash(input, means),
        kind::HASH_ZIPMAP => of::hash_of(blobs::Zipmap::new(&input.bytes()?)?, means),
        kind::HASH_ZIPLIST => of::hash_of(blobs::Ziplist::new(&input.bytes()?)?, means),
        kind::HASH_LISTPACK => of::hash_of(blobs::Listpack::new(&input.bytes()?)?, means),
        kind::HASH_EXPIRING_22 if means.dialect == Dialect::Valkey => {
            of::expiring_hash_of_valkey(input, means)
        }
        kind::HASH_EXPIRING_22 | kind::HASH_METADATA if means.dialect == Dialect::Redis => {
            of::expiring_hash_of_redis(number, input, means)
        }
        kind::HASH_LISTPACK_EX_PRE_GA | kind::HASH_LISTPACK_EX
            if means.dialect == Dialect::Redis =>
        {
            of::expiring_listpack(number, input, means)
        }
        kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => stream::stream(number, input),
        kind::STREAM_4 | kind::STREAM_5 if means.dialect == Dialect::Redis => {
            stream::stream(number, input)
        }
        kind::MODULE_2 => Err(Error::Module(module_name(input.number()?))),
        kind::MODULE_PRE_GA => Err(Error::Module("of a release candidate of Redis 4".to_owned())),
        _ => Err(Error::UnknownType(number)),
    }
}

/// The name in a module type's ID: 9 characters of 6 bits each, above 10 bits of a version.
pub(crate) fn module_name(id: u64) -> String {
    const CHARACTERS: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let character = |place: u32| CHARACTERS[(id >> (10 + 6 * place) & 0x3F) as usize];
    (0..9).rev().map(|place| char::from(character(place))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_module_is_read_from_its_id() {
        // ReJSON-RL, version 3.
        let id = b"ReJSON-RL".iter().fold(0_u64, |id, wanted| {
            let all = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            id << 6 | all.iter().position(|own| own == wanted).unwrap() as u64
        });
        assert_eq!(module_name(id << 10 | 3), "ReJSON-RL");
    }
}
