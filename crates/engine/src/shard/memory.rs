//! Memory: how much more data this shard may hold, by `maxmemory` and what all shards hold together.
//!
//! Each shard publishes its use at the end of its turn ([`World::publish_used`](crate::World)); at the
//! beginning of a turn the sum of the others' is read once. A command that may grow its data is checked on
//! its key's shard, before it runs, so the answer doesn't depend on the connection that asks.

use basalt_commands::{CommandError, Flags};
use basalt_keyspace::{DatabaseId, Keyspace};

const OUT_OF_MEMORY: CommandError =
    CommandError::text("OOM command not allowed when used memory > 'maxmemory'.");

/// The limit of a shard's data in this turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryLimit {
    /// The commands to be checked: those with one of these flags.
    checked: Flags,
    /// `maxmemory` without what the other shards hold; below 0 where those alone are over it.
    shard_bytes: i64,
    /// What this shard held when the turn began, until that is used.
    used_bytes: Option<usize>,
    /// The database that was checked last.
    database: DatabaseId,
    /// The limit of that database alone, since only the database of a command grows by it.
    database_bytes: i64,
}

impl Default for MemoryLimit {
    fn default() -> Self {
        Self::UNLIMITED
    }
}

impl MemoryLimit {
    const UNLIMITED: Self = Self {
        checked: Flags::NONE,
        shard_bytes: i64::MAX,
        used_bytes: None,
        database: Self::NO_DATABASE,
        database_bytes: i64::MAX,
    };
    /// No database has it.
    const NO_DATABASE: DatabaseId = DatabaseId(u16::MAX);

    /// The limit where the other shards hold so many bytes, and this one `used_bytes`; `maxmemory` 0 is no limit.
    pub(crate) fn new(maxmemory: u64, others_bytes: usize, used_bytes: usize) -> Self {
        if maxmemory == 0 {
            return Self::UNLIMITED;
        }
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let shard_bytes = signed(maxmemory).saturating_sub(signed(others_bytes as u64));
        Self {
            checked: Flags::DENYOOM,
            shard_bytes,
            used_bytes: Some(used_bytes),
            ..Self::UNLIMITED
        }
    }

    /// Refuses a command with [`Flags::DENYOOM`] where all shards together hold more than `maxmemory`.
    #[inline]
    pub(crate) fn check(
        &mut self,
        flags: Flags,
        keyspace: &Keyspace,
        database: DatabaseId,
    ) -> Result<(), CommandError> {
        if flags.has(self.checked) && self.is_exceeded(keyspace, database) {
            return Err(OUT_OF_MEMORY);
        }
        Ok(())
    }

    #[inline]
    fn is_exceeded(&mut self, keyspace: &Keyspace, database: DatabaseId) -> bool {
        if database != self.database {
            self.change_database(keyspace, database);
        }
        keyspace.database_bytes(database) as i64 > self.database_bytes
    }

    // Once a turn, as long as all write to the same database.
    #[cold]
    fn change_database(&mut self, keyspace: &Keyspace, database: DatabaseId) {
        let used_bytes = self.used_bytes.take().unwrap_or_else(|| keyspace.used_bytes());
        let rest_bytes = used_bytes as i64 - keyspace.database_bytes(database) as i64;
        self.database = database;
        self.database_bytes = self.shard_bytes.saturating_sub(rest_bytes);
    }
}
