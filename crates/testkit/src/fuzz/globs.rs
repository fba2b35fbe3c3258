//! Globs: pattern and text, separated by a line end.

use basalt_commands::glob;

/// With more of both, the simple recursion would take too long.
const PLAIN_BYTES_MAX: usize = 12;
const PLAIN_STARS_MAX: usize = 5;

pub(super) fn run(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (pattern, text) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let matches = glob::matches(pattern, text);
    let matches_nocase = glob::matches_nocase(pattern, text);
    let literal: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
    assert!(glob::matches(&literal, text), "every byte escaped is the text itself");
    if pattern.contains(&b'[') {
        return;
    }
    assert!(matches_nocase || !matches, "without regard to case no fewer match");
    let stars = pattern.iter().filter(|byte| **byte == b'*').count();
    if !text.is_empty() && (stars <= 1 || text.len() <= PLAIN_BYTES_MAX && stars <= PLAIN_STARS_MAX)
    {
        assert_eq!(matches, plain(pattern, text), "the plain recursion says otherwise");
    }
}

/// The rules without classes, as a simple recursion.
fn plain(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| plain(rest, &text[at..])),
        ([b'?', rest @ ..], [_, text @ ..]) => plain(rest, text),
        ([b'\\', wanted, rest @ ..], [byte, text @ ..]) => wanted == byte && plain(rest, text),
        ([wanted, rest @ ..], [byte, text @ ..]) => wanted == byte && plain(rest, text),
        (_, []) => false,
    }
}
