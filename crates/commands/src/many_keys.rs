//! Commands over several keys: what they read, decide and write, wherever their keys are.
//!
//! ```text
//! all keys on one shard    whole: one plain call, which borrows what the keys hold
//! over shards              check ─► read (on each key's shard) ─► decide (at home) ─► writes (on each shard)
//! ```
//!
//! Nothing of others comes between the first read and the last write: the engine sees to that. Everything
//! that travels is owned. A command that reads its keys in an order, or keys named after what others hold, does so
//! in [`rounds`] between the read and the decision.
//!
//! Not here: routing, waiting (`engine`).

mod first;
mod rounds;

use std::any::Any;
use std::collections::{BTreeMap, HashMap};

use basalt_keyspace::{DatabaseId, DetachedValue, EntryRef, Key, Keyspace, Kind, event};
use basalt_resp::{Protocol, Reply};
use smallvec::SmallVec;

use crate::call::{Call, Outcome, ShardFn};
use crate::command::Command;
use crate::config::Config;
use crate::error::CommandError;
pub(crate) use first::{First, TakesFirst};
pub(crate) use rounds::InRounds;
pub use rounds::{KeysHere, Request, Round, RoundKey, Rounds, State};

/// What a command depends on besides its arguments and the data.
#[derive(Clone, Copy)]
pub struct Settings<'a> {
    /// The session's database.
    pub database: DatabaseId,
    pub database_count: usize,
    pub now_ms: u64,
    pub protocol: Protocol,
    pub config: &'a Config,
}

/// One key of a command, on its shard.
pub struct KeyRead<'a> {
    pub keyspace: &'a mut Keyspace,
    pub database: DatabaseId,
    pub key: Key<'a>,
    /// Which of the command's keys it is, in the order of [`key_positions`].
    pub index: usize,
    pub args: &'a [&'a [u8]],
    pub settings: Settings<'a>,
    pub remembered: &'a Remembered,
    /// What reads of the same key leave for those after them; only if the command names keys more than once.
    pub left: Option<&'a mut Left>,
}

/// What reads of a key leave for further reads of it by the same command.
pub type Left = Option<Box<dyn Any>>;

/// Where reads of keys leave something for further reads of the same keys; nowhere if each key is named once.
pub struct Repeats {
    firsts: SmallVec<[usize; 8]>,
    left: Vec<Left>,
}

impl Repeats {
    pub fn of(names: &[&[u8]]) -> Self {
        let firsts = first_mentions(names);
        let is_repeated = firsts.iter().enumerate().any(|(at, first)| *first < at);
        let left = if is_repeated { names.iter().map(|_| None).collect() } else { Vec::new() };
        Self { firsts, left }
    }

    /// That of the `at`th name.
    pub fn left_for(&mut self, at: usize) -> Option<&mut Left> {
        self.left.get_mut(self.firsts[at])
    }
}

impl KeyRead<'_> {
    /// What the key holds, counted as a hit or a miss and as a use.
    pub(crate) fn entry(&mut self) -> Option<EntryRef<'_>> {
        self.keyspace.read(self.database, &self.key)
    }

    /// What the key holds, without a trace of the look.
    pub fn peek(&self) -> Option<EntryRef<'_>> {
        self.keyspace.peek(self.database, &self.key)
    }
}

/// A change of one key, on its shard; it ends in effects like any other.
pub type Write = Box<dyn FnOnce(&mut Keyspace, DatabaseId, &Key<'_>) + Send>;

/// A value that goes from one key to another, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The index of the key that holds it.
    pub from: usize,
    pub to: usize,
    /// A copy of it goes; else the first key holds nothing afterwards.
    pub is_copy: bool,
}

impl Move {
    /// Takes the value, or a copy of it, from its key; only on the key's shard.
    pub fn take(
        self,
        keyspace: &mut Keyspace,
        (database, key): (DatabaseId, &Key<'_>),
    ) -> Option<DetachedValue> {
        if self.is_copy {
            keyspace.copy_value(database, key)
        } else {
            keyspace.take_value(database, key, event::RENAME_FROM)
        }
    }

    /// Has the other key hold it; only on that key's shard.
    pub fn put(
        self,
        keyspace: &mut Keyspace,
        (database, key): (DatabaseId, &Key<'_>),
        value: DetachedValue,
    ) {
        let event = if self.is_copy { event::COPY_TO } else { event::RENAME_TO };
        keyspace.put_value(database, key, value, event);
    }
}

/// Where a command decides, after all its keys were read: it writes the reply and the changes of its keys.
pub struct Decision<'a, 'r> {
    pub args: &'a [&'a [u8]],
    /// The names of the keys, in the order of [`key_positions`].
    pub keys: &'a [&'a [u8]],
    pub settings: Settings<'a>,
    pub reply: &'a mut Reply<'r>,
    pub remembered: Remembered,
    writes: Vec<(usize, Write)>,
    moved: Option<Move>,
}

/// What a decision leaves besides its reply.
#[derive(Default)]
pub struct Decided {
    /// Each with the index of the key that it changes, in their order.
    pub writes: Vec<(usize, Write)>,
    /// Done before the writes.
    pub moved: Option<Move>,
    /// For the next attempt, if there is no reply.
    pub remembered: Remembered,
}

impl<'a, 'r> Decision<'a, 'r> {
    pub fn new(
        (args, keys): (&'a [&'a [u8]], &'a [&'a [u8]]),
        settings: Settings<'a>,
        reply: &'a mut Reply<'r>,
    ) -> Self {
        let (remembered, writes, moved) = (Remembered::default(), Vec::new(), None);
        Self { args, keys, settings, reply, remembered, writes, moved }
    }

    /// Changes a key. Writes of one shard run in the order in which they were decided.
    pub fn write(
        &mut self,
        index: usize,
        write: impl FnOnce(&mut Keyspace, DatabaseId, &Key<'_>) + Send + 'static,
    ) {
        self.writes.push((index, Box::new(write)));
    }

    /// Has a value go from one key to another before anything is written.
    pub(crate) fn move_value(&mut self, from: usize, to: usize) {
        self.moved = Some(Move { from, to, is_copy: false });
    }

    /// Has a copy of a value go from one key to another before anything is written.
    pub(crate) fn copy_value(&mut self, from: usize, to: usize) {
        self.moved = Some(Move { from, to, is_copy: true });
    }

    pub fn into_decided(self) -> Decided {
        let Self { writes, moved, remembered, .. } = self;
        Decided { writes, moved, remembered }
    }
}

/// A command over several keys, as its family writes it.
pub(crate) trait OverKeys {
    /// What reading a key finds, as it travels to where the command is decided.
    type Found: Send + 'static;

    /// Refuses wrong arguments, before any key is read. By default there are none that could be wrong.
    fn check(args: &[&[u8]], settings: &Settings<'_>) -> Outcome {
        no_check(args, settings)
    }

    /// The database of a key, whose arguments are right: nearly always the session's.
    fn database_of(_args: &[&[u8]], _index: usize, settings: &Settings<'_>) -> DatabaseId {
        settings.database
    }

    /// Reads a key on its shard. Changes nothing, for it may have to be repeated.
    fn read(key: KeyRead<'_>) -> Self::Found;

    /// Decides, with what was found in the order of the keys. A command that blocks leaves no reply where it
    /// has to wait; a refusal writes nothing.
    fn decide(found: Vec<Self::Found>, decision: &mut Decision<'_, '_>) -> Outcome;
}

/// What a command waits for, and who is served of those that wait for the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WaitsFor {
    /// A value of this kind, which is taken away: one after the other.
    Value(Kind),
    /// Entries of a stream, which stay: all.
    Entries,
    /// Entries that a group has not got, or its end, whatever the key holds then: one after the other.
    Group(Vec<u8>),
}

/// What a command that waits remembers from one attempt to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// What an argument of a key has meant since the first attempt (`$` of XREAD), by the index of the key.
    pub meanings: BTreeMap<usize, Vec<u8>>,
    /// An attempt was in vain.
    pub was_in_vain: bool,
    /// After so many milliseconds it is worth another attempt, even if no key got anything.
    pub retry_in_ms: Option<u64>,
}

/// For what, and how long, a command waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// How many of its keys it waits for, from the first on.
    pub key_count: usize,
    /// Of any of them.
    pub waits_for: WaitsFor,
    /// How much of it there must be.
    pub least: u64,
    /// `None`: forever.
    pub timeout_ms: Option<u64>,
}

/// How a command blocks.
#[derive(Clone, Copy, Debug)]
pub struct Blocking {
    /// What it waits for with these arguments, which are right; `None` if it doesn't wait.
    pub wait: fn(&[&[u8]], &Settings<'_>) -> Option<Wait>,
    /// What it replies instead of waiting, within a transaction.
    pub nothing: fn(&mut Reply<'_>),
}

type Found = Box<dyn Any + Send>;

/// A command over several keys, as its row holds it.
#[derive(Clone, Copy, Debug)]
pub struct ManyKeys {
    /// All of it, where all keys are on one shard. A command that blocks leaves no reply where it would wait.
    pub whole: ShardFn,
    pub check: fn(&[&[u8]], &Settings<'_>) -> Outcome,
    pub database_of: fn(&[&[u8]], usize, &Settings<'_>) -> DatabaseId,
    pub read: fn(KeyRead<'_>) -> Found,
    pub rounds: Rounds,
    pub blocking: Option<Blocking>,
}

impl ManyKeys {
    /// A command that is wholly described by its parts.
    pub(crate) const fn of<T: OverKeys>() -> Self {
        Self {
            whole: whole::<T>,
            check: T::check,
            database_of: T::database_of,
            read: |key| Box::new(T::read(key)),
            rounds: Rounds::none::<T>(),
            blocking: None,
        }
    }

    /// A command that reads its keys in rounds.
    pub(crate) const fn in_rounds<T: InRounds>() -> Self {
        Self {
            whole: rounds::whole::<T>,
            check: T::check,
            database_of: |_, _, settings| settings.database,
            read: |key| Box::new(T::read(key)),
            rounds: Rounds::of::<T>(),
            blocking: None,
        }
    }

    /// The same, with a function of its own for one shard, where nothing need be copied.
    pub(crate) const fn with_whole(self, whole: ShardFn) -> Self {
        Self { whole, ..self }
    }

    pub(crate) const fn blocking(self, blocking: Blocking) -> Self {
        Self { blocking: Some(blocking), ..self }
    }

    /// Whether it reads keys that are not among these arguments.
    pub fn reads_all(&self, args: &[&[u8]]) -> bool {
        (self.rounds.reads_all)(args)
    }
}

/// The positions of all keys among the arguments, in the order of the row's specifications.
pub fn key_positions(command: &Command, args: &[&[u8]]) -> SmallVec<[usize; 8]> {
    command.keys.iter().flat_map(|spec| spec.positions(args)).collect()
}

/// All of a command on one shard, by its parts.
fn whole<T: OverKeys>(call: &mut Call<'_>) -> Outcome {
    let settings = call.settings();
    T::check(call.args, &settings)?;
    let positions = key_positions(call.command, call.args);
    let keys: SmallVec<[&[u8]; 8]> = positions.iter().map(|at| call.args[*at]).collect();
    let place = |index: usize, keyspace: &Keyspace| {
        let bytes: &[u8] = keys[index];
        let key = if index == 0 { call.key } else { keyspace.key(bytes) };
        (T::database_of(call.args, index, &settings), key)
    };
    let mut found = Vec::with_capacity(keys.len());
    let remembered = &Remembered::default();
    let mut repeats = Repeats::of(&keys);
    for index in 0..keys.len() {
        let (database, key) = place(index, call.keyspace);
        found.push(T::read(KeyRead {
            keyspace: &mut *call.keyspace,
            database,
            key,
            index,
            args: call.args,
            settings,
            remembered,
            left: repeats.left_for(index),
        }));
    }
    let reply = &mut call.reply;
    let mut decision = Decision::new((call.args, &keys), settings, reply);
    T::decide(found, &mut decision)?;
    let Decided { writes, moved, .. } = decision.into_decided();
    if let Some(moved) = moved {
        let [(from_id, from), (to_id, to)] =
            [moved.from, moved.to].map(|index| place(index, call.keyspace));
        if let Some(value) = moved.take(call.keyspace, (from_id, &from)) {
            moved.put(call.keyspace, (to_id, &to), value);
        }
    }
    for (index, write) in writes {
        let (database, key) = place(index, call.keyspace);
        write(call.keyspace, database, &key);
    }
    Ok(())
}

/// Refuses nothing: only reading the keys finds out what is wrong.
fn no_check(_: &[&[u8]], _: &Settings<'_>) -> Result<(), CommandError> {
    Ok(())
}

/// For each of the names, the index of the first that is the same.
pub(crate) fn first_mentions(names: &[&[u8]]) -> SmallVec<[usize; 8]> {
    if names.len() <= 8 {
        let first = |name| names.iter().position(|other| other == name).expect("it is one of them");
        return names.iter().map(first).collect();
    }
    let mut places = HashMap::with_capacity(names.len());
    names.iter().enumerate().map(|(at, name)| *places.entry(*name).or_insert(at)).collect()
}
