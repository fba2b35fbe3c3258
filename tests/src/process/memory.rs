//! Memory exhausted: `maxmemory` reached, or a system without free memory. Requests fail; the
//! server keeps running.

use super::{Test, eventually, launch, start, text};
use basalt_resp::Value;
use basalt_testkit::client::Connection;
use basalt_testkit::process::{Program, Server};
use basalt_testkit::random::Random;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) const TESTS: &[(&str, Test)] = &[("maxmemory_refuses_writes", maxmemory_refuses_writes)];

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("what_the_system_does_not_grant_is_refused", what_the_system_does_not_grant_is_refused),
    ("large_strings_that_find_no_memory", large_strings_that_find_no_memory),
    ("exec_of_more_than_the_memory_is_refused", exec_of_more_than_the_memory_is_refused),
];

pub(super) const TESTS_OF_OURS_IN_GROUPS: &[(&str, Test)] =
    &[("a_control_group_never_kills", a_control_group_never_kills)];

fn is_oom(reply: &Value) -> bool {
    matches!(reply, Value::Error(text) if text.starts_with(b"OOM "))
}

#[track_caller]
fn assert_oom(client: &mut Connection, args: &[&str]) {
    let reply = client.execute(args);
    assert!(is_oom(&reply), "{args:?}: {:?}", basalt_testkit::print::print(&reply));
}

fn maxmemory_refuses_writes(program: Program) {
    const MAX: usize = 40 << 20;
    let server = start(program, &["--maxmemory", &MAX.to_string()]);
    let mut client = server.connect();
    let value = vec![b'v'; 100_000];
    let set = |client: &mut Connection, number: usize| {
        client.execute(&[&b"SET"[..], format!("key:{number}").as_bytes(), &value])
    };
    let written = (0..).take_while(|number| !is_oom(&set(&mut client, *number))).count();
    // Shards have their shares, which need not be full at the same time.
    assert!((50..=2 * MAX / value.len()).contains(&written), "{written} values were taken");
    // Valkey also counts the bytes read of the request, so that a small one may still pass.
    assert_eq!(text(&mut client, &["CONFIG", "SET", "maxmemory", "10mb"]), "OK");
    assert_eq!(
        text(&mut client, &["APPEND", "key:0", "x"]),
        "(error) OOM command not allowed when used memory > 'maxmemory'."
    );
    assert_eq!(client.execute(&["STRLEN", "key:0"]), Value::Integer(100_000));
    // In a pipeline each request fails on its own.
    let requests: [&[&str]; 3] =
        [&["SET", "a", "1"], &["GETRANGE", "key:0", "0", "1"], &["SET", "a", "1"]];
    let replies = client.pipeline(&requests).unwrap();
    assert!(is_oom(&replies[0]) && is_oom(&replies[2]), "{replies:?}");
    assert_eq!(replies[1], Value::bulk("vv"));
    assert_eq!(text(&mut client, &["MULTI"]), "OK");
    assert_oom(&mut client, &["SET", "a", "1"]);
    assert!(text(&mut client, &["EXEC"]).contains("EXECABORT"));
    // Removing data makes room.
    assert_eq!(text(&mut client, &["FLUSHALL"]), "OK");
    eventually("there is room again", || set(&mut client, 0) == Value::simple("OK"));
}

/// Limits the server's address space to this many bytes beyond its present size.
fn limit_memory(server: &Server, more: u64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().unwrap();
    let limit = kib * 1024 + more;
    let limited = Command::new("prlimit")
        .args([format!("--pid={}", server.pid()), format!("--as={limit}:{limit}")])
        .status()
        .expect("because every Debian has prlimit");
    assert!(limited.success(), "{limited}");
}

/// Otherwise the allocator reserves a GiB of addresses, which a test would have to fill.
fn start_with_small_reserve(program: Program, args: &[&str]) -> Server {
    match launch(program).env("MIMALLOC_ARENA_RESERVE", "32M").args(args).start() {
        Ok(server) => server,
        Err(error) => panic!("{error}"),
    }
}

/// A value that arrives, grows, or is copied because it is being sent: the request fails, or its client is cut off.
fn large_strings_that_find_no_memory(program: Program) {
    const BYTES: usize = 100 << 20;
    let server = start_with_small_reserve(program, &[]);
    let mut client = server.connect();
    let end = (BYTES - 1).to_string();
    // One on each shard.
    for key in ["a", "b", "c", "d"] {
        assert_eq!(client.execute(&["SETRANGE", key, &end, "x"]), Value::Integer(BYTES as i64));
    }
    limit_memory(&server, 60 << 20);
    for key in ["a", "b", "c", "d"] {
        // It is being sent while it shall change.
        let mut reader = server.connect();
        reader.send(&["GET", key]).unwrap();
        reader.await_first_bytes().unwrap();
        assert_oom(&mut client, &["SETRANGE", key, "0", "y"]);
        assert_oom(&mut client, &["SETBIT", key, "0", "1"]);
        assert_oom(&mut client, &["APPEND", key, "more"]);
        assert_oom(&mut client, &["BITFIELD", key, "SET", "u8", "0", "1"]);
        let sent = reader.receive().unwrap();
        assert!(sent.as_bytes().is_some_and(|bytes| bytes.len() == BYTES && bytes[0] == 0));
    }
    // It grows where it lies, as long as there is room.
    let far = |pieces: usize| (BYTES + (pieces << 23)).to_string();
    let grow =
        |client: &mut Connection, pieces| client.execute(&["SETRANGE", "a", &far(pieces), "x"]);
    let pieces = (1..30).take_while(|pieces| !is_oom(&grow(&mut client, *pieces))).count();
    // The limit counts what the server held for the requests before, which it may have given back since.
    assert!((1..29).contains(&pieces), "{pieces} of 8 MiB");
    assert_eq!(
        client.execute(&["STRLEN", "a"]),
        Value::Integer((BYTES + (pieces << 23)) as i64 + 1)
    );
    // It arrives.
    let mut sender = server.connect();
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\na\r\n${}\r\n", 400 << 20);
    sender.send_bytes(head.as_bytes()).unwrap();
    let piece = vec![b'p'; 8 << 20];
    let sent = (0..50).take_while(|_| sender.send_bytes(&piece).is_ok()).count();
    assert!(sent < 50, "all of it was taken");
    let lines =
        || server.log().matches("Closing client for whose request there is no memory").count();
    eventually("the log says why", || lines() == 1);
    assert_eq!(client.execute(&["SET", "a", "small"]), Value::simple("OK"));
}

/// Strings of `MIB` MiB exist; a request that needs many times as much fails.
fn what_the_system_does_not_grant_is_refused(program: Program) {
    const MIB: usize = 24;
    let server = start_with_small_reserve(program, &["--proto-max-bulk-len", "2gb"]);
    let mut client = server.connect();
    // Some are on either shard.
    let keys = ["a", "b", "c", "d", "e", "f"];
    for key in keys {
        let end = (MIB << 20).to_string();
        assert_eq!(
            client.execute(&["SETRANGE", key, &end, "x"]),
            Value::Integer((MIB << 20) as i64 + 1)
        );
        client.execute(&["SADD", &format!("set:{{{key}}}"), &"m".repeat(1 << 20)]);
        client.execute(&["HSET", &format!("hash:{{{key}}}"), "f", &"v".repeat(1 << 20)]);
        client.execute(&["RPUSH", &format!("list:{{{key}}}"), &"e".repeat(1 << 20), "last"]);
        client.execute(&["SET", &format!("text:{{{key}}}"), &"t".repeat(11_000)]);
    }
    limit_memory(&server, 64 << 20);
    for key in keys {
        let (set, hash) = (format!("set:{{{key}}}"), format!("hash:{{{key}}}"));
        // Strings that grow, and new ones.
        let far = (2_000_u64 << 20).to_string();
        assert_oom(&mut client, &["SETRANGE", key, &far, "x"]);
        assert_oom(&mut client, &["SETRANGE", &format!("new:{{{key}}}"), &far, "x"]);
        let far_bit = (16_000_u64 << 20).to_string();
        assert_oom(&mut client, &["SETBIT", key, &far_bit, "1"]);
        assert_oom(&mut client, &["BITFIELD", key, "SET", "u8", &far_bit, "1"]);
        // Replies.
        assert_oom(&mut client, &["SRANDMEMBER", &set, "-3000"]);
        assert_oom(&mut client, &["HRANDFIELD", &hash, "-3000", "WITHVALUES"]);
        let many = [vec!["HMGET", &hash], vec!["f"; 3000]].concat();
        assert_oom(&mut client, &many);
        // What exceeded the memory is freed.
        assert_eq!(client.execute(&["STRLEN", key]), Value::Integer((MIB << 20) as i64 + 1));
        assert_eq!(client.execute(&["EXISTS", &format!("new:{{{key}}}")]), Value::Integer(0));
    }
    // Replies that are merged from several shards'.
    assert_oom(&mut client, &[vec!["MGET"], keys.repeat(40)].concat());
    // A table within a command: 484 MB.
    assert_eq!(
        text(&mut client, &["LCS", "text:{a}", "text:{b}"]),
        "(error) ERR Insufficient memory, failed allocating transient memory for LCS"
    );
    let pieces = [vec!["BITOP", "OR", "target"], keys.repeat(6)].concat();
    // Operands are shared, however often they are named, so only the result needs room.
    assert_eq!(client.execute(&pieces), Value::Integer((MIB << 20) as i64 + 1));
    assert_eq!(client.execute(&["DEL", "target"]), Value::Integer(1));
    // A command that needs too much in an EXEC fails alone.
    client.execute(&["MULTI"]);
    client.execute(&["SRANDMEMBER", "set:{a}", "-3000"]);
    client.execute(&["LINDEX", "list:{a}", "-1"]);
    let Value::Array(replies) = client.execute(&["EXEC"]) else { panic!("EXEC gives an array") };
    assert!(is_oom(&replies[0]), "its first command is refused");
    assert_eq!(replies[1], Value::bulk("last"));
    for key in keys {
        assert_eq!(client.execute(&["SET", &format!("small:{key}"), "v"]), Value::simple("OK"));
    }
    // Data that was to be removed stays if its reply fails.
    assert_eq!(client.execute(&["DBSIZE"]), Value::Integer(6 * keys.len() as i64));
}

/// The allocator has more addresses than the system grants: what is queued finds room, what is to be stored doesn't.
fn exec_of_more_than_the_memory_is_refused(program: Program) {
    const MIB: usize = 1 << 20;
    let server = start(program, &[]);
    let mut client = server.connect();
    assert_eq!(text(&mut client, &["MULTI"]), "OK");
    for number in 0..40 {
        // The first ones have the allocator reserve what it will.
        if number == 10 {
            limit_memory(&server, 64 << 20);
        }
        let key = format!("queued:{number}");
        assert_eq!(text(&mut client, &["SET", &key, &"v".repeat(3 * MIB)]), "QUEUED");
    }
    let reply = text(&mut client, &["EXEC"]);
    assert!(reply.contains("EXECABORT") && reply.contains("OOM"), "{reply}");
    assert_eq!(client.execute(&["DBSIZE"]), Value::Integer(0));
    assert_eq!(client.execute(&["SET", "a", "small"]), Value::simple("OK"));
}

/// A control group with a limit of memory.
struct Group(PathBuf);

impl Group {
    /// None where the kernel, or who runs the tests, does not permit it.
    fn with_limit(bytes: usize) -> Option<Self> {
        let name = format!("basalt-test-{}", std::process::id());
        let versions =
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
        versions.iter().find_map(|(root, limit)| {
            let path = Path::new(root).join(&name);
            fs::create_dir(&path).ok()?;
            let group = Self(path);
            fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    fn take_in(&self, server: &Server) {
        let pid = server.pid().to_string();
        fs::write(self.0.join("cgroup.procs"), pid).expect("because the group is ours");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It can be removed once nothing is in it; what ended is in it for a moment.
        eventually("the group is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

/// Whether a test can make a control group.
pub(super) fn has_groups() -> bool {
    Group::with_limit(1 << 30).is_some()
}

/// Values of all sizes come and go while many clients want more replies than there is memory, and read none of them.
fn a_control_group_never_kills(program: Program) {
    const LIMIT: usize = 512 << 20;
    const KEYS: usize = 60_000;
    let group = Group::with_limit(LIMIT).expect("because another could be made");
    let maxmemory = (LIMIT / 100 * 80).to_string();
    let options = ["--maxmemory", &maxmemory, "--maxmemory-policy", "allkeys-lru"];
    let server = start(program, &options);
    group.take_in(&server);
    // Groups that a process is put into while it runs are found within a second.
    let is_found = || {
        let info = text(&mut server.connect(), &["INFO", "memory"]);
        info.contains(&format!("memory_limit:{LIMIT}"))
    };
    eventually("the limit is known", is_found);
    let mut random = Random::from_seed(16);
    let value = vec![b'v'; 50_000];
    let mut writer = server.connect();
    let mut write = |mib: usize| {
        let (mut written, mut refused) = (0, 0);
        while written < mib << 20 {
            let mut lens = Vec::new();
            for _ in 0..16 {
                let key = format!("key:{}", random.below(KEYS));
                // As many small ones as large ones.
                let len = 50 << random.below(10);
                let len = len + random.below(len);
                writer.send(&[b"SET", key.as_bytes(), &value[..len.min(value.len())]]).unwrap();
                lens.push(len);
            }
            for len in lens {
                let reply = writer.receive().expect("the server lives");
                assert!(is_oom(&reply) || reply == Value::simple("OK"), "{reply:?}");
                refused += usize::from(is_oom(&reply));
                written += len;
            }
        }
        refused
    };
    write(300);
    let mut greedy: Vec<Connection> = (0..200).map(|_| server.connect()).collect();
    let gets: Vec<u8> = (0..1000)
        .flat_map(|number| format!("GET key:{}\r\n", number * 7 % KEYS).into_bytes())
        .collect();
    for client in &mut greedy {
        client.send_bytes(&gets).unwrap();
    }
    write(300);
    greedy.truncate(60);
    let refused = write(300);
    let mut client = server.connect();
    // Data and clients leave room for each other, and what was there before is not all gone.
    assert!(refused == 0, "{refused} writes were refused");
    let Value::Integer(keys) = client.execute(&["DBSIZE"]) else { panic!("a number") };
    assert!(keys > 1000, "{keys} keys are left");
    drop(greedy);
    drop(server);
}
