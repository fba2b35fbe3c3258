//! Eviction at `maxmemory`, on one shard and on four: what all shards hold stays below it, writes go on as long as
//! anything may go, and what is watched, waited for or held by a transaction is treated as a removal should be.

use basalt_commands::config::{Allowed, Config};
use basalt_engine::MemoryBounds;
use basalt_keyspace::SlotId;
use basalt_resp::{Value, decode, encode_request};
use basalt_testkit::simulation::{ClientId, Simulation};

const SHARDS: [usize; 2] = [1, 4];
/// The tables of empty slots take 1 MiB of it.
const MAX: usize = 3 << 20;
/// How much may be held beyond it between two turns: an entry, and a table that grows.
const SLACK: usize = 64 << 10;

struct Server {
    simulation: Simulation,
    shards: usize,
}

impl Server {
    fn new(shards: usize, policy: &str) -> (Self, ClientId) {
        let config = Config { enable_debug_command: Allowed::Yes, ..Config::default() };
        let mut server = Self { simulation: Simulation::new(shards, config, 5), shards };
        let client = server.simulation.connect(0);
        let line = format!("CONFIG SET maxmemory {MAX} maxmemory-policy {policy}");
        assert_eq!(server.text(client, &line), "OK");
        (server, client)
    }

    fn request(&mut self, client: ClientId, line: &str) {
        let mut bytes = Vec::new();
        encode_request(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>(), &mut bytes);
        self.simulation.send(client, &bytes);
    }

    fn replies(&mut self, client: ClientId) -> Vec<Value> {
        let (mut replies, received) = (Vec::new(), self.simulation.take_received(client));
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            let (value, len) = decode(rest).expect("well-formed replies").expect("whole replies");
            replies.push(value);
            rest = &rest[len..];
        }
        replies
    }

    fn ask(&mut self, client: ClientId, line: &str) -> Value {
        self.request(client, line);
        self.simulation.settle();
        self.replies(client).remove(0)
    }

    fn text(&mut self, client: ClientId, line: &str) -> String {
        match self.ask(client, line) {
            Value::Simple(text) | Value::Bulk(text) | Value::Error(text) => {
                String::from_utf8_lossy(&text).into_owned()
            }
            Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        }
    }

    /// A number of INFO, of all shards together.
    fn count(&mut self, client: ClientId, name: &str) -> u64 {
        let info = self.text(client, "INFO everything");
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("INFO has {name}")).trim().parse().expect("a number")
    }

    /// The bytes that all shards hold; their books are compared with a walk.
    fn held(&mut self) -> usize {
        let mut held = 0;
        for core in 0..self.shards {
            let keyspace = self.simulation.core(core).keyspace();
            keyspace.verify();
            held += keyspace.held_bytes();
        }
        held
    }

    fn key_on(&self, shard: usize, beginning: &str) -> String {
        let shards = self.shards;
        let is_there =
            |key: &String| usize::from(SlotId::of_key(key.as_bytes()).0) * shards / 16_384 == shard;
        let mut keys = (0..).map(|number| format!("{beginning}{number}"));
        keys.find(is_there).expect("each shard has slots")
    }
}

#[test]
fn writes_go_on_at_the_limit() {
    const WRITES: usize = 2000;
    const POLICIES: [&str; 9] = [
        "allkeys-lru",
        "allkeys-lfu",
        "allkeys-lrm",
        "allkeys-random",
        "volatile-lru",
        "volatile-lfu",
        "volatile-lrm",
        "volatile-random",
        "volatile-ttl",
    ];
    for shards in SHARDS {
        for policy in POLICIES {
            let (mut server, client) = Server::new(shards, policy);
            let clients = [client, server.simulation.connect(shards - 1)];
            let value = "x".repeat(4000);
            for number in 0..WRITES {
                let expiry = if number % 3 == 0 || number > 300 { " EX 1000" } else { "" };
                server.request(clients[number % 2], &format!("SET key:{number} {value}{expiry}"));
                if number % 60 == 0 {
                    server.simulation.settle();
                    let held = server.held();
                    assert!(held <= MAX + SLACK, "{policy} on {shards} shards: {held}");
                }
            }
            server.simulation.settle();
            for client in clients {
                let replies = server.replies(client);
                assert!(replies.iter().all(|reply| *reply == Value::simple("OK")), "{policy}");
            }
            let left: u64 = server.text(client, "DBSIZE").parse().unwrap();
            let (keys, held) = (server.count(client, "evicted_keys"), server.held());
            assert!(keys > 1250 && held > MAX / 2, "{policy} on {shards} shards");
            assert_eq!(keys + left, WRITES as u64, "{policy} on {shards} shards");
            if policy.starts_with("volatile") {
                for number in (0..300).filter(|number| number % 3 != 0) {
                    let exists = server.text(client, &format!("EXISTS key:{number}"));
                    assert_eq!(exists, "1", "{policy} evicted a key without an expiry");
                }
            }
        }
    }
}

/// No shard refuses while another has keys to evict, and none refuses what it can evict itself.
#[test]
fn shards_without_keys_to_evict_ask_others() {
    for shards in SHARDS {
        let (mut server, client) = Server::new(shards, "volatile-lru");
        let far = server.key_on(shards - 1, "far");
        let value = "x".repeat(1000);
        for number in 0..2500 {
            server.ask(client, &format!("SET {{{far}}}{number} {value} EX 1000"));
        }
        let near = server.key_on(0, "near");
        for number in 0..2000 {
            let reply = server.text(client, &format!("SET {{{near}}}{number} {value}"));
            assert_eq!(reply, "OK", "{number} on {shards} shards");
        }
        assert!(server.held() <= MAX + SLACK, "{}", server.held());
        assert!(server.count(client, "evicted_keys") > 1000);
        // Nothing is left to evict in the end, and then writes are refused.
        let mut refused = 0;
        for number in 2000..4000 {
            let reply = server.text(client, &format!("SET {{{near}}}{number} {value}"));
            refused += usize::from(reply.starts_with("OOM "));
        }
        assert!(refused > 500 && server.held() <= MAX + SLACK, "{refused}");
        assert_eq!(server.text(client, &format!("EXISTS {{{near}}}0 {{{far}}}0")), "1");
    }
}

/// A shard that is written to gets room from those that hold more.
#[test]
fn shares_follow_use() {
    let (mut server, client) = Server::new(4, "allkeys-lru");
    let value = "x".repeat(1000);
    let far = server.key_on(3, "far");
    for number in 0..4000 {
        server.ask(client, &format!("SET {{{far}}}{number} {value}"));
    }
    assert!(server.simulation.core(3).keyspace().held_bytes() > MAX * 9 / 10);
    let near = server.key_on(0, "near");
    for number in 0..4000 {
        let reply = server.text(client, &format!("SET {{{near}}}{number} {value}"));
        assert_eq!(reply, "OK");
    }
    let near = server.simulation.core(0).keyspace().held_bytes();
    assert!(near > MAX / 8 && server.held() <= MAX + SLACK, "{near}");
}

#[test]
fn a_value_that_never_fits_evicts_nothing() {
    for shards in SHARDS {
        let (mut server, client) = Server::new(shards, "allkeys-lru");
        for number in 0..500 {
            server.ask(client, &format!("SET key:{number} {}", "x".repeat(1000)));
        }
        for shard in 0..shards {
            let key = server.key_on(shard, "large");
            let reply = server.text(client, &format!("SET {key} {}", "x".repeat(MAX + 1)));
            assert!(reply.starts_with("OOM "), "{reply}");
            assert_eq!(server.count(client, "evicted_keys"), 0);
            let line = format!("SET {key} {}", "x".repeat(MAX / 4));
            assert_eq!(server.text(client, &line), "OK");
            server.ask(client, &format!("DEL {key}"));
        }
        // One that fits has others go for it.
        for shard in 0..shards {
            let key = server.key_on(shard, "fits");
            let line = format!("SET {key} {}", "x".repeat(MAX / 2));
            assert_eq!(server.text(client, &line), "OK", "{shard} of {shards}");
            assert!(server.held() <= MAX + SLACK, "{} on {shards} shards", server.held());
            assert_eq!(server.text(client, &format!("STRLEN {key}")), (MAX / 2).to_string());
        }
    }
}

#[test]
fn a_lower_limit_is_reached_in_slices() {
    for shards in SHARDS {
        let (mut server, client) = Server::new(shards, "allkeys-lru");
        assert_eq!(server.text(client, "CONFIG SET maxmemory 100mb"), "OK");
        for number in 0..5000 {
            server.request(client, &format!("SET key:{number} {}", "x".repeat(1000)));
        }
        server.simulation.settle();
        assert!(server.held() > 5 << 20);
        assert_eq!(server.text(client, &format!("CONFIG SET maxmemory {MAX}")), "OK");
        assert!(server.held() <= MAX + SLACK, "{} on {shards} shards", server.held());
        assert!(server.count(client, "evicted_keys") > 2500);
    }
}

/// A value that never fits is refused whatever stores it, and nothing goes for it.
#[test]
fn large_values_evict_nothing_in_vain() {
    for shards in SHARDS {
        let (mut server, client) = Server::new(shards, "allkeys-lru");
        for number in 0..500 {
            server.ask(client, &format!("SET key:{number} {}", "x".repeat(1000)));
        }
        let (large, larger) = ("x".repeat(MAX / 3), "x".repeat(MAX * 3 / 4));
        let keys: Vec<String> = (0..shards).map(|shard| server.key_on(shard, "large")).collect();
        for key in &keys {
            for line in [
                format!("SETRANGE {key} {MAX} x"),
                format!("SETBIT {key} {} 1", MAX * 8),
                format!("BITFIELD {key} SET u8 {} 1", MAX * 8),
                format!("SETRANGE key:0 {MAX} x"),
            ] {
                let reply = server.text(client, &line);
                assert!(reply.starts_with("OOM "), "{line}: {reply}");
            }
        }
        let (first, last) = (&keys[0], &keys[shards - 1]);
        let reply = server.text(client, &format!("MSET {first} {large} {last} {larger}"));
        assert!(reply.starts_with("OOM "), "{reply} on {shards} shards");
        assert_eq!(server.count(client, "evicted_keys"), 0, "on {shards} shards");
        assert_eq!(server.text(client, &format!("EXISTS {first} {last}")), "0");
    }
}

/// What clients don't read counts, so keys go for it; and what clients take is in the books to the byte.
#[test]
fn buffers_of_clients_count() {
    for shards in SHARDS {
        let (mut server, client) = Server::new(shards, "allkeys-lru");
        for number in 0..1000 {
            server.request(client, &format!("SET key:{number} {}", "x".repeat(1000)));
        }
        server.simulation.settle();
        server.replies(client);
        assert_eq!(server.count(client, "evicted_keys"), 0);
        let deaf: Vec<ClientId> = (0..100).map(|_| server.simulation.connect(shards - 1)).collect();
        for round in 0..5 {
            for deaf in &deaf {
                server.simulation.set_deaf(*deaf, true);
                server.request(*deaf, &format!("ECHO {}", "x".repeat(10_000)));
                server.simulation.settle();
                server.simulation.core(shards - 1).verify_books();
            }
            // Each keeps a reply and two requests: with more than that it is not read.
            let most = [1_400_000, 2_600_000, 3_500_000, 3_500_000, 3_500_000][round];
            let taken = server.count(client, "mem_clients_normal");
            assert!(taken < most, "{taken} in round {round} on {shards} shards");
        }
        server.text(client, "SET a b");
        let evicted = server.count(client, "evicted_keys");
        assert!(evicted > 300, "{evicted} keys on {shards} shards");
        assert!(server.count(client, "mem_clients_normal") > 1_000_000);
    }
}

/// The largest clients of all shards are cut off, one after the other, until the rest fits; but for those that may not.
#[test]
fn the_largest_clients_go_first() {
    for shards in SHARDS {
        let config = Config::default();
        let mut server = Server { simulation: Simulation::new(shards, config, 5), shards };
        let client = server.simulation.connect(0);
        assert_eq!(server.text(client, "CLIENT NO-EVICT ON"), "OK");
        let sizes = [300_000, 40_000, 600_000, 150_000, 900_000, 80_000];
        let deaf: Vec<ClientId> = (0..sizes.len())
            .map(|index| {
                let deaf = server.simulation.connect(index % shards);
                if index == 4 {
                    server.ask(deaf, "CLIENT NO-EVICT ON");
                }
                server.simulation.set_deaf(deaf, true);
                server.request(deaf, &format!("ECHO {}", "x".repeat(sizes[index])));
                deaf
            })
            .collect();
        server.simulation.settle();
        let connected = |server: &Server| {
            let all = deaf.iter().map(|client| server.simulation.is_connected(*client));
            all.collect::<Vec<_>>()
        };
        assert_eq!(connected(&server), [true; 6]);
        // Those of 300,000 and 600,000 bytes are in one class.
        assert_eq!(server.text(client, "CONFIG SET maxmemory-clients 1900000"), "OK");
        server.text(client, "PING");
        assert_eq!(connected(&server), [true, true, false, true, true, true], "{shards} shards");
        assert_eq!(server.count(client, "evicted_clients"), 1);
        assert_eq!(server.text(client, "CONFIG SET maxmemory-clients 100000"), "OK");
        server.text(client, "PING");
        assert_eq!(connected(&server), [false, false, false, false, true, false]);
        assert_eq!(server.count(client, "evicted_clients"), 5);
        for core in 0..shards {
            server.simulation.core(core).verify_books();
        }
    }
}

/// A client whose input alone exceeds the limit is gone before a request is answered that arrives with that input.
#[test]
fn a_client_that_sends_too_much_goes_before_requests_run() {
    for shards in SHARDS {
        let (mut server, client) = Server::new(shards, "noeviction");
        assert_eq!(server.text(client, "CONFIG SET maxmemory 6mb maxmemory-clients 7%"), "OK");
        let limit = (6 << 20) * 7 / 100;
        for (part, stays) in [(2, true), (1, false)] {
            let large = server.simulation.connect(0);
            server.text(large, "CLIENT SETNAME large");
            let bytes = limit / part;
            server.simulation.send(large, format!("*1\r\n${bytes}\r\n").as_bytes());
            server.simulation.send(large, &vec![b'x'; 70_000]);
            server.simulation.settle();
            server.simulation.send(large, &vec![b'x'; bytes - 70_000]);
            let list = server.text(client, "CLIENT LIST");
            assert_eq!(list.contains("name=large"), stays, "{shards} shards: {list}");
            assert_eq!(server.simulation.is_connected(large), stays, "{shards} shards");
            server.simulation.disconnect(large);
        }
        assert_eq!(server.count(client, "evicted_clients"), 1);
    }
}

/// Where memory runs out before `maxmemory` is reached, no more is kept than there is, until there is room again; gaps
/// between values never empty the data.
#[test]
fn memory_that_runs_out_early_lowers_the_limit() {
    for shards in SHARDS {
        for policy in ["allkeys-lru", "noeviction"] {
            let (mut server, client) = Server::new(shards, policy);
            assert_eq!(server.text(client, "CONFIG SET maxmemory 30mb"), "OK");
            let fill = |server: &mut Server, numbers: std::ops::Range<usize>| {
                for number in numbers {
                    server.request(client, &format!("SET key:{number} {}", "x".repeat(1000)));
                    if number % 100 == 0 {
                        server.simulation.settle();
                    }
                }
                server.simulation.settle();
                server.replies(client).iter().filter(|one| matches!(one, Value::Error(_))).count()
            };
            fill(&mut server, 0..9000);
            let held = server.held();
            let bounds = |excess_bytes, sample| MemoryBounds {
                limit_bytes: 40 << 20,
                excess_bytes,
                sample,
                ..MemoryBounds::default()
            };
            for sample in 1..5 {
                server.simulation.set_memory_bounds(bounds(1 << 20, sample));
                let refused = fill(&mut server, 9000..11_000);
                assert_eq!(refused > 1500, policy == "noeviction", "{refused} of {shards}");
                assert!(server.held() < held + (128 << 10), "{policy} on {shards} shards");
                assert!(server.held() > held * 9 / 10, "{policy} on {shards} shards");
            }
            let has_line = |server: &Server, words: &str| {
                server.simulation.log().iter().any(|line| line.contains(words))
            };
            assert!(has_line(&server, "Memory runs out before maxmemory is reached"));
            // It grows all the same, so the data must shrink.
            server.simulation.set_memory_bounds(bounds(3 << 20, 5));
            fill(&mut server, 9000..9500);
            let is_lower = server.held() < held - (1 << 20);
            assert_eq!(is_lower, policy != "noeviction", "{policy} on {shards} shards");
            server.simulation.set_memory_bounds(bounds(-(4 << 20), 6));
            assert_eq!(fill(&mut server, 11_000..12_000), 0, "{policy} on {shards} shards");
            assert!(has_line(&server, "There is enough memory again"));
        }
    }
}

/// A percentage is one of what the process may use, and follows that when a control group's limit changes.
#[test]
fn a_limit_in_percent_follows_what_it_is_part_of() {
    for shards in SHARDS {
        let (mut server, client) = Server::new(shards, "allkeys-lru");
        let bounds =
            |limit: usize| MemoryBounds { limit_bytes: limit as u64, ..MemoryBounds::default() };
        server.simulation.set_memory_bounds(bounds(MAX * 4));
        assert_eq!(server.text(client, "CONFIG SET maxmemory 50%"), "OK");
        for number in 0..8000 {
            server.request(client, &format!("SET key:{number} {}", "x".repeat(1000)));
            if number % 100 == 0 {
                server.simulation.settle();
            }
        }
        server.simulation.settle();
        server.replies(client);
        let held = server.held();
        assert!(held > MAX * 3 / 2 && held <= 2 * MAX + SLACK, "{held} on {shards} shards");
        assert_eq!(server.count(client, "maxmemory"), 2 * MAX as u64);
        server.simulation.set_memory_bounds(bounds(MAX * 2));
        server.text(client, "GET a");
        server.text(client, "SET a b");
        assert!(server.held() <= MAX + SLACK, "{} on {shards} shards", server.held());
        assert_eq!(server.count(client, "maxmemory"), MAX as u64);
    }
}

#[test]
fn an_evicted_key_breaks_its_watch_and_ends_its_waits() {
    for shards in SHARDS {
        let (mut server, client) = Server::new(shards, "volatile-ttl");
        let waiter = server.simulation.connect(shards - 1);
        server.ask(client, "SET watched v EX 10");
        assert_eq!(server.text(client, "XGROUP CREATE stream group $ MKSTREAM"), "OK");
        server.ask(client, "EXPIRE stream 20");
        server.request(waiter, "XREADGROUP GROUP group me BLOCK 0 STREAMS stream >");
        server.simulation.settle();
        server.ask(client, "WATCH watched");
        let other = server.simulation.connect(0);
        for number in 0..4000 {
            server.ask(other, &format!("SET key:{number} {} EX 1000", "x".repeat(1000)));
        }
        assert_eq!(server.text(other, "EXISTS watched stream"), "0");
        server.ask(client, "MULTI");
        server.ask(client, "SET a b");
        assert_eq!(server.ask(client, "EXEC"), Value::NullArray);
        server.simulation.settle();
        let replies = server.replies(waiter);
        assert!(matches!(&replies[..], [Value::Error(_)]), "{replies:?}");
    }
}

/// Transactions over several shards meet eviction on all of them: what they hold stays until they are over.
#[test]
fn what_a_transaction_holds_is_not_evicted() {
    for seed in 0..10 {
        let config = Config { enable_debug_command: Allowed::Yes, ..Config::default() };
        let mut server = Server { simulation: Simulation::new(4, config, seed), shards: 4 };
        let clients: Vec<ClientId> = (0..4).map(|core| server.simulation.connect(core)).collect();
        let keys: Vec<String> = (0..4).map(|shard| server.key_on(shard, "key")).collect();
        let line = format!("CONFIG SET maxmemory {MAX} maxmemory-policy allkeys-random");
        assert_eq!(server.text(clients[0], &line), "OK");
        for round in 0..200 {
            for (index, &client) in clients.iter().enumerate() {
                let (one, other) = (&keys[index], &keys[(index + round) % 4]);
                let value = "x".repeat(5000);
                server.request(client, &format!("SET {{{one}}}{round} {value}"));
                server.request(client, &format!("MSET {one} {round} {other} {round}"));
                // It reads on one shard and writes on another: what it read must be there when it writes.
                server.request(client, &format!("COPY {one} {{{other}}}copy:{index} REPLACE"));
                server
                    .request(client, &format!("RENAMENX {one} {{{other}}}renamed:{index}:{round}"));
            }
            // What waits in buffers counts.
            if round % 10 == 0 {
                server.simulation.settle();
            }
        }
        server.simulation.settle();
        for &client in &clients {
            for reply in server.replies(client) {
                let is_right = match &reply {
                    Value::Error(text) => text.starts_with(b"ERR no such key"),
                    reply => matches!(reply, Value::Simple(_) | Value::Integer(_)),
                };
                assert!(is_right, "{reply:?}");
            }
        }
        assert!(server.held() <= MAX + SLACK);
        assert!(server.count(clients[0], "evicted_keys") > 0);
    }
}
