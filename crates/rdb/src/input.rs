//! Input: bytes that are read from the front: numbers, lengths and strings of the format.

use std::borrow::Cow;
use std::ops::Deref;

use basalt_keyspace::{StreamId, TEXT_BYTES_MAX};

use crate::error::{Error, Result};
use crate::format::string;
use crate::lzf;

/// What is left of the bytes.
#[derive(Clone, Debug)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

/// A string as it was written: as bytes, as a number or compressed.
#[derive(Debug)]
pub(crate) enum Text<'a> {
    Bytes(Cow<'a, [u8]>),
    Number { digits: [u8; 11], len: u8 },
}

impl Deref for Text<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number { digits, len } => &digits[..usize::from(*len)],
        }
    }
}

impl Text<'_> {
    fn number(value: i32) -> Self {
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(value).as_bytes();
        let mut digits = [0; 11];
        digits[..text.len()].copy_from_slice(text);
        Self::Number { digits, len: text.len() as u8 }
    }
}

enum Length {
    Plain(u64),
    Special(u8),
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Error::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Error::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    #[inline]
    fn length(&mut self) -> Result<Length> {
        let first = self.byte()?;
        let low = u64::from(first & 0x3F);
        Ok(Length::Plain(match first >> 6 {
            0 => low,
            1 => low << 8 | u64::from(self.byte()?),
            2 if first == 0x80 => u64::from(u32::from_be_bytes(self.array()?)),
            2 if first == 0x81 => u64::from_be_bytes(self.array()?),
            2 => return Err(Error::Malformed("a length of an unknown form")),
            _ => return Ok(Length::Special(first & 0x3F)),
        }))
    }

    /// A number as lengths are written.
    pub(crate) fn number(&mut self) -> Result<u64> {
        match self.length()? {
            Length::Plain(number) => Ok(number),
            Length::Special(_) => Err(Error::Malformed("a string in the place of a length")),
        }
    }

    /// How many elements follow, each of at least `bytes` bytes.
    pub(crate) fn count(&mut self, bytes: usize) -> Result<usize> {
        let count = usize::try_from(self.number()?).map_err(|_| Error::Short)?;
        if count > self.rest.len() / bytes.max(1) { Err(Error::Short) } else { Ok(count) }
    }

    fn text_len(&mut self) -> Result<usize> {
        text_len(self.number()?)
    }

    #[inline]
    pub(crate) fn text(&mut self) -> Result<Text<'a>> {
        match self.length()? {
            Length::Plain(len) => {
                let bytes = self.take(text_len(len)?)?;
                Ok(Text::Bytes(Cow::Borrowed(bytes)))
            }
            Length::Special(string::INT_8) => {
                Ok(Text::number(i8::from_le_bytes(self.array()?).into()))
            }
            Length::Special(string::INT_16) => {
                Ok(Text::number(i16::from_le_bytes(self.array()?).into()))
            }
            Length::Special(string::INT_32) => Ok(Text::number(i32::from_le_bytes(self.array()?))),
            Length::Special(string::LZF) => {
                let (packed_len, len) = (self.text_len()?, self.text_len()?);
                let mut bytes = Vec::new();
                lzf::decompress(self.take(packed_len)?, len, &mut bytes)?;
                Ok(Text::Bytes(Cow::Owned(bytes)))
            }
            Length::Special(_) => Err(Error::Malformed("a string of an unknown encoding")),
        }
    }

    /// The bytes of a string; as [`Input::text`], for what is a string of bytes always.
    pub(crate) fn bytes(&mut self) -> Result<Cow<'a, [u8]>> {
        Ok(match self.text()? {
            Text::Bytes(bytes) => bytes,
            number => Cow::Owned(number.to_vec()),
        })
    }

    /// Passes over a string without decompressing it.
    #[inline]
    pub(crate) fn skip_text(&mut self) -> Result<()> {
        let len = match self.length()? {
            Length::Plain(len) => text_len(len)?,
            Length::Special(string::INT_8) => 1,
            Length::Special(string::INT_16) => 2,
            Length::Special(string::INT_32) => 4,
            Length::Special(string::LZF) => {
                let packed_len = self.text_len()?;
                self.text_len()?;
                packed_len
            }
            Length::Special(_) => return Err(Error::Malformed("a string of an unknown encoding")),
        };
        self.take(len).map(|_| ())
    }

    pub(crate) fn u64_le(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A moment in milliseconds since 1970; one before that is 0.
    pub(crate) fn moment_ms(&mut self) -> Result<u64> {
        let at_ms = i64::from_le_bytes(self.array()?);
        Ok(u64::try_from(at_ms).unwrap_or(0))
    }

    /// A score as 8 bytes.
    pub(crate) fn double(&mut self) -> Result<f64> {
        Ok(f64::from_le_bytes(self.array()?))
    }

    /// A stream's ID as 16 bytes.
    pub(crate) fn raw_id(&mut self) -> Result<StreamId> {
        let ms = u64::from_be_bytes(self.array()?);
        Ok(StreamId { ms, seq: u64::from_be_bytes(self.array()?) })
    }

    /// A stream's ID as two lengths.
    pub(crate) fn id(&mut self) -> Result<StreamId> {
        let ms = self.number()?;
        Ok(StreamId { ms, seq: self.number()? })
    }
}

fn text_len(len: u64) -> Result<usize> {
    if len <= TEXT_BYTES_MAX as u64 {
        Ok(len as usize)
    } else {
        Err(Error::Malformed("a string is longer than 4 GiB"))
    }
}
