//! Invalidation: clients hear of changes of keys that they track.
//!
//! A key's shard knows which sessions have read it. What it has for them travels as notices do, behind the replies
//! that it gave before; at home it is a push of the session itself, or of the one that it redirects to.

use basalt_keyspace::{ClientId, Invalidated, ShardId};
use basalt_resp::{Protocol, Reply};
use bytes::Bytes;

use super::{Notice, PubSub};
use crate::session::SessionId;
use crate::session::armed::Armed;
use crate::session::tracking::Tracking;
use crate::shard::Shard;

/// Where messages go in RESP2.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Sessions that hear of all keys of a prefix; every shard knows all of them.
#[derive(Debug, Default)]
pub(crate) struct Prefixes(Vec<(Vec<u8>, Vec<ClientId>)>);

impl Prefixes {
    fn add(&mut self, prefix: &[u8], client: ClientId) {
        match self.0.iter_mut().find(|(own, _)| own == prefix) {
            Some((_, clients)) => clients.push(client),
            None => self.0.push((prefix.to_vec(), vec![client])),
        }
    }

    fn remove(&mut self, client: ClientId) {
        for (_, clients) in &mut self.0 {
            clients.retain(|other| *other != client);
        }
        self.0.retain(|(_, clients)| !clients.is_empty());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Something that a session hears of keys.
#[derive(Clone, Debug)]
pub(crate) struct Invalidation {
    pub session: SessionId,
    /// Encoded; None for all keys.
    pub keys: Option<Bytes>,
    /// For those that hear of all keys of a prefix.
    pub is_broadcast: bool,
    /// The session made the change itself.
    pub is_own: bool,
}

/// The place of a session in a [`ClientId`].
fn session_of(client: ClientId) -> SessionId {
    SessionId { index: client.session as u32, generation: (client.session >> 32) as u32 }
}

pub(crate) fn client_of(home: ShardId, id: SessionId) -> ClientId {
    crate::shard::call::Client { home, session: id }.into()
}

fn encode_keys<'a>(keys: impl ExactSizeIterator<Item = &'a [u8]>) -> Bytes {
    let mut encoded = Vec::new();
    // The same in both protocols.
    let mut reply = Reply::new(&mut encoded, Protocol::Resp2);
    reply.array(keys.len());
    keys.for_each(|key| reply.bulk(key));
    Bytes::from(encoded)
}

/// Changed keys in the order of their names, as Redis sends them, each once, with who changed it last.
fn last_changes(invalidated: &[Invalidated]) -> Vec<(&[u8], Option<ClientId>)> {
    let mut changed: Vec<(&[u8], Option<ClientId>)> = Vec::new();
    // The last change of each comes first, and stays there: the sort is stable.
    for one in invalidated.iter().rev() {
        if let Invalidated::Changed { name, origin } = one {
            changed.push((name, *origin));
        }
    }
    changed.sort_by_key(|(name, _)| *name);
    changed.dedup_by_key(|(name, _)| *name);
    changed
}

impl Shard {
    /// A session of this core tracks from now on, and every shard knows of it. False where it is gone.
    pub(crate) fn begin_tracking(&mut self, id: SessionId, tracking: Tracking) -> bool {
        let Some(session) = self.sessions.get_mut(id) else { return false };
        session.armed.set(Armed::TRACKING, true);
        session.tracking = Some(Box::new(tracking));
        true
    }

    /// Sessions begin or end to track, here or elsewhere.
    pub(crate) fn count_trackers(&mut self, begins: bool) {
        self.pubsub.trackers += usize::from(begins);
        self.pubsub.trackers -= usize::from(!begins);
        self.settle_trackers();
    }

    pub(crate) fn add_prefixes(&mut self, client: ClientId, prefixes: &[Vec<u8>]) {
        prefixes.iter().for_each(|prefix| self.pubsub.prefixes.add(prefix, client));
        self.settle_trackers();
    }

    pub(crate) fn remove_prefixes(&mut self, client: ClientId) {
        self.pubsub.prefixes.remove(client);
        self.settle_trackers();
    }

    fn settle_trackers(&mut self) {
        let (has_clients, has_prefixes) =
            (self.pubsub.trackers > 0, self.pubsub.prefixes.len() > 0);
        self.keyspace.set_trackers(has_clients, has_prefixes);
    }

    /// Has sessions hear of what was changed.
    #[inline]
    pub(crate) fn publish_invalidated(&mut self) {
        if self.keyspace.has_invalidated() {
            self.publish_all_invalidated();
        }
    }

    #[cold]
    fn publish_all_invalidated(&mut self) {
        let invalidated = self.keyspace.take_invalidated();
        let PubSub { outgoing, prefixes, .. } = &mut self.pubsub;
        let mut tell = |client: ClientId, keys: Option<Bytes>, is_broadcast, is_own| {
            let session = session_of(client);
            let message = Invalidation { session, keys, is_broadcast, is_own };
            outgoing.push_back((client.home, Notice::Invalidate(message)));
        };
        for one in &invalidated {
            if let Invalidated::Key { name, clients, origin } = one {
                let keys = encode_keys([&**name].into_iter());
                for client in clients {
                    tell(*client, Some(keys.clone()), false, *origin == Some(*client));
                }
            }
        }
        let changed = if prefixes.0.is_empty() { Vec::new() } else { last_changes(&invalidated) };
        for (prefix, clients) in &prefixes.0 {
            let first = changed.partition_point(|(name, _)| *name < &prefix[..]);
            let all = changed[first..].iter().take_while(|(name, _)| name.starts_with(prefix));
            let all: Vec<&(&[u8], Option<ClientId>)> = all.collect();
            let mut tell_those = |client: ClientId, is_own: bool| {
                let own = |origin: &Option<ClientId>| *origin == Some(client);
                let keys: Vec<&[u8]> = all
                    .iter()
                    .filter(|(_, origin)| own(origin) == is_own)
                    .map(|(key, _)| *key)
                    .collect();
                if !keys.is_empty() {
                    tell(client, Some(encode_keys(keys.into_iter())), true, is_own);
                }
            };
            for client in clients {
                tell_those(*client, false);
                tell_those(*client, true);
            }
        }
        if invalidated.contains(&Invalidated::All) {
            for core in self.routes.shards() {
                outgoing.push_back((core, Notice::InvalidateAll));
            }
        }
    }

    /// All sessions of this core that track hear that all keys of a database are gone. Each shard sends that; of what
    /// comes with no reply between a session hears once.
    pub(crate) fn invalidate_all(&mut self) {
        let tracking = self.sessions.iter().filter(|session| session.tracking.is_some());
        let all: Vec<(SessionId, bool)> = tracking
            .map(|session| (session.id, session.tracking.as_ref().is_some_and(|own| own.broadcast)))
            .collect();
        for (session, is_broadcast) in all {
            self.invalidate(&Invalidation { session, keys: None, is_broadcast, is_own: false });
        }
    }

    /// A session of this core hears of changed keys.
    pub(crate) fn invalidate(&mut self, message: &Invalidation) {
        let Invalidation { session: id, keys, is_broadcast, is_own } = message;
        let Some(session) = self.sessions.get_mut(*id) else { return };
        let Some(tracking) = &session.tracking else { return };
        if tracking.broadcast != *is_broadcast || (*is_own && tracking.no_loop) {
            return;
        }
        match tracking.redirect {
            None => {
                // A command that waited and changes something is no longer waiting: its reply comes first.
                session.is_waiting &= !*is_own;
                self.push_invalidation(*id, keys.as_ref(), false);
            }
            Some((client, _)) => {
                let (from, to) = (client_of(self.id, *id), session_of(client));
                let keys = keys.clone();
                self.pubsub
                    .outgoing
                    .push_back((client.home, Notice::Redirected { from, to, keys }));
            }
        }
    }

    /// A session gets what another one that redirects to it hears; if it is gone, that one hears so.
    pub(crate) fn redirected(&mut self, from: ClientId, to: SessionId, keys: Option<&Bytes>) {
        if !self.push_invalidation(to, keys, true) {
            let session = session_of(from);
            self.pubsub.outgoing.push_back((from.home, Notice::RedirectBroken { session }));
        }
    }

    /// Returns false if the session is gone.
    fn push_invalidation(
        &mut self,
        id: SessionId,
        keys: Option<&Bytes>,
        is_redirected: bool,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(id).filter(|session| !session.is_closing) else {
            return false;
        };
        if keys.is_none() && session.was_told_all() {
            return true;
        }
        let mut encoded = Vec::new();
        let mut reply = Reply::new(&mut encoded, Protocol::Resp3);
        if session.protocol == Protocol::Resp3 {
            reply.push(2);
            reply.bulk(b"invalidate");
        } else if is_redirected && session.is_subscribed() {
            reply.push(3);
            reply.bulk(b"message");
            reply.bulk(CHANNEL);
        } else {
            return true;
        }
        match keys {
            Some(keys) => reply.raw(keys),
            None => Reply::new(&mut encoded, session.protocol).null(),
        }
        session.push(&encoded, None);
        session.note_told_all(keys.is_none());
        self.stats.invalidations += 1;
        let limit = self.config.client_output_buffer_limit.pubsub.hard_bytes;
        if session.subscriptions.is_some() && limit > 0 && session.output_bytes() as u64 > limit {
            self.pubsub.overdue.push(id);
        }
        self.sessions.mark_dirty(id);
        true
    }

    /// The session that another one redirects to is gone.
    pub(crate) fn break_redirect(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(tracking) = &mut session.tracking else { return };
        tracking.is_redirect_broken = true;
        let Some((_, number)) = tracking.redirect else { return };
        if session.protocol == Protocol::Resp3 {
            let mut encoded = Vec::new();
            let mut reply = Reply::new(&mut encoded, Protocol::Resp3);
            reply.push(2);
            reply.bulk(b"tracking-redir-broken");
            reply.integer(number as i64);
            session.push(&encoded, None);
            self.sessions.mark_dirty(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_changed_key_is_sent_once_with_its_last_change() {
        let client = |session| Some(ClientId { home: ShardId(0), session });
        let changed = |name: &[u8], origin| Invalidated::Changed { name: name.into(), origin };
        let all = [
            changed(b"b", client(1)),
            changed(b"a", client(2)),
            Invalidated::All,
            changed(b"b", client(3)),
            changed(b"ab", None),
        ];
        let expected: [(&[u8], _); 3] = [(b"a", client(2)), (b"ab", None), (b"b", client(3))];
        assert_eq!(last_changes(&all), expected);
        let names: Vec<Vec<u8>> =
            (0..200_000_u32).map(|number| number.to_be_bytes().into()).collect();
        let many: Vec<Invalidated> = names.iter().map(|name| changed(name, None)).collect();
        assert_eq!(last_changes(&many).len(), 200_000);
    }
}
