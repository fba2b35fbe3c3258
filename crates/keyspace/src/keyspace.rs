//! Keyspace: look-ups, the moment, the books; see the room's page.

use basalt_structures::{Entry, EntryRef, KeyHasher, Place};

use crate::chance::Chance;
use crate::collections::{self, Thresholds};
use crate::database::{Database, ScanPosition};
use crate::edit::Edit;
use crate::effect::{Cause, Effect, Malformed, Record};
use crate::fed::Fed;
use crate::frequency::{self, Frequency};
use crate::graves::Graves;
use crate::key::Key;
use crate::slot::SlotId;
use crate::slots::MovedSlots;
use crate::watch::Watches;
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
    fn count_look(&mut self, is_hit: bool) {
        self.hits += u64::from(is_hit);
        self.misses += u64::from(!is_hit);
    }
}

/// What INFO says of a database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatabaseFacts {
    pub keys: usize,
    pub expiring: usize,
    /// The moments of those added up, in milliseconds since 1970.
    pub expire_sum_ms: u128,
    /// Keys with fields that expire.
    pub with_expiring_elements: usize,
}

impl DatabaseFacts {
    /// Adds another shard's.
    pub fn absorb(&mut self, other: &Self) {
        self.keys += other.keys;
        self.expiring += other.expiring;
        self.expire_sum_ms += other.expire_sum_ms;
        self.with_expiring_elements += other.with_expiring_elements;
    }

    /// The mean of what is left to the keys that expire, in milliseconds; 0 where there are none.
    pub fn ttl_mean_ms(&self, now_ms: u64) -> u64 {
        let mean = self.expire_sum_ms.checked_div(self.expiring as u128).unwrap_or(0);
        u64::try_from(mean).unwrap_or(u64::MAX).saturating_sub(now_ms)
    }
}

/// All databases of one shard.
pub struct Keyspace {
    pub(crate) databases: Vec<Database>,
    pub(crate) hasher: KeyHasher,
    pub(crate) now_ms: u64,
    /// The access word of something new, or used now where uses are not counted.
    pub(crate) access_now: u32,
    /// Whether and how uses are counted.
    frequency: Option<Frequency>,
    pub stats: KeyspaceStats,
    pub(crate) active_expiry: bool,
    /// Whether reads count as uses.
    touches: bool,
    /// Where [`Keyspace::random`] is.
    chance: Chance,
    pub(crate) graves: Graves,
    /// Keys that somebody waits for.
    pub(crate) fed: Fed,
    /// Up to which sizes collections are kept packed.
    pub thresholds: Thresholds,
    journal: Option<Vec<u8>>,
    pub(crate) watches: Watches,
    /// Which slots went to other shards.
    pub(crate) moved: MovedSlots,
}

impl Keyspace {
    pub fn new(database_count: usize, hasher: KeyHasher, now_ms: u64) -> Self {
        let mut keyspace = Self {
            databases: (0..database_count).map(|_| Database::new(now_ms)).collect(),
            hasher,
            now_ms: 0,
            access_now: 0,
            frequency: None,
            stats: KeyspaceStats::default(),
            active_expiry: true,
            touches: true,
            chance: Chance::new(hasher.hash(b"chance")),
            graves: Graves::default(),
            fed: Fed::default(),
            thresholds: Thresholds::default(),
            journal: None,
            watches: Watches::default(),
            moved: MovedSlots::default(),
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

    fn access_word(&self) -> u32 {
        match &self.frequency {
            None => (self.now_ms / 1000) as u32 & 0x00FF_FFFF,
            Some(_) => frequency::word_of_new(self.now_ms),
        }
    }

    /// The access word for what is at a place when it is changed now; where uses are counted, opening it
    /// for the change was the use.
    #[inline]
    pub(crate) fn access_at(&self, id: DatabaseId, slot: SlotId, place: Place) -> u32 {
        match self.frequency {
            None => self.access_now,
            Some(_) => self.databases[id.index()].entry(slot, place).access(),
        }
    }

    /// Counts a use of what is at a place.
    #[cold]
    fn count_use(&mut self, frequency: Frequency, id: DatabaseId, slot: SlotId, place: Place) {
        if self.touches {
            let mut entry = self.databases[id.index()].entry_mut(slot, place);
            let access = frequency.again(entry.access(), self.now_ms, self.chance.next());
            entry.set_access(access);
        }
    }

    /// From now on uses are counted, or their moments kept. The words that are there mean something else
    /// then, and are put right as their keys are used.
    pub fn set_frequency(&mut self, frequency: Option<Frequency>) {
        self.frequency = frequency;
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
    pub fn seed_chance(&mut self, seed: u64) {
        self.chance = Chance::new(seed);
    }

    /// A number by chance, for commands that choose: what is chosen goes into the effect.
    pub fn random(&mut self) -> u64 {
        self.chance.next()
    }

    /// A series of its own, for commands that choose while they look at the data.
    pub fn chance(&mut self) -> Chance {
        Chance::new(self.chance.next())
    }

    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key::new(bytes, &self.hasher)
    }

    pub fn database_count(&self) -> usize {
        self.databases.len()
    }

    /// Asks for the memory of keys, stage by stage: table heads, then buckets, then entries. So all of it is on
    /// its way at once.
    #[inline]
    pub fn prefetch(&self, keys: impl Iterator<Item = (DatabaseId, SlotId, u64)> + Clone) {
        for (database, slot, _) in keys.clone() {
            self.databases[database.index()].prefetch_table(slot);
        }
        for (database, slot, hash) in keys.clone() {
            if let Some(table) = self.databases[database.index()].table(slot) {
                table.prefetch_bucket(hash);
            }
        }
        for (database, slot, hash) in keys {
            if let Some(table) = self.databases[database.index()].table(slot) {
                table.prefetch_entry(hash);
            }
        }
    }

    /// What the key holds, counted as a hit or a miss and as a use.
    #[inline]
    pub fn read(&mut self, database: DatabaseId, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let place = self.find_live(database, key);
        self.stats.count_look(place.is_some());
        let place = place?;
        let database = &mut self.databases[database.index()];
        let table = database.table_mut(key.slot).expect("a place lies in a table");
        if !self.touches {
            return Some(table.entry(place));
        }
        let access = match &self.frequency {
            None => self.access_now,
            Some(frequency) => {
                let before = table.entry(place).access();
                frequency.again(before, self.now_ms, self.chance.next())
            }
        };
        Some(table.touch(place, access))
    }

    /// What the key holds, counted as a hit or a miss, but not as a use: for those who ask about a key.
    #[inline]
    pub fn inspect(&mut self, database: DatabaseId, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let place = self.find_live(database, key);
        self.stats.count_look(place.is_some());
        Some(self.databases[database.index()].entry(key.slot, place?))
    }

    /// What the key holds, without a trace of the look.
    #[inline]
    pub fn peek(&self, database: DatabaseId, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let database = &self.databases[database.index()];
        let entry = database.entry(key.slot, database.find(key)?);
        self.is_live(&entry).then_some(entry)
    }

    /// Opens the key for a change.
    #[inline]
    pub fn edit<'a>(&'a mut self, database: DatabaseId, key: &Key<'a>) -> Edit<'a> {
        let place = self.find_live(database, key);
        if let (Some(frequency), Some(place)) = (self.frequency, place) {
            self.count_use(frequency, database, key.slot, place);
        }
        Edit::new(self, database, *key, place)
    }

    /// As [`Keyspace::edit`], counted as a hit or a miss: for changes that also hand out what was there.
    #[inline]
    pub fn read_and_edit<'a>(&'a mut self, database: DatabaseId, key: &Key<'a>) -> Edit<'a> {
        let place = self.find_live(database, key);
        self.stats.count_look(place.is_some());
        if let (Some(frequency), Some(place)) = (self.frequency, place) {
            self.count_use(frequency, database, key.slot, place);
        }
        Edit::new(self, database, *key, place)
    }

    #[inline]
    fn is_live(&self, entry: &Entry) -> bool {
        entry.expire_at_ms().is_none_or(|at_ms| at_ms > self.now_ms)
    }

    /// Finds the key; one that is past its expiry is removed and not found.
    #[inline]
    fn find_live(&mut self, id: DatabaseId, key: &Key<'_>) -> Option<Place> {
        let table = self.databases[id.index()].table(key.slot)?;
        let place = table.find(key.hash, key.bytes)?;
        if self.is_live(&table.entry(place)) {
            return Some(place);
        }
        self.remove_expired(id, key, place);
        None
    }

    #[cold]
    fn remove_expired(&mut self, id: DatabaseId, key: &Key<'_>, place: Place) {
        let effect = Effect::Remove { cause: Cause::Expired };
        self.record(&Record::Key { database: id, key: key.bytes, effect });
        self.fed.note(key.hash);
        self.remove(id, key, place, Cause::Expired);
    }

    /// Empties a database; its memory is given back by [`Keyspace::bury_some`].
    pub fn flush(&mut self, id: DatabaseId) {
        self.record(&Record::Flush { database: id });
        self.stats.changes += 1;
        let emptied = Database::new(self.now_ms);
        let full = std::mem::replace(&mut self.databases[id.index()], emptied);
        self.stats.freed_lazily += self.graves.add_database(full);
        self.fed.note_all();
    }

    pub fn swap(&mut self, first: DatabaseId, second: DatabaseId) {
        self.record(&Record::Swap { first, second });
        self.stats.changes += 1;
        self.databases.swap(first.index(), second.index());
        self.fed.note_all();
    }

    pub fn len(&self, database: DatabaseId) -> usize {
        self.databases[database.index()].len()
    }

    pub fn is_empty(&self) -> bool {
        self.databases.iter().all(|database| database.len() == 0)
    }

    pub fn facts(&self, database: DatabaseId) -> DatabaseFacts {
        let database = &self.databases[database.index()];
        DatabaseFacts {
            keys: database.len(),
            expiring: database.expiring,
            expire_sum_ms: database.expire_sum_ms,
            with_expiring_elements: database.with_expiring_elements,
        }
    }

    pub fn slot_len(&self, database: DatabaseId, slot: SlotId) -> usize {
        self.databases[database.index()].slot_len(slot)
    }

    /// The heap bytes of all data, with its tables, wheels and what waits to be dropped.
    pub fn used_bytes(&self) -> usize {
        self.databases.iter().map(Database::heap_bytes).sum::<usize>() + self.graves.bytes()
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
        self.databases[database.index()].scan(position, end_slot, count, &mut |_, entry| {
            if self.is_live(entry) {
                visit(entry);
            }
        })
    }

    /// Visits every live entry.
    pub fn visit_all(&self, database: DatabaseId, visit: &mut dyn FnMut(&Entry)) {
        self.databases[database.index()].visit_all(&mut |entry| {
            if self.is_live(entry) {
                visit(entry);
            }
        });
    }

    /// A live entry by chance: `random` is asked anew where chance falls on a dead one, a bounded number
    /// of times; then the first live one there is.
    pub fn pick(&self, id: DatabaseId, random: &mut dyn FnMut() -> u64) -> Option<EntryRef<'_>> {
        const TRIES_MAX: usize = 100;
        let database = &self.databases[id.index()];
        for _ in 0..TRIES_MAX {
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

    /// Says whether what follows counts as a use of what it reads: CLIENT NO-TOUCH.
    pub fn set_touching(&mut self, touches: bool) {
        self.touches = touches;
    }

    /// DEBUG SET-ACTIVE-EXPIRE.
    pub fn set_active_expiry(&mut self, active: bool) {
        self.active_expiry = active;
    }

    /// Starts to record effects; [`Keyspace::take_records`] hands them out.
    pub fn start_records(&mut self) {
        self.journal = Some(Vec::new());
    }

    /// The records since the last call, as bytes of [`Record::encode`].
    pub fn take_records(&mut self) -> Vec<u8> {
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn record(&mut self, record: &Record<'_>) {
        if !self.watches.is_empty() {
            self.tell_watches(record);
        }
        if let Some(journal) = &mut self.journal {
            record.encode(journal);
        }
    }

    /// Does again what the records say, up to the first that can't follow on those before it.
    pub fn replay(&mut self, mut records: &[u8]) -> Result<(), Malformed> {
        while !records.is_empty() {
            let (record, len) = Record::decode(records)?;
            records = &records[len..];
            let is_known = |id: DatabaseId| id.index() < self.databases.len();
            match record {
                Record::Key { database, key, effect } if is_known(database) => {
                    let key = self.key(key);
                    let place = self.databases[database.index()].find(&key);
                    let edit = Edit::new(self, database, key, place);
                    if !collections::follows(edit.entry().as_deref(), &effect) {
                        return Err(Malformed);
                    }
                    edit.commit(effect);
                }
                Record::Flush { database } if is_known(database) => self.flush(database),
                Record::Swap { first, second } if is_known(first) && is_known(second) => {
                    self.swap(first, second);
                }
                _ => return Err(Malformed),
            }
        }
        Ok(())
    }

    /// Compares the books with a full walk; for tests.
    #[doc(hidden)]
    pub fn verify(&self) {
        for (index, database) in self.databases.iter().enumerate() {
            assert_eq!(database.books(), database.walk_books(), "the books of database {index}");
            let needs_items = database.items_needed() > 0;
            let has_items = !database.wheel.is_empty() || self.moved.has_come;
            assert!(!needs_items || has_items, "a wheel without items");
        }
    }
}

/// For how many seconds an entry was not used, from its LRU word.
pub fn idle_seconds(access: u32, now_ms: u64) -> u32 {
    ((now_ms / 1000) as u32).wrapping_sub(access) & 0x00FF_FFFF
}
