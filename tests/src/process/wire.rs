//! Bytes on the wire: pieces, pipelines, ends, and invalid requests.

use super::{Test, start, text};
use basalt_resp::{Value, encode_request};
use basalt_testkit::client::Connection;
use basalt_testkit::process::{Program, Server};
use std::time::{Duration, Instant};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("requests_in_two_pieces", requests_in_two_pieces),
    ("requests_byte_by_byte", requests_byte_by_byte),
    ("long_pipeline", long_pipeline),
    ("pipeline_of_large_replies", pipeline_of_large_replies),
    ("replies_to_a_half_closed_socket", replies_to_a_half_closed_socket),
    ("half_closed_within_a_request", half_closed_within_a_request),
    ("protocol_errors", protocol_errors),
    ("no_error_where_redis_has_none", no_error_where_redis_has_none),
    ("replies_before_a_protocol_error", replies_before_a_protocol_error),
    ("http_is_refused", http_is_refused),
    ("value_of_100_megabytes", value_of_100_megabytes),
    ("value_of_512_megabytes_is_the_most", value_of_512_megabytes_is_the_most),
    ("quit_in_a_pipeline", quit_in_a_pipeline),
];

/// Requests of all kinds, and the replies that they must have, whatever way the bytes come.
fn mixed_traffic() -> (Vec<u8>, Vec<Value>) {
    let big = vec![b'x'; 300];
    let requests: &[(&[&[u8]], Value)] = &[
        (&[b"SET", b"k", b"a value\r\n$3\r\n"], Value::simple("OK")),
        (&[b"GET", b"k"], Value::bulk("a value\r\n$3\r\n")),
        (&[b"SET", b"", b""], Value::simple("OK")),
        (&[b"MGET", b"", b"k", b"absent"], {
            let values = vec![Value::bulk(""), Value::bulk("a value\r\n$3\r\n"), Value::Null];
            Value::Array(values)
        }),
        (&[b"SET", b"big", &big], Value::simple("OK")),
        (&[b"STRLEN", b"big"], Value::Integer(300)),
        (&[b"NOSUCH"], Value::error("ERR unknown command 'NOSUCH', with args beginning with: ")),
        (&[b"DEL", b"k", b"", b"big"], Value::Integer(3)),
    ];
    let mut bytes = Vec::new();
    let mut replies = Vec::new();
    for (request, reply) in requests {
        encode_request(request, &mut bytes);
        replies.push(reply.clone());
    }
    bytes.extend_from_slice(b"\r\nPING\r\nECHO \"a \\x41\"\n");
    replies.extend([Value::simple("PONG"), Value::bulk("a A")]);
    (bytes, replies)
}

/// Gives the server a reason to have read what was sent so far: it answers another client.
fn let_it_read(other: &mut Connection) {
    other.execute(&["PING"]);
}

fn requests_in_two_pieces(program: Program) {
    let server = start(program, &[]);
    let (bytes, replies) = mixed_traffic();
    let mut other = server.connect();
    let mut connection = server.connect();
    for cut in 1..bytes.len() {
        connection.send_bytes(&bytes[..cut]).unwrap();
        let_it_read(&mut other);
        connection.send_bytes(&bytes[cut..]).unwrap();
        let came = connection.receive_many(replies.len()).unwrap();
        assert_eq!(came, replies, "cut at byte {cut}");
    }
}

fn requests_byte_by_byte(program: Program) {
    let server = start(program, &[]);
    let (bytes, replies) = mixed_traffic();
    let mut other = server.connect();
    let mut connection = server.connect();
    for byte in &bytes {
        connection.send_bytes(&[*byte]).unwrap();
        let_it_read(&mut other);
    }
    assert_eq!(connection.receive_many(replies.len()).unwrap(), replies);
}

fn long_pipeline(program: Program) {
    const COUNT: usize = 100_000;
    let server = start(program, &[]);
    let mut connection = server.connect();
    let requests: Vec<[String; 2]> =
        (0..COUNT).map(|index| ["INCR".to_owned(), format!("key:{}", index % 100)]).collect();
    let replies = connection.pipeline(&requests).unwrap();
    for (index, reply) in replies.iter().enumerate() {
        let expected = i64::try_from(index / 100 + 1).unwrap();
        assert_eq!(*reply, Value::Integer(expected), "reply {index}");
    }
}

/// The whole pipeline is sent before the first reply is read; the replies are far larger than the requests.
fn pipeline_of_large_replies(program: Program) {
    let server = start(program, &[]);
    let mut connection = server.connect();
    let value = vec![b'v'; 100_000];
    connection.execute(&[&b"SET"[..], b"k", &value]);
    let requests = vec![["GET", "k"]; 500];
    for reply in connection.pipeline(&requests).unwrap() {
        assert_eq!(reply.as_bytes(), Some(value.as_slice()));
    }
    assert_eq!(text(&mut connection, &["PING"]), "PONG");
}

fn replies_to_a_half_closed_socket(program: Program) {
    let server = start(program, &[]);
    let mut connection = server.connect();
    let mut bytes = Vec::new();
    encode_request(&["SET", "k", "v"], &mut bytes);
    for _ in 0..1000 {
        encode_request(&["GET", "k"], &mut bytes);
    }
    connection.send_bytes(&bytes).unwrap();
    connection.shut_down_writing().unwrap();
    // Redis frees a client at the end of its input: what was not sent by then may be lost, but nothing else may come.
    let came = connection.read_to_end().unwrap();
    let whole = [b"+OK\r\n".to_vec(), b"$1\r\nv\r\n".repeat(1000)].concat();
    if program == Program::Ours {
        assert_eq!(came.len(), whole.len(), "some replies are missing");
    }
    assert!(whole.starts_with(&came));
}

fn half_closed_within_a_request(program: Program) {
    let server = start(program, &[]);
    let mut connection = server.connect();
    connection.send_bytes(b"*2\r\n$4\r\nECHO\r\n$5\r\nhal").unwrap();
    connection.shut_down_writing().unwrap();
    assert_eq!(connection.read_to_end().unwrap(), b"");
    assert_eq!(text(&mut server.connect(), &["PING"]), "PONG");
}

fn protocol_errors(program: Program) {
    let long = |start: &str| [start.as_bytes(), &vec![b'1'; 70_000]].concat();
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$-1\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$-5\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$536870913\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$x\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$04\r\nPING\r\n".to_vec(), "invalid bulk length"),
        (b"*2147483648\r\n".to_vec(), "invalid multibulk length"),
        (b"*x\r\n".to_vec(), "invalid multibulk length"),
        (b"*\r\n".to_vec(), "invalid multibulk length"),
        (b"*1 \r\n".to_vec(), "invalid multibulk length"),
        (b"*+1\r\n$4\r\nPING\r\n".to_vec(), "invalid multibulk length"),
        (b"*01\r\n$4\r\nPING\r\n".to_vec(), "invalid multibulk length"),
        (b"*1x$4\r\nPING\r\n".to_vec(), "invalid multibulk length"),
        (b"*1\r\nPING\r\n".to_vec(), "expected '$', got 'P'"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n:5\r\n".to_vec(), "expected '$', got ':'"),
        (b"*1\r\n$4\r\nPINGxxPING\r\n".to_vec(), "invalid CRLF in request"),
        (b"SET k \"unbalanced\r\n".to_vec(), "unbalanced quotes in request"),
        (vec![b'A'; 70_000], "too big inline request"),
        (long("*"), "too big mbulk count string"),
        (long("*1\r\n$"), "too big bulk count string"),
    ];
    let server = start(program, &[]);
    for (bytes, message) in &cases {
        assert_refused(&server, bytes, message);
    }
}

/// The message comes first, then the end.
fn assert_refused(server: &Server, bytes: &[u8], message: &str) {
    let mut connection = server.connect();
    connection.set_timeout(Duration::from_secs(5)).unwrap();
    connection.send_bytes(bytes).unwrap();
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
    let expected = format!("ERR Protocol error: {message}");
    match connection.receive() {
        Ok(reply) => assert_eq!(reply, Value::error(&expected), "to {shown:?}"),
        Err(error) => panic!("{shown:?} had no reply but {error}, not: {expected}"),
    }
    assert!(connection.is_closed(), "{shown:?}: the connection stays open");
}

fn no_error_where_redis_has_none(program: Program) {
    let cases: &[(&[u8], &[u8])] = &[
        (b"\r\n\r\nPING\r\n", b"+PONG\r\n"),
        (b"*0\r\n*-1\r\n*-10\r\nPING\r\n", b"+PONG\r\n"),
        (b"PING\nPING\r\n", b"+PONG\r\n+PONG\r\n"),
        (b"ping \"a\\x41\\n\"\r\n", b"$3\r\naA\n\r\n"),
        (b"  ping   'it\\'s'  \r\n", b"$4\r\nit's\r\n"),
        (b"*1\r\n$0\r\n\r\n", b"-ERR unknown command '', with args beginning with: \r\n"),
    ];
    let server = start(program, &[]);
    for (bytes, expected) in cases {
        let mut connection = server.connect();
        connection.send_bytes(bytes).unwrap();
        connection.send(&["QUIT"]).unwrap();
        let came = connection.read_to_end().unwrap();
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(came, [*expected, b"+OK\r\n"].concat(), "to {shown:?}");
    }
}

fn replies_before_a_protocol_error(program: Program) {
    let server = start(program, &[]);
    let mut connection = server.connect();
    connection.send_bytes(b"PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n!\r\nPING\r\n").unwrap();
    let came = connection.read_to_end().unwrap();
    let expected = "+PONG\r\n+PONG\r\n-ERR Protocol error: expected '$', got '!'\r\n";
    assert_eq!(String::from_utf8_lossy(&came), expected);
}

/// A browser that is made to talk to the port must not get its second line executed.
fn http_is_refused(program: Program) {
    let server = start(program, &[]);
    for request in
        ["POST / HTTP/1.1\r\nHost: x\r\nSET k v\r\n", "GET / HTTP/1.1\r\nHost: x\r\nSET k v\r\n"]
    {
        let mut connection = server.connect();
        connection.set_timeout(Duration::from_secs(5)).unwrap();
        connection.send_bytes(request.as_bytes()).unwrap();
        let came = connection.read_to_end();
        let came = came.unwrap_or_else(|error| panic!("{request:?} is not hung up on: {error}"));
        let came = String::from_utf8_lossy(&came);
        assert!(!came.contains("+OK"), "{request:?}: {came}");
    }
    assert_eq!(text(&mut server.connect(), &["EXISTS", "k"]), "(integer) 0");
}

#[expect(clippy::disallowed_methods, reason = "how long it takes is the test")]
fn value_of_100_megabytes(program: Program) {
    let server = start(program, &[]);
    let value: Vec<u8> = (0..100_000_000_u32).map(|at| (at ^ (at >> 9)) as u8).collect();
    let mut connection = server.connect();
    let begin = Instant::now();
    assert_eq!(connection.execute(&[&b"SET"[..], b"k", &value]), Value::simple("OK"));
    let came = connection.execute(&["GET", "k"]);
    let took = begin.elapsed();
    assert!(came.as_bytes() == Some(value.as_slice()), "the value came back changed");
    assert_eq!(text(&mut connection, &["STRLEN", "k"]), "(integer) 100000000");
    assert_eq!(text(&mut connection, &["APPEND", "k", "x"]), "(integer) 100000001");
    assert_eq!(text(&mut connection, &["DEL", "k"]), "(integer) 1");
    // A parser that starts over with each piece would need minutes.
    assert!(took < Duration::from_secs(20), "it took {took:?}");
}

fn value_of_512_megabytes_is_the_most(program: Program) {
    let server = start(program, &[]);
    let mut connection = server.connect();
    connection.execute(&["SET", "k", "v"]);
    assert_eq!(
        text(&mut connection, &["SETRANGE", "k", "536870911", "xy"]),
        "(error) ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    );
    assert_refused(&server, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n", "invalid bulk length");
    if std::env::var_os("BASALT_LONG").is_some() {
        let value = vec![7; 512 * 1024 * 1024];
        assert_eq!(connection.execute(&[&b"SET"[..], b"k", &value]), Value::simple("OK"));
        assert!(connection.execute(&["GET", "k"]).as_bytes() == Some(value.as_slice()));
    }
}

fn quit_in_a_pipeline(program: Program) {
    let server = start(program, &[]);
    let mut connection = server.connect();
    let mut bytes = Vec::new();
    for request in [&["SET", "k", "v"][..], &["QUIT"], &["SET", "k", "w"]] {
        encode_request(request, &mut bytes);
    }
    connection.send_bytes(&bytes).unwrap();
    assert_eq!(connection.read_to_end().unwrap(), b"+OK\r\n+OK\r\n");
    assert_eq!(text(&mut server.connect(), &["GET", "k"]), "\"v\"");
}
