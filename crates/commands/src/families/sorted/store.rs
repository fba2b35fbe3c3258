//! Has a key hold a sorted set that another command found.

use basalt_keyspace::{DetachedValue, Events};

use crate::call::Outcome;
use crate::many_keys::Decision;

/// Members with their scores, as they travel between shards.
pub type OwnedMembers = Vec<(Vec<u8>, f64)>;

/// Decides to have a key hold the sorted set that was made where its members were found, or nothing; replies with
/// their number.
pub(crate) fn decide_to_store(
    (target, made): (usize, Option<DetachedValue>),
    event: Events,
    decision: &mut Decision<'_, '_>,
) -> Outcome {
    decision.reply.integer(made.as_ref().map_or(0, DetachedValue::len) as i64);
    decision.write(target, move |keyspace, id, key| keyspace.put_made(id, key, made, event));
    Ok(())
}
