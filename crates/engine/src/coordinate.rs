//! Coordinators: tasks that carry one request through hops over several shards.
//!
//! A coordinator is the only thing here that may wait, and only for hops. It touches no shard and no
//! socket itself: it asks for hops, plain functions that run on a shard from start to end, and leaves
//! the encoded reply. Core drives it whenever an answer has come.
//!
//! Not here yet: isolation from other coordinators; each hop alone is atomic.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use basalt_keyspace::ShardId;

use crate::message::{HopFn, HopResult};
use crate::session::SessionId;
use crate::shard::Shard;

/// A coordinator's encoded reply.
pub(crate) type Answer = Vec<u8>;

/// A coordinator under way.
pub(crate) struct Coordination {
    pub session: SessionId,
    future: Pin<Box<dyn Future<Output = Answer>>>,
    desk: Rc<RefCell<Desk>>,
}

/// Where a coordinator leaves its wishes and finds what came of them.
#[derive(Default)]
struct Desk {
    wanted: Vec<(usize, ShardId, HopFn)>,
    results: Vec<Option<HopResult>>,
}

/// What a coordinator holds to ask for hops.
#[derive(Clone)]
pub(crate) struct Hops(Rc<RefCell<Desk>>);

impl Hops {
    fn ask<T: Any + Send>(
        &self,
        shard: ShardId,
        hop: impl FnOnce(&mut Shard) -> T + Send + 'static,
    ) -> Awaited<T> {
        let mut desk = self.0.borrow_mut();
        let index = desk.results.len();
        desk.results.push(None);
        desk.wanted.push((index, shard, Box::new(|shard| Box::new(hop(shard)))));
        Awaited { desk: Rc::clone(&self.0), index, result: std::marker::PhantomData }
    }

    /// Runs `hop` on a shard.
    pub(crate) async fn on<T: Any + Send>(
        &self,
        shard: ShardId,
        hop: impl FnOnce(&mut Shard) -> T + Send + 'static,
    ) -> T {
        self.ask(shard, hop).await
    }

    /// Runs a hop on each of several shards at once; the results come in the order of the hops.
    pub(crate) async fn on_each<T, F>(&self, hops: impl IntoIterator<Item = (ShardId, F)>) -> Vec<T>
    where
        T: Any + Send,
        F: FnOnce(&mut Shard) -> T + Send + 'static,
    {
        let asked: Vec<_> = hops.into_iter().map(|(shard, hop)| self.ask(shard, hop)).collect();
        let mut results = Vec::with_capacity(asked.len());
        for awaited in asked {
            results.push(awaited.await);
        }
        results
    }
}

struct Awaited<T> {
    desk: Rc<RefCell<Desk>>,
    index: usize,
    result: std::marker::PhantomData<fn() -> T>,
}

impl<T: Any> Future for Awaited<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        let Some(result) = self.desk.borrow_mut().results[self.index].take() else {
            return Poll::Pending;
        };
        let result = result.downcast::<T>().expect("a hop gives what it was asked for");
        Poll::Ready(*result)
    }
}

impl Coordination {
    pub(crate) fn new<F>(session: SessionId, start: impl FnOnce(Hops) -> F) -> Self
    where
        F: Future<Output = Answer> + 'static,
    {
        let desk = Rc::new(RefCell::new(Desk::default()));
        Self { session, future: Box::pin(start(Hops(Rc::clone(&desk)))), desk }
    }

    /// Goes on as far as it can without waiting.
    pub(crate) fn poll(&mut self) -> Poll<Answer> {
        self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// The hops it asked for since the last call: which, where, what.
    pub(crate) fn take_wanted(&mut self) -> Vec<(usize, ShardId, HopFn)> {
        std::mem::take(&mut self.desk.borrow_mut().wanted)
    }

    pub(crate) fn put_result(&mut self, index: usize, result: HopResult) {
        self.desk.borrow_mut().results[index] = Some(result);
    }
}
