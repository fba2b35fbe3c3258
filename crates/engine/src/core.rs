//! Core: one shard and the sessions pinned beside it; a turn of the loop.

use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_keyspace::ShardId;

use crate::{Message, Now, Peer, SessionId, World};

/// What a core needs to begin.
pub struct CoreSetup {
    pub shard: ShardId,
    /// How many shards there are in all.
    pub shard_count: usize,
    pub config: Arc<Config>,
    /// Seeds the hash of keys: the same for all cores of a process, different for each process.
    pub hash_seed: u64,
    pub now: Now,
}

/// What a turn leaves to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// There is more to do at once: come back without sleeping.
    pub busy: bool,
    /// The moment (monotonic µs) of the next work that is due by time.
    pub wake_at_us: Option<u64>,
}

/// What is to be done with a session's socket.
#[derive(Debug)]
pub struct Output {
    /// To be sent now; tell [`Core::sent`] when it is.
    pub bytes: Vec<u8>,
    /// Close once everything is sent.
    pub close: bool,
    /// Whether to go on reading: false while too much waits.
    pub read: bool,
}

pub struct Core {}

impl Core {
    pub fn new(_setup: CoreSetup) -> Self {
        Self {}
    }
    /// A connection was pinned to this core. `Err` holds the bytes to send before closing it
    /// (protected mode).
    pub fn connect(&mut self, _peer: Peer) -> Result<SessionId, Vec<u8>> {
        Err(Vec::new())
    }
    /// The client will send no more, but may still read: the session ends when it is answered.
    pub fn end_of_input(&mut self, _session: SessionId) {}
    /// The socket is closed or broken; the session is gone after this.
    pub fn disconnect(&mut self, _session: SessionId) {}
    /// Works what has come in. `received` may name a session several times; its bytes are valid during
    /// the call only. `messages` is drained.
    pub fn turn(
        &mut self,
        _world: &mut impl World,
        _now: Now,
        _received: &[(SessionId, &[u8])],
        _messages: &mut Vec<(ShardId, Message)>,
    ) -> Turn {
        Turn { busy: false, wake_at_us: None }
    }
    /// The next session whose output, reading or closing changed since it was last asked.
    pub fn next_dirty(&mut self) -> Option<SessionId> {
        None
    }
    /// Takes the session's output; `spare` is an empty buffer put in its place. Called only while no
    /// earlier output of the session is being sent.
    pub fn take_output(&mut self, _session: SessionId, spare: Vec<u8>) -> Output {
        Output { bytes: spare, close: false, read: true }
    }
    /// The bytes last taken are sent. If more has gathered, the session is dirty again.
    pub fn sent(&mut self, _session: SessionId, _bytes: usize) {}
    pub fn config(&self) -> &Arc<Config> {
        unreachable!("the skeleton has no config")
    }
}
