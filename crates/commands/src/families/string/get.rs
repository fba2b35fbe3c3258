//! Reads a string, and optionally changes its key.

use basalt_keyspace::{Cause, Effect};

use super::{ROW, answer_content, effect_of, holds, remove};
use crate::args::{Expiry, Grammar, flag, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Deprecated, Flags, KeySpec, Run};

pub(super) const GET: Command = Command {
    name: "get",
    since: "1.0.0",
    summary: "Returns the string value of a key.",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(get),
    shows: r#"> GET greeting
(nil)
> SET greeting "hello world"
OK
> GET greeting
"hello world"
> SET number 42
OK
> GET number
"42"
> GET greeting number
(error) ERR wrong number of arguments for 'get' command
"#,
    ..ROW
};

fn get(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    answer_content(&mut call.reply, entry.as_deref())
}

pub(super) const GETSET: Command = Command {
    name: "getset",
    since: "1.0.0",
    summary: "Sets a key to a string and returns the previous string.",
    arity: 3,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "update"])],
    arguments: &[Argument::KEY, Argument::string("value")],
    deprecated: Some(Deprecated { since: "6.2.0", replaced_by: "`SET` with the `GET` argument" }),
    run: Run::Shard(getset),
    shows: r#"> GETSET counter 1
(nil)
> GETSET counter 0
"1"
> GET counter
"0"
> EXPIRE counter 100
(integer) 1
> GETSET counter later
"0"
> TTL counter
(integer) -1
"#,
    ..ROW
};

fn getset(call: &mut Call<'_>) -> Outcome {
    let edit = call.keyspace.read_and_edit(call.database, &call.key);
    answer_content(&mut call.reply, edit.entry().as_deref())?;
    edit.commit(effect_of(call.args[2], None));
    Ok(())
}

pub(super) const GETDEL: Command = Command {
    name: "getdel",
    since: "6.2.0",
    summary: "Returns the string value of a key and removes the key.",
    arity: 2,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "delete"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(getdel),
    shows: r#"> SET token secret
OK
> GETDEL token
"secret"
> GETDEL token
(nil)
> EXISTS token
(integer) 0
"#,
    ..ROW
};

fn getdel(call: &mut Call<'_>) -> Outcome {
    let edit = call.keyspace.read_and_edit(call.database, &call.key);
    answer_content(&mut call.reply, edit.entry().as_deref())?;
    remove(edit);
    Ok(())
}

pub(super) const GETEX: Command = Command {
    name: "getex",
    since: "6.2.0",
    summary: "Returns the string value of a key, and sets or removes its expiry.",
    arity: -2,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "update"])
        .because("RW and UPDATE because it changes the TTL")],
    arguments: &[Argument::KEY, Argument::EXPIRY_OR_PERSIST],
    run: Run::Shard(getex),
    shows: r#"> SET session abc
OK
> GETEX session EX 100
"abc"
> TTL session
(integer) <between 95 100>
> GETEX session
"abc"
> TTL session
(integer) <between 95 100>
> GETEX session PERSIST
"abc"
> TTL session
(integer) -1
> GETEX session EX 10 PERSIST
(error) ERR syntax error
> GETEX session PX 0
(error) ERR invalid expire time in 'getex' command
> GETEX session EXAT 1
"abc"
> GETEX session
(nil)
"#,
    ..ROW
};

#[derive(Clone, Copy)]
pub(super) enum GetexOption {
    Expire(Expiry),
    Persist,
}

pub(super) const GETEX_OPTIONS: Grammar<GetexOption> = Grammar(&[
    value("ex", GetexOption::Expire(Expiry::Seconds)).of_choice(1),
    value("px", GetexOption::Expire(Expiry::Milliseconds)).of_choice(1),
    value("exat", GetexOption::Expire(Expiry::AtSeconds)).of_choice(1),
    value("pxat", GetexOption::Expire(Expiry::AtMilliseconds)).of_choice(1),
    flag("persist", GetexOption::Persist).of_choice(1),
]);

fn getex(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let mut change = None;
    for option in GETEX_OPTIONS.parse(&call.args[2..]) {
        change = Some(option?);
    }
    let effect = match change {
        None => None,
        Some((GetexOption::Persist, _)) => Some(Effect::Persist),
        Some((GetexOption::Expire(expiry), values)) => {
            Some(match expiry.positive_moment(values[0], now_ms, GETEX.name)? {
                past if past <= now_ms => Effect::Remove { cause: Cause::Deleted },
                at_ms => Effect::ExpireAt { at_ms },
            })
        }
    };
    let edit = call.keyspace.read_and_edit(call.database, &call.key);
    let there = edit.entry();
    let expires = there.as_ref().map(|entry| entry.expire_at_ms().is_some());
    answer_content(&mut call.reply, there.as_deref())?;
    match (effect, expires) {
        (None, _) | (_, None) | (Some(Effect::Persist), Some(false)) => {}
        (Some(effect), Some(_)) => edit.commit(effect),
    }
    Ok(())
}

pub(super) const DELIFEQ: Command = Command {
    name: "delifeq",
    since: "9.0.0",
    summary: "Removes a key, only if it holds this string.",
    arity: 3,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RM", "delete"])],
    arguments: &[Argument::KEY, Argument::string("value")],
    run: Run::Shard(delifeq),
    shows: r#"@only ours valkey9
> SET lock mine
OK
> DELIFEQ lock yours
(integer) 0
> DELIFEQ lock mine
(integer) 1
> DELIFEQ lock mine
(integer) 0
"#,
    ..ROW
};

fn delifeq(call: &mut Call<'_>) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let is_equal = edit.entry().map_or(Ok(false), |entry| holds(&entry, call.args[2]))?;
    if is_equal {
        remove(edit);
    }
    call.reply.integer(i64::from(is_equal));
    Ok(())
}
