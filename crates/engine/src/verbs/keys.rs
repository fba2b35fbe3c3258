//! Verbs over keys on several shards: RENAME, COPY, MSETNX, MSETEX, SCAN, KEYS, RANDOMKEY.
//!
//! A value travels from shard to shard as the effect that makes it: see [`Carried`].

use basalt_commands::requests::{
    Lifetime, MsetexRequest, PutWhen, ScanRequest, parse_copy, parse_msetex, parse_scan,
    wants_every_key,
};
use basalt_commands::{CommandError, Outcome, Run, glob, table};
use basalt_keyspace::{
    Cause, DatabaseId, Effect, Entry, Record, SLOTS, ScanPosition, ShardId, SlotId,
};
use basalt_resp::{Protocol, Reply};

use super::{encode, everywhere, settings};
use crate::coordinate::{Answer, Hops};
use crate::core::Core;
use crate::routes::Routes;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::split::{Manner, run_owned};

/// A value on its way: the record that makes a key hold it.
type Carried = Vec<u8>;

/// What the key holds, as a record for another key.
fn copy_for(shard: &Shard, from: &Place, to: &Place) -> Option<Carried> {
    let key = shard.keyspace.key(&from.key);
    let entry = shard.keyspace.peek(from.database, &key)?;
    let (mut value, mut record) = (Vec::new(), Vec::new());
    let effect = Effect::copy_of(&entry, &mut value);
    Record::Key { database: to.database, key: &to.key, effect }.encode(&mut record);
    Some(record)
}

fn put(shard: &mut Shard, carried: &Carried) {
    shard.keyspace.replay(carried).expect("the record was made by this process");
}

fn holds(shard: &Shard, place: &Place) -> bool {
    shard.keyspace.peek(place.database, &shard.keyspace.key(&place.key)).is_some()
}

fn remove(shard: &mut Shard, place: &Place) {
    let key = shard.keyspace.key(&place.key);
    let edit = shard.keyspace.edit(place.database, &key);
    if edit.entry().is_some() {
        edit.commit(Effect::Remove { cause: Cause::Deleted });
    }
}

/// A key and its database.
#[derive(Clone)]
struct Place {
    shard: ShardId,
    database: DatabaseId,
    key: Vec<u8>,
}

impl Place {
    fn new(core: &Core, database: DatabaseId, key: &[u8]) -> Self {
        let shard = core.shard.routes.shard(SlotId::of_key(key));
        Self { shard, database, key: key.to_vec() }
    }
}

/// RENAME, and RENAMENX with `only_if_free`.
pub(super) fn rename(
    core: &mut Core,
    id: SessionId,
    args: &[&[u8]],
    only_if_free: bool,
) -> Outcome {
    let (database, protocol) = settings(core, id);
    let from = Place::new(core, database, args[1]);
    let to = Place::new(core, database, args[2]);
    core.coordinate(id, |hops| async move {
        let moved = move_value(&hops, &from, &to, only_if_free).await;
        encode(protocol, |reply| match moved {
            None => reply.error_bytes(CommandError::NO_SUCH_KEY.as_bytes()),
            Some(moved) if only_if_free => reply.integer(i64::from(moved)),
            Some(_) => reply.ok(),
        })
    });
    Ok(())
}

/// Moves a value to another key; None where there is none, false where the other key is taken.
async fn move_value(hops: &Hops, from: &Place, to: &Place, only_if_free: bool) -> Option<bool> {
    let (source, target) = (from.clone(), to.clone());
    let is_same = source.key == target.key;
    let carried = hops.on(from.shard, move |shard| copy_for(shard, &source, &target)).await?;
    if is_same {
        return Some(!only_if_free);
    }
    let target = to.clone();
    let is_put = hops
        .on(to.shard, move |shard| {
            let may = !only_if_free || !holds(shard, &target);
            if may {
                put(shard, &carried);
            }
            may
        })
        .await;
    if is_put {
        let source = from.clone();
        hops.on(from.shard, move |shard| remove(shard, &source)).await;
    }
    Some(is_put)
}

pub(super) fn copy(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let (database, protocol) = settings(core, id);
    let options = parse_copy(args, database, core.shard.keyspace.database_count())?;
    let from = Place::new(core, database, args[1]);
    let to = Place::new(core, options.to, args[2]);
    core.coordinate(id, |hops| async move {
        let (from_shard, to_shard, target) = (from.shard, to.shard, to.clone());
        let carried = hops.on(from_shard, move |shard| copy_for(shard, &from, &target)).await;
        let is_put = match carried {
            None => false,
            Some(carried) => {
                hops.on(to_shard, move |shard| {
                    let may = options.replace || !holds(shard, &to);
                    if may {
                        put(shard, &carried);
                    }
                    may
                })
                .await
            }
        };
        encode(protocol, |reply| reply.integer(i64::from(is_put)))
    });
    Ok(())
}

pub(super) fn msetnx(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    set_many(core, id, &args[1..], PutWhen::AllAbsent, Lifetime::Forever)
}

pub(super) fn msetex(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let MsetexRequest { pairs, when, lifetime } = parse_msetex(args, core.shard.keyspace.now_ms())?;
    set_many(core, id, pairs, when, lifetime)
}

/// Sets keys on several shards, if all or none of them are there; answers whether.
fn set_many(
    core: &mut Core,
    id: SessionId,
    pairs: &[&[u8]],
    when: PutWhen,
    lifetime: Lifetime,
) -> Outcome {
    let Some(Run::Shard(set)) = table::find(b"set").map(|command| command.run) else {
        unreachable!("SET is in the table as a command of one shard")
    };
    let (database, protocol) = settings(core, id);
    let mut parts: Vec<(ShardId, Vec<Vec<Vec<u8>>>)> = Vec::new();
    for pair in pairs.chunks_exact(2) {
        let owner = core.shard.routes.shard(SlotId::of_key(pair[0]));
        let at = parts.iter().position(|(shard, _)| *shard == owner).unwrap_or_else(|| {
            parts.push((owner, Vec::new()));
            parts.len() - 1
        });
        let mut request = vec![b"set".to_vec(), pair[0].to_vec(), pair[1].to_vec()];
        match lifetime {
            Lifetime::Forever => {}
            Lifetime::Kept => request.push(b"keepttl".to_vec()),
            Lifetime::Until(at_ms) => {
                request.extend([b"pxat".to_vec(), at_ms.to_string().into_bytes()]);
            }
        }
        parts[at].1.push(request);
    }
    let manner = Manner { database, protocol, touches: true };
    core.coordinate(id, |hops| async move {
        let looks: Vec<_> = parts
            .iter()
            .filter(|_| when != PutWhen::Always)
            .map(|(shard, requests)| {
                let keys: Vec<Vec<u8>> =
                    requests.iter().map(|request| request[1].clone()).collect();
                let look = move |shard: &mut Shard| {
                    keys.iter().all(|key| {
                        let there = shard.keyspace.peek(database, &shard.keyspace.key(key));
                        there.is_some() == (when == PutWhen::AllPresent)
                    })
                };
                (*shard, look)
            })
            .collect();
        let may = hops.on_each(looks).await.into_iter().all(|fits| fits);
        if may {
            let sets = parts.into_iter().map(|(shard, requests)| {
                (shard, move |shard: &mut Shard| {
                    for request in &requests {
                        run_owned(shard, set, request, 1, manner);
                    }
                })
            });
            hops.on_each(sets.collect::<Vec<_>>()).await;
        }
        encode(protocol, |reply| reply.integer(i64::from(may)))
    });
    Ok(())
}

/// SCAN's cursor is a position: the slot, and the tag within it in the lower 16 bits. 0 is both ends.
const TAG_BITS: u32 = 16;

pub(super) fn scan(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let (database, protocol) = settings(core, id);
    let ScanRequest { cursor, pattern, count, type_name } = parse_scan(args)?;
    let pattern = pattern.map(<[u8]>::to_vec);
    let routes = core.shard.routes.clone();
    let wants_strings = type_name.is_none_or(|name| name == "string");
    core.coordinate(id, |hops| async move {
        let mut position = ScanPosition {
            slot: usize::try_from(cursor >> TAG_BITS).unwrap_or(SLOTS).min(SLOTS),
            tag: (cursor & ((1 << TAG_BITS) - 1)) as u32,
        };
        let (mut keys, mut left) = (Vec::new(), count);
        while position.slot < SLOTS && left > 0 {
            let end = routes.run_end(position.slot);
            let owner = routes.shard(SlotId(position.slot as u16));
            let pattern = pattern.clone();
            let (next, visited, mut found) = hops
                .on(owner, move |shard| {
                    let wanted = |entry: &Entry| {
                        wants_strings
                            && pattern.as_ref().is_none_or(|p| glob::matches(p, entry.key()))
                    };
                    scan_some(shard, database, (position, end), left, &wanted)
                })
                .await;
            keys.append(&mut found);
            left = left.saturating_sub(visited);
            position = next;
        }
        let at_end = position.slot >= SLOTS;
        let cursor =
            if at_end { 0 } else { ((position.slot as u64) << TAG_BITS) | u64::from(position.tag) };
        encode(protocol, |reply| {
            reply.array(2);
            reply.bulk(cursor.to_string().as_bytes());
            write_keys(reply, &keys);
        })
    });
    Ok(())
}

/// One step of a scan on one shard: where it goes on, how many were looked at, which are wanted.
fn scan_some(
    shard: &Shard,
    database: DatabaseId,
    (position, end): (ScanPosition, usize),
    count: usize,
    wanted: &dyn Fn(&Entry) -> bool,
) -> (ScanPosition, usize, Vec<Vec<u8>>) {
    let (mut visited, mut found) = (0, Vec::new());
    let next = shard.keyspace.scan(database, position, end, count, &mut |entry| {
        visited += 1;
        if wanted(entry) {
            found.push(entry.key().to_vec());
        }
    });
    (next, visited, found)
}

fn write_keys(reply: &mut Reply<'_>, keys: &[Vec<u8>]) {
    reply.array(keys.len());
    for key in keys {
        reply.bulk(key);
    }
}

pub(super) fn keys(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let (database, protocol) = settings(core, id);
    let pattern = (!wants_every_key(args[1])).then(|| args[1].to_vec());
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let found = everywhere(&hops, &routes, move |shard| {
            let mut found = Vec::new();
            shard.keyspace.visit_all(database, &mut |entry| {
                if pattern.as_ref().is_none_or(|p| glob::matches(p, entry.key())) {
                    found.push(entry.key().to_vec());
                }
            });
            found
        })
        .await
        .concat();
        encode(protocol, |reply| write_keys(reply, &found))
    });
    Ok(())
}

pub(super) fn randomkey(core: &mut Core, random: u64, id: SessionId) -> Outcome {
    let (database, protocol) = settings(core, id);
    let routes = core.shard.routes.clone();
    core.coordinate(id, |hops| async move {
        let key = random_key(&hops, &routes, database, random).await;
        encode_key(protocol, key)
    });
    Ok(())
}

fn encode_key(protocol: Protocol, key: Option<Vec<u8>>) -> Answer {
    encode(protocol, |reply| match key {
        Some(key) => reply.bulk(&key),
        None => reply.null(),
    })
}

/// A key by chance: first the shard, by how many keys it has, then one of its keys.
async fn random_key(
    hops: &Hops,
    routes: &Routes,
    database: DatabaseId,
    random: u64,
) -> Option<Vec<u8>> {
    let lens = everywhere(hops, routes, move |shard| shard.keyspace.len(database)).await;
    let total: usize = lens.iter().sum();
    let mut nth = (random % total.max(1) as u64) as usize;
    let first = lens.iter().position(|&len| {
        let is_here = nth < len;
        nth = nth.saturating_sub(len);
        is_here
    })?;
    // Where the chosen shard has only dead keys left, the others are asked.
    let shards: Vec<ShardId> = routes.shards().collect();
    for turn in 0..shards.len() {
        let shard = shards[(first + turn) % shards.len()];
        let key = hops
            .on(shard, move |shard| {
                let mut state = random;
                let mut next = || {
                    state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                    state ^ (state >> 29)
                };
                Some(shard.keyspace.pick(database, &mut next)?.key().to_vec())
            })
            .await;
        if key.is_some() {
            return key;
        }
    }
    None
}
