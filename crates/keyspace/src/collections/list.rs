//! Lists: elements in order.
//!
//! A short list lies packed in its entry's block, a longer one in nodes; which name OBJECT ENCODING has
//! for it follows Redis' thresholds, whichever of the two it is.

use basalt_structures::{
    BothWays, Collection, Content, Entry, Kind, List, ListBack as NodesBack,
    ListForth as NodesForth, NodeLimit, Packed, PackedIter, PackedVec, Side, Small, Span, Value,
};

use super::{CollectionChange, Means};
use crate::Digest;
use crate::codec::{Malformed, Reader, Strings, put_bytes, put_string_run, put_strings};

/// The longest list that lies in its entry's block: it is written anew with every change.
const PACKED_BYTES_MAX: usize = 512;

/// A list as commands read it.
#[derive(Clone, Copy, Debug)]
pub enum ListRef<'a> {
    Packed(Packed<'a, BothWays>),
    Nodes(&'a List),
}

impl<'a> ListRef<'a> {
    /// The list that an entry holds; none where it holds something else.
    #[inline]
    pub fn of(entry: &'a Entry) -> Option<Self> {
        match entry.value() {
            Value::Small(Small::List, bytes) => Some(Self::Packed(Packed::new(bytes))),
            Value::Boxed(Collection::List(list)) => Some(Self::Nodes(list)),
            _ => None,
        }
    }

    #[inline]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(packed) => packed.len(),
            Self::Nodes(list) => list.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn get(self, index: usize) -> Option<Content<'a>> {
        match self {
            Self::Packed(packed) => packed.get(index),
            Self::Nodes(list) => list.get(index),
        }
    }

    /// The elements from an index on.
    pub fn iter_from(self, index: usize) -> ListForth<'a> {
        match self {
            Self::Packed(packed) => {
                let run = packed.run();
                let at = run.seek(index).unwrap_or(run.as_bytes().len());
                ListForth::Packed(run.iter_from(at))
            }
            Self::Nodes(list) => ListForth::Nodes(list.iter_from(index)),
        }
    }

    /// The elements from an index on backwards.
    pub fn iter_back_from(self, index: usize) -> ListBack<'a> {
        match self {
            Self::Packed(packed) => {
                let run = packed.run();
                let end = run.seek(index + 1).unwrap_or(0);
                ListBack::Packed(basalt_structures::Run::new(&run.as_bytes()[..end]).iter())
            }
            Self::Nodes(list) => ListBack::Nodes(list.iter_back_from(index)),
        }
    }

    /// The elements from one end on.
    pub fn iter_end(self, side: Side) -> ListIter<'a> {
        match side {
            Side::Front => ListIter::Forth(self.iter_from(0)),
            Side::Back => ListIter::Back(self.iter_back_from(self.len().saturating_sub(1))),
        }
    }
}

/// The elements of a list, forwards.
#[derive(Clone, Debug)]
pub enum ListForth<'a> {
    Packed(PackedIter<'a, BothWays>),
    Nodes(NodesForth<'a>),
}

impl<'a> Iterator for ListForth<'a> {
    type Item = Content<'a>;

    #[inline]
    fn next(&mut self) -> Option<Content<'a>> {
        match self {
            Self::Packed(iter) => iter.next(),
            Self::Nodes(iter) => iter.next(),
        }
    }
}

/// The elements of a list, backwards.
#[derive(Clone, Debug)]
pub enum ListBack<'a> {
    Packed(PackedIter<'a, BothWays>),
    Nodes(NodesBack<'a>),
}

impl<'a> Iterator for ListBack<'a> {
    type Item = Content<'a>;

    #[inline]
    fn next(&mut self) -> Option<Content<'a>> {
        match self {
            Self::Packed(iter) => iter.next_back(),
            Self::Nodes(iter) => iter.next(),
        }
    }
}

/// The elements of a list from either end.
#[derive(Clone, Debug)]
pub enum ListIter<'a> {
    Forth(ListForth<'a>),
    Back(ListBack<'a>),
}

impl<'a> Iterator for ListIter<'a> {
    type Item = Content<'a>;

    #[inline]
    fn next(&mut self) -> Option<Content<'a>> {
        match self {
            Self::Forth(iter) => iter.next(),
            Self::Back(iter) => iter.next(),
        }
    }
}

/// A change of a list. Elements that are not there are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListChange<'a> {
    /// One after the other at one end.
    Push {
        side: Side,
        elements: Strings<'a>,
    },
    Pop {
        side: Side,
        count: u64,
    },
    Set {
        index: u64,
        element: &'a [u8],
    },
    /// Before the element at an index, or behind the last.
    Insert {
        index: u64,
        element: &'a [u8],
    },
    /// Up to `count` elements that equal this one, from one end on.
    Remove {
        element: &'a [u8],
        from: Side,
        count: u64,
    },
    /// The elements of a range stay.
    Keep {
        start: u64,
        end: u64,
    },
}

impl ListChange<'_> {
    fn apply_packed(self, packed: Packed<'_, BothWays>) -> PackedVec<BothWays> {
        let len = packed.len();
        let mut result = PackedVec::copy_of(packed, 0);
        match self {
            Self::Push { side, elements } => {
                for element in elements.iter() {
                    let at = match side {
                        Side::Front => result.view().run().front(),
                        Side::Back => result.view().run().back(),
                    };
                    result.splice(at, &[Content::of(element)]);
                }
            }
            Self::Pop { side, count } => {
                let count = within(count, len);
                cut(&mut result, if side == Side::Front { 0 } else { len - count }, count);
            }
            Self::Set { index, element } => {
                if let Some(span) = packed.span(within(index, len), 1)
                    && span.count == 1
                {
                    result.splice(span, &[Content::of(element)]);
                }
            }
            Self::Insert { index, element } => {
                if let Some(span) = packed.span(within(index, len), 0) {
                    result.splice(span, &[Content::of(element)]);
                }
            }
            Self::Remove { element, from, count } => {
                let equal = spans_equal(packed, Content::of(element));
                let skipped = match from {
                    Side::Front => 0,
                    Side::Back => equal.len() - within(count, equal.len()),
                };
                let chosen = equal.iter().skip(skipped).take(within(count, equal.len()));
                // From the last on, so that the places of the others stay true.
                chosen.rev().for_each(|span| result.splice(*span, &[]));
            }
            Self::Keep { start, end } => {
                let (start, end) = (within(start, len), within(end, len));
                cut(&mut result, end, len - end);
                cut(&mut result, 0, start);
            }
        }
        result
    }

    fn apply_nodes(self, list: &mut List) {
        let len = list.len();
        match self {
            Self::Push { side, elements } => {
                elements.iter().for_each(|element| list.push(side, Content::of(element)));
            }
            Self::Pop { side, count } => list.remove_end(side, within(count, len)),
            Self::Set { index, element } => {
                if within(index, len) < len {
                    list.set(within(index, len), Content::of(element));
                }
            }
            Self::Insert { index, element } => {
                list.insert(within(index, len), Content::of(element));
            }
            Self::Remove { element, from, count } => {
                list.remove_equal(Content::of(element), from, within(count, len));
            }
            Self::Keep { start, end } => list.keep(within(start, len)..within(end, len)),
        }
    }

    /// About how many bytes more there may be.
    fn more_bytes(self) -> usize {
        match self {
            Self::Push { elements, .. } => elements.iter().map(|element| element.len() + 4).sum(),
            Self::Set { element, .. } | Self::Insert { element, .. } => element.len() + 4,
            Self::Pop { .. } | Self::Remove { .. } | Self::Keep { .. } => 0,
        }
    }
}

fn within(number: u64, len: usize) -> usize {
    usize::try_from(number).map_or(len, |number| number.min(len))
}

fn cut(packed: &mut PackedVec<BothWays>, index: usize, count: usize) {
    if let Some(span) = packed.view().span(index, count) {
        packed.splice(span, &[]);
    }
}

fn spans_equal(packed: Packed<'_, BothWays>, wanted: Content<'_>) -> Vec<Span> {
    let (run, mut spans, mut at) = (packed.run(), Vec::new(), 0);
    while let Some((_, span)) = run.find_from(at, wanted, 1) {
        spans.push(span);
        at = span.to;
    }
    spans
}

impl<'a> CollectionChange<'a> for ListChange<'a> {
    const KIND: Kind = Kind::List;

    fn start(key: &[u8], access: u32) -> Entry {
        Entry::small(Small::List, key, Packed::<BothWays>::EMPTY, None, access)
    }

    fn apply(self, entry: &mut Entry, means: Means<'_>) {
        let limit = NodeLimit::of_parameter(i64::from(means.thresholds.list_max_listpack_size));
        if let Value::Small(Small::List, bytes) = entry.value() {
            let packed = Packed::new(bytes);
            if bytes.len() + self.more_bytes() <= PACKED_BYTES_MAX {
                let result = self.apply_packed(packed);
                let len = result.view().len();
                if result.as_bytes().len() <= limit.bytes as usize && len <= limit.count as usize {
                    return entry.set_small(Small::List, result.as_bytes());
                }
            }
            let list = List::of_packed(packed, limit);
            entry.set_boxed(Box::new(Collection::List(list)));
        }
        let Some(Collection::List(list)) = entry.collection_mut() else {
            panic!("a list is changed")
        };
        self.apply_nodes(list);
        list.settle_encoding(limit);
        if self.more_bytes() > 0 || list.is_quicklist() {
            return;
        }
        let packed = list.single_run().filter(|run| run.as_bytes().len() <= PACKED_BYTES_MAX / 2);
        if let Some(run) = packed {
            let mut result = PackedVec::<BothWays>::default();
            run.iter().for_each(|content| result.push(content));
            entry.set_small(Small::List, result.as_bytes());
        }
    }

    fn encode(self, out: &mut Vec<u8>) {
        match self {
            Self::Push { side, elements } => {
                out.extend_from_slice(&[0, side_byte(side)]);
                put_strings(out, elements);
            }
            Self::Pop { side, count } => {
                out.extend_from_slice(&[1, side_byte(side)]);
                out.extend_from_slice(&count.to_le_bytes());
            }
            Self::Set { index, element } => {
                out.push(2);
                out.extend_from_slice(&index.to_le_bytes());
                put_bytes(out, element);
            }
            Self::Insert { index, element } => {
                out.push(3);
                out.extend_from_slice(&index.to_le_bytes());
                put_bytes(out, element);
            }
            Self::Remove { element, from, count } => {
                out.extend_from_slice(&[4, side_byte(from)]);
                out.extend_from_slice(&count.to_le_bytes());
                put_bytes(out, element);
            }
            Self::Keep { start, end } => {
                out.push(5);
                out.extend_from_slice(&start.to_le_bytes());
                out.extend_from_slice(&end.to_le_bytes());
            }
        }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(match reader.byte()? {
            0 => Self::Push { side: read_side(reader)?, elements: reader.strings()? },
            1 => Self::Pop { side: read_side(reader)?, count: reader.u64()? },
            2 => Self::Set { index: reader.u64()?, element: reader.bytes()? },
            3 => Self::Insert { index: reader.u64()?, element: reader.bytes()? },
            4 => {
                let (from, count) = (read_side(reader)?, reader.u64()?);
                Self::Remove { element: reader.bytes()?, from, count }
            }
            5 => Self::Keep { start: reader.u64()?, end: reader.u64()? },
            _ => return Err(Malformed),
        })
    }
}

fn side_byte(side: Side) -> u8 {
    match side {
        Side::Front => 0,
        Side::Back => 1,
    }
}

fn read_side(reader: &mut Reader<'_>) -> Result<Side, Malformed> {
    match reader.byte()? {
        0 => Ok(Side::Front),
        1 => Ok(Side::Back),
        _ => Err(Malformed),
    }
}

impl ListChange<'_> {
    /// The changes that make a list of these elements, for `Effect::SetCollection`.
    pub fn to_changes(self) -> Vec<u8> {
        let mut changes = Vec::new();
        self.encode(&mut changes);
        changes
    }
}

pub(super) fn write_changes(entry: &Entry, out: &mut Vec<u8>) {
    let list = ListRef::of(entry).expect("a list is looked at");
    out.extend_from_slice(&[0, side_byte(Side::Back)]);
    put_string_run(out, |out| {
        let mut digits = basalt_structures::Digits::default();
        for content in list.iter_from(0) {
            put_bytes(out, content.as_text(&mut digits));
        }
        list.len()
    });
}

pub(super) fn digest_elements(entry: &Entry, digest: &mut Digest) {
    let list = ListRef::of(entry).expect("a list is looked at");
    let mut digits = basalt_structures::Digits::default();
    list.iter_from(0).for_each(|content| digest.mix(content.as_text(&mut digits)));
}

pub(super) fn is_empty_packed(bytes: &[u8]) -> bool {
    Packed::<BothWays>::new(bytes).is_empty()
}
