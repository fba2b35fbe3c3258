//! Parameters whose value is one of several words.
//!
//! Not here: those with several words (`types`).

use super::kind::{Kind, Stored, only};

/// A type whose values are words; the first word of a value is the one that is shown.
macro_rules! choices {
    ($(
        $(#[$doc:meta])*
        $Type:ident {
            $($(#[$note:meta])* $Value:ident = $word:literal $(or $other:literal)*),+ $(,)?
        }
    )*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $Type { $($(#[$note])* $Value),+ }

        impl $Type {
            pub const KIND: Kind = Kind::OneOf(&[$($word $(, $other)*),+]);
            const VALUES: &[$Type] = &[$($Type::$Value $(, { let _ = $other; $Type::$Value })*),+];

            /// The word that users write.
            pub const fn name(self) -> &'static str {
                match self { $($Type::$Value => $word),+ }
            }
        }

        impl Stored for $Type {
            fn assign(&mut self, _: Kind, words: &[&[u8]], _: bool) -> Result<(), String> {
                *self = $Type::VALUES[$Type::KIND.choice(only(words)?)?];
                Ok(())
            }

            fn show(&self, _: Kind) -> Vec<u8> {
                self.name().into()
            }
        }
    )* };
}

choices! {
    /// The verbosity of the log; each level includes those after it.
    LogLevel {
        Debug = "debug",
        Verbose = "verbose",
        #[default]
        Notice = "notice",
        Warning = "warning",
        Nothing = "nothing",
    }
    /// The format of log lines.
    LogFormat {
        #[default]
        Human = "human" or "legacy",
        Json = "json",
    }
    /// The keys to evict at `maxmemory`.
    EvictionPolicy {
        VolatileLru = "volatile-lru",
        VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl",
        VolatileLrm = "volatile-lrm",
        AllkeysLru = "allkeys-lru",
        AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random",
        AllkeysLrm = "allkeys-lrm",
        AllkeysLrfu = "allkeys-lrfu",
        VolatileLrfu = "volatile-lrfu",
        #[default]
        NoEviction = "noeviction",
    }
    /// When the append-only file is synced to the disk.
    AppendFsync {
        #[default]
        EverySecond = "everysec",
        Always = "always",
        No = "no",
    }
    /// The order in which the commands of one pipeline may run.
    PipelineOrder {
        #[default]
        Relaxed = "relaxed",
        Strict = "strict",
    }
    /// Always, never, or if it makes sense.
    Auto {
        #[default]
        Auto = "auto",
        Yes = "yes",
        No = "no",
    }
    /// Which clients may do something dangerous.
    Allowed {
        #[default]
        No = "no",
        Yes = "yes",
        Local = "local",
    }
    SyslogFacility {
        User = "user",
        #[default]
        Local0 = "local0",
        Local1 = "local1",
        Local2 = "local2",
        Local3 = "local3",
        Local4 = "local4",
        Local5 = "local5",
        Local6 = "local6",
        Local7 = "local7",
    }
    Supervised {
        Upstart = "upstart",
        Systemd = "systemd",
        Auto = "auto",
        #[default]
        No = "no",
    }
    DisklessLoad {
        #[default]
        Disabled = "disabled",
        OnEmptyDb = "on-empty-db",
        Swapdb = "swapdb",
        FlushBeforeLoad = "flush-before-load",
    }
    TlsAuthClients {
        No = "no",
        #[default]
        Yes = "yes",
        Optional = "optional",
    }
    TlsAuthClientsUser {
        CommonName = "CN",
        Uri = "URI",
        #[default]
        Off = "off",
    }
    OomScoreAdj {
        #[default]
        No = "no",
        Relative = "yes" or "relative",
        Absolute = "absolute",
    }
    AclPubsubDefault {
        Allchannels = "allchannels",
        #[default]
        Resetchannels = "resetchannels",
    }
    SanitizeDump {
        #[default]
        No = "no",
        Yes = "yes",
        Clients = "clients",
    }
    EndpointType {
        #[default]
        Ip = "ip",
        Hostname = "hostname",
        UnknownEndpoint = "unknown-endpoint",
    }
    PropagationErrors {
        #[default]
        Ignore = "ignore",
        Panic = "panic",
        PanicOnReplicas = "panic-on-replicas",
    }
    LogTimestampFormat {
        #[default]
        Legacy = "legacy",
        Iso8601 = "iso8601",
        Milliseconds = "milliseconds",
    }
    /// The servers that values are written for.
    RdbTarget {
        #[default]
        Latest = "latest",
        Redis7 = "redis7",
        Redis8 = "redis8",
        Valkey9 = "valkey9",
    }
    RdbVersionCheck {
        #[default]
        Strict = "strict",
        Relaxed = "relaxed",
    }
    ClusterConfigSave {
        #[default]
        Sync = "sync",
        BestEffort = "best-effort",
    }
}

impl Allowed {
    /// Whether a client may, depending on whether it is local.
    pub fn permits(self, client_is_local: bool) -> bool {
        self == Allowed::Yes || self == Allowed::Local && client_is_local
    }
}
