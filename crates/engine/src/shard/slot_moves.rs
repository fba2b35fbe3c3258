//! Slots that leave a shard and come to it, with the clients that wait for their keys.

use basalt_keyspace::{SlotBundle, SlotId};

use super::Shard;
use crate::shard::blocking::{Waiter, WaiterId};
use crate::slots::quiet::{SlotMoveId, Still};
use crate::slots::routes::Routes;

/// What goes from one shard to another.
pub(crate) struct Bundle {
    slots: SlotBundle,
    waiters: Vec<(WaiterId, Waiter)>,
}

impl Shard {
    /// Returns false if another slot move came first.
    pub(crate) fn begin_quiescence(&mut self, slot_move: SlotMoveId) -> bool {
        if self.still.is_some() {
            return false;
        }
        self.still = Some(Still { slot_move, since_us: self.now.monotonic_us });
        true
    }

    pub(crate) fn end_quiescence(&mut self) {
        let still = self.still.take().expect("it is ended by who began it");
        let us = self.now.monotonic_us.saturating_sub(still.since_us);
        self.stats.still_us_max = self.stats.still_us_max.max(us);
    }

    /// Gives out those of some slots that are its own.
    pub(crate) fn give_out(&mut self, slots: &[SlotId], routes: &Routes) -> Bundle {
        let own = slots.iter().copied().filter(|slot| self.routes.shard(*slot) == self.id);
        let own: Vec<SlotId> = own.collect();
        let waiters = self.give_out_waiters(routes);
        Bundle { slots: self.keyspace.detach(&own), waiters }
    }

    pub(crate) fn take_in(&mut self, bundle: Bundle) {
        self.keyspace.attach(bundle.slots);
        self.take_in_waiters(bundle.waiters);
    }
}
