//! Many keys: a command over keys of several shards, or one that may have to wait, by its parts
//! ([`ManyKeys`]).

use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_commands::{
    Command, CommandError, Decided, Decision as OverKeys, KeyRead, KeysHere, ManyKeys, Outcome,
    Remembered, Request as KeyRequest, Round, RoundKey, Rounds, Settings, Wait, Way, key_positions,
};
use basalt_keyspace::{DatabaseId, Key, ShardId, SlotId};
use basalt_resp::Protocol;
use smallvec::SmallVec;

use super::transact::{Decision, decided, last_hops};
use crate::core::Core;
use crate::core::wait::{Memory, Terms};
use crate::input::args::OwnedArgs;
use crate::input::keys::DeclaredKey;
use crate::input::keys::scope_on;
use crate::intents::{Mode, Scope};
use crate::limits::LOOK_AGAIN_MS_MIN;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;

/// A command as it travels.
struct Request {
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
    fn settings(&self) -> Settings<'_> {
        Settings {
            database: self.database,
            database_count: self.database_count,
            now_ms: self.now_ms,
            protocol: self.protocol,
            config: &self.config,
        }
    }

    fn read(&self, shard: &mut Shard, key: &DeclaredKey, remembered: &Remembered) -> Found {
        (self.many.read)(KeyRead {
            keyspace: &mut shard.keyspace,
            database: key.database,
            key: key.key(),
            index: key.index,
            args: &self.args.all(),
            settings: self.settings(),
            remembered,
        })
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
        let request = Request {
            many,
            args: OwnedArgs::new(args),
            positions: key_positions(command, args),
            database: session.database,
            database_count: self.shard.keyspace.database_count(),
            now_ms: self.shard.keyspace.now_ms(),
            protocol: session.protocol,
            config: Arc::clone(&self.shard.config),
        };
        let settings = request.settings();
        (many.check)(args, &settings)?;
        let wait = many.blocking.and_then(|blocking| (blocking.wait)(args, &settings));
        let keys = self.declare_keys(command, &request, args);
        let request = Arc::new(request);
        let decide_with = match many.way {
            Way::Rounds(rounds) => {
                self.run_rounds(id, request, rounds, keys);
                return Ok(());
            }
            Way::Direct(decide) => decide,
        };
        let reader = Arc::clone(&request);
        let Some(Wait { key_count, waits_for, least, timeout_ms }) = wait else {
            self.transact(
                id,
                keys,
                move |shard, key| reader.read(shard, key, &Remembered::default()),
                move |found, decision| {
                    let mut remembered = Remembered::default();
                    request.decide(decision, &mut remembered, |own| decide_with(found, own))?;
                    if decision.reply.position() == 0
                        && let Some(blocking) = request.many.blocking
                    {
                        (blocking.nothing)(&mut decision.reply);
                    }
                    Ok(())
                },
            );
            return Ok(());
        };
        let nothing = many.blocking.expect("it waits").nothing;
        let terms = Terms { nothing, least, ..self.terms(key_count, waits_for, timeout_ms) };
        self.wait(
            id,
            (keys, terms),
            Attempted::default(),
            move |shard, key, before| {
                (reader.read(shard, key, &before.remembered), shard.now.monotonic_us)
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

    /// A command that reads its keys in rounds, under intents on all of them.
    fn run_rounds(
        &mut self,
        id: SessionId,
        request: Arc<Request>,
        rounds: Rounds,
        keys: Vec<DeclaredKey>,
    ) {
        let (routes, protocol) = (Arc::clone(&self.shard.routes), request.protocol);
        let reads_all = (rounds.reads_all)(&request.args.all());
        let keys: Arc<[DeclaredKey]> = keys.into();
        let shards: Vec<ShardId> = if reads_all {
            routes.shards().collect()
        } else {
            routes.shards_of(keys.iter().map(|key| key.slot))
        };
        self.coordinate(id, |hops| async move {
            let visits = shards.iter().map(|&owner| {
                let scope = if reads_all { all_of(owner, &keys) } else { scope_on(owner, &keys) };
                let (request, keys) = (Arc::clone(&request), Arc::clone(&keys));
                let read = move |shard: &mut Shard| -> Vec<(usize, Found)> {
                    let own = keys.iter().filter(|key| key.shard == owner);
                    own.map(|key| (key.index, request.read(shard, key, &Remembered::default())))
                        .collect()
                };
                (owner, scope, read)
            });
            let found = hops.hold(visits.collect::<Vec<_>>()).await;
            let mut found: Vec<(usize, Found)> = found.into_iter().flatten().collect();
            found.sort_unstable_by_key(|(index, _)| *index);
            let found = found.into_iter().map(|(_, found)| found).collect();
            let travel = Travel { hops: &hops, request: &request, rounds, routes: &routes };
            let state = travel.through(found, &keys).await;
            let decided = decided(protocol, |decision| {
                let state = state?;
                let mut remembered = Remembered::default();
                request.decide(decision, &mut remembered, |own| (rounds.decide)(state, own))
            });
            hops.release(last_hops(decided.writes, &shards, &keys));
            decided.answer
        });
    }

    fn declare_keys(
        &self,
        command: &Command,
        request: &Request,
        args: &[&[u8]],
    ) -> Vec<DeclaredKey> {
        let settings = request.settings();
        let mut keys = Vec::with_capacity(request.positions.len());
        for spec in command.keys {
            let is_written = !spec.is_read(args);
            for at in spec.positions(args) {
                let index = keys.len();
                let database = (request.many.database_of)(args, index, &settings);
                keys.push(self.declare(index, database, args[at], is_written));
            }
        }
        keys
    }
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
