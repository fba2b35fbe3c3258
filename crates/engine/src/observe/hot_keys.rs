//! Hot keys: which keys of a shard are used most, always, and which cost the most while a session of HOTKEYS runs.
//!
//! Uses are noted of the calls whose time is taken anyway (`command_stats`), one in so many: the fast path pays nothing
//! for them. A session has the time of each call taken, and notes what each cost.

use std::sync::Arc;

use basalt_commands::requests::HotKeysRequest;
use basalt_keyspace::{DatabaseId, SLOTS, SlotId};

use crate::observe::top_keys::{TopKey, TopKeys};

/// One use in so many is noted.
const NOTE_EVERY: i64 = 101;
/// After so long what was noted counts half.
const HALF_LIFE_MS: u64 = 30_000;
/// LIMIT: keys whose uses are counted.
const COUNTED_KEYS: usize = 128;
/// A key is hot with this share of all uses. It is more than the error of a count.
const HOT_SHARE: u64 = 100;
/// A session counts so many keys for each that it returns: what is returned is then nearly exact.
const COUNTED_PER_KEY: usize = 10;

/// What a shard knows of its hot keys.
pub(crate) struct HotKeys {
    pub uses: KeyUses,
    /// The session of HOTKEYS that runs, or ran last.
    pub session: Option<Box<HotKeysSession>>,
}

/// How often keys were used of late.
pub(crate) struct KeyUses {
    top: TopKeys,
    /// Uses that are still to come before one is noted.
    left: i64,
    /// Which key of a command with several is noted next.
    turn: usize,
    /// Since when (milliseconds since 1970) all uses count whole, and for how long before that others count.
    since_ms: u64,
    window_ms: u64,
}

/// A key that is used much.
#[derive(Clone, Debug, PartialEq)]
pub struct HotKey {
    pub database: DatabaseId,
    pub name: Vec<u8>,
    /// At least so many.
    pub uses_per_s: f64,
    /// In all uses of keys of the shard.
    pub share: f64,
}

/// LIMIT: bytes of a name that are shown.
const SHOWN_NAME_BYTES: usize = 128;

/// The name of a key as people are shown it: what is not printable ASCII escaped, the rest of a long one left out.
pub fn shown_name(name: &[u8]) -> String {
    match name.get(..SHOWN_NAME_BYTES) {
        Some(start) if start.len() < name.len() => format!("{}...", start.escape_ascii()),
        _ => name.escape_ascii().to_string(),
    }
}

impl HotKeys {
    pub(crate) fn new(now_ms: u64) -> Self {
        let top = TopKeys::new(COUNTED_KEYS);
        let uses = KeyUses { top, left: NOTE_EVERY, turn: 0, since_ms: now_ms, window_ms: 0 };
        Self { uses, session: None }
    }

    /// Whether what calls cost is to be noted.
    #[inline]
    pub(crate) fn is_measuring(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.stopped_at_ms.is_none())
    }
}

impl KeyUses {
    /// Counts calls; returns whether a use is to be noted, for all since the last.
    #[inline]
    pub(crate) fn is_due(&mut self, calls: u64) -> bool {
        self.left -= calls.min(NOTE_EVERY as u64) as i64;
        self.left <= 0
    }

    /// Which of so many keys of a call is to be noted.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        self.turn = self.turn.wrapping_add(1);
        self.turn % count.max(1)
    }

    /// Notes one of so many keys of a call, which stands for all uses since the last that was noted.
    pub(crate) fn note(
        &mut self,
        now_ms: u64,
        (database, name, hash): (DatabaseId, &[u8], u64),
        key_count: usize,
    ) {
        self.left += NOTE_EVERY;
        self.age(now_ms);
        self.top.add(database, name, hash, NOTE_EVERY as u64 * key_count as u64);
    }

    fn age(&mut self, now_ms: u64) {
        let halvings = now_ms.saturating_sub(self.since_ms) / HALF_LIFE_MS;
        self.since_ms += halvings * HALF_LIFE_MS;
        // After so many nothing is left.
        for _ in 0..halvings.min(u64::from(u64::BITS)) {
            self.top.halve();
            self.window_ms = (self.window_ms + HALF_LIFE_MS) / 2;
        }
    }

    /// The keys that are used most.
    pub(crate) fn hottest(&mut self, now_ms: u64, count: usize) -> Vec<HotKey> {
        self.age(now_ms);
        let window_ms = self.window_ms + now_ms.saturating_sub(self.since_ms);
        let (seconds, total) = (window_ms.max(1000) as f64 / 1000.0, self.top.total());
        let hot = |key: TopKey| HotKey {
            database: key.database,
            name: key.name,
            uses_per_s: key.sum as f64 / seconds,
            share: key.sum as f64 / total as f64,
        };
        self.top.greatest(count, total.div_ceil(HOT_SHARE)).into_iter().map(hot).collect()
    }
}

/// What a session of HOTKEYS measures on one shard.
#[derive(Clone)]
pub(crate) struct HotKeysStart {
    pub request: Arc<HotKeysRequest>,
    pub now_ms: u64,
    /// CPU seconds of the process by then, in user and in kernel mode.
    pub cpu_s: (f64, f64),
    pub seed: u64,
}

/// A session of HOTKEYS on one shard.
pub(crate) struct HotKeysSession {
    start: HotKeysStart,
    stopped_at_ms: Option<u64>,
    /// Nanoseconds and bytes by key.
    by_time: TopKeys,
    by_bytes: TopKeys,
    /// Of all commands with keys; of those in the chosen slots; of those in them that were picked.
    costs: [Cost; 3],
    /// The slots that were chosen, as bits.
    slots: Option<Box<[u64; SLOTS / 64]>>,
    random: u64,
}

/// What calls cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    pub ns: u64,
    /// Of requests and replies.
    pub bytes: u64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.ns = self.ns.saturating_add(other.ns);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

impl HotKeysSession {
    pub(crate) fn new(start: HotKeysStart) -> Self {
        let request = &start.request;
        let capacity = request.count * COUNTED_PER_KEY;
        let slots = (!request.slots.is_empty()).then(|| {
            let mut bits = Box::new([0; SLOTS / 64]);
            for slot in request.slots.iter().map(|slot| usize::from(*slot)) {
                bits[slot / 64] |= 1 << (slot % 64);
            }
            bits
        });
        Self {
            stopped_at_ms: None,
            by_time: TopKeys::new(capacity),
            by_bytes: TopKeys::new(capacity),
            costs: [Cost::default(); 3],
            slots,
            // xorshift stays at 0.
            random: start.seed | 1,
            start,
        }
    }

    fn end_ms(&self) -> u64 {
        match self.start.request.duration_ms {
            0 => u64::MAX,
            duration_ms => self.start.now_ms.saturating_add(duration_ms),
        }
    }

    /// Whether it runs at this moment; it is stopped when its time is over.
    pub(crate) fn is_running(&mut self, now_ms: u64) -> bool {
        if self.stopped_at_ms.is_none() && now_ms >= self.end_ms() {
            self.stopped_at_ms = Some(self.end_ms());
        }
        self.stopped_at_ms.is_none()
    }

    pub(crate) fn stop(&mut self, now_ms: u64) {
        if self.is_running(now_ms) {
            self.stopped_at_ms = Some(now_ms);
        }
    }

    /// xorshift64 (Marsaglia 2003).
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn is_chosen(&self, slot: SlotId) -> bool {
        let Some(bits) = &self.slots else { return true };
        bits[slot.index() / 64] >> (slot.index() % 64) & 1 == 1
    }

    /// Notes what a call with these keys cost. As in Redis the slot of a command is that of its first key; what it cost
    /// is divided by the number of its keys.
    pub(crate) fn note(&mut self, keys: &[(&[u8], u64, SlotId)], cost: Cost) {
        let Some((_, _, slot)) = keys.first() else { return };
        self.costs[0].add(cost);
        let ratio = u64::from(self.start.request.sample_ratio);
        let is_picked = ratio == 1 || self.random().is_multiple_of(ratio);
        if !self.is_chosen(*slot) {
            return;
        }
        self.costs[1].add(cost);
        if !is_picked {
            return;
        }
        self.costs[2].add(cost);
        let count = keys.len() as u64;
        // The rest goes to as many keys, from any of them on.
        let first = self.random() % count;
        let part =
            |of: u64, at: u64| of / count + u64::from((at + count - first) % count < of % count);
        for (at, (name, hash, _)) in (0..).zip(keys) {
            let (database, request) = (DatabaseId(0), &self.start.request);
            if request.cpu {
                self.by_time.add(database, name, *hash, part(cost.ns, at));
            }
            if request.net {
                self.by_bytes.add(database, name, *hash, part(cost.bytes, at));
            }
        }
    }

    /// What was found so far.
    pub(crate) fn report(&mut self, now_ms: u64) -> HotKeysReport {
        let is_running = self.is_running(now_ms);
        let end_ms = self.stopped_at_ms.unwrap_or(now_ms);
        let list = |top: &TopKeys| top.greatest(usize::MAX, 0);
        HotKeysReport {
            start: self.start.clone(),
            is_running,
            duration_ms: end_ms.saturating_sub(self.start.now_ms),
            costs: self.costs,
            total_bytes: self.by_bytes.total(),
            by_time: list(&self.by_time),
            by_bytes: list(&self.by_bytes),
        }
    }
}

/// What a session of HOTKEYS found, on one shard or on several.
pub(crate) struct HotKeysReport {
    pub start: HotKeysStart,
    pub is_running: bool,
    pub duration_ms: u64,
    pub costs: [Cost; 3],
    /// Of the calls that were picked.
    pub total_bytes: u64,
    pub by_time: Vec<TopKey>,
    pub by_bytes: Vec<TopKey>,
}

impl HotKeysReport {
    /// Adds another shard's.
    pub(crate) fn absorb(&mut self, other: Self) {
        for (cost, more) in self.costs.iter_mut().zip(other.costs) {
            cost.add(more);
        }
        self.total_bytes = self.total_bytes.saturating_add(other.total_bytes);
        // A key that moved, or that a command of several shards used, is on more than one.
        merge(&mut self.by_time, other.by_time);
        merge(&mut self.by_bytes, other.by_bytes);
    }
}

fn merge(keys: &mut Vec<TopKey>, more: Vec<TopKey>) {
    keys.extend(more);
    keys.sort_by(|one, other| one.name.cmp(&other.name));
    keys.dedup_by(|key, kept| {
        let is_same = key.name == kept.name;
        if is_same {
            kept.sum = kept.sum.saturating_add(key.sum);
        }
        is_same
    });
    keys.sort_by(|one, other| other.sum.cmp(&one.sum).then_with(|| one.name.cmp(&other.name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(uses: &mut KeyUses, now_ms: u64, name: &[u8]) {
        if uses.is_due(1) {
            uses.note(now_ms, (DatabaseId(0), name, u64::from(name[0])), 1);
        }
    }

    fn session(ratio: u32, slots: Vec<u16>, duration_ms: u64) -> HotKeysSession {
        let request = HotKeysRequest {
            cpu: true,
            net: true,
            count: 2,
            duration_ms,
            sample_ratio: ratio,
            slots,
        };
        let request = Arc::new(request);
        HotKeysSession::new(HotKeysStart { request, now_ms: 1000, cpu_s: (0.0, 0.0), seed: 7 })
    }

    #[test]
    fn uses_are_estimated_and_fade() {
        let mut uses = HotKeys::new(0).uses;
        // One use a millisecond: the half of one key, the rest of ten others.
        for ms in 0..300_000_u64 {
            let name = if ms % 2 == 0 { b'h' } else { b'0' + (ms / 2 % 10) as u8 };
            note(&mut uses, ms, &[name]);
        }
        let hottest = uses.hottest(300_000, 3);
        assert_eq!((hottest.len(), &hottest[0].name[..]), (3, &b"h"[..]));
        assert!((hottest[0].uses_per_s - 500.0).abs() < 25.0, "{hottest:?}");
        assert!((hottest[0].share - 0.5).abs() < 0.05, "{hottest:?}");
        assert!((hottest[1].share - 0.05).abs() < 0.02, "{hottest:?}");
        // Another key takes over; the first is forgotten by and by.
        (300_000..600_000).for_each(|ms| note(&mut uses, ms, b"n"));
        let hottest = uses.hottest(600_000, 3);
        assert_eq!((hottest.len(), &hottest[0].name[..]), (1, &b"n"[..]));
        assert!((hottest[0].uses_per_s - 1000.0).abs() < 50.0, "{hottest:?}");
        assert_eq!(uses.hottest(u64::MAX, 3), []);
    }

    #[test]
    fn names_are_shown_on_one_line() {
        assert_eq!(shown_name(b"user:1"), "user:1");
        assert_eq!(shown_name(b"a\r\n\xffb\"c"), "a\\r\\n\\xffb\\\"c");
        let long = shown_name(&[b'x'; 1000]);
        assert!(long.len() == 131 && long.ends_with("x..."));
    }

    #[test]
    fn no_key_is_hot_where_all_are_alike() {
        let mut uses = HotKeys::new(0).uses;
        for number in 0..2_000_000_u64 {
            if uses.is_due(1) {
                let hash = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                uses.note(number / 100, (DatabaseId(0), &number.to_be_bytes(), hash), 1);
            }
        }
        assert_eq!(uses.hottest(20_000, 10), []);
    }

    #[test]
    fn a_session_divides_what_a_call_cost() {
        let mut session = session(1, Vec::new(), 0);
        let keys: [(&[u8], u64, SlotId); 3] =
            [(b"a", 1, SlotId(1)), (b"b", 2, SlotId(2)), (b"c", 3, SlotId(3))];
        session.note(&keys, Cost { ns: 100, bytes: 2 });
        session.note(&keys[..1], Cost { ns: 10, bytes: 5 });
        session.note(&[], Cost { ns: 1, bytes: 1 });
        let report = session.report(1500);
        assert!(report.is_running && report.duration_ms == 500);
        assert_eq!(report.costs[0], Cost { ns: 110, bytes: 7 });
        assert_eq!(report.by_time.iter().map(|key| key.sum).sum::<u64>(), 110);
        assert_eq!(report.by_bytes.iter().map(|key| key.sum).sum::<u64>(), report.total_bytes);
        assert_eq!(report.by_time[0].name, b"a");
        assert_eq!(report.total_bytes, 7);
    }

    #[test]
    fn a_session_picks_calls_and_slots_and_ends() {
        let mut session = session(10, vec![5], 2000);
        for _ in 0..10_000 {
            session.note(&[(b"in", 1, SlotId(5))], Cost { ns: 1, bytes: 2 });
            session.note(&[(b"out", 2, SlotId(6))], Cost { ns: 1, bytes: 2 });
        }
        let report = session.report(1001);
        assert_eq!(report.costs[0], Cost { ns: 20_000, bytes: 40_000 });
        assert_eq!(report.costs[1], Cost { ns: 10_000, bytes: 20_000 });
        assert!((800..1200).contains(&report.costs[2].ns), "{:?}", report.costs);
        assert_eq!(report.by_time.len(), 1);
        assert!(session.is_running(2999) && !session.is_running(3000));
        session.stop(9000);
        let report = session.report(10_000);
        assert_eq!((report.is_running, report.duration_ms), (false, 2000));
    }

    #[test]
    fn shards_are_one_list() {
        let key = |name: &[u8], sum| TopKey { database: DatabaseId(0), name: name.into(), sum };
        let mut keys = vec![key(b"a", 5), key(b"b", 3)];
        merge(&mut keys, vec![key(b"b", 4), key(b"c", 1)]);
        assert_eq!(keys, [key(b"b", 7), key(b"a", 5), key(b"c", 1)]);
    }
}
