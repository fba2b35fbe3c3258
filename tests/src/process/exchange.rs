//! Append-only files of Redis and Valkey: theirs are loaded, ours is exported as one, and loaded again as DEBUG LOADAOF
//! does.

use super::saving::{digest, fill, start_in};
use super::{Test, eventually, text};
use basalt_testkit::client::Connection;
use basalt_testkit::process::{Launch, Program, Scratch, Server};
use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("a_journal_is_loaded_again", a_journal_is_loaded_again),
    ("real_servers_load_an_exported_journal", real_servers_load_an_exported_journal),
    ("append_only_files_of_real_servers_are_loaded", append_only_files_of_real_servers_are_loaded),
    ("a_torn_append_only_file_is_cut_or_refused", a_torn_append_only_file_is_cut_or_refused),
];

const ENDS_WITHIN: Duration = Duration::from_secs(20);

fn journaled(folder: &Scratch, shards: &str) -> Server {
    start_in(Program::Ours, folder, &["--appendonly", "yes", "--shards", shards])
}

fn end(server: &mut Server) {
    server.signal("TERM");
    assert!(server.wait(ENDS_WITHIN).is_some_and(|status| status.success()), "{}", server.log());
}

fn a_journal_is_loaded_again(program: Program) {
    let folder = Scratch::create().unwrap();
    // The second start loads files of another number of shards, and begins a generation of its own.
    for shards in ["3", "2"] {
        let mut server = journaled(&folder, shards);
        let mut client = server.connect();
        fill(&mut client);
        for rewrites in [false, true] {
            if rewrites {
                text(&mut client, &["BGREWRITEAOF"]);
                text(&mut client, &["SET", "behind", "the rewrite"]);
            }
            let wanted = digest(&server);
            for _ in 0..3 {
                assert_eq!(text(&mut client, &["DEBUG", "LOADAOF"]), "OK");
                assert_eq!(digest(&server), wanted, "{shards} shards");
            }
            text(&mut client, &["INCR", "loaded"]);
        }
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is left beside the journal");
        let wanted = digest(&server);
        end(&mut server);
        assert_eq!(digest(&journaled(&folder, shards)), wanted);
    }
    let server = start_in(program, &Scratch::create().unwrap(), &[]);
    let mut client = server.connect();
    text(&mut client, &["SET", "key", "v"]);
    let refused = text(&mut client, &["DEBUG", "LOADAOF"]);
    assert!(refused.contains("needs a journal"), "{refused}");
    assert_eq!(text(&mut client, &["GET", "key"]), "\"v\"");
}

/// Exports what the folder's journal holds; the path is where to.
fn export(folder: &Scratch, target: &str, to: &str) -> Output {
    let path = Program::Ours.server().expect("it is there");
    let dir = folder.path().to_string_lossy();
    let args = ["--dir", &dir, "--rdb-target", target, "--export-aof", to];
    Command::new(path).args(args).output().expect("it can run")
}

fn real_servers_load_an_exported_journal(_: Program) {
    let folder = Scratch::create().unwrap();
    let mut server = journaled(&folder, "2");
    let mut client = server.connect();
    fill(&mut client);
    text(&mut client, &["BGREWRITEAOF"]);
    text(&mut client, &["RPUSH", "behind", "the rewrite"]);
    let wanted = digest(&server);
    let busy = export(&folder, "redis7", "/nowhere");
    assert!(
        String::from_utf8_lossy(&busy.stdout).contains("another server") || !busy.status.success()
    );
    end(&mut server);
    for (oracle, target) in
        [(Program::Redis7, "redis7"), (Program::Redis8, "redis8"), (Program::Valkey9, "valkey9")]
    {
        if oracle.server().is_none() {
            continue;
        }
        let to = Scratch::create().unwrap();
        let exported = to.path().join("appendonlydir").to_string_lossy().into_owned();
        let output = export(&folder, target, &exported);
        assert!(output.status.success(), "{output:?}");
        assert!(!export(&folder, target, &exported).status.success(), "it is not empty");
        if let Some(check) = oracle.tool("check-aof") {
            let manifest = format!("{exported}/appendonly.aof.manifest");
            let checked = Command::new(check).arg(manifest).output().unwrap();
            assert!(checked.status.success(), "{checked:?}");
        }
        let server = start_in(oracle, &to, &["--appendonly", "yes"]);
        assert_eq!(digest(&server), wanted, "{}", oracle.name());
        let mut client = server.connect();
        assert_eq!(text(&mut client, &["LLEN", "behind"]), "(integer) 1");
    }
}

/// Commands that follow each other in one database and another, in a transaction, in a script.
fn write_more(client: &mut Connection) {
    text(client, &["SELECT", "5"]);
    text(client, &["SET", "five", "5", "PX", "100000000"]);
    text(client, &["SELECT", "0"]);
    text(client, &["MULTI"]);
    text(client, &["INCR", "counter"]);
    text(client, &["RENAME", "key:1", "renamed"]);
    text(client, &["EXEC"]);
    text(client, &["EVAL", "redis.call('SET', KEYS[1], ARGV[1])", "1", "scripted", "v"]);
    text(client, &["XADD", "events", "*", "field", "value"]);
    text(client, &["XGROUP", "CREATE", "events", "readers", "0"]);
    text(client, &["XREADGROUP", "GROUP", "readers", "one", "STREAMS", "events", ">"]);
    text(client, &["SPOP", "set:large", "5"]);
    text(client, &["DEL", "key:2"]);
}

fn append_only_files_of_real_servers_are_loaded(_: Program) {
    for oracle in [Program::Redis7, Program::Redis8, Program::Valkey9] {
        if oracle.server().is_none() {
            continue;
        }
        for preamble in ["yes", "no"] {
            let folder = Scratch::create().unwrap();
            let args = ["--appendonly", "yes", "--aof-use-rdb-preamble", preamble];
            let server = start_in(oracle, &folder, &args);
            let mut client = server.connect();
            fill(&mut client);
            text(&mut client, &["BGREWRITEAOF"]);
            eventually("it is rewritten", || {
                let info = text(&mut client, &["INFO", "persistence"]);
                info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrites:")
            });
            write_more(&mut client);
            let wanted = digest(&server);
            drop(server);
            let named = format!("{}, preamble {preamble}", oracle.name());
            let mut server = journaled(&folder, "2");
            assert_eq!(digest(&server), wanted, "{named}");
            let mut client = server.connect();
            assert!(text(&mut client, &["INFO", "persistence"]).contains("aof_enabled:1"));
            assert_eq!(text(&mut client, &["SET", "own", "v"]), "OK");
            let wanted = digest(&server);
            end(&mut server);
            let server = journaled(&folder, "3");
            assert_eq!(digest(&server), wanted, "{named}: our own journal has it");
            assert!(folder.path().join("appendonlydir/appendonly.aof.manifest").exists());
        }
    }
}

/// A start that finds this as an append-only file of old Redis.
fn launch_with(content: &[u8], args: &[&str]) -> (Scratch, Launch) {
    let folder = Scratch::create().unwrap();
    fs::write(folder.path().join("appendonly.aof"), content).unwrap();
    let dir = folder.path().to_string_lossy().into_owned();
    let launch = Launch::new(Program::Ours)
        .args(["--dir", &dir, "--shards", "2", "--appendonly", "yes"])
        .args(args.iter().copied());
    (folder, launch)
}

fn a_torn_append_only_file_is_cut_or_refused(_: Program) {
    let set = |key: &str| format!("*3\r\n$3\r\nSET\r\n$1\r\n{key}\r\n$1\r\nv\r\n");
    let whole =
        format!("#TS:1700000000\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n{}{}", set("a"), set("b"));
    let multi = "*1\r\n$5\r\nMULTI\r\n";
    let past = "*3\r\n$9\r\nPEXPIREAT\r\n$1\r\na\r\n$4\r\n1000\r\n";
    let append = "*3\r\n$6\r\nAPPEND\r\n$1\r\na\r\n$1\r\nw\r\n";
    for (tail, keys) in [
        (String::new(), 2),
        (set("c")[..20].to_owned(), 2),
        (format!("{multi}{}", set("c")), 2),
        (format!("{multi}{}*1\r\n$4\r\nEXEC\r\n", set("c")), 3),
        // A key that is past its expiry is changed, and goes all the same.
        (format!("{past}{append}"), 1),
    ] {
        let (folder, launch) = launch_with(format!("{whole}{tail}").as_bytes(), &[]);
        let server = launch.start().unwrap_or_else(|error| panic!("{tail:?}: {error}"));
        let mut client = server.connect();
        eventually("what is past its expiry goes", || {
            text(&mut client, &["DBSIZE"]) == format!("(integer) {keys}")
        });
        drop(server);
        let server = journaled(&folder, "2");
        assert_eq!(text(&mut server.connect(), &["DBSIZE"]), format!("(integer) {keys}"));
    }
    let cut = set("c")[..20].to_owned();
    for (tail, args, why) in [
        (cut.as_str(), &["--aof-load-truncated", "no"][..], "set aof-load-truncated to yes"),
        ("nonsense\r\n", &[], "there is no command"),
        ("*1\r\n$7\r\nNONSENS\r\n", &[], "unknown command"),
    ] {
        let (folder, launch) = launch_with(format!("{whole}{tail}").as_bytes(), args);
        let error = launch.start().expect_err("it is refused").to_string();
        assert!(error.contains(why), "{tail:?}: {error}");
        let left = fs::read(folder.path().join("appendonly.aof")).unwrap();
        assert_eq!(left, format!("{whole}{tail}").as_bytes(), "it is as it was");
        assert!(!error.contains("Ready to accept"));
    }
}
