//! Disk: a simulated shard's journal files, with a page cache that a power loss takes away; and their manifest, which is
//! replaced at one moment.

use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_engine::{
    JournalDone, JournalStart, RewritePlan, SaveProgress, SaveStart, SaveTarget, give_out_foreign,
    replay,
};
use basalt_journal::{
    BaseWriter, Blob, FileHeader, FileKind, Kept, Scan, ScanError, VERSION, keep, scan,
};

use basalt_keyspace::{Keyspace, ShardId};

use super::{Outside, Simulation};
use crate::random::Random;

/// What goes wrong, until it is mended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiskFault {
    #[default]
    None,
    /// It is full: nothing is written.
    Full,
    /// Syncs fail.
    SyncFails,
}

/// Where written bytes are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Memory,
    /// A sync of it failed: the kernel takes it for clean, and never writes it.
    Forgotten,
    Disk,
}

/// A journal file.
struct File {
    header: FileHeader,
    /// The rewrite that it was made for; 0 for the first.
    rewrite: u64,
    /// What was written, each with where it is.
    writes: Vec<(Vec<u8>, Place)>,
}

/// A shard's journal files.
#[derive(Default)]
pub struct Disk {
    files: Vec<File>,
    /// The one that is written to, by its place among them.
    current: usize,
    /// A frame that is being written, and whether it is to be synced.
    appending: Option<(Vec<u8>, bool)>,
    /// It is the last frames once more.
    is_again: bool,
    /// Syncs under way: so many writes are on disk when it is done.
    syncing: Option<usize>,
    pub fault: DiskFault,
    pub syncs: usize,
}

impl Disk {
    pub(super) fn append(&mut self, frame: Vec<u8>, sync: bool) {
        assert!(self.appending.is_none(), "one frame at a time");
        self.appending = Some((frame, sync));
    }

    pub(super) fn rewrite(&mut self, frames: Vec<u8>) {
        self.append(frames, true);
        self.is_again = true;
    }

    pub(super) fn sync(&mut self) {
        assert!(self.syncing.is_none(), "one sync at a time");
        self.syncing = Some(self.writes().len());
    }

    pub(super) fn go_to_next(&mut self, rewrite: u64) {
        assert!(!self.is_busy(), "nothing is under way for the file of before");
        // What was forgotten is not needed any more: a base has it, or it was written again.
        assert!(self.writes().iter().all(|(_, place)| *place != Place::Memory), "it is synced");
        let at = self.files.iter().position(|file| file.rewrite == rewrite);
        self.current = at.expect("it was made");
    }

    fn writes(&mut self) -> &mut Vec<(Vec<u8>, Place)> {
        &mut self.files[self.current].writes
    }

    pub(super) fn is_busy(&self) -> bool {
        self.appending.is_some() || self.syncing.is_some()
    }

    /// Ends a sync of the first writes, well or not.
    fn sync_to(&mut self, count: usize, is_done: bool) {
        self.syncs += 1;
        for (_, place) in self.writes()[..count].iter_mut().filter(|one| one.1 == Place::Memory) {
            *place = if is_done { Place::Disk } else { Place::Forgotten };
        }
    }

    /// The bytes are in the file.
    fn wrote(&mut self, bytes: Vec<u8>) {
        let mut left = if std::mem::take(&mut self.is_again) { bytes.len() } else { 0 };
        while left > 0 {
            let (last, _) = self.writes().pop().expect("they are written again");
            left = left.checked_sub(last.len()).expect("frames are written again whole");
        }
        self.writes().push((bytes, Place::Memory));
    }

    /// What has come to its end by now, at random.
    pub(super) fn go_on(&mut self, random: &mut Random) -> Vec<JournalDone> {
        let mut done = Vec::new();
        if self.appending.is_some() && random.one_in(3) {
            let (frame, sync) = self.appending.take().expect("it is there");
            done.push(if self.fault == DiskFault::Full {
                self.is_again = false;
                JournalDone::NotAppended { frame, error: "No space left on device".into() }
            } else {
                self.wrote(frame.clone());
                let is_done = self.fault == DiskFault::None;
                if sync {
                    let count = self.writes().len();
                    self.sync_to(count, is_done);
                }
                if sync && !is_done {
                    JournalDone::NotSynced { frame: Some(frame), error: "EIO".into() }
                } else {
                    JournalDone::Appended { frame, synced: sync }
                }
            });
        }
        if self.syncing.is_some() && random.one_in(3) {
            let count = self.syncing.take().expect("it is there");
            let is_done = self.fault != DiskFault::SyncFails;
            self.sync_to(count, is_done);
            done.push(if is_done {
                JournalDone::Synced
            } else {
                JournalDone::NotSynced { frame: None, error: "EIO".into() }
            });
        }
        done
    }

    /// The files from that of a rewrite on, as `left` has each of them; the last is the one with a frame on its way.
    fn files_from(&self, first: u64, mut left: impl FnMut(&File, bool) -> Vec<u8>) -> Vec<Vec<u8>> {
        let files = self.files.iter().enumerate().filter(|(_, file)| file.rewrite >= first);
        files.map(|(at, file)| left(file, at == self.current)).collect()
    }

    /// What the kernel has: all that a killed process leaves.
    fn after_kill(&self, first: u64) -> Vec<Vec<u8>> {
        self.files_from(first, |file, _| {
            let written = file.writes.iter().flat_map(|(bytes, _)| bytes).copied();
            file.header.encode().into_iter().chain(written).collect()
        })
    }

    /// What is left when power is lost: what was synced, and any part of the rest, torn.
    fn after_power_loss(&self, first: u64, random: &mut Random) -> Vec<Vec<u8>> {
        self.files_from(first, |file, is_current| {
            let mut left = file.header.encode().to_vec();
            let appending = self.appending.iter().filter(|_| is_current && !self.is_again);
            let appending = appending.map(|(bytes, _)| (bytes.clone(), Place::Memory));
            for (mut bytes, place) in file.writes.iter().cloned().chain(appending) {
                if place != Place::Disk {
                    let kept = match random.below(3) {
                        _ if place == Place::Forgotten => 0,
                        0 => 0,
                        1 => random.below(bytes.len() + 1),
                        _ => bytes.len(),
                    };
                    bytes[kept..].fill(0);
                    if random.one_in(4) {
                        left.extend_from_slice(&bytes[..kept]);
                        return left;
                    }
                }
                left.extend_from_slice(&bytes);
            }
            left
        })
    }
}

/// What the manifest names.
#[derive(Clone, Debug, Default)]
pub(super) struct Manifest {
    /// The first journals are of this rewrite; `None` before there is a journal that counts.
    first: Option<u64>,
    starts: Vec<JournalStart>,
    bases: Vec<Vec<u8>>,
}

/// What a crash leaves, shard by shard.
#[derive(Clone, Debug, Default)]
pub struct Files {
    pub starts: Vec<JournalStart>,
    /// Empty where the journals began with nothing.
    pub bases: Vec<Vec<u8>>,
    /// Each goes on where the one before it ends.
    pub journals: Vec<Vec<Vec<u8>>>,
}

impl Outside {
    fn headers(&self, salt: u32) -> Vec<FileHeader> {
        let shards = self.disks.len() as u16;
        let header = |shard: u16| FileHeader {
            version: VERSION,
            kind: FileKind::Journal,
            shard,
            shards,
            generation: 1,
            salt: salt.wrapping_mul(31).wrapping_add(u32::from(shard)),
            created_ms: self.now.unix_ms,
        };
        (0..shards).map(header).collect()
    }

    fn add_files(&mut self, headers: &[FileHeader], rewrite: u64) {
        for (disk, header) in self.disks.iter_mut().zip(headers) {
            disk.files.push(File { header: *header, rewrite, writes: Vec::new() });
        }
    }

    pub(super) fn prepare_rewrite(&mut self, plan: &RewritePlan) {
        let headers = self.headers(plan.salt as u32);
        self.add_files(&headers, plan.number);
        if plan.begins {
            self.manifest.first = None;
        }
        let prepared: Arc<[FileHeader]> = headers.into();
        self.saves.progress = SaveProgress {
            number: plan.number,
            prepared: Some(prepared),
            ..SaveProgress::default()
        };
    }

    pub(super) fn begin_save(&mut self, start: SaveStart) {
        let SaveTarget::Bases { positions } = &start.target else {
            return self.saves.begin(start);
        };
        let headers = self.saves.progress.prepared.clone().expect("it was prepared");
        let heads = headers.iter().map(|header| BaseWriter::new(*header).header().encode());
        self.next_starts.clone_from(positions);
        self.saves.begin_bases(start.number, heads.map(|head| head.to_vec()).collect());
    }

    pub(super) fn finish_save(&mut self, number: u64) {
        if let Some(bases) = self.saves.finish(number) {
            let starts = std::mem::take(&mut self.next_starts);
            self.manifest = Manifest { first: Some(number), starts, bases };
        }
    }

    fn files_left(&self, journals: impl Iterator<Item = Vec<Vec<u8>>>) -> Files {
        let Manifest { starts, bases, first } = self.manifest.clone();
        if first.is_none() {
            return Files::default();
        }
        Files { starts, bases, journals: journals.collect() }
    }
}

impl Simulation {
    /// A server whose cores journal every change, from nothing on.
    pub fn with_journal(shards: usize, config: Config, seed: u64) -> Self {
        let mut server = Self::new(shards, Config { appendonly: true, ..config }, seed);
        server.begin_journals(seed as u32);
        server
    }

    fn begin_journals(&mut self, salt: u32) {
        let headers = self.outside.headers(salt);
        self.outside.add_files(&headers, 0);
        let starts = vec![JournalStart::default(); headers.len()];
        self.outside.manifest = Manifest { first: Some(0), starts, bases: Vec::new() };
        for (core, header) in self.cores.iter_mut().zip(headers) {
            core.begin_journal(header, 0);
        }
    }

    pub fn disk(&mut self, shard: usize) -> &mut Disk {
        &mut self.outside.disks[shard]
    }

    /// The process is killed: the files as the kernel has them.
    pub fn kill(self) -> Files {
        let first = self.outside.manifest.first.unwrap_or_default();
        self.outside.files_left(self.outside.disks.iter().map(|disk| disk.after_kill(first)))
    }

    /// Power is lost: the files as the disks have them.
    pub fn lose_power(mut self) -> Files {
        let first = self.outside.manifest.first.unwrap_or_default();
        let Outside { disks, random, .. } = &mut self.outside;
        let left = disks.iter().map(|disk| disk.after_power_loss(first, random));
        let left: Vec<_> = left.collect();
        self.outside.files_left(left.into_iter())
    }

    /// How long all files are that the manifest names.
    pub fn after_kill_bytes(&self) -> usize {
        let Manifest { first, bases, .. } = &self.outside.manifest;
        let first = first.unwrap_or_default();
        let journals = self.outside.disks.iter().flat_map(|disk| disk.after_kill(first));
        bases.iter().map(Vec::len).sum::<usize>() + journals.map(|file| file.len()).sum::<usize>()
    }

    /// Whether a rewrite of the journal came to its end.
    pub fn is_rewritten(&self) -> bool {
        self.outside.manifest.first.is_some_and(|first| first > 0)
    }

    /// Starts again, with so many shards, from the files of a server that had maybe others; and journals from then on.
    ///
    /// # Errors
    /// Where a file is refused.
    pub fn restart(
        files: &Files,
        shards: usize,
        config: Config,
        seed: u64,
    ) -> Result<Self, ScanError<<[u8] as Blob>::Error>> {
        let mut scans = Vec::new();
        for (journals, start) in files.journals.iter().zip(&files.starts) {
            let mut all: Option<Scan> = None;
            for journal in journals {
                let position = all.as_ref().map_or(start.start, |all| all.end);
                let next = scan(journal.as_slice(), position)?;
                match &mut all {
                    Some(all) => all.append(next),
                    none => *none = Some(next),
                }
            }
            scans.push(all.expect("each shard has a journal"));
        }
        for base in &files.bases {
            scan(base.as_slice(), 0)?;
        }
        let mut server = Self::new(shards, Config { appendonly: true, ..config }, seed);
        let from: Vec<u64> = files.starts.iter().map(|start| start.from).collect();
        let mut state = None;
        let has_same = files.journals.len() == shards;
        for (index, Kept { to, .. }) in keep(&scans, &from).into_iter().enumerate() {
            let like = server.cores[0].keyspace();
            let (databases, hasher) = (like.database_count(), *like.hasher());
            let mut own = Keyspace::new(databases, hasher, server.outside.now.unix_ms);
            let keyspace = if has_same { server.cores[index].keyspace() } else { &mut own };
            if let Some(base) = files.bases.get(index) {
                let base = replay(keyspace, base.as_slice(), 0, &(0..u64::MAX))?;
                state = base.state.or(state);
            }
            let mut position = files.starts[index].start;
            for journal in &files.journals[index] {
                let kept = from[index]..to;
                let own = replay(keyspace, journal.as_slice(), position, &kept)?;
                position = own.position;
                state = own.state.or(state);
            }
            assert!(position >= to || to == from[index], "all that is kept is there");
            if !has_same {
                for (shard, bundle) in give_out_foreign(&mut own, None, shards) {
                    server.cores[shard.index()].keyspace().attach_with_expiry(bundle);
                }
            }
        }
        if has_same {
            for index in 0..shards {
                let own = Some(ShardId(index as u16));
                let keyspace = server.cores[index].keyspace();
                for (shard, bundle) in give_out_foreign(keyspace, own, shards) {
                    server.cores[shard.index()].keyspace().attach_with_expiry(bundle);
                }
            }
        }
        server.restore_state(state.as_deref());
        server.begin_journals(seed as u32 + 1);
        Ok(server)
    }

    fn restore_state(&mut self, state: Option<&[u8]>) {
        for (core, state) in self.cores.iter_mut().zip(std::iter::repeat(state)) {
            if let Some(state) = state {
                core.restore_state(state).expect("because it was journaled");
            }
        }
    }
}
