//! Execution: what a session keeps of a command that goes on, until that is over.

use basalt_commands::Command;

use crate::input::measured::Measured;
use crate::session::SessionId;

/// What monitors are shown of an EXEC once it is over.
pub(crate) struct Execution {
    /// Of what it ran, unless that was shown by the way.
    pub commands: Vec<u8>,
    pub at_us: u64,
    /// EXEC as the client wrote it.
    pub name: Vec<u8>,
}

/// A call that goes on as a coordination or a pipelined transaction.
pub(crate) struct PendingCall {
    pub command: &'static Command,
    pub timing: Timing,
    /// For the slow log; empty where there is none.
    pub args: Vec<u8>,
    /// For a session of HOTKEYS; none where it is not measured as a whole.
    pub measured: Option<Box<Measured<Vec<u8>>>>,
}

/// The place of a transaction's reply in its session, which goes on meanwhile.
pub(crate) struct ReplyPlace {
    pub session: SessionId,
    pub hole: u32,
    /// The client wants no reply.
    pub is_silent: bool,
    /// What it counts for among the transactions of its session.
    pub weight: usize,
    /// For the books, once the command that began it is on its way.
    pub call: Option<PendingCall>,
    pub execution: Option<Box<Execution>>,
}

pub(crate) enum Timing {
    Untimed,
    /// Began at this moment.
    Since(u64),
    /// Took so long before it waited.
    Before(u64),
}
