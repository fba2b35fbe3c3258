//! Reads all fields, random ones, or iterates over them.

use std::collections::BTreeSet;

use basalt_keyspace::{Content, Digits, HashField, HashRef, Random};
use basalt_resp::{Protocol, Reply};

use super::{ROW, answer, hash};
use crate::args::{Grammar, flag, integer, value};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::families::keys::scan::{MemberScan, MemberScanOption, parse_cursor, write_page};

const ALL_ROW: Command = Command {
    since: "2.0.0",
    complexity: "O(N) for N fields",
    arity: 2,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output_order"],
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY],
    ..ROW
};

pub(super) const HGETALL: Command = Command {
    name: "hgetall",
    summary: "Returns all fields of a hash with their values.",
    run: Run::Shard(hgetall),
    shows: r#"> HSET user name Ann age 30
(integer) 2
@resp 2
> HGETALL user
1) "name"
2) "Ann"
3) "age"
4) "30"
> HGETALL absent
(empty array)
@resp 3
> HGETALL user
1# "name" => "Ann"
2# "age" => "30"
> HGETALL absent
(empty hash)
"#,
    ..ALL_ROW
};

fn hgetall(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    let Some(hash) = hash(entry.as_deref(), now_ms)? else {
        call.reply.map(0);
        return Ok(());
    };
    call.reply.map(hash.len());
    for field in hash.iter() {
        answer(&mut call.reply, field.name);
        answer(&mut call.reply, field.value);
    }
    Ok(())
}

pub(super) const HKEYS: Command = Command {
    name: "hkeys",
    summary: "Returns the names of all fields of a hash.",
    run: Run::Shard(hkeys),
    shows: r#"> HSET user name Ann age 30
(integer) 2
> HKEYS user
1) "name"
2) "age"
> HKEYS absent
(empty array)
"#,
    ..ALL_ROW
};

fn hkeys(call: &mut Call<'_>) -> Outcome {
    answer_each(call, |field| field.name)
}

pub(super) const HVALS: Command = Command {
    name: "hvals",
    summary: "Returns the values of all fields of a hash.",
    run: Run::Shard(hvals),
    shows: r#"> HSET user name Ann age 30
(integer) 2
> HVALS user
1) "Ann"
2) "30"
> HVALS absent
(empty array)
"#,
    ..ALL_ROW
};

fn hvals(call: &mut Call<'_>) -> Outcome {
    answer_each(call, |field| field.value)
}

fn answer_each(call: &mut Call<'_>, part: for<'a> fn(&HashField<'a>) -> Content<'a>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    let Some(hash) = hash(entry.as_deref(), now_ms)? else {
        call.reply.array(0);
        return Ok(());
    };
    call.reply.array(hash.len());
    hash.iter().for_each(|field| answer(&mut call.reply, part(&field)));
    Ok(())
}

pub(super) const HRANDFIELD: Command = Command {
    name: "hrandfield",
    since: "6.2.0",
    summary: "Returns one or more random fields; a negative count allows repetitions.",
    complexity: "O(N) for N fields told",
    arity: -2,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[
        Argument::KEY,
        Argument::block(
            "options",
            &[Argument::integer("count"), Argument::word("withvalues", "WITHVALUES").optional()],
        )
        .optional(),
    ],
    run: Run::Shard(hrandfield),
    shows: r#"> HSET user name Ann
(integer) 1
> HRANDFIELD user
"name"
> HRANDFIELD user 5
1) "name"
> HRANDFIELD user -2
1) "name"
2) "name"
@resp 2
> HRANDFIELD user 1 WITHVALUES
1) "name"
2) "Ann"
@resp 3
> HRANDFIELD user 1 WITHVALUES
1) 1) "name"
   2) "Ann"
@resp any
> HRANDFIELD absent
(nil)
> HRANDFIELD absent 5
(empty array)
> HRANDFIELD user 1 NAMES
(error) ERR syntax error
"#,
    ..ROW
};

/// LIMIT: the number of fields in a reply with repetitions; more would not fit an output buffer.
const REPEATED_MAX: u64 = 1 << 26;

fn hrandfield(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.keyspace.now_ms();
    let mut random = call.keyspace.random_series();
    let Some((count, options)) = call.args[2..].split_first() else {
        let entry = call.keyspace.read(call.database, &call.key);
        match hash(entry.as_deref(), now_ms)?.and_then(|hash| hash.pick(&mut random)) {
            Some(field) => answer(&mut call.reply, field.name),
            None => call.reply.null(),
        }
        return Ok(());
    };
    let count = integer(count)?;
    if count == i64::MIN {
        return Err(CommandError::text(
            "ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        ));
    }
    let with_values = match options {
        [] => false,
        [word] if word.eq_ignore_ascii_case(b"withvalues") => true,
        _ => return Err(CommandError::SYNTAX),
    };
    let most = if with_values { i64::MAX as u64 / 2 } else { i64::MAX as u64 };
    if count.unsigned_abs() > most {
        return Err(CommandError::OUT_OF_RANGE);
    }
    let entry = call.keyspace.read(call.database, &call.key);
    let Some(hash) = hash(entry.as_deref(), now_ms)?.filter(|hash| count != 0 && !hash.is_empty())
    else {
        call.reply.array(0);
        return Ok(());
    };
    if count < 0 {
        if count.unsigned_abs() > REPEATED_MAX {
            return Err(CommandError::OUT_OF_RANGE);
        }
        let count = count.unsigned_abs() as usize;
        open_fields(&mut call.reply, count, with_values);
        for _ in 0..count {
            let field = hash.pick(&mut random).expect("because there are fields");
            answer_field(&mut call.reply, &field, with_values);
        }
        return Ok(());
    }
    let chosen = choose(&hash, usize::try_from(count).unwrap_or(usize::MAX), &mut random);
    open_fields(&mut call.reply, chosen.len(), with_values);
    chosen.iter().for_each(|field| answer_field(&mut call.reply, field, with_values));
    Ok(())
}

/// Up to `count` different random fields.
fn choose<'a>(hash: &HashRef<'a>, count: usize, random: &mut Random) -> Vec<HashField<'a>> {
    let len = hash.len();
    if count >= len {
        return hash.iter().collect();
    }
    // A few of many: drawn one by one, and again after a repetition.
    if count < len / 4 && len > 64 {
        let (mut chosen, mut seen) = (Vec::with_capacity(count), BTreeSet::new());
        while chosen.len() < count {
            let field = hash.pick(random).expect("because there are fields");
            if seen.insert(field.name.as_text(&mut Digits::default()).to_vec()) {
                chosen.push(field);
            }
        }
        return chosen;
    }
    let mut all: Vec<HashField<'a>> = hash.iter().collect();
    for at in 0..count {
        all.swap(at, at + random.below(len - at));
    }
    all.truncate(count);
    all
}

fn open_fields(reply: &mut Reply<'_>, count: usize, with_values: bool) {
    let flat = with_values && reply.protocol() == Protocol::Resp2;
    reply.array(if flat { 2 * count } else { count });
}

fn answer_field(reply: &mut Reply<'_>, field: &HashField<'_>, with_value: bool) {
    if with_value && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    answer(reply, field.name);
    if with_value {
        answer(reply, field.value);
    }
}

pub(super) const HSCAN: Command = Command {
    name: "hscan",
    since: "2.8.0",
    summary: "Iterates over the fields of a hash: returns some of them and the next cursor, 0 at the end.",
    complexity: "O(1) for a call; O(N) for all N fields",
    arity: -3,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[
        Argument::KEY,
        Argument::integer("cursor"),
        Argument::pattern("pattern").after("MATCH").optional(),
        Argument::integer("count").after("COUNT").optional(),
        Argument::word("novalues", "NOVALUES").optional(),
    ],
    run: Run::Shard(hscan),
    shows: r#"> HSET user name Ann age 30
(integer) 2
> HSCAN user 0
1) "0"
2) 1) "name"
   2) "Ann"
   3) "age"
   4) "30"
@only ours valkey9 redis8
> HSCAN user 0 MATCH n* NOVALUES
1) "0"
2) 1) "name"
@only any
> HSCAN absent 0
1) "0"
2) (empty array)
> HSCAN user first
(error) ERR invalid cursor
> HSCAN user 0 COUNT 0
(error) ERR syntax error
"#,
    ..ROW
};

pub(super) const SCAN_OPTIONS: Grammar<MemberScanOption> = Grammar(&[
    value("match", MemberScanOption::Match),
    value("count", MemberScanOption::Count),
    flag("novalues", MemberScanOption::NamesOnly),
]);

fn hscan(call: &mut Call<'_>) -> Outcome {
    let cursor = parse_cursor(call.args[2])?;
    let now_ms = call.keyspace.now_ms();
    let entry = call.keyspace.read(call.database, &call.key);
    let Some(hash) = hash(entry.as_deref(), now_ms)? else {
        // The options of a scan of a missing key are not checked.
        write_page(&mut call.reply, 0, 0, &[]);
        return Ok(());
    };
    let request = MemberScan::parse(&call.args[3..], &SCAN_OPTIONS)?;
    let (mut texts, mut len) = (Vec::new(), 0);
    let mut found = Reply::new(&mut texts, call.reply.protocol());
    let mut digits = Digits::default();
    let next = hash.scan(cursor, request.count, &mut |field| {
        if request.wants(field.name.as_text(&mut digits)) {
            answer(&mut found, field.name);
            len += 1;
            if !request.names_only {
                answer(&mut found, field.value);
                len += 1;
            }
        }
    });
    found.whole()?;
    write_page(&mut call.reply, next, len, &texts);
    Ok(())
}
