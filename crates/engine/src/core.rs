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
//! the next goes on, and so does one that is taken apart by shards; whatever is more waits until the holes are
//! filled.

mod cut_off;
mod deferred;
mod dispatch;
mod engine_commands;
mod exchange;
mod exec;
mod fast_path;
mod input;
mod journal;
pub(crate) mod loading;
mod maintenance;
mod many;
mod monitor;
mod pipelined;
mod pubsub;
mod quiescence;
mod saving;
mod scripts;
pub(crate) mod snapshot;
mod steps;
mod timing;
mod tracking;
mod transact;
mod transactions;
mod wait;
mod wakeups;

use std::collections::VecDeque;
use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_keyspace::{KeyHasher, Keyspace, ShardId};

use basalt_resp::Payloads;

use crate::completion::Ticket;
use crate::input::keys::KeyHash;
use crate::intents::Numbers;
use crate::limits;
use crate::mesh::message::{Envelope, Message};
use crate::mesh::outbox::Outbox;
use crate::now::{Now, Stopwatch};
use crate::session::SessionSums;
use crate::session::{Peer, Reading, SessionId};
use crate::shard::part::TxnPartPool;
use crate::shard::{ApplySettings, Shard};
use crate::slots::routes::Routes;
use crate::world::World;
use deferred::HeldRequests;
pub use engine_commands::REDIS_VERSION;
use exec::{Inside, Nested};
use input::Staged;
use journal::Durability;
use pipelined::Begun;
use quiescence::{Departure, Quiescence};
use timing::EndedCall;
use transactions::UnderWay;

/// What a core needs to begin.
pub struct CoreSetup {
    pub shard: ShardId,
    /// How many shards there are in all.
    pub shard_count: usize,
    pub config: Arc<Config>,
    /// Seeds the hash of keys: the same for all cores of a process.
    pub hash_seed: u64,
    /// The number of this run of the process, for records: the same for all its cores, another after each start.
    pub epoch: u64,
    /// Seeds what commands leave to random.
    pub random_seed: u64,
    pub now: Now,
    /// Times the commands of transactions, which run on any shard.
    pub stopwatch: Stopwatch,
    /// On the first shard; `None` where nothing of the settings is acted on outside.
    pub apply: Option<ApplySettings>,
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
    /// To be sent now; call [`Core::sent`] when it is.
    pub bytes: Vec<u8>,
    /// Long parts of it, which are shared with the data.
    pub payloads: Payloads,
    /// Close once everything is sent.
    pub close: bool,
}

/// One shard, its sessions, and what is under way between it and others.
pub struct Core {
    pub(crate) shard: Shard,
    outboxes: Vec<Outbox>,
    under_way: UnderWay,
    held: HeldRequests,
    numbers: Numbers,
    /// The run of the process, for tags of transactions.
    epoch: u64,
    /// The pipelined transaction that the command of just now began.
    begun_pipelined: Option<Begun>,
    txn_part_pool: TxnPartPool,
    /// A reply while it is put together.
    answer: Vec<u8>,
    /// What EXECs wish to have run.
    inside: VecDeque<Inside>,
    nested: Option<Nested>,
    /// Empty envelopes to be used again.
    #[expect(clippy::vec_box, reason = "they travel in their boxes")]
    spare_envelopes: Vec<Box<Envelope>>,
    staged: Vec<Staged>,
    /// The keys of what is staged, and those of them that are this shard's.
    keys: Vec<KeyHash>,
    keys_here: Vec<KeyHash>,
    /// Calls of coordinations that ended in this turn.
    ended_calls: Vec<EndedCall>,
    /// Coordinations of DEBUG SLEEP, which go on once this core has stalled.
    stalled: Vec<Ticket>,
    quiescence: Quiescence,
    durability: Durability,
    pass: u64,
    turn_requests_left: usize,
    turn_output_left: usize,
    sessions_checked_us: u64,
    session_check_at: usize,
    /// Of the sessions looked over in this round.
    sessions_so_far: SessionSums,
}

impl Core {
    pub fn new(setup: CoreSetup) -> Self {
        let CoreSetup { shard, shard_count, config, hash_seed, epoch, random_seed, now, .. } =
            setup;
        let hasher = KeyHasher::new(hash_seed);
        let mut keyspace = Keyspace::new(config.databases as usize, hasher, now.unix_ms);
        keyspace.seed_random(random_seed);
        let routes = Arc::new(Routes::in_blocks(shard_count));
        let mut shard = Shard::new(shard, keyspace, config, routes, now);
        shard.stopwatch = setup.stopwatch;
        if let Some(apply) = setup.apply {
            shard.apply_with(apply);
        }
        let mut numbers = Numbers::default();
        let outboxes =
            (0..shard_count).map(|_| Outbox::new(numbers.next(shard.id, now.monotonic_us)));
        Self {
            outboxes: outboxes.collect(),
            shard,
            under_way: UnderWay::default(),
            held: HeldRequests::default(),
            numbers,
            epoch,
            begun_pipelined: None,
            txn_part_pool: TxnPartPool::default(),
            answer: Vec::new(),
            inside: VecDeque::new(),
            nested: None,
            spare_envelopes: Vec::new(),
            staged: Vec::new(),
            keys: Vec::new(),
            keys_here: Vec::new(),
            ended_calls: Vec::new(),
            stalled: Vec::new(),
            quiescence: Quiescence::default(),
            durability: Durability::new(shard_count),
            pass: 0,
            turn_requests_left: 0,
            turn_output_left: 0,
            sessions_checked_us: now.monotonic_us,
            session_check_at: 0,
            sessions_so_far: SessionSums::default(),
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

    /// Compares the books of the sessions with a walk, for tests.
    #[doc(hidden)]
    pub fn verify_books(&mut self) {
        self.shard.sessions.verify_books();
    }

    /// Whether no coordination is under way and no intent is held, for tests.
    #[doc(hidden)]
    pub fn is_at_rest(&self) -> bool {
        self.under_way.is_empty()
            && self.held.is_empty()
            && self.shard.intents.is_empty()
            && self.shard.still.is_none()
    }

    /// Whether a transaction is under way that is at home here or visits this shard, for tests.
    #[doc(hidden)]
    pub fn has_transactions(&self) -> bool {
        self.under_way.has_transactions() || self.shard.still.is_some()
    }

    /// A connection was pinned to this core. `Err` holds the bytes to send before closing it
    /// (protected mode).
    pub fn connect(&mut self, peer: Peer) -> Result<SessionId, Vec<u8>> {
        if let Some(refusal) = protected_mode_refusal(&self.shard.config, &peer) {
            return Err(refusal);
        }
        let id = self.shard.open_session(peer).id;
        self.shard.sessions.settle_reading(id);
        Ok(id)
    }

    /// The client will send no more, but may still read: the session ends when it is answered.
    pub fn end_of_input(&mut self, session: SessionId) {
        if self.puts_off(Departure::EndOfInput(session)) {
            return;
        }
        if self.shard.waiting.is_waiting(session)
            && self.stop_waiting(session)
            && let Some(session) = self.shard.sessions.get_mut(session)
        {
            // What it sent behind is worked no more, as if it were gone.
            session.coordination = None;
            session.is_waiting = false;
            session.pending_call = None;
            session.is_closing = true;
        }
        if let Some(session) = self.shard.sessions.get_mut(session) {
            session.input_ended = true;
        }
        self.shard.sessions.mark_dirty(session);
    }

    /// The socket is closed or broken; the session is gone after this.
    pub fn disconnect(&mut self, session: SessionId) {
        if self.puts_off(Departure::Disconnect(session)) {
            return;
        }
        self.stop_waiting(session);
        let Some(own) = self.shard.sessions.get(session) else { return };
        let (is_executing, runs_script) = (own.is_executing, own.runs_script);
        let coordination = own.coordination;
        let is_over = coordination.is_none_or(|coordination| self.cancel(coordination));
        if (is_executing || runs_script) && !is_over {
            // All of it is done, or nothing: a part of it may need the session.
            if let Some(own) = self.shard.sessions.get_mut(session) {
                own.is_gone = true;
            }
            return;
        }
        self.forget(session);
    }

    /// Closes a session with all that others know of it.
    fn forget(&mut self, session: SessionId) {
        self.end_monitor(session);
        self.set_tracking(session, None);
        if let Some(mut closed) = self.shard.sessions.close(session) {
            if let Some(subscriptions) = closed.subscriptions.take() {
                self.shard.pubsub.subscribers.leave(session, subscriptions);
                self.drop_subscriptions();
            }
            self.forget_watches(closed.number, &closed.watched);
        }
    }

    /// The next session whose output, reading or closing changed since it was last asked.
    pub fn next_dirty(&mut self) -> Option<SessionId> {
        self.next_unheld()
    }

    /// The next session whose socket is to be read in another way. At first all are read into buffers.
    pub fn next_reading(&mut self) -> Option<(SessionId, Reading)> {
        self.shard.sessions.next_reading()
    }

    /// The next session that is to be cut off at once, whatever of its output is not sent.
    pub fn next_aborted(&mut self) -> Option<SessionId> {
        self.shard.sessions.next_aborted()
    }

    /// Takes the session's output; `spare` is an empty buffer put in its place. Called only while no
    /// earlier output of the session is being sent.
    pub fn take_output(&mut self, id: SessionId, spare: Vec<u8>) -> Output {
        let may_leave = self.may_leave_now(id);
        let Some(session) = self.shard.sessions.get_mut(id) else {
            return Output { bytes: spare, payloads: Payloads::default(), close: true };
        };
        if !may_leave {
            return Output { bytes: spare, payloads: Payloads::default(), close: false };
        }
        let (bytes, payloads) = match session.take_held(self.durability.released()) {
            Some(held) => held,
            None => {
                let bytes = std::mem::replace(&mut session.out, spare);
                (bytes, std::mem::take(&mut session.payloads))
            }
        };
        let len = bytes.len() + payloads.bytes();
        session.unsent += len;
        session.unsent_spare = bytes.capacity() - bytes.len();
        session.bytes_out += len as u64;
        self.shard.stats.bytes_out += len as u64;
        self.shard.stats.writes += u64::from(!bytes.is_empty());
        let close = (session.is_closing || session.input_ended) && session.is_answered();
        Output { bytes, payloads, close }
    }

    /// The output last taken is sent, `bytes` with its payloads. If more has gathered, the session is dirty again.
    pub fn sent(&mut self, id: SessionId, bytes: usize) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        session.unsent -= bytes;
        session.unsent_spare = 0;
        let is_over = session.input_ended && session.is_answered();
        let has_more = !session.out.is_empty() || session.is_held_back() || is_over;
        let has_input = !session.input.is_empty();
        if has_more {
            self.shard.sessions.mark_dirty(id);
        }
        if has_input {
            self.shard.sessions.mark_ready(id);
        }
    }

    /// Learns how much the other shards hold, where that matters.
    fn refresh_memory(&mut self, world: &mut dyn World) {
        if self.shard.is_memory_bounded() {
            self.shard.memory_bounds = world.memory_bounds();
            self.shard.used_by_others = world.used_by_others();
            if self.shard.config.maxmemory.is_set()
                && self.shard.pressure.is_news(&self.shard.memory_bounds)
            {
                self.shard.follow_pressure();
            }
            self.shard.renew_memory_limit();
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
        self.begin_turn_of_journal(world);
        self.refresh_memory(world);
        self.turn_requests_left = limits::TURN_REQUESTS_MAX;
        self.turn_output_left = limits::TURN_OUTPUT_BYTES_MAX;
        if self.shard.still.is_none() {
            self.shard.waiting.end_overdue(self.shard.id, now.monotonic_us);
            self.look_again();
        }
        for ticket in std::mem::take(&mut self.stalled) {
            self.take_result(ticket, Box::new(()));
        }
        for outbox in &mut self.outboxes {
            outbox.renew(|| self.numbers.next(self.shard.id, now.monotonic_us));
        }
        for (from, message) in messages.drain(..) {
            self.receive(world, from, message);
        }
        self.settle();
        if self.shard.config_is_new() {
            self.refresh_memory(world);
        }
        self.run_inside(world);
        self.let_depart();
        self.work_received(world, received);
        self.run_inside(world);
        self.work_ready(world);
        self.run_inside(world);
        let script_goes_on = self.go_on_with_script();
        self.run_inside(world);
        let mut left = script_goes_on
            | self.maintain(world)
            | self.drop_subscriptions()
            | self.save(world)
            | self.load_part(world);
        self.publish_events();
        if self.shard.keyspace.has_ready() {
            self.settle();
        }
        self.settle_ended_calls(world);
        self.end_turn_of_journal(world);
        self.tell_whether_quiet();
        self.log_long_visits(world);
        if self.shard.is_memory_bounded() {
            left |= self.evict_clients(world);
            self.publish_memory(world);
        }
        if !self.shard.notes.is_empty() {
            self.write_notes(world);
        }
        self.hand_head(world);
        self.hand_load(world);
        self.send_messages(world);
        if let Some(config) = self.shard.take_new_config() {
            world.config_changed(&config);
        }
        if let Some(moment_us) = self.shard.stall_until_us.take() {
            world.stall_until(moment_us);
        }
        let expiry_at_us = |at_ms: u64| {
            let left_us = at_ms.saturating_sub(now.unix_ms).saturating_mul(1000);
            now.monotonic_us.saturating_add(left_us)
        };
        if self.shard.still.is_some() {
            // What ends it comes as a message.
            let wake_at_us = self.journal_due_us();
            return Turn { busy: left || !self.stalled.is_empty(), wake_at_us };
        }
        // Nothing expires before the end of a pause.
        let wake_at_us = match self.shard.pause() {
            Some(pause) => Some(pause.until_us),
            None => self.next_expiry_ms().map(expiry_at_us),
        };
        let deadline_us = self.shard.waiting.next_due_us();
        let looks_us = [
            self.session_check_due_us(),
            self.balance_due_us(),
            self.journal_due_us(),
            self.save_due_us(),
            self.load_due_us(),
        ];
        let due_us = [wake_at_us, deadline_us].into_iter().chain(looks_us);
        let wake_at_us = due_us.flatten().min();
        let has_ready = self.shard.sessions.ready_count() > 0 && !self.journal_is_full();
        let busy = left || !self.stalled.is_empty() || has_ready;
        Turn { busy, wake_at_us }
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
