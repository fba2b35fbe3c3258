//! Slots on the move: from shard to shard, at one moment for everybody.
//!
//! ```text
//! slot move:  begin ─► every core begins nothing new
//!         quiet? ─► asked until all are, twice running, with nothing in between
//!         give out ─► bundles ─► take in, and the new routes on every core
//!         end ─► all go on
//! ```
//!
//! Nothing is under way while routes change: no request, no notification, no intent, no coordination but those
//! that sleep, and these look around when they wake. So nothing else needs to know of moves at all.
//!
//! Not here: how a core keeps still (`core/quiescence.rs`), what hangs on a slot's keys (`shard/slot_moves.rs`,
//! `keyspace`).

use std::sync::Arc;

use basalt_commands::CommandError;
use basalt_keyspace::{ShardId, SlotId};

use crate::limits;
use crate::shard::Shard;
use crate::slots::quiet::SlotMoveId;
use crate::transaction::coordinator::Hops;

/// Moves slots to a shard, some at a time; between two of these everybody goes on for a while. What is
/// moved when it is refused stays moved.
pub(crate) async fn move_slots(
    hops: &Hops,
    slot_move: SlotMoveId,
    mut slots: Vec<SlotId>,
    to: ShardId,
) -> Result<(), CommandError> {
    let routes = hops.on(slot_move.0, |shard| Arc::clone(&shard.routes)).await;
    slots.retain(|slot| routes.shard(*slot) != to);
    let shards: Vec<ShardId> = routes.shards().collect();
    for some in slots.chunks(limits::SLOTS_MOVED_AT_ONCE) {
        move_some(hops, slot_move, &shards, some, to).await?;
    }
    Ok(())
}

async fn move_some(
    hops: &Hops,
    slot_move: SlotMoveId,
    shards: &[ShardId],
    slots: &[SlotId],
    to: ShardId,
) -> Result<(), CommandError> {
    // Quiescing the first shard first makes moves run one after the other.
    let (first, others) = (shards[0], &shards[1..]);
    if !hops.on(first, move |shard| shard.begin_quiescence(slot_move)).await {
        return Err(CommandError::text("ERR slots are being moved already"));
    }
    let begin = |&shard| (shard, move |shard: &mut Shard| shard.begin_quiescence(slot_move));
    hops.on_each(others.iter().map(begin)).await;
    let is_quiet = wait_for_quiet(hops, slot_move, shards).await;
    if is_quiet {
        hand_over(hops, slot_move, shards, slots, to).await;
    }
    // All at once, the first one last: before that no other move may begin.
    hops.on_each(others.iter().map(|&shard| (shard, Shard::end_quiescence))).await;
    hops.on(first, Shard::end_quiescence).await;
    if !is_quiet {
        return Err(CommandError::text("ERR the server is too busy to move slots now"));
    }
    Ok(())
}

/// Asks until all is quiet; for some time only, because meanwhile everybody waits.
async fn wait_for_quiet(hops: &Hops, (home, _): SlotMoveId, shards: &[ShardId]) -> bool {
    let (mut before, mut begun_us) = (None, None);
    loop {
        let found = hops.are_quiet(shards, home).await;
        let now: Option<Vec<u64>> = found.iter().map(|quiet| quiet.disturbances).collect();
        if now.is_some() && now == before {
            return true;
        }
        before = now;
        let now_us = found[found.len() - 1].now_us;
        if now_us - *begun_us.get_or_insert(now_us) > limits::STILL_US_MAX {
            return false;
        }
    }
}

/// Hands slots over. For readers of records it is one transaction: all leave and come, or none.
async fn hand_over(
    hops: &Hops,
    slot_move: SlotMoveId,
    shards: &[ShardId],
    slots: &[SlotId],
    to: ShardId,
) {
    let old = hops.on(slot_move.0, |shard| Arc::clone(&shard.routes)).await;
    let routes = Arc::new(old.with(slots, to));
    let sources = old.shards_of(slots.iter().copied()).into_iter().filter(|shard| *shard != to);
    let sources: Vec<ShardId> = sources.collect();
    hops.begin_transaction(sources.len() + 1);
    let (slots, count): (Arc<[SlotId]>, _) = (slots.into(), slots.len() as u64);
    let give = |shard| {
        let (slots, routes) = (Arc::clone(&slots), Arc::clone(&routes));
        (shard, move |shard: &mut Shard| shard.give_out(&slots, &routes))
    };
    let mut bundles = Some(hops.on_each(sources.iter().copied().map(give)).await);
    let take = |&shard| {
        let routes = Arc::clone(&routes);
        let bundles = if shard == to { bundles.take() } else { None };
        let is_part = shard == to || sources.contains(&shard);
        let take = move |shard: &mut Shard| {
            for bundle in bundles.into_iter().flatten() {
                shard.take_in(bundle);
            }
            if shard.id == to {
                shard.stats.slots_moved += count;
            }
            if let Some(transaction) = shard.keyspace.origin().transaction
                && is_part
            {
                shard.keyspace.end_part(transaction);
            }
            // A copy for each core, so that none touches what another counts its users in.
            shard.routes = Arc::new((*routes).clone());
        };
        (shard, take)
    };
    let takes: Vec<_> = shards.iter().map(take).collect();
    hops.on_each(takes).await;
    hops.end_transaction();
}
