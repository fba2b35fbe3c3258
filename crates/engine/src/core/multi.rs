//! Multi: requests queued between MULTI and EXEC, and EXEC itself.
//!
//! Where all that was queued, and all that is watched, is on one shard, EXEC is one plain call there. Else
//! it is a transaction: intents on all keys ahead, then the commands *inside* it, as many at a time as
//! need nothing of each other's order; a verb is one by itself.

use std::collections::BTreeMap;

use basalt_commands::{Command, CommandError, Flags, Run, Verb};
use basalt_keyspace::{Key, ShardId};
use basalt_resp::{Protocol, Reply};

use super::Core;
use super::request::Flow;
use crate::coordinate::Answer;
use crate::gates::{self, Armed};
use crate::message::{Letter, Ticket};
use crate::multi::{Multi, Queued, Reach};
use crate::perform::{Manner, OwnedTask};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::split::Split;
use crate::transaction::{Intent, Mode, Scope};
use crate::verbs;
use crate::world::World;

/// Commands to be run inside a transaction that is held, and who wants their replies.
pub(super) type Inside = (Ticket, SessionId, Vec<Queued>);

/// What runs inside just now.
pub(super) struct Nested {
    pub ticket: Ticket,
    /// It began a coordination, whose answer is its reply.
    pub is_coordinating: bool,
}

impl Core {
    /// Refuses a request, which breaks the transaction that it was to be part of.
    pub(super) fn refuse_request(&mut self, id: SessionId, name: &[u8], error: &CommandError) {
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
            Run::Engine(Verb::Exec) => {
                let as_a_whole = Command { flags, ..*command };
                if self.shard.pause().is_some() && self.shard.holds_back(&as_a_whole) {
                    self.shard.sessions.hold(id);
                    return Some(Flow::Held);
                }
                if self.shard.armed.has(Armed::MEMORY)
                    && let Err(error) = gates::room_left(&self.shard, flags)
                {
                    self.refuse_request(id, b"exec", &error);
                    return Some(Flow::On);
                }
                return None;
            }
            Run::Engine(Verb::Discard | Verb::Multi | Verb::Quit | Verb::Reset | Verb::Watch) => {
                return None;
            }
            _ => {}
        }
        if command.flags.has(Flags::NO_MULTI) {
            let error = CommandError::text("ERR Command not allowed inside a transaction");
            self.refuse_request(id, args[0], &error);
            return Some(Flow::On);
        }
        let limit = self.shard.config.client_query_buffer_limit;
        let multi = self.multi_of(id)?;
        multi.push(Queued::new(command, args));
        if multi.bytes as u64 > limit {
            self.shard.stats.query_limit_disconnections += 1;
            self.shard.sessions.abort(id);
            return Some(Flow::LastOne);
        }
        self.answer(id, |reply| reply.simple("QUEUED"));
        self.settle_reply_mode(id, None);
        Some(Flow::On)
    }

    /// Forgets what is queued and watched. Says whether something could have been queued.
    pub(crate) fn discard(&mut self, id: SessionId) -> bool {
        self.unwatch(id);
        let Some(session) = self.shard.sessions.get_mut(id) else { return false };
        session.armed.set(Armed::MULTI, false);
        session.multi.take().is_some()
    }

    /// Forgets what the session watches.
    pub(crate) fn unwatch(&mut self, id: SessionId) {
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        let (number, shards) = (session.number, std::mem::take(&mut session.watched).shards);
        self.forget_watches(number, shards);
    }

    pub(super) fn forget_watches(&mut self, number: u64, shards: Vec<ShardId>) {
        for shard in shards {
            if shard == self.shard.id {
                self.shard.keyspace.unwatch(number);
            } else {
                let run = Box::new(move |shard: &mut Shard| -> crate::message::HopResult {
                    shard.keyspace.unwatch(number);
                    Box::new(())
                });
                self.write_letter(shard, Letter::Hop { ticket: None, scope: None, run });
            }
        }
    }

    /// What queued commands and watches touch, by shard.
    fn scopes(&self, commands: &[Queued], watched: &[Key<'_>]) -> BTreeMap<ShardId, Scope> {
        let mut keys: BTreeMap<ShardId, Vec<Intent>> = BTreeMap::new();
        let mut everything = None;
        for queued in commands {
            match queued.reach() {
                Reach::Nothing => {}
                Reach::Everything(mode) => everything = everything.max(Some(mode)),
                Reach::Keys => queued.visit_intents(&self.shard, &mut |shard, intent| {
                    keys.entry(shard).or_default().push(intent);
                }),
            }
        }
        if let Some(mode) = everything {
            let writes = keys.values().flatten().any(|intent| intent.mode == Mode::Write);
            let mode = if writes { Mode::Write } else { mode };
            let all = self.shard.routes.shards();
            return all.map(|shard| (shard, Scope::Everything(mode))).collect();
        }
        for key in watched {
            let intent = Intent { hash: key.hash, mode: Mode::Read };
            keys.entry(self.shard.routes.shard(key.slot)).or_default().push(intent);
        }
        keys.into_iter().map(|(shard, intents)| (shard, Scope::keys(intents))).collect()
    }

    /// EXEC.
    pub(crate) fn execute(&mut self, id: SessionId, commands: Vec<Queued>) {
        for queued in &commands {
            self.shard.meter.count(queued.command.number);
        }
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        session.is_executing = true;
        let (watcher, protocol) = (session.number, session.protocol);
        let watched = std::mem::take(&mut session.watched.keys);
        let keyspace = &self.shard.keyspace;
        let keys: Vec<Key<'_>> = watched.iter().map(|key| keyspace.key(key)).collect();
        let mut scopes = self.scopes(&commands, &keys);
        let is_plain = commands.iter().all(|queued| queued.reach() == Reach::Keys)
            && commands.iter().all(|queued| !matches!(queued.run, Run::Engine(_)));
        if is_plain && scopes.len() <= 1 {
            self.count_alone();
            let here = (self.shard.id, Scope::keys(Vec::new()));
            let (owner, scope) = scopes.pop_first().unwrap_or(here);
            let tasks: Vec<OwnedTask> =
                commands.iter().map(|queued| self.task_of(id, queued)).collect();
            let whole = move |shard: &mut Shard| execute_here(shard, watcher, &tasks, protocol);
            if owner == self.shard.id && self.shard.intents.admits(&scope) {
                let answer = whole(&mut self.shard);
                self.end_execution(id);
                self.put_answer(id, &answer);
            } else {
                self.coordinate(id, |hops| async move { hops.alone(owner, scope, whole).await });
            }
            return;
        }
        self.coordinate(id, |hops| async move {
            let shards: Vec<ShardId> = scopes.keys().copied().collect();
            let look = move |shard: &mut Shard| shard.keyspace.is_watch_broken(watcher);
            let visits = scopes.into_iter().map(|(shard, scope)| (shard, scope, look));
            let is_broken = hops.hold(visits).await.contains(&true);
            let mut answer = Vec::new();
            if is_broken {
                Reply::new(&mut answer, protocol).null_array();
            } else {
                Reply::new(&mut answer, protocol).array(commands.len());
                for step in in_steps(commands) {
                    answer.extend(hops.inside(step).await);
                }
            }
            let unwatch = move |shard: &mut Shard| shard.keyspace.unwatch(watcher);
            hops.release(shards.into_iter().map(|shard| (shard, unwatch)));
            answer
        });
    }

    /// What an EXEC leaves behind when it is over.
    pub(super) fn end_execution(&mut self, id: SessionId) {
        if let Some(session) = self.shard.sessions.get_mut(id) {
            session.is_executing = false;
            session.watched = Default::default();
        }
    }

    fn task_of(&self, id: SessionId, queued: &Queued) -> OwnedTask {
        let (Run::Shard(run) | Run::Split(run, _)) = queued.run else {
            unreachable!("verbs are run one by one")
        };
        let manner = Manner::of(&self.shard, id, queued.command);
        OwnedTask::new(run, &queued.args(), queued.key_at(), manner)
    }

    /// Runs what is wished inside held transactions.
    pub(super) fn run_inside(&mut self, world: &mut dyn World) {
        while let Some((ticket, id, commands)) = self.inside.pop_front() {
            self.nested = Some(Nested { ticket, is_coordinating: false });
            let captured = match &commands[..] {
                [queued] if matches!(queued.run, Run::Engine(_)) => self.capture(world, id, queued),
                _ => {
                    self.run_step(id, &commands);
                    Vec::new()
                }
            };
            let nested = self.nested.take().expect("it was put there just now");
            if !nested.is_coordinating {
                self.take_result(ticket, Box::new(captured));
            }
            self.settle();
        }
    }

    /// Runs a verb and takes its reply from the session's output.
    fn capture(&mut self, world: &mut dyn World, id: SessionId, queued: &Queued) -> Vec<u8> {
        let Run::Engine(verb) = queued.run else { unreachable!("the caller looked") };
        let start = self.shard.sessions.get_mut(id).map_or(0, |session| session.output().len());
        if let Err(error) = verbs::run(self, world, id, verb, &queued.args()) {
            self.refuse(id, &error);
        }
        if self.nested.as_ref().is_some_and(|nested| nested.is_coordinating) {
            // By now the whole EXEC may be over, and the output be its reply.
            return Vec::new();
        }
        let session = self.shard.sessions.get_mut(id);
        session.map_or_else(Vec::new, |session| session.output().split_off(start))
    }

    /// Runs commands that need nothing of each other but their order on each shard.
    fn run_step(&mut self, id: SessionId, commands: &[Queued]) {
        let mut tasks: BTreeMap<ShardId, Vec<(usize, OwnedTask)>> = BTreeMap::new();
        let mut splits: Vec<Option<Split>> = Vec::new();
        for (index, queued) in commands.iter().enumerate() {
            let (args, manner) = (queued.args(), Manner::of(&self.shard, id, queued.command));
            match queued.run {
                Run::Split(run, merge) => {
                    let mut split =
                        Split::new(queued.command, run, merge, &args, &self.shard, manner);
                    for (shard, task) in split.take_tasks() {
                        tasks.entry(shard).or_default().push((index, task));
                    }
                    splits.push(Some(split));
                }
                _ => {
                    let slot = basalt_keyspace::SlotId::of_key(args[queued.key_at()]);
                    let owner = self.shard.routes.shard(slot);
                    tasks.entry(owner).or_default().push((index, self.task_of(id, queued)));
                    splits.push(None);
                }
            }
        }
        self.coordinate(id, |hops| async move {
            let parts = tasks.into_iter().map(|(shard, tasks)| {
                let run_all = move |shard: &mut Shard| -> Vec<(usize, Vec<u8>)> {
                    tasks.iter().map(|(index, task)| (*index, counted(shard, task))).collect()
                };
                (shard, run_all)
            });
            let mut replies: Vec<Vec<Vec<u8>>> = splits.iter().map(|_| Vec::new()).collect();
            // In the order of shards, as the parts of a split are.
            for (index, reply) in
                hops.on_each(parts.collect::<Vec<_>>()).await.into_iter().flatten()
            {
                replies[index].push(reply);
            }
            let merged = splits.into_iter().zip(replies).map(|(split, mut replies)| match split {
                Some(split) => split.merge(replies),
                None => replies.swap_remove(0),
            });
            merged.collect::<Vec<Vec<u8>>>().concat()
        });
    }
}

/// Commands by steps: verbs one by one, what is between them together.
fn in_steps(commands: Vec<Queued>) -> Vec<Vec<Queued>> {
    let mut steps: Vec<Vec<Queued>> = Vec::new();
    let is_verb = |queued: &Queued| matches!(queued.run, Run::Engine(_));
    for queued in commands {
        match steps.last_mut() {
            Some(step) if !is_verb(&queued) && !is_verb(&step[0]) => step.push(queued),
            _ => steps.push(vec![queued]),
        }
    }
    steps
}

fn counted(shard: &mut Shard, task: &OwnedTask) -> Vec<u8> {
    let reply = task.perform(shard);
    if let Some(text) = reply.strip_prefix(b"-") {
        shard.stats.count_error(text.trim_ascii_end());
    }
    reply
}

/// A whole EXEC on one shard.
fn execute_here(
    shard: &mut Shard,
    watcher: u64,
    tasks: &[OwnedTask],
    protocol: Protocol,
) -> Answer {
    let is_broken = shard.keyspace.is_watch_broken(watcher);
    shard.keyspace.unwatch(watcher);
    let mut answer = Vec::new();
    if is_broken {
        Reply::new(&mut answer, protocol).null_array();
        return answer;
    }
    Reply::new(&mut answer, protocol).array(tasks.len());
    for task in tasks {
        answer.extend(counted(shard, task));
    }
    answer
}
