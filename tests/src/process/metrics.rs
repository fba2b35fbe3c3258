//! The metrics page and /healthz, with requests by Prometheus and by hostile clients.

use super::limits::info_field;
use super::{Test, eventually, launch, text};
use basalt_resp::Value;
use basalt_testkit::process::{Launch, Program, Server, free_port};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("metrics_page_is_well_formed", metrics_page_is_well_formed),
    ("metrics_move_and_add_up", metrics_move_and_add_up),
    ("metrics_of_transactions", metrics_of_transactions),
    ("metrics_while_clients_pipeline", metrics_while_clients_pipeline),
    ("metrics_of_many_clients", metrics_of_many_clients),
    ("metrics_cost_a_turn", metrics_cost_a_turn),
    ("metrics_of_a_busy_shard", metrics_of_a_busy_shard),
    ("metrics_for_wrong_requests", metrics_for_wrong_requests),
    ("metrics_for_slow_clients", metrics_for_slow_clients),
    ("metrics_only_where_wanted", metrics_only_where_wanted),
    ("long_transactions_are_logged", long_transactions_are_logged),
];

/// LIMIT: the longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with a metrics page.
pub(crate) struct Watched {
    pub(crate) server: Server,
    port: u16,
}

/// An HTTP response.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Watched {
    pub(crate) fn start(launch: &Launch) -> Self {
        let port = free_port().unwrap();
        let with_page = launch.clone().args(["--metrics-port", &port.to_string()]);
        let server = with_page.start().unwrap_or_else(|refusal| panic!("{refusal}"));
        Self { server, port }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The response to these bytes, up to the end of the connection.
    fn exchange(&self, request: &[u8]) -> io::Result<Page> {
        let mut stream = self.connect();
        stream.write_all(request)?;
        answer(stream)
    }

    pub(crate) fn get(&self, path: &str) -> Page {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n").as_bytes()).unwrap()
    }

    /// The samples of the page, by name with labels.
    fn samples(&self) -> BTreeMap<String, f64> {
        let page = self.get("/metrics");
        assert_eq!(page.status, 200, "{}", page.body);
        page.samples()
    }

    fn metric(&self, name: &str) -> f64 {
        let samples = self.samples();
        *samples.get(name).unwrap_or_else(|| panic!("no {name}: {samples:#?}"))
    }
}

fn answer(mut stream: TcpStream) -> io::Result<Page> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Page { status, head: head.into(), body: body.into() })
}

impl Page {
    fn samples(&self) -> BTreeMap<String, f64> {
        let mut samples = BTreeMap::new();
        for line in self.body.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("because a sample has a value");
            let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(samples.insert(name.to_owned(), value).is_none(), "told twice: {name}");
        }
        samples
    }
}

/// The sum of all samples of a family that have this label.
fn sum(samples: &BTreeMap<String, f64>, family: &str, label: &str) -> f64 {
    let of_family = |name: &str| name.split('{').next() == Some(family) && name.contains(label);
    samples.iter().filter(|(name, _)| of_family(name)).map(|(_, value)| value).sum()
}

fn metrics_page_is_well_formed(program: Program) {
    let watched = Watched::start(&launch(program));
    let mut client = watched.server.connect();
    client.execute(&["SET", "a", "b"]);
    client.execute(&["CONFIG", "GET", "port"]);
    let page = watched.get("/metrics");
    assert!(page.head.contains("Content-Type: text/plain; version=0.0.4"), "{}", page.head);
    assert!(page.head.contains(&format!("Content-Length: {}", page.body.len())), "{}", page.head);
    assert!(page.body.ends_with('\n'));
    let mut families = BTreeSet::new();
    let mut family = "";
    for line in page.body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} is told twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(name == family && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
        } else {
            assert!(line.starts_with(family), "{line}");
        }
    }
    let samples = page.samples();
    for name in [
        "redis_up",
        "redis_uptime_in_seconds",
        "redis_connected_clients",
        "redis_blocked_clients",
        "redis_commands_total{cmd=\"config|get\"}",
        "redis_commands_duration_seconds_total{cmd=\"set\"}",
        "redis_keyspace_hits_total",
        "redis_keyspace_misses_total",
        "redis_expired_keys_total",
        "redis_evicted_keys_total",
        "redis_net_input_bytes_total",
        "redis_net_output_bytes_total",
        "redis_memory_used_bytes",
        "redis_memory_used_rss_bytes",
        "redis_memory_max_bytes",
        "redis_memory_fragmentation_ratio",
        "redis_db_keys{db=\"db0\"}",
        "redis_db_keys_expiring{db=\"db0\"}",
        "redis_connected_slaves",
        "redis_total_system_memory_bytes",
        "redis_config_maxclients",
        "basalt_command_duration_seconds_bucket{cmd=\"set\",le=\"+Inf\"}",
        "basalt_mesh_depth{shard=\"1\"}",
        "basalt_ring_submissions_total{shard=\"1\"}",
    ] {
        assert!(samples.contains_key(name), "no {name}: {}", page.body);
    }
    let head = watched.exchange(b"HEAD /metrics HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

fn metrics_move_and_add_up(program: Program) {
    let watched = Watched::start(&launch(program));
    let mut client = watched.server.connect();
    client.execute(&["CONFIG", "RESETSTAT"]);
    for index in 0..100 {
        client.execute(&["SET", &format!("key:{index}"), "x"]);
        client.execute(&["GET", &format!("key:{}", index * 2)]);
    }
    client.execute(&["SET", "late", "x", "PX", "1"]);
    client.execute(&["SET", "later", "x", "EX", "1000"]);
    client.execute(&["INCR", "key:1"]);
    client.execute(&["SET", "key:1"]);
    eventually("a key expires", || watched.metric("redis_expired_keys_total") == 1.0);
    let samples = watched.samples();
    let value = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(value("redis_commands_total{cmd=\"set\"}"), 102.0);
    assert_eq!(sum(&samples, "basalt_commands_total", "cmd=\"set\",outcome=\"ok\""), 102.0);
    assert_eq!(sum(&samples, "basalt_commands_total", "cmd=\"set\",outcome=\"rejected\""), 1.0);
    assert_eq!(sum(&samples, "basalt_commands_total", "cmd=\"incr\",outcome=\"failed\""), 1.0);
    assert_eq!(value("redis_commands_failed_calls_total{cmd=\"incr\"}"), 1.0);
    assert_eq!(value("redis_errors_total{err=\"ERR\"}"), 2.0);
    assert_eq!(value("redis_db_keys{db=\"db0\"}"), 101.0);
    assert_eq!(value("redis_db_keys_expiring{db=\"db0\"}"), 1.0);
    let ttl = value("redis_db_avg_ttl_seconds{db=\"db0\"}");
    assert!((900.0..=1001.0).contains(&ttl), "{ttl}");
    let keyspace = info_field(&mut client, "keyspace", "db0");
    assert!(keyspace.starts_with("keys=101,expires=1,avg_ttl=9"), "{keyspace}");
    assert_eq!(value("redis_connected_clients"), 1.0);
    for shard in ["shard=\"0\"", "shard=\"1\""] {
        assert!(sum(&samples, "basalt_keys", shard) > 20.0, "all keys are on one shard");
    }
    // The values for the whole server are the sums of those of the shards.
    for name in [
        "keyspace_hits_total",
        "keyspace_misses_total",
        "expired_keys_total",
        "net_input_bytes_total",
        "net_output_bytes_total",
        "connected_clients",
        "connections_received_total",
    ] {
        let whole = value(&format!("redis_{name}"));
        assert_eq!(whole, sum(&samples, &format!("basalt_{name}"), "shard="), "{name}");
    }
    assert_eq!(value("redis_commands_processed_total"), sum(&samples, "redis_commands_total", ""));
    // Durations of all calls, by command and by shard.
    let calls = value("basalt_command_duration_seconds_count{cmd=\"set\"}");
    assert_eq!(calls, 102.0);
    let by_command = sum(&samples, "basalt_command_duration_seconds_count", "");
    assert_eq!(by_command, sum(&samples, "basalt_shard_command_duration_seconds_count", ""));
    // INFO says the same.
    for (field, name) in [
        ("keyspace_hits", "redis_keyspace_hits_total"),
        ("keyspace_misses", "redis_keyspace_misses_total"),
        ("total_connections_received", "redis_connections_received_total"),
    ] {
        let told: f64 = info_field(&mut client, "stats", field).parse().unwrap();
        assert_eq!(told, value(name), "{field}");
    }
}

fn metrics_of_transactions(program: Program) {
    let watched = Watched::start(&launch(program));
    let mut client = watched.server.connect();
    client.execute(&["CONFIG", "RESETSTAT"]);
    let pairs: Vec<String> = (0..20).map(|index| format!("key:{index}")).collect();
    let mut mset = vec!["MSET"];
    pairs.iter().for_each(|key| mset.extend([key.as_str(), "x"]));
    for _ in 0..3 {
        client.execute(&mset);
    }
    client.execute(&["RENAME", "{key:1}", "{key:1}2"]);
    for args in [&["MULTI"][..], &["SET", "{t}1", "x"], &["SET", "{t}2", "x"], &["EXEC"]] {
        client.execute(args);
    }
    client.execute(&["FLUSHALL"]);
    let samples = watched.samples();
    let kind = |kind: &str| sum(&samples, "basalt_transactions_total", kind);
    assert_eq!(kind("\"several_shards\""), 3.0);
    assert_eq!(kind("\"one_shard\""), 2.0);
    // FLUSHALL, and the end of CONFIG RESETSTAT where it counts itself.
    assert!((1.0..=2.0).contains(&kind("\"all_shards\"")), "{samples:#?}");
    // Each MSET held keys at home, and the other shard decided; FLUSHALL held all of both.
    let held = sum(&samples, "basalt_transaction_held_seconds_count", "");
    assert!(held >= 5.0, "{samples:#?}");
    assert_eq!(sum(&samples, "basalt_transaction_visits_waiting", ""), 0.0);
    let several = info_field(&mut client, "transactions", "transactions_on_several_shards");
    assert_eq!(several, "3");
}

fn metrics_while_clients_pipeline(program: Program) {
    const CLIENTS: usize = 50;
    let watched = Watched::start(&launch(program));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (watched, is_over) = (&watched, &is_over);
            scope.spawn(move || {
                let mut connection = watched.server.connect();
                let requests: Vec<[String; 3]> = (0..32)
                    .map(|index| ["SET".into(), format!("key:{client}:{index}"), "x".into()])
                    .collect();
                while !is_over.load(Ordering::Relaxed) {
                    let replies = connection.pipeline(&requests).unwrap();
                    assert!(replies.iter().all(|reply| *reply == Value::simple("OK")));
                }
            });
        }
        let mut before = 0.0;
        for _ in 0..30 {
            let samples = watched.samples();
            let calls = samples.get("redis_commands_total{cmd=\"set\"}").copied().unwrap_or(0.0);
            let by_shard = sum(&samples, "basalt_commands_total", "cmd=\"set\"");
            assert!(calls >= before && calls == by_shard, "{before}, {calls}, {by_shard}");
            before = calls;
            assert_eq!(sum(&samples, "basalt_shard_answers", ""), 2.0);
        }
        eventually("the clients are counted", || {
            watched.metric("redis_commands_total{cmd=\"set\"}") > before
        });
        is_over.store(true, Ordering::Relaxed);
    });
    eventually("the clients are gone", || watched.metric("redis_connected_clients") == 0.0);
}

/// With many clients on a shard, their memory is the value of a round over all of them.
fn metrics_of_many_clients(program: Program) {
    const CLIENTS: usize = 600;
    let watched = Watched::start(&Launch::new(program).args(["--shards", "1"]));
    let clients: Vec<_> = (0..CLIENTS).map(|_| watched.server.connect()).collect();
    eventually("all are seen", || {
        let samples = watched.samples();
        sum(&samples, "basalt_connected_clients", "") == CLIENTS as f64
            && sum(&samples, "basalt_memory_clients_bytes", "") > (CLIENTS * 100) as f64
    });
    drop(clients);
    eventually("they are gone", || watched.metric("redis_memory_used_overhead_bytes") == 0.0);
}

/// A scrape runs between two turns and costs a shard next to nothing: a fixed number of turns.
#[expect(clippy::disallowed_methods, reason = "an idle shard looks up now and then")]
fn metrics_cost_a_turn(program: Program) {
    const SCRAPES: u32 = 20;
    let watched = Watched::start(&launch(program));
    let turns = || sum(&watched.samples(), "basalt_loop_turn_seconds_count", "");
    let (before, begun) = (turns(), Instant::now());
    for _ in 0..SCRAPES {
        watched.get("/metrics");
    }
    let grown = turns() - before;
    let idle = 2.0 * 20.0 * begun.elapsed().as_secs_f64();
    let asked = 2.0 * 4.0 * f64::from(SCRAPES + 1);
    assert!(grown <= asked + idle, "{grown} turns for {SCRAPES} scrapes");
}

fn metrics_of_a_busy_shard(program: Program) {
    let watched = Watched::start(&launch(program));
    let health = watched.get("/healthz");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let before = watched.samples();
    let mut sleeper = watched.server.connect();
    sleeper.send(&["DEBUG", "SLEEP", "6"]).unwrap();
    eventually("the page tells that the shards do not answer", || {
        sum(&watched.samples(), "basalt_shard_answers", "") == 0.0
    });
    let health = watched.get("/healthz");
    assert_eq!(health.status, 503);
    assert!(health.body.starts_with("These shards did not answer within 1000 ms: "));
    // Its counters keep their values.
    let during = watched.samples();
    for name in ["redis_connections_received_total", "redis_net_input_bytes_total"] {
        assert!(during[name] >= before[name], "{name}");
    }
    assert_eq!(sleeper.receive().unwrap(), Value::simple("OK"));
    eventually("it is well again", || watched.get("/healthz").status == 200);
    assert_eq!(sum(&watched.samples(), "basalt_shard_answers", ""), 2.0);
}

fn metrics_for_wrong_requests(program: Program) {
    let watched = Watched::start(&launch(program));
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(10_000));
    let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    for (request, status) in [
        (&b"GET /nothing HTTP/1.1\r\n\r\n"[..], 404),
        (b"GET / HTTP/1.0\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"*1\r\n$4\r\nPING\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (long.as_bytes(), 431),
        (many.as_bytes(), 431),
        (b"GET /metrics?a=b HTTP/1.1\r\n\r\n", 200),
    ] {
        let page = watched.exchange(request).unwrap();
        assert_eq!(page.status, status, "{}", String::from_utf8_lossy(request));
        assert!(page.head.contains("Connection: close"), "{}", page.head);
    }
    // A client that sends nothing, or half a request, and disconnects gets no response.
    for half in [&b""[..], b"GET /met"] {
        let mut stream = watched.connect();
        stream.write_all(half).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(answer(stream).is_err());
    }
    // A request may come in pieces.
    let mut stream = watched.connect();
    for piece in [&b"GET /hea"[..], b"lthz HTTP/1.1\r\nHos", b"t: x\r\n\r\n"] {
        stream.write_all(piece).unwrap();
    }
    assert_eq!(answer(stream).unwrap().status, 200);
}

fn metrics_for_slow_clients(program: Program) {
    let watched = Watched::start(&launch(program));
    // These send requests, and never read.
    let deaf: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut stream = watched.connect();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(watched.get("/healthz").status, 200);
    // These never send a request: above the limit, further ones get an error.
    let silent: Vec<TcpStream> = (0..100).map(|_| watched.connect()).collect();
    eventually("it is full", || {
        watched.exchange(b"GET /healthz HTTP/1.1\r\n\r\n").map_or(true, |page| page.status == 503)
    });
    let mut client = watched.server.connect();
    assert_eq!(text(&mut client, &["PING"]), "PONG");
    // All of them are closed when their time is over, though they still hold their ends.
    eventually("it answers again", || {
        watched.exchange(b"GET /healthz HTTP/1.1\r\n\r\n").is_ok_and(|page| page.status == 200)
    });
    drop((deaf, silent));
}

fn metrics_only_where_wanted(program: Program) {
    let server = super::start(program, &[]);
    let mut client = server.connect();
    assert_eq!(
        text(&mut client, &["CONFIG", "GET", "metrics-port"]),
        "1) \"metrics-port\"\n2) \"0\""
    );
    let refusal = text(&mut client, &["CONFIG", "SET", "metrics-port", "9121"]);
    assert!(refusal.contains("can't set immutable config"), "{refusal}");
    // If the port is in use the server does not start.
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let refused = launch(program).args(["--metrics-port", &port.to_string()]).start();
    let log = refused.err().map_or_else(String::new, |refusal| refusal.log);
    assert!(log.contains(&format!("Failed listening on port {port}")), "{log}");
}

fn long_transactions_are_logged(program: Program) {
    let server = launch(program).args(["--transaction-log-slower-than", "0"]).start().unwrap();
    let mut client = server.connect();
    let keys: Vec<String> = (0..20).map(|index| format!("key:{index}")).collect();
    // It reads before it writes, so it holds keys of both shards.
    let mut msetnx = vec!["MSETNX"];
    keys.iter().for_each(|key| msetnx.extend([key.as_str(), "x"]));
    client.execute(&msetnx);
    eventually("both shards log it", || {
        let log = server.log();
        ["of shard 0 for ", "of shard 1 for "].iter().all(|shard| {
            log.lines().any(|line| {
                line.contains("Transaction ") && line.contains(" keys (") && line.contains(shard)
            })
        })
    });
    client.execute(&["CONFIG", "SET", "transaction-log-slower-than", "-1"]);
    let before = server.log().matches(" held ").count();
    client.execute(&msetnx);
    client.execute(&["DBSIZE"]);
    assert_eq!(server.log().matches(" held ").count(), before);
}
