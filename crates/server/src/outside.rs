//! Outside: the server's side of the engine's `World`, one for each shard.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use basalt_commands::config::{Config, Extent, LogLevel};
use basalt_engine::{
    LoadStart, LoadStep, MemoryBounds, Message, ProcessStats, Published, RewritePlan, SaveEnd,
    SaveProgress, SaveStart, ShutdownRequest, World,
};
use basalt_keyspace::ShardId;

use crate::clock::Clock;
use crate::journal::JournalFile;
use crate::load_file::Feeder;
use crate::mesh::Port;
use crate::node::{Node, Stage};
use crate::saver::Saver;
use crate::{config_file, memory_bounds, statistics};

/// What travels from shard to shard.
pub(crate) enum Packet<M> {
    Engine(M),
    /// A connection that the accepting shard pins to the receiving one.
    Socket {
        socket: OwnedFd,
        kind: SocketKind,
    },
}

/// By which listener a connection came.
#[derive(Clone, Debug)]
pub(crate) enum SocketKind {
    Tcp,
    Unix { path: Arc<str> },
}

pub struct Outside<M> {
    pub(crate) node: Arc<Node>,
    pub(crate) port: Port<Packet<M>>,
    pub(crate) clock: Clock,
    random: Random,
    saver: Saver,
    feeder: Feeder,
    /// Settings that changed in this turn.
    pub(crate) new_config: Option<Arc<Config>>,
    /// DEBUG SLEEP: until when nothing is to be done.
    pub(crate) stall_until_us: Option<u64>,
    /// What the engine wants done with the journal's file: a frame, and whether it is to be synced; its last frames
    /// written again; a sync.
    pub(crate) to_append: Option<(Vec<u8>, bool)>,
    pub(crate) to_rewrite: Option<Vec<u8>>,
    pub(crate) to_sync: bool,
    /// Another file that is appended to from now on.
    pub(crate) next_file: Option<JournalFile>,
    /// Packets written and read so far.
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl<M> Outside<M> {
    pub(crate) fn new(
        node: Arc<Node>,
        port: Port<Packet<M>>,
        (saver, feeder): (Saver, Feeder),
        seed: u64,
    ) -> Self {
        let clock = Clock::since(node.started);
        Self {
            node,
            port,
            clock,
            random: Random::from_seed(seed),
            saver,
            feeder,
            new_config: None,
            stall_until_us: None,
            to_append: None,
            to_rewrite: None,
            to_sync: false,
            next_file: None,
            sent: 0,
            received: 0,
        }
    }

    pub(crate) fn shard(&self) -> usize {
        self.port.own()
    }

    /// Hands a message to another shard's engine. The engine bounds what it has under way, so there is
    /// always room.
    pub fn send(&mut self, to: ShardId, message: M) {
        self.send_packet(usize::from(to.0), Packet::Engine(message)).unwrap_or_else(|_| {
            panic!("more messages under way than MESSAGES_IN_FLIGHT_MAX allows")
        });
    }

    /// Stalls, if that was asked for.
    pub(crate) fn stall(&mut self) {
        let Some(until_us) = self.stall_until_us.take() else { return };
        let left_us = until_us.saturating_sub(self.clock.monotonic_us());
        #[expect(clippy::disallowed_methods, reason = "DEBUG SLEEP asks for exactly this")]
        std::thread::sleep(Duration::from_micros(left_us));
    }

    pub(crate) fn send_packet(&mut self, to: usize, packet: Packet<M>) -> Result<(), Packet<M>> {
        self.port.send(to, packet)?;
        self.sent += 1;
        Ok(())
    }

    /// Ends the process, once the output of this turn is on its way.
    pub fn end(&mut self) {
        self.node.advance(Stage::Draining);
    }
}

impl World for Outside<Message> {
    fn send(&mut self, to: ShardId, message: Message) {
        Outside::send(self, to, message);
    }
    fn random(&mut self) -> u64 {
        self.random.next()
    }
    fn monotonic_us(&mut self) -> u64 {
        self.clock.monotonic_us()
    }
    fn monotonic_ns(&mut self) -> u64 {
        self.clock.monotonic_ns()
    }
    fn process(&mut self) -> ProcessStats {
        statistics::gather(&self.node, self.clock.monotonic_us())
    }
    fn publish_used(&mut self, own: Published) {
        self.node.posts[self.port.own()].publish(own);
    }
    fn used_by_others(&mut self) -> Published {
        self.node.used_by_others(self.port.own())
    }
    fn memory_bounds(&mut self) -> MemoryBounds {
        memory_bounds::latest()
    }
    fn reset_process_counters(&mut self) {
        self.node.reset_counters();
    }
    fn shutdown(&mut self, _request: ShutdownRequest) {
        self.end();
    }
    fn abort_shutdown(&mut self) -> bool {
        // Once asked for, a shutdown waits for nothing, so there is none to abort.
        false
    }
    fn rewrite_config(&mut self, config: &Config, extent: Extent) -> Result<(), String> {
        config_file::rewrite(self.node.statistics.config_file.as_deref(), config, extent)
    }
    fn config_changed(&mut self, config: &Arc<Config>) {
        self.node.tcp_port.store(config.port, Ordering::Relaxed);
        self.new_config = Some(Arc::clone(config));
    }
    fn stall_until(&mut self, moment_us: u64) {
        self.stall_until_us = Some(moment_us);
    }
    fn prepare_rewrite(&mut self, plan: RewritePlan) {
        self.saver.prepare(plan);
    }
    fn begin_save(&mut self, start: SaveStart) {
        self.saver.begin(start);
    }
    fn save_chunk(&mut self, number: u64, chunk: Vec<u8>) -> Result<(), Vec<u8>> {
        self.saver.chunk(number, self.shard(), chunk)
    }
    fn finish_save(&mut self, number: u64) -> bool {
        self.saver.finish(number)
    }
    fn cancel_save(&mut self, number: u64, end: SaveEnd) {
        self.saver.cancel(number, end);
    }
    fn save_progress(&mut self) -> SaveProgress {
        self.saver.progress()
    }
    fn begin_load(&mut self, start: LoadStart) {
        self.feeder.begin(start);
    }
    fn next_load(&mut self) -> LoadStep {
        self.feeder.next(self.port.own())
    }
    fn log(&mut self, level: LogLevel, line: &str) {
        match level {
            LogLevel::Debug => tracing::trace!("{line}"),
            LogLevel::Verbose => tracing::debug!("{line}"),
            LogLevel::Notice => tracing::info!("{line}"),
            LogLevel::Warning => tracing::warn!("{line}"),
            LogLevel::Nothing => {}
        }
    }
    fn journal_append(&mut self, frame: Vec<u8>, sync: bool) {
        self.to_append = Some((frame, sync));
    }
    fn journal_rewrite(&mut self, frames: Vec<u8>) {
        self.to_rewrite = Some(frames);
    }
    fn journal_sync(&mut self) {
        self.to_sync = true;
    }
    fn journal_next_file(&mut self, rewrite: u64) {
        self.next_file = self.saver.take_file(self.shard(), rewrite);
        debug_assert!(self.next_file.is_some(), "it is kept until it is taken");
    }
}

/// A shard's source of randomness: SplitMix64, which passes for random everywhere but in cryptography.
struct Random {
    state: u64,
}

impl Random {
    fn from_seed(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
