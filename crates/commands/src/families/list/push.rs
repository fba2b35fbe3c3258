//! Adds elements to either end.

use basalt_keyspace::{Effect, ListChange, Side, Strings};

use super::{ROW, list};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};

/// The common part of the rows that push.
const PUSH: Command = Command {
    complexity: "O(N) for N elements",
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "insert"])],
    arguments: &[Argument::KEY, Argument::string("element").multiple()],
    ..ROW
};

pub(super) const LPUSH: Command = Command {
    name: "lpush",
    since: "1.0.0",
    summary: "Inserts elements at the head of a list, one after the other, and returns its new length.",
    run: Run::Shard(|call| push(call, Side::Front, false)),
    shows: r#"> LPUSH letters a b c
(integer) 3
> LRANGE letters 0 -1
1) "c"
2) "b"
3) "a"
> SET text value
OK
> LPUSH text a
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..PUSH
};

pub(super) const RPUSH: Command = Command {
    name: "rpush",
    since: "1.0.0",
    summary: "Appends elements to a list and returns its new length.",
    run: Run::Shard(|call| push(call, Side::Back, false)),
    shows: r#"> RPUSH letters a b c
(integer) 3
> RPUSH letters d
(integer) 4
> LRANGE letters 0 -1
1) "a"
2) "b"
3) "c"
4) "d"
"#,
    ..PUSH
};

pub(super) const LPUSHX: Command = Command {
    name: "lpushx",
    since: "2.2.0",
    summary: "Inserts elements at the head of a list, only if it exists, and returns its length.",
    run: Run::Shard(|call| push(call, Side::Front, true)),
    shows: r#"> LPUSHX letters a
(integer) 0
> EXISTS letters
(integer) 0
> RPUSH letters a
(integer) 1
> LPUSHX letters b c
(integer) 3
> LRANGE letters 0 -1
1) "c"
2) "b"
3) "a"
"#,
    ..PUSH
};

pub(super) const RPUSHX: Command = Command {
    name: "rpushx",
    since: "2.2.0",
    summary: "Appends elements to a list, only if it exists, and returns its length.",
    run: Run::Shard(|call| push(call, Side::Back, true)),
    shows: r#"> RPUSHX letters a
(integer) 0
> RPUSH letters a
(integer) 1
> RPUSHX letters b
(integer) 2
"#,
    ..PUSH
};

fn push(call: &mut Call<'_>, side: Side, only_if_there: bool) -> Outcome {
    let elements = &call.args[2..];
    let edit = call.keyspace.edit(call.database, &call.key);
    let len = list(edit.entry().as_deref())?.map(|list| list.len());
    if only_if_there && len.is_none() {
        call.reply.integer(0);
        return Ok(());
    }
    call.reply.integer((len.unwrap_or(0) + elements.len()) as i64);
    edit.commit(Effect::List(ListChange::Push { side, elements: Strings::from(elements) }));
    Ok(())
}
