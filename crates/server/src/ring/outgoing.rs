//! Outgoing: an output on its way, piece by piece.
//!
//! Bytes and the payloads between them leave in turn, each from where it lies; they stay until the kernel is done
//! with all.

use basalt_resp::Payloads;

pub(super) struct Outgoing {
    bytes: Vec<u8>,
    payloads: Payloads,
    /// How many of the bytes are sent.
    at: usize,
    /// How many payloads are sent, and how much of the next.
    payload: usize,
    within: usize,
}

impl Outgoing {
    pub(super) fn new(bytes: Vec<u8>, payloads: Payloads) -> Self {
        Self { bytes, payloads, at: 0, payload: 0, within: 0 }
    }

    /// What is to be sent next, up to where something else begins; empty once all is sent.
    pub(super) fn piece(&self) -> &[u8] {
        match self.payloads.list().get(self.payload) {
            Some((at, payload)) if *at == self.at => &payload[self.within..],
            Some((at, _)) => &self.bytes[self.at..*at],
            None => &self.bytes[self.at..],
        }
    }

    /// Whether nothing comes behind the next piece.
    pub(super) fn is_last(&self) -> bool {
        self.payload == self.payloads.list().len()
    }

    /// So much of the next piece is sent.
    pub(super) fn advance(&mut self, len: usize) {
        match self.payloads.list().get(self.payload) {
            Some((at, payload)) if *at == self.at => {
                self.within += len;
                if self.within == payload.len() {
                    (self.payload, self.within) = (self.payload + 1, 0);
                }
            }
            _ => self.at += len,
        }
    }

    /// The buffer of the bytes, and how long the whole output was.
    pub(super) fn into_spare(self) -> (Vec<u8>, usize) {
        let len = self.bytes.len() + self.payloads.bytes();
        (self.bytes, len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_resp::{Protocol, Reply};

    #[test]
    fn all_of_it_leaves_however_it_is_cut() {
        for step in 1..20 {
            let (mut bytes, mut payloads) = (Vec::new(), Payloads::default());
            let mut reply = Reply::sharing(&mut bytes, &mut payloads, Protocol::Resp2);
            reply.ok();
            reply.shared_bulk("a long one".into());
            reply.shared_bulk("another".into());
            let expected = payloads.join(&bytes);
            let mut outgoing = Outgoing::new(bytes, payloads);
            let mut sent = Vec::new();
            while !outgoing.piece().is_empty() {
                let len = outgoing.piece().len().min(step);
                sent.extend_from_slice(&outgoing.piece()[..len]);
                outgoing.advance(len);
            }
            assert!(outgoing.is_last() && sent == expected);
            assert_eq!(outgoing.into_spare().1, expected.len());
        }
    }
}
