//! Waiting: clients whose command waits for a key to be fed; who stands in line, and who sits at home.
//!
//! ```text
//! home (the session's core)                     the key's shard
//! command ─► tries, else stands in line ──────► line of the key: first come, first served
//! asleep  ◄──────────────────────────────────── key fed: its turn comes, it is served there and then
//!    │ time is over, CLIENT UNBLOCK ──────────► leaves the line, unless it was served before
//! ```
//!
//! A client that waits for keys of one shard is served on it, by the same plain call that would have answered it at
//! once. Who waits for keys of several is asked to look, and holds up those behind it until it has (but for
//! XREAD, where nobody takes anything from anybody).
//!
//! A waiter that needs more than there is (BLMOVEM … EXACTLY) is passed over, and keeps its place.
//!
//! What fed a key is answered once those are served, or have looked, whom it had asked to: so a client that has its
//! answer finds what a blocked client did then, on all shards.
//!
//! When a slot moves, its keys' lines go along.
//!
//! Not here: the coordinator of a waiting command (`core/wait.rs`).

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use basalt_commands::WaitsFor;
use basalt_keyspace::{DatabaseId, Key, Kind, ListRef, Origin, ShardId, SlotId};

use super::Shard;
use crate::completion::{Answer, Ticket};
use crate::input::keys::DeclaredKey;
use crate::intents::{Intent, Mode, Number, Scope};
use crate::session::SessionId;
use crate::slots::routes::Routes;

/// Tries to answer the command; nothing where it would have to wait on.
pub(crate) type Attempt = Box<dyn FnMut(&mut Shard) -> Option<Answer> + Send>;

/// A waiting command: the home of its session, and its coordination there.
pub(crate) type WaiterId = (ShardId, u64);

/// What the home of one who waits hears.
pub(crate) enum Woken {
    /// It was served; this is its reply.
    Served(Answer),
    /// It is its turn: it should look. Where what it looks for is taken, that is kept for it under a
    /// transaction's number, with which it comes.
    Look(Option<Number>),
}

/// What a waiter needs before its turn can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeldUp {
    /// An intent is out of the way; then it is served here.
    Serves,
    /// What it may take is kept from others until its home has looked.
    Reserves,
}

/// How waiting ends without having been served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    TimeOver,
    /// CLIENT UNBLOCK … ERROR.
    Unblocked,
}

/// Whether what one gets is its own alone.
fn takes(waits_for: &WaitsFor) -> bool {
    *waits_for != WaitsFor::Entries
}

/// One who stands in line on a shard.
pub(crate) struct Waiter {
    /// The client for which it changes data when it is served.
    pub origin: Origin,
    /// Where its home wants to hear.
    pub ticket: Ticket,
    /// The keys of this shard that it waits for, and its place in each one's line, given when it stands there.
    pub lines: Vec<(DeclaredKey, u64)>,
    /// The slots of all keys of its command.
    pub slots: Arc<[SlotId]>,
    /// What the attempt touches.
    pub scope: Scope,
    pub waits_for: WaitsFor,
    /// How much of it there must be: elements of a list, else 1.
    pub least: u64,
    /// None where keys of other shards are concerned.
    pub attempt: Option<Attempt>,
    /// What was fed is kept for it under this number.
    pub reserved: Option<Number>,
    /// Told to look, or held up: nobody behind it is served until it has, if what they wait for is taken.
    pub is_told: bool,
    /// The hashes of its keys that were fed since it was asked to look. Only these are looked at again: if all were, who
    /// waits for two keys of a shard would be asked again for ever.
    pub ready_again: BTreeSet<u64>,
}

/// A line: those who wait for the same of the same key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LineName {
    hash: u64,
    database: DatabaseId,
    key: Vec<u8>,
    waits_for: WaitsFor,
}

impl LineName {
    /// Before all of this hash.
    fn first(hash: u64) -> Self {
        let waits_for = WaitsFor::Value(Kind::String);
        Self { hash, database: DatabaseId(0), key: Vec::new(), waits_for }
    }

    fn of(key: &DeclaredKey, waits_for: &WaitsFor) -> Self {
        let (database, waits_for) = (key.database, waits_for.clone());
        Self { hash: key.key().hash, database, key: key.bytes.clone(), waits_for }
    }
}

/// One who stands in a line, and how much it needs.
#[derive(Clone, Copy, Debug)]
struct Place {
    id: WaiterId,
    least: u64,
}

/// How many wait, and for how many keys.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WaitingStats {
    pub sessions: usize,
    pub sessions_with_deadline: usize,
    pub keys: usize,
    /// Those with a waiter for their end.
    pub keys_of_groups: usize,
}

/// A session of this core that waits.
#[derive(Clone, Debug)]
pub(crate) struct AtHome {
    pub ticket: Ticket,
    pub deadline_us: Option<u64>,
    /// Of the keys in whose lines it stands.
    pub slots: Vec<SlotId>,
    /// The moment to look again though none of its keys was fed, and where it hears so.
    pub look: Option<(u64, Ticket)>,
}

/// What is put off until the waiters that a call has asked to look are served.
pub(crate) enum PutOff {
    /// The reply of that call.
    Reply { to: ShardId, session: SessionId, hole: u32, reply: Vec<u8> },
    /// What a hop gave that was a transaction by itself.
    Result { to: ShardId, ticket: Ticket, result: Box<dyn Any + Send> },
    /// The end of a transaction's part here.
    Part { to: ShardId, part: FeedingPart },
}

/// A part of a transaction that fed a waiter, as its home knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FeedingPart {
    OfCoordination(u64),
    OfPipelined(Number),
}

/// News for homes: a result for a coordination.
pub(crate) enum News {
    Woken(Woken),
    Ended(End),
}

/// All who stand in line on a shard, and all of its core's sessions that wait.
#[derive(Default)]
pub(crate) struct Waiting {
    waiters: BTreeMap<WaiterId, Waiter>,
    /// In each, those who wait in the order in which they came.
    lines: BTreeMap<LineName, BTreeMap<u64, Place>>,
    came: u64,
    at_home: BTreeMap<SessionId, AtHome>,
    deadlines: BTreeSet<(u64, SessionId)>,
    /// When sessions look again.
    looks: BTreeSet<(u64, SessionId)>,
    news: VecDeque<(ShardId, Ticket, News)>,
    /// Whose turn it is, but for this.
    held_up: VecDeque<(WaiterId, HeldUp, Scope)>,
    /// Reservations whose waiters need them no more.
    given_up: Vec<Number>,
    /// How many of `waiters` cannot be served by one call on this shard.
    distant: usize,
    /// Those who were asked to look at what is reserved for them, and have not yet.
    looking: BTreeSet<WaiterId>,
    /// Those of them who were asked to since this was last called.
    newly_told: Vec<WaiterId>,
    /// LIMIT: one for each request of a session, of which that has no more than its holes, and one for each
    /// transaction.
    put_off: Vec<(BTreeSet<WaiterId>, PutOff)>,
    /// What is put off no more.
    released: VecDeque<PutOff>,
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

    pub(crate) fn statistics(&self) -> WaitingStats {
        // Lines of the same key lie side by side.
        let count = |is_meant: fn(&LineName) -> bool| {
            let lines = self.lines.keys().filter(|line| is_meant(line));
            let mut keys: Vec<_> = lines.map(|line| (line.database, &line.key)).collect();
            keys.dedup();
            keys.len()
        };
        WaitingStats {
            sessions: self.at_home.len(),
            sessions_with_deadline: self.deadlines.len(),
            keys: count(|_| true),
            keys_of_groups: count(|line| matches!(line.waits_for, WaitsFor::Group(_))),
        }
    }

    /// A session of this core begins to wait, or waits on with another moment to look again.
    pub(crate) fn begin(&mut self, session: SessionId, at_home: AtHome) {
        self.leave(session);
        if let Some(at_us) = at_home.deadline_us {
            self.deadlines.insert((at_us, session));
        }
        if let Some((at_us, _)) = at_home.look {
            self.looks.insert((at_us, session));
        }
        self.at_home.insert(session, at_home);
    }

    /// A session of this core waits no more.
    pub(crate) fn leave(&mut self, session: SessionId) -> Option<AtHome> {
        let at_home = self.at_home.remove(&session)?;
        if let Some(at_us) = at_home.deadline_us {
            self.deadlines.remove(&(at_us, session));
        }
        if let Some((at_us, _)) = at_home.look {
            self.looks.remove(&(at_us, session));
        }
        Some(at_home)
    }

    /// When a session's time is over, or one looks again.
    pub(crate) fn next_due_us(&self) -> Option<u64> {
        let firsts = [self.deadlines.first(), self.looks.first()];
        firsts.into_iter().flatten().map(|(at_us, _)| *at_us).min()
    }

    /// Where a session hears that it is time to look again.
    pub(crate) fn next_look(&mut self, now_us: u64) -> Option<Ticket> {
        self.looks.first().filter(|(at_us, _)| *at_us <= now_us)?;
        let (_, session) = self.looks.pop_first()?;
        self.at_home[&session].look.map(|(_, ticket)| ticket)
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

    /// Ends the waiting of a session of this core; returns whether it waited.
    pub(crate) fn end(&mut self, home: ShardId, session: SessionId, end: End) -> bool {
        let Some(at_home) = self.at_home.get(&session) else { return false };
        self.news.push_back((home, at_home.ticket, News::Ended(end)));
        true
    }

    pub(crate) fn next_held_up(&mut self) -> Option<(WaiterId, HeldUp, Scope)> {
        self.held_up.pop_front()
    }

    /// A reservation that is to be let go.
    pub(crate) fn next_given_up(&mut self) -> Option<Number> {
        self.given_up.pop()
    }

    /// Something is reserved for a waiter; returns whether it is still in line, and what for.
    pub(crate) fn note_reserved(&mut self, id: WaiterId, number: Number) -> bool {
        let waiter = self.waiters.get_mut(&id).filter(|waiter| waiter.is_told);
        waiter.is_some_and(|waiter| waiter.reserved.replace(number).is_none())
    }

    /// Where its home hears of what is reserved for it, if it still is.
    pub(crate) fn reserver(&self, id: WaiterId, number: Number) -> Option<Ticket> {
        let waiter = self.waiters.get(&id)?;
        (waiter.reserved == Some(number)).then_some(waiter.ticket)
    }

    pub(crate) fn next_news(&mut self) -> Option<(ShardId, Ticket, News)> {
        self.news.pop_front()
    }

    /// Whether all news are sent, and no waiter is held up that has not asked for its turn.
    pub(crate) fn is_told_all(&self) -> bool {
        self.news.is_empty()
            && self.held_up.is_empty()
            && self.given_up.is_empty()
            && self.put_off.is_empty()
            && self.released.is_empty()
    }

    /// Whether a client waits for a key that a transaction with this scope may write.
    pub(crate) fn may_be_served_by(&self, scope: &Scope) -> bool {
        if self.waiters.is_empty() || scope.mode() == Mode::Read {
            return false;
        }
        let Scope::Keys(intents) = scope else { return true };
        let mut written = intents.iter().filter(|intent| intent.mode == Mode::Write);
        written.any(|intent| self.has_line_of(intent.hash))
    }

    /// Whether a call here may feed a waiter that cannot be served by one call on this shard.
    #[inline]
    pub(crate) fn has_distant(&self) -> bool {
        self.distant > 0
    }

    /// Those of them who were asked to look by what ran since this was last called, and have not yet.
    pub(crate) fn take_newly_told(&mut self) -> BTreeSet<WaiterId> {
        let newly = std::mem::take(&mut self.newly_told).into_iter();
        newly.filter(|id| self.looking.contains(id)).collect()
    }

    /// All who were asked to look and have not yet.
    pub(crate) fn looking(&self) -> &BTreeSet<WaiterId> {
        &self.looking
    }

    /// Keeps something until these have looked; there must be some.
    pub(crate) fn put_off(&mut self, until: BTreeSet<WaiterId>, what: PutOff) {
        self.put_off.push((until, what));
    }

    /// What need not be put off any longer.
    pub(crate) fn next_released(&mut self) -> Option<PutOff> {
        self.released.pop_front()
    }

    /// A waiter has looked, or is gone.
    fn has_looked(&mut self, id: WaiterId) {
        if !self.looking.remove(&id) {
            return;
        }
        for (until, _) in &mut self.put_off {
            until.remove(&id);
        }
        let over = self.put_off.extract_if(.., |(until, _)| until.is_empty());
        self.released.extend(over.map(|(_, what)| what));
    }

    fn count_distant(&mut self) {
        let distant = self.waiters.values().filter(|waiter| waiter.attempt.is_none());
        self.distant = distant.count();
    }

    fn has_line_of(&self, hash: u64) -> bool {
        let mut from = self.lines.range(LineName::first(hash)..);
        from.next().is_some_and(|(line, _)| line.hash == hash)
    }

    /// The names of all lines of a hash.
    fn lines_of(&self, hash: u64) -> Vec<LineName> {
        let from = self.lines.range(LineName::first(hash)..);
        from.map(|(line, _)| line).take_while(|line| line.hash == hash).cloned().collect()
    }

    /// The next waiter in a line, from a place on, for which there is enough.
    fn next_in_line(&self, line: &LineName, from: u64, there: u64) -> Option<(u64, WaiterId)> {
        let mut rest = self.lines.get(line)?.range(from..);
        rest.find(|(_, place)| place.least <= there).map(|(at, place)| (*at, place.id))
    }
}

impl Shard {
    /// A waiter stands in line for all its keys.
    pub(crate) fn stand_in_line(&mut self, id: WaiterId, mut waiter: Waiter) {
        let waiting = &mut self.waiting;
        waiting.came += 1;
        for (key, place) in &mut waiter.lines {
            *place = waiting.came;
            let line = LineName::of(key, &waiter.waits_for);
            self.keyspace.watch_ready(line.hash);
            let own = Place { id, least: waiter.least };
            waiting.lines.entry(line).or_default().insert(*place, own);
        }
        waiting.distant += usize::from(waiter.attempt.is_none());
        waiting.waiters.insert(id, waiter);
    }

    /// A waiter leaves its lines; returns whether it stood there. Where it held up those behind it, they may be
    /// next.
    pub(crate) fn leave_line(&mut self, id: WaiterId) -> bool {
        let Some(waiter) = self.waiting.waiters.remove(&id) else { return false };
        self.waiting.distant -= usize::from(waiter.attempt.is_none());
        self.waiting.has_looked(id);
        self.take_from_lines(&waiter.lines, &waiter.waits_for);
        self.waiting.given_up.extend(waiter.reserved);
        if waiter.is_told {
            self.note_ready_keys(&waiter);
        }
        true
    }

    fn note_ready_keys(&mut self, waiter: &Waiter) {
        for (key, _) in &waiter.lines {
            self.keyspace.note_ready(key.key().hash);
        }
    }

    fn take_from_lines(&mut self, lines: &[(DeclaredKey, u64)], waits_for: &WaitsFor) {
        for (key, place) in lines {
            let name = LineName::of(key, waits_for);
            let Some(line) = self.waiting.lines.get_mut(&name) else { continue };
            line.remove(place);
            if line.is_empty() {
                self.waiting.lines.remove(&name);
                if self.waiting.lines_of(name.hash).is_empty() {
                    self.keyspace.unwatch_ready(name.hash);
                }
            }
        }
    }

    /// A waiter that was asked to look did, in vain: it goes on waiting in its place. There is nothing for those
    /// behind it either.
    pub(crate) fn wait_on(&mut self, id: WaiterId) {
        let Some(mut waiter) = self.waiting.waiters.remove(&id) else { return };
        waiter.is_told = false;
        self.waiting.has_looked(id);
        self.waiting.given_up.extend(waiter.reserved.take());
        for hash in std::mem::take(&mut waiter.ready_again) {
            self.keyspace.note_ready(hash);
        }
        self.waiting.waiters.insert(id, waiter);
    }

    /// A waiter did not come for what is reserved for it, since it is at something else: it looks at its keys when
    /// that is over.
    pub(crate) fn decline(&mut self, id: WaiterId, number: Number) {
        let Some(waiter) = self.waiting.waiters.get_mut(&id) else { return };
        if waiter.reserved == Some(number) {
            waiter.reserved = None;
            waiter.ready_again.extend(waiter.lines.iter().map(|(key, _)| key.key().hash));
        }
    }

    /// Whether a key of this shard that a client waits for holds enough of what it waits for. What was fed may be gone
    /// again, or something else, by the time that it looks; then it waits on, as if it had not been woken.
    pub(crate) fn has_for(&self, id: WaiterId) -> bool {
        self.waiting.waiters.get(&id).is_some_and(|waiter| {
            let line_of = |key| LineName::of(key, &waiter.waits_for);
            waiter.lines.iter().any(|(key, _)| self.held_by(&line_of(key)) >= waiter.least)
        })
    }

    /// The turn of a waiter comes that was held up by an intent; it may have left meanwhile.
    pub(crate) fn serve_held_up(&mut self, id: WaiterId) {
        if !self.has_for(id) {
            return self.wait_on(id);
        }
        let Some(mut waiter) = self.waiting.waiters.remove(&id) else { return };
        let attempt = waiter.attempt.as_mut().expect("because its keys are all here");
        let outer = self.keyspace.swap_origin(waiter.origin);
        let answer = attempt(self);
        self.keyspace.swap_origin(outer);
        let ticket = waiter.ticket;
        self.waiting.waiters.insert(id, waiter);
        let Some(answer) = answer else { return self.wait_on(id) };
        self.leave_line(id);
        self.waiting.news.push_back((id.0, ticket, News::Woken(Woken::Served(answer))));
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
            self.take_from_lines(&lines, &waiter.waits_for);
            let stays_one = routes.shards_of(waiter.slots.iter().copied()).len() == 1;
            let attempt = waiter.attempt.take().filter(|_| stays_one);
            let (slots, scope) = (Arc::clone(&waiter.slots), waiter.scope.clone());
            let went = Waiter {
                origin: waiter.origin,
                ticket: waiter.ticket,
                lines,
                slots,
                scope,
                waits_for: waiter.waits_for.clone(),
                least: waiter.least,
                attempt,
                reserved: None,
                is_told: false,
                ready_again: BTreeSet::new(),
            };
            given.push((id, went));
            if !waiter.lines.is_empty() {
                self.waiting.waiters.insert(id, waiter);
            }
        }
        // A waiter that stays may have a key that goes though it doesn't wait for it: BLMOVE's destination.
        for waiter in self.waiting.waiters.values_mut() {
            if waiter.slots.iter().any(|slot| moves(*slot)) {
                waiter.attempt = None;
            }
        }
        self.waiting.count_distant();
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
            let waiter = waiting.waiters.get_mut(&id).expect("it was put there");
            let line = LineName::of(&key, &waiter.waits_for);
            self.keyspace.watch_ready(line.hash);
            let own = Place { id, least: waiter.least };
            waiting.lines.entry(line).or_default().insert(waiting.came, own);
            waiter.lines.push((key, waiting.came));
        }
        self.waiting.count_distant();
    }

    /// Serves those who wait for keys that were fed.
    pub(crate) fn serve_ready(&mut self) {
        while let Some(hash) = self.keyspace.next_ready() {
            for line in self.waiting.lines_of(hash) {
                self.serve(&line);
            }
        }
    }

    /// Serves a line. Where what they wait for is taken, there is nothing for anybody behind one who got
    /// nothing; who is asked to look may get it.
    fn serve(&mut self, line: &LineName) {
        let mut from = 0;
        while let Some((place, id)) = self.waiting.next_in_line(line, from, self.held_by(line)) {
            from = place + 1;
            let mut waiter = self.waiting.waiters.remove(&id).expect("who stands there waits");
            let is_served = self.serve_one(id, line, &mut waiter);
            if is_served {
                self.take_from_lines(&waiter.lines, &waiter.waits_for);
            } else {
                self.waiting.waiters.insert(id, waiter);
                if takes(&line.waits_for) {
                    return;
                }
            }
        }
    }

    fn serve_one(&mut self, id: WaiterId, line: &LineName, waiter: &mut Waiter) -> bool {
        if waiter.is_told {
            waiter.ready_again.insert(line.hash);
            return false;
        }
        let Some(attempt) = &mut waiter.attempt else {
            waiter.is_told = true;
            let waiting = &mut self.waiting;
            if takes(&line.waits_for) {
                let keys = waiter.lines.iter().map(|(key, _)| key.key().hash);
                let intents = keys.map(|hash| Intent { hash, mode: Mode::Write });
                let scope = Scope::keys(intents.collect());
                waiting.held_up.push_back((id, HeldUp::Reserves, scope));
                waiting.looking.insert(id);
                waiting.newly_told.push(id);
            } else {
                waiting.news.push_back((id.0, waiter.ticket, News::Woken(Woken::Look(None))));
            }
            return false;
        };
        if !self.intents.admits(&waiter.scope) {
            waiter.is_told = true;
            let scope = waiter.scope.clone();
            self.waiting.held_up.push_back((id, HeldUp::Serves, scope));
            return false;
        }
        let outer = self.keyspace.swap_origin(waiter.origin);
        let answer = attempt(self);
        self.keyspace.swap_origin(outer);
        let Some(answer) = answer else { return false };
        let served = News::Woken(Woken::Served(answer));
        self.waiting.news.push_back((id.0, waiter.ticket, served));
        true
    }

    /// How much the key of a line holds of what is waited for: elements of a list, else all or nothing.
    fn held_by(&self, line: &LineName) -> u64 {
        let wanted = match line.waits_for {
            WaitsFor::Value(kind) => kind,
            WaitsFor::Entries => Kind::Stream,
            WaitsFor::Group(_) => return u64::MAX,
        };
        let slot = SlotId::of_key(&line.key);
        let entry =
            self.keyspace.peek(line.database, &Key { bytes: &line.key, hash: line.hash, slot });
        let Some(entry) = entry.filter(|entry| entry.kind() == wanted) else { return 0 };
        ListRef::of(&entry).map_or(u64::MAX, |list| list.len() as u64)
    }
}
