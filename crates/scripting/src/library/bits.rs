//! `bit`: operations on 32 bits, as LuaBitOp's: numbers wrap around, results are signed.

use super::add;
use super::arguments::{integer_or, number};
use crate::lua::{Raise, Returned, Stack};

pub(super) fn install(stack: &mut Stack<'_>, library: i32) -> Result<(), Raise> {
    add(
        stack,
        library,
        &[
            ("tobit", |stack| one(stack, |bits| bits)),
            ("bnot", |stack| one(stack, |bits| !bits)),
            ("bswap", |stack| one(stack, u32::swap_bytes)),
            ("band", |stack| all(stack, |one, other| one & other)),
            ("bor", |stack| all(stack, |one, other| one | other)),
            ("bxor", |stack| all(stack, |one, other| one ^ other)),
            ("lshift", |stack| shift(stack, |bits, by| bits << by)),
            ("rshift", |stack| shift(stack, |bits, by| bits >> by)),
            ("arshift", |stack| {
                shift(stack, |bits, by| (bits.cast_signed() >> by).cast_unsigned())
            }),
            ("rol", |stack| shift(stack, u32::rotate_left)),
            ("ror", |stack| shift(stack, u32::rotate_right)),
            ("tohex", to_hex),
        ],
    )
}

/// The low 32 bits of a number, rounded to the nearest integer (to even).
fn bits(stack: &Stack<'_>, at: usize) -> Result<u32, Raise> {
    let value = number(stack, at)?;
    // Adding 1.5 * 2^52 leaves the integer in the low bits of the double, as LuaBitOp does it.
    Ok((value + 6_755_399_441_055_744.0).to_bits() as u32)
}

fn push(stack: &mut Stack<'_>, bits: u32) -> Returned {
    stack.push_number(f64::from(bits.cast_signed()))?;
    Ok(1)
}

fn one(stack: &mut Stack<'_>, change: fn(u32) -> u32) -> Returned {
    let bits = bits(stack, 1)?;
    push(stack, change(bits))
}

fn all(stack: &mut Stack<'_>, join: fn(u32, u32) -> u32) -> Returned {
    let mut joined = bits(stack, 1)?;
    for at in 2..=stack.arg_count() {
        joined = join(joined, bits(stack, at)?);
    }
    push(stack, joined)
}

fn shift(stack: &mut Stack<'_>, shift: fn(u32, u32) -> u32) -> Returned {
    let (value, by) = (bits(stack, 1)?, bits(stack, 2)? & 31);
    push(stack, shift(value, by))
}

/// The number of digits is bounded before it is negated (CVE-2024-31449).
fn to_hex(stack: &mut Stack<'_>) -> Returned {
    let value = bits(stack, 1)?;
    let digits = integer_or(stack, 2, 8)?.clamp(-8, 8);
    let text = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    let count = usize::try_from(digits.unsigned_abs()).unwrap_or(8);
    stack.push_bytes(&text.as_bytes()[8 - count..])?;
    Ok(1)
}
