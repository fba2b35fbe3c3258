//! Held: requests of other shards' batches that met an intent, and those of the same sessions behind them.
//!
//! Each has a visit of its own in the table of intents, with a number that puts it where it came. Those of one
//! session have a key in common, which stands for the session, so that they run in their order.
//!
//! Large arguments are kept as they were received. LIMIT: as many as sessions may have holes.

use std::collections::{BTreeMap, HashMap};

use basalt_keyspace::ShardId;

use crate::input::args::OwnedArgs;
use crate::intents::Number;
use crate::mesh::message::Request;
use crate::session::SessionId;

/// A session of another shard.
type Asker = (ShardId, SessionId);

/// Requests that wait, by their visits.
#[derive(Default)]
pub(super) struct HeldRequests {
    waiting: BTreeMap<Number, HeldRequest>,
    /// How many each session has.
    counts: HashMap<Asker, usize>,
}

/// A request with what it needs when its time has come.
pub(super) struct HeldRequest {
    pub from: ShardId,
    pub request: Request,
    args: OwnedArgs,
}

impl HeldRequest {
    pub(super) fn args(&self) -> &OwnedArgs {
        &self.args
    }
}

impl HeldRequests {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn has(&self, from: ShardId, session: SessionId) -> bool {
        self.counts.contains_key(&(from, session))
    }

    /// Keeps a request until its visit is granted.
    pub(super) fn keep(
        &mut self,
        number: Number,
        (from, request): (ShardId, Request),
        args: OwnedArgs,
    ) {
        *self.counts.entry((from, request.session)).or_default() += 1;
        self.waiting.insert(number, HeldRequest { from, request, args });
    }

    /// Who waits.
    pub(super) fn numbers(&self) -> Vec<Number> {
        self.waiting.keys().copied().collect()
    }

    /// The request that waited for a visit.
    pub(super) fn granted(&mut self, number: Number) -> Option<HeldRequest> {
        let held = self.waiting.remove(&number)?;
        let asker = (held.from, held.request.session);
        let count = self.counts.get_mut(&asker).expect("each is counted");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&asker);
        }
        Some(held)
    }
}
