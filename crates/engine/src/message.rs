//! Messages between cores: gathered requests, and their answers in the same box on the way back.

use std::any::Any;

use basalt_commands::{Command, ShardFn};
use basalt_keyspace::{DatabaseId, SlotId};
use basalt_resp::Protocol;

use crate::SessionId;
use crate::monitor::Observed;
use crate::shard::Shard;
use crate::transaction::{Number, Scope};

/// What one core tells another. Opaque to those who carry it.
pub struct Message(pub(crate) Box<Envelope>);

/// A message's content: requests asked by one shard and answered in place by another, and letters either
/// way.
#[derive(Default)]
pub(crate) struct Envelope {
    pub answered: bool,
    pub batch: Batch,
    pub letters: Vec<Letter>,
    /// What the asking core worked, as lines for the monitors of the other.
    pub observed: Observed,
    /// The requests of the batch that are for the slow log, and their microseconds.
    pub slow: Vec<(usize, u64)>,
}

/// What a coordinator wants done on another shard. Plain, so that it runs from start to end.
pub(crate) type HopFn = Box<dyn FnOnce(&mut Shard) -> HopResult + Send>;
/// What a transaction wants to see of a shard, once or, where it gave its grant back, once more.
pub(crate) type LookFn = Box<dyn FnMut(&mut Shard) -> HopResult + Send>;
pub(crate) type HopResult = Box<dyn Any + Send>;

/// Who is told what a hop gave: a coordination, and which of its wishes it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub coordination: u64,
    pub index: usize,
}

/// What one core tells another about coordinations. Letters of a shard to another arrive in order.
pub(crate) enum Letter {
    /// A hop, and who is to be told what it gave; one with a scope waits until nothing that is granted is in its way.
    Hop {
        ticket: Option<Ticket>,
        scope: Option<Scope>,
        run: HopFn,
    },
    Done {
        ticket: Ticket,
        result: HopResult,
    },

    /// A transaction visits, and wants to know what it looks at as soon as it is granted.
    Schedule {
        number: Number,
        scope: Scope,
        look: LookFn,
    },
    Granted {
        number: Number,
        found: HopResult,
    },
    /// One with a lower number waits for a grant …
    Inquire(Number),
    /// … and gets it.
    GiveBack(Number),
    /// A visit ends, with the last that it does.
    Release {
        number: Number,
        last: Option<LastHop>,
    },

    /// Whether all is quiet there, asked by one who moves slots.
    IsQuiet {
        ticket: Ticket,
    },
    /// Items of an expiry wheel whose slots went to the shard.
    Strays(Vec<u32>),

    /// The reply to a request of a batch that had to wait.
    Reply {
        session: SessionId,
        hole: u32,
        reply: Vec<u8>,
    },
}

/// What is done on a shard before its intents go, and who wants to know what came of it.
pub(crate) struct LastHop {
    pub run: HopFn,
    pub ticket: Option<Ticket>,
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
    pub command: &'static Command,
    pub run: ShardFn,
    pub arg_count: u32,
    pub hash: u64,
    pub slot: SlotId,
    pub database: DatabaseId,
    pub protocol: Protocol,
    /// The position of the key among the arguments.
    pub key_at: u16,
    /// It has to wait; its reply comes in a letter.
    pub is_held: bool,
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
        self.batch.is_empty() && self.letters.is_empty() && self.observed.is_empty()
    }

    /// Empties it for its next use; large buffers are given back.
    pub(crate) fn clear(&mut self) {
        const KEPT_BYTES: usize = 1 << 20;
        let Batch { requests, arg_bytes, arg_ends, reply_bytes, reply_ends } = &mut self.batch;
        self.answered = false;
        self.letters.clear();
        self.slow.clear();
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
