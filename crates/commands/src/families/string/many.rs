//! Commands on several strings.

use basalt_keyspace::{DatabaseId, Key, Keyspace, event};

use super::{ROW, answer_content, effect_of};
use crate::args::{Expiry, Grammar, flag, small_integer, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Merge, Run};
use crate::error::CommandError;
use crate::many_keys::{Decision, KeyRead, ManyKeys, OverKeys, Settings};

pub(super) const MGET: Command = Command {
    name: "mget",
    since: "1.0.0",
    summary: "Returns the string values of several keys.",
    complexity: "O(N) for N keys",
    arity: -2,
    flags: Flags::READONLY.or(Flags::FAST),
    tips: &["request_policy:multi_shard"],
    keys: &[KeySpec::all(1, &["RO", "access"])],
    arguments: &[Argument::KEYS],
    run: Run::Split(mget, Merge::Array),
    shows: r#"> MSET one 1 two 2
OK
> MGET one two three one
1) "1"
2) "2"
3) (nil)
4) "1"
"#,
    ..ROW
};

fn mget(call: &mut Call<'_>) -> Outcome {
    let names = &call.args[1..];
    call.reply.array(names.len());
    for name in names {
        let key = call.key_of(name);
        let entry = call.keyspace.read(call.database, &key);
        if answer_content(&mut call.reply, entry.as_deref()).is_err() {
            call.reply.null();
        }
    }
    Ok(())
}

const PAIRS: &[Argument] =
    &[Argument::block("data", &[Argument::KEY, Argument::string("value")]).multiple()];

pub(super) const MSET: Command = Command {
    name: "mset",
    since: "1.0.1",
    summary: "Sets several keys to strings and replaces their values.",
    complexity: "O(N) for N keys",
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    keys: &[KeySpec::all(2, &["OW", "update"])],
    arguments: PAIRS,
    run: Run::Split(mset, Merge::Ok),
    shows: r#"> MSET one 1 two 2
OK
> MSET one uno one eins
OK
> MGET one two
1) "eins"
2) "2"
> MSET one 1 two
(error) ERR wrong number of arguments for 'mset' command
"#,
    ..ROW
};

fn mset(call: &mut Call<'_>) -> Outcome {
    let (pairs, _) = call.args[1..].as_chunks::<2>();
    for &[name, value] in pairs {
        let key = call.key_of(name);
        call.keyspace.edit(call.database, &key).commit(effect_of(value, None));
    }
    call.reply.ok();
    Ok(())
}

pub(super) const MSETNX: Command = Command {
    name: "msetnx",
    since: "1.0.1",
    summary: "Sets several keys to strings, only if none of them exists.",
    complexity: "O(N) for N keys",
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::all(2, &["OW", "insert"])],
    arguments: PAIRS,
    run: Run::Many(&const { ManyKeys::of::<SetMany<false>>().with_whole(set_many::<false>) }),
    shows: r#"> MSETNX one 1 two 2
(integer) 1
> MSETNX two zwei three drei
(integer) 0
> MGET one two three
1) "1"
2) "2"
3) (nil)
> MSETNX one 1 two
(error) ERR wrong number of arguments for 'msetnx' command
"#,
    ..ROW
};

pub(super) const MSETEX: Command = Command {
    name: "msetex",
    since: "9.1.0",
    summary: "Sets several keys to strings with a common expiry, optionally only if all or none of them exist.",
    complexity: "O(N) for N keys",
    arity: -4,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::MOVABLE_KEYS),
    tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
    keys: &[KeySpec::counted(1, 2, &["OW", "update"])],
    arguments: &[
        Argument::integer("numkeys"),
        PAIRS[0],
        Argument::one_of("condition", &[Argument::word("nx", "NX"), Argument::word("xx", "XX")])
            .optional(),
        Argument::EXPIRY_OR_KEEPTTL,
    ],
    run: Run::Many(&const { ManyKeys::of::<SetMany<true>>().with_whole(set_many::<true>) }),
    shows: r#"@only ours valkey9
> MSETEX 2 one 1 two 2 EX 100
(integer) 1
> TTL two
(integer) <between 95 100>
> MSETEX 2 two zwei three drei NX
(integer) 0
> MSETEX 2 two zwei three drei XX
(integer) 0
> MSETEX 1 two zwei XX KEEPTTL
(integer) 1
> MGET one two three
1) "1"
2) "zwei"
3) (nil)
> MSETEX 3 one 1
(error) ERR syntax error
> MSETEX 0 one 1
(error) ERR invalid numkeys value or out of range
"#,
    ..ROW
};

/// The condition on the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PutWhen {
    Always,
    AllAbsent,
    AllPresent,
}

/// The expiry of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    Forever,
    /// That of the previous value.
    Kept,
    Until(u64),
}

/// A parsed MSETEX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MsetexRequest<'a> {
    /// Keys and values, alternating.
    pub pairs: &'a [&'a [u8]],
    pub when: PutWhen,
    pub lifetime: Lifetime,
}

#[derive(Clone, Copy)]
pub(super) enum MsetexOption {
    When(PutWhen),
    Expire(Expiry),
    KeepTtl,
}

pub(super) const MSETEX_OPTIONS: Grammar<MsetexOption> = Grammar(&[
    flag("nx", MsetexOption::When(PutWhen::AllAbsent)).of_choice(1),
    flag("xx", MsetexOption::When(PutWhen::AllPresent)).of_choice(1),
    value("ex", MsetexOption::Expire(Expiry::Seconds)).of_choice(2),
    value("px", MsetexOption::Expire(Expiry::Milliseconds)).of_choice(2),
    value("exat", MsetexOption::Expire(Expiry::AtSeconds)).of_choice(2),
    value("pxat", MsetexOption::Expire(Expiry::AtMilliseconds)).of_choice(2),
    flag("keepttl", MsetexOption::KeepTtl).of_choice(2),
]);

/// Parses MSETEX's arguments.
pub(super) fn parse_msetex<'a>(
    args: &'a [&'a [u8]],
    now_ms: u64,
) -> Result<MsetexRequest<'a>, CommandError> {
    let number = small_integer(args[1]).ok().and_then(|number| usize::try_from(number).ok());
    let number = number
        .filter(|number| *number > 0)
        .ok_or(CommandError::text("ERR invalid numkeys value or out of range"))?;
    let (pairs, options) =
        args[2..].split_at_checked(number.saturating_mul(2)).ok_or(CommandError::SYNTAX)?;
    let mut request = MsetexRequest { pairs, when: PutWhen::Always, lifetime: Lifetime::Forever };
    let mut expiry = None;
    for option in MSETEX_OPTIONS.parse(options) {
        match option? {
            (MsetexOption::When(when), _) => request.when = when,
            (MsetexOption::KeepTtl, _) => request.lifetime = Lifetime::Kept,
            (MsetexOption::Expire(kind), values) => expiry = Some((kind, values[0])),
        }
    }
    if let Some((kind, text)) = expiry {
        request.lifetime = Lifetime::Until(kind.positive_moment(text, now_ms, MSETEX.name)?);
    }
    Ok(request)
}

/// What MSETNX asks for, and MSETEX with `WITH_OPTIONS`.
fn parse_set_many<'a, const WITH_OPTIONS: bool>(
    args: &'a [&'a [u8]],
    now_ms: u64,
) -> Result<MsetexRequest<'a>, CommandError> {
    if WITH_OPTIONS {
        return parse_msetex(args, now_ms);
    }
    let (when, lifetime) = (PutWhen::AllAbsent, Lifetime::Forever);
    Ok(MsetexRequest { pairs: &args[1..], when, lifetime })
}

impl PutWhen {
    /// Whether the keys may be set, by which of them are there.
    fn allows(self, mut are_there: impl Iterator<Item = bool>) -> bool {
        match self {
            Self::Always => true,
            Self::AllPresent => are_there.all(|is_there| is_there),
            Self::AllAbsent => !are_there.any(|is_there| is_there),
        }
    }
}

fn set_one(
    keyspace: &mut Keyspace,
    database: DatabaseId,
    key: &Key<'_>,
    value: &[u8],
    lifetime: Lifetime,
) {
    let edit = keyspace.edit(database, key);
    let expire_at_ms = match lifetime {
        Lifetime::Forever => None,
        Lifetime::Kept => edit.entry().and_then(|entry| entry.expire_at_ms()),
        Lifetime::Until(at_ms) => Some(at_ms),
    };
    let is_limited = matches!(lifetime, Lifetime::Until(_));
    let events = if is_limited { event::SET_EXPIRE } else { event::SET };
    edit.as_event(events).commit(effect_of(value, expire_at_ms));
}

struct SetMany<const WITH_OPTIONS: bool>;

impl<const WITH_OPTIONS: bool> OverKeys for SetMany<WITH_OPTIONS> {
    /// Whether the key holds something.
    type Found = bool;

    fn check(args: &[&[u8]], settings: &Settings<'_>) -> Outcome {
        parse_set_many::<WITH_OPTIONS>(args, settings.now_ms).map(drop)
    }

    fn read(key: KeyRead<'_>) -> bool {
        key.peek().is_some()
    }

    fn decide(found: Vec<bool>, decision: &mut Decision<'_, '_>) -> Outcome {
        let MsetexRequest { pairs, when, lifetime } =
            parse_set_many::<WITH_OPTIONS>(decision.args, decision.settings.now_ms)?;
        let may = when.allows(found.into_iter());
        decision.reply.integer(i64::from(may));
        let (pairs, _) = pairs.as_chunks::<2>();
        for (index, &[_, value]) in pairs.iter().enumerate().filter(|_| may) {
            let value = value.to_vec();
            decision.write(index, move |keyspace, database, key| {
                set_one(keyspace, database, key, &value, lifetime);
            });
        }
        Ok(())
    }
}

/// The same where all keys are on one shard.
fn set_many<const WITH_OPTIONS: bool>(call: &mut Call<'_>) -> Outcome {
    let MsetexRequest { pairs, when, lifetime } =
        parse_set_many::<WITH_OPTIONS>(call.args, call.keyspace.now_ms())?;
    let (pairs, _) = pairs.as_chunks::<2>();
    let (keyspace, database) = (&mut *call.keyspace, call.database);
    let is_there = |pair: &[&[u8]; 2]| keyspace.peek(database, &keyspace.key(pair[0])).is_some();
    let may = when.allows(pairs.iter().map(is_there));
    for &[name, value] in pairs.iter().filter(|_| may) {
        let key = keyspace.key(name);
        set_one(keyspace, database, &key, value, lifetime);
    }
    call.reply.integer(i64::from(may));
    Ok(())
}
