//! Input: requests of every session parsed, staged and worked, round by round, until all is dry.

use basalt_commands::{Command, Flags, Run, ShardFn, check_memory};
use basalt_keyspace::{LONG_STRING_BYTES, LongString};
use basalt_resp::{
    LARGE_BULK_BYTES, ParseLimits, Parsed, Partial, ProtocolError, parse, parse_apart,
};
use smallvec::SmallVec;

use super::Core;
use super::cut_off::CutOff;
use super::dispatch::{Broken, Flow};
use crate::input::keys::KeyHash;
use crate::input::resolve::{self, LastFound, Resolved};
use crate::limits;
use crate::observe::command_stats::LARGE_REQUEST_BYTES;
use crate::session::armed::Armed;
use crate::session::{Session, SessionId};
use crate::world::World;

// What is received apart is what can be shared.
const _: () = assert!(LARGE_BULK_BYTES == LONG_STRING_BYTES);

/// Input to be worked, of one session.
pub(super) struct Source<'a> {
    id: SessionId,
    input: Input<'a>,
    /// Large arguments of its first request.
    large: Vec<LongString>,
}

pub(super) enum Input<'a> {
    Lent(&'a [u8]),
    /// A session's backlog, and where in it to start.
    Own(Vec<u8>, usize),
}

impl Input<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Own(bytes, start) => &bytes[*start..],
        }
    }
}

/// How far a source has come.
#[derive(Default)]
pub(super) struct Progress {
    parsed: usize,
    done: usize,
    end: End,
    partial: Option<Box<Partial>>,
    /// What it was at first, where arguments lie apart: the request is read again if it can't be worked now.
    partial_at_first: Option<Box<Partial>>,
    /// How much of what is left is needed to go on.
    need: usize,
    /// An inline request with escapes, in the form in which it goes on: how many bytes it stands for.
    rewritten: Option<(usize, Vec<u8>)>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum End {
    #[default]
    Open,
    /// All whole requests are parsed.
    Dry,
    /// The session has to wait.
    Stopped,
}

/// A parsed request, before it is worked.
pub(super) struct Staged {
    pub source: usize,
    pub args: (usize, usize),
    pub keys: (usize, usize),
    /// Where in the source the request ends.
    end: usize,
    /// So large that its time is taken, whatever it is.
    is_large: bool,
    pub what: What,
}

/// What a request turned out to be.
pub(super) enum What {
    /// A command of one shard, which is that of one key, with its handler: most are.
    Plain(&'static Command, ShardFn),
    Ready(Resolved),
    /// Which of those that are kept beside.
    Broken(usize),
}

impl Core {
    pub(super) fn work_received(&mut self, world: &mut dyn World, received: &[(SessionId, &[u8])]) {
        self.shard.stats.reads += received.len() as u64;
        let mut rest = received.iter().peekable();
        let is_still = self.shard.still.is_some() || self.journal_is_full();
        let bounds = self.shard.sessions.bounds();
        while rest.peek().is_some() {
            self.pass += 1;
            let (mut sources, mut has_gathered) = (Vec::new(), false);
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
                session.follow_bounds(bounds);
                self.shard.stats.bytes_in += bytes.len() as u64;
                if session.input.is_empty() && session.may_run() && !is_still {
                    session.pass = self.pass;
                    sources.push(Source { id, input: Input::Lent(bytes), large: Vec::new() });
                } else if !session.is_closing {
                    let appended = session.input.append(bytes);
                    self.settle_input(id, appended.is_ok());
                    self.shard.sessions.mark_ready(id);
                    has_gathered = true;
                }
            }
            if has_gathered && self.shard.config.maxmemory_clients.is_set() {
                // As in Redis, who has sent too much is gone before the next request runs. What is left goes at
                // the end of the turn.
                _ = self.evict_clients(world);
                let sessions = &self.shard.sessions;
                sources.retain(|one| sessions.get(one.id).is_some_and(Session::may_run));
            }
            self.work(world, sources, Vec::new());
        }
    }

    pub(super) fn work_ready(&mut self, world: &mut dyn World) {
        if self.shard.still.is_some() || self.journal_is_full() {
            return;
        }
        let (mut sources, mut progress) = (Vec::new(), Vec::new());
        let bounds = self.shard.sessions.bounds();
        for _ in 0..self.shard.sessions.ready_count().min(limits::TURN_READY_MAX) {
            let Some(id) = self.shard.sessions.next_ready() else { break };
            let session = self.shard.sessions.get_mut(id).expect("a ready session is open");
            session.follow_bounds(bounds);
            session.set_output_bound(bounds);
            let input = &mut session.input;
            let partial = input.partial.take();
            let (bytes, start) = (std::mem::take(&mut input.bytes), input.start);
            let large = std::mem::take(&mut input.large);
            (input.start, input.need) = (0, 0);
            let partial_at_first = if large.is_empty() { None } else { partial.clone() };
            sources.push(Source { id, input: Input::Own(bytes, start), large });
            progress.push(Progress { partial, partial_at_first, ..Progress::default() });
        }
        self.work(world, sources, progress);
    }

    /// Works the sources until they are dry, have to wait or the turn has done enough.
    pub(super) fn work(
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
        let mut broken = Vec::new();
        loop {
            args.clear();
            broken.clear();
            self.keys.clear();
            self.parse_some(&sources, &mut progress, (&mut args, &mut broken), &mut staged);
            if staged.is_empty() {
                break;
            }
            self.prefetch();
            let mut next = 0;
            while let Some(request) = staged.get(next) {
                let state = &mut progress[request.source];
                if self.turn_output_left == 0 {
                    self.turn_requests_left = 0;
                    state.end = End::Stopped;
                }
                if state.end == End::Stopped {
                    next += 1;
                    continue;
                }
                let id = sources[request.source].id;
                if let What::Plain(..) = request.what
                    && let plain @ 1.. = self.work_plain(world, id, &staged[next..], &args)
                {
                    next += plain;
                    self.publish_events();
                    state.done = staged[next - 1].end;
                    continue;
                }
                next += 1;
                if request.is_large
                    && let What::Ready(resolved) = &request.what
                {
                    self.shard.command_stats.time_next(resolved.command.number);
                }
                let args = &args[request.args.0..request.args.1];
                if request.is_large {
                    self.shard.keyspace.lend_received(&sources[request.source].large);
                }
                let resolved = match &request.what {
                    What::Plain(command, _) => {
                        let shard = Some(self.keys[request.keys.0].shard);
                        Ok(Resolved { command, shard, key_at: command.keys[0].first as u16 })
                    }
                    What::Ready(resolved) if request.is_large => self.foresee(*resolved, args),
                    What::Ready(resolved) => Ok(*resolved),
                    What::Broken(at) => {
                        Err(broken.get_mut(*at).and_then(Option::take).expect("it is told once"))
                    }
                };
                let written = self.written_bytes(id);
                let flow = self.work_one(world, id, args, request.keys, resolved);
                let output = self.written_bytes(id).saturating_sub(written);
                self.turn_output_left = self.turn_output_left.saturating_sub(output);
                if request.is_large {
                    self.shard.keyspace.end_received();
                }
                self.publish_events();
                if flow != Flow::Held {
                    state.done = request.end;
                }
                if flow != Flow::On {
                    state.end = End::Stopped;
                }
            }
            staged.clear();
        }
        self.staged = staged;
        for (source, state) in sources.into_iter().zip(progress) {
            self.keep_rest(source, state);
        }
    }

    /// Whether there is memory for the copies of a large request's arguments: one on the way to another shard,
    /// one in the keyspace. Those that are lent are not copied.
    ///
    /// Err: there is not; nothing of it was done.
    fn foresee(&self, resolved: Resolved, args: &[&[u8]]) -> Result<Resolved, Broken> {
        let goes_away = resolved.shard != Some(self.shard.id);
        let stays = resolved.command.flags.has(Flags::DENYOOM);
        let copies = usize::from(goes_away) + usize::from(stays);
        let lent = self.shard.keyspace.received();
        let is_copied = |arg: &&&[u8]| !lent.iter().any(|lent| lent.is(arg));
        let bytes = copies * args.iter().filter(is_copied).map(|arg| arg.len()).sum::<usize>();
        check_memory(bytes).map(|()| resolved).map_err(Broken::Command)
    }

    /// Parses requests of every source in turn, as many as are staged together.
    #[expect(clippy::too_many_lines, reason = "to be taken apart")]
    pub(super) fn parse_some<'a>(
        &mut self,
        sources: &'a [Source<'_>],
        progress: &mut [Progress],
        (args, broken): (&mut Vec<&'a [u8]>, &mut Vec<Option<Broken>>),
        staged: &mut Vec<Staged>,
    ) {
        if self.shard.memory.waits_for_others() {
            self.turn_requests_left = 0;
        }
        let mut last_found = LastFound::default();
        for (index, (source, state)) in sources.iter().zip(progress).enumerate() {
            if state.end != End::Open {
                continue;
            }
            let Some(session) = self.shard.sessions.get(source.id) else {
                state.end = End::Stopped;
                continue;
            };
            let limits = if session.armed.has(Armed::AUTH) {
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
                let rest = &input[state.parsed..];
                let parsed = if source.large.is_empty() {
                    parse(rest, &mut state.partial, args, limits)
                } else {
                    parse_large(rest, &source.large, &mut state.partial, args, limits)
                };
                let error = match parsed {
                    Ok(Parsed::Request { bytes }) => {
                        state.parsed += bytes;
                        self.turn_requests_left -= 1;
                        let first_key = self.keys.len();
                        let resolved = resolve::resolve(
                            &args[first_arg..],
                            &mut last_found,
                            session.database,
                            (&self.shard.routes, self.shard.keyspace.hasher()),
                            &mut self.keys,
                        );
                        let is_large = bytes >= LARGE_REQUEST_BYTES || !source.large.is_empty();
                        let what = match resolved {
                            Ok(Resolved { command, shard: Some(_), .. })
                                if let Run::Shard(run) = command.run
                                    && !is_large
                                    && !command.flags.has(Flags::PROTECTED) =>
                            {
                                What::Plain(command, run)
                            }
                            Ok(resolved) => What::Ready(resolved),
                            Err(error) => {
                                let is_http = resolve::is_from_a_browser(&args[first_arg..]);
                                broken.push(Some(match is_http {
                                    true => Broken::Browser,
                                    false => Broken::Command(error),
                                }));
                                What::Broken(broken.len() - 1)
                            }
                        };
                        // A login may be behind this one, and then other limits hold.
                        let is_barrier = session.armed.has(Armed::AUTH);
                        staged.push(Staged {
                            source: index,
                            args: (first_arg, args.len()),
                            keys: (first_key, self.keys.len()),
                            end: state.parsed,
                            is_large,
                            what,
                        });
                        if is_barrier {
                            break;
                        }
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
                    Err(error) => Some(Broken::Protocol(error)),
                };
                state.end = End::Dry;
                if let Some(error) = error {
                    broken.push(Some(error));
                    staged.push(Staged {
                        source: index,
                        args: (0, 0),
                        keys: (0, 0),
                        end: state.parsed,
                        is_large: false,
                        what: What::Broken(broken.len() - 1),
                    });
                }
                break;
            }
        }
    }

    /// Asks for the memory of all staged keys of this shard.
    fn prefetch(&mut self) {
        let Self { keys, keys_here, shard, outboxes, .. } = self;
        if keys.len() < 2 {
            return;
        }
        let here: &[KeyHash] = if outboxes.len() == 1 {
            keys
        } else {
            // Picked once and without a branch: whose a key is can't be foretold, and a wrong guess costs more
            // than all else here.
            keys_here.clone_from(keys);
            let mut count = 0;
            for at in 0..keys_here.len() {
                keys_here[count] = keys_here[at];
                count += usize::from(keys_here[count].shard == shard.id);
            }
            &keys_here[..count]
        };
        let memory = |key: &KeyHash| (key.database, key.slot, key.hash);
        shard.keyspace.prefetch(here.iter().map(memory));
    }

    /// Puts what is left of a source into its session's backlog.
    pub(super) fn keep_rest(&mut self, source: Source<'_>, state: Progress) {
        let Source { id, input, large } = source;
        let bounds = self.shard.sessions.bounds();
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        session.output_bound = bounds.output_bytes;
        if session.is_closing {
            session.input.clear();
            self.shard.sessions.settle_reading(id);
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
                    backlog.bytes.extend_from_slice(rest);
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
            if state.done == 0 && !large.is_empty() {
                // The request they belong to is not worked yet.
                backlog.large = large;
                backlog.partial = backlog.partial.take().or(state.partial_at_first);
            }
        }
        let has_memory = backlog.take_apart().is_ok();
        if backlog.is_empty() {
            backlog.clear();
        }
        self.settle_input(id, has_memory);
        self.shard.sessions.mark_dirty(id);
        if state.end != End::Stopped || self.turn_requests_left == 0 {
            self.shard.sessions.mark_ready(id);
        } else {
            self.resume_if_free(id);
        }
    }

    /// Marks a stopped session ready unless something is under way that will do so when it is over.
    pub(super) fn resume_if_free(&mut self, id: SessionId) {
        let Some(session) = self.shard.sessions.get(id) else { return };
        let waits = !session.queue.is_empty()
            || session.coordination.is_some()
            || (!session.may_answer() && !session.is_overfilled(self.shard.sessions.bounds()))
            || session.waits_for_room;
        if !waits {
            self.shard.sessions.mark_ready(id);
        }
    }

    /// Lends the large argument that a session is sending, to be received into: at most `bytes` more, or what
    /// [`LongString::room`] has. None if the session sends none; then its socket is read into buffers. To be called
    /// when all that was received before was given to a turn.
    pub fn lend_large(&mut self, id: SessionId) -> Option<(LongString, usize)> {
        let input = &mut self.shard.sessions.get_mut(id)?.input;
        match input.lend_large() {
            Ok(large) => Some((large?, input.large_left.min(limits::DIRECT_RECEIVE_BYTES_MAX))),
            Err(_) => {
                self.cut_off(id, CutOff::NoMemory);
                None
            }
        }
    }

    /// Takes back what [`Self::lend_large`] lent, with what has arrived. It is dropped if its session is gone.
    pub fn take_back_large(&mut self, id: SessionId, large: LongString) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        let bytes = session.input.take_back_large(large) as u64;
        session.bytes_in += bytes;
        session.last_used_us = self.shard.now.monotonic_us;
        self.shard.stats.bytes_in += bytes;
        self.shard.stats.reads += 1;
        self.settle_input(id, true);
        self.shard.sessions.mark_ready(id);
    }

    /// Cuts a session off whose request grew too long or that has too much output, and pauses reading where its
    /// backlog is full.
    #[inline]
    fn settle_input(&mut self, id: SessionId, has_memory: bool) {
        let Some(session) = self.shard.sessions.get(id) else { return };
        let config = &self.shard.config;
        let output_max = session.output_limit(&config.client_output_buffer_limit).hard_bytes;
        if !has_memory {
            self.cut_off(id, CutOff::NoMemory);
        } else if session.is_request_over(config.client_query_buffer_limit) {
            self.cut_off(id, CutOff::QueryLimit);
        } else if output_max > 0 && session.output_bytes() as u64 > output_max {
            self.cut_off(id, CutOff::OutputLimit);
        }
        self.shard.sessions.settle_reading(id);
    }
}

/// As [`parse`], where large arguments lie apart.
#[cold]
#[inline(never)]
fn parse_large<'a>(
    input: &'a [u8],
    large: &'a [LongString],
    partial: &mut Option<Box<Partial>>,
    args: &mut Vec<&'a [u8]>,
    limits: &ParseLimits,
) -> Result<Parsed, ProtocolError> {
    let apart: SmallVec<[&[u8]; 4]> = large.iter().map(|own| &**own).collect();
    parse_apart(input, &apart, partial, args, limits)
}
