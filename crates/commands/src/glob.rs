//! Glob patterns of KEYS, SCAN, PSUBSCRIBE and CONFIG GET, as in stringmatchlen of Redis' util.c.
//!
//! `*` is any run of bytes, `?` one byte, `[a-c\]]` one byte of a class, `[^…]` one not of it, `\x`
//! the byte x. Redis' oddities are kept, each checked with KEYS on Redis 7.0:
//!
//! - nothing but the empty pattern matches the empty string (`**` does not list the empty key);
//! - a class that is not closed ends with the pattern: `[ab` matches `b`, `[^` any byte;
//! - the end of a range may be any byte: `[a-]` is a class that is not closed;
//! - ranges may be backwards, and compare bytes as signed; a backslash in a class escapes, but not
//!   in a range;
//! - ignoring case, an escaped byte of a class keeps its case, and the ends of a range are lowered
//!   after they are ordered.
//!
//! Time is at most the product of both lengths: only the last `*` is ever retried. Not here: KEYS
//! and SCAN treat a lone `*` as every key.

/// Whether the pattern matches the whole string.
pub fn matches(pattern: &[u8], string: &[u8]) -> bool {
    Glob { pattern, ignores_case: false }.matches(string)
}

/// Whether the pattern matches the whole string, ignoring the case of ASCII characters.
pub fn matches_nocase(pattern: &[u8], string: &[u8]) -> bool {
    Glob { pattern, ignores_case: true }.matches(string)
}

/// Bytes that every match of a pattern contains, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    pub bytes: Vec<u8>,
    /// A match begins with them.
    pub is_start: bool,
    /// A match ends with them.
    pub is_end: bool,
}

/// The literal parts of a pattern, in their order: what an index of patterns can look for.
pub fn literals(pattern: &[u8]) -> Vec<Literal> {
    let glob = Glob { pattern, ignores_case: false };
    let mut all = Vec::new();
    let mut own = Literal { bytes: Vec::new(), is_start: true, is_end: false };
    let mut at = 0;
    while let Some(&byte) = pattern.get(at) {
        let literal = match byte {
            b'*' | b'?' | b'[' => None,
            b'\\' if at + 1 < pattern.len() => Some((pattern[at + 1], at + 2)),
            _ => Some((byte, at + 1)),
        };
        if let Some((byte, behind)) = literal {
            own.bytes.push(byte);
            at = behind;
            continue;
        }
        let next = Literal { bytes: Vec::new(), is_start: false, is_end: false };
        all.push(std::mem::replace(&mut own, next));
        at = if byte == b'[' { glob.class_end(at + 1) } else { at + 1 };
    }
    own.is_end = true;
    all.push(own);
    all.retain(|literal| !literal.bytes.is_empty());
    all
}

struct Glob<'a> {
    pattern: &'a [u8],
    ignores_case: bool,
}

impl Glob<'_> {
    fn matches(&self, string: &[u8]) -> bool {
        if string.is_empty() {
            return self.pattern.is_empty();
        }
        let (mut at, mut position) = (0, 0);
        // Where to retry after a mismatch: after the last star, one byte further on.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(&byte) = string.get(position) {
            if self.pattern.get(at) == Some(&b'*') {
                at += self.star_count(at);
                if at == self.pattern.len() {
                    return true;
                }
                retry = Some((at, position + 1));
            } else if let Some(behind) = self.match_one(at, byte) {
                at = behind;
                position += 1;
            } else if let Some((behind_star, next)) = retry {
                (at, position) = (behind_star, next);
                retry = Some((behind_star, next + 1));
            } else {
                return false;
            }
        }
        at + self.star_count(at) == self.pattern.len()
    }

    fn star_count(&self, at: usize) -> usize {
        self.pattern[at..].iter().take_while(|&&byte| byte == b'*').count()
    }

    /// Matches one byte with the item at `at`; returns the result and the end of the item.
    fn match_one(&self, at: usize, byte: u8) -> Option<usize> {
        match self.pattern.get(at)? {
            b'?' => Some(at + 1),
            b'[' => self.match_class(at + 1, byte),
            b'\\' if at + 1 < self.pattern.len() => {
                self.same(self.pattern[at + 1], byte).then_some(at + 2)
            }
            &literal => self.same(literal, byte).then_some(at + 1),
        }
    }

    /// Matches one byte with the class whose first byte is at `at`.
    fn match_class(&self, mut at: usize, byte: u8) -> Option<usize> {
        let is_negated = self.pattern.get(at) == Some(&b'^');
        at += usize::from(is_negated);
        let mut is_found = false;
        loop {
            at += match self.pattern[at..] {
                [] => break,
                [b'\\', escaped, ..] => {
                    is_found |= escaped == byte;
                    2
                }
                [b']', ..] => {
                    at += 1;
                    break;
                }
                [first, b'-', last, ..] => {
                    is_found |= self.in_range(first, last, byte);
                    3
                }
                [single, ..] => {
                    is_found |= self.same(single, byte);
                    1
                }
            };
        }
        (is_found != is_negated).then_some(at)
    }

    /// The end of the class whose first byte is at `at`.
    fn class_end(&self, mut at: usize) -> usize {
        at += usize::from(self.pattern.get(at) == Some(&b'^'));
        loop {
            at += match self.pattern[at..] {
                [] => return at,
                [b']', ..] => return at + 1,
                [b'\\', _, ..] => 2,
                [_, b'-', _, ..] => 3,
                [_, ..] => 1,
            };
        }
    }

    fn in_range(&self, first: u8, last: u8, byte: u8) -> bool {
        let (first, last) = (first as i8, last as i8);
        let (low, high) = (first.min(last), first.max(last));
        let lowered = |byte: i8| match self.ignores_case {
            true => (byte as u8).to_ascii_lowercase() as i8,
            false => byte,
        };
        (lowered(low)..=lowered(high)).contains(&lowered(byte as i8))
    }

    fn same(&self, one: u8, other: u8) -> bool {
        one == other || self.ignores_case && one.eq_ignore_ascii_case(&other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each expectation was checked on Redis 7.0: SET the string, then KEYS with the pattern.
    #[test]
    fn every_form_is_redis() {
        let cases: &[(&str, &str, bool)] = &[
            ("", "", true),
            ("*", "", false),
            ("**", "", false),
            ("", "a", false),
            ("*", "abc", true),
            ("a*", "a", true),
            ("a**", "a", true),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcd", false),
            ("*ab*c", "ab", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "", false),
            ("h[ae]llo", "hello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("[a-c]", "b", true),
            ("[c-a]", "b", true),
            ("[a-c]", "d", false),
            ("[a-]", "]", true),
            ("[a-]", "a", true),
            ("[-a]", "-", true),
            ("[]", "]", false),
            ("[]a]", "a]", false),
            ("[^]", "a", true),
            ("[^", "a", true),
            ("[", "[", false),
            ("[ab", "b", true),
            ("[ab", "c", false),
            ("[ab", "ab", false),
            ("[\\]]", "]", true),
            ("[\\]", "]", true),
            ("[\\]", "\\", false),
            ("[\\", "\\", true),
            ("[\\a-c]", "b", false),
            ("[\\a-c]", "-", true),
            ("[a-\\]c", "bc", false),
            ("[A-z]", "a", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\a", "a", true),
            ("\\", "\\", true),
            ("a\\", "a\\", true),
            ("[^a]*", "b", true),
            ("*[0-9]", "a1b2", true),
        ];
        for (pattern, string, expected) in cases {
            assert_eq!(
                matches(pattern.as_bytes(), string.as_bytes()),
                *expected,
                "{pattern} {string}"
            );
        }
    }

    #[test]
    fn literals_are_in_every_match() {
        let shown = |pattern: &str| -> Vec<String> {
            let show = |literal: &Literal| {
                let (start, end) = (literal.is_start, literal.is_end);
                let text = String::from_utf8_lossy(&literal.bytes).into_owned();
                format!("{}{text}{}", if start { "^" } else { "" }, if end { "$" } else { "" })
            };
            literals(pattern.as_bytes()).iter().map(show).collect()
        };
        assert_eq!(shown("news"), ["^news$"]);
        assert_eq!(shown("news.*.de"), ["^news.", ".de$"]);
        assert_eq!(shown("*a?b*"), ["a", "b"]);
        assert_eq!(shown("h[^e-]x]llo\\*[a\\]"), ["^h", "llo*"]);
        assert_eq!(shown("a\\"), ["^a\\$"]);
        assert!(shown("").is_empty() && shown("*").is_empty());
    }

    #[test]
    fn ranges_compare_signed_bytes() {
        assert!(matches(b"[a-\xff]", b"0"), "from -1 to 97");
        assert!(!matches(b"[a-\xff]", b"z"));
        assert!(matches(b"[\x80-\xff]", b"\xaa"));
    }

    #[test]
    fn case_is_ignored_on_demand() {
        for (pattern, string, expected) in [
            ("A*", "abc", true),
            ("a[B]", "Ab", true),
            ("[\\A]", "a", false),
            ("[A-C]", "b", true),
            ("[Z-a]", "z", false),
            ("\\A", "a", true),
        ] {
            assert_eq!(
                matches_nocase(pattern.as_bytes(), string.as_bytes()),
                expected,
                "{pattern}"
            );
            assert!(!expected || !matches(pattern.as_bytes(), string.as_bytes()), "{pattern}");
        }
    }

    /// The simple recursion for stars; exponential, so for short patterns only.
    fn model(pattern: &[u8], string: &[u8]) -> bool {
        match pattern {
            [] => string.is_empty(),
            [b'*', rest @ ..] => (0..=string.len()).any(|from| model(rest, &string[from..])),
            [b'?', rest @ ..] => !string.is_empty() && model(rest, &string[1..]),
            [byte, rest @ ..] => string.first() == Some(byte) && model(rest, &string[1..]),
        }
    }

    #[test]
    fn stars_are_the_plain_recursion() {
        let words = |characters: &[u8], len_max: usize| {
            let mut all = vec![Vec::new()];
            let mut from = 0;
            for _ in 0..len_max {
                let until = all.len();
                for index in from..until {
                    for &character in characters {
                        all.push([&all[index][..], &[character]].concat());
                    }
                }
                from = until;
            }
            all
        };
        let strings = words(b"ab", 5);
        for pattern in words(b"a?*b", 5) {
            for string in strings.iter().filter(|string| !string.is_empty()) {
                let expected = model(&pattern, string);
                assert_eq!(matches(&pattern, string), expected, "{pattern:?} {string:?}");
            }
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = b"a*".repeat(5_000);
        let mut string = b"a".repeat(20_000);
        assert!(matches(&pattern, &string));
        string.push(b'b');
        let pattern = [&pattern[..], b"a"].concat();
        assert!(!matches(&pattern, &string));
    }
}
