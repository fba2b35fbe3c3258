//! Verbs over several sets: SINTER, SUNION, SDIFF, what they store and count.
//!
//! Where all keys are on one shard, the whole command runs there over the sets as they lie. Over several
//! shards only what may be in the result travels, to the shards with the larger sets, which keep what
//! stands their test.

use std::collections::BTreeSet;
use std::sync::Arc;

use basalt_commands::requests::{
    SetAnswer, SetOperation, SetRequest, combine_sets, keep_members, parse_set_algebra,
    run_set_algebra, store_set, write_members,
};
use basalt_commands::{CommandError, Outcome, Verb};
use basalt_keyspace::{DatabaseId, Key, SetRef, ShardId, StringList};

use super::{encode, settings};
use crate::core::Core;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::coordinator::Hops;
use crate::transaction::{DeclaredKey, scope_on};

/// SINTER, SUNION, SDIFF and their kin.
pub(super) fn algebra(core: &mut Core, id: SessionId, verb: Verb, args: &[&[u8]]) -> Outcome {
    let request = parse_set_algebra(verb, args)?;
    let (database, protocol) = settings(core, id);
    let mut keys = Vec::new();
    if request.answer == SetAnswer::Stored {
        keys.push(core.declare(0, database, args[1], true));
    }
    for key in &args[request.sources.clone()] {
        keys.push(core.declare(keys.len(), database, key, false));
    }
    let keys: Arc<[DeclaredKey]> = keys.into();
    let mut shards: Vec<ShardId> = keys.iter().map(|key| key.shard).collect();
    shards.sort_unstable();
    shards.dedup();
    if let [only] = shards[..] {
        let scope = scope_on(only, &keys);
        let whole = move |shard: &mut Shard| {
            encode(protocol, |reply| {
                let keys: Vec<Key<'_>> = keys.iter().map(DeclaredKey::key).collect();
                let keyspace = &mut shard.keyspace;
                if let Err(error) = run_set_algebra(keyspace, database, &keys, &request, reply) {
                    reply.error_bytes(error.as_bytes());
                }
            })
        };
        if only == core.shard.id && core.shard.intents.admits(&scope) {
            let answer = whole(&mut core.shard);
            core.put_answer(id, &answer);
        } else {
            core.coordinate(id, |hops| async move { hops.alone(only, scope, whole).await });
        }
        return Ok(());
    }
    core.coordinate(id, |hops| async move {
        let visits = shards.iter().map(|&owner| {
            let keys = Arc::clone(&keys);
            let scope = scope_on(owner, &keys);
            (owner, scope, move |shard: &mut Shard| sizes_on(shard, owner, &keys))
        });
        let found = hops.hold(visits.collect::<Vec<_>>()).await;
        let spread = Spread { hops, database, keys, request };
        let answer = spread.answer(found.into_iter().collect()).await;
        encode(protocol, |reply| match answer {
            Err(error) => reply.error_bytes(error.as_bytes()),
            Ok(members) if spread.request.answer == SetAnswer::Members => {
                write_members(&members, reply);
            }
            // A limit may be met only when all shards have told what they have.
            Ok(members) => reply.integer(members.len().min(spread.request.limit()) as i64),
        })
    });
    Ok(())
}

/// The keys of sets on one shard, with how many members each has; none where there is no key.
type Sizes = Result<Vec<Size>, CommandError>;

type Size = (usize, Option<usize>);

fn sizes_on(shard: &mut Shard, owner: ShardId, keys: &[DeclaredKey]) -> Sizes {
    let own = keys.iter().filter(|key| key.shard == owner && !key.is_written);
    own.map(|key| {
        let len = key
            .peek(shard)
            .map(|entry| SetRef::of(&entry).map(|set| set.len()).ok_or(CommandError::WRONG_TYPE));
        Ok((key.index, len.transpose()?))
    })
    .collect()
}

/// A command over the sets of several shards, which are held.
struct Spread {
    hops: Hops,
    database: DatabaseId,
    keys: Arc<[DeclaredKey]>,
    request: SetRequest,
}

impl Spread {
    /// The members that are asked for; where they are stored, the intents are given back with that.
    async fn answer(&self, sizes: Result<Vec<Vec<Size>>, CommandError>) -> Gathered {
        let found = match sizes {
            Err(error) => Err(error),
            Ok(sizes) => {
                let sizes = sizes.concat();
                match self.request.operation {
                    SetOperation::Inter => self.inter(&sizes).await,
                    SetOperation::Union => self.union().await,
                    SetOperation::Diff => self.diff(&sizes).await,
                }
            }
        };
        match (&found, self.request.answer) {
            (Ok(members), SetAnswer::Stored) => {
                let (members, keys, database) =
                    (members.clone(), Arc::clone(&self.keys), self.database);
                let operation = self.request.operation;
                let store = move |shard: &mut Shard| {
                    let result = (operation, &members);
                    store_set(&mut shard.keyspace, database, &keys[0].key(), result);
                };
                self.hops.release([(self.keys[0].shard, store)]);
            }
            _ => self.hops.release_all(),
        }
        found
    }

    /// Begins where the smallest set is, and lets the others' shards pick from what is left.
    async fn inter(&self, sizes: &[Size]) -> Gathered {
        if sizes.iter().any(|(_, len)| len.is_none()) {
            return Ok(StringList::default());
        }
        let mut by_len = sizes.to_vec();
        by_len.sort_by_key(|(_, len)| *len);
        let mut owners = Vec::new();
        for (index, _) in by_len {
            if !owners.contains(&self.keys[index].shard) {
                owners.push(self.keys[index].shard);
            }
        }
        let mut left = None;
        for (at, &owner) in owners.iter().enumerate() {
            let limit = if at + 1 == owners.len() { self.request.limit() } else { usize::MAX };
            let indices = self.sources_on(owner);
            let members = match left {
                None => self.combined(owner, indices, SetOperation::Inter).await?,
                Some(members) => {
                    self.kept(owner, indices, members, (SetOperation::Inter, limit)).await?
                }
            };
            if members.is_empty() {
                return Ok(members);
            }
            left = Some(members);
        }
        Ok(left.unwrap_or_default())
    }

    async fn union(&self) -> Gathered {
        let mut all = BTreeSet::new();
        for owner in self.owners() {
            let indices = self.sources_on(owner);
            let members = self.combined(owner, indices, SetOperation::Union).await?;
            all.extend(members.as_strings().iter().map(<[u8]>::to_vec));
        }
        let mut members = StringList::default();
        all.iter().for_each(|name| members.push(name));
        Ok(members)
    }

    /// Begins with what the first set has for itself on its shard, and lets the others' shards pick.
    async fn diff(&self, sizes: &[Size]) -> Gathered {
        let first = sizes.iter().min_by_key(|(index, _)| *index);
        let Some((index, Some(_))) = first else { return Ok(StringList::default()) };
        let home = self.keys[*index].shard;
        let mut left = self.combined(home, self.sources_on(home), SetOperation::Diff).await?;
        for owner in self.owners().into_iter().filter(|owner| *owner != home) {
            if left.is_empty() {
                break;
            }
            let rule = (SetOperation::Diff, usize::MAX);
            left = self.kept(owner, self.sources_on(owner), left, rule).await?;
        }
        Ok(left)
    }

    /// The keys of sets on a shard, in their order.
    fn sources_on(&self, owner: ShardId) -> Vec<usize> {
        let own = self.keys.iter().filter(|key| key.shard == owner && !key.is_written);
        own.map(|key| key.index).collect()
    }

    /// The shards that have sets.
    fn owners(&self) -> Vec<ShardId> {
        let sources = self.keys.iter().filter(|key| !key.is_written);
        let mut owners: Vec<ShardId> = sources.map(|key| key.shard).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    async fn combined(
        &self,
        owner: ShardId,
        indices: Vec<usize>,
        operation: SetOperation,
    ) -> Gathered {
        let (keys, database) = (Arc::clone(&self.keys), self.database);
        let hop = move |shard: &mut Shard| {
            let keys: Vec<Key<'_>> = indices.iter().map(|index| keys[*index].key()).collect();
            combine_sets(&shard.keyspace, database, &keys, operation, usize::MAX)
        };
        self.hops.on(owner, hop).await
    }

    async fn kept(
        &self,
        owner: ShardId,
        indices: Vec<usize>,
        members: StringList,
        rule: (SetOperation, usize),
    ) -> Gathered {
        let (keys, database) = (Arc::clone(&self.keys), self.database);
        let hop = move |shard: &mut Shard| {
            let keys: Vec<Key<'_>> = indices.iter().map(|index| keys[*index].key()).collect();
            keep_members(&shard.keyspace, database, &keys, &members, rule)
        };
        self.hops.on(owner, hop).await
    }
}

type Gathered = Result<StringList, CommandError>;
