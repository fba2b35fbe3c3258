//! SORT: over one key it is a transaction as others; with keys that are named after its elements, it holds
//! everything, since nobody knows which keys these are before it has looked.

use std::collections::BTreeMap;

use basalt_commands::requests::{Allowance, SortKey, SortRequest, parse_sort, value_behind};
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::{
    DatabaseId, Effect, Kind, ListChange, ShardId, Side, SlotId, StringList, event,
};
use basalt_resp::Protocol;

use super::keys::remove;
use super::{encode, settings};
use crate::core::Core;
use crate::input::keys::DeclaredKey;
use crate::intents::{Mode, Scope};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;

const SOURCE: usize = 0;
const TARGET: usize = 1;

pub(super) fn sort(core: &mut Core, id: SessionId, args: &[&[u8]], may_store: bool) -> Outcome {
    let request = parse_sort(args, may_store)?;
    let (database, protocol) = settings(core, id);
    let source = core.declare(SOURCE, database, args[1], false);
    let target = request.target.map(|at| core.declare(TARGET, database, args[at], true));
    if request.reads_other_keys() {
        let routes = core.shard.routes.clone();
        core.coordinate(id, |hops| async move {
            let wide = Wide { hops, database, request };
            let answer = wide.answer(&routes, source, target, protocol).await;
            answer.unwrap_or_else(|error| {
                encode(protocol, |reply| reply.error_bytes(error.as_bytes()))
            })
        });
        return Ok(());
    }
    let keys: Vec<DeclaredKey> = std::iter::once(source).chain(target).collect();
    let asked = request.clone();
    core.transact(
        id,
        keys,
        move |shard, key| match key.index {
            SOURCE => asked.elements(key.peek(&shard.keyspace).as_deref()),
            _ => Ok(StringList::default()),
        },
        move |mut found, decision| {
            let elements = found.swap_remove(SOURCE)?;
            let ordered = request.ordered(&elements, &[])?;
            if request.target.is_none() {
                request.write(&ordered, &[], &mut decision.reply);
                return Ok(());
            }
            let list = request.to_store(&ordered, &[]);
            decision.reply.integer(list.len() as i64);
            decision.write(TARGET, move |shard, key| store(shard, key, &list));
            Ok(())
        },
    );
    Ok(())
}

/// Has a key hold these elements as a list, or nothing where there are none.
fn store(shard: &mut Shard, key: &DeclaredKey, list: &StringList) {
    if list.is_empty() {
        return remove(shard, key);
    }
    let changes = ListChange::Push { side: Side::Back, elements: list.as_strings() }.to_changes();
    let effect = Effect::SetCollection { kind: Kind::List, changes: &changes, expire_at_ms: None };
    shard.keyspace.edit(key.database, &key.key()).as_event(event::SORTSTORE).commit(effect);
}

/// What a shard's keys hold, each with its place among all that were asked for.
type Found = Vec<(usize, Option<Vec<u8>>)>;

/// A SORT that reads keys which are named after its elements.
struct Wide {
    hops: Hops,
    database: DatabaseId,
    request: SortRequest,
}

impl Wide {
    /// The encoded reply. All shards are held until it is known.
    async fn answer(
        &self,
        routes: &Routes,
        source: DeclaredKey,
        target: Option<DeclaredKey>,
        protocol: Protocol,
    ) -> Result<Vec<u8>, CommandError> {
        let target_shard = target.as_ref().map(|key| key.shard);
        let visits = routes.shards().map(|owner| {
            let mode = if Some(owner) == target_shard { Mode::Write } else { Mode::Read };
            let (source, request) = (source.clone(), self.request.clone());
            let look = move |shard: &mut Shard| {
                let is_here = source.shard == owner;
                is_here.then(|| request.elements(source.peek(&shard.keyspace).as_deref()))
            };
            (owner, Scope::Everything(mode), look)
        });
        let found = self.hops.hold(visits.collect::<Vec<_>>()).await;
        let result = self.result(routes, found, target.as_ref(), protocol).await;
        match (&result, target) {
            (Ok((_, list)), Some(target)) => {
                let list = list.clone();
                let write = move |shard: &mut Shard| store(shard, &target, &list);
                self.hops.release([(target_shard.expect("it has a target"), write)]);
            }
            _ => self.hops.release_all(),
        }
        result.map(|(answer, _)| answer)
    }

    /// The encoded reply, and what is to be stored.
    async fn result(
        &self,
        routes: &Routes,
        found: Vec<Option<Result<StringList, CommandError>>>,
        target: Option<&DeclaredKey>,
        protocol: Protocol,
    ) -> Result<(Vec<u8>, StringList), CommandError> {
        let elements = found.into_iter().flatten().next().expect("one shard has the key")?;
        let weights = self.read(routes, self.request.weight_keys(&elements)?).await?;
        let ordered = self.request.ordered(&elements, &weights)?;
        let values = self.read(routes, self.request.told_keys(&ordered)?).await?;
        if target.is_none() {
            let answer = encode(protocol, |reply| self.request.write(&ordered, &values, reply));
            return Ok((answer, StringList::default()));
        }
        let list = self.request.to_store(&ordered, &values);
        Ok((encode(protocol, |reply| reply.integer(list.len() as i64)), list))
    }

    /// What keys hold, in their order, wherever they are.
    async fn read(
        &self,
        routes: &Routes,
        keys: Vec<SortKey>,
    ) -> Result<Vec<Option<Vec<u8>>>, CommandError> {
        let database = self.database;
        let mut values = vec![None; keys.len()];
        let mut by_shard: BTreeMap<ShardId, Vec<(usize, SortKey)>> = BTreeMap::new();
        for (index, key) in keys.into_iter().enumerate() {
            let owner = routes.shard(SlotId::of_key(&key.key));
            by_shard.entry(owner).or_default().push((index, key));
        }
        let hops = by_shard.into_iter().map(|(owner, keys)| {
            let read_all = move |shard: &mut Shard| -> Result<Found, CommandError> {
                let keyspace = &shard.keyspace;
                let mut allowance = Allowance::default();
                let mut read = |key: &SortKey| {
                    let entry = keyspace.peek(database, &keyspace.key(&key.key));
                    let value =
                        value_behind(entry.as_deref(), key.field.as_deref(), keyspace.now_ms());
                    allowance.take(value.as_ref().map_or(0, Vec::len))?;
                    Ok::<_, CommandError>(value)
                };
                keys.iter().map(|(index, key)| Ok((*index, read(key)?))).collect()
            };
            (owner, read_all)
        });
        for found in self.hops.on_each(hops.collect::<Vec<_>>()).await {
            for (index, value) in found? {
                values[index] = value;
            }
        }
        Ok(values)
    }
}
