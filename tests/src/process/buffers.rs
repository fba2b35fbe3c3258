//! What a client may have the server keep for it: large requests, long pipelines, and replies that it reads late or
//! never. Meanwhile others are served.

use super::limits::{info_field, resident_bytes};
use super::{Test, eventually, start, text};
use basalt_resp::{Value, encode_request};
use basalt_testkit::client::Connection;
use basalt_testkit::process::{Program, Server};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("pipelines_longer_than_the_query_limit_pass", pipelines_longer_than_the_query_limit_pass),
    ("half_sent_announcements_cost_what_was_sent", half_sent_announcements_cost_what_was_sent),
    ("large_list_for_a_slow_client", large_list_for_a_slow_client),
    ("large_hash_for_a_slow_client", large_hash_for_a_slow_client),
    ("many_long_keys_for_a_slow_client", many_long_keys_for_a_slow_client),
    ("large_string_for_a_slow_client", large_string_for_a_slow_client),
];

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("replies_are_kept_for_one_that_reads_late", replies_are_kept_for_one_that_reads_late),
    ("one_that_never_reads_is_cut_off_once", one_that_never_reads_is_cut_off_once),
    ("million_requests_before_a_reply_is_read", million_requests_before_a_reply_is_read),
];

/// What the log says of a client that has too much output, here and in Valkey.
const OVER_OUTPUT_LIMIT: &str = "overcoming of output buffer limits";

/// How many clients the log says were cut off.
fn cut_off_lines(server: &Server) -> usize {
    let log = server.log();
    log.lines()
        .filter(|line| line.contains(OVER_OUTPUT_LIMIT) || line.contains("Closing client"))
        .count()
}

/// A number of the line that CLIENT LIST shows of a client.
fn client_number(other: &mut Connection, id: &str, field: &str) -> u64 {
    let line = other.execute(&["CLIENT", "LIST", "ID", id]);
    let line = String::from_utf8_lossy(line.as_bytes().unwrap_or_default()).into_owned();
    let number = line.split(' ').find_map(|word| word.strip_prefix(field)?.strip_prefix('='));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// What the server keeps of a client's replies: ours shows all of it in the first field, Valkey more than some KiB in
/// the second.
fn unread_bytes(other: &mut Connection, id: &str) -> u64 {
    client_number(other, id, "obl") + client_number(other, id, "omem")
}

fn client_id(client: &mut Connection) -> String {
    let Value::Integer(id) = client.execute(&["CLIENT", "ID"]) else { panic!("an ID is a number") };
    id.to_string()
}

fn set_output_limit(other: &mut Connection, normal: &str) {
    let set = ["CONFIG", "SET", "client-output-buffer-limit", &format!("normal {normal}")];
    assert_eq!(text(other, &set), "OK", "{normal}");
}

/// More replies than sockets hold are asked for by a client that reads nothing; returns it when the server keeps some.
fn with_unread_replies(server: &Server, other: &mut Connection, count: usize) -> Connection {
    let mut lazy = server.connect();
    let id = client_id(&mut lazy);
    let mut requests = Vec::new();
    (0..count).for_each(|_| encode_request(&["GET", "big"], &mut requests));
    lazy.send_bytes(&requests).unwrap();
    eventually("the server keeps replies, or has cut it off", || {
        unread_bytes(other, &id) > 0 || cut_off_lines(server) > 0
    });
    lazy
}

fn replies_are_kept_for_one_that_reads_late(program: Program) {
    const COUNT: usize = 300;
    let settings: [&[&str]; 3] = [
        &[],
        &["--client-query-buffer-limit", "64mb"],
        &["--client-output-buffer-limit", "normal 64mb 32mb 60"],
    ];
    for args in settings {
        let server = start(program, args);
        let mut other = server.connect();
        other.execute(&[&b"SET"[..], b"big", &vec![b'v'; 100_000]]);
        let mut lazy = with_unread_replies(&server, &mut other, COUNT);
        assert_eq!(text(&mut other, &["PING"]), "PONG");
        for _ in 0..COUNT {
            assert_eq!(lazy.receive().unwrap().as_bytes().map(<[u8]>::len), Some(100_000));
        }
        assert_eq!(cut_off_lines(&server), 0, "{args:?}: {}", server.log());
    }
}

fn one_that_never_reads_is_cut_off_once(program: Program) {
    let server = start(program, &["--client-query-buffer-limit", "64mb"]);
    let mut other = server.connect();
    other.execute(&[&b"SET"[..], b"big", &vec![b'v'; 100_000]]);
    for (round, limit) in ["1mb 0 0", "0 512kb 1", "1gb 512kb 1"].into_iter().enumerate() {
        set_output_limit(&mut other, limit);
        let lazy = with_unread_replies(&server, &mut other, 300);
        eventually("it is cut off", || {
            assert_eq!(text(&mut other, &["PING"]), "PONG");
            info_field(&mut other, "clients", "connected_clients") == "1"
        });
        assert_eq!(cut_off_lines(&server), round + 1, "{limit}: {}", server.log());
        drop(lazy);
    }
    let count = info_field(&mut other, "stats", "client_output_buffer_limit_disconnections");
    assert_eq!(count, "3");
}

fn pipelines_longer_than_the_query_limit_pass(program: Program) {
    const COUNT: usize = 100_000;
    let server = start(program, &["--client-query-buffer-limit", "1mb"]);
    let mut requests = Vec::new();
    for number in 0..COUNT {
        encode_request(&["SET", &format!("key:{}", number % 1000), "value"], &mut requests);
    }
    assert!(requests.len() > 3 << 20, "{} bytes", requests.len());
    let mut client = server.connect();
    let replies = client.exchange(&requests, COUNT).unwrap();
    assert!(replies.iter().all(|reply| *reply == Value::simple("OK")));
}

/// As clients do that collect a pipeline, send it, and then read.
fn million_requests_before_a_reply_is_read(program: Program) {
    const COUNT: usize = 1_000_000;
    let mut requests = Vec::new();
    for number in 0..1000 {
        encode_request(&["SET", &format!("key:{number}"), "value"], &mut requests);
    }
    for shards in ["1", "2"] {
        let server = start(program, &["--shards", shards]);
        let before = resident_bytes(&server);
        let mut client = server.connect();
        for _ in 0..COUNT / 1000 {
            client.send_bytes(&requests).unwrap();
        }
        let grown = resident_bytes(&server).saturating_sub(before);
        for _ in 0..COUNT {
            assert_eq!(client.receive().unwrap(), Value::simple("OK"), "with {shards} shards");
        }
        assert!(grown < 64 << 20, "with {shards} shards it grew by {grown} bytes");
    }
}

fn half_sent_announcements_cost_what_was_sent(program: Program) {
    const CLIENTS: u64 = 4;
    const SENT: u64 = 6 << 20;
    let server = start(program, &[]);
    let mut other = server.connect();
    let before = resident_bytes(&server);
    let mut clients = Vec::new();
    for key in 0..CLIENTS {
        let mut client = server.connect();
        let id = client_id(&mut client);
        let head = format!("*3\r\n$3\r\nSET\r\n$1\r\n{key}\r\n${}\r\n", 512 << 20);
        client.send_bytes(head.as_bytes()).unwrap();
        client.send_bytes(&vec![b'x'; SENT as usize]).unwrap();
        eventually("it has arrived", || client_number(&mut other, &id, "tot-mem") >= SENT);
        clients.push(client);
    }
    let grown = resident_bytes(&server).saturating_sub(before);
    assert!(grown < CLIENTS * SENT + (24 << 20), "{grown} bytes for {CLIENTS} times {SENT}");
}

/// A client asks for a large reply and reads late, or never. It is cut off, or gets all of it; others are served.
fn slow_client(
    program: Program,
    fill: fn(&mut Connection),
    ask: &[&str],
    is_whole: fn(&Value) -> bool,
) {
    let server = start(program, &[]);
    let mut other = server.connect();
    fill(&mut other);
    for limit in ["0 0 0", "1gb 0 0"] {
        set_output_limit(&mut other, limit);
        let mut slow = server.connect();
        let id = client_id(&mut slow);
        slow.send(ask).unwrap();
        eventually("the server keeps most of it", || unread_bytes(&mut other, &id) > 0);
        assert_eq!(text(&mut other, &["PING"]), "PONG");
        assert!(is_whole(&slow.receive().unwrap()), "{ask:?} with {limit}");
        assert_eq!(cut_off_lines(&server), 0, "{limit}: {}", server.log());
    }
    for (round, limit) in ["16mb 0 0", "0 16mb 1"].into_iter().enumerate() {
        set_output_limit(&mut other, limit);
        let mut slow = server.connect();
        slow.send(ask).unwrap();
        eventually("it is cut off", || {
            assert_eq!(text(&mut other, &["PING"]), "PONG");
            info_field(&mut other, "clients", "connected_clients") == "1"
        });
        assert!(slow.receive().is_err(), "{ask:?} with {limit}");
        assert_eq!(cut_off_lines(&server), round + 1, "{limit}: {}", server.log());
    }
}

const ELEMENTS: usize = 50;
const ELEMENT_BYTES: usize = 1 << 20;

/// An element of a large collection.
fn element(number: usize) -> Vec<u8> {
    let mut element = number.to_string().into_bytes();
    element.resize(ELEMENT_BYTES, b'.');
    element
}

fn are_elements(values: &[Value]) -> bool {
    values.len() == ELEMENTS
        && values.iter().all(|value| value.as_bytes().map(<[u8]>::len) == Some(ELEMENT_BYTES))
}

fn large_list_for_a_slow_client(program: Program) {
    let fill = |client: &mut Connection| {
        (0..ELEMENTS).for_each(|at| {
            let pushed = client.execute(&[b"RPUSH", &b"list"[..], &element(at)]);
            assert_eq!(pushed, Value::Integer(at as i64 + 1));
        });
    };
    slow_client(
        program,
        fill,
        &["LRANGE", "list", "0", "-1"],
        |reply| matches!(reply, Value::Array(values) if are_elements(values)),
    );
}

fn large_hash_for_a_slow_client(program: Program) {
    let fill = |client: &mut Connection| {
        (0..ELEMENTS).for_each(|at| {
            let field = at.to_string();
            let set = client.execute(&[b"HSET", &b"hash"[..], field.as_bytes(), &element(at)]);
            assert_eq!(set, Value::Integer(1));
        });
    };
    slow_client(program, fill, &["HGETALL", "hash"], |reply| {
        let Value::Array(values) = reply else { return false };
        let long: Vec<Value> = values.iter().skip(1).step_by(2).cloned().collect();
        values.len() == 2 * ELEMENTS && are_elements(&long)
    });
}

fn many_long_keys_for_a_slow_client(program: Program) {
    let fill = |client: &mut Connection| {
        (0..ELEMENTS).for_each(|at| {
            let set = client.execute(&[&b"SET"[..], &element(at), b"v"]);
            assert_eq!(set, Value::simple("OK"));
        });
    };
    slow_client(
        program,
        fill,
        &["KEYS", "*"],
        |reply| matches!(reply, Value::Array(values) if are_elements(values)),
    );
}

fn large_string_for_a_slow_client(program: Program) {
    const BYTES: usize = 200 << 20;
    let fill = |client: &mut Connection| {
        let end = (BYTES - 1).to_string();
        assert_eq!(
            client.execute(&["SETRANGE", "string", &end, "x"]),
            Value::Integer(BYTES as i64)
        );
    };
    slow_client(program, fill, &["GET", "string"], |reply| {
        reply.as_bytes().map(<[u8]>::len) == Some(BYTES)
    });
}
