//! Packed: a few elements in plain bytes, the form of small collections (compare Redis'
//! listpack.c).
//!
//! ```text
//! Packed  ┌───────┬─────────┬─────────┬─────────┐      Run   the same without the count
//!         │ count │ element │ element │    …    │
//!         └───────┴─────────┴─────────┴─────────┘
//! ```
//!
//! An element is a string, or an integer in a short form (see `element`). A short string has one
//! byte of overhead if its run is only walked [`Forwards`], two if it is walked [`BothWays`].
//! Searches are linear: this is for collections whose bytes fit a few cache lines.
//!
//! Changes are a [`Splice`]: it returns the size of the result, then writes it into a buffer of
//! exactly that size. A [`PackedVec`] grows in place.
//!
//! Not here: which elements are fields and which are values; when a collection leaves this form.

use std::marker::PhantomData;

mod element;
#[cfg(test)]
mod tests;

use element::{Head, Shape};

use crate::Content;

/// The directions in which a run can be walked; both directions cost a byte per short string.
pub trait Walk: Copy + 'static {
    const TAILS: bool;
}

/// Elements that are only walked from first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwards {}

/// Elements that are walked from either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BothWays {}

impl Walk for Forwards {
    const TAILS: bool = false;
}

impl Walk for BothWays {
    const TAILS: bool = true;
}

/// Counts up to this are stored in the first byte; above it, elements are counted by a walk.
const COUNT_MAX: usize = 254;
const COUNT_BY_WALK: u8 = 255;

impl<'a> Content<'a> {
    /// The stored form of a text: an integer if the text is exactly how that integer prints.
    #[inline]
    pub fn of(text: &'a [u8]) -> Self {
        match canonical_integer(text) {
            Some(value) => Self::Integer(value),
            None => Self::Bytes(text),
        }
    }

    /// The bytes of the text; an integer's are written to `digits`.
    #[inline]
    pub fn as_text<'b>(&self, digits: &'b mut Digits) -> &'b [u8]
    where
        'a: 'b,
    {
        match *self {
            Self::Bytes(text) => text,
            Self::Integer(value) => digits.write(value),
        }
    }

    /// Appends the text to `out`.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_text(&mut Digits::default()));
    }

    /// The length of the text in bytes.
    pub fn text_len(&self) -> usize {
        match *self {
            Self::Bytes(text) => text.len(),
            Self::Integer(value) => crate::entry::decimal_len(value),
        }
    }
}

/// A buffer for the digits of an integer.
#[derive(Default)]
pub struct Digits([u8; 20]);

impl Digits {
    fn write(&mut self, value: i64) -> &[u8] {
        let (mut left, mut at) = (value.unsigned_abs(), self.0.len());
        loop {
            at -= 1;
            self.0[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        if value < 0 {
            at -= 1;
            self.0[at] = b'-';
        }
        &self.0[at..]
    }
}

#[inline]
fn canonical_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        b"0" => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // This number of digits can't overflow 64 bits without a sign.
    if digits.len() > 19 || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut magnitude = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Adjacent elements: the range of their bytes in the run, and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: usize,
    pub to: usize,
    pub count: usize,
}

/// Consecutive elements. The bytes were made here or have passed [`Run::is_valid`].
#[derive(Clone, Copy, Debug)]
pub struct Run<'a, W> {
    bytes: &'a [u8],
    walk: PhantomData<W>,
}

const CUT: &str = "because a run's elements are whole: foreign bytes are validated first";

impl<'a, W: Walk> Run<'a, W> {
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, walk: PhantomData }
    }

    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Checks that untrusted bytes are a canonical run. Returns the number of its elements; `None`
    /// if they are not.
    pub fn is_valid(bytes: &[u8]) -> Option<usize> {
        let (mut at, mut count) = (0, 0);
        while at < bytes.len() {
            at += element::checked(&bytes[at..], W::TAILS)?;
            count += 1;
        }
        Some(count)
    }

    #[inline]
    fn shape_at(&self, at: usize) -> Shape {
        Shape::read(&self.bytes[at..], W::TAILS).expect(CUT)
    }

    /// The element that begins at this byte, and the offset of the next one.
    #[inline]
    pub fn at(&self, at: usize) -> Option<(Content<'a>, usize)> {
        if at >= self.bytes.len() {
            return None;
        }
        let shape = self.shape_at(at);
        Some((element::content(&self.bytes[at..], &shape), at + shape.bytes()))
    }

    /// The number of elements, counted by a walk.
    pub fn count(&self) -> usize {
        let (mut at, mut count) = (0, 0);
        while at < self.bytes.len() {
            at += self.shape_at(at).bytes();
            count += 1;
        }
        count
    }

    #[inline]
    pub fn iter(&self) -> PackedIter<'a, W> {
        PackedIter { run: *self, front: 0, back: self.bytes.len() }
    }

    /// The elements from the one that begins at this byte on.
    #[inline]
    pub fn iter_from(&self, at: usize) -> PackedIter<'a, W> {
        PackedIter { run: *self, front: at, back: self.bytes.len() }
    }

    /// The offset of the element at a 0-based index; the length of the bytes for the index after
    /// the last.
    pub fn seek(&self, index: usize) -> Option<usize> {
        let mut at = 0;
        for _ in 0..index {
            if at == self.bytes.len() {
                return None;
            }
            at += self.shape_at(at).bytes();
        }
        Some(at)
    }

    /// Up to `count` elements from the one that begins at this byte on.
    pub fn span_at(&self, from: usize, count: usize) -> Span {
        let (mut to, mut found) = (from, 0);
        while found < count && to < self.bytes.len() {
            to += self.shape_at(to).bytes();
            found += 1;
        }
        Span { from, to, count: found }
    }

    /// The position before the first element.
    pub fn front(&self) -> Span {
        Span { from: 0, to: 0, count: 0 }
    }

    /// The position after the last element.
    pub fn back(&self) -> Span {
        Span { from: self.bytes.len(), to: self.bytes.len(), count: 0 }
    }

    /// The first element that equals `wanted` among every `step`th, from the one that begins at
    /// byte `from` on. Returns its index, counted from there, as well.
    pub fn find_from(
        &self,
        from: usize,
        wanted: Content<'_>,
        step: usize,
    ) -> Option<(usize, Span)> {
        let head = Head::of(wanted);
        let body = match wanted {
            Content::Bytes(text) => text,
            Content::Integer(_) => &[],
        };
        let (mut at, mut index, mut until) = (from, 0, 0);
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            let bytes = Shape::read(rest, W::TAILS).expect(CUT).bytes();
            if until == 0 {
                until = step;
                if rest[0] == head.as_bytes()[0]
                    && let Some(rest) = rest.strip_prefix(head.as_bytes())
                    && rest.starts_with(body)
                {
                    return Some((index, Span { from: at, to: at + bytes, count: 1 }));
                }
            }
            until -= 1;
            at += bytes;
            index += 1;
        }
        None
    }
}

impl<'a> Run<'a, BothWays> {
    /// The offset of the element that ends before this byte.
    #[inline]
    pub fn before(&self, end: usize) -> Option<usize> {
        if end == 0 {
            return None;
        }
        Some(element::start_of_last(&self.bytes[..end]).expect(CUT))
    }

    /// The offset of the element at an index counted from the last, which is 0.
    pub fn seek_back(&self, index: usize) -> Option<usize> {
        let mut at = self.bytes.len();
        for _ in 0..=index {
            at = self.before(at)?;
        }
        Some(at)
    }
}

/// The size of an element in a run, in bytes.
#[inline]
pub fn element_bytes<W: Walk>(content: Content<'_>) -> usize {
    Shape::of(content, W::TAILS).bytes()
}

/// Writes an element to the start of `out`, which has room for it. Returns its size.
#[inline]
pub fn write_element<W: Walk>(content: Content<'_>, out: &mut [u8]) -> usize {
    element::write(content, W::TAILS, out)
}

/// The elements of a run; double-ended if the run can be walked both ways.
#[derive(Clone, Debug)]
pub struct PackedIter<'a, W> {
    run: Run<'a, W>,
    front: usize,
    back: usize,
}

impl<W> PackedIter<'_, W> {
    /// The offset of the next element.
    pub fn offset(&self) -> usize {
        self.front
    }
}

impl<'a, W: Walk> Iterator for PackedIter<'a, W> {
    type Item = Content<'a>;

    #[inline]
    fn next(&mut self) -> Option<Content<'a>> {
        if self.front >= self.back {
            return None;
        }
        let (content, next) = self.run.at(self.front)?;
        self.front = next;
        Some(content)
    }
}

impl DoubleEndedIterator for PackedIter<'_, BothWays> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        self.back = self.run.before(self.back)?;
        let (content, _) = self.run.at(self.back)?;
        Some(content)
    }
}

/// A run with a count in front, as an entry stores a small collection. The bytes were made here or
/// have passed [`Packed::validate`].
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a, W> {
    count: u8,
    run: Run<'a, W>,
}

impl<'a, W: Walk> Packed<'a, W> {
    /// The bytes of an empty collection.
    pub const EMPTY: &'static [u8] = &[0];

    /// Wraps bytes that were made here.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        let (&count, elements) = bytes.split_first().expect(CUT);
        Self { count, run: Run::new(elements) }
    }

    /// Wraps untrusted bytes; `None` if they are not valid.
    pub fn validate(bytes: &'a [u8]) -> Option<Self> {
        let (&said, elements) = bytes.split_first()?;
        let count = Run::<W>::is_valid(elements)?;
        (said == count_byte(count)).then(|| Self::new(bytes))
    }

    #[inline]
    pub fn run(&self) -> Run<'a, W> {
        self.run
    }

    /// The number of elements; above 254 they are counted by a walk.
    #[inline]
    pub fn len(&self) -> usize {
        if self.count == COUNT_BY_WALK { self.run.count() } else { usize::from(self.count) }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    pub fn iter(&self) -> PackedIter<'a, W> {
        self.run.iter()
    }

    /// The element at a 0-based index; `None` beyond the end.
    pub fn get(&self, index: usize) -> Option<Content<'a>> {
        Some(self.run.at(self.run.seek(index)?)?.0)
    }

    /// The first element that equals `wanted` among every `step`th, and its 0-based index.
    #[inline]
    pub fn find(&self, wanted: Content<'_>, step: usize) -> Option<(usize, Span)> {
        self.run.find_from(0, wanted, step)
    }

    /// Up to `count` elements from a 0-based index on.
    pub fn span(&self, index: usize, count: usize) -> Option<Span> {
        Some(self.run.span_at(self.run.seek(index)?, count))
    }

    /// The change that replaces some of these elements by others.
    pub fn splice<'b>(&self, removed: Span, inserted: &'b [Content<'b>]) -> Splice<'b, W>
    where
        'a: 'b,
    {
        let count = self.len() - removed.count + inserted.len();
        Splice { old: self.run, count, removed, inserted }
    }
}

fn count_byte(count: usize) -> u8 {
    if count > COUNT_MAX { COUNT_BY_WALK } else { count as u8 }
}

/// A change of a [`Packed`] that is not applied yet.
#[derive(Clone, Copy, Debug)]
#[must_use = "a splice changes nothing: write it"]
pub struct Splice<'a, W> {
    old: Run<'a, W>,
    count: usize,
    removed: Span,
    inserted: &'a [Content<'a>],
}

impl<W: Walk> Splice<'_, W> {
    /// The number of elements of the result.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The size of the result in bytes.
    pub fn bytes(&self) -> usize {
        1 + self.old.bytes.len() - (self.removed.to - self.removed.from) + self.inserted_bytes()
    }

    fn inserted_bytes(&self) -> usize {
        self.inserted.iter().map(|&content| element_bytes::<W>(content)).sum()
    }

    /// Writes the result to `out`, whose length is [`bytes`](Self::bytes).
    pub fn write(&self, out: &mut [u8]) {
        let (before, after) =
            (&self.old.bytes[..self.removed.from], &self.old.bytes[self.removed.to..]);
        out[0] = count_byte(self.count);
        let mut at = 1 + before.len();
        out[1..at].copy_from_slice(before);
        for &content in self.inserted {
            at += write_element::<W>(content, &mut out[at..]);
        }
        out[at..].copy_from_slice(after);
    }
}

/// An owned [`Packed`] that grows in place.
#[derive(Clone, Debug)]
pub struct PackedVec<W> {
    bytes: Vec<u8>,
    walk: PhantomData<W>,
}

impl<W: Walk> Default for PackedVec<W> {
    fn default() -> Self {
        Self { bytes: Packed::<W>::EMPTY.to_vec(), walk: PhantomData }
    }
}

impl<W: Walk> PackedVec<W> {
    /// A copy with spare capacity of this many bytes.
    pub fn copy_of(packed: Packed<'_, W>, more: usize) -> Self {
        let mut bytes = Vec::with_capacity(1 + packed.run.bytes.len() + more);
        bytes.push(packed.count);
        bytes.extend_from_slice(packed.run.bytes);
        Self { bytes, walk: PhantomData }
    }

    #[inline]
    pub fn view(&self) -> Packed<'_, W> {
        Packed::new(&self.bytes)
    }

    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends an element.
    pub fn push(&mut self, content: Content<'_>) {
        let count = if self.bytes[0] == COUNT_BY_WALK {
            COUNT_BY_WALK
        } else {
            count_byte(usize::from(self.bytes[0]) + 1)
        };
        let end = self.bytes.len();
        self.bytes.resize(end + element_bytes::<W>(content), 0);
        write_element::<W>(content, &mut self.bytes[end..]);
        self.bytes[0] = count;
    }

    /// Replaces elements by others.
    pub fn splice(&mut self, removed: Span, inserted: &[Content<'_>]) {
        let count = self.view().len() - removed.count + inserted.len();
        let more: usize = inserted.iter().map(|&content| element_bytes::<W>(content)).sum();
        let (from, to, end) = (1 + removed.from, 1 + removed.to, self.bytes.len());
        let len = end - (to - from) + more;
        self.bytes.resize(len.max(end), 0);
        self.bytes.copy_within(to..end, from + more);
        self.bytes.truncate(len);
        let mut at = from;
        for &content in inserted {
            at += write_element::<W>(content, &mut self.bytes[at..]);
        }
        self.bytes[0] = count_byte(count);
    }
}
