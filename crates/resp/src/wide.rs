//! Unsigned integers of any size, with the operations that long doubles need.

use std::cmp::Ordering;
use std::fmt;

/// Limbs of 32 bits, the lowest first, without zeros at the top.
pub(crate) struct Wide {
    words: Vec<u32>,
}

impl From<u64> for Wide {
    fn from(value: u64) -> Wide {
        let mut wide = Wide { words: vec![value as u32, (value >> 32) as u32] };
        wide.trim();
        wide
    }
}

impl Wide {
    /// From decimal digits (values, not characters), the highest first.
    pub(crate) fn from_digits(digits: &[u8]) -> Wide {
        let mut wide = Wide { words: Vec::with_capacity(digits.len() / 9 + 1) };
        for chunk in digits.chunks(9) {
            let value = chunk.iter().fold(0, |sum, &digit| sum * 10 + u32::from(digit));
            wide.multiply_add(10u32.pow(chunk.len() as u32), value);
        }
        wide
    }

    pub(crate) fn multiply_ten_pow(&mut self, exponent: u32) {
        for _ in 0..exponent / 9 {
            self.multiply_add(10u32.pow(9), 0);
        }
        self.multiply_add(10u32.pow(exponent % 9), 0);
    }

    fn multiply_add(&mut self, factor: u32, addend: u32) {
        let mut carry = u64::from(addend);
        for word in &mut self.words {
            carry += u64::from(*word) * u64::from(factor);
            *word = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.words.push(carry as u32);
        }
    }

    pub(crate) fn shift_left(&mut self, bits: u32) {
        if !bits.is_multiple_of(32) {
            self.multiply_add(1 << (bits % 32), 0);
        }
        let empty_words = (bits / 32) as usize;
        self.words.splice(0..0, std::iter::repeat_n(0, empty_words));
    }

    fn shift_right_one(&mut self) {
        let mut carry = 0;
        for word in self.words.iter_mut().rev() {
            let low = *word & 1;
            *word = *word >> 1 | carry << 31;
            carry = low;
        }
        self.trim();
    }

    pub(crate) fn bits(&self) -> u32 {
        match self.words.last() {
            Some(top) => self.words.len() as u32 * 32 - top.leading_zeros(),
            None => 0,
        }
    }

    /// The highest 128 bits at most, the number of bits below, and whether one of those is set (the
    /// sticky bit).
    pub(crate) fn top(&self) -> (u128, u32, bool) {
        let below = self.words.len().saturating_sub(4);
        let top = self.words[below..].iter().rev();
        let top = top.fold(0, |sum, &word| sum << 32 | u128::from(word));
        (top, below as u32 * 32, self.words[..below].iter().any(|&word| word != 0))
    }

    /// The quotient, which must be below 2^128, and whether there is a remainder.
    pub(crate) fn divide(mut self, mut divisor: Wide) -> (u128, bool) {
        let steps = (self.bits() + 1).saturating_sub(divisor.bits());
        assert!(steps <= 128, "the quotient has {steps} bits: scale the dividend before");
        divisor.shift_left(steps.saturating_sub(1));
        let mut quotient = 0;
        for _ in 0..steps {
            quotient <<= 1;
            if self.compare(&divisor).is_ge() {
                self.subtract(&divisor);
                quotient |= 1;
            }
            divisor.shift_right_one();
        }
        (quotient, !self.words.is_empty())
    }

    fn compare(&self, other: &Wide) -> Ordering {
        let lengths = self.words.len().cmp(&other.words.len());
        lengths.then_with(|| self.words.iter().rev().cmp(other.words.iter().rev()))
    }

    fn subtract(&mut self, other: &Wide) {
        let mut borrow = false;
        for (index, word) in self.words.iter_mut().enumerate() {
            let subtrahend = other.words.get(index).copied().unwrap_or(0);
            (*word, borrow) = word.borrowing_sub(subtrahend, borrow);
        }
        assert!(!borrow, "the subtrahend was greater");
        self.trim();
    }

    fn trim(&mut self) {
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    fn divide_small(&mut self, divisor: u32) -> u32 {
        let mut rest = 0;
        for word in self.words.iter_mut().rev() {
            let dividend = rest << 32 | u64::from(*word);
            *word = (dividend / u64::from(divisor)) as u32;
            rest = dividend % u64::from(divisor);
        }
        self.trim();
        rest as u32
    }
}

impl fmt::Display for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = Wide { words: self.words.clone() };
        let mut groups = Vec::with_capacity(self.words.len() + self.words.len() / 9 + 1);
        while !rest.words.is_empty() {
            groups.push(rest.divide_small(10u32.pow(9)));
        }
        write!(f, "{}", groups.pop().unwrap_or(0))?;
        groups.iter().rev().try_for_each(|group| write!(f, "{group:09}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(text: &str) -> Wide {
        Wide::from_digits(&text.bytes().map(|byte| byte - b'0').collect::<Vec<_>>())
    }

    #[test]
    fn decimal_there_and_back() {
        for text in
            ["0", "7", "1000000000", "4294967296", "18446744073709551616", &"9876543210".repeat(40)]
        {
            assert_eq!(wide(text).to_string(), text);
        }
        assert_eq!(Wide::from(u64::MAX).to_string(), u64::MAX.to_string());
        assert_eq!(Wide::from(0).to_string(), "0");
    }

    #[test]
    fn quotients() {
        for (a, b) in [
            (1u128 << 127, 3u128),
            (u128::MAX, 1),
            (u128::MAX, u128::MAX),
            (5, 7),
            (0, 9),
            (u128::MAX, 1 << 64),
            ((1 << 96) - 1, 1 << 32),
            (10u128.pow(38), 10u128.pow(19)),
            (10u128.pow(38) + 1, 10u128.pow(19)),
        ] {
            let (quotient, more) = wide(&a.to_string()).divide(wide(&b.to_string()));
            assert_eq!((quotient, more), (a / b, a % b != 0), "{a} / {b}");
        }
    }

    #[test]
    fn shifts_and_tops() {
        let mut value = Wide::from(5);
        value.shift_left(200);
        assert_eq!(value.bits(), 203);
        let (top, below, more) = value.top();
        assert_eq!((top, below, more), (5 << 104, 96, false));
        value.multiply_add(1, 1);
        assert_eq!(value.top(), (5 << 104, 96, true));
        assert_eq!(Wide::from(0).bits(), 0);
    }
}
