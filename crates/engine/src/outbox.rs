//! Outbox: what a core has to ask of one other shard, gathered until the turn ends.
//!
//! At most [`MESSAGES_IN_FLIGHT_MAX`](crate::limits::MESSAGES_IN_FLIGHT_MAX) messages are on their way;
//! beyond that requests gather in the next one, and beyond its limits sessions wait.

use basalt_commands::{Command, ShardFn};
use basalt_keyspace::SlotId;

use crate::limits;
use crate::message::{Envelope, Request};
use crate::session::{Session, SessionId};

/// What a core has to ask of one other shard.
#[derive(Default)]
pub(crate) struct Outbox {
    pub gathering: Box<Envelope>,
    in_flight: usize,
    /// Sessions that wait until there is room again.
    waiting: Vec<SessionId>,
}

impl Outbox {
    /// Whether a session's request of so many bytes has room.
    #[inline]
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let batch = &self.gathering.batch;
        batch.is_empty()
            || (batch.requests.len() < limits::OUTBOX_REQUESTS_MAX
                && batch.arg_bytes.len() + bytes <= limits::OUTBOX_BYTES_MAX)
    }

    /// Adds a session's request for a key of that shard; its reply has a place from now on.
    #[inline]
    pub(crate) fn add(
        &mut self,
        session: &mut Session,
        (command, run): (&'static Command, ShardFn),
        args: &[&[u8]],
        (hash, slot, key_at): (u64, SlotId, u16),
    ) {
        let request = Request {
            session: session.id,
            hole: session.queue.open_hole(),
            command,
            run,
            arg_count: args.len() as u32,
            hash,
            slot,
            database: session.database,
            protocol: session.protocol,
            key_at,
            is_held: false,
        };
        self.gathering.batch.push(request, args);
    }

    /// Whether nothing is gathered, and nothing that went has still to come back.
    pub(crate) fn is_idle(&self) -> bool {
        self.gathering.is_empty() && self.in_flight == 0
    }

    pub(crate) fn wait_for_room(&mut self, session: SessionId) {
        if self.waiting.last() != Some(&session) {
            self.waiting.push(session);
        }
    }

    /// The gathered message, if there is something in it and it may go; `spare` takes its place.
    pub(crate) fn take(&mut self, spare: impl FnOnce() -> Box<Envelope>) -> Option<Box<Envelope>> {
        if self.gathering.is_empty() || self.in_flight >= limits::MESSAGES_IN_FLIGHT_MAX {
            return None;
        }
        self.in_flight += 1;
        Some(std::mem::replace(&mut self.gathering, spare()))
    }

    /// A message came back.
    pub(crate) fn returned(&mut self) {
        assert!(self.in_flight > 0, "a message comes back once");
        self.in_flight -= 1;
    }

    /// The sessions that may try again, once there is room.
    pub(crate) fn take_waiting(&mut self) -> Vec<SessionId> {
        if self.has_room(0) { std::mem::take(&mut self.waiting) } else { Vec::new() }
    }
}
