//! Sets and removes fields.

use basalt_keyspace::{Cause, Effect, FieldLife, HashChange, Strings};

use super::{FIELD, FIELDS_AND_VALUES, ROW, hash, live_len};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Deprecated, Flags, KeySpec, Run};
use crate::error::CommandError;

const SET_ROW: Command = Command {
    since: "2.0.0",
    complexity: "O(N) for N fields",
    arity: -4,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[Argument::KEY, FIELDS_AND_VALUES],
    ..ROW
};

pub(super) const HSET: Command = Command {
    name: "hset",
    summary: "Sets fields to values and returns how many fields are new.",
    run: Run::Shard(hset),
    shows: r#"> HSET user name Ann age 30
(integer) 2
> HSET user age 31 town Rome
(integer) 1
> HGET user age
"31"
> HSET user age
(error) ERR wrong number of arguments for 'hset' command
> HSET user age 32 town
(error) ERR wrong number of arguments for 'hset' command
> SET text value
OK
> HSET text name Ann
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..SET_ROW
};

fn hset(call: &mut Call<'_>) -> Outcome {
    let added = set(call, HSET.name)?;
    call.reply.integer(added as i64);
    Ok(())
}

pub(super) const HMSET: Command = Command {
    name: "hmset",
    summary: "Sets fields to values.",
    deprecated: Some(Deprecated {
        since: "4.0.0",
        replaced_by: "`HSET` with multiple field-value pairs",
    }),
    run: Run::Shard(hmset),
    shows: r#"> HMSET user name Ann age 30
OK
> HMGET user name age
1) "Ann"
2) "30"
> HMSET user name
(error) ERR wrong number of arguments for 'hmset' command
"#,
    ..SET_ROW
};

fn hmset(call: &mut Call<'_>) -> Outcome {
    set(call, HMSET.name)?;
    call.reply.ok();
    Ok(())
}

/// Sets fields without an expiry; returns how many are new.
fn set(call: &mut Call<'_>, command: &str) -> Result<usize, CommandError> {
    let pairs = &call.args[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(command));
    }
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.edit(call.database, &call.key);
    let before = live_len(edit.entry().as_deref(), now_ms)?;
    let pairs = Strings::from(pairs);
    edit.commit(Effect::Hash(HashChange::Set { pairs, life: FieldLife::Forever }));
    let entry = call.keyspace.peek(call.database, &call.key);
    Ok(live_len(entry.as_deref(), now_ms)? - before)
}

pub(super) const HSETNX: Command = Command {
    name: "hsetnx",
    summary: "Sets a field to a value, only if the hash does not have the field.",
    complexity: "O(1)",
    arity: 4,
    keys: &[KeySpec::at(1, &["RW", "insert"])],
    arguments: &[Argument::KEY, FIELD, Argument::string("value")],
    run: Run::Shard(hsetnx),
    shows: r#"> HSETNX user name Ann
(integer) 1
> HSETNX user name Bob
(integer) 0
> HGET user name
"Ann"
"#,
    ..SET_ROW
};

fn hsetnx(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.edit(call.database, &call.key);
    let is_there =
        hash(edit.entry().as_deref(), now_ms)?.is_some_and(|hash| hash.get(call.args[2]).is_some());
    if !is_there {
        let pairs = Strings::from(&call.args[2..]);
        edit.commit(Effect::Hash(HashChange::Set { pairs, life: FieldLife::Forever }));
    }
    call.reply.integer(i64::from(!is_there));
    Ok(())
}

pub(super) const HDEL: Command = Command {
    name: "hdel",
    since: "2.0.0",
    summary: "Removes fields and returns how many existed; a hash without fields is removed.",
    complexity: "O(N) for N fields",
    arity: -3,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "delete"])],
    arguments: &[Argument::KEY, FIELD.multiple()],
    run: Run::Shard(hdel),
    shows: r#"> HSET user name Ann age 30
(integer) 2
> HDEL user age town age
(integer) 1
> HDEL user name
(integer) 1
> EXISTS user
(integer) 0
> HDEL user name
(integer) 0
"#,
    ..ROW
};

fn hdel(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.edit(call.database, &call.key);
    let before = match hash(edit.entry().as_deref(), now_ms)? {
        Some(hash) if call.args[2..].iter().any(|name| hash.get(name).is_some()) => hash.len(),
        _ => {
            call.reply.integer(0);
            return Ok(());
        }
    };
    let fields = Strings::from(&call.args[2..]);
    edit.commit(Effect::Hash(HashChange::Remove { fields, cause: Cause::Deleted }));
    let entry = call.keyspace.peek(call.database, &call.key);
    let after = live_len(entry.as_deref(), now_ms)?;
    call.reply.integer((before - after) as i64);
    Ok(())
}
