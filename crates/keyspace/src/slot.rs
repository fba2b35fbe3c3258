//! Slots: the 16,384 parts that all keys fall into, by Redis Cluster's rule.

/// One of the cluster's hash slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub u16);

/// How many slots there are.
pub const SLOTS: usize = 16_384;

impl SlotId {
    /// The slot of a key: CRC16 of the key, or of its hashtag where it has one.
    #[inline]
    pub fn of_key(key: &[u8]) -> Self {
        Self(crc16(hashtag(key)) % SLOTS as u16)
    }

    #[inline]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What lies between the first `{` and the next `}`, if that is not empty; else the whole key.
#[inline]
fn hashtag(key: &[u8]) -> &[u8] {
    if has_brace(key) { tag_in(key) } else { key }
}

/// Whether there is a `{`, eight bytes a step: every key is looked at, and next to none has one.
#[inline]
fn has_brace(key: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const BRACES: u64 = u64::from_ne_bytes([b'{'; 8]);
    let (words, rest) = key.as_chunks::<8>();
    let found = words.iter().fold(0, |found, word| {
        // A byte that is zero now was a brace; the subtraction borrows into its top bit.
        let zeroed = u64::from_ne_bytes(*word) ^ BRACES;
        found | (zeroed.wrapping_sub(ONES) & !zeroed & (ONES << 7))
    });
    found != 0 || rest.contains(&b'{')
}

#[cold]
fn tag_in(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|&byte| byte == b'}') {
        Some(close) if close > 0 => &rest[..close],
        _ => key,
    }
}

/// `CRC_TABLES[k][b]` is the effect of byte `b` with `k` more bytes behind it.
static CRC_TABLES: [[u16; 256]; 8] = crc_tables();

const fn crc_tables() -> [[u16; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut behind = 1;
    while behind < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[behind - 1][byte];
            tables[behind][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        behind += 1;
    }
    tables
}

/// CRC16 in its XMODEM form (polynomial 0x1021, start 0), eight bytes a step.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0_u16;
    let (steps, rest) = bytes.as_chunks::<8>();
    for step in steps {
        crc = CRC_TABLES[7][usize::from(step[0] ^ (crc >> 8) as u8)]
            ^ CRC_TABLES[6][usize::from(step[1] ^ crc as u8)]
            ^ CRC_TABLES[5][usize::from(step[2])]
            ^ CRC_TABLES[4][usize::from(step[3])]
            ^ CRC_TABLES[3][usize::from(step[4])]
            ^ CRC_TABLES[2][usize::from(step[5])]
            ^ CRC_TABLES[1][usize::from(step[6])]
            ^ CRC_TABLES[0][usize::from(step[7])];
    }
    for &byte in rest {
        crc = (crc << 8) ^ CRC_TABLES[0][usize::from((crc >> 8) as u8 ^ byte)];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc16_by_bit(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            })
        })
    }

    #[test]
    fn crc_is_the_specifications() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        let bytes: Vec<u8> = (0..=255).collect();
        for from in 0..40 {
            for to in from..256 {
                assert_eq!(crc16(&bytes[from..to]), crc16_by_bit(&bytes[from..to]));
            }
        }
    }

    #[test]
    fn hashtags_bring_keys_together() {
        assert_eq!(SlotId::of_key(b"foo"), SlotId(12182));
        assert_eq!(SlotId::of_key(b"{user1000}.following"), SlotId::of_key(b"user1000"));
        assert_eq!(hashtag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hashtag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hashtag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hashtag(b"foo{bar"), b"foo{bar");
    }
}
