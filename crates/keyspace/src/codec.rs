//! The bytes of records: numbers little-endian, byte strings behind their length.
//!
//! A length takes 7 bits a byte, the lowest first; the top bit says that more follow. So a short string
//! has one byte of overhead, and one of any length can be recorded.

use std::borrow::Cow;

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Why a key went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cause {
    Deleted = 0,
    Expired = 1,
    Evicted = 2,
}

impl Cause {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.push(self as u8);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.byte()? {
            0 => Ok(Self::Deleted),
            1 => Ok(Self::Expired),
            2 => Ok(Self::Evicted),
            _ => Err(Malformed),
        }
    }
}

/// Byte strings that an effect carries: the arguments of a request, or those of a record.
#[derive(Clone, Copy, Debug)]
pub struct Strings<'a>(Source<'a>);

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Given(&'a [&'a [u8]]),
    /// Checked when they were read.
    Recorded {
        count: usize,
        bytes: &'a [u8],
    },
}

impl<'a> Strings<'a> {
    pub fn len(&self) -> usize {
        match self.0 {
            Source::Given(strings) => strings.len(),
            Source::Recorded { count, .. } => count,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (given, recorded) = match self.0 {
            Source::Given(strings) => (strings, &[][..]),
            Source::Recorded { bytes, .. } => (&[][..], bytes),
        };
        let mut reader = Reader::new(recorded);
        given.iter().copied().chain(std::iter::from_fn(move || reader.bytes().ok()))
    }

    /// All of them side by side.
    pub(crate) fn to_slice(self) -> Cow<'a, [&'a [u8]]> {
        match self.0 {
            Source::Given(strings) => Cow::Borrowed(strings),
            Source::Recorded { .. } => Cow::Owned(self.iter().collect()),
        }
    }

    /// One and one: a field and its value, a score and its member.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut strings = self.iter();
        std::iter::from_fn(move || Some((strings.next()?, strings.next()?)))
    }
}

impl<'a, const N: usize> From<&'a [&'a [u8]; N]> for Strings<'a> {
    fn from(strings: &'a [&'a [u8]; N]) -> Self {
        Self(Source::Given(strings))
    }
}

impl<'a> From<&'a [&'a [u8]]> for Strings<'a> {
    fn from(strings: &'a [&'a [u8]]) -> Self {
        Self(Source::Given(strings))
    }
}

/// [`Strings`] of one's own, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct StringList {
    count: usize,
    bytes: Vec<u8>,
}

impl StringList {
    pub fn push(&mut self, string: &[u8]) {
        put_bytes(&mut self.bytes, string);
        self.count += 1;
    }

    /// Forgets all, but keeps the memory.
    pub fn clear(&mut self) {
        self.count = 0;
        self.bytes.clear();
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes that they take; the next string that is pushed comes to lie at this offset.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The string at an offset: see [`StringList::bytes`]. Any other offset gives an empty or a wrong one.
    pub fn at(&self, offset: usize) -> &[u8] {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        Reader::new(rest).bytes().unwrap_or_default()
    }

    /// Each string with its offset.
    pub fn with_offsets(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut reader = Reader::new(&self.bytes);
        std::iter::from_fn(move || Some((reader.at, reader.bytes().ok()?)))
    }

    pub fn as_strings(&self) -> Strings<'_> {
        Strings(Source::Recorded { count: self.count, bytes: &self.bytes })
    }
}

impl PartialEq for Strings<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Strings<'_> {}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_len(out: &mut Vec<u8>, mut len: usize) {
    while len >= 0x80 {
        out.push(len.to_le_bytes()[0] | 0x80);
        len >>= 7;
    }
    out.push(len.to_le_bytes()[0]);
}

pub(crate) fn put_strings(out: &mut Vec<u8>, strings: Strings<'_>) {
    put_string_run(out, |out| {
        match strings.0 {
            Source::Given(strings) => strings.iter().for_each(|string| put_bytes(out, string)),
            Source::Recorded { bytes, .. } => out.extend_from_slice(bytes),
        }
        strings.len()
    });
}

/// [`Strings`] of what `put` puts by [`put_bytes`]; it returns how many.
pub(crate) fn put_string_run(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>) -> usize) {
    let at = out.len();
    out.extend_from_slice(&[0; 16]);
    let count = put(out) as u64;
    let len = (out.len() - at - 16) as u64;
    out[at..at + 8].copy_from_slice(&count.to_le_bytes());
    out[at + 8..at + 16].copy_from_slice(&len.to_le_bytes());
}

pub(crate) fn put_expiry(out: &mut Vec<u8>, expire_at_ms: Option<u64>) {
    out.push(u8::from(expire_at_ms.is_some()));
    out.extend_from_slice(&expire_at_ms.unwrap_or(0).to_le_bytes());
}

/// Reads the parts of a record.
pub(crate) struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.input.len()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(len).ok_or(Malformed)?;
        let bytes = self.input.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.len()?;
        self.take(len)
    }

    /// A length that [`put_len`] put: one of more bytes than it needs is refused.
    fn len(&mut self) -> Result<usize, Malformed> {
        let mut len = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = usize::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return Err(Malformed);
            }
            len |= bits << shift;
            if byte < 0x80 {
                return if byte == 0 && shift > 0 { Err(Malformed) } else { Ok(len) };
            }
        }
        Err(Malformed)
    }

    pub(crate) fn size(&mut self) -> Result<usize, Malformed> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| Malformed)
    }

    pub(crate) fn expiry(&mut self) -> Result<Option<u64>, Malformed> {
        let present = self.byte()?;
        let at_ms = self.u64()?;
        Ok((present != 0).then_some(at_ms))
    }

    pub(crate) fn strings(&mut self) -> Result<Strings<'a>, Malformed> {
        let (count, len) = (self.size()?, self.size()?);
        let bytes = self.take(len)?;
        let mut strings = Reader::new(bytes);
        for _ in 0..count {
            strings.bytes()?;
        }
        strings.is_at_end().then_some(Strings(Source::Recorded { count, bytes })).ok_or(Malformed)
    }

    /// As [`Reader::strings`], for those that come in pairs.
    pub(crate) fn string_pairs(&mut self) -> Result<Strings<'a>, Malformed> {
        self.strings().and_then(|pairs| {
            if pairs.len().is_multiple_of(2) { Ok(pairs) } else { Err(Malformed) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_back_in_the_fewest_bytes() {
        let lens = [0, 1, 127, 128, 16_383, 16_384, 1 << 32, (1 << 32) + 5, usize::MAX];
        for (len, bytes) in lens.into_iter().zip([1, 1, 1, 2, 2, 3, 5, 5, 10]) {
            let mut out = Vec::new();
            put_len(&mut out, len);
            assert_eq!(out.len(), bytes, "{len}");
            let mut reader = Reader::new(&out);
            assert_eq!(reader.len(), Ok(len));
            assert!(reader.is_at_end());
        }
        for wrong in [&[][..], &[0x80], &[0x80, 0], &[0xFF; 11], &[0xFF, 0xFF, 0xFF, 0x80, 0]] {
            assert_eq!(Reader::new(wrong).len(), Err(Malformed), "{wrong:?}");
        }
        let beyond_64_bits = [&[0xFF; 9][..], &[0x02]].concat();
        assert_eq!(Reader::new(&beyond_64_bits).len(), Err(Malformed));
    }

    /// The zeros are never touched, so the system gives them no memory.
    #[test]
    #[cfg(not(miri))]
    fn a_string_beyond_4_gib_is_read() {
        const LEN: usize = (4 << 30) + 7;
        let mut head = vec![0; 16];
        put_len(&mut head, LEN);
        head[..8].copy_from_slice(&1_u64.to_le_bytes());
        let run_len = head.len() - 16 + LEN;
        head[8..16].copy_from_slice(&(run_len as u64).to_le_bytes());
        let mut input = vec![0; head.len() + LEN];
        input[..head.len()].copy_from_slice(&head);
        assert_eq!(Reader::new(&input[16..]).bytes().map(<[u8]>::len), Ok(LEN));
        let strings = Reader::new(&input).strings().unwrap();
        assert_eq!((strings.len(), strings.iter().next().map(<[u8]>::len)), (1, Some(LEN)));
        assert_eq!(Reader::new(&input[16..input.len() - 1]).bytes(), Err(Malformed));
    }
}
