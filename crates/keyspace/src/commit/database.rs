//! Database: the tables of one SELECT number on one shard, a table per slot; and all of them.
//!
//! Pages of 256 tables come into being with their first key, so that 16 databases cost nothing before
//! they are used.
//!
//! Only `commit` gets at a database that is in use as `&mut` ([`Databases::get_mut`]): so no data changes
//! beside it.
//!
//! Not here: what a change means (`apply`), expiry (`expiry`).

use basalt_structures::{
    Entry, EntryMut, EntryRef, KeyHasher, Place, TAGS, Table, Wheel, prefetch_ref,
};

use crate::DatabaseId;
use crate::expiry_times::{ExpiryTimes, hint, item};
use crate::key::Key;
use crate::slot::{SLOTS, SlotId};

const PAGE_SLOTS: usize = 256;
const PAGES: usize = SLOTS / PAGE_SLOTS;

/// Where a scan goes on: a slot, and a tag within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ScanPosition {
    pub slot: usize,
    pub tag: u32,
}

struct Page {
    tables: [Table; PAGE_SLOTS],
    /// Each table's part of the database's books.
    books: [SlotBooks; PAGE_SLOTS],
    /// Entries in all tables of the page: lets scans and random picks pass over empty ones.
    len: usize,
}

/// What is known of a slot without walking over it, so that it can be handed over as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SlotBooks {
    entry_bytes: usize,
    expiring: u32,
    with_expiring_elements: u32,
    /// The sum of the expiries.
    expire_sum_ms: u128,
}

/// A slot's table of one database, taken out with its books.
pub(crate) struct DetachedTable {
    table: Table,
    books: SlotBooks,
}

impl DetachedTable {
    pub(crate) fn heap_bytes(&self) -> usize {
        self.table.heap_bytes() + self.books.entry_bytes
    }

    pub(crate) fn into_table(self) -> Table {
        self.table
    }
}

/// All databases of one shard.
pub struct Databases {
    all: Vec<Database>,
    /// None from this one on was ever changed: each turn adds up what databases hold, and few are used.
    changed: usize,
}

impl Databases {
    pub(crate) fn new(count: usize, now_ms: u64) -> Self {
        Self { all: (0..count).map(|_| Database::new(now_ms)).collect(), changed: 0 }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = DatabaseId> + use<> {
        (0..self.all.len() as u16).map(DatabaseId)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Database> {
        self.all.iter()
    }

    /// From the first to the last that may hold anything.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = &Database> {
        self.all[..self.changed].iter()
    }

    #[inline]
    pub(crate) fn get(&self, id: DatabaseId) -> &Database {
        &self.all[id.index()]
    }

    #[inline]
    pub(in crate::commit) fn get_mut(&mut self, id: DatabaseId) -> &mut Database {
        self.changed = self.changed.max(id.index() + 1);
        &mut self.all[id.index()]
    }

    /// Puts another in the place of a database.
    pub(in crate::commit) fn replace(&mut self, id: DatabaseId, database: Database) -> Database {
        std::mem::replace(self.get_mut(id), database)
    }

    pub(in crate::commit) fn swap(&mut self, first: DatabaseId, second: DatabaseId) {
        self.changed = self.changed.max(first.index().max(second.index()) + 1);
        self.all.swap(first.index(), second.index());
    }

    /// Sets the access word of an entry, which is no change of data.
    #[inline]
    pub(crate) fn touch(
        &mut self,
        id: DatabaseId,
        slot: SlotId,
        place: Place,
        access: u32,
    ) -> EntryRef<'_> {
        let table = self.all[id.index()].table_mut(slot).expect("a place lies in a table");
        table.touch(place, access)
    }

    /// The expiry wheel of a database, for `expiry`.
    pub(crate) fn wheel_mut(&mut self, id: DatabaseId) -> &mut Wheel {
        &mut self.all[id.index()].wheel
    }

    /// What a key holds, even if it is past its expiry.
    pub fn stored(&self, id: DatabaseId, key: &Key<'_>) -> Option<EntryRef<'_>> {
        let database = self.get(id);
        Some(database.entry(key.slot, database.find(key)?))
    }

    /// Visits all entries of a slot, also those past their expiry.
    pub fn visit_slot(&self, id: DatabaseId, slot: SlotId, visit: &mut dyn FnMut(&Entry)) {
        if let Some(table) = self.get(id).table(slot) {
            table.visit_all(visit);
        }
    }

    /// Visits all entries of a database, also those past their expiry.
    pub fn visit_database(&self, id: DatabaseId, visit: &mut dyn FnMut(&Entry)) {
        self.get(id).visit_all(visit);
    }

    /// How many databases there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }
}

/// The tables of one SELECT number on one shard.
pub(crate) struct Database {
    pages: [Option<Box<Page>>; PAGES],
    len: usize,
    /// Entries that have an expiry.
    pub(crate) expiring: usize,
    /// The sum of their moments, for the mean.
    pub(crate) expire_sum_ms: u128,
    /// Entries with elements that have one.
    pub(crate) with_expiring_elements: usize,
    /// Heap bytes of entries and of tables, kept at each change.
    entry_bytes: usize,
    table_bytes: usize,
    pub(crate) wheel: Wheel,
}

impl Database {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            pages: [const { None }; PAGES],
            len: 0,
            expiring: 0,
            expire_sum_ms: 0,
            with_expiring_elements: 0,
            entry_bytes: 0,
            table_bytes: 0,
            wheel: Wheel::new(now_ms),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many keys need an item in the wheel, at most.
    pub(crate) fn items_needed(&self) -> usize {
        self.expiring + self.with_expiring_elements
    }

    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        self.data_bytes() + self.wheel.bytes()
    }

    #[inline]
    pub(crate) fn data_bytes(&self) -> usize {
        self.entry_bytes + self.table_bytes
    }

    pub(crate) fn table_bytes(&self) -> usize {
        self.table_bytes
    }

    #[inline]
    pub(crate) fn table(&self, slot: SlotId) -> Option<&Table> {
        let page = self.pages[slot.index() / PAGE_SLOTS].as_deref()?;
        Some(&page.tables[slot.index() % PAGE_SLOTS])
    }

    #[inline]
    pub(crate) fn table_mut(&mut self, slot: SlotId) -> Option<&mut Table> {
        let page = self.pages[slot.index() / PAGE_SLOTS].as_deref_mut()?;
        Some(&mut page.tables[slot.index() % PAGE_SLOTS])
    }

    /// Asks for the memory of the slot's table head, which holds the address of its buckets.
    #[inline]
    pub(crate) fn prefetch_table(&self, slot: SlotId) {
        if let Some(table) = self.table(slot) {
            prefetch_ref(table);
        }
    }

    #[inline]
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<Place> {
        self.table(key.slot)?.find(key.hash, key.bytes)
    }

    #[inline]
    pub(crate) fn entry(&self, slot: SlotId, place: Place) -> EntryRef<'_> {
        self.table(slot).expect("a place lies in a table").entry(place)
    }

    #[inline]
    pub(crate) fn entry_mut(&mut self, slot: SlotId, place: Place) -> EntryMut<'_> {
        self.table_mut(slot).expect("a place lies in a table").entry_mut(place)
    }

    pub(crate) fn insert(&mut self, key: &Key<'_>, entry: Entry, hasher: &KeyHasher) {
        let page = page_at(&mut self.pages, &mut self.table_bytes, key.slot);
        let table = &mut page.tables[key.slot.index() % PAGE_SLOTS];
        let books = &mut page.books[key.slot.index() % PAGE_SLOTS];
        self.entry_bytes += entry.heap_bytes();
        books.entry_bytes += entry.heap_bytes();
        let moments = ExpiryTimes::of(&entry);
        self.table_bytes -= table.heap_bytes();
        table.insert(key.hash, entry, hasher);
        self.table_bytes += table.heap_bytes();
        page.len += 1;
        self.len += 1;
        if moments != ExpiryTimes::NEVER {
            self.count_expiry_times(key.slot, ExpiryTimes::NEVER, moments);
        }
    }

    pub(crate) fn remove(&mut self, slot: SlotId, place: Place, hasher: &KeyHasher) -> Entry {
        let page = self.pages[slot.index() / PAGE_SLOTS].as_deref_mut();
        let page = page.expect("a place lies in a page");
        let table = &mut page.tables[slot.index() % PAGE_SLOTS];
        let books = &mut page.books[slot.index() % PAGE_SLOTS];
        self.table_bytes -= table.heap_bytes();
        let entry = table.remove(place, hasher);
        self.table_bytes += table.heap_bytes();
        self.entry_bytes -= entry.heap_bytes();
        books.entry_bytes -= entry.heap_bytes();
        let moments = ExpiryTimes::of(&entry);
        page.len -= 1;
        self.len -= 1;
        if moments != ExpiryTimes::NEVER {
            self.count_expiry_times(slot, moments, ExpiryTimes::NEVER);
        }
        entry
    }

    #[inline]
    fn books_of(&mut self, slot: SlotId) -> &mut SlotBooks {
        let page = self.pages[slot.index() / PAGE_SLOTS].as_deref_mut();
        &mut page.expect("what changes lies in a page").books[slot.index() % PAGE_SLOTS]
    }

    /// An entry of a slot has another size now.
    #[inline]
    pub(crate) fn note_bytes(&mut self, slot: SlotId, before: usize, after: usize) {
        if before == after {
            return;
        }
        self.entry_bytes = self.entry_bytes + after - before;
        let books = self.books_of(slot);
        books.entry_bytes = books.entry_bytes + after - before;
    }

    /// An entry of a slot has other moments now.
    pub(crate) fn count_expiry_times(
        &mut self,
        slot: SlotId,
        before: ExpiryTimes,
        after: ExpiryTimes,
    ) {
        self.expiring += usize::from(after.key_ms.is_some());
        self.expiring -= usize::from(before.key_ms.is_some());
        self.with_expiring_elements += usize::from(after.element_ms.is_some());
        self.with_expiring_elements -= usize::from(before.element_ms.is_some());
        self.expire_sum_ms += u128::from(after.key_ms.unwrap_or(0));
        self.expire_sum_ms -= u128::from(before.key_ms.unwrap_or(0));
        let books = self.books_of(slot);
        books.expire_sum_ms += u128::from(after.key_ms.unwrap_or(0));
        books.expire_sum_ms -= u128::from(before.key_ms.unwrap_or(0));
        books.expiring += u32::from(after.key_ms.is_some());
        books.expiring -= u32::from(before.key_ms.is_some());
        books.with_expiring_elements += u32::from(after.element_ms.is_some());
        books.with_expiring_elements -= u32::from(before.element_ms.is_some());
    }

    /// Takes a slot's table out, if there is anything of it: a few words, however much it holds.
    pub(crate) fn detach(&mut self, slot: SlotId) -> Option<DetachedTable> {
        let page = self.pages[slot.index() / PAGE_SLOTS].as_deref_mut()?;
        let table = &mut page.tables[slot.index() % PAGE_SLOTS];
        if table.heap_bytes() == 0 {
            return None;
        }
        let table = std::mem::replace(table, Table::new());
        let books = std::mem::take(&mut page.books[slot.index() % PAGE_SLOTS]);
        page.len -= table.len();
        self.len -= table.len();
        self.table_bytes -= table.heap_bytes();
        self.entry_bytes -= books.entry_bytes;
        self.expiring -= books.expiring as usize;
        self.expire_sum_ms -= books.expire_sum_ms;
        self.with_expiring_elements -= books.with_expiring_elements as usize;
        Some(DetachedTable { table, books })
    }

    /// Puts a slot's table in, where nothing of the slot is.
    pub(crate) fn attach(&mut self, slot: SlotId, DetachedTable { table, books }: DetachedTable) {
        let page = page_at(&mut self.pages, &mut self.table_bytes, slot);
        page.len += table.len();
        self.len += table.len();
        self.table_bytes += table.heap_bytes();
        self.entry_bytes += books.entry_bytes;
        self.expiring += books.expiring as usize;
        self.expire_sum_ms += books.expire_sum_ms;
        self.with_expiring_elements += books.with_expiring_elements as usize;
        page.books[slot.index() % PAGE_SLOTS] = books;
        let there = std::mem::replace(&mut page.tables[slot.index() % PAGE_SLOTS], table);
        assert!(there.is_empty(), "a slot is on one shard only");
        self.table_bytes -= there.heap_bytes();
    }

    /// Takes a part out of a database that is to be dropped: the tables of a page, as far as they hold something,
    /// or, when there are no more, about so many items of the wheel. Returns the heap bytes that were freed; `None`
    /// when nothing is left. The books don't follow.
    pub(crate) fn free_some(&mut self, items: usize) -> Option<(Vec<Table>, usize)> {
        if let Some(page) = self.pages.iter_mut().find_map(Option::take) {
            let tables = page.tables.into_iter().filter(|table| table.heap_bytes() > 0);
            return Some((tables.collect(), size_of::<Page>()));
        }
        (!self.wheel.is_empty()).then(|| (Vec::new(), self.wheel.drop_some(items)))
    }

    /// Visits entries from `position` on, slot after slot up to (not including) `end_slot`, until about
    /// `count` were visited. Gives the position to go on from; at the end its slot is `end_slot`.
    pub(crate) fn scan(
        &self,
        position: ScanPosition,
        end_slot: usize,
        count: usize,
        visit: &mut dyn FnMut(SlotId, &Entry),
    ) -> ScanPosition {
        let ScanPosition { mut slot, mut tag } = position;
        let mut visited = 0;
        while slot < end_slot {
            match &self.pages[slot / PAGE_SLOTS] {
                Some(page) if page.len > 0 => {
                    let id = SlotId(slot as u16);
                    let table = &page.tables[slot % PAGE_SLOTS];
                    tag = table.scan(tag, count.saturating_sub(visited).max(1), &mut |entry| {
                        visited += 1;
                        visit(id, entry);
                    });
                    if tag < TAGS {
                        return ScanPosition { slot, tag };
                    }
                    slot += 1;
                }
                _ => slot = (slot / PAGE_SLOTS + 1) * PAGE_SLOTS,
            }
            tag = 0;
            if visited >= count {
                break;
            }
        }
        ScanPosition { slot: slot.min(end_slot), tag: 0 }
    }

    /// An entry chosen at random, each as likely as the others.
    pub(crate) fn pick(&self, random: u64) -> Option<EntryRef<'_>> {
        if self.len == 0 {
            return None;
        }
        let slot = self.slot_of_nth((random % self.len as u64) as usize)?;
        self.table(slot)?.pick(random.rotate_left(32))
    }

    /// The slot of the n-th entry in the order of slots.
    pub(crate) fn slot_of_nth(&self, mut nth: usize) -> Option<SlotId> {
        for (index, page) in self.pages.iter().enumerate() {
            let Some(page) = page else { continue };
            if nth >= page.len {
                nth -= page.len;
                continue;
            }
            for (slot, table) in page.tables.iter().enumerate() {
                if nth < table.len() {
                    return Some(SlotId((index * PAGE_SLOTS + slot) as u16));
                }
                nth -= table.len();
            }
        }
        None
    }

    pub(crate) fn visit_all(&self, visit: &mut dyn FnMut(&Entry)) {
        for page in self.pages.iter().flatten() {
            for table in &page.tables {
                table.visit_all(visit);
            }
        }
    }

    pub(crate) fn slot_len(&self, slot: SlotId) -> usize {
        self.table(slot).map_or(0, Table::len)
    }

    /// The books, counted anew by walking over everything.
    pub(crate) fn walk_books(&self) -> Books {
        let mut books = Books::default();
        for page in self.pages.iter().flatten() {
            books.table_bytes += size_of::<Page>();
            for (table, kept) in page.tables.iter().zip(&page.books) {
                books.table_bytes += table.heap_bytes();
                let mut own = SlotBooks::default();
                table.visit_all(&mut |entry| {
                    let moments = ExpiryTimes::of(entry);
                    own.expiring += u32::from(moments.key_ms.is_some());
                    own.expire_sum_ms += u128::from(moments.key_ms.unwrap_or(0));
                    own.with_expiring_elements += u32::from(moments.element_ms.is_some());
                    own.entry_bytes += entry.heap_bytes();
                });
                assert_eq!(own, *kept, "the books of a slot");
                books.len += table.len();
                books.expiring += own.expiring as usize;
                books.expire_sum_ms += own.expire_sum_ms;
                books.with_expiring_elements += own.with_expiring_elements as usize;
                books.entry_bytes += own.entry_bytes;
            }
        }
        books
    }

    /// The books as they are kept.
    pub(crate) fn books(&self) -> Books {
        Books {
            len: self.len,
            expiring: self.expiring,
            expire_sum_ms: self.expire_sum_ms,
            with_expiring_elements: self.with_expiring_elements,
            entry_bytes: self.entry_bytes,
            table_bytes: self.table_bytes,
        }
    }
}

impl Database {
    /// Keeps count and wheel true when a key's expiry changes from `before` to `after`.
    #[inline]
    pub(crate) fn note_expiry(&mut self, key: &Key<'_>, before: Option<u64>, after: Option<u64>) {
        if before == after {
            return;
        }
        let moments = |key_ms| ExpiryTimes { key_ms, element_ms: None };
        self.count_expiry_times(key.slot, moments(before), moments(after));
        if let Some(at_ms) = after
            && before.is_none_or(|before| at_ms < before)
        {
            self.wheel.insert(at_ms, item(key));
        }
    }

    /// As [`Database::note_expiry`], for entries whose elements may expire.
    pub(crate) fn note_expiry_times(
        &mut self,
        key: &Key<'_>,
        before: ExpiryTimes,
        after: ExpiryTimes,
    ) {
        if before == after {
            return;
        }
        self.count_expiry_times(key.slot, before, after);
        if before.next().is_none_or(|before| after.next().is_some_and(|after| after < before)) {
            self.put_in_wheel(key, after);
        }
    }

    /// Puts a new entry's key into the wheel, if something of it expires.
    pub(crate) fn put_in_wheel(&mut self, key: &Key<'_>, moments: ExpiryTimes) {
        if let Some(at_ms) = moments.next() {
            self.wheel.insert(at_ms, item(key));
        }
    }

    pub(crate) fn prefetch_items(&self, items: &[u32]) {
        let hints = items.iter().map(|&item| hint(item));
        for (slot, hash) in hints.clone() {
            if let Some(table) = self.table(slot) {
                table.prefetch_bucket(hash);
            }
        }
        for (slot, hash) in hints {
            if let Some(table) = self.table(slot) {
                table.prefetch_entry(hash);
            }
        }
    }

    /// The earliest expiry among the keys that an item may stand for.
    pub(crate) fn earliest(&self, item: u32) -> Option<u64> {
        let (slot, hash) = hint(item);
        let mut earliest = None;
        self.table(slot)?.visit_same_tag(hash, &mut |entry| {
            if let Some(at_ms) = ExpiryTimes::of(entry).next() {
                earliest = Some(earliest.map_or(at_ms, |other: u64| other.min(at_ms)));
            }
        });
        earliest
    }
}

/// The page of a slot, which comes with the first that lies in it.
fn page_at<'a>(
    pages: &'a mut [Option<Box<Page>>; PAGES],
    table_bytes: &mut usize,
    slot: SlotId,
) -> &'a mut Page {
    pages[slot.index() / PAGE_SLOTS].get_or_insert_with(|| {
        *table_bytes += size_of::<Page>();
        Box::new(Page {
            tables: [const { Table::new() }; PAGE_SLOTS],
            books: [SlotBooks::default(); PAGE_SLOTS],
            len: 0,
        })
    })
}

/// What is counted at each change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    len: usize,
    expiring: usize,
    expire_sum_ms: u128,
    with_expiring_elements: usize,
    entry_bytes: usize,
    table_bytes: usize,
}
