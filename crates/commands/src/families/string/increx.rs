//! INCREX: increments a number within bounds, and optionally sets its expiry.

use basalt_keyspace::{Cause, Content, Effect, Entry, event};
use basalt_resp::{LongFloat, parse_i64};

use super::number::COUNT_ROW;
use super::text_of;
use crate::args::{Expiry, Grammar, flag, integer, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Run};
use crate::error::CommandError;

pub(super) const INCREX: Command = Command {
    name: "increx",
    since: "8.8.0",
    summary: "Increments a number within bounds and sets its expiry; returns the number and the actual increment.",
    arity: -2,
    arguments: &[
        Argument::KEY,
        Argument::one_of(
            "increment",
            &[
                Argument::double("float").after("BYFLOAT"),
                Argument::integer("integer").after("BYINT"),
            ],
        )
        .optional(),
        Argument::word("saturate", "SATURATE").optional(),
        Argument::string("lowerbound").after("LBOUND").optional(),
        Argument::string("upperbound").after("UBOUND").optional(),
        Argument::EXPIRY_OR_PERSIST,
        Argument::word("enx", "ENX").optional(),
    ],
    run: Run::Shard(increx),
    shows: r#"@skip-oracle a command of Redis 8.8
> INCREX calls UBOUND 2 EX 60 ENX
1) (integer) 1
2) (integer) 1
> INCREX calls BYINT 5 UBOUND 2
1) (integer) 1
2) (integer) 0
> INCREX calls BYINT 5 UBOUND 2 SATURATE
1) (integer) 2
2) (integer) 1
> TTL calls
(integer) <between 55 60>
> SET price 1.5
OK
@resp 2
> INCREX price BYFLOAT 0.25 PERSIST
1) "1.75"
2) "0.25"
@resp any
> INCREX price
(error) ERR value is not an integer or out of range
> INCREX calls ENX
(error) ERR ENX flag requires an expiration
> INCREX calls LBOUND 2 UBOUND 1
(error) ERR LBOUND can't be greater than UBOUND
"#,
    ..COUNT_ROW
};

#[derive(Clone, Copy)]
pub(super) enum Word {
    ByInteger,
    ByFloat,
    Lower,
    Upper,
    Saturate,
    OnlyNew,
    Persist,
    Expire(Expiry),
}

pub(super) const OPTIONS: Grammar<Word> = Grammar(&[
    value("byint", Word::ByInteger).of_choice(1).once(),
    value("byfloat", Word::ByFloat).of_choice(1).once(),
    value("lbound", Word::Lower).of_choice(2).once(),
    value("ubound", Word::Upper).of_choice(3).once(),
    flag("saturate", Word::Saturate).of_choice(4).once(),
    flag("enx", Word::OnlyNew).of_choice(5).once(),
    value("ex", Word::Expire(Expiry::Seconds)).of_choice(6).once(),
    value("px", Word::Expire(Expiry::Milliseconds)).of_choice(6).once(),
    value("exat", Word::Expire(Expiry::AtSeconds)).of_choice(6).once(),
    value("pxat", Word::Expire(Expiry::AtMilliseconds)).of_choice(6).once(),
    flag("persist", Word::Persist).of_choice(6).once(),
]);

/// The increment, and the bounds of the sum.
#[derive(Clone, Copy, Debug)]
struct Step<T> {
    by: T,
    lower: T,
    upper: T,
}

#[derive(Clone, Copy, Debug)]
enum Steps {
    Integer(Step<i64>),
    Float(Step<LongFloat>),
}

/// The change of the expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifetime {
    Kept,
    Endless,
    Until { at_ms: u64, only_new: bool },
}

#[derive(Clone, Copy, Debug)]
struct Request {
    steps: Steps,
    saturates: bool,
    lifetime: Lifetime,
}

fn integer_or(text: &[u8], what: &str) -> Result<i64, CommandError> {
    let refusal = || CommandError::new(format!("ERR {what} is not an integer or out of range"));
    integer(text).map_err(|_| refusal())
}

fn float_or(text: &[u8], what: &str) -> Result<LongFloat, CommandError> {
    let refusal = || CommandError::new(format!("ERR {what} is not a valid float"));
    LongFloat::parse(text).ok_or_else(refusal)
}

/// An increment with the given bounds, or the widest ones.
fn step<T: PartialOrd + Copy>(
    by: T,
    [lower, upper]: [Option<&[u8]>; 2],
    [least, most]: [T; 2],
    read: impl Fn(&[u8], &str) -> Result<T, CommandError>,
) -> Result<Step<T>, CommandError> {
    let bound =
        |text: Option<&[u8]>, what, otherwise| text.map_or(Ok(otherwise), |text| read(text, what));
    let (lower, upper) = (bound(lower, "LBOUND", least)?, bound(upper, "UBOUND", most)?);
    if lower > upper {
        return Err(CommandError::text("ERR LBOUND can't be greater than UBOUND"));
    }
    Ok(Step { by, lower, upper })
}

fn parse(args: &[&[u8]], now_ms: u64) -> Result<Request, CommandError> {
    let (mut by_integer, mut by_float, mut bounds) = (1, None, [None; 2]);
    let (mut saturates, mut only_new, mut persists, mut expiry) = (false, false, false, None);
    for option in OPTIONS.parse(&args[2..]) {
        let (word, values) = option?;
        match word {
            Word::ByInteger => by_integer = integer_or(values[0], "Increment")?,
            Word::ByFloat => {
                let by = float_or(values[0], "Increment")?;
                if by.is_infinite() {
                    return Err(CommandError::text("ERR BYFLOAT increment cannot be Infinity"));
                }
                by_float = Some(by);
            }
            Word::Lower => bounds[0] = Some(values[0]),
            Word::Upper => bounds[1] = Some(values[0]),
            Word::Saturate => saturates = true,
            Word::OnlyNew => only_new = true,
            Word::Persist => persists = true,
            Word::Expire(kind) => expiry = Some((kind, values[0])),
        }
        if only_new && persists {
            return Err(CommandError::SYNTAX);
        }
    }
    let steps = match by_float {
        Some(by) => Steps::Float(step(by, bounds, [LongFloat::MIN, LongFloat::MAX], float_or)?),
        None => Steps::Integer(step(by_integer, bounds, [i64::MIN, i64::MAX], integer_or)?),
    };
    if only_new && expiry.is_none() {
        return Err(CommandError::text("ERR ENX flag requires an expiration"));
    }
    let lifetime = match expiry {
        Some((kind, text)) => {
            Lifetime::Until { at_ms: kind.positive_moment(text, now_ms, INCREX.name)?, only_new }
        }
        None if persists => Lifetime::Endless,
        None => Lifetime::Kept,
    };
    Ok(Request { steps, saturates, lifetime })
}

/// The result of an increment: the number, and the actual increment.
type Sum<T> = Result<Option<(T, T)>, CommandError>;

/// `None` if the sum is out of bounds and must not be clamped.
fn add_integers(before: i64, step: Step<i64>, saturates: bool) -> Sum<i64> {
    let Step { by, lower, upper } = step;
    let sum = match before.checked_add(by) {
        Some(sum) if (lower..=upper).contains(&sum) => sum,
        _ if !saturates => return Ok(None),
        Some(sum) => {
            if sum > upper {
                upper
            } else {
                lower
            }
        }
        None => {
            if by >= 0 {
                upper
            } else {
                lower
            }
        }
    };
    let too_far = CommandError::text("ERR applied increment would overflow");
    Ok(Some((sum, sum.checked_sub(before).ok_or(too_far)?)))
}

/// As [`add_integers`].
fn add_floats(before: LongFloat, step: Step<LongFloat>, saturates: bool) -> Sum<LongFloat> {
    let Step { by, lower, upper } = step;
    let sum = before.plus(by);
    let sum = if !sum.is_infinite() && (lower..=upper).contains(&sum) {
        sum
    } else if !saturates {
        return Ok(None);
    } else if sum.is_infinite() {
        if by.is_negative() { lower } else { upper }
    } else if sum > upper {
        upper
    } else {
        lower
    };
    let added = sum.minus(before);
    if added.is_infinite() {
        return Err(CommandError::text("ERR applied increment would be Infinity"));
    }
    Ok(Some((sum, added)))
}

fn integer_of(entry: Option<&Entry>) -> Result<i64, CommandError> {
    match entry.map(super::content).transpose()? {
        None => Ok(0),
        Some(Content::Integer(value)) => Ok(value),
        Some(Content::Bytes(text)) => parse_i64(text).ok_or(CommandError::NOT_INTEGER),
    }
}

fn float_of(entry: Option<&Entry>) -> Result<LongFloat, CommandError> {
    let mut digits = itoa::Buffer::new();
    let text = match entry {
        None => b"0",
        entry => text_of(entry, &mut digits)?,
    };
    let value = LongFloat::parse(text).ok_or(CommandError::NOT_FLOAT)?;
    if value.is_infinite() {
        return Err(CommandError::text("ERR value cannot be Infinity"));
    }
    Ok(value)
}

fn increx(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let Request { steps, saturates, lifetime } = parse(call.args, now_ms)?;
    let edit = call.keyspace.edit(call.database, &call.key);
    let entry = edit.entry();
    let is_there = entry.is_some();
    let expire_at_ms = entry.as_ref().and_then(|entry| entry.expire_at_ms());
    let expire_at_ms = match lifetime {
        Lifetime::Kept => expire_at_ms,
        Lifetime::Endless => None,
        Lifetime::Until { only_new, .. } if only_new && expire_at_ms.is_some() => expire_at_ms,
        Lifetime::Until { at_ms, .. } => Some(at_ms),
    };
    let text;
    let effect = match steps {
        Steps::Integer(step) => {
            let before = integer_of(entry.as_deref())?;
            let sum = add_integers(before, step, saturates)?;
            let (value, added) = sum.unwrap_or((before, 0));
            call.reply.array(2);
            call.reply.integer(value);
            call.reply.integer(added);
            sum.map(|_| Effect::SetInteger { value, expire_at_ms })
        }
        Steps::Float(step) => {
            let before = float_of(entry.as_deref())?;
            let sum = add_floats(before, step, saturates)?;
            let (value, added) = sum.unwrap_or((before, before.minus(before)));
            call.reply.array(2);
            call.reply.long_float(value);
            call.reply.long_float(added);
            text = value.to_string();
            // Stored as text even if it is an integer, as INCRBYFLOAT does.
            let value = text.as_bytes();
            sum.map(|_| Effect::SetString { value, expire_at_ms, changed: false })
        }
    };
    let is_past = expire_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
    match effect {
        Some(_) if is_past && is_there => edit.commit(Effect::Remove { cause: Cause::Deleted }),
        Some(effect) if !is_past => {
            let is_integer = matches!(effect, Effect::SetInteger { .. });
            let events = if is_integer { event::INCRBY } else { event::INCRBYFLOAT };
            edit.as_event(events).commit(effect);
        }
        _ => {}
    }
    Ok(())
}
