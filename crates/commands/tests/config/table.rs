//! The table itself: whole rows, and every directive of Redis and Valkey.

use super::*;
use basalt_commands::config::{Extent, Kind, PARAMETERS, Section, Standing, rewrite};
use std::collections::BTreeMap;

#[test]
fn every_row_is_whole() {
    let mut names: Vec<&str> = PARAMETERS.iter().flat_map(|row| row.names()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name stands twice in the table");
    for row in PARAMETERS {
        assert!(row.names().all(|name| name == name.to_ascii_lowercase()), "{}", row.name);
        assert!(Section::ALL.contains(&row.section), "{}", row.name);
        let first = row.paragraphs().next().unwrap();
        assert!(first.ends_with(['.', ')']) && first.len() > 10, "{}: {first}", row.name);
        assert!(row.has_default(&Config::default()), "{}", row.name);
        assert!(row.refusal.is_none() || row.standing == Standing::Later, "{}", row.name);
    }
}

fn golden(text: &str) -> BTreeMap<&str, &str> {
    text.lines().map(|line| line.split_once('\t').expect("name, tab, value")).collect()
}

/// The names and defaults of a server, hidden ones included, as CONFIG GET told them: all are
/// known, and those whose default is another are exactly these.
fn check_server(text: &str, other_defaults: &[(&str, &str)]) {
    let config = Config::default();
    let differing: BTreeMap<&str, String> = golden(text)
        .iter()
        .map(|(name, theirs)| (*name, theirs, get(&config, name)))
        .filter(|(_, theirs, ours)| *theirs != ours)
        .map(|(name, _, ours)| (name, ours))
        .collect();
    let expected = other_defaults.iter().map(|&(name, ours)| (name, ours.to_owned())).collect();
    assert_eq!(differing, expected);
}

const BIND: (&str, &str) = ("bind", "127.0.0.1 -::1");
/// As long as nothing is saved.
const SAVE: (&str, &str) = ("save", "");

#[test]
fn every_directive_of_redis_7_is_known() {
    let ours = [BIND, SAVE, ("syslog-ident", "basalt")];
    check_server(include_str!("../golden/redis-7.0.tsv"), &ours);
}

#[test]
fn every_directive_of_redis_8_is_known() {
    let ours = [
        BIND,
        ("hide-user-data-from-log", "yes"),
        ("loading-process-events-interval-bytes", "2097152"),
        SAVE,
        ("syslog-ident", "basalt"),
    ];
    check_server(include_str!("../golden/redis-8.0.tsv"), &ours);
}

#[test]
fn every_directive_of_valkey_9_is_known() {
    let ours = [
        BIND,
        ("lazyfree-lazy-eviction", "no"),
        ("lazyfree-lazy-expire", "no"),
        ("lazyfree-lazy-server-del", "no"),
        ("lazyfree-lazy-user-del", "no"),
        ("lazyfree-lazy-user-flush", "no"),
        ("log-format", "human"),
        ("repl-backlog-size", "1048576"),
        ("replica-lazy-flush", "no"),
        SAVE,
        ("slave-lazy-flush", "no"),
        ("syslog-ident", "basalt"),
    ];
    check_server(include_str!("../golden/valkey-9.1.tsv"), &ours);
}

#[test]
fn fields_hold_what_the_rows_say() {
    let config = Config::default();
    assert_eq!(config.port, 6379);
    assert_eq!(config.bind.iter().collect::<Vec<_>>(), [("127.0.0.1", true), ("::1", false)]);
    assert_eq!(config.proto_max_bulk_len, 512 << 20);
    assert_eq!(config.client_query_buffer_limit, 1 << 30);
    assert_eq!(config.client_output_buffer_limit.replica.soft_seconds, 60);
    assert_eq!(config.list_max_listpack_size, -2);
    assert!(config.save.0.is_empty());
    assert_eq!(config.latency_tracking_info_percentiles.0, [50.0, 99.0, 99.9]);
    assert!(config.protected_mode && config.notify_keyspace_events.is_none());
    assert!(!config.requirepass.is_set() && config.later.replicaof.0.is_none());
}

/// What a value may look like: tried on every parameter, beside the words of its kind.
const SAMPLES: &[&str] = &[
    "yes",
    "no",
    "",
    "0",
    "1",
    "2",
    "7",
    "64",
    "-1",
    "77",
    "1000",
    "65535",
    "2mb",
    "3gb",
    "12%",
    "a b",
    "default",
    "now force",
    "A",
    "KEg$mn",
    "60 1 300 10",
    "normal 1mb 2kb 3",
    "replica 1 2 3 pubsub 4 5 6",
    "50 99.99 100",
    "1 2 3",
    "10.0.0.1 -::1",
    "\"quoted\" \\back",
    "tab\tand\nline",
    "host.name",
    "{title}",
    "1.2.3.4",
    "::1",
];

#[test]
fn what_was_set_is_got_and_can_be_set_and_loaded_again() {
    let mut accepted = 0;
    for row in PARAMETERS.iter().filter(|row| row.is_mutable) {
        let mut changed = false;
        let words = if let Kind::OneOf(words) = row.kind { words } else { &[] };
        for sample in SAMPLES.iter().chain(words) {
            let pair = [(row.name.as_bytes(), sample.as_bytes())];
            let mut permitting = loaded("enable-protected-configs yes");
            if row.missing().is_some() {
                // CONFIG SET only takes what a file set.
                let quoted = format!("\"{}\"", sample.escape_default());
                let line = format!("enable-protected-configs yes\n{} {quoted}", row.name);
                let Ok((read, _)) = load(&line) else { continue };
                permitting = read;
            }
            let Ok(after) = permitting.set(&pair, false) else { continue };
            accepted += 1;
            changed |= !row.has_default(&after);
            let shown = row.show(&after);
            let again = permitting.set(&[(row.name.as_bytes(), &shown)], false);
            assert_eq!(again, Ok(after.clone()), "{} {sample:?}", row.name);
            let changes: Vec<&str> = after.changed(&permitting).map(|row| row.name).collect();
            assert!(changes.is_empty() || changes == [row.name], "{} {sample:?}", row.name);
            let rewritten = rewrite(b"", &after, Extent::Changed);
            let text = String::from_utf8(rewritten).unwrap();
            assert_eq!(loaded(&text), after, "{text}");
        }
        assert!(changed || row.refusal.is_some(), "no sample changes {}", row.name);
    }
    assert!(accepted > 1000, "only {accepted} samples were accepted");
}
