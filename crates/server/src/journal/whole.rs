//! Whole: all that a journal's files hold as one snapshot file: to load it again while the server runs, and to take it
//! to Redis.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use basalt_commands::config::Config;
use basalt_engine::{export, give_out_foreign};
use basalt_keyspace::{KeyHasher, Keyspace};

use super::folder::Folder;
use super::restore::{Part, Replaying, find};
use crate::clock::{Clock, unix_ms};
use crate::saver::SnapshotFile;

/// LIMIT: how long to wait until the kernel has what shards have handed to it.
const WRITTEN_WITHIN_S: f64 = 10.0;
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Writes what the journal holds, up to these positions of its last generation if they are given, to a snapshot file.
///
/// # Errors
/// Where a file of the journal is refused, or the snapshot can't be written.
pub(crate) fn write_snapshot(
    folder: &Folder,
    ends: Option<&[u64]>,
    config: &Config,
    to: PathBuf,
) -> Result<(), String> {
    let begun = Clock::origin_now();
    let generations = loop {
        match find(folder, ends, config) {
            Ok((generations, ..)) => break generations,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if Clock::seconds_since(begun) > WRITTEN_WITHIN_S {
                    return Err(error.to_string());
                }
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a thread of its own waits for the disk"
                )]
                std::thread::sleep(LOOK_EVERY);
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let now_ms = unix_ms();
    let (mut keyspace, state) =
        read(&generations, config, now_ms).map_err(|error| error.to_string())?;
    let mut file = SnapshotFile::create(to, config.rdbchecksum)?;
    let mut write = |bytes: &[u8]| file.write(bytes);
    export(&mut keyspace, state.as_deref(), (config, now_ms), &mut write)?;
    file.end()
}

/// Replays all files into one keyspace; returns the state beside keys, too.
fn read(
    generations: &[Vec<Part>],
    config: &Config,
    now_ms: u64,
) -> io::Result<(Keyspace, Option<Vec<u8>>)> {
    let make = || {
        let hasher = KeyHasher::new(0);
        let mut keyspace = Keyspace::new(config.databases as usize, hasher, now_ms);
        keyspace.thresholds = config.thresholds();
        keyspace.set_uses(config.uses());
        keyspace
    };
    let (mut whole, mut state) = (make(), None);
    for parts in generations {
        let mut own: Vec<Keyspace> = parts.iter().map(|_| make()).collect();
        for (shard, bundle) in give_out_foreign(&mut whole, None, own.len()) {
            own[shard.index()].attach_with_expiry(bundle);
        }
        for (index, (part, keyspace)) in parts.iter().zip(&mut own).enumerate() {
            let (mut replaying, mut bytes) = (Replaying::of(part), 0);
            while replaying.step(part, keyspace, &mut bytes)? {}
            if index == 0 {
                state = replaying.state.or(state);
            }
        }
        for keyspace in &mut own {
            for (_, bundle) in give_out_foreign(keyspace, None, 1) {
                whole.attach_with_expiry(bundle);
            }
        }
    }
    Ok((whole, state))
}

/// Writes what the journal that the configuration names holds into an empty folder as an append-only file of Redis and
/// Valkey: a base, a journal without a command, a manifest. Returns a line about it.
///
/// # Errors
/// Where the journal is refused, or the folder is not empty or can't be written to.
pub fn export_journal(config: &Config, to: &Path) -> Result<String, String> {
    let from = Path::new(&config.dir).join(&config.appenddirname);
    let explain = |path: &Path, error: io::Error| format!("{}: {error}\n", path.display());
    if !from.is_dir() {
        return Err(format!("{}: there is no journal\n", from.display()));
    }
    let folder = Folder::open(config).map_err(|error| format!("{error}\n"))?;
    std::fs::create_dir_all(to).map_err(|error| explain(to, error))?;
    if std::fs::read_dir(to).map_err(|error| explain(to, error))?.next().is_some() {
        return Err(format!("{}: it is not empty\n", to.display()));
    }
    let name = &config.appendfilename;
    let base = format!("{name}.1.base.rdb");
    write_snapshot(&folder, None, config, to.join(&base)).map_err(|error| format!("{error}\n"))?;
    let incremental = format!("{name}.1.incr.aof");
    let manifest = format!("file {base} seq 1 type b\nfile {incremental} seq 1 type i\n");
    for (file, content) in [(incremental, ""), (format!("{name}.manifest"), &*manifest)] {
        let path = to.join(file);
        let written =
            std::fs::write(&path, content).and_then(|()| std::fs::File::open(&path)?.sync_all());
        written.map_err(|error| explain(&path, error))?;
    }
    let synced = std::fs::File::open(to).and_then(|folder| folder.sync_all());
    synced.map_err(|error| explain(to, error))?;
    let to = to.display();
    Ok(format!(
        "{to}: exported; put it in the place of Redis' appenddirname ({base}, {name}.manifest)\n"
    ))
}
