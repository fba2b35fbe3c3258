//! File: a snapshot, item by item, from as much of it as is at hand.
//!
//! ```text
//! REDIS0012 or VALKEY080
//! metadata, functions, and for each database its number, its size and its keys
//! 0xFF, checksum of all before
//! ```
//!
//! Not here: where the bytes come from, and which shard gets which key.

use std::borrow::Cow;

use super::{Dialect, skip_module_parts, skip_value};
use crate::crc64::Checksum;
use crate::error::{Error, Result};
use crate::format::{VERSION_REDIS_MAX, VERSION_VALKEY_MAX, VERSION_VALKEY_MIN, opcode};
use crate::input::Input;
use crate::read::module_name;

const HEAD_BYTES: usize = 9;
/// The first version that ends in a checksum.
const VERSION_WITH_CHECKSUM: u32 = 5;

/// An item of a file.
#[derive(Debug)]
pub enum Item<'a> {
    /// Metadata: name and value.
    Aux(Cow<'a, [u8]>, Cow<'a, [u8]>),
    /// The code of a library of functions.
    Function(Cow<'a, [u8]>),
    /// How many keys the database has that follows, and how many of them expire.
    Sizes {
        keys: u64,
        expiring: u64,
    },
    Key(KeyItem<'a>),
    /// Data of a module, by its name; passed over.
    ModuleData(String),
    /// Something that concerns only the items behind it, or nothing here.
    Passed,
    End,
}

/// A key with its value, which is not read yet.
#[derive(Debug)]
pub struct KeyItem<'a> {
    pub database: u64,
    pub key: Cow<'a, [u8]>,
    /// The type, for [`read_value`](crate::read_value).
    pub number: u8,
    pub value: &'a [u8],
    pub expire_at_ms: Option<u64>,
    pub idle_seconds: Option<u64>,
    pub frequency: Option<u8>,
}

/// Reads a file's items one after the other.
pub struct FileReader {
    version: Option<u32>,
    dialect: Dialect,
    checksum: Checksum,
    /// How many bytes were read.
    offset: u64,
    database: u64,
    expire_at_ms: Option<u64>,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
    checks: bool,
}

impl FileReader {
    /// `checks`: whether the checksum at the end must be right (one of 0 says that none was
    /// computed).
    pub fn new(checks: bool) -> Self {
        Self {
            version: None,
            dialect: Dialect::Redis,
            checksum: Checksum::default(),
            offset: 0,
            database: 0,
            expire_at_ms: None,
            idle_seconds: None,
            frequency: None,
            checks,
        }
    }

    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The version in the head; `None` before it was read.
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// How many bytes of the file were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next item, and how many bytes of the input it took.
    ///
    /// # Errors
    /// [`Error::Short`] if the input ends within the item: to be called again with more. Others if
    /// the file cannot be read further.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<(Item<'a>, usize)> {
        let mut rest = Input::new(input);
        let item = match self.version {
            None => self.head(&mut rest)?,
            Some(_) => self.item(&mut rest, input)?,
        };
        let taken = input.len() - rest.rest().len();
        if self.checks && !matches!(item, Item::End) {
            self.checksum.update(&input[..taken]);
        }
        self.offset += taken as u64;
        Ok((item, taken))
    }

    fn head(&mut self, input: &mut Input<'_>) -> Result<Item<'static>> {
        let head = input.take(HEAD_BYTES)?;
        let (digits, dialect) = match (head.strip_prefix(b"REDIS"), head.strip_prefix(b"VALKEY")) {
            (Some(digits), _) => (digits, Dialect::Redis),
            (_, Some(digits)) => (digits, Dialect::Valkey),
            _ => return Err(Error::NoRdb),
        };
        let digits = std::str::from_utf8(digits).map_err(|_| Error::NoRdb)?;
        let version: u32 = digits.parse().map_err(|_| Error::NoRdb)?;
        let is_known = match dialect {
            Dialect::Redis => (1..=VERSION_REDIS_MAX).contains(&version),
            Dialect::Valkey => (VERSION_VALKEY_MIN..=VERSION_VALKEY_MAX).contains(&version),
        };
        if !is_known {
            return Err(Error::Version(version));
        }
        (self.version, self.dialect) = (Some(version), dialect);
        Ok(Item::Passed)
    }

    fn item<'a>(&mut self, input: &mut Input<'a>, all: &'a [u8]) -> Result<Item<'a>> {
        match input.byte()? {
            opcode::EOF => self.end(input, all),
            opcode::SELECT_DB => {
                self.database = input.number()?;
                Ok(Item::Passed)
            }
            opcode::EXPIRE_TIME => {
                let at_seconds = i32::from_le_bytes(input.array()?);
                self.expire_at_ms = Some(u64::try_from(at_seconds).unwrap_or(0) * 1000);
                Ok(Item::Passed)
            }
            opcode::EXPIRE_TIME_MS => {
                self.expire_at_ms = Some(input.moment_ms()?);
                Ok(Item::Passed)
            }
            opcode::IDLE => {
                self.idle_seconds = Some(input.number()?);
                Ok(Item::Passed)
            }
            opcode::FREQ => {
                self.frequency = Some(input.byte()?);
                Ok(Item::Passed)
            }
            opcode::RESIZE_DB => {
                Ok(Item::Sizes { keys: input.number()?, expiring: input.number()? })
            }
            opcode::AUX => Ok(Item::Aux(input.bytes()?, input.bytes()?)),
            opcode::SLOT_INFO => {
                for _ in 0..3 {
                    input.number()?;
                }
                Ok(Item::Passed)
            }
            opcode::FUNCTION_2 => Ok(Item::Function(input.bytes()?)),
            opcode::FUNCTION_PRE_GA => {
                Err(Error::Malformed("functions of a release candidate of Redis 7"))
            }
            opcode::MODULE_AUX => {
                let name = module_name(input.number()?);
                for _ in 0..2 {
                    input.number()?;
                }
                skip_module_parts(input)?;
                Ok(Item::ModuleData(name))
            }
            opcode::KEY_META => Err(Error::Malformed(match self.dialect {
                Dialect::Redis => "a module's metadata of a key",
                Dialect::Valkey => "the import of a slot, which is not finished",
            })),
            number => self.key(number, input),
        }
    }

    fn key<'a>(&mut self, number: u8, input: &mut Input<'a>) -> Result<Item<'a>> {
        let key = input.bytes()?;
        let value = input.rest();
        skip_value(number, self.dialect, input)?;
        let value = &value[..value.len() - input.rest().len()];
        Ok(Item::Key(KeyItem {
            database: self.database,
            key,
            number,
            value,
            expire_at_ms: self.expire_at_ms.take(),
            idle_seconds: self.idle_seconds.take(),
            frequency: self.frequency.take(),
        }))
    }

    fn end<'a>(&mut self, input: &mut Input<'a>, all: &'a [u8]) -> Result<Item<'a>> {
        if self.version.is_some_and(|version| version >= VERSION_WITH_CHECKSUM) {
            let written = input.u64_le()?;
            let mut checksum = self.checksum.clone();
            checksum.update(&all[..1]);
            if self.checks && written != 0 && written != checksum.value() {
                return Err(Error::Checksum);
            }
        }
        Ok(Item::End)
    }
}
