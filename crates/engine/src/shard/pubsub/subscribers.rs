//! Subscribers: which of a core's sessions are subscribed to what.
//!
//! A subscription is *pending* from the command until all homes of the topic have answered: meanwhile it holds for the
//! messages of those that have counted it, and one that ends for those that still count it.

use std::collections::BTreeMap;

use basalt_keyspace::{KeyHasher, ShardId};
use smallvec::SmallVec;

use super::topics::{TopicName, Topics};
use crate::session::subscriptions::{PENDING, Subscriptions, TopicId, TopicKind};
use crate::session::{SessionId, Sessions};

/// The sessions of a topic, of this core.
type Members = SmallVec<[SessionId; 2]>;

/// A set of shards.
#[derive(Clone, Copy, Debug, Default)]
struct ShardSet([u64; 4]);

impl ShardSet {
    const ALL: Self = Self([u64::MAX; 4]);

    fn set(&mut self, shard: ShardId, is_in: bool) {
        let (word, bit) = (shard.index() / 64, 1 << (shard.index() % 64));
        if is_in {
            self.0[word] |= bit;
        } else {
            self.0[word] &= !bit;
        }
    }

    fn has(&self, shard: ShardId) -> bool {
        self.0[shard.index() / 64] & 1 << (shard.index() % 64) != 0
    }
}

/// A subscription that begins or ends.
#[derive(Debug)]
struct Pending {
    /// The homes whose messages it gets.
    active: ShardSet,
    /// How many homes have not answered.
    waits_for: usize,
    begins: bool,
}

/// The topics that sessions of a core are subscribed to.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    topics: Topics<Members>,
    pending: BTreeMap<(TopicId, SessionId), Pending>,
    /// Sessions that are gone, and what of their subscriptions is still to be dropped.
    leaving: BTreeMap<SessionId, Box<Subscriptions>>,
}

impl Subscribers {
    pub(crate) fn is_empty(&self) -> bool {
        [TopicKind::Channel, TopicKind::Pattern, TopicKind::ShardChannel]
            .iter()
            .all(|kind| self.topics.count(*kind) == 0)
    }

    /// A session begins to subscribe to a topic that has so many homes. Returns false if it is subscribed.
    pub(crate) fn begin(
        &mut self,
        (id, own): (SessionId, &mut Subscriptions),
        topic: &TopicName,
        homes: usize,
        hasher: &KeyHasher,
    ) -> bool {
        let topic_id = self.topics.find_or_add(topic, hasher);
        if own.topics.contains_key(&topic_id) {
            return false;
        }
        own.topics.insert(topic_id, PENDING);
        own.counts[topic.kind.index()] += 1;
        let pending = Pending { active: ShardSet::default(), waits_for: homes, begins: true };
        self.pending.insert((topic_id, id), pending);
        true
    }

    /// A session begins to unsubscribe. Returns false if it is not subscribed.
    pub(crate) fn end(
        &mut self,
        sessions: &mut Sessions,
        id: SessionId,
        topic: &TopicName,
        homes: usize,
    ) -> bool {
        let Some(topic_id) = self.topics.find(topic.kind, &topic.name, topic.hash) else {
            return false;
        };
        let own = sessions.get_mut(id).and_then(|session| session.subscriptions.as_deref_mut());
        let Some(own) = own else { return false };
        let Some(place) = own.topics.remove(&topic_id) else { return false };
        own.counts[topic.kind.index()] -= 1;
        self.remove_member(sessions, topic_id, place);
        let pending = Pending { active: ShardSet::ALL, waits_for: homes, begins: false };
        self.pending.insert((topic_id, id), pending);
        true
    }

    /// A home has taken over that a session subscribes or unsubscribes.
    pub(crate) fn changed(
        &mut self,
        sessions: &mut Sessions,
        (home, id): (ShardId, SessionId),
        (topic, subscribes): (&TopicName, bool),
        hasher: &KeyHasher,
    ) {
        let Some(topic_id) = self.topics.find(topic.kind, &topic.name, topic.hash) else { return };
        let Some(pending) = self.pending.get_mut(&(topic_id, id)) else { return };
        if pending.begins != subscribes {
            return;
        }
        pending.active.set(home, subscribes);
        pending.waits_for -= 1;
        if pending.waits_for > 0 {
            return;
        }
        self.pending.remove(&(topic_id, id));
        let own = sessions.get_mut(id).and_then(|session| session.subscriptions.as_deref_mut());
        if let (true, Some(own)) = (subscribes, own) {
            let members = self.topics.get_mut(topic_id);
            own.topics.insert(topic_id, members.len() as u32);
            members.push(id);
        }
        self.forget_if_unused(topic_id, hasher);
    }

    /// The topics of a kind that a session is subscribed to.
    pub(crate) fn topics_of(&self, own: &Subscriptions, kind: TopicKind) -> Vec<TopicName> {
        let all = own.topics.keys().map(|id| &self.topics.get(*id).0);
        all.filter(|topic| topic.kind == kind).cloned().collect()
    }

    /// A session is gone; what it was subscribed to is dropped by [`Subscribers::drop_some`].
    pub(crate) fn leave(&mut self, id: SessionId, own: Box<Subscriptions>) {
        if !own.is_empty() {
            self.leaving.insert(id, own);
        }
    }

    pub(crate) fn has_leaving(&self) -> bool {
        !self.leaving.is_empty()
    }

    /// Drops up to `count_max` subscriptions of sessions that are gone. Returns their topics.
    pub(crate) fn drop_some(
        &mut self,
        sessions: &mut Sessions,
        count_max: usize,
        hasher: &KeyHasher,
    ) -> Vec<TopicName> {
        let mut dropped = Vec::new();
        while dropped.len() < count_max
            && let Some(mut first) = self.leaving.first_entry()
        {
            let id = *first.key();
            let Some((topic_id, place)) = first.get_mut().topics.pop_first() else {
                first.remove();
                continue;
            };
            if place == PENDING {
                self.pending.remove(&(topic_id, id));
            } else {
                self.remove_member(sessions, topic_id, place);
            }
            dropped.push(self.topics.get(topic_id).0.clone());
            self.forget_if_unused(topic_id, hasher);
        }
        dropped
    }

    fn remove_member(&mut self, sessions: &mut Sessions, topic_id: TopicId, place: u32) {
        let members = self.topics.get_mut(topic_id);
        members.swap_remove(place as usize);
        let Some(&moved) = members.get(place as usize) else {
            if members.spilled() && members.len() < members.capacity() / 4 {
                members.shrink_to_fit();
            }
            return;
        };
        let of_moved = match sessions.get_mut(moved) {
            Some(session) => session.subscriptions.as_deref_mut(),
            None => self.leaving.get_mut(&moved).map(|own| &mut **own),
        };
        if let Some(place_of_moved) = of_moved.and_then(|own| own.topics.get_mut(&topic_id)) {
            *place_of_moved = place;
        }
    }

    fn forget_if_unused(&mut self, topic_id: TopicId, hasher: &KeyHasher) {
        let is_used =
            !self.topics.get(topic_id).1.is_empty() || self.pending_of(topic_id).next().is_some();
        if !is_used {
            self.topics.remove(topic_id, hasher);
        }
    }

    fn pending_of(&self, topic_id: TopicId) -> impl Iterator<Item = (SessionId, &Pending)> {
        const FIRST: SessionId = SessionId { index: 0, generation: 0 };
        const LAST: SessionId = SessionId { index: u32::MAX, generation: u32::MAX };
        let all = self.pending.range((topic_id, FIRST)..=(topic_id, LAST));
        all.map(|((_, id), pending)| (*id, pending))
    }

    pub(super) fn find(&self, kind: TopicKind, name: &[u8], hash: u64) -> Option<TopicId> {
        self.topics.find(kind, name, hash)
    }

    pub(super) fn match_patterns(
        &self,
        channel: &[u8],
        hasher: &KeyHasher,
        found: &mut Vec<TopicId>,
    ) {
        self.topics.match_patterns(channel, hasher, found);
    }

    pub(super) fn name_of(&self, topic_id: TopicId) -> &[u8] {
        &self.topics.get(topic_id).0.name
    }

    /// The sessions that get a message of a home.
    pub(super) fn receivers(
        &self,
        topic_id: TopicId,
        home: ShardId,
    ) -> impl Iterator<Item = SessionId> {
        let members = self.topics.get(topic_id).1.iter().copied();
        let pending =
            self.pending_of(topic_id).filter(move |(_, pending)| pending.active.has(home));
        members.chain(pending.map(|(id, _)| id))
    }
}
