//! Member: one block with a member's score and bytes.
//!
//! ```text
//! ┌────────┬────────┬───────┐     head: the length, and whether the score is an integer
//! │ head 1 │ score  │ bytes │           that is kept in 4 bytes instead of 8
//! └────────┴────────┴───────┘     a length from 127 on has 4 bytes of its own behind the head
//! ```

use std::ptr::NonNull;

use crate::block::{self, block_bytes};

/// A bit of the head: the score is an integer of 4 bytes.
const SHORT_SCORE: u8 = 0x80;

/// The head's length field if the length follows the head.
const LONG: u8 = 0x7F;

/// A member's block. It is a copy of the address: the owner of tree and index makes sure that no
/// copy is left when the block is freed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Member(NonNull<u8>);

/// Maps scores to unsigned integers in the same order; -0 and 0 are equal.
#[inline]
pub(super) fn key_of(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// The score as an integer of 4 bytes, if it is one exactly.
#[inline]
fn short(score: f64) -> Option<i32> {
    let short = score as i32;
    (f64::from(short).to_bits() == score.to_bits()).then_some(short)
}

fn head_bytes(len: usize) -> usize {
    if len < usize::from(LONG) { 1 } else { 5 }
}

fn score_bytes(is_short: bool) -> usize {
    if is_short { 4 } else { 8 }
}

impl Member {
    pub(super) fn new(bytes: &[u8], score: f64) -> Self {
        let short = short(score);
        let (head, width) = (head_bytes(bytes.len()), score_bytes(short.is_some()));
        let block = block::allocate(head + width + bytes.len());
        let len_bits = if head == 1 { bytes.len() as u8 } else { LONG };
        let score_bit = if short.is_some() { SHORT_SCORE } else { 0 };
        // SAFETY: the block has room for the head, the score and the bytes, and is ours alone.
        unsafe {
            block.write(len_bits | score_bit);
            if head > 1 {
                block.add(1).cast::<u32>().write_unaligned(bytes.len() as u32);
            }
            let body = block.add(head + width);
            body.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        }
        let member = Self(block);
        member.write_score(score);
        member
    }

    /// # Safety
    /// The member is not used any more.
    pub(super) unsafe fn release(self) -> usize {
        let bytes = self.total_bytes();
        // SAFETY: the block was allocated for what its head says; the caller vouches for the rest.
        unsafe { block::release(self.0, bytes) };
        block_bytes(bytes)
    }

    #[inline]
    fn head(self) -> u8 {
        // SAFETY: the block of a member begins with its head.
        unsafe { self.0.read() }
    }

    #[inline]
    fn has_short_score(self) -> bool {
        self.head() & SHORT_SCORE != 0
    }

    /// The length of the head, and that of the bytes.
    #[inline]
    fn lens(self) -> (usize, usize) {
        let len = self.head() & LONG;
        if len < LONG {
            return (1, usize::from(len));
        }
        // SAFETY: the length follows this head.
        let len = unsafe { self.0.add(1).cast::<u32>().read_unaligned() };
        (5, len as usize)
    }

    fn total_bytes(self) -> usize {
        let (head, len) = self.lens();
        head + score_bytes(self.has_short_score()) + len
    }

    /// The heap bytes that it takes.
    pub(super) fn heap_bytes(self) -> usize {
        block_bytes(self.total_bytes())
    }

    #[inline]
    pub(super) fn score(self) -> f64 {
        let (head, _) = self.lens();
        // SAFETY: the score follows the head, in the width that the head has.
        unsafe {
            let at = self.0.add(head);
            if self.has_short_score() {
                f64::from(at.cast::<i32>().read_unaligned())
            } else {
                at.cast::<f64>().read_unaligned()
            }
        }
    }

    #[inline]
    pub(super) fn key(self) -> u64 {
        key_of(self.score())
    }

    /// Writes a score in the width that the block has.
    fn write_score(self, score: f64) {
        let (head, _) = self.lens();
        // SAFETY: as in `score`.
        unsafe {
            let at = self.0.add(head);
            if self.has_short_score() {
                at.cast::<i32>().write_unaligned(score as i32);
            } else {
                at.cast::<f64>().write_unaligned(score);
            }
        }
    }

    /// Changes the score if the block has room for it; returns whether it did.
    #[inline]
    pub(super) fn set_score(self, score: f64) -> bool {
        let fits = !self.has_short_score() || short(score).is_some();
        if fits {
            self.write_score(score);
        }
        fits
    }

    /// The member's bytes; the caller guarantees that the member lives long enough.
    #[inline]
    pub(super) fn bytes<'a>(self) -> &'a [u8] {
        let (head, len) = self.lens();
        let at = head + score_bytes(self.has_short_score());
        // SAFETY: this many bytes follow the score. They are written once, and the room's public
        // functions bind the reference to the sorted set.
        unsafe { NonNull::slice_from_raw_parts(self.0.add(at), len).as_ref() }
    }

    #[inline]
    pub(super) fn address(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// # Safety
    /// `address` came from [`Member::address`] of a member that is not freed.
    #[inline]
    pub(super) unsafe fn from_address(address: u64) -> Self {
        let block = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: addresses of blocks are not null.
        Self(unsafe { NonNull::new_unchecked(block) })
    }
}

/// A member's address in the upper 48 bits; the lower 16 are free for the owner of the cell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(super) struct Cell(u64);

impl Cell {
    pub(super) const TAG_SHIFT: u32 = 48;

    #[inline]
    pub(super) fn new(tag: u16, member: Member) -> Self {
        Self(u64::from(tag) << Self::TAG_SHIFT | member.address())
    }

    #[inline]
    pub(super) fn tag(self) -> u16 {
        (self.0 >> Self::TAG_SHIFT) as u16
    }

    #[inline]
    pub(super) fn address(self) -> u64 {
        self.0 & ((1 << Self::TAG_SHIFT) - 1)
    }

    #[inline]
    pub(super) fn member(self) -> Member {
        // SAFETY: a cell is of a member that is there: it is taken out before the member goes.
        unsafe { Member::from_address(self.address()) }
    }
}
