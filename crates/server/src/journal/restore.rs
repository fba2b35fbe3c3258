//! Restore: the data of a journal's files into the shards of this process, however many wrote them.
//!
//! Each file is replayed into a keyspace of its own, by the threads of the shards side by side: the file of shard n
//! by thread n modulo their number. Between generations, and at the end, slots go to the shards that have them then.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use basalt_commands::config::Config;
use basalt_engine::{Core, Replayed, give_out_foreign, replay};
use basalt_journal::{FileHeader, FileKind, GENERATIONS_MAX, Kept, Scan, Segment, keep, scan};
use basalt_keyspace::{Keyspace, ShardId, SlotBundle};

use super::blob::FileBlob;
use super::folder::{Folder, at, base_name, headers};
use super::meeting::Meeting;
use super::{JournalFile, SharedFolder, base};

/// A rewrite at start pays where so much was journaled since the last.
const GROWN_BYTES_MIN: u64 = 64 << 20;

/// A shard's part of a generation, found sound.
struct Part {
    base: Option<PathBuf>,
    /// Each goes on where the one before it ends; the first begins here.
    journals: Vec<PathBuf>,
    start: u64,
    /// The positions that are replayed.
    kept: Range<u64>,
}

/// Bundles of slots for keyspaces, by the thread that has them.
type Mailbox = Mutex<Vec<(usize, SlotBundle)>>;

/// All that the threads of the shards need to load the journal.
pub(crate) struct Recovery {
    shards: usize,
    generations: Vec<Vec<Part>>,
    headers: Vec<FileHeader>,
    rewrites: bool,
    /// How long all files are.
    bytes: u64,
    folder: SharedFolder,
    meeting: Meeting,
    mailboxes: Vec<Mailbox>,
    files: Mutex<Vec<Option<std::fs::File>>>,
    /// What the server held last beside keys; the journals of first shards tell of it.
    state: Mutex<Option<Vec<u8>>>,
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
        shared: &SharedFolder,
        shards: usize,
        (salt, now_ms): (u64, u64),
        config: &Config,
    ) -> io::Result<Self> {
        let begun = Instant::now();
        let locked = lock(shared);
        let folder = locked.as_ref().expect("it is open where there is a journal");
        let mut generations = Vec::new();
        let (mut base_bytes, mut journal_bytes) = (0, 0);
        let last = folder.manifest.generations.len().saturating_sub(1);
        for (index, generation) in folder.manifest.generations.iter().enumerate() {
            let number = generation.number;
            let mut parts = Vec::new();
            let mut found = Vec::new();
            for (shard, scans) in scan_all(folder, &generation.shards).into_iter().enumerate() {
                let scans = scans?;
                for (path, scan) in &scans {
                    check(scan, (number, shard, generation.shards.len()), FileKind::Journal)
                        .map_err(|error| at(path, error))?;
                    journal_bytes += scan.tail.offset;
                }
                found.push(scans);
            }
            let from: Vec<u64> = generation.shards.iter().map(|segment| segment.from).collect();
            let kept = if index == last { Some(keep_all(&found, &from, config)?) } else { None };
            for (shard, (segment, scans)) in generation.shards.iter().zip(&found).enumerate() {
                let path = &scans.last().expect("each shard has a journal").0;
                let end = scans.iter().map(|(_, scan)| scan.end).max().unwrap_or_default();
                let to = match (&kept, segment.end) {
                    (Some(kept), _) => kept[shard].to,
                    (None, Some(to)) if to <= end.max(segment.from) => to,
                    (None, _) => return Err(at(path, "it is shorter than the manifest says")),
                };
                let base = segment.base.as_ref().map(|base| folder.file(base));
                if let Some(path) = &base {
                    let scan = scan_file(path, 0).map_err(|error| at(path, error))?;
                    check(&scan, (number, shard, generation.shards.len()), FileKind::Base)
                        .map_err(|error| at(path, error))?;
                    base_bytes += scan.end;
                }
                let journals = scans.iter().map(|(path, _)| path.clone()).collect();
                parts.push(Part { base, journals, start: segment.start, kept: segment.from..to });
            }
            generations.push(parts);
        }
        let is_grown = journal_bytes > base_bytes.max(GROWN_BYTES_MIN);
        let headers = headers(folder.next_number(), shards, salt, now_ms);
        drop(locked);
        Ok(Self {
            shards,
            rewrites: is_grown || generations.len() >= GENERATIONS_MAX / 2,
            generations,
            headers,
            bytes: base_bytes + journal_bytes,
            folder: Arc::clone(shared),
            meeting: Meeting::of(shards),
            mailboxes: (0..shards).map(|_| Mailbox::default()).collect(),
            files: Mutex::default(),
            state: Mutex::default(),
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

fn scan_file(path: &Path, start: u64) -> Result<Scan, String> {
    let blob = FileBlob::open(path).map_err(|error| error.to_string())?;
    scan(&blob, start).map_err(|error| error.to_string())
}

/// The journals of a shard, in their order, each with what was found in it.
type Scanned = Vec<(PathBuf, Scan)>;

/// Scans the journals of all shards side by side.
fn scan_all(folder: &Folder, segments: &[Segment]) -> Vec<io::Result<Scanned>> {
    let scan_one = |segment: &Segment| {
        let mut position = segment.start;
        let mut scans = Vec::new();
        for name in &segment.journals {
            let path = folder.file(name);
            let scan = scan_file(&path, position).map_err(|error| at(&path, error))?;
            position = scan.end;
            scans.push((path, scan));
        }
        Ok(scans)
    };
    std::thread::scope(|scope| {
        let scans: Vec<_> =
            segments.iter().map(|segment| scope.spawn(move || scan_one(segment))).collect();
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
fn keep_all(found: &[Scanned], from: &[u64], config: &Config) -> io::Result<Vec<Kept>> {
    let all = found.iter().map(|scans| {
        let scans = scans.iter().map(|(_, scan)| scan.clone());
        scans.reduce(|mut all, next| {
            all.append(next);
            all
        })
    });
    let all: Vec<Scan> = all.map(|scan| scan.expect("each shard has a journal")).collect();
    let kept = keep(&all, from);
    let last = |scans: &Scanned| scans.iter().map(|(path, _)| path.clone()).next_back();
    let files = found.iter().zip(&kept).flat_map(|(scans, kept)| {
        let last = last(scans);
        scans.iter().map(move |(path, scan)| {
            let dropped = if Some(path) == last.as_ref() { kept.dropped } else { 0 };
            (path, scan.tail, dropped)
        })
    });
    for (path, tail, dropped) in files {
        let name = path.display();
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
        if dropped > 0 {
            tracing::warn!(
                "{name}: {dropped} bytes behind the last moment that all shards have on disk are dropped"
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
                let state = load(&generation[index], own.keyspace(index, core))?;
                if let (0, Some(state)) = (index, state) {
                    *lock(&recovery.state) = Some(state);
                }
            }
        }
        // Also where their number is the same: slots may have moved.
        self.hand_over(&mut own, core, (layout, recovery.shards))?;
        let state = lock(&recovery.state).clone();
        if let Some(state) = state {
            core.restore_state(&state).map_err(|error| io::Error::other(error.to_string()))?;
        }
        if recovery.rewrites {
            self.write_base(core)?;
        }
        if recovery.meet()? {
            self.begin_generation()?;
        }
        recovery.meet()?;
        let file = lock(&recovery.files)[self.shard].take();
        let file = file.expect("a file for each shard was made");
        let bytes = if self.shard == 0 { recovery.bytes } else { 0 };
        core.begin_journal(recovery.headers[self.shard], bytes);
        Ok(Some(JournalFile::empty(file)))
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
        let header = self.recovery.headers[self.shard];
        let path = self.with_folder(|folder| folder.file(&base_name(&header)));
        let state = (self.shard == 0).then(|| core.state());
        base::write(&path, header, state.as_deref(), core.keyspace())
            .map_err(|error| at(&path, error))
    }

    fn with_folder<T>(&self, run: impl FnOnce(&mut Folder) -> T) -> T {
        let mut folder = lock(&self.recovery.folder);
        run(folder.as_mut().expect("it is open where there is a journal"))
    }

    fn begin_generation(&self) -> io::Result<()> {
        let Recovery { headers, generations, rewrites, .. } = self.recovery;
        let ends: Vec<Vec<u64>> = generations
            .iter()
            .map(|parts| parts.iter().map(|part| part.kept.end).collect())
            .collect();
        let files = self.with_folder(|folder| folder.begin(headers, &ends, *rewrites))?;
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

fn load(part: &Part, keyspace: &mut Keyspace) -> io::Result<Option<Vec<u8>>> {
    let mut state = None;
    if let Some(path) = &part.base {
        let base = load_file(path, 0, &(0..u64::MAX), keyspace);
        state = base.map_err(|error| at(path, error))?.state;
    }
    let mut position = part.start;
    for path in &part.journals {
        let own = load_file(path, position, &part.kept, keyspace);
        let own = own.map_err(|error| at(path, error))?;
        position = own.position;
        state = own.state.or(state);
    }
    // What the base holds may be missing.
    let is_whole = position >= part.kept.end || part.kept.is_empty();
    let last = part.journals.last().map_or(Path::new(""), PathBuf::as_path);
    if is_whole { Ok(state) } else { Err(at(last, "it changed while it was read")) }
}

fn load_file(
    path: &Path,
    start: u64,
    kept: &Range<u64>,
    keyspace: &mut Keyspace,
) -> Result<Replayed, String> {
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
    replay(keyspace, &blob, start, kept, &mut progress).map_err(|error| error.to_string())
}
