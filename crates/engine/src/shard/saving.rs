//! Saving on a shard: its part of a save or of a rewrite of the journal, what the first shard keeps of all of them, and
//! when save points, or the journal's growth, ask for one.
//!
//! Not here: how a save goes over all shards (`core/saving.rs`), the file (`rdb`).

use basalt_commands::config::{LogLevel, SavePoint};
use basalt_journal::FileHeader;
use basalt_keyspace::DatabaseId;

use super::Shard;
use crate::journal::Journal;
use crate::limits;
use crate::saving::{
    ChunkSink, JournalStart, RewriteStats, SAVING_SHARD, SaveEnd, SaveKind, SaveStats, ShardSave,
    chunk_sink,
};

impl Shard {
    /// Begins this shard's part of a save; returns how many keys each database has, and how many of them expire.
    pub(crate) fn begin_save(&mut self, number: u64) -> Vec<(u64, u64)> {
        let uses = self.keyspace.use_reader();
        let sink = ChunkSink::of_snapshot(&self.config, uses, self.now.unix_ms);
        self.begin_walk(number, SaveKind::Snapshot, sink);
        let databases = 0..self.keyspace.database_count() as u16;
        let statistics = databases.map(|index| self.keyspace.statistics(DatabaseId(index)));
        statistics.map(|statistics| (statistics.keys as u64, statistics.expiring as u64)).collect()
    }

    fn begin_walk(&mut self, number: u64, kind: SaveKind, sink: ChunkSink) {
        self.keyspace.begin_snapshot(Box::new(sink));
        let changes = self.keyspace.stats.changes;
        self.saving.active =
            Some(ShardSave { number, kind, may_send: false, is_handed_over: false, changes });
    }

    /// Has the journal go on in the file that was made for a rewrite, or begin with it, if the rewrite makes a base for
    /// one that begins.
    pub(crate) fn begin_journal_file(&mut self, number: u64, header: FileHeader, begins: bool) {
        let is_off = self.journal.as_ref().is_some_and(|journal| journal.is_turned_off());
        if is_off && begins {
            self.drop_journal();
        }
        match &mut self.journal {
            Some(_) if is_off && !begins => {}
            Some(journal) => journal.begin_file(number, header, &mut self.keyspace, self.now),
            None if begins && self.config.appendonly => {
                let how = (self.config.appendfsync, self.journal_end());
                let journal = Journal::begin_next(number, header, how, &mut self.keyspace);
                self.journal = Some(Box::new(journal));
            }
            None => {}
        }
    }

    /// Begins this shard's part of a rewrite: what is there now is written to a base.
    pub(crate) fn begin_base(&mut self, number: u64, header: FileHeader) -> JournalStart {
        self.take_in_records(false);
        let uses = self.keyspace.use_reader();
        // The first shard's has the libraries of functions.
        let compresses = self.config.rdbcompression;
        let state = (self.id == SAVING_SHARD).then(|| self.scripting.libraries.dump(compresses));
        let sink = ChunkSink::of_base(header, state.as_deref(), uses, self.now.unix_ms);
        self.begin_walk(number, SaveKind::Rewrite, sink);
        let from = self.journal_end();
        JournalStart { start: self.journal.as_ref().map_or(from, |own| own.file_start()), from }
    }

    pub(crate) fn send_save(&mut self, number: u64) {
        if let Some(active) = self.saving.active.as_mut().filter(|own| own.number == number) {
            active.may_send = true;
        }
    }

    pub(crate) fn save_stats(&mut self) -> SaveStats {
        let record = &self.saving.record;
        let now_us = self.now.monotonic_us;
        let running_s = |kind: SaveKind| {
            let running = record.running.filter(|running| running.kind == kind);
            running.map(|own| now_us.saturating_sub(own.begun_us) / 1_000_000)
        };
        let rewrites = &record.rewrites;
        let rewrite = RewriteStats {
            running_s: running_s(SaveKind::Rewrite),
            is_scheduled: rewrites.is_scheduled,
            last_failed: rewrites.last_failed,
            last_took_s: rewrites.last_took_s,
            rewrites: rewrites.rewrites,
            failures: rewrites.failures,
        };
        SaveStats {
            rewrite,
            unsaved_changes: self.keyspace.stats.changes.saturating_sub(self.saving.saved_changes),
            running_s: running_s(SaveKind::Snapshot),
            last_saved_s: record.last_saved_s,
            last_failed: record.last_failed,
            last_took_s: record.last_took_s,
            saves: record.saves,
            loaded: self.loading.last,
            keys_written: chunk_sink(&mut self.keyspace).map_or(0, |sink| sink.keys),
        }
    }

    /// Wants a rewrite of the journal if it has grown so much since the last, or has a shard's part that has no base.
    pub(crate) fn consider_rewrite(&mut self, bytes: (u64, u64), have_bases: bool) {
        let now_us = self.now.monotonic_us;
        let record = &mut self.saving.record;
        let needs_base = record.rewrites.needs_base || (self.config.appendonly && !have_bases);
        let is_due = record.rewrites.is_due(&self.config, (bytes, needs_base), now_us);
        if record.running.is_none() && is_due {
            let line = match needs_base {
                true => "The journal needs a base: it is written now".to_owned(),
                false => {
                    let growth = bytes.0.saturating_sub(bytes.1) * 100 / bytes.1.max(1);
                    format!("Starting automatic rewriting of AOF on {growth}% growth")
                }
            };
            self.notes.push((LogLevel::Notice, line));
            record.begin(SaveKind::Rewrite, now_us);
        }
    }

    /// Asks for a save if a save point's number of changes is reached within its time.
    pub(crate) fn consider_save_points(&mut self, changes: u64) {
        let (now_us, now_s) = (self.now.monotonic_us, self.now.unix_ms / 1000);
        let record = &self.saving.record;
        if record.last_failed && now_us < record.last_tried_us + limits::SAVE_RETRY_US {
            return;
        }
        let since_s = now_s.saturating_sub(self.saving.record.last_saved_s);
        let is_met = |point: &SavePoint| since_s > point.seconds && changes >= point.changes.max(1);
        if let Some(point) = self.config.save.0.iter().find(|point| is_met(point)).copied()
            && self.saving.record.begin(SaveKind::Snapshot, now_us).is_some()
        {
            let line = format!("{} changes in {} seconds. Saving...", point.changes, point.seconds);
            self.notes.push((LogLevel::Notice, line));
        }
    }

    /// All was flushed: as in Redis, a save that is running is given up, and with save points that there is nothing is
    /// saved.
    pub(crate) fn save_after_flush(&mut self) {
        if self.id != SAVING_SHARD {
            return;
        }
        if self.saving.record.runs(SaveKind::Snapshot) {
            self.cancel_save();
        }
        if self.config.save.0.is_empty() {
            return;
        }
        let record = &mut self.saving.record;
        if record.begin(SaveKind::Snapshot, self.now.monotonic_us).is_none() {
            record.is_scheduled = true;
        }
    }

    /// Gives up the save that is running; returns whether one was.
    pub(crate) fn cancel_save(&mut self) -> bool {
        let record = &mut self.saving.record;
        record.is_scheduled &= record.runs(SaveKind::Rewrite);
        let Some(running) = record.running else { return false };
        self.saving.cancelled = Some((running.number, SaveEnd::Cancelled));
        true
    }
}
