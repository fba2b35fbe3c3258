//! Strings that hold numbers.

use basalt_keyspace::{Content, Effect, event};
use basalt_resp::{FloatError, add_long_double, parse_i64};

use super::{ROW, content};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const COUNT_ROW: Command = Command {
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "update"])],
    ..ROW
};

pub(super) const INCR: Command = Command {
    name: "incr",
    since: "1.0.0",
    summary: "Increments an integer by one; a missing key counts as 0.",
    arity: 2,
    arguments: &[Argument::KEY],
    run: Run::Shard(incr),
    shows: r#"> INCR visits
(integer) 1
> INCR visits
(integer) 2
> SET visits 9223372036854775807
OK
> INCR visits
(error) ERR increment or decrement would overflow
> SET visits many
OK
> INCR visits
(error) ERR value is not an integer or out of range
"#,
    ..COUNT_ROW
};

fn incr(call: &mut Call<'_>) -> Outcome {
    add(call, 1)
}

pub(super) const DECR: Command = Command {
    name: "decr",
    since: "1.0.0",
    summary: "Decrements an integer by one; a missing key counts as 0.",
    arity: 2,
    arguments: &[Argument::KEY],
    run: Run::Shard(decr),
    shows: r#"> SET stock 2
OK
> DECR stock
(integer) 1
> DECR stock
(integer) 0
> DECR stock
(integer) -1
"#,
    ..COUNT_ROW
};

fn decr(call: &mut Call<'_>) -> Outcome {
    add(call, -1)
}

pub(super) const INCRBY: Command = Command {
    name: "incrby",
    since: "1.0.0",
    summary: "Increments an integer; a missing key counts as 0.",
    arity: 3,
    arguments: &[Argument::KEY, Argument::integer("increment")],
    run: Run::Shard(incrby),
    shows: r#"> INCRBY points 10
(integer) 10
> INCRBY points -3
(integer) 7
> INCRBY points +3
(error) ERR value is not an integer or out of range
"#,
    ..COUNT_ROW
};

fn incrby(call: &mut Call<'_>) -> Outcome {
    let increment = integer(call.args[2])?;
    add(call, increment)
}

pub(super) const DECRBY: Command = Command {
    name: "decrby",
    since: "1.0.0",
    summary: "Decrements an integer; a missing key counts as 0.",
    arity: 3,
    arguments: &[Argument::KEY, Argument::integer("decrement")],
    run: Run::Shard(decrby),
    shows: r#"> SET stock 10
OK
> DECRBY stock 3
(integer) 7
> DECRBY stock -9223372036854775808
(error) ERR decrement would overflow
"#,
    ..COUNT_ROW
};

fn decrby(call: &mut Call<'_>) -> Outcome {
    let decrement = integer(call.args[2])?;
    let increment = decrement.checked_neg();
    add(call, increment.ok_or(CommandError::text("ERR decrement would overflow"))?)
}

#[inline]
fn add(call: &mut Call<'_>, increment: i64) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let (value, expire_at_ms) = match edit.entry() {
        None => (0, None),
        Some(entry) => {
            let value = match content(&entry)? {
                Content::Integer(value) => value,
                Content::Bytes(text) => parse_i64(text).ok_or(CommandError::NOT_INTEGER)?,
            };
            (value, entry.expire_at_ms())
        }
    };
    let sum = value.checked_add(increment);
    let sum = sum.ok_or(CommandError::text("ERR increment or decrement would overflow"))?;
    edit.as_event(event::INCRBY).commit(Effect::SetInteger { value: sum, expire_at_ms });
    call.reply.integer(sum);
    Ok(())
}

pub(super) const INCRBYFLOAT: Command = Command {
    name: "incrbyfloat",
    since: "2.6.0",
    summary: "Increments a floating-point number; a missing key counts as 0.",
    arity: 3,
    arguments: &[Argument::KEY, Argument::double("increment")],
    run: Run::Shard(incrbyfloat),
    shows: r#"> SET price 10.50
OK
> INCRBYFLOAT price 0.1
"10.6"
> INCRBYFLOAT price -5
"5.6"
> SET price 5.0e3
OK
> INCRBYFLOAT price 2.0e2
"5200"
> INCRBYFLOAT price much
(error) ERR value is not a valid float
> INCRBYFLOAT price inf
(error) ERR increment would produce NaN or Infinity
"#,
    ..COUNT_ROW
};

fn incrbyfloat(call: &mut Call<'_>) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let increment = call.args[2];
    let (sum, expire_at_ms) = match edit.entry() {
        None => (add_long_double(b"0", increment), None),
        Some(entry) => {
            let sum = match content(&entry)? {
                Content::Bytes(text) => add_long_double(text, increment),
                Content::Integer(value) => {
                    add_long_double(itoa::Buffer::new().format(value).as_bytes(), increment)
                }
            };
            (sum, entry.expire_at_ms())
        }
    };
    let sum = sum.map_err(|error| match error {
        FloatError::NotAFloat => CommandError::NOT_FLOAT,
        FloatError::NanOrInfinity => {
            CommandError::text("ERR increment would produce NaN or Infinity")
        }
    })?;
    // Stored as text even if it is an integer, as in Redis, which OBJECT ENCODING shows.
    let effect = Effect::SetString { value: sum.as_bytes(), expire_at_ms, changed: false };
    edit.as_event(event::INCRBYFLOAT).commit(effect);
    call.reply.bulk(sum.as_bytes());
    Ok(())
}
