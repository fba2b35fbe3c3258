//! Words of a configuration line: splitting with quotes and escapes, and quoting.
//!
//! The rules are those of Redis' configuration files: within `"…"`, `\n \r \t \b \a \xHH` are
//! escapes and a backslash makes any other byte literal; within `'…'` only `\'` is an escape. A
//! quote may start within a word and must end before a blank, and a NUL ends the line.

/// The words of a line; `None` if a quote is not closed or a closing quote is not followed by a
/// blank.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let end = line.iter().position(|&byte| byte == 0).unwrap_or(line.len());
    let mut rest = &line[..end];
    let mut words = Vec::new();
    loop {
        let blanks = rest.iter().take_while(|&&byte| is_blank(byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Some(words);
        }
        let (word, after) = first_word(rest)?;
        words.push(word);
        rest = after;
    }
}

/// As C's `isspace`.
fn is_blank(byte: u8) -> bool {
    byte == b' ' || (b'\t'..=b'\r').contains(&byte)
}

fn first_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    while let [byte, after @ ..] = rest {
        rest = match byte {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' => {
                let rest = closed(double_quoted(after, &mut word)?)?;
                return Some((word, rest));
            }
            b'\'' => {
                let rest = closed(single_quoted(after, &mut word)?)?;
                return Some((word, rest));
            }
            _ => {
                word.push(*byte);
                after
            }
        };
    }
    Some((word, rest))
}

/// After a closing quote only a blank or the end may follow.
fn closed(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|&byte| is_blank(byte)).then_some(rest)
}

fn double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex_digit(*high) << 4 | hex_digit(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
            [] => return None,
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
            [] => return None,
        };
    }
}

fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    }
}

/// A word in double quotes, so that `split` returns it.
pub(crate) fn quoted(word: &[u8]) -> Vec<u8> {
    let mut text = vec![b'"'];
    for &byte in word {
        match byte {
            b'\\' | b'"' => text.extend([b'\\', byte]),
            b'\n' => text.extend(b"\\n"),
            b'\r' => text.extend(b"\\r"),
            b'\t' => text.extend(b"\\t"),
            7 => text.extend(b"\\a"),
            8 => text.extend(b"\\b"),
            b' '..=b'~' => text.push(byte),
            _ => text.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    text.push(b'"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &[&str]) {
        let words = split(line.as_bytes()).expect("quotes are balanced");
        assert_eq!(words, expected.iter().map(|w| w.as_bytes().to_vec()).collect::<Vec<_>>());
    }

    #[test]
    fn quotes_and_escapes_are_redis() {
        check("", &[]);
        check("  port\t6379 \r\n", &["port", "6379"]);
        check(r#"save """#, &["save", ""]);
        check(r#"a "b c" 'd "e'"#, &["a", "b c", "d \"e"]);
        check(r#"a"b c""#, &["ab c"]);
        check(r#""\x41\n\r\t\b\a\q\"\\""#, &["A\n\r\t\u{8}\u{7}q\"\\"]);
        check(r#""\xg1""#, &["xg1"]);
        check(r"'a\'b\n'", &["a'b\\n"]);
        check("a\0b", &["a"]);
        check(r"plain\n", &[r"plain\n"]);
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#"a "b"#, r#"a 'b"#, r#""a"b"#, r#"'a'b"#, r#""a\"#, r#"'a\'"#, "\"a\0\""] {
            assert_eq!(split(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn quoted_words_come_back() {
        let every_byte: Vec<u8> = (0..=255).collect();
        for word in [&every_byte[..], b"", b"plain", b"\\x41 \"'"] {
            assert_eq!(split(&quoted(word)), Some(vec![word.to_vec()]));
        }
    }
}
