//! Loading at the start: clients are answered meanwhile, and nothing of a half-loaded server is used or saved.
//!
//! The snapshot is a named pipe, so that the test decides how far loading comes.

use super::{Test, eventually, text};
use basalt_testkit::client::Connection;
use basalt_testkit::process::{Launch, Program, Scratch, Server};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::time::Duration;

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("clients_are_answered_while_data_is_loaded", clients_are_answered_while_data_is_loaded),
    ("a_stop_while_data_is_loaded_saves_nothing", a_stop_while_data_is_loaded_saves_nothing),
    ("a_snapshot_that_ends_early_ends_the_server", a_snapshot_that_ends_early_ends_the_server),
];

const ENDS_WITHIN: Duration = Duration::from_secs(20);
const LOADING: &str = "(error) LOADING Redis is loading the dataset in memory";
const KEYS: &str = "(integer) 1000";

fn launch_in(folder: &Scratch, args: &[&str]) -> Launch {
    let folder = folder.path().to_string_lossy().into_owned();
    Launch::new(Program::Ours).args(["--dir", &folder, "--shards", "2"]).args(args.iter().copied())
}

/// The bytes of a snapshot of 1,000 keys.
fn snapshot() -> Vec<u8> {
    let folder = Scratch::create().unwrap();
    let server = launch_in(&folder, &[]).start().unwrap();
    let mut client = server.connect();
    assert_eq!(text(&mut client, &["DEBUG", "POPULATE", "1000"]), "OK");
    assert_eq!(text(&mut client, &["SAVE"]), "OK");
    fs::read(folder.path().join("dump.rdb")).unwrap()
}

/// A server that has got the first half of a snapshot, and where the other half goes.
fn half_loaded(folder: &Scratch, snapshot: &[u8], args: &[&str]) -> (Server, File) {
    let path = folder.path().join("dump.rdb");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let mut pipe = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    pipe.write_all(&snapshot[..snapshot.len() / 2]).unwrap();
    let server = launch_in(folder, args).while_loading().start();
    (server.unwrap_or_else(|error| panic!("{error}")), pipe)
}

fn is_loading(client: &mut Connection) -> bool {
    text(client, &["INFO", "persistence"]).contains("loading:1")
}

fn clients_are_answered_while_data_is_loaded(_: Program) {
    let snapshot = snapshot();
    let folder = Scratch::create().unwrap();
    let (server, mut pipe) = half_loaded(&folder, &snapshot, &[]);
    // Of both shards.
    let mut clients: Vec<Connection> = (0..2).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(text(client, &["PING"]), "PONG");
        let info = text(client, &["INFO"]);
        for field in ["loading:1", "loading_start_time:", "loading_total_bytes:"] {
            assert!(info.contains(field), "{info}");
        }
        for field in ["loading_loaded_bytes:", "loading_loaded_perc:", "loading_eta_seconds:"] {
            assert!(info.contains(field), "{info}");
        }
        for refused in [
            &["GET", "key:1"][..],
            &["SET", "key:1", "v"],
            &["MGET", "key:1", "key:2"],
            &["DBSIZE"],
            &["FLUSHALL"],
            &["SAVE"],
            &["BGREWRITEAOF"],
            &["EVAL", "return 1", "0"],
            &["DEBUG", "RELOAD"],
            &["BLPOP", "list", "0"],
        ] {
            assert_eq!(text(client, refused), LOADING, "{refused:?}");
        }
        for (allowed, reply) in [
            (&["SELECT", "1"][..], "OK"),
            (&["CLIENT", "SETNAME", "early"], "OK"),
            (&["CONFIG", "SET", "maxmemory", "0"], "OK"),
            (&["PUBLISH", "channel", "message"], "(integer) 0"),
            (&["ECHO", "text"], "\"text\""),
            (&["SELECT", "0"], "OK"),
        ] {
            assert_eq!(text(client, allowed), reply, "{allowed:?}");
        }
        assert!(
            text(client, &["CONFIG", "SET", "appendonly", "yes"]).contains("while data is loaded")
        );
        assert_eq!(text(client, &["MULTI"]), "OK");
        assert_eq!(text(client, &["GET", "key:1"]), LOADING);
        let discarded = "(error) EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(text(client, &["EXEC"]), discarded);
    }
    assert!(!server.log().contains("Ready to accept connections"));
    pipe.write_all(&snapshot[snapshot.len() / 2..]).unwrap();
    // It is read up to its end.
    drop(pipe);
    eventually("all is loaded", || !is_loading(&mut clients[0]));
    eventually("it says so", || server.log().contains("Ready to accept connections"));
    assert_eq!(text(&mut clients[1], &["DBSIZE"]), KEYS);
    for client in &mut clients {
        assert_eq!(text(client, &["GET", "key:1"]), "\"value:1\"");
        assert_eq!(text(client, &["SET", "written", "v"]), "OK");
    }
}

fn a_stop_while_data_is_loaded_saves_nothing(_: Program) {
    let snapshot = snapshot();
    for asks in [true, false] {
        let folder = Scratch::create().unwrap();
        let (mut server, _pipe) = half_loaded(&folder, &snapshot, &["--save", "3600 1"]);
        if asks {
            let mut client = server.connect();
            client.send(&["SHUTDOWN", "SAVE"]).unwrap();
            assert!(client.is_closed());
        } else {
            server.signal("TERM");
        }
        assert!(
            server.wait(ENDS_WITHIN).is_some_and(|status| status.success()),
            "{}",
            server.log()
        );
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "only the pipe is there");
        assert!(!server.log().contains("Ready to accept connections"));
    }
}

fn a_snapshot_that_ends_early_ends_the_server(_: Program) {
    let snapshot = snapshot();
    let folder = Scratch::create().unwrap();
    let (mut server, pipe) = half_loaded(&folder, &snapshot, &[]);
    drop(pipe);
    let status = server.wait(ENDS_WITHIN);
    assert!(status.is_some_and(|status| !status.success()), "{}", server.log());
    assert!(server.log().contains("ends within an item that begins at byte"), "{}", server.log());
}
