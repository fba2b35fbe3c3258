//! Shards: our own metrics, with the shard as a label. Sums are Prometheus' to make.

use basalt_engine::{Histogram, ShardStats, TransactionStats, command_name, shown_name};

use super::text::{Number, seconds_of_us, whole};
use super::{Kind, Report, Text, View, write_times};
use crate::loop_stats::TURN_STEPS;

/// A metric that is one number of each shard.
struct Row {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    value: fn(&Report) -> Number,
}

const fn counter(name: &'static str, help: &'static str, value: fn(&Report) -> Number) -> Row {
    Row { kind: Kind::Counter, name, help, value }
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&Report) -> Number) -> Row {
    Row { kind: Kind::Gauge, name, help, value }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    gauge("basalt_connected_clients", "Clients pinned to the shard.",
        |shard| whole(shard.engine.clients.connected)),
    gauge("basalt_blocked_clients", "Clients that wait in a blocking command, or for the end of CLIENT PAUSE.",
        |shard| whole(shard.engine.clients.blocked)),
    counter("basalt_connections_received_total", "Clients that were pinned to the shard.",
        |shard| whole(shard.engine.stats.connections)),
    counter("basalt_net_input_bytes_total", "Bytes received from clients.",
        |shard| whole(shard.engine.stats.bytes_in)),
    counter("basalt_net_output_bytes_total", "Bytes of replies handed over to be sent.",
        |shard| whole(shard.engine.stats.bytes_out)),
    counter("basalt_error_replies_total", "Error replies.",
        |shard| whole(shard.engine.stats.error_replies)),

    counter("basalt_keyspace_hits_total", "Looks for a key to read it that found it.",
        |shard| whole(shard.engine.keyspace.hits)),
    counter("basalt_keyspace_misses_total", "Looks for a key to read it that did not find it.",
        |shard| whole(shard.engine.keyspace.misses)),
    counter("basalt_changes_total", "Changes of keys.",
        |shard| whole(shard.engine.keyspace.changes)),
    counter("basalt_expired_keys_total", "Keys removed because their time was over.",
        |shard| whole(shard.engine.keyspace.expired)),
    counter("basalt_expired_fields_total", "Fields of hashes removed because their time was over.",
        |shard| whole(shard.engine.keyspace.expired_fields)),
    counter("basalt_evicted_keys_total", "Keys removed to make room.",
        |shard| whole(shard.engine.keyspace.evicted)),
    gauge("basalt_expiry_lag_max_seconds", "The latest that active expiry came after a key's moment, since start or CONFIG RESETSTAT.",
        |shard| seconds_of_us(shard.engine.keyspace.expiry_lag_max_ms * 1000)),
    gauge("basalt_expiry_overdue_seconds", "How long ago the first key that is to expire should have; 0 where none is late.",
        |shard| seconds_of_us(shard.engine.expiry_overdue_ms * 1000)),
    counter("basalt_maintenance_seconds_total", "Time that went to expiry and to freeing what was flushed.",
        |shard| seconds_of_us(shard.engine.stats.maintenance_us)),

    gauge("basalt_memory_data_bytes", "Memory of the data, with tables and expiry.",
        |shard| whole(shard.engine.data_bytes)),
    gauge("basalt_memory_clients_bytes", "Memory of the clients' sessions and buffers; with more than 512 clients as of the last look, seconds ago.",
        |shard| whole(shard.engine.clients.sums.bytes)),

    counter("basalt_pubsub_published_total", "Messages and keyspace events that the shard ordered.",
        |shard| whole(shard.engine.stats.published)),
    counter("basalt_pubsub_delivered_total", "Messages and keyspace events written for the shard's clients.",
        |shard| whole(shard.engine.stats.delivered)),
    gauge("basalt_pubsub_subscribers", "Clients that are subscribed to something.",
        |shard| whole(shard.engine.clients.sums.subscribers)),
    counter("basalt_pubsub_subscribers_cut_off_total", "Subscribers cut off since they did not read, or missed a message.",
        |shard| whole(shard.engine.stats.subscribers_cut_off)),
    gauge("basalt_tracking_clients", "Clients with CLIENT TRACKING.",
        |shard| whole(shard.engine.clients.sums.trackers)),
    gauge("basalt_tracking_keys", "Keys of the shard that clients track.",
        |shard| whole(shard.engine.clients.tracked_keys)),
    gauge("basalt_tracking_items", "How many clients track them, each counted for each key.",
        |shard| whole(shard.engine.clients.tracked_items)),
    counter("basalt_tracking_invalidations_total", "Messages to the shard's clients that keys have changed.",
        |shard| whole(shard.engine.stats.invalidations)),

    gauge("basalt_mesh_depth", "Messages of other shards that wait to be read.",
        |shard| whole(shard.core.mesh_depth)),
    counter("basalt_mesh_sent_total", "Messages and new connections sent to other shards.",
        |shard| whole(shard.core.packets_sent)),
    counter("basalt_mesh_received_total", "Messages and new connections received from other shards.",
        |shard| whole(shard.core.packets_received)),
    counter("basalt_commands_from_other_shards_total", "Commands worked for clients of other shards; their share in all tells how much crosses.",
        |shard| whole(shard.engine.stats.commands_from_others)),

    gauge("basalt_loop_turn_max_seconds", "The longest turn of the loop since start or CONFIG RESETSTAT.",
        |shard| seconds_of_us(shard.core.turn_max_us)),
    counter("basalt_ring_submissions_total", "Operations queued for the kernel in the shard's io_uring.",
        |shard| whole(shard.core.submissions)),
    counter("basalt_ring_enters_total", "System calls that handed them over or waited.",
        |shard| whole(shard.core.enters)),

    counter("basalt_transaction_waits_total", "Transactions and commands that met an intent on the shard and had to wait.",
        |shard| whole(shard.engine.stats.transactions.waits)),
    counter("basalt_transaction_grants_given_back_total", "Grants of the shard that went back to an earlier transaction.",
        |shard| whole(shard.engine.stats.transactions.given_back)),
    gauge("basalt_transaction_visits_waiting", "Transactions that wait for their turn on the shard.",
        |shard| whole(shard.engine.transactions.waiting)),
    gauge("basalt_transaction_visits_holding", "Transactions that hold keys of the shard.",
        |shard| whole(shard.engine.transactions.holding)),
    gauge("basalt_transaction_oldest_seconds", "Age of the oldest transaction on the shard.",
        |shard| seconds_of_us(shard.engine.transactions.oldest_us)),
    gauge("basalt_transaction_held_max_seconds", "The longest that a transaction held keys of the shard since start or CONFIG RESETSTAT.",
        |shard| seconds_of_us(shard.engine.stats.transactions.held_max_us)),
];

/// Reasons for which the server lets a client go.
type Reason = (&'static str, fn(&ShardStats) -> u64);
const REASONS: [Reason; 2] = [
    ("output_buffer", |stats| stats.output_limit_disconnections),
    ("query_buffer", |stats| stats.query_limit_disconnections),
];

type TransactionKind = (&'static str, fn(&TransactionStats) -> u64);
const TRANSACTION_KINDS: [TransactionKind; 3] = [
    ("one_shard", |stats| stats.on_one_shard),
    ("several_shards", |stats| stats.on_several_shards),
    ("all_shards", |stats| stats.on_all_shards),
];

pub(super) fn write(view: &View<'_>, text: &mut Text) {
    text.family(Kind::Gauge, "basalt_build_info", "The version, as a label of 1.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], whole(1_u8));
    write_answers(view, text);
    for Row { kind, name, help, value } in ROWS {
        text.family(*kind, name, help);
        for (shard, report) in view.shards() {
            text.sample(&[("shard", &shard)], value(report));
        }
    }
    write_databases(view, text);
    write_hot_keys(view, text);
    write_big_keys(view, text);
    write_subscriptions(view, text);
    write_disconnections(view, text);
    write_transactions(view, text);
    write_turns(view, text);
    write_commands(view, text);
    write_times_of_commands(view, text);
}

fn write_answers(view: &View<'_>, text: &mut Text) {
    let help = "Whether the shard answered this scrape; 0: what is told of it is older.";
    text.family(Kind::Gauge, "basalt_shard_answers", help);
    for ((shard, _), answers) in view.shards().zip(view.answers) {
        text.sample(&[("shard", &shard)], whole(u8::from(*answers)));
    }
    let help = "How old the numbers of the shard are.";
    text.family(Kind::Gauge, "basalt_shard_report_age_seconds", help);
    for (shard, report) in view.shards() {
        let age_us = view.now_us.saturating_sub(report.engine.at_us);
        text.sample(&[("shard", &shard)], seconds_of_us(age_us));
    }
}

fn write_subscriptions(view: &View<'_>, text: &mut Text) {
    let help = "What the shard's clients are subscribed to, each client counted for each.";
    text.family(Kind::Gauge, "basalt_pubsub_subscriptions", help);
    for (shard, report) in view.shards() {
        let kinds = ["channel", "pattern", "shard_channel"];
        for (kind, count) in kinds.iter().zip(report.engine.clients.sums.subscriptions) {
            text.sample(&[("shard", &shard), ("kind", kind)], whole(count));
        }
    }
}

fn write_databases(view: &View<'_>, text: &mut Text) {
    type Count = fn(&basalt_keyspace::DatabaseStats) -> usize;
    let families: [(&'static str, &str, Count); 2] = [
        ("basalt_keys", "Keys of a database on the shard.", |statistics| statistics.keys),
        ("basalt_keys_expiring", "Keys with an expiry.", |statistics| statistics.expiring),
    ];
    for (name, help, count) in families {
        text.family(Kind::Gauge, name, help);
        for (shard, report) in view.shards() {
            for (index, statistics) in report.engine.databases.iter().enumerate() {
                // The first is always there, so that nobody takes an empty server for none.
                if statistics.keys > 0 || index == 0 {
                    let database = format!("db{index}");
                    text.sample(&[("shard", &shard), ("db", &database)], whole(count(statistics)));
                }
            }
        }
    }
}

/// As many as `metrics-top-keys` says: those that take a hundredth of all uses.
fn write_hot_keys(view: &View<'_>, text: &mut Text) {
    let help = "Uses per second, of late, of the keys with at least a hundredth of the shard's: an estimate, \
                from one use in 101.";
    text.family(Kind::Gauge, "basalt_hot_key_uses_per_second", help);
    for (shard, report) in view.shards() {
        for key in &report.engine.hot_keys {
            let (database, name) = (format!("db{}", key.database.0), shown_name(&key.name));
            let labels = [("shard", shard.as_str()), ("db", &database), ("key", &name)];
            text.sample(&labels, Number::Real(key.uses_per_s));
        }
    }
}

fn write_big_keys(view: &View<'_>, text: &mut Text) {
    type Size = fn(&basalt_keyspace::BigKey) -> Number;
    let families: [(&'static str, &str, Size); 2] = [
        ("basalt_big_key_bytes", "Memory of the largest values of each type.", |key| {
            whole(key.bytes)
        }),
        (
            "basalt_big_key_elements",
            "Elements of the largest values of each type; of strings, bytes.",
            |key| whole(key.elements),
        ),
    ];
    for (family, help, size) in families {
        text.family(Kind::Gauge, family, help);
        for (shard, report) in view.shards() {
            for key in &report.engine.big_keys {
                let (database, name) = (format!("db{}", key.database.0), shown_name(&key.name));
                let kind = ("type", key.kind.name());
                let labels = [("shard", shard.as_str()), ("db", &database), kind, ("key", &name)];
                text.sample(&labels, size(key));
            }
        }
    }
}

fn write_disconnections(view: &View<'_>, text: &mut Text) {
    let help = "Clients that were let go because a buffer was above its limit.";
    text.family(Kind::Counter, "basalt_disconnected_clients_total", help);
    for (shard, report) in view.shards() {
        for (reason, count) in REASONS {
            let labels = [("shard", shard.as_str()), ("reason", reason)];
            text.sample(&labels, whole(count(&report.engine.stats)));
        }
    }
}

fn write_transactions(view: &View<'_>, text: &mut Text) {
    let help = "Transactions of the shard's clients by what they touched: EXEC, and commands over several \
                keys that depend on each other or are on several shards.";
    text.family(Kind::Counter, "basalt_transactions_total", help);
    for (shard, report) in view.shards() {
        for (kind, count) in TRANSACTION_KINDS {
            let labels = [("shard", shard.as_str()), ("kind", kind)];
            text.sample(&labels, whole(count(&report.engine.stats.transactions)));
        }
    }
    let help = "How long transactions over several shards held keys of this one; 0 within a turn.";
    text.family(Kind::Histogram, "basalt_transaction_held_seconds", help);
    for (shard, report) in view.shards() {
        write_times(text, &[("shard", &shard)], &report.engine.stats.transactions.held);
    }
}

fn write_turns(view: &View<'_>, text: &mut Text) {
    /// Of the steps of a turn's length, one in so many is told.
    const EVERY: usize = 2;
    let help = "How long turns of the loop took; the sum is the time that the shard was busy.";
    text.family(Kind::Histogram, "basalt_loop_turn_seconds", help);
    for (shard, report) in view.shards() {
        let core = &report.core;
        let steps = (0..TURN_STEPS - 1).step_by(EVERY);
        let steps = steps.map(|bits| ((1_u64 << bits) as f64 / 1e6, core.turns_below(bits)));
        text.histogram(&[("shard", &shard)], steps, core.turns, core.turns_us as f64 / 1e6);
    }
}

fn write_commands(view: &View<'_>, text: &mut Text) {
    let help = "Calls by command and outcome: ok, failed (an error reply), rejected (refused before it \
                ran). Outcomes that never came are left out.";
    text.family(Kind::Counter, "basalt_commands_total", help);
    for (shard, report) in view.shards() {
        for (number, book) in &report.engine.books {
            let name = command_name(*number);
            let mut sample = |outcome, count: u64| {
                let labels = [("shard", shard.as_str()), ("cmd", name), ("outcome", outcome)];
                text.sample(&labels, whole(count));
            };
            sample("ok", book.calls.saturating_sub(book.failed));
            for (outcome, count) in [("failed", book.failed), ("rejected", book.rejected)] {
                if count > 0 {
                    sample(outcome, count);
                }
            }
        }
    }
}

/// By command over all shards, and by shard over all commands: each by each would be too much to keep.
fn write_times_of_commands(view: &View<'_>, text: &mut Text) {
    if !view.config.latency_tracking {
        return;
    }
    let help = "How long commands took, on all shards. Of commands that are quick and called often one call \
                in 101 is timed and stands for the others, so this is an estimate.";
    text.family(Kind::Histogram, "basalt_command_duration_seconds", help);
    for (number, book) in &view.books {
        if let Some(times) = &book.histogram {
            write_times(text, &[("cmd", command_name(*number))], times);
        }
    }
    let help = "How long commands took on the shard, all together; an estimate, as by command.";
    text.family(Kind::Histogram, "basalt_shard_command_duration_seconds", help);
    for (shard, report) in view.shards() {
        let mut all = Histogram::default();
        let times = report.engine.books.iter().filter_map(|(_, book)| book.histogram.as_ref());
        times.for_each(|times| all.absorb(times));
        write_times(text, &[("shard", &shard)], &all);
    }
}
