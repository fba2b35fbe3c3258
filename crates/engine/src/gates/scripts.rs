//! The gate of scripts that run for long: what it is that a command needs of which shards.

use basalt_commands::{Command, EngineCommand, Flags, Run};
use basalt_keyspace::ShardId;

use super::{GateInput, Verdict};
use crate::session::queued::{Reach, reach_of};
use crate::shard::scripting::BusyScript;

/// What a command needs of the shards.
enum Needs {
    Shards(Vec<ShardId>),
    All,
    /// Nothing but that its session's core has time for it.
    Home,
}

impl Needs {
    fn of(input: &GateInput<'_>) -> Self {
        let GateInput { shard, session, command, args, keys, .. } = input;
        let is = |wanted: EngineCommand| matches!(command.run, Run::Engine(own) if own == wanted);
        if is(EngineCommand::Exec) {
            let Some(multi) = &session.multi else { return Self::Home };
            let mut shards = Vec::new();
            for queued in &multi.commands {
                if let Reach::Everything(_) = queued.reach() {
                    return Self::All;
                }
                let placing = (&*shard.routes, shard.keyspace.hasher());
                queued.visit_intents(placing, &mut |shard, _, _| shards.push(shard));
            }
            return if shards.is_empty() { Self::Home } else { Self::Shards(shards) };
        }
        if !keys.is_empty() {
            return Self::Shards(keys.iter().map(|key| key.shard).collect());
        }
        match reach_of(command, command.run, args) {
            _ if runs_script(command) => Self::Shards(vec![shard.id]),
            Reach::Everything(_) => Self::All,
            Reach::Keys | Reach::Nothing => Self::Home,
        }
    }
}

fn runs_script(command: &Command) -> bool {
    use EngineCommand::{Eval, EvalRo, EvalSha, EvalShaRo, Fcall, FcallRo};
    let own = match command.run {
        Run::Engine(own) => own,
        _ => return false,
    };
    matches!(own, Eval | EvalRo | EvalSha | EvalShaRo | Fcall | FcallRo)
}

/// The gate: what needs a shard on which a script is busy is refused; what needs this one waits for a script that is
/// not busy yet.
pub(super) fn has_no_script_in_its_way(input: &GateInput<'_>) -> Verdict {
    let GateInput { shard, session, command, .. } = input;
    if command.flags.has(Flags::ALLOW_BUSY) {
        return Verdict::Pass;
    }
    let (here, needs) = (shard.id, Needs::of(input));
    let keeps = |busy: &BusyScript| match &needs {
        Needs::Shards(shards) => shards.iter().any(|needed| busy.keeps(*needed)),
        Needs::All => true,
        Needs::Home => busy.keeps(here),
    };
    if let Some(busy) = shard.scripting.busy().iter().find(|busy| keeps(busy)) {
        return Verdict::Refuse(busy.refusal());
    }
    let is_queued = session.multi.is_some() && command.name != "exec";
    let needs_here = match &needs {
        Needs::Shards(shards) => shards.contains(&here),
        Needs::All => true,
        Needs::Home => false,
    };
    let waits = shard.scripting.is_running() && needs_here && !is_queued;
    if waits { Verdict::Wait } else { Verdict::Pass }
}
