//! Parameters whose feature is not built yet: they are validated, stored and returned, without an
//! effect. A value other than the default causes a warning at start, and CONFIG SET refuses it.
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
    /// Parameters that are stored, but have no effect yet.
    pub struct Later;
    path [.later];
    rows LATER, Standing::Later;
    with {}

    Server {
        /// Whether to log to syslog as well.
        "syslog-enabled" syslog_enabled: bool = "no", YesNo, at_start, pending(NO_SYSLOG);

        /// The identity in syslog.
        "syslog-ident" syslog_ident: String = "basalt", ANY_TEXT, at_start, pending(NO_SYSLOG);

        /// The facility in syslog.
        "syslog-facility" syslog_facility: SyslogFacility = "local0", SyslogFacility::KIND,
            at_start, pending(NO_SYSLOG);

        /// The name of this server's availability zone, for clients that choose the nearest server.
        "availability-zone" availability_zone: String = "", ANY_TEXT,
            pending("availability zones are not built yet");

        /// The locale with which SORT compares text. Empty: byte by byte.
        "locale-collate" locale_collate: String = "", ANY_TEXT,
            pending("locales are not built yet");
    }

    Security {
        /// The file that ACL LOAD reads users from.
        "aclfile" aclfile: String = "", ANY_TEXT, at_start,
            refused("users from a file are not built yet; use requirepass");

        /// Which channels a new user may access.
        "acl-pubsub-default" acl_pubsub_default: AclPubsubDefault = "resetchannels",
            AclPubsubDefault::KIND, pending(NO_USERS);

        /// The maximum length of the ACL log.
        "acllog-max-len" acllog_max_len: u64 = "128", integer(0, LONG), pending(NO_USERS);
    }

    Clients {
        /// The protocol version of a client before it sends HELLO.
        "client-default-resp" client_default_resp: u8 = "2", integer(2, 3), at_start, hidden,
            pending("another protocol at the start is not built yet");
    }

    Observing {
        /// Requests of at least this many bytes are added to COMMANDLOG. -1: none.
        "commandlog-request-larger-than" commandlog_request_larger_than: i64 = "1048576",
            integer(-1, LONG), pending(NO_COMMANDLOG);

        /// Replies of at least this many bytes are added to COMMANDLOG. -1: none.
        "commandlog-reply-larger-than" commandlog_reply_larger_than: i64 = "1048576",
            integer(-1, LONG), pending(NO_COMMANDLOG);

        /// The maximum number of large requests in COMMANDLOG.
        "commandlog-large-request-max-len" commandlog_large_request_max_len: u64 = "128",
            integer(0, LONG), pending(NO_COMMANDLOG);

        /// The maximum number of large replies in COMMANDLOG.
        "commandlog-large-reply-max-len" commandlog_large_reply_max_len: u64 = "128",
            integer(0, LONG), pending(NO_COMMANDLOG);
    }

    Persistence {
        /// Whether to refuse snapshots of a newer version.
        "rdb-version-check" rdb_version_check: RdbVersionCheck = "strict", RdbVersionCheck::KIND;

        /// Whether to remove snapshots that were made only for replication.
        "rdb-del-sync-files" rdb_del_sync_files: bool = "no", YesNo;

        /// Whether to keep files of the append-only file that are no longer used.
        "aof-disable-auto-gc" aof_disable_auto_gc: bool = "no", YesNo, hidden;

        /// For tests: microseconds to wait after each saved key.
        "rdb-key-save-delay" rdb_key_save_delay: i32 = "0", integer(i32::MIN as i64, INT), hidden;

        /// For tests: microseconds to wait after each loaded key.
        "key-load-delay" key_load_delay: i32 = "0", integer(i32::MIN as i64, INT), hidden;
    }

    Replication {
        /// The primary to replicate from.
        "replicaof" replicaof: Primary = "no one", Primary::KIND, at_start, also(&["slaveof"]),
            refused(NO_REPLICATION);

        /// The password for the primary.
        "masterauth" masterauth: Secret = "", Kind::Password, secret, also(&["primaryauth"]);

        /// The user name for the primary.
        "masteruser" masteruser: Secret = "", Kind::Password, secret, also(&["primaryuser"]);

        /// Whether a replica serves data while it has no connection to its primary.
        "replica-serve-stale-data" replica_serve_stale_data: bool = "yes", YesNo,
            also(&["slave-serve-stale-data"]);

        /// Whether a replica refuses writes of its clients.
        "replica-read-only" replica_read_only: bool = "yes", YesNo, also(&["slave-read-only"]);

        /// Whether a replica leaves eviction to its primary.
        "replica-ignore-maxmemory" replica_ignore_maxmemory: bool = "yes", YesNo,
            also(&["slave-ignore-maxmemory"]);

        /// Whether a replica continues when it cannot write to its disk.
        "replica-ignore-disk-write-errors" replica_ignore_disk_write_errors: bool = "no", YesNo;

        /// The replica with the lowest number is promoted first. 0: this one is never promoted.
        "replica-priority" replica_priority: u32 = "100", integer(0, INT),
            also(&["slave-priority"]);

        /// Whether the primary lists this replica.
        "replica-announced" replica_announced: bool = "yes", YesNo;

        /// The address that a replica announces to its primary.
        "replica-announce-ip" replica_announce_ip: String = "", ANY_TEXT,
            also(&["slave-announce-ip"]);

        /// The port that a replica announces to its primary.
        "replica-announce-port" replica_announce_port: u16 = "0", TCP_PORT,
            also(&["slave-announce-port"]);

        /// How many bytes may be buffered for a replica during its full sync. 0: as in
        /// `client-output-buffer-limit`.
        "replica-full-sync-buffer-limit" replica_full_sync_buffer_limit: u64 = "0",
            memory(0, LONG_BYTES);

        /// Whether full syncs of replicas bypass this server's disk.
        "repl-diskless-sync" repl_diskless_sync: bool = "yes", YesNo;

        /// Seconds to wait for further replicas before a full sync starts.
        "repl-diskless-sync-delay" repl_diskless_sync_delay: u32 = "5", integer(0, INT);

        /// The number of waiting replicas that starts a full sync at once. 0: always wait.
        "repl-diskless-sync-max-replicas" repl_diskless_sync_max_replicas: u32 = "0",
            integer(0, INT);

        /// Whether a replica loads a full sync without a file on its disk.
        "repl-diskless-load" repl_diskless_load: DisklessLoad = "disabled", DisklessLoad::KIND;

        /// Whether small packets to replicas are merged (TCP_NODELAY is off).
        "repl-disable-tcp-nodelay" repl_disable_tcp_nodelay: bool = "no", YesNo;

        /// Seconds between two pings to replicas.
        "repl-ping-replica-period" repl_ping_replica_period: u32 = "10", integer(1, INT),
            also(&["repl-ping-slave-period"]);

        /// Seconds of silence after which the other side counts as lost.
        "repl-timeout" repl_timeout: u32 = "60", integer(1, INT);

        /// The size of the replication backlog, for replicas that reconnect.
        "repl-backlog-size" repl_backlog_size: u64 = "1mb", memory(1, LONG_BYTES);

        /// Seconds after the last replica left when the replication backlog is freed. 0: never.
        "repl-backlog-ttl" repl_backlog_ttl: u64 = "3600", integer(0, LONG);

        /// Writes are refused with fewer replicas in good state. 0: never.
        "min-replicas-to-write" min_replicas_to_write: u32 = "0", integer(0, INT),
            also(&["min-slaves-to-write"]), refused(NO_REPLICATION);

        /// Seconds of silence after which a replica is not in good state.
        "min-replicas-max-lag" min_replicas_max_lag: u32 = "10", integer(0, INT),
            also(&["min-slaves-max-lag"]);

        /// What happens when a replicated change fails.
        "propagation-error-behavior" propagation_error_behavior: PropagationErrors = "ignore",
            PropagationErrors::KIND;

        /// The source address of outgoing connections.
        "bind-source-addr" bind_source_addr: String = "", ANY_TEXT;

        /// Whether data is being imported from another server: nothing expires or is evicted
        /// meanwhile.
        "import-mode" import_mode: bool = "no", YesNo;
    }

    Cluster {
        /// Whether this server is a node of a cluster.
        "cluster-enabled" cluster_enabled: bool = "no", YesNo, at_start, refused(NO_CLUSTER);

        /// The file in which the node keeps the state of the cluster.
        "cluster-config-file" cluster_config_file: String = "nodes.conf", ANY_TEXT, at_start;

        /// Milliseconds of silence after which a node counts as lost.
        "cluster-node-timeout" cluster_node_timeout: u64 = "15000", integer(0, LONG);

        /// For tests: milliseconds between two pings to other nodes.
        "cluster-ping-interval" cluster_ping_interval: u64 = "0", integer(0, LONG), hidden;

        /// The port of the cluster bus. 0: 10000 above `port`.
        "cluster-port" cluster_port: u16 = "0", TCP_PORT, at_start;

        /// Milliseconds that a manual failover may take.
        "cluster-manual-failover-timeout" cluster_manual_failover_timeout: u32 = "5000",
            integer(1, INT);

        /// A replica that was disconnected for longer than this many timeouts is not promoted. 0:
        /// ignore the time.
        "cluster-replica-validity-factor" cluster_replica_validity_factor: u32 = "10",
            integer(0, INT),
            also(&["cluster-slave-validity-factor"]);

        /// Whether a replica is never promoted automatically.
        "cluster-replica-no-failover" cluster_replica_no_failover: bool = "no", YesNo,
            also(&["cluster-slave-no-failover"]);

        /// How many replicas a primary must keep when one of them migrates to another primary.
        "cluster-migration-barrier" cluster_migration_barrier: u32 = "1", integer(0, INT);

        /// Whether replicas migrate to primaries without replicas.
        "cluster-allow-replica-migration" cluster_allow_replica_migration: bool = "yes", YesNo;

        /// Whether nodes stop serving when some slots have no node.
        "cluster-require-full-coverage" cluster_require_full_coverage: bool = "yes", YesNo;

        /// Whether reads are served when the cluster is down.
        "cluster-allow-reads-when-down" cluster_allow_reads_when_down: bool = "no", YesNo;

        /// Whether sharded Pub/Sub works when the cluster is down.
        "cluster-allow-pubsubshard-when-down" cluster_allow_pubsubshard_when_down: bool = "yes",
            YesNo;

        /// How many bytes may be buffered for another node. 0: no limit.
        "cluster-link-sendbuf-limit" cluster_link_sendbuf_limit: u64 = "0", memory(0, u64::MAX);

        /// The address announced to other nodes.
        "cluster-announce-ip" cluster_announce_ip: String = "", ANY_TEXT;

        /// The IPv4 address announced to clients.
        "cluster-announce-client-ipv4" cluster_announce_client_ipv4: String = "",
            Kind::Text(rules::ipv4_address);

        /// The IPv6 address announced to clients.
        "cluster-announce-client-ipv6" cluster_announce_client_ipv6: String = "",
            Kind::Text(rules::ipv6_address);

        /// The port announced to other nodes. 0: `port`.
        "cluster-announce-port" cluster_announce_port: u16 = "0", TCP_PORT;

        /// The TLS port announced to other nodes. 0: `tls-port`.
        "cluster-announce-tls-port" cluster_announce_tls_port: u16 = "0", TCP_PORT;

        /// The port of the cluster bus announced to other nodes. 0: `cluster-port`.
        "cluster-announce-bus-port" cluster_announce_bus_port: u16 = "0", TCP_PORT;

        /// The port announced to clients. 0: the same as to other nodes.
        "cluster-announce-client-port" cluster_announce_client_port: u16 = "0", TCP_PORT;

        /// The TLS port announced to clients. 0: the same as to other nodes.
        "cluster-announce-client-tls-port" cluster_announce_client_tls_port: u16 = "0", TCP_PORT;

        /// The host name announced to other nodes.
        "cluster-announce-hostname" cluster_announce_hostname: String = "",
            Kind::Text(rules::host_name);

        /// A human-readable name of the node.
        "cluster-announce-human-nodename" cluster_announce_human_nodename: String = "",
            Kind::Text(rules::node_name);

        /// The kind of address that clients get for a node.
        "cluster-preferred-endpoint-type" cluster_preferred_endpoint_type: EndpointType = "ip",
            EndpointType::KIND;

        /// Seconds that a forgotten node stays forgotten.
        "cluster-blacklist-ttl" cluster_blacklist_ttl: u64 = "60", integer(0, LONG);

        /// How many databases a node of a cluster has.
        "cluster-databases" cluster_databases: u32 = "1", integer(1, INT), at_start;

        /// Whether statistics per slot are kept.
        "cluster-slot-stats-enabled" cluster_slot_stats_enabled: bool = "no", YesNo;

        /// What happens when the cluster's file cannot be written.
        "cluster-config-save-behavior" cluster_config_save_behavior: ClusterConfigSave = "sync",
            ClusterConfigSave::KIND;

        /// The maximum length of the log of slot migrations.
        "cluster-slot-migration-log-max-len" cluster_slot_migration_log_max_len: u64 = "1000",
            integer(0, LONG);

        /// A slot migration pauses writes and ends once at most this many bytes are left to send.
        /// -1: any number.
        "slot-migration-max-failover-repl-bytes" slot_migration_max_failover_repl_bytes: i64 = "0",
            integer(-1, LONG);

        /// The percentage of known nodes that a gossip message includes.
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

        /// The server's certificate file.
        "tls-cert-file" tls_cert_file: String = "", ANY_TEXT;

        /// The file of the server's private key.
        "tls-key-file" tls_key_file: String = "", ANY_TEXT;

        /// The passphrase of the private key.
        "tls-key-file-pass" tls_key_file_pass: Secret = "", Kind::Password, secret;

        /// The certificate file for outgoing connections.
        "tls-client-cert-file" tls_client_cert_file: String = "", ANY_TEXT;

        /// The private key file for outgoing connections.
        "tls-client-key-file" tls_client_key_file: String = "", ANY_TEXT;

        /// The passphrase of that key.
        "tls-client-key-file-pass" tls_client_key_file_pass: Secret = "", Kind::Password, secret;

        /// The Diffie-Hellman parameter file.
        "tls-dh-params-file" tls_dh_params_file: String = "", ANY_TEXT;

        /// The file of CA certificates.
        "tls-ca-cert-file" tls_ca_cert_file: String = "", ANY_TEXT;

        /// A directory of CA certificates.
        "tls-ca-cert-dir" tls_ca_cert_dir: String = "", ANY_TEXT;

        /// Whether clients must present a certificate.
        "tls-auth-clients" tls_auth_clients: TlsAuthClients = "yes", TlsAuthClients::KIND;

        /// Which field of a client's certificate is its user name.
        "tls-auth-clients-user" tls_auth_clients_user: TlsAuthClientsUser = "off",
            TlsAuthClientsUser::KIND;

        /// The TLS versions to support.
        "tls-protocols" tls_protocols: String = "", ANY_TEXT;

        /// The ciphers for TLS 1.2 and older.
        "tls-ciphers" tls_ciphers: String = "", ANY_TEXT;

        /// The cipher suites for TLS 1.3.
        "tls-ciphersuites" tls_ciphersuites: String = "", ANY_TEXT;

        /// Whether the server's order of ciphers is preferred.
        "tls-prefer-server-ciphers" tls_prefer_server_ciphers: bool = "no", YesNo;

        /// Whether TLS sessions are cached.
        "tls-session-caching" tls_session_caching: bool = "yes", YesNo;

        /// How many TLS sessions are cached. 0: no limit.
        "tls-session-cache-size" tls_session_cache_size: u32 = "20480", integer(0, INT);

        /// Seconds that a TLS session is cached.
        "tls-session-cache-timeout" tls_session_cache_timeout: u32 = "300", integer(0, INT);

        /// Seconds between two checks for changed certificate files. 0: never.
        "tls-auto-reload-interval" tls_auto_reload_interval: u32 = "0", integer(0, INT);
    }
}
