//! Keys: where the keys of a request are, and what a command means to do with them.

use basalt_keyspace::{DatabaseId, EntryRef, Key, Keyspace, ShardId, SlotId};

use crate::intents::{Intent, Mode, Scope};
use crate::slots::routes::Routes;

/// What was worked out of a key when its request was parsed: where its memory is likely needed.
#[derive(Clone, Copy)]
pub(crate) struct KeyHash {
    pub hash: u64,
    pub slot: SlotId,
    pub shard: ShardId,
    /// The session's database.
    pub database: DatabaseId,
}

/// A key that a command declares: it reads or writes it.
#[derive(Clone, Debug)]
pub(crate) struct DeclaredKey {
    /// Which of the command's keys it is.
    pub index: usize,
    pub database: DatabaseId,
    pub bytes: Vec<u8>,
    pub shard: ShardId,
    hash: u64,
    pub slot: SlotId,
    pub is_written: bool,
}

impl DeclaredKey {
    /// The `index`th of a command's keys.
    pub(crate) fn new(
        index: usize,
        (database, bytes): (DatabaseId, &[u8]),
        is_written: bool,
        (keyspace, routes): (&Keyspace, &Routes),
    ) -> Self {
        let Key { hash, slot, .. } = keyspace.key(bytes);
        let shard = routes.shard(slot);
        Self { index, database, bytes: bytes.to_vec(), shard, hash, slot, is_written }
    }

    pub(crate) fn key(&self) -> Key<'_> {
        Key { bytes: &self.bytes, hash: self.hash, slot: self.slot }
    }

    /// The same key, after slots moved.
    pub(crate) fn rerouted(&self, routes: &Routes) -> Self {
        Self { shard: routes.shard(self.slot), ..self.clone() }
    }

    fn intent(&self) -> Intent {
        let mode = if self.is_written { Mode::Write } else { Mode::Read };
        Intent { hash: self.hash, mode }
    }

    /// What it holds, without a trace of the look; only on its shard.
    pub(crate) fn peek<'a>(&self, keyspace: &'a Keyspace) -> Option<EntryRef<'a>> {
        keyspace.peek(self.database, &self.key())
    }
}

/// What a command touches of a shard.
pub(crate) fn scope_on(shard: ShardId, keys: &[DeclaredKey]) -> Scope {
    let own = keys.iter().filter(|key| key.shard == shard);
    Scope::keys(own.map(DeclaredKey::intent).collect())
}
