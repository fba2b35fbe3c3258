//! Crc64: the checksum of RDB files and DUMP payloads (polynomial of Jones, reflected).

use crc::{CRC_64_REDIS, Crc, Digest, Table};

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// A checksum that grows with what is fed to it.
#[derive(Clone)]
pub struct Checksum(Digest<'static, u64, Table<16>>);

impl Default for Checksum {
    fn default() -> Self {
        Self(CRC.digest())
    }
}

impl Checksum {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn value(&self) -> u64 {
        self.0.clone().finalize()
    }

    /// The checksum of some bytes.
    pub fn of(bytes: &[u8]) -> u64 {
        CRC.checksum(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value in Redis' `crc64.c`.
    #[test]
    fn it_is_that_of_redis() {
        assert_eq!(Checksum::of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        let mut parts = Checksum::default();
        parts.update(b"1234");
        parts.update(b"56789");
        assert_eq!(parts.value(), Checksum::of(b"123456789"));
        assert_eq!(Checksum::of(b""), 0);
    }
}
