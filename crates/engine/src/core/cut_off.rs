//! Cut off: sessions that are closed because of what they do, counted and logged.

use basalt_commands::config::LogLevel;

use super::Core;
use super::engine_commands;
use crate::session::SessionId;
use crate::world::World;

/// Why a session is closed without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutOff {
    /// One request, or what MULTI queued, is longer than `client-query-buffer-limit`.
    QueryLimit,
    /// More output waits than `client-output-buffer-limit` or a monitor's limit allows.
    OutputLimit,
    /// The system has no memory for its request.
    NoMemory,
    /// All clients together take more than `maxmemory-clients`, and it takes most.
    Evicted,
    /// It was idle for `timeout` seconds.
    Idle,
}

impl Core {
    /// Closes a session at once, whatever of its output is not sent.
    #[cold]
    pub(super) fn cut_off(&mut self, id: SessionId, why: CutOff) {
        let Some(session) = self.shard.sessions.get(id) else { return };
        if session.is_closing {
            return;
        }
        let (level, words) = match why {
            CutOff::QueryLimit => {
                (LogLevel::Warning, "Closing client that reached client-query-buffer-limit")
            }
            CutOff::OutputLimit => {
                (LogLevel::Warning, "Closing client for overcoming of output buffer limits")
            }
            CutOff::NoMemory => {
                (LogLevel::Warning, "Closing client for whose request there is no memory")
            }
            CutOff::Evicted => (LogLevel::Notice, "Evicting client"),
            CutOff::Idle => (LogLevel::Verbose, "Closing idle client"),
        };
        let is_subscriber = session.is_subscribed();
        let line = engine_commands::describe(session, self.shard.now.monotonic_us);
        self.shard.note(level, format!("{words}: {line}"));
        match why {
            CutOff::QueryLimit => self.shard.stats.query_limit_disconnections += 1,
            CutOff::Evicted => self.shard.stats.evicted_clients += 1,
            CutOff::OutputLimit => {
                self.shard.stats.output_limit_disconnections += 1;
                self.shard.stats.subscribers_cut_off += u64::from(is_subscriber);
            }
            CutOff::NoMemory | CutOff::Idle => {}
        }
        self.shard.sessions.abort(id);
    }

    /// Writes the lines of this turn to the log.
    pub(super) fn write_notes(&mut self, world: &mut dyn World) {
        for (level, line) in self.shard.take_notes() {
            world.log(level, &line);
        }
    }

    /// The session as CLIENT LIST shows it, without the end of line, for the log.
    pub fn describe(&self, id: SessionId) -> Option<String> {
        let session = self.shard.sessions.get(id)?;
        Some(engine_commands::describe(session, self.shard.now.monotonic_us))
    }
}
