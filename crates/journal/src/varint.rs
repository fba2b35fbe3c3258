//! Varint: numbers of 7 bits a byte, the lowest first (LEB128).

use crate::Malformed;

pub(crate) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the front of `input`.
pub(crate) fn take(input: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first().ok_or(Malformed)?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if bits.leading_zeros() < shift && bits << shift >> shift != bits {
            return Err(Malformed);
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Malformed)
}

/// Takes so many bytes from the front of `input`.
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8], len: u64) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(len).map_err(|_| Malformed)?;
    let (bytes, rest) = input.split_at_checked(len).ok_or(Malformed)?;
    *input = rest;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in (0..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1, u64::MAX]) {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            assert!(bytes.len() <= 10);
            let mut input = bytes.as_slice();
            assert_eq!(take(&mut input), Ok(number));
            assert!(input.is_empty());
            for len in 0..bytes.len() {
                assert_eq!(take(&mut &bytes[..len]), Err(Malformed));
            }
        }
        assert_eq!(take(&mut &[0xff; 11][..]), Err(Malformed));
        let mut too_large = vec![0xff; 9];
        too_large.push(2);
        assert_eq!(take(&mut too_large.as_slice()), Err(Malformed));
    }
}
