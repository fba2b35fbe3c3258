//! Waiting: clients whose command waits for a key to be fed; who stands in line, and who sits at home.
//!
//! ```text
//! home (the session's core)                     the key's shard
//! command ─► tries, else stands in line ──────► line of the key: first come, first served
//! asleep  ◄──────────────────────────────────── key fed: its turn comes, it is served there and then
//!    │ time is over, CLIENT UNBLOCK ──────────► leaves the line, unless it was served before
//! ```
//!
//! Who waits for keys of one shard is served on it, by the same plain call that would have answered it at
//! once. Who waits for keys of several is told to look, and holds up those behind it until it has (but for
//! streams, where nobody takes anything from anybody).
//!
//! When a slot moves, its keys' lines go along.
//!
//! Not here: the coordinator of a waiting command (`transaction/wait.rs`).

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use basalt_keyspace::{Kind, ShardId, SlotId};

use crate::coordinate::Answer;
use crate::message::Ticket;
use crate::routes::Routes;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::{DeclaredKey, Scope};

/// Tries to answer the command; nothing where it would have to wait on.
pub(crate) type Attempt = Box<dyn FnMut(&mut Shard) -> Option<Answer> + Send>;

/// A waiting command: the home of its session, and its coordination there.
pub(crate) type WaiterId = (ShardId, u64);

/// What the home of one who waits is told.
pub(crate) enum Woken {
    /// It was served; this is its reply.
    Served(Answer),
    /// It is its turn: it should look.
    Look,
}

/// How waiting ends without having been served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    TimeOver,
    /// CLIENT UNBLOCK … ERROR.
    Unblocked,
}

/// One who stands in line on a shard.
pub(crate) struct Waiter {
    /// Where its home wants to be told.
    pub ticket: Ticket,
    /// The keys of this shard that it waits for, and its place in each one's line, given when it stands there.
    pub lines: Vec<(DeclaredKey, u64)>,
    /// The slots of all keys of its command.
    pub slots: Arc<[SlotId]>,
    /// What the attempt touches.
    pub scope: Scope,
    /// What a key must hold for its turn to come.
    pub kind: Kind,
    /// None where keys of other shards are concerned.
    pub attempt: Option<Attempt>,
    /// Told to look: nobody behind it is served until it has.
    pub is_told: bool,
}

/// A session of this core that waits.
#[derive(Clone, Debug)]
pub(crate) struct AtHome {
    pub ticket: Ticket,
    pub deadline_us: Option<u64>,
    /// Of the keys in whose lines it stands.
    pub slots: Vec<SlotId>,
}

/// What is to be told to homes: a result for a coordination.
pub(crate) enum News {
    Woken(Woken),
    Ended(End),
}

/// All who stand in line on a shard, and all of its core's sessions that wait.
#[derive(Default)]
pub(crate) struct Waiting {
    waiters: BTreeMap<WaiterId, Waiter>,
    /// By the hash of a key, in the order in which they came.
    lines: HashMap<u64, BTreeMap<u64, WaiterId>>,
    came: u64,
    at_home: BTreeMap<SessionId, AtHome>,
    deadlines: BTreeSet<(u64, SessionId)>,
    news: VecDeque<(ShardId, Ticket, News)>,
}

impl Waiting {
    /// Whether a session of this core waits.
    pub(crate) fn is_waiting(&self, session: SessionId) -> bool {
        self.at_home.contains_key(&session)
    }

    /// How many sessions of this core wait.
    pub(crate) fn session_count(&self) -> usize {
        self.at_home.len()
    }

    /// A session of this core begins to wait.
    pub(crate) fn begin(&mut self, session: SessionId, at_home: AtHome) {
        if let Some(at_us) = at_home.deadline_us {
            self.deadlines.insert((at_us, session));
        }
        self.at_home.insert(session, at_home);
    }

    /// A session of this core waits no more.
    pub(crate) fn leave(&mut self, session: SessionId) -> Option<AtHome> {
        let at_home = self.at_home.remove(&session)?;
        if let Some(at_us) = at_home.deadline_us {
            self.deadlines.remove(&(at_us, session));
        }
        Some(at_home)
    }

    /// How many of them wait for a time only.
    pub(crate) fn deadline_count(&self) -> usize {
        self.deadlines.len()
    }

    /// How many keys somebody stands in line for.
    pub(crate) fn line_count(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn next_deadline_us(&self) -> Option<u64> {
        self.deadlines.first().map(|(at_us, _)| *at_us)
    }

    /// Ends the waiting of those whose time is over.
    pub(crate) fn end_overdue(&mut self, home: ShardId, now_us: u64) {
        while let Some(&(at_us, session)) = self.deadlines.first()
            && at_us <= now_us
        {
            self.deadlines.pop_first();
            let ticket = self.at_home[&session].ticket;
            self.news.push_back((home, ticket, News::Ended(End::TimeOver)));
        }
    }

    /// Ends the waiting of a session of this core; says whether it waited.
    pub(crate) fn end(&mut self, home: ShardId, session: SessionId, end: End) -> bool {
        let Some(at_home) = self.at_home.get(&session) else { return false };
        self.news.push_back((home, at_home.ticket, News::Ended(end)));
        true
    }

    pub(crate) fn next_news(&mut self) -> Option<(ShardId, Ticket, News)> {
        self.news.pop_front()
    }

    /// Whether everybody was told everything.
    pub(crate) fn is_told_all(&self) -> bool {
        self.news.is_empty()
    }

    /// The next in a line, from a place on.
    fn next_in_line(&self, hash: u64, from: u64) -> Option<(u64, WaiterId)> {
        self.lines.get(&hash)?.range(from..).next().map(|(place, id)| (*place, *id))
    }
}

impl Shard {
    /// Somebody stands in line for all its keys.
    pub(crate) fn stand_in_line(&mut self, id: WaiterId, mut waiter: Waiter) {
        let waiting = &mut self.waiting;
        waiting.came += 1;
        for (key, place) in &mut waiter.lines {
            let hash = key.key().hash;
            *place = waiting.came;
            waiting.lines.entry(hash).or_default().insert(*place, id);
            self.keyspace.want_fed(hash);
        }
        waiting.waiters.insert(id, waiter);
    }

    /// Somebody leaves its lines; says whether it stood there. Those behind it may be next.
    pub(crate) fn leave_line(&mut self, id: WaiterId) -> bool {
        let Some(waiter) = self.waiting.waiters.remove(&id) else { return false };
        self.take_from_lines(&waiter.lines);
        for (key, _) in &waiter.lines {
            self.keyspace.note_fed(key.key().hash);
        }
        true
    }

    fn take_from_lines(&mut self, lines: &[(DeclaredKey, u64)]) {
        for (key, place) in lines {
            let hash = key.key().hash;
            let Some(line) = self.waiting.lines.get_mut(&hash) else { continue };
            line.remove(place);
            if line.is_empty() {
                self.waiting.lines.remove(&hash);
                self.keyspace.want_no_more(hash);
            }
        }
    }

    /// Somebody who was told to look did, in vain: it goes on waiting in its place.
    pub(crate) fn wait_on(&mut self, id: WaiterId) {
        let Some(waiter) = self.waiting.waiters.get_mut(&id) else { return };
        waiter.is_told = false;
    }

    /// Takes out of their lines all who wait for keys that are other shards' by the new routes. What was one
    /// plain call can only go on as one where all its keys went the same way.
    pub(crate) fn give_out_waiters(&mut self, routes: &Routes) -> Vec<(WaiterId, Waiter)> {
        let own = self.id;
        let moves = |slot: SlotId| routes.shard(slot) != own;
        let waiters = self.waiting.waiters.iter();
        let moving =
            waiters.filter(|(_, waiter)| waiter.lines.iter().any(|(key, _)| moves(key.slot)));
        let moving: Vec<WaiterId> = moving.map(|(id, _)| *id).collect();
        let mut given = Vec::with_capacity(moving.len());
        for id in moving {
            let mut waiter = self.waiting.waiters.remove(&id).expect("it was just there");
            let lines: Vec<_> = waiter.lines.extract_if(.., |(key, _)| moves(key.slot)).collect();
            self.take_from_lines(&lines);
            let stays_one = routes.shards_of(waiter.slots.iter().copied()).len() == 1;
            let attempt = waiter.attempt.take().filter(|_| stays_one);
            let (slots, scope) = (Arc::clone(&waiter.slots), waiter.scope.clone());
            let Waiter { ticket, kind, .. } = waiter;
            if !waiter.lines.is_empty() {
                self.waiting.waiters.insert(id, waiter);
            }
            let went = Waiter { ticket, lines, slots, scope, kind, attempt, is_told: false };
            given.push((id, went));
        }
        given
    }

    /// Puts those who come from other shards into the lines of their keys, in their order.
    pub(crate) fn take_in_waiters(&mut self, given: Vec<(WaiterId, Waiter)>) {
        let waiting = &mut self.waiting;
        let mut lines = Vec::new();
        for (id, mut waiter) in given {
            lines.extend(waiter.lines.drain(..).map(|(key, place)| (place, id, key)));
            let there = waiting.waiters.entry(id).or_insert(waiter);
            if !there.lines.is_empty() {
                there.attempt = None;
            }
        }
        lines.sort_unstable_by_key(|(place, ..)| *place);
        for (_, id, key) in lines {
            waiting.came += 1;
            let hash = key.key().hash;
            waiting.lines.entry(hash).or_default().insert(waiting.came, id);
            self.keyspace.want_fed(hash);
            let waiter = waiting.waiters.get_mut(&id).expect("it was put there");
            waiter.lines.push((key, waiting.came));
        }
    }

    /// Serves those who wait for keys that were fed.
    pub(crate) fn serve_fed(&mut self) {
        while let Some(hash) = self.keyspace.next_fed() {
            self.serve(hash);
        }
    }

    fn serve(&mut self, hash: u64) {
        let mut from = 0;
        while let Some((place, id)) = self.waiting.next_in_line(hash, from) {
            from = place + 1;
            let waiter = &self.waiting.waiters[&id];
            let takes = waiter.kind != Kind::Stream;
            if waiter.is_told && takes {
                return;
            }
            if waiter.is_told || !self.is_ready_for(waiter, hash) {
                continue;
            }
            let mut waiter = self.waiting.waiters.remove(&id).expect("it was just there");
            let ticket = waiter.ticket;
            let may = self.intents.admits(&waiter.scope);
            let Some(attempt) = waiter.attempt.as_mut().filter(|_| may) else {
                waiter.is_told = true;
                self.waiting.waiters.insert(id, waiter);
                self.waiting.news.push_back((id.0, ticket, News::Woken(Woken::Look)));
                if takes {
                    return;
                }
                continue;
            };
            match attempt(self) {
                Some(answer) => {
                    self.take_from_lines(&waiter.lines);
                    let served = News::Woken(Woken::Served(answer));
                    self.waiting.news.push_back((id.0, ticket, served));
                }
                None => _ = self.waiting.waiters.insert(id, waiter),
            }
        }
    }

    /// Whether one of its keys of this hash holds what it waits for.
    fn is_ready_for(&self, waiter: &Waiter, hash: u64) -> bool {
        waiter.lines.iter().any(|(key, _)| {
            key.key().hash == hash
                && key.peek(self).is_some_and(|entry| entry.kind() == waiter.kind)
        })
    }
}
