//! Bits: reading, writing, counting and finding them in bytes.

use std::ops::RangeInclusive;

use basalt_keyspace::count_ones;

/// The maximum number of bytes that a field of 64 bits overlaps.
pub(super) const FIELD_BYTES_MAX: usize = 9;

/// Whether the bit at `offset` is set; false beyond the end.
pub(super) fn bit(bytes: &[u8], offset: u64) -> bool {
    let byte = usize::try_from(offset / 8).ok().and_then(|at| bytes.get(at));
    byte.is_some_and(|byte| byte & mask(offset) != 0)
}

/// The bit of an offset within its byte.
pub(super) fn mask(offset: u64) -> u8 {
    0x80 >> (offset % 8)
}

/// The number of set bits in a range, which must be within the bytes.
pub(super) fn count(bytes: &[u8], range: &RangeInclusive<u64>) -> u64 {
    let (start, end) = (*range.start(), *range.end());
    let whole = &bytes[(start / 8) as usize..=(end / 8) as usize];
    let (first, last) = (whole[0], whole[whole.len() - 1]);
    let before = first & !(0xFF >> (start % 8));
    let behind = last & (0x7F >> (end % 8));
    count_ones(whole) - u64::from(before.count_ones() + behind.count_ones())
}

/// The first bit of a range, which must be within the bytes, that is `wanted`.
pub(super) fn find(bytes: &[u8], wanted: bool, range: &RangeInclusive<u64>) -> Option<u64> {
    let (start, end) = (*range.start(), *range.end());
    let (first, last) = ((start / 8) as usize, (end / 8) as usize);
    // A byte without a wanted bit; the bits that differ from it are the wanted ones.
    let dull = if wanted { 0x00 } else { 0xFF };
    let head = (bytes[first] ^ dull) & (0xFF >> (start % 8));
    let (at, byte) = if head != 0 {
        (first, head)
    } else {
        let at = first + 1 + first_other(&bytes[first + 1..=last], dull)?;
        (at, bytes[at] ^ dull)
    };
    let found = at as u64 * 8 + u64::from(byte.leading_zeros());
    (found <= end).then_some(found)
}

/// The index of the first byte that is not `dull`.
fn first_other(bytes: &[u8], dull: u8) -> Option<usize> {
    const BLOCK: usize = 64;
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    let is_dull = |block: &[u8; BLOCK]| block.iter().fold(0, |all, byte| all | (byte ^ dull)) == 0;
    let from = blocks.iter().take_while(|block| is_dull(block)).count() * BLOCK;
    Some(from + bytes[from..].iter().position(|byte| *byte != dull)?)
}

/// The position of up to 64 bits in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub offset: u64,
    pub bits: u32,
}

impl Field {
    /// The first byte that the field overlaps.
    pub(super) fn first_byte(self) -> usize {
        (self.offset / 8) as usize
    }

    /// The last byte that the field overlaps.
    pub(super) fn last_byte(self) -> usize {
        ((self.offset + u64::from(self.bits) - 1) / 8) as usize
    }

    /// How far the field's bits are from the end of its bytes, taken as one number.
    fn shift(self) -> u32 {
        7 - ((self.offset + u64::from(self.bits) - 1) % 8) as u32
    }

    fn mask(self) -> u128 {
        (1 << self.bits) - 1
    }

    /// The bytes that the field overlaps, as one number. Bytes beyond the end of `text` are 0.
    fn around(self, text: &[u8]) -> u128 {
        (self.first_byte()..=self.last_byte())
            .fold(0, |number, at| number << 8 | u128::from(text.get(at).copied().unwrap_or(0)))
    }

    /// The field's bits, as an unsigned number.
    pub(super) fn read(self, text: &[u8]) -> u64 {
        ((self.around(text) >> self.shift()) & self.mask()) as u64
    }

    /// The bytes that the field overlaps, with its bits replaced by the lowest ones of `value`.
    pub(super) fn written(
        self,
        text: &[u8],
        value: u64,
        buffer: &mut [u8; FIELD_BYTES_MAX],
    ) -> usize {
        let len = self.last_byte() - self.first_byte() + 1;
        let mask = self.mask() << self.shift();
        let number = self.around(text) & !mask | (u128::from(value) << self.shift()) & mask;
        buffer[..len].copy_from_slice(&number.to_be_bytes()[16 - len..]);
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain_bits(bytes: &[u8]) -> Vec<bool> {
        (0..bytes.len() as u64 * 8).map(|offset| bit(bytes, offset)).collect()
    }

    #[test]
    fn ranges_are_counted_and_searched_as_bit_by_bit() {
        let mut texts =
            vec![vec![0; 200], vec![0xFF; 200], (0..200).map(|n: u8| n.wrapping_mul(37)).collect()];
        for text in &mut texts.clone() {
            text[150] ^= 0x10;
            texts.push(text.clone());
        }
        let edges = [0, 1, 7, 8, 9, 63, 64, 500, 1000, 1202, 1203, 1204, 1592, 1598, 1599];
        for text in &texts {
            let bits = plain_bits(text);
            for start in edges {
                for end in edges.into_iter().filter(|end| *end >= start) {
                    let part = &bits[start..=end];
                    let range = start as u64..=end as u64;
                    assert_eq!(
                        count(text, &range),
                        part.iter().filter(|bit| **bit).count() as u64,
                        "{range:?}"
                    );
                    for wanted in [false, true] {
                        let found = part.iter().position(|bit| *bit == wanted);
                        let found = found.map(|at| (start + at) as u64);
                        assert_eq!(find(text, wanted, &range), found, "{wanted} in {range:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn fields_are_read_and_written_at_any_place() {
        let text: Vec<u8> = (0..20).map(|n: u8| n.wrapping_mul(83) ^ 0x5A).collect();
        for bits in [1, 2, 5, 7, 8, 9, 31, 32, 33, 63, 64] {
            for offset in (0..80).chain([150, 159, 160, 200]) {
                let field = Field { offset, bits };
                let of = |text: &[u8]| {
                    (0..u64::from(bits))
                        .fold(0, |value, at| value << 1 | u64::from(bit(text, offset + at)))
                };
                assert_eq!(field.read(&text), of(&text), "{field:?}");
                let mut buffer = [0; FIELD_BYTES_MAX];
                let value = 0xDEAD_BEEF_1234_5678;
                let len = field.written(&text, value, &mut buffer);
                let mut changed = text.clone();
                changed.resize(changed.len().max(field.last_byte() + 1), 0);
                changed[field.first_byte()..][..len].copy_from_slice(&buffer[..len]);
                assert_eq!(of(&changed), value & (u64::MAX >> (64 - bits)), "{field:?}");
                for at in (0..200).filter(|at| !(offset..offset + u64::from(bits)).contains(at)) {
                    assert_eq!(bit(&changed, at), bit(&text, at), "{field:?} spares {at}");
                }
            }
        }
    }
}
