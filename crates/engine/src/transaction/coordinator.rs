//! Coordinators: tasks that carry one request through hops over several shards.
//!
//! A coordinator is the only thing here that may wait, and only for hops. It touches no shard and no
//! socket itself: it asks for hops, plain functions that run on a shard from start to end, and leaves
//! the encoded reply. Core drives it whenever an answer has come.
//!
//! What it does between [`Hops::hold`] and [`Hops::release`] others see as happening at one moment; any
//! other hop is atomic alone.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use basalt_keyspace::{Origin, ShardId, TxnTag};

use crate::completion::{Answer, Ticket};
use crate::intents::{Mode, Number, Scope};
use crate::mesh::message::{Hop, HopResult, ReadHop};
use crate::session::SessionId;
use crate::session::execution::{PendingCall, ReplyPlace};
use crate::session::queued::Queued;
use crate::shard::Shard;
use crate::shard::blocking::AtHome;
use crate::slots::quiet::Quiet;
use crate::slots::routes::Routes;

/// A coordinator under way.
pub(crate) struct Coordination {
    pub session: SessionId,
    /// It runs inside the transaction of another, which gets its answer. What it would hold is held.
    pub parent: Option<Ticket>,
    /// Of one that runs inside: its command, to be counted when it is over.
    pub call: Option<PendingCall>,
    /// Where its answer goes, if its session goes on meanwhile.
    pub place: Option<ReplyPlace>,
    /// The command that it carries, if a client asked for one.
    pub command: Option<&'static str>,
    /// The transaction that it holds or waits for.
    pub transaction: Option<Number>,
    /// The client for which its hops change data, and the transaction that they are part of.
    pub origin: Origin,
    /// Something ran within its transaction, and may have changed data.
    pub has_hopped: bool,
    /// On how many shards a waiter that it fed is not served yet.
    pub unserved: usize,
    /// Its answer, until they are.
    pub answer: Option<Answer>,
    future: Pin<Box<dyn Future<Output = Answer>>>,
    mailbox: Rc<RefCell<Mailbox>>,
}

/// What a coordinator asks for; an index is where it looks for the result.
pub(crate) enum Wish {
    Hop {
        index: usize,
        shard: ShardId,
        /// What must be free for it.
        scope: Option<Scope>,
        hop: Hop,
    },
    Hold {
        index: usize,
        /// With what is kept for it, under this number.
        number: Option<Number>,
        visits: Vec<(ShardId, Scope, ReadHop)>,
    },
    /// Whether all is quiet on a shard.
    IsQuiet {
        index: usize,
        shard: ShardId,
    },
    /// Commands of the session, run inside the transaction that is held.
    Inside {
        index: usize,
        moment_ms: u64,
        commands: Vec<Queued>,
    },
    /// The session sleeps until its turn or its end comes.
    Wait {
        at_home: AtHome,
    },
    /// Its hops are one transaction from here on, for readers of records, that so many shards write in; with 0 they
    /// are none.
    Tag {
        parts: usize,
    },
    /// Its hops, and what runs inside, are part of a transaction that ends elsewhere.
    Adopt {
        tag: TxnTag,
    },
    Release {
        writes: Vec<(ShardId, Option<usize>, Hop)>,
    },
}

/// Where a coordinator leaves its wishes and finds what came of them.
#[derive(Default)]
struct Mailbox {
    /// All is held by another already: the moment (milliseconds since 1970) that its transaction takes for
    /// now.
    inside_at_ms: Option<u64>,
    wishes: Vec<Wish>,
    results: Vec<Option<HopResult>>,
    /// It asked for nothing that is still to come, but waits for its turn or its end.
    is_asleep: bool,
}

/// What a coordinator holds to ask for hops.
#[derive(Clone)]
pub(crate) struct Hops(Rc<RefCell<Mailbox>>);

impl Hops {
    fn ask<T: Any + Send>(&self, wish: impl FnOnce(usize) -> Wish) -> Awaited<T> {
        let mut mailbox = self.0.borrow_mut();
        let index = mailbox.results.len();
        mailbox.results.push(None);
        mailbox.wishes.push(wish(index));
        Awaited { mailbox: Rc::clone(&self.0), index, result: PhantomData }
    }

    /// Takes a place for results of no hop; they come with [`Hops::take_at`].
    pub(crate) fn place(&self) -> usize {
        let mut mailbox = self.0.borrow_mut();
        mailbox.results.push(None);
        mailbox.results.len() - 1
    }

    /// What has come at a place, if something has; if not, it sleeps until something comes.
    pub(crate) fn take_at<T: Any>(&self, place: usize) -> Option<T> {
        let mut mailbox = self.0.borrow_mut();
        let found = mailbox.results[place].take().map(downcast);
        mailbox.is_asleep = found.is_none();
        found
    }

    /// Forgets all results but the first ones, when none is awaited.
    pub(crate) fn forget_results(&self, kept: usize) {
        self.0.borrow_mut().results.truncate(kept);
    }

    /// The session sleeps from now on.
    pub(crate) fn begin_wait(&self, at_home: AtHome) {
        self.0.borrow_mut().wishes.push(Wish::Wait { at_home });
    }

    fn ask_hop<T: Any + Send>(
        &self,
        shard: ShardId,
        scope: Option<Scope>,
        hop: impl FnOnce(&mut Shard) -> T + Send + 'static,
    ) -> Awaited<T> {
        let (moment_ms, hop) = (self.0.borrow().inside_at_ms, Hop::new(hop));
        let (scope, hop) = match moment_ms {
            None => (scope, hop),
            Some(moment_ms) => (None, hop.at(moment_ms)),
        };
        self.ask(|index| Wish::Hop { index, shard, scope, hop })
    }

    /// The moment (milliseconds since 1970) that the transaction around it takes for now, if there is one.
    pub(crate) fn moment_ms(&self) -> Option<u64> {
        self.0.borrow().inside_at_ms
    }

    /// What is asked for from here on runs inside what is held, at this moment of the transaction; with `None` it is
    /// by itself again.
    pub(crate) fn set_inside(&self, moment_ms: Option<u64>) {
        self.0.borrow_mut().inside_at_ms = moment_ms;
    }

    /// Whether all is held by another already.
    pub(crate) fn is_inside(&self) -> bool {
        self.0.borrow().inside_at_ms.is_some()
    }

    /// Runs `hop` on a shard.
    pub(crate) async fn on<T: Any + Send>(
        &self,
        shard: ShardId,
        hop: impl FnOnce(&mut Shard) -> T + Send + 'static,
    ) -> T {
        self.ask_hop(shard, None, hop).await
    }

    /// Runs `hop` on a shard when no transaction there is in its way: a transaction by itself.
    pub(crate) async fn alone<T: Any + Send>(
        &self,
        shard: ShardId,
        scope: Scope,
        hop: impl FnOnce(&mut Shard) -> T + Send + 'static,
    ) -> T {
        self.ask_hop(shard, Some(scope), hop).await
    }

    /// As [`Hops::alone`], on each of several shards at once, but not at one moment.
    pub(crate) async fn each_alone<T, F>(
        &self,
        hops: impl IntoIterator<Item = (ShardId, Scope, F)>,
    ) -> Vec<T>
    where
        T: Any + Send,
        F: FnOnce(&mut Shard) -> T + Send + 'static,
    {
        let hops = hops.into_iter();
        let asked = hops.map(|(shard, scope, hop)| self.ask_hop(shard, Some(scope), hop)).collect();
        all(asked).await
    }

    /// Whether all is quiet on each shard: at home, where these questions come from, it is asked last.
    pub(crate) async fn are_quiet(&self, shards: &[ShardId], home: ShardId) -> Vec<Quiet> {
        let ask = |shard| self.ask(|index| Wish::IsQuiet { index, shard });
        let others = shards.iter().copied().filter(|shard| *shard != home);
        let mut found = all(others.map(ask).collect()).await;
        found.push(ask(home).await);
        found
    }

    /// Runs commands inside what is held, at this moment of the transaction; their encoded replies.
    pub(crate) async fn inside(&self, commands: Vec<Queued>, moment_ms: u64) -> Answer {
        self.ask(|index| Wish::Inside { index, moment_ms, commands }).await
    }

    /// Makes the hops that follow one transaction for readers of records, though it holds no intents. Each of the
    /// shards that write, so many, must end its part.
    pub(crate) fn begin_transaction(&self, parts: usize) {
        self.0.borrow_mut().wishes.push(Wish::Tag { parts });
    }

    /// Makes what follows part of a transaction that ends elsewhere.
    pub(crate) fn adopt(&self, tag: TxnTag) {
        self.0.borrow_mut().wishes.push(Wish::Adopt { tag });
    }

    pub(crate) fn end_transaction(&self) {
        self.0.borrow_mut().wishes.push(Wish::Tag { parts: 0 });
    }

    /// Runs a hop on each of several shards at once; the results come in the order of the hops.
    pub(crate) async fn on_each<T, F>(&self, hops: impl IntoIterator<Item = (ShardId, F)>) -> Vec<T>
    where
        T: Any + Send,
        F: FnOnce(&mut Shard) -> T + Send + 'static,
    {
        all(self.begin_each(hops)).await
    }

    /// As [`Hops::on_each`], but what comes of them may be awaited later. What is asked for meanwhile runs behind
    /// them on their shards.
    pub(crate) fn begin_each<T, F>(
        &self,
        hops: impl IntoIterator<Item = (ShardId, F)>,
    ) -> Vec<Awaited<T>>
    where
        T: Any + Send,
        F: FnOnce(&mut Shard) -> T + Send + 'static,
    {
        hops.into_iter().map(|(shard, hop)| self.ask_hop(shard, None, hop)).collect()
    }

    /// Holds intents on several shards, each named once, and looks at each: what was found is true of one
    /// moment, and stays so until [`Hops::release`] or the end. A look changes nothing, since it may have
    /// to be repeated.
    pub(crate) async fn hold<T, L>(
        &self,
        visits: impl IntoIterator<Item = (ShardId, Scope, L)>,
    ) -> Vec<T>
    where
        T: Any + Send,
        L: FnMut(&mut Shard) -> T + Send + 'static,
    {
        self.hold_as(None, visits).await
    }

    /// As [`Hops::hold`], under the number with which one of the shards keeps something for it already.
    pub(crate) async fn hold_as<T, L>(
        &self,
        number: Option<Number>,
        visits: impl IntoIterator<Item = (ShardId, Scope, L)>,
    ) -> Vec<T>
    where
        T: Any + Send,
        L: FnMut(&mut Shard) -> T + Send + 'static,
    {
        if self.is_inside() {
            let looks = visits.into_iter().map(|(shard, _, look)| (shard, look));
            return self.on_each(looks.collect::<Vec<_>>()).await;
        }
        let visits = visits.into_iter();
        let visits: Vec<_> =
            visits.map(|(shard, scope, look)| (shard, scope, ReadHop::new(look))).collect();
        if visits.is_empty() {
            return Vec::new();
        }
        let found: Vec<HopResult> = self.ask(|index| Wish::Hold { index, number, visits }).await;
        found.into_iter().map(downcast).collect()
    }

    /// Holds everything, on all shards.
    pub(crate) async fn hold_everything<T, L>(&self, routes: &Routes, mode: Mode, look: L) -> Vec<T>
    where
        T: Any + Send,
        L: FnMut(&mut Shard) -> T + Clone + Send + 'static,
    {
        let visit = |shard| (shard, Scope::Everything(mode), look.clone());
        self.hold(routes.shards().map(visit)).await
    }

    /// Lets go of all intents, with a last hop on some of the shards. No request sees a shard without it, so it
    /// need not be waited for.
    pub(crate) fn release<F>(&self, writes: impl IntoIterator<Item = (ShardId, F)>)
    where
        F: FnOnce(&mut Shard) + Send + 'static,
    {
        if self.is_inside() {
            for (shard, write) in writes {
                // Whatever runs inside after it comes to the shard after it.
                drop(self.ask_hop(shard, None, write));
            }
            return;
        }
        let writes =
            writes.into_iter().map(|(shard, write)| (shard, None, Hop::new(write))).collect();
        self.0.borrow_mut().wishes.push(Wish::Release { writes });
    }

    /// Lets go of all intents.
    pub(crate) fn release_all(&self) {
        if self.is_inside() {
            return;
        }
        self.0.borrow_mut().wishes.push(Wish::Release { writes: Vec::new() });
    }

    /// As [`Hops::release`], and what the last hops give, in their order.
    pub(crate) async fn release_with<T, F>(
        &self,
        writes: impl IntoIterator<Item = (ShardId, F)>,
    ) -> Vec<T>
    where
        T: Any + Send,
        F: FnOnce(&mut Shard) -> T + Send + 'static,
    {
        if self.is_inside() {
            return self.on_each(writes).await;
        }
        let asked = self.ask_last(writes);
        all(asked).await
    }

    fn ask_last<T, F>(&self, writes: impl IntoIterator<Item = (ShardId, F)>) -> Vec<Awaited<T>>
    where
        T: Any + Send,
        F: FnOnce(&mut Shard) -> T + Send + 'static,
    {
        let (mut asked, mut last) = (Vec::new(), Vec::new());
        let mut mailbox = self.0.borrow_mut();
        for (shard, write) in writes {
            let index = mailbox.results.len();
            mailbox.results.push(None);
            last.push((shard, Some(index), Hop::new(write)));
            asked.push(Awaited { mailbox: Rc::clone(&self.0), index, result: PhantomData });
        }
        mailbox.wishes.push(Wish::Release { writes: last });
        asked
    }
}

fn downcast<T: Any>(result: HopResult) -> T {
    *result.downcast::<T>().expect("a hop gives what it was asked for")
}

pub(crate) async fn all<T: Any>(asked: Vec<Awaited<T>>) -> Vec<T> {
    let mut results = Vec::with_capacity(asked.len());
    for awaited in asked {
        results.push(awaited.await);
    }
    results
}

/// A result that is still to come.
pub(crate) struct Awaited<T> {
    mailbox: Rc<RefCell<Mailbox>>,
    index: usize,
    result: PhantomData<fn() -> T>,
}

impl<T: Any> Future for Awaited<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        match self.mailbox.borrow_mut().results[self.index].take() {
            Some(result) => Poll::Ready(downcast(result)),
            None => Poll::Pending,
        }
    }
}

impl Coordination {
    /// A coordination of a session, `inside` the transaction of another at its moment or by itself.
    pub(crate) fn new<F>(
        (session, command): (SessionId, Option<&'static str>),
        origin: Origin,
        inside: Option<(Ticket, u64)>,
        start: impl FnOnce(Hops) -> F,
    ) -> Self
    where
        F: Future<Output = Answer> + 'static,
    {
        let (parent, inside_at_ms) = inside.unzip();
        let mailbox = Mailbox { inside_at_ms, ..Mailbox::default() };
        let mailbox = Rc::new(RefCell::new(mailbox));
        let future = Box::pin(start(Hops(Rc::clone(&mailbox))));
        Self {
            session,
            parent,
            call: None,
            place: None,
            command,
            transaction: None,
            origin,
            has_hopped: false,
            unserved: 0,
            answer: None,
            future,
            mailbox,
        }
    }

    /// Goes on as far as it can without waiting.
    pub(crate) fn poll(&mut self) -> Poll<Answer> {
        self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// What it asked for since the last call.
    pub(crate) fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.mailbox.borrow_mut().wishes)
    }

    /// Whether it sleeps, and nothing has come at a place yet.
    pub(crate) fn awaits_turn(&self, place: usize) -> bool {
        let mailbox = self.mailbox.borrow();
        mailbox.is_asleep && mailbox.results.get(place).is_some_and(Option::is_none)
    }

    pub(crate) fn put_result(&mut self, index: usize, result: HopResult) {
        self.mailbox.borrow_mut().results[index] = Some(result);
    }
}
