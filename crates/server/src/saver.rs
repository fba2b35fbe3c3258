//! Saver: the thread that writes snapshots to the disk, so that no shard waits for it.
//!
//! ```text
//! shards ──bounded queue──► temporary file ──all have finished──► checksum, fsync, rename, fsync of the folder
//! shards ──bounded queue──► a base each ───all have finished──► fsync, the journal's manifest
//! ```
//!
//! Invariant: the file of before is there, whole, until the new one is on the disk; and so is the journal.
//!
//! Not here: what the bytes mean (`rdb`), when to save (`engine`).

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use basalt_engine::{JournalStart, RewritePlan, SaveEnd, SaveProgress, SaveStart, SaveTarget};
use basalt_journal::FileHeader;
use basalt_rdb::Checksum;

use crate::journal::{Folder, JournalFile, SharedFolder};
use crate::node::Node;

/// LIMIT: chunks that wait for the disk; with more, shards walk on later.
const CHUNKS_WAITING_MAX: usize = 64;
/// So many bytes are written before the system is asked to bring them to the disk: so the page cache is never full of
/// them, and the end does not take long.
const SYNC_EVERY_BYTES: u64 = 32 << 20;
/// LIMIT: files that were made for a shard's journal and that it has not gone on in yet.
const FILES_WAITING_MAX: usize = 8;
/// What ends a file, before its checksum.
const END: u8 = 0xFF;

enum Order {
    Prepare(RewritePlan),
    Begin(SaveStart),
    /// Of a shard.
    Chunk(u64, usize, Vec<u8>),
    Finish(u64),
}

/// What shards hold to have snapshots written.
#[derive(Clone)]
pub(crate) struct Saver {
    orders: SyncSender<Order>,
    shared: Arc<Shared>,
}

struct Shared {
    progress: Mutex<SaveProgress>,
    /// The running save is over before all shards have finished.
    is_given_up: AtomicBool,
    /// For each shard, files that were made for its journal, with the rewrites that they are of.
    files: Mutex<Vec<VecDeque<(u64, File)>>>,
}

/// No thread goes on after a panic, so what a lock guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn progress(&self) -> SaveProgress {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, SaveProgress> {
        lock(&self.progress)
    }

    fn is_running(&self, number: u64) -> bool {
        let progress = self.lock();
        progress.number == number && progress.end.is_none()
    }

    fn begin(&self, number: u64) {
        *self.lock() = SaveProgress { number, ..SaveProgress::default() };
        self.is_given_up.store(false, Ordering::Release);
    }

    /// Ends a save, unless it is over; returns whether it did.
    fn end(&self, number: u64, end: SaveEnd) -> bool {
        self.note(number, |progress| progress.end = Some(end))
    }

    /// Notes something of a save, unless it is over; returns whether it did.
    fn note(&self, number: u64, note: impl FnOnce(&mut SaveProgress)) -> bool {
        let mut progress = self.lock();
        let is_running = progress.number == number && progress.end.is_none();
        if is_running {
            note(&mut progress);
        }
        is_running
    }
}

impl Saver {
    /// Starts the thread, which ends when nobody holds a saver any more.
    pub(crate) fn start(node: Arc<Node>, folder: SharedFolder) -> io::Result<Self> {
        let (orders, received) = sync_channel(CHUNKS_WAITING_MAX);
        let shared = Arc::new(Shared {
            progress: Mutex::new(SaveProgress::default()),
            is_given_up: AtomicBool::new(false),
            files: Mutex::new((0..node.posts.len()).map(|_| VecDeque::new()).collect()),
        });
        let (running, plan) = (None, None);
        let writer = Writer { shared: Arc::clone(&shared), node, folder, running, plan };
        std::thread::Builder::new().name("saver".into()).spawn(move || writer.run(&received))?;
        Ok(Self { orders, shared })
    }

    pub(crate) fn prepare(&self, plan: RewritePlan) {
        let number = plan.number;
        self.shared.begin(number);
        self.order(number, Order::Prepare(plan));
    }

    pub(crate) fn begin(&self, start: SaveStart) {
        let number = start.number;
        match start.target {
            SaveTarget::File { .. } => self.shared.begin(number),
            // It was begun when it was prepared.
            SaveTarget::Bases { .. } if !self.shared.is_running(number) => return,
            SaveTarget::Bases { .. } => {}
        }
        self.order(number, Order::Begin(start));
    }

    fn order(&self, number: u64, order: Order) {
        if self.orders.try_send(order).is_err() {
            let why = "the save before it is still being given up".to_owned();
            self.shared.end(number, SaveEnd::Failed(why));
        }
    }

    /// The file that was made for a shard's journal by a rewrite; those of rewrites before it are given up.
    pub(crate) fn take_file(&self, shard: usize, rewrite: u64) -> Option<JournalFile> {
        let mut files = lock(&self.shared.files);
        while let Some((number, file)) = files[shard].pop_front() {
            if number == rewrite {
                return Some(JournalFile::empty(file));
            }
        }
        None
    }

    pub(crate) fn chunk(&self, number: u64, shard: usize, chunk: Vec<u8>) -> Result<(), Vec<u8>> {
        if !self.shared.is_running(number) {
            return Ok(());
        }
        match self.orders.try_send(Order::Chunk(number, shard, chunk)) {
            Err(TrySendError::Full(Order::Chunk(_, _, chunk))) => Err(chunk),
            _ => Ok(()),
        }
    }

    pub(crate) fn finish(&self, number: u64) -> bool {
        !self.shared.is_running(number) || self.orders.try_send(Order::Finish(number)).is_ok()
    }

    pub(crate) fn cancel(&self, number: u64, end: SaveEnd) {
        if self.shared.end(number, end) {
            self.shared.is_given_up.store(true, Ordering::Release);
            // So that the thread removes its file now; if it has enough to do, it sees that by itself.
            let _ = self.orders.try_send(Order::Finish(number));
        }
    }

    pub(crate) fn progress(&self) -> SaveProgress {
        self.shared.progress()
    }
}

struct Writer {
    shared: Arc<Shared>,
    node: Arc<Node>,
    folder: SharedFolder,
    running: Option<Running>,
    /// A rewrite whose files are there.
    plan: Option<(RewritePlan, Arc<[FileHeader]>)>,
}

/// Files that are being written.
struct Running {
    number: u64,
    shards_left: usize,
    target: Target,
}

enum Target {
    File { file: SnapshotFile, path: PathBuf },
    Bases { outs: Vec<Out>, headers: Arc<[FileHeader]>, positions: Vec<JournalStart> },
}

/// A file of its own name until it is complete.
pub(crate) struct Out {
    file: File,
    path: PathBuf,
    unsynced: u64,
    written: u64,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        for order in orders {
            let number = match &order {
                Order::Prepare(plan) => plan.number,
                Order::Begin(start) => start.number,
                Order::Chunk(number, ..) | Order::Finish(number) => *number,
            };
            if !self.shared.is_running(number) {
                self.drop_temporary();
                continue;
            }
            match self.obey(order) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    tracing::info!("Snapshot of {bytes} bytes written");
                    self.end(number, SaveEnd::Saved);
                }
                Err(error) => {
                    self.drop_temporary();
                    self.end(number, SaveEnd::Failed(error));
                }
            }
        }
        self.drop_temporary();
    }

    fn end(&self, number: u64, end: SaveEnd) {
        self.shared.end(number, end);
        self.node.wake_all();
    }

    /// Does what is ordered; returns how long the file is if it is complete now.
    fn obey(&mut self, order: Order) -> Result<Option<u64>, String> {
        match order {
            Order::Prepare(plan) => self.prepare(plan)?,
            Order::Begin(start) => {
                self.drop_temporary();
                self.running = Some(self.create(start)?);
            }
            Order::Chunk(_, shard, chunk) => {
                if let Some(running) = &mut self.running {
                    running.write(shard, &chunk)?;
                }
            }
            Order::Finish(_) => {
                let Some(running) = &mut self.running else { return Ok(None) };
                running.shards_left -= 1;
                if running.shards_left == 0 {
                    let bytes = running.complete(&self.folder)?;
                    let written = bytes.iter().sum();
                    if let Target::Bases { .. } = running.target {
                        self.shared
                            .note(running.number, |progress| progress.base_bytes = bytes.into());
                    }
                    self.running = None;
                    return Ok(Some(written));
                }
            }
        }
        Ok(None)
    }

    /// Removes what is left of a file that is not completed.
    fn drop_temporary(&mut self) {
        if let Some(running) = self.running.take() {
            for out in running.outs() {
                // One that is gone already is as good.
                let _ = fs::remove_file(&out.path);
            }
        }
    }

    /// Makes the files that shards journal into from now on.
    fn prepare(&mut self, plan: RewritePlan) -> Result<(), String> {
        let number = plan.number;
        let mut folder = lock(&self.folder);
        if plan.begins && folder.as_ref().is_some_and(|folder| !folder.is_named_by(&plan.config)) {
            *folder = None;
        }
        let folder = match &mut *folder {
            Some(folder) => folder,
            none => {
                let opened = Folder::open(&plan.config).map_err(|error| error.to_string())?;
                opened.refuse_foreign(&plan.config).map_err(|error| error.to_string())?;
                none.insert(opened)
            }
        };
        for waiting in lock(&self.shared.files).iter_mut() {
            waiting.retain(|(number, _)| *number <= plan.last_taken);
        }
        if lock(&self.shared.files).iter().any(|waiting| waiting.len() >= FILES_WAITING_MAX) {
            return Err("a shard's journal can't be brought to the disk".to_owned());
        }
        // Without the lock, which shards take: this waits for the disk.
        let (headers, made) = folder.prepare(&plan).map_err(|error| error.to_string())?;
        for (waiting, file) in lock(&self.shared.files).iter_mut().zip(made) {
            waiting.push_back((number, file));
        }
        let headers: Arc<[FileHeader]> = headers.into();
        self.plan = Some((plan, Arc::clone(&headers)));
        // One that was cancelled meanwhile says nothing of the next.
        self.shared.note(number, |progress| progress.prepared = Some(headers));
        self.node.wake_all();
        Ok(())
    }

    fn create(&mut self, start: SaveStart) -> Result<Running, String> {
        let SaveStart { number, shards: shards_left, target } = start;
        let target = match target {
            SaveTarget::File { path, head, has_checksum } => {
                let path = PathBuf::from(&path);
                let temporary = path.with_file_name(format!("temp-{}.rdb", std::process::id()));
                let file = SnapshotFile::create(temporary, has_checksum)?;
                let mut running =
                    Running { number, shards_left, target: Target::File { file, path } };
                running.write(0, &head)?;
                return Ok(running);
            }
            SaveTarget::Bases { positions } => {
                let plan = self.plan.take().filter(|(plan, _)| plan.number == number);
                let (_, headers) = plan.ok_or("the rewrite was not prepared")?;
                let folder = lock(&self.folder);
                let folder = folder.as_ref().ok_or("there is no folder")?;
                let create = |header| {
                    let (file, path) = folder.create_base(header, number)?;
                    Ok(Out { file, path, unsynced: 0, written: 0 })
                };
                let outs = headers.iter().map(create).collect::<io::Result<Vec<Out>>>();
                Target::Bases { outs: outs.map_err(|error| error.to_string())?, headers, positions }
            }
        };
        Ok(Running { number, shards_left, target })
    }
}

impl Out {
    fn explain(&self, what: &str, error: &io::Error) -> String {
        format!("{what} {}: {error}", self.path.display())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| self.explain("writing", &error))?;
        self.written += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY_BYTES {
            self.unsynced = 0;
            self.file.sync_data().map_err(|error| self.explain("syncing", &error))?;
        }
        Ok(())
    }

    fn sync_all(&self) -> Result<(), String> {
        self.file.sync_all().map_err(|error| self.explain("syncing", &error))
    }
}

/// A snapshot file while it is written.
pub(crate) struct SnapshotFile {
    out: Out,
    checksum: Option<Checksum>,
}

impl SnapshotFile {
    pub(crate) fn create(path: PathBuf, has_checksum: bool) -> Result<Self, String> {
        let file = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let out = Out { file, path, unsynced: 0, written: 0 };
        Ok(Self { out, checksum: has_checksum.then(Checksum::default) })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
        self.out.write(bytes)
    }

    /// Writes what ends it, and brings it to the disk.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        self.write(&[END])?;
        let checksum = self.checksum.as_ref().map_or(0, Checksum::value);
        self.out.write(&checksum.to_le_bytes())?;
        self.out.sync_all()
    }
}

impl Running {
    fn outs(&self) -> &[Out] {
        match &self.target {
            Target::File { file, .. } => std::slice::from_ref(&file.out),
            Target::Bases { outs, .. } => outs,
        }
    }

    fn write(&mut self, shard: usize, bytes: &[u8]) -> Result<(), String> {
        match &mut self.target {
            Target::File { file, .. } => file.write(bytes),
            Target::Bases { outs, .. } => outs[shard].write(bytes),
        }
    }

    /// Brings all to the disk, and has it take the place of what was before; returns how long each file is.
    fn complete(&mut self, folder: &SharedFolder) -> Result<Vec<u64>, String> {
        match &mut self.target {
            Target::File { file, path } => {
                file.end()?;
                fs::rename(&file.out.path, &*path)
                    .map_err(|error| format!("renaming to {}: {error}", path.display()))?;
                let folder = path.parent().unwrap_or(Path::new("."));
                let synced = File::open(folder).and_then(|folder| folder.sync_all());
                synced.map_err(|error| format!("syncing {}: {error}", folder.display()))?;
                tracing::debug!("snapshot {} is complete", self.number);
            }
            Target::Bases { outs, headers, positions } => {
                outs.iter().try_for_each(Out::sync_all)?;
                let mut folder = lock(folder);
                let folder = folder.as_mut().ok_or("there is no folder")?;
                let finished = folder.finish_rewrite(headers, self.number, positions);
                finished.map_err(|error| error.to_string())?;
                tracing::debug!("rewrite {} is complete", self.number);
            }
        }
        Ok(self.outs().iter().map(|out| out.written).collect())
    }
}
