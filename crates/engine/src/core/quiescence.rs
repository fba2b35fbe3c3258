//! Quiescence as this core keeps it: nothing new is begun, and whoever moves slots is told when what was under
//! way is over. See `crate::transaction::slot_moves`.

use basalt_keyspace::{ShardId, SlotId, slot_of_item};

use super::Core;
use crate::completion::Ticket;
use crate::limits;
use crate::mesh::message::Ask;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::slots::quiet::Quiet;
use crate::transaction::slot_moves::move_slots;

/// What a core keeps for those who move slots.
#[derive(Default)]
pub(super) struct Quiescence {
    /// Grows whenever something happens that others could still feel.
    disturbances: u64,
    /// The coordinations that ask whether all is quiet, once the turn is over.
    asked: Vec<(ShardId, Ticket)>,
    /// When loads were last compared.
    balanced_us: u64,
    /// Sessions that went away meanwhile.
    departures: Vec<Departure>,
}

/// A session goes, wholly or halfway.
#[derive(Clone, Copy)]
pub(super) enum Departure {
    Disconnect(SessionId),
    EndOfInput(SessionId),
}

impl Quiescence {
    #[inline]
    pub(super) fn disturb(&mut self) {
        self.disturbances += 1;
    }

    pub(super) fn ask(&mut self, from: ShardId, ticket: Ticket) {
        self.asked.push((from, ticket));
    }
}

impl Core {
    /// Moves slots to a shard, unasked.
    #[doc(hidden)]
    pub fn move_slots(&mut self, slots: Vec<SlotId>, to: ShardId) {
        let slot_move = (self.shard.id, self.next_coordination());
        self.coordinate(SessionId::NOBODY, |hops| async move {
            // Where it can't be done now there is a next time.
            drop(move_slots(&hops, slot_move, slots, to).await);
            Vec::new()
        });
    }

    /// When to look at the loads again, where that is for this core to do.
    pub(super) fn balance_due_us(&self) -> Option<u64> {
        let balances = self.shard.id == ShardId(0)
            && self.shard.config.balance_slots
            && self.shard.routes.shard_count() > 1;
        // That is a part of the look at the sessions.
        let check_us = self.sessions_checked_us + limits::SESSION_CHECK_US;
        balances.then_some(check_us.max(self.quiescence.balanced_us + limits::BALANCE_US))
    }

    /// Moves slots off a shard that is too busy, if it is time to look and there is one: the first core does
    /// that for all.
    pub(super) fn balance_slots(&mut self) {
        let now_us = self.shard.now.monotonic_us;
        let is_due = self.balance_due_us().is_some_and(|due_us| now_us >= due_us);
        if !is_due || self.shard.still.is_some() {
            return;
        }
        self.quiescence.balanced_us = now_us;
        let slot_move = (self.shard.id, self.next_coordination());
        let shards = self.shard.routes.shards();
        self.coordinate(SessionId::NOBODY, |hops| async move {
            let take = |shard| (shard, |shard: &mut Shard| shard.loads.take());
            let loads = hops.on_each(shards.map(take)).await;
            let plan = hops.on(slot_move.0, move |shard| shard.balancer.plan(loads)).await;
            if let Some((slots, to)) = plan {
                // Where it can't be done now there is a next time.
                drop(move_slots(&hops, slot_move, slots, to).await);
            }
            Vec::new()
        });
    }

    /// Whether a coordination is the one for which all stands still.
    pub(super) fn moves_slots(&self, home: ShardId, coordination: u64) -> bool {
        self.shard.still.is_some_and(|still| still.slot_move == (home, coordination))
    }

    /// A session that goes takes its places and watches along; while slots move nobody knows where those
    /// are. Returns whether it has to wait.
    pub(super) fn puts_off(&mut self, departure: Departure) -> bool {
        if self.shard.still.is_none() {
            return false;
        }
        self.quiescence.departures.push(departure);
        true
    }

    /// Lets those go who wanted to.
    pub(super) fn let_depart(&mut self) {
        if self.quiescence.departures.is_empty() || self.shard.still.is_some() {
            return;
        }
        for departure in std::mem::take(&mut self.quiescence.departures) {
            match departure {
                Departure::Disconnect(session) => self.disconnect(session),
                Departure::EndOfInput(session) => self.end_of_input(session),
            }
        }
    }

    /// Answers those who asked in this turn.
    pub(super) fn tell_whether_quiet(&mut self) {
        if self.quiescence.asked.is_empty() {
            return;
        }
        let quiet = Quiet {
            disturbances: self.is_quiet().then_some(self.quiescence.disturbances),
            now_us: self.shard.now.monotonic_us,
        };
        for (from, ticket) in std::mem::take(&mut self.quiescence.asked) {
            self.tell(from, Some(ticket), Box::new(quiet));
        }
        self.settle();
    }

    /// Whether nothing is under way here but what sleeps, and the one who asks.
    fn is_quiet(&self) -> bool {
        let Some(still) = self.shard.still else { return false };
        let awake = usize::from(still.slot_move.0 == self.shard.id);
        self.under_way.sleepers() == Some(self.shard.waiting.session_count() + awake)
            && self.outboxes.iter().all(|outbox| outbox.is_idle())
            && self.held.is_empty()
            && self.inside.is_empty()
            && self.shard.intents.is_empty()
            && self.shard.waiting.is_told_all()
            && !self.shard.keyspace.has_ready()
    }

    /// Puts items of an expiry wheel where their slots are now.
    pub(super) fn hand_on(&mut self, items: &[u32]) {
        for owner in self.shard.routes.shards_of(items.iter().map(|item| slot_of_item(*item))) {
            let own = items.iter().copied();
            let own = own.filter(|item| self.shard.routes.shard(slot_of_item(*item)) == owner);
            let own: Vec<u32> = own.collect();
            if owner == self.shard.id {
                own.into_iter().for_each(|item| self.shard.keyspace.adopt_timer(item));
            } else {
                self.ask(owner, Ask::OrphanTimers(own));
            }
        }
    }
}
