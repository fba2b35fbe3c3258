//! DUMP and RESTORE: a value as bytes that other servers of Redis' and Valkey's families read, too.

use basalt_keyspace::{Cause, Effect, event, is_granted};
use basalt_rdb::{Error, Target, Trust, Value};

use super::ROW;
use crate::args::{Grammar, flag, integer, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Categories, Command, Flags, Group, KeySpec, Run};
use crate::config::RdbTarget;
use crate::error::CommandError;

pub(super) const DUMP: Command = Command {
    name: "dump",
    since: "2.6.0",
    summary: "Returns the value of a key as bytes, for RESTORE.",
    complexity: "O(N) for a value of N bytes",
    arity: 2,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(dump),
    shows: r#"> SET key 10
OK
> DUMP key
<any text>
> DUMP absent
(nil)
"#,
    ..ROW
};

impl From<RdbTarget> for Target {
    fn from(target: RdbTarget) -> Self {
        match target {
            RdbTarget::Latest => Self::Latest,
            RdbTarget::Redis7 => Self::Redis7,
            RdbTarget::Redis8 => Self::Redis8,
            RdbTarget::Valkey9 => Self::Valkey9,
        }
    }
}

fn dump(call: &mut Call<'_>) -> Outcome {
    let Some(entry) = call.keyspace.read(call.database, &call.key) else {
        call.reply.null();
        return Ok(());
    };
    if !is_granted(entry.heap_bytes()) {
        return Err(CommandError::NO_MEMORY);
    }
    let target = call.config.rdb_target;
    let payload = basalt_rdb::dump(&entry, target.into(), call.config.rdbcompression);
    match payload {
        Ok(payload) => call.reply.bulk(&payload),
        Err(loss) => {
            let text = format!("ERR {} can't be written for {}", loss, target.name());
            return Err(CommandError::new(text));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
pub(super) enum RestoreOption {
    Replace,
    AbsTtl,
    IdleTime,
    Freq,
}

pub(super) const RESTORE_OPTIONS: Grammar<RestoreOption> = Grammar(&[
    flag("replace", RestoreOption::Replace),
    flag("absttl", RestoreOption::AbsTtl),
    value("idletime", RestoreOption::IdleTime).of_choice(1),
    value("freq", RestoreOption::Freq).of_choice(1),
]);

pub(super) const RESTORE: Command = Command {
    name: "restore",
    since: "2.6.0",
    summary: "Creates a key from the bytes that DUMP returned, also of Redis or Valkey.",
    complexity: "O(N) for a value of N elements; O(N*log(N)) for a sorted set",
    arity: -4,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    also: Categories::KEYSPACE.or(Categories::DANGEROUS),
    keys: &[KeySpec::at(1, &["OW", "update"])],
    arguments: &[
        Argument::KEY,
        Argument::integer("ttl"),
        Argument::string("serialized-value"),
        Argument::word("replace", "REPLACE").optional(),
        Argument::word("absttl", "ABSTTL").optional(),
        Argument::integer("seconds").after("IDLETIME").optional(),
        Argument::integer("frequency").after("FREQ").optional(),
    ],
    run: Run::Shard(restore),
    shows: r#"> RESTORE key 0 "\x00\xc0\n\x06\x00\xf8r?\xc5\xfb\xfb_("
OK
> GET key
"10"
> RESTORE key 0 "\x00\xc0\n\x06\x00\xf8r?\xc5\xfb\xfb_("
(error) BUSYKEY Target key name already exists.
> RESTORE key 100000 "\x00\xc0\n\x06\x00\xf8r?\xc5\xfb\xfb_(" REPLACE IDLETIME 1000
OK
> TTL key
(integer) <between 95 100>
> RESTORE key 0 "\x00\xc0\n\x06\x00damaged." REPLACE
(error) ERR DUMP payload version or checksum are wrong
"#,
    ..ROW
};

/// For clients that move slots of a cluster.
pub(super) const RESTORE_ASKING: Command = Command {
    name: "restore-asking",
    group: Group::Server,
    since: "3.0.0",
    summary: "Does what RESTORE does, for the move of slots within a cluster.",
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::ASKING),
    shows: r#"> RESTORE-ASKING key 0 "\x00\xc0\n\x06\x00\xf8r?\xc5\xfb\xfb_("
OK
> GET key
"10"
"#,
    ..RESTORE
};

/// What RESTORE's options say.
#[derive(Default)]
struct Options {
    replaces: bool,
    is_absolute: bool,
    idle_seconds: Option<u64>,
    use_counter: Option<u8>,
}

impl Options {
    fn parse(args: &[&[u8]]) -> Result<Self, CommandError> {
        let mut options = Self::default();
        for option in RESTORE_OPTIONS.parse(args) {
            match option? {
                (RestoreOption::Replace, _) => options.replaces = true,
                (RestoreOption::AbsTtl, _) => options.is_absolute = true,
                (RestoreOption::IdleTime, values) => {
                    let seconds = u64::try_from(integer(values[0])?);
                    options.idle_seconds = Some(seconds.map_err(|_| {
                        CommandError::text("ERR Invalid IDLETIME value, must be >= 0")
                    })?);
                }
                (RestoreOption::Freq, values) => {
                    let counter = u8::try_from(integer(values[0])?);
                    options.use_counter = Some(counter.map_err(|_| {
                        CommandError::text("ERR Invalid FREQ value, must be >= 0 and <= 255")
                    })?);
                }
            }
        }
        Ok(options)
    }
}

fn restore(call: &mut Call<'_>) -> Outcome {
    let options = Options::parse(&call.args[4..])?;
    let is_there = call.keyspace.peek(call.database, &call.key).is_some();
    if is_there && !options.replaces {
        return Err(CommandError::text("BUSYKEY Target key name already exists."));
    }
    let ttl = u64::try_from(integer(call.args[2])?)
        .map_err(|_| CommandError::text("ERR Invalid TTL value, must be >= 0"))?;
    let now_ms = call.keyspace.now_ms();
    let base_ms = if options.is_absolute { 0 } else { now_ms };
    let expire_at_ms = (ttl > 0).then(|| ttl.saturating_add(base_ms).min(i64::MAX as u64));
    let Some((number, value, dialect)) = basalt_rdb::open_payload(call.args[3]) else {
        return Err(CommandError::text("ERR DUMP payload version or checksum are wrong"));
    };
    let value = match basalt_rdb::read_value(number, value, (dialect, Trust::None), now_ms) {
        Ok(value) => Some(value),
        Err(Error::Expired) => None,
        Err(_) => return Err(CommandError::text("ERR Bad data format")),
    };
    let value = value.filter(|_| expire_at_ms.is_none_or(|at_ms| at_ms > now_ms));
    put(call, value.as_ref(), expire_at_ms, &options);
    call.reply.ok();
    Ok(())
}

/// Has the key hold a value; none removes it.
fn put(call: &mut Call<'_>, value: Option<&Value>, expire_at_ms: Option<u64>, options: &Options) {
    let edit = call.keyspace.edit(call.database, &call.key);
    let Some(value) = value else {
        return edit.commit(Effect::Remove { cause: Cause::Deleted });
    };
    edit.as_event(event::RESTORE).commit(value.effect(expire_at_ms));
    if let Some(seconds) = options.idle_seconds {
        call.keyspace.set_idle_seconds(call.database, &call.key, seconds);
    }
    if let Some(counter) = options.use_counter {
        call.keyspace.set_use_counter(call.database, &call.key, counter);
    }
}
