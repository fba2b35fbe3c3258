//! Stats: what a shard counts since start or CONFIG RESETSTAT, for INFO.

use std::collections::BTreeMap;

/// LIMIT: kinds of errors that are counted each for itself.
const ERROR_KINDS_MAX: usize = 128;

/// Counters of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardStats {
    pub connections: u64,
    /// Commands that other shards' sessions sent here.
    pub commands_from_others: u64,
    pub error_replies: u64,
    /// Error replies by their first word.
    pub errors: BTreeMap<String, u64>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub messages_out: u64,
    pub output_limit_disconnections: u64,
    pub query_limit_disconnections: u64,
    /// Slots that came from other shards.
    pub slots_moved: u64,
    /// The longest that the shard stood still for that.
    pub still_us_max: u64,
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
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.connections += other.connections;
        self.commands_from_others += other.commands_from_others;
        self.error_replies += other.error_replies;
        for (kind, count) in &other.errors {
            *self.errors.entry(kind.clone()).or_default() += count;
        }
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.messages_out += other.messages_out;
        self.output_limit_disconnections += other.output_limit_disconnections;
        self.query_limit_disconnections += other.query_limit_disconnections;
        self.slots_moved += other.slots_moved;
        self.still_us_max = self.still_us_max.max(other.still_us_max);
    }
}
