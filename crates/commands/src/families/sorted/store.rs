//! Has a key hold a sorted set that another command found.

use basalt_keyspace::{
    Cause, DatabaseId, Effect, Events, Key, Keyspace, Kind, Scored, SortedChange,
};

use crate::call::Outcome;
use crate::many_keys::Decision;

/// Members with their scores, as they travel between shards.
pub type OwnedMembers = Vec<(Vec<u8>, f64)>;

fn scored((member, score): &(Vec<u8>, f64)) -> Scored<'_> {
    Scored { member, score: *score }
}

/// The changes that make a sorted set of these members; `None` if there are none.
pub(super) fn changes_of<'m>(
    members: impl ExactSizeIterator<Item = Scored<'m>>,
) -> Option<Vec<u8>> {
    let mut changes = Vec::new();
    (members.len() > 0).then(|| {
        SortedChange::that_makes(members, &mut changes);
        changes
    })
}

/// Has a key hold the sorted set that these changes make, or nothing.
pub(super) fn store_changes(
    keyspace: &mut Keyspace,
    (id, key): (DatabaseId, &Key<'_>),
    changes: Option<&[u8]>,
    event: Events,
) {
    let edit = keyspace.edit(id, key);
    match changes {
        Some(changes) => {
            let effect = Effect::SetCollection { kind: Kind::Sorted, changes, expire_at_ms: None };
            edit.as_event(event).commit(effect);
        }
        None => edit.commit(Effect::Remove { cause: Cause::Deleted }),
    }
}

/// Has a key hold these members, or nothing if there are none.
pub(crate) fn store_members(
    keyspace: &mut Keyspace,
    key: (DatabaseId, &Key<'_>),
    members: &OwnedMembers,
    event: Events,
) {
    let changes = changes_of(members.iter().map(scored));
    store_changes(keyspace, key, changes.as_deref(), event);
}

/// Decides to have a key hold these members; replies with their number.
pub(crate) fn decide_to_store(
    (target, members): (usize, OwnedMembers),
    event: Events,
    decision: &mut Decision<'_, '_>,
) -> Outcome {
    decision.reply.integer(members.len() as i64);
    decision.write(target, move |keyspace, id, key| {
        store_members(keyspace, (id, key), &members, event);
    });
    Ok(())
}
