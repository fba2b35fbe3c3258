//! One way for each thing that must happen in one place: a call of a handler, a change of data, methods of a core.

use crate::sources::{self, Source};

/// The lines of the crates' sources in which this stands, but for those in files that begin with one of `homes`.
fn elsewhere(text: &str, homes: &[&str]) -> Vec<String> {
    let is_source = |source: &Source| {
        source.path.starts_with("crates/")
            && source.path.contains("/src/")
            && !source.path.ends_with("/tests.rs")
            && !homes.iter().any(|home| source.path.starts_with(home))
    };
    let mut found = Vec::new();
    for source in sources::rust().into_iter().filter(is_source) {
        for (number, line) in source.code_lines() {
            if stands_in(&line, text) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

/// Whether the text stands in a line as a name of its own.
fn stands_in(line: &str, text: &str) -> bool {
    let is_name = |letter: char| letter == '_' || letter.is_alphanumeric();
    line.match_indices(text).any(|(at, _)| {
        let (before, behind) = (&line[..at], &line[at + text.len()..]);
        !before.ends_with(is_name) && !behind.starts_with(is_name)
    })
}

#[test]
fn a_handler_is_called_in_one_place() {
    const HOME: &str = "crates/engine/src/shard/call.rs";
    let made = |line: &str| {
        stands_in(line, "Call {") && !line.contains("struct") && !line.contains("impl")
    };
    let others: Vec<_> =
        elsewhere("Call {", &[HOME]).into_iter().filter(|line| made(line)).collect();
    assert!(others.is_empty(), "only Calls::call makes what a handler is called with: {others:#?}");
    let home = sources::rust().into_iter().find(|source| source.path == HOME).expect("it is there");
    let own = home.code_lines().into_iter().filter(|(_, line)| made(line)).count();
    assert_eq!(own, 1, "{HOME} calls handlers in one place");
}

#[test]
fn data_changes_within_commit_only() {
    const DATABASES: &str = "crates/keyspace/src/commit/database.rs";
    /// They change no data: access words, and the expiry wheel.
    const NO_CHANGES: [&str; 2] = ["touch", "wheel_mut"];
    let source = sources::rust().into_iter().find(|source| source.path == DATABASES);
    let source = source.expect("it is there");
    let start = source.text.find("impl Databases {").expect("its methods are there");
    let methods = &source.text[start..];
    let methods = &methods[..methods.find("\n}\n").expect("they end")];
    let mut count = 0;
    for function in methods.split("fn ").skip(1) {
        let name = function.split(['(', '<']).next().expect("a function has a name");
        let head = function.split('{').next().expect("it has a head");
        if !head.contains("&mut self") || NO_CHANGES.contains(&name) {
            continue;
        }
        count += 1;
        let visible = format!("pub(in crate::commit) fn {name}(");
        assert!(methods.contains(&visible), "Databases::{name} is for commit only");
    }
    assert!(count >= 3, "only {count} functions found: the search is broken");
}

#[test]
fn methods_of_cores_stand_in_their_folder() {
    let others = elsewhere("impl Core", &["crates/engine/src/core.rs", "crates/engine/src/core/"]);
    assert!(others.is_empty(), "move them into the folder `core`: {others:#?}");
}

#[test]
fn methods_of_shards_stand_in_their_folder() {
    const HOMES: [&str; 2] = ["crates/engine/src/shard.rs", "crates/engine/src/shard/"];
    let others = elsewhere("impl Shard", &HOMES);
    assert!(others.is_empty(), "move them into the folder `shard`: {others:#?}");
}

#[test]
fn names_are_told_from_parts_of_names() {
    assert!(stands_in("    let mut call = Call { a };", "Call {"));
    assert!(!stands_in("OwnedCall { a }", "Call {") && !stands_in("impl Shards", "impl Shard"));
}
