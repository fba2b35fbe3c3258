//! World: all that is not ours. The server has one, the simulator another.

use std::sync::Arc;

use basalt_commands::config::{Config, Extent, LogLevel};
use basalt_keyspace::ShardId;

use crate::Message;
use crate::loading::{LoadStart, LoadStep};
use crate::saving::{RewritePlan, SaveEnd, SaveProgress, SaveStart, ShutdownRequest};
use crate::shard::memory::{MemoryBounds, Published};

/// Statistics of the process that only the outside knows; INFO shows them.
#[derive(Clone, Debug, Default)]
pub struct ProcessStats {
    pub pid: u32,
    pub uptime_s: u64,
    /// Seconds since 1970 when it started.
    pub started_s: u64,
    pub rss_bytes: u64,
    pub system_memory_bytes: u64,
    /// CPU seconds of the process in user and kernel mode.
    pub cpu_user_s: f64,
    pub cpu_system_s: f64,
    pub executable: String,
    pub config_file: String,
    pub os: String,
    pub run_id: String,
    pub tcp_port: u16,
    /// `systemd` or `upstart`; empty where neither watches the process.
    pub supervisor: &'static str,
    /// The longest turn of any shard's loop since the start or the last reset.
    pub loop_turn_max_us: u64,
    /// Turns of all loops since the start, and the microseconds that they took.
    pub loop_turns: u64,
    pub loop_turns_us: u64,
    /// Clients that were let go because of `maxclients`.
    pub refused_connections: u64,
    /// `None` where all data is loaded.
    pub loading: Option<LoadingStats>,
}

/// How far loading at the start is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadingStats {
    /// Seconds since 1970 when it began, and how many it has taken.
    pub started_s: u64,
    pub took_s: u64,
    /// How long the files are, and how many of these bytes are loaded.
    pub total_bytes: u64,
    pub loaded_bytes: u64,
}

impl LoadingStats {
    pub fn percent(&self) -> f64 {
        (self.loaded_bytes as f64 * 100.0 / self.total_bytes.max(1) as f64).min(100.0)
    }

    /// How many seconds it will still take if it goes on as until now, reckoned as Redis does.
    pub fn left_s(&self) -> u64 {
        let left = u128::from(self.total_bytes.saturating_sub(self.loaded_bytes));
        match self.took_s {
            0 => 1,
            took_s => (u128::from(took_s) * left / (u128::from(self.loaded_bytes) + 1)) as u64,
        }
    }
}

/// All that is not ours.
pub trait World {
    /// Hands a message to another shard's core. Never refuses: the engine keeps to
    /// [`crate::limits::MESSAGES_IN_FLIGHT_MAX`].
    fn send(&mut self, to: ShardId, message: Message);
    /// The next number of this core's source of randomness.
    fn random(&mut self) -> u64;
    /// Microseconds that never run backwards, read afresh: for budgets within a turn.
    fn monotonic_us(&mut self) -> u64;
    /// The same in nanoseconds, for what takes less.
    fn monotonic_ns(&mut self) -> u64;
    fn process(&mut self) -> ProcessStats;
    /// Shows the use of this shard to the other shards. Called at the end of each turn where `maxmemory` is set.
    fn publish_used(&mut self, own: Published);
    /// The use of all other shards together, as each published it last. Called once a turn where `maxmemory` is
    /// set.
    fn used_by_others(&mut self) -> Published;
    /// Called once a turn where `maxmemory` is set.
    fn memory_bounds(&mut self) -> MemoryBounds;
    /// CONFIG RESETSTAT: forgets the counters among the [`ProcessStats`].
    fn reset_process_counters(&mut self);
    /// Ends the process, once this turn's output is on its way.
    fn shutdown(&mut self, request: ShutdownRequest);
    /// SHUTDOWN ABORT: false where no shutdown is under way.
    fn abort_shutdown(&mut self) -> bool;
    /// CONFIG REWRITE: writes the settings into the file that the server was started with.
    fn rewrite_config(&mut self, config: &Config, extent: Extent) -> Result<(), String>;
    /// The settings changed. Every core's world gets them in the turn in which its shard took them over;
    /// what they say of sockets, log and the like is the world's to act on.
    fn config_changed(&mut self, config: &Arc<Config>);
    /// DEBUG SLEEP: once this turn's output and messages are on their way, the core does nothing until
    /// this moment (monotonic µs).
    fn stall_until(&mut self, moment_us: u64);
    /// Makes the files that shards journal into from a rewrite's moment on. [`World::save_progress`] has their headers when
    /// they are on the disk.
    fn prepare_rewrite(&mut self, plan: RewritePlan);
    /// Begins to write a snapshot to temporary files, which take the place of those of before when all shards have
    /// finished. One that is running is given up.
    fn begin_save(&mut self, start: SaveStart);
    /// Takes the next bytes of a snapshot from this shard, whose chunks are whole items; those of one that is over are
    /// dropped.
    ///
    /// # Errors
    /// Gives the chunk back while the disk has enough to do.
    fn save_chunk(&mut self, number: u64, chunk: Vec<u8>) -> Result<(), Vec<u8>>;
    /// This shard has handed over all of a snapshot; false if that can't be taken now.
    fn finish_save(&mut self, number: u64) -> bool;
    /// Gives up a snapshot, unless it is over.
    fn cancel_save(&mut self, number: u64, end: SaveEnd);
    fn save_progress(&mut self) -> SaveProgress;
    /// Begins to read a snapshot file for all shards, which get their parts by [`World::next_load`]. The file is checked
    /// as a whole before anything of it is handed out.
    fn begin_load(&mut self, start: LoadStart);
    /// What comes next of the file that is being read for this shard.
    fn next_load(&mut self) -> LoadStep;
    /// A line for the log.
    fn log(&mut self, level: LogLevel, line: &str);
    /// Appends a frame to this shard's journal file, and where `sync` is set has it on disk.
    /// [`Core::journal_done`](crate::Core::journal_done) follows before the next one is given.
    fn journal_append(&mut self, frame: Vec<u8>, sync: bool);
    /// Writes the last frames of the file again, in their place, and has it on disk; as
    /// [`World::journal_append`] in all else.
    fn journal_rewrite(&mut self, frames: Vec<u8>);
    /// Has all frames that were appended by now on disk; [`Core::journal_done`](crate::Core::journal_done)
    /// follows.
    fn journal_sync(&mut self);
    /// What this shard appends from now on goes into the file that was made for a rewrite. Nothing is under way for the file
    /// of before.
    fn journal_next_file(&mut self, rewrite: u64);
}
