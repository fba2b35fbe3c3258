//! Tracking: how a session wants to hear of changes of keys that its client holds copies of (CLIENT TRACKING).
//!
//! Not here: which keys (`keyspace`), and how it hears of them (`shard/pubsub/invalidation.rs`).

use basalt_keyspace::ClientId;

use super::Session;

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
    /// CLIENT CACHING came, for the next command.
    pub caching: bool,
    pub prefixes: Vec<Vec<u8>>,
}

impl Tracking {
    /// The bytes of itself and its prefixes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let prefixes = self.prefixes.iter().map(|prefix| prefix.capacity() + size_of::<Vec<u8>>());
        size_of::<Self>() + prefixes.sum::<usize>()
    }

    /// Whether the keys that the next command reads are tracked.
    pub(crate) fn tracks_next(&self) -> bool {
        let is_excluded = self.opt_in && !self.caching || self.opt_out && self.caching;
        !self.broadcast && !is_excluded
    }
}

impl Session {
    /// All that was ever written for it, in bytes.
    fn written_ever(&self) -> u64 {
        self.bytes_out + (self.written_bytes() + self.held_pushes.len()) as u64
    }

    /// Whether it heard that all keys are gone, and nothing after that.
    pub(crate) fn was_told_all(&self) -> bool {
        self.told_all_at == Some(self.written_ever())
    }

    /// It heard of keys just now, of all or of some.
    pub(crate) fn note_told_all(&mut self, of_all: bool) {
        self.told_all_at = of_all.then(|| self.written_ever());
        self.is_told_all_held = of_all && !self.held_pushes.is_empty();
    }

    /// What was held is written, behind a reply that came before it.
    pub(super) fn settle_told_all(&mut self) {
        if std::mem::take(&mut self.is_told_all_held) {
            self.told_all_at = Some(self.written_ever());
        }
    }

    /// A request with this first word is refused: CLIENT CACHING was for it, as in Redis (`resetClient`).
    pub(crate) fn end_caching_refused(&mut self, name: &[u8]) {
        if self.multi.is_none()
            && !name.eq_ignore_ascii_case(b"client")
            && let Some(tracking) = &mut self.tracking
        {
            tracking.caching = false;
        }
    }

    /// A command is worked: CLIENT CACHING was for it, unless it is one of CLIENT's, or a transaction goes on.
    pub(crate) fn end_caching(&mut self) {
        if self.multi.is_none()
            && !self.last_command.starts_with("client|")
            && let Some(tracking) = &mut self.tracking
        {
            tracking.caching = false;
        }
    }
}
