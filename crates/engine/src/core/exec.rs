//! Multi: requests queued between MULTI and EXEC, and EXEC itself.
//!
//! Where nothing but calls on the shards of their keys was queued, EXEC is one plain call, or a pipelined
//! transaction (`pipelined`). With commands over keys of several shards it is a coordination that is pipelined as well:
//! intents on all keys ahead, then the commands by [`steps`](super::steps). With engine commands the session waits for
//! it, since these may need the session: they run *inside* it one by one.

use std::collections::BTreeMap;

use basalt_commands::{Command, CommandError, EngineCommand, Flags, Run, check_memory};
use basalt_keyspace::{DatabaseId, KeyHasher, ShardId, SlotId, is_mapping_granted};
use basalt_resp::{Protocol, Reply};
use smallvec::SmallVec;

use super::Core;
use super::cut_off::CutOff;
use super::dispatch::Flow;
use super::engine_commands;
use crate::completion::{Answer, Ticket};
use crate::intents::{Intent, Mode, Number, Scope};
use crate::mesh::message::{Ask, Hop};
use crate::session::SessionId;
use crate::session::armed::Armed;
use crate::session::execution::{PendingCall, Timing};
use crate::session::queued::{Multi, Queued, Reach, Watched};
use crate::shard::Shard;
use crate::shard::call::AtMoment;
use crate::shard::part::TxnParts;
use crate::shard::timing::logged_args;
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;
use crate::transaction::plan::{PlacedKey, Plan};
use crate::world::World;

/// Commands to be run inside a transaction that is held.
pub(super) struct Inside {
    /// Gets their replies.
    pub ticket: Ticket,
    pub session: SessionId,
    /// The moment that the transaction takes for now.
    pub moment_ms: u64,
    pub commands: Vec<Queued>,
}

/// What runs inside just now.
pub(super) struct Nested {
    pub ticket: Ticket,
    pub moment_ms: u64,
    /// It began a coordination, whose answer is its reply.
    pub is_coordinating: bool,
}

impl Core {
    /// Refuses a request, which breaks the transaction that it was to be part of.
    pub(super) fn refuse_request(&mut self, id: SessionId, name: &[u8], error: &CommandError) {
        if let Some(session) = self.shard.sessions.get_mut(id)
            && session.tracking.is_some()
        {
            session.end_caching_refused(name);
        }
        if name.eq_ignore_ascii_case(b"exec") {
            self.discard(id);
            let error = error.as_bytes();
            let error = error.strip_prefix(b"ERR ").unwrap_or(error);
            let text = [b"EXECABORT Transaction discarded because of: ", error].concat();
            self.refuse(id, &CommandError::new(text));
            return;
        }
        if let Some(multi) = self.multi_of(id) {
            multi.is_broken = true;
        }
        self.refuse(id, error);
    }

    fn multi_of(&mut self, id: SessionId) -> Option<&mut Multi> {
        self.shard.sessions.get_mut(id)?.multi.as_deref_mut()
    }

    /// A request between MULTI and EXEC: queued, refused, or `None` if it is to be worked at once.
    #[cold]
    pub(super) fn work_in_multi(
        &mut self,
        id: SessionId,
        command: &'static Command,
        args: &[&[u8]],
    ) -> Option<Flow> {
        let flags = self.multi_of(id)?.flags;
        match command.run {
            Run::Engine(EngineCommand::Exec) => {
                let as_a_whole = Command { flags, ..*command };
                if self.shard.pause().is_some() && self.shard.holds_back(&as_a_whole) {
                    self.shard.sessions.hold(id);
                    return Some(Flow::Held);
                }
                let bytes = self.multi_of(id)?.bytes;
                // Arguments are gathered per shard in buffers that double, and stored from there.
                let checked = check_memory(bytes.saturating_mul(3)).and_then(|()| {
                    is_mapping_granted(bytes).then_some(()).ok_or(CommandError::NO_MEMORY)
                });
                if let Err(error) = checked {
                    self.refuse_request(id, b"exec", &error);
                    return Some(Flow::On);
                }
                return None;
            }
            Run::Engine(
                EngineCommand::Discard
                | EngineCommand::Multi
                | EngineCommand::Quit
                | EngineCommand::Reset
                | EngineCommand::Watch,
            ) => {
                return None;
            }
            _ => {}
        }
        if command.flags.has(Flags::NO_MULTI) {
            let error = CommandError::text("ERR Command not allowed inside a transaction");
            self.refuse_request(id, args[0], &error);
            return Some(Flow::On);
        }
        let database = self.shard.sessions.get(id)?.database;
        let checked = self.shard.check_memory_ahead(command.flags, database);
        let bytes = args.iter().map(|arg| arg.len()).sum();
        if let Err(error) = checked.and_then(|()| check_memory(bytes)) {
            self.shard.command_stats.rejected(command.number);
            self.refuse_request(id, args[0], &error);
            return Some(Flow::On);
        }
        let limit = self.shard.config.client_query_buffer_limit;
        let multi = self.multi_of(id)?;
        multi.push(Queued::new(command, args));
        if multi.bytes as u64 > limit {
            self.cut_off(id, CutOff::QueryLimit);
            return Some(Flow::LastOne);
        }
        self.answer(id, |reply| reply.simple("QUEUED"));
        self.settle_reply_mode(id, None);
        Some(Flow::On)
    }

    /// Forgets what is queued and watched. Returns whether something could have been queued.
    pub(crate) fn discard(&mut self, id: SessionId) -> bool {
        self.unwatch(id);
        let Some(session) = self.shard.sessions.get_mut(id) else { return false };
        session.armed.set(Armed::MULTI, false);
        session.multi.take().is_some()
    }

    /// Forgets what the session watches.
    pub(crate) fn unwatch(&mut self, id: SessionId) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        let (number, watched) = (session.number, std::mem::take(&mut session.watched));
        self.forget_watches(number, &watched);
    }

    pub(super) fn forget_watches(&mut self, number: u64, watched: &Watched) {
        let slots = watched.keys.iter().map(|key| SlotId::of_key(key));
        for shard in self.shard.routes.shards_of(slots) {
            if shard == self.shard.id {
                self.shard.keyspace.unwatch(number);
            } else {
                let hop = Hop::new(move |shard: &mut Shard| shard.keyspace.unwatch(number));
                self.ask(shard, Ask::Hop { ticket: None, scope: None, hop });
            }
        }
    }

    /// By what keys are placed: the shards of the slots, and the hash.
    fn placing(&self) -> (&Routes, &KeyHasher) {
        (&self.shard.routes, self.shard.keyspace.hasher())
    }

    /// What queued commands and watches touch, and what may grow, by shard.
    fn visits(&self, commands: &[Queued], watched: &Watched, database: DatabaseId) -> Vec<Visit> {
        let mut visits: BTreeMap<ShardId, Visit> = BTreeMap::new();
        let visit_of = |shard| Visit { shard, intents: Vec::new(), all: None, grows: None };
        let mut everything = None;
        for queued in commands {
            if let Reach::Everything(mode) = queued.reach() {
                everything = everything.max(Some(mode));
            }
            let grows = queued.command.flags.has(Flags::DENYOOM).then_some(database);
            queued.visit_intents(self.placing(), &mut |shard, _, intent| {
                let visit = visits.entry(shard).or_insert_with(|| visit_of(shard));
                visit.intents.push(intent);
                if intent.mode == Mode::Write {
                    visit.grows = visit.grows.or(grows);
                }
            });
        }
        for name in &watched.keys {
            let key = self.shard.keyspace.key(name);
            let shard = self.shard.routes.shard(key.slot);
            let visit = visits.entry(shard).or_insert_with(|| visit_of(shard));
            visit.intents.push(Intent { hash: key.hash, mode: Mode::Read });
        }
        if let Some(mode) = everything {
            let mut intents = visits.values().flat_map(|visit| &visit.intents);
            let writes = intents.any(|intent| intent.mode == Mode::Write);
            let mode = if writes { Mode::Write } else { mode };
            for shard in self.shard.routes.shards() {
                visits.entry(shard).or_insert_with(|| visit_of(shard)).all = Some(mode);
            }
        }
        visits.into_values().collect()
    }

    /// Whether a session's EXEC would need nothing of the session.
    pub(super) fn would_execute_apart(&self, id: SessionId) -> bool {
        let multi = self.shard.sessions.get(id).and_then(|session| session.multi.as_ref());
        multi.is_some_and(|multi| !multi.is_broken && are_apart(&multi.commands))
    }

    fn are_calls(&self, commands: &[Queued]) -> bool {
        // What reads more than its keys must not meet what others hold.
        let is_free = |queued: &Queued| {
            self.shard.intents.is_idle() || !matches!(queued.reach(), Reach::Everything(_))
        };
        commands.iter().all(|queued| queued.is_calls(&self.shard.routes) && is_free(queued))
    }

    /// Whose the keys are that a session's EXEC will touch.
    pub(super) fn shards_of_execution(&self, id: SessionId) -> SmallVec<[ShardId; 8]> {
        let mut shards = SmallVec::new();
        let Some(session) = self.shard.sessions.get(id) else { return shards };
        for queued in session.multi.iter().flat_map(|multi| &multi.commands) {
            queued.visit_intents(self.placing(), &mut |shard, _, _| shards.push(shard));
        }
        let watched = session.watched.keys.iter().map(|key| SlotId::of_key(key));
        shards.extend(watched.map(|slot| self.shard.routes.shard(slot)));
        shards
    }

    /// EXEC.
    pub(crate) fn execute(&mut self, id: SessionId, multi: Multi) {
        let Multi { commands, .. } = multi;
        if self.are_calls(&commands) {
            self.execute_plain(id, &commands);
        } else if are_apart(&commands) {
            self.execute_over_shards(id, &commands);
        } else {
            self.execute_in_steps(id, commands);
        }
    }

    /// EXEC of nothing but calls on the shards of their keys.
    fn execute_plain(&mut self, id: SessionId, commands: &[Queued]) {
        self.note_execution(id, commands);
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        let (watcher, protocol) = (session.number, session.protocol);
        let pipelined = session.pipelined;
        let watched = std::mem::take(&mut session.watched);
        let execution = session.execution.take();
        let (mut plan, mut txn_parts) = (Plan::new(protocol, true), TxnParts::default());
        let session = self.shard.sessions.get(id).expect("the session asks just now");
        for queued in commands {
            let place = (&self.shard, session);
            plan.add(queued, place, (&mut txn_parts, &mut self.txn_part_pool));
        }
        for name in &watched.keys {
            let key = PlacedKey::of(&self.shard, name);
            let at = txn_parts.place_of(key.shard, &mut self.txn_part_pool);
            txn_parts.0[at].1.intents.push(Intent { hash: key.hash, mode: Mode::Read });
        }
        if !watched.keys.is_empty() {
            txn_parts.0.iter_mut().for_each(|(_, txn_part)| txn_part.watcher = Some(watcher));
        }
        let here = self.shard.id;
        let is_free = |intent| self.shard.intents.admits_key_behind(pipelined, here, intent);
        let runs_at_once = txn_parts.0.iter().all(|(shard, txn_part)| {
            *shard == here && txn_part.intents.iter().copied().all(is_free)
        });
        if !runs_at_once {
            self.begin_pipelined(id, plan, txn_parts, execution);
            return;
        }
        self.count_alone();
        let mut answer = Vec::new();
        let number = self.numbers.next(here, self.shard.now.monotonic_us);
        let moment_ms = self.shard.now.unix_ms;
        let tag = AtMoment { tag: number.tag(self.epoch, 1), moment_ms };
        for (_, txn_part) in &mut txn_parts.0 {
            txn_part.transaction = Some(tag);
            txn_part.perform(&mut self.shard);
        }
        let refusal = txn_parts.0.first().and_then(|(_, txn_part)| txn_part.replies.refusal);
        if refusal.is_none() {
            let parts = txn_parts.0.iter_mut().map(|(_, txn_part)| &mut txn_part.replies);
            self.shard.count_calls(id, plan.untimed(), parts);
        }
        match txn_parts.0.first() {
            _ if let Some(refusal) = refusal => plan.write_refusal(refusal, &mut answer),
            Some((_, txn_part)) => plan.write(&[&txn_part.replies], &mut answer),
            None => plan.write(&[], &mut answer),
        }
        self.put_feeding_answer(id, &answer);
        if let Some(execution) = execution {
            self.show_execution(id, &execution, &answer);
        }
        txn_parts.0.into_iter().for_each(|(_, txn_part)| self.txn_part_pool.keep(txn_part));
    }

    /// EXEC with commands over keys of several shards: intents on all keys ahead, and the commands inside.
    fn execute_over_shards(&mut self, id: SessionId, commands: &[Queued]) {
        self.note_execution(id, commands);
        let moment_ms = self.shard.now.unix_ms;
        let Some(steps) = self.steps(id, commands, moment_ms) else { return };
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        let whole =
            Whole { watcher: session.number, protocol: session.protocol, count: commands.len() };
        let (database, execution) = (session.database, session.execution.take());
        let watched = std::mem::take(&mut session.watched);
        let visits = self.visits(commands, &watched, database);
        let Some(place) = self.open_place(id, steps.weight(), execution) else { return };
        self.coordinate_pipelined(place, |hops| async move {
            let run = async || {
                hops.set_inside(Some(moment_ms));
                let replies = steps.run(&hops).await;
                hops.set_inside(None);
                replies
            };
            whole.run(&hops, visits, run).await
        });
    }

    /// EXEC with engine commands among its commands: they need the session, which waits for it.
    fn execute_in_steps(&mut self, id: SessionId, commands: Vec<Queued>) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        session.is_executing = true;
        let whole =
            Whole { watcher: session.number, protocol: session.protocol, count: commands.len() };
        let database = session.database;
        let watched = std::mem::take(&mut session.watched);
        let visits = self.visits(&commands, &watched, database);
        let moment_ms = self.shard.now.unix_ms;
        if let Some(session) = self.shard.sessions.get_mut(id) {
            session.watched = watched;
        }
        self.coordinate(id, |hops| async move {
            let run = async || {
                let mut replies = Vec::new();
                for step in in_steps(commands) {
                    replies.extend(hops.inside(step, moment_ms).await);
                }
                replies
            };
            whole.run(&hops, visits, run).await
        });
    }

    /// What an EXEC leaves behind when it is over.
    pub(super) fn end_execution(&mut self, id: SessionId, answer: &[u8]) {
        if let Some(session) = self.shard.sessions.get_mut(id) {
            session.is_executing = false;
            session.watched = Default::default();
        }
        let session = self.shard.sessions.get_mut(id);
        if let Some(execution) = session.and_then(|session| session.execution.take()) {
            self.show_execution(id, &execution, answer);
        }
    }

    /// Whether what runs now is part of a transaction that holds what it needs.
    pub(crate) fn is_nested(&self) -> bool {
        self.nested.is_some()
    }

    /// A transaction that begins and ends with one call now.
    pub(crate) fn transaction_of_one(&mut self) -> (Number, AtMoment) {
        let number = self.numbers.next(self.shard.id, self.shard.now.monotonic_us);
        let moment_ms = self.shard.keyspace.now_ms();
        (number, AtMoment { tag: number.tag(self.epoch, 1), moment_ms })
    }

    /// What is to run next inside a held transaction; a script that got what it waited for goes on before that.
    fn next_inside(&mut self) -> Option<Inside> {
        while self.inside.is_empty() && self.shard.scripting.has_reply() {
            self.go_on_with_script();
        }
        self.inside.pop_front()
    }

    /// Runs what is wished inside held transactions.
    pub(super) fn run_inside(&mut self, world: &mut dyn World) {
        while let Some(inside) = self.next_inside() {
            let Inside { ticket, session: id, moment_ms, commands } = inside;
            self.nested = Some(Nested { ticket, moment_ms, is_coordinating: false });
            self.note_hop(ticket);
            let now_ms = self.shard.keyspace.swap_now(moment_ms);
            let mut timing = None;
            let captured = match &commands[..] {
                [queued] if let Run::Engine(engine_command) = queued.run => {
                    let is_timed = self.shard.command_stats.is_next_timed(queued.command.number);
                    let begun_ns = if is_timed { Some(world.monotonic_ns()) } else { None };
                    timing = Some(begun_ns.map_or(Timing::Untimed, Timing::Since));
                    self.capture(world, id, (queued, engine_command))
                }
                _ => {
                    if let Some(steps) = self.steps(id, &commands, moment_ms) {
                        self.coordinate(id, |hops| async move { steps.run(&hops).await });
                    }
                    Vec::new()
                }
            };
            self.shard.keyspace.swap_now(now_ms);
            let nested = self.nested.take().expect("it was put there just now");
            if self.shard.armed.has(Armed::OBSERVED) {
                for queued in &commands {
                    self.observe(world, id, queued.command, &queued.args());
                }
            }
            if let (Some(timing), [queued]) = (timing, &commands[..]) {
                self.end_captured(id, queued, timing, (nested.is_coordinating, &captured));
            }
            if !nested.is_coordinating {
                self.take_result(ticket, Box::new(captured));
            }
            self.settle();
        }
    }

    /// Counts a command that ran as a step, now or when it is over.
    fn end_captured(
        &mut self,
        id: SessionId,
        queued: &Queued,
        timing: Timing,
        (is_coordinating, captured): (bool, &[u8]),
    ) {
        let command = queued.command;
        let logs =
            matches!(timing, Timing::Since(_)) && self.shard.config.slowlog_log_slower_than >= 0;
        let args = if logs { logged_args(command, &queued.args()) } else { Vec::new() };
        let measured = self.measured(command, &queued.args());
        let call = PendingCall { command, timing, args, measured };
        match self.last_begun() {
            Some(own) if is_coordinating => own.call = Some(call),
            _ => self.end_call(id, call, (captured.starts_with(b"-"), captured.len())),
        }
    }

    /// Runs an engine command and takes its reply from the session's output.
    fn capture(
        &mut self,
        world: &mut dyn World,
        id: SessionId,
        (queued, engine_command): (&Queued, EngineCommand),
    ) -> Vec<u8> {
        let start = self.shard.sessions.get_mut(id).map_or(0, |session| session.output().len());
        self.track_keys(id, queued.command, &queued.args());
        let outcome = engine_commands::run(self, world, id, engine_command, &queued.args());
        if let Err(error) = outcome {
            self.refuse(id, &error);
        }
        let session = self.shard.sessions.get_mut(id);
        session.map_or_else(Vec::new, |session| session.output().split_off(start))
    }
}

/// What an EXEC touches of a shard.
struct Visit {
    shard: ShardId,
    intents: Vec<Intent>,
    /// All keys of it, and what for.
    all: Option<Mode>,
    /// The database of what it may grow there.
    grows: Option<DatabaseId>,
}

/// An EXEC that holds its keys while its commands run.
struct Whole {
    /// The session that watches.
    watcher: u64,
    protocol: Protocol,
    /// How many commands it has.
    count: usize,
}

impl Whole {
    /// Has the commands run, which return their replies, unless a shard refuses them.
    async fn run(
        self,
        hops: &Hops,
        visits: Vec<Visit>,
        run: impl AsyncFnOnce() -> Answer,
    ) -> Answer {
        let Self { watcher, protocol, count } = self;
        let shards: Vec<ShardId> = visits.iter().map(|visit| visit.shard).collect();
        let visits = visits.into_iter().map(|Visit { shard, intents, all, grows }| {
            let scope = all.map_or_else(|| Scope::keys(intents), Scope::Everything);
            (shard, scope, move |shard: &mut Shard| shard.refusal(grows, Some(watcher)))
        });
        let refusal = hops.hold(visits).await.into_iter().max().flatten();
        let mut answer = Vec::new();
        let mut reply = Reply::new(&mut answer, protocol);
        if let Some(refusal) = refusal {
            refusal.write(true, &mut reply);
        } else {
            reply.array(count);
            answer.extend(run().await);
        }
        let unwatch = move |shard: &mut Shard| shard.keyspace.unwatch(watcher);
        hops.release(shards.into_iter().map(|shard| (shard, unwatch)));
        answer
    }
}

/// Whether none of these commands is an engine command, which may need the session.
fn are_apart(commands: &[Queued]) -> bool {
    commands.iter().all(|queued| !matches!(queued.run, Run::Engine(_) | Run::Container))
}

/// Commands by steps: engine commands one by one, what is between together.
fn in_steps(commands: Vec<Queued>) -> Vec<Vec<Queued>> {
    let mut steps: Vec<Vec<Queued>> = Vec::new();
    for queued in commands {
        match steps.last_mut() {
            Some(step) if are_apart(step) && are_apart(std::slice::from_ref(&queued)) => {
                step.push(queued);
            }
            _ => steps.push(vec![queued]),
        }
    }
    steps
}
