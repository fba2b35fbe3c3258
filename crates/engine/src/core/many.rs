//! Many keys: a command over keys of several shards, or one that may have to wait, by its parts
//! ([`ManyKeys`]).

use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_commands::{
    Command, CommandError, Decided, Decision as OverKeys, KeyRead, KeysHere, ManyKeys, Outcome,
    Remembered, Request as KeyRequest, Round, RoundKey, Rounds, Settings, Wait, Way,
    first_mentions, key_positions,
};
use basalt_keyspace::{DatabaseId, Key, ShardId, SlotId};
use basalt_resp::{Protocol, Reply};
use smallvec::SmallVec;

use super::transact::{Decision, decided, last_hops, look_at_all, shards_of, transact_over};
use crate::completion::Answer;
use crate::core::Core;
use crate::core::wait::{Memory, Terms};
use crate::input::args::OwnedArgs;
use crate::input::keys::DeclaredKey;
use crate::input::keys::scope_on;
use crate::intents::{Mode, Scope};
use crate::limits::LOOK_AGAIN_MS_MIN;
use crate::session::{Session, SessionId};
use crate::shard::Shard;
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
    protocol: Protocol,
    config: Arc<Config>,
}

type Found = Box<dyn std::any::Any + Send>;

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

    /// Reads keys on their shard.
    fn read(
        &self,
        shard: &mut Shard,
        keys: &[&DeclaredKey],
        remembered: &Remembered,
    ) -> Vec<Found> {
        let (args, settings) = (self.args.all(), self.settings());
        let names: SmallVec<[&[u8]; 8]> = keys.iter().map(|key| &key.bytes[..]).collect();
        let firsts = first_mentions(&names);
        let read = |(at, key): (usize, &&DeclaredKey)| {
            (self.many.read)(KeyRead {
                keyspace: &mut shard.keyspace,
                database: key.database,
                key: key.key(),
                index: key.index,
                is_mentioned_before: firsts[at] < at,
                args: &args,
                settings,
                remembered,
            })
        };
        keys.iter().enumerate().map(read).collect()
    }

    /// As [`Request::read`], of a command that is no part of a transaction: room is made for it on the shards that
    /// it writes.
    fn read_alone(
        &self,
        shard: &mut Shard,
        keys: &[&DeclaredKey],
    ) -> Vec<Result<Found, CommandError>> {
        if let Some(key) = keys.iter().find(|key| key.is_written)
            && let Err(error) = shard.check_memory(self.command.flags, key.database)
        {
            return keys.iter().map(|_| Err(error.clone())).collect();
        }
        self.read(shard, keys, &Remembered::default()).into_iter().map(Ok).collect()
    }

    /// Runs a function with the arguments and the names of the keys.
    fn with<T>(&self, run: impl FnOnce(KeyRequest<'_>) -> T) -> T {
        let args = self.args.all();
        let keys: SmallVec<[&[u8]; 8]> = self.positions.iter().map(|at| args[*at]).collect();
        run(KeyRequest { args: &args, keys: &keys, settings: self.settings() })
    }

    fn decide(
        &self,
        decision: &mut Decision<'_>,
        remembered: &mut Remembered,
        decide: impl FnOnce(&mut OverKeys<'_, '_>) -> Outcome,
    ) -> Outcome {
        self.with(|KeyRequest { args, keys, settings }| {
            let mut own = OverKeys::new((args, keys), settings, &mut decision.reply);
            own.remembered = std::mem::take(remembered);
            decide(&mut own)?;
            let Decided { writes, moved, remembered: kept } = own.into_decided();
            *remembered = kept;
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
    }

    /// Decides, where it waits for nothing.
    fn decide_at_once(
        &self,
        decision: &mut Decision<'_>,
        decide: impl FnOnce(&mut OverKeys<'_, '_>) -> Outcome,
    ) -> Outcome {
        self.decide(decision, &mut Remembered::default(), decide)?;
        if decision.reply.position() == 0
            && let Some(blocking) = self.many.blocking
        {
            (blocking.nothing)(&mut decision.reply);
        }
        Ok(())
    }
}

/// What a command remembers of its attempts, and when (monotonic µs) it is to be tried again.
#[derive(Clone, Default)]
struct Attempted {
    remembered: Remembered,
    retry_at_us: Option<u64>,
}

impl Memory for Attempted {
    fn look_again_at_us(&self) -> Option<u64> {
        self.retry_at_us
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
        let reader = Arc::clone(&request);
        let decide_with = match many.way {
            Way::Rounds(rounds) => {
                let routes = Arc::clone(&self.shard.routes);
                self.coordinate(id, |hops| async move {
                    let read = move |shard: &mut Shard, keys: &[&DeclaredKey]| {
                        reader.read_alone(shard, keys)
                    };
                    run_rounds(&hops, (&request, rounds), (&keys.into(), &routes), read).await
                });
                return Ok(());
            }
            Way::Direct(decide) => decide,
        };
        let Some(Wait { key_count, waits_for, least, timeout_ms }) = wait else {
            let read =
                move |shard: &mut Shard, keys: &[&DeclaredKey]| reader.read_alone(shard, keys);
            self.transact(id, keys, read, move |found, decision| {
                let found = found.into_iter().collect::<Result<_, _>>()?;
                request.decide_at_once(decision, |own| decide_with(found, own))
            });
            return Ok(());
        };
        let terms = Terms { least, ..self.terms(key_count, waits_for, timeout_ms) };
        self.wait(
            id,
            (keys, terms),
            Attempted::default(),
            move |shard, keys, before| {
                let at_us = shard.now.monotonic_us;
                let found = reader.read(shard, keys, &before.remembered);
                found.into_iter().map(|found| (found, at_us)).collect()
            },
            move |found, before, decision| {
                let now_us = found.iter().map(|(_, at_us)| *at_us).min().unwrap_or(0);
                let found = found.into_iter().map(|(found, _)| found).collect();
                let Attempted { remembered, retry_at_us } = before;
                request.decide(decision, remembered, |own| decide_with(found, own))?;
                let in_us = |ms: u64| ms.max(LOOK_AGAIN_MS_MIN).saturating_mul(1000);
                *retry_at_us = remembered.retry_in_ms.map(|ms| now_us.saturating_add(in_us(ms)));
                Ok(())
            },
        );
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
    let (keys, reader) = (keys.into(), Arc::clone(request));
    let read = move |shard: &mut Shard, keys: &[&DeclaredKey]| {
        reader.read(shard, keys, &Remembered::default()).into_iter().map(Ok).collect()
    };
    match request.many.way {
        Way::Rounds(rounds) => run_rounds(hops, (request, rounds), (&keys, routes), read).await,
        Way::Direct(decide) => {
            let decide = |found: Vec<Result<Found, CommandError>>, own: &mut Decision<'_>| {
                let found = found.into_iter().collect::<Result<_, _>>()?;
                request.decide_at_once(own, |own| decide(found, own))
            };
            transact_over(hops, request.protocol, &keys, (read, decide)).await
        }
    }
}

/// A command that reads its keys in rounds, under intents on all of them.
async fn run_rounds<L>(
    hops: &Hops,
    (request, rounds): (&Arc<Request>, Rounds),
    (keys, routes): (&Arc<[DeclaredKey]>, &Routes),
    read: L,
) -> Answer
where
    L: Fn(&mut Shard, &[&DeclaredKey]) -> Vec<Result<Found, CommandError>> + Clone + Send + 'static,
{
    let scoped: Vec<(ShardId, Scope)> = match (rounds.reads_all)(&request.args.all()) {
        true => routes.shards().map(|shard| (shard, all_of(shard, keys))).collect(),
        false => shards_of(keys).into_iter().map(|shard| (shard, scope_on(shard, keys))).collect(),
    };
    let shards: Vec<ShardId> = scoped.iter().map(|(shard, _)| *shard).collect();
    let found = look_at_all(hops, scoped, keys, read).await;
    let travel = Travel { hops, request, rounds, routes };
    let state = match found.into_iter().collect::<Result<_, _>>() {
        Ok(found) => travel.through(found, keys).await,
        Err(error) => Err(error),
    };
    let decided = decided(request.protocol, |decision| {
        let state = state?;
        let mut remembered = Remembered::default();
        request.decide(decision, &mut remembered, |own| (rounds.decide)(state, own))
    });
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
struct Travel<'a> {
    hops: &'a Hops,
    request: &'a Arc<Request>,
    rounds: Rounds,
    routes: &'a Routes,
}

impl Travel<'_> {
    /// The state after all rounds.
    async fn through(
        &self,
        found: Vec<Found>,
        keys: &[DeclaredKey],
    ) -> Result<Found, CommandError> {
        let rounds = self.rounds;
        let mut state = self.request.with(|request| (rounds.begin)(found, request))?;
        while let Some(round) = self.request.with(|request| (rounds.next)(&mut state, request))? {
            let mut stops = self.stops(round, keys).into_iter().peekable();
            while let Some((shard, names)) = stops.next() {
                let (request, is_last) = (Arc::clone(self.request), stops.peek().is_none());
                let visit = move |shard: &mut Shard| {
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
