//! Glossary: words in code in the column "never" of docs/GLOSSARY.md are not parts of identifiers.

use std::collections::BTreeSet;
use std::fs;

use crate::sources;

/// The present uses, a crate and a word per line. The list only shrinks: `UPDATE=1` removes lines, and adds none.
const EXCEPTIONS: &str = "tests/house/glossary.txt";

/// The words in backticks in the last column of the glossary's tables.
fn never_words(glossary: &str) -> BTreeSet<String> {
    let rows = glossary.lines().filter(|line| line.starts_with('|'));
    let columns = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    columns.flat_map(|column| column.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// The words of the identifiers in some code, in lower case: `take_ids` and `TakeIds` have `take` and `ids`.
fn words(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in code.split(|letter: char| !letter.is_ascii_alphanumeric()) {
        let mut word = String::new();
        let mut before_is_lower = false;
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && before_is_lower {
                found.insert(std::mem::take(&mut word));
            }
            before_is_lower = letter.is_ascii_lowercase();
            word.push(letter.to_ascii_lowercase());
        }
        found.insert(word);
    }
    found
}

/// A word or its plural.
fn is_in(words: &BTreeSet<String>, word: &str) -> bool {
    words.contains(word) || words.contains(&format!("{word}s"))
}

/// Crates with their "never" words.
fn uses() -> BTreeSet<String> {
    let path = sources::top().join("docs/GLOSSARY.md");
    let never = never_words(&fs::read_to_string(path).expect("because the glossary is committed"));
    assert!(never.len() > 20, "only {} words found in the glossary: {never:?}", never.len());
    let mut uses = BTreeSet::new();
    for source in sources::rust() {
        let Some(room) = source.room().filter(|_| source.path.contains("/src/")) else { continue };
        for (_, line) in source.code_lines() {
            let words = words(&line);
            uses.extend(
                never
                    .iter()
                    .filter(|word| is_in(&words, word))
                    .map(|word| format!("{room} {word}")),
            );
        }
    }
    uses
}

#[test]
fn identifiers_avoid_the_words_that_the_glossary_bans() {
    let path = sources::top().join(EXCEPTIONS);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let exceptions: BTreeSet<String> = text.lines().map(str::to_owned).collect();
    let uses = uses();
    let new: Vec<_> = uses.difference(&exceptions).collect();
    assert!(new.is_empty(), "docs/GLOSSARY.md has other words for these: {new:#?}");
    if std::env::var_os("UPDATE").is_some() {
        let kept: String = exceptions.intersection(&uses).map(|line| format!("{line}\n")).collect();
        fs::write(&path, kept).expect("because the repository is writable");
    }
}

#[test]
fn words_are_found_in_identifiers_of_both_cases() {
    let found = words("fn take_errand(x: LetterBox) -> IDs");
    assert!(
        ["errand", "letter", "box", "take"].iter().all(|word| found.contains(*word)),
        "{found:?}"
    );
    let never = never_words("| a | b | store, `storage` |\n| c | `d` | |\n| e | f | `g`, `h` |");
    assert_eq!(never.into_iter().collect::<Vec<_>>(), ["g", "h", "storage"]);
    assert!(is_in(&words("errands"), "errand") && !is_in(&words("errandry"), "errand"));
}
