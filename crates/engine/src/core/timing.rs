//! Timing: what commands cost, for the books, the slow log and the latency events.
//!
//! A command on one shard costs what its handler takes. One that goes on as a coordination costs the time
//! until it is answered; of one that may block, only what passes before it waits.

use basalt_commands::{Command, CommandError, EngineCommand, Flags, Run, table};

use super::Core;
use crate::input::measured::{Measured, is_measured_whole};
use crate::mesh::message::Envelope;
use crate::session::execution::{PendingCall, Timing};
use crate::session::{Session, SessionId};
use crate::shard::call::calls_of;
use crate::shard::timing::logged_args;
use crate::world::World;

/// A call that ended in this turn.
pub(super) struct EndedCall {
    session: SessionId,
    call: PendingCall,
    failed: bool,
    reply_bytes: usize,
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
        let is_timed = self.shard.command_stats.is_next_timed(command.number);
        let begun = is_timed.then(|| world.monotonic_ns());
        let errors = self.shard.stats.error_replies;
        let start = self.shard.sessions.get_mut(id).map_or(0, |session| session.output().len());
        let written = self.written_bytes(id);
        run(self, world);
        let end = begun.map(|_| world.monotonic_ns());
        let span = begun.zip(end);
        if self.goes_on(id, command, args, span) {
            return;
        }
        let has_errors = self.shard.stats.error_replies > errors;
        // Errors of the commands of a transaction are theirs.
        let failed = has_errors
            && (!matches!(command.run, Run::Engine(EngineCommand::Exec))
                || self.is_error(id, start));
        self.shard.end_call(command, failed);
        if let Some((begun, end)) = span {
            let ns = end.saturating_sub(begun);
            if self.is_measured(command) {
                let reply_bytes = self.written_bytes(id).saturating_sub(written);
                let call = Measured::of(command, args);
                calls_of!(self.shard).note_cost(&call, ns, reply_bytes);
            }
            self.shard.settle_call(id, command, (None, args), ns);
        }
    }

    pub(super) fn written_bytes(&self, id: SessionId) -> usize {
        self.shard.sessions.get(id).map_or(0, Session::written_bytes)
    }

    /// Whether a session of HOTKEYS measures what the whole command costs.
    fn is_measured(&self, command: &Command) -> bool {
        self.shard.hot_keys.is_measuring() && is_measured_whole(command)
    }

    /// Whether what a session was answered from here on is an error.
    fn is_error(&mut self, id: SessionId, start: usize) -> bool {
        let session = self.shard.sessions.get_mut(id);
        session.is_some_and(|session| session.output().get(start) == Some(&b'-'))
    }

    /// Keeps what the books need of a command that goes on as a coordination; returns whether it does.
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
        let request = args;
        let args = if logs { logged_args(command, args) } else { Vec::new() };
        let timing = match span {
            None => Timing::Untimed,
            Some((begun, end)) if command.flags.has(Flags::BLOCKING) => {
                Timing::Before(end.saturating_sub(begun))
            }
            Some((begun, _)) => Timing::Since(begun),
        };
        let measured = self.measured(command, request);
        let call = PendingCall { command, timing, args, measured };
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
        let Some(call) = session.pending_call.take() else { return };
        let error = answer.strip_prefix(b"-").map(<[u8]>::trim_ascii_end);
        let is_whole = matches!(call.command.run, Run::Many(_) | Run::Engine(EngineCommand::Exec));
        if is_whole
            && error.is_some_and(|text| text.ends_with(CommandError::OVER_MAXMEMORY.as_bytes()))
        {
            // A shard of its keys refused it before anything ran.
            self.shard.command_stats.rejected(call.command.number);
        } else {
            self.end_call(id, *call, (error.is_some(), answer.len()));
        }
    }

    /// What a session of HOTKEYS needs of a call that goes on.
    pub(super) fn measured(
        &self,
        command: &Command,
        args: &[&[u8]],
    ) -> Option<Box<Measured<Vec<u8>>>> {
        self.is_measured(command).then(|| Box::new(Measured::of(command, args).owned()))
    }

    /// A call that went on is over, with so many bytes of reply: it is settled now, or where its time is taken before
    /// the turn ends.
    pub(super) fn end_call(
        &mut self,
        session: SessionId,
        call: PendingCall,
        (failed, reply_bytes): (bool, usize),
    ) {
        match call.timing {
            Timing::Untimed => self.shard.end_call(call.command, failed),
            _ => self.ended_calls.push(EndedCall { session, call, failed, reply_bytes }),
        }
    }

    /// Settles the calls that ended in this turn.
    pub(super) fn settle_ended_calls(&mut self, world: &mut dyn World) {
        if self.ended_calls.is_empty() {
            return;
        }
        let now = world.monotonic_ns();
        for EndedCall { session, call, failed, reply_bytes } in self.ended_calls.drain(..) {
            let PendingCall { command, timing, args, measured } = call;
            self.shard.end_call(command, failed);
            let ns = match timing {
                Timing::Untimed => continue,
                Timing::Since(begun) => now.saturating_sub(begun),
                Timing::Before(ns) => ns,
            };
            if let Some(call) = measured {
                calls_of!(self.shard).note_cost(&call, ns, reply_bytes);
            }
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

    /// A request was refused before it ran: counted for the row that it names.
    #[cold]
    pub(super) fn count_rejected(&mut self, args: &[&[u8]]) {
        let Some(&name) = args.first() else { return };
        let Some(command) = table::find(name) else { return };
        let subcommand = args.get(1).and_then(|name| table::find_subcommand(command, name));
        self.shard.command_stats.rejected(subcommand.unwrap_or(command).number);
    }
}
