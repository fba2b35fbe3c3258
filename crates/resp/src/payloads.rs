//! Payloads: long parts of an output that are sent from where they lie.
//!
//! An output is bytes, and payloads that belong between them. Nothing here is copied but counts of references.
//!
//! Not here: what is long enough for that (`keyspace`), how it is sent (`server`).

use std::ops::Range;

use bytes::Bytes;

/// Long parts of an output, each with the place of the byte before which it belongs, in order.
#[derive(Debug, Default)]
pub struct Payloads {
    list: Vec<(usize, Bytes)>,
    bytes: usize,
}

impl Payloads {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All their bytes together.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn list(&self) -> &[(usize, Bytes)] {
        &self.list
    }

    /// Adds one before the byte that comes at `at`, which is behind all that are there.
    pub fn push(&mut self, at: usize, payload: Bytes) {
        debug_assert!(self.list.last().is_none_or(|(before, _)| *before < at), "they are in order");
        self.bytes += payload.len();
        self.list.push((at, payload));
    }

    /// Drops those behind the first `len` bytes of the output.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        while let Some((at, payload)) = self.list.last()
            && *at > len
        {
            self.bytes -= payload.len();
            self.list.pop();
        }
    }

    #[inline]
    pub fn clear(&mut self) {
        self.list.clear();
        self.bytes = 0;
    }

    /// Moves those at or behind `from` by so many bytes.
    pub fn shift(&mut self, from: usize, by: usize) {
        self.list.iter_mut().filter(|(at, _)| *at >= from).for_each(|(at, _)| *at += by);
    }

    /// Shares those in a range of another output, whose bytes come to `at` here.
    #[inline]
    pub fn share(&mut self, other: &Self, range: Range<usize>, at: usize) {
        if other.is_empty() {
            return;
        }
        let within = other.list.iter().filter(|(place, _)| range.contains(place));
        for (place, payload) in within {
            self.push(at + place - range.start, payload.clone());
        }
    }

    /// Drops those before the byte at `len`, and counts places from there.
    pub fn drop_before(&mut self, len: usize) {
        self.list.retain(|(at, _)| *at >= len);
        self.list.iter_mut().for_each(|(at, _)| *at -= len);
        self.bytes = self.list.iter().map(|(_, payload)| payload.len()).sum();
    }

    /// The whole output, for those who want it in one piece.
    pub fn join(&self, bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::with_capacity(bytes.len() + self.bytes);
        let mut from = 0;
        for (at, payload) in &self.list {
            all.extend_from_slice(&bytes[from..*at]);
            all.extend_from_slice(payload);
            from = *at;
        }
        all.extend_from_slice(&bytes[from..]);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Protocol, Reply};

    fn payload(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn an_output_is_the_same_with_and_without() {
        let write = |reply: &mut Reply<'_>| {
            let outer = reply.deferred_array();
            reply.shared_bulk(payload("first"));
            (0..12).for_each(|_| reply.integer(1));
            let end = reply.position();
            reply.shared_bulk(payload("taken back"));
            reply.rewind(end);
            reply.shared_bulk(payload("last"));
            reply.finish_array(outer, 14);
        };
        let (mut copied, mut out, mut payloads) = (Vec::new(), Vec::new(), Payloads::default());
        write(&mut Reply::new(&mut copied, Protocol::Resp2));
        write(&mut Reply::sharing(&mut out, &mut payloads, Protocol::Resp2));
        assert_eq!(payloads.bytes(), "firstlast".len());
        assert_eq!(payloads.join(&out), copied);
        let (mut part, mut shared) = (b"before".to_vec(), Payloads::default());
        shared.share(&payloads, 5..out.len(), part.len());
        part.extend_from_slice(&out[5..]);
        assert_eq!(shared.join(&part), [&b"before"[..], &copied[5..]].concat());
        shared.drop_before(6);
        assert_eq!(shared.join(&part[6..]), copied[5..]);
    }
}
