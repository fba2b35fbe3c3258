//! Wait: a command that is answered when one of its keys is fed, or when its time is over.
//!
//! It looks, decides and writes as in `transact`; where the decision leaves no reply it stands in line on
//! its keys' shards (`crate::shard::blocking`) before anybody else gets at them, and tries again when its turn comes.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use basalt_commands::{CommandError, Wait};
use basalt_keyspace::{Origin, ShardId, SlotId};
use basalt_resp::{Protocol, Reply};

use super::many::{Attempted, Found, Request, Travel};
use super::transact::{Decided, Write, look_on};
use crate::completion::{Answer, Ticket};
use crate::core::Core;
use crate::input::keys::{DeclaredKey, scope_on};
use crate::intents::Number;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::shard::blocking::{AtHome, Attempt, End, Waiter, WaiterId, Woken};
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;

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
struct Case {
    id: WaiterId,
    origin: Origin,
    request: Arc<Request>,
    attempted: Attempted,
    keys: Arc<[DeclaredKey]>,
    shards: Vec<ShardId>,
    slots: Arc<[SlotId]>,
    routes: Arc<Routes>,
    wait: Wait,
    /// The moment (monotonic µs) when its time is over.
    deadline_us: Option<u64>,
}

/// Where a coordinator finds its turn, and the end.
const TURN: usize = 0;
const END: usize = 1;
const PLACES: usize = 2;

impl Core {
    /// As [`Core::run_many`], but where an attempt leaves no reply the command waits for its first keys to be fed.
    /// CLIENT UNBLOCK and the deadline end it.
    pub(super) fn wait(
        &mut self,
        id: SessionId,
        (request, keys): (Arc<Request>, Vec<DeclaredKey>),
        wait: Wait,
    ) {
        let now_us = self.shard.now.monotonic_us;
        let deadline_us = wait.timeout_ms.map(|ms| now_us.saturating_add(ms.saturating_mul(1000)));
        let mut case = Case {
            id: (self.shard.id, self.next_coordination()),
            origin: Origin { transaction: None, ..self.origin_of(id) },
            request,
            attempted: Attempted::default(),
            shards: self.shard.routes.shards_of(keys.iter().map(|key| key.slot)),
            slots: keys.iter().map(|key| key.slot).collect(),
            keys: keys.into(),
            routes: Arc::clone(&self.shard.routes),
            wait,
            deadline_us,
        };
        self.coordinate(id, |hops| async move {
            // Turn and end come at the places that are taken first.
            let places = [hops.place(), hops.place()];
            debug_assert_eq!(places, [TURN, END], "nothing was asked for before");
            case.run(hops).await
        });
    }
}

impl Case {
    fn ticket(&self, index: usize) -> Ticket {
        Ticket { coordination: self.id.1, index }
    }

    fn waited_for(&self) -> impl Iterator<Item = &DeclaredKey> {
        self.keys.iter().take(self.wait.key_count)
    }

    fn at_home(&self) -> AtHome {
        AtHome {
            ticket: self.ticket(END),
            deadline_us: self.deadline_us,
            slots: self.waited_for().map(|key| key.slot).collect(),
            look: self.attempted.retry_at_us.map(|at_us| (at_us, self.ticket(TURN))),
        }
    }

    /// As it stands in line on a shard; not at all, where it waits for no key of it.
    fn waiter(&self, shard: ShardId) -> Option<Waiter> {
        let own = self.waited_for().filter(|key| key.shard == shard);
        let lines: Vec<(DeclaredKey, u64)> = own.map(|key| (key.clone(), 0)).collect();
        (!lines.is_empty()).then(|| Waiter {
            origin: self.origin,
            ticket: self.ticket(TURN),
            lines,
            slots: Arc::clone(&self.slots),
            scope: scope_on(shard, &self.keys),
            waits_for: self.wait.waits_for.clone(),
            least: self.wait.least,
            attempt: None,
            reserved: None,
            is_told: false,
            ready_again: BTreeSet::new(),
        })
    }

    /// While it slept its keys' slots may have moved, and its places in line with them.
    async fn look_around(&mut self, hops: &Hops) {
        let routes = hops.on(self.id.0, |shard| Arc::clone(&shard.routes)).await;
        if self.keys.iter().all(|key| key.shard == routes.shard(key.slot)) {
            return;
        }
        self.keys = self.keys.iter().map(|key| key.rerouted(&routes)).collect();
        self.shards = routes.shards_of(self.slots.iter().copied());
        self.routes = routes;
    }

    /// All of it in one plain call, where all keys are on one shard.
    fn attempt(&self) -> impl FnMut(&mut Shard, &mut Attempted) -> Option<Answer> + Send + use<> {
        let (keys, request) = (Arc::clone(&self.keys), Arc::clone(&self.request));
        move |shard, attempted| {
            let answer = request.attempt_here(shard, &keys, attempted).carry_out(shard, &keys);
            (!answer.is_empty()).then_some(answer)
        }
    }

    /// Tries; stands in line; and tries again whenever its turn comes, until it is served or its end comes.
    async fn run(&mut self, hops: Hops) -> Answer {
        let id = self.id;
        let mut stands_in_line = false;
        let mut reserved = None;
        loop {
            let answer = match self.shards[..] {
                [only] if reserved.is_none() => self.try_on(&hops, only, stands_in_line).await,
                _ => self.try_on_several(&hops, reserved, stands_in_line).await,
            };
            if let Some(answer) = answer {
                return answer;
            }
            if !stands_in_line || self.attempted.retry_at_us.is_some() {
                hops.begin_wait(self.at_home());
                stands_in_line = true;
            }
            // Else each look in vain would leave its places behind.
            hops.forget_results(PLACES);
            let woken = turn_or_end(&hops).await;
            self.look_around(&hops).await;
            match woken {
                Ok(Woken::Served(answer)) => return answer,
                Ok(Woken::Look(number)) => reserved = number,
                Err(end) => {
                    let mut shards: Vec<_> = self.waited_for().map(|key| key.shard).collect();
                    shards.sort_unstable();
                    shards.dedup();
                    let leave = |shard| (shard, move |shard: &mut Shard| shard.leave_line(id));
                    if hops.on_each(shards.into_iter().map(leave)).await.contains(&true) {
                        return end.answer(self.request.protocol);
                    }
                    // It was served before it left the line: that counts. What was kept for it went with its
                    // place.
                    loop {
                        if let Woken::Served(answer) = turn(&hops).await {
                            return answer;
                        }
                    }
                }
            }
        }
    }

    /// Where all keys are on one shard: it stands in line as the very attempt that was in vain.
    async fn try_on(
        &mut self,
        hops: &Hops,
        shard: ShardId,
        stands_in_line: bool,
    ) -> Option<Answer> {
        let (id, mut attempt) = (self.id, self.attempt());
        let waiter = if stands_in_line { None } else { self.waiter(shard) };
        let mut attempted = self.attempted.clone();
        let hop = move |shard: &mut Shard| {
            let looks = !stands_in_line || shard.has_for(id);
            let answer = if looks { attempt(shard, &mut attempted) } else { None };
            match (&answer, waiter) {
                (None, Some(waiter)) => {
                    let mut kept = attempted.clone();
                    let attempt: Attempt = Box::new(move |shard| attempt(shard, &mut kept));
                    shard.stand_in_line(id, Waiter { attempt: Some(attempt), ..waiter });
                }
                (None, None) => shard.wait_on(id),
                (Some(_), _) => _ = shard.leave_line(id),
            }
            (answer, attempted)
        };
        let (answer, attempted) = hops.alone(shard, scope_on(shard, &self.keys), hop).await;
        self.attempted = attempted;
        answer
    }

    async fn try_on_several(
        &mut self,
        hops: &Hops,
        reserved: Option<Number>,
        stands_in_line: bool,
    ) -> Option<Answer> {
        let Decided { answer, writes, .. } = self.look_at_all(hops, reserved, stands_in_line).await;
        let is_served = !answer.is_empty();
        hops.release(self.last_hops(writes, is_served, stands_in_line));
        is_served.then_some(answer)
    }

    /// Locks all keys and decides. Skips the decision if this waiter finds none of its keys ready.
    async fn look_at_all(
        &mut self,
        hops: &Hops,
        reserved: Option<Number>,
        stands_in_line: bool,
    ) -> Decided {
        let id = self.id;
        let visits = self.shards.iter().map(|&owner| {
            let (keys, request) = (Arc::clone(&self.keys), Arc::clone(&self.request));
            let attempted = self.attempted.clone();
            let look_at_all = move |shard: &mut Shard| -> Looked {
                let found = look_on(owner, &keys, |own| request.read(shard, own, &attempted));
                let found = found.collect();
                let (now, moment_ms) = (shard.now, shard.keyspace.now_ms());
                let looks = !stands_in_line || shard.has_for(id);
                Looked { looks, moment_ms, at_us: now.monotonic_us, found }
            };
            (owner, scope_on(owner, &self.keys), look_at_all)
        });
        let looked = hops.hold_as(reserved, visits.collect::<Vec<_>>()).await;
        if looked.iter().all(|looked| !looked.looks) {
            return Default::default();
        }
        // What is there at the first of the moments is there at all of them.
        let moment_ms = looked.iter().map(|looked| looked.moment_ms).min().unwrap_or(0);
        let at_us = looked.iter().map(|looked| looked.at_us).min().unwrap_or(0);
        let mut found: Vec<_> = looked.into_iter().flat_map(|looked| looked.found).collect();
        found.sort_unstable_by_key(|(index, _)| *index);
        let found = found.into_iter().map(|(_, found)| found).collect();
        let Self { request, routes, keys, .. } = &*self;
        let state = Travel { hops, request, routes, moment_ms }.through(found, keys).await;
        self.request.decide(state, &mut self.attempted, at_us)
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

/// What a look at the keys of a shard finds.
struct Looked {
    /// Whether there is something for this waiter.
    looks: bool,
    /// When it looked: in milliseconds since 1970, and in monotonic µs.
    moment_ms: u64,
    at_us: u64,
    /// Each with the position of its key among all.
    found: Vec<(usize, Result<Found, CommandError>)>,
}

impl Core {
    /// Answers when the time is over, or at once: without `sleeps`, and between MULTI and EXEC.
    pub(crate) fn sleep(
        &mut self,
        id: SessionId,
        sleeps: bool,
        deadline_us: Option<u64>,
        tell: fn(&mut Reply<'_>),
    ) {
        let coordination = self.next_coordination();
        let protocol = self.protocol(id);
        self.coordinate(id, |hops| async move {
            let mut end = None;
            if sleeps && !hops.is_inside() {
                let index = hops.place();
                let ticket = Ticket { coordination, index };
                hops.begin_wait(AtHome { ticket, deadline_us, slots: Vec::new(), look: None });
                let over =
                    |_: &mut Context<'_>| hops.take_at(index).map_or(Poll::Pending, Poll::Ready);
                end = Some(poll_fn(over).await);
            }
            match end {
                Some(End::Unblocked) => End::Unblocked.answer(protocol),
                Some(End::TimeOver) | None => {
                    let mut answer = Vec::new();
                    tell(&mut Reply::new(&mut answer, protocol));
                    answer
                }
            }
        });
    }
}

impl Core {
    /// WAITAOF: answers when all that was done before is in the journals and on the disks, or when the time is over.
    /// There are no replicas, so with `replicas` it is the latter.
    pub(crate) fn wait_for_disks(
        &mut self,
        id: SessionId,
        (local, replicas): (bool, bool),
        deadline_us: Option<u64>,
    ) {
        let coordination = self.next_coordination();
        let (protocol, home) = (self.protocol(id), self.shard.id);
        self.coordinate(id, |hops| async move {
            let (done, end) = (hops.place(), hops.place());
            let waits = (local || replicas) && !hops.is_inside();
            let ticket = |index| Ticket { coordination, index };
            let wait = (local && waits).then_some(ticket(done));
            let mut is_on_disk = hops.on(home, move |shard| shard.await_disks(wait)).await;
            if waits {
                let ticket = ticket(end);
                hops.begin_wait(AtHome { ticket, deadline_us, slots: Vec::new(), look: None });
                let over = |_: &mut Context<'_>| {
                    is_on_disk |= hops.take_at::<()>(done).is_some();
                    match hops.take_at(end) {
                        Some(end) => Poll::Ready(Some(end)),
                        None if is_on_disk && !replicas => Poll::Ready(None),
                        None => Poll::Pending,
                    }
                };
                let ended = poll_fn(over).await;
                if !is_on_disk && local {
                    hops.on(home, move |shard| shard.forget_wait_for_disks(coordination)).await;
                }
                if let Some(End::Unblocked) = ended {
                    return End::Unblocked.answer(protocol);
                }
            }
            let mut answer = Vec::new();
            let mut reply = Reply::new(&mut answer, protocol);
            reply.array(2);
            reply.integer(is_on_disk.into());
            reply.integer(0);
            answer
        });
    }
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
