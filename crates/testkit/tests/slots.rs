//! Moving slots in simulation: clients see the same as if nothing moved.

use std::collections::BTreeSet;

use basalt_commands::config::{Allowed, Config};
use basalt_keyspace::{DatabaseId, SlotId};
use basalt_resp::encode_request;
use basalt_testkit::random::Random;
use basalt_testkit::simulation::{ClientId, Simulation};

struct Server(Simulation);

fn slot(key: &str) -> u16 {
    SlotId::of_key(key.as_bytes()).0
}

impl Server {
    fn new(shards: usize, seed: u64) -> Self {
        let config = Config { enable_debug_command: Allowed::Yes, ..Config::default() };
        Self(Simulation::new(shards, config, seed))
    }

    fn send(&mut self, client: ClientId, line: &str) {
        self.0.send_line(client, line);
    }

    fn received(&mut self, client: ClientId) -> Vec<String> {
        self.0.received_lines(client)
    }

    fn ask(&mut self, client: ClientId, line: &str) -> String {
        self.0.ask_line(client, line)
    }

    /// Moves the slot of a key.
    fn carry(&mut self, client: ClientId, key: &str, to: usize) {
        let slot = slot(key);
        assert_eq!(self.ask(client, &format!("DEBUG SLOT-MOVE {slot} {slot} {to}")), "OK");
    }

    fn info(&mut self, client: ClientId, field: &str) -> u64 {
        let info = self.ask(client, "INFO stats");
        let line = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.and_then(|value| value.trim().parse().ok()).expect("INFO tells it")
    }

    fn verify(&mut self) {
        for shard in 0..self.0.shard_count() {
            self.0.core(shard).keyspace().verify();
            assert!(self.0.core(shard).is_at_rest());
        }
    }
}

#[test]
fn slots_move_on_command_with_all_that_is_in_them() {
    let mut server = Server::new(4, 1);
    let client = server.0.connect(2);
    server.ask(client, "DEBUG POPULATE 5000 k 20");
    server.ask(client, "SELECT 3");
    server.ask(client, "DEBUG POPULATE 100");
    server.ask(client, "RPUSH list a b c");
    let before = server.ask(client, "DEBUG DIGEST");
    assert_eq!(server.ask(client, "DEBUG SLOT-MOVE 0 16383 1"), "OK");
    assert_eq!(server.ask(client, "DEBUG SLOTS"), "0 16383 1");
    assert_eq!(server.0.core(1).keyspace().len(DatabaseId(0)), 5000);
    assert_eq!(server.ask(client, "DEBUG DIGEST"), before);
    assert_eq!(server.ask(client, "DEBUG SLOT-MOVE 100 299 3"), "OK");
    assert_eq!(server.ask(client, "DEBUG SLOTS"), "0 99 1 100 299 3 300 16383 1");
    assert_eq!(server.ask(client, "DBSIZE"), "101");
    assert_eq!(server.ask(client, "DEBUG DIGEST"), before);
    assert_eq!(server.info(client, "slots_moved"), 16_384 - 4096 + 200);
    for (line, refusal) in [
        ("DEBUG SLOT-MOVE 0 0 4", "ERR Invalid or out of range shard"),
        ("DEBUG SLOT-MOVE 1 0 0", "ERR start slot number 1 is greater than end slot number 0"),
    ] {
        assert_eq!(server.ask(client, line), refusal);
    }
    server.ask(client, "MULTI");
    server.ask(client, "DEBUG SLOT-MOVE 0 1 0");
    let refusal = "ERR DEBUG SLOT-MOVE is not allowed in transactions";
    assert_eq!(server.ask(client, "EXEC"), refusal);
    server.verify();
}

#[test]
fn one_moves_at_a_time() {
    let mut refused = 0;
    for seed in 0..20 {
        let mut server = Server::new(3, seed);
        let clients: Vec<ClientId> = (0..3).map(|core| server.0.connect(core)).collect();
        for (to, client) in clients.iter().enumerate() {
            server.send(*client, &format!("DEBUG SLOT-MOVE 0 16383 {to}"));
        }
        server.0.settle();
        for client in &clients {
            let reply = server.received(*client).concat();
            let is_refused = reply == "ERR slots are being moved already";
            assert!(reply == "OK" || is_refused, "{reply}");
            refused += usize::from(is_refused);
        }
        server.verify();
    }
    assert!(refused > 10, "only {refused}");
}

#[test]
fn watches_follow_their_keys() {
    for to in 0..3 {
        for (changes, leaves) in [(false, false), (true, false), (true, true)] {
            let mut server = Server::new(3, 2);
            let (client, other) = (server.0.connect(0), server.0.connect(1));
            server.ask(client, "WATCH a b");
            server.carry(other, "a", to);
            if leaves {
                server.ask(client, "UNWATCH");
                server.ask(client, "WATCH b");
            }
            if changes {
                server.ask(other, "SET a 1");
            }
            server.carry(other, "a", (to + 1) % 3);
            server.carry(other, "b", to);
            server.ask(client, "MULTI");
            server.ask(client, "INCR c");
            let done = server.ask(client, "EXEC");
            assert_eq!(done, if changes && !leaves { "(nil)" } else { "1" });
            server.ask(client, "WATCH a");
            server.carry(other, "a", to);
            server.0.disconnect(client);
            server.0.settle();
            server.ask(other, "SET a 2");
            server.verify();
        }
    }
}

#[test]
fn those_who_wait_keep_their_places() {
    for seed in 0..30 {
        let mut random = Random::from_seed(seed);
        let mut server = Server::new(4, seed);
        let feeder = server.0.connect(0);
        let mut waiting: Vec<ClientId> = Vec::new();
        let lines = ["BLPOP q 0", "BLMOVE q to LEFT RIGHT 0", "BLPOP other q more 0"];
        for _ in 0..6 {
            let client = server.0.connect(random.below(4));
            let line = *random.pick(&lines);
            server.send(client, line);
            server.0.settle();
            waiting.push(client);
            for key in ["q", "to", "other", "more"] {
                if random.one_in(2) {
                    server.carry(feeder, key, random.below(4));
                }
            }
        }
        let gone = waiting.remove(random.below(6));
        server.0.disconnect(gone);
        server.0.settle();
        for (number, client) in waiting.iter().enumerate() {
            server.ask(feeder, &format!("RPUSH q {number}"));
            let told = server.received(*client).concat();
            assert!(told.ends_with(&number.to_string()), "seed {seed}: {number} got {told:?}");
            server.carry(feeder, "q", random.below(4));
        }
        assert_eq!(server.ask(feeder, "LLEN q"), "0");
        assert!(server.ask(feeder, "INFO clients").contains("blocked_clients:0\r\n"));
        server.verify();
    }
}

/// A key that is only written has no waiters, and may move as well.
#[test]
fn an_element_follows_the_key_that_it_is_moved_to() {
    for wait in ["BLMOVE src dst LEFT LEFT 0", "BRPOPLPUSH src dst 0"] {
        let mut server = Server::new(2, 9);
        let (client, feeder) = (server.0.connect(0), server.0.connect(0));
        server.carry(feeder, "src", 0);
        server.carry(feeder, "dst", 0);
        server.send(client, wait);
        server.0.settle();
        server.carry(feeder, "dst", 1);
        assert_eq!(server.ask(feeder, "RPUSH src x"), "1");
        assert_eq!(server.received(client), ["x"]);
        assert_eq!(server.ask(feeder, "LRANGE dst 0 -1"), "x", "{wait}");
        assert_eq!(server.ask(feeder, "RPUSH dst y"), "2");
        server.carry(feeder, "dst", 0);
        assert_eq!(server.ask(feeder, "LRANGE dst 0 -1"), "x y");
        server.verify();
    }
}

#[test]
fn time_ends_waiting_wherever_its_keys_went() {
    let mut server = Server::new(3, 4);
    let (client, other) = (server.0.connect(0), server.0.connect(1));
    for line in ["BLPOP a b 1", "BLPOP a 1", "BLMOVE a b LEFT LEFT 1"] {
        server.send(client, line);
        server.0.settle();
        for (key, to) in [("a", 0), ("b", 0), ("a", 2), ("b", 1), ("a", 1)] {
            server.carry(other, key, to);
        }
        server.0.advance_ms(1000);
        server.0.settle();
        assert_eq!(server.received(client), ["(nil)"], "{line}");
    }
    server.verify();
}

#[test]
fn keys_expire_in_time_wherever_they_went() {
    let mut server = Server::new(4, 5);
    let client = server.0.connect(0);
    for number in 0..200 {
        let ttl_ms = 1000 * (1 + number % 4);
        server.ask(client, &format!("SET {number} x PX {ttl_ms}"));
        server.ask(client, &format!("SET stays:{number} x"));
    }
    let mut random = Random::from_seed(5);
    let keys = |server: &mut Server| -> usize {
        (0..4).map(|shard| server.0.core(shard).keyspace().len(DatabaseId(0))).sum()
    };
    let begun_ms = server.0.now_ms();
    let mut left = keys(&mut server);
    for _ in 0..45 {
        let first = random.below(16_000);
        let to = random.below(4);
        server.ask(client, &format!("DEBUG SLOT-MOVE {first} {} {to}", first + 383));
        server.0.advance_ms(100);
        server.0.settle();
        let due = (server.0.now_ms() - begun_ms) / 1000 * 50;
        left = keys(&mut server);
        let expected = 400 - (due as usize).min(200);
        // Setting them took some milliseconds.
        assert!(left == expected || left < expected + 50, "{left} of {expected}");
    }
    assert_eq!(left, 200);
    assert!(server.info(client, "expiry_lag_max_ms") <= 101);
    server.verify();
}

#[test]
fn a_scan_meets_what_is_there_throughout() {
    for seed in 0..10 {
        let mut server = Server::new(3, seed);
        let (client, other) = (server.0.connect(0), server.0.connect(1));
        server.ask(client, "DEBUG POPULATE 300");
        server.0.move_slots(&[]);
        let mut random = Random::from_seed(seed);
        let (mut cursor, mut met) = ("0".to_owned(), BTreeSet::new());
        loop {
            server.send(client, &format!("SCAN {cursor} COUNT 20"));
            let comes_and_goes = random.below(1000);
            server.send(other, &format!("SET other:{comes_and_goes} x"));
            server.send(other, &format!("DEL other:{}", random.below(1000)));
            for _ in 0..random.below(40) {
                server.0.step();
            }
            server.0.settle();
            let reply = server.received(client).concat();
            let mut words = reply.split_whitespace().map(str::to_owned);
            cursor = words.next().expect("the cursor comes first");
            met.extend(words.filter(|key| key.starts_with("key:")));
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(met.len(), 300, "seed {seed}");
        assert!(server.info(client, "slots_moved") > 0);
    }
}

/// A session's requests for one key run in order, whichever shard has the key.
#[test]
fn pipelines_keep_their_order() {
    let mut moved = 0;
    for seed in 0..100 {
        let mut server = Server::new(1 + (seed as usize) % 5, seed);
        let mut random = Random::from_seed(seed);
        server.0.fragments = random.one_in(2);
        server.0.move_slots(&["a0", "a1", "a2"]);
        let clients: Vec<ClientId> = (0..3).map(|core| server.0.connect(core)).collect();
        let mut counts = [0; 3];
        let mut received: Vec<Vec<String>> = vec![Vec::new(); 3];
        for _ in 0..30 {
            for (index, client) in clients.iter().enumerate() {
                for _ in 0..random.below(6) {
                    server.send(*client, &format!("APPEND a{index} x"));
                    counts[index] += 1;
                }
            }
            for _ in 0..random.below(10) {
                server.0.step();
            }
        }
        server.0.stop_slots();
        server.0.settle();
        for (index, client) in clients.iter().enumerate() {
            received[index].extend(server.received(*client));
            let expected: Vec<String> = (1..=counts[index]).map(|len| len.to_string()).collect();
            assert_eq!(received[index], expected, "seed {seed}");
        }
        moved += server.info(clients[0], "slots_moved");
        server.verify();
    }
    assert!(moved > 100, "only {moved} slots moved");
}

/// If something takes too long, the move is abandoned and everything continues.
#[test]
fn a_move_that_takes_too_long_is_given_up() {
    let (mut done, mut given_up) = (0, 0);
    for seed in 0..40 {
        let mut server = Server::new(3, seed);
        let clients: Vec<ClientId> = (0..3).map(|core| server.0.connect(core)).collect();
        server.ask(clients[0], "MSET a 1 b 2 c 3");
        for _ in 0..20 {
            server.send(clients[1], "MGET a b c");
        }
        server.send(clients[2], "DEBUG SLOT-MOVE 0 100 1");
        for _ in 0..60 {
            server.0.step();
            server.0.advance_ms(10);
        }
        server.0.settle();
        match server.received(clients[2]).concat().as_str() {
            "OK" => done += 1,
            "ERR the server is too busy to move slots now" => given_up += 1,
            other => panic!("{other}"),
        }
        assert_eq!(server.received(clients[1]).len(), 20);
        server.verify();
    }
    assert!(done > 0 && given_up > 0, "{done} done, {given_up} given up");
}

#[test]
fn a_busy_shard_gives_slots_to_an_idle_one() {
    for balances in [false, true] {
        let config = Config::default();
        let config = config.set(&[(b"balance-slots", if balances { b"yes" } else { b"no" })], true);
        let mut server = Server(Simulation::new(2, config.expect("it can be set"), 7));
        let client = server.0.connect(0);
        // All of the first shard's.
        let keys: Vec<String> =
            (0..1000).map(|number| number.to_string()).filter(|key| slot(key) < 8192).collect();
        let mut pipeline = Vec::new();
        for key in keys.iter().take(40) {
            // Not quick, so that each call's time is taken.
            encode_request(&["APPEND", key, "x"], &mut pipeline);
        }
        for _ in 0..200 {
            for _ in 0..10 {
                server.0.send(client, &pipeline);
                server.0.settle();
            }
            server.0.advance_ms(20);
            server.0.settle();
        }
        let moved = server.info(client, "slots_moved");
        if balances {
            assert!((1..=64).contains(&moved), "{moved} slots moved");
            let there = server.0.core(1).keyspace().len(DatabaseId(0));
            assert!((10..=30).contains(&there), "{there} of 40 keys are on the second shard");
        } else {
            assert_eq!(moved, 0);
        }
        server.verify();
    }
}
