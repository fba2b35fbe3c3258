//! Restore: the data of a journal's files into the shards of this process, however many wrote them.
//!
//! Each file is replayed into a keyspace of its own, by the threads of the shards side by side: the file of shard n
//! by thread n modulo their number. Between generations, and at the end, slots go to the shards that have them then.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use basalt_commands::config::Config;
use basalt_engine::{Core, give_out_foreign, replay};
use basalt_journal::{FileHeader, FileKind, GENERATIONS_MAX, HEADER_BYTES, Kept, Scan, keep, scan};
use basalt_keyspace::{Keyspace, ShardId, SlotBundle};

use super::blob::FileBlob;
use super::folder::{Folder, at, base_name, headers};
use super::meeting::Meeting;
use super::{JournalFile, base};

/// A rewrite at start pays where so much was journaled since the last.
const GROWN_BYTES_MIN: u64 = 64 << 20;

/// A shard's part of a generation, found sound.
struct Part {
    base: Option<PathBuf>,
    journal: PathBuf,
    /// Up to which position it is replayed.
    to: u64,
}

/// Bundles of slots for keyspaces, by the thread that has them.
type Mailbox = Mutex<Vec<(usize, SlotBundle)>>;

/// All that the threads of the shards need to load the journal.
pub(crate) struct Recovery {
    shards: usize,
    generations: Vec<Vec<Part>>,
    headers: Vec<FileHeader>,
    rewrites: bool,
    folder: Mutex<Folder>,
    meeting: Meeting,
    mailboxes: Vec<Mailbox>,
    files: Mutex<Vec<Option<std::fs::File>>>,
    begun: Instant,
}

/// One shard's part in that.
pub struct Restoring<'a> {
    pub(crate) recovery: &'a Recovery,
    pub(crate) shard: usize,
    pub(crate) config: &'a Config,
}

impl Recovery {
    /// Reads and checks all files of the folder.
    ///
    /// # Errors
    /// Where one can't be read, is not ours, or is damaged.
    #[expect(clippy::disallowed_methods, reason = "the log says how long it took")]
    pub(crate) fn prepare(
        folder: Folder,
        shards: usize,
        (salt, now_ms): (u64, u64),
        config: &Config,
    ) -> io::Result<Self> {
        let begun = Instant::now();
        let mut generations = Vec::new();
        let (mut base_bytes, mut journal_bytes) = (0, 0);
        let last = folder.manifest.generations.len().saturating_sub(1);
        for (index, generation) in folder.manifest.generations.iter().enumerate() {
            let number = generation.number;
            let mut parts = Vec::new();
            let scans = scan_all(generation.shards.iter().map(|part| folder.file(&part.journal)));
            let mut found = Vec::new();
            for (shard, (segment, scanned)) in generation.shards.iter().zip(scans).enumerate() {
                let path = folder.file(&segment.journal);
                let scan = scanned.map_err(|error| at(&path, error))?;
                check(&scan, (number, shard, generation.shards.len()), FileKind::Journal)
                    .map_err(|error| at(&path, error))?;
                journal_bytes += scan.tail.offset;
                found.push((path, scan));
            }
            let kept = if index == last { Some(keep_all(&found, config)?) } else { None };
            for (shard, (segment, (path, scan))) in generation.shards.iter().zip(&found).enumerate()
            {
                let to = match (&kept, segment.end) {
                    (Some(kept), _) => kept[shard].to,
                    (None, Some(end)) if end <= scan.end => end,
                    (None, _) => return Err(at(path, "it is shorter than the manifest says")),
                };
                let base = segment.base.as_ref().map(|base| folder.file(base));
                if let Some(path) = &base {
                    let scan = FileBlob::open(path).map_err(|error| at(path, error))?;
                    let scan = scan_file(&scan).map_err(|error| at(path, error))?;
                    check(&scan, (number, shard, generation.shards.len()), FileKind::Base)
                        .map_err(|error| at(path, error))?;
                    base_bytes += scan.end;
                }
                parts.push(Part { base, journal: path.clone(), to });
            }
            generations.push(parts);
        }
        let is_grown = journal_bytes > base_bytes.max(GROWN_BYTES_MIN);
        Ok(Self {
            shards,
            rewrites: is_grown || generations.len() >= GENERATIONS_MAX / 2,
            generations,
            headers: headers(folder.next_number(), shards, salt, now_ms),
            folder: Mutex::new(folder),
            meeting: Meeting::of(shards),
            mailboxes: (0..shards).map(|_| Mailbox::default()).collect(),
            files: Mutex::default(),
            begun,
        })
    }

    /// A shard can't go on, so none does.
    pub(crate) fn fail(&self, error: &io::Error) {
        self.meeting.fail(error.to_string());
    }

    fn meet(&self) -> io::Result<bool> {
        self.meeting.wait().map_err(io::Error::other)
    }
}

/// No thread goes on after a panic, so what a lock guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn scan_file(blob: &FileBlob) -> Result<Scan, String> {
    scan(blob).map_err(|error| error.to_string())
}

/// Scans files side by side.
fn scan_all(paths: impl Iterator<Item = PathBuf>) -> Vec<Result<Scan, String>> {
    let paths: Vec<PathBuf> = paths.collect();
    let scan_one = |path: &PathBuf| {
        let blob = FileBlob::open(path).map_err(|error| error.to_string())?;
        scan_file(&blob)
    };
    std::thread::scope(|scope| {
        let scans: Vec<_> = paths.iter().map(|path| scope.spawn(move || scan_one(path))).collect();
        scans.into_iter().map(|scan| scan.join().expect("a scan ends")).collect()
    })
}

/// Whether a file is the one that the manifest means.
fn check(
    scan: &Scan,
    (generation, shard, shards): (u64, usize, usize),
    kind: FileKind,
) -> Result<(), &'static str> {
    let FileHeader { generation: other, shard: own, shards: all, kind: found, .. } = scan.header;
    let is_it =
        (other, usize::from(own), usize::from(all), found) == (generation, shard, shards, kind);
    is_it.then_some(()).ok_or("it is another file than the manifest says")
}

/// What is kept of the last generation, with a warning for each that ends early.
fn keep_all(found: &[(PathBuf, Scan)], config: &Config) -> io::Result<Vec<Kept>> {
    let scans: Vec<Scan> = found.iter().map(|(_, scan)| scan.clone()).collect();
    let kept = keep(&scans);
    for ((path, scan), kept) in found.iter().zip(&kept) {
        let (name, tail) = (path.display(), scan.tail);
        if tail.bytes > 0 && !config.aof_load_truncated {
            let why = format!(
                "{} bytes from offset {} on are no whole frame, as after a crash while they were written; \
                 aof-load-truncated is no: cut the file there, or set it to yes",
                tail.bytes, tail.offset
            );
            return Err(at(path, why));
        }
        if tail.bytes > 0 {
            tracing::warn!(
                "{name}: the last {} bytes, from offset {} on, are no whole frame and are cut off",
                tail.bytes,
                tail.offset
            );
        }
        if kept.dropped > 0 {
            tracing::warn!(
                "{name}: {} bytes behind the last moment that all shards have on disk are dropped",
                kept.dropped
            );
        }
    }
    Ok(kept)
}

impl Restoring<'_> {
    /// Loads this shard's share, and begins the next generation with all others.
    pub(crate) fn run(&mut self, core: &mut Core) -> io::Result<Option<JournalFile>> {
        let recovery = self.recovery;
        let mut own = Own { shard: self.shard, threads: recovery.shards, keyspaces: Vec::new() };
        let mut layout = recovery.generations.first().map_or(recovery.shards, Vec::len);
        own.hold(layout, core, self.config);
        for generation in &recovery.generations {
            if generation.len() != layout {
                self.hand_over(&mut own, core, (layout, generation.len()))?;
                layout = generation.len();
            }
            for index in own.indices(layout) {
                load(&generation[index], own.keyspace(index, core))?;
            }
        }
        // Also where their number is the same: slots may have moved.
        self.hand_over(&mut own, core, (layout, recovery.shards))?;
        if recovery.rewrites {
            self.write_base(core)?;
        }
        if recovery.meet()? {
            self.begin_generation()?;
        }
        recovery.meet()?;
        let file = lock(&recovery.files)[self.shard].take();
        let file = file.expect("a file for each shard was made");
        core.begin_journal(recovery.headers[self.shard]);
        Ok(Some(JournalFile { file, len: HEADER_BYTES as u64, is_rewriting: false }))
    }

    /// Gives slots to the shards that have them in a layout of other shards, or after they moved.
    fn hand_over(
        &self,
        own: &mut Own,
        core: &mut Core,
        (from, to): (usize, usize),
    ) -> io::Result<()> {
        let recovery = self.recovery;
        for index in own.indices(from) {
            let stays = (from == to).then_some(ShardId(index as u16));
            for (target, bundle) in give_out_foreign(own.keyspace(index, core), stays, to) {
                let mailbox = &recovery.mailboxes[target.index() % recovery.shards];
                lock(mailbox).push((target.index(), bundle));
            }
        }
        recovery.meet()?;
        if from != to {
            own.hold(to, core, self.config);
        }
        for (target, bundle) in lock(&recovery.mailboxes[self.shard]).drain(..) {
            own.keyspace(target, core).attach_with_expiry(bundle);
        }
        recovery.meet()?;
        Ok(())
    }

    fn write_base(&self, core: &mut Core) -> io::Result<()> {
        let header = FileHeader { kind: FileKind::Base, ..self.recovery.headers[self.shard] };
        let path = lock(&self.recovery.folder).file(&base_name(&header));
        base::write(&path, &header, core.keyspace()).map_err(|error| at(&path, error))
    }

    fn begin_generation(&self) -> io::Result<()> {
        let Recovery { headers, generations, rewrites, .. } = self.recovery;
        let ends: Vec<Vec<u64>> =
            generations.iter().map(|parts| parts.iter().map(|part| part.to).collect()).collect();
        let files = lock(&self.recovery.folder).begin(headers, &ends, *rewrites)?;
        *lock(&self.recovery.files) = files.into_iter().map(Some).collect();
        let (count, ms) = (generations.len(), self.recovery.begun.elapsed().as_millis());
        tracing::info!("The journal is loaded: {count} generations in {ms} ms");
        Ok(())
    }
}

/// The keyspaces that a thread fills.
struct Own {
    shard: usize,
    threads: usize,
    /// Of other layouts than this process has: there the core's own does.
    keyspaces: Vec<Keyspace>,
}

impl Own {
    fn indices(&self, layout: usize) -> Vec<usize> {
        (self.shard..layout).step_by(self.threads).collect()
    }

    fn hold(&mut self, layout: usize, core: &mut Core, config: &Config) {
        self.keyspaces.clear();
        if layout == self.threads {
            return;
        }
        for _ in self.indices(layout) {
            let like = core.keyspace();
            let mut keyspace = Keyspace::new(like.database_count(), *like.hasher(), like.now_ms());
            keyspace.thresholds = config.thresholds();
            keyspace.set_uses(config.uses());
            self.keyspaces.push(keyspace);
        }
    }

    fn keyspace<'a>(&'a mut self, index: usize, core: &'a mut Core) -> &'a mut Keyspace {
        let at = index / self.threads;
        if self.keyspaces.is_empty() { core.keyspace() } else { &mut self.keyspaces[at] }
    }
}

fn load(part: &Part, keyspace: &mut Keyspace) -> io::Result<()> {
    for (path, to) in
        part.base.iter().map(|base| (base, u64::MAX)).chain([(&part.journal, part.to)])
    {
        load_file(path, to, keyspace).map_err(|error| at(path, error))?;
    }
    Ok(())
}

fn load_file(path: &Path, to: u64, keyspace: &mut Keyspace) -> Result<(), String> {
    /// How many bytes are between two lines of the log.
    const PROGRESS_BYTES: u64 = 256 << 20;
    let blob = FileBlob::open(path).map_err(|error| error.to_string())?;
    let (name, mut next) = (path.display(), PROGRESS_BYTES);
    let mut progress = |bytes: u64| {
        if bytes >= next {
            next = bytes + PROGRESS_BYTES;
            tracing::info!("{name}: {} MB are loaded", bytes >> 20);
        }
    };
    replay(keyspace, &blob, to, &mut progress).map_err(|error| error.to_string())
}
