//! Call: what a handler gets when its command runs on a shard.

use basalt_keyspace::{DatabaseId, Key, Keyspace};
use basalt_resp::Reply;

use crate::config::Config;
use crate::error::CommandError;

/// A command on the shard that owns its keys. It runs from start to end with nothing in between.
pub struct Call<'a> {
    pub keyspace: &'a mut Keyspace,
    pub database: DatabaseId,
    /// The arguments, the command's name first.
    pub args: &'a [&'a [u8]],
    /// The command's first key, with hash and slot already worked out.
    pub key: Key<'a>,
    pub config: &'a Config,
    pub reply: Reply<'a>,
}

impl<'a> Call<'a> {
    /// A key among the arguments; the first is known already.
    #[inline]
    pub(crate) fn key_of(&self, name: &'a [u8]) -> Key<'a> {
        if std::ptr::eq(name, self.key.bytes) { self.key } else { self.keyspace.key(name) }
    }
}

/// What a handler leaves: its reply is written, or it refuses with an error (and wrote nothing).
pub type Outcome = Result<(), CommandError>;

/// A handler. Plain, so that nothing can come between.
pub type ShardFn = fn(&mut Call<'_>) -> Outcome;
