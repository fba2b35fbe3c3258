//! Many keys: a command over keys of several shards, or one that may have to wait, by its parts
//! ([`ManyKeys`]).

use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_commands::{
    Command, CommandError, Decided as KeyChanges, Decision as OverKeys, KeyRead, KeysHere,
    ManyKeys, Outcome, Remembered, Repeats, Request as KeyRequest, Round, RoundKey, Settings,
    State, key_positions,
};
use basalt_keyspace::{DatabaseId, Key, ShardId, SlotId};
use basalt_resp::{Protocol, Reply};
use smallvec::SmallVec;

use super::transact::{Decided, decided, last_hops, look_at_all, shards_of};
use crate::completion::Answer;
use crate::core::Core;
use crate::input::args::OwnedArgs;
use crate::input::keys::DeclaredKey;
use crate::input::keys::scope_on;
use crate::input::measured::Measured;
use crate::intents::{Mode, Scope};
use crate::limits::LOOK_AGAIN_MS_MIN;
use crate::session::{Session, SessionId};
use crate::shard::Shard;
use crate::shard::call::ReadMode;
use crate::shard::timing::logged_args;
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;

/// A command as it travels.
pub(super) struct Request {
    pub(super) command: &'static Command,
    many: &'static ManyKeys,
    args: OwnedArgs,
    /// Where its keys stand.
    positions: SmallVec<[usize; 8]>,
    database: DatabaseId,
    database_count: usize,
    now_ms: u64,
    pub(super) protocol: Protocol,
    /// Whether its reads count as uses (CLIENT NO-TOUCH).
    touches: bool,
    config: Arc<Config>,
}

pub(super) type Found = Box<dyn std::any::Any + Send>;

impl Request {
    pub(super) fn new(
        shard: &Shard,
        session: &Session,
        (command, many): (&'static Command, &'static ManyKeys),
        args: &[&[u8]],
    ) -> Self {
        Self {
            command,
            many,
            args: OwnedArgs::new(args),
            positions: key_positions(command, args),
            database: session.database,
            database_count: shard.keyspace.database_count(),
            now_ms: shard.keyspace.now_ms(),
            protocol: session.protocol,
            touches: ReadMode::of_session(session).of(command).touches(),
            config: Arc::clone(&shard.config),
        }
    }

    /// Its keys, once its arguments were checked.
    pub(super) fn declare_keys(&self, shard: &Shard) -> Vec<DeclaredKey> {
        let (args, settings) = (self.args.all(), self.settings());
        let place = (&shard.keyspace, &*shard.routes);
        let mut keys = Vec::with_capacity(self.positions.len());
        for spec in self.command.keys {
            let is_written = !spec.is_read(&args);
            for at in spec.positions(&args) {
                let index = keys.len();
                let database = (self.many.database_of)(&args, index, &settings);
                keys.push(DeclaredKey::new(index, (database, args[at]), is_written, place));
            }
        }
        keys
    }

    pub(super) fn check(&self) -> Outcome {
        (self.many.check)(&self.args.all(), &self.settings())
    }

    /// What a session of HOTKEYS needs of it.
    pub(super) fn measured(&self) -> Measured<Vec<u8>> {
        Measured::of(self.command, &self.args.all()).owned()
    }

    /// Its arguments, as the slow log keeps them.
    pub(super) fn logged_args(&self) -> Vec<u8> {
        logged_args(self.command, &self.args.all())
    }

    fn settings(&self) -> Settings<'_> {
        Settings {
            database: self.database,
            database_count: self.database_count,
            now_ms: self.now_ms,
            protocol: self.protocol,
            config: &self.config,
        }
    }

    /// Whether it reads keys that are not among its arguments.
    fn reads_all(&self) -> bool {
        self.many.reads_all(&self.args.all())
    }

    /// Reads keys on their shard. At the first attempt of a command that is no part of a transaction, room is made on
    /// the shards that it writes.
    pub(super) fn read(
        &self,
        shard: &mut Shard,
        keys: &[&DeclaredKey],
        attempted: &Attempted,
    ) -> Vec<Result<Found, CommandError>> {
        if !attempted.is_admitted
            && let Some(key) = keys.iter().find(|key| key.is_written)
            && let Err(error) = shard.check_memory(self.command.flags, key.database)
        {
            return keys.iter().map(|_| Err(error.clone())).collect();
        }
        let (args, settings) = (self.args.all(), self.settings());
        let names: SmallVec<[&[u8]; 8]> = keys.iter().map(|key| &key.bytes[..]).collect();
        let mut repeats = Repeats::of(&names);
        shard.keyspace.set_touching(self.touches);
        let read = |(at, key): (usize, &&DeclaredKey)| {
            Ok((self.many.read)(KeyRead {
                keyspace: &mut shard.keyspace,
                database: key.database,
                key: key.key(),
                index: key.index,
                args: &args,
                settings,
                remembered: &attempted.remembered,
                left: repeats.left_for(at),
            }))
        };
        let found = keys.iter().enumerate().map(read).collect();
        shard.keyspace.set_touching(true);
        found
    }

    /// Runs a function with the arguments and the names of the keys.
    fn with<T>(&self, run: impl FnOnce(KeyRequest<'_>) -> T) -> T {
        let args = self.args.all();
        let keys: SmallVec<[&[u8]; 8]> = self.positions.iter().map(|at| args[*at]).collect();
        run(KeyRequest { args: &args, keys: &keys, settings: self.settings() })
    }

    /// An attempt where all keys are on this shard.
    pub(super) fn attempt_here(
        &self,
        shard: &mut Shard,
        keys: &[DeclaredKey],
        attempted: &mut Attempted,
    ) -> Decided {
        let found = self.read(shard, &keys.iter().collect::<Vec<_>>(), attempted);
        let rounds = self.many.rounds;
        let read_on = |found: Vec<Found>| {
            self.with(|request| {
                let mut state = (rounds.begin)(found, request)?;
                shard.keyspace.set_touching(self.touches);
                let gone_through = (rounds.through)(&mut state, request, &mut shard.keyspace);
                shard.keyspace.set_touching(true);
                gone_through?;
                Ok(state)
            })
        };
        let state = found.into_iter().collect::<Result<_, _>>().and_then(read_on);
        self.decide(state, attempted, shard.now.monotonic_us)
    }

    /// Decides at a moment (monotonic µs). Without a reply the command has to wait.
    pub(super) fn decide(
        &self,
        state: Result<State, CommandError>,
        attempted: &mut Attempted,
        now_us: u64,
    ) -> Decided {
        attempted.is_admitted = true;
        decided(self.protocol, |decision| {
            let state = state?;
            self.with(|KeyRequest { args, keys, settings }| {
                let mut own = OverKeys::new((args, keys), settings, &mut decision.reply);
                own.remembered = std::mem::take(&mut attempted.remembered);
                (self.many.rounds.decide)(state, &mut own)?;
                let KeyChanges { writes, moved, remembered } = own.into_decided();
                attempted.remembered = remembered;
                let in_us = |ms: u64| ms.max(LOOK_AGAIN_MS_MIN).saturating_mul(1000);
                attempted.retry_at_us =
                    attempted.remembered.retry_in_ms.map(|ms| now_us.saturating_add(in_us(ms)));
                if let Some(moved) = moved {
                    decision.move_value(moved);
                }
                for (index, write) in writes {
                    decision.write(index, move |shard, key| {
                        write(&mut shard.keyspace, key.database, &key.key());
                    });
                }
                Ok(())
            })
        })
    }

    /// The same for a command that waits for nothing.
    fn or_nothing(&self, mut decided: Decided) -> Decided {
        if decided.answer.is_empty()
            && let Some(blocking) = self.many.blocking
        {
            (blocking.nothing)(&mut Reply::new(&mut decided.answer, self.protocol));
        }
        decided
    }
}

/// What a command remembers of its attempts, and when (monotonic µs) it is to be tried again.
#[derive(Clone, Default)]
pub(super) struct Attempted {
    remembered: Remembered,
    /// Room was made for it.
    is_admitted: bool,
    pub(super) retry_at_us: Option<u64>,
}

impl Attempted {
    /// Of a command for which the transaction around it has made room.
    fn admitted() -> Self {
        Self { is_admitted: true, ..Self::default() }
    }
}

impl Core {
    /// Runs a command over its keys, wherever they are; one that blocks may wait for them.
    pub(crate) fn run_many(
        &mut self,
        id: SessionId,
        (command, many): (&'static Command, &'static ManyKeys),
        args: &[&[u8]],
    ) -> Outcome {
        self.track_keys(id, command, args);
        let session = self.shard.sessions.get(id).expect("the session asks just now");
        let request = Request::new(&self.shard, session, (command, many), args);
        request.check()?;
        let wait = many.blocking.and_then(|blocking| (blocking.wait)(args, &request.settings()));
        let keys = request.declare_keys(&self.shard);
        let request = Arc::new(request);
        if let Some(wait) = wait {
            self.wait(id, (request, keys), wait);
            return Ok(());
        }
        let keys: Arc<[DeclaredKey]> = keys.into();
        if let [only] = shards_of(&keys)[..]
            && !request.reads_all()
        {
            let scope = scope_on(only, &keys);
            self.run_alone(id, (only, scope), move |shard| {
                let decided = request.attempt_here(shard, &keys, &mut Attempted::default());
                request.or_nothing(decided).carry_out(shard, &keys)
            });
            return Ok(());
        }
        let routes = Arc::clone(&self.shard.routes);
        self.coordinate(id, |hops| async move {
            run_over(&hops, &request, (&keys, &routes), &Attempted::default()).await
        });
        Ok(())
    }
}

/// Runs a command within a transaction that holds its keys: it waits for nothing.
pub(super) async fn run_inside(
    hops: &Hops,
    request: &Arc<Request>,
    keys: Vec<DeclaredKey>,
    routes: &Routes,
) -> Answer {
    if let Err(error) = request.check() {
        let mut answer = Vec::new();
        Reply::new(&mut answer, request.protocol).error_bytes(error.as_bytes());
        return answer;
    }
    run_over(hops, request, (&keys.into(), routes), &Attempted::admitted()).await
}

/// Reads, decides and writes under intents on all keys.
async fn run_over(
    hops: &Hops,
    request: &Arc<Request>,
    (keys, routes): (&Arc<[DeclaredKey]>, &Routes),
    attempted: &Attempted,
) -> Answer {
    let scoped: Vec<(ShardId, Scope)> = match request.reads_all() {
        true => routes.shards().map(|shard| (shard, all_of(shard, keys))).collect(),
        false => shards_of(keys).into_iter().map(|shard| (shard, scope_on(shard, keys))).collect(),
    };
    let shards: Vec<ShardId> = scoped.iter().map(|(shard, _)| *shard).collect();
    let (reader, mut attempted) = (Arc::clone(request), attempted.clone());
    let before = attempted.clone();
    let read = move |shard: &mut Shard, keys: &[&DeclaredKey]| reader.read(shard, keys, &before);
    let found = look_at_all(hops, scoped, keys, read).await;
    let travel = Travel { hops, request, routes, moment_ms: request.now_ms };
    let state = travel.through(found, keys).await;
    let mut decided = request.or_nothing(request.decide(state, &mut attempted, 0));
    decided.fetch_moved(hops, keys).await;
    hops.release(last_hops(decided.writes, &shards, keys));
    decided.answer
}

/// What a command touches of a shard if it reads all keys.
fn all_of(shard: ShardId, keys: &[DeclaredKey]) -> Scope {
    let writes = keys.iter().any(|key| key.shard == shard && key.is_written);
    Scope::Everything(if writes { Mode::Write } else { Mode::Read })
}

/// A shard that is visited, with its keys and their positions in the round.
type Stop = (ShardId, Vec<(usize, Vec<u8>)>);

/// The way of a command's state through its rounds.
pub(super) struct Travel<'a> {
    pub(super) hops: &'a Hops,
    pub(super) request: &'a Arc<Request>,
    pub(super) routes: &'a Routes,
    /// The moment (milliseconds since 1970) at which its keys are read, so that none expires on the way.
    pub(super) moment_ms: u64,
}

impl Travel<'_> {
    /// The state after all rounds.
    pub(super) async fn through(
        &self,
        found: Vec<Result<Found, CommandError>>,
        keys: &[DeclaredKey],
    ) -> Result<State, CommandError> {
        let found = found.into_iter().collect::<Result<_, _>>()?;
        let (rounds, moment_ms) = (self.request.many.rounds, self.moment_ms);
        let is_inside = self.hops.is_inside();
        let mut state = self.request.with(|request| (rounds.begin)(found, request))?;
        while let Some(round) = self.request.with(|request| (rounds.next)(&mut state, request))? {
            let mut stops = self.stops(round, keys).into_iter().peekable();
            while let Some((shard, names)) = stops.next() {
                let (request, is_last) = (Arc::clone(self.request), stops.peek().is_none());
                let visit = move |shard: &mut Shard| {
                    let now_ms = (!is_inside).then(|| shard.keyspace.swap_now(moment_ms));
                    shard.keyspace.set_touching(request.touches);
                    let visited = request.with(|request| {
                        let keyspace = &mut shard.keyspace;
                        let hasher = *keyspace.hasher();
                        let key = |(position, name)| (position, Key::new(name, &hasher));
                        let names = names.iter().map(|(position, name)| (*position, &name[..]));
                        let keys: Vec<(usize, Key<'_>)> = names.map(key).collect();
                        let database = request.settings.database;
                        let keys = &keys;
                        let here = KeysHere { keyspace, database, keys, is_last, request };
                        (rounds.visit)(&mut state, here)
                    });
                    shard.keyspace.set_touching(true);
                    if let Some(now_ms) = now_ms {
                        shard.keyspace.swap_now(now_ms);
                    }
                    (state, visited)
                };
                let (back, visited) = self.hops.on(shard, visit).await;
                state = back;
                if !visited? {
                    break;
                }
            }
        }
        Ok(state)
    }

    /// The shards to visit.
    fn stops(&self, round: Round, keys: &[DeclaredKey]) -> Vec<Stop> {
        let mut stops: Vec<Stop> = Vec::new();
        for (position, key) in round.keys.into_iter().enumerate() {
            let (shard, name) = match key {
                RoundKey::Own(index) => (keys[index].shard, keys[index].bytes.clone()),
                RoundKey::Named(name) => (self.routes.shard(SlotId::of_key(&name)), name),
            };
            let stop = match round.is_ordered {
                true => stops.last_mut().filter(|stop| stop.0 == shard),
                false => stops.iter_mut().find(|stop| stop.0 == shard),
            };
            match stop {
                Some((_, names)) => names.push((position, name)),
                None => stops.push((shard, vec![(position, name)])),
            }
        }
        stops
    }
}
