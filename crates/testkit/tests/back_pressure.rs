//! What a client may have the server keep for it, in whatever state it is, and what becomes of one that goes too far.

use basalt_commands::config::Config;
use basalt_resp::Value;
use basalt_testkit::client::replies;
use basalt_testkit::simulation::{ClientId, Simulation};

/// What a session may keep of requests that can't be worked, with what one turn brings in.
const KEPT_MAX: usize = 2 << 20;

fn config(settings: &[(&[u8], &[u8])]) -> Config {
    Config::default().set(settings, true).expect("the settings can be set")
}

/// So many requests of about a hundred bytes each, for keys of all shards.
fn send_sets(simulation: &mut Simulation, client: ClientId, count: usize) {
    for number in 0..count {
        let request = format!("SET key:{number} {}\r\n", "v".repeat(80));
        simulation.send(client, request.as_bytes());
    }
}

#[test]
fn a_pipeline_longer_than_all_buffers_is_worked_before_a_reply_is_read() {
    const COUNT: usize = 100_000;
    for shards in [1, 2, 4] {
        let limited = config(&[(b"client-query-buffer-limit", b"1mb")]);
        let mut simulation = Simulation::new(shards, limited, 31);
        let client = simulation.connect(0);
        simulation.set_deaf(client, true);
        // Its output is over the pause from the start on.
        simulation.send(client, format!("SET big {}\r\n", "x".repeat(60_000)).as_bytes());
        (0..100).for_each(|_| simulation.send(client, b"GET big\r\n"));
        send_sets(&mut simulation, client, COUNT);
        simulation.settle();
        assert_eq!(simulation.unread_bytes(client), 0, "with {shards} shards");
        assert!(simulation.is_connected(client), "with {shards} shards");
        simulation.set_deaf(client, false);
        simulation.settle();
        let got = replies(&simulation.take_received(client));
        assert_eq!(got.len(), COUNT + 101);
        assert!(got[101..].iter().all(|reply| *reply == Value::simple("OK")));
    }
}

#[test]
fn a_session_that_has_to_wait_is_not_read_beyond_its_backlog() {
    let states: [(&str, &[u8], &[u8]); 3] = [
        ("BLPOP", b"BLPOP list 0\r\n", b"LPUSH list x\r\n"),
        ("CLIENT PAUSE", b"PING\r\n", b"PING\r\n"),
        ("BLMOVE", b"BLMOVE a b LEFT LEFT 0\r\n", b"LPUSH a x\r\n"),
    ];
    for shards in [1, 2] {
        for (state, begin, end) in states {
            let mut simulation = Simulation::new(shards, Config::default(), 32);
            let (client, other) = (simulation.connect(0), simulation.connect(shards - 1));
            if state == "CLIENT PAUSE" {
                simulation.send(other, b"CLIENT PAUSE 1000\r\n");
                simulation.settle();
            }
            simulation.send(client, begin);
            send_sets(&mut simulation, client, 60_000);
            let sent = simulation.unread_bytes(client);
            simulation.settle();
            let kept = sent - simulation.unread_bytes(client);
            assert!(kept <= KEPT_MAX, "{state} with {shards} shards: {kept} bytes");
            assert!(simulation.is_connected(client));
            simulation.send(other, end);
            simulation.settle();
            simulation.advance_ms(2000);
            simulation.settle();
            assert_eq!(simulation.unread_bytes(client), 0, "{state} with {shards} shards");
            assert_eq!(replies(&simulation.take_received(client)).len(), 60_001, "{state}");
        }
    }
}

#[test]
fn one_request_over_the_limit_is_cut_off_and_logged() {
    let limited = config(&[(b"client-query-buffer-limit", b"1mb")]);
    let mut simulation = Simulation::new(2, limited, 33);
    let client = simulation.connect(0);
    let long = "v".repeat(900_000);
    simulation
        .send(client, format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$900000\r\n{long}\r\n").as_bytes());
    simulation.settle();
    assert_eq!(replies(&simulation.take_received(client)), [Value::simple("OK")]);
    let long = "v".repeat(3 << 20);
    let request = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n{long}", 400 << 20);
    simulation.send(client, request.as_bytes());
    simulation.settle();
    assert!(!simulation.is_connected(client));
    let lines: Vec<&String> =
        simulation.log().iter().filter(|line| line.contains("client-query-buffer-limit")).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("addr=127.0.0.1:"), "{lines:?}");
}

#[test]
fn output_over_the_limit_is_cut_off_and_logged_once() {
    for shards in [1, 2] {
        let limited = config(&[(b"client-output-buffer-limit", b"normal 4mb 0 0")]);
        let mut simulation = Simulation::new(shards, limited, 34);
        let client = simulation.connect(0);
        simulation.set_deaf(client, true);
        simulation.send(client, format!("SET big {}\r\n", "x".repeat(60_000)).as_bytes());
        // More requests than a backlog holds: so all of them are worked.
        (0..200_000).for_each(|_| simulation.send(client, b"GET big\r\n"));
        simulation.settle();
        assert!(!simulation.is_connected(client), "with {shards} shards");
        let lines: Vec<&String> =
            simulation.log().iter().filter(|line| line.contains("output buffer limits")).collect();
        assert_eq!(lines.len(), 1, "{lines:?}");
    }
}
