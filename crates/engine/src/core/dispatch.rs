//! Request: one request at its place: refused, worked here, sent to another shard, or begun as more.

use std::sync::Arc;

use basalt_commands::config::{LogLevel, PipelineOrder};
use basalt_commands::requests::{IMPORT_KEY_AT, import, with_fields};
use basalt_commands::{Command, CommandError, EngineCommand, ManyKeys, Merge, Run, ShardFn};
use basalt_keyspace::{DatabaseId, Key, ShardId};
use basalt_resp::{ProtocolError, Reply};

use super::Core;
use super::engine_commands;
use crate::gates::{self, GateInput, Verdict};
use crate::input::args::OwnedArgs;
use crate::input::keys::KeyHash;
use crate::input::resolve::{Resolved, mode_of, scope_of};
use crate::intents::{Intent, Mode};
use crate::observe::command_stats::LARGE_REQUEST_BYTES;
use crate::session::armed::Armed;
use crate::session::queued::half_a_pair;
use crate::session::{ReplyMode, SessionId};
use crate::shard::call::{CallContext, OwnedCall, calls_of};
use crate::shard::memory::Shortage;
use crate::shard::part::TxnParts;
use crate::transaction::plan::{PlacedKey, Plan, SplitRequest};
use crate::world::World;

/// Why a request is none.
pub(super) enum Broken {
    Protocol(ProtocolError),
    Command(CommandError),
    /// HTTP, of which no further line may be taken for a command.
    Browser,
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Worked, or on its way.
    On,
    /// Worked, and nothing of the session after it for now.
    LastOne,
    /// Not worked: it has to wait.
    Held,
}

impl Core {
    pub(super) fn work_one(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        args: &[&[u8]],
        keys: (usize, usize),
        resolved: Result<Resolved, Broken>,
    ) -> Flow {
        let Some(session) = self.shard.sessions.get(id) else { return Flow::Held };
        if !session.may_run() || !session.may_answer() {
            return Flow::Held;
        }
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(Broken::Command(error)) => {
                let hidden = gates::hides_what_is_wrong(session, args[0]);
                if session.multi.is_some()
                    && hidden.is_none()
                    && let Some(command) = half_a_pair(args)
                    && let Some(flow) = self.work_in_multi(id, command, args)
                {
                    return flow;
                }
                self.count_rejected(args);
                self.refuse_request(id, args[0], &hidden.unwrap_or(error));
                return Flow::On;
            }
            Err(Broken::Browser) => {
                let session = self.shard.sessions.get_mut(id).expect("it was just there");
                session.is_closing = true;
                world.log(
                    LogLevel::Warning,
                    "Possible attack: a client speaks HTTP (POST or Host:), likely a browser that was \
                     made to send commands here. Its connection is closed.",
                );
                return Flow::LastOne;
            }
            Err(Broken::Protocol(error)) => {
                let session = self.shard.sessions.get_mut(id).expect("it was just there");
                error.reply(session.output());
                let line = engine_commands::describe(session, self.shard.now.monotonic_us);
                session.is_closing = true;
                self.shard.note(
                    LogLevel::Verbose,
                    format!("Protocol error ({error}) from client: {line}"),
                );
                self.shard.stats.count_error(b"ERR");
                return Flow::LastOne;
            }
        };
        let command = resolved.command;
        let armed = gates::armed_for(&self.shard, session, command);
        if armed == Armed::default() {
            return self.dispatch(world, id, resolved, args, keys);
        }
        self.work_gated(world, id, resolved, args, (keys, armed))
    }

    /// Asks the armed gates, and does what the first decides that does not let the request pass.
    #[cold]
    fn work_gated(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        resolved: Resolved,
        args: &[&[u8]],
        (keys, armed): ((usize, usize), Armed),
    ) -> Flow {
        let Some(session) = self.shard.sessions.get(id) else { return Flow::Held };
        let command = resolved.command;
        let all_keys = &self.keys[keys.0..keys.1];
        let input = GateInput { shard: &self.shard, session, command, args, keys: all_keys };
        match gates::check(armed, &input) {
            Verdict::Pass => self.dispatch(world, id, resolved, args, keys),
            Verdict::Refuse(error) => {
                self.shard.command_stats.rejected(command.number);
                self.refuse_request(id, args[0], &error);
                Flow::On
            }
            Verdict::Wait => {
                self.shard.sessions.hold(id);
                Flow::Held
            }
            Verdict::Queue => self.work_in_multi(id, command, args).unwrap_or_else(|| {
                let rest = armed.without(Armed::MULTI);
                self.work_gated(world, id, resolved, args, (keys, rest))
            }),
            Verdict::Track => {
                if let Run::Engine(_) = command.run {
                    self.track_keys(id, command, args);
                }
                let rest = armed.without(Armed::TRACKING);
                let flow = self.work_gated(world, id, resolved, args, (keys, rest));
                if flow != Flow::Held {
                    self.end_caching(id);
                }
                flow
            }
            Verdict::Show => self.work_observed(world, id, resolved, args, keys),
        }
    }

    /// Has a request worked that no gate refused.
    #[inline]
    pub(super) fn dispatch(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        resolved: Resolved,
        args: &[&[u8]],
        keys: (usize, usize),
    ) -> Flow {
        let Resolved { command, shard, key_at } = resolved;
        let whole = match (command.run, shard) {
            (Run::Shard(run) | Run::Split(run, _), Some(shard)) => Some((run, shard)),
            // One that blocks needs a place to wait at.
            (Run::Many(many), Some(shard))
                if many.blocking.is_none() && self.shard.has_all(many, args) =>
            {
                Some((many.whole, shard))
            }
            _ => None,
        };
        if let Some((run, shard)) = whole {
            if self.meets_intent(id, command, shard, keys) {
                return self.work_apart(world, id, (command, run), args, (key_at, shard));
            }
            if let Some(flow) = self.make_room_for(id, command, args) {
                return flow;
            }
            let KeyHash { hash, slot, .. } = self.keys[keys.0];
            let key = Key { bytes: args[usize::from(key_at)], hash, slot };
            if let Run::Many(_) = command.run {
                self.count_alone();
            }
            return if shard == self.shard.id {
                self.work_here(world, id, (command, run), args, key)
            } else {
                self.work_there(world, id, (command, run), args, (key, key_at, shard))
            };
        }
        match (command.run, shard) {
            (Run::Split(run, merge), None) => {
                self.work_split(world, id, (command, run, merge), args, keys)
            }
            (Run::Engine(EngineCommand::HImportSet), _) => {
                self.work_import(world, id, command, args)
            }
            (Run::Engine(engine_command), _) => {
                self.work_engine_command(world, id, command, engine_command, args)
            }
            (Run::Many(many), _) => self.work_many(world, id, (command, many), args),
            (Run::Shard(_) | Run::Container | Run::Split(_, _), _) => {
                self.refuse(id, &CommandError::SYNTAX);
                Flow::On
            }
        }
    }

    /// Has memory made for a large value before it goes to its shard. Returns how to go on if that takes longer, or
    /// if it never fits.
    fn make_room_for(&mut self, id: SessionId, command: &Command, args: &[&[u8]]) -> Option<Flow> {
        let bytes = args.iter().map(|arg| arg.len()).sum();
        if bytes < LARGE_REQUEST_BYTES {
            return None;
        }
        let counted_bytes = self.shard.sessions.counted_argument_bytes(id);
        match self.shard.make_room_for(command.flags, bytes, counted_bytes) {
            Ok(()) => None,
            Err(Shortage::Later) => Some(Flow::Held),
            Err(Shortage::Refused) => {
                self.reject(id, command, &Shortage::Refused.into());
                Some(Flow::On)
            }
        }
    }

    pub(super) fn work_engine_command(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        command: &'static Command,
        engine_command: EngineCommand,
        args: &[&[u8]],
    ) -> Flow {
        let may_run = match engine_command {
            EngineCommand::Exec if self.would_execute_apart(id) => {
                self.may_pipeline(id, |core| core.shards_of_execution(id))
            }
            EngineCommand::Publish | EngineCommand::SPublish => self.may_publish(id, args[1]),
            _ => engine_commands::is_immediate(engine_command) || self.is_drained(id),
        };
        if !may_run {
            return Flow::Held;
        }
        let database = self.shard.sessions.get(id).map_or(DatabaseId(0), |own| own.database);
        if let Err(error) = self.shard.check_memory(command.flags, database) {
            self.reject(id, command, &error);
            return Flow::On;
        }
        self.run_whole(world, id, command, args, |core, world| {
            if let Err(error) = engine_commands::run(core, world, id, engine_command, args) {
                core.refuse(id, &error);
            }
        });
        self.settle_reply_mode(id, None);
        if self.shard.keyspace.has_ready() {
            self.settle();
        }
        self.flow_after(id)
    }

    /// A command over keys of several shards, or one that may have to wait.
    fn work_many(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        (command, many): (&'static Command, &'static ManyKeys),
        args: &[&[u8]],
    ) -> Flow {
        if !self.is_drained(id) {
            return Flow::Held;
        }
        if let Some(flow) = self.make_room_for(id, command, args) {
            return flow;
        }
        self.run_whole(world, id, command, args, |core, _| {
            if let Err(error) = core.run_many(id, (command, many), args) {
                core.refuse(id, &error);
            }
        });
        self.settle_reply_mode(id, None);
        if self.shard.keyspace.has_ready() {
            self.settle();
        }
        self.flow_after(id)
    }

    /// HIMPORT SET: with the names that its session keeps it is a command of one shard, which a pipeline may
    /// have many of under way.
    fn work_import(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Flow {
        let session = self.shard.sessions.get(id).expect("it was just there");
        let fields = session.fieldsets.get(args[3]).map(Arc::clone);
        let args = match with_fields(args, fields.as_deref()) {
            Ok(args) => args,
            Err(error) => {
                self.run_whole(world, id, command, args, |core, _| core.refuse(id, &error));
                self.settle_reply_mode(id, None);
                return Flow::On;
            }
        };
        let key = self.shard.keyspace.key(args[IMPORT_KEY_AT]);
        let (to, key_at) = (self.shard.routes.shard(key.slot), IMPORT_KEY_AT as u16);
        let intent = Intent { hash: key.hash, mode: Mode::Write };
        if to != self.shard.id {
            self.work_there(world, id, (command, import), &args, (key, key_at, to))
        } else if self.is_free_for(id, [intent]) {
            self.work_here(world, id, (command, import), &args, key)
        } else {
            self.work_apart(world, id, (command, import), &args, (key_at, to))
        }
    }

    /// Works a command whose keys are on several shards.
    fn work_split(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        (command, run, merge): (&'static Command, ShardFn, Merge),
        args: &[&[u8]],
        keys: (usize, usize),
    ) -> Flow {
        let shards = |core: &Self| core.keys[keys.0..keys.1].iter().map(|key| key.shard).collect();
        if !self.may_pipeline(id, shards) {
            return Flow::Held;
        }
        let context = self.context(id, command, run);
        if let Some(flow) = self.make_room_for(id, command, args) {
            return flow;
        }
        let mut plan = Plan::new(context.protocol, false);
        let mut txn_parts = TxnParts::default();
        let keys = self.keys[keys.0..keys.1].iter();
        let keys = keys.map(|&KeyHash { hash, slot, shard, .. }| PlacedKey { shard, slot, hash });
        let request = SplitRequest { context, merge, args, is_timed: false };
        plan.split(&request, keys, (&mut txn_parts, &mut self.txn_part_pool));
        self.run_whole(world, id, command, args, |core, _| {
            core.begin_pipelined(id, plan, txn_parts, None);
        });
        self.flow_after(id)
    }

    #[inline]
    pub(super) fn work_here(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        (command, run): (&'static Command, ShardFn),
        args: &[&[u8]],
        key: Key<'_>,
    ) -> Flow {
        let shard = &mut self.shard;
        let session = shard.sessions.get_mut(id).expect("it was just there");
        if session.last_shard != shard.id {
            if shard.config.pipeline_order == PipelineOrder::Strict && !session.queue.is_empty() {
                return Flow::Held;
            }
            session.last_shard = shard.id;
        }
        session.commands += 1;
        session.last_command = command.name;
        let mode = session.reply_mode;
        let context = CallContext::of(shard.id, session, command, run);
        let start = session.output().len();
        let reply = session.reply();
        let clock_ns = &mut || world.monotonic_ns();
        let ns = calls_of!(shard).call_and_count(clock_ns, &context, args, key, reply);
        if let Some(ns) = ns {
            shard.settle_call(id, command, (Some(key.slot), args), ns);
        }
        if shard.is_uncommitted(command, key.hash)
            && let Some(session) = shard.sessions.get_mut(id)
        {
            session.waits = true;
        }
        if mode != ReplyMode::On {
            self.settle_reply_mode(id, Some(start));
        }
        if self.shard.keyspace.has_ready() {
            self.put_off_reply(id, start);
            self.settle();
        }
        Flow::On
    }

    pub(super) fn work_there(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        (command, run): (&'static Command, ShardFn),
        args: &[&[u8]],
        (key, key_at, to): (Key<'_>, u16, ShardId),
    ) -> Flow {
        let session = self.shard.sessions.get_mut(id).expect("it was just there");
        if session.reply_mode != ReplyMode::On {
            // Its reply is dropped, so it keeps no place among the others.
            return self.work_apart(world, id, (command, run), args, (key_at, to));
        }
        let is_strict = self.shard.config.pipeline_order == PipelineOrder::Strict;
        if session.queue.len() >= session.hole_limit
            || (is_strict && session.last_shard != to && !session.queue.is_empty())
        {
            return Flow::Held;
        }
        let outbox = &mut self.outboxes[to.index()];
        if !outbox.has_room() {
            outbox.wait_for_room(id);
            session.waits_for_room = true;
            return Flow::Held;
        }
        session.last_shard = to;
        session.commands += 1;
        session.last_command = command.name;
        let args = (args, self.shard.keyspace.received());
        outbox.add(session, (command, run), args, (key.hash, key.slot, key_at));
        Flow::On
    }

    /// Works a request on one shard with nothing else of its session under way.
    pub(super) fn work_apart(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        (command, run): (&'static Command, ShardFn),
        args: &[&[u8]],
        (key_at, to): (u16, ShardId),
    ) -> Flow {
        if !self.is_drained(id) {
            return Flow::Held;
        }
        let context = self.context(id, command, run);
        let scope = scope_of(command, args, &self.shard.keyspace);
        let owned = OwnedArgs::sharing(args, self.shard.keyspace.received());
        let call = OwnedCall::new(context, owned, usize::from(key_at));
        self.run_whole(world, id, command, args, |core, _| {
            core.coordinate(id, |hops| async move {
                hops.alone(to, scope, move |shard| call.perform(shard)).await
            });
        });
        self.flow_after(id)
    }

    /// The context of a command that a session runs now, outside of a transaction.
    pub(crate) fn context(
        &self,
        id: SessionId,
        command: &'static Command,
        run: ShardFn,
    ) -> CallContext {
        let session = self.shard.sessions.get(id).expect("the session asks just now");
        CallContext::of(self.shard.id, session, command, run)
    }

    /// Refuses a command before it runs.
    #[cold]
    fn reject(&mut self, id: SessionId, command: &Command, error: &CommandError) {
        self.shard.command_stats.rejected(command.number);
        self.refuse(id, error);
        self.settle_reply_mode(id, None);
    }

    /// Whether a session's command on this shard has to wait for a transaction that holds one of its keys, or
    /// for one of the session's own that comes before it.
    #[inline]
    fn meets_intent(
        &self,
        id: SessionId,
        command: &Command,
        shard: ShardId,
        keys: (usize, usize),
    ) -> bool {
        if shard != self.shard.id {
            return false;
        }
        let mode = mode_of(command);
        let keys = self.keys[keys.0..keys.1].iter();
        !self.is_free_for(id, keys.map(|key| Intent { hash: key.hash, mode }))
    }

    /// Whether nothing is in the way of a session that means to do this on this shard.
    #[inline]
    fn is_free_for(&self, id: SessionId, intents: impl IntoIterator<Item = Intent>) -> bool {
        let pipelined = self.shard.sessions.get(id).map_or(0, |session| session.pipelined);
        let (own, shard) = (&self.shard.intents, self.shard.id);
        let mut intents = intents.into_iter();
        own.is_idle() && pipelined == 0
            || intents.all(|intent| own.admits_key_behind(pipelined, shard, intent))
    }

    /// Whether no reply of another shard is awaited: what concerns more than one key on one shard
    /// waits for that.
    pub(super) fn is_drained(&self, id: SessionId) -> bool {
        self.shard.sessions.get(id).is_some_and(|session| session.queue.is_empty())
    }

    /// Writes an error reply.
    pub(crate) fn refuse(&mut self, id: SessionId, error: &CommandError) {
        self.shard.stats.count_error(error.as_bytes());
        if let Some(session) = self.shard.sessions.get_mut(id) {
            let (protocol, start) = (session.protocol, session.output().len());
            Reply::new(session.output(), protocol).error_bytes(error.as_bytes());
            self.settle_reply_mode(id, Some(start));
        }
    }

    /// Drops the reply that starts at `start` if the client wants none, and counts a skipped one.
    pub(super) fn settle_reply_mode(&mut self, id: SessionId, start: Option<usize>) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        match (session.reply_mode, start) {
            (ReplyMode::Off, Some(start)) => session.take_back(start),
            (ReplyMode::Skip, Some(start)) => {
                session.take_back(start);
                session.reply_mode = ReplyMode::On;
            }
            (ReplyMode::SkipNext, None) => session.reply_mode = ReplyMode::Skip,
            _ => {}
        }
    }

    /// Writes a reply at once, unless the client wants none.
    pub(crate) fn answer(&mut self, id: SessionId, write: impl FnOnce(&mut Reply<'_>)) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        let (protocol, start) = (session.protocol, session.output().len());
        let mut reply = Reply::new(session.output(), protocol);
        write(&mut reply);
        reply.replace_cut(start);
        self.settle_reply_mode(id, Some(start));
        self.shard.sessions.mark_dirty(id);
    }
}
