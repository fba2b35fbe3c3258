//! Sums: what adds up over the sessions of a core.

use super::Session;
use super::subscriptions::TopicKind;

/// What adds up over sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionSums {
    pub bytes: usize,
    /// Held back by CLIENT PAUSE.
    pub held: usize,
    pub watching: usize,
    pub watched_keys: usize,
    /// Subscribed to something.
    pub subscribers: usize,
    /// What these are subscribed to, each counted for each: channels, patterns, shard channels.
    pub subscriptions: [usize; TopicKind::COUNT],
    /// CLIENT TRACKING is on.
    pub trackers: usize,
    pub longest_input: usize,
    pub longest_output: usize,
}

impl SessionSums {
    pub(crate) fn add(&mut self, session: &Session) {
        self.bytes += session.heap_bytes();
        self.held += usize::from(session.is_held);
        self.watching += usize::from(!session.watched.keys.is_empty());
        self.trackers += usize::from(session.tracking.is_some());
        self.subscribers += usize::from(session.is_subscribed());
        if let Some(own) = &session.subscriptions {
            for (sum, count) in self.subscriptions.iter_mut().zip(own.counts) {
                *sum += count as usize;
            }
        }
        self.watched_keys += session.watched.keys.len();
        self.longest_input = self.longest_input.max(session.input.len());
        self.longest_output = self.longest_output.max(session.output_bytes());
    }
}
