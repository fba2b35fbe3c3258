//! Verbs that bring the strings of several keys together: BITOP, LCS, PFCOUNT, PFMERGE; and PFSELFTEST.

use basalt_commands::requests::{
    Union, bitop_effect, lcs as find_lcs, parse_bitop, parse_lcs, pfmerge_into, self_test,
    with_text, write_lcs,
};
use basalt_commands::{Call, CommandError, Outcome, check_memory, copied, table};
use basalt_keyspace::Entry;
use basalt_resp::{Protocol, Reply};

use super::command::show;
use super::{owned, settings};
use crate::core::Core;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::DeclaredKey;

/// What a look at a key finds: something made of its string, or why there is none.
type Found<T> = Result<T, CommandError>;

/// Makes something of a key's string.
fn look<T>(
    shard: &mut Shard,
    key: &DeclaredKey,
    make: impl FnOnce(Option<&Entry>, &[u8]) -> Found<T>,
) -> Found<T> {
    let entry = shard.keyspace.read(key.database, &key.key());
    with_text(entry.as_deref(), |text| make(entry.as_deref(), text))
}

/// Runs something that is written as a handler on a key; what it replies is not kept.
fn run_on(
    shard: &mut Shard,
    key: &DeclaredKey,
    run: impl FnOnce(&mut Call<'_>) -> Outcome,
) -> Outcome {
    let mut reply = Vec::new();
    run(&mut Call {
        command: table::find(b"pfmerge").expect("it is run just now"),
        keyspace: &mut shard.keyspace,
        database: key.database,
        args: &[],
        key: key.key(),
        config: &shard.config,
        reply: Reply::new(&mut reply, Protocol::Resp2),
    })
}

/// Declares the keys among `args`; the first is written if `writes`.
fn declare(core: &Core, id: SessionId, args: &[&[u8]], writes: bool) -> Vec<DeclaredKey> {
    let (database, _) = settings(core, id);
    let keys = args.iter().enumerate();
    keys.map(|(index, key)| core.declare(index, database, key, writes && index == 0)).collect()
}

pub(super) fn bitop(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let operation = parse_bitop(args)?;
    let keys = declare(core, id, &args[2..], true);
    let look = |shard: &mut Shard, key: &DeclaredKey| match key.index {
        // What BITOP overwrites it does not look at.
        0 => Ok(Vec::new()),
        _ => look(shard, key, |_, text| copied(text)),
    };
    core.transact(id, keys, look, move |found, decision| {
        let sources: Vec<Vec<u8>> = found.into_iter().skip(1).collect::<Result<_, _>>()?;
        let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
        // What is combined, and what it is combined with where the operation takes two steps; then its copy.
        check_memory(2 * sources.iter().map(|source| source.len()).max().unwrap_or(0))?;
        let result = operation.combine(&sources);
        decision.reply.integer(result.len() as i64);
        decision.write(0, move |shard, key| {
            let edit = shard.keyspace.edit(key.database, &key.key());
            if !result.is_empty() || edit.entry().is_some() {
                edit.commit(bitop_effect(&result));
            }
        });
        Ok(())
    });
    Ok(())
}

pub(super) fn lcs(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let keys = declare(core, id, &args[1..3], false);
    let options = owned(&args[3..]);
    let bytes_max = core.shard.config.proto_max_bulk_len;
    let look = |shard: &mut Shard, key: &DeclaredKey| look(shard, key, |_, text| copied(text));
    core.transact(id, keys, look, move |found, decision| {
        let texts: Result<Vec<Vec<u8>>, _> = found.into_iter().collect();
        let texts = texts.map_err(|error| {
            let no_string = CommandError::text("ERR The specified keys must contain string values");
            if error == CommandError::WRONG_TYPE { no_string } else { error }
        })?;
        let options: Vec<&[u8]> = options.iter().map(Vec::as_slice).collect();
        let request = parse_lcs(&options)?;
        write_lcs(request, &find_lcs(&texts[0], &texts[1], bytes_max)?, &mut decision.reply);
        Ok(())
    });
    Ok(())
}

/// What a sketch adds to others; `None` where there is none.
fn look_at_sketch(shard: &mut Shard, key: &DeclaredKey) -> Found<Option<Union>> {
    look(shard, key, |entry, text| {
        let mut union = entry.is_some().then(Union::default);
        if let Some(union) = &mut union {
            union.add(text)?;
        }
        Ok(union)
    })
}

fn union_of(found: Vec<Found<Option<Union>>>) -> Found<Union> {
    let mut union: Option<Union> = None;
    for sketch in found {
        match (&mut union, sketch?) {
            (Some(union), Some(sketch)) => union.absorb(&sketch),
            (first @ None, sketch) => *first = sketch,
            (Some(_), None) => {}
        }
    }
    Ok(union.unwrap_or_default())
}

pub(super) fn pfcount(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let keys = declare(core, id, &args[1..], false);
    core.transact(id, keys, look_at_sketch, |found, decision| {
        decision.reply.integer(union_of(found)?.cardinality() as i64);
        Ok(())
    });
    Ok(())
}

pub(super) fn pfmerge(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let keys = declare(core, id, &args[1..], true);
    core.transact(id, keys, look_at_sketch, |found, decision| {
        let union = union_of(found)?;
        decision.reply.ok();
        decision.write(0, move |shard, key| {
            run_on(shard, key, |call| pfmerge_into(call, &union))
                .expect("because the sketch that is there was looked at");
        });
        Ok(())
    });
    Ok(())
}

pub(super) fn pfselftest(core: &mut Core, id: SessionId) -> Outcome {
    self_test()?;
    show(core, id, |reply| reply.ok())
}
