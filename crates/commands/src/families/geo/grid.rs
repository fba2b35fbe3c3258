//! Grid: positions as numbers (geohash: a Morton code of 52 bits). The world is halved in longitude
//! and latitude alternately, 26 times each; a position's number has a bit for each halving, so
//! positions in one cell of the grid have consecutive numbers.
//!
//! ```text
//!   ┌────┬────┐      a cell at step 1, of 4:  bit 1 east or west, bit 0 north or south
//!   │ 01 │ 11 │      its quarters have two more bits at the end
//!   ├────┼────┤
//!   │ 00 │ 10 │      there are no positions north of 85.05° and south of -85.05° (Web Mercator)
//!   └────┴────┘
//! ```
//!
//! Not here: distances and areas (`area`).

use std::ops::Range;

use basalt_resp::parse_f64;

use crate::error::CommandError;

/// The number of halvings in each dimension.
pub(super) const STEPS: u32 = 26;

const LON_MAX: f64 = 180.0;
/// The maximum latitude of a position.
pub(super) const LAT_MAX: f64 = 85.051_128_78;

/// A position on the globe, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) lon: f64,
    pub(super) lat: f64,
}

/// The even bits; the other coordinate has the odd ones.
pub(super) const EVEN: u64 = 0x5555_5555_5555_5555;

/// Spreads the bits of a number to the even bits.
#[inline]
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    bits = (bits | bits << 16) & 0x0000_FFFF_0000_FFFF;
    bits = (bits | bits << 8) & 0x00FF_00FF_00FF_00FF;
    bits = (bits | bits << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    bits = (bits | bits << 2) & 0x3333_3333_3333_3333;
    (bits | bits << 1) & EVEN
}

/// Gathers the even bits of a number.
#[inline]
fn gather(bits: u64) -> u32 {
    let mut bits = bits & EVEN;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0F0F_0F0F_0F0F_0F0F;
    bits = (bits | bits >> 4) & 0x00FF_00FF_00FF_00FF;
    bits = (bits | bits >> 8) & 0x0000_FFFF_0000_FFFF;
    (bits | bits >> 16) as u32
}

/// A row or column, as its bits within a position's number.
#[inline]
pub(super) fn in_number(row: u32) -> u64 {
    spread(row)
}

/// The index of a coordinate among `2^steps` rows, for a range centred at 0. The upper end of the
/// range has its own row, one beyond the last: as in Redis.
#[inline]
pub(super) fn row_of(coordinate: f64, max: f64, steps: u32) -> u32 {
    let offset = (coordinate - -max) / (max - -max);
    (offset * f64::from(1_u32 << steps)) as u32
}

/// The edge of a row: `row` counts from the lower end of a range centred at 0.
#[inline]
fn edge(row: u32, max: f64, steps: u32) -> f64 {
    -max + f64::from(row) * 1.0 / f64::from(1_u32 << steps) * (max - -max)
}

impl Place {
    /// Parses a longitude and a latitude.
    pub(super) fn parse(lon: &[u8], lat: &[u8]) -> Result<Self, CommandError> {
        let lon = parse_f64(lon).ok_or(CommandError::NOT_FLOAT)?;
        let lat = parse_f64(lat).ok_or(CommandError::NOT_FLOAT)?;
        if lon.abs() > LON_MAX || lat.abs() > LAT_MAX {
            let text = format!("ERR invalid longitude,latitude pair {lon:.6},{lat:.6}");
            return Err(CommandError::new(text));
        }
        Ok(Self { lon, lat })
    }

    /// The score of the position.
    pub(super) fn score(self) -> f64 {
        Cell::of(self, STEPS).number() as f64
    }

    /// The position of a score: the middle of a cell of the last step. Any score gives some
    /// position.
    #[inline]
    pub(super) fn of_score(score: f64) -> Self {
        Self::of_number(number_of_score(score))
    }

    #[inline]
    pub(super) fn of_number(number: u64) -> Self {
        let middle = |row: u32, max: f64| {
            let middle = (edge(row, max, STEPS) + edge(row.wrapping_add(1), max, STEPS)) / 2.0;
            middle.clamp(-max, max)
        };
        Self { lon: middle(gather(number >> 1), LON_MAX), lat: middle(gather(number), LAT_MAX) }
    }

    /// The standard geohash, with latitudes up to the poles.
    pub(super) fn geohash(self) -> [u8; 11] {
        const BASE_32: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        const POLE: f64 = 90.0;
        let rows = (row_of(self.lat, POLE, STEPS), row_of(self.lon, LON_MAX, STEPS));
        let number = spread(rows.0) | spread(rows.1) << 1;
        // There are bits for ten letters and one bit more; as in Redis the eleventh letter is 0.
        std::array::from_fn(|at| match at {
            10 => BASE_32[0],
            at => BASE_32[(number >> (52 - 5 * (at + 1))) as usize & 31],
        })
    }
}

/// A score as a position's number. Scores out of range are converted as by C on x86-64.
#[inline]
pub(super) fn number_of_score(score: f64) -> u64 {
    const SIGNED_END: f64 = (1_u64 << 63) as f64;
    if score < SIGNED_END {
        score as i64 as u64
    } else if score < SIGNED_END * 2.0 {
        score as u64
    } else {
        0
    }
}

/// A cell of the grid: one of `4^steps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    column: u32,
    row: u32,
    steps: u32,
}

impl Cell {
    pub(super) fn of(place: Place, steps: u32) -> Self {
        let column = row_of(place.lon, LON_MAX, steps);
        Self { column, row: row_of(place.lat, LAT_MAX, steps), steps }
    }

    fn number(self) -> u64 {
        spread(self.column) << 1 | spread(self.row)
    }

    /// The adjacent cell, across the edges of the map.
    pub(super) fn beside(self, (east, north): (i32, i32)) -> Self {
        let mask = (1 << self.steps) - 1;
        // At step 0 nothing wraps: the upper end keeps its own row.
        let moved = |row: u32, by: i32| match by {
            0 => row,
            by => row.wrapping_add_signed(by) & mask,
        };
        Self { column: moved(self.column, east), row: moved(self.row, north), ..self }
    }

    /// The scores of its positions.
    pub(super) fn scores(self) -> Range<f64> {
        let (number, shift) = (self.number(), 2 * (STEPS - self.steps));
        (number << shift) as f64..((number + 1) << shift) as f64
    }

    /// Its rows of the last step.
    pub(super) fn rows(self) -> Range<u32> {
        self.row << (STEPS - self.steps)..(self.row + 1) << (STEPS - self.steps)
    }

    /// Its columns of the last step.
    pub(super) fn columns(self) -> Range<u32> {
        self.column << (STEPS - self.steps)..(self.column + 1) << (STEPS - self.steps)
    }

    /// Its quarters, in the order of their scores; `None` for a cell of the last step.
    pub(super) fn quarters(self) -> Option<[Self; 4]> {
        let (column, row, steps) = (self.column * 2, self.row * 2, self.steps + 1);
        (steps <= STEPS).then_some([
            Self { column, row, steps },
            Self { column, row: row + 1, steps },
            Self { column: column + 1, row, steps },
            Self { column: column + 1, row: row + 1, steps },
        ])
    }

    /// Its southwestern and northeastern corners.
    pub(super) fn corners(self) -> (Place, Place) {
        let corner = |column, row| Place {
            lon: edge(column, LON_MAX, self.steps),
            lat: edge(row, LAT_MAX, self.steps),
        };
        (corner(self.column, self.row), corner(self.column + 1, self.row + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(lon: f64, lat: f64) -> Place {
        Place { lon, lat }
    }

    #[test]
    fn scores_and_geohashes_are_those_of_redis() {
        let palermo = place(13.361_389, 38.115_556);
        assert_eq!(palermo.score(), 3_479_099_956_230_698.0);
        assert_eq!(&Place::of_score(palermo.score()).geohash(), b"sqc8b49rny0");
        let back = Place::of_score(palermo.score());
        assert!((back.lon - palermo.lon).abs() < 3e-6 && (back.lat - palermo.lat).abs() < 3e-6);
    }

    #[test]
    fn the_ends_of_the_map_are_places() {
        assert_eq!(Place::of_score(place(180.0, LAT_MAX).score()), place(180.0, LAT_MAX));
        let southwest = Place::of_score(place(-180.0, -LAT_MAX).score());
        assert!(southwest.lon < -179.999_99 && southwest.lat < -85.051_12);
        for (lon, lat) in [("180.1", "0"), ("0", "85.06"), ("-181", "-86"), ("inf", "1")] {
            assert!(Place::parse(lon.as_bytes(), lat.as_bytes()).is_err(), "{lon} {lat}");
        }
    }

    #[test]
    fn scores_of_no_place_give_some() {
        for score in [-1.0, 1e19, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY, 1.5, 1e16] {
            let found = Place::of_score(score);
            assert!(found.lon.abs() <= 180.0 && found.lat.abs() <= LAT_MAX, "{score}");
        }
        assert_eq!(number_of_score(-1.0), u64::MAX);
        assert_eq!(number_of_score(1e19), 10_000_000_000_000_000_000);
        assert_eq!(number_of_score(1e20), 0);
    }

    #[test]
    fn quarters_fill_their_cell_in_order() {
        let mut cell = Cell::of(place(-77.0, 12.5), 1);
        while let Some(quarters) = cell.quarters() {
            let scores = cell.scores();
            assert_eq!(
                (scores.start, scores.end),
                (quarters[0].scores().start, quarters[3].scores().end)
            );
            for pair in quarters.windows(2) {
                assert_eq!(pair[0].scores().end, pair[1].scores().start);
            }
            let (southwest, northeast) = cell.corners();
            assert!(southwest.lon <= -77.0 && northeast.lon > -77.0);
            assert!(southwest.lat <= 12.5 && northeast.lat > 12.5);
            let own = Cell::of(place(-77.0, 12.5), cell.steps + 1);
            assert!(quarters.contains(&own));
            cell = own;
        }
        assert_eq!(cell.rows().len(), 1);
    }

    #[test]
    fn neighbours_go_around_the_world() {
        let cell = Cell { column: 0, row: 3, steps: 2 };
        assert_eq!(cell.beside((-1, 0)), Cell { column: 3, ..cell });
        assert_eq!(cell.beside((1, 1)), Cell { column: 1, row: 0, steps: 2 });
        let end = Cell::of(place(180.0, 0.0), 2);
        assert_eq!(end.column, 4, "one too many");
        assert_eq!(end.beside((0, 1)).column, 4);
        assert_eq!(end.beside((1, 0)).column, 1);
    }
}
