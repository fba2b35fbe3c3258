//! Loading: a snapshot file taken apart into batches for shards, however many there are, each of which builds its own
//! part.
//!
//! ```text
//! bytes of a file ──► Loader: items, the shard of each key ──► a batch per shard ──► Core::load
//! ```
//!
//! Not here: where the bytes come from, and on which threads.

use std::fmt;
use std::ops::Range;

use basalt_keyspace::{DatabaseId, ShardId, SlotId};
use basalt_rdb::{Dialect, Error, FileReader, Item, KeyItem};

use crate::limits::LOAD_BATCH_BYTES;
use crate::slots::routes::Routes;

/// Keys for one shard, with their values as they lie in the file.
#[derive(Debug)]
pub struct LoadBatch {
    pub(crate) dialect: Dialect,
    bytes: Vec<u8>,
    items: Vec<LoadItem>,
}

#[derive(Debug)]
struct LoadItem {
    database: DatabaseId,
    key: Range<usize>,
    number: u8,
    value: Range<usize>,
    expire_at_ms: Option<u64>,
    idle_seconds: Option<u64>,
    frequency: Option<u8>,
}

impl LoadBatch {
    fn new(dialect: Dialect) -> Self {
        Self { dialect, bytes: Vec::new(), items: Vec::new() }
    }

    fn push(&mut self, database: DatabaseId, item: &KeyItem<'_>) {
        let mut put = |bytes: &[u8]| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(bytes);
            start..self.bytes.len()
        };
        let (key, value) = (put(&item.key), put(item.value));
        let KeyItem { number, expire_at_ms, idle_seconds, frequency, .. } = *item;
        self.items.push(LoadItem {
            database,
            key,
            number,
            value,
            expire_at_ms,
            idle_seconds,
            frequency,
        });
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= LOAD_BATCH_BYTES
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = (DatabaseId, KeyItem<'_>)> {
        self.items.iter().map(|item| {
            let key = KeyItem {
                database: item.database.0.into(),
                key: self.bytes[item.key.clone()].into(),
                number: item.number,
                value: &self.bytes[item.value.clone()],
                expire_at_ms: item.expire_at_ms,
                idle_seconds: item.idle_seconds,
                frequency: item.frequency,
            };
            (item.database, key)
        })
    }
}

/// What was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub keys: u64,
    /// Keys that were past their expiry, and left out.
    pub expired: u64,
    /// Collections without elements, which older servers may have left behind.
    pub empty: u64,
}

impl Loaded {
    pub fn add(&mut self, other: Self) {
        self.keys += other.keys;
        self.expired += other.expired;
        self.empty += other.empty;
    }
}

/// Why a file cannot be loaded.
#[derive(Debug)]
pub enum LoadError {
    /// At this byte of the file.
    Format { offset: u64, error: Error },
    /// A key of a database that `databases` does not allow.
    Database(u64),
    /// A key whose value cannot be read.
    Value { database: u16, key: String, error: Error },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { offset, error } => write!(f, "at byte {offset}: {error}"),
            Self::Database(database) => {
                write!(f, "it has keys in database {database}; set `databases` to more than that")
            }
            Self::Value { database, key, error } => {
                write!(f, "the key '{key}' in database {database}: {error}")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Takes a file apart.
pub struct Loader {
    reader: FileReader,
    routes: Routes,
    batches: Vec<LoadBatch>,
    databases: u64,
    is_over: bool,
    /// The code of libraries of functions.
    pub functions: Vec<Vec<u8>>,
    /// Of modules whose data was passed over.
    pub modules: Vec<String>,
    /// How many keys the file says that it has.
    pub keys_expected: u64,
}

impl Loader {
    /// `checks`: whether the file's checksum must be right.
    pub fn new(shard_count: usize, databases: u32, checks: bool) -> Self {
        Self {
            reader: FileReader::new(checks),
            routes: Routes::in_blocks(shard_count),
            batches: (0..shard_count).map(|_| LoadBatch::new(Dialect::Redis)).collect(),
            databases: databases.into(),
            is_over: false,
            functions: Vec::new(),
            modules: Vec::new(),
            keys_expected: 0,
        }
    }

    /// Whether the file's end was read.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many bytes of the file were read.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// Reads items until a batch is full, the input ends within an item, or the file ends. Returns how many bytes
    /// were taken; with none, and no batch full, more input is needed.
    ///
    /// # Errors
    /// [`LoadError::Format`] and [`LoadError::Database`].
    pub fn read(&mut self, input: &[u8]) -> Result<usize, LoadError> {
        let mut taken = 0;
        while !self.is_over {
            let offset = self.reader.offset();
            let (item, len) = match self.reader.next(&input[taken..]) {
                Ok(read) => read,
                Err(Error::Short) => break,
                Err(error) => return Err(LoadError::Format { offset, error }),
            };
            taken += len;
            match item {
                Item::Key(item) => {
                    if item.database >= self.databases {
                        return Err(LoadError::Database(item.database));
                    }
                    let shard = self.routes.shard(SlotId::of_key(&item.key));
                    let batch = &mut self.batches[shard.index()];
                    batch.dialect = self.reader.dialect();
                    batch.push(DatabaseId(item.database as u16), &item);
                    if batch.is_full() {
                        break;
                    }
                }
                Item::Function(code) => self.functions.push(code.into_owned()),
                Item::ModuleData(name) => self.modules.push(name),
                Item::Sizes { keys, .. } => {
                    self.keys_expected = self.keys_expected.saturating_add(keys);
                }
                Item::Aux(..) | Item::Passed => {}
                Item::End => self.is_over = true,
            }
        }
        Ok(taken)
    }

    /// A batch that is full or, with `all`, that holds anything, and the shard that it is for.
    pub fn take_batch(&mut self, all: bool) -> Option<(ShardId, LoadBatch)> {
        let is_ready = |batch: &LoadBatch| batch.is_full() || all && !batch.items.is_empty();
        let index = self.batches.iter().position(is_ready)?;
        let empty = LoadBatch::new(self.reader.dialect());
        Some((ShardId(index as u16), std::mem::replace(&mut self.batches[index], empty)))
    }
}
