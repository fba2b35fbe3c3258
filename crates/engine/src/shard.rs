//! Shard: the part of all data that one core owns alone, with the sessions pinned beside it.
//!
//! What a hop gets: it may use everything here, and cannot wait.

use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_keyspace::{Keyspace, ShardId};
use basalt_resp::ParseLimits;

use crate::gates::Armed;
use crate::routes::Routes;
use crate::session::{Peer, Session, Sessions};
use crate::world::Now;

/// Counters of a shard since start or CONFIG RESETSTAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShardStats {
    pub connections: u64,
    pub commands: u64,
    /// Commands that other shards' sessions sent here.
    pub commands_from_others: u64,
    pub error_replies: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub messages_out: u64,
    /// The longest that a key outlived its expiry before it was removed, in ms.
    pub expiry_lag_max_ms: u64,
    pub output_limit_disconnections: u64,
    pub query_limit_disconnections: u64,
}

/// The part of all data that one core owns alone, with the sessions pinned beside it.
pub(crate) struct Shard {
    pub id: ShardId,
    pub keyspace: Keyspace,
    pub sessions: Sessions,
    pub config: Arc<Config>,
    pub routes: Arc<Routes>,
    pub stats: ShardStats,
    pub now: Now,
    /// Gates that look at every session's commands.
    pub armed: Armed,
    pub limits: ParseLimits,
    pub limits_before_auth: ParseLimits,
    sessions_opened: u64,
}

impl Shard {
    pub(crate) fn new(
        id: ShardId,
        keyspace: Keyspace,
        config: Arc<Config>,
        routes: Arc<Routes>,
        now: Now,
    ) -> Self {
        let mut shard = Self {
            id,
            keyspace,
            sessions: Sessions::default(),
            config: Arc::clone(&config),
            routes,
            stats: ShardStats::default(),
            now,
            armed: Armed::default(),
            limits: ParseLimits::default(),
            limits_before_auth: ParseLimits { unauthenticated: true, ..ParseLimits::default() },
            sessions_opened: 0,
        };
        shard.set_config(config);
        shard
    }

    /// Takes over new settings.
    pub(crate) fn set_config(&mut self, config: Arc<Config>) {
        self.armed.set(Armed::MEMORY, config.maxmemory > 0);
        let bulk_bytes_max = usize::try_from(config.proto_max_bulk_len).unwrap_or(usize::MAX);
        self.limits.bulk_bytes_max = bulk_bytes_max;
        self.limits_before_auth.bulk_bytes_max = bulk_bytes_max;
        self.config = config;
    }

    pub(crate) fn set_now(&mut self, now: Now) {
        self.now = now;
        self.keyspace.set_now(now.unix_ms);
    }

    pub(crate) fn open_session(&mut self, peer: Peer) -> &mut Session {
        self.sessions_opened += 1;
        self.stats.connections += 1;
        // Numbers of different shards never meet, so a client's number tells its shard as well.
        let number = (self.sessions_opened - 1) * self.routes.shard_count() as u64
            + u64::from(self.id.0)
            + 1;
        let session = self.sessions.open(number, peer, self.now.monotonic_us);
        session.armed.set(Armed::AUTH, self.config.requirepass.is_set());
        session.last_shard = self.id;
        session
    }

    pub(crate) fn debug_is_allowed(&self, session: &Session) -> bool {
        self.config.enable_debug_command.permits(session.is_local())
    }
}
