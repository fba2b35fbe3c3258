//! The short lines of replies: a type byte, a number, CR LF.

/// LIMIT: bytes of the longest line: a type byte, the 20 of a u64 or an i64, CR LF.
pub(crate) const LINE_BYTES_MAX: usize = 23;

/// Smaller numbers are in a lookup table. It takes 8 KiB, of which a program uses little.
const LOOKED_UP: usize = 1000;

/// The line of each small number as the bytes of a word, the lowest first: a gap for the type byte,
/// the digits, CR LF; the highest byte is the length.
static LINES: [u64; LOOKED_UP] = {
    let mut lines = [0; LOOKED_UP];
    let mut number = 0;
    while number < LOOKED_UP {
        let digits = if number >= 100 {
            3
        } else if number >= 10 {
            2
        } else {
            1
        };
        let mut line = 0x0a0d;
        let (mut rest, mut left) = (number as u64, digits);
        while left > 0 {
            line = line << 8 | (b'0' as u64 + rest % 10);
            rest /= 10;
            left -= 1;
        }
        lines[number] = line << 8 | (digits + 3) << 56;
        number += 1;
    }
    lines
};

/// Appends `kind`, the number and CR LF.
#[inline]
pub(crate) fn push(out: &mut Vec<u8>, kind: u8, number: usize) {
    if let Some(line) = LINES.get(number) {
        push_word(out, line | u64::from(kind), (line >> 56) as usize);
    } else if number < 10_000 {
        let digit = |value: usize| u64::from(b'0') + (value % 10) as u64;
        let digits = digit(number / 1000)
            | digit(number / 100) << 8
            | digit(number / 10) << 16
            | digit(number) << 24;
        push_word(out, u64::from(kind) | digits << 8 | 0x0a0d << 40, 7);
    } else {
        push_long(out, kind, itoa::Buffer::new().format(number));
    }
}

/// Appends `kind`, the number and CR LF.
#[inline]
pub(crate) fn push_i64(out: &mut Vec<u8>, kind: u8, number: i64) {
    match usize::try_from(number) {
        Ok(number) => push(out, kind, number),
        Err(_) => push_long(out, kind, itoa::Buffer::new().format(number)),
    }
}

/// Copies a whole word and then truncates: one store, and no loop.
#[inline]
fn push_word(out: &mut Vec<u8>, word: u64, len: usize) {
    let before = out.len();
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(before + len);
}

fn push_long(out: &mut Vec<u8>, kind: u8, text: &str) {
    out.reserve(LINE_BYTES_MAX);
    out.push(kind);
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends `kind`, a text and CR LF. CR and LF within the text would end the line, so they become
/// spaces.
pub(crate) fn push_text(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.reserve(text.len() + 3);
    out.push(kind);
    out.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_of_line() {
        let edges = [999, 1000, 9999, 10_000, 99_999, 1 << 32, usize::MAX];
        for number in (0..if cfg!(miri) { 30 } else { 12_000 }).chain(edges) {
            let mut out = b"before".to_vec();
            push(&mut out, b'$', number);
            assert_eq!(out, format!("before${number}\r\n").into_bytes());
        }
        for number in [0, -1, -2, -1000, i64::MIN, i64::MAX, 7, 123456] {
            let mut out = b"before".to_vec();
            push_i64(&mut out, b':', number);
            assert_eq!(out, format!("before:{number}\r\n").into_bytes());
            assert!(out.len() <= 6 + LINE_BYTES_MAX);
        }
    }
}
