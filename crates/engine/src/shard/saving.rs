//! Saving on a shard: its part of a save, what the first shard keeps of all saves, and when save points ask for one.
//!
//! Not here: how a save goes over all shards (`core/saving.rs`), the file (`rdb`).

use basalt_commands::config::{LogLevel, SavePoint};
use basalt_keyspace::DatabaseId;

use super::Shard;
use crate::saving::{ChunkSink, SAVING_SHARD, SaveEnd, SaveStats, ShardSave, chunk_sink};

impl Shard {
    /// Begins this shard's part of a save; returns how many keys each database has, and how many of them expire.
    pub(crate) fn begin_save(&mut self, number: u64) -> Vec<(u64, u64)> {
        let sink = ChunkSink::new(&self.config, self.keyspace.use_reader(), self.now.unix_ms);
        self.keyspace.begin_snapshot(Box::new(sink));
        let changes = self.keyspace.stats.changes;
        self.saving.active =
            Some(ShardSave { number, may_send: false, is_handed_over: false, changes });
        let databases = 0..self.keyspace.database_count() as u16;
        let statistics = databases.map(|index| self.keyspace.statistics(DatabaseId(index)));
        statistics.map(|statistics| (statistics.keys as u64, statistics.expiring as u64)).collect()
    }

    pub(crate) fn send_save(&mut self, number: u64) {
        if let Some(active) = self.saving.active.as_mut().filter(|own| own.number == number) {
            active.may_send = true;
        }
    }

    pub(crate) fn save_stats(&mut self) -> SaveStats {
        let record = &self.saving.record;
        let now_us = self.now.monotonic_us;
        let running_s = record.running.map(|own| now_us.saturating_sub(own.begun_us) / 1_000_000);
        SaveStats {
            unsaved_changes: self.keyspace.stats.changes.saturating_sub(self.saving.saved_changes),
            running_s,
            last_saved_s: record.last_saved_s,
            last_failed: record.last_failed,
            last_took_s: record.last_took_s,
            saves: record.saves,
            loaded: self.loading.last,
            keys_written: chunk_sink(&mut self.keyspace).map_or(0, |sink| sink.keys),
        }
    }

    /// Wants a save if there were so many changes for so long as a save point says.
    pub(crate) fn consider_save_points(&mut self, changes: u64) {
        let now_s = self.now.unix_ms / 1000;
        let since_s = now_s.saturating_sub(self.saving.record.last_saved_s);
        let is_met = |point: &SavePoint| since_s > point.seconds && changes >= point.changes.max(1);
        if let Some(point) = self.config.save.0.iter().find(|point| is_met(point)).copied()
            && self.saving.record.begin(self.now.monotonic_us).is_some()
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
        let was_running = self.cancel_save();
        if self.config.save.0.is_empty() {
            return;
        }
        if was_running {
            self.saving.record.is_scheduled = true;
        } else {
            self.saving.record.begin(self.now.monotonic_us);
        }
    }

    /// Gives up the save that is running; returns whether one was.
    pub(crate) fn cancel_save(&mut self) -> bool {
        let record = &mut self.saving.record;
        record.is_scheduled = false;
        let Some(running) = record.running else { return false };
        self.saving.cancelled = Some((running.number, SaveEnd::Cancelled));
        true
    }
}
