//! Reading some fields.

use super::{FIELD, ROW, answer, hash, live_len};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};

const GET_ROW: Command = Command {
    since: "2.0.0",
    arity: 3,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO"])],
    arguments: &[Argument::KEY, FIELD],
    ..ROW
};

pub(super) const HGET: Command = Command {
    name: "hget",
    summary: "Returns the value of a field.",
    keys: &[KeySpec::at(1, &["RO", "access"])],
    run: Run::Shard(hget),
    shows: r#"> HSET user name Ann
(integer) 1
> HGET user name
"Ann"
> HGET user age
(nil)
> HGET absent name
(nil)
> SET text value
OK
> HGET text name
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..GET_ROW
};

fn hget(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    match hash(entry.as_deref(), now_ms)?.and_then(|hash| hash.get(call.args[2])) {
        Some(field) => answer(&mut call.reply, field.value),
        None => call.reply.null(),
    }
    Ok(())
}

pub(super) const HMGET: Command = Command {
    name: "hmget",
    summary: "Returns the values of several fields.",
    complexity: "O(N) for N fields",
    arity: -3,
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, FIELD.multiple()],
    run: Run::Shard(hmget),
    shows: r#"> HSET user name Ann age 30
(integer) 2
> HMGET user age town name
1) "30"
2) (nil)
3) "Ann"
> HMGET absent name
1) (nil)
"#,
    ..GET_ROW
};

fn hmget(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    let hash = hash(entry.as_deref(), now_ms)?;
    call.reply.array(call.args.len() - 2);
    for name in &call.args[2..] {
        match hash.and_then(|hash| hash.get(name)) {
            Some(field) => answer(&mut call.reply, field.value),
            None => call.reply.null(),
        }
    }
    Ok(())
}

pub(super) const HEXISTS: Command = Command {
    name: "hexists",
    summary: "Checks whether a hash has a field.",
    run: Run::Shard(hexists),
    shows: r#"> HSET user name Ann
(integer) 1
> HEXISTS user name
(integer) 1
> HEXISTS user age
(integer) 0
> HEXISTS absent name
(integer) 0
"#,
    ..GET_ROW
};

fn hexists(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    let field = hash(entry.as_deref(), now_ms)?.and_then(|hash| hash.get(call.args[2]));
    call.reply.integer(i64::from(field.is_some()));
    Ok(())
}

pub(super) const HSTRLEN: Command = Command {
    name: "hstrlen",
    since: "3.2.0",
    summary: "Returns the length of a field's value.",
    run: Run::Shard(hstrlen),
    shows: r#"> HSET user name Ann age -30
(integer) 2
> HSTRLEN user name
(integer) 3
> HSTRLEN user age
(integer) 3
> HSTRLEN user town
(integer) 0
"#,
    ..GET_ROW
};

fn hstrlen(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    let field = hash(entry.as_deref(), now_ms)?.and_then(|hash| hash.get(call.args[2]));
    call.reply.integer(field.map_or(0, |field| field.value.text_len() as i64));
    Ok(())
}

pub(super) const HLEN: Command = Command {
    name: "hlen",
    summary: "Returns the number of fields of a hash.",
    arity: 2,
    arguments: &[Argument::KEY],
    run: Run::Shard(hlen),
    shows: r#"> HSET user name Ann age 30
(integer) 2
> HLEN user
(integer) 2
> HLEN absent
(integer) 0
"#,
    ..GET_ROW
};

fn hlen(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    call.reply.integer(live_len(entry.as_deref(), now_ms)? as i64);
    Ok(())
}
