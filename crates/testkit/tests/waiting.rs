//! Blocking commands in simulation: each element goes to one waiter, in the order of arrival.

use basalt_commands::config::Config;
use basalt_testkit::random::Random;
use basalt_testkit::simulation::{ClientId, Simulation};

struct Server(Simulation);

impl Server {
    fn new(shards: usize, seed: u64) -> Self {
        let mut simulation = Simulation::new(shards, Config::default(), seed);
        // All tests here also run while slots move.
        simulation.move_slots(&["q", "r", "s", "a", "b", "c", "k", "l", "m", "n"]);
        Self(simulation)
    }

    fn send(&mut self, client: ClientId, line: &str) {
        self.0.send_line(client, line);
        self.0.settle();
    }

    fn received(&mut self, client: ClientId) -> Vec<String> {
        self.0.received_lines(client)
    }

    fn ask(&mut self, client: ClientId, line: &str) -> String {
        self.0.ask_line(client, line)
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

/// A ready element is reserved for the first waiter, even if the waiter's keys are on several
/// shards: no other client takes it first, neither in the same pipeline nor from another core.
#[test]
fn nobody_takes_what_somebody_waits_for() {
    for seed in 0..200 {
        let shards = 2 + seed as usize % 4;
        let mut server = Server::new(shards, seed);
        let waiting: Vec<ClientId> = (0..2).map(|core| server.0.connect(core)).collect();
        let others: Vec<ClientId> = (0..4).map(|core| server.0.connect(core)).collect();
        for client in &waiting {
            server.send(*client, "BLPOP a b c k l 0");
        }
        // The thief asks at the same time or a little later; after that no client may precede the
        // waiters.
        let key = ["a", "b", "c", "k", "l"][seed as usize % 5];
        let line = format!("RPUSH {key} x y\r\nLPOP {key}\r\nLLEN {key}\r\n");
        server.0.send(others[seed as usize % 4], line.as_bytes());
        server.0.settle();
        let told = server.received(others[seed as usize % 4]);
        assert_eq!(told, ["2", "(nil)", "0"], "seed {seed}");
        assert_eq!(server.received(waiting[0]), [format!("{key} x")], "seed {seed}");
        assert_eq!(server.received(waiting[1]), [format!("{key} y")], "seed {seed}");

        server.send(waiting[0], "BLMOVE a b LEFT RIGHT 0");
        server.send(waiting[1], "BZMPOP 0 3 k l m MIN");
        server.0.send_line(others[0], "RPUSH a z");
        server.0.send_line(others[1], "ZADD m 1 one");
        let mut answers = 0;
        while answers < 2 {
            server.0.step();
            answers += server.received(others[0]).len() + server.received(others[1]).len();
        }
        server.0.send_line(others[2], "LPOP a");
        server.0.send_line(others[3], "ZPOPMIN m");
        server.0.settle();
        assert_eq!(server.received(others[2]), ["(nil)"], "seed {seed}");
        assert_eq!(server.received(waiting[0]), ["z"], "seed {seed}");
        assert_eq!(server.received(others[3]), [""], "seed {seed}");
        assert_eq!(server.ask(others[0], "LRANGE b 0 -1"), "z");
        assert!(server.ask(others[0], "INFO clients").contains("blocked_clients:0\r\n"));
        for shard in 0..shards {
            assert!(server.0.core(shard).is_at_rest(), "seed {seed}: something is kept for ever");
        }
    }
}

/// A key that was ready and holds another type at the end of the same EXEC wakes no waiter, as in
/// Redis: a waiter for a list keeps waiting. If a key is ready, the command runs as if it had just
/// been sent.
#[test]
fn what_is_of_another_type_at_the_end_wakes_nobody() {
    for seed in 0..60 {
        let shards = 1 + seed as usize % 5;
        let mut server = Server::new(shards, seed);
        let waiting: Vec<ClientId> = (0..3).map(|core| server.0.connect(core)).collect();
        let feeder = server.0.connect(seed as usize % 3);
        server.send(waiting[0], "BRPOP q 0");
        server.send(waiting[1], "BLMPOP 0 4 a b q c LEFT");
        server.send(waiting[2], "BLMOVE q m LEFT RIGHT 0");
        for line in ["MULTI", "RPUSH q 1 2", "SUNION k l", "SET q text"] {
            server.ask(feeder, line);
        }
        server.ask(feeder, "EXEC");
        for client in &waiting {
            let told = server.received(*client);
            assert!(told.is_empty(), "seed {seed}: {told:?}");
        }
        assert!(server.ask(feeder, "INFO clients").contains("blocked_clients:3\r\n"));
        server.ask(feeder, "RPUSH b x");
        let told = server.received(waiting[1]);
        assert_eq!(told, ["b x"], "seed {seed}");
        server.send(waiting[1], "BLPOP a b q c 0");
        assert!(server.received(waiting[1])[0].starts_with("WRONGTYPE"), "it looks when it comes");
        server.ask(feeder, "DEL q");
        server.send(waiting[1], "BLPOP a b q c 0");
        server.ask(feeder, "SET a text");
        server.ask(feeder, "RPUSH c y");
        assert!(server.received(waiting[1])[0].starts_with("WRONGTYPE"), "as just sent");
        assert_eq!(server.ask(feeder, "LRANGE c 0 -1"), "y", "nothing is lost");
        server.ask(feeder, "RPUSH q 3 4");
        assert_eq!(server.received(waiting[0]), ["q 4"], "seed {seed}");
        assert_eq!(server.received(waiting[2]), ["3"], "seed {seed}");
        for shard in 0..shards {
            assert!(server.0.core(shard).is_at_rest(), "seed {seed}: something is kept for ever");
        }
    }
}

#[test]
fn a_refusal_quotes_byte_by_byte() {
    let mut server = Server::new(2, 1);
    let client = server.0.connect(0);
    server.0.send(client, b"XREADGROUP GROUP g ann STREAMS \xe8k >\r\n");
    server.0.settle();
    let refusal =
        &b"-NOGROUP No such key '\xe8k' or consumer group 'g' in XREADGROUP with GROUP option\r\n"
            [..];
    assert_eq!(server.0.take_received(client), refusal);
}

#[test]
fn time_ends_waiting() {
    for shards in SHARDS {
        let mut server = Server::new(shards, 2);
        let (waiting, feeder) = (server.0.connect(0), server.0.connect(1));
        for line in [
            "BLPOP a b c 0.5",
            "BRPOPLPUSH a b 0.5",
            "BLMPOP 0.5 2 a b LEFT",
            "BZPOPMAX a b c 0.5",
            "BZMPOP 0.5 2 a b MIN",
            "XREAD BLOCK 500 STREAMS a $",
            "XREAD BLOCK 500 STREAMS a b c $ 0 +",
        ] {
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
        let waiting = [
            "BLPOP q 0",
            "BLMOVE q r LEFT LEFT 0",
            "BLMOVEM q r LEFT LEFT 0 EXACTLY 2 OBO",
            "BLMPOP 0 2 q r LEFT",
            "BZPOPMIN q r 0",
            "BZMPOP 0 2 q r MAX",
            "XREAD BLOCK 0 STREAMS q r $ $",
        ];
        server.send(clients[0], "MULTI");
        waiting.iter().for_each(|line| server.send(clients[0], line));
        drop(server.received(clients[0]));
        assert_eq!(server.ask(clients[0], "EXEC"), ["(nil)"; 7].join(" "));
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

#[test]
fn who_needs_more_than_there_is_is_passed_over_and_keeps_its_place() {
    for shards in SHARDS {
        let mut server = Server::new(shards, 12);
        let clients: Vec<ClientId> = (0..4).map(|core| server.0.connect(core)).collect();
        let feeder = server.0.connect(1);
        server.send(clients[0], "BLMOVEM a b LEFT RIGHT 0 EXACTLY 3 BULK");
        server.send(clients[1], "BLMOVEM a c LEFT LEFT 0 EXACTLY 2 OBO");
        server.send(clients[2], "BLMOVEM a b LEFT RIGHT 0 EXACTLY 3 BULK");
        server.send(clients[3], "BLPOP a 0");
        server.send(feeder, "RPUSH a 1");
        assert_eq!(server.received(clients[3]), ["a 1"], "one is enough for it");
        server.send(feeder, "RPUSH a 2 3");
        assert_eq!(server.received(clients[1]), ["3 2"]);
        server.send(feeder, "RPUSH a 4");
        server.send(feeder, "LPUSH a 5");
        assert!(server.received(clients[0]).is_empty());
        assert!(server.received(clients[2]).is_empty());
        server.send(feeder, "RPUSH a 6 7");
        assert_eq!(server.received(clients[0]), ["5 4 6"], "it came first");
        assert!(server.received(clients[2]).is_empty());
        server.send(clients[0], "BLMOVEM b a LEFT RIGHT 0 COUNT 2 BULK");
        assert_eq!(server.received(clients[0]), ["5 4"]);
        assert_eq!(server.received(clients[2]), ["7 5 4"], "what moves feeds others");
        drop(server.received(feeder));
        assert_eq!(server.ask(feeder, "LRANGE b 0 -1"), "6 7 5 4");
        assert_eq!(server.ask(feeder, "LRANGE c 0 -1"), "3 2");
        assert_eq!(server.ask(feeder, "EXISTS a"), "0");

        server.send(clients[0], "BLMOVEM a a LEFT RIGHT 1 EXACTLY 2 BULK");
        server.send(clients[1], "BLMOVEM a b LEFT LEFT 0 EXACTLY 9 OBO");
        server.send(feeder, "RPUSH a x");
        server.0.advance_ms(1100);
        server.0.settle();
        assert_eq!(server.received(clients[0]), ["(nil)"], "its time is over");
        server.0.disconnect(clients[1]);
        server.0.settle();
        drop(server.received(feeder));
        assert!(server.ask(feeder, "INFO clients").contains("blocked_clients:0\r\n"));
        assert_eq!(server.ask(feeder, "LRANGE a 0 -1"), "x");
    }
}

#[test]
fn sorted_sets_are_waited_for() {
    for shards in SHARDS {
        let mut server = Server::new(shards, 6);
        let clients: Vec<ClientId> = (0..3).map(|core| server.0.connect(core)).collect();
        let feeder = server.0.connect(1);
        server.send(clients[0], "BZPOPMIN z y 0");
        server.send(clients[1], "BZMPOP 0 1 z MAX COUNT 2");
        server.send(clients[2], "BZPOPMAX z 0");
        server.ask(feeder, "RPUSH z text");
        server.ask(feeder, "DEL z");
        assert_eq!(server.ask(feeder, "ZADD z 1 a 2 b 3 c 4 d"), "4");
        assert_eq!(server.received(clients[0]), ["z a 1"]);
        assert_eq!(server.received(clients[1]), ["z d 4 c 3"]);
        assert_eq!(server.received(clients[2]), ["z b 2"]);
        server.send(clients[0], "BZPOPMIN y z 0");
        server.ask(feeder, "ZADD w 5 e");
        server.ask(feeder, "ZUNIONSTORE z 1 w");
        assert_eq!(server.received(clients[0]), ["z e 5"]);
        server.send(clients[0], "BZPOPMIN y z 0");
        server.ask(feeder, "SET y text");
        server.ask(feeder, "ZADD z 5 e");
        let told = server.received(clients[0]).concat();
        assert!(told.starts_with("WRONGTYPE"), "{told}: all keys are looked at");
    }
}

#[test]
fn entries_of_streams_go_to_all_who_read() {
    for shards in SHARDS {
        let mut server = Server::new(shards, 7);
        let clients: Vec<ClientId> = (0..4).map(|core| server.0.connect(core)).collect();
        let feeder = server.0.connect(1);
        server.ask(feeder, "XADD s 5-0 n 1");
        server.send(clients[0], "XREAD BLOCK 0 STREAMS s $");
        server.send(clients[1], "XREAD BLOCK 0 STREAMS t u s $ $ $");
        server.send(clients[2], "XREAD BLOCK 0 STREAMS s 6-5");
        server.send(clients[3], "XREAD BLOCK 0 STREAMS t u + +");
        server.ask(feeder, "XSETID s 6-0");
        server.ask(feeder, "DEL s");
        server.ask(feeder, "XADD s 1-0 n 2");
        assert!(clients.iter().all(|client| server.received(*client).is_empty()));
        server.ask(feeder, "XADD s 6-1 n 3");
        assert_eq!(server.received(clients[0]), ["s 6-1 n 3"]);
        assert_eq!(server.received(clients[1]), ["s 6-1 n 3"]);
        assert!(server.received(clients[2]).is_empty());
        for line in ["MULTI", "XADD t 1-0 n 4", "XADD u 1-0 n 5", "XADD u 2-0 n 6", "EXEC"] {
            server.ask(feeder, line);
        }
        assert_eq!(server.received(clients[3]), ["t 1-0 n 4 u 2-0 n 6"], "+ is the last");
        let info = server.ask(feeder, "INFO clients");
        assert!(info.contains("total_blocking_keys:1\r\n"), "{info}");
        server.ask(feeder, "XADD s 7-0 n 7");
        assert_eq!(server.received(clients[2]), ["s 7-0 n 7"]);
    }
}

#[test]
fn entries_for_a_group_go_to_one_consumer_each() {
    for shards in SHARDS {
        let mut server = Server::new(shards, 8);
        let clients: Vec<ClientId> = (0..4).map(|core| server.0.connect(core)).collect();
        let feeder = server.0.connect(1);
        for line in
            ["XGROUP CREATE s g $ MKSTREAM", "XGROUP CREATE s h $", "XGROUP CREATE t g $ MKSTREAM"]
        {
            assert_eq!(server.ask(feeder, line), "OK");
        }
        server.send(clients[0], "XREADGROUP GROUP g a BLOCK 0 STREAMS s t > >");
        server.send(clients[1], "XREADGROUP GROUP g b BLOCK 0 STREAMS s >");
        server.send(clients[2], "XREADGROUP GROUP h c BLOCK 0 NOACK STREAMS s >");
        server.send(clients[3], "XREADGROUP GROUP g d BLOCK 0 STREAMS t s > 0");
        assert_eq!(server.received(clients[3]), ["s "], "what it has is told at once");
        let info = server.ask(feeder, "INFO clients");
        assert!(info.contains("total_blocking_keys_on_nokey:2\r\n"), "{info}");
        server.ask(feeder, "XADD s 1-0 n 1");
        assert_eq!(server.received(clients[0]), ["s 1-0 n 1"]);
        assert_eq!(server.received(clients[2]), ["s 1-0 n 1"]);
        assert!(server.received(clients[1]).is_empty());
        server.ask(feeder, "XGROUP SETID s g 0");
        assert!(server.received(clients[1]).is_empty(), "as in Redis, that wakes nobody");
        server.ask(feeder, "XADD s 2-0 n 2");
        assert_eq!(server.received(clients[1]), ["s 1-0 n 1 2-0 n 2"]);
        assert!(server.ask(feeder, "XPENDING s h").starts_with("0 "));
        assert!(server.ask(feeder, "XPENDING s g").starts_with("2 "));
    }
}

/// Whatever removes a group ends the waits for it.
#[test]
fn who_waits_for_a_group_learns_of_its_end() {
    let ends = [
        "DEL s",
        "RENAME s z",
        "MOVE s 1",
        "FLUSHALL",
        "SWAPDB 0 1",
        "XGROUP DESTROY s g",
        "PEXPIRE s 20",
        "SET s text",
    ];
    for shards in SHARDS {
        for end in ends {
            for keys in ["STREAMS s >", "STREAMS t s u > > >"] {
                let mut server = Server::new(shards, 9);
                let (waiting, other) = (server.0.connect(0), server.0.connect(1));
                for key in ["s", "t", "u"] {
                    server.ask(other, &format!("XGROUP CREATE {key} g $ MKSTREAM"));
                }
                server.send(waiting, &format!("XREADGROUP GROUP g a BLOCK 0 {keys}"));
                assert!(server.received(waiting).is_empty());
                server.ask(other, end);
                server.0.advance_ms(25);
                server.0.settle();
                let told = server.received(waiting).concat();
                let expected = match end {
                    "SET s text" => {
                        "WRONGTYPE Operation against a key holding the wrong kind of value"
                    }
                    _ => "in XREADGROUP with GROUP option",
                };
                assert!(told.ends_with(expected), "{end}, {keys}: {told}");
                assert!(server.ask(other, "INFO clients").contains("blocked_clients:0\r\n"));
            }
        }
    }
}

/// A kind of queue: how to push, to wait, and to read the rest.
struct Queue {
    setup: fn(&str) -> Vec<String>,
    feed: fn(&str, u32) -> String,
    waits: &'static [&'static str],
    /// The numbers of a reply to a waiter.
    taken: fn(&str) -> Vec<u32>,
    rest: fn(&str) -> String,
}

const QUEUES: [Queue; 3] = [
    Queue {
        setup: |_| Vec::new(),
        feed: |key, number| format!("RPUSH {key} {number}"),
        waits: &[
            "BLPOP q 0",
            "BLPOP r q s 0",
            "BLMPOP 0 2 s q LEFT COUNT 1",
            "BLMOVEM q m LEFT RIGHT 0 EXACTLY 3 BULK",
            "BLMOVEM r m RIGHT LEFT 0 COUNT 2 OBO",
        ],
        taken: |reply| reply.split(' ').filter_map(|word| word.parse().ok()).collect(),
        rest: |key| format!("LRANGE {key} 0 -1"),
    },
    Queue {
        setup: |_| Vec::new(),
        feed: |key, number| format!("ZADD {key} {number} {number}"),
        waits: &["BZPOPMIN q 0", "BZPOPMIN r q s 0", "BZMPOP 0 2 s q MIN"],
        taken: |reply| numbers(reply, 1, 2),
        rest: |key| format!("ZRANGE {key} 0 -1"),
    },
    Queue {
        setup: |key| vec![format!("XGROUP CREATE {key} g $ MKSTREAM")],
        feed: |key, number| format!("XADD {key} * n {number}"),
        waits: &[
            "XREADGROUP GROUP g a COUNT 1 BLOCK 0 STREAMS q >",
            "XREADGROUP GROUP g b COUNT 1 BLOCK 0 STREAMS r q s > > >",
            "XREADGROUP GROUP g c BLOCK 0 STREAMS s q > >",
        ],
        taken: |reply| {
            let words: Vec<&str> = reply.split(' ').collect();
            let behind = words.iter().zip(&words[1..]).filter(|(name, _)| **name == "n");
            behind.map(|(_, number)| number.parse().expect("ours")).collect()
        },
        rest: |key| format!("XREADGROUP GROUP g a STREAMS {key} >"),
    },
];

/// The numbers in a reply, from `at` on in steps.
fn numbers(reply: &str, at: usize, step: usize) -> Vec<u32> {
    let words = reply.split(' ').skip(at).step_by(step);
    words.map(|word| word.parse().expect("a number of ours")).collect()
}

/// Each pushed element is popped once, and from one queue in order, whichever clients connect and
/// disconnect.
#[test]
fn nothing_is_lost_or_given_twice() {
    for (kind, queue) in QUEUES.iter().enumerate() {
        for seed in 0..120 {
            play(queue, seed * QUEUES.len() as u64 + kind as u64);
        }
    }
}

fn play(queue: &Queue, seed: u64) {
    const KEYS: [&str; 3] = ["q", "r", "s"];
    let mut random = Random::from_seed(seed);
    let shards = 1 + random.below(5);
    let mut server = Server::new(shards, seed);
    let takers: Vec<ClientId> = (0..5).map(|_| server.0.connect(random.below(5))).collect();
    let feeders: Vec<ClientId> = (0..2).map(|_| server.0.connect(random.below(5))).collect();
    for line in KEYS.iter().flat_map(|key| (queue.setup)(key)) {
        server.ask(feeders[0], &line);
    }
    let (mut fed, mut taken) = (0, Vec::new());
    let mut waits = vec![false; takers.len()];
    for _ in 0..60 {
        let at = random.below(takers.len());
        if random.one_in(2) && !waits[at] {
            let line = queue.waits[random.below(queue.waits.len())];
            server.0.send_line(takers[at], line);
            waits[at] = true;
        } else {
            let line = (queue.feed)(KEYS[random.below(3)], fed);
            fed += 1;
            server.0.send_line(feeders[random.below(2)], &line);
        }
        for _ in 0..random.below(6) {
            server.0.step();
        }
        for (at, taker) in takers.iter().enumerate() {
            for line in server.received(*taker) {
                waits[at] = false;
                taken.extend((queue.taken)(&line));
            }
        }
    }
    server.0.settle();
    for taker in &takers {
        taken.extend(server.received(*taker).iter().flat_map(|line| (queue.taken)(line)));
    }
    feeders.iter().for_each(|feeder| drop(server.received(*feeder)));
    for key in KEYS {
        let rest = server.ask(feeders[0], &(queue.rest)(key));
        if rest.starts_with(key) {
            taken.extend((queue.taken)(&rest));
        } else {
            taken.extend(rest.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
    }
    taken.sort_unstable();
    assert_eq!(taken, (0..fed).collect::<Vec<_>>(), "seed {seed}");
}

/// Waiters for the same keys are served in the order of arrival, wherever the keys are, and the
/// elements of one queue are delivered in order.
#[test]
fn the_line_is_kept_over_shards() {
    for (kind, queue) in QUEUES.iter().enumerate() {
        for seed in 0..60 {
            let mut random = Random::from_seed(seed);
            let mut server = Server::new(1 + random.below(5), seed);
            let feeder = server.0.connect(0);
            for line in ["q", "r", "s"].iter().flat_map(|key| (queue.setup)(key)) {
                server.ask(feeder, &line);
            }
            let waiting: Vec<ClientId> = (0..6)
                .map(|core| {
                    let client = server.0.connect(core);
                    server.send(client, queue.waits[random.below(2)]);
                    client
                })
                .collect();
            for number in 0..6 {
                server.0.send_line(feeder, &(queue.feed)("q", number));
                for _ in 0..random.below(6) {
                    server.0.step();
                }
            }
            server.0.settle();
            let got: Vec<u32> = waiting
                .iter()
                .flat_map(|client| server.received(*client))
                .flat_map(|line| (queue.taken)(&line))
                .collect();
            assert_eq!(got, (0..6).collect::<Vec<_>>(), "kind {kind}, seed {seed}");
        }
    }
}

/// A client that has closed its side gets nothing more: it leaves no session behind, and no element
/// is lost to it, whenever its end comes and whatever else it requested.
#[test]
fn who_closes_around_a_wait_leaves_nothing_behind() {
    for (seed, shards) in (0..40).zip([1, 2, 3].into_iter().cycle()) {
        for lines in [&["BLPOP k 0"][..], &["BLPOP k 0", "PING"], &["GET k", "BLPOP k l 0", "PING"]]
        {
            let mut server = Server::new(shards, seed);
            let (client, feeder) = (server.0.connect(0), server.0.connect(1));
            for line in lines {
                server.0.send_line(client, line);
            }
            if seed % 2 == 0 {
                server.0.settle();
            }
            server.0.end_input(client);
            server.0.settle();
            assert!(!server.0.is_connected(client), "seed {seed}: {lines:?}");
            assert_eq!(server.ask(feeder, "RPUSH k x"), "1");
            assert_eq!(server.ask(feeder, "LLEN k"), "1", "seed {seed}: {lines:?}");
            assert!(server.ask(feeder, "INFO clients").contains("blocked_clients:0\r\n"));
        }
    }
}

/// A waiter precedes the next command of the very pipeline that made the key ready, wherever the
/// key is.
#[test]
fn nobody_comes_between_a_push_and_who_waits_for_it() {
    for seed in 0..40 {
        for key in ["k", "l", "m", "n"] {
            let mut server = Server::new(2, seed);
            let (waiter, feeder) = (server.0.connect(0), server.0.connect(0));
            server.send(waiter, &format!("BLPOP {key} 0"));
            server.0.send_line(feeder, &format!("RPUSH {key} x"));
            server.0.send_line(feeder, &format!("LPOP {key}"));
            server.0.settle();
            assert_eq!(server.received(feeder), ["1", "(nil)"], "seed {seed}");
            assert_eq!(server.received(waiter), [format!("{key} x")], "seed {seed}");
        }
    }
}

/// A watch that an intent delayed until its client was gone is removed as well.
#[test]
fn who_goes_while_it_begins_to_watch_watches_nothing() {
    for seed in 0..300 {
        let mut random = Random::from_seed(seed);
        let mut server = Server::new(1 + random.below(3), seed);
        let (writer, watcher) = (server.0.connect(0), server.0.connect(1));
        for _ in 0..3 {
            server.0.send_line(writer, "MSET k 1 l 2 m 3 n 4");
        }
        server.0.send_line(watcher, "WATCH k l m n");
        for _ in 0..random.below(25) {
            server.0.step();
        }
        server.0.disconnect(watcher);
        server.0.settle();
        for core in 0..server.0.shard_count() {
            assert!(!server.0.core(core).keyspace().is_watched(), "seed {seed}");
        }
    }
}

/// Whoever has the answer of a command finds what a blocked client did because of it, whichever shards the keys are
/// on, however they were fed, and whoever looks.
#[test]
fn who_has_its_answer_finds_what_it_fed_served() {
    let ways: [&[&str]; 10] = [
        &["RPUSH t x"],
        &["RPOPLPUSH s t"],
        &["LMOVE s t LEFT LEFT"],
        &["RENAME s t"],
        &["COPY s t"],
        &["SORT s BY nosort STORE t"],
        &["MULTI", "RPUSH t x", "EXEC"],
        &["MULTI", "SET a 1", "RPUSH t x", "SET b 2", "SET c 3", "EXEC"],
        &["MULTI", "RPOPLPUSH s t", "SET a 1", "EXEC"],
        &["MULTI", "SET a 1", "LMOVE s t LEFT LEFT", "SET c 2", "EXEC"],
    ];
    let mut looks = 0;
    for seed in 0..60 {
        for (at, way) in ways.iter().enumerate() {
            let shards = 1 + (seed as usize + at) % 4;
            // While slots move all of them wait now and then, so the seeds have both.
            let mut simulation = Simulation::new(shards, Config::default(), seed);
            if seed % 3 == 0 {
                simulation.move_slots(&["s", "t", "u"]);
            }
            let mut server = Server(simulation);
            let mut random = Random::from_seed(seed);
            let mut connect = |server: &mut Server| server.0.connect(random.below(shards));
            let (feeder, looker) = (connect(&mut server), connect(&mut server));
            let waiters: Vec<ClientId> = (0..2).map(|_| connect(&mut server)).collect();
            server.ask(feeder, "RPUSH s x");
            server.send(waiters[0], "BLMOVE t u LEFT LEFT 0");
            server.send(waiters[1], "BLPOP t 0");
            let (last, before) = way.split_last().expect("there is a command");
            for line in before {
                server.ask(feeder, line);
            }
            server.0.send_line(feeder, last);
            while !server.0.has_received(feeder) {
                server.0.step();
            }
            server.0.send_line(looker, "LRANGE u 0 -1");
            while !server.0.has_received(looker) {
                server.0.step();
            }
            assert_eq!(server.received(looker), ["x"], "seed {seed}, {shards} shards: {way:?}");
            looks += 1;
            server.0.settle();
            server.received(feeder);
            assert_eq!(server.received(waiters[0]), ["x"], "seed {seed}: {way:?}");
            assert_eq!(server.ask(feeder, "RPUSH t y"), "1");
            assert_eq!(server.received(waiters[1]), ["t y"], "seed {seed}: {way:?}");
        }
    }
    assert_eq!(looks, 600);
}
