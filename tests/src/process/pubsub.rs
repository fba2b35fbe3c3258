//! Subscribers of a process: those that do not read, those that want no replies, and very many subscriptions.

use super::limits::info_field;
use super::{Test, eventually, start, text};
use basalt_resp::Value;
use basalt_testkit::client::Connection;
use basalt_testkit::process::Program;

pub(super) const TESTS: &[(&str, Test)] =
    &[("pushes_come_whatever_client_reply_says", pushes_come_whatever_client_reply_says)];

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("slow_subscriber_is_closed_at_the_hard_limit", slow_subscriber_is_closed_at_the_hard_limit),
    ("slow_subscriber_is_closed_after_the_soft_limit", slow_subscriber_is_closed_after_soft_limit),
    ("chat_with_slow_subscribers", chat_with_slow_subscribers),
    ("many_subscriptions_of_who_is_gone_are_dropped", many_subscriptions_are_dropped),
];

/// Waits for the next reply, or push, as it is printed.
fn next(connection: &mut Connection) -> String {
    let value = connection.receive().expect("because something comes");
    basalt_testkit::print::print(&value).replace('\n', " ").trim_end().to_owned()
}

/// Pushes, and confirmations, are none of the replies that CLIENT REPLY ends.
fn pushes_come_whatever_client_reply_says(program: Program) {
    let server = start(program, &[]);
    let (mut quiet, mut other) = (server.connect(), server.connect());
    let expect = |connection: &mut Connection, args: &[&str], expected: &str| {
        connection.send(args).unwrap();
        assert_eq!(next(connection), expected, "to {args:?}");
    };
    quiet.send(&["CLIENT", "REPLY", "OFF"]).unwrap();
    quiet.send(&["PING"]).unwrap();
    expect(&mut quiet, &["SUBSCRIBE", "a"], "1) \"subscribe\" 2) \"a\" 3) (integer) 1");
    expect(&mut quiet, &["PSUBSCRIBE", "b*"], "1) \"psubscribe\" 2) \"b*\" 3) (integer) 2");
    assert_eq!(text(&mut other, &["PUBLISH", "a", "1"]), "(integer) 1");
    assert_eq!(next(&mut quiet), "1) \"message\" 2) \"a\" 3) \"1\"");
    assert_eq!(text(&mut other, &["PUBLISH", "b", "2"]), "(integer) 1");
    assert_eq!(next(&mut quiet), "1) \"pmessage\" 2) \"b*\" 3) \"b\" 4) \"2\"");
    expect(&mut quiet, &["UNSUBSCRIBE"], "1) \"unsubscribe\" 2) \"a\" 3) (integer) 1");
    expect(&mut quiet, &["PUNSUBSCRIBE"], "1) \"punsubscribe\" 2) \"b*\" 3) (integer) 0");
    expect(&mut quiet, &["SSUBSCRIBE", "s"], "1) \"ssubscribe\" 2) \"s\" 3) (integer) 1");
    expect(&mut quiet, &["SUNSUBSCRIBE"], "1) \"sunsubscribe\" 2) \"s\" 3) (integer) 0");
    expect(&mut quiet, &["UNSUBSCRIBE"], "1) \"unsubscribe\" 2) (nil) 3) (integer) 0");
    expect(&mut quiet, &["CLIENT", "REPLY", "ON"], "OK");
    // A skipped reply is none of a push, in RESP3 neither.
    quiet.execute(&["HELLO", "3"]);
    quiet.send(&["CLIENT", "REPLY", "SKIP"]).unwrap();
    expect(&mut quiet, &["SUBSCRIBE", "a"], "1) \"subscribe\" 2) \"a\" 3) (integer) 1");
    expect(&mut quiet, &["CLIENT", "TRACKING", "ON"], "OK");
    expect(&mut quiet, &["GET", "k"], "(nil)");
    quiet.send(&["CLIENT", "REPLY", "OFF"]).unwrap();
    quiet.send(&["GET", "other"]).unwrap();
    expect(&mut quiet, &["PUBLISH", "a", "3"], "1) \"message\" 2) \"a\" 3) \"3\"");
    other.execute(&["SET", "k", "1"]);
    assert_eq!(next(&mut quiet), "1) \"invalidate\" 2) 1) \"k\"");
    other.execute(&["SET", "other", "1"]);
    assert_eq!(next(&mut quiet), "1) \"invalidate\" 2) 1) \"other\"");
    expect(&mut quiet, &["CLIENT", "REPLY", "ON"], "OK");
}

/// A message that no socket buffer hides for long.
fn large() -> Vec<u8> {
    vec![b'v'; 100_000]
}

/// How many clients of a type there are.
fn count_of_type(connection: &mut Connection, kind: &str) -> usize {
    let list = connection.execute(&["CLIENT", "LIST", "TYPE", kind]);
    String::from_utf8_lossy(list.as_bytes().expect("because it is text")).lines().count()
}

/// A number in the line of the only client of a type.
fn number_of(connection: &mut Connection, field: &str) -> u64 {
    let list = connection.execute(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    let list = String::from_utf8_lossy(list.as_bytes().expect("because it is text")).into_owned();
    let value = list.split(' ').find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("{list} has {field}")).parse().unwrap()
}

fn slow_subscriber_is_closed_at_the_hard_limit(program: Program) {
    let server = start(program, &["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let (mut publisher, mut slow, mut good) =
        (server.connect(), server.connect(), server.connect());
    slow.execute(&["SUBSCRIBE", "news"]);
    good.execute(&["SUBSCRIBE", "news"]);
    let mut sent = 0;
    eventually("the subscriber that does not read is closed", || {
        let receivers = publisher.execute(&[&b"PUBLISH"[..], b"news", &large()]);
        sent += 1;
        // Whoever reads gets all of it.
        let message = good.receive().unwrap();
        assert!(
            matches!(&message, Value::Array(parts) if parts[2].as_bytes() == Some(&large()[..]))
        );
        assert!(matches!(receivers, Value::Integer(1 | 2)));
        count_of_type(&mut publisher, "pubsub") == 1
    });
    assert_eq!(text(&mut publisher, &["PUBSUB", "NUMSUB", "news"]), "1) \"news\"\n2) (integer) 1");
    assert!(sent > 10, "{sent} messages");
    assert!(slow.read_to_end().unwrap().len() < sent * 100_000);
    // Who is no subscriber is bound by another limit.
    assert_eq!(text(&mut publisher, &["PING"]), "PONG");
}

fn slow_subscriber_is_closed_after_soft_limit(program: Program) {
    let server = start(program, &["--client-output-buffer-limit", "pubsub 0 1mb 1"]);
    let (mut publisher, mut slow) = (server.connect(), server.connect());
    slow.execute(&["SUBSCRIBE", "news"]);
    // As much again as the limit, so that it stays above it; then no message more comes.
    while number_of(&mut publisher, "obl") + number_of(&mut publisher, "omem") < 2 << 20 {
        publisher.execute(&[&b"PUBLISH"[..], b"news", &large()]);
    }
    assert!(number_of(&mut publisher, "tot-mem") > 2 << 20);
    eventually("a second above the limit is over", || count_of_type(&mut publisher, "pubsub") == 0);
}

/// Many listen to a channel, and some of them do not read: nobody else loses a message.
fn chat_with_slow_subscribers(program: Program) {
    const GOOD: usize = 950;
    const SLOW: usize = 50;
    const MESSAGES: usize = 100;
    let server = start(program, &["--client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let mut publisher = server.connect();
    let subscribe = |count: usize, channels: &[&str]| -> Vec<Connection> {
        let mut all: Vec<Connection> = (0..count).map(|_| server.connect()).collect();
        for subscriber in &mut all {
            subscriber.send(&[&["SUBSCRIBE"], channels].concat()).unwrap();
        }
        for subscriber in &mut all {
            subscriber.receive_many(channels.len()).unwrap();
        }
        all
    };
    let mut good = subscribe(GOOD, &["chat"]);
    let slow = subscribe(SLOW, &["chat", "flood"]);
    for number in 0..MESSAGES {
        let receivers = publisher.execute(&["PUBLISH", "chat", &format!("message {number}")]);
        let Value::Integer(receivers) = receivers else { panic!("{receivers:?}") };
        assert!((GOOD as i64..=(GOOD + SLOW) as i64).contains(&receivers));
        publisher.execute(&[&b"PUBLISH"[..], b"flood", &large()]);
    }
    for subscriber in &mut good {
        for number in 0..MESSAGES {
            let Value::Array(parts) = subscriber.receive().unwrap() else { panic!("no message") };
            assert_eq!(parts[2], Value::bulk(format!("message {number}")));
        }
    }
    eventually("those that do not read are closed", || {
        count_of_type(&mut publisher, "pubsub") == GOOD
    });
    assert_eq!(text(&mut publisher, &["PUBLISH", "chat", "last"]), format!("(integer) {GOOD}"));
    drop(slow);
}

/// What a client that is gone was subscribed to is dropped in slices: others are answered meanwhile.
fn many_subscriptions_are_dropped(program: Program) {
    const CHANNELS: usize = 50_000;
    let server = start(program, &[]);
    let (mut subscriber, mut other) = (server.connect(), server.connect());
    for first in (0..CHANNELS).step_by(1000) {
        let names: Vec<String> = (first..first + 1000).map(|n| format!("channel:{n}")).collect();
        let request: Vec<&str> =
            std::iter::once("SUBSCRIBE").chain(names.iter().map(String::as_str)).collect();
        subscriber.send(&request).unwrap();
        subscriber.receive_many(1000).unwrap();
    }
    let count = |other: &mut Connection| -> usize {
        info_field(other, "stats", "pubsub_channels").parse().unwrap()
    };
    assert_eq!(count(&mut other), CHANNELS);
    drop(subscriber);
    let mut seen_between = false;
    eventually("all are dropped", || {
        let left = count(&mut other);
        seen_between |= left > 0 && left < CHANNELS;
        left == 0
    });
    assert!(seen_between, "others are answered meanwhile");
    assert_eq!(info_field(&mut other, "clients", "pubsub_clients"), "0");
}
