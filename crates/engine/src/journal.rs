//! Journal: what this shard changed and what of it is on disk; `docs/design/persistence.md` has the reasons.
//!
//! ```text
//! records ─take_in─► body ─compose─► frame ─► World::journal_append ─► written ─► synced ─► committed
//!                                                                                (cuts cover ties)
//! ```
//!
//! Positions count bytes of entries since the generation began. Invariant: `committed ≤ synced ≤ written ≤ framed ≤
//! end`; nothing that a client is told under `appendfsync always` is behind `committed`.
//!
//! LIMIT: more than [`JOURNAL_UNWRITTEN_BYTES_MAX`] bytes that the kernel has not taken: sessions' requests wait.
//! Not here: files (`World`), who takes a cut and when replies leave (`core/journal.rs`).

mod replay;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use basalt_commands::config::AppendFsync;
use basalt_journal::{FileHeader, Frame, put_records, put_tie};
use basalt_keyspace::{Keyspace, ReaderId, Record, ShardId};

use crate::limits::{
    CUT_EVERY_US, CUT_OTHERS_US, JOURNAL_BODY_BYTES_MAX, JOURNAL_RETRY_US,
    JOURNAL_UNWRITTEN_BYTES_MAX,
};
use crate::now::Now;
pub use replay::{give_out_foreign, replay};

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
    /// The file can't be trusted any more. It ends a frame that was on its way, too.
    NotSynced {
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
    Sync,
}

/// Which cut: the shard that took it, and its number there.
pub(crate) type CutId = (ShardId, u64);

/// A cut that is not on all shards' disks yet.
#[derive(Debug)]
struct OpenCut {
    id: CutId,
    /// This shard's position; `None` while only others have spoken of it.
    position: Option<u64>,
    /// The frame that says it, where this shard must write it.
    frame: Option<u64>,
    is_own_synced: bool,
    /// Others that have it on disk.
    others: usize,
}

/// A frame that the world is writing.
#[derive(Debug)]
struct InFlight {
    end: u64,
}

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A frame was not written: it is tried again.
    Write { retry_at_us: u64 },
    /// A sync failed: the file can't be trusted any more.
    Sync,
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
    unwritten: Vec<u8>,
    spare: Vec<u8>,
    /// Up to where, and to which frame, the sync covers that is under way.
    syncing: Option<(u64, u64)>,
    sync_due_us: u64,
    fault: Option<Fault>,
    /// The cuts that the next frame says.
    cuts: Vec<Arc<[u64]>>,
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
    pub is_cutting: bool,
    pub cuts_taken: u64,
    /// Where records ended when entries ended there, for those not committed.
    marks: VecDeque<(u64, u64)>,
    /// Up to where records are committed.
    pub committed_records: u64,
    /// The server ends: all that is there shall be on disk.
    is_closing: bool,
}

impl Journal {
    /// Begins a file: nothing of it is written but the header.
    pub(crate) fn begin(header: FileHeader, policy: AppendFsync, keyspace: &mut Keyspace) -> Self {
        let reader = keyspace.add_kept_reader();
        keyspace.track_changes(policy == AppendFsync::Always);
        Self {
            reader,
            header,
            policy,
            full: VecDeque::new(),
            body: Vec::new(),
            end: 0,
            framed: 0,
            written: 0,
            synced: 0,
            frames: 0,
            frames_written: 0,
            frames_synced: 0,
            in_flight: None,
            unwritten: Vec::new(),
            spare: Vec::new(),
            syncing: None,
            sync_due_us: 0,
            fault: None,
            cuts: Vec::new(),
            must_write_cut: false,
            open_cuts: Vec::new(),
            noted: BTreeMap::new(),
            ties: VecDeque::new(),
            covered: 0,
            cut_due_us: None,
            is_cutting: false,
            cuts_taken: 0,
            marks: VecDeque::new(),
            committed_records: keyspace.records_end(),
            is_closing: false,
        }
    }

    /// Takes over another `appendfsync`.
    pub(crate) fn follow(&mut self, policy: AppendFsync, keyspace: &mut Keyspace, now: Now) {
        if policy == self.policy {
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
        self.fault.is_some()
    }

    /// Whether so much waits for the kernel that nothing more should be added.
    pub(crate) fn is_full(&self) -> bool {
        self.end - self.written > JOURNAL_UNWRITTEN_BYTES_MAX
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
        let unread = keyspace.unread_records(self.reader).expect("a kept reader loses nothing");
        if unread.is_empty() {
            return;
        }
        let len = unread.len();
        let is_tied = is_tied || !self.is_always();
        for records in pieces(unread, JOURNAL_BODY_BYTES_MAX) {
            self.append(is_tied, |body| put_records(body, records, is_tied));
        }
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
        if self.is_always() {
            self.append(true, put_tie);
            self.want_cut(now, 0);
        }
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

    /// A cut was taken, in which this shard was at `positions[own]`.
    pub(crate) fn note_cut(&mut self, id: CutId, own: ShardId, positions: &Arc<[u64]>) {
        let is_mine = id.0 == own;
        let position = positions[own.index()];
        self.noted.insert(id.0, id.1);
        self.cuts.push(Arc::clone(positions));
        self.cut_due_us = None;
        if is_mine {
            self.must_write_cut = true;
            self.is_cutting = false;
            self.cuts_taken += 1;
        }
        // Whoever does not wait for the disk does not ask whether a cut is complete either.
        if self.is_always() || self.is_closing {
            let frame = is_mine.then_some(self.frames + 1);
            let cut = self.open_cut(id);
            (cut.position, cut.frame) = (Some(position), frame);
        } else {
            self.open_cuts.clear();
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
        if (self.is_always() || self.is_closing) && (is_open || !is_over) {
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
        // A cut at or before a complete one tells nothing more.
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
        if let Some(fault) = self.fault {
            let is_due =
                matches!(fault, Fault::Write { retry_at_us } if retry_at_us <= now.monotonic_us);
            if !is_due || self.in_flight.is_some() {
                return None;
            }
            self.in_flight = Some(InFlight { end: self.framed });
            let frame = std::mem::take(&mut self.unwritten);
            return Some(JournalWish::Append { frame, sync: self.syncs_each() });
        }
        let has_news = !self.body.is_empty() || !self.full.is_empty() || self.must_write_cut;
        if has_news && self.in_flight.is_none() {
            return Some(self.compose(now));
        }
        let is_due = match self.policy {
            AppendFsync::Always => self.in_flight.is_none(),
            AppendFsync::EverySecond => self.sync_due_us <= now.monotonic_us,
            AppendFsync::No => false,
        };
        let is_unsynced = self.frames_written > self.frames_synced;
        if is_unsynced && self.syncing.is_none() && (is_due || self.is_closing) {
            self.syncing = Some((self.written, self.frames_written));
            self.sync_due_us = now.monotonic_us + SYNC_EVERY_US;
            return Some(JournalWish::Sync);
        }
        None
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
        let cuts = self.cuts.drain(..).map(|cut| cut.to_vec()).collect();
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
        self.in_flight = Some(InFlight { end: self.framed });
        if self.body.is_empty() && body.capacity() <= JOURNAL_BODY_BYTES_MAX {
            self.body = body;
            self.body.clear();
        }
        JournalWish::Append { frame, sync: self.syncs_each() }
    }

    /// The world has done what it was asked for. Returns what to tell of a fault that is new.
    pub(crate) fn done(&mut self, done: JournalDone, now: Now) -> Option<String> {
        if self.fault == Some(Fault::Sync) {
            // Whatever else was under way in that file does not count.
            return None;
        }
        match done {
            JournalDone::Appended { frame, synced } => {
                let InFlight { end } = self.in_flight.take().expect("a frame was handed over");
                (self.written, self.frames_written) = (end, self.frames);
                if synced {
                    (self.synced, self.frames_synced) = (end, self.frames);
                }
                if frame.capacity() <= JOURNAL_BODY_BYTES_MAX {
                    self.spare = frame;
                }
                if matches!(self.fault, Some(Fault::Write { .. })) {
                    self.fault = None;
                }
            }
            JournalDone::NotAppended { frame, error } => {
                self.in_flight = None;
                self.unwritten = frame;
                let is_new = self.fault.is_none();
                let retry_at_us = now.monotonic_us + JOURNAL_RETRY_US;
                self.fault = Some(Fault::Write { retry_at_us });
                return is_new.then(|| format!("the journal can't be written: {error}"));
            }
            JournalDone::Synced => {
                let (position, frames) = self.syncing.take().expect("a sync was asked for");
                self.synced = self.synced.max(position);
                self.frames_synced = self.frames_synced.max(frames);
            }
            JournalDone::NotSynced { error } => {
                (self.in_flight, self.syncing) = (None, None);
                self.fault = Some(Fault::Sync);
                return Some(format!(
                    "the journal can't be synced, so its file is not trusted any more: {error}"
                ));
            }
        }
        None
    }

    /// When there is something to do by time.
    pub(crate) fn due_us(&self) -> Option<u64> {
        let sync_us = (self.policy == AppendFsync::EverySecond
            && self.frames_written > self.frames_synced
            && self.syncing.is_none()
            && self.fault.is_none())
        .then_some(self.sync_due_us);
        let retry_us = match self.fault {
            Some(Fault::Write { retry_at_us }) if self.in_flight.is_none() => Some(retry_at_us),
            _ => None,
        };
        let cut_us = self.cut_due_us.filter(|_| !self.is_cutting);
        [sync_us, retry_us, cut_us].into_iter().flatten().min()
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
        self.fault.is_some() || self.is_closing && is_synced && self.committed() == self.end
    }
}

/// Records in pieces of about so many bytes; one that is longer is a piece by itself.
fn pieces(records: &[u8], bytes_max: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut len = rest.len();
        if len > bytes_max {
            len = 0;
            while len < rest.len() && len < bytes_max {
                let (_, record) = Record::decode(&rest[len..]).expect("records are well-formed");
                len += record;
            }
        }
        let (piece, after) = rest.split_at(len);
        rest = after;
        Some(piece)
    })
}
