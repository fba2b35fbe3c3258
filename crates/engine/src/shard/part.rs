//! TxnPart: what a transaction does on one shard, as data: it travels there, waits for its turn if it must,
//! and comes back with the replies, to be used again.

use basalt_commands::{Command, CommandError, Flags, ManyKeys, Run};
use basalt_keyspace::{DatabaseId, Key, ShardId, SlotId};
use basalt_resp::Reply;
use smallvec::SmallVec;

use crate::input::measured::Measured;
use crate::input::resolve::mode_of;
use crate::intents::{Intent, Mode};
use crate::observe::hop_name::HopName;
use crate::shard::Shard;
use crate::shard::call::{AtMoment, CallContext, ErrorCount, calls_of};
use crate::shard::timing::logged_args;

/// Commands for one shard, their arguments one behind the other, and what became of them.
#[derive(Default)]
pub(crate) struct TxnPart {
    /// What it touches, a key maybe several times.
    pub intents: Vec<Intent>,
    calls: Vec<TxnPartCall>,
    arg_bytes: Vec<u8>,
    arg_ends: Vec<usize>,
    /// Where its keys are: their memory is asked for at once.
    places: Vec<(DatabaseId, SlotId, u64)>,
    /// Other shards have parts of it, too.
    pub is_shared: bool,
    /// The transaction that it is part of; given when that begins.
    pub transaction: Option<AtMoment>,
    /// Nothing is done if what this session watches was changed.
    pub watcher: Option<u64>,
    /// The database of commands that may grow the data: the shard's memory is checked before it begins.
    grows: Option<DatabaseId>,
    /// Whether errors are counted where they happen, since no reply is looked at later.
    pub counts_errors: bool,
    pub replies: Replies,
}

#[derive(Clone, Copy)]
struct TxnPartCall {
    context: CallContext,
    arg_count: u32,
    /// The position of its first key among its arguments.
    key_at: u32,
    slot: SlotId,
    hash: u64,
    timing: CallTiming,
}

/// Whether the time of a call of a transaction is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallTiming {
    Untimed,
    /// And the call is counted with it.
    Timed,
    /// It is a part of a command that another part counts.
    TimedPart,
}

/// A call whose time was taken.
pub(crate) struct TimedCall {
    pub command: &'static Command,
    pub ns: u64,
    pub is_counted: bool,
    /// For the slow log; empty if it was fast.
    pub args: Vec<u8>,
}

/// Why nothing of a transaction is done; where shards disagree, the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    /// What was watched was changed.
    Watched,
    /// A shard has no memory for it.
    Memory,
}

impl Refusal {
    /// Writes the reply of a transaction that is refused, an EXEC or a command over several shards.
    pub(crate) fn write(self, is_exec: bool, reply: &mut Reply<'_>) {
        match (self, is_exec) {
            (Self::Watched, _) => reply.null_array(),
            (Self::Memory, false) => reply.error_bytes(CommandError::OVER_MAXMEMORY.as_bytes()),
            (Self::Memory, true) => {
                let because = b"EXECABORT Transaction discarded because of: ";
                reply.error_bytes(&[because, CommandError::OVER_MAXMEMORY.as_bytes()].concat());
            }
        }
    }
}

/// Encoded replies, one behind the other.
#[derive(Default)]
pub(crate) struct Replies {
    /// Nothing was done.
    pub refusal: Option<Refusal>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Calls whose time was taken.
    pub timed: Vec<TimedCall>,
    /// The commands that failed.
    pub failed: Vec<u16>,
}

impl Replies {
    pub(crate) fn nth(&self, nth: usize) -> &[u8] {
        let start = nth.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[nth]]
    }

    /// The errors among them, without their signs and ends.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &[u8]> {
        let all = (0..self.ends.len()).map(|nth| self.nth(nth));
        all.filter_map(|reply| Some(reply.strip_prefix(b"-")?.trim_ascii_end()))
    }

    fn clear(&mut self) {
        self.refusal = None;
        self.bytes.clear();
        self.ends.clear();
        self.timed.clear();
        self.failed.clear();
    }
}

impl TxnPart {
    /// Begins a call of a command, whose first key is the one given; its arguments follow.
    pub(crate) fn begin_call(
        &mut self,
        context: CallContext,
        key_at: usize,
        (slot, hash): (SlotId, u64),
    ) {
        let key_at = key_at as u32;
        if context.command.flags.has(Flags::DENYOOM) {
            self.grows = Some(context.database);
        }
        let timing = CallTiming::Untimed;
        self.calls.push(TxnPartCall { context, arg_count: 0, key_at, slot, hash, timing });
    }

    /// Adds arguments to the call that was begun last.
    pub(crate) fn push_args<'a>(&mut self, args: impl IntoIterator<Item = &'a [u8]>) {
        let call = self.calls.last_mut().expect("a call was begun");
        for arg in args {
            self.arg_bytes.extend_from_slice(arg);
            self.arg_ends.push(self.arg_bytes.len());
            call.arg_count += 1;
        }
    }

    /// Has the time of the call taken that was begun last.
    pub(crate) fn time_call(&mut self, timing: CallTiming) {
        self.calls.last_mut().expect("a call was begun").timing = timing;
    }

    /// It touches a key.
    pub(crate) fn push_key(&mut self, database: DatabaseId, slot: SlotId, intent: Intent) {
        self.intents.push(intent);
        self.places.push((database, slot, intent.hash));
    }

    pub(crate) fn call_count(&self) -> usize {
        self.calls.len()
    }

    /// The bytes of its arguments.
    pub(crate) fn arg_bytes(&self) -> usize {
        self.arg_bytes.len()
    }

    /// Why it must not run on this shard, if so.
    pub(crate) fn refusal(&self, shard: &mut Shard) -> Option<Refusal> {
        shard.refusal(self.grows, self.watcher)
    }

    /// Decides by itself: runs, unless it must not. What is watched is forgotten.
    pub(crate) fn perform(&mut self, shard: &mut Shard) {
        self.replies.refusal = self.refusal(shard);
        if self.replies.refusal.is_some() {
            self.forget_watches(shard);
        } else {
            self.complete(shard);
        }
    }

    /// Runs what is decided: whatever was watched is not asked again, it may have expired since.
    pub(crate) fn complete(&mut self, shard: &mut Shard) {
        self.forget_watches(shard);
        if self.is_shared {
            shard.tied(|shard| self.run_to_end(shard));
        } else {
            self.run_to_end(shard);
        }
    }

    fn run_to_end(&mut self, shard: &mut Shard) {
        self.run(shard, self.counts_errors);
        if let Some(transaction) = self.transaction
            && self.may_write()
        {
            shard.keyspace.end_part(transaction.tag);
        }
    }

    /// Runs as a step of a transaction, which ends later.
    pub(crate) fn step(&mut self, shard: &mut Shard) {
        shard.tied(|shard| self.run(shard, self.counts_errors));
    }

    /// Whether one of its commands may write.
    fn may_write(&self) -> bool {
        self.calls.iter().any(|call| mode_of(call.context.command) == Mode::Write)
    }

    /// The name of its first command.
    pub(crate) fn name(&self) -> HopName {
        let first = self.calls.first();
        HopName::of_command(first.map_or("watch", |call| call.context.command.name))
    }

    /// Runs what changes nothing, since it may have to be repeated.
    pub(crate) fn look(&mut self, shard: &mut Shard) {
        self.run(shard, false);
    }

    /// Calls the handlers; what they reply is in `replies`.
    fn run(&mut self, shard: &mut Shard, counts_errors: bool) {
        self.replies.clear();
        if self.places.len() > 1 {
            shard.keyspace.prefetch(self.places.iter().copied());
        }
        let transaction = self.transaction.expect("its transaction began");
        let errors = if counts_errors { ErrorCount::Shard } else { ErrorCount::Elsewhere };
        let Replies { bytes, ends, timed, failed, .. } = &mut self.replies;
        let mut args: SmallVec<[&[u8]; 32]> = SmallVec::new();
        let (mut arg_at, mut start) = (0, 0);
        for call in &self.calls {
            args.clear();
            for &end in &self.arg_ends[arg_at..arg_at + call.arg_count as usize] {
                args.push(&self.arg_bytes[start..end]);
                start = end;
            }
            arg_at += call.arg_count as usize;
            let key = Key { bytes: args[call.key_at as usize], hash: call.hash, slot: call.slot };
            let context = call.context.within(transaction);
            let position = bytes.len();
            let reply = Reply::new(bytes, context.protocol);
            let is_timed = call.timing != CallTiming::Untimed;
            let begun_ns = if is_timed { (shard.stopwatch)() } else { 0 };
            let mut calls = calls_of!(shard);
            calls.call(&context, &args, key, reply, errors);
            calls.count_uses(&context, &args, key, 1);
            if is_timed {
                let (command, end_ns) = (context.command, (shard.stopwatch)());
                let ns = end_ns.saturating_sub(begun_ns);
                if shard.hot_keys.is_measuring() {
                    let call = Measured::of(command, &args);
                    calls_of!(shard).note_cost(&call, ns, bytes.len() - position);
                }
                let is_slow = shard.is_slow(command, ns);
                let args = if is_slow { logged_args(command, &args) } else { Vec::new() };
                let is_counted = call.timing == CallTiming::Timed;
                timed.push(TimedCall { command, ns, is_counted, args });
            }
            if bytes.len() == position {
                write_nothing(&context, bytes);
            } else if bytes[position] == b'-' {
                failed.push(context.command.number);
            }
            ends.push(bytes.len());
        }
    }

    /// How many of its keys hold something, each once: what a command that takes them away will say, as its
    /// only reply.
    pub(crate) fn count_present(&mut self, shard: &Shard) {
        self.replies.clear();
        let call = self.calls[0];
        let mut start = self.arg_ends[call.key_at as usize - 1];
        let ends = &self.arg_ends[call.key_at as usize..];
        let names =
            ends.iter().map(|&end| &self.arg_bytes[std::mem::replace(&mut start, end)..end]);
        let mut names: Vec<&[u8]> = names.collect();
        names.sort_unstable();
        names.dedup();
        let is_there = |name: &&&[u8]| {
            let key = shard.keyspace.key(name);
            shard.keyspace.peek(call.context.database, &key).is_some()
        };
        let count = names.iter().filter(is_there).count();
        Reply::new(&mut self.replies.bytes, call.context.protocol).integer(count as i64);
        self.replies.ends.push(self.replies.bytes.len());
    }

    /// It is not to be run any more.
    pub(crate) fn forget_watches(&self, shard: &mut Shard) {
        if let Some(watcher) = self.watcher {
            shard.keyspace.unwatch(watcher);
        }
    }

    /// The bytes of all that it keeps for its next use.
    fn heap_bytes(&self) -> usize {
        let ends = self.arg_ends.capacity() + self.replies.ends.capacity();
        self.arg_bytes.capacity()
            + self.replies.bytes.capacity()
            + ends * size_of::<usize>()
            + self.intents.capacity() * size_of::<Intent>()
            + self.calls.capacity() * size_of::<TxnPartCall>()
            + self.places.capacity() * size_of::<(DatabaseId, SlotId, u64)>()
    }

    fn clear(&mut self) {
        let Self { intents, calls, arg_bytes, arg_ends, places, replies, grows, .. } = self;
        intents.clear();
        calls.clear();
        arg_bytes.clear();
        arg_ends.clear();
        places.clear();
        replies.clear();
        *grows = None;
        (self.transaction, self.watcher, self.counts_errors) = (None, None, false);
        self.is_shared = false;
    }
}

impl Shard {
    /// Why a transaction must not begin here, if so: `grows` is the database of commands that may grow the data, for
    /// which room is made, and `watcher` the session that watched.
    pub(crate) fn refusal(
        &mut self,
        grows: Option<DatabaseId>,
        watcher: Option<u64>,
    ) -> Option<Refusal> {
        if let Some(database) = grows
            && self.check_memory(Flags::DENYOOM, database).is_err()
        {
            return Some(Refusal::Memory);
        }
        // Making room may have changed what is watched.
        let is_broken = watcher.is_some_and(|watcher| self.keyspace.is_watch_broken(watcher));
        is_broken.then_some(Refusal::Watched)
    }
}

/// The reply of a command that would wait, if it were not part of a transaction.
#[cold]
fn write_nothing(context: &CallContext, bytes: &mut Vec<u8>) {
    if let Run::Many(ManyKeys { blocking: Some(blocking), .. }) = context.command.run {
        (blocking.nothing)(&mut Reply::new(bytes, context.protocol));
    }
}

/// TxnParts that came back, to be used again. LIMIT: so many, and none with large buffers.
#[derive(Default)]
pub(crate) struct TxnPartPool(
    #[expect(clippy::vec_box, reason = "they travel in their boxes")] Vec<Box<TxnPart>>,
);

impl TxnPartPool {
    const COUNT_MAX: usize = 256;
    const KEPT_BYTES: usize = 8 << 10;

    pub(crate) fn take(&mut self) -> Box<TxnPart> {
        self.0.pop().unwrap_or_default()
    }

    pub(crate) fn keep(&mut self, mut txn_part: Box<TxnPart>) {
        if self.0.len() < Self::COUNT_MAX && txn_part.heap_bytes() <= Self::KEPT_BYTES {
            txn_part.clear();
            self.0.push(txn_part);
        }
    }
}

/// The shards of a transaction, each with its transaction part.
#[derive(Default)]
pub(crate) struct TxnParts(pub SmallVec<[(ShardId, Box<TxnPart>); 2]>);

impl TxnParts {
    /// How many replies may come of them, as far as can be known: keys or calls, whichever are more.
    pub(crate) fn weight(&self) -> usize {
        self.0.iter().map(|(_, txn_part)| txn_part.intents.len().max(txn_part.calls.len())).sum()
    }

    /// On how many shards one may write.
    pub(crate) fn writing_count(&self) -> usize {
        self.0.iter().filter(|(_, txn_part)| txn_part.may_write()).count()
    }

    /// Where among these the transaction part for a shard is; it is begun if there is none.
    pub(crate) fn place_of(&mut self, shard: ShardId, spare: &mut TxnPartPool) -> usize {
        self.0.iter().position(|(other, _)| *other == shard).unwrap_or_else(|| {
            self.0.push((shard, spare.take()));
            self.0.len() - 1
        })
    }
}
