//! Reading a hash.

use super::{ROW, answer, hash};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};

pub(super) const HGET: Command = Command {
    name: "hget",
    since: "2.0.0",
    summary: "Tells the value of a field.",
    arity: 3,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, Argument::string("field")],
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
    ..ROW
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

pub(super) const HLEN: Command = Command {
    name: "hlen",
    since: "2.0.0",
    summary: "Tells how many fields a hash has.",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(hlen),
    shows: r#"> HSET user name Ann age 30
(integer) 2
> HLEN user
(integer) 2
> HLEN absent
(integer) 0
"#,
    ..ROW
};

fn hlen(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    let len = hash(entry.as_deref(), now_ms)?.map_or(0, |hash| hash.len());
    call.reply.integer(len as i64);
    Ok(())
}
