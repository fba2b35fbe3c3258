//! Sets a string.

use basalt_keyspace::{Entry, event};

use super::digest::{Comparison, parse_digest};
use super::{ROW, answer_content, effect_of, put};
use crate::args::{Expiry, Grammar, flag, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Access, Command, Deprecated, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const SET: Command = Command {
    name: "set",
    since: "1.0.0",
    summary: "Sets a key to a string and replaces its value; options add conditions and an expiry.",
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(1, &["RW", "access", "update", "variable_flags"])
        .because("RW and ACCESS due to the optional `GET` argument")
        .varying(set_access)],
    arguments: &[
        Argument::KEY,
        Argument::string("value"),
        Argument::one_of(
            "condition",
            &[
                Argument::word("nx", "NX"),
                Argument::word("xx", "XX"),
                Argument::string("comparison-value").after("IFEQ"),
                Argument::string("other-value").after("IFNE"),
                Argument::string("comparison-digest").after("IFDEQ"),
                Argument::string("other-digest").after("IFDNE"),
            ],
        )
        .optional(),
        Argument::word("get", "GET").optional(),
        Argument::EXPIRY_OR_KEEPTTL,
    ],
    run: Run::Shard(set),
    shows: r#"> SET key value
OK
> GET key
"value"
> SET key other NX
(nil)
> SET absent value XX
(nil)
> SET key other GET
"value"
> SET key brief EX 100
OK
> TTL key
(integer) <between 95 100>
> SET key longer KEEPTTL
OK
> TTL key
(integer) <between 95 100>
> SET key forever
OK
> TTL key
(integer) -1
> SET key gone PXAT 1
OK
> EXISTS key
(integer) 0
> SET key value EX 10 PX 1000
(error) ERR syntax error
> SET key value EX 0
(error) ERR invalid expire time in 'set' command
> SET key value EX ten
(error) ERR value is not an integer or out of range
"#,
    ..ROW
};

/// As in Valkey, any argument equal to GET counts, even a value.
fn set_access(args: &[&[u8]]) -> Access {
    let gets = args.iter().skip(3).any(|arg| arg.eq_ignore_ascii_case(b"get"));
    if gets { &["RW", "access", "update"] } else { &["OW", "update"] }
}

#[derive(Clone, Copy)]
pub(super) enum SetOption {
    When(When),
    Get,
    Expire(Expiry),
    KeepTtl,
}

/// The condition for setting a value.
#[derive(Clone, Copy)]
pub(super) enum When {
    Absent,
    Present,
    Equal,
    NotEqual,
    DigestEqual,
    DigestNotEqual,
}

pub(super) const SET_OPTIONS: Grammar<SetOption> = Grammar(&[
    flag("nx", SetOption::When(When::Absent)).of_choice(1),
    flag("xx", SetOption::When(When::Present)).of_choice(1),
    value("ifeq", SetOption::When(When::Equal)).of_choice(1).once(),
    value("ifne", SetOption::When(When::NotEqual)).of_choice(1).once(),
    value("ifdeq", SetOption::When(When::DigestEqual)).of_choice(1).once(),
    value("ifdne", SetOption::When(When::DigestNotEqual)).of_choice(1).once(),
    flag("get", SetOption::Get),
    value("ex", SetOption::Expire(Expiry::Seconds)).of_choice(2),
    value("px", SetOption::Expire(Expiry::Milliseconds)).of_choice(2),
    value("exat", SetOption::Expire(Expiry::AtSeconds)).of_choice(2),
    value("pxat", SetOption::Expire(Expiry::AtMilliseconds)).of_choice(2),
    flag("keepttl", SetOption::KeepTtl).of_choice(2),
]);

#[inline]
fn set(call: &mut Call<'_>) -> Outcome {
    if call.args.len() > 3 {
        return set_with_options(call);
    }
    let edit = call.keyspace.edit(call.database, &call.key);
    edit.commit(effect_of(call.args[2], None));
    call.reply.ok();
    Ok(())
}

/// The parsed options of a SET.
struct SetOptions<'a> {
    condition: Condition<'a>,
    get: bool,
    keep_ttl: bool,
    expire_at_ms: Option<u64>,
}

impl<'a> SetOptions<'a> {
    fn parse(args: &'a [&'a [u8]], now_ms: u64) -> Result<Self, CommandError> {
        let mut options =
            Self { condition: Condition::None, get: false, keep_ttl: false, expire_at_ms: None };
        let mut expiry = None;
        for option in SET_OPTIONS.parse(args) {
            match option? {
                (SetOption::When(when), values) => {
                    options.condition = Condition::new(when, values)?;
                }
                (SetOption::Get, _) => options.get = true,
                (SetOption::KeepTtl, _) => options.keep_ttl = true,
                (SetOption::Expire(kind), values) => expiry = Some((kind, values[0])),
            }
        }
        if let Some((kind, text)) = expiry {
            options.expire_at_ms = Some(kind.positive_moment(text, now_ms, "set")?);
        }
        Ok(options)
    }
}

/// The condition for setting a value. A missing key differs from every string.
#[derive(Clone, Copy)]
enum Condition<'a> {
    None,
    Absent,
    Present,
    Compares(Comparison<'a>),
}

impl<'a> Condition<'a> {
    fn new(when: When, values: &[&'a [u8]]) -> Result<Self, CommandError> {
        Ok(match when {
            When::Absent => Self::Absent,
            When::Present => Self::Present,
            When::Equal => Self::Compares(Comparison::Equal(values[0])),
            When::NotEqual => Self::Compares(Comparison::NotEqual(values[0])),
            When::DigestEqual => Self::Compares(Comparison::DigestEqual(parse_digest(values[0])?)),
            When::DigestNotEqual => {
                Self::Compares(Comparison::DigestNotEqual(parse_digest(values[0])?))
            }
        })
    }

    fn permits(self, there: Option<&Entry>) -> Result<bool, CommandError> {
        Ok(match (self, there) {
            (Self::None, _) => true,
            (Self::Absent, there) => there.is_none(),
            (Self::Present, there) => there.is_some(),
            (Self::Compares(comparison), Some(entry)) => comparison.is_met_by(entry)?,
            (Self::Compares(comparison), None) => {
                matches!(comparison, Comparison::NotEqual(_) | Comparison::DigestNotEqual(_))
            }
        })
    }
}

fn set_with_options(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let options = SetOptions::parse(&call.args[3..], now_ms)?;
    let edit = match options.get {
        true => call.keyspace.read_and_edit(call.database, &call.key),
        false => call.keyspace.edit(call.database, &call.key),
    };
    let there = edit.entry();
    let is_permitted = options.condition.permits(there.as_deref())?;
    let kept = there.as_ref().and_then(|entry| entry.expire_at_ms()).filter(|_| options.keep_ttl);
    match (options.get, is_permitted) {
        (true, _) => answer_content(&mut call.reply, there.as_deref())?,
        (false, true) => call.reply.ok(),
        (false, false) => call.reply.null(),
    }
    if is_permitted {
        let expires = options.expire_at_ms.is_some();
        let edit = edit.as_event(if expires { event::SET_EXPIRE } else { event::SET });
        put(edit, call.args[2], options.expire_at_ms.or(kept), now_ms);
    }
    Ok(())
}

pub(super) const SETNX: Command = Command {
    name: "setnx",
    since: "1.0.0",
    summary: "Sets a key to a string, only if the key does not exist.",
    arity: 3,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["OW", "insert"])],
    arguments: &[Argument::KEY, Argument::string("value")],
    deprecated: Some(Deprecated { since: "2.6.12", replaced_by: "`SET` with the `NX` argument" }),
    run: Run::Shard(setnx),
    shows: r#"> SETNX leader me
(integer) 1
> SETNX leader you
(integer) 0
> GET leader
"me"
"#,
    ..ROW
};

fn setnx(call: &mut Call<'_>) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let is_absent = edit.entry().is_none();
    if is_absent {
        edit.commit(effect_of(call.args[2], None));
    }
    call.reply.integer(i64::from(is_absent));
    Ok(())
}

const SETEX_ROW: Command = Command {
    arity: 4,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(1, &["OW", "update"])],
    ..ROW
};

pub(super) const SETEX: Command = Command {
    name: "setex",
    since: "2.0.0",
    summary: "Sets a key to a string with a time to live in seconds.",
    arguments: &[Argument::KEY, Argument::integer("seconds"), Argument::string("value")],
    deprecated: Some(Deprecated { since: "2.6.12", replaced_by: "`SET` with the `EX` argument" }),
    run: Run::Shard(setex),
    shows: r#"> SETEX session 100 abc
OK
> TTL session
(integer) <between 95 100>
> GET session
"abc"
> SETEX session 0 abc
(error) ERR invalid expire time in 'setex' command
> SETEX session soon abc
(error) ERR value is not an integer or out of range
"#,
    ..SETEX_ROW
};

fn setex(call: &mut Call<'_>) -> Outcome {
    set_expiring(call, Expiry::Seconds, "setex")
}

pub(super) const PSETEX: Command = Command {
    name: "psetex",
    since: "2.6.0",
    summary: "Sets a key to a string with a time to live in milliseconds.",
    arguments: &[Argument::KEY, Argument::integer("milliseconds"), Argument::string("value")],
    deprecated: Some(Deprecated { since: "2.6.12", replaced_by: "`SET` with the `PX` argument" }),
    run: Run::Shard(psetex),
    shows: r#"> PSETEX session 100000 abc
OK
> TTL session
(integer) <between 95 100>
> PSETEX session -1 abc
(error) ERR invalid expire time in 'psetex' command
"#,
    ..SETEX_ROW
};

fn psetex(call: &mut Call<'_>) -> Outcome {
    set_expiring(call, Expiry::Milliseconds, "psetex")
}

fn set_expiring(call: &mut Call<'_>, expiry: Expiry, command: &str) -> Outcome {
    let at_ms = expiry.positive_moment(call.args[2], call.keyspace.now_ms(), command)?;
    let edit = call.keyspace.edit(call.database, &call.key);
    edit.as_event(event::SET_EXPIRE).commit(effect_of(call.args[3], Some(at_ms)));
    call.reply.ok();
    Ok(())
}
