//! Split: a command whose keys are on several shards and need nothing of each other (MGET, MSET, DEL …).
//!
//! Every shard gets the command with its own keys; what they reply becomes one reply.

use basalt_commands::{Call, Command, Merge, ShardFn};
use basalt_keyspace::{DatabaseId, ShardId, SlotId};
use basalt_resp::{Protocol, Reply, decode};

use crate::coordinate::{Answer, Hops};
use crate::session::SessionId;
use crate::shard::Shard;

/// A command taken apart by shards.
pub(crate) struct Split {
    run: ShardFn,
    /// `None` where there is one part, whose reply is the reply.
    merge: Option<Merge>,
    parts: Vec<Part>,
    key_count: usize,
    manner: Manner,
}

/// How a session's commands run, on whichever shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub database: DatabaseId,
    pub protocol: Protocol,
    /// Whether reads count as uses.
    pub touches: bool,
}

/// What one shard gets.
struct Part {
    shard: ShardId,
    args: Vec<Vec<u8>>,
    key_at: usize,
    /// Which of the whole command's keys these are.
    keys: Vec<usize>,
}

impl Split {
    pub(crate) fn new(
        command: &'static Command,
        run: ShardFn,
        merge: Merge,
        args: &[&[u8]],
        shard: &Shard,
        session: SessionId,
    ) -> Self {
        let spec = command.keys.first().expect("a command that is split has keys");
        let (first, step) = (spec.first as usize, spec.step as usize);
        let mut parts: Vec<Part> = Vec::new();
        let groups = args[first..].chunks_exact(step);
        let key_count = groups.len();
        for (index, group) in groups.enumerate() {
            let owner = shard.routes.shard(SlotId::of_key(group[0]));
            let at = parts.iter().position(|part| part.shard == owner).unwrap_or_else(|| {
                let args = args[..first].iter().map(|arg| arg.to_vec()).collect();
                parts.push(Part { shard: owner, args, key_at: first, keys: Vec::new() });
                parts.len() - 1
            });
            parts[at].args.extend(group.iter().map(|arg| arg.to_vec()));
            parts[at].keys.push(index);
        }
        let manner = Manner::of(shard, session, command);
        Self { run, merge: Some(merge), parts, key_count, manner }
    }

    /// The whole command on one shard.
    pub(crate) fn whole(
        (command, run): (&'static Command, ShardFn),
        args: &[&[u8]],
        (key_at, to): (usize, ShardId),
        shard: &Shard,
        session: SessionId,
    ) -> Self {
        let args = args.iter().map(|arg| arg.to_vec()).collect();
        let manner = Manner::of(shard, session, command);
        let parts = vec![Part { shard: to, args, key_at, keys: vec![0] }];
        Self { run, merge: None, parts, key_count: 1, manner }
    }

    pub(crate) async fn run(self, hops: Hops) -> Answer {
        let Self { run, merge, parts, key_count, manner } = self;
        let protocol = manner.protocol;
        let mut keys = Vec::with_capacity(parts.len());
        let asked: Vec<_> = parts
            .into_iter()
            .map(|Part { shard, args, key_at, keys: own }| {
                keys.push(own);
                let hop = move |shard: &mut Shard| run_owned(shard, run, &args, key_at, manner);
                (shard, hop)
            })
            .collect();
        let mut replies = hops.on_each(asked).await;
        if let Some(error) = replies.iter().position(|reply| reply.first() == Some(&b'-')) {
            return replies.swap_remove(error);
        }
        match merge {
            None | Some(Merge::Ok) => replies.swap_remove(0),
            Some(Merge::Sum) => {
                let mut answer = Vec::new();
                Reply::new(&mut answer, protocol).integer(replies.iter().map(|r| integer(r)).sum());
                answer
            }
            Some(Merge::Array) => weave(&replies, &keys, key_count, protocol),
        }
    }
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

/// Runs a handler on arguments that travelled here; its encoded reply.
pub(crate) fn run_owned(
    shard: &mut Shard,
    run: ShardFn,
    args: &[Vec<u8>],
    key_at: usize,
    manner: Manner,
) -> Vec<u8> {
    let Manner { database, protocol, touches } = manner;
    shard.keyspace.set_touching(touches);
    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    let key = shard.keyspace.key(args[key_at]);
    let mut reply = Vec::new();
    let mut call = Call {
        keyspace: &mut shard.keyspace,
        database,
        args: &args,
        key,
        config: &shard.config,
        reply: Reply::new(&mut reply, protocol),
    };
    if let Err(error) = run(&mut call) {
        call.reply.error_bytes(error.as_bytes());
    }
    shard.keyspace.set_touching(true);
    shard.stats.commands_from_others += 1;
    reply
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
