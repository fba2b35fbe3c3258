//! Reads and sets the expiry of fields.

use std::collections::BTreeSet;

use basalt_keyspace::{Cause, Effect, HashChange, Strings};

use super::{COUNTED_FIELDS, ROW, counted, fields_behind_key, hash, part};
use crate::args::{Expiry, integer, invalid_expire_time};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::keys::expire::{CONDITION, Conditions, in_seconds};

/// The replies for a missing field, and for one without an expiry.
const ABSENT: i64 = -2;
const FOREVER: i64 = -1;

const EXPIRE_ROW: Command = Command {
    since: "9.0.0",
    complexity: "O(N) for N fields",
    arity: -6,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    ..ROW
};

pub(super) const HEXPIRE: Command = Command {
    name: "hexpire",
    summary: "Sets the time to live of fields, in seconds.",
    arguments: &[Argument::KEY, Argument::integer("seconds"), CONDITION, COUNTED_FIELDS],
    run: Run::Shard(hexpire),
    shows: r#"@only ours valkey9
> HSET user name Ann token abc
(integer) 2
> HEXPIRE user 100 FIELDS 2 token age
1) (integer) 1
2) (integer) -2
> HTTL user FIELDS 2 token name
1) (integer) <between 95 100>
2) (integer) -1
> HEXPIRE user 200 NX FIELDS 1 token
1) (integer) 0
> HEXPIRE user 50 LT FIELDS 1 token
1) (integer) 1
> HEXPIRE user 0 FIELDS 1 token
1) (integer) 2
> HGET user token
(nil)
> HEXPIRE absent 100 FIELDS 1 name
1) (integer) -2
> HEXPIRE user 100 FIELDS 2 name
(error) ERR numfields should be greater than 0 and match the provided number of fields
> HEXPIRE user -1 FIELDS 1 name
(error) ERR invalid expire time in 'hexpire' command
"#,
    ..EXPIRE_ROW
};

fn hexpire(call: &mut Call<'_>) -> Outcome {
    set_expiry(call, Expiry::Seconds, HEXPIRE.name)
}

pub(super) const HPEXPIRE: Command = Command {
    name: "hpexpire",
    summary: "Sets the time to live of fields, in milliseconds.",
    arguments: &[Argument::KEY, Argument::integer("milliseconds"), CONDITION, COUNTED_FIELDS],
    run: Run::Shard(hpexpire),
    shows: r#"@only ours valkey9
> HSET user name Ann
(integer) 1
> HPEXPIRE user 100000 FIELDS 1 name
1) (integer) 1
> HTTL user FIELDS 1 name
1) (integer) <between 95 100>
"#,
    ..EXPIRE_ROW
};

fn hpexpire(call: &mut Call<'_>) -> Outcome {
    set_expiry(call, Expiry::Milliseconds, HPEXPIRE.name)
}

pub(super) const HEXPIREAT: Command = Command {
    name: "hexpireat",
    summary: "Sets the moment when fields expire, in Unix seconds.",
    arguments: &[Argument::KEY, Argument::integer("unix-time-seconds"), CONDITION, COUNTED_FIELDS],
    run: Run::Shard(hexpireat),
    shows: r#"@only ours valkey9
> HSET user name Ann age 30
(integer) 2
> HEXPIREAT user 33177117420 FIELDS 1 name
1) (integer) 1
> HEXPIRETIME user FIELDS 1 name
1) (integer) 33177117420
> HEXPIREAT user 1 FIELDS 1 name
1) (integer) 2
"#,
    ..EXPIRE_ROW
};

fn hexpireat(call: &mut Call<'_>) -> Outcome {
    set_expiry(call, Expiry::AtSeconds, HEXPIREAT.name)
}

pub(super) const HPEXPIREAT: Command = Command {
    name: "hpexpireat",
    summary: "Sets the moment when fields expire, in Unix milliseconds.",
    arguments: &[
        Argument::KEY,
        Argument::integer("unix-time-milliseconds"),
        CONDITION,
        COUNTED_FIELDS,
    ],
    run: Run::Shard(hpexpireat),
    shows: r#"@only ours valkey9
> HSET user name Ann
(integer) 1
> HPEXPIREAT user 33177117420123 FIELDS 1 name
1) (integer) 1
> HPEXPIRETIME user FIELDS 1 name
1) (integer) 33177117420123
> HPEXPIREAT user 33177117420000 GT FIELDS 1 name
1) (integer) 0
"#,
    ..EXPIRE_ROW
};

fn hpexpireat(call: &mut Call<'_>) -> Outcome {
    set_expiry(call, Expiry::AtMilliseconds, HPEXPIREAT.name)
}

/// The moment of an expiry argument: none before 1970.
pub(super) fn moment(
    expiry: Expiry,
    text: &[u8],
    now_ms: u64,
    command: &str,
) -> Result<u64, CommandError> {
    let value = integer(text)?;
    let moment = (value >= 0).then(|| expiry.moment(value, now_ms)).flatten();
    moment.and_then(|moment| u64::try_from(moment).ok()).ok_or_else(|| invalid_expire_time(command))
}

fn set_expiry(call: &mut Call<'_>, expiry: Expiry, command: &str) -> Outcome {
    let parted = part(&call.args[3..])?;
    let conditions = Conditions::parse(parted.options)?;
    let names = counted(parted.number, parted.given, 1)?;
    let now_ms = call.keyspace.now_ms();
    let at_ms = moment(expiry, call.args[2], now_ms, command)?;
    let signed = i64::try_from(at_ms).unwrap_or(i64::MAX);
    let is_past = at_ms <= now_ms;
    let edit = call.keyspace.edit(call.database, &call.key);
    let there = edit.entry();
    let hash = hash(there.as_deref(), now_ms)?;
    let (mut chosen, mut seen) = (Vec::new(), BTreeSet::new());
    call.reply.array(names.len());
    for &name in names {
        let mut before_ms = hash.and_then(|hash| hash.get(name)).map(|field| field.expire_at_ms);
        // A field that is named twice sees the effect of the first time.
        if seen.contains(name) {
            before_ms = (!is_past).then_some(Some(at_ms));
        }
        let answer = match before_ms {
            None => ABSENT,
            Some(before_ms) if !conditions.permit(before_ms, signed) => 0,
            Some(_) => {
                chosen.push(name);
                seen.insert(name);
                if is_past { 2 } else { 1 }
            }
        };
        call.reply.integer(answer);
    }
    if !chosen.is_empty() {
        let fields = Strings::from(chosen.as_slice());
        edit.commit(Effect::Hash(match is_past {
            true => HashChange::Remove { fields, cause: Cause::Deleted },
            false => HashChange::ExpireAt { fields, at_ms },
        }));
    }
    Ok(())
}

pub(super) const HPERSIST: Command = Command {
    name: "hpersist",
    since: "9.0.0",
    summary: "Removes the expiry of fields.",
    complexity: "O(N) for N fields",
    arity: -5,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[Argument::KEY, COUNTED_FIELDS],
    run: Run::Shard(hpersist),
    shows: r#"@only ours valkey9
> HSET user name Ann token abc
(integer) 2
> HEXPIRE user 100 FIELDS 1 token
1) (integer) 1
> HPERSIST user FIELDS 3 token name age
1) (integer) 1
2) (integer) -1
3) (integer) -2
> HTTL user FIELDS 1 token
1) (integer) -1
"#,
    ..ROW
};

fn hpersist(call: &mut Call<'_>) -> Outcome {
    let names = fields_behind_key(call.args)?;
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.edit(call.database, &call.key);
    let there = edit.entry();
    let hash = hash(there.as_deref(), now_ms)?;
    let (mut chosen, mut seen) = (Vec::new(), BTreeSet::new());
    call.reply.array(names.len());
    for &name in names {
        let before_ms = hash.and_then(|hash| hash.get(name)).map(|field| field.expire_at_ms);
        call.reply.integer(match before_ms {
            None => ABSENT,
            Some(Some(_)) if seen.insert(name) => {
                chosen.push(name);
                1
            }
            Some(_) => FOREVER,
        });
    }
    if !chosen.is_empty() {
        let fields = Strings::from(chosen.as_slice());
        edit.commit(Effect::Hash(HashChange::Persist { fields }));
    }
    Ok(())
}

const TTL_ROW: Command = Command {
    since: "9.0.0",
    complexity: "O(N) for N fields",
    arity: -5,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, COUNTED_FIELDS],
    ..ROW
};

pub(super) const HTTL: Command = Command {
    name: "httl",
    summary: "Returns the time to live of fields in seconds: -1 without expiry, -2 for missing fields.",
    run: Run::Shard(httl),
    shows: r#"@only ours valkey9
> HSET user name Ann token abc
(integer) 2
> HEXPIRE user 100 FIELDS 1 token
1) (integer) 1
> HTTL user FIELDS 3 token name age
1) (integer) <between 95 100>
2) (integer) -1
3) (integer) -2
> HTTL absent FIELDS 1 name
1) (integer) -2
> HTTL user FIELDS 2 name
(error) ERR syntax error
"#,
    ..TTL_ROW
};

fn httl(call: &mut Call<'_>) -> Outcome {
    answer_expiry(call, |at_ms, now_ms| in_seconds(at_ms - now_ms))
}

pub(super) const HPTTL: Command = Command {
    name: "hpttl",
    summary: "Returns the time to live of fields in milliseconds: -1 without expiry, -2 for missing fields.",
    run: Run::Shard(hpttl),
    shows: r#"@only ours valkey9
> HSET user name Ann token abc
(integer) 2
> HEXPIRE user 100 FIELDS 1 token
1) (integer) 1
> HPTTL user FIELDS 2 token name
1) (integer) <between 99000 100000>
2) (integer) -1
"#,
    ..TTL_ROW
};

fn hpttl(call: &mut Call<'_>) -> Outcome {
    answer_expiry(call, |at_ms, now_ms| at_ms - now_ms)
}

pub(super) const HEXPIRETIME: Command = Command {
    name: "hexpiretime",
    summary: "Returns when fields expire, in Unix seconds: -1 without expiry, -2 for missing fields.",
    run: Run::Shard(hexpiretime),
    shows: r#"@only ours valkey9
> HSET user name Ann
(integer) 1
> HEXPIREAT user 33177117420 FIELDS 1 name
1) (integer) 1
> HEXPIRETIME user FIELDS 2 name age
1) (integer) 33177117420
2) (integer) -2
"#,
    ..TTL_ROW
};

fn hexpiretime(call: &mut Call<'_>) -> Outcome {
    answer_expiry(call, |at_ms, _| in_seconds(at_ms))
}

pub(super) const HPEXPIRETIME: Command = Command {
    name: "hpexpiretime",
    summary: "Returns when fields expire, in Unix milliseconds: -1 without expiry, -2 for missing fields.",
    run: Run::Shard(hpexpiretime),
    shows: r#"@only ours valkey9
> HSET user name Ann
(integer) 1
> HPEXPIREAT user 33177117420123 FIELDS 1 name
1) (integer) 1
> HPEXPIRETIME user FIELDS 1 name
1) (integer) 33177117420123
"#,
    ..TTL_ROW
};

fn hpexpiretime(call: &mut Call<'_>) -> Outcome {
    answer_expiry(call, |at_ms, _| at_ms)
}

/// Replies with the result of `tell` for each field's expiry and the current time.
fn answer_expiry(call: &mut Call<'_>, tell: fn(u64, u64) -> u64) -> Outcome {
    // Here Valkey's error for a wrong number is that for a wrong word.
    let names = match fields_behind_key(call.args) {
        Err(error) if error == super::NUMFIELDS => return Err(CommandError::SYNTAX),
        names => names?,
    };
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    let hash = hash(entry.as_deref(), now_ms)?;
    call.reply.array(names.len());
    for name in names {
        let field = hash.and_then(|hash| hash.get(name));
        call.reply.integer(match field.map(|field| field.expire_at_ms) {
            None => ABSENT,
            Some(None) => FOREVER,
            Some(Some(at_ms)) => tell(at_ms, now_ms) as i64,
        });
    }
    Ok(())
}
