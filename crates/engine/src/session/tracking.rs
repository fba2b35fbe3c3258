//! Tracking: how a session wants to hear of changes of keys that its client holds copies of (CLIENT TRACKING).
//!
//! Not here: which keys (`keyspace`), and how it hears of them (`shard/pubsub/invalidation.rs`).

use basalt_keyspace::ClientId;

/// The settings of a session that tracks keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tracking {
    /// The session that gets the messages instead, with its CLIENT ID.
    pub redirect: Option<(ClientId, u64)>,
    /// That session is gone.
    pub is_redirect_broken: bool,
    pub broadcast: bool,
    pub opt_in: bool,
    pub opt_out: bool,
    pub no_loop: bool,
    /// CLIENT CACHING was said, for the next command.
    pub caching: bool,
    pub prefixes: Vec<Vec<u8>>,
}

impl Tracking {
    /// Whether the keys that the next command reads are tracked.
    pub(crate) fn tracks_next(&self) -> bool {
        let is_excluded = self.opt_in && !self.caching || self.opt_out && self.caching;
        !self.broadcast && !is_excluded
    }
}
