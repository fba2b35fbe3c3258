//! Transact: a command that declares its keys, looks at them, decides, and writes.

use std::sync::Arc;

use basalt_commands::{Move, Outcome};
use basalt_keyspace::{DatabaseId, DetachedValue, ShardId};
use basalt_resp::{Protocol, Reply};

use crate::completion::Answer;
use crate::core::Core;
use crate::input::keys::{DeclaredKey, scope_on};
use crate::intents::{Mode, Scope};
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::coordinator::Hops;

/// What a command decides once all its keys were looked at: a reply, and what is to be written.
pub(crate) struct Decision<'a> {
    pub reply: Reply<'a>,
    writes: Vec<Write>,
    /// A value goes from one key to another, before anything is written.
    moved: Option<Move>,
}

/// A change of one key, on its way to the key's shard.
pub(super) struct Write {
    pub(super) index: usize,
    pub(super) run: WriteFn,
}

pub(super) type WriteFn = Box<dyn FnOnce(&mut Shard, &DeclaredKey) + Send>;

impl Decision<'_> {
    /// Has a key written. The writes of one shard run in the order in which they were decided.
    pub(crate) fn write(
        &mut self,
        index: usize,
        run: impl FnOnce(&mut Shard, &DeclaredKey) + Send + 'static,
    ) {
        self.writes.push(Write { index, run: Box::new(run) });
    }

    /// Has a value go from one key to another, whole.
    pub(super) fn move_value(&mut self, moved: Move) {
        self.moved = Some(moved);
    }
}

/// What came of a decision.
#[derive(Default)]
pub(super) struct Decided {
    /// Empty if the command has to wait.
    pub(super) answer: Answer,
    pub(super) writes: Vec<Write>,
    moved: Option<Move>,
}

impl Decided {
    /// Does all of it, where all keys are on this shard; returns the answer.
    pub(super) fn carry_out(self, shard: &mut Shard, keys: &[DeclaredKey]) -> Answer {
        if let Some(moved) = self.moved
            && let Some(value) = take_value(shard, moved, keys)
        {
            put_value(shard, moved, keys, value);
        }
        for Write { index, run } in self.writes {
            run(shard, &keys[index]);
        }
        self.answer
    }

    /// Takes the value that is to go to another key, or a copy of it, from its shard; it is written where it goes.
    pub(super) async fn fetch_moved(&mut self, hops: &Hops, keys: &Arc<[DeclaredKey]>) {
        let Some(moved) = self.moved.take() else { return };
        let [own, others] = [Arc::clone(keys), Arc::clone(keys)];
        let take = move |shard: &mut Shard| take_value(shard, moved, &own);
        if let Some(value) = hops.on(keys[moved.from].shard, take).await {
            let put = move |shard: &mut Shard, _: &DeclaredKey| {
                put_value(shard, moved, &others, value);
            };
            self.writes.insert(0, Write { index: moved.to, run: Box::new(put) });
        }
    }
}

fn take_value(shard: &mut Shard, moved: Move, keys: &[DeclaredKey]) -> Option<DetachedValue> {
    let key = &keys[moved.from];
    moved.take(&mut shard.keyspace, (key.database, &key.key()))
}

fn put_value(shard: &mut Shard, moved: Move, keys: &[DeclaredKey], value: DetachedValue) {
    let key = &keys[moved.to];
    moved.put(&mut shard.keyspace, (key.database, &key.key()), value);
}

/// What comes of what was found.
pub(super) fn decided(
    protocol: Protocol,
    decide: impl FnOnce(&mut Decision<'_>) -> Outcome,
) -> Decided {
    let mut answer = Vec::new();
    let reply = Reply::new(&mut answer, protocol);
    let mut decision = Decision { reply, writes: Vec::new(), moved: None };
    let decided = decide(&mut decision);
    if let Err(error) = decided.and_then(|()| Ok(decision.reply.whole()?)) {
        decision.reply.rewind(0);
        decision.reply.error_bytes(error.as_bytes());
        decision.writes.clear();
        decision.moved = None;
    }
    let Decision { writes, moved, .. } = decision;
    Decided { answer, writes, moved }
}

/// The writes of each shard that has any, as its last hop.
pub(super) fn last_hops(
    mut writes: Vec<Write>,
    shards: &[ShardId],
    keys: &Arc<[DeclaredKey]>,
) -> Vec<(ShardId, impl FnOnce(&mut Shard) + Send + 'static)> {
    let mut last = Vec::new();
    for &owner in shards {
        let own = writes.extract_if(.., |write| keys[write.index].shard == owner);
        let own: Vec<Write> = own.collect();
        if own.is_empty() {
            continue;
        }
        let keys = Arc::clone(keys);
        let write_all = move |shard: &mut Shard| {
            for Write { index, run } in own {
                run(shard, &keys[index]);
            }
        };
        last.push((owner, write_all));
    }
    last
}

/// Looks at keys on their shards, decides, and writes, under intents on all of them.
async fn transact_over<T, L, D>(
    hops: &Hops,
    protocol: Protocol,
    keys: &Arc<[DeclaredKey]>,
    (look, decide): (L, D),
) -> Answer
where
    T: Send + 'static,
    L: Fn(&mut Shard, &[&DeclaredKey]) -> Vec<T> + Clone + Send + 'static,
    D: FnOnce(Vec<T>, &mut Decision<'_>) -> Outcome,
{
    let shards = shards_of(keys);
    let scoped = shards.iter().map(|&shard| (shard, scope_on(shard, keys))).collect();
    let found = look_at_all(hops, scoped, keys, look).await;
    let mut decided = decided(protocol, |decision| decide(found, decision));
    decided.fetch_moved(hops, keys).await;
    hops.release(last_hops(decided.writes, &shards, keys));
    decided.answer
}

/// Holds these scopes, and looks at all keys; what was found comes in their order.
pub(super) async fn look_at_all<T, L>(
    hops: &Hops,
    scoped: Vec<(ShardId, Scope)>,
    keys: &Arc<[DeclaredKey]>,
    look: L,
) -> Vec<T>
where
    T: Send + 'static,
    L: Fn(&mut Shard, &[&DeclaredKey]) -> Vec<T> + Clone + Send + 'static,
{
    let visits = scoped.into_iter().map(|(owner, scope)| {
        let (keys, look) = (Arc::clone(keys), look.clone());
        let look_here = move |shard: &mut Shard| {
            look_on(owner, &keys, |own| look(shard, own)).collect::<Vec<(usize, T)>>()
        };
        (owner, scope, look_here)
    });
    let found = hops.hold(visits.collect::<Vec<_>>()).await;
    let mut found: Vec<(usize, T)> = found.into_iter().flatten().collect();
    found.sort_unstable_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, found)| found).collect()
}

/// What looking at a shard's own keys finds, with the positions of these among all.
pub(super) fn look_on<T>(
    owner: ShardId,
    keys: &[DeclaredKey],
    look: impl FnOnce(&[&DeclaredKey]) -> Vec<T>,
) -> impl Iterator<Item = (usize, T)> {
    let own = keys.iter().enumerate().filter(|(_, key)| key.shard == owner);
    let (places, own): (Vec<usize>, Vec<&DeclaredKey>) = own.unzip();
    places.into_iter().zip(look(&own))
}

/// A look at keys one by one.
pub(crate) fn each<T>(
    look: impl Fn(&mut Shard, &DeclaredKey) -> T + Clone + Send + 'static,
) -> impl Fn(&mut Shard, &[&DeclaredKey]) -> Vec<T> + Clone + Send + 'static {
    move |shard, keys| keys.iter().map(|key| look(shard, key)).collect()
}

/// The shards of keys, each once.
pub(super) fn shards_of(keys: &[DeclaredKey]) -> Vec<ShardId> {
    let mut shards: Vec<ShardId> = keys.iter().map(|key| key.shard).collect();
    shards.sort_unstable();
    shards.dedup();
    shards
}

impl Core {
    /// A key to declare, in the order of the command's keys.
    pub(crate) fn declare(
        &self,
        index: usize,
        database: DatabaseId,
        bytes: &[u8],
        is_written: bool,
    ) -> DeclaredKey {
        let place = (&self.shard.keyspace, &*self.shard.routes);
        DeclaredKey::new(index, (database, bytes), is_written, place)
    }

    /// Runs a command over keys, wherever they are, as if nothing else happened meanwhile.
    ///
    /// `look` runs on every shard with its keys and changes nothing, for it may run more than once. `decide` gets
    /// what was found, in the order of `keys`, writes the reply and decides what is to be written.
    pub(crate) fn transact<T, L, D>(
        &mut self,
        id: SessionId,
        keys: Vec<DeclaredKey>,
        look: L,
        decide: D,
    ) where
        T: Send + 'static,
        L: Fn(&mut Shard, &[&DeclaredKey]) -> Vec<T> + Clone + Send + 'static,
        D: FnOnce(Vec<T>, &mut Decision<'_>) -> Outcome + Send + 'static,
    {
        let protocol = self.protocol(id);
        let keys: Arc<[DeclaredKey]> = keys.into();
        if let [only] = shards_of(&keys)[..] {
            let scope = scope_on(only, &keys);
            self.run_alone(id, (only, scope), move |shard| {
                let found = look(shard, &keys.iter().collect::<Vec<_>>());
                decided(protocol, |decision| decide(found, decision)).carry_out(shard, &keys)
            });
            return;
        }
        self.coordinate(id, |hops| async move {
            transact_over(&hops, protocol, &keys, (look, decide)).await
        });
    }

    /// Runs a command in one plain call on the one shard that it touches, which gives its reply.
    pub(super) fn run_alone(
        &mut self,
        id: SessionId,
        (only, scope): (ShardId, Scope),
        whole: impl FnOnce(&mut Shard) -> Answer + Send + 'static,
    ) {
        self.count_alone();
        if only == self.shard.id && self.shard.intents.admits(&scope) {
            let outer = self.shard.keyspace.swap_origin(self.origin_of(id));
            let answer = whole(&mut self.shard);
            self.shard.keyspace.swap_origin(outer);
            self.put_feeding_answer(id, &answer);
        } else {
            self.coordinate(id, |hops| async move { hops.alone(only, scope, whole).await });
        }
    }

    /// Looks at everything, on all shards at one moment, and writes the reply from what was found.
    pub(crate) fn survey<T, L, D>(&mut self, id: SessionId, look: L, tell: D)
    where
        T: Send + 'static,
        L: Fn(&mut Shard) -> T + Clone + Send + 'static,
        D: FnOnce(Vec<T>, &mut Reply<'_>) + 'static,
    {
        let (routes, protocol) = (Arc::clone(&self.shard.routes), self.protocol(id));
        self.coordinate(id, |hops| async move {
            let found = hops.hold_everything(&routes, Mode::Read, look).await;
            hops.release_all();
            let mut answer = Vec::new();
            let mut reply = Reply::new(&mut answer, protocol);
            tell(found, &mut reply);
            reply.replace_cut(0);
            answer
        });
    }

    /// Changes something on all shards at one moment, and answers OK.
    pub(crate) fn change_everything<C>(&mut self, id: SessionId, change: C)
    where
        C: FnOnce(&mut Shard) + Clone + Send + 'static,
    {
        let (routes, protocol) = (Arc::clone(&self.shard.routes), self.protocol(id));
        self.coordinate(id, |hops| async move {
            hops.hold_everything(&routes, Mode::Write, |_| ()).await;
            // Waited for, because not all that reads of a shard asks its intents (INFO, for one).
            hops.release_with(routes.shards().map(|shard| (shard, change.clone()))).await;
            let mut answer = Vec::new();
            Reply::new(&mut answer, protocol).ok();
            answer
        });
    }

    pub(super) fn protocol(&self, id: SessionId) -> Protocol {
        self.shard.sessions.get(id).map_or(Protocol::Resp2, |session| session.protocol)
    }
}
