//! Lzf: the compression of long strings, as in LibLZF: runs of literals and references backwards.

use crate::error::{Error, Result};

/// A reference of three bytes gives at most so many: its length has 3 bits and a byte.
const REFERENCE_BYTES_MAX: usize = 7 + 255 + 2;
const LITERALS_MAX: usize = 32;
const DISTANCE_MAX: usize = 1 << 13;
const TABLE_BITS_MAX: u32 = 14;

/// Decompresses into `out`, which must come out `len` bytes long.
///
/// # Errors
/// [`Error::Malformed`] if the input is not valid, or gives another number of bytes. A length that
/// no input of this size can give is refused before anything is allocated.
pub(crate) fn decompress(input: &[u8], len: usize, out: &mut Vec<u8>) -> Result<()> {
    const WRONG: Error = Error::Malformed("a compressed string is damaged");
    if len / REFERENCE_BYTES_MAX > input.len() / 3 + 1 {
        return Err(WRONG);
    }
    out.clear();
    out.try_reserve_exact(len).map_err(|_| Error::Malformed("not enough memory for a string"))?;
    let mut input = input.iter();
    while let Some(control) = input.next() {
        let control = usize::from(*control);
        if control < LITERALS_MAX {
            let (literals, rest) = input.as_slice().split_at_checked(control + 1).ok_or(WRONG)?;
            if out.len() + literals.len() > len {
                return Err(WRONG);
            }
            out.extend_from_slice(literals);
            input = rest.iter();
            continue;
        }
        let mut count = control >> 5;
        if count == 7 {
            count += usize::from(*input.next().ok_or(WRONG)?);
        }
        count += 2;
        let distance = ((control & 0x1F) << 8 | usize::from(*input.next().ok_or(WRONG)?)) + 1;
        let from = out.len().checked_sub(distance).ok_or(WRONG)?;
        if out.len() + count > len {
            return Err(WRONG);
        }
        if distance >= count {
            out.extend_from_within(from..from + count);
        } else {
            (from..from + count).for_each(|at| out.push(out[at]));
        }
    }
    if out.len() == len { Ok(()) } else { Err(WRONG) }
}

/// Compresses; keeps its table between two strings.
#[derive(Debug, Default)]
pub(crate) struct Compressor {
    /// By the hash of three bytes: where they were last, counted over all strings, from 1 on.
    table: Vec<u32>,
    /// How many bytes came before this string.
    base: u32,
}

impl Compressor {
    /// Appends the compressed input to `out` if that is at least 4 bytes shorter; returns whether
    /// it did.
    pub(crate) fn compress(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(most) = input.len().checked_sub(4) else { return false };
        if u32::try_from(input.len()).is_err() {
            return false;
        }
        self.prepare(input.len());
        let start = out.len();
        let (mut at, mut literals) = (0, 0);
        let bits = self.table.len().trailing_zeros();
        while at + 3 <= input.len() {
            let three = u32::from_be_bytes([0, input[at], input[at + 1], input[at + 2]]);
            let cell = &mut self.table[(three.wrapping_mul(0x9E37_79B1) >> (32 - bits)) as usize];
            let here = self.base + at as u32 + 1;
            let before = std::mem::replace(cell, here);
            let from = before.checked_sub(self.base + 1).map(|from| from as usize);
            let from = from.filter(|from| {
                at - from <= DISTANCE_MAX && input[*from..from + 3] == input[at..at + 3]
            });
            let Some(from) = from else {
                at += 1;
                continue;
            };
            let longest = (input.len() - at).min(REFERENCE_BYTES_MAX);
            let same = |offset: &usize| input[from + offset] == input[at + offset];
            let count = (3..longest).take_while(same).count() + 3;
            put_literals(out, &input[literals..at]);
            let (code, distance) = (count - 2, at - from - 1);
            let high = (distance >> 8) as u8;
            if code < 7 {
                out.push((code as u8) << 5 | high);
            } else {
                out.extend([7 << 5 | high, (code - 7) as u8]);
            }
            out.push(distance as u8);
            at += count;
            literals = at;
            if out.len() - start > most {
                break;
            }
        }
        put_literals(out, &input[literals.min(input.len())..]);
        self.base += input.len() as u32 + 1;
        if out.len() - start > most {
            out.truncate(start);
            return false;
        }
        true
    }

    /// Gives the table a size that suits a string of this length, and makes room for its positions.
    fn prepare(&mut self, len: usize) {
        let bits = (len.max(64).ilog2() + 1).min(TABLE_BITS_MAX);
        if self.table.len() < 1 << bits {
            self.table = vec![0; 1 << bits];
            self.base = 0;
        } else if self.base.checked_add(len as u32 + 2).is_none() {
            self.table.fill(0);
            self.base = 0;
        }
    }
}

fn put_literals(out: &mut Vec<u8>, literals: &[u8]) {
    for run in literals.chunks(LITERALS_MAX) {
        out.push((run.len() - 1) as u8);
        out.extend_from_slice(run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn back(compressed: &[u8], len: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        decompress(compressed, len, &mut out).map(|()| out)
    }

    #[test]
    fn repeated_bytes_shrink_and_random_ones_are_left_alone() {
        let mut compressor = Compressor::default();
        for input in [vec![b'a'; 1000], b"abcabcabcabcabcabcabcabcabcabc".to_vec(), vec![0; 70_000]]
        {
            let mut out = b"before".to_vec();
            assert!(compressor.compress(&input, &mut out));
            assert!(out.len() < input.len() / 2);
            assert_eq!(back(&out[6..], input.len()), Ok(input));
        }
        let different: Vec<u8> = (0..=255).collect();
        let mut out = Vec::new();
        assert!(!compressor.compress(&different, &mut out) && out.is_empty());
    }

    #[test]
    fn a_length_beyond_what_the_input_can_give_is_refused() {
        assert!(back(&[0, b'a', 0xE0, 0xFF, 0], usize::MAX / 2).is_err());
        assert!(back(&[0, b'a'], 2).is_err());
        assert!(back(&[0xE0, 0xFF, 0], 264).is_err());
        assert!(back(&[5, b'a'], 6).is_err());
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(
            strings in prop::collection::vec(prop::collection::vec(0_u8..3, 0..600), 1..6)
        ) {
            let mut compressor = Compressor::default();
            for input in strings {
                let mut out = Vec::new();
                if compressor.compress(&input, &mut out) {
                    prop_assert!(out.len() + 4 <= input.len());
                    prop_assert_eq!(back(&out, input.len()), Ok(input));
                }
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(input in prop::collection::vec(any::<u8>(), 0..60), len in 0_usize..5000) {
            let _ = back(&input, len);
        }
    }
}
