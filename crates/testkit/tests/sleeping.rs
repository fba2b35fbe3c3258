//! DEBUG SLEEP in simulation: the server stands still at the place of the request, on one shard and on several.

use basalt_commands::config::{Allowed, Config};
use basalt_resp::{Value, decode, encode_request};
use basalt_testkit::simulation::{ClientId, Simulation};

const SHARDS: [usize; 2] = [1, 4];
/// Less than 50 ms by what the clock of a simulation rounds away.
const SLEEP_US: i64 = 48_000;

fn server(shards: usize) -> (Simulation, ClientId) {
    let config = Config {
        enable_debug_command: Allowed::Yes,
        slowlog_log_slower_than: 10_000,
        latency_monitor_threshold: 10,
        ..Config::default()
    };
    let mut simulation = Simulation::new(shards, config, 7);
    let client = simulation.connect(0);
    (simulation, client)
}

/// The replies to requests that are sent together.
fn ask(simulation: &mut Simulation, client: ClientId, lines: &[&str]) -> Vec<Value> {
    let mut bytes = Vec::new();
    for line in lines {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        encode_request(&words, &mut bytes);
    }
    simulation.send(client, &bytes);
    simulation.settle();
    let received = simulation.take_received(client);
    let (mut rest, mut replies) = (&received[..], Vec::new());
    while let Some((reply, len)) = decode(rest).expect("well-formed replies") {
        replies.push(reply);
        rest = &rest[len..];
    }
    assert!(rest.is_empty(), "a reply is not whole");
    replies
}

/// Microseconds since 1970, of the reply to TIME.
fn moment_us(reply: &Value) -> i64 {
    let Value::Array(parts) = reply else { panic!("{reply:?} is no time") };
    let number = |part: &Value| {
        let text = String::from_utf8_lossy(part.as_bytes().expect("a text")).into_owned();
        text.parse::<i64>().expect("a number")
    };
    number(&parts[0]) * 1_000_000 + number(&parts[1])
}

#[test]
fn requests_behind_it_are_worked_when_it_is_over() {
    for shards in SHARDS {
        let (mut simulation, client) = server(shards);
        let replies = ask(&mut simulation, client, &["TIME", "DEBUG SLEEP 0.05", "TIME"]);
        assert_eq!(replies[1], Value::simple("OK"));
        let slept_us = moment_us(&replies[2]) - moment_us(&replies[0]);
        assert!(slept_us >= SLEEP_US, "{shards} shards slept for {slept_us} µs");
    }
}

#[test]
fn a_transaction_sleeps_at_its_place() {
    for shards in SHARDS {
        let (mut simulation, client) = server(shards);
        let lines = ["MULTI", "SET k v", "TIME", "DEBUG SLEEP 0.05", "TIME", "GET k", "EXEC"];
        let replies = ask(&mut simulation, client, &lines);
        let Some(Value::Array(replies)) = replies.last() else { panic!("{replies:?}") };
        assert_eq!(replies[2], Value::simple("OK"));
        assert_eq!(replies[4], Value::bulk(b"v"));
        let slept_us = moment_us(&replies[3]) - moment_us(&replies[1]);
        assert!(slept_us >= SLEEP_US, "{shards} shards slept for {slept_us} µs");
    }
}

#[test]
fn it_is_a_slow_request_and_a_spike() {
    for shards in SHARDS {
        let (mut simulation, client) = server(shards);
        ask(&mut simulation, client, &["DEBUG SLEEP 0.05"]);
        let replies = ask(&mut simulation, client, &["SLOWLOG GET", "LATENCY LATEST"]);
        let Value::Array(requests) = &replies[0] else { panic!("{replies:?}") };
        let [Value::Array(facts)] = &requests[..] else { panic!("{shards} shards: {requests:?}") };
        assert!(matches!(facts[2], Value::Integer(us) if us >= SLEEP_US), "{facts:?}");
        let Value::Array(events) = &replies[1] else { panic!("{replies:?}") };
        assert_eq!(events.len(), 1, "{shards} shards: {events:?}");
    }
}

/// A client that is gone when the sleep ends harms nothing.
#[test]
fn who_goes_away_meanwhile_is_forgotten() {
    for shards in SHARDS {
        let (mut simulation, client) = server(shards);
        let other = simulation.connect(shards - 1);
        let mut bytes = Vec::new();
        encode_request(&[&b"DEBUG"[..], b"SLEEP", b"0.05"], &mut bytes);
        simulation.send(client, &bytes);
        simulation.step();
        simulation.disconnect(client);
        simulation.settle();
        assert_eq!(ask(&mut simulation, other, &["PING"]), [Value::simple("PONG")]);
        assert!((0..shards).all(|core| simulation.core(core).is_at_rest()));
    }
}
