//! Engine commands of Pub/Sub: SUBSCRIBE and its like, PUBLISH, PUBSUB.

use std::sync::Arc;

use basalt_commands::{CommandError, Outcome, glob};
use basalt_keyspace::ShardId;
use basalt_resp::{Protocol, Reply};

use super::{encode, everywhere, owned, settings};
use crate::core::Core;
use crate::session::SessionId;
use crate::session::subscriptions::TopicKind;
use crate::shard::Shard;
use crate::shard::pubsub::{Home, TopicChange, TopicName, home_of, home_of_channel};

/// What a session hears of a topic: that it is subscribed, or not any more.
struct Confirmation {
    word: &'static str,
    /// None where there was nothing to unsubscribe from.
    name: Option<Arc<[u8]>>,
    count: u32,
}

fn word(kind: TopicKind, subscribes: bool) -> &'static str {
    match (kind, subscribes) {
        (TopicKind::Channel, true) => "subscribe",
        (TopicKind::Channel, false) => "unsubscribe",
        (TopicKind::Pattern, true) => "psubscribe",
        (TopicKind::Pattern, false) => "punsubscribe",
        (TopicKind::ShardChannel, true) => "ssubscribe",
        (TopicKind::ShardChannel, false) => "sunsubscribe",
    }
}

fn write_confirmations(confirmations: &[Confirmation], protocol: Protocol) -> Vec<u8> {
    encode(protocol, |reply| {
        for Confirmation { word, name, count } in confirmations {
            reply.push(3);
            reply.bulk(word.as_bytes());
            match name {
                Some(name) => reply.bulk(name),
                None => reply.null(),
            }
            reply.integer(i64::from(*count));
        }
    })
}

/// How many homes a topic has.
fn home_count(topic: &TopicName, shard_count: usize) -> usize {
    match home_of(topic.kind, &topic.name, shard_count) {
        Home::One(_) => 1,
        Home::All => shard_count,
    }
}

/// A session begins to subscribe to topics or to unsubscribe from them; returns what changes and the confirmations.
fn begin_changes(
    shard: &mut Shard,
    id: SessionId,
    topics: Vec<TopicName>,
    subscribes: bool,
) -> (Vec<TopicChange>, Vec<Confirmation>) {
    let Shard { pubsub, sessions, keyspace, routes, .. } = shard;
    let (hasher, shard_count) = (keyspace.hasher(), routes.shard_count());
    let (mut changes, mut confirmations) = (Vec::new(), Vec::new());
    for topic in topics {
        let homes = home_count(&topic, shard_count);
        let has_changed = if subscribes {
            let Some(session) = sessions.get_mut(id) else { break };
            let own = session.subscriptions.get_or_insert_default();
            pubsub.subscribers.begin((id, own), &topic, homes, hasher)
        } else {
            pubsub.subscribers.end(sessions, id, &topic, homes)
        };
        let own = sessions.get(id).and_then(|session| session.subscriptions.as_ref());
        let count = own.map_or(0, |own| own.count_with(topic.kind));
        let (word, name) = (word(topic.kind, subscribes), Some(Arc::clone(&topic.name)));
        confirmations.push(Confirmation { word, name, count });
        if has_changed {
            changes.push(TopicChange { topic, subscribes });
        }
    }
    if let Some(session) = sessions.get_mut(id) {
        session.settle_subscriptions();
    }
    (changes, confirmations)
}

fn topics_of(shard: &Shard, id: SessionId, kind: TopicKind) -> Vec<TopicName> {
    let own = shard.sessions.get(id).and_then(|session| session.subscriptions.as_ref());
    own.map_or(Vec::new(), |own| shard.pubsub.subscribers.topics_of(own, kind))
}

/// Has the homes take over changes, then answers.
fn change(
    core: &mut Core,
    id: SessionId,
    changes: Vec<TopicChange>,
    answer: impl FnOnce(bool, &mut Shard) -> Vec<u8> + Send + 'static,
) {
    let here = core.shard.id;
    let by_home = core.by_home(changes);
    core.coordinate(id, |hops| async move {
        let hops_of_homes = by_home.into_iter().map(|(home, changes)| {
            (home, move |shard: &mut Shard| shard.change_topics(here, id, changes))
        });
        hops.on_each(hops_of_homes.collect::<Vec<_>>()).await;
        let is_inside = hops.is_inside();
        hops.on(here, move |shard| answer(is_inside, shard)).await
    });
}

/// Confirmations are pushes: CLIENT REPLY doesn't keep them back. In EXEC they are a part of its reply.
fn change_and_confirm(
    core: &mut Core,
    id: SessionId,
    changes: Vec<TopicChange>,
    confirmations: Vec<Confirmation>,
) {
    change(core, id, changes, move |is_inside, shard| {
        let Some(session) = shard.sessions.get_mut(id) else { return Vec::new() };
        let text = write_confirmations(&confirmations, session.protocol);
        if is_inside {
            return text;
        }
        session.output().extend_from_slice(&text);
        shard.sessions.mark_dirty(id);
        Vec::new()
    });
}

pub(super) fn subscribe(
    core: &mut Core,
    id: SessionId,
    kind: TopicKind,
    args: &[&[u8]],
) -> Outcome {
    let topics = args[1..].iter().map(|name| core.shard.topic(kind, name)).collect();
    let (changes, confirmations) = begin_changes(&mut core.shard, id, topics, true);
    change_and_confirm(core, id, changes, confirmations);
    Ok(())
}

pub(super) fn unsubscribe(
    core: &mut Core,
    id: SessionId,
    kind: TopicKind,
    args: &[&[u8]],
) -> Outcome {
    let names_all = args.len() == 1;
    let topics: Vec<TopicName> = if names_all {
        topics_of(&core.shard, id, kind)
    } else {
        args[1..].iter().map(|name| core.shard.topic(kind, name)).collect()
    };
    let (changes, mut confirmations) = begin_changes(&mut core.shard, id, topics, false);
    if confirmations.is_empty() {
        let own = core.shard.sessions.get(id).and_then(|session| session.subscriptions.as_ref());
        let count = own.map_or(0, |own| own.count_with(kind));
        confirmations.push(Confirmation { word: word(kind, false), name: None, count });
    }
    change_and_confirm(core, id, changes, confirmations);
    Ok(())
}

/// RESET: unsubscribes from everything, then answers. Returns whether it answers.
pub(super) fn unsubscribe_from_all(core: &mut Core, id: SessionId, answer: Vec<u8>) -> bool {
    let kinds = [TopicKind::Channel, TopicKind::Pattern, TopicKind::ShardChannel];
    let topics = kinds.iter().flat_map(|kind| topics_of(&core.shard, id, *kind)).collect();
    let (changes, _) = begin_changes(&mut core.shard, id, topics, false);
    if changes.is_empty() {
        return false;
    }
    change(core, id, changes, move |_, _| answer);
    true
}

pub(super) fn publish(core: &mut Core, id: SessionId, kind: TopicKind, args: &[&[u8]]) -> Outcome {
    core.publish(id, kind, args[1], args[2]);
    Ok(())
}

/// PUBSUB CHANNELS and SHARDCHANNELS.
pub(super) fn channels(core: &mut Core, id: SessionId, kind: TopicKind, args: &[&[u8]]) -> Outcome {
    if args.len() > 3 {
        return Err(wrong_count(args[1]));
    }
    let pattern = args.get(2).map(|pattern| pattern.to_vec());
    let (_, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let list = move |shard: &mut Shard| -> Vec<Vec<u8>> {
            let (here, shard_count) = (shard.id, shard.routes.shard_count());
            // Some are known to all shards: one of them names them.
            let is_own = |name: &&[u8]| home_of_channel(name, shard_count) == here;
            let matches =
                |name: &&[u8]| pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, name));
            let names = shard.pubsub.directory.names(kind).filter(is_own).filter(matches);
            names.map(<[u8]>::to_vec).collect()
        };
        let mut names = everywhere(&hops, &routes, list).await.concat();
        names.sort_unstable();
        encode(protocol, |reply| {
            reply.array(names.len());
            names.iter().for_each(|name| reply.bulk(name));
        })
    });
    Ok(())
}

fn wrong_count(subcommand: &[u8]) -> CommandError {
    let name = String::from_utf8_lossy(subcommand);
    CommandError::new(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try PUBSUB HELP."
    ))
}

/// PUBSUB NUMSUB and SHARDNUMSUB.
pub(super) fn counts(core: &mut Core, id: SessionId, kind: TopicKind, args: &[&[u8]]) -> Outcome {
    let (_, protocol) = settings(core, id);
    let shard_count = core.shard.routes.shard_count();
    let names = owned(&args[2..]);
    let mut by_home: Vec<Vec<(usize, TopicName)>> = vec![Vec::new(); shard_count];
    for (index, name) in names.iter().enumerate() {
        let home = home_of_channel(name, shard_count);
        by_home[home.index()].push((index, core.shard.topic(kind, name)));
    }
    core.coordinate(id, |hops| async move {
        let asked = by_home.into_iter().enumerate().filter(|(_, topics)| !topics.is_empty());
        let hops_of_homes = asked.map(|(home, topics)| {
            (ShardId(home as u16), move |shard: &mut Shard| -> Vec<(usize, u64)> {
                let count = |topic| shard.pubsub.directory.subscribers_of(topic);
                topics.iter().map(|(index, topic)| (*index, count(topic))).collect()
            })
        });
        let found = hops.on_each(hops_of_homes.collect::<Vec<_>>()).await;
        let mut counts = vec![0; names.len()];
        found.into_iter().flatten().for_each(|(index, count)| counts[index] = count);
        encode(protocol, |reply: &mut Reply<'_>| {
            reply.array(2 * names.len());
            for (name, count) in names.iter().zip(counts) {
                reply.bulk(name);
                reply.integer(count as i64);
            }
        })
    });
    Ok(())
}

/// Every shard knows all patterns.
pub(super) fn pattern_count(core: &mut Core, id: SessionId) -> Outcome {
    let count = core.shard.pubsub.directory.count(TopicKind::Pattern);
    core.answer(id, |reply| reply.integer(count as i64));
    Ok(())
}
