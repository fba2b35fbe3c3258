//! Statistics: what one shard reports, for INFO and the metrics page.
//!
//! Taken on the shard in one go, from counters that are kept anyway. What would take longer the more clients
//! there are is told exactly to INFO, which is a command like others, and from the last looks at the
//! sessions to the metrics page, which must hold nobody up.

use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_commands::table;
use basalt_keyspace::{BigKey, DatabaseId, DatabaseStats, KeyspaceStats, ShardId};

use super::Core;
use crate::journal::JournalStats;
use crate::limits;
use crate::observe::command_stats::Book;
use crate::observe::hot_keys::HotKey;
use crate::observe::rates::Rate;
use crate::observe::stats::ShardStats;
use crate::saving::SaveStats;
use crate::session::SessionSums;
use crate::shard::Shard;

/// What one shard reports.
#[derive(Clone, Debug, Default)]
pub struct ShardSnapshot {
    /// The moment (monotonic µs) that they are true of.
    pub at_us: u64,
    pub config: Arc<Config>,
    pub stats: ShardStats,
    /// Of each command that was called or refused, by the numbers of the rows.
    pub books: Vec<(u16, Book)>,
    pub keyspace: KeyspaceStats,
    pub saves: SaveStats,
    pub databases: Vec<DatabaseStats>,
    pub rate: Rate,
    pub clients: ClientStats,
    pub transactions: VisitStats,
    /// Of all data.
    pub data_bytes: usize,
    /// Of data, sessions and what of the journal is not written yet.
    pub used_bytes: usize,
    pub used_bytes_peak: usize,
    /// `maxmemory` in bytes.
    pub maxmemory: u64,
    /// What is kept to where memory runs out before that; 0 where it doesn't.
    pub memory_cap: u64,
    /// How long all shards together have exceeded `maxmemory` now (microseconds).
    pub eviction_exceeded_now_us: u64,
    /// Milliseconds since something should have expired that has not.
    pub expiry_overdue_ms: u64,
    pub slow_requests: usize,
    /// Values that were removed and are still to be freed.
    pub free_pending: u64,
    /// Where every change is journaled.
    pub journal: Option<JournalStats>,
    pub scripts: ScriptStats,
    /// The keys that are used most.
    pub hot_keys: Vec<HotKey>,
    /// The largest values of each type.
    pub big_keys: Vec<BigKey>,
}

/// What a shard knows of scripts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptStats {
    /// Libraries, their functions, and bytes of their texts, which all shards share.
    pub libraries: usize,
    pub functions: usize,
    pub library_bytes: usize,
    pub known: usize,
    pub text_bytes: usize,
    pub interpreter_bytes: usize,
    pub evicted: u64,
}

/// What is known of a shard's clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStats {
    pub connected: usize,
    /// In a blocking command, or held back by CLIENT PAUSE.
    pub blocked: usize,
    /// In a blocking command that has a timeout.
    pub with_timeout: usize,
    /// Keys with a waiter.
    pub awaited_keys: usize,
    /// How many of these have a waiter that must also be woken if the key is deleted.
    pub awaited_keys_of_groups: usize,
    /// Channels with subscribers; those that all shards know are counted on the first.
    pub channels: usize,
    /// Patterns, which all shards know.
    pub patterns: usize,
    pub shard_channels: usize,
    /// Keys that clients track, and how many do, each counted for each key; prefixes, which all shards know.
    pub tracked_keys: usize,
    pub tracked_items: usize,
    pub tracked_prefixes: usize,
    pub sums: SessionSums,
}

/// The visits of a shard at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VisitStats {
    /// They hold what they came for.
    pub holding: usize,
    pub waiting: usize,
    /// Age of the oldest transaction among them.
    pub oldest_us: u64,
}

/// The name of a command by the number of its row.
pub fn command_name(number: u16) -> &'static str {
    table::rows()[usize::from(number)].name
}

impl ShardSnapshot {
    /// What of the journal is not written yet.
    pub(crate) fn journal_bytes(&self) -> usize {
        self.journal.map_or(0, |journal| journal.unwritten_bytes as usize)
    }

    /// With all sessions as they are now; hot and big keys only where they are wanted.
    pub(crate) fn exact(shard: &mut Shard, with_histograms: bool, with_keys: bool) -> Self {
        let mut sums = SessionSums::default();
        shard.sessions.iter().for_each(|session| sums.add(session));
        let snapshot = Self::of(shard, with_histograms, sums, usize::MAX);
        if with_keys { snapshot.with_keys(shard) } else { snapshot }
    }

    /// Adds the hot and the big keys.
    fn with_keys(mut self, shard: &mut Shard) -> Self {
        let count = shard.config.metrics_top_keys as usize;
        self.hot_keys = shard.hot_keys.uses.hottest(shard.now.unix_ms, count);
        self.big_keys = shard.keyspace.big_keys(count);
        self
    }

    fn of(
        shard: &mut Shard,
        with_histograms: bool,
        sums: SessionSums,
        databases_max: usize,
    ) -> Self {
        let (now, keyspace) = (shard.now, &shard.keyspace);
        let databases = keyspace.database_count().min(databases_max) as u16;
        let databases =
            (0..databases).map(|index| keyspace.statistics(DatabaseId(index))).collect();
        let data_bytes = keyspace.used_bytes();
        let journal = shard.journal.as_ref().map(|journal| journal.statistics());
        let journal_bytes = journal.map_or(0, |journal| journal.unwritten_bytes as usize);
        let used_bytes = data_bytes + sums.bytes + journal_bytes;
        shard.used_bytes_peak = shard.used_bytes_peak.max(used_bytes);
        let due_ms = shard.keyspace.next_expiry_ms();
        let oldest = shard.intents.oldest();
        let waiting = shard.waiting.statistics();
        let tracked = shard.keyspace.tracked();
        let topics = shard.pubsub.directory.counts(shard.id == ShardId(0));
        Self {
            journal,
            at_us: now.monotonic_us,
            config: Arc::clone(&shard.config),
            stats: shard.stats.clone(),
            books: shard.command_stats.books(with_histograms),
            keyspace: shard.keyspace.stats,
            saves: shard.save_stats(),
            databases,
            rate: shard.rates.now(&shard.stats, shard.command_stats.calls(), now.monotonic_us),
            clients: ClientStats {
                connected: shard.sessions.len(),
                blocked: sums.held + waiting.sessions,
                with_timeout: waiting.sessions_with_deadline,
                awaited_keys: waiting.keys,
                awaited_keys_of_groups: waiting.keys_of_groups,
                channels: topics.0,
                patterns: topics.1,
                shard_channels: topics.2,
                tracked_keys: tracked.0,
                tracked_items: tracked.1,
                tracked_prefixes: shard.pubsub.prefixes.len(),
                sums,
            },
            transactions: VisitStats {
                holding: shard.intents.granted_count(),
                waiting: shard.intents.waiting_count(),
                oldest_us: oldest
                    .map_or(0, |oldest| now.monotonic_us.saturating_sub(oldest.at_us())),
            },
            data_bytes,
            used_bytes,
            used_bytes_peak: shard.used_bytes_peak,
            maxmemory: shard.maxmemory(),
            memory_cap: shard.pressure.cap_bytes(),
            eviction_exceeded_now_us: shard
                .exceeded_since_us
                .map_or(0, |since_us| now.monotonic_us.saturating_sub(since_us)),
            scripts: ScriptStats {
                known: shard.scripting.count(),
                text_bytes: shard.scripting.text_bytes(),
                interpreter_bytes: shard.scripting.interpreter_bytes(),
                libraries: shard.scripting.libraries.len(),
                functions: shard.scripting.libraries.function_count(),
                library_bytes: shard.scripting.libraries.text_bytes,
                evicted: shard.scripting.evicted,
            },
            expiry_overdue_ms: due_ms.map_or(0, |due_ms| now.unix_ms.saturating_sub(due_ms)),
            slow_requests: shard.slowlog.len(),
            free_pending: shard.keyspace.lazy_free_objects(),
            hot_keys: Vec::new(),
            big_keys: Vec::new(),
        }
    }
}

impl Core {
    /// What the shard reports, in a time that does not grow with clients or data.
    pub fn snapshot(&mut self) -> ShardSnapshot {
        let shard = &mut self.shard;
        let mut sums = SessionSums::default();
        if shard.sessions.len() > limits::SESSION_CHECK_MAX {
            sums = shard.sessions_seen;
        } else {
            shard.sessions.iter().for_each(|session| sums.add(session));
        }
        ShardSnapshot::of(shard, true, sums, limits::STATS_DATABASES_MAX).with_keys(shard)
    }
}
