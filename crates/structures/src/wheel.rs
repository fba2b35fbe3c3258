//! The expiry wheel: hands out items when their moment comes, at four bytes per item.
//!
//! ```text
//!   level 4   512 cells of 49.7 days   ─┐
//!   level 3   512 cells of 4.7 hours    │  a cell is emptied into the finer levels during
//!   level 2   512 cells of 65.5 s       │  the span *before* its own: nobody in it is late
//!   level 1   512 cells of 256 ms      ─┘
//!   level 0   512 cells of 1 ms        ──► due
//! ```
//!
//! An item is an opaque `u32`; its exact moment is forgotten as soon as it lies in a cell. When the
//! cell is worked the owner is asked ([`Resolve`]) and answers with each item's [`Fate`].
//!
//! What the owner promises: of every key with a TTL there is at least one item at a moment not
//! after its expiry, and an answer speaks for *all* keys that the item may stand for: `At` the
//! earliest of their expiries, `Gone` if none is left. So a TTL that moves later needs nothing, one
//! that moves earlier needs one more item, a deleted key leaves its item behind; and of two equal
//! items the later is redundant, which lets the wheel drop most repeats unasked.
//!
//! Why 512 cells where 256 make the next coarser one: a level covers the rest of the coarser cell
//! that now lies in *and* all of the next. The coarser level therefore never receives items for
//! those two, so a cell that is being emptied only shrinks, however many slices that takes.
//!
//! Not here: clocks, keys, budgets in time (the owner breaks off), the choice of when to sweep.

use std::mem;
use std::ops::ControlFlow;

use cell::{Cell, GROUP_LEN_MAX, Level};
use seen::Seen;

mod cell;
mod seen;
// Nothing unsafe here for miri to find, in hours.
#[cfg(all(test, not(miri)))]
mod tests;

const LEVELS: usize = 5;
const TOP: usize = LEVELS - 1;
/// A cell spans 2^8 cells of the next finer level.
const FINER_BITS: usize = 8;
/// Items per key beyond which there is likely enough garbage for a sweep.
const ITEMS_PER_KEY_MAX: usize = 2;
/// Garbage that isn't worth a sweep.
const GARBAGE_LEN_MIN: usize = 1024;
/// Moments are clamped to this (year 287,000 or so), so that sums with the skew can't overflow.
const MOMENT_MAX_MS: u64 = 1 << 53;

/// What becomes of an item that was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No key needs it: there is none left, or the last one was due and has just been removed.
    Gone,
    /// The earliest expiry of the keys it stands for. A moment that has already come means "ask me
    /// again in a millisecond".
    At(u64),
}

/// Answers for a group of at most 32 items, whose memory can thus be fetched in stages. The fates
/// come filled with "ask me again". The group may be empty, when all of it was redundant. `Break`
/// ends the slice after this group. A slice begins with small groups.
pub type Resolve<'a> = dyn FnMut(&[u32], &mut [Fate]) -> ControlFlow<()> + 'a;

/// What [`Wheel::advance`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backlog {
    /// Nothing to do before [`Wheel::next_due_ms`].
    None,
    /// Nothing is late, but a coarse cell should be emptied further before its span begins.
    Ahead,
    /// Items whose moment has come wait.
    Due,
}

/// See the module.
#[derive(Default)]
pub struct Wheel {
    /// The moment up to which due cells have been worked, in wheel time (owner's time + skew).
    /// It trails behind the owner's clock while there is a backlog.
    worked_ms: u64,
    /// How far the owner's clock was set back, in all. Wheel time never runs backwards; items that
    /// were put in under a smaller skew merely come up early and are put in again.
    skew_ms: u64,
    len: usize,
    /// Heap bytes of levels and of the cell being swept.
    cell_bytes: usize,
    levels: [Level; LEVELS],
    seen: DrainSeen,
    sweep: Sweep,
}

/// A cell's address that no other cell ever had: its number counts from the epoch, not in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    level: usize,
    cell: u64,
}

/// How large the groups of a slice are: the first has one item, each is half as large again as the
/// one before. Memory that was left alone for a second can be slow to come back (a virtual machine
/// whose host ages its pages took 20 to 100 µs per page), so that a full group at once takes
/// milliseconds, and whoever breaks off learns of it only after a group.
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

/// Repeats met in the coarse cell that is being emptied.
#[derive(Default)]
struct DrainSeen {
    place: Option<Place>,
    seen: Seen,
}

/// A pass over all coarse cells. The cell at `place` was taken out of its level, whose bit stays
/// set: `todo` is what has not been asked about yet.
#[derive(Default)]
struct Sweep {
    place: Option<Place>,
    todo: Cell,
    seen: Seen,
    /// How many items the last pass left, or fewer if they have become fewer since.
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

    /// All heap memory, exactly as asked from the allocator.
    pub fn bytes(&self) -> usize {
        self.cell_bytes + self.seen.seen.heap_bytes() + self.sweep.seen.heap_bytes()
    }

    /// Drops all items at once, which takes a while when there are many millions.
    pub fn clear(&mut self) {
        *self = Self { worked_ms: self.worked_ms, skew_ms: self.skew_ms, ..Self::default() };
    }

    /// Drops about so many items of a wheel that is to go. Returns the heap bytes that were freed.
    pub fn drop_some(&mut self, count: usize) -> usize {
        let before = self.bytes();
        self.seen = DrainSeen::default();
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

    /// A moment that has passed means: due at the next `advance`.
    pub fn insert(&mut self, at_ms: u64, item: u32) {
        self.len += 1;
        self.put(self.wheel_ms(at_ms), item);
    }

    /// A moment at which `advance` has something to do: never later than the first item is due,
    /// often earlier (an item that is a day away is looked at four times on its way). A clock set
    /// back is known here after the next `advance`.
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

    /// Works what is due in order of time, then empties coarse cells ahead of their time, until
    /// that is done or `resolve` breaks off. Works at least one group if there is any.
    ///
    /// Under a backlog (the clock jumped, or budgets were too small) a coarse cell may be worked
    /// after its span has begun; `resolve` then meets due keys in that cell's order, not in time's.
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

    /// Whether a sweep goes on or is worth beginning, given how many keys have a TTL. After a pass
    /// that found little it waits until there is half as much again.
    pub fn needs_sweep(&self, key_count: usize) -> bool {
        let fruitless_len = self.sweep.left_len + self.sweep.left_len / 2;
        let len_max = fruitless_len.max(key_count * ITEMS_PER_KEY_MAX) + GARBAGE_LEN_MIN;
        self.sweep.place.is_some() || self.len > len_max
    }

    /// Asks about every item that isn't to come up soon anyway, and drops those without need: a
    /// pass in slices. Returns whether the pass goes on; after its end the next call begins anew.
    /// Items whose keys' TTL moved later move along, repeats in a cell fall away.
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
                self.sweep.seen = Seen::sized_for(todo.len());
                self.sweep.todo = todo;
            }
            let place = self.sweep.place.expect("a cell is being swept: todo has items");
            let mut items = [0; GROUP_LEN_MAX];
            let group = &mut items[..groups.next_len()];
            let taken = self.sweep.todo.take_group(group, &mut self.cell_bytes);
            let kept = self.sweep.seen.retain_new(&mut items[..taken]);
            self.len -= taken - kept;
            let flow = self.settle(place, self.worked_ms, &items[..kept], resolve);
            if self.sweep.todo.is_empty() {
                self.sweep.seen = Seen::default();
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

    /// The first cell whose span has begun; of two that begin together the coarser, which has to
    /// be emptied into the finer.
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
            // Going round the ring from `from`, it comes to cells before it too.
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
        if coarse && self.seen.place != Some(place) {
            let len = self.levels[place.level].cell_mut(place.cell).len();
            self.seen = DrainSeen { place: Some(place), seen: Seen::sized_for(len) };
        }
        loop {
            let mut items = [0; GROUP_LEN_MAX];
            let group = &mut items[..groups.next_len()];
            let level = &mut self.levels[place.level];
            let taken = level.cell_mut(place.cell).take_group(group, &mut self.cell_bytes);
            let is_last = level.vacate_if_empty(place.cell, &mut self.cell_bytes);
            // Not on level 0: what is late is put into the cell that is being worked there, so a
            // repeat may be younger than the answer for the first.
            let mut kept = taken;
            if coarse {
                kept = self.seen.seen.retain_new(&mut items[..taken]);
                self.len -= taken - kept;
                if is_last {
                    self.seen = DrainSeen::default();
                }
            }
            self.settle(place, now_ms, &items[..kept], resolve)?;
            if is_last {
                return ControlFlow::Continue(());
            }
        }
    }

    /// Asks for the fates of items taken out of `place` and does as told.
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
                    // Wanted before this cell's span: the owner promised that another item waits
                    // there, so this one is left from a TTL that has moved earlier.
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

    /// Puts an item into the finest level whose two coarser cells (this and next) reach so far.
    fn put(&mut self, at_ms: u64, item: u32) {
        let at_ms = at_ms.max(self.worked_ms);
        let level = (0..TOP)
            .find(|level| at_ms >> ((level + 1) * FINER_BITS) <= self.current(level + 1) + 1)
            .unwrap_or(TOP);
        // Beyond the top level's reach (70 years) its last cell serves: asked then, put in again.
        let cell = (at_ms >> (level * FINER_BITS)).min(self.current(level) + Level::CELLS - 1);
        self.levels[level].push(cell, item, &mut self.cell_bytes);
    }

    /// What is left of a swept cell goes back into it, because its time has come.
    fn stop_sweeping(&mut self, place: Place) {
        if self.sweep.place == Some(place) && !self.sweep.todo.is_empty() {
            let todo = mem::take(&mut self.sweep.todo);
            self.levels[place.level].cell_mut(place.cell).absorb(todo, &mut self.cell_bytes);
            self.sweep.seen = Seen::default();
        }
    }

    /// The number of the cell that now lies in.
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
