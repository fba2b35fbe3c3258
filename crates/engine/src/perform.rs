//! Perform: a command's handler called on its shard, with its reply or its refusal written.

use basalt_commands::config::Config;
use basalt_commands::{Call, Command, CommandError, Flags, Outcome, ShardFn};
use basalt_keyspace::{DatabaseId, Key, Keyspace};
use basalt_resp::{Protocol, Reply};
use smallvec::SmallVec;

use crate::meter::Meter;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::stats::ShardStats;
use crate::transaction::{Intent, Mode, Scope};

/// A command on the shard of its keys.
#[derive(Clone, Copy)]
pub(crate) struct Task<'a> {
    pub run: ShardFn,
    pub args: &'a [&'a [u8]],
    pub key: Key<'a>,
    pub database: DatabaseId,
}

/// Calls the handler; an error is written, and told to `refused` to be counted.
#[inline]
pub(crate) fn perform(
    keyspace: &mut Keyspace,
    config: &Config,
    task: Task<'_>,
    reply: Reply<'_>,
    refused: impl FnOnce(&CommandError),
) {
    let Task { run, args, key, database } = task;
    let start = reply.position();
    let mut call = Call { keyspace, database, args, key, config, reply };
    // Looked at where it lies: an outcome that is moved is read before it is written to its end.
    let outcome = run(&mut call);
    if outcome.is_err() || call.reply.is_cut() {
        refuse(outcome, &mut call.reply, start, refused);
    }
}

/// What counts a refusal of a command, for `perform`.
pub(crate) fn counted<'a>(
    stats: &'a mut ShardStats,
    meter: &'a mut Meter,
    command: &Command,
) -> impl FnOnce(&CommandError) + use<'a> {
    let number = command.number;
    move |error| {
        stats.count_error(error.as_bytes());
        meter.failed(number);
    }
}

#[cold]
#[inline(never)]
fn refuse(
    outcome: Outcome,
    reply: &mut Reply<'_>,
    start: usize,
    refused: impl FnOnce(&CommandError),
) {
    let error = outcome.err().unwrap_or(CommandError::NO_MEMORY_FOR_REPLY);
    reply.rewind(start);
    reply.error_bytes(error.as_bytes());
    refused(&error);
}

/// How a session's commands run, on whichever shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub database: DatabaseId,
    pub protocol: Protocol,
    /// Whether reads count as uses.
    pub touches: bool,
}

impl Manner {
    /// TOUCH touches, whatever CLIENT NO-TOUCH says.
    pub(crate) fn of(shard: &Shard, session: SessionId, command: &Command) -> Self {
        let session = shard.sessions.get(session).expect("the session asked just now");
        Self {
            database: session.database,
            protocol: session.protocol,
            touches: !session.no_touch || command.name == "touch",
        }
    }
}

/// A command whose arguments travel.
pub(crate) struct OwnedTask {
    run: ShardFn,
    args: OwnedArgs,
    key_at: usize,
    manner: Manner,
}

/// Arguments one after the other in one buffer: another core may free them, and that costs.
pub(crate) struct OwnedArgs {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl OwnedArgs {
    pub(crate) fn new(args: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(args.iter().map(|arg| arg.len()).sum());
        let mut ends = Vec::with_capacity(args.len());
        for arg in args {
            bytes.extend_from_slice(arg);
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    pub(crate) fn all(&self) -> SmallVec<[&[u8]; 16]> {
        let mut start = 0;
        let arg = |&end| &self.bytes[std::mem::replace(&mut start, end)..end];
        self.ends.iter().map(arg).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

impl OwnedTask {
    pub(crate) fn new(run: ShardFn, args: &[&[u8]], key_at: usize, manner: Manner) -> Self {
        Self { run, args: OwnedArgs::new(args), key_at, manner }
    }

    /// Calls the handler; its encoded reply.
    pub(crate) fn perform(&self, shard: &mut Shard) -> Vec<u8> {
        let Manner { database, protocol, touches } = self.manner;
        shard.keyspace.set_touching(touches);
        let args = self.args.all();
        let key = shard.keyspace.key(args[self.key_at]);
        let task = Task { run: self.run, args: &args, key, database };
        let mut answer = Vec::new();
        let reply = Reply::new(&mut answer, protocol);
        // Whoever puts the answer out counts it, if it is an error.
        perform(&mut shard.keyspace, &shard.config, task, reply, |_| {});
        shard.keyspace.set_touching(true);
        shard.stats.commands_from_others += 1;
        answer
    }
}

/// What a command means to do with its keys, where it does the same with all.
#[inline]
pub(crate) fn mode_of(command: &Command) -> Mode {
    // PFCOUNT is told as one that reads, and remembers its estimate in the key.
    let only_reads = command.flags.has(Flags::READONLY) && !command.flags.has(Flags::MAY_REPLICATE);
    if only_reads { Mode::Read } else { Mode::Write }
}

/// Whether one key is all that a command touches.
#[inline]
pub(crate) fn has_one_key(command: &Command) -> bool {
    matches!(command.keys, [spec] if spec.first == spec.last && !spec.is_counted)
}

/// What a command touches of its shard.
pub(crate) fn scope_of(command: &Command, args: &[&[u8]], keyspace: &Keyspace) -> Scope {
    let reads_all = mode_of(command) == Mode::Read;
    let mut intents = Vec::new();
    for spec in command.keys {
        let is_read = reads_all || spec.access_with(args).first() == Some(&"RO");
        let mode = if is_read { Mode::Read } else { Mode::Write };
        for at in spec.positions(args) {
            intents.push(Intent { hash: keyspace.hasher().hash(args[at]), mode });
        }
    }
    Scope::keys(intents)
}
