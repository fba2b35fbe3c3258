//! Engine: what one core does, without threads, sockets, files or clocks.
//!
//! A [`Core`] holds a shard and the sessions pinned to its core. The server (or the simulator) gives it
//! the bytes and messages that came in, calls [`Core::turn`], and takes away output and messages. All
//! that is not ours (chance, sending, the process) is a [`World`].
//!
//! Not here: how bytes travel (`server`), what commands mean (`commands`), how data lies in memory
//! (`keyspace`, `structures`).

mod balance;
mod call;
mod coordinate;
mod core;
mod errand;
mod facts;
mod fieldsets;
mod gates;
mod histogram;
mod latency;
pub mod limits;
mod memory;
mod message;
mod meter;
mod monitor;
mod multi;
mod outbox;
mod plan;
mod rates;
mod resolve;
mod routes;
mod session;
mod shard;
mod slots;
mod slowlog;
mod stats;
mod transaction;
mod verbs;
mod waiting;
mod world;

pub use crate::core::{Core, CoreSetup, Output, Turn};
pub use facts::{ClientFacts, SessionSums, ShardFacts, VisitFacts, command_name};
pub use histogram::Histogram;
pub use message::Message;
pub use meter::Book;
pub use rates::Rate;
pub use session::{Peer, Reading, SessionId};
pub use stats::{ShardStats, TransactionStats};
#[cfg(debug_assertions)]
pub use transaction::break_isolation;
pub use verbs::REDIS_VERSION;
pub use world::{ApplySettings, Now, ProcessFacts, ShutdownRequest, World};
