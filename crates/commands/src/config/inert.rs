//! Parameters of Redis and Valkey that have no use in this design: validated, stored and returned,
//! so that configuration files and tools keep working. The comment of each row is the reason, which
//! users read.

use super::Config;
use super::choices::*;
use super::kind::Kind::YesNo;
use super::kind::{ANY_TEXT, INT, LONG, LONG_BYTES, Stored, TCP_PORT, UINT, integer, memory};
use super::parameter::{Section, Standing, parameters};

parameters! {
    /// Parameters that are stored, but have no use in this design.
    pub struct Inert;
    path [.inert];
    rows INERT, Standing::Inert;
    with {}

    Network {
        /// The kernel accepts connections, and the server takes them in batches.
        "max-new-connections-per-cycle" max_new_connections_per_cycle: u32 = "10", integer(1, 1000);

        /// The kernel accepts connections, and the server takes them in batches.
        "max-new-tls-connections-per-cycle" max_new_tls_connections_per_cycle: u32 = "1",
            integer(1, 1000);

        /// Sockets are not marked.
        "socket-mark-id" socket_mark_id: u32 = "0", integer(0, UINT), at_start;

        /// Connections are plain TCP.
        "mptcp" mptcp: bool = "no", YesNo, at_start;

        /// Connections are plain TCP.
        "repl-mptcp" repl_mptcp: bool = "no", YesNo, at_start;

        /// There is no RDMA.
        "rdma-bind" rdma_bind: String = "", ANY_TEXT;

        /// There is no RDMA.
        "rdma-port" rdma_port: u16 = "0", TCP_PORT;

        /// There is no RDMA.
        "rdma-rx-size" rdma_rx_size: u32 = "1048576", integer(65536, 16_777_216), at_start;

        /// There is no RDMA.
        "rdma-completion-vector" rdma_completion_vector: i32 = "-1", integer(-1, INT), at_start;
    }

    Server {
        /// The rate of periodic work does not depend on the number of clients.
        "dynamic-hz" dynamic_hz: bool = "yes", YesNo;

        /// There is no logo to show.
        "always-show-logo" always_show_logo: bool = "no", YesNo, at_start;

        /// Each table grows in steps that are too small to need spreading.
        "activerehashing" activerehashing: bool = "yes", YesNo;

        /// Huge pages do no harm here because nothing forks.
        "disable-thp" disable_thp: bool = "yes", YesNo, at_start;

        /// There are no start-up checks to skip.
        "ignore-warnings" ignore_warnings: String = "", ANY_TEXT;

        /// `pin-threads` and the CPUs that the process may use decide where threads run.
        "server-cpulist" server_cpulist: String = "", ANY_TEXT, at_start, also(&["server_cpulist"]);

        /// There are no background threads to place.
        "bio-cpulist" bio_cpulist: String = "", ANY_TEXT, at_start, also(&["bio_cpulist"]);

        /// No process is forked to rewrite the append-only file.
        "aof-rewrite-cpulist" aof_rewrite_cpulist: String = "", ANY_TEXT, at_start,
            also(&["aof_rewrite_cpulist"]);

        /// No process is forked to save.
        "bgsave-cpulist" bgsave_cpulist: String = "", ANY_TEXT, at_start, also(&["bgsave_cpulist"]);
    }

    Cores {
        /// Every shard does its own I/O; see `shards`.
        "io-threads" io_threads: u32 = "1", integer(1, 256);

        /// Every shard does its own I/O; see `shards`.
        "io-threads-do-reads" io_threads_do_reads: bool = "no", YesNo, at_start;

        /// Every shard does its own I/O; see `shards`.
        "io-threads-always-active" io_threads_always_active: bool = "no", YesNo, hidden;

        /// Lookups of all connections are always batched.
        "prefetch-batch-max-size" prefetch_batch_max_size: u32 = "16", integer(0, 128);

        /// Replies are always written directly into the output buffer.
        "min-io-threads-avoid-copy-reply" min_io_threads_avoid_copy_reply: u32 = "7",
            integer(0, INT), hidden;

        /// Replies are always written directly into the output buffer.
        "min-string-size-avoid-copy-reply" min_string_size_avoid_copy_reply: u32 = "16384",
            integer(0, INT), hidden;

        /// Replies are always written directly into the output buffer.
        "min-string-size-avoid-copy-reply-threaded" min_string_size_avoid_copy_reply_threaded: u32
            = "65536", integer(0, INT), hidden;
    }

    Log {
        /// All log lines use one time format.
        "log-timestamp-format" log_timestamp_format: LogTimestampFormat = "legacy",
            LogTimestampFormat::KIND;

        /// Keys and values are never logged.
        "hide-user-data-from-log" hide_user_data_from_log: bool = "yes", YesNo;

        /// A crash always logs its cause and its place.
        "crash-log-enabled" crash_log_enabled: bool = "yes", YesNo;

        /// No memory test is run after a crash.
        "crash-memcheck-enabled" crash_memcheck_enabled: bool = "yes", YesNo;

        /// A failed assertion always aborts.
        "use-exit-on-panic" use_exit_on_panic: bool = "no", YesNo, hidden;

        /// Debug assertions belong to the build.
        "enable-debug-assert" enable_debug_assert: bool = "no", YesNo, at_start, hidden;

        /// Nothing reads it.
        "debug-context" debug_context: String = "", ANY_TEXT, hidden;

        /// Stalls are measured all the time, so no watchdog is needed.
        "watchdog-period" watchdog_period: u32 = "0", integer(0, INT), hidden;
    }

    Memory {
        /// Keys expire in order of time and never late, so there is no effort to set.
        "active-expire-effort" active_expire_effort: u32 = "1", integer(1, 10);

        /// Large values are always freed in slices, whatever removes them.
        "lazyfree-lazy-eviction" lazyfree_lazy_eviction: bool = "no", YesNo;

        /// Large values are always freed in slices, whatever removes them.
        "lazyfree-lazy-expire" lazyfree_lazy_expire: bool = "no", YesNo;

        /// Large values are always freed in slices, whatever removes them.
        "lazyfree-lazy-server-del" lazyfree_lazy_server_del: bool = "no", YesNo;

        /// Large values are always freed in slices, so DEL is as fast as UNLINK.
        "lazyfree-lazy-user-del" lazyfree_lazy_user_del: bool = "no", YesNo;

        /// Databases are always freed in slices, so FLUSHALL SYNC is as fast as FLUSHALL ASYNC.
        "lazyfree-lazy-user-flush" lazyfree_lazy_user_flush: bool = "no", YesNo;

        /// Databases are always freed in slices, whatever empties them.
        "replica-lazy-flush" replica_lazy_flush: bool = "no", YesNo, also(&["slave-lazy-flush"]);

        /// The allocator is not jemalloc.
        "jemalloc-bg-thread" jemalloc_bg_thread: bool = "yes", YesNo;

        /// The allocator returns pages by itself.
        "activedefrag" activedefrag: bool = "no", YesNo;

        /// The allocator returns pages by itself.
        "active-defrag-ignore-bytes" active_defrag_ignore_bytes: u64 = "100mb",
            memory(1, LONG_BYTES);

        /// The allocator returns pages by itself.
        "active-defrag-threshold-lower" active_defrag_threshold_lower: u32 = "10", integer(0, 1000);

        /// The allocator returns pages by itself.
        "active-defrag-threshold-upper" active_defrag_threshold_upper: u32 = "100",
            integer(0, 1000);

        /// The allocator returns pages by itself.
        "active-defrag-cycle-min" active_defrag_cycle_min: u32 = "1", integer(1, 99);

        /// The allocator returns pages by itself.
        "active-defrag-cycle-max" active_defrag_cycle_max: u32 = "25", integer(1, 99);

        /// The allocator returns pages by itself.
        "active-defrag-cycle-us" active_defrag_cycle_us: u32 = "500", integer(0, 100_000);

        /// The allocator returns pages by itself.
        "active-defrag-max-scan-fields" active_defrag_max_scan_fields: u64 = "1000",
            integer(1, LONG);
    }

    Encodings {
        /// Elements of a list are packed, and never compressed.
        "list-compress-depth" list_compress_depth: u32 = "0", integer(0, INT);
    }

    Persistence {
        /// Serialized values from outside are always validated completely before use.
        "sanitize-dump-payload" sanitize_dump_payload: SanitizeDump = "no", SanitizeDump::KIND;

        /// Clients are served every few milliseconds while data is loaded, however many bytes that are.
        "loading-process-events-interval-bytes" loading_process_events_interval_bytes: u32
            = "2097152", integer(1024, INT), hidden;

        /// Snapshots are always synced to the disk incrementally.
        "rdb-save-incremental-fsync" rdb_save_incremental_fsync: bool = "yes", YesNo;

        /// Syncs of the append-only file hold up no client, so none is skipped while it is rewritten.
        "no-appendfsync-on-rewrite" no_appendfsync_on_rewrite: bool = "no", YesNo;

        /// The append-only file is in a format of its own, its base among it.
        "aof-use-rdb-preamble" aof_use_rdb_preamble: bool = "yes", YesNo;

        /// The append-only file always records the times of changes.
        "aof-timestamp-enabled" aof_timestamp_enabled: bool = "no", YesNo;

        /// The append-only file's base is always synced to the disk incrementally.
        "aof-rewrite-incremental-fsync" aof_rewrite_incremental_fsync: bool = "yes", YesNo;
    }

    Replication {
        /// Full syncs and the replication stream always run in parallel.
        "dual-channel-replication-enabled" dual_channel_replication_enabled: bool = "no", YesNo;

        /// Full syncs and the replication stream always run in parallel.
        "repl-rdb-channel" repl_rdb_channel: bool = "yes", YesNo, hidden;
    }

    Cluster {
        /// Commands are not checked for compatibility with clusters.
        "cluster-compatibility-sample-ratio" cluster_compatibility_sample_ratio: u32 = "0",
            integer(0, 100);
    }

    Scripting {
        /// Redis' names are always available.
        "extended-redis-compatibility" extended_redis_compatibility: bool = "no", YesNo;

        /// Requests and replies are not recorded.
        "req-res-logfile" req_res_logfile: String = "", ANY_TEXT, at_start, hidden;
    }
}
