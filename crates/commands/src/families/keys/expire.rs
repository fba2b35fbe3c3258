//! Reads and sets the expiry of keys.

use basalt_keyspace::{Cause, Effect};

use super::ROW;
use crate::args::{Expiry, Grammar, flag, integer, invalid_expire_time};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

const EXPIRE_ROW: Command = Command {
    arity: -3,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    ..ROW
};

pub(in crate::families) const CONDITION: Argument = Argument::one_of(
    "condition",
    &[
        Argument::word("nx", "NX"),
        Argument::word("xx", "XX"),
        Argument::word("gt", "GT"),
        Argument::word("lt", "LT"),
    ],
)
.optional();

pub(in crate::families) const EXPIRE: Command = Command {
    name: "expire",
    since: "1.0.0",
    summary: "Sets the time to live of a key, in seconds.",
    arguments: &[Argument::KEY, Argument::integer("seconds"), CONDITION],
    run: Run::Shard(expire),
    shows: r#"> SET key value
OK
> EXPIRE key 100
(integer) 1
> TTL key
(integer) <between 95 100>
> EXPIRE key 50 GT
(integer) 0
> EXPIRE key 50 LT
(integer) 1
> EXPIRE key 200 NX
(integer) 0
> TTL key
(integer) <between 45 50>
> EXPIRE absent 100
(integer) 0
> EXPIRE key -1
(integer) 1
> EXISTS key
(integer) 0
> EXPIRE key 100 NX GT
(error) ERR NX and XX, GT or LT options at the same time are not compatible
> EXPIRE key 100 YY
(error) ERR Unsupported option YY
"#,
    ..EXPIRE_ROW
};

fn expire(call: &mut Call<'_>) -> Outcome {
    set_expiry(call, Expiry::Seconds, "expire")
}

pub(super) const PEXPIRE: Command = Command {
    name: "pexpire",
    since: "2.6.0",
    summary: "Sets the time to live of a key, in milliseconds.",
    arguments: &[Argument::KEY, Argument::integer("milliseconds"), CONDITION],
    run: Run::Shard(pexpire),
    shows: r#"> SET key value
OK
> PEXPIRE key 100000
(integer) 1
> TTL key
(integer) <between 95 100>
> PEXPIRE key 200000 XX
(integer) 1
> TTL key
(integer) <between 195 200>
> PEXPIRE key 1.5
(error) ERR value is not an integer or out of range
"#,
    ..EXPIRE_ROW
};

fn pexpire(call: &mut Call<'_>) -> Outcome {
    set_expiry(call, Expiry::Milliseconds, "pexpire")
}

pub(super) const EXPIREAT: Command = Command {
    name: "expireat",
    since: "1.2.0",
    summary: "Sets the moment when a key expires, in Unix seconds.",
    arguments: &[Argument::KEY, Argument::unix_time("unix-time-seconds"), CONDITION],
    run: Run::Shard(expireat),
    shows: r#"> SET key value
OK
> EXPIREAT key 33177117420
(integer) 1
> EXPIRETIME key
(integer) 33177117420
> EXPIREAT key 1
(integer) 1
> EXISTS key
(integer) 0
"#,
    ..EXPIRE_ROW
};

fn expireat(call: &mut Call<'_>) -> Outcome {
    set_expiry(call, Expiry::AtSeconds, "expireat")
}

pub(super) const PEXPIREAT: Command = Command {
    name: "pexpireat",
    since: "2.6.0",
    summary: "Sets the moment when a key expires, in Unix milliseconds.",
    arguments: &[Argument::KEY, Argument::unix_time("unix-time-milliseconds"), CONDITION],
    run: Run::Shard(pexpireat),
    shows: r#"> SET key value
OK
> PEXPIREAT key 33177117420123
(integer) 1
> PEXPIRETIME key
(integer) 33177117420123
> PEXPIREAT key 33177117420000 GT
(integer) 0
"#,
    ..EXPIRE_ROW
};

fn pexpireat(call: &mut Call<'_>) -> Outcome {
    set_expiry(call, Expiry::AtMilliseconds, "pexpireat")
}

#[derive(Clone, Copy)]
pub(in crate::families) enum Condition {
    Nx,
    Xx,
    Gt,
    Lt,
}

/// XX may be combined with GT or LT, and other combinations have errors of their own: no exclusive
/// group expresses that.
pub(in crate::families) const CONDITIONS: Grammar<Condition> = Grammar(&[
    flag("nx", Condition::Nx),
    flag("xx", Condition::Xx),
    flag("gt", Condition::Gt),
    flag("lt", Condition::Lt),
]);

/// The conditions for setting an expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::families) struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    pub(in crate::families) fn parse(args: &[&[u8]]) -> Result<Self, CommandError> {
        let mut given = Self::default();
        for (option, arg) in CONDITIONS.parse(args).zip(args) {
            let unsupported = |_| CommandError::quoting("ERR Unsupported option ", arg, "");
            match option.map_err(unsupported)?.0 {
                Condition::Nx => given.nx = true,
                Condition::Xx => given.xx = true,
                Condition::Gt => given.gt = true,
                Condition::Lt => given.lt = true,
            }
        }
        if given.nx && (given.xx || given.gt || given.lt) {
            return Err(CommandError::text(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if given.gt && given.lt {
            return Err(CommandError::text(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(given)
    }

    /// A key without expiry counts as one with an infinite TTL.
    pub(in crate::families) fn permit(self, before_ms: Option<u64>, moment: i64) -> bool {
        let before = before_ms.map_or(i64::MAX, |at_ms| i64::try_from(at_ms).unwrap_or(i64::MAX));
        !(self.nx && before_ms.is_some()
            || self.xx && before_ms.is_none()
            || self.gt && (before_ms.is_none() || moment <= before)
            || self.lt && before_ms.is_some() && moment >= before)
    }
}

fn set_expiry(call: &mut Call<'_>, expiry: Expiry, command: &str) -> Outcome {
    let conditions = Conditions::parse(&call.args[3..])?;
    let now_ms = call.keyspace.now_ms();
    let moment = expiry.moment(integer(call.args[2])?, now_ms);
    let moment = moment.ok_or_else(|| invalid_expire_time(command))?;
    let edit = call.keyspace.edit(call.database, &call.key);
    let before_ms = edit.entry().map(|entry| entry.expire_at_ms());
    let is_set = before_ms.is_some_and(|before_ms| conditions.permit(before_ms, moment));
    if is_set {
        edit.commit(match u64::try_from(moment) {
            Ok(at_ms) if at_ms > now_ms => Effect::ExpireAt { at_ms },
            _ => Effect::Remove { cause: Cause::Deleted },
        });
    }
    call.reply.integer(i64::from(is_set));
    Ok(())
}

pub(super) const PERSIST: Command = Command {
    name: "persist",
    since: "2.2.0",
    summary: "Removes the expiry of a key.",
    arity: 2,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(persist),
    shows: r#"> SET key value EX 100
OK
> PERSIST key
(integer) 1
> TTL key
(integer) -1
> PERSIST key
(integer) 0
> PERSIST absent
(integer) 0
"#,
    ..ROW
};

fn persist(call: &mut Call<'_>) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let expires = edit.entry().is_some_and(|entry| entry.expire_at_ms().is_some());
    if expires {
        edit.commit(Effect::Persist);
    }
    call.reply.integer(i64::from(expires));
    Ok(())
}

const TTL_ROW: Command = Command {
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY],
    ..ROW
};

pub(super) const TTL: Command = Command {
    name: "ttl",
    since: "1.0.0",
    summary: "Returns the time to live of a key in seconds: -1 without expiry, -2 for a missing key.",
    tips: &["nondeterministic_output"],
    run: Run::Shard(ttl),
    shows: r#"> SET key value EX 100
OK
> TTL key
(integer) <between 95 100>
> PERSIST key
(integer) 1
> TTL key
(integer) -1
> TTL absent
(integer) -2
"#,
    ..TTL_ROW
};

fn ttl(call: &mut Call<'_>) -> Outcome {
    answer_expiry(call, |at_ms, now_ms| in_seconds(at_ms - now_ms))
}

pub(super) const PTTL: Command = Command {
    name: "pttl",
    since: "2.6.0",
    summary: "Returns the time to live of a key in milliseconds: -1 without expiry, -2 for a missing key.",
    tips: &["nondeterministic_output"],
    run: Run::Shard(pttl),
    shows: r#"> SET key value EX 100
OK
> PTTL key
(integer) <between 99000 100000>
> SET key value
OK
> PTTL key
(integer) -1
> PTTL absent
(integer) -2
"#,
    ..TTL_ROW
};

fn pttl(call: &mut Call<'_>) -> Outcome {
    answer_expiry(call, |at_ms, now_ms| at_ms - now_ms)
}

pub(super) const EXPIRETIME: Command = Command {
    name: "expiretime",
    since: "7.0.0",
    summary: "Returns when a key expires, in Unix seconds: -1 without expiry, -2 for a missing key.",
    run: Run::Shard(expiretime),
    shows: r#"> SET key value EXAT 33177117420
OK
> EXPIRETIME key
(integer) 33177117420
> SET key value
OK
> EXPIRETIME key
(integer) -1
> EXPIRETIME absent
(integer) -2
"#,
    ..TTL_ROW
};

fn expiretime(call: &mut Call<'_>) -> Outcome {
    answer_expiry(call, |at_ms, _| in_seconds(at_ms))
}

pub(super) const PEXPIRETIME: Command = Command {
    name: "pexpiretime",
    since: "7.0.0",
    summary: "Returns when a key expires, in Unix milliseconds: -1 without expiry, -2 for a missing key.",
    run: Run::Shard(pexpiretime),
    shows: r#"> SET key value PXAT 33177117420123
OK
> PEXPIRETIME key
(integer) 33177117420123
> EXPIRETIME key
(integer) 33177117420
> PEXPIRETIME absent
(integer) -2
"#,
    ..TTL_ROW
};

fn pexpiretime(call: &mut Call<'_>) -> Outcome {
    answer_expiry(call, |at_ms, _| at_ms)
}

/// Milliseconds, rounded to seconds.
pub(in crate::families) fn in_seconds(ms: u64) -> u64 {
    (ms + 500) / 1000
}

/// Replies with the result of `tell` for the key's expiry and the current time.
fn answer_expiry(call: &mut Call<'_>, tell: fn(u64, u64) -> u64) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.inspect(call.database, &call.key);
    let answer = match entry.map(|entry| entry.expire_at_ms()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at_ms)) => tell(at_ms, now_ms) as i64,
    };
    call.reply.integer(answer);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_refused_in_redis_order() {
        let refusal = |words: &str| {
            let args: Vec<&[u8]> = words.split_whitespace().map(str::as_bytes).collect();
            Conditions::parse(&args).map_err(|error| error.to_string())
        };
        assert_eq!(
            refusal("xx LT"),
            Ok(Conditions { xx: true, lt: true, ..Conditions::default() })
        );
        assert_eq!(refusal("nx xx what"), Err("ERR Unsupported option what".into()));
        assert!(refusal("nx gt lt").unwrap_err().starts_with("ERR NX and XX"));
        assert!(refusal("gt lt").unwrap_err().starts_with("ERR GT and LT"));
    }

    #[test]
    fn no_expiry_is_later_than_any() {
        let gt = Conditions { gt: true, ..Conditions::default() };
        let lt = Conditions { lt: true, ..Conditions::default() };
        assert!(!gt.permit(None, i64::MAX) && lt.permit(None, i64::MAX));
        assert!(gt.permit(Some(5), 6) && !gt.permit(Some(5), 5));
        assert!(lt.permit(Some(5), 4) && !lt.permit(Some(5), 5) && lt.permit(Some(5), -1));
    }
}
