//! Random members.

use basalt_keyspace::{Cause, Digits, Effect, SetChange, StringList, Strings, event};
use basalt_resp::parse_i64;

use super::{ROW, answer, set};
use crate::args::integer;
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;

pub(super) const SPOP: Command = Command {
    name: "spop",
    since: "1.0.0",
    summary: "Removes and returns one or more random members of a set.",
    complexity: "O(N) for N members taken",
    arity: -2,
    flags: Flags::WRITE.or(Flags::FAST),
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RW", "access", "delete"])],
    arguments: &[Argument::KEY, Argument::integer("count").optional()],
    run: Run::Shard(spop),
    shows: r#"> SADD fruits apple
(integer) 1
> SPOP fruits
"apple"
> SPOP fruits
(nil)
> SADD numbers 1 2 3
(integer) 3
@resp 2
> SPOP numbers 0
(empty array)
@resp 3
> SPOP numbers 0
(empty set)
@resp 2
@sorted
> SPOP numbers 5
1) "1"
2) "2"
3) "3"
@resp 3
@sorted
> SPOP numbers 5
1~ "1"
2~ "2"
3~ "3"
@resp any
> EXISTS numbers
(integer) 0
> SPOP numbers -1
(error) ERR value is out of range, must be positive
"#,
    ..ROW
};

fn spop(call: &mut Call<'_>) -> Outcome {
    match call.args[2..] {
        [] => pop_one(call),
        [count] => {
            let count = parse_i64(count).and_then(|count| usize::try_from(count).ok());
            let text = "ERR value is out of range, must be positive";
            pop_many(call, count.ok_or(CommandError::text(text))?)
        }
        _ => Err(CommandError::SYNTAX),
    }
}

fn pop_one(call: &mut Call<'_>) -> Outcome {
    let random = call.keyspace.random();
    let edit = call.keyspace.edit(call.database, &call.key);
    let Some(member) = set(edit.entry().as_deref())?.and_then(|set| {
        set.pick(random).map(|member| member.as_text(&mut Digits::default()).to_vec())
    }) else {
        call.reply.null();
        return Ok(());
    };
    call.reply.bulk(&member);
    call.reply.whole()?;
    let member = [&member[..]];
    let change = SetChange::Remove { members: Strings::from(&member) };
    edit.as_event(event::SPOP).commit(Effect::Set(change));
    Ok(())
}

fn pop_many(call: &mut Call<'_>, count: usize) -> Outcome {
    let random = call.keyspace.random();
    let edit = call.keyspace.edit(call.database, &call.key);
    let (gone, is_whole) = {
        let entry = edit.entry();
        let set = match set(entry.as_deref())? {
            Some(set) if count > 0 => set,
            _ => {
                call.reply.set(0);
                return Ok(());
            }
        };
        let is_whole = count >= set.len();
        let mut gone = StringList::default();
        let mut digits = Digits::default();
        call.reply.set(count.min(set.len()));
        if is_whole {
            set.iter().for_each(|member| answer(&mut call.reply, member));
        } else {
            for member in set.choose(count, random) {
                answer(&mut call.reply, member);
                gone.push(member.as_text(&mut digits));
            }
        }
        (gone, is_whole)
    };
    call.reply.whole()?;
    let edit = edit.as_event(if is_whole { event::SPOP_DEL } else { event::SPOP });
    edit.commit(if is_whole {
        Effect::Remove { cause: Cause::Deleted }
    } else {
        Effect::Set(SetChange::Remove { members: gone.as_strings() })
    });
    Ok(())
}

pub(super) const SRANDMEMBER: Command = Command {
    name: "srandmember",
    since: "1.0.0",
    summary: "Returns one or more random members of a set; a negative count allows repetitions.",
    complexity: "O(N) for N members told",
    arity: -2,
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    keys: &[KeySpec::at(1, &["RO", "access"])],
    arguments: &[Argument::KEY, Argument::integer("count").optional()],
    run: Run::Shard(srandmember),
    shows: r#"> SADD fruits apple
(integer) 1
> SRANDMEMBER fruits
"apple"
> SRANDMEMBER fruits 3
1) "apple"
> SRANDMEMBER fruits -3
1) "apple"
2) "apple"
3) "apple"
> SRANDMEMBER absent
(nil)
> SRANDMEMBER absent 3
(empty array)
"#,
    ..ROW
};

/// LIMIT: a negative count can request a reply of any length; beyond this it is an error, where
/// Redis would run out of memory.
const REPEATS_MAX: usize = 1 << 26;

fn srandmember(call: &mut Call<'_>) -> Outcome {
    let count = match call.args[2..] {
        [] => None,
        [count] => Some(parse_count(count)?),
        _ => return Err(CommandError::SYNTAX),
    };
    let random = call.keyspace.random();
    let entry = call.keyspace.read(call.database, &call.key);
    let set = set(entry.as_deref())?;
    let reply = &mut call.reply;
    match (set, count) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(set), None) => match set.pick(random) {
            Some(member) => answer(reply, member),
            None => reply.null(),
        },
        (Some(set), Some(count)) if count < 0 => {
            let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
            if count > REPEATS_MAX {
                return Err(CommandError::OUT_OF_RANGE);
            }
            reply.array(count);
            set.choose_again(count, random).for_each(|member| answer(reply, member));
        }
        (Some(set), Some(count)) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(set.len());
            reply.array(count);
            if count == set.len() {
                set.iter().for_each(|member| answer(reply, member));
            } else {
                set.choose(count, random).into_iter().for_each(|member| answer(reply, member));
            }
        }
    }
    Ok(())
}

fn parse_count(text: &[u8]) -> Result<i64, CommandError> {
    let count = integer(text)?;
    if count == i64::MIN {
        let most = i64::MAX;
        let text = format!("ERR value is out of range, value must between -{most} and {most}");
        return Err(CommandError::new(text));
    }
    Ok(count)
}
