//! Node: what all shards of this process share: statistics that don't change, counters, and its end.
//!
//! Everything here is written rarely or by one shard alone; nothing is a lock.

use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};
use std::time::Instant;

use basalt_engine::{LoadingStats, Published};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::clock::Clock;
use crate::mesh::Padded;
use crate::supervisor::Supervisor;

/// What is known of the process before it serves.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    pub executable: PathBuf,
    pub config_file: Option<PathBuf>,
    pub tcp_port: u16,
    /// 40 hexadecimal digits that no other run has.
    pub run_id: String,
    /// What is notified of the end.
    pub supervisor: Supervisor,
}

/// How far the process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    Serving,
    /// Nothing new is accepted; what runs is finished and sent.
    Draining,
    /// The shards end.
    Ended,
}

#[derive(Debug)]
pub struct Node {
    pub(crate) statistics: Statistics,
    pub(crate) started: Instant,
    /// The same on the calendar.
    pub(crate) started_s: u64,
    stage: AtomicU8,
    /// A signal asks for the end, which the first shard brings about.
    is_stop_asked: AtomicBool,
    pub(crate) loading: LoadingState,
    /// The TCP port, which CONFIG SET may change.
    pub(crate) tcp_port: AtomicU16,
    /// Clients that were let go because of `maxclients`.
    pub(crate) refused: AtomicU64,
    pub(crate) posts: Box<[Padded<Post>]>,
}

/// How far loading at the start is, on all shards together.
#[derive(Debug, Default)]
pub(crate) struct LoadingState {
    /// Shards that have loaded their parts.
    pub(crate) shards_loaded: AtomicUsize,
    /// How long the files are, and how many of these bytes are loaded.
    pub(crate) total_bytes: AtomicU64,
    pub(crate) loaded_bytes: AtomicU64,
}

/// What one shard shows to the others.
#[derive(Debug)]
pub(crate) struct Post {
    /// Rung by threads that are no shards.
    eventfd: EventFd,
    /// The number of its ring, by which others wake it; negative while it has none.
    pub(crate) ring: AtomicI32,
    /// Connections that are pinned to it, or on their way.
    pub(crate) connections: AtomicU32,
    /// Its longest turn since the last reset.
    pub(crate) turn_max_us: AtomicU64,
    /// Its turns since the start, and their microseconds.
    pub(crate) turns: AtomicU64,
    pub(crate) turns_us: AtomicU64,
    /// What it holds, as of the end of its last turn.
    used_bytes: AtomicUsize,
    client_bytes: AtomicUsize,
    unfit_bytes: AtomicUsize,
    largest_client: AtomicU32,
    has_evictable: AtomicBool,
    /// While draining: it has nothing left to do or to send.
    pub(crate) quiet: AtomicBool,
    /// While draining: packets it has sent and received in all.
    pub(crate) packets_sent: AtomicU64,
    pub(crate) packets_received: AtomicU64,
}

impl Post {
    fn new() -> std::io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self {
            eventfd: EventFd::from_value_and_flags(0, flags)?,
            ring: AtomicI32::new(-1),
            connections: AtomicU32::new(0),
            turn_max_us: AtomicU64::new(0),
            turns: AtomicU64::new(0),
            turns_us: AtomicU64::new(0),
            used_bytes: AtomicUsize::new(0),
            client_bytes: AtomicUsize::new(0),
            unfit_bytes: AtomicUsize::new(0),
            largest_client: AtomicU32::new(0),
            has_evictable: AtomicBool::new(false),
            quiet: AtomicBool::new(false),
            packets_sent: AtomicU64::new(0),
            packets_received: AtomicU64::new(0),
        })
    }

    pub(crate) fn publish(&self, own: Published) {
        self.used_bytes.store(own.used_bytes, Ordering::Relaxed);
        self.client_bytes.store(own.client_bytes, Ordering::Relaxed);
        self.unfit_bytes.store(own.unfit_bytes, Ordering::Relaxed);
        self.largest_client.store(own.largest_client, Ordering::Relaxed);
        self.has_evictable.store(own.has_evictable, Ordering::Relaxed);
    }

    fn published(&self) -> Published {
        Published {
            used_bytes: self.used_bytes.load(Ordering::Relaxed),
            client_bytes: self.client_bytes.load(Ordering::Relaxed),
            unfit_bytes: self.unfit_bytes.load(Ordering::Relaxed),
            largest_client: self.largest_client.load(Ordering::Relaxed),
            has_evictable: self.has_evictable.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn eventfd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    pub(crate) fn clear_eventfd(&self) {
        // Nothing to read is as good.
        let _ = self.eventfd.read();
    }
}

impl Node {
    pub(crate) fn new(statistics: Statistics, shard_count: usize) -> std::io::Result<Self> {
        let started = Clock::origin_now();
        let posts: std::io::Result<Box<[_]>> =
            (0..shard_count).map(|_| Post::new().map(Padded)).collect();
        Ok(Self {
            tcp_port: AtomicU16::new(statistics.tcp_port),
            statistics,
            started,
            started_s: Clock::since(started).now().unix_ms / 1000,
            stage: AtomicU8::new(Stage::Serving as u8),
            is_stop_asked: AtomicBool::new(false),
            loading: LoadingState::default(),
            refused: AtomicU64::new(0),
            posts: posts?,
        })
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            stage if stage == Stage::Serving as u8 => Stage::Serving,
            stage if stage == Stage::Draining as u8 => Stage::Draining,
            _ => Stage::Ended,
        }
    }

    /// Whether all shards have loaded their parts.
    pub(crate) fn is_loaded(&self) -> bool {
        self.loading.shards_loaded.load(Ordering::Acquire) >= self.posts.len()
    }

    /// One more shard has loaded its part.
    pub(crate) fn note_loaded(&self) {
        self.loading.shards_loaded.fetch_add(1, Ordering::AcqRel);
        if self.is_loaded() {
            self.wake_all();
        }
    }

    /// How far loading is; `None` where all is loaded.
    pub(crate) fn loading_stats(&self) -> Option<LoadingStats> {
        let LoadingState { total_bytes, loaded_bytes, .. } = &self.loading;
        (!self.is_loaded()).then(|| LoadingStats {
            started_s: self.started_s,
            took_s: Clock::seconds_since(self.started) as u64,
            total_bytes: total_bytes.load(Ordering::Relaxed),
            loaded_bytes: loaded_bytes.load(Ordering::Relaxed),
        })
    }

    /// Moves on to a later stage; the caller sees to it that sleeping shards notice.
    pub(crate) fn advance(&self, stage: Stage) {
        let before = self.stage.fetch_max(stage as u8, Ordering::AcqRel);
        if before == Stage::Serving as u8 && stage == Stage::Draining {
            self.statistics.supervisor.stopping();
        }
    }

    /// Ends the process gracefully; may be called from any thread.
    pub fn stop(&self) {
        self.advance(Stage::Draining);
        self.wake_all();
    }

    /// Asks the first shard to end the process as SHUTDOWN does, which may save first; from any thread.
    pub(crate) fn ask_to_stop(&self) {
        self.is_stop_asked.store(true, Ordering::Release);
        self.wake(0);
    }

    /// Whether a signal has asked for the end since the last call.
    pub(crate) fn take_stop_asked(&self) -> bool {
        self.is_stop_asked.load(Ordering::Acquire)
            && self.is_stop_asked.swap(false, Ordering::AcqRel)
    }

    /// Ends all shards because one of them can't go on.
    pub(crate) fn fail(&self) {
        self.advance(Stage::Ended);
        self.wake_all();
    }

    /// Has a shard look up, from a thread that is none.
    pub(crate) fn wake(&self, shard: usize) {
        // It can only fail where it was rung 2^64 times without being heard.
        let _ = self.posts[shard].eventfd.write(1);
    }

    pub(crate) fn wake_all(&self) {
        (0..self.posts.len()).for_each(|shard| self.wake(shard));
    }

    /// The number of another shard's ring, once it has one.
    pub(crate) fn ring_of(&self, shard: usize) -> Option<RawFd> {
        let ring = self.posts[shard].ring.load(Ordering::Acquire);
        (ring >= 0).then_some(ring)
    }

    pub(crate) fn connection_count(&self) -> u32 {
        self.posts.iter().map(|post| post.connections.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn turn_max_us(&self) -> u64 {
        let turns = self.posts.iter().map(|post| post.turn_max_us.load(Ordering::Relaxed));
        turns.max().unwrap_or(0)
    }

    /// Turns of all shards, and the microseconds that they took.
    pub(crate) fn turns(&self) -> (u64, u64) {
        let sum = |count: fn(&Post) -> &AtomicU64| -> u64 {
            self.posts.iter().map(|post| count(post).load(Ordering::Relaxed)).sum()
        };
        (sum(|post| &post.turns), sum(|post| &post.turns_us))
    }

    /// The use of all shards but one.
    pub(crate) fn used_by_others(&self, own: usize) -> Published {
        let others = self.posts.iter().enumerate().filter(|(shard, _)| *shard != own);
        others.fold(Published::default(), |all, (_, post)| all.and(post.published()))
    }

    pub(crate) fn reset_counters(&self) {
        self.refused.store(0, Ordering::Relaxed);
        for post in &self.posts {
            post.turn_max_us.store(0, Ordering::Relaxed);
        }
    }

    /// While draining: whether no shard has work left and no packet is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        let sum = |count: fn(&Post) -> &AtomicU64| -> u64 {
            self.posts.iter().map(|post| count(post).load(Ordering::Acquire)).sum()
        };
        let received = sum(|post| &post.packets_received);
        let all_quiet = self.posts.iter().all(|post| post.quiet.load(Ordering::Acquire));
        all_quiet && received == sum(|post| &post.packets_sent)
    }
}
