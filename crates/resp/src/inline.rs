//! Inline requests: splits a line into words, with the quotes and escapes of Redis' sdssplitargs.
//!
//! Words are separated by blanks. Within "..." `\n \r \t \b \a \xHH` mean what they do in C, and a
//! backslash makes any other byte literal; within '...' only `\'` is an escape. A closing quote
//! ends its word and must be followed by a blank (as in Redis; Valkey 9 reads `PING "a"b` as `ab`).
//! A quote may open within a word: `a"b c"` is `ab c`.
//!
//! A zero byte is an ordinary byte here; Redis waits forever after one.

use std::borrow::Cow;

use crate::value::encode_request;

/// The error for a quote that is not closed, or a closing quote that is not followed by a blank.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Unbalanced;

/// Appends the words of `line` (without its line end) to `args`. If any of them is not a slice of
/// the line, appends nothing and returns the whole request in RESP form. Fails with [`Unbalanced`]
/// if a quote is not closed or not followed by a blank.
pub(crate) fn split<'a>(
    line: &'a [u8],
    args: &mut Vec<&'a [u8]>,
) -> Result<Option<Vec<u8>>, Unbalanced> {
    let args_before = args.len();
    let mut words = Words { line, position: 0 };
    while let Some(word) = words.next()? {
        match word {
            Cow::Borrowed(word) => args.push(word),
            Cow::Owned(word) => {
                let mut all: Vec<Cow<'a, [u8]>> =
                    args.drain(args_before..).map(Cow::Borrowed).collect();
                all.push(Cow::Owned(word));
                while let Some(word) = words.next()? {
                    all.push(word);
                }
                let mut request = Vec::new();
                encode_request(&all, &mut request);
                return Ok(Some(request));
            }
        }
    }
    Ok(None)
}

/// The words of a line, or `None` if a quote is not closed or not followed by a blank.
pub fn split_words(line: &[u8]) -> Option<Vec<Cow<'_, [u8]>>> {
    let (mut words, mut all) = (Words { line, position: 0 }, Vec::new());
    while let Some(word) = words.next().ok()? {
        all.push(word);
    }
    Some(all)
}

struct Words<'a> {
    line: &'a [u8],
    position: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Result<Option<Cow<'a, [u8]>>, Unbalanced> {
        while self.peek().is_some_and(is_blank) {
            self.position += 1;
        }
        let Some(first) = self.peek() else { return Ok(None) };
        let start = self.position;
        if let b'"' | b'\'' = first {
            let inside = &self.line[start + 1..];
            let plain = memchr::memchr2(first, b'\\', inside).unwrap_or(inside.len());
            if inside.get(plain) == Some(&first) {
                self.position = start + 1 + plain;
                self.close_quote()?;
                return Ok(Some(Cow::Borrowed(&inside[..plain])));
            }
        } else {
            let rest = &self.line[start..];
            let plain = rest.iter().position(|&byte| ends_word(byte) || is_quote(byte));
            let plain = plain.unwrap_or(rest.len());
            if !rest.get(plain).is_some_and(|&byte| is_quote(byte)) {
                self.position = start + plain;
                return Ok(Some(Cow::Borrowed(&rest[..plain])));
            }
        }
        self.unescaped().map(|word| Some(Cow::Owned(word)))
    }

    /// Reads the word at `position`, which contains escapes or a quote.
    fn unescaped(&mut self) -> Result<Vec<u8>, Unbalanced> {
        let mut word = Vec::new();
        while let Some(byte) = self.peek() {
            if ends_word(byte) {
                break;
            }
            self.position += 1;
            match byte {
                b'"' => {
                    self.double_quoted(&mut word)?;
                    break;
                }
                b'\'' => {
                    self.single_quoted(&mut word)?;
                    break;
                }
                _ => word.push(byte),
            }
        }
        Ok(word)
    }

    fn double_quoted(&mut self, word: &mut Vec<u8>) -> Result<(), Unbalanced> {
        loop {
            match self.line[self.position..] {
                [] => return Err(Unbalanced),
                [b'"', ..] => return self.close_quote(),
                [b'\\', b'x', high, low, ..]
                    if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
                {
                    word.push(hex_digit(high) << 4 | hex_digit(low));
                    self.position += 4;
                }
                [b'\\', escaped, ..] => {
                    word.push(match escaped {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 0x08,
                        b'a' => 0x07,
                        other => other,
                    });
                    self.position += 2;
                }
                [byte, ..] => {
                    word.push(byte);
                    self.position += 1;
                }
            }
        }
    }

    fn single_quoted(&mut self, word: &mut Vec<u8>) -> Result<(), Unbalanced> {
        loop {
            match self.line[self.position..] {
                [] => return Err(Unbalanced),
                [b'\'', ..] => return self.close_quote(),
                [b'\\', b'\'', ..] => {
                    word.push(b'\'');
                    self.position += 2;
                }
                [byte, ..] => {
                    word.push(byte);
                    self.position += 1;
                }
            }
        }
    }

    /// Skips the closing quote at `position`.
    fn close_quote(&mut self) -> Result<(), Unbalanced> {
        self.position += 1;
        if self.peek().is_none_or(is_blank) { Ok(()) } else { Err(Unbalanced) }
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.position).copied()
    }
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

/// The blanks between words: C's isspace.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// The blanks that end a word without quotes. Vertical tab and form feed do not, but may precede a
/// word.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        _ => (byte | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words, and whether they are slices of the line.
    fn words(line: &[u8]) -> Option<(Vec<Vec<u8>>, bool)> {
        let mut args: Vec<&[u8]> = vec![b"earlier"];
        match split(line, &mut args) {
            Ok(None) => Some((args[1..].iter().map(|arg| arg.to_vec()).collect(), true)),
            Ok(Some(request)) => {
                assert_eq!(args, [b"earlier"]);
                args.clear();
                let limits = crate::ParseLimits::default();
                crate::parse(&request, &mut None, &mut args, &limits).unwrap();
                Some((args.iter().map(|arg| arg.to_vec()).collect(), false))
            }
            Err(Unbalanced) => None,
        }
    }

    #[track_caller]
    fn assert_words(line: &[u8], expected: &[&[u8]], slices: bool) {
        let expected = expected.iter().map(|word| word.to_vec()).collect();
        assert_eq!(words(line), Some((expected, slices)), "{}", line.escape_ascii());
    }

    #[test]
    fn slices_where_they_can_be() {
        assert_words(b"", &[], true);
        assert_words(b" \t\x0b\x0c\r ", &[], true);
        assert_words(b"a bc  d", &[b"a", b"bc", b"d"], true);
        assert_words(
            b"\"a b\" 'c \"d' \"it's\" \"\" ''",
            &[b"a b", b"c \"d", b"it's", b"", b""],
            true,
        );
        assert_words(b"a\x0bb\x0cc", &[b"a\x0bb\x0cc"], true);
        assert_words(b"\"a\"\x0bb", &[b"a", b"b"], true);
        assert_words(b"a\rb", &[b"a", b"b"], true);
        assert_words(b"a\\nb", &[b"a\\nb"], true);
        assert_words(b"\xff\0\xfe", &[b"\xff\0\xfe"], true);
    }

    #[test]
    fn escapes() {
        assert_words(b"a \"\\n\\r\\t\\b\\a\" b", &[b"a", b"\n\r\t\x08\x07", b"b"], false);
        assert_words(b"\"\\x41\\xfF\\x4\\xg0\\q\\\\\\\"\"", &[b"A\xffx4xg0q\\\""], false);
        assert_words(b"'it\\'s' '\\n' '\\\\a'", &[b"it's", b"\\n", b"\\\\a"], false);
        assert_words(b"a\"b c\" d'e f'", &[b"ab c", b"de f"], false);
        assert_words(b"a\"\"", &[b"a"], false);
    }

    #[test]
    fn unbalanced() {
        for line in
            ["\"", "'", "a \"b", "a 'b", "\"a\"b", "'a'b", "\"a\"\"b\"", "\"\\\"", "\"a\\", "'\\'"]
        {
            assert_eq!(words(line.as_bytes()), None, "{line}");
        }
    }
}
