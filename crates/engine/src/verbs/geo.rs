//! Verbs that search an area and may store what they find on another shard: GEOSEARCHSTORE, GEORADIUS.

use basalt_commands::requests::{
    GeoForm, OwnedMembers, answer_search, found_to_store, radius_store_at,
};
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::event;

use super::sorted::{TARGET, store};
use super::{encode, owned, settings};
use crate::coordinate::Answer;
use crate::core::Core;
use crate::session::SessionId;

const SOURCE: usize = 1;

pub(super) fn search_store(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    search_and_store(core, id, args, GeoForm::SearchStore, [1, 2]);
    Ok(())
}

/// GEORADIUS and GEORADIUSBYMEMBER, whose words begin at `words_at`.
pub(super) fn radius(
    core: &mut Core,
    id: SessionId,
    args: &[&[u8]],
    (form, words_at): (GeoForm, usize),
) -> Outcome {
    if let Some(target_at) = radius_store_at(args, words_at) {
        search_and_store(core, id, args, form, [target_at, 1]);
        return Ok(());
    }
    let (database, protocol) = settings(core, id);
    let keys = vec![core.declare(0, database, args[1], false)];
    let args = owned(args);
    core.transact(
        id,
        keys,
        move |shard, key| -> Result<Answer, CommandError> {
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let mut outcome = Ok(());
            let answer = encode(protocol, |reply| {
                outcome = answer_search(form, &args, key.peek(shard).as_deref(), reply);
            });
            outcome.map(|()| answer)
        },
        |mut found, decision| {
            decision.reply.raw(&found.swap_remove(0)?);
            Ok(())
        },
    );
    Ok(())
}

/// Stores what is found in the source at the target, which stand at these places among the arguments.
fn search_and_store(
    core: &mut Core,
    id: SessionId,
    args: &[&[u8]],
    form: GeoForm,
    [target_at, source_at]: [usize; 2],
) {
    let (database, _) = settings(core, id);
    let keys = vec![
        core.declare(TARGET, database, args[target_at], true),
        core.declare(SOURCE, database, args[source_at], false),
    ];
    let args = owned(args);
    core.transact(
        id,
        keys,
        move |shard, key| -> Result<OwnedMembers, CommandError> {
            if key.index != SOURCE {
                return Ok(Vec::new());
            }
            let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            found_to_store(form, &args, key.peek(shard).as_deref())
        },
        move |mut found, decision| {
            let events = match form {
                GeoForm::SearchStore => event::GEOSEARCHSTORE,
                _ => event::GEORADIUSSTORE,
            };
            store(decision, &found.swap_remove(SOURCE)?, events);
            Ok(())
        },
    );
}
