//! Subscriptions: what a session is subscribed to, of Pub/Sub.
//!
//! Not here: who is subscribed to a topic (`shard/pubsub`).

use std::collections::BTreeMap;

use basalt_commands::config::{OutputLimit, OutputLimits};
use basalt_resp::Protocol;

use super::Session;
use super::armed::Armed;

/// What a session can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TopicKind {
    Channel,
    Pattern,
    ShardChannel,
}

impl TopicKind {
    pub(crate) const COUNT: usize = 3;

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Topics of different kinds may have the same name.
    pub(crate) fn salt(self, hash: u64) -> u64 {
        hash.rotate_left(self as u32)
    }
}

/// A topic of a core; used again once the topic is gone.
pub(crate) type TopicId = u32;

/// What a session is subscribed to.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    /// The place among the members of each topic; [`PENDING`] where it is none yet.
    pub topics: BTreeMap<TopicId, u32>,
    pub counts: [u32; TopicKind::COUNT],
}

/// The place of a subscription that is none yet.
pub(crate) const PENDING: u32 = u32::MAX;

impl Subscriptions {
    pub(crate) fn count(&self, kind: TopicKind) -> u32 {
        self.counts[kind.index()]
    }

    /// The number in confirmations: shard channels are counted by themselves.
    pub(crate) fn count_with(&self, kind: TopicKind) -> u32 {
        match kind {
            TopicKind::ShardChannel => self.count(kind),
            _ => self.count(TopicKind::Channel) + self.count(TopicKind::Pattern),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts == [0; TopicKind::COUNT]
    }

    /// The bytes of itself, as far as can be known.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.topics.len() * 2 * size_of::<u32>() * 3 / 2
    }
}

impl Session {
    pub(crate) fn is_subscribed(&self) -> bool {
        self.subscriptions.as_ref().is_some_and(|own| !own.is_empty())
    }

    /// How many topics of a kind it is subscribed to.
    pub(crate) fn subscription_count(&self, kind: TopicKind) -> u32 {
        self.subscriptions.as_ref().map_or(0, |own| own.count(kind))
    }

    /// To be called when its subscriptions or its protocol changed: in RESP2 it may do nothing else than change
    /// them.
    pub(crate) fn settle_subscriptions(&mut self) {
        let is_subscribed = self.is_subscribed();
        self.armed.set(Armed::SUBSCRIBED, is_subscribed && self.protocol == Protocol::Resp2);
        if !is_subscribed {
            self.subscriptions = None;
        }
    }

    /// How much output may wait for it.
    pub(crate) fn output_limit<'a>(&self, limits: &'a OutputLimits) -> &'a OutputLimit {
        if self.subscriptions.is_some() { &limits.pubsub } else { &limits.normal }
    }
}
