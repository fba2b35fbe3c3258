//! Removes elements from either end.

use basalt_keyspace::{Digits, Effect, ListChange, Side};

use super::{ROW, list};
use crate::args::positive;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

/// The common part of the rows that pop.
const POP: Command = Command {
    complexity: "O(N) for N elements",
    arity: -2,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "delete"])],
    arguments: &[Argument::KEY, Argument::integer("count").optional()],
    ..ROW
};

pub(super) const LPOP: Command = Command {
    name: "lpop",
    since: "1.0.0",
    summary: "Removes and returns the first elements of a list; an empty list is removed.",
    run: Run::Shard(|call| pop(call, Side::Front, LPOP.name)),
    shows: r#"> RPUSH letters a b c
(integer) 3
> LPOP letters
"a"
> LPOP letters 5
1) "b"
2) "c"
> LPOP letters
(nil)
> EXISTS letters
(integer) 0
> LPOP letters -1
(error) ERR value is out of range, must be positive
> RPUSH letters a
(integer) 1
> LPOP letters 0
(empty array)
"#,
    ..POP
};

pub(super) const RPOP: Command = Command {
    name: "rpop",
    since: "1.0.0",
    summary: "Removes and returns the last elements of a list; an empty list is removed.",
    run: Run::Shard(|call| pop(call, Side::Back, RPOP.name)),
    shows: r#"> RPUSH letters a b c d
(integer) 4
> RPOP letters
"d"
> RPOP letters 2
1) "c"
2) "b"
> LRANGE letters 0 -1
1) "a"
> RPOP absent
(nil)
> RPOP letters 1 2
(error) ERR wrong number of arguments for 'rpop' command
"#,
    ..POP
};

fn pop(call: &mut Call<'_>, side: Side, name: &str) -> Outcome {
    let count = match call.args {
        [_, _] => None,
        [_, _, count] => Some(positive(count)?),
        _ => return Err(CommandError::wrong_arity(name)),
    };
    let edit = call.keyspace.edit(call.database, &call.key);
    let wanted = {
        let entry = edit.entry();
        let Some(list) = list(entry.as_deref())? else {
            match count {
                None => call.reply.null(),
                Some(_) => call.reply.null_array(),
            }
            return Ok(());
        };
        let wanted = count.map_or(1, |count| usize::try_from(count).unwrap_or(usize::MAX));
        let wanted = wanted.min(list.len());
        if count.is_some() {
            call.reply.array(wanted);
        }
        let mut digits = Digits::default();
        for content in list.iter_end(side).take(wanted) {
            call.reply.bulk(content.as_text(&mut digits));
        }
        wanted
    };
    call.reply.whole()?;
    if wanted > 0 {
        edit.commit(Effect::List(ListChange::Pop { side, count: wanted as u64 }));
    }
    Ok(())
}
