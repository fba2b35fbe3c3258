//! Rounds: a command that reads its keys one after the other, or keys that it learns of only by reading others.
//!
//! ```text
//! read (on each key's shard) ─► begin ─► next ─► visit (on a shard) ─► … ─► next: no more ─► decide ─► writes
//! ```
//!
//! Its state travels from shard to shard and reads there what the keys hold, where it lies: only what the state
//! keeps is copied.

use std::any::Any;

use basalt_keyspace::{DatabaseId, EntryRef, Key, Keyspace};

use super::{Decision, Found, KeyRead, OverKeys, Remembered, Settings, key_positions, no_check};
use crate::call::{Call, Outcome};
use crate::error::CommandError;

/// A command's arguments, the names of its keys in their order, and its settings.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub args: &'a [&'a [u8]],
    pub keys: &'a [&'a [u8]],
    pub settings: Settings<'a>,
}

/// A key that a round reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoundKey {
    /// One of the command's keys, by its index.
    Own(usize),
    /// Any other, in the session's database: only for a command that reads all keys.
    Named(Vec<u8>),
}

/// The keys that are read next.
#[derive(Clone, Debug, Default)]
pub struct Round {
    pub keys: Vec<RoundKey>,
    /// They are read in this order. Otherwise those of a shard are read together: the shard of the first key comes
    /// first.
    pub is_ordered: bool,
}

/// Some keys of a round, on their shard.
pub struct KeysHere<'a> {
    pub keyspace: &'a mut Keyspace,
    pub database: DatabaseId,
    /// Each with its position in the round.
    pub keys: &'a [(usize, Key<'a>)],
    /// They are the last of the round.
    pub is_last: bool,
    pub request: Request<'a>,
}

impl KeysHere<'_> {
    /// What the keys hold, in their order, without a trace of the look.
    pub(crate) fn peek(&self) -> Vec<Option<EntryRef<'_>>> {
        self.keys.iter().map(|(_, key)| self.keyspace.peek(self.database, key)).collect()
    }
}

/// A command over several keys that reads them in rounds.
pub(crate) trait InRounds {
    /// What reading a key finds, before the first round: small, for it may have to be repeated.
    type Found: Send + 'static;
    type State: Send + 'static;

    /// Refuses wrong arguments, before any key is read.
    fn check(args: &[&[u8]], settings: &Settings<'_>) -> Outcome {
        no_check(args, settings)
    }

    /// Whether it reads keys that are not among its arguments.
    fn reads_all(_args: &[&[u8]]) -> bool {
        false
    }

    /// Reads a key on its shard. Changes nothing.
    fn read(key: KeyRead<'_>) -> Self::Found;

    /// The state, from what was found in the order of the keys.
    fn begin(found: Vec<Self::Found>, request: Request<'_>) -> Result<Self::State, CommandError>;

    /// The keys to read next; none: it decides.
    fn next(state: &mut Self::State, request: Request<'_>) -> Result<Option<Round>, CommandError>;

    /// Reads some keys of a round where they are. Returns whether the other keys of the round must be read.
    fn visit(state: &mut Self::State, here: KeysHere<'_>) -> Result<bool, CommandError>;

    /// Decides; a refusal writes nothing.
    fn decide(state: Self::State, decision: &mut Decision<'_, '_>) -> Outcome;
}

/// What a command has read, as it travels.
pub type State = Box<dyn Any + Send>;

/// The functions of [`InRounds`], as a row holds them.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    pub reads_all: fn(&[&[u8]]) -> bool,
    pub begin: fn(Vec<Found>, Request<'_>) -> Result<State, CommandError>,
    pub next: fn(&mut State, Request<'_>) -> Result<Option<Round>, CommandError>,
    pub visit: fn(&mut State, KeysHere<'_>) -> Result<bool, CommandError>,
    /// All rounds, where all keys are on one shard.
    pub through: fn(&mut State, Request<'_>, &mut Keyspace) -> Outcome,
    pub decide: fn(State, &mut Decision<'_, '_>) -> Outcome,
}

impl Rounds {
    /// Of a command that decides with what the first look at its keys found.
    pub(super) const fn none<T: OverKeys>() -> Self {
        Self {
            reads_all: |_| false,
            begin: |found, _| Ok(Box::new(downcast_all::<T::Found>(found))),
            next: |_, _| Ok(None),
            visit: |_, _| Ok(false),
            through: |_, _, _| Ok(()),
            decide: |state, decision| {
                T::decide(*state.downcast().expect("its own state"), decision)
            },
        }
    }

    pub(super) const fn of<T: InRounds>() -> Self {
        Self {
            reads_all: T::reads_all,
            begin: |found, request| Ok(Box::new(T::begin(downcast_all(found), request)?)),
            next: |state, request| T::next(own::<T>(state), request),
            visit: |state, here| T::visit(own::<T>(state), here),
            through: |state, request, keyspace| through::<T>(own::<T>(state), request, keyspace),
            decide: |state, decision| {
                T::decide(*state.downcast().expect("its own state"), decision)
            },
        }
    }
}

fn downcast_all<T: 'static>(found: Vec<Found>) -> Vec<T> {
    let downcast = |found: Found| *found.downcast().expect("what its own read found");
    found.into_iter().map(downcast).collect()
}

fn own<T: InRounds>(state: &mut State) -> &mut T::State {
    state.downcast_mut().expect("its own state")
}

/// All of a command on one shard, by its rounds.
pub(super) fn whole<T: InRounds>(call: &mut Call<'_>) -> Outcome {
    let settings = call.settings();
    T::check(call.args, &settings)?;
    let positions = key_positions(call.command, call.args);
    let names: Vec<&[u8]> = positions.iter().map(|at| call.args[*at]).collect();
    let request = Request { args: call.args, keys: &names, settings };
    let database = call.database;
    let mut found = Vec::with_capacity(names.len());
    let remembered = &Remembered::default();
    for (index, name) in names.iter().enumerate() {
        let key = if index == 0 { call.key } else { call.keyspace.key(name) };
        found.push(T::read(KeyRead {
            keyspace: &mut *call.keyspace,
            database,
            key,
            index,
            args: call.args,
            settings,
            remembered,
            left: None,
        }));
    }
    let mut state = T::begin(found, request)?;
    through::<T>(&mut state, request, call.keyspace)?;
    let mut decision = Decision::new((call.args, &names), settings, &mut call.reply);
    T::decide(state, &mut decision)?;
    let decided = decision.into_decided();
    for (index, write) in decided.writes {
        let key = call.keyspace.key(names[index]);
        write(call.keyspace, database, &key);
    }
    Ok(())
}

/// Reads all rounds, where all keys are on this shard.
fn through<T: InRounds>(
    state: &mut T::State,
    request: Request<'_>,
    keyspace: &mut Keyspace,
) -> Outcome {
    while let Some(round) = T::next(state, request)? {
        let keys = round.keys.iter().enumerate().map(|(position, key)| {
            let name = match key {
                RoundKey::Own(index) => request.keys[*index],
                RoundKey::Named(name) => name,
            };
            (position, keyspace.key(name))
        });
        let keys: Vec<(usize, Key<'_>)> = keys.collect();
        let (database, keyspace) = (request.settings.database, &mut *keyspace);
        T::visit(state, KeysHere { keyspace, database, keys: &keys, is_last: true, request })?;
    }
    Ok(())
}
