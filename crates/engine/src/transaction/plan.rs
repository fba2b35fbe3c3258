//! Plan: commands taken apart by shards, and their replies put together.
//!
//! A command with one key goes to its shard. One whose keys are on several shards and need nothing of each
//! other (MGET, MSET, DEL …) goes to each with its own keys; what the shards reply becomes one reply.

use basalt_commands::{Merge, Run};
use basalt_keyspace::{ShardId, SlotId};
use basalt_resp::{Protocol, Reply, append_reply, scalar_bytes};
use smallvec::SmallVec;

use crate::input::resolve::mode_of;
use crate::intents::{Intent, Mode};
use crate::session::Session;
use crate::session::queued::Queued;
use crate::shard::Shard;
use crate::shard::call::CallContext;
use crate::shard::part::{CallTiming, Refusal, Replies, TxnPartPool, TxnParts};

/// How replies of transaction parts become replies of commands.
#[derive(Default)]
pub(crate) struct Plan {
    commands: SmallVec<[Piece; 1]>,
    protocol: Protocol,
    /// The reply is an array of theirs.
    is_exec: bool,
    writes: bool,
    /// The commands of an EXEC whose time is not taken.
    untimed: SmallVec<[u16; 4]>,
}

/// One command: an index is that of a transaction part.
enum Piece {
    Whole(u8),
    /// Taken apart, and whose each key is.
    Split(Merge, Box<[u8]>),
}

/// When a plan's reply is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Before anything ran.
    Ahead,
    /// When one has looked, and nothing of that changes any more.
    ByLooking,
    /// When all has run.
    Afterwards,
}

/// A key as it was worked out when the request was parsed, or is now.
#[derive(Clone, Copy)]
pub(crate) struct PlacedKey {
    pub shard: ShardId,
    pub slot: SlotId,
    pub hash: u64,
}

/// A command whose keys are on several shards.
pub(crate) struct SplitRequest<'a> {
    pub context: CallContext,
    pub merge: Merge,
    pub args: &'a [&'a [u8]],
    pub is_timed: bool,
}

impl PlacedKey {
    pub(crate) fn of(shard: &Shard, name: &[u8]) -> Self {
        let key = shard.keyspace.key(name);
        Self { shard: shard.routes.shard(key.slot), slot: key.slot, hash: key.hash }
    }
}

impl Plan {
    pub(crate) fn new(protocol: Protocol, is_exec: bool) -> Self {
        Self { protocol, is_exec, ..Self::default() }
    }

    /// Adds a command whose keys, placed in their order, are on several shards.
    pub(crate) fn split(
        &mut self,
        request: &SplitRequest<'_>,
        keys: impl ExactSizeIterator<Item = PlacedKey>,
        (txn_parts, spare): (&mut TxnParts, &mut TxnPartPool),
    ) {
        let &SplitRequest { context, merge, args, is_timed } = request;
        let command = context.command;
        let spec = command.keys.first().expect("a command that is split has keys");
        let (first, step) = (spec.first as usize, spec.step as usize);
        let mode = mode_of(command);
        self.writes |= mode == Mode::Write;
        let before: SmallVec<[usize; 4]> =
            txn_parts.0.iter().map(|(_, txn_part)| txn_part.call_count()).collect();
        let mut owners = Vec::with_capacity(keys.len());
        for (key, group) in keys.zip(args[first..].chunks_exact(step)) {
            let at = txn_parts.place_of(key.shard, spare);
            let txn_part = &mut txn_parts.0[at].1;
            if txn_part.call_count() == before.get(at).copied().unwrap_or(0) {
                txn_part.begin_call(context, first, (key.slot, key.hash));
                txn_part.push_args(args[..first].iter().copied());
                txn_part.counts_errors = self.is_exec;
                if is_timed {
                    let is_first = owners.is_empty();
                    txn_part.time_call(if is_first {
                        CallTiming::Timed
                    } else {
                        CallTiming::TimedPart
                    });
                }
            }
            txn_part.push_args(group.iter().copied());
            txn_part.push_key(context.database, key.slot, Intent { hash: key.hash, mode });
            owners.push(at as u8);
        }
        self.commands.push(Piece::Split(merge, owners.into_boxed_slice()));
    }

    /// Adds a command that a session queued, and that is no engine command.
    pub(crate) fn add(
        &mut self,
        queued: &Queued,
        (shard, session): (&Shard, &Session),
        (txn_parts, spare): (&mut TxnParts, &mut TxnPartPool),
    ) {
        let command = queued.command;
        let args: SmallVec<[&[u8]; 16]> = queued.args();
        let is_timed = shard.command_stats.is_next_timed(command.number);
        if !is_timed {
            self.untimed.push(command.number);
        }
        let run = match queued.run {
            Run::Split(run, merge) => {
                let spec = command.keys.first().expect("a command that is split has keys");
                let names = args[spec.first as usize..].iter().step_by(spec.step as usize);
                let keys: SmallVec<[PlacedKey; 8]> =
                    names.map(|name| PlacedKey::of(shard, name)).collect();
                if keys.iter().any(|key| key.shard != keys[0].shard) {
                    let into = (txn_parts, spare);
                    let context = CallContext::of(shard.id, session, command, run);
                    let request = SplitRequest { context, merge, args: &args, is_timed };
                    self.split(&request, keys.into_iter(), into);
                    return;
                }
                run
            }
            Run::Shard(run) => run,
            Run::Many(many) => many.whole,
            Run::Engine(_) | Run::Container => unreachable!("what is no call runs as a step"),
        };
        let key_at = queued.key_at();
        let key = PlacedKey::of(shard, args[key_at]);
        let at = txn_parts.place_of(key.shard, spare);
        let txn_part = &mut txn_parts.0[at].1;
        let context = CallContext::of(shard.id, session, command, run);
        txn_part.begin_call(context, key_at, (key.slot, key.hash));
        txn_part.push_args(args.iter().copied());
        txn_part.counts_errors = self.is_exec;
        if is_timed {
            txn_part.time_call(CallTiming::Timed);
        }
        queued.visit_intents((&shard.routes, shard.keyspace.hasher()), &mut |_, slot, intent| {
            self.writes |= intent.mode == Mode::Write;
            txn_part.push_key(context.database, slot, intent);
        });
        self.commands.push(Piece::Whole(at as u8));
    }

    pub(crate) fn known(&self) -> Known {
        match &self.commands[..] {
            _ if !self.writes => Known::ByLooking,
            [Piece::Split(Merge::Ok, _)] if !self.is_exec => Known::Ahead,
            [Piece::Split(Merge::Present, _)] if !self.is_exec => Known::ByLooking,
            _ => Known::Afterwards,
        }
    }

    /// Whether the replies are those of an EXEC's commands.
    pub(crate) fn is_exec(&self) -> bool {
        self.is_exec
    }

    /// The commands whose time is not taken.
    pub(crate) fn untimed(&self) -> &[u16] {
        &self.untimed
    }

    /// Whether it changes anything.
    pub(crate) fn writes(&self) -> bool {
        self.writes
    }

    /// Writes the reply that is known ahead.
    pub(crate) fn write_ahead(&self, answer: &mut Vec<u8>) {
        Reply::new(answer, self.protocol).ok();
    }

    /// Writes the reply where nothing was done.
    pub(crate) fn write_refusal(&self, refusal: Refusal, answer: &mut Vec<u8>) {
        refusal.write(self.is_exec, &mut Reply::new(answer, self.protocol));
    }

    /// Writes the reply from those of the transaction parts.
    pub(crate) fn write(&self, txn_parts: &[&Replies], answer: &mut Vec<u8>) {
        if self.is_exec {
            Reply::new(answer, self.protocol).array(self.commands.len());
        }
        self.write_each(txn_parts, answer);
    }

    /// Writes the commands' replies, one behind the other.
    pub(crate) fn write_each(&self, txn_parts: &[&Replies], answer: &mut Vec<u8>) {
        let mut next: SmallVec<[usize; 8]> = txn_parts.iter().map(|_| 0).collect();
        let mut take = |at: usize| {
            next[at] += 1;
            txn_parts[at].nth(next[at] - 1)
        };
        for piece in &self.commands {
            match piece {
                Piece::Whole(at) => append_reply(answer, take(usize::from(*at))),
                Piece::Split(merge, owners) => {
                    let mut parts: SmallVec<[&[u8]; 8]> =
                        txn_parts.iter().map(|_| &[][..]).collect();
                    for &owner in owners {
                        let part = &mut parts[usize::from(owner)];
                        if part.is_empty() {
                            *part = take(usize::from(owner));
                        }
                    }
                    write_merged(*merge, &mut parts, owners, self.protocol, answer);
                }
            }
        }
    }
}

/// Writes one reply from those of the parts; who has none is not one.
fn write_merged(
    merge: Merge,
    parts: &mut [&[u8]],
    owners: &[u8],
    protocol: Protocol,
    answer: &mut Vec<u8>,
) {
    if let Some(error) = parts.iter().find(|reply| reply.first() == Some(&b'-')) {
        answer.extend_from_slice(error);
        return;
    }
    let mut reply = Reply::new(answer, protocol);
    let start = reply.position();
    match merge {
        Merge::Ok => reply.ok(),
        Merge::Sum | Merge::Present => {
            let parts = parts.iter().filter(|part| !part.is_empty());
            reply.integer(parts.map(|part| integer(part)).sum());
        }
        Merge::Array => {
            // Their elements go back into the order of the keys.
            for part in parts.iter_mut() {
                let header = part.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
                *part = &part[header..];
            }
            reply.array(owners.len());
            for &owner in owners {
                let rest = &mut parts[usize::from(owner)];
                let len = scalar_bytes(rest)
                    .expect("a part replies with an element for each of its keys");
                reply.raw(&rest[..len]);
                *rest = &rest[len..];
            }
        }
    }
    reply.replace_cut(start);
}

fn integer(reply: &[u8]) -> i64 {
    let digits = &reply[1..reply.len() - 2];
    basalt_resp::parse_i64(digits).expect("a part of a sum replies with an integer")
}
