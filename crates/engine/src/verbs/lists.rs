//! Verbs over several lists: LMOVE and LMPOP.

use basalt_commands::requests::{ListPop, Sides, parse_list_move, parse_list_pop};
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::{Digits, Effect, ListChange, ListRef, Side, Strings};

use super::settings;
use crate::core::Core;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::transaction::DeclaredKey;

/// Some elements of a list, as they travel.
type Elements = Vec<Vec<u8>>;

/// Up to `max` elements of a list from one end on; none where there is no list.
fn peek_end(
    shard: &Shard,
    key: &DeclaredKey,
    side: Side,
    max: u64,
) -> Result<Option<Elements>, CommandError> {
    let Some(entry) = key.peek(shard) else { return Ok(None) };
    let list = ListRef::of(&entry).ok_or(CommandError::WRONG_TYPE)?;
    let mut digits = Digits::default();
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let elements = list.iter_end(side).take(max);
    Ok(Some(elements.map(|content| content.as_text(&mut digits).to_vec()).collect()))
}

fn pop(shard: &mut Shard, key: &DeclaredKey, side: Side, count: usize) {
    let edit = shard.keyspace.edit(key.database, &key.key());
    edit.commit(Effect::List(ListChange::Pop { side, count: count as u64 }));
}

fn push(shard: &mut Shard, key: &DeclaredKey, side: Side, element: &[u8]) {
    let edit = shard.keyspace.edit(key.database, &key.key());
    let elements = [element];
    edit.commit(Effect::List(ListChange::Push { side, elements: Strings::from(&elements) }));
}

const SOURCE: usize = 0;
const TARGET: usize = 1;

/// LMOVE and RPOPLPUSH.
pub(super) fn list_move(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let Sides { from, to } = parse_list_move(args)?;
    let (database, _) = settings(core, id);
    let keys = vec![
        core.declare(SOURCE, database, args[1], true),
        core.declare(TARGET, database, args[2], true),
    ];
    core.transact(
        id,
        keys,
        move |shard, key| peek_end(shard, key, from, 1),
        move |found, decision| {
            let mut found = found.into_iter();
            let source = found.next().expect("two keys were declared")?;
            let Some(element) = source.and_then(|mut elements| elements.pop()) else {
                decision.reply.null();
                return Ok(());
            };
            found.next().expect("two keys were declared")?;
            decision.reply.bulk(&element);
            decision.write(SOURCE, move |shard, key| pop(shard, key, from, 1));
            decision.write(TARGET, move |shard, key| push(shard, key, to, &element));
            Ok(())
        },
    );
    Ok(())
}

/// LMPOP.
pub(super) fn multi_pop(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let ListPop { keys, side, count } = parse_list_pop(&args[1..])?;
    let (database, _) = settings(core, id);
    let names: Elements = keys.iter().map(|key| key.to_vec()).collect();
    let declared = keys.iter().enumerate();
    let declared = declared.map(|(index, key)| core.declare(index, database, key, true)).collect();
    core.transact(
        id,
        declared,
        move |shard, key| peek_end(shard, key, side, count),
        move |found, decision| {
            for (index, elements) in found.into_iter().enumerate() {
                let Some(elements) = elements? else { continue };
                decision.reply.array(2);
                decision.reply.bulk(&names[index]);
                decision.reply.array(elements.len());
                elements.iter().for_each(|element| decision.reply.bulk(element));
                decision.write(index, move |shard, key| pop(shard, key, side, elements.len()));
                return Ok(());
            }
            decision.reply.null_array();
            Ok(())
        },
    );
    Ok(())
}
