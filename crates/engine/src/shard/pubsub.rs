//! Pub/Sub: which sessions are subscribed to what, and how messages come to them.
//!
//! ```text
//! PUBLISH ─► home of the channel ─► each core with a subscriber ─► its sessions
//!            directory: how many        subscribers: which
//! ```
//!
//! Every channel has a *home*, a shard that orders its messages and counts its subscribers by core; patterns, and
//! channels of keyspace events, have all shards for homes. A core activates a subscription for the messages of a
//! home when that home has counted it, and what travels between two cores keeps its order: so a message is
//! delivered exactly to those that its PUBLISH counted. See docs/design/pubsub.md.
//!
//! Not here: the commands (`core/engine_commands/pubsub.rs`), the way between cores (`core/pubsub.rs`).

mod delivery;
mod directory;
pub(crate) mod invalidation;
mod patterns;
mod subscribers;
mod topics;

use std::collections::VecDeque;
use std::sync::Arc;

use basalt_commands::config::KeyspaceEvents;
use basalt_keyspace::{ClientId, EventClasses, SLOTS, ShardId, SlotId};
use bytes::Bytes;
use smallvec::SmallVec;

use crate::session::SessionId;
use crate::session::subscriptions::TopicKind;
use crate::shard::Shard;

pub(crate) use directory::Directory;
use invalidation::{Invalidation, Prefixes};
pub(crate) use subscribers::Subscribers;
pub(crate) use topics::TopicName;

/// What a shard keeps for Pub/Sub.
#[derive(Debug, Default)]
pub(crate) struct PubSub {
    /// As a home: how many subscribers each core has.
    pub directory: Directory,
    /// Of this core's sessions.
    pub subscribers: Subscribers,
    /// What is to be done by cores, this one included, in this order.
    pub outgoing: VecDeque<(ShardId, Notice)>,
    /// Sessions that have more unsent output than they may.
    pub overdue: Vec<SessionId>,
    /// Tracking: how many sessions track keys, on all shards, and those that hear of all keys of a prefix.
    pub trackers: usize,
    pub prefixes: Prefixes,
    /// Whether keyspace events are published and have subscribers.
    pub publishes_events: bool,
    /// A message, encoded.
    encoded: Vec<u8>,
    matching: Vec<u32>,
}

/// What one shard has for the sessions of a core.
#[derive(Debug)]
pub(crate) enum Notice {
    Message(Published),
    /// The home has taken over what a session subscribed to or unsubscribed from.
    Changed {
        session: SessionId,
        changes: Vec<TopicChange>,
    },
    /// A session hears of changed keys.
    Invalidate(Invalidation),
    /// All sessions that track hear that all keys of a database are gone.
    InvalidateAll,
    /// A session gets what another one hears; None for all keys.
    Redirected {
        from: ClientId,
        to: SessionId,
        keys: Option<Bytes>,
    },
    /// The session to which this one redirects is gone.
    RedirectBroken {
        session: SessionId,
    },
    /// Too much was on its way: a message is lost, and its subscribers with it.
    Lost(Published),
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub kind: TopicKind,
    /// That of the channel's name.
    pub hash: u64,
    pub channel_len: u32,
    /// The channel and the payload, one behind the other.
    text: Bytes,
}

impl Published {
    pub(crate) fn new(kind: TopicKind, hash: u64, channel: &[u8], payload: &[u8]) -> Self {
        let text = Bytes::from([channel, payload].concat());
        Self { kind, hash, channel_len: channel.len() as u32, text }
    }

    pub(crate) fn channel(&self) -> &[u8] {
        &self.text[..self.channel_len as usize]
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.text[self.channel_len as usize..]
    }

    /// The payload, shared.
    fn shared_payload(&self) -> Bytes {
        self.text.slice(self.channel_len as usize..)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Without its payload.
    pub(crate) fn into_lost(self) -> Notice {
        // Copied, so that the payload goes.
        let text = Bytes::copy_from_slice(self.channel());
        Notice::Lost(Self { text, ..self })
    }
}

/// A PUBLISH on its way to the channel's home.
pub(crate) struct PublishRequest {
    pub session: SessionId,
    /// The place that its session keeps for the reply.
    pub hole: u32,
    pub message: Published,
}

/// A session subscribes to a topic, or unsubscribes.
#[derive(Clone, Debug)]
pub(crate) struct TopicChange {
    pub topic: TopicName,
    pub subscribes: bool,
}

/// The shards that are homes of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    One(ShardId),
    /// Each of them publishes to it by itself.
    All,
}

/// Channels of keyspace events, which the shard of the key publishes to.
const EVENT_CHANNELS: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

/// The shard that orders the messages of a channel. It stays the same wherever slots move.
pub(crate) fn home_of_channel(name: &[u8], shard_count: usize) -> ShardId {
    ShardId((SlotId::of_key(name).index() * shard_count / SLOTS) as u16)
}

/// Whether messages of a channel are keyspace events.
fn is_event_channel(name: &[u8]) -> bool {
    EVENT_CHANNELS.iter().any(|start| name.starts_with(start))
}

pub(crate) fn home_of(kind: TopicKind, name: &[u8], shard_count: usize) -> Home {
    let is_everywhere = match kind {
        TopicKind::Pattern => true,
        TopicKind::Channel => is_event_channel(name),
        TopicKind::ShardChannel => false,
    };
    if is_everywhere { Home::All } else { Home::One(home_of_channel(name, shard_count)) }
}

impl Shard {
    pub(crate) fn topic(&self, kind: TopicKind, name: &[u8]) -> TopicName {
        TopicName { kind, name: Arc::from(name), hash: self.keyspace.hasher().hash(name) }
    }

    /// As a home, takes over what a session of a core subscribes to or unsubscribes from, and has it activated
    /// there.
    pub(crate) fn change_topics(
        &mut self,
        core: ShardId,
        session: SessionId,
        changes: Vec<TopicChange>,
    ) {
        self.count_changes(core, &changes);
        self.pubsub.outgoing.push_back((core, Notice::Changed { session, changes }));
    }

    /// As a home, takes over what a session of a core subscribes to or unsubscribes from.
    pub(crate) fn count_changes(&mut self, core: ShardId, changes: &[TopicChange]) {
        // Those that were raised before are not for who subscribes now.
        self.publish_events();
        let hasher = self.keyspace.hasher();
        for change in changes {
            self.pubsub.directory.change(core, change, hasher);
        }
        self.settle_events();
    }

    /// To be called when the settings or the subscribers changed: events are raised only if they are published and
    /// somebody may hear them.
    pub(crate) fn settle_events(&mut self) {
        let events = self.config.notify_keyspace_events;
        let goes_anywhere =
            events.has(KeyspaceEvents::KEYSPACE) || events.has(KeyspaceEvents::KEYEVENT);
        let classes = match goes_anywhere && self.pubsub.directory.hears_events() {
            true => events.classes(),
            false => EventClasses::NONE,
        };
        let publishes = classes != EventClasses::NONE;
        if publishes || self.pubsub.publishes_events {
            self.keyspace.set_event_classes(classes);
        }
        self.pubsub.publishes_events = publishes;
    }

    /// Publishes the keyspace events that were raised, in their order, to the channels of their keys and of
    /// themselves.
    #[inline]
    pub(crate) fn publish_events(&mut self) {
        if self.pubsub.publishes_events && self.keyspace.has_events() {
            self.publish_raised_events();
        }
    }

    #[cold]
    fn publish_raised_events(&mut self) {
        let events = self.config.notify_keyspace_events;
        let raised = self.keyspace.take_events();
        let mut channel = Vec::new();
        for (database, key, event) in raised.iter() {
            let name = event.name.as_bytes();
            for (kind, start, end, payload) in [
                (KeyspaceEvents::KEYSPACE, EVENT_CHANNELS[0], key, name),
                (KeyspaceEvents::KEYEVENT, EVENT_CHANNELS[1], name, key),
            ] {
                if events.has(kind) {
                    channel.clear();
                    channel.extend_from_slice(start);
                    channel.extend_from_slice(itoa::Buffer::new().format(database.0).as_bytes());
                    channel.extend_from_slice(b"__:");
                    channel.extend_from_slice(end);
                    self.publish_event(&channel, payload);
                }
            }
        }
        self.keyspace.reuse_events(raised);
    }

    fn publish_event(&mut self, channel: &[u8], payload: &[u8]) {
        let (kind, here) = (TopicKind::Channel, self.id);
        let hash = self.keyspace.hasher().hash(channel);
        let (cores, _) = self.route(kind, (channel, hash));
        if cores.is_empty() {
            return;
        }
        if cores[..] == [here] && self.pubsub.outgoing.is_empty() {
            return self.deliver_text(here, (kind, hash), (channel, payload), None);
        }
        let message = Published::new(kind, hash, channel, payload);
        for core in cores {
            self.pubsub.outgoing.push_back((core, Notice::Message(message.clone())));
        }
    }

    /// As a home, counts a message, and returns the cores that are to deliver it and how many get it.
    pub(crate) fn route(
        &mut self,
        kind: TopicKind,
        (channel, hash): (&[u8], u64),
    ) -> (SmallVec<[ShardId; 8]>, u64) {
        let PubSub { directory, matching, .. } = &mut self.pubsub;
        self.stats.published += 1;
        directory.route(kind, (channel, hash), self.keyspace.hasher(), matching)
    }

    /// As a home, publishes a message: has every core with a subscriber deliver it. Returns how many get it.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "whoever publishes it has no use for it any more"
    )]
    pub(crate) fn publish(&mut self, message: Published) -> u64 {
        let (cores, receivers) = self.route(message.kind, (message.channel(), message.hash));
        for core in cores {
            self.pubsub.outgoing.push_back((core, Notice::Message(message.clone())));
        }
        receivers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_spread_and_follow_hash_tags() {
        let homes: Vec<ShardId> =
            (0..100).map(|n| home_of_channel(format!("c{n}").as_bytes(), 4)).collect();
        assert!((0..4).all(|shard| homes.contains(&ShardId(shard))));
        assert_eq!(home_of_channel(b"{room}:1", 4), home_of_channel(b"room", 4));
        let home = |kind, name: &[u8]| home_of(kind, name, 4);
        assert_eq!(home(TopicKind::Pattern, b"a"), Home::All);
        assert_eq!(home(TopicKind::Channel, b"__keyevent@0__:set"), Home::All);
        assert_ne!(home(TopicKind::ShardChannel, b"__keyevent@0__:set"), Home::All);
        assert_ne!(home(TopicKind::Channel, b"__keys"), Home::All);
    }
}
