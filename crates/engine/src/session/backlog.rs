//! Backlog: input that could not be worked yet, and how the socket is to be read because of it.

use basalt_keyspace::{LongString, OutOfMemory};
use basalt_resp::Partial;

use super::bounds::BufferBounds;
use super::{Reading, Session};
use crate::limits;

/// Input that could not be worked yet.
#[derive(Default)]
pub(crate) struct Backlog {
    pub bytes: Vec<u8>,
    /// Where the first request that is not worked starts.
    pub start: usize,
    /// How many bytes must be there before it is worth looking again.
    pub need: usize,
    pub partial: Option<Box<Partial>>,
    /// Large arguments of the first request: they lie apart, so that they can become values as they are.
    pub large: Vec<LongString>,
    /// How much of the last of these has still to come.
    pub large_left: usize,
    /// The length of the last one when it was lent to the server, which receives into it.
    lent: Option<usize>,
}

impl Backlog {
    pub(crate) fn len(&self) -> usize {
        let large: usize = self.large.iter().map(|large| large.len()).sum();
        self.bytes.len() - self.start + large + self.lent.unwrap_or(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.len() == self.start && self.large.is_empty() && self.lent.is_none()
    }

    /// Whether a whole request may be there.
    pub(crate) fn may_have_request(&self) -> bool {
        !self.is_empty() && self.large_left == 0 && self.bytes.len() - self.start >= self.need
    }

    /// Whether a large argument is lent to the server just now.
    pub(super) fn is_lent(&self) -> bool {
        self.lent.is_some()
    }

    /// Adds what has arrived. Errs where there is no memory for it.
    pub(crate) fn append(&mut self, mut more: &[u8]) -> Result<(), OutOfMemory> {
        if self.large_left > 0
            && let Some(large) = self.large.last_mut()
        {
            let part;
            (part, more) = more.split_at(self.large_left.min(more.len()));
            large.try_reserve(part.len(), large.len() + self.large_left)?;
            large.push(part);
            self.large_left -= part.len();
        }
        if self.start > 0 && self.start * 2 >= self.bytes.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }

    /// Has a large argument that is arriving lie apart from now on, if there is one.
    pub(crate) fn take_apart(&mut self) -> Result<(), OutOfMemory> {
        let Some(partial) = &mut self.partial else { return Ok(()) };
        let Some((start, len)) = partial.large_bulk() else { return Ok(()) };
        let start = self.start + start;
        let arrived = start..start + len.min(self.bytes.len() - start);
        let mut large = LongString::default();
        large.try_reserve(arrived.len(), len)?;
        large.push(&self.bytes[arrived.clone()]);
        self.large_left = len - arrived.len();
        self.large.push(large);
        self.bytes.drain(arrived);
        self.bytes.shrink_to(limits::BUFFER_KEPT_BYTES);
        self.need = partial.take_apart();
        Ok(())
    }

    /// Takes the large argument that is arriving out, with room for what comes next; None if there is none. Errs
    /// where there is no memory for it.
    pub(crate) fn lend_large(&mut self) -> Result<Option<LongString>, OutOfMemory> {
        if self.large_left == 0 || self.lent.is_some() {
            return Ok(None);
        }
        let Some(mut large) = self.large.pop() else { return Ok(None) };
        let (left, len) = (self.large_left, large.len());
        let reserved = large.try_reserve(left.min(limits::DIRECT_RECEIVE_BYTES_MAX), len + left);
        if reserved.is_err() {
            self.large.push(large);
            return reserved.map(|()| None);
        }
        self.lent = Some(len);
        Ok(Some(large))
    }

    /// Takes back what [`Self::lend_large`] lent. Returns by how much it has grown.
    pub(crate) fn take_back_large(&mut self, large: LongString) -> usize {
        let Some(len) = self.lent.take() else { return 0 };
        let grown = large.len() - len;
        self.large_left = self.large_left.checked_sub(grown).expect("no more than was asked for");
        self.large.push(large);
        grown
    }

    pub(crate) fn clear(&mut self) {
        if self.bytes.capacity() > limits::BUFFER_KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.large.clear();
        (self.start, self.need, self.large_left) = (0, 0, 0);
        (self.partial, self.lent) = (None, None);
    }

    /// The bytes of the large arguments of its first request that have arrived, and how many that will be.
    pub(super) fn large_bytes(&self) -> (usize, usize) {
        let arrived = self.large.iter().map(LongString::heap_bytes).sum::<usize>();
        let arrived = arrived + self.lent.unwrap_or(0);
        (arrived, arrived + self.large_left)
    }

    /// The bytes of its buffers.
    pub(super) fn heap_bytes(&self) -> usize {
        let large: usize = self.large.iter().map(LongString::heap_bytes).sum();
        self.bytes.capacity() + large + self.lent.unwrap_or(0)
    }
}

impl Session {
    /// How its socket should be read.
    pub(super) fn wanted_reading(&self, bounds: BufferBounds) -> Reading {
        let input = &self.input;
        let is_full = input.len() >= bounds.backlog_bytes && input.may_have_request();
        if self.is_closing || self.input_ended || is_full {
            return Reading::Paused;
        }
        // One that is received directly stays so to its end.
        let direct_min = if self.reading == Reading::Direct { 1 } else { limits::DIRECT_BYTES_MIN };
        if input.large_left >= direct_min { Reading::Direct } else { bounds.reading }
    }

    /// Whether the request that has begun to arrive, with those that MULTI keeps, takes more than this.
    pub(crate) fn is_request_over(&self, bytes: u64) -> bool {
        let queued = self.multi.as_ref().map_or(0, |multi| multi.bytes);
        !self.input.may_have_request() && (self.input.len() + queued) as u64 > bytes
    }

    /// Whether its backlog may hold a whole request.
    pub(crate) fn has_work(&self) -> bool {
        self.input.may_have_request()
    }
}
