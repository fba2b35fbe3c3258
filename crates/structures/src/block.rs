//! Blocks: the memory that entries live in.
//!
//! One door to the allocator, so that the books know each block's true size (the allocator's class, not
//! the wish) and so that the allocator can be changed in one place.
//!
//! Not here: what the bytes of a block mean (`entry`).

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Blocks start at multiples of this, which leaves their address' low bits zero.
const BLOCK_ALIGN: usize = 8;

/// The bytes that a block of `bytes` really takes: steps of 8 up to 64, then four steps to a doubling,
/// which are the classes of the allocator that the server is built with.
#[inline]
pub const fn block_bytes(bytes: usize) -> usize {
    if bytes <= 64 {
        return (bytes + 7) & !7;
    }
    let step = 1 << ((usize::BITS - 1 - (bytes - 1).leading_zeros()) - 2);
    (bytes + step - 1) & !(step - 1)
}

/// A new block of at least `bytes` bytes (more than none), its content undefined.
#[inline]
pub(crate) fn allocate(bytes: usize) -> NonNull<u8> {
    debug_assert!(bytes > 0, "a block holds something");
    let layout = layout(bytes);
    // SAFETY: the layout has a size above zero.
    let pointer = unsafe { alloc(layout) };
    NonNull::new(pointer).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Gives a block back.
///
/// # Safety
/// `block` came from [`allocate`] with a size of the same class as `bytes`, and nobody uses it any more.
#[inline]
pub(crate) unsafe fn release(block: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller vouches for the block; the class makes the layouts equal.
    unsafe { dealloc(block.as_ptr(), layout(bytes)) };
}

#[inline]
fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(block_bytes(bytes), BLOCK_ALIGN).expect("a block is below isize::MAX")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_step_as_described() {
        let classes: Vec<usize> = [1, 8, 9, 40, 57, 64, 65, 81, 122, 128, 129, 161, 640, 641, 4097]
            .map(block_bytes)
            .into();
        assert_eq!(classes, [8, 8, 16, 40, 64, 64, 80, 96, 128, 128, 160, 192, 640, 768, 5120]);
        for bytes in 1..100_000 {
            let class = block_bytes(bytes);
            assert!(class >= bytes && block_bytes(class) == class);
        }
    }
}
