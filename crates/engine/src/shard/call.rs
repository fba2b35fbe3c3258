//! Call: the one place where a handler is called, for whatever reason and on whichever shard.
//!
//! A call depends on its context, its arguments and the shard's data, on nothing else. Here the shard's
//! memory is checked, the transaction's moment holds, and errors are written and counted.

use basalt_commands::config::Config;
use basalt_commands::{Call, Command, CommandError, Flags, Outcome, ShardFn, key_positions};
use basalt_keyspace::{ClientId, DatabaseId, Key, Keyspace, Origin, ShardId, SlotId, TxnTag};
use basalt_resp::{Protocol, Reply};
use smallvec::SmallVec;

use crate::input::args::OwnedArgs;
use crate::input::measured::Measured;
use crate::input::resolve::has_one_key;
use crate::intents::Intents;
use crate::observe::command_stats::CommandStats;
use crate::observe::hot_keys::{Cost, HotKeys};
use crate::observe::stats::ShardStats;
use crate::session::armed::Armed;
use crate::session::{Session, SessionId};
use crate::shard::Shard;
use crate::shard::memory::{MemoryLimit, RoomMaker};

/// What a call depends on besides its arguments and the shard's data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallContext {
    pub command: &'static Command,
    /// The handler, which the row of the command may have several of.
    pub run: ShardFn,
    pub database: DatabaseId,
    pub protocol: Protocol,
    pub client: Client,
    pub reads: ReadMode,
    /// The transaction that the call is part of; its memory was checked when it began.
    pub transaction: Option<AtMoment>,
}

/// A session, on whichever shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Client {
    pub home: ShardId,
    pub session: SessionId,
}

/// What a read leaves behind besides its reply. One word, so that the usual mode costs one compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadMode(u8);

impl ReadMode {
    /// Reads count as uses, and nobody tracks the keys.
    pub(crate) const USUAL: Self = Self(0);
    /// Reads don't count as uses (CLIENT NO-TOUCH).
    const UNTOUCHED: u8 = 1;
    /// The shard of each key notes that the client has read it (CLIENT TRACKING).
    const TRACKED: u8 = 1 << 1;

    /// That of all commands of a session.
    #[inline]
    pub(crate) fn of_session(session: &Session) -> Self {
        if !session.no_touch && !session.armed.has(Armed::TRACKING) {
            return Self::USUAL;
        }
        let is_tracked = session.tracking.as_ref().is_some_and(|own| own.tracks_next());
        Self(u8::from(session.no_touch) * Self::UNTOUCHED + u8::from(is_tracked) * Self::TRACKED)
    }

    /// That of one command: TOUCH touches in spite of CLIENT NO-TOUCH, and only what reads is tracked.
    #[inline]
    pub(crate) fn of(self, command: &Command) -> Self {
        if self == Self::USUAL { self } else { self.narrowed(command) }
    }

    #[cold]
    fn narrowed(self, command: &Command) -> Self {
        let mut bits = self.0;
        if command.name == "touch" {
            bits &= !Self::UNTOUCHED;
        }
        if !command.flags.has(Flags::READONLY) {
            bits &= !Self::TRACKED;
        }
        Self(bits)
    }

    pub(crate) fn touches(self) -> bool {
        self.0 & Self::UNTOUCHED == 0
    }

    pub(crate) fn tracks(self) -> bool {
        self.0 & Self::TRACKED != 0
    }
}

/// A transaction, and the moment (milliseconds since 1970) that it takes for now on all its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtMoment {
    pub tag: TxnTag,
    pub moment_ms: u64,
}

impl From<Client> for ClientId {
    fn from(Client { home, session }: Client) -> Self {
        let session = u64::from(session.generation) << 32 | u64::from(session.index);
        Self { home, session }
    }
}

/// Where the error that a call ends with is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorCount {
    /// Here, for the shard and for the command.
    Command,
    /// Here, for the shard alone.
    Shard,
    /// By whoever passes the reply on.
    Elsewhere,
}

impl CallContext {
    /// The context of a session's command outside of a transaction.
    #[inline]
    pub(crate) fn of(
        home: ShardId,
        session: &Session,
        command: &'static Command,
        run: ShardFn,
    ) -> Self {
        Self {
            command,
            run,
            database: session.database,
            protocol: session.protocol,
            client: Client { home, session: session.id },
            reads: ReadMode::of_session(session).of(command),
            transaction: None,
        }
    }

    pub(crate) fn within(self, transaction: AtMoment) -> Self {
        Self { transaction: Some(transaction), ..self }
    }

    /// The client for which the call changes data; what is around it may be a transaction already.
    fn origin_within(&self, outer: Origin) -> Origin {
        let transaction = self.transaction.map(|own| own.tag).or(outer.transaction);
        Origin { client: Some(self.client.into()), transaction }
    }

    /// Whether the keyspace is as the call needs it, as it is for nearly all calls.
    #[inline]
    fn is_usual(&self) -> bool {
        self.reads == ReadMode::USUAL && self.transaction.is_none()
    }
}

/// The parts of a shard that calls use: all but its sessions, whose output the replies go to.
pub(crate) struct Calls<'a> {
    pub keyspace: &'a mut Keyspace,
    pub config: &'a Config,
    pub memory: &'a mut MemoryLimit,
    pub stats: &'a mut ShardStats,
    pub command_stats: &'a mut CommandStats,
    pub hot_keys: &'a mut HotKeys,
    pub intents: &'a Intents,
}

/// Borrows the [`Calls`] of a shard, and leaves its other fields to the caller.
macro_rules! calls_of {
    ($shard:expr) => {
        $crate::shard::call::Calls {
            keyspace: &mut $shard.keyspace,
            config: &$shard.config,
            memory: &mut $shard.memory,
            stats: &mut $shard.stats,
            command_stats: &mut $shard.command_stats,
            hot_keys: &mut $shard.hot_keys,
            intents: &$shard.intents,
        }
    };
}
pub(crate) use calls_of;

impl<'a> Calls<'a> {
    /// Calls the handler, which writes the reply, or writes the refusal. The reply is of the context's protocol.
    // In line, and cold paths get copies of all they need: so nothing of it lies in memory in the fast path,
    // which would cost 57 instructions a request.
    #[inline(always)]
    pub(crate) fn call(
        &mut self,
        context: &CallContext,
        args: &[&[u8]],
        key: Key<'_>,
        mut reply: Reply<'_>,
        errors: ErrorCount,
    ) {
        let (flags, database) = (context.command.flags, context.database);
        if context.is_usual()
            && !self.keyspace.wants_origin()
            && !self.memory.is_short(flags, self.keyspace, database)
        {
            self.run(context, args, key, reply, errors);
        } else {
            self.reborrow().call_unusual(*context, args, parts(key), reply.reborrow(), errors);
        }
    }

    #[inline(always)]
    fn reborrow(&mut self) -> Calls<'_> {
        Calls {
            keyspace: self.keyspace,
            config: self.config,
            memory: self.memory,
            stats: self.stats,
            command_stats: self.command_stats,
            hot_keys: self.hot_keys,
            intents: self.intents,
        }
    }

    /// What makes room where memory is short.
    fn room_maker(self) -> RoomMaker<'a> {
        let Calls { keyspace, config, memory, intents, .. } = self;
        RoomMaker { keyspace, config, memory, intents }
    }

    /// As [`Calls::call`], and counts the call. Returns the nanoseconds that it took, by `clock_ns`, if its time is
    /// to be taken.
    #[inline(always)]
    pub(crate) fn call_and_count(
        &mut self,
        clock_ns: &mut impl FnMut() -> u64,
        context: &CallContext,
        args: &[&[u8]],
        key: Key<'_>,
        mut reply: Reply<'_>,
    ) -> Option<u64> {
        if self.command_stats.count(context.command.number) {
            let reply = reply.reborrow();
            return Some(self.reborrow().call_timed(clock_ns, *context, args, parts(key), reply));
        }
        self.call(context, args, key, reply, ErrorCount::Command);
        None
    }

    #[cold]
    #[inline(never)]
    fn call_timed(
        &mut self,
        clock_ns: &mut impl FnMut() -> u64,
        context: CallContext,
        args: &[&[u8]],
        (bytes, hash, slot): (&[u8], u64, SlotId),
        mut reply: Reply<'_>,
    ) -> u64 {
        let key = Key { bytes, hash, slot };
        let calls = self.command_stats.untimed_calls(context.command.number);
        let before = reply.written_bytes();
        let begun = clock_ns();
        self.call(&context, args, key, reply.reborrow(), ErrorCount::Command);
        let ns = clock_ns().saturating_sub(begun);
        self.count_uses(&context, args, key, calls);
        if self.hot_keys.is_measuring() {
            let reply_bytes = reply.written_bytes().saturating_sub(before);
            self.note_cost(&Measured::of(context.command, args), ns, reply_bytes);
        }
        ns
    }

    /// Counts calls as uses of their keys, so many as one stands for whose time was taken.
    #[inline]
    pub(crate) fn count_uses(
        &mut self,
        context: &CallContext,
        args: &[&[u8]],
        key: Key<'_>,
        calls: u64,
    ) {
        if self.hot_keys.uses.is_due(calls) {
            self.note_use(context, args, key);
        }
    }

    /// Notes a use of a key of a call; of several keys one stands for all.
    #[cold]
    #[inline(never)]
    fn note_use(&mut self, context: &CallContext, args: &[&[u8]], key: Key<'_>) {
        let (uses, now_ms) = (&mut self.hot_keys.uses, self.keyspace.now_ms());
        if has_one_key(context.command) {
            uses.note(now_ms, (context.database, key.bytes, key.hash), 1);
            return;
        }
        let positions = key_positions(context.command, args);
        let at = uses.pick(positions.len());
        if let Some(at) = positions.get(at) {
            let key = self.keyspace.key(args[*at]);
            uses.note(now_ms, (context.database, key.bytes, key.hash), positions.len());
        }
    }

    /// Notes what a call cost, for the session of HOTKEYS that runs.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_cost(
        &mut self,
        call: &Measured<impl AsRef<[u8]>>,
        ns: u64,
        reply_bytes: usize,
    ) {
        let now_ms = self.keyspace.now_ms();
        let Some(session) = &mut self.hot_keys.session else { return };
        if !session.is_running(now_ms) {
            self.command_stats.measure(false);
            return;
        }
        let keys: SmallVec<[(&[u8], u64, SlotId); 8]> =
            call.keys.iter().map(|name| parts(self.keyspace.key(name.as_ref()))).collect();
        session.note(&keys, Cost { ns, bytes: (call.request_bytes + reply_bytes) as u64 });
    }

    /// A call where memory is short, without a trace of use, of a client that tracks, with an origin that hooks see, or within a transaction,
    /// whose moment holds during the call.
    #[cold]
    #[inline(never)]
    fn call_unusual(
        &mut self,
        context: CallContext,
        args: &[&[u8]],
        (bytes, hash, slot): (&[u8], u64, SlotId),
        reply: Reply<'_>,
        errors: ErrorCount,
    ) {
        let key = Key { bytes, hash, slot };
        if context.transaction.is_none() {
            let flags = context.command.flags;
            if self.memory.is_short(flags, self.keyspace, context.database)
                && let Err(shortage) = self.reborrow().room_maker().make_room(0, 0)
            {
                self.reject(context.command, &shortage.into(), reply, errors);
                return;
            }
        }
        let moment_ms = context.transaction.map(|transaction| transaction.moment_ms);
        let now_ms = moment_ms.map(|moment_ms| self.keyspace.swap_now(moment_ms));
        let outer = self.keyspace.origin();
        self.keyspace.swap_origin(context.origin_within(outer));
        self.keyspace.set_touching(context.reads.touches());
        self.run(&context, args, key, reply, errors);
        if context.reads.tracks() {
            self.track(&context, args, key);
        }
        self.keyspace.set_touching(true);
        self.keyspace.swap_origin(outer);
        if let Some(now_ms) = now_ms {
            self.keyspace.swap_now(now_ms);
        }
    }

    /// Notes that a client has read the keys of a call.
    fn track(&mut self, context: &CallContext, args: &[&[u8]], key: Key<'_>) {
        let client = context.client.into();
        if has_one_key(context.command) {
            self.keyspace.track(&key, client);
            return;
        }
        for at in key_positions(context.command, args) {
            let key = self.keyspace.key(args[at]);
            self.keyspace.track(&key, client);
        }
    }

    #[inline(always)]
    fn run(
        &mut self,
        context: &CallContext,
        args: &[&[u8]],
        key: Key<'_>,
        reply: Reply<'_>,
        errors: ErrorCount,
    ) {
        let CallContext { command, run, database, .. } = *context;
        let start = reply.position();
        let (keyspace, config) = (&mut *self.keyspace, self.config);
        let mut call = Call { command, keyspace, database, args, key, config, reply };
        // Looked at where it lies: an outcome that is moved is read before it is written to its end.
        let outcome = run(&mut call);
        if outcome.is_err() || call.reply.is_cut() {
            let counts = (&mut *self.stats, &mut *self.command_stats);
            fail(counts, command, outcome, (&mut call.reply, start), errors);
        }
    }

    /// Refuses a call before it ran.
    #[cold]
    #[inline(never)]
    pub(crate) fn reject(
        &mut self,
        command: &Command,
        error: &CommandError,
        mut reply: Reply<'_>,
        errors: ErrorCount,
    ) {
        reply.error_bytes(error.as_bytes());
        if errors != ErrorCount::Elsewhere {
            self.stats.count_error(error.as_bytes());
        }
        if errors == ErrorCount::Command {
            self.command_stats.uncount(command.number);
            self.command_stats.rejected(command.number);
        }
    }
}

/// A key by its parts, for calls out of line: a copy of the whole would make it lie in memory.
#[inline(always)]
fn parts(key: Key<'_>) -> (&[u8], u64, SlotId) {
    (key.bytes, key.hash, key.slot)
}

/// Writes the error that a call ended with; a reply for which there was no memory is one, too.
#[cold]
#[inline(never)]
fn fail(
    (stats, command_stats): (&mut ShardStats, &mut CommandStats),
    command: &Command,
    outcome: Outcome,
    (reply, start): (&mut Reply<'_>, usize),
    errors: ErrorCount,
) {
    let error = outcome.err().unwrap_or(CommandError::NO_MEMORY_FOR_REPLY);
    reply.rewind(start);
    reply.error_bytes(error.as_bytes());
    if errors != ErrorCount::Elsewhere {
        stats.count_error(error.as_bytes());
    }
    if errors == ErrorCount::Command {
        command_stats.failed(command.number);
    }
}

/// A call whose arguments travel to the shard of its key.
pub(crate) struct OwnedCall {
    context: CallContext,
    args: OwnedArgs,
    key_at: usize,
}

impl OwnedCall {
    pub(crate) fn new(context: CallContext, args: OwnedArgs, key_at: usize) -> Self {
        Self { context, args, key_at }
    }

    /// Calls the handler and returns its encoded reply. An error is counted when that is passed on.
    pub(crate) fn perform(&self, shard: &mut Shard) -> Vec<u8> {
        let args = self.args.all();
        let key = shard.keyspace.key(args[self.key_at]);
        let mut answer = Vec::new();
        let reply = Reply::new(&mut answer, self.context.protocol);
        let outer = shard.keyspace.swap_received(self.args.long());
        let mut calls = calls_of!(shard);
        calls.call(&self.context, &args, key, reply, ErrorCount::Elsewhere);
        calls.count_uses(&self.context, &args, key, 1);
        shard.keyspace.swap_received(outer);
        if self.context.client.home != shard.id {
            shard.stats.commands_from_others += 1;
        }
        answer
    }
}
