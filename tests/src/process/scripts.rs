//! Scripts that run for long: what others are answered meanwhile, and how they are ended.

use std::time::Duration;

use basalt_resp::Value;
use basalt_testkit::client::Connection;
use basalt_testkit::process::{Program, Server};

use super::{Test, eventually, start, text};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("busy_script_is_killed", busy_script_is_killed),
    ("busy_function_is_shown_and_killed", busy_function_is_shown_and_killed),
    ("script_that_wrote_is_not_killed", script_that_wrote_is_not_killed),
    ("transactions_meet_a_busy_script", transactions_meet_a_busy_script),
];

pub(super) const TESTS_OF_OURS: &[(&str, Test)] = &[
    ("busy_pattern_is_killed", busy_pattern_is_killed),
    ("busy_script_leaves_others_their_shards", busy_script_leaves_others_their_shards),
];

/// A reply as text; an error begins with its code.
fn said(connection: &mut Connection, args: &[&str]) -> String {
    let answer = text(connection, args);
    match answer.strip_prefix("(error) ") {
        Some(error) => error.to_owned(),
        None => answer,
    }
}

/// A connection whose script spins, as another one sees it, which shares its core.
fn spinning(server: &Server, request: &[&str]) -> (Connection, Connection) {
    let (mut spins, mut other) = (server.connect(), server.connect());
    spins.send(request).unwrap();
    eventually("the script is busy", || said(&mut other, &["GET", "k"]).starts_with("BUSY"));
    (spins, other)
}

/// Ends with the word that names who can end the script.
fn is_busy(answer: &str, kind: &str) -> bool {
    answer.starts_with("BUSY ")
        && answer.ends_with(&format!(
            "is busy running a script. You can only call {kind} KILL or SHUTDOWN NOSAVE."
        ))
}

fn killed(connection: &mut Connection) -> bool {
    matches!(connection.receive().unwrap(), Value::Error(text)
        if text.starts_with(b"ERR Script killed by user with "))
}

const SHORT: &[&str] = &["--busy-reply-threshold", "100"];

/// Valkey has no say in what runs without instructions.
fn busy_pattern_is_killed(program: Program) {
    are_killed(program, &["local s = ('a'):rep(100000) return s:find('.-.-.-.-b')"]);
}

fn busy_script_is_killed(program: Program) {
    let scripts = [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "while true do redis.call('GET', KEYS[1]) end",
        "table.sort({1, 2, 3, 4}, function() while true do end end)",
    ];
    are_killed(program, &scripts);
}

fn are_killed(program: Program, scripts: &[&str]) {
    let server = start(program, SHORT);
    for script in scripts {
        let (mut spins, mut other) = spinning(&server, &["EVAL", script, "1", "k"]);
        assert!(is_busy(&said(&mut other, &["SET", "k", "v"]), "SCRIPT"), "{script}");
        assert!(is_busy(&said(&mut other, &["FLUSHALL"]), "SCRIPT"), "{script}");
        assert!(is_busy(&said(&mut other, &["SHUTDOWN"]), "SCRIPT"), "{script}");
        assert!(is_busy(&said(&mut other, &["FUNCTION", "KILL"]), "SCRIPT"), "{script}");
        assert_eq!(said(&mut other, &["SCRIPT", "KILL"]), "OK", "{script}");
        assert!(killed(&mut spins), "{script}");
        assert_eq!(said(&mut spins, &["PING"]), "PONG");
        assert!(said(&mut other, &["SCRIPT", "KILL"]).starts_with("NOTBUSY"), "{script}");
    }
}

fn busy_function_is_shown_and_killed(program: Program) {
    let server = start(program, SHORT);
    let library = "#!lua name=l\nredis.register_function('spin', function() while true do end end)";
    assert_eq!(said(&mut server.connect(), &["FUNCTION", "LOAD", library]), "\"l\"");
    let (mut spins, mut other) = spinning(&server, &["FCALL", "spin", "1", "k", "argument"]);
    assert!(is_busy(&said(&mut other, &["SET", "k", "v"]), "FUNCTION"));
    assert!(is_busy(&said(&mut other, &["SCRIPT", "KILL"]), "FUNCTION"));
    let Value::Array(stats) = other.ask(&["FUNCTION", "STATS"]).unwrap() else {
        panic!("it is no list")
    };
    let Value::Array(running) = &stats[1] else { panic!("no function runs: {stats:?}") };
    assert_eq!(running[1].as_bytes(), Some(&b"spin"[..]));
    let Value::Array(command) = &running[3] else { panic!("{running:?}") };
    assert_eq!(command.len(), 5);
    assert_eq!(said(&mut other, &["FUNCTION", "KILL"]), "OK");
    assert!(killed(&mut spins));
}

fn script_that_wrote_is_not_killed(program: Program) {
    let mut server = start(program, SHORT);
    let script = "redis.call('SET', KEYS[1], 'half') while true do end";
    let (_spins, mut other) = spinning(&server, &["EVAL", script, "1", "k"]);
    assert!(said(&mut other, &["SCRIPT", "KILL"]).starts_with("UNKILLABLE "));
    assert!(is_busy(&said(&mut other, &["GET", "k"]), "SCRIPT"));
    other.send(&["SHUTDOWN", "NOSAVE"]).unwrap();
    assert!(server.wait(Duration::from_secs(10)).is_some_and(|status| status.success()));
}

fn transactions_meet_a_busy_script(program: Program) {
    let server = start(program, SHORT);
    let mut before = server.connect();
    assert_eq!(said(&mut before, &["MULTI"]), "OK");
    assert_eq!(said(&mut before, &["SET", "k", "v"]), "QUEUED");
    let (mut spins, mut other) = spinning(&server, &["EVAL", "while true do end", "1", "k"]);
    assert!(
        said(&mut before, &["EXEC"])
            .starts_with("EXECABORT Transaction discarded because of: BUSY")
    );
    assert_eq!(said(&mut before, &["MULTI"]), "OK");
    assert!(is_busy(&said(&mut before, &["SET", "k", "v"]), "SCRIPT"));
    assert_eq!(said(&mut other, &["SCRIPT", "KILL"]), "OK");
    assert!(killed(&mut spins));
    assert!(said(&mut before, &["EXEC"]).starts_with("EXECABORT"));
    assert_eq!(said(&mut other, &["GET", "k"]), "(nil)");
}

/// Of two shards one goes on, whichever core a client is at.
fn busy_script_leaves_others_their_shards(program: Program) {
    let server = start(program, &[SHORT, &["--shards", "2"]].concat());
    let mut clients: Vec<Connection> = (0..6).map(|_| server.connect()).collect();
    let keys: Vec<String> = (0..12).map(|at| format!("key{at}")).collect();
    for key in &keys {
        assert_eq!(said(&mut clients[0], &["SET", key, "v"]), "OK");
    }
    let (mut spins, mut other) = spinning(&server, &["EVAL", "while true do end", "1", "k"]);
    for client in &mut clients {
        let answers: Vec<String> = keys.iter().map(|key| said(client, &["GET", key])).collect();
        let busy = answers.iter().filter(|answer| is_busy(answer, "SCRIPT")).count();
        let served = answers.iter().filter(|answer| *answer == "\"v\"").count();
        assert_eq!(busy + served, keys.len(), "{answers:?}");
        assert!(busy > 0 && served > 0, "{answers:?}");
    }
    assert_eq!(said(&mut other, &["SCRIPT", "KILL"]), "OK");
    assert!(killed(&mut spins));
}
