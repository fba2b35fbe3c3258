//! Journal: what this shard changed and what of it is on disk; `docs/design/persistence.md` has the reasons.
//!
//! ```text
//! records ─take_in─► body ─compose─► frame ─► World::journal_append ─► written ─► synced ─► committed
//!                                                                                (cuts cover ties)
//! ```
//!
//! Positions count bytes of entries since the generation began, from file to file, and never run backwards while the
//! process lives. Invariant: `committed ≤ synced ≤ written ≤ framed ≤ end`; nothing that a client sees under
//! `appendfsync always` is behind `committed`.
//!
//! LIMIT: more than [`JOURNAL_UNWRITTEN_BYTES_MAX`] bytes that the kernel has not taken: sessions' requests wait.
//! Not here: files (`World`), who takes a cut and when replies leave (`core/journal.rs`).

mod replay;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use basalt_commands::config::AppendFsync;
use basalt_journal::{FileHeader, Frame, put_open_records, put_records, put_state, put_tie};
use basalt_keyspace::{Keyspace, ReaderId, ShardId};

use crate::limits::{
    CUT_EVERY_US, CUT_OTHERS_US, JOURNAL_BODY_BYTES_MAX, JOURNAL_END_US,
    JOURNAL_RETAINED_BYTES_MAX, JOURNAL_RETRY_US, JOURNAL_UNWRITTEN_BYTES_MAX,
};
use crate::now::Now;
pub use replay::{Replay, Replayed, give_out_foreign, replay};

const SYNC_EVERY_US: u64 = 1_000_000;

/// What became of what a core wanted of its journal's file.
#[derive(Debug)]
pub enum JournalDone {
    /// The frame is written whole, and on disk where that was wanted. It comes back as a spare buffer.
    Appended {
        frame: Vec<u8>,
        synced: bool,
    },
    /// Nothing of the frame counts: it may be tried again at the same place.
    NotAppended {
        frame: Vec<u8>,
        error: String,
    },
    Synced,
    /// What was written since the last sync may or may not be on disk; with the frame that was appended to be synced,
    /// where it was one.
    NotSynced {
        frame: Option<Vec<u8>>,
        error: String,
    },
}

/// What the journal wants done with its file.
#[derive(Debug)]
pub(crate) enum JournalWish {
    /// A frame appended, and synced where that is said.
    Append {
        frame: Vec<u8>,
        sync: bool,
    },
    /// The last frames of the file written again in their place, and synced.
    Rewrite {
        frames: Vec<u8>,
    },
    Sync,
    /// What follows goes into the file that was made for this rewrite; all before it is on disk.
    NextFile {
        rewrite: u64,
    },
}

/// What is known of a shard's journal, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Entries that were journaled.
    pub bytes: u64,
    /// Of these, what the kernel has not taken, and what is not known to be on disk.
    pub unwritten_bytes: u64,
    pub unsynced_bytes: u64,
    /// Frames that were written; how often the file was synced, or could not be; cuts that this shard took.
    pub frames: u64,
    pub syncs: u64,
    pub faults: u64,
    pub cuts: u64,
    /// The disk refuses, so writes are.
    pub has_fault: bool,
    /// Bytes of its files, the base among them, by now and when they were last rewritten or loaded.
    pub disk_bytes: u64,
    pub rewritten_bytes: u64,
}

/// Another file that is to be written to, once all before it is on disk.
#[derive(Debug)]
struct NextFile {
    /// Where it begins.
    position: u64,
    rewrite: u64,
    header: FileHeader,
}

/// Which cut: the shard that took it, and its number there.
pub(crate) type CutId = (ShardId, u64);

/// A cut that is not on all shards' disks yet.
#[derive(Debug)]
struct OpenCut {
    id: CutId,
    /// This shard's position; `None` while only others have spoken of it.
    position: Option<u64>,
    /// The frame that has it, if this shard must write it.
    frame: Option<u64>,
    is_own_synced: bool,
    /// Others that have it on disk.
    others: usize,
}

/// A frame that the world is writing.
#[derive(Debug)]
struct InFlight {
    end: u64,
    /// It is all that was written since the last sync, once more.
    is_again: bool,
}

/// What this shard changed and what of it is on disk.
#[derive(Debug)]
pub(crate) struct Journal {
    reader: ReaderId,
    header: FileHeader,
    policy: AppendFsync,
    /// Entries that are in no frame yet: bodies that are full, and the one that is filled.
    full: VecDeque<Vec<u8>>,
    body: Vec<u8>,
    /// Behind all entries.
    end: u64,
    framed: u64,
    written: u64,
    synced: u64,
    /// Frames handed to the world, and those of them that are on disk.
    frames: u64,
    frames_written: u64,
    frames_synced: u64,
    in_flight: Option<InFlight>,
    /// A frame that could not be written.
    unwritten: Option<Vec<u8>>,
    /// Frames that are written and not known to be on disk.
    retained: VecDeque<Vec<u8>>,
    retained_bytes: usize,
    /// A sync failed. The kernel may have dropped what it could not write and say nothing of it at the next sync, so
    /// what is retained is written again.
    is_in_doubt: bool,
    spare: Vec<u8>,
    /// Up to where, and to which frame, the sync covers that is under way.
    syncing: Option<(u64, u64)>,
    sync_due_us: u64,
    /// While the disk refuses: when it is tried again.
    retry_at_us: Option<u64>,
    /// The cuts that the next frame says: all own ones, and of those of others the last; each with whether it is own.
    cuts: Vec<(bool, Arc<[u64]>)>,
    must_write_cut: bool,
    open_cuts: Vec<OpenCut>,
    /// The last cut of each shard that is known here.
    noted: BTreeMap<ShardId, u64>,
    /// Entries that no complete cut covers; what touches is one.
    ties: VecDeque<Range<u64>>,
    /// The newest complete cut.
    covered: u64,
    /// When to take a cut, where there is need.
    pub cut_due_us: Option<u64>,
    /// Somebody waits until a cut that holds all up to here is on the disks, whatever the policy.
    awaited_to: Option<u64>,
    pub is_cutting: bool,
    pub cuts_taken: u64,
    /// A manifest names it, and what it wrote can be there; before that a start may not find what is in it.
    has_base: bool,
    /// A sync of the present file failed, and not all that it was for is kept: a base that was begun before has no
    /// part of it.
    has_lost: bool,
    syncs: u64,
    faults: u64,
    /// Where records ended when entries ended there, for those not committed.
    marks: VecDeque<(u64, u64)>,
    /// Up to where records are committed.
    pub committed_records: u64,
    /// The server ends: all that is there shall be on disk.
    is_closing: bool,
    next_file: Option<NextFile>,
    /// Where the file begins that is written to, or the one after it where that is to be written to.
    file_start: u64,
    /// Bytes of the files before that, and of all when they were last rewritten or loaded.
    older_bytes: u64,
    rewritten_bytes: u64,
    /// It is turned off: nothing more is taken in, and it ends once all is on disk, or at this moment.
    ends_at_us: Option<u64>,
}

impl Journal {
    /// Begins a file: nothing of it is written but the header.
    pub(crate) fn begin(
        header: FileHeader,
        (policy, start): (AppendFsync, u64),
        keyspace: &mut Keyspace,
    ) -> Self {
        let reader = keyspace.add_kept_reader();
        keyspace.track_changes(policy == AppendFsync::Always);
        Self {
            reader,
            header,
            policy,
            full: VecDeque::new(),
            body: Vec::new(),
            end: start,
            framed: start,
            written: start,
            synced: start,
            frames: 0,
            frames_written: 0,
            frames_synced: 0,
            in_flight: None,
            unwritten: None,
            retained: VecDeque::new(),
            retained_bytes: 0,
            is_in_doubt: false,
            spare: Vec::new(),
            syncing: None,
            sync_due_us: 0,
            retry_at_us: None,
            cuts: Vec::new(),
            must_write_cut: false,
            open_cuts: Vec::new(),
            noted: BTreeMap::new(),
            ties: VecDeque::new(),
            covered: start,
            cut_due_us: None,
            awaited_to: None,
            is_cutting: false,
            cuts_taken: 0,
            has_base: true,
            has_lost: false,
            syncs: 0,
            faults: 0,
            marks: VecDeque::new(),
            committed_records: keyspace.records_end(),
            is_closing: false,
            next_file: None,
            file_start: start,
            older_bytes: 0,
            rewritten_bytes: 0,
            ends_at_us: None,
        }
    }

    /// Begins a journal whose file was made for a rewrite.
    pub(crate) fn begin_next(
        rewrite: u64,
        header: FileHeader,
        (policy, start): (AppendFsync, u64),
        keyspace: &mut Keyspace,
    ) -> Self {
        let mut journal = Self::begin(header, (policy, start), keyspace);
        journal.next_file = Some(NextFile { position: start, rewrite, header });
        journal.has_base = false;
        journal
    }

    /// What comes from now on goes into the file that was made for a rewrite.
    pub(crate) fn begin_file(
        &mut self,
        rewrite: u64,
        header: FileHeader,
        keyspace: &mut Keyspace,
        now: Now,
    ) {
        self.take_in(keyspace, false, now);
        if !self.body.is_empty() {
            self.full.push_back(std::mem::take(&mut self.body));
        }
        self.older_bytes = self.disk_bytes();
        self.file_start = self.end;
        self.next_file = Some(NextFile { position: self.end, rewrite, header });
    }

    /// Whether a start would find what is in it; if not, the next rewrite sees to it.
    pub(crate) fn has_base(&self) -> bool {
        self.has_base
    }

    /// Where the file begins that is written to, or will be.
    pub(crate) fn file_start(&self) -> u64 {
        self.file_start
    }

    fn disk_bytes(&self) -> u64 {
        self.older_bytes + (self.end - self.file_start)
    }

    /// The files before the present one are gone; there is a base of so many bytes.
    pub(crate) fn note_rewritten(&mut self, base_bytes: u64) {
        self.older_bytes = base_bytes;
        self.rewritten_bytes = self.disk_bytes();
        self.has_base = !self.has_lost;
    }

    /// There are files of so many bytes before this one.
    pub(crate) fn note_loaded(&mut self, bytes: u64) {
        (self.older_bytes, self.rewritten_bytes) = (bytes, bytes);
    }

    /// Takes in nothing more, and brings what there is to the disk.
    pub(crate) fn turn_off(&mut self, keyspace: &mut Keyspace, now: Now) {
        if self.ends_at_us.is_none() {
            self.take_in(keyspace, false, now);
            keyspace.remove_reader(self.reader);
            self.ends_at_us = Some(now.monotonic_us + JOURNAL_END_US);
            self.close(now);
        }
    }

    pub(crate) fn is_turned_off(&self) -> bool {
        self.ends_at_us.is_some()
    }

    /// Whether it was turned off and is at its end.
    pub(crate) fn has_ended(&self, now: Now) -> bool {
        self.ends_at_us.is_some_and(|end_us| end_us <= now.monotonic_us || self.is_closed())
    }

    /// What the world still does for it.
    pub(crate) fn operations(&self) -> usize {
        usize::from(self.in_flight.is_some()) + usize::from(self.syncing.is_some())
    }

    /// Takes over another `appendfsync`.
    pub(crate) fn follow(&mut self, policy: AppendFsync, keyspace: &mut Keyspace, now: Now) {
        if policy == self.policy || self.is_turned_off() {
            return;
        }
        self.take_in(keyspace, false, now);
        self.policy = policy;
        keyspace.track_changes(self.is_always());
        self.marks.clear();
        if self.is_always() {
            self.marks.push_back((self.end, keyspace.records_end()));
            self.want_cut(now, 0);
        }
    }

    /// Whether replies wait for the disk.
    pub(crate) fn is_always(&self) -> bool {
        self.policy == AppendFsync::Always
    }

    /// Whether the disk refuses what is written.
    pub(crate) fn has_fault(&self) -> bool {
        self.retry_at_us.is_some()
    }

    /// Whether so much waits for the kernel that nothing more should be added.
    pub(crate) fn is_full(&self) -> bool {
        self.end - self.written + self.retained_bytes as u64 > JOURNAL_UNWRITTEN_BYTES_MAX
    }

    pub(crate) fn statistics(&self) -> JournalStats {
        JournalStats {
            bytes: self.end,
            unwritten_bytes: self.end - self.written,
            unsynced_bytes: self.end - self.synced,
            frames: self.frames_written,
            syncs: self.syncs,
            faults: self.faults,
            cuts: self.cuts_taken,
            has_fault: self.has_fault(),
            disk_bytes: self.disk_bytes(),
            rewritten_bytes: self.rewritten_bytes,
        }
    }

    /// Behind all that was taken in.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Up to where a crash takes nothing back.
    pub(crate) fn committed(&self) -> u64 {
        let tie = self.ties.front().map_or(u64::MAX, |tie| tie.start.max(self.covered));
        self.synced.min(tie)
    }

    /// Takes in the records since the last call. `is_tied`: they are part of what other shards do, too.
    pub(crate) fn take_in(&mut self, keyspace: &mut Keyspace, is_tied: bool, now: Now) {
        if self.is_turned_off() {
            return;
        }
        let unread = keyspace.unread_records(self.reader).expect("a kept reader loses nothing");
        if unread.is_empty() {
            return;
        }
        let len = unread.len();
        let is_tied = is_tied || !self.is_always();
        // What is done at once is recovered at once: parts of it, in frames of their own, count only together.
        let mut rest = unread;
        while let Some((part, after)) = rest.split_at_checked(JOURNAL_BODY_BYTES_MAX)
            && !after.is_empty()
        {
            self.append(is_tied, |body| put_open_records(body, part, is_tied));
            rest = after;
        }
        self.append(is_tied, |body| put_records(body, rest, is_tied));
        keyspace.advance_reader(self.reader, len);
        if self.is_always() {
            self.marks.push_back((self.end, keyspace.records_end()));
        }
        if is_tied {
            let patience_us = if self.is_always() { CUT_OTHERS_US } else { CUT_EVERY_US };
            self.want_cut(now, patience_us);
        }
    }

    /// A transaction over shards is decided here: its reply waits for a cut that begins after it.
    pub(crate) fn tie(&mut self, now: Now) {
        if self.is_always() && !self.is_turned_off() {
            self.append(true, put_tie);
            self.want_cut(now, 0);
        }
    }

    /// Has all that was done before on the disks, whatever the policy. Returns the position that is committed then.
    pub(crate) fn await_disks(&mut self, now: Now) -> u64 {
        self.append(true, put_tie);
        self.awaited_to = Some(self.end);
        self.want_cut(now, 0);
        self.end
    }

    /// Whether a cut that is taken now is awaited.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited_to.is_some()
    }

    /// Takes in a change of what the server holds beside keys, and all records before it: what changes it may have
    /// changed keys, too, on all shards.
    pub(crate) fn put_state(&mut self, keyspace: &mut Keyspace, state: &[u8], now: Now) {
        self.take_in(keyspace, true, now);
        self.append(true, |body| put_state(body, state));
        self.want_cut(now, if self.is_always() { 0 } else { CUT_EVERY_US });
    }

    fn want_cut(&mut self, now: Now, patience_us: u64) {
        let due_us = now.monotonic_us + patience_us;
        self.cut_due_us = Some(self.cut_due_us.map_or(due_us, |before| before.min(due_us)));
    }

    fn append(&mut self, is_tied: bool, put: impl FnOnce(&mut Vec<u8>)) {
        if self.body.len() >= JOURNAL_BODY_BYTES_MAX {
            self.full.push_back(std::mem::take(&mut self.body));
        }
        let before = self.body.len();
        put(&mut self.body);
        let start = self.end;
        self.end += (self.body.len() - before) as u64;
        if is_tied {
            match self.ties.back_mut() {
                Some(last) if last.end == start => last.end = self.end,
                _ => self.ties.push_back(start..self.end),
            }
        }
    }

    /// A cut was taken, in which this shard was at `positions[own]`. `is_awaited`: it is to be on the disks soon.
    pub(crate) fn note_cut(
        &mut self,
        (id, is_awaited): (CutId, bool),
        own: ShardId,
        positions: &Arc<[u64]>,
        now: Now,
    ) {
        let is_mine = id.0 == own;
        let position = positions[own.index()];
        self.noted.insert(id.0, id.1);
        if !is_mine {
            self.cuts.retain(|(is_own, _)| *is_own);
        }
        self.cuts.push((is_mine, Arc::clone(positions)));
        // What was tied while it was taken is not under it.
        let has_more = self.ties.back().is_some_and(|tie| tie.end > position);
        self.cut_due_us = None;
        if has_more {
            self.want_cut(now, if self.is_always() { 0 } else { CUT_EVERY_US });
        }
        if is_mine && is_awaited && self.awaited_to.is_some_and(|to| to <= position) {
            self.awaited_to = None;
        }
        if self.awaited_to.is_some() {
            self.want_cut(now, 0);
        }
        if is_mine {
            self.must_write_cut = true;
            self.is_cutting = false;
            self.cuts_taken += 1;
        }
        // A server that does not wait for the disk does not ask whether a cut is complete either.
        if self.is_always() || self.is_closing || is_awaited {
            let frame = is_mine.then_some(self.frames + 1);
            let cut = self.open_cut(id);
            (cut.position, cut.frame) = (Some(position), frame);
        }
    }

    fn open_cut(&mut self, id: CutId) -> &mut OpenCut {
        let at = self.open_cuts.iter().position(|cut| cut.id == id).unwrap_or_else(|| {
            let (position, frame) = (None, None);
            self.open_cuts.push(OpenCut { id, position, frame, is_own_synced: false, others: 0 });
            self.open_cuts.len() - 1
        });
        &mut self.open_cuts[at]
    }

    /// Another shard has its part of a cut on disk.
    pub(crate) fn other_synced(&mut self, id: CutId) {
        // Others may be quicker than the cut itself, but one that was noted and is gone is over.
        let is_over = self.noted.get(&id.0).is_some_and(|noted| *noted >= id.1);
        let is_open = self.open_cuts.iter().any(|cut| cut.id == id);
        if is_open || !is_over {
            self.open_cut(id).others += 1;
        }
    }

    /// The next cut of which this shard's part is on disk, for the others to be told.
    pub(crate) fn next_synced_cut(&mut self) -> Option<CutId> {
        let (synced, frames_synced) = (self.synced, self.frames_synced);
        let is_synced = |cut: &&mut OpenCut| {
            let is_there = cut.position.is_some_and(|position| position <= synced);
            !cut.is_own_synced && is_there && cut.frame.is_none_or(|frame| frame <= frames_synced)
        };
        let cut = self.open_cuts.iter_mut().find(is_synced)?;
        cut.is_own_synced = true;
        Some(cut.id)
    }

    /// Notes what is committed by now, where there are so many shards.
    pub(crate) fn settle(&mut self, shards: usize) {
        for cut in &self.open_cuts {
            if cut.is_own_synced && cut.others == shards - 1 {
                self.covered = self.covered.max(cut.position.expect("it is synced"));
            }
        }
        let covered = self.covered;
        // A cut at or before a complete one adds nothing.
        self.open_cuts.retain(|cut| {
            !cut.is_own_synced || cut.position.is_none_or(|position| position > covered)
        });
        while self.ties.front().is_some_and(|tie| tie.end <= covered) {
            self.ties.pop_front();
        }
        let committed = self.committed();
        while let Some((position, records)) = self.marks.front().copied()
            && position <= committed
        {
            self.committed_records = records;
            self.marks.pop_front();
        }
    }

    /// What is to be done with the file now, one thing after the other, until there is nothing.
    pub(crate) fn next_wish(&mut self, now: Now) -> Option<JournalWish> {
        if let Some(retry_at_us) = self.retry_at_us {
            let is_free = self.in_flight.is_none() && self.syncing.is_none();
            if !is_free || retry_at_us > now.monotonic_us {
                return None;
            }
            let again = self.try_again();
            if again.is_some() {
                return again;
            }
            // Nothing is kept that could be written again: what comes next shows whether the disk works.
            self.retry_at_us = None;
        }
        if let Some(next) = &self.next_file
            && self.framed == next.position
        {
            return self.go_to_next_file(now);
        }
        let has_news = !self.body.is_empty() || !self.full.is_empty() || self.must_write_cut;
        // What only counts under the cut that is being taken goes with it: one sync instead of two. But a cut may wait
        // for who is journaled, so what fills a frame goes at once.
        let waits_for_cut = self.is_always()
            && self.is_cutting
            && self.full.is_empty()
            && !self.must_write_cut
            && self.ties.back().is_some_and(|tie| tie.end == self.end);
        if has_news && self.in_flight.is_none() && !waits_for_cut {
            return Some(self.compose(now));
        }
        let is_due = match self.policy {
            AppendFsync::Always => self.in_flight.is_none(),
            AppendFsync::EverySecond => {
                self.sync_due_us <= now.monotonic_us
                    || self.retained_bytes > JOURNAL_RETAINED_BYTES_MAX
            }
            AppendFsync::No => false,
        };
        let is_unsynced = self.frames_written > self.frames_synced;
        let is_awaited = self.open_cuts.iter().any(|cut| !cut.is_own_synced);
        if is_unsynced && self.syncing.is_none() && (is_due || is_awaited || self.is_closing) {
            return Some(self.sync_all(now));
        }
        None
    }

    /// Ends the file that is written to, and goes on in the next one.
    fn go_to_next_file(&mut self, now: Now) -> Option<JournalWish> {
        if self.operations() > 0 {
            return None;
        }
        if self.frames_synced < self.frames {
            return Some(self.sync_all(now));
        }
        let NextFile { rewrite, header, .. } = self.next_file.take()?;
        (self.header, self.has_lost) = (header, false);
        Some(JournalWish::NextFile { rewrite })
    }

    fn sync_all(&mut self, now: Now) -> JournalWish {
        self.syncing = Some((self.written, self.frames_written));
        self.sync_due_us = now.monotonic_us + SYNC_EVERY_US;
        JournalWish::Sync
    }

    /// Does again what failed.
    fn try_again(&mut self) -> Option<JournalWish> {
        if self.is_in_doubt {
            self.in_flight = Some(InFlight { end: self.written, is_again: true });
            let mut frames = Vec::with_capacity(self.retained_bytes);
            self.retained.iter().for_each(|frame| frames.extend_from_slice(frame));
            return Some(JournalWish::Rewrite { frames });
        }
        let frame = self.unwritten.take()?;
        self.in_flight = Some(InFlight { end: self.framed, is_again: false });
        Some(JournalWish::Append { frame, sync: self.syncs_each() })
    }

    /// A frame is written.
    fn note_written(&mut self, flight: &InFlight, frame: Vec<u8>) {
        if !flight.is_again {
            (self.written, self.frames_written) = (flight.end, self.frames);
            self.retained_bytes += frame.len();
            self.retained.push_back(frame);
        }
    }

    /// All up to here is on disk.
    fn note_synced(&mut self, position: u64, frames: u64) {
        self.synced = self.synced.max(position);
        self.frames_synced = self.frames_synced.max(frames);
        self.syncs += 1;
        self.forget_retained((self.frames_written - self.frames_synced) as usize);
    }

    /// Keeps so many frames of those that are retained.
    fn forget_retained(&mut self, kept: usize) {
        while self.retained.len() > kept
            && let Some(frame) = self.retained.pop_front()
        {
            self.retained_bytes -= frame.len();
            if frame.capacity() <= JOURNAL_BODY_BYTES_MAX {
                self.spare = frame;
            }
        }
    }

    /// Whether each frame is on disk before the next.
    fn syncs_each(&self) -> bool {
        self.is_always() || self.is_closing
    }

    fn compose(&mut self, now: Now) -> JournalWish {
        let body = self.full.pop_front().unwrap_or_else(|| std::mem::take(&mut self.body));
        let mut frame = std::mem::take(&mut self.spare);
        frame.clear();
        // Their positions may lie behind this frame: a cut counts once all of them are reached.
        let cuts = self.cuts.drain(..).map(|(_, cut)| cut.to_vec()).collect();
        self.must_write_cut = false;
        let whole = Frame {
            position: self.framed,
            synced_to: self.synced,
            clock_ms: now.unix_ms,
            cuts,
            body: &body,
        };
        whole.encode(&self.header, &mut frame);
        self.framed += body.len() as u64;
        self.frames += 1;
        self.in_flight = Some(InFlight { end: self.framed, is_again: false });
        if self.body.is_empty() && body.capacity() <= JOURNAL_BODY_BYTES_MAX {
            self.body = body;
            self.body.clear();
        }
        JournalWish::Append { frame, sync: self.syncs_each() }
    }

    /// The world has done what it was asked for. Returns the line for the log if a fault is new.
    pub(crate) fn done(&mut self, done: JournalDone, now: Now) -> Option<String> {
        let had_fault = self.has_fault();
        let retry_at_us = Some(now.monotonic_us + JOURNAL_RETRY_US);
        let error = match done {
            JournalDone::Appended { frame, synced } => {
                let flight = self.in_flight.take().expect("a frame was handed over");
                self.note_written(&flight, frame);
                if synced {
                    self.note_synced(self.written, self.frames_written);
                } else if self.policy == AppendFsync::No && !self.is_in_doubt {
                    // Nothing is promised of it.
                    self.forget_retained(0);
                }
                self.is_in_doubt &= !flight.is_again;
                if flight.is_again || !self.is_in_doubt {
                    self.retry_at_us = self.unwritten.as_ref().map(|_| now.monotonic_us);
                }
                return None;
            }
            JournalDone::NotAppended { frame, error } => {
                let flight = self.in_flight.take().expect("a frame was handed over");
                if !flight.is_again {
                    self.unwritten = Some(frame);
                }
                format!("the journal can't be written: {error}")
            }
            JournalDone::Synced => {
                let (position, frames) = self.syncing.take().expect("a sync was asked for");
                self.note_synced(position, frames);
                return None;
            }
            JournalDone::NotSynced { frame, error } => {
                match frame {
                    Some(frame) => {
                        let flight = self.in_flight.take().expect("a frame was handed over");
                        self.note_written(&flight, frame);
                    }
                    None => self.syncing = None,
                }
                let unsynced = self.frames_written - self.frames_synced;
                self.is_in_doubt = !self.retained.is_empty();
                // Under `appendfsync no` nothing is kept: a new base has what the disk may have lost.
                if (self.retained.len() as u64) < unsynced {
                    (self.has_base, self.has_lost) = (false, true);
                }
                format!("the journal can't be synced: {error}")
            }
        };
        self.retry_at_us = retry_at_us;
        self.faults += 1;
        (!had_fault).then_some(error)
    }

    /// When there is something to do by time.
    pub(crate) fn due_us(&self) -> Option<u64> {
        let sync_us = (self.policy == AppendFsync::EverySecond
            && self.frames_written > self.frames_synced
            && self.syncing.is_none()
            && self.retry_at_us.is_none())
        .then_some(self.sync_due_us);
        let is_free = self.in_flight.is_none() && self.syncing.is_none();
        let retry_us = self.retry_at_us.filter(|_| is_free);
        let cut_us = self.cut_due_us.filter(|_| !self.is_cutting);
        [sync_us, retry_us, cut_us, self.ends_at_us].into_iter().flatten().min()
    }

    /// The server ends: all that is there is to be on disk, under a cut.
    pub(crate) fn close(&mut self, now: Now) {
        if !self.is_closing {
            self.is_closing = true;
            self.want_cut(now, 0);
        }
    }

    /// Whether, after [`Journal::close`], nothing is left to do, or nothing can be done.
    pub(crate) fn is_closed(&self) -> bool {
        let is_synced = self.frames_synced == self.frames && self.end == self.synced;
        self.has_fault() || self.is_closing && is_synced && self.committed() == self.end
    }
}
