//! Messages between cores: gathered requests, and their answers in the same box on the way back.

use std::any::Any;

use basalt_commands::{Command, ShardFn};
use basalt_keyspace::{DatabaseId, Key, LongString, Origin, ShardId, SlotId, TxnTag};
use basalt_resp::{Payloads, Protocol};

use crate::completion::Ticket;
use crate::intents::{Number, Scope};
use crate::journal::CutId;
use crate::observe::hop_name::HopName;
use crate::observe::monitor::Observed;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::shard::blocking::{FeedingPart, Woken};
use crate::shard::call::{CallContext, Client, ReadMode};
use crate::shard::part::TxnPart;
use crate::shard::pubsub::{Notice, PublishRequest};
use crate::shard::scripting::BusyScript;

/// What one core sends another. Opaque to those who carry it.
pub struct Message(pub(crate) Box<Envelope>);

/// A message's content: what one shard asks of another, in the order in which it does, and notifications about
/// what was asked before. The batch comes back in the same envelope with the replies in place.
#[derive(Default)]
pub(crate) struct Envelope {
    /// Lower than those of all transactions that go with it or later, higher than those that went before.
    pub number: Number,
    pub answered: bool,
    pub notifications: Vec<Notification>,
    pub batch: Batch,
    /// Each with how many requests of the batch come before it.
    pub asks: Vec<(u32, Ask)>,
    /// The bytes that travel with these.
    pub ask_bytes: usize,
    /// What the asking core worked, as lines for the monitors of the other.
    pub observed: Observed,
    /// Up to where the sender's journal must be committed before a client may see what this carries; 0 where it is.
    pub journal: u64,
    /// A reply of the batch is of something that is not committed.
    pub replies_wait: bool,
    /// The sender's journal is full: nothing more should be asked of it.
    pub is_full: bool,
    /// The requests of the batch that are for the slow log, and their microseconds.
    pub slow: Vec<(usize, u64)>,
}

/// One visit of a shard: a plain function, so that it runs from start to end.
pub(crate) struct Hop {
    pub name: HopName,
    /// The client for which it changes data, and the transaction that it is part of.
    pub origin: Origin,
    run: HopFn,
}

type HopFn = Box<dyn FnOnce(&mut Shard) -> HopResult + Send>;
type ReadFn = Box<dyn FnMut(&mut Shard) -> HopResult + Send>;
pub(crate) type HopResult = Box<dyn Any + Send>;

impl Hop {
    pub(crate) fn new<T, F>(run: F) -> Self
    where
        T: Any + Send,
        F: FnOnce(&mut Shard) -> T + Send + 'static,
    {
        let name = HopName::of::<F>();
        Self { name, origin: Origin::default(), run: Box::new(|shard| Box::new(run(shard))) }
    }

    /// The same hop at a moment (milliseconds since 1970) that its transaction takes for now.
    pub(crate) fn at(self, moment_ms: u64) -> Self {
        let Self { name, origin, run } = self;
        let run = Box::new(move |shard: &mut Shard| {
            let now_ms = shard.keyspace.swap_now(moment_ms);
            let result = run(shard);
            shard.keyspace.swap_now(now_ms);
            result
        });
        Self { name, origin, run }
    }

    pub(crate) fn run(self, shard: &mut Shard) -> HopResult {
        let before = shard.keyspace.swap_origin(self.origin);
        let begun_ns = (shard.stopwatch)();
        let result = (self.run)(shard);
        shard.took_hop(self.name, (shard.stopwatch)().saturating_sub(begun_ns));
        shard.keyspace.swap_origin(before);
        result
    }
}

/// What a transaction reads of a shard, once or, where it gave its grant back, once more. It changes nothing.
pub(crate) struct ReadHop {
    pub name: HopName,
    run: ReadFn,
}

impl ReadHop {
    pub(crate) fn new<T, F>(mut run: F) -> Self
    where
        T: Any + Send,
        F: FnMut(&mut Shard) -> T + Send + 'static,
    {
        Self { name: HopName::of::<F>(), run: Box::new(move |shard| Box::new(run(shard))) }
    }

    pub(crate) fn run(&mut self, shard: &mut Shard) -> HopResult {
        let begun_ns = (shard.stopwatch)();
        let result = (self.run)(shard);
        shard.took_hop(self.name, (shard.stopwatch)().saturating_sub(begun_ns));
        result
    }
}

/// What one core asks of another beside single requests. They are done in their order, and in that of the
/// requests between them.
pub(crate) enum Ask {
    /// A hop, with where its result goes; one with a scope waits until nothing that is granted is in its way.
    Hop { ticket: Option<Ticket>, scope: Option<Scope>, hop: Hop },

    /// A transaction visits, and wants to know what it looks at as soon as it is granted.
    Schedule { number: Number, scope: Scope, look: ReadHop },
    /// A transaction whose transaction part is here visits; it is looked at in this way as soon as it is granted.
    Bring { number: Number, txn_part: Box<TxnPart>, look: Look },
    /// All else of the transaction is granted: it is decided here, now, by running the transaction part, if nobody is in
    /// its way. Else it visits, as if it were brought.
    Entrust { number: Number, txn_part: Box<TxnPart>, look: Look },
    /// One with a lower number gets this one's grant.
    GiveBack(Number),
    /// What was brought is decided: it is run, its visit ends, and if it is wanted it comes back.
    Run { number: Number, is_wanted: bool },
    /// A visit ends, with the last that it does. With `part`, the shard's part of that transaction is complete.
    /// With `feeding`, its home waits until the clients that the last hop feeds are served.
    Release {
        number: Number,
        part: Option<TxnTag>,
        last: Option<LastHop>,
        feeding: Option<FeedingPart>,
    },

    /// Cancels a reservation: the waiter's home is busy with another wake-up and will not claim it.
    Decline(Number),

    /// A message for subscribers, which the channel's home orders.
    Publish(PublishRequest),

    /// Whether all is quiet there, asked by one who moves slots.
    IsQuiet { ticket: Ticket },
    /// Memory is short, and the shard that asks has too little that it may evict.
    Evict { bytes: usize },
    /// All clients together take more than `maxmemory-clients`, and the largest is there.
    EvictClients,
    /// Items of an expiry wheel whose slots went to the shard.
    OrphanTimers(Vec<u32>),
}

impl Ask {
    /// The transaction that begins with it, if one does.
    pub(crate) fn transaction(&self) -> Option<Number> {
        match self {
            Self::Schedule { number, .. }
            | Self::Bring { number, .. }
            | Self::Entrust { number, .. } => Some(*number),
            _ => None,
        }
    }
}

/// What one core notifies another of that asked for something. Nothing that is asked depends on when a notification
/// comes, so they ride with whatever leaves first.
pub(crate) enum Notification {
    Done {
        ticket: Ticket,
        result: HopResult,
    },
    Granted {
        number: Number,
        found: HopResult,
        /// A client waits there for keys that it may write.
        feeds: bool,
    },
    /// One that was entrusted was not decided, and waits.
    Waits(Number),
    /// A transaction part was run. If it fed a waiter, [`Notification::Served`] follows.
    Ran {
        number: Number,
        txn_part: Box<TxnPart>,
        feeds: bool,
    },
    /// The waiters that a part of a transaction fed are served, or have looked.
    Served(FeedingPart),
    /// One with a lower number waits for a grant.
    Inquire(Number),
    /// A waiter's turn has come.
    Turn {
        ticket: Ticket,
        woken: Woken,
    },
    /// For sessions of the core: their order among each other matters.
    Notice(Notice),
    /// A message was ordered; so many get it.
    Published {
        session: SessionId,
        hole: u32,
        receivers: u64,
    },
    /// The reply to a request of a batch that had to wait.
    Reply {
        session: SessionId,
        hole: u32,
        reply: Vec<u8>,
    },
    /// Of the sender's journal.
    Journal(JournalNews),
    /// Whether a script is busy there.
    Busy(Option<BusyScript>),
}

/// What one core notifies another of about its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalNews {
    /// It is committed up to here.
    Committed(u64),
    /// Its part of a cut is on disk.
    CutSynced(CutId),
    /// There is room again.
    HasRoom,
    /// Whether its disk refuses what is written.
    HasFault(bool),
}

/// How a transaction part is looked at when its visit is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Not,
    /// It changes nothing, so it is run.
    Run,
    /// How many of its keys hold something.
    Count,
}

/// What is done on a shard before its intents go, and who wants to know what came of it.
pub(crate) struct LastHop {
    pub hop: Hop,
    pub ticket: Option<Ticket>,
}

/// Single-key requests for one shard, their arguments copied once, and their encoded replies.
#[derive(Default)]
pub(crate) struct Batch {
    pub requests: Vec<Request>,
    /// All arguments one behind the other, and where each ends.
    pub arg_bytes: Vec<u8>,
    pub arg_ends: Vec<usize>,
    /// Long arguments, which are shared, with their places among all: they take no bytes above.
    pub long_args: Vec<(usize, LongString)>,
    /// All replies one behind the other, and where each ends.
    pub reply_bytes: Vec<u8>,
    /// Long parts of these.
    pub reply_payloads: Payloads,
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
    pub reads: ReadMode,
    /// The position of the key among the arguments.
    pub key_at: u16,
    /// Transactions of its session are under way, and may be for the same key.
    pub is_behind: bool,
    /// It has to wait; its reply comes in a notification.
    pub is_held: bool,
}

impl Request {
    /// The context of its call, as a request of that shard.
    #[inline]
    pub(crate) fn context(&self, home: ShardId) -> CallContext {
        let Self { command, run, database, protocol, reads, .. } = *self;
        let client = Client { home, session: self.session };
        CallContext { command, run, database, protocol, client, reads, transaction: None }
    }

    /// Its key, among its arguments.
    #[inline]
    pub(crate) fn key<'a>(&self, args: &[&'a [u8]]) -> Key<'a> {
        Key { bytes: args[usize::from(self.key_at)], hash: self.hash, slot: self.slot }
    }
}

impl Batch {
    /// Adds a request. Those of its arguments that are in `received` are shared, the others copied.
    pub(crate) fn push(&mut self, request: Request, args: &[&[u8]], received: &[LongString]) {
        self.requests.push(request);
        if !received.is_empty() {
            return self.push_sharing(args, received);
        }
        for arg in args {
            self.arg_bytes.extend_from_slice(arg);
            self.arg_ends.push(self.arg_bytes.len());
        }
    }

    #[cold]
    fn push_sharing(&mut self, args: &[&[u8]], received: &[LongString]) {
        for arg in args {
            match received.iter().find(|long| long.is(arg)) {
                Some(long) => self.long_args.push((self.arg_ends.len(), long.clone())),
                None => self.arg_bytes.extend_from_slice(arg),
            }
            self.arg_ends.push(self.arg_bytes.len());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

impl Envelope {
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.is_empty()
            && self.asks.is_empty()
            && self.notifications.is_empty()
            && self.observed.is_empty()
    }

    /// Empties it for its next use; large buffers are given back.
    pub(crate) fn clear(&mut self) {
        const KEPT_BYTES: usize = 256 << 10;
        let Batch {
            requests,
            arg_bytes,
            arg_ends,
            long_args,
            reply_bytes,
            reply_payloads,
            reply_ends,
        } = &mut self.batch;
        long_args.clear();
        reply_payloads.clear();
        self.answered = false;
        (self.journal, self.replies_wait, self.is_full) = (0, false, false);
        self.notifications.clear();
        self.asks.clear();
        self.ask_bytes = 0;
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
