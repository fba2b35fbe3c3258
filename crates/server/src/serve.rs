//! Serve: starts one executor per shard and waits for their end.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::Duration;

use basalt_commands::config::{Auto, Config};
use basalt_engine::{CoreSetup, Loaded};
use basalt_keyspace::{KeyHasher, ShardId};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

use crate::acceptor::Acceptor;
use crate::clock::Clock;
use crate::core_loop::{CoreLoop, Parts};
use crate::cpus::Cpus;
use crate::engine::Engine;
use crate::foreign_aof::{self, Import};
use crate::journal::{Folder, Recovery, Restore, SharedFolder};
use crate::limits::{MESH_CAPACITY, SHARDS_MAX};
use crate::listen::Listener;
use crate::listeners::{Listeners, apply_settings};
use crate::load_file::{self, Batches, Feeder, Loading};
use crate::memory;
use crate::mesh::{self, Port};
use crate::node::{Node, Stage, Statistics};
use crate::observe::{Askers, Mailbox, mailboxes};
use crate::oom_score;
use crate::outside::{Outside, Packet};
use crate::ring::Ring;
use crate::saver::Saver;
use crate::startup::{Source, Startup};

/// Glommio can go to sleep over a task that may run when this timer fires at an unlucky moment, so it
/// practically never fires. Nothing relies on it: the loop gives way by itself.
const PREEMPT_TIMER: Duration = Duration::from_secs(3600);
/// What glommio locks for its file buffers, of which we need next to none.
const GLOMMIO_IO_BYTES: usize = 64 * 1024;
/// Entries of each of glommio's rings.
const GLOMMIO_RING_DEPTH: usize = 64;
/// How long is between two lines of the log while data is loaded.
const LOG_EVERY: Duration = Duration::from_secs(3);

/// A running server.
pub struct Serving {
    node: Arc<Node>,
    shards: Vec<ExecutorJoinHandle<io::Result<()>>>,
    askers: Option<Askers>,
}

/// A server that answers, but may not have loaded all data yet.
pub struct Starting {
    pub serving: Serving,
    loading: Option<Loading>,
    /// What each shard has loaded, once it serves all of it.
    reports: mpsc::Receiver<io::Result<Loaded>>,
}

impl Serving {
    /// Something by which any thread can end the server.
    pub fn node(&self) -> Arc<Node> {
        Arc::clone(&self.node)
    }

    pub fn shard_count(&self) -> usize {
        self.shards.len()
    }

    /// By which others ask the shards; given once.
    pub(crate) fn take_askers(&mut self) -> Option<Askers> {
        self.askers.take()
    }

    /// Waits until all shards have ended. An error is why one of them could not go on.
    pub fn join(self) -> io::Result<()> {
        let mut result = Ok(());
        for shard in self.shards {
            let ended = shard.join().map_err(io::Error::from).flatten();
            result = result.and(ended);
        }
        result
    }
}

impl Starting {
    /// Waits until all data is loaded, with a line in the log now and then; returns whether that is so, or the process
    /// ends before.
    ///
    /// # Errors
    /// Why it can't be loaded; then all shards have ended.
    pub fn await_data(mut self) -> io::Result<(Serving, bool)> {
        let node = self.serving.node();
        let (mut loaded, mut shards_left) = (Loaded::default(), self.serving.shards.len());
        while shards_left > 0 {
            match self.reports.recv_timeout(LOG_EVERY) {
                Ok(Ok(own)) => {
                    loaded.add(own);
                    shards_left -= 1;
                }
                Ok(Err(error)) => return Err(self.failed(error)),
                Err(RecvTimeoutError::Timeout) => log_progress(&node),
                // The process ends; why, the join knows.
                Err(RecvTimeoutError::Disconnected) if node.stage() != Stage::Serving => {
                    return Ok((self.serving, false));
                }
                // A shard that says nothing has failed before it could; its own words come with the join.
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failed(io::Error::other("no executor")));
                }
            }
        }
        let seconds = Clock::seconds_since(node.started);
        match self.loading.take() {
            Some(loading) => {
                loading.end()?;
                load_file::log_loaded(loaded, seconds);
            }
            None if node.loading.total_bytes.load(Ordering::Relaxed) > 0 => {
                tracing::info!("DB loaded from append only file: {seconds:.3} seconds");
            }
            None => {}
        }
        Ok((self.serving, true))
    }

    /// Ends all shards since one of them can't be loaded; returns why.
    fn failed(self, error: io::Error) -> io::Error {
        let Self { serving, loading, .. } = self;
        serving.node.fail();
        let failed = serving.join().err().unwrap_or(error);
        // If the file is at fault, its reader knows more than the shards.
        loading.and_then(|loading| loading.end().err()).unwrap_or(failed)
    }
}

/// Starts the shards, which load what there is on disk and answer meanwhile; [`Starting::await_data`]
/// waits for that.
pub fn serve<E: Engine + 'static>(
    config: &Arc<Config>,
    statistics: Statistics,
    listeners: Vec<Listener>,
    make_engine: fn(CoreSetup) -> E,
) -> io::Result<Starting> {
    let cpus = Cpus::of_this_process()?;
    let shard_count = count(config, &cpus);
    let pin = match config.pin_threads {
        Auto::Yes => true,
        Auto::No => false,
        // A thread that is pinned can't use what others leave of a quota elsewhere.
        Auto::Auto => shard_count <= cpus.allowed.len() && cpus.scarce_quota().is_none(),
    };
    log_cpus(&cpus, shard_count, pin);
    let cpus = cpus.allowed;
    let hash_seed = match config.hash_seed.as_str() {
        "" => random()?,
        text => KeyHasher::new(0).hash(text.as_bytes()),
    };
    let epoch = random()?;
    // Getting a page can hold up a core for long: where one has no shard, it is that one.
    // Where the kernel refuses it, it is logged, and the server starts all the same.
    _ = oom_score::apply(config);
    memory::look_ahead(if pin { cpus.get(shard_count..).unwrap_or_default() } else { &[] })?;
    let node = Arc::new(Node::new(statistics, shard_count)?);
    let folder = SharedFolder::default();
    let (mut recovery, mut foreign) = (None, None);
    if config.appendonly {
        let opened = Folder::open(config)?;
        if opened.is_empty() {
            foreign = foreign_aof::find(config)?;
        }
        *folder.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
        if foreign.is_none() {
            let salt_and_now_ms = (random()?, Clock::since(node.started).now().unix_ms);
            let (node, folder) = (Arc::clone(&node), Arc::clone(&folder));
            recovery = Some(Recovery::begin(node, folder, salt_and_now_ms, Arc::clone(config))?);
        }
    }
    let mut listeners = Some(listeners);
    let saver = Saver::start(Arc::clone(&node), Arc::clone(&folder))?;
    let feeder = Feeder::new(Arc::clone(&node), folder);
    // With a journal, what it holds is all there is.
    let import = foreign.is_some().then(Arc::<Import>::default);
    let snapshot = match (foreign, &import) {
        (Some(aof), Some(import)) => Some(load_file::begin_foreign(aof, config, &node, import)?),
        _ if config.appendonly => None,
        _ => load_file::begin(config, &node)?,
    };
    let (loading, batches) = snapshot.unzip();
    let mut batches = batches.unwrap_or_default().into_iter();
    let (report, reports) = mpsc::channel();
    let (askers, mailboxes) = mailboxes(shard_count);
    let mut mailboxes = mailboxes.into_iter();
    let mut shards = Vec::new();
    for (index, port) in mesh::ports(shard_count, MESH_CAPACITY).into_iter().enumerate() {
        let beginning = Beginning {
            index,
            config: Arc::clone(config),
            node: Arc::clone(&node),
            port,
            listeners: listeners.take(),
            asked: mailboxes.next().expect("because there is one for each shard"),
            hash_seed,
            epoch,
            seed: random()?,
            recovery: recovery.clone(),
            saver: saver.clone(),
            feeder: feeder.clone(),
            batches: batches.next(),
            import: import.clone(),
            make_engine,
        };
        let placement =
            if pin { Placement::Fixed(cpus[index % cpus.len()]) } else { Placement::Unbound };
        let report = report.clone();
        let shard = LocalExecutorBuilder::new(placement)
            .name("shard")
            .preempt_timer(PREEMPT_TIMER)
            .io_memory(GLOMMIO_IO_BYTES)
            .ring_depth(GLOMMIO_RING_DEPTH)
            .spawn(move || beginning.run(report))
            .map_err(io::Error::from)?;
        shards.push(shard);
    }
    let serving = Serving { node, shards, askers: Some(askers) };
    Ok(Starting { serving, loading, reports })
}

/// Says how far loading is.
fn log_progress(node: &Node) {
    if let Some(loading) = node.loading_stats() {
        let (done, all) = (loading.loaded_bytes >> 20, loading.total_bytes >> 20);
        tracing::info!(
            "Loading: {done} of {all} MiB, {:.0} %, about {} seconds left",
            loading.percent(),
            loading.left_s()
        );
    }
}

/// What a shard takes along to its thread.
struct Beginning<E: Engine> {
    index: usize,
    config: Arc<Config>,
    node: Arc<Node>,
    port: Port<Packet<E::Message>>,
    /// The first shard takes clients in.
    listeners: Option<Vec<Listener>>,
    asked: Mailbox,
    hash_seed: u64,
    epoch: u64,
    seed: u64,
    recovery: Option<Arc<Recovery>>,
    saver: Saver,
    feeder: Feeder,
    /// What comes of a snapshot for this shard.
    batches: Option<Batches>,
    import: Option<Arc<Import>>,
    make_engine: fn(CoreSetup) -> E,
}

impl<E: Engine> Beginning<E> {
    async fn run(self, report: mpsc::Sender<io::Result<Loaded>>) -> io::Result<()> {
        let node = Arc::clone(&self.node);
        let core_loop = match self.core_loop(report.clone()) {
            Ok(core_loop) => core_loop,
            Err(error) => {
                // The one who started us waits for it; where it has gone, the node has failed already.
                let _ = report.send(Err(io::Error::new(error.kind(), error.to_string())));
                return Err(error);
            }
        };
        drop(report);
        let result = core_loop.run().await;
        if let Err(error) = &result {
            // Of what can't be loaded others hear.
            if node.is_loaded() {
                tracing::error!("a shard can't go on: {error}");
            }
            node.fail();
        }
        result
    }

    fn core_loop(self, report: mpsc::Sender<io::Result<Loaded>>) -> io::Result<CoreLoop<E>> {
        let files = (self.saver, self.feeder);
        let mut outside = Outside::new(Arc::clone(&self.node), self.port, files, self.seed);
        let shard_count = self.node.posts.len();
        let listeners =
            self.listeners.map(|listeners| Rc::new(RefCell::new(Listeners::new(listeners))));
        let apply =
            listeners.as_ref().map(|listeners| apply_settings(Rc::clone(listeners), shard_count));
        let config = Arc::clone(&self.config);
        let acceptor = listeners.map(|listeners| Acceptor::new(listeners, shard_count, config));
        let source = match (self.recovery, self.batches, self.import) {
            (None, Some(batches), Some(import)) => Source::Foreign(batches, import),
            (Some(recovery), ..) => {
                let config = Arc::clone(&self.config);
                Source::Journal(Box::new(Restore::new(recovery, self.index, config)))
            }
            (None, Some(batches), None) => Source::Snapshot(batches),
            (None, None, _) => Source::Nothing,
        };
        let engine = (self.make_engine)(CoreSetup {
            shard: ShardId(self.index as u16),
            shard_count,
            config: self.config,
            hash_seed: self.hash_seed,
            epoch: self.epoch,
            random_seed: random()?,
            now: outside.clock.now(),
            stopwatch: outside.clock.stopwatch(),
            apply,
        });
        let ring = Ring::open()?;
        tracing::debug!(shard = self.index, incremental_buffers = ring.is_incremental(), "ring");
        let startup = Startup::new(self.node, (source, self.index == 0), report);
        let parts = Parts { engine, outside, ring, acceptor, asked: self.asked, startup };
        CoreLoop::new(parts)
    }
}

/// How many shards the configuration asks for.
pub(crate) fn shard_count(config: &Config) -> io::Result<usize> {
    Ok(count(config, &Cpus::of_this_process()?))
}

fn count(config: &Config, cpus: &Cpus) -> usize {
    match usize::from(config.shards) {
        0 => cpus.usable().clamp(1, SHARDS_MAX),
        count => count,
    }
}

/// Says what the shards run on, and warns where they will be throttled.
fn log_cpus(cpus: &Cpus, shard_count: usize, pin: bool) {
    let mask = cpus.allowed.len();
    let pinned = if pin { "pinned" } else { "not pinned" };
    match cpus.scarce_quota() {
        None => tracing::info!("{shard_count} shards on {mask} CPUs, {pinned}"),
        Some(quota) => {
            tracing::info!(
                "{shard_count} shards on {mask} CPUs, {pinned}; the control group's quota grants {quota:.2} \
                 CPUs' time"
            );
            if shard_count > cpus.usable() {
                tracing::warn!(
                    "{shard_count} shards share the time of {quota:.2} CPUs, so all stand still once it is \
                     used up; set `shards` to {} or 0",
                    cpus.usable()
                );
            }
        }
    }
}

/// A number from the kernel's source of randomness.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// 40 hexadecimal digits that tell this run from all others.
pub fn run_id() -> io::Result<String> {
    let mut bytes = [0; 20];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
