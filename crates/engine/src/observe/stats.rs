//! Stats: what a shard counts since start or CONFIG RESETSTAT, for INFO and the metrics page.

use std::collections::BTreeMap;

use crate::observe::histogram::Histogram;

/// LIMIT: kinds of errors that are counted each for itself.
const ERROR_KINDS_MAX: usize = 128;

/// Counters of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardStats {
    pub connections: u64,
    /// Commands that other shards' sessions sent here.
    pub commands_from_others: u64,
    /// Requests of this shard's sessions that took the fast path, on whichever shard they ran.
    pub fast_path: u64,
    pub error_replies: u64,
    /// Error replies by their first word.
    pub errors: BTreeMap<String, u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Pieces of input that were worked, and pieces of output that were taken.
    pub reads: u64,
    pub writes: u64,
    /// Microseconds that went to expiry and to freeing.
    pub maintenance_us: u64,
    /// Messages that this shard ordered, and those that it wrote into outputs of its sessions.
    pub published: u64,
    pub delivered: u64,
    /// Subscribers that were cut off: they did not read, or missed a message that found no room on its way.
    pub subscribers_cut_off: u64,
    /// Messages to tracking clients that keys have changed.
    pub invalidations: u64,
    /// Microseconds during which all shards together exceeded `maxmemory`, as far as this one saw it.
    pub eviction_exceeded_us: u64,
    /// Wrong passwords.
    pub refused_logins: u64,
    pub messages_out: u64,
    pub output_limit_disconnections: u64,
    pub query_limit_disconnections: u64,
    /// Clients that were cut off because of `maxmemory-clients`.
    pub evicted_clients: u64,
    /// Slots that came from other shards.
    pub slots_moved: u64,
    /// The longest that the shard stood still for that.
    pub still_us_max: u64,
    pub transactions: TransactionStats,
}

/// What a shard counts of transactions: those that began at its sessions, and the visits that it had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionStats {
    /// EXECs and commands over several keys that ran as one call on one shard.
    pub on_one_shard: u64,
    /// That held keys of several shards.
    pub on_several_shards: u64,
    /// That held everything, on all shards.
    pub on_all_shards: u64,
    /// Visits and plain commands that met an intent here and had to wait.
    pub waits: u64,
    /// Grants that went back to one with a lower number.
    pub given_back: u64,
    /// How long visits held what they were granted, in steps of turns.
    pub held: Histogram,
    pub held_max_us: u64,
}

impl ShardStats {
    /// Counts an error reply; its text has no minus sign in front.
    #[cold]
    pub(crate) fn count_error(&mut self, text: &[u8]) {
        self.error_replies += 1;
        let word = text.split(|byte| *byte == b' ').next().unwrap_or_default();
        let kind = String::from_utf8_lossy(word);
        if let Some(count) = self.errors.get_mut(kind.as_ref()) {
            *count += 1;
        } else if self.errors.len() < ERROR_KINDS_MAX {
            self.errors.insert(kind.into_owned(), 1);
        }
    }

    /// Adds another shard's counters.
    pub fn absorb(&mut self, other: &Self) {
        self.connections += other.connections;
        self.commands_from_others += other.commands_from_others;
        self.fast_path += other.fast_path;
        self.error_replies += other.error_replies;
        for (kind, count) in &other.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.reads += other.reads;
        self.writes += other.writes;
        self.maintenance_us += other.maintenance_us;
        self.published += other.published;
        self.delivered += other.delivered;
        self.subscribers_cut_off += other.subscribers_cut_off;
        self.invalidations += other.invalidations;
        self.eviction_exceeded_us = self.eviction_exceeded_us.max(other.eviction_exceeded_us);
        self.refused_logins += other.refused_logins;
        self.messages_out += other.messages_out;
        self.output_limit_disconnections += other.output_limit_disconnections;
        self.query_limit_disconnections += other.query_limit_disconnections;
        self.evicted_clients += other.evicted_clients;
        self.slots_moved += other.slots_moved;
        self.still_us_max = self.still_us_max.max(other.still_us_max);
        self.transactions.absorb(&other.transactions);
    }
}

impl TransactionStats {
    /// A visit ended that held its intents for so long.
    pub(crate) fn count_held(&mut self, us: u64) {
        self.held.add(us.saturating_mul(1000), 1);
        self.held_max_us = self.held_max_us.max(us);
    }

    fn absorb(&mut self, other: &Self) {
        self.on_one_shard += other.on_one_shard;
        self.on_several_shards += other.on_several_shards;
        self.on_all_shards += other.on_all_shards;
        self.waits += other.waits;
        self.given_back += other.given_back;
        self.held.absorb(&other.held);
        self.held_max_us = self.held_max_us.max(other.held_max_us);
    }
}
