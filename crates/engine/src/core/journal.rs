//! Journal as this core carries it: frames on their way, cuts, and replies that wait for the disk.
//!
//! Under `appendfsync always` a session's output of a turn is *held* until the journals, this shard's and those of
//! the shards that it heard from, are committed as far as they were then. What needs no wait goes at once, unless
//! something before it waits.

use std::collections::VecDeque;
use std::sync::Arc;

use basalt_commands::config::LogLevel;
use basalt_journal::FileHeader;
use basalt_keyspace::ShardId;

use super::Core;
use crate::completion::Ticket;
use crate::intents::Mode;
use crate::journal::{CutId, Journal, JournalDone, JournalWish};
use crate::mesh::message::{Envelope, JournalNews, Notification};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::world::World;

/// What a core keeps of all shards' journals.
#[derive(Default)]
pub(super) struct Durability {
    /// Up to where what this core knows of each shard depends on its journal, and up to where that is committed.
    depends: Vec<u64>,
    committed: Vec<u64>,
    /// Up to where each shard must hear that this one is committed; 0 where it need not.
    owed: Vec<u64>,
    /// Up to where each has heard that it is.
    told: Vec<u64>,
    /// Turns whose replies wait, the oldest first.
    turns: VecDeque<WaitingTurn>,
    /// The number of this turn, and whether replies of it wait.
    turn: u64,
    turn_waits: bool,
    /// The last turn whose replies may leave.
    released: u64,
    /// Shards whose disks refuse, and whether this one's was among them when they were last notified.
    faults: Vec<bool>,
    was_full: bool,
    done: Vec<JournalDone>,
}

/// A turn whose replies wait.
struct WaitingTurn {
    turn: u64,
    /// By shard.
    positions: Vec<u64>,
    sessions: Vec<SessionId>,
}

impl Durability {
    pub(super) fn new(shards: usize) -> Self {
        let zeros = vec![0; shards];
        Self {
            depends: zeros.clone(),
            committed: zeros.clone(),
            owed: zeros.clone(),
            told: zeros,
            faults: vec![false; shards],
            ..Self::default()
        }
    }

    /// Whether nothing is left of a journal that was turned off.
    fn is_at_rest(&self, own: ShardId) -> bool {
        let has_fault = self.faults[own.index()];
        self.turns.is_empty() && self.done.is_empty() && !self.was_full && !has_fault
    }

    /// The last turn whose replies may leave.
    pub(super) fn released(&self) -> u64 {
        self.released
    }
}

impl Core {
    /// From now on every change is journaled, into a file of which nothing but this header is written.
    /// `older_bytes` is how long the files are that it goes on from.
    pub fn begin_journal(&mut self, header: FileHeader, older_bytes: u64) {
        let how = (self.shard.config.appendfsync, 0);
        let mut journal = Journal::begin(header, how, &mut self.shard.keyspace);
        journal.note_loaded(older_bytes);
        self.shard.journal = Some(Box::new(journal));
    }

    /// The world has done something for the journal. It counts with the next turn.
    pub fn journal_done(&mut self, done: JournalDone) {
        self.durability.done.push(done);
    }

    /// The server ends: the journal is brought to its end. Returns whether it is, or can't be.
    pub fn close_journal(&mut self) -> bool {
        let Some(journal) = &mut self.shard.journal else { return true };
        journal.close(self.shard.now);
        journal.is_closed() && self.durability.turns.is_empty()
    }

    /// Takes in what the world did for the journal since the last turn.
    pub(super) fn begin_turn_of_journal(&mut self, world: &mut dyn World) {
        if self.shard.journal.is_none() && self.durability.is_at_rest(self.shard.id) {
            return;
        }
        self.durability.turn += 1;
        let now = self.shard.now;
        for done in std::mem::take(&mut self.durability.done) {
            if self.shard.journal_leftover > 0 {
                // It was for one that is not there any more.
                self.shard.journal_leftover -= 1;
                continue;
            }
            let Some(journal) = self.shard.journal.as_mut() else { continue };
            if let Some(words) = journal.done(done, now) {
                world.log(LogLevel::Warning, &format!("Writes are refused: {words}"));
            }
            if !journal.has_base() {
                // What was synced so far proves nothing: they wait for the next base.
                self.shard.journal_waits.iter_mut().for_each(|(position, _)| *position = u64::MAX);
            }
        }
        self.settle_journal(world);
        if self.shard.journal.as_ref().is_some_and(|journal| journal.has_ended(now)) {
            self.shard.drop_journal();
            world.log(LogLevel::Notice, "The journal is turned off");
            self.settle_journal(world);
        }
    }

    /// Has what is committed by now known to all who wait for it.
    fn settle_journal(&mut self, world: &mut dyn World) {
        let own = self.shard.id;
        let shards = self.outboxes.len();
        let Some(journal) = &mut self.shard.journal else {
            self.forget_journal();
            return;
        };
        let mut synced = Vec::new();
        while let Some(cut) = journal.next_synced_cut() {
            synced.push(cut);
        }
        journal.settle(shards);
        let (committed, has_fault, is_full) =
            (journal.committed(), journal.has_fault(), journal.is_full());
        for cut in synced {
            self.tell_others(JournalNews::CutSynced(cut));
        }
        self.durability.committed[own.index()] = committed;
        for other in 0..shards {
            let Durability { owed, told, .. } = &mut self.durability;
            // It may wait for less than it is owed by now.
            if owed[other] != 0 && committed > told[other] {
                told[other] = committed;
                if owed[other] <= committed {
                    owed[other] = 0;
                }
                let news = JournalNews::Committed(committed);
                self.notify(ShardId(other as u16), Notification::Journal(news));
            }
        }
        if has_fault != self.durability.faults[own.index()] {
            if !has_fault {
                world.log(LogLevel::Notice, "The journal is written again: writes are accepted");
            }
            self.tell_others(JournalNews::HasFault(has_fault));
            self.note_fault(own, has_fault);
        }
        if self.durability.was_full && !is_full {
            self.tell_others(JournalNews::HasRoom);
        }
        self.durability.was_full = is_full;
        self.release_replies();
        self.wake_awaiting(committed);
    }

    /// Lets those go on that wait until all up to here is on the disks.
    fn wake_awaiting(&mut self, committed: u64) {
        if self.shard.journal_waits.is_empty() {
            return;
        }
        let is_there = |wait: &mut (u64, Ticket)| wait.0 <= committed;
        let woken: Vec<_> = self.shard.journal_waits.extract_if(.., is_there).collect();
        for (_, ticket) in woken {
            self.take_result(ticket, Box::new(()));
        }
        self.settle();
    }

    /// There is no journal any more: no reply waits for it.
    fn forget_journal(&mut self) {
        let own = self.shard.id;
        // Those whose journals have not ended yet wait for this one's part.
        for cut in std::mem::take(&mut self.shard.cuts_without_journal) {
            self.tell_others(JournalNews::CutSynced(cut));
        }
        if self.durability.faults[own.index()] {
            self.tell_others(JournalNews::HasFault(false));
            self.note_fault(own, false);
        }
        if std::mem::take(&mut self.durability.was_full) {
            self.tell_others(JournalNews::HasRoom);
        }
        self.release_replies();
        self.wake_awaiting(u64::MAX);
    }

    fn tell_others(&mut self, news: JournalNews) {
        let own = self.shard.id.index();
        for other in (0..self.outboxes.len()).filter(|other| *other != own) {
            self.notify(ShardId(other as u16), Notification::Journal(news));
        }
    }

    fn note_fault(&mut self, shard: ShardId, has_fault: bool) {
        self.durability.faults[shard.index()] = has_fault;
        self.shard.journal_faults = self.durability.faults.contains(&true);
        self.shard.arm_disk();
    }

    /// News of another shard's journal.
    pub(super) fn hear_of_journal(&mut self, from: ShardId, news: JournalNews) {
        match news {
            JournalNews::Committed(position) => {
                let committed = &mut self.durability.committed[from.index()];
                *committed = position.max(*committed);
            }
            JournalNews::CutSynced(cut) => {
                if let Some(journal) = &mut self.shard.journal {
                    journal.other_synced(cut);
                }
            }
            JournalNews::HasRoom => self.outboxes[from.index()].is_blocked = false,
            JournalNews::HasFault(has_fault) => self.note_fault(from, has_fault),
        }
    }

    /// Writes into a message what it depends on, before it leaves.
    pub(super) fn stamp(&mut self, to: ShardId, envelope: &mut Envelope) {
        if self.shard.journal.is_none() {
            return;
        }
        self.shard.take_in_records(false);
        let Some(journal) = &self.shard.journal else { return };
        envelope.is_full = journal.is_full();
        envelope.journal = 0;
        if journal.is_always() && journal.committed() < journal.end() {
            envelope.journal = journal.end();
            self.durability.owed[to.index()] = journal.end();
        }
    }

    /// A message of another shard came.
    pub(super) fn note_dependence(&mut self, from: ShardId, envelope: &Envelope) {
        if self.shard.journal.is_none() {
            return;
        }
        if envelope.is_full {
            self.outboxes[from.index()].is_blocked = true;
        }
        let says_more = !envelope.notifications.is_empty() || !envelope.asks.is_empty();
        if envelope.journal != 0 && (envelope.replies_wait || says_more) {
            let depends = &mut self.durability.depends[from.index()];
            *depends = envelope.journal.max(*depends);
        }
    }

    /// Hands over what this turn changed, begins a cut if one is due, and returns whose replies wait.
    pub(super) fn end_turn_of_journal(&mut self, world: &mut dyn World) {
        if self.shard.journal.is_none() {
            if !self.shard.cuts_without_journal.is_empty() {
                self.forget_journal();
            }
            return;
        }
        self.shard.take_in_records(false);
        self.begin_due_cut();
        let now = self.shard.now;
        let journal = self.shard.journal.as_mut().expect("it is there");
        // What is under way for one before it comes first.
        let is_free = self.shard.journal_leftover == 0;
        while let Some(wish) = is_free.then(|| journal.next_wish(now)).flatten() {
            match wish {
                JournalWish::NextFile { rewrite } => world.journal_next_file(rewrite),
                JournalWish::Append { frame, sync } => world.journal_append(frame, sync),
                JournalWish::Rewrite { frames } => world.journal_rewrite(frames),
                JournalWish::Sync => world.journal_sync(),
            }
        }
        self.settle_journal(world);
        let Some(journal) = &self.shard.journal else { return };
        self.durability.turn_waits = false;
        if !journal.is_always() {
            return;
        }
        let own = self.shard.id.index();
        self.durability.depends[own] = journal.end();
        let Durability { depends, committed, turns, turn, .. } = &mut self.durability;
        if depends.iter().zip(&*committed).any(|(depends, committed)| depends > committed) {
            let positions = depends.clone();
            turns.push_back(WaitingTurn { turn: *turn, positions, sessions: Vec::new() });
            self.durability.turn_waits = true;
        }
    }

    /// Whether requests should wait until the journal has been written.
    pub(super) fn journal_is_full(&self) -> bool {
        self.shard.journal.as_ref().is_some_and(|journal| journal.is_full())
    }

    /// When the journal has something to do by time.
    pub(super) fn journal_due_us(&self) -> Option<u64> {
        self.shard.journal.as_ref()?.due_us()
    }

    fn begin_due_cut(&mut self) {
        let now_us = self.shard.now.monotonic_us;
        let Some(journal) = &mut self.shard.journal else { return };
        let is_due = journal.cut_due_us.is_some_and(|due_us| due_us <= now_us);
        // Slots that move are gone from one journal and not in another yet.
        if !is_due || journal.is_cutting || self.shard.still.is_some() {
            return;
        }
        journal.is_cutting = true;
        let is_awaited = journal.is_awaited();
        let id: CutId = (self.shard.id, journal.cuts_taken + 1);
        let routes = Arc::clone(&self.shard.routes);
        self.coordinate(SessionId::NOBODY, |hops| async move {
            let position = |shard: &mut Shard| {
                shard.take_in_records(false);
                shard.journal_end()
            };
            let found = hops.hold_everything(&routes, Mode::Read, position).await;
            let positions: Arc<[u64]> = found.into();
            let note = |shard: ShardId| {
                let positions = Arc::clone(&positions);
                let note = move |own: &mut Shard| match &mut own.journal {
                    Some(journal) => journal.note_cut((id, is_awaited), shard, &positions, own.now),
                    None => own.cuts_without_journal.push(id),
                };
                (shard, note)
            };
            hops.release(routes.shards().map(note));
            Vec::new()
        });
    }

    /// Lets replies go that waited for what is committed now.
    fn release_replies(&mut self) {
        let is_always = self.shard.replies_wait();
        loop {
            let Durability { committed, turns, .. } = &self.durability;
            let Some(first) = turns.front() else { break };
            let mut waits = first.positions.iter().zip(committed);
            if is_always && waits.any(|(position, committed)| position > committed) {
                break;
            }
            let first = self.durability.turns.pop_front().expect("there is one");
            self.durability.released = first.turn;
            for session in first.sessions {
                self.shard.sessions.mark_dirty(session);
            }
        }
    }

    /// The next session whose output may be looked at: what waits for the disk is put aside.
    pub(super) fn next_unheld(&mut self) -> Option<SessionId> {
        while let Some(id) = self.shard.sessions.next_dirty() {
            if self.shard.journal.is_none() || !self.holds_output(id) {
                return Some(id);
            }
        }
        None
    }

    /// Puts aside output of a session that must not leave yet. Returns whether nothing of it may leave now.
    fn holds_output(&mut self, id: SessionId) -> bool {
        let Durability { turns, turn_waits, turn, released, .. } = &mut self.durability;
        let Some(session) = self.shard.sessions.get_mut(id) else { return false };
        let waits = std::mem::take(&mut session.waits) && *turn_waits;
        if waits && !session.out.is_empty() {
            session.hold(*turn);
            turns.back_mut().expect("this turn waits").sessions.push(id);
        } else if session.is_held_back() && !session.out.is_empty() {
            session.hold(0);
        }
        session.first_held().is_some_and(|turn| turn > *released)
    }

    /// Whether a session's first output may leave.
    pub(super) fn may_leave_now(&mut self, id: SessionId) -> bool {
        self.shard.journal.is_none() || !self.holds_output(id)
    }
}
