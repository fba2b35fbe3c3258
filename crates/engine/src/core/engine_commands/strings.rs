//! PFSELFTEST.

use basalt_commands::Outcome;
use basalt_commands::requests::self_test;

use super::command::show;
use crate::core::Core;
use crate::session::SessionId;

pub(super) fn pfselftest(core: &mut Core, id: SessionId) -> Outcome {
    self_test()?;
    show(core, id, |reply| reply.ok())
}
