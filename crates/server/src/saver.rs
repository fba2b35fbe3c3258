//! Saver: the thread that writes snapshots to the disk, so that no shard waits for it.
//!
//! ```text
//! shards ──bounded queue──► temporary file ──all have finished──► checksum, fsync, rename, fsync of the folder
//! ```
//!
//! Invariant: the file of before is there, whole, until the new one is on the disk.
//!
//! Not here: what the bytes mean (`rdb`), when to save (`engine`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use basalt_engine::{SaveEnd, SaveProgress, SaveStart};
use basalt_rdb::Checksum;

use crate::node::Node;

/// LIMIT: chunks that wait for the disk; with more, shards walk on later.
const CHUNKS_WAITING_MAX: usize = 64;
/// So many bytes are written before the system is asked to bring them to the disk: so the page cache is never full of
/// them, and the end does not take long.
const SYNC_EVERY_BYTES: u64 = 32 << 20;
/// What ends a file, before its checksum.
const END: u8 = 0xFF;

enum Order {
    Begin(SaveStart),
    Chunk(u64, Vec<u8>),
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
}

impl Shared {
    fn progress(&self) -> SaveProgress {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, SaveProgress> {
        self.progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_running(&self, number: u64) -> bool {
        let progress = self.lock();
        progress.number == number && progress.end.is_none()
    }

    /// Ends a save, unless it is over; returns whether it did.
    fn end(&self, number: u64, end: SaveEnd) -> bool {
        let mut progress = self.lock();
        let is_running = progress.number == number && progress.end.is_none();
        if is_running {
            progress.end = Some(end);
        }
        is_running
    }
}

impl Saver {
    /// Starts the thread, which ends when nobody holds a saver any more.
    pub(crate) fn start(node: Arc<Node>) -> io::Result<Self> {
        let (orders, received) = sync_channel(CHUNKS_WAITING_MAX);
        let shared = Arc::new(Shared {
            progress: Mutex::new(SaveProgress::default()),
            is_given_up: AtomicBool::new(false),
        });
        let writer = Writer { shared: Arc::clone(&shared), node, running: None };
        std::thread::Builder::new().name("saver".into()).spawn(move || writer.run(&received))?;
        Ok(Self { orders, shared })
    }

    pub(crate) fn begin(&self, start: SaveStart) {
        let number = start.number;
        *self.shared.lock() = SaveProgress { number, end: None };
        self.shared.is_given_up.store(false, Ordering::Release);
        if self.orders.try_send(Order::Begin(start)).is_err() {
            let why = "the save before it is still being given up".to_owned();
            self.shared.end(number, SaveEnd::Failed(why));
        }
    }

    pub(crate) fn chunk(&self, number: u64, chunk: Vec<u8>) -> Result<(), Vec<u8>> {
        if !self.shared.is_running(number) {
            return Ok(());
        }
        match self.orders.try_send(Order::Chunk(number, chunk)) {
            Err(TrySendError::Full(Order::Chunk(_, chunk))) => Err(chunk),
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
    running: Option<Running>,
}

/// A file that is being written.
struct Running {
    number: u64,
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    checksum: Option<Checksum>,
    shards_left: usize,
    unsynced: u64,
    written: u64,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        for order in orders {
            let number = match &order {
                Order::Begin(start) => start.number,
                Order::Chunk(number, _) | Order::Finish(number) => *number,
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
            Order::Begin(start) => {
                self.drop_temporary();
                let running = Running::create(&start)?;
                self.running = Some(running);
            }
            Order::Chunk(_, chunk) => {
                if let Some(running) = &mut self.running {
                    running.write(&chunk)?;
                }
            }
            Order::Finish(_) => {
                let Some(running) = &mut self.running else { return Ok(None) };
                running.shards_left -= 1;
                if running.shards_left == 0 {
                    running.complete()?;
                    let written = running.written;
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
            // One that is gone already is as good.
            let _ = fs::remove_file(&running.temporary);
        }
    }
}

impl Running {
    fn create(start: &SaveStart) -> Result<Self, String> {
        let path = PathBuf::from(&start.path);
        let temporary = path.with_file_name(format!("temp-{}.rdb", std::process::id()));
        let explain = |error| format!("{}: {error}", temporary.display());
        let file = File::create(&temporary).map_err(explain)?;
        let mut running = Self {
            number: start.number,
            file,
            path,
            temporary,
            checksum: start.has_checksum.then(Checksum::default),
            shards_left: start.shards,
            unsynced: 0,
            written: 0,
        };
        running.write(&start.head)?;
        Ok(running)
    }

    fn explain(&self, what: &str, error: &io::Error) -> String {
        format!("{what} {}: {error}", self.temporary.display())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
        self.write_raw(bytes)
    }

    fn write_raw(&mut self, bytes: &[u8]) -> Result<(), String> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| self.explain("writing", &error))?;
        self.written += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced >= SYNC_EVERY_BYTES {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), String> {
        self.unsynced = 0;
        self.file.sync_data().map_err(|error| self.explain("syncing", &error))
    }

    fn complete(&mut self) -> Result<(), String> {
        self.write(&[END])?;
        let checksum = self.checksum.as_ref().map_or(0, Checksum::value);
        self.write_raw(&checksum.to_le_bytes())?;
        self.file.sync_all().map_err(|error| self.explain("syncing", &error))?;
        fs::rename(&self.temporary, &self.path)
            .map_err(|error| format!("renaming to {}: {error}", self.path.display()))?;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| format!("syncing {}: {error}", folder.display()))?;
        tracing::debug!("snapshot {} is complete", self.number);
        Ok(())
    }
}
