//! Outbox: what a core has to ask of one other shard, gathered until the turn ends.
//!
//! At most [`MESSAGES_IN_FLIGHT_MAX`](crate::limits::MESSAGES_IN_FLIGHT_MAX) messages are on their way;
//! beyond that requests gather in the next one, and beyond its limits sessions wait.

use std::collections::BTreeSet;

use basalt_commands::{Command, ShardFn};
use basalt_keyspace::{LongString, SlotId};

use crate::intents::Number;
use crate::limits;
use crate::mesh::message::{Ask, Envelope, Notification, Request};
use crate::session::subscriptions::TopicKind;
use crate::session::{Session, SessionId};
use crate::shard::call::ReadMode;
use crate::shard::pubsub::Notice;

/// What a core has to ask of one other shard.
pub(crate) struct Outbox {
    pub gathering: Box<Envelope>,
    in_flight: usize,
    /// How many requests may be gathered, by the size of the last replies.
    requests_max: usize,
    /// Sessions that wait until there is room again.
    waiting: Vec<SessionId>,
    /// The bytes of the messages for subscribers that are gathered.
    notice_bytes: usize,
    /// Channels of which messages found no room.
    lost: BTreeSet<(TopicKind, Box<[u8]>)>,
    /// That shard's journal takes nothing more for now.
    pub is_blocked: bool,
}

impl Outbox {
    /// With the number of the first message.
    pub(crate) fn new(number: Number) -> Self {
        Self {
            gathering: Box::new(Envelope { number, ..Envelope::default() }),
            in_flight: 0,
            requests_max: limits::OUTBOX_REQUESTS_MAX / 8,
            waiting: Vec::new(),
            notice_bytes: 0,
            lost: BTreeSet::new(),
            is_blocked: false,
        }
    }

    /// Whether there is room for one more, however large: else what is large would wait until nothing else is
    /// there, which may be never.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        let Envelope { batch, asks, ask_bytes, .. } = &*self.gathering;
        !self.is_blocked
            && batch.requests.len() + asks.len() < self.requests_max
            && batch.arg_bytes.len() + ask_bytes < limits::OUTBOX_BYTES_MAX
    }

    /// Gives the message that is gathered a number of now, if there is nothing in it that needs one.
    pub(crate) fn renew(&mut self, next: impl FnOnce() -> Number) {
        if self.gathering.batch.is_empty() && self.gathering.asks.is_empty() {
            self.gathering.number = next();
        }
    }

    /// Adds a session's request for a key of that shard; its reply has a place from now on. Arguments that are among
    /// `received` are shared, not copied.
    // Two callers, of which the fast path shares nothing.
    #[inline(always)]
    pub(crate) fn add(
        &mut self,
        session: &mut Session,
        (command, run): (&'static Command, ShardFn),
        (args, received): (&[&[u8]], &[LongString]),
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
            reads: ReadMode::of_session(session).of(command),
            key_at,
            is_behind: session.pipelined > 0,
            is_held: false,
        };
        self.gathering.batch.push(request, args, received);
    }

    /// Asks for something behind the requests that are there.
    pub(crate) fn ask(&mut self, ask: Ask) {
        if let Ask::Bring { txn_part, .. } | Ask::Entrust { txn_part, .. } = &ask {
            self.gathering.ask_bytes += txn_part.arg_bytes();
        }
        if let Ask::Publish(request) = &ask {
            self.gathering.ask_bytes += request.message.bytes();
        }
        let after = self.gathering.batch.requests.len() as u32;
        self.gathering.asks.push((after, ask));
    }

    /// Adds something for sessions of that core. Where too much waits already, a message is lost: then its
    /// subscribers there are cut off.
    pub(crate) fn notify(&mut self, notice: Notice) {
        let notice = match notice {
            Notice::Message(message)
                if self.notice_bytes + message.bytes() > limits::NOTICE_BYTES_MAX =>
            {
                if !self.lost.insert((message.kind, message.channel().into())) {
                    return;
                }
                message.into_lost()
            }
            Notice::Message(message) => {
                self.notice_bytes += message.bytes();
                Notice::Message(message)
            }
            other => other,
        };
        self.gathering.notifications.push(Notification::Notice(notice));
    }

    /// The notifications that were gathered leave.
    fn notifications_leave(&mut self) {
        self.notice_bytes = 0;
        self.lost.clear();
    }

    /// Has all that can go with an envelope that leaves now: notifications, and what is asked unless requests come
    /// before it.
    pub(crate) fn send_along(&mut self, envelope: &mut Envelope, next: impl FnOnce() -> Number) {
        envelope.notifications.append(&mut self.gathering.notifications);
        self.notifications_leave();
        if self.gathering.batch.is_empty() && !self.gathering.asks.is_empty() {
            envelope.asks.append(&mut self.gathering.asks);
            self.gathering.ask_bytes = 0;
            self.gathering.number = next();
        }
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
    pub(crate) fn take(
        &mut self,
        spare: impl FnOnce() -> Box<Envelope>,
        next: impl FnOnce() -> Number,
    ) -> Option<Box<Envelope>> {
        if self.gathering.is_empty() || self.in_flight >= limits::MESSAGES_IN_FLIGHT_MAX {
            return None;
        }
        self.in_flight += 1;
        self.notifications_leave();
        let taken = std::mem::replace(&mut self.gathering, spare());
        self.gathering.number = next();
        Some(taken)
    }

    /// A message came back, with so many bytes of replies to so many requests.
    pub(crate) fn returned(&mut self, requests: usize, reply_bytes: usize) {
        assert!(self.in_flight > 0, "a message comes back once");
        self.in_flight -= 1;
        let fitting = limits::OUTBOX_REPLY_BYTES_MAX * requests / reply_bytes.max(1);
        if requests > 0 {
            self.requests_max = fitting
                .min(self.requests_max * 2)
                .clamp(limits::OUTBOX_REQUESTS_MIN, limits::OUTBOX_REQUESTS_MAX);
        }
    }

    /// The sessions that may try again, once there is room.
    pub(crate) fn take_waiting(&mut self) -> Vec<SessionId> {
        if self.has_room() { std::mem::take(&mut self.waiting) } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::pubsub::Published;

    #[test]
    fn messages_beyond_the_limit_are_lost_and_their_channels_named_once() {
        const MESSAGE_BYTES: usize = 1 << 20;
        let message = |channel: &[u8]| {
            let payload = vec![b'v'; MESSAGE_BYTES - channel.len()];
            Notice::Message(Published::new(TopicKind::Channel, 1, channel, &payload))
        };
        let mut outbox = Outbox::new(Number::default());
        let fitting = limits::NOTICE_BYTES_MAX / MESSAGE_BYTES;
        (0..fitting).for_each(|_| outbox.notify(message(b"full")));
        let gathered = |outbox: &Outbox| outbox.gathering.notifications.len();
        assert_eq!(gathered(&outbox), fitting);
        for channel in [&b"full"[..], b"full", b"other", b"full"] {
            outbox.notify(message(channel));
        }
        let lost = outbox.gathering.notifications[fitting..].iter().map(|lost| match lost {
            Notification::Notice(Notice::Lost(lost)) => (lost.channel().to_vec(), lost.bytes()),
            _ => panic!("what is beyond the limit is lost"),
        });
        let lost: Vec<_> = lost.collect();
        assert_eq!(lost, [(b"full".to_vec(), 4), (b"other".to_vec(), 5)]);
        // When these have left there is room again.
        let next = || Number::default();
        outbox.take(Box::default, next).expect("there is something to send");
        outbox.notify(message(b"full"));
        let Notification::Notice(Notice::Message(_)) = &outbox.gathering.notifications[0] else {
            panic!("it is a message again")
        };
    }
}
