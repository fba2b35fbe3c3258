//! Many active clients at once: every reply is right, and no client waits for long.

use super::{Test, eventually, start, text};
use basalt_resp::Value;
use basalt_testkit::client::{Connection, Request, request};
use basalt_testkit::process::{Program, Server};
use basalt_testkit::random::Random;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("parallel_clients_get_what_they_put", parallel_clients_get_what_they_put),
    ("parallel_counters", parallel_counters),
];

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("no_stall_under_changing_load", no_stall_under_changing_load),
    ("million_keys_expire_on_time", million_keys_expire_on_time),
];

fn is_long() -> bool {
    std::env::var_os("BASALT_LONG").is_some()
}

/// The values of one client's own keys, and the right replies about them.
#[derive(Default)]
struct Model(BTreeMap<Vec<u8>, Vec<u8>>);

impl Model {
    fn answer(&mut self, request: &Request) -> Value {
        let ok = || Value::simple("OK");
        let bulk = |value: Option<&Vec<u8>>| value.map_or(Value::Null, Value::bulk);
        let count = |count: usize| Value::Integer(i64::try_from(count).unwrap());
        match (request[0].as_slice(), &request[1..]) {
            (b"GET", [key]) => bulk(self.0.get(key)),
            (b"SET", [key, value]) => {
                self.0.insert(key.clone(), value.clone());
                ok()
            }
            (b"APPEND", [key, more]) => {
                let value = self.0.entry(key.clone()).or_default();
                value.extend_from_slice(more);
                count(value.len())
            }
            (b"DEL", keys) => {
                count(keys.iter().filter(|key| self.0.remove(*key).is_some()).count())
            }
            (b"EXISTS", keys) => count(keys.iter().filter(|key| self.0.contains_key(*key)).count()),
            (b"MGET", keys) => Value::Array(keys.iter().map(|key| bulk(self.0.get(key))).collect()),
            (b"MSET", pairs) => {
                for pair in pairs.chunks(2) {
                    self.0.insert(pair[0].clone(), pair[1].clone());
                }
                ok()
            }
            (b"RENAME", [from, to]) => match self.0.remove(from) {
                Some(value) => {
                    self.0.insert(to.clone(), value);
                    ok()
                }
                None => Value::error("ERR no such key"),
            },
            (b"COPY", [from, to]) => match self.0.get(from).cloned() {
                Some(value) if !self.0.contains_key(to) => {
                    self.0.insert(to.clone(), value);
                    Value::Integer(1)
                }
                _ => Value::Integer(0),
            },
            (name, _) => panic!("the model does not know {}", String::from_utf8_lossy(name)),
        }
    }
}

/// One request about the keys of client `owner`; they are on all shards.
fn random_request(owner: usize, random: &mut Random) -> Request {
    let key = |random: &mut Random| format!("client:{owner}:key:{}", random.below(60));
    let value = |random: &mut Random| "v".repeat(random.below(200)) + &random.number().to_string();
    let (one, two) = (key(random), key(random));
    match random.below(12) {
        0..=2 => request(&["GET", &one]),
        3..=5 => request(&["SET", &one, &value(random)]),
        6 => request(&["APPEND", &one, "+"]),
        7 => request(&["DEL", &one, &two, &key(random)]),
        8 => request(&["MGET", &one, &two, &key(random), &key(random)]),
        9 => {
            let (first, second) = (value(random), value(random));
            request(&["MSET", &one, &first, &two, &second])
        }
        10 if one != two => request(&["RENAME", &one, &two]),
        11 if one != two => request(&["COPY", &one, &two]),
        _ => request(&["EXISTS", &one, &two]),
    }
}

fn parallel_clients_get_what_they_put(program: Program) {
    const CLIENTS: usize = 12;
    let rounds = if is_long() { 20_000 } else { 300 };
    let server = start(program, &[]);
    let play = |owner: usize| {
        let mut connection = server.connect();
        let mut random = Random::from_seed(owner as u64);
        let mut model = Model::default();
        for round in 0..rounds {
            let requests: Vec<Request> =
                (0..=random.below(50)).map(|_| random_request(owner, &mut random)).collect();
            let replies = connection.pipeline(&requests).unwrap();
            for (request, reply) in requests.iter().zip(replies) {
                let expected = model.answer(request);
                let words: Vec<_> =
                    request.iter().map(|word| String::from_utf8_lossy(word)).collect();
                assert_eq!(reply, expected, "client {owner}, round {round}: {words:?}");
            }
        }
        let expected = i64::try_from(model.0.len()).unwrap();
        let keys: Vec<Vec<u8>> = model.0.into_keys().collect();
        let exists = [vec![b"EXISTS".to_vec()], keys].concat();
        assert_eq!(connection.execute(&exists), Value::Integer(expected));
        usize::try_from(expected).unwrap()
    };
    let counted: usize = std::thread::scope(|scope| {
        let playing: Vec<_> = (0..CLIENTS).map(|owner| scope.spawn(move || play(owner))).collect();
        playing.into_iter().map(|client| client.join().unwrap()).sum()
    });
    assert_eq!(text(&mut server.connect(), &["DBSIZE"]), format!("(integer) {counted}"));
}

fn parallel_counters(program: Program) {
    const CLIENTS: usize = 16;
    const ROUNDS: usize = 200;
    let server = start(program, &[]);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = server.connect();
                let requests: Vec<[String; 2]> =
                    (0..20).map(|key| ["INCR".to_owned(), format!("counter:{key}")]).collect();
                let mut last = [0; 20];
                for _ in 0..ROUNDS {
                    for (last, reply) in
                        last.iter_mut().zip(connection.pipeline(&requests).unwrap())
                    {
                        let Value::Integer(now) = reply else { panic!("INCR said {reply:?}") };
                        assert!(now > *last, "a counter went from {last} to {now}");
                        *last = now;
                    }
                }
            });
        }
    });
    let mut connection = server.connect();
    for key in 0..20 {
        let sum = text(&mut connection, &["GET", &format!("counter:{key}")]);
        assert_eq!(sum, format!("\"{}\"", CLIENTS * ROUNDS), "counter:{key}");
    }
}

/// Load comes and goes, so that cores fall asleep and are woken in every way, while one client asks
/// now and then and measures the latency. A core that sleeps although there is work would hang
/// forever.
fn no_stall_under_changing_load(program: Program) {
    let (watched, stall_max) = match is_long() {
        true => (Duration::from_secs(600), Duration::from_millis(50)),
        false => (Duration::from_secs(10), Duration::from_millis(500)),
    };
    let server = start(program, &[]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| changing_load(&server, &done));
        scope.spawn(|| changing_load(&server, &done));
        let worst = std::panic::catch_unwind(|| longest_wait(&server, watched));
        done.store(true, Ordering::Relaxed);
        let worst = worst.expect("because every question was answered");
        assert!(worst <= stall_max, "one reply took {worst:?}");
    });
}

#[expect(clippy::disallowed_methods, reason = "pauses of random lengths are this load")]
fn changing_load(server: &Server, done: &AtomicBool) {
    let mut connections: Vec<Connection> = (0..8).map(|_| server.connect()).collect();
    let mut random = Random::from_seed(1);
    while !done.load(Ordering::Relaxed) {
        for _ in 0..random.below(200) {
            let count = 1 + random.below(16);
            let requests: Vec<Request> =
                (0..count).map(|_| random_request(random.below(100), &mut random)).collect();
            let connection = random.below(connections.len());
            connections[connection].pipeline(&requests).unwrap();
        }
        std::thread::sleep(Duration::from_micros(random.below(30_000) as u64));
    }
}

/// The longest latency of a reply, less the machine's own delay at that moment.
#[expect(clippy::disallowed_methods, reason = "how long it takes is the test")]
fn longest_wait(server: &Server, watched: Duration) -> Duration {
    const PAUSE: Duration = Duration::from_millis(1);
    let mut connection = server.connect();
    let mut random = Random::from_seed(2);
    let begin = Instant::now();
    let mut worst = Duration::ZERO;
    while begin.elapsed() < watched {
        let before_pause = Instant::now();
        std::thread::sleep(PAUSE);
        let late = before_pause.elapsed() - PAUSE;
        let asked = Instant::now();
        connection.execute(&["GET", &format!("client:1:key:{}", random.below(60))]);
        worst = worst.max(asked.elapsed().saturating_sub(late));
    }
    worst
}

#[expect(clippy::disallowed_methods, reason = "being on time is the test")]
fn million_keys_expire_on_time(program: Program) {
    const KEYS: usize = 1_000_000;
    let server = start(program, &[]);
    let mut connection = server.connect();
    // Far enough in the future to be set before it comes.
    let seconds = text(&mut connection, &["TIME"]);
    let seconds = seconds.split('"').nth(1).and_then(|seconds| seconds.parse::<u64>().ok());
    let moment = (seconds.expect("because TIME begins with seconds") + 12).to_string();
    for first in (0..KEYS).step_by(10_000) {
        let requests: Vec<Request> = (first..first + 10_000)
            .map(|key| request(&["SET", &format!("key:{key}"), "value", "EXAT", &moment]))
            .collect();
        connection.pipeline(&requests).unwrap();
    }
    assert_eq!(
        text(&mut connection, &["DBSIZE"]),
        format!("(integer) {KEYS}"),
        "it took too long to set them"
    );
    let ttl = connection.execute(&["PTTL", "key:0"]);
    let Value::Integer(ttl_ms) = ttl else { panic!("PTTL said {ttl:?}") };
    std::thread::sleep(Duration::from_millis(u64::try_from(ttl_ms).unwrap()));
    let due = Instant::now();
    eventually("all keys are gone", || text(&mut connection, &["DBSIZE"]) == "(integer) 0");
    let took = due.elapsed();
    assert!(took < Duration::from_millis(1500), "the last key went {took:?} late");
}
