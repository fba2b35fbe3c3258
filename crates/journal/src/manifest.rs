//! Manifest: which files make up the journal, as text that ends in its own checksum.
//!
//! ```text
//! basalt-journal 1
//! generation 3 shards 2
//! base 0 journal.3.0.base
//! base 1 journal.3.1.base
//! journal 0 journal.3.0.log 40960
//! journal 1 journal.3.1.log 0
//! generation 4 shards 4
//! …
//! crc32c 89abcdef
//! ```
//!
//! Generations follow each other, and only the last is written to. A journal's number is the position where it ends,
//! and `open` in the last generation. A shard may have several journals in a generation, one line for each: the next
//! goes on where the one before it ends. `start 0 700 900` says that the first of them begins at position 700, and that
//! the base holds all up to 900. Without generations there is nothing yet.
//!
//! LIMIT: [`GENERATIONS_MAX`] generations; a start that would add another one rewrites first.
//! LIMIT: [`JOURNALS_MAX`] journals of a shard in a generation; a rewrite that would add another one fails.

use std::fmt::{self, Display, Write as _};

use crate::VERSION;

/// How many generations a manifest may name.
pub const GENERATIONS_MAX: usize = 64;
/// How many journals a shard may have in a generation.
pub const JOURNALS_MAX: usize = 1000;

const NAME: &str = "basalt-journal";
const CRC: &str = "crc32c ";

/// A shard's part of a generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Of the first generation alone; `None` where it began with nothing.
    pub base: Option<String>,
    /// The position where the first journal begins.
    pub start: u64,
    /// The base holds all up to this position.
    pub from: u64,
    /// Each goes on where the one before it ends.
    pub journals: Vec<String>,
    /// The position where the last of them ends; `None` while it is written.
    pub end: Option<u64>,
}

/// A run of journals that began together, one per shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generation {
    pub number: u64,
    pub shards: Vec<Segment>,
}

/// Which files make up the journal, the oldest generation first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub generations: Vec<Generation>,
}

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// It does not begin as one.
    Foreign,
    Newer(u16),
    /// The checksum at its end is missing or wrong.
    Damaged,
    /// The checksum is right, and a line is not.
    Line(usize),
}

impl Display for ManifestError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => write!(out, "it is no manifest of this program"),
            Self::Newer(version) => write!(
                out,
                "its format is version {version}, and this server knows up to {VERSION}: start a newer server"
            ),
            Self::Damaged => write!(out, "it is damaged: its checksum is missing or wrong"),
            Self::Line(line) => write!(out, "its line {line} makes no sense"),
        }
    }
}

impl Manifest {
    pub fn encode(&self) -> String {
        let mut text = format!("{NAME} {VERSION}\n");
        // Writing into a string can't fail.
        for Generation { number, shards } in &self.generations {
            let _ = writeln!(text, "generation {number} shards {}", shards.len());
            for (shard, segment) in shards.iter().enumerate() {
                if let Some(base) = &segment.base {
                    let _ = writeln!(text, "base {shard} {base}");
                }
                if (segment.start, segment.from) != (0, 0) {
                    let _ = writeln!(text, "start {shard} {} {}", segment.start, segment.from);
                }
                let end = segment.end.map_or_else(|| "open".to_owned(), |end| end.to_string());
                for journal in &segment.journals {
                    let _ = writeln!(text, "journal {shard} {journal} {end}");
                }
            }
        }
        let crc = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "{CRC}{crc:08x}");
        text
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`] says which: not ours, newer, damaged, or a line that makes no sense.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        if !bytes.starts_with(NAME.as_bytes()) {
            return Err(ManifestError::Foreign);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ManifestError::Damaged)?;
        let content = text.strip_suffix('\n').and_then(|text| text.rfind('\n'));
        let (content, crc) = text.split_at(content.ok_or(ManifestError::Damaged)? + 1);
        let expected = format!("{CRC}{:08x}\n", crc32c::crc32c(content.as_bytes()));
        if crc != expected {
            return Err(ManifestError::Damaged);
        }
        let mut lines = content.lines().enumerate().map(|(index, line)| {
            (ManifestError::Line(index + 1), line.split(' ').collect::<Vec<_>>())
        });
        let (wrong, first) = lines.next().ok_or(ManifestError::Damaged)?;
        let [NAME, version] = first[..] else { return Err(wrong) };
        match version.parse::<u16>() {
            Ok(1..=VERSION) => {}
            Ok(newer) if newer > VERSION => return Err(ManifestError::Newer(newer)),
            _ => return Err(wrong),
        }
        let mut manifest = Self::default();
        for (wrong, words) in lines {
            manifest.take_line(&words).ok_or(wrong)?;
        }
        let is_whole = |generation: &Generation| {
            generation.shards.iter().all(|segment| !segment.journals.is_empty())
        };
        let Some((last, rest)) = manifest.generations.split_last() else { return Ok(manifest) };
        let are_closed =
            rest.iter().all(|generation| generation.shards.iter().all(|s| s.end.is_some()));
        if !is_whole(last) || !rest.iter().all(is_whole) || !are_closed {
            return Err(ManifestError::Damaged);
        }
        Ok(manifest)
    }

    fn take_line(&mut self, words: &[&str]) -> Option<()> {
        if let ["generation", number, "shards", shards] = *words {
            let (number, shards) = (number.parse().ok()?, shards.parse::<u16>().ok()?);
            let grows = self.generations.last().is_none_or(|last| last.number < number);
            let fits = self.generations.len() < GENERATIONS_MAX && shards > 0;
            let shards = vec![Segment::default(); usize::from(shards)];
            self.generations.push(Generation { number, shards });
            return (grows && fits).then_some(());
        }
        let is_first = self.generations.len() == 1;
        let generation = self.generations.last_mut()?;
        let segment = generation.shards.get_mut(words.get(1)?.parse::<usize>().ok()?)?;
        match *words {
            ["base", _, name] if is_first && segment.base.is_none() && is_name(name) => {
                segment.base = Some(name.to_owned());
            }
            ["start", _, start, from] if is_first && segment.journals.is_empty() => {
                (segment.start, segment.from) = (start.parse().ok()?, from.parse().ok()?);
                return (segment.start <= segment.from && segment.from > 0).then_some(());
            }
            ["journal", _, name, end] if is_name(name) => {
                let end = if end == "open" { None } else { Some(end.parse().ok()?) };
                let fits = segment.journals.is_empty() || segment.end == end;
                segment.end = end;
                segment.journals.push(name.to_owned());
                return (fits && segment.journals.len() <= JOURNALS_MAX).then_some(());
            }
            _ => return None,
        }
        Some(())
    }
}

/// Whether it names a file in the folder itself.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let segment = |base: Option<&str>, journal: &str, end| Segment {
            base: base.map(str::to_owned),
            journals: vec![journal.to_owned()],
            end,
            ..Segment::default()
        };
        let first = vec![segment(Some("b0"), "j0", Some(17)), segment(Some("b1"), "j1", Some(0))];
        let second = vec![segment(None, "j2", None)];
        Manifest {
            generations: vec![
                Generation { number: 3, shards: first },
                Generation { number: 9, shards: second },
            ],
        }
    }

    /// Written by version 1; it never changes.
    const FROZEN: &str = include_str!("../tests/golden/manifest-1.txt");

    #[test]
    fn the_format_is_frozen() {
        assert_eq!(sample().encode(), FROZEN);
        assert_eq!(Manifest::decode(FROZEN.as_bytes()), Ok(sample()));
    }

    #[test]
    fn journals_that_follow_each_other_come_back() {
        let mut manifest = sample();
        let first = &mut manifest.generations[0].shards[0];
        (first.start, first.from, first.end) = (7, 9, Some(17));
        first.journals.push("j0.1".into());
        manifest.generations[1].shards[0].journals.extend(["j2.1".into(), "j2.2".into()]);
        assert_eq!(Manifest::decode(manifest.encode().as_bytes()), Ok(manifest));
    }

    #[test]
    fn every_byte_of_a_manifest_counts() {
        let text = sample().encode().into_bytes();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut text = text.clone();
                text[at] ^= 1 << bit;
                assert!(Manifest::decode(&text).is_err(), "byte {at}, bit {bit}");
            }
            assert!(Manifest::decode(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn lines_that_make_no_sense_are_refused() {
        let sealed = |content: &str| {
            let content = format!("{NAME} {content}\n");
            let crc = crc32c::crc32c(content.as_bytes());
            Manifest::decode(format!("{content}{CRC}{crc:08x}\n").as_bytes())
        };
        let line = |number| Err(ManifestError::Line(number));
        assert_eq!(sealed("2\nwhatever"), Err(ManifestError::Newer(2)));
        assert_eq!(sealed("0"), line(1));
        assert_eq!(sealed("1\njournal 0 x 0"), line(2));
        assert_eq!(sealed("1\ngeneration 1 shards 0"), line(2));
        assert_eq!(sealed("1\ngeneration 1 shards 1\njournal 1 x 0"), line(3));
        assert_eq!(sealed("1\ngeneration 1 shards 1\njournal 0 ../x 0"), line(3));
        assert_eq!(sealed("1\ngeneration 1 shards 1"), Err(ManifestError::Damaged));
        assert_eq!(sealed("1"), Ok(Manifest::default()), "nothing yet");
        for twice in ["journal 0 x 5\njournal 0 y open", "journal 0 x 5\nstart 0 1 1"] {
            assert_eq!(sealed(&format!("1\ngeneration 1 shards 1\n{twice}")), line(4));
        }
        for start in ["start 0 2 1", "start 0 0 0", "start 0 1", "start 1 1 1"] {
            assert_eq!(sealed(&format!("1\ngeneration 1 shards 1\n{start}")), line(3));
        }
        let open =
            "1\ngeneration 1 shards 1\njournal 0 x open\ngeneration 2 shards 1\njournal 0 y open";
        assert_eq!(sealed(open), Err(ManifestError::Damaged));
        assert_eq!(sealed(&open.replace("x open", "x 5").replace("tion 2", "tion 1")), line(4));
        assert_eq!(Manifest::decode(b"file appendonly.aof"), Err(ManifestError::Foreign));
    }
}
