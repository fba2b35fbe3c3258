//! Core: one shard and the sessions pinned beside it; a turn of the loop.
//!
//! ```text
//! turn:  messages ─► requests of others worked, answers put into their sessions' replies
//!        input    ─► parse some of every session ─► stage the keys' memory ─► work in order ┐ until
//!                    └───────────────────────────────────────────────────────────────────┘ it is dry
//!        maintenance ─► messages out
//! ```
//!
//! A session's requests are worked in its order. One for another shard leaves a hole in the replies and
//! the next goes on; whatever is more than one key on one shard waits until the holes are filled.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Poll;

use basalt_commands::config::{Config, PipelineOrder};
use basalt_commands::{Call, Command, CommandError, Flags, Run, ShardFn, Verb};
use basalt_keyspace::{DatabaseId, Key, KeyHasher, Keyspace, ShardId, SlotId};
use basalt_resp::{Parsed, Partial, ProtocolError, Reply, parse};

use crate::coordinate::{Answer, Coordination, Hops};
use crate::gates;
use crate::limits;
use crate::message::{Envelope, Hop, HopState, Message, Request};
use crate::outbox::Outbox;
use crate::resolve::{self, Resolved};
use crate::routes::Routes;
use crate::session::{Peer, ReplyMode, SessionId};
use crate::shard::Shard;
use crate::split::Split;
use crate::verbs;
use crate::world::{Now, World};

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

/// One shard, its sessions, and what is under way between it and others.
pub struct Core {
    pub(crate) shard: Shard,
    outboxes: Vec<Outbox>,
    coordinations: HashMap<u64, Coordination>,
    coordinations_begun: u64,
    /// Empty envelopes to be used again.
    spare_envelopes: Vec<Box<Envelope>>,
    staged: Vec<Staged>,
    keys: Vec<KeyHash>,
    pass: u64,
    turn_requests_left: usize,
    sessions_checked_us: u64,
    session_check_at: usize,
}

/// A key's hash and slot, worked out when its request was parsed.
#[derive(Clone, Copy)]
pub(crate) struct KeyHash {
    pub hash: u64,
    pub slot: SlotId,
}

/// Input to be worked, of one session.
struct Source<'a> {
    id: SessionId,
    input: Input<'a>,
}

enum Input<'a> {
    Lent(&'a [u8]),
    /// A session's backlog, and where in it to start.
    Own(Vec<u8>, usize),
}

impl Input<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Own(bytes, start) => &bytes[*start..],
        }
    }
}

/// How far a source has come.
#[derive(Default)]
struct Progress {
    parsed: usize,
    done: usize,
    end: End,
    partial: Option<Box<Partial>>,
    /// How much of what is left is needed to go on.
    need: usize,
    /// An inline request with escapes, in the form in which it goes on: how many bytes it stands for.
    rewritten: Option<(usize, Vec<u8>)>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// All whole requests are parsed.
    Dry,
    /// The session has to wait.
    Stopped,
}

/// A parsed request, before it is worked.
struct Staged {
    source: usize,
    /// Where in the source the request ends.
    end: usize,
    args: (usize, usize),
    keys: (usize, usize),
    resolved: Result<Resolved, Broken>,
    /// The session's database when the request was parsed: where its memory is likely needed.
    database: DatabaseId,
}

/// Why a request is none.
enum Broken {
    Protocol(ProtocolError),
    Command(CommandError),
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Worked, or on its way.
    On,
    /// Worked, and nothing of the session after it for now.
    LastOne,
    /// Not worked: it has to wait.
    Held,
}

impl Core {
    pub fn new(setup: CoreSetup) -> Self {
        let CoreSetup { shard, shard_count, config, hash_seed, now } = setup;
        let hasher = KeyHasher::new(hash_seed);
        let keyspace = Keyspace::new(config.databases as usize, hasher, now.unix_ms);
        let routes = Arc::new(Routes::in_blocks(shard_count));
        Self {
            shard: Shard::new(shard, keyspace, config, routes, now),
            outboxes: (0..shard_count).map(|_| Outbox::default()).collect(),
            coordinations: HashMap::new(),
            coordinations_begun: 0,
            spare_envelopes: Vec::new(),
            staged: Vec::new(),
            keys: Vec::new(),
            pass: 0,
            turn_requests_left: 0,
            sessions_checked_us: now.monotonic_us,
            session_check_at: 0,
        }
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.shard.config
    }

    pub fn session_count(&self) -> usize {
        self.shard.sessions.len()
    }

    /// The keyspace, for tests.
    #[doc(hidden)]
    pub fn keyspace(&mut self) -> &mut Keyspace {
        &mut self.shard.keyspace
    }

    /// A connection was pinned to this core. `Err` holds the bytes to send before closing it
    /// (protected mode).
    pub fn connect(&mut self, peer: Peer) -> Result<SessionId, Vec<u8>> {
        if let Some(refusal) = protected_mode_refusal(&self.shard.config, &peer) {
            return Err(refusal);
        }
        Ok(self.shard.open_session(peer).id)
    }

    /// The client will send no more, but may still read: the session ends when it is answered.
    pub fn end_of_input(&mut self, session: SessionId) {
        if let Some(session) = self.shard.sessions.get_mut(session) {
            session.input_ended = true;
        }
        self.shard.sessions.mark_dirty(session);
    }

    /// The socket is closed or broken; the session is gone after this.
    pub fn disconnect(&mut self, session: SessionId) {
        self.shard.sessions.close(session);
    }

    /// The next session whose output, reading or closing changed since it was last asked.
    pub fn next_dirty(&mut self) -> Option<SessionId> {
        self.shard.sessions.next_dirty()
    }

    /// The next session that is to be cut off at once, whatever of its output is not sent.
    pub fn next_aborted(&mut self) -> Option<SessionId> {
        self.shard.sessions.next_aborted()
    }

    /// Takes the session's output; `spare` is an empty buffer put in its place. Called only while no
    /// earlier output of the session is being sent.
    pub fn take_output(&mut self, id: SessionId, spare: Vec<u8>) -> Output {
        let read_limit =
            self.shard.config.client_query_buffer_limit as usize / limits::BACKLOG_READ_PART;
        let Some(session) = self.shard.sessions.get_mut(id) else {
            return Output { bytes: spare, close: true, read: false };
        };
        let bytes = std::mem::replace(&mut session.out, spare);
        session.unsent += bytes.len();
        session.bytes_out += bytes.len() as u64;
        self.shard.stats.bytes_out += bytes.len() as u64;
        let close = (session.is_closing || session.input_ended) && session.is_answered();
        let read = !session.is_closing
            && !session.input_ended
            && session.input.len() <= read_limit.max(session.input.need);
        session.was_reading = read;
        Output { bytes, close, read }
    }

    /// The bytes last taken are sent. If more has gathered, the session is dirty again.
    pub fn sent(&mut self, id: SessionId, bytes: usize) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        session.unsent -= bytes;
        let is_over = session.input_ended && session.is_answered();
        let (has_more, has_input) = (!session.out.is_empty() || is_over, !session.input.is_empty());
        if has_more {
            self.shard.sessions.mark_dirty(id);
        }
        if has_input {
            self.shard.sessions.mark_ready(id);
        }
    }

    /// Works what has come in. `received` may name a session several times; its bytes are valid during
    /// the call only. `messages` is drained.
    pub fn turn(
        &mut self,
        world: &mut dyn World,
        now: Now,
        received: &[(SessionId, &[u8])],
        messages: &mut Vec<(ShardId, Message)>,
    ) -> Turn {
        self.shard.set_now(now);
        self.turn_requests_left = limits::TURN_REQUESTS_MAX;
        for (from, message) in messages.drain(..) {
            self.receive(world, from, message);
        }
        self.work_received(world, received);
        self.work_ready(world);
        let left = self.maintain(world);
        self.send_messages(world);
        if let Some(config) = self.shard.take_new_config() {
            world.config_changed(&config);
        }
        let expiry_at_us =
            |at_ms: u64| now.monotonic_us + at_ms.saturating_sub(now.unix_ms).saturating_mul(1000);
        // Nothing expires before the end of a pause.
        let wake_at_us = match self.shard.pause() {
            Some(pause) => Some(pause.until_us),
            None => self.shard.keyspace.next_expiry_ms().map(expiry_at_us),
        };
        Turn { busy: left || self.shard.sessions.ready_count() > 0, wake_at_us }
    }

    // ---- input -------------------------------------------------------------------------------------

    fn work_received(&mut self, world: &mut dyn World, received: &[(SessionId, &[u8])]) {
        let mut rest = received.iter().peekable();
        while rest.peek().is_some() {
            self.pass += 1;
            let mut sources = Vec::new();
            while let Some(&&(id, bytes)) = rest.peek() {
                let now_us = self.shard.now.monotonic_us;
                let Some(session) = self.shard.sessions.get_mut(id) else {
                    rest.next();
                    continue;
                };
                if session.pass == self.pass {
                    // Its earlier input is worked first; then this, in the next pass.
                    break;
                }
                rest.next();
                session.last_used_us = now_us;
                session.bytes_in += bytes.len() as u64;
                self.shard.stats.bytes_in += bytes.len() as u64;
                if session.input.is_empty() && session.may_run() {
                    session.pass = self.pass;
                    sources.push(Source { id, input: Input::Lent(bytes) });
                } else if !session.is_closing {
                    session.input.append(bytes);
                    self.check_input_limit(id);
                    self.shard.sessions.mark_ready(id);
                }
            }
            self.work(world, sources, Vec::new());
        }
    }

    fn work_ready(&mut self, world: &mut dyn World) {
        let (mut sources, mut progress) = (Vec::new(), Vec::new());
        for _ in 0..self.shard.sessions.ready_count().min(limits::TURN_READY_MAX) {
            let Some(id) = self.shard.sessions.next_ready() else { break };
            let session = self.shard.sessions.get_mut(id).expect("a ready session is open");
            let input = &mut session.input;
            let partial = input.partial.take();
            let (bytes, start) = (std::mem::take(&mut input.bytes), input.start);
            (input.start, input.need) = (0, 0);
            sources.push(Source { id, input: Input::Own(bytes, start) });
            progress.push(Progress { partial, ..Progress::default() });
        }
        self.work(world, sources, progress);
    }

    /// Works the sources until they are dry, have to wait or the turn has done enough.
    fn work(
        &mut self,
        world: &mut dyn World,
        sources: Vec<Source<'_>>,
        mut progress: Vec<Progress>,
    ) {
        if sources.is_empty() {
            return;
        }
        progress.resize_with(sources.len(), Progress::default);
        let mut staged = std::mem::take(&mut self.staged);
        let mut args: Vec<&[u8]> = Vec::new();
        loop {
            args.clear();
            self.keys.clear();
            self.parse_some(&sources, &mut progress, &mut args, &mut staged);
            if staged.is_empty() {
                break;
            }
            self.prefetch(&staged);
            for request in staged.drain(..) {
                let state = &mut progress[request.source];
                if state.end == End::Stopped {
                    continue;
                }
                let args = &args[request.args.0..request.args.1];
                let keys = request.keys;
                let flow =
                    self.work_one(world, sources[request.source].id, args, keys, request.resolved);
                if flow != Flow::Held {
                    state.done = request.end;
                }
                if flow != Flow::On {
                    state.end = End::Stopped;
                }
            }
        }
        self.staged = staged;
        for (source, state) in sources.into_iter().zip(progress) {
            self.keep_rest(source, state);
        }
    }

    /// Parses requests of every source in turn, as many as are staged together.
    fn parse_some<'a>(
        &mut self,
        sources: &'a [Source<'_>],
        progress: &mut [Progress],
        args: &mut Vec<&'a [u8]>,
        staged: &mut Vec<Staged>,
    ) {
        for (index, (source, state)) in sources.iter().zip(progress).enumerate() {
            if state.end != End::Open {
                continue;
            }
            let Some(session) = self.shard.sessions.get(source.id) else {
                state.end = End::Stopped;
                continue;
            };
            let limits = if session.armed.has(gates::Armed::AUTH) {
                &self.shard.limits_before_auth
            } else {
                &self.shard.limits
            };
            let input = source.input.bytes();
            let staged_max = staged.len() + limits::STAGE_REQUESTS_PER_SESSION;
            while staged.len() < staged_max {
                if staged.len() >= limits::STAGE_REQUESTS_MAX
                    || self.keys.len() >= limits::STAGE_KEYS_MAX
                    || self.turn_requests_left == 0
                {
                    if self.turn_requests_left == 0 {
                        state.end = End::Stopped;
                    }
                    break;
                }
                if state.parsed == input.len() {
                    state.end = End::Dry;
                    break;
                }
                let first_arg = args.len();
                let parsed = parse(&input[state.parsed..], &mut state.partial, args, limits);
                let resolved = match parsed {
                    Ok(Parsed::Request { bytes }) => {
                        state.parsed += bytes;
                        self.turn_requests_left -= 1;
                        let first_key = self.keys.len();
                        let resolved = resolve::resolve(
                            &args[first_arg..],
                            &self.shard.routes,
                            self.shard.keyspace.hasher(),
                            &mut self.keys,
                        );
                        let keys = (first_key, self.keys.len());
                        staged.push(Staged {
                            source: index,
                            end: state.parsed,
                            args: (first_arg, args.len()),
                            keys,
                            resolved: resolved.map_err(Broken::Command),
                            database: session.database,
                        });
                        continue;
                    }
                    Ok(Parsed::Nothing { bytes }) => {
                        state.parsed += bytes;
                        if state.done + bytes == state.parsed {
                            state.done = state.parsed;
                        }
                        continue;
                    }
                    Ok(Parsed::Rewritten { bytes, request }) => {
                        state.rewritten = Some((bytes, request));
                        None
                    }
                    Ok(Parsed::Incomplete { need }) => {
                        state.need = need;
                        None
                    }
                    Err(error) => Some(Err(Broken::Protocol(error))),
                };
                state.end = End::Dry;
                if let Some(resolved) = resolved {
                    let at = (first_arg, first_arg);
                    staged.push(Staged {
                        source: index,
                        end: state.parsed,
                        args: at,
                        keys: (0, 0),
                        resolved,
                        database: session.database,
                    });
                }
                break;
            }
        }
    }

    /// Asks for the memory of all staged keys, stage by stage, so that they are fetched at once.
    fn prefetch(&self, staged: &[Staged]) {
        if self.keys.len() < 2 {
            return;
        }
        let here = |request: &Staged| match &request.resolved {
            Ok(resolved) if resolved.shard == Some(self.shard.id) => {
                Some((request.database, &self.keys[request.keys.0..request.keys.1]))
            }
            _ => None,
        };
        for (database, keys) in staged.iter().filter_map(here) {
            for key in keys {
                self.shard.keyspace.prefetch_table(database, key.slot);
            }
        }
        for (database, keys) in staged.iter().filter_map(here) {
            for key in keys {
                self.shard.keyspace.prefetch_bucket(database, key.slot, key.hash);
            }
        }
        for (database, keys) in staged.iter().filter_map(here) {
            for key in keys {
                self.shard.keyspace.prefetch_entry(database, key.slot, key.hash);
            }
        }
    }

    /// Puts what is left of a source into its session's backlog.
    fn keep_rest(&mut self, source: Source<'_>, state: Progress) {
        let Source { id, input } = source;
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        if session.is_closing {
            session.input.clear();
            self.shard.sessions.mark_dirty(id);
            return;
        }
        let backlog = &mut session.input;
        let is_whole = state.done == state.parsed;
        if let (Some((bytes, request)), true) = (state.rewritten, is_whole) {
            let rest = &input.bytes()[state.done + bytes..];
            backlog.bytes = [request.as_slice(), rest].concat();
            backlog.start = 0;
        } else {
            match input {
                Input::Lent(bytes) if state.done < bytes.len() => {
                    let rest = &bytes[state.done..];
                    backlog.bytes.reserve(rest.len());
                    backlog.append(rest);
                }
                Input::Lent(_) => {}
                Input::Own(bytes, start) => {
                    backlog.bytes = bytes;
                    backlog.start = start + state.done;
                }
            }
            if is_whole {
                backlog.partial = state.partial;
                backlog.need = state.need;
            }
        }
        if backlog.is_empty() {
            backlog.clear();
        }
        self.check_input_limit(id);
        self.shard.sessions.mark_dirty(id);
        if state.end != End::Stopped || self.turn_requests_left == 0 {
            self.shard.sessions.mark_ready(id);
        } else {
            self.resume_if_free(id);
        }
    }

    /// Marks a stopped session ready unless something is under way that will do so when it is over.
    fn resume_if_free(&mut self, id: SessionId) {
        let Some(session) = self.shard.sessions.get(id) else { return };
        let waits = !session.queue.is_empty()
            || session.is_coordinating
            || session.output_bytes() > limits::OUTPUT_PAUSE_BYTES
            || session.waits_for_room;
        if !waits {
            self.shard.sessions.mark_ready(id);
        }
    }

    fn check_input_limit(&mut self, id: SessionId) {
        let Some(session) = self.shard.sessions.get(id) else { return };
        if session.input.len() as u64 > self.shard.config.client_query_buffer_limit {
            self.shard.stats.query_limit_disconnections += 1;
            self.shard.sessions.abort(id);
        }
    }

    // ---- requests ----------------------------------------------------------------------------------

    fn work_one(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        args: &[&[u8]],
        keys: (usize, usize),
        resolved: Result<Resolved, Broken>,
    ) -> Flow {
        let Some(session) = self.shard.sessions.get(id) else { return Flow::Held };
        if !session.may_run() || session.output_bytes() > limits::OUTPUT_PAUSE_BYTES {
            return Flow::Held;
        }
        let resolved = match resolved {
            Ok(resolved) => resolved,
            Err(Broken::Command(error)) => {
                self.refuse(id, &error);
                return Flow::On;
            }
            Err(Broken::Protocol(error)) => {
                let session = self.shard.sessions.get_mut(id).expect("it was just there");
                error.reply(session.output());
                session.is_closing = true;
                self.shard.stats.count_error(b"ERR");
                return Flow::LastOne;
            }
        };
        let Resolved { command, shard, run, key_at } = resolved;
        let armed = gates::Armed(session.armed.0 | self.shard.armed.0);
        if (armed.0 != 0 || command.flags.has(Flags::PROTECTED))
            && let Err(error) = gates::check(armed, &self.shard, session, command)
        {
            self.refuse(id, &error);
            return Flow::On;
        }
        if armed.has(gates::Armed::PAUSE) && self.shard.holds_back(command) {
            self.shard.sessions.hold(id);
            return Flow::Held;
        }
        match (run, shard) {
            (Run::Shard(run) | Run::Split(run, _), Some(shard))
                if armed.has(gates::Armed::NO_TOUCH) =>
            {
                self.work_apart(id, (command, run), args, key_at, shard)
            }
            (Run::Shard(run) | Run::Split(run, _), Some(shard)) => {
                let key = Key {
                    bytes: args[usize::from(key_at)],
                    hash: self.keys[keys.0].hash,
                    slot: self.keys[keys.0].slot,
                };
                if shard == self.shard.id {
                    self.work_here(id, command, run, args, key)
                } else {
                    self.work_there(id, (command, run), args, (key, key_at), shard)
                }
            }
            (Run::Split(run, merge), None) => {
                if !self.is_drained(id) {
                    return Flow::Held;
                }
                let split = Split::new(command, run, merge, args, &self.shard, id);
                self.count(id, command);
                self.coordinate(id, |hops| split.run(hops));
                self.flow_after(id)
            }
            (Run::Engine(verb), _) => self.work_verb(world, id, command, verb, args),
            (Run::Shard(_) | Run::Container, _) => {
                self.refuse(id, &CommandError::SYNTAX);
                Flow::On
            }
        }
    }

    fn work_verb(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        command: &'static Command,
        verb: Verb,
        args: &[&[u8]],
    ) -> Flow {
        if !verbs::is_immediate(verb) && !self.is_drained(id) {
            return Flow::Held;
        }
        self.count(id, command);
        if let Err(error) = verbs::run(self, world, id, verb, args) {
            self.refuse(id, &error);
        }
        self.settle_reply_mode(id, None);
        self.flow_after(id)
    }

    #[inline]
    fn work_here(
        &mut self,
        id: SessionId,
        command: &'static Command,
        run: ShardFn,
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
        shard.stats.commands += 1;
        let (database, protocol, mode) = (session.database, session.protocol, session.reply_mode);
        let out = session.output();
        let start = out.len();
        let mut call = Call {
            keyspace: &mut shard.keyspace,
            database,
            args,
            key,
            config: &shard.config,
            reply: Reply::new(out, protocol),
        };
        if let Err(error) = run(&mut call) {
            call.reply.error_bytes(error.as_bytes());
            shard.stats.count_error(error.as_bytes());
        }
        if mode != ReplyMode::On {
            self.settle_reply_mode(id, Some(start));
        }
        Flow::On
    }

    fn work_there(
        &mut self,
        id: SessionId,
        (command, run): (&'static Command, ShardFn),
        args: &[&[u8]],
        (key, key_at): (Key<'_>, u16),
        to: ShardId,
    ) -> Flow {
        let session = self.shard.sessions.get_mut(id).expect("it was just there");
        if session.reply_mode != ReplyMode::On {
            // Its reply is dropped, so it keeps no place among the others.
            return self.work_apart(id, (command, run), args, key_at, to);
        }
        let is_strict = self.shard.config.pipeline_order == PipelineOrder::Strict;
        if session.queue.len() >= session.hole_limit
            || (is_strict && session.last_shard != to && !session.queue.is_empty())
        {
            return Flow::Held;
        }
        let outbox = &mut self.outboxes[to.index()];
        if !outbox.has_room(args.iter().map(|arg| arg.len()).sum()) {
            outbox.wait_for_room(id);
            session.waits_for_room = true;
            return Flow::Held;
        }
        session.last_shard = to;
        session.commands += 1;
        session.last_command = command.name;
        let request = Request {
            session: id,
            hole: session.queue.open_hole(),
            command,
            run,
            arg_count: args.len() as u32,
            hash: key.hash,
            slot: key.slot,
            database: session.database,
            protocol: session.protocol,
            key_at,
        };
        outbox.gathering.batch.push(request, args);
        Flow::On
    }

    /// Works a request on one shard with nothing else of its session under way.
    fn work_apart(
        &mut self,
        id: SessionId,
        (command, run): (&'static Command, ShardFn),
        args: &[&[u8]],
        key_at: u16,
        to: ShardId,
    ) -> Flow {
        if !self.is_drained(id) {
            return Flow::Held;
        }
        let at = (usize::from(key_at), to);
        let split = Split::whole((command, run), args, at, &self.shard, id);
        self.count(id, command);
        self.coordinate(id, |hops| split.run(hops));
        self.flow_after(id)
    }

    /// Whether no reply of another shard is awaited: what concerns more than one key on one shard
    /// waits for that.
    fn is_drained(&self, id: SessionId) -> bool {
        self.shard.sessions.get(id).is_some_and(|session| session.queue.is_empty())
    }

    fn count(&mut self, id: SessionId, command: &'static Command) {
        self.shard.stats.commands += 1;
        if let Some(session) = self.shard.sessions.get_mut(id) {
            session.commands += 1;
            session.last_command = command.name;
        }
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
    fn settle_reply_mode(&mut self, id: SessionId, start: Option<usize>) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        match (session.reply_mode, start) {
            (ReplyMode::Off, Some(start)) => session.output().truncate(start),
            (ReplyMode::Skip, Some(start)) => {
                session.output().truncate(start);
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
        write(&mut Reply::new(session.output(), protocol));
        self.settle_reply_mode(id, Some(start));
        self.shard.sessions.mark_dirty(id);
    }

    // ---- coordinators ------------------------------------------------------------------------------

    /// Whether the session's next request may follow.
    fn flow_after(&self, id: SessionId) -> Flow {
        match self.shard.sessions.get(id) {
            Some(session) if session.may_run() => Flow::On,
            _ => Flow::LastOne,
        }
    }

    /// Begins a coordination for a session.
    pub(crate) fn coordinate<F>(&mut self, id: SessionId, start: impl FnOnce(Hops) -> F)
    where
        F: Future<Output = Answer> + 'static,
    {
        if let Some(session) = self.shard.sessions.get_mut(id) {
            session.is_coordinating = true;
        }
        self.coordinations_begun += 1;
        let number = self.coordinations_begun;
        self.coordinations.insert(number, Coordination::new(id, start));
        self.drive(number);
    }

    /// Goes on with a coordination until it ends or waits for another shard.
    fn drive(&mut self, number: u64) {
        let Some(coordination) = self.coordinations.get_mut(&number) else { return };
        loop {
            if let Poll::Ready(answer) = coordination.poll() {
                let id = coordination.session;
                self.coordinations.remove(&number);
                self.end_coordination(id, &answer);
                return;
            }
            let mut went_on = false;
            for (index, shard, run) in coordination.take_wanted() {
                if shard == self.shard.id {
                    coordination.put_result(index, run(&mut self.shard));
                    went_on = true;
                } else {
                    let state = HopState::Asked(run);
                    let hop = Hop { coordination: number, index, state };
                    self.outboxes[shard.index()].gathering.hops.push(hop);
                }
            }
            if !went_on {
                return;
            }
        }
    }

    fn end_coordination(&mut self, id: SessionId, answer: &[u8]) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        session.is_coordinating = false;
        if let Some(text) = answer.strip_prefix(b"-") {
            self.shard.stats.count_error(text.trim_ascii_end());
        }
        let start = session.output().len();
        session.output().extend_from_slice(answer);
        self.settle_reply_mode(id, Some(start));
        self.shard.sessions.mark_dirty(id);
        self.shard.sessions.mark_ready(id);
    }

    // ---- other shards ------------------------------------------------------------------------------

    fn receive(&mut self, world: &mut dyn World, from: ShardId, message: Message) {
        let Message(mut envelope) = message;
        if envelope.answered {
            self.outboxes[from.index()].returned();
            self.take_answers(&mut envelope);
            envelope.clear();
            const SPARE_ENVELOPES_MAX: usize = 16;
            if self.spare_envelopes.len() < SPARE_ENVELOPES_MAX {
                self.spare_envelopes.push(envelope);
            }
            return;
        }
        self.work_batch(&mut envelope);
        for hop in &mut envelope.hops {
            hop.run(&mut self.shard);
        }
        envelope.answered = true;
        world.send(from, Message(envelope));
    }

    /// Works the requests that another shard gathered, their memory fetched in stages.
    fn work_batch(&mut self, envelope: &mut Envelope) {
        let batch = &mut envelope.batch;
        let shard = &mut self.shard;
        let mut reply_bytes = std::mem::take(&mut batch.reply_bytes);
        let mut args: Vec<&[u8]> = Vec::new();
        let (mut arg_at, mut arg_start) = (0, 0);
        for group in batch.requests.chunks(limits::STAGE_REQUESTS_MAX) {
            for request in group {
                shard.keyspace.prefetch_table(request.database, request.slot);
            }
            for request in group {
                shard.keyspace.prefetch_bucket(request.database, request.slot, request.hash);
            }
            for request in group {
                shard.keyspace.prefetch_entry(request.database, request.slot, request.hash);
            }
            for request in group {
                args.clear();
                for &end in &batch.arg_ends[arg_at..arg_at + request.arg_count as usize] {
                    args.push(&batch.arg_bytes[arg_start..end]);
                    arg_start = end;
                }
                arg_at += request.arg_count as usize;
                let key = Key {
                    bytes: args[usize::from(request.key_at)],
                    hash: request.hash,
                    slot: request.slot,
                };
                let mut call = Call {
                    keyspace: &mut shard.keyspace,
                    database: request.database,
                    args: &args,
                    key,
                    config: &shard.config,
                    reply: Reply::new(&mut reply_bytes, request.protocol),
                };
                if let Err(error) = (request.run)(&mut call) {
                    call.reply.error_bytes(error.as_bytes());
                    shard.stats.count_error(error.as_bytes());
                }
                batch.reply_ends.push(reply_bytes.len());
            }
        }
        shard.stats.commands += batch.requests.len() as u64;
        shard.stats.commands_from_others += batch.requests.len() as u64;
        batch.reply_bytes = reply_bytes;
    }

    /// Puts what another shard answered into its places.
    fn take_answers(&mut self, envelope: &mut Envelope) {
        let batch = &envelope.batch;
        let mut start = 0;
        for (request, &end) in batch.requests.iter().zip(&batch.reply_ends) {
            let reply = &batch.reply_bytes[start..end];
            start = end;
            let Some(session) = self.shard.sessions.get_mut(request.session) else { continue };
            session.queue.fill(request.hole, reply, &mut session.out);
            session.adjust_hole_limit(reply.len());
            let is_drained = session.queue.is_empty();
            self.shard.sessions.mark_dirty(request.session);
            if is_drained {
                self.shard.sessions.mark_ready(request.session);
            }
        }
        for hop in envelope.hops.drain(..) {
            let HopState::Done(result) = hop.state else { continue };
            if let Some(coordination) = self.coordinations.get_mut(&hop.coordination) {
                coordination.put_result(hop.index, result);
                self.drive(hop.coordination);
            }
        }
    }

    fn send_messages(&mut self, world: &mut dyn World) {
        for index in 0..self.outboxes.len() {
            let outbox = &mut self.outboxes[index];
            let spare = || self.spare_envelopes.pop().unwrap_or_default();
            if let Some(envelope) = outbox.take(spare) {
                self.shard.stats.messages_out += 1;
                world.send(ShardId(index as u16), Message(envelope));
            }
            for id in outbox.take_waiting() {
                if let Some(session) = self.shard.sessions.get_mut(id) {
                    session.waits_for_room = false;
                }
                self.shard.sessions.mark_ready(id);
            }
        }
    }

    // ---- maintenance -------------------------------------------------------------------------------

    /// Work by time, in slices. Says whether some is left.
    fn maintain(&mut self, world: &mut dyn World) -> bool {
        let mut left = false;
        let due = self.shard.keyspace.next_expiry_ms();
        let now_ms = self.shard.now.unix_ms;
        let due = due.filter(|at_ms| *at_ms <= now_ms && self.shard.pause().is_none());
        if due.is_some() || self.shard.keyspace.has_graves() {
            let end_us = world.monotonic_us() + limits::MAINTENANCE_TURN_US;
            let mut more = || world.monotonic_us() < end_us;
            if due.is_some() {
                left |= self.shard.keyspace.expire_due(&mut more);
            }
            left |= self.shard.keyspace.bury_some(&mut more);
        }
        let now_us = self.shard.now.monotonic_us;
        if now_us >= self.sessions_checked_us + limits::SESSION_CHECK_US {
            self.sessions_checked_us = now_us;
            self.shard.sample();
            self.check_sessions();
        }
        left
    }

    /// Looks over some of the sessions: idle ones and those that don't read their replies.
    fn check_sessions(&mut self) {
        let now_us = self.shard.now.monotonic_us;
        let config = Arc::clone(&self.shard.config);
        let limit = &config.client_output_buffer_limit.normal;
        for _ in 0..limits::SESSION_CHECK_MAX.min(self.shard.sessions.len() + 1) {
            let (id, has_next) = self.shard.sessions.at(self.session_check_at);
            self.session_check_at = if has_next { self.session_check_at + 1 } else { 0 };
            let Some(id) = id else { continue };
            let session = self.shard.sessions.get_mut(id).expect("it is open");
            let idle_us = now_us.saturating_sub(session.last_used_us);
            let output = session.output_bytes() as u64;
            if output <= limit.soft_bytes || limit.soft_bytes == 0 {
                session.soft_limit_since_us = None;
            }
            let soft_since = session.soft_limit_since_us;
            let is_over = (limit.hard_bytes > 0 && output > limit.hard_bytes)
                || soft_since.is_some_and(|since| now_us - since > limit.soft_seconds * 1_000_000);
            if limit.soft_bytes > 0 && output > limit.soft_bytes && soft_since.is_none() {
                session.soft_limit_since_us = Some(now_us);
            }
            if is_over {
                self.shard.stats.output_limit_disconnections += 1;
                self.shard.sessions.abort(id);
            } else if config.timeout > 0
                && idle_us > u64::from(config.timeout) * 1_000_000
                && !session.is_coordinating
                && !session.is_held
            {
                self.shard.sessions.abort(id);
            }
        }
    }
}

/// Protected mode: a server that anybody could reach and use without a password refuses strangers.
fn protected_mode_refusal(config: &Config, peer: &Peer) -> Option<Vec<u8>> {
    let Peer::Tcp { remote, .. } = peer else { return None };
    let is_local = remote.ip().to_canonical().is_loopback();
    if !config.protected_mode || is_local || config.requirepass.is_set() {
        return None;
    }
    Some(
        b"-DENIED Basalt is running in protected mode because protected mode is enabled and no \
          password is set. In this mode connections are only accepted from the loopback interface. \
          To accept connections from elsewhere, do one of the following: 1) disable protected mode \
          with 'CONFIG SET protected-mode no' from the loopback interface (and 'CONFIG REWRITE' to \
          keep it), if the server is not reachable by strangers; 2) set 'protected-mode no' in the \
          configuration file and restart; 3) start the server with '--protected-mode no'; 4) set a \
          password with 'requirepass'.\r\n"
            .to_vec(),
    )
}
