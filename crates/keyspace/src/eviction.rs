//! Eviction: which key goes when memory is short.
//!
//! For each key that is evicted some others are looked at: some where a hand stands that goes round all tables
//! in the order of slots and tags, so that every key has its turn; and some at random, since keys of one hash tag
//! stand together and are often of one age. The best candidates of all that were met wait in a pool.
//! The key that expires next comes from the expiry wheel, and so do candidates where few keys expire.
//!
//! Not here: when memory is short, and how much is to go (`engine`).

use std::collections::BTreeSet;

use basalt_structures::{Entry, Place, TAGS};

use crate::codec::Cause;
use crate::commit::database::{Database, ScanPosition};
use crate::effect::Effect;
use crate::events::Signal;
use crate::eviction_pool::{Candidate, Eviction, EvictionOrder, Judge, candidate};
use crate::expiry_times::hint;
use crate::limits::{
    EVICTION_POOL_MAX, EVICTION_TRIES_MAX, NEAREST_ASKED_MAX, NEAREST_MAX, VOLATILE_VISITS_MAX,
};
use crate::slot::{SLOTS, SlotId};
use crate::{DatabaseId, Keyspace};

/// Where fewer keys than one of so many expire, candidates that do are taken from the wheel.
const VOLATILE_SPARSE: usize = 8;

impl Keyspace {
    /// Evicts one key. False if there is none that may go, or none that `may_evict` admits (by its hash) among those
    /// that were looked at.
    pub fn evict(&mut self, eviction: &Eviction, may_evict: &dyn Fn(u64) -> bool) -> bool {
        if self.eviction_pool.eviction != Some(*eviction) {
            self.eviction_pool.eviction = Some(*eviction);
            self.eviction_pool.candidates.clear();
        }
        if !self.has_evictable(eviction.volatile_only) {
            return false;
        }
        for _ in 0..EVICTION_TRIES_MAX {
            self.draw(eviction);
            if self.evict_candidate(eviction, may_evict) {
                return true;
            }
        }
        // The items that were drawn from the wheel had gone: the nearest one has not.
        eviction.volatile_only && {
            self.eviction_pool.candidates.clear();
            self.draw_nearest();
            self.evict_candidate(eviction, may_evict)
        }
    }

    /// Evicts the best candidate that is as it was.
    fn evict_candidate(&mut self, eviction: &Eviction, may_evict: &dyn Fn(u64) -> bool) -> bool {
        while let Some(candidate) = self.eviction_pool.candidates.pop() {
            let Some(place) = self.place_of(eviction, &candidate) else { continue };
            if may_evict(candidate.hash) {
                self.commit_evicted_at(candidate.database, candidate.slot, place);
                return true;
            }
        }
        false
    }

    /// Whether there is a key that may be evicted.
    pub fn has_evictable(&self, volatile_only: bool) -> bool {
        let mut databases = self.databases.iter();
        databases.any(|database| evictable_count(database, volatile_only) > 0)
    }

    /// Where a candidate is, if it is as it was.
    fn place_of(&self, eviction: &Eviction, candidate: &Candidate) -> Option<Place> {
        let table = self.databases.get(candidate.database).table(candidate.slot)?;
        table.find_same_tag(candidate.hash, &mut |entry| {
            let is_as_it_was = match eviction.order {
                EvictionOrder::NearestExpiry => entry.expire_at_ms() == Some(candidate.rank),
                _ => {
                    entry.access() == candidate.access
                        && (!eviction.volatile_only || entry.expire_at_ms().is_some())
                }
            };
            is_as_it_was && self.hasher.hash(entry.key()) == candidate.hash
        })
    }

    /// Puts more candidates into the pool.
    fn draw(&mut self, eviction: &Eviction) {
        match eviction.order {
            EvictionOrder::NearestExpiry => self.draw_nearest(),
            EvictionOrder::Random => self.draw_at_random(eviction.volatile_only),
            _ if eviction.volatile_only && self.is_sparse() => {
                for _ in 0..2 * eviction.samples {
                    self.draw_at_random(true);
                }
            }
            _ => {
                let hand = self.eviction_pool.hand;
                let keys: usize = self.databases.iter().map(Database::len).sum();
                let by_hand = if keys <= EVICTION_POOL_MAX { keys } else { eviction.samples };
                self.eviction_pool.hand = self.draw_from(eviction, hand, by_hand);
                if let Some(position) = self.random_position() {
                    self.draw_from(eviction, position, eviction.samples);
                }
                self.draw_newest(eviction);
            }
        }
    }

    /// Where a key is, each as likely as the others.
    fn random_position(&mut self) -> Option<(DatabaseId, ScanPosition)> {
        let all: usize = self.databases.iter().map(Database::len).sum();
        let mut nth = (all > 0).then(|| self.random.below(all))?;
        let tag = self.random.next() as u32 % TAGS;
        for id in self.databases.ids() {
            let database = self.databases.get(id);
            if nth < database.len() {
                return Some((id, ScanPosition { slot: database.slot_of_nth(nth)?.index(), tag }));
            }
            nth -= database.len();
        }
        None
    }

    /// Whether few keys expire.
    fn is_sparse(&self) -> bool {
        let sum = |count: fn(&Database) -> usize| self.databases.iter().map(count).sum::<usize>();
        sum(|database| database.expiring) * VOLATILE_SPARSE < sum(Database::len)
    }

    fn judge(&self, eviction: &Eviction) -> Judge {
        Judge { eviction: *eviction, reader: self.use_reader() }
    }

    /// Looks at about `wanted` keys that may go, from a position on. Returns where to go on.
    fn draw_from(
        &mut self,
        eviction: &Eviction,
        from: (DatabaseId, ScanPosition),
        wanted: usize,
    ) -> (DatabaseId, ScanPosition) {
        let judge = self.judge(eviction);
        let Self { databases, hasher, eviction_pool: pool, .. } = self;
        let (mut id, mut position) = from;
        let (mut found, mut visited, mut begun) = (0, 0, 0);
        while found < wanted && visited < VOLATILE_VISITS_MAX {
            let database = (id.index() < databases.count()).then(|| databases.get(id));
            let database = database.filter(|database| {
                position.slot < SLOTS && evictable_count(database, eviction.volatile_only) > 0
            });
            let Some(database) = database else {
                if begun > databases.count() {
                    break;
                }
                begun += 1;
                let next = id.0 + 1;
                id = DatabaseId(if usize::from(next) < databases.count() { next } else { 0 });
                position = ScanPosition::default();
                continue;
            };
            position = database.scan(position, SLOTS, wanted - found, &mut |slot, entry| {
                visited += 1;
                if let Some(rank) = judge.rank(entry) {
                    found += 1;
                    pool.offer(candidate(hasher, id, slot, entry, rank), EVICTION_POOL_MAX);
                }
            });
        }
        (id, position)
    }

    /// Draws a key at random, each as likely as the others.
    fn draw_at_random(&mut self, volatile_only: bool) {
        let all: usize = self.databases.iter().map(|own| evictable_count(own, volatile_only)).sum();
        if all == 0 {
            return;
        }
        let mut nth = self.random.below(all);
        let random = self.random.next();
        let Some(eviction) = self.eviction_pool.eviction else { return };
        let judge = self.judge(&eviction);
        for id in self.databases.ids() {
            let database = self.databases.get(id);
            let count = evictable_count(database, volatile_only);
            if nth >= count {
                nth -= count;
                continue;
            }
            let mut offer = |slot, entry: &Entry| {
                if let Some(rank) = judge.rank(entry) {
                    let candidate = candidate(&self.hasher, id, slot, entry, rank);
                    self.eviction_pool.offer(candidate, EVICTION_POOL_MAX);
                }
            };
            if volatile_only {
                let Some((slot, hash)) = database.wheel.pick(random).map(hint) else { return };
                if let Some(table) = database.table(slot) {
                    table.visit_same_tag(hash, &mut |entry| offer(slot, entry));
                }
            } else if let Some(entry) = database.pick(random) {
                offer(SlotId::of_key(entry.key()), &entry);
            }
            return;
        }
    }

    /// Draws what was stored last, where the trials found that this is better: as in a loop over more keys than fit.
    fn draw_newest(&mut self, eviction: &Eviction) {
        let may_go = self.lrfu.as_ref().is_some_and(|lrfu| lrfu.trials.newest_may_go());
        let newest = self.eviction_pool.newest.filter(|_| may_go);
        let Some((id, slot, hash)) = newest else { return };
        let judge = self.judge(eviction);
        let (hasher, pool) = (&self.hasher, &mut self.eviction_pool);
        let Some(table) = self.databases.get(id).table(slot) else { return };
        table.visit_same_tag(hash, &mut |entry| {
            if let Some(rank) = judge.rank(entry).filter(|_| hasher.hash(entry.key()) == hash) {
                // Before those that are used as little.
                let candidate = candidate(hasher, id, slot, entry, rank.saturating_sub(1));
                pool.offer(candidate, EVICTION_POOL_MAX);
            }
        });
    }

    /// Draws the keys that expire next, unless the pool has them.
    fn draw_nearest(&mut self) {
        let mut earliest_ms = u64::MAX;
        for id in self.databases.ids() {
            let inserted_ms = self.databases.wheel_mut(id).take_earliest_inserted_ms();
            earliest_ms = earliest_ms.min(inserted_ms.unwrap_or(u64::MAX));
        }
        let pool = &mut self.eviction_pool;
        if pool.candidates.first().is_some_and(|last| last.rank <= earliest_ms) {
            return;
        }
        pool.candidates.clear();
        for id in self.databases.ids() {
            let database = self.databases.get(id);
            let nearest = database.wheel.nearest(NEAREST_MAX, NEAREST_ASKED_MAX, &mut |item| {
                let (slot, hash) = hint(item);
                let mut earliest_ms = None;
                database.table(slot)?.visit_same_tag(hash, &mut |entry| {
                    earliest_ms = earliest_ms.into_iter().chain(entry.expire_at_ms()).min();
                });
                earliest_ms
            });
            let mut seen = BTreeSet::new();
            for (at_ms, item) in nearest {
                let (slot, hash) = hint(item);
                let Some(table) = database.table(slot).filter(|_| seen.insert(item)) else {
                    continue;
                };
                table.visit_same_tag(hash, &mut |entry| {
                    if entry.expire_at_ms() == Some(at_ms) {
                        let candidate = candidate(&self.hasher, id, slot, entry, at_ms);
                        pool.offer(candidate, NEAREST_MAX);
                    }
                });
            }
        }
    }

    /// Removes a key because memory is short; hooks get a copy of its name.
    fn commit_evicted_at(&mut self, database: DatabaseId, slot: SlotId, place: Place) {
        let name = self.databases.get(database).entry(slot, place).key().to_vec();
        let key = self.key(&name);
        let effect = Effect::Remove { cause: Cause::Evicted };
        self.commit_key(database, &key, Some(place), effect, Signal::Default);
        if let Some(lrfu) = &mut self.lrfu {
            lrfu.note_eviction(self.databases.iter().map(Database::len).sum());
            self.access_now = lrfu.now().word_of_new();
        }
    }
}

fn evictable_count(database: &Database, volatile_only: bool) -> usize {
    if volatile_only { database.expiring } else { database.len() }
}
