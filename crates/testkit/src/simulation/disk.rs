//! Disk: a simulated shard's journal file, with a page cache that a power loss takes away.

use basalt_commands::config::Config;
use basalt_engine::{JournalDone, give_out_foreign, replay};
use basalt_journal::{Blob, FileHeader, FileKind, Kept, Scan, ScanError, VERSION, keep, scan};

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

/// A shard's journal file.
#[derive(Default)]
pub struct Disk {
    header: Vec<u8>,
    /// What was written, each with where it is.
    writes: Vec<(Vec<u8>, Place)>,
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
        self.syncing = Some(self.writes.len());
    }

    pub(super) fn is_busy(&self) -> bool {
        self.appending.is_some() || self.syncing.is_some()
    }

    /// Ends a sync of the first writes, well or not.
    fn sync_to(&mut self, count: usize, is_done: bool) {
        self.syncs += 1;
        for (_, place) in self.writes[..count].iter_mut().filter(|one| one.1 == Place::Memory) {
            *place = if is_done { Place::Disk } else { Place::Forgotten };
        }
    }

    /// The bytes are in the file.
    fn wrote(&mut self, bytes: Vec<u8>) {
        let mut left = if std::mem::take(&mut self.is_again) { bytes.len() } else { 0 };
        while left > 0 {
            let (last, _) = self.writes.pop().expect("they are written again");
            left = left.checked_sub(last.len()).expect("frames are written again whole");
        }
        self.writes.push((bytes, Place::Memory));
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
                    self.sync_to(self.writes.len(), is_done);
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

    /// What the kernel has: all that a killed process leaves.
    fn after_kill(&self) -> Vec<u8> {
        let written = self.writes.iter().flat_map(|(bytes, _)| bytes).copied();
        self.header.iter().copied().chain(written).collect()
    }

    /// What is left when power is lost: what was synced, and any part of the rest, torn.
    fn after_power_loss(&self, random: &mut Random) -> Vec<u8> {
        let mut left = self.header.clone();
        let appending = self.appending.iter().filter(|_| !self.is_again);
        let appending = appending.map(|(bytes, _)| (bytes.clone(), Place::Memory));
        for (mut bytes, place) in self.writes.iter().cloned().chain(appending) {
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
    }
}

impl Simulation {
    /// A server whose cores journal every change, from nothing on.
    pub fn with_journal(shards: usize, config: Config, seed: u64) -> Self {
        let mut server = Self::new(shards, config, seed);
        server.begin_journals(seed as u32);
        server
    }

    fn begin_journals(&mut self, salt: u32) {
        let shards = self.cores.len() as u16;
        for shard in 0..shards {
            let header = FileHeader {
                version: VERSION,
                kind: FileKind::Journal,
                shard,
                shards,
                generation: 1,
                salt: salt.wrapping_mul(31) + u32::from(shard),
                created_ms: self.outside.now.unix_ms,
            };
            self.outside.disks[usize::from(shard)].header = header.encode().to_vec();
            self.cores[usize::from(shard)].begin_journal(header);
        }
    }

    pub fn disk(&mut self, shard: usize) -> &mut Disk {
        &mut self.outside.disks[shard]
    }

    /// The process is killed: the files as the kernel has them.
    pub fn kill(self) -> Vec<Vec<u8>> {
        self.outside.disks.iter().map(Disk::after_kill).collect()
    }

    /// Power is lost: the files as the disks have them.
    pub fn lose_power(mut self) -> Vec<Vec<u8>> {
        let Outside { disks, random, .. } = &mut self.outside;
        disks.iter().map(|disk| disk.after_power_loss(random)).collect()
    }

    /// Starts again, with so many shards, from the files of a server that had maybe others; and journals from then on.
    ///
    /// # Errors
    /// Where a file is refused.
    pub fn restart(
        files: &[Vec<u8>],
        shards: usize,
        config: Config,
        seed: u64,
    ) -> Result<Self, ScanError<<[u8] as Blob>::Error>> {
        let scans = files.iter().map(|file| scan(file.as_slice()));
        let scans = scans.collect::<Result<Vec<Scan>, _>>()?;
        let mut server = Self::new(shards, config, seed);
        let hasher = *server.cores[0].keyspace().hasher();
        let now_ms = server.outside.now.unix_ms;
        for (index, (file, Kept { to, .. })) in files.iter().zip(keep(&scans)).enumerate() {
            if files.len() == shards {
                replay(server.cores[index].keyspace(), file.as_slice(), to, &mut |_| {})?;
                continue;
            }
            let databases = server.cores[0].keyspace().database_count();
            let mut keyspace = Keyspace::new(databases, hasher, now_ms);
            replay(&mut keyspace, file.as_slice(), to, &mut |_| {})?;
            for (shard, bundle) in give_out_foreign(&mut keyspace, None, shards) {
                server.cores[shard.index()].keyspace().attach_with_expiry(bundle);
            }
        }
        if files.len() == shards {
            for index in 0..shards {
                let own = Some(ShardId(index as u16));
                let keyspace = server.cores[index].keyspace();
                for (shard, bundle) in give_out_foreign(keyspace, own, shards) {
                    server.cores[shard.index()].keyspace().attach_with_expiry(bundle);
                }
            }
        }
        server.begin_journals(seed as u32 + 1);
        Ok(server)
    }
}
