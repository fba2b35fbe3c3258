//! The expiry wheel: returns items when they are due, at four bytes per item.
//!
//! Hierarchical timing wheels (Varghese & Lauck 1987), with an early cascade:
//!
//! ```text
//!   level 4   512 cells of 49.7 days   ─┐
//!   level 3   512 cells of 4.7 hours    │  a cell is emptied into the finer levels during
//!   level 2   512 cells of 65.5 s       │  the span *before* its own: none of its items is late
//!   level 1   512 cells of 256 ms      ─┘
//!   level 0   512 cells of 1 ms        ──► due
//! ```
//!
//! An item is an opaque `u32`; the wheel does not keep its exact moment once it is in a cell. When
//! a cell is processed, the owner is asked ([`Resolve`]) and returns each item's [`Fate`].
//!
//! The owner guarantees that for every key with a TTL there is at least one item at a moment not
//! after the key's expiry, and that its answer covers *all* keys that the item may stand for: `At`
//! the earliest of their expiries, `Gone` if there is none. So a TTL that moves later needs no
//! change, one that moves earlier needs one more item, and a deleted key leaves its item behind. Of
//! two equal items the later one is redundant, so the wheel drops most repeats without asking.
//!
//! Why 512 cells, where 256 make one cell of the next level: a level covers the rest of the current
//! coarser cell *and* the whole next one. So the coarser level never receives items for these two,
//! and a cell that is being emptied only shrinks, however many slices that takes.
//!
//! Not here: clocks, keys, time budgets (the owner stops a slice), the decision when to sweep.

use std::mem;
use std::ops::ControlFlow;

use cell::{Cell, GROUP_LEN_MAX, Level};
use duplicate_filter::DuplicateFilter;

mod cell;
mod duplicate_filter;
mod nearest;
// It has no unsafe code for miri to check, and would take hours.
#[cfg(all(test, not(miri)))]
mod tests;

const LEVELS: usize = 5;
const TOP: usize = LEVELS - 1;
/// A cell spans 2^8 cells of the next finer level.
const FINER_BITS: usize = 8;
/// The number of items per key above which a sweep is likely worth its time.
const ITEMS_PER_KEY_MAX: usize = 2;
/// Less garbage than this is not worth a sweep.
const GARBAGE_LEN_MIN: usize = 1024;
/// Moments are clamped to this (about the year 287,000), so that sums with the skew can't overflow.
const MOMENT_MAX_MS: u64 = 1 << 53;

/// The owner's answer for an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No key needs the item: none is left, or the last one was due and has just been removed.
    Gone,
    /// The earliest expiry of the keys that the item stands for. A moment in the past means "ask
    /// again in a millisecond".
    At(u64),
}

/// Returns the fates of a group of at most 32 items, whose memory can be fetched in stages. The
/// fates are initialized to "ask again". The group may be empty if all of it was redundant. `Break`
/// ends the slice after this group. The first groups of a slice are small.
pub type Resolve<'a> = dyn FnMut(&[u32], &mut [Fate]) -> ControlFlow<()> + 'a;

/// The state after [`Wheel::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backlog {
    /// Nothing to do before [`Wheel::next_due_ms`].
    None,
    /// Nothing is late, but a coarse cell should be emptied further before its span begins.
    Ahead,
    /// Some items are due.
    Due,
}

/// The expiry wheel; see the module.
#[derive(Default)]
pub struct Wheel {
    /// The moment up to which due cells have been processed, in wheel time (owner's time + skew).
    /// It trails the owner's clock while there is a backlog.
    worked_ms: u64,
    /// The total by which the owner's clock was set back. Wheel time never runs backwards; items
    /// that were inserted under a smaller skew come up early and are inserted again.
    skew_ms: u64,
    len: usize,
    /// Heap bytes of levels and of the cell being swept.
    cell_bytes: usize,
    levels: [Level; LEVELS],
    duplicates: DrainFilter,
    sweep: Sweep,
    /// The earliest moment that was inserted since [`Wheel::take_earliest_inserted_ms`].
    earliest_inserted_ms: Option<u64>,
}

/// The address of a cell, never reused: its number counts from the epoch, not within the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    level: usize,
    cell: u64,
}

/// The sizes of the groups of a slice: the first has one item, each further one is half as large
/// again. Memory that was not used for a second can be slow (a virtual machine whose host ages its
/// pages took 20 to 100 µs per page), so a full group takes milliseconds, and the owner can stop a
/// slice only after a group.
struct Groups {
    next_len: usize,
}

impl Groups {
    fn of_slice() -> Self {
        Self { next_len: 1 }
    }

    fn next_len(&mut self) -> usize {
        let len = self.next_len;
        self.next_len = (len + len.div_ceil(2)).min(GROUP_LEN_MAX);
        len
    }
}

/// Repeats found in the coarse cell that is being emptied.
#[derive(Default)]
struct DrainFilter {
    place: Option<Place>,
    duplicates: DuplicateFilter,
}

/// A sweep: one pass over all coarse cells. The cell at `place` was taken out of its level, whose
/// bit stays set; `todo` is the rest of it.
#[derive(Default)]
struct Sweep {
    place: Option<Place>,
    todo: Cell,
    duplicates: DuplicateFilter,
    /// The number of items that the last pass left, or fewer if some were removed since.
    left_len: usize,
}

impl Wheel {
    /// An empty wheel; it allocates nothing until the first insert.
    pub fn new(now_ms: u64) -> Self {
        Self { worked_ms: now_ms.min(MOMENT_MAX_MS), ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The heap bytes of the wheel, exactly as requested from the allocator.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.cell_bytes
            + self.duplicates.duplicates.heap_bytes()
            + self.sweep.duplicates.heap_bytes()
    }

    /// Frees all items at once, which takes a while for many millions.
    pub fn clear(&mut self) {
        *self = Self { worked_ms: self.worked_ms, skew_ms: self.skew_ms, ..Self::default() };
    }

    /// Frees about `count` items of a wheel that is not used any more. Returns the freed heap
    /// bytes.
    pub fn drop_some(&mut self, count: usize) -> usize {
        let before = self.bytes();
        self.duplicates = DrainFilter::default();
        let mut left = count;
        while left > 0
            && let Some(place) = (0..LEVELS).find_map(|level| self.first_in(level))
        {
            self.stop_sweeping(place);
            let level = &mut self.levels[place.level];
            let mut items = [0; GROUP_LEN_MAX];
            let taken = level.cell_mut(place.cell).take_group(&mut items, &mut self.cell_bytes);
            level.vacate_if_empty(place.cell, &mut self.cell_bytes);
            self.len -= taken;
            left = left.saturating_sub(taken);
        }
        before - self.bytes()
    }

    /// Inserts an item. A moment in the past is due at the next `advance`.
    pub fn insert(&mut self, at_ms: u64, item: u32) {
        self.len += 1;
        self.put(self.wheel_ms(at_ms), item);
        self.earliest_inserted_ms =
            Some(self.earliest_inserted_ms.map_or(at_ms, |earliest_ms| earliest_ms.min(at_ms)));
    }

    /// The earliest moment that was inserted since the last call: whether what [`Wheel::nearest`]
    /// returned is still the nearest.
    pub fn take_earliest_inserted_ms(&mut self) -> Option<u64> {
        self.earliest_inserted_ms.take()
    }

    /// A moment at which `advance` has something to do: never later than the first item is due,
    /// often earlier (an item that is a day away is processed four times on its way). After the
    /// clock was set back, this is correct from the next `advance` on.
    pub fn next_due_ms(&self) -> Option<u64> {
        if self.is_empty() {
            return None;
        }
        let opens_ms = |place: Place| {
            let ahead = u64::from(place.level > 0);
            Place { cell: place.cell.saturating_sub(ahead), ..place }.start_ms()
        };
        let wheel_ms = (0..LEVELS).filter_map(|level| self.first_in(level)).map(opens_ms).min()?;
        Some(wheel_ms.max(self.worked_ms).saturating_sub(self.skew_ms))
    }

    /// Processes the due items in order of time, then empties coarse cells ahead of their time,
    /// until all is done or `resolve` breaks off. Processes at least one group if there is any.
    ///
    /// With a backlog (the clock jumped, or budgets were too small) a coarse cell may be processed
    /// after its span has begun; `resolve` then gets due keys in that cell's order, not in order of
    /// time.
    pub fn advance(&mut self, now_ms: u64, resolve: &mut Resolve<'_>) -> Backlog {
        self.sweep.left_len = self.sweep.left_len.min(self.len);
        self.skew_ms += self.worked_ms.saturating_sub(self.wheel_ms(now_ms));
        let now_ms = self.wheel_ms(now_ms);
        let mut groups = Groups::of_slice();
        loop {
            let place = if let Some(place) = self.next_due(now_ms) {
                self.worked_ms = self.worked_ms.max(place.start_ms());
                place
            } else {
                self.worked_ms = now_ms;
                let Some(place) = self.next_ahead() else { return Backlog::None };
                place
            };
            if self.drain(place, now_ms, &mut groups, resolve).is_break() {
                return self.backlog(now_ms);
            }
        }
    }

    /// Whether a sweep is in progress or worth starting, given the number of keys with a TTL. After
    /// a pass that found little it waits until there are half as many items again.
    pub fn needs_sweep(&self, key_count: usize) -> bool {
        let fruitless_len = self.sweep.left_len + self.sweep.left_len / 2;
        let len_max = fruitless_len.max(key_count * ITEMS_PER_KEY_MAX) + GARBAGE_LEN_MIN;
        self.sweep.place.is_some() || self.len > len_max
    }

    /// Asks about every item that is not due soon anyway, and drops those that are not needed: a
    /// pass in slices. Returns whether the pass is unfinished; after its end the next call starts a
    /// new one. Items of keys whose TTL moved later move along, and repeats in a cell are dropped.
    pub fn sweep(&mut self, resolve: &mut Resolve<'_>) -> bool {
        let mut groups = Groups::of_slice();
        loop {
            if self.sweep.todo.is_empty() {
                let Some(place) = self.next_to_sweep() else {
                    self.sweep = Sweep { left_len: self.len, ..Sweep::default() };
                    return false;
                };
                let todo = mem::take(self.levels[place.level].cell_mut(place.cell));
                self.sweep.place = Some(place);
                self.sweep.duplicates = DuplicateFilter::sized_for(todo.len());
                self.sweep.todo = todo;
            }
            let place = self.sweep.place.expect("a cell is being swept: todo has items");
            let mut items = [0; GROUP_LEN_MAX];
            let group = &mut items[..groups.next_len()];
            let taken = self.sweep.todo.take_group(group, &mut self.cell_bytes);
            let kept = self.sweep.duplicates.retain_new(&mut items[..taken]);
            self.len -= taken - kept;
            let flow = self.settle(place, self.worked_ms, &items[..kept], resolve);
            if self.sweep.todo.is_empty() {
                self.sweep.duplicates = DuplicateFilter::default();
                self.levels[place.level].vacate_if_empty(place.cell, &mut self.cell_bytes);
            }
            if flow.is_break() {
                return true;
            }
        }
    }

    fn backlog(&mut self, now_ms: u64) -> Backlog {
        if self.next_due(now_ms).is_some() {
            return Backlog::Due;
        }
        self.worked_ms = now_ms;
        if self.next_ahead().is_some() { Backlog::Ahead } else { Backlog::None }
    }

    /// The first cell whose span has begun; of two that begin together the coarser one, which must
    /// be emptied into the finer one.
    fn next_due(&self, now_ms: u64) -> Option<Place> {
        (0..LEVELS)
            .rev()
            .filter_map(|level| self.first_in(level))
            .min_by_key(|place| place.start_ms())
            .filter(|place| place.start_ms() <= now_ms)
    }

    /// The first of the coarse cells whose span is the next to begin on their level.
    fn next_ahead(&self) -> Option<Place> {
        (1..LEVELS)
            .rev()
            .filter_map(|level| self.first_in(level))
            .filter(|place| place.cell <= self.current(place.level) + 1)
            .min_by_key(|place| place.start_ms())
    }

    /// The next cell of the pass that is not to be emptied now, finer levels first.
    fn next_to_sweep(&self) -> Option<Place> {
        let (level, next) = self.sweep.place.map_or((1, 0), |place| (place.level, place.cell + 1));
        (level..LEVELS).find_map(|other| {
            let current = self.current(other);
            let from = (current + 2).max(if other == level { next } else { 0 });
            let cell = self.levels[other].first_from(from)?;
            // From `from` on around the ring, it comes to cells before it as well.
            (cell < current + Level::CELLS).then_some(Place { level: other, cell })
        })
    }

    fn drain(
        &mut self,
        place: Place,
        now_ms: u64,
        groups: &mut Groups,
        resolve: &mut Resolve<'_>,
    ) -> ControlFlow<()> {
        self.stop_sweeping(place);
        let coarse = place.level > 0;
        if coarse && self.duplicates.place != Some(place) {
            let len = self.levels[place.level].cell_mut(place.cell).len();
            self.duplicates =
                DrainFilter { place: Some(place), duplicates: DuplicateFilter::sized_for(len) };
        }
        loop {
            let mut items = [0; GROUP_LEN_MAX];
            let group = &mut items[..groups.next_len()];
            let level = &mut self.levels[place.level];
            let taken = level.cell_mut(place.cell).take_group(group, &mut self.cell_bytes);
            let is_last = level.vacate_if_empty(place.cell, &mut self.cell_bytes);
            // Not on level 0: late items are inserted into the cell that is being processed there,
            // so a repeat may be younger than the answer for the first one.
            let mut kept = taken;
            if coarse {
                kept = self.duplicates.duplicates.retain_new(&mut items[..taken]);
                self.len -= taken - kept;
                if is_last {
                    self.duplicates = DrainFilter::default();
                }
            }
            self.settle(place, now_ms, &items[..kept], resolve)?;
            if is_last {
                return ControlFlow::Continue(());
            }
        }
    }

    /// Asks for the fates of items taken out of `place` and applies them.
    fn settle(
        &mut self,
        place: Place,
        now_ms: u64,
        items: &[u32],
        resolve: &mut Resolve<'_>,
    ) -> ControlFlow<()> {
        let mut fates = [Fate::At(0); GROUP_LEN_MAX];
        let fates = &mut fates[..items.len()];
        let flow = resolve(items, fates);
        for (&item, &fate) in items.iter().zip(&*fates) {
            match fate {
                Fate::Gone => self.len -= 1,
                Fate::At(at_ms) => {
                    let at_ms = self.wheel_ms(at_ms);
                    // The key is due before this cell's span: by the owner's guarantee another item
                    // waits for it there, so this one is left from a TTL that has moved earlier.
                    if now_ms < at_ms && at_ms < place.start_ms() {
                        self.len -= 1;
                    } else {
                        self.put(at_ms.max(now_ms + 1), item);
                    }
                }
            }
        }
        flow
    }

    /// Inserts an item into the finest level whose range (this coarser cell and the next) reaches
    /// its moment.
    fn put(&mut self, at_ms: u64, item: u32) {
        let at_ms = at_ms.max(self.worked_ms);
        let level = (0..TOP)
            .find(|level| at_ms >> ((level + 1) * FINER_BITS) <= self.current(level + 1) + 1)
            .unwrap_or(TOP);
        // Beyond the top level's range (70 years) its last cell serves: asked about then, inserted
        // again.
        let cell = (at_ms >> (level * FINER_BITS)).min(self.current(level) + Level::CELLS - 1);
        self.levels[level].push(cell, item, &mut self.cell_bytes);
    }

    /// The rest of a swept cell is put back into it, because its span begins.
    fn stop_sweeping(&mut self, place: Place) {
        if self.sweep.place == Some(place) && !self.sweep.todo.is_empty() {
            let todo = mem::take(&mut self.sweep.todo);
            self.levels[place.level].cell_mut(place.cell).absorb(todo, &mut self.cell_bytes);
            self.sweep.duplicates = DuplicateFilter::default();
        }
    }

    /// The number of the cell that contains the current moment.
    fn current(&self, level: usize) -> u64 {
        self.worked_ms >> (level * FINER_BITS)
    }

    fn first_in(&self, level: usize) -> Option<Place> {
        let cell = self.levels[level].first_from(self.current(level))?;
        Some(Place { level, cell })
    }

    fn wheel_ms(&self, owner_ms: u64) -> u64 {
        owner_ms.min(MOMENT_MAX_MS) + self.skew_ms
    }
}

impl Place {
    fn start_ms(self) -> u64 {
        self.cell << (self.level * FINER_BITS)
    }
}
