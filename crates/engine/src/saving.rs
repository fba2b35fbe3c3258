//! Saving: what shards know of a snapshot that is being written to the disk.
//!
//! ```text
//! wanted (first shard) ──► all shards begin at one moment ──► each hands its chunks to the World
//!                                                         ──► the World says how it ended
//! ```
//!
//! Not here: which part of the data is written when (`keyspace::snapshot`), the format (`rdb`), files (`World`).

use std::any::Any;
use std::collections::VecDeque;

use basalt_commands::config::Config;
use basalt_keyspace::{
    DatabaseId, Entry, Keyspace, ShardId, SnapshotSink, UseReader, idle_seconds,
};
use basalt_rdb::{FileWriter, KeyHints};

use crate::completion::Ticket;
use crate::limits::{SAVE_BACKLOG_BYTES_MAX, SAVE_CHUNK_BYTES};
use crate::loading::Loaded;

/// How SHUTDOWN was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownRequest {
    /// `Some(true)` for SAVE, `Some(false)` for NOSAVE, `None` where the configuration decides.
    pub save: Option<bool>,
    /// Don't wait for replicas.
    pub now: bool,
    /// Stop even where a save fails.
    pub force: bool,
}

/// How a save ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaveEnd {
    /// It is on the disk, under its name.
    Saved,
    /// Why not; the file of before is untouched.
    Failed(String),
    Cancelled,
}

/// A snapshot file that is to be written.
#[derive(Clone, Debug)]
pub struct SaveStart {
    /// Higher than that of each before.
    pub number: u64,
    /// What the file begins with.
    pub head: Vec<u8>,
    /// From how many shards chunks come.
    pub shards: usize,
    pub path: String,
    /// Whether it ends with a checksum.
    pub has_checksum: bool,
}

/// How far saves are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveProgress {
    /// The number of the last that was begun; 0 for none.
    pub number: u64,
    /// How it ended; `None` while it is running.
    pub end: Option<SaveEnd>,
}

/// The shard that decides when to save.
pub(crate) const SAVING_SHARD: ShardId = ShardId(0);

/// Encodes the entries of a snapshot into chunks.
pub(crate) struct ChunkSink {
    writer: FileWriter,
    database: Option<DatabaseId>,
    chunk: Vec<u8>,
    full: VecDeque<Vec<u8>>,
    queued_bytes: usize,
    pub(crate) keys: u64,
    uses: UseReader,
    now_ms: u64,
    /// Why the snapshot cannot be written.
    pub(crate) refusal: Option<String>,
    /// What was left out, of how many keys.
    pub(crate) left_out: Option<(String, u64)>,
}

impl ChunkSink {
    pub(crate) fn new(config: &Config, uses: UseReader, now_ms: u64) -> Self {
        Self {
            writer: FileWriter::new(config.rdb_target.into(), config.rdbcompression),
            database: None,
            chunk: Vec::new(),
            full: VecDeque::new(),
            queued_bytes: 0,
            keys: 0,
            uses,
            now_ms,
            refusal: None,
            left_out: None,
        }
    }

    fn hints(&self, entry: &Entry) -> KeyHints {
        match self.uses.counter(entry.access()) {
            None => {
                let seconds = idle_seconds(entry.access(), self.now_ms);
                KeyHints { idle_seconds: Some(seconds.into()), frequency: None }
            }
            Some(counter) => KeyHints { idle_seconds: None, frequency: u8::try_from(counter).ok() },
        }
    }

    /// A chunk to be handed over; with `all` also one that is not full.
    pub(crate) fn take_chunk(&mut self, all: bool) -> Option<Vec<u8>> {
        if all && !self.chunk.is_empty() {
            self.full.push_back(std::mem::take(&mut self.chunk));
            // The next one says its database again, since others' chunks come between.
            self.database = None;
        }
        let chunk = self.full.pop_front()?;
        self.queued_bytes -= chunk.len();
        Some(chunk)
    }

    /// Puts a chunk back that nobody takes now.
    pub(crate) fn put_back(&mut self, chunk: Vec<u8>) {
        self.queued_bytes += chunk.len();
        self.full.push_front(chunk);
    }
}

impl SnapshotSink for ChunkSink {
    fn write(&mut self, database: DatabaseId, entry: &Entry) {
        if self.refusal.is_some() {
            return;
        }
        let before = self.chunk.len();
        if self.database != Some(database) {
            self.writer.put_database(database.0.into(), &mut self.chunk);
            self.database = Some(database);
        }
        let hints = self.hints(entry);
        let key = || String::from_utf8_lossy(entry.key()).into_owned();
        match self.writer.put_key(entry, hints, &mut self.chunk) {
            Ok(None) => {}
            Ok(Some(loss)) => {
                let (_, count) = self.left_out.get_or_insert_with(|| (loss.to_string(), 0));
                *count += 1;
            }
            Err(loss) => {
                let database = database.0;
                self.refusal = Some(format!(
                    "{loss} of the key '{}' in database {database} have no form in rdb-target",
                    key()
                ));
            }
        }
        self.keys += 1;
        self.queued_bytes += self.chunk.len() - before;
        if self.chunk.len() >= SAVE_CHUNK_BYTES {
            self.full.push_back(std::mem::take(&mut self.chunk));
            self.database = None;
        }
        if self.queued_bytes > SAVE_BACKLOG_BYTES_MAX {
            self.refusal = Some("the disk is slower than the changes of the data".to_owned());
        }
    }
}

/// A shard's part of a save.
pub(crate) struct ShardSave {
    pub(crate) number: u64,
    /// The head of the file is written, so chunks may follow.
    pub(crate) may_send: bool,
    /// All is written, and the end is awaited.
    pub(crate) is_handed_over: bool,
    /// How many changes there had been when it began.
    pub(crate) changes: u64,
}

/// A coordination that waits for a save.
pub(crate) struct SaveWait {
    pub(crate) number: u64,
    pub(crate) ticket: Ticket,
    /// It waits for the end, not only for the beginning.
    pub(crate) until_end: bool,
}

/// A save that the first shard has decided on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningSave {
    pub(crate) number: u64,
    pub(crate) begun_us: u64,
}

/// What the first shard knows of saves.
#[derive(Clone, Debug)]
pub(crate) struct SaveRecord {
    last_number: u64,
    pub(crate) running: Option<RunningSave>,
    /// A save that is to begin.
    pub(crate) wanted: Option<u64>,
    /// One more is to begin when the running one has ended.
    pub(crate) is_scheduled: bool,
    /// Seconds since 1970 of the last one that succeeded, or of the start.
    pub(crate) last_saved_s: u64,
    pub(crate) last_failed: bool,
    pub(crate) last_took_s: Option<u64>,
    /// When the last one ended, whether it succeeded or not.
    pub(crate) last_tried_us: u64,
    pub(crate) saves: u64,
    /// When the save points were last looked at.
    pub(crate) looked_us: u64,
}

/// What INFO says of saves; all but the changes as the first shard knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaveStats {
    /// Changes of this shard that are not on the disk.
    pub unsaved_changes: u64,
    /// Keys of this shard that the running save has written.
    pub keys_written: u64,
    /// Seconds since the running save began; `None` while none is running.
    pub running_s: Option<u64>,
    /// Seconds since 1970 of the last one that succeeded, or of the start.
    pub last_saved_s: u64,
    pub last_failed: bool,
    pub last_took_s: Option<u64>,
    pub saves: u64,
    /// What this shard took in of the last file that was loaded.
    pub loaded: Loaded,
}

/// What a shard knows of saves.
pub(crate) struct Saving {
    pub(crate) active: Option<ShardSave>,
    pub(crate) waits: Vec<SaveWait>,
    /// The head of a file, to be handed to the World.
    pub(crate) head: Option<(u64, Vec<u8>)>,
    /// A save that is to be given up.
    pub(crate) cancelled: Option<(u64, SaveEnd)>,
    /// The process is to end now.
    pub(crate) shuts_down: Option<ShutdownRequest>,
    /// Changes up to here are on the disk.
    pub(crate) saved_changes: u64,
    /// On the first shard.
    pub(crate) record: SaveRecord,
}

impl Saving {
    pub(crate) fn new(now_s: u64) -> Self {
        Self {
            active: None,
            waits: Vec::new(),
            head: None,
            cancelled: None,
            shuts_down: None,
            saved_changes: 0,
            record: SaveRecord {
                last_number: 0,
                running: None,
                wanted: None,
                is_scheduled: false,
                last_saved_s: now_s,
                last_failed: false,
                last_took_s: None,
                last_tried_us: 0,
                saves: 0,
                looked_us: 0,
            },
        }
    }

    /// Whether nothing of saves is to be done in a turn.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.active.is_none()
            && self.waits.is_empty()
            && self.head.is_none()
            && self.cancelled.is_none()
            && self.shuts_down.is_none()
            && self.record.wanted.is_none()
            && self.record.running.is_none()
    }
}

impl SaveRecord {
    /// Decides that a save begins, and returns its number; `None` while one is running.
    pub(crate) fn begin(&mut self, now_us: u64) -> Option<u64> {
        let number = self.begin_held(now_us)?;
        self.wanted = Some(number);
        Some(number)
    }

    /// The same for one who holds all shards already, and begins it himself.
    pub(crate) fn begin_held(&mut self, now_us: u64) -> Option<u64> {
        if self.running.is_some() {
            return None;
        }
        self.last_number += 1;
        let number = self.last_number;
        self.running = Some(RunningSave { number, begun_us: now_us });
        self.is_scheduled = false;
        Some(number)
    }
}

/// The sink of the snapshot that a shard is writing.
pub(crate) fn chunk_sink(keyspace: &mut Keyspace) -> Option<&mut ChunkSink> {
    let sink = keyspace.snapshot_sink()?;
    let sink: &mut dyn Any = sink;
    sink.downcast_mut()
}
