//! Origin: what hooks see of whom data changes for, and that transactions over shards are complete in the records.

use std::sync::{Arc, Mutex};

use basalt_commands::config::{Allowed, Config};
use basalt_keyspace::{Change, Databases, Observer, Origin, SlotId};
use basalt_testkit::simulation::Simulation;

/// Keys with the origins of their changes.
type Seen = Arc<Mutex<Vec<(Vec<u8>, Origin)>>>;

/// Notes whose changes it sees.
#[derive(Default)]
struct Origins(Seen);

impl Observer for Origins {
    fn before(&mut self, _: &Databases, _: &Change<'_>, _: &Origin) {}

    fn after(&mut self, _: &Databases, change: &Change<'_>, origin: &Origin) {
        let name = match change {
            Change::Key { key, .. } => key.bytes.to_vec(),
            _ => b"(all)".to_vec(),
        };
        self.0.lock().expect("nothing panics while it is locked").push((name, *origin));
    }
}

fn server(shards: usize) -> (Simulation, Seen) {
    let config = Config { enable_debug_command: Allowed::Yes, ..Config::default() };
    let mut server = Simulation::new(shards, config, 4);
    server.check_groups();
    let seen = Seen::default();
    for shard in 0..shards {
        server.core(shard).keyspace().add_observer(Box::new(Origins(Arc::clone(&seen))));
    }
    (server, seen)
}

fn taken(seen: &Seen) -> Vec<(Vec<u8>, Origin)> {
    std::mem::take(&mut seen.lock().expect("nothing panics while it is locked"))
}

/// A key with this beginning on a shard.
fn key_on(shard: usize, shards: usize, beginning: &str) -> String {
    let is_there =
        |key: &String| usize::from(SlotId::of_key(key.as_bytes()).0) * shards / 16_384 == shard;
    (0..).map(|n| format!("{beginning}{n}")).find(is_there).expect("every shard has slots")
}

/// Every way in which a command may change keys: on the client's shard and on another, pipelined over shards, by a
/// coordinator, in EXEC in one piece and in steps, and when a blocked client is served.
#[test]
fn hooks_see_the_client_and_the_transaction_of_each_change() {
    for shards in [1, 4] {
        let (mut server, seen) = server(shards);
        let (first, second) = (server.connect(0), server.connect(1));
        let a = key_on(0, shards, "a");
        let b = key_on(shards - 1, shards, "b");
        let c = key_on(shards / 2, shards, "c");
        let lines = [
            vec![format!("SET {a} 1")],
            vec![format!("SET {b} 1")],
            vec![format!("MSET {a} 1 {b} 2 {c} 3")],
            vec![format!("DEL {a} {b} {c}")],
            vec![format!("RPUSH {a} 1 2 3"), format!("RENAME {a} {b}")],
            vec![format!("LMOVE {b} {c} LEFT LEFT")],
            vec!["MULTI".into(), format!("SET {a} 1"), format!("INCR {a}"), "EXEC".into()],
            vec!["MULTI".into(), format!("SET {a} 1"), format!("RENAME {b} {c}"), "EXEC".into()],
            vec!["FLUSHALL".into()],
        ];
        let mut clients = Vec::new();
        for client in [first, second] {
            for lines in &lines {
                for line in lines {
                    server.ask_line(client, line);
                }
                let changes = taken(&seen);
                assert!(!changes.is_empty(), "{lines:?} changes something");
                let of = changes[0].1.client.expect("a client asked for it");
                for (key, origin) in &changes {
                    assert_eq!(origin.client, Some(of), "{lines:?} {key:?}");
                }
                clients.push(of);
            }
        }
        let (of_first, of_second) = clients.split_at(lines.len());
        assert!(of_first.iter().all(|client| *client == of_first[0]), "{of_first:?}");
        assert!(of_second.iter().all(|client| *client == of_second[0]), "{of_second:?}");
        assert_ne!(of_first[0], of_second[0]);

        // All changes of a transaction have one tag, on all shards, and it says how many these are.
        server.ask_line(first, &format!("MSET {a} 1 {b} 2"));
        let tags: Vec<_> = taken(&seen).iter().map(|(_, origin)| origin.transaction).collect();
        if shards > 1 {
            let tag = tags[0].expect("it is a transaction");
            assert_eq!((tags.len(), usize::from(tag.parts)), (2, 2));
            assert_eq!(tags[0], tags[1]);
        }

        // A blocked client is served for itself, whoever pushes; what expires is nobody's.
        server.ask_line(first, &format!("DEL {a} {b}"));
        taken(&seen);
        server.send_line(second, &format!("BLMOVE {a} {b} LEFT LEFT 0"));
        server.settle();
        server.ask_line(first, &format!("RPUSH {a} x"));
        let changes = taken(&seen);
        let of = |key: &str| -> Vec<_> {
            let own = changes.iter().filter(|(name, _)| name == key.as_bytes());
            own.map(|(_, origin)| origin.client).collect()
        };
        assert_eq!(of(&a), [Some(of_first[0]), Some(of_second[0])], "{changes:?}");
        assert_eq!(of(&b), [Some(of_second[0])], "{changes:?}");
        server.ask_line(first, &format!("PEXPIRE {b} 1"));
        taken(&seen);
        server.advance_ms(10_000);
        server.settle();
        let changes = taken(&seen);
        assert_eq!(changes, [(b.clone().into_bytes(), Origin::default())]);
    }
}

#[test]
fn transactions_over_shards_are_complete_in_the_records() {
    let (mut server, _) = server(4);
    let client = server.connect(0);
    let [a, b, c] = [(0, "a"), (1, "b"), (3, "c")].map(|(shard, name)| key_on(shard, 4, name));
    let mut complete = 0;
    let ways = [
        format!("MSET {a} 1 {b} 2 {c} 3"),
        format!("RENAME {a} {b}"),
        format!("EXEC SET {a} 1|SET {c} 2|INCR {a}"),
        format!("EXEC SET {a} 1|RENAME {a} {c}|APPEND {c} x|LMOVE {a} {b} LEFT LEFT"),
        "FLUSHALL".to_owned(),
        "SWAPDB 0 1".to_owned(),
    ];
    for way in &ways {
        match way.strip_prefix("EXEC ") {
            Some(commands) => {
                server.ask_line(client, "MULTI");
                commands.split('|').for_each(|line| drop(server.ask_line(client, line)));
                server.ask_line(client, "EXEC");
            }
            None => drop(server.ask_line(client, way)),
        }
        server.settle();
        assert!(server.complete_groups() > complete, "{way} is a transaction of several parts");
        complete = server.complete_groups();
    }
    // Slots leave and come in one.
    server.ask_line(client, &format!("SET {a} 1"));
    let slot = SlotId::of_key(a.as_bytes());
    server.core(2).move_slots(vec![slot], basalt_keyspace::ShardId(2));
    server.settle();
    assert_eq!(server.complete_groups(), complete + 1);
    // One that writes on one shard only has no other parts.
    server.ask_line(client, &format!("RPUSH {b} 1"));
    server.ask_line(client, &format!("COPY {b} {c}"));
    server.ask_line(client, &format!("SORT {b} STORE {c}"));
    server.ask_line(client, &format!("MGET {a} {b}"));
    server.ask_line(client, "DBSIZE");
    assert_eq!(server.complete_groups(), complete + 1);
}
