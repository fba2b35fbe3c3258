//! Database: the tables of one SELECT number on one shard, a table per slot.
//!
//! Pages of 256 tables come into being with their first key, so that 16 databases cost nothing before
//! they are used.
//!
//! Not here: what a change means (`edit`), expiry (`expiry`).

use basalt_structures::{
    Entry, EntryMut, EntryRef, KeyHasher, Place, TAGS, Table, Wheel, prefetch_ref,
};

use crate::expiry::Moments;
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
    /// Entries in all tables of the page: lets scans and random picks pass over empty ones.
    len: usize,
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
    pub(crate) entry_bytes: usize,
    pub(crate) table_bytes: usize,
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

    pub(crate) fn heap_bytes(&self) -> usize {
        self.entry_bytes + self.table_bytes + self.wheel.bytes()
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
        let page = self.pages[key.slot.index() / PAGE_SLOTS].get_or_insert_with(|| {
            self.table_bytes += size_of::<Page>();
            Box::new(Page { tables: [const { Table::new() }; PAGE_SLOTS], len: 0 })
        });
        let table = &mut page.tables[key.slot.index() % PAGE_SLOTS];
        self.entry_bytes += entry.heap_bytes();
        let moments = Moments::of(&entry);
        self.expiring += usize::from(moments.key_ms.is_some());
        self.expire_sum_ms += u128::from(moments.key_ms.unwrap_or(0));
        self.with_expiring_elements += usize::from(moments.element_ms.is_some());
        self.table_bytes -= table.heap_bytes();
        table.insert(key.hash, entry, hasher);
        self.table_bytes += table.heap_bytes();
        page.len += 1;
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, slot: SlotId, place: Place, hasher: &KeyHasher) -> Entry {
        let page = self.pages[slot.index() / PAGE_SLOTS].as_deref_mut();
        let page = page.expect("a place lies in a page");
        let table = &mut page.tables[slot.index() % PAGE_SLOTS];
        self.table_bytes -= table.heap_bytes();
        let entry = table.remove(place, hasher);
        self.table_bytes += table.heap_bytes();
        self.entry_bytes -= entry.heap_bytes();
        let moments = Moments::of(&entry);
        self.expiring -= usize::from(moments.key_ms.is_some());
        self.expire_sum_ms -= u128::from(moments.key_ms.unwrap_or(0));
        self.with_expiring_elements -= usize::from(moments.element_ms.is_some());
        page.len -= 1;
        self.len -= 1;
        entry
    }

    /// Takes all tables that hold something out, to be dropped bit by bit; the database is empty then.
    pub(crate) fn take_tables(&mut self, now_ms: u64) -> Vec<Table> {
        let emptied = std::mem::replace(self, Self::new(now_ms));
        let tables = emptied.pages.into_iter().flatten().flat_map(|page| page.tables);
        tables.filter(|table| table.heap_bytes() > 0).collect()
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

    /// An entry chosen by chance, each as likely as the others.
    pub(crate) fn pick(&self, random: u64) -> Option<EntryRef<'_>> {
        if self.len == 0 {
            return None;
        }
        let mut nth = (random % self.len as u64) as usize;
        for page in self.pages.iter().flatten() {
            if nth >= page.len {
                nth -= page.len;
                continue;
            }
            for table in &page.tables {
                if nth < table.len() {
                    return table.pick(random.rotate_left(32));
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
            for table in &page.tables {
                books.table_bytes += table.heap_bytes();
                table.visit_all(&mut |entry| {
                    let moments = Moments::of(entry);
                    books.len += 1;
                    books.expiring += usize::from(moments.key_ms.is_some());
                    books.expire_sum_ms += u128::from(moments.key_ms.unwrap_or(0));
                    books.with_expiring_elements += usize::from(moments.element_ms.is_some());
                    books.entry_bytes += entry.heap_bytes();
                });
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
