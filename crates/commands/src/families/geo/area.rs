//! Area: the shape to search, a circle, a box or a polygon on the globe, and its cells in the grid.
//!
//! The visited cells and their order are those of Redis (geohash_helper.c), so results have its
//! order. Within them only members in a *frame* around the area are examined: rows and columns of
//! the grid that certainly contain all of it, which are compared without trigonometry.
//!
//! Not here: the members in the cells (`search`).

use std::f64::consts::{FRAC_PI_2, PI};

use super::grid::{Cell, EVEN, LAT_MAX, Place, STEPS, in_number, row_of};

const EARTH_RADIUS_M: f64 = 6_372_797.560_856;
/// Half the width of the map, in metres.
const MERCATOR_MAX_M: f64 = 20_037_726.37;
const RADIANS: f64 = PI / 180.0;

fn radians(degrees: f64) -> f64 {
    degrees * RADIANS
}

fn degrees(radians: f64) -> f64 {
    radians / RADIANS
}

/// The distance between two latitudes, in metres.
fn lat_distance_m(one: f64, other: f64) -> f64 {
    EARTH_RADIUS_M * (radians(one) - radians(other)).abs()
}

/// The great-circle distance of two positions, in metres (haversine). The order of its operations
/// is that of Redis, because clients see the digits.
pub(super) fn distance_m(from: Place, to: Place) -> f64 {
    let across = ((radians(to.lon) - radians(from.lon)) / 2.0).sin();
    if across == 0.0 {
        return lat_distance_m(to.lat, from.lat);
    }
    let (from, to) = (radians(from.lat), radians(to.lat));
    let up = ((to - from) / 2.0).sin();
    let square = up * up + from.cos() * to.cos() * across * across;
    2.0 * EARTH_RADIUS_M * square.sqrt().min(1.0).asin()
}

/// A shape on the globe, with lengths in the given unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
    Polygon { corners: Vec<Place> },
}

/// An area to search.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Area {
    /// The position from which distances are measured.
    pub(super) center: Place,
    pub(super) shape: Shape,
    /// The length in metres of the unit of arguments and replies.
    pub(super) unit_m: f64,
}

/// The range of degrees of an area, as Redis calculates it: near the poles they may be NaN.
struct Bounds {
    southwest: Place,
    northeast: Place,
}

impl Area {
    /// An area around the middle of a polygon: the direction of the sum of the vectors to its
    /// corners.
    pub(super) fn of_polygon(corners: Vec<Place>) -> Self {
        let mut sum = [0.0; 3];
        for corner in &corners {
            let (lon, lat) = (radians(corner.lon), radians(corner.lat));
            sum[0] += lat.cos() * lon.cos();
            sum[1] += lat.cos() * lon.sin();
            sum[2] += lat.sin();
        }
        let [x, y, z] = sum;
        let lat = z.atan2((x * x + y * y).sqrt());
        let center = Place { lon: degrees(y.atan2(x)), lat: degrees(lat) };
        Self { center, shape: Shape::Polygon { corners }, unit_m: 1.0 }
    }

    /// The distance of a position from the centre, in metres; `None` if it is outside of the area.
    #[inline]
    pub(super) fn distance_within_m(&self, place: Place) -> Option<f64> {
        match &self.shape {
            Shape::Circle { radius } => {
                let distance = distance_m(self.center, place);
                // The condition has the form of Redis': for antipodal positions the distance may be
                // NaN.
                let is_beyond = distance > radius * self.unit_m;
                (!is_beyond).then_some(distance)
            }
            Shape::Box { width, height } => {
                if lat_distance_m(place.lat, self.center.lat) > height * self.unit_m / 2.0 {
                    return None;
                }
                let on_same_lat = Place { lat: place.lat, ..self.center };
                let is_beside = distance_m(place, on_same_lat) > width * self.unit_m / 2.0;
                (!is_beside).then(|| distance_m(self.center, place))
            }
            Shape::Polygon { corners } => {
                is_inside(corners, place).then(|| distance_m(self.center, place))
            }
        }
    }

    fn bounds(&self) -> Bounds {
        let (width, height) = match &self.shape {
            Shape::Circle { radius } => (self.unit_m * radius, self.unit_m * radius),
            Shape::Box { width, height } => (self.unit_m * width / 2.0, self.unit_m * height / 2.0),
            Shape::Polygon { corners } => return bounds_of(corners),
        };
        let Place { lon, lat } = self.center;
        let up = degrees(height / EARTH_RADIUS_M);
        let across = |lat: f64| degrees(width / EARTH_RADIUS_M / radians(lat).cos());
        // The side that is nearer to a pole.
        let across = if lat < 0.0 { across(lat - up) } else { across(lat + up) };
        Bounds {
            southwest: Place { lon: lon - across, lat: lat - up },
            northeast: Place { lon: lon + across, lat: lat + up },
        }
    }

    /// The maximum distance of the area's positions from its centre, in metres.
    fn reach_m(&self, bounds: &Bounds) -> f64 {
        let reach = match &self.shape {
            Shape::Circle { radius } => *radius,
            Shape::Box { width, height } => {
                ((width / 2.0) * (width / 2.0) + (height / 2.0) * (height / 2.0)).sqrt()
            }
            Shape::Polygon { .. } => {
                let (low, high) = (bounds.southwest, bounds.northeast);
                let corners =
                    [low, high, Place { lat: low.lat, ..high }, Place { lat: high.lat, ..low }];
                corners
                    .map(|corner| distance_m(self.center, corner))
                    .into_iter()
                    .fold(0.0, f64::max)
            }
        };
        reach * self.unit_m
    }

    /// The cells that cover the area, in the order in which Redis visits them.
    pub(super) fn cells(&self) -> impl Iterator<Item = Cell> {
        /// The cell of the centre, then north, south, east, west, and the diagonal ones.
        const AROUND: [(i32, i32); 9] =
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let bounds = self.bounds();
        // The middle of corners around a pole may be the pole, which has no cell.
        let center = Place { lat: self.center.lat.clamp(-LAT_MAX, LAT_MAX), ..self.center };
        let mut steps = steps_for(self.reach_m(&bounds), self.center.lat);
        let mut cell = Cell::of(center, steps);
        if steps > 1 && !is_held_around(cell, &bounds) {
            steps -= 1;
            cell = Cell::of(center, steps);
        }
        let (southwest, northeast) = cell.corners();
        let (low, high) = (bounds.southwest, bounds.northeast);
        // If the cell extends beyond the bounds on a side, its neighbour there is left out.
        let is_needed = move |(east, north): (i32, i32)| {
            steps < 2
                || !((north < 0 && southwest.lat < low.lat)
                    || (north > 0 && northeast.lat > high.lat)
                    || (east < 0 && southwest.lon < low.lon)
                    || (east > 0 && northeast.lon > high.lon))
        };
        let mut last = None;
        AROUND.into_iter().filter(move |towards| is_needed(*towards)).filter_map(move |towards| {
            let beside = cell.beside(towards);
            // The neighbours of large cells may coincide.
            let is_again = last.replace(beside) == Some(beside);
            (!is_again).then_some(beside)
        })
    }

    /// Rows and columns that contain all positions of the area.
    pub(super) fn frame(&self) -> Frame {
        let Place { lon, lat } = self.center;
        let (up, across) = match &self.shape {
            Shape::Circle { radius } => {
                let angle = radius * self.unit_m / EARTH_RADIUS_M;
                let has_no_pole = radians(lat).abs() + angle < FRAC_PI_2;
                let across = (angle.sin() / radians(lat).cos()).asin();
                (angle, if has_no_pole { across } else { PI })
            }
            Shape::Box { width, height } => {
                let angle = height * self.unit_m / 2.0 / EARTH_RADIUS_M;
                let narrowest = (radians(lat).abs() + angle).min(radians(LAT_MAX)).cos();
                let half = width * self.unit_m / 4.0 / EARTH_RADIUS_M;
                let sine = if half < FRAC_PI_2 { half.sin() / narrowest } else { 1.0 };
                (angle, if sine < 1.0 { 2.0 * sine.asin() } else { PI })
            }
            Shape::Polygon { corners } => {
                let Bounds { southwest, northeast } = bounds_of(corners);
                return Frame::between(southwest, northeast);
            }
        };
        let (up, across) = (degrees(up), degrees(across));
        Frame::between(
            Place { lon: lon - across, lat: lat - up },
            Place { lon: lon + across, lat: lat + up },
        )
    }
}

fn bounds_of(corners: &[Place]) -> Bounds {
    let mut southwest = Place { lon: 180.0, lat: LAT_MAX };
    let mut northeast = Place { lon: -180.0, lat: -LAT_MAX };
    for corner in corners {
        southwest.lon = southwest.lon.min(corner.lon);
        southwest.lat = southwest.lat.min(corner.lat);
        northeast.lon = northeast.lon.max(corner.lon);
        northeast.lat = northeast.lat.max(corner.lat);
    }
    Bounds { southwest, northeast }
}

/// Whether a position is inside of a polygon on a flat map: a ray to the east crosses an odd number
/// of sides (even-odd rule).
fn is_inside(corners: &[Place], place: Place) -> bool {
    let is_crossed = |from: Place, to: Place| {
        (from.lat > place.lat) != (to.lat > place.lat)
            && place.lon
                < (to.lon - from.lon) * (place.lat - from.lat) / (to.lat - from.lat) + from.lon
    };
    let before = corners.iter().cycle().skip(corners.len() - 1);
    let sides = corners.iter().zip(before);
    sides.filter(|(from, to)| is_crossed(**from, **to)).count() % 2 == 1
}

/// The number of halvings for which a cell and its neighbours cover a circle, in most cases.
fn steps_for(radius_m: f64, lat: f64) -> u32 {
    if radius_m == 0.0 {
        return STEPS;
    }
    let (mut reach, mut steps) = (radius_m, 1);
    while reach < MERCATOR_MAX_M {
        reach *= 2.0;
        steps += 1;
    }
    steps -= 2;
    // Cells are narrower near the poles.
    steps -= i32::from(lat.abs() > 66.0) + i32::from(lat.abs() > 80.0);
    steps.clamp(1, STEPS as i32) as u32
}

/// Whether the four neighbours of a cell extend to the bounds.
fn is_held_around(cell: Cell, bounds: &Bounds) -> bool {
    let corners = |towards| cell.beside(towards).corners();
    let ((_, north), (south, _)) = (corners((0, 1)), corners((0, -1)));
    let ((_, east), (west, _)) = (corners((1, 0)), corners((-1, 0)));
    let (low, high) = (bounds.southwest, bounds.northeast);
    !(north.lat < high.lat || south.lat > low.lat || east.lon < high.lon || west.lon > low.lon)
}

/// Inclusive ranges of rows and columns of the last step; positions outside of them are outside of
/// the area.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    rows: (u32, u32),
    columns: (u32, u32),
    /// The columns extend from the first one eastwards, across the edge of the map, to the second.
    is_over_edge: bool,
    /// As bits within cell numbers.
    in_numbers: [u64; 4],
}

impl Frame {
    /// All positions between two corners, which may be beyond the map.
    fn between(southwest: Place, northeast: Place) -> Self {
        // One more row on each side compensates for rounding.
        let low = |at: f64, max: f64| {
            if at > -max { row_of(at, max, STEPS).saturating_sub(1) } else { 0 }
        };
        let high = |at: f64, max: f64| {
            if at < max { row_of(at, max, STEPS).saturating_add(1) } else { u32::MAX }
        };
        let rows = (low(southwest.lat, LAT_MAX), high(northeast.lat, LAT_MAX));
        let (mut west, mut east) = (southwest.lon, northeast.lon);
        let has_ends = east - west < 360.0;
        let is_over_edge = has_ends && (west < -180.0 || east > 180.0);
        if is_over_edge && west < -180.0 {
            west += 360.0;
        } else if is_over_edge {
            east -= 360.0;
        }
        let columns = if has_ends { (low(west, 180.0), high(east, 180.0)) } else { (0, u32::MAX) };
        let in_numbers = [
            in_number(rows.0),
            in_number(rows.1),
            in_number(columns.0) << 1,
            in_number(columns.1) << 1,
        ];
        Self { rows, columns, is_over_edge, in_numbers }
    }

    /// Whether a position with this number may be in the area. Interleaved bits keep their order
    /// when compared.
    #[inline]
    pub(super) fn has(&self, number: u64) -> bool {
        let (row, column) = (number & EVEN, number & !EVEN);
        let [south, north, west, east] = self.in_numbers;
        let (is_past_west, is_before_east) = (column >= west, column <= east);
        let is_between = if self.is_over_edge {
            is_past_west || is_before_east
        } else {
            is_past_west && is_before_east
        };
        is_between && row >= south && row <= north
    }

    /// Whether a cell contains such positions.
    pub(super) fn meets(&self, cell: Cell) -> bool {
        let (rows, columns) = (cell.rows(), cell.columns());
        let is_west_met = columns.end > self.columns.0;
        let is_east_met = columns.start <= self.columns.1;
        let is_between =
            if self.is_over_edge { is_west_met || is_east_met } else { is_west_met && is_east_met };
        is_between && rows.end > self.rows.0 && rows.start <= self.rows.1
    }

    /// Whether a cell contains only such positions.
    pub(super) fn holds(&self, cell: Cell) -> bool {
        let (rows, columns) = (cell.rows(), cell.columns());
        let is_between = columns.start >= self.columns.0 && columns.end <= self.columns.1;
        is_between && rows.start >= self.rows.0 && rows.end <= self.rows.1
    }
}
