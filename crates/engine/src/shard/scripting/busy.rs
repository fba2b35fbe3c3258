//! Busy: scripts that run for long, what they keep others from, and how they are killed.

use basalt_commands::{Command, CommandError};
use basalt_keyspace::ShardId;
use basalt_resp::Reply;

use super::Scripting;
use super::run::Running;
use crate::shard::Shard;

/// A script that runs for longer than `busy-reply-threshold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BusyScript {
    pub home: ShardId,
    /// It keeps others from all shards, not only from its own.
    pub holds_all: bool,
    pub is_function: bool,
}

impl BusyScript {
    /// Whether it keeps others from a shard.
    pub(crate) fn keeps(&self, shard: ShardId) -> bool {
        self.holds_all || self.home == shard
    }

    pub(crate) fn refusal(&self) -> CommandError {
        CommandError::text(match self.is_function {
            true => {
                "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
            }
            false => {
                "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
            }
        })
    }
}

/// What became of the wish to kill a shard's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Killed {
    NoneRuns,
    /// It is a function where a script was meant, or the other way round.
    OtherKind {
        is_function: bool,
    },
    HasWritten,
    Done,
}

/// A script as FUNCTION STATS shows it.
pub(crate) struct Shown {
    pub name: String,
    pub args: Vec<Vec<u8>>,
    pub ran_ms: u64,
    pub is_function: bool,
    pub is_busy: bool,
}

impl Scripting {
    /// Whether a script is between two of its slices, and its next one may begin.
    pub(crate) fn may_go_on(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.may_go_on())
    }

    /// Whether the script that is paused here got what it waited for.
    pub(crate) fn has_reply(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.has_reply())
    }

    /// Whether a script runs here.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Since when (monotonic µs) a script runs here.
    pub(crate) fn running_since_us(&self) -> Option<u64> {
        self.running.as_ref().map(|running| running.begun_us)
    }

    /// All scripts that are busy.
    pub(crate) fn busy(&self) -> &[BusyScript] {
        &self.busy
    }

    /// A script that is busy, if there is one.
    pub(crate) fn any_busy(&self) -> Option<BusyScript> {
        self.busy.first().copied()
    }

    /// The script that runs here, if it just became busy.
    pub(crate) fn turns_busy(
        &mut self,
        (home, now_us, threshold_ms): (ShardId, u64, u64),
    ) -> Option<(BusyScript, u64)> {
        let running: &mut Running = self.running.as_mut()?;
        let ran_ms = running.ran_ms(now_us);
        if running.is_busy || threshold_ms == 0 || ran_ms < threshold_ms {
            return None;
        }
        running.is_busy = true;
        let is_function = running.source.is_function();
        let holds_all = running.settings.holds_all;
        Some((BusyScript { home, holds_all, is_function }, ran_ms))
    }

    /// The name of the script that runs here.
    pub(crate) fn running_name(&self) -> &str {
        self.running.as_ref().map_or("", |running| &running.source.name)
    }

    /// The script that runs here, as FUNCTION STATS shows it.
    pub(crate) fn shown(&self, now_us: u64) -> Option<Shown> {
        let running = self.running.as_ref()?;
        Some(Shown {
            name: running.source.name.clone(),
            args: running.args.clone(),
            ran_ms: running.ran_ms(now_us),
            is_function: running.source.is_function(),
            is_busy: running.is_busy,
        })
    }
}

impl Shard {
    /// SCRIPT KILL or FUNCTION KILL.
    pub(crate) fn kill_script(&mut self, of_function: bool) -> Killed {
        let Some(running) = &mut self.scripting.running else { return Killed::NoneRuns };
        let is_function = running.source.is_function();
        if running.state.has_written {
            return Killed::HasWritten;
        }
        if is_function != of_function {
            return Killed::OtherKind { is_function };
        }
        running.state.is_killed = true;
        Killed::Done
    }

    /// A core's script became busy, or is so no more.
    pub(crate) fn note_busy(&mut self, home: ShardId, busy: Option<BusyScript>) {
        self.scripting.busy.retain(|other| other.home != home);
        self.scripting.busy.extend(busy);
        self.arm_scripts();
    }

    /// Why commands that need this shard are refused, if a script is busy on it.
    pub(crate) fn busy_refusal(&self) -> Option<CommandError> {
        let busy = self.scripting.busy.iter().find(|busy| busy.keeps(self.id));
        busy.map(BusyScript::refusal)
    }

    /// Refuses a request that another shard sent.
    pub(crate) fn refuse_request_of_other(
        &mut self,
        command: &Command,
        error: &CommandError,
        mut reply: Reply<'_>,
    ) {
        reply.error_bytes(error.as_bytes());
        self.stats.count_error(error.as_bytes());
        self.command_stats.rejected(command.number);
    }
}
