//! Command: one complete row of the command table.

use crate::call::ShardFn;

/// A row: what a command is called, what it may be given, how it is run and what it shows.
#[derive(Debug)]
pub struct Command {
    /// In lower case; a subcommand carries its container's name in front: `client|id`.
    pub name: &'static str,
    pub group: Group,
    pub since: &'static str,
    /// One line in our words.
    pub summary: &'static str,
    pub complexity: &'static str,
    /// Redis' count: the name included; negative where more may follow.
    pub arity: i16,
    pub flags: Flags,
    pub keys: &'static [KeySpec],
    pub run: Run,
    pub subcommands: &'static [Self],
    /// A transcript: the example in the reference, the test on every target and a seed for the fuzzers.
    pub shows: &'static str,
}

/// The families of Redis' documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Generic,
    String,
    Connection,
    Server,
    Bitmap,
    HyperLogLog,
    List,
    Hash,
    Set,
    SortedSet,
    Stream,
    Geo,
    PubSub,
    Transactions,
    Scripting,
    Cluster,
}

/// A set of [`Flags`] constants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    pub const NONE: Self = Self(0);
    pub const WRITE: Self = Self(1);
    pub const READONLY: Self = Self(1 << 1);
    pub const DENYOOM: Self = Self(1 << 2);
    pub const ADMIN: Self = Self(1 << 3);
    pub const PUBSUB: Self = Self(1 << 4);
    pub const NOSCRIPT: Self = Self(1 << 5);
    pub const BLOCKING: Self = Self(1 << 6);
    pub const LOADING: Self = Self(1 << 7);
    pub const STALE: Self = Self(1 << 8);
    pub const SKIP_MONITOR: Self = Self(1 << 9);
    pub const SKIP_SLOWLOG: Self = Self(1 << 10);
    pub const ASKING: Self = Self(1 << 11);
    pub const FAST: Self = Self(1 << 12);
    pub const NO_AUTH: Self = Self(1 << 13);
    pub const MAY_REPLICATE: Self = Self(1 << 14);
    pub const SENTINEL: Self = Self(1 << 15);
    pub const ONLY_SENTINEL: Self = Self(1 << 16);
    pub const NO_MANDATORY_KEYS: Self = Self(1 << 17);
    pub const PROTECTED: Self = Self(1 << 18);
    pub const NO_ASYNC_LOADING: Self = Self(1 << 19);
    pub const NO_MULTI: Self = Self(1 << 20);
    pub const ALLOW_BUSY: Self = Self(1 << 21);
    pub const MOVABLE_KEYS: Self = Self(1 << 22);
    pub const DANGEROUS: Self = Self(1 << 23);
    pub const TOUCHES_ARBITRARY_KEYS: Self = Self(1 << 24);

    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Where keys stand among the arguments, as COMMAND's key specifications say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// The position of the first key (the name has 0).
    pub first: i16,
    /// The position of the last key, counted from the end where negative, relative to nothing.
    pub last: i16,
    pub step: i16,
    /// How the keys are used, in Redis' words: `RO access`, `RW access update` …
    pub access: &'static [&'static str],
}

/// How a command is run.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// On the shard of its key.
    Shard(ShardFn),
    /// Each key (with the arguments behind it, up to the next) on its own shard; what the shards reply is
    /// merged. On one shard it is one call with all the arguments.
    Split(ShardFn, Merge),
    /// By the engine: it concerns the session, several shards or the whole server.
    Engine(Verb),
    /// By a subcommand.
    Container,
}

/// How the replies of several shards become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Integers are added.
    Sum,
    /// Arrays' elements go back to the order of the keys.
    Array,
    /// All say OK.
    Ok,
}

/// What the engine runs itself; it matches this exhaustively.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Auth,
    ClientCaching,
    ClientGetName,
    ClientGetRedir,
    ClientHelp,
    ClientId,
    ClientInfo,
    ClientKill,
    ClientList,
    ClientNoEvict,
    ClientNoTouch,
    ClientPause,
    ClientReply,
    ClientSetInfo,
    ClientSetName,
    ClientTracking,
    ClientTrackingInfo,
    ClientUnblock,
    ClientUnpause,
    Command,
    CommandCount,
    CommandDocs,
    CommandGetKeys,
    CommandGetKeysAndFlags,
    CommandHelp,
    CommandInfo,
    CommandList,
    ConfigGet,
    ConfigHelp,
    ConfigResetStat,
    ConfigRewrite,
    ConfigSet,
    Copy,
    Dbsize,
    Debug,
    Echo,
    FlushAll,
    FlushDb,
    Hello,
    Info,
    Keys,
    Lolwut,
    MsetNx,
    Ping,
    Quit,
    RandomKey,
    Rename,
    RenameNx,
    Reset,
    Scan,
    Select,
    Shutdown,
    SwapDb,
    Time,
}
