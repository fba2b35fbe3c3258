//! Scan: reads a file from its start to the last frame that can be trusted.
//!
//! What does not fit at the end of a file was being written when the machine went down: a torn tail, which is cut
//! off. Where a frame behind it shows that the place had been on disk before, it is damage, and refused.
//!
//! LIMIT: frames are read into one buffer, as long as the longest frame.

use std::fmt::{self, Display};
use std::ops::Range;

use crate::entry::Entries;
use crate::{
    FRAME_HEADER_BYTES, FileHeader, FileKind, Frame, FrameHead, HEADER_BYTES, HeaderError,
};

/// How much is read at a time where a frame is looked for behind damage.
const SEARCH_BYTES: usize = 1 << 20;

/// A file's bytes, wherever they are.
pub trait Blob {
    type Error;
    fn len(&self) -> u64;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Fills `out` with what lies at `at`; it is all there.
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), Self::Error>;
}

impl<B: Blob + ?Sized> Blob for &B {
    type Error = B::Error;
    fn len(&self) -> u64 {
        B::len(self)
    }
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), B::Error> {
        B::read_at(self, at, out)
    }
}

impl Blob for [u8] {
    type Error = std::convert::Infallible;
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }
    fn read_at(&self, at: u64, out: &mut [u8]) -> Result<(), Self::Error> {
        out.copy_from_slice(&self[at as usize..][..out.len()]);
        Ok(())
    }
}

/// Bytes that were on disk are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file.
    pub offset: u64,
}

impl Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "it is damaged at offset {}, before data that is whole", self.offset)
    }
}

/// Why a file can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanError<E> {
    Read(E),
    Header(HeaderError),
    Damage(Damage),
}

impl<E: Display> Display for ScanError<E> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(out),
            Self::Header(error) => error.fmt(out),
            Self::Damage(damage) => damage.fmt(out),
        }
    }
}

/// What lies behind the last frame that can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Where in the file it begins.
    pub offset: u64,
    pub bytes: u64,
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    pub header: FileHeader,
    /// The position behind the last frame.
    pub end: u64,
    /// Where records begin whose last part is not there.
    pub open_from: Option<u64>,
    /// How many frames it has.
    pub frames: u64,
    /// Entries that need a cut, from position to position; what touches is one.
    pub ties: Vec<Range<u64>>,
    pub cuts: Vec<Vec<u64>>,
    /// The moment of the last frame, milliseconds since 1970.
    pub clock_ms: u64,
    pub tail: Tail,
}

/// The frames of a file, one after the other.
#[derive(Debug)]
pub struct Frames<B: Blob> {
    blob: B,
    pub header: FileHeader,
    /// Where in the file the next frame begins.
    pub offset: u64,
    /// At which position its body must begin.
    pub position: u64,
    buffer: Vec<u8>,
}

impl<B: Blob> Frames<B> {
    /// Begins behind the header of a file whose first entry is at this position.
    ///
    /// # Errors
    /// Where the header can't be read, or is refused.
    pub fn of(blob: B, position: u64) -> Result<Self, ScanError<B::Error>> {
        let mut bytes = [0; HEADER_BYTES];
        let len = blob.len().min(HEADER_BYTES as u64) as usize;
        blob.read_at(0, &mut bytes[..len]).map_err(ScanError::Read)?;
        let header = FileHeader::decode(&bytes[..len]).map_err(ScanError::Header)?;
        Ok(Self { blob, header, offset: HEADER_BYTES as u64, position, buffer: Vec::new() })
    }

    /// The next frame; `None` where none follows that is whole.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, B::Error> {
        let Some(head) = self.head_at(self.offset)? else { return Ok(None) };
        if head.position != self.position || !self.load(self.offset, head)? {
            return Ok(None);
        }
        let Ok(frame) = Frame::decode(head, &self.header, &self.buffer) else { return Ok(None) };
        if Entries::of(frame.body).any(|entry| entry.is_err()) {
            return Ok(None);
        }
        self.offset += head.frame_bytes();
        self.position = frame.end();
        Ok(Some(frame))
    }

    fn head_at(&self, offset: u64) -> Result<Option<FrameHead>, B::Error> {
        if self.blob.len().saturating_sub(offset) < FRAME_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut bytes = [0; FRAME_HEADER_BYTES];
        self.blob.read_at(offset, &mut bytes)?;
        Ok(FrameHead::decode(&bytes))
    }

    /// Reads a frame's payload into the buffer. False where it is not there, or not as it was written.
    fn load(&mut self, offset: u64, head: FrameHead) -> Result<bool, B::Error> {
        if head.frame_bytes() > self.blob.len().saturating_sub(offset) {
            return Ok(false);
        }
        self.buffer.resize(head.len as usize, 0);
        self.blob.read_at(offset + FRAME_HEADER_BYTES as u64, &mut self.buffer)?;
        Ok(head.fits(self.header.salt, &self.buffer))
    }

    /// Whether a whole frame behind the place where [`Frames::next_frame`] found none shows that this
    /// place was on disk.
    fn was_synced(&mut self) -> Result<bool, B::Error> {
        let len = self.blob.len();
        let mut window = Vec::new();
        // The first frame of a file may be whole, and one of the file before it be missing.
        let is_first = self.offset == HEADER_BYTES as u64;
        let mut at = self.offset + u64::from(!is_first);
        while at + FRAME_HEADER_BYTES as u64 <= len {
            window.resize((len - at).min(SEARCH_BYTES as u64) as usize, 0);
            self.blob.read_at(at, &mut window)?;
            let places = window.len() + 1 - FRAME_HEADER_BYTES;
            for place in 0..places {
                let head = FrameHead::decode(&window[place..]).expect("a head is in the window");
                // Bodies are no longer than the bytes that they lie in.
                let ahead = head.position.checked_sub(self.position);
                let offset = at + place as u64;
                let is_near = |ahead: u64| ahead <= len - self.offset || offset == self.offset;
                if !ahead.is_some_and(is_near) {
                    continue;
                }
                if self.load(offset, head)?
                    && let Ok(frame) = Frame::decode(head, &self.header, &self.buffer)
                    && frame.synced_to > self.position
                {
                    return Ok(true);
                }
            }
            at += places as u64;
        }
        Ok(false)
    }
}

/// Reads a file whose first entry is at `start` to its end, and checks all of it.
///
/// # Errors
/// Where it can't be read, is not ours, or is damaged before what is whole. A base is whole or refused.
pub fn scan<B: Blob + ?Sized>(blob: &B, start: u64) -> Result<Scan, ScanError<B::Error>> {
    let mut frames = Frames::of(blob, start)?;
    let header = frames.header;
    let mut scan = Scan {
        header,
        end: start,
        open_from: None,
        frames: 0,
        ties: Vec::new(),
        cuts: Vec::new(),
        clock_ms: header.created_ms,
        tail: Tail::default(),
    };
    while let Some(frame) = frames.next_frame().map_err(ScanError::Read)? {
        scan.end = frame.end();
        scan.frames += 1;
        scan.note_entries(&frame);
        scan.clock_ms = scan.clock_ms.max(frame.clock_ms);
        scan.cuts.extend(frame.cuts);
    }
    scan.tail = Tail { offset: frames.offset, bytes: blob.len() - frames.offset };
    let is_damaged = match header.kind {
        // Its last frame is a cut at its end, written when all else was.
        FileKind::Base => scan.tail.bytes > 0 || scan.cuts.last().is_none(),
        FileKind::Journal => frames.was_synced().map_err(ScanError::Read)?,
    };
    if is_damaged {
        return Err(ScanError::Damage(Damage { offset: scan.tail.offset }));
    }
    Ok(scan)
}

impl Scan {
    /// The position behind the last entry that needs none behind it.
    pub fn whole_to(&self) -> u64 {
        self.open_from.unwrap_or(self.end)
    }

    /// Goes on with the file behind this one, which was scanned from the end of this.
    pub fn append(&mut self, next: Self) {
        let Self { header, end, open_from, frames, ties, cuts, clock_ms, tail } = next;
        (self.header, self.end, self.tail) = (header, end, tail);
        self.open_from = if frames > 0 { open_from } else { self.open_from };
        self.frames += frames;
        self.ties.extend(ties);
        self.cuts.extend(cuts);
        self.clock_ms = self.clock_ms.max(clock_ms);
    }

    /// Notes which entries of a frame are tied, and which need more.
    fn note_entries(&mut self, frame: &Frame<'_>) {
        let mut entries = Entries::of(frame.body);
        let mut start = frame.position;
        while let Some(Ok(entry)) = entries.next() {
            let end = frame.end() - entries.left();
            match self.ties.last_mut() {
                _ if !entry.is_tied() => {}
                Some(last) if last.end == start => last.end = end,
                _ => self.ties.push(start..end),
            }
            self.open_from = entry.is_open().then(|| self.open_from.unwrap_or(start));
            start = end;
        }
    }
}
