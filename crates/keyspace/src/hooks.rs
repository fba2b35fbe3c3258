//! Hooks: everything that is notified of changes, before and after them.
//!
//! ```text
//! commit ──► before: watches of what is flushed or swapped · the snapshot · observers (undo)
//!        ──► the change, with its books and the expiry wheel
//!        ──► after: watches · ready keys · records for their readers · events · observers
//! ```
//!
//! Invariant: a bit of `armed` is set for each kind of hook that is in use, so a commit tests one word where
//! there is none.
//!
//! Not here: the change itself (`commit`), how one subscribes (`subscribe`).

use basalt_structures::{Entry, KeyHasher, Kind};

use crate::collections::{StreamChange, stream_of};
use crate::commit::database::Databases;
use crate::effect::Effect;
use crate::events::{EventQueue, Events, Kinds};
use crate::key::Key;
use crate::origin::{Origin, TxnTag};
use crate::ready_keys::ReadyKeys;
use crate::record::Record;
use crate::record_log::RecordLog;
use crate::slot::SlotId;
use crate::snapshot::Snapshot;
use crate::tracking::Tracking;
use crate::watch::{AfterSwap, Watches};
use crate::{Cause, DatabaseId};

/// A change of a shard's data, as hooks see it.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// One key changes; expiry is an effect like others.
    Key {
        database: DatabaseId,
        key: Key<'a>,
        effect: Effect<'a>,
        events: Events,
        /// Whether clients can see it. If not, it is recorded only.
        is_signalled: bool,
    },
    /// A database is emptied.
    Flush { database: DatabaseId },
    /// Two databases, which are not the same, are swapped.
    Swap { first: DatabaseId, second: DatabaseId },
    /// All keys of these slots leave, in all databases.
    SlotsOut { slots: &'a [SlotId] },
    /// The keys of these slots come, in all databases.
    SlotsIn { slots: &'a [SlotId] },
}

/// A hook of one's own. What is about to change, or has changed, can be read: `Databases::stored` and its
/// neighbours return what is there even where it is past its expiry.
pub trait Observer: Send {
    fn before(&mut self, data: &Databases, change: &Change<'_>, origin: &Origin);
    fn after(&mut self, data: &Databases, change: &Change<'_>, origin: &Origin);
}

/// An observer that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObserverId(u64);

/// What a changed key holds before or after the change, where watches or events ask.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    kind: Option<Kind>,
    makes_consumer: bool,
}

const WATCHES: u8 = 1;
const READY: u8 = 1 << 1;
const READERS: u8 = 1 << 2;
const EVENTS: u8 = 1 << 3;
const OBSERVERS: u8 = 1 << 4;
const TRACKING: u8 = 1 << 5;
const SNAPSHOT: u8 = 1 << 6;

#[derive(Default)]
pub(crate) struct Hooks {
    armed: u8,
    pub(crate) watches: Watches,
    pub(crate) ready: ReadyKeys,
    pub(crate) log: RecordLog,
    pub(crate) events: EventQueue,
    pub(crate) tracking: Tracking,
    /// For whom data changes.
    pub(crate) origin: Origin,
    /// The snapshot that is being written.
    pub(crate) snapshot: Option<Box<Snapshot>>,
    observers: Vec<(ObserverId, Box<dyn Observer>)>,
    next_observer: u64,
}

impl Hooks {
    /// Whether anything is notified of changes.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed != 0
    }

    /// To be called after something was subscribed or unsubscribed.
    pub(crate) fn rearm(&mut self) {
        let bits = [
            (WATCHES, !self.watches.is_empty()),
            (READY, self.ready.is_wanted()),
            (READERS, self.log.has_readers()),
            (EVENTS, self.events.is_wanted()),
            (OBSERVERS, !self.observers.is_empty()),
            (TRACKING, self.tracking.is_wanted()),
            (SNAPSHOT, self.snapshot.is_some()),
        ];
        self.armed = bits.iter().filter(|(_, is_used)| *is_used).map(|(bit, _)| bit).sum();
    }

    /// Whether anything reads what a change makes of a key, and not only which key changes.
    pub(crate) fn reads_effects(&self) -> bool {
        self.has(READERS) || self.has(OBSERVERS)
    }

    /// Whether any of them looks at `origin`.
    #[inline]
    pub(crate) fn want_origin(&self) -> bool {
        self.has(READERS | OBSERVERS | TRACKING)
    }

    /// Records that a transaction is over here.
    pub(crate) fn end_part(&mut self, transaction: TxnTag) {
        if self.has(READERS) {
            self.log.end_part(transaction);
        }
    }

    #[inline]
    fn has(&self, bit: u8) -> bool {
        self.armed & bit != 0
    }

    pub(crate) fn add_observer(&mut self, observer: Box<dyn Observer>) -> ObserverId {
        let id = ObserverId(self.next_observer);
        self.next_observer += 1;
        self.observers.push((id, observer));
        self.rearm();
        id
    }

    pub(crate) fn remove_observer(&mut self, id: ObserverId) -> Option<Box<dyn Observer>> {
        let at = self.observers.iter().position(|(own, _)| *own == id)?;
        let (_, observer) = self.observers.remove(at);
        self.rearm();
        Some(observer)
    }

    /// A change is about to happen. Returns what [`Hooks::after`] wants to know of the key.
    pub(crate) fn before(
        &mut self,
        data: &Databases,
        (hasher, now_ms): (&KeyHasher, u64),
        change: &Change<'_>,
    ) -> Seen {
        if self.has(WATCHES) {
            self.break_watches_of_databases(data, (hasher, now_ms), change);
        }
        if let Some(snapshot) = &mut self.snapshot {
            match *change {
                Change::Key { database, ref key, .. } => snapshot.before_key(data, database, key),
                Change::Flush { .. } => {}
                Change::Swap { first, second } => snapshot.swapped(first, second),
                Change::SlotsOut { slots } => snapshot.before_slots_out(data, slots),
                Change::SlotsIn { slots } => snapshot.before_slots_in(slots),
            }
        }
        for (_, observer) in &mut self.observers {
            observer.before(data, change, &self.origin);
        }
        self.look(data, change)
    }

    /// A change has happened.
    pub(crate) fn after(&mut self, data: &Databases, change: &Change<'_>, seen: Seen) {
        if self.has(READERS) {
            self.write_records(data, change);
        }
        match *change {
            Change::Key { is_signalled: false, .. } => {}
            Change::Key { database, key, effect, events, .. } => {
                let after = self.look(data, change).kind;
                let is_new = seen.kind.is_none() && after.is_some();
                let is_change = is_new || changes_what_is_read(&effect);
                if self.has(WATCHES) && is_change {
                    let has_expired = matches!(effect, Effect::Remove { cause: Cause::Expired });
                    self.watches.break_those_of(database, key.bytes, has_expired);
                }
                if self.has(READY) {
                    self.ready.note_effect(key.hash, &effect);
                }
                if self.has(TRACKING) && is_change {
                    // What expires or is evicted is nobody's change, whoever met it.
                    let is_unasked =
                        matches!(effect, Effect::Remove { cause: Cause::Expired | Cause::Evicted });
                    let origin = if is_unasked { None } else { self.origin.client };
                    self.tracking.changed(&key, origin);
                }
                if self.has(EVENTS) {
                    let makes_consumer = seen.makes_consumer;
                    let kinds = Kinds { before: seen.kind, after, makes_consumer };
                    self.events.raise_all((database, key.bytes), &effect, events, kinds);
                }
            }
            Change::Flush { .. } => {
                self.ready.note_all();
                if self.has(TRACKING) {
                    self.tracking.flushed();
                }
            }
            Change::Swap { .. } => self.ready.note_all(),
            Change::SlotsOut { .. } | Change::SlotsIn { .. } => {}
        }
        for (_, observer) in &mut self.observers {
            observer.after(data, change, &self.origin);
        }
    }

    /// An empty database was to be emptied: who keeps copies of what it does not hold drops them all the same.
    pub(crate) fn flushed_nothing(&mut self) {
        if self.has(TRACKING) {
            self.tracking.flushed();
        }
    }

    /// What watches and events want to know of a changed key.
    fn look(&self, data: &Databases, change: &Change<'_>) -> Seen {
        let Change::Key { database, key, effect, .. } = change else { return Seen::default() };
        if self.armed & (WATCHES | EVENTS) == 0 {
            return Seen::default();
        }
        let Some(entry) = data.stored(*database, key) else { return Seen::default() };
        let makes_consumer =
            matches!(effect, Effect::Stream(change) if makes_consumer(&entry, change));
        Seen { kind: Some(entry.kind()), makes_consumer }
    }

    /// Of a flushed or swapped database, those watches are broken whose keys are there, before or afterwards. As in
    /// Redis (`touchAllWatchedKeysInDb`, `multi.c`) a key that is past its expiry counts as absent, unless it expired
    /// while it was watched.
    fn break_watches_of_databases(
        &mut self,
        data: &Databases,
        (hasher, now_ms): (&KeyHasher, u64),
        change: &Change<'_>,
    ) {
        let is_in = |place, key: &[u8]| data.stored(place, &Key::new(key, hasher)).is_some();
        let has_expired = |place, key: &[u8]| {
            let entry = data.stored(place, &Key::new(key, hasher));
            entry.is_some_and(|entry| entry.expire_at_ms().is_some_and(|at_ms| at_ms <= now_ms))
        };
        match *change {
            Change::Flush { database } => {
                let changes = |key: &[u8], was_expired: bool| AfterSwap {
                    breaks: !was_expired && is_in(database, key),
                    is_expired: false,
                };
                self.watches.break_where(database, &changes);
            }
            Change::Swap { first, second } => {
                for (from, to) in [(first, second), (second, first)] {
                    let changes = |key: &[u8], was_expired: bool| {
                        let was_there = !was_expired && is_in(from, key);
                        let is_expired = !was_there && has_expired(to, key);
                        AfterSwap { breaks: was_there || !is_expired && is_in(to, key), is_expired }
                    };
                    self.watches.break_where(from, &changes);
                }
            }
            Change::Key { .. } | Change::SlotsOut { .. } | Change::SlotsIn { .. } => {}
        }
    }

    fn write_records(&mut self, data: &Databases, change: &Change<'_>) {
        self.log.begin_part(self.origin.transaction);
        match *change {
            Change::Key { database, key, effect, .. } => {
                self.log.append(&Record::Key { database, key: key.bytes, effect });
                self.log.note_change(Some(key.hash));
            }
            Change::Flush { database } => {
                self.log.append(&Record::Flush { database });
                self.log.note_change(None);
            }
            Change::Swap { first, second } => {
                self.log.append(&Record::Swap { first, second });
                self.log.note_change(None);
            }
            Change::SlotsOut { slots } => {
                slots.iter().for_each(|&slot| self.log.append(&Record::SlotOut { slot }));
            }
            // The records of where the slots were are another shard's, so all that comes is written.
            Change::SlotsIn { slots } => {
                let mut bytes = Vec::new();
                for (database, slot) in
                    data.ids().flat_map(|id| slots.iter().map(move |s| (id, *s)))
                {
                    data.visit_slot(database, slot, &mut |entry| {
                        let effect = Effect::copy_of(entry, &mut bytes);
                        self.log.append(&Record::Key { database, key: entry.key(), effect });
                    });
                }
                self.log.note_change(None);
            }
        }
        if !self.log.has_readers() {
            self.rearm();
        }
    }
}

/// Whether a change of a stream makes a consumer.
fn makes_consumer(entry: &Entry, change: &StreamChange<'_>) -> bool {
    let (StreamChange::SeeConsumer { group, consumer, .. }
    | StreamChange::Assign { group, consumer, .. }) = change
    else {
        return false;
    };
    let group = stream_of(entry).and_then(|stream| stream.group(group));
    group.is_some_and(|group| group.number(consumer).is_none())
}

/// Whether a change of a key aborts the transaction of who watches it, and is news to who keeps a copy, as in Redis: of a
/// stream only what happens to its entries. (A key that is made does in any case.)
fn changes_what_is_read(effect: &Effect<'_>) -> bool {
    match effect {
        Effect::Stream(change) => matches!(
            change,
            StreamChange::Add { .. }
                | StreamChange::Delete { .. }
                | StreamChange::DropFirst { .. }
                | StreamChange::Become { .. }
        ),
        _ => true,
    }
}
