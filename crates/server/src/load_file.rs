//! Loading: one thread reads a snapshot file, all shards build their parts at the same time.
//!
//! ```text
//! file ──► Loader ──a bounded queue per shard──► the shard's turns, or its thread before it serves
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use basalt_commands::config::Config;
use basalt_engine::{LoadBatch, LoadStart, LoadStep, Loaded, LoadedJournal, Loader, check_batch};
use basalt_keyspace::ShardId;

use crate::clock::unix_ms;
use crate::foreign_aof::{ForeignAof, Import};
use crate::journal::{SharedFolder, write_snapshot};
use crate::node::Node;

/// LIMIT: batches that wait for a shard; with more the reader waits.
const BATCHES_WAITING_MAX: usize = 16;
const READ_BYTES: usize = 1 << 20;

/// What a shard gets of the file. If it ends without [`LoadStep::End`], the file can't be loaded.
pub(crate) type Batches = Receiver<LoadStep>;

/// A file that is being read.
pub(crate) struct Loading {
    thread: std::thread::JoinHandle<Result<(), String>>,
    /// What it is, for errors.
    name: String,
}

/// Begins to read the snapshot, if there is one; the batches of each shard come by its queue.
pub(crate) fn begin(
    config: &Config,
    node: &Arc<Node>,
) -> io::Result<Option<(Loading, Vec<Batches>)>> {
    let path = Path::new(&config.dir).join(&config.dbfilename);
    let explain = |error: io::Error| {
        io::Error::new(error.kind(), format!("the snapshot {}: {error}", path.display()))
    };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(explain(error)),
    };
    let metadata = file.metadata().map_err(explain)?;
    if metadata.is_dir() {
        return Err(explain(io::ErrorKind::IsADirectory.into()));
    }
    let shard_count = node.posts.len();
    node.loading.total_bytes.store(metadata.len(), Ordering::Relaxed);
    tracing::info!("Loading {}", path.display());
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..shard_count).map(|_| sync_channel(BATCHES_WAITING_MAX)).unzip();
    let loader = Loader::new(shard_count, config.databases, config.rdbchecksum);
    let node = Arc::clone(node);
    let read = move || {
        let note = |offset| node.loading.loaded_bytes.store(offset, Ordering::Relaxed);
        read_for(&senders, file, loader, &note, |shard| node.wake(shard))
    };
    let thread = std::thread::Builder::new().name("loader".into()).spawn(read)?;
    let name = format!("the snapshot {}", path.display());
    Ok(Some((Loading { thread, name }, receivers)))
}

/// Begins to load the append-only file of another program.
pub(crate) fn begin_foreign(
    aof: ForeignAof,
    config: &Arc<Config>,
    node: &Arc<Node>,
    import: &Arc<Import>,
) -> io::Result<(Loading, Vec<Batches>)> {
    node.loading.total_bytes.store(aof.bytes(), Ordering::Relaxed);
    tracing::info!(
        "Loading an append-only file of Redis or Valkey. A journal of this server's own begins with \
         what it holds; its files stay as they are, and are not used any more"
    );
    let (senders, receivers): (Vec<_>, Vec<_>) =
        node.posts.iter().map(|_| sync_channel(BATCHES_WAITING_MAX)).unzip();
    let (config, node, import) = (Arc::clone(config), Arc::clone(node), Arc::clone(import));
    let read = move || aof.load((&node, &config), &senders, &import);
    let thread = std::thread::Builder::new().name("loader".into()).spawn(read)?;
    Ok((Loading { thread, name: "the append-only file".to_owned() }, receivers))
}

impl Loading {
    /// Waits until the file is read.
    ///
    /// # Errors
    /// Why it can't be read.
    pub(crate) fn end(self) -> io::Result<()> {
        let read = self.thread.join().unwrap_or_else(|_| Err("its reader failed".to_owned()));
        read.map_err(|error| {
            let name = &self.name;
            io::Error::other(format!(
                "{name} can't be loaded: {error}. Nothing of it was changed: repair it, \
                 put a backup in its place, or move it away to start empty"
            ))
        })
    }
}

/// A file that is read piece by piece, as much at a time as the item needs that begins there.
pub(crate) struct Chunks {
    file: File,
    buffer: Vec<u8>,
    start: usize,
}

impl Chunks {
    pub(crate) fn new(file: File) -> Self {
        Self { file, buffer: Vec::new(), start: 0 }
    }

    /// What is at hand.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub(crate) fn take(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Reads more; false at the end of the file.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        // An item may be larger than what is read at a time: then twice as much.
        let more = READ_BYTES.max(self.buffer.len());
        Ok(self.file.by_ref().take(more as u64).read_to_end(&mut self.buffer)? > 0)
    }
}

/// Reads a file from its start to its end; `take` gets each batch, and returns whether to go on. `note` hears how many
/// bytes are done.
fn read(
    file: File,
    loader: &mut Loader,
    note: &dyn Fn(u64),
    take: impl FnMut(ShardId, LoadBatch) -> Result<bool, String>,
) -> Result<(), String> {
    read_items(&mut Chunks::new(file), loader, note, take)
}

/// The same of a snapshot that something else may follow in its file.
pub(crate) fn read_items(
    chunks: &mut Chunks,
    loader: &mut Loader,
    note: &dyn Fn(u64),
    mut take: impl FnMut(ShardId, LoadBatch) -> Result<bool, String>,
) -> Result<(), String> {
    while !loader.is_over() {
        let taken = loader.read(chunks.rest()).map_err(|error| error.to_string())?;
        chunks.take(taken);
        let mut has_batch = false;
        while let Some((shard, batch)) = loader.take_batch(loader.is_over()) {
            has_batch = true;
            if !take(shard, batch)? {
                return Ok(());
            }
        }
        note(loader.offset());
        let is_short = taken == 0 && !has_batch;
        if is_short && !chunks.fill().map_err(|error| error.to_string())? {
            let offset = loader.offset();
            return Err(format!("it ends within an item that begins at byte {offset}"));
        }
    }
    Ok(())
}

/// Reads a file for shards, by a queue each; `sent` hears for which one something is there.
fn read_for(
    senders: &[SyncSender<LoadStep>],
    file: File,
    mut loader: Loader,
    note: &dyn Fn(u64),
    sent: impl Fn(usize),
) -> Result<(), String> {
    read(file, &mut loader, note, |shard, batch| {
        // A shard that is gone has its own words.
        let is_there = senders[shard.index()].send(LoadStep::Batch(batch)).is_ok();
        sent(shard.index());
        Ok(is_there)
    })?;
    for (shard, sender) in senders.iter().enumerate() {
        // As above.
        let _ = sender.send(LoadStep::End);
        sent(shard);
    }
    for name in &loader.modules {
        tracing::warn!("Data of the module '{name}' was left out");
    }
    Ok(())
}

/// Files that are loaded while the server runs: each shard takes its part from here.
#[derive(Clone)]
pub(crate) struct Feeder {
    node: Arc<Node>,
    folder: SharedFolder,
    queues: Arc<[Mutex<Option<Batches>>]>,
}

impl Feeder {
    pub(crate) fn new(node: Arc<Node>, folder: SharedFolder) -> Self {
        let queues = node.posts.iter().map(|_| Mutex::default()).collect();
        Self { node, folder, queues }
    }

    /// Begins to read a file for all shards.
    pub(crate) fn begin(&self, start: LoadStart) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            self.queues.iter().map(|_| sync_channel(BATCHES_WAITING_MAX)).unzip();
        for (queue, receiver) in self.queues.iter().zip(receivers) {
            *lock(queue) = Some(receiver);
        }
        let (node, folder) = (Arc::clone(&self.node), Arc::clone(&self.folder));
        let kept = senders.clone();
        let run = move || {
            let sent = |shard| node.wake(shard);
            let loaded = match &start.journal {
                None => check_and_read(&start, &senders, sent),
                Some(journal) => {
                    let written = write_journal(&start, journal, &folder);
                    let loaded = written.and_then(|()| check_and_read(&start, &senders, sent));
                    // Where it could not be made there is none.
                    let _ = std::fs::remove_file(&start.path);
                    loaded
                }
            };
            let Err(error) = loaded else { return };
            for (shard, sender) in senders.iter().enumerate() {
                // A shard that has met its own error does not wait for another.
                let _ = sender.send(LoadStep::Failed(error.clone()));
                node.wake(shard);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("loader".into()).spawn(run) {
            for sender in kept {
                // The queues are empty, so there is room.
                let _ = sender.try_send(LoadStep::Failed(error.to_string()));
            }
        }
    }

    /// What comes next for a shard.
    pub(crate) fn next(&self, shard: usize) -> LoadStep {
        let mut queue = lock(&self.queues[shard]);
        let step = match queue.as_ref().map(Receiver::try_recv) {
            Some(Ok(step)) => step,
            Some(Err(TryRecvError::Empty)) => LoadStep::NotYet,
            Some(Err(TryRecvError::Disconnected)) | None => {
                LoadStep::Failed("its reader failed".to_owned())
            }
        };
        if matches!(step, LoadStep::End | LoadStep::Failed(_)) {
            *queue = None;
        }
        step
    }
}

/// What a lock guards is whole after a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what the journal holds to the file that is to be loaded.
fn write_journal(
    start: &LoadStart,
    journal: &LoadedJournal,
    folder: &SharedFolder,
) -> Result<(), String> {
    let folder = lock(folder);
    let folder = folder.as_ref().ok_or("there is no journal")?;
    write_snapshot(folder, Some(&journal.ends), &journal.config, PathBuf::from(&start.path))
}

fn check_and_read(
    start: &LoadStart,
    senders: &[SyncSender<LoadStep>],
    sent: impl Fn(usize),
) -> Result<(), String> {
    let open = || open_file(Path::new(&start.path)).map_err(|error| error.to_string());
    let now_ms = unix_ms();
    let mut loader = (start.loader)();
    read(open()?, &mut loader, &|_| {}, |_, batch| {
        check_batch(&batch, now_ms).map(|_| true).map_err(|error| error.to_string())
    })?;
    read_for(senders, open()?, (start.loader)(), &|_| {}, sent)
}

/// Opens a file that can be read, and is none of another kind.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file")),
    }
}

/// Logs what came of it.
pub(crate) fn log_loaded(loaded: Loaded, seconds: f64) {
    let Loaded { keys, expired, empty } = loaded;
    tracing::info!(
        "DB loaded from disk: {seconds:.3} seconds. Done loading RDB, keys loaded: {keys}, keys expired: \
         {expired}, empty keys skipped: {empty}"
    );
}
