//! Waiting in simulation: elements go to those who wait, each to one, in the order in which they came.

use basalt_commands::config::Config;
use basalt_resp::{Value, decode, encode_request};
use basalt_testkit::chance::Chance;
use basalt_testkit::simulation::{ClientId, Simulation};

struct Server(Simulation);

impl Server {
    fn new(shards: usize, seed: u64) -> Self {
        let mut simulation = Simulation::new(shards, Config::default(), seed);
        // Whatever is tested here holds also while slots move.
        simulation.move_slots(&["q", "r", "s", "a", "b", "c", "k", "l", "m", "n"]);
        Self(simulation)
    }

    fn send(&mut self, client: ClientId, line: &str) {
        let mut bytes = Vec::new();
        encode_request(&line.split_whitespace().collect::<Vec<_>>(), &mut bytes);
        self.0.send(client, &bytes);
        self.0.settle();
    }

    /// What has come since this was last asked, each reply's texts side by side.
    fn received(&mut self, client: ClientId) -> Vec<String> {
        let bytes = self.0.take_received(client);
        let (mut rest, mut lines) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let (value, len) = decode(rest).expect("it is well-formed").expect("it is whole");
            lines.push(text(&value));
            rest = &rest[len..];
        }
        lines
    }

    fn ask(&mut self, client: ClientId, line: &str) -> String {
        self.send(client, line);
        self.received(client).join(" | ")
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null | Value::NullArray => "(nil)".into(),
        Value::Integer(value) => value.to_string(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(" "),
        value => String::from_utf8_lossy(value.as_bytes().expect("a text")).into_owned(),
    }
}

const SHARDS: [usize; 3] = [1, 2, 5];

#[test]
fn who_came_first_is_served_first() {
    for shards in SHARDS {
        let mut server = Server::new(shards, 1);
        let waiting: Vec<ClientId> = (0..4).map(|core| server.0.connect(core)).collect();
        let feeder = server.0.connect(1);
        for client in &waiting {
            server.send(*client, "BLPOP q 0");
        }
        assert_eq!(server.ask(feeder, "RPUSH q a b"), "2");
        assert_eq!(server.ask(feeder, "LLEN q"), "0", "they are served at once");
        assert_eq!(server.received(waiting[0]), ["q a"]);
        assert_eq!(server.received(waiting[1]), ["q b"]);
        assert!(server.received(waiting[2]).is_empty());
        server.ask(feeder, "SET q text");
        server.ask(feeder, "DEL q");
        assert!(server.received(waiting[2]).is_empty(), "no list, nothing to take");
        assert!(server.ask(feeder, "INFO clients").contains("blocked_clients:2\r\n"));
        assert_eq!(server.ask(feeder, "RPUSH q c d e"), "3");
        assert_eq!(server.received(waiting[2]), ["q c"]);
        assert_eq!(server.received(waiting[3]), ["q d"]);
        assert_eq!(server.ask(feeder, "LRANGE q 0 -1"), "e");
        assert!(server.ask(feeder, "INFO clients").contains("blocked_clients:0\r\n"));
    }
}

#[test]
fn time_ends_waiting() {
    for shards in SHARDS {
        let mut server = Server::new(shards, 2);
        let (waiting, feeder) = (server.0.connect(0), server.0.connect(1));
        for line in ["BLPOP a b c 0.5", "BRPOPLPUSH a b 0.5", "BLMPOP 0.5 2 a b LEFT"] {
            server.send(waiting, line);
            server.0.advance_ms(499);
            server.0.settle();
            assert!(server.received(waiting).is_empty(), "{line}");
            server.0.advance_ms(1);
            server.0.settle();
            assert_eq!(server.received(waiting), ["(nil)"], "{line}");
            assert_eq!(server.ask(feeder, "RPUSH a x"), "1");
            assert_eq!(server.ask(feeder, "LPOP a"), "x", "nobody waits any more");
        }
    }
}

#[test]
fn clients_are_unblocked_and_leave() {
    for shards in SHARDS {
        let mut server = Server::new(shards, 3);
        let clients: Vec<ClientId> = (0..3).map(|core| server.0.connect(core)).collect();
        let other = server.0.connect(1);
        let id = server.ask(clients[0], "CLIENT ID");
        for error in ["", " TIMEOUT", " ERROR"] {
            for keys in ["k", "k l m n"] {
                server.send(clients[0], &format!("BLPOP {keys} 0"));
                assert_eq!(server.ask(other, &format!("CLIENT UNBLOCK {id}{error}")), "1");
                let told = server.received(clients[0]).concat();
                assert_eq!(told == "(nil)", error != " ERROR", "{told}");
                assert_eq!(server.ask(other, &format!("CLIENT UNBLOCK {id}{error}")), "0");
            }
        }
        for client in &clients {
            server.send(*client, "BLPOP k l m 0");
        }
        server.0.disconnect(clients[0]);
        server.0.end_input(clients[1]);
        server.0.settle();
        assert!(!server.0.is_connected(clients[1]), "who sends no more is gone");
        server.ask(other, "RPUSH k x");
        assert_eq!(server.received(clients[2]), ["k x"]);
        assert!(server.ask(other, "INFO clients").contains("blocked_clients:0\r\n"));
    }
}

#[test]
fn transactions_wait_for_nothing_and_feed_at_their_end() {
    for shards in SHARDS {
        let mut server = Server::new(shards, 5);
        let clients: Vec<ClientId> = (0..2).map(|core| server.0.connect(core)).collect();
        for line in ["MULTI", "BLPOP q 0", "BLMOVE q r LEFT LEFT 0", "BLMPOP 0 2 q r LEFT"] {
            server.send(clients[0], line);
        }
        drop(server.received(clients[0]));
        assert_eq!(server.ask(clients[0], "EXEC"), "(nil) (nil) (nil)");
        server.send(clients[1], "BLPOP q 0");
        for line in ["MULTI", "RPUSH q a", "RPUSH r x", "LPUSH q b", "LRANGE q 0 -1"] {
            server.send(clients[0], line);
        }
        drop(server.received(clients[0]));
        assert!(server.received(clients[1]).is_empty());
        assert_eq!(server.ask(clients[0], "EXEC"), "1 1 2 b a");
        assert_eq!(server.received(clients[1]), ["q b"], "what was there at the end of it");
        assert_eq!(server.ask(clients[0], "LRANGE q 0 -1"), "a");
    }
}

#[test]
fn moved_elements_feed_others() {
    for shards in SHARDS {
        let mut server = Server::new(shards, 4);
        let clients: Vec<ClientId> = (0..3).map(|core| server.0.connect(core)).collect();
        let feeder = server.0.connect(2);
        server.send(clients[0], "BLMOVE a b LEFT RIGHT 0");
        server.send(clients[1], "BLMOVE b c LEFT RIGHT 0");
        server.send(clients[2], "BLPOP c 0");
        server.send(feeder, "RPUSH z x");
        server.send(feeder, "RENAME z a");
        assert_eq!(server.received(clients[0]), ["x"]);
        assert_eq!(server.received(clients[1]), ["x"]);
        assert_eq!(server.received(clients[2]), ["c x"]);
        let left = ["a", "b", "c"].map(|key| server.ask(feeder, &format!("EXISTS {key}")));
        drop(server.received(feeder));
        assert!(left.iter().all(|reply| reply.ends_with('0')), "{left:?}");
    }
}

/// Whatever goes in comes out once, and from one queue in its order, whoever comes and goes.
#[test]
fn nothing_is_lost_or_given_twice() {
    let seeds = 200;
    for seed in 0..seeds {
        let mut chance = Chance::from_seed(seed);
        let shards = 1 + chance.below(5);
        let mut server = Server::new(shards, seed);
        let takers: Vec<ClientId> = (0..5).map(|_| server.0.connect(chance.below(5))).collect();
        let feeders: Vec<ClientId> = (0..2).map(|_| server.0.connect(chance.below(5))).collect();
        let (mut fed, mut taken) = (0, Vec::new());
        let mut waits = vec![false; takers.len()];
        for _ in 0..60 {
            let at = chance.below(takers.len());
            let mut bytes = Vec::new();
            if chance.one_in(2) && !waits[at] {
                let lines = ["BLPOP q 0", "BLPOP r q s 0", "BLMPOP 0 2 s q LEFT COUNT 1"];
                let line = lines[chance.below(3)];
                encode_request(&line.split_whitespace().collect::<Vec<_>>(), &mut bytes);
                server.0.send(takers[at], &bytes);
                waits[at] = true;
            } else {
                let key = ["q", "r", "s"][chance.below(3)];
                let number = fed.to_string();
                fed += 1;
                encode_request(&["RPUSH", key, &number], &mut bytes);
                server.0.send(feeders[chance.below(2)], &bytes);
            }
            for _ in 0..chance.below(6) {
                server.0.step();
            }
            for (at, taker) in takers.iter().enumerate() {
                for line in server.received(*taker) {
                    waits[at] = false;
                    taken.push(line);
                }
            }
        }
        server.0.settle();
        for taker in &takers {
            taken.extend(server.received(*taker));
        }
        let mut numbers: Vec<u32> = taken
            .iter()
            .map(|line| line.split(' ').next_back().and_then(|number| number.parse().ok()))
            .map(|number| number.expect("a reply ends with the element"))
            .collect();
        feeders.iter().for_each(|feeder| drop(server.received(*feeder)));
        for key in ["q", "r", "s"] {
            let rest = server.ask(feeders[0], &format!("LRANGE {key} 0 -1"));
            numbers
                .extend(rest.split_whitespace().map(|number| number.parse::<u32>().expect("ours")));
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..fed).collect::<Vec<_>>(), "seed {seed}");
    }
}
