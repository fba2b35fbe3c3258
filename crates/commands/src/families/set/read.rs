//! Reads one set.

use basalt_keyspace::Digits;
use basalt_resp::Reply;

use super::{ROW, answer, set};
use crate::args::{Grammar, flag, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::families::keys::scan::{MemberScan, MemberScanOption, parse_cursor, write_page};

pub(super) const SCARD: Command = Command {
    name: "scard",
    since: "1.0.0",
    summary: "Returns the number of members of a set.",
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
    summary: "Checks whether a set has a member.",
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
    summary: "Checks for each of several members whether a set has it.",
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
    summary: "Returns all members of a set.",
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
    summary: "Iterates over the members of a set: returns some of them and the next cursor, 0 at the end.",
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

const SCAN_OPTIONS: Grammar<MemberScanOption> = Grammar(&[
    value("match", MemberScanOption::Match),
    value("count", MemberScanOption::Count),
    flag("novalues", MemberScanOption::ForHashes),
]);

fn sscan(call: &mut Call<'_>) -> Outcome {
    let cursor = parse_cursor(call.args[2])?;
    let entry = call.keyspace.read(call.database, &call.key);
    let Some(set) = set(entry.as_deref())? else {
        // The options of a scan of a missing key are not checked.
        write_page(&mut call.reply, 0, 0, &[]);
        return Ok(());
    };
    let request = MemberScan::parse(&call.args[3..], &SCAN_OPTIONS)?;
    let (mut texts, mut len) = (Vec::new(), 0);
    let mut found = Reply::new(&mut texts, call.reply.protocol());
    let mut digits = Digits::default();
    let next = set.scan(cursor, request.count, &mut |member| {
        let name = member.as_text(&mut digits);
        if request.wants(name) {
            found.bulk(name);
            len += 1;
        }
    });
    found.whole()?;
    write_page(&mut call.reply, next, len, &texts);
    Ok(())
}
