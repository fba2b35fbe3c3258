//! Delivery: messages written into the outputs of the sessions of a core that are subscribed.
//!
//! A message is encoded once: RESP2 and RESP3 differ in its first byte. A long payload is not copied but shared by
//! all outputs.

use basalt_keyspace::{KeyHasher, LONG_STRING_BYTES, ShardId};
use basalt_resp::{Protocol, Reply};
use bytes::Bytes;

use super::{PubSub, Published};
use crate::session::subscriptions::{TopicId, TopicKind};
use crate::session::{SessionId, Sessions};
use crate::shard::Shard;

/// What every session is given: the encoded message, and the payload apart from it if that is shared.
struct Encoded<'a> {
    bytes: &'a [u8],
    payload: Option<&'a Bytes>,
}

/// Where messages go to.
struct Receivers<'a> {
    sessions: &'a mut Sessions,
    overdue: &'a mut Vec<SessionId>,
    unsent_bytes_max: u64,
    delivered: u64,
}

impl Receivers<'_> {
    fn give(&mut self, id: SessionId, message: &Encoded<'_>) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.is_closing {
            return;
        }
        session.push(message.bytes, message.payload);
        self.delivered += 1;
        if self.unsent_bytes_max > 0 && session.output_bytes() as u64 > self.unsent_bytes_max {
            self.overdue.push(id);
        }
        self.sessions.mark_dirty(id);
    }
}

impl Shard {
    /// Delivers a message that came from its home.
    pub(crate) fn deliver(&mut self, home: ShardId, message: &Published) {
        let is_shared = message.payload().len() >= LONG_STRING_BYTES;
        let shared = is_shared.then(|| message.shared_payload());
        let Published { kind, hash, .. } = *message;
        self.deliver_text(
            home,
            (kind, hash),
            (message.channel(), message.payload()),
            shared.as_ref(),
        );
    }

    /// As [`Shard::deliver`], of a message that lies elsewhere.
    pub(crate) fn deliver_text(
        &mut self,
        home: ShardId,
        (kind, hash): (TopicKind, u64),
        (channel, payload): (&[u8], &[u8]),
        shared: Option<&Bytes>,
    ) {
        let Self { pubsub, sessions, keyspace, config, stats, .. } = self;
        let hasher: &KeyHasher = keyspace.hasher();
        let PubSub { subscribers, overdue, encoded, matching, .. } = pubsub;
        let subscribers = &*subscribers;
        let unsent_bytes_max = config.client_output_buffer_limit.pubsub.hard_bytes;
        let mut receivers = Receivers { sessions, overdue, unsent_bytes_max, delivered: 0 };
        let mut give_all = |topic: TopicId, words: &[&[u8]]| {
            encoded.clear();
            let mut reply = Reply::new(encoded, Protocol::Resp3);
            reply.push(words.len() + 1);
            words.iter().for_each(|word| reply.bulk(word));
            match shared {
                Some(payload) => reply.bulk_header(payload.len()),
                None => reply.bulk(payload),
            }
            let message = Encoded { bytes: encoded, payload: shared };
            for id in subscribers.receivers(topic, home) {
                receivers.give(id, &message);
            }
        };
        if let Some(topic) = subscribers.find(kind, channel, hash) {
            let word: &[u8] = if kind == TopicKind::Channel { b"message" } else { b"smessage" };
            give_all(topic, &[word, channel]);
        }
        if kind == TopicKind::Channel {
            subscribers.match_patterns(channel, hasher, matching);
            for &topic in &*matching {
                give_all(topic, &[&b"pmessage"[..], subscribers.name_of(topic), channel]);
            }
        }
        stats.delivered += receivers.delivered;
    }

    /// A message of a home is lost: so are those that should have got it.
    pub(crate) fn lose(&mut self, home: ShardId, message: &Published) {
        let Self { pubsub, keyspace, .. } = self;
        let PubSub { subscribers, overdue, matching, .. } = pubsub;
        if let Some(topic) = subscribers.find(message.kind, message.channel(), message.hash) {
            overdue.extend(subscribers.receivers(topic, home));
        }
        if message.kind == TopicKind::Channel {
            subscribers.match_patterns(message.channel(), keyspace.hasher(), matching);
            for &topic in &*matching {
                overdue.extend(subscribers.receivers(topic, home));
            }
        }
    }
}
