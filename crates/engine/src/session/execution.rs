//! Execution: what a session keeps of a command that goes on, until that is over.

use basalt_commands::Command;

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
}

pub(crate) enum Timing {
    Untimed,
    /// Began at this moment.
    Since(u64),
    /// Took so long before it waited.
    Before(u64),
}
