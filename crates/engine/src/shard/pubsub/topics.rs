//! Topics: channels, patterns and shard channels by name, with what is kept of each.

use std::sync::Arc;

use basalt_commands::glob;
use basalt_keyspace::KeyHasher;
use hashbrown::HashTable;

use super::patterns::PatternIndex;
use crate::session::subscriptions::{TopicId, TopicKind};

/// A topic by name, with the hash of that.
#[derive(Clone, Debug)]
pub(crate) struct TopicName {
    pub kind: TopicKind,
    pub name: Arc<[u8]>,
    pub hash: u64,
}

/// Topics by name.
#[derive(Debug)]
pub(crate) struct Topics<V> {
    by_name: HashTable<TopicId>,
    places: Vec<Option<(TopicName, V)>>,
    free: Vec<TopicId>,
    patterns: PatternIndex,
    counts: [usize; TopicKind::COUNT],
}

impl<V> Default for Topics<V> {
    fn default() -> Self {
        Self {
            by_name: HashTable::new(),
            places: Vec::new(),
            free: Vec::new(),
            patterns: PatternIndex::default(),
            counts: [0; TopicKind::COUNT],
        }
    }
}

impl<V> Topics<V> {
    pub(crate) fn count(&self, kind: TopicKind) -> usize {
        self.counts[kind.index()]
    }

    pub(crate) fn find(&self, kind: TopicKind, name: &[u8], hash: u64) -> Option<TopicId> {
        let is_it = |id: &TopicId| {
            self.places[*id as usize]
                .as_ref()
                .is_some_and(|(topic, _)| topic.kind == kind && *topic.name == *name)
        };
        self.by_name.find(kind.salt(hash), is_it).copied()
    }

    /// The topic of this name, new if there was none.
    pub(crate) fn find_or_add(&mut self, topic: &TopicName, hasher: &KeyHasher) -> TopicId
    where
        V: Default,
    {
        if let Some(id) = self.find(topic.kind, &topic.name, topic.hash) {
            return id;
        }
        let place = Some((topic.clone(), V::default()));
        let id = match self.free.pop() {
            Some(id) => {
                self.places[id as usize] = place;
                id
            }
            None => {
                self.places.push(place);
                (self.places.len() - 1) as TopicId
            }
        };
        let places = &self.places;
        let hash_of = |id: &TopicId| {
            let place = places[*id as usize].as_ref();
            place.map_or(0, |(topic, _)| topic.kind.salt(topic.hash))
        };
        self.by_name.insert_unique(topic.kind.salt(topic.hash), id, hash_of);
        self.counts[topic.kind.index()] += 1;
        if topic.kind == TopicKind::Pattern {
            self.patterns.add(&topic.name, id, hasher);
        }
        id
    }

    pub(crate) fn remove(&mut self, id: TopicId, hasher: &KeyHasher) {
        let Some((topic, _)) = self.places[id as usize].take() else { return };
        if let Ok(found) = self.by_name.find_entry(topic.kind.salt(topic.hash), |own| *own == id) {
            found.remove();
        }
        self.free.push(id);
        self.counts[topic.kind.index()] -= 1;
        if topic.kind == TopicKind::Pattern {
            self.patterns.remove(&topic.name, id, hasher);
        }
        if self.by_name.is_empty() {
            *self = Self::default();
        }
    }

    /// What is kept of a topic that is there.
    pub(crate) fn get(&self, id: TopicId) -> &(TopicName, V) {
        self.places[id as usize].as_ref().expect("only topics that are there are asked for")
    }

    pub(crate) fn get_mut(&mut self, id: TopicId) -> &mut V {
        &mut self.places[id as usize].as_mut().expect("only topics that are there are asked for").1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(TopicName, V)> {
        self.places.iter().flatten()
    }

    /// Finds the patterns that match a channel, in the order of their ids.
    pub(crate) fn match_patterns(
        &self,
        channel: &[u8],
        hasher: &KeyHasher,
        found: &mut Vec<TopicId>,
    ) {
        found.clear();
        if self.counts[TopicKind::Pattern.index()] == 0 {
            return;
        }
        self.patterns.candidates(channel, hasher, found);
        found.retain(|id| glob::matches(&self.get(*id).0.name, channel));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_do_not_meet_and_places_are_used_again() {
        let hasher = KeyHasher::new(1);
        let topic =
            |kind, name: &[u8]| TopicName { kind, name: name.into(), hash: hasher.hash(name) };
        let mut topics: Topics<u32> = Topics::default();
        let kinds = [TopicKind::Channel, TopicKind::Pattern, TopicKind::ShardChannel];
        let ids = kinds.map(|kind| topics.find_or_add(&topic(kind, b"a*"), &hasher));
        assert_eq!(ids, [0, 1, 2]);
        assert_eq!(topics.find_or_add(&topic(TopicKind::Channel, b"a*"), &hasher), 0);
        *topics.get_mut(1) = 7;
        let mut found = Vec::new();
        topics.match_patterns(b"abc", &hasher, &mut found);
        assert_eq!(found, [1]);
        topics.remove(1, &hasher);
        topics.match_patterns(b"abc", &hasher, &mut found);
        assert!(found.is_empty());
        assert_eq!(topics.find(TopicKind::Pattern, b"a*", hasher.hash(b"a*")), None);
        assert_eq!(topics.find_or_add(&topic(TopicKind::Pattern, b"b*"), &hasher), 1);
        assert_eq!((topics.get(1).1, topics.count(TopicKind::Pattern)), (0, 1));
        (0..3).for_each(|id| topics.remove(id, &hasher));
        assert!(kinds.iter().all(|kind| topics.count(*kind) == 0));
    }
}
