//! GEOADD: adds and moves members.

use super::grid::Place;
use super::{LATITUDE, LONGITUDE, ROW};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::sorted::{AddOptions, put_scored};

pub(super) const GEOADD: Command = Command {
    name: "geoadd",
    since: "3.2.0",
    summary: "Adds members with their coordinates, or moves them, and returns how many are new.",
    complexity: "O(log(N)) for each member, N being how many there are",
    arity: -5,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[
        Argument::KEY,
        Argument::one_of("condition", &[Argument::word("nx", "NX"), Argument::word("xx", "XX")])
            .optional(),
        Argument::word("change", "CH").optional(),
        Argument::block("data", &[LONGITUDE, LATITUDE, Argument::string("member")]).multiple(),
    ],
    run: Run::Shard(geoadd),
    shows: r#"> GEOADD towns 13.361389 38.115556 Palermo 15.087269 37.502669 Catania
(integer) 2
> GEOADD towns NX 0 0 Palermo 13.583333 37.316667 Agrigento
(integer) 1
> GEOADD towns XX CH 13.5 37.3 Agrigento 0 0 Atlantis
(integer) 1
> TYPE towns
zset
@resp 2
> ZSCORE towns Palermo
"3479099956230698"
@resp any
> GEOADD towns 181 0 nowhere
(error) ERR invalid longitude,latitude pair 181.000000,0.000000
> GEOADD towns east 0 nowhere
(error) ERR value is not a valid float
> GEOADD towns NX XX 0 0 nowhere
(error) ERR syntax error
> GEOADD towns 0 0 nowhere 1
(error) ERR syntax error
> SET text value
OK
> GEOADD text 0 0 nowhere
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..ROW
};

fn geoadd(call: &mut Call<'_>) -> Outcome {
    let mut options = AddOptions::default();
    let mut rest = &call.args[2..];
    while let [word, behind @ ..] = rest {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => options.only_new = true,
            b"xx" => options.only_known = true,
            b"ch" => options.counts_changed = true,
            _ => break,
        }
        rest = behind;
    }
    let (places, over) = rest.as_chunks::<3>();
    if places.is_empty() || !over.is_empty() || (options.only_new && options.only_known) {
        return Err(CommandError::SYNTAX);
    }
    let scored: Vec<(f64, &[u8])> = places
        .iter()
        .map(|[lon, lat, member]| Ok((Place::parse(lon, lat)?.score(), *member)))
        .collect::<Result<_, CommandError>>()?;
    put_scored(call, options, &scored)
}
