//! Monitors: sessions that are shown every request that is worked, on whichever core.
//!
//! While there is none the gate is not armed, and nobody pays anything. Else the core of a session that
//! asked writes one line per request: to its own monitors at once, and for those of another core into the
//! message that leaves with the turn.
//!
//! Not here: what a line looks like (`commands`), who writes them (`core/monitor.rs`).

use std::collections::BTreeMap;

use basalt_keyspace::ShardId;

use crate::gates::Armed;
use crate::limits;
use crate::session::SessionId;
use crate::shard::Shard;

/// Who watches, as a shard knows it.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    /// How many there are, by the shard beside which they sit.
    homes: BTreeMap<ShardId, usize>,
    /// Those of this core.
    pub own: Vec<SessionId>,
}

impl Monitors {
    pub(crate) fn homes(&self) -> Vec<ShardId> {
        self.homes.keys().copied().collect()
    }
}

/// Lines on their way to another core's monitors. LIMIT: [`limits::MONITOR_UNSENT_MAX_BYTES`]; what is more
/// is left out, and the monitors are cut off.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub lines: Vec<u8>,
    pub is_cut: bool,
}

impl Observed {
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty() && !self.is_cut
    }

    pub(crate) fn push(&mut self, line: &[u8]) {
        if self.lines.len() + line.len() > limits::MONITOR_UNSENT_MAX_BYTES {
            self.is_cut = true;
        } else {
            self.lines.extend_from_slice(line);
        }
    }
}

impl Shard {
    /// A session beside that shard begins to watch.
    pub(crate) fn add_monitor(&mut self, home: ShardId) {
        *self.monitors.homes.entry(home).or_default() += 1;
        self.armed.set(Armed::MONITOR, true);
    }

    /// A session beside that shard watches no more.
    pub(crate) fn remove_monitor(&mut self, home: ShardId) {
        if let Some(count) = self.monitors.homes.get_mut(&home) {
            *count -= 1;
            if *count == 0 {
                self.monitors.homes.remove(&home);
            }
        }
        self.armed.set(Armed::MONITOR, !self.monitors.homes.is_empty());
    }

    /// A session of this core watches from now on, and every shard knows of it. False where it is gone.
    pub(crate) fn begin_monitor(&mut self, id: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(id) else { return false };
        session.is_monitor = true;
        self.monitors.own.push(id);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_is_bounded() {
        let mut observed = Observed::default();
        let line = vec![b'x'; limits::MONITOR_UNSENT_MAX_BYTES];
        observed.push(&line);
        assert!(!observed.is_cut && !observed.is_empty());
        observed.push(b"y");
        assert!(observed.is_cut && observed.lines.len() == line.len());
    }
}
