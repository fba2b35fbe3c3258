//! Waiting as this core carries it: news for those who sleep, and what follows when one goes away.

use basalt_keyspace::ShardId;

use super::Core;
use crate::message::{Ask, HopFn};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::waiting::{AtHome, End, News};

impl Core {
    /// Serves who waits for what was fed, and tells all there is to tell.
    pub(super) fn tell_news(&mut self) {
        self.shard.serve_fed();
        while let Some((id, scope)) = self.shard.waiting.next_held_up() {
            self.visit_for_waiter(id, scope);
        }
        while let Some((home, ticket, news)) = self.shard.waiting.next_news() {
            match news {
                News::Woken(woken) => self.tell(home, Some(ticket), Box::new(woken)),
                News::Ended(end) => self.tell(home, Some(ticket), Box::new(end)),
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
        } else {
            self.take_result(at_home.ticket, Box::new(End::TimeOver));
        }
    }

    /// A session that sleeps goes away: it leaves its lines, and nobody tells it anything any more. False where
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

    /// Has a hop run whose result nobody awaits.
    pub(super) fn hop_on(&mut self, shard: ShardId, hop: impl FnOnce(&mut Shard) + Send + 'static) {
        let run: HopFn = Box::new(|shard| {
            hop(shard);
            Box::new(())
        });
        if shard == self.shard.id {
            drop(run(&mut self.shard));
        } else {
            self.ask(shard, Ask::Hop { ticket: None, scope: None, run });
        }
    }
}
