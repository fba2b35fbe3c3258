//! Numbers in the text forms of Redis.
//!
//! Integers are strict: `parse_i64` accepts exactly the texts that `format_i64` writes, so a value
//! that is stored as a number returns the bytes that were set. Floats are as lenient as C's strtod,
//! except for blanks. Not here: 80-bit floats (`long_double`), the algorithm for the digits of a
//! double (`shortest`).

use crate::shortest;

pub use crate::long_double::{FloatError, LongFloat, add_long_double, format_long_double_human};

/// Parses an integer in the form that Redis' string2ll accepts: no plus sign, no leading zero, no
/// blank, no `-0`. `None` for other texts and beyond 64 bits.
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // i64 has at most 19 digits, and 19 digits can't overflow a u64.
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

/// Parses a double: an optional sign, then digits with an optional point and exponent, or `inf` or
/// `infinity` in any case; rounded to nearest.
///
/// `None` for an empty text, blanks anywhere, `nan`, hexadecimal floats (Valkey 9 rejects them,
/// Redis accepts them), and numbers that would round to infinity or to zero.
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

/// Appends a double in the form of Redis 7.2 and later and Valkey: `inf`, `-inf`, `nan`, `-0`,
/// whole numbers up to 2^62 with all their digits, others with the digits of Grisu2 (fpconv_dtoa).
pub fn format_f64(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(Text::from(value).as_bytes());
}

/// A double in decimal, on the stack.
pub(crate) struct Text {
    bytes: [u8; Text::BYTES_MAX],
    len: usize,
}

impl Text {
    /// A sign, 17 digits, a point, an exponent of five bytes or seven zeros: 25, and some spare
    /// bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_strict() {
        for value in [0, 1, -1, 9, 10, 1234567890, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1] {
            let mut text = Vec::new();
            format_i64(value, &mut text);
            assert_eq!(text, value.to_string().as_bytes());
            assert_eq!(parse_i64(&text), Some(value));
        }
        for text in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            "00",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "0x1",
            "a",
            "1a",
            "--1",
            "1\0",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999",
            "10000000000000000000000",
            "-",
            "1-",
            "/",
            ":",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
    }

    /// As ZADD accepts and rejects them in Valkey 9.1.
    #[test]
    fn doubles_read() {
        for (text, value) in [
            ("0", 0.0),
            ("1", 1.0),
            ("+1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-.5", -0.5),
            ("00012", 12.0),
            ("1E5", 1e5),
            ("1e+5", 1e5),
            ("0e-999", 0.0),
            ("0.000e5", 0.0),
            ("5e-324", 5e-324),
            ("1e-310", 1e-310),
            ("1.7976931348623157e308", f64::MAX),
            ("inf", f64::INFINITY),
            ("+InF", f64::INFINITY),
            ("-infinity", f64::NEG_INFINITY),
            ("9007199254740993", 9007199254740992.0),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(value), "{text}");
        }
        assert!(parse_f64(b"-0").unwrap().is_sign_negative());
        for text in [
            "", " 1", "1 ", "\t1", "nan", "-nan", "NaN", "nan(1)", "0x10", "0x1p3", ".", "+", "-",
            "+-1", "1e", "1e+", "e5", "1_0", "1d", "1f", "infinit", "1\0", "1e400", "-1e400",
            "1e-400", "2e-324", "1.8e308", "\u{661}",
        ] {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_f64(b"\xff"), None);
    }

    /// As ZSCORE replies in Redis 8.0 and Valkey 9.1, for large sets.
    #[test]
    fn doubles_written() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (123456.789, "123456.789"),
            (1e15, "1000000000000000"),
            (1e17, "100000000000000000"),
            (123456789012345678.0, "123456789012345680"),
            (1e20, "1e+20"),
            (1e22, "1e+22"),
            (1.5e300, "1.5e+300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (0.0001, "0.0001"),
            (0.00012345, "1.2345e-4"),
            (1e-5, "0.00001"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (-1e-7, "-1e-7"),
            (1.2345e-7, "1.2345e-7"),
            (5e-324, "5e-324"),
            (1e-310, "1e-310"),
            (17179869184.5, "17179869184.5"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
            // Longer than necessary, or with the second best last digit: typical of Grisu2.
            (1e23, "99999999999999990000000"),
            (8e23, "7.999999999999999e+23"),
            (0.0072884, "0.0072883999999999996"),
            (-0.65131, "-0.6513099999999999"),
            (1.0205938587482428e15, "1020593858748242.7"),
            (4.599999999999999e-188, "4.5999999999999987e-188"),
        ] {
            let mut out = b"before".to_vec();
            format_f64(value, &mut out);
            assert_eq!(out, format!("before{text}").into_bytes());
        }
    }

    #[test]
    fn doubles_come_back() {
        let mut bits = 0x9e37_79b9_7f4a_7c15u64;
        for _ in 0..if cfg!(miri) { 100 } else { 200_000 } {
            bits = bits.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let text = Text::from(value);
                assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(bits), "{value:e}");
            }
        }
        // The edges of each power of two.
        for exponent in (0..2047u64).step_by(if cfg!(miri) { 50 } else { 1 }) {
            for bits in [exponent << 52, exponent << 52 | 1, ((exponent + 1) << 52) - 1] {
                let text = Text::from(f64::from_bits(bits));
                assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(bits));
            }
        }
    }
}
