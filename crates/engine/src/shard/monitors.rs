//! Monitors of a shard: which sessions are in MONITOR mode.

use basalt_keyspace::ShardId;

use super::Shard;
use crate::session::SessionId;
use crate::session::armed::Armed;

impl Shard {
    /// A session beside that shard begins to watch.
    pub(crate) fn add_monitor(&mut self, home: ShardId) {
        *self.monitors.homes.entry(home).or_default() += 1;
        self.armed.set(Armed::OBSERVED, true);
    }

    /// A session beside that shard watches no more.
    pub(crate) fn remove_monitor(&mut self, home: ShardId) {
        if let Some(count) = self.monitors.homes.get_mut(&home) {
            *count -= 1;
            if *count == 0 {
                self.monitors.homes.remove(&home);
            }
        }
        self.armed.set(Armed::OBSERVED, !self.monitors.homes.is_empty());
    }

    /// A session of this core watches from now on, and every shard knows of it. False where it is gone.
    pub(crate) fn begin_monitor(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(id) else { return false };
        session.is_monitor = true;
        session.armed.set(Armed::MONITOR, true);
        self.monitors.own.push(id);
        true
    }
}
