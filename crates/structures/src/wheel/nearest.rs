//! Nearest: the items that are due next, and items at random, without taking them out.
//!
//! For eviction, which needs the key that expires next, or some key that expires at all.

use super::cell::{Cell, Level};
use super::{LEVELS, Place, Wheel};

impl Wheel {
    /// The items that are due next and their moments, in order of time; `moment` returns when an
    /// item's key expires, `None` if none needs the item. Nothing that is not returned is due before
    /// the last of them.
    ///
    /// Returns at most `count`, and asks about the items of whole cells until it knows that many, or
    /// about `asked_max` in all: of a cell with more only so many are compared.
    pub fn nearest(
        &self,
        count: usize,
        asked_max: usize,
        moment: &mut dyn FnMut(u32) -> Option<u64>,
    ) -> Vec<(u64, u32)> {
        let mut found: Vec<(u64, u32)> = Vec::new();
        let mut asked = 0;
        // Where each level goes on.
        let mut next: [Option<Place>; LEVELS] = std::array::from_fn(|level| self.first_in(level));
        let start_of = |place: &Option<Place>| place.map_or(u64::MAX, Place::start_ms);
        while let Some(level) = (0..LEVELS).min_by_key(|&level| start_of(&next[level]))
            && let Some(place) = next[level]
        {
            // What was found before this cell begins is nearer than all that is to come.
            let is_known = |(at_ms, _): &&(u64, u32)| self.wheel_ms(*at_ms) < place.start_ms();
            let is_enough = found.len() >= count && found.iter().filter(is_known).count() >= count;
            if asked >= asked_max || is_enough {
                break;
            }
            for item in self.items_at(place).take(asked_max - asked) {
                asked += 1;
                found.extend(moment(item).map(|at_ms| (at_ms, item)));
            }
            next[level] = self.levels[level]
                .first_from(place.cell + 1)
                .filter(|cell| *cell < self.current(level) + Level::CELLS)
                .map(|cell| Place { level, cell });
        }
        if asked < asked_max {
            let start_ms = next.iter().map(start_of).min().unwrap_or(u64::MAX);
            found.retain(|(at_ms, _)| self.wheel_ms(*at_ms) <= start_ms);
        }
        found.sort_unstable();
        found.truncate(count);
        found
    }

    /// An item that `random` chooses, each with the same probability; `None` if there is none.
    pub fn pick(&self, random: u64) -> Option<u32> {
        let mut nth = ((u128::from(random) * self.len as u128) >> 64) as usize;
        for level in 0..LEVELS {
            let mut from = self.current(level);
            let end = from + Level::CELLS;
            while let Some(cell) = self.levels[level].first_from(from).filter(|cell| *cell < end) {
                let place = Place { level, cell };
                let len = self.levels[level].cell(cell).map_or(0, Cell::len)
                    + if self.sweep.place == Some(place) { self.sweep.todo.len() } else { 0 };
                if nth < len {
                    return self.items_at(place).nth(nth);
                }
                nth -= len;
                from = cell + 1;
            }
        }
        None
    }

    /// The items of an occupied cell, with those that a sweep has taken out of it.
    fn items_at(&self, place: Place) -> impl Iterator<Item = u32> {
        let swept = (self.sweep.place == Some(place)).then_some(&self.sweep.todo);
        let cell = self.levels[place.level].cell(place.cell);
        cell.into_iter().chain(swept).flat_map(Cell::iter)
    }
}
