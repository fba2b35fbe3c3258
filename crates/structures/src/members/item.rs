//! Item: a member with its value and expiry, as bytes of a page.
//!
//! ```text
//! set     │ length │ member │
//! hash    │ length │ member │ value's length │ expiry 0 or 8 │ value │
//! far     │ 255 │ address of a block │            the same, in a block of its own
//! ```
//!
//! A member's length takes one byte up to 253, a value's up to 126, longer ones three bytes more; a
//! value's top bit marks an expiry before it.
//!
//! Not here: the position of items in a page (`page`).

use std::ptr::NonNull;

use crate::block;

/// Longer items are stored in their own block, so that a page holds at least a few.
const NEAR_BYTES_MAX: usize = 512;

const MEMBER_BYTE_MAX: usize = 253;
const MEMBER_WORD: u8 = 254;
const FAR: u8 = 255;
const FAR_BYTES: usize = 1 + size_of::<u64>();

const VALUE_BYTE_MAX: usize = 126;
const VALUE_WORD: u8 = 127;
const VALUE_HAS_EXPIRY: u8 = 0b1000_0000;
const EXPIRY_BYTES: usize = 8;

const FAR_HEADER: usize = 16;
const NO_EXPIRY: u64 = u64::MAX;

/// A member of a set, or a field of a hash with its value and expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member<'a> {
    pub name: &'a [u8],
    pub value: &'a [u8],
    pub expire_at_ms: Option<u64>,
}

/// Whether the members of a table carry values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carry {
    Nothing,
    Value,
}

#[inline]
pub(super) fn is_far(item: &[u8]) -> bool {
    item[0] == FAR
}

impl<'a> Member<'a> {
    /// A member of a set.
    #[inline]
    pub const fn bare(name: &'a [u8]) -> Self {
        Self { name, value: &[], expire_at_ms: None }
    }

    /// The size of its item in a page, in bytes.
    #[inline]
    pub(super) fn item_bytes(&self, carry: Carry) -> usize {
        let bytes = length_bytes(self.name.len(), MEMBER_BYTE_MAX) + self.name.len();
        let bytes = match carry {
            Carry::Nothing => bytes,
            Carry::Value => {
                let expiry = if self.expire_at_ms.is_some() { EXPIRY_BYTES } else { 0 };
                let length = length_bytes(self.value.len(), VALUE_BYTE_MAX);
                bytes + length + expiry + self.value.len()
            }
        };
        if bytes > NEAR_BYTES_MAX { FAR_BYTES } else { bytes }
    }

    /// Whether it is stored in its own block.
    #[inline]
    pub(super) fn is_far(&self, carry: Carry) -> bool {
        // A near item of this size has a name or value of at most a few bytes.
        self.item_bytes(carry) == FAR_BYTES && self.name.len() + self.value.len() > FAR_BYTES
    }

    /// The heap bytes outside of the page.
    pub(super) fn far_bytes(&self, carry: Carry) -> usize {
        if self.is_far(carry) { block::block_bytes(self.block_len()) } else { 0 }
    }

    fn block_len(&self) -> usize {
        FAR_HEADER + self.name.len() + self.value.len()
    }

    /// Writes the item to a buffer of [`Self::item_bytes`].
    #[inline]
    pub(super) fn write(&self, carry: Carry, item: &mut [u8]) {
        if self.is_far(carry) {
            item[0] = FAR;
            item[1..].copy_from_slice(&self.make_far().to_le_bytes());
            return;
        }
        let rest = write_length(item, self.name.len(), MEMBER_BYTE_MAX, MEMBER_WORD);
        let (name, rest) = rest.split_at_mut(self.name.len());
        name.copy_from_slice(self.name);
        if carry == Carry::Value {
            self.write_value(rest);
        }
    }

    fn write_value(&self, item: &mut [u8]) {
        write_length(item, self.value.len(), VALUE_BYTE_MAX, VALUE_WORD);
        let mut at = length_bytes(self.value.len(), VALUE_BYTE_MAX);
        if let Some(expire_at_ms) = self.expire_at_ms {
            item[0] |= VALUE_HAS_EXPIRY;
            item[at..at + EXPIRY_BYTES].copy_from_slice(&expire_at_ms.to_le_bytes());
            at += EXPIRY_BYTES;
        }
        item[at..].copy_from_slice(self.value);
    }

    /// Reads the item at the start of `bytes`.
    #[inline]
    pub(super) fn read(bytes: &'a [u8], carry: Carry) -> Self {
        if is_far(bytes) {
            return far(bytes);
        }
        let (len, at) = read_length(bytes, bytes[0], MEMBER_WORD);
        let name = &bytes[at..at + len];
        if carry == Carry::Nothing {
            return Self::bare(name);
        }
        let rest = &bytes[at + len..];
        let (len, mut at) = read_length(rest, rest[0] & !VALUE_HAS_EXPIRY, VALUE_WORD);
        let mut expire_at_ms = None;
        if rest[0] & VALUE_HAS_EXPIRY != 0 {
            let expiry = rest[at..].first_chunk().expect("an expiry stands before the value");
            expire_at_ms = Some(u64::from_le_bytes(*expiry));
            at += EXPIRY_BYTES;
        }
        Self { name, value: &rest[at..at + len], expire_at_ms }
    }
}

/// The name of the member whose item is at the start of `bytes`.
#[inline]
pub(super) fn name(bytes: &[u8]) -> &[u8] {
    let first = usize::from(bytes[0]);
    if first <= MEMBER_BYTE_MAX {
        return &bytes[1..=first];
    }
    Member::read(bytes, Carry::Nothing).name
}

/// The size in the page of the item at the start of `bytes`.
#[inline]
pub(super) fn bytes(item: &[u8], carry: Carry) -> usize {
    if is_far(item) { FAR_BYTES } else { Member::read(item, carry).item_bytes(carry) }
}

#[inline]
const fn length_bytes(len: usize, byte_max: usize) -> usize {
    if len <= byte_max { 1 } else { 3 }
}

/// Writes a length to the start of `item` and returns the rest.
#[inline]
fn write_length(item: &mut [u8], len: usize, byte_max: usize, word: u8) -> &mut [u8] {
    if len <= byte_max {
        item[0] = len as u8;
    } else {
        item[0] = word;
        item[1..3].copy_from_slice(&(len as u16).to_le_bytes());
    }
    &mut item[length_bytes(len, byte_max)..]
}

/// Reads a length; returns it with its own size in bytes.
#[inline]
fn read_length(item: &[u8], first: u8, word: u8) -> (usize, usize) {
    if first == word {
        (usize::from(u16::from_le_bytes([item[1], item[2]])), 3)
    } else {
        (usize::from(first), 1)
    }
}

impl Member<'_> {
    /// Allocates a block for this member and returns its address.
    #[cold]
    fn make_far(&self) -> u64 {
        let block = block::allocate(self.block_len());
        let expiry = self.expire_at_ms.unwrap_or(NO_EXPIRY).to_le_bytes();
        let lens = [self.name.len(), self.value.len()].map(|len| (len as u32).to_le_bytes());
        let parts = [&lens[0][..], &lens[1], &expiry, self.name, self.value];
        let mut at = 0;
        for part in parts {
            // SAFETY: the block is new and as long as its parts together.
            unsafe {
                block.add(at).copy_from_nonoverlapping(NonNull::from(part).cast(), part.len());
            }
            at += part.len();
        }
        block.as_ptr().expose_provenance() as u64
    }
}

/// The address of a far item's block.
fn far_block(item: &[u8]) -> *mut u8 {
    let address = item[1..].first_chunk().expect("a far item holds an address");
    std::ptr::with_exposed_provenance_mut(u64::from_le_bytes(*address) as usize)
}

/// The member of a far item. The block lives as long as the item.
#[cold]
fn far(item: &[u8]) -> Member<'_> {
    let block = far_block(item);
    // SAFETY: far items are written by `make_far` alone, and their blocks live as long as they do.
    unsafe {
        let read = |at: usize| block.add(at).cast::<[u8; 4]>().read();
        let [name_len, value_len] = [read(0), read(4)].map(|len| u32::from_le_bytes(len) as usize);
        let expiry = u64::from_le_bytes(block.add(8).cast::<[u8; 8]>().read());
        let name = std::slice::from_raw_parts(block.add(FAR_HEADER), name_len);
        let value = std::slice::from_raw_parts(block.add(FAR_HEADER + name_len), value_len);
        Member { name, value, expire_at_ms: (expiry != NO_EXPIRY).then_some(expiry) }
    }
}

/// Frees the block of a far item; does nothing for others. The item must not be read any more.
pub(super) fn release_far(item: &[u8]) {
    if !is_far(item) {
        return;
    }
    let len = far(item).block_len();
    let block = NonNull::new(far_block(item)).expect("blocks have addresses above zero");
    // SAFETY: the block was made by `make_far` with this length; its item is on its way out.
    unsafe { block::release(block, len) };
}
