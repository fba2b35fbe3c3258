//! Server: threads, sockets, files, clocks and signals around the engine.
//!
//!   main ──► serve ──► one executor per shard ──► core_loop ──► engine
//!                                                  │      │
//!                                                ring    mesh        sockets · other shards
//!
//! Invariant: only this room names glommio, io_uring, the clock, the environment and the file system.
//! Not here: what requests mean (`engine` and below).

mod acceptor;
mod background;
mod check_rdb;
pub mod checks;
mod clock;
mod config_file;
mod connections;
mod control_groups;
mod core_loop;
mod cpus;
mod engine;
mod foreign_aof;
mod gather;
mod journal;
mod limits;
mod listen;
mod listeners;
mod load_file;
pub mod logging;
mod loop_stats;
mod memory;
mod memory_bounds;
mod mesh;
mod node;
pub mod observe;
mod oom_score;
mod outside;
mod ring;
mod saver;
mod serve;
mod signals;
mod spin;
mod startup;
mod starved;
mod statistics;
mod supervisor;
mod sync;
mod title;

pub use background::{Pidfile, detach};
pub use check_rdb::check_rdb;
pub use engine::Engine;
pub use journal::{Restore, Restored, check_journal, export_journal};
pub use listen::{ListenError, Listener, listen};
pub use node::{Node, Statistics};
pub use outside::Outside;
pub use serve::{Serving, Starting, run_id, serve};
pub use signals::Signals;
pub use supervisor::Supervisor;
pub use title::set_title;
