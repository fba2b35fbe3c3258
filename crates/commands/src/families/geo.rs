//! Geo: positions on the globe, stored as the scores of a sorted set.
//!
//! Not here: sorted sets themselves (`sorted`).

mod add;
mod area;
mod find;
mod grid;
mod look;
mod radius;
mod search;

use basalt_resp::Reply;

use crate::argument::Argument;
use crate::command::{Categories, Command, Group};
use crate::error::CommandError;
use grid::Place;

pub(crate) const COMMANDS: &[Command] = &[
    add::GEOADD,
    look::GEODIST,
    look::GEOHASH,
    look::GEOPOS,
    radius::GEORADIUS,
    radius::GEORADIUSBYMEMBER,
    radius::GEORADIUSBYMEMBER_RO,
    radius::GEORADIUS_RO,
    search::GEOSEARCH,
    search::GEOSEARCHSTORE,
];

/// The common part of this family's rows.
const ROW: Command = Command { group: Group::Geo, also: Categories::GEO, ..Command::ROW };

const LONGITUDE: Argument = Argument::double("longitude");
const LATITUDE: Argument = Argument::double("latitude");
const UNIT: Argument = Argument::one_of(
    "unit",
    &[
        Argument::word("m", "M"),
        Argument::word("km", "KM"),
        Argument::word("ft", "FT"),
        Argument::word("mi", "MI"),
    ],
);

/// A unit of length, in metres.
fn unit_m(word: &[u8]) -> Result<f64, CommandError> {
    Ok(match word.to_ascii_lowercase().as_slice() {
        b"m" => 1.0,
        b"km" => 1000.0,
        b"ft" => 0.3048,
        b"mi" => 1609.34,
        _ => {
            let text = "ERR unsupported unit provided. please use M, KM, FT, MI";
            return Err(CommandError::text(text));
        }
    })
}

/// Writes a distance with four decimals.
fn write_distance(reply: &mut Reply<'_>, distance: f64) {
    const PARTS: u64 = 10_000;
    let parts = (distance * PARTS as f64).round_ties_even() as u64;
    let (whole, mut rest) = (parts / PARTS, parts % PARTS);
    let mut text = [0; 32];
    let mut digits = itoa::Buffer::new();
    let whole = digits.format(whole).as_bytes();
    text[..whole.len()].copy_from_slice(whole);
    text[whole.len()] = b'.';
    for digit in text[whole.len() + 1..whole.len() + 5].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    reply.bulk(&text[..whole.len() + 5]);
}

fn write_place(reply: &mut Reply<'_>, place: Place) {
    reply.array(2);
    reply.human_double(place.lon);
    reply.human_double(place.lat);
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_resp::Protocol;

    #[test]
    fn distances_have_four_digits() {
        for (distance, text) in [
            (0.0, "0.0000"),
            (0.000_05, "0.0000"),
            (0.000_15, "0.0001"),
            (0.000_25, "0.0002"),
            (166_274.151_56, "166274.1516"),
            (99.999_96, "100.0000"),
            (20_015_114.442_1, "20015114.4421"),
        ] {
            let mut out = Vec::new();
            write_distance(&mut Reply::new(&mut out, Protocol::Resp3), distance);
            assert_eq!(out, format!("${}\r\n{text}\r\n", text.len()).into_bytes(), "{distance}");
        }
    }
}
