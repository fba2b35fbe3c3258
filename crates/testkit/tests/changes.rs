//! What a change brings with it, for every write command, also where it changes nothing: watches that it breaks,
//! events that it raises, and that nothing changes beside commits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use basalt_commands::config::Config;
use basalt_keyspace::{
    Change, DatabaseId, Databases, Digest, Entry, EventClasses, KeyHasher, Keyspace, Observer,
    Origin, ReaderId, Record,
};
use basalt_testkit::simulation::{ClientId, Simulation};

/// From runs of Redis 8.0.6, and of Valkey 9.1.2 for commands that it alone has.
const TABLE: &str = include_str!("golden/changes.tsv");

const KEYS: [&str; 3] = ["d", "k", "s"];

struct Case<'a> {
    before: Vec<&'a str>,
    command: &'a str,
    broken: &'a str,
    events: &'a str,
}

fn cases() -> Vec<Case<'static>> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    let case = |line: &'static str| {
        let [before, command, broken, events] =
            line.split('\t').collect::<Vec<_>>().try_into().expect("a case has four columns");
        let before = if before == "-" { Vec::new() } else { before.split("; ").collect() };
        Case { before, command, broken, events }
    };
    lines.map(case).collect()
}

fn ask(server: &mut Simulation, client: ClientId, line: &str) -> String {
    server.ask_args(client, &split(line))
}

/// The words of a line; `""` is an empty one.
fn split(line: &str) -> Vec<&str> {
    line.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect()
}

/// Commands that record what no client sees: a string in another encoding, what a group knows of its consumers.
const RECORDED_QUIETLY: &[&str] =
    &["SETBIT", "BITFIELD", "XREADGROUP", "XACK", "XCLAIM", "XAUTOCLAIM"];

/// Whether any shard has recorded a change since the last call.
fn take_recorded(server: &mut Simulation, readers: &[ReaderId]) -> bool {
    let mut recorded = false;
    for (shard, reader) in readers.iter().enumerate() {
        let keyspace = server.core(shard).keyspace();
        let records = keyspace.unread_records(*reader).expect("the reader keeps up");
        let (len, mut at) = (records.len(), 0);
        while at < len {
            let (record, record_len) = Record::decode(&records[at..]).expect("it is well-formed");
            // A part of a transaction may turn out empty.
            recorded |= !matches!(record, Record::Part { .. } | Record::PartEnd { .. });
            at += record_len;
        }
        keyspace.advance_reader(*reader, len);
    }
    recorded
}

/// The events that all shards have raised since the last call, by key: `k:new,set`, a key of another database as
/// `k@1`. On several shards there is no order between keys.
fn take_events(server: &mut Simulation) -> String {
    let mut events: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for shard in 0..server.shard_count() {
        for (database, key, event) in server.core(shard).keyspace().take_events().iter() {
            let mut key = String::from_utf8_lossy(key).into_owned();
            if database != DatabaseId(0) {
                key = format!("{key}@{}", database.0);
            }
            events.entry(key).or_default().push(event.name);
        }
    }
    if events.is_empty() {
        return "-".to_owned();
    }
    let of_key = |(key, names): (&String, &Vec<&str>)| format!("{key}:{}", names.join(","));
    events.iter().map(of_key).collect::<Vec<_>>().join(" ")
}

fn check_table(shards: usize) {
    let mut server = Simulation::new(shards, Config::default(), 1);
    let client = server.connect(0);
    let watchers = KEYS.map(|key| (key, server.connect(shards - 1)));
    let classes = EventClasses::ALL.or(EventClasses::NEW);
    for shard in 0..shards {
        server.core(shard).keyspace().set_event_classes(classes);
    }
    let readers: Vec<ReaderId> =
        (0..shards).map(|shard| server.core(shard).keyspace().add_reader()).collect();
    let mut wrong = Vec::new();
    for case in cases() {
        ask(&mut server, client, "FLUSHALL");
        for line in &case.before {
            let reply = ask(&mut server, client, line);
            assert!(!reply.starts_with("ERR"), "{line}: {reply}");
        }
        take_events(&mut server);
        take_recorded(&mut server, &readers);
        for (key, watcher) in watchers {
            ask(&mut server, watcher, &format!("WATCH {key}"));
        }
        ask(&mut server, client, case.command);
        let events = take_events(&mut server);
        let recorded = take_recorded(&mut server, &readers);
        let mut broken = String::new();
        for (key, watcher) in watchers {
            ask(&mut server, watcher, "MULTI");
            ask(&mut server, watcher, "PING");
            if ask(&mut server, watcher, "EXEC") == "(nil)" {
                broken.push_str(key);
            }
        }
        if broken.is_empty() {
            broken.push('-');
        }
        let is_noticed = (case.broken, case.events) != ("-", "-");
        let name = case.command.split(' ').next().expect("a command has a name");
        if recorded != is_noticed && !(recorded && RECORDED_QUIETLY.contains(&name)) {
            let what = if recorded { "records a change" } else { "records nothing" };
            wrong.push(format!("{:?} {} {what}", case.before, case.command));
        }
        if (broken.as_str(), events.as_str()) != (case.broken, case.events) {
            wrong.push(format!(
                "{:?} {}: breaks {broken}, raises {events}; Redis: {}, {}",
                case.before, case.command, case.broken, case.events
            ));
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn watches_break_and_events_are_raised_as_in_redis() {
    assert!(cases().len() > 300, "where have the cases gone?");
    check_table(1);
}

#[test]
fn watches_break_and_events_are_raised_as_in_redis_on_several_shards() {
    check_table(4);
}

/// A digest of each database that only changes which are announced keep true.
#[derive(Default)]
struct Mirror(Arc<Mutex<Vec<Digest>>>);

impl Mirror {
    fn mix(&self, database: DatabaseId, entry: &Entry) {
        let mut digests = self.0.lock().expect("nothing panics while it is locked");
        digests.resize(16, Digest::default());
        digests[database.index()].absorb(&Digest::of_entry(entry, 0, true));
    }

    /// Takes out, or puts in, all that the change concerns.
    fn mix_all(&self, data: &Databases, change: &Change<'_>) {
        match *change {
            Change::Key { database, key, .. } => {
                if let Some(entry) = data.stored(database, &key) {
                    self.mix(database, &entry);
                }
            }
            Change::Flush { database } => {
                data.visit_database(database, &mut |entry| self.mix(database, entry));
            }
            Change::Swap { first, second } => {
                for database in [first, second] {
                    data.visit_database(database, &mut |entry| self.mix(database, entry));
                }
            }
            Change::SlotsOut { slots } | Change::SlotsIn { slots } => {
                for database in (0..data.count() as u16).map(DatabaseId) {
                    for &slot in slots {
                        data.visit_slot(database, slot, &mut |entry| self.mix(database, entry));
                    }
                }
            }
        }
    }
}

impl Observer for Mirror {
    fn before(&mut self, data: &Databases, change: &Change<'_>, _: &Origin) {
        self.mix_all(data, change);
    }

    fn after(&mut self, data: &Databases, change: &Change<'_>, _: &Origin) {
        self.mix_all(data, change);
    }
}

/// The digests of all that is stored, also of what is past its expiry.
fn walk(keyspace: &Keyspace) -> Vec<Digest> {
    let mut digests = vec![Digest::default(); 16];
    for (index, digest) in digests.iter_mut().enumerate() {
        let database = DatabaseId(index as u16);
        keyspace.databases().visit_database(database, &mut |entry| {
            digest.absorb(&Digest::of_entry(entry, 0, true));
        });
    }
    digests
}

/// Every command of the table, with expiry, slots that move and databases that are flushed and swapped between them:
/// an observer that is told of changes only knows what a walk finds, and so does a replay of the records.
#[test]
fn nothing_changes_beside_commits() {
    for seed in 0..3 {
        let shards = 1 + seed as usize;
        let mut server = Simulation::new(shards, Config::default(), seed);
        server.move_slots(&KEYS);
        let client = server.connect(0);
        let mut kept = Vec::new();
        for shard in 0..shards {
            let mirror = Mirror::default();
            let digests = Arc::clone(&mirror.0);
            digests.lock().expect("it is new").resize(16, Digest::default());
            let keyspace = server.core(shard).keyspace();
            keyspace.add_observer(Box::new(mirror));
            kept.push((digests, keyspace.add_reader()));
        }
        for (number, case) in cases().iter().enumerate() {
            for line in &case.before {
                ask(&mut server, client, line);
            }
            ask(&mut server, client, case.command);
            match number % 5 {
                0 => _ = ask(&mut server, client, "PEXPIRE k 1"),
                1 => server.advance_ms(200_000),
                2 => _ = ask(&mut server, client, "FLUSHDB"),
                3 => _ = ask(&mut server, client, "SWAPDB 0 1"),
                _ => {}
            }
            for (shard, (digests, _)) in kept.iter().enumerate() {
                let walked = walk(server.core(shard).keyspace());
                let told = digests.lock().expect("nothing panics while it is locked").clone();
                assert_eq!(walked, told, "{:?} {}", case.before, case.command);
            }
        }
        for (shard, (_, reader)) in kept.iter().enumerate() {
            let keyspace = server.core(shard).keyspace();
            let mut replayed = Keyspace::new(16, KeyHasher::new(9), keyspace.now_ms());
            let records = keyspace.unread_records(*reader).expect("the reader keeps up");
            replayed.replay(records).expect("records are what was recorded");
            replayed.verify();
            assert_eq!(walk(&replayed), walk(keyspace), "seed {seed}, shard {shard}");
        }
    }
}
