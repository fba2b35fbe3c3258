//! Waiting as this core carries it: news for those who sleep, and what follows when one goes away.

use basalt_keyspace::ShardId;

use super::Core;
use super::transactions::Visitor;
use crate::completion::Ticket;
use crate::intents::Number;
use crate::mesh::message::{Ask, Hop, Notification, Request};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::shard::blocking::{AtHome, End, FeedingPart, HeldUp, News, PutOff, WaiterId, Woken};

impl Core {
    /// Serves who waits for what was fed, and sends all news.
    pub(super) fn tell_news(&mut self) {
        self.serve_ready();
        while let Some(number) = self.shard.waiting.next_given_up() {
            self.give_up(number);
        }
        while let Some(released) = self.shard.waiting.next_released() {
            self.release_put_off(released);
        }
        while let Some((home, ticket, news)) = self.shard.waiting.next_news() {
            match news {
                News::Woken(woken) => self.tell_turn(home, ticket, woken),
                News::Ended(end) => self.tell(home, Some(ticket), Box::new(end)),
            }
        }
    }

    /// Serves who waits for what was fed, before whatever else has arrived: where that takes more than one call,
    /// what it may take is kept from all who come later.
    pub(super) fn serve_ready(&mut self) {
        if self.shard.keyspace.has_ready() {
            self.shard.serve_ready();
        }
        while let Some((waiter, held_up, scope)) = self.shard.waiting.next_held_up() {
            let number = self.numbers.next(self.shard.id, self.shard.now.monotonic_us).in_line();
            let (number, visitor) = match held_up {
                HeldUp::Serves => (number, Visitor::Serves(waiter)),
                HeldUp::Reserves => {
                    let number = number.on_behalf_of(waiter.0);
                    if !self.shard.waiting.note_reserved(waiter, number) {
                        continue;
                    }
                    (number, Visitor::Reserves { waiter, is_told: false })
                }
            };
            self.under_way.visitors.insert(number, visitor);
            self.shard.intents.schedule(number, scope);
        }
    }

    /// Puts out the answer of what just ran here, once the waiters that it fed are served.
    pub(super) fn put_feeding_answer(&mut self, id: SessionId, answer: &[u8]) {
        let start = self.shard.sessions.get_mut(id).map_or(0, |session| session.output().len());
        self.put_answer(id, answer);
        if self.shard.keyspace.has_ready() {
            self.put_off_reply(id, start);
        }
    }

    /// Serves whom the last call fed, and puts its reply, in a session's output from `start` on, off until those are
    /// served who are not yet.
    pub(super) fn put_off_reply(&mut self, id: SessionId, start: usize) {
        self.serve_ready();
        let until = self.shard.waiting.take_newly_told();
        if until.is_empty() {
            return;
        }
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        if let Some(reply) = session.cut_reply(start) {
            let hole = session.queue.open_hole();
            let reply = PutOff::Reply { to: self.shard.id, session: id, hole, reply };
            self.shard.waiting.put_off(until, reply);
        }
    }

    /// As [`Core::put_off_reply`], for a request of another shard. Returns whether its reply is put off.
    pub(super) fn put_off_reply_to(
        &mut self,
        to: ShardId,
        request: &Request,
        reply: impl FnOnce() -> Vec<u8>,
    ) -> bool {
        self.serve_ready();
        let until = self.shard.waiting.take_newly_told();
        if until.is_empty() {
            return false;
        }
        let (session, hole) = (request.session, request.hole);
        let reply = PutOff::Reply { to, session, hole, reply: reply() };
        self.shard.waiting.put_off(until, reply);
        true
    }

    /// Serves whom a part of a transaction fed. Returns whether some are not served yet; then its home hears when they
    /// are.
    pub(super) fn put_off_part(&mut self, to: ShardId, part: FeedingPart) -> bool {
        self.serve_ready();
        let until = self.shard.waiting.take_newly_told();
        if until.is_empty() {
            return false;
        }
        self.shard.waiting.put_off(until, PutOff::Part { to, part });
        true
    }

    pub(super) fn release_put_off(&mut self, released: PutOff) {
        match released {
            PutOff::Reply { to, session, hole, reply } if to == self.shard.id => {
                self.fill_hole(session, hole, &reply);
            }
            PutOff::Reply { to, session, hole, reply } => {
                self.notify(to, Notification::Reply { session, hole, reply });
            }
            PutOff::Result { to, ticket, result } => self.tell(to, Some(ticket), result),
            PutOff::Part { to, part } if to == self.shard.id => self.served(part),
            PutOff::Part { to, part } => self.notify(to, Notification::Served(part)),
        }
    }

    /// The waiters that a part of a transaction of this core fed are served.
    pub(super) fn served(&mut self, part: FeedingPart) {
        match part {
            FeedingPart::OfCoordination(coordination) => self.served_coordination(coordination),
            FeedingPart::OfPipelined(number) => self.served_pipelined(number),
        }
    }

    /// What is reserved for a waiter is kept now: its home is notified, once.
    pub(super) fn reserved(&mut self, number: Number, waiter: WaiterId, is_told: bool) {
        let Some(ticket) = self.shard.waiting.reserver(waiter, number) else {
            self.shard.intents.release(number);
            return;
        };
        let visitor = Visitor::Reserves { waiter, is_told: true };
        self.under_way.visitors.insert(number, visitor);
        if !is_told {
            self.tell_turn(waiter.0, ticket, Woken::Look(Some(number)));
        }
    }

    /// The waiter does not come for what is reserved under this number.
    fn give_up(&mut self, number: Number) {
        if let Some(Visitor::Reserves { .. }) = self.under_way.visitors.get(&number) {
            self.under_way.visitors.remove(&number);
            self.shard.intents.release(number);
        }
    }

    /// The home of a waiter is at something else.
    pub(super) fn declined(&mut self, number: Number) {
        if let Some(&Visitor::Reserves { waiter, .. }) = self.under_way.visitors.get(&number) {
            self.shard.decline(waiter, number);
            self.give_up(number);
        }
    }

    fn tell_turn(&mut self, home: ShardId, ticket: Ticket, woken: Woken) {
        if home == self.shard.id {
            self.turn_comes(home, ticket, woken);
        } else {
            self.notify(home, Notification::Turn { ticket, woken });
        }
    }

    /// The turn of a session of this core has come on a shard.
    pub(super) fn turn_comes(&mut self, from: ShardId, ticket: Ticket, woken: Woken) {
        let is_asleep = self.under_way.awaits_turn(ticket);
        match woken {
            Woken::Look(Some(number)) if !is_asleep => {
                if from == self.shard.id {
                    self.declined(number);
                } else {
                    self.ask(from, Ask::Decline(number));
                }
            }
            woken => self.take_result(ticket, Box::new(woken)),
        }
    }

    /// Those of this core look again whose moment it is. Who is at something else looks when that is over.
    pub(super) fn look_again(&mut self) {
        while let Some(ticket) = self.shard.waiting.next_look(self.shard.now.monotonic_us) {
            if self.under_way.awaits_turn(ticket) {
                self.take_result(ticket, Box::new(Woken::Look(None)));
            }
        }
    }

    /// A session goes to sleep; for one that is gone, or sends no more, it is over at once: its end was told
    /// already, and nothing would wake it.
    pub(super) fn begin_wait(&mut self, session: SessionId, at_home: AtHome) {
        if let Some(own) = self.shard.sessions.get_mut(session)
            && !own.input_ended
        {
            own.is_waiting = true;
            self.shard.waiting.begin(session, at_home);
            self.release_pushes(session);
        } else {
            self.take_result(at_home.ticket, Box::new(End::TimeOver));
        }
    }

    /// A coordination goes on when this core has stalled in this turn (DEBUG SLEEP).
    pub(crate) fn go_on_after_stall(&mut self, ticket: Ticket) {
        self.stalled.push(ticket);
    }

    /// A session that sleeps goes away: it leaves its lines, and hears nothing any more. False where
    /// it does not sleep, or is at it just now and leaves its lines when it is done.
    pub(super) fn stop_waiting(&mut self, session: SessionId) -> bool {
        let Some(AtHome { ticket, slots, .. }) = self.shard.waiting.leave(session) else {
            return false;
        };
        let id = (self.shard.id, ticket.coordination);
        self.cancel(ticket.coordination);
        if !self.drop_idle(ticket.coordination) {
            return false;
        }
        for shard in self.shard.routes.shards_of(slots.iter().copied()) {
            self.hop_on(shard, move |shard| _ = shard.leave_line(id));
        }
        self.settle();
        true
    }

    /// Has a hop run whose result is not awaited.
    pub(super) fn hop_on(&mut self, shard: ShardId, hop: impl FnOnce(&mut Shard) + Send + 'static) {
        if shard == self.shard.id {
            hop(&mut self.shard);
        } else {
            self.ask(shard, Ask::Hop { ticket: None, scope: None, hop: Hop::new(hop) });
        }
    }
}
