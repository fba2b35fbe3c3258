//! Adds and removes members.

use std::sync::Arc;

use basalt_keyspace::{Effect, SetChange, SetRef, Strings};

use super::{ROW, set};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Run};
use crate::error::CommandError;
use crate::many_keys::{Decision, KeyRead, ManyKeys, OverKeys};

pub(super) const SADD: Command = Command {
    name: "sadd",
    since: "1.0.0",
    summary: "Adds members to a set and returns how many are new.",
    complexity: "O(N) for N members",
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM).or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "insert"])],
    arguments: &[Argument::KEY, Argument::string("member").multiple()],
    run: Run::Shard(sadd),
    shows: r#"> SADD fruits apple pear apple
(integer) 2
> SADD fruits pear plum
(integer) 1
> SADD fruits plum
(integer) 0
@only ours redis8 valkey9
> OBJECT ENCODING fruits
"listpack"
@only any
> SADD numbers 3 1 2
(integer) 3
> OBJECT ENCODING numbers
"intset"
> SET text value
OK
> SADD text apple
(error) WRONGTYPE Operation against a key holding the wrong kind of value
"#,
    ..ROW
};

fn sadd(call: &mut Call<'_>) -> Outcome {
    let names = &call.args[2..];
    let edit = call.keyspace.edit(call.database, &call.key);
    let before = match set(edit.entry().as_deref())? {
        None => 0,
        Some(set) if names.iter().any(|name| !set.contains(name)) => set.len(),
        Some(_) => {
            call.reply.integer(0);
            return Ok(());
        }
    };
    edit.commit(Effect::Set(SetChange::Add { members: Strings::from(names) }));
    let added = if names.len() == 1 {
        1
    } else {
        let entry = call.keyspace.peek(call.database, &call.key);
        set(entry.as_deref())?.map_or(0, |set| set.len()) - before
    };
    call.reply.integer(added as i64);
    Ok(())
}

pub(super) const SREM: Command = Command {
    name: "srem",
    since: "1.0.0",
    summary: "Removes members and returns how many existed; an empty set is removed.",
    complexity: "O(N) for N members",
    arity: -3,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "delete"])],
    arguments: &[Argument::KEY, Argument::string("member").multiple()],
    run: Run::Shard(srem),
    shows: r#"> SADD fruits apple pear
(integer) 2
> SREM fruits apple plum apple
(integer) 1
> SREM fruits pear
(integer) 1
> EXISTS fruits
(integer) 0
> SREM fruits pear
(integer) 0
"#,
    ..ROW
};

fn srem(call: &mut Call<'_>) -> Outcome {
    let names = &call.args[2..];
    let edit = call.keyspace.edit(call.database, &call.key);
    let before = match set(edit.entry().as_deref())? {
        Some(set) if names.iter().any(|name| set.contains(name)) => set.len(),
        _ => {
            call.reply.integer(0);
            return Ok(());
        }
    };
    edit.commit(Effect::Set(SetChange::Remove { members: Strings::from(names) }));
    let removed = if names.len() == 1 {
        1
    } else {
        let entry = call.keyspace.peek(call.database, &call.key);
        before - set(entry.as_deref())?.map_or(0, |set| set.len())
    };
    call.reply.integer(removed as i64);
    Ok(())
}

pub(super) const SMOVE: Command = Command {
    name: "smove",
    since: "1.0.0",
    summary: "Moves a member from one set to another and returns whether it existed.",
    arity: 4,
    flags: Flags::WRITE.or(Flags::FAST),
    keys: &[KeySpec::at(1, &["RW", "access", "delete"]), KeySpec::at(2, &["RW", "insert"])],
    arguments: &[
        Argument::key("source", 0),
        Argument::key("destination", 1),
        Argument::string("member"),
    ],
    run: Run::Many(&const { ManyKeys::of::<MoveMember>() }),
    shows: r#"> SADD basket apple pear
(integer) 2
> SMOVE basket table pear
(integer) 1
> SMOVE basket table pear
(integer) 0
@resp 2
> SMEMBERS table
1) "pear"
@resp 3
> SMEMBERS table
1~ "pear"
@resp any
> SMOVE basket basket apple
(integer) 1
> SET text value
OK
> SMOVE basket text apple
(error) WRONGTYPE Operation against a key holding the wrong kind of value
> SMOVE absent text apple
(integer) 0
"#,
    ..ROW
};

struct MoveMember;

/// What a key holds, to SMOVE.
enum SetFound {
    Nothing,
    Other,
    /// A set, and whether the member is in it.
    Set(bool),
}

impl OverKeys for MoveMember {
    type Found = SetFound;

    fn read(key: KeyRead<'_>) -> SetFound {
        match key.peek() {
            None => SetFound::Nothing,
            Some(entry) => match SetRef::of(&entry) {
                None => SetFound::Other,
                Some(set) => SetFound::Set(set.contains(key.args[3])),
            },
        }
    }

    fn decide(found: Vec<SetFound>, decision: &mut Decision<'_, '_>) -> Outcome {
        let has = match found[..] {
            [SetFound::Nothing, _] => false,
            [SetFound::Other, _] | [_, SetFound::Other] => return Err(CommandError::WRONG_TYPE),
            [SetFound::Set(has), _] => has,
            _ => unreachable!("SMOVE has two keys"),
        };
        decision.reply.integer(i64::from(has));
        if has && decision.keys[0] != decision.keys[1] {
            let member: Arc<[u8]> = decision.args[3].into();
            let added = Arc::clone(&member);
            decision.write(0, move |keyspace, id, key| {
                let members = [&*member];
                let change = SetChange::Remove { members: Strings::from(&members) };
                keyspace.edit(id, key).commit(Effect::Set(change));
            });
            if !matches!(found[1], SetFound::Set(true)) {
                decision.write(1, move |keyspace, id, key| {
                    let members = [&*added];
                    let change = SetChange::Add { members: Strings::from(&members) };
                    keyspace.edit(id, key).commit(Effect::Set(change));
                });
            }
        }
        Ok(())
    }
}
