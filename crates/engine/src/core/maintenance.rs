//! Maintenance: what is done by time, in slices.

use std::sync::Arc;

use basalt_commands::config::OutputLimit;
use basalt_keyspace::{Keyspace, ShardId};

use super::Core;
use super::cut_off::CutOff;
use crate::limits;
use crate::mesh::message::Ask;
use crate::observe::latency;
use crate::shard::memory::Evictor;
use crate::world::World;

impl Core {
    /// Work by time, in slices. Returns whether some is left.
    pub(super) fn maintain(&mut self, world: &mut dyn World) -> bool {
        let mut left = false;
        let due = self.shard.keyspace.next_expiry_ms();
        // What is loaded depends on what was there when it was written.
        let may =
            self.shard.pause().is_none() && self.shard.still.is_none() && !self.shard.is_loading();
        let due = due.filter(|at_ms| may && *at_ms <= self.expiry_moment_ms());
        if due.is_some() || self.shard.keyspace.has_lazy_free() {
            let begun_us = world.monotonic_us();
            let end_us = begun_us + limits::MAINTENANCE_TURN_US;
            let mut more = || world.monotonic_us() < end_us;
            if due.is_some() {
                let turn_ms = self.shard.keyspace.swap_now(self.expiry_moment_ms());
                left |= self.shard.keyspace.expire_due(&mut more);
                self.shard.keyspace.swap_now(turn_ms);
                let orphans = self.shard.keyspace.take_orphan_timers();
                self.hand_on(&orphans);
            }
            left |= self.shard.keyspace.free_step(&mut more);
            let took_us = world.monotonic_us().saturating_sub(begun_us);
            self.shard.stats.maintenance_us += took_us;
            self.shard.note_latency(latency::EXPIRE_CYCLE, took_us);
        }
        // What a script has not seen the end of is not evicted.
        if may && !self.shard.scripting.is_running() {
            left |= self.evict_some(world);
        }
        let now_us = self.shard.now.monotonic_us;
        if now_us >= self.sessions_checked_us + limits::SESSION_CHECK_US {
            if !self.shard.is_loading() {
                self.balance_slots();
            }
            self.sessions_checked_us = now_us;
            self.shard.sample();
            self.shard.scripting.collect();
            self.check_sessions();
        }
        left
    }

    /// Evicts a slice of what this shard holds too much. Returns whether more is to go.
    fn evict_some(&mut self, world: &mut dyn World) -> bool {
        let shard = &mut self.shard;
        let excess = shard.memory.own_excess_bytes(&shard.keyspace);
        let Some(eviction) = shard.config.eviction().filter(|_| excess > 0) else { return false };
        let begun_us = world.monotonic_us();
        let end_us = begun_us + limits::MAINTENANCE_TURN_US;
        let held = shard.keyspace.held_bytes();
        let goal = held.saturating_sub(excess);
        let mut is_enough = |keyspace: &mut Keyspace| {
            keyspace.held_bytes() <= goal || world.monotonic_us() >= end_us
        };
        let keyspace = &mut shard.keyspace;
        let had_keys =
            Evictor { keyspace, intents: &shard.intents, eviction }.evict_until(&mut is_enough);
        let left = shard.keyspace.held_bytes().saturating_sub(goal);
        let took_us = world.monotonic_us().saturating_sub(begun_us);
        shard.stats.maintenance_us += took_us;
        shard.note_latency(latency::EVICTION_CYCLE, took_us);
        had_keys && left > 0
    }

    /// Shows the other shards what this one holds, and asks them to evict where this one can't.
    pub(super) fn publish_memory(&mut self, world: &mut dyn World) {
        let shard = &mut self.shard;
        shard.used_bytes = shard.keyspace.used_bytes();
        let own = shard.published();
        world.publish_used(own);
        let maxmemory = shard.pressure.lowered(shard.maxmemory());
        let now_us = shard.now.monotonic_us;
        let counted = own.counted_bytes() + shard.used_by_others.counted_bytes();
        if maxmemory > 0 && counted as u64 > maxmemory {
            shard.exceeded_since_us.get_or_insert(now_us);
        } else if let Some(since_us) = shard.exceeded_since_us.take() {
            shard.stats.eviction_exceeded_us += now_us.saturating_sub(since_us);
        }
        if let Some(bytes) = shard.memory.take_wanted_bytes() {
            let own = shard.id.index();
            for to in (0..self.outboxes.len()).filter(|&to| to != own) {
                self.ask(ShardId(to as u16), Ask::Evict { bytes });
            }
        }
    }

    /// Cuts off the largest clients of all shards as long as all together take `maxmemory-clients`, or half of what
    /// may be kept where memory runs out. Returns whether more are to go.
    pub(super) fn evict_clients(&mut self, world: &mut dyn World) -> bool {
        let limit = self.shard.clients_bytes_max();
        if limit == 0 {
            return false;
        }
        for _ in 0..limits::CLIENTS_EVICTED_MAX {
            let (own, others) = (self.shard.published(), world.used_by_others());
            if ((own.client_bytes + others.client_bytes) as u64) < limit {
                return false;
            }
            if own.largest_client < others.largest_client {
                let to = others.largest_client & u32::from(u16::MAX);
                self.ask(ShardId(to as u16), Ask::EvictClients);
                return false;
            }
            let Some(id) = self.shard.sessions.take_largest() else { return false };
            self.cut_off(id, CutOff::Evicted);
        }
        true
    }

    /// Another shard needs room that it can't make itself: this one's part of it is evicted at once, before what
    /// that shard sends next. If that is not enough it asks again.
    pub(super) fn asked_to_evict(&mut self, bytes: usize) {
        let shard = &mut self.shard;
        let held = shard.keyspace.held_bytes() as u128;
        let all = (held + shard.used_by_others.used_bytes as u128).max(1);
        let part = (bytes as u128 * held).div_ceil(all) as usize;
        let Some(eviction) = shard.config.eviction() else { return };
        if shard.scripting.is_running() {
            return;
        }
        let (goal, mut keys) = (shard.keyspace.held_bytes().saturating_sub(part), 0);
        let mut is_enough = |keyspace: &mut Keyspace| {
            keys += 1;
            keyspace.held_bytes() <= goal || keys > limits::EVICTED_PER_ASK_MAX
        };
        let keyspace = &mut shard.keyspace;
        Evictor { keyspace, intents: &shard.intents, eviction }.evict_until(&mut is_enough);
    }

    /// Up to which moment keys may be expired: now, but what a transaction holds lives until that is over.
    fn expiry_moment_ms(&self) -> u64 {
        let now = self.shard.now;
        let oldest_us = self.under_way.oldest_moment_us();
        let script_us = self.shard.scripting.running_since_us();
        let oldest_us = oldest_us.into_iter().chain(script_us).min().unwrap_or(now.monotonic_us);
        now.unix_ms.saturating_sub(now.monotonic_us.saturating_sub(oldest_us).div_ceil(1000))
    }

    /// When something expires next, unless a transaction keeps it alive, whose end comes as a message.
    pub(super) fn next_expiry_ms(&self) -> Option<u64> {
        let (due, now_ms) = (self.shard.keyspace.next_expiry_ms(), self.shard.now.unix_ms);
        let due = due.filter(|_| !self.shard.is_loading());
        due.filter(|at_ms| *at_ms > now_ms || *at_ms <= self.expiry_moment_ms())
    }

    /// When to look over the sessions again although nothing happens; never where nothing bounds them.
    pub(super) fn session_check_due_us(&self) -> Option<u64> {
        let config = &self.shard.config;
        let limits = &config.client_output_buffer_limit;
        let is_bounded = |limit: &OutputLimit| limit.hard_bytes > 0 || limit.soft_bytes > 0;
        let has_subscribers = !self.shard.pubsub.subscribers.is_empty();
        let has_bounds = config.timeout > 0
            || is_bounded(&limits.normal)
            || has_subscribers && is_bounded(&limits.pubsub)
            || self.shard.sessions.may_wait_for_bounds();
        (has_bounds && self.shard.sessions.len() > 0)
            .then_some(self.sessions_checked_us + limits::SESSION_CHECK_US)
    }

    /// Looks over some of the sessions: idle ones and those that don't read their replies.
    pub(super) fn check_sessions(&mut self) {
        let now_us = self.shard.now.monotonic_us;
        let config = Arc::clone(&self.shard.config);
        let limits = &config.client_output_buffer_limit;
        let places = self.shard.sessions.places();
        let end = places.min(self.session_check_at + crate::limits::SESSION_CHECK_MAX);
        let may_wait = self.shard.sessions.may_wait_for_bounds();
        for place in self.session_check_at..end {
            let Some(id) = self.shard.sessions.at(place) else { continue };
            if may_wait {
                self.shard.sessions.mark_ready(id);
                self.shard.sessions.settle_reading(id);
            }
            let session = self.shard.sessions.get_mut(id).expect("it is open");
            self.sessions_so_far.add(session);
            let limit = session.output_limit(limits);
            let idle_us = now_us.saturating_sub(session.last_used_us);
            let output = session.output_bytes() as u64;
            if output <= limit.soft_bytes || limit.soft_bytes == 0 {
                session.soft_limit_since_us = None;
            }
            let soft_since = session.soft_limit_since_us;
            let is_over = (limit.hard_bytes > 0 && output > limit.hard_bytes)
                || soft_since.is_some_and(|since| {
                    now_us - since > limit.soft_seconds.saturating_mul(1_000_000)
                });
            if limit.soft_bytes > 0 && output > limit.soft_bytes && soft_since.is_none() {
                session.soft_limit_since_us = Some(now_us);
            }
            if is_over {
                self.cut_off(id, CutOff::OutputLimit);
            } else if config.timeout > 0
                && idle_us > u64::from(config.timeout) * 1_000_000
                && session.coordination.is_none()
                && !session.is_monitor
                && session.subscriptions.is_none()
                && !session.is_held
            {
                self.cut_off(id, CutOff::Idle);
            }
        }
        self.session_check_at = end;
        if end == places {
            self.session_check_at = 0;
            self.shard.sessions.waits_for_bounds_no_more();
            self.shard.sessions_seen = std::mem::take(&mut self.sessions_so_far);
        }
    }
}
