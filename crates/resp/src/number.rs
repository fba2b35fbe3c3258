//! Numbers as Redis reads and writes them.
//!
//! Integers are strict: what `parse_i64` takes is exactly what `format_i64` writes, so that a value kept
//! as a number gives back the bytes that were set. Floats are as lenient as C's strtod, but for blanks.
//! Not here: 80-bit floats (`long_double`), how the digits of a double are found (`shortest`).

use crate::shortest;

pub use crate::long_double::{FloatError, add_long_double, format_long_double_human};

/// Reads an integer in the one form that Redis' string2ll takes: no plus sign, no leading zero, no blank,
/// no `-0`.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // i64 has at most 19 digits, and so many can't overflow a u64.
    if digits.len() > 19 || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut magnitude = 0u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Appends an integer in decimal.
#[inline]
pub fn format_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Reads a double: an optional sign, then digits with an optional point and exponent, or `inf` or
/// `infinity` in any case. The nearest double is taken.
///
/// Refused are: the empty text, blanks anywhere, `nan`, hexadecimal floats (Valkey 9 refuses them, Redis
/// takes them), and numbers so big or so small that no double but infinity or zero is near.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    let unsigned = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    if value.is_nan() || (value.is_infinite() && !unsigned[0].eq_ignore_ascii_case(&b'i')) {
        return None;
    }
    let mantissa = || unsigned.iter().take_while(|byte| !byte.eq_ignore_ascii_case(&b'e'));
    if value == 0.0 && mantissa().any(|byte| (b'1'..=b'9').contains(byte)) {
        return None;
    }
    Some(value)
}

/// Appends a double as Redis 7.2 and later and Valkey write it in replies: `inf`, `-inf`, `nan`, `-0`,
/// whole numbers up to 2^62 with all their digits, others with the fewest digits that read back the same.
pub fn format_f64(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(Text::from(value).as_bytes());
}

/// A double in decimal, without the heap.
pub(crate) struct Text {
    bytes: [u8; Text::BYTES_MAX],
    len: usize,
}

impl Text {
    /// A sign, 17 digits, a point, an exponent of five bytes or seven zeros: 25 and some air.
    const BYTES_MAX: usize = 32;

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn push(&mut self, text: &[u8]) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }

    pub(crate) fn push_zeros(&mut self, count: usize) {
        self.bytes[self.len..self.len + count].fill(b'0');
        self.len += count;
    }
}

impl From<f64> for Text {
    fn from(value: f64) -> Text {
        const WHOLE_MAX: f64 = (1u64 << 62) as f64;
        let mut text = Text { bytes: [0; Text::BYTES_MAX], len: 0 };
        if value.is_nan() {
            text.push(b"nan");
        } else if value.is_infinite() {
            text.push(if value > 0.0 { b"inf" } else { b"-inf" });
        } else if value == 0.0 {
            text.push(if value.is_sign_negative() { b"-0" } else { b"0" });
        } else if value.abs() <= WHOLE_MAX && value.trunc() == value {
            text.push(itoa::Buffer::new().format(value as i64).as_bytes());
        } else {
            shortest::format(value, &mut text);
        }
        text
    }
}
