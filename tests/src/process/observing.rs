//! The view of operators: counters, slow requests, latencies, and the shards of connections.

use super::limits::info_field;
use super::{Test, eventually, start, text};
use basalt_resp::Value;
use basalt_testkit::client::Connection;
use basalt_testkit::process::Program;

pub(super) const TESTS: &[(&str, Test)] = &[
    ("slow_requests_are_logged", slow_requests_are_logged),
    ("spikes_are_kept", spikes_are_kept),
    ("calls_are_counted", calls_are_counted),
];

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("slow_requests_of_all_shards", slow_requests_of_all_shards),
    ("slow_requests_of_one_shard", |program| log_slow_requests(program, &["--shards", "1"])),
    ("spikes_of_one_shard", |program| keep_spikes(program, &["--shards", "1"])),
    ("connections_spread_evenly", connections_spread_evenly),
];

fn info(connection: &mut Connection, section: &str) -> String {
    let info = connection.execute(&["INFO", section]);
    String::from_utf8_lossy(info.as_bytes().expect("because INFO is text")).into_owned()
}

/// The line of a command in commandstats.
fn command_line(connection: &mut Connection, name: &str) -> Option<String> {
    let stats = info(connection, "commandstats");
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:")));
    line.map(str::to_owned)
}

fn slow_requests_are_logged(program: Program) {
    log_slow_requests(program, &[]);
}

fn log_slow_requests(program: Program, options: &[&str]) {
    let server = start(program, &[options, &["--slowlog-log-slower-than", "30000"]].concat());
    let mut client = server.connect();
    client.execute(&["CLIENT", "SETNAME", "sleeper"]);
    client.execute(&["PING"]);
    client.execute(&["DEBUG", "SLEEP", "0.05"]);
    assert_eq!(client.execute(&["SLOWLOG", "LEN"]), Value::Integer(1));
    let Value::Array(requests) = client.execute(&["SLOWLOG", "GET"]) else { panic!("no array") };
    let Value::Array(facts) = &requests[0] else { panic!("{requests:?}") };
    assert!(matches!(facts[2], Value::Integer(us) if us >= 50_000), "{facts:?}");
    let args = ["DEBUG", "SLEEP", "0.05"].map(|word| Value::bulk(word.as_bytes()));
    assert_eq!((&facts[3], &facts[5]), (&Value::Array(args.into()), &Value::bulk(b"sleeper")));
    client.execute(&["CONFIG", "SET", "slowlog-log-slower-than", "-1"]);
    client.execute(&["DEBUG", "SLEEP", "0.05"]);
    assert_eq!(client.execute(&["SLOWLOG", "LEN"]), Value::Integer(1));
    client.execute(&["CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "7"]);
    (0..20).for_each(|_| drop(client.execute(&["PING"])));
    assert_eq!(client.execute(&["SLOWLOG", "LEN"]), Value::Integer(7));
    client.execute(&["CONFIG", "SET", "slowlog-log-slower-than", "10000000"]);
    client.execute(&["SLOWLOG", "RESET"]);
    assert_eq!(client.execute(&["SLOWLOG", "LEN"]), Value::Integer(0));
}

fn spikes_are_kept(program: Program) {
    keep_spikes(program, &[]);
}

fn keep_spikes(program: Program, options: &[&str]) {
    let server = start(program, &[options, &["--latency-monitor-threshold", "20"]].concat());
    let mut client = server.connect();
    client.execute(&["DEBUG", "SLEEP", "0.03"]);
    let Value::Array(events) = client.execute(&["LATENCY", "LATEST"]) else { panic!("no array") };
    let Value::Array(event) = &events[0] else { panic!("{events:?}") };
    assert_eq!(event[0], Value::bulk(b"command"));
    assert!(matches!(event[3], Value::Integer(ms) if (30..2000).contains(&ms)), "{event:?}");
    let history = client.execute(&["LATENCY", "HISTORY", "command"]);
    assert!(matches!(&history, Value::Array(samples) if samples.len() == 1), "{history:?}");
    assert!(text(&mut client, &["LATENCY", "GRAPH", "command"]).contains("command - high"));
    assert!(text(&mut client, &["LATENCY", "DOCTOR"]).contains("command: 1 latency spikes"));
    assert_eq!(client.execute(&["LATENCY", "RESET"]), Value::Integer(1));
    assert_eq!(client.execute(&["LATENCY", "LATEST"]), Value::Array(Vec::new()));
}

fn calls_are_counted(program: Program) {
    let server = start(program, &[]);
    let mut client = server.connect();
    client.execute(&["CONFIG", "RESETSTAT"]);
    // More calls than are timed each, to keys of all shards.
    for index in 0..3000 {
        client.execute(&["SET", &format!("key:{index}"), "x"]);
    }
    client.execute(&["MGET", "key:1", "key:2", "key:3"]);
    client.execute(&["INCR", "key:1"]);
    client.execute(&["SET", "key:1"]);
    let set = command_line(&mut client, "set").expect("because it was called");
    assert!(set.starts_with("calls=3000,usec="), "{set}");
    assert!(set.ends_with("rejected_calls=1,failed_calls=0"), "{set}");
    let incr = command_line(&mut client, "incr").expect("because it was called");
    assert!(incr.starts_with("calls=1,") && incr.ends_with("failed_calls=1"), "{incr}");
    assert!(command_line(&mut client, "mget").is_some_and(|mget| mget.starts_with("calls=1,")));
    let latencies = info(&mut client, "latencystats");
    assert!(latencies.contains("latency_percentiles_usec_set:p50="), "{latencies}");
    assert_eq!(info_field(&mut client, "errorstats", "errorstat_ERR"), "count=2");
    let calls = info_field(&mut client, "stats", "total_commands_processed");
    assert!(calls.parse::<u64>().is_ok_and(|calls| (3004..3020).contains(&calls)), "{calls}");
    let several = info(&mut client, "everything");
    let sections = ["# Server", "# Commandstats", "# Latencystats", "# Keyspace"];
    assert!(sections.iter().all(|section| several.contains(section)), "{several}");
    client.execute(&["CONFIG", "RESETSTAT"]);
    assert_eq!(command_line(&mut client, "set"), None);
    assert!(!info(&mut client, "errorstats").contains("errorstat_"));
}

/// A slow request has its client, whichever shard ran it.
fn slow_requests_of_all_shards(program: Program) {
    let server = start(program, &["--slowlog-log-slower-than", "0", "--slowlog-max-len", "1000"]);
    let mut client = server.connect();
    client.execute(&["CLIENT", "SETNAME", "everywhere"]);
    client.execute(&["SLOWLOG", "RESET"]);
    (0..100).for_each(|index| drop(client.execute(&["SET", &format!("key:{index}"), "x"])));
    let Value::Array(requests) = client.execute(&["SLOWLOG", "GET", "-1"]) else { panic!() };
    // Those, and SLOWLOG RESET.
    assert_eq!(requests.len(), 101);
    let mut numbers = Vec::new();
    for (index, request) in requests[..100].iter().rev().enumerate() {
        let Value::Array(facts) = request else { panic!("{request:?}") };
        let args = ["SET", &format!("key:{index}"), "x"].map(|word| Value::bulk(word.as_bytes()));
        assert_eq!(
            (&facts[3], &facts[5]),
            (&Value::Array(args.into()), &Value::bulk(b"everywhere"))
        );
        numbers.push(facts[0].clone());
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 100);
}

/// The ID of a client gives its shard.
fn connections_spread_evenly(program: Program) {
    for shards in [2, 3] {
        let server = start(program, &["--shards", &shards.to_string()]);
        let mut first = server.connect();
        eventually("the client that asked whether it is ready is gone", || {
            info_field(&mut first, "clients", "connected_clients") == "1"
        });
        let mut clients = vec![first];
        let mut on_shard = vec![0_usize; shards];
        for count in 1..=50 {
            let client = clients.last_mut().expect("because there is a first");
            let Value::Integer(number) = client.execute(&["CLIENT", "ID"]) else { panic!() };
            on_shard[(number - 1) as usize % shards] += 1;
            let (fewest, most) = (on_shard.iter().min(), on_shard.iter().max());
            assert!(
                most.zip(fewest).is_some_and(|(most, fewest)| most - fewest <= 1),
                "{count} connections on {shards} shards: {on_shard:?}"
            );
            if count < 50 {
                clients.push(server.connect());
            }
        }
        assert!(shards != 2 || on_shard == [25, 25]);
    }
}
