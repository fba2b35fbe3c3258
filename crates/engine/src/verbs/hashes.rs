//! Verbs of hashes that need the session: HIMPORT.

use std::sync::Arc;

use basalt_commands::requests::parse_himport_prepare;
use basalt_commands::{CommandError, Outcome};
use basalt_keyspace::{Effect, FieldLife, HashChange, Kind, Strings};

use super::{declare_all, owned, session};
use crate::core::Core;
use crate::session::SessionId;

pub(super) fn prepare(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let request = parse_himport_prepare(args)?;
    let bytes_max = core.shard.config.client_query_buffer_limit;
    if !session(core, id).fieldsets.prepare(request.name, request.fields, bytes_max) {
        return Err(CommandError::text(
            "ERR the fieldsets of this connection would take more than client-query-buffer-limit",
        ));
    }
    core.answer(id, |reply| reply.ok());
    Ok(())
}

pub(super) fn set(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let fieldset = session(core, id).fieldsets.get(args[3]).map(Arc::clone);
    let fields = fieldset.ok_or(CommandError::text("ERR no such fieldset"))?;
    let values = owned(&args[4..]);
    if fields.len() != values.len() {
        return Err(CommandError::text("ERR value count does not match fieldset field count"));
    }
    let keys = declare_all(core, id, &args[2..3]);
    core.transact(
        id,
        keys,
        |shard, key| key.peek(shard).map(|entry| entry.kind()),
        move |found, decision| {
            if found[0].is_some_and(|kind| kind != Kind::Hash) {
                return Err(CommandError::WRONG_TYPE);
            }
            decision.reply.ok();
            decision.write(0, move |shard, key| {
                let pairs = fields.iter().zip(&values);
                let pairs: Vec<&[u8]> =
                    pairs.flat_map(|(field, value)| [&field[..], &value[..]]).collect();
                let pairs = Strings::from(&pairs[..]);
                let changes = HashChange::Set { pairs, life: FieldLife::Forever }.to_changes();
                let kind = Kind::Hash;
                let effect = Effect::SetCollection { kind, changes: &changes, expire_at_ms: None };
                shard.keyspace.edit(key.database, &key.key()).commit(effect);
            });
            Ok(())
        },
    );
    Ok(())
}

pub(super) fn discard(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let was_there = session(core, id).fieldsets.discard(args[2]);
    core.answer(id, |reply| reply.integer(i64::from(was_there)));
    Ok(())
}

pub(super) fn discard_all(core: &mut Core, id: SessionId) -> Outcome {
    let fieldsets = std::mem::take(&mut session(core, id).fieldsets);
    core.answer(id, |reply| reply.integer(fieldsets.len() as i64));
    Ok(())
}
