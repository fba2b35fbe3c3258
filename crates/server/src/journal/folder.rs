//! Folder: the directory of the journal: its lock, its manifest, and the files that this names.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use basalt_commands::config::Config;
use basalt_engine::{JournalStart, RewritePlan};
use basalt_journal::{FileHeader, FileKind, Generation, JOURNALS_MAX, Manifest, Segment, VERSION};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::foreign_aof;

const MANIFEST: &str = "journal.manifest";
const LOCK: &str = "lock";
/// What our files begin with.
const PREFIX: &str = "journal.";

/// The folder, locked.
pub(crate) struct Folder {
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    /// The last generation of the manifest is the one that is written to.
    is_live: bool,
    /// Open as long as the process.
    _lock: Flock<File>,
}

/// An error with the file that it concerns.
pub(super) fn at(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

impl Folder {
    /// Opens the folder that the configuration names, or makes it.
    ///
    /// # Errors
    /// Where another server has it, it can't be read or written, or its manifest is refused.
    pub(crate) fn open(config: &Config) -> io::Result<Self> {
        let path = Path::new(&config.dir).join(&config.appenddirname);
        match DirBuilder::new().mode(0o755).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(at(&path, error)),
            Ok(()) | Err(_) => {}
        }
        let lock = path.join(LOCK);
        let file =
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).open(&lock);
        let file = file.map_err(|error| at(&lock, error))?;
        let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        let locked = locked.map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => at(&path, "another server has this journal open"),
            errno => at(&lock, errno),
        })?;
        let manifest = read_manifest(&path)?;
        Ok(Self { path, manifest, is_live: false, _lock: locked })
    }

    /// Whether there is no journal that a start would load.
    pub(crate) fn is_empty(&self) -> bool {
        self.manifest.generations.is_empty()
    }

    /// # Errors
    /// Where there is an append-only file of another program, and no journal yet: only a start loads it.
    pub(crate) fn refuse_foreign(&self, config: &Config) -> io::Result<()> {
        if !self.is_empty() || foreign_aof::find(config)?.is_none() {
            return Ok(());
        }
        let why = "there is an append-only file of Redis or Valkey here, which only a start with `appendonly yes` \
                   loads: restart the server, or move the file away";
        Err(at(&self.path, why))
    }

    /// Whether it is the folder that the configuration names.
    pub(crate) fn is_named_by(&self, config: &Config) -> bool {
        self.path == Path::new(&config.dir).join(&config.appenddirname)
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The number of the next generation.
    pub(super) fn next_number(&self) -> u64 {
        self.manifest.generations.last().map_or(1, |last| last.number + 1)
    }

    /// Begins a generation of empty files. The ones before it end at these positions, shard by shard, or are dropped
    /// where the new one begins with bases.
    pub(super) fn begin(
        &mut self,
        headers: &[FileHeader],
        ends: &[Vec<u64>],
        has_bases: bool,
    ) -> io::Result<Vec<File>> {
        let number = headers[0].generation;
        let mut files = Vec::new();
        let mut shards = Vec::new();
        for header in headers {
            let journal = journal_name(header);
            files.push(create(&self.file(&journal), header)?);
            let base = has_bases.then(|| base_name(header));
            shards.push(Segment { base, journals: vec![journal], ..Segment::default() });
        }
        let mut manifest = Manifest::default();
        if !has_bases {
            for (generation, ends) in self.manifest.generations.iter().zip(ends) {
                let mut generation = generation.clone();
                for (segment, end) in generation.shards.iter_mut().zip(ends) {
                    segment.end = Some(*end);
                    segment.journals.iter().try_for_each(|name| self.sync(name))?;
                }
                // One in which nothing happened says nothing.
                let is_empty = ends.iter().all(|end| *end == 0)
                    && generation.shards.iter().all(|segment| segment.base.is_none());
                if !is_empty {
                    manifest.generations.push(generation);
                }
            }
        }
        manifest.generations.push(Generation { number, shards });
        if !self.write_manifest(&manifest)? {
            return Err(at(&self.path, "it can't be synced"));
        }
        self.manifest = manifest;
        self.is_live = true;
        self.remove_unnamed();
        Ok(files)
    }

    /// Makes the files that shards write to from a rewrite on. The manifest names them from now on, unless there is no
    /// journal that counts before the rewrite is through.
    pub(crate) fn prepare(
        &mut self,
        plan: &RewritePlan,
    ) -> io::Result<(Vec<FileHeader>, Vec<File>)> {
        self.is_live &= !plan.begins;
        let last = self.manifest.generations.last().filter(|_| self.is_live);
        let number = last.map_or(self.next_number(), |last| last.number);
        if last.is_some_and(|last| last.shards.iter().any(|s| s.journals.len() >= JOURNALS_MAX)) {
            return Err(at(&self.path, "too many rewrites have failed: restart the server"));
        }
        if self.manifest.generations.is_empty() {
            // So that a start after a crash knows the files for what they are.
            self.write_manifest(&self.manifest)?;
        }
        let headers = headers(number, plan.shards, plan.salt, plan.now_ms);
        let names: Vec<String> =
            headers.iter().map(|header| rewritten_name(header, plan.number, "log")).collect();
        let made = self.make(&headers, &names);
        let named = match &made {
            Ok(_) if self.is_live => self.name_journals(&names),
            _ => Ok(true),
        };
        if made.is_err() || named.is_err() {
            self.remove(&names);
        }
        // One that is not synced may name the files after a crash, or not: they stay, and nothing goes into them.
        if !named? {
            return Err(at(&self.path, "it can't be synced"));
        }
        Ok((headers, made?))
    }

    /// Has the manifest name one more journal of each shard; returns whether that is on the disk for sure.
    fn name_journals(&mut self, names: &[String]) -> io::Result<bool> {
        let mut manifest = self.manifest.clone();
        let last = manifest.generations.last_mut().expect("a live one is there");
        for (segment, name) in last.shards.iter_mut().zip(names) {
            segment.journals.push(name.clone());
        }
        let is_synced = self.write_manifest(&manifest)?;
        self.manifest = manifest;
        Ok(is_synced)
    }

    fn make(&self, headers: &[FileHeader], names: &[String]) -> io::Result<Vec<File>> {
        let files =
            headers.iter().zip(names).map(|(header, name)| create(&self.file(name), header));
        let files = files.collect::<io::Result<Vec<File>>>()?;
        File::open(&self.path)?.sync_all()?;
        Ok(files)
    }

    /// A base of a rewrite, to be written.
    pub(crate) fn create_base(
        &self,
        header: &FileHeader,
        rewrite: u64,
    ) -> io::Result<(File, PathBuf)> {
        let header = FileHeader { kind: FileKind::Base, ..*header };
        let path = self.file(&rewritten_name(&header, rewrite, "base"));
        Ok((create(&path, &header)?, path))
    }

    /// The bases of a rewrite are on disk: the journal begins with them, and all that is older goes.
    pub(crate) fn finish_rewrite(
        &mut self,
        headers: &[FileHeader],
        rewrite: u64,
        positions: &[JournalStart],
    ) -> io::Result<()> {
        let segment = |(header, position): (&FileHeader, &JournalStart)| Segment {
            base: Some(rewritten_name(header, rewrite, "base")),
            start: position.start,
            from: position.from,
            journals: vec![rewritten_name(header, rewrite, "log")],
            end: None,
        };
        let shards = headers.iter().zip(positions).map(segment).collect();
        let generation = Generation { number: headers[0].generation, shards };
        let manifest = Manifest { generations: vec![generation] };
        let is_on_disk = self.write_manifest(&manifest)?;
        self.manifest = manifest;
        self.is_live = true;
        if is_on_disk {
            self.remove_unnamed();
        }
        Ok(())
    }

    fn remove(&self, names: &[String]) {
        for name in names {
            // One that was not made is gone already.
            let _ = fs::remove_file(self.file(name));
        }
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let path = self.file(name);
        File::open(&path).and_then(|file| file.sync_all()).map_err(|error| at(&path, error))
    }

    /// Replaces the manifest. Returns whether it is known to be on disk; if not, a crash may bring back the one of
    /// before, so that nothing that it names may be removed.
    ///
    /// # Errors
    /// Where the one of before is still there.
    fn write_manifest(&self, manifest: &Manifest) -> io::Result<bool> {
        let (path, temporary) = (self.file(MANIFEST), self.file("journal.manifest.tmp"));
        let write = || {
            let mut file = open_new(&temporary)?;
            file.write_all(manifest.encode().as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
            if let Err(error) = &synced {
                tracing::warn!("syncing {}: {error}", self.path.display());
            }
            Ok(synced.is_ok())
        };
        write().map_err(|error: io::Error| at(&path, error))
    }

    /// Removes files of ours that the manifest does not name: they are of a rewrite or a start that did not end.
    fn remove_unnamed(&self) {
        let Ok(found) = fs::read_dir(&self.path) else { return };
        for name in found.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
            let is_named =
                self.manifest.generations.iter().flat_map(|one| &one.shards).any(|one| {
                    one.journals.contains(&name)
                        || one.base.as_ref().is_some_and(|base| *base == name)
                });
            if name.starts_with(PREFIX)
                && name != MANIFEST
                && !is_named
                && let Err(error) = fs::remove_file(self.file(&name))
            {
                tracing::warn!("{}: {error}", self.file(&name).display());
            }
        }
    }
}

fn read_manifest(folder: &Path) -> io::Result<Manifest> {
    let path = folder.join(MANIFEST);
    match fs::read(&path) {
        Ok(bytes) => Manifest::decode(&bytes).map_err(|error| at(&path, error)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            refuse_lost(folder)?;
            Ok(Manifest::default())
        }
        Err(error) => Err(at(&path, error)),
    }
}

/// Without a manifest there is nothing to load; but there may be journals.
fn refuse_lost(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder).map_err(|error| at(folder, error))?.flatten() {
        let is_journal = entry.file_name().to_str().is_some_and(|name| {
            name.starts_with(PREFIX) && (name.ends_with(".log") || name.ends_with(".base"))
        });
        // A first start that failed leaves files without a frame.
        let has_frames =
            entry.metadata().is_ok_and(|found| found.len() > basalt_journal::HEADER_BYTES as u64);
        if is_journal && has_frames {
            let why =
                format!("there are journals here, but no {MANIFEST}; restore it from a backup");
            return Err(at(folder, why));
        }
    }
    Ok(())
}

pub(super) fn journal_name(header: &FileHeader) -> String {
    format!("{PREFIX}{}.{}.log", header.generation, header.shard)
}

pub(super) fn base_name(header: &FileHeader) -> String {
    format!("{PREFIX}{}.{}.base", header.generation, header.shard)
}

/// The name of a file that a rewrite makes.
fn rewritten_name(header: &FileHeader, rewrite: u64, kind: &str) -> String {
    format!("{PREFIX}{}.{}.{rewrite}.{kind}", header.generation, header.shard)
}

/// The headers of a generation's journals.
pub(super) fn headers(number: u64, shards: usize, salt: u64, created_ms: u64) -> Vec<FileHeader> {
    let header = |shard: u16| FileHeader {
        version: VERSION,
        kind: FileKind::Journal,
        shard,
        shards: shards as u16,
        generation: number,
        salt: (salt as u32).wrapping_add(u32::from(shard).wrapping_mul(0x9e37_79b9)),
        created_ms,
    };
    (0..shards as u16).map(header).collect()
}

/// A file that holds nothing but its header, which is on disk.
pub(super) fn create(path: &Path, header: &FileHeader) -> io::Result<File> {
    let make = || {
        let mut file = open_new(path)?;
        file.write_all(&header.encode())?;
        file.sync_all()?;
        Ok(file)
    };
    make().map_err(|error: io::Error| at(path, error))
}

fn open_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(path)
}
