//! A filter for items that repeat within a cell: forgetful, never wrong.

/// Smaller cells are not worth the table.
const LEN_MIN: usize = 64;
/// Up to this many items have a place each.
const TABLE_LEN_WHOLE: usize = 1 << 12;
/// 1 MiB at most, which is zeroed at a stroke. With more distinct items than places many repeats
/// slip through; they meet the filter again on every level.
const TABLE_LEN_MAX: usize = 1 << 18;

/// Each place of the table holds the last item that fell on it. The default remembers nothing.
#[derive(Default)]
pub(super) struct Seen {
    table: Vec<u32>,
}

impl Seen {
    pub(super) fn sized_for(cell_len: usize) -> Self {
        if cell_len < LEN_MIN {
            return Self::default();
        }
        // Of a big cell a quarter will do: enough where most items are repeats.
        let len = cell_len.min(TABLE_LEN_WHOLE).max(cell_len / 4);
        let mut table = vec![0; len.next_power_of_two().min(TABLE_LEN_MAX)];
        // Item 0 falls on place 0 and item 1 does not: no place holds an item of its own.
        table[0] = 1;
        Self { table }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.table.capacity() * size_of::<u32>()
    }

    /// Moves the items not known as repeats to the front and returns how many they are.
    pub(super) fn retain_new(&mut self, items: &mut [u32]) -> usize {
        if self.table.is_empty() {
            return items.len();
        }
        // Knuth's multiplier: the upper bits of the product are well mixed.
        let shift = u32::BITS - self.table.len().trailing_zeros();
        let mut kept = 0;
        for read in 0..items.len() {
            let item = items[read];
            let place = &mut self.table[(item.wrapping_mul(0x9E37_79B1) >> shift) as usize];
            if *place != item {
                *place = item;
                items[kept] = item;
                kept += 1;
            }
        }
        kept
    }
}
