//! How commands are called, on one shard and on four: what may refuse them, when they take the fast path, and
//! which moment holds within a transaction.

use basalt_commands::config::{Allowed, Config};
use basalt_keyspace::SlotId;
use basalt_resp::{Value, decode, encode_request};
use basalt_testkit::simulation::{ClientId, Simulation};

const SHARDS: [usize; 2] = [1, 4];

struct Server {
    simulation: Simulation,
    shards: usize,
}

impl Server {
    fn new(shards: usize) -> Self {
        Self::with_seed(shards, 5)
    }

    fn with_seed(shards: usize, seed: u64) -> Self {
        let config = Config { enable_debug_command: Allowed::Yes, ..Config::default() };
        Self { simulation: Simulation::new(shards, config, seed), shards }
    }

    fn send(&mut self, client: ClientId, lines: &[&str]) -> Vec<Value> {
        let mut bytes = Vec::new();
        for line in lines {
            encode_request(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>(), &mut bytes);
        }
        self.simulation.send(client, &bytes);
        self.simulation.settle();
        let (mut replies, received) = (Vec::new(), self.simulation.take_received(client));
        let mut rest = received.as_slice();
        while !rest.is_empty() {
            let (value, len) = decode(rest).expect("well-formed replies").expect("whole replies");
            replies.push(value);
            rest = &rest[len..];
        }
        replies
    }

    fn text(&mut self, client: ClientId, line: &str) -> String {
        match self.send(client, &[line]).remove(0) {
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

    /// A key with this beginning whose slot is that shard's.
    fn key_on(&self, shard: usize, beginning: &str) -> String {
        let shards = self.shards;
        let is_there =
            |key: &String| usize::from(SlotId::of_key(key.as_bytes()).0) * shards / 16_384 == shard;
        let mut keys = (0..).map(|number| format!("{beginning}{number}"));
        keys.find(is_there).expect("each shard has slots")
    }
}

#[test]
fn the_same_command_is_refused_whichever_connection_sends_it() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let clients: Vec<ClientId> = (0..4).map(|core| server.simulation.connect(core)).collect();
        assert_eq!(server.text(clients[0], "CONFIG SET maxmemory 20mb"), "OK");
        // One connection fills one shard, which is not its own where there are several.
        let full = server.key_on(shards - 1, "full");
        let tag = format!("{{{full}}}");
        let value = "x".repeat(100 << 10);
        let mut written = 0;
        while server.text(clients[0], &format!("SET {tag}{written} {value}")) == "OK" {
            written += 1;
            assert!(written < 400, "twenty megabytes are never full");
        }
        assert!((150..=205).contains(&written), "{written} of 100 KiB each, {shards} shards");
        for shard in 0..shards {
            let key = server.key_on(shard, "other");
            let other = server.key_on((shard + 1) % shards, "another");
            for &client in &clients {
                let lines = [
                    format!("SET {key} v"),
                    format!("MSET {key} v {other} v"),
                    format!("MSETNX {key} v {other} v"),
                    format!("LPUSH {key} v"),
                ];
                for line in lines {
                    let reply = server.text(client, &line);
                    assert!(reply.starts_with("OOM command not allowed"), "{line}: {reply}");
                }
                assert_eq!(server.text(client, &format!("EXISTS {key} {other}")), "0");
            }
        }
        // What frees memory, and what only reads, is let through; then there is room again.
        assert_eq!(server.text(clients[1], &format!("DEL {tag}0")), "1");
        assert_eq!(server.text(clients[2], &format!("DEL {tag}1")), "1");
        for &client in &clients {
            assert_eq!(server.text(client, &format!("SET {tag}small v")), "OK");
        }
    }
}

#[test]
fn a_refusal_for_memory_counts_as_rejected() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        let keys: Vec<String> = (0..shards).map(|shard| server.key_on(shard, "key")).collect();
        for key in &keys {
            assert_eq!(server.text(client, &format!("SET {key} v")), "OK");
        }
        assert_eq!(server.text(client, "CONFIG SET maxmemory 1"), "OK");
        for key in &keys {
            assert!(server.text(client, &format!("SET {key} w")).starts_with("OOM "));
        }
        let info = server.text(client, "INFO commandstats");
        let line = info.lines().find(|line| line.starts_with("cmdstat_set:")).expect("SET ran");
        assert!(line.starts_with(&format!("cmdstat_set:calls={shards},")), "{line}");
        assert!(line.contains(&format!("rejected_calls={shards},failed_calls=0")), "{line}");
        assert_eq!(server.text(client, "INFO errorstats").matches("errorstat_OOM").count(), 1);
    }
}

#[test]
fn a_transaction_is_refused_when_queued_and_when_run() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let (client, other) = (server.simulation.connect(0), server.simulation.connect(1));
        let keys = [server.key_on(0, "a"), server.key_on(shards - 1, "b")];
        let set = keys.clone().map(|key| format!("SET {key} v"));
        server.send(client, &["MULTI", &set[0], &set[1]]);
        server.text(other, "SET full v");
        assert_eq!(server.text(other, "CONFIG SET maxmemory 1"), "OK");
        let refusal = "EXECABORT Transaction discarded because of: OOM command not allowed when used \
                       memory > 'maxmemory'.";
        assert_eq!(server.text(client, "EXEC"), refusal);
        assert_eq!(server.text(client, &format!("EXISTS {} {}", keys[0], keys[1])), "0");

        let replies = server.send(client, &["MULTI", "GET full", &set[0], "EXEC"]);
        assert_eq!(replies[1], Value::simple("QUEUED"));
        assert!(matches!(&replies[2], Value::Error(text) if text.starts_with(b"OOM ")));
        assert!(matches!(&replies[3], Value::Error(text) if text.starts_with(b"EXECABORT ")));
        // What is queued before the limit falls runs whole, also behind it.
        server.text(other, "CONFIG SET maxmemory 0");
        let replies =
            server.send(client, &["MULTI", "CONFIG SET maxmemory 1", &set[0], &set[1], "EXEC"]);
        assert_eq!(replies[4], Value::Array(vec![Value::simple("OK"); 3]));
    }
}

/// Room is made when EXEC runs, on the shards that it writes, and not when its commands are queued.
#[test]
fn queued_commands_evict_nothing() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        let value = "x".repeat(1000);
        for index in 0..300 {
            server.text(client, &format!("SET fill:{index} {value}"));
        }
        server.text(client, "CONFIG SET maxmemory-policy allkeys-random");
        let key = server.key_on(shards - 1, "queued");
        let set = format!("SET {key} v");
        server.text(client, &set);
        let mut maxmemory = server.count(client, "used_memory");
        loop {
            // By less than is tolerated between writes.
            maxmemory -= 40;
            assert_eq!(server.text(client, &format!("CONFIG SET maxmemory {maxmemory}")), "OK");
            // Counted so that no long reply is in the way.
            let before = server.text(client, "DBSIZE");
            let replies = server.send(client, &["MULTI", &set, &set, "DISCARD"]);
            assert_eq!(replies[2], Value::simple("QUEUED"));
            assert_eq!(server.text(client, "DBSIZE"), before, "{shards} shards");
            server.send(client, &["MULTI", &set, "EXEC"]);
            if server.text(client, "DBSIZE") != before {
                break;
            }
        }
    }
}

/// A command that may wait is refused for memory where its keys are, and only when it comes.
#[test]
fn commands_that_wait_are_refused_for_memory_when_they_come() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let (client, waiting) = (server.simulation.connect(0), server.simulation.connect(1));
        let (far, near) = (server.key_on(shards - 1, "far"), server.key_on(0, "near"));
        for (tag, other) in [(&near, &near), (&far, &far), (&near, &far)] {
            let (from, to) = (format!("{{{tag}}}from"), format!("{{{other}}}to"));
            server.send(client, &["CONFIG SET maxmemory 0", "FLUSHALL", "SET full v"]);
            assert!(server.send(waiting, &[&format!("BLMOVE {from} {to} LEFT LEFT 0")]).is_empty());
            server.send(client, &[&format!("RPUSH {{{tag}}}other a b")]);
            server.text(client, "CONFIG SET maxmemory 1");
            let refused = [
                format!("BLMOVE {{{tag}}}other {to} LEFT LEFT 0"),
                format!("BRPOPLPUSH {{{tag}}}absent {to} 0"),
                format!("BLMOVEM {{{tag}}}other {to} LEFT LEFT 0 COUNT 2 BULK"),
            ];
            for line in refused {
                let reply = server.text(client, &line);
                assert!(reply.starts_with("OOM command not allowed"), "{line}: {reply}");
            }
            // What only takes away is let through.
            assert_eq!(server.send(client, &[&format!("BLPOP {{{tag}}}other 0")]).len(), 1);
            // So is one that came before, once it is fed.
            server.send(client, &[&format!("RENAME {{{tag}}}other {from}")]);
            assert_eq!(server.simulation.take_received(waiting), b"$1\r\nb\r\n");
            assert_eq!(server.text(client, &format!("LLEN {to}")), "1");
        }
    }
}

/// What a transaction found stays while it goes on, though it expires and others read it then.
#[test]
fn nothing_expires_within_a_transaction_because_others_read_it() {
    for (shards, seed) in
        [2, 4].into_iter().flat_map(|shards| (0..20).map(move |seed| (shards, seed)))
    {
        let mut server = Server::with_seed(shards, seed);
        let (client, reader) = (server.simulation.connect(0), server.simulation.connect(1));
        let (far, near) = (server.key_on(shards - 1, "far"), server.key_on(0, "near"));
        server.send(client, &[&format!("RPUSH {near} a b"), &format!("SET {far} v PX 20")]);
        let copy = format!("COPY {near} {{{far}}}copy REPLACE");
        let get = format!("GET {far}");
        let mut lines = vec!["MULTI"];
        for _ in 0..30 {
            lines.extend([get.as_str(), copy.as_str()]);
        }
        lines.push("EXEC");
        let mut bytes = Vec::new();
        for line in &lines {
            encode_request(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>(), &mut bytes);
        }
        server.simulation.send(client, &bytes);
        let mut get_bytes = Vec::new();
        encode_request(&[b"GET", far.as_bytes()], &mut get_bytes);
        for _ in 0..60 {
            server.simulation.step();
            server.simulation.send(reader, &get_bytes);
            server.simulation.advance_ms(1);
        }
        server.simulation.settle();
        let received = server.simulation.take_received(client);
        let text = String::from_utf8_lossy(&received);
        let (values, absent) = (text.matches("$1\r\nv").count(), text.matches("$-1").count());
        assert!(values == 0 || absent == 0, "seed {seed}, {shards} shards: {values} and {absent}");
    }
}

/// What a limit leaves out of a count is not carried between shards, and changes nothing of the count.
#[test]
fn counts_up_to_a_limit_are_right_over_shards() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        let keys: Vec<String> = (0..4).map(|at| server.key_on(at % shards, "s")).collect();
        let keys: Vec<String> = (0..4).map(|at| format!("{{{}}}{at}", keys[at])).collect();
        // The first has 3,000 members, a fifth of which all others but the last have.
        for (key, step) in keys.iter().zip([1, 5, 1, 3]) {
            let members = (0..3000).step_by(step).map(|number| format!(" member:{number}"));
            server.text(client, &format!("SADD {key}{}", members.collect::<String>()));
        }
        let count = |server: &mut Server, line: &str| server.text(client, line);
        let [a, b, c, d] = <[String; 4]>::try_from(keys).expect("four");
        for limit in [0, 1, 255, 256, 257, 599, 600, 601, 5000] {
            let expected = |all: usize| if limit == 0 { all } else { all.min(limit) }.to_string();
            let line = format!("SINTERCARD 3 {a} {b} {c} LIMIT {limit}");
            assert_eq!(count(&mut server, &line), expected(600), "{line}, {shards} shards");
            let line = format!("SINTERCARD 4 {d} {a} {b} {c} LIMIT {limit}");
            assert_eq!(count(&mut server, &line), expected(200), "{line}, {shards} shards");
            let line = format!("SDIFFCARD 3 {a} {b} {d} LIMIT {limit}");
            assert_eq!(count(&mut server, &line), expected(1600), "{line}, {shards} shards");
            let line = format!("SUNIONCARD 3 {b} {d} {b} LIMIT {limit}");
            assert_eq!(count(&mut server, &line), expected(1400), "{line}, {shards} shards");
        }
    }
}

/// However much is taken of the first key that has anything.
#[test]
fn what_is_taken_of_the_first_key_is_the_same_over_shards() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        let (near, far) = (server.key_on(0, "near"), server.key_on(shards - 1, "far"));
        for count in [1, 3, 2000] {
            let names = (0..count).map(|at| format!("{at:040}"));
            let elements: String = names.clone().map(|name| format!(" {name}")).collect();
            let pairs: String =
                names.enumerate().map(|(at, name)| format!(" {at} {name}")).collect();
            for command in ["LMPOP 2", "BLMPOP 0 2"] {
                server.text(client, &format!("RPUSH {far}{elements}"));
                let line = format!("{command} {near} {far} LEFT COUNT {count}");
                let Value::Array(parts) = server.send(client, &[&line]).remove(0) else {
                    panic!("{line}")
                };
                let Value::Array(taken) = &parts[1] else { panic!("{line}") };
                assert_eq!((taken.len(), &taken[0]), (count, &Value::bulk(format!("{:040}", 0))));
                assert_eq!(server.text(client, &format!("EXISTS {far}")), "0");
            }
            for command in ["ZMPOP 2", "BZMPOP 0 2"] {
                server.text(client, &format!("ZADD {far}{pairs}"));
                let line = format!("{command} {near} {far} MAX COUNT {count}");
                let Value::Array(parts) = server.send(client, &[&line]).remove(0) else {
                    panic!("{line}")
                };
                let Value::Array(taken) = &parts[1] else { panic!("{line}") };
                assert_eq!(taken.len(), count);
                assert_eq!(server.text(client, &format!("EXISTS {far}")), "0");
            }
        }
    }
}

#[test]
fn no_feature_ends_the_fast_path() {
    let features = [
        "CONFIG SET maxmemory 10gb",
        "CONFIG SET slowlog-log-slower-than 0",
        "CONFIG SET latency-monitor-threshold 1",
        "CONFIG SET latency-tracking yes",
        "CLIENT NO-TOUCH ON",
        "CLIENT NO-EVICT ON",
        "CLIENT TRACKING ON",
        "CLIENT TRACKING ON OPTIN",
        "CLIENT TRACKING ON OPTOUT NOLOOP",
        "CLIENT TRACKING ON BCAST",
    ];
    for shards in SHARDS {
        for with in [None].into_iter().chain(features.map(Some)) {
            let mut server = Server::new(shards);
            let (client, monitor) = (server.simulation.connect(0), server.simulation.connect(1));
            match with {
                None => assert_eq!(server.text(monitor, "MONITOR"), "OK"),
                Some(line) => assert_eq!(server.text(client, line), "OK"),
            }
            let before = server.count(client, "fast_path_commands");
            for index in 0..20 {
                let lines = [format!("SET key:{index} v"), format!("GET key:{index}")];
                server.send(client, &[&lines[0], &lines[1]]);
            }
            let after = server.count(client, "fast_path_commands");
            assert_eq!(after - before, 40, "{with:?} on {shards} shards");
        }
        // Nor does a client that waits for keys of several shards.
        let mut server = Server::new(shards);
        let (client, waiting) = (server.simulation.connect(0), server.simulation.connect(0));
        let keys = [server.key_on(0, "list"), server.key_on(shards - 1, "other")];
        let line = format!("BLPOP {} {} 0", keys[0], keys[1]);
        assert!(server.send(waiting, &[&line]).is_empty());
        let before = server.count(client, "fast_path_commands");
        for index in 0..20 {
            server.send(client, &[&format!("SET key:{index} v"), &format!("INCR n:{index}")]);
        }
        let line = format!("RPUSH {} a", keys[0]);
        assert_eq!(server.send(client, &[&line]), [Value::Integer(1)]);
        let after = server.count(client, "fast_path_commands");
        assert_eq!(after - before, 41, "on {shards} shards");
        // Some settings of a session do, since they change what is replied.
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        server.send(client, &["CLIENT REPLY SKIP", "SET key:0 v"]);
        assert_eq!(server.count(client, "fast_path_commands"), 0);
    }
}

/// What reads on the fast path is tracked, on whichever shard: once per CLIENT CACHING where that is asked for.
#[test]
fn tracked_reads_take_the_fast_path() {
    const KEYS: usize = 20;
    let tracked_by = |server: &mut Server, (client, other), turn: usize, lines: &[&str]| {
        let before = server.count(other, "fast_path_commands");
        let keys: Vec<String> = (0..KEYS).map(|index| format!("key:{turn}:{index}")).collect();
        for key in &keys {
            let line = format!("GET {key}");
            let all: Vec<&str> = lines.iter().copied().chain([&*line, &*line]).collect();
            server.send(client, &all);
        }
        let after = server.count(other, "fast_path_commands");
        assert_eq!(after - before, 2 * KEYS as u64, "of {lines:?}");
        server.count(other, "tracking_total_keys") as usize
    };
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let (client, writer) = (server.simulation.connect(0), server.simulation.connect(1));
        server.send(client, &["HELLO 3", "CLIENT TRACKING ON"]);
        assert_eq!(tracked_by(&mut server, (client, writer), 0, &[]), KEYS);
        for index in 0..KEYS {
            server.text(writer, &format!("SET key:0:{index} v"));
        }
        let pushes = server.send(client, &[]);
        assert!(pushes.len() == KEYS && pushes.iter().all(|push| matches!(push, Value::Push(_))));
        server.send(client, &["CLIENT TRACKING OFF", "CLIENT TRACKING ON OPTIN"]);
        assert_eq!(tracked_by(&mut server, (client, writer), 1, &[]), 0);
        assert_eq!(tracked_by(&mut server, (client, writer), 2, &["CLIENT CACHING YES"]), KEYS);
        server.send(client, &["CLIENT CACHING YES", "GET one", "GET other"]);
        assert_eq!(server.count(writer, "tracking_total_keys"), KEYS as u64 + 1);
        server.send(client, &["CLIENT TRACKING OFF", "CLIENT TRACKING ON OPTOUT"]);
        server.send(client, &["CLIENT CACHING NO", "GET not-this", "GET this"]);
        assert_eq!(server.count(writer, "tracking_total_keys"), KEYS as u64 + 2);
    }
}

#[test]
fn a_monitor_sees_the_fast_path_in_order() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let (client, monitor) = (server.simulation.connect(0), server.simulation.connect(1));
        server.text(monitor, "MONITOR");
        let sent: Vec<String> = (0..50).map(|index| format!("SET key:{index} v")).collect();
        server.send(client, &sent.iter().map(String::as_str).collect::<Vec<_>>());
        let lines = server.send(monitor, &[]);
        let shown = lines.iter().map(|line| match line {
            Value::Simple(line) => String::from_utf8_lossy(line).into_owned(),
            other => panic!("{other:?} is no line"),
        });
        let shown: Vec<String> = shown.collect();
        assert_eq!(shown.len(), sent.len());
        for (line, index) in shown.iter().zip(0..) {
            assert!(line.ends_with(&format!("\"SET\" \"key:{index}\" \"v\"")), "{line}");
        }
        // It may not touch data itself.
        let refused = server.send(monitor, &["GET key:0"]);
        let Some(Value::Error(text)) = refused.last() else { panic!("{refused:?}") };
        assert_eq!(text, b"ERR Replica can't interact with the keyspace");
    }
}

#[test]
fn slow_log_and_latency_keep_what_took_the_fast_path() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        let keys: Vec<String> = (0..shards).map(|shard| server.key_on(shard, "key")).collect();
        server.text(client, "CONFIG SET slowlog-log-slower-than 0");
        server.text(client, "SLOWLOG RESET");
        for key in &keys {
            server.text(client, &format!("SET {key} v"));
        }
        let Value::Array(entries) = server.send(client, &["SLOWLOG GET 100"]).remove(0) else {
            panic!("SLOWLOG GET replies with a list")
        };
        let shown = format!("{entries:?}");
        for key in &keys {
            assert!(shown.contains(&format!("{:?}", Value::bulk(key))), "{key} on {shards} shards");
        }
    }
}

#[test]
fn only_what_crosses_counts_as_of_another_shard() {
    let mut server = Server::new(2);
    let client = server.simulation.connect(0);
    let (own, other) = (server.key_on(0, "own"), server.key_on(1, "other"));
    let (get_own, get_other) = (format!("GET {own}"), format!("GET {other}"));
    let count = |server: &mut Server| server.count(client, "commands_from_other_shards");
    let expect = |server: &mut Server, lines: &[&str], crossing: u64| {
        let before = count(server);
        server.send(client, lines);
        assert_eq!(count(server) - before, crossing, "{lines:?}");
    };
    expect(&mut server, &[&get_own], 0);
    expect(&mut server, &[&get_other], 1);
    expect(&mut server, &["MULTI", &get_own, &get_own, "EXEC"], 0);
    expect(&mut server, &["MULTI", &get_own, &get_other, "EXEC"], 1);
    expect(&mut server, &["MULTI", &get_other, &get_other, "EXEC"], 2);
    expect(&mut server, &["MULTI", &get_own, "PING", "EXEC"], 0);
    expect(&mut server, &["MULTI", &get_other, "PING", "EXEC"], 1);
    expect(&mut server, &[&format!("MGET {own} {other}")], 1);
    expect(&mut server, &["CLIENT REPLY SKIP", &get_own], 0);
}

#[test]
fn a_transaction_has_one_moment_on_all_shards() {
    for shards in [1, 2, 4] {
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        let far = server.key_on(shards - 1, "w");
        let list = server.key_on(0, "s");
        server.send(client, &[&format!("RPUSH {list} 3 1 2")]);
        let lines = [
            "MULTI".to_owned(),
            format!("SET {far} v PX 5"),
            // Longer than the key lives.
            "DEBUG SLEEP 0.05".to_owned(),
            format!("SORT {list}"),
            format!("GET {far}"),
            format!("PTTL {far}"),
            format!("OBJECT ENCODING {far}"),
            "EXEC".to_owned(),
        ];
        let replies = server.send(client, &lines.iter().map(String::as_str).collect::<Vec<_>>());
        let Some(Value::Array(replies)) = replies.last() else { panic!("{replies:?}") };
        assert_eq!(replies[3], Value::bulk("v"), "on {shards} shards");
        assert_eq!(replies[4], Value::Integer(5));
        assert_eq!(replies[5], Value::bulk("embstr"));
        // And then it is gone.
        server.simulation.advance_ms(10);
        server.simulation.settle();
        assert_eq!(server.text(client, &format!("EXISTS {far}")), "0");
    }
}

/// A transaction's commands over several keys of one shard are plain calls: their reply comes in the turn in which
/// EXEC came, in one visit. Over shards they give the same.
#[test]
fn commands_over_several_keys_run_within_exec() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        let (far, near) = (server.key_on(shards - 1, "far"), server.key_on(0, "near"));
        for (tag, other) in [(&near, &near), (&far, &far), (&near, &far)] {
            let key = |name: &str| format!("{{{tag}}}{name}");
            let there = format!("{{{other}}}there");
            server.send(client, &["FLUSHALL", &format!("RPUSH {} a b c", key("list"))]);
            server.send(client, &[&format!("SADD {} x y", key("set"))]);
            let before = server.count(client, "fast_path_commands");
            let lines = [
                "MULTI".to_owned(),
                format!("LMOVE {} {there} LEFT RIGHT", key("list")),
                format!("RENAME {} {}", key("set"), key("renamed")),
                format!("BLPOP {} 0", key("absent")),
                format!("BLMOVE {} {there} LEFT LEFT 0", key("absent")),
                format!("BLPOP {} {there} 0", key("absent")),
                format!("MSETNX {} 1 {} 2", key("one"), key("two")),
                format!("BITOP OR {} {} {}", key("bits"), key("one"), key("two")),
                format!("COPY {} {there}", key("renamed")),
                format!("SMOVE {} {} x", key("renamed"), key("other")),
                format!("SUNIONSTORE {} {} {}", key("union"), key("renamed"), key("other")),
                format!("ZUNION 2 {} {}", key("union"), key("union")),
                format!("RENAME {} {}", key("absent"), key("never")),
                "EXEC".to_owned(),
            ];
            let replies =
                server.send(client, &lines.iter().map(String::as_str).collect::<Vec<_>>());
            let Some(Value::Array(replies)) = replies.last() else { panic!("{replies:?}") };
            let text = |text: &str| Value::bulk(text);
            let expected = [
                text("a"),
                Value::simple("OK"),
                Value::NullArray,
                Value::Null,
                Value::Array(vec![text(&there), text("a")]),
                Value::Integer(1),
                Value::Integer(1),
                Value::Integer(1),
                Value::Integer(1),
                Value::Integer(2),
                Value::Array(vec![text("x"), text("y")]),
                Value::Error(b"ERR no such key".to_vec()),
            ];
            assert_eq!(replies[..], expected, "{tag} and {other} on {shards} shards");
            assert_eq!(server.count(client, "fast_path_commands"), before);
        }
    }
}

/// Over shards it is one transaction that needs nothing of its session: what follows in the pipeline goes on, and all
/// of it is done though the client is gone.
#[test]
fn a_session_goes_on_while_commands_over_shards_run_within_exec() {
    let mut server = Server::new(4);
    let (client, other) = (server.simulation.connect(0), server.simulation.connect(3));
    let [near, far, third] = [0, 2, 3].map(|shard| server.key_on(shard, "key"));
    let lines = [
        format!("RPUSH {near} a b c"),
        format!("WATCH {third}"),
        "MULTI".to_owned(),
        format!("LMOVE {near} {far} LEFT RIGHT"),
        format!("RPUSH {far} d"),
        format!("SORT {near} STORE {third}"),
        format!("LMOVE {far} {third} RIGHT LEFT"),
        format!("SUNIONSTORE {near} {far} {third}"),
        format!("LLEN {third}"),
        "EXEC".to_owned(),
        format!("LRANGE {far} 0 -1"),
        "MULTI".to_owned(),
        format!("RENAME {far} {near}"),
        "EXEC".to_owned(),
        format!("EXISTS {far} {near}"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let replies = server.send(client, &lines);
    let wrong_type = b"WRONGTYPE Operation against a key holding the wrong kind of value";
    let first = [
        Value::bulk("a"),
        Value::Integer(2),
        Value::Error(b"ERR One or more scores can't be converted into double".to_vec()),
        Value::bulk("d"),
        Value::Error(wrong_type.to_vec()),
        Value::Integer(1),
    ];
    assert_eq!(replies[9], Value::Array(first.to_vec()));
    assert_eq!(replies[10], Value::Array(vec![Value::bulk("a")]));
    assert_eq!(replies[13], Value::Array(vec![Value::simple("OK")]));
    assert_eq!(replies[14], Value::Integer(1));

    let refused = [
        format!("WATCH {near}"),
        "MULTI".to_owned(),
        format!("RENAME {near} {far}"),
        "EXEC".to_owned(),
    ];
    server.text(client, &refused[0]);
    server.text(other, &format!("RPUSH {near} e"));
    let lines: Vec<&str> = refused[1..].iter().map(String::as_str).collect();
    assert_eq!(server.send(client, &lines)[2], Value::NullArray);
    assert_eq!(server.text(other, &format!("LLEN {near}")), "2");

    let mut bytes = Vec::new();
    for line in &lines {
        encode_request(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>(), &mut bytes);
    }
    server.simulation.send(client, &bytes);
    server.simulation.step();
    server.simulation.disconnect(client);
    server.simulation.settle();
    assert_eq!(server.text(other, &format!("EXISTS {near}")), "0");
    assert_eq!(server.text(other, &format!("LLEN {far}")), "2");
}

/// Room is made, or the transaction refused, on the shards whose data it may grow.
#[test]
fn a_transaction_over_shards_is_refused_for_memory_as_one() {
    let mut server = Server::new(4);
    let (client, other) = (server.simulation.connect(0), server.simulation.connect(1));
    let [near, far, third] = [0, 2, 3].map(|shard| server.key_on(shard, "key"));
    server.send(client, &[&format!("RPUSH {near} a"), &format!("SET {third} v")]);
    let lines = [
        "MULTI".to_owned(),
        format!("DEL {third}"),
        format!("LMOVE {near} {far} LEFT RIGHT"),
        format!("COPY {near} {far}"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    server.send(client, &lines);
    assert_eq!(server.text(other, "CONFIG SET maxmemory 1"), "OK");
    server.text(other, "CONFIG RESETSTAT");
    let refusal = server.text(client, "EXEC");
    assert!(refusal.starts_with("EXECABORT Transaction discarded because of: OOM"), "{refusal}");
    assert_eq!(server.text(client, &format!("EXISTS {near} {third} {far}")), "2");
    let copied = server.text(client, &format!("COPY {near} {far}"));
    assert!(copied.starts_with("OOM command not allowed"), "{copied}");
    let info = server.text(client, "INFO commandstats");
    for name in ["exec", "copy"] {
        let row = format!("cmdstat_{name}:calls=0,");
        let line = info.lines().find(|line| line.starts_with(&row)).unwrap_or_default();
        assert!(line.contains("rejected_calls=1,failed_calls=0"), "{name}: {info}");
    }
    // What grows nothing is let through.
    server.send(client, &["MULTI", &format!("RENAME {near} {far}")]);
    let renamed = server.send(client, &["EXEC"]).remove(0);
    assert_eq!(renamed, Value::Array(vec![Value::simple("OK")]));
}

/// RENAME hands a value over, whatever its form, to any shard, with its time to live.
#[test]
fn rename_hands_values_over_between_shards() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        let (from, to) = (server.key_on(0, "from"), server.key_on(shards - 1, "to"));
        let members: Vec<String> = (0..2000).map(|number| format!("member:{number}")).collect();
        let long = "x".repeat(5000);
        let values = [
            format!("SET {from} short"),
            format!("SET {from} 12345"),
            format!("SET {from} {long}"),
            format!("SADD {from} {}", members.join(" ")),
            format!("RPUSH {from} {}", members.join(" ")),
            format!("HSET {from} {}", members.join(" ")),
            format!("SADD {from} 1 2 3"),
        ];
        for value in values {
            server.send(client, &[&value, &format!("PEXPIRE {from} 5000")]);
            let digest = server.text(client, &format!("DEBUG DIGEST-VALUE {from}"));
            let encoding = server.text(client, &format!("OBJECT ENCODING {from}"));
            assert_eq!(server.text(client, &format!("RENAME {from} {to}")), "OK");
            assert_eq!(server.text(client, &format!("EXISTS {from}")), "0");
            assert_eq!(server.text(client, &format!("DEBUG DIGEST-VALUE {to}")), digest);
            assert_eq!(server.text(client, &format!("OBJECT ENCODING {to}")), encoding);
            assert_eq!(server.text(client, &format!("PTTL {to}")), "5000");
            assert_eq!(server.text(client, &format!("RENAMENX {to} {from}")), "1");
            assert_eq!(server.text(client, &format!("RENAME {to} {from}")), "ERR no such key");
            assert_eq!(server.text(client, &format!("DEL {from}")), "1");
        }
        for shard in 0..shards {
            server.simulation.core(shard).keyspace().verify();
        }
    }
}

#[test]
fn reads_of_several_keys_count_alike_on_any_number_of_shards() {
    // Hits and misses as Valkey 9 counts them, but that XREAD reads each stream once.
    let counts = [
        ("SINTER s1 s2 absent", 2, 1),
        ("SINTERCARD 2 s1 s2", 2, 0),
        ("SUNION s1 s2 s1 absent", 3, 1),
        ("SUNIONSTORE d s1 s2", 2, 0),
        ("SDIFF absent s1", 1, 1),
        ("SDIFFSTORE d s1 s2", 2, 0),
        ("ZUNION 2 z1 z2", 2, 0),
        ("ZUNIONSTORE d 3 z1 z2 absent", 2, 1),
        ("ZINTER 2 z1 absent", 1, 1),
        ("ZINTERCARD 2 z1 z2", 2, 0),
        ("ZDIFF 2 z1 z2", 2, 0),
        ("BITOP AND d t1 t2 absent", 2, 1),
        ("LCS t1 t2", 2, 0),
        ("PFCOUNT h1 h2 absent", 2, 1),
        ("PFMERGE merged h1 h2", 2, 1),
        ("SORT l1 BY w_* GET w_*", 5, 0),
        ("SORT l1 STORE d", 1, 0),
        ("COPY t1 d REPLACE", 1, 0),
        ("XREAD STREAMS x1 absent 0 0", 1, 1),
        ("GEOSEARCHSTORE d g1 FROMLONLAT 13 38 BYRADIUS 100 km", 1, 0),
        ("ZRANGESTORE d z1 0 -1", 1, 0),
        ("LMPOP 2 absent l1 LEFT", 0, 0),
        ("ZMPOP 2 absent z1 MIN", 0, 0),
        ("RENAME t1 t3", 0, 0),
        ("SMOVE s1 s2 1", 0, 0),
    ];
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        let data = [
            "SADD s1 1 2 3",
            "SADD s2 2 3",
            "ZADD z1 1 a 2 b",
            "ZADD z2 2 b",
            "MSET t1 hello t2 help w_1 5 w_2 4",
            "PFADD h1 a",
            "PFADD h2 b",
            "RPUSH l1 2 1",
            "XADD x1 1-1 a b",
            "GEOADD g1 13.3 38.1 p",
        ];
        server.send(client, &data);
        for (line, hits, misses) in counts {
            server.text(client, "CONFIG RESETSTAT");
            let reply = server.text(client, line);
            let found = ["keyspace_hits", "keyspace_misses"].map(|name| server.count(client, name));
            assert_eq!(found, [hits, misses], "{line} on {shards} shards: {reply}");
        }
    }
}

#[test]
fn corrupted_sketches_are_refused_on_any_number_of_shards() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        let keys: Vec<String> = (0..shards).map(|shard| server.key_on(shard, "k")).collect();
        let (first, last) = (&keys[0], &keys[shards - 1]);
        for key in [first.clone(), format!("{last}other")] {
            // A header of a sparse sketch, and a run that ends too early.
            let broken: [&[u8]; 3] = [b"SETRANGE", key.as_bytes(), b"0"];
            let mut sketch = b"HYLL\x01\0\0\0".to_vec();
            sketch.extend([0; 8]);
            sketch.extend([0x40, 0x10]);
            let mut bytes = Vec::new();
            encode_request(&[broken[0], broken[1], broken[2], &sketch], &mut bytes);
            server.simulation.send(client, &bytes);
            server.simulation.settle();
            server.simulation.take_received(client);
        }
        server.text(client, &format!("PFADD {last}whole a b c"));
        for line in [
            format!("PFMERGE {first} {last}whole"),
            format!("PFMERGE {last}whole {first}"),
            format!("PFMERGE {last}new {last}other {first}"),
            format!("PFCOUNT {last}whole {first}"),
        ] {
            let reply = server.text(client, &line);
            assert!(reply.starts_with("INVALIDOBJ"), "{line} on {shards} shards: {reply}");
        }
        assert_eq!(server.text(client, &format!("PFCOUNT {last}whole")), "3");
    }
}

#[test]
fn commands_of_a_transaction_are_counted_and_logged_by_their_own_names() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let client = server.simulation.connect(0);
        let (near, far) = (server.key_on(0, "near"), server.key_on(shards - 1, "far"));
        server.text(client, "CONFIG SET slowlog-log-slower-than 0");
        let plain = vec![format!("SET {near} 1"), format!("LPUSH {far} x"), format!("GET {far}")];
        let reads =
            vec![format!("MGET {near} {far}"), format!("EXISTS {far}"), format!("GET {far}")];
        let moved =
            vec![format!("RENAME {near} {far}"), format!("INCR {far}"), format!("GET {far}")];
        let session = vec!["PING".to_owned(), format!("APPEND {far} x"), format!("LLEN {far}")];
        let transactions = [(plain, 1), (reads, 1), (moved, 0), (session, 1)];
        for (commands, failed) in transactions {
            for line in ["CONFIG RESETSTAT", "SLOWLOG RESET"] {
                server.text(client, line);
            }
            let mut lines = vec!["MULTI"];
            lines.extend(commands.iter().map(String::as_str));
            lines.push("EXEC");
            let replies = format!("{:?}", server.send(client, &lines).pop());
            let info = server.text(client, "INFO commandstats");
            let slow = format!("{:?}", server.send(client, &["SLOWLOG GET -1"]));
            for command in &commands {
                let name = command.split(' ').next().expect("it has a name");
                let row = format!("cmdstat_{}:calls=1,", name.to_lowercase());
                assert!(info.contains(&row), "{row} on {shards} shards: {info}");
                let bytes = format!("{:?}", Value::Bulk(name.as_bytes().to_vec()));
                assert_eq!(slow.matches(&bytes).count(), 1, "{name} on {shards} shards: {slow}");
            }
            let count: u64 = info
                .lines()
                .filter_map(|line| line.rsplit_once("failed_calls=")?.1.trim().parse::<u64>().ok())
                .sum();
            assert_eq!(count, failed, "{replies} on {shards} shards: {info}");
            let exec = format!("{:?}", Value::Bulk(b"EXEC".to_vec()));
            assert!(!slow.contains(&exec), "{slow}");
        }
        // What is not run is not counted.
        let other = server.simulation.connect(shards - 1);
        server.text(client, &format!("WATCH {far}"));
        server.text(other, &format!("SET {far} changed"));
        server.text(client, "CONFIG RESETSTAT");
        server.send(client, &["MULTI", &format!("STRLEN {far}"), &format!("DEL {near}"), "EXEC"]);
        let info = server.text(client, "INFO commandstats");
        assert!(!info.contains("cmdstat_strlen") && !info.contains("cmdstat_del"), "{info}");
    }
}

/// What a command leaves behind beside its reply and its data: uses, counts, and news for those that track.
#[test]
fn what_a_command_leaves_behind_is_the_same_over_shards() {
    for shards in SHARDS {
        let mut server = Server::new(shards);
        let (client, watcher) =
            (server.simulation.connect(0), server.simulation.connect(shards - 1));
        server.send(client, &["MSET a v b v d x", "XADD x 1-1 f v", "XGROUP CREATE x g 0"]);
        server.simulation.rest_ms(3_000);
        let lines = [
            "CLIENT NO-TOUCH ON",
            "LCS a b",
            "COPY a z",
            "APPEND d y",
            "XREAD STREAMS x 0",
            "PFCOUNT p q",
        ];
        server.send(client, &lines);
        for key in ["a", "b", "d", "x"] {
            let idle = server.text(client, &format!("OBJECT IDLETIME {key}"));
            assert!(idle.parse::<u64>().expect("a number") >= 2, "{key} on {shards}: {idle}");
        }
        let script = "return(redis.call('mset','a','1','b','2','c','3').ok)";
        let monitor = server.simulation.connect(0);
        server.send(monitor, &["MONITOR"]);
        server.send(client, &["CONFIG RESETSTAT", &format!("EVAL {script} 0")]);
        let shown = String::from_utf8(server.simulation.take_received(monitor)).expect("a text");
        assert!(shown.contains("\"EVAL\" "), "{shards}: {shown}");
        let counts = server.text(client, "INFO commandstats");
        assert!(counts.contains("cmdstat_mset:calls=1,"), "{shards}: {counts}");

        server.send(watcher, &["HELLO 3", "CLIENT TRACKING ON", "XLEN x"]);
        // As in Redis: what happens to a group is no news of the stream's entries.
        server.send(client, &["XREADGROUP GROUP g c STREAMS x >", "XACK x g 1-1"]);
        server.simulation.settle();
        assert!(!server.simulation.has_received(watcher), "{shards}");
        server.send(client, &["XADD x 2-1 f v"]);
        server.simulation.settle();
        assert!(server.simulation.has_received(watcher), "{shards}");
    }
}
