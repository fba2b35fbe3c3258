//! Entry: what a frame's body consists of.
//!
//! `kind u8 · length varint · bytes`. Positions count these bytes, heads and all. All kinds but plain records are
//! *tied*: they, and what stands behind them, are kept only if a cut covers them.
//!
//! Records that are longer than a frame go on in the next entry: they count only with all of them, so that a crash
//! between two frames leaves nothing of them.

use crate::{Malformed, varint};

const RECORDS: u8 = 1;
const TIED_RECORDS: u8 = 2;
const STATE: u8 = 3;
const TIE: u8 = 4;
const OPEN_RECORDS: u8 = 5;
const TIED_OPEN_RECORDS: u8 = 6;

/// An entry of a frame's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Records of the keyspace, one after the other. Where they are open, the next entry has more of them.
    Records { bytes: &'a [u8], is_tied: bool, is_open: bool },
    /// A change of what the server holds beside keys (function libraries).
    State(&'a [u8]),
    /// A transaction over shards was decided here: nothing to replay.
    Tie,
}

impl Entry<'_> {
    /// Whether it counts only with the entry behind it.
    pub fn is_open(&self) -> bool {
        matches!(self, Entry::Records { is_open: true, .. })
    }

    /// Whether it is kept only if a cut covers it.
    pub fn is_tied(&self) -> bool {
        !matches!(self, Entry::Records { is_tied: false, .. })
    }
}

/// Appends records, if there are any.
pub fn put_records(body: &mut Vec<u8>, records: &[u8], is_tied: bool) {
    if !records.is_empty() {
        put(body, if is_tied { TIED_RECORDS } else { RECORDS }, records);
    }
}

/// Appends a part of records that go on in the next entry, which is again one of records, as tied as this one.
pub fn put_open_records(body: &mut Vec<u8>, part: &[u8], is_tied: bool) {
    put(body, if is_tied { TIED_OPEN_RECORDS } else { OPEN_RECORDS }, part);
}

/// Appends a change of the server's state.
pub fn put_state(body: &mut Vec<u8>, state: &[u8]) {
    put(body, STATE, state);
}

/// Appends the mark of a transaction over shards.
pub fn put_tie(body: &mut Vec<u8>) {
    put(body, TIE, b"");
}

fn put(body: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    body.push(kind);
    varint::put(body, bytes.len() as u64);
    body.extend_from_slice(bytes);
}

/// The entries of a body, in order; after an error nothing more.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    pub fn of(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> u64 {
        self.rest.len() as u64
    }

    fn take(&mut self) -> Result<Entry<'a>, Malformed> {
        let mut rest = self.rest;
        let (&kind, after) = rest.split_first().ok_or(Malformed)?;
        rest = after;
        let len = varint::take(&mut rest)?;
        let bytes = varint::take_bytes(&mut rest, len)?;
        self.rest = rest;
        match kind {
            RECORDS | TIED_RECORDS | OPEN_RECORDS | TIED_OPEN_RECORDS => Ok(Entry::Records {
                bytes,
                is_tied: matches!(kind, TIED_RECORDS | TIED_OPEN_RECORDS),
                is_open: matches!(kind, OPEN_RECORDS | TIED_OPEN_RECORDS),
            }),
            STATE => Ok(Entry::State(bytes)),
            TIE => Ok(Entry::Tie),
            _ => Err(Malformed),
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.take();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_cut_ones_are_refused() {
        let mut body = Vec::new();
        put_records(&mut body, b"", true);
        put_records(&mut body, b"records", false);
        put_records(&mut body, b"tied", true);
        put_tie(&mut body);
        put_state(&mut body, b"library");
        put_open_records(&mut body, b"part", false);
        put_open_records(&mut body, b"", true);
        let entries: Vec<_> = Entries::of(&body).collect();
        let expected = [
            Entry::Records { bytes: b"records", is_tied: false, is_open: false },
            Entry::Records { bytes: b"tied", is_tied: true, is_open: false },
            Entry::Tie,
            Entry::State(b"library"),
            Entry::Records { bytes: b"part", is_tied: false, is_open: true },
            Entry::Records { bytes: b"", is_tied: true, is_open: true },
        ];
        assert_eq!(expected.map(|entry| entry.is_tied()), [false, true, true, true, false, true]);
        assert_eq!(expected.map(|entry| entry.is_open()), [false, false, false, false, true, true]);
        assert_eq!(entries, expected.map(Ok));
        for len in [1, 4, 8, 10, 14, 16, 18, body.len() - 1] {
            let last = Entries::of(&body[..len]).last();
            assert_eq!(last, Some(Err(Malformed)), "cut at {len}");
        }
        assert_eq!(Entries::of(&[9, 0]).next(), Some(Err(Malformed)));
    }
}
