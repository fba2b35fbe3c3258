//! The floats of INCRBYFLOAT: x87's 80-bit extended precision, in software.
//!
//! ```text
//!   text ──read──► LongDouble ──add──► LongDouble ──write──► text with 17 decimals, zeros trimmed
//! ```
//!
//! Each arrow rounds to nearest, ties to even, as C's strtold, the processor and printf do; so the digits
//! are Redis' on x86-64. What fits two machine words is worked there; the rest (hundreds of digits,
//! exponents of thousands) goes through `Wide`.

use std::fmt;

use crate::wide::Wide;

/// LIMIT: Redis reads no float whose text is longer.
const TEXT_BYTES_MAX: usize = 5 * 1024 - 1;
/// Decimals written: with them most sums of decimal numbers look as they do on paper.
const DECIMALS: u32 = 17;
const TEN_POW_DECIMALS: u64 = 10u64.pow(DECIMALS);
/// Exponents of the lowest bit, of the greatest number and of the numbers next to zero.
const EXPONENT_MAX: i32 = 16383 - 63;
const EXPONENT_MIN: i32 = -16445;
/// Beyond these, a decimal exponent of the first digit leads to infinity or to zero for certain.
const DECIMAL_EXPONENT_MAX: i64 = 4933;
const DECIMAL_EXPONENT_MIN: i64 = -4960;

/// Why a sum of floats can't be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FloatError {
    NotAFloat,
    NanOrInfinity,
}

impl fmt::Display for FloatError {
    /// What Redis answers, after `ERR `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FloatError::NotAFloat => "value is not a valid float",
            FloatError::NanOrInfinity => "increment would produce NaN or Infinity",
        })
    }
}

impl std::error::Error for FloatError {}

/// The sum of two floats in decimal, with the digits that Redis gives.
///
/// A float is an optional sign and then decimal digits with an optional point and exponent, a hexadecimal
/// float as in C (`0x1.8p3`), or `inf` or `infinity` in any case. Refused are the empty text, blanks,
/// `nan`, texts longer than 5119 bytes, and what is nearest to infinity or zero without being it.
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

/// A finite double as INCRBYFLOAT would write it: 17 decimals, trailing zeros trimmed.
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

/// significand × 2^exponent. Read and computed ones have the top bit set unless they are next to zero.
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

/// Rounds `significand` × 2^`exponent` to 64 bits. `more` says that the true number is greater by less
/// than one unit; then `significand` must have at least 66 bits.
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
        // At most half of the smallest number above zero, and half only when exactly so.
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
    // The greater exponent's number is lifted by 62 bits, which leaves the sum room below 2^128. What
    // the other one loses beyond them only says that the truth is a little more or less.
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
        // With something lost the truth lies just below: one unit less and a bit more.
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

/// The digits of a number and what stands behind them.
struct Digits {
    /// Without leading zeros.
    digits: Vec<u8>,
    /// How many of them (and of dropped leading zeros) stand behind the point.
    decimals: i64,
    exponent: i64,
}

/// Cuts `digits[.digits][<marker>[sign]digits]`; the digits as values. None if there is none, or more.
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

/// Any integer, cut to what is surely too big or too small.
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

/// None also when the text isn't zero but its nearest number is.
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

/// value × 10^exponent, for an exponent between -18 and 19: then two words hold what is needed.
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
    // 28 digits have at least 109 bits: enough to round by, when it is known whether more follows.
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
