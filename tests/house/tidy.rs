//! Tidiness: every module has a header, files are short, and nothing refers to one machine.

use crate::sources;

/// LIMIT: lines of a file before its tests; 600 is the aim.
const LINES_MAX: usize = 1000;

/// Words that must not be merged.
const BANNED: &[(&str, &str)] = &[
    (concat!("FIX", "ME"), "finish it or open an issue"),
    (concat!("#[ign", "ore"), "assert today's answer, or list the gap with its reason"),
];

/// Absolute paths of particular machines, in pieces so that this file does not contain them.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Use", "rs/")];

#[test]
fn every_rust_file_introduces_itself() {
    let silent: Vec<_> = sources::rust()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "they don't begin with a //! header: {silent:#?}");
}

#[test]
fn files_stay_short() {
    let long: Vec<_> = sources::rust()
        .into_iter()
        .map(|source| (source.code_lines().len(), source.path))
        .filter(|(lines, _)| *lines > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "more than {LINES_MAX} lines, split them: {long:#?}");
}

#[test]
fn nothing_unfinished_is_merged() {
    let mut wrong = Vec::new();
    for source in sources::rust() {
        for (index, line) in source.text.lines().enumerate() {
            for (word, what_to_do) in BANNED {
                if line.contains(word) {
                    wrong.push(format!("{}:{}: {word}: {what_to_do}", source.path, index + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_path_of_a_machine_is_committed() {
    let mut wrong = Vec::new();
    for source in sources::all().iter().filter(|source| source.path != "Cargo.lock") {
        for (index, line) in source.text.lines().enumerate() {
            if MACHINE_PATHS.iter().any(|path| begins_with(line, path)) {
                wrong.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether an absolute path starts with this anywhere in the line: `a/home/` is a relative one.
fn begins_with(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|letter| letter.is_alphanumeric() || "_.})-/".contains(letter))
    })
}

/// LIMIT: columns of a line of Markdown. Tables, code and what cannot be broken may be wider.
const MARKDOWN_COLUMNS_MAX: usize = 100;

#[test]
fn markdown_is_wrapped() {
    let mut wide = Vec::new();
    for source in sources::all() {
        // The reference is generated, and mostly tables.
        if !source.path.ends_with(".md") || source.path.starts_with("docs/reference/") {
            continue;
        }
        let mut in_code = false;
        for (index, line) in source.text.lines().enumerate() {
            in_code ^= line.trim_start().starts_with("```");
            let may_be_wide =
                in_code || line.starts_with(['|', '#', ' ']) || line.starts_with("![");
            if !may_be_wide && line.chars().count() > MARKDOWN_COLUMNS_MAX && line.contains(' ') {
                wide.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    assert!(wide.is_empty(), "wrap at {MARKDOWN_COLUMNS_MAX} columns: {wide:#?}");
}
