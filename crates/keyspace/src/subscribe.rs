//! Subscribe: watches, ready keys, readers of records, events, observers and snapshots; see `hooks`.

use crate::events::{EventClasses, RaisedEvents};
use crate::hooks::{Observer, ObserverId};
use crate::key::Key;
use crate::origin::{ClientId, Origin, TxnTag};
use crate::record_log::{Lagged, ReaderId};
use crate::snapshot::{Snapshot, SnapshotSink};
use crate::tracking::Invalidated;
use crate::{DatabaseId, Keyspace};

/// WATCH.
impl Keyspace {
    /// Whether any key is watched, for tests.
    #[doc(hidden)]
    pub fn is_watched(&self) -> bool {
        !self.hooks.watches.is_empty()
    }

    /// From now on changes of the key, and its expiry, break the watch of `watcher`.
    pub fn watch(&mut self, watcher: u64, database: DatabaseId, key: &Key<'_>) {
        // A key that is expired already is removed first: that is no change for the watcher.
        let is_expired = self.expire_if_due(database, key);
        self.hooks.watches.add(watcher, database, key.bytes, is_expired);
        self.hooks.rearm();
    }

    /// Forgets all that `watcher` watches.
    pub fn unwatch(&mut self, watcher: u64) {
        self.hooks.watches.remove(watcher);
        self.hooks.rearm();
    }

    /// Whether a key of `watcher` changed, or expired.
    pub fn is_watch_broken(&mut self, watcher: u64) -> bool {
        let mut is_expired = false;
        for (database, key) in self.hooks.watches.live_keys_of(watcher) {
            let key = self.key(&key);
            is_expired |= self.expire_if_due(database, &key);
        }
        is_expired || self.hooks.watches.is_broken(watcher)
    }

    /// Removes the key if it is past its expiry. Returns true where it is and stays, because nothing may be removed
    /// now.
    fn expire_if_due(&mut self, database: DatabaseId, key: &Key<'_>) -> bool {
        if self.reads_remove {
            self.find_live(database, key);
            return false;
        }
        let database = self.databases.get(database);
        database.find(key).is_some_and(|place| !self.is_live(&database.entry(key.slot, place)))
    }
}

/// Keys that blocked clients wait for.
impl Keyspace {
    /// From now on keys of this hash are ready after a change, until [`Keyspace::unwatch_ready`].
    pub fn watch_ready(&mut self, hash: u64) {
        self.hooks.ready.watch(hash);
        self.hooks.rearm();
    }

    pub fn unwatch_ready(&mut self, hash: u64) {
        self.hooks.ready.unwatch(hash);
        self.hooks.rearm();
    }

    /// As if the key of this hash were changed.
    pub fn note_ready(&mut self, hash: u64) {
        self.hooks.ready.note(hash);
    }

    /// Whether a key that a client waits for was changed.
    #[inline]
    pub fn has_ready(&self) -> bool {
        !self.hooks.ready.is_empty()
    }

    /// The hash of the next such key.
    pub fn next_ready(&mut self) -> Option<u64> {
        self.hooks.ready.next()
    }
}

/// Records.
impl Keyspace {
    /// Adds a reader of all records from now on.
    pub fn add_reader(&mut self) -> ReaderId {
        let id = self.hooks.log.add_reader(false);
        self.hooks.rearm();
        id
    }

    /// As [`Keyspace::add_reader`], for one that never loses its place: it must bound what gathers itself.
    pub fn add_kept_reader(&mut self) -> ReaderId {
        let id = self.hooks.log.add_reader(true);
        self.hooks.rearm();
        id
    }

    /// Whether [`Keyspace::changed_at`] is known from now on.
    pub fn track_changes(&mut self, is_tracked: bool) {
        self.hooks.log.track_changes(is_tracked);
    }

    /// Up to which position of the records a key with this hash changed: that, or a later one.
    #[inline]
    pub fn changed_at(&self, hash: u64) -> u64 {
        self.hooks.log.changed_at(hash)
    }

    /// The position behind the last record.
    pub fn records_end(&self) -> u64 {
        self.hooks.log.end()
    }

    pub fn remove_reader(&mut self, reader: ReaderId) {
        self.hooks.log.remove_reader(reader);
        self.hooks.rearm();
    }

    /// What a reader has not read yet, as bytes of [`Record::encode`](crate::Record::encode).
    ///
    /// # Errors
    /// [`Lagged`] where it left too much unread and lost its place.
    pub fn unread_records(&self, reader: ReaderId) -> Result<&[u8], Lagged> {
        self.hooks.log.unread(reader)
    }

    /// A reader has read `len` bytes of [`Keyspace::unread_records`].
    pub fn advance_reader(&mut self, reader: ReaderId, len: usize) {
        self.hooks.log.advance(reader, len);
    }
}

/// Keyspace events.
impl Keyspace {
    /// Raises events of these classes from now on; none at the start.
    pub fn set_event_classes(&mut self, classes: EventClasses) {
        self.hooks.events.classes = classes;
        self.hooks.rearm();
    }

    /// Whether events were raised that are not taken.
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.hooks.events.is_empty()
    }

    /// Takes the events that were raised since the last call.
    pub fn take_events(&mut self) -> RaisedEvents {
        self.hooks.events.take()
    }

    /// Takes the memory of events back, for the next ones.
    pub fn reuse_events(&mut self, taken: RaisedEvents) {
        self.hooks.events.reuse(taken);
    }

    /// How many events were dropped since the start because [`EVENTS_MAX`](crate::EVENTS_MAX) were not taken.
    pub fn dropped_events(&self) -> u64 {
        self.hooks.events.dropped
    }
}

/// Keys that clients hold copies of.
impl Keyspace {
    /// Whether any client tracks keys, and whether one tracks prefixes.
    pub fn set_trackers(&mut self, has_clients: bool, has_prefixes: bool) {
        self.hooks.tracking.set_listeners(has_clients, has_prefixes);
        self.hooks.rearm();
    }

    /// How many keys are tracked at most; 0: any number.
    pub fn set_tracked_keys_max(&mut self, keys_max: usize) {
        self.hooks.tracking.set_keys_max(keys_max);
    }

    /// A client has read the key: it hears of the next change.
    pub fn track(&mut self, key: &Key<'_>, client: ClientId) {
        self.hooks.tracking.add(key, client);
        self.hooks.rearm();
    }

    /// Whether there is something that clients have to hear.
    #[inline]
    pub fn has_invalidated(&self) -> bool {
        self.hooks.tracking.has_news()
    }

    /// Takes what clients have to hear, in the order of the changes.
    pub fn take_invalidated(&mut self) -> Vec<Invalidated> {
        self.hooks.tracking.take()
    }

    /// How many keys are tracked, and how many clients track them, each counted for each key.
    pub fn tracked(&self) -> (usize, usize) {
        self.hooks.tracking.counts()
    }
}

/// Hooks of one's own.
impl Keyspace {
    /// Notifies an observer of all changes from now on.
    pub fn add_observer(&mut self, observer: Box<dyn Observer>) -> ObserverId {
        self.hooks.add_observer(observer)
    }

    /// Returns the observer; `None` where it was removed before.
    pub fn remove_observer(&mut self, observer: ObserverId) -> Option<Box<dyn Observer>> {
        self.hooks.remove_observer(observer)
    }
}

/// For whom data changes.
impl Keyspace {
    /// Whether a hook looks at the origin; if not, it need not be set.
    #[inline]
    pub fn wants_origin(&self) -> bool {
        self.hooks.want_origin()
    }

    /// Sets for whom data changes from now on, and returns the origin before.
    pub fn swap_origin(&mut self, origin: Origin) -> Origin {
        std::mem::replace(&mut self.hooks.origin, origin)
    }

    /// For whom data changes now.
    pub fn origin(&self) -> Origin {
        self.hooks.origin
    }

    /// A transaction of several shards changes nothing more here: readers of records get the end of its part.
    pub fn end_part(&mut self, transaction: TxnTag) {
        if transaction.parts > 1 {
            self.hooks.end_part(transaction);
        }
    }
}

/// Snapshots.
impl Keyspace {
    /// Begins a snapshot of what is here now, in the place of one that is not over. It is written by
    /// [`Keyspace::write_snapshot`], and by changes of what is not written yet.
    pub fn begin_snapshot(&mut self, sink: Box<dyn SnapshotSink>) {
        self.end_snapshot();
        self.hooks.snapshot = Some(Box::new(Snapshot::begin(&self.databases, sink)));
        self.hooks.rearm();
    }

    /// Writes on, until all is written or `more` says that it is enough; returns whether some is left.
    pub fn write_snapshot(&mut self, more: &mut dyn FnMut() -> bool) -> bool {
        let Some(snapshot) = &mut self.hooks.snapshot else { return false };
        let freed = snapshot.step(&self.databases, more);
        let is_left = !snapshot.is_over();
        for database in freed {
            self.stats.freed_lazily += self.lazy_free.add_database(database);
        }
        is_left
    }

    /// Where the entries of the snapshot go, to take out what has gathered there; `None` if none is written.
    pub fn snapshot_sink(&mut self) -> Option<&mut dyn SnapshotSink> {
        self.hooks.snapshot.as_mut().map(|snapshot| snapshot.sink())
    }

    /// Ends the snapshot, whether all is written or not.
    pub fn end_snapshot(&mut self) {
        let Some(snapshot) = self.hooks.snapshot.take() else { return };
        for database in snapshot.end() {
            self.stats.freed_lazily += self.lazy_free.add_database(database);
        }
        self.hooks.rearm();
    }
}
