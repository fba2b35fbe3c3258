//! Node: entries side by side in one run of bytes.
//!
//! ```text
//! names     count, then each name after its length        those of the node's first entry
//! entry     flags, ms, seq, [count], parts, size           oldest first
//!           ms: relative to the node's ID; seq: relative to the node's if ms is 0
//!           parts: each after its length; only the values if the names are the node's
//!           size: of the entry so far, to be read from its end
//! ```
//!
//! Numbers are varints, 7 bits per byte. A deleted entry keeps its bytes until the whole node is
//! deleted.
//!
//! Redis (t_stream.c) stores a node in a listpack and ends it at a size of that. `XTRIM ~` removes
//! whole nodes, so a node here computes the size of that listpack, and ends at the same entry.

use super::{StreamEntry, StreamId};

const DEAD: u8 = 1;
const SAME_NAMES: u8 = 2;

/// The size of an empty listpack.
const LISTPACK_FRAME: usize = 7;

#[derive(Clone, Debug)]
pub(super) struct Node {
    bytes: Vec<u8>,
    /// The offset of the first entry that is not deleted.
    head: u32,
    /// Of the listpack that Redis would have, without its two counts.
    listpack_bytes: u32,
    live: u32,
    dead: u32,
}

/// An entry's position in a node.
#[derive(Clone, Copy, Debug)]
struct Span {
    at: usize,
    end: usize,
}

impl Node {
    /// A node without entries, for a first entry whose names and values alternate in `parts`.
    pub(super) fn new<'a>(parts: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let mut bytes = Vec::new();
        let names = parts.step_by(2);
        let count = names.clone().count();
        put_number(&mut bytes, count as u64);
        let mut listpack_bytes = listpack_integer(count as i64) + listpack_integer(0);
        for name in names {
            put_part(&mut bytes, name);
            listpack_bytes += listpack_part(name);
        }
        let head = bytes.len() as u32;
        Self { bytes, head, listpack_bytes: saturated(listpack_bytes), live: 0, dead: 0 }
    }

    /// The number of entries that are not deleted.
    pub(super) fn live(&self) -> u64 {
        u64::from(self.live)
    }

    /// The number of entries, with deleted ones.
    pub(super) fn len(&self) -> u64 {
        u64::from(self.live) + u64::from(self.dead)
    }

    pub(super) fn listpack_bytes(&self) -> u64 {
        let counts =
            listpack_integer(i64::from(self.live)) + listpack_integer(i64::from(self.dead));
        (LISTPACK_FRAME + counts) as u64 + u64::from(self.listpack_bytes)
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The node's bytes; [`Node::from_bytes`] reads them.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends an entry, whose names and values alternate in `parts`. `first` is the node's ID.
    pub(super) fn add<'a>(
        &mut self,
        first: StreamId,
        id: StreamId,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
    ) {
        let same = self.names().eq(parts.clone().step_by(2));
        let parts = parts.skip(usize::from(same)).step_by(if same { 2 } else { 1 });
        let count = parts.clone().count();
        let (ms, seq) =
            (id.ms - first.ms, if id.ms == first.ms { id.seq - first.seq } else { id.seq });
        let content: usize = parts.clone().map(|part| part.len() + 10).sum();
        self.reserve(content + 40);
        let at = self.bytes.len();
        self.bytes.push(if same { SAME_NAMES } else { 0 });
        put_number(&mut self.bytes, ms);
        put_number(&mut self.bytes, seq);
        let mut listpack_bytes = listpack_integer(0)
            + listpack_integer(ms as i64)
            + listpack_integer(id.seq.wrapping_sub(first.seq) as i64);
        if same {
            listpack_bytes += listpack_integer(count as i64 + 3);
        } else {
            put_number(&mut self.bytes, count as u64 / 2);
            listpack_bytes +=
                listpack_integer(count as i64 / 2) + listpack_integer(count as i64 + 4);
        }
        for part in parts {
            put_part(&mut self.bytes, part);
            listpack_bytes += listpack_part(part);
        }
        let size = self.bytes.len() - at;
        put_number_backward(&mut self.bytes, size as u64);
        self.listpack_bytes = self.listpack_bytes.saturating_add(saturated(listpack_bytes));
        self.live += 1;
    }

    /// Reserves capacity: doubles, but never more than a full node needs.
    fn reserve(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            let spare = self.bytes.len().min(2048);
            self.bytes.reserve_exact(more.max(spare));
        }
    }

    /// Frees the spare capacity.
    pub(super) fn seal(&mut self) {
        self.bytes.shrink_to_fit();
    }

    fn names(&self) -> impl Iterator<Item = &[u8]> {
        let mut reader = Reader { bytes: &self.bytes };
        let count = reader.number();
        (0..count).map(move |_| reader.part())
    }

    /// The entries that are not deleted, in order.
    pub(super) fn entries(&self, first: StreamId) -> impl Iterator<Item = StreamEntry<'_>> {
        self.walk(first, self.head as usize)
            .filter(|(flags, ..)| flags & DEAD == 0)
            .map(|(_, entry, _)| entry)
    }

    /// Flags, entry and position of every entry from an offset on.
    fn walk(
        &self,
        first: StreamId,
        at: usize,
    ) -> impl Iterator<Item = (u8, StreamEntry<'_>, Span)> {
        let mut at = at;
        std::iter::from_fn(move || {
            if at == self.bytes.len() {
                return None;
            }
            let (flags, entry, end) = self.read(first, at);
            let span = Span { at, end };
            at = end;
            Some((flags, entry, span))
        })
    }

    /// The entries that are not deleted, in descending order.
    pub(super) fn entries_back(&self, first: StreamId) -> impl Iterator<Item = StreamEntry<'_>> {
        let mut end = self.bytes.len();
        std::iter::from_fn(move || {
            while end > self.head as usize {
                let (size, bytes) = number_backward(&self.bytes[..end]);
                end -= size + bytes;
                let (flags, entry, _) = self.read(first, end);
                if flags & DEAD == 0 {
                    return Some(entry);
                }
            }
            None
        })
    }

    /// The ID of the last entry, deleted or not.
    pub(super) fn last_id(&self, first: StreamId) -> StreamId {
        let end = self.bytes.len();
        let (size, bytes) = number_backward(&self.bytes[..end]);
        self.read(first, end - size - bytes).1.id
    }

    /// The entry at an offset, and the offset of its end.
    fn read(&self, first: StreamId, at: usize) -> (u8, StreamEntry<'_>, usize) {
        let mut reader = Reader { bytes: &self.bytes[at + 1..] };
        let flags = self.bytes[at];
        let (ms, seq) = (reader.number(), reader.number());
        let id = StreamId { ms: first.ms + ms, seq: if ms == 0 { first.seq + seq } else { seq } };
        let names = (flags & SAME_NAMES != 0).then(|| Reader { bytes: &self.bytes });
        let (count, names) = match names {
            None => (reader.number(), None),
            Some(mut names) => (names.number(), Some(names)),
        };
        let body = reader.clone();
        let parts = if names.is_some() { count } else { count * 2 };
        for _ in 0..parts {
            reader.part();
        }
        let size = self.bytes.len() - reader.bytes.len() - at;
        let end = at + size + backward_len(size as u64);
        let entry = StreamEntry { id, pairs: Pairs { names, body, left: count as usize } };
        (flags, entry, end)
    }

    /// The entry with this ID; `None` if it does not exist.
    pub(super) fn get(&self, first: StreamId, id: StreamId) -> Option<StreamEntry<'_>> {
        // Single lookups are most often for the newest or the oldest entries.
        self.entries(first).find(|entry| entry.id >= id).filter(|entry| entry.id == id)
    }

    /// Marks an entry as deleted; returns false if it does not exist.
    pub(super) fn delete(&mut self, first: StreamId, id: StreamId) -> bool {
        let found = self
            .walk(first, self.head as usize)
            .find(|(flags, entry, _)| flags & DEAD == 0 && entry.id >= id)
            .filter(|(_, entry, _)| entry.id == id)
            .map(|(_, _, span)| span);
        let Some(span) = found else { return false };
        self.mark(first, span);
        true
    }

    /// Marks the first `count` entries as deleted.
    pub(super) fn delete_first(&mut self, first: StreamId, count: u64) {
        for _ in 0..count {
            let (_, _, end) = self.read(first, self.head as usize);
            self.mark(first, Span { at: self.head as usize, end });
        }
    }

    fn mark(&mut self, first: StreamId, span: Span) {
        self.bytes[span.at] |= DEAD;
        self.live -= 1;
        self.dead += 1;
        if span.at == self.head as usize {
            let next = self.walk(first, span.end).find(|(flags, ..)| flags & DEAD == 0);
            self.head = next.map_or(self.bytes.len(), |(_, _, span)| span.at) as u32;
        }
    }

    /// Decodes untrusted bytes; `first` is the node's ID, `after` the last entry's ID before it.
    /// `None` if they are not a valid node with at least one entry that is not deleted. The IDs of
    /// deleted entries may be out of order, since XSETID can go back to before them.
    pub(super) fn from_bytes(
        first: StreamId,
        after: Option<StreamId>,
        bytes: &[u8],
    ) -> Option<Self> {
        u32::try_from(bytes.len()).ok()?;
        let mut reader = Reader { bytes };
        let count = reader.try_number()?;
        let mut listpack_bytes = listpack_integer(i64::try_from(count).ok()?) + listpack_integer(0);
        for _ in 0..count {
            listpack_bytes += listpack_part(reader.try_part()?);
        }
        let (mut live, mut dead, mut head) = (0, 0, bytes.len());
        if after.is_some_and(|after| after >= first) {
            return None;
        }
        let mut last = None;
        while !reader.bytes.is_empty() {
            let at = bytes.len() - reader.bytes.len();
            let flags = reader.try_byte()?;
            let (ms, seq) = (reader.try_number()?, reader.try_number()?);
            let id = StreamId {
                ms: first.ms.checked_add(ms)?,
                seq: if ms == 0 { first.seq.checked_add(seq)? } else { seq },
            };
            let is_dead = flags & DEAD != 0;
            if flags & !(DEAD | SAME_NAMES) != 0
                || live + dead == 0 && id != first
                || !is_dead && last.is_some_and(|last| last >= id)
            {
                return None;
            }
            if !is_dead {
                last = Some(id);
            }
            let same = flags & SAME_NAMES != 0;
            let parts = if same { count } else { reader.try_number()?.checked_mul(2)? };
            let fixed = listpack_integer(0)
                + listpack_integer(ms as i64)
                + listpack_integer(id.seq.wrapping_sub(first.seq) as i64);
            listpack_bytes += fixed;
            let parts_i64 = i64::try_from(parts).ok()?;
            listpack_bytes += if same {
                listpack_integer(parts_i64.checked_add(3)?)
            } else {
                listpack_integer(parts_i64 / 2) + listpack_integer(parts_i64.checked_add(4)?)
            };
            for _ in 0..parts {
                listpack_bytes += listpack_part(reader.try_part()?);
            }
            let size = bytes.len() - reader.bytes.len() - at;
            let mut tail = Vec::new();
            put_number_backward(&mut tail, size as u64);
            reader.bytes = reader.bytes.strip_prefix(&tail[..])?;
            if is_dead {
                dead += 1;
            } else {
                head = head.min(at);
                live += 1;
            }
        }
        (live > 0).then(|| Self {
            bytes: bytes.to_vec(),
            head: head as u32,
            listpack_bytes: saturated(listpack_bytes),
            live,
            dead,
        })
    }
}

/// Bytes of a listpack as nodes count them: one of 4 GiB is as full as any longer one.
fn saturated(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The names and values of an entry.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    /// `None` if the names are stored with the values.
    names: Option<Reader<'a>>,
    body: Reader<'a>,
    left: usize,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = self.names.as_mut().unwrap_or(&mut self.body).part();
        Some((name, self.body.part()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Pairs<'_> {}

/// Reads numbers and parts from the start of bytes.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    #[inline]
    fn number(&mut self) -> u64 {
        self.try_number().expect("because a node's bytes were written or checked by it")
    }

    #[inline]
    fn part(&mut self) -> &'a [u8] {
        self.try_part().expect("because a node's bytes were written or checked by it")
    }

    #[inline]
    pub(super) fn try_byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(byte)
    }

    #[inline]
    pub(super) fn try_number(&mut self) -> Option<u64> {
        let byte = self.try_byte()?;
        if byte < 0x80 {
            return Some(u64::from(byte));
        }
        let mut number = u64::from(byte & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.try_byte()?;
            let bits = u64::from(byte & 0x7f);
            number |= bits << shift;
            if byte < 0x80 {
                // Only the canonical form is accepted: at most 64 bits, no trailing zeros.
                return (byte > 0 && bits << shift >> shift == bits).then_some(number);
            }
        }
        None
    }

    #[inline]
    pub(super) fn try_part(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.try_number()?).ok()?;
        let (part, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(part)
    }
}

/// Writes a varint, the lowest 7 bits first; all bytes but the last have their highest bit set
/// (LEB128).
#[inline]
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[inline]
pub(super) fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    put_number(out, part.len() as u64);
    out.extend_from_slice(part);
}

/// Writes a number that can be read from its end.
#[inline]
fn put_number_backward(out: &mut Vec<u8>, number: u64) {
    let at = out.len();
    put_number(out, number);
    out[at..].reverse();
}

/// The number that ends where `bytes` end, and its size in bytes.
#[inline]
fn number_backward(bytes: &[u8]) -> (usize, usize) {
    let (mut number, mut count) = (0, 0);
    for byte in bytes.iter().rev() {
        number |= usize::from(byte & 0x7f) << (7 * count);
        count += 1;
        if *byte < 0x80 {
            break;
        }
    }
    (number, count)
}

/// The size of a varint in bytes.
#[inline]
fn backward_len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

/// The size of an integer in a listpack, with its backlen.
fn listpack_integer(number: i64) -> usize {
    match number {
        0..=127 => 2,
        -4096..=4095 => 3,
        -0x8000..=0x7fff => 4,
        -0x80_0000..=0x7f_ffff => 5,
        -0x8000_0000..=0x7fff_ffff => 6,
        _ => 10,
    }
}

/// The size of a string in a listpack, which stores it as an integer if it prints as one.
fn listpack_part(part: &[u8]) -> usize {
    if let Some(number) = canonical_integer(part) {
        return listpack_integer(number);
    }
    let own = part.len()
        + match part.len() {
            0..64 => 1,
            64..4096 => 2,
            _ => 5,
        };
    own + match own {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        2_097_152..268_435_456 => 4,
        _ => 5,
    }
}

/// The integer that prints as these bytes, if there is one.
fn canonical_integer(bytes: &[u8]) -> Option<i64> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let is_canonical = match digits {
        [b'0'] => digits.len() == bytes.len(),
        [b'1'..=b'9', rest @ ..] => rest.len() < 19 && rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_canonical.then(|| std::str::from_utf8(bytes).ok()?.parse().ok()).flatten()
}
