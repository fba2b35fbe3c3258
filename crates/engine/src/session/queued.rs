//! What a session queued since MULTI, and what it watches.

use std::collections::BTreeSet;

use basalt_commands::{
    Call, Command, CommandError, EngineCommand, Flags, Outcome, Run, key_positions, table,
};
use basalt_keyspace::{KeyHasher, ShardId, SlotId};
use smallvec::SmallVec;

use crate::input::args::OwnedArgs;
use crate::input::resolve::mode_of;
use crate::intents::{Intent, Mode};
use crate::slots::routes::Routes;

/// Between MULTI and EXEC. LIMIT: `client-query-buffer-limit` bytes.
#[derive(Default)]
pub(crate) struct Multi {
    pub commands: Vec<Queued>,
    pub bytes: usize,
    /// What was refused can't be run, so nothing will be.
    pub is_broken: bool,
    /// Those of all commands together.
    pub flags: Flags,
}

/// What a session watches.
#[derive(Default)]
pub(crate) struct Watched {
    /// Each once, whatever the database: their hashes are what an EXEC must hold.
    pub keys: BTreeSet<Vec<u8>>,
    /// About what they take.
    pub bytes: usize,
}

/// A command that waits for EXEC.
pub(crate) struct Queued {
    pub command: &'static Command,
    pub run: Run,
    args: OwnedArgs,
}

/// What a command touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Nothing,
    Keys,
    Everything(Mode),
}

/// A command of pairs, one of which lacks its half: Redis queues it and refuses it only when it runs.
pub(crate) fn half_a_pair(args: &[&[u8]]) -> Option<&'static Command> {
    let command = table::find(args[0])?;
    (command.subcommands.is_empty() && command.arity_fits(args.len()) && !command.takes(args.len()))
        .then_some(command)
}

fn refuse_half_a_pair(call: &mut Call<'_>) -> Outcome {
    let name = table::find(call.args[0]).map_or("", |command| command.name);
    Err(CommandError::wrong_arity(name))
}

impl Multi {
    pub(crate) fn push(&mut self, queued: Queued) {
        self.bytes += queued.args.bytes() + queued.args.len() * size_of::<Vec<u8>>();
        self.flags = self.flags.or(queued.command.flags);
        self.commands.push(queued);
    }
}

impl Watched {
    pub(crate) fn add(&mut self, key: &[u8]) {
        if !self.keys.contains(key) {
            self.keys.insert(key.to_vec());
            self.bytes += key.len() + 2 * size_of::<Vec<u8>>();
        }
    }
}

impl Queued {
    pub(crate) fn new(command: &'static Command, args: &[&[u8]]) -> Self {
        let run = match command.run {
            _ if !command.takes(args.len()) => Run::Shard(refuse_half_a_pair),
            run => run,
        };
        Self { command, run, args: OwnedArgs::new(args) }
    }

    pub(crate) fn args(&self) -> SmallVec<[&[u8]; 16]> {
        self.args.all()
    }

    /// Where the first key stands.
    pub(crate) fn key_at(&self) -> usize {
        match self.run {
            Run::Many(_) => key_positions(self.command, &self.args()).first().copied().unwrap_or(0),
            _ => self.command.keys.first().map_or(0, |spec| spec.first as usize),
        }
    }

    /// Whether it is nothing but calls on the shards of its keys, which need nothing of each other.
    pub(crate) fn is_calls(&self, routes: &Routes) -> bool {
        match self.run {
            Run::Shard(_) | Run::Split(..) => true,
            Run::Many(many) => {
                let args = self.args();
                if many.reads_all(&args) && routes.shard_count() > 1 {
                    return false;
                }
                let positions = key_positions(self.command, &args);
                let mut shards = positions.iter().map(|at| routes.shard(SlotId::of_key(args[*at])));
                let first = shards.next();
                first.is_some() && shards.all(|other| Some(other) == first)
            }
            Run::Engine(_) | Run::Container => false,
        }
    }

    pub(crate) fn reach(&self) -> Reach {
        reach_of(self.command, self.run, &self.args())
    }

    /// Every key's shard and intent.
    pub(crate) fn visit_intents(
        &self,
        (routes, hasher): (&Routes, &KeyHasher),
        visit: &mut dyn FnMut(ShardId, SlotId, Intent),
    ) {
        let args = self.args();
        let reads_all = mode_of(self.command) == Mode::Read;
        for spec in self.command.keys {
            let is_read = reads_all || spec.is_read(&args);
            let mode = if is_read { Mode::Read } else { Mode::Write };
            for at in spec.positions(&args) {
                let slot = SlotId::of_key(args[at]);
                let hash = hasher.hash(args[at]);
                visit(routes.shard(slot), slot, Intent { hash, mode });
            }
        }
    }
}

/// What a command with these arguments touches.
pub(crate) fn reach_of(command: &Command, run: Run, args: &[&[u8]]) -> Reach {
    let engine_command = match run {
        Run::Engine(engine_command) => engine_command,
        Run::Many(many) if many.reads_all(args) => return Reach::Everything(mode_of(command)),
        _ => return Reach::Keys,
    };
    let (flags, keys) = (command.flags, command.keys);
    if matches!(
        engine_command,
        EngineCommand::Eval
            | EngineCommand::EvalRo
            | EngineCommand::EvalSha
            | EngineCommand::EvalShaRo
            | EngineCommand::Fcall
            | EngineCommand::FcallRo
    ) {
        // It may touch other keys than those that it names.
        return Reach::Everything(Mode::Write);
    }
    let has_all_keys = !keys.is_empty()
        && (!flags.has(Flags::MOVABLE_KEYS) || keys.iter().all(|spec| spec.is_counted));
    if has_all_keys {
        Reach::Keys
    } else if flags.has(Flags::WRITE)
        || matches!(engine_command, EngineCommand::ConfigSet | EngineCommand::Debug)
    {
        Reach::Everything(Mode::Write)
    } else if flags.has(Flags::READONLY) {
        Reach::Everything(Mode::Read)
    } else {
        Reach::Nothing
    }
}
