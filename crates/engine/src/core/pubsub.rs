//! Pub/Sub on its way: messages and confirmations between homes and the cores of the subscribers.

use basalt_commands::config::PipelineOrder;
use basalt_keyspace::{LONG_STRING_BYTES, ShardId};
use bytes::Bytes;

use super::Core;
use super::cut_off::CutOff;
use crate::limits;
use crate::mesh::message::{Ask, Notification};
use crate::session::subscriptions::TopicKind;
use crate::session::{ReplyMode, SessionId};
use crate::shard::Shard;
use crate::shard::pubsub::{
    Home, Notice, PublishRequest, Published, TopicChange, home_of, home_of_channel,
};

impl Core {
    /// Passes on what this shard has for the sessions of cores, in its order.
    #[inline]
    pub(super) fn pass_notices(&mut self) {
        if !self.shard.pubsub.outgoing.is_empty() {
            self.pass_all_notices();
        }
    }

    /// Publishes the keyspace events that were raised, and has clients hear of what they track.
    #[inline]
    pub(super) fn publish_events(&mut self) {
        if self.shard.pubsub.publishes_events || self.shard.keyspace.has_invalidated() {
            self.publish_events_now();
        }
    }

    #[cold]
    fn publish_events_now(&mut self) {
        self.shard.publish_events();
        self.shard.publish_invalidated();
        self.pass_notices();
        self.cut_off_overdue();
    }

    #[cold]
    fn pass_all_notices(&mut self) {
        while let Some((to, notice)) = self.shard.pubsub.outgoing.pop_front() {
            if to == self.shard.id {
                self.take_notice(to, notice);
            } else {
                self.outboxes[to.index()].notify(notice);
            }
        }
        self.cut_off_overdue();
    }

    /// Does what a shard has for sessions of this core.
    pub(super) fn take_notice(&mut self, from: ShardId, notice: Notice) {
        match notice {
            Notice::Message(message) => self.shard.deliver(from, &message),
            Notice::Changed { session, changes } => {
                let Shard { pubsub, sessions, keyspace, .. } = &mut self.shard;
                for TopicChange { topic, subscribes } in &changes {
                    let change = (topic, *subscribes);
                    let hasher = keyspace.hasher();
                    pubsub.subscribers.changed(sessions, (from, session), change, hasher);
                }
            }
            Notice::Invalidate(message) => self.shard.invalidate(&message),
            Notice::InvalidateAll => self.shard.invalidate_all(),
            Notice::Redirected { from, to, keys } => self.shard.redirected(from, to, keys.as_ref()),
            Notice::RedirectBroken { session } => self.shard.break_redirect(session),
            Notice::Lost(message) => self.shard.lose(from, &message),
        }
    }

    /// Cuts off who has more unsent messages than it may.
    pub(super) fn cut_off_overdue(&mut self) {
        while let Some(id) = self.shard.pubsub.overdue.pop() {
            self.cut_off(id, CutOff::OutputLimit);
        }
    }

    /// Whether a session may publish to a channel now: what it did before must be done, so that whoever gets the
    /// message sees it. Of several PUBLISHes in a row each goes its way.
    pub(super) fn may_publish(&mut self, id: SessionId, channel: &[u8]) -> bool {
        let home = home_of_channel(channel, self.outboxes.len());
        let is_strict = self.shard.config.pipeline_order == PipelineOrder::Strict;
        let Some(session) = self.shard.sessions.get_mut(id) else { return false };
        if !session.queue.is_empty() {
            let is_in_order = session.queue.holes_since(session.publishes.0)
                && session.queue.next_hole() == session.publishes.1
                && (!is_strict || session.last_shard == home)
                && session.reply_mode == ReplyMode::On;
            if !is_in_order || session.queue.len() >= session.hole_limit {
                return false;
            }
        }
        if home != self.shard.id && !self.outboxes[home.index()].has_room() {
            session.waits_for_room = true;
            self.outboxes[home.index()].wait_for_room(id);
            return false;
        }
        true
    }

    /// Publishes a message, here or by its home.
    pub(crate) fn publish(
        &mut self,
        id: SessionId,
        kind: TopicKind,
        channel: &[u8],
        payload: &[u8],
    ) {
        let home = home_of_channel(channel, self.outboxes.len());
        if home == self.shard.id {
            self.publish_here(id, kind, channel, payload);
            return;
        }
        let hash = self.shard.keyspace.hasher().hash(channel);
        let message = Published::new(kind, hash, channel, payload);
        let is_nested = self.nested.is_some();
        let Some(session) = self.shard.sessions.get_mut(id) else { return };
        session.last_shard = home;
        let protocol = session.protocol;
        if is_nested || session.reply_mode != ReplyMode::On {
            self.coordinate(id, |hops| async move {
                let receivers = hops.on(home, move |shard| shard.publish(message)).await;
                let mut answer = Vec::new();
                basalt_resp::Reply::new(&mut answer, protocol).integer(receivers as i64);
                answer
            });
            return;
        }
        if session.queue.is_empty() {
            session.publishes.0 = session.queue.next_hole();
        }
        let hole = session.queue.open_hole();
        session.publishes.1 = session.queue.next_hole();
        self.ask(home, Ask::Publish(PublishRequest { session: id, hole, message }));
    }

    /// Publishes a message as its home, for a session of this core: it learns how many get it before it gets it
    /// itself.
    fn publish_here(&mut self, id: SessionId, kind: TopicKind, channel: &[u8], payload: &[u8]) {
        self.pass_notices();
        let hash = self.shard.keyspace.hasher().hash(channel);
        let (cores, receivers) = self.shard.route(kind, (channel, hash));
        self.answer(id, |reply| reply.integer(receivers as i64));
        let here = self.shard.id;
        let others = || cores.iter().filter(|core| **core != here);
        if others().next().is_some() {
            let message = Published::new(kind, hash, channel, payload);
            for core in others() {
                self.outboxes[core.index()].notify(Notice::Message(message.clone()));
            }
        }
        if cores.contains(&here) {
            let is_long = payload.len() >= LONG_STRING_BYTES;
            let shared = is_long.then(|| Bytes::copy_from_slice(payload));
            self.shard.deliver_text(here, (kind, hash), (channel, payload), shared.as_ref());
            self.cut_off_overdue();
        }
    }

    /// Publishes a message as its home, for a session of another core.
    pub(super) fn publish_for(&mut self, from: ShardId, request: PublishRequest) {
        let PublishRequest { session, hole, message } = request;
        self.quiescence.disturb();
        let receivers = self.shard.publish(message);
        self.notify(from, Notification::Published { session, hole, receivers });
    }

    /// What a session was to be answered is written: pushes that came meanwhile follow.
    pub(super) fn release_pushes(&mut self, id: SessionId) {
        if let Some(session) = self.shard.sessions.get_mut(id)
            && session.release_pushes()
        {
            self.shard.sessions.mark_dirty(id);
        }
    }

    /// Drops some of what sessions that are gone were subscribed to. Returns whether some is left.
    pub(super) fn drop_subscriptions(&mut self) -> bool {
        if !self.shard.pubsub.subscribers.has_leaving() {
            return false;
        }
        let Shard { pubsub, sessions, keyspace, .. } = &mut self.shard;
        let dropped = pubsub.subscribers.drop_some(
            sessions,
            limits::SUBSCRIPTIONS_DROPPED_AT_ONCE,
            keyspace.hasher(),
        );
        let core = self.shard.id;
        let changes = dropped.into_iter().map(|topic| TopicChange { topic, subscribes: false });
        for (home, changes) in self.by_home(changes) {
            self.hop_on(home, move |shard| shard.count_changes(core, &changes));
        }
        self.shard.pubsub.subscribers.has_leaving()
    }

    /// Changes by the homes that have to take them over.
    pub(crate) fn by_home(
        &self,
        changes: impl IntoIterator<Item = TopicChange>,
    ) -> Vec<(ShardId, Vec<TopicChange>)> {
        let shard_count = self.outboxes.len();
        let mut by_home = vec![Vec::new(); shard_count];
        for change in changes {
            match home_of(change.topic.kind, &change.topic.name, shard_count) {
                Home::One(home) => by_home[home.index()].push(change),
                Home::All => by_home.iter_mut().for_each(|all| all.push(change.clone())),
            }
        }
        let all = by_home.into_iter().enumerate().filter(|(_, changes)| !changes.is_empty());
        all.map(|(home, changes)| (ShardId(home as u16), changes)).collect()
    }
}
