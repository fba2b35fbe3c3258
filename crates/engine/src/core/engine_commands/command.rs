//! EngineCommands of COMMAND, and HELP of every container: what the command table holds.

use basalt_commands::{Outcome, docs, table};
use basalt_resp::Reply;

use super::{encode, settings};
use crate::core::Core;
use crate::session::SessionId;

/// Answers with what `write` makes of the table, or with its refusal.
pub(super) fn tell(
    core: &mut Core,
    id: SessionId,
    write: impl FnOnce(&mut Reply<'_>) -> Outcome,
) -> Outcome {
    let (_, protocol) = settings(core, id);
    let mut outcome = Ok(());
    let answer = encode(protocol, |reply| outcome = write(reply));
    outcome?;
    core.answer(id, |reply| reply.raw(&answer));
    Ok(())
}

/// As [`tell`], where there is nothing to refuse.
pub(super) fn show(core: &mut Core, id: SessionId, write: impl FnOnce(&mut Reply<'_>)) -> Outcome {
    core.answer(id, write);
    Ok(())
}

pub(super) fn help(core: &mut Core, id: SessionId, container: &str) -> Outcome {
    let container = table::find(container.as_bytes()).expect("the container is in the table");
    show(core, id, |reply| docs::write_help(container, reply))
}
