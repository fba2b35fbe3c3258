//! Numbers as text.

use basalt_resp::format_f64;

/// As `%.{precision}g` writes it, with a precision from 1 on.
pub(crate) fn format_general(value: f64, precision: usize) -> String {
    if value.is_nan() {
        return if value.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{:.*e}", precision - 1, value);
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= i32::try_from(precision).unwrap_or(i32::MAX) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(digits), exponent.abs());
    }
    let decimals = i32::try_from(precision).unwrap_or(0) - 1 - exponent;
    let fixed = format!("{value:.*}", usize::try_from(decimals).unwrap_or(0));
    without_zeros(&fixed).to_owned()
}

fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

/// An argument of `redis.call` that is a number: whole numbers without an exponent, others as short as they
/// read back.
pub(crate) fn format_argument(value: f64, out: &mut Vec<u8>) {
    const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
    if value.trunc() == value && value.abs() < WHOLE_MAX {
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(value as i64).as_bytes());
    } else {
        format_f64(value, out);
    }
}

#[cfg(test)]
mod tests {
    use super::{format_argument, format_general};

    #[test]
    fn general_is_as_printf_writes_it() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.33333333333333"),
            (1e14, "1e+14"),
            (99_999_999_999_999.0, "99999999999999"),
            (1e15, "1e+15"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.5e300, "1.5e+300"),
            (123_456_789_012_345_678.0, "1.2345678901235e+17"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(format_general(value, 14), text);
        }
    }

    #[test]
    fn arguments_are_short() {
        for (value, text) in
            [(3.3, "3.3"), (1e20, "1e+20"), (-0.0, "0"), (12.0, "12"), (-5.0, "-5"), (0.1, "0.1")]
        {
            let mut out = Vec::new();
            format_argument(value, &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
