//! Pipelined: transactions whose reply has its place, so that their session goes on meanwhile.
//!
//! MSET, MGET, DEL … over several shards, and every EXEC of commands that are plain calls. Nothing in them
//! needs the session, so nothing of the session waits for them but what meets their keys.
//!
//! ```text
//! home: own keys granted ──► Entrust(transaction part) ──► free there? run: decided ──► Ran(replies) ─► run own part
//!       else, or more shards: Bring(transaction part) ──► Granted … all granted: decided ──► Run ──► (Ran)
//! ```
//!
//! `docs/design/transactions.md` explains why it is right.

use basalt_commands::config::PipelineOrder;
use basalt_keyspace::ShardId;
use smallvec::SmallVec;

use super::Core;
use super::transactions::{Owner, Transaction, Visitor};
use crate::intents::{Holding, Number, Scope};
use crate::limits;
use crate::mesh::message::{Ask, Look, Notification};
use crate::mesh::outbox::Outbox;
use crate::session::execution::{Execution, PendingCall, ReplyPlace};
use crate::session::{NO_SHARD, ReplyMode, SessionId};
use crate::shard::Shard;
use crate::shard::blocking::FeedingPart;
use crate::shard::call::AtMoment;
use crate::shard::part::{Refusal, Replies, TxnPart, TxnParts};
use crate::transaction::plan::{Known, Plan};

/// A transaction of a pipeline, at home.
pub(crate) struct Pipelined {
    place: ReplyPlace,
    plan: Plan,
    /// In the plan's order.
    parts: SmallVec<[Part; 2]>,
    /// When the own visit was granted last.
    pub granted_at_us: Option<u64>,
    /// How many shards have still to notify that they ran it, or that the waiters it fed are served.
    running: usize,
    /// Nothing is done.
    refusal: Option<Refusal>,
}

/// What a command just began that goes on while its session does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Begun {
    Parts(Number),
    Coordination(u64),
}

/// What one shard has to do with a transaction.
struct Part {
    shard: ShardId,
    /// The own one until the end; another shard's when it came back.
    txn_part: Option<Box<TxnPart>>,
    /// What was found by looking.
    found: Option<Replies>,
}

impl Part {
    /// What it replied, if that is known.
    fn replies_mut(&mut self) -> Option<&mut Replies> {
        let run = self.txn_part.as_mut().map(|txn_part| &mut txn_part.replies);
        run.or(self.found.as_mut())
    }
}

impl Pipelined {
    fn part(&mut self, shard: ShardId) -> Option<&mut Part> {
        self.parts.iter_mut().find(|part| part.shard == shard)
    }

    /// What all shards reply, if that is known of each.
    fn replies(&self) -> Option<SmallVec<[&Replies; 2]>> {
        let replies = self.parts.iter().map(|part| {
            let txn_part = part.txn_part.as_ref();
            txn_part.map(|txn_part| &txn_part.replies).or(part.found.as_ref())
        });
        replies.collect()
    }

    /// How other shards look at their transaction parts as soon as they are granted.
    fn look(&self) -> Look {
        match self.plan.known() {
            Known::ByLooking if self.plan.writes() => Look::Count,
            Known::ByLooking => Look::Run,
            Known::Ahead | Known::Afterwards => Look::Not,
        }
    }

    /// Why it must not run on this shard, if so.
    fn refusal_here(&mut self, shard: &mut Shard) -> Option<Refusal> {
        self.part(shard.id)?.txn_part.as_ref()?.refusal(shard)
    }
}

impl Core {
    /// Whether a session's next request may be a pipelined transaction of some shards, which are asked for only
    /// where one has more than enough to do. If not it waits, and is taken up again when it may.
    pub(super) fn may_pipeline(
        &mut self,
        id: SessionId,
        shards: impl FnOnce(&Self) -> SmallVec<[ShardId; 8]>,
    ) -> bool {
        let Some(session) = self.shard.sessions.get(id) else { return false };
        let is_strict = self.shard.config.pipeline_order == PipelineOrder::Strict;
        // Its replies may be as many as its keys, and as large as those before them.
        let under_way = session.queue.len().max(session.pipelined_weight);
        if under_way >= session.hole_limit || (is_strict && !session.queue.is_empty()) {
            return false;
        }
        if self.outboxes.iter().all(Outbox::has_room) {
            return true;
        }
        let full = shards(self).into_iter().find(|to| !self.outboxes[to.index()].has_room());
        let Some(full) = full else { return true };
        self.outboxes[full.index()].wait_for_room(id);
        if let Some(session) = self.shard.sessions.get_mut(id) {
            session.waits_for_room = true;
        }
        false
    }

    /// Begins a transaction that goes on while its session does.
    pub(super) fn begin_pipelined(
        &mut self,
        id: SessionId,
        plan: Plan,
        txn_parts: TxnParts,
        execution: Option<Box<Execution>>,
    ) {
        let number = self.numbers.next(self.shard.id, self.shard.now.monotonic_us);
        let Some(place) = self.open_place(id, txn_parts.weight(), execution) else { return };
        let transactions = &mut self.shard.stats.transactions;
        match txn_parts.0.len() {
            1 => transactions.on_one_shard += 1,
            _ => transactions.on_several_shards += 1,
        }
        self.quiescence.disturb();

        let mut holding = Holding::new(txn_parts.0.iter().map(|(shard, _)| *shard));
        let (mut parts, mut others) = (SmallVec::new(), SmallVec::<[_; 2]>::new());
        let mut is_granted_here = true;
        let tag = number.tag(self.epoch, txn_parts.writing_count());
        let tag = AtMoment { tag, moment_ms: self.shard.now.unix_ms };
        let is_shared = txn_parts.0.len() > 1;
        for (shard, mut txn_part) in txn_parts.0 {
            txn_part.transaction = Some(tag);
            txn_part.is_shared = is_shared;
            if shard == self.shard.id {
                let scope = Scope::keys(std::mem::take(&mut txn_part.intents));
                is_granted_here = self.shard.schedule(number, scope);
                parts.push(Part { shard, txn_part: Some(txn_part), found: None });
            } else {
                parts.push(Part { shard, txn_part: None, found: None });
                others.push((shard, txn_part));
            }
        }
        let mut pipelined = Box::new(Pipelined {
            place,
            plan,
            parts,
            granted_at_us: None,
            running: 0,
            refusal: None,
        });
        let look = pipelined.look();
        let is_entrusted = others.len() == 1
            && is_granted_here
            && pipelined.refusal_here(&mut self.shard).is_none();
        if is_entrusted {
            holding.entrust();
        }
        for (shard, txn_part) in others {
            let ask = match is_entrusted {
                true => Ask::Entrust { number, txn_part, look },
                false => Ask::Bring { number, txn_part, look },
            };
            self.ask(shard, ask);
        }
        let transaction = Transaction::new(holding, Owner::Pipelined(pipelined));
        self.under_way.transactions.insert(number, transaction);
        self.begun_pipelined = Some(Begun::Parts(number));
        self.settle();
    }

    /// Keeps a place for the reply of a transaction, while its session goes on.
    pub(super) fn open_place(
        &mut self,
        id: SessionId,
        weight: usize,
        execution: Option<Box<Execution>>,
    ) -> Option<ReplyPlace> {
        let session = self.shard.sessions.get_mut(id)?;
        let is_silent = session.reply_mode != ReplyMode::On;
        if session.reply_mode == ReplyMode::Skip {
            session.reply_mode = ReplyMode::On;
        }
        session.pipelined += 1;
        session.pipelined_weight += weight;
        // With `pipeline-order strict` whatever comes next waits for it.
        session.last_shard = NO_SHARD;
        let hole = session.queue.open_hole();
        Some(ReplyPlace { session: id, hole, is_silent, weight, call: None, execution })
    }

    /// Puts the reply into its place. One that was refused was not called.
    pub(super) fn fill_place(&mut self, place: ReplyPlace, answer: &[u8], is_refused: bool) {
        let id = place.session;
        let failed = answer.starts_with(b"-");
        if failed {
            self.shard.stats.count_error(answer[1..].trim_ascii_end());
        }
        match place.call {
            Some(call) if is_refused => self.shard.command_stats.rejected(call.command.number),
            Some(call) => self.end_call(id, call, (failed, answer.len())),
            None => {}
        }
        if let Some(execution) = place.execution {
            self.show_execution(id, &execution, answer);
        }
        if let Some(session) = self.shard.sessions.get_mut(id) {
            session.pipelined -= 1;
            session.pipelined_weight -= place.weight;
        }
        self.fill_hole(id, place.hole, if place.is_silent { &[] } else { answer });
    }

    /// Keeps what the books need of the command that just began a pipelined transaction, if that is still
    /// under way.
    pub(super) fn pipelined_call(&mut self) -> Option<&mut Option<PendingCall>> {
        let place = match self.begun_pipelined.take()? {
            Begun::Parts(number) => {
                match &mut self.under_way.transactions.get_mut(&number)?.owner {
                    Owner::Pipelined(pipelined) => &mut pipelined.place,
                    _ => return None,
                }
            }
            Begun::Coordination(number) => self.under_way.place_of(number)?,
        };
        Some(&mut place.call)
    }

    /// A transaction part of another shard's transaction visits this shard.
    pub(super) fn bring(&mut self, number: Number, txn_part: Box<TxnPart>, look: Look) {
        self.shard.stats.commands_from_others += txn_part.call_count() as u64;
        self.schedule_txn_part(number, txn_part, look);
    }

    fn schedule_txn_part(&mut self, number: Number, mut txn_part: Box<TxnPart>, look: Look) {
        self.numbers.saw(number);
        self.quiescence.disturb();
        let scope = Scope::keys(std::mem::take(&mut txn_part.intents));
        let visitor = Visitor::Carries { txn_part, look, granted_at_us: None };
        self.under_way.visitors.insert(number, visitor);
        self.shard.schedule(number, scope);
    }

    /// Another shard's transaction may be decided here: it is, if no visit is in its way.
    pub(super) fn entrusted(&mut self, number: Number, mut txn_part: Box<TxnPart>, look: Look) {
        self.shard.stats.commands_from_others += txn_part.call_count() as u64;
        if !self.shard.intents.admits_as(number, &txn_part.intents) {
            self.notify(number.home, Notification::Waits(number));
            self.schedule_txn_part(number, txn_part, look);
            return;
        }
        self.numbers.saw(number);
        self.quiescence.disturb();
        txn_part.perform(&mut self.shard);
        let feeds = self.put_off_part(number.home, FeedingPart::OfPipelined(number));
        self.notify(number.home, Notification::Ran { number, txn_part, feeds });
    }

    /// A visit of a transaction part is granted: its home hears what there is to see.
    pub(super) fn look_at_txn_part(
        &mut self,
        number: Number,
        mut txn_part: Box<TxnPart>,
        look: Look,
    ) {
        let refusal = txn_part.refusal(&mut self.shard);
        let may_run = refusal.is_none();
        match look {
            Look::Run if may_run => txn_part.look(&mut self.shard),
            Look::Count if may_run => txn_part.count_present(&self.shard),
            Look::Run | Look::Count | Look::Not => {}
        }
        let mut found = std::mem::take(&mut txn_part.replies);
        found.refusal = refusal;
        let granted_at_us = Some(self.shard.now.monotonic_us);
        let visitor = Visitor::Carries { txn_part, look, granted_at_us };
        self.under_way.visitors.insert(number, visitor);
        self.notify(
            number.home,
            Notification::Granted { number, found: Box::new(found), feeds: false },
        );
    }

    /// A visit of a transaction part is decided: it is run.
    pub(super) fn run_txn_part(&mut self, number: Number, is_wanted: bool) {
        self.quiescence.disturb();
        let Some(Visitor::Carries { mut txn_part, granted_at_us, .. }) =
            self.under_way.visitors.remove(&number)
        else {
            unreachable!("what was brought stays until it is run")
        };
        txn_part.complete(&mut self.shard);
        self.leave(number, granted_at_us.map(|at_us| (at_us, txn_part.name())));
        if is_wanted {
            let feeds = self.put_off_part(number.home, FeedingPart::OfPipelined(number));
            self.notify(number.home, Notification::Ran { number, txn_part, feeds });
        } else {
            self.txn_part_pool.keep(txn_part);
        }
    }

    /// A shard that was entrusted with a transaction did not decide it.
    pub(super) fn not_decided_there(&mut self, number: Number) {
        let home = self.shard.id;
        let Some(transaction) = self.under_way.transactions.get_mut(&number) else { return };
        if transaction.holding.is_not_decided_there(home) {
            self.given_back(number);
        }
    }

    /// All visits of a transaction are granted.
    pub(super) fn decide(&mut self, number: Number) {
        let Some((mut transaction, mut own)) = self.take_pipelined(number) else { return };
        let (here, known) = (self.shard.id, own.plan.known());
        let mut refusal = own.refusal_here(&mut self.shard);
        for (part, found) in own.parts.iter_mut().zip(transaction.take_found()) {
            let Some(Ok(found)) = found.map(|found| found.downcast::<Replies>()) else { continue };
            refusal = refusal.max(found.refusal);
            part.found = (known == Known::ByLooking).then_some(*found);
        }
        let runs = refusal.is_none() && own.plan.writes();
        let is_wanted = runs && known == Known::Afterwards;
        let mut others = 0;
        for part in own.parts.iter().filter(|part| part.shard != here) {
            others += 1;
            if let (Some(found), true) = (&part.found, own.plan.is_exec() && refusal.is_none()) {
                // The look did not count them: it might have had to be repeated.
                found.errors().for_each(|error| self.shard.stats.count_error(error));
            }
            if runs {
                self.ask(part.shard, Ask::Run { number, is_wanted });
            } else {
                let release = Ask::Release { number, part: None, last: None, feeding: None };
                self.ask(part.shard, release);
            }
        }
        own.running = if is_wanted { others } else { 0 };
        if runs && others > 0 {
            self.tie();
        }
        own.refusal = refusal;
        self.run_own(number, &mut own);
        self.go_on(number, transaction, own);
    }

    /// Another shard ran its transaction part: since it was decided, or as the one that decides.
    pub(super) fn ran(
        &mut self,
        number: Number,
        from: ShardId,
        txn_part: Box<TxnPart>,
        feeds: bool,
    ) {
        let Some((transaction, mut own)) = self.take_pipelined(number) else { return };
        own.refusal = own.refusal.max(txn_part.replies.refusal);
        if let Some(part) = own.part(from) {
            part.txn_part = Some(txn_part);
        }
        own.running += usize::from(feeds);
        if transaction.holding.is_entrusted() {
            if own.plan.writes() && own.refusal.is_none() {
                self.tie();
            }
            self.run_own(number, &mut own);
        } else {
            own.running -= 1;
        }
        self.go_on(number, transaction, own);
    }

    /// The waiters that its part on a shard fed are served.
    pub(super) fn served_pipelined(&mut self, number: Number) {
        let Some((transaction, mut own)) = self.take_pipelined(number) else { return };
        own.running -= 1;
        self.go_on(number, transaction, own);
    }

    /// Ends a transaction, or waits for those who are still running it.
    fn go_on(&mut self, number: Number, mut transaction: Transaction, own: Box<Pipelined>) {
        if own.running == 0 {
            self.end_pipelined(*own);
        } else {
            transaction.owner = Owner::Pipelined(own);
            self.under_way.transactions.insert(number, transaction);
        }
    }

    fn take_pipelined(&mut self, number: Number) -> Option<(Transaction, Box<Pipelined>)> {
        let mut transaction = self.under_way.transactions.remove(&number)?;
        match std::mem::replace(&mut transaction.owner, Owner::Nobody) {
            Owner::Pipelined(own) => Some((transaction, own)),
            _ => unreachable!("a coordination has no txn_parts"),
        }
    }

    /// Runs the part that is this shard's, if there is one, unless it must not, and leaves.
    fn run_own(&mut self, number: Number, own: &mut Pipelined) {
        let is_refused = own.refusal.is_some();
        let granted_at_us = own.granted_at_us;
        let Some(Part { txn_part: Some(txn_part), .. }) = own.part(self.shard.id) else { return };
        if is_refused {
            txn_part.forget_watches(&mut self.shard);
        } else {
            txn_part.complete(&mut self.shard);
        }
        let held = granted_at_us.map(|at_us| (at_us, txn_part.name()));
        self.leave(number, held);
        let feeds = self.put_off_part(self.shard.id, FeedingPart::OfPipelined(number));
        own.running += usize::from(feeds);
    }

    /// Puts the reply into its place.
    fn end_pipelined(&mut self, mut own: Pipelined) {
        let id = own.place.session;
        if own.plan.is_exec() && own.refusal.is_none() {
            let parts = own.parts.iter_mut().filter_map(Part::replies_mut);
            self.shard.count_calls(id, own.plan.untimed(), parts);
        }
        let mut answer = std::mem::take(&mut self.answer);
        if let Some(refusal) = own.refusal {
            own.plan.write_refusal(refusal, &mut answer);
        } else if let Some(replies) = own.replies() {
            own.plan.write(&replies, &mut answer);
        } else {
            own.plan.write_ahead(&mut answer);
        }
        let is_refused = own.refusal == Some(Refusal::Memory);
        self.fill_place(own.place, &answer, is_refused);
        answer.clear();
        if answer.capacity() <= limits::BUFFER_KEPT_BYTES {
            self.answer = answer;
        }
        for txn_part in own.parts.into_iter().filter_map(|part| part.txn_part) {
            self.txn_part_pool.keep(txn_part);
        }
    }
}
