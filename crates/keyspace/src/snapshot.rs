//! Snapshot: all entries as they are at one moment, written in slices while changes go on.
//!
//! ```text
//! begin ──► each database of that moment, by identity: 16,384 slots of 64 granules (tag >> 10)
//! step  ──► writes granule after granule; a bit says which are written
//! commit ─► a granule that is about to change is written first
//! ```
//!
//! A granule is written once, wholly, and before anything in it changes, so what is written is what was there
//! when the snapshot began. Databases are walked by identity: one that is swapped is found where it is now, one that is
//! flushed is handed over and walked before it is freed. A key that was not there at the beginning lies in a granule
//! that was written before the key came.
//!
//! Not here: the format (`rdb`), where the bytes go, and that all shards begin at the same moment (`engine`).

use std::any::Any;

use basalt_structures::{Entry, TAGS};

use crate::DatabaseId;
use crate::commit::database::{Database, Databases};
use crate::key::Key;
use crate::slot::{SLOTS, SlotId};

const GRANULES: u32 = 64;
const GRANULE_TAGS: u32 = TAGS / GRANULES;
const ALL: u64 = u64::MAX;

/// Gets the entries of a snapshot, those of one database not all together.
pub trait SnapshotSink: Any + Send {
    /// An entry of a database, by the number that it had when the snapshot began.
    fn write(&mut self, database: DatabaseId, entry: &Entry);
}

/// Which granules of a database are written, a bit for each; those of a slot are one word.
type Written = Box<[u64; SLOTS]>;

/// A snapshot that is being written.
pub(crate) struct Snapshot {
    sink: Box<dyn SnapshotSink>,
    /// By identity: the number that a database had at the beginning. `None` once it is wholly written.
    written: Vec<Option<Written>>,
    /// Which identity each database has that is in use now; `None` for one that came later.
    identities: Vec<Option<u16>>,
    /// Flushed ones that are not wholly written.
    flushed: Vec<(u16, Database)>,
    /// The slot to go on with.
    slot: usize,
}

impl Snapshot {
    pub(crate) fn begin(data: &Databases, sink: Box<dyn SnapshotSink>) -> Self {
        let written = |database: &Database| {
            let bits: Box<[u64]> = vec![0; SLOTS].into_boxed_slice();
            let bits = bits.try_into().expect("because there are so many slots");
            (database.len() > 0).then_some(bits)
        };
        Self {
            sink,
            written: data.iter().map(written).collect(),
            identities: (0..data.count() as u16).map(Some).collect(),
            flushed: Vec::new(),
            slot: 0,
        }
    }

    pub(crate) fn sink(&mut self) -> &mut dyn SnapshotSink {
        &mut *self.sink
    }

    /// What holds memory only for the snapshot.
    pub(crate) fn heap_bytes(&self) -> usize {
        let bits = self.written.iter().flatten().count() * SLOTS * size_of::<u64>();
        bits + self.flushed.iter().map(|(_, database)| database.heap_bytes()).sum::<usize>()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.written.iter().all(Option::is_none)
    }

    /// A key is about to change.
    #[inline]
    pub(crate) fn before_key(&mut self, data: &Databases, id: DatabaseId, key: &Key<'_>) {
        let Some(identity) = self.identities[id.index()] else { return };
        let Some(written) = &mut self.written[usize::from(identity)] else { return };
        let granule = (key.hash >> 48) as u32 / GRANULE_TAGS;
        let word = &mut written[key.slot.index()];
        if *word & 1 << granule == 0 {
            *word |= 1 << granule;
            write_granule(&mut *self.sink, identity, data.get(id), key.slot, granule);
        }
    }

    /// All keys of these slots are about to leave.
    pub(crate) fn before_slots_out(&mut self, data: &Databases, slots: &[SlotId]) {
        for id in data.ids() {
            let Some(identity) = self.identities[id.index()] else { continue };
            for &slot in slots {
                self.write_slot(identity, data.get(id), slot);
            }
        }
        // Of what is flushed nothing leaves.
    }

    /// Keys of these slots are about to come, which are another shard's to write.
    pub(crate) fn before_slots_in(&mut self, slots: &[SlotId]) {
        let in_use = self.identities.iter().flatten().map(|identity| usize::from(*identity));
        for identity in in_use.collect::<Vec<_>>() {
            let Some(written) = &mut self.written[identity] else { continue };
            slots.iter().for_each(|slot| written[slot.index()] = ALL);
        }
    }

    pub(crate) fn swapped(&mut self, first: DatabaseId, second: DatabaseId) {
        self.identities.swap(first.index(), second.index());
    }

    /// A database was flushed; gives it back if nothing of it is to be written any more.
    pub(crate) fn flushed(&mut self, id: DatabaseId, database: Database) -> Option<Database> {
        let identity = self.identities[id.index()].take();
        match identity.filter(|identity| self.written[usize::from(*identity)].is_some()) {
            Some(identity) => {
                self.flushed.push((identity, database));
                None
            }
            None => Some(database),
        }
    }

    /// Ends it, whatever is written; gives back what was flushed.
    pub(crate) fn end(self) -> impl Iterator<Item = Database> {
        self.flushed.into_iter().map(|(_, database)| database)
    }

    /// Writes on, a slot or a part of one at a time, until all is written or `more` says that it is enough. Returns flushed
    /// databases that are not needed any more.
    pub(crate) fn step(
        &mut self,
        data: &Databases,
        more: &mut dyn FnMut() -> bool,
    ) -> Vec<Database> {
        let mut freed = Vec::new();
        loop {
            let Some(identity) = self.written.iter().position(Option::is_some) else {
                freed.extend(self.flushed.drain(..).map(|(_, database)| database));
                return freed;
            };
            let identity = identity as u16;
            let in_use = self.identities.iter().position(|own| *own == Some(identity));
            let flushed = self.flushed.iter().position(|(own, _)| *own == identity);
            match (in_use, flushed) {
                (Some(index), _) => {
                    self.write_on(identity, data.get(DatabaseId(index as u16)));
                }
                (_, Some(index)) => {
                    let (_, database) = self.flushed.swap_remove(index);
                    self.write_on(identity, &database);
                    if self.written[usize::from(identity)].is_some() {
                        self.flushed.push((identity, database));
                    } else {
                        freed.push(database);
                    }
                }
                (None, None) => unreachable!("what is not written is in use, or was handed over"),
            }
            if !more() {
                return freed;
            }
        }
    }

    /// Writes the next slot of a database that holds something, or what there is of it to write in one go.
    fn write_on(&mut self, identity: u16, database: &Database) {
        while self.slot < SLOTS {
            let slot = SlotId(self.slot as u16);
            if database.slot_len(slot) > 0 {
                let is_whole = self.write_some(identity, database, slot);
                self.slot += usize::from(is_whole);
                return;
            }
            self.slot += 1;
        }
        self.slot = 0;
        self.written[usize::from(identity)] = None;
    }

    /// Writes a small slot, or a granule of a large one; returns whether all of the slot is written.
    fn write_some(&mut self, identity: u16, database: &Database, slot: SlotId) -> bool {
        /// With more entries a slot is written granule by granule.
        const WHOLE_MAX: usize = 64;
        if database.slot_len(slot) <= WHOLE_MAX {
            self.write_slot(identity, database, slot);
            return true;
        }
        let Some(written) = &mut self.written[usize::from(identity)] else { return true };
        let word = &mut written[slot.index()];
        let granule = word.trailing_ones();
        if granule < GRANULES {
            *word |= 1 << granule;
            write_granule(&mut *self.sink, identity, database, slot, granule);
        }
        *word == ALL
    }

    fn write_slot(&mut self, identity: u16, database: &Database, slot: SlotId) {
        let Some(written) = &mut self.written[usize::from(identity)] else { return };
        let before = std::mem::replace(&mut written[slot.index()], ALL);
        for granule in (0..GRANULES).filter(|granule| before & 1 << granule == 0) {
            write_granule(&mut *self.sink, identity, database, slot, granule);
        }
    }
}

fn write_granule(
    sink: &mut dyn SnapshotSink,
    identity: u16,
    database: &Database,
    slot: SlotId,
    granule: u32,
) {
    if let Some(table) = database.table(slot) {
        let from = granule * GRANULE_TAGS;
        table.visit_tags(from, from + GRANULE_TAGS, &mut |entry| {
            sink.write(DatabaseId(identity), entry);
        });
    }
}
