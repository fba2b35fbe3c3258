//! Replies: in the order of the requests.
//!
//! While a reply is awaited from another shard its place is a *hole*; what is answered meanwhile gathers behind it.

use std::collections::VecDeque;

use basalt_resp::{Payloads, append_reply};

use crate::limits;

/// Replies that wait for earlier ones.
#[derive(Default)]
pub(crate) struct ReplyQueue {
    holes: VecDeque<Hole>,
    /// The number of the first hole.
    first: u32,
    /// What was answered behind the first hole; each hole knows where in it its reply belongs.
    pub(super) tail: Vec<u8>,
    pub(super) tail_payloads: Payloads,
    /// How much of it is in the output already.
    moved: usize,
    /// Replies that came before those of earlier holes.
    early: Vec<u8>,
    early_payloads: Payloads,
}

/// A reply in the output of another: some of its bytes, with the payloads among them.
#[derive(Clone, Copy)]
pub(crate) struct ReplyAt<'a> {
    pub output: &'a [u8],
    pub payloads: &'a Payloads,
    pub start: usize,
    pub end: usize,
}

impl ReplyAt<'_> {
    #[inline]
    fn copy_to(self, out: &mut Vec<u8>, payloads: &mut Payloads) {
        let bytes = &self.output[self.start..self.end];
        if self.payloads.is_empty() && out.capacity() - out.len() >= bytes.len() {
            out.extend_from_slice(bytes);
        } else {
            self.copy_growing(out, payloads);
        }
    }

    #[cold]
    #[inline(never)]
    fn copy_growing(self, out: &mut Vec<u8>, payloads: &mut Payloads) {
        let (at, bytes) = (out.len(), &self.output[self.start..self.end]);
        append_reply(out, bytes);
        // Unless an error stands in its place.
        if out.len() - at == bytes.len() {
            payloads.share(self.payloads, self.start..self.end, at);
        }
    }
}

struct Hole {
    at: usize,
    /// Where its reply lies in `early`, once it is there.
    filled: Option<(usize, usize)>,
}

impl ReplyQueue {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.holes.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.holes.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        let payloads = self.tail_payloads.bytes() + self.early_payloads.bytes();
        self.tail.len() - self.moved + self.early.len() + payloads
    }

    /// The bytes of its buffers.
    pub(super) fn heap_bytes(&self) -> usize {
        let payloads = self.tail_payloads.bytes() + self.early_payloads.bytes();
        let holes = self.holes.capacity() * size_of::<Hole>();
        self.tail.capacity() + self.early.capacity() + holes + payloads
    }

    /// The number of the hole that is opened next.
    pub(crate) fn next_hole(&self) -> u32 {
        self.first.wrapping_add(self.holes.len() as u32)
    }

    /// Whether no hole from before this one is open.
    pub(crate) fn holes_since(&self, hole: u32) -> bool {
        self.first.wrapping_sub(hole) < u32::MAX / 2
    }

    /// Keeps a place for a reply that another shard will give.
    pub(crate) fn open_hole(&mut self) -> u32 {
        self.holes.push_back(Hole { at: self.tail.len(), filled: None });
        self.first.wrapping_add(self.holes.len() as u32 - 1)
    }

    /// Puts a reply into its place, and into `out` with its payloads all that is in order now.
    pub(crate) fn fill(
        &mut self,
        hole: u32,
        reply: ReplyAt<'_>,
        (out, payloads): (&mut Vec<u8>, &mut Payloads),
    ) {
        let index = hole.wrapping_sub(self.first) as usize;
        if index > 0 {
            let start = self.early.len();
            reply.copy_to(&mut self.early, &mut self.early_payloads);
            self.holes[index].filled = Some((start, self.early.len()));
            return;
        }
        let Self { tail, tail_payloads, early, early_payloads, .. } = self;
        let of_tail = |start, end| ReplyAt { output: tail, payloads: tail_payloads, start, end };
        let of_early = |start, end| ReplyAt { output: early, payloads: early_payloads, start, end };
        let mut reply = Some(reply);
        while let Some(first) = self.holes.front() {
            if self.moved < first.at {
                of_tail(self.moved, first.at).copy_to(out, payloads);
                self.moved = first.at;
            }
            match (reply.take(), first.filled) {
                (Some(reply), _) => reply.copy_to(out, payloads),
                (None, Some((start, end))) => of_early(start, end).copy_to(out, payloads),
                (None, None) => break,
            }
            self.holes.pop_front();
            self.first = self.first.wrapping_add(1);
        }
        if self.holes.is_empty() {
            of_tail(self.moved, tail.len()).copy_to(out, payloads);
            for bytes in [&mut self.tail, &mut self.early] {
                bytes.clear();
                if bytes.capacity() > limits::BUFFER_KEPT_BYTES {
                    *bytes = Vec::new();
                }
            }
            self.tail_payloads.clear();
            self.early_payloads.clear();
            self.moved = 0;
        } else if self.moved >= limits::BUFFER_KEPT_BYTES && self.moved * 2 >= self.tail.len()
            || !self.tail_payloads.is_empty()
        {
            self.tail.drain(..self.moved);
            self.tail_payloads.drop_before(self.moved);
            for hole in &mut self.holes {
                hole.at -= self.moved;
            }
            self.moved = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use basalt_resp::{Protocol, Reply};

    use super::*;

    /// Fills a hole with bytes alone.
    fn fill(queue: &mut ReplyQueue, hole: u32, reply: &[u8], out: &mut Vec<u8>) {
        let payloads = &Payloads::default();
        let reply = ReplyAt { output: reply, payloads, start: 0, end: reply.len() };
        queue.fill(hole, reply, (out, &mut Payloads::default()));
    }

    #[test]
    fn payloads_leave_with_their_replies() {
        let (mut queue, mut out, mut payloads) = <(ReplyQueue, Vec<u8>, Payloads)>::default();
        let bulk = |text: &'static str| {
            let (mut output, mut payloads) = (b"other".to_vec(), Payloads::default());
            let mut reply = Reply::sharing(&mut output, &mut payloads, Protocol::Resp2);
            reply.shared_bulk(text.into());
            (output, payloads)
        };
        let holes = [queue.open_hole(), queue.open_hole(), queue.open_hole()];
        let ReplyQueue { tail, tail_payloads, .. } = &mut queue;
        Reply::sharing(tail, tail_payloads, Protocol::Resp2).shared_bulk("fourth".into());
        let last = queue.open_hole();
        for (hole, text) in
            [(holes[2], "third"), (last, "fifth"), (holes[0], "first"), (holes[1], "second")]
        {
            let (output, among) = bulk(text);
            let reply = ReplyAt { output: &output, payloads: &among, start: 5, end: output.len() };
            queue.fill(hole, reply, (&mut out, &mut payloads));
        }
        assert!(queue.is_empty() && queue.bytes() == 0);
        let expected = ["first", "second", "third", "fourth", "fifth"]
            .map(|text| format!("${}\r\n{text}\r\n", text.len()));
        assert_eq!(payloads.join(&out), expected.concat().into_bytes());
    }

    #[test]
    fn replies_leave_in_the_order_of_requests() {
        let mut queue = ReplyQueue::default();
        let mut out = Vec::new();
        let first = queue.open_hole();
        queue.tail.extend_from_slice(b"b");
        let second = queue.open_hole();
        let third = queue.open_hole();
        queue.tail.extend_from_slice(b"e");
        fill(&mut queue, third, b"d", &mut out);
        assert!(out.is_empty());
        fill(&mut queue, first, b"a", &mut out);
        assert_eq!(out, b"ab");
        let fourth = queue.open_hole();
        fill(&mut queue, second, b"c", &mut out);
        assert_eq!(out, b"abcde");
        fill(&mut queue, fourth, b"f", &mut out);
        assert_eq!(out, b"abcdef");
        assert!(queue.is_empty() && queue.bytes() == 0);
        let again = queue.open_hole();
        fill(&mut queue, again, b"g", &mut out);
        assert_eq!(out, b"abcdefg");
    }

    #[test]
    fn a_queue_that_never_runs_empty_stays_small() {
        let mut queue = ReplyQueue::default();
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        let mut open = VecDeque::new();
        for number in 0..100_000_u32 {
            let hole = queue.open_hole();
            open.push_back((number, hole));
            queue.tail.extend_from_slice(format!("own {number}\n").as_bytes());
            if open.len() > 3 {
                let (filled, hole) = open.pop_front().expect("there are four");
                fill(&mut queue, hole, format!("other {filled}\n").as_bytes(), &mut out);
                expected.extend_from_slice(format!("other {filled}\nown {filled}\n").as_bytes());
                assert!(out == expected, "after {filled} holes");
                out.clear();
                expected.clear();
            }
            assert!(queue.bytes() < 100 && queue.tail.len() <= 3 * limits::BUFFER_KEPT_BYTES);
        }
    }
}
