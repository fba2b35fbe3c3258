//! Redis: numbers of the whole server under the names, labels and units of redis_exporter, so that the
//! dashboards and alerts that were written for it work unchanged.

use basalt_engine::{Book, REDIS_VERSION, command_name};
use basalt_keyspace::DatabaseStats;

use super::text::{Number, seconds_of_us, whole};
use super::{Kind, Text, View};

/// A metric that is one number.
struct Row {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    value: fn(&View<'_>) -> Number,
}

const fn counter(name: &'static str, help: &'static str, value: fn(&View<'_>) -> Number) -> Row {
    Row { kind: Kind::Counter, name, help, value }
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&View<'_>) -> Number) -> Row {
    Row { kind: Kind::Gauge, name, help, value }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    gauge("redis_up", "1: the server answers.", |_| whole(1_u8)),
    gauge("redis_uptime_in_seconds", "Seconds since the start.", |view| whole(view.process.uptime_s)),
    gauge("redis_start_time_seconds", "When the server started, since 1970.", |view| whole(view.process.started_s)),
    gauge("redis_process_id", "The process' number.", |view| whole(view.process.pid)),

    gauge("redis_connected_clients", "Clients connected.",
        |view| whole(view.sum(|shard| shard.engine.clients.connected))),
    gauge("redis_blocked_clients", "Clients that wait in a blocking command, or for the end of CLIENT PAUSE.",
        |view| whole(view.sum(|shard| shard.engine.clients.blocked))),
    gauge("redis_client_recent_max_input_buffer_bytes", "The longest input of a client that waits.",
        |view| whole(view.max(|shard| shard.engine.clients.sums.longest_input))),
    gauge("redis_client_recent_max_output_buffer_bytes", "The longest output of a client that is not sent.",
        |view| whole(view.max(|shard| shard.engine.clients.sums.longest_output))),
    gauge("redis_config_maxclients", "How many clients there may be.", |view| whole(view.config.maxclients)),
    gauge("redis_config_maxmemory", "The setting maxmemory in bytes.", |view| whole(view.maxmemory())),
    counter("redis_connections_received_total", "Clients that connected.", |view| whole(view.stats.connections)),
    counter("redis_rejected_connections_total", "Clients let go because of maxclients.",
        |view| whole(view.process.refused_connections)),

    gauge("redis_memory_used_bytes", "Memory of data and clients, by the server's own books.",
        |view| whole(view.sum(|shard| shard.engine.used_bytes))),
    gauge("redis_memory_used_peak_bytes", "The most it was, as far as it was seen.",
        |view| whole(view.sum(|shard| shard.engine.used_bytes_peak))),
    gauge("redis_memory_used_dataset_bytes", "Memory of the data.",
        |view| whole(view.sum(|shard| shard.engine.data_bytes))),
    gauge("redis_memory_used_overhead_bytes", "Memory of the clients.",
        |view| whole(view.sum(|shard| shard.engine.clients.sums.bytes))),
    gauge("redis_memory_used_rss_bytes", "Resident memory of the process.", |view| whole(view.process.rss_bytes)),
    gauge("redis_memory_max_bytes", "The setting maxmemory; 0: no limit.", |view| whole(view.maxmemory())),
    gauge("redis_memory_fragmentation_ratio", "Resident memory to memory used.", fragmentation),
    gauge("redis_mem_fragmentation_ratio", "The same under its newer name.", fragmentation),
    gauge("redis_total_system_memory_bytes", "Memory of the machine.", |view| whole(view.process.system_memory_bytes)),

    counter("redis_commands_processed_total", "Calls of all commands.",
        |view| whole(view.books.values().map(|book| book.calls).sum::<u64>())),
    counter("redis_net_input_bytes_total", "Bytes received from clients.", |view| whole(view.stats.bytes_in)),
    counter("redis_net_output_bytes_total", "Bytes of replies to clients.", |view| whole(view.stats.bytes_out)),
    counter("redis_keyspace_hits_total", "Looks for a key to read it that found it.",
        |view| whole(view.keyspace(|stats| stats.hits))),
    counter("redis_keyspace_misses_total", "Looks for a key to read it that did not find it.",
        |view| whole(view.keyspace(|stats| stats.misses))),
    counter("redis_expired_keys_total", "Keys removed because their time was over.",
        |view| whole(view.keyspace(|stats| stats.expired))),
    counter("redis_evicted_keys_total", "Keys removed to make room.",
        |view| whole(view.keyspace(|stats| stats.evicted))),
    counter("redis_cpu_sys_seconds_total", "CPU time of the process in the kernel.",
        |view| Number::Real(view.process.cpu_system_s)),
    counter("redis_cpu_user_seconds_total", "CPU time of the process outside of the kernel.",
        |view| Number::Real(view.process.cpu_user_s)),
    gauge("redis_slowlog_length", "Requests in the slow log.",
        |view| whole(view.sum(|shard| shard.engine.slow_requests))),
    gauge("redis_lazyfree_pending_objects", "Values that were removed and are still to be freed.",
        |view| whole(view.sum(|shard| shard.engine.free_pending as usize))),

    gauge("redis_connected_slaves", "Replicas; there is no replication yet.", |_| whole(0_u8)),
    gauge("redis_master_repl_offset", "Bytes replicated; there is no replication yet.", |_| whole(0_u8)),
    gauge("redis_loading_dump_file", "1 while data is loaded at the start.",
        |view| whole(u8::from(view.process.loading.is_some()))),
    gauge("redis_rdb_changes_since_last_save", "Changes since the start; nothing is saved yet.",
        |view| whole(view.keyspace(|stats| stats.changes))),
    gauge("redis_rdb_last_save_timestamp_seconds", "The start, as in Redis before the first save.",
        |view| whole(view.process.started_s)),
    gauge("redis_aof_enabled", "1 with a journal (`appendonly yes`).",
        |view| whole(u8::from(view.shards().any(|(_, shard)| shard.engine.journal.is_some())))),
];

/// A number of each command.
type CommandRow = (&'static str, &'static str, fn(&Book) -> Number);
const COMMAND_ROWS: [CommandRow; 4] = [
    ("redis_commands_total", "Calls by command.", |book| whole(book.calls)),
    (
        "redis_commands_duration_seconds_total",
        "Time of a command's calls. Of commands that are quick and called often one call in 101 is timed and \
         stands for the others, so this is an estimate.",
        |book| Number::Real(book.ns as f64 / 1e9),
    ),
    ("redis_commands_rejected_calls_total", "Calls refused before the command ran.", |book| {
        whole(book.rejected)
    }),
    (
        "redis_commands_failed_calls_total",
        "Calls that ran and were answered with an error.",
        |book| whole(book.failed),
    ),
];

type DatabaseRow = (&'static str, &'static str, fn(&DatabaseStats, &View<'_>) -> Number);
const DATABASE_ROWS: [DatabaseRow; 3] = [
    ("redis_db_keys", "Keys by database.", |statistics, _| whole(statistics.keys)),
    ("redis_db_keys_expiring", "Keys with an expiry by database.", |statistics, _| {
        whole(statistics.expiring)
    }),
    (
        "redis_db_avg_ttl_seconds",
        "The mean of what is left to the keys that expire; 0 where there are none.",
        |statistics, view| {
            seconds_of_us(statistics.ttl_mean_ms(view.now_ms()).saturating_mul(1000))
        },
    ),
];

fn fragmentation(view: &View<'_>) -> Number {
    let used = view.sum(|shard| shard.engine.used_bytes);
    Number::Real(if used == 0 { 0.0 } else { view.process.rss_bytes as f64 / used as f64 })
}

pub(super) fn write(view: &View<'_>, text: &mut Text) {
    for Row { kind, name, help, value } in ROWS {
        text.family(*kind, name, help);
        text.sample(&[], value(view));
    }
    for (name, help, value) in COMMAND_ROWS {
        text.family(Kind::Counter, name, help);
        for (number, book) in &view.books {
            text.sample(&[("cmd", command_name(*number))], value(book));
        }
    }
    let mut databases: Vec<DatabaseStats> = Vec::new();
    for report in view.reports {
        databases.resize(report.engine.databases.len(), DatabaseStats::default());
        databases.iter_mut().zip(&report.engine.databases).for_each(|(all, one)| all.absorb(one));
    }
    for (name, help, value) in DATABASE_ROWS {
        text.family(Kind::Gauge, name, help);
        for (index, statistics) in databases.iter().enumerate() {
            text.sample(&[("db", &format!("db{index}"))], value(statistics, view));
        }
    }
    text.family(Kind::Counter, "redis_errors_total", "Error replies by their first word.");
    for (error, count) in &view.stats.errors {
        text.sample(&[("err", error)], whole(*count));
    }
    write_instance(view, text);
}

fn write_instance(view: &View<'_>, text: &mut Text) {
    let process = &view.process;
    let policy = view.config.get(&[b"maxmemory-policy"]);
    let policy = policy.first().map(|(_, value)| String::from_utf8_lossy(value).into_owned());
    text.family(Kind::Gauge, "redis_instance_info", "What the server is, as labels of 1.");
    text.sample(
        &[
            ("role", "master"),
            ("redis_version", REDIS_VERSION),
            ("redis_build_id", "0"),
            ("redis_mode", "standalone"),
            ("os", &process.os),
            ("maxmemory_policy", &policy.unwrap_or_default()),
            ("tcp_port", &process.tcp_port.to_string()),
            ("run_id", &process.run_id),
            ("process_id", &process.pid.to_string()),
        ],
        whole(1_u8),
    );
}
