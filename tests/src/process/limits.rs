//! Many clients, slow clients, no clients: what a server does at its limits and when nothing is to be done.

use super::{Test, eventually, start, text};
use basalt_resp::Value;
use basalt_testkit::client::{Address, Connection};
use basalt_testkit::process::{Program, Server, free_port};
use std::process::Command;
use std::time::{Duration, Instant};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("client_that_never_reads_is_closed", client_that_never_reads_is_closed),
    ("maxclients", maxclients),
    ("many_connects", many_connects),
    ("thousand_clients_at_once", thousand_clients_at_once),
    ("idle_clients_are_timed_out", idle_clients_are_timed_out),
];

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("clients_wait_while_descriptors_are_lacking", clients_wait_while_descriptors_are_lacking),
    ("sleeps_without_clients", sleeps_without_clients),
    ("sleeps_with_1000_idle_clients", sleeps_with_1000_idle_clients),
    ("memory_stays_bounded_when_nobody_reads", memory_stays_bounded_when_nobody_reads),
    ("memory_of_what_is_gone_goes_back", memory_of_what_is_gone_goes_back),
];

/// These need Linux 6.15: older kernels count every wait in an `io_uring` as one for I/O.
pub(super) const TESTS_OF_OURS_ON_NEW_KERNELS: &[(&str, Test)] =
    &[("idle_shards_do_not_wait_for_io", idle_shards_do_not_wait_for_io)];

pub(super) fn is_new_kernel() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    numbers.next().zip(numbers.next()) >= Some((6, 15))
}

fn client_count(connection: &mut Connection) -> usize {
    info_field(connection, "clients", "connected_clients").parse().unwrap()
}

pub(super) fn info_field(connection: &mut Connection, section: &str, field: &str) -> String {
    let info = connection.execute(&["INFO", section]);
    let info = String::from_utf8_lossy(info.as_bytes().expect("because INFO is text")).into_owned();
    let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("INFO {section} has no {field}: {info}")).to_owned()
}

fn client_that_never_reads_is_closed(program: Program) {
    let server = start(program, &["--client-output-buffer-limit", "normal 1mb 0 0"]);
    let mut other = server.connect();
    let value = vec![b'v'; 20_000_000];
    other.execute(&[&b"SET"[..], b"big", &value]);
    let mut lazy = server.connect();
    lazy.execute(&["PING"]);
    assert_eq!(client_count(&mut other), 2);
    (0..4).for_each(|_| lazy.send(&["GET", "big"]).unwrap());
    eventually("the client that does not read is closed", || client_count(&mut other) == 1);
    assert_eq!(text(&mut other, &["PING"]), "PONG");
    // A client that reads gets the same replies, large as they are, one after the other.
    if program == Program::Valkey9 {
        return;
    }
    assert_eq!(other.execute(&["STRLEN", "big"]), Value::Integer(20_000_000));
}

fn maxclients(program: Program) {
    let server = start(program, &["--maxclients", "4"]);
    let mut clients: Vec<Connection> = Vec::new();
    eventually("the client that asked whether it is ready is gone", || {
        clients.clear();
        for _ in 0..4 {
            clients.push(server.connect());
        }
        clients
            .iter_mut()
            .all(|client| client.ask(&["PING"]).is_ok_and(|reply| reply == Value::simple("PONG")))
    });
    let mut refused = server.connect();
    assert_eq!(
        String::from_utf8_lossy(&refused.read_to_end().unwrap()),
        "-ERR max number of clients reached\r\n"
    );
    clients.pop();
    eventually("a place is free again", || {
        server.connect().ask(&["PING"]).is_ok_and(|reply| reply == Value::simple("PONG"))
    });
    let rejected = info_field(&mut clients[0], "stats", "rejected_connections");
    assert_ne!(rejected, "0");
}

/// Where the process may open no more files, clients that are connected go on, and further ones wait for a place.
fn clients_wait_while_descriptors_are_lacking(program: Program) {
    const WARNING: &str = "Error accepting a client connection";
    let server = start(program, &[]);
    let mut first = server.connect();
    first.execute(&["PING"]);
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    let limit = open + 4;
    let pid = format!("--pid={}", server.pid());
    let limited = Command::new("prlimit").args([pid, format!("--nofile={limit}:{limit}")]).status();
    assert!(limited.expect("because every Debian has prlimit").success());
    // An accept that waits already goes by the old limit, one for a new listener by this one.
    let port = free_port().unwrap();
    assert_eq!(text(&mut first, &["CONFIG", "SET", "port", &port.to_string()]), "OK");
    let connect = || Connection::open(&Address::local(port)).unwrap();
    // The kernel connects all of them; some are not accepted.
    let mut clients: Vec<Connection> = (0..12).map(|_| connect()).collect();
    clients.iter_mut().for_each(|client| client.send(&["PING"]).unwrap());
    eventually("it has found no descriptor", || server.log().contains(WARNING));
    let mut served = 0;
    eventually("some are served", || {
        served = clients
            .iter_mut()
            .filter_map(|client| client.has_reply().ok())
            .filter(|has| *has)
            .count();
        served > 0
    });
    assert!(served < clients.len(), "{served} have descriptors");
    assert_eq!(text(&mut first, &["SET", "k", "v"]), "OK");
    // Whoever has a reply leaves, and the next ones take the places.
    eventually("all are served", || {
        clients.retain_mut(|client| !client.has_reply().unwrap());
        clients.is_empty()
    });
    assert_eq!(text(&mut first, &["GET", "k"]), "\"v\"");
    assert_eq!(text(&mut connect(), &["PING"]), "PONG");
    let log = server.log();
    assert_eq!(log.lines().filter(|line| line.contains(WARNING)).count(), 1, "{log}");
}

#[expect(clippy::disallowed_methods, reason = "how long it takes is the test")]
fn many_connects(program: Program) {
    let server = start(program, &[]);
    let begin = Instant::now();
    for _ in 0..5000 {
        server.connect().execute(&["PING"]);
    }
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(5), "5000 connects took {took:?}");
    let mut last = server.connect();
    eventually("all but one are gone", || client_count(&mut last) == 1);
}

fn thousand_clients_at_once(program: Program) {
    let server = start(program, &[]);
    let mut clients: Vec<Connection> = (0..1000).map(|_| server.connect()).collect();
    for round in 0..3 {
        for (index, client) in clients.iter_mut().enumerate() {
            client.send(&["INCRBY", &format!("key:{index}"), "1"]).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.receive().unwrap(), Value::Integer(round + 1));
        }
    }
    assert_eq!(client_count(&mut clients[0]), 1000);
}

fn idle_clients_are_timed_out(program: Program) {
    let server = start(program, &["--timeout", "1"]);
    let mut idle = server.connect();
    idle.set_timeout(Duration::from_secs(10)).unwrap();
    idle.execute(&["PING"]);
    assert!(idle.is_closed(), "a client idle for longer than timeout stays");
}

/// CPU time that the server uses while `watched` passes and nothing is asked of it.
#[expect(clippy::disallowed_methods, reason = "what a server does in some time needs that time")]
fn cpu_share_when_idle(server: &Server) -> f64 {
    // What the last request left to do may still run for a moment.
    std::thread::sleep(Duration::from_millis(500));
    let watched = Duration::from_secs(3);
    let before = server.cpu_time().unwrap();
    std::thread::sleep(watched);
    let used = server.cpu_time().unwrap() - before;
    used.as_secs_f64() / watched.as_secs_f64()
}

fn sleeps_without_clients(program: Program) {
    let server = start(program, &[]);
    let share = cpu_share_when_idle(&server);
    assert!(share < 0.01, "an idle server uses {:.1} % of a core", share * 100.0);
}

fn sleeps_with_1000_idle_clients(program: Program) {
    let server = start(program, &[]);
    let mut clients: Vec<Connection> = (0..1000).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| drop(client.execute(&["PING"])));
    let share = cpu_share_when_idle(&server);
    assert!(share < 0.01, "with 1000 idle clients it uses {:.1} % of a core", share * 100.0);
    clients.iter_mut().for_each(|client| drop(client.execute(&["PING"])));
}

/// An idle server must not look like one that waits for a disk: monitors alert on iowait and I/O pressure. The kernel
/// counts such threads for the whole machine only, so this looks at the difference that many shards make.
fn idle_shards_do_not_wait_for_io(program: Program) {
    const SHARDS: usize = 16;
    let before = (0..20).map(|_| blocked_processes()).max().unwrap();
    let server = start(program, &["--shards", &SHARDS.to_string()]);
    let mut clients: Vec<Connection> = (0..2 * SHARDS).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| drop(client.execute(&["PING"])));
    let mut calm = 0;
    eventually("idle shards are not counted as waiting for I/O", || {
        let is_calm = blocked_processes() <= before + SHARDS / 2;
        calm = if is_calm { calm + 1 } else { 0 };
        // All shards may look up in the same moment, but not for so many samples.
        calm == 30
    });
    clients.iter_mut().for_each(|client| drop(client.execute(&["PING"])));
}

/// How many threads of this machine the kernel counts as waiting for I/O.
fn blocked_processes() -> usize {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    let line = stat.lines().find_map(|line| line.strip_prefix("procs_blocked "));
    line.expect("because Linux has this line").trim().parse().unwrap()
}

/// Without a limit set, a client that asks and asks and never reads must not fill the memory: it is not read any more.
fn memory_stays_bounded_when_nobody_reads(program: Program) {
    let server = start(program, &[]);
    let mut other = server.connect();
    other.execute(&[&b"SET"[..], b"k", &vec![b'v'; 100_000]]);
    let before = resident_bytes(&server);
    let mut lazy = server.connect();
    lazy.set_timeout(Duration::from_millis(300)).unwrap();
    let requests = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(1000);
    // 100 MB of replies per round, until the server takes no more.
    let taken = (0..200).take_while(|_| lazy.send_bytes(&requests).is_ok()).count();
    assert_eq!(text(&mut other, &["PING"]), "PONG");
    let grown = resident_bytes(&server).saturating_sub(before);
    assert!(grown < 200_000_000, "it grew by {grown} bytes for {taken} rounds");
}

pub(super) fn resident_bytes(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// However a million keys go, resident memory falls by most of what they took.
fn memory_of_what_is_gone_goes_back(program: Program) {
    let server = start(program, &["--shards", "2"]);
    let mut client = server.connect();
    for way in ["FLUSHALL", "DEL", "PEXPIRE"] {
        let before = resident_bytes(&server);
        assert_eq!(text(&mut client, &["DEBUG", "POPULATE", "1000000"]), "OK");
        let filled = resident_bytes(&server);
        assert!(filled > before + (30 << 20), "{way}: {before} bytes, then {filled}");
        if way == "FLUSHALL" {
            assert_eq!(text(&mut client, &["FLUSHALL"]), "OK");
        } else {
            for first in (0..1_000_000).step_by(1000) {
                let keys = (first..first + 1000).map(|number| format!("key:{number}"));
                let requests: Vec<Vec<String>> = match way {
                    "DEL" => keys.map(|key| vec![way.to_owned(), key]).collect(),
                    _ => keys.map(|key| vec![way.to_owned(), key, "1".to_owned()]).collect(),
                };
                let replies = client.pipeline(&requests).unwrap();
                assert!(replies.iter().all(|reply| *reply == Value::Integer(1)), "{replies:?}");
            }
        }
        eventually("the memory is the system's again", || {
            client.execute(&["DBSIZE"]) == Value::Integer(0)
                && resident_bytes(&server) < before + (filled - before) / 3
        });
    }
}
