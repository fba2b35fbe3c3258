//! Tracking on its way: the keys that a tracking session reads are noted with their shards.

use basalt_commands::{Command, key_positions};

use super::Core;
use crate::session::SessionId;
use crate::session::armed::Armed;
use crate::session::tracking::Tracking;
use crate::shard::call::ReadMode;
use crate::shard::pubsub::invalidation::client_of;

impl Core {
    /// Notes the keys that a command of a tracking session is about to read by more than calls on their shards, which
    /// note them by themselves. They are noted ahead: what changes before they are read makes a message that comes
    /// behind the reply.
    pub(super) fn track_keys(&mut self, id: SessionId, command: &'static Command, args: &[&[u8]]) {
        let Some(session) = self.shard.sessions.get(id) else { return };
        if !ReadMode::of_session(session).of(command).tracks() {
            return;
        }
        let client = client_of(self.shard.id, id);
        for at in key_positions(command, args) {
            let name = args[at].to_vec();
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

    /// A command of a tracking session is worked, unless it goes on: CLIENT CACHING was for it.
    pub(super) fn end_caching(&mut self, id: SessionId) {
        if let Some(session) = self.shard.sessions.get_mut(id)
            && session.coordination.is_none()
        {
            session.end_caching();
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
