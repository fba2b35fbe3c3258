//! Simulation: a whole server in one thread, its time and the order of all deliveries from one seed.
//!
//! Every core is the real engine; only the `World` around it is simulated. A step gives one core,
//! chosen at random, some of its pending messages and bytes (never reordered within one channel or
//! one connection), and collects what it sends.

mod disk;
mod groups;
mod lines;
mod saves;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use basalt_commands::config::{Config, Extent, LogLevel};
use basalt_engine::{
    Core, CoreSetup, JournalStart, LoadError, LoadStart, LoadStep, Loaded, Loader, MemoryBounds,
    Message, Now, Peer, ProcessStats, Published, Reading, RewritePlan, SaveEnd, SaveProgress,
    SaveStart, SessionId, ShutdownRequest, Stopwatch, World,
};
use basalt_keyspace::{DatabaseId, LongString, SLOTS, ShardId, SlotId};

use crate::random::Random;
use disk::Manifest;
pub use disk::{Disk, DiskFault, Files};
use groups::Groups;
use saves::Saves;

/// 2026-01-01: the start time of simulations.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// A connection of a simulated client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientId(usize);

/// A whole server in one thread.
pub struct Simulation {
    cores: Vec<Core>,
    /// When each core has its next work due.
    wake_at_us: Vec<Option<u64>>,
    outside: Outside,
    clients: Vec<Client>,
    /// Requests and replies are cut into pieces of random lengths.
    pub fragments: bool,
    /// Bytes that were received into the memory of large arguments.
    pub received_directly: usize,
    moves: Option<Moves>,
    groups: Groups,
}

/// Slots that move between shards all the time.
struct Moves {
    /// In addition to those of existing keys.
    slots: Vec<SlotId>,
    random: Random,
}

/// The state that cores share: channels, time, the random generator.
struct Outside {
    /// By sender and receiver.
    channels: Vec<Vec<VecDeque<Message>>>,
    now: Now,
    random: Random,
    shutdown: Option<ShutdownRequest>,
    log: Vec<String>,
    /// The bytes of each core's data, as it published them.
    used: Vec<Published>,
    memory_bounds: MemoryBounds,
    disks: Vec<Disk>,
    manifest: Manifest,
    /// Where the journals begin of the rewrite that is running.
    next_starts: Vec<JournalStart>,
    saves: Saves,
}

struct Client {
    core: usize,
    session: Option<SessionId>,
    to_server: VecDeque<u8>,
    input_ends: bool,
    from_server: Vec<u8>,
    /// It reads nothing: bytes sent to it stay in flight.
    is_deaf: bool,
    /// The bytes in flight.
    sending: usize,
    /// How the server reads from it.
    reading: Reading,
    /// What the server receives into, and how much at most.
    lent: Option<(LongString, usize)>,
}

/// One core's view of the outside.
struct View<'a> {
    outside: &'a mut Outside,
    core: usize,
}

impl World for View<'_> {
    fn send(&mut self, to: ShardId, message: Message) {
        let channel = &mut self.outside.channels[self.core][to.index()];
        channel.push_back(message);
        assert!(
            channel.len() <= 2 * basalt_engine::limits::MESSAGES_IN_FLIGHT_MAX,
            "the engine keeps to the channels' bound"
        );
    }

    fn random(&mut self) -> u64 {
        self.outside.random.number()
    }

    fn monotonic_us(&mut self) -> u64 {
        // Time passes while work is done, so that budgets run out.
        self.outside.now.monotonic_us += 20;
        self.outside.now.monotonic_us
    }

    fn monotonic_ns(&mut self) -> u64 {
        self.outside.now.monotonic_us += 1;
        self.outside.now.monotonic_us * 1000
    }

    fn process(&mut self) -> ProcessStats {
        ProcessStats::default()
    }

    fn publish_used(&mut self, own: Published) {
        self.outside.used[self.core] = own;
    }

    fn used_by_others(&mut self) -> Published {
        let others = self.outside.used.iter().enumerate().filter(|(core, _)| *core != self.core);
        others.fold(Published::default(), |all, (_, one)| all.and(*one))
    }

    fn memory_bounds(&mut self) -> MemoryBounds {
        self.outside.memory_bounds
    }

    fn reset_process_counters(&mut self) {}

    fn shutdown(&mut self, request: ShutdownRequest) {
        self.outside.shutdown = Some(request);
    }

    fn abort_shutdown(&mut self) -> bool {
        self.outside.shutdown.take().is_some()
    }

    fn rewrite_config(&mut self, _: &Config, _: Extent) -> Result<(), String> {
        Err("The server is running without a config file".into())
    }

    fn config_changed(&mut self, _: &Arc<Config>) {}

    fn stall_until(&mut self, moment_us: u64) {
        let now = &mut self.outside.now;
        let us = moment_us.saturating_sub(now.monotonic_us);
        now.monotonic_us += us;
        now.unix_ms += us / 1000;
    }

    fn prepare_rewrite(&mut self, plan: RewritePlan) {
        self.outside.prepare_rewrite(&plan);
    }

    fn begin_save(&mut self, start: SaveStart) {
        self.outside.begin_save(start);
    }

    fn save_chunk(&mut self, number: u64, chunk: Vec<u8>) -> Result<(), Vec<u8>> {
        if self.outside.random.one_in(4) {
            return Err(chunk);
        }
        self.outside.saves.add(number, self.core, &chunk);
        Ok(())
    }

    fn finish_save(&mut self, number: u64) -> bool {
        if self.outside.random.one_in(4) {
            return false;
        }
        self.outside.finish_save(number);
        true
    }

    fn cancel_save(&mut self, number: u64, end: SaveEnd) {
        self.outside.saves.end(number, end);
    }

    fn save_progress(&mut self) -> SaveProgress {
        self.outside.saves.progress.clone()
    }

    fn begin_load(&mut self, start: LoadStart) {
        self.outside.saves.begin_load(&start);
    }

    fn next_load(&mut self) -> LoadStep {
        if self.outside.random.one_in(4) {
            return LoadStep::NotYet;
        }
        self.outside.saves.next_load(self.core)
    }

    fn log(&mut self, _: LogLevel, line: &str) {
        self.outside.log.push(line.into());
    }

    fn journal_append(&mut self, frame: Vec<u8>, sync: bool) {
        self.outside.disks[self.core].append(frame, sync);
    }

    fn journal_rewrite(&mut self, frames: Vec<u8>) {
        self.outside.disks[self.core].rewrite(frames);
    }

    fn journal_sync(&mut self) {
        self.outside.disks[self.core].sync();
    }

    fn journal_next_file(&mut self, rewrite: u64) {
        self.outside.disks[self.core].go_to_next(rewrite);
    }
}

/// LIMIT: bytes of one client that a turn brings in, as many as a server's receive buffers hold.
const RECEIVED_BYTES_MAX: usize = 1 << 20;

impl Simulation {
    pub fn new(shard_count: usize, config: Config, seed: u64) -> Self {
        let now = Now { unix_ms: EPOCH_MS, monotonic_us: 1_000_000 };
        let config = Arc::new(config);
        let setup = |index| CoreSetup {
            shard: ShardId(index as u16),
            shard_count,
            config: Arc::clone(&config),
            hash_seed: seed,
            epoch: seed,
            random_seed: seed.wrapping_add(index as u64),
            now,
            stopwatch: stopwatch(),
            apply: None,
        };
        let channel_row = || (0..shard_count).map(|_| VecDeque::new()).collect();
        let mut simulation = Self {
            cores: (0..shard_count).map(|index| Core::new(setup(index))).collect(),
            wake_at_us: vec![None; shard_count],
            outside: Outside {
                channels: (0..shard_count).map(|_| channel_row()).collect(),
                now,
                random: Random::from_seed(seed),
                shutdown: None,
                log: Vec::new(),
                used: vec![Published::default(); shard_count],
                memory_bounds: MemoryBounds::default(),
                disks: (0..shard_count).map(|_| Disk::default()).collect(),
                manifest: Manifest::default(),
                next_starts: Vec::new(),
                saves: Saves::default(),
            },
            clients: Vec::new(),
            fragments: false,
            received_directly: 0,
            moves: None,
            groups: Groups::default(),
        };
        // The others commit without readers, as a server without a journal does.
        if shard_count > 1 && seed.is_multiple_of(2) {
            simulation.check_groups();
        }
        simulation
    }

    /// From now on the records of each transaction must be complete on all its shards.
    pub fn check_groups(&mut self) {
        if !self.groups.is_on() {
            self.groups.begin(self.cores.iter_mut().map(Core::keyspace));
        }
    }

    /// How many transactions over several shards were complete in the records of all of them.
    pub fn complete_groups(&self) -> usize {
        self.groups.complete()
    }

    /// From now on slots move: those of existing keys, and these.
    pub fn move_slots(&mut self, keys: &[&str]) {
        let slots = keys.iter().map(|key| SlotId::of_key(key.as_bytes())).collect();
        let random = Random::from_seed(self.outside.random.number());
        self.moves = Some(Moves { slots, random });
    }

    /// Slots stop moving.
    pub fn stop_slots(&mut self) {
        self.moves = None;
    }

    /// Starts to move some slots, now and then.
    fn move_some_slots(&mut self, one_in: usize) {
        let shards = self.cores.len();
        let Some(Moves { slots, random }) = &mut self.moves else { return };
        if shards == 1 || !random.one_in(one_in) {
            return;
        }
        let mut slots = slots.clone();
        let keyspace = self.cores[random.below(shards)].keyspace();
        for database in 0..keyspace.database_count() {
            keyspace.visit_all(DatabaseId(database as u16), &mut |entry| {
                slots.push(SlotId::of_key(entry.key()));
            });
        }
        random.shuffle(&mut slots);
        slots.truncate(1 + random.below(4));
        slots.push(SlotId(random.below(SLOTS) as u16));
        slots.sort_unstable();
        slots.dedup();
        let to = ShardId(random.below(shards) as u16);
        self.cores[random.below(shards)].move_slots(slots, to);
    }

    /// A connection from localhost, assigned to a core.
    pub fn connect(&mut self, core: usize) -> ClientId {
        let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let port = 10_000 + (self.clients.len() % 50_000) as u16;
        let peer = Peer::Tcp { remote: address(port), local: address(6379) };
        let core = core % self.cores.len();
        let session = self.cores[core].connect(peer).expect("local clients are let in");
        self.clients.push(Client {
            core,
            session: Some(session),
            to_server: VecDeque::new(),
            input_ends: false,
            from_server: Vec::new(),
            is_deaf: false,
            sending: 0,
            reading: Reading::Buffered,
            lent: None,
        });
        ClientId(self.clients.len() - 1)
    }

    /// The client sends bytes; they arrive in pieces.
    pub fn send(&mut self, client: ClientId, bytes: &[u8]) {
        self.clients[client.0].to_server.extend(bytes);
    }

    /// The client shuts down its sending side but still reads.
    pub fn end_input(&mut self, client: ClientId) {
        self.clients[client.0].input_ends = true;
    }

    /// From now on the client reads nothing, or reads again.
    pub fn set_deaf(&mut self, client: ClientId, is_deaf: bool) {
        let client = &mut self.clients[client.0];
        client.is_deaf = is_deaf;
        if let (false, Some(session)) = (is_deaf, client.session) {
            let sent = std::mem::take(&mut client.sending);
            if sent > 0 {
                self.cores[client.core].sent(session, sent);
            }
        }
    }

    /// The client disconnects, whatever is in flight.
    pub fn disconnect(&mut self, client: ClientId) {
        let client = &mut self.clients[client.0];
        if let Some(session) = client.session.take() {
            self.cores[client.core].disconnect(session);
        }
    }

    /// The bytes that the client has sent and the server has not read.
    pub fn unread_bytes(&self, client: ClientId) -> usize {
        self.clients[client.0].to_server.len()
    }

    /// Whether the client has received anything since the last `received`.
    pub fn has_received(&self, client: ClientId) -> bool {
        !self.clients[client.0].from_server.is_empty()
    }

    /// The bytes that the client has received since the last call.
    pub fn take_received(&mut self, client: ClientId) -> Vec<u8> {
        std::mem::take(&mut self.clients[client.0].from_server)
    }

    pub fn is_connected(&self, client: ClientId) -> bool {
        self.clients[client.0].session.is_some()
    }

    /// A snapshot that was saved.
    pub fn saved_file(&self, path: &str) -> Option<&[u8]> {
        self.outside.saves.files.get(path).map(Vec::as_slice)
    }

    /// How the last save ended; `None` while one is running, or before the first.
    pub fn save_end(&self) -> Option<&SaveEnd> {
        self.outside.saves.progress.end.as_ref()
    }

    /// The next save fails for this reason.
    pub fn fail_next_save(&mut self, why: &str) {
        self.outside.saves.fault = Some(why.to_owned());
    }

    /// Loads a snapshot, as a server does at its start.
    pub fn load_file(&mut self, file: &[u8]) -> Result<Loaded, LoadError> {
        let databases = self.cores[0].config().databases;
        let mut loader = Loader::new(self.cores.len(), databases, true);
        let (mut at, mut loaded) = (0, Loaded::default());
        while !loader.is_over() {
            let taken = loader.read(&file[at..])?;
            assert!(taken > 0 || at < file.len(), "the file ends within an item");
            at += taken;
            while let Some((shard, batch)) = loader.take_batch(loader.is_over()) {
                loaded.add(self.cores[shard.index()].load(&batch)?);
            }
        }
        self.cores.iter_mut().for_each(Core::end_loading);
        Ok(loaded)
    }

    /// Changes what bounds the memory of the process.
    pub fn set_memory_bounds(&mut self, bounds: MemoryBounds) {
        self.outside.memory_bounds = bounds;
    }

    /// The log so far.
    pub fn log(&self) -> &[String] {
        &self.outside.log
    }

    pub fn shutdown(&self) -> Option<ShutdownRequest> {
        self.outside.shutdown
    }

    pub fn core(&mut self, index: usize) -> &mut Core {
        &mut self.cores[index]
    }

    pub fn shard_count(&self) -> usize {
        self.cores.len()
    }

    /// The simulated moment, in milliseconds since 1970.
    pub fn now_ms(&self) -> u64 {
        self.outside.now.unix_ms
    }

    /// Lets time pass.
    pub fn advance_ms(&mut self, ms: u64) {
        self.outside.now.unix_ms += ms;
        self.outside.now.monotonic_us += ms * 1000;
    }

    /// Lets time pass as on an idle server: its cores sleep until they have work due, or a message
    /// from another core. Returns how often work was due.
    pub fn rest_ms(&mut self, ms: u64) -> usize {
        self.settle();
        let end_us = self.outside.now.monotonic_us + ms * 1000;
        let mut wakes = 0;
        loop {
            let now_us = self.outside.now.monotonic_us;
            let due_us = self.wake_at_us.iter().flatten().min().copied();
            let next_us = due_us.unwrap_or(end_us).min(end_us).max(now_us);
            self.advance_ms((next_us - now_us).div_ceil(1000));
            if next_us == end_us {
                return wakes;
            }
            wakes += 1;
            while let Some(core) = (0..self.cores.len()).find(|core| self.is_woken(*core)) {
                while self.turn(core) {}
            }
        }
    }

    fn is_woken(&self, core: usize) -> bool {
        let is_due = self.wake_at_us[core].is_some_and(|us| us <= self.outside.now.monotonic_us);
        is_due
            || self.outside.disks[core].is_busy()
            || self.outside.channels.iter().any(|row| !row[core].is_empty())
    }

    /// One turn of one core. Returns whether anything moved or is left to do.
    pub fn step(&mut self) -> bool {
        self.move_some_slots(8);
        let index = self.outside.random.below(self.cores.len());
        self.turn(index)
    }

    /// Steps until nothing moves any more.
    pub fn settle(&mut self) {
        const ROUNDS_MAX: usize = 100_000;
        self.move_some_slots(2);
        for _ in 0..ROUNDS_MAX {
            let first = self.outside.random.below(self.cores.len());
            let count = self.cores.len();
            let moved = (0..count).filter(|turn| self.turn((first + turn) % count)).count();
            if moved == 0 && !self.has_more() {
                if self.groups.is_on() && !self.cores.iter().any(Core::has_transactions) {
                    self.groups.check();
                }
                return;
            }
        }
        let waiting: Vec<String> = self
            .clients
            .iter()
            .filter(|client| client.session.is_some())
            .map(|client| {
                let (bytes, ends) = (client.to_server.len(), client.input_ends);
                format!("core {}: {bytes} bytes to send, input ends: {ends}", client.core)
            })
            .collect();
        panic!("the simulation does not come to rest: {waiting:#?}");
    }

    fn has_more(&self) -> bool {
        let mail = self.outside.channels.iter().flatten().any(|channel| !channel.is_empty());
        let has_input = |client: &Client| {
            let sends = client.reading != Reading::Paused && !client.to_server.is_empty();
            client.session.is_some() && (sends || client.input_ends)
        };
        let has_disk_work = self.outside.disks.iter().any(Disk::is_busy);
        mail || has_disk_work || self.clients.iter().any(has_input)
    }

    fn turn(&mut self, index: usize) -> bool {
        let mut messages = Vec::new();
        for from in 0..self.cores.len() {
            let channel = &mut self.outside.channels[from][index];
            let count = self.outside.random.below(channel.len() + 1);
            messages.extend(channel.drain(..count).map(|message| (ShardId(from as u16), message)));
        }
        let mut arrived: Vec<(SessionId, Vec<u8>)> = Vec::new();
        let mut has_received = false;
        for client in self.clients.iter_mut().filter(|client| client.core == index) {
            let Some(session) = client.session else { continue };
            if client.reading == Reading::Direct && client.lent.is_none() {
                client.lent = self.cores[index].lend_large(session);
            }
            let bytes_max = client.lent.as_ref().map_or(RECEIVED_BYTES_MAX, |(_, bytes)| *bytes);
            let is_paused = client.reading == Reading::Paused;
            let waiting = if is_paused { 0 } else { client.to_server.len().min(bytes_max) };
            let count =
                if self.fragments { self.outside.random.below(waiting + 1) } else { waiting };
            if count > 0 {
                let bytes: Vec<u8> = client.to_server.drain(..count).collect();
                has_received = true;
                match client.lent.take() {
                    Some((mut large, _)) => {
                        large.push(&bytes);
                        self.received_directly += bytes.len();
                        self.cores[index].take_back_large(session, large);
                    }
                    None => arrived.push((session, bytes)),
                }
            }
            if client.input_ends && client.to_server.is_empty() {
                client.input_ends = false;
                if count == 0 {
                    if let Some((large, _)) = client.lent.take() {
                        self.cores[index].take_back_large(session, large);
                    }
                    self.cores[index].end_of_input(session);
                } else {
                    // The end comes after the last bytes were processed.
                    client.input_ends = true;
                }
            }
        }
        let received: Vec<(SessionId, &[u8])> =
            arrived.iter().map(|(session, bytes)| (*session, bytes.as_slice())).collect();
        let done = self.outside.disks[index].go_on(&mut self.outside.random);
        let mut moved = !messages.is_empty() || has_received || !done.is_empty();
        done.into_iter().for_each(|done| self.cores[index].journal_done(done));
        let now = self.outside.now;
        let mut view = View { outside: &mut self.outside, core: index };
        let turn = self.cores[index].turn(&mut view, now, &received, &mut messages);
        self.wake_at_us[index] = turn.wake_at_us;
        moved |= turn.busy;
        if self.groups.is_on() {
            self.groups.read(index, self.cores[index].keyspace());
        }
        moved |= self.deliver(index);
        moved
    }

    /// Takes the core's output to its clients.
    fn deliver(&mut self, index: usize) -> bool {
        let mut moved = false;
        let core = &mut self.cores[index];
        while let Some(session) = core.next_dirty() {
            let owner =
                |client: &&mut Client| client.core == index && client.session == Some(session);
            let Some(client) = self.clients.iter_mut().find(owner) else { continue };
            if client.sending > 0 {
                // One send at a time: the session is dirty again when it is complete.
                continue;
            }
            let output = core.take_output(session, Vec::new());
            moved |= !output.bytes.is_empty();
            let bytes = output.payloads.join(&output.bytes);
            client.from_server.extend_from_slice(&bytes);
            if client.is_deaf {
                client.sending = bytes.len();
                continue;
            }
            core.sent(session, bytes.len());
            if output.close {
                core.disconnect(session);
                client.session = None;
            }
        }
        while let Some((session, reading)) = core.next_reading() {
            let mut clients = self.clients.iter_mut();
            let owner =
                |client: &&mut Client| client.core == index && client.session == Some(session);
            if let Some(client) = clients.find(owner) {
                client.reading = reading;
                moved |= reading != Reading::Paused;
            }
        }
        while let Some(session) = core.next_aborted() {
            core.disconnect(session);
            for client in &mut self.clients {
                if client.core == index && client.session == Some(session) {
                    client.session = None;
                }
            }
        }
        moved
    }
}

/// Each reading is a microsecond later than the one before.
fn stopwatch() -> Stopwatch {
    let readings = AtomicU64::new(0);
    Box::new(move || readings.fetch_add(1000, Ordering::Relaxed))
}
