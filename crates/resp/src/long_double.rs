//! The floats of INCRBYFLOAT: x87's 80-bit extended precision, in software.
//!
//! ```text
//!   text ──read──► LongDouble ──add──► LongDouble ──write──► text with 17 decimals, zeros trimmed
//! ```
//!
//! Each arrow rounds to nearest, ties to even (IEEE 754), as strtold in C, the x87 and printf do;
//! so the digits equal those of Redis on x86-64. Numbers that fit two machine words take a fast
//! path; the rest (hundreds of digits, exponents of thousands) goes through `Wide`.

use std::cmp::Ordering;
use std::fmt;

use crate::wide::Wide;

/// LIMIT: Redis rejects floats with a longer text.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;
/// The number of decimals written: with it most sums of decimal numbers look as they do on paper.
const DECIMALS: u32 = 17;
const TEN_POW_DECIMALS: u64 = 10u64.pow(DECIMALS);
/// The exponents of the lowest bit: of the largest number, and of the subnormal ones.
const EXPONENT_MAX: i32 = 16383 - 63;
const EXPONENT_MIN: i32 = -16445;
/// Outside of these decimal exponents of the first digit, the result is certainly infinity or zero.
const DECIMAL_EXPONENT_MAX: i64 = 4933;
const DECIMAL_EXPONENT_MIN: i64 = -4960;

/// The error of a sum of floats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FloatError {
    NotAFloat,
    NanOrInfinity,
}

impl fmt::Display for FloatError {
    /// The text of Redis' error, without `ERR `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FloatError::NotAFloat => "value is not a valid float",
            FloatError::NanOrInfinity => "increment would produce NaN or Infinity",
        })
    }
}

impl std::error::Error for FloatError {}

/// The sum of two floats in decimal, with the same digits as Redis.
///
/// A float is an optional sign and then decimal digits with an optional point and exponent, a
/// hexadecimal float as in C (`0x1.8p3`), or `inf` or `infinity` in any case. Fails for an empty
/// text, blanks, `nan`, texts longer than 5119 bytes, numbers that round to infinity or to zero,
/// and sums that are not finite.
pub fn add_long_double(a: &[u8], b: &[u8]) -> Result<String, FloatError> {
    let (a, b) = (read(a)?, read(b)?);
    match (a, b) {
        (Number::Finite(a), Number::Finite(b)) => match add(a, b) {
            Number::Finite(sum) => Ok(write(sum)),
            Number::Infinite => Err(FloatError::NanOrInfinity),
        },
        _ => Err(FloatError::NanOrInfinity),
    }
}

/// A finite double in the format of INCRBYFLOAT: 17 decimals, trailing zeros trimmed.
pub fn format_long_double_human(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let bits = value.to_bits();
    let (exponent, fraction) = ((bits >> 52) as i32 & 0x7ff, bits & ((1 << 52) - 1));
    let (significand, exponent) = match exponent {
        0 => (fraction, -1074),
        _ => (fraction | 1 << 52, exponent - 1075),
    };
    write(LongDouble { negative: value.is_sign_negative(), significand, exponent })
}

/// A float with the precision of INCRBYFLOAT, for calculations before it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongFloat {
    number: Number,
    /// Whether it is below zero.
    is_negative: bool,
}

impl From<LongDouble> for LongFloat {
    fn from(number: LongDouble) -> Self {
        let is_negative = number.negative && number.significand > 0;
        Self { number: Number::Finite(number), is_negative }
    }
}

impl LongFloat {
    /// The largest and the smallest finite numbers.
    pub const MAX: Self = Self::edge(false);
    pub const MIN: Self = Self::edge(true);

    const fn edge(negative: bool) -> Self {
        let edge = LongDouble { negative, significand: u64::MAX, exponent: EXPONENT_MAX };
        Self { number: Number::Finite(edge), is_negative: negative }
    }

    /// Parses the texts that [`add_long_double`] accepts, and infinities; `None` for others.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Some(match read(text).ok()? {
            Number::Finite(number) => Self::from(number),
            Number::Infinite => {
                Self { number: Number::Infinite, is_negative: text.first() == Some(&b'-') }
            }
        })
    }

    pub fn is_infinite(self) -> bool {
        self.number == Number::Infinite
    }

    pub fn is_negative(self) -> bool {
        self.is_negative
    }

    /// The sum; infinite if it overflows.
    pub fn plus(self, other: Self) -> Self {
        let (Number::Finite(a), Number::Finite(b)) = (self.number, other.number) else {
            return if self.is_infinite() { self } else { other };
        };
        match add(a, b) {
            Number::Finite(sum) => Self::from(sum),
            Number::Infinite => Self { number: Number::Infinite, is_negative: self.is_negative },
        }
    }

    /// The difference; infinite if it overflows.
    pub fn minus(self, other: Self) -> Self {
        let number = match other.number {
            Number::Finite(number) => {
                Number::Finite(LongDouble { negative: !number.negative, ..number })
            }
            Number::Infinite => Number::Infinite,
        };
        self.plus(Self { number, is_negative: !other.is_negative })
    }

    /// A thousand times the number, rounded up, as seconds are converted to milliseconds; `None`
    /// beyond 64 bits.
    pub fn thousandfold_ceil(self) -> Option<i64> {
        let Number::Finite(LongDouble { negative, significand, exponent }) = self.number else {
            return None;
        };
        // Rounded as the x87 does, so that 0.001 is one and not slightly more.
        let product = round(negative, u128::from(significand) * 1000, exponent, false);
        let Number::Finite(LongDouble { significand, exponent, .. }) = product else { return None };
        if exponent > 0 {
            // Zero has the smallest exponent, and all other numbers have their top bit set, so they
            // exceed 64 bits.
            return None;
        }
        let whole = significand.checked_shr(exponent.unsigned_abs()).unwrap_or(0);
        let is_whole = significand.trailing_zeros() >= exponent.unsigned_abs() || significand == 0;
        let whole = i128::from(whole);
        let up = if negative { -whole } else { whole + i128::from(!is_whole) };
        i64::try_from(up).ok()
    }

    /// The magnitude, as an ordered key.
    fn distance(self) -> (i32, u64) {
        match self.number {
            Number::Finite(LongDouble { significand, exponent, .. }) => (exponent, significand),
            Number::Infinite => (i32::MAX, 0),
        }
    }
}

impl PartialOrd for LongFloat {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(match (self.is_negative, other.is_negative) {
            (false, false) => self.distance().cmp(&other.distance()),
            (true, true) => other.distance().cmp(&self.distance()),
            (is_less, _) => {
                if is_less {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
        })
    }
}

impl fmt::Display for LongFloat {
    /// With up to 17 decimals and without an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Number::Finite(number) => f.write_str(&write(number)),
            Number::Infinite => f.write_str(if self.is_negative { "-inf" } else { "inf" }),
        }
    }
}

/// significand × 2^exponent. Parsed and computed numbers have the top bit set unless they are
/// subnormal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LongDouble {
    negative: bool,
    significand: u64,
    exponent: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Number {
    Finite(LongDouble),
    Infinite,
}

/// Rounds `significand` × 2^`exponent` to 64 bits. `more` is the sticky bit: the exact number is
/// greater by less than one unit; then `significand` must have at least 66 bits.
fn round(negative: bool, significand: u128, exponent: i32, more: bool) -> Number {
    if significand == 0 {
        return Number::Finite(LongDouble { negative, significand: 0, exponent: EXPONENT_MIN });
    }
    let bits = 128 - significand.leading_zeros() as i32;
    let dropped = (bits - 64).max(EXPONENT_MIN - exponent);
    let (mut kept, mut exponent) = match dropped {
        ..=0 => (significand << -dropped, exponent + dropped),
        1..=127 => {
            let kept = significand >> dropped;
            let rest = significand & ((1 << dropped) - 1);
            let half = 1 << (dropped - 1);
            let up = rest > half || (rest == half && (more || kept & 1 == 1));
            (kept + u128::from(up), exponent + dropped)
        }
        // At most half of the smallest subnormal, and half only if exactly so.
        _ => (u128::from(dropped == 128 && (significand, more) > (1 << 127, false)), EXPONENT_MIN),
    };
    if kept == 1 << 64 {
        kept >>= 1;
        exponent += 1;
    }
    if exponent > EXPONENT_MAX {
        return Number::Infinite;
    }
    Number::Finite(LongDouble { negative, significand: kept as u64, exponent })
}

fn add(a: LongDouble, b: LongDouble) -> Number {
    let (a, b) = if a.exponent >= b.exponent { (a, b) } else { (b, a) };
    if b.significand == 0 && a.significand == 0 {
        return round(a.negative && b.negative, 0, 0, false);
    }
    // The number with the larger exponent is shifted left by 62 bits, so the sum stays below 2^128.
    // The bits that the other one loses in that alignment only matter as a sticky bit.
    const LIFT: i32 = 62;
    let distance = a.exponent - b.exponent;
    let exponent = a.exponent - LIFT;
    let great = u128::from(a.significand) << LIFT;
    let (small, lost) = match u32::try_from(distance - LIFT) {
        Err(_) => (u128::from(b.significand) << (LIFT - distance), false),
        Ok(shift @ 0..=63) => {
            let kept = b.significand >> shift;
            (u128::from(kept), kept << shift != b.significand)
        }
        Ok(_) => (0, b.significand != 0),
    };
    if a.negative == b.negative {
        round(a.negative, great + small, exponent, lost)
    } else if great > small {
        // With lost bits the exact number is just below: one unit less, and the sticky bit set.
        round(a.negative, great - small - u128::from(lost), exponent, lost)
    } else if great < small {
        round(b.negative, small - great, exponent, lost)
    } else {
        round(false, 0, 0, false)
    }
}

fn read(text: &[u8]) -> Result<Number, FloatError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(FloatError::NotAFloat);
    }
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
        return Ok(Number::Infinite);
    }
    let number = match unsigned {
        [b'0', b'x' | b'X', rest @ ..] => read_hexadecimal(negative, rest),
        _ => read_decimal(negative, unsigned),
    };
    match number {
        Some(number @ Number::Finite(_)) => Ok(number),
        _ => Err(FloatError::NotAFloat),
    }
}

/// The digits of a number and the text after them.
struct Digits {
    /// Without leading zeros.
    digits: Vec<u8>,
    /// How many of them (and of the dropped leading zeros) are after the point.
    decimals: i64,
    exponent: i64,
}

/// Splits `digits[.digits][<marker>[sign]digits]`; the digits as values. `None` if there are no
/// digits, or if other text follows.
fn cut(text: &[u8], radix: u32, marker: u8) -> Option<Digits> {
    let mut found = Digits { digits: Vec::with_capacity(text.len()), decimals: 0, exponent: 0 };
    let (mut any, mut point) = (false, false);
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        if let Some(digit) = char::from(*byte).to_digit(radix) {
            any = true;
            found.decimals += i64::from(point);
            if digit != 0 || !found.digits.is_empty() {
                found.digits.push(digit as u8);
            }
        } else if *byte == b'.' && !point {
            point = true;
        } else {
            break;
        }
        rest = after;
    }
    if !any {
        return None;
    }
    if let [byte, after @ ..] = rest
        && byte.eq_ignore_ascii_case(&marker)
    {
        found.exponent = read_exponent(after)?;
        rest = &[];
    }
    rest.is_empty().then_some(found)
}

/// Any integer, clamped to a range that is certainly sufficient.
fn read_exponent(text: &[u8]) -> Option<i64> {
    const ENOUGH: i64 = 1_000_000;
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let mut exponent = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        exponent = ENOUGH.min(exponent * 10 + i64::from(byte - b'0'));
    }
    Some(if negative { -exponent } else { exponent })
}

/// `None` also if the text is not zero but rounds to zero.
fn read_decimal(negative: bool, text: &[u8]) -> Option<Number> {
    let found = cut(text, 10, b'e')?;
    if found.digits.is_empty() {
        return Some(round(negative, 0, 0, false));
    }
    let exponent = found.exponent - found.decimals;
    let first = exponent + found.digits.len() as i64 - 1;
    if !(DECIMAL_EXPONENT_MIN..=DECIMAL_EXPONENT_MAX).contains(&first) {
        return None;
    }
    let number = match (found.digits.len(), exponent) {
        (..=19, -18..=19) => {
            let value = found.digits.iter().fold(0, |sum, &digit| sum * 10 + u64::from(digit));
            read_short(negative, value, exponent as i32)
        }
        _ => read_long(negative, &found.digits, exponent as i32),
    };
    not_zero(number)
}

/// value × 10^exponent, for an exponent between -18 and 19: two words are enough.
fn read_short(negative: bool, value: u64, exponent: i32) -> Number {
    if exponent >= 0 {
        return round(negative, u128::from(value) * 10u128.pow(exponent as u32), 0, false);
    }
    let divisor = 10u128.pow(-exponent as u32);
    let lift = 64 + value.leading_zeros();
    let dividend = u128::from(value) << lift;
    round(negative, dividend / divisor, -(lift as i32), !dividend.is_multiple_of(divisor))
}

fn read_long(negative: bool, digits: &[u8], exponent: i32) -> Number {
    let mut value = Wide::from_digits(digits);
    if exponent >= 0 {
        value.multiply_ten_pow(exponent as u32);
        let (top, dropped, more) = value.top();
        return round(negative, top, dropped as i32, more);
    }
    let mut divisor = Wide::from_digits(&[1]);
    divisor.multiply_ten_pow(-exponent as u32);
    // A quotient of 67 or 68 bits.
    let lift = divisor.bits() as i32 + 67 - value.bits() as i32;
    if lift >= 0 {
        value.shift_left(lift as u32);
    } else {
        divisor.shift_left(-lift as u32);
    }
    let (quotient, more) = value.divide(divisor);
    round(negative, quotient, -lift, more)
}

fn read_hexadecimal(negative: bool, text: &[u8]) -> Option<Number> {
    let found = cut(text, 16, b'p')?;
    if found.digits.is_empty() {
        return Some(round(negative, 0, 0, false));
    }
    // 28 digits have at least 109 bits: enough for rounding with a sticky bit.
    let (near, far) = found.digits.split_at(found.digits.len().min(28));
    let value = near.iter().fold(0, |sum, &digit| sum << 4 | u128::from(digit));
    let more = far.iter().any(|&digit| digit != 0);
    let exponent = found.exponent - 4 * found.decimals + 4 * far.len() as i64;
    not_zero(round(negative, value, exponent as i32, more))
}

fn not_zero(number: Number) -> Option<Number> {
    match number {
        Number::Finite(LongDouble { significand: 0, .. }) => None,
        number => Some(number),
    }
}

fn write(value: LongDouble) -> String {
    let LongDouble { negative, significand, exponent } = value;
    let (whole, decimals) = match exponent {
        65.. => {
            let mut wide = Wide::from(significand);
            wide.shift_left(exponent as u32);
            let sign = if negative { "-" } else { "" };
            return format!("{sign}{wide}");
        }
        0.. => (u128::from(significand) << exponent, 0),
        -63.. => {
            let fraction = significand & ((1 << -exponent) - 1);
            (u128::from(significand >> -exponent), scale_fraction(fraction, exponent))
        }
        _ => (0, scale_fraction(significand, exponent)),
    };
    // The fraction may have been rounded up to one.
    let (whole, decimals) =
        if decimals == TEN_POW_DECIMALS { (whole + 1, 0) } else { (whole, decimals) };
    let sign = if negative && (whole, decimals) != (0, 0) { "-" } else { "" };
    if decimals == 0 {
        return format!("{sign}{whole}");
    }
    let mut text = format!("{sign}{whole}.{decimals:0width$}", width = DECIMALS as usize);
    text.truncate(text.trim_end_matches('0').len());
    text
}

/// fraction × 2^exponent × 10^17, rounded; the exponent is negative.
fn scale_fraction(fraction: u64, exponent: i32) -> u64 {
    // Below 2^121.
    let scaled = u128::from(fraction) * u128::from(TEN_POW_DECIMALS);
    let shift = -exponent;
    if shift > 122 {
        return 0;
    }
    let kept = (scaled >> shift) as u64;
    let rest = scaled & ((1 << shift) - 1);
    let half = 1 << (shift - 1);
    kept + u64::from(rest > half || (rest == half && kept & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Redis 7.0 and Valkey 9.1 answer to INCRBYFLOAT on x86-64.
#[rustfmt::skip]
    const SUMS: &[(&str, &str, &str)] = &[
        ("10.5", "0.1", "10.6"),
        ("3", "1.1", "4.1"),
        ("5.0e3", "2.0e2", "5200"),
        ("0.1", "0.2", "0.3"),
        ("1.23e-10", "0", "0.000000000123"),
        ("0", "1e-17", "0.00000000000000001"),
        ("0", "5e-18", "0"),
        ("0", "4.9e-18", "0"),
        ("0", "15e-18", "0.00000000000000002"),
        ("0", "25e-18", "0.00000000000000002"),
        ("1", "5e-18", "1"),
        ("0.5", "-0.5", "0"),
        ("-0.1", "0", "-0.1"),
        ("-1e-30", "0", "0"),
        ("-0", "0", "0"),
        ("-0", "-0", "0"),
        ("9223372036854775807", "1", "9223372036854775808"),
        ("9223372036854775807", "0.5", "9223372036854775807.5"),
        ("9223372036854775807", "0.25", "9223372036854775807"),
        ("18446744073709551615", "1", "18446744073709551616"),
        ("18446744073709551615", "0.5", "18446744073709551616"),
        ("18446744073709551614", "0.5", "18446744073709551614"),
        ("18446744073709551616", "1", "18446744073709551616"),
        ("18446744073709551616", "2", "18446744073709551618"),
        ("18446744073709551616", "3", "18446744073709551620"),
        ("18446744073709551616", "1.0000000000000001", "18446744073709551618"),
        ("18446744073709551616", "-0.5", "18446744073709551616"),
        ("18446744073709551616", "-0.50000000000000000001", "18446744073709551616"),
        ("18446744073709551616", "-0.25", "18446744073709551616"),
        ("36893488147419103232", "-1", "36893488147419103232"),
        ("36893488147419103232", "-1.5", "36893488147419103230"),
        ("36893488147419103232", "1e-4000", "36893488147419103232"),
        ("36893488147419103232", "-1e-4000", "36893488147419103232"),
        ("0.99999999999999999", "0.00000000000000001", "1"),
        ("0.999999999999999999", "0", "1"),
        ("1.9999999999999999", "0.0000000000000001", "2"),
        ("2.999999999999999999", "0", "3"),
        ("123456789.123456789", "987654321.987654321", "1111111111.11111110995989293"),
        ("1e15", "0.1", "1000000000000000.0999755859375"),
        ("1e17", "0.1", "100000000000000000.1015625"),
        ("1e18", "0.3", "1000000000000000000.3125"),
        ("1e19", "0.5", "10000000000000000000"),
        ("1e20", "0.5", "100000000000000000000"),
        (
            "3.14159265358979323846264338327950288",
            "2.71828182845904523536028747135266249",
            "5.85987448204883847",
        ),
        ("0.1", "-0.3", "-0.2"),
        ("1.1", "2.2", "3.3"),
        ("100", "-99.9", "0.1"),
        ("4.35", "100", "104.35"),
        ("1e-5", "-3", "-2.99999"),
        ("0.000001", "0.0000001", "0.0000011"),
        ("0x1p-3", "0x.8p1", "1.125"),
        ("0xFFFFFFFFFFFFFFFFFp0", "0", "295147905179352825856"),
        ("0x1.fffffffffffffffep0", "0x1p-64", "2"),
        ("0x1.ffffffffffffffffp0", "0", "2"),
        (
            "0x10000000000000000800000000000000000000000001",
            "0",
            "5986310706507378352962293074805895248510699696029696",
        ),
        (
            "0x10000000000000000800000000000000000000000000",
            "0",
            "5986310706507378352962293074805895248510699696029696",
        ),
        ("1e40", "1", "9999999999999999999783686092270256259072"),
        ("1e60", "-1e59", "899999999999999999955879938118169828463605610035131763916800"),
        ("123456789012345678901234567890", "0", "123456789012345678899921813504"),
        (
            "340282366920938463463374607431768211456",
            "-1",
            "340282366920938463463374607431768211456",
        ),
        (
            "0.333333333333333333333333333333333333333333333333333333333333",
            "0",
            "0.33333333333333333",
        ),
        (
            "9999999999999999999999999999999999999999",
            "0",
            "9999999999999999999783686092270256259072",
        ),
        ("0.50000000000000000000000000000001", "0", "0.5"),
        ("+1.5", "+.5", "2"),
        ("5.", "-.5", "4.5"),
        ("1E3", "1e+3", "2000"),
        ("1e-4950", "0", "0"),
        ("2e-4951", "0", "0"),
        ("1e-16", "1e-17", "0.00000000000000011"),
        // Not ties of the sum, if the sticky bit is kept.
        ("18446744073709551618", "-0x1.0000000000000002p0", "18446744073709551616"),
        ("-18446744073709551618", "0x1.0000000000000002p0", "-18446744073709551616"),
        ("18446744073709551616", "-0x1.0000000000000002p-1", "18446744073709551615"),
        // Ties of the 17th decimal.
        ("0x1p-18", "0", "0.00000381469726562"),
        ("0x3p-18", "0", "0.00001144409179688"),
        ("-0x3p-18", "0", "-0.00001144409179688"),
        ("0x1p-18", "1", "1.00000381469726562"),
    ];

    #[test]
    fn sums_as_redis_has_them() {
        // The wide ones take miri minutes.
        let wide = |text: &str| text.len() > 24 || text.contains("e-4");
        for (a, b, sum) in SUMS.iter().filter(|row| !(cfg!(miri) && (wide(row.0) || wide(row.1)))) {
            for (a, b) in [(a, b), (b, a)] {
                let found = add_long_double(a.as_bytes(), b.as_bytes());
                assert_eq!(found.as_deref(), Ok(*sum), "{a} + {b}");
            }
        }
    }

    #[test]
    fn no_floats() {
        #[rustfmt::skip]
        let refused = [
            "", " 1", "1 ", "\x0b1", ".", "-", "+", "--1", "+-1", "1.2.3", "1d", "1_0", "1\0",
            "1e", "1e+", "e5", "1p3", "0x", "0x.p1", "0x1p", "0x1pf",
            "nan", "-nan", "nan(1)", "in", "infinit", "infinityx",
            "1e4933", "0x1.ffffffffffffffffp16383", "0x1p-16446",
            "1e99999999999999999999999", "1e-99999999999999999999999",
        ];
        for text in refused {
            for (a, b) in [(text, "1"), ("1", text), (text, "inf"), ("inf", text)] {
                let sum = add_long_double(a.as_bytes(), b.as_bytes());
                assert_eq!(sum, Err(FloatError::NotAFloat), "{a} + {b}");
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "thousands of digits take hours")]
    fn nearly_no_floats() {
        let text = |bytes| [&vec![b'0'; bytes - 1][..], b"1"].concat();
        let add_to_zero = |text: &[u8]| add_long_double(text, b"0");
        assert_eq!(add_to_zero(&text(TEXT_BYTES_MAX)).as_deref(), Ok("1"));
        assert_eq!(add_to_zero(&text(TEXT_BYTES_MAX + 1)), Err(FloatError::NotAFloat));
        for refused in ["1.18973149535723176509e4932", "1e-4951", "1.8225995e-4951"] {
            assert_eq!(add_to_zero(refused.as_bytes()), Err(FloatError::NotAFloat), "{refused}");
        }
        assert_eq!(add_to_zero(b"1.8226e-4951").as_deref(), Ok("0"));
        let greatest = add_to_zero(b"1.18973149535723176502e4932").expect("because it is the last");
        let start = "118973149535723176502126385303097020516906332229462420044032";
        assert!(greatest.starts_with(start));
        assert_eq!(greatest.len(), 4933);
        let twice = add_long_double(b"1.1e4932", b"1.1e4932");
        assert_eq!(twice, Err(FloatError::NanOrInfinity));
    }

    #[test]
    fn beyond_all_floats() {
        let pairs = [
            ("inf", "0"),
            ("1", "-INF"),
            ("+infinity", "0"),
            ("inf", "-inf"),
            ("0x1p16383", "0x1p16383"),
            ("-0x1p16383", "-0x1p16383"),
        ];
        for (a, b) in pairs {
            let sum = add_long_double(a.as_bytes(), b.as_bytes());
            assert_eq!(sum, Err(FloatError::NanOrInfinity), "{a} + {b}");
        }
        for text in ["0e99999999999", "0x0p99999999999", "0x1p-16445", "0x1.8p-16446"] {
            assert_eq!(add_long_double(text.as_bytes(), b"0").as_deref(), Ok("0"), "{text}");
        }
    }

    #[test]
    fn texts_say_what_redis_says() {
        assert_eq!(FloatError::NotAFloat.to_string(), "value is not a valid float");
        let text = FloatError::NanOrInfinity.to_string();
        assert_eq!(text, "increment would produce NaN or Infinity");
    }

    /// The fast path and the general one have the same result.
    #[test]
    fn short_and_long_reading_agree() {
        for value in [1, 3, 7, 123456789, u64::MAX / 10 - 1, 9999999999999999999] {
            for exponent in -18..=19 {
                let digits: Vec<u8> = value.to_string().bytes().map(|byte| byte - b'0').collect();
                let long = read_long(true, &digits, exponent);
                assert_eq!(read_short(true, value, exponent), long, "{value}e{exponent}");
            }
        }
    }

    #[test]
    fn doubles_with_all_their_decimals() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.5, "1.5"),
            (-2.0, "-2"),
            (0.1, "0.10000000000000001"),
            (1e22, "10000000000000000000000"),
            (13.361389338970184, "13.36138933897018433"),
            (5e-324, "0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-1e-17, "-0.00000000000000001"),
            (-1e-18, "0"),
        ] {
            assert_eq!(format_long_double_human(value), text);
        }
        assert_eq!(format_long_double_human(f64::MAX).len(), 309);
    }

    #[test]
    fn floats_are_reckoned_with_as_they_are_written() {
        let float = |text: &str| LongFloat::parse(text.as_bytes()).expect("a float");
        let rising =
            ["-inf", "-1e4932", "-2.5", "-1", "-1e-4900", "0", "1e-4900", "0.5", "1e19", "inf"];
        let rising = rising.map(float);
        for (a, one) in rising.iter().enumerate() {
            for (b, other) in rising.iter().enumerate() {
                assert_eq!(one.partial_cmp(other), Some(a.cmp(&b)), "{one} {other}");
            }
        }
        assert_eq!(float("-0").partial_cmp(&float("0")), Some(Ordering::Equal));
        assert!(LongFloat::MIN < float("-1e4932") && float("1e4932") < LongFloat::MAX);
        assert!(LongFloat::MAX.plus(LongFloat::MAX).is_infinite());
        assert!(LongFloat::MAX.plus(LongFloat::MIN).to_string() == "0");
        assert!(LongFloat::MIN.minus(LongFloat::MAX).is_infinite());
        for (a, b) in
            [("10.5", "0.1"), ("-7e2", "1.55"), ("3", "-3"), ("1e19", "-1"), ("0.1", "0.2")]
        {
            let sum = add_long_double(a.as_bytes(), b.as_bytes());
            assert_eq!(sum, Ok(float(a).plus(float(b)).to_string()));
            assert_eq!(
                float(a).minus(float(b)).to_string(),
                float(a).plus(float(&negated(b))).to_string()
            );
        }
        assert_eq!(LongFloat::parse(b"nan"), None);
    }

    #[test]
    fn seconds_become_milliseconds() {
        for (seconds, ms) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0.001", Some(1)),
            ("0.002", Some(2)),
            ("0.0001", Some(1)),
            ("1e-4900", Some(1)),
            ("1.0005", Some(1001)),
            ("8.015", Some(8016)),
            ("-0.0005", Some(0)),
            ("-1.0005", Some(-1000)),
            ("0x10", Some(16_000)),
            ("0x1p-4", Some(63)),
            ("22248721815198", Some(22_248_721_815_198_000)),
            ("9223372036854775.807", Some(i64::MAX)),
            ("9223372036854775.808", None),
            ("-1e16", None),
            ("1e16", None),
            ("1e4932", None),
            ("inf", None),
        ] {
            let float = LongFloat::parse(seconds.as_bytes()).expect("a float");
            assert_eq!(float.thousandfold_ceil(), ms, "{seconds}");
        }
        let mut later = 0;
        for ms in (0..100_000).step_by(7) {
            let float = LongFloat::parse(format!("{}.{:03}", ms / 1000, ms % 1000).as_bytes());
            let found = float.and_then(LongFloat::thousandfold_ceil).expect("it is small");
            assert!((ms..=ms + 1).contains(&found), "{ms}: {found}");
            later += i64::from(found > ms);
        }
        // The counts of a C program that does the same with `long double`.
        assert_eq!(later, 97);
    }

    fn negated(text: &str) -> String {
        text.strip_prefix('-').map_or_else(|| format!("-{text}"), str::to_owned)
    }
}
