//! HIMPORT: hashes with the same fields, whose names a session sends once.

use basalt_keyspace::{Effect, FieldLife, HashChange, Kind, Strings};

use super::{FIELD, ROW, hash};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Categories, Command, EngineCommand, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const HIMPORT: Command = Command {
    name: "himport",
    since: "8.10.0",
    summary: "A container for commands that create hashes from prepared lists of field names.",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[DISCARD, DISCARDALL, PREPARE, SET],
    shows: r#"@skip-oracle a command of Redis 8.10
> HIMPORT NONSENSE
(error) ERR unknown subcommand 'NONSENSE'. Try HIMPORT HELP.
"#,
    ..ROW
};

const NAME: Argument = Argument::string("fieldset-name");
/// The names must be known on the key's shard, whichever that is.
const ON_ALL: &[&str] = &["request_policy:all_shards"];

const PREPARE: Command = Command {
    name: "himport|prepare",
    since: "8.10.0",
    summary: "Stores a list of field names in the session, under a name.",
    complexity: "O(N*log(N)) for N fields",
    arity: -4,
    flags: Flags::DENYOOM,
    tips: ON_ALL,
    arguments: &[NAME, FIELD.multiple()],
    run: Run::Engine(EngineCommand::HImportPrepare),
    shows: r#"@skip-oracle a command of Redis 8.10
> HIMPORT PREPARE user name town
OK
> HIMPORT SET ann user Ann Rome
OK
> HIMPORT PREPARE user name
OK
> HIMPORT SET ben user Ben
OK
> HIMPORT PREPARE twice name name
(error) ERR duplicate field name in fieldset
> HIMPORT SET ben twice Ben Ben
(error) ERR no such fieldset
> HIMPORT PREPARE user
(error) ERR wrong number of arguments for 'himport|prepare' command
"#,
    ..ROW
};

const SET: Command = Command {
    name: "himport|set",
    since: "8.10.0",
    summary: "Creates or replaces a hash that has the fields of a prepared list and these values.",
    complexity: "O(N) for N fields",
    arity: -5,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    also: Categories::HASH,
    keys: &[KeySpec::at(2, &["OW", "update"])],
    arguments: &[Argument::KEY, NAME, Argument::string("value").multiple()],
    run: Run::Engine(EngineCommand::HImportSet),
    shows: r#"@skip-oracle a command of Redis 8.10
> HIMPORT PREPARE user name town
OK
> HSET ann name Anna age 30
(integer) 2
> EXPIRE ann 100
(integer) 1
> HIMPORT SET ann user Ann Rome
OK
> HGET ann name
"Ann"
> HGET ann age
(nil)
> TTL ann
(integer) -1
> HIMPORT SET ann user Ann
(error) ERR value count does not match fieldset field count
> HIMPORT SET ann other Ann
(error) ERR no such fieldset
> SET text value
OK
> HIMPORT SET text user Ann Rome
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..ROW
};

const DISCARD: Command = Command {
    name: "himport|discard",
    since: "8.10.0",
    summary: "Removes a prepared list of field names from the session.",
    complexity: "O(log(N)) for N fieldsets",
    arity: 3,
    tips: ON_ALL,
    arguments: &[NAME],
    run: Run::Engine(EngineCommand::HImportDiscard),
    shows: r#"@skip-oracle a command of Redis 8.10
> HIMPORT PREPARE user name town
OK
> HIMPORT DISCARD user
(integer) 1
> HIMPORT DISCARD user
(integer) 0
"#,
    ..ROW
};

const DISCARDALL: Command = Command {
    name: "himport|discardall",
    since: "8.10.0",
    summary: "Removes all prepared lists of field names from the session.",
    complexity: "O(N) for N fieldsets",
    arity: 2,
    tips: ON_ALL,
    run: Run::Engine(EngineCommand::HImportDiscardAll),
    shows: r#"@skip-oracle a command of Redis 8.10
> HIMPORT PREPARE user name town
OK
> HIMPORT PREPARE place north east
OK
> HIMPORT DISCARDALL
(integer) 2
> HIMPORT DISCARDALL
(integer) 0
"#,
    ..ROW
};

/// A named list of field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldsetRequest<'a> {
    pub name: &'a [u8],
    pub fields: &'a [&'a [u8]],
}

/// Parses HIMPORT PREPARE's arguments.
pub fn parse_himport_prepare<'a>(
    args: &'a [&'a [u8]],
) -> Result<FieldsetRequest<'a>, CommandError> {
    let request = FieldsetRequest { name: args[2], fields: &args[3..] };
    let mut sorted = request.fields.to_vec();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(CommandError::text("ERR duplicate field name in fieldset"));
    }
    Ok(request)
}

/// HIMPORT SET on the key's shard: the arguments after the key are the fields, each with its value.
pub fn import(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.edit(call.database, &call.key);
    hash(edit.entry().as_deref(), now_ms)?;
    let pairs = Strings::from(&call.args[IMPORT_KEY_AT + 1..]);
    let changes = HashChange::Set { pairs, life: FieldLife::Forever }.to_changes();
    let effect = Effect::SetCollection { kind: Kind::Hash, changes: &changes, expire_at_ms: None };
    edit.commit(effect);
    call.reply.ok();
    Ok(())
}

/// The index of HIMPORT SET's key.
pub const IMPORT_KEY_AT: usize = 2;

/// HIMPORT SET's arguments with the names of the fields inserted, as [`import`] expects them.
pub fn with_fields<'a>(
    args: &[&'a [u8]],
    fields: Option<&'a [Vec<u8>]>,
) -> Result<Vec<&'a [u8]>, CommandError> {
    let fields = fields.ok_or(CommandError::text("ERR no such fieldset"))?;
    let values = &args[IMPORT_KEY_AT + 2..];
    if fields.len() != values.len() {
        return Err(CommandError::text("ERR value count does not match fieldset field count"));
    }
    let mut all = Vec::with_capacity(IMPORT_KEY_AT + 1 + 2 * fields.len());
    all.extend_from_slice(&args[..=IMPORT_KEY_AT]);
    all.extend(fields.iter().zip(values).flat_map(|(field, value)| [field.as_slice(), *value]));
    Ok(all)
}
