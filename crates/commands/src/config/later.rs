//! Parameters whose feature is still to be built: they are checked, kept and served, and nothing
//! acts on them. A value other than the default causes a warning at start, and CONFIG SET refuses it.
//!
//! Where a warning is not enough (a replica that does not replicate) start refuses it too. Who builds the feature moves the row to `table`, where its field is one of `Config`.

use super::Config;
use super::choices::*;
use super::kind::Kind::{self, YesNo};
use super::kind::{ANY_TEXT, INT, LONG, LONG_BYTES, Stored, TCP_PORT, integer, memory};
use super::parameter::{NO_CLUSTER, NO_REPLICATION, NO_TLS, Section, Standing, parameters};
use super::rules;
use super::types::*;

const NO_SYSLOG: &str = "logging to syslog is not built yet";
const NO_USERS: &str = "users and their rights are not built yet";
const NO_COMMANDLOG: &str = "COMMANDLOG is not built yet";

parameters! {
    /// Parameters that are known and kept, but on which nothing acts yet.
    pub struct Later;
    path [.later];
    rows LATER, Standing::Later;
    with {}

    Server {
        /// Whether to log to syslog too.
        "syslog-enabled" syslog_enabled: bool = "no", YesNo, at_start, pending(NO_SYSLOG);

        /// The name in syslog.
        "syslog-ident" syslog_ident: String = "basalt", ANY_TEXT, at_start, pending(NO_SYSLOG);

        /// The facility in syslog.
        "syslog-facility" syslog_facility: SyslogFacility = "local0", SyslogFacility::KIND,
            at_start, pending(NO_SYSLOG);

        /// A name of the zone that this server runs in, for clients that choose the nearest.
        "availability-zone" availability_zone: String = "", ANY_TEXT,
            pending("availability zones are not built yet");

        /// How SORT compares text: a locale. Empty: byte by byte.
        "locale-collate" locale_collate: String = "", ANY_TEXT,
            pending("locales are not built yet");
    }

    Security {
        /// The file that ACL LOAD reads users from.
        "aclfile" aclfile: String = "", ANY_TEXT, at_start,
            refused("users from a file are not built yet; use requirepass");

        /// Which channels a new user may use.
        "acl-pubsub-default" acl_pubsub_default: AclPubsubDefault = "resetchannels",
            AclPubsubDefault::KIND, pending(NO_USERS);

        /// How many refusals ACL LOG keeps.
        "acllog-max-len" acllog_max_len: u64 = "128", integer(0, LONG), pending(NO_USERS);
    }

    Clients {
        /// How many keys are remembered for client-side caching. 0: no limit.
        "tracking-table-max-keys" tracking_table_max_keys: u64 = "1000000", integer(0, LONG),
            pending("CLIENT TRACKING is not built yet");

        /// The protocol version of a client that has not said HELLO.
        "client-default-resp" client_default_resp: u8 = "2", integer(2, 3), at_start, hidden,
            pending("another protocol at the start is not built yet");
    }

    Observing {
        /// Requests of at least so many bytes are kept for COMMANDLOG. -1: none.
        "commandlog-request-larger-than" commandlog_request_larger_than: i64 = "1048576",
            integer(-1, LONG), pending(NO_COMMANDLOG);

        /// Replies of at least so many bytes are kept for COMMANDLOG. -1: none.
        "commandlog-reply-larger-than" commandlog_reply_larger_than: i64 = "1048576",
            integer(-1, LONG), pending(NO_COMMANDLOG);

        /// How many large requests COMMANDLOG keeps.
        "commandlog-large-request-max-len" commandlog_large_request_max_len: u64 = "128",
            integer(0, LONG), pending(NO_COMMANDLOG);

        /// How many large replies COMMANDLOG keeps.
        "commandlog-large-reply-max-len" commandlog_large_reply_max_len: u64 = "128",
            integer(0, LONG), pending(NO_COMMANDLOG);
    }

    Scripting {
        /// Milliseconds after which a script counts as slow: other clients are told BUSY, SCRIPT
        /// KILL works.
        "busy-reply-threshold" busy_reply_threshold: u64 = "5000", integer(0, LONG),
            also(&["lua-time-limit"]);

        /// Whether scripts may use Lua functions that are no longer offered.
        "lua-enable-deprecated-api" lua_enable_deprecated_api: bool = "no", YesNo, at_start, hidden;

        /// Whether scripts may use Lua functions that are not safe.
        "lua-enable-insecure-api" lua_enable_insecure_api: bool = "no", YesNo, hidden, protected;
    }

    Persistence {
        /// Whether snapshots compress long strings.
        "rdbcompression" rdbcompression: bool = "yes", YesNo;

        /// Whether snapshots end with a checksum.
        "rdbchecksum" rdbchecksum: bool = "yes", YesNo, at_start;

        /// Whether snapshots of a newer version are refused.
        "rdb-version-check" rdb_version_check: RdbVersionCheck = "strict", RdbVersionCheck::KIND;

        /// Whether snapshots that were only made for replication are removed.
        "rdb-del-sync-files" rdb_del_sync_files: bool = "no", YesNo;

        /// Whether writes are refused while snapshots fail.
        "stop-writes-on-bgsave-error" stop_writes_on_bgsave_error: bool = "yes", YesNo;

        /// Whether values from outside are checked to their last byte before they are used.
        "sanitize-dump-payload" sanitize_dump_payload: SanitizeDump = "no", SanitizeDump::KIND;

        /// Whether the append-only file is not flushed while its base is rewritten.
        "no-appendfsync-on-rewrite" no_appendfsync_on_rewrite: bool = "no", YesNo;

        /// The append-only file's base is rewritten when it has grown by so many percent. 0: never.
        "auto-aof-rewrite-percentage" auto_aof_rewrite_percentage: u32 = "100", integer(0, INT);

        /// The append-only file's base is not rewritten by itself below this size.
        "auto-aof-rewrite-min-size" auto_aof_rewrite_min_size: u64 = "64mb", memory(0, LONG_BYTES);

        /// Whether an append-only file that ends in the middle of a change is loaded up to there.
        "aof-load-truncated" aof_load_truncated: bool = "yes", YesNo;

        /// Whether the append-only file's base is a snapshot.
        "aof-use-rdb-preamble" aof_use_rdb_preamble: bool = "yes", YesNo;

        /// Whether the append-only file tells when a change was made.
        "aof-timestamp-enabled" aof_timestamp_enabled: bool = "no", YesNo;

        /// Whether files of the append-only file that are no longer used stay.
        "aof-disable-auto-gc" aof_disable_auto_gc: bool = "no", YesNo, hidden;

        /// For tests: microseconds to wait after each key that is saved.
        "rdb-key-save-delay" rdb_key_save_delay: i32 = "0", integer(i32::MIN as i64, INT), hidden;

        /// For tests: microseconds to wait after each key that is loaded.
        "key-load-delay" key_load_delay: i32 = "0", integer(i32::MIN as i64, INT), hidden;

        /// While loading, clients are looked after each so many bytes.
        "loading-process-events-interval-bytes" loading_process_events_interval_bytes: u32
            = "2097152", integer(1024, INT), hidden;
    }

    Replication {
        /// The primary to replicate from.
        "replicaof" replicaof: Primary = "no one", Primary::KIND, at_start, also(&["slaveof"]),
            refused(NO_REPLICATION);

        /// The password that the primary asks for.
        "masterauth" masterauth: Secret = "", Kind::Password, secret, also(&["primaryauth"]);

        /// The user to log in to the primary as.
        "masteruser" masteruser: Secret = "", Kind::Password, secret, also(&["primaryuser"]);

        /// Whether a replica answers while it has lost its primary.
        "replica-serve-stale-data" replica_serve_stale_data: bool = "yes", YesNo,
            also(&["slave-serve-stale-data"]);

        /// Whether a replica refuses writes of its clients.
        "replica-read-only" replica_read_only: bool = "yes", YesNo, also(&["slave-read-only"]);

        /// Whether a replica leaves eviction to its primary.
        "replica-ignore-maxmemory" replica_ignore_maxmemory: bool = "yes", YesNo,
            also(&["slave-ignore-maxmemory"]);

        /// Whether a replica goes on when it cannot write to its disk.
        "replica-ignore-disk-write-errors" replica_ignore_disk_write_errors: bool = "no", YesNo;

        /// Which replica is promoted first: the lowest number. 0: never this one.
        "replica-priority" replica_priority: u32 = "100", integer(0, INT),
            also(&["slave-priority"]);

        /// Whether others are told of this replica.
        "replica-announced" replica_announced: bool = "yes", YesNo;

        /// The address that a replica tells its primary.
        "replica-announce-ip" replica_announce_ip: String = "", ANY_TEXT,
            also(&["slave-announce-ip"]);

        /// The port that a replica tells its primary.
        "replica-announce-port" replica_announce_port: u16 = "0", TCP_PORT,
            also(&["slave-announce-port"]);

        /// How much may wait in memory for a replica that is being filled. 0: as
        /// `client-output-buffer-limit`.
        "replica-full-sync-buffer-limit" replica_full_sync_buffer_limit: u64 = "0",
            memory(0, LONG_BYTES);

        /// Whether replicas are filled without a file on this disk.
        "repl-diskless-sync" repl_diskless_sync: bool = "yes", YesNo;

        /// Seconds to wait for further replicas before filling them.
        "repl-diskless-sync-delay" repl_diskless_sync_delay: u32 = "5", integer(0, INT);

        /// How many replicas it takes to start filling them at once. 0: always wait.
        "repl-diskless-sync-max-replicas" repl_diskless_sync_max_replicas: u32 = "0",
            integer(0, INT);

        /// Whether a replica loads its data without a file on its disk.
        "repl-diskless-load" repl_diskless_load: DisklessLoad = "disabled", DisklessLoad::KIND;

        /// Whether small packets to replicas are put together.
        "repl-disable-tcp-nodelay" repl_disable_tcp_nodelay: bool = "no", YesNo;

        /// Seconds between two signs of life to replicas.
        "repl-ping-replica-period" repl_ping_replica_period: u32 = "10", integer(1, INT),
            also(&["repl-ping-slave-period"]);

        /// Seconds of silence after which the other side counts as lost.
        "repl-timeout" repl_timeout: u32 = "60", integer(1, INT);

        /// How much is kept for replicas that come back.
        "repl-backlog-size" repl_backlog_size: u64 = "1mb", memory(1, LONG_BYTES);

        /// Seconds after the last replica that this is kept. 0: for ever.
        "repl-backlog-ttl" repl_backlog_ttl: u64 = "3600", integer(0, LONG);

        /// Writes are refused with fewer replicas in good state. 0: never.
        "min-replicas-to-write" min_replicas_to_write: u32 = "0", integer(0, INT),
            also(&["min-slaves-to-write"]), refused(NO_REPLICATION);

        /// Seconds of silence after which a replica is no longer in good state.
        "min-replicas-max-lag" min_replicas_max_lag: u32 = "10", integer(0, INT),
            also(&["min-slaves-max-lag"]);

        /// What happens when a change cannot be replayed.
        "propagation-error-behavior" propagation_error_behavior: PropagationErrors = "ignore",
            PropagationErrors::KIND;

        /// The address from which this server connects to others.
        "bind-source-addr" bind_source_addr: String = "", ANY_TEXT;

        /// Whether data from elsewhere is being brought in: then nothing expires or is evicted.
        "import-mode" import_mode: bool = "no", YesNo;
    }

    Cluster {
        /// Whether this server is a node of a cluster.
        "cluster-enabled" cluster_enabled: bool = "no", YesNo, at_start, refused(NO_CLUSTER);

        /// The file in which the node keeps what it knows of the cluster.
        "cluster-config-file" cluster_config_file: String = "nodes.conf", ANY_TEXT, at_start;

        /// Milliseconds of silence after which a node counts as lost.
        "cluster-node-timeout" cluster_node_timeout: u64 = "15000", integer(0, LONG);

        /// For tests: milliseconds between two signs of life to other nodes.
        "cluster-ping-interval" cluster_ping_interval: u64 = "0", integer(0, LONG), hidden;

        /// The port of the cluster bus. 0: 10000 above `port`.
        "cluster-port" cluster_port: u16 = "0", TCP_PORT, at_start;

        /// Milliseconds that a manual failover may take.
        "cluster-manual-failover-timeout" cluster_manual_failover_timeout: u32 = "5000",
            integer(1, INT);

        /// A replica that was away for longer than so many timeouts is not promoted. 0: no matter.
        "cluster-replica-validity-factor" cluster_replica_validity_factor: u32 = "10",
            integer(0, INT),
            also(&["cluster-slave-validity-factor"]);

        /// Whether a replica is never promoted by itself.
        "cluster-replica-no-failover" cluster_replica_no_failover: bool = "no", YesNo,
            also(&["cluster-slave-no-failover"]);

        /// How many replicas a primary keeps when one of them goes to another primary.
        "cluster-migration-barrier" cluster_migration_barrier: u32 = "1", integer(0, INT);

        /// Whether replicas go to primaries that have none.
        "cluster-allow-replica-migration" cluster_allow_replica_migration: bool = "yes", YesNo;

        /// Whether nodes stop when slots are not served by anyone.
        "cluster-require-full-coverage" cluster_require_full_coverage: bool = "yes", YesNo;

        /// Whether reads go on when the cluster is down.
        "cluster-allow-reads-when-down" cluster_allow_reads_when_down: bool = "no", YesNo;

        /// Whether sharded Pub/Sub goes on when the cluster is down.
        "cluster-allow-pubsubshard-when-down" cluster_allow_pubsubshard_when_down: bool = "yes",
            YesNo;

        /// How much may wait for another node. 0: no limit.
        "cluster-link-sendbuf-limit" cluster_link_sendbuf_limit: u64 = "0", memory(0, u64::MAX);

        /// The address told to others.
        "cluster-announce-ip" cluster_announce_ip: String = "", ANY_TEXT;

        /// The IPv4 address told to clients.
        "cluster-announce-client-ipv4" cluster_announce_client_ipv4: String = "",
            Kind::Text(rules::ipv4_address);

        /// The IPv6 address told to clients.
        "cluster-announce-client-ipv6" cluster_announce_client_ipv6: String = "",
            Kind::Text(rules::ipv6_address);

        /// The port told to others. 0: `port`.
        "cluster-announce-port" cluster_announce_port: u16 = "0", TCP_PORT;

        /// The TLS port told to others. 0: `tls-port`.
        "cluster-announce-tls-port" cluster_announce_tls_port: u16 = "0", TCP_PORT;

        /// The port of the cluster bus told to others. 0: `cluster-port`.
        "cluster-announce-bus-port" cluster_announce_bus_port: u16 = "0", TCP_PORT;

        /// The port told to clients. 0: as to others.
        "cluster-announce-client-port" cluster_announce_client_port: u16 = "0", TCP_PORT;

        /// The TLS port told to clients. 0: as to others.
        "cluster-announce-client-tls-port" cluster_announce_client_tls_port: u16 = "0", TCP_PORT;

        /// The host name told to others.
        "cluster-announce-hostname" cluster_announce_hostname: String = "",
            Kind::Text(rules::host_name);

        /// A name of the node for people.
        "cluster-announce-human-nodename" cluster_announce_human_nodename: String = "",
            Kind::Text(rules::node_name);

        /// By what clients are told to find a node.
        "cluster-preferred-endpoint-type" cluster_preferred_endpoint_type: EndpointType = "ip",
            EndpointType::KIND;

        /// Seconds that a forgotten node stays forgotten.
        "cluster-blacklist-ttl" cluster_blacklist_ttl: u64 = "60", integer(0, LONG);

        /// How many databases a node of a cluster has.
        "cluster-databases" cluster_databases: u32 = "1", integer(1, INT), at_start;

        /// Whether use is counted per slot.
        "cluster-slot-stats-enabled" cluster_slot_stats_enabled: bool = "no", YesNo;

        /// What happens when the cluster's file cannot be written.
        "cluster-config-save-behavior" cluster_config_save_behavior: ClusterConfigSave = "sync",
            ClusterConfigSave::KIND;

        /// How many slot migrations are remembered.
        "cluster-slot-migration-log-max-len" cluster_slot_migration_log_max_len: u64 = "1000",
            integer(0, LONG);

        /// A slot migration ends with a pause when at most so many bytes are missing. -1: whatever
        /// is missing.
        "slot-migration-max-failover-repl-bytes" slot_migration_max_failover_repl_bytes: i64 = "0",
            integer(-1, LONG);

        /// How many percent of the known nodes a message tells of.
        "cluster-message-gossip-perc" cluster_message_gossip_perc: u32 = "10", integer(1, 100),
            hidden;
    }

    Tls {
        /// The TCP port for TLS. 0: none.
        "tls-port" tls_port: u16 = "0", TCP_PORT, refused(NO_TLS);

        /// Whether replication uses TLS.
        "tls-replication" tls_replication: bool = "no", YesNo, refused(NO_TLS);

        /// Whether the cluster bus uses TLS.
        "tls-cluster" tls_cluster: bool = "no", YesNo, refused(NO_TLS);

        /// The server's certificate.
        "tls-cert-file" tls_cert_file: String = "", ANY_TEXT;

        /// The key of the server's certificate.
        "tls-key-file" tls_key_file: String = "", ANY_TEXT;

        /// The password of the key.
        "tls-key-file-pass" tls_key_file_pass: Secret = "", Kind::Password, secret;

        /// The certificate for connections to others.
        "tls-client-cert-file" tls_client_cert_file: String = "", ANY_TEXT;

        /// The key of that certificate.
        "tls-client-key-file" tls_client_key_file: String = "", ANY_TEXT;

        /// The password of that key.
        "tls-client-key-file-pass" tls_client_key_file_pass: Secret = "", Kind::Password, secret;

        /// The Diffie-Hellman parameters.
        "tls-dh-params-file" tls_dh_params_file: String = "", ANY_TEXT;

        /// The certificates of those who sign others' certificates.
        "tls-ca-cert-file" tls_ca_cert_file: String = "", ANY_TEXT;

        /// A directory of such certificates.
        "tls-ca-cert-dir" tls_ca_cert_dir: String = "", ANY_TEXT;

        /// Whether clients must show a certificate.
        "tls-auth-clients" tls_auth_clients: TlsAuthClients = "yes", TlsAuthClients::KIND;

        /// Which field of a client's certificate names its user.
        "tls-auth-clients-user" tls_auth_clients_user: TlsAuthClientsUser = "off",
            TlsAuthClientsUser::KIND;

        /// The versions of TLS that are spoken.
        "tls-protocols" tls_protocols: String = "", ANY_TEXT;

        /// The ciphers up to TLS 1.2.
        "tls-ciphers" tls_ciphers: String = "", ANY_TEXT;

        /// The ciphers of TLS 1.3.
        "tls-ciphersuites" tls_ciphersuites: String = "", ANY_TEXT;

        /// Whether the server's order of ciphers counts.
        "tls-prefer-server-ciphers" tls_prefer_server_ciphers: bool = "no", YesNo;

        /// Whether sessions are remembered.
        "tls-session-caching" tls_session_caching: bool = "yes", YesNo;

        /// How many sessions are remembered. 0: no limit.
        "tls-session-cache-size" tls_session_cache_size: u32 = "20480", integer(0, INT);

        /// Seconds that a session is remembered.
        "tls-session-cache-timeout" tls_session_cache_timeout: u32 = "300", integer(0, INT);

        /// Seconds after which changed certificate files are read again. 0: never.
        "tls-auto-reload-interval" tls_auto_reload_interval: u32 = "0", integer(0, INT);
    }
}
