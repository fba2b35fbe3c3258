//! The files of the repository as git would commit them, and their code without comments and strings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) struct Source {
    /// Relative to the repository's top, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn top() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("because this package lies in the repository").to_owned()
}

/// All text files that are committed or would be with `git add`.
pub(crate) fn all() -> Vec<Source> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(top())
        .output()
        .expect("because git is needed to have the repository");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).expect("because our file names are ASCII");
    let read = |path: &str| {
        // Listed and absent: deleted but not yet committed. Not UTF-8: no text, so no rule for it.
        let text = fs::read_to_string(top().join(path)).ok()?;
        Some(Source { path: path.to_owned(), text })
    };
    paths.lines().filter_map(read).collect()
}

pub(crate) fn rust() -> Vec<Source> {
    let mut sources = all();
    sources.retain(|source| source.path.ends_with(".rs"));
    assert!(sources.len() > 10, "only {} Rust files found: the listing is broken", sources.len());
    sources
}

impl Source {
    /// The crate's folder under `crates/`, if it is in one.
    pub(crate) fn room(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Its lines with comments, strings and `#[cfg(test)]` modules blanked, numbered from 1.
    pub(crate) fn code_lines(&self) -> Vec<(usize, String)> {
        let blanked = blank_comments_and_strings(&self.text);
        let before_tests = match blanked.find("#[cfg(test)]\nmod ") {
            Some(at) => &blanked[..at],
            None => &blanked,
        };
        before_tests.lines().enumerate().map(|(index, line)| (index + 1, line.to_owned())).collect()
    }
}

/// Replaces the content of comments, strings and character literals by spaces; line numbers stay
/// the same.
fn blank_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => find(bytes, at, b"\n"),
            [b'/', b'*', ..] => find(bytes, at + 2, b"*/") + 2,
            [b'"', ..] => end_of_string(bytes, at + 1),
            [b'r', b'#' | b'"', ..] if begins_raw(bytes, at) => end_of_raw(bytes, at),
            [b'\'', b'\\', ..] => find(bytes, at + 3, b"'") + 1,
            [b'\'', _, b'\'', ..] => at + 3,
            _ => {
                at += 1;
                continue;
            }
        };
        let end = end.min(bytes.len());
        out[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn find(bytes: &[u8], from: usize, wanted: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(wanted.len())
        .position(|window| window == wanted)
        .map_or(bytes.len(), |at| from + at)
}

fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn hashes(bytes: &[u8], at: usize) -> usize {
    bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count()
}

/// Whether `r"…"` or `r#"…"#` starts here; `r#type` is a name.
fn begins_raw(bytes: &[u8], at: usize) -> bool {
    let in_a_word = at > 0 && is_word(bytes[at - 1]) && bytes[at - 1] != b'b';
    !in_a_word && bytes.get(at + 1 + hashes(bytes, at)) == Some(&b'"')
}

fn end_of_raw(bytes: &[u8], at: usize) -> usize {
    let hashes = hashes(bytes, at);
    let mut closing = vec![b'"'];
    closing.resize(1 + hashes, b'#');
    find(bytes, at + 2 + hashes, &closing) + closing.len()
}

/// Whether the line contains the word as a whole word; `::` inside it is part of it.
pub(crate) fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].bytes().next_back();
        let after = line[at + word.len()..].bytes().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[test]
fn comments_and_strings_are_no_code() {
    let text = "a /* unsafe */ b // unsafe\nlet x = \"unsafe \\\" unsafe\"; 'u'; '\\''; &'a r#\"unsafe\"# r#type c";
    let code = blank_comments_and_strings(text);
    assert!(!code.contains("unsafe"), "{code}");
    assert!(code.contains("r#type c") && code.contains("&'a") && code.contains("b "), "{code}");
    assert!(names("use std::fs;", "std::fs") && !names("use std::fsx;", "std::fs"));
}
