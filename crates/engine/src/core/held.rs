//! Held: requests of other shards' batches that met an intent, and those of the same sessions behind them.
//!
//! LIMIT: as many as sessions may have holes.

use std::collections::{BTreeMap, HashMap, VecDeque};

use basalt_keyspace::ShardId;

use crate::message::Request;
use crate::session::SessionId;
use crate::transaction::{Number, Scope};

/// A session of another shard.
type Asker = (ShardId, SessionId);

/// Requests that wait, by who asked them: each session's run in its order.
#[derive(Default)]
pub(super) struct HeldRequests {
    by_asker: HashMap<Asker, VecDeque<HeldRequest>>,
    /// The visit that the first of a session's requests waits for.
    waiting: BTreeMap<Number, Asker>,
}

/// A request with what it needs when its time has come.
pub(super) struct HeldRequest {
    request: Request,
    args: Vec<Vec<u8>>,
    scope: Scope,
}

impl HeldRequest {
    pub(super) fn new(request: Request, args: &[&[u8]], scope: Scope) -> Self {
        Self { request, args: args.iter().map(|arg| arg.to_vec()).collect(), scope }
    }

    pub(super) fn request(&self) -> &Request {
        &self.request
    }

    pub(super) fn args(&self) -> impl Iterator<Item = &[u8]> {
        self.args.iter().map(Vec::as_slice)
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl HeldRequests {
    pub(super) fn is_empty(&self) -> bool {
        self.by_asker.is_empty()
    }

    pub(super) fn has(&self, from: ShardId, session: SessionId) -> bool {
        self.by_asker.contains_key(&(from, session))
    }

    /// Adds a request; gives the scope that is to be waited for, if no other of its session waits.
    pub(super) fn push(
        &mut self,
        from: ShardId,
        session: SessionId,
        held: HeldRequest,
    ) -> Option<Scope> {
        let queue = self.by_asker.entry((from, session)).or_default();
        let scope = queue.is_empty().then(|| held.scope.clone());
        queue.push_back(held);
        scope
    }

    /// The first request of a session waits for this visit.
    pub(super) fn wait(&mut self, number: Number, asker: Asker) {
        self.waiting.insert(number, asker);
    }

    /// Whose request waited for a visit.
    pub(super) fn granted(&mut self, number: Number) -> Option<Asker> {
        self.waiting.remove(&number)
    }

    /// Takes the first request of a session; when none is left, it is forgotten.
    pub(super) fn next(&mut self, asker: Asker) -> Option<HeldRequest> {
        let held = self.by_asker.get_mut(&asker)?.pop_front();
        if held.is_none() {
            self.by_asker.remove(&asker);
        }
        held
    }

    pub(super) fn put_back(&mut self, asker: Asker, held: HeldRequest) {
        self.by_asker.entry(asker).or_default().push_front(held);
    }
}
