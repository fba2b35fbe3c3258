//! INFO: how the server is, section by section, gathered from all shards.
//!
//! A section is a row of [`SECTIONS`]; its text are lines `field:value` in Redis' names.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use basalt_commands::Outcome;
use basalt_commands::config::Config;
use basalt_commands::requests::parse_info;
use basalt_keyspace::{BigKey, DatabaseStats, KeyspaceStats};

use super::latency::merge;
use super::{REDIS_VERSION, VERSION, encode, everywhere, settings};
use crate::core::Core;
use crate::core::snapshot::{ShardSnapshot, command_name};
use crate::journal::JournalStats;
use crate::now::Now;
use crate::observe::command_stats::Book;
use crate::observe::hot_keys::{HotKey, shown_name};
use crate::observe::rates::Rate;
use crate::observe::stats::ShardStats;
use crate::saving::SaveStats;
use crate::session::SessionId;
use crate::shard::memory::MemoryBounds;
use crate::shard::{Pause, Shard};
use crate::slots::routes::Routes;
use crate::transaction::coordinator::Hops;
use crate::world::{ProcessStats, World};

/// What all sections are written from.
pub(super) struct Statistics {
    pub(super) shards: Vec<ShardSnapshot>,
    /// Counters of all shards together.
    stats: ShardStats,
    /// What is known of each command, by the numbers of the rows.
    books: BTreeMap<u16, Book>,
    pub(super) process: ProcessStats,
    config: std::sync::Arc<Config>,
    maxmemory: u64,
    memory_bounds: MemoryBounds,
    pause: Option<Pause>,
    now: Now,
}

impl Statistics {
    /// What is known before the shards are asked.
    pub(super) fn begin(core: &Core, world: &mut dyn World) -> Self {
        let (shard, memory_bounds) = (&core.shard, world.memory_bounds());
        Self {
            shards: Vec::new(),
            stats: ShardStats::default(),
            books: BTreeMap::new(),
            process: world.process(),
            config: shard.config.clone(),
            maxmemory: shard.config.maxmemory.of(memory_bounds.limit_bytes),
            memory_bounds,
            pause: shard.pause(),
            now: shard.now,
        }
    }

    pub(super) fn sum(&self, of: impl Fn(&ShardSnapshot) -> usize) -> usize {
        self.shards.iter().map(of).sum()
    }

    fn max(&self, of: impl Fn(&ShardSnapshot) -> usize) -> usize {
        self.shards.iter().map(of).max().unwrap_or(0)
    }

    fn keyspace(&self, of: impl Fn(&KeyspaceStats) -> u64) -> u64 {
        self.shards.iter().map(|shard| of(&shard.keyspace)).sum()
    }

    /// Commands by name, in the order of the table.
    fn rows(&self) -> impl Iterator<Item = (&'static str, &Book)> {
        self.books.iter().map(|(number, book)| (command_name(*number), book))
    }

    fn rate(&self, of: impl Fn(&Rate) -> f64) -> f64 {
        self.shards.iter().map(|shard| of(&shard.rate)).sum()
    }

    pub(super) fn database(&self, index: usize) -> DatabaseStats {
        let mut all = DatabaseStats::default();
        self.shards.iter().for_each(|shard| all.absorb(&shard.databases[index]));
        all
    }
}

/// Lines under a title.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, field: &str, value: impl Display) {
        let _ = write!(self.0, "{field}:{value}\r\n");
    }

    /// Several fields of the same value.
    fn add_all(&mut self, fields: &[&str], value: impl Display + Copy) {
        fields.iter().for_each(|field| self.add(field, value));
    }

    /// Bytes, and the same for people.
    fn add_bytes(&mut self, field: &str, bytes: u64) {
        self.add(field, bytes);
        self.add(&format!("{field}_human"), human(bytes));
    }
}

/// Bytes as Redis writes them for people.
pub(super) fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2}{}", UNITS[unit])
}

fn percent(part: usize, whole: usize) -> String {
    format!("{:.2}%", if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 })
}

struct Section {
    title: &'static str,
    /// Shown also if no section is named.
    is_default: bool,
    needs_histograms: bool,
    needs_keys: bool,
    write: fn(&Statistics, &mut Lines),
}

const fn section(title: &'static str, write: fn(&Statistics, &mut Lines)) -> Section {
    Section { title, is_default: true, needs_histograms: false, needs_keys: false, write }
}

/// All sections, in their order.
const SECTIONS: &[Section] = &[
    section("Server", server),
    section("Clients", clients),
    section("Memory", memory),
    section("Persistence", persistence),
    section("Stats", stats),
    section("Replication", replication),
    section("CPU", cpu),
    section("Modules", |_, _| {}),
    Section { is_default: false, ..section("Commandstats", commandstats) },
    section("Errorstats", errorstats),
    Section { is_default: false, needs_histograms: true, ..section("Latencystats", latencystats) },
    section("Cluster", |_, lines| lines.add("cluster_enabled", 0)),
    section("Transactions", transactions),
    section("Keyspace", keyspace),
    Section { is_default: false, needs_keys: true, ..section("Hotkeys", hot_keys) },
    Section { is_default: false, needs_keys: true, ..section("Bigkeys", big_keys) },
];

pub(super) fn info(
    core: &mut Core,
    world: &mut dyn World,
    id: SessionId,
    args: &[&[u8]],
) -> Outcome {
    let request = parse_info(args);
    let (_, protocol) = settings(core, id);
    let (statistics, routes) = (Statistics::begin(core, world), core.shard.routes.clone());
    core.coordinate(id, |hops| async move {
        let wanted =
            |section: &&Section| request.wants(&section.title.to_lowercase(), section.is_default);
        let with_histograms = SECTIONS.iter().filter(wanted).any(|one| one.needs_histograms);
        let with_keys = SECTIONS.iter().filter(wanted).any(|one| one.needs_keys);
        let with = (with_histograms, with_keys);
        let statistics = gather(statistics, &hops, &routes, with).await;
        let texts: Vec<String> = SECTIONS
            .iter()
            .filter(wanted)
            .map(|section| {
                let mut lines = Lines(format!("# {}\r\n", section.title));
                (section.write)(&statistics, &mut lines);
                lines.0
            })
            .collect();
        let text = texts.join("\r\n");
        encode(protocol, |reply| reply.verbatim("txt", text.as_bytes()))
    });
    Ok(())
}

/// Adds what the shards know.
pub(super) async fn gather(
    mut statistics: Statistics,
    hops: &Hops,
    routes: &Routes,
    (with_histograms, with_keys): (bool, bool),
) -> Statistics {
    let hop = move |shard: &mut Shard| ShardSnapshot::exact(shard, with_histograms, with_keys);
    statistics.shards = everywhere(hops, routes, hop).await;
    statistics.shards.iter().for_each(|shard| statistics.stats.absorb(&shard.stats));
    let books = statistics.shards.iter_mut().map(|shard| std::mem::take(&mut shard.books));
    statistics.books = merge(books.collect());
    statistics
}

fn server(statistics: &Statistics, lines: &mut Lines) {
    let process = &statistics.process;
    lines.add("redis_version", REDIS_VERSION);
    lines.add("server_name", "basalt");
    lines.add("basalt_version", VERSION);
    lines.add("redis_git_sha1", "00000000");
    lines.add("redis_git_dirty", 0);
    lines.add("redis_build_id", 0);
    lines.add("redis_mode", "standalone");
    lines.add("server_mode", "standalone");
    lines.add("os", &process.os);
    lines.add("arch_bits", usize::BITS);
    lines.add("monotonic_clock", "POSIX clock_gettime");
    lines.add("multiplexing_api", "io_uring");
    lines.add("process_id", process.pid);
    let supervisor = process.supervisor;
    lines.add("process_supervised", if supervisor.is_empty() { "no" } else { supervisor });
    lines.add("run_id", &process.run_id);
    lines.add("tcp_port", process.tcp_port);
    lines.add("server_time_usec", statistics.now.unix_ms * 1000);
    lines.add("uptime_in_seconds", process.uptime_s);
    lines.add("uptime_in_days", process.uptime_s / 86_400);
    lines.add("hz", statistics.config.hz);
    lines.add("configured_hz", statistics.config.hz);
    lines.add("clients_hz", statistics.config.hz);
    lines.add("lru_clock", (statistics.now.unix_ms / 1000) & 0x00FF_FFFF);
    lines.add("executable", &process.executable);
    lines.add("config_file", &process.config_file);
    lines.add("io_threads_active", 0);
    lines.add("availability_zone", &statistics.config.later.availability_zone);
    for (index, listener) in listeners(statistics).iter().enumerate() {
        lines.add(&format!("listener{index}"), listener);
    }
    lines.add("shards", statistics.shards.len());
}

/// Where clients arrive, as the settings name it.
fn listeners(statistics: &Statistics) -> Vec<String> {
    let config = &statistics.config;
    let mut all = Vec::new();
    if config.port != 0 {
        let mark = |must: bool| if must { "" } else { "-" };
        let addresses =
            config.bind.iter().map(|(address, must)| format!("bind={}{address},", mark(must)));
        let addresses: String = addresses.collect();
        all.push(format!("name=tcp,{addresses}port={}", config.port));
    }
    if !config.unixsocket.is_empty() {
        all.push(format!("name=unix,bind={}", config.unixsocket));
    }
    all
}

fn clients(statistics: &Statistics, lines: &mut Lines) {
    let held = statistics.sum(|shard| shard.clients.blocked);
    lines.add("connected_clients", statistics.sum(|shard| shard.clients.connected));
    lines.add("cluster_connections", 0);
    lines.add("maxclients", statistics.config.maxclients);
    lines.add(
        "client_recent_max_input_buffer",
        statistics.max(|shard| shard.clients.sums.longest_input),
    );
    lines.add(
        "client_recent_max_output_buffer",
        statistics.max(|shard| shard.clients.sums.longest_output),
    );
    lines.add("blocked_clients", held);
    lines.add("tracking_clients", statistics.sum(|shard| shard.clients.sums.trackers));
    lines.add("pubsub_clients", statistics.sum(|shard| shard.clients.sums.subscribers));
    lines.add("watching_clients", statistics.sum(|shard| shard.clients.sums.watching));
    lines.add("clients_in_timeout_table", statistics.sum(|shard| shard.clients.with_timeout));
    lines.add("total_watched_keys", statistics.sum(|shard| shard.clients.sums.watched_keys));
    lines.add("total_blocking_keys", statistics.sum(|shard| shard.clients.awaited_keys));
    let of_groups = statistics.sum(|shard| shard.clients.awaited_keys_of_groups);
    lines.add("total_blocking_keys_on_nokey", of_groups);
    let (reason, actions, left_us) = match statistics.pause {
        None => ("none", "none", 0),
        Some(pause) => (
            "client_pause",
            if pause.writes_only { "write" } else { "all" },
            pause.until_us.saturating_sub(statistics.now.monotonic_us),
        ),
    };
    lines.add("paused_reason", reason);
    lines.add("paused_actions", actions);
    lines.add("paused_timeout_milliseconds", left_us / 1000);
}

fn memory(statistics: &Statistics, lines: &mut Lines) {
    let process = &statistics.process;
    let used = statistics.sum(|shard| shard.used_bytes);
    let clients = statistics.sum(|shard| shard.clients.sums.bytes);
    let journal = statistics.sum(ShardSnapshot::journal_bytes);
    let of_keys = |shard: &ShardSnapshot| {
        shard.databases.iter().map(|database| database.table_bytes + database.wheel_bytes).sum()
    };
    let peak = statistics.sum(|shard| shard.used_bytes_peak);
    let overhead = clients + journal + statistics.sum(of_keys);
    let data = used - overhead;
    lines.add_bytes("used_memory", used as u64);
    lines.add_bytes("used_memory_rss", process.rss_bytes);
    lines.add_bytes("used_memory_peak", peak as u64);
    lines.add("used_memory_peak_perc", percent(used, peak));
    lines.add("used_memory_overhead", overhead);
    lines.add("used_memory_startup", 0);
    lines.add("used_memory_dataset", data);
    lines.add("used_memory_dataset_perc", percent(data, used));
    let rss = process.rss_bytes;
    lines.add_all(&["allocator_allocated", "allocator_active"], used);
    lines.add("allocator_resident", rss);
    lines.add("allocator_muzzy", 0);
    lines.add_bytes("total_system_memory", process.system_memory_bytes);
    let interpreters = statistics.sum(|shard| shard.scripts.interpreter_bytes);
    let scripts = statistics.sum(|shard| shard.scripts.text_bytes);
    lines.add_bytes("used_memory_lua", interpreters as u64);
    lines.add("used_memory_vm_eval", interpreters);
    lines.add("used_memory_scripts_eval", scripts);
    // Each shard knows all of them, but for those that it forgot.
    let known = statistics.shards.iter().map(|shard| shard.scripts.known).max().unwrap_or(0);
    lines.add("number_of_cached_scripts", known);
    let libraries = statistics.shards.first().map(|shard| &shard.scripts);
    lines.add("number_of_functions", libraries.map_or(0, |own| own.functions));
    lines.add("number_of_libraries", libraries.map_or(0, |own| own.libraries));
    // Functions run in the same interpreters as scripts.
    lines.add("used_memory_vm_functions", 0);
    lines.add_bytes("used_memory_vm_total", interpreters as u64);
    let functions = libraries.map_or(0, |own| own.library_bytes);
    lines.add("used_memory_functions", functions);
    lines.add_bytes("used_memory_scripts", (interpreters + scripts + functions) as u64);
    lines.add_bytes("maxmemory", statistics.maxmemory);
    lines.add_bytes("maxmemory_lowered", statistics.max(|shard| shard.memory_cap as usize) as u64);
    lines.add_bytes("memory_limit", statistics.memory_bounds.limit_bytes);
    let policy = statistics.config.get(&[b"maxmemory-policy"]);
    let policy = policy.first().map(|(_, value)| String::from_utf8_lossy(value));
    lines.add("maxmemory_policy", policy.unwrap_or_default());
    let ratio = if used == 0 { 0.0 } else { rss as f64 / used as f64 };
    let beyond = rss as i64 - used as i64;
    lines.add("allocator_frag_ratio", "1.00");
    lines.add("allocator_frag_bytes", 0);
    lines.add("allocator_rss_ratio", format_args!("{ratio:.2}"));
    lines.add("allocator_rss_bytes", beyond);
    lines.add("rss_overhead_ratio", "1.00");
    lines.add("rss_overhead_bytes", 0);
    lines.add("mem_fragmentation_ratio", format_args!("{ratio:.2}"));
    lines.add("mem_fragmentation_bytes", beyond);
    lines.add("mem_not_counted_for_evict", journal);
    lines.add("mem_replication_backlog", 0);
    lines.add("mem_total_replication_buffers", 0);
    // The first is Valkey's name of it, the second Redis'.
    lines.add_all(&["mem_replicas_repl_buffer", "mem_replica_full_sync_buffer"], 0);
    lines.add("mem_clients_slaves", 0);
    lines.add("mem_clients_normal", clients);
    lines.add("mem_cluster_links", 0);
    lines.add_all(&["mem_cluster_slot_import", "mem_cluster_slot_export"], 0);
    lines.add("mem_aof_buffer", journal);
    lines.add("mem_allocator", "mimalloc");
    lines.add("mem_overhead_db_hashtable_rehashing", 0);
    lines.add("active_defrag_running", 0);
    let pending: u64 = statistics.shards.iter().map(|shard| shard.free_pending).sum();
    lines.add("lazyfree_pending_objects", pending);
    lines.add("lazyfreed_objects", statistics.keyspace(|stats| stats.freed_lazily));
}

fn persistence(statistics: &Statistics, lines: &mut Lines) {
    let loading = statistics.process.loading;
    lines.add("loading", u8::from(loading.is_some()));
    lines.add("async_loading", 0);
    lines.add_all(&["current_cow_peak", "current_cow_size", "current_cow_size_age"], 0);
    lines.add("current_fork_perc", "0.00");
    let saves = statistics.shards.first().map(|shard| shard.saves).unwrap_or_default();
    let sum = |of: fn(&SaveStats) -> u64| -> u64 {
        statistics.shards.iter().map(|shard| of(&shard.saves)).sum()
    };
    let seconds = |seconds: Option<u64>| seconds.map_or(-1, |seconds| seconds as i64);
    let is_running = saves.running_s.is_some();
    lines.add("current_save_keys_processed", sum(|saves| saves.keys_written));
    let keys = statistics.shards.iter().flat_map(|shard| &shard.databases).map(|own| own.keys);
    let is_walking = is_running || saves.rewrite.running_s.is_some();
    lines.add("current_save_keys_total", if is_walking { keys.sum::<usize>() } else { 0 });
    lines.add("rdb_changes_since_last_save", sum(|saves| saves.unsaved_changes));
    lines.add("rdb_bgsave_in_progress", u8::from(is_running));
    lines.add("rdb_last_save_time", saves.last_saved_s);
    lines.add("rdb_last_bgsave_status", if saves.last_failed { "err" } else { "ok" });
    lines.add("rdb_last_bgsave_time_sec", seconds(saves.last_took_s));
    lines.add("rdb_current_bgsave_time_sec", seconds(saves.running_s));
    lines.add("rdb_saves", saves.saves);
    lines.add("rdb_last_cow_size", 0);
    lines.add("rdb_last_load_keys_expired", sum(|saves| saves.loaded.expired));
    lines.add("rdb_last_load_keys_loaded", sum(|saves| saves.loaded.keys));
    let journals: Vec<JournalStats> =
        statistics.shards.iter().filter_map(|own| own.journal).collect();
    let sum = |of: fn(&JournalStats) -> u64| journals.iter().map(of).sum::<u64>();
    lines.add("aof_enabled", i32::from(!journals.is_empty()));
    let rewrite = saves.rewrite;
    lines.add("aof_rewrite_in_progress", u8::from(rewrite.running_s.is_some()));
    lines.add("aof_rewrite_scheduled", u8::from(rewrite.is_scheduled));
    lines.add("aof_last_rewrite_time_sec", seconds(rewrite.last_took_s));
    lines.add("aof_current_rewrite_time_sec", seconds(rewrite.running_s));
    lines.add("aof_last_bgrewrite_status", if rewrite.last_failed { "err" } else { "ok" });
    lines.add("aof_rewrites", rewrite.rewrites);
    lines.add("aof_rewrites_consecutive_failures", rewrite.failures);
    let has_fault = journals.iter().any(|journal| journal.has_fault);
    lines.add("aof_last_write_status", if has_fault { "err" } else { "ok" });
    lines.add("aof_last_cow_size", 0);
    if !journals.is_empty() {
        lines.add("aof_current_size", sum(|journal| journal.disk_bytes));
        lines.add("aof_base_size", sum(|journal| journal.rewritten_bytes));
        lines.add("aof_pending_rewrite", 0);
        lines.add("aof_buffer_length", sum(|journal| journal.unwritten_bytes));
        lines.add("aof_pending_bio_fsync", 0);
        lines.add("aof_delayed_fsync", 0);
        lines.add("journal_unsynced_bytes", sum(|journal| journal.unsynced_bytes));
        lines.add("journal_frames", sum(|journal| journal.frames));
        lines.add("journal_syncs", sum(|journal| journal.syncs));
        lines.add("journal_faults", sum(|journal| journal.faults));
        lines.add("journal_cuts", sum(|journal| journal.cuts));
    }
    lines.add_all(&["module_fork_in_progress", "module_fork_last_cow_size"], 0);
    if let Some(loading) = loading {
        lines.add("loading_start_time", loading.started_s);
        lines.add("loading_total_bytes", loading.total_bytes);
        lines.add("loading_rdb_used_mem", 0);
        lines.add("loading_loaded_bytes", loading.loaded_bytes);
        lines.add("loading_loaded_perc", format_args!("{:.2}", loading.percent()));
        lines.add("loading_eta_seconds", loading.left_s());
    }
}

fn stats(statistics: &Statistics, lines: &mut Lines) {
    let stats = &statistics.stats;
    let kilobytes = |bytes: f64| format!("{:.2}", bytes / 1024.0);
    lines.add("total_connections_received", stats.connections);
    lines.add(
        "total_commands_processed",
        statistics.books.values().map(|book| book.calls).sum::<u64>(),
    );
    let commands_per_s = statistics.rate(|rate| rate.commands).round();
    lines.add("instantaneous_ops_per_sec", commands_per_s as u64);
    lines.add("total_net_input_bytes", stats.bytes_in);
    lines.add("total_net_output_bytes", stats.bytes_out);
    lines.add("total_net_repl_input_bytes", 0);
    lines.add("total_net_repl_output_bytes", 0);
    lines.add("instantaneous_input_kbps", kilobytes(statistics.rate(|rate| rate.bytes_in)));
    lines.add("instantaneous_output_kbps", kilobytes(statistics.rate(|rate| rate.bytes_out)));
    lines.add_all(&["instantaneous_input_repl_kbps", "instantaneous_output_repl_kbps"], "0.00");
    lines.add("rejected_connections", statistics.process.refused_connections);
    lines.add("sync_full", 0);
    lines.add("sync_partial_ok", 0);
    lines.add("sync_partial_err", 0);
    lines.add("expired_keys", statistics.keyspace(|stats| stats.expired));
    // The first is Valkey's name of it, the second Redis'.
    lines.add("expired_fields", statistics.keyspace(|stats| stats.expired_fields));
    lines.add("expired_subkeys", statistics.keyspace(|stats| stats.expired_fields));
    lines.add("expired_stale_perc", "0.00");
    lines.add("expired_keys_with_volatile_items_stale_perc", "0.00");
    lines.add("expired_time_cap_reached_count", 0);
    lines.add("expire_cycle_cpu_milliseconds", stats.maintenance_us / 1000);
    lines.add("evicted_keys", statistics.keyspace(|stats| stats.evicted));
    lines.add("evicted_clients", stats.evicted_clients);
    let evicted = statistics.shards.iter().map(|shard| shard.scripts.evicted).max();
    lines.add("evicted_scripts", evicted.unwrap_or(0));
    let current_us = statistics.shards.iter().map(|shard| shard.eviction_exceeded_now_us).max();
    let current_ms = current_us.unwrap_or(0) / 1000;
    let past_ms = stats.eviction_exceeded_us / 1000;
    lines.add("total_eviction_exceeded_time", past_ms + current_ms);
    lines.add("current_eviction_exceeded_time", current_ms);
    lines.add("keyspace_hits", statistics.keyspace(|stats| stats.hits));
    lines.add("keyspace_misses", statistics.keyspace(|stats| stats.misses));
    lines.add("pubsub_channels", statistics.sum(|shard| shard.clients.channels));
    lines.add("pubsub_patterns", statistics.max(|shard| shard.clients.patterns));
    lines.add("pubsubshard_channels", statistics.sum(|shard| shard.clients.shard_channels));
    lines.add("pubsub_messages_published", stats.published);
    lines.add("pubsub_messages_delivered", stats.delivered);
    lines.add("pubsub_subscribers_cut_off", stats.subscribers_cut_off);
    lines.add("latest_fork_usec", 0);
    lines.add("total_forks", 0);
    lines.add_all(&["migrate_cached_sockets", "slave_expires_tracked_keys"], 0);
    lines.add_all(&["active_defrag_hits", "active_defrag_misses"], 0);
    lines.add_all(&["active_defrag_key_hits", "active_defrag_key_misses"], 0);
    lines.add_all(&["total_active_defrag_time", "current_active_defrag_time"], 0);
    lines.add("tracking_total_keys", statistics.sum(|shard| shard.clients.tracked_keys));
    lines.add("tracking_total_items", statistics.sum(|shard| shard.clients.tracked_items));
    lines.add("tracking_total_prefixes", statistics.max(|shard| shard.clients.tracked_prefixes));
    lines.add("tracking_invalidations", stats.invalidations);
    lines.add("unexpected_error_replies", 0);
    lines.add("total_error_replies", stats.error_replies);
    lines.add("dump_payload_sanitizations", 0);
    lines.add("total_reads_processed", stats.reads);
    lines.add("total_writes_processed", stats.writes);
    lines.add_all(&["io_threaded_reads_processed", "io_threaded_writes_processed"], 0);
    let over_query = stats.query_limit_disconnections;
    lines.add("client_query_buffer_limit_disconnections", over_query);
    let over_output = stats.output_limit_disconnections;
    lines.add("client_output_buffer_limit_disconnections", over_output);
    lines.add("eventloop_cycles", statistics.process.loop_turns);
    lines.add("eventloop_duration_sum", statistics.process.loop_turns_us);
    let commands_ns =
        statistics.books.values().fold(0, |sum: u64, book| sum.saturating_add(book.ns));
    lines.add("eventloop_duration_cmd_sum", commands_ns / 1000);
    lines.add("acl_access_denied_auth", stats.refused_logins);
    lines.add_all(&["acl_access_denied_cmd", "acl_access_denied_key"], 0);
    lines.add("acl_access_denied_channel", 0);
    lines.add("loop_turn_max_us", statistics.process.loop_turn_max_us);
    let lags = statistics.shards.iter().map(|shard| shard.keyspace.expiry_lag_max_ms);
    lines.add("expiry_lag_max_ms", lags.max().unwrap_or(0));
    lines.add("shard_messages", stats.messages_out);
    lines.add("commands_from_other_shards", stats.commands_from_others);
    lines.add("fast_path_commands", stats.fast_path);
    lines.add("slots_moved", stats.slots_moved);
    lines.add("slot_move_pause_max_us", stats.still_us_max);
}

/// Nothing is replicated yet, so the history of the data is the process'.
fn replication(statistics: &Statistics, lines: &mut Lines) {
    lines.add("role", "master");
    lines.add_all(&["connected_slaves", "replicas_waiting_psync"], 0);
    lines.add("master_failover_state", "no-failover");
    lines.add("master_replid", &statistics.process.run_id);
    lines.add("master_replid2", "0".repeat(40));
    lines.add("master_repl_offset", 0);
    lines.add("second_repl_offset", -1);
    lines.add("repl_backlog_active", 0);
    lines.add("repl_backlog_size", 0);
    lines.add("repl_backlog_first_byte_offset", 0);
    lines.add("repl_backlog_histlen", 0);
}

fn cpu(statistics: &Statistics, lines: &mut Lines) {
    lines.add("used_cpu_sys", format_args!("{:.6}", statistics.process.cpu_system_s));
    lines.add("used_cpu_user", format_args!("{:.6}", statistics.process.cpu_user_s));
    lines.add("used_cpu_sys_children", "0.000000");
    lines.add("used_cpu_user_children", "0.000000");
}

fn commandstats(statistics: &Statistics, lines: &mut Lines) {
    for (name, book) in statistics.rows() {
        let us = book.ns / 1000;
        let each = if book.calls == 0 { 0.0 } else { book.ns as f64 / 1000.0 / book.calls as f64 };
        let Book { calls, rejected, failed, .. } = book;
        lines.add(
            &format!("cmdstat_{name}"),
            format_args!(
                "calls={calls},usec={us},usec_per_call={each:.2},rejected_calls={rejected},\
                 failed_calls={failed}"
            ),
        );
    }
}

fn latencystats(statistics: &Statistics, lines: &mut Lines) {
    let percentiles = &statistics.config.latency_tracking_info_percentiles.0;
    if !statistics.config.latency_tracking || percentiles.is_empty() {
        return;
    }
    for (name, book) in statistics.rows() {
        let Some(histogram) = &book.histogram else { continue };
        let told = percentiles.iter().map(|percent| {
            format!("p{percent}={:.3}", histogram.percentile(*percent) as f64 / 1000.0)
        });
        let told = told.collect::<Vec<_>>().join(",");
        lines.add(&format!("latency_percentiles_usec_{name}"), told);
    }
}

fn errorstats(statistics: &Statistics, lines: &mut Lines) {
    for (kind, count) in &statistics.stats.errors {
        lines.add(&format!("errorstat_{kind}"), format_args!("count={count}"));
    }
}

/// What spans shards: how much of it, and who was in whose way.
fn transactions(statistics: &Statistics, lines: &mut Lines) {
    let stats = &statistics.stats.transactions;
    lines.add("transactions_on_one_shard", stats.on_one_shard);
    lines.add("transactions_on_several_shards", stats.on_several_shards);
    lines.add("transactions_on_all_shards", stats.on_all_shards);
    lines.add("transaction_waits", stats.waits);
    lines.add("transaction_grants_given_back", stats.given_back);
    lines.add("transaction_visits_holding", statistics.sum(|shard| shard.transactions.holding));
    lines.add("transaction_visits_waiting", statistics.sum(|shard| shard.transactions.waiting));
    let oldest = statistics.shards.iter().map(|shard| shard.transactions.oldest_us);
    lines.add("transaction_oldest_us", oldest.max().unwrap_or(0));
    for percent in [50.0, 99.0] {
        let us = (stats.held.percentile(percent) / 1000).min(stats.held_max_us);
        lines.add(&format!("transaction_held_us_p{percent}"), us);
    }
    lines.add("transaction_held_us_max", stats.held_max_us);
}

fn keyspace(statistics: &Statistics, lines: &mut Lines) {
    let count = statistics.shards.first().map_or(0, |shard| shard.databases.len());
    for index in 0..count {
        let database = statistics.database(index);
        let DatabaseStats { keys, expiring, with_expiring_elements, .. } = database;
        if keys > 0 {
            let ttl_ms = database.ttl_mean_ms(statistics.now.unix_ms);
            let mut value = format!("keys={keys},expires={expiring},avg_ttl={ttl_ms}");
            if with_expiring_elements > 0 {
                value.push_str(&format!(",keys_with_volatile_items={with_expiring_elements}"));
            }
            lines.add(&format!("db{index}"), value);
        }
    }
}

/// The keys that are used most, over all shards; names last, since they may have any sign in them.
fn hot_keys(statistics: &Statistics, lines: &mut Lines) {
    let shards = statistics.shards.iter().enumerate();
    let mut keys: Vec<(usize, &HotKey)> =
        shards.flat_map(|(shard, own)| own.hot_keys.iter().map(move |key| (shard, key))).collect();
    keys.sort_by(|(_, one), (_, other)| other.uses_per_s.total_cmp(&one.uses_per_s));
    keys.truncate(statistics.config.metrics_top_keys as usize);
    for (rank, (shard, HotKey { database, name, uses_per_s, share })) in keys.iter().enumerate() {
        let value = format_args!(
            "shard={shard},db={},uses_per_sec={uses_per_s:.2},share={share:.4},key={}",
            database.0,
            shown_name(name)
        );
        lines.add(&format!("hot_key_{rank}"), value);
    }
}

/// The largest values of each type, over all shards.
fn big_keys(statistics: &Statistics, lines: &mut Lines) {
    let shards = statistics.shards.iter().enumerate();
    let mut by_kind: BTreeMap<&str, Vec<(usize, &BigKey)>> = BTreeMap::new();
    for (shard, key) in
        shards.flat_map(|(shard, own)| own.big_keys.iter().map(move |key| (shard, key)))
    {
        by_kind.entry(key.kind.name()).or_default().push((shard, key));
    }
    for (kind, mut keys) in by_kind {
        keys.sort_by_key(|(_, key)| std::cmp::Reverse(key.bytes));
        keys.truncate(statistics.config.metrics_top_keys as usize);
        for (rank, (shard, BigKey { database, name, bytes, elements, .. })) in
            keys.iter().enumerate()
        {
            let value = format_args!(
                "shard={shard},db={},bytes={bytes},elements={elements},key={}",
                database.0,
                shown_name(name)
            );
            lines.add(&format!("big_{kind}_{rank}"), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_for_people() {
        for (bytes, shown) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.00K"),
            (1_016_168, "992.35K"),
            (25_276_510_208, "23.54G"),
            (u64::MAX, "16384.00P"),
        ] {
            assert_eq!(human(bytes), shown);
        }
    }
}
