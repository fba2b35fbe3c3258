//! Arguments of library functions, with the error texts of Lua's own.

use std::borrow::Cow;

use crate::lua::{Kind, Raise, Stack};

fn wrong_type(stack: &Stack<'_>, at: usize, expected: &str) -> Raise {
    let got = stack.kind(position(at)).name();
    Raise::Argument(at, Cow::Owned(format!("{expected} expected, got {got}")))
}

fn position(at: usize) -> i32 {
    i32::try_from(at).unwrap_or(0)
}

pub(super) fn bad(at: usize, text: &'static str) -> Raise {
    Raise::Argument(at, Cow::Borrowed(text))
}

/// A string, or a number as one.
pub(super) fn text<'a>(stack: &mut Stack<'a>, at: usize) -> Result<&'a [u8], Raise> {
    stack.arg_text(position(at)).ok_or_else(|| wrong_type(stack, at, "string"))
}

pub(super) fn number(stack: &Stack<'_>, at: usize) -> Result<f64, Raise> {
    stack.as_number(position(at)).ok_or_else(|| wrong_type(stack, at, "number"))
}

/// A number without its decimals.
pub(super) fn integer(stack: &Stack<'_>, at: usize) -> Result<i64, Raise> {
    number(stack, at).map(truncated)
}

pub(super) fn integer_or(stack: &Stack<'_>, at: usize, default: i64) -> Result<i64, Raise> {
    match stack.kind(position(at)) {
        Kind::None | Kind::Nil => Ok(default),
        _ => integer(stack, at),
    }
}

pub(super) fn table(stack: &Stack<'_>, at: usize) -> Result<i32, Raise> {
    match stack.kind(position(at)) {
        Kind::Table => Ok(position(at)),
        _ => Err(wrong_type(stack, at, "table")),
    }
}

pub(super) fn function(stack: &Stack<'_>, at: usize) -> Result<i32, Raise> {
    match stack.kind(position(at)) {
        Kind::Function => Ok(position(at)),
        _ => Err(wrong_type(stack, at, "function")),
    }
}

pub(super) fn any(stack: &Stack<'_>, at: usize) -> Result<(), Raise> {
    match stack.kind(position(at)) {
        Kind::None => Err(bad(at, "value expected")),
        _ => Ok(()),
    }
}

/// As x86 converts: what does not fit becomes the least integer.
pub(crate) fn truncated(value: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if (-LIMIT..LIMIT).contains(&value) { value as i64 } else { i64::MIN }
}

#[cfg(test)]
mod tests {
    use super::truncated;

    #[test]
    fn what_does_not_fit_is_the_least_integer() {
        assert_eq!(truncated(3.99), 3);
        assert_eq!(truncated(-3.99), -3);
        for value in [1e300, -1e300, f64::NAN, f64::INFINITY] {
            assert_eq!(truncated(value), i64::MIN, "{value}");
        }
    }
}
