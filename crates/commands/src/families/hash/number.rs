//! Fields that hold numbers.

use basalt_keyspace::{
    Content, Digits, Edit, Effect, Events, FieldLife, HashChange, Strings, event,
};
use basalt_resp::{FloatError, add_long_double, parse_i64};

use super::{FIELD, ROW, hash};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

const COUNT_ROW: Command = Command {
    arity: 4,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "update"])],
    ..ROW
};

/// Sets a field to another value, and keeps its expiry; a missing or expired field gets none.
fn put(edit: Edit<'_>, (name, is_there): (&[u8], bool), value: &[u8], events: Events) {
    let pair = [name, value];
    let life = if is_there { FieldLife::Kept } else { FieldLife::Forever };
    edit.as_event(events)
        .commit(Effect::Hash(HashChange::Set { pairs: Strings::from(&pair), life }));
}

pub(super) const HINCRBY: Command = Command {
    name: "hincrby",
    since: "2.0.0",
    summary: "Increments the integer in a field; a missing field counts as 0.",
    arguments: &[Argument::KEY, FIELD, Argument::integer("increment")],
    run: Run::Shard(hincrby),
    shows: r#"> HINCRBY page views 5
(integer) 5
> HINCRBY page views -7
(integer) -2
> HSET page title Home views 9223372036854775807
(integer) 1
> HINCRBY page title 1
(error) ERR hash value is not an integer
> HINCRBY page views 1
(error) ERR increment or decrement would overflow
> HINCRBY page views many
(error) ERR value is not an integer or out of range
"#,
    ..COUNT_ROW
};

fn hincrby(call: &mut Call<'_>) -> Outcome {
    let (name, increment) = (call.args[2], integer(call.args[3])?);
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.edit(call.database, &call.key);
    let there = edit.entry();
    let field = hash(there.as_deref(), now_ms)?.and_then(|hash| hash.get(name));
    let value = match field.map(|field| field.value) {
        None => 0,
        Some(Content::Integer(value)) => value,
        Some(Content::Bytes(text)) => {
            parse_i64(text).ok_or(CommandError::text("ERR hash value is not an integer"))?
        }
    };
    let sum = value.checked_add(increment);
    let sum = sum.ok_or(CommandError::text("ERR increment or decrement would overflow"))?;
    let is_there = field.is_some();
    put(edit, (name, is_there), itoa::Buffer::new().format(sum).as_bytes(), event::HINCRBY);
    call.reply.integer(sum);
    Ok(())
}

pub(super) const HINCRBYFLOAT: Command = Command {
    name: "hincrbyfloat",
    since: "2.6.0",
    summary: "Increments the floating-point number in a field; a missing field counts as 0.",
    arguments: &[Argument::KEY, FIELD, Argument::double("increment")],
    run: Run::Shard(hincrbyfloat),
    shows: r#"> HSET item price 10.50 name Pen
(integer) 2
> HINCRBYFLOAT item price 0.1
"10.6"
> HINCRBYFLOAT item weight 5.0e3
"5000"
> HINCRBYFLOAT item name 1
(error) ERR hash value is not a float
> HINCRBYFLOAT item price much
(error) ERR value is not a valid float
> HINCRBYFLOAT item price inf
(error) ERR value is NaN or Infinity
"#,
    ..COUNT_ROW
};

fn hincrbyfloat(call: &mut Call<'_>) -> Outcome {
    let (name, increment) = (call.args[2], call.args[3]);
    add_long_double(b"0", increment).map_err(|error| match error {
        FloatError::NotAFloat => CommandError::NOT_FLOAT,
        FloatError::NanOrInfinity => CommandError::text("ERR value is NaN or Infinity"),
    })?;
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.edit(call.database, &call.key);
    let there = edit.entry();
    let field = hash(there.as_deref(), now_ms)?.and_then(|hash| hash.get(name));
    let mut digits = Digits::default();
    let value = field.as_ref().map_or(&b"0"[..], |field| field.value.as_text(&mut digits));
    let sum = add_long_double(value, increment).map_err(|error| {
        CommandError::text(match error {
            FloatError::NotAFloat => "ERR hash value is not a float",
            FloatError::NanOrInfinity => "ERR increment would produce NaN or Infinity",
        })
    })?;
    let is_there = field.is_some();
    put(edit, (name, is_there), sum.as_bytes(), event::HINCRBYFLOAT);
    call.reply.bulk(sum.as_bytes());
    Ok(())
}
