//! Split: a command whose keys are on several shards and need nothing of each other (MGET, MSET, DEL …).
//!
//! Every shard gets the command with its own keys; what they reply becomes one reply. Reads are what the
//! transaction looks at, writes are the last that it does.

use basalt_commands::{Command, Merge, ShardFn};
use basalt_keyspace::{ShardId, SlotId};
use basalt_resp::{Protocol, Reply, decode};

use crate::coordinate::{Answer, Hops};
use crate::perform::{Manner, OwnedTask, mode_of};
use crate::shard::Shard;
use crate::transaction::{Intent, Mode, Scope};

/// A command taken apart by shards.
pub(crate) struct Split {
    merge: Merge,
    mode: Mode,
    parts: Vec<Part>,
    /// The keys of parts that were taken.
    keys: Vec<Vec<usize>>,
    key_count: usize,
    manner: Manner,
}

/// What a shard looks at.
enum Look {
    Perform(OwnedTask),
    /// How many of these keys hold something.
    Count(Manner, Vec<Vec<u8>>),
    Nothing,
}

/// What one shard gets.
struct Part {
    shard: ShardId,
    scope: Scope,
    task: OwnedTask,
    /// Which of the whole command's keys these are.
    keys: Vec<usize>,
}

/// A part while the keys are handed out.
struct Gathered<'a> {
    owner: ShardId,
    args: Vec<&'a [u8]>,
    keys: Vec<usize>,
    places: Vec<(SlotId, u64)>,
}

impl<'a> Gathered<'a> {
    fn new(owner: ShardId, before_keys: &[&'a [u8]]) -> Self {
        Self { owner, args: before_keys.to_vec(), keys: Vec::new(), places: Vec::new() }
    }
}

impl Split {
    pub(crate) fn new(
        command: &'static Command,
        run: ShardFn,
        merge: Merge,
        args: &[&[u8]],
        shard: &Shard,
        manner: Manner,
    ) -> Self {
        let spec = command.keys.first().expect("a command that is split has keys");
        let (first, step) = (spec.first as usize, spec.step as usize);
        let mode = mode_of(command);
        let mut gathered: Vec<Gathered<'_>> = Vec::new();
        let groups = args[first..].chunks_exact(step);
        let key_count = groups.len();
        for (index, group) in groups.enumerate() {
            let key = shard.keyspace.key(group[0]);
            let owner = shard.routes.shard(key.slot);
            let at = gathered.iter().position(|part| part.owner == owner).unwrap_or_else(|| {
                gathered.push(Gathered::new(owner, &args[..first]));
                gathered.len() - 1
            });
            let part = &mut gathered[at];
            part.args.extend(group);
            part.keys.push(index);
            part.places.push((key.slot, key.hash));
        }
        let parts = gathered.into_iter().map(|Gathered { owner, args, keys, places }| Part {
            shard: owner,
            scope: Scope::keys(places.iter().map(|&(_, hash)| Intent { hash, mode }).collect()),
            task: OwnedTask::new(run, &args, first, manner).with_places(places),
            keys,
        });
        let parts = parts.collect();
        Self { merge, mode, parts, keys: Vec::new(), key_count, manner }
    }

    pub(crate) async fn run(self, hops: Hops) -> Answer {
        let Self { merge, mode, parts, key_count, manner, .. } = self;
        let protocol = manner.protocol;
        let mut keys = Vec::with_capacity(parts.len());
        let mut visits = Vec::with_capacity(parts.len());
        let mut writes = Vec::new();
        for Part { shard, scope, task, keys: own } in parts {
            keys.push(own);
            if mode == Mode::Read {
                visits.push((shard, scope, Look::Perform(task)));
            } else {
                let counts = merge == Merge::Present;
                visits.push((
                    shard,
                    scope,
                    if counts { Look::Count(manner, task.keys()) } else { Look::Nothing },
                ));
                writes.push((shard, task));
            }
        }
        let visits = visits.into_iter().map(|(shard, scope, task)| {
            let look = move |shard: &mut Shard| match &task {
                Look::Perform(task) => task.perform(shard),
                Look::Count(manner, keys) => present_among(shard, *manner, keys),
                Look::Nothing => Vec::new(),
            };
            (shard, scope, look)
        });
        let found = hops.hold(visits.collect::<Vec<_>>()).await;
        let replies = match (mode, merge) {
            (Mode::Read, _) => found,
            (Mode::Write, Merge::Ok | Merge::Present) => {
                // What they will say is known, and nobody sees them before they did.
                hops.release(writes.into_iter().map(|(shard, task)| {
                    (shard, move |shard: &mut Shard| drop(task.perform(shard)))
                }));
                if merge == Merge::Present { found } else { vec![b"+OK\r\n".to_vec()] }
            }
            (Mode::Write, _) => {
                let writes = writes
                    .into_iter()
                    .map(|(shard, task)| (shard, move |shard: &mut Shard| task.perform(shard)));
                hops.release_with(writes.collect::<Vec<_>>()).await
            }
        };
        merge_replies(merge, replies, &keys, key_count, protocol)
    }

    /// The parts, for those who run them by themselves; in the order of shards.
    pub(crate) fn take_tasks(&mut self) -> Vec<(ShardId, OwnedTask)> {
        self.parts.sort_unstable_by_key(|part| part.shard);
        let parts = std::mem::take(&mut self.parts).into_iter();
        parts
            .map(|Part { shard, task, keys, .. }| {
                self.keys.push(keys);
                (shard, task)
            })
            .collect()
    }

    /// One reply from those to the tasks that were taken.
    pub(crate) fn merge(self, replies: Vec<Vec<u8>>) -> Answer {
        merge_replies(self.merge, replies, &self.keys, self.key_count, self.manner.protocol)
    }
}

fn present_among(shard: &Shard, manner: Manner, keys: &[Vec<u8>]) -> Vec<u8> {
    let is_there = |name: &&Vec<u8>| {
        let key = shard.keyspace.key(name);
        shard.keyspace.peek(manner.database, &key).is_some()
    };
    let mut answer = Vec::new();
    let count = keys.iter().filter(is_there).count();
    Reply::new(&mut answer, manner.protocol).integer(count as i64);
    answer
}

fn merge_replies(
    merge: Merge,
    mut replies: Vec<Vec<u8>>,
    keys: &[Vec<usize>],
    key_count: usize,
    protocol: Protocol,
) -> Answer {
    if let Some(error) = replies.iter().position(|reply| reply.first() == Some(&b'-')) {
        return replies.swap_remove(error);
    }
    match merge {
        Merge::Ok => replies.swap_remove(0),
        Merge::Sum | Merge::Present => {
            let mut answer = Vec::new();
            Reply::new(&mut answer, protocol).integer(replies.iter().map(|r| integer(r)).sum());
            answer
        }
        Merge::Array => weave(&replies, keys, key_count, protocol),
    }
}

fn integer(reply: &[u8]) -> i64 {
    let digits = &reply[1..reply.len() - 2];
    basalt_resp::parse_i64(digits).expect("a part of a sum replies with an integer")
}

/// Puts the elements of the parts' arrays back into the order of the keys.
fn weave(
    replies: &[Vec<u8>],
    keys: &[Vec<usize>],
    key_count: usize,
    protocol: Protocol,
) -> Vec<u8> {
    let mut elements: Vec<&[u8]> = vec![&[]; key_count];
    for (reply, keys) in replies.iter().zip(keys) {
        let header = reply.iter().position(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let mut rest = &reply[header..];
        for &key in keys {
            let (_, len) = decode(rest)
                .ok()
                .flatten()
                .expect("a part replies with an element for each of its keys");
            elements[key] = &rest[..len];
            rest = &rest[len..];
        }
    }
    let mut answer = Vec::new();
    let mut reply = Reply::new(&mut answer, protocol);
    reply.array(key_count);
    for element in elements {
        reply.raw(element);
    }
    answer
}
