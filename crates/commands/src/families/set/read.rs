//! Reading one set.

use super::{ROW, answer, set};
use crate::args::{Grammar, flag, integer, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::keys::parse_cursor;
use crate::glob;

pub(super) const SCARD: Command = Command {
    name: "scard",
    since: "1.0.0",
    summary: "Tells how many members a set has.",
    arity: 2,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(scard),
    shows: r#"> SADD fruits apple pear
(integer) 2
> SCARD fruits
(integer) 2
> SCARD absent
(integer) 0
"#,
    ..ROW
};

fn scard(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let len = set(entry.as_deref())?.map_or(0, |set| set.len());
    call.reply.integer(len as i64);
    Ok(())
}

pub(super) const SISMEMBER: Command = Command {
    name: "sismember",
    since: "1.0.0",
    summary: "Tells whether something is a member of a set.",
    arity: 3,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO"])],
    arguments: &[Argument::KEY, Argument::string("member")],
    run: Run::Shard(sismember),
    shows: r#"> SADD fruits apple pear
(integer) 2
> SISMEMBER fruits pear
(integer) 1
> SISMEMBER fruits plum
(integer) 0
> SISMEMBER absent plum
(integer) 0
"#,
    ..ROW
};

fn sismember(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let is_member = set(entry.as_deref())?.is_some_and(|set| set.contains(call.args[2]));
    call.reply.integer(i64::from(is_member));
    Ok(())
}

pub(super) const SMISMEMBER: Command = Command {
    name: "smismember",
    since: "6.2.0",
    summary: "Tells for each of several things whether it is a member of a set.",
    complexity: "O(N) for N members asked for",
    arity: -3,
    flags: Flags::READONLY.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, Argument::string("member").multiple()],
    run: Run::Shard(smismember),
    shows: r#"> SADD fruits apple pear
(integer) 2
> SMISMEMBER fruits pear plum
1) (integer) 1
2) (integer) 0
> SMISMEMBER absent plum
1) (integer) 0
"#,
    ..ROW
};

fn smismember(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let set = set(entry.as_deref())?;
    let names = &call.args[2..];
    call.reply.array(names.len());
    for name in names {
        call.reply.integer(i64::from(set.is_some_and(|set| set.contains(name))));
    }
    Ok(())
}

pub(super) const SMEMBERS: Command = Command {
    name: "smembers",
    since: "1.0.0",
    summary: "Tells all members of a set.",
    complexity: "O(N) for N members",
    arity: 2,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output_order"],
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY],
    run: Run::Shard(smembers),
    shows: r#"> SADD numbers 30 4 100
(integer) 3
@resp 2
> SMEMBERS numbers
1) "4"
2) "30"
3) "100"
@resp 3
> SMEMBERS numbers
1~ "4"
2~ "30"
3~ "100"
@resp 2
> SMEMBERS absent
(empty array)
@resp 3
> SMEMBERS absent
(empty set)
@resp any
"#,
    ..ROW
};

fn smembers(call: &mut Call<'_>) -> Outcome {
    let entry = call.keyspace.read(call.database, &call.key);
    let Some(set) = set(entry.as_deref())? else {
        call.reply.set(0);
        return Ok(());
    };
    call.reply.set(set.len());
    set.iter().for_each(|member| answer(&mut call.reply, member));
    Ok(())
}

pub(super) const SSCAN: Command = Command {
    name: "sscan",
    since: "2.8.0",
    summary: "Tells members bit by bit: some, and the cursor to go on with, 0 at the end.",
    complexity: "O(1) for a call; O(N) for all N members",
    arity: -3,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[
        Argument::KEY,
        Argument::integer("cursor"),
        Argument::pattern("pattern").after("MATCH").optional(),
        Argument::integer("count").after("COUNT").optional(),
    ],
    run: Run::Shard(sscan),
    shows: r#"> SADD numbers 30 4 100 31
(integer) 4
> SSCAN numbers 0 MATCH 3*
1) "0"
2) 1) "30"
   2) "31"
> SSCAN absent 0
1) "0"
2) (empty array)
> SSCAN numbers start
(error) ERR invalid cursor
> SSCAN numbers 0 COUNT 0
(error) ERR syntax error
"#,
    ..ROW
};

#[derive(Clone, Copy)]
enum ScanOption {
    Match,
    Count,
    NoValues,
}

const SCAN_OPTIONS: Grammar<ScanOption> = Grammar(&[
    value("match", ScanOption::Match),
    value("count", ScanOption::Count),
    flag("novalues", ScanOption::NoValues),
]);

const COUNT_DEFAULT: usize = 10;

fn sscan(call: &mut Call<'_>) -> Outcome {
    let cursor = parse_cursor(call.args[2])?;
    let entry = call.keyspace.read(call.database, &call.key);
    // As in Redis the options of a scan of nothing are not looked at.
    let Some(set) = set(entry.as_deref())? else {
        call.reply.array(2);
        call.reply.bulk(b"0");
        call.reply.array(0);
        return Ok(());
    };
    let (mut pattern, mut count) = (None, COUNT_DEFAULT);
    for option in SCAN_OPTIONS.parse(&call.args[3..]) {
        match option? {
            (ScanOption::Match, values) => pattern = Some(values[0]),
            (ScanOption::Count, values) => {
                count = usize::try_from(integer(values[0])?).unwrap_or(0);
                if count == 0 {
                    return Err(CommandError::SYNTAX);
                }
            }
            (ScanOption::NoValues, _) => {
                let text = "ERR NOVALUES option can only be used in HSCAN";
                return Err(CommandError::text(text));
            }
        }
    }
    let (mut names, mut found) = (Vec::new(), 0);
    let mut reply = basalt_resp::Reply::new(&mut names, call.reply.protocol());
    let mut digits = basalt_keyspace::Digits::default();
    let next = set.scan(cursor, count, &mut |member| {
        let name = member.as_text(&mut digits);
        if pattern.is_none_or(|pattern| glob::matches(pattern, name)) {
            reply.bulk(name);
            found += 1;
        }
    });
    call.reply.array(2);
    call.reply.bulk(next.to_string().as_bytes());
    call.reply.array(found);
    call.reply.raw(&names);
    Ok(())
}
