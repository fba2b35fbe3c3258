//! Verbs over sorted sets on several shards: ZUNION and its like, ZRANGESTORE, ZMPOP.

use basalt_commands::requests::{
    Combination, CombineRequest, End, OwnedMembers, Purpose, members_of, parse_combine,
    parse_range_store, parse_zmpop, scored, write_scored,
};
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::{Effect, Kind, SortedChange, SortedRef};

use super::keys::remove;
use super::{owned, settings};
use crate::core::Core;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::{Decision, DeclaredKey};

/// The key that something is stored at, where it is.
pub(super) const TARGET: usize = 0;

/// Has a key hold these members, or nothing where there are none; answers how many.
pub(super) fn store(decision: &mut Decision<'_>, members: &OwnedMembers) {
    decision.reply.integer(members.len() as i64);
    if members.is_empty() {
        return decision.write(TARGET, remove);
    }
    let mut changes = Vec::new();
    SortedChange::that_makes(members.iter().map(scored), &mut changes);
    decision.write(TARGET, move |shard, key| {
        let effect =
            Effect::SetCollection { kind: Kind::Sorted, changes: &changes, expire_at_ms: None };
        shard.keyspace.edit(key.database, &key.key()).commit(effect);
    });
}

/// ZUNION, ZINTER, ZDIFF, and what stores or counts their results.
pub(super) fn combine(
    core: &mut Core,
    id: SessionId,
    args: &[&[u8]],
    (combination, purpose): (Combination, Purpose),
) -> Outcome {
    let (database, _) = settings(core, id);
    let name = String::from_utf8_lossy(args[0]).to_lowercase();
    let first = if purpose == Purpose::Store { 2 } else { 1 };
    let CombineRequest { keys, options } =
        parse_combine(&name, &args[first..], combination, purpose)?;
    let mut declared = Vec::with_capacity(keys.len() + 1);
    if purpose == Purpose::Store {
        declared.push(core.declare(TARGET, database, args[1], true));
    }
    let sources = declared.len();
    declared.extend(
        keys.iter()
            .enumerate()
            .map(|(index, key)| core.declare(sources + index, database, key, false)),
    );
    core.transact(
        id,
        declared,
        move |shard, key| look(shard, key, sources),
        move |found, decision| {
            let sets = found.into_iter().skip(sources).collect::<Result<Vec<_>, _>>()?;
            let options = options?;
            let result = options.combine(combination, sets);
            match purpose {
                Purpose::Tell => {
                    let members = result.iter().map(scored);
                    write_scored(&mut decision.reply, result.len(), members, options.with_scores);
                }
                Purpose::Count => decision.reply.integer(result.len() as i64),
                Purpose::Store => store(decision, &result),
            }
            Ok(())
        },
    );
    Ok(())
}

/// The members of a source; what a key before the sources holds does not matter.
fn look(shard: &Shard, key: &DeclaredKey, sources: usize) -> Result<OwnedMembers, CommandError> {
    if key.index < sources {
        return Ok(Vec::new());
    }
    members_of(key.peek(shard).as_deref())
}

pub(super) fn range_store(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    const SOURCE: usize = 1;
    let (database, _) = settings(core, id);
    parse_range_store(args)?;
    let keys = vec![
        core.declare(TARGET, database, args[1], true),
        core.declare(SOURCE, database, args[2], false),
    ];
    let args = owned(args);
    core.transact(
        id,
        keys,
        move |shard, key| -> Result<OwnedMembers, CommandError> {
            let entry = if key.index == SOURCE { key.peek(shard) } else { None };
            let Some(entry) = entry else { return Ok(Vec::new()) };
            let sorted = SortedRef::of(&entry).ok_or(CommandError::WRONG_TYPE)?;
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let (_, members) = parse_range_store(&args)?.walk(sorted);
            Ok(members.map(|scored| (scored.member.to_vec(), scored.score)).collect())
        },
        |found, decision| {
            let [_, members] = <[_; 2]>::try_from(found)
                .unwrap_or_else(|_| unreachable!("two keys were declared, the target first"));
            store(decision, &members?);
            Ok(())
        },
    );
    Ok(())
}

pub(super) fn mpop(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let (database, _) = settings(core, id);
    let request = parse_zmpop(&args[1..])?;
    let (end, count) = (request.end, request.count);
    let keys = request.keys.iter().enumerate();
    let keys = keys.map(|(index, key)| core.declare(index, database, key, true)).collect();
    let names = owned(request.keys);
    core.transact(
        id,
        keys,
        move |shard, key| -> Result<(usize, OwnedMembers), CommandError> {
            let entry = key.peek(shard);
            let Some(entry) = entry else { return Ok((0, Vec::new())) };
            let sorted = SortedRef::of(&entry).ok_or(CommandError::WRONG_TYPE)?;
            let len = sorted.len();
            let count = count.min(len);
            let (from, members) = match end {
                End::Min => (0, sorted.walk(0..count)),
                End::Max => (len - count, sorted.walk_back(len - count..len)),
            };
            Ok((from, members.map(|one| (one.member.to_vec(), one.score)).collect()))
        },
        move |found, decision| {
            for (index, found) in found.into_iter().enumerate() {
                let (from, members) = found?;
                if members.is_empty() {
                    continue;
                }
                let (from, count) = (from as u64, members.len() as u64);
                decision.write(index, move |shard, key| {
                    let change = SortedChange::RemoveRanks { from, count };
                    let edit = shard.keyspace.edit(key.database, &key.key());
                    edit.commit(Effect::Sorted(change));
                });
                decision.reply.array(2);
                decision.reply.bulk(&names[index]);
                decision.reply.array(members.len());
                for (member, score) in &members {
                    decision.reply.array(2);
                    decision.reply.bulk(member);
                    decision.reply.double(*score);
                }
                return Ok(());
            }
            decision.reply.null_array();
            Ok(())
        },
    );
    Ok(())
}
