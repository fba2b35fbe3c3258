//! Runs: a map from stream IDs to values, sorted, in runs of neighbours.
//!
//! ```text
//! outer   [ run ][ run ][ run ] …      one pointer, length and capacity each
//! run     (id, value) (id, value) …    up to 128, side by side
//! ```
//!
//! Appended items fill runs completely; a run that has become small merges with a neighbour. The
//! longest move is that of the outer array's end: 10 million items are 80,000 runs.
//!
//! Not here: the meaning of the values.

use std::collections::VecDeque;

use crate::block::block_bytes;

use super::StreamId;

/// LIMIT: the number of items in a run.
const RUN_ITEMS_MAX: usize = 128;

/// Runs with no more items than this together are merged.
const RUN_ITEMS_MERGED: usize = RUN_ITEMS_MAX / 2;

/// A sorted map from IDs to values.
#[derive(Clone, Debug)]
pub(super) struct Runs<V> {
    /// None of them is empty.
    runs: VecDeque<Vec<(StreamId, V)>>,
    len: usize,
    /// Of all runs, without the outer array.
    run_bytes: usize,
}

/// The position of an item, or where it would be inserted.
#[derive(Clone, Copy, Debug)]
struct Spot {
    run: usize,
    at: usize,
}

impl<V> Runs<V> {
    pub(super) fn new() -> Self {
        Self { runs: VecDeque::new(), len: 0, run_bytes: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.run_bytes + block_bytes(self.runs.capacity() * size_of::<Vec<(StreamId, V)>>())
    }

    pub(super) fn get(&self, id: StreamId) -> Option<&V> {
        let spot = self.find(id).ok()?;
        Some(&self.runs[spot.run][spot.at].1)
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut V> {
        let spot = self.find(id).ok()?;
        Some(&mut self.runs[spot.run][spot.at].1)
    }

    pub(super) fn first(&self) -> Option<&(StreamId, V)> {
        self.runs.front()?.first()
    }

    pub(super) fn last(&self) -> Option<&(StreamId, V)> {
        self.runs.back()?.last()
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut V> {
        Some(&mut self.runs.back_mut()?.last_mut()?.1)
    }

    /// The last item with an ID of at most this; `None` if there is none.
    pub(super) fn floor_mut(&mut self, id: StreamId) -> Option<&mut (StreamId, V)> {
        let spot = self.before(id)?;
        self.runs[spot.run].get_mut(spot.at)
    }

    /// Items in order, from the first with an ID of at least this.
    pub(super) fn starting_at(&self, id: StreamId) -> impl Iterator<Item = &(StreamId, V)> {
        self.onward(self.find(id).unwrap_or_else(|spot| spot))
    }

    /// Items in order, from the last with an ID of at most this; all items if there is none.
    pub(super) fn starting_around(&self, id: StreamId) -> impl Iterator<Item = &(StreamId, V)> {
        self.onward(self.before(id).unwrap_or(Spot { run: 0, at: 0 }))
    }

    fn onward(&self, spot: Spot) -> impl Iterator<Item = &(StreamId, V)> {
        let runs = self.runs.range(spot.run.min(self.runs.len())..);
        runs.enumerate().flat_map(move |(index, run)| {
            let at = if index == 0 { spot.at.min(run.len()) } else { 0 };
            &run[at..]
        })
    }

    /// Items in descending order, from the last with an ID of at most this.
    pub(super) fn back_from(&self, id: StreamId) -> impl Iterator<Item = &(StreamId, V)> {
        let (end, len) = match self.before(id) {
            Some(spot) => (spot.run + 1, spot.at + 1),
            None => (0, 0),
        };
        self.runs.range(..end).rev().enumerate().flat_map(move |(index, run)| {
            let len = if index == 0 { len } else { run.len() };
            run[..len].iter().rev()
        })
    }

    /// Inserts a value; returns the previous one.
    pub(super) fn insert(&mut self, id: StreamId, value: V) -> Option<V> {
        let spot = match self.find(id) {
            Ok(spot) => return Some(std::mem::replace(&mut self.runs[spot.run][spot.at].1, value)),
            Err(spot) => self.make_room(spot),
        };
        self.len += 1;
        self.change(spot.run, |run| {
            if run.len() == run.capacity() {
                run.reserve_exact(run.len().clamp(1, RUN_ITEMS_MAX - run.len()));
            }
            run.insert(spot.at, (id, value));
        });
        None
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<V> {
        let spot = self.find(id).ok()?;
        Some(self.remove_at(spot).1)
    }

    pub(super) fn pop_first(&mut self) -> Option<(StreamId, V)> {
        (self.len > 0).then(|| self.remove_at(Spot { run: 0, at: 0 }))
    }

    /// Frees the last run; returns its number of items.
    pub(super) fn drop_run(&mut self) -> Option<Vec<(StreamId, V)>> {
        let run = self.runs.pop_back()?;
        self.len -= run.len();
        self.run_bytes -= run_bytes(&run);
        Some(run)
    }

    /// The position of an item, or where it would be inserted: within a run or at its end.
    fn find(&self, id: StreamId) -> Result<Spot, Spot> {
        // The newest item is looked up most often.
        let run = match self.runs.back() {
            None => return Err(Spot { run: 0, at: 0 }),
            Some(last) if last[0].0 <= id => self.runs.len() - 1,
            Some(_) => self.runs.partition_point(|run| run[0].0 <= id).saturating_sub(1),
        };
        match self.runs[run].binary_search_by_key(&id, |item| item.0) {
            Ok(at) => Ok(Spot { run, at }),
            Err(at) => Err(Spot { run, at }),
        }
    }

    /// The last item with an ID of at most this.
    fn before(&self, id: StreamId) -> Option<Spot> {
        match self.find(id) {
            Ok(spot) => Some(spot),
            // A position within a run has an item before it, unless it is the very first.
            Err(spot) => Some(Spot { at: spot.at.checked_sub(1)?, ..spot }),
        }
    }

    /// Makes room to insert an item at `spot`: a full run is split, or a new run follows it if the
    /// item comes after all others.
    fn make_room(&mut self, spot: Spot) -> Spot {
        let Spot { run, at } = spot;
        match self.runs.get(run) {
            None => self.runs.push_back(Vec::new()),
            Some(full) if full.len() == RUN_ITEMS_MAX => {
                if at == full.len() && run + 1 == self.runs.len() {
                    self.runs.push_back(Vec::new());
                    return Spot { run: run + 1, at: 0 };
                }
                let half = RUN_ITEMS_MAX / 2;
                let mut tail = Vec::with_capacity(RUN_ITEMS_MAX);
                self.change(run, |run| tail.extend(run.drain(half..)));
                self.run_bytes += run_bytes(&tail);
                self.runs.insert(run + 1, tail);
                if at > half {
                    return Spot { run: run + 1, at: at - half };
                }
            }
            Some(_) => {}
        }
        spot
    }

    fn remove_at(&mut self, spot: Spot) -> (StreamId, V) {
        self.len -= 1;
        let item = self.change(spot.run, |run| {
            let item = run.remove(spot.at);
            if run.len() * 4 <= run.capacity() {
                run.shrink_to(run.len() * 2);
            }
            item
        });
        let len = self.runs[spot.run].len();
        if len == 0 {
            self.runs.remove(spot.run);
            if self.runs.len() * 4 <= self.runs.capacity() {
                self.runs.shrink_to(self.runs.len() * 2);
            }
        } else if len <= RUN_ITEMS_MERGED / 2 {
            let fits =
                |run: Option<&Vec<_>>| run.is_some_and(|run| len + run.len() <= RUN_ITEMS_MERGED);
            if spot.run > 0 && fits(self.runs.get(spot.run - 1)) {
                self.merge(spot.run - 1);
            } else if fits(self.runs.get(spot.run + 1)) {
                self.merge(spot.run);
            }
        }
        item
    }

    /// Merges a run with the next one.
    fn merge(&mut self, run: usize) {
        let next = self.runs.remove(run + 1).expect("because the caller saw it");
        self.run_bytes -= run_bytes(&next);
        self.change(run, |run| {
            run.reserve_exact(next.len());
            run.extend(next);
        });
    }

    /// Changes a run and updates the accounting.
    fn change<T>(&mut self, run: usize, change: impl FnOnce(&mut Vec<(StreamId, V)>) -> T) -> T {
        let run = &mut self.runs[run];
        self.run_bytes -= run_bytes(run);
        let result = change(run);
        self.run_bytes += run_bytes(run);
        result
    }

    /// The heap bytes of all runs, computed by a walk.
    #[cfg(test)]
    pub(super) fn counted_bytes(&self) -> usize {
        let outer = block_bytes(self.runs.capacity() * size_of::<Vec<(StreamId, V)>>());
        outer + self.runs.iter().map(run_bytes).sum::<usize>()
    }

    /// Panics if an invariant does not hold.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert!(self.runs.iter().all(|run| !run.is_empty() && run.len() <= RUN_ITEMS_MAX));
        assert_eq!(self.runs.iter().map(Vec::len).sum::<usize>(), self.len);
        assert_eq!(self.heap_bytes(), self.counted_bytes());
        let ids: Vec<_> = self.runs.iter().flatten().map(|item| item.0).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
    }
}

fn run_bytes<V>(run: &Vec<(StreamId, V)>) -> usize {
    block_bytes(run.capacity() * size_of::<(StreamId, V)>())
}
