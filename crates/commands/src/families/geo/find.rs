//! Find: the members of a sorted set that are in an area.
//!
//! Cells are ranges of scores. One with few members is scanned; one with many is split into
//! quarters, and those outside of the area's frame are skipped, so that other members are hardly
//! read. The order stays that of the cells, and of the scores in them.

use std::ops::{ControlFlow, Range};

use basalt_keyspace::{ScoreRange, Scored, SortedRef};

use super::area::{Area, Frame};
use super::grid::{Cell, Place, number_of_score};

/// LIMIT: up to this number of members, those outside of the frame are checked one by one.
const WALKED_MAX: usize = 32;

/// A member in an area.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) member: &'a [u8],
    pub(super) score: f64,
    pub(super) place: Place,
    /// In metres from the area's centre.
    pub(super) distance_m: f64,
}

struct Search<'s> {
    area: &'s Area,
    frame: Frame,
}

/// Visits the members in an area, in Redis' order, until `visit` breaks off.
pub(super) fn find<'a>(
    sorted: SortedRef<'a>,
    area: &Area,
    visit: &mut impl FnMut(Found<'a>) -> ControlFlow<()>,
) {
    let search = Search { area, frame: area.frame() };
    if sorted.is_large() {
        let mut cells = area.cells();
        let _ = cells.try_for_each(|cell| search.visit(sorted, cell, visit));
        return;
    }
    // Ranges of a small sorted set are found by a scan, so it is scanned once for all cells.
    let near: Vec<Found<'a>> = sorted.iter().filter_map(|scored| search.measure(scored)).collect();
    let _ = area.cells().try_for_each(|cell| {
        let scores = cell.scores();
        near.iter().filter(|one| scores.contains(&one.score)).try_for_each(|one| visit(*one))
    });
}

impl Search<'_> {
    /// The members of a cell that are in the area.
    fn visit<'a>(
        &self,
        sorted: SortedRef<'a>,
        cell: Cell,
        visit: &mut impl FnMut(Found<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if !self.frame.meets(cell) {
            return ControlFlow::Continue(());
        }
        let Range { start: min, end: max } = cell.scores();
        let range = ScoreRange { min, max, without_min: false, without_max: true };
        let ranks = sorted.ranks_by_score(&range);
        if ranks.len() > WALKED_MAX
            && !self.frame.holds(cell)
            && let Some(quarters) = cell.quarters()
        {
            return quarters.into_iter().try_for_each(|quarter| self.visit(sorted, quarter, visit));
        }
        sorted.walk(ranks).filter_map(|scored| self.measure(scored)).try_for_each(visit)
    }

    /// A member, if it is in the area.
    #[inline]
    fn measure<'a>(&self, Scored { member, score }: Scored<'a>) -> Option<Found<'a>> {
        let number = number_of_score(score);
        if !self.frame.has(number) {
            return None;
        }
        let place = Place::of_number(number);
        let distance_m = self.area.distance_within_m(place)?;
        Some(Found { member, score, place, distance_m })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use basalt_keyspace::{
        DatabaseId, Effect, KeyHasher, Keyspace, SortedChange, StringList, score_bytes,
    };

    use super::super::area::{Shape, distance_m};
    use super::super::grid::LAT_MAX;
    use super::*;

    /// Pseudo-random numbers, from a seed.
    struct Random(u64);

    impl Random {
        fn number(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.0 >> 33 ^ self.0 << 21 & 0x7FFF_FFFF
        }

        fn between(&mut self, from: f64, to: f64) -> f64 {
            from + (to - from) * (self.number() % 1_000_001) as f64 / 1_000_000.0
        }

        /// Anywhere, often near a position, near the edges of the map and on them.
        fn place(&mut self, near: Place) -> Place {
            match self.number() % 8 {
                0..3 => Place {
                    lon: (near.lon + self.between(-2.0, 2.0)).clamp(-180.0, 180.0),
                    lat: (near.lat + self.between(-2.0, 2.0)).clamp(-LAT_MAX, LAT_MAX),
                },
                3 => Place { lon: self.between(178.0, 180.0), lat: self.between(-60.0, 60.0) },
                4 => Place { lon: self.between(-180.0, -178.0), lat: self.between(-60.0, 60.0) },
                5 => Place { lon: self.between(-180.0, 180.0), lat: self.between(80.0, LAT_MAX) },
                _ => {
                    Place { lon: self.between(-180.0, 180.0), lat: self.between(-LAT_MAX, LAT_MAX) }
                }
            }
        }

        fn area(&mut self, near: Place) -> Area {
            let center = self.place(near);
            let unit_m = [1.0, 1000.0, 0.3048, 1609.34][self.number() as usize % 4];
            let top = [10.0, 3000.0, 200_000.0, 5_000_000.0][self.number() as usize % 4];
            let length = |random: &mut Self| random.between(0.0, top) / unit_m;
            match self.number() % 3 {
                0 => Area { center, shape: Shape::Circle { radius: length(self) }, unit_m },
                1 => {
                    let (width, height) = (length(self), length(self));
                    Area { center, shape: Shape::Box { width, height }, unit_m }
                }
                _ => {
                    let count = 3 + self.number() as usize % 4;
                    Area::of_polygon((0..count).map(|_| self.place(near)).collect())
                }
            }
        }
    }

    /// A sorted set of these positions, in the encoding that the thresholds choose.
    fn keyspace_of(places: &[Place], is_large: bool) -> Keyspace {
        let mut keyspace = Keyspace::new(1, KeyHasher::new(1), 0);
        if is_large {
            keyspace.thresholds.zset_max_listpack_entries = 0;
        } else {
            keyspace.thresholds.zset_max_listpack_entries = u64::MAX;
        }
        let mut pairs = StringList::default();
        for (number, place) in places.iter().enumerate() {
            pairs.push(&score_bytes(place.score()));
            pairs.push(number.to_string().as_bytes());
        }
        let key = keyspace.key(b"places");
        let change = SortedChange::Set { pairs: pairs.as_strings() };
        keyspace.edit(DatabaseId(0), &key).commit(Effect::Sorted(change));
        keyspace
    }

    /// The result of the simple model: it measures every member.
    fn measured(sorted: SortedRef<'_>, area: &Area) -> BTreeSet<Vec<u8>> {
        let is_within =
            |one: &Scored<'_>| area.distance_within_m(Place::of_score(one.score)).is_some();
        sorted.iter().filter(is_within).map(|one| one.member.to_vec()).collect()
    }

    /// The scores that Redis would examine: those of the cells.
    fn is_visited(area: &Area, score: f64) -> bool {
        area.cells().any(|cell| cell.scores().contains(&score))
    }

    #[test]
    fn found_is_what_is_near_enough() {
        let mut random = Random(7);
        let mut found_count = 0;
        for round in 0..60 {
            let home =
                Place { lon: random.between(-179.0, 179.0), lat: random.between(-80.0, 80.0) };
            let count = [20, 300, 1500][round % 3];
            let places: Vec<Place> = (0..count).map(|_| random.place(home)).collect();
            for is_large in [false, true] {
                let keyspace = keyspace_of(&places, is_large);
                let key = keyspace.key(b"places");
                let entry = keyspace.peek(DatabaseId(0), &key).expect("it was set");
                let sorted = SortedRef::of(&entry).expect("it is a sorted set");
                for _ in 0..20 {
                    let area = random.area(home);
                    let mut found = Vec::new();
                    find(sorted, &area, &mut |one| {
                        assert_eq!(one.distance_m, distance_m(area.center, one.place));
                        found.push(one.member.to_vec());
                        ControlFlow::Continue(())
                    });
                    let found_set: BTreeSet<Vec<u8>> = found.iter().cloned().collect();
                    assert_eq!(found.len(), found_set.len(), "each is found once: {area:?}");
                    let mut expected = measured(sorted, &area);
                    // If Redis' cells miss a member, so do ours.
                    expected.retain(|member| {
                        let score = sorted.score(member).expect("it is a member");
                        is_visited(&area, score)
                    });
                    assert_eq!(found_set, expected, "{area:?}");
                    found_count += found.len();
                }
            }
        }
        assert!(found_count > 10_000, "{found_count}");
    }

    #[test]
    fn cells_leave_nothing_out_but_at_the_ends() {
        let mut random = Random(3);
        for _ in 0..3000 {
            let center =
                Place { lon: random.between(-180.0, 180.0), lat: random.between(-70.0, 70.0) };
            let radius = random.between(0.0, 1_000_000.0);
            let area = Area { center, shape: Shape::Circle { radius }, unit_m: 1.0 };
            for _ in 0..30 {
                let place = Place::of_score(random.place(center).score());
                if area.distance_within_m(place).is_some() && place.lon < 180.0 {
                    assert!(is_visited(&area, place.score()), "{area:?} {place:?}");
                }
            }
        }
    }

    #[test]
    fn a_search_ends_when_told() {
        let mut random = Random(9);
        let home = Place { lon: 10.0, lat: 10.0 };
        let places: Vec<Place> = (0..500).map(|_| random.place(home)).collect();
        let keyspace = keyspace_of(&places, true);
        let entry = keyspace.peek(DatabaseId(0), &keyspace.key(b"places")).expect("it was set");
        let sorted = SortedRef::of(&entry).expect("it is a sorted set");
        let radius = 30_000_000.0;
        let area = Area { center: home, shape: Shape::Circle { radius }, unit_m: 1.0 };
        let mut count = 0;
        find(sorted, &area, &mut |_| {
            count += 1;
            if count == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(count, 7);
    }
}
