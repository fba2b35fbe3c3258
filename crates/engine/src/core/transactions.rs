//! Transactions as this core carries them: its own, with their coordinators, and the visits of all to its
//! shard.
//!
//! `intents::{Intents, Holding}` decide which transaction goes first; here it is done.

use std::collections::{BTreeMap, VecDeque};
use std::task::Poll;

use basalt_keyspace::{Origin, ShardId, TxnTag};
use smallvec::SmallVec;

use basalt_commands::config::LogLevel;

use super::Core;
use super::exec::Inside;
use super::pipelined::{Begun, Pipelined};
use crate::completion::{Answer, Ticket};
use crate::intents::{Event, Holding, Mode, Number, Scope};
use crate::limits;
use crate::mesh::message::{Ask, Hop, HopResult, LastHop, Look, Notification, ReadHop};
use crate::observe::hop_name::HopName;
use crate::session::SessionId;
use crate::session::execution::ReplyPlace;
use crate::shard::blocking::{FeedingPart, PutOff, WaiterId};
use crate::shard::call::Client;
use crate::shard::part::TxnPart;
use crate::transaction::coordinator::{Coordination, Hops, Wish};
use crate::world::World;

/// What is under way.
#[derive(Default)]
pub(super) struct UnderWay {
    coordinations: BTreeMap<u64, Coordination>,
    begun: u64,
    /// Coordinations that got something they waited for.
    to_drive: VecDeque<u64>,
    /// Transactions at home here.
    pub(super) transactions: BTreeMap<Number, Transaction>,
    /// The visitors of this shard.
    pub(super) visitors: BTreeMap<Number, Visitor>,
    /// How many visitors hold something here until their homes release them.
    lasting: usize,
    /// Visits that held for longer than `transaction-log-slower-than`, for the log.
    long_visits: Vec<LongVisit>,
    /// Those that found no room there.
    long_visits_left_out: usize,
}

/// A visit that held for long.
struct LongVisit {
    number: Number,
    /// What it did.
    name: HopName,
    us: u64,
    scope: Scope,
}

/// A transaction at home.
pub(super) struct Transaction {
    pub holding: Holding,
    pub owner: Owner,
    /// The shards that may be written, if there are several.
    writing: SmallVec<[ShardId; 2]>,
    /// Those where a client waits for keys that may be written.
    feeding: SmallVec<[ShardId; 2]>,
    /// What the shards found, in the order of the visits.
    found: SmallVec<[Option<HopResult>; 2]>,
}

/// Whose a transaction is.
pub(super) enum Owner {
    Coordination(Ticket),
    Pipelined(Box<Pipelined>),
    /// It is in hand just now.
    Nobody,
}

impl Transaction {
    pub(super) fn new(holding: Holding, owner: Owner) -> Self {
        let found = holding.shards().map(|_| None).collect();
        let (writing, feeding) = (SmallVec::new(), SmallVec::new());
        Self { holding, owner, writing, feeding, found }
    }

    /// What the shards found, once it is decided.
    pub(super) fn take_found(&mut self) -> impl Iterator<Item = Option<HopResult>> {
        std::mem::take(&mut self.found).into_iter()
    }
}

pub(super) enum Visitor {
    /// Stays until its home releases it.
    Looks { look: ReadHop, granted_at_us: Option<u64> },
    /// Stays until its home has it run, or releases it.
    Carries { txn_part: Box<TxnPart>, look: Look, granted_at_us: Option<u64> },
    /// Runs from start to end, and is gone.
    Passes { from: ShardId, ticket: Option<Ticket>, hop: Hop },
    /// A waiter is served, and it is gone.
    Serves(WaiterId),
    /// Keeps something for a waiter whose keys are on several shards, until its home comes with the same
    /// number.
    Reserves { waiter: WaiterId, is_told: bool },
}

impl Visitor {
    /// What it does, for the log.
    fn name(&self) -> HopName {
        match self {
            Self::Looks { look, .. } => look.name,
            Self::Carries { txn_part, .. } => txn_part.name(),
            Self::Passes { hop, .. } => hop.name,
            Self::Serves(_) | Self::Reserves { .. } => HopName::of_command("blocked"),
        }
    }

    /// Since when it holds what it came for.
    pub(super) fn granted_at_us(&self) -> Option<u64> {
        match self {
            Self::Looks { granted_at_us, .. } | Self::Carries { granted_at_us, .. } => {
                *granted_at_us
            }
            Self::Passes { .. } | Self::Serves(_) | Self::Reserves { .. } => None,
        }
    }
}

impl UnderWay {
    /// Whether a coordination sleeps until something comes at this place.
    pub(super) fn awaits_turn(&self, ticket: Ticket) -> bool {
        let own = self.coordinations.get(&ticket.coordination);
        own.is_some_and(|own| own.awaits_turn(ticket.index))
    }

    /// How many coordinations there are, if none of them is about to go on and none holds, waits for or is
    /// waited for by anything.
    pub(super) fn sleepers(&self) -> Option<usize> {
        let is_asleep =
            self.to_drive.is_empty() && self.transactions.is_empty() && self.visitors.is_empty();
        is_asleep.then_some(self.coordinations.len())
    }

    /// The moment (monotonic µs) of the first transaction that is granted something here and goes on for more
    /// than one hop: for it nothing has expired since.
    pub(super) fn oldest_moment_us(&self) -> Option<u64> {
        let looks =
            |visitor: &Visitor| matches!(visitor, Visitor::Looks { granted_at_us: Some(_), .. });
        let moments = self.visitors.iter().filter(|(_, visitor)| looks(visitor));
        moments.map(|(number, _)| number.at_us()).min()
    }

    /// The place that a coordination has for its answer while its session goes on.
    pub(super) fn place_of(&mut self, coordination: u64) -> Option<&mut ReplyPlace> {
        self.coordinations.get_mut(&coordination)?.place.as_mut()
    }

    pub(super) fn has_transactions(&self) -> bool {
        !self.transactions.is_empty() || !self.visitors.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.coordinations.is_empty() && self.transactions.is_empty() && self.visitors.is_empty()
    }
}

impl Core {
    /// Begins a coordination for a session.
    pub(crate) fn coordinate<F>(&mut self, id: SessionId, start: impl FnOnce(Hops) -> F)
    where
        F: Future<Output = Answer> + 'static,
    {
        self.under_way.begun += 1;
        let number = self.under_way.begun;
        let inside = self.nested.as_mut().map(|nested| {
            nested.is_coordinating = true;
            (nested.ticket, nested.moment_ms)
        });
        let (origin, command) = (self.origin_of(id), self.command_of(id));
        if let (None, Some(session)) = (inside, self.shard.sessions.get_mut(id)) {
            session.coordination = Some(number);
        }
        self.under_way
            .coordinations
            .insert(number, Coordination::new((id, command), origin, inside, start));
        self.drive(number);
        // What runs inside another is settled once it has been shown to those who watch.
        if inside.is_none() {
            self.settle();
        }
    }

    /// What a session runs now.
    fn command_of(&self, id: SessionId) -> Option<&'static str> {
        self.shard.sessions.get(id).map(|session| session.last_command)
    }

    /// As [`Core::coordinate`], with a place for the reply, so that the session goes on meanwhile.
    pub(super) fn coordinate_pipelined<F>(
        &mut self,
        place: ReplyPlace,
        start: impl FnOnce(Hops) -> F,
    ) where
        F: Future<Output = Answer> + 'static,
    {
        self.under_way.begun += 1;
        let number = self.under_way.begun;
        let (id, origin) = (place.session, self.origin_of(place.session));
        let owner = (id, self.command_of(id));
        let mut coordination = Coordination::new(owner, origin, None, start);
        coordination.place = Some(place);
        self.under_way.coordinations.insert(number, coordination);
        self.begun_pipelined = Some(Begun::Coordination(number));
        self.drive(number);
        self.settle();
    }

    /// Something runs within the transaction of a coordination.
    pub(super) fn note_hop(&mut self, ticket: Ticket) {
        if let Some(own) = self.under_way.coordinations.get_mut(&ticket.coordination) {
            own.has_hopped = true;
        }
    }

    /// The origin of a session's changes now; between MULTI and EXEC as part of that transaction.
    pub(crate) fn origin_of(&self, id: SessionId) -> Origin {
        let client = Client { home: self.shard.id, session: id };
        let client = (id != SessionId::NOBODY).then_some(client);
        let nested = self.nested.as_ref();
        let parent =
            nested.and_then(|own| self.under_way.coordinations.get(&own.ticket.coordination));
        let transaction = parent.and_then(|parent| parent.origin.transaction);
        Origin { client: client.map(Into::into), transaction }
    }

    /// Does all that follows from intents granted and results come, until nothing does.
    pub(super) fn settle(&mut self) {
        loop {
            self.tell_news();
            self.publish_events();
            self.pass_notices();
            if let Some(event) = self.shard.intents.next_event() {
                match event {
                    Event::Granted(number) => self.enter(number),
                    // The waiter that it is kept for has not come yet: it waits its turn.
                    Event::Inquire(number)
                        if let Some(Visitor::Reserves { .. }) =
                            self.under_way.visitors.get(&number) =>
                    {
                        self.given_back(number);
                    }
                    Event::Inquire(number) if number.home == self.shard.id => {
                        self.inquired(number, self.shard.id);
                    }
                    Event::Inquire(number) => {
                        self.notify(number.home, Notification::Inquire(number));
                    }
                }
            } else if let Some(number) = self.under_way.to_drive.pop_front() {
                self.drive(number);
            } else {
                return;
            }
        }
    }

    /// Goes on with a coordination until it ends or waits.
    fn drive(&mut self, number: u64) {
        if !self.moves_slots(self.shard.id, number) {
            self.quiescence.disturb();
        }
        loop {
            let Some(coordination) = self.under_way.coordinations.get_mut(&number) else { return };
            if coordination.answer.is_some() {
                return;
            }
            let polled = coordination.poll();
            let mut went_on = false;
            for wish in coordination.take_wishes() {
                went_on |= self.grant_wish(number, wish);
            }
            if let Poll::Ready(answer) = polled {
                match self.under_way.coordinations.get_mut(&number) {
                    Some(own) if own.unserved > 0 => own.answer = Some(answer),
                    _ => self.end_coordination(number, &answer),
                }
                return;
            }
            if !went_on {
                return;
            }
        }
    }

    /// Returns whether the wish has come true at once.
    fn grant_wish(&mut self, coordination: u64, wish: Wish) -> bool {
        match wish {
            Wish::Hop { index, shard, scope, mut hop } => {
                let ticket = Ticket { coordination, index };
                let own = self.under_way.coordinations.get_mut(&coordination);
                let own = own.expect("it wishes just now");
                own.has_hopped = true;
                hop.origin = own.origin;
                hop.name.command = own.command;
                if shard != self.shard.id {
                    self.ask(shard, Ask::Hop { ticket: Some(ticket), scope, hop });
                    return false;
                }
                self.hop_for(shard, Some(ticket), scope, hop);
                true
            }
            Wish::IsQuiet { index, shard } => {
                let ticket = Ticket { coordination, index };
                if shard == self.shard.id {
                    self.quiescence.ask(shard, ticket);
                } else {
                    self.ask(shard, Ask::IsQuiet { ticket });
                }
                false
            }
            Wish::Inside { index, moment_ms, commands } => {
                let own = self.under_way.coordinations.get(&coordination);
                let session = own.expect("it wishes just now").session;
                let ticket = Ticket { coordination, index };
                self.inside.push_back(Inside { ticket, session, moment_ms, commands });
                false
            }
            Wish::Hold { index, number, visits } => {
                let everything = visits.iter().any(|(_, scope, _)| scope.is_everything());
                let transactions = &mut self.shard.stats.transactions;
                if everything {
                    transactions.on_all_shards += 1;
                } else if visits.len() == 1 {
                    transactions.on_one_shard += 1;
                } else {
                    transactions.on_several_shards += 1;
                }
                let next = || self.numbers.next(self.shard.id, self.shard.now.monotonic_us);
                let number = number.unwrap_or_else(next);
                let holding = Holding::new(visits.iter().map(|(shard, ..)| *shard));
                let owner = Owner::Coordination(Ticket { coordination, index });
                let mut transaction = Transaction::new(holding, owner);
                let writing = visits.iter().filter(|(_, scope, _)| scope.mode() == Mode::Write);
                transaction.writing = writing.map(|(shard, ..)| *shard).collect();
                let tag = number.tag(self.epoch, transaction.writing.len());
                self.under_way.transactions.insert(number, transaction);
                let own = self.under_way.coordinations.get_mut(&coordination);
                let own = own.expect("it wishes just now");
                let command = own.command;
                own.has_hopped = false;
                own.transaction = Some(number);
                own.origin.transaction = Some(tag);
                for (shard, scope, mut look) in visits {
                    look.name.command = command;
                    if shard == self.shard.id {
                        self.visit(number, scope, look);
                    } else {
                        self.ask(shard, Ask::Schedule { number, scope, look });
                    }
                }
                false
            }
            Wish::Wait { at_home } => {
                let own = self.under_way.coordinations.get(&coordination);
                let session = own.expect("it wishes just now").session;
                self.begin_wait(session, at_home);
                true
            }
            Wish::Tag { parts } => {
                let number = self.numbers.next(self.shard.id, self.shard.now.monotonic_us);
                let tag = (parts > 0).then(|| number.tag(self.epoch, parts));
                if let Some(own) = self.under_way.coordinations.get_mut(&coordination) {
                    own.origin.transaction = tag;
                }
                true
            }
            Wish::Adopt { tag } => {
                if let Some(own) = self.under_way.coordinations.get_mut(&coordination) {
                    own.origin.transaction = Some(tag);
                }
                true
            }
            Wish::Release { writes } => {
                let Coordination { origin, command, .. } =
                    self.under_way.coordinations[&coordination];
                let last = writes.into_iter().map(|(shard, index, mut hop)| {
                    let ticket = index.map(|index| Ticket { coordination, index });
                    hop.origin = origin;
                    hop.name.command = command;
                    (shard, LastHop { hop, ticket })
                });
                self.release(coordination, last.collect());
                true
            }
        }
    }

    /// Ends the visits of a coordination's transaction, each with its last hops, if it has one.
    fn release(&mut self, coordination: u64, mut last: Vec<(ShardId, LastHop)>) {
        let own = self.under_way.coordinations.get_mut(&coordination);
        let own = own.and_then(|own| {
            let tag = own.origin.transaction.take();
            Some((own.transaction.take()?, tag.filter(|_| own.has_hopped || !last.is_empty())))
        });
        let Some((number, tag)) = own else {
            assert!(last.is_empty(), "last hops belong to a transaction");
            return;
        };
        let transaction = self.under_way.transactions.remove(&number).expect("it is under way");
        if transaction.writing.len() > 1 && transaction.holding.is_decided() {
            self.tie();
        }
        for shard in transaction.holding.shards() {
            let at = last.iter().position(|(other, _)| *other == shard);
            let last = at.map(|at| last.swap_remove(at).1);
            // What is not decided wrote nothing anywhere.
            let is_part = transaction.holding.is_decided() && transaction.writing.contains(&shard);
            let part = tag.filter(|_| is_part);
            let feeds = is_part && tag.is_some() && transaction.feeding.contains(&shard);
            let feeding = feeds.then_some(FeedingPart::OfCoordination(coordination));
            if let (true, Some(own)) = (feeds, self.under_way.coordinations.get_mut(&coordination))
            {
                own.unserved += 1;
            }
            if shard == self.shard.id {
                self.end_visit(number, shard, (part, last, feeding));
            } else {
                self.ask(shard, Ask::Release { number, part, last, feeding });
            }
        }
        assert!(last.is_empty(), "last hops run on shards that are held, one on each");
    }

    /// The waiters that a coordination's part on a shard fed are served: it is answered when all of them are.
    pub(super) fn served_coordination(&mut self, number: u64) {
        let Some(own) = self.under_way.coordinations.get_mut(&number) else { return };
        own.unserved -= 1;
        if own.unserved == 0
            && let Some(answer) = own.answer.take()
        {
            self.end_coordination(number, &answer);
        }
    }

    /// The coordination that was begun last, if it is still under way.
    pub(super) fn last_begun(&mut self) -> Option<&mut Coordination> {
        self.under_way.coordinations.get_mut(&self.under_way.begun)
    }

    fn end_coordination(&mut self, number: u64, answer: &[u8]) {
        self.release(number, Vec::new());
        let ended = self.under_way.coordinations.remove(&number).expect("it ends once");
        if let Some(parent) = ended.parent {
            if let Some(call) = ended.call {
                self.end_call(ended.session, call, (answer.starts_with(b"-"), answer.len()));
            }
            self.take_result(parent, Box::new(answer.to_vec()));
            return;
        }
        if let Some(place) = ended.place {
            // An EXEC that is refused is the only one whose answer is an error.
            return self.fill_place(place, answer, answer.starts_with(b"-"));
        }
        let id = ended.session;
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        session.coordination = None;
        session.is_waiting = false;
        session.runs_script = false;
        session.end_caching();
        if session.is_executing {
            self.end_execution(id, answer);
        }
        self.shard.waiting.leave(id);
        self.end_pending_call(id, answer);
        self.put_answer(id, answer);
        self.release_pushes(id);
        self.shard.sessions.mark_ready(id);
        if self.shard.sessions.get(id).is_some_and(|session| session.is_gone) {
            self.forget(id);
        }
    }

    /// The session of a coordination is gone. What is decided is done; anything else is dropped, and holds
    /// nobody up. Returns whether it was dropped.
    pub(super) fn cancel(&mut self, coordination: u64) -> bool {
        let Some(own) = self.under_way.coordinations.get(&coordination) else { return true };
        let Some(number) = own.transaction else { return false };
        if self.under_way.transactions[&number].holding.is_decided() {
            return false;
        }
        self.release(coordination, Vec::new());
        self.under_way.coordinations.remove(&coordination);
        self.settle();
        true
    }

    /// The number that the next coordination will have.
    pub(crate) fn next_coordination(&self) -> u64 {
        self.under_way.begun + 1
    }

    /// Drops a coordination that holds and is granted nothing; returns whether it is gone.
    pub(super) fn drop_idle(&mut self, coordination: u64) -> bool {
        let Some(own) = self.under_way.coordinations.get(&coordination) else { return true };
        if own.transaction.is_none() {
            self.under_way.coordinations.remove(&coordination);
            return true;
        }
        false
    }

    pub(super) fn take_result(&mut self, ticket: Ticket, result: HopResult) {
        let Ticket { coordination, index } = ticket;
        if let Some(own) = self.under_way.coordinations.get_mut(&coordination) {
            own.put_result(index, result);
            self.under_way.to_drive.push_back(coordination);
        }
    }

    /// Runs a hop for a coordination of this or another shard, now or when its scope is free.
    pub(super) fn hop_for(
        &mut self,
        from: ShardId,
        ticket: Option<Ticket>,
        scope: Option<Scope>,
        hop: Hop,
    ) {
        if !ticket.is_some_and(|ticket| self.moves_slots(from, ticket.coordination)) {
            self.quiescence.disturb();
        }
        let is_alone = scope.is_some();
        if let Some(scope) = scope
            && !self.shard.intents.admits(&scope)
        {
            let number = self.numbers.next(self.shard.id, self.shard.now.monotonic_us);
            self.under_way.visitors.insert(number, Visitor::Passes { from, ticket, hop });
            self.shard.schedule(number, scope);
            return;
        }
        // One with a scope stands alone; another is a part of something.
        let result = if is_alone {
            hop.run(&mut self.shard)
        } else {
            self.shard.tied(|shard| hop.run(shard))
        };
        self.tell_when_served(from, ticket, (result, is_alone));
    }

    /// Serves the waiters that a hop fed, and passes its result on; once they are served if it was a transaction by
    /// itself.
    pub(super) fn tell_when_served(
        &mut self,
        to: ShardId,
        ticket: Option<Ticket>,
        (result, is_alone): (HopResult, bool),
    ) {
        self.serve_ready();
        let until = self.shard.waiting.take_newly_told();
        match ticket {
            Some(ticket) if is_alone && !until.is_empty() => {
                let result = PutOff::Result { to, ticket, result };
                self.shard.waiting.put_off(until, result);
            }
            ticket => self.tell(to, ticket, result),
        }
    }

    /// A transaction that concerns other shards is decided here.
    pub(super) fn tie(&mut self) {
        self.shard.take_in_records(false);
        if let Some(journal) = &mut self.shard.journal {
            journal.tie(self.shard.now);
        }
    }

    pub(super) fn tell(&mut self, to: ShardId, ticket: Option<Ticket>, result: HopResult) {
        let Some(ticket) = ticket else { return };
        if to == self.shard.id {
            self.take_result(ticket, result);
        } else {
            self.notify(to, Notification::Done { ticket, result });
        }
    }

    /// A transaction visits this shard.
    pub(super) fn visit(&mut self, number: Number, scope: Scope, look: ReadHop) {
        self.numbers.saw(number);
        self.quiescence.disturb();
        let visitor = Visitor::Looks { look, granted_at_us: None };
        // A waiter may have come for what is kept for it.
        match self.under_way.visitors.insert(number, visitor) {
            Some(_) => self.shard.intents.replace(number, scope),
            None => self.shard.schedule(number, scope),
        };
    }

    /// A visit is granted: what it came for is done.
    fn enter(&mut self, number: Number) {
        if !self.held.is_empty()
            && let Some(held) = self.held.granted(number)
        {
            self.work_held(number, &held);
            return;
        }
        match self.under_way.visitors.remove(&number) {
            // A pipelined one at its home: it looks when it is decided.
            None => self.granted(number, self.shard.id, None, false),
            Some(Visitor::Carries { txn_part, look, .. }) => {
                self.look_at_txn_part(number, txn_part, look);
            }
            Some(Visitor::Passes { from, ticket, hop }) => {
                let result = hop.run(&mut self.shard);
                self.leave(number, None);
                self.tell_when_served(from, ticket, (result, true));
            }
            Some(Visitor::Reserves { waiter, is_told }) => self.reserved(number, waiter, is_told),
            Some(Visitor::Serves(waiter)) => {
                self.shard.serve_held_up(waiter);
                self.leave(number, None);
            }
            Some(Visitor::Looks { mut look, .. }) => {
                let found = look.run(&mut self.shard);
                let scope = self.shard.intents.scope(number);
                let feeds = scope.is_some_and(|scope| self.shard.waiting.may_be_served_by(scope));
                let granted_at_us = Some(self.shard.now.monotonic_us);
                self.under_way.visitors.insert(number, Visitor::Looks { look, granted_at_us });
                self.under_way.lasting += 1;
                self.shard.keep_expired(true);
                if number.home == self.shard.id {
                    self.granted(number, self.shard.id, Some(found), feeds);
                } else {
                    self.notify(number.home, Notification::Granted { number, found, feeds });
                }
            }
        }
    }

    /// A shard granted a visit of a transaction of this core.
    pub(super) fn granted(
        &mut self,
        number: Number,
        shard: ShardId,
        found: Option<HopResult>,
        feeds: bool,
    ) {
        let Some(transaction) = self.under_way.transactions.get_mut(&number) else { return };
        if feeds && !transaction.feeding.contains(&shard) {
            transaction.feeding.push(shard);
        }
        let index = transaction.holding.index_of(shard);
        transaction.found[index] = found;
        if shard == self.shard.id
            && let Owner::Pipelined(own) = &mut transaction.owner
        {
            own.granted_at_us = Some(self.shard.now.monotonic_us);
        }
        if !transaction.holding.granted(shard) {
            return;
        }
        match &transaction.owner {
            Owner::Pipelined(_) => self.decide(number),
            Owner::Nobody => unreachable!("it is put back with its owner"),
            &Owner::Coordination(ticket) => {
                let found = transaction.take_found().map(|found| {
                    found.expect("every shard that grants to a coordination says what it found")
                });
                let found: Vec<HopResult> = found.collect();
                self.take_result(ticket, Box::new(found));
            }
        }
    }

    /// A shard would rather have its grant back.
    pub(super) fn inquired(&mut self, number: Number, shard: ShardId) {
        let Some(transaction) = self.under_way.transactions.get_mut(&number) else { return };
        if !transaction.holding.inquired(shard) {
            return;
        }
        let index = transaction.holding.index_of(shard);
        transaction.found[index] = None;
        if shard == self.shard.id {
            self.given_back(number);
        } else {
            self.ask(shard, Ask::GiveBack(number));
        }
    }

    /// A visit ends.
    pub(super) fn end_visit(
        &mut self,
        number: Number,
        home: ShardId,
        (part, last, feeding): (Option<TxnTag>, Option<LastHop>, Option<FeedingPart>),
    ) {
        self.quiescence.disturb();
        if let Some(LastHop { hop, ticket }) = last {
            let result = self.shard.tied(|shard| hop.run(shard));
            self.tell(home, ticket, result);
        }
        if let Some(part) = part {
            self.shard.keyspace.end_part(part);
        }
        let visitor = self.under_way.visitors.remove(&number);
        let held = visitor.as_ref().and_then(|own| Some((own.granted_at_us()?, own.name())));
        if let Some(Visitor::Looks { granted_at_us: Some(_), .. }) = visitor {
            self.ends_to_last();
        }
        self.leave(number, held);
        if let Some(feeding) = feeding {
            // Waiters that earlier hops of it notified count, too.
            let until = self.shard.waiting.looking().clone();
            let what = PutOff::Part { to: home, part: feeding };
            match until.is_empty() {
                true => self.release_put_off(what),
                false => self.shard.waiting.put_off(until, what),
            }
        }
        if let Some(Visitor::Carries { txn_part, .. }) = visitor {
            txn_part.forget_watches(&mut self.shard);
            self.txn_part_pool.keep(txn_part);
        }
    }

    /// Ends a visit that was granted at this moment (monotonic µs), if it was, with the name of what it did.
    pub(super) fn leave(&mut self, number: Number, held: Option<(u64, HopName)>) {
        // Waiters come before visits that wait for what is let go.
        self.serve_ready();
        let scope = self.shard.intents.release(number);
        if let Some((since_us, name)) = held {
            let us = self.shard.now.monotonic_us.saturating_sub(since_us);
            self.count_held(number, name, us, scope);
        }
    }

    /// A home gives a grant of this shard back.
    pub(super) fn given_back(&mut self, number: Number) {
        if !self.shard.intents.give_back(number) {
            return;
        }
        self.shard.stats.transactions.given_back += 1;
        let visitor = self.under_way.visitors.get_mut(&number);
        let lasted = match visitor {
            Some(Visitor::Looks { granted_at_us, .. }) => granted_at_us.take().is_some(),
            Some(Visitor::Carries { granted_at_us, .. }) => {
                *granted_at_us = None;
                false
            }
            _ => false,
        };
        if lasted {
            self.ends_to_last();
        }
    }

    /// A visitor holds nothing here any more.
    fn ends_to_last(&mut self) {
        self.under_way.lasting -= 1;
        self.shard.keep_expired(self.under_way.lasting > 0);
    }

    /// A command that could have been several hops ran as one call on one shard.
    pub(crate) fn count_alone(&mut self) {
        if self.nested.is_none() {
            self.shard.stats.transactions.on_one_shard += 1;
        }
    }

    /// A visit is over that held its scope for so long.
    fn count_held(&mut self, number: Number, name: HopName, us: u64, scope: Option<Scope>) {
        self.shard.stats.transactions.count_held(us);
        let limit_ms = u64::try_from(self.shard.config.transaction_log_slower_than);
        if limit_ms.is_ok_and(|limit_ms| us / 1000 >= limit_ms)
            && let Some(scope) = scope
        {
            if self.under_way.long_visits.len() < limits::LONG_VISITS_MAX {
                self.under_way.long_visits.push(LongVisit { number, name, us, scope });
            } else {
                self.under_way.long_visits_left_out += 1;
            }
        }
    }

    /// Logs the visits that held for long and ended in this turn.
    pub(super) fn log_long_visits(&mut self, world: &mut dyn World) {
        for LongVisit { number, name, us, scope } in self.under_way.long_visits.drain(..) {
            let (shard, ms) = (self.shard.id.0, us / 1000);
            world.log(
                LogLevel::Notice,
                &format!(
                    "Transaction {number} ({name}) held {} of shard {shard} for {ms} ms",
                    scope.in_words(limits::LOGGED_HASHES_MAX)
                ),
            );
        }
        let left_out = std::mem::take(&mut self.under_way.long_visits_left_out);
        if left_out > 0 {
            world.log(
                LogLevel::Notice,
                &format!("{left_out} more transactions held for long are not told of"),
            );
        }
    }
}
