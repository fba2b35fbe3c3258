//! The shortest decimal digits of a double, laid out as Redis lays them out.

use std::io::Write;

use crate::number::Text;

/// Appends a finite double that is not zero.
pub(crate) fn format(value: f64, out: &mut Text) {
    let mut text = Vec::with_capacity(32);
    write!(text, "{:e}", value.abs()).expect("because a Vec takes all");
    let text = String::from_utf8(text).expect("because format gives ASCII");
    let (mantissa, exponent) = text.split_once('e').expect("because {:e} was asked for");
    let digits: Vec<u8> = mantissa.bytes().filter(|&byte| byte != b'.').collect();
    let exponent: i32 = exponent.parse().expect("because {:e} ends in a number");
    if value < 0.0 {
        out.push(b"-");
    }
    lay_out(&digits, exponent + 1 - digits.len() as i32, out);
}

/// Writes digits × 10^scale: plainly when that takes few zeros, else with an exponent.
fn lay_out(digits: &[u8], scale: i32, out: &mut Text) {
    let count = digits.len() as i32;
    let exponent = (scale + count - 1).abs();
    if scale >= 0 && exponent < count + 7 {
        out.push(digits);
        out.push_zeros(scale as usize);
    } else if scale < 0 && (scale > -7 || exponent < 4) {
        let whole = count + scale;
        if whole > 0 {
            let (whole, fraction) = digits.split_at(whole as usize);
            out.push(whole);
            out.push(b".");
            out.push(fraction);
        } else {
            out.push(b"0.");
            out.push_zeros(whole.unsigned_abs() as usize);
            out.push(digits);
        }
    } else {
        out.push(&digits[..1]);
        if digits.len() > 1 {
            out.push(b".");
            out.push(&digits[1..]);
        }
        out.push(if scale + count > 0 { b"e+" } else { b"e-" });
        out.push(itoa::Buffer::new().format(exponent).as_bytes());
    }
}
