//! Command: one complete row of the command table.

use crate::argument::Argument;
use crate::call::ShardFn;
use crate::many_keys::ManyKeys;

/// A row: a command's name, its properties, its handler and its transcript.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// In lower case; a subcommand has its container's name as a prefix: `client|id`.
    pub name: &'static str,
    /// The index among all rows, subcommands included; the table sets it.
    pub number: u16,
    pub group: Group,
    pub since: &'static str,
    /// One line in our own words: subject, engine command, object.
    pub summary: &'static str,
    pub complexity: &'static str,
    /// As in Redis: the name counts, and a negative arity is a minimum.
    pub arity: i16,
    pub flags: Flags,
    /// The ACL categories that do not follow from flags; see [`Command::categories`].
    pub also: Categories,
    /// Hints for clients that spread commands over a cluster.
    pub tips: &'static [&'static str],
    pub keys: &'static [KeySpec],
    pub arguments: &'static [Argument],
    /// The replacement of a deprecated command, and since when.
    pub deprecated: Option<Deprecated>,
    pub run: Run,
    pub subcommands: &'static [Self],
    /// A transcript: the example in the reference, a test on every target and a seed for the
    /// fuzzers.
    pub shows: &'static str,
}

impl Command {
    /// The defaults of a row.
    pub(crate) const ROW: Self = Self {
        name: "",
        number: 0,
        group: Group::Generic,
        since: "",
        summary: "",
        complexity: "O(1)",
        arity: 0,
        flags: Flags::NONE,
        also: Categories::NONE,
        tips: &[],
        keys: &[],
        arguments: &[],
        deprecated: None,
        run: Run::Container,
        subcommands: &[],
        shows: "",
    };

    /// Every ACL category of the command.
    pub fn categories(&self) -> Categories {
        let implied = [
            (Flags::WRITE, Categories::WRITE),
            (Flags::READONLY, Categories::READ),
            (Flags::ADMIN, Categories::ADMIN.or(Categories::DANGEROUS)),
            (Flags::PUBSUB, Categories::PUBSUB),
            (Flags::BLOCKING, Categories::BLOCKING),
            (Flags::FAST, Categories::FAST),
        ];
        let all = implied
            .iter()
            .filter(|(flag, _)| self.flags.has(*flag))
            // A script that only reads is no read, as in Redis: it may call anything that reads.
            .filter(|(flag, _)| *flag != Flags::READONLY || !self.also.has(Categories::SCRIPTING))
            .fold(self.also, |all, (_, category)| all.or(*category));
        if self.flags.has(Flags::FAST) { all } else { all.or(Categories::SLOW) }
    }

    /// Whether calls take so little time, whatever the data, that only some need to be timed: only
    /// a large request can make it slow.
    pub fn is_quick(&self) -> bool {
        match self.run {
            Run::Shard(_) => self.complexity == "O(1)" || self.flags.has(Flags::FAST),
            Run::Split(..) => true,
            Run::Many(_) | Run::Engine(_) | Run::Container => self.flags.has(Flags::FAST),
        }
    }

    /// The name of a subcommand without its container's; of other commands, the name.
    pub fn own_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, own)| own)
    }

    /// The minimum number of arguments, with the name.
    #[inline]
    pub fn arity_min(&self) -> usize {
        usize::from(self.arity.unsigned_abs())
    }

    /// Whether the arity allows this number of arguments, with the name.
    #[inline]
    pub fn arity_fits(&self, count: usize) -> bool {
        let wanted = self.arity_min();
        if self.arity < 0 { count >= wanted } else { count == wanted }
    }

    /// Whether this number of arguments is valid: as the arity says, and with complete groups of
    /// keys and values.
    #[inline]
    pub fn takes(&self, count: usize) -> bool {
        self.arity_fits(count)
            && self.keys.first().is_none_or(|keys| {
                keys.last >= 0
                    || keys.step == 1
                    || (count - keys.first as usize).is_multiple_of(keys.step as usize)
            })
    }
}

/// A command that has a better successor.
#[derive(Clone, Copy, Debug)]
pub struct Deprecated {
    pub since: &'static str,
    /// In Markdown.
    pub replaced_by: &'static str,
}

/// The groups of Redis' documentation.
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

impl Group {
    /// The name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Bitmap => "bitmap",
            Self::HyperLogLog => "hyperloglog",
            Self::List => "list",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::Geo => "geo",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Scripting => "scripting",
            Self::Cluster => "cluster",
        }
    }
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
    /// Only for clients that `enable-debug-command` (of MODULE: `enable-module-command`) permits.
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

/// A set of ACL categories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Categories(u32);

impl Categories {
    pub const NONE: Self = Self(0);
    pub const KEYSPACE: Self = Self(1);
    pub const READ: Self = Self(1 << 1);
    pub const WRITE: Self = Self(1 << 2);
    pub const SET: Self = Self(1 << 3);
    pub const SORTED_SET: Self = Self(1 << 4);
    pub const LIST: Self = Self(1 << 5);
    pub const HASH: Self = Self(1 << 6);
    pub const STRING: Self = Self(1 << 7);
    pub const BITMAP: Self = Self(1 << 8);
    pub const HYPERLOGLOG: Self = Self(1 << 9);
    pub const GEO: Self = Self(1 << 10);
    pub const STREAM: Self = Self(1 << 11);
    pub const PUBSUB: Self = Self(1 << 12);
    pub const ADMIN: Self = Self(1 << 13);
    pub const FAST: Self = Self(1 << 14);
    pub const SLOW: Self = Self(1 << 15);
    pub const BLOCKING: Self = Self(1 << 16);
    pub const DANGEROUS: Self = Self(1 << 17);
    pub const CONNECTION: Self = Self(1 << 18);
    pub const TRANSACTION: Self = Self(1 << 19);
    pub const SCRIPTING: Self = Self(1 << 20);

    /// The names, by bit.
    const NAMES: [&'static str; 21] = [
        "keyspace",
        "read",
        "write",
        "set",
        "sortedset",
        "list",
        "hash",
        "string",
        "bitmap",
        "hyperloglog",
        "geo",
        "stream",
        "pubsub",
        "admin",
        "fast",
        "slow",
        "blocking",
        "dangerous",
        "connection",
        "transaction",
        "scripting",
    ];

    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[inline]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The category with this name, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        let bit = Self::NAMES.iter().position(|own| own.as_bytes().eq_ignore_ascii_case(name))?;
        Some(Self(1 << bit))
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let names = Self::NAMES.iter().enumerate();
        names.filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name)
    }
}

/// The access to keys, in Redis' flags: `RO`, `RW`, `OW` or `RM`; then `access`, `update` …
pub type Access = &'static [&'static str];

/// The access of a shard channel.
pub(crate) const NOT_KEY: Access = &["not_key"];

/// Returns the access for some arguments.
pub type VaryingAccess = fn(&[&[u8]]) -> Access;

/// Returns the index of a key among the arguments.
pub(crate) type KeyFinder = fn(&[&[u8]]) -> Option<usize>;

/// Where the keys are among the arguments, as in COMMAND's key specifications.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// The position of the first key (the name has 0).
    pub first: i16,
    /// The index of the last key; negative values count from the end.
    pub last: i16,
    pub step: i16,
    /// The keys have a count: it is at `first`, and the keys follow it.
    pub is_counted: bool,
    /// If not empty: the keys follow this word, which is searched from `first` on, and after them
    /// come as many other arguments.
    pub behind_word: &'static str,
    /// Finds the single key of this specification, if no rule of COMMAND can express its position.
    /// Without a keyword before it, COMMAND INFO reports the position as unknown.
    pub finder: Option<KeyFinder>,
    pub access: Access,
    /// A note for an access that is surprising.
    pub notes: &'static str,
    /// If the access depends on the arguments: returns it.
    pub varies: Option<VaryingAccess>,
    /// The command changes the keys, though COMMAND reports that it reads them.
    pub is_changed: bool,
}

impl KeySpec {
    /// One key at an index.
    pub(crate) const fn at(position: i16, access: Access) -> Self {
        Self {
            first: position,
            last: position,
            step: 1,
            is_counted: false,
            behind_word: "",
            finder: None,
            access,
            notes: "",
            varies: None,
            is_changed: false,
        }
    }

    /// Keys from the first argument to the last, with a step of `step`.
    pub(crate) const fn all(step: i16, access: Access) -> Self {
        Self { first: 1, last: -1, step, ..Self::at(1, access) }
    }

    /// As many keys as the argument at an index says, after it, with a step of `step`.
    pub(crate) const fn counted(position: i16, step: i16, access: Access) -> Self {
        Self { step, is_counted: true, ..Self::at(position, access) }
    }

    /// Keys after a keyword, up to the middle of the arguments after it.
    pub(crate) const fn behind_word(word: &'static str, from: i16, access: Access) -> Self {
        Self { behind_word: word, last: -1, ..Self::at(from, access) }
    }

    /// One key after a keyword; COMMAND INFO reports `search: keyword` starting at argument `from`.
    pub(crate) const fn behind_its_word(
        word: &'static str,
        from: i16,
        access: Access,
        finder: KeyFinder,
    ) -> Self {
        Self { behind_word: word, finder: Some(finder), ..Self::at(from, access) }
    }

    /// One key whose position COMMAND INFO reports as unknown.
    pub(crate) const fn unknown(access: Access, finder: KeyFinder) -> Self {
        Self { finder: Some(finder), ..Self::at(1, access) }
    }

    /// Whether COMMAND INFO reports the position as unknown.
    pub fn is_unknown(&self) -> bool {
        self.finder.is_some() && self.behind_word.is_empty()
    }

    pub(crate) const fn because(self, notes: &'static str) -> Self {
        Self { notes, ..self }
    }

    pub(crate) const fn varying(self, varies: VaryingAccess) -> Self {
        Self { varies: Some(varies), ..self }
    }

    pub(crate) const fn changed(self) -> Self {
        Self { is_changed: true, ..self }
    }

    /// Whether the command only reads these keys.
    pub fn is_read(&self, args: &[&[u8]]) -> bool {
        !self.is_changed && self.access_with(args).first() == Some(&"RO")
    }

    /// The access to the keys with these arguments.
    pub fn access_with(&self, args: &[&[u8]]) -> Access {
        self.varies.map_or(self.access, |varies| varies(args))
    }

    /// The indexes of the keys among the arguments; none if their count is invalid.
    #[inline]
    pub fn positions(&self, args: &[&[u8]]) -> impl Iterator<Item = usize> + use<> {
        let (first, step) = (self.first as usize, self.step as usize);
        let range = if let Some(finder) = self.finder {
            finder(args).map_or(0..0, |at| at..at + 1)
        } else if !self.behind_word.is_empty() {
            let rest = args.get(first..).unwrap_or_default();
            let is_word = |arg: &&[u8]| arg.eq_ignore_ascii_case(self.behind_word.as_bytes());
            let start = rest.iter().position(is_word).map_or(args.len(), |at| first + at + 1);
            start..start + (args.len() - start) / 2
        } else if self.is_counted {
            let room = args.len().saturating_sub(first + 1).div_ceil(step);
            let number = args.get(first).and_then(|number| basalt_resp::parse_i64(number));
            let number = number.and_then(|number| usize::try_from(number).ok());
            let number = number.filter(|number| *number <= room).unwrap_or(0);
            first + 1..first + 1 + number * step
        } else if self.last < 0 {
            first..(args.len() + 1).saturating_sub(usize::from(self.last.unsigned_abs()))
        } else {
            first..(self.last as usize + 1).min(args.len())
        };
        range.step_by(step)
    }
}

/// How a command runs.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// On the shard of its key.
    Shard(ShardFn),
    /// Each key (with the arguments behind it, up to the next) on its own shard; what the shards reply is
    /// merged. On one shard it is one call with all the arguments.
    Split(ShardFn, Merge),
    /// Where all keys are on one shard, there as one call; else by its parts, over shards.
    Many(&'static ManyKeys),
    /// By the engine: it concerns the session, all shards or the whole server.
    Engine(EngineCommand),
    /// By a subcommand.
    Container,
}

/// How the replies of several shards become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Integers are added.
    Sum,
    /// How many of the keys hold something before it, each counted once.
    Present,
    /// Arrays' elements go back to the order of the keys.
    Array,
    /// All say OK.
    Ok,
}

/// What the engine runs itself; it matches this exhaustively.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineCommand {
    AclHelp,
    AclWhoami,
    Asking,
    Auth,
    BgRewriteAof,
    BgSave,
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
    Dbsize,
    Debug,
    Discard,
    Echo,
    Eval,
    EvalRo,
    EvalSha,
    EvalShaRo,
    Exec,
    Fcall,
    FcallRo,
    FlushAll,
    FlushDb,
    FunctionDelete,
    FunctionDump,
    FunctionFlush,
    FunctionHelp,
    FunctionKill,
    FunctionList,
    FunctionLoad,
    FunctionRestore,
    FunctionStats,
    HImportDiscard,
    HImportDiscardAll,
    HImportPrepare,
    HImportSet,
    Hello,
    HotKeysGet,
    HotKeysHelp,
    HotKeysReset,
    HotKeysStart,
    HotKeysStop,
    Info,
    Keys,
    LastSave,
    LatencyDoctor,
    LatencyGraph,
    LatencyHelp,
    LatencyHistogram,
    LatencyHistory,
    LatencyLatest,
    LatencyReset,
    Lolwut,
    MemoryDoctor,
    MemoryHelp,
    MemoryMallocStats,
    MemoryPurge,
    MemoryStats,
    ModuleHelp,
    ModuleList,
    ModuleLoad,
    ModuleLoadEx,
    ModuleUnload,
    Monitor,
    Multi,
    ObjectHelp,
    PSubscribe,
    PUnsubscribe,
    PfSelfTest,
    Ping,
    PubSubChannels,
    PubSubHelp,
    PubSubNumPat,
    PubSubNumSub,
    PubSubShardChannels,
    PubSubShardNumSub,
    Publish,
    Quit,
    RandomKey,
    ReadOnly,
    ReadWrite,
    Reset,
    Role,
    SPublish,
    SSubscribe,
    SUnsubscribe,
    Save,
    Scan,
    ScriptDebug,
    ScriptExists,
    ScriptFlush,
    ScriptHelp,
    ScriptKill,
    ScriptLoad,
    ScriptShow,
    Select,
    Shutdown,
    SlowlogGet,
    SlowlogHelp,
    SlowlogLen,
    SlowlogReset,
    Subscribe,
    SwapDb,
    Time,
    Unsubscribe,
    Unwatch,
    Wait,
    WaitAof,
    Watch,
    XGroupHelp,
    XInfoHelp,
}
