//! The parameters with an effect: one row each, which is also a field of `Config`.
//!
//! A row reads `"name" field: Type = "default", kind, notes;` and its comment is the text of the
//! reference, of `config/basalt.conf` and of the field: the first paragraph is its meaning, the
//! rest has details. A row without an effect yet has the note `pending` with the reason. To add a
//! parameter, add a row here, then run `UPDATE=1 cargo test -p basalt-commands generated`.
//!
//! Not here: parameters whose feature is not built yet (`later`) or that have no use in this design
//! (`inert`).

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

const NO_SHUTDOWN_OPTIONS: &str = "signals that save or wait for replicas are not built yet";

parameters! {
    /// All parameters: one field each.
    ///
    /// A change returns a new `Config` (`Config::set`), so readers never see a partial change.
    pub struct Config;
    path [];
    rows USED, Standing::Used;
    with {
        /// Parameters that are stored, but have no effect yet.
        pub later: Later,
        /// Parameters that are stored, but have no use in this design.
        pub inert: Inert,
    }

    Network {
        /// The addresses to listen on.
        ///
        /// A minus sign before an address means that it is no error if this machine does not have
        /// it. `*` is every IPv4 address, `::*` every IPv6 address, `""` none at all.
        "bind" bind: BindAddresses = "127.0.0.1 -::1", BindAddresses::KIND;

        /// The TCP port. 0 turns TCP off: clients then need a `unixsocket`.
        "port" port: u16 = "6379", TCP_PORT;

        /// The path of a Unix socket to listen on. Empty: no Unix socket.
        ///
        /// An existing socket on which nothing listens is replaced. If anything else is at the
        /// path, it is not touched and the server does not start; Redis removes whatever is there.
        "unixsocket" unixsocket: String = "", ANY_TEXT, at_start;

        /// The permissions of the Unix socket's file, such as 700. 0: as the umask sets them.
        "unixsocketperm" unixsocketperm: u32 = "0", Octal { max: 0o777 }, at_start;

        /// The name of the group of the Unix socket's file. Empty: the system's default.
        "unixsocketgroup" unixsocketgroup: String = "", ANY_TEXT, at_start;

        /// How many connections may wait to be accepted. The kernel caps the number at
        /// `net.core.somaxconn`.
        "tcp-backlog" tcp_backlog: u32 = "511", integer(0, INT), at_start;

        /// Seconds of silence after which the kernel checks that a client is still alive. 0: never.
        "tcp-keepalive" tcp_keepalive: u32 = "300", integer(0, INT);

        /// Seconds after which an idle client is disconnected. 0: never.
        "timeout" timeout: u32 = "0", integer(0, INT);

        /// How many clients may be connected at a time. Further ones get an error and are
        /// disconnected.
        "maxclients" maxclients: u32 = "10000", integer(1, UINT);

        /// Whether to refuse clients of other machines while no password is set.
        ///
        /// It acts only while `requirepass` is empty. The refused client gets an error that
        /// explains what to change.
        "protected-mode" protected_mode: bool = "yes", YesNo;
    }

    Server {
        /// Whether to run in the background. If so, a `pidfile` is written.
        "daemonize" daemonize: bool = "no", YesNo, at_start;

        /// Which supervisor is notified of start and stop; the process then stays in the
        /// foreground, whatever `daemonize` says.
        ///
        /// `systemd`: READY=1, STOPPING=1 and STATUS are sent to $NOTIFY_SOCKET (a unit with
        /// Type=notify). `upstart`: SIGSTOP, if $UPSTART_JOB is set. `auto`: whichever of the two
        /// variables is set.
        "supervised" supervised: Supervised = "no", Supervised::KIND, at_start;

        /// The file for the process ID. Empty: none, or /var/run/basalt.pid when daemonized.
        "pidfile" pidfile: String = "", ANY_TEXT, at_start;

        /// The directory that data is saved to and loaded from. It must exist.
        "dir" dir: String = "./", ANY_TEXT, protected;

        /// The number of databases. SELECT numbers them from 0.
        "databases" databases: u32 = "16", integer(1, DATABASES_MAX), at_start;

        /// How often per second Redis' periodic work runs; here it is only shown by INFO.
        ///
        /// Keys expire on time, and an idle shard sleeps. Values outside of 1 to 500 are clamped to
        /// that range.
        "hz" hz: u32 = "10", Clamped { min: 1, max: 500 };

        /// A text that decides the order in which SCAN, HSCAN, SSCAN and ZSCAN iterate. Empty:
        /// every start draws a random one.
        ///
        /// A cursor is valid on every server of this version with the same text, whatever its
        /// number of shards, and after a restart. Keep the text secret: with it, an attacker can
        /// choose keys that collide.
        "hash-seed" hash_seed: String = "", Text(rules::hash_seed), at_start, secret;

        /// Whether the process sets its title in `ps` from `proc-title-template`.
        "set-proc-title" set_proc_title: bool = "yes", YesNo, at_start;

        /// The title of the process in `ps`.
        ///
        /// `{title}` is the program, `{listen-addr}` its first address; there are also
        /// `{server-mode}`, `{port}`, `{tls-port}`, `{unixsocket}` and `{config-file}`.
        "proc-title-template" proc_title_template: String = "{title} {listen-addr} {server-mode}",
            Text(rules::proc_title_template);

        /// Whether the process' OOM score is set, by which the kernel decides what to kill when memory
        /// runs out: to a value beside the one that the process has (`relative`, `yes`), or to the
        /// value itself (`absolute`). `no`: it is left alone, and restored if it was changed.
        "oom-score-adj" oom_score_adj: OomScoreAdj = "no", OomScoreAdj::KIND;

        /// The values for `oom-score-adj`: of a primary, of a replica, and of a forked process, which
        /// there is none of.
        "oom-score-adj-values" oom_score_adj_values: OomScores = "0 200 800", OomScores::KIND;

        /// Seconds that SHUTDOWN waits for replicas that lag behind.
        "shutdown-timeout" shutdown_timeout: u32 = "10", integer(0, INT),
            pending(NO_REPLICATION);

        /// Options of the SHUTDOWN that a SIGINT causes.
        "shutdown-on-sigint" shutdown_on_sigint: ShutdownOptions = "default", ShutdownOptions::KIND,
            pending(NO_SHUTDOWN_OPTIONS);

        /// Options of the SHUTDOWN that a SIGTERM causes.
        "shutdown-on-sigterm" shutdown_on_sigterm: ShutdownOptions = "default",
            ShutdownOptions::KIND, pending(NO_SHUTDOWN_OPTIONS);
    }

    Cores {
        /// How many shards hold the data, each with its own thread. 0: one per CPU that the process
        /// may use.
        ///
        /// The number of usable CPUs is the smaller of the size of the affinity mask and of the CPU
        /// quota of the control groups, rounded up.
        ///
        /// Every command works with any number of shards. More shards than CPUs only make sense in
        /// tests.
        "shards" shards: u8 = "0", integer(0, 64), at_start;

        /// Whether each shard's thread is pinned to one CPU. `auto`: if there are enough CPUs for
        /// all shards and no CPU quota grants less.
        "pin-threads" pin_threads: Auto = "auto", Auto::KIND, at_start;

        /// The order in which the commands of one pipeline may run when their keys are on different
        /// shards.
        ///
        /// `relaxed`: commands and EXECs that have no key in common may overtake each other if they
        /// run on different shards, as with a cluster client; replies keep their order. `strict`: a
        /// command waits for the previous one if that runs on another shard, as on a server with
        /// one thread; pipelines are slower.
        "pipeline-order" pipeline_order: PipelineOrder = "relaxed", PipelineOrder::KIND;

        /// Whether slots move automatically from a shard that is much busier than the others to the
        /// least busy one.
        ///
        /// The loads of the shards are compared once per second. At most 64 slots move at a time,
        /// while all commands wait for some tenths of a millisecond. A single slot that keeps its
        /// shard busy stays where it is.
        "balance-slots" balance_slots: bool = "no", YesNo;

        /// Microseconds that an idle shard polls for work before it sleeps.
        ///
        /// To sleep and wake up costs 20 to 40 µs on a virtual machine: about 20 here makes a
        /// single client faster, at the price of CPU time. 0: sleep at once.
        "spin-us" spin_us: u32 = "0", integer(0, 1_000_000);

        /// Microseconds that a busy shard waits for requests from most of its active clients before
        /// it runs a batch, if there are several shards.
        ///
        /// Requests that cross to another core together cost a third less CPU time. In return each
        /// request may wait up to this long on its own shard, on the shard of its key, and for its
        /// reply. A less busy shard waits less: 400 µs if it works a quarter of the time, 27 if a
        /// tenth. With fewer than 8 clients at a time it never waits. While batches have been
        /// filling in time, a wait for one that does not may last a millisecond. Below 25: no shard
        /// ever waits. Needs Linux 6.12.
        "gather-us" gather_us: u32 = "600", integer(0, 10_000);
    }

    Log {
        /// The verbosity of the log: each level includes the ones after it.
        "loglevel" loglevel: LogLevel = "notice", LogLevel::KIND;

        /// The file to log to. Empty: standard output.
        "logfile" logfile: String = "", ANY_TEXT, at_start;

        /// The format of log lines: text, or a JSON object per line. `legacy` is another word for
        /// `human`.
        "log-format" log_format: LogFormat = "human", LogFormat::KIND, at_start;
    }

    Security {
        /// The password of the default user. Empty: no password is needed.
        "requirepass" requirepass: Secret = "", Password, secret;

        /// Which clients may call DEBUG: none, all, or those of this machine.
        "enable-debug-command" enable_debug_command: Allowed = "no", Allowed::KIND, at_start;

        /// Which clients may change `dir` and `dbfilename` with CONFIG SET: none, all, or those of
        /// this machine.
        "enable-protected-configs" enable_protected_configs: Allowed = "no", Allowed::KIND,
            at_start;

        /// Which clients may call MODULE LOAD, LOADEX and UNLOAD, which reply that there is no such
        /// module: none, all, or those of this machine.
        "enable-module-command" enable_module_command: Allowed = "no", Allowed::KIND, at_start;
    }

    Clients {
        /// The longest string that a request may contain, and the maximum length of a value.
        ///
        /// Lengths in memory have 32 bits, so the maximum is a MiB less than 4 GiB; Redis has no
        /// maximum.
        "proto-max-bulk-len" proto_max_bulk_len: u64 = "512mb",
            memory(1 << 20, TEXT_BYTES_MAX as u64);

        /// How many bytes of an incomplete request a client may have in its query buffer.
        "client-query-buffer-limit" client_query_buffer_limit: u64 = "1gb",
            memory(1 << 20, LONG_BYTES);

        /// When to disconnect a client that does not read its replies.
        ///
        /// At once if more bytes than the hard limit are waiting for it, or if more than the soft
        /// limit have been waiting for this many seconds. 0: no limit. `slave` is another word for
        /// `replica`.
        "client-output-buffer-limit" client_output_buffer_limit: OutputLimits
            = "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", OutputLimits::KIND;

        /// How many keys are tracked for client-side caching. 0: no limit.
        ///
        /// With more, those that were read first are dropped, and their clients are told that they
        /// changed.
        "tracking-table-max-keys" tracking_table_max_keys: u64 = "1000000", integer(0, LONG);
    }

    Memory {
        /// How much memory data and clients may use. 0: no limit.
        ///
        /// A percentage is one of what the process may use: the machine's memory, or less where a
        /// control group or the process' limit of address space grants less. It follows the control
        /// group's limit when that changes.
        "maxmemory" maxmemory: MemoryShare = "0",
            MemoryOrPercent { max: u64::MAX, of: "what the process may use" };

        /// Which keys are evicted at `maxmemory`.
        ///
        /// The least recently used (lru), the least frequently used (lfu), the least recently
        /// modified (lrm), random ones (random), the next to expire (ttl) or those of the fewest uses for
        /// their size, old uses fading as fast as serves best (lrfu, ours); among all keys
        /// (allkeys), or only among those with an expiry (volatile). `noeviction`: none, writes are
        /// refused.
        "maxmemory-policy" maxmemory_policy: EvictionPolicy = "noeviction", EvictionPolicy::KIND;

        /// How many keys are sampled to find one to evict: more samples are more exact and take
        /// longer.
        "maxmemory-samples" maxmemory_samples: u32 = "5", integer(1, 64);

        /// How many keys a command may evict before it runs, if more must go: 0 for few, 100 for as
        /// many as it takes. The rest goes bit by bit.
        "maxmemory-eviction-tenacity" maxmemory_eviction_tenacity: u32 = "10", integer(0, 100);

        /// How many hits it takes to raise the LFU counter of a key: a higher factor needs more.
        "lfu-log-factor" lfu_log_factor: u32 = "10", integer(0, INT);

        /// Minutes without use after which the LFU counter of a key is lowered. 0: never.
        "lfu-decay-time" lfu_decay_time: u32 = "1", integer(0, INT);

        /// How much memory all client connections together may use. 0: no limit.
        ///
        /// With more, those are cut off that use most, but for those that said CLIENT NO-EVICT ON.
        "maxmemory-clients" maxmemory_clients: MemoryShare = "0",
            MemoryOrPercent { max: LONG_BYTES, of: "maxmemory" };
    }

    Encodings {
        /// A hash with more fields uses the hashtable encoding.
        "hash-max-listpack-entries" hash_max_listpack_entries: u64 = "512", integer(0, LONG),
            also(&["hash-max-ziplist-entries"]);

        /// A hash with a longer field or value uses the hashtable encoding.
        "hash-max-listpack-value" hash_max_listpack_value: u64 = "64", memory(0, LONG_BYTES),
            also(&["hash-max-ziplist-value"]);

        /// The maximum size of a list's node: a number of elements, or -1 to -5 for 4, 8, 16, 32 or
        /// 64 kB.
        "list-max-listpack-size" list_max_listpack_size: i32 = "-2", integer(i32::MIN as i64, INT),
            also(&["list-max-ziplist-size"]);

        /// A set of more integers leaves the intset encoding.
        "set-max-intset-entries" set_max_intset_entries: u64 = "512", integer(0, LONG);

        /// A set with more members leaves the listpack encoding.
        "set-max-listpack-entries" set_max_listpack_entries: u64 = "128", integer(0, LONG);

        /// A set with a longer member leaves the listpack encoding.
        "set-max-listpack-value" set_max_listpack_value: u64 = "64", integer(0, LONG);

        /// A sorted set with more members uses the skiplist encoding.
        "zset-max-listpack-entries" zset_max_listpack_entries: u64 = "128", integer(0, LONG),
            also(&["zset-max-ziplist-entries"]);

        /// A sorted set with a longer member uses the skiplist encoding.
        "zset-max-listpack-value" zset_max_listpack_value: u64 = "64", memory(0, LONG_BYTES),
            also(&["zset-max-ziplist-value"]);

        /// The size above which a sparse HyperLogLog is converted to the dense encoding.
        "hll-sparse-max-bytes" hll_sparse_max_bytes: u64 = "3000", memory(0, LONG_BYTES);

        /// The maximum size of a stream's node in bytes. 0: no limit.
        "stream-node-max-bytes" stream_node_max_bytes: u64 = "4096", memory(0, LONG_BYTES);

        /// The maximum number of entries in a stream's node. 0: no limit.
        "stream-node-max-entries" stream_node_max_entries: u64 = "100", integer(0, LONG);

        /// Seconds for which a new stream remembers idempotency IDs. XCFGSET changes it for an
        /// existing stream.
        "stream-idmp-duration" stream_idmp_duration: u64 = "100", integer(1, 86_400);

        /// How many idempotency IDs per producer a new stream remembers. XCFGSET changes it for an
        /// existing stream.
        "stream-idmp-maxsize" stream_idmp_maxsize: u64 = "100", integer(1, 10_000);
    }

    Persistence {
        /// When to save automatically: after this many seconds, if there were at least this many
        /// changes.
        ///
        /// With several pairs, or several lines, the first that is met counts. `""` turns saving
        /// off.
        "save" save: SavePoints = "", SavePoints::KIND;

        /// The name of the snapshot file in `dir`.
        "dbfilename" dbfilename: String = "dump.rdb", Text(rules::dbfilename), protected;

        /// Whether snapshots and DUMP compress long strings.
        "rdbcompression" rdbcompression: bool = "yes", YesNo;

        /// Whether snapshots end with a checksum, and are refused at the start if it is wrong.
        "rdbchecksum" rdbchecksum: bool = "yes", YesNo, at_start;

        /// The servers that snapshots and DUMP are written for.
        ///
        /// `latest`: nothing is left out, and each value is written in the oldest version that
        /// holds it; most are read by Redis 7.0 and Valkey 9. `redis7`, `redis8`, `valkey9`: for
        /// that family from this version on; what it has no form for is left out with a warning,
        /// or refused.
        "rdb-target" rdb_target: RdbTarget = "latest", RdbTarget::KIND;

        /// Whether every change is written to an append-only file.
        "appendonly" appendonly: bool = "no", YesNo;

        /// When the append-only file is synced to the disk.
        "appendfsync" appendfsync: AppendFsync = "everysec", AppendFsync::KIND;

        /// The prefix of the names of the append-only files.
        "appendfilename" appendfilename: String = "appendonly.aof",
            Text(rules::appendfilename), at_start, pending(NO_PERSISTENCE);

        /// The directory in `dir` that holds the append-only files.
        "appenddirname" appenddirname: String = "appendonlydir",
            Text(rules::appenddirname), at_start;

        /// Whether a journal that ends in the midst of a frame, as after a crash, is loaded up to there.
        "aof-load-truncated" aof_load_truncated: bool = "yes", YesNo;

        /// The growth in percent after which the append-only file is rewritten. 0: never.
        "auto-aof-rewrite-percentage" auto_aof_rewrite_percentage: u32 = "100", integer(0, INT);

        /// The size below which the append-only file is not rewritten automatically.
        "auto-aof-rewrite-min-size" auto_aof_rewrite_min_size: u64 = "64mb", memory(0, LONG_BYTES);

        /// Whether to refuse writes after a save that failed, until one succeeds, where there are save
        /// points.
        "stop-writes-on-bgsave-error" stop_writes_on_bgsave_error: bool = "yes", YesNo;
    }

    Observing {
        /// Commands that take at least this many microseconds are added to the slow log. 0: all;
        /// -1: none.
        "slowlog-log-slower-than" slowlog_log_slower_than: i64 = "10000", integer(-1, LONG),
            also(&["commandlog-execution-slower-than"]);

        /// The maximum length of the slow log.
        "slowlog-max-len" slowlog_max_len: u64 = "128", integer(0, LONG),
            also(&["commandlog-slow-execution-max-len"]);

        /// Events that take at least this many milliseconds are recorded for LATENCY. 0: none.
        "latency-monitor-threshold" latency_monitor_threshold: u64 = "0", integer(0, LONG);

        /// Whether the latencies of each command are tracked for INFO.
        "latency-tracking" latency_tracking: bool = "yes", YesNo;

        /// Which percentiles of each command's latency INFO shows.
        "latency-tracking-info-percentiles" latency_tracking_info_percentiles: Percentiles
            = "50 99 99.9", Percentiles::KIND;

        /// Which keyspace events are published.
        ///
        /// K: to `__keyspace@<db>__:<key>`, E: to `__keyevent@<db>__:<event>`; at least one of them
        /// is needed. Then the classes: g generic, $ strings, l lists, s sets, h hashes, z sorted
        /// sets, t streams, x expired, e evicted, d modules, A all of these; and n new keys, m key
        /// misses, o overwritten values, c changed types.
        "notify-keyspace-events" notify_keyspace_events: KeyspaceEvents = "", KeyspaceEvents::KIND;

        /// Transactions over several shards that hold their keys for at least this many
        /// milliseconds are logged. 0: all; -1: none.
        ///
        /// The line has the hashes of the keys, and whether each was held for reading or for
        /// writing.
        "transaction-log-slower-than" transaction_log_slower_than: i64 = "1000", integer(-1, LONG);

        /// The TCP port of the metrics page for Prometheus. 0: none.
        ///
        /// `/metrics` is the page; `/healthz` returns whether all shards respond. Neither needs a
        /// password: they show numbers, names of commands and settings and, by `metrics-top-keys`,
        /// of some keys, but no values.
        "metrics-port" metrics_port: u16 = "0", TCP_PORT, at_start, shipped("9121");

        /// The addresses on which to serve the metrics page, as in `bind`.
        "metrics-bind" metrics_bind: BindAddresses = "127.0.0.1 -::1",
            BindAddresses::KIND, at_start;

        /// How many keys of each shard the metrics page and INFO hotkeys and bigkeys show: those
        /// used most, and the largest of each type. 0: none.
        "metrics-top-keys" metrics_top_keys: u32 = "10", integer(0, 32);
    }

    Scripting {
        /// Milliseconds of work after which a script is ended; after ten times as many, if it wrote.
        /// 0: never.
        "busy-reply-threshold" busy_reply_threshold: u64 = "5000", integer(0, LONG),
            also(&["lua-time-limit"]);

        /// Whether scripts may use deprecated Lua functions.
        "lua-enable-deprecated-api" lua_enable_deprecated_api: bool = "no", YesNo, at_start, hidden;

        /// Whether scripts may use insecure Lua functions.
        "lua-enable-insecure-api" lua_enable_insecure_api: bool = "no", YesNo, hidden, protected;
    }
}
