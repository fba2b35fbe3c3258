//! Many keys: a command over keys of several shards, or one that may have to wait, by its parts
//! ([`ManyKeys`]).

use std::sync::Arc;

use basalt_commands::config::Config;
use basalt_commands::{
    Command, Decided, Decision as OverKeys, KeyRead, ManyKeys, Outcome, Settings, Wait,
    key_positions,
};
use basalt_keyspace::DatabaseId;
use basalt_resp::Protocol;
use smallvec::SmallVec;

use super::transact::Decision;
use crate::core::Core;
use crate::session::SessionId;
use crate::shard::Shard;
use crate::shard::call::OwnedArgs;
use crate::transaction::{DeclaredKey, Terms};

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

    fn read(&self, shard: &mut Shard, key: &DeclaredKey) -> Found {
        (self.many.read)(KeyRead {
            keyspace: &mut shard.keyspace,
            database: key.database,
            key: key.key(),
            index: key.index,
            args: &self.args.all(),
            settings: self.settings(),
        })
    }

    fn decide(&self, found: Vec<Found>, decision: &mut Decision<'_>) -> Outcome {
        let args = self.args.all();
        let names: SmallVec<[&[u8]; 8]> = self.positions.iter().map(|at| args[*at]).collect();
        let mut own = OverKeys::new((&args, &names), self.settings(), &mut decision.reply);
        (self.many.decide)(found, &mut own)?;
        let Decided { writes, moved } = own.into_decided();
        if let Some(moved) = moved {
            decision.move_value(moved);
        }
        for (index, write) in writes {
            decision.write(index, move |shard, key| {
                write(&mut shard.keyspace, key.database, &key.key());
            });
        }
        Ok(())
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
        let reader = Arc::clone(&request);
        let Some(Wait { key_count, waits_for, least, timeout_ms }) = wait else {
            self.transact(
                id,
                keys,
                move |shard, key| reader.read(shard, key),
                move |found, decision| {
                    request.decide(found, decision)?;
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
            (),
            move |shard, key, ()| reader.read(shard, key),
            move |found, (), decision| request.decide(found, decision),
        );
        Ok(())
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
            let is_written = spec.access_with(args).first() != Some(&"RO");
            for at in spec.positions(args) {
                let index = keys.len();
                let database = (request.many.database_of)(args, index, &settings);
                keys.push(self.declare(index, database, args[at], is_written));
            }
        }
        keys
    }
}
