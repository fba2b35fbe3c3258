//! Estimate: the number of elements, from the histogram of the registers.
//!
//! Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), as in
//! Redis' hyperloglog.c.

use super::registers::{RANK_BITS, REGISTERS};

const ALPHA: f64 = 0.721_347_520_444_481_7;

/// The estimated number of different elements.
pub(super) fn cardinality(counts: &[u32; 64]) -> u64 {
    let m = REGISTERS as f64;
    let highest = f64::from(counts[RANK_BITS as usize + 1]);
    let mut z = m * tau((m - highest) / m);
    for count in counts[1..=RANK_BITS as usize].iter().rev() {
        z = (z + f64::from(*count)) * 0.5;
    }
    z += m * sigma(f64::from(counts[0]) / m);
    (ALPHA * m * m / z).round() as u64
}

/// The contribution of registers with 0 (sigma in the paper).
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z <= before {
            return z;
        }
    }
}

/// The correction for registers of the highest rank (tau in the paper).
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::hyperloglog::registers::{Plain, histogram_of, place_of};

    #[test]
    fn estimates_lie_within_the_known_error() {
        let mut plain: Plain = [0; REGISTERS];
        assert_eq!(cardinality(&histogram_of(&plain)), 0);
        let mut next = 10;
        for number in 1..=200_000_u64 {
            let (index, rank) = place_of(&number.to_le_bytes());
            plain[index] = plain[index].max(rank);
            if number == next {
                let error = cardinality(&histogram_of(&plain)).abs_diff(number) as f64;
                // Three times the standard error of 1.04 / sqrt(16384).
                assert!(error <= 0.025 * number as f64 + 1.0, "{error} of {number}");
                next = next * 3 / 2;
            }
        }
    }

    #[test]
    fn full_registers_give_a_number() {
        let highest = [RANK_BITS as u8 + 1; REGISTERS];
        assert!(cardinality(&histogram_of(&highest)) > 1 << 60);
    }
}
