//! Acceptor: takes clients in and pins each to a shard. It lives on the first shard.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use basalt_commands::config::Config;

use crate::limits::MESH_RESERVED;
use crate::listen::{Listener, TOO_MANY_CLIENTS, refuse};
use crate::listeners::SharedListeners;
use crate::outside::{Outside, Packet, SocketKind};
use crate::ring::Ring;

/// How long to leave accepting alone where the process has no descriptor or memory left.
const RETRY_US: u64 = 100_000;
/// How often it is logged that clients can't be accepted.
const WARN_EVERY_US: u64 = 10_000_000;
/// How soon to look again for room in a mesh ring.
const FORWARD_US: u64 = 1_000;

pub(crate) struct Acceptor {
    listeners: SharedListeners,
    /// As it was last set.
    config: Arc<Config>,
    /// Listeners that accept nothing at present.
    resting: Vec<u32>,
    retry_at_us: Option<u64>,
    /// When the log may say again that clients can't be accepted.
    warn_from_us: u64,
    /// For each shard, sockets for which its mesh ring had no room. Bounded by `maxclients`, for they
    /// count as connections.
    waiting: Vec<VecDeque<(OwnedFd, SocketKind)>>,
    /// Where the search for the shard with the fewest connections begins.
    next: usize,
}

impl Acceptor {
    pub(crate) fn new(listeners: SharedListeners, shard_count: usize, config: Arc<Config>) -> Self {
        Self {
            listeners,
            config,
            resting: Vec::new(),
            retry_at_us: None,
            warn_from_us: 0,
            waiting: (0..shard_count).map(|_| VecDeque::new()).collect(),
            next: 0,
        }
    }

    pub(crate) fn start(&self, ring: &mut Ring) {
        self.listeners.borrow_mut().settle(ring);
    }

    /// Closes the listeners: new clients are refused by the kernel.
    pub(crate) fn stop(&mut self, ring: &mut Ring) {
        self.listeners.borrow_mut().close(ring);
        self.retry_at_us = None;
    }

    /// Pins an accepted connection. Returns it where it belongs to this very shard.
    pub(crate) fn accepted<M>(
        &mut self,
        listener: u32,
        socket: OwnedFd,
        outside: &mut Outside<M>,
    ) -> Option<(OwnedFd, SocketKind)> {
        let kind = self.listeners.borrow().get(listener)?.kind.clone();
        if outside.node.connection_count() >= self.config.maxclients {
            outside.node.refused.fetch_add(1, Ordering::Relaxed);
            refuse(socket, TOO_MANY_CLIENTS);
            return None;
        }
        let shard = self.choose(outside);
        outside.node.posts[shard].connections.fetch_add(1, Ordering::Relaxed);
        if shard == outside.shard() {
            return Some((socket, kind));
        }
        self.waiting[shard].push_back((socket, kind));
        self.forward(shard, outside);
        None
    }

    /// Notes that a listener stopped; it goes on at once or a little later.
    pub(crate) fn ended(&mut self, listener: u32, error: i32, now_us: u64, ring: &mut Ring) {
        let listeners = self.listeners.borrow();
        let Some(socket) = listeners.get(listener).map(Listener::socket) else { return };
        match error {
            0 | libc::ECONNABORTED | libc::EINTR | libc::EAGAIN => ring.accept(listener, socket),
            error => {
                if now_us >= self.warn_from_us {
                    let error = std::io::Error::from_raw_os_error(error);
                    tracing::warn!("Error accepting a client connection: {error}");
                    self.warn_from_us = now_us + WARN_EVERY_US;
                }
                self.resting.push(listener);
                self.retry_at_us = Some(now_us + RETRY_US);
            }
        }
    }

    /// Does what had to wait. Returns the moment when there may be more to do.
    pub(crate) fn look_after<M>(
        &mut self,
        now_us: u64,
        ring: &mut Ring,
        outside: &mut Outside<M>,
    ) -> Option<u64> {
        for shard in 0..self.waiting.len() {
            self.forward(shard, outside);
        }
        if self.retry_at_us.is_some_and(|at_us| at_us <= now_us) {
            self.retry_at_us = None;
            for number in std::mem::take(&mut self.resting) {
                if let Some(listener) = self.listeners.borrow().get(number) {
                    ring.accept(number, listener.socket());
                }
            }
        }
        let is_waiting = self.waiting.iter().any(|waiting| !waiting.is_empty());
        let forward_at_us = is_waiting.then_some(now_us + FORWARD_US);
        [self.retry_at_us, forward_at_us].into_iter().flatten().min()
    }

    fn forward<M>(&mut self, shard: usize, outside: &mut Outside<M>) {
        let waiting = &mut self.waiting[shard];
        while !waiting.is_empty() && outside.port.room(shard) > MESH_RESERVED {
            let Some((socket, kind)) = waiting.pop_front() else { return };
            if outside.send_packet(shard, Packet::Socket { socket, kind }).is_err() {
                unreachable!("the ring had room, and nobody else writes to it");
            }
        }
    }

    /// The shard with the fewest connections; among equals, each in its turn.
    fn choose<M>(&mut self, outside: &Outside<M>) -> usize {
        let posts = &outside.node.posts;
        let count = posts.len();
        let in_turn = (0..count).map(|step| (self.next + step) % count);
        let fewest = in_turn.min_by_key(|&shard| posts[shard].connections.load(Ordering::Relaxed));
        let shard = fewest.unwrap_or(0);
        self.next = (shard + 1) % count;
        shard
    }

    /// Brings the listeners in line with what CONFIG SET changed.
    pub(crate) fn follow(&mut self, config: &Arc<Config>, ring: &mut Ring) {
        let before = std::mem::replace(&mut self.config, Arc::clone(config));
        let mut listeners = self.listeners.borrow_mut();
        listeners.settle(ring);
        if before.tcp_keepalive != config.tcp_keepalive {
            for listener in listeners.all() {
                if let Err(error) = listener.keep_alive(config.tcp_keepalive) {
                    tracing::warn!("tcp-keepalive can't be set: {error}");
                }
            }
        }
    }
}
