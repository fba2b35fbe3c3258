//! Table: all sessions of a core, and which of them the server or the turn should look at.

use std::collections::VecDeque;
use std::mem;

use basalt_keyspace::{DatabaseId, ShardId};
use basalt_resp::{Payloads, Protocol};

use super::armed::Armed;
use super::books::{Books, Weight};
use super::bounds::Bounds;
use super::fieldsets::Fieldsets;
use super::queued::Watched;
use super::{Backlog, Peer, Reading, ReplyMode, ReplyQueue, Session, SessionId};
use crate::limits;

/// All sessions of a core.
#[derive(Default)]
pub(crate) struct Sessions {
    pub(super) places: Vec<Place>,
    free: Vec<u32>,
    count: usize,
    /// Sessions whose output, reading or closing changed.
    dirty: VecDeque<SessionId>,
    /// Sessions whose backlog can be worked.
    ready: VecDeque<SessionId>,
    /// Sessions whose sockets are to be read from now on, or no more.
    reading: Vec<SessionId>,
    /// Sessions to be cut off at once, sent or not.
    aborted: Vec<SessionId>,
    pub(super) books: Books,
    pub(super) bounds: Bounds,
}

#[derive(Default)]
pub(super) struct Place {
    pub(super) generation: u32,
    pub(super) session: Option<Box<Session>>,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn open(&mut self, number: u64, peer: Peer, now_us: u64) -> &mut Session {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            (self.places.len() - 1) as u32
        });
        self.count += 1;
        let id = SessionId { index, generation: self.places[index as usize].generation };
        self.enter(id);
        let place = &mut self.places[index as usize];
        place.session.insert(Box::new(Session {
            id,
            number,
            peer,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            protocol: Protocol::Resp2,
            database: DatabaseId(0),
            armed: Armed::default(),
            reply_mode: ReplyMode::On,
            is_loader: false,
            no_evict: false,
            no_touch: false,
            last_command: "NULL",
            created_us: now_us,
            last_used_us: now_us,
            bytes_in: 0,
            bytes_out: 0,
            commands: 0,
            input: Backlog::default(),
            out: Vec::new(),
            payloads: Payloads::default(),
            queue: ReplyQueue::default(),
            hole_limit: limits::HOLES_AT_FIRST,
            unsent: 0,
            unsent_spare: 0,
            output_bound: limits::OUTPUT_PAUSE_BYTES,
            reading: Reading::Buffered,
            coordination: None,
            pipelined: 0,
            pipelined_weight: 0,
            pending_call: None,
            multi: None,
            watched: Watched::default(),
            fieldsets: Fieldsets::default(),
            is_executing: false,
            runs_script: false,
            execution: None,
            is_monitor: false,
            subscriptions: None,
            tracking: None,
            told_all_at: None,
            is_told_all_held: false,
            held_pushes: Vec::new(),
            publishes: (0, 0),
            is_gone: false,
            is_held: false,
            is_waiting: false,
            last_shard: ShardId(0),
            waits_for_room: false,
            input_ended: false,
            is_closing: false,
            is_aborted: false,
            soft_limit_since_us: None,
            waits: false,
            held: VecDeque::new(),
            held_bytes: 0,
            weight: Weight::new(),
            is_dirty: false,
            is_ready: false,
            pass: 0,
        }))
    }

    pub(crate) fn close(&mut self, id: SessionId) -> Option<Box<Session>> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let session = place.session.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.index);
        self.count -= 1;
        self.leave(&session.weight);
        Some(session)
    }

    #[inline]
    pub(crate) fn get(&self, id: SessionId) -> Option<&Session> {
        let place = self.places.get(id.index as usize)?;
        if place.generation == id.generation { place.session.as_deref() } else { None }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation != id.generation {
            return None;
        }
        let session = place.session.as_deref_mut()?;
        self.books.note(id, &mut session.weight);
        Some(session)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.places.iter().filter_map(|place| place.session.as_deref())
    }

    /// To change what takes no memory.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.places.iter_mut().filter_map(|place| place.session.as_deref_mut())
    }

    /// How many places there are, free ones too.
    pub(crate) fn places(&self) -> usize {
        self.places.len()
    }

    /// The session at a place, if there is one.
    pub(crate) fn at(&self, place: usize) -> Option<SessionId> {
        Some(self.places.get(place)?.session.as_ref()?.id)
    }

    /// The server should look at the session. While replies of other shards are awaited it need not yet:
    /// one send with all of them costs half of two, and their coming marks the session again.
    #[inline]
    pub(crate) fn mark_dirty(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id)
            && (session.queue.is_empty()
                || session.out.len() >= limits::SEND_EARLY_BYTES
                || session.is_held_back())
            && !session.is_gone
            && !mem::replace(&mut session.is_dirty, true)
        {
            self.dirty.push_back(id);
        }
    }

    pub(crate) fn next_dirty(&mut self) -> Option<SessionId> {
        while let Some(id) = self.dirty.pop_front() {
            if let Some(session) = self.get_mut(id) {
                session.is_dirty = false;
                return Some(id);
            }
        }
        None
    }

    /// Has the server begin or stop to read the session's socket, where its backlog asks for that.
    #[inline]
    pub(crate) fn settle_reading(&mut self, id: SessionId) {
        let bounds = self.bounds();
        if let Some(session) = self.get_mut(id)
            && session.reading != session.wanted_reading(bounds)
        {
            session.reading = session.wanted_reading(bounds);
            self.reading.push(id);
        }
    }

    /// The next session whose socket is to be read in another way.
    pub(crate) fn next_reading(&mut self) -> Option<(SessionId, Reading)> {
        while let Some(id) = self.reading.pop() {
            if let Some(session) = self.get(id) {
                return Some((id, session.reading));
            }
        }
        None
    }

    /// The session's backlog should be worked, if there is something in it.
    pub(crate) fn mark_ready(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id)
            && session.may_run()
            && session.has_work()
            && !mem::replace(&mut session.is_ready, true)
        {
            self.ready.push_back(id);
        }
    }

    pub(crate) fn next_ready(&mut self) -> Option<SessionId> {
        while let Some(id) = self.ready.pop_front() {
            if let Some(session) = self.get_mut(id) {
                session.is_ready = false;
                if session.may_run() && !session.input.is_lent() {
                    return Some(id);
                }
            }
        }
        None
    }

    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// A pause holds the session back.
    pub(crate) fn hold(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id) {
            session.is_held = true;
        }
    }

    /// Lets all sessions go on that a pause held back.
    pub(crate) fn release_held(&mut self) {
        for index in 0..self.places.len() {
            let held = self.places[index].session.as_mut().filter(|session| session.is_held);
            if let Some(session) = held {
                session.is_held = false;
                let id = session.id;
                self.mark_ready(id);
            }
        }
    }

    /// The session is to be cut off, whatever is not sent.
    pub(crate) fn abort(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id)
            && !session.is_gone
        {
            session.is_closing = true;
            session.is_aborted = true;
            self.aborted.push(id);
        }
    }

    pub(crate) fn next_aborted(&mut self) -> Option<SessionId> {
        self.aborted.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_used_again_is_another_session() {
        let mut sessions = Sessions::default();
        let peer = Peer::Unix { path: String::new() };
        let first = sessions.open(1, peer.clone(), 0).id;
        assert!(sessions.close(first).is_some());
        let second = sessions.open(2, peer, 0).id;
        assert_eq!(first.index, second.index);
        assert!(sessions.get(first).is_none() && sessions.close(first).is_none());
        assert_eq!(sessions.get(second).expect("it is open").number, 2);
    }
}
