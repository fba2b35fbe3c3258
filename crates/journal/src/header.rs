//! Header: the first bytes of each file, which say what it is.
//!
//! ```text
//! 0   magic "BSLT-JRN"   8   version u16   10  kind u8, 0   12  shard u16   14  shards u16
//! 16  generation u64     24  salt u32      28  created_ms u64               36  crc32c u32 of the 36 before
//! ```
//!
//! The salt is random: a frame's checksum begins with it, so that bytes of an older file that a crash left in
//! the same blocks are no frames of this one.

use std::fmt::{self, Display};

use crate::VERSION;

const MAGIC: [u8; 8] = *b"BSLT-JRN";

/// The length of a header.
pub const HEADER_BYTES: usize = 40;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// All keys of a shard at one moment.
    Base,
    /// What changed since.
    Journal,
}

/// The first bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    pub version: u16,
    pub kind: FileKind,
    /// Whose file it is, and how many shards there were.
    pub shard: u16,
    pub shards: u16,
    pub generation: u64,
    pub salt: u32,
    /// Milliseconds since 1970.
    pub created_ms: u64,
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Fewer bytes than a header has.
    Short,
    /// Another program's file.
    Foreign,
    /// Written by a newer version, which this is.
    Newer(u16),
    /// The checksum, or a field, is wrong.
    Damaged,
}

impl Display for HeaderError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(out, "it is shorter than a journal's header"),
            Self::Foreign => write!(out, "it is no journal of this program"),
            Self::Newer(version) => write!(
                out,
                "its format is version {version}, and this server knows up to {VERSION}: start a newer server"
            ),
            Self::Damaged => write!(out, "its header is damaged"),
        }
    }
}

impl FileHeader {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let kind = match self.kind {
            FileKind::Base => 0_u8,
            FileKind::Journal => 1,
        };
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.version.to_le_bytes());
        bytes[10] = kind;
        bytes[12..14].copy_from_slice(&self.shard.to_le_bytes());
        bytes[14..16].copy_from_slice(&self.shards.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.salt.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.created_ms.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..36]);
        bytes[36..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a file's first bytes.
    ///
    /// # Errors
    /// [`HeaderError`] says which: too short, another program's, newer, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        if !bytes.starts_with(&MAGIC[..bytes.len().min(8)]) {
            return Err(HeaderError::Foreign);
        }
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(HeaderError::Short)?;
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        let crc = u32::from_le_bytes(field(bytes, 36));
        let is_whole = crc32c::crc32c(&bytes[..36]) == crc;
        if is_whole && version > VERSION {
            return Err(HeaderError::Newer(version));
        }
        let kind = match bytes[10] {
            0 => FileKind::Base,
            1 => FileKind::Journal,
            _ => return Err(HeaderError::Damaged),
        };
        let shard = u16::from_le_bytes(field(bytes, 12));
        let shards = u16::from_le_bytes(field(bytes, 14));
        if !is_whole || version == 0 || bytes[11] != 0 || shard >= shards {
            return Err(HeaderError::Damaged);
        }
        Ok(Self {
            version,
            kind,
            shard,
            shards,
            generation: u64::from_le_bytes(field(bytes, 16)),
            salt: u32::from_le_bytes(field(bytes, 24)),
            created_ms: u64::from_le_bytes(field(bytes, 28)),
        })
    }
}

fn field<const LEN: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; LEN] {
    *bytes[at..].first_chunk().expect("fields lie within a header")
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const SAMPLE: FileHeader = FileHeader {
        version: VERSION,
        kind: FileKind::Journal,
        shard: 1,
        shards: 4,
        generation: 7,
        salt: 0x0102_0304,
        created_ms: 1_700_000_000_000,
    };

    #[test]
    fn every_byte_of_a_header_counts() {
        let bytes = SAMPLE.encode();
        assert_eq!(FileHeader::decode(&bytes), Ok(SAMPLE));
        for at in 0..HEADER_BYTES {
            for bit in 0..8 {
                let mut bytes = bytes;
                bytes[at] ^= 1 << bit;
                let expected = if at < 8 { HeaderError::Foreign } else { HeaderError::Damaged };
                assert_eq!(FileHeader::decode(&bytes), Err(expected), "byte {at}");
            }
            assert_eq!(FileHeader::decode(&bytes[..at]), Err(HeaderError::Short));
        }
        let newer = FileHeader { version: VERSION + 1, ..SAMPLE }.encode();
        assert_eq!(FileHeader::decode(&newer), Err(HeaderError::Newer(VERSION + 1)));
        assert_eq!(FileHeader::decode(b"REDIS0011"), Err(HeaderError::Foreign));
    }
}
