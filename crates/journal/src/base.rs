//! Base: all keys of a shard at one moment, as frames.

use crate::{FileHeader, FileKind, Frame, put_open_records, put_records, put_state};

/// LIMIT: bytes of records in a frame.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Makes the bytes of a base.
#[derive(Debug)]
pub struct BaseWriter {
    header: FileHeader,
    position: u64,
}

impl BaseWriter {
    /// The base that belongs to the journal with this header.
    pub fn new(journal: FileHeader) -> Self {
        Self { header: FileHeader { kind: FileKind::Base, ..journal }, position: 0 }
    }

    pub fn header(&self) -> FileHeader {
        self.header
    }

    /// Appends frames with these records, if there are any.
    pub fn put(&mut self, records: &[u8], out: &mut Vec<u8>) {
        let mut rest = records;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(BODY_BYTES_MAX));
            rest = after;
            let mut body = Vec::with_capacity(part.len() + 16);
            match rest {
                [] => put_records(&mut body, part, false),
                [_, ..] => put_open_records(&mut body, part, false),
            }
            self.put_frame(&body, Vec::new(), out);
        }
    }

    /// Appends a frame with what the server holds beside keys.
    pub fn put_state(&mut self, state: &[u8], out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(state.len() + 16);
        put_state(&mut body, state);
        self.put_frame(&body, Vec::new(), out);
    }

    /// Appends the frame that ends it: a cut there says that it is whole.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        let end = vec![self.position; usize::from(self.header.shards)];
        self.put_frame(&[], vec![end], out);
    }

    fn put_frame(&mut self, body: &[u8], cuts: Vec<Vec<u64>>, out: &mut Vec<u8>) {
        let (position, clock_ms) = (self.position, self.header.created_ms);
        let frame = Frame { position, synced_to: 0, clock_ms, cuts, body };
        frame.encode(&self.header, out);
        self.position = frame.end();
    }
}
