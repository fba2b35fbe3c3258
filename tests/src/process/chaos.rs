//! Chaos: very many clients, slow ones, hostile ones, huge values and garbage. Meanwhile the server
//! replies to others, and it frees its memory.

use super::limits::{info_field, resident_bytes};
use super::{Test, eventually, start, text};
use basalt_resp::{Value, encode_request};
use basalt_testkit::client::{Connection, Request, request};
use basalt_testkit::process::{Program, Server};
use basalt_testkit::random::Random;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("ten_thousand_connections", ten_thousand_connections),
    ("slow_writers_and_slow_readers", slow_writers_and_slow_readers),
    ("killed_amid_pipelines", killed_amid_pipelines),
    ("nonsense_harms_nobody", nonsense_harms_nobody),
];

pub(super) const TESTS_OF_OURS: &[(&str, Test)] =
    &[("huge_values_come_and_go", huge_values_come_and_go)];

/// LIMIT: the longest wait for a reply while others misbehave; the machine itself may be busy.
const REPLY_MAX: Duration = Duration::from_secs(2);
/// The same while a shard copies half a gigabyte, to store or to send it, and does nothing else:
/// fresh memory is slow on a busy machine.
const HUGE_REPLY_MAX: Duration = Duration::from_secs(25);
/// How much memory a server may keep that was needed for a while.
const KEPT_BYTES: u64 = 64 << 20;

/// Misbehaves while another client keeps asking, and gets each reply in time.
#[expect(clippy::disallowed_methods, reason = "how long others wait is the test")]
fn others_are_answered<T>(
    server: &Server,
    reply_max: Duration,
    misbehave: impl FnOnce() -> T,
) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut others: Vec<Connection> = (0..4).map(|_| server.connect()).collect();
            let mut worst = Duration::ZERO;
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                for (index, other) in others.iter_mut().enumerate() {
                    let (key, value) = (format!("other:{index}:{round}"), round.to_string());
                    let begin = Instant::now();
                    assert_eq!(other.execute(&["SET", &key, &value]), Value::simple("OK"));
                    assert_eq!(other.execute(&["GETDEL", &key]), Value::bulk(value.as_bytes()));
                    worst = worst.max(begin.elapsed());
                }
                round += 1;
            }
            worst
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(misbehave));
        done.store(true, Ordering::Relaxed);
        let worst = asking.join().unwrap();
        let result = match outcome {
            Ok(result) => result,
            Err(why) => std::panic::resume_unwind(why),
        };
        assert!(worst <= reply_max, "others waited {worst:?} for a reply");
        result
    })
}

/// Waits until only one client is connected, and the memory is freed.
fn all_is_as_before(server: &Server, before: u64, kept: u64) {
    all_others_are_gone(server);
    eventually("the memory is back", || resident_bytes(server) < before + kept);
}

/// Until the server has read and worked all that clients sent before they went.
fn all_others_are_gone(server: &Server) {
    let mut client = server.connect();
    eventually("all others are gone", || {
        info_field(&mut client, "clients", "connected_clients") == "1"
    });
}

fn ten_thousand_connections(program: Program) {
    const CLIENTS: usize = 10_000;
    /// Descriptors for this process itself.
    const FILES: usize = 5000;
    /// The connections of two servers at a time might be more than this process may have.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let room = open_files_max().saturating_sub(FILES).min(CLIENTS);
    let server = start(program, &["--maxclients", "11000", "--tcp-backlog", "4096"]);
    let before = resident_bytes(&server);
    others_are_answered(&server, REPLY_MAX, || {
        let mut clients: Vec<Connection> = (0..room).map(|_| server.connect()).collect();
        for round in 0..2 {
            for (index, client) in clients.iter_mut().enumerate() {
                client.send(&["INCR", &format!("key:{index}")]).unwrap();
            }
            for client in &mut clients {
                assert_eq!(client.receive().unwrap(), Value::Integer(round + 1));
            }
        }
        let count = info_field(&mut clients[0], "clients", "connected_clients");
        assert!(count.parse::<usize>().unwrap() >= room, "{count} are connected");
    });
    all_is_as_before(&server, before, KEPT_BYTES);
}

/// The limit of open files of this process.
fn open_files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().and_then(|soft| soft.parse().ok()).unwrap_or(1024)
}

#[expect(clippy::disallowed_methods, reason = "to be slow takes time")]
fn slow_writers_and_slow_readers(program: Program) {
    const EACH: usize = 40;
    let server = start(program, &[]);
    let mut first = server.connect();
    let value = vec![b'v'; 300_000];
    first.execute(&[&b"SET"[..], b"big", &value]);
    drop(first);
    let before = resident_bytes(&server);
    others_are_answered(&server, REPLY_MAX, || {
        let mut writers: Vec<Connection> = (0..EACH).map(|_| server.connect()).collect();
        let mut readers: Vec<Connection> = (0..EACH).map(|_| server.connect()).collect();
        for reader in &mut readers {
            (0..10).for_each(|_| reader.send(&["GET", "big"]).unwrap());
        }
        let mut bytes = Vec::new();
        encode_request(&["SET", "slow", "a value that takes its time"], &mut bytes);
        encode_request(&["STRLEN", "slow"], &mut bytes);
        for byte in bytes {
            writers.iter_mut().for_each(|writer| writer.send_bytes(&[byte]).unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
        for writer in &mut writers {
            assert_eq!(writer.receive().unwrap(), Value::simple("OK"));
            assert_eq!(writer.receive().unwrap(), Value::Integer(27));
        }
        for reader in &mut readers {
            for _ in 0..10 {
                let reply = reader.receive().unwrap();
                assert_eq!(reply.as_bytes().map(<[u8]>::len), Some(value.len()));
            }
        }
    });
    all_is_as_before(&server, before, KEPT_BYTES);
}

fn killed_amid_pipelines(program: Program) {
    const CLIENTS: usize = 100;
    let server = start(program, &[]);
    let before = resident_bytes(&server);
    others_are_answered(&server, REPLY_MAX, || {
        let mut random = Random::from_seed(4);
        let mut killer = server.connect();
        for client in 0..CLIENTS {
            let mut victim = server.connect();
            let Value::Integer(id) = victim.execute(&["CLIENT", "ID"]) else { panic!("no number") };
            let mut bytes = Vec::new();
            for number in 0..random.below(3000) {
                let key = format!("key:{}", random.below(1000));
                let other = format!("key:{}", random.below(1000));
                let request: Request = match number % 5 {
                    0 => request(&["SET", &key, &"v".repeat(random.below(2000))]),
                    1 => request(&["GET", &key]),
                    2 => request(&["MGET", &key, &other]),
                    3 => request(&["MSET", &key, "1", &other, "2"]),
                    _ => request(&["RENAMENX", &key, &other]),
                };
                encode_request(&request, &mut bytes);
            }
            bytes.truncate(bytes.len() - random.below(bytes.len() / 2 + 1));
            victim.set_timeout(Duration::from_millis(100)).unwrap();
            // The server may close it while it writes, or wait for it to read.
            let _ = victim.send_bytes(&bytes);
            if client % 2 == 0 {
                killer.execute(&["CLIENT", "KILL", "ID", &id.to_string()]);
            }
            drop(victim);
        }
    });
    all_others_are_gone(&server);
    server.connect().execute(&["FLUSHALL"]);
    all_is_as_before(&server, before, KEPT_BYTES);
    let mut client = server.connect();
    assert_eq!(text(&mut client, &["DBSIZE"]), "(integer) 0");
}

fn nonsense_harms_nobody(program: Program) {
    const CLIENTS: usize = 400;
    let server = start(program, &[]);
    let before = resident_bytes(&server);
    others_are_answered(&server, REPLY_MAX, || {
        let mut random = Random::from_seed(5);
        let pieces: &[&[u8]] = &[
            b"*",
            b"$",
            b"\r\n",
            b"*1\r\n",
            b"$4\r\nPING\r\n",
            b"*-1\r\n",
            b"*1000000\r\n",
            b"$-5\r\n",
            b"$536870912\r\n",
            b"*2147483648\r\n",
            b"GET",
            b" ",
            b"\"",
            b"'",
            b"\0",
            b"\xff\xfe",
            b"PING\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\n",
            b"POST / HTTP/1.1\r\n",
            b"!",
            b"%7\r\n",
            b"+OK\r\n",
        ];
        for _ in 0..CLIENTS {
            let mut client = server.connect();
            let mut bytes = Vec::new();
            for _ in 0..random.below(40) {
                bytes.extend_from_slice(pieces[random.below(pieces.len())]);
            }
            // The server may close it before all of it is written, which is right.
            let _ = client.send_bytes(&bytes);
            let _ = client.shut_down_writing();
            // Whatever the reply, it ends: nothing more can follow.
            let _ = client.read_to_end().expect("because the server closes");
        }
    });
    all_is_as_before(&server, before, KEPT_BYTES);
}

/// A value of maximum length is written in pieces, read, and removed.
fn huge_values_come_and_go(program: Program) {
    const BYTES: usize = 512 << 20;
    const PIECE: usize = 1 << 20;
    let server = start(program, &[]);
    let before = resident_bytes(&server);
    others_are_answered(&server, HUGE_REPLY_MAX, || {
        let mut client = server.connect();
        let piece = vec![b'h'; PIECE];
        let head = format!("*3\r\n$3\r\nSET\r\n$4\r\nhuge\r\n${BYTES}\r\n");
        client.send_bytes(head.as_bytes()).unwrap();
        (0..BYTES / PIECE).for_each(|_| client.send_bytes(&piece).unwrap());
        client.send_bytes(b"\r\n").unwrap();
        assert_eq!(client.receive().unwrap(), Value::simple("OK"));
        let len = i64::try_from(BYTES).unwrap();
        assert_eq!(client.execute(&["STRLEN", "huge"]), Value::Integer(len));
        assert_eq!(client.execute(&["GETRANGE", "huge", "-3", "-1"]), Value::bulk(b"hhh"));
        let refused = text(&mut client, &["APPEND", "huge", "x"]);
        assert!(
            refused.starts_with("(error) ERR string exceeds maximum allowed size"),
            "{refused}"
        );
        // A client that requests it and disconnects before it has read it.
        let mut rude = server.connect();
        rude.send(&["GET", "huge"]).unwrap();
        drop(rude);
        assert_eq!(client.execute(&["DEL", "huge"]), Value::Integer(1));
        // A client that announces a value and disconnects before it is complete.
        let mut half = server.connect();
        half.send_bytes(head.as_bytes()).unwrap();
        (0..40).for_each(|_| half.send_bytes(&piece).unwrap());
    });
    all_is_as_before(&server, before, KEPT_BYTES);
}
