//! Fields that come and go.

use basalt_keyspace::{Cause, Effect, FieldLife, HashChange, Strings};

use super::{ROW, hash};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const HSET: Command = Command {
    name: "hset",
    since: "2.0.0",
    summary: "Sets fields to values, and tells how many of them are new.",
    complexity: "O(N) for N fields",
    arity: -4,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[
        Argument::KEY,
        Argument::block("data", &[Argument::string("field"), Argument::string("value")]).multiple(),
    ],
    run: Run::Shard(hset),
    shows: r#"> HSET user name Ann age 30
(integer) 2
> HSET user age 31 town Rome
(integer) 1
> HGET user age
"31"
> HSET user age
(error) ERR wrong number of arguments for 'hset' command
> SET text value
OK
> HSET text name Ann
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..ROW
};

fn hset(call: &mut Call<'_>) -> Outcome {
    let pairs = &call.args[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::wrong_arity(HSET.name));
    }
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.edit(call.database, &call.key);
    let before = hash(edit.entry().as_deref(), now_ms)?.map_or(0, |hash| hash.len());
    let pairs = Strings::from(pairs);
    edit.commit(Effect::Hash(HashChange::Set { pairs, life: FieldLife::Forever }));
    let entry = call.keyspace.peek(call.database, &call.key);
    let after = hash(entry.as_deref(), now_ms)?.map_or(0, |hash| hash.len());
    call.reply.integer((after - before) as i64);
    Ok(())
}

pub(super) const HDEL: Command = Command {
    name: "hdel",
    since: "2.0.0",
    summary: "Removes fields, and with the last one the hash; tells how many were there.",
    complexity: "O(N) for N fields",
    arity: -3,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "delete"])],
    arguments: &[Argument::KEY, Argument::string("field").multiple()],
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
    let after = hash(entry.as_deref(), now_ms)?.map_or(0, |hash| hash.len());
    call.reply.integer((before - after) as i64);
    Ok(())
}
