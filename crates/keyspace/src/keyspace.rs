//! Keyspace: look-ups, the moment, the books; see the room's page.

use basalt_structures::{Entry, EntryRef, KeyHasher, LongString, Place};

use crate::big_keys::{BigKey, BigKeys, elements};
use crate::collections::Thresholds;
use crate::commit::database::{Database, Databases, ScanPosition};
use crate::digest::Digest;
use crate::effect::Effect;
use crate::eviction_pool::EvictionPool;
use crate::expiry_times::OrphanTimers;
use crate::frequency::{self, UseReader, Uses};
use crate::hooks::Hooks;
use crate::key::Key;
use crate::lazy_free::LazyFree;
use crate::limits::PICK_TRIES_MAX;
use crate::lrfu::Lrfu;
use crate::lrfu_score::FadeMoment;
use crate::random::Random;
use crate::record::Record;
use crate::slot::SlotId;
use crate::{DatabaseId, SLOTS};

/// Counters since start or CONFIG RESETSTAT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyspaceStats {
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
    /// Fields of hashes.
    pub expired_fields: u64,
    pub evicted: u64,
    /// Values that were flushed or removed and freed bit by bit.
    pub freed_lazily: u64,
    /// The longest that active expiry came after a key's moment.
    pub expiry_lag_max_ms: u64,
    /// Effects committed.
    pub changes: u64,
}

impl KeyspaceStats {
    #[inline]
    pub(crate) fn count_look(&mut self, is_hit: bool) {
        self.hits += u64::from(is_hit);
        self.misses += u64::from(!is_hit);
    }
}

/// What INFO shows of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseStats {
    pub keys: usize,
    pub expiring: usize,
    /// The moments of those added up, in milliseconds since 1970.
    pub expire_sum_ms: u128,
    /// Keys with fields that expire.
    pub with_expiring_elements: usize,
    /// Heap bytes of the tables that keys are found by.
    pub table_bytes: usize,
    /// Heap bytes of the expiry wheel.
    pub wheel_bytes: usize,
}

impl DatabaseStats {
    /// Adds another shard's.
    pub fn absorb(&mut self, other: &Self) {
        self.keys += other.keys;
        self.expiring += other.expiring;
        self.expire_sum_ms += other.expire_sum_ms;
        self.with_expiring_elements += other.with_expiring_elements;
        self.table_bytes += other.table_bytes;
        self.wheel_bytes += other.wheel_bytes;
    }

    /// The mean of what is left to the keys that expire, in milliseconds; 0 where there are none.
    pub fn ttl_mean_ms(&self, now_ms: u64) -> u64 {
        let mean = self.expire_sum_ms.checked_div(self.expiring as u128).unwrap_or(0);
        u64::try_from(mean).unwrap_or(u64::MAX).saturating_sub(now_ms)
    }
}

/// All databases of one shard.
pub struct Keyspace {
    pub(crate) databases: Databases,
    pub(crate) hasher: KeyHasher,
    pub(crate) now_ms: u64,
    /// The access word of something new, or used now where uses are not counted.
    pub(crate) access_now: u32,
    /// What access words hold.
    pub(crate) uses: Uses,
    /// What is needed where uses fade.
    pub(crate) lrfu: Option<Box<Lrfu>>,
    pub stats: KeyspaceStats,
    pub(crate) active_expiry: bool,
    /// Whether reads count as uses.
    touches: bool,
    /// Whether reads count as uses for any client: not where keys are evicted by their last change.
    reads_touch: bool,
    /// Whether reads remove what they find expired.
    pub(crate) reads_remove: bool,
    /// Where [`Keyspace::random`] is.
    pub(crate) random: Random,
    pub(crate) lazy_free: LazyFree,
    pub(crate) eviction_pool: EvictionPool,
    /// Up to which sizes collections are kept packed.
    pub thresholds: Thresholds,
    /// How long a string may become, since a longer one never fits into `maxmemory`.
    pub value_bytes_max: usize,
    /// Everything that is notified of changes.
    pub(crate) hooks: Hooks,
    /// Which slots went to other shards.
    pub(crate) moved: OrphanTimers,
    /// Long arguments of the request that is being worked.
    pub(crate) received: Vec<LongString>,
    /// Which values are large.
    pub(crate) big_keys: BigKeys,
}

impl Keyspace {
    pub fn new(database_count: usize, hasher: KeyHasher, now_ms: u64) -> Self {
        let mut keyspace = Self {
            databases: Databases::new(database_count, now_ms),
            hasher,
            now_ms: 0,
            access_now: 0,
            uses: Uses::Last,
            lrfu: None,
            stats: KeyspaceStats::default(),
            active_expiry: true,
            touches: true,
            reads_touch: true,
            reads_remove: true,
            random: Random::new(hasher.hash(b"random")),
            lazy_free: LazyFree::default(),
            eviction_pool: EvictionPool::default(),
            thresholds: Thresholds::default(),
            value_bytes_max: usize::MAX,
            hooks: Hooks::default(),
            moved: OrphanTimers::default(),
            received: Vec::new(),
            big_keys: BigKeys::default(),
        };
        keyspace.set_now(now_ms);
        keyspace
    }

    /// Sets the moment for all that follows. Time that runs backwards is taken as standing still.
    #[inline]
    pub fn set_now(&mut self, now_ms: u64) {
        if now_ms > self.now_ms {
            self.now_ms = now_ms;
            self.access_now = self.access_word();
        }
    }

    /// Takes another moment for now, also an earlier one, and returns the one before: all parts of a
    /// transaction run at the moment when it began, whenever their shards come to them.
    #[inline]
    pub fn swap_now(&mut self, now_ms: u64) -> u64 {
        let before = self.now_ms;
        if now_ms != before {
            self.now_ms = now_ms;
            self.access_now = self.access_word();
        }
        before
    }

    fn access_word(&self) -> u32 {
        match (&self.uses, &self.lrfu) {
            (Uses::Last, _) => (self.now_ms / 1000) as u32 & 0x00FF_FFFF,
            (Uses::Faded, Some(lrfu)) => lrfu.now().word_of_new(),
            _ => frequency::word_of_new(self.now_ms),
        }
    }

    /// The access word for what is at a place when it is changed now; where uses are counted, opening it
    /// for the change was the use.
    #[inline]
    pub(crate) fn access_at(&self, id: DatabaseId, slot: SlotId, place: Place) -> u32 {
        match self.uses {
            Uses::Last if self.touches => self.access_now,
            _ => self.databases.get(id).entry(slot, place).access(),
        }
    }

    /// The access word for a value that takes the place of another: as in Redis it is used now, CLIENT NO-TOUCH or not.
    #[inline]
    pub(crate) fn access_of_new(&self, id: DatabaseId, slot: SlotId, place: Place) -> u32 {
        match self.uses {
            Uses::Last => self.access_now,
            _ => self.databases.get(id).entry(slot, place).access(),
        }
    }

    /// Counts a use of what is at a place.
    #[cold]
    pub(crate) fn count_use(&mut self, id: DatabaseId, key: &Key<'_>, place: Place) {
        if self.touches {
            let before = self.databases.get(id).entry(key.slot, place).access();
            let access = self.word_after_use(before, key.hash);
            self.databases.touch(id, key.slot, place, access);
        }
    }

    /// The access word of a key that is used once more.
    #[cold]
    fn word_after_use(&mut self, before: u32, hash: u64) -> u32 {
        match (self.uses, &mut self.lrfu) {
            (Uses::Counted(frequency), _) => {
                frequency.again(before, self.now_ms, self.random.next())
            }
            (Uses::Faded, Some(lrfu)) => {
                lrfu.trials.note_use(hash);
                lrfu.again(before)
            }
            _ => self.access_now,
        }
    }

    /// Notes that a key is stored that was not there, where uses fade.
    #[cold]
    pub(crate) fn note_stored(&mut self, id: DatabaseId, key: &Key<'_>) {
        if let Some(lrfu) = &mut self.lrfu {
            lrfu.trials.note_use(key.hash);
            self.eviction_pool.newest = Some((id, key.slot, key.hash));
        }
    }

    /// Reads access words, as of now.
    pub fn use_reader(&self) -> UseReader {
        let fade = self.lrfu.as_ref().map_or(FadeMoment::default(), |lrfu| lrfu.now());
        UseReader { uses: self.uses, now_ms: self.now_ms, fade }
    }

    /// From now on access words hold this. Those that are there mean something else then, and are put right as
    /// their keys are used.
    pub fn set_uses(&mut self, uses: Uses) {
        if uses == self.uses {
            return;
        }
        self.uses = uses;
        self.lrfu = (uses == Uses::Faded)
            .then(|| Box::new(Lrfu::new(self.access_now, Random::new(self.random.next()))));
        self.eviction_pool = EvictionPool::default();
        self.access_now = self.access_word();
    }

    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    #[inline]
    pub fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// Draws all further numbers from this seed. Until then they follow from the hasher's.
    pub fn seed_random(&mut self, seed: u64) {
        self.random = Random::new(seed);
    }

    /// A number at random, for commands that choose: what is chosen goes into the effect.
    pub fn random(&mut self) -> u64 {
        self.random.next()
    }

    /// A series of its own, for commands that choose while they look at the data.
    pub fn random_series(&mut self) -> Random {
        Random::new(self.random.next())
    }

    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key::new(bytes, &self.hasher)
    }

    /// All that is stored, also what is past its expiry; for observers and tests.
    pub fn databases(&self) -> &Databases {
        &self.databases
    }

    pub fn database_count(&self) -> usize {
        self.databases.count()
    }

    /// Asks for the memory of keys, stage by stage: table heads, then buckets, then entries. So all of it is on
    /// its way at once.
    #[inline]
    pub fn prefetch(&self, keys: impl Iterator<Item = (DatabaseId, SlotId, u64)> + Clone) {
        for (database, slot, _) in keys.clone() {
            self.databases.get(database).prefetch_table(slot);
        }
        for (database, slot, hash) in keys.clone() {
            if let Some(table) = self.databases.get(database).table(slot) {
                table.prefetch_bucket(hash);
            }
        }
        for (database, slot, hash) in keys {
            if let Some(table) = self.databases.get(database).table(slot) {
                table.prefetch_entry(hash);
            }
        }
    }

    /// What the key holds, counted as a hit or a miss and as a use.
    #[inline]
    pub fn read(&mut self, database: DatabaseId, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let place = self.find_to_read(database, key);
        self.stats.count_look(place.is_some());
        let Some(place) = place else {
            self.note_miss(database, key);
            return None;
        };
        if !self.touches {
            return Some(self.databases.get(database).entry(key.slot, place));
        }
        let access = match self.uses {
            Uses::Last => self.access_now,
            _ => {
                let before = self.databases.get(database).entry(key.slot, place).access();
                self.word_after_use(before, key.hash)
            }
        };
        Some(self.databases.touch(database, key.slot, place, access))
    }

    /// What the key holds, counted as a hit or a miss, but not as a use: for those who ask about a key.
    #[inline]
    pub fn inspect(&mut self, database: DatabaseId, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let place = self.find_to_read(database, key);
        self.stats.count_look(place.is_some());
        let Some(place) = place else {
            self.note_miss(database, key);
            return None;
        };
        Some(self.databases.get(database).entry(key.slot, place))
    }

    /// A key that was looked for is not there.
    #[inline]
    pub(crate) fn note_miss(&mut self, database: DatabaseId, key: &Key<'_>) {
        if self.hooks.is_armed() {
            self.hooks.events.raise_miss(database, key.bytes);
        }
    }

    /// What the key holds, without a trace of the look.
    #[inline]
    pub fn peek(&self, database: DatabaseId, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let database = self.databases.get(database);
        let entry = database.entry(key.slot, database.find(key)?);
        self.is_live(&entry).then_some(entry)
    }

    /// The largest values of each type, so many of each, the largest first, as large as they are now.
    pub fn big_keys(&mut self, count: usize) -> Vec<BigKey> {
        let mut listed = std::mem::take(&mut self.big_keys);
        let found = listed.largest(count, |database, key| {
            let entry = self.peek(database, key)?;
            Some((entry.kind(), entry.heap_bytes(), elements(&entry, self.now_ms)))
        });
        self.big_keys = listed;
        found
    }

    #[inline]
    pub(crate) fn is_live(&self, entry: &Entry) -> bool {
        entry.expire_at_ms().is_none_or(|at_ms| at_ms > self.now_ms)
    }

    /// Finds the key; one that is past its expiry is removed and not found.
    #[inline]
    pub(crate) fn find_live(&mut self, id: DatabaseId, key: &Key<'_>) -> Option<Place> {
        let table = self.databases.get(id).table(key.slot)?;
        let place = table.find(key.hash, key.bytes)?;
        if self.is_live(&table.entry(place)) {
            return Some(place);
        }
        self.commit_expired(id, key, place);
        None
    }

    /// As [`Keyspace::find_live`], but where reads don't remove an expired key it stays.
    #[inline]
    fn find_to_read(&mut self, id: DatabaseId, key: &Key<'_>) -> Option<Place> {
        let table = self.databases.get(id).table(key.slot)?;
        let place = table.find(key.hash, key.bytes)?;
        if self.is_live(&table.entry(place)) {
            return Some(place);
        }
        if self.reads_remove {
            self.commit_expired(id, key, place);
        }
        None
    }

    pub fn len(&self, database: DatabaseId) -> usize {
        self.databases.get(database).len()
    }

    pub fn is_empty(&self) -> bool {
        self.databases.iter().all(|database| database.len() == 0)
    }

    pub fn statistics(&self, database: DatabaseId) -> DatabaseStats {
        let database = self.databases.get(database);
        DatabaseStats {
            keys: database.len(),
            expiring: database.expiring,
            expire_sum_ms: database.expire_sum_ms,
            with_expiring_elements: database.with_expiring_elements,
            table_bytes: database.table_bytes(),
            wheel_bytes: database.wheel.bytes(),
        }
    }

    pub fn slot_len(&self, database: DatabaseId, slot: SlotId) -> usize {
        self.databases.get(database).slot_len(slot)
    }

    /// The heap bytes of all data, with its tables, wheels and what waits to be dropped.
    pub fn used_bytes(&self) -> usize {
        let of_snapshot = self.hooks.snapshot.as_ref().map_or(0, |snapshot| snapshot.heap_bytes());
        let in_use = self.databases.in_use().map(Database::heap_bytes).sum::<usize>();
        in_use + self.lazy_free.bytes() + of_snapshot
    }

    /// As [`Keyspace::used_bytes`], without what waits to be dropped.
    pub fn held_bytes(&self) -> usize {
        self.databases.in_use().map(Database::heap_bytes).sum()
    }

    /// The heap bytes of one database's entries and tables, without its wheel: one addition, so that it can
    /// be asked before each write.
    #[inline]
    pub fn database_bytes(&self, database: DatabaseId) -> usize {
        self.databases.get(database).data_bytes()
    }

    /// Visits live entries in the order of slots; see [`ScanPosition`]. At the end, the position's slot
    /// is `end_slot`.
    pub fn scan(
        &self,
        database: DatabaseId,
        position: ScanPosition,
        end_slot: usize,
        count: usize,
        visit: &mut dyn FnMut(&Entry),
    ) -> ScanPosition {
        let end_slot = end_slot.min(SLOTS);
        self.databases.get(database).scan(position, end_slot, count, &mut |_, entry| {
            if self.is_live(entry) {
                visit(entry);
            }
        })
    }

    /// Visits every live entry.
    pub fn visit_all(&self, database: DatabaseId, visit: &mut dyn FnMut(&Entry)) {
        self.databases.get(database).visit_all(&mut |entry| {
            if self.is_live(entry) {
                visit(entry);
            }
        });
    }

    /// Visits everything of a database as records that make it.
    pub fn export(&self, database: DatabaseId, visit: &mut dyn FnMut(&Record<'_>)) {
        let mut bytes = Vec::new();
        self.databases.get(database).visit_all(&mut |entry| {
            let effect = Effect::copy_of(entry, &mut bytes);
            visit(&Record::Key { database, key: entry.key(), effect });
        });
    }

    /// A live entry at random: `random` is asked anew where it falls on a dead one, a bounded number
    /// of times; then the first live one there is.
    pub fn pick(&self, id: DatabaseId, random: &mut dyn FnMut() -> u64) -> Option<EntryRef<'_>> {
        let database = self.databases.get(id);
        for _ in 0..PICK_TRIES_MAX {
            let entry = database.pick(random())?;
            if self.is_live(&entry) {
                return Some(entry);
            }
        }
        let mut found = None;
        let mut position = ScanPosition::default();
        while found.is_none() && position.slot < SLOTS {
            position = self.scan(id, position, SLOTS, 1, &mut |entry| {
                found.get_or_insert_with(|| entry.key().to_vec());
            });
        }
        self.peek(id, &self.key(&found?))
    }

    /// Sets whether what follows counts as a use of what it reads: CLIENT NO-TOUCH.
    pub fn set_touching(&mut self, touches: bool) {
        self.touches = touches && self.reads_touch;
    }

    /// Sets whether reads count as uses at all.
    pub fn set_reads_touch(&mut self, reads_touch: bool) {
        self.reads_touch = reads_touch;
        self.touches = reads_touch;
    }

    /// Sets whether reads remove what they find expired. While writes are paused they must not, so that a replica
    /// can catch up, nor while a transaction goes on; what changes a key removes it all the same.
    pub fn set_reads_remove(&mut self, reads_remove: bool) {
        self.reads_remove = reads_remove;
    }

    /// DEBUG SET-ACTIVE-EXPIRE.
    pub fn set_active_expiry(&mut self, active: bool) {
        self.active_expiry = active;
    }

    /// Frees what was flushed or removed, in steps, until nothing is left or `more` says that the time is used
    /// up. Returns whether work is left.
    pub fn free_step(&mut self, more: &mut dyn FnMut() -> bool) -> bool {
        self.stats.freed_lazily += self.lazy_free.free(more);
        self.has_lazy_free()
    }

    /// Whether something waits to be freed.
    /// How many values that were removed are still to be freed.
    pub fn lazy_free_objects(&self) -> u64 {
        self.lazy_free.objects()
    }

    pub fn has_lazy_free(&self) -> bool {
        !self.lazy_free.is_empty()
    }

    /// The digest of each database's entries on this shard. Those of all shards, XORed per database, go
    /// to [`combine_digests`].
    pub fn digests(&self) -> Vec<Digest> {
        let digest_of = |index| {
            let mut digest = Digest::default();
            self.visit_all(DatabaseId(index), &mut |entry| {
                digest.xor(&Digest::of_entry(entry, self.now_ms, true).0);
            });
            digest
        };
        (0..self.database_count() as u16).map(digest_of).collect()
    }

    /// Compares the books with a full walk; for tests.
    #[doc(hidden)]
    pub fn verify(&self) {
        let looked_at = self.databases.in_use().count();
        for id in self.databases.ids() {
            let (index, database) = (id.index(), self.databases.get(id));
            assert_eq!(database.books(), database.walk_books(), "the books of database {index}");
            assert!(index < looked_at || database.len() == 0, "database {index} is passed over");
            let needs_items = database.items_needed() > 0;
            let has_items = !database.wheel.is_empty() || self.moved.has_come;
            assert!(!needs_items || has_items, "a wheel without items");
        }
    }
}
