//! Host: what a script needs from the shard that runs it.

use basalt_resp::Protocol;

/// The shard, as a running script sees it. Its functions are called while the script waits for them.
pub trait Host {
    /// Runs a command (`redis.call`) and appends its reply, in RESP2 or RESP3 as the script chose.
    /// `args` begins with the command's name, and is not empty. A refusal is an error reply.
    fn call(&mut self, args: &[&[u8]], protocol: Protocol, reply: &mut Vec<u8>);

    /// A line for the server's log (`redis.log`).
    fn log(&mut self, level: LogLevel, text: &[u8]);

    /// Called every thousand steps or so. `Some` ends the script with this error, which the script cannot
    /// catch.
    fn interrupt(&mut self) -> Option<&'static str>;

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
