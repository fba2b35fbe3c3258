//! Blobs: the packed encodings that Redis has used for small collections, each read element by
//! element.
//!
//! ```text
//! listpack  bytes, count, (encoding, data, length backwards)*, 0xFF      since Redis 7
//! ziplist   bytes, tail, count, (length before, encoding, data)*, 0xFF   up to Redis 6.2
//! zipmap    count, (length, field, length, free, value)*, 0xFF           up to Redis 2.4
//! intset    width, count, integers in order
//! ```
//!
//! Every element is checked as it is read. Reading ends after the last element, or at the first
//! error.

use basalt_keyspace::Content;

use crate::error::{Error, Result};
use crate::format::put_length_backwards;
use crate::input::Input;

const END: u8 = 0xFF;
/// What a count of 16 bits says if there are more.
const COUNT_UNKNOWN: u16 = u16::MAX;

const LISTPACK: Error = Error::Malformed("a listpack is damaged");
const ZIPLIST: Error = Error::Malformed("a ziplist is damaged");
const ZIPMAP: Error = Error::Malformed("a zipmap is damaged");
const INTSET: Error = Error::Malformed("an intset is damaged");

/// The elements of a packed collection.
pub(super) trait Elements<'a>: Iterator<Item = Result<Content<'a>>> {}

impl<'a, I: Iterator<Item = Result<Content<'a>>>> Elements<'a> for I {}

/// A listpack.
pub(super) struct Listpack<'a> {
    rest: Input<'a>,
    /// What the head says is left; `None` if it does not say.
    left: Option<u16>,
    is_done: bool,
}

impl<'a> Listpack<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Result<Self> {
        let mut rest = Input::new(blob);
        let bytes = rest.array().map(u32::from_le_bytes).map_err(|_| LISTPACK)?;
        let count = rest.array().map(u16::from_le_bytes).map_err(|_| LISTPACK)?;
        if bytes as usize != blob.len() {
            return Err(LISTPACK);
        }
        Ok(Self { rest, left: (count != COUNT_UNKNOWN).then_some(count), is_done: false })
    }

    fn element(&mut self) -> Result<Option<Content<'a>>> {
        let start = self.rest.rest();
        let first = self.rest.byte()?;
        let rest = &mut self.rest;
        let content = match first {
            0x00..0x80 => Content::Integer(i64::from(first)),
            0x80..0xC0 => Content::Bytes(rest.take(usize::from(first & 0x3F))?),
            0xC0..0xE0 => {
                let value = i64::from(first & 0x1F) << 8 | i64::from(rest.byte()?);
                Content::Integer(if value < 1 << 12 { value } else { value - (1 << 13) })
            }
            0xE0..0xF0 => {
                let len = usize::from(first & 0x0F) << 8 | usize::from(rest.byte()?);
                Content::Bytes(rest.take(len)?)
            }
            0xF0 => {
                let len = u32::from_le_bytes(rest.array()?);
                Content::Bytes(rest.take(len as usize)?)
            }
            0xF1 => Content::Integer(i16::from_le_bytes(rest.array()?).into()),
            0xF2 => Content::Integer(int_24(rest.array()?)),
            0xF3 => Content::Integer(i32::from_le_bytes(rest.array()?).into()),
            0xF4 => Content::Integer(i64::from_le_bytes(rest.array()?)),
            END => {
                let is_right = rest.is_at_end() && self.left.is_none_or(|left| left == 0);
                return if is_right { Ok(None) } else { Err(LISTPACK) };
            }
            _ => return Err(LISTPACK),
        };
        let len = start.len() - rest.rest().len();
        check_length_backwards(rest, len)?;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or(LISTPACK)?;
        }
        Ok(Some(content))
    }
}

impl<'a> Iterator for Listpack<'a> {
    type Item = Result<Content<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let element = self.element().map_err(|_| LISTPACK).transpose();
        self.is_done = !matches!(element, Some(Ok(_)));
        element
    }
}

fn check_length_backwards(rest: &mut Input<'_>, len: usize) -> Result<()> {
    let mut wanted = Vec::new();
    if len <= 127 {
        return if usize::from(rest.byte()?) == len { Ok(()) } else { Err(LISTPACK) };
    }
    put_length_backwards(&mut wanted, len);
    if rest.take(wanted.len())? == wanted { Ok(()) } else { Err(LISTPACK) }
}

fn int_24(bytes: [u8; 3]) -> i64 {
    let [a, b, c] = bytes;
    i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)
}

/// A ziplist.
pub(super) struct Ziplist<'a> {
    rest: Input<'a>,
    left: Option<u16>,
    /// How long the element before was.
    before: usize,
    /// How far the last element is from the end, as the head says.
    tail: usize,
    len: usize,
    last_at: usize,
    is_done: bool,
}

impl<'a> Ziplist<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Result<Self> {
        let mut rest = Input::new(blob);
        let bytes = rest.array().map(u32::from_le_bytes).map_err(|_| ZIPLIST)?;
        let tail = rest.array().map(u32::from_le_bytes).map_err(|_| ZIPLIST)?;
        let count = rest.array().map(u16::from_le_bytes).map_err(|_| ZIPLIST)?;
        if bytes as usize != blob.len() {
            return Err(ZIPLIST);
        }
        let left = (count != COUNT_UNKNOWN).then_some(count);
        let (tail, len, last_at) = (tail as usize, blob.len(), 10);
        Ok(Self { rest, left, before: 0, tail, len, last_at, is_done: false })
    }

    fn element(&mut self) -> Result<Option<Content<'a>>> {
        let start = self.rest.rest();
        let at = self.len - start.len();
        let rest = &mut self.rest;
        let before = match rest.byte()? {
            END => {
                let is_right = rest.is_at_end()
                    && self.left.is_none_or(|left| left == 0)
                    && self.tail == self.last_at;
                return if is_right { Ok(None) } else { Err(ZIPLIST) };
            }
            0xFE => u32::from_le_bytes(rest.array()?) as usize,
            before => usize::from(before),
        };
        if before != self.before {
            return Err(ZIPLIST);
        }
        let first = rest.byte()?;
        let content = match first {
            0x00..0x40 => Content::Bytes(rest.take(usize::from(first))?),
            0x40..0x80 => {
                let len = usize::from(first & 0x3F) << 8 | usize::from(rest.byte()?);
                Content::Bytes(rest.take(len)?)
            }
            0x80 => {
                let len = u32::from_be_bytes(rest.array()?);
                Content::Bytes(rest.take(len as usize)?)
            }
            0xC0 => Content::Integer(i16::from_le_bytes(rest.array()?).into()),
            0xD0 => Content::Integer(i32::from_le_bytes(rest.array()?).into()),
            0xE0 => Content::Integer(i64::from_le_bytes(rest.array()?)),
            0xF0 => Content::Integer(int_24(rest.array()?)),
            0xFE => Content::Integer(i8::from_le_bytes(rest.array()?).into()),
            0xF1..=0xFD => Content::Integer(i64::from(first & 0x0F) - 1),
            _ => return Err(ZIPLIST),
        };
        self.before = start.len() - rest.rest().len();
        self.last_at = at;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or(ZIPLIST)?;
        }
        Ok(Some(content))
    }
}

impl<'a> Iterator for Ziplist<'a> {
    type Item = Result<Content<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let element = self.element().map_err(|_| ZIPLIST).transpose();
        self.is_done = !matches!(element, Some(Ok(_)));
        element
    }
}

/// A zipmap: fields and values in turn.
pub(super) struct Zipmap<'a> {
    rest: Input<'a>,
    is_value: bool,
    is_done: bool,
}

impl<'a> Zipmap<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Result<Self> {
        let mut rest = Input::new(blob);
        // The count is only kept up to 253; what ends the map is its last byte.
        rest.byte().map_err(|_| ZIPMAP)?;
        Ok(Self { rest, is_value: false, is_done: false })
    }

    fn element(&mut self) -> Result<Option<Content<'a>>> {
        let rest = &mut self.rest;
        let len = match rest.byte()? {
            END if !self.is_value && rest.is_at_end() => return Ok(None),
            END => return Err(ZIPMAP),
            0xFE => u32::from_le_bytes(rest.array()?) as usize,
            len => usize::from(len),
        };
        let free = if self.is_value { usize::from(rest.byte()?) } else { 0 };
        let bytes = rest.take(len)?;
        rest.take(free)?;
        self.is_value = !self.is_value;
        Ok(Some(Content::Bytes(bytes)))
    }
}

impl<'a> Iterator for Zipmap<'a> {
    type Item = Result<Content<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let element = self.element().map_err(|_| ZIPMAP).transpose();
        self.is_done = !matches!(element, Some(Ok(_)));
        element
    }
}

/// An intset.
pub(super) struct Intset<'a> {
    rest: Input<'a>,
    width: u32,
    before: Option<i64>,
    is_done: bool,
}

impl<'a> Intset<'a> {
    pub(super) fn new(blob: &'a [u8]) -> Result<Self> {
        let mut rest = Input::new(blob);
        let width = rest.array().map(u32::from_le_bytes).map_err(|_| INTSET)?;
        let count = rest.array().map(u32::from_le_bytes).map_err(|_| INTSET)?;
        let bytes = u64::from(width) * u64::from(count);
        if !matches!(width, 2 | 4 | 8) || bytes != rest.rest().len() as u64 {
            return Err(INTSET);
        }
        Ok(Self { rest, width, before: None, is_done: false })
    }

    fn element(&mut self) -> Result<i64> {
        let value = match self.width {
            2 => i16::from_le_bytes(self.rest.array()?).into(),
            4 => i32::from_le_bytes(self.rest.array()?).into(),
            _ => i64::from_le_bytes(self.rest.array()?),
        };
        if self.before.replace(value).is_some_and(|before| before >= value) {
            return Err(INTSET);
        }
        Ok(value)
    }
}

impl<'a> Iterator for Intset<'a> {
    type Item = Result<Content<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done || self.rest.is_at_end() {
            return None;
        }
        let element = self.element();
        self.is_done = element.is_err();
        Some(element.map(Content::Integer))
    }
}
