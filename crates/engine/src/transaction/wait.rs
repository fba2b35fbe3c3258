//! Wait: a command that is answered when one of its keys is fed, or when its time is over.
//!
//! It looks, decides and writes as in `transact`; where the decision leaves no reply it stands in line on
//! its keys' shards (`crate::waiting`) before anybody else gets at them, and tries again when its turn comes.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::ShardId;
use basalt_resp::{Protocol, Reply};

use super::transact::{Write, decided, scope_on};
use crate::coordinate::{Answer, Hops};
use crate::core::Core;
use crate::message::Ticket;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::{Decision, DeclaredKey};
use crate::waiting::{AtHome, Attempt, End, Waiter, WaiterId, WaitsFor, Woken};

/// For what, and how long, a command waits.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// How many of its keys it waits for; the others it only writes.
    pub key_count: usize,
    /// What it waits for, of any of them.
    pub waits_for: WaitsFor,
    /// The moment when its time is over.
    pub deadline_us: Option<u64>,
    /// What it tells between MULTI and EXEC, where nobody waits, if there is nothing.
    pub nothing: fn(&mut Reply<'_>),
}

/// The refusal that CLIENT UNBLOCK … ERROR asks for.
const UNBLOCKED: CommandError = CommandError::text("UNBLOCKED client unblocked via CLIENT UNBLOCK");

impl End {
    /// The reply of a command that ends so.
    fn answer(self, protocol: Protocol) -> Answer {
        let mut answer = Vec::new();
        let mut reply = Reply::new(&mut answer, protocol);
        match self {
            Self::TimeOver => reply.null_array(),
            Self::Unblocked => reply.error_bytes(UNBLOCKED.as_bytes()),
        }
        answer
    }
}

/// A command that waits, as its coordinator carries it.
struct Case<M, L, D> {
    id: WaiterId,
    keys: Arc<[DeclaredKey]>,
    shards: Vec<ShardId>,
    terms: Terms,
    protocol: Protocol,
    memory: M,
    look: L,
    decide: D,
}

/// Where a coordinator is told of its turn, and of the end.
const TURN: usize = 0;
const END: usize = 1;

impl Core {
    /// The terms of a command that is told a null where nothing came.
    pub(crate) fn terms(
        &self,
        key_count: usize,
        waits_for: WaitsFor,
        timeout_ms: Option<u64>,
    ) -> Terms {
        let now_us = self.shard.now.monotonic_us;
        let deadline_us = timeout_ms.map(|ms| now_us.saturating_add(ms.saturating_mul(1000)));
        Terms { key_count, waits_for, deadline_us, nothing: |reply| reply.null_array() }
    }

    /// As [`Core::transact`], but where `decide` writes no reply the command waits for its first keys to be
    /// fed. `decide` runs until it writes one; CLIENT UNBLOCK and the deadline end it. `memory` is what it
    /// remembers from one time to the next.
    pub(crate) fn wait<M, T, L, D>(
        &mut self,
        id: SessionId,
        (keys, terms): (Vec<DeclaredKey>, Terms),
        memory: M,
        look: L,
        decide: D,
    ) where
        M: Clone + Send + 'static,
        T: Send + 'static,
        L: Fn(&mut Shard, &DeclaredKey, &M) -> T + Clone + Send + 'static,
        D: Fn(Vec<T>, &mut M, &mut Decision<'_>) -> Outcome + Clone + Send + 'static,
    {
        let mut shards: Vec<ShardId> = keys.iter().map(|key| key.shard).collect();
        shards.sort_unstable();
        shards.dedup();
        let case = Case {
            id: (self.shard.id, self.next_coordination()),
            keys: keys.into(),
            shards,
            terms,
            protocol: self.protocol(id),
            memory,
            look,
            decide,
        };
        self.coordinate(id, |hops| async move {
            // What it is told about comes at the places that are taken first.
            let places = [hops.place(), hops.place()];
            debug_assert_eq!(places, [TURN, END], "nothing was asked for before");
            if hops.is_inside() {
                case.inside(hops).await
            } else if let [only] = case.shards[..] {
                case.on_one_shard(hops, only).await
            } else {
                case.on_several_shards(hops).await
            }
        });
    }
}

impl<M, T, L, D> Case<M, L, D>
where
    M: Clone + Send + 'static,
    T: Send + 'static,
    L: Fn(&mut Shard, &DeclaredKey, &M) -> T + Clone + Send + 'static,
    D: Fn(Vec<T>, &mut M, &mut Decision<'_>) -> Outcome + Clone + Send + 'static,
{
    fn ticket(&self, index: usize) -> Ticket {
        Ticket { coordination: self.id.1, index }
    }

    fn at_home(&self) -> AtHome {
        AtHome {
            ticket: self.ticket(END),
            deadline_us: self.terms.deadline_us,
            shards: self.shards.clone(),
        }
    }

    /// As it stands in line on a shard; not at all, where it waits for no key of it.
    fn waiter(&self, shard: ShardId) -> Option<Waiter> {
        let waited_for = self.keys.iter().take(self.terms.key_count);
        let keys: Vec<DeclaredKey> = waited_for.filter(|key| key.shard == shard).cloned().collect();
        (!keys.is_empty()).then(|| Waiter {
            ticket: self.ticket(TURN),
            place: 0,
            keys,
            scope: scope_on(shard, &self.keys),
            waits_for: self.terms.waits_for.clone(),
            attempt: None,
            is_told: false,
            is_fed_again: false,
        })
    }

    /// All of it in one plain call, where all keys are on one shard.
    fn attempt(&self) -> Attempt {
        let (keys, protocol) = (Arc::clone(&self.keys), self.protocol);
        let mut memory = self.memory.clone();
        let (look, decide) = (self.look.clone(), self.decide.clone());
        Box::new(move |shard| {
            let found = keys.iter().map(|key| look(shard, key, &memory)).collect();
            let decide = |found, decision: &mut Decision<'_>| decide(found, &mut memory, decision);
            let (answer, writes) = decided(&keys, found, protocol, decide);
            for Write { index, run } in writes {
                run(shard, &keys[index]);
            }
            (!answer.is_empty()).then_some(answer)
        })
    }

    /// Inside the transaction of another: answered at once.
    async fn inside(mut self, hops: Hops) -> Answer {
        let (mut answer, writes) = self.look_at_all(&hops).await;
        if answer.is_empty() {
            (self.terms.nothing)(&mut Reply::new(&mut answer, self.protocol));
        }
        hops.release(self.last_hops(writes, true, false));
        answer
    }

    async fn on_one_shard(self, hops: Hops, shard: ShardId) -> Answer {
        let (id, scope) = (self.id, scope_on(shard, &self.keys));
        let (mut attempt, waiter) = (self.attempt(), self.waiter(shard));
        let first = hops.alone(shard, scope, move |shard| {
            let answer = attempt(shard);
            if let (None, Some(waiter)) = (&answer, waiter) {
                shard.stand_in_line(id, Waiter { attempt: Some(attempt), ..waiter });
            }
            answer
        });
        if let Some(answer) = first.await {
            return answer;
        }
        hops.begin_wait(self.at_home());
        // Nobody is told to look whose keys are all on one shard.
        match turn_or_end(&hops).await {
            Ok(woken) => served(woken),
            Err(end) if hops.on(shard, move |shard| shard.leave_line(id)).await => {
                end.answer(self.protocol)
            }
            // It was served before it left the line: that counts.
            Err(_) => served(turn(&hops).await),
        }
    }

    async fn on_several_shards(mut self, hops: Hops) -> Answer {
        let id = self.id;
        let mut stands_in_line = false;
        loop {
            let (answer, writes) = self.look_at_all(&hops).await;
            let is_served = !answer.is_empty();
            hops.release(self.last_hops(writes, is_served, stands_in_line));
            if is_served {
                return answer;
            }
            if !stands_in_line {
                hops.begin_wait(self.at_home());
                stands_in_line = true;
            }
            if let Err(end) = turn_or_end(&hops).await {
                let leave =
                    |&shard: &ShardId| (shard, move |shard: &mut Shard| shard.leave_line(id));
                hops.on_each(self.shards.iter().map(leave).collect::<Vec<_>>()).await;
                return end.answer(self.protocol);
            }
        }
    }

    /// Holds all keys, and decides.
    async fn look_at_all(&mut self, hops: &Hops) -> (Answer, Vec<Write>) {
        let visits = self.shards.iter().map(|&owner| {
            let (keys, look) = (Arc::clone(&self.keys), self.look.clone());
            let memory = self.memory.clone();
            let look_at_all = move |shard: &mut Shard| -> Vec<(usize, T)> {
                let own = keys.iter().enumerate().filter(|(_, key)| key.shard == owner);
                own.map(|(index, key)| (index, look(shard, key, &memory))).collect()
            };
            (owner, scope_on(owner, &self.keys), look_at_all)
        });
        let found = hops.hold(visits.collect::<Vec<_>>()).await;
        let mut found: Vec<(usize, T)> = found.into_iter().flatten().collect();
        found.sort_unstable_by_key(|(index, _)| *index);
        let found = found.into_iter().map(|(_, found)| found).collect();
        let Self { keys, protocol, memory, decide, .. } = self;
        decided(keys, found, *protocol, |found, decision| decide(found, memory, decision))
    }

    /// What is left to be done on each shard: its writes, and its place in line taken or left.
    fn last_hops(
        &self,
        mut writes: Vec<Write>,
        is_served: bool,
        stands_in_line: bool,
    ) -> Vec<(ShardId, impl FnOnce(&mut Shard) + Send + 'static)> {
        let id = self.id;
        let mut last = Vec::new();
        for &owner in &self.shards {
            let keys = Arc::clone(&self.keys);
            let own = writes.extract_if(.., |write| keys[write.index].shard == owner);
            let own: Vec<Write> = own.collect();
            let waiter = self.waiter(owner);
            let hop = move |shard: &mut Shard| {
                for Write { index, run } in own {
                    run(shard, &keys[index]);
                }
                match waiter {
                    _ if is_served => _ = shard.leave_line(id),
                    Some(waiter) if !stands_in_line => shard.stand_in_line(id, waiter),
                    _ => shard.wait_on(id),
                }
            };
            last.push((owner, hop));
        }
        last
    }
}

fn served(woken: Woken) -> Answer {
    let Woken::Served(answer) = woken else { unreachable!("it is served where its keys are") };
    answer
}

/// Sleeps until its turn comes.
async fn turn(hops: &Hops) -> Woken {
    poll_fn(|_| hops.take_at(TURN).map_or(Poll::Pending, Poll::Ready)).await
}

/// Sleeps until its turn or its end comes.
async fn turn_or_end(hops: &Hops) -> Result<Woken, End> {
    poll_fn(|_| {
        if let Some(woken) = hops.take_at(TURN) {
            return Poll::Ready(Ok(woken));
        }
        hops.take_at(END).map_or(Poll::Pending, |end| Poll::Ready(Err(end)))
    })
    .await
}
