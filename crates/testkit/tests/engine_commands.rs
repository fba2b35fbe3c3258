//! Commands that the engine runs itself, in simulation: sessions, CLIENT, CONFIG, INFO, DEBUG, on
//! one shard and on four.

use basalt_commands::config::{Allowed, Config, Secret};
use basalt_resp::{Value, decode, encode_request};
use basalt_testkit::simulation::{ClientId, Simulation};

const SHARDS: [usize; 2] = [1, 4];

struct Server {
    simulation: Simulation,
}

/// The words of a line; `""` is the empty one.
fn words(line: &str) -> Vec<Vec<u8>> {
    let word = |word: &str| if word == "\"\"" { Vec::new() } else { word.as_bytes().to_vec() };
    line.split(' ').map(word).collect()
}

fn values(mut bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        let (value, len) = decode(bytes).expect("well-formed replies").expect("whole replies");
        values.push(value);
        bytes = &bytes[len..];
    }
    values
}

impl Server {
    fn new(shards: usize) -> Self {
        Self::with(shards, Config::default())
    }

    fn with(shards: usize, config: Config) -> Self {
        let config = Config { enable_debug_command: Allowed::Yes, ..config };
        Self { simulation: Simulation::new(shards, config, 3) }
    }

    fn client(&mut self, core: usize) -> ClientId {
        self.simulation.connect(core)
    }

    fn send(&mut self, client: ClientId, lines: &[&str]) {
        let mut bytes = Vec::new();
        for line in lines {
            encode_request(&words(line), &mut bytes);
        }
        self.simulation.send(client, &bytes);
        self.simulation.settle();
    }

    fn received(&mut self, client: ClientId) -> Vec<Value> {
        values(&self.simulation.take_received(client))
    }

    fn ask(&mut self, client: ClientId, line: &str) -> Value {
        self.send(client, &[line]);
        let mut replies = self.received(client);
        assert_eq!(replies.len(), 1, "{line} is answered by {replies:?}");
        replies.remove(0)
    }

    /// The replies, as text.
    fn text(&mut self, client: ClientId, line: &str) -> String {
        match self.ask(client, line) {
            Value::Integer(value) => value.to_string(),
            Value::Null => "(nil)".into(),
            value => String::from_utf8_lossy(value.as_bytes().expect("a text")).into_owned(),
        }
    }

    fn info(&mut self, client: ClientId, section: &str, field: &str) -> String {
        let text = self.text(client, &format!("INFO {section}"));
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
        line.unwrap_or_else(|| panic!("{field} in {text}")).to_owned()
    }
}

fn with_password() -> Config {
    Config { requirepass: Secret(b"secret".to_vec()), ..Config::default() }
}

const OK: &str = "OK";
const NOAUTH: &str = "NOAUTH Authentication required.";
const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// Requests in the same piece as the password get the limits of authenticated clients.
#[test]
fn what_comes_behind_the_password_may_be_large() {
    let mut server = Simulation::new(1, with_password(), 3);
    let client = server.connect(0);
    let value = "v".repeat(20_000);
    let mut bytes = Vec::new();
    encode_request(&["AUTH", "secret"], &mut bytes);
    encode_request(&["SET", "k", &value], &mut bytes);
    server.send(client, &bytes);
    server.settle();
    assert_eq!(String::from_utf8_lossy(&server.take_received(client)), "+OK\r\n+OK\r\n");
}

#[test]
fn a_password_is_asked_for() {
    for shards in SHARDS {
        let mut server = Server::with(shards, with_password());
        let client = server.client(1);
        assert_eq!(server.text(client, "GET k"), NOAUTH);
        assert_eq!(server.text(client, "CLIENT ID"), NOAUTH);
        assert!(server.text(client, "HELLO 3").starts_with("NOAUTH HELLO must be called"));
        assert!(server.text(client, "HELLO").starts_with("NOAUTH HELLO must be called"));
        assert_eq!(server.text(client, "AUTH wrong"), WRONGPASS);
        assert_eq!(server.text(client, "AUTH secrets"), WRONGPASS);
        assert_eq!(server.text(client, "AUTH nobody secret"), WRONGPASS);
        assert_eq!(server.text(client, "HELLO 3 AUTH default wrong"), WRONGPASS);
        assert_eq!(server.text(client, "AUTH a b c"), "ERR syntax error");
        assert_eq!(server.text(client, "AUTH secret"), OK);
        assert_eq!(server.text(client, "GET k"), "(nil)");
        assert_eq!(server.text(client, "RESET"), "RESET");
        assert_eq!(server.text(client, "GET k"), NOAUTH);
        assert_eq!(server.text(client, "AUTH default secret"), OK);

        // Settings apply to new clients, and an empty password admits every client.
        let waiting = server.client(2);
        assert_eq!(server.text(waiting, "PING"), NOAUTH);
        assert_eq!(server.text(client, "CONFIG SET requirepass \"\""), OK);
        assert_eq!(server.text(waiting, "PING"), "PONG");
        assert!(server.text(client, "AUTH x").starts_with("ERR AUTH <password> called without"));
        assert_eq!(server.text(client, "AUTH default anything"), OK);
        assert_eq!(server.text(client, "CONFIG SET requirepass other"), OK);
        let late = server.client(3);
        assert_eq!(server.text(late, "PING"), NOAUTH);
        assert_eq!(server.text(waiting, "PING"), "PONG");
        assert_eq!(server.text(late, "AUTH other"), OK);
        assert_eq!(server.info(late, "errorstats", "errorstat_NOAUTH"), "count=7");
    }
}

#[test]
fn hello_begins_a_session() {
    let mut server = Server::with(4, with_password());
    let client = server.client(2);
    let greeting = server.ask(client, "HELLO 3 AUTH default secret SETNAME worker");
    let Value::Map(pairs) = greeting else { panic!("a map, not {greeting:?}") };
    let text = |value: &Value| String::from_utf8_lossy(value.as_bytes().unwrap()).into_owned();
    let fields: Vec<String> = pairs.iter().map(|(field, _)| text(field)).collect();
    assert_eq!(fields, ["server", "version", "proto", "id", "mode", "role", "modules"]);
    assert_eq!(text(&pairs[0].1), "redis");
    assert_eq!(pairs[2].1, Value::Integer(3));
    assert_eq!(server.text(client, "CLIENT GETNAME"), "worker");
    assert_eq!(server.ask(client, "CLIENT ID"), pairs[3].1);
    // A HELLO that fails leaves the session unchanged.
    assert!(server.text(client, "HELLO 2 SETNAME a\nb").contains("names cannot contain"));
    assert!(server.text(client, "HELLO 2 WHAT").contains("in HELLO option 'WHAT'"));
    assert!(matches!(server.ask(client, "CONFIG GET port"), Value::Map(_)));
    assert!(matches!(server.ask(client, "HELLO 2"), Value::Array(fields) if fields.len() == 14));
    assert!(matches!(server.ask(client, "CONFIG GET port"), Value::Array(_)));
}

#[test]
fn replies_can_be_turned_off_and_skipped() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.client(0);
        server.send(
            client,
            &["CLIENT REPLY OFF", "SET a 1", "SET b 1", "GET a", "NONSENSE", "DBSIZE", "PING"],
        );
        assert_eq!(server.received(client), []);
        server.send(client, &["CLIENT REPLY SKIP", "CLIENT REPLY ON", "PING"]);
        assert_eq!(server.received(client), [Value::simple("OK"), Value::simple("PONG")]);
        for skipped in ["GET a", "GET b", "GET c", "NONSENSE", "DBSIZE", "PING", "MGET a b c d"] {
            server.send(client, &["GET b", "CLIENT REPLY SKIP", skipped, "GET a", "PING"]);
            let expected = [Value::bulk("1"), Value::bulk("1"), Value::simple("PONG")];
            assert_eq!(server.received(client), expected, "{skipped} on {shards} shards");
        }
    }
}

#[test]
fn lists_tell_all_connections_in_their_order() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let clients: Vec<ClientId> = (0..6).map(|core| server.client(core)).collect();
        let mut numbers: Vec<u64> = clients
            .iter()
            .map(|&client| server.text(client, "CLIENT ID").parse().expect("a number"))
            .collect();
        for (index, &client) in clients.iter().enumerate() {
            assert_eq!(server.text(client, &format!("CLIENT SETNAME c{index}")), OK);
            assert_eq!(server.text(client, "CLIENT SETINFO LIB-NAME lib"), OK);
        }
        server.text(clients[1], "SELECT 5");
        server.ask(clients[2], "HELLO 3");
        server.simulation.advance_ms(7_500);
        let listed = |server: &mut Server, line: &str| -> Vec<String> {
            server.text(clients[0], line).lines().map(str::to_owned).collect()
        };
        let lines = listed(&mut server, "CLIENT LIST");
        let ids: Vec<u64> = lines
            .iter()
            .map(|line| line[3..line.find(' ').expect("fields")].parse().expect("a number"))
            .collect();
        numbers.sort_unstable();
        assert_eq!(ids, numbers);
        let line = lines.iter().find(|line| line.contains("name=c1 ")).expect("it is listed");
        for part in
            [" age=7 idle=7 flags=N ", " db=5 ", " resp=2 ", " lib-name=lib ", " cmd=select "]
        {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(lines.iter().any(|line| line.contains("resp=3") && line.contains("cmd=hello")));
        assert!(
            lines.iter().any(|line| line.contains("cmd=client|list") && line.contains("idle=0"))
        );
        for (filter, count) in [
            ("TYPE normal", 6),
            ("TYPE pubsub", 0),
            ("NOT-TYPE pubsub", 6),
            ("NAME c3", 1),
            ("NOT-NAME c3", 5),
            ("SKIPME yes", 5),
            ("DB 5", 1),
            ("LIB-NAME lib DB 0", 5),
            ("IP 127.0.0.1", 6),
            ("USER default", 6),
            ("MAXAGE 7", 6),
            ("MAXAGE 8", 0),
            ("IDLE 7", 5),
            ("ADDR 127.0.0.1:10002", 1),
            ("LADDR 127.0.0.1:6379", 6),
            ("FLAGS N", 6),
        ] {
            let got = listed(&mut server, &format!("CLIENT LIST {filter}"));
            assert_eq!(got.len(), count, "{filter} on {shards} shards: {got:?}");
        }
        let two = format!("CLIENT LIST ID {} {} 99999", numbers[1], numbers[4]);
        assert_eq!(listed(&mut server, &two).len(), 2);
        let own = server.text(clients[2], "CLIENT INFO");
        assert!(own.contains("name=c2 ") && own.ends_with('\n') && own.lines().count() == 1);
    }
}

#[test]
fn connections_are_killed_wherever_they_are() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let clients: Vec<ClientId> = (0..6).map(|core| server.client(core)).collect();
        let number = server.text(clients[3], "CLIENT ID");
        let alive = |server: &Server| -> Vec<usize> {
            let connected = |index: &usize| server.simulation.is_connected(clients[*index]);
            (0..6).filter(connected).collect()
        };
        assert_eq!(server.text(clients[0], &format!("CLIENT KILL ID {number}")), "1");
        assert_eq!(alive(&server), [0, 1, 2, 4, 5]);
        assert_eq!(server.text(clients[0], "CLIENT KILL 127.0.0.1:10004"), OK);
        assert_eq!(server.text(clients[0], "CLIENT KILL 127.0.0.1:10004"), "ERR No such client");
        assert_eq!(alive(&server), [0, 1, 2, 5]);
        server.text(clients[5], "CLIENT SETNAME stays");
        assert_eq!(server.text(clients[0], "CLIENT KILL NOT-NAME stays TYPE normal"), "2");
        assert_eq!(alive(&server), [0, 5]);
        // The client's own connection is closed last, and requests after it are not processed.
        server.send(clients[0], &["SET k v", "CLIENT KILL TYPE normal SKIPME no", "SET k w"]);
        assert_eq!(server.received(clients[0]), [Value::simple("OK"), Value::Integer(2)]);
        assert!(alive(&server).is_empty());
        let after = server.client(0);
        assert_eq!(server.text(after, "GET k"), "v");
        assert_eq!(server.info(after, "clients", "connected_clients"), "1");
        server.send(after, &["CLIENT KILL 127.0.0.1:10006", "PING"]);
        assert_eq!(server.received(after), [Value::simple("OK")]);
        assert!(!server.simulation.is_connected(after));
    }
}

#[test]
fn a_pause_holds_commands_back_until_it_ends() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let (admin, one, other) = (server.client(0), server.client(1), server.client(2));
        assert_eq!(server.text(one, "SET k 0"), OK);
        assert_eq!(server.text(admin, "CLIENT PAUSE 1000 WRITE"), OK);
        // Reads continue; a write waits, and the requests after it too.
        assert_eq!(server.text(one, "GET k"), "0");
        server.send(one, &["GET k", "INCR k", "GET k"]);
        server.send(other, &["MSET a 1 b 2 c 3", "PING"]);
        assert_eq!(server.received(one), [Value::bulk("0")]);
        assert_eq!(server.received(other), []);
        assert_eq!(server.info(admin, "clients", "blocked_clients"), "2");
        assert_eq!(server.info(admin, "clients", "paused_actions"), "write");
        // More input does not overtake.
        server.send(one, &["GET k"]);
        assert_eq!(server.received(one), []);
        server.simulation.advance_ms(990);
        server.simulation.settle();
        assert_eq!(server.received(one), []);
        server.simulation.advance_ms(20);
        server.simulation.settle();
        let expected = [Value::Integer(1), Value::bulk("1"), Value::bulk("1")];
        assert_eq!(server.received(one), expected);
        assert_eq!(server.received(other), [Value::simple("OK"), Value::simple("PONG")]);
        assert_eq!(server.info(admin, "clients", "paused_reason"), "none");

        // UNPAUSE ends it at once.
        assert_eq!(server.text(admin, "CLIENT PAUSE 100000 WRITE"), OK);
        server.send(one, &["INCR k"]);
        assert_eq!(server.received(one), []);
        assert_eq!(server.text(admin, "CLIENT UNPAUSE"), OK);
        assert_eq!(server.received(one), [Value::Integer(2)]);

        // The longer time and the stricter mode apply; all clients wait, as in Redis.
        assert_eq!(server.text(admin, "CLIENT PAUSE 500 WRITE"), OK);
        assert_eq!(server.text(admin, "CLIENT PAUSE 100 ALL"), OK);
        server.send(one, &["GET k"]);
        server.send(admin, &["CLIENT UNPAUSE"]);
        server.simulation.advance_ms(400);
        server.simulation.settle();
        assert_eq!(server.received(one), []);
        server.simulation.advance_ms(200);
        server.simulation.settle();
        assert_eq!(server.received(one), [Value::bulk("2")]);
        assert_eq!(server.received(admin), [Value::simple("OK")]);
    }
}

#[test]
fn a_held_session_can_be_killed_or_end() {
    let mut server = Server::new(4);
    let (admin, held, ended) = (server.client(0), server.client(1), server.client(2));
    assert_eq!(server.text(admin, "CLIENT PAUSE 1000 WRITE"), OK);
    server.send(held, &["SET k held"]);
    server.send(ended, &["SET k ended"]);
    server.simulation.end_input(ended);
    server.simulation.settle();
    assert!(server.simulation.is_connected(ended));
    let list = server.text(admin, "CLIENT LIST FLAGS b");
    assert_eq!(list.lines().count(), 2, "{list}");
    assert_eq!(server.text(admin, "CLIENT KILL ADDR 127.0.0.1:10001"), "1");
    assert!(!server.simulation.is_connected(held));
    assert_eq!(server.text(admin, "CLIENT UNPAUSE"), OK);
    assert_eq!(server.received(ended), [Value::simple("OK")]);
    assert!(!server.simulation.is_connected(ended));
    assert_eq!(server.text(admin, "GET k"), "ended");
}

/// So that a replica that catches up has what its primary has.
#[test]
fn reads_in_a_pause_find_nothing_expired_and_remove_nothing() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let (client, watcher) = (server.client(0), server.client(1));
        for number in 0..20 {
            server.text(client, &format!("SET k{number} v PX 100"));
        }
        server.text(watcher, "WATCH k5");
        assert_eq!(server.text(client, "CLIENT PAUSE 1000 WRITE"), OK);
        server.simulation.advance_ms(500);
        server.simulation.settle();
        for number in 0..20 {
            let key = format!("k{number}");
            assert_eq!(server.ask(client, &format!("GET {key}")), Value::Null);
            assert_eq!(server.text(client, &format!("EXISTS {key}")), "0");
            assert_eq!(server.text(client, &format!("TTL {key}")), "-2");
            assert_eq!(server.text(client, &format!("STRLEN {key}")), "0");
            assert_eq!(server.text(client, &format!("TYPE {key}")), "none");
            assert_eq!(server.text(client, &format!("MEMORY USAGE {key}")), "(nil)");
        }
        server.send(client, &["MGET k0 k1 k2", "TOUCH k0 k1 k2", "SCAN 0 COUNT 1000", "RANDOMKEY"]);
        server.received(client);
        assert_eq!(server.text(client, "DBSIZE"), "20", "nothing is removed with {shards} shards");
        assert_eq!(server.info(client, "stats", "expired_keys"), "0");
        // An EXEC that only reads goes on; what it watched has expired.
        server.text(watcher, "MULTI");
        server.text(watcher, "GET k5");
        assert_eq!(server.ask(watcher, "EXEC"), Value::Null);
        assert_eq!(server.text(client, "DBSIZE"), "20");
        // What changes a key waits for the end, and finds it gone.
        server.send(client, &["APPEND k0 x"]);
        assert_eq!(server.received(client), []);
        server.simulation.advance_ms(600);
        server.simulation.settle();
        assert_eq!(server.received(client), [Value::Integer(1)]);
        assert_eq!(server.text(client, "DBSIZE"), "1");
        assert_eq!(server.info(client, "stats", "expired_keys"), "20");
        server.text(client, "SET other v PX 100");
        server.simulation.advance_ms(200);
        assert_eq!(server.ask(client, "GET other"), Value::Null, "reads remove again");
        assert_eq!(server.text(client, "DBSIZE"), "1");
    }
}

#[test]
fn nothing_expires_in_a_pause() {
    let mut server = Server::new(4);
    let client = server.client(0);
    for number in 0..50 {
        server.text(client, &format!("SET k{number} v PX 100"));
    }
    assert_eq!(server.text(client, "CLIENT PAUSE 1000 WRITE"), OK);
    server.simulation.advance_ms(500);
    server.simulation.settle();
    assert_eq!(server.text(client, "DBSIZE"), "50");
    server.simulation.advance_ms(600);
    server.simulation.settle();
    assert_eq!(server.text(client, "DBSIZE"), "0");
    assert_eq!(server.info(client, "stats", "expired_keys"), "50");
}

#[test]
fn no_touch_leaves_no_trace_of_use() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.client(0);
        let keys = ["a", "b", "c", "d"];
        for key in keys {
            server.text(client, &format!("SET {key} v"));
        }
        server.simulation.advance_ms(100_000);
        assert_eq!(server.text(client, "CLIENT NO-TOUCH ON"), OK);
        assert!(server.text(client, "CLIENT INFO").contains(" flags=T "));
        let ages = |server: &mut Server| {
            keys.map(|k| server.text(client, &format!("OBJECT IDLETIME {k}")))
        };
        for key in keys {
            assert_eq!(server.text(client, &format!("GET {key}")), "v");
        }
        server.ask(client, "MGET a b c d");
        assert_eq!(ages(&mut server), ["100", "100", "100", "100"]);
        assert_eq!(server.text(client, "TOUCH a"), "1");
        server.text(client, "SET b w");
        assert_eq!(ages(&mut server), ["0", "0", "100", "100"]);
        assert_eq!(server.text(client, "CLIENT NO-TOUCH OFF"), OK);
        server.text(client, "GET c");
        assert_eq!(ages(&mut server), ["0", "0", "0", "100"]);
    }
}

#[test]
fn settings_change_everywhere_or_nowhere() {
    let mut server = Server::new(4);
    let clients: Vec<ClientId> = (0..4).map(|core| server.client(core)).collect();
    for (index, &client) in clients.iter().enumerate() {
        let line = format!("CONFIG SET timeout {} maxmemory {}mb", 10 + index, 100 + index);
        assert_eq!(server.text(client, &line), OK);
        for &other in &clients {
            let Value::Array(pairs) = server.ask(other, "CONFIG GET timeout maxmemory") else {
                panic!("a list")
            };
            assert_eq!(pairs[1], Value::bulk((10 + index).to_string()));
            assert_eq!(pairs[3], Value::bulk(((100 + index) << 20).to_string()));
        }
    }
    let refused = server.text(clients[2], "CONFIG SET timeout 99 hz nonsense");
    assert!(refused.starts_with("ERR CONFIG SET failed (possibly related to argument 'hz')"));
    assert!(server.text(clients[2], "CONFIG SET dir /").contains("can't set protected config"));
    assert_eq!(
        server.text(clients[2], "CONFIG SET timeout"),
        "ERR wrong number of arguments for 'config|set' command"
    );
    assert_eq!(server.text(clients[2], "CONFIG SET timeout 1 x"), "ERR syntax error");
    let Value::Array(pairs) = server.ask(clients[0], "CONFIG GET timeout") else { panic!() };
    assert_eq!(pairs[1], Value::bulk("13"));

    // Concurrent changes from different shards: all of them apply, everywhere.
    for round in 0..50 {
        let names = ["timeout", "hz", "lfu-log-factor", "lfu-decay-time"];
        for (&client, name) in clients.iter().zip(names) {
            let mut bytes = Vec::new();
            encode_request(&words(&format!("CONFIG SET {name} {}", round + 1)), &mut bytes);
            server.simulation.send(client, &bytes);
        }
        server.simulation.settle();
        for &client in &clients {
            assert_eq!(server.received(client), [Value::simple("OK")]);
            let line = format!("CONFIG GET {}", names.join(" "));
            let Value::Array(pairs) = server.ask(client, &line) else { panic!("a list") };
            let wanted = Value::bulk((round + 1).to_string());
            assert!(pairs.iter().skip(1).step_by(2).all(|value| *value == wanted), "{pairs:?}");
        }
    }
}

#[test]
fn info_tells_of_all_shards() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.client(0);
        server.client(3);
        for number in 0..40 {
            server.text(client, &format!("SET k{number} v"));
            server.text(client, &format!("GET k{number}"));
            server.text(client, &format!("GET none{number}"));
        }
        server.text(client, "EXPIRE k1 100");
        server.text(client, "SELECT 3");
        server.text(client, "SET other v");
        server.text(client, "INCR other");
        server.text(client, "NONSENSE");
        let keyspace = server.text(client, "INFO keyspace");
        assert_eq!(
            keyspace,
            "# Keyspace\r\ndb0:keys=40,expires=1,avg_ttl=100000\r\ndb3:keys=1,expires=0,avg_ttl=0\r\n"
        );
        for (section, field, value) in [
            ("stats", "keyspace_hits", "40"),
            ("stats", "keyspace_misses", "40"),
            ("stats", "total_error_replies", "2"),
            ("stats", "total_connections_received", "2"),
            ("errorstats", "errorstat_ERR", "count=2"),
            ("clients", "connected_clients", "2"),
            ("server", "redis_mode", "standalone"),
            ("server", "redis_version", "7.4.0"),
            ("replication", "role", "master"),
            ("cluster", "cluster_enabled", "0"),
            ("memory", "maxmemory_policy", "noeviction"),
        ] {
            assert_eq!(server.info(client, section, field), value, "{field}, {shards} shards");
        }
        let commands: u64 =
            server.info(client, "stats", "total_commands_processed").parse().unwrap();
        assert!(commands >= 124, "{commands}");
        let whole = server.text(client, "INFO");
        for field in ["used_memory", "used_memory_peak", "used_memory_rss", "uptime_in_seconds"] {
            assert!(whole.contains(&format!("\n{field}:")), "{field}");
        }
        assert!(
            whole
                .lines()
                .all(|line| { line.is_empty() || line.starts_with("# ") || line.contains(':') })
        );
        assert_eq!(whole, whole.trim_start());
        assert_eq!(server.text(client, "INFO nonsense"), "");
        let two = server.text(client, "INFO cluster keyspace");
        assert!(two.starts_with("# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\n"), "{two}");
        server.ask(client, "HELLO 3");
        assert!(
            matches!(server.ask(client, "INFO"), Value::Verbatim { format, .. } if &format == b"txt")
        );
        assert_eq!(server.text(client, "CONFIG RESETSTAT"), OK);
        assert_eq!(server.info(client, "stats", "keyspace_hits"), "0");
        assert_eq!(server.info(client, "stats", "total_error_replies"), "0");
    }
}

#[test]
fn the_peak_of_memory_is_remembered() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.client(0);
        server.text(client, "DEBUG POPULATE 1000 k 1000");
        for _ in 0..shards {
            server.simulation.advance_ms(200);
            server.simulation.settle();
        }
        server.text(client, "FLUSHALL");
        let peak: u64 = server.info(client, "memory", "used_memory_peak").parse().unwrap();
        let used: u64 = server.info(client, "memory", "used_memory").parse().unwrap();
        assert!(peak > 1_000_000 && used < 500_000, "{used} of {peak} bytes");
    }
}

#[test]
fn a_rate_is_told() {
    let mut server = Server::new(4);
    let client = server.client(0);
    for _ in 0..30 {
        server
            .send(client, &["GET a", "GET b", "GET c", "GET d", "GET e", "GET f", "GET g", "PING"]);
        assert_eq!(server.received(client).len(), 8);
        server.simulation.advance_ms(100);
    }
    let rate: u64 = server.info(client, "stats", "instantaneous_ops_per_sec").parse().unwrap();
    assert!((60..=100).contains(&rate), "{rate} requests per second");
}

/// What redis-server 7.0.15 answers to DEBUG DIGEST after the same commands.
#[test]
fn digests_are_those_of_redis() {
    const COMMANDS: [&str; 10] = [
        "SET text hello",
        "SET number 12345",
        "SET other -7",
        "SET mortal v PX 100000000",
        "APPEND appended ab",
        "SETRANGE ranged 3 xyz",
        "MSET a 1 b 2 c 3 d 4",
        "DEBUG POPULATE 100 pre 40",
        "SELECT 9",
        "SET text elsewhere",
    ];
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.client(1);
        assert_eq!(server.text(client, "DEBUG DIGEST"), "0".repeat(40));
        for line in COMMANDS {
            server.ask(client, line);
        }
        assert_eq!(server.text(client, "DEBUG DIGEST"), "ac96851f86812af6fcee9ac777c8e9d830c206ef");
        server.text(client, "SELECT 0");
        let values = server.ask(client, "DEBUG DIGEST-VALUE text number mortal none pre:7");
        let digests = [
            "36b23a1456b2dce2c3ed252c456761301dba8060",
            "e1cf90774e995ae03de66e8109dc5cb9d9c2dc83",
            "311b17018163335616e089f6b951c82c477335ac",
            "0000000000000000000000000000000000000000",
            "50a2aa90f82fb7c1897c361f2dace82684d6d2f3",
        ];
        assert_eq!(values, Value::Array(digests.map(Value::simple).to_vec()));
    }
}

#[test]
fn debug_is_for_those_who_may() {
    const REFUSED: &str = "ERR DEBUG command not allowed.";
    let mut simulation = Simulation::new(1, Config::default(), 3);
    let client = simulation.connect(0);
    simulation.send(client, b"DEBUG DIGEST\r\nPING\r\n");
    simulation.settle();
    let replies = values(&simulation.take_received(client));
    let refusal = String::from_utf8_lossy(replies[0].as_bytes().unwrap()).into_owned();
    assert!(refusal.starts_with(REFUSED), "{refusal}");
    assert_eq!(replies[1], Value::simple("PONG"));

    let mut server = Server::new(4);
    let client = server.client(0);
    assert_eq!(server.text(client, "DEBUG ERROR boo"), "boo");
    assert_eq!(server.text(client, "DEBUG OBJECT none"), "ERR no such key");
    server.text(client, "SET k v");
    let line = server.text(client, "DEBUG OBJECT k");
    assert!(line.starts_with("Value at:0x"), "{line}");
    assert!(line.contains(" refcount:1 encoding:embstr serializedlength:2 lru:"), "{line}");
    assert_eq!(server.text(client, "DEBUG POPULATE 1000 p 4"), OK);
    assert_eq!(server.text(client, "DBSIZE"), "1001");
    assert_eq!(server.text(client, "GET p:999"), "valu");
    assert_eq!(server.text(client, "DEBUG SET-ACTIVE-EXPIRE 0"), OK);
    server.text(client, "PEXPIRE p:1 10");
    server.simulation.advance_ms(100);
    server.simulation.settle();
    assert_eq!(server.text(client, "DBSIZE"), "1001");
    assert_eq!(server.text(client, "DEBUG SET-ACTIVE-EXPIRE 1"), OK);
    server.simulation.settle();
    assert_eq!(server.text(client, "DBSIZE"), "1000");
}

#[test]
fn a_reset_session_is_like_a_new_one() {
    let mut server = Server::new(4);
    let client = server.client(2);
    server.ask(client, "HELLO 3 SETNAME worker");
    for line in ["SELECT 4", "CLIENT NO-EVICT ON", "CLIENT NO-TOUCH ON"] {
        assert_eq!(server.text(client, line), OK);
    }
    assert!(server.text(client, "CLIENT INFO").contains(" flags=eT "));
    server.send(client, &["CLIENT REPLY OFF", "PING", "RESET"]);
    assert_eq!(server.received(client), [Value::simple("RESET")]);
    let line = server.text(client, "CLIENT INFO");
    for part in [" name= ", " flags=N ", " db=0 ", " resp=2 "] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn quit_is_the_last_that_is_answered() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.client(0);
        server.send(client, &["SET a 1", "GET a", "GET b", "QUIT", "SET a 2"]);
        let expected = [Value::simple("OK"), Value::bulk("1"), Value::Null, Value::simple("OK")];
        assert_eq!(server.received(client), expected);
        assert!(!server.simulation.is_connected(client));
        let next = server.client(0);
        assert_eq!(server.text(next, "GET a"), "1");
    }
}

#[test]
fn shutdown_goes_to_the_world() {
    let mut server = Server::new(4);
    let client = server.client(1);
    assert_eq!(server.text(client, "SHUTDOWN ABORT"), "ERR No shutdown in progress.");
    assert_eq!(server.text(client, "SHUTDOWN NOSAVE WHAT"), "ERR syntax error");
    assert!(server.simulation.shutdown().is_none());
    server.send(client, &["SHUTDOWN NOSAVE NOW", "PING"]);
    assert_eq!(server.received(client), []);
    let request = server.simulation.shutdown().expect("it was asked for");
    assert_eq!((request.save, request.now, request.force), (Some(false), true, false));
    let other = server.client(2);
    assert_eq!(server.text(other, "SHUTDOWN ABORT"), OK);
    assert!(server.simulation.shutdown().is_none());
}

#[test]
fn time_passes() {
    let mut server = Server::new(2);
    let client = server.client(0);
    let mut moment = || {
        let Value::Array(parts) = server.ask(client, "TIME") else { panic!("a pair") };
        let number = |value: &Value| -> u64 {
            String::from_utf8_lossy(value.as_bytes().unwrap()).parse().unwrap()
        };
        server.simulation.advance_ms(1500);
        number(&parts[0]) * 1_000_000 + number(&parts[1])
    };
    let (first, second) = (moment(), moment());
    assert!((1_500_000..1_600_000).contains(&(second - first)), "{first} {second}");
}

#[test]
fn hashes_are_imported_in_a_pipeline_wherever_they_are() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let (client, other) = (server.client(0), server.client(1));
        let mut lines = vec!["HIMPORT PREPARE f a b".to_owned()];
        lines.extend((0..60).map(|number| format!("HIMPORT SET key:{number} f {number} x")));
        lines.push("HIMPORT SET key:1 f 1".into());
        lines.push("HIMPORT PREPARE f c".into());
        lines.extend((30..90).map(|number| format!("HIMPORT SET key:{number} f {number}")));
        lines.push("CLIENT REPLY SKIP".into());
        lines.push("HIMPORT SET key:0 f skipped".into());
        lines.push("HIMPORT DISCARDALL".into());
        lines.push("HIMPORT SET key:1 f 1".into());
        server.send(client, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let received = server.received(client);
        let ok = Value::Simple(b"OK".to_vec());
        let is_error = |value: &Value| matches!(value, Value::Error(_));
        assert_eq!(received.len(), 1 + 60 + 2 + 60 + 2, "{shards} shards");
        assert!(received[..61].iter().all(|value| *value == ok));
        assert!(is_error(&received[61]) && received[62..123].iter().all(|value| *value == ok));
        assert_eq!(received[123], Value::Integer(1));
        assert!(is_error(&received[124]), "{received:?}");
        for (key, field, expected) in [
            ("key:0", "c", &b"skipped"[..]),
            ("key:29", "a", b"29"),
            ("key:30", "c", b"30"),
            ("key:89", "c", b"89"),
        ] {
            let found = server.ask(other, &format!("HGET {key} {field}"));
            assert_eq!(found, Value::Bulk(expected.to_vec()), "{key}");
        }
        assert_eq!(server.ask(other, "HLEN key:30"), Value::Integer(1), "all of it was replaced");
    }
}

/// LIMIT: the memory that a session may use on the server.
#[test]
fn fieldsets_are_bounded_and_told_of() {
    let limited = Config { client_query_buffer_limit: 1 << 20, ..Config::default() };
    let mut server = Server::with(1, limited);
    let client = server.client(0);
    let field = "f".repeat(100_000);
    let mut refused = 0;
    for number in 0..12 {
        match server.ask(client, &format!("HIMPORT PREPARE set{number} {field}")) {
            Value::Error(_) => refused += 1,
            other => assert_eq!(other, Value::Simple(b"OK".to_vec())),
        }
    }
    assert_eq!(refused, 2, "ten fit");
    let of_session = |server: &mut Server| {
        let info = server.ask(client, "CLIENT INFO");
        let info = String::from_utf8_lossy(info.as_bytes().expect("a text")).into_owned();
        let bytes = info.split("tot-mem=").nth(1).and_then(|rest| rest.split(' ').next());
        bytes.and_then(|bytes| bytes.parse::<u64>().ok()).expect("it is told")
    };
    assert!(of_session(&mut server) > 1_000_000);
    assert_eq!(server.ask(client, "HIMPORT DISCARD set3"), Value::Integer(1));
    assert_eq!(server.ask(client, "HIMPORT DISCARDALL"), Value::Integer(9));
    assert!(of_session(&mut server) < 700_000);
}

/// Monitors see the commands of an EXEC before the EXEC itself, wherever its keys and its client
/// are.
#[test]
fn monitors_see_an_execution_in_its_order() {
    for shards in 1..=4 {
        for home in 0..shards {
            let mut server = Server::new(shards);
            let monitor = server.client(0);
            server.send(monitor, &["MONITOR"]);
            server.received(monitor);
            let client = server.client(home);
            let mut requests = vec!["MULTI", "SELECT 5", "SET a 1", "DBSIZE"];
            let gets: Vec<String> = (0..8).map(|key| format!("GET k{key}")).collect();
            let last = &gets[home];
            requests.extend(gets.iter().map(String::as_str));
            requests.extend(["FLUSHDB", last, "EXEC"]);
            server.send(client, &requests);
            let lines = server.received(monitor).into_iter().map(|line| {
                let line = String::from_utf8_lossy(line.as_bytes().expect("a line")).into_owned();
                let (_, request) = line.split_once("] ").expect("an address comes before it");
                request.replace('"', "")
            });
            let lines: Vec<String> = lines.collect();
            assert_eq!(lines, requests, "{shards} shards, the client on {home}");
        }
    }
}
