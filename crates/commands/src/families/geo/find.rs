//! Find: the members of a sorted set that are in an area.
//!
//! Cells are ranges of scores. One with few members is walked; one with many is quartered, and what lies
//! outside of the area's frame is passed over, so that members of other places are hardly touched. The order
//! stays that of the cells, and of the scores in them.

use std::ops::{ControlFlow, Range};

use basalt_keyspace::{ScoreRange, Scored, SortedRef};

use super::area::{Area, Frame};
use super::grid::{Cell, Place, number_of_score};

/// LIMIT: of so many members those outside of the frame are looked at one by one.
const WALKED_MAX: usize = 32;

/// A member in an area.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) member: &'a [u8],
    pub(super) score: f64,
    pub(super) place: Place,
    /// From the area's centre.
    pub(super) distance_m: f64,
}

/// The members that are searched.
enum Members<'a> {
    /// Those of a small sorted set, read once: its ranges are found by walking it.
    Few(Vec<Scored<'a>>),
    Many(SortedRef<'a>),
}

impl<'a> Members<'a> {
    fn ranks(&self, scores: &Range<f64>) -> Range<usize> {
        match self {
            Self::Few(members) => {
                let before = |score| members.partition_point(|one| one.score < score);
                before(scores.start)..before(scores.end)
            }
            Self::Many(sorted) => sorted.ranks_by_score(&ScoreRange {
                min: scores.start,
                max: scores.end,
                without_min: false,
                without_max: true,
            }),
        }
    }

    fn try_for_each(
        &self,
        ranks: Range<usize>,
        visit: impl FnMut(Scored<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Few(members) => members[ranks].iter().copied().try_for_each(visit),
            Self::Many(sorted) => sorted.walk(ranks).try_for_each(visit),
        }
    }
}

struct Search<'s, 'a> {
    area: &'s Area,
    frame: Frame,
    members: Members<'a>,
}

/// Visits the members in an area, in Redis' order, until told to stop.
pub(super) fn find<'a>(
    sorted: SortedRef<'a>,
    area: &Area,
    visit: &mut impl FnMut(Found<'a>) -> ControlFlow<()>,
) {
    let members = if sorted.is_large() {
        Members::Many(sorted)
    } else {
        Members::Few(sorted.iter().collect())
    };
    let search = Search { area, frame: area.frame(), members };
    for cell in area.cells() {
        if search.visit(cell, visit).is_break() {
            return;
        }
    }
}

impl<'a> Search<'_, 'a> {
    fn visit(
        &self,
        cell: Cell,
        visit: &mut impl FnMut(Found<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if !self.frame.meets(cell) {
            return ControlFlow::Continue(());
        }
        let ranks = self.members.ranks(&cell.scores());
        if ranks.len() > WALKED_MAX
            && !self.frame.holds(cell)
            && let Some(quarters) = cell.quarters()
        {
            return quarters.into_iter().try_for_each(|quarter| self.visit(quarter, visit));
        }
        self.members.try_for_each(ranks, |scored| {
            let number = number_of_score(scored.score);
            if !self.frame.has(number) {
                return ControlFlow::Continue(());
            }
            let place = Place::of_number(number);
            match self.area.distance_within_m(place) {
                None => ControlFlow::Continue(()),
                Some(distance_m) => {
                    let Scored { member, score } = scored;
                    visit(Found { member, score, place, distance_m })
                }
            }
        })
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

    /// Numbers by chance, from a seed.
    struct Chance(u64);

    impl Chance {
        fn number(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.0 >> 33 ^ self.0 << 21 & 0x7FFF_FFFF
        }

        fn between(&mut self, from: f64, to: f64) -> f64 {
            from + (to - from) * (self.number() % 1_000_001) as f64 / 1_000_000.0
        }

        /// Anywhere, often near a place, near the ends of the map and on them.
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
            let length = |chance: &mut Self| chance.between(0.0, top) / unit_m;
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

    /// A sorted set of these places, of the form that the thresholds give it.
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

    /// The members of the plain model: each is measured.
    fn measured(sorted: SortedRef<'_>, area: &Area) -> BTreeSet<Vec<u8>> {
        let is_within =
            |one: &Scored<'_>| area.distance_within_m(Place::of_score(one.score)).is_some();
        sorted.iter().filter(is_within).map(|one| one.member.to_vec()).collect()
    }

    /// The scores that Redis would look at: those of the cells.
    fn is_visited(area: &Area, score: f64) -> bool {
        area.cells().any(|cell| cell.scores().contains(&score))
    }

    #[test]
    fn found_is_what_is_near_enough() {
        let mut chance = Chance(7);
        let mut found_count = 0;
        for round in 0..60 {
            let home =
                Place { lon: chance.between(-179.0, 179.0), lat: chance.between(-80.0, 80.0) };
            let count = [20, 300, 1500][round % 3];
            let places: Vec<Place> = (0..count).map(|_| chance.place(home)).collect();
            for is_large in [false, true] {
                let keyspace = keyspace_of(&places, is_large);
                let key = keyspace.key(b"places");
                let entry = keyspace.peek(DatabaseId(0), &key).expect("it was set");
                let sorted = SortedRef::of(&entry).expect("it is a sorted set");
                for _ in 0..20 {
                    let area = chance.area(home);
                    let mut found = Vec::new();
                    find(sorted, &area, &mut |one| {
                        assert_eq!(one.distance_m, distance_m(area.center, one.place));
                        found.push(one.member.to_vec());
                        ControlFlow::Continue(())
                    });
                    let found_set: BTreeSet<Vec<u8>> = found.iter().cloned().collect();
                    assert_eq!(found.len(), found_set.len(), "each is found once: {area:?}");
                    let mut expected = measured(sorted, &area);
                    // Where the cells of Redis leave something out, so does this.
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
        let mut chance = Chance(3);
        for _ in 0..3000 {
            let center =
                Place { lon: chance.between(-180.0, 180.0), lat: chance.between(-70.0, 70.0) };
            let radius = chance.between(0.0, 1_000_000.0);
            let area = Area { center, shape: Shape::Circle { radius }, unit_m: 1.0 };
            for _ in 0..30 {
                let place = Place::of_score(chance.place(center).score());
                if area.distance_within_m(place).is_some() && place.lon < 180.0 {
                    assert!(is_visited(&area, place.score()), "{area:?} {place:?}");
                }
            }
        }
    }

    #[test]
    fn a_search_ends_when_told() {
        let mut chance = Chance(9);
        let home = Place { lon: 10.0, lat: 10.0 };
        let places: Vec<Place> = (0..500).map(|_| chance.place(home)).collect();
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
