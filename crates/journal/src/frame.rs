//! Frame: what one write appends: a body of entries, and what a recovery must know of it.
//!
//! ```text
//! 0  length u32 of the payload   4  crc32c u32 (of salt, bytes 0-4 and all from 8 on)   8  position u64
//! payload: unsynced · clock · cut count · cuts (a position per shard) · body              (varints)
//! ```
//!
//! `position` is where the body begins. `unsynced` is how much before it was not yet known to be on disk. `clock`
//! counts milliseconds since the file was created.

use crate::{FileHeader, Malformed, varint};

/// The length of what stands before a payload.
pub const FRAME_HEADER_BYTES: usize = 16;

/// A frame's head as bytes, before its checksum is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Of the payload.
    pub len: u32,
    crc: u32,
    /// Where the body begins.
    pub position: u64,
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Where the body begins.
    pub position: u64,
    /// All up to here was on disk when this frame was written.
    pub synced_to: u64,
    /// Milliseconds since 1970 when it was written.
    pub clock_ms: u64,
    /// Each a position per shard.
    pub cuts: Vec<Vec<u64>>,
    pub body: &'a [u8],
}

impl FrameHead {
    /// The head at the front of `bytes`; `None` where they are too few.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (len, rest) = bytes.split_first_chunk()?;
        let (crc, rest) = rest.split_first_chunk()?;
        let (position, _) = rest.split_first_chunk()?;
        Some(Self {
            len: u32::from_le_bytes(*len),
            crc: u32::from_le_bytes(*crc),
            position: u64::from_le_bytes(*position),
        })
    }

    /// The length of the whole frame.
    pub fn frame_bytes(&self) -> u64 {
        FRAME_HEADER_BYTES as u64 + u64::from(self.len)
    }

    fn checksum(&self, salt: u32, payload: &[u8]) -> u32 {
        let mut head = [0; 16];
        head[..4].copy_from_slice(&salt.to_le_bytes());
        head[4..8].copy_from_slice(&self.len.to_le_bytes());
        head[8..].copy_from_slice(&self.position.to_le_bytes());
        crc32c::crc32c_append(crc32c::crc32c(&head), payload)
    }

    /// Whether this payload belongs to the head, in a file of this salt.
    pub fn fits(&self, salt: u32, payload: &[u8]) -> bool {
        payload.len() == self.len as usize && self.checksum(salt, payload) == self.crc
    }
}

impl<'a> Frame<'a> {
    /// Where the body ends.
    pub fn end(&self) -> u64 {
        self.position + self.body.len() as u64
    }

    /// Appends the frame's bytes.
    ///
    /// # Panics
    /// If the payload is longer than 4 GiB; bodies are bounded long before.
    pub fn encode(&self, header: &FileHeader, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + FRAME_HEADER_BYTES, 0);
        varint::put(out, self.position - self.synced_to);
        varint::put(out, self.clock_ms.saturating_sub(header.created_ms));
        varint::put(out, self.cuts.len() as u64);
        for cut in &self.cuts {
            cut.iter().for_each(|position| varint::put(out, *position));
        }
        out.extend_from_slice(self.body);
        let len = out.len() - start - FRAME_HEADER_BYTES;
        let len = u32::try_from(len).expect("a frame is below 4 GiB");
        let mut head = FrameHead { len, crc: 0, position: self.position };
        head.crc = head.checksum(header.salt, &out[start + FRAME_HEADER_BYTES..]);
        out[start..start + 4].copy_from_slice(&head.len.to_le_bytes());
        out[start + 4..start + 8].copy_from_slice(&head.crc.to_le_bytes());
        out[start + 8..start + 16].copy_from_slice(&head.position.to_le_bytes());
    }

    /// Reads a payload whose checksum is right.
    ///
    /// # Errors
    /// [`Malformed`] where it was written so.
    pub fn decode(
        head: FrameHead,
        header: &FileHeader,
        mut payload: &'a [u8],
    ) -> Result<Self, Malformed> {
        let payload = &mut payload;
        let unsynced = varint::take(payload)?;
        let clock = varint::take(payload)?;
        let count = varint::take(payload)?;
        let mut cuts = Vec::new();
        for _ in 0..count {
            let positions = (0..header.shards).map(|_| varint::take(payload));
            cuts.push(positions.collect::<Result<Vec<u64>, Malformed>>()?);
        }
        let body = *payload;
        head.position.checked_add(body.len() as u64).ok_or(Malformed)?;
        Ok(Self {
            position: head.position,
            synced_to: head.position.checked_sub(unsynced).ok_or(Malformed)?,
            clock_ms: header.created_ms.checked_add(clock).ok_or(Malformed)?,
            cuts,
            body,
        })
    }
}
