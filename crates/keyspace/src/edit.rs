//! Edit: one key, found and about to be changed; the only way for commands to change data.
//!
//! `Keyspace::edit` finds the key; `Edit::commit` takes an effect and commits it. An edit that is dropped
//! changes nothing.
//!
//! Not here: which effect a command has (`commands`), what a commit does (`commit`).

use basalt_structures::{EntryRef, Place};

use crate::effect::Effect;
use crate::events::{Events, Signal};
use crate::frequency::Uses;
use crate::key::Key;
use crate::{DatabaseId, Keyspace};

/// One key, found and about to be changed.
#[must_use = "an edit changes nothing before it is committed"]
pub struct Edit<'a> {
    keyspace: &'a mut Keyspace,
    database: DatabaseId,
    key: Key<'a>,
    place: Option<Place>,
    signal: Signal,
}

impl<'a> Edit<'a> {
    #[inline]
    pub(crate) fn new(
        keyspace: &'a mut Keyspace,
        database: DatabaseId,
        key: Key<'a>,
        place: Option<Place>,
    ) -> Self {
        Self { keyspace, database, key, place, signal: Signal::Default }
    }

    /// What the key holds now.
    #[inline]
    pub fn entry(&self) -> Option<EntryRef<'_>> {
        let database = self.keyspace.databases.get(self.database);
        self.place.map(|place| database.entry(self.key.slot, place))
    }

    /// Names the events of the change, where they are not the default of its effect.
    #[inline]
    pub fn as_event(mut self, events: Events) -> Self {
        self.signal = Signal::Events(events);
        self
    }

    /// The change keeps what clients see (a string in another encoding): it is recorded, but no watch, no blocked
    /// client and no event notices it.
    #[inline]
    pub fn unsignalled(mut self) -> Self {
        self.signal = Signal::Nothing;
        self
    }

    /// Makes the change, with all that follows from it. An effect that has nothing to change here (to remove,
    /// or to give another expiry) is none: nothing is recorded or notified.
    #[inline]
    pub fn commit(self, effect: Effect<'_>) {
        let Self { keyspace, database, key, place, signal } = self;
        let needs_entry =
            matches!(effect, Effect::Remove { .. } | Effect::ExpireAt { .. } | Effect::Persist);
        if needs_entry && place.is_none() {
            return;
        }
        keyspace.stats.changes += 1;
        if place.is_none() && keyspace.uses == Uses::Faded {
            keyspace.note_stored(database, &key);
        }
        keyspace.commit_key(database, &key, place, effect, signal);
    }
}

impl Keyspace {
    /// Opens the key for a change.
    #[inline]
    pub fn edit<'a>(&'a mut self, database: DatabaseId, key: &Key<'a>) -> Edit<'a> {
        let place = self.find_live(database, key);
        if let (true, Some(place)) = (self.uses != Uses::Last, place) {
            self.count_use(database, key, place);
        }
        Edit::new(self, database, *key, place)
    }

    /// As [`Keyspace::edit`], counted as a hit or a miss: for changes that also hand out what was there.
    #[inline]
    pub fn read_and_edit<'a>(&'a mut self, database: DatabaseId, key: &Key<'a>) -> Edit<'a> {
        let place = self.find_live(database, key);
        self.stats.count_look(place.is_some());
        if place.is_none() {
            self.note_miss(database, key);
        }
        if let (true, Some(place)) = (self.uses != Uses::Last, place) {
            self.count_use(database, key, place);
        }
        Edit::new(self, database, *key, place)
    }
}
