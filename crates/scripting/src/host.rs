//! Host: what a script needs from the shard that runs it.

use basalt_resp::Protocol;

/// The shard, as a running script sees it. Its functions are called while the script waits for them.
pub trait Host {
    /// Runs a command (`redis.call`) and appends its reply, in RESP2 or RESP3 as the script chose.
    /// `args` begins with the command's name, and is not empty. A refusal is an error reply. With
    /// [`Called::Later`] nothing is appended: the run pauses, and goes on with [`Host::take_reply`].
    fn call(&mut self, args: &[&[u8]], protocol: Protocol, reply: &mut Vec<u8>) -> Called;

    /// Appends the reply of the command for which the run paused.
    fn take_reply(&mut self, reply: &mut Vec<u8>) {
        let _ = reply;
    }

    /// A line for the server's log (`redis.log`).
    fn log(&mut self, level: LogLevel, text: &[u8]);

    /// Called every thousand steps or so, and again when a run that was paused goes on.
    fn interrupt(&mut self) -> Interrupt;

    /// Seconds of CPU time (`os.clock`).
    fn cpu_seconds(&mut self) -> f64;

    /// Whether the user may run a command (`redis.acl_check_cmd`); `None` if there is no such command.
    fn may_call(&mut self, args: &[&[u8]]) -> Option<bool>;

    /// Whether the configured log level takes messages of this level.
    fn logs(&self, level: LogLevel) -> bool {
        let _ = level;
        true
    }
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// Its reply is appended.
    Done,
    /// It needs what can't be had now.
    Later,
}

/// Whether a script may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    Continue,
    /// The run is paused wherever it is; see [`crate::Interpreter::resume`].
    Pause,
    /// It ends with this error, which the script cannot catch.
    End(&'static str),
}

/// Levels of `redis.log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
}

impl LogLevel {
    pub(crate) fn of(number: i64) -> Option<Self> {
        Some(match number {
            0 => Self::Debug,
            1 => Self::Verbose,
            2 => Self::Notice,
            3 => Self::Warning,
            _ => return None,
        })
    }
}
