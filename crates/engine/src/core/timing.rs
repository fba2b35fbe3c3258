//! Timing: what commands cost, told to the books, the slow log and the latency events.
//!
//! A command on one shard costs what its handler takes. One that goes on as a coordination costs the time
//! until it is answered; of one that may block, only what passes before it waits.

use basalt_commands::requests::write_logged_args;
use basalt_commands::{Command, Flags, table};
use basalt_keyspace::SlotId;
use basalt_resp::{Protocol, Reply};

use super::Core;
use crate::mesh::message::Envelope;
use crate::observe::latency::{self, Sample};
use crate::observe::slowlog::SlowRequest;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::world::World;

/// A call that goes on as a coordination or a pipelined transaction.
pub(crate) struct PendingCall {
    command: &'static Command,
    timing: Timing,
    /// For the slow log; empty where there is none.
    args: Vec<u8>,
}

enum Timing {
    Untimed,
    /// Began at this moment.
    Since(u64),
    /// Took so long before it waited.
    Before(u64),
}

/// A call that ended in this turn.
pub(super) struct EndedCall {
    session: SessionId,
    call: PendingCall,
    failed: bool,
}

/// Arguments as the slow log keeps them.
fn logged_args(command: &Command, args: &[&[u8]]) -> Vec<u8> {
    let mut encoded = Vec::new();
    write_logged_args(command, args, &mut Reply::new(&mut encoded, Protocol::Resp2));
    encoded
}

impl Shard {
    /// A call that was counted took so long, in this slot if it was in one. Says whether that is for the slow
    /// log.
    #[cold]
    pub(crate) fn took(&mut self, command: &Command, slot: Option<SlotId>, ns: u64) -> bool {
        let ns_of_all = self.meter.took(command, ns);
        if let Some(slot) = slot {
            self.loads.note(slot, ns_of_all);
        }
        let is_fast = command.flags.has(Flags::FAST);
        let event = if is_fast { latency::FAST_COMMAND } else { latency::COMMAND };
        self.note_latency(event, ns / 1000);
        let least_us = u64::try_from(self.config.slowlog_log_slower_than);
        least_us.is_ok_and(|least_us| ns / 1000 >= least_us)
            && !command.flags.has(Flags::SKIP_SLOWLOG)
    }

    /// Keeps a latency event that took long enough.
    pub(crate) fn note_latency(&mut self, event: &'static str, us: u64) {
        let threshold_ms = self.config.latency_monitor_threshold;
        if threshold_ms > 0 && us / 1000 >= threshold_ms {
            let sample = Sample { at_s: self.now.unix_ms / 1000, ms: us / 1000 };
            self.latency.add(event, sample);
        }
    }

    fn log_slow(&mut self, id: SessionId, us: u64, args: Vec<u8>) {
        let Some(session) = self.sessions.get(id) else { return };
        let request = SlowRequest {
            number: self.slowlog.next_number(self.id.0, self.routes.shard_count()),
            at_s: self.now.unix_ms / 1000,
            us,
            args,
            address: session.peer.address(),
            client_name: session.name.clone(),
        };
        self.slowlog.add(request, self.config.slowlog_max_len);
    }

    /// A session's call that was counted took so long.
    #[cold]
    pub(super) fn settle_call(
        &mut self,
        id: SessionId,
        command: &Command,
        (slot, args): (Option<SlotId>, &[&[u8]]),
        ns: u64,
    ) {
        if self.took(command, slot, ns) {
            self.log_slow(id, ns / 1000, logged_args(command, args));
        }
    }

    /// A call is over whose time, if it was taken, is told next.
    fn end_call(&mut self, command: &Command, failed: bool) {
        self.meter.count(command.number);
        if failed {
            self.meter.failed(command.number);
        }
    }
}

impl Core {
    /// Runs a command that may go on as a coordination, and sees to its books.
    pub(super) fn run_whole(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        command: &'static Command,
        args: &[&[u8]],
        run: impl FnOnce(&mut Self, &mut dyn World),
    ) {
        if let Some(session) = self.shard.sessions.get_mut(id) {
            session.commands += 1;
            session.last_command = command.name;
        }
        let is_timed = self.shard.meter.is_next_timed(command.number);
        let begun = is_timed.then(|| world.monotonic_ns());
        let errors = self.shard.stats.error_replies;
        run(self, world);
        let end = begun.map(|_| world.monotonic_ns());
        let span = begun.zip(end);
        if self.goes_on(id, command, args, span) {
            return;
        }
        let failed = self.shard.stats.error_replies > errors;
        self.shard.end_call(command, failed);
        if let Some((begun, end)) = span {
            self.shard.settle_call(id, command, (None, args), end.saturating_sub(begun));
        }
    }

    /// Keeps what the books need of a command that goes on as a coordination; says whether it does.
    fn goes_on(
        &mut self,
        id: SessionId,
        command: &'static Command,
        args: &[&[u8]],
        span: Option<(u64, u64)>,
    ) -> bool {
        let is_coordinated =
            self.shard.sessions.get(id).is_some_and(|session| session.coordination.is_some());
        if !is_coordinated && self.begun_pipelined.is_none() {
            return false;
        }
        let logs = span.is_some() && self.shard.config.slowlog_log_slower_than >= 0;
        let args = if logs { logged_args(command, args) } else { Vec::new() };
        let timing = match span {
            None => Timing::Untimed,
            Some((begun, end)) if command.flags.has(Flags::BLOCKING) => {
                Timing::Before(end.saturating_sub(begun))
            }
            Some((begun, _)) => Timing::Since(begun),
        };
        let call = PendingCall { command, timing, args };
        if let Some(place) = self.pipelined_call() {
            *place = Some(call);
        } else if let Some(session) = self.shard.sessions.get_mut(id)
            && is_coordinated
        {
            session.pending_call = Some(Box::new(call));
        } else {
            return false;
        }
        true
    }

    /// A coordination ended with this answer: its call is settled before the turn ends.
    pub(super) fn end_pending_call(&mut self, id: SessionId, answer: &[u8]) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        if let Some(call) = session.pending_call.take() {
            self.end_call(id, *call, answer.starts_with(b"-"));
        }
    }

    /// A call that went on is over: it is settled now, or where its time is taken before the turn ends.
    pub(super) fn end_call(&mut self, session: SessionId, call: PendingCall, failed: bool) {
        match call.timing {
            Timing::Untimed => self.shard.end_call(call.command, failed),
            _ => self.ended_calls.push(EndedCall { session, call, failed }),
        }
    }

    /// Settles the calls that ended in this turn.
    pub(super) fn settle_ended_calls(&mut self, world: &mut dyn World) {
        if self.ended_calls.is_empty() {
            return;
        }
        let now = world.monotonic_ns();
        for EndedCall { session, call, failed } in self.ended_calls.drain(..) {
            let PendingCall { command, timing, args } = call;
            self.shard.end_call(command, failed);
            let ns = match timing {
                Timing::Untimed => continue,
                Timing::Since(begun) => now.saturating_sub(begun),
                Timing::Before(ns) => ns,
            };
            if self.shard.took(command, None, ns) && !args.is_empty() {
                self.shard.log_slow(session, ns / 1000, args);
            }
        }
    }

    /// Logs what took long on another shard; the requests come back with their answers.
    #[cold]
    pub(super) fn log_slow_answers(&mut self, envelope: &Envelope) {
        let batch = &envelope.batch;
        let (mut at, mut first) = (0, 0);
        // They stand in the order of the requests.
        for &(index, us) in &envelope.slow {
            let request = &batch.requests[index];
            let between = &batch.requests[at..index];
            first += between.iter().map(|request| request.arg_count as usize).sum::<usize>();
            at = index;
            let end_of = |arg: usize| arg.checked_sub(1).map_or(0, |last| batch.arg_ends[last]);
            let args: Vec<&[u8]> = (first..first + request.arg_count as usize)
                .map(|arg| &batch.arg_bytes[end_of(arg)..batch.arg_ends[arg]])
                .collect();
            self.shard.log_slow(request.session, us, logged_args(request.command, &args));
        }
    }

    /// A request was refused before it ran; the row that it names is told.
    #[cold]
    pub(super) fn count_rejected(&mut self, args: &[&[u8]]) {
        let Some(&name) = args.first() else { return };
        let Some(command) = table::find(name) else { return };
        let subcommand = args.get(1).and_then(|name| table::find_subcommand(command, name));
        self.shard.meter.rejected(subcommand.unwrap_or(command).number);
    }
}
