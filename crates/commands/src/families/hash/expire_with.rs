//! Reads or sets fields together with their expiry, or removes them.

use std::collections::BTreeSet;

use basalt_keyspace::{Cause, Effect, FieldLife, HashChange, Strings, event};

use super::expire::moment;
use super::{
    COUNTED_FIELDS, FIELDS_AND_VALUES, ROW, answer, counted, fields_behind_key, hash, part,
};
use crate::args::{Expiry, Grammar, flag, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};

pub(super) const HGETDEL: Command = Command {
    name: "hgetdel",
    since: "9.1.0",
    summary: "Returns the values of fields and removes the fields; a hash without fields is removed.",
    complexity: "O(N) for N fields",
    arity: -5,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "delete"])],
    arguments: &[Argument::KEY, COUNTED_FIELDS],
    run: Run::Shard(hgetdel),
    shows: r#"@only ours valkey9
> HSET user name Ann token abc
(integer) 2
> HGETDEL user FIELDS 2 token age
1) "abc"
2) (nil)
> HGETDEL user FIELDS 1 name
1) "Ann"
> EXISTS user
(integer) 0
> HGETDEL user FIELDS 0 name
(error) ERR numfields should be greater than 0 and match the provided number of fields
> HGETDEL user FIELD 1 name
(error) ERR syntax error
"#,
    ..ROW
};

fn hgetdel(call: &mut Call<'_>) -> Outcome {
    let names = fields_behind_key(call.args)?;
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.read_and_edit(call.database, &call.key);
    let there = edit.entry();
    let hash = hash(there.as_deref(), now_ms)?;
    let mut seen = BTreeSet::new();
    call.reply.array(names.len());
    for &name in names {
        match hash.and_then(|hash| hash.get(name)) {
            Some(field) if seen.insert(name) => answer(&mut call.reply, field.value),
            _ => call.reply.null(),
        }
    }
    call.reply.whole()?;
    if !seen.is_empty() {
        let chosen: Vec<&[u8]> = seen.into_iter().collect();
        let fields = Strings::from(chosen.as_slice());
        edit.commit(Effect::Hash(HashChange::Remove { fields, cause: Cause::Deleted }));
    }
    Ok(())
}

pub(super) const HGETEX: Command = Command {
    name: "hgetex",
    since: "9.0.0",
    summary: "Returns the values of fields, and sets or removes their expiry.",
    complexity: "O(N) for N fields",
    arity: -5,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "update"])],
    arguments: &[Argument::KEY, Argument::EXPIRY_OR_PERSIST, COUNTED_FIELDS],
    run: Run::Shard(hgetex),
    shows: r#"@only ours valkey9
> HSET user name Ann token abc
(integer) 2
> HGETEX user EX 100 FIELDS 2 token age
1) "abc"
2) (nil)
> HTTL user FIELDS 2 token name
1) (integer) <between 95 100>
2) (integer) -1
> HGETEX user PERSIST FIELDS 1 token
1) "abc"
> HTTL user FIELDS 1 token
1) (integer) -1
> HGETEX user PXAT 1 FIELDS 1 token
1) "abc"
> HGETEX user FIELDS 1 token
1) (nil)
> HGETEX user EX 10 PERSIST FIELDS 1 name
(error) ERR syntax error
> HGETEX user EX -1 FIELDS 1 name
(error) ERR invalid expire time in 'hgetex' command
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

fn hgetex(call: &mut Call<'_>) -> Outcome {
    let parted = part(&call.args[2..])?;
    let mut change = None;
    for option in GETEX_OPTIONS.parse(parted.options) {
        change = Some(option?);
    }
    let names = counted(parted.number, parted.given, 1)?;
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.read_and_edit(call.database, &call.key);
    let there = edit.entry();
    let hash = hash(there.as_deref(), now_ms)?;
    // The change of the fields: none, or an expiry, or its removal.
    let expire_at_ms = match change {
        None => None,
        Some((GetexOption::Persist, _)) => Some(None),
        Some((GetexOption::Expire(expiry), values)) => {
            Some(Some(moment(expiry, values[0], now_ms, HGETEX.name)?))
        }
    };
    let is_past = expire_at_ms.flatten().is_some_and(|at_ms| at_ms <= now_ms);
    let (mut chosen, mut seen) = (Vec::new(), BTreeSet::new());
    call.reply.array(names.len());
    for &name in names {
        match hash.and_then(|hash| hash.get(name)) {
            Some(field) if !(is_past && seen.contains(name)) => {
                answer(&mut call.reply, field.value);
                let changes = expire_at_ms.is_some_and(|after| after != field.expire_at_ms);
                if changes && seen.insert(name) {
                    chosen.push(name);
                }
            }
            _ => call.reply.null(),
        }
    }
    call.reply.whole()?;
    if !chosen.is_empty() {
        let fields = Strings::from(chosen.as_slice());
        edit.commit(Effect::Hash(match expire_at_ms.flatten() {
            None => HashChange::Persist { fields },
            Some(_) if is_past => HashChange::Remove { fields, cause: Cause::Deleted },
            Some(at_ms) => HashChange::ExpireAt { fields, at_ms },
        }));
    }
    Ok(())
}

pub(super) const HSETEX: Command = Command {
    name: "hsetex",
    since: "9.0.0",
    summary: "Sets fields and their common expiry, optionally only if the fields exist or do not.",
    complexity: "O(N) for N fields",
    arity: -6,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "insert"])],
    arguments: &[
        Argument::KEY,
        Argument::one_of(
            "key-condition",
            &[Argument::word("nx", "NX"), Argument::word("xx", "XX")],
        )
        .optional(),
        Argument::one_of(
            "fields-condition",
            &[Argument::word("fnx", "FNX"), Argument::word("fxx", "FXX")],
        )
        .optional(),
        Argument::EXPIRY_OR_KEEPTTL,
        Argument::block("fields", &[Argument::integer("numfields"), FIELDS_AND_VALUES])
            .after("FIELDS"),
    ],
    run: Run::Shard(hsetex),
    shows: r#"@only ours valkey9
> HSETEX user EX 100 FIELDS 2 name Ann token abc
(integer) 1
> HTTL user FIELDS 2 name token
1) (integer) <between 95 100>
2) (integer) <between 95 100>
> HSETEX user FNX FIELDS 2 name Bob age 30
(integer) 0
> HSETEX user FXX KEEPTTL FIELDS 1 name Bob
(integer) 1
> HSETEX user FIELDS 1 token xyz
(integer) 1
> HTTL user FIELDS 2 name token
1) (integer) <between 95 100>
2) (integer) -1
> HSETEX user NX FIELDS 1 age 30
(integer) 0
> HSETEX absent XX FIELDS 1 age 30
(integer) 0
> HSETEX user PXAT 1 FIELDS 1 token gone
(integer) 1
> HKEYS user
1) "name"
> HSETEX user FIELDS 2 name Ann
(error) ERR numfields should be greater than 0 and match the provided number of fields
"#,
    ..ROW
};

#[derive(Clone, Copy)]
pub(super) enum SetexOption {
    Key { is_there: bool },
    Fields { are_there: bool },
    Expire(Expiry),
    KeepTtl,
}

pub(super) const SETEX_OPTIONS: Grammar<SetexOption> = Grammar(&[
    flag("nx", SetexOption::Key { is_there: false }).of_choice(1),
    flag("xx", SetexOption::Key { is_there: true }).of_choice(1),
    flag("fnx", SetexOption::Fields { are_there: false }).of_choice(2),
    flag("fxx", SetexOption::Fields { are_there: true }).of_choice(2),
    value("ex", SetexOption::Expire(Expiry::Seconds)).of_choice(3),
    value("px", SetexOption::Expire(Expiry::Milliseconds)).of_choice(3),
    value("exat", SetexOption::Expire(Expiry::AtSeconds)).of_choice(3),
    value("pxat", SetexOption::Expire(Expiry::AtMilliseconds)).of_choice(3),
    flag("keepttl", SetexOption::KeepTtl).of_choice(3),
]);

fn hsetex(call: &mut Call<'_>) -> Outcome {
    let parted = part(&call.args[2..])?;
    let (mut key_there, mut fields_there, mut keeps, mut expiry) = (None, None, false, None);
    for option in SETEX_OPTIONS.parse(parted.options) {
        match option? {
            (SetexOption::Key { is_there }, _) => key_there = Some(is_there),
            (SetexOption::Fields { are_there }, _) => fields_there = Some(are_there),
            (SetexOption::Expire(kind), values) => expiry = Some((kind, values[0])),
            (SetexOption::KeepTtl, _) => keeps = true,
        }
    }
    let given = counted(parted.number, parted.given, 2)?;
    let (pairs, _) = given.as_chunks::<2>();
    let now_ms = call.keyspace.now_ms();
    let edit = call.keyspace.edit(call.database, &call.key);
    let there = edit.entry();
    let hash = hash(there.as_deref(), now_ms)?;
    if key_there.is_some_and(|is_there| is_there != hash.is_some()) {
        call.reply.integer(0);
        return Ok(());
    }
    let life = match expiry {
        Some((kind, text)) => FieldLife::Until(moment(kind, text, now_ms, HSETEX.name)?),
        None if keeps => FieldLife::Kept,
        None => FieldLife::Forever,
    };
    let is_there = |name: &[u8]| hash.is_some_and(|hash| hash.get(name).is_some());
    let may =
        fields_there.is_none_or(|wanted| pairs.iter().all(|[name, _]| is_there(name) == wanted));
    call.reply.integer(i64::from(may));
    if !may {
        return Ok(());
    }
    if matches!(life, FieldLife::Until(at_ms) if at_ms <= now_ms) {
        // A field that is already expired is not set; the one that it would overwrite is removed.
        let names: Vec<&[u8]> =
            pairs.iter().map(|[name, _]| *name).filter(|name| is_there(name)).collect();
        if !names.is_empty() {
            let fields = Strings::from(names.as_slice());
            let edit = edit.as_event(event::HSET_HDEL);
            edit.commit(Effect::Hash(HashChange::Remove { fields, cause: Cause::Deleted }));
        }
    } else {
        let expires = matches!(life, FieldLife::Until(_));
        let edit = edit.as_event(if expires { event::HSET_HEXPIRE } else { event::HSET });
        edit.commit(Effect::Hash(HashChange::Set { pairs: Strings::from(given), life }));
    }
    Ok(())
}
