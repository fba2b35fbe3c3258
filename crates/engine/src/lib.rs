//! Engine: what one core does, without threads, sockets, files or clocks.
//!
//! A [`Core`] holds a shard and the sessions pinned to its core. The server (or the simulator) gives it
//! the bytes and messages that came in, calls [`Core::turn`], and takes away output and messages. All
//! that is not ours (random, sending, the process) is a [`World`].
//!
//! Not here: how bytes travel (`server`), what commands mean (`commands`), how data lies in memory
//! (`keyspace`, `structures`).

mod completion;
mod core;
mod export;
mod gates;
mod input;
mod intents;
mod journal;
pub mod limits;
mod loading;
mod mesh;
mod now;
mod observe;
mod saving;
mod session;
mod shard;
mod slots;
mod transaction;
mod world;

pub use crate::core::REDIS_VERSION;
pub use crate::core::snapshot::{ClientStats, ShardSnapshot, VisitStats, command_name};
pub use crate::core::{Core, CoreSetup, Output, Turn};
pub use export::export;
#[cfg(debug_assertions)]
pub use intents::break_isolation;
pub use journal::{JournalDone, JournalStats, Replay, Replayed, give_out_foreign, replay};
pub use loading::{
    LoadBatch, LoadError, LoadStart, LoadStep, Loaded, LoadedJournal, Loader, check_batch,
};
pub use mesh::message::Message;
pub use now::{Now, Stopwatch};
pub use observe::command_stats::Book;
pub use observe::histogram::Histogram;
pub use observe::hot_keys::{HotKey, shown_name};
pub use observe::rates::Rate;
pub use observe::stats::{ShardStats, TransactionStats};
pub use saving::{
    JournalStart, RewritePlan, RewriteStats, SaveEnd, SaveProgress, SaveStart, SaveStats,
    SaveTarget, ShutdownRequest,
};
pub use session::{Peer, Reading, SessionId, SessionSums};
pub use shard::ApplySettings;
pub use shard::memory::{MemoryBounds, Published};
pub use world::{LoadingStats, ProcessStats, World};
