//! Several strings at once.

use super::{ROW, answer_content, effect_of};
use crate::argument::Argument;
use crate::call::{Call, Outcome};
use crate::command::{Command, Flags, KeySpec, Merge, Run, Verb};

pub(super) const MGET: Command = Command {
    name: "mget",
    since: "1.0.0",
    summary: "Tells the strings that several keys hold.",
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
        answer_content(&mut call.reply, entry.as_deref());
    }
    Ok(())
}

const PAIRS: &[Argument] =
    &[Argument::block("data", &[Argument::KEY, Argument::string("value")]).multiple()];

pub(super) const MSET: Command = Command {
    name: "mset",
    since: "1.0.1",
    summary: "Sets several keys to strings, whatever they held.",
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
    summary: "Sets several keys to strings if none of them holds anything.",
    complexity: "O(N) for N keys",
    arity: -3,
    flags: Flags::WRITE.or(Flags::DENYOOM),
    keys: &[KeySpec::all(2, &["OW", "insert"])],
    arguments: PAIRS,
    run: Run::Engine(Verb::MsetNx),
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
