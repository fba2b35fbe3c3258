//! Check: whether a journal's files are sound, without a server: `--check-aof`, and `--fix` to cut off what is not.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use basalt_commands::config::Config;
use basalt_journal::{Damage, ScanError, scan};

use super::blob::FileBlob;
use super::folder::Folder;

/// What is wrong with a file.
enum Flaw {
    /// From this offset on there is nothing that can be read; but before that all is sound.
    From(u64, String),
    Whole(String),
}

/// Reads every file of the journal that the configuration names. Returns a line about each.
///
/// # Errors
/// The same lines, where a file is not sound and was not mended.
pub fn check_journal(config: &Config, fix: bool) -> Result<String, String> {
    let path = Path::new(&config.dir).join(&config.appenddirname);
    if !path.is_dir() {
        return Err(format!("{}: there is no journal\n", path.display()));
    }
    let folder = Folder::open(config).map_err(|error| format!("{error}\n"))?;
    let (mut lines, mut is_sound) = (String::new(), true);
    let last = folder.manifest.generations.last().map(|generation| generation.number);
    for generation in &folder.manifest.generations {
        let is_last = Some(generation.number) == last;
        for segment in &generation.shards {
            let bases = segment.base.iter().map(|base| (base, None));
            let mut position = segment.start;
            for (name, start) in bases.chain(segment.journals.iter().map(|name| (name, Some(())))) {
                let is_open = start.is_some() && is_last;
                let at = start.map(|()| &mut position);
                let words = match look(&folder.file(name), at) {
                    Ok(words) => words,
                    Err(Flaw::From(offset, why)) if fix && is_open => {
                        match cut(&folder.file(name), offset) {
                            Ok(()) => format!("{why}: cut off"),
                            Err(error) => {
                                is_sound = false;
                                format!("{why}: can't be cut off: {error}")
                            }
                        }
                    }
                    Err(Flaw::From(_, why) | Flaw::Whole(why)) => {
                        is_sound = false;
                        why
                    }
                };
                // Writing into a string can't fail.
                let _ = writeln!(lines, "{name}: {words}");
            }
        }
    }
    if is_sound { Ok(lines) } else { Err(lines) }
}

/// Looks at a file; a journal's begins at a position, and leaves where it ends.
fn look(path: &Path, position: Option<&mut u64>) -> Result<String, Flaw> {
    let blob = FileBlob::open(path).map_err(|error| Flaw::Whole(error.to_string()))?;
    let scanned = scan(&blob, position.as_deref().copied().unwrap_or(0));
    if let (Ok(found), Some(position)) = (&scanned, position) {
        *position = found.end;
    }
    match scanned {
        Ok(found) if found.tail.bytes > 0 => {
            let (bytes, offset) = (found.tail.bytes, found.tail.offset);
            let why =
                format!("the last {bytes} bytes, from offset {offset} on, are no whole frame");
            Err(Flaw::From(offset, why))
        }
        Ok(found) => Ok(format!("sound, {} frames, {} bytes of entries", found.frames, found.end)),
        Err(ScanError::Damage(Damage { offset })) => {
            Err(Flaw::From(offset, Damage { offset }.to_string()))
        }
        Err(error) => Err(Flaw::Whole(error.to_string())),
    }
}

fn cut(path: &Path, offset: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(offset)?;
    file.sync_all()
}
