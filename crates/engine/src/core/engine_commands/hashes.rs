//! EngineCommands of hashes that need the session: HIMPORT.

use std::sync::Arc;

use basalt_commands::requests::{IMPORT_KEY_AT, import, parse_himport_prepare, with_fields};
use basalt_commands::{CommandError, Outcome, table};

use super::{declare_all, session};
use crate::core::Core;
use crate::input::args::OwnedArgs;
use crate::input::keys::scope_on;
use crate::session::SessionId;
use crate::shard::call::OwnedCall;

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

/// HIMPORT SET between MULTI and EXEC; else `Core::work_import` runs it.
pub(super) fn set(core: &mut Core, id: SessionId, args: &[&[u8]]) -> Outcome {
    let fields = session(core, id).fieldsets.get(args[3]).map(Arc::clone);
    let args = with_fields(args, fields.as_deref())?;
    let keys = declare_all(core, id, &args[IMPORT_KEY_AT..=IMPORT_KEY_AT]);
    let (shard, scope) = (keys[0].shard, scope_on(keys[0].shard, &keys));
    let command = table::find(b"himport").expect("it is run just now");
    let call =
        OwnedCall::new(core.context(id, command, import), OwnedArgs::new(&args), IMPORT_KEY_AT);
    core.coordinate(id, |hops| async move {
        hops.alone(shard, scope, move |shard| call.perform(shard)).await
    });
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
