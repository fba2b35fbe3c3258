//! GEOSEARCH: members in a circle, a box or a polygon.

use std::ops::ControlFlow;

use basalt_keyspace::{DetachedValue, Entry, Kind, Maker, SortedRef, event};
use basalt_resp::{Reply, parse_f64, parse_i64};

use super::area::{Area, Shape};
use super::find::{Found, find};
use super::grid::Place;
use super::{LATITUDE, LONGITUDE, ROW, UNIT, unit_m, write_distance, write_place};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::sorted::{decide_to_store, sorted};
use crate::many_keys::{Decision, KeyRead, ManyKeys, OverKeys};

const FROM: Argument = Argument::one_of(
    "from",
    &[
        Argument::string("member").after("FROMMEMBER"),
        Argument::block("fromlonlat", &[LONGITUDE, LATITUDE]).after("FROMLONLAT"),
    ],
)
.optional();
const BY: Argument = Argument::one_of(
    "by",
    &[
        Argument::block("circle", &[Argument::double("radius").after("BYRADIUS"), UNIT]),
        Argument::block(
            "box",
            &[Argument::double("width").after("BYBOX"), Argument::double("height"), UNIT],
        ),
        Argument::block(
            "polygon",
            &[
                Argument::integer("num-vertices").after("BYPOLYGON"),
                Argument::block("vertices", &[LONGITUDE, LATITUDE]).multiple(),
            ],
        ),
    ],
);
pub(super) const ORDER: Argument =
    Argument::one_of("order", &[Argument::word("asc", "ASC"), Argument::word("desc", "DESC")])
        .optional();
pub(super) const COUNT: Argument = Argument::block(
    "count-block",
    &[Argument::integer("count").after("COUNT"), Argument::word("any", "ANY").optional()],
)
.optional();
pub(super) const WITHCOORD: Argument = Argument::word("withcoord", "WITHCOORD").optional();
pub(super) const WITHDIST: Argument = Argument::word("withdist", "WITHDIST").optional();
pub(super) const WITHHASH: Argument = Argument::word("withhash", "WITHHASH").optional();

pub(super) const COMPLEXITY: &str =
    "O(N+M*log(M)) for M members in the area and N around it; M*log(M) only where they are ordered";

pub(super) const GEOSEARCH: Command = Command {
    name: "geosearch",
    since: "6.2.0",
    summary: "Returns the members within a circle, a box or a polygon.",
    complexity: COMPLEXITY,
    arity: -7,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, FROM, BY, ORDER, COUNT, WITHCOORD, WITHDIST, WITHHASH],
    run: Run::Shard(geosearch),
    shows: r#"> GEOADD towns 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
(integer) 2
> GEOADD towns 12.758489 38.788135 Ustica 17.24151 38.788135 Crotone
(integer) 2
> GEOSEARCH towns FROMLONLAT 15 37 BYRADIUS 200 km ASC
1) "Catania"
2) "Palermo"
@resp 2
@only ours redis7 valkey9
> GEOSEARCH towns FROMLONLAT 15 37 BYBOX 400 400 km DESC COUNT 2 WITHCOORD WITHDIST WITHHASH
1) 1) "Ustica"
   2) "279.7405"
   3) (integer) 3479273021651468
   4) 1) "12.7584877610206604"
      2) "38.78813451624225195"
2) 1) "Crotone"
   2) "279.7403"
   3) (integer) 3481342659049484
   4) 1) "17.24151045083999634"
      2) "38.78813451624225195"
@only any
@resp 3
> GEOSEARCH towns FROMMEMBER Catania BYRADIUS 1 mi WITHCOORD WITHDIST
1) 1) "Catania"
   2) "0.0000"
   3) 1) (double) 15.087267458438873
      2) (double) 37.50266842333162
@resp any
@only ours valkey9
> GEOSEARCH towns BYPOLYGON 3 10 37 16 37 13 40 ASC WITHDIST
1) 1) "Palermo"
   2) "33186.4518"
2) 1) "Ustica"
   2) "87380.4761"
3) 1) "Catania"
   2) "192523.3001"
> GEOSEARCH towns FROMMEMBER nowhere BYRADIUS 1 km
(error) ERR member nowhere does not exist
> GEOSEARCH towns FROMMEMBER Catania COUNT 1 ANY
(error) ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for GEOSEARCH
@only any
> GEOSEARCH towns BYRADIUS 1 km ASC ASC
(error) ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for GEOSEARCH
> GEOSEARCH towns FROMLONLAT 15 37 BYRADIUS 1 km ANY
(error) ERR the ANY argument requires COUNT argument
> GEOSEARCH towns FROMLONLAT 15 37 BYRADIUS far km
(error) ERR need numeric radius
> GEOSEARCH absent FROMMEMBER Catania BYRADIUS 1 km
(empty array)
"#,
    ..ROW
};

fn geosearch(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    answer_search(GeoForm::Search, call.args, entry.as_deref(), &mut call.reply)
}

pub(super) const GEOSEARCHSTORE: Command = Command {
    name: "geosearchstore",
    since: "6.2.0",
    summary: "Stores the members within a circle, a box or a polygon in another sorted set.",
    complexity: COMPLEXITY,
    arity: -8,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(1, &["OW", "update"]), KeySpec::at(2, &["RO", "access"])],
    arguments: &[
        Argument::key("destination", 0),
        Argument::key("source", 1),
        FROM,
        BY,
        ORDER,
        COUNT,
        Argument::word("storedist", "STOREDIST").optional(),
    ],
    run: Run::Many(&const { ManyKeys::of::<SearchStore>() }),
    shows: r#"> GEOADD towns 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
(integer) 2
> GEOSEARCHSTORE near towns FROMLONLAT 15 37 BYRADIUS 100 km
(integer) 1
> GEOHASH near Catania Palermo
1) "sqdtr74hyu0"
2) (nil)
> GEOSEARCHSTORE near towns FROMLONLAT 15 37 BYBOX 400 400 km STOREDIST COUNT 1
(integer) 1
@resp 2
@only ours redis8 valkey9
> ZRANGE near 0 -1 WITHSCORES
1) "Catania"
2) "56.4412578701582"
@only any
@resp any
> GEOSEARCHSTORE near towns FROMLONLAT 0 0 BYRADIUS 1 km
(integer) 0
> EXISTS near
(integer) 0
> GEOSEARCHSTORE near towns FROMLONLAT 0 0 BYRADIUS 1 km WITHDIST
(error) ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options
"#,
    ..ROW
};

/// The command whose arguments are parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GeoForm {
    Search,
    SearchStore,
    /// GEORADIUS; whether STORE is allowed.
    Radius {
        stores: bool,
    },
    /// GEORADIUSBYMEMBER; whether STORE is allowed.
    RadiusByMember {
        stores: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    AsFound,
    Nearest,
    Farthest,
}

/// A parsed search.
#[derive(Debug)]
struct Request {
    area: Area,
    order: Order,
    /// The maximum number of results.
    count: Option<usize>,
    /// Any of the members will do, not only the nearest.
    is_any: bool,
    with_place: bool,
    with_distance: bool,
    with_hash: bool,
    stores_distance: bool,
}

/// Parses the number of a length.
fn length(text: &[u8], refusal: &'static str) -> Result<f64, CommandError> {
    parse_f64(text).ok_or(CommandError::text(refusal))
}

/// A circle with this radius, and its unit.
fn circle([radius, unit]: [&[u8]; 2]) -> Result<(Shape, f64), CommandError> {
    let radius = length(radius, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(CommandError::text("ERR radius cannot be negative"));
    }
    Ok((Shape::Circle { radius }, unit_m(unit)?))
}

fn rectangle([width, height, unit]: [&[u8]; 3]) -> Result<(Shape, f64), CommandError> {
    let width = length(width, "ERR need numeric width")?;
    let height = length(height, "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(CommandError::text("ERR height or width cannot be negative"));
    }
    Ok((Shape::Box { width, height }, unit_m(unit)?))
}

/// The corners of a polygon, and the rest of the arguments.
fn polygon<'a>(
    count: &[u8],
    behind: &'a [&'a [u8]],
) -> Result<(Vec<Place>, &'a [&'a [u8]]), CommandError> {
    let count = parse_i64(count).and_then(|count| i32::try_from(count).ok());
    let count = count.ok_or(CommandError::text("ERR invalid number of vertices"))?;
    let refusal = "ERR GEOSEARCH BYPOLYGON must have at least 3 vertices";
    let count = usize::try_from(count).ok().filter(|count| (3..=behind.len() / 2).contains(count));
    let (corners, behind) = behind.split_at(2 * count.ok_or(CommandError::text(refusal))?);
    let corners = corners.as_chunks::<2>().0.iter().map(|[lon, lat]| Place::parse(lon, lat));
    Ok((corners.collect::<Result<_, _>>()?, behind))
}

/// The position of a member.
fn place_of(sorted: SortedRef<'_>, member: &[u8]) -> Result<Place, CommandError> {
    let score = sorted.score(member);
    let refusal = || CommandError::quoting("ERR member ", member, " does not exist");
    score.map(Place::of_score).ok_or_else(refusal)
}

/// Parses a complete command. The errors and their order depend on whether the sorted set exists
/// and has the member; as in Redis, without one the member and the radius around it are not
/// checked.
#[expect(clippy::too_many_lines, reason = "a grammar of its own")]
fn parse(
    form: GeoForm,
    args: &[&[u8]],
    sorted: Option<SortedRef<'_>>,
) -> Result<Request, CommandError> {
    let is_search = matches!(form, GeoForm::Search | GeoForm::SearchStore);
    let (mut center, mut shape, mut corners) = (None, None, None);
    let mut rest = match form {
        GeoForm::Search => &args[2..],
        GeoForm::SearchStore => &args[3..],
        GeoForm::Radius { .. } => {
            center = Some(Place::parse(args[2], args[3])?);
            shape = Some(circle([args[4], args[5]])?);
            &args[6..]
        }
        GeoForm::RadiusByMember { .. } => {
            if let Some(sorted) = sorted {
                center = Some(place_of(sorted, args[2])?);
                shape = Some(circle([args[3], args[4]])?);
            }
            &args[5..]
        }
    };
    let (mut order, mut count, mut is_any) = (None, None, false);
    let (mut with_place, mut with_distance, mut with_hash) = (false, false, false);
    let (mut stores, mut stores_distance) = (form == GeoForm::SearchStore, false);
    // The form in which the centre was given.
    let (mut is_from_member, mut is_from_place) = (false, false);
    while let [word, behind @ ..] = rest {
        rest = behind;
        let may_store = matches!(
            form,
            GeoForm::Radius { stores: true } | GeoForm::RadiusByMember { stores: true }
        );
        let has_no_shape = |wanted: fn(&Shape) -> bool| {
            shape.as_ref().is_none_or(|(shape, _)| wanted(shape)) && corners.is_none()
        };
        match (word.to_ascii_lowercase().as_slice(), behind) {
            (b"withdist", _) => with_distance = true,
            (b"withhash", _) => with_hash = true,
            (b"withcoord", _) => with_place = true,
            (b"any", _) => is_any = true,
            (b"asc", _) => order = Some(Order::Nearest),
            (b"desc", _) => order = Some(Order::Farthest),
            (b"count", [number, behind @ ..]) => {
                let number = integer(number)?;
                if number <= 0 {
                    return Err(CommandError::text("ERR COUNT must be > 0"));
                }
                count = Some(number as usize);
                rest = behind;
            }
            (how @ (b"store" | b"storedist"), [_, behind @ ..]) if may_store => {
                stores = true;
                stores_distance = how == b"storedist";
                rest = behind;
            }
            (b"storedist", _) if form == GeoForm::SearchStore => stores_distance = true,
            (b"frommember", [member, behind @ ..])
                if is_search && !is_from_place && corners.is_none() =>
            {
                if let Some(sorted) = sorted {
                    center = Some(place_of(sorted, member)?);
                }
                is_from_member = true;
                rest = behind;
            }
            (b"fromlonlat", [lon, lat, behind @ ..])
                if is_search && !is_from_member && corners.is_none() =>
            {
                center = Some(Place::parse(lon, lat)?);
                is_from_place = true;
                rest = behind;
            }
            (b"byradius", [radius, unit, behind @ ..])
                if is_search && has_no_shape(|shape| matches!(shape, Shape::Circle { .. })) =>
            {
                shape = Some(circle([radius, unit])?);
                rest = behind;
            }
            (b"bybox", [width, height, unit, behind @ ..])
                if is_search && has_no_shape(|shape| matches!(shape, Shape::Box { .. })) =>
            {
                shape = Some(rectangle([width, height, unit])?);
                rest = behind;
            }
            (b"bypolygon", [number, behind @ ..])
                if is_search
                    && !behind.is_empty()
                    && shape.is_none()
                    && !is_from_member
                    && !is_from_place =>
            {
                let (found, behind) = polygon(number, behind)?;
                corners = Some(found);
                rest = behind;
            }
            _ => return Err(CommandError::SYNTAX),
        }
    }
    if stores && (with_distance || with_hash || with_place) {
        return Err(CommandError::text(if is_search {
            "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
        } else {
            "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD \
             options"
        }));
    }
    if is_search && !is_from_member && !is_from_place && corners.is_none() {
        let text = "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ";
        return Err(CommandError::quoting(text, args[0], ""));
    }
    if is_search && shape.is_none() && corners.is_none() {
        let text = "ERR exactly one of BYRADIUS, BYBOX and BYPOLYGON can be specified for ";
        return Err(CommandError::quoting(text, args[0], ""));
    }
    if is_any && count.is_none() {
        return Err(CommandError::text("ERR the ANY argument requires COUNT argument"));
    }
    // Without a sorted set the area is not needed.
    let center = center.unwrap_or(Place { lon: 0.0, lat: 0.0 });
    let (shape, unit_m) = shape.unwrap_or((Shape::Circle { radius: 0.0 }, 1.0));
    let area = match corners {
        Some(corners) => Area::of_polygon(corners),
        None => Area { center, shape, unit_m },
    };
    // COUNT selects the nearest ones, unless ANY is given.
    let nearest = if count.is_some() && !is_any { Order::Nearest } else { Order::AsFound };
    Ok(Request {
        area,
        order: order.unwrap_or(nearest),
        count,
        is_any,
        with_place,
        with_distance,
        with_hash,
        stores_distance,
    })
}

impl Request {
    /// The requested members, in the requested order.
    fn collect<'a>(&self, sorted: SortedRef<'a>) -> Vec<Found<'a>> {
        let mut found = Vec::new();
        let enough = self.count.filter(|_| self.is_any).unwrap_or(usize::MAX);
        find(sorted, &self.area, &mut |one| {
            found.push((found.len(), one));
            if found.len() >= enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let count = self.count.map_or(found.len(), |count| count.min(found.len()));
        // Equally distant ones stay in the order of the search.
        let compare = |(number, one): &(usize, Found<'_>),
                       (other_number, other): &(usize, Found<'_>)| {
            let by_distance = match self.order {
                Order::Farthest => other.distance_m.total_cmp(&one.distance_m),
                _ => one.distance_m.total_cmp(&other.distance_m),
            };
            by_distance.then(number.cmp(other_number))
        };
        if self.order != Order::AsFound {
            if count < found.len() {
                found.select_nth_unstable_by(count, compare);
            }
            found.truncate(count);
            found.sort_unstable_by(compare);
        }
        found.truncate(count);
        found.into_iter().map(|(_, one)| one).collect()
    }

    fn write(&self, reply: &mut Reply<'_>, found: &Found<'_>) {
        let parts = [self.with_distance, self.with_hash, self.with_place];
        let parts = parts.into_iter().filter(|is_wanted| *is_wanted).count();
        if parts > 0 {
            reply.array(1 + parts);
        }
        reply.bulk(found.member);
        if self.with_distance {
            write_distance(reply, found.distance_m / self.area.unit_m);
        }
        if self.with_hash {
            reply.integer(found.score as i64);
        }
        if self.with_place {
            write_place(reply, found.place);
        }
    }
}

/// Runs a search over the value of a key and replies.
pub(super) fn answer_search(
    form: GeoForm,
    args: &[&[u8]],
    entry: Option<&Entry>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let sorted = sorted(entry)?;
    let request = parse(form, args, sorted)?;
    let Some(sorted) = sorted else {
        reply.array(0);
        return Ok(());
    };
    if request.order == Order::AsFound && request.count.is_none() {
        let deferred = reply.deferred_array();
        let mut len = 0;
        find(sorted, &request.area, &mut |one| {
            request.write(reply, &one);
            len += 1;
            ControlFlow::Continue(())
        });
        reply.finish_array(deferred, len);
        return Ok(());
    }
    let found = request.collect(sorted);
    reply.array(found.len());
    found.iter().for_each(|one| request.write(reply, one));
    Ok(())
}

/// Has `made` get the results of a search that stores: members with their scores, or with their distances as
/// scores.
pub(super) fn found_to_store(
    form: GeoForm,
    args: &[&[u8]],
    entry: Option<&Entry>,
    mut made: Maker,
) -> Result<Option<DetachedValue>, CommandError> {
    let sorted = sorted(entry)?;
    let request = parse(form, args, sorted)?;
    let Some(sorted) = sorted else { return Ok(None) };
    let score = |one: &Found<'_>| {
        if request.stores_distance { one.distance_m / request.area.unit_m } else { one.score }
    };
    request.collect(sorted).iter().for_each(|one| made.push_scored(one.member, score(one)));
    Ok(made.finish())
}

/// GEOSEARCHSTORE.
struct SearchStore;

const TARGET: usize = 0;
const SOURCE: usize = 1;

impl OverKeys for SearchStore {
    /// What is stored, made where the source is.
    type Found = Result<Option<DetachedValue>, CommandError>;

    fn read(mut key: KeyRead<'_>) -> Self::Found {
        if key.index != SOURCE {
            return Ok(None);
        }
        let made = key.keyspace.make(Kind::Sorted);
        found_to_store(GeoForm::SearchStore, key.args, key.entry().as_deref(), made)
    }

    fn decide(mut found: Vec<Self::Found>, decision: &mut Decision<'_, '_>) -> Outcome {
        decide_to_store((TARGET, found.swap_remove(SOURCE)?), event::GEOSEARCHSTORE, decision)
    }
}
