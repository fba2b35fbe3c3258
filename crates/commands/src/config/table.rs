//! The parameters that Basalt acts on: one row each, which is also a field of `Config`.
//!
//! A row reads `"name" field: Type = "default", kind, notes;` and its comment is the text of the
//! reference, of `config/basalt.conf` and of the field: the first paragraph tells what it is, the
//! rest tells more. While nothing acts on a row it carries `pending` with the reason. To add a parameter, add a row
//! here, then run `UPDATE=1 cargo test -p basalt-commands generated`.
//!
//! Not here: parameters whose feature is still to be built (`later`) or that our design has no use
//! for (`inert`).

use super::choices::*;
use super::inert::Inert;
use super::kind::Kind::{Clamped, MemoryOrPercent, Octal, Password, Text, YesNo};
use super::kind::{ANY_TEXT, INT, LONG, LONG_BYTES, Stored, TCP_PORT, UINT, integer, memory};
use super::later::Later;
use super::parameter::{NO_PERSISTENCE, NO_REPLICATION, Section, Standing, parameters};
use super::rules;
use super::types::*;
use basalt_keyspace::TEXT_BYTES_MAX;

/// LIMIT: databases. Each takes some KiB of every shard, used or not.
const DATABASES_MAX: i64 = 1 << 14;

const NO_EVICTION: &str =
    "eviction is not built yet, so at `maxmemory` commands that need more are refused";
const NO_SHUTDOWN_OPTIONS: &str = "signals that save or wait for replicas are not built yet";

parameters! {
    /// Everything a user can set: one plain field per parameter, to be read where it is needed.
    ///
    /// A change makes a new `Config` (`Config::set`), so a reader never meets a half-made one.
    pub struct Config;
    path [];
    rows USED, Standing::Used;
    with {
        /// Parameters that are known and kept, but on which nothing acts yet.
        pub later: Later,
        /// Parameters that are known and kept, but for which this design has no use.
        pub inert: Inert,
    }

    Network {
        /// The addresses to listen on.
        ///
        /// A minus sign before an address means that it is no error if this machine does not have
        /// it. `*` is every IPv4 address, `::*` every IPv6 address, `""` none at all.
        "bind" bind: BindAddresses = "127.0.0.1 -::1", BindAddresses::KIND;

        /// The TCP port. 0 is no TCP at all: then clients need a `unixsocket`.
        "port" port: u16 = "6379", TCP_PORT;

        /// The path of a Unix socket to listen on. Empty: none.
        ///
        /// A socket that is there already and on which nothing listens is replaced. Anything else is left alone,
        /// and the server doesn't start: Redis removes whatever is there.
        "unixsocket" unixsocket: String = "", ANY_TEXT, at_start;

        /// The permissions of the Unix socket's file, such as 700. 0 leaves them to the umask.
        "unixsocketperm" unixsocketperm: u32 = "0", Octal { max: 0o777 }, at_start;

        /// The group of the Unix socket's file: a name. Empty leaves it to the system.
        "unixsocketgroup" unixsocketgroup: String = "", ANY_TEXT, at_start;

        /// How many connections may wait to be accepted. The kernel caps it at
        /// `net.core.somaxconn`.
        "tcp-backlog" tcp_backlog: u32 = "511", integer(0, INT), at_start;

        /// Seconds of silence after which the kernel asks whether a client is still there. 0:
        /// never.
        "tcp-keepalive" tcp_keepalive: u32 = "300", integer(0, INT);

        /// Seconds after which an idle client is disconnected. 0: never.
        "timeout" timeout: u32 = "0", integer(0, INT);

        /// How many clients may be connected at a time; further ones are told so and let go.
        "maxclients" maxclients: u32 = "10000", integer(1, UINT);

        /// Whether to refuse clients of other machines while there is no password.
        ///
        /// It acts only while `requirepass` is empty, and tells the refused client what to change.
        "protected-mode" protected_mode: bool = "yes", YesNo;
    }

    Server {
        /// Whether to go to the background at start, which writes a `pidfile`.
        "daemonize" daemonize: bool = "no", YesNo, at_start;

        /// Which supervisor is notified of start and stop; the process then stays in its foreground, whatever
        /// `daemonize` says.
        ///
        /// `systemd`: READY=1, STOPPING=1 and STATUS are sent to $NOTIFY_SOCKET (a unit with Type=notify).
        /// `upstart`: SIGSTOP, where $UPSTART_JOB is set. `auto`: whichever of the two variables is set.
        "supervised" supervised: Supervised = "no", Supervised::KIND, at_start;

        /// The file to write the process id to. Empty: none, or /var/run/basalt.pid when
        /// daemonized.
        "pidfile" pidfile: String = "", ANY_TEXT, at_start;

        /// The directory that data will be saved to and loaded from; it must be there.
        "dir" dir: String = "./", ANY_TEXT, protected;

        /// How many databases SELECT can choose from, the first being 0.
        "databases" databases: u32 = "16", integer(1, DATABASES_MAX), at_start;

        /// How often a second the periodic work of Redis looks around; here it is only shown by INFO.
        ///
        /// Expiry comes on time, and an idle shard sleeps. Values outside of 1 to 500 are brought into that
        /// range.
        "hz" hz: u32 = "10", Clamped { min: 1, max: 500 };

        /// A text that decides in which order SCAN, HSCAN, SSCAN and ZSCAN go. Empty: each start draws
        /// its own.
        ///
        /// Their cursors are good on every server of this version with the same text, whatever its number of
        /// shards, and after a restart. It is a secret: who knows it can choose keys that are slow to find.
        "hash-seed" hash_seed: String = "", Text(rules::hash_seed), at_start, secret;

        /// Whether the process calls itself in `ps` as `proc-title-template` says.
        "set-proc-title" set_proc_title: bool = "yes", YesNo, at_start;

        /// How the process calls itself in `ps`.
        ///
        /// `{title}` is the program, `{listen-addr}` its first address; there are also `{server-mode}`,
        /// `{port}`, `{tls-port}`, `{unixsocket}` and `{config-file}`.
        "proc-title-template" proc_title_template: String = "{title} {listen-addr} {server-mode}",
            Text(rules::proc_title_template);

        /// Seconds that SHUTDOWN waits for replicas that lag behind.
        "shutdown-timeout" shutdown_timeout: u32 = "10", integer(0, INT),
            pending(NO_REPLICATION);

        /// What a SIGINT adds to SHUTDOWN.
        "shutdown-on-sigint" shutdown_on_sigint: ShutdownOptions = "default", ShutdownOptions::KIND,
            pending(NO_SHUTDOWN_OPTIONS);

        /// What a SIGTERM adds to SHUTDOWN.
        "shutdown-on-sigterm" shutdown_on_sigterm: ShutdownOptions = "default",
            ShutdownOptions::KIND, pending(NO_SHUTDOWN_OPTIONS);
    }

    Cores {
        /// How many shards hold the data, each with a thread of its own. 0: one per CPU the process
        /// may use.
        ///
        /// That is the smaller of the CPUs in its affinity mask and of the CPU quota of its control groups,
        /// rounded up.
        ///
        /// All commands run on all shards. More shards than CPUs only make sense in tests.
        "shards" shards: u8 = "0", integer(0, 64), at_start;

        /// Whether each shard's thread stays on one CPU. `auto`: if there are CPUs enough for all
        /// and no CPU quota grants less.
        "pin-threads" pin_threads: Auto = "auto", Auto::KIND, at_start;

        /// In which order the commands of one pipeline may run when their keys are on different
        /// shards.
        ///
        /// `relaxed`: commands and EXECs that have no key in common may overtake each other if they
        /// concern different shards, as they may through a cluster client; replies keep their order.
        /// `strict`: every change of shard waits, as on a server with one thread, and pipelines get
        /// slower.
        "pipeline-order" pipeline_order: PipelineOrder = "relaxed", PipelineOrder::KIND;

        /// Whether slots move by themselves from a shard that is much busier than the others to the
        /// idlest one.
        ///
        /// Once in a second the shards' loads are compared; at most 64 slots move at a time, while all
        /// commands wait for some tenths of a millisecond. A single slot that keeps its shard busy stays
        /// where it is.
        "balance-slots" balance_slots: bool = "no", YesNo;

        /// Microseconds that an idle shard looks for work before it goes to sleep.
        ///
        /// Going to sleep and waking up costs 20 to 40 µs on a virtual machine: about 20 here makes
        /// a single client faster, at the price of CPU time. 0: sleep at once.
        "spin-us" spin_us: u32 = "0", integer(0, 1_000_000);

        /// Microseconds that a busy shard with many active clients waits for most of those that can
        /// ask, where there are several shards.
        ///
        /// Requests that cross to another core together cost a third less CPU time; in return each may
        /// wait so long where it comes in, where its key is and for its answer. A shard that is less busy
        /// waits less: for 400 µs if it works a quarter of the time, for 27 if a tenth; with fewer than
        /// 8 clients at a time it never waits. Where crowds came in time so far, a wait for one that
        /// doesn't may last a millisecond. Below 25: no shard ever waits. Needs Linux 6.12.
        "gather-us" gather_us: u32 = "600", integer(0, 10_000);
    }

    Log {
        /// How much is logged: each level contains those that follow it.
        "loglevel" loglevel: LogLevel = "notice", LogLevel::KIND;

        /// The file to log to. Empty: standard output.
        "logfile" logfile: String = "", ANY_TEXT, at_start;

        /// How a log line looks: for people, or a JSON object per line. `legacy` is another word
        /// for `human`.
        "log-format" log_format: LogFormat = "human", LogFormat::KIND, at_start;
    }

    Security {
        /// The password of the default user. Empty: none is asked for.
        "requirepass" requirepass: Secret = "", Password, secret;

        /// Who may call DEBUG: nobody, everybody, or clients of this machine.
        "enable-debug-command" enable_debug_command: Allowed = "no", Allowed::KIND, at_start;

        /// Who may change `dir` and `dbfilename` with CONFIG SET.
        "enable-protected-configs" enable_protected_configs: Allowed = "no", Allowed::KIND,
            at_start;

        /// Who may call MODULE LOAD, LOADEX and UNLOAD, which then say that there is no such module.
        "enable-module-command" enable_module_command: Allowed = "no", Allowed::KIND, at_start;
    }

    Clients {
        /// The longest string a request may contain, and the longest that a value may become.
        ///
        /// Lengths in memory have 32 bits, so it ends a MiB before 4 GiB; in Redis it has no end.
        "proto-max-bulk-len" proto_max_bulk_len: u64 = "512mb",
            memory(1 << 20, TEXT_BYTES_MAX as u64);

        /// How much of a request may be waiting to become complete.
        "client-query-buffer-limit" client_query_buffer_limit: u64 = "1gb",
            memory(1 << 20, LONG_BYTES);

        /// When a client that does not read its replies is disconnected.
        ///
        /// At once when more than the hard limit waits for it, or when more than the soft limit did
        /// for so many seconds. 0 is no limit. `slave` is another word for `replica`.
        "client-output-buffer-limit" client_output_buffer_limit: OutputLimits
            = "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", OutputLimits::KIND;
    }

    Memory {
        /// How much memory the data may take. 0: no limit.
        "maxmemory" maxmemory: u64 = "0", memory(0, u64::MAX);

        /// Which keys go to make room at `maxmemory`.
        ///
        /// Those least recently used (lru), least often used (lfu), any (random) or next to expire
        /// (ttl); among all keys, or only among those that expire (volatile). `noeviction`: none,
        /// writes are refused.
        "maxmemory-policy" maxmemory_policy: EvictionPolicy = "noeviction", EvictionPolicy::KIND,
            pending(NO_EVICTION);

        /// How many keys are compared to find one that goes: more is more exact and takes longer.
        "maxmemory-samples" maxmemory_samples: u32 = "5", integer(1, 64), pending(NO_EVICTION);

        /// How hard a command tries to make room before it is refused, 0 to 100.
        "maxmemory-eviction-tenacity" maxmemory_eviction_tenacity: u32 = "10", integer(0, 100),
            pending(NO_EVICTION);

        /// How many reads it takes to be counted as often used: the higher, the more.
        "lfu-log-factor" lfu_log_factor: u32 = "10", integer(0, INT);

        /// Minutes after which a key that is not used counts as less often used. 0: never.
        "lfu-decay-time" lfu_decay_time: u32 = "1", integer(0, INT);

        /// How much memory all client connections together may take. 0: no limit.
        "maxmemory-clients" maxmemory_clients: MemoryShare = "0", MemoryOrPercent,
            pending("a limit for all clients together is not built yet");
    }

    Encodings {
        /// A hash with more fields leaves its compact encoding.
        "hash-max-listpack-entries" hash_max_listpack_entries: u64 = "512", integer(0, LONG),
            also(&["hash-max-ziplist-entries"]);

        /// A hash with a longer field or value leaves its compact encoding.
        "hash-max-listpack-value" hash_max_listpack_value: u64 = "64", memory(0, LONG_BYTES),
            also(&["hash-max-ziplist-value"]);

        /// How big a node of a list may be: so many elements, or -1 to -5 for 4, 8, 16, 32 or 64
        /// kB.
        "list-max-listpack-size" list_max_listpack_size: i32 = "-2", integer(i32::MIN as i64, INT),
            also(&["list-max-ziplist-size"]);

        /// How many nodes at each end of a list are never compressed. 0: none is.
        "list-compress-depth" list_compress_depth: u32 = "0", integer(0, INT),
            pending("compressing lists is not built yet");

        /// A set of integers with more of them leaves its compact encoding.
        "set-max-intset-entries" set_max_intset_entries: u64 = "512", integer(0, LONG);

        /// A set with more members leaves its compact encoding.
        "set-max-listpack-entries" set_max_listpack_entries: u64 = "128", integer(0, LONG);

        /// A set with a longer member leaves its compact encoding.
        "set-max-listpack-value" set_max_listpack_value: u64 = "64", integer(0, LONG);

        /// A sorted set with more members leaves its compact encoding.
        "zset-max-listpack-entries" zset_max_listpack_entries: u64 = "128", integer(0, LONG),
            also(&["zset-max-ziplist-entries"]);

        /// A sorted set with a longer member leaves its compact encoding.
        "zset-max-listpack-value" zset_max_listpack_value: u64 = "64", memory(0, LONG_BYTES),
            also(&["zset-max-ziplist-value"]);

        /// How big a HyperLogLog may grow before it becomes a dense one.
        "hll-sparse-max-bytes" hll_sparse_max_bytes: u64 = "3000", memory(0, LONG_BYTES);

        /// How many bytes a node of a stream may have. 0: no limit.
        "stream-node-max-bytes" stream_node_max_bytes: u64 = "4096", memory(0, LONG_BYTES);

        /// How many entries a node of a stream may have. 0: no limit.
        "stream-node-max-entries" stream_node_max_entries: u64 = "100", integer(0, LONG);

        /// For how many seconds a new stream knows what IDMP called an entry. XCFGSET sets it for one that is there.
        "stream-idmp-duration" stream_idmp_duration: u64 = "100", integer(1, 86_400);

        /// How many such names of each producer a new stream knows. XCFGSET sets it for one that is there.
        "stream-idmp-maxsize" stream_idmp_maxsize: u64 = "100", integer(1, 10_000);
    }

    Persistence {
        /// When to save by itself: after so many seconds, if there were at least so many changes.
        ///
        /// Several pairs, or several lines, mean whichever comes first. `""` saves never.
        "save" save: SavePoints = "", SavePoints::KIND, pending(NO_PERSISTENCE);

        /// The name of the snapshot's file in `dir`.
        "dbfilename" dbfilename: String = "dump.rdb", Text(rules::dbfilename), protected,
            pending(NO_PERSISTENCE);

        /// Whether every change is written to an append-only file.
        "appendonly" appendonly: bool = "no", YesNo,
            refused("the append-only file is not built yet, so changes would be lost");

        /// When the append-only file is flushed to the disk.
        "appendfsync" appendfsync: AppendFsync = "everysec", AppendFsync::KIND,
            pending(NO_PERSISTENCE);

        /// How the names of the append-only files begin.
        "appendfilename" appendfilename: String = "appendonly.aof",
            Text(rules::appendfilename), at_start, pending(NO_PERSISTENCE);

        /// The directory in `dir` that holds the append-only files.
        "appenddirname" appenddirname: String = "appendonlydir",
            Text(rules::appenddirname), at_start, pending(NO_PERSISTENCE);
    }

    Observing {
        /// Commands that take at least so many microseconds are kept for SLOWLOG. 0: all; -1: none.
        "slowlog-log-slower-than" slowlog_log_slower_than: i64 = "10000", integer(-1, LONG),
            also(&["commandlog-execution-slower-than"]);

        /// How many slow commands SLOWLOG keeps.
        "slowlog-max-len" slowlog_max_len: u64 = "128", integer(0, LONG),
            also(&["commandlog-slow-execution-max-len"]);

        /// Events that take at least so many milliseconds are kept for LATENCY. 0: none.
        "latency-monitor-threshold" latency_monitor_threshold: u64 = "0", integer(0, LONG);

        /// Whether INFO tells how long each command takes.
        "latency-tracking" latency_tracking: bool = "yes", YesNo;

        /// Which percentiles INFO tells of each command's time.
        "latency-tracking-info-percentiles" latency_tracking_info_percentiles: Percentiles
            = "50 99 99.9", Percentiles::KIND;

        /// Which keyspace events are published.
        ///
        /// K: to `__keyspace@<db>__:<key>`, E: to `__keyevent@<db>__:<event>`; one of them is
        /// needed. Then of what: g generic, $ strings, l lists, s sets, h hashes, z sorted sets, t
        /// streams, x expired, e evicted, d modules, A all of these; and n new keys, m keys that
        /// were asked for and missed.
        "notify-keyspace-events" notify_keyspace_events: KeyspaceEvents = "", KeyspaceEvents::KIND,
            pending("Pub/Sub is not built yet");

        /// Transactions over several shards that hold their keys for at least so many milliseconds are
        /// logged. 0: all; -1: none.
        ///
        /// The line has the hashes of the keys, and whether each was to be read or written.
        "transaction-log-slower-than" transaction_log_slower_than: i64 = "1000", integer(-1, LONG);

        /// The TCP port of the metrics page for Prometheus. 0: none.
        ///
        /// `/metrics` is the page, `/healthz` says whether all shards answer. Nobody is asked for a
        /// password: it shows numbers, names of commands and settings, no keys and no values.
        "metrics-port" metrics_port: u16 = "0", TCP_PORT, at_start, shipped("9121");

        /// The addresses to serve the metrics page on, as in `bind`.
        "metrics-bind" metrics_bind: BindAddresses = "127.0.0.1 -::1",
            BindAddresses::KIND, at_start;
    }
}
