//! Tracking on its way: the keys that a tracking session reads are noted with their shards.

use basalt_commands::{Command, EngineCommand, Flags, Run, key_positions};

use super::Core;
use crate::session::SessionId;
use crate::session::armed::Armed;
use crate::session::tracking::Tracking;
use crate::shard::pubsub::invalidation::client_of;

impl Core {
    /// Notes the keys that a command of a tracking session is about to read. They are noted ahead: what changes
    /// before they are read makes a message that comes behind the reply.
    pub(super) fn track_keys(&mut self, id: SessionId, command: &'static Command, args: &[&[u8]]) {
        let Some(session) = self.shard.sessions.get(id) else { return };
        if !session.tracking.as_ref().is_some_and(|own| own.tracks_next()) {
            return;
        }
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut add = |command: &Command, args: &[&[u8]]| {
            if command.flags.has(Flags::READONLY) {
                names.extend(key_positions(command, args).iter().map(|at| args[*at].to_vec()));
            }
        };
        if let Run::Engine(EngineCommand::Exec) = command.run {
            for queued in session.multi.iter().flat_map(|multi| &multi.commands) {
                add(queued.command, &queued.args());
            }
        } else {
            add(command, args);
        }
        let client = client_of(self.shard.id, id);
        for name in names {
            let key = self.shard.keyspace.key(&name);
            let shard = self.shard.routes.shard(key.slot);
            if shard == self.shard.id {
                self.shard.keyspace.track(&key, client);
            } else {
                self.hop_on(shard, move |shard| {
                    let key = shard.keyspace.key(&name);
                    shard.keyspace.track(&key, client);
                });
            }
        }
    }

    /// A command of a tracking session is worked: CLIENT CACHING was for it, unless it is one of CLIENT's, or a
    /// transaction goes on.
    pub(super) fn end_caching(&mut self, id: SessionId, command: &Command) {
        if let Some(session) = self.shard.sessions.get_mut(id)
            && session.multi.is_none()
            && !command.name.starts_with("client|")
            && let Some(tracking) = &mut session.tracking
        {
            tracking.caching = false;
        }
    }

    /// A session tracks in another way from now on, or not at all.
    pub(crate) fn set_tracking(&mut self, id: SessionId, tracking: Option<Tracking>) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        let (begins, ends) = (tracking.is_some(), session.tracking.is_some());
        session.armed.set(Armed::TRACKING, begins);
        let before = std::mem::replace(&mut session.tracking, tracking.map(Box::new));
        let client = client_of(self.shard.id, id);
        let had_prefixes = before.is_some_and(|before| !before.prefixes.is_empty());
        if begins != ends || (ends && !begins && had_prefixes) {
            for shard in self.shard.routes.clone().shards() {
                self.hop_on(shard, move |shard| {
                    if begins != ends {
                        shard.count_trackers(begins);
                    }
                    if !begins && had_prefixes {
                        shard.remove_prefixes(client);
                    }
                });
            }
        }
    }
}
