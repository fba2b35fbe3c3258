//! Every transcript on every target that it has something to say about: `transcript::<family>/<name>@<target>`.
//!
//! A command's own transcript stands in its row of the command table, longer ones in `tests/transcripts/<family>/`.

use crate::pool;
use basalt_commands::table;
use basalt_testkit::process::Program;
use basalt_testkit::socket_target::{SocketPlace, SocketTarget};
use basalt_testkit::transcript::{Transcript, record};
use libtest_mimic::{Failed, Trial};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

struct Source {
    /// `family/name`.
    name: String,
    text: String,
}

pub(crate) fn trials() -> Vec<Trial> {
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
            let name = format!("transcript::{}@{}", source.name, place.name());
            let absent = place.program != Program::Ours && place.program.server().is_none();
            let trial = Trial::test(name, move || replay(&transcript, &place));
            trials.push(trial.with_ignored_flag(absent));
        }
    }
    trials
}

fn replay(transcript: &Transcript, place: &SocketPlace) -> Result<(), Failed> {
    let mut target = pool::take(place)?;
    match transcript.replay(&mut target) {
        Ok(()) => {
            pool::give_back(place, target);
            Ok(())
        }
        Err(difference) => Err(difference.to_string().into()),
    }
}

/// Ours with 1 and 4 shards and the oracles, each in both protocols where they have them.
fn places() -> Vec<SocketPlace> {
    let ours = [1, 4].map(|count| (Program::Ours, Some(count)));
    let oracles = Program::ORACLES.map(|program| (program, None));
    ours.into_iter()
        .chain(oracles)
        .flat_map(|(program, shard_count)| {
            [2, 3].map(|resp| SocketPlace { program, resp, shard_count })
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

/// Rewrites the replies that an oracle gives otherwise, for a person to read in the diff. The names restrict which files.
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
