//! Intents: which transactions mean to read or write which keys of one shard, and whose turn it is.
//!
//! A transaction *visits* a shard with a scope: some of its keys, or everything. Its visit is *granted*
//! when no other granted visit conflicts with it, and none with a lower number waits. A visit that finds
//! itself behind a granted one with a higher number has that one's home *inquired*; a home that has not
//! decided yet gives the grant back.
//!
//! What runs here from start to end holds nothing, so it needs no visit as long as it is [`Intents::admits`]
//! what it touches.
//!
//! Pure: no shard, no message. What others must hear comes out of [`Intents::next_event`].

mod holding;
#[cfg(test)]
mod model;
mod number;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use basalt_keyspace::{MapByHash, ShardId};
use smallvec::SmallVec;

pub(crate) use holding::Holding;
pub(crate) use number::{Number, Numbers};

/// What is meant to be done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Read,
    Write,
}

/// A key by its hash, whichever database it is in. Two keys of one hash are taken for one: they wait for
/// each other, which harms nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Intent {
    pub hash: u64,
    pub mode: Mode,
}

/// What a transaction means to touch on a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Each key once.
    Keys(Vec<Intent>),
    Everything(Mode),
}

/// What a transaction's home, or whoever waits here, must hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Granted(Number),
    /// One with a lower number waits for it: its home is asked to give the grant back.
    Inquire(Number),
}

/// All intents of one shard.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(crate) struct Intents {
    visits: BTreeMap<Number, Visit>,
    /// The visits that mean to touch a key, by number: mostly one, which needs no memory of its own. Only keys that
    /// somebody means to touch are here.
    keys: MapByHash<SmallVec<[Claim; 1]>>,
    everything: SmallVec<[Claim; 1]>,
    granted_count: usize,
    events: VecDeque<Event>,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Visit {
    scope: Scope,
    /// The strongest of its modes.
    mode: Mode,
    is_granted: bool,
    is_inquired: bool,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    number: Number,
    mode: Mode,
    is_granted: bool,
}

impl Scope {
    /// Some keys, each with the strongest mode in which it is named.
    pub(crate) fn keys(mut intents: Vec<Intent>) -> Self {
        intents.sort_unstable_by_key(|intent| (intent.hash, std::cmp::Reverse(intent.mode)));
        intents.dedup_by_key(|intent| intent.hash);
        Self::Keys(intents)
    }

    pub(crate) fn is_everything(&self) -> bool {
        matches!(self, Self::Everything(_))
    }

    /// For the log: how much it is, and the hashes of the first keys.
    pub(crate) fn in_words(&self, hashes_max: usize) -> String {
        let Self::Keys(intents) = self else { return "everything".into() };
        let noun = if intents.len() == 1 { "key" } else { "keys" };
        let mark = |mode| if mode == Mode::Write { "w" } else { "r" };
        let hashes = intents.iter().take(hashes_max);
        let hashes = hashes.map(|intent| format!("{:016x}:{}", intent.hash, mark(intent.mode)));
        let mut hashes: Vec<String> = hashes.collect();
        if intents.len() > hashes_max {
            hashes.push("…".into());
        }
        format!("{} {noun} ({})", intents.len(), hashes.join(" "))
    }

    /// The strongest of its modes.
    pub(crate) fn mode(&self) -> Mode {
        match self {
            Self::Keys(intents) => {
                intents.iter().map(|intent| intent.mode).max().unwrap_or(Mode::Read)
            }
            Self::Everything(mode) => *mode,
        }
    }
}

#[cfg(debug_assertions)]
thread_local! {
    static IS_BROKEN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Lets all conflicts pass on this thread from now on, so that a test can show that it would notice. A release build
/// has no such switch.
#[cfg(debug_assertions)]
pub fn break_isolation() {
    IS_BROKEN.set(true);
}

/// Whether two can't have the same key at the same time.
fn conflict(one: Mode, other: Mode) -> bool {
    #[cfg(debug_assertions)]
    if IS_BROKEN.get() {
        return false;
    }
    one == Mode::Write || other == Mode::Write
}

impl Claim {
    /// Whether it goes before a waiting one.
    fn precedes(&self, number: Number, mode: Mode) -> bool {
        self.number != number
            && (self.is_granted || self.number < number)
            && conflict(self.mode, mode)
    }
}

impl Intents {
    /// Whether nothing is granted, so that whatever runs from start to end meets nobody.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.granted_count == 0
    }

    /// Whether there is no visit, granted or waiting.
    pub(crate) fn is_empty(&self) -> bool {
        self.visits.is_empty() && self.keys.is_empty() && self.everything.is_empty()
    }

    /// Whether what runs from start to end may touch a key now: nothing granted is in its way, and nobody who stood
    /// in line for it waits.
    pub(crate) fn admits_key(&self, intent: Intent) -> bool {
        let is_free = |claims: &[Claim]| {
            !claims.iter().any(|claim| {
                (claim.is_granted || claim.number.is_in_line()) && conflict(claim.mode, intent.mode)
            })
        };
        is_free(&self.everything)
            && self.keys.get(&intent.hash).is_none_or(|claims| is_free(claims))
    }

    /// Whether somebody who holds everything under this number, or is about to, may touch a key that no other holds.
    pub(crate) fn admits_key_to(&self, number: Number, intent: Intent) -> bool {
        let is_free = |claims: &[Claim]| {
            !claims.iter().any(|claim| {
                claim.is_granted && claim.number != number && conflict(claim.mode, intent.mode)
            })
        };
        is_free(&self.everything)
            && self.keys.get(&intent.hash).is_none_or(|claims| is_free(claims))
    }

    /// Has somebody hold everything who touched nothing that others hold, and never will: who holds something keeps it,
    /// and all others wait.
    pub(crate) fn hold_all(&mut self, number: Number) {
        let mode = Mode::Write;
        insert(&mut self.everything, Claim { number, mode, is_granted: true });
        let scope = Scope::Everything(mode);
        let visit = Visit { scope, mode, is_granted: true, is_inquired: false };
        let other = self.visits.insert(number, visit);
        assert!(other.is_none(), "a script holds a shard once");
        self.granted_count += 1;
    }

    /// Whether what runs from start to end may touch all of a scope now.
    pub(crate) fn admits(&self, scope: &Scope) -> bool {
        if self.is_idle() {
            return true;
        }
        match scope {
            Scope::Keys(intents) => intents.iter().all(|&intent| self.admits_key(intent)),
            Scope::Everything(mode) => {
                !self.visits.values().any(|visit| visit.is_granted && conflict(visit.mode, *mode))
            }
        }
    }

    /// Visits that hold what they came for.
    pub(crate) fn granted_count(&self) -> usize {
        self.granted_count
    }

    /// Visits that wait for their turn.
    pub(crate) fn waiting_count(&self) -> usize {
        self.visits.len() - self.granted_count
    }

    /// The lowest number among those who hold or wait.
    pub(crate) fn oldest(&self) -> Option<Number> {
        self.visits.first_key_value().map(|(&number, _)| number)
    }

    /// Whether what runs from start to end may go before or between those who are here, as one with this
    /// number: nothing that is granted is in its way, and none with a lower number waits.
    pub(crate) fn admits_as(&self, number: Number, intents: &[Intent]) -> bool {
        if self.visits.is_empty() {
            return true;
        }
        let Some(mode) = intents.iter().map(|intent| intent.mode).max() else { return true };
        let precedes = |claims: &[Claim], mode| claims.iter().any(|c| c.precedes(number, mode));
        !precedes(&self.everything, mode)
            && intents.iter().all(|intent| {
                let claims = self.keys.get(&intent.hash);
                claims.is_none_or(|claims| !precedes(claims, intent.mode))
            })
    }

    /// As [`Intents::admits_key`], for a session with so many transactions of a pipeline under way: none of
    /// these, nor any other from its `home`, may wait for the key.
    #[inline]
    pub(crate) fn admits_key_behind(&self, pipelined: u32, home: ShardId, intent: Intent) -> bool {
        if pipelined == 0 {
            return self.is_idle() || self.admits_key(intent);
        }
        let is_free = |claims: &[Claim]| {
            !claims.iter().any(|claim| {
                let precedes =
                    claim.is_granted || claim.number.is_in_line() || claim.number.home == home;
                precedes && conflict(claim.mode, intent.mode)
            })
        };
        is_free(&self.everything)
            && self.keys.get(&intent.hash).is_none_or(|claims| is_free(claims))
    }

    /// Begins a visit. Returns whether it is granted at once.
    pub(crate) fn schedule(&mut self, number: Number, scope: Scope) -> bool {
        let mode = scope.mode();
        // As if it were granted, which it nearly always is.
        let claim = |mode| Claim { number, mode, is_granted: true };
        let precedes = |claims: &[Claim], mode| claims.iter().any(|c| c.precedes(number, mode));
        let mut is_free = !precedes(&self.everything, mode);
        match &scope {
            Scope::Keys(intents) => {
                for intent in intents {
                    let claims = self.keys.entry(intent.hash).or_default();
                    is_free = is_free && !precedes(claims, intent.mode);
                    insert(claims, claim(intent.mode));
                }
            }
            Scope::Everything(_) => {
                is_free = is_free
                    && !self.visits.iter().any(|(&other, there)| {
                        (there.is_granted || other < number) && conflict(there.mode, mode)
                    });
                insert(&mut self.everything, claim(mode));
            }
        }
        let visit = Visit { scope, mode, is_granted: true, is_inquired: false };
        let other = self.visits.insert(number, visit);
        assert!(other.is_none(), "a transaction visits a shard once");
        self.granted_count += 1;
        if is_free {
            self.events.push_back(Event::Granted(number));
        } else {
            self.set_granted(number, false);
            self.inquire_for(number);
        }
        is_free
    }

    /// Gives a visit another scope; no other visit comes between. Returns whether it is granted that at once.
    pub(crate) fn replace(&mut self, number: Number, scope: Scope) -> bool {
        let before = self.take_out(number);
        let is_granted = self.schedule(number, scope);
        if let Some((before, _)) = before {
            self.grant_waiting(&before);
        }
        is_granted
    }

    /// What a visit touches; None where it is over.
    pub(crate) fn scope(&self, number: Number) -> Option<&Scope> {
        self.visits.get(&number).map(|visit| &visit.scope)
    }

    /// Ends a visit, granted or not; gives its scope. Not known: it was ended before.
    pub(crate) fn release(&mut self, number: Number) -> Option<Scope> {
        let (scope, is_alone) = self.take_out(number)?;
        if !is_alone {
            self.grant_waiting(&scope);
        }
        Some(scope)
    }

    /// Forgets a visit; returns its scope, and whether no other visit means to touch anything of that.
    fn take_out(&mut self, number: Number) -> Option<(Scope, bool)> {
        let visit = self.visits.remove(&number)?;
        self.granted_count -= usize::from(visit.is_granted);
        let mut is_alone = self.everything.is_empty();
        match &visit.scope {
            Scope::Keys(intents) => {
                for intent in intents {
                    let Entry::Occupied(mut claims) = self.keys.entry(intent.hash) else {
                        unreachable!("a visit has its claims");
                    };
                    claims.get_mut().retain(|claim| claim.number != number);
                    if claims.get().is_empty() {
                        claims.remove();
                    } else {
                        is_alone = false;
                    }
                }
            }
            Scope::Everything(_) => {
                self.everything.retain(|claim| claim.number != number);
                is_alone = false;
            }
        }
        Some((visit.scope, is_alone))
    }

    /// A home gives a grant back, and waits again. Returns whether it had one.
    pub(crate) fn give_back(&mut self, number: Number) -> bool {
        let Some(visit) = self.visits.get_mut(&number) else { return false };
        if !visit.is_granted {
            return false;
        }
        visit.is_inquired = false;
        let scope = visit.scope.clone();
        self.set_granted(number, false);
        self.grant_waiting(&scope);
        true
    }

    pub(crate) fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn may_be_granted(&self, number: Number) -> bool {
        let visit = &self.visits[&number];
        match &visit.scope {
            Scope::Keys(intents) => {
                let mut claims = intents
                    .iter()
                    .flat_map(|intent| self.keys[&intent.hash].iter().map(|c| (c, intent.mode)))
                    .chain(self.everything.iter().map(|claim| (claim, visit.mode)));
                !claims.any(|(claim, mode)| claim.precedes(number, mode))
            }
            Scope::Everything(_) => !self.visits.iter().any(|(&other, there)| {
                other != number
                    && (there.is_granted || other < number)
                    && conflict(there.mode, visit.mode)
            }),
        }
    }

    /// Has the homes of all inquired that are granted, go after this one, and are in its way.
    fn inquire_for(&mut self, number: Number) {
        let visit = &self.visits[&number];
        let mut later: Vec<Number> = match &visit.scope {
            Scope::Keys(intents) => intents
                .iter()
                .flat_map(|intent| self.keys[&intent.hash].iter().map(|c| (c, intent.mode)))
                .chain(self.everything.iter().map(|claim| (claim, visit.mode)))
                .filter(|(claim, mode)| claim.is_granted && conflict(claim.mode, *mode))
                .map(|(claim, _)| claim.number)
                .collect(),
            Scope::Everything(_) => self
                .visits
                .iter()
                .filter(|(_, there)| there.is_granted && conflict(there.mode, visit.mode))
                .map(|(&other, _)| other)
                .collect(),
        };
        later.retain(|&other| other > number);
        for other in later {
            let visit = self.visits.get_mut(&other).expect("a claim belongs to a visit");
            if !std::mem::replace(&mut visit.is_inquired, true) {
                self.events.push_back(Event::Inquire(other));
            }
        }
    }

    fn set_granted(&mut self, number: Number, is_granted: bool) {
        let visit = self.visits.get_mut(&number).expect("because it was just seen");
        visit.is_granted = is_granted;
        let mark = |claims: &mut [Claim]| {
            for claim in claims.iter_mut().filter(|claim| claim.number == number) {
                claim.is_granted = is_granted;
            }
        };
        match &visit.scope {
            Scope::Keys(intents) => {
                for intent in intents {
                    mark(self.keys.get_mut(&intent.hash).expect("a visit has its claims"));
                }
            }
            Scope::Everything(_) => mark(&mut self.everything),
        }
        if is_granted {
            self.granted_count += 1;
            self.events.push_back(Event::Granted(number));
        } else {
            self.granted_count -= 1;
        }
    }

    /// Grants what waits and may have its turn, now that one of this scope went or stepped back.
    fn grant_waiting(&mut self, scope: &Scope) {
        let waits = |claim: &&Claim| !claim.is_granted;
        let mut waiting: Vec<Number> = match scope {
            Scope::Keys(intents) => intents
                .iter()
                .filter_map(|intent| self.keys.get(&intent.hash))
                .flatten()
                .chain(&self.everything)
                .filter(waits)
                .map(|claim| claim.number)
                .collect(),
            Scope::Everything(_) => self
                .visits
                .iter()
                .filter(|(_, visit)| !visit.is_granted)
                .map(|(&number, _)| number)
                .collect(),
        };
        waiting.sort_unstable();
        waiting.dedup();
        for number in waiting {
            if self.may_be_granted(number) {
                self.set_granted(number, true);
            }
        }
    }

    /// All that makes states differ, for tests.
    #[cfg(test)]
    pub(crate) fn fingerprint(&self) -> String {
        format!("{:?} {:?}", self.visits, self.events)
    }

    /// Compares what is kept twice; for tests.
    #[cfg(test)]
    fn verify(&self) {
        assert_eq!(self.granted_count, self.visits.values().filter(|v| v.is_granted).count());
        let claims = self.keys.values().flatten().chain(&self.everything);
        for claim in claims {
            assert_eq!(claim.is_granted, self.visits[&claim.number].is_granted);
        }
        assert!(self.keys.values().all(|claims| claims.is_sorted_by_key(|claim| claim.number)));
        assert!(self.keys.values().all(|claims| !claims.is_empty()));
    }
}

/// Puts a claim at its place by number.
fn insert(claims: &mut SmallVec<[Claim; 1]>, claim: Claim) {
    let at = claims.partition_point(|other| other.number < claim.number);
    claims.insert(at, claim);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(at_us: u64) -> Number {
        Number::of(at_us, 0)
    }

    fn scope(keys: &[(u64, Mode)]) -> Scope {
        Scope::keys(keys.iter().map(|&(hash, mode)| Intent { hash, mode }).collect())
    }

    fn events(intents: &mut Intents) -> Vec<Event> {
        intents.verify();
        std::iter::from_fn(|| intents.next_event()).collect()
    }

    #[test]
    fn disjoint_keys_and_common_reads_are_granted_at_once() {
        let mut intents = Intents::default();
        intents.schedule(number(2), scope(&[(1, Mode::Write), (2, Mode::Read)]));
        intents.schedule(number(1), scope(&[(3, Mode::Write), (2, Mode::Read)]));
        assert_eq!(events(&mut intents), [2, 1].map(|at| Event::Granted(number(at))));
        assert!(intents.admits_key(Intent { hash: 2, mode: Mode::Read }));
        assert!(!intents.admits_key(Intent { hash: 2, mode: Mode::Write }));
        assert!(!intents.admits_key(Intent { hash: 1, mode: Mode::Read }));
        assert!(!intents.admits(&Scope::Everything(Mode::Read)));
        intents.release(number(2));
        intents.release(number(1));
        assert!(intents.is_idle() && intents.keys.is_empty());
    }

    #[test]
    fn who_waits_goes_by_number() {
        let mut intents = Intents::default();
        for at in [1, 5, 3, 4] {
            intents.schedule(number(at), scope(&[(7, Mode::Write)]));
        }
        assert_eq!(events(&mut intents), [Event::Granted(number(1))]);
        for (done, next) in [(1, 3), (3, 4), (4, 5)] {
            intents.release(number(done));
            assert_eq!(events(&mut intents), [Event::Granted(number(next))]);
        }
    }

    #[test]
    fn a_later_one_in_the_way_is_inquired_once_and_steps_back() {
        let mut intents = Intents::default();
        intents.schedule(number(9), scope(&[(7, Mode::Write)]));
        intents.schedule(number(2), scope(&[(7, Mode::Read)]));
        intents.schedule(number(1), scope(&[(7, Mode::Read)]));
        let told = events(&mut intents);
        assert_eq!(told, [Event::Granted(number(9)), Event::Inquire(number(9))]);
        intents.give_back(number(9));
        assert_eq!(events(&mut intents), [1, 2].map(|at| Event::Granted(number(at))));
        intents.release(number(2));
        assert_eq!(events(&mut intents), []);
        intents.release(number(1));
        assert_eq!(events(&mut intents), [Event::Granted(number(9))]);
    }

    #[test]
    fn everything_waits_for_all_before_it_and_holds_up_all_behind_it() {
        let mut intents = Intents::default();
        intents.schedule(number(1), scope(&[(1, Mode::Write)]));
        intents.schedule(number(2), Scope::Everything(Mode::Read));
        intents.schedule(number(3), scope(&[(2, Mode::Write)]));
        intents.schedule(number(4), scope(&[(2, Mode::Read)]));
        assert_eq!(events(&mut intents), [Event::Granted(number(1))]);
        intents.release(number(1));
        assert_eq!(events(&mut intents), [Event::Granted(number(2))]);
        intents.release(number(2));
        assert_eq!(events(&mut intents), [Event::Granted(number(3))]);
        intents.release(number(4));
        intents.release(number(3));
        assert!(intents.is_idle() && intents.visits.is_empty());
    }
}
