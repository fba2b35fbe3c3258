//! Thousands of blocked clients: each is served once and in order, and no other client is delayed.

use super::{Test, eventually, start};
use basalt_resp::Value;
use basalt_testkit::client::Connection;
use basalt_testkit::process::Program;

pub(super) const TESTS: &[(&str, Test)] = &[
    ("thousands_wait_in_line", thousands_wait_in_line),
    ("a_command_is_answered_after_whom_it_fed", a_command_is_answered_after_whom_it_fed),
];

/// LIMIT: connections of the test; each takes a descriptor on both sides.
const CLIENTS: usize = 2000;

fn thousands_wait_in_line(program: Program) {
    let server = start(program, &[]);
    let mut other = Connection::open(&server.address()).unwrap();
    let mut blocked = |count: usize| {
        let info = other.execute(&["INFO", "clients"]);
        let info = String::from_utf8_lossy(info.as_bytes().expect("a text")).into_owned();
        info.contains(&format!("blocked_clients:{count}\r\n"))
    };
    let mut waiting: Vec<Connection> = Vec::with_capacity(CLIENTS);
    for index in 0..CLIENTS {
        let mut client = Connection::open(&server.address()).unwrap();
        // Every tenth waits for one key, whose order is checked; each of the others for its own
        // key.
        if index % 10 == 0 {
            client.send(&["BLPOP", "line", "0"]).unwrap();
            eventually("it stands in line", || blocked(index + 1));
        } else {
            client.send(&["BZPOPMIN", &format!("own:{index}"), "absent", "0"]).unwrap();
        }
        if index % 10 == 9 {
            eventually("they wait", || blocked(index + 1));
        }
        waiting.push(client);
    }
    let mut feeder = Connection::open(&server.address()).unwrap();
    let numbers: Vec<String> = (0..CLIENTS / 10).map(|number| number.to_string()).collect();
    let push: Vec<&str> =
        ["RPUSH", "line"].into_iter().chain(numbers.iter().map(String::as_str)).collect();
    feeder.execute(&push);
    assert_eq!(feeder.execute(&["EXISTS", "line"]), Value::Integer(0), "they were served at once");
    for (number, client) in waiting.iter_mut().step_by(10).enumerate() {
        let served = Value::Array(vec![Value::bulk("line"), Value::bulk(number.to_string())]);
        assert_eq!(client.receive().unwrap(), served);
    }
    feeder.execute(&["ZADD", "own:1", "5", "x"]);
    assert!(matches!(waiting[1].receive().unwrap(), Value::Array(values) if values.len() == 3));
    eventually("the others wait on", || blocked(CLIENTS - CLIENTS / 10 - 1));
    drop(waiting);
    eventually("who has gone waits no more", || blocked(0));
}

/// Whoever has its answer finds what a blocked client did because of its command, on whichever shards the keys are.
fn a_command_is_answered_after_whom_it_fed(program: Program) {
    let server = start(program, &[]);
    let connect = || Connection::open(&server.address()).unwrap();
    let (mut feeder, mut looker, mut waiter) = (connect(), connect(), connect());
    for round in 0..200 {
        let [from, through, to] = ["from", "through", "to"].map(|name| format!("{name}:{round}"));
        feeder.execute(&["RPUSH", &from, "x"]);
        waiter.send(&["BLMOVE", &through, &to, "LEFT", "LEFT", "0"]).unwrap();
        eventually("it waits", || {
            let info = looker.execute(&["INFO", "clients"]);
            let info = String::from_utf8_lossy(info.as_bytes().expect("a text")).into_owned();
            info.contains("blocked_clients:1\r\n")
        });
        assert_eq!(feeder.execute(&["RPOPLPUSH", &from, &through]), Value::bulk("x"));
        let there = Value::Array(vec![Value::bulk("x")]);
        assert_eq!(looker.execute(&["LRANGE", &to, "0", "-1"]), there, "round {round}");
        assert_eq!(waiter.receive().unwrap(), Value::bulk("x"));
    }
}
