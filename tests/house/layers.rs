//! Which crate may depend on which, and which names each may use. Arrows point down only.

use crate::sources::{self, names};
use std::collections::BTreeMap;
use std::fs;

/// Each crate, and those of our crates that it may depend on.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("structures", &[]),
    ("resp", &[]),
    ("keyspace", &["structures"]),
    ("rdb", &["keyspace"]),
    ("commands", &["keyspace", "rdb", "resp"]),
    ("journal", &[]),
    ("scripting", &["resp"]),
    ("engine", &["commands", "journal", "keyspace", "rdb", "resp", "scripting"]),
    ("server", &["commands", "engine", "journal", "keyspace", "rdb", "resp", "structures"]),
    ("testkit", &["commands", "engine", "journal", "keyspace", "rdb", "resp", "structures"]),
];

/// Crates without clock, thread, environment, file or socket: those are parameters.
const PURE: &[&str] =
    &["structures", "resp", "keyspace", "rdb", "commands", "journal", "scripting", "engine"];

const OUTSIDE_WORLD: &[&str] = &[
    "std::time::Instant",
    "std::time::SystemTime",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    // An IpAddr is a number; these are sockets.
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "ToSocketAddrs",
];

/// Crates without `async`, so that no code can be interrupted.
const CANNOT_WAIT: &[&str] =
    &["structures", "resp", "keyspace", "rdb", "commands", "journal", "scripting"];

/// The only files with `unsafe` outside of `structures`, each with a reason.
const UNSAFE_HOMES: &[(&str, &str)] = &[
    ("crates/scripting/src/lua", "the interface of the interpreter, which is in C"),
    ("crates/server/src/ring", "the kernel reads and writes our memory"),
    ("crates/server/src/mesh", "lock-free rings between shards"),
    ("crates/server/src/memory.rs", "the general allocator is told to give memory back"),
    ("crates/server/src/title.rs", "the environment moves out of the way of the process' title"),
];

/// Names of the runtime.
const RUNTIME: &[&str] = &["glommio", "io_uring"];

fn dependencies(room: &str, section: &str) -> Vec<String> {
    let manifest = sources::top().join("crates").join(room).join("Cargo.toml");
    let text = fs::read_to_string(&manifest).expect("because every room has a manifest");
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            inside = name.trim_end_matches(']') == section;
        } else if inside && let Some((name, _)) = line.split_once(['.', '=', ' ']) {
            found.push(name.to_owned());
        }
    }
    found
}

#[test]
fn rooms_depend_downwards_only() {
    let allowed: BTreeMap<_, _> = MAY_DEPEND_ON.iter().copied().collect();
    let rooms = fs::read_dir(sources::top().join("crates")).expect("because it is our workspace");
    let mut wrong = Vec::new();
    for room in rooms.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        let Some(below) = allowed.get(room.as_str()) else {
            wrong.push(format!("{room}: has no row in MAY_DEPEND_ON"));
            continue;
        };
        for dependency in dependencies(&room, "dependencies") {
            if let Some(ours) = dependency.strip_prefix("basalt-")
                && !below.contains(&ours)
            {
                wrong.push(format!("{room} may not depend on {ours}"));
            }
            if RUNTIME.contains(&dependency.replace('-', "_").as_str()) && room != "server" {
                wrong.push(format!("{room} may not depend on {dependency}: only server knows it"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_outside_world_is_a_parameter_below_server() {
    refuse(PURE, OUTSIDE_WORLD, "take it as a parameter (World)");
}

#[test]
fn only_server_names_the_runtime() {
    let others: Vec<&str> =
        MAY_DEPEND_ON.iter().map(|(room, _)| *room).filter(|room| *room != "server").collect();
    refuse(&others, RUNTIME, "only server knows the runtime");
}

#[test]
fn nothing_waits_below_engine() {
    refuse(CANNOT_WAIT, &["async", "await"], "this crate can't wait");
}

#[test]
fn unsafe_stays_in_its_homes() {
    let mut wrong = Vec::new();
    for source in sources::rust() {
        let at_home = source.path.starts_with("crates/structures/")
            || UNSAFE_HOMES.iter().any(|(home, _)| source.path.starts_with(home));
        if at_home {
            continue;
        }
        for (number, line) in source.code_lines() {
            if names(&line, "unsafe") {
                wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe outside its homes: {wrong:#?}");
}

fn refuse(rooms: &[&str], words: &[&str], why: &str) {
    let mut wrong = Vec::new();
    for source in sources::rust() {
        // A crate's own tests, benches and fuzz targets are exempt.
        let inside = source.room().is_some_and(|room| {
            rooms.contains(&room) && source.path.starts_with(&format!("crates/{room}/src/"))
        });
        if !inside || source.path.ends_with("/tests.rs") || source.path.contains("/tests/") {
            continue;
        }
        for (number, line) in source.code_lines() {
            let line = ungrouped(&line);
            if let Some(word) = words.iter().find(|word| names(&line, word)) {
                wrong.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{why}: {wrong:#?}");
}

/// Rewrites `std::{fs, io}` as `std::fs, std::io`, so that a group hides nothing.
fn ungrouped(line: &str) -> String {
    let Some((before, group)) = line.split_once("std::{") else { return line.to_owned() };
    let names = group.split(',').map(|name| format!("std::{}", name.trim()));
    before.to_owned() + &names.collect::<Vec<_>>().join(", ")
}
