//! What operators do to a running server: watch it, move it to other addresses, stall it.

use super::{Test, eventually, start, text};
use basalt_resp::Value;
use basalt_testkit::client::{Address, Connection, Request, request};
use basalt_testkit::process::{Program, free_port};
use std::net::TcpListener;
use std::time::{Duration, Instant};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("monitors_see_all_requests", monitors_see_all_requests),
    ("monitor_that_never_reads_is_closed", monitor_that_never_reads_is_closed),
    ("port_is_changed_or_stays", port_is_changed_or_stays),
    ("bind_is_changed_or_stays", bind_is_changed_or_stays),
    ("debug_sleep_stalls_everybody", debug_sleep_stalls_everybody),
    ("uses_are_counted", uses_are_counted),
    ("wait_is_unblocked", wait_is_unblocked),
];

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("port_changes_twice_in_a_turn", port_changes_twice_in_a_turn),
    ("title_follows_the_port", title_follows_the_port),
    ("title_longer_than_the_arguments", title_longer_than_the_arguments),
    ("oom_score_follows_the_setting", oom_score_follows_the_setting),
];

/// The next line that a monitor shows, without its moment and its address.
fn shown(monitor: &mut Connection) -> String {
    let Value::Simple(line) = monitor.receive().unwrap() else { panic!("it is no line") };
    let line = String::from_utf8_lossy(&line).into_owned();
    let (moment, rest) = line.split_once(" [").expect("because the moment comes first");
    let us = moment.split_once('.').and_then(|(_, us)| us.parse::<u32>().ok());
    assert!(us.is_some() && moment.split('.').nth(1).is_some_and(|us| us.len() == 6), "{line}");
    let (database, rest) = rest.split_once(' ').expect("because the database comes next");
    let (_, request) = rest.split_once("] ").expect("because an address comes next");
    format!("{database} {request}")
}

fn monitors_see_all_requests(program: Program) {
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 200;
    let server = start(program, &[]);
    let mut monitors: Vec<Connection> = (0..3).map(|_| server.connect()).collect();
    monitors.iter_mut().for_each(|monitor| assert_eq!(text(monitor, &["MONITOR"]), "OK"));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut connection = server.connect();
            scope.spawn(move || {
                let requests: Vec<Request> = (0..ROUNDS)
                    .map(|round| request(&["SET", &format!("{client}:{round}"), "v"]))
                    .collect();
                connection.pipeline(&requests).unwrap();
            });
        }
    });
    for monitor in &mut monitors {
        let mut next = [0; CLIENTS];
        for _ in 0..CLIENTS * ROUNDS {
            let line = shown(monitor);
            let key = line.split('"').nth(3).expect("because it is a SET");
            let (client, round) = key.split_once(':').expect("because keys are two numbers");
            let client = &mut next[client.parse::<usize>().unwrap()];
            // Those of one client come in their order.
            assert_eq!(round, client.to_string(), "{line}");
            *client += 1;
        }
    }
    let mut client = server.connect();
    for request in [
        &["MULTI"][..],
        &["MSET", "a", "1", "b", "2", "c", "3"],
        &["SELECT", "5"],
        &["GET", "a\0\"\n"],
        &["EXEC"],
        &["CONFIG", "GET", "port"],
        &["AUTH", "secret"],
        &["GET"],
        &["NOSUCH"],
        &["ECHO", "end"],
    ] {
        client.execute(request);
    }
    for monitor in &mut monitors {
        for line in [
            r#"0 "MULTI""#,
            r#"0 "MSET" "a" "1" "b" "2" "c" "3""#,
            r#"5 "SELECT" "5""#,
            r#"5 "GET" "a\x00\"\n""#,
            r#"5 "EXEC""#,
            r#"5 "AUTH" "(redacted)""#,
            r#"5 "ECHO" "end""#,
        ] {
            assert_eq!(shown(monitor), line);
        }
    }
    let first = &mut monitors[0];
    assert_eq!(
        text(first, &["SET", "k", "v"]),
        "(error) ERR Replica can't interact with the keyspace"
    );
    let line = first.execute(&["CLIENT", "INFO"]);
    assert!(String::from_utf8_lossy(line.as_bytes().unwrap()).contains(" flags=O "), "{line:?}");
    assert_eq!(shown(first), r#"0 "CLIENT" "INFO""#);
    assert_eq!(text(first, &["RESET"]), "RESET");
    client.execute(&["ECHO", "unseen"]);
    assert_eq!(text(first, &["GET", "nothing"]), "(nil)");
    drop(monitors);
    eventually("those that watched are gone", || {
        let line = client.execute(&["CLIENT", "LIST"]);
        !String::from_utf8_lossy(line.as_bytes().unwrap()).contains(" flags=O ")
    });
}

fn monitor_that_never_reads_is_closed(program: Program) {
    let server = start(program, &["--client-output-buffer-limit", "normal 4mb 0 0"]);
    let mut lazy = server.connect();
    assert_eq!(text(&mut lazy, &["MONITOR"]), "OK");
    let mut clients: Vec<Connection> = (0..4).map(|_| server.connect()).collect();
    let value = "v".repeat(100_000);
    let watched = |client: &mut Connection| {
        let line = client.execute(&["CLIENT", "LIST"]);
        String::from_utf8_lossy(line.as_bytes().unwrap()).contains(" flags=O ")
    };
    eventually("the monitor that does not read is closed", || {
        for client in &mut clients {
            assert_eq!(text(client, &["SET", "k", &value]), "OK");
        }
        !watched(&mut clients[0])
    });
    for client in &mut clients {
        assert_eq!(text(client, &["PING"]), "PONG");
    }
}

fn answers(address: &str, port: u16) -> bool {
    let address = Address::Tcp((address.parse::<std::net::IpAddr>().unwrap(), port).into());
    Connection::open(&address)
        .and_then(|mut connection| connection.ask(&["PING"]))
        .is_ok_and(|reply| reply == Value::simple("PONG"))
}

fn port_is_changed_or_stays(program: Program) {
    let server = start(program, &["--bind", "127.0.0.1"]);
    let mut client = server.connect();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = (taken.local_addr().unwrap().port(), taken);
    let refused =
        text(&mut client, &["CONFIG", "SET", "maxmemory", "7000000", "port", &taken.0.to_string()]);
    assert_eq!(
        refused,
        "(error) ERR CONFIG SET failed (possibly related to argument 'port') - Unable to listen on this \
         port. Check server logs."
    );
    let port_before = server.port().to_string();
    let setting = |client: &mut Connection, name: &str| {
        let lines = text(client, &["CONFIG", "GET", name]);
        lines.split('"').nth(3).expect("because it has a value").to_owned()
    };
    assert_eq!(setting(&mut client, "port"), port_before);
    assert_eq!(setting(&mut client, "maxmemory"), "0", "all or nothing");
    assert!(answers("127.0.0.1", server.port()), "the old port stays");
    let next = free_port().unwrap();
    assert_eq!(text(&mut client, &["CONFIG", "SET", "port", &next.to_string()]), "OK");
    assert!(answers("127.0.0.1", next), "the new one is listened on when it is answered");
    assert!(!answers("127.0.0.1", server.port()), "the old one is not");
    assert_eq!(text(&mut client, &["PING"]), "PONG", "who is connected stays so");
    assert_eq!(text(&mut client, &["CONFIG", "SET", "port", &port_before]), "OK");
    assert!(answers("127.0.0.1", server.port()) && !answers("127.0.0.1", next));
}

/// With one shard both are settled in the turn that read them.
fn port_changes_twice_in_a_turn(program: Program) {
    let server = start(program, &["--bind", "127.0.0.1", "--shards", "1"]);
    let mut client = server.connect();
    let (first, next) = (server.port(), free_port().unwrap());
    for port in [next, first] {
        client.send(&["CONFIG", "SET", "port", &port.to_string()]).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(client.receive().unwrap(), Value::simple("OK"));
    }
    assert!(answers("127.0.0.1", first), "the port that was set last is listened on");
    assert!(!answers("127.0.0.1", next), "and no other");
}

fn title_follows_the_port(program: Program) {
    let server = start(program, &["--bind", "127.0.0.1"]);
    let mut client = server.connect();
    let shown = || {
        let path = format!("/proc/{}/cmdline", server.pid());
        let bytes = std::fs::read(path).unwrap();
        String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
    };
    let before = shown();
    assert!(before.ends_with(&format!("basalt-server 127.0.0.1:{}", server.port())), "{before}");
    for timeout in ["7", "8"] {
        assert_eq!(text(&mut client, &["CONFIG", "SET", "timeout", timeout]), "OK");
    }
    assert_eq!(shown(), before, "it is written anew, not longer");
    let next = free_port().unwrap().to_string();
    assert_eq!(text(&mut client, &["CONFIG", "SET", "port", &next]), "OK");
    eventually("the title tells the new port", || shown().ends_with(&format!(":{next}")));
}

fn title_longer_than_the_arguments(program: Program) {
    let server = start(program, &["--bind", "127.0.0.1"]);
    let mut client = server.connect();
    let words = "as long as a title may be, and longer than all arguments together ".repeat(6);
    let template = format!("{words}{{port}}");
    assert_eq!(text(&mut client, &["CONFIG", "SET", "proc-title-template", &template]), "OK");
    let path = format!("/proc/{}/cmdline", server.pid());
    let expected = format!("{words}{}", server.port());
    // The environment of this test may be too small for all of it, but not for most.
    eventually("the title is shown beyond the arguments", || {
        let shown = std::fs::read(&path).unwrap();
        let shown = String::from_utf8_lossy(&shown).trim_end_matches('\0').to_owned();
        shown.len() > 300 && expected.starts_with(&shown)
    });
}

fn oom_score_follows_the_setting(program: Program) {
    let score = |process: &str| -> i32 {
        let path = format!("/proc/{process}/oom_score_adj");
        std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
    };
    let base = score("self");
    let at_start = ["--oom-score-adj", "relative", "--oom-score-adj-values", "10", "20", "30"];
    let server = start(program, &at_start);
    let mut client = server.connect();
    let mut set = |words: &[&str]| {
        assert_eq!(text(&mut client, &[&["CONFIG", "SET"], words].concat()), "OK");
        score(&server.pid().to_string())
    };
    let relative = |value: i32| (base + value).min(1000);
    assert_eq!(set(&["oom-score-adj", "yes"]), relative(10), "it acts from the start");
    assert_eq!(set(&["oom-score-adj-values", "15 20 30"]), relative(15));
    assert_eq!(set(&["oom-score-adj", "absolute", "oom-score-adj-values", "1000 20 30"]), 1000);
    assert_eq!(set(&["oom-score-adj", "no"]), base, "the score of before comes back");
    assert_eq!(set(&["oom-score-adj-values", "25 30 35"]), base);
}

fn bind_is_changed_or_stays(program: Program) {
    let server = start(program, &["--bind", "127.0.0.1"]);
    let (mut client, port) = (server.connect(), server.port());
    let mut bind = |addresses: &str| text(&mut client, &["CONFIG", "SET", "bind", addresses]);
    for wrong in ["192.0.2.77", "127.0.0.1 192.0.2.77", "no..such..host"] {
        assert_eq!(
            bind(wrong),
            "(error) ERR CONFIG SET failed (possibly related to argument 'bind') - Failed to bind to \
             specified addresses.",
            "{wrong}"
        );
        assert!(answers("127.0.0.1", port), "the old address stays after {wrong}");
    }
    assert_eq!(bind("127.0.0.1 127.0.0.2"), "OK");
    assert!(answers("127.0.0.1", port) && answers("127.0.0.2", port));
    // The old addresses stand in the way of the new one.
    assert_eq!(bind("0.0.0.0"), "OK");
    assert!(answers("127.0.0.1", port) && answers("127.0.0.3", port));
    assert_eq!(bind("127.0.0.2"), "OK");
    assert!(answers("127.0.0.2", port) && !answers("127.0.0.1", port));
    assert_eq!(bind("-192.0.2.77 127.0.0.1"), "OK");
    assert!(answers("127.0.0.1", port) && !answers("127.0.0.2", port));
}

#[expect(clippy::disallowed_methods, reason = "how long a reply takes is the test")]
fn debug_sleep_stalls_everybody(program: Program) {
    const SLEEP: Duration = Duration::from_millis(1500);
    let server = start(program, &[]);
    let mut clients: Vec<Connection> = (0..6).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| drop(client.execute(&["PING"])));
    let begin = Instant::now();
    clients[0].send(&["DEBUG", "SLEEP", &SLEEP.as_secs_f64().to_string()]).unwrap();
    // Until the server has read it; what is asked then has to wait.
    std::thread::sleep(SLEEP / 4);
    for client in &mut clients[1..] {
        client.send(&["PING"]).unwrap();
    }
    for client in clients.iter_mut().skip(1).rev() {
        assert_eq!(client.receive().unwrap(), Value::simple("PONG"));
        assert!(begin.elapsed() >= SLEEP * 9 / 10, "it was answered after {:?}", begin.elapsed());
    }
    assert_eq!(clients[0].receive().unwrap(), Value::simple("OK"));
    assert!((SLEEP..SLEEP * 10).contains(&begin.elapsed()), "it took {:?}", begin.elapsed());
}

fn uses_are_counted(program: Program) {
    let server = start(program, &["--maxmemory-policy", "allkeys-lfu", "--lfu-log-factor", "0"]);
    let mut client = server.connect();
    let freq = |client: &mut Connection, key: &str| match client.execute(&["OBJECT", "FREQ", key]) {
        Value::Integer(count) => count,
        other => panic!("OBJECT FREQ said {other:?}"),
    };
    for (make, read) in [
        // The first word behind the name is the key.
        (&["SET", "key:string", "v"][..], &["GET", "key:string"][..]),
        (&["SET", "key:number", "10"], &["GET", "key:number"]),
        (&["HSET", "key:hash", "f", "v"], &["HGET", "key:hash", "f"]),
        (&["RPUSH", "key:list", "a"], &["LRANGE", "key:list", "0", "-1"]),
        (&["SADD", "key:set", "a"], &["SCARD", "key:set"]),
        (&["ZADD", "key:sorted", "1", "a"], &["ZCARD", "key:sorted"]),
    ] {
        let key = make[1];
        client.execute(make);
        assert_eq!(freq(&mut client, key), 5, "a new {key}");
        (0..10).for_each(|_| drop(client.execute(read)));
        assert_eq!(freq(&mut client, key), 15, "a read {key}");
        client.execute(make);
        assert!(freq(&mut client, key) >= 16, "a {key} that is written again");
        (0..300).for_each(|_| drop(client.execute(read)));
        assert_eq!(freq(&mut client, key), 255, "a {key} in use");
    }
    assert!(text(&mut client, &["OBJECT", "IDLETIME", "key:set"]).contains("LFU maxmemory policy"));
    assert!(text(&mut client, &["DEBUG", "OBJECT", "key:set"]).contains(" lfu_freq:255 "));
    client.execute(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    client.execute(&["GET", "key:string"]);
    let idle_s = client.execute(&["OBJECT", "IDLETIME", "key:string"]);
    assert!(matches!(idle_s, Value::Integer(0..10)), "{idle_s:?}");
    assert!(text(&mut client, &["OBJECT", "FREQ", "key:set"]).contains("is not selected"));
}

fn wait_is_unblocked(program: Program) {
    let server = start(program, &[]);
    let (mut waiting, mut other) = (server.connect(), server.connect());
    let Value::Integer(id) = waiting.execute(&["CLIENT", "ID"]) else { panic!("no number") };
    for (how, told) in [
        ("TIMEOUT", "(integer) 0"),
        ("ERROR", "(error) UNBLOCKED client unblocked via CLIENT UNBLOCK"),
    ] {
        waiting.send(&["WAIT", "1", "0"]).unwrap();
        eventually("it waits", || {
            text(&mut other, &["CLIENT", "UNBLOCK", &id.to_string(), how]) == "(integer) 1"
        });
        let reply = basalt_testkit::print::print(&waiting.receive().unwrap());
        assert_eq!(reply.trim_end(), told);
    }
    waiting.send(&["WAITAOF", "0", "1", "0"]).unwrap();
    drop(waiting);
    eventually("one who went away waits no more", || {
        super::limits::info_field(&mut other, "clients", "blocked_clients") == "0"
    });
}
