//! Every transcript on every target that it applies to: `transcript::<family>/<name>@<target>`.
//!
//! A command's own transcript is in its row of the command table, longer ones are in
//! `tests/transcripts/<family>/`.

use crate::pool;
use basalt_commands::config::{Allowed, Config};
use basalt_commands::table;
use basalt_testkit::process::Program;
use basalt_testkit::simulation_target::SimulationTarget;
use basalt_testkit::socket_target::{SocketPlace, SocketTarget};
use basalt_testkit::transcript::{Profile, Transcript, record};
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

struct Source {
    /// `family/name`.
    name: String,
    text: String,
}

/// Where a transcript is replayed.
#[derive(Clone, Copy)]
enum Place {
    /// In this process, in simulated time.
    Simulated {
        shard_count: usize,
        resp: u8,
    },
    Socket(SocketPlace),
}

impl Place {
    fn name(&self) -> String {
        match self {
            Place::Simulated { shard_count, resp } => {
                format!("simulated-{shard_count}-shards-resp{resp}")
            }
            Place::Socket(place) => place.name(),
        }
    }

    fn is_ours(&self) -> bool {
        self.profile().program == Program::Ours.name()
    }

    fn profile(&self) -> Profile {
        match self {
            Place::Simulated { shard_count, resp } => {
                SimulationTarget::profile_of(*shard_count, *resp)
            }
            Place::Socket(place) => place.profile(),
        }
    }

    /// An oracle that this machine lacks.
    fn is_absent(&self) -> bool {
        match self {
            Place::Simulated { .. } => false,
            Place::Socket(place) => {
                place.program != Program::Ours && place.program.server().is_none()
            }
        }
    }
}

/// Ours with 1 and 4 shards, simulated and over sockets, and the oracles; each in both protocols.
fn places() -> Vec<Place> {
    let mut places = Vec::new();
    for resp in [2, 3] {
        for shard_count in [1, 4] {
            places.push(Place::Simulated { shard_count, resp });
            let shard_count = Some(shard_count);
            places.push(Place::Socket(SocketPlace { program: Program::Ours, resp, shard_count }));
        }
        let oracles = Program::ORACLES.into_iter();
        places.extend(
            oracles.map(|program| Place::Socket(SocketPlace { program, resp, shard_count: None })),
        );
    }
    places
}

pub(crate) fn trials() -> Vec<Trial> {
    let gaps = gaps();
    let mut trials = Vec::new();
    for source in sources() {
        let transcript = match Transcript::parse(&source.text) {
            Ok(transcript) => Arc::new(transcript),
            Err(error) => {
                let name = format!("transcript::{}", source.name);
                trials.push(Trial::test(name, move || Err(error.to_string().into())));
                continue;
            }
        };
        for place in places() {
            if transcript.unfit_for(&place.profile()).is_some() {
                continue;
            }
            let transcript = Arc::clone(&transcript);
            let gap = gaps.get(&source.name).filter(|_| place.is_ours()).cloned();
            let name = format!("transcript::{}@{}", source.name, place.name());
            let trial = Trial::test(name, move || match (gap, replay(&transcript, &place)) {
                (None, outcome) => outcome,
                (Some(_), Err(_)) => Ok(()),
                (Some(why), Ok(())) => {
                    Err(format!("it passes: take it out of gaps.txt, where it says: {why}").into())
                }
            });
            trials.push(trial.with_ignored_flag(place.is_absent()));
        }
    }
    trials
}

fn replay(transcript: &Transcript, place: &Place) -> Result<(), Failed> {
    match place {
        Place::Simulated { shard_count, resp } => {
            let mut target = SimulationTarget::new(*shard_count, *resp, config(), 1);
            transcript.replay(&mut target).map_err(|difference| difference.to_string())?;
        }
        Place::Socket(place) => {
            let mut target = pool::take(place)?;
            transcript.replay(&mut target).map_err(|difference| difference.to_string())?;
            pool::give_back(place, target);
        }
    }
    Ok(())
}

fn config() -> Config {
    Config { enable_debug_command: Allowed::Yes, ..Config::default() }
}

/// Transcripts that ours does not pass yet, with the reason. The list only shrinks: one that passes
/// must be removed.
fn gaps() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("gaps.txt"))
        .expect("because the list is part of the repository, even when it is empty");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, why) = line.split_once(": ").expect("because a gap has a reason");
            (name.to_owned(), why.to_owned())
        })
        .collect()
}

fn sources() -> Vec<Source> {
    let files = transcript_files().into_iter().map(|path| Source {
        name: name_of(&path),
        text: fs::read_to_string(&path).expect("because its folder was just listed"),
    });
    let rows = table::commands()
        .flat_map(|command| std::iter::once(command).chain(command.subcommands))
        .filter(|command| !command.shows.is_empty())
        .map(|command| Source {
            name: format!("row/{}", command.name),
            text: command.shows.to_owned(),
        });
    rows.chain(files).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

fn name_of(path: &Path) -> String {
    let inside = path.strip_prefix(root()).expect("because it was found below the root");
    inside.with_extension("").to_string_lossy().into_owned()
}

fn transcript_files() -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("because transcripts are part of the repository");
        entries.flatten().map(|entry| entry.path()).collect()
    };
    let mut files: Vec<PathBuf> =
        list(&root()).iter().filter(|path| path.is_dir()).flat_map(|family| list(family)).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    files
}

/// Rewrites the replies in which an oracle differs, for review in the diff. The names restrict the
/// files.
pub(crate) fn record_from(oracle: &str, names: &[String]) -> Result<(), String> {
    let program = Program::ORACLES.into_iter().find(|program| program.name() == oracle);
    let program = program.ok_or_else(|| format!("no oracle is called {oracle}"))?;
    for path in transcript_files() {
        let name = name_of(&path);
        if !names.is_empty() && !names.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let mut text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        for resp in [2, 3] {
            let place = SocketPlace { program, resp, shard_count: None };
            let mut target: SocketTarget = pool::take(&place)?;
            text = record(&text, &mut target).map_err(|error| format!("{name}: {error}"))?;
            pool::give_back(&place, target);
        }
        fs::write(&path, text).map_err(|error| error.to_string())?;
    }
    Ok(())
}
