//! Keys with what is known of them: hash and slot, worked out once and carried along.

use basalt_structures::KeyHasher;

use crate::slot::SlotId;

/// A key, its hash and its slot.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
    pub slot: SlotId,
}

impl<'a> Key<'a> {
    #[inline]
    pub fn new(bytes: &'a [u8], hasher: &KeyHasher) -> Self {
        Self { bytes, hash: hasher.hash(bytes), slot: SlotId::of_key(bytes) }
    }
}
