//! Replay: recorded effects, applied again, give the same data. For every transcript.

use std::fs;
use std::path::{Path, PathBuf};

use basalt_commands::{Command, Flags, Run, table};
use basalt_keyspace::{DatabaseId, Digest, KeyHasher, Keyspace, stream_of};
use basalt_resp::Value;

use crate::shard::{NOW_MS, Shard, split};

/// Runs the requests of a transcript that a shard can run, whatever they reply; returns the names
/// of the rows that changed data.
fn run_requests(shard: &mut Shard, transcript: &str) -> Vec<&'static str> {
    let mut changed = Vec::new();
    for line in transcript.lines() {
        if let Some(wait) = line.strip_prefix("@clock +") {
            let ms = match wait.strip_suffix("ms") {
                Some(ms) => ms.parse().expect("a number"),
                None => wait.trim_end_matches('s').parse::<u64>().expect("a number") * 1000,
            };
            shard.wait_ms(ms);
        }
        let Some(request) = line.strip_prefix("> ") else { continue };
        let words = split(request);
        let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let Some(command) = table::find(args[0]) else { continue };
        if command.name == "select" {
            let index = args.get(1).and_then(|index| basalt_resp::parse_i64(index));
            shard.database =
                DatabaseId(index.filter(|index| (0..16).contains(index)).unwrap_or(0) as u16);
        }
        let is_known = !matches!(command.run, Run::Container)
            || args.get(1).is_some_and(|name| table::find_subcommand(command, name).is_some());
        if !is_known {
            continue;
        }
        let subcommand = args.get(1).and_then(|name| table::find_subcommand(command, name));
        let command = subcommand.unwrap_or(command);
        let before = shard.keyspace.stats.changes;
        let reply = shard.try_ask(&args);
        if shard.keyspace.stats.changes > before {
            changed.push(command.name);
            assert!(
                command.flags.has(Flags::WRITE.or(Flags::MAY_REPLICATE)),
                "{} changes and is no write",
                command.name
            );
            assert!(!matches!(reply, Some(Value::Error(_))), "{request} changed and was refused");
        }
    }
    changed
}

fn check_replay(shard: &mut Shard, name: &str) {
    let mut replayed = Keyspace::new(16, KeyHasher::new(99), NOW_MS);
    replayed.replay(shard.records()).expect("records are what was recorded");
    replayed.verify();
    replayed.set_now(shard.keyspace.now_ms());
    assert_eq!(shard.keyspace.digests(), replayed.digests(), "{name}");
    for index in 0..16 {
        let id = DatabaseId(index);
        assert_eq!(contents(&shard.keyspace, id), contents(&replayed, id), "{name}");
    }
}

/// The whole state of a database's entries except their access words.
fn contents(keyspace: &Keyspace, id: DatabaseId) -> Vec<String> {
    let mut all = Vec::new();
    keyspace.visit_all(id, &mut |entry| {
        let (content, encoding) = (entry.content(), entry.encoding());
        let digest = Digest::of_entry(entry, keyspace.now_ms(), true);
        let expiry = entry.expire_at_ms();
        // The state of a stream's groups is in no digest.
        let mut whole = Vec::new();
        if let Some(stream) = stream_of(entry) {
            stream.encode(&mut whole);
        }
        let key = entry.key();
        all.push(format!("{key:?} {content:?} {digest} {encoding:?} {expiry:?} {whole:?}"));
    });
    all.sort();
    all
}

fn rows() -> impl Iterator<Item = &'static Command> {
    table::commands().flat_map(|command| std::iter::once(command).chain(command.subcommands))
}

#[test]
fn every_rows_transcript_replays() {
    let mut changed = Vec::new();
    for row in rows() {
        let mut shard = Shard::new();
        changed.extend(run_requests(&mut shard, row.shows));
        check_replay(&mut shard, row.name);
    }
    for row in rows() {
        let is_shards = matches!(row.run, Run::Shard(_) | Run::Split(..) | Run::Many(_));
        if is_shards && row.flags.has(Flags::WRITE) {
            assert!(changed.contains(&row.name), "no transcript shows what {} writes", row.name);
        }
    }
}

fn transcript_files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/transcripts").join(folder);
    let entries = fs::read_dir(root).expect("because transcripts are part of the repository");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

#[test]
fn longer_transcripts_replay() {
    let files =
        ["string", "key", "bitmap", "hyperloglog", "stream"].into_iter().flat_map(transcript_files);
    let mut count = 0;
    for file in files {
        let name = file.display().to_string();
        let text = fs::read_to_string(&file).expect("because its folder was just listed");
        let mut shard = Shard::new();
        run_requests(&mut shard, &text);
        check_replay(&mut shard, &name);
        count += 1;
    }
    assert!(count > 10, "where have the transcripts gone?");
}
