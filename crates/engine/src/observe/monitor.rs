//! Monitors: sessions that are shown every request that is worked, on whichever core.
//!
//! While there is none the gate is not armed, and nobody pays anything. Else the core of a session that
//! asked writes one line per request: to its own monitors at once, and for those of another core into the
//! message that leaves with the turn.
//!
//! Not here: what a line looks like (`commands`), who writes them (`core/monitor.rs`).

use std::collections::BTreeMap;

use basalt_keyspace::ShardId;

use crate::limits;
use crate::session::SessionId;

/// The monitors, as a shard knows them.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    /// How many there are, by the shard beside which they sit.
    pub homes: BTreeMap<ShardId, usize>,
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
