//! Element: the bytes of one element of a packed run, read from either end.
//!
//! ```text
//! 0iiiiiii                   an integer from 0 to 127: the whole element, no tail
//! 10llllll bytes       tail  a string of up to 63 bytes
//! 110iiiii i           tail  an integer of 13 bits
//! 1110llll l bytes     tail  a string of up to 4095 bytes
//! 11110000 llll bytes  tail  a string
//! 11110001 ii          tail  an integer of 16 bits; …10: 24, …11: 32, 11110100: 64, little-endian
//!
//! tail  the size of what precedes it, read from its end: 1mllllll, then mlllllll …; m: more follow
//! ```
//!
//! A tail's last byte has its top bit set, and an element without a tail has not: this is how a
//! walk backwards tells them apart. A run that is only walked forwards has no tails.
//!
//! INVARIANT: the encoding is canonical: each element has the shortest form, and text that prints
//! as an integer is one. So elements are equal exactly if their bytes are.

use crate::Content;

/// The longest head of an element: its kind and an integer of 64 bits.
const HEAD_BYTES_MAX: usize = 9;

const STRING_6: u8 = 0b1000_0000;
const INTEGER_13: u8 = 0b1100_0000;
const STRING_12: u8 = 0b1110_0000;
const STRING_32: u8 = 0b1111_0000;
const INTEGER_16: u8 = 0b1111_0001;
const INTEGER_24: u8 = 0b1111_0010;
const INTEGER_32: u8 = 0b1111_0011;
const INTEGER_64: u8 = 0b1111_0100;

const TAIL_END: u8 = 0b1000_0000;
const TAIL_MORE: u8 = 0b0100_0000;
const TAIL_LOW_BITS: u32 = 6;

/// The head, before an element's own bytes: an integer is all head.
#[derive(Clone, Copy)]
pub(super) struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    len: u8,
}

impl Head {
    pub(super) fn of(content: Content<'_>) -> Self {
        let mut head = Self { bytes: [0; HEAD_BYTES_MAX], len: 1 };
        match content {
            Content::Integer(value) => head.put_integer(value),
            Content::Bytes(text) => head.put_string(text.len()),
        }
        head
    }

    fn put_integer(&mut self, value: i64) {
        let bytes = value.to_le_bytes();
        let mut put = |kind, taken: usize| {
            self.bytes[0] = kind;
            self.bytes[1..=taken].copy_from_slice(&bytes[..taken]);
            self.len = 1 + taken as u8;
        };
        match value {
            0..=0x7F => self.bytes[0] = value as u8,
            -0x1000..=0xFFF => {
                self.bytes[0] = INTEGER_13 | (value >> 8) as u8 & 0x1F;
                self.bytes[1] = value as u8;
                self.len = 2;
            }
            -0x8000..=0x7FFF => put(INTEGER_16, 2),
            -0x80_0000..=0x7F_FFFF => put(INTEGER_24, 3),
            -0x8000_0000..=0x7FFF_FFFF => put(INTEGER_32, 4),
            _ => put(INTEGER_64, 8),
        }
    }

    fn put_string(&mut self, len: usize) {
        match len {
            0..=0x3F => self.bytes[0] = STRING_6 | len as u8,
            0x40..=0xFFF => {
                self.bytes[0] = STRING_12 | (len >> 8) as u8;
                self.bytes[1] = len as u8;
                self.len = 2;
            }
            _ => {
                let len = u32::try_from(len).expect("because a text has at most TEXT_BYTES_MAX");
                self.bytes[0] = STRING_32;
                self.bytes[1..5].copy_from_slice(&len.to_le_bytes());
                self.len = 5;
            }
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The layout of an element in its run.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) head: usize,
    pub(super) body: usize,
    pub(super) tail: usize,
}

impl Shape {
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.head + self.body + self.tail
    }

    /// The shape of the element that begins with these bytes; `None` if its head is cut or unknown.
    #[inline]
    pub(super) fn read(bytes: &[u8], tails: bool) -> Option<Self> {
        let first = *bytes.first()?;
        let (head, body) = match first {
            0..STRING_6 => return Some(Self { head: 1, body: 0, tail: 0 }),
            STRING_6..INTEGER_13 => (1, usize::from(first & 0x3F)),
            INTEGER_13..STRING_12 => (2, 0),
            STRING_12..STRING_32 => {
                (2, usize::from(first & 0x0F) << 8 | usize::from(*bytes.get(1)?))
            }
            STRING_32 => {
                let len: [u8; 4] = bytes.get(1..5)?.try_into().ok()?;
                (5, u32::from_le_bytes(len) as usize)
            }
            INTEGER_16 => (3, 0),
            INTEGER_24 => (4, 0),
            INTEGER_32 => (5, 0),
            INTEGER_64 => (9, 0),
            _ => return None,
        };
        Some(Self { head, body, tail: if tails { tail_bytes(head + body) } else { 0 } })
    }

    /// The shape of an element to write.
    #[inline]
    pub(super) fn of(content: Content<'_>, tails: bool) -> Self {
        let head = usize::from(Head::of(content).len);
        let body = match content {
            Content::Bytes(text) => text.len(),
            Content::Integer(_) => 0,
        };
        let alone = head + body == 1 && matches!(content, Content::Integer(_));
        Self { head, body, tail: if tails && !alone { tail_bytes(head + body) } else { 0 } }
    }
}

#[inline]
fn tail_bytes(before: usize) -> usize {
    match before {
        0..0x40 => 1,
        0x40..0x2000 => 2,
        0x2000..0x10_0000 => 3,
        0x10_0000..0x800_0000 => 4,
        _ => 5,
    }
}

/// Reads the element at the start of these bytes, which must be complete.
#[inline]
pub(super) fn content<'a>(bytes: &'a [u8], shape: &Shape) -> Content<'a> {
    let first = bytes[0];
    match first {
        0..STRING_6 => Content::Integer(i64::from(first)),
        INTEGER_13..STRING_12 => {
            let value = i16::from(first & 0x1F) << 8 | i16::from(bytes[1]);
            Content::Integer(i64::from(value << 3 >> 3))
        }
        INTEGER_16..=INTEGER_64 => {
            let taken = shape.head - 1;
            let mut wide = [0; 8];
            wide[8 - taken..].copy_from_slice(&bytes[1..=taken]);
            Content::Integer(i64::from_le_bytes(wide) >> (64 - 8 * taken))
        }
        _ => Content::Bytes(&bytes[shape.head..shape.head + shape.body]),
    }
}

/// The offset of the last element of these bytes; `None` if its tail is invalid.
#[inline]
pub(super) fn start_of_last(bytes: &[u8]) -> Option<usize> {
    let (&last, before) = bytes.split_last()?;
    if last & TAIL_END == 0 {
        return Some(before.len());
    }
    let mut len = usize::from(last & (TAIL_MORE - 1));
    let (mut more, mut shift, mut at) = (last & TAIL_MORE != 0, TAIL_LOW_BITS, before.len());
    while more {
        at = at.checked_sub(1)?;
        if shift >= 34 {
            return None;
        }
        len |= usize::from(bytes[at] & 0x7F) << shift;
        more = bytes[at] & 0x80 != 0;
        shift += 7;
    }
    at.checked_sub(len)
}

/// Writes an element to the start of `out`; returns its size in bytes.
pub(super) fn write(content: Content<'_>, tails: bool, out: &mut [u8]) -> usize {
    let head = Head::of(content);
    let shape = Shape::of(content, tails);
    out[..shape.head].copy_from_slice(head.as_bytes());
    let before = shape.head + shape.body;
    if let Content::Bytes(text) = content {
        out[shape.head..before].copy_from_slice(text);
    }
    if shape.tail > 0 {
        write_tail(before, &mut out[before..before + shape.tail]);
    }
    shape.bytes()
}

fn write_tail(before: usize, out: &mut [u8]) {
    let (last, rest) = out.split_last_mut().expect("because a tail has a byte");
    let mut left = before >> TAIL_LOW_BITS;
    *last = TAIL_END | (before as u8 & (TAIL_MORE - 1));
    if left > 0 {
        *last |= TAIL_MORE;
    }
    for byte in rest.iter_mut().rev() {
        *byte = left as u8 & 0x7F;
        left >>= 7;
        if left > 0 {
            *byte |= 0x80;
        }
    }
}

/// The size of the element at the start of untrusted bytes; `None` unless [`write`] would produce
/// it.
pub(super) fn checked(bytes: &[u8], tails: bool) -> Option<usize> {
    let shape = Shape::read(bytes, tails)?;
    let whole = bytes.get(..shape.bytes())?;
    let content = content(whole, &shape);
    if let Content::Bytes(text) = content
        && Content::of(text) != content
    {
        return None;
    }
    let canonical = Head::of(content);
    if whole[..shape.head] != *canonical.as_bytes() {
        return None;
    }
    let mut tail = [0; 5];
    if shape.tail > 0 {
        write_tail(shape.head + shape.body, &mut tail[..shape.tail]);
    }
    (whole[shape.head + shape.body..] == tail[..shape.tail]).then_some(shape.bytes())
}
