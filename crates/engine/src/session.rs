//! Sessions: what a client has set up. A file for each concern:
//!
//! ```text
//! backlog   input that waits            queued      MULTI, WATCH            subscriptions  Pub/Sub
//! replies   their order, holes          execution   what goes on meanwhile  tracking       CLIENT TRACKING
//! output    what is not sent            fieldsets   HIMPORT                 armed          which gates look
//! table     all sessions of a core      sums        of them, for the page   books          their memory
//! ```

pub(crate) mod armed;
mod backlog;
pub(crate) mod books;
pub(crate) mod bounds;
pub(crate) mod execution;
pub(crate) mod fieldsets;
mod output;
pub(crate) mod queued;
mod replies;
pub(crate) mod subscriptions;
mod sums;
mod table;
pub(crate) mod tracking;

pub use sums::SessionSums;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;

use basalt_keyspace::{DatabaseId, ShardId};
use basalt_resp::{Payloads, Protocol};

pub(crate) use crate::session::backlog::Backlog;
pub(crate) use crate::session::replies::{ReplyAt, ReplyQueue};
pub(crate) use crate::session::table::Sessions;

use crate::session::armed::Armed;
use crate::session::books::Weight;
use crate::session::execution::{Execution, PendingCall};
use crate::session::fieldsets::Fieldsets;
use crate::session::output::HeldOutput;
use crate::session::queued::{Multi, Watched};
use crate::session::subscriptions::Subscriptions;
use crate::session::tracking::Tracking;

/// A session of one core. `index` is dense and reused, so that the server can keep its own table by it;
/// `generation` differs between a session that is gone and its successor, so that a late completion finds neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    pub index: u32,
    pub generation: u32,
}

impl SessionId {
    /// For what the server does unasked.
    pub(crate) const NOBODY: Self = Self { index: u32::MAX, generation: u32::MAX };

    /// What stands for a session of a shard where keys stand for themselves by their hashes.
    pub(crate) fn as_hash(self, shard: ShardId) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let place = u64::from(self.index) << 32 | u64::from(self.generation);
        (place.wrapping_mul(ODD) ^ u64::from(shard.0)).wrapping_mul(ODD)
    }
}

/// Where the last request went that went to several shards.
pub(crate) const NO_SHARD: ShardId = ShardId(u16::MAX);

/// Both ends of a connection, for CLIENT LIST and protected mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    Tcp { remote: SocketAddr, local: SocketAddr },
    Unix { path: String },
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { remote, .. } => write!(out, "{remote}"),
            Self::Unix { path } => write!(out, "{path}:0"),
        }
    }
}

impl Peer {
    /// The client's address, as Redis shows it.
    pub(crate) fn address(&self) -> String {
        self.to_string()
    }
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReplyMode {
    #[default]
    On,
    Off,
    /// SKIP was just asked for: the next command's reply is dropped.
    SkipNext,
    Skip,
}

/// How a session's socket is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Not at all, because too much of what it sent waits.
    Paused,
    /// Into the server's buffers.
    Buffered,
    /// Likewise, but only a little in a turn, since clients take much memory.
    Sparing,
    /// Into the memory of a large argument: see [`Core::lend_large`](crate::Core::lend_large).
    Direct,
}

/// What a client has set up, and its buffers.
pub(crate) struct Session {
    pub id: SessionId,
    /// CLIENT ID: unique in the process, growing.
    pub number: u64,
    pub peer: Peer,
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
    pub protocol: Protocol,
    pub database: DatabaseId,
    /// Which gates look at this session's commands at all.
    pub armed: Armed,
    pub reply_mode: ReplyMode,
    /// It brings the data that is loaded at the start.
    pub is_loader: bool,
    pub no_evict: bool,
    pub no_touch: bool,
    /// The last command, for CLIENT LIST.
    pub last_command: &'static str,
    pub created_us: u64,
    pub last_used_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub commands: u64,

    pub input: Backlog,
    pub out: Vec<u8>,
    /// Long parts of that.
    pub payloads: Payloads,
    pub queue: ReplyQueue,
    /// How many holes it may have, by the size of the replies that it gets from others.
    pub hole_limit: usize,
    /// Bytes taken by the server and not sent yet.
    pub unsent: usize,
    /// The room behind them in their buffer.
    pub unsent_spare: usize,
    /// With more output than this its next request stays in the backlog.
    pub output_bound: usize,
    /// How its socket is read, as the server last heard.
    pub reading: Reading,
    /// The coordination that is under way: nothing else of this session is worked.
    pub coordination: Option<u64>,
    /// Transactions of its pipeline that are under way; what follows goes on.
    pub pipelined: u32,
    /// The keys or calls of these together.
    pub pipelined_weight: usize,
    /// The call that is coordinated, for the books.
    pub pending_call: Option<Box<PendingCall>>,
    /// Between MULTI and EXEC.
    pub multi: Option<Box<Multi>>,
    pub watched: Watched,
    /// What HIMPORT PREPARE set up.
    pub fieldsets: Fieldsets,
    /// The coordination is an EXEC.
    pub is_executing: bool,
    /// Its script is under way: that is done wholly, whatever becomes of the client.
    pub runs_script: bool,
    /// What monitors are shown of its EXEC.
    pub execution: Option<Box<Execution>>,
    /// It is a monitor.
    pub is_monitor: bool,
    /// What it is subscribed to; None where it never was.
    pub subscriptions: Option<Box<Subscriptions>>,
    /// CLIENT TRACKING is on.
    pub tracking: Option<Box<Tracking>>,
    /// Where its output ended when it heard last that all keys are gone.
    told_all_at: Option<u64>,
    /// That is among the held pushes.
    is_told_all_held: bool,
    /// Pushes that came while a reply was worked out: they go behind that.
    held_pushes: Vec<u8>,
    /// The first hole of the last PUBLISHes in a row, and the hole behind them.
    pub publishes: (u32, u32),
    /// The client is gone, but its EXEC is not over.
    pub is_gone: bool,
    /// Its next request waits for the end of a CLIENT PAUSE.
    pub is_held: bool,
    /// Its command waits for a key.
    pub is_waiting: bool,
    /// Where the last request went, for `pipeline-order strict`.
    pub last_shard: ShardId,
    /// Its next request found no room in an outbox.
    pub waits_for_room: bool,
    pub input_ended: bool,
    /// No more requests; close when everything is sent.
    pub is_closing: bool,
    /// It ends with this turn, whatever is not sent.
    pub is_aborted: bool,
    /// Since when the output is above its soft limit.
    pub soft_limit_since_us: Option<u64>,
    /// Something of its output since the last look is of what is not on disk.
    pub waits: bool,
    /// Output that waits for the disk, or is behind such, the oldest first.
    held: VecDeque<HeldOutput>,
    held_bytes: usize,
    /// What the books know of it.
    weight: Weight,
    is_dirty: bool,
    is_ready: bool,
    /// Already worked in this turn: further input waits for the next pass.
    pub pass: u64,
}

impl Session {
    /// Whether the client is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match &self.peer {
            Peer::Tcp { remote, .. } => remote.ip().to_canonical().is_loopback(),
            Peer::Unix { .. } => true,
        }
    }

    /// The bytes of itself and its buffers.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.input.heap_bytes()
            + self.out.capacity()
            + self.payloads.bytes()
            + self.queue.heap_bytes()
            + self.held_pushes.capacity()
            + self.subscriptions.as_ref().map_or(0, |own| own.heap_bytes())
            + self.unsent
            + self.unsent_spare
            + self.held_bytes
            + self.multi.as_ref().map_or(0, |multi| multi.bytes)
            + self.fieldsets.bytes()
            + self.watched.bytes
            + self.tracking.as_ref().map_or(0, |own| own.heap_bytes())
            + self.name.capacity()
    }

    /// Whether it may be cut off where all clients together take too much.
    fn may_be_evicted(&self) -> bool {
        !self.no_evict && !self.is_gone && !self.is_closing
    }

    /// Whether its next request may be worked.
    #[inline]
    pub(crate) fn may_run(&self) -> bool {
        self.coordination.is_none() && !self.is_closing && !self.is_held
    }

    /// Whether it could end: nothing is under way and nothing waits that could still be worked.
    pub(crate) fn is_answered(&self) -> bool {
        self.queue.is_empty()
            && self.held.is_empty()
            && self.coordination.is_none()
            && (self.is_closing || !self.has_work())
    }
}
