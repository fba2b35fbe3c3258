//! Monitor: what is worked is shown to those who watch.

use basalt_commands::requests::{is_shown_to_monitors, write_monitor_line};
use basalt_commands::{Command, EngineCommand, Run, table};

use super::Core;
use super::cut_off::CutOff;
use super::dispatch::Flow;
use crate::input::resolve::Resolved;
use crate::limits;
use crate::observe::monitor::Observed;
use crate::session::armed::Armed;
use crate::session::execution::Execution;
use crate::session::queued::Queued;
use crate::session::{Peer, Session, SessionId};
use crate::world::World;

/// Writes what monitors are shown of a request, unless it is none that they are shown.
#[cold]
pub(super) fn write_line(
    lines: &mut Vec<u8>,
    at_us: u64,
    session: &Session,
    command: &Command,
    args: &[&[u8]],
) {
    if is_shown_to_monitors(command) {
        let address = match &session.peer {
            Peer::Tcp { remote, .. } => remote.to_string(),
            Peer::Unix { path } => format!("unix:{path}"),
        };
        write_monitor_line(lines, at_us, (session.database.0, &address), command, args);
    }
}

impl Core {
    /// Has a request worked, and shows it as Redis does: behind its work.
    #[cold]
    pub(super) fn work_observed(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        resolved: Resolved,
        args: &[&[u8]],
        keys: (usize, usize),
    ) -> Flow {
        let command = resolved.command;
        let multi = self.shard.sessions.get(id).and_then(|session| session.multi.as_ref());
        // An EXEC that runs something is shown behind that.
        let shows_itself = matches!(command.run, Run::Engine(EngineCommand::Exec))
            && multi.is_some_and(|multi| !multi.is_broken);
        if shows_itself {
            let at_us = self.shard.now.unix_us(world.monotonic_us());
            let (commands, name) = (Vec::new(), args[0].to_vec());
            if let Some(session) = self.shard.sessions.get_mut(id) {
                session.execution = Some(Box::new(Execution { commands, at_us, name }));
            }
        }
        let flow = self.dispatch(world, id, resolved, args, keys);
        if flow != Flow::Held && !shows_itself {
            self.observe(world, id, command, args);
        }
        flow
    }

    /// Shows a request to all who watch.
    pub(super) fn observe(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        command: &Command,
        args: &[&[u8]],
    ) {
        let at_us = self.shard.now.unix_us(world.monotonic_us());
        let line = self.line_of(at_us, id, command, args);
        self.show_to_all(&line);
    }

    fn line_of(&self, at_us: u64, id: SessionId, command: &Command, args: &[&[u8]]) -> Vec<u8> {
        let mut line = Vec::new();
        if let Some(session) = self.shard.sessions.get(id) {
            write_line(&mut line, at_us, session, command, args);
        }
        line
    }

    /// An EXEC runs these as one: they are shown when it is over.
    pub(super) fn note_execution(&mut self, id: SessionId, commands: &[Queued]) {
        let Some(session) = self.shard.sessions.get(id) else { return };
        let Some(at_us) = session.execution.as_ref().map(|execution| execution.at_us) else {
            return;
        };
        let lines = commands
            .iter()
            .flat_map(|queued| self.line_of(at_us, id, queued.command, &queued.args()))
            .collect();
        if let Some(session) = self.shard.sessions.get_mut(id)
            && let Some(execution) = &mut session.execution
        {
            execution.commands = lines;
        }
    }

    /// An EXEC is over with this answer.
    pub(super) fn show_execution(&mut self, id: SessionId, execution: &Execution, answer: &[u8]) {
        let is_nothing = answer.starts_with(b"*-1") || answer.starts_with(b"_");
        if !is_nothing {
            self.show_to_all(&execution.commands);
        }
        let exec = table::find(b"exec").expect("it has a row");
        let line = self.line_of(execution.at_us, id, exec, &[&execution.name]);
        self.show_to_all(&line);
    }

    pub(super) fn show_to_all(&mut self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        for home in self.shard.monitors.homes() {
            if home == self.shard.id {
                self.show_here(lines);
            } else {
                self.outboxes[home.index()].gathering.observed.push(lines);
            }
        }
    }

    /// What another core worked.
    pub(super) fn show_observed(&mut self, observed: &Observed) {
        self.show_here(&observed.lines);
        if observed.is_cut {
            for id in self.shard.monitors.own.clone() {
                self.cut_off(id, CutOff::OutputLimit);
            }
        }
    }

    /// Shows lines to the monitors of this core. One that does not read them is cut off.
    fn show_here(&mut self, lines: &[u8]) {
        let hard = self.shard.config.client_output_buffer_limit.normal.hard_bytes as usize;
        let limit = if hard > 0 { hard } else { limits::MONITOR_UNSENT_MAX_BYTES };
        for id in self.shard.monitors.own.clone() {
            let Some(session) = self.shard.sessions.get_mut(id) else { continue };
            if session.is_closing {
                continue;
            }
            session.output().extend_from_slice(lines);
            let is_over = session.output_bytes() > limit;
            self.shard.sessions.mark_dirty(id);
            if is_over {
                self.cut_off(id, CutOff::OutputLimit);
            }
        }
    }

    /// The session watches no more, if it did.
    pub(crate) fn end_monitor(&mut self, id: SessionId) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        if !std::mem::take(&mut session.is_monitor) {
            return;
        }
        session.armed.set(Armed::MONITOR, false);
        self.shard.monitors.own.retain(|own| *own != id);
        let home = self.shard.id;
        for shard in self.shard.routes.clone().shards() {
            self.hop_on(shard, move |shard| shard.remove_monitor(home));
        }
    }
}
