//! Output: what a session's requests are answered, what comes unasked, and what waits for the disk.
//!
//! Not here: holes for replies of other shards (`replies`), sending (`server`).

use std::mem;

use basalt_resp::{Payloads, Protocol, Reply, append_reply};
use bytes::Bytes;

use super::Session;
use super::bounds::BufferBounds;
use super::replies::{ReplyAt, ReplyQueue};
use crate::limits;

/// Output that waits for the disk.
pub(super) struct HeldOutput {
    /// The turn that must be released first.
    turn: u64,
    bytes: Vec<u8>,
    payloads: Payloads,
}

impl Session {
    /// Where the next reply is written.
    #[inline]
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        if self.queue.is_empty() { &mut self.out } else { &mut self.queue.tail }
    }

    /// The next reply, of which long parts may be shared.
    #[inline]
    pub(crate) fn reply(&mut self) -> Reply<'_> {
        if self.queue.is_empty() {
            Reply::sharing(&mut self.out, &mut self.payloads, self.protocol)
        } else {
            let ReplyQueue { tail, tail_payloads, .. } = &mut self.queue;
            Reply::sharing(tail, tail_payloads, self.protocol)
        }
    }

    /// Writes a push, encoded for RESP3 as far as its payload: behind all that is answered, and behind what is being
    /// answered, so that a client never sees a change before a reply that does not know of it.
    pub(crate) fn push(&mut self, encoded: &[u8], payload: Option<&Bytes>) {
        let is_held = self.coordination.is_some() && !self.is_waiting;
        let has_no_holes = self.queue.is_empty();
        let ReplyQueue { tail, tail_payloads, .. } = &mut self.queue;
        let (out, payloads) = match has_no_holes {
            _ if is_held => (&mut self.held_pushes, None),
            true => (&mut self.out, Some(&mut self.payloads)),
            false => (tail, Some(tail_payloads)),
        };
        let at = out.len();
        out.extend_from_slice(encoded);
        if self.protocol == Protocol::Resp2 {
            out[at] = b'*';
        }
        if let Some(payload) = payload {
            match payloads {
                Some(payloads) => payloads.push(out.len(), payload.clone()),
                None => out.extend_from_slice(payload),
            }
            out.extend_from_slice(b"\r\n");
        }
    }

    /// What was answered is written: pushes that came meanwhile follow. Returns whether there were some.
    pub(crate) fn release_pushes(&mut self) -> bool {
        let held = mem::take(&mut self.held_pushes);
        self.output().extend_from_slice(&held);
        self.settle_told_all();
        !held.is_empty()
    }

    /// Takes back the last replies: what was written since the output was so long.
    pub(crate) fn take_back(&mut self, len: usize) {
        self.reply().rewind(len);
    }

    /// Takes the last reply out, whole: what was written since the output was so long. None if that is nothing.
    pub(crate) fn cut_reply(&mut self, start: usize) -> Option<Vec<u8>> {
        let ReplyQueue { tail, tail_payloads, .. } = &self.queue;
        let (out, payloads) = match self.queue.is_empty() {
            true => (&self.out, &self.payloads),
            false => (tail, tail_payloads),
        };
        let bytes = out.get(start..).filter(|bytes| !bytes.is_empty())?;
        let mut own = Payloads::default();
        own.share(payloads, start..out.len(), 0);
        let reply = own.join(bytes);
        self.take_back(start);
        Some(reply)
    }

    /// All output that is not sent.
    pub(crate) fn output_bytes(&self) -> usize {
        let held = self.held_bytes + self.held_pushes.len() + self.unsent;
        self.out.len() + self.payloads.bytes() + held + self.queue.bytes()
    }

    /// Puts a reply of another shard into its place.
    #[inline]
    pub(crate) fn fill_hole(&mut self, hole: u32, reply: ReplyAt<'_>) {
        self.queue.fill(hole, reply, (&mut self.out, &mut self.payloads));
        self.adjust_hole_limit(reply.end - reply.start);
    }

    /// Has its buffers keep to the bounds of this turn.
    #[inline]
    pub(crate) fn follow_bounds(&mut self, bounds: BufferBounds) {
        self.output_bound = bounds.output_bytes;
        self.hole_limit = self.hole_limit.min(bounds.holes);
    }

    /// Lets it have more holes while replies from others are small, and fewer as soon as one is large.
    #[inline]
    fn adjust_hole_limit(&mut self, reply_bytes: usize) {
        let room = limits::OUTPUT_PAUSE_BYTES.min(self.output_bound);
        let fitting = room / reply_bytes.max(1);
        let next = fitting.min(self.hole_limit + 1);
        self.hole_limit = next.clamp(limits::HOLES_MIN, limits::HOLES_MAX);
    }

    /// Puts its output aside until a turn is released.
    pub(crate) fn hold(&mut self, turn: u64) {
        let (bytes, payloads) = (mem::take(&mut self.out), mem::take(&mut self.payloads));
        self.held_bytes += bytes.len() + payloads.bytes();
        self.held.push_back(HeldOutput { turn, bytes, payloads });
    }

    /// Whether output of it was put aside.
    pub(crate) fn is_held_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// The turn that the first output which was put aside waits for.
    pub(crate) fn first_held(&self) -> Option<u64> {
        self.held.front().map(|held| held.turn)
    }

    /// What was put aside and may leave, as much as goes into one send.
    pub(crate) fn take_held(&mut self, released: u64) -> Option<(Vec<u8>, Payloads)> {
        let HeldOutput { mut bytes, payloads, .. } = self.held.pop_front()?;
        while payloads.is_empty()
            && let Some(next) = self.held.front()
            && next.turn <= released
            && next.payloads.is_empty()
        {
            append_reply(&mut bytes, &next.bytes);
            self.held.pop_front();
        }
        self.held_bytes -= bytes.len() + payloads.bytes();
        Some((bytes, payloads))
    }

    /// Whether its output leaves room for the reply of another request.
    #[inline]
    pub(crate) fn may_answer(&self) -> bool {
        self.output_bytes() <= self.output_bound
    }

    /// The output that requests of its own shard add to.
    #[inline]
    pub(crate) fn written_bytes(&self) -> usize {
        let payloads = self.payloads.bytes() + self.queue.tail_payloads.bytes();
        self.out.len() + self.queue.tail.len() + payloads
    }

    /// How much [`Session::written_bytes`] may be before the next request has to wait; it stays so as long as
    /// nothing is sent and no hole is filled. Only where it [may answer](Session::may_answer).
    pub(crate) fn output_room(&self) -> usize {
        self.output_bound + self.written_bytes() - self.output_bytes()
    }

    /// Whether its backlog is full, so that it is worked whatever the output is.
    pub(crate) fn is_overfilled(&self, bounds: BufferBounds) -> bool {
        bounds.may_overfill && self.input.len() >= bounds.backlog_bytes
    }

    /// Sets how much output the requests of its backlog may make before they have to wait: where the backlog is
    /// full, some more than there is.
    pub(crate) fn set_output_bound(&mut self, bounds: BufferBounds) {
        let own = if self.is_overfilled(bounds) { self.output_bytes() } else { 0 };
        self.output_bound = own + bounds.output_bytes;
    }
}
