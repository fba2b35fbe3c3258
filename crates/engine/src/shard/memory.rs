//! Memory: how much more data this shard may hold, by `maxmemory` and what all shards hold together, and how
//! room is made.
//!
//! Each shard publishes its use at the end of its turn ([`World::publish_used`](crate::World)); at the
//! beginning of a turn the sum of the others' is read once. A command that may grow its data is checked on
//! its key's shard, before it runs, so the answer doesn't depend on the connection that asks.
//!
//! At the limit a command evicts keys of its shard, some at a time; what it leaves goes in slices of
//! maintenance. A shard that has none to evict, or much less than the others, asks these to evict; until they
//! have, it works less in a turn, so that only those that write are slowed down.
//!
//! Not here: which key goes (`keyspace::eviction`).

use basalt_commands::config::Config;
use basalt_commands::{CommandError, Flags};
use basalt_keyspace::{DatabaseId, Eviction, Keyspace};

use crate::intents::{Intent, Intents, Mode};
use crate::limits;

/// The part of `maxmemory` by which a shard may exceed it while it waits for others to evict.
const DEBT_PART: u64 = 128;

/// What bounds the memory of the process from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryBounds {
    /// The machine's memory, or what a control group or the limit of address space grants, if that is less.
    pub limit_bytes: u64,
    /// By how much what is in use exceeds what is safe, or falls short of it (negative).
    pub excess_bytes: i64,
    /// How much more than what is safe may be used before the process is killed.
    pub margin_bytes: u64,
    /// A new number for each look.
    pub sample: u32,
}

/// What is kept to where less memory is left than the books say: because of gaps between values, or because of
/// others that share a limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pressure {
    sample: u32,
    /// The most bytes that counted since the bound is near: memory that was used for them may be used again.
    peak_bytes: u64,
    /// The most bytes that may count, and the excess for which that was set.
    cap: Option<(u64, i64)>,
    /// Looks that found less than half of the margin left, since the cap was lowered.
    short_looks: u32,
    /// Nothing more may be stored until half of the margin is left.
    is_exhausted: bool,
}

/// What a new look at the bounds changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PressureChange {
    Begun,
    Ended,
}

impl Pressure {
    /// A cap is never less than this part of `maxmemory`.
    const CAP_PART_MIN: u64 = 4;
    /// The part of the limit that must be free beyond what is safe before a cap ends.
    const FREE_PART: u64 = 32;
    /// The bound is near where less than this part of it is left.
    const NEAR_PART: u64 = 8;
    /// Use may grow by this part of the limit before that counts as growth.
    const GROWTH_PART: u64 = 256;
    /// While less than half of the margin is left, the cap falls by [`Self::GROWTH_PART`] after so many looks.
    const SHORT_LOOKS: u32 = 10;

    /// Whether these are of a later look.
    #[inline]
    pub(crate) fn is_news(&self, bounds: &MemoryBounds) -> bool {
        bounds.sample != self.sample
    }

    /// Takes the bounds in after a new look; `counted_bytes` is what counts of all shards.
    ///
    /// At first no more is kept than there was while the bound was near: what went makes room for what comes, so the
    /// use of memory stays where it is. Only if it still grows, no more is kept than there is, less what it grew by.
    /// So gaps between values never empty the data.
    ///
    /// Where half of the margin is used up for all that, less and less is kept; where three fourths are, nothing more
    /// may be stored.
    pub(crate) fn follow(
        &mut self,
        bounds: &MemoryBounds,
        counted_bytes: u64,
        maxmemory: u64,
    ) -> Option<PressureChange> {
        self.sample = bounds.sample;
        let excess = bounds.excess_bytes;
        let part = |part: u64| (bounds.limit_bytes / part) as i64;
        let is_near = excess > -part(Self::NEAR_PART);
        self.peak_bytes = if is_near { self.peak_bytes.max(counted_bytes) } else { 0 };
        let cap_min = maxmemory / Self::CAP_PART_MIN;
        let margin = bounds.margin_bytes as i64;
        let is_short = margin > 0 && excess > margin / 2;
        self.is_exhausted = is_short && (self.is_exhausted || excess > margin / 4 * 3);
        self.short_looks = if is_short { self.short_looks + 1 } else { 0 };
        match &mut self.cap {
            None if excess > 0 => {
                self.cap = Some((self.peak_bytes.max(cap_min), excess));
                Some(PressureChange::Begun)
            }
            Some((cap, highest)) if excess > *highest + part(Self::GROWTH_PART) => {
                let lower = counted_bytes.min(*cap).saturating_sub((excess - *highest) as u64);
                (*cap, *highest) = (lower.max(cap_min), excess);
                None
            }
            Some((cap, highest)) if self.short_looks > Self::SHORT_LOOKS => {
                let lower = counted_bytes.min(*cap).saturating_sub(part(Self::GROWTH_PART) as u64);
                (*cap, *highest) = (lower.max(cap_min), excess.max(*highest));
                self.short_looks = 0;
                None
            }
            Some(_) if excess < -part(Self::FREE_PART) => {
                self.cap = None;
                Some(PressureChange::Ended)
            }
            _ => None,
        }
    }

    /// How much may count instead of `maxmemory`.
    pub(crate) fn lowered(&self, maxmemory: u64) -> u64 {
        match self.cap {
            Some((cap, _)) if maxmemory > 0 => maxmemory.min(cap.max(1)),
            _ => maxmemory,
        }
    }

    /// Whether nothing more may be stored.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.is_exhausted
    }

    /// The cap; 0 where there is none.
    pub(crate) fn cap_bytes(&self) -> u64 {
        self.cap.map_or(0, |(cap, _)| cap)
    }
}

/// What a shard shows to the others, or all others together to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The bytes of its data, without what waits to be freed.
    pub used_bytes: usize,
    /// The bytes of its clients.
    pub client_bytes: usize,
    /// Of these, large arguments that are arriving and can never be stored: nothing is evicted for them.
    pub unfit_bytes: usize,
    /// How large its largest client is that `maxmemory-clients` may cut off: the more, the larger; no two shards'
    /// are equal. 0 where there is none.
    pub largest_client: u32,
    /// It has keys that `maxmemory-policy` lets it evict.
    pub has_evictable: bool,
}

impl Published {
    /// What counts towards `maxmemory`.
    pub fn counted_bytes(&self) -> usize {
        self.used_bytes + self.client_bytes - self.unfit_bytes.min(self.client_bytes)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            used_bytes: self.used_bytes + other.used_bytes,
            client_bytes: self.client_bytes + other.client_bytes,
            unfit_bytes: self.unfit_bytes + other.unfit_bytes,
            largest_client: self.largest_client.max(other.largest_client),
            has_evictable: self.has_evictable || other.has_evictable,
        }
    }
}

/// The limit of a shard's data in this turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryLimit {
    /// The commands to be checked: those with one of these flags.
    checked: Flags,
    /// `maxmemory` without what the other shards and the own clients hold; below 0 where those alone are over it.
    shard_bytes: i64,
    /// What this shard held when the turn began, until that is used.
    used_bytes: Option<usize>,
    /// The database that was checked last.
    database: DatabaseId,
    /// The limit of that database alone, since only the database of a command grows by it.
    database_bytes: i64,
    maxmemory: u64,
    /// Nothing may be stored, whatever may be evicted.
    is_exhausted: bool,
    /// What the other shards hold, and whether they have keys to evict.
    others: Published,
    others_count: usize,
    /// What counts of the own clients.
    client_bytes: usize,
    /// What the others are asked to evict.
    wanted_bytes: usize,
}

impl Default for MemoryLimit {
    fn default() -> Self {
        Self::UNLIMITED
    }
}

/// The part of `maxmemory` by which it may be exceeded between writes.
const TOLERATED_PART: u64 = 1024;

/// A command can't run before others evict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// Nothing can be evicted.
    Refused,
    /// More is to be evicted than a call may at a time.
    Later,
}

impl MemoryLimit {
    const UNLIMITED: Self = Self {
        checked: Flags::NONE,
        shard_bytes: i64::MAX,
        used_bytes: None,
        database: Self::NO_DATABASE,
        database_bytes: i64::MAX,
        maxmemory: 0,
        is_exhausted: false,
        others: Published {
            used_bytes: 0,
            client_bytes: 0,
            unfit_bytes: 0,
            largest_client: 0,
            has_evictable: false,
        },
        others_count: 0,
        client_bytes: 0,
        wanted_bytes: 0,
    };
    /// No database has it.
    const NO_DATABASE: DatabaseId = DatabaseId(u16::MAX);

    /// The limit where the other shards hold so much, and this one `used_bytes` of data and `client_bytes` that count;
    /// `maxmemory` 0 is no limit.
    pub(crate) fn new(
        maxmemory: u64,
        (others, others_count): (Published, usize),
        (used_bytes, client_bytes): (usize, usize),
    ) -> Self {
        if maxmemory == 0 {
            return Self::UNLIMITED;
        }
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let rest = others.counted_bytes() + client_bytes;
        let shard_bytes = signed(maxmemory).saturating_sub(signed(rest as u64));
        Self {
            checked: Flags::DENYOOM,
            shard_bytes,
            used_bytes: Some(used_bytes),
            maxmemory,
            others,
            others_count,
            client_bytes,
            ..Self::UNLIMITED
        }
    }

    /// The same where the system has no memory left: nothing may be stored.
    pub(crate) fn exhausted(self) -> Self {
        let (shard_bytes, database_bytes) = (self.shard_bytes.min(0), self.database_bytes.min(0));
        Self { is_exhausted: true, shard_bytes, database_bytes, ..self }
    }

    /// Whether a command is to be checked and all shards together hold more than `maxmemory`: then it makes
    /// room first, or is refused.
    #[inline]
    pub(crate) fn is_short(
        &mut self,
        flags: Flags,
        keyspace: &Keyspace,
        database: DatabaseId,
    ) -> bool {
        flags.has(self.checked) && self.is_exceeded(keyspace, database)
    }

    #[inline]
    fn is_exceeded(&mut self, keyspace: &Keyspace, database: DatabaseId) -> bool {
        if database != self.database {
            self.change_database(keyspace, database);
        }
        keyspace.database_bytes(database) as i64 > self.database_bytes
    }

    // Once a turn, as long as all write to the same database.
    #[cold]
    fn change_database(&mut self, keyspace: &Keyspace, database: DatabaseId) {
        let used_bytes = self.used_bytes.take().unwrap_or_else(|| keyspace.used_bytes());
        let rest_bytes = used_bytes as i64 - keyspace.database_bytes(database) as i64;
        self.database = database;
        self.database_bytes = self.shard_bytes.saturating_sub(rest_bytes);
    }

    /// By how much all shards together exceed `maxmemory` once `bytes` more are stored here; what waits to be
    /// freed is not counted.
    fn excess_bytes(&self, keyspace: &Keyspace, bytes: usize) -> i64 {
        let held = keyspace.held_bytes() as i64;
        held.saturating_add(bytes as i64).saturating_sub(self.shard_bytes)
    }

    /// What other shards are to evict, if anything; asked once.
    pub(crate) fn take_wanted_bytes(&mut self) -> Option<usize> {
        let wanted = std::mem::take(&mut self.wanted_bytes);
        (wanted > 0).then_some(wanted)
    }

    /// Whether other shards are to evict before more is worked here.
    pub(crate) fn waits_for_others(&self) -> bool {
        self.wanted_bytes > 0
    }

    /// Whether this shard would starve if it evicted, and others don't need to: it holds less than half of what
    /// they do in the mean.
    fn is_small(&self, held: usize) -> bool {
        self.others.has_evictable && held * 2 * self.others_count < self.others.used_bytes
    }

    /// What this shard is to evict by itself: its part of what all hold too much.
    pub(crate) fn own_excess_bytes(&self, keyspace: &Keyspace) -> usize {
        let held = keyspace.held_bytes();
        if self.maxmemory == 0 || self.is_small(held) {
            return 0;
        }
        let all = held + self.others.used_bytes;
        let counted = held + self.others.counted_bytes() + self.client_bytes;
        let excess = (counted as u64).saturating_sub(self.maxmemory);
        // The next write makes room for this much; a large value must not go for a few bytes.
        if excess <= self.maxmemory / TOLERATED_PART {
            return 0;
        }
        let part = (u128::from(excess) * held as u128).checked_div(all as u128).unwrap_or(0);
        part as usize
    }
}

/// What eviction needs of a shard.
pub(crate) struct Evictor<'a> {
    pub keyspace: &'a mut Keyspace,
    pub intents: &'a Intents,
    pub eviction: Eviction,
}

impl Evictor<'_> {
    /// Evicts keys until `is_enough`, asked after each with the bytes that are held. False if there was none to evict.
    /// What a transaction holds or waits for stays.
    pub(crate) fn evict_until(&mut self, is_enough: &mut dyn FnMut(&mut Keyspace) -> bool) -> bool {
        let intents = self.intents;
        let may_evict =
            |hash| intents.is_empty() || intents.admits_key(Intent { hash, mode: Mode::Write });
        while !is_enough(self.keyspace) {
            if !self.keyspace.evict(&self.eviction, &may_evict) {
                return false;
            }
        }
        true
    }
}

/// What making room needs of a shard.
pub(crate) struct RoomMaker<'a> {
    pub keyspace: &'a mut Keyspace,
    pub config: &'a Config,
    pub memory: &'a mut MemoryLimit,
    pub intents: &'a Intents,
}

impl RoomMaker<'_> {
    /// Makes room for a command that stores about `bytes`, where `maxmemory` is exceeded. `counted_bytes` of these are
    /// counted already, as a client's.
    ///
    /// Returns [`Shortage::Refused`] where nothing can be evicted, or not enough for so many bytes; and
    /// [`Shortage::Later`] where `bytes` need more eviction than a call may do.
    #[cold]
    #[inline(never)]
    pub(crate) fn make_room(&mut self, bytes: usize, counted_bytes: usize) -> Result<(), Shortage> {
        self.free_some();
        if self.memory.is_exhausted {
            return Err(Shortage::Refused);
        }
        // With what surrounds a large value.
        let bytes = if bytes == 0 { 0 } else { bytes + bytes / 64 + 4096 };
        if bytes as u64 > self.memory.maxmemory {
            return Err(Shortage::Refused);
        }
        let bytes = bytes.saturating_sub(counted_bytes);
        let excess = self.memory.excess_bytes(self.keyspace, bytes);
        if excess <= 0 {
            return Ok(());
        }
        let Some(eviction) = self.config.eviction() else { return Err(Shortage::Refused) };
        let debt_max = (self.memory.maxmemory / DEBT_PART) as i64;
        let has_others = self.memory.others.has_evictable;
        if self.memory.is_small(self.keyspace.held_bytes()) {
            self.memory.wanted_bytes = self.memory.wanted_bytes.max(excess as usize);
            if excess <= debt_max {
                return Ok(());
            }
        }
        let tenacity = self.config.maxmemory_eviction_tenacity;
        let keys_max = match tenacity {
            _ if bytes > 0 => limits::EVICTED_PER_CALL_TENACIOUS,
            0..100 => limits::EVICTED_PER_CALL_MAX * (tenacity as usize + 1) / 11 + 1,
            _ => limits::EVICTED_PER_CALL_TENACIOUS,
        };
        let (memory, mut keys) = (&*self.memory, 0);
        let mut is_enough = |keyspace: &mut Keyspace| {
            let is_done = memory.excess_bytes(keyspace, bytes) <= 0 || keys >= keys_max;
            keys += 1;
            is_done
        };
        let mut evictor = Evictor { keyspace: self.keyspace, intents: self.intents, eviction };
        let had_keys = evictor.evict_until(&mut is_enough);
        let excess = self.memory.excess_bytes(self.keyspace, bytes);
        if excess <= 0 {
            return Ok(());
        }
        if !had_keys {
            if !has_others {
                // What transactions hold goes later.
                let is_held = self.keyspace.has_evictable(eviction.volatile_only);
                return if is_held { Ok(()) } else { Err(Shortage::Refused) };
            }
            self.memory.wanted_bytes = self.memory.wanted_bytes.max(excess as usize);
        }
        if bytes > 0 && self.memory.excess_bytes(self.keyspace, bytes) > debt_max {
            return Err(Shortage::Later);
        }
        Ok(())
    }

    /// Whether a command that stores little would find room, on whichever shard.
    #[cold]
    pub(crate) fn can_make_room(&mut self) -> bool {
        self.free_some();
        let has_own = |eviction: Eviction| self.keyspace.has_evictable(eviction.volatile_only);
        self.memory.excess_bytes(self.keyspace, 0) <= 0
            || self
                .config
                .eviction()
                .is_some_and(|own| self.memory.others.has_evictable || has_own(own))
    }

    /// Frees some of what was removed: those that write keep up with what they have evicted.
    fn free_some(&mut self) {
        if self.keyspace.has_lazy_free() {
            let mut steps = limits::FREED_PER_CALL_STEPS;
            self.keyspace.free_step(&mut || {
                steps -= 1;
                steps > 0
            });
        }
    }
}

impl From<Shortage> for CommandError {
    fn from(_: Shortage) -> Self {
        Self::OVER_MAXMEMORY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows looks of which each is an excess and what counts, in percent of the limit; returns what may count.
    fn follow(looks: &[(i64, u64)]) -> Vec<u64> {
        let (mut pressure, maxmemory) = (Pressure::default(), 80_000);
        let looks = looks.iter().zip(1..);
        looks
            .map(|(&(excess, counted), sample)| {
                let excess_bytes = excess * 1000;
                let bounds =
                    MemoryBounds { limit_bytes: 100_000, excess_bytes, margin_bytes: 0, sample };
                assert!(pressure.is_news(&bounds));
                pressure.follow(&bounds, counted * 1000, maxmemory);
                assert!(!pressure.is_news(&bounds));
                pressure.lowered(maxmemory) / 1000
            })
            .collect()
    }

    #[test]
    fn memory_of_what_was_removed_may_be_used_again() {
        // The data shrank, but its memory did not come back; then a little more was used.
        let looks = [(-40, 40), (-3, 70), (-3, 20), (1, 21), (1, 60), (1, 70)];
        assert_eq!(follow(&looks), [80, 80, 80, 70, 70, 70]);
        // It can't be used: use grows.
        let looks = [(-3, 70), (-3, 20), (1, 30), (2, 32), (4, 31), (4, 29), (-1, 29), (-4, 29)];
        assert_eq!(follow(&looks), [80, 80, 70, 31, 29, 29, 29, 80]);
        // What was kept when there was enough does not matter.
        assert_eq!(follow(&[(-20, 70), (-13, 20), (1, 40)]), [80, 80, 40]);
    }

    #[test]
    fn nothing_is_stored_where_the_margin_is_used_up() {
        let (mut pressure, mut sample) = (Pressure::default(), 0);
        let mut look = |excess: i64| {
            sample += 1;
            let excess_bytes = excess * 1000;
            let bounds =
                MemoryBounds { limit_bytes: 100_000, excess_bytes, margin_bytes: 12_000, sample };
            pressure.follow(&bounds, 60_000, 80_000);
            (pressure.is_exhausted(), pressure.lowered(80_000))
        };
        assert_eq!(
            [look(-1), look(1), look(6)],
            [(false, 80_000), (false, 60_000), (false, 55_000)]
        );
        let later: Vec<_> = (0..=Pressure::SHORT_LOOKS).map(|_| look(7)).collect();
        assert_eq!((later[0], later[10]), ((false, 54_000), (false, 53_610)));
        assert_eq!([look(10).0, look(7).0, look(6).0, look(7).0], [true, true, false, false]);
    }

    #[test]
    fn gaps_between_values_never_empty_the_data() {
        assert_eq!(follow(&[(1, 5), (3, 5), (90, 5)]), [20, 20, 20]);
        assert_eq!(follow(&[(1, 79), (1, 79), (3, 79)]), [79, 79, 77]);
        assert_eq!(follow(&[(i64::MIN / 1000, 90), (2, 50), (i64::MIN / 1000, 50)]), [80, 50, 80]);
    }
}
