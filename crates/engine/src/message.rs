//! Messages between cores: gathered requests, and their answers in the same box on the way back.

use std::any::Any;
use std::mem;

use basalt_commands::ShardFn;
use basalt_keyspace::{DatabaseId, SlotId};
use basalt_resp::Protocol;

use crate::SessionId;
use crate::shard::Shard;

/// What one core tells another. Opaque to those who carry it.
pub struct Message(pub(crate) Box<Envelope>);

/// A message's content: asked by one shard, answered in place by another.
#[derive(Default)]
pub(crate) struct Envelope {
    pub answered: bool,
    pub batch: Batch,
    pub hops: Vec<Hop>,
}

/// What a coordinator wants done on another shard. Plain, so that it runs from start to end.
pub(crate) type HopFn = Box<dyn FnOnce(&mut Shard) -> HopResult + Send>;
pub(crate) type HopResult = Box<dyn Any + Send>;

/// One visit of a coordinator to a shard.
pub(crate) struct Hop {
    /// The coordination at home, and which of its hops this is.
    pub coordination: u64,
    pub index: usize,
    pub state: HopState,
}

pub(crate) enum HopState {
    Asked(HopFn),
    Done(HopResult),
    /// While it is being worked.
    Between,
}

/// Single-key requests for one shard, their arguments copied once, and their encoded replies.
#[derive(Default)]
pub(crate) struct Batch {
    pub requests: Vec<Request>,
    /// All arguments one behind the other, and where each ends.
    pub arg_bytes: Vec<u8>,
    pub arg_ends: Vec<usize>,
    /// All replies one behind the other, and where each ends.
    pub reply_bytes: Vec<u8>,
    pub reply_ends: Vec<usize>,
}

/// One request of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub session: SessionId,
    /// The place that its session keeps for the reply.
    pub hole: u32,
    pub run: ShardFn,
    pub arg_count: u32,
    pub hash: u64,
    pub slot: SlotId,
    pub database: DatabaseId,
    pub protocol: Protocol,
    /// The position of the key among the arguments.
    pub key_at: u16,
}

impl Batch {
    pub(crate) fn push(&mut self, request: Request, args: &[&[u8]]) {
        self.requests.push(request);
        for arg in args {
            self.arg_bytes.extend_from_slice(arg);
            self.arg_ends.push(self.arg_bytes.len());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

impl Envelope {
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.hops.is_empty()
    }

    /// Empties it for its next use; large buffers are given back.
    pub(crate) fn clear(&mut self) {
        const KEPT_BYTES: usize = 1 << 20;
        let Batch { requests, arg_bytes, arg_ends, reply_bytes, reply_ends } = &mut self.batch;
        self.answered = false;
        self.hops.clear();
        requests.clear();
        arg_ends.clear();
        reply_ends.clear();
        for bytes in [arg_bytes, reply_bytes] {
            bytes.clear();
            if bytes.capacity() > KEPT_BYTES {
                *bytes = Vec::new();
            }
        }
    }
}

impl Hop {
    /// Runs what was asked, on the shard it was asked of.
    pub(crate) fn run(&mut self, shard: &mut Shard) {
        if let HopState::Asked(run) = mem::replace(&mut self.state, HopState::Between) {
            self.state = HopState::Done(run(shard));
        }
    }
}
