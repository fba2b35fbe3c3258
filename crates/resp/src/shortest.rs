//! Short decimal digits of a double: the same digits as Redis, in the same layout.
//!
//! The algorithm is Grisu2 (Florian Loitsch, "Printing Floating-Point Numbers Quickly and
//! Accurately with Integers", 2010), as in Redis' fpconv_dtoa.c. The result always parses back to
//! the same double. It is not always the shortest such text: about one double in 300 gets an
//! unnecessary digit or more, or the second best last digit. Redis and Valkey print the same, and
//! clients may compare texts.

use crate::number::Text;

/// Appends a finite double that is not zero.
pub(crate) fn format(value: f64, out: &mut Text) {
    let mut digits = [0; DIGITS_MAX];
    let (count, scale) = find_digits(value.abs(), &mut digits);
    if value < 0.0 {
        out.push(b"-");
    }
    lay_out(&digits[..count], scale, out);
}

/// Writes digits × 10^scale: without an exponent if that takes few zeros.
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

/// 17 digits distinguish all doubles; Grisu2 may need one more.
const DIGITS_MAX: usize = 18;

/// The stored bits of a double's fraction, without the implicit one.
const FRACTION_BITS: u32 = 52;

/// significand × 2^exponent.
#[derive(Clone, Copy)]
struct Scaled {
    significand: u64,
    exponent: i32,
}

impl Scaled {
    fn normalized(self) -> Scaled {
        let shift = self.significand.leading_zeros();
        Scaled { significand: self.significand << shift, exponent: self.exponent - shift as i32 }
    }

    /// The upper half of the product, rounded.
    fn times(self, other: Scaled) -> Scaled {
        let product = u128::from(self.significand) * u128::from(other.significand);
        let significand = ((product + (1 << 63)) >> 64) as u64;
        Scaled { significand, exponent: self.exponent + other.exponent + 64 }
    }
}

/// Fills in the digits of a positive double; returns their count and the power of ten of the last.
fn find_digits(value: f64, digits: &mut [u8; DIGITS_MAX]) -> (usize, i32) {
    const HIDDEN_BIT: u64 = 1 << FRACTION_BITS;
    let fraction = value.to_bits() & (HIDDEN_BIT - 1);
    let exact = match (value.to_bits() >> FRACTION_BITS) as i32 {
        0 => Scaled { significand: fraction, exponent: -1074 },
        biased => Scaled { significand: fraction | HIDDEN_BIT, exponent: biased - 1075 },
    };
    // The midpoints to the neighbouring doubles. Below a power of two, doubles are twice as dense.
    let upper = Scaled { significand: exact.significand * 2 + 1, exponent: exact.exponent - 1 };
    let upper = upper.normalized();
    let dense = if exact.significand == HIDDEN_BIT { 2 } else { 1 };
    let below = (exact.significand << dense) - 1;
    let lower = below << (exact.exponent - dense - upper.exponent);
    let lower = Scaled { significand: lower, exponent: upper.exponent };

    let (power, power_of_ten) = power_for(upper.exponent);
    let exact = exact.normalized().times(power);
    let mut upper = upper.times(power);
    let mut lower = lower.times(power);
    // The products may be off by one unit: stay inside.
    upper.significand -= 1;
    lower.significand += 1;
    let (count, scale) = generate(exact, upper, lower.significand, digits);
    (count, scale - power_of_ten)
}

/// Writes the digits of `upper` until the remainder is above `lower`, then decrements the last
/// digit towards `exact`.
fn generate(
    exact: Scaled,
    upper: Scaled,
    lower: u64,
    digits: &mut [u8; DIGITS_MAX],
) -> (usize, i32) {
    let point = -upper.exponent as u32;
    let mask = (1u64 << point) - 1;
    let mut whole = upper.significand >> point;
    let mut fraction = upper.significand & mask;
    let mut room = upper.significand - lower;
    let mut back = upper.significand - exact.significand;
    let mut count = 0;
    let mut add = |digit: u64, count: &mut usize| {
        if digit != 0 || *count > 0 {
            digits[*count] = b'0' + digit as u8;
            *count += 1;
        }
    };
    // The integer part has 32 bits at most: ten digits.
    let mut scale = 10;
    while scale > 0 {
        scale -= 1;
        let unit = 10u64.pow(scale);
        add(whole / unit, &mut count);
        whole %= unit;
        let left = (whole << point) + fraction;
        if left <= room {
            step_back(&mut digits[count - 1], room, left, unit << point, back);
            return (count, scale as i32);
        }
    }
    let mut scale = 0;
    loop {
        scale -= 1;
        fraction *= 10;
        room *= 10;
        back = back.wrapping_mul(10);
        add(fraction >> point, &mut count);
        fraction &= mask;
        if fraction < room {
            step_back(&mut digits[count - 1], room, fraction, mask + 1, back);
            return (count, scale);
        }
    }
}

/// Decrements the last digit while that approaches the exact number and stays within the interval.
fn step_back(digit: &mut u8, room: u64, mut left: u64, unit: u64, back: u64) {
    while left < back
        && room - left >= unit
        && (left + unit < back || back - left > left + unit - back)
    {
        *digit -= 1;
        left += unit;
    }
}

/// A power of ten that scales a number of this exponent to one between -60 and -32, and its
/// exponent.
fn power_for(exponent: i32) -> (Scaled, i32) {
    const EXPONENT_MIN: i32 = -60;
    // The smallest k with exponent + binary_exponent(k) + 64 ≥ -60, searched from a lower bound.
    let guess = (((EXPONENT_MIN - 1 - exponent) * 19728) >> 16) - FIRST_POWER;
    let mut index = (guess.max(0) / POWER_STEP) as usize;
    loop {
        let power_of_ten = FIRST_POWER + POWER_STEP * index as i32;
        let power = Scaled { significand: POWERS[index], exponent: binary_exponent(power_of_ten) };
        if exponent + power.exponent + 64 >= EXPONENT_MIN {
            return (power, power_of_ten);
        }
        index += 1;
    }
}

/// The exponent of 10^k when its significand has 64 bits: k × log2(10), rounded down, less 63.
fn binary_exponent(power_of_ten: i32) -> i32 {
    ((power_of_ten * 217_706) >> 16) - 63
}

const FIRST_POWER: i32 = -348;
const POWER_STEP: i32 = 8;

/// The upper 64 bits, rounded, of 10^-348, 10^-340 and so on to 10^340.
const POWERS: [u64; 87] = [
    0xfa8f_d5a0_081c_0288,
    0xbaae_e17f_a23e_bf76,
    0x8b16_fb20_3055_ac76,
    0xcf42_894a_5dce_35ea,
    0x9a6b_b0aa_5565_3b2d,
    0xe61a_cf03_3d1a_45df,
    0xab70_fe17_c79a_c6ca,
    0xff77_b1fc_bebc_dc4f,
    0xbe56_91ef_416b_d60c,
    0x8dd0_1fad_907f_fc3c,
    0xd351_5c28_3155_9a83,
    0x9d71_ac8f_ada6_c9b5,
    0xea9c_2277_23ee_8bcb,
    0xaecc_4991_4078_536d,
    0x823c_1279_5db6_ce57,
    0xc210_9436_4dfb_5637,
    0x9096_ea6f_3848_984f,
    0xd774_85cb_2582_3ac7,
    0xa086_cfcd_97bf_97f4,
    0xef34_0a98_172a_ace5,
    0xb238_67fb_2a35_b28e,
    0x84c8_d4df_d2c6_3f3b,
    0xc5dd_4427_1ad3_cdba,
    0x936b_9fce_bb25_c996,
    0xdbac_6c24_7d62_a584,
    0xa3ab_6658_0d5f_daf6,
    0xf3e2_f893_dec3_f126,
    0xb5b5_ada8_aaff_80b8,
    0x8762_5f05_6c7c_4a8b,
    0xc9bc_ff60_34c1_3053,
    0x964e_858c_91ba_2655,
    0xdff9_7724_7029_7ebd,
    0xa6df_bd9f_b8e5_b88f,
    0xf8a9_5fcf_8874_7d94,
    0xb944_7093_8fa8_9bcf,
    0x8a08_f0f8_bf0f_156b,
    0xcdb0_2555_6531_31b6,
    0x993f_e2c6_d07b_7fac,
    0xe45c_10c4_2a2b_3b06,
    0xaa24_2499_6973_92d3,
    0xfd87_b5f2_8300_ca0e,
    0xbce5_0864_9211_1aeb,
    0x8cbc_cc09_6f50_88cc,
    0xd1b7_1758_e219_652c,
    0x9c40_0000_0000_0000,
    0xe8d4_a510_0000_0000,
    0xad78_ebc5_ac62_0000,
    0x813f_3978_f894_0984,
    0xc097_ce7b_c907_15b3,
    0x8f7e_32ce_7bea_5c70,
    0xd5d2_38a4_abe9_8068,
    0x9f4f_2726_179a_2245,
    0xed63_a231_d4c4_fb27,
    0xb0de_6538_8cc8_ada8,
    0x83c7_088e_1aab_65db,
    0xc45d_1df9_4271_1d9a,
    0x924d_692c_a61b_e758,
    0xda01_ee64_1a70_8dea,
    0xa26d_a399_9aef_774a,
    0xf209_787b_b47d_6b85,
    0xb454_e4a1_79dd_1877,
    0x865b_8692_5b9b_c5c2,
    0xc835_53c5_c896_5d3d,
    0x952a_b45c_fa97_a0b3,
    0xde46_9fbd_99a0_5fe3,
    0xa59b_c234_db39_8c25,
    0xf6c6_9a72_a398_9f5c,
    0xb7dc_bf53_54e9_bece,
    0x88fc_f317_f222_41e2,
    0xcc20_ce9b_d35c_78a5,
    0x9816_5af3_7b21_53df,
    0xe2a0_b5dc_971f_303a,
    0xa8d9_d153_5ce3_b396,
    0xfb9b_7cd9_a4a7_443c,
    0xbb76_4c4c_a7a4_4410,
    0x8bab_8eef_b640_9c1a,
    0xd01f_ef10_a657_842c,
    0x9b10_a4e5_e991_3129,
    0xe710_9bfb_a19c_0c9d,
    0xac28_20d9_623b_f429,
    0x8044_4b5e_7aa7_cf85,
    0xbf21_e440_03ac_dd2d,
    0x8e67_9c2f_5e44_ff8f,
    0xd433_179d_9c8c_b841,
    0x9e19_db92_b4e3_1ba9,
    0xeb96_bf6e_badf_77d9,
    0xaf87_023b_9bf0_ee6b,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wide::Wide;

    #[test]
    fn powers_are_rounded_right() {
        let step = if cfg!(miri) { 20 } else { 1 };
        for (index, &significand) in POWERS.iter().enumerate().step_by(step) {
            let power_of_ten = FIRST_POWER + POWER_STEP * index as i32;
            let mut ten_pow = Wide::from_digits(&[1]);
            ten_pow.multiply_ten_pow(power_of_ten.unsigned_abs());
            let mut dividend = Wide::from_digits(&[1]);
            // One bit more than the table has, to round by.
            let lift = 1 - binary_exponent(power_of_ten);
            let (quotient, _) = if power_of_ten < 0 {
                dividend.shift_left(lift as u32);
                dividend.divide(ten_pow)
            } else {
                if lift < 0 {
                    dividend.shift_left(-lift as u32);
                } else {
                    ten_pow.shift_left(lift as u32);
                }
                ten_pow.divide(dividend)
            };
            assert_eq!((quotient + 1) >> 1, u128::from(significand), "10^{power_of_ten}");
        }
    }

    #[test]
    fn every_exponent_has_its_power() {
        for exponent in (-1137..=960).step_by(if cfg!(miri) { 30 } else { 1 }) {
            let (power, _) = power_for(exponent);
            assert!((-60..=-32).contains(&(exponent + power.exponent + 64)), "{exponent}");
        }
    }
}
