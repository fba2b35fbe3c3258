//! Snapshots on a real disk: what was saved is there after a restart; a damaged file is refused; a save that fails
//! harms nothing.

use super::{Test, eventually, launch, text};
use basalt_resp::Value;
use basalt_testkit::client::Connection;
use basalt_testkit::process::{Launch, Program, Scratch, Server};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("a_snapshot_survives_a_kill_and_other_shards", a_snapshot_survives_a_kill_and_other_shards),
    ("sigterm_saves_with_save_points", sigterm_saves_with_save_points),
    ("libraries_are_saved_and_exchanged", libraries_are_saved_and_exchanged),
    ("a_damaged_snapshot_is_refused", a_damaged_snapshot_is_refused),
    ("a_file_is_checked_without_a_server", a_file_is_checked_without_a_server),
    ("a_reload_of_a_bad_file_changes_nothing", a_reload_of_a_bad_file_changes_nothing),
    ("a_save_that_fails_harms_nothing", a_save_that_fails_harms_nothing),
    ("real_servers_read_a_snapshot_and_write_one", real_servers_read_a_snapshot_and_write_one),
];

const ENDS_WITHIN: Duration = Duration::from_secs(20);

pub(super) fn start_in(program: Program, folder: &Scratch, args: &[&str]) -> Server {
    let folder = folder.path().to_string_lossy().into_owned();
    match Launch::new(program).args(["--dir", folder.as_str()]).args(args.iter().copied()).start() {
        Ok(server) => server,
        Err(error) => panic!("{error}"),
    }
}

/// Values of every type, in small and large forms, in two databases.
pub(super) fn fill(client: &mut Connection) {
    for number in 0..200 {
        let key = format!("key:{number}");
        assert_eq!(text(client, &["SET", &key, &number.to_string()]), "OK");
    }
    let long = "a long text ".repeat(100);
    for (kind, count) in [("small", 3), ("large", 700)] {
        let name = |command: &str| format!("{command}:{kind}");
        for number in 0..count {
            let number = number.to_string();
            text(client, &["RPUSH", &name("list"), &number]);
            text(client, &["SADD", &name("set"), &format!("m{number}")]);
            text(client, &["ZADD", &name("zset"), &number, &format!("m{number}")]);
            text(client, &["HSET", &name("hash"), &format!("f{number}"), "v"]);
            text(client, &["XADD", &name("stream"), &format!("{number}-1"), "field", &number]);
        }
    }
    text(client, &["XGROUP", "CREATE", "stream:small", "group", "0"]);
    text(client, &["XREADGROUP", "GROUP", "group", "c", "STREAMS", "stream:small", ">"]);
    text(client, &["SET", "long", &long]);
    text(client, &["SELECT", "3"]);
    text(client, &["SET", "expiring", "v", "PXAT", "33177117420123"]);
    text(client, &["SELECT", "0"]);
}

pub(super) fn digest(server: &Server) -> String {
    text(&mut server.connect(), &["DEBUG", "DIGEST"])
}

fn a_snapshot_survives_a_kill_and_other_shards(program: Program) {
    let folder = Scratch::create().unwrap();
    let server = start_in(program, &folder, &["--shards", "2"]);
    let mut client = server.connect();
    fill(&mut client);
    let wanted = digest(&server);
    assert_eq!(text(&mut client, &["SAVE"]), "OK");
    assert!(text(&mut client, &["INFO", "persistence"]).contains("rdb_saves:1"));
    // What comes afterwards is lost with the process.
    assert_eq!(text(&mut client, &["SET", "lost", "v"]), "OK");
    drop(server);
    for shards in ["1", "3"] {
        let server = start_in(program, &folder, &["--shards", shards]);
        assert_eq!(digest(&server), wanted, "{shards} shards");
        let mut client = server.connect();
        text(&mut client, &["SELECT", "3"]);
        assert_eq!(text(&mut client, &["PEXPIRETIME", "expiring"]), "(integer) 33177117420123");
    }
}

/// Libraries are in snapshots and in the journal, and servers take each other's payloads.
fn libraries_are_saved_and_exchanged(program: Program) {
    const LIBRARY: &str =
        "#!lua name=saved\nredis.register_function('saved', function() return 'here' end)";
    let calls = |server: &Server| text(&mut server.connect(), &["FCALL", "saved", "0"]);
    for journaled in ["no", "yes"] {
        let folder = Scratch::create().unwrap();
        let args = |shards| ["--appendonly", journaled, "--shards", shards];
        let mut server = start_in(program, &folder, &args("2"));
        let mut client = server.connect();
        assert_eq!(text(&mut client, &["FUNCTION", "LOAD", LIBRARY]), "\"saved\"");
        if journaled == "no" {
            assert_eq!(text(&mut client, &["SAVE"]), "OK");
        }
        // With one shard or three the journal's files are handed on.
        for shards in ["2", "1", "3"] {
            server.signal("TERM");
            assert!(server.wait(ENDS_WITHIN).is_some());
            server = start_in(program, &folder, &args(shards));
            assert_eq!(calls(&server), "\"here\"", "journal {journaled}, {shards} shards");
        }
    }
    let folder = Scratch::create().unwrap();
    let ours = start_in(program, &folder, &["--shards", "2"]);
    let dumped = |client: &mut Connection| match client.execute(&["FUNCTION", "DUMP"]) {
        Value::Bulk(payload) => payload.to_vec(),
        other => panic!("{other:?}"),
    };
    let restore = |client: &mut Connection, payload: &[u8]| {
        let args: [&[u8]; 4] = [b"FUNCTION", b"RESTORE", payload, b"FLUSH"];
        client.execute(&args)
    };
    let mut own = ours.connect();
    assert_eq!(text(&mut own, &["FUNCTION", "LOAD", LIBRARY]), "\"saved\"");
    let payload = dumped(&mut own);
    for oracle in [Program::Redis7, Program::Redis8, Program::Valkey9] {
        let Ok(other) = Launch::new(oracle).start() else { continue };
        let mut client = other.connect();
        assert_eq!(restore(&mut client, &payload), Value::Simple("OK".into()), "{oracle:?}");
        assert_eq!(calls(&other), "\"here\"");
        let theirs = dumped(&mut client);
        assert_eq!(text(&mut own, &["FUNCTION", "FLUSH"]), "OK");
        assert_eq!(restore(&mut own, &theirs), Value::Simple("OK".into()), "{oracle:?}");
        assert_eq!(calls(&ours), "\"here\"");
    }
}

fn sigterm_saves_with_save_points(program: Program) {
    let folder = Scratch::create().unwrap();
    let mut server = start_in(program, &folder, &["--shards", "2", "--save", "3600 1000000"]);
    fill(&mut server.connect());
    let wanted = digest(&server);
    server.signal("TERM");
    assert!(server.wait(ENDS_WITHIN).is_some_and(|status| status.success()));
    let server = start_in(program, &folder, &["--shards", "2"]);
    assert_eq!(digest(&server), wanted);
    let mut client = server.connect();
    assert_eq!(text(&mut client, &["FLUSHALL"]), "OK");
    client.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(client.is_closed());
    let server = start_in(program, &folder, &[]);
    assert_eq!(digest(&server), wanted, "nothing was saved");
}

fn a_damaged_snapshot_is_refused(program: Program) {
    let folder = Scratch::create().unwrap();
    let server = start_in(program, &folder, &[]);
    fill(&mut server.connect());
    assert_eq!(text(&mut server.connect(), &["SAVE"]), "OK");
    drop(server);
    let path = folder.path().join("dump.rdb");
    let whole = fs::read(&path).unwrap();
    let dir = folder.path().to_string_lossy().into_owned();
    let refusal = || match launch(program).args(["--dir", dir.as_str()]).start() {
        Ok(_) => panic!("it starts"),
        Err(error) => error.to_string(),
    };
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for (bytes, why) in [
        (damaged, "checksum"),
        (whole[..whole.len() / 2].to_vec(), "ends within an item"),
        (b"some text that is no snapshot".to_vec(), "no RDB file"),
        (b"REDIS9999".to_vec(), "newer"),
    ] {
        fs::write(&path, bytes).unwrap();
        let refusal = refusal();
        assert!(refusal.contains(why) && refusal.contains("dump.rdb"), "{why}: {refusal}");
    }
    fs::write(&path, whole).unwrap();
    drop(start_in(program, &folder, &[]));
}

/// What `--check-rdb` says of a file, and whether it is sound.
fn check_rdb(program: Program, path: &Path) -> (bool, String) {
    let path = path.to_string_lossy();
    let server = program.server().expect("it was started");
    let output = Command::new(server).args(["--check-rdb", &path]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

fn a_file_is_checked_without_a_server(program: Program) {
    let folder = Scratch::create().unwrap();
    let server = start_in(program, &folder, &["--shards", "2"]);
    let mut client = server.connect();
    fill(&mut client);
    assert_eq!(text(&mut client, &["SET", "short", "v", "PX", "300"]), "OK");
    assert_eq!(text(&mut client, &["SAVE"]), "OK");
    eventually("it expires", || text(&mut client, &["EXISTS", "short"]) == "(integer) 0");
    drop(server);
    let path = folder.path().join("dump.rdb");
    let whole = fs::read(&path).unwrap();
    let (is_sound, said) = check_rdb(program, &path);
    assert!(is_sound, "{said}");
    for line in [
        "RDB looks OK!",
        "AUX FIELD redis-bits = '64'",
        "[info] 213 keys read\n[info] 2 expires\n[info] 1 already expired\n",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let mut wrong_sum = whole.clone();
    *wrong_sum.last_mut().unwrap() ^= 1;
    for (bytes, why) in [
        (wrong_sum, "checksum"),
        (whole[..whole.len() / 2].to_vec(), "Unexpected EOF reading RDB file"),
        (b"REDIS9999".to_vec(), "newer"),
    ] {
        fs::write(&path, bytes).unwrap();
        let (is_sound, said) = check_rdb(program, &path);
        assert!(!is_sound && said.contains("RDB ERROR DETECTED") && said.contains(why), "{said}");
    }
    let (is_sound, said) = check_rdb(program, &folder.path().join("none"));
    assert!(!is_sound && said.contains("No such file"), "{said}");
}

fn a_reload_of_a_bad_file_changes_nothing(program: Program) {
    let folder = Scratch::create().unwrap();
    let server = start_in(program, &folder, &["--shards", "2"]);
    let mut client = server.connect();
    fill(&mut client);
    assert_eq!(text(&mut client, &["DEBUG", "RELOAD"]), "OK");
    assert_eq!(text(&mut client, &["SET", "later", "v"]), "OK");
    let wanted = digest(&server);
    let path = folder.path().join("dump.rdb");
    let whole = fs::read(&path).unwrap();
    let fails = |client: &mut Connection, words: &[&str], why: &str| {
        let reply = text(client, words);
        assert!(reply.starts_with("(error) ERR") && reply.contains(why), "{reply}");
        assert_eq!(digest(&server), wanted, "{why}");
    };
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    fails(&mut client, &["DEBUG", "RELOAD", "NOSAVE"], "ends within an item");
    fs::remove_file(&path).unwrap();
    fails(&mut client, &["DEBUG", "RELOAD", "NOSAVE"], "No such file");
    fs::create_dir(&path).unwrap();
    fails(&mut client, &["DEBUG", "RELOAD", "NOSAVE"], "no regular file");
    fails(&mut client, &["DEBUG", "RELOAD"], "the save failed");
    fs::remove_dir(&path).unwrap();
    assert_eq!(text(&mut client, &["DEBUG", "RELOAD"]), "OK");
    assert_eq!(digest(&server), wanted);
    let info = text(&mut client, &["INFO", "persistence"]);
    assert!(info.contains("rdb_last_load_keys_loaded:213"), "{info}");
}

fn a_save_that_fails_harms_nothing(program: Program) {
    let folder = Scratch::create().unwrap();
    let server = start_in(program, &folder, &["--shards", "2"]);
    let mut client = server.connect();
    assert_eq!(text(&mut client, &["SET", "k", "v"]), "OK");
    // A folder in the file's place, which no file can replace.
    let path = folder.path().join("dump.rdb");
    fs::create_dir(&path).unwrap();
    let reply = text(&mut client, &["SAVE"]);
    assert!(
        reply.starts_with("(error) ERR the save failed") && reply.contains("dump.rdb"),
        "{reply}"
    );
    // As in Redis: who asked has the error, and writes go on.
    let mut info = || text(&mut client, &["INFO", "persistence"]);
    assert!(info().contains("rdb_last_bgsave_status:ok"), "{}", info());
    assert_eq!(
        text(&mut client, &["SHUTDOWN", "SAVE"]),
        "(error) ERR Errors trying to SHUTDOWN. Check logs."
    );
    assert_eq!(text(&mut client, &["GET", "k"]), "\"v\"");
    text(&mut client, &["BGSAVE"]);
    let mut other = server.connect();
    let mut info = || text(&mut other, &["INFO", "persistence"]);
    eventually("its failure is shown", || info().contains("rdb_last_bgsave_status:err"));
    let left = || fs::read_dir(folder.path()).unwrap().count();
    eventually("nothing is left of it but the folder", || left() == 1);
    fs::remove_dir(&path).unwrap();
    assert_eq!(text(&mut client, &["SAVE"]), "OK");
    assert!(text(&mut client, &["INFO", "persistence"]).contains("rdb_last_bgsave_status:ok"));
    assert_eq!(left(), 1);
}

/// With each server that is there: ours to theirs, and back.
fn real_servers_read_a_snapshot_and_write_one(program: Program) {
    for (oracle, target) in [
        (Program::Redis7, "redis7"),
        (Program::Redis8, "redis8"),
        (Program::Valkey9, "valkey9"),
        (Program::Redis8, "latest"),
    ] {
        if oracle.server().is_none() {
            continue;
        }
        let folder = Scratch::create().unwrap();
        let server = start_in(program, &folder, &["--shards", "2", "--rdb-target", target]);
        fill(&mut server.connect());
        let wanted = digest(&server);
        assert_eq!(text(&mut server.connect(), &["SAVE"]), "OK");
        drop(server);
        let server = start_in(oracle, &folder, &[]);
        assert_eq!(digest(&server), wanted, "{target} read by {}", oracle.name());
        assert_eq!(text(&mut server.connect(), &["SAVE"]), "OK");
        drop(server);
        let server = start_in(program, &folder, &["--shards", "3"]);
        assert_eq!(digest(&server), wanted, "written by {}", oracle.name());
    }
}
