//! Resolve: what a parsed request is, where it goes, and what it touches.

use basalt_commands::{Command, CommandError, Flags, Run, key_positions, table};
use basalt_keyspace::{DatabaseId, KeyHasher, Keyspace, ShardId, SlotId};

use crate::input::keys::KeyHash;
use crate::intents::{Intent, Mode, Scope};
use crate::slots::routes::Routes;

/// A request that names a command rightly.
#[derive(Clone, Copy)]
pub(crate) struct Resolved {
    pub command: &'static Command,
    /// The shard of all its keys, if they are on one and it runs there.
    pub shard: Option<ShardId>,
    /// Where its first key stands among the arguments.
    pub key_at: u16,
}

/// The name that was found last, and its row: most requests of a stage name the same command.
#[derive(Clone, Copy, Default)]
pub(crate) struct LastFound<'a>(Option<Found<'a>>);

#[derive(Clone, Copy)]
struct Found<'a> {
    name: &'a [u8],
    command: &'static Command,
    /// Where its key stands, if it is a command of one shard that is routed by one key; else 0.
    one_key_at: u16,
}

impl<'a> LastFound<'a> {
    #[inline]
    fn find(&mut self, name: &'a [u8]) -> Option<Found<'a>> {
        if let Some(last) = self.0
            && last.name.len() == name.len()
            && last.name.iter().zip(name).all(|(a, b)| a == b)
        {
            return Some(last);
        }
        let command = table::find(name)?;
        let one_key_at = match (&command.run, command.keys.first()) {
            (Run::Shard(_), Some(spec)) if command.subcommands.is_empty() => spec.first as u16,
            _ => 0,
        };
        let found = Found { name, command, one_key_at };
        self.0 = Some(found);
        Some(found)
    }
}

/// By what a request is routed: for a key, its hash and slot, and the shard of that.
struct Router<'a> {
    routes: &'a Routes,
    hasher: &'a KeyHasher,
    database: DatabaseId,
    keys: &'a mut Vec<KeyHash>,
}

impl Router<'_> {
    #[inline(always)]
    fn add(&mut self, key: &[u8]) -> ShardId {
        let slot = SlotId::of_key(key);
        let shard = self.routes.shard(slot);
        let hash = self.hasher.hash(key);
        self.keys.push(KeyHash { hash, slot, shard, database: self.database });
        shard
    }
}

/// Finds the row of a request, checks the number of arguments, and works out hash and slot of all its keys.
// A result that is handed over in memory stalls who reads it, since it is read in other pieces than it
// was written in: 5 ns a request.
#[inline(always)]
pub(crate) fn resolve<'a>(
    args: &[&'a [u8]],
    last_found: &mut LastFound<'a>,
    database: DatabaseId,
    (routes, hasher): (&Routes, &KeyHasher),
    keys: &mut Vec<KeyHash>,
) -> Result<Resolved, CommandError> {
    let Some(found) = last_found.find(args[0]) else { return Err(table::unknown(args)) };
    let mut router = Router { routes, hasher, database, keys };
    let Found { command, one_key_at: key_at, .. } = found;
    if key_at != 0 && command.takes(args.len()) {
        let shard = Some(router.add(args[usize::from(key_at)]));
        return Ok(Resolved { command, shard, key_at });
    }
    resolve_any(args, command, &mut router)
}

#[inline(never)]
fn resolve_any(
    args: &[&[u8]],
    mut command: &'static Command,
    router: &mut Router<'_>,
) -> Result<Resolved, CommandError> {
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
        (_, None) => return Ok(resolved),
        (Run::Shard(_) | Run::Split(..), Some(spec)) => spec,
        (run, Some(_)) => {
            resolve_positions(args, &mut resolved, router);
            if !matches!(run, Run::Many(_)) {
                resolved.shard = None;
            }
            return Ok(resolved);
        }
    };
    resolved.key_at = spec.first as u16;
    let first = usize::from(resolved.key_at);
    let mut shard = Some(router.add(args[first]));
    if let Run::Split(..) = command.run {
        let step = spec.step as usize;
        for key in args[first..].iter().step_by(step).skip(1) {
            let other = router.add(key);
            if shard != Some(other) {
                shard = None;
            }
        }
    }
    resolved.shard = shard;
    Ok(resolved)
}

/// All keys of a command, wherever they stand among its arguments.
fn resolve_positions(args: &[&[u8]], resolved: &mut Resolved, router: &mut Router<'_>) {
    let positions = key_positions(resolved.command, args);
    let mut shards = positions.iter().map(|at| router.add(args[*at]));
    let first = shards.next();
    let is_one = shards.fold(true, |is_one, other| is_one & (Some(other) == first));
    let key_at = u16::try_from(positions.first().copied().unwrap_or(0));
    // Behind very many options it is found again by its parts.
    resolved.shard = first.filter(|_| is_one && key_at.is_ok());
    resolved.key_at = key_at.unwrap_or(0);
}

/// Whether a request is a line of HTTP: what a browser sends that was made to talk to this port. Nothing of
/// what follows may be run.
pub(crate) fn is_from_a_browser(args: &[&[u8]]) -> bool {
    args[0].eq_ignore_ascii_case(b"post") || args[0].eq_ignore_ascii_case(b"host:")
}

/// What a command means to do with its keys, where it does the same with all.
#[inline]
pub(crate) fn mode_of(command: &Command) -> Mode {
    // PFCOUNT has the flag of a command that reads, and remembers its estimate in the key.
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
        let is_read = reads_all || spec.is_read(args);
        let mode = if is_read { Mode::Read } else { Mode::Write };
        for at in spec.positions(args) {
            intents.push(Intent { hash: keyspace.hasher().hash(args[at]), mode });
        }
    }
    Scope::keys(intents)
}
