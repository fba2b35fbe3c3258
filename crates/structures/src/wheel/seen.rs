//! A filter for items that repeat within a cell: forgetful, never wrong.

/// Smaller cells are not worth the table.
const LEN_MIN: usize = 64;
/// Up to this many items have a place each.
const TABLE_LEN_WHOLE: usize = 1 << 12;
/// 1 MiB at most. With more distinct items than places many repeats slip through; they meet the
/// filter again on every level.
const TABLE_LEN_MAX: usize = 1 << 18;
/// Places that are made together: 4 KiB.
const PART_LEN: usize = 1 << 10;

/// Each place of the table holds the last item that fell on it. The default remembers nothing.
#[derive(Default)]
pub(super) struct Seen {
    /// In parts, each made for the first item that falls on it: a megabyte of new memory at a stroke
    /// can take the system 4 ms.
    parts: Vec<Option<Box<[u32; PART_LEN]>>>,
    made: usize,
    /// An item's place is in the upper bits of its product.
    shift: u32,
}

impl Seen {
    pub(super) fn sized_for(cell_len: usize) -> Self {
        if cell_len < LEN_MIN {
            return Self::default();
        }
        // Of a big cell a quarter will do: enough where most items are repeats.
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

    /// Moves the items not known as repeats to the front and returns how many they are.
    pub(super) fn retain_new(&mut self, items: &mut [u32]) -> usize {
        if self.parts.is_empty() {
            return items.len();
        }
        let mut kept = 0;
        for read in 0..items.len() {
            let item = items[read];
            // Knuth's multiplier: the upper bits of the product are well mixed.
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
    // Item 0 falls on place 0 and item 1 does not: no place holds an item of its own.
    if number == 0 {
        part[0] = 1;
    }
    part
}
