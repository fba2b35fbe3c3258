//! Restore: the data of a journal's files into the shards of this process, however many wrote them.
//!
//! A thread checks all files. Then each is replayed into a keyspace of its own, by the shards side by side: the file
//! of shard n by shard n modulo their number, in slices between their turns. Between generations, and at the end,
//! slots go to the shards that have them then.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use basalt_commands::config::Config;
use basalt_engine::{Core, Replay, give_out_foreign};
use basalt_journal::{FileHeader, FileKind, GENERATIONS_MAX, Kept, Scan, Segment, keep, scan};
use basalt_keyspace::{Keyspace, ShardId, SlotBundle};

use super::blob::FileBlob;
use super::folder::{Folder, at, base_name, headers};
use super::meeting::Meeting;
use super::{JournalFile, SharedFolder, base};
use crate::node::Node;

/// A rewrite pays where so much was journaled since the last.
const GROWN_BYTES_MIN: u64 = 64 << 20;

/// A shard's part of a generation, found sound.
pub(super) struct Part {
    base: Option<PathBuf>,
    /// Each goes on where the one before it ends; the first begins here.
    journals: Vec<PathBuf>,
    start: u64,
    /// The positions that are replayed.
    kept: Range<u64>,
}

/// Bundles of slots for keyspaces, by the shard whose thread has them.
type Mailbox = Mutex<Vec<(usize, SlotBundle)>>;

/// What the files hold.
struct Found {
    generations: Vec<Vec<Part>>,
    headers: Vec<FileHeader>,
    /// The next generation begins with bases.
    rewrites: bool,
    /// A rewrite pays.
    is_grown: bool,
    /// How long all files are.
    bytes: u64,
}

/// All that shards need to load the journal.
pub(crate) struct Recovery {
    node: Arc<Node>,
    folder: SharedFolder,
    /// Once the files are checked; or what is wrong with them.
    found: OnceLock<Result<Found, String>>,
    meeting: Meeting,
    mailboxes: Vec<Mailbox>,
    files: Mutex<Vec<Option<std::fs::File>>>,
    /// What the server held last beside keys; the journals of first shards have it.
    state: Mutex<Option<Vec<u8>>>,
}

impl Recovery {
    /// Has a thread read and check all files of the folder, which is open.
    pub(crate) fn begin(
        node: Arc<Node>,
        folder: SharedFolder,
        salt_and_now_ms: (u64, u64),
        config: Arc<Config>,
    ) -> io::Result<Arc<Self>> {
        let shards = node.posts.len();
        let recovery = Arc::new(Self {
            node,
            folder,
            found: OnceLock::new(),
            meeting: Meeting::of(shards),
            mailboxes: (0..shards).map(|_| Mailbox::default()).collect(),
            files: Mutex::default(),
            state: Mutex::default(),
        });
        let own = Arc::clone(&recovery);
        let check = move || {
            let found = own.check(salt_and_now_ms, &config).map_err(|error| error.to_string());
            // It is set here only.
            let _ = own.found.set(found);
            own.node.wake_all();
        };
        std::thread::Builder::new().name("journal".into()).spawn(check)?;
        Ok(recovery)
    }

    /// # Errors
    /// Where a file can't be read, is not ours, or is damaged.
    fn check(&self, (salt, now_ms): (u64, u64), config: &Config) -> io::Result<Found> {
        let locked = lock(&self.folder);
        let folder = locked.as_ref().expect("it is open where there is a journal");
        let (generations, base_bytes, journal_bytes) = find(folder, None, config)?;
        let is_grown = journal_bytes > base_bytes.max(GROWN_BYTES_MIN);
        let headers = headers(folder.next_number(), self.node.posts.len(), salt, now_ms);
        let rewrites = generations.len() >= GENERATIONS_MAX / 2;
        let bytes = base_bytes + journal_bytes;
        self.node.loading.total_bytes.store(bytes, Ordering::Relaxed);
        Ok(Found { generations, headers, rewrites, is_grown, bytes })
    }

    /// What the files hold, once that is known.
    fn found(&self) -> io::Result<Option<&Found>> {
        match self.found.get() {
            None => Ok(None),
            Some(Ok(found)) => Ok(Some(found)),
            Some(Err(error)) => Err(io::Error::other(error.as_str())),
        }
    }

    fn with_folder<T>(&self, run: impl FnOnce(&mut Folder) -> T) -> T {
        let mut folder = lock(&self.folder);
        run(folder.as_mut().expect("it is open where there is a journal"))
    }

    /// Makes the files of the next generation.
    fn begin_generation(&self, found: &Found) -> io::Result<()> {
        let Found { headers, generations, rewrites, .. } = found;
        let ends: Vec<Vec<u64>> = generations
            .iter()
            .map(|parts| parts.iter().map(|part| part.kept.end).collect())
            .collect();
        let files = self.with_folder(|folder| folder.begin(headers, &ends, *rewrites))?;
        *lock(&self.files) = files.into_iter().map(Some).collect();
        Ok(())
    }
}

/// No thread goes on after a panic, so what a lock guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of each generation, shard by shard, as far as they are kept: those of the last up to the positions `ends`,
/// or as after a crash. With them, how many bytes the bases and the journals have.
///
/// # Errors
/// Where a file can't be read, is not ours, is damaged, or ends too early; `WouldBlock` where it may reach `ends` yet.
pub(super) fn find(
    folder: &Folder,
    ends: Option<&[u64]>,
    config: &Config,
) -> io::Result<(Vec<Vec<Part>>, u64, u64)> {
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
        let kept = match ends.filter(|_| index == last) {
            Some(ends) => {
                let kept = |to: &u64| Kept { to: *to, dropped: 0 };
                Some(ends.iter().map(kept).collect())
            }
            None if index == last => Some(keep_all(&found, &from, config)?),
            None => None,
        };
        for (shard, (segment, scans)) in generation.shards.iter().zip(&found).enumerate() {
            let path = &scans.last().expect("each shard has a journal").0;
            let end = scans.iter().map(|(_, scan)| scan.end).max().unwrap_or_default();
            if ends.is_some_and(|ends| index == last && ends[shard] > end.max(segment.from)) {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "it is not all written yet"));
            }
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
    Ok((generations, base_bytes, journal_bytes))
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

/// What a shard does next of a restoration.
#[derive(Clone, Copy)]
enum Step {
    /// Has keyspaces for the shards of so many.
    Hold(usize),
    /// Replays the files of a shard of a generation.
    Replay {
        generation: usize,
        shard: usize,
    },
    /// Gives slots to the shards that have them in a layout of other shards, or after they moved.
    GiveOut {
        from: usize,
        to: usize,
    },
    /// Waits until all shards have come so far.
    Meet,
    /// Takes in the slots that others gave.
    TakeIn {
        from: usize,
        to: usize,
    },
    /// Takes over what the server held beside keys.
    TakeState,
    WriteBase,
    /// The first shard makes the files of the next generation.
    Begin,
    /// Goes on in its file.
    Open,
}

/// What has come of a slice.
pub enum Restored {
    /// There is more to do at once.
    More,
    /// Others are waited for.
    Waits,
    /// All is there, and the journal goes on in this file.
    Whole(Option<JournalFile>),
}

/// One shard's part of loading the journal.
pub struct Restore {
    recovery: Arc<Recovery>,
    shard: usize,
    config: Arc<Config>,
    own: Own,
    /// What is left to do, once that is known.
    steps: Option<VecDeque<Step>>,
    replaying: Option<Replaying>,
    /// The round of the meeting that it waits for.
    round: Option<u64>,
}

impl Restore {
    pub(crate) fn new(recovery: Arc<Recovery>, shard: usize, config: Arc<Config>) -> Self {
        let threads = recovery.node.posts.len();
        let own = Own { shard, threads, layout: 0, keyspaces: Vec::new() };
        Self { recovery, shard, config, own, steps: None, replaying: None, round: None }
    }

    /// This shard can't go on, so none does.
    pub(crate) fn fail(&self, error: &io::Error) {
        self.recovery.meeting.fail(error.to_string());
        self.recovery.node.wake_all();
    }

    /// Loads this shard's share as long as `more` says, and begins the next generation with all others.
    ///
    /// # Errors
    /// Where a file is refused, of whichever shard.
    pub(crate) fn run(
        &mut self,
        core: &mut Core,
        more: &mut dyn FnMut() -> bool,
    ) -> io::Result<Restored> {
        let recovery = Arc::clone(&self.recovery);
        let Some(found) = recovery.found()? else { return Ok(Restored::Waits) };
        let mut steps =
            self.steps.take().unwrap_or_else(|| plan(found, self.own.threads, self.shard));
        while let Some(step) = steps.front().copied() {
            if let Step::Open = step {
                return self.open(core, found).map(|file| Restored::Whole(Some(file)));
            }
            let is_done = self.step(step, core, found, more)?;
            if is_done {
                steps.pop_front();
            }
            let waits = !is_done && matches!(step, Step::Meet);
            if waits || !more() {
                self.steps = Some(steps);
                return Ok(if waits { Restored::Waits } else { Restored::More });
            }
        }
        Ok(Restored::Waits)
    }

    /// Does a step, or a slice of it; returns whether it is done.
    fn step(
        &mut self,
        step: Step,
        core: &mut Core,
        found: &Found,
        more: &mut dyn FnMut() -> bool,
    ) -> io::Result<bool> {
        match step {
            Step::Hold(layout) => self.own.hold(layout, core, &self.config),
            Step::Replay { generation, shard } => {
                let part = &found.generations[generation][shard];
                return self.replay(part, shard, core, more);
            }
            Step::GiveOut { from, to } => self.give_out(core, from, to),
            Step::Meet => {
                let meeting = &self.recovery.meeting;
                let round = *self.round.get_or_insert_with(|| meeting.arrive());
                if !meeting.is_over(round).map_err(io::Error::other)? {
                    return Ok(false);
                }
                self.round = None;
                self.recovery.node.wake_all();
            }
            Step::TakeIn { from, to } => {
                if from != to && self.own.layout != to {
                    self.own.hold(to, core, &self.config);
                }
                let Some((target, bundle)) = lock(&self.recovery.mailboxes[self.shard]).pop()
                else {
                    return Ok(true);
                };
                self.own.keyspace(target, core).attach_with_expiry(bundle);
                return Ok(false);
            }
            Step::TakeState => {
                let state = lock(&self.recovery.state).clone();
                if let Some(state) = state {
                    let restored = core.restore_state(&state);
                    restored.map_err(|error| io::Error::other(error.to_string()))?;
                }
            }
            Step::WriteBase => {
                let header = found.headers[self.shard];
                let path = self.recovery.with_folder(|folder| folder.file(&base_name(&header)));
                let state = (self.shard == 0).then(|| core.state());
                base::write(&path, header, state.as_deref(), core.keyspace())
                    .map_err(|error| at(&path, error))?;
            }
            Step::Begin => self.recovery.begin_generation(found)?,
            Step::Open => {}
        }
        Ok(true)
    }

    fn replay(
        &mut self,
        part: &Part,
        shard: usize,
        core: &mut Core,
        more: &mut dyn FnMut() -> bool,
    ) -> io::Result<bool> {
        let mut replaying = self.replaying.take().unwrap_or_else(|| Replaying::of(part));
        let keyspace = self.own.keyspace(shard, core);
        let (mut bytes, mut is_done) = (0, false);
        while !is_done && more() {
            match replaying.step(part, keyspace, &mut bytes)? {
                true => {}
                false => is_done = true,
            }
        }
        self.recovery.node.loading.loaded_bytes.fetch_add(bytes, Ordering::Relaxed);
        if !is_done {
            self.replaying = Some(replaying);
        } else if let (0, Some(state)) = (shard, replaying.state) {
            *lock(&self.recovery.state) = Some(state);
        }
        Ok(is_done)
    }

    fn give_out(&mut self, core: &mut Core, from: usize, to: usize) {
        let recovery = &self.recovery;
        for index in self.own.indices(from) {
            let stays = (from == to).then_some(ShardId(index as u16));
            for (target, bundle) in give_out_foreign(self.own.keyspace(index, core), stays, to) {
                let mailbox = &recovery.mailboxes[target.index() % recovery.mailboxes.len()];
                lock(mailbox).push((target.index(), bundle));
            }
        }
    }

    fn open(&self, core: &mut Core, found: &Found) -> io::Result<JournalFile> {
        let file = lock(&self.recovery.files)[self.shard].take();
        let file = file.ok_or_else(|| io::Error::other("the journal's files were not made"))?;
        let bytes = if self.shard == 0 { found.bytes } else { 0 };
        core.begin_journal(found.headers[self.shard], bytes);
        if found.is_grown && !found.rewrites {
            core.want_rewrite();
        }
        Ok(JournalFile::empty(file))
    }
}

/// All steps of a shard, in their order.
fn plan(found: &Found, shards: usize, own: usize) -> VecDeque<Step> {
    let mut steps = VecDeque::new();
    let hand_over = |steps: &mut VecDeque<Step>, from, to| {
        steps.extend([Step::GiveOut { from, to }, Step::Meet]);
        steps.extend([Step::TakeIn { from, to }, Step::Meet]);
    };
    let mut layout = found.generations.first().map_or(shards, Vec::len);
    steps.push_back(Step::Hold(layout));
    for (generation, parts) in found.generations.iter().enumerate() {
        if parts.len() != layout {
            hand_over(&mut steps, layout, parts.len());
            layout = parts.len();
        }
        let files = (own..layout).step_by(shards);
        steps.extend(files.map(|shard| Step::Replay { generation, shard }));
    }
    // Also where their number is the same: slots may have moved.
    hand_over(&mut steps, layout, shards);
    steps.push_back(Step::TakeState);
    if found.rewrites {
        steps.push_back(Step::WriteBase);
    }
    steps.push_back(Step::Meet);
    if own == 0 {
        steps.push_back(Step::Begin);
    }
    steps.extend([Step::Meet, Step::Open]);
    steps
}

/// The keyspaces that a shard fills.
struct Own {
    shard: usize,
    threads: usize,
    /// Of how many shards they are.
    layout: usize,
    /// Of other layouts than this process has: there the core's own does.
    keyspaces: Vec<Keyspace>,
}

impl Own {
    fn indices(&self, layout: usize) -> Vec<usize> {
        (self.shard..layout).step_by(self.threads).collect()
    }

    fn hold(&mut self, layout: usize, core: &mut Core, config: &Config) {
        self.keyspaces.clear();
        self.layout = layout;
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

/// The files of a part while they are replayed.
#[derive(Default)]
pub(super) struct Replaying {
    /// Files that are not begun yet, the base before the journals.
    files: VecDeque<PathBuf>,
    /// The first of the journals is still to come.
    in_base: bool,
    running: Option<(PathBuf, Replay<FileBlob>)>,
    position: u64,
    pub(super) state: Option<Vec<u8>>,
}

impl Replaying {
    pub(super) fn of(part: &Part) -> Self {
        let files = part.base.iter().chain(&part.journals).cloned().collect();
        let (in_base, position) = (part.base.is_some(), part.start);
        Self { files, in_base, position, ..Self::default() }
    }

    /// Does a frame again, and adds to `bytes` how many bytes of a file that were; false where nothing is left.
    ///
    /// # Errors
    /// Where a file can't be read, or is not what it was when it was checked.
    pub(super) fn step(
        &mut self,
        part: &Part,
        keyspace: &mut Keyspace,
        bytes: &mut u64,
    ) -> io::Result<bool> {
        let Some((path, replay)) = &mut self.running else {
            let Some(path) = self.files.pop_front() else {
                // What the base holds may be missing.
                let is_whole = self.position >= part.kept.end || part.kept.is_empty();
                let last = part.journals.last().map_or(Path::new(""), PathBuf::as_path);
                return if is_whole {
                    Ok(false)
                } else {
                    Err(at(last, "it changed while it was read"))
                };
            };
            let (start, kept) = match self.in_base {
                true => (0, 0..u64::MAX),
                false => (self.position, part.kept.clone()),
            };
            let blob = FileBlob::open(&path).map_err(|error| at(&path, error))?;
            let replay = Replay::of(blob, start, &kept).map_err(|error| at(&path, error))?;
            self.running = Some((path, replay));
            return Ok(true);
        };
        let before = replay.offset();
        let has_more = replay.step(keyspace).map_err(|error| at(path, error))?;
        *bytes += replay.offset() - before;
        if !has_more && let Some((_, replay)) = self.running.take() {
            let own = replay.end();
            self.state = own.state.or(self.state.take());
            if !std::mem::take(&mut self.in_base) {
                self.position = own.position;
            }
        }
        Ok(true)
    }
}
