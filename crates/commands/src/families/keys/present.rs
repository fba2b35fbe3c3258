//! Existence, type and removal of keys.

use basalt_keyspace::{Cause, Effect};

use super::ROW;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Merge, Run};

const MANY_ROW: Command = Command {
    complexity: "O(N) for N keys",
    arity: -2,
    flags: Flags::READONLY.or(Flags::FAST),
    tips: &["request_policy:multi_shard", "response_policy:agg_sum"],
    keys: &[KeySpec::all(1, &["RO"])],
    arguments: &[Argument::KEYS],
    ..ROW
};

pub(super) const DEL: Command = Command {
    name: "del",
    since: "1.0.0",
    summary: "Removes keys and returns how many existed.",
    flags: Flags::WRITE,
    keys: &[KeySpec::all(1, &["RM", "delete"])],
    run: Run::Split(del, Merge::Present),
    shows: r#"> MSET one 1 two 2
OK
> DEL one two three
(integer) 2
> DEL one
(integer) 0
"#,
    ..MANY_ROW
};

fn del(call: &mut Call<'_>) -> Outcome {
    let mut count = 0;
    for name in &call.args[1..] {
        let key = call.key_of(name);
        let edit = call.keyspace.edit(call.database, &key);
        if edit.entry().is_some() {
            edit.commit(Effect::Remove { cause: Cause::Deleted });
            count += 1;
        }
    }
    call.reply.integer(count);
    Ok(())
}

pub(super) const UNLINK: Command = Command {
    name: "unlink",
    since: "4.0.0",
    summary: "Removes keys and returns how many existed; the memory of large values is freed later.",
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::all(1, &["RM", "delete"])],
    run: Run::Split(del, Merge::Present),
    shows: r#"> MSET one 1 two 2
OK
> UNLINK one two three
(integer) 2
> EXISTS one two
(integer) 0
"#,
    ..MANY_ROW
};

pub(super) const EXISTS: Command = Command {
    name: "exists",
    since: "1.0.0",
    summary: "Counts the keys that exist; a key that is named twice counts twice.",
    run: Run::Split(exists, Merge::Sum),
    shows: r#"> MSET one 1 two 2
OK
> EXISTS one
(integer) 1
> EXISTS one two three one
(integer) 3
"#,
    ..MANY_ROW
};

fn exists(call: &mut Call<'_>) -> Outcome {
    let mut count = 0;
    for name in &call.args[1..] {
        let key = call.key_of(name);
        count += i64::from(call.keyspace.inspect(call.database, &key).is_some());
    }
    call.reply.integer(count);
    Ok(())
}

pub(super) const TOUCH: Command = Command {
    name: "touch",
    since: "3.2.1",
    summary: "Marks keys as used now and returns how many exist.",
    run: Run::Split(touch, Merge::Sum),
    shows: r#"> MSET one 1 two 2
OK
> TOUCH one two three
(integer) 2
> OBJECT IDLETIME one
(integer) <between 0 5>
"#,
    ..MANY_ROW
};

fn touch(call: &mut Call<'_>) -> Outcome {
    let mut count = 0;
    for name in &call.args[1..] {
        let key = call.key_of(name);
        count += i64::from(call.keyspace.read(call.database, &key).is_some());
    }
    call.reply.integer(count);
    Ok(())
}

pub(super) const TYPE: Command = Command {
    name: "type",
    since: "1.0.0",
    summary: "Returns the type of a key's value.",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(type_),
    shows: r#"> SET key value
OK
> TYPE key
string
> TYPE absent
none
"#,
    ..ROW
};

fn type_(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.inspect(call.database, &call.key);
    call.reply.simple(entry.map_or("none", |entry| entry.kind().name()));
    Ok(())
}
