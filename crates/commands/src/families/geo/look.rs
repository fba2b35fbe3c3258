//! Positions, distances and geohashes of members.

use super::area::distance_m;
use super::grid::Place;
use super::{ROW, UNIT, unit_m, write_distance, write_place};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::sorted::sorted;

/// The common part of the rows that read members.
const LOOK_ROW: Command = Command {
    since: "3.2.0",
    complexity: "O(1) for each member",
    arity: -2,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, Argument::string("member").multiple().optional()],
    ..ROW
};

pub(super) const GEODIST: Command = Command {
    name: "geodist",
    summary: "Returns the distance between two members.",
    complexity: "O(1)",
    arity: -4,
    arguments: &[
        Argument::KEY,
        Argument::string("member1"),
        Argument::string("member2"),
        UNIT.optional(),
    ],
    run: Run::Shard(geodist),
    shows: r#"> GEOADD towns 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
(integer) 2
> GEODIST towns Palermo Catania
"166274.1516"
> GEODIST towns Palermo Catania mi
"103.3182"
> GEODIST towns Palermo Palermo
"0.0000"
> GEODIST towns Palermo nowhere
(nil)
> GEODIST absent Palermo Catania
(nil)
> GEODIST towns Palermo Catania yd
(error) ERR unsupported unit provided. please use M, KM, FT, MI
> GEODIST towns Palermo Catania m m
(error) ERR syntax error
"#,
    ..LOOK_ROW
};

fn geodist(call: &mut Call<'_>) -> Outcome {
    let unit_m = match call.args[4..] {
        [] => 1.0,
        [unit] => unit_m(unit)?,
        _ => return Err(CommandError::SYNTAX),
    };
    let entry = call.keyspace.read(call.database, &call.key);
    let places = sorted(entry.as_deref())?.and_then(|sorted| {
        let place = |member| sorted.score(member).map(Place::of_score);
        Some((place(call.args[2])?, place(call.args[3])?))
    });
    match places {
        Some((from, to)) => write_distance(&mut call.reply, distance_m(from, to) / unit_m),
        None => call.reply.null(),
    }
    Ok(())
}

/// Replies with the position of each requested member, or null.
fn answer_places(
    call: &mut Call<'_>,
    mut write: impl FnMut(&mut basalt_resp::Reply<'_>, Option<Place>),
) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let sorted = sorted(entry.as_deref())?;
    call.reply.array(call.args.len() - 2);
    for member in &call.args[2..] {
        let score = sorted.and_then(|sorted| sorted.score(member));
        write(&mut call.reply, score.map(Place::of_score));
    }
    Ok(())
}

pub(super) const GEOHASH: Command = Command {
    name: "geohash",
    summary: "Returns the geohashes of members.",
    run: Run::Shard(geohash),
    shows: r#"> GEOADD towns 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
(integer) 2
> GEOHASH towns Palermo nowhere Catania
1) "sqc8b49rny0"
2) (nil)
3) "sqdtr74hyu0"
> GEOHASH absent Palermo
1) (nil)
> GEOHASH towns
(empty array)
"#,
    ..LOOK_ROW
};

fn geohash(call: &mut Call<'_>) -> Outcome {
    answer_places(call, |reply, place| match place {
        Some(place) => reply.bulk(&place.geohash()),
        None => reply.null(),
    })
}

pub(super) const GEOPOS: Command = Command {
    name: "geopos",
    summary: "Returns the longitudes and latitudes of members, in degrees.",
    run: Run::Shard(geopos),
    shows: r#"> GEOADD towns 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
(integer) 2
@resp 2
@only ours redis7 valkey9
> GEOPOS towns Palermo nowhere
1) 1) "13.36138933897018433"
   2) "38.11555639549629859"
2) (nil)
@resp 3
> GEOPOS towns Palermo nowhere
1) 1) (double) 13.361389338970184
   2) (double) 38.1155563954963
2) (nil)
@resp any
@only any
> GEOPOS towns
(empty array)
"#,
    ..LOOK_ROW
};

fn geopos(call: &mut Call<'_>) -> Outcome {
    answer_places(call, |reply, place| match place {
        Some(place) => write_place(reply, place),
        None => reply.null_array(),
    })
}
