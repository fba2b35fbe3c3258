//! Loading on a shard: keys of a file are taken in.
//!
//! Not here: how a file is handed out to the shards (`core/loading.rs`), its format (`rdb`).

use std::sync::Arc;

use basalt_keyspace::DatabaseId;
use basalt_rdb::{Error, Trust, read_value};

use super::Shard;
use crate::loading::{LoadBatch, LoadError, LoadPart, LoadStep, Loaded};
use crate::session::armed::Armed;

impl Shard {
    /// Whether data is being loaded at the start.
    pub(crate) fn is_loading(&self) -> bool {
        self.armed.has(Armed::LOADING)
    }

    /// Takes in keys of a file; those that are there are replaced, or, without `replaces`, an error. Nothing is left
    /// of one that is past its expiry.
    pub(crate) fn load(&mut self, batch: &LoadBatch, replaces: bool) -> Result<Loaded, LoadError> {
        let mut loaded = Loaded::default();
        if !batch.functions.is_empty() {
            self.load_libraries(&batch.functions, replaces).map_err(LoadError::Function)?;
        }
        let now_ms = self.now.unix_ms;
        let keyspace = &mut self.keyspace;
        for (database, item) in batch.items() {
            if item.expire_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
                loaded.expired += 1;
                continue;
            }
            let named = || (database.0, String::from_utf8_lossy(&item.key).into_owned());
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
                    let (database, key) = named();
                    return Err(LoadError::Value { database, key, error });
                }
            };
            let key = keyspace.key(&item.key);
            if !replaces && keyspace.peek(database, &key).is_some() {
                let (database, key) = named();
                return Err(LoadError::Duplicate { database, key });
            }
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

    /// Takes in the next step of a file; returns how it ended, once it has.
    pub(crate) fn take_load_step(
        &mut self,
        part: &mut LoadPart,
        step: &LoadStep,
    ) -> Option<Result<Loaded, String>> {
        if let LoadStep::Failed(error) = step {
            return Some(Err(error.clone()));
        }
        if std::mem::take(&mut part.flushes) {
            let databases = 0..self.keyspace.database_count() as u16;
            databases.for_each(|index| self.keyspace.flush(DatabaseId(index)));
            self.take_libraries(&Arc::default());
        }
        match (step, &part.failure) {
            (LoadStep::Batch(batch), None) => {
                match self.load(batch, part.merges) {
                    Ok(loaded) => part.loaded.add(loaded),
                    Err(error) => part.failure = Some(error),
                }
                None
            }
            (LoadStep::Batch(_), Some(_)) => None,
            (_, Some(error)) => Some(Err(error.to_string())),
            (_, None) => Some(Ok(part.loaded)),
        }
    }
}
