//! Loading: keys of a file into this shard.

use basalt_rdb::{Error, Trust, read_value};

use super::Core;
use crate::loading::{LoadBatch, LoadError, Loaded};

impl Core {
    /// Takes in keys of a file, which replace those that are there. Nothing is left of one that is past its expiry.
    ///
    /// # Errors
    /// [`LoadError::Value`] for the first key whose value cannot be read; those before it are taken in.
    pub fn load(&mut self, batch: &LoadBatch) -> Result<Loaded, LoadError> {
        let mut loaded = Loaded::default();
        let now_ms = self.shard.now.unix_ms;
        let keyspace = &mut self.shard.keyspace;
        for (database, item) in batch.items() {
            if item.expire_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                loaded.expired += 1;
                continue;
            }
            let trust = (batch.dialect, Trust::Checksum);
            let value = match read_value(item.number, item.value, trust, now_ms) {
                Ok(value) => value,
                Err(Error::Expired) => {
                    loaded.expired += 1;
                    continue;
                }
                Err(Error::Empty) => {
                    loaded.empty += 1;
                    continue;
                }
                Err(error) => {
                    let key = String::from_utf8_lossy(&item.key).into_owned();
                    return Err(LoadError::Value { database: database.0, key, error });
                }
            };
            let key = keyspace.key(&item.key);
            keyspace.edit(database, &key).unsignalled().commit(value.effect(item.expire_at_ms));
            if let Some(seconds) = item.idle_seconds {
                keyspace.set_idle_seconds(database, &key, seconds);
            }
            if let Some(counter) = item.frequency {
                keyspace.set_use_counter(database, &key, counter);
            }
            loaded.keys += 1;
        }
        Ok(loaded)
    }

    /// All was loaded: what it changed counts as saved.
    pub fn end_loading(&mut self) {
        self.shard.saving.saved_changes = self.shard.keyspace.stats.changes;
    }
}
