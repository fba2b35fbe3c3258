//! GEORADIUS and the like: deprecated forms of GEOSEARCH.

use basalt_keyspace::{DetachedValue, Kind, event};
use basalt_resp::Reply;

use super::search::{
    COMPLEXITY, COUNT, GeoForm, ORDER, WITHCOORD, WITHDIST, WITHHASH, answer_search, found_to_store,
};
use super::{LATITUDE, LONGITUDE, ROW, UNIT};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Access, Command, Deprecated, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::sorted::decide_to_store;
use crate::many_keys::{Decision, KeyRead, ManyKeys, OverKeys};

const RADIUS: Argument = Argument::double("radius");
const MEMBER: Argument = Argument::string("member");
const STORE: Argument = Argument::one_of(
    "store",
    &[
        Argument::key("storekey", 1).after("STORE"),
        Argument::key("storedistkey", 2).after("STOREDIST"),
    ],
)
.optional();

const SOURCE: KeySpec = KeySpec::at(1, &["RO", "access"]);
const TARGET_ACCESS: Access = &["OW", "update", "variable_flags"];

fn written(_: &[&[u8]]) -> Access {
    &["OW", "update"]
}

/// The index of the destination key, which is the last one given, among the words from `first` on.
pub(super) fn radius_store_at(args: &[&[u8]], first: usize) -> Option<usize> {
    let mut found = None;
    let mut at = first;
    while at + 1 < args.len() {
        if is_store(args[at]) {
            at += 1;
            found = Some(at);
        }
        at += 1;
    }
    found
}

fn is_store(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"store") || word.eq_ignore_ascii_case(b"storedist")
}

/// The key after STORE or STOREDIST, if it is the one that counts.
fn target_behind(word: &str, args: &[&[u8]], first: usize) -> Option<usize> {
    let at = radius_store_at(args, first)?;
    args[at - 1].eq_ignore_ascii_case(word.as_bytes()).then_some(at)
}

const fn replaced_by(with: &'static str) -> Option<Deprecated> {
    Some(Deprecated { since: "6.2.0", replaced_by: with })
}

/// The common part of the rows that may store.
const STORING_ROW: Command = Command {
    since: "3.2.0",
    complexity: COMPLEXITY,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::MOVABLE_KEYS),
    ..ROW
};

/// The common part of the rows that do not.
const TELLING_ROW: Command = Command {
    since: "3.2.10",
    complexity: COMPLEXITY,
    flags: Flags::READONLY,
    keys: &[SOURCE],
    ..ROW
};

pub(super) const GEORADIUS: Command = Command {
    name: "georadius",
    summary: "Returns or stores the members within a circle.",
    arity: -6,
    keys: &[
        SOURCE,
        KeySpec::behind_its_word("STORE", 6, TARGET_ACCESS, |args| target_behind("store", args, 6))
            .varying(written),
        KeySpec::behind_its_word("STOREDIST", 6, TARGET_ACCESS, |args| {
            target_behind("storedist", args, 6)
        })
        .varying(written),
    ],
    arguments: &[
        Argument::KEY,
        LONGITUDE,
        LATITUDE,
        RADIUS,
        UNIT,
        WITHCOORD,
        WITHDIST,
        WITHHASH,
        COUNT,
        ORDER,
        STORE,
    ],
    deprecated: replaced_by("`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"),
    run: Run::Many(&const { ManyKeys::of::<RadiusOver<false>>().with_whole(radius::<false>) }),
    shows: r#"> GEOADD towns 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
(integer) 2
> GEORADIUS towns 15 37 100 km
1) "Catania"
> GEORADIUS towns 15 37 200 km DESC WITHDIST
1) 1) "Palermo"
   2) "190.4424"
2) 1) "Catania"
   2) "56.4413"
> GEORADIUS towns 15 37 200 km COUNT 1 STORE near
(integer) 1
> ZRANGE near 0 -1
1) "Catania"
> GEORADIUS towns 15 37 200 km STORE near WITHDIST
(error) ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
> GEORADIUS towns 15 37 -1 km
(error) ERR radius cannot be negative
"#,
    ..STORING_ROW
};

fn answer(call: &mut Call<'_>, form: GeoForm) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let reply: &mut Reply<'_> = &mut call.reply;
    answer_search(form, call.args, entry.as_deref(), reply)
}

pub(super) const GEORADIUS_RO: Command = Command {
    name: "georadius_ro",
    summary: "Returns the members within a circle.",
    arity: -6,
    arguments: &[
        Argument::KEY,
        LONGITUDE,
        LATITUDE,
        RADIUS,
        UNIT,
        WITHCOORD,
        WITHDIST,
        WITHHASH,
        COUNT,
        ORDER,
    ],
    deprecated: replaced_by("`GEOSEARCH` with the `BYRADIUS` argument"),
    run: Run::Shard(georadius_ro),
    shows: r#"> GEOADD towns 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
(integer) 2
> GEORADIUS_RO towns 15 37 200 km ASC COUNT 1 WITHDIST
1) 1) "Catania"
   2) "56.4413"
> GEORADIUS_RO towns 15 37 200 km STORE near
(error) ERR syntax error
"#,
    ..TELLING_ROW
};

fn georadius_ro(call: &mut Call<'_>) -> Outcome {
    answer(call, GeoForm::Radius { stores: false })
}

pub(super) const GEORADIUSBYMEMBER: Command = Command {
    name: "georadiusbymember",
    summary: "Returns or stores the members within a circle around a member.",
    arity: -5,
    keys: &[
        SOURCE,
        KeySpec::behind_its_word("STORE", 5, TARGET_ACCESS, |args| target_behind("store", args, 5))
            .varying(written),
        KeySpec::behind_its_word("STOREDIST", 5, TARGET_ACCESS, |args| {
            target_behind("storedist", args, 5)
        })
        .varying(written),
    ],
    arguments: &[
        Argument::KEY,
        MEMBER,
        RADIUS,
        UNIT,
        WITHCOORD,
        WITHDIST,
        WITHHASH,
        COUNT,
        ORDER,
        STORE,
    ],
    deprecated: replaced_by(
        "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
    ),
    run: Run::Many(&const { ManyKeys::of::<RadiusOver<true>>().with_whole(radius::<true>) }),
    shows: r#"> GEOADD towns 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
(integer) 2
> GEORADIUSBYMEMBER towns Palermo 200 km
1) "Palermo"
2) "Catania"
> GEORADIUSBYMEMBER towns Palermo 200 km STOREDIST far
(integer) 2
@resp 2
> ZRANGE far 0 -1 WITHSCORES
1) "Palermo"
2) "0"
3) "Catania"
4) "166.27415156960032"
@resp any
@only ours valkey9
> GEORADIUSBYMEMBER towns nowhere 200 km
(error) ERR member nowhere does not exist
@only any
> GEORADIUSBYMEMBER absent Palermo 200 km
(empty array)
"#,
    ..STORING_ROW
};

pub(super) const GEORADIUSBYMEMBER_RO: Command = Command {
    name: "georadiusbymember_ro",
    summary: "Returns the members within a circle around a member.",
    arity: -5,
    arguments: &[Argument::KEY, MEMBER, RADIUS, UNIT, WITHCOORD, WITHDIST, WITHHASH, COUNT, ORDER],
    deprecated: replaced_by("`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    run: Run::Shard(georadiusbymember_ro),
    shows: r#"> GEOADD towns 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
(integer) 2
> GEORADIUSBYMEMBER_RO towns Palermo 200 km DESC WITHDIST
1) 1) "Catania"
   2) "166.2742"
2) 1) "Palermo"
   2) "0.0000"
> GEORADIUSBYMEMBER_RO towns Palermo 200 km STOREDIST far
(error) ERR syntax error
"#,
    ..TELLING_ROW
};

fn georadiusbymember_ro(call: &mut Call<'_>) -> Outcome {
    answer(call, GeoForm::RadiusByMember { stores: false })
}

/// GEORADIUS, and GEORADIUSBYMEMBER with `BY_MEMBER`, which may store what they find.
struct RadiusOver<const BY_MEMBER: bool>;

fn storing_form(by_member: bool) -> GeoForm {
    match by_member {
        true => GeoForm::RadiusByMember { stores: true },
        false => GeoForm::Radius { stores: true },
    }
}

/// Where the key stands that is stored at.
fn target_at(by_member: bool, args: &[&[u8]]) -> Option<usize> {
    radius_store_at(args, if by_member { 5 } else { 6 })
}

impl<const BY_MEMBER: bool> OverKeys for RadiusOver<BY_MEMBER> {
    /// What is stored, made where the source is.
    type Found = Result<Option<DetachedValue>, CommandError>;

    fn read(mut key: KeyRead<'_>) -> Self::Found {
        if key.index > 0 {
            return Ok(None);
        }
        let made = key.keyspace.make(Kind::Sorted);
        found_to_store(storing_form(BY_MEMBER), key.args, key.entry().as_deref(), made)
    }

    /// Over shards there is a target.
    fn decide(mut found: Vec<Self::Found>, decision: &mut Decision<'_, '_>) -> Outcome {
        decide_to_store((1, found.swap_remove(0)?), event::GEORADIUSSTORE, decision)
    }
}

fn radius<const BY_MEMBER: bool>(call: &mut Call<'_>) -> Outcome {
    let form = storing_form(BY_MEMBER);
    let Some(at) = target_at(BY_MEMBER, call.args) else { return answer(call, form) };
    let made = call.keyspace.make(Kind::Sorted);
    let entry = call.keyspace.read(call.database, &call.key);
    let made = found_to_store(form, call.args, entry.as_deref(), made)?;
    let target = call.keyspace.key(call.args[at]);
    call.reply.integer(made.as_ref().map_or(0, DetachedValue::len) as i64);
    call.keyspace.put_made(call.database, &target, made, event::GEORADIUSSTORE);
    Ok(())
}
