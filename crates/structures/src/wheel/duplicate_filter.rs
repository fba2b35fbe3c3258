//! A filter for items that repeat within a cell: it may miss repeats, but never reports a wrong
//! one.

/// The minimum size of a cell for which the table is worth its memory.
const LEN_MIN: usize = 64;
/// Up to this many items have one entry each.
const TABLE_LEN_WHOLE: usize = 1 << 12;
/// 1 MiB at most. With more distinct items than entries many repeats are missed; they pass the
/// filter again on every level.
const TABLE_LEN_MAX: usize = 1 << 18;
/// The number of entries that are allocated together: 4 KiB.
const PART_LEN: usize = 1 << 10;

/// Each entry of the table holds the last item that hashed to it. Empty by default.
#[derive(Default)]
pub(super) struct DuplicateFilter {
    /// In parts, each allocated for the first item that hashes to it: a megabyte of new memory at
    /// once can take the system 4 ms.
    parts: Vec<Option<Box<[u32; PART_LEN]>>>,
    made: usize,
    /// An item's entry is in the upper bits of its product.
    shift: u32,
}

impl DuplicateFilter {
    pub(super) fn sized_for(cell_len: usize) -> Self {
        if cell_len < LEN_MIN {
            return Self::default();
        }
        // A quarter is enough for large cells if most items are repeats.
        let len = cell_len.min(TABLE_LEN_WHOLE).max(cell_len / 4);
        let len = len.next_power_of_two().min(TABLE_LEN_MAX);
        let mut parts = Vec::new();
        parts.resize_with(len.div_ceil(PART_LEN), || None);
        Self { parts, made: 0, shift: u32::BITS - len.trailing_zeros() }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.parts.capacity() * size_of::<Option<Box<[u32; PART_LEN]>>>()
            + self.made * size_of::<[u32; PART_LEN]>()
    }

    /// Moves the items that are not known repeats to the front and returns their number.
    pub(super) fn retain_new(&mut self, items: &mut [u32]) -> usize {
        if self.parts.is_empty() {
            return items.len();
        }
        let mut kept = 0;
        for read in 0..items.len() {
            let item = items[read];
            // Multiplicative hashing (Knuth, TAOCP vol. 3, 6.4): the upper bits of the product are
            // well mixed.
            let place = (item.wrapping_mul(0x9E37_79B1) >> self.shift) as usize;
            let number = place / PART_LEN;
            let made = &mut self.made;
            let part = self.parts[number].get_or_insert_with(|| {
                *made += 1;
                new_part(number)
            });
            let last = &mut part[place % PART_LEN];
            if *last != item {
                *last = item;
                items[kept] = item;
                kept += 1;
            }
        }
        kept
    }
}

#[cold]
fn new_part(number: usize) -> Box<[u32; PART_LEN]> {
    let mut part = Box::new([0; PART_LEN]);
    // Item 0 hashes to entry 0 and item 1 does not, so every entry starts with an item of another
    // entry.
    if number == 0 {
        part[0] = 1;
    }
    part
}
