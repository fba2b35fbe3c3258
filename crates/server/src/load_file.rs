//! Loading at the start: one thread reads the file, all shards build their parts at the same time.
//!
//! ```text
//! file ──► Loader ──a bounded queue per shard──► the shard's thread, before it serves
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use basalt_commands::config::Config;
use basalt_engine::{LoadBatch, Loaded, Loader};

/// LIMIT: batches that wait for a shard; with more the reader waits.
const BATCHES_WAITING_MAX: usize = 16;
const READ_BYTES: usize = 1 << 20;
/// How many bytes are read between two lines of the log.
const LOG_EVERY_BYTES: u64 = 1 << 30;

/// What a shard gets of the file; `None` when all of it was read. If it ends without, the file can't be loaded.
pub(crate) type Batches = Receiver<Option<LoadBatch>>;

/// A file that is being read.
pub(crate) struct Loading {
    thread: std::thread::JoinHandle<Result<(), String>>,
    pub(crate) path: PathBuf,
}

/// Begins to read the snapshot, if there is one; the batches of each shard come by its queue.
pub(crate) fn begin(
    config: &Config,
    shard_count: usize,
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
    if file.metadata().map_err(explain)?.is_dir() {
        return Err(explain(io::ErrorKind::IsADirectory.into()));
    }
    tracing::info!("Loading {}", path.display());
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..shard_count).map(|_| sync_channel(BATCHES_WAITING_MAX)).unzip();
    let loader = Loader::new(shard_count, config.databases, config.rdbchecksum);
    let read = move || read(file, loader, &senders);
    let thread = std::thread::Builder::new().name("loader".into()).spawn(read)?;
    Ok(Some((Loading { thread, path }, receivers)))
}

impl Loading {
    /// Waits until the file is read; says why it can't be.
    pub(crate) fn end(self) -> io::Result<()> {
        let read = self.thread.join().unwrap_or_else(|_| Err("its reader failed".to_owned()));
        read.map_err(|error| {
            let path = self.path.display();
            io::Error::other(format!(
                "the snapshot {path} can't be loaded: {error}. Nothing of it was changed: repair it, \
                 put a backup in its place, or move it away to start empty"
            ))
        })
    }
}

fn read(
    mut file: File,
    mut loader: Loader,
    senders: &[SyncSender<Option<LoadBatch>>],
) -> Result<(), String> {
    let mut buffer: Vec<u8> = Vec::new();
    let (mut start, mut logged) = (0, 0);
    while !loader.is_over() {
        let taken = loader.read(&buffer[start..]).map_err(|error| error.to_string())?;
        start += taken;
        let mut has_sent = false;
        while let Some((shard, batch)) = loader.take_batch(loader.is_over()) {
            has_sent = true;
            // A shard that is gone has its own words.
            if senders[shard.index()].send(Some(batch)).is_err() {
                return Ok(());
            }
        }
        if loader.offset() >= logged + LOG_EVERY_BYTES {
            logged = loader.offset();
            tracing::info!("Loading: {} MiB read", logged >> 20);
        }
        if taken == 0 && !has_sent {
            buffer.drain(..start);
            start = 0;
            // An item may be larger than what is read at a time: then twice as much.
            let more = READ_BYTES.max(buffer.len());
            let read = file.by_ref().take(more as u64).read_to_end(&mut buffer);
            if read.map_err(|error| error.to_string())? == 0 {
                let offset = loader.offset();
                return Err(format!("it ends within an item that begins at byte {offset}"));
            }
        }
    }
    for sender in senders {
        // As above.
        let _ = sender.send(None);
    }
    for name in &loader.modules {
        tracing::warn!("Data of the module '{name}' was left out");
    }
    if !loader.functions.is_empty() {
        let count = loader.functions.len();
        tracing::warn!("{count} libraries of functions were left out: there are no functions yet");
    }
    Ok(())
}

/// Says what came of it.
pub(crate) fn log_loaded(loaded: Loaded, seconds: f64) {
    let Loaded { keys, expired, empty } = loaded;
    tracing::info!(
        "DB loaded from disk: {seconds:.3} seconds. Done loading RDB, keys loaded: {keys}, keys expired: \
         {expired}, empty keys skipped: {empty}"
    );
}
