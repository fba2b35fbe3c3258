//! Append-only files of Redis and Valkey: ours is exported as one, and loaded again as DEBUG LOADAOF does.

use super::saving::{digest, fill, start_in};
use super::{Test, text};
use basalt_testkit::process::{Program, Scratch, Server};
use std::process::{Command, Output};
use std::time::Duration;

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("a_journal_is_loaded_again", a_journal_is_loaded_again),
    ("real_servers_load_an_exported_journal", real_servers_load_an_exported_journal),
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
