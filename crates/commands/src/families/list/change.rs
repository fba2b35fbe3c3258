//! Changes within a list.

use basalt_keyspace::{Content, Effect, ListChange, Side};

use super::read::negatable;
use super::{ROW, list, place, range, start_and_stop};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const LSET: Command = Command {
    name: "lset",
    since: "1.0.0",
    summary: "Sets the element at an index; negative indexes count from the end.",
    complexity: "O(N) for N packed nodes between it and the nearer end",
    arity: 4,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(1, &["RW", "update"])],
    arguments: &[Argument::KEY, Argument::integer("index"), Argument::string("element")],
    run: Run::Shard(lset),
    shows: r#"> RPUSH letters a b c
(integer) 3
> LSET letters 1 x
OK
> LSET letters -1 z
OK
> LRANGE letters 0 -1
1) "a"
2) "x"
3) "z"
> LSET letters 3 y
(error) ERR index out of range
> LSET absent 0 y
(error) ERR no such key
"#,
    ..ROW
};

fn lset(call: &mut Call<'_>) -> Outcome {
    let edit = call.keyspace.edit(call.database, &call.key);
    let len = list(edit.entry().as_deref())?.map(|list| list.len());
    let len = len.ok_or(CommandError::NO_SUCH_KEY)?;
    let index = place(integer(call.args[2])?, len);
    let index = index.ok_or(CommandError::text("ERR index out of range"))? as u64;
    edit.commit(Effect::List(ListChange::Set { index, element: call.args[3] }));
    call.reply.ok();
    Ok(())
}

pub(super) const LINSERT: Command = Command {
    name: "linsert",
    since: "2.2.0",
    summary: "Inserts an element before or after another one and returns the new length of the list.",
    complexity: "O(N) for N elements before the one that is looked for",
    arity: 5,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::at(1, &["RW", "insert"])],
    arguments: &[
        Argument::KEY,
        Argument::one_of(
            "where",
            &[Argument::word("before", "BEFORE"), Argument::word("after", "AFTER")],
        ),
        Argument::string("pivot"),
        Argument::string("element"),
    ],
    run: Run::Shard(linsert),
    shows: r#"> RPUSH letters a c
(integer) 2
> LINSERT letters BEFORE c b
(integer) 3
> LINSERT letters AFTER c d
(integer) 4
> LRANGE letters 0 -1
1) "a"
2) "b"
3) "c"
4) "d"
> LINSERT letters BEFORE x y
(integer) -1
> LINSERT absent BEFORE x y
(integer) 0
> LINSERT letters BESIDE c y
(error) ERR syntax error
"#,
    ..ROW
};

fn linsert(call: &mut Call<'_>) -> Outcome {
    let behind = if call.args[2].eq_ignore_ascii_case(b"after") {
        1
    } else if call.args[2].eq_ignore_ascii_case(b"before") {
        0
    } else {
        return Err(CommandError::SYNTAX);
    };
    let pivot = Content::of(call.args[3]);
    let edit = call.keyspace.edit(call.database, &call.key);
    let found = list(edit.entry().as_deref())?
        .map(|list| (list.len(), list.iter_from(0).position(|content| content == pivot)));
    match found {
        None => call.reply.integer(0),
        Some((_, None)) => call.reply.integer(-1),
        Some((len, Some(place))) => {
            let index = place as u64 + behind;
            edit.commit(Effect::List(ListChange::Insert { index, element: call.args[4] }));
            call.reply.integer(len as i64 + 1);
        }
    }
    Ok(())
}

pub(super) const LREM: Command = Command {
    name: "lrem",
    since: "1.0.0",
    summary: "Removes elements equal to a value: the first `count`, the last ones if it is negative, all if it is 0.",
    complexity: "O(N) for N elements",
    arity: 4,
    flags: Flags::WRITE,
    keys: &[KeySpec::at(1, &["RW", "delete"])],
    arguments: &[Argument::KEY, Argument::integer("count"), Argument::string("element")],
    run: Run::Shard(lrem),
    shows: r#"> RPUSH letters a b a c a
(integer) 5
> LREM letters -1 a
(integer) 1
> LRANGE letters 0 -1
1) "a"
2) "b"
3) "a"
4) "c"
> LREM letters 0 a
(integer) 2
> LREM letters 1 x
(integer) 0
> LREM absent 1 x
(integer) 0
"#,
    ..ROW
};

fn lrem(call: &mut Call<'_>) -> Outcome {
    let count = negatable(integer(call.args[2])?)?;
    let element = call.args[3];
    let from = if count < 0 { Side::Back } else { Side::Front };
    let max = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let edit = call.keyspace.edit(call.database, &call.key);
    let wanted = Content::of(element);
    let equal = list(edit.entry().as_deref())?
        .map_or(0, |list| list.iter_from(0).filter(|content| *content == wanted).take(max).count());
    if equal > 0 {
        edit.commit(Effect::List(ListChange::Remove { element, from, count: equal as u64 }));
    }
    call.reply.integer(equal as i64);
    Ok(())
}

pub(super) const LTRIM: Command = Command {
    name: "ltrim",
    since: "1.0.0",
    summary: "Removes all elements outside of a range of indexes; an empty list is removed.",
    complexity: "O(N) for N elements that go",
    arity: 4,
    flags: Flags::WRITE,
    keys: &[KeySpec::at(1, &["RW", "delete"])],
    arguments: &[Argument::KEY, Argument::integer("start"), Argument::integer("stop")],
    run: Run::Shard(ltrim),
    shows: r#"> RPUSH letters a b c d
(integer) 4
> LTRIM letters 1 -2
OK
> LRANGE letters 0 -1
1) "b"
2) "c"
> LTRIM letters 5 9
OK
> EXISTS letters
(integer) 0
> LTRIM letters 0 1
OK
"#,
    ..ROW
};

fn ltrim(call: &mut Call<'_>) -> Outcome {
    let (start, stop) = start_and_stop(call.args)?;
    let edit = call.keyspace.edit(call.database, &call.key);
    let len = list(edit.entry().as_deref())?.map(|list| list.len());
    if let Some(len) = len {
        let kept = range(start, stop, len);
        let (start, end) = (kept.start as u64, kept.end as u64);
        edit.commit(Effect::List(ListChange::Keep { start, end }));
    }
    call.reply.ok();
    Ok(())
}
