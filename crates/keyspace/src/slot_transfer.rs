//! Slots that leave for another shard and come from one, with all that belongs to their keys.
//!
//! Tables go as pointers, their books with them, so a slot of millions of keys costs what an empty one
//! does. The wheel's items can't be picked out by slot; they stay, and one that comes up for a slot that
//! has gone is an *orphan timer*: the shard that owns the slot now gets it and puts it into its own wheel. So every key
//! with an expiry has an item at that moment or before, here or with a shard that had its slot before.
//!
//! Not here: who owns what, and when a slot may go (`engine`).

use basalt_structures::Kind;

use crate::Keyspace;
use crate::big_keys::Listed;
use crate::commit::DetachedTables;
use crate::expiry_times::{ExpiryTimes, hint, item};
use crate::key::Key;
use crate::slot::SlotId;
use crate::tracking::TrackedKey;
use crate::watch::MovingWatch;

/// Slots on their way to another shard.
#[derive(Default)]
pub struct SlotBundle {
    slots: Vec<SlotId>,
    tables: DetachedTables,
    watches: Vec<MovingWatch>,
    tracked: Vec<(u64, TrackedKey)>,
    big_keys: Vec<(Kind, Listed)>,
}

/// The slot of an item of the expiry wheel.
pub fn slot_of_item(item: u32) -> SlotId {
    hint(item).0
}

impl Keyspace {
    /// Takes some slots out, in all databases.
    pub fn detach(&mut self, slots: &[SlotId]) -> SlotBundle {
        let tables = self.commit_slots_out(slots);
        slots.iter().for_each(|&slot| self.moved.set_away(slot, true));
        let watches = self.hooks.watches.detach(&|slot| slots.contains(&slot));
        let tracked = self.hooks.tracking.detach(&|slot| slots.contains(&slot));
        self.hooks.rearm();
        let big_keys = self.big_keys.detach(slots);
        SlotBundle { slots: slots.to_vec(), tables, watches, tracked, big_keys }
    }

    /// Takes in slots that another shard gave out.
    pub fn attach(&mut self, bundle: SlotBundle) {
        let SlotBundle { slots, tables, watches, tracked, big_keys } = bundle;
        slots.iter().for_each(|&slot| self.moved.set_here(slot));
        self.commit_slots_in(&slots, tables);
        self.hooks.watches.attach(watches);
        self.hooks.tracking.attach(tracked);
        self.big_keys.attach(big_keys);
        self.hooks.rearm();
    }

    /// As [`Keyspace::attach`], from a keyspace that goes with its wheel: all that expires is put into this one's.
    pub fn attach_with_expiry(&mut self, bundle: SlotBundle) {
        let slots = bundle.slots.clone();
        self.attach(bundle);
        for (id, &slot) in
            self.databases.ids().flat_map(|id| slots.iter().map(move |slot| (id, slot)))
        {
            let mut items = Vec::new();
            self.databases.visit_slot(id, slot, &mut |entry| {
                let at_ms = ExpiryTimes::of(entry).next();
                items
                    .extend(at_ms.map(|at_ms| (at_ms, item(&Key::new(entry.key(), &self.hasher)))));
            });
            let wheel = self.databases.wheel_mut(id);
            items.into_iter().for_each(|(at_ms, item)| wheel.insert(at_ms, item));
        }
    }

    /// Items of the wheel for slots that went away, since this was last asked, for their owners.
    pub fn take_orphan_timers(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.moved.orphans)
    }

    /// An item from the wheel of a shard that had its slot before. The databases may have been swapped
    /// meanwhile, so all are looked at.
    pub fn adopt_timer(&mut self, item: u32) {
        for id in self.databases.ids() {
            if let Some(at_ms) = self.databases.get(id).earliest(item) {
                self.databases.wheel_mut(id).insert(at_ms, item);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DatabaseId, Effect, KeyHasher};

    const DATABASES: [DatabaseId; 2] = [DatabaseId(0), DatabaseId(1)];

    fn keyspace() -> Keyspace {
        Keyspace::new(2, KeyHasher::new(1), 1000)
    }

    fn set(keyspace: &mut Keyspace, id: DatabaseId, name: &str, expire_at_ms: Option<u64>) {
        let key = keyspace.key(name.as_bytes());
        let effect = Effect::SetString { value: b"a value", expire_at_ms, changed: false };
        keyspace.edit(id, &key).commit(effect);
    }

    fn slots_of(names: &[&str]) -> Vec<SlotId> {
        names.iter().map(|name| SlotId::of_key(name.as_bytes())).collect()
    }

    fn digest(one: &Keyspace, other: &Keyspace) -> Vec<crate::Digest> {
        let mut digests = one.digests();
        for (digest, more) in digests.iter_mut().zip(other.digests()) {
            digest.absorb(&more);
        }
        digests
    }

    #[test]
    fn what_comes_without_its_wheel_expires_all_the_same() {
        let (mut here, mut there) = (keyspace(), keyspace());
        for number in 0..500 {
            let expire_at_ms = (number % 2 == 0).then_some(2000);
            set(&mut here, DATABASES[1], &number.to_string(), expire_at_ms);
        }
        let slots: Vec<SlotId> = (0..crate::SLOTS as u16).map(SlotId).collect();
        there.attach_with_expiry(here.detach(&slots));
        drop(here);
        assert_eq!(there.len(DATABASES[1]), 500);
        there.set_now(2000);
        while there.expire_due(&mut || true) {}
        assert_eq!(there.len(DATABASES[1]), 250);
        there.verify();
    }

    #[test]
    fn what_goes_is_there_afterwards_and_the_books_with_it() {
        let (mut here, mut there) = (keyspace(), keyspace());
        for id in DATABASES {
            for number in 0..1000 {
                let expire_at_ms = (number % 3 == 0).then_some(2000 + number);
                set(&mut here, id, &format!("{{a}}{number}"), expire_at_ms);
                set(&mut here, id, &number.to_string(), None);
            }
        }
        let (digests, used) = (digest(&here, &there), here.statistics(DATABASES[0]));
        for _ in 0..3 {
            let bundle = here.detach(&slots_of(&["a", "1", "2", "not there"]));
            there.attach(bundle);
            here.verify();
            there.verify();
            assert!(there.len(DATABASES[1]) >= 1002 && here.statistics(DATABASES[0]).expiring == 0);
            assert_eq!(digest(&here, &there), digests);
            std::mem::swap(&mut here, &mut there);
        }
        let sum = here.len(DATABASES[0]) + there.len(DATABASES[0]);
        assert_eq!(sum, used.keys);
        // What came goes as anything else does.
        here.flush(DATABASES[0]);
        there.flush(DATABASES[0]);
        here.verify();
        there.verify();
    }

    #[test]
    fn expiry_follows_a_slot_in_time() {
        let mut shards = [keyspace(), keyspace(), keyspace()];
        for number in 0..100 {
            set(&mut shards[0], DATABASES[0], &format!("{{a}}{number}"), Some(500_000));
        }
        for (from, to) in [(0, 1), (1, 2), (2, 1)] {
            let bundle = shards[from].detach(&slots_of(&["a"]));
            shards[to].attach(bundle);
        }
        set(&mut shards[1], DATABASES[0], "{a}late", Some(400_000));
        shards[1].swap(DATABASES[0], DATABASES[1]);
        let mut gone = Vec::new();
        while shards[1].len(DATABASES[1]) > 0 {
            let now_ms = shards.iter().filter_map(Keyspace::next_expiry_ms).min();
            let now_ms = now_ms.expect("something is to come").max(shards[0].now_ms());
            for index in 0..shards.len() {
                shards[index].set_now(now_ms);
                let before = shards[1].len(DATABASES[1]);
                shards[index].expire_due(&mut || true);
                for item in shards[index].take_orphan_timers() {
                    assert_eq!(slot_of_item(item), slots_of(&["a"])[0]);
                    shards[1].adopt_timer(item);
                }
                gone.push((now_ms, before - shards[1].len(DATABASES[1])));
            }
        }
        gone.retain(|(_, count)| *count > 0);
        assert_eq!(gone, [(400_000, 1), (500_000, 100)]);
    }

    #[test]
    fn watches_go_along() {
        let (mut here, mut there) = (keyspace(), keyspace());
        let key = here.key(b"a");
        for (watcher, name) in [(1, "a"), (2, "a"), (2, "b"), (3, "a")] {
            let key = here.key(name.as_bytes());
            here.watch(watcher, DATABASES[0], &key);
        }
        here.unwatch(3);
        set(&mut here, DATABASES[0], "b", None);
        let bundle = here.detach(&slots_of(&["a"]));
        there.attach(bundle);
        assert!(here.is_watch_broken(2) && there.is_watch_broken(2));
        assert!(!there.is_watch_broken(1) && !there.is_watch_broken(3));
        set(&mut there, DATABASES[0], "a", None);
        assert!(there.is_watch_broken(1) && !here.is_watch_broken(1));
        there.unwatch(1);
        there.watch(1, DATABASES[0], &key);
        assert!(!there.is_watch_broken(1));
    }

    /// Without the records of the shard that had a slot before: those of one shard are enough for what it holds.
    #[test]
    fn records_of_a_shard_give_its_digests() {
        let mut shards = [keyspace(), keyspace()];
        set(&mut shards[0], DATABASES[1], "{a}before", Some(9_000));
        let readers: Vec<_> = shards.iter_mut().map(Keyspace::add_reader).collect();
        // The first has no records of what it held before; it leaves and comes back, and then it has.
        for (from, to, name) in [(0, 1, "{a}one"), (1, 0, "{a}two"), (0, 1, "b"), (1, 0, "c")] {
            set(&mut shards[from], DATABASES[0], name, None);
            let bundle = shards[from].detach(&slots_of(&["a", "b"]));
            shards[to].attach(bundle);
            set(&mut shards[to], DATABASES[1], "{a}list of one", Some(8_000));
        }
        for (shard, reader) in shards.iter().zip(readers) {
            let mut replayed = keyspace();
            replayed.replay(shard.unread_records(reader).expect("the reader keeps up")).unwrap();
            replayed.verify();
            assert_eq!(replayed.digests(), shard.digests());
        }
        assert!(shards[0].len(DATABASES[1]) == 2 && shards[1].len(DATABASES[0]) == 1);
    }
}
