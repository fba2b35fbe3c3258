//! Saving: what shards know of a snapshot that is being written to the disk, as a file of its own or as the bases with
//! which the journal begins anew.
//!
//! ```text
//! wanted (first shard) ──► all shards begin at one moment ──► each hands its chunks to the World
//!                                                         ──► the World says how it ended
//! ```
//!
//! Not here: which part of the data is written when (`keyspace::snapshot`), the format (`rdb`), files (`World`).

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_journal::{BaseWriter, FileHeader};
use basalt_keyspace::{
    DatabaseId, Effect, Entry, Keyspace, Record, ShardId, SnapshotSink, UseReader, idle_seconds,
};
use basalt_rdb::{FileWriter, KeyHints};

use crate::completion::Ticket;
use crate::limits::{
    REWRITE_FAILURES_FREE, REWRITE_PAUSE_MAX_US, REWRITE_PAUSE_US, SAVE_BACKLOG_BYTES_MAX,
    SAVE_CHUNK_BYTES, SAVE_POINTS_US,
};
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

/// What a save writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SaveKind {
    /// The snapshot file.
    Snapshot,
    /// Bases with which the journal begins anew.
    Rewrite,
}

/// A snapshot that is to be written.
#[derive(Clone, Debug)]
pub struct SaveStart {
    /// Higher than that of each before; that of the [`RewritePlan`] where it is a rewrite of the journal.
    pub number: u64,
    /// From how many shards chunks come.
    pub shards: usize,
    pub target: SaveTarget,
}

/// Where a snapshot goes.
#[derive(Clone, Debug)]
pub enum SaveTarget {
    /// One file, with what it begins with. A checksum ends it where that is wanted.
    File { path: String, head: Vec<u8>, has_checksum: bool },
    /// A base for each shard.
    Bases { positions: Vec<JournalStart> },
}

/// Where a shard's journal begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStart {
    /// The position of the first entry of its file.
    pub start: u64,
    /// The base holds what is before this position.
    pub from: u64,
}

/// A rewrite of the journal that is to be prepared: the files that shards write to from then on.
#[derive(Clone, Debug)]
pub struct RewritePlan {
    /// Higher than that of each save before.
    pub number: u64,
    pub shards: usize,
    /// There is no journal that counts until this one has its bases.
    pub begins: bool,
    /// The last rewrite whose files shards go on in; files of later ones are not wanted any more.
    pub last_taken: u64,
    pub config: Arc<Config>,
    pub now_ms: u64,
    pub salt: u64,
}

/// How far saves are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SaveProgress {
    /// The number of the last that was begun or prepared; 0 for none.
    pub number: u64,
    /// The files that a rewrite made for what comes after its moment.
    pub prepared: Option<Arc<[FileHeader]>>,
    /// How it ended; `None` while it is running.
    pub end: Option<SaveEnd>,
    /// How long the bases are that a rewrite made.
    pub base_bytes: Arc<[u64]>,
}

/// The shard that decides when to save.
pub(crate) const SAVING_SHARD: ShardId = ShardId(0);

/// How entries become bytes.
enum Encoder {
    Snapshot(FileWriter),
    Base { writer: BaseWriter, records: Vec<u8>, value: Vec<u8>, has_ended: bool },
}

/// Encodes the entries of a snapshot into chunks.
pub(crate) struct ChunkSink {
    encoder: Encoder,
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
    /// Of the snapshot file.
    pub(crate) fn of_snapshot(config: &Config, uses: UseReader, now_ms: u64) -> Self {
        let writer = FileWriter::new(config.rdb_target.into(), config.rdbcompression);
        Self::new(Encoder::Snapshot(writer), uses, now_ms)
    }

    /// Of the base that belongs to the journal with this header, with the state beside keys at its head.
    pub(crate) fn of_base(
        journal: FileHeader,
        state: Option<&[u8]>,
        uses: UseReader,
        now_ms: u64,
    ) -> Self {
        let (mut writer, mut chunk) = (BaseWriter::new(journal), Vec::new());
        if let Some(state) = state {
            writer.put_state(state, &mut chunk);
        }
        let (records, value) = (Vec::new(), Vec::new());
        let encoder = Encoder::Base { writer, records, value, has_ended: false };
        Self { queued_bytes: chunk.len(), chunk, ..Self::new(encoder, uses, now_ms) }
    }

    fn new(encoder: Encoder, uses: UseReader, now_ms: u64) -> Self {
        Self {
            encoder,
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
        if all {
            self.end_base();
        }
        if all && !self.chunk.is_empty() {
            self.full.push_back(std::mem::take(&mut self.chunk));
            // The next one names its database again, since others' chunks come between.
            self.database = None;
        }
        let chunk = self.full.pop_front()?;
        self.queued_bytes -= chunk.len();
        Some(chunk)
    }

    /// Writes what is left of a base, and its end.
    fn end_base(&mut self) {
        let Encoder::Base { writer, records, has_ended, .. } = &mut self.encoder else { return };
        if !*has_ended {
            *has_ended = true;
            let before = self.chunk.len();
            writer.put(records, &mut self.chunk);
            writer.end(&mut self.chunk);
            *records = Vec::new();
            self.queued_bytes += self.chunk.len() - before;
        }
    }

    fn write_to_snapshot(&mut self, database: DatabaseId, entry: &Entry) {
        let hints = self.hints(entry);
        let Encoder::Snapshot(writer) = &mut self.encoder else { return };
        if self.database != Some(database) {
            writer.put_database(database.0.into(), &mut self.chunk);
            self.database = Some(database);
        }
        match writer.put_key(entry, hints, &mut self.chunk) {
            Ok(None) => {}
            Ok(Some(loss)) => {
                let (_, count) = self.left_out.get_or_insert_with(|| (loss.to_string(), 0));
                *count += 1;
            }
            Err(loss) => {
                let (key, database) = (String::from_utf8_lossy(entry.key()), database.0);
                self.refusal = Some(format!(
                    "{loss} of the key '{key}' in database {database} have no form in rdb-target"
                ));
            }
        }
    }

    fn write_to_base(&mut self, database: DatabaseId, entry: &Entry) {
        let Encoder::Base { writer, records, value, .. } = &mut self.encoder else { return };
        let effect = Effect::copy_of(entry, value);
        Record::Key { database, key: entry.key(), effect }.encode(records);
        if records.len() >= SAVE_CHUNK_BYTES {
            writer.put(records, &mut self.chunk);
            records.clear();
            records.shrink_to(2 * SAVE_CHUNK_BYTES);
            value.shrink_to(SAVE_CHUNK_BYTES);
        }
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
        match self.encoder {
            Encoder::Snapshot(_) => self.write_to_snapshot(database, entry),
            Encoder::Base { .. } => self.write_to_base(database, entry),
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
    pub(crate) kind: SaveKind,
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
    pub(crate) kind: SaveKind,
    pub(crate) begun_us: u64,
    /// Nobody gets its error as a reply, so later writes do (Redis: `rdb_last_bgsave_status`).
    pub(crate) is_background: bool,
}

/// What the first shard knows of saves.
#[derive(Clone, Debug)]
pub(crate) struct SaveRecord {
    last_number: u64,
    pub(crate) running: Option<RunningSave>,
    /// A save that is to begin, and a rewrite whose files are being made.
    pub(crate) wanted: Option<(u64, SaveKind)>,
    pub(crate) preparing: Option<u64>,
    /// One is being begun on all shards.
    pub(crate) is_beginning: bool,
    pub(crate) rewrites: RewriteRecord,
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

/// What the first shard knows of rewrites of the journal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RewriteRecord {
    /// One is to begin when the running save has ended.
    pub(crate) is_scheduled: bool,
    /// There is a journal, but no base for it yet.
    pub(crate) needs_base: bool,
    /// The one under way makes a base for a journal that has none.
    pub(crate) begins: bool,
    /// The last whose files shards go on in: none does while nothing is journaled.
    pub(crate) last_taken: u64,
    pub(crate) last_failed: bool,
    pub(crate) failures: u32,
    pub(crate) last_took_s: Option<u64>,
    pub(crate) last_tried_us: u64,
    pub(crate) rewrites: u64,
}

impl RewriteRecord {
    /// Whether so many failed in a row that the next one waits.
    fn is_limited(&self, now_us: u64) -> bool {
        let pause_us = match self.failures.checked_sub(REWRITE_FAILURES_FREE) {
            // One that is needed for every start is tried again soon.
            None => {
                if self.failures > 0 {
                    SAVE_POINTS_US
                } else {
                    0
                }
            }
            Some(more) => {
                REWRITE_PAUSE_US.saturating_mul(1 << more.min(32)).min(REWRITE_PAUSE_MAX_US)
            }
        };
        now_us < self.last_tried_us + pause_us
    }

    /// Whether the journal has grown so much that it should be rewritten.
    pub(crate) fn is_due(
        &self,
        config: &Config,
        ((bytes, rewritten), needs_base): ((u64, u64), bool),
        now_us: u64,
    ) -> bool {
        if self.is_limited(now_us) {
            return false;
        }
        let percentage = u64::from(config.auto_aof_rewrite_percentage);
        let growth = bytes.saturating_sub(rewritten).saturating_mul(100) / rewritten.max(1);
        let is_grown =
            percentage > 0 && bytes > config.auto_aof_rewrite_min_size && growth >= percentage;
        needs_base || config.appendonly && is_grown
    }
}

/// What INFO shows of saves; all but the changes as the first shard knows it.
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
    pub rewrite: RewriteStats,
}

/// What INFO shows of rewrites of the journal, as the first shard knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RewriteStats {
    /// Seconds since the running one began; `None` while none is running.
    pub running_s: Option<u64>,
    pub is_scheduled: bool,
    pub last_failed: bool,
    pub last_took_s: Option<u64>,
    pub rewrites: u64,
    /// How many failed since the last that succeeded.
    pub failures: u32,
}

/// What a shard knows of saves.
pub(crate) struct Saving {
    /// The last snapshot failed; kept on every shard.
    pub(crate) has_failed: bool,
    pub(crate) active: Option<ShardSave>,
    pub(crate) waits: Vec<SaveWait>,
    /// The head of a file, to be handed to the World.
    pub(crate) head: Option<(u64, SaveTarget)>,
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
            has_failed: false,
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
                preparing: None,
                is_beginning: false,
                rewrites: RewriteRecord::default(),
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
    pub(crate) fn begin(&mut self, kind: SaveKind, now_us: u64) -> Option<u64> {
        let number = self.begin_held(kind, now_us)?;
        self.wanted = Some((number, kind));
        self.running.as_mut()?.is_background = true;
        Some(number)
    }

    /// The same for one who holds all shards already, and begins it himself.
    pub(crate) fn begin_held(&mut self, kind: SaveKind, now_us: u64) -> Option<u64> {
        if self.running.is_some() {
            return None;
        }
        self.last_number += 1;
        let number = self.last_number;
        self.running = Some(RunningSave { number, kind, begun_us: now_us, is_background: false });
        match kind {
            SaveKind::Snapshot => self.is_scheduled = false,
            SaveKind::Rewrite => self.rewrites.is_scheduled = false,
        }
        Some(number)
    }

    /// Begins a rewrite of the journal, or has it begin when the running save has ended. Returns whether it has begun.
    pub(crate) fn begin_rewrite(&mut self, now_us: u64) -> bool {
        let has_begun = self.begin(SaveKind::Rewrite, now_us).is_some();
        self.rewrites.is_scheduled |= !has_begun;
        has_begun
    }

    pub(crate) fn runs(&self, kind: SaveKind) -> bool {
        self.running.is_some_and(|running| running.kind == kind)
    }
}

/// The sink of the snapshot that a shard is writing.
pub(crate) fn chunk_sink(keyspace: &mut Keyspace) -> Option<&mut ChunkSink> {
    let sink = keyspace.snapshot_sink()?;
    let sink: &mut dyn Any = sink;
    sink.downcast_mut()
}
