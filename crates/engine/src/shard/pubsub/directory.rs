//! Directory: what a home knows of its topics: how many subscribers each core has.

use basalt_keyspace::{KeyHasher, ShardId};
use smallvec::SmallVec;

use super::topics::{TopicName, Topics};
use super::{TopicChange, is_event_channel};
use crate::session::subscriptions::{TopicId, TopicKind};

/// How many subscribers the cores have that have some.
type Counts = SmallVec<[(ShardId, u32); 2]>;

/// The topics of a home.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    topics: Topics<Counts>,
    /// How many channels of keyspace events are among them: all shards know these.
    event_channels: usize,
}

impl Directory {
    pub(crate) fn change(&mut self, core: ShardId, change: &TopicChange, hasher: &KeyHasher) {
        let TopicChange { topic, subscribes } = change;
        let is_event = topic.kind == TopicKind::Channel && is_event_channel(&topic.name);
        if *subscribes {
            let is_new = self.topics.find(topic.kind, &topic.name, topic.hash).is_none();
            self.event_channels += usize::from(is_event && is_new);
            let id = self.topics.find_or_add(topic, hasher);
            let counts = self.topics.get_mut(id);
            match counts.iter_mut().find(|(other, _)| *other == core) {
                Some((_, count)) => *count += 1,
                None => counts.push((core, 1)),
            }
            return;
        }
        let id = self.topics.find(topic.kind, &topic.name, topic.hash);
        let id = id.expect("a core unsubscribes only from what it subscribed to");
        let counts = self.topics.get_mut(id);
        let at = counts.iter().position(|(other, _)| *other == core);
        let at = at.expect("a core unsubscribes only from what it subscribed to");
        counts[at].1 -= 1;
        if counts[at].1 == 0 {
            counts.swap_remove(at);
        }
        if counts.is_empty() {
            self.event_channels -= usize::from(is_event);
            self.topics.remove(id, hasher);
        }
    }

    /// The cores that have subscribers of a channel or of patterns that match it, and how many there are: one
    /// that is subscribed to both, or to several patterns, counts as often.
    pub(crate) fn route(
        &self,
        kind: TopicKind,
        (channel, hash): (&[u8], u64),
        hasher: &KeyHasher,
        matching: &mut Vec<TopicId>,
    ) -> (SmallVec<[ShardId; 8]>, u64) {
        let (mut cores, mut receivers) = (SmallVec::new(), 0);
        let mut add = |id: TopicId| {
            for &(core, count) in &self.topics.get(id).1 {
                receivers += u64::from(count);
                if !cores.contains(&core) {
                    cores.push(core);
                }
            }
        };
        if let Some(id) = self.topics.find(kind, channel, hash) {
            add(id);
        }
        if kind == TopicKind::Channel {
            self.topics.match_patterns(channel, hasher, matching);
            matching.iter().for_each(|id| add(*id));
        }
        (cores, receivers)
    }

    /// How many topics of a kind have subscribers.
    pub(crate) fn count(&self, kind: TopicKind) -> usize {
        self.topics.count(kind)
    }

    /// How many channels, patterns and shard channels have subscribers, with or without the channels that all shards
    /// know.
    pub(crate) fn counts(&self, with_common: bool) -> (usize, usize, usize) {
        let count = |kind| self.topics.count(kind);
        let common = if with_common { 0 } else { self.event_channels };
        let channels = count(TopicKind::Channel) - common;
        (channels, count(TopicKind::Pattern), count(TopicKind::ShardChannel))
    }

    /// Whether a keyspace event may have a subscriber.
    pub(crate) fn hears_events(&self) -> bool {
        self.event_channels > 0 || self.topics.count(TopicKind::Pattern) > 0
    }

    /// How many sessions are subscribed to a topic.
    pub(crate) fn subscribers_of(&self, topic: &TopicName) -> u64 {
        let id = self.topics.find(topic.kind, &topic.name, topic.hash);
        id.map_or(0, |id| self.topics.get(id).1.iter().map(|(_, count)| u64::from(*count)).sum())
    }

    /// The names of all topics of a kind.
    pub(crate) fn names(&self, kind: TopicKind) -> impl Iterator<Item = &[u8]> {
        let all = self.topics.iter().filter(move |(topic, _)| topic.kind == kind);
        all.map(|(topic, _)| &topic.name[..])
    }
}
