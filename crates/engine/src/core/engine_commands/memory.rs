//! Engine commands of MEMORY: the books of all shards under Redis' names, and the problems that they show.

use std::fmt::Write as _;

use basalt_commands::Outcome;
use basalt_resp::Reply;

use super::info::{self, Statistics, human};
use super::{encode, settings};
use crate::core::Core;
use crate::core::snapshot::ShardSnapshot;
use crate::session::SessionId;
use crate::world::World;

/// Below this ratios mean nothing.
const LITTLE_BYTES: usize = 5 << 20;
/// How much more than is used now may have been used, or be resident.
const MUCH_MORE: f64 = 1.4;
/// Buffers of one client, in the mean.
const LARGE_BUFFERS_BYTES: usize = 200 << 10;

/// What takes how much memory, added up over shards.
struct Books {
    used: usize,
    peak: usize,
    /// Buffers and the like of sessions.
    clients: usize,
    /// What of the journal is not written yet.
    journal: usize,
    /// Texts of scripts and of libraries, and what their interpreters take.
    scripts: usize,
    libraries: usize,
    interpreters: usize,
    clients_count: usize,
    /// Tables and expiry wheels of each database that has keys.
    databases: Vec<(usize, DatabaseOverhead)>,
    keys: usize,
    resident: usize,
}

#[derive(Clone, Copy, Default)]
struct DatabaseOverhead {
    table: usize,
    expiry: usize,
}

impl Books {
    fn of(statistics: &Statistics) -> Self {
        let used = statistics.sum(|shard| shard.used_bytes);
        let count = statistics.shards.first().map_or(0, |shard| shard.databases.len());
        let all = (0..count).map(|index| (index, statistics.database(index)));
        let mut keys = 0;
        let databases = all.filter(|(_, database)| database.keys > 0).map(|(index, database)| {
            keys += database.keys;
            let (table, expiry) = (database.table_bytes, database.wheel_bytes);
            (index, DatabaseOverhead { table, expiry })
        });
        Self {
            used,
            peak: statistics.sum(|shard| shard.used_bytes_peak),
            clients: statistics.sum(|shard| shard.clients.sums.bytes),
            journal: statistics.sum(ShardSnapshot::journal_bytes),
            scripts: statistics.sum(|shard| shard.scripts.text_bytes),
            // All shards share them.
            libraries: statistics.shards.first().map_or(0, |shard| shard.scripts.library_bytes),
            interpreters: statistics.sum(|shard| shard.scripts.interpreter_bytes),
            clients_count: statistics.sum(|shard| shard.clients.connected),
            databases: databases.collect(),
            keys,
            resident: statistics.process.rss_bytes as usize,
        }
    }

    fn overhead(&self) -> usize {
        let databases = self.databases.iter().map(|(_, own)| own.table + own.expiry);
        self.clients + self.journal + databases.sum::<usize>()
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

pub(super) fn stats(core: &mut Core, world: &mut dyn World, id: SessionId) -> Outcome {
    report(core, world, id, write_stats);
    Ok(())
}

pub(super) fn doctor(core: &mut Core, world: &mut dyn World, id: SessionId) -> Outcome {
    report(core, world, id, |books, reply| reply.verbatim("txt", advice(books).as_bytes()));
    Ok(())
}

fn report(
    core: &mut Core,
    world: &mut dyn World,
    id: SessionId,
    write: fn(&Books, &mut Reply<'_>),
) {
    let (_, protocol) = settings(core, id);
    let (statistics, routes) = (Statistics::begin(core, world), core.shard.routes.clone());
    core.coordinate(id, |hops| async move {
        let statistics = info::gather(statistics, &hops, &routes, (false, false)).await;
        encode(protocol, |reply| write(&Books::of(&statistics), reply))
    });
}

/// Fields of what there is none of are there, too: clients look for them.
fn write_stats(books: &Books, reply: &mut Reply<'_>) {
    const NONE_BEFORE: [&str; 3] =
        ["replication.backlog", "replicas.repl.buffer", "replica.fullsync.buffer"];
    const NONE_BETWEEN: [&str; 3] = ["cluster.links", "cluster.slot_import", "cluster.slot_export"];
    let fields = reply.deferred_array();
    let mut count = 0;
    let mut add = |reply: &mut Reply<'_>, name: &str, value: usize| {
        reply.bulk(name.as_bytes());
        reply.integer(value as i64);
        count += 1;
    };
    let (used, overhead) = (books.used, books.overhead());
    let dataset = used - overhead;
    add(reply, "peak.allocated", books.peak);
    add(reply, "total.allocated", used);
    add(reply, "startup.allocated", 0);
    NONE_BEFORE.iter().for_each(|name| add(reply, name, 0));
    add(reply, "clients.slaves", 0);
    add(reply, "clients.normal", books.clients);
    NONE_BETWEEN.iter().for_each(|name| add(reply, name, 0));
    add(reply, "aof.buffer", books.journal);
    add(reply, "lua.caches", books.scripts);
    add(reply, "functions.caches", books.libraries);
    add(reply, "script.VMs", books.interpreters);
    let tables = books.databases.iter().map(|(_, own)| own.table).sum();
    add(reply, "overhead.db.hashtable.lut", tables);
    add(reply, "overhead.db.hashtable.rehashing", 0);
    add(reply, "overhead.total", overhead);
    add(reply, "db.dict.rehashing.count", 0);
    add(reply, "keys.count", books.keys);
    add(reply, "keys.bytes-per-key", used.checked_div(books.keys).unwrap_or(0));
    add(reply, "dataset.bytes", dataset);
    for name in ["allocator.allocated", "allocator.active"] {
        add(reply, name, used);
    }
    add(reply, "allocator.resident", books.resident);
    add(reply, "allocator.muzzy", 0);
    for (index, own) in &books.databases {
        reply.bulk(format!("db.{index}").as_bytes());
        reply.map(2);
        reply.bulk(b"overhead.hashtable.main");
        reply.integer(own.table as i64);
        reply.bulk(b"overhead.hashtable.expires");
        reply.integer(own.expiry as i64);
        count += 1;
    }
    for (name, value) in [
        ("dataset.percentage", ratio(dataset, used) * 100.0),
        ("peak.percentage", ratio(used, books.peak) * 100.0),
        ("allocator-fragmentation.ratio", 1.0),
        ("allocator-rss.ratio", ratio(books.resident, used)),
        ("rss-overhead.ratio", 1.0),
        ("fragmentation", ratio(books.resident, used)),
    ] {
        reply.bulk(name.as_bytes());
        reply.double(value);
        count += 1;
    }
    let beyond = books.resident as i64 - used as i64;
    for (name, value) in [
        ("allocator-fragmentation.bytes", 0),
        ("allocator-rss.bytes", beyond),
        ("rss-overhead.bytes", 0),
        ("fragmentation.bytes", beyond),
    ] {
        reply.bulk(name.as_bytes());
        reply.integer(value);
        count += 1;
    }
    reply.finish_map(fields, count);
}

/// What a person should look at, in sentences.
fn advice(books: &Books) -> String {
    if books.used < LITTLE_BYTES {
        return format!(
            "There is too little data to judge: {} are used, and ratios mean something from {} on.\n",
            human(books.used as u64),
            human(LITTLE_BYTES as u64)
        );
    }
    let mut text = String::new();
    let used = human(books.used as u64);
    if ratio(books.peak, books.used) > MUCH_MORE {
        let _ = writeln!(
            text,
            "* Peak: {} were used at the most, {used} are now. What was freed goes back to the system within \
             seconds; INFO's used_memory_rss shows how far that is.",
            human(books.peak as u64)
        );
    }
    if ratio(books.resident, books.used) > MUCH_MORE {
        let _ = writeln!(
            text,
            "* Resident: {} are resident for {used} that are used. After much was deleted that is so for \
             seconds; if it stays, the space between values of different sizes is the reason.",
            human(books.resident as u64)
        );
    }
    if books.clients / books.clients_count.max(1) > LARGE_BUFFERS_BYTES {
        let _ = writeln!(
            text,
            "* Clients: {} clients have buffers of {}. CLIENT LIST shows which (omem, qbuf); \
             client-output-buffer-limit cuts off those that don't read.",
            books.clients_count,
            human(books.clients as u64)
        );
    }
    match text.is_empty() {
        true => "No memory problem was found.\n".into(),
        false => format!("Worth a look:\n\n{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(used: usize, peak: usize, resident: usize, clients: usize) -> Books {
        let databases = Vec::new();
        let (journal, scripts, libraries, interpreters) = (0, 0, 0, 0);
        let (clients_count, keys) = (2, 1);
        Books {
            used,
            peak,
            clients,
            journal,
            scripts,
            libraries,
            interpreters,
            clients_count,
            databases,
            keys,
            resident,
        }
    }

    #[test]
    fn advice_names_what_is_wrong_and_nothing_else() {
        const MB: usize = 1 << 20;
        let words = |books: &Books| {
            let text = advice(books);
            ["Peak", "Resident", "Clients", "too little", "No memory problem"]
                .map(|word| text.contains(word))
        };
        assert_eq!(words(&books(MB, 9 * MB, 9 * MB, 0)), [false, false, false, true, false]);
        assert_eq!(words(&books(10 * MB, 11 * MB, 12 * MB, 0)), [false, false, false, false, true]);
        assert_eq!(words(&books(10 * MB, 20 * MB, 12 * MB, 0)), [true, false, false, false, false]);
        assert_eq!(words(&books(10 * MB, 10 * MB, 20 * MB, 0)), [false, true, false, false, false]);
        assert_eq!(
            words(&books(10 * MB, 10 * MB, 10 * MB, MB)),
            [false, false, true, false, false]
        );
    }
}
