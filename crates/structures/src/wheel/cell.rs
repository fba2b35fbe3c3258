//! A level's ring of cells, and the storage of a cell's items.
//!
//! Every function that allocates or frees updates a `bytes` counter of the caller.

use std::mem;

/// The number of items that are processed together.
pub(super) const GROUP_LEN_MAX: usize = 32;
/// Items in a full chunk: 2 KiB, a size class of every allocator.
const CHUNK_LEN: usize = 512;
const WORD_CELLS: usize = u64::BITS as usize;
const WORDS: usize = Level::CELLS as usize / WORD_CELLS;

/// A ring of cells. Cells are numbered from the epoch; the caller makes sure that the numbers in
/// use are within one round.
#[derive(Default)]
pub(super) struct Level {
    /// A bit per word of `occupied` that is not zero.
    summary: u8,
    occupied: [u64; WORDS],
    /// The cells of one word, allocated while any of them is occupied.
    blocks: [Option<Box<[Cell; WORD_CELLS]>>; WORDS],
}

/// Items in no particular order: chunks of fixed length, and a tail that grows in steps, so that
/// neither many small cells nor a few huge ones waste much, and growth never copies more than 2
/// KiB. The tail is empty only if the whole cell is.
#[derive(Default)]
pub(super) struct Cell {
    tail: Vec<u32>,
    #[expect(clippy::vec_box, reason = "a growing list of chunks must not copy the chunks")]
    full: Vec<Box<[u32; CHUNK_LEN]>>,
}

const _: () = assert!(WORDS == u8::BITS as usize, "the summary has one bit per word");

impl Level {
    pub(super) const CELLS: u64 = 512;

    /// The first occupied cell from `cell` on, once around the ring.
    pub(super) fn first_from(&self, cell: u64) -> Option<u64> {
        let (word, bit) = index_of(cell);
        let here = self.occupied[word] >> bit;
        if here != 0 {
            return Some(cell + u64::from(here.trailing_zeros()));
        }
        // Bit 0 is the next word; bit 7 is this word again, for its cells before `cell`.
        let others = self.summary.rotate_right(word as u32 + 1);
        if others == 0 {
            return None;
        }
        let found_word = (word + 1 + others.trailing_zeros() as usize) % WORDS;
        let found_bit = self.occupied[found_word].trailing_zeros() as usize;
        let from = word * WORD_CELLS + bit;
        let found = found_word * WORD_CELLS + found_bit;
        let cells = Self::CELLS as usize;
        Some(cell + ((found + cells - from) % cells) as u64)
    }

    pub(super) fn push(&mut self, cell: u64, item: u32, bytes: &mut usize) {
        let (word, bit) = index_of(cell);
        let block = self.blocks[word].get_or_insert_with(|| {
            *bytes += size_of::<[Cell; WORD_CELLS]>();
            Box::new(std::array::from_fn(|_| Cell::default()))
        });
        self.occupied[word] |= 1 << bit;
        self.summary |= 1 << word;
        block[bit].push(item, bytes);
    }

    /// An occupied cell.
    pub(super) fn cell_mut(&mut self, cell: u64) -> &mut Cell {
        let (word, bit) = index_of(cell);
        let block = self.blocks[word].as_mut();
        &mut block.expect("the word of an occupied cell has its block")[bit]
    }

    pub(super) fn cell(&self, cell: u64) -> Option<&Cell> {
        let (word, bit) = index_of(cell);
        self.blocks[word].as_ref().map(|block| &block[bit])
    }

    /// Marks an occupied cell as empty if it is. Returns whether it is.
    pub(super) fn vacate_if_empty(&mut self, cell: u64, bytes: &mut usize) -> bool {
        if !self.cell_mut(cell).is_empty() {
            return false;
        }
        let (word, bit) = index_of(cell);
        self.occupied[word] &= !(1 << bit);
        if self.occupied[word] == 0 {
            self.summary &= !(1 << word);
            self.blocks[word] = None;
            *bytes -= size_of::<[Cell; WORD_CELLS]>();
        }
        true
    }

    #[cfg(all(test, not(miri)))]
    pub(super) fn walk(&self) -> (usize, usize) {
        let blocks = self.blocks.iter().flatten();
        blocks.fold((0, 0), |(len, bytes), block| {
            let cells = block.iter();
            let block_len: usize = cells.clone().map(Cell::len).sum();
            let block_bytes: usize = cells.map(Cell::heap_bytes).sum();
            (len + block_len, bytes + block_bytes + size_of_val(&**block))
        })
    }
}

impl Cell {
    pub(super) fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.full.len() * CHUNK_LEN + self.tail.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.tail.iter().chain(self.full.iter().flat_map(|chunk| chunk.iter())).copied()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.tail.capacity() * size_of::<u32>()
            + self.full.capacity() * size_of::<Box<[u32; CHUNK_LEN]>>()
            + self.full.len() * size_of::<[u32; CHUNK_LEN]>()
    }

    pub(super) fn push(&mut self, item: u32, bytes: &mut usize) {
        if self.tail.len() == self.tail.capacity() {
            self.keeping_books(bytes, Self::make_room);
        }
        self.tail.push(item);
    }

    /// Moves as many items out as `items` has room for, or those of the tail; returns their number.
    pub(super) fn take_group(&mut self, items: &mut [u32], bytes: &mut usize) -> usize {
        let rest = self.tail.len().saturating_sub(items.len());
        let taken = self.tail.len() - rest;
        items[..taken].copy_from_slice(&self.tail[rest..]);
        self.tail.truncate(rest);
        if rest == 0 {
            self.keeping_books(bytes, Self::refill_tail);
        }
        taken
    }

    pub(super) fn absorb(&mut self, mut other: Self, bytes: &mut usize) {
        *bytes -= other.heap_bytes();
        self.keeping_books(bytes, |cell| cell.full.append(&mut other.full));
        for item in other.tail {
            self.push(item, bytes);
        }
    }

    fn make_room(&mut self) {
        let len = self.tail.len();
        let capacity = if len < CHUNK_LEN {
            // 4, 8, 12, 16, 24, 32, 48 …: a third wasted at most, a sixth on average.
            let grown = match len {
                0..16 => len + 4,
                _ if len.is_power_of_two() => len / 2 * 3,
                _ => len / 3 * 4,
            };
            grown.min(CHUNK_LEN)
        } else {
            let tail = mem::take(&mut self.tail).into_boxed_slice();
            self.full.push(tail.try_into().expect("a full tail has the length of a chunk"));
            (self.full.len() * (CHUNK_LEN / 8)).min(CHUNK_LEN)
        };
        self.tail.reserve_exact(capacity - self.tail.len());
    }

    fn refill_tail(&mut self) {
        self.tail = match self.full.pop() {
            Some(chunk) => (chunk as Box<[u32]>).into_vec(),
            None => Vec::new(),
        };
        if self.full.is_empty() {
            self.full = Vec::new();
        }
    }

    fn keeping_books(&mut self, bytes: &mut usize, change: impl FnOnce(&mut Self)) {
        let before = self.heap_bytes();
        change(self);
        *bytes = *bytes + self.heap_bytes() - before;
    }
}

fn index_of(cell: u64) -> (usize, usize) {
    let index = (cell % Level::CELLS) as usize;
    (index / WORD_CELLS, index % WORD_CELLS)
}
