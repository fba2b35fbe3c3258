//! The journal of a process that is killed, restarted with other shards, or finds files that it can't use.

use super::{Test, launch, start, text};
use basalt_resp::Value;
use basalt_testkit::client::Connection;
use basalt_testkit::process::{Launch, Program, Scratch, Server};
use basalt_testkit::random::Random;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("journal_always_survives_kills", always_survives_kills),
    ("journal_everysec_survives_kills", everysec_survives_kills),
    ("journal_unsynced_survives_kills", unsynced_survives_kills),
    ("journal_rewritten_survives_kills", rewritten_survives_kills),
    ("journal_is_rewritten_while_it_serves", is_rewritten_while_it_serves),
    ("journal_is_turned_on_and_off", is_turned_on_and_off),
    ("journal_is_turned_about_amid_rewrites", is_turned_about_amid_rewrites),
    ("journal_takes_in_a_large_reload", takes_in_a_large_reload),
    ("journal_holds_every_type", holds_every_type),
    ("journal_is_ended_at_a_stop", is_ended_at_a_stop),
    ("journal_refuses_what_it_cannot_use", refuses_what_it_cannot_use),
];

/// Kills of each policy, side by side.
const KILLS: u64 = 20;
const CLIENTS: usize = 4;

fn journaled(dir: &Scratch, shards: u64, args: &[&str]) -> Launch {
    let dir = dir.path().display().to_string();
    let shards = shards.to_string();
    Launch::new(Program::Ours)
        .args(["--appendonly", "yes", "--dir", &dir, "--shards", &shards])
        .args(args)
}

/// What one client was answered.
#[derive(Default)]
struct Answered {
    /// Of `first:<n>` and `second:<n>`, raised in turn.
    turns: AtomicU64,
    /// The last value that `left:<n>`, `right:<n>` and `third:<n>` were all set to.
    pair: AtomicU64,
}

/// Raises counters until the server is gone.
fn work(server: &Server, number: usize, answered: &Answered, before: (u64, u64)) {
    let mut client = server.connect();
    let (mut turns, mut value) = before;
    loop {
        let name = if turns % 2 == 0 { "first" } else { "second" };
        let Ok(Value::Integer(_)) = client.ask(&["INCR", &format!("{name}:{number}")]) else {
            return;
        };
        turns += 1;
        answered.turns.store(turns, Ordering::Release);
        value += 1;
        let text = value.to_string();
        let keys = ["left", "right", "third"].map(|key| format!("{key}:{number}"));
        let [left, right, third] = &keys;
        let done = if value % 2 == 0 {
            client.ask(&["MSET", left, &text, right, &text, third, &text])
        } else {
            let mut sent = client.send(&["MULTI"]);
            for key in &keys {
                sent = sent.and_then(|()| client.send(&["SET", key, &text]));
            }
            let replies = sent.and_then(|()| client.receive_many(4));
            replies.and_then(|_| client.ask(&["EXEC"]))
        };
        match done {
            Ok(Value::Error(error)) => panic!("{error:?}"),
            Ok(_) => answered.pair.store(value, Ordering::Release),
            Err(_) => return,
        }
    }
}

/// Waits for as many answers as a slow disk gives, too.
#[expect(clippy::disallowed_methods, reason = "waiting for a process is about real time")]
fn answered_within_a_minute(mut is_enough: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_enough() {
        assert!(Instant::now() < deadline, "the clients are not answered");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn number(client: &mut Connection, key: &str) -> u64 {
    text(client, &["GET", key]).trim_matches('"').parse().unwrap_or(0)
}

/// Rewrites the journal again and again until the server is gone.
#[expect(clippy::disallowed_methods, reason = "waiting for a process is about real time")]
fn rewrite_until_killed(server: &Server) {
    let mut client = server.connect();
    while client.ask(&["BGREWRITEAOF"]).is_ok() {
        std::thread::sleep(Duration::from_millis(7));
    }
}

fn info(client: &mut Connection) -> String {
    let found = client.ask(&["INFO", "persistence"]).unwrap();
    String::from_utf8_lossy(found.as_bytes().unwrap_or_default()).into_owned()
}

/// Waits for a line of INFO persistence.
fn awaits(client: &mut Connection, line: &str) {
    answered_within_a_minute(|| info(client).contains(line));
}

/// Kills a server again and again, and looks at what the next one loads.
fn survive_kills(policy: &str, seed: u64, rewrites: bool) {
    let mut random = Random::from_seed(seed);
    let dir = Scratch::create().unwrap();
    let mut known = [(0, 0); CLIENTS];
    for round in 0..=KILLS / 4 {
        let shards = 1 + random.below(3) as u64;
        let server = journaled(&dir, shards, &["--appendfsync", policy]).start();
        let mut server = server.unwrap_or_else(|error| panic!("{policy} {seed}: {error}"));
        let mut client = server.connect();
        for (n, (turns, pair)) in known.iter_mut().enumerate() {
            let context = format!("{policy}, seed {seed}, round {round}, client {n}");
            let counts = ["first", "second"].map(|key| number(&mut client, &format!("{key}:{n}")));
            let [first, second] = counts;
            assert!(second <= first && first <= second + 1, "{context}: {counts:?}");
            let sets = ["left", "right", "third"];
            let sets = sets.map(|key| number(&mut client, &format!("{key}:{n}")));
            assert!(sets.iter().all(|value| *value == sets[0]), "{context}: {sets:?}");
            if policy == "always" {
                assert!(first + second >= *turns, "{context}: {counts:?} of {turns}");
                assert!(sets[0] >= *pair, "{context}: {sets:?} of {pair}");
            }
            (*turns, *pair) = (first + second, sets[0]);
        }
        if round == KILLS / 4 {
            return;
        }
        let answered: [Answered; CLIENTS] = Default::default();
        let wanted = 1 + random.below(if policy == "always" { 30 } else { 400 }) as u64;
        std::thread::scope(|scope| {
            for (n, answered) in answered.iter().enumerate() {
                let (server, before) = (&server, known[n]);
                scope.spawn(move || work(server, n, answered, before));
            }
            if rewrites {
                scope.spawn(|| rewrite_until_killed(&server));
            }
            let total =
                || answered.iter().map(|one| one.turns.load(Ordering::Acquire)).sum::<u64>();
            let base: u64 = known.iter().map(|(turns, _)| turns).sum();
            answered_within_a_minute(|| total() >= base + wanted);
            server.signal("KILL");
        });
        server.wait(Duration::from_secs(20)).expect("it was killed");
        for (known, answered) in known.iter_mut().zip(&answered) {
            known.0 = known.0.max(answered.turns.load(Ordering::Acquire));
            known.1 = known.1.max(answered.pair.load(Ordering::Acquire));
        }
    }
}

fn survive_side_by_side(policy: &'static str) {
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || survive_kills(policy, seed, false));
        }
    });
}

fn always_survives_kills(_: Program) {
    survive_side_by_side("always");
}

fn everysec_survives_kills(_: Program) {
    survive_side_by_side("everysec");
}

fn unsynced_survives_kills(_: Program) {
    survive_side_by_side("no");
}

fn rewritten_survives_kills(_: Program) {
    std::thread::scope(|scope| {
        for (seed, policy) in ["always", "everysec", "no", "always"].into_iter().enumerate() {
            scope.spawn(move || survive_kills(policy, 100 + seed as u64, true));
        }
    });
}

fn is_rewritten_while_it_serves(_: Program) {
    let dir = Scratch::create().unwrap();
    let automatic = ["--auto-aof-rewrite-min-size", "1mb", "--auto-aof-rewrite-percentage", "100"];
    let mut server = journaled(&dir, 2, &automatic).start().unwrap();
    let mut client = server.connect();
    fill(&mut client);
    let digest = text(&mut client, &["DEBUG", "DIGEST"]);
    let started = text(&mut client, &["BGREWRITEAOF"]);
    assert!(started.contains("Background append only file rewriting started"), "{started}");
    awaits(&mut client, "aof_rewrites:1\r\n");
    let info = info(&mut client);
    assert!(info.contains("aof_last_bgrewrite_status:ok"), "{info}");
    assert_eq!(text(&mut client, &["DEBUG", "DIGEST"]), digest);
    // What is written over again and again makes it rewritten by itself.
    let value = "v".repeat(100_000);
    for _ in 0..40 {
        client.ask(&["SET", "large value", &value]).unwrap();
    }
    awaits(&mut client, "aof_rewrites:2\r\n");
    client.ask(&["DEL", "large value"]).unwrap();
    server.signal("TERM");
    server.wait(Duration::from_secs(20)).unwrap();
    let folder = dir.path().join("appendonlydir");
    let bytes: u64 =
        fs::read_dir(&folder).unwrap().flatten().map(|f| f.metadata().unwrap().len()).sum();
    assert!(bytes < 3_000_000, "old files are gone: {bytes}");
    let program = Program::Ours.server().expect("it was started");
    let check = Command::new(program).args(["--check-aof", "--dir"]).arg(dir.path()).output();
    assert!(check.unwrap().status.success());
    for shards in [3, 2] {
        let mut server = journaled(&dir, shards, &[]).start().unwrap();
        let mut client = server.connect();
        assert_eq!(text(&mut client, &["DEBUG", "DIGEST"]), digest);
        server.signal("KILL");
        server.wait(Duration::from_secs(20)).unwrap();
    }
}

fn is_turned_on_and_off(_: Program) {
    let dir = Scratch::create().unwrap();
    let path = dir.path().display().to_string();
    let off = ["--appendonly", "no", "--dir", &path, "--shards", "2", "--save", ""];
    let mut server = Launch::new(Program::Ours).args(off).start().unwrap();
    let mut client = server.connect();
    client.ask(&["MSET", "a", "1", "b", "2"]).unwrap();
    // Nobody writes to the files of these.
    for rewrite in 1..=10 {
        client.ask(&["BGREWRITEAOF"]).unwrap();
        awaits(&mut client, &format!("aof_rewrites:{rewrite}\r\n"));
    }
    for round in 11..=12 {
        assert_eq!(text(&mut client, &["CONFIG", "SET", "appendonly", "yes"]), "OK");
        client.ask(&["SET", "c", "3"]).unwrap();
        awaits(&mut client, &format!("aof_rewrites:{round}\r\n"));
        client.ask(&["MSET", "b", "4", "d", "5"]).unwrap();
        assert_eq!(text(&mut client, &["CONFIG", "SET", "appendonly", "no"]), "OK");
        awaits(&mut client, "aof_enabled:0\r\n");
        client.ask(&["SET", "lost", "6"]).unwrap();
    }
    server.signal("KILL");
    server.wait(Duration::from_secs(20)).unwrap();
    let server = journaled(&dir, 3, &[]).start().unwrap();
    let mut client = server.connect();
    let Ok(Value::Array(found)) = client.ask(&["MGET", "a", "b", "c", "d"]) else { panic!("MGET") };
    let found: Vec<_> =
        found.iter().map(|value| value.as_bytes().unwrap_or_default().to_vec()).collect();
    assert_eq!(found, [&b"1"[..], b"4", b"3", b"5"]);
    // In the second round it was there before the journal began.
    assert_eq!(number(&mut client, "lost"), 6);
}

/// Turns the journal on, off and on again while its files are still being made, and looks at what a kill leaves.
#[expect(clippy::disallowed_methods, reason = "what is under way at a moment is about real time")]
fn is_turned_about_amid_rewrites(_: Program) {
    let mut random = Random::from_seed(17);
    for round in 1..=40_u64 {
        let dir = Scratch::create().unwrap();
        let path = dir.path().display().to_string();
        let off = ["--appendonly", "no", "--dir", &path, "--shards", "2", "--save", ""];
        let mut server = Launch::new(Program::Ours).args(off).start().unwrap();
        let mut client = server.connect();
        for key in 0..100 {
            client.ask(&["SET", &format!("key:{key}"), "value"]).unwrap();
        }
        for step in ["yes", "no", "yes"] {
            if random.below(3) == 0 {
                client.ask(&["BGREWRITEAOF"]).unwrap();
            }
            assert_eq!(text(&mut client, &["CONFIG", "SET", "appendonly", step]), "OK");
            std::thread::sleep(Duration::from_micros(random.below(800) as u64));
        }
        client.ask(&["SET", "last", &round.to_string()]).unwrap();
        answered_within_a_minute(|| {
            let found = info(&mut client);
            found.contains("aof_rewrite_in_progress:0\r\n")
                && found.contains("aof_rewrite_scheduled:0\r\n")
                && !found.contains("aof_rewrites:0\r\n")
        });
        let waited = client.ask(&["WAITAOF", "1", "0", "20000"]).unwrap();
        assert_eq!(waited, Value::Array(vec![Value::Integer(1), Value::Integer(0)]));
        server.signal("KILL");
        server.wait(Duration::from_secs(20)).unwrap();
        let server = journaled(&dir, 1 + round % 3, &[]).start().unwrap();
        let mut client = server.connect();
        assert_eq!(number(&mut client, "last"), round);
        assert_eq!(text(&mut client, &["DBSIZE"]), "(integer) 101");
    }
}

/// What a reload journals is more than may wait for the disk, and no cut can be taken meanwhile.
fn takes_in_a_large_reload(_: Program) {
    let dir = Scratch::create().unwrap();
    let args = ["--appendfsync", "always", "--enable-debug-command", "yes"];
    let server = journaled(&dir, 2, &args).start().unwrap();
    let mut client = server.connect();
    let value = "x".repeat(1 << 20);
    for key in 0..200 {
        client.ask(&["SET", &format!("key:{key}"), &value]).unwrap();
    }
    assert_eq!(text(&mut client, &["DEBUG", "RELOAD"]), "OK");
    assert_eq!(text(&mut client, &["DBSIZE"]), "(integer) 200");
}

/// Keys of all types, encodings and expiries, changed in many ways.
fn fill(client: &mut Connection) {
    let long = "v".repeat(100_000);
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut add = |words: &[&str]| lines.push(words.iter().map(|word| (*word).into()).collect());
    add(&["SET", "long", &long]);
    add(&["APPEND", "long", "tail"]);
    add(&["SETRANGE", "long", "7", "seven"]);
    add(&["SET", "expires", "soon", "EX", "10000"]);
    add(&["INCRBYFLOAT", "float", "1.25"]);
    add(&["SETBIT", "bits", "1000", "1"]);
    add(&["PFADD", "sketch", "a", "b", "c"]);
    add(&["XADD", "stream", "1-1", "field", "value"]);
    add(&["XGROUP", "CREATE", "stream", "group", "0"]);
    add(&["XREADGROUP", "GROUP", "group", "consumer", "STREAMS", "stream", ">"]);
    add(&["HSET", "hash", "a", "1", "b", "2"]);
    add(&["HEXPIRE", "hash", "10000", "FIELDS", "1", "a"]);
    for number in 0..600 {
        let (number, name) = (number.to_string(), format!("member {number}"));
        add(&["RPUSH", "list", &name]);
        add(&["SADD", "set", &name]);
        add(&["SADD", "numbers", &number]);
        add(&["ZADD", "sorted", &number, &name]);
        add(&["HSET", "large", &name, &number]);
    }
    add(&["LTRIM", "list", "10", "500"]);
    add(&["SPOP", "set", "100"]);
    add(&["ZREMRANGEBYRANK", "sorted", "0", "99"]);
    add(&["RENAME", "set", "renamed"]);
    add(&["COPY", "sorted", "copied"]);
    add(&["LMOVE", "list", "moved", "LEFT", "RIGHT"]);
    add(&["SELECT", "3"]);
    add(&["MSET", "a", "1", "b", "2", "c", "3"]);
    add(&["FLUSHDB"]);
    add(&["SET", "three", "3"]);
    add(&["SWAPDB", "3", "4"]);
    add(&["SELECT", "0"]);
    add(&["MOVE", "moved", "5"]);
    add(&["DEL", "float"]);
    for line in lines {
        let reply = client.execute(&line);
        assert!(!matches!(reply, Value::Error(_)), "{line:?}: {reply:?}");
    }
}

fn digest(client: &mut Connection) -> String {
    text(client, &["DEBUG", "DIGEST"])
}

fn holds_every_type(_: Program) {
    let dir = Scratch::create().unwrap();
    let mut expected = None;
    // Killed, loaded by other numbers of shards, changed, and loaded again.
    for shards in [2, 3, 1, 4, 4] {
        let mut server = journaled(&dir, shards, &["--appendfsync", "always"]).start().unwrap();
        let mut client = server.connect();
        match &expected {
            None => fill(&mut client),
            Some(digests) => {
                assert_eq!(digest(&mut client), *digests, "{shards} shards");
                assert!(text(&mut client, &["TTL", "expires"]) != "(integer) -1");
                text(&mut client, &["INCR", "starts"]);
                text(&mut client, &["MSET", "x", "1", "y", &shards.to_string(), "z", "3"]);
            }
        }
        expected = Some(digest(&mut client));
        server.signal("KILL");
        server.wait(Duration::from_secs(20)).expect("it was killed");
    }
}

fn is_ended_at_a_stop(_: Program) {
    for policy in ["no", "everysec", "always"] {
        let dir = Scratch::create().unwrap();
        let mut server = journaled(&dir, 2, &["--appendfsync", policy]).start().unwrap();
        let mut client = server.connect();
        for number in 0..50 {
            client.execute(&["SET", &format!("key {number}"), "value"]);
        }
        server.signal("TERM");
        server.wait(Duration::from_secs(20)).expect("it stops");
        let server = journaled(&dir, 2, &[]).start().unwrap();
        assert_eq!(text(&mut server.connect(), &["DBSIZE"]), "(integer) 50", "{policy}");
    }
}

/// Writes a file with one byte of it changed.
fn file_with(path: &PathBuf, content: &[u8], changed: usize) {
    let mut content = content.to_vec();
    content[changed] ^= 1;
    fs::write(path, content).unwrap();
}

/// The journal files of a folder, in the order of their names.
fn files(dir: &Scratch) -> Vec<PathBuf> {
    let found = fs::read_dir(dir.path().join("appendonlydir")).unwrap();
    let paths = found.flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension() == Some("log".as_ref())).collect();
    paths.sort();
    paths
}

fn refuses_what_it_cannot_use(_: Program) {
    let dir = Scratch::create().unwrap();
    let refused = |why: &str| {
        let error = journaled(&dir, 2, &[]).start().expect_err("it is refused").to_string();
        assert!(error.contains(why), "{why}: {error}");
    };
    let mut server = journaled(&dir, 2, &["--appendfsync", "always"]).start().unwrap();
    let mut client = server.connect();
    for number in 0..100 {
        client.execute(&["SET", &format!("key {number}"), "value"]);
    }
    refused("another server has this journal open");
    server.signal("KILL");
    server.wait(Duration::from_secs(20)).expect("it was killed");
    let manifest = dir.path().join("appendonlydir/journal.manifest");
    let sound = fs::read(&manifest).unwrap();
    let first = files(&dir).remove(0);

    fs::write(&manifest, b"file appendonly.aof.1.base.rdb seq 1 type b\n").unwrap();
    refused("no manifest of this program");
    fs::write(&manifest, &sound[1..]).unwrap();
    refused("no manifest of this program");
    fs::write(&manifest, &sound[..sound.len() - 3]).unwrap();
    refused("checksum");
    fs::remove_file(&manifest).unwrap();
    refused("no journal.manifest");
    fs::create_dir(&manifest).unwrap();
    refused("Is a directory");
    fs::remove_dir(&manifest).unwrap();
    fs::write(&manifest, &sound).unwrap();

    let content = fs::read(&first).unwrap();
    let file = OpenOptions::new().write(true).open(&first).unwrap();
    file.write_all_at(b"?", 100).unwrap();
    refused("damaged at offset");
    file.write_all_at(b"REDIS0011", 0).unwrap();
    refused("no journal of this program");
    fs::rename(&first, dir.path().join("away")).unwrap();
    refused("No such file");
    fs::write(&first, &content).unwrap();

    let check = |args: &[&str]| {
        let program = Program::Ours.server().expect("it was started");
        let dir = dir.path().display().to_string();
        let output = Command::new(program).args(["--check-aof", "--dir", &dir]).args(args).output();
        let output = output.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let (is_sound, said) = check(&[]);
    assert!(is_sound && said.matches("sound").count() == files(&dir).len(), "{said}");
    file_with(&first, &content, 100);
    let (is_sound, said) = check(&[]);
    assert!(!is_sound && said.contains("damaged at offset"), "{said}");
    let (is_sound, said) = check(&["--fix"]);
    assert!(is_sound && said.contains("cut off"), "{said}");
    assert!(check(&[]).0);
    fs::write(&first, &content).unwrap();

    // A torn tail is cut off, or refused where that is wanted.
    let mut torn = content;
    torn.extend_from_slice(&[7; 33]);
    fs::write(&first, torn).unwrap();
    let error = journaled(&dir, 2, &["--aof-load-truncated", "no"]).start();
    let error = error.expect_err("it is refused").to_string();
    assert!(error.contains("33 bytes from offset"), "{error}");
    let server = journaled(&dir, 2, &[]).start().unwrap();
    assert!(server.log().contains("the last 33 bytes"), "{}", server.log());
    assert_eq!(text(&mut server.connect(), &["DBSIZE"]), "(integer) 100");

    // A file of Redis that is not all there is not taken for nothing.
    let other = start(Program::Ours, &[]);
    let folder = other.folder().join("appendonlydir");
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("appendonly.aof.manifest"),
        "file appendonly.aof.1.incr.aof seq 1 type i\n",
    )
    .unwrap();
    let dir = other.folder().display().to_string();
    let error = launch(Program::Ours).args(["--appendonly", "yes", "--dir", &dir]).start();
    let error = error.expect_err("it is refused").to_string();
    assert!(error.contains("the manifest names it, and it is not there"), "{error}");
}
