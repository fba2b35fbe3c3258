//! Call: the input and output of a handler that runs a command on a shard.

use basalt_keyspace::{DatabaseId, Key, Keyspace};
use basalt_resp::Reply;

use crate::command::Command;
use crate::config::Config;
use crate::error::CommandError;
use crate::many_keys::Settings;

/// A command on the shard that owns its keys. It runs from start to end without interruption.
pub struct Call<'a> {
    pub command: &'static Command,
    pub keyspace: &'a mut Keyspace,
    pub database: DatabaseId,
    /// The arguments, starting with the command's name.
    pub args: &'a [&'a [u8]],
    /// The command's first key, with its hash and slot.
    pub key: Key<'a>,
    pub config: &'a Config,
    pub reply: Reply<'a>,
}

impl<'a> Call<'a> {
    /// What it depends on besides its arguments and the data.
    pub(crate) fn settings(&self) -> Settings<'a> {
        Settings {
            database: self.database,
            database_count: self.keyspace.database_count(),
            now_ms: self.keyspace.now_ms(),
            protocol: self.reply.protocol(),
            config: self.config,
        }
    }

    /// A key among the arguments; the first one is already hashed.
    #[inline]
    pub(crate) fn key_of(&self, name: &'a [u8]) -> Key<'a> {
        if std::ptr::eq(name, self.key.bytes) { self.key } else { self.keyspace.key(name) }
    }
}

/// The result of a handler: `Ok` after it has written its reply, or an error (and nothing was
/// written).
pub type Outcome = Result<(), CommandError>;

/// A handler. A plain function, so that nothing can interrupt it.
pub type ShardFn = fn(&mut Call<'_>) -> Outcome;
