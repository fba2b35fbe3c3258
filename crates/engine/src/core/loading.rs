//! Loading: keys and libraries of a file into this shard, at the start or while the server runs.

use std::sync::Arc;

use basalt_commands::config::LogLevel;
use basalt_commands::requests::RestorePolicy;

use super::Core;
use crate::limits;
use crate::loading::{LoadBatch, LoadError, LoadStep, Loaded};
use crate::saving::SAVING_SHARD;
use crate::session::armed::Armed;
use crate::session::{Peer, SessionId};
use crate::shard::Shard;
use crate::shard::libraries::Libraries;
use crate::world::World;

impl Core {
    /// Takes in keys of a file, which replace those that are there.
    ///
    /// # Errors
    /// [`LoadError::Value`] for the first key whose value cannot be read; those before it are taken in.
    pub fn load(&mut self, batch: &LoadBatch) -> Result<Loaded, LoadError> {
        let loaded = self.shard.load(batch, true)?;
        self.shard.loading.last.add(loaded);
        Ok(loaded)
    }

    /// What the server holds beside keys, as the journal has it: the libraries of functions.
    pub fn state(&self) -> Vec<u8> {
        self.shard.scripting.libraries.dump(self.shard.config.rdbcompression)
    }

    /// Takes over what [`Core::state`] gave.
    ///
    /// # Errors
    /// [`LoadError::Function`] if it is no such thing.
    pub fn restore_state(&mut self, state: &[u8]) -> Result<(), LoadError> {
        let restored = Libraries::read(state)
            .and_then(|all| Libraries::default().restored(&all, RestorePolicy::Append));
        let libraries = restored.map_err(LoadError::Function)?;
        self.shard.scripting.set_libraries(&Arc::new(libraries));
        Ok(())
    }

    /// Data is to be loaded at the start: until [`Core::end_loading`] clients are told so, and nothing expires, is
    /// evicted, saved or moved.
    ///
    /// `imports`: what is loaded are commands of another server, in the order in which that ran them. What expires
    /// meanwhile is not known to have gone there, so that until then nothing is past its expiry.
    pub fn begin_loading(&mut self, imports: bool) {
        self.shard.armed.set(Armed::LOADING, true);
        self.shard.loading.imports = imports;
        if imports {
            self.shard.keyspace.swap_now(0);
        }
    }

    /// The connection by which such commands come: it is told nothing of loading, and needs no password.
    pub fn connect_loader(&mut self) -> SessionId {
        let session = self.shard.open_session(Peer::Unix { path: "append-only file".into() });
        session.is_loader = true;
        session.armed.set(Armed::AUTH, false);
        session.id
    }

    /// All commands of another server have run: what is past its expiry goes from now on.
    pub fn end_import(&mut self) {
        self.shard.loading.imports = false;
    }

    /// All of another server's data is here: a journal begins with it, before any client changes it. Returns how that
    /// ended; `None` until then, to be asked again.
    pub fn begin_anew(&mut self) -> Option<Result<(), String>> {
        let (loading, record) = (&mut self.shard.loading, &mut self.shard.saving.record);
        if !std::mem::replace(&mut loading.begins_journal, true) {
            record.rewrites.needs_base = true;
            record.begin_rewrite(self.shard.now.monotonic_us);
            return None;
        }
        match (record.running, record.rewrites.last_failed) {
            (Some(_), _) => None,
            (None, false) => Some(Ok(())),
            (None, true) => Some(Err("a journal can't be begun with what was loaded".to_owned())),
        }
    }

    /// All was loaded: what it changed counts as saved.
    pub fn end_loading(&mut self) {
        self.shard.armed.set(Armed::LOADING, false);
        self.shard.loading.begins_journal = false;
        self.shard.renew_memory_limit();
        self.shard.saving.saved_changes = self.shard.keyspace.stats.changes;
    }

    /// The journal has grown so much that it is to be rewritten as soon as all is loaded.
    pub fn want_rewrite(&mut self) {
        if self.shard.id == SAVING_SHARD {
            self.shard.saving.record.begin_rewrite(self.shard.now.monotonic_us);
        }
    }

    /// Hands a file that is to be loaded to the World: before any shard is asked to take its part.
    pub(super) fn hand_load(&mut self, world: &mut dyn World) {
        if let Some(start) = self.shard.loading.start.take() {
            world.begin_load(start);
        }
    }

    /// Takes in what there is of a file that is being loaded, within the time of a turn; returns whether more is to be
    /// done at once. All is held meanwhile, so nobody sees a part of it.
    pub(super) fn load_part(&mut self, world: &mut dyn World) -> bool {
        self.hand_load(world);
        if let Some((ticket, ended)) = self.shard.loading.ended.take() {
            self.take_result(ticket, Box::new(ended));
            self.settle();
        }
        let Some(mut part) = self.shard.loading.part.take() else { return false };
        let end_us = world.monotonic_us() + limits::LOAD_TURN_US;
        loop {
            // What is loaded goes to the journal as well, which may need time for it.
            if self.journal_is_full() {
                break;
            }
            let step = world.next_load();
            if matches!(step, LoadStep::NotYet) {
                break;
            }
            let outer = self.shard.keyspace.swap_origin(part.origin);
            let ended = self.shard.tied(|shard| shard.take_load_step(&mut part, &step));
            self.shard.keyspace.swap_origin(outer);
            if let Some(ended) = ended {
                if let Ok(loaded) = ended {
                    self.shard.loading.last = loaded;
                }
                let (to, ticket) = part.waiter;
                self.tell(to, Some(ticket), Box::new(ended));
                self.settle();
                return false;
            }
            if world.monotonic_us() >= end_us {
                self.shard.loading.part = Some(part);
                return true;
            }
        }
        self.shard.loading.part = Some(part);
        false
    }

    /// When to look again what there is of a file.
    pub(super) fn load_due_us(&self) -> Option<u64> {
        let is_loading = self.shard.loading.part.is_some() || self.shard.loading.ended.is_some();
        is_loading.then_some(self.shard.now.monotonic_us + limits::SAVE_LOOK_US)
    }
}

/// A line for the log, written when the turn ends.
pub(super) fn note(shard: &mut Shard, line: String) {
    shard.notes.push((LogLevel::Warning, line));
}
