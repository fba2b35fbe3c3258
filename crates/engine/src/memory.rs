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
    /// `maxmemory` without what the other shards hold; below 0 where those alone are over it.
    shard_bytes: i64,
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
    const UNLIMITED: Self =
        Self { shard_bytes: i64::MAX, database: DatabaseId(0), database_bytes: i64::MAX };
    /// No database has it.
    const NO_DATABASE: DatabaseId = DatabaseId(u16::MAX);

    /// The limit where the other shards hold so many bytes; `maxmemory` 0 is no limit.
    pub(crate) fn new(maxmemory: u64, others_bytes: usize) -> Self {
        if maxmemory == 0 {
            return Self::UNLIMITED;
        }
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let shard_bytes = signed(maxmemory).saturating_sub(signed(others_bytes as u64));
        Self { shard_bytes, database: Self::NO_DATABASE, database_bytes: 0 }
    }

    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.shard_bytes != i64::MAX
    }

    /// Refuses a command with [`Flags::DENYOOM`] where all shards together hold more than `maxmemory`.
    #[inline]
    pub(crate) fn check(
        &mut self,
        flags: Flags,
        keyspace: &Keyspace,
        database: DatabaseId,
    ) -> Result<(), CommandError> {
        if self.is_set() && flags.has(Flags::DENYOOM) && self.is_exceeded(keyspace, database) {
            return Err(OUT_OF_MEMORY);
        }
        Ok(())
    }

    #[inline]
    fn is_exceeded(&mut self, keyspace: &Keyspace, database: DatabaseId) -> bool {
        let own_bytes = keyspace.database_bytes(database) as i64;
        if database != self.database {
            let rest_bytes = keyspace.used_bytes() as i64 - own_bytes;
            self.database = database;
            self.database_bytes = self.shard_bytes.saturating_sub(rest_bytes);
        }
        own_bytes > self.database_bytes
    }
}
