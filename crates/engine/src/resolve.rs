//! Resolve: what a parsed request is, and where it goes.

use basalt_commands::{Command, CommandError, Run, table};
use basalt_keyspace::{DatabaseId, KeyHasher, ShardId, SlotId};

use crate::core::KeyHash;
use crate::routes::Routes;

/// A request that names a command rightly.
#[derive(Clone, Copy)]
pub(crate) struct Resolved {
    pub command: &'static Command,
    /// The shard of all its keys, if it has keys and they are on one.
    pub shard: Option<ShardId>,
    /// Where its first key stands among the arguments.
    pub key_at: u16,
}

/// The name that was found last, and its row: most requests of a stage name the same command.
#[derive(Clone, Copy, Default)]
pub(crate) struct LastFound<'a>(Option<(&'a [u8], &'static Command)>);

impl<'a> LastFound<'a> {
    #[inline]
    fn find(&mut self, name: &'a [u8]) -> Option<&'static Command> {
        if let Some((last, command)) = self.0
            && last.len() == name.len()
            && last.iter().zip(name).all(|(a, b)| a == b)
        {
            return Some(command);
        }
        let command = table::find(name)?;
        self.0 = Some((name, command));
        Some(command)
    }
}

/// Finds the row of a request, checks the number of arguments, and works out hash and slot of the keys
/// by which it is routed.
#[inline]
pub(crate) fn resolve<'a>(
    args: &[&'a [u8]],
    last_found: &mut LastFound<'a>,
    database: DatabaseId,
    (routes, hasher): (&Routes, &KeyHasher),
    keys: &mut Vec<KeyHash>,
) -> Result<Resolved, CommandError> {
    let Some(mut command) = last_found.find(args[0]) else { return Err(table::unknown(args)) };
    if !command.subcommands.is_empty() && args.len() > 1 {
        match table::find_subcommand(command, args[1]) {
            Some(subcommand) => command = subcommand,
            None => return Err(table::unknown_subcommand(command, args[1])),
        }
    }
    if !command.takes(args.len()) {
        return Err(CommandError::wrong_arity(command.name));
    }
    let mut resolved = Resolved { command, shard: None, key_at: 0 };
    let spec = match (&command.run, command.keys.first()) {
        (Run::Shard(_) | Run::Split(..), Some(spec)) => spec,
        (Run::Alone(..), Some(spec)) if args.len() == command.arity_min() => spec,
        _ => return Ok(resolved),
    };
    resolved.key_at = spec.first as u16;
    let first = usize::from(resolved.key_at);
    let mut add = |bytes: &[u8]| {
        let slot = SlotId::of_key(bytes);
        let shard = routes.shard(slot);
        keys.push(KeyHash { hash: hasher.hash(bytes), slot, shard, database });
        shard
    };
    let mut shard = Some(add(args[first]));
    if let Run::Split(..) = command.run {
        let step = spec.step as usize;
        for key in args[first..].iter().step_by(step).skip(1) {
            let other = add(key);
            if shard != Some(other) {
                shard = None;
            }
        }
    }
    resolved.shard = shard;
    Ok(resolved)
}

/// Whether a request is a line of HTTP: what a browser sends that was made to talk to this port. Nothing of
/// what follows may be run.
pub(crate) fn is_from_a_browser(args: &[&[u8]]) -> bool {
    args[0].eq_ignore_ascii_case(b"post") || args[0].eq_ignore_ascii_case(b"host:")
}
