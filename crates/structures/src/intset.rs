//! Intset: a small set of integers as sorted bytes, as in Redis' intset.c.
//!
//! ```text
//! │ width: 2, 4 or 8 │ integer │ integer │ …        each `width` bytes, the least first
//! ```
//!
//! All integers have the width of the widest one, which never shrinks. A change is an
//! [`IntSplice`]: it returns the size of the result, then writes it into a buffer of exactly that
//! size.
//!
//! Not here: when a set leaves this encoding (`keyspace`).

/// Sorted distinct integers. The bytes were made here or have passed [`IntSet::validate`].
#[derive(Clone, Copy, Debug)]
pub struct IntSet<'a> {
    width: Width,
    integers: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Width {
    Two = 2,
    Four = 4,
    Eight = 8,
}

impl Width {
    fn of(value: i64) -> Self {
        if i16::try_from(value).is_ok() {
            Self::Two
        } else if i32::try_from(value).is_ok() {
            Self::Four
        } else {
            Self::Eight
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            2 => Some(Self::Two),
            4 => Some(Self::Four),
            8 => Some(Self::Eight),
            _ => None,
        }
    }

    const fn bytes(self) -> usize {
        self as usize
    }

    #[inline]
    fn read(self, integers: &[u8], index: usize) -> i64 {
        let bytes = &integers[index * self.bytes()..][..self.bytes()];
        match (self, bytes.first_chunk::<4>(), bytes.first_chunk::<8>()) {
            (Self::Eight, _, Some(bytes)) => i64::from_le_bytes(*bytes),
            (Self::Four, Some(bytes), _) => i64::from(i32::from_le_bytes(*bytes)),
            _ => i64::from(i16::from_le_bytes([bytes[0], bytes[1]])),
        }
    }

    fn write(self, value: i64, out: &mut [u8]) {
        out.copy_from_slice(&value.to_le_bytes()[..self.bytes()]);
    }
}

impl<'a> IntSet<'a> {
    /// The bytes of an empty set.
    pub const EMPTY: &'static [u8] = &[Width::Two as u8];

    /// Wraps bytes that were made here.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        let width = Width::from_byte(bytes[0]).expect("foreign bytes are validated first");
        Self { width, integers: &bytes[1..] }
    }

    /// Wraps untrusted bytes; `None` if they are not a valid set (width, length, order).
    pub fn validate(bytes: &'a [u8]) -> Option<Self> {
        let (&width, integers) = bytes.split_first()?;
        let width = Width::from_byte(width)?;
        if !integers.len().is_multiple_of(width.bytes()) {
            return None;
        }
        let set = Self { width, integers };
        set.iter().is_sorted_by(|one, next| one < next).then_some(set)
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.integers.len() / self.width.bytes()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.integers.is_empty()
    }

    /// The integer at a 0-based index, in ascending order. Panics beyond the end.
    #[inline]
    pub fn at(&self, index: usize) -> i64 {
        self.width.read(self.integers, index)
    }

    #[inline]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone + 'a {
        let set = *self;
        (0..set.len()).map(move |index| set.at(index))
    }

    /// `Ok` with the index of a value, or `Err` with the index where it would be inserted.
    #[inline]
    pub fn search(&self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.at(middle) < value {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low < self.len() && self.at(low) == value { Ok(low) } else { Err(low) }
    }

    #[inline]
    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// The change that inserts a value; `None` if the set has it.
    pub fn insert(&self, value: i64) -> Option<IntSplice<'a>> {
        let at = self.search(value).err()?;
        let width = self.width.max(Width::of(value));
        Some(IntSplice { old: *self, width, at, removed: 0, inserted: Some(value) })
    }

    /// The change that removes a value; `None` if the set lacks it.
    pub fn remove(&self, value: i64) -> Option<IntSplice<'a>> {
        let at = self.search(value).ok()?;
        Some(IntSplice { old: *self, width: self.width, at, removed: 1, inserted: None })
    }
}

/// A change of an [`IntSet`] that is not applied yet.
#[derive(Clone, Copy, Debug)]
#[must_use = "a splice changes nothing: write it"]
pub struct IntSplice<'a> {
    old: IntSet<'a>,
    width: Width,
    at: usize,
    removed: usize,
    inserted: Option<i64>,
}

impl IntSplice<'_> {
    /// The number of integers of the result.
    pub fn count(&self) -> usize {
        self.old.len() - self.removed + usize::from(self.inserted.is_some())
    }

    /// The size of the result in bytes.
    pub fn bytes(&self) -> usize {
        1 + self.count() * self.width.bytes()
    }

    /// Writes the result to `out`, whose length is [`bytes`](Self::bytes).
    pub fn write(&self, out: &mut [u8]) {
        let (width, old) = (self.width, &self.old);
        out[0] = width as u8;
        let (before, rest) = out[1..].split_at_mut(self.at * width.bytes());
        let inserted = usize::from(self.inserted.is_some()) * width.bytes();
        let (place, after) = rest.split_at_mut(inserted);
        if let Some(value) = self.inserted {
            width.write(value, place);
        }
        copy(old, 0, width, before);
        copy(old, self.at + self.removed, width, after);
    }
}

/// Fills `out` with the integers from an index on, widened if necessary.
fn copy(old: &IntSet<'_>, from: usize, width: Width, out: &mut [u8]) {
    if width == old.width {
        out.copy_from_slice(&old.integers[from * width.bytes()..][..out.len()]);
        return;
    }
    for (place, index) in out.chunks_exact_mut(width.bytes()).zip(from..) {
        width.write(old.at(index), place);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn written(splice: IntSplice<'_>) -> Vec<u8> {
        let mut bytes = vec![0xAA; splice.bytes()];
        splice.write(&mut bytes);
        bytes
    }

    fn values() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => -20..20_i64,
            1 => i64::from(i16::MIN) - 2..i64::from(i16::MIN) + 2,
            1 => i64::from(i32::MAX) - 2..i64::from(i32::MAX) + 2,
            1 => prop_oneof![Just(i64::MIN), Just(i64::MAX)],
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 300 }))]
        #[test]
        fn behaves_as_a_sorted_set(steps in prop::collection::vec((any::<bool>(), values()), 0..60)) {
            let (mut bytes, mut model) = (IntSet::EMPTY.to_vec(), BTreeSet::new());
            for (adds, value) in steps {
                let set = IntSet::new(&bytes);
                prop_assert_eq!(set.contains(value), model.contains(&value));
                let splice = if adds { set.insert(value) } else { set.remove(value) };
                prop_assert_eq!(splice.is_some(), if adds { model.insert(value) } else { model.remove(&value) });
                if let Some(splice) = splice {
                    prop_assert_eq!(splice.count(), model.len());
                    bytes = written(splice);
                }
                let set = IntSet::validate(&bytes).expect("what is written is valid");
                prop_assert!(set.iter().eq(model.iter().copied()));
                prop_assert!(set.iter().rev().eq(model.iter().rev().copied()));
            }
        }

        #[test]
        fn foreign_bytes_are_refused_or_sorted(bytes in prop::collection::vec(0..9_u8, 0..40)) {
            if let Some(set) = IntSet::validate(&bytes) {
                prop_assert!(set.iter().all(|value| set.contains(value)));
                prop_assert_eq!(set.iter().collect::<BTreeSet<_>>().len(), set.len());
            }
        }
    }

    #[test]
    fn widths_are_the_least_that_do() {
        let mut bytes = IntSet::EMPTY.to_vec();
        for (value, len) in [(5, 3), (-32_768, 5), (32_768, 13), (1 << 31, 33), (6, 41)] {
            bytes = written(IntSet::new(&bytes).insert(value).expect("it is new"));
            assert_eq!(bytes.len(), len, "after {value}");
        }
        bytes = written(IntSet::new(&bytes).remove(1 << 31).expect("it is there"));
        assert_eq!(bytes.len(), 33, "the width stays");
    }
}
