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
use std::sync::Arc;

use basalt_commands::CommandError;
use basalt_commands::config::Config;
use basalt_keyspace::{DatabaseId, Origin, ShardId, SlotId};
use basalt_rdb::{Dialect, Error, FileReader, Item, KeyItem, Trust, read_value};

use crate::completion::Ticket;
use crate::limits::LOAD_BATCH_BYTES;
use crate::slots::routes::Routes;

/// Keys for one shard, with their values as they lie in the file.
#[derive(Debug)]
pub struct LoadBatch {
    pub(crate) dialect: Dialect,
    bytes: Vec<u8>,
    items: Vec<LoadItem>,
    /// The code of all libraries of functions, once the file is over.
    pub(crate) functions: Vec<Vec<u8>>,
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
        Self { dialect, bytes: Vec::new(), items: Vec::new(), functions: Vec::new() }
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

/// A file that is to be loaded while the server runs.
pub struct LoadStart {
    pub path: String,
    /// What the journal holds is written to the file first, which is removed when it is read.
    pub journal: Option<LoadedJournal>,
    /// Makes what takes the file apart; called twice, since all of the file is checked before any of it is loaded.
    pub loader: Box<dyn Fn() -> Loader + Send>,
}

/// A journal that is to be loaded again.
#[derive(Clone, Debug)]
pub struct LoadedJournal {
    /// Up to which position of its present files, shard by shard. The kernel may not have all of that yet.
    pub ends: Vec<u64>,
    pub config: Arc<Config>,
}

/// What comes next of a file for a shard.
#[derive(Debug)]
pub enum LoadStep {
    Batch(LoadBatch),
    /// Nothing yet: it is to be asked for again.
    NotYet,
    /// All of it was handed over.
    End,
    /// Why the file cannot be loaded. Nothing came of it before, unless it changed while it was read.
    Failed(String),
}

/// What a shard knows of a file that is being loaded while the server runs.
#[derive(Default)]
pub(crate) struct Loading {
    /// A file to be handed to the World.
    pub(crate) start: Option<LoadStart>,
    pub(crate) part: Option<LoadPart>,
    /// How a load ended, for the coordination that waits for it.
    pub(crate) ended: Option<(Ticket, Result<(), String>)>,
    /// Of the last load.
    pub(crate) last: Loaded,
    /// At the start: what is loaded are commands of another server.
    pub(crate) imports: bool,
    /// At the start: a journal is begun although data is being loaded.
    pub(crate) begins_journal: bool,
}

/// This shard's part of a file, which it takes in as it comes.
pub(crate) struct LoadPart {
    /// The coordinations that wait for its end.
    pub(crate) waiter: (ShardId, Ticket),
    /// Databases are to be emptied before.
    pub(crate) flushes: bool,
    /// Keys that are there already are replaced.
    pub(crate) merges: bool,
    pub(crate) loaded: Loaded,
    /// Why it cannot be loaded; what is left of it is passed over.
    pub(crate) failure: Option<LoadError>,
    pub(crate) origin: Origin,
}

impl fmt::Debug for LoadStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadStart").field("path", &self.path).finish_non_exhaustive()
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
    /// A key that is there already.
    Duplicate { database: u16, key: String },
    /// A key whose value cannot be read.
    Value { database: u16, key: String, error: Error },
    /// A library of functions that cannot be loaded.
    Function(CommandError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { offset, error } => write!(f, "at byte {offset}: {error}"),
            Self::Database(database) => {
                write!(f, "it has keys in database {database}; set `databases` to more than that")
            }
            Self::Duplicate { database, key } => {
                write!(f, "the key '{key}' in database {database} is there already")
            }
            Self::Value { database, key, error } => {
                write!(f, "the key '{key}' in database {database}: {error}")
            }
            Self::Function(error) => {
                let text = String::from_utf8_lossy(error.as_bytes());
                write!(f, "a library of functions: {text}")
            }
        }
    }
}

impl std::error::Error for LoadError {}

/// Takes a file apart.
pub struct Loader {
    reader: FileReader,
    routes: Arc<Routes>,
    batches: Vec<LoadBatch>,
    databases: u64,
    is_over: bool,
    /// The code of libraries of functions.
    functions: Vec<Vec<u8>>,
    /// Of modules whose data was passed over.
    pub modules: Vec<String>,
    /// How many keys the file announces.
    pub keys_expected: u64,
}

impl Loader {
    /// `checks`: whether the file's checksum must be right.
    pub fn new(shard_count: usize, databases: u32, checks: bool) -> Self {
        Self::with_routes(Arc::new(Routes::in_blocks(shard_count)), databases, checks)
    }

    pub(crate) fn with_routes(routes: Arc<Routes>, databases: u32, checks: bool) -> Self {
        let shard_count = routes.shard_count();
        Self {
            reader: FileReader::new(checks),
            routes,
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
                Item::End => {
                    self.is_over = true;
                    for batch in &mut self.batches {
                        batch.functions.clone_from(&self.functions);
                    }
                }
            }
        }
        Ok(taken)
    }

    /// A batch that is full or, with `all`, that holds anything, and the shard that it is for.
    pub fn take_batch(&mut self, all: bool) -> Option<(ShardId, LoadBatch)> {
        let is_ready = |batch: &LoadBatch| {
            let holds_any = !batch.items.is_empty() || !batch.functions.is_empty();
            batch.is_full() || all && holds_any
        };
        let index = self.batches.iter().position(is_ready)?;
        let empty = LoadBatch::new(self.reader.dialect());
        Some((ShardId(index as u16), std::mem::replace(&mut self.batches[index], empty)))
    }
}

/// Reads all values of a batch and drops them: what is wrong with them is known before anything is loaded.
///
/// # Errors
/// [`LoadError::Value`] for the first one that cannot be read.
pub fn check_batch(batch: &LoadBatch, now_ms: u64) -> Result<Loaded, LoadError> {
    let mut checked = Loaded::default();
    for (database, item) in batch.items() {
        if item.expire_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            checked.expired += 1;
        }
        match read_value(item.number, item.value, (batch.dialect, Trust::Checksum), now_ms) {
            Ok(_) => checked.keys += 1,
            Err(Error::Expired) => checked.expired += 1,
            Err(Error::Empty) => checked.empty += 1,
            Err(error) => {
                let key = String::from_utf8_lossy(&item.key).into_owned();
                return Err(LoadError::Value { database: database.0, key, error });
            }
        }
    }
    Ok(checked)
}
